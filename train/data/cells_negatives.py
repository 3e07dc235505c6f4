"""Pictures without cells, which are half of the lesson: without them a network paints blotches over photographs.

Each function takes (rng, size) and returns RGB float32 (S, S, 3) in about [0, 1], before the camera. They imitate
what everyday photographs consist of: occluding regions, surfaces, darkness, print. More are in cells_faces.py,
cells_built.py and cells_natural.py. The round details in them (eyes, cups, badges, wheels) are not cells, because they lie
in the clutter of a photograph.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from train.data.cells_optics import dirt, font, glows, tint, words
from train.data.cells_regions import areas, palette, regions
from train.data.cells_shapes import log_uniform
from train.data.cells_textures import (
    SURFACES,
    Rng,
    blur,
    folds,
    fractal,
    illumination,
    surface,
)


def _canvas(size: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty 32-bit id picture and its pen."""
    picture = Image.new("I", (size, size), 0)
    return picture, ImageDraw.Draw(picture)


def _ellipse(
    rng: Rng, x: float, y: float, radius: float, aspect: float = 1.0, wobble: float = 0.0
) -> list[tuple[float, float]]:
    """Points of an ellipse, turned at random, its radius varied by `wobble`."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    r = radius * (1 + wobble * np.cos(3 * turn + rng.uniform(0, 6)) + wobble * np.cos(2 * turn + rng.uniform(0, 6)))
    a, b = r * np.cos(turn) * np.sqrt(aspect), r * np.sin(turn) / np.sqrt(aspect)
    angle = rng.uniform(0, np.pi)
    return [*zip(x + a * np.cos(angle) - b * np.sin(angle), y + a * np.sin(angle) + b * np.cos(angle))]


def dead_leaves(rng: Rng, size: int) -> np.ndarray:
    """Shapes of all sizes that hide each other (dead leaves model: Lee, Mumford, Huang 2001), shaded and textured."""
    picture, draw = _canvas(size)
    count = int(log_uniform(rng, 6, 160))
    # A power law of sizes makes the picture look alike at every scale, as photographs do.
    scales = np.sort(0.03 * rng.random(count) ** (-1 / rng.uniform(1.0, 2.2)))[::-1]
    # Few small shapes on a bare ground, round ones above all, would be cells: few means large and angular.
    few = count < 40
    scales = scales.clip(0.25 if few else 0.02, 1.2) * size
    roundness = 0.0 if few else rng.choice([0.02, 0.4]) if count > 90 else 0.02
    for number, scale in enumerate(scales, start=1):
        x, y = rng.uniform(-0.2, 1.2, 2) * size
        kind = rng.random()
        if kind < roundness:
            draw.polygon(_ellipse(rng, x, y, scale * 0.6, rng.uniform(1, 3), rng.uniform(0, 0.15)), fill=number)
        elif kind < 0.85:
            corners = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
            points = scale * rng.uniform(0.5, 1.2, (len(corners), 1)) * np.stack([np.cos(corners), np.sin(corners)], 1)
            draw.polygon([tuple(p) for p in points + (x, y)], fill=number)
        else:
            end = rng.normal(0, 2 * scale, 2) + (x, y)
            draw.line([x, y, *end], fill=number, width=int(rng.uniform(1, 2 + 0.3 * scale)))
    image = regions(rng, np.asarray(picture))
    return image if rng.random() < 0.75 else blur(image, rng.uniform(1, 4))


def surfaces(rng: Rng, size: int) -> np.ndarray:
    """One material filling the view: wood, cloth, paper, fur, folds, noise, from faint to harsh."""
    first, second = palette(rng, 2)
    mix = np.clip(0.5 + rng.uniform(0.05, 0.5) * surface(rng, size), 0, 1)
    if rng.random() < 0.4:
        mix = np.clip(mix + rng.uniform(0.05, 0.3) * surface(rng, size), 0, 1)
    image = first + (second - first) * mix[..., None]
    return (image * illumination(rng, size, rng.uniform(0, 0.8))[..., None]).astype(np.float32)


def rubble(rng: Rng, size: int) -> np.ndarray:
    """Gravel, leaves of grass, foliage: small angular pieces side by side with dark gaps, each of another shade."""
    pitch = log_uniform(rng, 4, 22)
    marks = np.full((size, size), True)
    seeds = rng.integers(size, size=(2, int((size / pitch) ** 2) + 2))
    marks[tuple(seeds)] = False
    stretch = (1.0, float(rng.choice([1.0, 1.0, 0.4])))
    rows, columns = ndimage.distance_transform_edt(marks, sampling=stretch, return_distances=False, return_indices=True)
    ids = np.unique(rows * size + columns, return_inverse=True)[1].reshape(size, size)
    base = palette(rng, 1)[0] * 0.6 + 0.25
    shades = base * np.exp(rng.uniform(0.2, 0.6) * rng.standard_normal((ids.max() + 1, 1)))
    image = regions(rng, ids, 0.4, shades.astype(np.float32))
    return image * (1 + np.float32(rng.uniform(0, 0.5)) * fractal(rng, size, pitch * 2, 4, 0.8))[..., None]


def gloom(rng: Rng, size: int) -> np.ndarray:
    """Large smooth areas, dark or bright, with hardly anything in them: night, walls, studio grounds, sky."""
    ids = areas(rng, size)
    colours = palette(rng, int(ids.max()) + 1)
    if rng.random() < 0.5:
        colours = colours * np.float32(0.3)
    image = regions(rng, ids, 0.04, colours)
    image = blur(image, log_uniform(rng, 0.5, 40))
    if rng.random() < 0.5:
        image += np.float32(rng.uniform(0.1, 0.5)) * glows(rng, size)[..., None] * palette(rng, 1)[0]
    return image


def empty_field(rng: Rng, size: int) -> np.ndarray:
    """A microscope's view, or a sky, with no cells in it: uneven light, texture, dirt, letters, single points."""
    grey = rng.uniform(0.02, 0.9) * illumination(rng, size, rng.uniform(0, 0.8))
    grey += np.float32(rng.uniform(0, 0.06)) * fractal(rng, size, rng.uniform(4, 100), 4)
    if rng.random() < 0.4:
        grey += np.float32(rng.uniform(0, 0.3)) * glows(rng, size)
    if rng.random() < 0.7:
        grey += np.float32(rng.uniform(0.1, 0.6)) * dirt(rng, size)
    if rng.random() < 0.3:
        grey += np.float32(rng.uniform(0.02, 0.12)) * folds(rng, size)
    return tint(rng, np.clip(grey, 0, 1).astype(np.float32), 0.6)


def print_page(rng: Rng, size: int) -> np.ndarray:
    """Lines of letters, dark on light or the reverse, straight or askew, sometimes with a picture box."""
    picture = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(picture)
    points = int(log_uniform(rng, 7, 60))
    for y in np.arange(-points, size + points, points * rng.uniform(1.05, 1.6)):
        if rng.random() < 0.9:
            draw.text(
                (rng.uniform(-0.1, 0.1) * size, y),
                words(rng, int(2.2 * size / points) + 2),
                fill=255,
                font=font(points),
            )
    if rng.random() < 0.3:
        (x, y), (a, b) = rng.uniform(0, 0.6, 2) * size, rng.uniform(0.2, 0.5, 2) * size
        draw.rectangle([x, y, x + a, y + b], fill=int(rng.integers(0, 200)), outline=255)
    ink = (
        np.asarray(picture.rotate(rng.choice([0, rng.uniform(-30, 30), 90]), Image.Resampling.BILINEAR), np.float32)[
            ..., None
        ]
        / 255
    )
    ground, letters = palette(rng, 2)
    if np.abs(ground - letters).max() < 0.3:
        ground, letters = np.float32([0.92, 0.9, 0.85]), np.float32([0.1, 0.1, 0.12])
    sheet = ground * (1 + rng.uniform(0, 0.15) * SURFACES["paper"](rng, size))[..., None]
    return (sheet + ink * (letters - sheet)).astype(np.float32)

"""Pictures without cells of things that grow, lie or stand about: ground, leaves, blossoms, solids, and montages of all.

The same contract as cells_negatives.py: (rng, size) to RGB float32 (S, S, 3) in about [0, 1], before the camera.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from train.data import cells_built as built
from train.data.cells_negatives import surfaces
from train.data.cells_optics import font, words
from train.data.cells_regions import areas, palette, regions
from train.data.cells_shapes import log_uniform
from train.data.cells_textures import Rng, blur, fractal, illumination, resize, smooth_noise, surface, warp


def terrain(rng: Rng, size: int) -> np.ndarray:
    """Rough ground, rock, sand, snow, clouds or skin: a fractal height field lit from one side, coloured by height."""
    height = fractal(rng, size, log_uniform(rng, size / 8, size), 6, rng.uniform(0.35, 0.75))
    if rng.random() < 0.4:
        # Ridges and dunes: the crease of an absolute value.
        height = -np.abs(height)
    down, right = np.gradient(height * np.float32(log_uniform(rng, 2, 25)))
    turn = rng.uniform(0, 2 * np.pi)
    facing = np.cos(turn) * right + np.sin(turn) * down
    light = 1 + rng.uniform(0.2, 1.0) * facing / np.sqrt(1 + right**2 + down**2)
    low, high = palette(rng, 2) * 0.7 + 0.1
    mix = np.clip(0.5 + rng.uniform(0, 0.5) * height, 0, 1)[..., None]
    image = (low + (high - low) * mix) * light[..., None]
    return (image * illumination(rng, size, rng.uniform(0, 0.6))[..., None]).astype(np.float32)


def _leaf(
    image: np.ndarray, x: float, y: float, length: float, width: float, angle: float, colour: np.ndarray,
    rib: float, tip: float, soft: float = 1.0, grain: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Lays a leaf or petal over the image in place: two arcs that meet in points, from (x, y) along `angle`.

    length, width: in pixels; rib: darkness of the middle line; tip: brightening from base to tip; soft: of the edge.
    """
    size = image.shape[0]
    reach = length + width + 2
    top, bottom = max(0, int(y - reach)), min(size, int(y + reach) + 2)
    left, right = max(0, int(x - reach)), min(size, int(x + reach) + 2)
    if top >= bottom or left >= right:
        return
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    dx = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(x)
    along = (np.cos(angle) * dx + np.sin(angle) * dy) / length
    across = (np.cos(angle) * dy - np.sin(angle) * dx) / width
    half = 2.6 * np.clip(along, 0, 1) * (1 - np.clip(along, 0, 1)) * (0.6 + 0.8 * np.clip(along, 0, 1))
    cover = np.clip((half - np.abs(across)) * width / soft + 0.5, 0, 1) * ((along > 0) & (along < 1))
    shade = 0.85 + tip * along - rib * np.exp(-((across / 0.1) ** 2)) - 0.25 * np.abs(across) + 0.1 * across
    if grain is not None:
        shade = shade + grain[top:bottom, left:right]
    view = image[top:bottom, left:right]
    view += cover[..., None] * (shade[..., None] * np.asarray(colour, np.float32) - view)


def foliage(rng: Rng, size: int) -> np.ndarray:
    """Leaves, blades of grass or feathers over each other, the hidden ones darker, near ones at times out of focus."""
    image = blur(regions(rng, areas(rng, size)) * 0.5, rng.uniform(1, 6))
    greens = palette(rng, 3) * 0.5 + np.array([0.1, 0.25, 0.05]) * rng.uniform(0, 1.5)
    typical, slender = log_uniform(rng, 0.05, 0.5) * size, log_uniform(rng, 2, 12)
    count = int(np.clip(rng.uniform(1, 4) * slender * (size / typical) ** 2, 5, 150))
    course, spread = rng.uniform(0, 2 * np.pi), rng.choice([0.3, 1.0, 3.0])
    grain = np.float32(rng.uniform(0, 0.2)) * surface(rng, size)
    for number in range(count):
        length = typical * np.exp(0.35 * rng.normal())
        colour = greens[rng.integers(3)] * (0.35 + 0.8 * number / count) * np.exp(0.2 * rng.normal())
        _leaf(
            image, *rng.uniform(-0.2, 1.1, 2) * size, length, length / slender, course + spread * rng.normal(), colour,
            rng.uniform(-0.2, 0.3), rng.uniform(-0.2, 0.3), rng.uniform(1, 2), grain,
        )  # fmt: skip
    return blur(image, rng.choice([0.0, rng.uniform(1, 4)], p=[0.7, 0.3]))


def blossom(rng: Rng, size: int) -> np.ndarray:
    """Flowers before blurred green: rings of petals, the outer ones first, round a grainy middle."""
    image = blur(foliage(rng, size), rng.uniform(1, 12))
    for _ in range(rng.choice([1, 2, 4])):
        x, y = rng.uniform(0.1, 0.9, 2) * size
        radius = log_uniform(rng, 0.1, 0.55) * size
        colour = np.clip(palette(rng, 1)[0] * 0.6 + rng.uniform(0.1, 0.6, 3), 0, 1)
        rings, petals = int(rng.integers(1, 6)), int(rng.integers(5, 20))
        rib, tip = rng.uniform(-0.1, 0.4), rng.uniform(-0.3, 0.4)
        for ring in range(rings):
            reach = radius * (1 - 0.85 * ring / rings)
            start = rng.uniform(0, 6)
            for petal in range(petals):
                turn = start + 2 * np.pi * petal / petals + 0.1 * rng.normal()
                own = colour * np.exp(0.1 * rng.normal()) * (1 - 0.25 * ring / rings)
                length = reach * np.exp(0.08 * rng.normal())
                _leaf(image, x, y, length, 1.3 * reach * np.pi / petals, turn, own, rib, tip, 1.5)
        middle = palette(rng, 1)[0] * 0.7 + 0.1
        for _ in range(rng.integers(0, 40)):
            away = rng.normal(0, 0.08 * radius, 2)
            _leaf(image, x + away[0], y + away[1], 0.09 * radius + 2, 0.04 * radius + 1, rng.uniform(0, 6), middle, 0, 0.3)
    return image


def solids(rng: Rng, size: int) -> np.ndarray:
    """Bottles, pipes, limbs, boxes and towers: straight bodies shaded across, before a wall, with labels on some."""
    image = surfaces(rng, size) if rng.random() < 0.5 else blur(regions(rng, areas(rng, size)), rng.uniform(0, 8))
    weave = surface(rng, size)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    for _ in range(rng.integers(2, 14)):
        at_x, at_y = rng.uniform(0, 1, 2) * size
        width, slender = log_uniform(rng, 0.02, 0.25) * size, log_uniform(rng, 1.5, 9)
        turn = rng.choice([0.0, 0.1 * rng.normal(), rng.uniform(0, np.pi)])
        down = (np.cos(turn) * (y - at_y) + np.sin(turn) * (x - at_x)) / (width * slender)
        taper = 1 + rng.choice([0.0, rng.uniform(-0.6, 0.6)]) * down
        across = (np.cos(turn) * (x - at_x) - np.sin(turn) * (y - at_y)) / (width * taper)
        # The ends of a tube are seen as arcs.
        down = down + rng.uniform(0, 0.5) / slender * np.sqrt(np.clip(1 - across**2, 0, 1))
        cover = np.clip((1 - np.abs(across)) * width + 0.5, 0, 1) * np.clip((1 - np.abs(down)) * width + 0.5, 0, 1)
        if rng.random() < 0.65:
            shade = 0.3 + 0.8 * np.sqrt(np.clip(1 - (across - rng.uniform(-0.5, 0.5)) ** 2, 0, 1))
            shade += rng.uniform(0, 0.8) * np.exp(-(((across - rng.uniform(-0.6, 0.6)) / rng.uniform(0.05, 0.2)) ** 2))
        else:
            shade = np.where(across > rng.uniform(-0.7, 0.7), *rng.uniform(0.4, 1.2, 2))
        bands = np.digitize(down, np.sort(rng.uniform(-1, 1, rng.integers(0, 4))))
        colours = palette(rng, int(bands.max()) + 1) * 0.9 + 0.05
        shade = shade + rng.uniform(0, 0.15) * weave
        image = image + cover[..., None] * (shade[..., None] * colours[bands] - image)
        if rng.random() < 0.25:
            picture = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
            points = int(np.clip(width / 2, 7, 40))
            tone = tuple(int(255 * c) for c in palette(rng, 1)[0])
            ImageDraw.Draw(picture).text((at_x - width, at_y), words(rng, 5), fill=tone, font=font(points))
            image = np.asarray(picture, np.float32) / 255
    return image.astype(np.float32)


PARTS = (*built.PARTS, built.clutter, terrain, foliage, blossom, solids)


def _zoomed(rng: Rng, size: int) -> np.ndarray:
    """One of PARTS seen from nearer or further away than it is drawn, its straight and round lines bent."""
    seen = int(np.clip(size / log_uniform(rng, 0.6, 2.5), 64, 420))
    part = PARTS[rng.integers(len(PARTS))](rng, seen)
    seed, bend = int(rng.integers(2**32)), rng.choice([0.0, rng.uniform(0.01, 0.08)])
    layers = []
    for channel in range(3):
        layer = resize(part[..., channel], size, size)
        # All channels are bent by the same field.
        layers.append(warp(np.random.default_rng(seed), layer, bend * size, size / 3) if bend else layer)
    return np.stack(layers, axis=2)


def montage(rng: Rng, size: int) -> np.ndarray:
    """Two to four other pictures at different distances, bent, behind each other, the hindmost out of focus."""
    image = blur(_zoomed(rng, size), rng.choice([0.0, rng.uniform(1, 8)]))
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.5:
            field = smooth_noise(rng, size, size / rng.uniform(0.8, 2.5)) - rng.uniform(-0.3, 0.8)
            cover = np.clip(field * size / rng.uniform(2, 12), 0, 1)
        else:
            picture = Image.new("L", (size, size), 0)
            corners = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
            middle, reach = rng.uniform(-0.1, 1.1, 2) * size, rng.uniform(0.3, 1.0) * size
            points = middle + reach * np.stack([np.cos(corners), np.sin(corners)], axis=1)
            ImageDraw.Draw(picture).polygon([tuple(p) for p in points], fill=255)
            cover = blur(np.asarray(picture, np.float32) / 255, rng.uniform(0.4, 2))
        image = image + cover[..., None] * (_zoomed(rng, size) * rng.uniform(0.6, 1.2) - image)
    return image.astype(np.float32)

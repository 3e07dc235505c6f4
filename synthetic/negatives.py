"""Pictures without cells, which are half of the lesson: without them a network paints blotches over photographs.

Each function takes (rng, size) and returns RGB float32 (S, S, 3) in about [0, 1], before the camera. They imitate
what everyday photographs consist of: occluding regions, surfaces, darkness, print. More are in cells.py. The round details in them (eyes, cups, badges, wheels) are not cells, because they lie
in the clutter of a photograph.

Three kinds: textures and surfaces; people and animals, whose heads and eyes are the round things of photographs; and what people
build: walls, houses, crockery, flags, drawings, collages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from synthetic.shapes import (
    SURFACES,
    Outline,
    Rng,
    areas,
    axes,
    blur,
    dirt,
    folds,
    font,
    fractal,
    glows,
    hair,
    illumination,
    log_uniform,
    palette,
    regions,
    smooth_noise,
    surface,
    tint,
    wood,
    words,
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


# Natural hair and fur: black, brown, blond, grey, red.
HAIR = np.array([[0.1, 0.08, 0.06], [0.35, 0.2, 0.1], [0.7, 0.55, 0.3], [0.6, 0.6, 0.6], [0.55, 0.25, 0.1]])


def backdrop(rng: Rng, size: int) -> np.ndarray:
    """What is behind a head: a studio's even ground, large regions, a surface, or clutter, mostly out of focus."""
    kind = rng.choice(4, p=(0.35, 0.3, 0.2, 0.15))
    if kind == 0:
        plain = palette(rng, 1)[0] * illumination(rng, size, rng.uniform(0, 0.7))[..., None]
        return (plain * (1 + rng.uniform(0, 0.06) * fractal(rng, size, size / 3, 4))[..., None]).astype(np.float32)
    image = (lambda: regions(rng, areas(rng, size)), lambda: surfaces(rng, size), lambda: dead_leaves(rng, size))[kind - 1]()
    return blur(image, rng.uniform(0, 5))


@dataclass
class Figure:
    """A person or animal that is painted over an image part by part.

    image: float32 (S, S, 3), changed in place; x, y: middle of the head; scale: pixels per unit of the parts' numbers;
    light: how much brighter the right side is than the left; weave: texture float32 (S, S) of hair and clothes.
    """

    image: np.ndarray
    x: float
    y: float
    scale: float
    light: float
    weave: np.ndarray

    def part(
        self, dx: float, dy: float, radius: float, aspect: float, colour: np.ndarray, pattern: float = 0.0,
        soft: float = 1.5, waves: tuple = (), strength: float = 1.0,
    ) -> None:  # fmt: skip
        """Lays an upright (aspect < 1) or wide ellipse over the image, shaded towards its edge and to one side."""
        tall = aspect < 1
        outline = Outline(
            self.x + dx * self.scale, self.y + dy * self.scale, radius * self.scale, 1 / aspect if tall else aspect,
            np.pi / 2 if tall else 0.0, waves=waves,
        )  # fmt: skip
        patch = outline.patch(self.image.shape[0], soft)
        if patch is None:
            return
        cover = strength * np.clip(patch.depth / soft + 0.5, 0, 1)[..., None]
        columns = np.arange(patch.columns.start, patch.columns.stop, dtype=np.float32)
        aside = np.clip((columns - self.x) / self.scale, -1.5, 1.5)
        shade = 1.1 - 0.3 * np.minimum(patch.rho, 1.2) ** 2 + self.light * aside + pattern * self.weave[patch.box]
        view = self.image[patch.box]
        view += cover * (np.clip(shade, 0.05, 2)[..., None] * np.asarray(colour, np.float32) - view)

    def eye(self, rng: Rng, dx: float, dy: float, radius: float, iris: np.ndarray, white: np.ndarray) -> None:
        """An eye between its lids: white, streaked iris with a dark edge, round or slit pupil, glints."""
        size = self.image.shape[0]
        outline = Outline(self.x + dx * self.scale, self.y + dy * self.scale, radius * self.scale)
        patch = outline.patch(size, margin=0.6 * radius * self.scale + 2)
        if patch is None:
            return
        u, v = patch.u, patch.v
        rho, turn = np.hypot(u, v), np.arctan2(v, u)
        streaks = sum(np.cos(k * turn + rng.uniform(0, 6)) for k in rng.integers(5, 40, 4)) / 8
        tone = iris * (0.75 + rng.uniform(0, 0.8) * streaks + 0.4 * rng.choice([-1, 1]) * (rho - 0.5))[..., None]
        tone = np.where((rho > 0.88)[..., None], 0.3 * iris, tone)
        slit = rng.choice([1.0, rng.uniform(0.2, 0.9)])
        pupil = np.hypot(u / slit, v) < rng.uniform(0.25, 0.65)
        tone = np.where(pupil[..., None], 0.03, tone)
        tone = np.where((rho > 1)[..., None], white, tone)
        for _ in range(rng.integers(0, 4)):
            at, wide = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.05, 0.3, 2)
            glint = np.exp(-(((u - at[0]) / wide[0]) ** 2) - ((v - at[1]) / wide[1]) ** 2)[..., None]
            tone = tone + glint * (rng.uniform(0.5, 1) - tone)
        # The lids are two arcs; the upper one mostly hides a part of the iris.
        lids = np.minimum(v + rng.uniform(0.4, 1.0) * (1 - (u / 1.5) ** 2), rng.uniform(0.6, 1.0) * (1 - (u / 1.5) ** 2) - v)
        cover = np.clip(lids * outline.radius + 0.5, 0, 1)[..., None]
        rim = np.exp(-((lids / 0.12) ** 2))[..., None] * rng.uniform(0.3, 1)
        view = self.image[patch.box]
        view += cover * (tone - view)
        view *= 1 - 0.8 * rim


def animal(rng: Rng, size: int) -> np.ndarray:
    """A furry head, close or far: fur with stripes, eyes, nose and whiskers before a blurred ground."""
    dark, light = np.sort(palette(rng, 2), axis=0)
    if rng.random() < 0.5:
        dark, light = np.sort(HAIR[rng.integers(len(HAIR), size=2)] * rng.uniform(0.5, 1.3, (2, 1)), axis=0)
    strands, bars = rng.uniform(0.05, 0.25), rng.uniform(0, 0.4)
    coat = 0.5 + strands * hair(rng, size) + bars * np.sin(rng.uniform(1, 5) * smooth_noise(rng, size, size / 4, 2))
    image = dark + (light - dark + 0.2) * np.clip(coat, 0, 1).astype(np.float32)[..., None]
    image = (image * illumination(rng, size, rng.uniform(0, 0.5))[..., None]).astype(np.float32)
    scale = log_uniform(rng, 0.2, 1.3) * size
    x, y = rng.uniform(0.25, 0.75, 2) * size
    face = Figure(image, float(x), float(y), float(scale), rng.uniform(-0.2, 0.2), hair(rng, size))
    if rng.random() < 0.5:
        face.part(0, 0.25, 0.28, 1.3, light + 0.15, 0.1, 0.1 * scale)
    iris, white = palette(rng, 1)[0] * 0.8 + 0.1, rng.choice([0.05, 0.8]) * np.ones(3)
    radius, gap = rng.uniform(0.07, 0.14), rng.uniform(0.2, 0.32)
    for side in (-1, 1):
        face.eye(rng, side * gap, -0.1, radius, iris, white)
    face.part(0, 0.22, 0.09, 1.4, palette(rng, 1)[0] * 0.4 + 0.05, 0.05, 2)
    face.part(0, 0.36, 0.14, 5.0, dark * 0.5, 0, 2)
    head = Outline(float(x), float(y), 0.75 * float(scale), waves=((3, 0.08, rng.uniform(0, 6)),)).patch(size)
    away = blur(backdrop(rng, size), rng.uniform(0, 4))
    if head is not None:
        cover = np.clip(head.depth / rng.uniform(2, 8) + 0.5, 0, 1)[..., None]
        away[head.box] += cover * (image[head.box] - away[head.box])
    return away


def portrait(rng: Rng, size: int) -> np.ndarray:
    """One to three people from the front, the side or behind before some ground, near or far, sharp or not."""
    image = backdrop(rng, size)
    count = rng.choice([1, 2, 3], p=(0.75, 0.15, 0.1))
    for _ in range(count):
        scale = log_uniform(rng, 0.12, 0.7) * size / count**0.5
        x, y = rng.uniform(0.15, 0.85) * size, rng.uniform(0.15, 0.65) * size
        weave = hair(rng, size) if rng.random() < 0.5 else surface(rng, size)
        _person(rng, Figure(image, float(x), float(y), float(scale), rng.uniform(-0.45, 0.45), weave))
    return blur(image, rng.choice([0.0, rng.uniform(0.5, 3)], p=(0.75, 0.25)))


def _person(rng: Rng, figure: Figure) -> None:
    """Clothes with collar and badges, neck, hair, face with soft or sharp features, sometimes a hat, glasses or a beard."""
    part, scale = figure.part, figure.scale
    skin = np.array([0.95, 0.72, 0.58]) * rng.uniform(0.3, 1.1) + rng.normal(0, 0.03, 3)
    crop = palette(rng, 1)[0] * 0.5 if rng.random() < 0.2 else HAIR[rng.integers(len(HAIR))] * rng.uniform(0.6, 1.3)
    curls = tuple((int(rng.integers(3, 14)), rng.uniform(0.01, 0.06), rng.uniform(0, 6)) for _ in range(3))
    texture, edge = rng.uniform(0.05, 0.6), rng.uniform(1.5, 2 + 0.1 * scale)
    clothes = palette(rng, 2) + 0.05
    part(0, rng.uniform(2.0, 2.5), 1.5, rng.uniform(1.0, 1.6), clothes[0], rng.uniform(0.03, 0.4))
    for _ in range(rng.integers(0, 5)):
        at_x, at_y, radius = rng.uniform(-1.2, 1.2), rng.uniform(1.3, 2.8), rng.uniform(0.06, 0.3)
        for ring, tone in zip((1.0, 0.85, 0.5), palette(rng, 3)):
            part(at_x, at_y, radius * ring, rng.choice([1.0, 1.5]), tone, 0.3)
    part(0, -0.15, 0.95 * rng.uniform(0.85, 1.25), 0.85, crop, texture, edge, curls)
    part(0, 0.8, 0.45, 0.7, skin * 0.8)
    if rng.random() < 0.5:
        part(0, 1.2, rng.uniform(0.4, 0.7), rng.uniform(1.5, 3), clothes[1], 0.1)
    view = rng.choice(3, p=(0.65, 0.2, 0.15))
    if view == 2:  # from behind
        part(0, 0, 0.85, 0.8, crop, texture, edge, curls)
        return
    turn = 0.35 * view * rng.choice((-1, 1))
    part(turn, 0.05, 0.8 - 0.1 * view, rng.uniform(0.68, 0.85), skin, rng.uniform(0.01, 0.06), 3)
    if rng.random() < 0.15:
        part(turn, 0.55, 0.5, 1.1, crop, texture, edge, curls)
    part(-turn / 2, -0.75, 0.6 + 0.15 * view, 1.9, crop, texture, edge, curls)
    clear, soft = rng.uniform(0.15, 1), rng.uniform(1, 1 + 0.06 * scale)
    for side in (-0.3, 0.3):
        part(side + turn, -0.3, 0.1, 3.0, crop * 0.8, 0, soft, strength=clear)
        if scale > 40 and rng.random() < 0.5:
            figure.eye(rng, side + turn, -0.14, 0.055, palette(rng, 1)[0] * 0.5, np.full(3, 0.85))
        else:
            part(side + turn, -0.14, 0.1, 2.0, np.array([0.9, 0.88, 0.85]), 0, soft, strength=clear)
            part(side + turn, -0.14, 0.055, 1.0, np.array([0.15, 0.1, 0.08]), 0, soft, strength=clear)
    part(turn, 0.15, 0.12, 0.6, skin * 0.88, 0, 0.15 * scale)
    part(turn, 0.45, 0.17, 3.2, np.array([0.7, 0.3, 0.28]), 0, soft, strength=clear)
    if rng.random() < 0.4:
        part(turn, 0.42, 0.1, 4.0, np.array([0.95, 0.93, 0.9]), 0, soft, strength=clear)
    if rng.random() < 0.15:
        for side in (-0.3, 0.3):
            part(side + turn, -0.12, 0.24, 1.2, np.full(3, 0.08), 0, 1.5, strength=rng.uniform(0.2, 0.9))
    if rng.random() < 0.2:
        part(turn, -0.8, 0.75, rng.uniform(1.3, 2.2), clothes[1], 0.2)
        part(turn, -0.55, 0.75, 5.0, clothes[1] * 0.6)


def masonry(rng: Rng, size: int) -> np.ndarray:
    """Bricks, tiles, planks, checkerboards, fences: a turned or slanted lattice with joints."""
    y, x = axes(size)
    turn, slant = rng.choice([0.0, rng.uniform(0, np.pi)]), rng.uniform(-0.3, 0.3)
    across, down = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    # Dividing by depth draws the lattice together at one end, as a floor seen from the side.
    depth = 1 + slant * down
    pitch = log_uniform(rng, 0.08, 0.7)
    rows = (down / depth + 3) / pitch
    columns = (across / depth + 3) / (pitch * rng.choice([1.0, 1.0, 2.2, 4.0]))
    columns = columns + rng.choice([0.0, 0.5]) * (np.floor(rows) % 2)
    cell = (np.floor(rows) * 131 + np.floor(columns)).astype(np.int64)
    ids = np.unique(cell, return_inverse=True)[1].reshape(size, size)
    tones = palette(rng, 2)
    if rng.random() < 0.4:
        pick = ((np.floor(rows) + np.floor(columns)) % 2).astype(int)
        image = tones[pick] * (1 + rng.uniform(0, 0.2) * surface(rng, size))[..., None]
    else:
        stones = tones[:1] * (1 + rng.uniform(0.02, 0.35) * rng.standard_normal((ids.max() + 1, 1))) + 0.1
        image = regions(rng, ids, 0.25, stones.astype(np.float32))
        joint = rng.uniform(0.02, 0.1)
        gap = (rows % 1 < joint) | (columns % 1 < joint)
        image[gap] = 0.7 * tones[1] + 0.3 * image[gap]
    return image.astype(np.float32)


def landscape(rng: Rng, size: int) -> np.ndarray:
    """Sky with clouds over ridges, ground and houses with windows, poles and wires."""
    y = axes(size)[0]
    sky = np.array([0.45, 0.65, 0.95]) * rng.uniform(0.15, 1.1) if rng.random() < 0.6 else palette(rng, 1)[0]
    clouds = np.clip(fractal(rng, size, size / 2, 5, 0.6), 0, 2) * rng.uniform(0, 0.4)
    image = (sky * (1 + 0.25 * y)[..., None] + clouds[..., None]).astype(np.float32)
    picture = Image.new("I", (size, size), 0)
    draw = ImageDraw.Draw(picture)
    line, count = rng.uniform(0.3, 0.8) * size, 0
    for step in range(rng.integers(1, 4)):
        count += 1
        ridge = line + step * 0.12 * size + rng.uniform(0, 0.1) * size * fractal(rng, size, size / 2, 4)[0]
        draw.polygon([(0, size), *enumerate(ridge.tolist()), (size, ridge[-1]), (size, size)], fill=count)
    for _ in range(rng.integers(0, 8)):
        count += 2
        left, wide, high = rng.uniform(-0.1, 1) * size, rng.uniform(0.05, 0.3) * size, rng.uniform(0.1, 0.6) * size
        draw.rectangle([left, line - high, left + wide, line + 0.1 * size], fill=count - 1)
        pane = rng.uniform(0.02, 0.06) * size
        for wx in np.arange(left + pane / 2, left + wide - pane, 1.8 * pane):
            for wy in np.arange(line - high + pane, line, 2.2 * pane):
                draw.rectangle([wx, wy, wx + pane, wy + 1.3 * pane], fill=count)
    for _ in range(rng.integers(0, 5)):
        count += 1
        foot = rng.uniform(0, size)
        draw.line(
            [foot, size, foot + rng.normal(0, 0.05) * size, rng.uniform(0, 0.5) * size],
            fill=count,
            width=int(rng.integers(1, 9)),
        )
    ids = np.asarray(picture)
    return np.where(ids[..., None] > 0, regions(rng, ids, 0.5), image).astype(np.float32)


def crockery(rng: Rng, size: int) -> np.ndarray:
    """Plates, cups and spoons on a table, larger than cells, with handles and inner rings, often cut by the frame."""
    tones = palette(rng, 2)
    table = wood(rng, size) if rng.random() < 0.6 else surface(rng, size)
    ground = tones[0] * 0.8 + 0.15
    image = (ground * (1 + rng.uniform(0.03, 0.4) * table)[..., None]).astype(np.float32)
    x, y = rng.uniform(0.2, 0.8, 2) * size
    plate, tilt = rng.uniform(0.38, 0.9) * size, rng.uniform(1, 1.8)
    glaze = palette(rng, 3) * 0.9 + 0.1

    def dish(dx: float, dy: float, radius: float, aspect: float, colour: np.ndarray, angle: float = 0.0) -> None:
        """Lays a shaded ellipse on the table."""
        patch = Outline(x + dx * plate, y + dy * plate, radius * plate, aspect, angle).patch(size)
        if patch is None:
            return
        cover = np.clip(patch.depth + 0.5, 0, 1)[..., None]
        shade = (
            1
            + lit[0] * patch.u
            + lit[1] * patch.v
            + np.exp(-20 * ((patch.u - 0.4) ** 2 + (patch.v + 0.5) ** 2)) * gleam
        )
        image[patch.box] += cover * (shade[..., None] * np.asarray(colour, np.float32) - image[patch.box])

    lit, gleam = rng.uniform(-0.35, 0.35, 2), rng.uniform(0, 0.6)
    dish(0.05, 0.08, 1.04, tilt, ground * 0.3)
    dish(0, 0, 1.0, tilt, glaze[0])
    for ring in np.sort(rng.uniform(0.4, 0.95, rng.integers(1, 4)))[::-1]:
        dish(0, 0, ring, tilt, glaze[0] * rng.uniform(0.7, 1.15))
    if rng.random() < 0.75:
        cup = rng.uniform(0.35, 0.6)
        dish(cup * rng.choice([-1.0, 1.0]), 0.1, 0.16, 1.5, glaze[1] * 0.9, rng.uniform(0, 3))
        dish(0, -0.02, cup * 0.85, tilt, glaze[1] * 0.8)
        dish(0, -0.15, cup, tilt, glaze[1])
        dish(0, -0.15, cup * 0.9, tilt, glaze[1] * 1.15)
        dish(0, -0.1, cup * rng.uniform(0.6, 0.8), tilt, np.array([0.6, 0.35, 0.15]) * rng.uniform(0.2, 1.3))
    if rng.random() < 0.6:
        turn = rng.uniform(0, 2 * np.pi)
        steel = np.full(3, rng.uniform(0.4, 0.8))
        dish(0.7 * np.cos(turn), 0.7 * np.sin(turn), 0.2, 14.0, steel, turn)
        dish(0.45 * np.cos(turn), 0.45 * np.sin(turn), 0.12, 1.6, steel * 1.2, turn)
        dish(0.45 * np.cos(turn), 0.45 * np.sin(turn), 0.09, 1.6, steel * 0.6, turn)
    return image


def stripes(rng: Rng, size: int) -> np.ndarray:
    """Flags, shirts, zebra crossings, blinds: bands with folds, at times a field of small signs in the corner."""
    y, x = axes(size)
    turn = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    bend = rng.uniform(0, 0.15) * fractal(rng, size, size / 2, 2)
    along = (np.cos(turn) * x + np.sin(turn) * y + bend) / log_uniform(rng, 0.04, 0.5)
    colours = palette(rng, int(rng.integers(2, 4)))
    image = colours[np.floor(along).astype(int) % len(colours)]
    if rng.random() < 0.35:
        picture = Image.fromarray((image * 255).astype(np.uint8))
        draw = ImageDraw.Draw(picture)
        edge = rng.uniform(0.3, 0.7) * size
        draw.rectangle([0, 0, edge, edge * 0.8], fill=tuple(int(255 * c) for c in palette(rng, 1)[0]))
        step = rng.uniform(0.06, 0.12) * size
        for row in np.arange(step / 2, edge * 0.8 - step, step):
            for column in np.arange(step / 2, edge - step, step):
                draw.text((column, row), "*", fill="white", font=font(int(1.3 * step) + 2))
        image = np.asarray(picture, np.float32) / 255
    shade = 1 + rng.uniform(0, 0.4) * folds(rng, size)
    return blur((image * shade[..., None]).astype(np.float32), rng.uniform(0, 1.5))


def drawing(rng: Rng, size: int) -> np.ndarray:
    """Technical drawings, charts and circuit boards: straight and right-angled lines, boxes, arcs, letters, grids."""
    ground, ink = palette(rng, 2)
    if np.abs(ground - ink).max() < 0.3:
        ground, ink = 1 - ink, ink
    picture = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(picture)
    if rng.random() < 0.4:
        for place in np.arange(rng.uniform(0, 10), size, log_uniform(rng, 5, 60)):
            draw.line([place, 0, place, size], fill=90)
            draw.line([0, place, size, place], fill=90)
    for _ in range(rng.integers(8, 70)):
        kind, tone, width = rng.random(), int(rng.integers(90, 255)), int(rng.integers(1, 5))
        (x, y), (a, b) = rng.uniform(0, size, 2), rng.normal(0, size / 4, 2)
        if kind < 0.45:
            draw.line([x, y, x + a, y, x + a, y + b], fill=tone, width=width)
        elif kind < 0.65:
            draw.line([x, y, x + a, y + b], fill=tone, width=width)
        elif kind < 0.8:
            box = [*np.sort([x, x + a]), *np.sort([y, y + b])]
            draw.rectangle(
                [box[0], box[2], box[1], box[3]],
                outline=tone,
                fill=tone // 2 if rng.random() < 0.3 else None,
                width=width,
            )
        elif kind < 0.9:
            draw.text((x, y), words(rng, 6), fill=tone, font=font(int(rng.integers(7, 24))))
        else:
            start, reach = rng.uniform(0, 360), abs(a) + 10
            draw.arc(
                [x - reach, y - reach, x + reach, y + reach],
                start,
                start + rng.uniform(30, 200),
                fill=tone,
                width=width,
            )
    strength = np.asarray(picture, np.float32)[..., None] / 255
    sheet = ground * (1 + rng.uniform(0, 0.1) * surface(rng, size))[..., None]
    return (sheet + strength * (ink - sheet)).astype(np.float32)


# What a collage is put together from.
PARTS = (
    dead_leaves,
    surfaces,
    rubble,
    animal,
    portrait,
    gloom,
    print_page,
    masonry,
    landscape,
    crockery,
    stripes,
    drawing,
)


def clutter(rng: Rng, size: int) -> np.ndarray:
    """Round badges, wheels, lamps and helmets among other things: discs with inner rings and letters on dead leaves."""
    base = collage(rng, size) if rng.random() < 0.5 else dead_leaves(rng, size)
    picture = Image.fromarray((np.clip(base, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(8, 26)):
        x, y = rng.uniform(0, size, 2)
        radius = log_uniform(rng, 0.03, 0.3) * size
        tones = [tuple(int(255 * c) for c in colour) for colour in palette(rng, 4)]
        if rng.random() < 0.45:
            squash = rng.uniform(0.6, 1)
            for tone, ring in zip(tones, np.sort(rng.uniform(0.3, 1, rng.integers(1, 5)))[::-1]):
                r = radius * ring
                draw.ellipse([x - r, y - squash * r, x + r, y + squash * r], fill=tone)
            draw.text(
                (x - radius / 2, y - radius / 4), words(rng, 4), fill=tones[3], font=font(max(6, int(radius / 2)))
            )
        else:
            points = [tuple(p) for p in rng.normal(0, radius, (rng.integers(3, 7), 2)) + (x, y)]
            draw.polygon(points, fill=tones[0], outline=tones[1])
    shade = 1 + 0.15 * fractal(rng, size, size / 2, 5, 0.7)
    return blur(np.asarray(picture, np.float32) / 255 * shade[..., None], rng.uniform(0, 1.2))


def collage(rng: Rng, size: int) -> np.ndarray:
    """Two other pictures side by side along a wavy line, in or out of focus."""
    first, second = (PARTS[i](rng, size) for i in rng.integers(len(PARTS), size=2))
    if rng.random() < 0.3:
        first = blur(first, rng.uniform(1, 6))
    cover = ndimage.gaussian_filter((areas(rng, size) % 2).astype(np.float32), rng.uniform(0.5, 2))[..., None]
    return (first + cover * (second - first)).astype(np.float32)

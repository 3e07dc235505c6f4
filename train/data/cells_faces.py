"""Pictures without cells of people and animals: heads are the large round things of photographs, eyes the small ones.

The same contract as cells_negatives.py: (rng, size) to RGB float32 (S, S, 3) in about [0, 1], before the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.data.cells_negatives import dead_leaves, surfaces
from train.data.cells_regions import areas, palette, regions
from train.data.cells_shapes import Outline, log_uniform
from train.data.cells_textures import Rng, blur, fractal, hair, illumination, smooth_noise, surface

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

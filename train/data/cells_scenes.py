"""Scenes with cells: each function draws one family of pictures and returns (pixels, stage).

pixels: uint8 (S, S, 3). stage: the painted instances (see Stage). Sizes are in pixels of the picture.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from train.data.cells_objects import Look, Stage
from train.data.cells_optics import camera, dirt, glows, random_colour, tint
from train.data.cells_shapes import Outline, ShapeStyle, log_uniform, radii, random_style, scatter
from train.data.cells_textures import Rng, fractal, smooth_noise, warp

MAX_OBJECTS = 90


def crowd(
    rng: Rng, size: int, low: float, high: float, style: ShapeStyle | None = None, apart: float = 0.4
) -> list[Outline]:
    """Outlines of one population: sparse or dense; separate (chance `apart`), touching in chains or overlapping.

    low, high: range of the typical radius in pixels, which is never above 0.29 of the image.
    """
    style = style or random_style(rng)
    typical = log_uniform(rng, low, max(low + 0.1, min(high, 0.29 * size)))
    coverage = rng.choice([rng.uniform(0.02, 0.15), rng.uniform(0.1, 0.4), rng.uniform(0.4, 0.8)], p=[0.3, 0.45, 0.25])
    count = int(np.clip(coverage * size**2 / (np.pi * typical**2), 1, MAX_OBJECTS))
    if rng.random() < apart:
        gap, clump = rng.uniform(1.08, 1.5), 0.0
    else:
        gap, clump = rng.choice([rng.uniform(0.96, 1.04), rng.uniform(0.8, 0.95)]), rng.choice([0.0, 0.3, 0.8])
    places = scatter(rng, size, radii(rng, count, typical, rng.choice([0.05, 0.15, 0.35])), gap=gap, clump=clump)
    return [style.draw(rng, *place) for place in places]


def jitter(rng: Rng, look: Look, spread: float) -> Look:
    """The look of one individual: the same terms, stronger or weaker by a log-normal factor of the given spread."""
    factor = float(np.exp(spread * rng.standard_normal()))
    return replace(
        look, level=look.level * factor, nucleus=look.nucleus * float(rng.uniform(0.6, 1.4)), rim=look.rim * factor
    )


def maybe(rng: Rng, chance: float, low: float, high: float) -> float:
    """A number between low and high with the given chance, else 0."""
    return float(rng.uniform(low, high)) if rng.random() < chance else 0.0


def flat(rng: Rng, size: int, level: float, unevenness: float = 0.05) -> np.ndarray:
    """A nearly even ground, float32 (S, S, 1), with soft and sometimes fine fluctuations of the given size."""
    ground = np.full((size, size), level, np.float32)
    ground += np.float32(unevenness * rng.random()) * smooth_noise(rng, size, size / rng.uniform(2, 6))
    if rng.random() < 0.3:
        ground += np.float32(unevenness * rng.random()) * fractal(rng, size, rng.uniform(3, 25), 3)
    return ground[..., None]


def develop(rng: Rng, stage: Stage, noise: float, *, colourful: float = 0.3, light: float = 0.3) -> np.ndarray:
    """Grey stage to pixels, with dirt in one picture of four."""
    grey = stage.image[..., 0]
    if rng.random() < 0.25:
        grey = grey + np.float32(rng.uniform(0.1, 0.5)) * dirt(rng, grey.shape[0])
    return camera(rng, tint(rng, np.clip(grey, 0, 1), colourful), noise=noise, softness=1.5, light=light)


def fluorescence(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Glowing nuclei or whole cells on a dark ground, one colour channel, some dim, some out of focus."""
    stage = Stage.on(rng, flat(rng, size, rng.uniform(0.0, 0.15), 0.04))
    if rng.random() < 0.35:
        stage.image += np.float32(rng.uniform(0.05, 0.25)) * glows(rng, size)[..., None]
    level = log_uniform(rng, 0.15, 0.8)
    look = Look(
        level=level, dome=maybe(rng, 0.6, -0.2, 0.5) * level, ring=maybe(rng, 0.12, -0.6, -0.2) * level,
        rim=maybe(rng, 0.2, 0.2, 0.6) * level, grain=maybe(rng, 0.7, 0.03, 0.25) * level,
        nucleus=maybe(rng, 0.25, -0.4, 0.6) * level, nucleus_size=rng.uniform(0.3, 0.6),
        halo=maybe(rng, 0.4, 0.05, 0.25) * level, halo_width=rng.uniform(0.1, 0.4), soft=rng.uniform(1, 3),
        cover=float(rng.choice([0.0, 0.7])),
    )  # fmt: skip
    for outline in crowd(rng, size, 4.5, 45):
        stage.add(rng, outline, jitter(rng, look, 0.3))
    return develop(rng, stage, 0.05 + 0.1 * level, colourful=0.5), stage


def two_channels(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Whole cells whose body and nucleus glow in two different colours."""
    stage = Stage.on(rng, np.repeat(flat(rng, size, rng.uniform(0, 0.08), 0.03), 3, axis=2))
    body, core = random_colour(rng, 1.0), random_colour(rng, 1.0)
    level = rng.uniform(0.15, 0.6)
    look = Look(
        level=level, dome=rng.uniform(0, 0.3) * level, rim=maybe(rng, 0.5, 0.1, 0.5) * level,
        grain=rng.uniform(0.05, 0.3) * level, soft=rng.uniform(1, 2.5), cover=0.8,
    )  # fmt: skip
    bright = Look(level=rng.uniform(0.4, 0.8), grain=0.08, soft=1.5, cover=0.5)
    for outline in crowd(rng, size, 10, 50):
        stage.add(rng, outline, jitter(rng, look, 0.25), body)
        away_x, away_y = rng.uniform(-0.2, 0.2, 2) * outline.radius
        small = replace(
            outline, x=outline.x + away_x, y=outline.y + away_y, radius=outline.radius * rng.uniform(0.35, 0.55)
        )
        stage.add(rng, small, bright, core, mark=False)
    return camera(rng, stage.image, noise=0.08, softness=1.5), stage


def bright_field(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Cells seen in transmitted light: dark or pale discs with rims on a bright ground; blood cells, yeast, spores."""
    base = rng.uniform(0.5, 0.9)
    stage = Stage.on(rng, np.repeat(flat(rng, size, base, 0.04), 3, axis=2))
    depth = log_uniform(rng, 0.12, 0.5)
    look = Look(
        level=-depth * rng.choice([0.15, 0.6, 1.0]), ring=maybe(rng, 0.4, 0.3, 0.9) * depth,
        dome=maybe(rng, 0.4, -0.4, 0.4) * depth, rim=-depth * rng.uniform(0.3, 1.0),
        rim_width=rng.uniform(0.05, 0.15), halo=maybe(rng, 0.4, 0.1, 0.5) * depth, halo_width=rng.uniform(0.05, 0.2),
        grain=maybe(rng, 0.5, 0.02, 0.2) * depth, nucleus=-maybe(rng, 0.35, 0.3, 1.0) * depth,
        nucleus_size=rng.uniform(0.25, 0.65), soft=rng.uniform(1, 2.5),
    )  # fmt: skip
    grey = rng.random() < 0.35
    colour = np.ones(3, np.float32) if grey else 1.1 - random_colour(rng, 0.9) * np.float32(0.9)
    colour = colour / colour.max()
    if not grey and rng.random() < 0.6:
        stage.image *= 1 - np.float32(0.2) * (1 - random_colour(rng))
    for outline in crowd(rng, size, 5, 55):
        own = jitter(rng, look, 0.15)
        # A white cell among red ones: another colour, a large dark nucleus.
        odd = rng.random() < 0.04
        stage.add(rng, outline, replace(own, nucleus=-0.5, ring=0.0) if odd else own, colour[::-1] if odd else colour)
    if rng.random() < 0.25:
        stage.image += np.float32(0.4) * dirt(rng, size)[..., None]
    return camera(rng, stage.image, noise=0.08 * depth + 0.02, softness=1.5), stage


def phase_contrast(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Grey cells with bright or dark halos on a mid-grey ground."""
    stage = Stage.on(rng, flat(rng, size, rng.uniform(0.3, 0.6), 0.05))
    strength = rng.uniform(0.1, 0.35)
    sign = rng.choice([-1.0, 1.0])
    look = Look(
        level=sign * strength * rng.choice([0.3, 1.0]), dome=rng.uniform(-0.4, 0.4) * strength,
        halo=-sign * strength * rng.uniform(0.3, 1.2), halo_width=rng.uniform(0.06, 0.35),
        rim=sign * strength * rng.uniform(0, 0.8), rim_width=rng.uniform(0.05, 0.15),
        grain=rng.uniform(0.05, 0.5) * strength, nucleus=maybe(rng, 0.4, -0.7, 0.7) * strength,
        soft=rng.uniform(1, 3),
    )  # fmt: skip
    for outline in crowd(rng, size, 6, 60):
        stage.add(rng, outline, jitter(rng, look, 0.2))
    return develop(rng, stage, 0.06, colourful=0.1), stage


def relief_contrast(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """DIC: as if lit from one side; the body may be no brighter than the ground."""
    stage = Stage.on(rng, flat(rng, size, rng.uniform(0.35, 0.6), 0.04))
    strength = rng.uniform(0.1, 0.35)
    look = Look(
        level=rng.uniform(-0.3, 0.3) * strength, slope=strength * rng.uniform(0.3, 1),
        bevel=strength * rng.uniform(0.3, 1.2), rim_width=rng.uniform(0.08, 0.25),
        grain=rng.uniform(0.05, 0.35) * strength, cover=0.5, nucleus=maybe(rng, 0.4, -0.4, 0.4) * strength, soft=2.0,
    )  # fmt: skip
    ground = float(stage.image.mean())
    for outline in crowd(rng, size, 7, 55):
        stage.add(rng, outline, jitter(rng, look, 0.15), ground=ground)
    return develop(rng, stage, 0.05, colourful=0.08), stage


def stained(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Tissue: nuclei in haematoxylin blue or DAB brown over eosin pink or pale counterstain, as densities.

    Light through a dye follows Beer and Lambert: intensity = exp(-density), so dyes add up as densities.
    """
    blue = np.array([0.75, 0.75, 0.35]) * rng.uniform(0.7, 1.2, 3)
    pink = np.array([0.12, 0.6, 0.3]) * rng.uniform(0.7, 1.2, 3)
    brown = np.array([0.35, 0.7, 1.0]) * rng.uniform(0.8, 1.2, 3)
    ground = np.full((size, size), rng.uniform(0, 0.5), np.float32)
    ground += np.float32(rng.uniform(0.05, 0.35)) * warp(
        rng, fractal(rng, size, rng.uniform(10, 60), 5, 0.7), 8, size / 4
    )
    veil = (pink if rng.random() < 0.7 else rng.choice([blue, brown])).astype(np.float32)
    stage = Stage.on(rng, np.clip(ground, 0.02, 2)[..., None] * veil)
    look = Look(
        level=rng.uniform(0.4, 1.0), dome=rng.uniform(-0.3, 0.3), grain=rng.uniform(0.05, 0.3),
        rim=maybe(rng, 0.5, 0.05, 0.4), soft=rng.uniform(1.5, 3), cover=0.4,
    )  # fmt: skip
    share = rng.choice([0.0, rng.random()])
    style = ShapeStyle(aspect=(1, rng.uniform(1.2, 2.2)), wobble=rng.uniform(0.02, 0.12))
    for outline in crowd(rng, size, 5, 24, style):
        dye = brown if rng.random() < share else blue
        stage.add(rng, outline, jitter(rng, look, 0.25), dye.astype(np.float32))
    return camera(rng, np.exp(-np.maximum(stage.image, 0)), noise=0.04, light=0.1), stage


def confluent(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """A sheet of cells without gaps: warped Voronoi regions with drawn membranes and, mostly, a nucleus in each."""
    stage = Stage.on(rng, flat(rng, size, 0.0, 0.02))
    pitch = log_uniform(rng, 18, 48)
    seeds = np.array(scatter(rng, size, np.full(300, pitch / 2), gap=0.9, tries=6))[:, :2]
    marks = np.full((size, size), True)
    marks[tuple(np.clip(seeds[:, ::-1].astype(int), 0, size - 1).T)] = False
    rows, columns = ndimage.distance_transform_edt(marks, return_distances=False, return_indices=True)
    cells = 1 + np.unique(rows * size + columns, return_inverse=True)[1].reshape(size, size)
    push = (
        (np.mgrid[0:size, 0:size] + 0.08 * pitch * np.stack([smooth_noise(rng, size, pitch / 2) for _ in "yx"]))
        .round()
        .astype(int)
    )
    cells = cells[tuple(np.clip(push, 0, size - 1))].astype(np.int32)
    edges = (ndimage.maximum_filter(cells, 3) != ndimage.minimum_filter(cells, 3)).astype(np.float32)
    body, membrane = rng.uniform(0.1, 0.5), rng.choice([-1, 1]) * rng.uniform(0.25, 0.6)
    levels = (body * np.exp(0.25 * rng.standard_normal(cells.max() + 1))).astype(np.float32)
    line = ndimage.gaussian_filter(edges, rng.uniform(0.6, 1.3))
    stage.image[..., 0] += levels[cells] * (1 + 0.15 * stage.coarse) + np.float32(membrane) * line
    if rng.random() < 0.6:
        nucleus = Look(level=rng.choice([-0.15, 0.35]), soft=2.0, grain=0.05)
        for x, y in seeds:
            stage.add(rng, ShapeStyle((1, 1.4)).draw(rng, x, y, pitch * rng.uniform(0.16, 0.24)), nucleus, mark=False)
    stage.instances[:] = cells
    # Warping can tear off specks; an area one above the visible has the label code look for them.
    stage.areas.update(enumerate((np.bincount(cells.ravel()) + 1).tolist()))
    return develop(rng, stage, 0.05, colourful=0.5), stage

"""Separate things outside the microscope, and single or arbitrary cells; the same contract as cells_scenes.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from train.data.cells_objects import Look, Stage
from train.data.cells_optics import camera, random_colour
from train.data.cells_scenes import MAX_OBJECTS, crowd, develop, flat, jitter, maybe
from train.data.cells_shapes import Outline, ShapeStyle, grid, log_uniform, radii, random_style, scatter
from train.data.cells_textures import Rng, surface


def coins(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Embossed metal discs lit from one side under uneven light, some hardly brighter than what they lie on."""
    ground = flat(rng, size, rng.uniform(0.08, 0.5), 0.04)
    if rng.random() < 0.4:
        ground = ground + np.float32(rng.uniform(0.01, 0.08)) * surface(rng, size)[..., None]
    base = float(ground.mean())
    stage = Stage.on(rng, ground)
    typical = log_uniform(rng, min(9, 0.2 * size), min(50, 0.25 * size))
    if rng.random() < 0.5:
        places = grid(rng, size, typical, rng.uniform(2.3, 3.6), rng.uniform(0, 0.25))
    else:
        count = int(np.clip(rng.uniform(0.1, 0.5) * size**2 / (np.pi * typical**2), 1, MAX_OBJECTS))
        gap = rng.choice([1.15, 1.0], p=[0.7, 0.3])
        places = scatter(rng, size, radii(rng, count, typical, 0.2), gap=gap)
    style = ShapeStyle(aspect=(1.0, 1.12), wobble=rng.uniform(0, 0.035))
    step = rng.choice([0.03, 0.15, 0.3], p=[0.2, 0.4, 0.4])
    look = Look(
        relief=rng.uniform(0.15, 0.55), bevel=maybe(rng, 0.8, 0.05, 0.3), rim=maybe(rng, 0.6, -0.1, 0.2),
        grain=rng.uniform(0.01, 0.05), rim_width=rng.uniform(0.04, 0.1), shadow=maybe(rng, 0.6, 0.05, 0.5) * base,
        halo=1e-6, halo_width=rng.uniform(0.04, 0.2), slope=rng.uniform(0, 0.1), cover=1.0, soft=rng.uniform(1, 2),
    )  # fmt: skip
    for place in places:
        own = replace(look, level=float(step * rng.uniform(0.6, 1.4) + 0.06 * rng.normal()))
        stage.add(rng, style.draw(rng, *place), own, ground=base)
    pixels = develop(rng, stage, 0.06, colourful=0.2, light=0.85)
    return pixels, stage


def pills(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Coloured round things on a table: tablets, sweets, seeds, buttons, with highlights and shadows."""
    table = random_colour(rng, 0.6) * rng.uniform(0.15, 1.0)
    pattern = 1 + rng.uniform(0, 0.12) * surface(rng, size) if rng.random() < 0.6 else np.ones((size, size), np.float32)
    stage = Stage.on(rng, (pattern[..., None] * table).astype(np.float32))
    colours = [random_colour(rng, 0.9) for _ in range(rng.integers(1, 5))]
    look = Look(
        level=0.0, dome=rng.uniform(0, 0.35), slope=rng.uniform(0, 0.25), bevel=rng.uniform(0, 0.2),
        gloss=maybe(rng, 0.5, 0.2, 0.8), grain=rng.uniform(0, 0.06), stripes=maybe(rng, 0.15, 0.05, 0.2),
        relief=maybe(rng, 0.2, 0.1, 0.3), halo=1e-6, shadow=rng.uniform(0, 0.4), halo_width=rng.uniform(0.08, 0.25),
        cover=1.0,
    )  # fmt: skip
    for outline in crowd(rng, size, 7, 48, apart=0.5):
        colour, brightness = colours[rng.integers(len(colours))], rng.uniform(0.85, 1.1)
        # A thing of the table's own colour and brightness would be marked and yet invisible.
        distance = float(np.abs(0.75 * colour - table).max())
        stage.add(rng, outline, look, colour * brightness, ground=0.75 if distance > 0.2 else 0.35)
    return camera(rng, stage.image, noise=0.04, light=0.5, plain=True), stage


def lone_cell(rng: Rng, size: int, dusty: float = 0.5) -> tuple[np.ndarray, Stage]:
    """One to three cells, often large, on a smooth ground that is otherwise empty but for dust.

    dusty: chance of dust.
    """
    base = rng.uniform(0.15, 0.75)
    stage = Stage.on(rng, flat(rng, size, base, 0.05))
    # Towards whichever end of the range has more room, so that the cell shows.
    sign = 1.0 if rng.random() < 1 - base else -1.0
    strength = rng.uniform(0.12, 0.6)
    look = Look(
        level=sign * strength, dome=maybe(rng, 0.6, -0.5, 0.6) * strength,
        ring=maybe(rng, 0.1, -0.8, -0.3) * sign * strength, rim=maybe(rng, 0.4, -0.8, 0.8) * strength,
        rim_width=rng.uniform(0.04, 0.15), halo=maybe(rng, 0.6, -0.8, 0.4) * sign * strength,
        halo_width=rng.uniform(0.05, 0.3), grain=maybe(rng, 0.8, 0.03, 0.3) * strength,
        nucleus=maybe(rng, 0.3, -0.7, 0.7) * strength, slope=maybe(rng, 0.2, 0.1, 0.4) * strength,
        gloss=maybe(rng, 0.3, 0.1, 0.5), relief=maybe(rng, 0.15, 0.1, 0.4), soft=rng.uniform(1.5, 6),
    )  # fmt: skip
    style = random_style(rng)
    biggest = log_uniform(rng, min(14, 0.29 * size), 0.3 * size + 1)
    count = rng.choice([1, 2, 3], p=[0.75, 0.15, 0.1])
    for x, y, radius in scatter(rng, size, radii(rng, count, biggest, 0.15 if count > 1 else 0.0), gap=1.2):
        if count == 1 and rng.random() < 0.8:
            x, y = rng.uniform(radius, size - radius, 2)
        stage.add(rng, style.draw(rng, float(x), float(y), radius), look)
    if rng.random() < dusty:
        # Dust on the glass is round too, but tiny beside the cell.
        for x, y in rng.uniform(0, size, (rng.integers(1, 12), 2)):
            spot = Look(
                level=rng.uniform(-1, 1) * strength, rim=rng.uniform(-1, 1) * strength, rim_width=0.3,
                halo=rng.uniform(-0.5, 0.5) * strength, halo_width=0.5, soft=rng.uniform(1, 2.5),
            )  # fmt: skip
            speck = Outline(float(x), float(y), rng.uniform(0.6, max(1.2, 0.09 * biggest)))
            stage.add(rng, speck, spot, mark=False)
    return develop(rng, stage, 0.05, colourful=0.25, light=0.35), stage


def dusty_cell(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """As lone_cell, and always with dust: a network that has seen few such pictures takes specks for small cells."""
    return lone_cell(rng, size, dusty=1.0)


def night_sky(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Stars and galaxies: soft coloured blobs on black. Points too small for an outline are painted but not marked."""
    stage = Stage.on(rng, np.repeat(flat(rng, size, rng.uniform(0, 0.08), 0.02), 3, axis=2))
    point = Look(level=0.7, soft=2.0)
    for x, y in rng.uniform(0, size, (rng.integers(0, 50), 2)):
        stage.add(rng, Outline(float(x), float(y), rng.uniform(0.5, 1.3)), point, random_colour(rng, 0.5), mark=False)
    style = ShapeStyle(aspect=(1.0, 2.5))
    places = scatter(rng, size, radii(rng, int(rng.integers(2, 40)), log_uniform(rng, 3.5, 11), 0.4), gap=1.1)
    for place in places:
        level = rng.uniform(0.2, 0.6)
        look = Look(
            level=level, dome=rng.uniform(0.2, 0.8) * level, ring=rng.uniform(0, 1.0) * level, soft=rng.uniform(2, 4),
            halo=0.3 * level, halo_width=0.25,
        )  # fmt: skip
        stage.add(rng, style.draw(rng, *place), look, random_colour(rng, 0.6))
    return camera(rng, stage.image, noise=0.05, light=0.1), stage


def anything(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Blobs whose every term is drawn at random, against the regularities of the other scenes."""
    base = rng.uniform(0.1, 0.9)
    ground = flat(rng, size, base, 0.1) + np.float32(maybe(rng, 0.5, 0.01, 0.06)) * surface(rng, size)[..., None]
    stage = Stage.on(rng, ground)
    room = (1 - base) if base < 0.5 else -base
    look = Look(
        level=room * rng.uniform(0.15, 0.8), dome=rng.normal() * 0.12, ring=maybe(rng, 0.2, -0.3, 0.3),
        rim=rng.normal() * 0.15, rim_width=rng.uniform(0.05, 0.2), halo=maybe(rng, 0.4, -0.2, 0.2),
        halo_width=rng.uniform(0.05, 0.3), grain=maybe(rng, 0.6, 0.01, 0.1), nucleus=maybe(rng, 0.4, -0.4, 0.4),
        nucleus_size=rng.uniform(0.2, 0.7), slope=maybe(rng, 0.4, 0, 0.3), bevel=maybe(rng, 0.3, 0, 0.3),
        relief=maybe(rng, 0.2, 0.1, 0.5), gloss=maybe(rng, 0.2, 0.2, 0.6), stripes=maybe(rng, 0.1, 0.05, 0.2),
        shadow=maybe(rng, 0.3, 0, 0.3), cover=float(rng.choice([0.0, 0.8])), soft=rng.uniform(1, 4),
    )  # fmt: skip
    for outline in crowd(rng, size, 4.5, 70):
        stage.add(rng, outline, jitter(rng, look, 0.25), ground=base)
    return develop(rng, stage, 0.04, colourful=0.4, light=0.6), stage

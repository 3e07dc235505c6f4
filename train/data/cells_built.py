"""More pictures without cells, of things that people build: walls, houses, crockery, flags, drawings, and collages."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from train.data import cells_faces as faces
from train.data import cells_negatives as negatives
from train.data.cells_optics import font, words
from train.data.cells_regions import areas, palette, regions
from train.data.cells_shapes import Outline, log_uniform
from train.data.cells_textures import Rng, axes, blur, folds, fractal, surface, wood


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
    negatives.dead_leaves,
    negatives.surfaces,
    negatives.rubble,
    faces.animal,
    faces.portrait,
    negatives.gloom,
    negatives.print_page,
    masonry,
    landscape,
    crockery,
    stripes,
    drawing,
)


def clutter(rng: Rng, size: int) -> np.ndarray:
    """Round badges, wheels, lamps and helmets among other things: discs with inner rings and letters on dead leaves."""
    base = collage(rng, size) if rng.random() < 0.5 else negatives.dead_leaves(rng, size)
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

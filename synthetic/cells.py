"""The built-in training data `cells`: rendered microscopy and separate round things, drawn from a seed.

Everything is procedural: no file, no download, no pixel of a real picture. About two thirds of the pictures hold cells
(fluorescence, bright field, phase contrast, stained tissue, coins, pills, galaxies ...); the others imitate everyday
photographs and empty fields, so that a network learns what not to paint. `SCENES` is the mixture of the held-out
pictures; `TRAINING_SCENES`, with more of the latter, is that of the pictures to learn from.

Here are also the labels (whole visible objects, and the thin line that keeps touching ones apart) and the pictures of ground, leaves,
blossoms, solids and montages, which keep the contract of negatives.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from seg_demo.annotations.listing import Sample
from synthetic import negatives, scenes
from synthetic.negatives import surfaces
from synthetic.shapes import (
    Rng,
    areas,
    blur,
    camera,
    font,
    fractal,
    illumination,
    log_uniform,
    palette,
    regions,
    resize,
    smooth_noise,
    surface,
    warp,
    words,
)

BACKGROUND, CELL, BORDER = 0, 1, 2
MIN_AREA = 20
MIN_VISIBLE = 0.3
MIN_INTERIOR = 8


def finish_labels(instances: np.ndarray, full_areas: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cleans an instance map and derives the label map: returns (label map uint8, instance map uint16), both (H, W).

    instances: integer (H, W), 0 for none, as painted from bottom to top. full_areas: instance -> its area inside the
    frame before others covered it. Objects with fewer than MIN_AREA pixels, less than MIN_VISIBLE of their area or no
    interior left are dropped, and of an object that another one cuts in two only the largest piece stays.

    The border class is that of the U-Net paper (Ronneberger, Fischer, Brox 2015): a line of background between touching
    cells, so that the connected components of class CELL are the separate cells. Here it is a class of its own.
    """
    instances = instances.astype(np.uint16)
    _keep_largest_pieces(instances, full_areas)
    labels = _borders(instances)
    if _drop_hollow(instances, labels):
        labels = _borders(instances)
        _drop_hollow(instances, labels)
    numbers = np.unique(instances)
    lookup = np.zeros(int(numbers.max()) + 1, np.uint16)
    lookup[numbers] = np.arange(len(numbers)) if numbers[0] == 0 else np.arange(1, len(numbers) + 1)
    return labels, lookup[instances]


def _keep_largest_pieces(instances: np.ndarray, full_areas: dict[int, int]) -> None:
    """Drops hidden and tiny instances and detached pieces, in place."""
    for number, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        view = instances[box]
        mask = view == number
        area = int(mask.sum())
        if area < max(MIN_AREA, MIN_VISIBLE * full_areas.get(number, area)):
            view[mask] = 0
        elif area < full_areas.get(number, area):
            pieces, count = ndimage.label(mask)
            if count > 1:
                largest = 1 + np.argmax(np.bincount(pieces.ravel())[1:])
                view[mask & (pieces != largest)] = 0


def _borders(instances: np.ndarray) -> np.ndarray:
    """Label map uint8 (H, W): cells where the instances are, and a border about two pixels wide between neighbours."""
    # Growing the cells by a pixel first lets neighbours see each other across a gap of one or two pixels.
    grown = np.where(instances > 0, instances, _window(instances, np.maximum))
    high = _window(grown, np.maximum)
    low = _window(np.where(grown > 0, grown, np.uint16(65535)), np.minimum)
    labels = (instances > 0).astype(np.uint8)
    labels[(grown > 0) & (high != low)] = BORDER
    return labels


def _window(array: np.ndarray, pick: np.ufunc) -> np.ndarray:
    """Greatest or least value (np.maximum, np.minimum) in the 3 x 3 neighbourhood of each pixel."""
    for axis in (0, 1):
        padded = np.pad(array, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        length = array.shape[axis]
        before, here, after = (padded.take(range(s, s + length), axis=axis) for s in range(3))
        array = pick(pick(before, here), after)
    return array


def _drop_hollow(instances: np.ndarray, labels: np.ndarray) -> bool:
    """Removes instances whose interior vanished under the border, and makes border of all but the largest interior
    piece of the others; both in place. True if an instance was removed."""
    dropped = False
    for number, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        whole = instances[box] == number
        interior = whole & (labels[box] == CELL)
        area = np.count_nonzero(interior)
        if area == np.count_nonzero(whole):
            continue
        pieces, count = ndimage.label(interior)
        sizes = np.bincount(pieces.ravel())[1:] if count else np.zeros(1, int)
        if sizes.max() < MIN_INTERIOR:
            instances[box][whole] = 0
            labels[box][whole] = BACKGROUND
            dropped = True
        elif count > 1:
            labels[box][interior & (pieces != 1 + np.argmax(sizes))] = BORDER
    return dropped


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


PARTS = (*negatives.PARTS, negatives.clutter, terrain, foliage, blossom, solids)


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


CLASS_NAMES = ("background", "cell", "border")
CLASS_COLORS = ((0, 0, 0), (64, 176, 255), (255, 176, 0))

MIN_SIZE = 32

# Scene -> (weight, function drawing it). Weights need not sum to one.
CELL_SCENES: dict[str, tuple[float, Callable]] = {
    "fluorescence": (11, scenes.fluorescence),
    "two_channels": (4, scenes.two_channels),
    "bright_field": (10, scenes.bright_field),
    "phase_contrast": (7, scenes.phase_contrast),
    "relief_contrast": (4, scenes.relief_contrast),
    "stained": (6, scenes.stained),
    "coins": (11, scenes.coins),
    "pills": (5, scenes.pills),
    "lone_cell": (5, scenes.lone_cell),
    "confluent": (1.5, scenes.confluent),
    "night_sky": (2.5, scenes.night_sky),
    "anything": (4, scenes.anything),
}
PHOTOGRAPHS: dict[str, tuple[float, Callable]] = {
    "dead_leaves": (4, negatives.dead_leaves),
    "surfaces": (2.5, negatives.surfaces),
    "rubble": (1.5, negatives.rubble),
    "animal": (2.5, negatives.animal),
    "portrait": (5, negatives.portrait),
    "gloom": (3, negatives.gloom),
    "empty_field": (3, negatives.empty_field),
    "print_page": (2.5, negatives.print_page),
    "masonry": (1.5, negatives.masonry),
    "landscape": (2, negatives.landscape),
    "crockery": (2.5, negatives.crockery),
    "stripes": (1.5, negatives.stripes),
    "drawing": (1, negatives.drawing),
    "clutter": (3, negatives.clutter),
    "collage": (3, negatives.collage),
}
SCENES = CELL_SCENES | PHOTOGRAPHS
# Networks learn from more of what they must not paint, dust too. The held-out pictures keep the mixture above, so that the
# figures of checkpoints trained at different times can be compared.
MORE_NEGATIVES: dict[str, tuple[float, Callable]] = {
    "animal": (3, negatives.animal),
    "portrait": (6, negatives.portrait),
    "terrain": (2, terrain),
    "foliage": (2, foliage),
    "blossom": (2, blossom),
    "solids": (2, solids),
    "montage": (6, montage),
}
MORE_CELLS: dict[str, tuple[float, Callable]] = {"dusty_cell": (10, scenes.dusty_cell)}
WITH_CELLS = CELL_SCENES | MORE_CELLS
TRAINING_SCENES = SCENES | MORE_NEGATIVES | MORE_CELLS


def render(seed: int, index: int, size: int = 256, *, kind: str | None = None, training: bool = False) -> Sample:
    """Draws picture number `index` of the data set `seed`, always the same for the same arguments.

    size: side in pixels, at least MIN_SIZE; objects have radii from 4 to about 75 pixels, never above 0.3 of the side.
    kind: a name in TRAINING_SCENES; None draws one by its weight.
    training: draw from TRAINING_SCENES instead of SCENES.

    Returns a Sample with image uint8 (size, size, 3), label map uint8 (size, size) with the ids of CLASS_NAMES and an
    instance map uint16 (size, size). Cells are class 1 up to their edge; class 2 is a line about two pixels wide only
    where cells touch, overlap or nearly touch, so that the connected components of class 1 are the separate cells.
    """
    if size < MIN_SIZE:
        raise ValueError(f"size is {size}, expected at least {MIN_SIZE}")
    if kind is not None and kind not in TRAINING_SCENES:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(TRAINING_SCENES)}")
    rng = np.random.default_rng([seed, index])
    if kind is None:
        scenes_drawn = TRAINING_SCENES if training else SCENES
        weights = np.array([weight for weight, _ in scenes_drawn.values()])
        kind = list(scenes_drawn)[rng.choice(len(weights), p=weights / weights.sum())]
    name = f"cells-{seed}-{index}-{kind}"
    if kind in WITH_CELLS:
        pixels, stage = WITH_CELLS[kind][1](rng, size)
        labels, instances = finish_labels(stage.instances, stage.areas)
        return Sample(pixels, labels, instances, name)
    image = TRAINING_SCENES[kind][1](rng, size)
    if rng.random() < 0.3:
        # Grey photographs too, or colour alone would tell photographs from coins and phase contrast.
        image = np.repeat(image @ np.float32([[0.3], [0.59], [0.11]]), 3, axis=2)
    pixels = camera(rng, image.astype(np.float32), noise=0.04, light=0.4, plain=True)
    return Sample(pixels, np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint16), name)

"""The built-in training data `cells`: rendered microscopy and separate round things, drawn from a seed.

Everything is procedural: no file, no download, no pixel of a real picture. About two thirds of the pictures hold cells
(fluorescence, bright field, phase contrast, stained tissue, coins, pills, galaxies ...); the others imitate everyday
photographs and empty fields, so that a network learns what not to paint. `SCENES` is the mixture of the held-out
pictures; `TRAINING_SCENES`, with more of the latter, is that of the pictures to learn from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from train.data import cells_built as built
from train.data import cells_faces as faces
from train.data import cells_natural as natural
from train.data import cells_negatives as negatives
from train.data import cells_scenes as scenes
from train.data import cells_things as things
from train.data.cells_labels import finish_labels
from train.data.cells_optics import camera
from train.data.sample import Sample

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
    "coins": (11, things.coins),
    "pills": (5, things.pills),
    "lone_cell": (5, things.lone_cell),
    "confluent": (1.5, scenes.confluent),
    "night_sky": (2.5, things.night_sky),
    "anything": (4, things.anything),
}
PHOTOGRAPHS: dict[str, tuple[float, Callable]] = {
    "dead_leaves": (4, negatives.dead_leaves),
    "surfaces": (2.5, negatives.surfaces),
    "rubble": (1.5, negatives.rubble),
    "animal": (2.5, faces.animal),
    "portrait": (5, faces.portrait),
    "gloom": (3, negatives.gloom),
    "empty_field": (3, negatives.empty_field),
    "print_page": (2.5, negatives.print_page),
    "masonry": (1.5, built.masonry),
    "landscape": (2, built.landscape),
    "crockery": (2.5, built.crockery),
    "stripes": (1.5, built.stripes),
    "drawing": (1, built.drawing),
    "clutter": (3, built.clutter),
    "collage": (3, built.collage),
}
SCENES = CELL_SCENES | PHOTOGRAPHS
# Networks learn from more of what they must not paint, dust too. The held-out pictures keep the mixture above, so that the
# figures of checkpoints trained at different times can be compared.
MORE_NEGATIVES: dict[str, tuple[float, Callable]] = {
    "animal": (3, faces.animal),
    "portrait": (6, faces.portrait),
    "terrain": (2, natural.terrain),
    "foliage": (2, natural.foliage),
    "blossom": (2, natural.blossom),
    "solids": (2, natural.solids),
    "montage": (6, natural.montage),
}
MORE_CELLS: dict[str, tuple[float, Callable]] = {"dusty_cell": (10, things.dusty_cell)}
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

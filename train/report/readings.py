"""A picture of one sample in each of several equally likely readings of a dataset's masks, for a person to choose from."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seg_demo.errors import SegDemoError
from seg_demo.labels import distinct_colors
from train.data.diagnosis import Diagnosis
from train.data.index import Dataset, Item
from train.data.listing import Choice
from train.data.sample import Sample

FILE = "two-readings.png"
SIDE, GAP, LINE = 320, 12, 22
_SHADE = 0.65


def with_picture(diagnosis: Diagnosis, dataset: Dataset, folder: Path) -> Diagnosis:
    """The diagnosis with a picture for each fault that lets a person choose; as it was if none does, or no sample can be read.

    Args:
        diagnosis: of the dataset.
        dataset: as opened.
        folder: where to write ``two-readings.png``; where that cannot be, in the folder for temporary files.
    """
    fault = next((fault for fault in diagnosis.faults if fault.choices), None)
    shown = None if fault is None else _sample(dataset, fault.choices)
    if shown is None:
        return diagnosis
    path = _save(draw(*shown), folder)
    faults = tuple(replace(each, picture=str(path)) if each is fault else each for each in diagnosis.faults)
    return replace(diagnosis, faults=faults)


def _sample(dataset: Dataset, choices: Sequence[Choice]) -> tuple[list[Sample], list[Choice]] | None:
    """One item in each reading: of the first few the one that holds most, as read where it can be."""
    scans = dataset.scans

    def held(item: Item) -> int:
        scan = scans[item.name].mask or scans[item.name].instances
        return 0 if scan is None or scans[item.name].faults else len(scan.counts)

    readings = [dataset.read_as(choice.reading) for choice in choices]
    for item in sorted(dataset.items, key=held, reverse=True)[:8]:
        try:
            found = [reading.read(reading.named(item.name)) for reading in readings]
        except (SegDemoError, OSError):
            continue
        return found, list(choices)
    return None


def draw(samples: Sequence[Sample], choices: Sequence[Choice]) -> Image.Image:
    """The picture, and beside it what each reading makes of its mask, with the reading's name and meaning above.

    Args:
        samples: the same image in each reading.
        choices: of the same length.

    Returns:
        RGB, as wide as the pictures are in a row.
    """
    image = samples[0].image
    scale = SIDE / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    photo = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    tiles = [(samples[0].name, "", photo)]
    for sample, choice in zip(samples, choices, strict=True):
        ids = sample.label_map if sample.instance_map is None else sample.instance_map
        colours = Image.fromarray(_coloured(ids)).resize(size, Image.Resampling.NEAREST)
        kind = "classes" if sample.instance_map is None else "objects"
        drawn = np.unique(ids[ids > 0] if sample.instance_map is not None else ids[ids < np.iinfo(ids.dtype).max])
        tiles.append((f"{choice.reading}: {len(drawn)} {kind}", choice.means, Image.blend(photo, colours, _SHADE)))
    font = ImageFont.load_default(15)
    width = max(size[0], *(int(font.getlength(text)) + 1 for tile in tiles for text in tile[:2]))
    sheet = Image.new("RGB", (len(tiles) * (width + GAP) + GAP, size[1] + 2 * LINE + 2 * GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (name, means, picture) in enumerate(tiles):
        left = GAP + index * (width + GAP)
        pen.text((left, GAP // 2), name, fill="black", font=font)
        pen.text((left, GAP // 2 + LINE), means, fill="black", font=font)
        sheet.paste(picture, (left, GAP + 2 * LINE))
    return sheet


def _coloured(ids: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): 0 black, what is ignored white, everything else a colour of its own."""
    found, places = np.unique(ids, return_inverse=True)
    colours = distinct_colors(len(found), None).copy()
    colours[found == 0] = 0
    colours[found == np.iinfo(ids.dtype).max] = 255
    return colours[places.reshape(ids.shape)]


def _save(picture: Image.Image, folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        picture.save(path)
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="masks-")) / FILE
        picture.save(path)
    return path

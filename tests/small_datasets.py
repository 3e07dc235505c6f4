"""Tiny datasets on disk, in the formats that people have."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32


def picture(index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 (height, width, 3): another picture for another index."""
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blob_mask(index: int, value: int = 1, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 (height, width): a rectangle of ``value`` whose place depends on the index, 0 around it."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[4 + index % 5 : 14, 6 + index % 7 : 20] = value
    return mask


def two_values(first: int, second: int) -> np.ndarray:
    """uint8 mask: 0, with a left blob of one value and a right blob of another."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[3:9, 2:9] = first
    mask[5:20, 15:30] = second
    return mask


def save(array: np.ndarray, path: Path, **options: object) -> Path:
    """Writes an array as an image file; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def save_palette(indices: np.ndarray, colors: Sequence[Sequence[int]], path: Path) -> Path:
    """Writes a palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices, mode="P")
    image.putpalette([channel for color in colors for channel in color])
    image.save(path)
    return path


def save_turned(stored: np.ndarray, orientation: int, path: Path) -> Path:
    """Writes pixels as a camera stores them, with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(stored, path, exif=exif.tobytes())


def folder(root: Path, count: int = 6, value: int = 1, classes: str | None = "background\ncell\n") -> Path:
    """images/ and masks/ with the same stems, and classes.txt."""
    for index in range(count):
        save(picture(index), root / "images" / f"{index}.png")
        save(blob_mask(index, value), root / "masks" / f"{index}.png")
    if classes is not None:
        (root / "classes.txt").write_text(classes)
    return root


def square(x: float, y: float, side: float) -> list[list[float]]:
    """A COCO polygon: one square."""
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def coco(root: Path, count: int = 4) -> dict:
    """A COCO dictionary with ``count`` images, written beside it to ``root``, and two categories with gaps in their ids."""
    data = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "cat"}, {"id": 17, "name": "dog"}]}
    for index in range(count):
        save(picture(index), root / "images" / f"{index}.png")
        data["images"].append({"id": 10 + index, "file_name": f"{index}.png", "height": HEIGHT, "width": WIDTH})
        for number, category in enumerate((3, 17)):
            data["annotations"].append(
                {
                    "id": 2 * index + number + 1,
                    "image_id": 10 + index,
                    "category_id": category,
                    "iscrowd": 0,
                    "segmentation": square(2 + 14 * number + index, 3, 8),
                }
            )
    return data


def write_json(data: object, path: Path) -> Path:
    """Writes JSON; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def pairs(root: Path, count: int = 4, header: Sequence[str] = ("image", "mask"), delimiter: str = ",") -> Path:
    """A folder of pairs with a CSV that lists them."""
    folder(root, count)
    with (root / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows([f"images/{index}.png", f"masks/{index}.png"] for index in range(count))
    return root / "pairs.csv"


def panoptic(root: Path, count: int = 6, height: int = 48, width: int = 64) -> dict:
    """COCO panoptic data as COCO lays it out: two discs (things of one class) between sky and ground, a strip of void below, and in the first
    picture a crowd of discs. The JSON's content is returned, written beside it to ``root/annotations/panoptic_all.json``."""
    categories = [
        {"id": 7, "name": "disc", "isthing": 1, "color": [220, 20, 60]}, {"id": 3, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
        {"id": 21, "name": "ground", "isthing": 0, "color": [107, 142, 35]}, {"id": 5, "name": "boat", "isthing": 1, "color": [1, 2, 3]},
    ]  # fmt: skip
    data = {"images": [], "annotations": [], "categories": categories}
    rows, columns = np.mgrid[:height, :width]
    for index in range(count):
        rng = np.random.default_rng(index)
        ids = np.where(rows < height // 2, 70_000, 300)
        segments = [{"id": 70_000, "category_id": 3}, {"id": 300, "category_id": 21}]
        for number, column in enumerate((width // 4, 3 * width // 4)):
            row = int(rng.integers(12, height - 16))
            ids[(rows - row) ** 2 + (columns - column - int(rng.integers(-4, 5))) ** 2 < 49] = 1 + number
            segments.append({"id": 1 + number, "category_id": 7})
        if index == 0:
            ids[:6, :10] = 9
            segments.append({"id": 9, "category_id": 7, "iscrowd": 1})
        ids[-4:] = 0
        shown = np.zeros((height, width, 3), dtype=np.int64)
        shown[ids == 70_000], shown[ids == 300], shown[(ids > 0) & (ids < 10)] = (90, 140, 230), (60, 110, 40), (240, 220, 60)
        save((shown + rng.integers(-8, 9, shown.shape)).clip(0, 255).astype(np.uint8), root / "all" / f"{index}.png")
        save(np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8), root / "annotations" / "panoptic_all" / f"{index}.png")
        data["images"].append({"id": index, "file_name": f"{index}.png", "height": height, "width": width})
        data["annotations"].append({"image_id": index, "file_name": f"{index}.png", "segments_info": segments})
    write_json(data, root / "annotations" / "panoptic_all.json")
    return data

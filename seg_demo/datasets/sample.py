"""One image of a dataset with its truth: what is known about it, what is allowed in it, and its small picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from seg_demo.errors import DataError
from seg_demo.types import LabelSet

IGNORE = 255
# Of 16-bit instance maps; 65535 means ignore to training.
MAX_OBJECTS = 65_534
THUMBNAIL_SIDE = 192


@dataclass(frozen=True)
class Facts:
    """How a mask came about.

    Attributes:
        seconds: time spent on it in the editor.
        strokes: changes made by hand.
        confidence: mean margin of the prediction that it began with, in [0, 1], or None; low means doubtful.
        source: ``blank``, ``mask`` (an uploaded one), or the id of the model whose prediction was corrected.
    """

    seconds: float = 0.0
    strokes: int = 0
    confidence: float | None = None
    source: str = "blank"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds >= 0 and self.strokes >= 0):
            raise ValueError(f"seconds and strokes must be 0 or more, but are {self.seconds} and {self.strokes}.")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence must be None or in [0, 1], but is {self.confidence}.")


@dataclass(frozen=True)
class Sample:
    """One image of a dataset.

    Attributes:
        stem: file name without suffix, unique in the dataset.
        name: of the file that the person sent, without suffix.
        width: pixels.
        height: pixels.
        image: RGB PNG.
        mask: 8-bit grey PNG, a class per pixel, 255 to ignore.
        instances: 16-bit grey PNG, an object number per pixel and 0 for none; None in semantic datasets.
        thumbnail: JPEG of at most 192 pixels a side, the mask drawn over the image.
        objects: how many there are, or None in semantic datasets.
        pixels: by class id, how many; those to ignore are not counted.
        saved: ISO 8601 time of the last change, UTC.
        facts: how the mask came about.
        draft: what told the save that made it from others, or None.
    """

    stem: str
    name: str
    width: int
    height: int
    image: Path
    mask: Path
    instances: Path | None
    thumbnail: Path
    objects: int | None
    pixels: dict[int, int]
    saved: str
    facts: Facts
    draft: str | None = None

    @classmethod
    def from_json(cls, stem: str, record: dict[str, object], root: Path) -> Sample:
        """A sample from its record in the journal.

        Args:
            stem: of its files.
            record: as stored; facts that this version does not know are left out.
            root: folder of the dataset.
        """
        known = {field.name for field in fields(Facts)}
        return cls(
            stem=stem,
            **{key: record[key] for key in ("name", "width", "height", "objects", "saved")},
            image=root / "images" / f"{stem}.png",
            mask=root / "masks" / f"{stem}.png",
            instances=None if record["objects"] is None else root / "instances" / f"{stem}.png",
            thumbnail=root / "thumbnails" / f"{stem}.jpg",
            pixels={int(key): count for key, count in record["pixels"].items()},
            facts=Facts(**{key: value for key, value in record["facts"].items() if key in known}),
            draft=record.get("draft"),
        )


def check_truth(image_size: tuple[int, int], labels: LabelSet, mask: np.ndarray, instances: np.ndarray | None) -> np.ndarray:
    """A mask as it is stored, after everything about it has been checked.

    Args:
        image_size: (height, width) in pixels.
        labels: the classes.
        mask: integer (H, W), a class id per pixel, 255 to ignore.
        instances: integer (H, W), an object number per pixel, 0 for none; None for semantic truth.

    Returns:
        uint8 (H, W).

    Raises:
        DataError: another size, a number that no class has, or an object without one class of its own.
    """
    for what, array in (("mask", mask), ("instance map", instances)):
        if array is None:
            continue
        if array.ndim != 2 or array.shape != tuple(image_size) or not np.issubdtype(array.dtype, np.integer):
            came = f"{array.dtype} of shape {array.shape}"
            wanted = f"whole numbers of shape {tuple(image_size)}, the size of its image,"
            raise DataError(f"A {what} is {came}, but {wanted} were expected. Make it again on this image.")
    values = np.unique(mask)
    bad = values[((values >= len(labels)) & (values != IGNORE)) | (values < 0)]
    if bad.size:
        raise DataError(
            f"The mask holds {bad[0]}, but the dataset's classes are numbered from 0 to {len(labels) - 1} (255 is ignored). "
            "Add the class to the dataset, or correct the mask."
        )
    if instances is not None:
        _check_objects(labels, mask, instances)
    return mask.astype(np.uint8)


def _check_objects(labels: LabelSet, mask: np.ndarray, instances: np.ndarray) -> None:
    """DataError unless every object number is storable and lies on pixels of one class that is not the background."""
    low, high = int(instances.min()), int(instances.max())
    if low < 0 or high > MAX_OBJECTS:
        came = low if low < 0 else high
        raise DataError(f"The instance map holds {came}, but objects are numbered from 1 to {MAX_OBJECTS}.")
    inside = instances > 0
    numbers, classes = instances[inside].astype(np.int64), mask[inside].astype(np.int64)
    least = np.full(high + 1, 256, dtype=np.int64)
    most = np.full(high + 1, -1, dtype=np.int64)
    np.minimum.at(least, numbers, classes)
    np.maximum.at(most, numbers, classes)
    mixed = np.flatnonzero((most >= 0) & (least != most))
    if mixed.size:
        raise DataError(f"Object {mixed[0]} has pixels of more than one class. Give every object one class.")
    nothing = np.flatnonzero((most == labels.background) | (most == IGNORE))
    if nothing.size:
        raise DataError(f"Object {nothing[0]} has no class of its own (its pixels are background or ignored). Give it a class.")


def thumbnail(image: np.ndarray, mask: np.ndarray, labels: LabelSet, instances: np.ndarray | None) -> bytes:
    """A small JPEG of the image with its mask drawn over it.

    Args:
        image: uint8 (H, W, 3), RGB.
        mask: uint8 (H, W), class ids.
        labels: the classes.
        instances: (H, W), whose edges are drawn; or None.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    width, height = picture.size
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.intp)
    small = mask[rows[:, None], columns]
    painted = (small != IGNORE) & (small != (-1 if labels.background is None else labels.background))
    colors = np.zeros((256, 3), dtype=np.float32)
    colors[: len(labels)] = labels.colors
    pixels = np.asarray(picture, dtype=np.float32)
    pixels = np.where(painted[..., None], 0.5 * pixels + 0.5 * colors[small], pixels)
    parts = small if instances is None else instances[rows[:, None], columns]
    edges = np.zeros(parts.shape, dtype=bool)
    edges[:, 1:] |= parts[:, 1:] != parts[:, :-1]
    edges[1:] |= parts[1:] != parts[:-1]
    pixels[edges] = 255
    file = BytesIO()
    Image.fromarray(pixels.round().astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()

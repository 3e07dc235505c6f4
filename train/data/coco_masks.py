"""COCO annotations → maps: polygons, and RLE compressed or not, drawn as pycocotools draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from faster_coco_eval.core import mask as coco_mask

from seg_demo.rle import decode as decode_rle
from seg_demo.types import tight_box
from train.data.listing import CocoObject, Item
from train.data.orientation import sideways, turn

IGNORE = 65_535
# Objects that may lie below the topmost one at a pixel: each layer takes two bytes per pixel.
MOST_LAYERS = 16


class BadAnnotation(Exception):
    """An annotation that cannot be drawn: ``kind``, ``file``, ``what`` and ``remedy`` as in a fault."""

    def __init__(self, kind: str, file: str, what: str, remedy: str) -> None:
        self.kind, self.file, self.what, self.remedy = kind, file, what, remedy
        super().__init__(f"{file}: {what}; {remedy}")


@dataclass(frozen=True)
class Drawn:
    """The objects of one image.

    Attributes:
        label_map: uint16 (H, W), label ids, 0 where there is no object, 65535 under a crowd.
        instance_map: uint16 (H, W), number of the topmost object, 0 none. Smaller objects lie on top of larger ones.
        instance_labels: uint16 (N + 1,), label id by object number; entry 0 is 0.
        hidden: uint16 (L, H, W), numbers of the objects below the topmost one, layer by layer; None where nothing overlaps.
        problems: what is wrong with single annotations.
        buried: pixels of objects that lie below more than ``MOST_LAYERS`` others and were lost.
    """

    label_map: np.ndarray
    instance_map: np.ndarray
    instance_labels: np.ndarray
    hidden: np.ndarray | None
    problems: tuple[BadAnnotation, ...]
    buried: int = 0


def draw_item(item: Item, height: int, width: int) -> tuple[Drawn, int | None]:
    """Draws a COCO item at the size of its upright image, turned with the photo where it was annotated sideways.

    Args:
        item: with annotations.
        height: of the upright image in pixels.
        width: of the upright image in pixels.

    Returns:
        The maps, and the EXIF orientation by which they were turned, or None.

    Raises:
        BadAnnotation: the file states another size for the image.
    """
    stated = item.declared or (height, width)
    if stated == (height, width):
        return draw(item.annotations, height, width), None
    turned = sideways(item.image, (height, width), stated)
    if turned is None:
        what = f"is stated with {stated[1]} x {stated[0]} pixels, but the file has {width} x {height}"
        raise BadAnnotation(
            "size mismatch", item.name, what, "annotate the image as it is now, or put back the one that was annotated"
        )
    drawn = draw(item.annotations, *stated)
    maps = {"label_map": turn(drawn.label_map, turned), "instance_map": turn(drawn.instance_map, turned)}
    if drawn.hidden is not None:
        maps["hidden"] = np.stack([turn(layer, turned) for layer in drawn.hidden])
    return replace(drawn, **maps), turned


def draw(objects: Sequence[CocoObject], height: int, width: int) -> Drawn:
    """Draws the objects of one image. What is annotated as background is no object: it only says what the pixels are.

    Args:
        objects: the image's annotations.
        height: of the image in pixels.
        width: of the image in pixels.
    """
    problems: list[BadAnnotation] = []
    crops = []
    crowd = np.zeros((height, width), dtype=bool)
    for thing in objects:
        try:
            mask = draw_one(thing, height, width)
        except BadAnnotation as problem:
            problems.append(problem)
            continue
        box = tight_box(mask)
        if box is None:
            problems.append(_zero_area(thing))
        elif thing.crowd:
            crowd |= mask
        else:
            x0, y0, x1, y1 = box
            crops.append((thing.label_id, box, mask[y0:y1, x0:x1].copy()))
    # A bolt on a plate must not vanish under the plate, whatever the order of the file.
    crops.sort(key=lambda crop: -int(np.count_nonzero(crop[2])))
    label_map = np.where(crowd, np.uint16(IGNORE), np.uint16(0))
    layers = [np.zeros((height, width), dtype=np.uint16)]
    labels, buried = [0], 0
    for label_id, (x0, y0, x1, y1), mask in crops:
        label_map[y0:y1, x0:x1][mask] = label_id
        if label_id == 0 or len(labels) == IGNORE:
            continue
        buried += _push(layers, (slice(y0, y1), slice(x0, x1)), mask, len(labels))
        labels.append(label_id)
    hidden = np.stack(layers[1:]) if len(layers) > 1 else None
    return Drawn(label_map, layers[0], np.array(labels, dtype=np.uint16), hidden, tuple(problems), buried)


def _push(layers: list[np.ndarray], window: tuple[slice, slice], mask: np.ndarray, number: int) -> int:
    """Lays an object on top: what is there already moves down by a layer, pixel by pixel.

    Returns:
        Pixels that were moved off the lowest layer.
    """
    coming = np.where(mask, np.uint16(number), np.uint16(0))
    for depth in range(MOST_LAYERS + 1):
        if depth == len(layers):
            layers.append(np.zeros_like(layers[0]))
        there = layers[depth][window]
        moved = np.where(coming > 0, there, 0)
        np.copyto(there, coming, where=coming > 0)
        if not moved.any():
            return 0
        coming = moved
    return int(np.count_nonzero(coming))


def draw_one(thing: CocoObject, height: int, width: int) -> np.ndarray:
    """The mask of one annotation.

    Returns:
        bool (height, width).

    Raises:
        BadAnnotation: its polygons or its RLE cannot be read, or belong to an image of another size.
    """
    if isinstance(thing.segmentation, dict):
        return _draw_rle(thing, height, width)
    polygons = [_checked_polygon(thing, polygon) for polygon in thing.segmentation]
    if not polygons:
        raise _no_mask(thing)
    _refuse_shares(thing, polygons)
    drawn = coco_mask.decode(coco_mask.frPyObjects(polygons, height, width))
    return drawn.reshape(height, width, -1).any(axis=2)


def _draw_rle(thing: CocoObject, height: int, width: int) -> np.ndarray:
    size, counts = thing.segmentation.get("size"), thing.segmentation.get("counts")
    # The size is checked before anything is expanded: a stated 10^6 x 10^6 would otherwise take the memory.
    if size != [height, width]:
        what = f"has an RLE of size {str(size)[:40]}, but its image has {height} x {width} (height x width) pixels"
        raise BadAnnotation("size mismatch", thing.file, what, "export it again from the image as it is now")
    try:
        if isinstance(counts, list) and not all(type(count) is int for count in counts):
            raise ValueError("counts that are not whole numbers")
        if not isinstance(counts, list | str):
            raise ValueError(f"counts of type {type(counts).__name__}")
        return decode_rle({"size": size, "counts": counts})
    except (ValueError, OverflowError, IndexError) as error:
        raise BadAnnotation(
            "broken RLE", thing.file, f"cannot be decoded: {error}", "export the annotation again"
        ) from error


def polygon_problem(polygon: object) -> str | None:
    """Why a part of an object is no polygon, as the end of a sentence, or None if it is one.

    Libraries answer by what comes first: a list that begins with four numbers is refused, or all of its parts are taken for boxes
    (``findings/coco_short_polygons.sh``).

    Args:
        polygon: as it stands in the file.
    """
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        count = len(polygon) if isinstance(polygon, list) else type(polygon).__name__
        return f"has a polygon of {count} numbers, but three or more points x, y are needed"
    # Far outside an image of at most 20000 pixels a side is no coordinate, and the drawing routine counts in 32 bits.
    if not all(type(v) in (int, float) and math.isfinite(v) and abs(v) < 100_000 for v in polygon):
        return "has a polygon with a coordinate that is no finite number of pixels"
    return None


def _checked_polygon(thing: CocoObject, polygon: object) -> list[float]:
    what = polygon_problem(polygon)
    if what is not None:
        raise BadAnnotation("broken polygon", thing.file, what, "draw the object again, or remove the annotation")
    return polygon


def _refuse_shares(thing: CocoObject, polygons: Sequence[Sequence[float]]) -> None:
    """Refuse outlines that lie within the first pixel, and not along its edges: they are shares of the image's width and height."""
    numbers = [number for polygon in polygons for number in polygon]
    if all(0 <= number <= 1 for number in numbers) and any(0 < number < 1 for number in numbers):
        what = "has all its coordinates between 0 and 1, as shares of the image, where pixels are expected"
        raise BadAnnotation("shares, not pixels", thing.file, what, "multiply x by the image's width and y by its height")


def _zero_area(thing: CocoObject) -> BadAnnotation:
    return BadAnnotation(
        "zero-area object", thing.file, "covers no pixel of its image", "remove the annotation, or draw it again"
    )


def _no_mask(thing: CocoObject) -> BadAnnotation:
    what = "has no segmentation (only a box, or nothing)"
    return BadAnnotation(
        "object without a mask", thing.file, what, "draw its outline; boxes alone do not teach segmentation"
    )

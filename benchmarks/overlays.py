"""The overlay of many objects against blending mask by mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks import subjects
from benchmarks.measure import Row, compare
from seg_demo.core.types import Segment, Segmentation, paint
from seg_demo.outputs import draw


def rows(quick: bool) -> Iterator[Row]:
    """The row of this file.

    Args:
        quick: a smaller image.
    """
    size = "2 MP" if quick else "12 MP"
    yield overlay_row(size, *subjects.SIZES[size], 100)


def discs(height: int, width: int, count: int) -> Segmentation:
    """Round objects that overlap here and there, at random places."""
    random = np.random.default_rng(0)
    segments = []
    for score in np.linspace(1, 0.5, count):
        radius = int(random.integers(4, max(5, min(height, width) // 10)))
        y, x = int(random.integers(0, height - 2 * radius)), int(random.integers(0, width - 2 * radius))
        rows, columns = np.ogrid[: 2 * radius, : 2 * radius]
        mask = (rows - radius + 0.5) ** 2 + (columns - radius + 0.5) ** 2 <= radius**2
        segments.append(Segment(1, float(score), (x, y, x + 2 * radius, y + 2 * radius), mask))
    found = tuple(segments)
    return Segmentation("instance", height, width, subjects.labels(2), paint(found, height, width), found)


def mask_annotator(image: np.ndarray, masks: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """The algorithm of supervision's ``MaskAnnotator`` at opacity 0.5, in numpy.

    Every mask, the largest first, is painted over the whole image; then image and paint are mixed.

    Args:
        image: uint8 (H, W, 3).
        masks: bool (N, H, W), as supervision's ``Detections`` keeps them.
        colors: uint8 (N, 3).
    """
    painted = image.copy()
    for index in np.flip(np.argsort([mask.sum() for mask in masks])):
        painted[masks[index]] = colors[index]
    # cv2.addWeighted, which supervision calls, works in one pass with saturation; this is its numpy form.
    return np.rint(painted * np.float32(0.5) + image * np.float32(0.5)).astype(np.uint8)


def overlay_row(size: str, height: int, width: int, objects: int) -> Row:
    """Objects in their colours over the photograph."""
    image, segmentation = subjects.photo(height, width), discs(height, width, objects)
    colors = draw.colors_of(segmentation)[1:]
    masks = np.zeros((objects, height, width), dtype=bool)
    for mask, segment in zip(masks, segmentation.segments, strict=True):
        x0, y0, x1, y1 = segment.box
        mask[y0:y1, x0:x1] = segment.mask
    alone = masks.sum(axis=0, dtype=np.uint8) <= 1

    def check(mine: np.ndarray, theirs: np.ndarray) -> str:
        apart = np.abs(mine.astype(np.int16) - theirs)[alone].max()
        return f"equal to ±{apart} where objects do not overlap; there the best score is on top, the peer has the smallest"

    return compare(
        f"overlay, {size}, {objects} masks", "supervision's MaskAnnotator, its algorithm in numpy",
        lambda: draw.overlay(image, segmentation, outlines=False), lambda: mask_annotator(image, masks, colors), check,
        targets=(0.10, None), repeats=3,
    )  # fmt: skip

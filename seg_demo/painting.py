"""Id maps: painted from objects, counted, measured; and how sure each of their pixels is. numpy only, in strips of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seg_demo.rle import Box

if TYPE_CHECKING:
    from seg_demo.segments import Segment

MAX_IDS = 65_535
# numpy counts in 64-bit integers: a whole map of 100 megapixels at once would take 800 MB.
_STRIP_PIXELS = 1 << 20
# In the worst case every pixel is a run of its own, with 40 bytes of numbers about it.
_RUN_PIXELS = 1 << 18


def _strips(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of a map, a million pixels at a time."""
    step = max(1, _STRIP_PIXELS // max(1, shape[1]))
    for top in range(0, shape[0], step):
        yield slice(top, top + step)


def count_ids(id_map: np.ndarray, least: int = 0) -> np.ndarray:
    """Pixels of every id, as ``np.bincount(id_map.ravel(), minlength=least)``.

    Args:
        id_map: uint8 or uint16 (H, W).
        least: the result is at least this long.

    Returns:
        int64 (N,), N past the largest id.
    """
    counts = np.zeros(np.iinfo(id_map.dtype).max + 1, dtype=np.int64)
    for rows in _strips(id_map.shape):
        found = np.bincount(id_map[rows].ravel())
        counts[: found.size] += found
    present = np.flatnonzero(counts)
    last = int(present[-1]) + 1 if present.size else 0
    if least > counts.size:
        return np.concatenate([counts, np.zeros(least - counts.size, dtype=np.int64)])
    return counts[: max(last, least)]


def extents(id_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of every id and the box around them, from the runs of equal ids in each row: maps are made of long ones.

    Args:
        id_map: uint8 or uint16 (H, W).

    Returns:
        Counts int64 (N,) and half-open boxes int64 (N, 4), x0 y0 x1 y1, N as many as the dtype can name. The box of an id that
        does not occur means nothing.
    """
    height, width = id_map.shape
    count = np.iinfo(id_map.dtype).max + 1
    pixels = np.zeros(count, dtype=np.int64)
    boxes = np.tile(np.array([width, height, 0, 0], dtype=np.int64), (count, 1))
    left, top, right, bottom = boxes.T
    step = max(1, _RUN_PIXELS // max(1, width))
    for first in range(0, height, step):
        strip = np.ascontiguousarray(id_map[first : first + step])
        begins = np.ones(strip.shape, dtype=bool)
        np.not_equal(strip[:, 1:], strip[:, :-1], out=begins[:, 1:])
        starts = np.flatnonzero(begins)
        ids, lengths = strip.reshape(-1)[starts], np.diff(starts, append=strip.size)
        found = np.bincount(ids, weights=lengths)
        pixels[: found.size] += found.astype(np.int64)
        rows, columns = np.divmod(starts, width)
        np.minimum.at(left, ids, columns)
        np.maximum.at(right, ids, columns + lengths)
        # Runs come row by row, and the last of several assignments stays.
        bottom[ids] = first + rows + 1
        earliest = np.full(count, height)
        earliest[ids[::-1]] = first + rows[::-1]
        np.minimum(top, earliest, out=top)
    return pixels, boxes


def sum_by_id(id_map: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of a map's values over the pixels of every id.

    Args:
        id_map: uint8 or uint16 (H, W).
        values: uint8 (H, W).

    Returns:
        float64 (N,), whole numbers, N as many as the dtype of the id map can name.
    """
    sums = np.zeros(np.iinfo(id_map.dtype).max + 1)
    for rows in _strips(id_map.shape):
        found = np.bincount(id_map[rows].ravel(), weights=values[rows].ravel())
        sums[: found.size] += found
    return sums


def paint(segments: Sequence[Segment], height: int, width: int) -> np.ndarray:
    """The id map of objects: 1 + index of the topmost, 0 none. Earlier segments lie on top, so the best score wins.

    Args:
        segments: objects with masks, best first.
        height: pixels.
        width: pixels.

    Returns:
        (height, width), uint8 for up to 255 objects, else uint16.

    Raises:
        ValueError: more objects than a 16-bit map can name.
    """
    if len(segments) > MAX_IDS:
        raise ValueError(f"An id map names at most {MAX_IDS} objects, but got {len(segments)}.")
    id_map = np.zeros((height, width), dtype=np.uint8 if len(segments) <= 255 else np.uint16)
    for index in range(len(segments) - 1, -1, -1):
        x0, y0, x1, y1 = segments[index].box
        id_map[y0:y1, x0:x1][segments[index].mask] = index + 1
    return id_map


def paint_confidence(id_map: np.ndarray, segments: Sequence[Segment], candidates: Sequence[Segment]) -> np.ndarray:
    """How sure an instance result is of each pixel: 255 times a probability.

    A pixel belongs to an object with the probability score * mask probability. Where an object is shown, that of the
    object is taken; elsewhere that of no candidate at all: 1 - the largest of any. So both sides of a mask's edge are in
    doubt, and so is the place of a candidate whose score just misses the threshold.

    Args:
        id_map: (H, W), of :func:`paint`.
        segments: those that were painted, with ``soft`` masks.
        candidates: all objects that were considered, the painted ones among them, with ``soft`` masks.

    Returns:
        uint8 (H, W).
    """
    confidence = np.zeros(id_map.shape, dtype=np.uint8)
    for segment in candidates:
        x0, y0, x1, y1 = segment.soft.box
        window = confidence[y0:y1, x0:x1]
        np.maximum(window, _evidence(segment), out=window)
    np.subtract(255, confidence, out=confidence)
    for index, segment in enumerate(segments):
        x0, y0, x1, y1 = segment.soft.box
        shown = id_map[y0:y1, x0:x1] == index + 1
        np.copyto(confidence[y0:y1, x0:x1], _evidence(segment), where=shown)
    return confidence


def _evidence(segment: Segment) -> np.ndarray:
    """Score times mask probability: uint8, the shape of the soft mask."""
    score = 1.0 if segment.score is None else segment.score
    return np.rint(score * np.arange(256)).astype(np.uint8)[segment.soft.values]


def tight_box(mask: np.ndarray) -> Box | None:
    """The smallest half-open box (x0, y0, x1, y1) around the true pixels of a mask, or None if there are none.

    Args:
        mask: bool (H, W).
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

"""Connected pieces of a mask of numbers, from its runs: memory goes with its outlines and not with its pixels."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Pieces of an object below this share of it are slivers, which something in front of it left, or dust of the drawing.
SLIVER = 0.05
# A mask of more runs than this is no drawing; what is asked about it is asked about every other row and column, or fewer.
MOST_RUNS = 4_000_000


def several_pieces(numbers: np.ndarray) -> int:
    """How many values, 0 and 65535 aside, lie in several pieces that are more than slivers of it.

    Pixels that touch by a side or a corner and share a value are one piece, as in scikit-image's ``label`` with
    ``connectivity=2``.

    Args:
        numbers: uint8 or uint16 (H, W).
    """
    while (changes := sum(int(np.count_nonzero(row[1:] != row[:-1])) for row in numbers)) + len(numbers) > MOST_RUNS:
        numbers = numbers[::2, ::2]
    if changes == 0 and (numbers == numbers[0, 0]).all():
        return 0
    rows, begins, ends, values = _runs(numbers)
    kept = (values > 0) & (values < 65_535)
    rows, begins, ends, values = rows[kept], begins[kept], ends[kept], values[kept]
    one, other = _touching(rows, begins, ends, numbers.shape[1])
    same = values[one] == values[other]
    links = coo_array((np.ones(int(same.sum()), dtype=bool), (one[same], other[same])), shape=(len(rows), len(rows)))
    count, piece = connected_components(links, directed=False)
    sizes = np.bincount(piece, weights=ends - begins, minlength=count)
    value_of = np.zeros(count, dtype=np.int64)
    value_of[piece] = values
    whole = np.bincount(value_of, weights=sizes)
    large = value_of[sizes >= SLIVER * whole[value_of]]
    return int((np.bincount(large, minlength=1) > 1).sum())


def _runs(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row, first column, column after the last, and value of every run of equal pixels, in reading order; int64 (R,) each."""
    found = []
    for row, line in enumerate(numbers):
        begins = np.flatnonzero(np.concatenate([[True], line[1:] != line[:-1]]))
        ends = np.append(begins[1:], len(line))
        found.append((np.full(len(begins), row), begins, ends, line[begins].astype(np.int64)))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _touching(rows: np.ndarray, begins: np.ndarray, ends: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs of neighbouring rows that touch by a side or a corner: indices into the runs, int64 (P,) each."""
    # One line of places for all rows, far enough apart that no run of another row is within reach.
    step = width + 4
    first = np.searchsorted(rows * step + ends, (rows + 1) * step + begins, side="left")
    last = np.searchsorted(rows * step + begins, (rows + 1) * step + ends, side="right")
    counts = np.maximum(last - first, 0)
    one = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(one)) - np.repeat(np.cumsum(counts) - counts, counts)
    return one, np.repeat(first, counts) + within

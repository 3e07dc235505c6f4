"""A comparison of models as files: the table of their overlaps, and the agreement map."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from seg_demo.masks.agreement import Common, Overlap, overlap
from seg_demo.outputs import png
from seg_demo.outputs.export import cell

TRUTH = "truth"
# Of pixels on which a share of the models agrees: none at 1, from yellow to red the fewer they are.
_FEW, _MOST = np.array([200, 30, 40]), np.array([250, 200, 60])


def overlaps(titles: Sequence[str], together: Common, truth: np.ndarray | None) -> Iterator[tuple[str, str, Overlap]]:
    """The overlap of every pair of models, then of the truth with every model.

    Args:
        titles: of the models.
        together: their results.
        truth: uint16 (H, W), ids into ``together.names``, 65535 to ignore; or None.
    """
    for first, second in combinations(range(len(titles)), 2):
        shared = together.shared(first, second)
        found = overlap(together.maps[first], together.maps[second], together.names, shared, None)
        yield titles[first], titles[second], found
    if truth is not None:
        for index, title in enumerate(titles):
            known = together.shared(index, index)
            yield TRUTH, title, overlap(truth, together.maps[index], together.names, known, 65_535)


def table(titles: Sequence[str], together: Common, truth: np.ndarray | None) -> str:
    """CSV with one row per pair and shared class.

    Args:
        As for :func:`overlaps`.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["first", "second", "class", "iou", "mean_iou", "same_pixels"])
    for first, second, found in overlaps(titles, together, truth):
        for name, value in found.iou.items() or ((None, None),):
            writer.writerow([cell(each) for each in (first, second, name, value, found.mean, found.same)])
    return text.getvalue()


def agreement_colors(count: int) -> np.ndarray:
    """The colour of every number of agreeing models.

    Args:
        count: of models.

    Returns:
        uint8 (count + 1, 3); what all agree on, and 0, is black.
    """
    colors = np.zeros((count + 1, 3), dtype=np.uint8)
    for agreeing in range(1, count):
        share = (agreeing - 1) / max(1, count - 2)
        colors[agreeing] = np.round(_FEW + (_MOST - _FEW) * share)
    return colors


def agreement_png(agreeing: np.ndarray, count: int) -> bytes:
    """The agreement map as a palette PNG, whose values are the numbers of agreeing models.

    Args:
        agreeing: uint8 (H, W), of :func:`seg_demo.masks.agreement.agreement`.
        count: of models.
    """
    return png.encode(agreeing, agreement_colors(count))

"""Masks judged by their numbers alone: whether they were blurred, and how many pixels each label has."""

from __future__ import annotations

from collections import Counter

import numpy as np

from train.data.classes import ClassList
from train.data.found import MOST_CLASSES
from train.data.histogram import MaskScan, clusters
from train.data.masks import MaskRule

NEARLY_WHITE = 245


def blurred(mask: MaskScan, classes: ClassList | None) -> bool:
    """Whether a lossless mask was resized or smoothed: a few strong values with a trickle of others between them, or more
    colours than any list of classes has.

    Args:
        mask: what it holds.
        classes: the class list, whose values are never a blur, or None.
    """
    allowed = set() if classes is None else set(classes.values or range(len(classes.names) + 1)) | {255}
    if mask.mode == "color":
        return len(mask.counts) > (MOST_CLASSES if classes is None else max(MOST_CLASSES, 2 * len(classes.names)))
    if mask.mode != "grey" or mask.bits != 8 or set(mask.counts) <= allowed:
        return False
    if _rimmed(mask, allowed):
        return True
    if len(mask.counts) < 6:
        return False
    peaks = clusters(mask.counts, False)
    strong = sorted(mask.counts[peak] for peak in peaks)
    weak = [pixels for value, pixels in mask.counts.items() if value not in peaks]
    if len(strong) < 2 or max(peaks) < 64:
        return False
    return sum(weak) <= 0.3 * sum(strong) and 10 * float(np.median(weak)) <= strong[-2]


def _rimmed(mask: MaskScan, allowed: set[int]) -> bool:
    """Whether a mask of black and white has a few pixels of nearly white beside it: 254, 253 ..., which smoothing leaves."""
    white = mask.counts.get(255, 0)
    nearly = [value for value in mask.counts if NEARLY_WHITE <= value < 255 and value not in allowed]
    few = all(value < 255 - NEARLY_WHITE or value >= NEARLY_WHITE for value in mask.counts)
    return bool(nearly) and few and white > sum(mask.counts[value] for value in nearly)


def tally(mask: MaskScan, rule: MaskRule) -> tuple[dict[int, int], dict[int, int]]:
    """Pixels per label id of a mask, from what is already known of it.

    Returns:
        label id (or IGNORE) → pixels, and value or colour without a label → pixels.
    """
    as_color = mask.three_channels or (mask.mode == "palette" and rule.by_palette)
    counts, table = (mask.by_color, rule.colors) if as_color else (mask.counts, rule.values)
    known: Counter[int] = Counter()
    unknown: dict[int, int] = {}
    for key, pixels in counts.items():
        if key in table:
            known[table[key]] += pixels
        else:
            unknown[key] = pixels
    return dict(known), unknown

"""Whether a fine-tuned network became better: per-image scores of base and new on the same held-out images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 4000
# Fewer images than this have no interval to speak of: of two, the bootstrap's covers the mean half of the time. What is said then
# is the range of their differences, and "better" asks every one of them to have gained.
FEW = 6
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Verdict:
    """What the held-out images say.

    Attributes:
        kind: ``better`` (the whole spread is above 0), ``unclear`` (the mean is above 0, the spread is not, or there is only one
            image), ``same`` (nothing changed), ``worse`` (the mean is below 0), or ``unknown`` (the base could not be measured).
        metric: name of the main metric.
        base: of the base, over all images; None if unknown.
        new: of the new network.
        difference: mean over the images of new minus base; None if unknown.
        low: lower end of the spread of the difference: of its 95 % interval, or of fewer than :data:`FEW` images the least
            difference of them; None for fewer than two.
        high: upper end.
        images: how many were compared.
        why: why nothing could be compared, or None.
    """

    kind: str
    metric: str
    base: float | None
    new: float | None
    difference: float | None
    low: float | None
    high: float | None
    images: int
    why: str | None

    @property
    def offered(self) -> bool:
        """Whether the new network may be offered in the place of its base."""
        return self.kind not in ("worse", "same")

    @property
    def few(self) -> bool:
        """Whether the spread is a range of single images and no interval."""
        return self.images < FEW


def judge(result: dict[str, Any]) -> Verdict:
    """The verdict on a finished run.

    Args:
        result: what ``python train/finetune.py --baseline --json`` printed.
    """
    baseline, metrics = result.get("baseline") or {}, result.get("metrics") or {}
    metric = baseline.get("metric") or ("mask_ap" if "mask_ap" in metrics else "mean_iou")
    base, new = (baseline.get("base") or {}).get(metric), (baseline.get("new") or {}).get(metric)
    pairs = [(each["base"], each["new"]) for each in baseline.get("images") or () if None not in (each["base"], each["new"])]
    if not pairs:
        why = baseline.get("why") or "No held-out image has anything labelled that both know."
        return Verdict("unknown", metric, base, new if new is not None else metrics.get(metric), None, None, None, 0, why)
    gains = np.array([after - before for before, after in pairs])
    difference = float(gains.mean())
    low, high = spread(gains)
    if not gains.any() and base == new:
        kind = "same"
    elif difference <= 0 or (base is not None and new is not None and new < base):
        kind = "worse"
    else:
        kind = "better" if low is not None and low > 0 else "unclear"
    return Verdict(kind, metric, base, new, difference, low, high, len(pairs), None)


def spread(gains: np.ndarray) -> tuple[float | None, float | None]:
    """How far the differences of single images let the mean be trusted.

    Args:
        gains: float (N,), new minus base per image.

    Returns:
        Lower and upper end: of the 95 % interval of the mean, or of fewer than :data:`FEW` images of the differences
        themselves; None, None for a single one.
    """
    if len(gains) < 2:
        return None, None
    return (float(gains.min()), float(gains.max())) if len(gains) < FEW else interval(gains)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """The percentile bootstrap interval of a mean (Efron 1979); the same values always give the same interval.

    Args:
        values: float (N,).
        level: share of the resampled means that lie within.

    Returns:
        Lower and upper end; None, None for fewer than two values, which say nothing about their spread.
    """
    count = len(values)
    if count < 2:
        return None, None
    rng = np.random.default_rng(0)
    rows = max(1, _AT_ONCE // count)
    means = []
    for first in range(0, RESAMPLES, rows):
        chosen = rng.integers(0, count, (min(rows, RESAMPLES - first), count))
        means.append(values[chosen].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

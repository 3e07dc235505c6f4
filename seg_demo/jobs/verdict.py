"""Whether a fine-tuned network became better: per-image scores of base and new on the same held-out images, else what the log
has from before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 4000
# Fewer images than this have no interval to speak of: of two, the bootstrap's covers the mean half of the time. What is said then
# is the range of their differences, and "better" asks every one of them to have gained.
FEW = 6
# A difference below it is none: masks whose rims are moved by a pixel here and there differ by as much, and so do two trainings
# that differ by their seed alone.
MARGIN = 0.005
# How a class is called that is everything else; results of earlier versions do not say which it is.
_BACKGROUND = "background"
# The metric of one class, by the main metric.
_PER_CLASS = {"mean_iou": "iou/", "mask_ap": "mask_ap/"}
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class ClassScore:
    """One class over all held-out images.

    Attributes:
        name: of the class.
        base: score in [0, 1] of the base; None if unknown.
        new: of the new network; None if unknown.
        background: whether it is the background, which no mean has in it.
    """

    name: str
    base: float | None
    new: float | None
    background: bool


@dataclass(frozen=True)
class Verdict:
    """What the held-out images say. The background counts only where there is no other class.

    Attributes:
        kind: ``better`` (the mean is at least :data:`MARGIN`, the whole spread is above 0), ``unclear`` (the mean is, the spread
            is not, or is not known), ``same`` (less than :data:`MARGIN` either way), ``worse`` (below that), or ``unknown`` (the
            base could not be measured).
        metric: name of the main metric.
        base: of the base, over all images and the classes but the background; None if unknown.
        new: of the new network.
        difference: mean over the images of new minus base; None if unknown.
        low: lower end of the spread of the difference: of its 95 % interval, or of fewer than :data:`FEW` images the least
            difference of them; None for fewer than two.
        high: upper end.
        images: how many were compared.
        why: why nothing could be compared, or None.
        classes: each class apart, the background last.
        logged: whether base and new are those of the log, before the first step and at the end, of all images together.
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
    classes: tuple[ClassScore, ...] = ()
    logged: bool = False

    @property
    def offered(self) -> bool:
        """Whether the new network may be offered in the place of its base."""
        return self.kind not in ("worse", "same")

    @property
    def few(self) -> bool:
        """Whether the spread is a range of single images and no interval."""
        return self.images < FEW


def judge(result: dict[str, Any], evaluations: Sequence[Mapping[str, float]] = ()) -> Verdict:
    """The verdict on a finished run.

    Args:
        result: what ``python train/finetune.py --baseline --json`` printed.
        evaluations: those of the run, of its ``metrics.jsonl``; one of step 0 stands for the base where ``result`` has none.
    """
    baseline, metrics = result.get("baseline") or {}, result.get("metrics") or {}
    metric = baseline.get("metric") or ("mask_ap" if "mask_ap" in metrics else "mean_iou")
    before, after = baseline.get("base") or {}, baseline.get("new") or {}
    pairs = _pairs(baseline.get("images") or ())
    first = next((row for row in evaluations if row.get("step") == 0 and metric in row), None)
    logged = not pairs and first is not None and metric in metrics
    if logged:
        before, after = first, metrics
    classes = _classes(metric, before, after or metrics, baseline.get("background"))
    base, new = _headline(metric, before, classes, "base"), _headline(metric, after or metrics, classes, "new")
    if logged and base is not None and new is not None:
        # Of all images together nothing is known about the spread.
        kind = "same" if abs(new - base) < MARGIN else "worse" if new < base else "unclear"
        return Verdict(kind, metric, base, new, new - base, None, None, 0, None, classes, logged=True)
    if not pairs:
        why = baseline.get("why") or "No held-out image shows a class that both models know."
        return Verdict("unknown", metric, base, new, None, None, None, 0, why, classes)
    gains = np.array([new_score - base_score for base_score, new_score in pairs])
    difference = float(gains.mean())
    low, high = spread(gains)
    whole = difference if None in (base, new) else new - base
    if min(difference, whole) <= -MARGIN:
        # A loss over all pixels counts although single images gained.
        kind = "worse"
    elif difference < MARGIN:
        kind = "same"
    else:
        kind = "better" if low is not None and low > 0 else "unclear"
    return Verdict(kind, metric, base, new, difference, low, high, len(pairs), None, classes)


def _pairs(images: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """(base, new) of every image that has both, without the background where that is known."""
    found = []
    for row in images:
        pair = (row.get("base_things"), row.get("new_things"))
        pair = (row["base"], row["new"]) if None in pair else pair
        if None not in pair:
            found.append(pair)
    return found


def _classes(metric: str, before: Mapping[str, float], after: Mapping[str, float], background: str | None) -> tuple[ClassScore, ...]:
    """Every class that has a score, the background last."""
    prefix = _PER_CLASS.get(metric, "")
    names = list(dict.fromkeys(key[len(prefix) :] for row in (after, before) for key in row if prefix and key.startswith(prefix)))
    rows = [
        ClassScore(
            name, before.get(prefix + name), after.get(prefix + name),
            name == background or (background is None and name.strip("_ ").casefold() == _BACKGROUND),
        )
        for name in names
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda row: row.background))


def _headline(metric: str, scores: Mapping[str, float], classes: Sequence[ClassScore], side: str) -> float | None:
    """The mean over the classes but the background; the main metric as it is where single classes are not known."""
    values = [getattr(row, side) for row in classes if not row.background and getattr(row, side) is not None]
    return float(np.mean(values)) if values else scores.get(metric)


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

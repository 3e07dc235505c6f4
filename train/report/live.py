"""Evaluations on the way through a run, and what whoever watches it gets to look at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from train.data.sample import Sample
from train.report.figures import sample_grid
from train.report.metrics import Predicts, evaluate

# Drawn at every evaluation, so that they cost little of its time.
MOST = 3


def measure(model: Predicts, samples: Iterable[Sample], task: str, path: Path | None) -> dict[str, float]:
    """Evaluate a network that is being trained.

    Args:
        model: what predicts.
        samples: the held-out images.
        task: ``semantic`` or ``instance``.
        path: where the worst samples are drawn, worst first, in the place of those of the evaluation before; None draws none.

    Returns:
        The metrics of :func:`train.report.metrics.evaluate`.
    """
    metrics, results = evaluate(model, samples, task=task, pictures=0 if path is None else MOST)
    if pictures := [result.picture for result in results if result.picture is not None]:
        sample_grid(pictures, path)
    return metrics

"""Evaluation at the original image size, through the same predict() as the demo's."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from seg_demo.types import LabelSet, Segmentation
from train.data.sample import Sample
from train.report.figures import Picture, picture_of
from train.report.instances_ap import InstanceMeter
from train.report.semantic import SemanticMeter

# The metric that decides which weights are kept, by task.
MAIN_METRIC = {"semantic": "mean_iou", "instance": "mask_ap"}


class Predicts(Protocol):
    """What is evaluated: ``seg_demo.models.model.Model`` and whatever behaves like it."""

    labels: LabelSet

    def predict_all(self, image: np.ndarray) -> Segmentation:
        """uint8 (H, W, 3) → the result with every candidate, however low its score."""
        ...


@dataclass(frozen=True)
class ImageResult:
    """How well one image went.

    Attributes:
        name: of the sample.
        score: in [0, 1]. Semantic: mean IoU over the classes in the image. Instance: F1 of objects matched at an IoU of
            0.5 among candidates with a score of at least 0.5. NaN if nothing in the image is labelled.
        picture: image, truth and prediction, for the worst images only.
        things: as ``score``, without the background, which is large and easy: of a mean over two classes it is the half.
    """

    name: str
    score: float
    picture: Picture | None = None
    things: float = math.nan


def evaluate(
    model: Predicts,
    samples: Iterable[Sample],
    *,
    task: str,
    labels: LabelSet | None = None,
    progress: Callable[[int], None] | None = None,
    pictures: int = 6,
) -> tuple[dict[str, float], list[ImageResult]]:
    """Compare a model with the truth, one image at a time; memory does not grow with masks or pixels.

    Args:
        model: what predicts.
        samples: held-out images with their labels, read as they are needed.
        task: ``semantic`` or ``instance``.
        labels: classes of the data, matched with the model's by name; None if they are the same.
        progress: called with the number of images done, after each.
        pictures: how many of the worst images are kept as pictures.

    Returns:
        The metrics of :class:`SemanticMeter` or :class:`InstanceMeter` (plain floats in [0, 1]; what has no value is left
        out), and one result per image, worst first.

    Raises:
        ValueError: another task, or objects without an instance map.
    """
    if task not in MAIN_METRIC:
        raise ValueError(f"task must be one of {', '.join(MAIN_METRIC)}, but got {task!r}.")
    truth = labels or model.labels
    meter = SemanticMeter(truth, model.labels) if task == "semantic" else InstanceMeter(truth, model.labels)
    results: list[ImageResult] = []
    worst: list[tuple[float, int, Picture]] = []
    for index, sample in enumerate(samples):
        prediction = model.predict_all(sample.image)
        if isinstance(meter, SemanticMeter):
            score = meter.add(sample.label_map, prediction.id_map)
        else:
            score = meter.add(sample, prediction)
        things = meter.things if isinstance(meter, SemanticMeter) else score
        results.append(ImageResult(sample.name, score, things=things))
        if pictures and not math.isnan(score) and (len(worst) < pictures or -score > worst[0][0]):
            # Only now is it worth a drawing; what it pushes out of the heap is the best of the worst.
            heapq.heappush(worst, (-score, index, picture_of(sample, prediction, truth, task, score)))
            if len(worst) > pictures:
                heapq.heappop(worst)
        if progress is not None:
            progress(index + 1)
    for _, index, picture in worst:
        results[index] = replace(results[index], picture=picture)
    return meter.result(), sorted(results, key=lambda each: (math.isnan(each.score), each.score))

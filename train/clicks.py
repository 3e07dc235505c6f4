"""How good a network is that is clicked: clicks that a program sets where the answer is most wrong, counted until it is right."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from seg_demo.annotations.listing import Sample
from seg_demo.core.types import Segmentation, paint
from seg_demo.inference.model import Model
from seg_demo.networks import CLICKED
from seg_demo.networks.promptable import central_pixel, next_click

# At most so many clicks are set, as in all publications, and the IoU after so many of them is averaged for one figure.
MOST_CLICKS, FIRST = 20, 5
GOALS = (0.85, 0.9)
# Objects of a picture that are clicked, and the pixels that such a one has at least.
OBJECTS, LEAST_PIXELS = 2, 48


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks bool (H, W); 1 where both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def clicked(session: Any, truth: np.ndarray, most: int = MOST_CLICKS, goal: float = GOALS[-1], previous: Any = None) -> Iterator[tuple[float, Any]]:
    """Click an object until it is outlined: the first time in its middle, then in the middle of the largest region that is wrong.

    Args:
        session: of :meth:`seg_demo.inference.model.Model.prompt`, or what answers ``segment`` as it does, perhaps with a mask bool (H, W).
        truth: bool (H, W), the object, with one pixel at least.
        most: clicks.
        goal: IoU at which no further click is set.
        previous: a mask to start from, bool (H, W): the first click goes where that is most wrong; or None.

    Yields:
        After each click the IoU, and the answer.
    """
    points, labels = [], []
    first = None if previous is None else next_click(truth, previous)
    x, y, label = (*central_pixel(truth), 1) if first is None else first
    for _ in range(most):
        points.append((x, y))
        labels.append(label)
        result = session.segment(points=points, labels=labels, previous=previous)
        found = result if isinstance(result, np.ndarray) else whole_mask(result)
        reached = overlap(truth, found)
        yield reached, result
        if reached >= goal or (click := next_click(truth, found)) is None:
            return
        (x, y, label), previous = click, result


def whole_mask(result: Segmentation) -> np.ndarray:
    """The first object of a result, bool (H, W)."""
    mask = np.zeros((result.height, result.width), dtype=bool)
    if result.segments:
        x0, y0, x1, y1 = result.segments[0].box
        mask[y0:y1, x0:x1] = result.mask_of(0)
    return mask


def clicks_to(reached: list[float], goal: float, most: int = MOST_CLICKS) -> int:
    """How many clicks an IoU takes, `most` where it is never reached: the NoC of Xu et al. 2016.

    >>> clicks_to([0.5, 0.87, 0.91], 0.85), clicks_to([0.5, 0.6], 0.85)
    (2, 20)
    """
    return next((count for count, value in enumerate(reached, start=1) if value >= goal), most)


class ClickMeter:
    """Clicks a few objects of every picture, and counts.

    Args:
        most: clicks; fewer than 20 are enough to compare networks in training, and then nothing is said of what takes more.
    """

    def __init__(self, most: int = MOST_CLICKS) -> None:
        self.most = most
        self.reached: list[list[float]] = []

    def add(self, model: Model, sample: Sample) -> tuple[float, Segmentation]:
        """Click objects of one sample.

        Args:
            model: answers clicks.
            sample: with an instance map.

        Returns:
            Mean over the objects of the IoU after one click (NaN without an object), and what was found then.

        Raises:
            ValueError: the sample has no instance map.
        """
        if sample.instance_map is None:
            raise ValueError(f"{sample.name or 'sample'}: objects can be clicked only with an instance map, but it has none.")
        numbers, pixels = np.unique(sample.instance_map, return_counts=True)
        numbers = numbers[(numbers > 0) & (pixels >= LEAST_PIXELS)]
        # Always the same ones, but not always the first, which lie above left.
        rng = np.random.default_rng(zlib.crc32(sample.name.encode()))
        chosen = rng.permutation(numbers)[:OBJECTS]
        first, segments, labels = [], [], model.labels
        with model.prompt(sample.image) as session:
            for number in chosen:
                truth = np.logical_or.reduce([layer == number for layer in sample.layers])
                steps = list(clicked(session, truth, self.most))
                self.reached.append([value for value, _ in steps])
                first.append(steps[0][0])
                segments += steps[0][1].segments[:1]
                labels = steps[0][1].labels
        size = sample.image.shape[:2]
        found = Segmentation("instance", *size, labels, paint(segments, *size), tuple(segments))
        return (float(np.mean(first)) if first else float("nan")), found

    def result(self) -> dict[str, float]:
        """``click_iou``, the mean IoU over the first five clicks (a mask that is right stays so); ``iou_1`` after the first and ``iou_3``
        after three; ``noc_85`` and ``noc_90``, mean clicks to 85 and 90 %, 20 at most; ``failed_90``, the share of objects that never get
        there; empty without an object."""
        if not self.reached:
            return {}
        first = np.array([[row[min(index, len(row) - 1)] for index in range(FIRST)] for row in self.reached])
        found = {CLICKED: float(first.mean()), "iou_1": float(first[:, 0].mean()), "iou_3": float(first[:, 2].mean())}
        if self.most < MOST_CLICKS:
            return found
        counts = {f"noc_{round(100 * goal)}": float(np.mean([clicks_to(row, goal) for row in self.reached])) for goal in GOALS}
        failed = float(np.mean([max(row) < GOALS[-1] for row in self.reached]))
        return {**found, **counts, "failed_90": failed}

"""IoU, Dice, pixel accuracy and boundary IoU of label maps, summed over a data set in bounded memory."""

from __future__ import annotations

import math

import numpy as np

from seg_demo.masks.scores import confusion
from seg_demo.types import LabelSet

BOUNDARY_RATIO = 0.02


class SemanticMeter:
    """Adds up pixels image by image; the metrics are those of the data set as a whole, not means over images.

    Classes are matched by name. What the network calls by a name that the data does not know counts as wrong wherever it
    is painted. A class that is in neither truth nor predictions has no score: it is left out of the means and of the
    result. A class that is only ever painted by mistake has 0.

    Args:
        truth: classes of the data; their ids are those in the label maps.
        predicted: classes of the network; their ids are those in its id maps. None if they are the same.

    Attributes:
        things: mean IoU of the image that was added last without the background, in [0, 1]; 1 if it has nothing but
            background and nothing else is painted, NaN if all of it is ignored.
    """

    def __init__(self, truth: LabelSet, predicted: LabelSet | None = None) -> None:
        self.labels = truth
        self._translate = same_names(truth, predicted or truth)
        count = len(truth)
        self._confusion = np.zeros((count + 1, count + 1), dtype=np.int64)
        self._boundary = np.zeros((2, count), dtype=np.int64)
        self.things = math.nan

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """Count one image.

        Args:
            truth: uint8 or uint16 (H, W), class ids of the data; 255 (65535 in uint16) is ignored.
            prediction: uint8 or uint16 (H, W), class ids of the network.

        Returns:
            The mean IoU of this image alone over the classes in it, in [0, 1]; NaN if all of it is ignored.
        """
        count = len(self.labels)
        ignored = truth == ignore_id(truth)
        # One value beyond the classes stands for unknown names, one more for what is ignored, on both sides.
        target = np.where(ignored, count + 1, truth).astype(np.uint16)
        guess = np.where(ignored, count + 1, self._translate[prediction]).astype(np.uint16)
        added = confusion(target, guess, count + 1, ignore=count + 1)
        self._confusion += added
        self._boundary += boundary_counts(target, guess, count)
        ious = _ious(added)
        things = ious if self.labels.background is None else np.delete(ious, self.labels.background)
        self.things = math.nan if np.isnan(ious).all() else 1.0 if np.isnan(things).all() else float(np.nanmean(things))
        return float(np.nanmean(ious)) if not np.isnan(ious).all() else math.nan

    def result(self) -> dict[str, float]:
        """The metrics so far, all in [0, 1].

        Returns:
            ``mean_iou``, ``mean_dice``, ``pixel_accuracy``, ``boundary_iou`` (the mean over the classes), and ``iou/NAME``,
            ``dice/NAME``, ``boundary_iou/NAME`` for each class that occurs. What has no value is left out, so that the
            result is valid JSON.
        """
        ious = _ious(self._confusion)
        # Dice = 2 TP / (2 TP + FP + FN) = 2 IoU / (1 + IoU).
        dices = 2 * ious / (1 + ious)
        common, either = self._boundary
        boundaries = np.divide(common, either, out=np.full(len(common), np.nan), where=either > 0)
        total = self._confusion.sum()
        values = {"mean_iou": _mean(ious), "mean_dice": _mean(dices), "boundary_iou": _mean(boundaries)}
        values["pixel_accuracy"] = float(np.trace(self._confusion[:-1, :-1]) / total) if total else math.nan
        for kind, scores in (("iou", ious), ("dice", dices), ("boundary_iou", boundaries)):
            values |= {f"{kind}/{name}": float(score) for name, score in zip(self.labels.names, scores, strict=True)}
        return {name: value for name, value in values.items() if not math.isnan(value)}


def _ious(counts: np.ndarray) -> np.ndarray:
    """IoU per class, float64 (K,), NaN for absent ones, of a confusion matrix (K + 1, K + 1) whose last class is unknown."""
    hits = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return np.divide(hits, either, out=np.full(len(hits), np.nan), where=either > 0)[:-1]


def _mean(values: np.ndarray) -> float:
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


def ignore_id(label_map: np.ndarray) -> int:
    """The value in a label map that means "not labelled": 255, or 65535 in uint16."""
    return int(np.iinfo(label_map.dtype).max)


def same_names(truth: LabelSet, predicted: LabelSet) -> np.ndarray:
    """For each class of a network the class of the data with the same name.

    Args:
        truth: classes of the data.
        predicted: classes of the network.

    Returns:
        uint16 (number of the network's classes,): ids of the data's classes; their number K where no name fits. Names are
        compared without regard to case and surrounding blanks.

    >>> data = LabelSet.from_names(["background", "cell"])
    >>> same_names(data, LabelSet.from_names(["Cell", "border", "background"])).tolist()
    [1, 2, 0]
    """
    if truth.names == predicted.names:
        return np.arange(len(truth), dtype=np.uint16)
    ids = {name.strip().casefold(): index for index, name in reversed(list(enumerate(truth.names)))}
    return np.array([ids.get(name.strip().casefold(), len(truth)) for name in predicted.names], dtype=np.uint16)


def boundary_counts(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of boundary intersections and unions per class, for boundary IoU (Cheng et al., CVPR 2021).

    A mask's boundary is what an erosion by d pixels takes away, where d is 2 % of the image's diagonal (at least 1), the
    image's own edge included. A pixel survives the erosion of its class exactly if the (2 d + 1)-wide square around it holds
    one value only, which is asked once for all classes.

    Args:
        truth: integer (H, W), class ids; values from ``classes`` on are counted for no class.
        prediction: integer (H, W), likewise.
        classes: number of classes K.

    Returns:
        int64 (2, K): pixels in both boundaries, and in either, where both masks of the class are cut to their boundary.

    A 3 x 3 image has d = 1: all its pixels but the centre are boundary.

    >>> full = np.zeros((3, 3), int)
    >>> boundary_counts(full, full, 1).tolist()
    [[8], [8]]
    >>> dot = full.copy(); dot[1, 1] = 1   # one pixel of class 1 makes all of class 0 boundary
    >>> boundary_counts(full, dot, 2).tolist()
    [[8, 0], [8, 1]]
    """
    edges = []
    for label_map in (truth, prediction):
        edges.append(np.where(_on_boundary(label_map), label_map, classes).astype(np.int64))
    sizes = [np.bincount(each.ravel(), minlength=classes)[:classes] for each in edges]
    common = np.bincount(edges[0][edges[0] == edges[1]], minlength=classes)[:classes]
    return np.stack([common, sizes[0] + sizes[1] - common])


def _on_boundary(label_map: np.ndarray) -> np.ndarray:
    """Where the square around a pixel leaves the image or holds more than one value, bool (H, W)."""
    height, width = label_map.shape
    reach = max(1, round(BOUNDARY_RATIO * math.hypot(height, width)))
    # A square holds one value if each of its rows does, and the column through its centre does.
    down = np.ones((height, width), dtype=bool)
    across = np.ones((height, width), dtype=bool)
    np.not_equal(label_map[1:], label_map[:-1], out=down[1:])
    np.not_equal(label_map[:, 1:], label_map[:, :-1], out=across[:, 1:])
    rows = _unmarked(across.T, 1 - reach, reach).T
    return ~(_unmarked(~rows, -reach, reach) & _unmarked(down, 1 - reach, reach))


def _unmarked(marks: np.ndarray, first: int, last: int) -> np.ndarray:
    """Where none of the rows from ``first`` to ``last`` (relative, inclusive) is marked or outside, bool as ``marks``."""
    length = last - first + 1
    clear = np.zeros(marks.shape, dtype=bool)
    if len(marks) < length:
        return clear
    # Windows of 1, 2, 4, ... rows, each from two halves; the last two overlap.
    marked, wide = marks, 1
    while 2 * wide <= length:
        marked = marked[:-wide] | marked[wide:]
        wide *= 2
    count = len(marks) - length + 1
    begin = -first  # in both uses the window reaches back
    clear[begin : begin + count] = ~(marked[:count] | marked[length - wide : length - wide + count])
    return clear

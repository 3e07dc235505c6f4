"""Agreement between masks: one intersection over union, one confusion matrix, shared by everything that compares."""

from __future__ import annotations

import numpy as np


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks; 1.0 if both are empty, for then they agree.

    >>> iou(np.array([True, True, False]), np.array([False, True, True]))
    0.3333333333333333

    Args:
        a: bool, any shape.
        b: bool, the same shape.

    Raises:
        ValueError: different shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"Masks must have the same shape, but got {a.shape} and {b.shape}.")
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def confusion(target: np.ndarray, prediction: np.ndarray, classes: int, ignore: int = 255) -> np.ndarray:
    """Confusion matrix of two label maps, by one bincount over pairs of target and prediction.

    >>> confusion(np.array([[0, 1], [1, 255]], np.uint8), np.array([[0, 0], [1, 1]], np.uint8), 2)
    array([[1, 0],
           [1, 1]])

    Args:
        target: integer, any shape: label ids, or ``ignore`` for pixels that do not count.
        prediction: integer, the same shape: label ids.
        classes: number of classes K.
        ignore: 255, or 65535 for uint16 label maps.

    Returns:
        int64 (K, K): pixels of target class (row) that were predicted as (column).

    Raises:
        ValueError: different shapes, or a label id of K or more in a pixel that counts.
    """
    if target.shape != prediction.shape:
        raise ValueError(f"Label maps must have the same shape, but got {target.shape} and {prediction.shape}.")
    if target.dtype == prediction.dtype == np.uint8 and classes <= ignore:
        # All 65,536 pairs of bytes are counted, unchecked and without a mask; what is wrong shows in the counts.
        pairs = target.astype(np.uint16) << 8
        pairs |= prediction
        counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
        counts[ignore : ignore + 1] = 0
        if not counts[classes:].any() and not counts[:, classes:].any():
            return counts[:classes, :classes].copy()
    counted = target != ignore
    truth, guess = target[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, values in (("target", truth), ("prediction", guess)):
        if values.size and (values.max() >= classes or values.min() < 0):
            found = int(values.max() if values.max() >= classes else values.min())
            raise ValueError(f"The {name} has label id {found}, but there are {classes} classes (ids 0 to {classes - 1}).")
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)

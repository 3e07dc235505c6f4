"""From painted instances to labels: whole visible objects, and the thin line that keeps touching ones apart."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

BACKGROUND, CELL, BORDER = 0, 1, 2
MIN_AREA = 20
MIN_VISIBLE = 0.3
MIN_INTERIOR = 8


def finish_labels(instances: np.ndarray, full_areas: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cleans an instance map and derives the label map: returns (label map uint8, instance map uint16), both (H, W).

    instances: integer (H, W), 0 for none, as painted from bottom to top. full_areas: instance -> its area inside the
    frame before others covered it. Objects with fewer than MIN_AREA pixels, less than MIN_VISIBLE of their area or no
    interior left are dropped, and of an object that another one cuts in two only the largest piece stays.

    The border class is that of the U-Net paper (Ronneberger, Fischer, Brox 2015): a line of background between touching
    cells, so that the connected components of class CELL are the separate cells. Here it is a class of its own.
    """
    instances = instances.astype(np.uint16)
    _keep_largest_pieces(instances, full_areas)
    labels = _borders(instances)
    if _drop_hollow(instances, labels):
        labels = _borders(instances)
        _drop_hollow(instances, labels)
    numbers = np.unique(instances)
    lookup = np.zeros(int(numbers.max()) + 1, np.uint16)
    lookup[numbers] = np.arange(len(numbers)) if numbers[0] == 0 else np.arange(1, len(numbers) + 1)
    return labels, lookup[instances]


def _keep_largest_pieces(instances: np.ndarray, full_areas: dict[int, int]) -> None:
    """Drops hidden and tiny instances and detached pieces, in place."""
    for number, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        view = instances[box]
        mask = view == number
        area = int(mask.sum())
        if area < max(MIN_AREA, MIN_VISIBLE * full_areas.get(number, area)):
            view[mask] = 0
        elif area < full_areas.get(number, area):
            pieces, count = ndimage.label(mask)
            if count > 1:
                largest = 1 + np.argmax(np.bincount(pieces.ravel())[1:])
                view[mask & (pieces != largest)] = 0


def _borders(instances: np.ndarray) -> np.ndarray:
    """Label map uint8 (H, W): cells where the instances are, and a border about two pixels wide between neighbours."""
    # Growing the cells by a pixel first lets neighbours see each other across a gap of one or two pixels.
    grown = np.where(instances > 0, instances, _window(instances, np.maximum))
    high = _window(grown, np.maximum)
    low = _window(np.where(grown > 0, grown, np.uint16(65535)), np.minimum)
    labels = (instances > 0).astype(np.uint8)
    labels[(grown > 0) & (high != low)] = BORDER
    return labels


def _window(array: np.ndarray, pick: np.ufunc) -> np.ndarray:
    """Greatest or least value (np.maximum, np.minimum) in the 3 x 3 neighbourhood of each pixel."""
    for axis in (0, 1):
        padded = np.pad(array, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        length = array.shape[axis]
        before, here, after = (padded.take(range(s, s + length), axis=axis) for s in range(3))
        array = pick(pick(before, here), after)
    return array


def _drop_hollow(instances: np.ndarray, labels: np.ndarray) -> bool:
    """Removes instances whose interior vanished under the border, and makes border of all but the largest interior
    piece of the others; both in place. True if an instance was removed."""
    dropped = False
    for number, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        whole = instances[box] == number
        interior = whole & (labels[box] == CELL)
        area = np.count_nonzero(interior)
        if area == np.count_nonzero(whole):
            continue
        pieces, count = ndimage.label(interior)
        sizes = np.bincount(pieces.ravel())[1:] if count else np.zeros(1, int)
        if sizes.max() < MIN_INTERIOR:
            instances[box][whole] = 0
            labels[box][whole] = BACKGROUND
            dropped = True
        elif count > 1:
            labels[box][interior & (pieces != 1 + np.argmax(sizes))] = BORDER
    return dropped

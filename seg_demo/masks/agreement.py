"""How far several segmentations of one image agree: over class names, whatever ids and tasks the models have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seg_demo.masks.scores import confusion
from seg_demo.masks.uploaded import label_ids
from seg_demo.types import Segmentation

BACKGROUND = "background"
# Ids that mean "not labelled" in an uploaded truth of 8 and of 16 bits.
IGNORE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65_535}
_STRIP_PIXELS = 1 << 20


@dataclass(frozen=True)
class Common:
    """Several results in one numbering of classes.

    Attributes:
        names: every class that any of them knows, by its name without regard to case; the id is the position.
        maps: uint16 (H, W) each, ids into ``names``.
        known: for each result the ids that its model can say.
    """

    names: tuple[str, ...]
    maps: tuple[np.ndarray, ...]
    known: tuple[frozenset[int], ...]

    def shared(self, first: int, second: int) -> list[int]:
        """The ids that two of the results' models both know, in order."""
        return sorted(self.known[first] & self.known[second])


@dataclass(frozen=True)
class Overlap:
    """Agreement of two label maps on the classes that both know.

    Attributes:
        iou: class name → intersection over union in [0, 1]; classes that neither shows are left out.
        mean: of them, or None if there is none.
        same: share of the pixels on which both say the same class.
    """

    iou: dict[str, float]
    mean: float | None
    same: float


def common(results: Sequence[Segmentation]) -> Common:
    """Put results into one numbering of classes.

    Args:
        results: of one image; pixels of object and region results that no segment covers are background.

    Raises:
        ValueError: results of different sizes, or none.
    """
    if not results or len({(each.height, each.width) for each in results}) != 1:
        raise ValueError("Results to compare must be of one image, all of the same size.")
    names: dict[str, int] = {}
    maps, known = [], []
    for result in results:
        ids = [names.setdefault(key(name), len(names)) for name in result.labels.names]
        if result.task == "semantic":
            table = np.array(ids, dtype=np.uint16)
        else:
            nothing = names.setdefault(BACKGROUND, len(names))
            table = np.array([nothing, *(ids[each.label_id] for each in result.segments)], dtype=np.uint16)
            ids = [*ids, nothing]
        maps.append(table[result.id_map])
        known.append(frozenset(ids))
    return Common(tuple(names), tuple(maps), tuple(known))


def key(name: str) -> str:
    """A class name as names are compared: without regard to case, blanks around it, and underscores around background.

    >>> key(" Cell "), key("__background__")
    ('cell', 'background')
    """
    plain = name.strip().casefold()
    return BACKGROUND if plain.strip("_") == BACKGROUND else plain


def agreement(maps: Sequence[np.ndarray]) -> np.ndarray:
    """For each pixel how many of the maps say what most of them say.

    Args:
        maps: integer (H, W) each, in one numbering.

    Returns:
        uint8 (H, W), from 1 (all differ) to the number of maps (all agree).
    """
    most = np.ones(maps[0].shape, dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // maps[0].shape[1])
    for top in range(0, maps[0].shape[0], rows):
        strips = [each[top : top + rows] for each in maps]
        for one in strips:
            votes = sum((one == other).astype(np.uint8) for other in strips)
            np.maximum(most[top : top + rows], votes, out=most[top : top + rows])
    return most


def overlap(first: np.ndarray, second: np.ndarray, names: Sequence[str], shared: Sequence[int], ignore: int | None) -> Overlap:
    """Intersection over union of two label maps per class.

    Args:
        first: integer (H, W), ids into ``names``, or ``ignore``.
        second: integer (H, W), ids into ``names``.
        names: of the classes.
        shared: ids of the classes that both know.
        ignore: value in ``first`` of pixels that do not count, or None.
    """
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    rows = max(1, _STRIP_PIXELS // first.shape[1])
    for top in range(0, first.shape[0], rows):
        part = slice(top, top + rows)
        matrix += confusion(first[part], second[part], len(names), -1 if ignore is None else ignore)
    both = np.diag(matrix)
    either = matrix.sum(axis=0) + matrix.sum(axis=1) - both
    iou = {names[index]: float(both[index] / either[index]) for index in shared if either[index]}
    total = int(matrix.sum())
    return Overlap(iou, float(np.mean(list(iou.values()))) if iou else None, float(both.sum() / total) if total else 1.0)


def truth_ids(mask: np.ndarray, model: Segmentation, names: Sequence[str]) -> np.ndarray:
    """An uploaded label mask in the numbering of :func:`common`.

    Args:
        mask: of :func:`seg_demo.inputs.mask_files.numbers_meant`, with the label ids of one of the models in one of the ways that
            :func:`seg_demo.masks.uploaded.label_ids` reads; 255 (65535 of 16 bits) is ignored.
        model: the result whose model's ids the mask has.
        names: of :func:`common`.

    Returns:
        uint16 (H, W), 65535 to ignore.

    Raises:
        ValueError: the mask has another size, or an id that the model has not; the message says so.
    """
    if mask.shape[:2] != (model.height, model.width):
        came = f"{mask.shape[1]} x {mask.shape[0]}"
        raise ValueError(f"the mask has {came} pixels, the image {model.width} x {model.height}")
    mask = label_ids(mask, model.labels)
    ids = [names.index(key(name)) for name in model.labels.names]
    ignore = IGNORE[mask.dtype]
    table = np.full(ignore + 1, 65_535, dtype=np.uint16)
    unknown = [int(value) for value in np.unique(mask) if value != ignore and value >= len(ids)]
    if unknown:
        raise ValueError(f"the mask holds {unknown[0]}, but {len(ids)} classes are numbered from 0 to {len(ids) - 1}")
    table[: len(ids)] = ids
    return table[mask]

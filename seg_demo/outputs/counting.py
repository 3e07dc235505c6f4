"""How many and how large: counts and areas of a result per class, in pixels and in units."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from seg_demo.errors import BadRequestError

_UNITS = {"um": "um", "µm": "um", "μm": "um", "m": "m"}


@dataclass(frozen=True)
class PixelSize:
    """The length of a pixel's side, to turn areas into units.

    Attributes:
        length: of a side, in the unit.
        unit: ``um`` (micrometres) or ``m`` (metres).
    """

    length: float
    unit: str

    def __post_init__(self) -> None:
        if self.unit not in ("um", "m") or not (math.isfinite(self.length) and 0 < self.length < 1e9):
            raise BadRequestError(
                f"A pixel size is a number above 0 with the unit um or m, such as 0.65um or 10m, but got {self.length} "
                f"{str(self.unit)[:20]!r}."
            )

    @classmethod
    def parse(cls, text: str) -> PixelSize:
        """A pixel size as it is typed.

        >>> PixelSize.parse("0.65 µm"), PixelSize.parse("10m").area(3)
        (PixelSize(length=0.65, unit='um'), 300.0)

        Args:
            text: a number and ``um``, ``µm`` or ``m``.

        Raises:
            BadRequestError: anything else.
        """
        match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(um|µm|μm|m)\s*", text)
        try:
            return cls(float(match[1]), _UNITS[match[2]])
        except (TypeError, ValueError):
            raise BadRequestError(
                f"{text[:40]!r} is not a pixel size. Write a number with its unit, such as 0.65um or 10m."
            ) from None

    def area(self, pixels: float) -> float:
        """An area in square units.

        Args:
            pixels: number of pixels.
        """
        return pixels * self.length**2


# Pixels that are numbered at a time.
_BAND_PIXELS = 1 << 22


def count(result: Mapping[str, Any], id_map: np.ndarray) -> dict[int, dict[str, Any]]:
    """How many of each class are in an image, and how large they are together.

    Args:
        result: of ``Segmentation.to_dict()``.
        id_map: (H, W), the ids of the result.

    Returns:
        Label id → ``label``, ``count`` (objects or regions; of semantic results, which know no objects, connected pieces, see
        :func:`pieces_of`), ``pixels`` (of the id map, so that objects that overlap count once) and
        ``mean_score`` in [0, 1] or None.
    """
    semantic = result["task"] == "semantic"
    pixels = np.bincount(id_map.ravel(), minlength=1 + max((each["id"] for each in result["segments"]), default=0))
    pieces = pieces_of(id_map) if semantic else None
    rows: dict[int, dict[str, Any]] = {}
    scores: dict[int, list[float]] = {}
    for segment in result["segments"]:
        label = segment["label_id"]
        row = rows.setdefault(label, {"label": segment["label"], "count": 0, "pixels": 0})
        row["count"] += int(pieces[segment["id"]]) if semantic else 1
        row["pixels"] += int(pixels[segment["id"]])
        if segment["score"] is not None:
            scores.setdefault(label, []).append(segment["score"])
    for label, row in rows.items():
        row["mean_score"] = float(np.mean(scores[label])) if label in scores else None
    return rows


def pieces_of(id_map: np.ndarray) -> np.ndarray:
    """Connected pieces of every value of an id map: pixels that touch along an edge are one.

    In bands whose seams are joined: numbers of all pixels at once would take four to twelve bytes each.

    Args:
        id_map: uint8 or uint16 (H, W).

    Returns:
        int64 (largest value + 1,).

    >>> pieces_of(np.array([[1, 0, 1], [1, 0, 0], [0, 2, 1]], np.uint8)).tolist()
    [2, 3, 1]
    """
    # scikit-image and these parts of SciPy take half a second to import, which the page need not wait for.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from skimage.measure import label

    rows = max(1, _BAND_PIXELS // id_map.shape[1])
    values, seams, total, above = [], [], 0, None
    for top in range(0, id_map.shape[0], rows):
        band = id_map[top : top + rows]
        numbers, most = label(band.astype(np.int32), background=-1, connectivity=1, return_num=True)
        own = np.zeros(most, dtype=np.int64)
        own[numbers.ravel() - 1] = band.ravel()
        values.append(own)
        numbers = numbers.astype(np.int64) - 1 + total
        if above is not None:
            meet = id_map[top - 1] == band[0]
            seams.append(np.unique(np.stack([above[meet], numbers[0][meet]]), axis=1))
        above, total = numbers[-1], total + most
    of_piece = np.concatenate(values)
    first, second = np.concatenate(seams, axis=1) if seams else np.zeros((2, 0), dtype=np.int64)
    graph = coo_matrix((np.ones(first.size, dtype=bool), (first, second)), shape=(total, total))
    count, joined = connected_components(graph, directed=False)
    value = np.zeros(count, dtype=np.int64)
    value[joined] = of_piece
    return np.bincount(value, minlength=int(id_map.max()) + 1)

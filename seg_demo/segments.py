"""One class, object or region of an image: its box, and its mask within the box."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from seg_demo.rle import Box


@dataclass(frozen=True, eq=False)
class SoftMask:
    """How likely the pixels around an object belong to it.

    Attributes:
        box: (x0, y0, x1, y1), half-open integer pixels of the upright original image; outside, the probability is 0.
        values: uint8 (y1 - y0, x1 - x0), 255 times the probability.
    """

    box: Box
    values: np.ndarray

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if not (0 <= x0 < x1 and 0 <= y0 < y1):
            raise ValueError(f"box must be (x0, y0, x1, y1) with 0 <= x0 < x1 and 0 <= y0 < y1, but got {self.box}.")
        if self.values.dtype != np.uint8 or self.values.shape != (y1 - y0, x1 - x0):
            wanted = f"uint8 of shape {(y1 - y0, x1 - x0)}"
            raise ValueError(f"values must be {wanted}, but got {self.values.dtype} {self.values.shape}.")


@dataclass(frozen=True, eq=False)
class Segment:
    """One class (semantic), object (instance) or region of an image.

    Attributes:
        label_id: index into the label set.
        score: confidence in [0, 1], or None where the method gives none.
        box: (x0, y0, x1, y1), half-open integer pixels of the upright original image.
        mask: bool (y1 - y0, x1 - x0), or None for semantic results, whose mask is cut from the id map.
        soft: probabilities instead of the mask's yes and no, for objects whose confidence was asked for; else None.
    """

    label_id: int
    score: float | None
    box: Box
    mask: np.ndarray | None
    soft: SoftMask | None = None

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if not (0 <= x0 < x1 and 0 <= y0 < y1):
            raise ValueError(f"box must be (x0, y0, x1, y1) with 0 <= x0 < x1 and 0 <= y0 < y1, but got {self.box}.")
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score must be None or in [0, 1], but got {self.score}.")
        if self.mask is not None and (self.mask.dtype != bool or self.mask.shape != (y1 - y0, x1 - x0)):
            shape = (y1 - y0, x1 - x0)
            raise ValueError(f"mask must be bool of shape {shape}, but got {self.mask.dtype} {self.mask.shape}.")

    @property
    def has_mask(self) -> bool:
        """Whether ``mask`` is one; the mask is not made for that."""
        return self.mask is not None

    def moved(self, right: int, down: int) -> Segment:
        """The same segment, so many pixels further right and down, as a part of a larger image."""

        def moved(box: Box) -> Box:
            return box[0] + right, box[1] + down, box[2] + right, box[3] + down

        soft = self.soft and SoftMask(moved(self.soft.box), self.soft.values)
        return replace(self, box=moved(self.box), soft=soft)


class Region(Segment):
    """A segment of a picture that falls into regions. Its mask is cut from the id map whenever it is asked for: thousands of
    rings or stripes, each in a box nearly as large as the picture, would fill the memory.

    Args:
        label_id: index into the label set.
        box: (x0, y0, x1, y1), half-open integer pixels.
        id_map: uint8 or uint16 (H, W), of the whole picture.
        identity: the region's value in it.
    """

    def __init__(self, label_id: int, box: Box, id_map: np.ndarray, identity: int) -> None:
        for name, value in {"label_id": label_id, "score": None, "box": box, "soft": None}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_cut", (id_map, identity))

    @property
    def mask(self) -> np.ndarray:
        """bool (y1 - y0, x1 - x0)."""
        (x0, y0, x1, y1), (id_map, identity) = self.box, self._cut
        return id_map[y0:y1, x0:x1] == identity

"""Class names and their colours."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seg_demo.painting import MAX_IDS


def distinct_colors(count: int, background: int | None = None) -> np.ndarray:
    """Colours that stay apart for any number of classes: hues in golden-ratio steps, lightness in three turns.

    Args:
        count: number of colours.
        background: index that gets black, or None.

    Returns:
        uint8 (count, 3), RGB.
    """
    colors = np.zeros((count, 3), dtype=np.uint8)
    for index in range(count):
        hue = (0.58 + index * 0.618034) % 1.0
        lightness = (0.55, 0.42, 0.68)[index % 3]
        colors[index] = [round(255 * channel) for channel in colorsys.hls_to_rgb(hue, lightness, 0.75)]
    if background is not None:
        colors[background] = 0
    return colors


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Class names and their colours.

    Attributes:
        names: one name per class; the index is the label id.
        colors: uint8 (K, 3), RGB.
        background: the label id that means "nothing", or None if every class is a thing of its own.
    """

    names: tuple[str, ...]
    colors: np.ndarray
    background: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(str(name) for name in self.names))
        count = len(self.names)
        if not 1 <= count <= MAX_IDS:
            raise ValueError(f"A label set has 1 to {MAX_IDS} names, but got {count}.")
        if self.colors.dtype != np.uint8 or self.colors.shape != (count, 3):
            raise ValueError(f"colors must be uint8 of shape ({count}, 3), but got {self.colors.dtype} {self.colors.shape}.")
        if self.background is not None and not 0 <= self.background < count:
            raise ValueError(f"background must be None or a label id from 0 to {count - 1}, but got {self.background}.")

    @classmethod
    def from_names(cls, names: Sequence[str], background: int | None = None) -> LabelSet:
        """A label set with generated colours.

        Args:
            names: one name per class, in order of their ids.
            background: label id of the background, or None.
        """
        return cls(tuple(names), distinct_colors(len(names), background), background)

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelSet):
            return NotImplemented
        same = self.names == other.names and self.background == other.background
        return same and np.array_equal(self.colors, other.colors)

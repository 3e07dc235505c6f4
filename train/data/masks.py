"""From what a mask file holds to label ids, and from a label map to separate objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from seg_demo.core.errors import DataError
from seg_demo.core.types import LabelSet, ignore_id
from seg_demo.inputs.mask_files import MaskFile
from train.data.sample import Sample

# In a rule, the "label id" of values whose pixels count for nothing; in a label map it is ignore_id of its dtype.
IGNORED = -1


def map_dtype(classes: int) -> type:
    """The smallest dtype of a label map that leaves a value to ignore: uint8 up to 255 classes, else uint16."""
    return np.uint8 if classes <= 255 else np.uint16


def pack(rgb: np.ndarray) -> np.ndarray:
    """Colours as numbers, 0xRRGGBB.

    Args:
        rgb: uint8 (..., 3), or uint16 for colours that 8 bits cannot hold: 0xRRRRGGGGBBBB.

    Returns:
        int32 (...), or int64.
    """
    if rgb.dtype == np.uint16:
        wide = rgb.astype(np.int64)
        return (wide[..., 0] << 32) | (wide[..., 1] << 16) | wide[..., 2]
    wide = rgb.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def hex_color(packed: int) -> str:
    """``0xff0000`` as ``#ff0000``."""
    return f"#{packed:06x}"


class UnknownValue(Exception):
    """A mask holds something that its rule has no label for; ``packed`` lists the first few values or colours."""

    def __init__(self, packed: list[int], coloured: bool) -> None:
        self.packed = packed
        super().__init__(", ".join(hex_color(v) if coloured else str(v) for v in packed))


@dataclass(frozen=True)
class MaskRule:
    """How the masks of one dataset are read.

    Attributes:
        dtype: of the label maps, uint8 or uint16.
        values: value (or palette index) → label id, or IGNORED.
        colors: colour 0xRRGGBB → label id, or IGNOREDD, for masks of three channels.
        by_palette: palette masks are read by their colours instead of their indices.
        by_grey: masks that list greys (see :class:`seg_demo.inputs.mask_files.MaskFile`) are read by the grey that is seen;
            those with a palette only if ``grey_palettes``.
        grey_palettes: no palette has a colour.
        thousands: label maps come from instance maps of 1000 times the class plus a number.
        object_label: label id of every object, where only instance maps are there, else None.
    """

    dtype: type
    values: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[int, int] = field(default_factory=dict)
    by_palette: bool = False
    object_label: int | None = None
    by_grey: bool = False
    grey_palettes: bool = False
    thousands: bool = False

    def read(self, mask: MaskFile) -> np.ndarray:
        """The label ids of a mask file; see :meth:`label_map`."""
        numbers, palette = mask.numbers, mask.palette
        if self.by_grey and mask.levels is not None and (palette is None or self.grey_palettes):
            table = np.concatenate([mask.levels, np.zeros(256 - len(mask.levels), np.uint8)])
            return self.label_map(table[numbers])
        if self.thousands:
            wide = numbers.astype(np.int64)
            numbers = np.where(wide < 1000, wide, wide // 1000)
        return self.label_map(numbers, palette)

    def label_map(self, raw: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
        """The label ids of a mask.

        Args:
            raw: uint8 or uint16 (H, W), or uint8 (H, W, 3), as the file holds it.
            palette: uint8 (P, 3), the colours of a palette mask, or None.

        Returns:
            ``dtype`` (H, W), label ids; the largest value of the dtype means ignore.

        Raises:
            UnknownValue: a value or colour without a label.
        """
        if palette is not None and self.by_palette:
            packed = pack(palette)
            lut = np.array([self._label(self.colors.get(color, -2)) for color in packed.tolist()], dtype=np.int32)
            return self._look_up(raw, lut, packed)
        if raw.ndim == 3:
            return self._by_color(pack(raw))
        if raw.dtype not in (np.uint8, np.uint16):
            return self._by_search(raw)
        lut = np.full(int(np.iinfo(raw.dtype).max) + 1, -2, dtype=np.int32)
        for value, label in self.values.items():
            if value < len(lut):
                lut[value] = self._label(label)
        return self._look_up(raw, lut, None)

    def _label(self, label: int) -> int:
        return ignore_id(self.dtype) if label == IGNORED else label

    def _look_up(self, raw: np.ndarray, lut: np.ndarray, colors: np.ndarray | None) -> np.ndarray:
        if int(raw.max(initial=0)) >= len(lut):
            raise UnknownValue([int(raw.max())], coloured=False)
        labels = lut[raw]
        if (labels == -2).any():
            unknown = np.unique(raw[labels == -2])[:5]
            raise UnknownValue((unknown if colors is None else colors[unknown]).tolist(), colors is not None)
        return labels.astype(self.dtype)

    def _by_color(self, packed: np.ndarray) -> np.ndarray:
        return self._searched(packed, self.colors, coloured=True)

    def _by_search(self, raw: np.ndarray) -> np.ndarray:
        """Numbers too large for a table; -1 is ignored."""
        return self._searched(raw, {-1: IGNORED, **self.values}, coloured=False)

    def _searched(self, raw: np.ndarray, table: Mapping[int, int], coloured: bool) -> np.ndarray:
        keys = np.array(sorted(table), dtype=np.int64)
        if keys.size == 0:
            raise UnknownValue(np.unique(raw)[:5].tolist(), coloured=coloured)
        ids = np.array([self._label(table[key]) for key in keys.tolist()], dtype=np.int32)
        position = np.searchsorted(keys, raw).clip(max=len(keys) - 1)
        known = keys[position] == raw
        if not known.all():
            raise UnknownValue(np.unique(raw[~known])[:5].tolist(), coloured=coloured)
        return ids[position].astype(self.dtype)


def with_objects(sample: Sample, labels: LabelSet) -> Sample:
    """The sample with separate objects: as it is if it has them, else the connected components of its classes.

    Pixels that touch by a side or a corner and share a class are one object, as in scikit-image's and SciPy's full
    connectivity: right for blobs that stand apart, while things that touch become one.

    Args:
        sample: with or without an instance map.
        labels: its classes; the background (if there is one) holds no objects.

    Raises:
        DataError: more than 65535 pieces, which no set of separate objects has.
    """
    if sample.instance_map is not None:
        return sample
    ignored = ignore_id(sample.label_map.dtype)
    pieces = np.zeros(sample.label_map.shape, dtype=np.int32)
    classes = [0]
    for label_id in np.unique(sample.label_map).tolist():
        if label_id in (ignored, labels.background):
            continue
        found, count = ndimage.label(sample.label_map == label_id, structure=np.ones((3, 3), dtype=int))
        pieces += np.where(found > 0, found + len(classes) - 1, 0)
        classes += [label_id] * count
    if len(classes) > 65_535:
        raise DataError("data.too_many_pieces", name=sample.name, count=len(classes) - 1)
    return replace(sample, instance_map=pieces.astype(np.uint16), instance_labels=np.array(classes, dtype=np.uint16))

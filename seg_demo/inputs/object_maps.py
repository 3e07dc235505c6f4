"""Instance maps: a number or a colour for each object, in the ways in which programs write them.

Every way has in common that pixels of one object hold the same and pixels of two objects do not, whether that is a small number,
a number spread over the channels (COCO's panoptic PNGs: R + 256 G + 65536 B), or an arbitrary colour. So nothing has to be known of
the program; what differs is which values are no object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from seg_demo.core import Message
from seg_demo.inputs.mask_files import IGNORED_NUMBER, MaskFile

# The border that Pascal VOC leaves out, as a colour.
VOC_BORDER = 0xE0E0C0
WHITE = 0xFFFFFF
THOUSAND = 1000
MOST_OBJECTS = 65_534


@dataclass(frozen=True)
class ObjectRule:
    """Which values of the instance maps of a dataset are no objects.

    Attributes:
        nothing: values without an object.
        ignored: values of pixels that count for nothing.
        thousands: values are 1000 times the class plus the object's number, and smaller ones are classes without objects
            (Cityscapes' ``instanceIds``).
        pieces: an object is a connected piece of a value rather than all that has it.
    """

    nothing: frozenset[int] = frozenset({0})
    ignored: frozenset[int] = frozenset({IGNORED_NUMBER})
    thousands: bool = False
    pieces: bool = False

    def objects_in(self, values: Mapping[int, int]) -> dict[int, int]:
        """Value → pixels of what is an object."""
        left_out = self.nothing | self.ignored
        return {v: n for v, n in values.items() if v not in left_out and not (self.thousands and v < THOUSAND)}


@dataclass(frozen=True)
class Objects:
    """What one instance map says.

    Attributes:
        numbers: uint16 (H, W), 1, 2, ... without gaps in the order of the values, 0 where there is no object.
        ignored: bool (H, W).
        values: of object 1, 2, ...: the number or 0xRRGGBB in the file.
    """

    numbers: np.ndarray
    ignored: np.ndarray
    values: tuple[int, ...]


def values_of(mask: MaskFile) -> tuple[np.ndarray, bool]:
    """A value per pixel that tells objects apart.

    Args:
        mask: as read.

    Returns:
        int64 (H, W), 0 for what is black or numbered 0, and whether they are colours.
    """
    raw = mask.numbers
    if raw.ndim == 3:
        if np.array_equal(raw[..., 0], raw[..., 1]) and np.array_equal(raw[..., 0], raw[..., 2]):
            return raw[..., 0].astype(np.int64), False
        bits = 16 if raw.dtype == np.uint16 else 8
        wide = raw.astype(np.int64)
        return wide[..., 0] << 2 * bits | wide[..., 1] << bits | wide[..., 2], True
    if mask.palette is not None:
        used = np.unique(raw)
        inside = used[used < len(mask.palette)]
        colours = mask.palette[inside].astype(np.int64)
        packed = colours[:, 0] << 16 | colours[:, 1] << 8 | colours[:, 2]
        black_elsewhere = 0 in packed and not (inside[packed == 0] == 0).any() and not _on_white(raw, inside, packed)
        border = VOC_BORDER in packed
        # An index is what a palette stores, unless black, which is nothing, has another one than 0.
        if len(inside) == len(used) and len(set(packed.tolist())) == len(packed) and black_elsewhere:
            table = np.zeros(256, dtype=np.int64)
            table[inside] = packed
            return table[raw], True
        values = raw.astype(np.int64)
        if border:
            values[np.isin(raw, inside[packed == VOC_BORDER])] = IGNORED_NUMBER
        return values, False
    values = raw.astype(np.int64)
    if mask.levels is not None and len(mask.levels) > 2 and int(mask.levels[0]) > int(mask.levels[-1]):
        # Zero is white: an instance map whose most numbers are high was written as a picture.
        if int(np.median(values)) == len(mask.levels) - 1:
            values = len(mask.levels) - 1 - values
    if raw.dtype == np.uint16:
        values[values == 65_535] = IGNORED_NUMBER
    return values, False


def _on_white(raw: np.ndarray, used: np.ndarray, packed: np.ndarray) -> bool:
    """Whether a palette begins with white, and more pixels are that than black: paper, on which black is one more object."""
    if used[0] != 0 or packed[0] != WHITE:
        return False
    return int((raw == 0).sum()) > int(np.isin(raw, used[packed == 0]).sum())


def counts_of(values: np.ndarray) -> dict[int, int]:
    """Value → pixels, in rising order."""
    found, pixels = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), pixels.tolist(), strict=True))


@dataclass
class ObjectReading:
    """How instance maps are read, and what is to be said about it (sentences)."""

    rule: ObjectRule
    notes: list[str] = field(default_factory=list)


def understand_objects(counts: Sequence[Mapping[int, int]], coloured: Sequence[bool], bits: int, where: str) -> ObjectReading:
    """Which values of the instance maps of one dataset are objects.

    Args:
        counts: value → pixels of each map, see :func:`values_of`.
        coloured: whether the values of each map are colours.
        bits: 8 if all maps of numbers have 8 bits, else more.
        where: how to name the maps in a sentence, such as ``instances/``.
    """
    notes: list[str] = []
    nothing, ignored = {0}, {IGNORED_NUMBER}
    full = [counted for counted in counts if counted]
    numbered = [counted for counted, colour in zip(counts, coloured, strict=True) if not colour]
    if any(coloured):
        ignored.add(VOC_BORDER)
        _add_border(WHITE, [counted for counted, colour in zip(counts, coloured, strict=True) if colour], ignored, notes, where, Message("object_maps.white"))
    elif bits == 8:
        _add_border(255, numbered, ignored, notes, where, "255")
    if full and not any(0 in counted for counted in full):
        common = set.intersection(*(set(counted) for counted in full)) - ignored
        largest = Counter(value for counted in full if (value := _standing_out(counted)) is not None)
        background = next((value for value, times in largest.most_common(1) if value in common and 2 * times > len(full)), None)
        if background is not None and len(full) > 1 and any(len(counted) > 1 for counted in full):
            nothing = {background}
            name = f"#{background:06x}" if any(coloured) else str(background)
            notes.append(Message("object_maps.background_assumed", where=where, value=name))
    thousands = not any(coloured) and bits > 8 and _by_thousands(full, nothing | ignored)
    if thousands:
        notes.append(Message("object_maps.by_thousands", where=where))
    return ObjectReading(ObjectRule(frozenset(nothing), frozenset(ignored), thousands), notes)


def _standing_out(counts: Mapping[int, int]) -> int | None:
    """The value of what is far larger than everything else in a map, as a background is; None without one."""
    first, *rest = sorted(counts, key=lambda value: -counts[value])
    beside = counts[rest[0]] if rest else 0
    return first if counts[first] >= max(3 * beside, 0.25 * sum(counts.values())) else None


def _add_border(
    value: int, maps: Sequence[Mapping[int, int]], ignored: set[int], notes: list[str], where: str, name: str
) -> None:
    """The highest value as what counts for nothing, if it is in most maps that have objects, far above their numbers."""
    held = [set(counted) - {0, *ignored} for counted in maps]
    others = [counted - {value} for counted in held if counted - {value}]
    beside = sum(value in counted for counted in held if counted - {value})
    black = any(0 in counted for counted in maps)
    highest = max((max(counted) for counted in others), default=0)
    if others and black and beside > 1 and 2 * beside > len(others) and (value == WHITE or highest < 200):
        ignored.add(value)
        notes.append(Message("object_maps.border_ignored", value=name, where=where))


def _by_thousands(maps: Sequence[Mapping[int, int]], left_out: set[int]) -> bool:
    """Whether numbers are 1000 times a class plus a number that counts from 0 or 1 within each picture."""
    small = {value for counted in maps for value in counted} - left_out
    large = {value for value in small if value >= THOUSAND}
    small -= large
    if not large or not small or max(small) > 255 or max(large) >= 256 * THOUSAND or len(small) > 64:
        return False
    for counted in maps:
        by_class: dict[int, set[int]] = {}
        for value in counted:
            if value >= THOUSAND:
                by_class.setdefault(value // THOUSAND, set()).add(value % THOUSAND)
        for numbers in by_class.values():
            if min(numbers) > 1 or max(numbers) > 2 * len(numbers) + 1:
                return False
    return True


def objects_of(mask: MaskFile, rule: ObjectRule) -> Objects:
    """The objects of one instance map.

    Args:
        mask: as read.
        rule: of its dataset.

    Raises:
        ValueError: more objects than 65534; the message says so.
    """
    values, _ = values_of(mask)
    found, inverse = np.unique(values, return_inverse=True)
    inverse = inverse.reshape(values.shape)
    objects = rule.objects_in(dict.fromkeys(found.tolist(), 1))
    ignored = np.isin(found, list(rule.ignored))[inverse]
    if rule.pieces:
        # Slow to import, and seldom wanted.
        from scipy import ndimage

        numbers, kept = np.zeros(values.shape, dtype=np.int64), []
        for value in sorted(objects):
            pieces, count = ndimage.label(values == value, structure=np.ones((3, 3), dtype=int))
            numbers += np.where(pieces > 0, pieces + len(kept), 0)
            kept += [value] * count
    else:
        kept = sorted(objects)
        table = np.zeros(len(found), dtype=np.int64)
        table[np.searchsorted(found, kept)] = np.arange(1, len(kept) + 1)
        numbers = table[inverse]
    if len(kept) > MOST_OBJECTS:
        raise ValueError(Message("pixels.too_many_objects", count=len(kept), most=MOST_OBJECTS))
    return Objects(numbers.astype(np.uint16), ignored, tuple(int(value) for value in kept))

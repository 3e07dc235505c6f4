"""From what a mask file holds to label ids, and from a label map to separate objects.

Beside it, what a mask holds in numbers: how many pixels of each value or colour, around which values they gather, its connected
pieces (from runs: memory goes with outlines, not pixels); and what the instance maps of a dataset mean.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

import numpy as np

from seg_demo.annotations.listing import FAULT, NOTE, PIECES, Choice, Fault, Item, Sample, relative
from seg_demo.core import DataError, Message, ignore_id, sentences
from seg_demo.inputs.mask_files import ZERO_NODATA, MaskFile, findings, note_of
from seg_demo.inputs.object_maps import THOUSAND, ObjectRule, understand_objects, values_of

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


def with_objects(sample: Sample, things: Sequence[int]) -> Sample:
    """The sample with separate objects: as it is if it has them, else the connected components of its classes.

    Pixels that touch by a side or a corner and share a class are one object, as in scikit-image's and SciPy's full
    connectivity: right for blobs that stand apart, while things that touch become one.

    Args:
        sample: with or without an instance map.
        things: label ids that objects may have.

    Raises:
        DataError: more than 65535 pieces, which no set of separate objects has.
    """
    if sample.instance_map is not None:
        return sample
    from scipy import ndimage

    pieces = np.zeros(sample.label_map.shape, dtype=np.int32)
    classes = [0]
    for label_id in np.unique(sample.label_map).tolist():
        if label_id not in things:
            continue
        found, count = ndimage.label(sample.label_map == label_id, structure=np.ones((3, 3), dtype=int))
        pieces += np.where(found > 0, found + len(classes) - 1, 0)
        classes += [label_id] * count
    if len(classes) > 65_535:
        raise DataError("data.too_many_pieces", name=sample.name, count=len(classes) - 1)
    return replace(sample, instance_map=pieces.astype(np.uint16), instance_labels=np.array(classes, dtype=np.uint16))


MAX_COLORS = 4096
# Pixels that are counted at a time.
BAND_PIXELS = 1 << 21


@dataclass(frozen=True)
class MaskScan:
    """What one mask file holds.

    Attributes:
        digest: sha256 of the decoded pixels.
        mode: ``grey`` (one channel), ``palette`` or ``color`` (three channels that differ somewhere).
        bits: 8 or 16.
        counts: value, palette index or 0xRRGGBB → pixels. Colours stop at the ``MAX_COLORS`` most frequent ones.
        palette: palette index → 0xRRGGBB for the indices that occur; empty for other modes.
        lossy: it was compressed with loss, so its values are blurred.
        three_channels: the file has three channels, all equal where ``mode`` is ``grey``.
        levels: number → the grey that it shows, for the numbers that occur, where the file lists greys; empty else.
        understood: what reading the file had to find out, see :class:`seg_demo.inputs.mask_files.MaskFile`.
        pages: pictures of its size in the file.
        others: those after the first, which alone was read, hold something else.
        apart: how many values lie in several separate pieces, of those that might number objects (see :func:`histogram`).
        rising: each of those values begins below or right of the next smaller one, as programs number objects.
    """

    digest: str
    mode: str
    bits: int
    counts: dict[int, int]
    palette: dict[int, int]
    lossy: bool
    three_channels: bool
    apart: int = 0
    rising: bool = False
    levels: dict[int, int] = field(default_factory=dict)
    understood: tuple[str, ...] = ()
    pages: int = 1
    others: bool = False

    def as_greys(self, grey_palettes: bool) -> MaskScan:
        """The same mask by the greys that it shows; one with a palette only if ``grey_palettes``."""
        if not self.levels or (self.mode == "palette" and not grey_palettes):
            return self
        counts: dict[int, int] = {}
        for number, pixels in self.counts.items():
            grey = self.levels.get(number, number)
            counts[grey] = counts.get(grey, 0) + pixels
        return replace(self, mode="grey", counts=dict(sorted(counts.items())), palette={}, levels={}, bits=8)

    def as_objects(self) -> MaskScan:
        """The same mask as an instance map."""
        counts = {(-1 if value == 65_535 else value): pixels for value, pixels in self.counts.items()}
        return replace(self, counts=dict(sorted(counts.items())))

    @property
    def by_color(self) -> dict[int, int]:
        """0xRRGGBB → pixels, through the palette for palette masks and r = g = b for grey ones."""
        counts: dict[int, int] = {}
        for value, pixels in self.counts.items():
            color = value if self.mode == "color" else self.palette.get(value, min(value, 255) * 0x010101)
            counts[color] = counts.get(color, 0) + pixels
        return counts


def scan_of(mask: MaskFile, lossy: bool) -> MaskScan:
    """What a mask file holds, see :func:`histogram`.

    Args:
        mask: as read.
        lossy: whether it was compressed with loss.
    """
    found = histogram(mask.numbers, mask.palette, lossy)
    levels = {}
    if mask.levels is not None and mask.numbers.ndim == 2:
        levels = {number: int(mask.levels[number]) for number in found.counts if 0 <= number < len(mask.levels)}
    return replace(found, levels=levels, understood=mask.understood, pages=mask.pages, others=mask.others)


def objects_in(mask: MaskFile, lossy: bool) -> MaskScan:
    """What an instance map holds: its counts are of :func:`seg_demo.inputs.object_maps.values_of`, -1 for pixels to ignore, and
    ``apart`` is how many of its values lie in several separate pieces.

    Args:
        mask: as read.
        lossy: whether it was compressed with loss.
    """
    values, coloured = values_of(mask)
    counts, _ = _counts(values, coloured=False)
    small = np.where(values == 65_535, 65_534, values) if values.max() <= 65_535 else values
    return MaskScan(
        digest=digest_of_pixels(mask.numbers),
        mode="color" if coloured else "grey",
        bits=8 if mask.numbers.dtype == np.uint8 else 16,
        counts=counts,
        palette={},
        lossy=lossy,
        three_channels=mask.numbers.ndim == 3,
        apart=several_pieces(_small(small)),
        understood=mask.understood,
        pages=mask.pages,
        others=mask.others,
    )


def histogram(raw: np.ndarray, palette: np.ndarray | None, lossy: bool) -> MaskScan:
    """What a decoded mask holds.

    Whether values could number objects is looked into where a grey mask has several, in 16 bits or 1, 2, 3 ... without gaps.

    Args:
        raw: uint8, uint16 or int64 (H, W), or uint8 or uint16 (H, W, 3).
        palette: uint8 (P, 3) or None.
        lossy: whether it was compressed with loss.
    """
    three = raw.ndim == 3
    grey = not three or bool((raw[..., 0] == raw[..., 1]).all() and (raw[..., 1] == raw[..., 2]).all())
    mode = "color" if not grey else "palette" if palette is not None else "grey"
    numbered = raw[..., 0] if grey and three else raw
    counts, first = _counts(numbered, coloured=mode == "color")
    used = {} if palette is None else {i: int(pack(palette[i])) for i in counts if i < len(palette)}
    wide = raw.dtype != np.uint8
    numbers = [value for value in counts if 0 < value < (65_535 if wide else 256)]
    apart, rising = 0, False
    if mode == "grey" and len(numbers) > 1 and (wide or numbers == list(range(1, 1 + len(numbers)))):
        apart = several_pieces(_small(numbered))
        rising = all(first[one] < first[next_one] for one, next_one in pairwise(numbers))
    return MaskScan(digest_of_pixels(raw), mode, 16 if wide else 8, counts, used, lossy, three, apart, rising)


def _small(numbers: np.ndarray) -> np.ndarray:
    """The same areas with numbers that fit 16 bits; 0 stays 0, and what is ignored becomes 0."""
    if numbers.dtype in (np.uint8, np.uint16):
        return numbers
    found, inverse = np.unique(np.where(numbers < 0, 0, numbers), return_inverse=True)
    return np.minimum(inverse.reshape(numbers.shape) + int(found[0] > 0), 65_534).astype(np.uint16)


def _counts(array: np.ndarray, coloured: bool) -> tuple[dict[int, int], dict[int, int]]:
    """How often each value occurs, in rising order, and where it occurs first (as if the rows were one); band by band.

    Args:
        array: uint8 or uint16 (H, W), or uint8 (H, W, 3) if ``coloured``.
        coloured: the values are 0xRRGGBB, and only the most frequent of very many are kept.
    """
    values, pixels, first = (np.zeros(0, dtype=np.int64) for _ in range(3))
    rows = max(1, BAND_PIXELS // array.shape[1])
    for top in range(0, array.shape[0], rows):
        band = array[top : top + rows]
        flat = (pack(band) if coloured else band).ravel()
        # Masks are long runs of one value: counting run by run is many times faster than sorting pixels.
        starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
        lengths = np.diff(np.concatenate([starts, [flat.size]]))
        found, begins, inverse = np.unique(flat[starts], return_index=True, return_inverse=True)
        number = np.concatenate([pixels, np.bincount(inverse, weights=lengths).astype(np.int64)])
        begin = np.concatenate([first, top * array.shape[1] + starts[begins]])
        # What is known already comes first, so that it is what np.unique points to.
        values, places, inverse = np.unique(np.concatenate([values, found]), return_index=True, return_inverse=True)
        pixels, first = np.bincount(inverse, weights=number).astype(np.int64), begin[places]
        if coloured and len(values) > 16 * MAX_COLORS:
            values, pixels, first = _most(4 * MAX_COLORS, values, pixels, first)
    if coloured and len(values) > MAX_COLORS:
        values, pixels, first = _most(MAX_COLORS, values, pixels, first)
    keys = values.tolist()
    return dict(zip(keys, pixels.tolist(), strict=True)), dict(zip(keys, first.tolist(), strict=True))


def _most(count: int, values: np.ndarray, pixels: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The most frequent values, in rising order, with what belongs to them."""
    kept = np.sort(np.argsort(-pixels, kind="stable")[:count])
    return values[kept], pixels[kept], first[kept]


def clusters(counts: dict[int, int], coloured: bool, reach: int = 40) -> list[int]:
    """The few values around which blurred values gather, the proposal for rounding them.

    Args:
        counts: value or 0xRRGGBB → pixels.
        coloured: whether the keys are colours.
        reach: largest difference of a channel that still belongs to a value.

    >>> clusters({0: 900, 2: 30, 128: 3, 250: 20, 255: 500}, False)
    [0, 255]
    """
    left = sorted(counts.items(), key=lambda pair: -pair[1])[:512]
    total = sum(counts.values())
    centres: list[int] = []
    while left and len(centres) < 16:
        centre, weight = left[0][0], 0
        rest = []
        for value, pixels in left:
            near = all(
                abs(a - b) <= reach for a, b in zip(_channels(value, coloured), _channels(centre, coloured), strict=True)
            )
            weight += pixels if near else 0
            rest += [] if near else [(value, pixels)]
        if weight < 0.005 * total:
            break
        centres.append(centre)
        left = rest
    second = sorted(counts[centre] for centre in centres)[-2:][0] if centres else 0
    return sorted(centre for centre in centres if 10 * counts[centre] >= second)


def _channels(value: int, coloured: bool) -> tuple[int, ...]:
    return (value >> 16, value >> 8 & 255, value & 255) if coloured else (value,)


def digest_of_pixels(array: np.ndarray) -> str:
    """sha256 of an array's shape, dtype and content."""
    digest = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


# Pieces of an object below this share of it are slivers, which something in front of it left, or dust of the drawing.
SLIVER = 0.05
# A mask of more runs than this is no drawing; what is asked about it is asked about every other row and column, or fewer.
MOST_RUNS = 4_000_000


def several_pieces(numbers: np.ndarray) -> int:
    """How many values, 0 and 65535 aside, lie in several pieces that are more than slivers of it.

    Pixels that touch by a side or a corner and share a value are one piece, as in scikit-image's ``label`` with
    ``connectivity=2``.

    Args:
        numbers: uint8 or uint16 (H, W).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    while (changes := sum(int(np.count_nonzero(row[1:] != row[:-1])) for row in numbers)) + len(numbers) > MOST_RUNS:
        numbers = numbers[::2, ::2]
    if changes == 0 and (numbers == numbers[0, 0]).all():
        return 0
    rows, begins, ends, values = _runs(numbers)
    kept = (values > 0) & (values < 65_535)
    rows, begins, ends, values = rows[kept], begins[kept], ends[kept], values[kept]
    one, other = _touching(rows, begins, ends, numbers.shape[1])
    same = values[one] == values[other]
    links = coo_array((np.ones(int(same.sum()), dtype=bool), (one[same], other[same])), shape=(len(rows), len(rows)))
    count, piece = connected_components(links, directed=False)
    sizes = np.bincount(piece, weights=ends - begins, minlength=count)
    value_of = np.zeros(count, dtype=np.int64)
    value_of[piece] = values
    whole = np.bincount(value_of, weights=sizes)
    large = value_of[sizes >= SLIVER * whole[value_of]]
    return int((np.bincount(large, minlength=1) > 1).sum())


def _runs(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row, first column, column after the last, and value of every run of equal pixels, in reading order; int64 (R,) each."""
    found = []
    for row, line in enumerate(numbers):
        begins = np.flatnonzero(np.concatenate([[True], line[1:] != line[:-1]]))
        ends = np.append(begins[1:], len(line))
        found.append((np.full(len(begins), row), begins, ends, line[begins].astype(np.int64)))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _touching(rows: np.ndarray, begins: np.ndarray, ends: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs of neighbouring rows that touch by a side or a corner: indices into the runs, int64 (P,) each."""
    # One line of places for all rows, far enough apart that no run of another row is within reach.
    step = width + 4
    first = np.searchsorted(rows * step + ends, (rows + 1) * step + begins, side="left")
    last = np.searchsorted(rows * step + begins, (rows + 1) * step + ends, side="right")
    counts = np.maximum(last - first, 0)
    one = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(one)) - np.repeat(np.cumsum(counts) - counts, counts)
    return one, np.repeat(first, counts) + within


# Share of the values of all maps that lie in several pieces, from which on nobody can tell whether a value is an object.
MOST_APART = 0.5
LEAST_APART = 3
# Share of a picture that one object hardly ever has.
WHOLE = 0.95
# Counts that are so many times more or fewer than in most maps.
JUMP, LEAST_JUMP = 10, 20
VALUES = "objects"


@dataclass
class Maps:
    """How the instance maps of a dataset are read.

    Attributes:
        rule: which values are objects.
        notes: what was assumed, a sentence each.
        faults: what keeps them from being understood.
    """

    rule: ObjectRule = field(default_factory=ObjectRule)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def by_class(scan: MaskScan) -> MaskScan:
    """A map of 1000 times the class plus a number → the same with the classes alone."""
    counts: Counter[int] = Counter()
    for value, pixels in scan.counts.items():
        counts[value if value < THOUSAND else value // THOUSAND] += pixels
    highest = max(counts)
    return replace(scan, counts=dict(sorted(counts.items())), bits=8 if highest <= 255 else 16, apart=0, rising=False)


def by_thousands(maps: Sequence[MaskScan]) -> bool:
    """Whether instance maps hold 1000 times the class plus a number."""
    return _rule(maps, "").rule.thousands


def _rule(maps: Sequence[MaskScan], where: str):
    sound = [scan for scan in maps if not scan.lossy]
    bits = 8 if all(scan.bits == 8 for scan in sound) else 16
    return understand_objects([scan.counts for scan in sound], [scan.mode == "color" for scan in sound], bits, where)


def understand_maps(maps: Mapping[str, MaskScan], items: Sequence[Item], root, decided: str | None = None) -> Maps:
    """How instance maps are read.

    Args:
        maps: item's name → what its map holds.
        items: of the dataset.
        root: folder to which messages name files.
        decided: what a person said where maps can be read in two ways: ``objects`` or ``pieces``.
    """
    if not maps:
        return Maps()
    files = {item.name: relative(item.instances, root) for item in items if item.instances is not None}
    first = next(iter(maps))
    where = files[first].rpartition("/")[0] + "/" if "/" in files[first] else "the instance maps"
    reading = _rule(list(maps.values()), where)
    rule, notes = reading.rule, list(reading.notes)
    sound = {name: scan for name, scan in maps.items() if not scan.lossy}
    counts = {name: len(rule.objects_in(scan.counts)) for name, scan in sound.items()}
    coloured = [name for name, scan in sound.items() if scan.mode == "color"]
    if coloured:
        name = max(coloured, key=counts.__getitem__)
        notes.append(Message("readings.object_colours", where=where, count=counts[name], file=files[name]))
    if any(value > 65_535 for scan in sound.values() for value in scan.counts) and not coloured:
        highest = max(value for scan in sound.values() for value in scan.counts)
        notes.append(Message("readings.renumbered_objects", where=where, highest=highest))
    apart, several = sum(scan.apart for scan in sound.values()), sum(counts.values())
    faults = []
    if decided == PIECES:
        rule = replace(rule, pieces=True)
        notes.append(Message("object_maps.pieces", where=where))
    elif decided is None and (wrapped := [name for name in sound if _wrapped(sound[name], counts[name])]):
        faults.append(_wrapped_fault(files[wrapped[0]], sound[wrapped[0]].apart))
    elif decided is None and apart >= LEAST_APART and apart > MOST_APART * several:
        if any(item.mask is not None for item in items):
            # Beside masks, which say the classes, the maps are meant to say the objects.
            notes.append(Message("object_maps.values_in_pieces", apart=apart, count=several, where=where, reading=PIECES))
        else:
            faults.append(_values_or_pieces(where, apart, several))
    return Maps(rule, notes, faults)


def _wrapped(scan: MaskScan, objects: int) -> bool:
    """Whether a map of 8 bits holds every number there is, some of them in several pieces: more objects than 8 bits can number."""
    return scan.bits == 8 and scan.mode == "grey" and objects >= 250 and scan.apart >= LEAST_APART


def _wrapped_fault(file: str, apart: int) -> Fault:
    what = Message("findings.eight_bits_used_up", apart=apart)
    remedy = Message("findings.save_instance_maps_with_16_bits")
    choices = (Choice(VALUES, Message("findings.each_value_is_one_object")), Choice(PIECES, Message("findings.each_connected_piece_is_one_object")))
    return Fault("numbers ran out", file, what, remedy, choices=choices)


def _values_or_pieces(where: str, apart: int, several: int) -> Fault:
    what = Message("findings.values_lie_in_pieces", apart=apart, several=several)
    remedy = Message("findings.choose_objects_or_pieces")
    choices = (Choice(VALUES, Message("findings.each_value_is_one_object")), Choice(PIECES, Message("findings.each_connected_piece_is_one_object")))
    return Fault("values or pieces", where, what, remedy, choices=choices)


def understood_in(items: Sequence[Item], scans: Mapping[str, object], root) -> list[str]:
    """Sentences about what reading the files had to find out."""
    found: dict[str, list[str]] = {}
    for item in items:
        for path, scan in ((item.mask, scans[item.name].mask), (item.instances, scans[item.name].instances)):
            for finding in () if path is None or scan is None else findings(scan):
                found.setdefault(finding, []).append(relative(path, root))
    notes = {finding: note_of(finding, _files(names)) for finding, names in found.items()}
    return [sentences(note, Message("mask_files.ignore_zero")) if finding == ZERO_NODATA else note for finding, note in notes.items()]


def _files(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else Message("mask_files.and_more", name=names[0], count=len(names) - 1)


def doubtful_maps(
    counts: Mapping[str, int], shares: Mapping[str, float], files: Mapping[str, str], decided: bool
) -> list[Fault]:
    """What about instance maps is hardly meant so.

    Args:
        counts: item's name → objects.
        shares: item's name → share of the picture that its largest object has, 0 without one.
        files: item's name → how to name its map.
        decided: a person has said how the maps are read.
    """
    found: list[Fault] = []
    if len(counts) < 2:
        return found
    empty = [name for name, count in counts.items() if count == 0]
    if 2 * len(empty) > len(counts) and len(empty) < len(counts):
        what = Message("findings.no_object_like_others", count=len(empty), count_2=len(counts))
        remedy = Message("findings.export_instance_maps_again_if_wrong")
        found.append(Fault("maps without objects", files[empty[0]], what, remedy, NOTE))
    whole = [name for name, count in counts.items() if count == 1 and shares[name] >= WHOLE]
    if 2 * len(whole) > len(counts):
        # Whoever has said that each value is an object has looked.
        severity = NOTE if decided else FAULT
        what = Message("findings.one_object_covers_picture", value=100 * shares[whole[0]], count=len(whole), count_2=len(counts))
        remedy = Message("findings.save_background_as_0_or_choose_objects")
        found.append(Fault("one object everywhere", files[whole[0]], what, remedy, severity))
    usual = median(counts.values())
    jumps = [
        name
        for name, count in counts.items()
        if abs(count - usual) >= LEAST_JUMP and (count >= JUMP * max(1, usual) or (0 < count <= usual / JUMP))
    ]
    if jumps and len(counts) > 2:
        name = max(jumps, key=lambda name: abs(counts[name] - usual))
        count, more = counts[name], len(jumps) - 1
        alone = Message("findings.unusual_number_of_objects", count=count, usual=usual)
        what = Message("findings.unusual_number_of_objects_in_several", count=count, usual=usual, more=more) if more else alone
        remedy = Message("findings.compare_export_with_others")
        found.append(Fault("counts that jump", files[name], what, remedy, NOTE))
    return found

"""What a mask holds, in numbers: how many pixels of each value or colour, and around which values they gather."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from seg_demo.inputs.mask_files import MaskFile
from seg_demo.inputs.object_maps import values_of
from train.data.masks import pack
from train.data.pieces import several_pieces

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

"""What a mask holds, in numbers: how many pixels of each value or colour, and around which values they gather."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from skimage.measure import label

from train.data.masks import pack

MAX_COLORS = 4096
# Pieces of an object below this share of it are slivers, which something in front of it left, or dust of the drawing.
SLIVER = 0.05


@dataclass(frozen=True)
class MaskScan:
    """What one mask file holds.

    Attributes:
        digest: sha256 of the decoded pixels.
        mode: ``grey`` (one channel), ``palette`` or ``color`` (three channels that differ somewhere).
        bits: 8 or 16.
        counts: value, palette index or 0xRRGGBB → pixels. Colours stop at the ``MAX_COLORS`` most frequent ones.
        palette: palette index → 0xRRGGBB for the indices that occur; empty for other modes.
        lossy: it is a JPEG, a HEIC or a lossy WebP, so its values are blurred.
        three_channels: the file has three channels, all equal where ``mode`` is ``grey``.
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

    @property
    def by_color(self) -> dict[int, int]:
        """0xRRGGBB → pixels, through the palette for palette masks and r = g = b for grey ones."""
        counts: dict[int, int] = {}
        for value, pixels in self.counts.items():
            color = value if self.mode == "color" else self.palette.get(value, min(value, 255) * 0x010101)
            counts[color] = counts.get(color, 0) + pixels
        return counts


def histogram(raw: np.ndarray, palette: np.ndarray | None, lossy: bool) -> MaskScan:
    """What a decoded mask holds.

    Whether values could number objects is looked into where a grey mask has several, in 16 bits or 1, 2, 3 ... without gaps.

    Args:
        raw: uint8 or uint16 (H, W), or uint8 (H, W, 3).
        palette: uint8 (P, 3) or None.
        lossy: whether it came from a JPEG or the like.
    """
    three = raw.ndim == 3
    grey = not three or bool((raw[..., 0] == raw[..., 1]).all() and (raw[..., 1] == raw[..., 2]).all())
    mode = "color" if not grey else "palette" if palette is not None else "grey"
    flat = (pack(raw) if not grey else raw[..., 0] if three else raw).ravel()
    # Masks are long runs of one value: counting run by run is many times faster than sorting pixels.
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.concatenate([starts, [flat.size]]))
    values, begins, inverse = np.unique(flat[starts], return_index=True, return_inverse=True)
    pixels = np.bincount(inverse, weights=lengths).astype(np.int64)
    if mode == "color" and len(values) > MAX_COLORS:
        kept = np.sort(np.argsort(-pixels, kind="stable")[:MAX_COLORS])
        values, pixels = values[kept], pixels[kept]
    counts = dict(zip(values.tolist(), pixels.tolist(), strict=True))
    used = {} if palette is None else {i: int(pack(palette[i])) for i in counts if i < len(palette)}
    wide = raw.dtype == np.uint16
    numbers = (values > 0) & (values < (65_535 if wide else 256))
    apart, rising = 0, False
    if mode == "grey" and numbers.sum() > 1 and (wide or np.array_equal(values[numbers], 1 + np.arange(numbers.sum()))):
        apart = _apart(raw[..., 0] if three else raw)
        rising = bool((np.diff(begins[numbers]) > 0).all())
    return MaskScan(digest_of_pixels(raw), mode, 16 if wide else 8, counts, used, lossy, three, apart, rising)


def _apart(numbers: np.ndarray) -> int:
    """How many values of an integer (H, W) array, 0 and 65535 aside, lie in several pieces that are more than slivers."""
    pieces = label(numbers, background=0, connectivity=2)
    sizes = np.bincount(pieces.ravel())
    value_of = np.zeros(len(sizes), dtype=np.int64)
    value_of[pieces.ravel()] = numbers.ravel()
    whole = np.bincount(value_of[1:], weights=sizes[1:], minlength=2)
    large = value_of[1:][sizes[1:] >= SLIVER * whole[value_of[1:]]]
    return int((np.bincount(large[large < 65_535]) > 1).sum())


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

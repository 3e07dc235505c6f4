"""COCO run-length encoding of masks that are stored as a box crop, without ever building the full image.

The format is that of pycocotools (``maskApi.c``): runs of zeros and ones in column-major order, beginning with zeros,
and a string of 5-bit groups in which every count from the third on is stored as the difference to the one two before.

And what is counted of a map of ids over its runs, strip by strip: how many pixels every id has, where, and what they add up to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

Box = tuple[int, int, int, int]
# Bits of a count in a string; a text could otherwise hold one number of any length, whose arithmetic takes minutes.
LONGEST_COUNT = 45


@dataclass(frozen=True, eq=False)
class Runs:
    """A mask of a whole picture as runs of pixels down its columns, counted in COCO's order: pixel (row, column) is column * height + row.

    Attributes:
        begins: int64 (R,), the first pixel of every run, ascending.
        ends: int64 (R,), the pixel after its last one, less than the next run's first.
        height: of the picture in pixels.
    """

    begins: np.ndarray
    ends: np.ndarray
    height: int

    @classmethod
    def of_crop(cls, mask: np.ndarray, box: Box, height: int) -> Runs:
        """The runs of a mask that is given as a crop.

        Args:
            mask: bool (y1 - y0, x1 - x0), the crop.
            box: (x0, y0, x1, y1), half-open pixels of the whole picture.
            height: of the whole picture in pixels.
        """
        x0, y0, _, _ = box
        rows, columns = mask.shape
        # A zero before each column, and one at the end, makes every run of ones begin and end inside its column's stretch.
        padded = np.zeros(columns * (rows + 1) + 1, dtype=bool)
        padded[:-1].reshape(columns, rows + 1)[:, 1:] = mask.T
        # Where the value changes, in turn from zero to one and from one to zero.
        column, row = np.divmod(np.flatnonzero(padded[1:] != padded[:-1]), rows + 1)
        return cls.of_edges((x0 + column) * height + y0 + row, height)

    @classmethod
    def of_edges(cls, edges: np.ndarray, height: int) -> Runs:
        """Runs between every second pair of edges.

        Args:
            edges: int64 (2 R,), ascending; where two are the same, nothing lies between them, or a run goes on.
            height: of the picture in pixels.
        """
        if bool((edges[1:] == edges[:-1]).any()):
            # Edges in the same place take each other away, two by two.
            first = np.flatnonzero(np.concatenate([[True], edges[1:] != edges[:-1]]))
            odd = np.diff(first, append=len(edges)) % 2 == 1
            edges = edges[first[odd]]
        return cls(edges[::2], edges[1::2], height)

    @property
    def edges(self) -> np.ndarray:
        """Begins and ends in turn: int64 (2 R,)."""
        return np.stack([self.begins, self.ends], axis=1).ravel()

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int((self.ends - self.begins).sum())

    @property
    def box(self) -> Box | None:
        """The smallest half-open box (x0, y0, x1, y1) around the mask, or None without a pixel."""
        if not len(self.begins):
            return None
        # numpy divides by a single number far faster than divmod does.
        first, last = self.begins // self.height, (self.ends - 1) // self.height
        whole = bool((last > first).any())
        begin = first * self.height
        y0, y1 = (0, self.height) if whole else (int((self.begins - begin).min()), int((self.ends - begin).max()))
        return int(first[0]), y0, int(last[-1]) + 1, y1

    def counts(self, width: int) -> np.ndarray:
        """Run lengths of zeros and ones in turn over height * width pixels, beginning with zeros (which may be none): int64 (N,)."""
        total = np.int64(self.height) * width
        edges = self.edges
        tail = [] if len(edges) and edges[-1] == total else [total]
        return np.diff(np.concatenate([[0], edges, tail])).astype(np.int64)

    def crop(self, box: Box) -> np.ndarray:
        """The mask within a box (x0, y0, x1, y1): bool (y1 - y0, x1 - x0)."""
        x0, y0, x1, y1 = box
        begin, end = x0 * self.height, x1 * self.height
        edges = np.concatenate([[begin], np.minimum(np.maximum(self.edges, begin), end), [end]])
        lengths = edges[1:] - edges[:-1]
        columns = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(x1 - x0, self.height)
        return np.ascontiguousarray(columns[:, y0:y1].T)

    def encoded(self, width: int) -> dict[str, object]:
        """The mask as a COCO RLE object: ``{"size": [height, width], "counts": str}``."""
        return next(encode_each([self], width))


@dataclass(frozen=True, eq=False)
class PackedRuns:
    """Runs in few bytes, for keeping: of a mask of white noise, with an edge at every other pixel or so, a quarter.

    Attributes:
        steps: from edge to edge, the first from the picture's first pixel: (2 R,), of the smallest unsigned type that holds them.
        height: of the picture in pixels.
    """

    steps: np.ndarray
    height: int

    @classmethod
    def of(cls, runs: Runs) -> PackedRuns:
        """The same mask."""
        steps = np.diff(runs.edges, prepend=0)
        return cls(steps.astype(np.min_scalar_type(int(steps.max(initial=0)))), runs.height)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.steps.nbytes

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.steps[1::2].sum(dtype=np.int64))

    def runs(self) -> Runs:
        """What was packed."""
        edges = np.cumsum(self.steps, dtype=np.int64)
        return Runs(edges[::2], edges[1::2], self.height)

    def crop(self, box: Box) -> np.ndarray:
        """As :meth:`Runs.crop`."""
        return self.runs().crop(box)


class Painter:
    """An id map of masks that come one after another, the earliest on top. What none of them has is kept as runs, from which each takes
    its part.

    Args:
        height: pixels.
        width: pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self._size, self._count = (height, width), 0
        self._free = np.array([0, np.int64(height) * width])
        self._begins, self._ends, self._ids = ([np.zeros(0, np.int64)] for _ in range(3))

    def add(self, mask: Runs) -> None:
        """One more, below all others."""
        self._count += 1
        edges, free = mask.edges, self._free
        if not len(edges):
            return
        first, last = np.searchsorted(free, edges[0], "right"), np.searchsorted(free, edges[-1], "left")
        first, last = first - first % 2, last + last % 2
        both = np.concatenate([free[first:last], edges])
        order = np.argsort(both, kind="stable")
        places, of_mask = both[order], order >= last - first
        inside = np.cumsum(of_mask)[:-1] % 2 == 1
        open_ = (np.cumsum(~of_mask)[:-1] % 2 == 1) & (places[1:] > places[:-1])
        won, left = open_ & inside, open_ & ~inside
        self._begins.append(places[:-1][won])
        self._ends.append(places[1:][won])
        self._ids.append(np.full(len(self._begins[-1]), self._count))
        self._free = np.concatenate([free[:first], np.stack([places[:-1][left], places[1:][left]], axis=1).ravel(), free[last:]])

    def id_map(self) -> np.ndarray:
        """(height, width), 1 + index of the topmost mask and 0 for none; uint8 for up to 255 masks, else uint16."""
        begins, ends, ids = (np.concatenate(parts) for parts in (self._begins, self._ends, self._ids))
        order, (height, width) = np.argsort(begins), self._size
        edges = np.stack([begins[order], ends[order]], axis=1).ravel()
        values = np.zeros(len(edges) + 1, np.uint8 if self._count <= 255 else np.uint16)
        values[1::2] = ids[order]
        lengths = np.diff(np.concatenate([[0], edges, [np.int64(height) * width]]))
        return np.ascontiguousarray(np.repeat(values, lengths).reshape(width, height).T)


# So many masks are encoded together.
_TOGETHER = 64


def encode_each(masks: Iterable[Runs], width: int) -> Iterator[dict[str, object]]:
    """As :meth:`Runs.encoded` of each mask; many small ones in a third of the time.

    Args:
        masks: of one picture.
        width: of the picture, in pixels.
    """
    masks = iter(masks)
    while group := list(islice(masks, _TOGETHER)):
        for runs, text in zip(group, _compressed([runs.counts(width) for runs in group]), strict=True):
            yield {"size": [runs.height, width], "counts": text}


def compress_counts(counts: np.ndarray) -> str:
    """COCO's compressed string of run lengths, equal to ``rleToString`` of pycocotools' ``maskApi.c``.

    Args:
        counts: int64 (R,), run lengths.

    Returns:
        ASCII string.
    """
    return _compressed([counts])[0]


def _compressed(many: Sequence[np.ndarray]) -> list[str]:
    """The compressed strings of several masks' run lengths int64 (R,), which numpy computes together."""
    values = np.concatenate(many).astype(np.int64)
    ends = np.cumsum([len(counts) for counts in many])
    for counts, end in zip(many, ends, strict=True):
        values[end - max(0, len(counts) - 3) : end] -= counts[1:-2]
    groups: list[np.ndarray] = []
    written: list[np.ndarray] = []
    active = np.ones(values.shape, dtype=bool)
    while active.any():
        group = values & 0x1F
        values = values >> 5
        # Bit 5 of the group is its sign: the number ends where what is left is only the sign's extension.
        more = np.where(group & 0x10, values != -1, values != 0)
        groups.append(np.where(more, group | 0x20, group) + 48)
        written.append(active)
        active = active & more
    if not groups:
        return ["" for _ in many]
    table = np.stack(groups, axis=1)
    keep = np.stack(written, axis=1)
    text = table[keep].astype(np.uint8).tobytes().decode("ascii")
    places = np.concatenate([[0], np.cumsum(keep.sum(1))])[np.concatenate([[0], ends])].tolist()
    return [text[begin:end] for begin, end in zip(places, places[1:], strict=False)]


def decompress_counts(text: str) -> np.ndarray:
    """Inverse of :func:`compress_counts`.

    Args:
        text: COCO's compressed counts.

    Returns:
        int64 (R,), run lengths.

    Raises:
        ValueError: the string ends in the middle of a number, or a number is longer than any picture has pixels.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text.encode("ascii"):
        group = character - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if shift > LONGEST_COUNT:
            raise ValueError(f"COCO RLE string has a number of more than {LONGEST_COUNT} bits.")
        if group & 0x20:
            continue
        if group & 0x10:
            value |= -1 << shift
        value += counts[-2] if len(counts) > 2 else 0
        if abs(value) >> LONGEST_COUNT:
            raise ValueError(f"COCO RLE string has a number of more than {LONGEST_COUNT} bits.")
        counts.append(value)
        value = shift = 0
    if shift:
        raise ValueError(f"COCO RLE string of {len(text)} characters ends in the middle of a number.")
    return np.array(counts, dtype=np.int64)


def encode_crop(mask: np.ndarray, box: Box, height: int, width: int) -> dict[str, object]:
    """COCO RLE object of a mask stored as a crop; equal to pycocotools' ``encode`` of the full mask.

    Args:
        mask: bool (y1 - y0, x1 - x0).
        box: (x0, y0, x1, y1), half-open pixels of the whole image.
        height: height of the whole image in pixels.
        width: width of the whole image in pixels.

    Returns:
        ``{"size": [height, width], "counts": str}``.
    """
    return Runs.of_crop(mask, box, height).encoded(width)


def decode(rle: dict[str, object]) -> np.ndarray:
    """The full mask of a COCO RLE object, compressed or not.

    Args:
        rle: ``{"size": [height, width], "counts": str or list of int}``.

    Returns:
        bool (height, width).

    Raises:
        ValueError: the counts do not add up to the size.
    """
    height, width = (int(side) for side in rle["size"])
    raw = rle["counts"]
    if isinstance(raw, bytes):
        raw = raw.decode("ascii")
    counts = decompress_counts(raw) if isinstance(raw, str) else np.asarray(raw, dtype=np.int64)
    if (counts < 0).any() or (counts > height * width).any() or counts.sum() != height * width:
        raise ValueError(f"COCO RLE has {int(counts.sum())} pixels, but its size {height} x {width} says {height * width}.")
    values = np.arange(counts.size) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def tight_box(mask: np.ndarray) -> Box | None:
    """The smallest half-open box (x0, y0, x1, y1) around the true pixels of a mask, or None if there are none.

    Args:
        mask: bool (H, W).
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# numpy counts in 64-bit integers: a whole map of 100 megapixels at once would take 800 MB.
_STRIP_PIXELS = 1 << 20


def _strips(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of a map, a million pixels at a time."""
    step = max(1, _STRIP_PIXELS // max(1, shape[1]))
    for top in range(0, shape[0], step):
        yield slice(top, top + step)


def count_ids(id_map: np.ndarray, least: int = 0) -> np.ndarray:
    """Pixels of every id, as ``np.bincount(id_map.ravel(), minlength=least)``.

    Args:
        id_map: uint8 or uint16 (H, W).
        least: the result is at least this long.

    Returns:
        int64 (N,), N past the largest id.
    """
    counts = np.zeros(np.iinfo(id_map.dtype).max + 1, dtype=np.int64)
    for rows in _strips(id_map.shape):
        found = np.bincount(id_map[rows].ravel())
        counts[: found.size] += found
    present = np.flatnonzero(counts)
    last = int(present[-1]) + 1 if present.size else 0
    if least > counts.size:
        return np.concatenate([counts, np.zeros(least - counts.size, dtype=np.int64)])
    return counts[: max(last, least)]


def sum_by_id(id_map: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of a map's values over the pixels of every id.

    Args:
        id_map: uint8 or uint16 (H, W).
        values: uint8 (H, W).

    Returns:
        float64 (N,), whole numbers, N as many as the dtype of the id map can name.
    """
    sums = np.zeros(np.iinfo(id_map.dtype).max + 1)
    for rows in _strips(id_map.shape):
        found = np.bincount(id_map[rows].ravel(), weights=values[rows].ravel())
        sums[: found.size] += found
    return sums

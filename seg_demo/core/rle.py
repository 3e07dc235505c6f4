"""COCO run-length encoding of masks that are stored as a box crop, without ever building the full image.

The format is that of pycocotools (``maskApi.c``): runs of zeros and ones in column-major order, beginning with zeros,
and a string of 5-bit groups in which every count from the third on is stored as the difference to the one two before.
"""

from __future__ import annotations

import numpy as np

Box = tuple[int, int, int, int]


def crop_to_counts(mask: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """Run lengths of a mask given as a crop.

    Args:
        mask: bool (y1 - y0, x1 - x0), the crop.
        box: (x0, y0, x1, y1), half-open pixels of the whole image.
        height: height of the whole image in pixels.
        width: width of the whole image in pixels.

    Returns:
        int64 (R,), alternating counts of zeros and ones over the height * width pixels in column-major order,
        beginning with zeros (the first may be 0).
    """
    x0, y0, _, _ = box
    rows, columns = mask.shape
    # A zero before each column, and one at the end, makes every run of ones begin and end inside its column's stretch.
    padded = np.zeros(columns * (rows + 1) + 1, dtype=bool)
    padded[:-1].reshape(columns, rows + 1)[:, 1:] = mask.T
    # Where the value changes, in turn from zero to one and from one to zero.
    column, row = np.divmod(np.flatnonzero(padded[1:] != padded[:-1]), rows + 1)
    starts, ends = ((x0 + column) * height + y0 + row).reshape(-1, 2).T
    # A run that reaches the bottom of the image goes on at the top of the next column.
    joined = starts[1:] == ends[:-1]
    starts = np.concatenate([starts[:1], starts[1:][~joined]])
    ends = np.concatenate([ends[:-1][~joined], ends[-1:]])
    edges = np.stack([starts, ends], axis=1).ravel()
    total = np.int64(height) * width
    if edges.size == 0:
        return np.array([total], dtype=np.int64)
    tail = [total] if edges[-1] < total else []
    return np.diff(np.concatenate([[0], edges, tail])).astype(np.int64)


def compress_counts(counts: np.ndarray) -> str:
    """COCO's compressed string of run lengths, equal to ``rleToString`` of pycocotools' ``maskApi.c``.

    Args:
        counts: int64 (R,), run lengths.

    Returns:
        ASCII string.
    """
    values = counts.astype(np.int64).copy()
    values[3:] -= counts[1:-2]
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
    table = np.stack(groups, axis=1)
    keep = np.stack(written, axis=1)
    return table[keep].astype(np.uint8).tobytes().decode("ascii")


def decompress_counts(text: str) -> np.ndarray:
    """Inverse of :func:`compress_counts`.

    Args:
        text: COCO's compressed counts.

    Returns:
        int64 (R,), run lengths.

    Raises:
        ValueError: the string ends in the middle of a number.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text.encode("ascii"):
        group = character - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
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
    return {"size": [height, width], "counts": compress_counts(crop_to_counts(mask, box, height, width))}


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
    if counts.sum() != height * width or (counts < 0).any():
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

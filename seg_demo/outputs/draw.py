"""A segmentation as pictures: the overlay, and id maps for people's tools and for the viewer; and how they are sent beside its numbers, as JSON.

A PNG writer for masks and overlays: lossless, strip by strip, several times as fast as an adaptive encoder.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future

import numpy as np

from seg_demo.core import TASKS, Segmentation, distinct_colors
from seg_demo.core.requests import pool

_STRIP_PIXELS = 1 << 18


def colors_of(segmentation: Segmentation) -> np.ndarray:
    """The colour of every id of the id map.

    Args:
        segmentation: any result.

    Returns:
        uint8 RGB; semantic: (K, 3), the colours of the classes; otherwise (n + 1, 3), black for id 0, then one colour per
        object that differs from its neighbours in the list.
    """
    if not TASKS[segmentation.task].objects:
        return segmentation.labels.colors
    return distinct_colors(len(segmentation.segments) + 1, background=0)


def _table(segmentation: Segmentation) -> tuple[np.ndarray, np.ndarray]:
    """Colour, uint16 (N, 3), and whether it is painted, bool (N,), for every value that the id map's dtype can hold."""
    size = np.iinfo(segmentation.id_map.dtype).max + 1
    known = colors_of(segmentation)[:size]
    colors = np.zeros((size, 3), dtype=np.uint16)
    colors[: len(known)] = known
    painted = np.zeros(size, dtype=bool)
    painted[: len(known)] = True
    nothing = 0 if TASKS[segmentation.task].objects else segmentation.labels.background
    if nothing is not None:
        painted[nothing] = False
    return colors, painted


def _edges(id_map: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels with another id to the left, right, above or below."""
    edges = np.zeros(id_map.shape, dtype=bool)
    across = id_map[:, 1:] != id_map[:, :-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    down = id_map[1:] != id_map[:-1]
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def overlay(image: np.ndarray, segmentation: Segmentation, opacity: float = 0.5, outlines: bool = True) -> np.ndarray:
    """The image with every segment in its colour; the background class and pixels without an object stay as they are.

    One look-up per pixel in the id map, whatever the number of segments, in strips of rows.

    Args:
        image: uint8 (H, W, 3), the upright original.
        segmentation: of that image.
        opacity: 0 (only the image) to 1 (only the colours).
        outlines: draw the outermost pixels of every segment in its full colour.

    Returns:
        uint8 (H, W, 3), a new array.

    Raises:
        ValueError: an image of another size or type, or an opacity outside [0, 1].
    """
    result = np.empty(image.shape, dtype=np.uint8)
    top = 0
    for strip in _overlay_strips(image, segmentation, opacity, outlines):
        result[top : top + len(strip)] = strip
        top += len(strip)
    return result


def overlay_png(image: np.ndarray, segmentation: Segmentation) -> bytes:
    """The overlay as a PNG, written strip by strip: it never takes the memory of a second picture.

    Args:
        image: as for :func:`overlay`.
        segmentation: as for :func:`overlay`.
    """
    return encode_rgb(segmentation.height, segmentation.width, _overlay_strips(image, segmentation, 0.5, True))


def _overlay_strips(image: np.ndarray, segmentation: Segmentation, opacity: float, outlines: bool) -> Iterator[np.ndarray]:
    """The overlay from top to bottom, uint8 (rows, W, 3) at a time; arguments and errors as for :func:`overlay`."""
    height, width = segmentation.height, segmentation.width
    if image.dtype != np.uint8 or image.shape != (height, width, 3):
        raise ValueError(f"image must be uint8 of shape ({height}, {width}, 3), but got {image.dtype} {image.shape}.")
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"opacity must be in [0, 1], but got {opacity}.")
    alpha = round(256 * opacity)
    colors, painted = _table(segmentation)
    keep = np.where(painted, 256 - alpha, 256).astype(np.uint16)
    # Half a step is added so that the shift rounds; an unpainted pixel keeps its value exactly.
    add = np.where(painted[:, None], colors * alpha + 128, 0).astype(np.uint16)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        ids = segmentation.id_map[top:bottom]
        mixed = image[top:bottom] * keep[ids][..., None]
        mixed += np.take(add, ids, axis=0)
        strip = (mixed >> 8).astype(np.uint8)
        if outlines:
            # A row more on each side, so that outlines do not depend on where strips meet.
            first = max(top - 1, 0)
            edge = _edges(segmentation.id_map[first : bottom + 1])[top - first :][: bottom - top] & painted[ids]
            strip[edge] = colors[ids[edge]]
        yield strip


def id_map_png(segmentation: Segmentation) -> bytes:
    """The mask file: the id map without loss; a palette PNG in the colours of the segments for up to 256 ids, else 16-bit
    grey.

    Args:
        segmentation: any result.

    Returns:
        The bytes of a PNG whose stored values are the ids.
    """
    colors = colors_of(segmentation)
    if len(colors) <= 256 and segmentation.id_map.max() < 256:
        # Ids without a colour (a class to be ignored) need an entry all the same.
        missing = max(0, int(segmentation.id_map.max()) + 1 - len(colors))
        palette = np.concatenate([colors, np.zeros((missing, 3), dtype=np.uint8)])
        return encode_png(segmentation.id_map.astype(np.uint8, copy=False), palette)
    return encode_png(segmentation.id_map.astype(np.uint16, copy=False))


def viewer_id_png(segmentation: Segmentation) -> bytes:
    """The id map for a browser's canvas, which has 8 bits per channel and turns palettes into colours.

    Args:
        segmentation: any result.

    Returns:
        The bytes of an opaque RGB PNG: id = R + 256 * G, B is 0.
    """
    split = np.zeros((segmentation.height, segmentation.width, 3), dtype=np.uint8)
    split[..., 0] = segmentation.id_map & 255
    if segmentation.id_map.dtype == np.uint16:
        split[..., 1] = segmentation.id_map >> 8
    return encode_png(split)


_STRIP_BYTES = 1 << 20
# Compressed in less time than another thread takes to wake up.
_SMALL_BYTES = 1 << 16
_THREADS = min(4, os.cpu_count() or 1)
_threads = pool("png", _THREADS)
# A zlib stream, compressed fast.
_HEADER = b"\x78\x01"
# The last block of a deflate stream, with nothing in it.
_EMPTY_LAST = b"\x03\x00"
_UP = 2
_MAX_SIDE = 2**31 - 1


def _chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk: length, kind, data, checksum."""
    return b"".join(_framed(kind, data))


def _framed(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes]:
    """What :func:`_chunk` joins."""
    return struct.pack(">I", len(data)) + kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _compressed(width: int, strips: Iterable[np.ndarray]) -> list[bytes]:
    """The zlib stream, in pieces, of rows of bytes, each filtered by the difference to the row above.

    Args:
        width: bytes per row.
        strips: uint8 (any, width), from top to bottom.

    Label maps repeat their rows, so the differences are nearly all zero, and run lengths are all that is worth finding.
    At 12 megapixels on one slow core: label map 32 ms (Pillow at level 1: 42 to 520 ms), photograph 550 ms (Pillow
    1.3 to 2.7 s, for files that are 0 to 15 % smaller). Run lengths need no memory of what came before, so strips are
    compressed by several threads and joined, as pigz does it, at the cost of five bytes each.
    """
    above = np.zeros(width, dtype=np.uint8)
    parts, check = [_HEADER], 1
    waiting: deque[Future[bytes]] = deque()
    for strip in strips:
        filtered = np.empty((strip.shape[0], strip.shape[1] + 1), dtype=np.uint8)
        filtered[:, 0] = _UP
        np.subtract(strip[0], above, out=filtered[0, 1:])
        np.subtract(strip[1:], strip[:-1], out=filtered[1:, 1:])
        above = strip[-1].copy()
        if not waiting and filtered.nbytes <= _SMALL_BYTES:
            parts.append(_deflated(filtered))
        else:
            waiting.append(_threads().submit(_deflated, filtered))
        check = zlib.adler32(filtered, check)
        # A few at a time, because each holds its filtered rows.
        if len(waiting) > 2 * _THREADS:
            parts.append(waiting.popleft().result())
    parts.extend(future.result() for future in waiting)
    return [*parts, _EMPTY_LAST + struct.pack(">I", check)]


def _deflated(filtered: np.ndarray) -> bytes:
    """Filtered rows as a part of a deflate stream that ends at a byte."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    return compressor.compress(filtered) + compressor.flush(zlib.Z_SYNC_FLUSH)


def _strips(rows: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _STRIP_BYTES // max(1, rows.shape[1]))
    for top in range(0, rows.shape[0], step):
        yield rows[top : top + step]


def _file(width: int, height: int, bits: int, color_type: int, chunks: list[bytes], data: list[bytes]) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    # A chunk per piece, none of which is copied before all are joined.
    pieces = [piece for part in data for piece in _framed(b"IDAT", part)]
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *chunks, *pieces, _chunk(b"IEND", b"")])


def encode_rgb(height: int, width: int, strips: Iterable[np.ndarray]) -> bytes:
    """A PNG file of a picture that is made while it is written.

    Args:
        height: rows of all strips together, at least 1.
        width: at least 1.
        strips: uint8 (rows, width, 3), RGB, from top to bottom.
    """
    rows = (np.ascontiguousarray(strip).reshape(len(strip), -1) for strip in strips)
    return _file(width, height, 8, 2, [], _compressed(width * 3, rows))


def encode_png(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """A PNG file.

    Args:
        pixels: uint8 (H, W) grey or palette indices, uint16 (H, W) grey of 16 bits, uint8 (H, W, 3) RGB or (H, W, 4) RGBA; not empty.
        palette: uint8 (K, 3), RGB of the indices, K from 1 to 256; None for all others.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: pixels or palette of another kind.
    """
    kind = (pixels.dtype.str[1:], pixels.shape[2:])
    layouts = {("u1", ()): (8, 0), ("u2", ()): (16, 0), ("u1", (3,)): (8, 2), ("u1", (4,)): (8, 6)}
    if pixels.ndim < 2 or kind not in layouts or not 0 < min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= _MAX_SIDE:
        wanted = "uint8 or uint16 of shape (H, W), or uint8 of shape (H, W, 3) or (H, W, 4)"
        raise ValueError(f"pixels must be {wanted}, but got {pixels.dtype} {pixels.shape}.")
    bits, color_type = layouts[kind]
    chunks = []
    if palette is not None:
        if kind != ("u1", ()) or palette.dtype != np.uint8 or palette.ndim != 2 or not 1 <= len(palette) <= 256:
            raise ValueError(f"a palette must be uint8 (K, 3) for uint8 (H, W), but got {palette.dtype} {palette.shape}.")
        color_type = 3
        chunks.append(_chunk(b"PLTE", palette.tobytes()))
    if bits == 16:
        pixels = pixels.astype(">u2").view(np.uint8)
    height, width = pixels.shape[:2] if bits == 8 else (pixels.shape[0], pixels.shape[1] // 2)
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    return _file(width, height, bits, color_type, chunks, _compressed(rows.shape[1], _strips(rows)))


# Entries of a list that are written as JSON together, and bytes as base64, a multiple of three: a millisecond's work each.
_ENTRIES, _BYTES = 16, 3 << 16
_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def json_parts(data: Mapping[str, object], files: Mapping[str, bytes] | None = None) -> Iterator[bytes]:
    """JSON without spaces, to be joined; ASCII, because class names from anywhere may hold what UTF-8 cannot.

    Python's encoder keeps the interpreter's lock until it has done: of thousands of segments, or of a file of megabytes, for a fifth of a second, in which
    no other thread runs. Between parts it is let go.

    Args:
        data: such as :meth:`seg_demo.core.types.Segmentation.to_dict` gives; its lists may be long.
        files: by name; they follow as ``files``, each in base64.

    Raises:
        ValueError: a number that is not finite.
    """
    opened = b"{"
    for name, value in data.items():
        yield opened + _json(name).encode("ascii") + b":"
        opened = b","
        if not isinstance(value, list):
            yield _json(value).encode("ascii")
            continue
        for begin in range(0, len(value), _ENTRIES):
            yield (b"," if begin else b"[") + _json(value[begin : begin + _ENTRIES])[1:-1].encode("ascii")
        yield b"]" if value else b"[]"
    for number, (name, content) in enumerate((files or {}).items()):
        yield (b"," if number else opened + b'"files":{') + _json(name).encode("ascii") + b':"'
        yield from (base64.b64encode(content[begin : begin + _BYTES]) for begin in range(0, len(content), _BYTES))
        yield b'"'
    yield (b"}" if files else b"") + (b"}" if data or files else b"{}")

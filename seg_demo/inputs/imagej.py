"""ImageJ's ROI files, as ``RoiEncoder`` and ``RoiDecoder`` of ImageJ 1.54 write and read them: one ROI per file, several in a zip.

All numbers are big-endian. A ROI is a type, a box and either a list of corners (16-bit, relative to the box; 32-bit floats behind them where it
has sub-pixel resolution) or, if it has holes or parts, a path of floats (composite). Corners run along the edges of pixels; within is the
pixel whose centre is (ImageJ's PolygonFiller).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from seg_demo.inputs.shapes import CENTRE, Ellipse, Outline, Shape

MAGIC = b"Iout"
_VERSION = 228
_HEADER, _HEADER2 = 64, 64
_POLYGON, _RECT, _OVAL, _FREEHAND, _TRACED = 0, 1, 2, 7, 8
_WITHOUT_AREA = {3: "line", 4: "line", 5: "line", 6: "empty", 9: "angle", 10: "points"}
# Rectangles that show something else: text, an arrow, a picture.
_SHOWN = {1: "text", 2: "arrow", 4: "picture"}
_SUB_PIXEL = 128
_MOVE, _LINE, _QUAD, _CUBIC, _CLOSE = 0, 1, 2, 3, 4
_CURVE_STEPS = 16
Ring = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Roi:
    """What one file holds.

    Attributes:
        name: as ImageJ's manager lists it; empty if the file gives none.
        shape: its area; None for lines, points, text and the like.
        kind: a word for what has no area.
        group: from 1, 0 for none.
        properties: key → text.
        slice: of a stack, from 1; 0 for all.
    """

    name: str
    shape: Shape | None
    kind: str
    group: int
    properties: dict[str, str]
    slice: int


def encode(name: str, polygons: Sequence[Sequence[Ring]], group: int, properties: dict[str, str]) -> bytes:
    """A ROI.

    Args:
        name: any text.
        polygons: of whole pixels, an outer ring and its holes each.
        group: from 1 to 255, 0 for none.
        properties: key → text, both without line breaks.

    Returns:
        A traced ROI, or a composite one if there are holes or parts, or numbers that 16 bits cannot hold.
    """
    points = [point for rings in polygons for ring in rings for point in ring]
    left, top = (int(min(point[axis] for point in points)) for axis in (0, 1))
    right, bottom = (math.ceil(max(point[axis] for point in points)) for axis in (0, 1))
    first = polygons[0][0]
    simple = len(polygons) == len(polygons[0]) == 1 and max(right, bottom) < 1 << 15 and len(first) < 1 << 16
    if simple:
        content = b"".join(struct.pack(f">{len(first)}h", *(int(point[axis]) - corner for point in first)) for axis, corner in ((0, left), (1, top)))
    else:
        path: list[float] = []
        for ring in (ring for rings in polygons for ring in rings):
            for index, point in enumerate(ring):
                path += [_LINE if index else _MOVE, *point]
            path.append(_CLOSE)
        content = struct.pack(f">{len(path)}f", *path)
    header = bytearray(_HEADER)
    box = [min(side, (1 << 15) - 1) for side in (top, left, bottom, right)]
    struct.pack_into(">4shbx4hH", header, 0, MAGIC, _VERSION, _TRACED if simple else _RECT, *box, len(first) if simple else 0)
    if not simple:
        struct.pack_into(">i", header, 36, len(path))
    at = _HEADER + len(content)
    struct.pack_into(">i", header, 60, at)
    named = name.encode("utf-16-be", "surrogatepass")
    stated = "".join(f"{key}: {value}\n" for key, value in properties.items()).encode("utf-16-be", "surrogatepass")
    more = bytearray(_HEADER2)
    struct.pack_into(">2i", more, 16, at + _HEADER2, len(named) // 2)
    more[30] = group
    struct.pack_into(">2i", more, 40, at + _HEADER2 + len(named), len(stated) // 2)
    return bytes(header) + content + bytes(more) + named + stated


def decode(data: bytes) -> Roi:
    """What a file holds.

    Raises:
        ValueError: no ROI file, or one that ends too early.
    """
    if data[:4] != MAGIC or len(data) < _HEADER:
        raise ValueError("it does not begin as ImageJ's ROI files do")
    try:
        return _decoded(data)
    except struct.error as error:
        raise ValueError("it ends too early") from error


def _decoded(data: bytes) -> Roi:
    version, kind, top, left, bottom, right, count = struct.unpack_from(">hbx4hH", data, 4)
    x, y, width, height = struct.unpack_from(">4f", data, 18)
    size, subtype, options, position, second = (struct.unpack_from(form, data, at)[0] for form, at in ((">i", 36), (">h", 48), (">h", 50), (">i", 56), (">i", 60)))
    sub_pixel = bool(options & _SUB_PIXEL) and version >= 222
    name, group, properties = "", 0, {}
    if 0 < second <= len(data) - 52:
        name = _text(data, *struct.unpack_from(">2i", data, second + 16))
        group = data[second + 30] if version >= 226 else 0
        if version >= 224:
            lines = _text(data, *struct.unpack_from(">2i", data, second + 40)).splitlines()
            properties = {key.strip(): value.strip() for key, found, value in (line.partition(":") for line in lines) if found}
        if position == 0:
            position = struct.unpack_from(">i", data, second + 8)[0]
    shape: Shape | None = None
    word = _WITHOUT_AREA.get(kind, "")
    if kind == _RECT and size > 0:
        shape = Outline(tuple(_path(struct.unpack_from(f">{size}f", data, _HEADER))), CENTRE)
    elif kind in (_RECT, _OVAL):
        word = _SHOWN.get(subtype, "") if kind == _RECT else ""
        place = (x, y, width, height) if sub_pixel and version >= 223 else (left, top, right - left, bottom - top)
        shape = None if word else _boxed(kind, *map(float, place))
    elif kind in (_POLYGON, _FREEHAND, _TRACED):
        if count == 0:
            count = size
        if count < 1:
            raise ValueError("it has no corners")
        if sub_pixel:
            xs, ys = (struct.unpack_from(f">{count}f", data, _HEADER + 4 * count + 4 * count * axis) for axis in (0, 1))
        else:
            xs, ys = ([corner + value for value in struct.unpack_from(f">{count}h", data, _HEADER + 2 * count * axis)] for axis, corner in ((0, left), (1, top)))
        shape = Outline((tuple(float(value) for pair in zip(xs, ys, strict=True) for value in pair),), CENTRE)
    elif not word:
        raise ValueError(f"it has the type {kind}, which ImageJ does not know")
    return Roi(name, shape, word, group, properties, max(0, position))


def _boxed(kind: int, x: float, y: float, width: float, height: float) -> Shape:
    if kind == _OVAL:
        return Ellipse((x + width / 2, y + height / 2), (width / 2, height / 2))
    return Outline(((x, y, x + width, y, x + width, y + height, x, y + height),), CENTRE)


def _text(data: bytes, at: int, length: int) -> str:
    return data[at : at + 2 * length].decode("utf-16-be", "replace") if at > 0 and length > 0 else ""


def _path(numbers: Sequence[float]) -> list[tuple[float, ...]]:
    """The rings of a composite ROI: segments of a kind and its points; curves in short straight steps."""
    rings: list[list[float]] = []
    at = 0
    while at < len(numbers):
        kind = int(numbers[at])
        length = {_MOVE: 2, _LINE: 2, _QUAD: 4, _CUBIC: 6, _CLOSE: 0}.get(kind)
        points = numbers[at + 1 : at + 1 + (length or 0)]
        if length is None or len(points) < length or (kind != _MOVE and not rings):
            raise ValueError("its path has a step of an unknown kind")
        at += 1 + length
        if kind == _MOVE:
            rings.append(list(points))
        elif kind == _LINE:
            rings[-1] += points
        elif length > 2:
            rings[-1] += _curve([*rings[-1][-2:], *points])
    return [tuple(ring) for ring in rings if len(ring) >= 6]


def _curve(points: Sequence[float]) -> list[float]:
    """Points of a Bézier curve after its first, x and y in turn."""
    pairs = list(zip(points[::2], points[1::2], strict=True))
    order = len(pairs) - 1
    found: list[float] = []
    for step in range(1, _CURVE_STEPS + 1):
        t = step / _CURVE_STEPS
        weights = [math.comb(order, index) * t**index * (1 - t) ** (order - index) for index in range(order + 1)]
        found += [sum(weight * pair[axis] for weight, pair in zip(weights, pairs, strict=True)) for axis in (0, 1)]
    return found

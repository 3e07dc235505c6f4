"""What annotation tools draw, as the pixels that each tool itself takes for inside: outlines by three rules, and stencils.

The same ring of numbers is not the same mask everywhere. A square from 10 to 20 has 100 pixels in COCO, CVAT, Label Studio, QuPath and
ImageJ, and 121 in labelme and YOLO, whose outlines belong to the object:

* ``area``: pycocotools' ``rleFrPoly`` (COCO, CVAT, Label Studio): the area in fifths of a pixel, ring by ring, joined.
* ``centre``: pixels whose centre lies within, by the even-odd rule over all rings, so that inner rings are holes (QuPath's and ImageJ's
  fills, GeoJSON).
* ``edge``: corners cut to whole pixels, all pixels on the way from one to the next, and what lies within by the even-odd rule: labelme's
  ``ImageDraw.polygon``.
* ``line``: the same idea as OpenCV has it (``cv2.fillPoly``, which ultralytics reads YOLO's files with): one pixel beside the other on
  slanted edges.

Whatever lies outside the picture is cut off, as the tools do.

And shapes in ImageJ's ROI files, as ``RoiEncoder`` and ``RoiDecoder`` of ImageJ 1.54 write and read them: one ROI per file, several in a zip.
All numbers are big-endian. A ROI is a type, a box and either a list of corners (16-bit, relative to the box; 32-bit floats behind them where it
has sub-pixel resolution) or, if it has holes or parts, a path of floats (composite). Corners run along the edges of pixels; within is the
pixel whose centre is (ImageJ's PolygonFiller).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import faster_coco_eval.mask_api_new_cpp as coco_masks
import numpy as np
from PIL import Image, ImageDraw

from seg_demo.core import Box, Runs, tight_box

Crop = tuple[Box, np.ndarray]
AREA, CENTRE, EDGE, LINE = "area", "centre", "edge", "line"
# What a coordinate of 1 is.
PIXELS, SHARES, PERCENT = "pixels", "shares", "percent"
# Far outside of any picture: no coordinate, and too many steps along an edge.
FARTHEST = 100_000


class Shape:
    """Something drawn on a picture; immutable, with a ``repr`` that tells two apart."""

    def draw(self, height: int, width: int) -> Crop | None:
        """The pixels on a picture of that size.

        Args:
            height: of the upright picture in pixels.
            width: of it in pixels.

        Returns:
            The tight half-open box (x0, y0, x1, y1), and bool (y1 - y0, x1 - x0); None where it covers no pixel of the picture.

        Raises:
            ValueError: it belongs to a picture of another size.
        """
        raise NotImplementedError

    def full(self, height: int, width: int) -> np.ndarray:
        """:meth:`draw` as bool (height, width)."""
        mask = np.zeros((height, width), dtype=bool)
        crop = self.draw(height, width)
        if crop is not None:
            (x0, y0, x1, y1), inside = crop
            mask[y0:y1, x0:x1] = inside
        return mask


@dataclass(frozen=True)
class Outline(Shape):
    """A polygon, perhaps of several rings.

    Attributes:
        rings: x, y, x, y ... of each, not closed.
        rule: ``area``, ``centre``, ``edge`` or ``line``, see above.
        unit: ``pixels``; ``shares`` of the picture's width and height, or ``percent`` of them.
    """

    rings: tuple[tuple[float, ...], ...]
    rule: str
    unit: str = PIXELS

    def draw(self, height: int, width: int) -> Crop | None:
        scale = np.array([width, height]) / {PIXELS: (width, height), SHARES: 1, PERCENT: 100}[self.unit]
        # Shares of 17 pixels come back as 2.9999999999999996 of them.
        points = [np.round(np.array(ring, dtype=np.float64).reshape(-1, 2) * scale, 9) for ring in self.rings]
        every = np.concatenate(points)
        low, high = np.floor(every.min(axis=0)), np.floor(every.max(axis=0)) + 1
        x0, y0 = (int(max(0, side)) for side in low)
        x1, y1 = int(min(width, high[0])), int(min(height, high[1]))
        if x0 >= x1 or y0 >= y1:
            return None
        return _tight(_RULES[self.rule](points, (x0, y0, x1, y1), (height, width)), x0, y0)


@dataclass(frozen=True)
class Stencil(Shape):
    """A mask that was stored pixel by pixel, for a box or for the whole picture.

    Attributes:
        box: (x0, y0, x1, y1), half-open pixels; may leave the picture.
        bits: ``np.packbits`` of bool (y1 - y0, x1 - x0).
        size: (height, width) of the picture that it must belong to, or None.
    """

    box: Box
    bits: bytes
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, mask: np.ndarray, x0: int = 0, y0: int = 0, size: tuple[int, int] | None = None) -> Stencil:
        """A stencil of bool (H, W) whose upper left pixel is (x0, y0); only the box around what is true is kept."""
        found = tight_box(mask)
        left, top, right, bottom = found or (0, 0, 0, 0)
        return cls((x0 + left, y0 + top, x0 + right, y0 + bottom), np.packbits(mask[top:bottom, left:right]).tobytes(), size)

    def draw(self, height: int, width: int) -> Crop | None:
        if self.size not in (None, (height, width)):
            raise ValueError(f"a mask of {self.size[1]} x {self.size[0]} pixels on a picture of {width} x {height}")
        x0, y0, x1, y1 = self.box
        count = (x1 - x0) * (y1 - y0)
        if count == 0:
            return None
        mask = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=count).astype(bool).reshape(y1 - y0, x1 - x0)
        left, top, right, bottom = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        if left >= right or top >= bottom:
            return None
        return _tight(mask[top - y0 : bottom - y0, left - x0 : right - x0], left, top)


@dataclass(frozen=True)
class Stroke(Shape):
    """What labelme draws that is no polygon (``labelme.utils.shape_to_mask``).

    Attributes:
        kind: ``rectangle``, ``circle`` (centre, a point of its edge), ``line`` (10 pixels wide) or ``point`` (a disc of radius 5).
        points: x, y, x, y ... in pixels.
    """

    kind: str
    points: tuple[float, ...]

    def draw(self, height: int, width: int) -> Crop | None:
        xy = list(zip(self.points[::2], self.points[1::2], strict=True))
        if self.kind == "rectangle":
            xy = [(min(xy[0][0], xy[1][0]), min(xy[0][1], xy[1][1])), (max(xy[0][0], xy[1][0]), max(xy[0][1], xy[1][1]))]
        canvas = Image.new("L", (width, height))
        pen = ImageDraw.Draw(canvas)
        if self.kind == "rectangle":
            pen.rectangle(xy, outline=1, fill=1)
        elif self.kind == "line":
            pen.line(xy, fill=1, width=10)
        else:
            (x, y), radius = xy[0], 5.0 if self.kind == "point" else math.dist(*xy)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
        return _tight(np.asarray(canvas, dtype=bool), 0, 0)


@dataclass(frozen=True)
class Ellipse(Shape):
    """Pixels whose centre lies within an ellipse (CVAT's, ImageJ's ovals, Label Studio's).

    Attributes:
        center: x, y in pixels.
        radii: along its own axes in pixels.
        angle: of the first axis, clockwise in degrees.
        unit: as of :class:`Outline`; of shares and percent, horizontal and vertical lengths are scaled before it is turned.
    """

    center: tuple[float, float]
    radii: tuple[float, float]
    angle: float = 0.0
    unit: str = PIXELS

    def draw(self, height: int, width: int) -> Crop | None:
        across, down = np.array([width, height]) / {PIXELS: (width, height), SHARES: 1, PERCENT: 100}[self.unit]
        x, y, a, b = self.center[0] * across, self.center[1] * down, self.radii[0] * across, self.radii[1] * down
        reach = max(a, b)
        x0, y0, x1, y1 = max(0, int(x - reach)), max(0, int(y - reach)), min(width, int(x + reach) + 1), min(height, int(y + reach) + 1)
        if x0 >= x1 or y0 >= y1 or min(a, b) <= 0:
            return None
        right, below = np.arange(x0, x1) + 0.5 - x, (np.arange(y0, y1) + 0.5 - y)[:, None]
        turn = math.radians(self.angle)
        along, off = right * math.cos(turn) + below * math.sin(turn), below * math.cos(turn) - right * math.sin(turn)
        return _tight((along / a) ** 2 + (off / b) ** 2 < 1, x0, y0)


@dataclass(frozen=True)
class Union(Shape):
    """Parts of one object.

    Attributes:
        parts: at least one.
        taken: shapes whose pixels are taken away again, such as holes.
    """

    parts: tuple[Shape, ...]
    taken: tuple[Shape, ...] = ()

    def draw(self, height: int, width: int) -> Crop | None:
        crops = [crop for crop in (part.draw(height, width) for part in self.parts) if crop is not None]
        if not crops:
            return None
        boxes = np.array([box for box, _ in crops])
        (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
        mask = np.zeros((y1 - y0, x1 - x0), dtype=bool)
        for (left, top, right, bottom), inside in crops:
            mask[top - y0 : bottom - y0, left - x0 : right - x0] |= inside
        for shape in self.taken:
            mask &= ~shape.full(height, width)[y0:y1, x0:x1]
        return _tight(mask, x0, y0)


def corners_of(shape: Shape) -> np.ndarray:
    """Corners of a shape that GeoJSON has, float64 (N, 2)."""
    parts = shape.parts if isinstance(shape, Union) else (shape,)
    return np.concatenate([np.array(ring, dtype=np.float64).reshape(-1, 2) for part in parts for ring in part.rings])


def with_corners(shape: Shape, points: np.ndarray) -> Shape:
    """The shape with other corners, in the order of :func:`corners_of`."""
    parts, made, at = shape.parts if isinstance(shape, Union) else (shape,), [], 0
    for part in parts:
        rings = []
        for ring in part.rings:
            count = len(ring) // 2
            rings.append(tuple(points[at : at + count].ravel().tolist()))
            at += count
        made.append(Outline(tuple(rings), part.rule))
    return made[0] if len(made) == 1 else Union(tuple(made))


class PolygonRuns(Runs):
    """The mask of polygons by the rule ``area``, drawn and kept by the library of COCO: numbers are taken from it when they are asked for.

    Args:
        polygons: x, y, x, y ... of each in pixels.
        rle: faster-coco-eval's, of all of them.
        height: of the picture in pixels.
    """

    def __init__(self, polygons: Sequence[Sequence[float]], rle: coco_masks.RLE, height: int) -> None:
        vars(self).update(polygons=polygons, _rle=rle, height=height)

    @classmethod
    def of(cls, polygons: Sequence[Sequence[float]], height: int, width: int) -> PolygonRuns:
        """Of the parts of an object.

        Args:
            polygons: x, y, x, y ... of each in pixels; finite, and no further than :data:`FARTHEST`.
            height: of the picture in pixels.
            width: of it in pixels.
        """
        parts = [coco_masks.rleFrPoly(polygon, len(polygon) // 2, height, width) for polygon in polygons]
        if len(parts) == 1:
            return cls(polygons, parts[0], height)
        whole = coco_masks.merge(coco_masks._toString(parts), 0)
        return cls(polygons, coco_masks.rleFrString(whole["counts"], height, width), height)

    def __reduce__(self) -> tuple[object, ...]:
        return Runs, (self.begins, self.ends, self.height)

    @cached_property
    def edges(self) -> np.ndarray:
        """As :attr:`Runs.edges`."""
        counts = coco_masks.rleToUncompressedRLE([self._rle])[0]["counts"]
        edges = np.array(counts, dtype=np.int64).cumsum()[: len(counts) // 2 * 2]
        return Runs.of_edges(edges, self.height).edges if 0 in counts[1:] else edges

    @property
    def begins(self) -> np.ndarray:
        """As :attr:`Runs.begins`."""
        return self.edges[::2]

    @property
    def ends(self) -> np.ndarray:
        """As :attr:`Runs.ends`."""
        return self.edges[1::2]

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self._rle.area())

    @cached_property
    def box(self) -> Box | None:
        """As :attr:`Runs.box`."""
        if not self._rle.area():
            return None
        x, y, width, height = (int(side) for side in self._rle.toBbox())
        return x, y, x + width, y + height

    def encoded(self, width: int) -> dict[str, object]:
        """As :meth:`Runs.encoded`."""
        return {"size": [self.height, width], "counts": self._rle.toString()}


def _tight(mask: np.ndarray, x0: int, y0: int) -> Crop | None:
    """What is true of a mask, with the box around it."""
    box = tight_box(mask)
    if box is None:
        return None
    left, top, right, bottom = box
    return (x0 + left, y0 + top, x0 + right, y0 + bottom), mask[top:bottom, left:right]


def _area(rings: Sequence[np.ndarray], window: Box, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((window[3] - window[1], window[2] - window[0]), dtype=bool)
    for ring in rings:
        mask |= _area_of(ring, window)
    return mask


def _area_of(ring: np.ndarray, window: Box) -> np.ndarray:
    """As ``rleFrPoly`` of pycocotools' ``maskApi.c``, step by step; only at the end in the window, for ties are rounded as they fall."""
    whole = np.trunc(5 * ring + 0.5).astype(np.int64)
    begin, end = whole, np.roll(whole, -1, axis=0)
    dx, dy = np.abs(end - begin).T
    flat = dx >= dy
    flip = np.where(flat, begin[:, 0] > end[:, 0], begin[:, 1] > end[:, 1])
    first = np.where(flip[:, None], end, begin)
    last = np.where(flip[:, None], begin, end)
    steps = np.maximum(dx, dy)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(flat, (last[:, 1] - first[:, 1]) / dx, (last[:, 0] - first[:, 0]) / dy)
    slope[steps == 0] = 0
    edge = np.repeat(np.arange(len(ring)), steps + 1)
    done = np.arange(edge.size) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    t = np.where(flip[edge], steps[edge] - done, done)
    # The long side goes in steps of one, the other is rounded.
    long = t + np.where(flat[edge], first[edge, 0], first[edge, 1])
    short = np.trunc(np.where(flat[edge], first[edge, 1], first[edge, 0]) + slope[edge] * t + 0.5).astype(np.int64)
    u, v = np.where(flat[edge], long, short), np.where(flat[edge], short, long)
    turns = np.flatnonzero(u[1:] != u[:-1]) + 1
    x0, y0, x1, y1 = window
    x = (np.where(u[turns] < u[turns - 1], u[turns], u[turns] - 1) + 0.5) / 5 - 0.5
    kept = (np.floor(x) == x) & (x >= x0) & (x < x1)
    y = np.ceil(np.clip((np.minimum(v[turns], v[turns - 1])[kept] + 0.5) / 5 - 0.5, y0, y1))
    return _filled(x[kept].astype(np.int64) - x0, y.astype(np.int64) - y0, x1 - x0, y1 - y0).T


def _centre(rings: Sequence[np.ndarray], window: Box, size: tuple[int, int]) -> np.ndarray:
    left, top, right, bottom = window
    begin = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low, high = np.minimum(begin[:, 1], end[:, 1]), np.maximum(begin[:, 1], end[:, 1])
    first, last = np.clip(np.ceil(np.stack([low, high]) - 0.5), top, bottom).astype(np.int64)
    edge = np.repeat(np.arange(len(begin)), last - first)
    row = np.arange(edge.size) - np.repeat(np.cumsum(last - first) - (last - first), last - first) + first[edge]
    (x0, y0), (x1, y1) = begin[edge].T, end[edge].T
    crossing = np.clip(np.ceil(x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0) - 0.5), left, right)
    return _filled(row - top, crossing.astype(np.int64) - left, bottom - top, right - left)


def _filled(line: np.ndarray, place: np.ndarray, lines: int, length: int) -> np.ndarray:
    """bool (lines, length): inside between the first and the second place of a line, the third and the fourth, and so on."""
    changes = np.bincount(line * (length + 1) + place, minlength=lines * (length + 1)).astype(np.uint8)
    return (np.cumsum(changes.reshape(lines, length + 1), axis=1, dtype=np.uint8)[:, :length] & 1).astype(bool)


def _edge(rings: Sequence[np.ndarray], window: Box, size: tuple[int, int]) -> np.ndarray:
    x0, y0, x1, y1 = window
    mask = np.zeros((y1 - y0, x1 - x0), dtype=bool)
    for ring in rings:
        canvas = Image.new("L", (x1 - x0, y1 - y0))
        corners = [tuple(point) for point in (np.trunc(ring) - (x0, y0)).tolist()]
        ImageDraw.Draw(canvas).polygon(corners * (3 if len(corners) == 1 else 1), outline=1, fill=1)
        mask ^= np.asarray(canvas, dtype=bool)
    return mask


_FIXED = 16  # bits after the point in OpenCV's edges


def _line(rings: Sequence[np.ndarray], window: Box, size: tuple[int, int]) -> np.ndarray:
    """As ``fillPoly`` of OpenCV's ``drawing.cpp`` (``CollectPolyEdges``, ``FillEdgeCollection``, ``LineIterator``), all edges at once."""
    left, top, right, bottom = window
    whole = [np.trunc(ring).astype(np.int64) for ring in rings]
    end = np.concatenate(whole)
    begin = np.concatenate([np.roll(ring, 1, axis=0) for ring in whole])
    first, last = begin.copy(), end.copy()
    limits = np.array([size[1], size[0]])
    for index in np.flatnonzero(((begin < 0) | (begin >= limits) | (end < 0) | (end >= limits)).any(axis=1)).tolist():
        first[index], last[index] = _clipped(begin[index].tolist(), end[index].tolist(), size)
    mask = _walked(first, last, window)
    level = first[:, 1] == last[:, 1]
    first[level], last[level] = begin[level], end[level]
    up = begin[:, 1] != end[:, 1]
    begin, end, first, last = begin[up], end[up], first[up], last[up]
    (x0, y0), (x1, y1) = first.T, last.T
    slope = np.trunc((x1 - x0) * 2.0**_FIXED / (y1 - y0)).astype(np.int64)
    low, high = np.clip(np.sort(np.stack([begin[:, 1], end[:, 1]]), axis=0), top, bottom)
    edge = np.repeat(np.arange(len(begin)), high - low)
    row = np.arange(edge.size) - np.repeat(np.cumsum(high - low) - (high - low), high - low) + low[edge]
    # From the end that lies higher, as there.
    down = begin[:, 1] < end[:, 1]
    from_x, from_y = np.where(down, x0, x1), np.where(down, y0, y1)
    x = (from_x[edge] << _FIXED) + (row - from_y[edge]) * slope[edge]
    order = np.lexsort((x, row))
    x, row = x[order].reshape(-1, 2), row[order][::2]
    starts, stops = (x[:, 0] + (1 << _FIXED) - 1) >> _FIXED, x[:, 1] >> _FIXED
    some = stops >= starts
    marks = np.zeros((bottom - top, right - left + 1), dtype=np.int32)
    np.add.at(marks, (row[some] - top, np.clip(starts[some], left, right) - left), 1)
    np.add.at(marks, (row[some] - top, np.clip(stops[some] + 1, left, right) - left), -1)
    return mask | (np.cumsum(marks, axis=1)[:, :-1] > 0)


def _walked(first: np.ndarray, last: np.ndarray, window: Box) -> np.ndarray:
    """The pixels from one corner to the next (Bresenham, from left to right)."""
    left, top, right, bottom = window
    back = (first[:, 0] > last[:, 0])[:, None]
    begin, end = np.where(back, last, first), np.where(back, first, last)
    dx, dy = (end - begin).T
    sign, dy = np.where(dy < 0, -1, 1), np.abs(dy)
    long, short = np.maximum(dx, dy), np.minimum(dx, dy)
    edge = np.repeat(np.arange(len(begin)), long + 1)
    step = np.arange(edge.size) - np.repeat(np.cumsum(long + 1) - long - 1, long + 1)
    beside = -((long[edge] - 2 * short[edge] * step) // np.maximum(2 * long[edge], 1))
    flat = (dx >= dy)[edge]
    x, y = begin[edge, 0] + np.where(flat, step, beside), begin[edge, 1] + sign[edge] * np.where(flat, beside, step)
    seen = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    mask = np.zeros((bottom - top, right - left), dtype=bool)
    mask[y[seen] - top, x[seen] - left] = True
    return mask


def _clipped(begin: list[int], end: list[int], size: tuple[int, int]) -> tuple[list[int], list[int]]:
    """As ``clipLine`` of OpenCV: what of an edge lies in the picture; an edge beside it may be changed in part."""
    last = size[1] - 1, size[0] - 1
    ends = [list(begin), list(end)]

    def codes(point: list[int], axis: int) -> int:
        return (point[axis] < 0) + 2 * (point[axis] > last[axis])

    for axis, other in ((1, 0), (0, 1)):
        beside = any(codes(ends[0], side) & codes(ends[1], side) for side in ((0, 1) if axis else (0,)))
        if beside:
            break
        for index in (0, 1):
            if code := codes(ends[index], axis):
                here = ends[index]
                to = 0 if code == 1 else last[axis]
                run = ends[1][axis] - ends[0][axis]
                here[other] += math.trunc((to - here[axis]) * (ends[1][other] - ends[0][other]) / run)
                here[axis] = to
    return ends[0], ends[1]


_RULES = {AREA: _area, CENTRE: _centre, EDGE: _edge, LINE: _line}


ROI_MAGIC = b"Iout"
_ROI_VERSION = 228
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
        plane: of a stack, its number, or depth and time, each from 1; 0 for any.
    """

    name: str
    shape: Shape | None
    kind: str
    group: int
    properties: dict[str, str]
    plane: tuple[int, int, int]


def encode_roi(name: str, polygons: Sequence[Sequence[Ring]], group: int, properties: dict[str, str]) -> bytes:
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
    struct.pack_into(">4shbx4hH", header, 0, ROI_MAGIC, _ROI_VERSION, _TRACED if simple else _RECT, *box, len(first) if simple else 0)
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


def decode_roi(data: bytes) -> Roi:
    """What a file holds.

    Raises:
        ValueError: no ROI file, or one that ends too early.
    """
    if data[:4] != ROI_MAGIC or len(data) < _HEADER:
        raise ValueError("it does not begin as ImageJ's ROI files do")
    try:
        return _decoded_roi(data)
    except struct.error as error:
        raise ValueError("it ends too early") from error


def holds_rois(path: Path) -> bool:
    """Whether a file is a zip of ROIs and nothing else."""
    try:
        with ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
    except (OSError, BadZipFile, ValueError, NotImplementedError):  # the last is a version that zipfile does not know
        return False
    return bool(names) and all(name.lower().endswith((".roi", "/")) for name in names)


def _decoded_roi(data: bytes) -> Roi:
    version, kind, top, left, bottom, right, count = struct.unpack_from(">hbx4hH", data, 4)
    x, y, width, height = struct.unpack_from(">4f", data, 18)
    size, subtype, options, arc, position, second = (struct.unpack_from(form, data, at)[0] for form, at in ((">i", 36), (">h", 48), (">h", 50), (">h", 54), (">i", 56), (">i", 60)))
    sub_pixel = bool(options & _SUB_PIXEL) and version >= 222
    name, group, properties, depth, time = "", 0, {}, 0, 0
    if 0 < second <= len(data) - 52:
        name = _text(data, *struct.unpack_from(">2i", data, second + 16))
        group = data[second + 30] if version >= 226 else 0
        if version >= 224:
            lines = _text(data, *struct.unpack_from(">2i", data, second + 40)).splitlines()
            properties = {key.strip(): value.strip() for key, found, value in (line.partition(":") for line in lines) if found}
        _, depth, time = struct.unpack_from(">3i", data, second + 4)
    shape: Shape | None = None
    word = _WITHOUT_AREA.get(kind, "")
    if kind == _RECT and size > 0:
        shape = Outline(tuple(_path(struct.unpack_from(f">{size}f", data, _HEADER))), CENTRE)
    elif kind in (_RECT, _OVAL):
        word = _SHOWN.get(subtype, "") if kind == _RECT else ""
        place = (x, y, width, height) if sub_pixel and version >= 223 else (left, top, right - left, bottom - top)
        shape = None if word else _boxed(kind, *map(float, place), max(0, arc))
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
    return Roi(name, shape, word, group, properties, (max(0, position), max(0, depth), max(0, time)))


def _boxed(kind: int, x: float, y: float, width: float, height: float, arc: float) -> Shape:
    if kind == _OVAL:
        return Ellipse((x + width / 2, y + height / 2), (width / 2, height / 2))
    if arc:
        # Corners of quarter ellipses, of that diameter at most.
        a, b = min(arc, width) / 2, min(arc, height) / 2
        turns = np.linspace(0, np.pi / 2, _CURVE_STEPS + 1) + np.arange(4)[:, None] * np.pi / 2
        across, down = x + np.where([[0], [1], [1], [0]], a, width - a), y + np.where([[0], [0], [1], [1]], b, height - b)
        corners = np.stack([across + a * np.cos(turns), down + b * np.sin(turns)], axis=-1)
        return Outline((tuple(corners.ravel().tolist()),), CENTRE)
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

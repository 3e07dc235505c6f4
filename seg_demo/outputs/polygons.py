"""Label maps → polygons along the edges of pixels, which rasterise to exactly the same pixels again.

A pixel at column x and row y is the square from (x, y) to (x + 1, y + 1). Pixels that touch at a corner only are not
connected: they become polygons of their own, which may touch in that point.
"""

from __future__ import annotations

import zlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from seg_demo.core import TASKS, Runs, Segmentation

Ring = list[tuple[int, int]]
Polygon = list[Ring]
_STRIP_PIXELS = 1 << 20


@dataclass(frozen=True)
class _Corners:
    """Every place where an outline turns. One entry per turn, so a point where two pixels touch has two.

    Attributes:
        label: int64 (N,), the id whose outline it is.
        x: int64 (N,), column of the corner, 0 to W.
        y: int64 (N,), row of the corner, 0 to H.
        right: int64 (N,), 1 if the horizontal edge goes to the right of the corner, 0 if to its left.
        down: int64 (N,), 1 if the vertical edge goes down from the corner, 0 if up.
        inside: int64 (N,), flat index of a pixel of the label at the corner.
        convex: bool (N,), the label has one pixel of the four at the corner, not three.
    """

    label: np.ndarray
    x: np.ndarray
    y: np.ndarray
    right: np.ndarray
    down: np.ndarray
    inside: np.ndarray
    convex: np.ndarray


def _corners(id_map: np.ndarray) -> _Corners:
    """The turns of the outlines of all ids but 0, in strips of rows."""
    height, width = id_map.shape
    rows = max(1, _STRIP_PIXELS // width)
    found: list[tuple[np.ndarray, ...]] = []
    for top in range(0, height + 1, rows):
        bottom = min(top + rows, height + 1)
        # Window (y, x) holds the pixels above and below, left and right of the corner point (x, y).
        padded = np.zeros((bottom - top + 1, width + 2), dtype=id_map.dtype)
        first, last = max(top - 1, 0), min(bottom, height)
        padded[first - top + 1 : last - top + 1, 1:-1] = id_map[first:last]
        for below in (0, 1):
            for right in (0, 1):
                size = (slice(None, -1), slice(1, None))
                own = padded[size[below], size[right]]
                beside = padded[size[below], size[1 - right]]
                across = padded[size[1 - below], size[right]]
                opposite = padded[size[1 - below], size[1 - right]]
                # One pixel turns the outline around itself; of three, the middle one knows the other two.
                convex = (own != 0) & (own != beside) & (own != across)
                concave = (own != 0) & (own == beside) & (own == across) & (own != opposite)
                for turn, is_convex in ((convex, True), (concave, False)):
                    y, x = np.nonzero(turn)
                    inside = (y + top - 1 + below) * width + x - 1 + right
                    flip = 0 if is_convex else 1
                    sides = (np.full(y.size, right ^ flip), np.full(y.size, below ^ flip))
                    found.append((own[y, x].astype(np.int64), x, y + top, *sides, inside, np.full(y.size, is_convex)))
    return _Corners(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _rings(corners: _Corners, points: np.ndarray) -> list[list[int]]:
    """The corners of every ring in the order in which its outline runs; no ring visits a point twice. ``points``: int64 (N,), a number of each."""
    across = _pairs((corners.label, corners.y, corners.x, corners.right)).tolist()
    down = _pairs((corners.label, corners.x, corners.y, corners.down)).tolist()
    order = np.lexsort((points, corners.label))
    twice = (np.diff(points[order]) == 0) & (np.diff(corners.label[order]) == 0)
    touching = np.zeros(points.size, dtype=bool)
    touching[order[:-1][twice]] = touching[order[1:][twice]] = True
    is_touching, point = touching.tolist(), points.tolist()
    done = bytearray(len(point))
    rings = []
    for start in range(len(point)):
        if done[start]:
            continue
        path: list[int] = []
        seen: dict[int, int] = {}
        at = start
        while not done[at]:
            beside = across[at]
            for corner in (at, beside):
                done[corner] = 1
                if is_touching[corner]:
                    if point[corner] in seen:
                        # A point passed for the second time closes a ring of its own: a hole that touches the outline.
                        first = seen[point[corner]]
                        rings.append(path[first:])
                        seen = {place: position for place, position in seen.items() if position < first}
                        del path[first:]
                    seen[point[corner]] = len(path)
                path.append(corner)
            at = down[beside]
        rings.append(path)
    return rings


def trace(id_map: np.ndarray) -> dict[int, list[Polygon]]:
    """The polygons of every id but 0.

    Args:
        id_map: bool, uint8 or uint16 (H, W).

    Returns:
        Per id its polygons, one per 4-connected piece. A polygon is its outer ring, then its holes; a ring is a list of
        corner points (x, y) in pixels from its upper left one on, not closed. The outer ring has a positive
        area (shoelace formula in x and y as numbers), holes a negative one.
    """
    id_map = id_map.astype(np.uint8) if id_map.dtype == bool else id_map
    corners = _corners(id_map)
    if corners.x.size == 0:
        return {}
    points = corners.y * (id_map.shape[1] + 1) + corners.x
    rings = _rings(corners, points)
    flat = np.fromiter((corner for ring in rings for corner in ring), dtype=np.int64, count=points.size)
    lengths = np.array([len(ring) for ring in rings])
    begins = np.cumsum(lengths) - lengths
    # The leftmost of the topmost corners has its edges to the right and down. Its own pixel lies there if the ring is an
    # outline; a hole has it above or to the left.
    tops = np.flatnonzero(points[flat] == np.repeat(np.minimum.reduceat(points[flat], begins), lengths))
    first = flat[tops]
    outline = corners.convex[first] & (corners.right[first] == 1) & (corners.down[first] == 1)
    after = flat[np.where(tops + 1 < begins + lengths, tops + 1, begins)]
    forward = (corners.y[after] == corners.y[first]) == outline
    # A hole belongs to the outline around the same connected piece.
    if outline.all():
        pieces = np.arange(len(rings))
    else:
        # scikit-image takes half a second to import, which the page need not wait for.
        from skimage.measure import label as connected_components

        pieces = connected_components(id_map, background=0, connectivity=1).ravel()[corners.inside[first]]
    pairs = list(zip(corners.x[flat].tolist(), corners.y[flat].tolist(), strict=True))
    polygons: dict[int, list[Polygon]] = defaultdict(list)
    owners: dict[int, Polygon] = {}
    # Outlines first, so that every hole finds its polygon.
    for index in np.argsort(~outline, kind="stable").tolist():
        ring = pairs[tops[index] : begins[index] + lengths[index]] + pairs[begins[index] : tops[index]]
        if not forward[index]:
            ring[1:] = ring[:0:-1]
        if outline[index]:
            owners[int(pieces[index])] = [ring]
            polygons[int(corners.label[first[index]])].append(owners[int(pieces[index])])
        else:
            owners[int(pieces[index])].append(ring)
    return dict(polygons)


# Runs of objects whose outlines are found together: some 300 bytes each.
_MOST_RUNS = 1 << 17


def trace_runs(objects: Sequence[Runs]) -> list[list[Polygon]]:
    """The polygons of objects, which may overlap, from the runs of their masks: all objects at once, for there may be many small ones.

    Args:
        objects: of one picture.

    Returns:
        As of :func:`trace` for each; pieces and holes by their upper left corners.
    """
    return [polygons for some in _some(objects) for polygons in _traced(some)]


def single_rings(objects: Sequence[Runs]) -> list[np.ndarray | None]:
    """The outlines of objects that are one piece without a hole, None of the others: what of :func:`trace_runs` takes no look at pixels.

    Args:
        objects: of one picture.

    Returns:
        int64 (N, 2), the x and y of each corner.
    """
    found: list[np.ndarray | None] = []
    for some in _some(objects):
        rings: list[np.ndarray | None] = [None] * len(some)
        outlines = _outlines(some)
        alone = ~outlines.doubtful & (np.bincount(outlines.owners, minlength=len(some)) == 1)
        for owner, begin, length in zip(outlines.owners.tolist(), outlines.begins.tolist(), outlines.lengths.tolist(), strict=True):
            if alone[owner]:
                rings[owner] = outlines.corners[begin : begin + length]
        found += rings
    return found


def _some(objects: Sequence[Runs]) -> Iterator[Sequence[Runs]]:
    begin = 0
    while begin < len(objects):
        end, runs = begin + 1, len(objects[begin].begins)
        while end < len(objects) and (runs := runs + len(objects[end].begins)) <= _MOST_RUNS:
            end += 1
        yield objects[begin:end]
        begin = end


class _Outlines(NamedTuple):
    """The rings of some objects."""

    corners: np.ndarray  # int64 (N, 2), x and y, of all rings one after another
    begins: np.ndarray  # int64 (R,), where a ring begins, at its upper left corner
    lengths: np.ndarray  # int64 (R,)
    outer: np.ndarray  # bool (R,), the others are holes
    owners: np.ndarray  # int64 (R,), the objects
    doubtful: np.ndarray  # bool, of every object: whether its rings touch, or which hole is in which piece, takes looking at pixels


def _outlines(objects: Sequence[Runs]) -> _Outlines:
    height = objects[0].height
    owner, column, top, bottom = _by_columns(objects, height)
    if not len(owner):
        nothing, doubtful = np.zeros(0, dtype=np.int64), np.zeros(len(objects), dtype=bool)
        return _Outlines(nothing.reshape(0, 2), nothing, nothing, nothing > 0, nothing, doubtful)
    # On a line between two columns, the runs of the left and of the right one begin and end. Where one alone does, an outline turns.
    rows, columns = height + 1, int(column.max()) + 2
    to_the_right = (np.stack([top, bottom], axis=1) + ((owner * columns + column) * rows)[:, None]).ravel()
    places = np.concatenate([to_the_right + rows, to_the_right])
    order = np.argsort(places, kind="stable")
    places, of_left = places[order], order < len(to_the_right)
    left, right = (np.cumsum(side).astype(np.uint8) & 1 for side in (of_left, ~of_left))
    both = np.flatnonzero(places[1:] == places[:-1])
    straight = left[both] != right[both]
    ahead, kept, touching = (~of_left).astype(np.int64), np.ones(len(places), dtype=bool), both[~straight]
    kept[both[straight]] = kept[both[straight] + 1] = False
    # Pixels that touch at a corner only: the upper one's edge along the line and the lower one's lead away from each other.
    ahead[touching], ahead[touching + 1] = right[touching], left[touching] ^ 1
    lines, y = np.divmod(places[kept], rows)
    owners, x = np.divmod(lines, columns)
    # The object lies on the right hand of its outline: along an edge with the object to the right of it, that is upwards.
    up = right[kept][::2] == 1
    beside = np.empty(len(x), dtype=np.int64)
    along = np.argsort(((owners * rows + y) * columns + x) * 2 + ahead[kept], kind="stable")
    beside[along[::2]], beside[along[1::2]] = along[1::2], along[::2]
    edges = 2 * np.arange(len(up))
    starts, ends = edges + up, edges + ~up
    path, lengths = _walked(beside[ends] >> 1)
    corners = np.stack([starts[path], ends[path]], axis=1).ravel()
    begins = np.cumsum(lengths) - lengths
    # Outlines begin at their upper left corner, which they reach from below, and holes leave downwards.
    point = y[corners] * columns + x[corners]
    ring = np.repeat(np.arange(len(lengths)), lengths)
    tops = np.flatnonzero(point == np.minimum.reduceat(point, begins)[ring])
    tops = tops[np.concatenate([[True], ring[tops[1:]] != ring[tops[:-1]]])]
    corners = corners[begins[ring] + (np.arange(len(ring)) - begins[ring] + (tops - begins)[ring]) % lengths[ring]]
    outer, of = tops % 2 == 1, owners[corners[begins]]
    # Where an outline passes a point twice, and which piece a hole is in, takes looking at pixels.
    doubtful = np.zeros(len(objects), dtype=bool)
    upper = np.searchsorted(np.flatnonzero(kept), touching)
    ring_of = np.empty(len(corners), dtype=np.int64)
    ring_of[corners] = ring
    doubtful[owners[upper[ring_of[upper] == ring_of[upper + 1]]]] = True
    pieces, holes = (np.bincount(of[kind], minlength=len(objects)) for kind in (outer, ~outer))
    doubtful |= (pieces > 1) & (holes > 0)
    return _Outlines(np.stack([x[corners], y[corners]], axis=1), begins, lengths, outer, of, doubtful)


def _traced(objects: Sequence[Runs]) -> list[list[Polygon]]:
    """As :func:`trace_runs`."""
    outlines = _outlines(objects)
    pairs = list(zip(*outlines.corners.T.tolist(), strict=True))
    polygons: list[list[Polygon]] = [[] for _ in objects]
    x, y = outlines.corners[outlines.begins].T
    for index in np.lexsort((x, y, ~outlines.outer, outlines.owners)).tolist():
        rings = polygons[outlines.owners[index]]
        ring = pairs[outlines.begins[index] : outlines.begins[index] + outlines.lengths[index]]
        if outlines.outer[index]:
            rings.append([ring])
        else:
            rings[0].append(ring)
    for index in np.flatnonzero(outlines.doubtful).tolist():
        right, down, *_ = box = objects[index].box
        found = trace(objects[index].crop(box)).get(1, [])
        polygons[index] = [[[(x + right, y + down) for x, y in ring] for ring in polygon] for polygon in found]
    return polygons


def _by_columns(objects: Sequence[Runs], height: int) -> tuple[np.ndarray, ...]:
    """Of every run within a column its object, the column, and the rows where it begins and ends: int64 (N,) each."""
    owner = np.repeat(np.arange(len(objects)), list(map(len, counted := [each.begins for each in objects])))
    begins, ends = np.concatenate(counted), np.concatenate([each.ends for each in objects])
    first, last = begins // height, (ends - 1) // height
    if (first != last).any():
        times = last - first + 1
        before = np.repeat(np.cumsum(times) - times, times)
        owner, begins, ends, first = (np.repeat(values, times) for values in (owner, begins, ends, first))
        first = first + np.arange(len(first)) - before
        begins, ends = np.maximum(begins, first * height), np.minimum(ends, (first + 1) * height)
    return owner, first, begins - first * height, ends - first * height


def _walked(following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps in the order in which they follow each other, and twice the length of every round: int64 each."""
    after, path, begins = following.tolist(), [], []
    append, seen = path.append, bytearray(len(after))
    for first, then in enumerate(after):
        if not seen[first]:
            begins.append(len(path))
            append(first)
            while then != first:
                append(then)
                seen[then], then = 1, after[then]
    return np.array(path, dtype=np.int64), 2 * np.diff(begins, append=len(path))


class _Path:
    """An outline that is not closed yet: it comes up into the rows that are known, and leaves them downwards, by the open end ``end``. Its
    ``parts`` are arrays of x, y, x, y, ..., those that are longer there packed; ``piece`` is the number of the connected piece that it is of."""

    __slots__ = ("end", "loose", "parts", "piece")

    def __init__(self) -> None:
        self.parts: list[array | bytes] = []
        self.piece, self.end, self.loose = -1, -1, 0

    def add(self, points: array) -> None:
        """Go on along some points."""
        self.parts.append(points)
        self.loose += 1

    def take(self, other: _Path) -> None:
        """Go on along another one."""
        self.parts += other.parts
        self.piece, self.loose = other.piece, self.loose + other.loose
        if self.loose > _MOST_LOOSE:
            groups = groupby(self.parts, lambda part: isinstance(part, bytes))
            self.parts = [part for packed, parts in groups for part in (parts if packed else [zlib.compress(b"".join(parts), 1)])]
            self.loose = 0


_MOST_LOOSE = 256


class Tracer:
    """The outlines of an id map that comes in bands of rows, as :func:`trace` gives them of a whole one, but for all ids, 0 among them.

    Edges of pixels have their id on the right hand. Every turn is known from the four pixels around it; what begins at the upper end of a
    vertical edge goes on in the next band, so that only outlines that are open at the last row are kept, and those that close leave.

    Args:
        width: pixels of a row.
        ring: gets the id, the number of the connected piece, and int32 (N, 2), x and y, of every ring: from its upper left corner on, not
            closed; an outer one has a positive area, a hole a negative one.
    """

    def __init__(self, width: int, ring: Callable[[int, int, np.ndarray], object]) -> None:
        self._width, self._ring = width, ring
        self._row, self._last = 0, np.zeros(width, dtype=np.int32)
        self._open: list[_Path | None] = []
        self._numbers = np.zeros(width, dtype=np.int64)
        # Of connected pieces, of which a gigapixel of noise has millions: what each was joined to, and its id.
        self._joined, self._ids = array("I"), array("H")

    def add(self, band: np.ndarray) -> None:
        """The next rows, uint8 or uint16 (h, W)."""
        rows = max(1, _STRIP_PIXELS // self._width)
        for top in range(0, len(band), rows):
            self._add(band[top : top + rows].astype(np.int32) + 1)

    def close(self) -> None:
        """There are no more rows."""
        self._trace(np.zeros((1, self._width), dtype=np.int32), np.stack([self._numbers, np.zeros_like(self._numbers)]))

    def roots(self) -> np.ndarray:
        """uint32 (N,): the number that stands for a connected piece, of every number that was given."""
        roots = np.array(self._joined, dtype=np.uint32)
        while not np.array_equal(further := roots[roots], roots):
            roots = further
        return roots

    def pieces(self) -> np.ndarray:
        """int64: connected pieces of every id."""
        roots = self.roots()
        return np.bincount(np.asarray(self._ids)[roots == np.arange(len(roots), dtype=np.uint32)])

    def _root(self, number: int) -> int:
        joined = self._joined
        while joined[number] != number:
            joined[number] = joined[joined[number]]
            number = joined[number]
        return number

    def _add(self, band: np.ndarray) -> None:
        from skimage.measure import label

        numbers, count = label(band, connectivity=1, return_num=True)
        first, numbers = len(self._joined), numbers.astype(np.int64) + (len(self._joined) - 1)
        own = np.zeros(count, dtype=np.uint16)
        own[numbers.ravel() - first] = band.ravel() - 1
        self._joined.frombytes(np.arange(first, first + count, dtype=np.uint32).tobytes())
        self._ids.frombytes(own.tobytes())
        if self._row:
            meet = self._last == band[0]
            for above, below in np.unique(np.stack([self._numbers[meet], numbers[0][meet]]), axis=1).T.tolist():
                above, below = self._root(above), self._root(below)
                self._joined[max(above, below)] = min(above, below)
        self._trace(band, np.concatenate([self._numbers[None], numbers]))
        self._numbers = numbers[-1].copy()

    def _trace(self, band: np.ndarray, numbers: np.ndarray) -> None:
        """Outlines along the upper borders of some rows, and up to them.

        Args:
            band: int32 (h, W), ids from 1; 0 is outside of the map.
            numbers: int64 (h + 1, W), of pieces, of the row above too.
        """
        padded = np.zeros((len(band) + 1, self._width + 2), dtype=np.int32)
        padded[0, 1:-1], padded[1:, 1:-1] = self._last, band
        corners, forward = self._turns(padded, numbers)
        count, tops = len(corners.x), _ends(self._last)
        self._last, bottom = band[-1], self._row + len(band)
        bottoms = _ends(self._last)
        # Ends of edges that go through: half a row above the first line, and below the last.
        begin, end = (np.full(len(ends[0]), place) for ends, place in ((tops, 2 * self._row - 1), (bottoms, 2 * bottom - 1)))
        ahead = np.concatenate([corners.down, np.ones_like(begin), np.zeros_like(end)])
        along = np.concatenate([2 * corners.y, begin, end])
        beside = _pairs((np.concatenate([corners.label, tops[0], bottoms[0]]), np.concatenate([corners.x, tops[1], bottoms[1]]), along, ahead))
        across = _pairs((corners.label, corners.y, corners.x, corners.right))
        self._walk(corners, forward, across, beside, count, count + len(begin), bottoms)
        self._row = bottom

    def _turns(self, padded: np.ndarray, numbers: np.ndarray) -> tuple[_Corners, np.ndarray]:
        """The turns of outlines on the lines above all rows but the first, ``inside`` being numbers of pieces; and which of them their
        outline goes on from along its line."""
        above, below = padded[:-1], padded[1:]
        straight = ((above[:, :-1] == above[:, 1:]) & (below[:, :-1] == below[:, 1:])) | ((above[:, :-1] == below[:, :-1]) & (above[:, 1:] == below[:, 1:]))
        y, x = np.nonzero(~straight)
        around = {(row, column): padded[y + row, x + column] for row in (0, 1) for column in (0, 1)}
        found: list[tuple[np.ndarray, ...]] = []
        for (row, column), own in around.items():
            beside, across, opposite = around[row, 1 - column], around[1 - row, column], around[1 - row, 1 - column]
            convex = (own != 0) & (own != beside) & (own != across)
            concave = (own != 0) & (own == beside) & (own == across) & (own != opposite)
            for turn, flip in ((convex, 0), (concave, 1)):
                at = np.flatnonzero(turn)
                piece = numbers[y[at] + row, x[at] + column - 1]
                right, down = np.full(at.size, column ^ flip), np.full(at.size, row ^ flip)
                found.append((own[at].astype(np.int64) - 1, x[at], y[at] + self._row, right, down, piece, np.full(at.size, not flip), right == row))
        *columns, forward = (np.concatenate(column) for column in zip(*found, strict=True))
        return _Corners(*columns), forward

    def _walk(
        self, corners: _Corners, forward: np.ndarray, across: np.ndarray, beside: np.ndarray, first_top: int, first_bottom: int,
        bottoms: tuple[np.ndarray, ...],
    ) -> None:  # fmt: skip
        """Follow every outline: from below up to where it leaves downwards, then those that are closed."""
        xs, ys, over, down = corners.x.tolist(), corners.y.tolist(), across.tolist(), beside.tolist()
        pieces, ids, known = corners.inside.tolist(), corners.label.tolist(), self._open
        done = bytearray(len(xs))

        def follow(at: int, path: _Path) -> int:
            """Along an outline until it leaves downwards, or is where it began; which end it leaves by, or -1."""
            points = array("i")
            while True:
                if at < first_top:
                    if done[at]:
                        break
                    done[at] = 1
                    other = over[at]
                    points.extend((xs[at], ys[at], xs[other], ys[other]))
                    path.piece, at = pieces[at], down[other]
                elif at < first_bottom:
                    if points:
                        path.add(points)
                        points = array("i")
                    before = known[at - first_top]
                    path.take(before)
                    at = down[first_top + before.end]
                else:
                    break
            if points:
                path.add(points)
            return at - first_bottom if at >= first_bottom else -1

        opened: list[_Path | None] = [None] * len(bottoms[0])
        for index in np.flatnonzero(bottoms[2]).tolist():
            path = opened[index] = _Path()
            path.end = follow(down[first_bottom + index], path)
        for start in np.flatnonzero(forward).tolist():
            if not done[start]:
                path = _Path()
                follow(start, path)
                self._leave(ids[start], path)
        self._open = opened

    def _leave(self, label: int, path: _Path) -> None:
        parts = (zlib.decompress(part) if isinstance(part, bytes) else part for part in path.parts)
        points = np.frombuffer(b"".join(parts), dtype=np.int32).reshape(-1, 2)
        places = points[:, 1].astype(np.int64) * (self._width + 1) + points[:, 0]
        for ring in _simple(places):
            begin = int(places[ring].argmin())
            self._ring(label, path.piece, points[np.concatenate([ring[begin:], ring[:begin]])])


def _simple(places: np.ndarray) -> Iterator[np.ndarray]:
    """A ring as rings that visit no point twice: indices. Kept are only those points that it passes again, of millions some thousand."""
    # Two squares that share a corner are the shortest that does.
    if len(places) < 8 or not ((ordered := np.sort(places))[1:] == ordered[:-1]).any():
        yield np.arange(len(places))
        return
    order = np.argsort(places, kind="stable")
    same = ordered[1:] == ordered[:-1]
    again = np.unique(np.concatenate([order[1:][same], order[:-1][same]]))
    del ordered, order, same
    stretches: list[tuple[int, int]] = [(0, int(again[0]))]  # of the path from its first point, or from one that is passed again, on
    seen: dict[int, int] = {}
    ends = [*again[1:].tolist(), len(places)]
    for begin, end, place in zip(again.tolist(), ends, places[again].tolist(), strict=True):
        if place in seen:
            closed = stretches[seen[place] :]
            del stretches[seen[place] :]
            for first, _ in closed:
                del seen[int(places[first])]
            yield np.concatenate([np.arange(*stretch) for stretch in closed])
        seen[place] = len(stretches)
        stretches.append((begin, end))
    yield np.concatenate([np.arange(*stretch) for stretch in stretches])


def _ends(row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges that go on below a row (W,) of ids from 1: the id, the column, and whether the outline comes up there, its id being on the right."""
    padded = np.concatenate([[0], row, [0]]).astype(np.int64)
    x = np.flatnonzero(padded[:-1] != padded[1:])
    found = [(side[x] - 1, x, np.full(x.size, up)) for side, up in ((padded[:-1], False), (padded[1:], True))]
    labels, columns, up = (np.concatenate(column) for column in zip(*found, strict=True))
    there = labels >= 0
    return labels[there], columns[there], up[there]


def _pairs(keys: tuple[np.ndarray, ...]) -> np.ndarray:
    """For every corner the one at the other end of its edge on its grid line: int64 (N,), indices of corners. Sorted by the keys (the id, the
    line, the place along it, and 0 of an edge that ends in a point where another begins) they are begin and end of an edge by turns."""
    order = np.lexsort(keys[::-1])
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def polygons_of(segmentation: Segmentation) -> list[list[Polygon]]:
    """The polygons of every segment, in the order of ``segments``; see :func:`trace`.

    Args:
        segmentation: any result. Semantic results are traced in one pass over the id map, objects (which may overlap)
            within their boxes.
    """
    task = TASKS[segmentation.task]
    if not task.objects:
        # 0 is a class here, and nothing to the tracer.
        traced = trace(segmentation.id_map.astype(np.uint16) + np.uint16(1))
        return [traced.get(segment.label_id + 1, []) for segment in segmentation.segments]
    if not task.overlaps:
        # In one pass, for there may be thousands.
        traced = trace(segmentation.id_map)
        return [traced.get(identity, []) for identity in segmentation.ids]
    return trace_runs([segmentation.runs_of(index) for index in range(len(segmentation.segments))])


def keyhole(polygon: Polygon) -> Ring:
    """A polygon as one ring, for formats that know no holes (COCO): every hole is reached along a slit of no width.

    Args:
        polygon: outer ring and holes.

    Returns:
        One ring that rasterises to the same pixels by the even-odd rule.
    """
    start_x, start_y = polygon[0][0]
    ring = list(polygon[0])
    for hole in polygon[1:]:
        hole_x, hole_y = hole[0]
        elbow = (start_x, hole_y)
        ring += [(start_x, start_y), elbow, *hole, (hole_x, hole_y), elbow]
    return ring


def inner_ring(polygon: Polygon) -> Ring:
    """A polygon as one ring through the centres of its outermost pixels, for formats whose outlines belong to the object (YOLO, labelme).

    Drawn pixel by pixel and filled by the even-odd rule it gives exactly the polygon's pixels. Holes are reached along slits over pixels of
    the object: straight up from a hole's uppermost pixel until something else begins, where a ring that has been taken in already passes.

    Args:
        polygon: outer ring and holes, as :func:`trace` gives them.

    Returns:
        Whole pixels (x, y): of the pixel at column x and row y. A single pixel is a ring of one point.
    """
    outer, *holes = (list(map(tuple, ring.tolist())) for ring in _insides_of(polygon))
    rings = [outer]
    for hole in sorted(holes, key=lambda ring: min((y, x) for x, y in ring)):
        top = min(range(len(hole)), key=lambda index: (hole[index][1], hole[index][0]))
        rings.append([*hole[top:], *hole[:top]])
    if len(rings) == 1:
        return rings[0]
    above = _Above(rings)
    # What is put in before a point of a ring: the way along the line to that point, the row in which the slit begins, and the ring below it.
    slits: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for index, (x, y) in enumerate((ring[0] for ring in rings[1:]), start=1):
        ring, at, row, along = above(index, x, y)
        slits.setdefault((ring, at), []).append((along, row, index))
    path: Ring = []
    todo: list[tuple[int, int] | Ring] = [(0, 0)]
    while todo:
        if isinstance(step := todo.pop(), list):
            path += step
            continue
        index, at = step
        ring = rings[index]
        if at < len(ring):
            todo += [(index, at + 1), [ring[at]]]
        elif index == 0:
            continue
        # A hole is closed with its first point, which what is put in between its last and its first one comes before.
        for _, row, hole in sorted(slits.get((index, at % len(ring)), ()), reverse=True):
            x, y = rings[hole][0]
            slit = [(x, row)] if row != y else []
            todo += [[(x, y), *slit], (hole, 1), [*slit, (x, y)]]
    return path


def inner_rings(polygons: Sequence[Sequence[Ring | np.ndarray]]) -> list[np.ndarray]:
    """:func:`inner_ring` of each of some polygons, int64 (N, 2); of those without holes all at once."""
    plain = [polygon[0] for polygon in polygons if len(polygon) == 1]
    found = iter(_insides_of(plain) if plain else ())
    return [next(found) if len(polygon) == 1 else np.array(inner_ring(polygon)) for polygon in polygons]


def _insides_of(rings: Sequence[Ring | np.ndarray]) -> list[np.ndarray]:
    """The pixels of objects along rings of edges, which have them on their right hand; those within straight lines are left away."""
    begin = np.concatenate(rings)
    lengths = np.array([len(ring) for ring in rings])
    firsts = np.cumsum(lengths) - lengths
    after = np.arange(1, len(begin) + 1)
    after[firsts + lengths - 1] = firsts
    end = begin[after]
    (across, along) = np.sign(end - begin).T
    # The object is on the right hand: below an edge to the right, to the left of one downwards. What is the first and the last pixel beside each.
    first = begin - np.stack([(across < 0) | (along > 0), (across < 0) | (along < 0)], axis=1)
    last = end - np.stack([(across > 0) | (along > 0), (across < 0) | (along > 0)], axis=1)
    pixels = np.stack([first, last], axis=1).reshape(-1, 2)
    # Of two columns, any() along the second axis takes ten times as long as they do one by one.
    differs = np.concatenate([np.ones((1, 2), dtype=bool), pixels[1:] != pixels[:-1]])
    (new := differs[:, 0] | differs[:, 1])[2 * firsts] = True
    counts = np.add.reduceat(new, 2 * firsts)
    found, ends = pixels[new], np.cumsum(counts)
    closed = (counts > 1) & (found[ends - counts] == found[ends - 1]).all(axis=1)
    return [found[begin:end] for begin, end in zip((ends - counts).tolist(), (ends - closed).tolist(), strict=True)]


class _Above:
    """Where closed paths pass a column next above a row: looked up by columns, for thousands of holes have thousands of rings above them.

    Args:
        rings: whole pixels (x, y), the outer one and then the holes, by their uppermost pixels, with which they begin.
    """

    def __init__(self, rings: list[Ring]) -> None:
        corners = np.concatenate([np.array(ring, dtype=np.int32) for ring in rings])
        before = np.concatenate([np.roll(np.array(ring, dtype=np.int32), 1, axis=0) for ring in rings])
        sizes = [len(ring) for ring in rings]
        number = np.repeat(np.arange(len(rings), dtype=np.int32), sizes)
        at = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
        # A line down or across is passed in each of its columns, of a slanted step only the end is a pixel.
        flat, upright = corners[:, 1] == before[:, 1], corners[:, 0] == before[:, 0]
        left = np.where(flat, np.minimum(corners[:, 0], before[:, 0]), corners[:, 0])
        wide = np.where(flat, np.abs(corners[:, 0] - before[:, 0]) + 1, 1)
        line = np.repeat(np.arange(len(corners), dtype=np.int32), wide)
        column = left[line] + (np.arange(len(line)) - np.repeat(np.cumsum(wide) - wide, wide)).astype(np.int32)
        order = np.argsort(column, kind="stable")
        self._column, self._line = column[order], line[order]
        self._ring, self._at, self._begin = number, at, before
        self._top = np.where(upright, np.minimum(corners[:, 1], before[:, 1]), corners[:, 1])
        self._bottom = np.where(upright, np.maximum(corners[:, 1], before[:, 1]), corners[:, 1])

    def __call__(self, index: int, x: int, y: int) -> tuple[int, int, int, int]:
        """Of the rings before this one: which, the index of the point before which something can be put in, the row, and the way along the line
        to there."""
        first, last = np.searchsorted(self._column, [x, x + 1])
        lines = self._line[first:last]
        lines = lines[(self._ring[lines] < index) & (self._top[lines] <= y)]
        rows = np.minimum(self._bottom[lines], y)
        line, row = int(lines[rows.argmax()]), int(rows.max())
        along = abs(x - int(self._begin[line, 0])) + abs(row - int(self._begin[line, 1]))
        return int(self._ring[line]), int(self._at[line]), row, along

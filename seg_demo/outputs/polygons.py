"""Label maps → polygons along the edges of pixels, which rasterise to exactly the same pixels again.

A pixel at column x and row y is the square from (x, y) to (x + 1, y + 1). Pixels that touch at a corner only are not
connected: they become polygons of their own, which may touch in that point.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from seg_demo.core.types import TASKS, Segmentation

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


def _partners(corners: _Corners, lines: np.ndarray, along: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """For every corner the one at the other end of its edge on its grid line: int64 (N,), indices of corners.

    On a line, the corners of a label are begin and end of an edge by turns. Where two edges meet in a point, the one that
    comes from behind (``ahead`` 0) ends before the next begins.
    """
    order = np.lexsort((ahead, along, lines, corners.label))
    partner = np.empty_like(order)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    return partner


def _rings(corners: _Corners, points: np.ndarray) -> list[list[int]]:
    """The corners of every ring in the order in which its outline runs; no ring visits a point twice.

    Args:
        corners: N turns.
        points: int64 (N,), one number per point of the grid.
    """
    across = _partners(corners, corners.y, corners.x, corners.right).tolist()
    down = _partners(corners, corners.x, corners.y, corners.down).tolist()
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
    result = []
    for segment in segmentation.segments:
        left, top = segment.box[:2]
        pieces = trace(segment.mask).get(1, [])
        result.append([[[(x + left, y + top) for x, y in ring] for ring in polygon] for polygon in pieces])
    return result


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
    rings = [_inside_of(polygon[0])]
    for hole in sorted(map(_inside_of, polygon[1:]), key=lambda ring: min((y, x) for x, y in ring)):
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


def _inside_of(ring: Ring) -> Ring:
    """The pixels of the object along a ring of edges, which has them on its right hand; those within straight lines are left away."""
    found: Ring = []
    for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
        # The first and the last pixel beside this edge.
        if y0 == y1:
            pixels = ((x0, y0), (x1 - 1, y0)) if x1 > x0 else ((x0 - 1, y0 - 1), (x1, y0 - 1))
        else:
            pixels = ((x0 - 1, y0), (x0 - 1, y1 - 1)) if y1 > y0 else ((x0, y0 - 1), (x0, y1))
        found += [pixel for index, pixel in enumerate(pixels) if not (found and found[-1] == pixel) and not (index and pixels[0] == pixel)]
    while len(found) > 1 and found[0] == found[-1]:
        found.pop()
    return found


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

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
    path = _inside_of(polygon[0])
    for hole in sorted(polygon[1:], key=lambda ring: min(y for _, y in ring)):
        ring = _inside_of(hole)
        x, y = min(ring, key=lambda point: (point[1], point[0]))
        begin = ring.index((x, y))
        at, row = _above(path, x, y)
        slit = [(x, row)] if row != y else []
        path[at:at] = [*slit, *ring[begin:], *ring[: begin + 1], *slit]
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


def _above(path: Ring, x: int, y: int) -> tuple[int, int]:
    """Where a closed path passes a column next above a row, or in it: the index of the point before which something can be put in, and the row."""
    corners = np.array(path)
    before = np.roll(corners, 1, axis=0)
    flat = corners[:, 1] == before[:, 1]
    crosses = (np.minimum(corners[:, 0], before[:, 0]) <= x) & (x <= np.maximum(corners[:, 0], before[:, 0]))
    upright = (corners[:, 0] == x) & (before[:, 0] == x)
    # On an upright line every row is passed; the lowest that is not below counts. Of a slanted step only its ends are pixels.
    rows = np.where((flat & crosses) | (corners[:, 0] == x), corners[:, 1], -1)
    rows = np.where(rows <= y, rows, -1)
    lowest = np.minimum(np.maximum(corners[:, 1], before[:, 1]), y)
    rows = np.maximum(rows, np.where(upright & (lowest >= np.minimum(corners[:, 1], before[:, 1])), lowest, -1))
    at = int(rows.argmax())
    return at, int(rows[at])

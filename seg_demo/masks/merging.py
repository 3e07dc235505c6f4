"""Objects found in overlapping tiles, as objects of the whole image: none twice, and those that tiles cut in one piece.

Two tiles can only disagree where they overlap, so candidates are compared there. Those that agree (intersection over union)
are the same object, at most one per tile; if one tile saw it whole, that mask is taken, else the pieces are united. What is
left of an object that its tile cut, and that another object covers, is dropped. The thresholds are those of non-maximum
suppression; comparing masks instead of boxes keeps neighbours apart that touch (cf. Akyon et al., "Slicing Aided Hyper
Inference", ICIP 2022, which compares boxes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seg_demo.masks.tiles import Window
from seg_demo.painting import MAX_IDS
from seg_demo.rle import Box
from seg_demo.types import Segment, SoftMask

SAME = 0.5
COVERED = 0.5
# A mask that ends this close to a tile's inner border was cut by it; networks draw masks a little short of it.
REACH = 4


@dataclass(frozen=True)
class _Found:
    """One detection.

    Attributes:
        segment: in pixels of the whole image.
        tile: which tile found it.
        rank: its score, halved if the tile's border cut it.
        whole: whether it was not cut.
    """

    segment: Segment
    tile: int
    rank: float
    whole: bool


def merge(tiles: Sequence[tuple[Window, Sequence[Segment]]], height: int, width: int) -> tuple[Segment, ...]:
    """Segments of the whole image from those of its tiles.

    Args:
        tiles: each tile and what was found in it, boxes in pixels of the whole image, inside the tile and the image.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        Segments by falling score, at most as many as an id map can name.
    """
    found: list[_Found] = []
    members: list[range] = []
    for index, (window, segments) in enumerate(tiles):
        first = len(found)
        for segment in segments:
            whole = not _is_cut(segment.box, window.box, height, width)
            score = 1.0 if segment.score is None else segment.score
            found.append(_Found(segment, index, score if whole else score / 2, whole))
        members.append(range(first, len(found)))
    same, covering = [], []
    for one, other, zone in _neighbours([window for window, _ in tiles]):
        for a, b in _crossing(found, members[one], members[other], zone):
            common, union = _compare(found[a].segment, found[b].segment, zone)
            if common >= SAME * union:
                same.append((common / union, a, b))
            elif common:
                covering.append((a, b, common))
    groups = _grouped(found, same)
    kept = _uncovered(found, groups, covering)
    united = [_united([found[index] for index in group]) for group in kept]
    united.sort(key=lambda segment: -(segment.score or 0.0))
    return tuple(united[:MAX_IDS])


def _is_cut(box: Box, tile: Box, height: int, width: int) -> bool:
    """Whether a box reaches a border of its tile that is none of the image."""
    x0, y0, x1, y1 = box
    left, top, right, bottom = tile
    return (
        (left > 0 and x0 < left + REACH)
        or (top > 0 and y0 < top + REACH)
        or (right < width and x1 > right - REACH)
        or (bottom < height and y1 > bottom - REACH)
    )


def _neighbours(windows: Sequence[Window]) -> Iterator[tuple[int, int, Box]]:
    """Pairs of tiles that overlap, and where. Evenly spread tiles reach at most the next but one along each axis."""
    places = {(window.row, window.column): index for index, window in enumerate(windows)}
    for index, window in enumerate(windows):
        for down in range(3):
            for across in range(-2, 3):
                other = places.get((window.row + down, window.column + across))
                if other is None or (down, across) <= (0, 0):
                    continue
                zone = _overlap(window.box, windows[other].box)
                if zone is not None:
                    yield index, other, zone


def _overlap(a: Box, b: Box) -> Box | None:
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _crossing(found: Sequence[_Found], ones: range, others: range, zone: Box) -> Iterator[tuple[int, int]]:
    """Pairs of one class from two tiles whose boxes overlap within a zone."""
    if not ones or not others:
        return
    low, high = np.array(zone[:2]), np.array(zone[2:])
    a, b = (np.array([(*found[i].segment.box, found[i].segment.label_id) for i in side]) for side in (ones, others))
    begin = np.maximum(np.maximum(a[:, None, :2], b[None, :, :2]), low)
    end = np.minimum(np.minimum(a[:, None, 2:4], b[None, :, 2:4]), high)
    for i, j in np.argwhere((begin < end).all(2) & (a[:, None, 4] == b[None, :, 4])).tolist():
        yield ones[i], others[j]


def _compare(a: Segment, b: Segment, zone: Box) -> tuple[int, int]:
    """Pixels within a zone that two objects share, and that either has."""
    pieces = [_cut_out(segment, zone) for segment in (a, b)]
    areas = [int(np.count_nonzero(piece)) for _, piece in pieces]
    (box_a, mask_a), (box_b, mask_b) = pieces
    box = _overlap(box_a, box_b)
    common = int(np.count_nonzero(_part(mask_a, box_a, box) & _part(mask_b, box_b, box))) if box else 0
    return common, max(1, sum(areas) - common)


def _cut_out(segment: Segment, zone: Box) -> tuple[Box, np.ndarray]:
    """The part of an object within a zone that it touches."""
    box = _overlap(segment.box, zone)
    return box, _part(segment.mask, segment.box, box)


def _part(mask: np.ndarray, box: Box, window: Box) -> np.ndarray:
    """A window of a mask whose box is given; the window lies inside the box."""
    x0, y0, x1, y1 = window
    return mask[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]


def _grouped(found: Sequence[_Found], same: list[tuple[float, int, int]]) -> list[list[int]]:
    """Detections of the same object, the surest pairs first; a tile has an object only once."""
    group = list(range(len(found)))
    members = {index: [index] for index in group}
    for _, a, b in sorted(same, reverse=True):
        one, other = group[a], group[b]
        tiles = {found[index].tile for index in members[one]}
        if one == other or any(found[index].tile in tiles for index in members[other]):
            continue
        for index in members[other]:
            group[index] = one
        members[one] += members.pop(other)
    return list(members.values())


def _uncovered(found: Sequence[_Found], groups: list[list[int]], covering: list[tuple[int, int, int]]) -> list[list[int]]:
    """The groups without those that another group of higher rank covers by half."""
    of = {index: place for place, group in enumerate(groups) for index in group}
    ranks = [max(found[index].rank for index in group) for group in groups]
    areas = [max(int(np.count_nonzero(found[index].segment.mask)) for index in group) for group in groups]
    common: dict[tuple[int, int], int] = {}
    for a, b, pixels in covering:
        pair = (min(of[a], of[b]), max(of[a], of[b]))
        if pair[0] != pair[1]:
            common[pair] = max(common.get(pair, 0), pixels)
    rivals: dict[int, list[tuple[int, int]]] = {}
    for (one, other), pixels in common.items():
        better, worse = (one, other) if (ranks[one], -one) >= (ranks[other], -other) else (other, one)
        rivals.setdefault(worse, []).append((better, pixels))
    dropped: set[int] = set()
    for place in sorted(range(len(groups)), key=lambda place: (-ranks[place], place)):
        if any(better not in dropped and pixels >= COVERED * areas[place] for better, pixels in rivals.get(place, ())):
            dropped.add(place)
    return [group for place, group in enumerate(groups) if place not in dropped]


def _united(group: Sequence[_Found]) -> Segment:
    """One segment from the detections of one object."""
    best = max(group, key=lambda each: each.rank)
    if best.whole or len(group) == 1:
        return best.segment
    pieces = [each.segment for each in group]
    box = _around([piece.box for piece in pieces])
    mask = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=bool)
    for piece in pieces:
        window = _part(mask, box, piece.box)
        np.logical_or(window, piece.mask, out=window)
    scores = [piece.score for piece in pieces if piece.score is not None]
    return Segment(best.segment.label_id, max(scores) if scores else None, box, mask, _united_soft(pieces))


def _united_soft(pieces: Sequence[Segment]) -> SoftMask | None:
    """The largest probability of any piece at each pixel; None if they have none."""
    softs = [piece.soft for piece in pieces if piece.soft is not None]
    if not softs:
        return None
    box = _around([soft.box for soft in softs])
    values = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=np.uint8)
    for soft in softs:
        window = _part(values, box, soft.box)
        np.maximum(window, soft.values, out=window)
    return SoftMask(box, values)


def _around(boxes: Sequence[Box]) -> Box:
    """The smallest box around some."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)

"""Full detail: a huge image at its own pixels, tile by tile, instead of shrunk to what its network takes at once.

Classes: the tiles' logits are blended, and each part of the label map is made as soon as no later tile changes it.
Objects are found tile by tile and merged. Where nothing may overlap, merged things lie over blended stuff. Memory follows the tile
and the width of the image; only the results themselves have the size of the image.

Along each axis neighbouring tiles overlap. A tile counts fully in its middle, not at all within a margin of a border that
lies inside the image (what a network sees there lacks context), and in between fades smoothly into its neighbour, so that
at every place the weights sum to 1. If the margin is at least the network's halo (how far one output looks), the blended
logits are those of the whole image. Tiles come row by row; what no later tile can change leaves at once.

Of objects in overlapping tiles none is found twice, and those that tiles cut become one piece. Two tiles can only disagree where they overlap, so candidates are compared there. Those that agree (intersection over union)
are the same object, at most one per tile; if one tile saw it whole, that mask is taken, else the pieces are united. What is
left of an object that its tile cut, and that another object covers, is dropped. The thresholds are those of non-maximum
suppression; comparing masks instead of boxes keeps neighbours apart that touch (cf. Akyon et al., "Slicing Aided Hyper
Inference", ICIP 2022, which compares boxes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg_demo.core import MAX_IDS, Message, Segment, Segmentation, SoftMask, extents, paint, paint_confidence, semantic_segmentation
from seg_demo.masks.semantic import MeanScores, argmax_resized, probability_and_margin
from seg_demo.networks.base import STRIDE, Network

if TYPE_CHECKING:
    from seg_demo.core import Box, Report

# Of a tile's overlap, the part at its border that gets no weight; as much at the other end, and it fades in between.
MARGIN = 4

# A batch → what the network says, floating, on the CPU or where it was computed, and where that was.
Forward = Callable[[torch.Tensor], tuple[Any, torch.device]]
# A network, what it found in a part of the image, that part's pixels, with confidence or not → what it finds there in the end.
Closer = Callable[[Network, Segmentation, np.ndarray, bool], Segmentation]


@dataclass(frozen=True)
class Plan:
    """How an image is cut up for a network.

    Attributes:
        network: with a preprocessing that takes a tile at its own pixels.
        grid: the tiles.
        unit: tiles begin at multiples of this many pixels.
    """

    network: Network
    grid: Grid
    unit: int


def plan(network: Network, height: int, width: int) -> Plan | None:
    """The tiles for an image, or None if it is no larger than one: then the whole image has full detail already.

    Args:
        network: any.
        height: of the image, in pixels.
        width: of the image, in pixels.
    """
    network = network.for_tiles()
    rule, tile = network.preprocessing, network.tile()
    unit = rule.multiple if rule.multiple > 1 else STRIDE
    if height <= tile[0] and width <= tile[1]:
        return None
    if rule.size is None and not network.scales_tiles:
        # A long and narrow image needs no tiles that are higher than it is.
        tile = tuple(min(side, max(4, -(-length // unit)) * unit) for side, length in zip(tile, (height, width), strict=True))
        network = _at_own_pixels(network, tile)
    unit = math.gcd(unit, *tile)
    while 4 * unit > min(tile) and unit % 2 == 0:
        unit //= 2
    overlap = max(unit, min(tile) // (4 * unit) * unit)
    return Plan(network, grid_of(height, width, tile, overlap, unit), unit)


def _at_own_pixels(network: Network, tile: tuple[int, int]) -> Network:
    """The network with a preprocessing that does not resize a tile."""
    rule = network.preprocessing
    if rule.fitted(*tile) == tile:
        return network
    return replace(network, preprocessing=replace(rule, shortest_side=None, longest_side=max(tile)))


def run(plan: Plan, forward: Forward, image: np.ndarray, confidence: bool = False, report: Report | None = None, closer: Closer | None = None) -> Segmentation:
    """Segment an image tile by tile.

    Args:
        plan: for the network and the image.
        forward: of the network.
        image: uint8 (H, W, 3), RGB.
        confidence: also how sure the network is of every pixel.
        report: called after each tile with the fraction done and a few words.
        closer: takes second looks at tiles of objects, where the network wants them; None takes none.

    Returns:
        The result; ``device`` is where the last tile was computed.
    """
    task, tiles = plan.network.task, Tiles(plan, forward, image, report, closer=closer)
    work = _things_over_stuff if task.stuff else _merged if task.objects else _blended
    return work(plan, tiles, image.shape[:2], confidence)


class Tiles:
    """The network's answers, tile by tile."""

    def __init__(self, plan: Plan, forward: Forward, image: np.ndarray, report: Report | None, first: int = 0, closer: Closer | None = None) -> None:
        self._plan, self._forward, self._image, self._report, self._first, self._closer = plan, forward, image, report, first, closer
        self.device = "cpu"

    def __iter__(self) -> Iterator[tuple[Window, Any]]:
        skipped = self._first * len(self._plan.grid.lefts)
        for done, window in enumerate(islice(self._plan.grid, skipped, None), start=skipped + 1):
            raw, device = self._forward(self._plan.network.preprocess(self._crop(window)))
            self.device = str(device)
            yield window, raw
            if self._report is not None:
                count = len(self._plan.grid)
                self._report(done / count, Message("progress.tile", done=done, count=count))

    def objects(self, window: Window, raw: Any, confidence: bool) -> Segmentation:
        """The objects in a tile's part of the image."""
        part = self._image[window.top : window.bottom, window.left : window.right]
        result = self._plan.network.postprocess_tile(raw, (window.bottom - window.top, window.right - window.left), part.shape[:2], confidence)
        return result if self._closer is None else self._closer(self._plan.network, result, part, confidence)

    def _crop(self, window: Window) -> np.ndarray:
        """A tile's pixels; what lies outside the image mirrors it, as the padding of a whole image does.

        Only objects in the image count. Beside a bare ground, darker or brighter than all that the image shows, they would be lost. Where an
        answer has few queries, each mirrored object would take one: there it is the mean colour.
        """
        part = self._image[window.top : window.bottom, window.left : window.right]
        missing = window.bottom - window.top - part.shape[0], window.right - window.left - part.shape[1]
        if not any(missing):
            return part
        if not (network := self._plan.network).task.objects or network.mirrors:
            return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")
        color = np.rint(np.array(network.preprocessing.mean) * 255).astype(np.uint8)
        tile = np.broadcast_to(color, (window.bottom - window.top, window.right - window.left, 3)).copy()
        tile[: part.shape[0], : part.shape[1]] = part
        return tile


def _blended(plan: Plan, tiles: Tiles, size: tuple[int, int], confidence: bool) -> Segmentation:
    classes = Classes(plan, size, confidence)
    for window, raw in tiles:
        classes.add(window, plan.network.logits(raw))
    labels, sure = plan.network.labels, (None, None) if classes.sure is None else classes.sure
    result = semantic_segmentation(classes.label_map, labels, classes.scores.of(range(len(labels))), *sure)
    return replace(result, device=tiles.device)


class Classes:
    """The label map of blended tiles, as far as they have come.

    Attributes:
        label_map: uint8 or uint16 (H, W), or as many rows as are wanted of it.
        sure: uint8 (2, H, W), probability and margin; None unless wanted.
        scores: of the classes.
    """

    zeros = staticmethod(torch.zeros)

    def __init__(self, plan: Plan, size: tuple[int, int], confidence: bool, rows: int | None = None, first: int = 0) -> None:
        self._plan, self._size, self._first = plan, size, first
        self.label_map = np.zeros((size[0] if rows is None else rows, size[1]), dtype=np.uint8 if len(plan.network.labels) <= 255 else np.uint16)
        self.sure = np.zeros((2, *size), dtype=np.uint8) if confidence else None
        self.scores, self._blender = MeanScores(), None

    def add(self, window: Window, logits: torch.Tensor) -> None:
        """The logits (C, h, w) of the next tile."""
        plan, (height, width) = self._plan, self._size
        logits, factor = _gridded(logits, plan)
        if self._blender is None:
            self._blender = Blender(plan.grid, factor, plan.grid.overlap // MARGIN, self._first, self.zeros)
        block = self._blender.add(window, logits)
        rows, columns = (range(*bounds) for bounds in (block.rows, block.columns))
        if not rows or not columns:
            return
        self.place(block, factor)
        self.scores.add(block.inner[:, : math.ceil(height / factor) - rows.start, : math.ceil(width / factor) - columns.start])

    def place(self, block: Block, factor: int) -> None:
        """Write the labels of a block, whose points are so many pixels apart."""
        write(self.label_map, argmax_resized, block, factor)
        if self.sure is not None:
            write(self.sure, probability_and_margin, block, factor)


def _gridded(logits: torch.Tensor, plan: Plan) -> tuple[torch.Tensor, int]:
    """Logits (C, h, w) of a tile and how many pixels their points are apart; resized to the pixels if that is no whole number."""
    tile = plan.grid.tile
    factor = tile[0] // logits.shape[1]
    if (logits.shape[1] * factor, logits.shape[2] * factor) == tile and plan.unit % factor == 0:
        return logits, factor
    return F.interpolate(logits[None], tile, mode="bilinear", align_corners=False)[0], 1


def write(target: np.ndarray, resize: Callable[[torch.Tensor, int, int], np.ndarray], block: Block, factor: int) -> None:
    """Write the pixels (..., H, W) of a block, resized with the points around it, so that blocks meet as in a resize of everything."""
    _, tall, wide = block.logits.shape
    pixels = resize(block.logits, tall * factor, wide * factor)
    above, left = (points * factor for points in block.context)
    (top, bottom), (first, last) = ((a * factor, b * factor) for a, b in (block.rows, block.columns))
    window = target[..., top:bottom, first:last]
    window[:] = pixels[..., above : above + window.shape[-2], left : left + window.shape[-1]]


def _merged(plan: Plan, tiles: Tiles, size: tuple[int, int], confidence: bool) -> Segmentation:
    height, width = size
    found, limits, evidence = [], [], _Evidence(size) if confidence else None
    for window, raw in tiles:
        result = tiles.objects(window, raw, confidence)
        found.append((window, [segment.moved(window.left, window.top) for segment in result.segments]))
        limits += [result.limit] if result.limit is not None else []
        if evidence is not None:
            evidence.add(window, result)
    segments = merge(found, height, width)
    id_map, sure = paint(segments, height, width), None
    if evidence is not None:
        soft = segments and segments[0].soft is not None
        sure = paint_confidence(id_map, segments, segments) if soft else evidence.confidence(id_map)
    # The tile that may lack the surest object speaks for all.
    limit = max(limits, key=lambda limit: limit.score, default=None)
    return Segmentation(plan.network.task.name, height, width, plan.network.labels, id_map, segments, device=tiles.device, confidence=sure, limit=limit)


class _Evidence:
    """How likely pixels belong to what was found there, tile by tile: the surest of them counts."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._values = np.zeros(size, dtype=np.uint8)

    def add(self, window: Window, result: Segmentation) -> None:
        """A tile's result, whose confidence is 1 less that where nothing was found."""
        there = self._values[window.top : window.top + result.height, window.left : window.left + result.width]
        if result.confidence is not None:
            np.maximum(there, np.where(result.id_map > 0, result.confidence, 255 - result.confidence), out=there)

    def confidence(self, id_map: np.ndarray) -> np.ndarray:
        """uint8 (H, W), of an id map in which 0 is nothing; the evidence is used up."""
        return np.subtract(255, self._values, out=self._values, where=id_map == 0)


def _things_over_stuff(plan: Plan, tiles: Tiles, size: tuple[int, int], confidence: bool) -> Segmentation:
    """Things are merged as objects and lie on top, in the order of their scores. Between them a pixel belongs to the class that is the
    largest of the blended ones, if that is stuff of which some tile has a segment, and to nothing otherwise; stuff scores what its
    best segment in any tile does."""
    (height, width), labels = size, plan.network.labels
    classes, evidence = Classes(plan, size, confidence), _Evidence(size) if confidence else None
    things: list[tuple[Window, list[Segment]]] = []
    stuff: dict[int, float] = {}
    for window, raw in tiles:
        result = tiles.objects(window, raw, confidence)
        classes.add(window, plan.network.logits(raw))
        if evidence is not None:
            evidence.add(window, result)
        things.append((window, [s.moved(window.left, window.top) for s in result.segments if labels.is_thing(s.label_id)]))
        seen = {s.label_id: s.score or 0.0 for s in result.segments if not labels.is_thing(s.label_id)}
        stuff |= {label_id: max(score, stuff.get(label_id, 0.0)) for label_id, score in seen.items()}
    merged = merge(things, height, width)[: MAX_IDS - len(stuff)]
    id_map = paint(merged, height, width)
    listed = [(segment.label_id, segment.score) for segment in merged] + sorted(stuff.items())
    # What a class's pixels are where there is no thing; 0 for things of which no tile is sure, and stuff that no tile has.
    numbers = np.zeros(np.iinfo(classes.label_map.dtype).max + 1, dtype=np.uint16)
    numbers[sorted(stuff)] = np.arange(len(merged) + 1, len(listed) + 1)
    sure = None if evidence is None else evidence.confidence(id_map)
    id_map = id_map if len(listed) <= 255 else id_map.astype(np.uint16, copy=False)
    for top in range(0, height, step := max(1, (1 << 20) // width)):
        ids, other = id_map[top : top + step], numbers[classes.label_map[top : top + step]]
        filled = (ids == 0) & (other > 0)
        np.copyto(ids, other, where=filled, casting="unsafe")
        if sure is not None:
            np.copyto(sure[top : top + step], classes.sure[0, top : top + step], where=filled)
    # A thing that others hide has no pixel, and stuff may lie under things alone.
    pixels, boxes = extents(id_map)
    seen = [number for number in range(1, len(listed) + 1) if number < len(pixels) and pixels[number]]
    renumbered = np.zeros(np.iinfo(id_map.dtype).max + 1, dtype=np.uint8 if len(seen) <= 255 else np.uint16)
    renumbered[seen] = np.arange(1, len(seen) + 1)
    segments = tuple(Segment(*listed[number - 1], tuple(boxes[number].tolist()), None) for number in seen)
    made, used = Segmentation(plan.network.task.name, height, width, labels, renumbered[id_map], segments), plan.network.used_thresholds
    return replace(made, device=tiles.device, confidence=sure, thresholds=used)


@dataclass(frozen=True)
class Window:
    """A tile.

    Attributes:
        row: its place in the grid of tiles.
        column: likewise.
        top: first row of pixels.
        left: first column of pixels.
        bottom: past its last row; may lie in the padding below the image.
        right: past its last column; may lie in the padding beside it.
    """

    row: int
    column: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1), half-open."""
        return self.left, self.top, self.right, self.bottom


@dataclass(frozen=True)
class Grid:
    """Where all tiles lie.

    Attributes:
        tops: first row of pixels of each row of tiles, ascending, multiples of the unit.
        lefts: first column of pixels of each column of tiles, ascending, multiples of the unit.
        tile: (rows, columns) of every tile in pixels.
        overlap: the least overlap of neighbours in pixels.
    """

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    tile: tuple[int, int]
    overlap: int

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def __iter__(self) -> Iterator[Window]:
        for row, top in enumerate(self.tops):
            for column, left in enumerate(self.lefts):
                yield Window(row, column, top, left, top + self.tile[0], left + self.tile[1])


def grid_of(height: int, width: int, tile: tuple[int, int], overlap: int, unit: int) -> Grid:
    """Tiles that cover an image, as few as possible, spread evenly.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        tile: (rows, columns) of a tile, multiples of the unit.
        overlap: of neighbours, at least; a multiple of the unit. Three overlaps and a unit fit into a tile, so that it fades
            into one neighbour at a time.
        unit: tiles begin at multiples of this many pixels: of the network's stride, so that a tile's grid of features is
            the whole image's.

    Raises:
        ValueError: sides or overlap that break these rules.
    """
    if min(height, width, overlap, unit) < 1 or any(side % unit or 3 * overlap + unit > side for side in tile) or overlap % unit:
        rule = "tile and overlap must be multiples of the unit, and three overlaps and a unit fit into a tile"
        raise ValueError(f"{rule}, but got an image of {width} x {height}, tile {tile}, overlap {overlap}, unit {unit}.")
    tops, lefts = (_starts(length, side, overlap, unit) for length, side in zip((height, width), tile, strict=True))
    return Grid(tops, lefts, tile, overlap)


def _starts(length: int, tile: int, overlap: int, unit: int) -> tuple[int, ...]:
    """First pixels of the tiles along one axis."""
    free = -(-max(length, tile) // unit) - tile // unit
    steps = -(-free // ((tile - overlap) // unit))
    return tuple(free * index // steps * unit for index in range(steps + 1)) if steps else (0,)


@dataclass(frozen=True)
class _Axis:
    """One axis of the grid of logits.

    Attributes:
        length: points.
        start: first point of each tile.
        fade: (begin, end) where each tile but the last fades into the next.
    """

    length: int
    start: tuple[int, ...]
    fade: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, starts: tuple[int, ...], tile: int, half: int, factor: int) -> _Axis:
        start = tuple(edge // factor for edge in starts)
        side = tile // factor
        middles = [(first + side + second) // 2 for first, second in zip(start, start[1:], strict=False)]
        return cls(start[-1] + side, start, tuple((middle - half, middle + half) for middle in middles))

    def used(self, index: int) -> tuple[int, int]:
        """The points at which a tile has any weight."""
        return self.fade[index - 1][0] if index else 0, self._last(index, 1)

    def _last(self, index: int, side: int) -> int:
        return self.fade[index][side] if index < len(self.fade) else self.length

    def complete(self, index: int) -> int:
        """The points before this one get nothing from the tiles after this one."""
        return self._last(index, 0)

    def final(self, index: int) -> int:
        """The points before this one leave with this tile: each has its neighbour after it, for interpolation."""
        return 0 if index < 0 else self.length if index == len(self.fade) else self.fade[index][0] - 1

    def kept(self, index: int) -> int:
        """The first point that is kept for the tiles after this one: the neighbour before those that have not left."""
        return max(0, self.final(index) - 1)

    def weights(self, index: int) -> Tensor:
        """float32: weight of a tile at each point where it has any; those of all tiles at a point sum to 1."""
        begin, end = self.used(index)
        weights = torch.ones(end - begin)
        for place, rising in ((index - 1, True), (index, False)):
            if 0 <= place < len(self.fade):
                first, last = self.fade[place]
                along = (torch.arange(last - first) + 0.5) / max(1, last - first)
                smooth = along * along * (3 - 2 * along)
                weights[first - begin : last - begin] *= smooth if rising else 1 - smooth
        return weights


@dataclass(frozen=True)
class Block:
    """Blended logits that no later tile changes.

    Attributes:
        rows: (first, past the last) of the grid of logits of the whole image, that leave with this block.
        columns: likewise.
        logits: float32 (C, h, w): those, and one point more on each side that lies inside the grid.
        context: (above, left): how many points the logits begin before them, 0 or 1.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    logits: Tensor
    context: tuple[int, int]

    @property
    def inner(self) -> Tensor:
        """Logits (C, rows, columns) without the points around them."""
        above, left = self.context
        tall, wide = self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]
        return self.logits[:, above : above + tall, left : left + wide]


class Blender:
    """Blends the logits of tiles that come row by row.

    It holds one tile, and of the row of tiles above only the strip that fades: classes x (overlap / 2) x width floats.

    Args:
        grid: of the tiles.
        factor: pixels per point of the logits along each axis; divides the unit of the grid.
        margin: pixels at a tile's inner border that get no weight, at most half of the overlap.
        first: row of tiles that comes first; what leaves lacks those above it.
        zeros: makes the strip, as ``torch.zeros`` does.
    """

    def __init__(self, grid: Grid, factor: int, margin: int, first: int = 0, zeros: Callable[..., Tensor] = torch.zeros) -> None:
        half = max(0, grid.overlap // 2 - margin) // factor
        self._rows, self._columns = (_Axis.of(starts, side, half, factor) for starts, side in zip((grid.tops, grid.lefts), grid.tile, strict=True))
        self._left = self._above = torch.empty(0)
        self._first, self._next, self._zeros = first, (first, 0), zeros
        self._device: torch.device | None = None

    def add(self, window: Window, logits: Tensor) -> Block:
        """The next tile of the grid, in the grid's order.

        Args:
            window: the tile.
            logits: floating (C, h, w) of the tile's pixels divided by the factor; what is blended stays on the device of the
                first tile's.

        Returns:
            What leaves; its rows or columns may be empty.
        """
        assert (window.row, window.column) == self._next, "tiles come in the order of the grid"
        row, column = self._next
        last = column == len(self._columns.fade)
        self._device = device = self._device or logits.device
        self._next = (row + 1, 0) if last else (row, column + 1)
        rows, columns = self._rows, self._columns
        top, left, (above, bottom), (before, right) = rows.kept(row - 1), columns.kept(column - 1), rows.used(row), columns.used(column)
        sums = torch.zeros((logits.shape[0], bottom - top, right - left), device=device)
        seen = columns.used(column - 1)[1] if column else 0
        if column:
            sums[:, :, : seen - left] = self._left
        if row > self._first:
            sums[:, : self._above.shape[1], seen - left :] = self._above[:, :, seen:right]
        elif rows.fade and not column:
            self._above = self._zeros((logits.shape[0], bottom - rows.kept(row), columns.length), device=device)
        down, across = rows.start[row], columns.start[column]
        part = logits[:, above - down : bottom - down, before - across : right - across]
        weights = rows.weights(row)[:, None] * columns.weights(column)
        sums[:, above - top :, before - left :].addcmul_(part.to(device, torch.float32), weights.to(device))
        if row < len(rows.fade):
            # In place: the columns written were read above, and every strip is as high as the one before.
            ready = columns.complete(column)
            start = columns.complete(column - 1) if column else 0
            self._above[:, :, start:ready] = sums[:, rows.kept(row) - top :, start - left : ready - left]
        self._left = sums[:, :, columns.kept(column) - left :].clone() if not last else torch.empty(0)
        span = (rows.final(row - 1), rows.final(row)), (columns.final(column - 1), columns.final(column))
        (first, past), (start, stop) = span
        shown = sums[:, : min(past + 1, rows.length) - top, : min(stop + 1, columns.length) - left]
        return Block(*span, shown, (first - top, start - left))


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
    before = (left > 0 and x0 < left + REACH) or (top > 0 and y0 < top + REACH)
    return before or (right < width and x1 > right - REACH) or (bottom < height and y1 > bottom - REACH)


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
    best = max(group, key=lambda found: found.rank)
    if best.whole or len(group) == 1:
        return best.segment
    pieces = [found.segment for found in group]
    box = _around([piece.box for piece in pieces])
    mask = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=bool)
    for piece in pieces:
        np.logical_or(window := _part(mask, box, piece.box), piece.mask, out=window)
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

"""Segments at the size of the upload from class queries, identical to transformers' own post-processing but without its Q x H x W floats.

A class query is one set of class logits and one mask at a low size (Cheng et al. 2021, arXiv 2107.06278). transformers resizes all
masks to the upload, multiplies them with their scores and takes the largest per pixel. Sigmoids come before that resize in most
families, so within a cell of the low grid every value is a convex combination of the cell's four corners: where one query is the
largest at all four by more than rounding can undo, it has the cell; elsewhere only those are evaluated that can still win. How many
pixels a mask has above its threshold is counted by cells as well. What is evaluated has the very bits of ``F.interpolate``
(:mod:`seg_demo.masks.resize`).

The families' orders of operations are those of ``transformers/models/*/image_processing_*.py``, version 5.23.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from seg_demo.core import BadCheckpointError, count_ids
from seg_demo.masks import semantic
from seg_demo.masks.resize import (
    CORNER_BUDGET,
    SMALL_OUTPUT,
    SMALLEST,
    Cells,
    Rule,
    alike,
    alone,
    axis,
    below_of,
    corners_of,
    each,
    enlarged_bytes,
    fill_cells,
    find_antialiased_rule,
    find_rule,
    largest,
    least,
    right_of,
    rows_of,
)
from seg_demo.masks.semantic import DENSE_ELEMENTS, ROUNDING, all_finite

# Where corners leave more than this share of all values to evaluate, a query at a time is faster.
WORTH = 0.35
MAX_SEGMENTS = 65_534


@dataclass(frozen=True)
class Order:
    """In which order a family's masks become values per pixel of the upload.

    Attributes:
        grid: (height, width) that mask logits are resized to first, or None.
        crop: (height, width) of the grid's part that shows the upload, the rest being padding; None for all of it.
        late: the sigmoid is taken after the resize to the upload.
        logits: no sigmoid is taken at all.
        antialias: that resize is torchvision's, with antialiasing.
        cut: a segment keeps only pixels whose probability, without the score, reaches the mask threshold; otherwise every pixel
            belongs to the query that wins it, and the probability times the score decides which pixels are counted.
    """

    grid: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    late: bool = False
    logits: bool = False
    antialias: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Thresholds:
    """What decides which segments there are; the defaults are those of transformers but for EoMT's score, which is 0.8.

    Attributes:
        score: of a query's best class in [0, 1], above which it counts.
        mask: probability in [0, 1] from which a pixel is in a mask.
        overlap: share of its mask in [0, 1] that a query must win, or it is dropped.
    """

    score: float = 0.5
    mask: float = 0.5
    overlap: float = 0.8


@dataclass(frozen=True)
class Found:
    """Segments that do not overlap.

    Attributes:
        id_map: (H, W), uint8 or uint16, 1 + index of the segment, 0 for none.
        label_ids: of every segment.
        scores: of every segment, in [0, 1], rounded to six digits as transformers does; the best of the parts of a fused one.
        confidence: uint8 (H, W), or None: 255 times the probability that the id map is right at a pixel. A query has a pixel with the
            probability score * mask. Where a segment stands, that of the query that won the pixel is taken; elsewhere 1 less that.
    """

    id_map: np.ndarray
    label_ids: tuple[int, ...]
    scores: tuple[float, ...]
    confidence: np.ndarray | None = None


def without_overlaps(
    classes: Tensor,
    masks: Tensor,
    height: int,
    width: int,
    order: Order,
    thresholds: Thresholds,
    fused: frozenset[int] = frozenset(),
    confidence: bool = False,
) -> Found:
    """What ``post_process_panoptic_segmentation(..., target_sizes=[(height, width)])`` finds for one image.

    Each segment is numbered once: transformers gives several things one id after it has fused a class.

    Args:
        classes: float32 (Q, C + 1), class logits, the last class being none.
        masks: float32 (Q, h, w), mask logits, on the same device.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        order: of the family.
        thresholds: which segments there are.
        fused: label ids whose queries make one segment together.
        confidence: also how sure the network is of every pixel.

    Raises:
        BadCheckpointError: logits that are no finite numbers.
    """
    check(classes, masks)
    scores, label_ids = classes.softmax(-1).max(-1)
    kept = label_ids.ne(classes.shape[-1] - 1) & (scores > thresholds.score)
    chosen = kept.nonzero()[:, 0], scores[kept], label_ids[kept]
    return _segments(masks, *chosen, (height, width), order, thresholds, fused, confidence)


def best_pairs_without_overlaps(
    classes: Tensor, masks: Tensor, height: int, width: int, order: Order, thresholds: Thresholds
) -> Found:
    """What OneFormer's ``post_process_instance_segmentation`` finds: as :func:`without_overlaps`, of the Q best pairs of a query and a
    class, so that a query may stand for several classes.

    Args:
        classes: float32 (Q, C + 1), class logits, the last class being none.
        masks: float32 (Q, h, w), mask logits, on the same device.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        order: of the family.
        thresholds: which segments there are.

    Raises:
        BadCheckpointError: logits that are no finite numbers.
    """
    check(classes, masks)
    scores, queries, label_ids = best_pairs(classes)
    kept = scores > thresholds.score
    return _segments(masks, queries[kept], scores[kept], label_ids[kept], (height, width), order, thresholds, frozenset())


def class_maps(classes: Tensor, masks: Tensor, order: Order, none: bool = True) -> Tensor:
    """What ``post_process_semantic_segmentation`` resizes to the upload and compares: float32 (C, h, w), not negative.

    Args:
        classes: float32 (Q, C + 1), class logits, the last class being none; or (B, Q, C + 1), for as many results.
        masks: float32 (Q, h, w), mask logits, on the same device; or (B, Q, h, w).
        order: of the family.
        none: False where the last class is one as any other, so that there are C.

    Raises:
        BadCheckpointError: logits that are no finite numbers.
    """
    check(classes, masks)
    if masks.ndim == 3:
        return class_maps(classes[None], masks[None], order, none)[0]
    flat = masks.flatten(0, 1)
    probabilities = on_grid(flat, torch.arange(len(flat), device=masks.device), order).sigmoid_()
    shares = classes.softmax(-1)[..., :-1] if none else classes.softmax(-1)
    return torch.einsum("bqc, bqhw -> bchw", shares, probabilities.unflatten(0, masks.shape[:2]))


def of_two(maps: Tensor) -> Tensor:
    """Class maps (C, h, w), a single one with another of zeros: as the only channel of logits it would be a decision between two classes."""
    return torch.cat([maps, torch.zeros_like(maps)]) if len(maps) == 1 else maps


def logarithms(maps: Tensor) -> Tensor:
    """Class maps as logits, in place: a class's share in the sum of all is what a softmax of these gives."""
    return maps.clamp_(min=torch.finfo(torch.float32).tiny).log_()


def check(classes: Tensor, masks: Tensor) -> None:
    if not (all_finite(classes) and all_finite(masks)):
        raise BadCheckpointError("networks.not_finite")


def best_pairs(classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, queries and label ids of the Q best pairs, each (Q,), in transformers' order, which is not sorted."""
    chances = classes.softmax(-1)[:, :-1]
    queries, count = chances.shape
    scores, places = chances.flatten().topk(queries, sorted=False)
    return scores, places // count, places % count


def on_grid(masks: Tensor, queries: Tensor, order: Order) -> Tensor:
    """Logits of some queries on the family's grid, a copy: float32 (K, h, w).

    ``F.interpolate`` takes another kernel for three maps, and for few pixels one that depends on all maps.
    """
    masks = masks.contiguous()
    if order.grid is None:
        return masks[queries]
    count = len(queries)
    if len(masks) <= 4 or sum(order.grid) <= SMALL_OUTPUT:
        chosen = F.interpolate(masks[None], order.grid, mode="bilinear", align_corners=False)[0][queries]
    else:
        several = torch.cat([queries, queries[:1]]) if count == 3 else queries
        chosen = F.interpolate(masks[several][None], order.grid, mode="bilinear", align_corners=False)[0][:count]
    if order.crop is not None:
        chosen = chosen[:, : order.crop[0], : order.crop[1]]
    return chosen.contiguous()


def _segments(
    masks: Tensor,
    queries: Tensor,
    scores: Tensor,
    label_ids: Tensor,
    size: tuple[int, int],
    order: Order,
    thresholds: Thresholds,
    fused: frozenset[int],
    confidence: bool = False,
) -> Found:
    """The segments of some queries, in their order.

    Args:
        masks: float32 (Q, h, w), mask logits.
        queries: int64 (K,), which of them, perhaps one several times.
        scores: float32 (K,).
        label_ids: int64 (K,).
        size: (height, width) of the upload.
        order: of the family.
        thresholds: which segments there are.
        fused: label ids whose queries make one segment together.
        confidence: also how sure the network is of every pixel.
    """
    if not len(queries):
        return Found(np.zeros(size, np.uint8), (), (), np.full(size, 255, np.uint8) if confidence else None)
    values = on_grid(masks, queries, order)
    if not (order.late or order.logits):
        values.sigmoid_()
    pixels = _Pixels(values, scores, order, thresholds.mask, confidence)
    if order.late:
        # There all masks are resized, and the best chosen afterwards.
        pixels.together = len(masks)
        if sum(size) <= SMALL_OUTPUT:
            pixels.whole = on_grid(masks, torch.arange(len(masks), device=masks.device), order), queries
    won_map, won, counted, painted = pixels.decide(size)
    numbers = np.zeros(len(queries) + 1, np.uint16)
    found: list[tuple[int, float]] = []
    places: dict[int, int] = {}
    for index, (label_id, score) in enumerate(zip(label_ids.tolist(), scores.tolist(), strict=True)):
        if not (won[index] > 0 and counted[index] > 0 and painted[index] > 0):
            continue
        # In float32, in which 4 / 5 is above 0.8.
        if not (torch.tensor(won[index]) / torch.tensor(counted[index])).item() > thresholds.overlap:
            continue
        score = round(score, 6)
        if label_id in places:
            place = places[label_id]
            found[place] = label_id, max(score, found[place][1])
        else:
            place = len(found)
            found.append((label_id, score))
            if label_id in fused:
                places[label_id] = place
        numbers[index] = place + 1
    if len(found) > MAX_SEGMENTS:
        raise BadCheckpointError("networks.too_many_segments", count=len(found), most=MAX_SEGMENTS)
    # The last number is of pixels that nobody keeps.
    numbers = numbers.astype(np.uint8 if len(found) <= 255 else np.uint16)
    id_map, sure = numbers[won_map], pixels.evidence
    if sure is not None:
        np.subtract(255, sure, out=sure, where=id_map == 0)
    return Found(id_map, tuple(label_id for label_id, _ in found), tuple(score for _, score in found), sure)


Decided = tuple[np.ndarray, list[int], list[int], list[int]]


class _Pixels:
    """Which query wins every pixel of the upload.

    Args:
        values: float32 (K, h, w) on the grid: probabilities, or logits where the sigmoid comes late or not at all.
        scores: float32 (K,), not negative.
        order: of the family.
        threshold: of masks.
        confidence: whether ``evidence`` is made.

    Attributes:
        evidence: uint8 (H, W), 255 times the score and the mask's probability of the query that wins a pixel, once that is decided.
        together: how many maps the library resizes at once: there are kernels for three, and for few pixels.
        whole: these maps and which of them ``values`` are, where that matters; else None.
    """

    def __init__(self, values: Tensor, scores: Tensor, order: Order, threshold: float, confidence: bool = False) -> None:
        self.values, self.scores, self.order, self.threshold = values, scores, order, threshold
        self.confidence, self.evidence = confidence, None
        self.kind = torch.uint8 if len(values) < 255 else torch.int32
        self.together = len(values)
        self.whole: tuple[Tensor, Tensor] | None = None

    def decide(self, size: tuple[int, int]) -> Decided:
        """The winners.

        Args:
            size: (height, width) of the upload.

        Returns:
            (height, width), the index of the query that wins a pixel, K where it does not keep it; and for every query
            how many pixels it wins, how many reach the mask threshold (counted where it wins any), and how many it keeps.
        """
        height, width = size
        few = len(self.values) * height * width <= DENSE_ELEMENTS or height + width <= SMALL_OUTPUT
        if self.whole is not None:
            return self._by_queries(size, len(self.values))
        if few and (self.together == 3) == (len(self.values) == 3):
            return self._by_queries(size, len(self.values))
        if self.values.device.type == "cpu":
            source = self.values.shape[1], self.values.shape[2]
            rule = find_antialiased_rule(source, size) if self.order.antialias else find_rule(source, size, self.together, False)
            if rule is not None:
                decided = alone(self._by_corners, rule)
                if decided is None and rule.add is not None:
                    decided = self._by_strips(rule)
                if decided is not None:
                    return decided
        # Another kernel is taken for three maps.
        return self._by_queries(size, 3 if self.together == 3 == len(self.values) else 1)

    def resized(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Values (K, h, w) at the size of the upload, as the family resizes them."""
        if self.whole is not None:
            maps, chosen = self.whole
            return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0][chosen]
        if self.order.antialias:
            return transforms.resize(values[None], list(size), interpolation=transforms.InterpolationMode.BILINEAR)[0]
        return F.interpolate(values[None], size, mode="bilinear", align_corners=False)[0]

    def weighted(self, values: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """What is compared between queries, and what is compared with the mask threshold.

        Args:
            values: float32, resized.
            scores: float32, which broadcast over them.
        """
        likely = values.sigmoid() if self.order.late else values
        compared = likely * scores
        return compared, likely if self.order.cut else compared

    def _by_queries(self, size: tuple[int, int], step: int) -> Decided:
        """Resize some queries at a time and keep the best so far."""
        best = winner = sure = None
        counted = []
        for start in range(0, len(self.values), step):
            part = slice(start, start + step)
            compared, reached = self.weighted(self.resized(self.values[part], size), self.scores[part, None, None])
            reached = reached >= self.threshold
            counted += [int(count) for count in reached.flatten(1).sum(1)]
            value, place = (compared[0], None) if len(compared) == 1 else compared.max(0)
            if self.order.cut:
                reached = reached[0] if place is None else reached.gather(0, place[None])[0]
            if best is None:
                best = value
                winner = torch.zeros(size, dtype=self.kind, device=value.device) if place is None else place.to(self.kind)
                sure = reached
                continue
            better = value > best
            torch.maximum(best, value, out=best)
            if place is None:
                winner.masked_fill_(better, start)
            else:
                winner = torch.where(better, place.to(self.kind) + start, winner)
            if self.order.cut:
                sure = torch.where(better, reached, sure)
        return self._result(winner, counted, None if not self.order.cut else ~sure)

    def _by_strips(self, rule: Rule) -> Decided:
        """As :meth:`_by_queries` of the same rule, some rows at a time, which a processor's cache holds, by several threads."""
        height, width = len(rule.rows.first), len(rule.columns.first)
        winner, lost = np.empty((height, width), np.uint8 if len(self.values) < 255 else np.int32), None
        if self.order.cut:
            lost = np.empty((height, width), bool)

        def decide(top: int) -> Tensor:
            rows = slice(top, top + step)
            won, sure, counted = self._strip(rule, top, min(top + step, height))
            winner[rows] = won.numpy()
            if lost is not None:
                lost[rows] = ~sure.numpy()
            return counted

        step = max(1, CORNER_BUDGET // (4 * width))
        counted = torch.stack(each(decide, range(0, height, step))).sum(0).tolist()
        return self._result(torch.from_numpy(winner), counted, None if lost is None else torch.from_numpy(lost))

    def _strip(self, rule: Rule, top: int, bottom: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of some rows the winners (R, W), whether they reach the mask threshold (R, W), and int64 (K,), how many pixels do."""
        (rows, low, high), columns, add = rows_of(rule.rows, top, bottom), rule.columns, rule.add
        best = winner = sure = None
        counted = torch.zeros(len(self.values), dtype=torch.int64)
        for index, value in enumerate(self.values[:, low:high]):
            across = add(value.index_select(1, columns.first), columns.near, value.index_select(1, columns.second), columns.far)
            upper, lower = across.index_select(0, rows.first), across.index_select(0, rows.second)
            compared, reached = self.weighted(add(upper, rows.near[:, None], lower, rows.far[:, None]), self.scores[index])
            reached = reached >= self.threshold
            counted[index] = torch.count_nonzero(reached)
            if best is None:
                best, winner, sure = compared.clone(), torch.zeros(compared.shape, dtype=self.kind), reached
                continue
            better = compared > best
            torch.maximum(best, compared, out=best)
            winner.masked_fill_(better, index)
            if self.order.cut:
                sure = torch.where(better, reached, sure)
        return winner, sure, counted

    def _result(self, winner: Tensor, counted: list[int], lost: Tensor | None) -> Decided:
        """The answer from the winners (H, W), the pixels counted, and which pixels (H, W) their winners do not keep."""
        count = len(self.values)
        won = count_ids(_ids(winner), count + 1)[:count].tolist()
        painted = won
        if self.confidence:
            likely = lambda value: value.sigmoid() if self.order.late or self.order.logits else value  # noqa: E731
            self.evidence = enlarged_bytes(self.values, tuple(winner.shape), lambda value, query: likely(value) * self.scores[query], winner)
        if lost is not None:
            winner.masked_fill_(lost, count)
            painted = count_ids(_ids(winner), count + 1)[:count].tolist()
        return _ids(winner), won, counted, painted

    def _by_corners(self, rule: Rule) -> Decided | None:
        """As :meth:`_by_queries`, by cells; None where that is not worth it."""
        values, scores = self.values, self.scores
        count, height, width = values.shape
        cells = Cells(rule, height, width)
        best = torch.full((height, width), -torch.inf)
        second, floor, label = best.clone(), best.clone(), torch.zeros((height, width), dtype=torch.int32)
        size = torch.zeros((height, width))
        signed = self.order.late or self.order.logits
        for index in range(count):
            value = values[index]
            compared, _ = self.weighted(value, scores[index])
            torch.maximum(floor, least(compared), out=floor)
            torch.maximum(second, torch.minimum(best, compared), out=second)
            label.masked_fill_(compared > best, index)
            torch.maximum(best, compared, out=best)
            if signed:
                torch.maximum(size, value.abs(), out=size)
        tolerance = self._tolerance(best, size if signed else None)
        whole = alike(label)
        # With a late sigmoid nothing is convex: a cell is decided by the bounds of its values alone.
        clear = (best - second > tolerance) & (not self.order.late)
        decided = clear & right_of(clear) & below_of(clear) & below_of(right_of(clear)) & whole
        tolerance = largest(tolerance)
        floor -= tolerance
        undecided = (~decided & cells.seen).flatten().nonzero()[:, 0]
        places = torch.where(decided, label, 0)
        worth = WORTH * count * cells.pixels.sum()
        pairs = 0
        evaluated = []
        for part in undecided.split(max(1, CORNER_BUDGET // count)):
            y, x = part // width, part % width
            highest, _ = self.weighted(_largest_at(values, y, x), scores[:, None])
            can_win = highest >= floor[y, x]
            chances = can_win.sum(0)
            pairs += int((chances * cells.pixels[y, x]).sum())
            if pairs > worth:
                return None
            alone_there = chances == 1
            places[y[alone_there], x[alone_there]] = can_win[:, alone_there].long().argmax(0).to(places.dtype)
            evaluated.append((part[~alone_there], can_win[:, ~alone_there]))
        winner = places.to(self.kind)[rule.rows.first][:, rule.columns.first]
        pixels = values.flatten(1).T
        for part, can_win in evaluated:
            if len(part):
                corners = corners_of(pixels, height, part)
                weigh = lambda resized, chosen: self.weighted(resized, scores[chosen][:, :, None, None])[0]  # noqa: E731
                fill_cells(corners, can_win.T, part // width, part % width, rule, cells.rows, cells.columns, winner, weigh)
        return self._counted(rule, cells, floor, winner)

    def _tolerance(self, best: Tensor, size: Tensor | None) -> Tensor:
        """What rounding can do to the difference of two compared values, per grid point."""
        if size is None:
            return best * ROUNDING + SMALLEST
        if self.order.late:
            return best * ROUNDING * (1 + size) + SMALLEST
        return size * ROUNDING + SMALLEST

    def _counted(self, rule: Rule, cells: Cells, floor: Tensor, winner: Tensor) -> Decided:
        """Count the pixels that reach the mask threshold, of queries that win any."""
        values, scores, count = self.values, self.scores, len(self.values)
        won = count_ids(_ids(winner), count + 1)[:count].tolist()
        lost = torch.zeros(winner.shape, dtype=torch.bool) if self.order.cut else None
        counted = [0] * count
        for index in range(count):
            if not won[index]:
                continue
            value = values[index]
            highest, lowest = largest(value), least(value)
            beyond = ROUNDING * (1 + torch.maximum(highest.abs(), lowest.abs()))
            (could_win, high), (_, low) = (self.weighted(bound, scores[index]) for bound in (highest, lowest))
            above = low - beyond >= self.threshold
            counted[index] = int(cells.pixels[above].sum())
            between = ~above & (high + beyond >= self.threshold)
            if self.order.cut:
                between |= ~above & (could_win + beyond >= floor)
            for y, x in cells.groups(between & cells.seen):
                resized, r, c, valid = cells.evaluate(value, y, x, rule)
                reached = self.weighted(resized, scores[index])[1] >= self.threshold
                counted[index] += int((reached & valid).sum())
                if lost is not None:
                    rows, columns = r[:, :, None].expand_as(reached), c[:, None, :].expand_as(reached)
                    gone = ~reached & valid & (winner[rows, columns] == index)
                    lost[rows[gone], columns[gone]] = True
        return self._result(winner, counted, lost)


def _ids(winner: Tensor) -> np.ndarray:
    found = winner.cpu().numpy()
    return found if found.dtype == np.uint8 else found.astype(np.uint16)


def _largest_at(values: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The largest of the four corners of some cells, of every query: (K, n)."""
    below, right = (y + 1).clamp(max=values.shape[1] - 1), (x + 1).clamp(max=values.shape[2] - 1)
    found = values[:, y, x]
    for i, j in ((y, right), (below, x), (below, right)):
        torch.maximum(found, values[:, i, j], out=found)
    return found


@dataclass(frozen=True)
class Squares:
    """What class queries say of a picture in squares (EoMT), whose class maps are averaged where they overlap.

    The library has every probability at every point of all squares, and their products with all classes: 8 GB with 100 queries and 133
    classes. Between points where the network has its masks, probabilities lie between the smallest and the largest at the four corners, and so
    do the sums that classes are: where one class's smallest sum is above all others' largest, it has the cell. What is left is
    evaluated point by point, with the library's bits.

    Attributes:
        classes: float32 (B, Q, C + 1), class logits, the last class being none.
        masks: float32 (B, Q, h, w), mask logits, on the same device.
        side: (height, width) of a square's class maps.
        size: (height, width) of the picture's.
        offsets: of every square where it begins and ends along the picture's longer side.
        upright: whether that is the height.
    """

    classes: Tensor
    masks: Tensor
    side: tuple[int, int]
    size: tuple[int, int]
    offsets: tuple[tuple[int, int], ...]
    upright: bool

    @property
    def parts(self) -> tuple[tuple[slice, slice], ...]:
        """Where the squares are in the picture."""
        whole, along = slice(None), [slice(begin, end) for begin, end in self.offsets]
        return tuple((one, whole) if self.upright else (whole, one) for one in along)

    def maps(self) -> Tensor:
        """The picture's class maps: float32 (C, h, w), not negative.

        Raises:
            BadCheckpointError: logits that are no finite numbers.
        """
        squares = class_maps(self.classes, self.masks, Order(grid=self.side))
        total, count = squares.new_zeros((squares.shape[1], *self.size)), squares.new_zeros(self.size)
        for where, square in zip(self.parts, squares, strict=True):
            total[:, *where] += square
            count[where] += 1
        return total.div_(count.clamp_(min=1))

    def labels(self, height: int, width: int) -> np.ndarray:
        """As :func:`seg_demo.masks.semantic.argmax_resized` of :meth:`maps`.

        Args:
            height: of the label map, in pixels.
            width: of the label map, in pixels.

        Raises:
            BadCheckpointError: logits that are no finite numbers.
        """
        check(self.classes, self.masks)
        (_, queries, classes), around = self.classes.shape, self.masks.shape[2:]
        large = classes > 3 and min(sum(self.side), height + width) > SMALL_OUTPUT and classes * height * width > DENSE_ELEMENTS
        if large and queries != 3 and self.masks.device.type == "cpu" and self.size != (height, width) and semantic.products_alike(queries, classes - 1):
            inner = find_rule(tuple(around), self.side, queries, False)
            outer = find_rule(self.size, (height, width), classes - 1, False)
            if inner is not None and outer is not None:
                shares = self.classes.softmax(-1)[..., :-1].contiguous()
                return semantic.SquaresOfQueries(shares, self.masks, self.size, self.parts, inner).labels(outer)
        return semantic.argmax_resized(of_two(self.maps()), height, width)

    def scores(self) -> dict[int, float]:
        """How sure the network is of every class, in [0, 1] by label id, at the points where it has its masks."""
        scores = semantic.MeanScores()
        for classes, masks in zip(self.classes, self.masks, strict=True):
            scores.add(logarithms(of_two(class_maps(classes, masks, Order()))))
        return scores.of(range(self.classes.shape[-1] - 1))

    def probability_and_margin(self, height: int, width: int) -> np.ndarray:
        """As :func:`seg_demo.masks.semantic.probability_and_margin` of the logarithms of :meth:`maps`: uint8 (2, height, width).

        Args:
            height: of the maps, in pixels.
            width: of the maps, in pixels.
        """
        if self.masks.device.type != "cpu":
            return semantic.probability_and_margin(logarithms(of_two(self.maps())), height, width)
        classes = max(2, self.classes.shape[-1] - 1)
        return semantic.probability_and_margin_by_rows(self._rows, (classes, *self.size), height, width)

    def _rows(self, low: int, high: int) -> Tensor:
        """Logarithms of some rows of :meth:`maps`, to rounding: float32 (C, R, w)."""
        shares = self.classes.softmax(-1)[..., :-1]
        rows, columns = (axis(before, after, fused=False) for before, after in zip(self.masks.shape[2:], self.side, strict=True))
        left, right, horizontal = semantic.weights_of(columns, 0, self.side[1])
        total, count = torch.zeros((shares.shape[-1], high - low, self.size[1])), torch.zeros((high - low, self.size[1]))
        for index, (begin, end) in enumerate(self.offsets):
            first = begin if self.upright else 0
            top, bottom = max(low, first), min(high, first + self.side[0])
            if top >= bottom:
                continue
            above, below, vertical = semantic.weights_of(rows, top - first, bottom - first)
            likely = torch.matmul(torch.matmul(vertical, self.masks[index, :, above:below, left:right]), horizontal.T).sigmoid_()
            where = slice(top - low, bottom - low), slice(None) if self.upright else slice(begin, end)
            total[:, *where] += (shares[index].T @ likely.flatten(1)).unflatten(1, likely.shape[1:])
            count[where] += 1
        return logarithms(of_two(total.div_(count.clamp_(min=1))))

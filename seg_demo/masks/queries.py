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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import count_ids
from seg_demo.masks import semantic
from seg_demo.masks.resize import SMALL_OUTPUT, SMALLEST, Rule, alone, each, enlarged_bytes, find_antialiased_rule, find_rule, rows_of
from seg_demo.masks.semantic import CORNER_BUDGET, DENSE_ELEMENTS, ROUNDING, Spans, all_finite, below_of, right_of

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


def presence(scores: Tensor, masks: Tensor, height: int, width: int, order: Order) -> np.ndarray:
    """How likely a pixel belongs to any object: the largest score * mask of all queries where the network has its masks, and between
    these points in proportion. uint8 (H, W), 255 times a probability.

    Args:
        scores: float32 (Q,), of the best class of every query.
        masks: float32 (Q, h, w), mask logits, on the same device.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        order: of the family.
    """
    most = torch.zeros(masks.shape[1:], device=masks.device)
    for score, mask in zip(scores, masks, strict=True):
        torch.maximum(most, mask.sigmoid() * score, out=most)
    first = torch.zeros(1, dtype=torch.int64, device=masks.device)
    return enlarged_bytes(on_grid(most[None], first, order), (height, width), lambda value, _: value)


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
        alike = _all_four(label)
        # With a late sigmoid nothing is convex: a cell is decided by the bounds of its values alone.
        clear = (best - second > tolerance) & (not self.order.late)
        decided = clear & right_of(clear) & below_of(clear) & below_of(right_of(clear)) & alike
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
                corners = semantic.corners_of(pixels, height, part)
                weigh = lambda resized, chosen: self.weighted(resized, scores[chosen][:, :, None, None])[0]  # noqa: E731
                semantic.fill_cells(corners, can_win.T, part // width, part % width, rule, cells.rows, cells.columns, winner, weigh)
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


class Cells:
    """The output pixels of every cell of a grid.

    Args:
        rule: of the sizes.
        height: of the grid.
        width: of the grid.

    Attributes:
        rows: output rows of every row of cells.
        columns: output columns of every column of cells.
        pixels: int64 (h, w), how many.
        seen: bool (h, w), whether there is any.
    """

    def __init__(self, rule: Rule, height: int, width: int) -> None:
        self.rows, self.columns = Spans(rule.rows.first, height), Spans(rule.columns.first, width)
        self.pixels = self.rows.count[:, None] * self.columns.count
        self.seen = self.pixels > 0
        self.tall, self.wide = int(self.rows.count.max()), int(self.columns.count.max())

    def groups(self, chosen: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Rows and columns of the cells chosen (h, w), as many at a time as fit into a processor's cache."""
        y, x = chosen.nonzero(as_tuple=True)
        group = max(1, CORNER_BUDGET // (self.tall * self.wide))
        return list(zip(y.split(group), x.split(group), strict=True)) if len(y) else []

    def evaluate(self, values: Tensor, y: Tensor, x: Tensor, rule: Rule) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Resized values (h, w) in some cells.

        Returns:
            float32 (n, R, S); their rows (n, R) and columns (n, S) in the upload; and bool (n, R, S), whether a pixel is the
            cell's, which repeats its last ones where it has fewer than others.
        """
        r, c = self.rows.pixels(y, 0, self.tall), self.columns.pixels(x, 0, self.wide)
        below, right = (y + 1).clamp(max=values.shape[0] - 1), (x + 1).clamp(max=values.shape[1] - 1)
        corners = tuple(values[i, j][:, None, None] for i, j in ((y, x), (y, right), (below, x), (below, right)))
        down, across = (rule.rows.near[r], rule.rows.far[r]), (rule.columns.near[c], rule.columns.far[c])
        weights = (*(weight[:, :, None] for weight in down), *(weight[:, None, :] for weight in across))
        valid_rows = torch.arange(self.tall) < self.rows.count[y][:, None]
        valid_columns = torch.arange(self.wide) < self.columns.count[x][:, None]
        return rule.combine(corners, weights), r, c, valid_rows[:, :, None] & valid_columns[:, None, :]


def _ids(winner: Tensor) -> np.ndarray:
    found = winner.cpu().numpy()
    return found if found.dtype == np.uint8 else found.astype(np.uint16)


def _of_four(choose: Callable[[Tensor, Tensor], Tensor], values: Tensor) -> Tensor:
    """A choice among the four corners of every cell of (h, w); at the ends a cell's outer corners are its inner ones."""
    across = choose(values, right_of(values))
    return choose(across, below_of(across))


def least(values: Tensor) -> Tensor:
    return _of_four(torch.minimum, values)


def largest(values: Tensor) -> Tensor:
    return _of_four(torch.maximum, values)


def _all_four(label: Tensor) -> Tensor:
    """Whether all corners of a cell have the same label."""
    return least(label) == largest(label)


def _largest_at(values: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The largest of the four corners of some cells, of every query: (K, n)."""
    below, right = (y + 1).clamp(max=values.shape[1] - 1), (x + 1).clamp(max=values.shape[2] - 1)
    found = values[:, y, x]
    for i, j in ((y, right), (below, x), (below, right)):
        torch.maximum(found, values[:, i, j], out=found)
    return found

"""Label maps at the size of the upload, identical to a dense resize and argmax but without its C x H x W floats.

The label map of resized logits from the corners of each cell of the logit grid.

Within a cell bilinear interpolation is a convex combination of the four corners. Where all four have the same largest
class by more than rounding can undo, the whole cell has it; elsewhere only those classes are evaluated that can still
win: the largest of their corners reaches the largest of all classes' smallest corners.

How sure a network is of every pixel: the softmax probability of the class that wins, and its margin over the runner-up,
without their C x H x W floats.

It is computed in blocks of output pixels. Three properties of bilinear interpolation keep it cheap (logits are linear
within a cell of the logit grid, so differences between classes are too):

- where the same class has a probability of 1 at all four corners of a cell, so nearly that its margin is 1 too when rounded to
  8 bits, it has that within: the sum of exp(-difference) is convex. Those cells, most of a trained network's, are filled.
- elsewhere only the classes are evaluated that can change the eighth bit anywhere in the block.
- subtracting the best logit at every grid point changes no probability, and keeps float32 accurate for large logits.

Tensors between ordinary memory and a GPU, through page-locked memory, which the GPU reads and writes by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg_demo.core import BadCheckpointError, LabelSet, Segmentation, mean_scores, semantic_segmentation
from seg_demo.masks.resize import (
    CORNER_BUDGET,
    SMALL_OUTPUT,
    Axis,
    Rule,
    Spans,
    alike,
    alone,
    axis,
    below_of,
    corners_of,
    each,
    fill_cells,
    find_antialiased_rule,
    find_rule,
    is_channels_last,
    largest,
    least,
    right_of,
    rows_of,
)

# Up to this many floats (32 MiB) the dense way is the fastest.
DENSE_ELEMENTS = 8_000_000
# Of rows, at least: each thread gets several, for one may have more edges than another.
BANDS = 8
# A multiple of every processor's vector: the kernel for channels-last and for small outputs rounds the classes that fill
# a vector otherwise than the remainder, so a class must keep its place.
CHUNK = 16


def argmax_resized(logits: Tensor, height: int, width: int, antialias: bool = False) -> np.ndarray:
    """Label of every pixel: ``F.interpolate(logits[None], (height, width), mode="bilinear").argmax(1)``, to the last bit.

    One class is a binary decision: a resized logit above 0 is label 1.

    Args:
        logits: floating (C, h, w), any device and memory layout; NaN wins, as in torch.
        height: of the label map, in pixels.
        width: of the label map, in pixels.
        antialias: as ``F.interpolate`` has it; logits of two classes or more, contiguous.

    Returns:
        (height, width), uint8 for up to 255 classes, else uint16.
    """
    logits = logits.detach().float()
    classes, *source = logits.shape
    if (height, width) == tuple(source) and all_finite(logits):
        return _largest(logits)  # a resize to the same size changes no finite number
    labels = None
    small = classes * height * width <= DENSE_ELEMENTS or height + width <= SMALL_OUTPUT
    if not small and logits.device.type == "cpu" and all_finite(logits):
        before, after = (source[0], source[1]), (height, width)
        rule = find_antialiased_rule(before, after) if antialias else find_rule(before, after, classes, is_channels_last(logits))
        if rule is not None:
            # Zeros stay zeros in a resize, and the first of equals wins.
            compared = torch.cat([torch.zeros_like(logits), logits]) if classes == 1 else logits
            return _labels_by_bands(compared, rule)
    if labels is None and classes == 1:
        labels = F.interpolate(logits[None], (height, width), mode="bilinear", align_corners=False)[0, 0] > 0
    elif labels is None:
        labels = _labels_by_classes(logits, height, width, antialias)
    return to_host(labels.to(_dtype(classes)))


def _labels_by_bands(logits: Tensor, rule: Rule) -> np.ndarray:
    """As :func:`labels_by_corners`, some rows of cells at a time, by several threads: (H, W), uint8 for up to 255 classes, else uint16."""
    classes, source, width = logits.shape
    step = max(1, min(source // BANDS, DENSE_ELEMENTS // (classes * width)))
    borders = torch.searchsorted(rule.rows.first, torch.arange(0, source + step, step)).tolist()
    labels = np.empty((len(rule.rows.first), len(rule.columns.first)), np.uint8 if classes <= 255 else np.uint16)

    def write(band: tuple[int, int]) -> None:
        rows, low, high = rows_of(rule.rows, *band)
        labels[slice(*band)] = labels_by_corners(logits[:, low:high], replace(rule, rows=rows)).numpy()

    each(write, [band for band in pairwise(borders) if band[0] < band[1]])
    return labels


def _dtype(classes: int) -> torch.dtype:
    return torch.uint8 if classes <= 255 else torch.uint16


def _largest(logits: Tensor) -> np.ndarray:
    """The label map of finite float32 logits (C, h, w) at their own size."""
    classes, height, width = logits.shape
    labels = torch.empty((height, width), dtype=_dtype(classes), device=logits.device)
    rows = max(1, DENSE_ELEMENTS // (classes * width))
    for part, target in zip(logits.split(rows, 1), labels.split(rows), strict=True):
        # max over a dimension is several times as fast as argmax.
        target.copy_(part[0] > 0 if classes == 1 else part.max(0).indices)
    return to_host(labels)


def all_finite(logits: Tensor) -> bool:
    """Whether every number is one. Their sum tells it, unless it overflows."""
    return bool(torch.isfinite(logits.sum())) or bool(torch.isfinite(logits).all())


def _labels_by_classes(logits: Tensor, height: int, width: int, antialias: bool = False) -> Tensor:
    """The same by resizing a few classes at a time and keeping the best so far.

    Args:
        logits: float32 (C, h, w).
        height: of the label map, in pixels.
        width: of the label map, in pixels.
        antialias: as ``F.interpolate`` has it.

    Returns:
        int64 or int32 (height, width).
    """
    classes, last = logits.shape[0], is_channels_last(logits)
    step = max(1, DENSE_ELEMENTS // (height * width))
    if aligned := last or height + width <= SMALL_OUTPUT:
        step = max(CHUNK, step // CHUNK * CHUNK)
    best = label = None
    start = 0
    while start < classes:
        stop = classes if classes <= 3 else start + _piece(classes - start, step, aligned)
        part = logits[None, start:stop]
        part = part.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        resized = F.interpolate(part, (height, width), mode="bilinear", align_corners=False, antialias=antialias)[0]
        value, place = resized.max(0)
        if best is None:
            best, label = value, place.to(torch.int32)
        else:
            better = (value > best) | (value.isnan() & ~best.isnan())
            best = torch.where(better, value, best)
            label = torch.where(better, place.to(torch.int32) + start, label)
        start = stop
    return label


def _piece(left: int, step: int, aligned: bool) -> int:
    """How many of the remaining of four classes or more to resize at once, so that F.interpolate takes the kernel that it
    takes for all of them.

    Args:
        left: classes that remain.
        step: how many fit.
        aligned: whether that is the kernel for channels-last, which takes four channels or more on a CPU and sixteen on a
            GPU; else it is the one that three channels do not get from a single thread.
    """
    if aligned:
        return left if left - step < CHUNK else step
    return 2 if min(step, left) == 3 else min(step, left)


class MeanScores:
    """Mean confidence of each class, measured on the grid of the logits, from one or more pieces of it."""

    def __init__(self) -> None:
        self._count = self._total = self._largest = torch.zeros(0, dtype=torch.float64)

    def add(self, logits: Tensor) -> None:
        """Count some grid points.

        Args:
            logits: floating (C, h, w), the same C each time; C of 1 is the logit of label 1.
        """
        logits = logits.detach().float()
        if logits.shape[0] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits])
        if not len(self._count):
            self._count = self._total = self._largest = torch.zeros(len(logits), dtype=torch.float64)
        if not logits.numel():
            return
        # A softmax, by steps that are fast in any memory layout.
        best, label = logits.max(0)
        parts = (logits - best).exp_()
        sure = parts.sum(0).reciprocal_()
        label, chances = label.flatten().cpu(), sure.flatten().double().cpu()
        count = torch.bincount(label, minlength=len(logits))
        self._count = self._count + count
        self._total = self._total + torch.bincount(label, chances, minlength=len(logits))
        if not bool(count.all()):
            self._largest = torch.maximum(self._largest, _peaks(parts.mul_(sure)).double().cpu())

    @property
    def parts(self) -> np.ndarray:
        """float64 (3, C): points, sum and largest probability of each class, which those of other pieces are put together with by
        :func:`seg_demo.core.types.mean_scores`."""
        return torch.stack([self._count.double(), self._total, self._largest]).numpy()

    def of(self, labels: Iterable[int]) -> dict[int, float]:
        """As :func:`seg_demo.core.types.mean_scores`, of some label ids."""
        means = mean_scores(self.parts)
        return {int(label): means[label] for label in labels}


def _peaks(values: Tensor) -> Tensor:
    """The largest of values (C, h, w) per channel."""
    if values.stride(0) != 1:
        return values.flatten(1).amax(1)
    # Over rows first, whose pixels and channels lie side by side.
    return values.permute(1, 2, 0).flatten(1).amax(0).view(-1, len(values)).amax(0)


def semantic_from_logits(
    logits: Tensor,
    labels: LabelSet,
    height: int,
    width: int,
    padded: tuple[int, int] | None = None,
    confidence: bool = False,
) -> Segmentation:
    """The semantic result of one image.

    Args:
        logits: floating (C, h, w); C is the number of labels, or 1 for two labels.
        labels: the classes.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        padded: (height, width) of what the logits show, if that is the upload and padding at its bottom and right.
        confidence: also the probability of every pixel's class and its margin.

    Raises:
        BadCheckpointError: NaN or infinite logits.
    """
    if not all_finite(logits):
        raise BadCheckpointError("networks.not_finite")
    padded = padded or (height, width)
    label_map = np.ascontiguousarray(argmax_resized(logits, *padded)[:height, :width])
    shown = logits[:, : ceil(logits.shape[1] * height / padded[0]), : ceil(logits.shape[2] * width / padded[1])]
    scores = MeanScores()
    scores.add(shown)
    sure = np.ascontiguousarray(probability_and_margin(logits, *padded)[:, :height, :width]) if confidence else (None, None)
    return semantic_segmentation(label_map, labels, scores.of(range(len(labels))), *sure)


# An interpolated value is off by at most a few units in the last place (6e-8) of the largest logit; this is ten times that.
ROUNDING = 2e-6
def labels_by_corners(logits: Tensor, rule: Rule) -> Tensor:
    """Argmax of the resized logits; the first class wins a tie.

    Args:
        logits: float32 (C, h, w) on the CPU, finite, C of 2 or more.
        rule: of the sizes.

    Returns:
        (H, W), uint8 for up to 255 classes, else int32.
    """
    classes, height, width = logits.shape
    pixels = logits.permute(1, 2, 0).reshape(height * width, classes)
    best, label = pixels.max(1)
    tolerance = float(torch.maximum(best.max(), -pixels.min())) * ROUNDING + torch.finfo(torch.float32).tiny
    clear = (best - _second_best(pixels, label) > tolerance).reshape(height, width)
    label = label.reshape(height, width).to(torch.uint8 if classes <= 255 else torch.int32)
    decided = clear & right_of(clear) & below_of(clear) & below_of(right_of(clear))
    decided &= (label == right_of(label)) & (label == below_of(label)) & (label == below_of(right_of(label)))
    rows, columns = Spans(rule.rows.first, height), Spans(rule.columns.first, width)
    undecided = ~decided & (rows.count > 0)[:, None] & (columns.count > 0)
    labels = label[rule.rows.first][:, rule.columns.first]
    for cells in undecided.flatten().nonzero()[:, 0].split(max(1, CORNER_BUDGET // classes)):
        _evaluate(pixels, height, cells, tolerance, rule, rows, columns, labels)
    return labels


def _second_best(pixels: Tensor, label: Tensor) -> Tensor:
    """Value of the best class but ``label``, per pixel."""
    return pixels.scatter(1, label[:, None], -torch.inf).max(1).values


def _evaluate(
    pixels: Tensor, height: int, cells: Tensor, tolerance: float, rule: Rule, rows: Spans, columns: Spans, labels: Tensor
) -> None:
    """Write the labels of some cells, evaluating every class that can win.

    Args:
        pixels: float32 (h * w, C), the logits.
        height: h.
        cells: int64 (U,), indices of the corners above left.
        tolerance: what rounding can do to the difference of two interpolated values.
        rule: of the sizes.
        rows: output rows of every row of cells.
        columns: output columns of every column of cells.
        labels: (H, W), written to.
    """
    width = pixels.shape[0] // height
    corners = corners_of(pixels, height, cells)
    highest = torch.maximum(torch.maximum(corners[0], corners[1]), torch.maximum(corners[2], corners[3]))
    lowest = torch.minimum(torch.minimum(corners[0], corners[1]), torch.minimum(corners[2], corners[3]))
    can_win = highest >= lowest.max(1, keepdim=True).values - tolerance
    fill_cells(corners, can_win, cells // width, cells % width, rule, rows, columns, labels)


# Output pixels along each side of a block: a few classes of it fit into a processor's cache.
CONFIDENCE_BLOCK = 192
# Floats of the largest intermediate tensor (8 MiB), whatever the number of classes.
CONFIDENCE_BUDGET = 2_000_000
# All other classes have at most the rest, so that the margin rounds to 255 of 255.
CERTAIN = 254.75 / 255
# No difference of two finite logits is further down: where it overflows, 0 times infinity would be NaN.
LOWEST = torch.finfo(torch.float32).min / 2
# Share of the sum of exponentials that all classes left out may have together: a quarter of a step of 8 bits.
NEGLIGIBLE = 0.25 / 255
# With fewer classes than this, finding those that matter costs more than it saves.
FEW = 6
# Classes that win somewhere in a block and are paired to bound the best logit; more would cost more than they save.
PAIRED = 6


def probability_and_margin(logits: Tensor, height: int, width: int) -> np.ndarray:
    """Probability of the winning class at every pixel, and how far the next class's lies below it: the largest of
    ``F.interpolate(logits).softmax(0)``, and the largest less the second largest, within 1 of 255.

    Args:
        logits: floating (C, h, w), finite, any device; one channel is the logit of the second of two classes.
        height: of the maps, in pixels.
        width: of the maps, in pixels.

    Returns:
        uint8 (2, height, width): 255 times the probability, at least 255 / C, or 128 for one channel; and 255 times the
        margin. Both are rounded.
    """
    logits = logits.detach().float()
    if logits.shape[0] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits])
    if logits.device.type != "cpu":
        return to_host(_by_classes(logits, height, width))
    return probability_and_margin_by_rows(lambda above, below: logits[:, above:below], logits.shape, height, width)


def probability_and_margin_by_rows(rows: Callable[[int, int], Tensor], shape: Sequence[int], height: int, width: int) -> np.ndarray:
    """As :func:`probability_and_margin`, of logits that are made some rows at a time.

    Args:
        rows: the first and the one past the last → float32 (C, rows, w) on the CPU, finite.
        shape: of all logits: C of 2 or more, h, w.
        height: of the maps, in pixels.
        width: of the maps, in pixels.
    """
    return alone(_by_blocks, rows, shape, height, width).numpy()


def _by_blocks(rows_of_logits: Callable[[int, int], Tensor], shape: Sequence[int], height: int, width: int) -> Tensor:
    """The maps, a block of output pixels at a time: uint8 (2, height, width), of what :func:`probability_and_margin_by_rows` is given."""
    classes, tall, wide = shape
    rows, columns = axis(tall, height, fused=False), axis(wide, width, fused=False)
    side = min(CONFIDENCE_BLOCK, max(8, math.isqrt(CONFIDENCE_BUDGET // classes)))
    across = [(left, *weights_of(columns, left, min(left + side, width))) for left in range(0, width, side)]
    result = torch.full((2, height, width), 255, dtype=torch.uint8)
    for top in range(0, height, side):
        above, below, vertical = weights_of(rows, top, min(top + side, height))
        band = rows_of_logits(above, below)
        for left, before, after, horizontal in across:
            grid = _shifted(band[:, :, before:after])
            if _is_certain(grid):
                continue
            values = torch.matmul(torch.matmul(vertical, _mattering(grid)), horizontal.T)
            best, second = _two_largest(values)
            total = values.sub_(best).exp_().sum(0)
            result[:, top : top + len(vertical), left : left + len(horizontal)] = _eighth_bit(best, second, total)
    return result


def _by_classes(logits: Tensor, height: int, width: int) -> Tensor:
    """The same by resizing a few classes at a time, for devices that do better with few large steps than with many blocks.

    Args:
        logits: float32 (C, h, w), C of 2 or more.
        height: of the maps, in pixels.
        width: of the maps, in pixels.

    Returns:
        uint8 (2, height, width) on the device.
    """
    best = second = total = None
    for part in _shifted(logits).split(max(1, CONFIDENCE_BUDGET // (height * width))):
        resized = F.interpolate(part[None], (height, width), mode="bilinear", align_corners=False)[0]
        top, next_ = _two_largest(resized)
        if best is not None:
            next_ = torch.maximum(torch.maximum(next_, second), torch.minimum(top, best))
            top = torch.maximum(best, top)
        share = resized.sub_(top).exp_().sum(0)
        total = share if best is None else share.add_(total.mul_(best.sub_(top).exp_()))
        best, second = top, next_
    return _eighth_bit(best, second, total)


def _two_largest(values: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of values (C, h, w) along their first axis and the second largest, equal in a tie; ``LOWEST`` without one."""
    best = values[0].clone()
    second = torch.full_like(best, LOWEST)
    # Two passes over memory, as torch.topk along this axis is not: it sorts.
    for value in values[1:]:
        second = torch.maximum(second, torch.minimum(best, value))
        best = torch.maximum(best, value)
    return best, second


def _eighth_bit(best: Tensor, second: Tensor, total: Tensor) -> Tensor:
    """The maps uint8 (2, h, w) from the two best logits (h, w) and the sum of all exponentials over that of the best."""
    probability = total.reciprocal().mul_(255)
    margin = probability * -torch.expm1(second - best)
    return torch.stack([probability, margin]).round_().to(torch.uint8)


def weights_of(along: Axis, begin: int, end: int) -> tuple[int, int, Tensor]:
    """The grid points that some output pixels depend on, first and past the last, and the weights: float32 (pixels, points)."""
    first, second = along.first[begin:end], along.second[begin:end]
    low, high = int(first[0]), int(second[-1]) + 1
    weights = torch.zeros((end - begin, high - low))
    pixel = torch.arange(end - begin)
    # Added, because at the end of the axis both points are the same.
    weights[pixel, first - low] += along.near[begin:end]
    weights[pixel, second - low] += along.far[begin:end]
    return low, high, weights


def _shifted(grid: Tensor) -> Tensor:
    """Finite logits (C, h, w) minus the best at every point: probabilities stay, and no rounding grows with their size."""
    return (grid - grid.amax(0)).clamp_(min=LOWEST)


def _is_certain(grid: Tensor) -> bool:
    """Whether one class has a margin of 1, to 8 bits, at every point of shifted logits (C, h, w)."""
    winner = int(grid[:, 0, 0].argmax())
    # The winner is 0 after the shift: its probability is 1 over the sum.
    return bool((grid[winner] == 0).all()) and float(grid.exp().sum(0).max()) <= 1 / CERTAIN


def _mattering(grid: Tensor) -> Tensor:
    """Those classes of shifted logits (C, h, w) that are more than negligible somewhere in the block.

    In a cell the best logit is never below the smallest corner of any class, nor of the mean of any two, one of which is the
    larger (that helps where one class gives way to another). A class whose largest corner lies so far below that the sum of
    all such stays negligible can be left out there.
    """
    classes = grid.shape[0]
    if classes <= FEW:
        return grid
    winners = grid[grid.argmax(0).unique()[:PAIRED]]
    first, second = torch.triu_indices(len(winners), len(winners))
    floor = _of_cells(winners[first] / 2 + winners[second] / 2, torch.minimum).amax(0) + math.log(NEGLIGIBLE / classes)
    return grid[(_of_cells(grid, torch.maximum) >= floor).flatten(1).any(1)]


def _of_cells(grid: Tensor, choose: torch._C._VariableFunctionsClass) -> Tensor:
    """The larger or smaller of the four corners of every cell: (C, h, w) to (C, h - 1, w - 1), sides of 1 staying 1."""
    for dimension in (1, 2):
        if grid.shape[dimension] > 1:
            count = grid.shape[dimension] - 1
            grid = choose(grid.narrow(dimension, 0, count), grid.narrow(dimension, 1, count))
    return grid


# Points of a grid that are evaluated together: probabilities of their queries fit into a processor's cache. Vectors of any processor, and
# the kernels of products of matrices, find nothing left over in a multiple of ``TOGETHER``.
POINTS, TOGETHER = 2048, 64
# Rows of cells that a thread decides together.
BAND = 24


@lru_cache(maxsize=8)
def products_alike(queries: int, classes: int) -> bool:
    """Whether a sum over queries has the same bits for some points as it has in the library's product of all."""
    generator = torch.Generator().manual_seed(0)
    shares, likely = (torch.rand(size, generator=generator) for size in ((queries, classes), (queries, POINTS)))
    whole = torch.einsum("bqc, bqhw -> bchw", shares[None], likely.view(1, queries, TOGETHER, -1))[0].flatten(1).T
    return all(torch.equal(likely[:, :count].T.contiguous() @ shares, whole[:count]) for count in (TOGETHER, 3 * TOGETHER, POINTS))


class SquaresOfQueries:
    """The points of the class maps that a picture has by squares (:class:`seg_demo.masks.queries.Squares`), of which only some are evaluated.

    Args:
        shares: float32 (B, Q, C), of every query in every class.
        masks: float32 (B, Q, h, w), mask logits, finite, on the CPU.
        size: (height, width) of the picture's class maps.
        parts: where every square is in them.
        rule: from a square's masks to its class maps, which is no other for few maps.
    """

    def __init__(self, shares: Tensor, masks: Tensor, size: tuple[int, int], parts: Sequence[tuple[slice, slice]], rule: Rule) -> None:
        self.shares, self.parts, self.rule = shares, parts, rule
        # A point's queries lie side by side.
        self.pixels = masks.permute(0, 2, 3, 1).contiguous()
        self.label = torch.zeros(size, dtype=torch.int32)
        self.clear = torch.zeros(size, dtype=torch.bool)

    def labels(self, outer: Rule) -> np.ndarray:
        """The label map, (H, W), uint8 for up to 255 classes, else uint16.

        Args:
            outer: from the class maps to the picture.
        """
        self._bound()
        (tall, wide), width, classes = self.label.shape, len(outer.columns.first), self.shares.shape[-1]
        found = np.empty((len(outer.rows.first), width), np.uint8 if classes <= 255 else np.uint16)
        columns = Spans(outer.columns.first, wide)

        def decide(band: tuple[int, int]) -> None:
            top, bottom = torch.searchsorted(outer.rows.first, torch.tensor(band)).tolist()
            if top < bottom:
                rows, low, high = rows_of(outer.rows, top, bottom)
                found[top:bottom] = self._band(slice(low, high), replace(outer, rows=rows), columns).numpy()

        each(decide, pairwise([*range(0, tall, BAND), tall]))
        return found

    def _bound(self) -> None:
        """Find the label of every point whose cell in every square has one."""
        margin, count = torch.zeros(self.label.shape), torch.zeros(self.label.shape, dtype=torch.uint8)
        strips = [(index, top) for index in range(len(self.pixels)) for top in range(0, self.pixels.shape[1], BAND)]
        found = each(lambda place: self._cells(*place), strips)
        for index, where in enumerate(self.parts):
            labels, margins = (torch.cat(parts) for parts in zip(*(part for part, strip in zip(found, strips) if strip[0] == index)))
            labels, margins = (cells[self.rule.rows.first][:, self.rule.columns.first] for cells in (labels, margins))
            # Of two squares that are sure of different classes nothing is said.
            other = (count[where] > 0) & (self.label[where] != labels)
            margin[where] += margins.masked_fill_(other, -torch.inf)
            self.label[where] = labels
            count[where] += 1
        torch.gt(margin, 0, out=self.clear)

    def _cells(self, index: int, top: int) -> tuple[Tensor, Tensor]:
        """Of some rows of cells of a square's masks the class that has the largest smallest sum, int32 (R, w), and by how much that is above all
        others' largest, beyond what rounding can do: float32 (R, w)."""
        values = self.pixels[index, top : top + BAND + 1]
        lowest, highest = (bound(values).sigmoid_()[:BAND] @ self.shares[index] for bound in (least, largest))
        most, label = lowest.max(-1)
        others = highest.scatter(-1, label[..., None], -torch.inf).amax(-1)
        # Of a sum of as many products, and of the probabilities in it.
        rounding = (4e-7 * values.shape[-1] + 10 * ROUNDING) * (1 + torch.maximum(most, others))
        return label.int(), most - others - rounding

    def _band(self, part: slice, rule: Rule, columns: Spans) -> Tensor:
        """The labels of some rows of cells: (R, W), uint8 for up to 255 classes, else int32.

        Args:
            part: rows of points at their corners.
            rule: to these rows of the picture.
            columns: of the picture in every column of cells.
        """
        # As small as it may be, for it is spread over all pixels.
        kind = torch.uint8 if self.shares.shape[-1] <= 255 else torch.int32
        label, clear = self.label[part].to(kind, copy=True), self.clear[part].clone()
        rows, width = Spans(rule.rows.first, len(label)), label.shape[1]
        seen = (rows.count > 0)[:, None] & (columns.count > 0)
        asked = ~(least(clear) & alike(label)) & seen
        result = lambda: label.index_select(0, rule.rows.first).index_select(1, rule.columns.first)  # noqa: E731
        if not bool(asked.any()):
            return result()
        points = asked.clone()
        points[:, 1:] |= asked[:, :-1]
        points[1:] |= points[:-1].clone()
        place = points.flatten().nonzero()[:, 0]
        place, values = self._values(place, part.start, width)
        best, winner = values.max(1)
        tolerance = float(best.max()) * ROUNDING + torch.finfo(torch.float32).tiny
        label.view(-1)[place] = winner.to(kind)
        clear.view(-1)[place] = best - values.scatter(1, winner[:, None], -torch.inf).amax(1) > tolerance
        labels = result()
        y, x = (asked & ~(least(clear) & alike(label))).nonzero(as_tuple=True)
        index = torch.zeros(label.numel(), dtype=torch.int64)
        index[place] = torch.arange(len(place))
        index = index.view(label.shape)
        below, right = (y + 1).clamp(max=len(label) - 1), (x + 1).clamp(max=width - 1)
        for some in torch.arange(len(y)).split(max(1, CORNER_BUDGET // values.shape[1])):
            corners = tuple(values[index[i[some], j[some]]] for i, j in ((y, x), (y, right), (below, x), (below, right)))
            highest = torch.maximum(torch.maximum(corners[0], corners[1]), torch.maximum(corners[2], corners[3]))
            lowest = torch.minimum(torch.minimum(corners[0], corners[1]), torch.minimum(corners[2], corners[3]))
            can_win = highest >= lowest.amax(1, keepdim=True) - tolerance
            fill_cells(corners, can_win, y[some], x[some], rule, rows, columns, labels)
        return labels

    def _values(self, place: Tensor, top: int, width: int) -> tuple[Tensor, Tensor]:
        """The classes' averages at some points: float32 (n, C), and the points in that order.

        Args:
            place: int64 (n,), of the points from row ``top`` on.
            top: row.
            width: of a row.
        """
        y, x = place // width + top, place % width
        begins = [(rows.start or 0, columns.start or 0) for rows, columns in self.parts]
        # By the squares that they are in, one bit for each.
        tall, wide = len(self.rule.rows.first), len(self.rule.columns.first)
        inside = sum(((y >= i) & (y < i + tall) & (x >= j) & (x < j + wide)).long() << bit for bit, (i, j) in enumerate(begins))
        order, values, done = [], torch.zeros((len(place), self.shares.shape[-1])), 0
        for code in inside.unique().tolist():
            some = [square for square in range(len(begins)) if code >> square & 1]
            for chosen in (inside == code).nonzero()[:, 0].split(POINTS):
                # The last one again, so that no vector is filled in part.
                more = chosen[-1:].expand(-len(chosen) % TOGETHER)
                found, many = values[done : done + len(chosen)], torch.cat([chosen, more])
                for square in some:
                    i, j = begins[square]
                    found += (self._probabilities(square, y[many] - i, x[many] - j) @ self.shares[square])[: len(chosen)]
                if len(some) > 1:
                    found /= len(some)
                order.append(place[chosen])
                done += len(chosen)
        return torch.cat(order), values

    def _probabilities(self, index: int, y: Tensor, x: Tensor) -> Tensor:
        """Of all queries at some points of a square: float32 (n, Q)."""
        flat, width, (rows, columns) = self.pixels[index].flatten(0, 1), self.pixels.shape[2], (self.rule.rows, self.rule.columns)
        above, below, left, right = rows.first[y] * width, rows.second[y] * width, columns.first[x], columns.second[x]
        corners = tuple(flat.index_select(0, place) for place in (above + left, above + right, below + left, below + right))
        weights = tuple(weight[:, None] for weight in (rows.near[y], rows.far[y], columns.near[x], columns.far[x]))
        return self.rule.combine(corners, weights).sigmoid_()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; towards a GPU the copy goes on while the caller prepares what follows it.

    Args:
        tensor: on the CPU, any layout.
        device: where it is wanted.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: Tensor) -> np.ndarray:
    """A tensor as an array in ordinary memory, which it may share with a tensor on the CPU.

    Args:
        tensor: any device, of a dtype that numpy has.
    """
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy()
    locked = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    locked.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    # Page-locked memory is scarce, and results are kept for as long as their visitor stays.
    return locked.numpy().copy()

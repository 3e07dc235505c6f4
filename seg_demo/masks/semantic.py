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
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from math import ceil, isqrt

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import LabelSet, Segmentation, mean_scores, semantic_segmentation
from seg_demo.masks.resize import SMALL_OUTPUT, Axis, Corners, Rule, alone, axis, each, find_antialiased_rule, find_rule, is_channels_last, rows_of

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


# Elements of the largest intermediate tensor: 2 MiB of float32, which a processor's cache holds.
CORNER_BUDGET = 500_000
# An interpolated value is off by at most a few units in the last place (6e-8) of the largest logit; this is ten times that.
ROUNDING = 2e-6
CORNER_BLOCK = 64
# Cells are evaluated together with those that have about as many candidates.
# Interpolated values (n, K, R, S) and their classes int64 (n, K) → what is compared.
Weigh = Callable[[Tensor, Tensor], Tensor]
CANDIDATES = (0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 1024, 4096, 65536)


class Spans:
    """The output pixels of every cell along one axis."""

    def __init__(self, first: Tensor, cells: int) -> None:
        """
        Args:
            first: int64 (N,), the cell of each output pixel, ascending.
            cells: number of cells.
        """
        self.count = torch.bincount(first, minlength=cells)
        self.start = self.count.cumsum(0) - self.count

    def pixels(self, cells: Tensor, begin: int, end: int) -> Tensor:
        """Pixels begin .. end - 1 of some cells: int64 (n, end - begin); a cell's last is repeated where it has fewer."""
        offsets = torch.arange(begin, end)[None]
        return self.start[cells][:, None] + torch.minimum(offsets, self.count[cells][:, None] - 1)


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


def right_of(cells: Tensor) -> Tensor:
    """Each cell's neighbour to the right; the last column is its own."""
    return torch.cat([cells[:, 1:], cells[:, -1:]], dim=1)


def below_of(cells: Tensor) -> Tensor:
    """Each cell's neighbour below; the last row is its own."""
    return torch.cat([cells[1:], cells[-1:]])


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


def corners_of(pixels: Tensor, height: int, cells: Tensor) -> Corners:
    """The four corners of some cells, float32 (U, C) each.

    Args:
        pixels: float32 (h * w, C).
        height: h.
        cells: int64 (U,), indices of the corners above left.
    """
    width = pixels.shape[0] // height
    y, x = cells // width, cells % width
    below, right = (y + 1).clamp(max=height - 1), (x + 1).clamp(max=width - 1)
    return tuple(pixels[i * width + j] for i, j in ((y, x), (y, right), (below, x), (below, right)))


def fill_cells(
    corners: Corners,
    can_win: Tensor,
    y: Tensor,
    x: Tensor,
    rule: Rule,
    rows: Spans,
    columns: Spans,
    labels: Tensor,
    weigh: Weigh | None = None,
) -> None:
    """Write the labels of some cells, evaluating the classes that can win.

    Args:
        corners: float32 (U, C) each.
        can_win: bool (U, C), one of a cell at least.
        y: int64 (U,), row of each cell.
        x: int64 (U,), column of each cell.
        rule: of the sizes.
        rows: output rows of every row of cells.
        columns: output columns of every column of cells.
        labels: (H, W), written to.
        weigh: what is compared instead of the interpolated values.
    """
    winners = can_win.nonzero()[:, 1]
    count = can_win.sum(1)
    start = count.cumsum(0) - count
    for fewer, most in pairwise(CANDIDATES):
        chosen = ((count > fewer) & (count <= most)).nonzero()[:, 0]
        if not len(chosen):
            continue
        kept = count[chosen]
        # Ascending classes, the last one repeated: the first of equal values wins, as in a dense argmax.
        order = torch.minimum(torch.arange(int(kept.max()))[None], kept[:, None] - 1)
        candidates = winners[start[chosen][:, None] + order]
        values = tuple(corner[chosen].gather(1, candidates) for corner in corners)
        _fill(values, candidates, y[chosen], x[chosen], rule, rows, columns, labels, weigh)


def _fill(
    values: Corners,
    candidates: Tensor,
    y: Tensor,
    x: Tensor,
    rule: Rule,
    rows: Spans,
    columns: Spans,
    labels: Tensor,
    weigh: Weigh | None,
) -> None:
    """Write the labels of cells that have the same number of candidates, block by block.

    Args:
        values: float32 (n, K) at each corner.
        candidates: int64 (n, K), ascending classes.
        y: int64 (n,), row of each cell.
        x: int64 (n,), column of each cell.
        rule: of the sizes.
        rows: output rows of every row of cells.
        columns: output columns of every column of cells.
        labels: (H, W), written to.
        weigh: what is compared instead of the interpolated values.
    """
    count = candidates.shape[1]
    block = max(1, min(CORNER_BLOCK, isqrt(CORNER_BUDGET // count)))
    tall, wide = int(rows.count[y].max()), int(columns.count[x].max())
    group = max(1, CORNER_BUDGET // (count * min(tall, block) * min(wide, block)))
    for top in range(0, tall, block):
        for left in range(0, wide, block):
            for part in torch.arange(len(y)).split(group):
                r = rows.pixels(y[part], top, min(top + block, tall))
                c = columns.pixels(x[part], left, min(left + block, wide))
                corners = tuple(value[part][:, :, None, None] for value in values)
                labels[r[:, :, None], c[:, None, :]] = _winner(corners, candidates[part], r, c, rule, weigh).to(labels.dtype)


def _winner(corners: Corners, candidates: Tensor, r: Tensor, c: Tensor, rule: Rule, weigh: Weigh | None) -> Tensor:
    """The winning class of every pixel of a block of cells.

    Args:
        corners: float32 (n, K, 1, 1) each.
        candidates: int64 (n, K).
        r: int64 (n, R), output rows.
        c: int64 (n, S), output columns.
        rule: of the sizes.
        weigh: what is compared instead of the interpolated values.

    Returns:
        int64 (n, R, S).
    """
    above, below = rule.rows.near[r][:, None, :, None], rule.rows.far[r][:, None, :, None]
    left, right = rule.columns.near[c][:, None, None, :], rule.columns.far[c][:, None, None, :]
    values = rule.combine(corners, (above, below, left, right))
    tail = candidates >= rule.tail
    if rule.combine_tail is not rule.combine and bool(tail.any()):
        values = torch.where(tail[:, :, None, None], rule.combine_tail(corners, (above, below, left, right)), values)
    if weigh is not None:
        values = weigh(values, candidates)
    # max over a dimension is ten times as fast as argmax, and a comparison five times as fast as max.
    place = (values[:, 1] > values[:, 0]).long() if values.shape[1] == 2 else values.max(1).indices
    return candidates.gather(1, place.flatten(1)).reshape(place.shape)


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
    return alone(_by_blocks, logits, height, width).numpy()


def _by_blocks(logits: Tensor, height: int, width: int) -> Tensor:
    """The maps, a block of output pixels at a time.

    Args:
        logits: float32 (C, h, w), C of 2 or more.
        height: of the maps, in pixels.
        width: of the maps, in pixels.

    Returns:
        uint8 (2, height, width).
    """
    _, tall, wide = logits.shape
    rows, columns = axis(tall, height, fused=False), axis(wide, width, fused=False)
    side = min(CONFIDENCE_BLOCK, max(8, math.isqrt(CONFIDENCE_BUDGET // logits.shape[0])))
    across = [(left, *_weights(columns, left, min(left + side, width))) for left in range(0, width, side)]
    result = torch.full((2, height, width), 255, dtype=torch.uint8)
    for top in range(0, height, side):
        above, below, vertical = _weights(rows, top, min(top + side, height))
        for left, before, after, horizontal in across:
            grid = _shifted(logits[:, above:below, before:after])
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


def _weights(along: Axis, begin: int, end: int) -> tuple[int, int, Tensor]:
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

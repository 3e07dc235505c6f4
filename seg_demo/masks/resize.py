"""Bilinear interpolation of single pixels with the very bits of torch's ``F.interpolate``, ``align_corners=False``.

Its last bit differs between versions of torch, processors, memory layouts, numbers of channels and of threads, because torch
has several kernels and compilers fuse multiply-adds differently (aten/src/ATen/native/cpu/UpSampleKernel.cpp). So the
arithmetic is not assumed: the known variants are tried on a thin probe of the very sizes at hand, and the one that
reproduces F.interpolate to the last bit is taken, or none.

Work of many small steps in a thread for which torch does not share each step out.

torch divides every step among all its threads and waits for the last. Where other programs or requests use the processor too,
that waiting takes far longer than steps of some 10 microseconds: a label map of 30 ms was seen to take a second.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise, product
from math import isqrt
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg_demo.core import Runs
from seg_demo.core.requests import pool

# F.interpolate takes another kernel for outputs whose sides add up to no more than this.
SMALL_OUTPUT = 128
# Values above left, above right, below left, below right, and the four weights: above, below, left, right. All broadcast.
Corners = tuple[Tensor, Tensor, Tensor, Tensor]
Weights = tuple[Tensor, Tensor, Tensor, Tensor]
Combine = Callable[[Corners, Weights], Tensor]
# Two values, each before its weight.
Add = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Axis:
    """Source pixels and weights of every output pixel along one axis.

    Attributes:
        first: int64 (N,), the source pixel before; ascending.
        second: int64 (N,), the one after, the same at the end.
        near: float32 (N,), weight of ``first``.
        far: float32 (N,), weight of ``second``.
    """

    first: Tensor
    second: Tensor
    near: Tensor
    far: Tensor


@dataclass(frozen=True)
class Rule:
    """How F.interpolate computes a pixel on this machine, for one pair of sizes and one memory layout.

    Attributes:
        rows: the vertical axis.
        columns: the horizontal axis.
        combine: corners and weights → values, for the channels before ``tail``.
        combine_tail: the same for the channels from ``tail`` on, which do not fill a processor's vector.
        tail: channel.
    """

    rows: Axis
    columns: Axis
    combine: Combine
    combine_tail: Combine
    tail: int

    @property
    def add(self) -> Add | None:
        """How two values and their weights are added up, where that is done along the row first and then between the rows; else None."""
        return self.combine.args[0] if self.combine.func is _separable else None


def axis(source: int, target: int, fused: bool) -> Axis:
    """Indices and weights along one axis, in float32 as ``area_pixel_compute_source_index`` computes them.

    Args:
        source: pixels before.
        target: pixels after.
        fused: whether scale * (i + 0.5) - 0.5 is rounded once.
    """
    scale = np.float32(source) / np.float32(target)
    centres = np.arange(target) + 0.5
    if fused:
        position = (np.float64(scale) * centres - 0.5).astype(np.float32)
    else:
        position = scale * centres.astype(np.float32) - np.float32(0.5)
    position = np.maximum(position, np.float32(0))
    first = np.minimum(position.astype(np.int64), source - 1)
    far = np.clip(position - first.astype(np.float32), 0, 1).astype(np.float32)
    tensors = (first, np.minimum(first + 1, source - 1), np.float32(1) - far, far)
    return Axis(*(torch.from_numpy(tensor) for tensor in tensors))


def part_of(whole: Axis, begin: int, end: int) -> Axis:
    """The output pixels from ``begin`` up to ``end`` of an axis."""
    return Axis(whole.first[begin:end], whole.second[begin:end], whole.near[begin:end], whole.far[begin:end])


def rows_of(whole: Axis, begin: int, end: int) -> tuple[Axis, int, int]:
    """As :func:`part_of`, in terms of the source pixels that it depends on; these, first and past the last, come after it."""
    part = part_of(whole, begin, end)
    low, high = int(part.first[0]), int(part.second[-1]) + 1
    return Axis(part.first - low, part.second - low, part.near, part.far), low, high


def is_channels_last(logits: Tensor) -> bool:
    """Whether F.interpolate takes its channels-last kernel for these (C, h, w) logits."""
    return logits.shape[0] > 3 and logits[None].is_contiguous(memory_format=torch.channels_last)


def find_rule(source: tuple[int, int], target: tuple[int, int], channels: int, channels_last: bool) -> Rule | None:
    """The variant that reproduces F.interpolate for these sizes, or None if none does.

    Args:
        source: (h, w).
        target: (H, W), whose sides add up to more than 128.
        channels: C.
        channels_last: of the logits' memory layout.
    """
    return _find_rule(source, target, channels, channels_last, torch.get_num_threads())


@lru_cache(maxsize=32)
def _find_rule(
    source: tuple[int, int], target: tuple[int, int], channels: int, channels_last: bool, threads: int
) -> Rule | None:
    """As :func:`find_rule`, for the number of threads that F.interpolate has: it chooses its kernel by that too."""
    # Channels-last: the same remainder of any vector length as `channels`, in few channels. Else only 3 is special, the
    # number of colours, for which one thread takes the other kernel.
    count = 16 + channels % 16 if channels_last else min(channels, 4)
    probes = [_probe(before, after, count, channels_last) for before, after in zip(source, target, strict=True)]
    for fused, (combine, combine_tail, lanes) in product((True, False), _variants(channels_last)):
        rows, columns = (axis(before, after, fused) for before, after in zip(source, target, strict=True))
        tail = count - count % lanes
        for along, (noise, resized) in zip((rows, columns), probes, strict=True):
            across = axis(noise.shape[2], resized.shape[2], fused)
            head = evaluate(noise[:tail], along, across, combine)
            if not torch.equal(torch.cat([head, evaluate(noise[tail:], along, across, combine_tail)]), resized):
                break
        else:
            return Rule(rows, columns, combine, combine_tail, channels - channels % lanes)
    return None


@lru_cache(maxsize=32)
def find_antialiased_rule(source: tuple[int, int], target: tuple[int, int]) -> Rule | None:
    """The variant that reproduces ``F.interpolate(..., antialias=True)`` of contiguous maps for these sizes, or None if none does:
    where a side shrinks, a pixel depends on more than two.

    Args:
        source: (h, w).
        target: (H, W).
    """
    rows, columns = (_taps(before, after) for before, after in zip(source, target, strict=True))
    few = _taps(3, 5)
    if rows is None or columns is None:
        return None
    noise = [torch.randn((2, *size), generator=torch.Generator().manual_seed(1)) for size in ((source[0], 3), (3, source[1]))]
    resized = [_antialiased(values, size) for values, size in zip(noise, ((target[0], 5), (5, target[1])), strict=True)]
    for add in (_add_fused_far, _add_plain, _add_fused_near):
        combine = partial(_separable, add)
        tried = evaluate(noise[0], rows, few, combine), evaluate(noise[1], few, columns, combine)
        if all(map(torch.equal, tried, resized)):
            return Rule(rows, columns, combine, combine, 0)
    return None


def _antialiased(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def _taps(source: int, target: int) -> Axis | None:
    """The axis of an antialiased resize, read off what becomes of unit vectors; None if a pixel depends on more than two."""
    weights = _antialiased(torch.eye(source)[None], (target, source))[0]
    if int((weights != 0).sum(1).max()) > 2:
        return None
    first = (weights != 0).float().argmax(1)
    second = (first + 1).clamp(max=source - 1)
    pixels = torch.arange(target)
    return Axis(first, second, weights[pixels, first], torch.where(second > first, weights[pixels, second], 0.0))


def evaluate(values: Tensor, rows: Axis, columns: Axis, combine: Combine) -> Tensor:
    """All pixels of a resized tensor.

    Args:
        values: float32 (C, h, w).
        rows: h → H.
        columns: w → W.
        combine: of a rule.

    Returns:
        float32 (C, H, W).
    """
    above, below = values[:, rows.first], values[:, rows.second]
    corners = (
        above[:, :, columns.first],
        above[:, :, columns.second],
        below[:, :, columns.first],
        below[:, :, columns.second],
    )
    return combine(corners, (rows.near[:, None], rows.far[:, None], columns.near, columns.far))


# Elements of the largest intermediate tensor: 2 MiB of float32, which a processor's cache holds.
CORNER_BUDGET = 500_000


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


def right_of(cells: Tensor) -> Tensor:
    """Each cell's neighbour to the right; the last column is its own."""
    return torch.cat([cells[:, 1:], cells[:, -1:]], dim=1)


def below_of(cells: Tensor) -> Tensor:
    """Each cell's neighbour below; the last row is its own."""
    return torch.cat([cells[1:], cells[-1:]])


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


def of_four(choose: Callable[[Tensor, Tensor], Tensor], values: Tensor) -> Tensor:
    """A choice among the four corners of every cell of (h, w); at the ends a cell's outer corners are its inner ones."""
    across = choose(values, right_of(values))
    return choose(across, below_of(across))


def least(values: Tensor) -> Tensor:
    return of_four(torch.minimum, values)


def largest(values: Tensor) -> Tensor:
    return of_four(torch.maximum, values)


def alike(label: Tensor) -> Tensor:
    """Whether all corners of a cell have the same label."""
    return least(label) == largest(label)


CORNER_BLOCK = 64
# Interpolated values (n, K, R, S) and their classes int64 (n, K) → what is compared.
Weigh = Callable[[Tensor, Tensor], Tensor]
# Cells are evaluated together with those that have about as many candidates.
CANDIDATES = (0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 1024, 4096, 65536)


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
        y: int64 (U,), row of each cell; and ``x`` its column.
        rule: of the sizes.
        rows: output rows of every row of cells; and ``columns`` likewise.
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
    """As :func:`fill_cells`, of cells that have the same number of candidates, block by block.

    Args:
        values: float32 (n, K) at each corner.
        candidates: int64 (n, K), ascending classes.
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
    """The winning class of every pixel of a block of cells: int64 (n, R, S).

    Args:
        corners: float32 (n, K, 1, 1) each.
        candidates: int64 (n, K).
        r: int64 (n, R), output rows.
        c: int64 (n, S), output columns.
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


# A rounding error of numbers nearer to zero is no share of them: their products with weights may be 0.
SMALLEST = 1e-36
# Changes of sign that are looked for at once: a processor's cache holds what is known of so many.
CHANGES = 1 << 15
# How far rounding can move a change of sign, as a share of the pixels along an axis: many times float32's 6e-8: of positions up to the
# whole axis, of the weights that are their fractions, and of two products.
DRIFT = 2e-6


def runs_above(values: Tensor, rule: Rule) -> Runs | None:
    """Where a resized map is above 0, as runs down the columns of the result, to the last bit.

    Along the rows of the source all of it is interpolated; down a column only where the sign changes between one row of the source and
    the next. There a resized value is the sum of a product that falls from pixel to pixel and one that rises, and rounding keeps their
    order: its sign changes once. Where, follows from the two values; only where that is nearer to a pixel than rounding could move it,
    the pixels themselves are asked, by bisection.

    Args:
        values: float32 (h, w) on the CPU.
        rule: of the sizes.

    Returns:
        None where the rule adds up otherwise, or numbers are so small that products of them round to 0.
    """
    if rule.add is None:
        return None
    height, positive = len(rule.rows.first), values > 0
    (r0, r1), (x0, x1) = (reached(along, positive.any(other)) for along, other in ((rule.rows, 1), (rule.columns, 0)))
    if r0 == r1 or x0 == x1:
        return Runs.of_edges(np.zeros(0, np.int64), height)
    (rows, top, bottom), columns = rows_of(rule.rows, r0, r1), part_of(rule.columns, x0, x1)
    upright = values[top:bottom].T.contiguous()
    across = rule.add(
        upright.index_select(0, columns.first), columns.near[:, None], upright.index_select(0, columns.second), columns.far[:, None]
    )
    inside, source = across > 0, upright.shape[1]
    if not torch.equal(inside, across >= SMALLEST):
        return None
    # Nothing is inside above and below.
    signs = F.pad(inside, (1, 1))
    place = torch.from_numpy(np.flatnonzero((signs[:, 1:] != signs[:, :-1]).numpy()))
    x = torch.div(place, source + 1, rounding_mode="floor")
    steps = _Steps.of(rows, values.shape[0], height)
    # Of every step its column's first pixel, and where it is in the values, which have one step less to a column.
    first_pixel, found = torch.arange(x0, x1) * height + r0, torch.empty_like(place)
    for p, x, edges in zip(place.split(CHANGES), x.split(CHANGES), found.split(CHANGES), strict=True):
        y = p - x * (source + 1)
        torch.add(first_pixel.index_select(0, x), steps.changes(across.flatten(), p - x, y, rule.add), out=edges)
    return Runs.of_edges(found.numpy(), height)


@dataclass(frozen=True)
class _Steps:
    """The pixels between one row of a source and the next, and above its first and below its last row, where nothing is inside.

    Attributes:
        rows: the axis.
        start: int64 (h + 1,), the first pixel of every step.
        count: int64 (h + 1,), how many there are.
        ahead: float32 (h + 1,), how far the step's row of the source lies above its first pixel, in pixels.
        scale: pixels to a row of the source.
        drift: pixels that rounding can move a change of sign by.
    """

    rows: Axis
    start: Tensor
    count: Tensor
    ahead: Tensor
    scale: float
    drift: float

    @classmethod
    def of(cls, rows: Axis, before: int, after: int) -> _Steps:
        """Of an axis, or of a part of it.

        Args:
            rows: of the part; the source's rows counted from its first.
            before: rows of the whole source.
            after: pixels of the whole axis.
        """
        source, scale = int(rows.second[-1]) + 1, after / before
        count = torch.bincount(rows.first, minlength=source)
        end = count.cumsum(0)
        # From the last pixel of each, for the first of all are moved onto the source's edge.
        ahead = rows.far[(end - 1).clamp_(min=0)] * scale - (count - 1)
        start = torch.cat([end.new_zeros(1), (end - count)[:-1], end.new_full((1,), len(rows.first))])
        return cls(rows, start, F.pad(count[:-1], (1, 1)), F.pad(ahead[:-1], (1, 1)), scale, DRIFT * after)

    def changes(self, values: Tensor, place: Tensor, step: Tensor, add: Add) -> Tensor:
        """The first pixels after changes of sign: int64 (N,).

        Args:
            values: float32, along the rows of the source, flat.
            place: int64 (N,), of the values after.
            step: int64 (N,), which steps they are.
            add: of the rule.
        """
        last = len(values) - 1
        first, second = values.index_select(0, (place - 1).clamp_(min=0)), values.index_select(0, place.clamp(max=last))
        start, count = self.start.index_select(0, step), self.count.index_select(0, step)
        passed = first.div(first - second).mul_(self.scale).sub_(self.ahead.index_select(0, step))
        close = passed.sub(passed.round()).abs_() <= self.drift
        # What no step has room for is of no account; and no number for one that is none.
        passed = torch.minimum(passed.ceil_().clamp_(min=0).nan_to_num_(), count).long()
        close = torch.from_numpy(np.flatnonzero(close.numpy()))
        if len(close):
            passed[close] = self._asked(start[close], count[close], first[close], second[close], add)
        return start + passed

    def _asked(self, start: Tensor, count: Tensor, first: Tensor, second: Tensor, add: Add) -> Tensor:
        """How many pixels of a step keep the sign before: int64 (N,), by looking at the pixels in the middle of what is left.

        Args:
            start: int64 (N,), the first pixel between two source pixels.
            count: int64 (N,), how many there are.
            first: float32 (N,), the source pixel before.
            second: float32 (N,), the one after, of the other sign.
            add: of the rule.
        """
        falls, most, left, passed = first > 0, len(self.rows.near) - 1, count, torch.zeros_like(count)
        for _ in range(int(count.max()).bit_length()):
            # Where nothing is left the half is 0, and a pixel further does not count.
            half = left >> 1
            pixel = (start + passed + half).clamp_(max=most)
            before = (add(first, self.rows.near.take(pixel), second, self.rows.far.take(pixel)) > 0) == falls
            before &= left > 0
            passed = torch.where(before, passed + half + 1, passed)
            left = torch.where(before, left - half - 1, half)
        return passed


def reached(along: Axis, line: Tensor) -> tuple[int, int]:
    """The first output pixel of an axis that depends on one of some source pixels, bool (n,), and the one past the last."""
    # Weights are not negative: a pixel between values of which none is above 0 is not above 0 itself.
    places = (line[along.first] | line[along.second]).nonzero()[:, 0]
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)


def _probe(source: int, target: int, count: int, channels_last: bool) -> tuple[Tensor, Tensor]:
    """Noise (C, source, 2), and the same as F.interpolate resizes it to (C, target, few)."""
    noise = torch.randn((1, count, source, 2), generator=torch.Generator().manual_seed(source))
    if channels_last:
        noise = noise.contiguous(memory_format=torch.channels_last)
    width = 3 if channels_last else SMALL_OUTPUT + 4
    return noise[0], F.interpolate(noise, (target, width), mode="bilinear", align_corners=False)[0]


def _variants(channels_last: bool) -> Iterator[tuple[Combine, Combine, int]]:
    """Arithmetic of the two kernels as compilers are known to leave it: vector loop, remainder loop, vector length."""
    if not channels_last:
        for add in (_add_fused_near, _add_fused_far, _add_plain):
            combine = partial(_separable, add)
            yield combine, combine, 1
    vectors, tails = ((2, 3, 1, 0), (3, 2, 1, 0)), ((1, 0, 2, 3), (0, 1, 2, 3))
    for fused, lanes, vector, tail in product((True, False), (8, 16, 4), vectors, tails):
        yield partial(_joint, vector, fused), partial(_joint, tail, fused), lanes


def _add_fused_near(first: Tensor, near: Tensor, second: Tensor, far: Tensor) -> Tensor:
    return torch.addcmul(second * far, first, near)


def _add_fused_far(first: Tensor, near: Tensor, second: Tensor, far: Tensor) -> Tensor:
    return torch.addcmul(first * near, second, far)


def _add_plain(first: Tensor, near: Tensor, second: Tensor, far: Tensor) -> Tensor:
    return first * near + second * far


def _separable(add: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], corners: Corners, weights: Weights) -> Tensor:
    """``upsample_generic_Nd_kernel_impl``: along the row first, then between the rows."""
    above, below, left, right = weights
    top = add(corners[0], left, corners[1], right)
    bottom = add(corners[2], left, corners[3], right)
    return add(top, above, bottom, below)


def _joint(order: tuple[int, ...], fused: bool, corners: Corners, weights: Weights) -> Tensor:
    """``cpu_upsample_linear_channels_last``: the products of the weights, summed over the corners in some order."""
    above, below, left, right = weights
    products = (above * left, above * right, below * left, below * right)
    total = corners[order[0]] * products[order[0]]
    for corner in order[1:]:
        total = torch.addcmul(total, corners[corner], products[corner]) if fused else total + corners[corner] * products[corner]
    return total


S, T = TypeVar("S"), TypeVar("T")
# Two threads that begin at once would take each other's number for the one to leave behind.
_beginning = threading.Lock()


def alone(function: Callable[..., T], *arguments: object) -> T:
    """``function(*arguments)`` without gradients, by one thread; its result or error.

    Args:
        function: of torch, in many small steps.
        arguments: tensors may come from inference mode; they are not written to.
    """
    return _workers().submit(_run, function, arguments).result()


def each(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """``function`` of every item without gradients, each by one thread and several at the same time; in the items' order. Not for calls from within
    :func:`alone` or itself, which would wait for threads that wait for them.

    Args:
        function: of torch; it lets go of Python's lock where it computes.
        items: as many as there are processors keep all of them busy.
    """
    futures = [_workers().submit(_run, function, (item,)) for item in items][::-1]
    try:
        return [futures.pop().result() for _ in range(len(futures))]
    finally:
        futures.clear()  # an error's frames would hold the futures, and one of them the error: a circle, with all pixels


def _run(function: Callable[..., T], arguments: tuple[object, ...]) -> T:
    with torch.no_grad():
        return function(*arguments)


def _begin() -> None:
    """Set this thread's own number of threads, and leave the number that new threads begin with as it was."""
    with _beginning:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        other = threading.Thread(target=torch.set_num_threads, args=(before,))
        other.start()
        other.join()


_workers = pool("masks", os.cpu_count() or 1, _begin)
if hasattr(os, "register_at_fork"):
    # Another thread may hold it at that moment, and would hold it for ever in the forked process, where it does not run.
    os.register_at_fork(after_in_child=_beginning._at_fork_reinit)


# Pixels that are enlarged to bytes at a time.
STRIP_PIXELS = 1_000_000


def enlarged_bytes(
    values: Tensor, size: tuple[int, int], weigh: Callable[[Tensor, Tensor], Tensor], winner: Tensor | None = None
) -> np.ndarray:
    """Maps enlarged between their points, each pixel of one of them: uint8 (H, W), 255 times what is in [0, 1].

    Args:
        values: float32 (K, h, w).
        size: (H, W).
        weigh: enlarged values and which map each is of, both (rows, W) → what is written.
        winner: integer (H, W), which map a pixel is of; None for the first.
    """
    _, height, width = values.shape
    (above, below, down), (left, right, across) = (
        _between(before, after, values.device) for before, after in zip((height, width), size, strict=True)
    )
    flat, made = values.flatten(), np.empty(size, np.uint8)
    step = max(1, STRIP_PIXELS // size[1])
    for top in range(0, size[0], step):
        rows = slice(top, top + step)
        if winner is None:
            query = torch.zeros(1, 1, dtype=torch.int64, device=values.device)
            part = torch.lerp(values[0][above[rows]], values[0][below[rows]], down[rows, None])
            value = torch.lerp(part[:, left], part[:, right], across)
        else:
            query = winner[rows].long()
            first, second = (query * (height * width) + (row[rows] * width)[:, None] for row in (above, below))
            upper, lower = (torch.lerp(flat[row + left], flat[row + right], across) for row in (first, second))
            value = torch.lerp(upper, lower, down[rows, None])
        made[rows] = weigh(value, query).mul_(255).round_().clamp_(0, 255).byte().cpu().numpy()
    return made


def _between(before: int, after: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of every pixel of an axis the points before and behind it, int64 (after,), and how near it is to the latter, float32."""
    place = ((torch.arange(after, device=device) + 0.5) * (before / after) - 0.5).clamp(0, before - 1)
    first = place.floor().long()
    return first, (first + 1).clamp(max=before - 1), (place - first).float()

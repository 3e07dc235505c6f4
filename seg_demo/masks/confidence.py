"""How sure a network is of every pixel: the softmax probability of the class that wins, and its margin over the runner-up,
without their C x H x W floats.

It is computed in blocks of output pixels. Three properties of bilinear interpolation keep it cheap (logits are linear
within a cell of the logit grid, so differences between classes are too):

- where the same class has a probability of 1 at all four corners of a cell, so nearly that its margin is 1 too when rounded to
  8 bits, it has that within: the sum of exp(-difference) is convex. Those cells, most of a trained network's, are filled.
- elsewhere only the classes are evaluated that can change the eighth bit anywhere in the block.
- subtracting the best logit at every grid point changes no probability, and keeps float32 accurate for large logits.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg_demo.masks.interpolation import Axis, axis
from seg_demo.masks.threads import alone
from seg_demo.masks.transfers import to_host

# Output pixels along each side of a block: a few classes of it fit into a processor's cache.
BLOCK = 192
# Floats of the largest intermediate tensor (8 MiB), whatever the number of classes.
BUDGET = 2_000_000
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
    side = min(BLOCK, max(8, math.isqrt(BUDGET // logits.shape[0])))
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
    for part in _shifted(logits).split(max(1, BUDGET // (height * width))):
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
    for each in values[1:]:
        second = torch.maximum(second, torch.minimum(best, each))
        best = torch.maximum(best, each)
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

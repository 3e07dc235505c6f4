"""The label map of resized logits from the corners of each cell of the logit grid.

Within a cell bilinear interpolation is a convex combination of the four corners. Where all four have the same largest
class by more than rounding can undo, the whole cell has it; elsewhere only those classes are evaluated that can still
win: the largest of their corners reaches the largest of all classes' smallest corners.
"""

from __future__ import annotations

from itertools import pairwise
from math import isqrt

import torch
from torch import Tensor

from seg_demo.masks.interpolation import Corners, Rule

# Elements of the largest intermediate tensor: 2 MiB of float32, which a processor's cache holds.
BUDGET = 500_000
# An interpolated value is off by at most a few units in the last place (6e-8) of the largest logit; this is ten times that.
ROUNDING = 2e-6
BLOCK = 64
# Cells are evaluated together with those that have about as many candidates.
CANDIDATES = (0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 1024, 4096, 65536)


class _Spans:
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
    decided = clear & _right(clear) & _below(clear) & _below(_right(clear))
    decided &= (label == _right(label)) & (label == _below(label)) & (label == _below(_right(label)))
    rows, columns = _Spans(rule.rows.first, height), _Spans(rule.columns.first, width)
    undecided = ~decided & (rows.count > 0)[:, None] & (columns.count > 0)
    labels = label[rule.rows.first][:, rule.columns.first]
    for cells in undecided.flatten().nonzero()[:, 0].split(max(1, BUDGET // classes)):
        _evaluate(pixels, height, cells, tolerance, rule, rows, columns, labels)
    return labels


def _second_best(pixels: Tensor, label: Tensor) -> Tensor:
    """Value of the best class but ``label``, per pixel."""
    return pixels.scatter(1, label[:, None], -torch.inf).max(1).values


def _right(cells: Tensor) -> Tensor:
    """Each cell's neighbour to the right; the last column is its own."""
    return torch.cat([cells[:, 1:], cells[:, -1:]], dim=1)


def _below(cells: Tensor) -> Tensor:
    """Each cell's neighbour below; the last row is its own."""
    return torch.cat([cells[1:], cells[-1:]])


def _evaluate(
    pixels: Tensor, height: int, cells: Tensor, tolerance: float, rule: Rule, rows: _Spans, columns: _Spans, labels: Tensor
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
    y, x = cells // width, cells % width
    below, right = (y + 1).clamp(max=height - 1), (x + 1).clamp(max=width - 1)
    corners = tuple(pixels[i * width + j] for i, j in ((y, x), (y, right), (below, x), (below, right)))
    highest = torch.maximum(torch.maximum(corners[0], corners[1]), torch.maximum(corners[2], corners[3]))
    lowest = torch.minimum(torch.minimum(corners[0], corners[1]), torch.minimum(corners[2], corners[3]))
    can_win = highest >= lowest.max(1, keepdim=True).values - tolerance
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
        _fill(values, candidates, y[chosen], x[chosen], rule, rows, columns, labels)


def _fill(
    values: Corners, candidates: Tensor, y: Tensor, x: Tensor, rule: Rule, rows: _Spans, columns: _Spans, labels: Tensor
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
    """
    count = candidates.shape[1]
    block = max(1, min(BLOCK, isqrt(BUDGET // count)))
    tall, wide = int(rows.count[y].max()), int(columns.count[x].max())
    group = max(1, BUDGET // (count * min(tall, block) * min(wide, block)))
    for top in range(0, tall, block):
        for left in range(0, wide, block):
            for part in torch.arange(len(y)).split(group):
                r = rows.pixels(y[part], top, min(top + block, tall))
                c = columns.pixels(x[part], left, min(left + block, wide))
                corners = tuple(value[part][:, :, None, None] for value in values)
                labels[r[:, :, None], c[:, None, :]] = _winner(corners, candidates[part], r, c, rule).to(labels.dtype)


def _winner(corners: Corners, candidates: Tensor, r: Tensor, c: Tensor, rule: Rule) -> Tensor:
    """The winning class of every pixel of a block of cells.

    Args:
        corners: float32 (n, K, 1, 1) each.
        candidates: int64 (n, K).
        r: int64 (n, R), output rows.
        c: int64 (n, S), output columns.
        rule: of the sizes.

    Returns:
        int64 (n, R, S).
    """
    above, below = rule.rows.near[r][:, None, :, None], rule.rows.far[r][:, None, :, None]
    left, right = rule.columns.near[c][:, None, None, :], rule.columns.far[c][:, None, None, :]
    values = rule.combine(corners, (above, below, left, right))
    tail = candidates >= rule.tail
    if rule.combine_tail is not rule.combine and bool(tail.any()):
        values = torch.where(tail[:, :, None, None], rule.combine_tail(corners, (above, below, left, right)), values)
    # max over a dimension is ten times as fast as argmax, and a comparison five times as fast as max.
    place = (values[:, 1] > values[:, 0]).long() if values.shape[1] == 2 else values.max(1).indices
    return candidates.gather(1, place.flatten(1)).reshape(place.shape)

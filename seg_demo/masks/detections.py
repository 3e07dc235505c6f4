"""Objects of class queries, each with a mask of its own that may lie over others, identical to transformers' post-processing but without
its Q x H x W floats: only where a mask is, and only along its edges pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg_demo.core.rle import Box
from seg_demo.core.types import Segment, tight_box
from seg_demo.masks.instances import KEPT, Deferred, Enlarged, Resized
from seg_demo.masks.queries import SMALLEST, WORTH, Cells, Order, best_pairs, check, largest, least, on_grid
from seg_demo.masks.resize import SMALL_OUTPUT, Axis, Rule, alone, evaluate, find_rule
from seg_demo.masks.semantic import DENSE_ELEMENTS

# Floats of masks whose means are taken at once (16 MiB).
MEANS = 4_000_000
# Late masks that are brought to the grid at once.
TOGETHER = 8


def instances(classes: Tensor, masks: Tensor, height: int, width: int, order: Order, threshold: float = 0.5) -> list[Segment]:
    """What ``post_process_instance_segmentation(..., target_sizes=[(height, width)])`` of Mask2Former and MaskFormer finds for one
    image, in its order: the Q best pairs of a query and a class, whose masks are cut at the low size and enlarged without
    interpolation. (Its map paints later ones over earlier ones; ``return_binary_maps`` has these masks.)

    Args:
        classes: float32 (Q, C + 1), class logits, the last class being none.
        masks: float32 (Q, h, w), mask logits, on the same device.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        order: of the family.
        threshold: score in [0, 1] from which an object counts.

    Raises:
        BadCheckpointError: logits that are no finite numbers.
    """
    check(classes, masks)
    scores, queries, label_ids = best_pairs(classes)
    hopeful = _hopeful(scores, threshold)
    grid = order.grid or (masks.shape[1], masks.shape[2])
    rows, columns = (_nearest(before, after).numpy() for before, after in zip(grid, (height, width), strict=True))
    found = _Listed(height, width)
    for part in hopeful.split(max(2, MEANS // (grid[0] * grid[1]))):
        # The sum of a single row is shared out among threads, and adds up in another order.
        several = part.repeat(2) if len(part) == 1 < len(scores) else part
        logits = on_grid(masks, queries[several], order)
        inside = logits > 0
        sure = (scores[several] * _means_inside(logits.sigmoid(), inside)).tolist()
        for score, label_id, mask in zip(sure, label_ids[part].tolist(), inside.cpu().numpy(), strict=False):
            shape = Enlarged(mask, rows, columns).tight() if score >= threshold else None
            if shape is None:
                continue
            found.add(label_id, score, *shape, Enlarged(mask, rows, columns))
    return found.segments


def late_instances(classes: Tensor, masks: Tensor, height: int, width: int, order: Order, threshold: float = 0.8) -> list[Segment]:
    """What EoMT's ``post_process_instance_segmentation`` finds for one image, in its order: one class per query, masks cut at the size of
    the upload. (Its map paints later ones over earlier ones.)

    Args:
        classes: float32 (Q, C + 1), class logits, the last class being none.
        masks: float32 (Q, h, w), mask logits, on the same device.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        order: of the family.
        threshold: score in [0, 1] from which an object counts.

    Raises:
        BadCheckpointError: logits that are no finite numbers.
    """
    check(classes, masks)
    scores, label_ids = classes.softmax(-1)[:, :-1].max(-1)
    hopeful = _hopeful(scores, threshold)
    together = torch.arange(len(masks), device=masks.device)
    all_at_once = len(masks) <= 4 or height + width <= SMALL_OUTPUT
    found = _Listed(height, width)
    inside_of = None if all_at_once or masks.device.type != "cpu" else _Inside.of(masks, (height, width), order)
    for part in hopeful.split(len(masks) if all_at_once else 2 if inside_of is None else TOGETHER):
        # The sum of a single row is shared out among threads, and adds up in another order.
        several = part.repeat(2) if len(part) == 1 < len(scores) else part
        logits = on_grid(masks, together if all_at_once else several, order)
        if inside_of is not None:
            cut = alone(lambda logits=logits, part=part: [inside_of(one) for one in logits[: len(part)]])
            means, shapes = torch.stack([mean for mean, _ in cut]) if cut else together.float(), [shape for _, shape in cut]
            sure = (scores[part] * means).tolist()
        else:
            resized = F.interpolate(logits[None], (height, width), mode="bilinear", align_corners=False)[0]
            resized = resized[several] if all_at_once else resized
            inside = resized > 0
            sure = (scores[several] * _means_inside(resized.sigmoid_(), inside)).tolist()
            shapes = [_tight(0, 0, mask.cpu().numpy()) for mask in inside[: len(part)]]
        for index, (score, query, shape) in enumerate(zip(sure, part.tolist(), shapes, strict=False)):
            if score < threshold or shape is None:
                continue
            one = logits[query if all_at_once else index].cpu().numpy()
            found.add(int(label_ids[query]), score, *shape, Resized(one, (height, width)))
    return found.segments


def sigmoid_instances(classes: Tensor, masks: Tensor, height: int, width: int, threshold: float = 0.5) -> list[Segment]:
    """What RF-DETR's ``post_process_instance_segmentation(..., target_sizes=[(height, width)], return_binary_maps=True)`` finds for one
    image, best first: the Q best pairs of a query and a class, none of which is no class, with masks cut at the size of the upload.
    (Its map gives a pixel to the best, and leaves out those that are hidden.)

    Args:
        classes: float32 (Q, C), class logits.
        masks: float32 (Q, h, w), mask logits, on the same device.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        threshold: score in [0, 1] above which an object counts.

    Raises:
        BadCheckpointError: logits that are no finite numbers.
    """
    check(classes, masks)
    # Which of equal ones are taken depends on the axes that are asked for.
    scores, places = (found[0] for found in classes.sigmoid().view(1, -1).topk(len(classes), dim=1))
    kept = scores > threshold
    label_ids, shown = (places % classes.shape[1])[kept].tolist(), (places // classes.shape[1])[kept].tolist()
    cut = _Cut(masks, (height, width))
    found = _Listed(height, width)
    for score, label_id, query in zip(scores[kept].tolist(), label_ids, shown, strict=True):
        shape = cut(query)
        if shape is not None:
            found.add(label_id, score, *shape, Resized(masks[query].cpu().numpy(), (height, width)))
    return found.segments


def _hopeful(scores: Tensor, threshold: float) -> Tensor:
    """Indices of those whose score may reach the threshold once it is multiplied by a mean; the others are not resized."""
    # No mean is above 1 by more than rounding makes of it, for which the factor leaves room.
    return (scores.double() * (1 + 1e-5) >= threshold).nonzero()[:, 0]


def _means_inside(probabilities: Tensor, inside: Tensor) -> Tensor:
    """The mean of each mask's probabilities where it is inside, (Q,), added up as transformers does."""
    counted = inside.float().flatten(1)
    return (probabilities.flatten(1) * counted).sum(1) / (counted.sum(1) + 1e-6)


def _nearest(before: int, after: int) -> Tensor:
    """The pixel that every pixel of an axis comes from, as ``F.interpolate(mode="nearest")`` has it: int64 (after,)."""
    places = torch.arange(before, dtype=torch.float32).view(1, 1, before, 1)
    return F.interpolate(places, (after, 1), mode="nearest").flatten().long()


class _Listed:
    """Objects one after another; beyond some memory their masks are made whenever they are asked for.

    Args:
        height: of the upload, in pixels.
        width: of the upload, in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.segments: list[Segment] = []
        self._left = KEPT * height * width

    def add(self, label_id: int, score: float, box: Box, crop: np.ndarray, make: Callable[[Box], np.ndarray]) -> None:
        """One more: its mask within its box, and what makes that again."""
        score = min(1.0, round(score, 6))
        if crop.size <= self._left:
            self._left -= crop.size
            self.segments.append(Segment(label_id, score, box, crop))
        else:
            self.segments.append(Deferred(label_id, score, box, make))


def _tight(left: int, top: int, crop: np.ndarray) -> tuple[Box, np.ndarray] | None:
    """A mask bool (h, w) at a place in the upload, its box tight round it; None without a pixel."""
    tight = tight_box(crop)
    if tight is None:
        return None
    x0, y0, x1, y1 = tight
    return (left + x0, top + y0, left + x1, top + y1), np.ascontiguousarray(crop[y0:y1, x0:x1])


class _Inside:
    """Masks where late sigmoids of resized logits are above a half, and their means there, added up as transformers does.

    Args:
        rule: of the sizes.
        size: (height, width) of the upload.
    """

    def __init__(self, rule: Rule, size: tuple[int, int]) -> None:
        self._rule, self._size = rule, size
        # All of it is added up each time, zeros too: the order decides about the last digits.
        # Written to by other threads than the caller's, which may be in inference mode.
        with torch.inference_mode(False):
            self._values = torch.zeros(size)

    @classmethod
    def of(cls, masks: Tensor, size: tuple[int, int], order: Order) -> _Inside | None:
        """For masks of a family, or None where there is no rule."""
        source = order.crop or order.grid or (masks.shape[1], masks.shape[2])
        rule = find_rule(source, size, 2, False)
        return None if rule is None else cls(rule, size)

    def __call__(self, logits: Tensor) -> tuple[Tensor, tuple[Box, np.ndarray] | None]:
        """Of logits (h, w): the mean, and the tight box with bool within it, None if no pixel is inside."""
        some, rule = largest(logits) > 0, self._rule
        rows, columns = some.any(1)[rule.rows.first].nonzero()[:, 0], some.any(0)[rule.columns.first].nonzero()[:, 0]
        if not len(rows) or not len(columns):
            return torch.zeros(()), None
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        if (bottom - top) * (right - left) > WORTH * self._size[0] * self._size[1]:
            resized = F.interpolate(logits[None, None], self._size, mode="bilinear", align_corners=False)[0, 0, top:bottom, left:right]
        else:
            resized = evaluate(logits[None], _part(rule.rows, top, bottom), _part(rule.columns, left, right), rule.combine)[0]
        inside = resized > 0
        window = self._values[top:bottom, left:right]
        torch.mul(resized.sigmoid(), inside, out=window)
        count = int(inside.sum())
        # Ones add up to any number below this one without an error, in whatever order.
        counted = torch.tensor(float(count)) if count < 1 << 24 else self._ones(inside, top, left)
        mean = self._values.view(1, -1).sum(1)[0] / (counted + 1e-6)
        window.zero_()
        return mean, _tight(left, top, inside.numpy())

    def _ones(self, inside: Tensor, top: int, left: int) -> Tensor:
        ones = torch.zeros(self._size)
        ones[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        return ones.view(1, -1).sum(1)[0]


def _part(along: Axis, begin: int, end: int) -> Axis:
    return Axis(along.first[begin:end], along.second[begin:end], along.near[begin:end], along.far[begin:end])


class _Cut:
    """Masks where resized logits are above 0.

    Args:
        masks: float32 (Q, h, w), logits.
        size: (height, width) of the upload.
    """

    def __init__(self, masks: Tensor, size: tuple[int, int]) -> None:
        self._masks, self._size = masks, size
        source = masks.shape[1], masks.shape[2]
        few = size[0] * size[1] <= DENSE_ELEMENTS // 64 or sum(size) <= SMALL_OUTPUT
        self._rule = None if few or masks.device.type != "cpu" else find_rule(source, size, 1, False)
        self._cells = None if self._rule is None else Cells(self._rule, *source)

    def __call__(self, query: int) -> tuple[Box, np.ndarray] | None:
        """The tight box of one of them in pixels of the upload, and bool within it; None if no pixel is above 0."""
        shape = None if self._rule is None else alone(self._by_corners, self._masks[query], self._rule, self._cells)
        if shape is None:
            resized = F.interpolate(self._masks[query][None, None], self._size, mode="bilinear", align_corners=False)[0, 0]
            shape = 0, 0, (resized > 0).cpu().numpy()
        left, top, crop = shape
        return _tight(left, top, crop)

    def _by_corners(self, values: Tensor, rule: Rule, cells: Cells) -> tuple[int, int, np.ndarray] | None:
        """A box's left and top, and bool within it; None where resizing all of it is faster. What lies between numbers of one sign
        has that sign, rounded or not."""
        inside = least(values) > SMALLEST
        between = ~inside & (largest(values) > 0) & cells.seen
        if int(cells.pixels[between].sum()) > WORTH * self._size[0] * self._size[1]:
            return None
        some = inside | between
        rows, columns = some.any(1)[rule.rows.first].nonzero()[:, 0], some.any(0)[rule.columns.first].nonzero()[:, 0]
        if not len(rows) or not len(columns):
            return 0, 0, np.zeros((0, 0), bool)
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        crop = inside[rule.rows.first[top:bottom]][:, rule.columns.first[left:right]]
        for y, x in cells.groups(between):
            resized, r, c, _ = cells.evaluate(values, y, x, rule)
            crop[r[:, :, None] - top, c[:, None, :] - left] = resized > 0
        return left, top, crop.numpy()

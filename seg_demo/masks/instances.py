"""Object masks at the size of the upload, resized inside their own boxes only.

Of boxes, equal to ``torchvision.models.detection.roi_heads.paste_masks_in_image(...) > 0.5``, which fills N x H x W floats instead. Of class
queries, whose masks may lie over others, identical to transformers' post-processing without its Q x H x W floats: only where a mask is, and
only along its edges pixel by pixel. Objects as large as the image could still fill the memory with their masks: from a total on, a mask is
resized anew whenever it is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks

from seg_demo.core import Box, PackedRuns, Painter, Runs, Segment, SoftMask, paint, tight_box
from seg_demo.masks.queries import WORTH, Order, best_pairs, check, on_grid
from seg_demo.masks.resize import SMALL_OUTPUT, Rule, alone, each, enlarged_bytes, evaluate, find_rule, largest, part_of, reached, runs_above

THRESHOLD = 0.5
# Bytes of masks that are kept, per pixel of the image.
KEPT = 4
# Pixels that are resized at a time.
STRIP = 1 << 19
# The share of a value that rounding leaves of it at least when it is resized.
LEAST = 1 - 1e-5
# Floats of masks whose means are taken at once (16 MiB).
MEANS = 4_000_000
# Masks that are brought to the grid or cut at once.
TOGETHER = 8


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


def from_boxes(
    boxes: Tensor, masks: Tensor, scores: Tensor, label_ids: Tensor, height: int, width: int, confidence: bool = False
) -> tuple[Segment, ...]:
    """Segments of detections, in their order; detections without a single pixel are left out.

    Args:
        boxes: float (N, 4), x0 y0 x1 y1 in pixels of the upload.
        masks: float (N, 1, M, M) in [0, 1], the mask within the box.
        scores: float (N,) in [0, 1].
        label_ids: int (N,).
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        confidence: also keep the masks' probabilities, as ``Segment.soft``.

    Returns:
        One segment per object, its box tight around its mask.
    """
    # The same padding and rounding as torchvision, by its own functions: one pixel of border on each side of the mask.
    padded, scale = expand_masks(masks.float(), padding=1)
    corners = expand_boxes(boxes.float(), scale).to(torch.int64).tolist()
    found = corners, padded.detach().cpu(), scores.tolist(), label_ids.tolist()
    return alone(_segments, found, height, width, confidence)


def _segments(
    found: tuple[list[list[int]], Tensor, list[float], list[int]], height: int, width: int, confidence: bool
) -> tuple[Segment, ...]:
    """Segments of boxes, padded masks, scores and label ids."""
    segments, left = [], KEPT * height * width
    for corners, mask, score, label_id in zip(*found, strict=True):
        segment = _segment(_Placed(mask, corners, height, width), min(1.0, score), label_id, confidence, left)
        if segment is None:
            continue
        segments.append(segment)
        if not isinstance(segment, _Pasted):
            left -= segment.mask.size + (segment.soft.values.size if confidence else 0)
    return tuple(segments)


def _segment(placed: _Placed, score: float, label_id: int, confidence: bool, left: int) -> Segment | None:
    """One segment, its masks kept if they take no more than the bytes that are left; None if it has no pixel."""
    likely = placed.likely()
    shape = None if likely is None else placed.mask(likely)
    if shape is None:
        return None
    box, crop = shape
    if crop.size + likely.size * confidence > left:
        return _Pasted(label_id, score, box, placed, confidence)
    return Segment(label_id, score, box, crop, placed.soft(likely) if confidence else None)


class _Placed:
    """A mask within its box, as the network gives it, and where it lies in the image.

    Kept as numpy: such objects leave ZeroGPU's worker, and a tensor would only hand over its shared memory, which ends with it.

    Args:
        mask: float32 (1, M + 2, M + 2), probabilities, on the CPU.
        box: of the padded mask, x0 y0 x1 y1 inclusive, as torchvision's ``paste_mask_in_image`` takes it.
        height: of the image, in pixels.
        width: of the image, in pixels.
    """

    def __init__(self, mask: Tensor, box: list[int], height: int, width: int) -> None:
        x0, y0, x1, y1 = box
        self._mask, self._size = mask.numpy(), (max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1))
        self.left, self.top = max(x0, 0), max(y0, 0)
        # The part of the resized mask that lies in the image.
        self._rows = slice(self.top - y0, min(y1 + 1, height) - y0)
        self._columns = slice(self.left - x0, min(x1 + 1, width) - x0)

    def likely(self) -> np.ndarray | None:
        """Probabilities inside the image: float32 (h, w), or None if the box lies outside."""
        if self._rows.start >= self._rows.stop or self._columns.start >= self._columns.stop:
            return None
        resized = F.interpolate(torch.from_numpy(self._mask)[None], self._size, mode="bilinear", align_corners=False)[0, 0]
        return resized[self._rows, self._columns].numpy()

    def mask(self, likely: np.ndarray) -> tuple[Box, np.ndarray] | None:
        """The tight box in pixels of the image, and bool (y1 - y0, x1 - x0) within it; None if nothing is likely."""
        pixels = likely > THRESHOLD
        tight = tight_box(pixels)
        if tight is None:
            return None
        x0, y0, x1, y1 = tight
        box = self.left + x0, self.top + y0, self.left + x1, self.top + y1
        return box, np.ascontiguousarray(pixels[y0:y1, x0:x1])

    def soft(self, likely: np.ndarray) -> SoftMask:
        """Probabilities in [0, 1] as 8 bits."""
        height, width = likely.shape
        values = np.rint(likely.clip(0, 1) * 255).astype(np.uint8)
        return SoftMask((self.left, self.top, self.left + width, self.top + height), values)


class _Pasted(Segment):
    """An object whose mask, and soft mask, are resized whenever they are asked for.

    Args:
        label_id: index into the label set.
        score: confidence in [0, 1].
        box: tight around the mask, in the pixels that ``placed`` has.
        placed: its mask.
        confidence: whether it has a soft mask.
        shift: pixels to the right and down from there to the image it belongs to.
    """

    def __init__(
        self, label_id: int, score: float, box: Box, placed: _Placed, confidence: bool, shift: tuple[int, int] = (0, 0)
    ) -> None:
        right, down = shift
        there = box[0] + right, box[1] + down, box[2] + right, box[3] + down
        for name, value in {"label_id": label_id, "score": score, "box": there}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_source", (box, placed, confidence, shift))

    @property
    def has_mask(self) -> bool:
        """True."""
        return True

    @property
    def mask(self) -> np.ndarray:
        """bool (y1 - y0, x1 - x0)."""
        placed = self._source[1]
        return alone(lambda: placed.mask(placed.likely())[1])

    @property
    def soft(self) -> SoftMask | None:
        """Probabilities, if confidence was asked for."""
        _, placed, confidence, (right, down) = self._source
        if not confidence:
            return None
        found = alone(lambda: placed.soft(placed.likely()))
        x0, y0, x1, y1 = found.box
        return SoftMask((x0 + right, y0 + down, x1 + right, y1 + down), found.values)

    def moved(self, right: int, down: int) -> Segment:
        """The same object, so many pixels further right and down."""
        box, placed, confidence, shift = self._source
        return _Pasted(self.label_id, self.score, box, placed, confidence, (shift[0] + right, shift[1] + down))


class Deferred(Segment):
    """An object whose mask is made whenever it is asked for.

    Args:
        label_id: index into the label set.
        score: in [0, 1].
        box: tight around the mask, in pixels of the upload that it was found in.
        source: what its mask is made of; plain data, for results travel between processes.
        shift: pixels to the right and down from there to the image that it belongs to.
    """

    def __init__(self, label_id: int, score: float, box: Box, source: PackedRuns | Enlarged | Resized, shift: tuple[int, int] = (0, 0)) -> None:
        right, down = shift
        there = box[0] + right, box[1] + down, box[2] + right, box[3] + down
        for name, value in {"label_id": label_id, "score": score, "box": there, "soft": None}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_source", (box, source, shift))

    @property
    def has_mask(self) -> bool:
        """True."""
        return True

    @property
    def mask(self) -> np.ndarray:
        """bool (y1 - y0, x1 - x0)."""
        box, source, _ = self._source
        return source.crop(box)

    @property
    def enlarged(self) -> Enlarged | None:
        """The mask at the low size, if it is one of the image that the object belongs to."""
        _, source, shift = self._source
        return source if isinstance(source, Enlarged) and shift == (0, 0) else None

    def runs(self, height: int) -> Runs:
        """As :meth:`Segment.runs`; where they are kept, without the mask."""
        _, source, shift = self._source
        if shift != (0, 0) or height != source.height:
            return super().runs(height)
        return source.runs()

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        return self._source[1].area

    def labelled(self, label_id: int) -> Segment:
        """The same object of another class."""
        return Deferred(label_id, self.score, *self._source)

    def moved(self, right: int, down: int) -> Segment:
        """The same object, so many pixels further right and down."""
        box, source, shift = self._source
        return Deferred(self.label_id, self.score, box, source, (shift[0] + right, shift[1] + down))


@dataclass(frozen=True)
class Enlarged:
    """A mask at a low size, enlarged without interpolation.

    Attributes:
        small: bool (h, w).
        rows: int (H,), the row that every row of the upload comes from.
        columns: int (W,), likewise.
    """

    small: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @property
    def height(self) -> int:
        """Of the upload, in pixels."""
        return len(self.rows)

    @property
    def area(self) -> int:
        """Pixels of the mask in the upload."""
        down, across = (np.bincount(along, minlength=side) for along, side in zip((self.rows, self.columns), self.small.shape, strict=True))
        return int(down @ (self.small @ across))

    @property
    def box(self) -> Box | None:
        """The smallest box in pixels of the upload; None without a pixel."""
        # Where the upload leaves rows out, what is left of the mask counts.
        rows, columns = np.unique(self.rows), np.unique(self.columns)
        seen = self.small[np.ix_(rows, columns)]
        down, across = np.isin(self.rows, rows[seen.any(1)]).nonzero()[0], np.isin(self.columns, columns[seen.any(0)]).nonzero()[0]
        return (int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1) if len(down) else None

    def crop(self, box: Box) -> np.ndarray:
        """The mask within a box in pixels of the upload."""
        x0, y0, x1, y1 = box
        return self.small[np.ix_(self.rows[y0:y1], self.columns[x0:x1])]

    def runs(self) -> Runs:
        """The mask's runs down the columns of the upload."""
        box = (0, 0, len(self.columns), len(self.rows))
        return Runs.of_crop(self.crop(box), box, self.height)


@dataclass(frozen=True)
class Resized:
    """A mask where logits are above 0 at the size of the upload: the bits of ``F.interpolate(...) > 0``, computed where they can be true.

    Attributes:
        logits: float32 (h, w); or what is compared with another threshold.
        size: (height, width) of the upload.
        grid: (height, width) that the logits are resized to first, or None.
        crop_size: (height, width) of what is kept of that, the rest being padding; None for all of it.
        together: how many maps the library resizes at once: it has another kernel for three.
        corner: (left, top) in pixels, of the part of the upload that is meant, if ``size`` is that of a part.
        threshold: what is above it is inside; at least 0.
    """

    logits: np.ndarray
    size: tuple[int, int]
    grid: tuple[int, int] | None = None
    crop_size: tuple[int, int] | None = None
    together: int = 1
    corner: tuple[int, int] = (0, 0)
    threshold: float = 0.0

    @property
    def height(self) -> int | None:
        """Of the upload, in pixels; None where runs are those of a part of it."""
        return self.size[0] if self.corner == (0, 0) else None

    @property
    def area(self) -> int:
        """Pixels of the mask in the upload."""
        return self.runs().area

    def crop(self, box: Box) -> np.ndarray:
        """The mask within a box in pixels of the upload."""
        left, top = self.corner
        x0, y0, x1, y1 = box[0] - left, box[1] - top, box[2] - left, box[3] - top
        return runs_of(self._source(), self.size, self.together, (x0, x1), self.threshold)[0].crop((0, y0, x1 - x0, y1))

    def tight(self) -> tuple[Box, np.ndarray] | None:
        """The smallest box in pixels of the upload and the mask within it; None without a pixel."""
        runs, (left, top) = self.runs(), self.corner
        if runs.box is None:
            return None
        x0, y0, x1, y1 = runs.box
        return (left + x0, top + y0, left + x1, top + y1), runs.crop(runs.box)

    def runs(self) -> Runs:
        """The mask's runs down the columns of the upload, or of the part of it."""
        return runs_of(self._source(), self.size, self.together, threshold=self.threshold)[0]

    def _source(self) -> Tensor:
        """What the last resize starts from: float32 (1, h', w')."""
        source = torch.from_numpy(self.logits)[None]
        if self.grid is not None:
            several = source[None].repeat(1, self.together, 1, 1)
            source = F.interpolate(several, self.grid, mode="bilinear", align_corners=False)[0, :1]
        return source if self.crop_size is None else source[:, : self.crop_size[0], : self.crop_size[1]].contiguous()


@dataclass(frozen=True)
class Corrected(Resized):
    """A mask that somebody drew, in places another.

    Attributes:
        drawn: bool, of ``size``; None for nothing.
        changed: bool (h', w'): where the logits count instead, each cell for as many pixels as it stands for.
    """

    drawn: np.ndarray | None = None
    changed: np.ndarray | None = None

    def crop(self, box: Box) -> np.ndarray:
        """As :meth:`Resized.crop`."""
        (left, top), (x0, y0, x1, y1) = self.corner, box
        return self.runs().crop((x0 - left, y0 - top, x1 - left, y1 - top))

    def runs(self) -> Runs:
        """As :meth:`Resized.runs`."""
        rows, columns = (np.arange(length) * cells // length for length, cells in zip(self.size, self.changed.shape, strict=True))
        whole = (0, 0, self.size[1], self.size[0])
        return Runs.of_crop(np.where(self.changed[rows[:, None], columns], super().runs().crop(whole), self.drawn), whole, self.size[0])


def runs_of(
    maps: Tensor, size: tuple[int, int], together: int = 1, columns: tuple[int, int] | None = None, threshold: float = 0.0
) -> list[Runs]:
    """Where resized maps are above a threshold: the bits of ``F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0] > 0``.

    Args:
        maps: float32 (K, h, w).
        size: (H, W).
        together: how many the library resizes at once.
        columns: first and past the last column that are meant; None for all.
        threshold: at least 0.
    """
    x0, x1 = columns or (0, size[1])
    rule = None
    if sum(size) > SMALL_OUTPUT and maps.device.type == "cpu":
        rule = find_rule((maps.shape[1], maps.shape[2]), size, together, False)
    # Between values of one sign rounding keeps what a place in the source says of its pixels; above other thresholds every pixel is computed.
    if rule is not None and rule.add is not None and threshold == 0:
        part = replace(rule, columns=part_of(rule.columns, x0, x1))
        found = each(lambda one: runs_above(one, part), maps)
    else:
        found = [None] * len(maps)
    return [_densely(one, size, together, rule, (x0, x1), threshold) if runs is None else runs for one, runs in zip(maps, found, strict=True)]


def _densely(one: Tensor, size: tuple[int, int], together: int, rule: Rule | None, columns: tuple[int, int], threshold: float) -> Runs:
    """As :func:`runs_of`, of one map (h, w): pixel by pixel, where some source pixel round it is as large."""
    (height, _), (x0, x1) = size, columns
    if rule is None:
        several = one[None, None].repeat(1, together, 1, 1)
        inside = (F.interpolate(several, size, mode="bilinear", align_corners=False)[0, 0] > threshold).cpu().numpy()
        return Runs.of_crop(inside[:, x0:x1], (0, 0, x1 - x0, height), height)
    some = one > threshold * LEAST
    (top, bottom), (left, right) = (reached(along, some.any(other)) for along, other in ((rule.rows, 1), (rule.columns, 0)))
    left, right = max(left, x0), min(right, x1)
    if top >= bottom or left >= right:
        return Runs.of_edges(np.zeros(0, np.int64), height)
    mask, across = np.empty((bottom - top, right - left), bool), part_of(rule.columns, left, right)
    step = max(1, STRIP // (right - left))
    for first in range(top, bottom, step):
        down = part_of(rule.rows, first, min(first + step, bottom))
        mask[first - top : first - top + step] = (alone(evaluate, one[None], down, across, rule.combine)[0] > threshold).numpy()
    return Runs.of_crop(mask, (left - x0, top, right - x0, bottom), height)


def paint_objects(segments: Sequence[Segment], height: int, width: int) -> np.ndarray:
    """As :func:`seg_demo.core.types.paint`, without the masks of objects that are kept otherwise.

    Args:
        segments: objects with masks, best first.
        height: pixels.
        width: pixels.
    """
    if not any(isinstance(segment, Deferred) for segment in segments):
        return paint(segments, height, width)
    enlarged = [segment.enlarged for segment in segments if isinstance(segment, Deferred)]
    if len(enlarged) == len(segments) and all(one is not None and one.rows is enlarged[0].rows for one in enlarged):
        # All pixels of the upload that come from the same one have the same object.
        rows, columns, small = enlarged[0].rows, enlarged[0].columns, enlarged[0].small.shape
        low = np.zeros(small, np.min_scalar_type(len(segments)))
        for index in range(len(enlarged) - 1, -1, -1):
            low[enlarged[index].small] = index + 1
        return low[rows][:, columns]
    painter = Painter(height, width)
    for segment in segments:
        painter.add(segment.runs(height))
    return painter.id_map()


def cropped(segment: Segment, height: int, width: int) -> Segment | None:
    """The part of an object above and left of an image's lower right corner; None if there is none.

    Args:
        segment: has a mask.
        height: of the image, in pixels.
        width: of the image, in pixels.
    """
    x0, y0, x1, y1 = segment.box
    if x1 <= width and y1 <= height:
        return segment
    if x0 >= width or y0 >= height:
        return None
    crop = segment.mask[: height - y0, : width - x0]
    tight = tight_box(crop)
    if tight is None:
        return None
    left, top, right, bottom = tight
    box = x0 + left, y0 + top, x0 + right, y0 + bottom
    return Segment(segment.label_id, segment.score, box, np.ascontiguousarray(crop[top:bottom, left:right]))


def early_instances(classes: Tensor, masks: Tensor, height: int, width: int, order: Order, threshold: float = 0.5) -> list[Segment]:
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
    grid = order.grid or (masks.shape[1], masks.shape[2])
    rows, columns = (_nearest(before, after).numpy() for before, after in zip(grid, (height, width), strict=True))
    found: list[Segment] = []
    for part, several in _hopeful(scores, threshold, max(2, MEANS // (grid[0] * grid[1]))):
        logits = on_grid(masks, queries[several], order)
        inside = logits > 0
        sure = (scores[several] * _means_inside(logits.sigmoid(), inside)).tolist()
        for score, label_id, mask in zip(sure, label_ids[part].tolist(), inside.cpu().numpy(), strict=False):
            enlarged = Enlarged(mask.copy(), rows, columns)
            box = enlarged.box if score >= threshold else None
            if box is not None:
                found.append(Deferred(label_id, min(1.0, round(score, 6)), box, enlarged))
    return found


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
    together = torch.arange(len(masks), device=masks.device)
    all_at_once = len(masks) <= 4 or height + width <= SMALL_OUTPUT
    found = _Listed(height, width)
    inside_of = None if all_at_once or masks.device.type != "cpu" else _Inside.of(masks, (height, width), order)
    for part, several in _hopeful(scores, threshold, len(masks) if all_at_once else 2 if inside_of is None else TOGETHER):
        logits = on_grid(masks, together if all_at_once else several, order)
        if inside_of is not None:
            cut = each(inside_of, logits[: len(part)])
            means, shapes = torch.stack([mean for mean, _ in cut]), [shape for _, shape in cut]
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
    found = _Listed(height, width)
    listed = list(zip(scores[kept].tolist(), label_ids, shown, strict=True))
    for start in range(0, len(listed), TOGETHER):
        part = listed[start : start + TOGETHER]
        cut = runs_of(masks[[query for _, _, query in part]], (height, width))
        for (score, label_id, query), runs in zip(part, cut, strict=True):
            if runs.box is not None:
                found.add_runs(label_id, score, runs, lambda query=query: Resized(masks[query].cpu().numpy(), (height, width)))
    return found.segments


def _hopeful(scores: Tensor, threshold: float, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices of those whose score may reach the threshold once it is multiplied by a mean, the others not being resized: so many at a
    time, and the same with one that is alone twice, because the sum of a single row is shared out among threads and adds up in another
    order."""
    # No mean is above 1 by more than rounding makes of it, for which the factor leaves room.
    hopeful = (scores.double() * (1 + 1e-5) >= threshold).nonzero()[:, 0]
    # Of nothing at all torch makes one part.
    for part in hopeful.split(count) if len(hopeful) else ():
        yield part, part.repeat(2) if len(part) == 1 < len(scores) else part


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

    def add(self, label_id: int, score: float, box: Box, crop: np.ndarray, source: Resized) -> None:
        """One more: its mask within its box, and what makes that again."""
        score = min(1.0, round(score, 6))
        if crop.size <= self._left:
            self._left -= crop.size
            self.segments.append(Segment(label_id, score, box, crop))
        else:
            self.segments.append(Deferred(label_id, score, box, source))

    def add_runs(self, label_id: int, score: float, runs: Runs, source: Callable[[], Resized]) -> None:
        """One more: its mask as runs, which are kept in whatever way takes the least, and what makes it again."""
        score, box, packed = min(1.0, round(score, 6)), runs.box, PackedRuns.of(runs)
        area = (box[2] - box[0]) * (box[3] - box[1])
        if area <= min(packed.nbytes, self._left):
            self.add(label_id, score, box, runs.crop(box), source)
            return
        fits = packed.nbytes <= self._left
        self._left -= packed.nbytes * fits
        self.segments.append(Deferred(label_id, score, box, packed if fits else source()))


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
        self._rule, self._size, self._own = rule, size, threading.local()

    @property
    def _values(self) -> Tensor:
        """A thread's own, zeros but for where it writes. All of it is added up each time, zeros too: the order decides about the last digits."""
        if not hasattr(self._own, "values"):
            # The caller may be in inference mode.
            with torch.inference_mode(False):
                self._own.values = torch.zeros(self._size)
        return self._own.values

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
            resized = evaluate(logits[None], part_of(rule.rows, top, bottom), part_of(rule.columns, left, right), rule.combine)[0]
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

"""Object masks at the size of the upload, resized inside their own boxes only.

Equal to ``torchvision.models.detection.roi_heads.paste_masks_in_image(...) > 0.5``, which fills N x H x W floats instead.
Objects as large as the image could still fill the memory with their masks: from a total on, a mask is resized anew whenever it
is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks

from seg_demo.core.rle import Box
from seg_demo.core.types import Segment, SoftMask, tight_box
from seg_demo.masks.resize import SMALL_OUTPUT, Rule, alone, evaluate, find_rule, part_of

THRESHOLD = 0.5
# Bytes of masks that are kept, per pixel of the image.
KEPT = 4
# Pixels that are resized at a time.
STRIP = 1 << 19


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
        make: that box → bool (y1 - y0, x1 - x0); plain data, for results travel between processes.
        shift: pixels to the right and down from there to the image that it belongs to.
    """

    def __init__(self, label_id: int, score: float, box: Box, make: Callable[[Box], np.ndarray], shift: tuple[int, int] = (0, 0)) -> None:
        right, down = shift
        there = box[0] + right, box[1] + down, box[2] + right, box[3] + down
        for name, value in {"label_id": label_id, "score": score, "box": there, "soft": None}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_source", (box, make, shift))

    @property
    def has_mask(self) -> bool:
        """True."""
        return True

    @property
    def mask(self) -> np.ndarray:
        """bool (y1 - y0, x1 - x0)."""
        box, make, _ = self._source
        return make(box)

    def labelled(self, label_id: int) -> Segment:
        """The same object of another class."""
        return Deferred(label_id, self.score, *self._source)

    def moved(self, right: int, down: int) -> Segment:
        """The same object, so many pixels further right and down."""
        box, make, shift = self._source
        return Deferred(self.label_id, self.score, box, make, (shift[0] + right, shift[1] + down))


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

    def __call__(self, box: Box) -> np.ndarray:
        """The mask within a box in pixels of the upload."""
        x0, y0, x1, y1 = box
        return self.small[np.ix_(self.rows[y0:y1], self.columns[x0:x1])]

    def tight(self) -> tuple[Box, np.ndarray] | None:
        """The smallest box in pixels of the upload and the mask within it; None without a pixel."""
        down, across = self.small.any(1)[self.rows].nonzero()[0], self.small.any(0)[self.columns].nonzero()[0]
        if not len(down) or not len(across):
            return None
        x, y = int(across[0]), int(down[0])
        crop = self((x, y, int(across[-1]) + 1, int(down[-1]) + 1))
        # Where the upload leaves rows out, what is left may be narrower.
        tight = tight_box(crop)
        if tight is None:
            return None
        x0, y0, x1, y1 = tight
        return (x + x0, y + y0, x + x1, y + y1), np.ascontiguousarray(crop[y0:y1, x0:x1])


@dataclass(frozen=True)
class Resized:
    """A mask where logits are above 0 at the size of the upload: the bits of ``F.interpolate(...) > 0``, computed where they can be true.

    Attributes:
        logits: float32 (h, w).
        size: (height, width) of the upload.
        grid: (height, width) that the logits are resized to first, or None.
        crop: (height, width) of what is kept of that, the rest being padding; None for all of it.
        together: how many maps the library resizes at once: it has another kernel for three.
        corner: (left, top) in pixels, of the part of the upload that is meant, if ``size`` is that of a part.
    """

    logits: np.ndarray
    size: tuple[int, int]
    grid: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    together: int = 1
    corner: tuple[int, int] = (0, 0)

    def __call__(self, box: Box) -> np.ndarray:
        """The mask within a box in pixels of the upload."""
        left, top = self.corner
        shifted = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
        source = self._source()
        return alone(self._inside, source, shifted, self._rule(source))

    def tight(self) -> tuple[Box, np.ndarray] | None:
        """The smallest box in pixels of the upload and the mask within it; None without a pixel."""
        source = self._source()
        return alone(self._tight, source, self._rule(source))

    def _source(self) -> Tensor:
        """What the last resize starts from: float32 (h', w')."""
        source = torch.from_numpy(self.logits)
        if self.grid is not None:
            several = source[None, None].repeat(1, self.together, 1, 1)
            source = F.interpolate(several, self.grid, mode="bilinear", align_corners=False)[0, 0]
        return source if self.crop is None else source[: self.crop[0], : self.crop[1]].contiguous()

    def _rule(self, source: Tensor) -> Rule | None:
        if sum(self.size) <= SMALL_OUTPUT:
            return None
        return find_rule((source.shape[0], source.shape[1]), self.size, self.together, False)

    def _tight(self, source: Tensor, rule: Rule | None) -> tuple[Box, np.ndarray] | None:
        height, width = self.size
        box = (0, 0, width, height)
        if rule is not None:
            # Weights are not negative: a pixel between values of which none is above 0 is not above 0 itself.
            spans = []
            for axis, line in ((rule.columns, (source > 0).any(0)), (rule.rows, (source > 0).any(1))):
                places = (line[axis.first] | line[axis.second]).nonzero()[:, 0]
                if not len(places):
                    return None
                spans.append((int(places[0]), int(places[-1]) + 1))
            (x0, x1), (y0, y1) = spans
            box = (x0, y0, x1, y1)
        mask = self._inside(source, box, rule)
        tight = tight_box(mask)
        if tight is None:
            return None
        left, top, right, bottom = tight
        x, y = box[0] + self.corner[0], box[1] + self.corner[1]
        return (x + left, y + top, x + right, y + bottom), np.ascontiguousarray(mask[top:bottom, left:right])

    def _inside(self, source: Tensor, box: Box, rule: Rule | None) -> np.ndarray:
        x0, y0, x1, y1 = box
        if rule is None:
            several = source[None, None].repeat(1, self.together, 1, 1)
            resized = F.interpolate(several, self.size, mode="bilinear", align_corners=False)[0, 0]
            return (resized[y0:y1, x0:x1] > 0).numpy()
        mask = np.empty((y1 - y0, x1 - x0), bool)
        columns, step = part_of(rule.columns, x0, x1), max(1, STRIP // (x1 - x0))
        for top in range(y0, y1, step):
            rows = part_of(rule.rows, top, min(top + step, y1))
            mask[top - y0 : top - y0 + step] = (evaluate(source[None], rows, columns, rule.combine)[0] > 0).numpy()
        return mask


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

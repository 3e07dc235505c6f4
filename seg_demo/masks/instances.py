"""Object masks at the size of the upload, resized inside their own boxes only.

Equal to ``torchvision.models.detection.roi_heads.paste_masks_in_image(...) > 0.5``, which fills N x H x W floats instead.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks

from seg_demo.masks.threads import alone
from seg_demo.types import Segment, SoftMask, tight_box

THRESHOLD = 0.5


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
    found = corners, padded.cpu(), scores.tolist(), label_ids.tolist()
    return alone(_segments, found, height, width, confidence)


def _segments(
    found: tuple[list[list[int]], Tensor, list[float], list[int]], height: int, width: int, confidence: bool
) -> tuple[Segment, ...]:
    """Segments of boxes, padded masks, scores and label ids."""
    segments = []
    for box, mask, score, label_id in zip(*found, strict=True):
        placed = _paste(mask, box, height, width)
        if placed is None:
            continue
        likely, left, top = placed
        pixels = likely > THRESHOLD
        tight = tight_box(pixels)
        if tight is None:
            continue
        x0, y0, x1, y1 = tight
        crop = np.ascontiguousarray(pixels[y0:y1, x0:x1])
        soft = _soft(likely, left, top) if confidence else None
        segments.append(Segment(label_id, min(1.0, score), (left + x0, top + y0, left + x1, top + y1), crop, soft))
    return tuple(segments)


def _paste(mask: Tensor, box: list[int], height: int, width: int) -> tuple[np.ndarray, int, int] | None:
    """Probabilities of one mask inside the image: float32 (h, w), its left and top, or None if it lies outside.

    Args:
        mask: float (1, M + 2, M + 2).
        box: of the padded mask, x0 y0 x1 y1 inclusive, as torchvision's ``paste_mask_in_image`` takes it.
    """
    x0, y0, x1, y1 = box
    size = max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1)
    left, right, top, bottom = max(x0, 0), min(x1 + 1, width), max(y0, 0), min(y1 + 1, height)
    if left >= right or top >= bottom:
        return None
    resized = F.interpolate(mask[None], size, mode="bilinear", align_corners=False)[0, 0]
    return resized[top - y0 : bottom - y0, left - x0 : right - x0].numpy(), left, top


def _soft(likely: np.ndarray, left: int, top: int) -> SoftMask:
    """Probabilities in [0, 1] as 8 bits."""
    height, width = likely.shape
    values = np.rint(likely.clip(0, 1) * 255).astype(np.uint8)
    return SoftMask((left, top, left + width, top + height), values)

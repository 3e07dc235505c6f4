"""Label maps at the size of the upload, identical to a dense resize and argmax but without its C x H x W floats."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg_demo.errors import BadCheckpointError
from seg_demo.masks.confidence import probability_and_margin
from seg_demo.masks.corners import labels_by_corners
from seg_demo.masks.interpolation import SMALL_OUTPUT, find_rule, is_channels_last
from seg_demo.masks.threads import alone
from seg_demo.masks.transfers import to_host
from seg_demo.types import LabelSet, Segmentation, semantic_segmentation

# Up to this many floats (32 MiB) the dense way is the fastest.
DENSE_ELEMENTS = 8_000_000
# A multiple of every processor's vector: the kernel for channels-last and for small outputs rounds the classes that fill
# a vector otherwise than the remainder, so a class must keep its place.
CHUNK = 16


def argmax_resized(logits: Tensor, height: int, width: int) -> np.ndarray:
    """Label of every pixel: ``F.interpolate(logits[None], (height, width), mode="bilinear").argmax(1)``, to the last bit.

    One class is a binary decision: a resized logit above 0 is label 1.

    Args:
        logits: floating (C, h, w), any device and memory layout; NaN wins, as in torch.
        height: of the label map, in pixels.
        width: of the label map, in pixels.

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
        rule = find_rule((source[0], source[1]), (height, width), classes, is_channels_last(logits))
        if rule is not None:
            # Zeros stay zeros in a resize, and the first of equals wins.
            compared = torch.cat([torch.zeros_like(logits), logits]) if classes == 1 else logits
            labels = alone(labels_by_corners, compared, rule)
    if labels is None and classes == 1:
        labels = F.interpolate(logits[None], (height, width), mode="bilinear", align_corners=False)[0, 0] > 0
    elif labels is None:
        labels = _labels_by_classes(logits, height, width)
    return to_host(labels.to(_dtype(classes)))


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


def _labels_by_classes(logits: Tensor, height: int, width: int) -> Tensor:
    """The same by resizing a few classes at a time and keeping the best so far.

    Args:
        logits: float32 (C, h, w).
        height: of the label map, in pixels.
        width: of the label map, in pixels.

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
        resized = F.interpolate(part, (height, width), mode="bilinear", align_corners=False)[0]
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

    def of(self, labels: Iterable[int]) -> dict[int, float]:
        """Softmax probability in [0, 1] per label id: the mean over the grid points where the class is the largest, or,
        where it is so only between grid points, its largest value."""
        means = torch.where(self._count > 0, self._total / self._count.clamp(min=1), self._largest).clamp(0, 1).tolist()
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
        raise BadCheckpointError("The network returned NaN or infinity for this image; its weights are damaged or diverged.")
    padded = padded or (height, width)
    label_map = np.ascontiguousarray(argmax_resized(logits, *padded)[:height, :width])
    shown = logits[:, : ceil(logits.shape[1] * height / padded[0]), : ceil(logits.shape[2] * width / padded[1])]
    scores = MeanScores()
    scores.add(shown)
    sure = np.ascontiguousarray(probability_and_margin(logits, *padded)[:, :height, :width]) if confidence else (None, None)
    return semantic_segmentation(label_map, labels, scores.of(range(len(labels))), *sure)

"""Cross-entropy and Dice loss of logits that are smaller than the labels, without ever holding C x H x W.

The plain way resizes all class logits to full size, and softmax, its gradient and Dice's one-hot labels are as large again:
for 150 classes and two crops of 512 x 512 that is 315 MB each. Here a few rows at a time are resized, scored and
differentiated while they are in the processor's cache; what is kept is a gradient of the size of the logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Numbers in a band: small enough for a cache, large enough that calls cost nothing.
BAND = {"cpu": 2**22, "cuda": 2**24}
# As in smp.losses.DiceLoss.
EPSILON = 1e-7


def banded_loss(
    logits: Tensor, labels: Tensor, ignore: int, cross_entropy: float, dice: float, class_weights: Tensor | None = None
) -> Tensor:
    """``cross_entropy * sum of F.cross_entropy + dice * smp.losses.DiceLoss("multiclass")`` of bilinearly resized logits.

    Equal, gradient included, up to rounding.

    Args:
        logits: (B, C, h, w), C of at least 2.
        labels: int64 (B, H, W), class ids or ``ignore``.
        ignore: label of the pixels that count for nothing.
        cross_entropy: factor of the sum over all pixels.
        dice: factor of the Dice loss (Milletari et al. 2016), the mean over the classes; classes that do not occur count 0.
        class_weights: float32 (C,) for the cross-entropy, or None.

    Returns:
        A number; it can be differentiated once.
    """
    return _Banded.apply(logits.float(), labels, ignore, cross_entropy, dice, class_weights)


class _Banded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, ignore: int, cross_entropy: float, dice: float, class_weights: Tensor | None
    ) -> Tensor:
        """The loss; its gradient is found on the way, since the bands are at hand then."""
        with torch.autocast(logits.device.type, enabled=False):
            loss, slopes = logits.new_zeros(()), None
            if dice:
                score, slopes = _dice(logits, labels, ignore)
                loss, slopes = loss + dice * score, [dice * each for each in slopes]
            gradient = torch.zeros_like(logits)
            for rows, band, log_p in _bands(logits, labels.shape[-2:]):
                target = labels[:, rows]
                known = target != ignore
                index = torch.where(known, target, 0)[:, None]
                weight = cross_entropy * known if class_weights is None else cross_entropy * class_weights[index[:, 0]] * known
                loss = loss - (weight * log_p.gather(1, index)[:, 0]).sum()
                p = log_p.exp_()
                factor, own = weight[:, None], -weight[:, None]
                if slopes is not None:
                    # Through the softmax: dz = p (g - sum of g p), where g = slope of the class, and more at the true one.
                    everywhere, at_truth = slopes
                    extra = at_truth[index[:, 0]][:, None] * known[:, None] * p.gather(1, index)
                    mean = torch.einsum("bcrw,c->brw", p, everywhere)[:, None] * known[:, None]
                    factor, own = factor - mean - extra, own + extra
                    p_slope = p * (everywhere.view(1, -1, 1, 1) * known[:, None])
                    p = p.mul_(factor).add_(p_slope)
                else:
                    p = p.mul_(factor)
                band.add(gradient, p.scatter_add_(1, index, own.to(p.dtype)))
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple:
        """The stored gradient, times what comes from above."""
        (gradient,) = ctx.saved_tensors
        return gradient * above, None, None, None, None, None


def _dice(logits: Tensor, labels: Tensor, ignore: int) -> tuple[Tensor, list[Tensor]]:
    """Dice loss, and its derivatives by the probability of a class: float32 (C,) everywhere, and (C,) more where it is true."""
    classes = logits.shape[1]
    common, total, count = (logits.new_zeros(classes) for _ in range(3))
    for rows, _, log_p in _bands(logits, labels.shape[-2:]):
        target = labels[:, rows]
        known = target != ignore
        index = torch.where(known, target, 0)
        p = log_p.exp_().mul_(known[:, None])
        total += p.sum((0, 2, 3))
        common.index_add_(0, index.flatten(), p.gather(1, index[:, None]).flatten())
        count += torch.bincount(index[known], minlength=classes)
    sizes = (total + count).clamp_min(EPSILON)
    share = (count > 0) / classes
    loss = ((1 - 2 * common / sizes) * share).sum()
    return loss, [share * 2 * common / sizes**2, share * -2 / sizes]


class _Band:
    """Some rows of the resized logits: where they come from, and how their gradient goes back there."""

    def __init__(self, logits: Tensor, size: tuple[int, int], rows: slice) -> None:
        height, width = logits.shape[-2:]
        self.size, self.width, self.rows = size, width, rows
        self.resized = (height, width) != size
        if self.resized:
            # As F.interpolate(align_corners=False): pixel centres at halves, clamped at the border.
            place = (torch.arange(rows.start, rows.stop, device=logits.device, dtype=torch.float32) + 0.5) * (height / size[0])
            place = (place - 0.5).clamp_(min=0)
            self.above = place.long().clamp_(max=height - 1)
            self.below = (self.above + 1).clamp_(max=height - 1)
            self.share = (place - self.above)[None, None, :, None]

    def take(self, logits: Tensor) -> Tensor:
        """The rows at full width, float32 (B, C, rows, W)."""
        if not self.resized:
            return logits[:, :, self.rows]
        mixed = torch.lerp(logits[:, :, self.above], logits[:, :, self.below], self.share)
        return F.interpolate(mixed, (mixed.shape[2], self.size[1]), mode="bilinear", align_corners=False)

    def add(self, gradient: Tensor, own: Tensor) -> None:
        """Add the gradient of the rows, (B, C, rows, W), to that of the logits."""
        if not self.resized:
            gradient[:, :, self.rows] = own
            return
        batch, classes, rows, width = own.shape
        shape = [batch, classes, rows, self.width]
        narrow = torch.ops.aten.upsample_bilinear2d_backward(own, [rows, width], shape, False, None, None)
        gradient.index_add_(2, self.above, narrow * (1 - self.share))
        gradient.index_add_(2, self.below, narrow * self.share)


def _bands(logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, _Band, Tensor]]:
    """Log-probabilities band by band: rows of the labels, the band, float32 (B, C, rows, W) that may be overwritten."""
    per_row = logits.shape[0] * logits.shape[1] * size[1]
    step = max(1, BAND.get(logits.device.type, BAND["cuda"]) // per_row)
    for first in range(0, size[0], step):
        rows = slice(first, min(first + step, size[0]))
        band = _Band(logits, tuple(size), rows)
        yield rows, band, band.take(logits).log_softmax(1)

"""What training minimises: how crops become a batch, and what its loss is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from seg_demo.core import IGNORE_16, LabelSet, tight_box

if TYPE_CHECKING:
    from seg_demo.annotations.listing import Sample
    from seg_demo.networks.base import Network
    from train.batches import Crop

MIN_OBJECT_PIXELS = 12


@dataclass(frozen=True)
class Batch:
    """One micro-batch on its device.

    Attributes:
        images: float32 (B, 3, S, S) in [0, 1], not yet normalised.
        labels: int64 (B, S, S), 65535 is ignored; None for instance training.
        targets: torchvision's detection targets, one dict per image, and where the task is of stuff too a mask per class of it; None for
            semantic training.
        names: of the samples, for messages.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    targets: list[dict[str, torch.Tensor]] | None
    names: tuple[str, ...]

    @property
    def valid(self) -> int:
        """Pixels (semantic) or images (instance) over which the loss is averaged."""
        return len(self.names) if self.labels is None else int((self.labels != IGNORE_16).sum())


class Objective:
    """The loss of a network: its own (:meth:`seg_demo.networks.base.Network.loss`), or of its logits per pixel torch's cross-entropy, the
    focal loss, and the losses of segmentation_models_pytorch.

    Cross-entropy and focal loss are normalised by the number of labelled pixels of the whole step, over all micro-batches and
    processes, so that splitting a batch changes nothing.
    """

    def __init__(self, network: Network, loss: str, class_weights: torch.Tensor | None = None, labels: LabelSet | None = None) -> None:
        """
        Args:
            network: what is trained; its module is handed over with each batch.
            loss: of logits per pixel: names joined by ``+``.
            class_weights: float32 (classes,), or None.
            labels: classes of the crops; None if they are the network's.
        """
        import segmentation_models_pytorch as smp

        self.network, self.class_weights, self.names = network, class_weights, loss.split("+")
        self.lovasz = smp.losses.LovaszLoss(mode="multiclass", ignore_index=IGNORE_16) if "lovasz" in self.names else None
        # What the network has no class for, the background beside objects, no object has.
        self._ids = torch.tensor(_by_name((labels or network.labels).names, network.labels.names))
        self._same = self._ids.tolist() == list(range(len(network.labels)))
        things = network.labels.things
        stuff = () if not network.task.stuff or things is None else np.flatnonzero(~things).tolist()
        self._stuff = tuple(index for index, label_id in enumerate(self._ids.tolist()) if label_id in stuff)

    def collate(self, crops: Sequence[Crop], device: torch.device) -> Batch:
        """Crops as one batch on the device; of objects with boxes, classes and masks of those that are still in the crop."""
        images = torch.stack([crop.image for crop in crops]).to(device, non_blocking=True)
        names = tuple(crop.name for crop in crops)
        if self.network.task.objects:
            return Batch(images, None, [{key: value.to(device) for key, value in self._target(crop).items()} for crop in crops], names)
        labels = torch.stack([crop.labels for crop in crops])
        if not self._same:
            table = torch.full((IGNORE_16 + 1,), IGNORE_16)
            table[: len(self._ids)] = self._ids.where(self._ids >= 0, IGNORE_16)
            labels = table[labels]
        return Batch(images, labels.to(device, non_blocking=True), None, names)

    def _target(self, crop: Crop) -> dict[str, Tensor]:
        """The truth of a crop, with the network's numbers of the classes."""
        found = target(crop, self._stuff)
        return {**found, "labels": self._ids[found["labels"]]}

    def loss(self, module: nn.Module, batch: Batch, valid: int, parts: int) -> torch.Tensor:
        """The share of this micro-batch in the loss of the whole step; the shares add up to it.

        Args:
            module: the network's, perhaps wrapped for several processes.
            batch: one micro-batch.
            valid: labelled pixels of the whole step.
            parts: micro-batches of the whole step.
        """
        truth = batch.targets if batch.labels is None else batch.labels
        per_pixel = partial(self._per_pixel, labels=batch.labels, valid=valid, parts=parts)
        return self.network.loss(module, batch.images, truth, per_pixel, 1 / parts)

    def adversarial(self, module: nn.Module, batch: Batch, epsilon: float) -> Batch:
        """The batch after one step of FGSM (Goodfellow et al. 2015): images moved by ±epsilon to raise the loss."""
        images = batch.images.detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.loss(module, replace(batch, images=images), batch.valid, 1), images)
        return replace(batch, images=(images.detach() + epsilon * gradient.sign()).clamp(0, 1))

    def _per_pixel(self, logits: torch.Tensor, labels: torch.Tensor, valid: int, parts: int) -> torch.Tensor:
        logits = logits.float()
        if logits.shape[1] == 1:
            # A binary network has one logit, for the foreground; two equal columns make it a case of the general loss.
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        total = logits.new_zeros(())
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        if {"ce", "dice"} & set(self.names):
            shares = ("ce" in self.names) / max(1, valid), ("dice" in self.names) / parts
            total = total + banded_loss(logits, labels, IGNORE_16, *shares, weights)
        if {"focal", "lovasz"} & set(self.names):
            whole = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
            if "focal" in self.names:
                total = total + focal_loss(whole, labels, IGNORE_16, weights) / max(1, valid)
            if self.lovasz is not None:
                # Of a crop without any label it has no gradient; the step still needs one.
                total = total + (self.lovasz(whole, labels) / parts if (labels != IGNORE_16).any() else 0 * whole.sum())
        return total


def _by_name(names: Sequence[str], of: Sequence[str]) -> list[int]:
    """For each name its place among others, -1 where it is not there; how it is written counts only where two differ by that alone."""
    if tuple(names) == tuple(of):
        return list(range(len(of)))
    known = {name.strip().casefold(): index for index, name in reversed(list(enumerate(of)))}
    known |= {name: index for index, name in enumerate(of)}
    return [known.get(name, known.get(name.strip().casefold(), -1)) for name in names]


def focal_loss(logits: Tensor, labels: Tensor, ignore: int, class_weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """The sum over labelled pixels of (1 - p)^gamma times their cross-entropy, p the softmax of the true class (Lin et al. 2017, arXiv 1708.02002).

    Not that of segmentation_models_pytorch, which takes every class for itself, with a sigmoid: then the softmax of what has been
    learnt, of which confidence and margin are made here, is no probability.

    Args:
        logits: float32 (B, C, H, W).
        labels: int64 (B, H, W), class ids or ``ignore``.
        ignore: label of the pixels that count for nothing.
        class_weights: float32 (C,), or None.
        gamma: how much less sure pixels count; 0 gives the cross-entropy.
    """
    entropy = F.cross_entropy(logits, labels, ignore_index=ignore, reduction="none")
    each = (1 - (-entropy).exp()) ** gamma * entropy
    return (each if class_weights is None else each * class_weights[labels.where(labels != ignore, 0)]).sum()


def target(crop: Crop, stuff: Collection[int] = ()) -> dict[str, torch.Tensor]:
    """torchvision's detection target of a crop.

    Objects of fewer than 12 pixels, cut off by the crop's edge, are left out: nobody could name them. Only here a mask is made of each;
    before, all are one map of numbers.

    Args:
        crop: with an instance map; an object has its whole mask and box, also where others lie on it.
        stuff: classes of the label map of which all is one more target.

    Returns:
        ``boxes`` float32 (N, 4) x0 y0 x1 y1, half-open; ``labels`` int64 (N,); ``masks`` uint8 (N, S, S). N may be 0.

    Raises:
        ValueError: the crop has no instance map.
    """
    if crop.instances is None:
        raise ValueError(f"{crop.name}: instance training needs an instance map, but this sample has none.")
    instances = crop.instances.reshape(-1, *crop.instances.shape[-2:]).numpy()
    counts = np.bincount(instances.ravel())
    identities = np.flatnonzero(counts >= MIN_OBJECT_PIXELS)
    identities = identities[identities > 0].tolist()
    labels = [1 if crop.instance_labels is None else int(crop.instance_labels[identity]) for identity in identities]
    classes, counts = torch.unique(crop.labels, return_counts=True) if stuff else (torch.empty(0), torch.empty(0))
    regions = [label for label in classes[counts >= MIN_OBJECT_PIXELS].tolist() if label in stuff]
    masks = np.zeros((len(labels) + len(regions), *instances.shape[-2:]), dtype=np.uint8)
    places = {identity: place for place, identity in enumerate(identities)}
    # An object is looked at within its box alone: there may be a hundred of them in a crop.
    for layer in instances:
        for identity, window in enumerate(ndimage.find_objects(layer), start=1):
            if window is not None and identity in places:
                masks[places[identity]][window] |= layer[window] == identity
    for place, label in enumerate(regions, start=len(labels)):
        masks[place] = (crop.labels == label).numpy()
    boxes = [tight_box(mask) for mask in masks]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([*labels, *regions], dtype=torch.int64),
        "masks": torch.from_numpy(masks),
    }


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
                loss, slopes = loss + dice * score, [dice * slope for slope in slopes]
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


def count_pixels(samples: Iterable[Sample], classes: int) -> list[int]:
    """Pixels per class in some samples.

    Args:
        samples: with label maps.
        classes: number of classes.
    """
    counts = np.zeros(classes, dtype=np.int64)
    for sample in samples:
        counts += np.bincount(sample.label_map.ravel(), minlength=classes)[:classes]
    return counts.tolist()


def balanced_weights(class_pixels: Sequence[int], classes: int) -> torch.Tensor:
    """Median-frequency balancing (Eigen and Fergus 2015): rarer classes weigh more, at most ten times the median.

    >>> balanced_weights([900, 90, 10], 3).tolist()
    [0.10000000149011612, 1.0, 9.0]

    Args:
        class_pixels: pixels per class in the training images.
        classes: number of classes.

    Returns:
        float32 (classes,); 0 for classes that never occur.
    """
    pixels = torch.tensor([float(class_pixels[index]) for index in range(classes)])
    median = pixels[pixels > 0].median()
    return torch.where(pixels > 0, (median / pixels.clamp(min=1)).clamp(max=10), torch.zeros_like(pixels))

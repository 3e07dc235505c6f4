"""What differs between semantic and instance training: how crops become a batch, and what the loss is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from seg_demo.networks.base import Preprocessing, normalised
from train.data.augment import IGNORE
from train.loop.banded import banded_loss
from train.loop.batches import Crop

MIN_OBJECT_PIXELS = 12


@dataclass(frozen=True)
class Batch:
    """One micro-batch on its device.

    Attributes:
        images: float32 (B, 3, S, S) in [0, 1], not yet normalised.
        labels: int64 (B, S, S), 65535 is ignored; None for instance training.
        targets: torchvision's detection targets, one dict per image; None for semantic training.
        names: of the samples, for messages.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    targets: list[dict[str, torch.Tensor]] | None
    names: tuple[str, ...]

    @property
    def valid(self) -> int:
        """Pixels (semantic) or images (instance) over which the loss is averaged."""
        return len(self.names) if self.labels is None else int((self.labels != IGNORE).sum())


class SemanticTask:
    """Per-pixel classification with torch's cross-entropy and the losses of segmentation_models_pytorch.

    Cross-entropy is normalised by the number of labelled pixels of the whole step, over all micro-batches and processes, so
    that splitting a batch changes nothing.
    """

    def __init__(
        self,
        forward: Callable[[nn.Module, torch.Tensor], torch.Tensor],
        preprocessing: Preprocessing,
        classes: int,
        loss: str,
        class_weights: torch.Tensor | None = None,
    ) -> None:
        """
        Args:
            forward: the network's own verb: module, images (B, 3, S, S) → logits (B, C, h, w).
            preprocessing: of the checkpoint: what happens to the colours of an image.
            classes: number of classes.
            loss: names of losses joined by ``+``.
            class_weights: float32 (classes,), or None.
        """
        import segmentation_models_pytorch as smp

        self.forward = forward
        self.preprocessing = preprocessing
        self.classes = classes
        self.class_weights = class_weights
        self.names = loss.split("+")
        made: dict[str, Callable[[], nn.Module]] = {
            "focal": lambda: smp.losses.FocalLoss(mode="multiclass", ignore_index=IGNORE),
            "lovasz": lambda: smp.losses.LovaszLoss(mode="multiclass", ignore_index=IGNORE),
        }
        self.others = [made[name]() for name in self.names if name in made]

    def collate(self, crops: Sequence[Crop], device: torch.device) -> Batch:
        """Crops as one batch on the device."""
        images = torch.stack([crop.image for crop in crops]).to(device, non_blocking=True)
        labels = torch.stack([crop.labels for crop in crops]).to(device, non_blocking=True)
        return Batch(images, labels, None, tuple(crop.name for crop in crops))

    def loss(self, module: nn.Module, batch: Batch, valid: int, parts: int) -> torch.Tensor:
        """The share of this micro-batch in the loss of the whole step; the shares add up to it.

        Args:
            module: the network.
            batch: one micro-batch.
            valid: labelled pixels of the whole step.
            parts: micro-batches of the whole step.
        """
        logits = self._logits(module, batch.images)
        if logits.shape[1] == 1:
            # A binary network has one logit, for the foreground; two equal columns make it a case of the general loss.
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        total = logits.new_zeros(())
        if {"ce", "dice"} & set(self.names):
            weights = None if self.class_weights is None else self.class_weights.to(logits.device)
            shares = ("ce" in self.names) / max(1, valid), ("dice" in self.names) / parts
            total = total + banded_loss(logits, batch.labels, IGNORE, *shares, weights)
        if self.others and (batch.labels != IGNORE).any():
            whole = nn.functional.interpolate(logits, batch.labels.shape[-2:], mode="bilinear", align_corners=False)
            for other in self.others:
                total = total + other(whole, batch.labels) / parts
        return total

    def adversarial(self, module: nn.Module, batch: Batch, epsilon: float) -> Batch:
        """The batch after one step of FGSM (Goodfellow et al. 2015): images moved by ±epsilon to raise the loss."""
        images = batch.images.detach().clone().requires_grad_(True)
        moved = Batch(images, batch.labels, batch.targets, batch.names)
        (gradient,) = torch.autograd.grad(self.loss(module, moved, batch.valid, 1), images)
        return Batch((images.detach() + epsilon * gradient.sign()).clamp(0, 1), batch.labels, batch.targets, batch.names)

    def _logits(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        return self.forward(module, normalised(images, self.preprocessing)).float()


class InstanceTask:
    """Mask R-CNN with torchvision's own losses. Crops are trained at their own size: samples have been resized before they were cut."""

    def collate(self, crops: Sequence[Crop], device: torch.device) -> Batch:
        """Crops as one batch on the device, with boxes, classes and masks of the objects that are still in the crop."""
        images = torch.stack([crop.image for crop in crops]).to(device, non_blocking=True)
        targets = [{key: value.to(device) for key, value in target(crop).items()} for crop in crops]
        return Batch(images, None, targets, tuple(crop.name for crop in crops))

    def loss(self, module: nn.Module, batch: Batch, valid: int, parts: int) -> torch.Tensor:
        """The share of this micro-batch in the loss of the whole step: the sum of torchvision's five losses."""
        losses: dict[str, Any] = module(list(batch.images), batch.targets)
        return sum(losses.values()) / parts

    def adversarial(self, module: nn.Module, batch: Batch, epsilon: float) -> Batch:
        """The batch after one step of FGSM (Goodfellow et al. 2015): images moved by ±epsilon to raise the loss."""
        images = batch.images.detach().clone().requires_grad_(True)
        losses = module(list(images), batch.targets)
        (gradient,) = torch.autograd.grad(sum(losses.values()), images)
        return Batch((images.detach() + epsilon * gradient.sign()).clamp(0, 1), None, batch.targets, batch.names)


def target(crop: Crop) -> dict[str, torch.Tensor]:
    """torchvision's detection target of a crop.

    Objects of fewer than 12 pixels, cut off by the crop's edge, are left out: nobody could name them.

    Args:
        crop: with an instance map; an object has its whole mask and box, also where others lie on it.

    Returns:
        ``boxes`` float32 (N, 4) x0 y0 x1 y1, half-open; ``labels`` int64 (N,); ``masks`` uint8 (N, S, S). N may be 0.

    Raises:
        ValueError: the crop has no instance map.
    """
    if crop.instances is None:
        raise ValueError(f"{crop.name}: instance training needs an instance map, but this sample has none.")
    instances = crop.instances.reshape(-1, *crop.instances.shape[-2:])
    identities, counts = torch.unique(instances, return_counts=True)
    identities = identities[(identities > 0) & (counts >= MIN_OBJECT_PIXELS)]
    boxes, labels, masks = [], [], []
    for identity in identities.tolist():
        mask = (instances == identity).any(dim=0)
        rows = torch.nonzero(mask.any(dim=1)).flatten()
        columns = torch.nonzero(mask.any(dim=0)).flatten()
        boxes.append([float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)])
        labels.append(1 if crop.instance_labels is None else int(crop.instance_labels[identity]))
        masks.append(mask)
    size = instances.shape[-2:]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "masks": torch.stack(masks).to(torch.uint8) if masks else torch.zeros((0, *size), dtype=torch.uint8),
    }

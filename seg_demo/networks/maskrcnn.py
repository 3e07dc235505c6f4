"""Mask R-CNN of torchvision: v1, v2, and a small one on a ResNet-10 that learns from scratch.

torchvision's own transform, backbone, proposals and heads run; only the pasting of the 28 x 28 masks is ours
(``seg_demo.masks.instances``), with the same pixels as a result. State-dict keys are torchvision's own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.transform import resize_boxes

from seg_demo.errors import BadCheckpointError
from seg_demo.masks.instances import from_boxes
from seg_demo.networks import files, names, weights
from seg_demo.networks.base import IMAGENET_MEAN, IMAGENET_STD, Checkpoint, Preprocessing, copy_matching
from seg_demo.networks.maskrcnn_build import LIMITS, V1, build, default_options, snippet
from seg_demo.painting import paint, paint_confidence
from seg_demo.types import LabelSet, Segmentation

__all__ = [
    "TASK", "build", "card_snippet", "create", "default_options", "forward", "from_torchvision", "head_prefixes", "load",
    "postprocess", "preprocess", "replace_head", "save",
]  # fmt: skip

TASK = "instance"


def create(labels: LabelSet, options: dict[str, Any]) -> Checkpoint:
    """A checkpoint with random weights, ready to be trained.

    Args:
        labels: the classes; 0 is the background.
        options: as for :func:`build`.
    """
    return Checkpoint("maskrcnn", build(len(labels), options).eval(), labels, _preprocessing(options), dict(options))


def load(folder: Path) -> Checkpoint:
    """A checkpoint folder written by :func:`save`.

    Args:
        folder: config.json and model.safetensors.

    Raises:
        BadCheckpointError: a config that describes no Mask R-CNN of sane size, or weights that do not fit it.
    """
    config = files.read_json(folder, files.CONFIG)
    options, count, labels = names.torchvision_config(config)
    preprocessing = _preprocessing(options)
    module = weights.construct(lambda: build(count, options), weights.read_weights(folder), "Mask R-CNN")
    return Checkpoint("maskrcnn", module, labels, preprocessing, options)


def save(checkpoint: Checkpoint, folder: Path, half: bool = False) -> None:
    """Write a folder that torchvision loads with the lines of :func:`card_snippet`.

    Args:
        checkpoint: of this network.
        folder: exists.
        half: weights as fp16; ``load_state_dict`` casts them back.
    """
    files.write_json(folder, files.CONFIG, names.torchvision_config_of(checkpoint))
    files.write_json(folder, files.PREPROCESSOR, checkpoint.preprocessing.to_dict())
    weights.write_weights(checkpoint.module, folder, half)


def preprocess(checkpoint: Checkpoint, image: np.ndarray) -> Tensor:
    """An upload as the network sees it: only scaled to [0, 1]; the network itself normalises, resizes and pads.

    torchvision would resize an image more than ``max_size`` times as long as high to nothing; such a one is padded first.

    Args:
        checkpoint: of this network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        float32 (1, 3, H, W) on the CPU.
    """
    batch = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].contiguous().float().div_(255)
    height, width = image.shape[:2]
    least = math.ceil((max(height, width) + 1) / checkpoint.module.transform.max_size)
    padding = (0, max(0, least - width), 0, max(0, least - height))
    return F.pad(batch, padding, mode="replicate") if any(padding) else batch


def forward(module: nn.Module, batch: Tensor) -> list[dict[str, Tensor]]:
    """Detections of a batch, before their masks are pasted.

    Args:
        module: of this network, in eval mode.
        batch: (B, 3, H, W) in [0, 1].

    Returns:
        Per image ``boxes`` (N, 4) x0 y0 x1 y1 in pixels of the batch, ``scores`` (N,), ``labels`` (N,) and
        ``masks`` (N, 1, 28, 28) in [0, 1], best first.

    Raises:
        BadCheckpointError: the features are not finite.
    """
    images, _ = module.transform(list(batch))
    features = module.backbone(images.tensors)
    if not all(bool(torch.isfinite(feature).all()) for feature in features.values()):
        raise BadCheckpointError("The network returned NaN or infinity for this image; its weights are damaged or diverged.")
    proposals, _ = module.rpn(images, features)
    detections, _ = module.roi_heads(features, proposals, images.image_sizes)
    for detection, size in zip(detections, images.image_sizes, strict=True):
        detection["boxes"] = resize_boxes(detection["boxes"], size, batch.shape[-2:])
    return detections


def postprocess(
    checkpoint: Checkpoint, raw: list[dict[str, Tensor]], height: int, width: int, confidence: bool = False
) -> Segmentation:
    """Detections of one image to masks at the size of the upload: all that torchvision returns, best first.

    Args:
        checkpoint: of this network.
        raw: of :func:`forward`, one image.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        confidence: also how sure the network is of every pixel.
    """
    found = raw[0]
    segments = from_boxes(found["boxes"], found["masks"], found["scores"], found["labels"], height, width, confidence)
    id_map = paint(segments, height, width)
    sure = paint_confidence(id_map, segments, segments) if confidence else None
    return Segmentation(TASK, height, width, checkpoint.labels, id_map, segments, confidence=sure)


def head_prefixes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the parameters that depend on the number of classes begin with one of these."""
    return ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")


def replace_head(checkpoint: Checkpoint, labels: LabelSet) -> Checkpoint:
    """The same network for other classes: fresh class, box and mask predictors, everything else kept.

    Args:
        checkpoint: stays as it is.
        labels: the new classes; 0 is the background.
    """
    module = build(len(labels), checkpoint.options).eval()
    copy_matching(checkpoint.module, module, head_prefixes(checkpoint))
    return Checkpoint("maskrcnn", module, labels, checkpoint.preprocessing, dict(checkpoint.options))


def from_torchvision(variant: str, state: dict[str, Tensor], categories: list[str]) -> Checkpoint:
    """torchvision's own COCO weights as a checkpoint.

    Args:
        variant: ``maskrcnn_resnet50_fpn`` or ``maskrcnn_resnet50_fpn_v2``.
        state: torchvision's state dict.
        categories: of the weights' metadata: 91 for COCO, the first is the background, ten are "N/A".

    Raises:
        BadCheckpointError: weights that are not the variant's.
    """
    options = {"variant": variant, **LIMITS, "frozen_norm": variant == V1}
    weights.check_finite(state.items())
    if variant == V1:
        state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    module = weights.construct(lambda: build(len(categories), options), state, variant)
    labels = LabelSet.from_names(("background", *categories[1:]), background=0)
    return Checkpoint("maskrcnn", module, labels, _preprocessing(options), options)


def card_snippet(checkpoint: Checkpoint, source: str) -> str:
    """Code that loads the checkpoint with plain torchvision.

    Args:
        checkpoint: of this network.
        source: folder or Hub id.
    """
    return snippet(checkpoint.options, len(checkpoint.labels), source)


def _preprocessing(options: dict[str, Any]) -> Preprocessing:
    """What torchvision's transform does, from the options that it is built with."""
    try:
        sides = int(options.get("min_size", LIMITS["min_size"])), int(options.get("max_size", LIMITS["max_size"]))
    except (TypeError, ValueError) as error:
        raise BadCheckpointError(f"min_size and max_size in config.json must be pixels ({error}).") from error
    return Preprocessing(IMAGENET_MEAN, IMAGENET_STD, shortest_side=sides[0], longest_side=sides[1], multiple=32)

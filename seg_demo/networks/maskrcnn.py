"""Mask R-CNN of torchvision: v1, v2, and a small one on a ResNet-10 that learns from scratch.

torchvision's own backbone, proposals and heads run; the transform of the image (``maskrcnn_input``) and the pasting of the
28 x 28 masks (``seg_demo.masks.instances``) are ours, with the same bits as a result. State-dict keys are torchvision's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import resize_boxes

from seg_demo.errors import BadCheckpointError
from seg_demo.masks.instances import from_boxes
from seg_demo.masks.label_map import all_finite
from seg_demo.networks import files, names, weights
from seg_demo.networks.base import IMAGENET_MEAN, IMAGENET_STD, Checkpoint, Preprocessing, copy_matching
from seg_demo.networks.maskrcnn_build import LIMITS, V1, build, default_options, snippet
from seg_demo.networks.maskrcnn_input import network_input, network_size, padded_size
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
    module, notes = weights.construct(lambda: build(count, options), weights.read_weights(folder), "Mask R-CNN")
    return Checkpoint("maskrcnn", module, labels, preprocessing, options, notes=(*names.table_notes(config, count), *notes))


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
    """An upload as the network sees it: normalised and resized as torchvision does it, see :func:`network_input`.

    Args:
        checkpoint: of this network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        float32 (1, 3, h, w) on the CPU.
    """
    return network_input(checkpoint.module.transform, image)


def forward(module: nn.Module, batch: Tensor) -> list[dict[str, Tensor]]:
    """Detections of a batch, before their masks are pasted.

    Args:
        module: of this network, in eval mode.
        batch: (B, 3, h, w) of :func:`preprocess`.

    Returns:
        Per image ``boxes`` (N, 4) x0 y0 x1 y1 in pixels of the batch, ``scores`` (N,), ``labels`` (N,) and
        ``masks`` (N, 1, 28, 28) in [0, 1], best first.

    Raises:
        BadCheckpointError: the features are not finite.
    """
    padded = module.transform.batch_images(list(batch), module.transform.size_divisible)
    images = ImageList(padded, [(batch.shape[-2], batch.shape[-1])] * len(batch))
    features = module.backbone(images.tensors)
    if not all(map(all_finite, features.values())):
        raise BadCheckpointError("The network returned NaN or infinity for this image; its weights are damaged or diverged.")
    proposals, _ = module.rpn(images, features)
    detections, _ = module.roi_heads(features, proposals, images.image_sizes)
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
    found, transform = raw[0], checkpoint.module.transform
    padded = padded_size(transform, height, width)
    boxes = resize_boxes(found["boxes"], network_size(transform, *padded), padded)
    segments = from_boxes(boxes, found["masks"], found["scores"], found["labels"], height, width, confidence)
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
    module, _ = weights.construct(lambda: build(len(categories), options), state, variant)
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

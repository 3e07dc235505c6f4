"""Mask R-CNN of torchvision: v1, v2, and a small one on a ResNet-10 that learns from scratch.

torchvision's own backbone, proposals and heads run; the transform of the image (``maskrcnn_input``) and the pasting of the
28 x 28 masks (``seg_demo.masks.instances``) are ours, with the same bits as a result. State-dict keys are torchvision's own.

A checkpoint states how many proposals and detections it keeps of an image, which is how it was tested, not how many objects
there are. Where a limit would cut what is likely an object, it is lifted, as far as the memory of one image's objects allows;
in all other images the result is torchvision's to the last bit.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import maskrcnn_inference
from torchvision.models.detection.transform import resize_boxes

from seg_demo.errors import BadCheckpointError
from seg_demo.masks.instances import from_boxes
from seg_demo.masks.label_map import all_finite
from seg_demo.networks import files, names, weights
from seg_demo.networks.base import IMAGENET_MEAN, IMAGENET_STD, Checkpoint, Preprocessing, copy_matching
from seg_demo.networks.maskrcnn_build import LIMITS, V1, build, default_options, snippet
from seg_demo.networks.maskrcnn_input import network_input, network_size, padded_size
from seg_demo.painting import paint, paint_confidence
from seg_demo.types import LabelSet, Limit, Segmentation

__all__ = [
    "TASK", "build", "card_snippet", "create", "default_options", "forward", "from_torchvision", "head_prefixes", "load",
    "pixels_as_seen", "postprocess", "preprocess", "replace_head", "save",
]  # fmt: skip

TASK = "instance"
# Detections and proposals that are cut off although they score so are missed by somebody. Proposals of an untrained network have
# 0.5 all over the image.
LIKELY_OBJECT, LIKELY_PROPOSAL = 0.25, 0.7
# As far as the limits are lifted: 5000 masks of 28 x 28 take 35 MB beside what they are computed from, and suppression takes
# seconds for more candidates.
MOST_OBJECTS, MOST_PROPOSALS = 5000, 10_000
# Regions that go through the heads at a time where there are more than a network keeps by its own limits.
BOXES_AT_ONCE, MASKS_AT_ONCE = 2000, 512


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


def pixels_as_seen(checkpoint: Checkpoint, image: np.ndarray) -> np.ndarray:
    """An upload's pixels at the size in which the network sees them: what training varies.

    Args:
        checkpoint: of this network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (h, w, 3), RGB.
    """
    transform = checkpoint.module.transform
    if padded_size(transform, *image.shape[:2]) != image.shape[:2]:
        return image  # many times as long as wide: its padding could not be told from the picture
    seen = network_input(transform, image)[0]
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (checkpoint.preprocessing.mean, checkpoint.preprocessing.std))
    return ((seen * std + mean) * 255).clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def forward(module: nn.Module, batch: Tensor) -> list[dict[str, Tensor]]:
    """Detections of a batch, before their masks are pasted.

    Args:
        module: of this network, in eval mode.
        batch: (B, 3, h, w) of :func:`preprocess`.

    Returns:
        Per image ``boxes`` (N, 4) x0 y0 x1 y1 in pixels of the batch, ``scores`` (N,), ``labels`` (N,) and
        ``masks`` (N, 1, 28, 28) in [0, 1], best first; and ``limit`` (), N where a limit cut the list there, else 0.

    Raises:
        BadCheckpointError: the features are not finite.
    """
    return forward_with_maps(module, batch)[0]


def forward_with_maps(module: nn.Module, batch: Tensor) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
    """As :func:`forward`, with the maps of the pyramid, the largest left out.

    Args:
        module: of this network, in eval mode.
        batch: as for :func:`forward`.

    Raises:
        BadCheckpointError: as :func:`forward`.
    """
    padded = module.transform.batch_images(list(batch), module.transform.size_divisible)
    images = ImageList(padded, [(batch.shape[-2], batch.shape[-1])] * len(batch))
    features = module.backbone(images.tensors)
    if not all(map(all_finite, features.values())):
        raise BadCheckpointError("The network returned NaN or infinity for this image; its weights are damaged or diverged.")
    proposals, _ = _unlimited(module.rpn)(images, features)
    return _detections(module.roi_heads, features, proposals, images.image_sizes), list(features.values())[1:4]


def _unlimited(rpn: nn.Module) -> nn.Module:
    """Region proposals that keep all that are likely objects, however many."""
    other = copy.copy(rpn)
    other.filter_proposals = lambda *given: _filtered(rpn, *given)
    return other


def _filtered(
    rpn: nn.Module, proposals: Tensor, objectness: Tensor, sizes: list[tuple[int, int]], counts: list[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """torchvision's ``filter_proposals`` with limits that no likely object exceeds."""
    likely = objectness.detach().reshape(len(proposals), -1).sigmoid() >= LIKELY_PROPOSAL
    most = max(int(level.sum(1).max()) for level in likely.split(counts, 1))
    before, after = rpn.pre_nms_top_n(), rpn.post_nms_top_n()
    lifted = copy.copy(rpn)
    lifted._pre_nms_top_n = {"training": before, "testing": max(before, min(most, MOST_PROPOSALS))}
    lifted._post_nms_top_n = {"training": after, "testing": max(after, MOST_PROPOSALS)}
    boxes, scores = type(rpn).filter_proposals(lifted, proposals, objectness, sizes, counts)
    kept = [max(after, int((each >= LIKELY_PROPOSAL).sum())) for each in scores]
    return [each[:n] for each, n in zip(boxes, kept, strict=True)], [each[:n] for each, n in zip(scores, kept, strict=True)]


def _detections(
    heads: nn.Module, features: dict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
) -> list[dict[str, Tensor]]:
    """torchvision's ``RoIHeads`` in evaluation, with a limit that no likely object exceeds.

    Args:
        heads: its pooling, heads and predictors, or what stands in for them.
        features: of every level, (B, channels, h, w).
        proposals: per image (N, 4).
        sizes: (height, width) per image.
    """
    logits, deltas = _classified(heads, features, proposals, sizes)
    kept = list(zip(*heads.postprocess_detections(logits, deltas, proposals, sizes), strict=True))
    cut, first = [(0, 0.0)] * len(kept), 0
    for image, own in enumerate(proposals):
        rows = slice(first, first + len(own))
        first = rows.stop
        scores = kept[image][1]
        if 0 < len(scores) == heads.detections_per_img:
            cut[image] = len(scores), float(scores[-1])
            if cut[image][1] >= LIKELY_OBJECT:
                kept[image], cut[image] = _lifted(heads, logits[rows], deltas[rows], [own], sizes[image : image + 1])
    boxes, scores, labels = (list(each) for each in zip(*kept, strict=True))
    masks = _masks(heads, features, boxes, labels, sizes)
    names = "boxes", "scores", "labels", "masks", "limit", "cut"
    limits = [(torch.tensor(limit), torch.tensor(score)) for limit, score in cut]
    return [
        dict(zip(names, (*each, *limit), strict=True)) for each, limit in zip(zip(boxes, scores, labels, masks), limits, strict=True)
    ]


def _lifted(heads: nn.Module, *given: Any) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[int, float]]:
    """Boxes, scores and labels of one image without the limit, those that are no likely objects left out beyond it; and the number
    kept and the best score that was cut, or zeros if nothing was."""
    other = copy.copy(heads)
    other.detections_per_img = most = max(heads.detections_per_img, MOST_OBJECTS)
    boxes, scores, labels = (each[0] for each in type(heads).postprocess_detections(other, *given))
    count = max(heads.detections_per_img, int((scores >= LIKELY_OBJECT).sum()))
    cut = (count, float(scores[count])) if count < len(scores) else (count, float(scores[-1])) if count == most else (0, 0.0)
    return (boxes[:count], scores[:count], labels[:count]), cut


def _classified(
    heads: nn.Module, features: dict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Class logits and box deltas of all proposals, so many at a time that memory stays bounded."""

    def of(own: dict[str, Tensor], part: list[Tensor], its: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        return heads.box_predictor(heads.box_head(heads.box_roi_pool(own, part, its)))

    if sum(map(len, proposals)) <= BOXES_AT_ONCE:
        return of(features, proposals, sizes)
    answers = [
        of(_image(features, image), [part], sizes[image : image + 1])
        for image, own in enumerate(proposals)
        for part in own.split(BOXES_AT_ONCE)
    ]
    logits, deltas = map(torch.cat, zip(*answers, strict=True))
    return logits, deltas


def _masks(
    heads: nn.Module, features: dict[str, Tensor], boxes: list[Tensor], labels: list[Tensor], sizes: list[tuple[int, int]]
) -> list[Tensor]:
    """Per image the masks of its detections, float (N, 1, 28, 28) in [0, 1], so many at a time that memory stays bounded."""

    def of(own: dict[str, Tensor], part: list[Tensor], its: list[tuple[int, int]], classes: list[Tensor]) -> tuple[Tensor, ...]:
        return maskrcnn_inference(heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(own, part, its))), classes)

    if sum(map(len, boxes)) <= MASKS_AT_ONCE:
        return list(of(features, boxes, sizes, labels))
    return [
        torch.cat(
            [
                of(_image(features, image), [part], sizes[image : image + 1], [classes])[0]
                for part, classes in zip(boxes[image].split(MASKS_AT_ONCE), labels[image].split(MASKS_AT_ONCE), strict=True)
            ]
        )
        for image in range(len(boxes))
    ]


def _image(features: dict[str, Tensor], image: int) -> dict[str, Tensor]:
    """The features of one image of a batch."""
    return OrderedDict((name, each[image : image + 1]) for name, each in features.items())


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
    limit = Limit(int(found["limit"]), min(1.0, float(found["cut"]))) if int(found["limit"]) else None
    return Segmentation(TASK, height, width, checkpoint.labels, id_map, segments, confidence=sure, limit=limit)


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

"""Mask R-CNN of torchvision: v1, v2, and a small one on a ResNet-10 that learns from scratch.

torchvision's own backbone, proposals and heads run; the transform of the image (:func:`network_input`) and the pasting of the
28 x 28 masks (``seg_demo.masks.instances``) are ours, with the same bits as a result. State-dict keys are torchvision's own.

A checkpoint states how many proposals and detections it keeps of an image, which is how it was tested, not how many objects
there are. Where a limit would cut what is likely an object, it is lifted, as far as the memory of one image's objects allows;
in all other images the result is torchvision's to the last bit.

An upload becomes torchvision's own input to the last bit, at a fraction of its cost: torchvision makes floats of all pixels,
normalises them, and then resizes without antialiasing, which looks at four pixels for each that it makes. Here only those four
are made into floats and normalised.

For training on a CPU, regions are pooled by all cores: torchvision pools on one core, forwards and backwards; in a step of bf16 that
takes a third of the time. A channel does not depend on others, so each core takes some of them: values and gradients are
torchvision's to the last bit.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import maskrcnn_inference
from torchvision.models.detection.transform import GeneralizedRCNNTransform, _resize_image_and_masks, resize_boxes
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.poolers import _convert_to_roi_format, _filter_input, _setup_scales

from seg_demo.core import BadCheckpointError, LabelSet, Limit, Message, Segmentation, paint, paint_confidence
from seg_demo.masks.instances import from_boxes
from seg_demo.masks.resize import SMALL_OUTPUT, Rule, each, find_rule
from seg_demo.masks.semantic import all_finite
from seg_demo.networks import base, weights
from seg_demo.networks.base import LARGEST_TILE, STRIDE, EngineHints, Network, TrainingDefaults
from seg_demo.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, tensor_of

V1, V2, SMALL = "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2", "maskrcnn_resnet10_fpn"
VARIANTS = (V1, V2, SMALL)
LIMITS = {"min_size": 800, "max_size": 1333, "box_score_thresh": 0.05, "box_nms_thresh": 0.5, "box_detections_per_img": 100}


def _small(num_classes: int, options: dict[str, Any], limits: dict[str, Any]) -> nn.Module:
    """ResNet-10 without its last stage (strides 4, 8, 16), a feature pyramid, narrow heads; the card prints the same."""
    channels = int(options["fpn_channels"])
    body = ResNet(BasicBlock, [1, 1, 1, 1])
    backbone = BackboneWithFPN(body, {"layer1": "0", "layer2": "1", "layer3": "2"}, [64, 128, 256], channels)
    anchors = AnchorGenerator(tuple((size,) for size in options["anchors"]), (tuple(options["ratios"]),) * 4)
    levels = ["0", "1", "2"]
    box, masks = int(options["box_channels"]), [int(width) for width in options["mask_channels"]]
    return MaskRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        box_roi_pool=MultiScaleRoIAlign(levels, 7, 2),
        box_head=TwoMLPHead(channels * 7 * 7, box),
        box_predictor=FastRCNNPredictor(box, num_classes),
        mask_roi_pool=MultiScaleRoIAlign(levels, 14, 2),
        mask_head=MaskRCNNHeads(channels, masks, 1),
        mask_predictor=MaskRCNNPredictor(masks[-1], masks[-1], num_classes),
        rpn_pre_nms_top_n_train=600,
        rpn_post_nms_top_n_train=300,
        rpn_post_nms_top_n_test=500,
        # At least 16 objects and 176 empty boxes per picture: taught with fewer empty ones, it sees objects everywhere.
        box_batch_size_per_image=192,
        box_positive_fraction=1 / 12,
        _skip_resize=True,
        **limits,
    )


def snippet(options: dict[str, Any], count: int, source: str) -> str:
    """Code that loads the checkpoint with plain torchvision.

    Args:
        options: as for :meth:`MaskRcnn.build`.
        count: number of classes, background included.
        source: folder or Hub id.
    """
    limits = ", ".join(f"{key}={options.get(key, default)}" for key, default in LIMITS.items())
    if options["variant"] == SMALL:
        made = _SMALL_SNIPPET.format(count=count, limits=limits, **options)
    elif options.get("frozen_norm"):
        made = _FROZEN_SNIPPET.format(count=count, limits=limits)
    else:
        made = (
            f"from torchvision.models.detection import {options['variant']}\n\n"
            f"model = {options['variant']}(weights=None, weights_backbone=None, num_classes={count}, {limits})\n"
        )
    return made + _LOAD_SNIPPET.format(source=source)


_SMALL_SNIPPET = """from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.detection import MaskRCNN, anchor_utils, backbone_utils, faster_rcnn, mask_rcnn
from torchvision.ops import MultiScaleRoIAlign

backbone = backbone_utils.BackboneWithFPN(
    ResNet(BasicBlock, [1, 1, 1, 1]), {{"layer1": "0", "layer2": "1", "layer3": "2"}}, [64, 128, 256], {fpn_channels})
model = MaskRCNN(
    backbone, {limits}, rpn_post_nms_top_n_test=500,
    rpn_anchor_generator=anchor_utils.AnchorGenerator(tuple((s,) for s in {anchors}), (tuple({ratios}),) * 4),
    box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 7, 2),
    box_head=faster_rcnn.TwoMLPHead({fpn_channels} * 49, {box_channels}),
    box_predictor=faster_rcnn.FastRCNNPredictor({box_channels}, {count}),
    mask_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 14, 2),
    mask_head=mask_rcnn.MaskRCNNHeads({fpn_channels}, {mask_channels}, 1),
    mask_predictor=mask_rcnn.MaskRCNNPredictor({mask_channels}[-1], {mask_channels}[-1], {count}))
"""

_FROZEN_SNIPPET = """from functools import partial
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

norm = partial(FrozenBatchNorm2d, eps=0.0)
model = MaskRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=norm), {count}, {limits})
"""

_LOAD_SNIPPET = """
from pathlib import Path
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file

folder = Path("{source}")
weights = folder / "model.safetensors" if folder.is_dir() else hf_hub_download("{source}", "model.safetensors")
model.load_state_dict(load_file(weights))
model.eval()  # model([image]) with image float (3, H, W) in [0, 1]
"""


# Detections and proposals that are cut off although they score so are missed by somebody. Proposals of an untrained network have
# 0.5 all over the image.
LIKELY_OBJECT, LIKELY_PROPOSAL = 0.25, 0.7
# As far as the limits are lifted: 5000 masks of 28 x 28 take 35 MB beside what they are computed from, and suppression takes
# seconds for more candidates.
MOST_OBJECTS, MOST_PROPOSALS = 5000, 10_000
# Regions that go through the heads at a time where there are more than a network keeps by its own limits.
BOXES_AT_ONCE, MASKS_AT_ONCE = 2000, 512


class MaskRcnn(Network, family="maskrcnn"):
    """Mask R-CNN of torchvision."""

    engine = EngineHints(channels_last=False, detector=True)
    # A step takes several times as long as those of the others.
    training = TrainingDefaults(base="maskrcnn-v2-coco", crop=192, pretrained_crop=448, least_steps=250, step_cost=2.2, passes=4)
    scales_tiles = True

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A Mask R-CNN of 1.9 million parameters for blob-like objects, which learns from scratch on a laptop."""
        return {
            "variant": SMALL,
            "fpn_channels": 64,
            "anchors": [10, 22, 44, 88],
            "ratios": [0.6, 1.0, 1.67],
            "box_channels": 128,
            "mask_channels": [64, 64],
            "min_size": 384,
            "max_size": 768,
            "box_score_thresh": 0.05,
            # Blobs overlap little: a box that shares a third of another is the same cell again, or two cells taken for one.
            "box_nms_thresh": 0.3,
            "box_detections_per_img": 300,
        }

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """A network with random weights; never touches the network. It trains images at their own size (``_skip_resize``).

        Args:
            num_classes: background included.
            options: ``variant``, ``min_size`` and ``max_size`` in pixels, ``box_score_thresh``, ``box_nms_thresh``,
                ``box_detections_per_img``; ``frozen_norm`` for v1 (torchvision's COCO weights), and the widths of :meth:`MaskRcnn.default_options` for the small one.

        Raises:
            BadCheckpointError: an unknown variant.
        """
        variant = options.get("variant")
        limits = {key: type(default)(options.get(key, default)) for key, default in LIMITS.items()}
        if variant == V2:
            return maskrcnn_resnet50_fpn_v2(
                weights=None, weights_backbone=None, num_classes=num_classes, _skip_resize=True, **limits
            )
        if variant == V1 and options.get("frozen_norm"):
            # torchvision's COCO weights of v1 were trained with statistics frozen and without epsilon.
            norm = partial(FrozenBatchNorm2d, eps=0.0)
            backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=norm, trainable_layers=3)
            return MaskRCNN(backbone, num_classes, _skip_resize=True, **limits)
        if variant == V1:
            return maskrcnn_resnet50_fpn(
                weights=None, weights_backbone=None, num_classes=num_classes, _skip_resize=True, **limits
            )
        if variant == SMALL:
            return _small(num_classes, options, limits)
        raise BadCheckpointError("networks.no_maskrcnn_variant", variant=str(variant)[:80], names=", ".join(VARIANTS))

    @classmethod
    def fresh_preprocessing(cls, module: nn.Module, options: dict[str, Any]) -> Preprocessing:
        """What torchvision's transform does, from the options that it is built with."""
        return _preprocessing(options)

    @classmethod
    def stored_preprocessing(cls, folder: Path, options: dict[str, Any]) -> Preprocessing:
        """What torchvision's transform does, from the options that it is built with."""
        return _preprocessing(options)

    @classmethod
    def from_torchvision(cls, variant: str, state: dict[str, Tensor], categories: list[str]) -> Self:
        """torchvision's own COCO weights as a network.

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
        module, _ = weights.construct(partial(cls.build, len(categories), options=options), state, variant)
        labels = LabelSet.from_names(("background", *categories[1:]), background=0)
        return cls(module, labels, _preprocessing(options), options)

    def preprocess(self, image: np.ndarray) -> Tensor:
        """An upload as the network sees it: normalised and resized as torchvision does it, see :func:`network_input`.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            float32 (1, 3, h, w) on the CPU.
        """
        return network_input(self.module.transform, image)

    def pixels_as_seen(self, image: np.ndarray) -> np.ndarray:
        """An upload's pixels at the size in which the network sees them: what training varies.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            uint8 (h, w, 3), RGB.
        """
        transform = self.module.transform
        if padded_size(transform, *image.shape[:2]) != image.shape[:2]:
            return image  # many times as long as wide: its padding could not be told from the picture
        seen = network_input(transform, image)[0]
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.preprocessing.mean, self.preprocessing.std))
        return ((seen * std + mean) * 255).clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> list[dict[str, Tensor]]:
        """Detections of a batch, before their masks are pasted.

        Args:
            module: of this network, in eval mode.
            batch: (B, 3, h, w) of :meth:`preprocess`.

        Returns:
            Per image ``boxes`` (N, 4) x0 y0 x1 y1 in pixels of the batch, ``scores`` (N,), ``labels`` (N,) and
            ``masks`` (N, 1, 28, 28) in [0, 1], best first; and ``limit`` (), N where a limit cut the list there, else 0.

        Raises:
            BadCheckpointError: the features are not finite.
        """
        return MaskRcnn.forward_with_maps(module, batch)[0]

    @staticmethod
    def forward_with_maps(module: nn.Module, batch: Tensor) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
        """As :meth:`forward`, with the maps of the pyramid, the largest left out.

        Args:
            module: of this network, in eval mode.
            batch: as for :meth:`forward`.

        Raises:
            BadCheckpointError: as :meth:`forward`.
        """
        padded = module.transform.batch_images(list(batch), module.transform.size_divisible)
        images = ImageList(padded, [(batch.shape[-2], batch.shape[-1])] * len(batch))
        features = module.backbone(images.tensors)
        if not all(map(all_finite, features.values())):
            raise BadCheckpointError("networks.not_finite")
        proposals, _ = _unlimited(module.rpn)(images, features)
        return _detections(module.roi_heads, features, proposals, images.image_sizes), list(features.values())[1:4]

    def postprocess(
        self, raw: list[dict[str, Tensor]], height: int, width: int, confidence: bool = False
    ) -> Segmentation:
        """Detections of one image to masks at the size of the upload: all that torchvision returns, best first.

        Args:
            raw: of :meth:`forward`, one image.
            height: of the upload, in pixels.
            width: of the upload, in pixels.
            confidence: also how sure the network is of every pixel.
        """
        return self._pasted(raw[0], (height, width), height, width, confidence)

    def postprocess_tile(
        self, raw: list[dict[str, Tensor]], tile: tuple[int, int], inside: tuple[int, int], confidence: bool = False
    ) -> Segmentation:
        """As :meth:`Network.postprocess_tile`: boxes are in pixels of the whole tile, which a smaller one would have been enlarged to."""
        return self._pasted(raw[0], tile, *inside, confidence)

    def _pasted(self, found: dict[str, Tensor], shown: tuple[int, int], height: int, width: int, confidence: bool) -> Segmentation:
        """Detections in what was shown, (height, width) in pixels, as a result of so much of it, from above left on."""
        transform = self.module.transform
        padded = padded_size(transform, *shown)
        boxes = resize_boxes(found["boxes"], network_size(transform, *padded), padded)
        segments = from_boxes(boxes, found["masks"], found["scores"], found["labels"], height, width, confidence)
        id_map = paint(segments, height, width)
        sure = paint_confidence(id_map, segments, segments) if confidence else None
        limit = Limit(int(found["limit"]), min(1.0, float(found["cut"]))) if int(found["limit"]) else None
        return Segmentation(self.task.name, height, width, self.labels, id_map, segments, confidence=sure, limit=limit)

    def graph(self) -> base.Graph:
        """As :meth:`Network.graph`: torchvision's detections with its limits, which are not lifted; the picture is padded inside."""

        def raw(found: tuple[Tensor, ...]) -> list[dict[str, Tensor]]:
            boxes, names, scores, masks = found
            full = 0 < len(scores) == self.module.roi_heads.detections_per_img
            limit = torch.tensor(len(scores) if full else 0), scores[-1] if full else torch.tensor(0.0)
            return [dict(zip(("boxes", "labels", "scores", "masks", "limit", "cut"), (boxes, names, scores, masks, *limit), strict=True))]

        answer = base.Tensors(self.module, _plain_detections)
        note = Message("onnx.keeps_limits", count=self.module.roi_heads.detections_per_img)
        return base.Graph(answer, ("boxes", "labels", "scores", "masks"), raw, (2, 3), traced=True, code=base.OF_BOXES, note=note)

    def tile(self) -> tuple[int, int]:
        """torchvision scales the shorter side to one length: tiles of that keep their pixels."""
        rule = self.preprocessing
        side, longest = rule.shortest_side or LARGEST_TILE, rule.longest_side or LARGEST_TILE
        return side, max(side, min(longest, 2 * side) // STRIDE * STRIDE)

    def optimise_training(self, device: torch.device, precision: str) -> None:
        """On a CPU it pools with all cores, and in bf16 has its channels last: measured 0.78 of the time. In fp32 that layout changes
        nothing."""
        if device.type == "cpu":
            heads = self.module.roi_heads
            heads.box_roi_pool, heads.mask_roi_pool = SharedRoIAlign(heads.box_roi_pool), SharedRoIAlign(heads.mask_roi_pool)
            if precision == "bf16":
                self.module.to(memory_format=torch.channels_last)

    def loss(self, module: nn.Module, images: Tensor, truth: Any, per_pixel: Any, share: float) -> Tensor:
        """The sum of torchvision's five losses. Crops are trained at their own size: samples have been resized before they were cut."""
        losses: dict[str, Tensor] = module(list(images), truth)
        return share * sum(losses.values())

    def head_prefixes(self) -> tuple[str, ...]:
        """The class, box and mask predictors."""
        return ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")

    def card_snippet(self, source: str) -> str:
        """As :meth:`Network.card_snippet`."""
        return snippet(self.options, len(self.labels), source)


def _plain_detections(module: nn.Module, batch: Tensor) -> tuple[Tensor, ...]:
    """Boxes, labels, scores and masks (N, 1, 28, 28) of one picture (1, 3, h, w), by torchvision alone; its tracer follows it."""
    sizes = [(batch.shape[-2], batch.shape[-1])]
    images = ImageList(module.transform.batch_images([batch[0]], module.transform.size_divisible), sizes)
    features = module.backbone(images.tensors)
    proposals, _ = module.rpn(images, features)
    (found,), _ = module.roi_heads(features, proposals, images.image_sizes)
    return found["boxes"], found["labels"], found["scores"], found["masks"]


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
    kept = [max(after, int((proposed >= LIKELY_PROPOSAL).sum())) for proposed in scores]
    return [rows[:n] for rows, n in zip(boxes, kept, strict=True)], [rows[:n] for rows, n in zip(scores, kept, strict=True)]


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
    boxes, scores, labels = (list(column) for column in zip(*kept, strict=True))
    masks = _masks(heads, features, boxes, labels, sizes)
    names = "boxes", "scores", "labels", "masks", "limit", "cut"
    limits = [(torch.tensor(limit), torch.tensor(score)) for limit, score in cut]
    return [
        dict(zip(names, (*found, *limit), strict=True)) for found, limit in zip(zip(boxes, scores, labels, masks), limits, strict=True)
    ]


def _lifted(heads: nn.Module, *given: Any) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[int, float]]:
    """Boxes, scores and labels of one image without the limit, those that are no likely objects left out beyond it; and the number
    kept and the best score that was cut, or zeros if nothing was."""
    other = copy.copy(heads)
    other.detections_per_img = most = max(heads.detections_per_img, MOST_OBJECTS)
    boxes, scores, labels = (answers[0] for answers in type(heads).postprocess_detections(other, *given))
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
    return OrderedDict((name, level[image : image + 1]) for name, level in features.items())


def _preprocessing(options: dict[str, Any]) -> Preprocessing:
    """What torchvision's transform does, from the options that it is built with."""
    try:
        sides = int(options.get("min_size", LIMITS["min_size"])), int(options.get("max_size", LIMITS["max_size"]))
    except (TypeError, ValueError) as error:
        raise BadCheckpointError("preprocessing.min_and_max_size", why=error) from error
    return Preprocessing(IMAGENET_MEAN, IMAGENET_STD, shortest_side=sides[0], longest_side=sides[1], multiple=32)


def padded_size(transform: GeneralizedRCNNTransform, height: int, width: int) -> tuple[int, int]:
    """(height, width) to which an upload is padded, so that torchvision does not shrink it to nothing.

    It would, where an image is more than ``max_size`` times as long as high. Others keep their size.
    """
    least = math.ceil((max(height, width) + 1) / transform.max_size)
    return max(height, least), max(width, least)


def network_size(transform: GeneralizedRCNNTransform, height: int, width: int) -> tuple[int, int]:
    """(height, width) that torchvision resizes an image to in evaluation, by its own arithmetic."""
    image = torch.empty((3, height, width), device="meta")
    resized, _ = _resize_image_and_masks(image, transform.min_size[-1], transform.max_size, None, transform.fixed_size)
    return resized.shape[-2], resized.shape[-1]


def network_input(transform: GeneralizedRCNNTransform, image: np.ndarray) -> Tensor:
    """``transform([pixels / 255])`` in evaluation, before torchvision pads it to its stride.

    Args:
        transform: of the network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        float32 (1, 3, h, w) on the CPU, normalised.
    """
    padded = padded_size(transform, *image.shape[:2])
    size = network_size(transform, *padded)
    pixels = tensor_of(image)
    rule = find_rule(padded, size, 3, False) if sum(size) > SMALL_OUTPUT else None
    if rule is not None:
        return _sampled(transform, pixels, rule)[None]
    floats = _floats(transform, pixels)
    missing = padded[0] - image.shape[0], padded[1] - image.shape[1]
    if any(missing):
        floats = F.pad(floats[None], (0, missing[1], 0, missing[0]), mode="replicate")[0]
    return F.interpolate(floats[None], size, mode="bilinear", align_corners=False)


def _sampled(transform: GeneralizedRCNNTransform, pixels: Tensor, rule: Rule) -> Tensor:
    """float32 (3, h, w): each output from its four pixels; beyond the image, its edge.

    Args:
        transform: normalises.
        pixels: uint8 (H, W, 3).
        rule: of the padded size and the output.
    """
    last = pixels.shape[0] - 1, pixels.shape[1] - 1
    corners = []
    for row in (rule.rows.first, rule.rows.second):
        strip = pixels[row.clamp(max=last[0])]
        for column in (rule.columns.first, rule.columns.second):
            corners.append(_floats(transform, strip[:, column.clamp(max=last[1])]))
    weights = (rule.rows.near[:, None], rule.rows.far[:, None], rule.columns.near, rule.columns.far)
    head = rule.combine(tuple(corner[: rule.tail] for corner in corners), weights)
    tail = rule.combine_tail(tuple(corner[rule.tail :] for corner in corners), weights)
    return torch.cat([head, tail])


def _floats(transform: GeneralizedRCNNTransform, pixels: Tensor) -> Tensor:
    """uint8 (H, W, 3) → float32 (3, H, W), normalised."""
    return transform.normalize(pixels.permute(2, 0, 1).contiguous().float().div_(255))


class SharedRoIAlign(MultiScaleRoIAlign):
    """RoIAlign (He et al. 2017) of the pyramid's levels, as torchvision computes it.

    Args:
        pool: whose levels, size and sampling are taken over.
    """

    def __init__(self, pool: MultiScaleRoIAlign) -> None:
        options = {"canonical_scale": pool.canonical_scale, "canonical_level": pool.canonical_level}
        super().__init__(pool.featmap_names, list(pool.output_size), pool.sampling_ratio, **options)

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Pooled regions, (N, C, height, width), in the features' dtype.

        Args:
            x: levels by name, each (B, C, h, w).
            boxes: per image (N_b, 4), x0 y0 x1 y1 in its pixels.
            image_shapes: height and width of each image, after the resize.
        """
        levels = _filter_input(x, self.featmap_names)
        if self.scales is None or self.map_levels is None:
            self.scales, self.map_levels = _setup_scales(levels, image_shapes, self.canonical_scale, self.canonical_level)
        rois = _convert_to_roi_format(boxes)
        if len(levels) == 1:
            return _Align.apply(levels[0], rois, self.scales[0], self.output_size, self.sampling_ratio)
        chosen = self.map_levels(boxes)
        result = levels[0].new_zeros((len(rois), levels[0].shape[1], *self.output_size))
        for level, (features, scale) in enumerate(zip(levels, self.scales, strict=True)):
            places = torch.where(chosen == level)[0]
            pooled = _Align.apply(features, rois[places], scale, self.output_size, self.sampling_ratio)
            result[places] = pooled.to(result.dtype)
        return result


class _Align(torch.autograd.Function):
    """RoIAlign of one level: features (B, C, h, w), regions (N, 5) of image, x0, y0, x1, y1; no gradient for the regions."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, rois: Tensor, scale: float, size: tuple[int, int], ratio: int) -> Tensor:
        ctx.save_for_backward(rois)
        ctx.about, ctx.like = (scale, *size), torch.empty_like(features, device="meta")
        ctx.ratio, rois = ratio, rois.float()

        def pooled(channels: slice) -> Tensor:
            part = features[:, channels].to(torch.float32, memory_format=torch.contiguous_format)
            return torch.ops.torchvision.roi_align(part, rois, *ctx.about, ratio, False).to(features.dtype)

        return torch.cat(each(pooled, _shares(features.shape[1])), dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (rois,) = ctx.saved_tensors
        # Laid out as the features are, so that the convolutions before them need not reorder it.
        result = torch.empty_like(ctx.like, device=gradient.device)
        batch, _, height, width = result.shape
        rois = rois.float()

        def spread(channels: slice) -> None:
            part, count = gradient[:, channels].float(), channels.stop - channels.start
            sizes = (*ctx.about, batch, count, height, width)
            result[:, channels] = torch.ops.torchvision._roi_align_backward(part, rois, *sizes, ctx.ratio, False)

        each(spread, _shares(result.shape[1]))
        return result, None, None, None, None


def _shares(channels: int) -> list[slice]:
    """All channels, in as many parts as torch has threads."""
    count = min(torch.get_num_threads(), channels)
    edges = [channels * index // count for index in range(count + 1)]
    return [slice(*pair) for pair in zip(edges[:-1], edges[1:], strict=True)]

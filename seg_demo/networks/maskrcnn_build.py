"""How the variants of Mask R-CNN are built here, and in the ten lines of plain torchvision that a model card prints."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from seg_demo.errors import BadCheckpointError

V1, V2, SMALL = "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2", "maskrcnn_resnet10_fpn"
VARIANTS = (V1, V2, SMALL)
LIMITS = {"min_size": 800, "max_size": 1333, "box_score_thresh": 0.05, "box_nms_thresh": 0.5, "box_detections_per_img": 100}


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


def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
    """A network with random weights; never touches the network. It trains images at their own size (``_skip_resize``).

    Args:
        num_classes: background included.
        options: ``variant``, ``min_size`` and ``max_size`` in pixels, ``box_score_thresh``, ``box_nms_thresh``,
            ``box_detections_per_img``; ``frozen_norm`` for v1 (torchvision's COCO weights), and the widths of :func:`default_options` for the small one.

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
    raise BadCheckpointError(f"There is no Mask R-CNN variant {str(variant)[:80]!r}. Supported: {', '.join(VARIANTS)}.")


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
        options: as for :func:`build`.
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

"""What is measured on: a photograph of any size, and networks of the real architectures with random weights."""

from __future__ import annotations

import io
import tempfile
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import nn

from seg_demo.core.types import LabelSet, ModelSpec
from seg_demo.inference import openvino
from seg_demo.inference.model import Model
from seg_demo.networks.base import Network
from seg_demo.networks.detr import RfDetr
from seg_demo.networks.maskrcnn import MaskRcnn
from seg_demo.networks.segformer import SegFormer
from seg_demo.networks.unet import UNet
from seg_demo.networks.universal import Mask2Former
from seg_demo.serving import predictor

CLASSES = 150
# (height, width) of 4:3 photographs.
SIZES = {"0.3 MP": (480, 640), "2 MP": (1225, 1633), "12 MP": (3000, 4000), "48 MP": (6000, 8000)}


def photo(height: int, width: int) -> np.ndarray:
    """A photograph with grain, uint8 (height, width, 3); always the same."""
    pixels = np.asarray(Image.fromarray(data.astronaut()).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = np.random.default_rng(0).integers(-6, 7, (256, 256, 3), dtype=np.int16)
    tiled = np.tile(grain, (height // 256 + 1, width // 256 + 1, 1))[:height, :width]
    return (pixels + tiled).clip(0, 255).astype(np.uint8)


def jpeg(height: int, width: int) -> bytes:
    """The photograph as a camera's file."""
    file = io.BytesIO()
    Image.fromarray(photo(height, width)).save(file, "JPEG", quality=92)
    return file.getvalue()


def labels(count: int) -> LabelSet:
    """Class names; the first is the background."""
    return LabelSet.from_names(["background", *(f"class {index}" for index in range(1, count))], 0)


@lru_cache
def folder(kind: str) -> Path:
    """A checkpoint folder with random weights.

    Args:
        kind: ``segformer-b0`` (150 classes, transformers' own layout and sizes), ``unet-r34``, ``maskrcnn-r50``, ``mask2former-swin-t``,
            the same with ``-sure`` (all its queries are), or ``rfdetr-seg-nano``, in the sizes of their owners' checkpoints.
    """
    torch.manual_seed(0)
    path = Path(tempfile.mkdtemp(prefix="benchmark-")) / kind
    _MAKERS[kind]().save(path)
    return path


def model(kind: str) -> Model:
    """The project's model, as the demo serves it."""
    path = folder(kind)
    spec = ModelSpec(kind, None, "semantic", "", kind, "", "folder")
    return predictor.build(spec, path, "cpu")


def compiled() -> None:
    """Wait until the engine has compiled what it has seen."""
    if not openvino.drain_compiling(600):
        raise RuntimeError("The engine did not compile within ten minutes.")


def _segformer() -> Network:
    from transformers import SegformerConfig, SegformerImageProcessor

    names = labels(CLASSES)
    config = SegformerConfig(num_labels=CLASSES).to_dict()
    options = {key: config[key] for key in ("model_type", *SegFormer.default_options()) if key in config}
    checkpoint = SegFormer.create(names, options)
    processor = SegformerImageProcessor(do_reduce_labels=False)
    size = (processor.size["height"], processor.size["width"])
    rule = type(checkpoint.preprocessing)(size=size)
    _calibrate(checkpoint.module, lambda: checkpoint.module(pixel_values=_sample(512, 512)))
    return SegFormer(checkpoint.module, names, rule, options, processor)


def _unet() -> Network:
    checkpoint = UNet.create(labels(21), {"decoder": "Unet", "encoder": "resnet34"})
    _calibrate(checkpoint.module, lambda: checkpoint.module(_sample(512, 512)))
    return checkpoint


def _maskrcnn() -> Network:
    checkpoint = MaskRcnn.create(labels(91), {"variant": "maskrcnn_resnet50_fpn", "box_score_thresh": 0.0})
    module = checkpoint.module
    _calibrate(module.backbone, lambda: module.backbone(_sample(800, 1066)))
    # Untrained scores are all alike; spread out, rounding does not decide which hundred objects are the best.
    with torch.no_grad():
        module.roi_heads.box_predictor.cls_score.weight.mul_(40)
        module.rpn.head.cls_logits.weight.mul_(40)
    return checkpoint


def _mask2former(sure: int = 20) -> Network:
    """As facebook's Swin-T for COCO panoptic.

    Args:
        sure: queries whose best class is likelier than none, of a hundred; some of them are surer than the threshold.
    """
    swin = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7}
    backbone = {"model_type": "swin", **swin, "out_features": ["stage1", "stage2", "stage3", "stage4"]}
    made = Mask2Former.create(labels(133), {"model_type": "mask2former", "backbone_config": backbone, "num_queries": 100})
    made.processor.size = type(made.processor)(size={"shortest_edge": 800, "longest_edge": 1333}).size
    head = made.module.class_predictor
    with torch.no_grad():
        # Untrained queries are all alike and sure of nothing.
        head.weight.normal_(0, 1)
        # The peer resizes the masks of sure queries alone: of a photograph of everyday things a dozen.
        classes = made.forward(made.module, made.preprocess(photo(*SIZES["12 MP"])))[0]["classes"]
        surest = (classes[:, :-1].amax(1) - classes[:, -1]).sort(descending=True).values
        head.bias[-1] += (surest[sure - 1] + surest[sure]) / 2 if sure < len(surest) else -100
    return made


def _rfdetr() -> Network:
    """As Roboflow's Seg-Nano: 312 pixels, 100 queries."""
    backbone = {"model_type": "rf_detr_dinov2", "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "image_size": 312}
    backbone |= {"patch_size": 12, "num_windows": 1, "out_features": ["stage3", "stage6", "stage9", "stage12"]}
    sizes = {"d_model": 256, "decoder_layers": 4, "decoder_n_points": 2, "num_queries": 100}
    made = RfDetr.create(labels(91), {"model_type": "rf_detr", "backbone_config": backbone, **sizes})
    with torch.no_grad():
        made.module.model.class_embed.bias.zero_()
        made.module.query_features_proj.weight.mul_(20)
    return made


_MAKERS = {
    "segformer-b0": _segformer, "unet-r34": _unet, "maskrcnn-r50": _maskrcnn, "mask2former-swin-t": _mask2former, "rfdetr-seg-nano": _rfdetr,
    "mask2former-swin-t-sure": partial(_mask2former, 100),
}  # fmt: skip


def _sample(height: int, width: int) -> torch.Tensor:
    pixels = torch.from_numpy(photo(height, width)).permute(2, 0, 1)[None].float() / 255
    return (pixels - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / 0.225


def _calibrate(module: nn.Module, run: Any) -> None:
    """Running statistics as after training, without which activations grow from layer to layer."""
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    kept = [each.momentum for each in norms]
    for each in norms:
        each.momentum = 1.0
    module.train()
    with torch.no_grad():
        run()
    module.eval()
    for each, momentum in zip(norms, kept, strict=True):
        each.momentum = momentum

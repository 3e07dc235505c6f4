"""Encoders of transformers without a segmentation head: what tutorials fine-tune (``nvidia/mit-b0``), and a base for training here.

They end in a classifier of whole pictures, or in nothing. Those of a family that has a segmentation head get that (SegFormer, BEiT,
Data2Vec, MobileViT, MobileNetV2), and those that give a pyramid of features get UPerNet's (ConvNeXt, Swin, ResNet, FocalNet), as in
the papers of both. The head has random weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoBackbone, AutoConfig, AutoModelForSemanticSegmentation

from seg_demo.errors import BadCheckpointError
from seg_demo.networks import files, image_processor, segformer
from seg_demo.networks.base import Checkpoint
from seg_demo.networks.segformer_config import (
    ANY_SIZE,
    PYRAMIDS,
    config_of,
    from_config,
    options_from_config,
    own_size,
    quiet,
)
from seg_demo.networks.sizes import Takes
from seg_demo.networks.weights import check_finite, read_weights
from seg_demo.types import LabelSet

STAGES = ["stage1", "stage2", "stage3", "stage4"]
# Side to which pictures are resized where the network takes any: what segmentation networks of these families were trained at.
SIDE = 512


def with_head(folder: Path, labels: LabelSet) -> tuple[Checkpoint, tuple[str, ...]]:
    """An encoder with a fresh segmentation head.

    Args:
        folder: config.json, the weights, and perhaps an image processor, whose colours are kept.
        labels: the classes.

    Returns:
        The checkpoint, and prefixes of the names of its fresh parameters.

    Raises:
        BadCheckpointError: a config that builds nothing, or weights that are not the encoder's.
    """
    config = files.read_json(folder, files.CONFIG)
    options = _options(config)
    described = config_of(len(labels), options)
    module = segformer.build(len(labels), options).eval()
    fresh = _fill(module, folder, options, described)
    processor = _processor(folder, config, options, described)
    colours = image_processor.colours_of(processor)
    preprocessing = image_processor.preprocessing_of(processor, colours, {})
    head = "UPerNet's" if options["model_type"] == "upernet" else "its family's"
    notes = (
        f"The base is an encoder without a segmentation head: its layers are kept, and {head} head with random weights is added, which "
        "only training can teach.",
    )
    return Checkpoint("segformer", module, labels, preprocessing, options, processor, notes), fresh


def _options(config: dict[str, Any]) -> dict[str, Any]:
    options, _ = options_from_config({key: value for key, value in config.items() if key not in ("id2label", "label2id")})
    options.pop("binary", None)
    if options["model_type"] in PYRAMIDS:
        for key in ("out_indices", "_out_indices"):
            options.pop(key, None)
        return {"model_type": "upernet", "backbone_config": {**options, "out_features": STAGES}, "use_auxiliary_head": False}
    if options["model_type"] in ("beit", "data2vec-vision"):
        layers = int(options.get("num_hidden_layers", 12))
        # The layers that its authors took for segmentation: 3, 5, 7 and 11 of 12.
        chosen = [round(layers * share / 12) for share in (3, 5, 7, 11)]
        chosen = chosen if chosen == sorted(set(chosen)) else list(range(layers - 3, layers + 1))
        for key in ("out_features", "stage_names"):
            options.pop(key, None)
        return {**options, "out_indices": chosen, "use_auxiliary_head": False}
    if options["model_type"].startswith("mobile"):
        return {**options, "output_stride": 16}
    return options


def _fill(module: nn.Module, folder: Path, options: dict[str, Any], described: Any) -> tuple[str, ...]:
    """Give a network the encoder's weights, by transformers' own rules about names; says what stays fresh."""
    state = read_weights(folder)
    check_finite(state.items())
    pyramid = options["model_type"] == "upernet"
    kind, inner = (AutoBackbone, described.backbone_config) if pyramid else (AutoModelForSemanticSegmentation, described)
    before = "backbone." if pyramid else ""
    with torch.device("meta"):
        cls = type(kind.from_config(inner))
    try:
        with quiet():
            loaded, report = cls.from_pretrained(
                None, config=inner, state_dict=state, dtype=torch.float32, ignore_mismatched_sizes=True, output_loading_info=True
            )
    except Exception as error:  # transformers and torch have their own
        raise BadCheckpointError(f"{files.WEIGHTS} of the checkpoint cannot be loaded ({files.said(error)}).") from error
    absent = {*report["missing_keys"], *(each[0] for each in report["mismatched_keys"])}
    encoder = "" if pyramid else f"{cls.base_model_prefix}."
    lost = sorted(name for name in absent if name.startswith(encoder) and not name.startswith("hidden_states_norms."))
    if lost:
        raise BadCheckpointError(
            f"{files.WEIGHTS} lacks {len(lost)} weights of the encoder that {files.CONFIG} describes, the first is {lost[0]!r}."
        )
    given = {before + name: tensor for name, tensor in loaded.state_dict().items() if name not in absent}
    module.load_state_dict(given, strict=False)
    left = sorted(name for name, _ in module.named_parameters() if name not in given)
    # One prefix for a part of which nothing came from the encoder.
    parts = {name.split(".")[0] for name in left} - {name.split(".")[0] for name in given}
    whole = tuple(f"{part}." for part in sorted(parts))
    return (*whole, *(name for name in left if not name.startswith(whole)))


def _processor(folder: Path, config: dict[str, Any], options: dict[str, Any], described: Any) -> Any:
    """The segmentation family's own image processor, with the encoder's colours and a size that suits."""
    encoder = AutoConfig.for_model(config["model_type"])
    own = image_processor.colours_of(image_processor.read_processor(folder, image_processor.processor_data(folder), encoder))
    size = own_size(described)
    takes = Takes(lambda: from_config(2, options), segformer.forward)
    free = options["model_type"] in ANY_SIZE or options["model_type"] == "upernet" or size is None or not takes(*size)
    side = {"height": SIDE, "width": SIDE} if free else {"height": size[0], "width": size[1]}
    kind = type(image_processor.default_processor(described))
    processor = kind(size=side, do_center_crop=False, image_mean=list(own.mean), image_std=list(own.std), rescale_factor=1 / 255)
    if image_processor.colours_of(processor).bgr != own.bgr:
        processor.do_flip_channel_order = own.bgr
    return processor

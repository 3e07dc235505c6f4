"""A small network of every family of transformers for semantic segmentation, written as the library writes it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import (
    AutoModelForSemanticSegmentation,
    BeitConfig,
    ConvNextConfig,
    ConvNextV2Config,
    Data2VecVisionConfig,
    DPTConfig,
    MobileNetV2Config,
    MobileViTConfig,
    MobileViTV2Config,
    PreTrainedConfig,
    Sapiens2Config,
    SegformerConfig,
    SwinConfig,
    UperNetConfig,
)

from tests.networks.contract import randomise

CLASSES = 5
STAGES = ["stage1", "stage2", "stage3", "stage4"]
VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 16}
BEIT = {**VIT, "out_indices": [1, 2, 3, 4], "use_auxiliary_head": False}
CONVNEXT = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "out_features": STAGES}
SWIN = {"embed_dim": 8, "depths": [1] * 4, "num_heads": [1] * 4, "image_size": 64, "out_features": STAGES}
UPER = {"hidden_size": 16, "use_auxiliary_head": False}

FAMILIES: dict[str, Callable[..., PreTrainedConfig]] = {
    "beit": lambda **k: BeitConfig(**{**BEIT, "image_size": 224, "use_relative_position_bias": True, **k}),
    "data2vec-vision": lambda **k: Data2VecVisionConfig(
        **{**BEIT, "image_size": 224, "use_relative_position_bias": True, **k}
    ),
    "dpt": lambda **k: DPTConfig(
        **{
            **VIT, "image_size": 64, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 16, 16],
            "fusion_hidden_size": 16, "is_hybrid": False, "use_auxiliary_head": False, **k,
        }
    ),
    "mobilenet_v2": lambda **k: MobileNetV2Config(**{"depth_multiplier": 0.35, **k}),
    "mobilevit": lambda **k: MobileViTConfig(
        **{
            "hidden_sizes": [16, 16, 16], "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16], "num_attention_heads": 2,
            "aspp_out_channels": 8, **k,
        }
    ),
    "mobilevitv2": lambda **k: MobileViTV2Config(**{"width_multiplier": 0.25, "aspp_out_channels": 8, **k}),
    "sapiens2": lambda **k: Sapiens2Config(
        **{
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 16,
            "num_key_value_heads": 1, "image_size": [64, 48],
            "head_config": {"upsample_out_channels": [8, 8], "conv_out_channels": [8]}, **k,
        }
    ),
    "segformer": lambda **k: SegformerConfig(
        **{
            "hidden_sizes": [8, 16, 16, 24], "num_attention_heads": [1, 2, 2, 2], "depths": [1] * 4, "decoder_hidden_size": 16,
            "initializer_range": 0.4, **k,
        }
    ),
    "upernet-convnext": lambda **k: UperNetConfig(**{"backbone_config": ConvNextConfig(**CONVNEXT), **UPER, **k}),
    "upernet-convnextv2": lambda **k: UperNetConfig(**{"backbone_config": ConvNextV2Config(**CONVNEXT), **UPER, **k}),
    "upernet-swin": lambda **k: UperNetConfig(**{"backbone_config": SwinConfig(**SWIN), **UPER, **k}),
}  # fmt: skip


def write_family(folder: Path, name: str) -> PreTrainedConfig:
    """config.json and model.safetensors of a family, without an image processor.

    Args:
        folder: made if it does not exist.
        name: of :data:`FAMILIES`.
    """
    config, files = _made(name)
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    # What a test draws next is the same whether the network was made for it or before.
    torch.manual_seed(0)
    return deepcopy(config)


@lru_cache
def _made(name: str) -> tuple[PreTrainedConfig, dict[str, bytes]]:
    """The config and the files of a family, which a hundred tests want."""
    torch.manual_seed(0)
    config = FAMILIES[name](num_labels=CLASSES)
    module = AutoModelForSemanticSegmentation.from_config(config)
    with torch.no_grad():
        for each in module.parameters():
            # Fresh weights of transformers are so small that one class wins everywhere.
            each.add_(torch.randn_like(each) * 0.1)
        logits = randomise(module)(pixel_values=torch.randn(1, 3, 224, 224).cumsum(2).cumsum(3) / 224).logits
        (bias,) = (each for key, each in module.named_parameters() if key.endswith("bias") and each.shape == (CLASSES,))
        bias -= logits.mean((0, 2, 3))
    with TemporaryDirectory() as scratch:
        module.save_pretrained(scratch)
        return config, {path.name: path.read_bytes() for path in Path(scratch).iterdir()}

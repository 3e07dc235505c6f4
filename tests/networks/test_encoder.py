"""Encoders without a segmentation head: a sentence where they are to segment, a base where they are to be trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    BeitImageProcessor,
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextImageProcessor,
    ConvNextV2Config,
    ConvNextV2ForImageClassification,
    MobileViTConfig,
    MobileViTForImageClassification,
    PreTrainedModel,
    SegformerConfig,
    SegformerForImageClassification,
    SegformerModel,
    SwinConfig,
    SwinForImageClassification,
)

from seg_demo import networks
from seg_demo.core.errors import EncoderOnlyError
from seg_demo.networks import segformer
from seg_demo.networks.segformer import SegFormer
from tests.networks.contract import LABELS
from tests.networks.families import CONVNEXT, SWIN, VIT
from tests.networks.test_image_processor import ours, piped, smooth

SEGFORMER = {"hidden_sizes": [8, 16, 16, 24], "num_attention_heads": [1, 2, 2, 2], "depths": [1] * 4, "decoder_hidden_size": 16}
CLASSIFIER = {key: value for key, value in CONVNEXT.items() if key != "out_features"}
MOBILE = {"hidden_sizes": [16, 16, 16], "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16], "num_attention_heads": 2}

ENCODERS: dict[str, Callable[[], PreTrainedModel]] = {
    "mit": lambda: SegformerForImageClassification(SegformerConfig(**SEGFORMER, num_labels=1000)),
    "mit without a classifier": lambda: SegformerModel(SegformerConfig(**SEGFORMER)),
    "beit": lambda: BeitForImageClassification(
        BeitConfig(**{**VIT, "image_size": 64, "use_relative_position_bias": True}, num_labels=30)
    ),
    "convnext": lambda: ConvNextForImageClassification(ConvNextConfig(**CLASSIFIER, num_labels=30)),
    "convnextv2": lambda: ConvNextV2ForImageClassification(ConvNextV2Config(**CLASSIFIER, num_labels=30)),
    "swin": lambda: SwinForImageClassification(SwinConfig(**{k: v for k, v in SWIN.items() if k != "out_features"}, num_labels=30)),
    "mobilevit": lambda: MobileViTForImageClassification(MobileViTConfig(**MOBILE, num_labels=30)),
}  # fmt: skip


@pytest.mark.parametrize("name", [name if name == "convnext" else pytest.param(name, marks=pytest.mark.soak) for name in ENCODERS])
def test_an_encoder_is_a_base_for_training(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The head's width stays the library's, with which 512 pixels take ten seconds.
    monkeypatch.setattr(segformer, "SIDE", 128)
    torch.manual_seed(0)
    model = ENCODERS[name]()
    model.save_pretrained(tmp_path / "a")
    with pytest.raises(EncoderOnlyError, match="base for training"):
        networks.load(tmp_path / "a")
    checkpoint, fresh = SegFormer.from_encoder(tmp_path / "a", LABELS)
    assert checkpoint.labels == LABELS and "random weights" in checkpoint.notes[0]
    given = {tuple(tensor.shape): tensor for tensor in model.state_dict().values() if tensor.ndim == 4}
    kept = [tensor for key, tensor in checkpoint.module.named_parameters() if not key.startswith(fresh) and tensor.ndim == 4]
    assert kept and all(any(torch.equal(each, one) for one in model.state_dict().values() if one.shape == each.shape) for each in kept)
    assert given and any(key.startswith(fresh) for key, _ in checkpoint.module.named_parameters())
    # Of the encoder itself, nothing is fresh.
    assert not [key for key in fresh if "encoder" in key]
    checkpoint.save(tmp_path / "b")
    image = smooth(61, 97)
    found = ours(checkpoint, image)
    assert np.array_equal(piped(tmp_path / "b", image), found)
    assert np.array_equal(ours(SegFormer.load(tmp_path / "b"), image), found)


def test_the_encoders_colours_are_kept(tmp_path: Path) -> None:
    ENCODERS["convnext"]().save_pretrained(tmp_path / "convnext")
    ConvNextImageProcessor(image_mean=[0.1, 0.2, 0.3], size={"shortest_edge": 64}).save_pretrained(tmp_path / "convnext")
    checkpoint, _ = SegFormer.from_encoder(tmp_path / "convnext", LABELS)
    assert checkpoint.preprocessing.mean == pytest.approx((0.1, 0.2, 0.3)) and checkpoint.preprocessing.size == (512, 512)
    ENCODERS["beit"]().save_pretrained(tmp_path / "beit")
    BeitImageProcessor(size={"height": 256, "width": 256}, do_center_crop=True).save_pretrained(tmp_path / "beit")
    assert SegFormer.from_encoder(tmp_path / "beit", LABELS)[0].preprocessing.size == (64, 64)

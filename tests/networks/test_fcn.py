"""FCN and its relatives: the shared contract, and torchvision itself as the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from PIL import Image
from safetensors.torch import load_file
from torchvision.models import segmentation
from torchvision.transforms._presets import SemanticSegmentation

from seg_demo import networks
from seg_demo.networks.base import Network
from seg_demo.networks.fcn import FCN
from tests.networks.contract import LABELS, NetworkContract, image_of, randomise

VOC = ["__background__", *(f"voc {index}" for index in range(1, 21))]


class TestFcn(NetworkContract):
    name = "fcn"

    def plain(self, folder: Path, checkpoint: Network, batch: torch.Tensor) -> torch.Tensor:
        config = json.loads((folder / "config.json").read_text())
        make = getattr(segmentation, config["options"]["variant"])
        model = make(weights=None, weights_backbone=None, num_classes=config["num_classes"])
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model.eval()(batch)["out"]

    def absurd(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {**config, "num_classes": 10**6},
            {**config, "num_classes": "3"},
            {**config, "options": {"variant": "resnet50"}},
            {**config, "options": None},
            {**config, "colors": [[0, 0, 999]] * 3},
            {**config, "background": 7},
        ]


@pytest.mark.parametrize("size", [(33, 47), (1, 3), pytest.param((700, 521), marks=pytest.mark.soak)])
def test_result_equals_torchvision(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = randomise(segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21))
    checkpoint = FCN.from_torchvision("lraspp_mobilenet_v3_large", model.state_dict(), VOC)
    assert checkpoint.labels.names[:2] == ("background", "voc 1")
    image = image_of(*size)
    with torch.inference_mode():
        logits = model(SemanticSegmentation(resize_size=520)(Image.fromarray(image))[None])["out"]
        expected = F.interpolate(logits, size, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
        raw = FCN.forward(checkpoint.module, checkpoint.preprocess(image))
    assert torch.equal(raw, logits)
    assert np.array_equal(checkpoint.postprocess(raw, *size).id_map, expected)


def test_a_panorama_does_not_grow_without_bound() -> None:
    state = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict()
    checkpoint = FCN.from_torchvision("lraspp_mobilenet_v3_large", state, VOC)
    batch = checkpoint.preprocess(image_of(3, 900))
    assert max(batch.shape) == 4096
    assert checkpoint.preprocessing.fitted(3, 900) == (14, 4096)


def test_the_auxiliary_head_goes_when_the_head_is_replaced(tmp_path: Path) -> None:
    variant = "deeplabv3_mobilenet_v3_large"
    made = segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    checkpoint = FCN.from_torchvision(variant, made.state_dict(), VOC)
    assert checkpoint.options == {"variant": variant, "aux": True}
    replaced = checkpoint.replace_head(LABELS)
    assert replaced.options["aux"] is False
    assert not any(key.startswith("aux_classifier") for key in replaced.module.state_dict())
    replaced.save(tmp_path)
    assert networks.load(tmp_path).options == replaced.options


def test_fcn_resnet50_is_torchvisions() -> None:
    module = FCN.build(21, {"variant": "fcn_resnet50", "aux": True}).eval()
    assert (
        sum(parameter.numel() for parameter in module.parameters())
        == segmentation.FCN_ResNet50_Weights.DEFAULT.meta["num_params"]
    )
    with torch.inference_mode():
        assert FCN.forward(module, torch.zeros(1, 3, 17, 33)).shape == (1, 21, 17, 33)


def test_a_folder_of_the_hubs_mixin_is_preprocessed_as_by_torchvision(tmp_path: Path) -> None:
    class Mixed(torch.nn.Module, PyTorchModelHubMixin):
        def __init__(self, architecture: str, num_classes: int, options: dict[str, Any]) -> None:
            super().__init__()
            made = getattr(segmentation, options["variant"])(weights=None, weights_backbone=None, num_classes=num_classes)
            for name, child in randomise(made).named_children():
                self.add_module(name, child)

    torch.manual_seed(3)
    Mixed("fcn", 4, {"variant": "lraspp_mobilenet_v3_large"}).save_pretrained(tmp_path)
    assert not (tmp_path / "preprocessor_config.json").exists()
    checkpoint = networks.load(tmp_path)
    image = image_of(33, 47)
    expected = SemanticSegmentation(resize_size=520)(Image.fromarray(image))[None]
    assert torch.equal(checkpoint.preprocess(image), expected)
    assert checkpoint.labels.names == ("background", "class 1", "class 2", "class 3")

"""U-Net: the shared contract, and smp itself as the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from seg_demo import networks
from seg_demo.core.errors import BadCheckpointError
from seg_demo.networks.base import Network
from seg_demo.networks.unet import UNet
from tests.networks.contract import LABELS, NetworkContract, image_of, randomise

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class TestUnet(NetworkContract):
    name = "unet"

    def plain(self, folder: Path, checkpoint: Network, batch: torch.Tensor) -> torch.Tensor:
        return smp.from_pretrained(folder).eval()(batch)

    def absurd(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {**config, "classes": 100_000},
            {**config, "classes": 0},
            {**config, "decoder_channels": [10**6] * 5},
            {**config, "decoder_channels": [1] * 1000},
            {**config, "decoder_channels": "many"},
            {**config, "encoder_name": "tu-hf-hub:someone/backbone"},
            {**config, "encoder_name": ["resnet18"]},
            {**config, "in_channels": 12},
            {**config, "_model_class": "os.system"},
        ]


def plain_repo(folder: Path, model: torch.nn.Module) -> Network:
    """A checkpoint as smp itself writes it, loaded by us."""
    randomise(model).save_pretrained(folder)
    return UNet.load(folder)


def label_map_by_smp(model: torch.nn.Module, image: np.ndarray, multiple: int, mode: str) -> np.ndarray:
    """Pad, forward, crop and resize, written down again with numpy and smp."""
    height, width = image.shape[:2]
    padding = ((0, -height % multiple), (0, -width % multiple), (0, 0))
    pixels = np.pad(((image / np.float32(255) - MEAN) / STD).astype(np.float32), padding, mode=mode)
    with torch.inference_mode():
        logits = model(torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous())[..., :height, :width]
    return (logits[0, 0] > 0).numpy() if logits.shape[1] == 1 else logits[0].argmax(0).numpy()


@pytest.mark.parametrize(
    "decoder", ["Unet", "FPN", "DeepLabV3Plus", "UPerNet", *(pytest.param(name, marks=pytest.mark.soak) for name in ("UnetPlusPlus", "Linknet", "MAnet", "PAN", "PSPNet"))]
)
def test_every_decoder_equals_smp(decoder: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = smp.create_model(decoder, "resnet18", encoder_weights=None, classes=4)
    checkpoint = plain_repo(tmp_path, model)
    assert checkpoint.labels.names == ("class 0", "class 1", "class 2", "class 3")
    multiple = checkpoint.preprocessing.multiple
    for size, mode in (((1, 1), "edge"), ((33, 47), None)):
        image = image_of(*size)
        small = max(-size[0] % multiple - size[0], -size[1] % multiple - size[1]) >= 0
        with torch.inference_mode():
            raw = UNet.forward(checkpoint.module, checkpoint.preprocess(image))
        result = checkpoint.postprocess(raw, *size)
        expected = label_map_by_smp(model, image, multiple, mode or ("edge" if small else "reflect"))
        assert (result.id_map == expected).mean() >= 0.999


def test_binary_checkpoint_has_two_classes(tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = smp.Unet("resnet18", encoder_weights=None, classes=1, activation="sigmoid", decoder_channels=(32, 16, 8, 8, 8))
    checkpoint = plain_repo(tmp_path, model)
    assert checkpoint.labels.names == ("background", "foreground") and checkpoint.labels.background == 0
    image = image_of(40, 64)
    with torch.inference_mode():
        raw = UNet.forward(checkpoint.module, checkpoint.preprocess(image))
        probability = model(checkpoint.preprocess(image))[0, 0, :40, :64]
    assert raw.shape[1] == 1
    result = checkpoint.postprocess(raw, 40, 64)
    assert np.array_equal(result.id_map, probability.numpy() > 0.5)
    checkpoint.save(tmp_path / "again")
    again = networks.load(tmp_path / "again")
    assert again.options == checkpoint.options and again.labels == checkpoint.labels
    assert checkpoint.replace_head(checkpoint.labels).module.segmentation_head[0].out_channels == 2


def test_large_upload_is_shrunk_and_comes_back(tmp_path: Path) -> None:
    checkpoint = plain_repo(tmp_path, smp.Unet("resnet18", encoder_weights=None, classes=3))
    image = image_of(20, 2100)
    batch = checkpoint.preprocess(image)
    assert batch.shape == (1, 3, 32, 1024)
    with torch.inference_mode():
        raw = UNet.forward(checkpoint.module, batch)
    expected = F.interpolate(raw[..., :10, :1024], (20, 2100), mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    assert np.array_equal(checkpoint.postprocess(raw, 20, 2100).id_map, expected)


@pytest.mark.parametrize("sizes", [{}, {"dynamic_img_size": True}, {"img_size": 64}])
def test_a_transformer_encoder_gets_the_sizes_that_it_takes(tmp_path: Path, sizes: dict[str, Any]) -> None:
    narrow = {"decoder_intermediate_channels": (8, 8, 8, 8), "decoder_fusion_channels": 8}
    model = smp.DPT("tu-vit_tiny_patch16_224", encoder_weights=None, classes=3, **narrow, **sizes)
    checkpoint = plain_repo(tmp_path, model)
    side = sizes.get("img_size", 224)
    assert checkpoint.preprocessing.size == (None if "dynamic_img_size" in sizes else (side, side))
    image = image_of(45, 70)
    batch = checkpoint.preprocess(image)
    assert batch.shape[2:] == ((64, 96) if "dynamic_img_size" in sizes else (side, side))
    with torch.inference_mode():
        raw, logits = UNet.forward(checkpoint.module, batch), model(batch)
    if "dynamic_img_size" in sizes:
        logits = logits[..., :45, :70]
    expected = F.interpolate(logits, (45, 70), mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    assert np.array_equal(checkpoint.postprocess(raw, 45, 70).id_map, expected)


def test_names_of_a_plain_config_are_used(tmp_path: Path) -> None:
    smp.Unet("resnet18", encoder_weights=None, classes=2).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": {"0": "road", "1": "<script>"}}))
    assert UNet.load(tmp_path).labels.names == ("road", "<script>")


def test_weights_of_old_smp_load(tmp_path: Path) -> None:
    checkpoint = UNet.create(LABELS, {"decoder": "Unet", "encoder": "timm-mobilenetv3_small_minimal_100"})
    checkpoint.save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    old = {key.replace("encoder.model.", "encoder."): tensor for key, tensor in state.items()}
    assert set(old) != set(state)
    save_file(old, tmp_path / "model.safetensors")
    loaded = UNet.load(tmp_path).module.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in checkpoint.module.state_dict().items())


def test_unknown_argument_is_refused() -> None:
    with pytest.raises(BadCheckpointError, match="pretrained_cfg"):
        UNet.build(2, {"decoder": "Unet", "encoder": "resnet18", "pretrained_cfg": "x"})

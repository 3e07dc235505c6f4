"""albumentations' files: its own results, and OpenCV's resizing, were written down by albumentations 2.0.8 and OpenCV 4.11 and 5.0."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F

from seg_demo import load_model, networks
from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import LabelSet
from seg_demo.inference import tiled
from seg_demo.networks import preprocessing, unet
from seg_demo.networks.base import normalised
from seg_demo.networks.unet import UNet
from tests.networks.contract import LABELS, image_of, randomise

WRITTEN: dict[str, Any] = json.loads((Path(__file__).parent / "albumentations_2_0_8.json").read_text())
# sha256 of cv2.resize(noise, (w, h)) by nearest, linear, area and nearest (exact), the first twelve digits of each.
OPENCV = {
    "61x97 96x64": "4df2359bf560 08c064a56c8f 202f9f44bb35 3984dd70204c",
    "301x200 512x512": "222d262079ac 058950207743 3ad0d77fd157 0e3ec32f940e",
    "64x64 32x32": "5f20f554b735 97103434536c 97103434536c 7c9ecf4bdad2",
    "64x64 128x128": "bdbde52abd34 cc8b90c90e13 bdbde52abd34 bdbde52abd34",
    "61x97 61x200": "b1b61108e31b c2f55e484a9b ddeb1efb292b 6e53b637014c",
    "1x1 32x32": "d0743451226e d0743451226e d0743451226e d0743451226e",
    "37x53 384x512": "6edcab8b3a87 6453cb36afd6 e89bde87f714 bdd0f345ba7e",
    "100x120 37x41": "28bfef1e8892 6aa5a3f65f30 16a7207e8906 1b58381220ba",
    "2x900 64x64": "5e450f0c4a17 798fec3b7f9b bf368b00b30f d859f1b50fa9",
}
RESIZE = {"__class_fullname__": "Resize", "p": 1.0, "height": 64, "width": 96, "interpolation": 1}
NORMALIZE = {"__class_fullname__": "Normalize", "p": 1.0, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "max_pixel_value": 255.0}


def blocks() -> np.ndarray:
    """uint8 (61, 97, 3): the picture of which the results are written down."""
    noise = np.random.default_rng(7).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    return np.kron(noise, np.ones((8, 11, 1), np.uint8))[:61, :97]


def composed(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"__version__": "2.0.8", "transform": {"__class_fullname__": "Compose", "p": 1.0, "transforms": list(steps)}}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smp")
    torch.manual_seed(0)
    model = smp.Unet("tu-test_resnet", encoder_weights=None, classes=5, decoder_channels=(16, 16, 8, 8, 8))
    with torch.no_grad():
        model.segmentation_head[0].weight.mul_(20)
    randomise(model).save_pretrained(folder)
    return folder


def with_steps(repo: Path, folder: Path, *steps: dict[str, Any]) -> Path:
    """The repository with albumentations' file in it."""
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((repo / name).read_bytes())
    (folder / preprocessing.PIPELINE_FILE).write_text(json.dumps(composed(*steps)))
    return folder


@pytest.mark.parametrize("case", OPENCV)
def test_resizing_is_opencvs_to_the_last_bit(case: str) -> None:
    generator = np.random.default_rng(0)
    for each in OPENCV:
        (height, width), size = (tuple(map(int, part.split("x"))) for part in each.split())
        noise = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if each == case:
            break
    found = [hashlib.sha256(preprocessing.cv_resize(noise, size, how).tobytes()).hexdigest()[:12] for how in (0, 1, 3, 6)]
    assert " ".join(found) == OPENCV[case]


@pytest.mark.parametrize("name", WRITTEN)
def test_the_input_is_albumentations(name: str) -> None:
    made = preprocessing.parse_pipeline(composed(*WRITTEN[name]["transforms"]))(blocks())[0].permute(1, 2, 0).numpy()
    height, width = WRITTEN[name]["shape"]
    assert made.shape == (height, width, 3)
    points = [(0, 0), (height // 2, width // 2), (height - 1, width - 1), (height // 3, width - 2), (height - 2, width // 5)]
    np.testing.assert_allclose([made[point] for point in points], WRITTEN[name]["seen"], atol=2e-4, rtol=1e-4)


# What a pipeline of several of these steps shows of each.
SINGLE = ("resize only", "max 1", "normalize then pad", "resize+max255", "tofloat")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.soak if name in SINGLE else ()) for name in WRITTEN])
def test_labels_are_smps_and_training_sees_the_same(repo: Path, tmp_path: Path, name: str) -> None:
    checkpoint = UNet.load(with_steps(repo, tmp_path / "a", *WRITTEN[name]["transforms"]))
    model, image = smp.from_pretrained(repo).eval(), blocks()
    pipeline = preprocessing.parse_pipeline(composed(*WRITTEN[name]["transforms"]))
    batch = checkpoint.preprocess(image)
    frame = preprocessing.Frame(tuple(batch.shape[2:]), 0, 0, image.shape[:2])
    if checkpoint.processor is not None:
        frame = checkpoint.processor.frame(*image.shape[:2])
        assert torch.equal(batch, pipeline(image)) and frame.size == tuple(batch.shape[2:])
    rows, columns = slice(frame.top, frame.top + frame.content[0]), slice(frame.left, frame.left + frame.content[1])
    with torch.inference_mode():
        logits = model(batch)
        found = checkpoint.postprocess(logits, *image.shape[:2]).id_map
    plain = F.interpolate(logits[..., rows, columns], image.shape[:2], mode="bilinear", align_corners=False)[0].argmax(0)
    # Between 0 and 1 the picture is so weak that random weights make nothing of it.
    assert len(plain.unique()) > 1 or (name == "tofloat" and not logits.any())
    assert np.array_equal(found, plain.numpy())
    pixels = torch.from_numpy(checkpoint.pixels_as_seen(image)).permute(2, 0, 1)[None] / 255
    trained = normalised(pixels, checkpoint.preprocessing)
    torch.testing.assert_close(trained, batch[..., rows, columns], atol=1e-3, rtol=1e-3)
    # Written again, it is the same picture, for plain albumentations too.
    checkpoint.replace_head(LABELS).save(tmp_path / "b")
    again = UNet.load(tmp_path / "b")
    assert torch.equal(again.preprocess(image), batch) and again.preprocessing == checkpoint.preprocessing
    if checkpoint.processor is not None:
        assert torch.equal(preprocessing.read_pipeline(tmp_path / "b")(image), batch)


def test_padding_is_undone_where_it_was_put(repo: Path, tmp_path: Path) -> None:
    longest = {"__class_fullname__": "LongestMaxSize", "p": 1.0, "max_size": 64, "interpolation": 1}
    for position, top in (("center", 16), ("top_left", 0), ("bottom_left", 32)):
        pad = {"__class_fullname__": "PadIfNeeded", "p": 1.0, "min_height": 64, "min_width": 64, "position": position, "border_mode": 0}
        checkpoint = UNet.load(with_steps(repo, tmp_path / position, longest, pad, NORMALIZE))
        logits = torch.zeros(1, 5, 64, 64)
        # Class 2 in the upper half of where a picture of 2 : 1 lies.
        logits[:, 2, top : top + 16] = 9
        label_map = checkpoint.postprocess(logits, 100, 200).id_map
        assert (label_map[:47] == 2).all() and not label_map[53:].any()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"__class_fullname__": "CLAHE", "p": 1.0}, "CLAHE"),
        ({"__class_fullname__": "Resize", "p": 1.0, "height": 10**6, "width": 5}, "pixels are expected"),
        ({"__class_fullname__": "Resize", "p": 1.0, "height": 64}, "wrong kind"),
        ({"__class_fullname__": "Resize", "p": 1.0, "height": 64, "width": 64, "interpolation": 4}, "method 4"),
        ({"__class_fullname__": "Normalize", "p": 1.0, "normalization": "image"}, "own values"),
        ({"__class_fullname__": "Normalize", "p": 1.0, "std": [0, 1, 1]}, "deviations"),
        ({"__class_fullname__": "Normalize", "p": 0.5}, "at random"),
        ({"__class_fullname__": "OneOf", "p": 1.0, "transforms": []}, "OneOf"),
        ({"p": 1.0}, "wrong kind"),
    ],
)
def test_what_is_not_understood_is_refused_in_words(repo: Path, tmp_path: Path, step: dict[str, Any], words: str) -> None:
    with pytest.raises(BadCheckpointError, match=words):
        networks.load(with_steps(repo, tmp_path, step))


def test_a_centre_crop_is_left_out_and_said(repo: Path, tmp_path: Path) -> None:
    crop = {"__class_fullname__": "CenterCrop", "p": 1.0, "height": 32, "width": 32}
    never = {"__class_fullname__": "HorizontalFlip", "p": 0}
    checkpoint = UNet.load(with_steps(repo, tmp_path, RESIZE, never, crop, NORMALIZE))
    assert "cuts out the middle" in checkpoint.notes[-1]
    assert checkpoint.preprocess(image_of(50, 70)).shape == (1, 3, 64, 96)


def test_a_size_that_smp_refuses_is_padded(repo: Path, tmp_path: Path) -> None:
    checkpoint, image = UNet.load(with_steps(repo, tmp_path, {**RESIZE, "height": 50, "width": 70}, NORMALIZE)), image_of(31, 45)
    batch = checkpoint.preprocess(image)
    assert batch.shape == (1, 3, 64, 96)
    with torch.inference_mode():
        logits = checkpoint.module(batch)
        plain = F.interpolate(logits[..., :50, :70], (31, 45), mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    assert np.array_equal(checkpoint.postprocess(logits, 31, 45).id_map, plain)


def test_full_detail_looks_at_the_pixels_themselves(repo: Path, tmp_path: Path) -> None:
    checkpoint = UNet.load(with_steps(repo, tmp_path, RESIZE, NORMALIZE))
    plan = tiled.plan(checkpoint, 300, 400)
    assert plan is not None and plan.network.processor is None
    batch = plan.network.preprocess(np.zeros((*plan.grid.tile, 3), np.uint8))
    assert tuple(batch.shape[2:]) == plan.grid.tile
    assert torch.allclose(batch[0, :, 0, 0], torch.tensor([-0.5 / 0.2, -0.4 / 0.3, -0.3 / 0.4]))


@pytest.mark.parametrize(
    ("encoder", "weights", "mean"),
    [
        ("efficientnet-b0", "imagenet", 0.485), ("efficientnet-b0", "advprop", 0.5), ("timm-efficientnet-b3", "advprop", 0.5),
        ("timm-efficientnet-b3", "noisy-student", 0.485), ("inceptionv4", "imagenet", 0.5), ("dpn68", "imagenet", 124 / 255),
        ("timm-tf_efficientnet_lite0", "imagenet", 0.5), ("tu-tf_efficientnet_b0.ap_in1k", None, 0.5),
        ("tu-vit_tiny_patch16_224", None, 0.5), ("tu-resnet18", None, 0.485), ("tu-resnetv2_50d", None, 0.5), ("mit_b0", None, 0.485),
    ],
)  # fmt: skip
def test_encoders_keep_the_normalisation_of_their_pretraining(encoder: str, weights: str | None, mean: float) -> None:
    found, _ = unet.encoder_normalisation(encoder, weights)
    assert found[0] == pytest.approx(mean)
    if encoder.startswith("tu-") and "resnetv2_50d" not in encoder:
        assert found == pytest.approx(tuple(smp.encoders.get_preprocessing_params(encoder)["mean"]))


def test_advprop_in_a_config_is_heeded(tmp_path: Path) -> None:
    model = smp.Unet("efficientnet-b0", encoder_weights=None, classes=2, decoder_channels=(8, 8, 8, 8, 8))
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "encoder_weights": "advprop"}))
    assert UNet.load(tmp_path).preprocessing.mean == (0.5, 0.5, 0.5)


def test_an_encoder_of_one_size_keeps_it_in_tiles_and_for_other_channels(tmp_path: Path) -> None:
    """Steps of albumentations are left out there; the size that a ViT takes is not."""
    made = UNet.create(LabelSet.from_names(("background", "a", "b"), 0), {"decoder": "DPT", "encoder": "tu-vit_tiny_patch16_224"})
    made.save(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    steps = composed({"__class_fullname__": "Resize", "p": 1.0, "height": 224, "width": 224, "interpolation": 1}, {"__class_fullname__": "Normalize", "p": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "max_pixel_value": 255.0})
    (tmp_path / "albumentations_config_eval.json").write_text(json.dumps(steps))
    network = networks.load(tmp_path)
    assert network.processor is not None
    narrow = np.random.default_rng(0).integers(0, 255, (100, 400, 3), dtype=np.uint8)
    assert load_model(str(tmp_path)).predict(narrow, detail="full").id_map.shape == (100, 400)
    assert network.with_channels(4).preprocess(np.zeros((100, 200, 4), np.uint8)).shape[-2:] == (224, 224)

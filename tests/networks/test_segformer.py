"""SegFormer and other transformers models: the shared contract, and transformers itself as the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    MobileViTConfig,
    MobileViTForSemanticSegmentation,
    MobileViTImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    pipeline,
)

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import Segmentation
from seg_demo.networks.base import Network
from seg_demo.networks.segformer import SegFormer
from tests.networks.contract import LABELS, NetworkContract, image_of, randomise

TINY = {
    "hidden_sizes": [8, 16, 16, 24],
    "num_attention_heads": [1, 2, 2, 2],
    "depths": [1, 1, 1, 1],
    "decoder_hidden_size": 16,
}


class TestSegformer(NetworkContract):
    name = "segformer"
    options = TINY

    def plain(self, folder: Path, checkpoint: Network, batch: torch.Tensor) -> torch.Tensor:
        return AutoModelForSemanticSegmentation.from_pretrained(folder).eval()(batch).logits

    def absurd(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {**config, "hidden_sizes": [10**7, 16, 16, 24]},
            {**config, "decoder_hidden_size": "wide"},
            {**config, "model_type": "maskformer"},
            {**config, "model_type": "bert"},
            {**config, "num_channels": 7},
            {**config, "backbone": "microsoft/resnet-50"},
            {**config, "use_pretrained_backbone": True},
            {**config, "quantization_config": {"quant_method": "bitsandbytes"}},
        ]

    def test_plain_pipeline_works(self, folder: Path) -> None:
        found = pipeline("image-segmentation", model=str(folder))(Image.fromarray(image_of(40, 56)))
        assert {part["label"] for part in found} <= set(LABELS.names)
        assert all(part["mask"].size == (56, 40) for part in found)


def predict(checkpoint: Network, image: np.ndarray) -> Segmentation:
    with torch.inference_mode():
        raw = SegFormer.forward(checkpoint.module, checkpoint.preprocess(image))
    return checkpoint.postprocess(raw, *image.shape[:2])


def plain_repo(folder: Path, size: dict[str, int] | int, classes: int = 5, **arguments: Any) -> Path:
    """A SegFormer as transformers itself writes it."""
    torch.manual_seed(0)
    config = SegformerConfig(**TINY, num_labels=classes, initializer_range=0.4, **arguments)
    randomise(SegformerForSemanticSegmentation(config)).save_pretrained(folder)
    SegformerImageProcessor(size=size).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (96, 64), (301, 200)])
@pytest.mark.parametrize("classes", [3, 20])
def test_label_map_equals_transformers(tmp_path: Path, size: tuple[int, int], classes: int) -> None:
    folder = plain_repo(tmp_path, {"height": 64, "width": 96}, classes)
    image = image_of(*size)
    processor, model = AutoImageProcessor.from_pretrained(folder), AutoModelForSemanticSegmentation.from_pretrained(folder)
    with torch.inference_mode():
        outputs = model(**processor(images=Image.fromarray(image), return_tensors="pt"))
    (expected,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])
    checkpoint = SegFormer.load(folder)
    assert checkpoint.preprocessing.size == (64, 96)
    result = predict(checkpoint, image)
    assert np.array_equal(result.id_map, expected.numpy())
    assert all(0 <= segment.score <= 1 for segment in result.segments)


@pytest.mark.parametrize("resample", [0, 2, 3])
def test_the_input_is_the_processors_to_the_last_bit(tmp_path: Path, resample: int) -> None:
    checkpoint = SegFormer.load(plain_repo(tmp_path, {"height": 64, "width": 96}, 3))
    checkpoint.processor.resample = resample
    for size in ((1, 1), (3, 5), (3, 900), (70, 50), (301, 200)):
        image = image_of(*size)
        expected = checkpoint.processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"]
        assert torch.equal(checkpoint.preprocess(image), expected), size


@pytest.mark.parametrize("kind", ["feature_extractor_type", "image_processor_type"])
def test_processor_files_of_earlier_years_load(tmp_path: Path, kind: str) -> None:
    folder = plain_repo(tmp_path, {"height": 64, "width": 64})
    old = {
        "do_normalize": True, "do_resize": True, kind: "SegformerFeatureExtractor",
        "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2], "reduce_labels": True, "resample": 2, "size": 48,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(old))
    checkpoint = SegFormer.load(folder)
    assert checkpoint.preprocess(image_of(20, 90)).shape == (1, 3, 48, 48)
    assert checkpoint.preprocessing.mean == (0.5, 0.4, 0.3) and checkpoint.preprocessing.size == (48, 48)


def test_native_size_lines_up_with_the_image() -> None:
    torch.manual_seed(0)
    checkpoint = SegFormer.create(LABELS, {**SegFormer.default_options(), **TINY})
    bright = np.zeros((45, 77, 3), np.uint8)
    rows = torch.arange(32, dtype=torch.float32)
    # Logits at half of the padded 64 x 96: label 1 from row 40 of the image on, whatever the network would have said.
    logits = torch.zeros(1, 3, 32, 48)
    logits[0, 1] = (rows - 19.5)[:, None]
    assert checkpoint.preprocess(bright).shape == (1, 3, 64, 96)
    result = checkpoint.postprocess(logits, 45, 77)
    assert not result.id_map[:40].any() and (result.id_map[40:] == 1).all()


def test_fine_tuned_processor_is_kept(tmp_path: Path) -> None:
    checkpoint = SegFormer.load(plain_repo(tmp_path / "a", {"height": 64, "width": 64})).replace_head(LABELS)
    checkpoint.save(tmp_path / "b")
    loaded = SegFormer.load(tmp_path / "b")
    assert loaded.preprocessing == checkpoint.preprocessing and loaded.preprocessing.size == (64, 64)
    assert loaded.labels == LABELS
    image = image_of(50, 70)
    assert np.array_equal(predict(loaded, image).id_map, predict(checkpoint, image).id_map)


def test_one_channel_is_a_binary_decision(tmp_path: Path) -> None:
    folder = plain_repo(tmp_path, {"height": 64, "width": 64}, 1)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {"0": "road"}, "label2id": {"road": 0}}))
    checkpoint = SegFormer.load(folder)
    assert checkpoint.labels.names == ("background", "road")
    assert len(np.unique(predict(checkpoint, image_of(40, 40)).id_map)) == 2
    checkpoint.save(tmp_path / "again")
    assert SegFormer.load(tmp_path / "again").labels == checkpoint.labels
    assert checkpoint.head_prefixes() == ("decode_head.classifier.weight", "decode_head.classifier.bias")
    assert checkpoint.replace_head(LABELS).module.config.num_labels == 3


def test_another_model_type_sees_the_whole_image(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = MobileViTConfig(
        hidden_sizes=[16, 16, 16],
        neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16],
        num_attention_heads=2,
        aspp_out_channels=8,
        num_labels=4,
    )
    randomise(MobileViTForSemanticSegmentation(config)).save_pretrained(tmp_path)
    MobileViTImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    checkpoint = SegFormer.load(tmp_path)
    assert checkpoint.preprocess(image_of(50, 100)).shape == (1, 3, 64, 128)
    assert predict(checkpoint, image_of(50, 100)).id_map.shape == (50, 100)
    assert checkpoint.replace_head(LABELS).module.config.num_labels == 3


@pytest.mark.parametrize(
    "change",
    [
        {"size": {"height": 100_000, "width": 100_000}},
        {"size": {"height": -1, "width": 5}},
        {"image_std": [0.0, 1.0, 1.0]},
        {"image_mean": [0.5]},
        {"image_processor_type": "MaskFormerImageProcessor"},
        {"image_processor_type": "NoSuchProcessor"},
        {"seg_demo": {"longest_side": 10**9}},
    ],
)
def test_absurd_processors_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = plain_repo(tmp_path, {"height": 64, "width": 64})
    data = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(BadCheckpointError):
        SegFormer.load(folder)


def test_code_of_the_repo_is_never_run(tmp_path: Path) -> None:
    folder = plain_repo(tmp_path, {"height": 64, "width": 64})
    config = json.loads((folder / "config.json").read_text())
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    stranger = {"auto_map": {"AutoModelForSemanticSegmentation": "evil.Evil"}, "attn_implementation": "someone/kernel"}
    (folder / "config.json").write_text(json.dumps({**config, **stranger}))
    SegFormer.load(folder)
    (folder / "config.json").write_text(json.dumps({**config, **stranger, "model_type": "evil"}))
    with pytest.raises(BadCheckpointError, match="evil"):
        SegFormer.load(folder)
    assert not (tmp_path / "ran").exists()


def test_initialisation_is_not_transformers_own() -> None:
    module = SegFormer.build(3, SegFormer.default_options())
    assert sum(parameter.numel() for parameter in module.parameters()) < 1_400_000
    linears = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    assert len(linears) > 20 and min(layer.weight.std() for layer in linears) > 0.04

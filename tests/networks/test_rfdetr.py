"""RF-DETR: the oracle is plain transformers, its own processor and post-processing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModelForInstanceSegmentation

from seg_demo import load_model, networks
from seg_demo.core.errors import BadCheckpointError, BadRequestError
from seg_demo.inference.model import Model
from seg_demo.networks import detr
from seg_demo.networks.base import Network
from tests.networks.contract import LABELS, NetworkContract, image_of, of_the_library, randomise, same

TINY = {
    "backbone_config": {
        "model_type": "rf_detr_dinov2", "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64,
        "patch_size": 8, "num_windows": 2, "out_features": ["stage1", "stage3"],
    },
    "d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 32, "decoder_self_attention_heads": 2, "decoder_cross_attention_heads": 4,
    "num_queries": 12, "group_detr": 2, "intermediate_size": 64,
}  # fmt: skip
SIZES = [(31, 201), (420, 300)]


def outspoken(made: Network) -> Network:
    """Random weights whose queries are sure of something, here and there."""
    generator = torch.Generator().manual_seed(3)
    randomise(made.module)
    with torch.no_grad():
        for name, tensor in made.module.named_parameters():
            if name == "model.class_embed.weight":
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.4)
            elif name == "model.class_embed.bias":
                tensor.fill_(0.3)
            elif name in ("query_features_proj.weight", "spatial_features_proj.weight"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.4)
    return made


class TestRfDetr(NetworkContract):
    name = "rfdetr"
    options = TINY

    @pytest.fixture(scope="class")
    def checkpoint(self) -> Network:
        torch.manual_seed(0)
        return outspoken(networks.network(self.name).create(LABELS, {**networks.network(self.name).default_options(), **TINY}))

    def plain(self, folder: Path, checkpoint: Network, batch: torch.Tensor) -> Any:
        found = AutoModelForInstanceSegmentation.from_pretrained(folder).eval()(pixel_values=batch)
        return [{"classes": found.logits[0], "masks": found.pred_masks[0]}]

    @pytest.fixture(scope="class")
    def model(self, folder: Path) -> Model:
        """The checkpoint as it is served; no test changes it."""
        return load_model(str(folder), device="cpu")

    def theirs(self, folder: Path, image: np.ndarray, threshold: float, **how: bool) -> dict[str, Any]:
        module, processor = of_the_library(AutoModelForInstanceSegmentation, AutoImageProcessor, folder)
        with torch.inference_mode():
            outputs = module(**processor(images=Image.fromarray(image), return_tensors="pt"))
        return processor.post_process_instance_segmentation(outputs, threshold, target_sizes=[image.shape[:2]], **how)[0]

    @pytest.mark.parametrize("size", SIZES)
    def test_a_picture_gets_the_plain_librarys_objects(self, model: Model, folder: Path, size: tuple[int, int]) -> None:
        image = image_of(*size)
        every = model.predict_all(image)
        for threshold in (0.3, 0.55):
            result = model.predict(image, threshold)
            info = self.theirs(folder, image, threshold, return_binary_maps=True)
            assert [(s.label_id, s.score) for s in result.segments] == [(s["label_id"], s["score"]) for s in info["segments_info"]]
            for segment, mask in zip(result.segments, info["segmentation"].numpy(), strict=True):
                x0, y0, x1, y1 = segment.box
                np.testing.assert_array_equal(segment.mask, mask[y0:y1, x0:x1])
                assert segment.mask.sum() == mask.sum()
            # Of two that lie over each other the surer has the pixels, as in their map; and the slider needs no network.
            shown = self.theirs(folder, image, threshold)["segmentation"].numpy() >= 0
            np.testing.assert_array_equal(result.id_map > 0, shown)
            np.testing.assert_array_equal(every.above(threshold).id_map, result.id_map)
            assert result.task == "instance" and len(result.segments) > 1

    def test_full_detail_finds_objects_of_the_whole_upload(self, model: Model) -> None:
        result = model.predict(image_of(150, 200), 0.5, detail="full")
        assert (result.task, result.id_map.shape, result.seen) == ("instance", (150, 200), None) and result.segments

    def test_another_task_is_refused_with_the_one_that_it_has(self, model: Model) -> None:
        with pytest.raises(BadRequestError, match="does not answer the task 'panoptic'; it answers: instance"):
            model.predict(image_of(20, 20), task="panoptic")

    def test_without_an_image_processor_it_gets_the_size_of_its_backbone(self, folder: Path, tmp_path: Path) -> None:
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
        loaded = networks.load(tmp_path)
        assert loaded.preprocessing.size == (64, 64) and any("64" in note for note in loaded.notes)

    def test_a_processor_named_as_detrs_is_heeded(self, folder: Path, tmp_path: Path) -> None:
        """As the authors' first repositories have it: its resize is another, the queries are the same."""
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        data = json.loads((folder / "preprocessor_config.json").read_text())
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({**data, "image_processor_type": "DetrImageProcessor"}))
        image, loaded = image_of(97, 130), networks.load(tmp_path)
        theirs = AutoImageProcessor.from_pretrained(tmp_path)(images=Image.fromarray(image), return_tensors="pt")["pixel_values"]
        assert torch.equal(loaded.preprocess(image), theirs)
        assert not torch.equal(networks.load(folder).preprocess(image), theirs)

    def test_a_class_table_of_another_length_is_not_the_networks(self, folder: Path, tmp_path: Path) -> None:
        """Neither by the authors' names of weights nor by transformers' own."""
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        config = json.loads((folder / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a"}, "label2id": {"a": 0}}))
        loaded = networks.load(tmp_path)
        assert loaded.labels.names == ("a", "class 1", "class 2")
        assert any(name.startswith(detr.AUTHORS) for name in load_file(tmp_path / "model.safetensors"))
        save_file(loaded.module.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
        again = networks.load(tmp_path)
        assert again.labels.names == loaded.labels.names
        image = image_of(40, 50)
        assert same(self.raw(again, image), self.raw(networks.load(folder), image))

    def test_a_detector_without_masks_is_said_to_be_one(self, folder: Path, tmp_path: Path) -> None:
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        config = json.loads((folder / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["RfDetrForObjectDetection"]}))
        with pytest.raises(BadCheckpointError, match="boxes"):
            networks.load(tmp_path)

    def absurd(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        backbone = config["backbone_config"]
        return [
            {**config, "num_queries": 10**9},
            {**config, "d_model": 10**6},
            {**config, "backbone_config": {**backbone, "num_hidden_layers": 10**6}},
            {**config, "backbone_config": {**backbone, "num_windows": 3}},
        ]

"""Networks of class queries: the oracle is plain transformers, its own processor and post-processing."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation, ConditionalDetrForSegmentation, DetrConfig, OneFormerProcessor

from seg_demo import load_model, networks
from seg_demo.core.errors import BadCheckpointError, BadRequestError
from seg_demo.core.requests import Options
from seg_demo.core.types import INSTANCE, PANOPTIC, SEMANTIC, LabelSet
from seg_demo.inference.model import Model
from seg_demo.masks.queries import Thresholds
from seg_demo.networks import detr, transformers_config, universal
from seg_demo.networks.base import Network
from seg_demo.networks.oneformer import TOKENIZER
from seg_demo.networks.transformers_config import query_logits
from seg_demo.networks.universal import LEAST_SCORE
from seg_demo.outputs.export import bundle
from tests.networks.contract import LABELS, NetworkContract, image_of, of_the_library, randomise, same

TINY = {
    "mask2former": {"num_queries": 9, "decoder_layers": 2, "encoder_layers": 1},
    "maskformer": {},
    "eomt": {"image_size": 64, "hidden_size": 32, "num_queries": 9},
    "oneformer": {"num_queries": 9, "decoder_layers": 2, "encoder_layers": 1},
    "detr": {"num_queries": 12},
    "conditional-detr": {"num_queries": 12},
}
SIZES = [(31, 201), (420, 300)]


def outspoken(made: Network) -> Network:
    """Random weights whose queries are sure of something, here and there."""
    generator = torch.Generator().manual_seed(3)
    randomise(made.module)
    with torch.no_grad():
        for name, tensor in made.module.named_parameters():
            if any(part in name for part in ("class_predictor", "class_labels_classifier", "decoder.class_embed")):
                if tensor.ndim > 1:
                    tensor.copy_(torch.randn(tensor.shape, generator=generator) * 2)
                else:
                    tensor[-1] -= 6
            elif ("bbox_attention" in name or "mask_head.output_conv" in name) and tensor.ndim > 1:
                # DETR's masks begin as what each query looks at.
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * (1.5 if "output_conv" in name else 0.6))
            elif "mask_embed" in name and tensor.ndim > 1:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
    return made


class QueriesContract(NetworkContract):
    tasks = ("panoptic", "instance", "semantic")
    void = 0
    # Tasks in which random weights give one class only.
    flat: tuple[str, ...] = ()
    whole_masks = True
    library: Any = AutoModelForUniversalSegmentation

    def asked(self, threshold: float) -> dict[str, Any]:
        """How the library is asked for the same objects."""
        return {"threshold": threshold, "return_binary_maps": True}

    def masks_of(self, info: dict[str, Any]) -> Any:
        """The whole mask of every object of theirs."""
        return info["segmentation"].numpy() if info["segments_info"] else []

    @pytest.fixture(scope="class")
    def checkpoint(self) -> Network:
        torch.manual_seed(0)
        family = networks.network(self.name)
        return outspoken(family.create(LABELS, {**family.default_options(), **TINY[self.name]}))

    @pytest.fixture(scope="class")
    def model(self, folder: Path) -> Model:
        """The checkpoint as it is served; no test changes it."""
        return load_model(str(folder), device="cpu")

    def plain(self, folder: Path, checkpoint: Network, batch: torch.Tensor) -> Any:
        module = self.library.from_pretrained(folder).eval()
        classes, masks = query_logits(module(pixel_values=batch))
        return [{"classes": classes[0], "masks": masks[0]}]

    def theirs(self, folder: Path, image: np.ndarray, task: str, **thresholds: float) -> Any:
        module, processor = of_the_library(self.library, AutoImageProcessor, folder)
        inputs = processor(images=Image.fromarray(image), return_tensors="pt")
        with torch.inference_mode():
            outputs = module(**inputs)
        work = getattr(processor, f"post_process_{task}_segmentation")
        return work(outputs, target_sizes=[image.shape[:2]], **thresholds)[0]

    @pytest.mark.parametrize("size", SIZES)
    def test_a_picture_gets_the_plain_librarys_label_map(self, model: Model, folder: Path, size: tuple[int, int]) -> None:
        if "semantic" not in self.tasks:
            pytest.skip("the library stretches the padding over the picture")
        image = image_of(*size)
        result = model.predict(image, task="semantic")
        assert result.task == "semantic"
        np.testing.assert_array_equal(result.id_map, self.theirs(folder, image, "semantic").numpy())
        assert all(0 < segment.score <= 1 for segment in result.segments)

    @pytest.mark.parametrize(("size", "threshold"), zip(SIZES, (0.2, 0.5), strict=True))
    def test_a_picture_gets_the_plain_librarys_objects(self, model: Model, folder: Path, size: tuple[int, int], threshold: float) -> None:
        image = image_of(*size)
        result = model.predict(image, threshold, task="instance")
        assert result.task == "instance"
        info = self.theirs(folder, image, "instance", **self.asked(threshold))
        masks = self.masks_of(info)
        wanted = [(s["label_id"], s["score"], mask) for s, mask in zip(info["segments_info"], masks, strict=True) if s["score"] >= threshold]
        wanted.sort(key=lambda row: -row[1])
        assert [(s.label_id, s.score) for s in result.segments] == [row[:2] for row in wanted]
        painted = np.zeros(size, bool)
        for segment, (*_, mask) in zip(result.segments, wanted, strict=True):
            x0, y0, x1, y1 = segment.box
            whole = np.zeros(size, bool)
            whole[y0:y1, x0:x1] = segment.mask
            painted |= whole
            if self.whole_masks:
                np.testing.assert_array_equal(whole, mask == 1)
            assert not (mask.astype(bool) & ~whole).any()
        np.testing.assert_array_equal(painted, np.any([row[2] == 1 for row in wanted], axis=0) if wanted else painted)

    @pytest.fixture(autouse=True)
    def lenient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Queries with random weights lie over each other, and the library's overlap would leave hardly one."""
        monkeypatch.setattr(universal.ClassQueries, "thresholds", Thresholds(0.3, 0.5, 0.02))
        monkeypatch.setattr(universal.Eomt, "thresholds", Thresholds(0.3, 0.5, 0.02))

    def test_there_is_something_to_compare(self, model: Model) -> None:
        image = image_of(70, 50)
        assert (model.spec.task, model.spec.tasks or (model.spec.task,)) == (self.tasks[0], self.tasks)
        for task in self.tasks:
            found = model.predict(image, 0.1, task=task)
            assert len(found.segments) > (task not in self.flat) and found.task == task
        assert all(segment.score >= LEAST_SCORE for segment in model.run(image, Options(task="instance")).segments)

    @pytest.mark.parametrize("size", SIZES)
    def test_a_picture_gets_the_plain_librarys_segments(self, model: Model, folder: Path, size: tuple[int, int]) -> None:
        image = image_of(*size)
        result = model.predict(image, task="panoptic")
        assert result.task == "panoptic"
        info = self.theirs(folder, image, "panoptic", threshold=0.3, overlap_mask_area_threshold=0.02)
        assert [(s.label_id, s.score) for s in result.segments] == [(s["label_id"], s["score"]) for s in info["segments_info"]]
        np.testing.assert_array_equal(result.id_map, info["segmentation"].numpy() - self.void if result.segments else np.zeros(size))
        rows = result.to_dict()["segments"]
        assert all(row["isthing"] for row in rows) and sum(row["area"] for row in rows) == np.count_nonzero(result.id_map)

    def test_stuff_is_one_segment_per_class(self, model: Model, folder: Path, tmp_path: Path) -> None:
        """Of the classes, only one is called as a thing is."""
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        told = load_model(str(tmp_path), device="cpu")
        things = np.array([False, True, False])
        told._run.network.labels = replace(told.labels, things=things)
        image = image_of(70, 50)
        result = told.predict(image)
        stuff = [segment.label_id for segment in result.segments if not things[segment.label_id]]
        assert len(stuff) == len(set(stuff))
        plain = model.predict(image)
        names = [np.array([255, *(segment.label_id for segment in each.segments)])[each.id_map] for each in (result, plain)]
        np.testing.assert_array_equal(*names)
        assert [row["isthing"] for row in result.to_dict()["segments"]] == [bool(things[s.label_id]) for s in result.segments]
        files = bundle(np.asarray(image), result, "x")
        written = json.loads(files["x_panoptic.json"])
        rgb = np.asarray(Image.open(io.BytesIO(files[written["annotations"][0]["file_name"]])).convert("RGB")).astype(np.uint32)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        np.testing.assert_array_equal(ids, result.id_map)
        for row in written["annotations"][0]["segments_info"]:
            assert row["area"] == int((ids == row["id"]).sum()) > 0
            assert written["categories"][row["category_id"]]["isthing"] == things[row["category_id"]]

    def test_full_detail_answers_every_task(self, model: Model) -> None:
        image = image_of(380, 420)
        for task in self.tasks:
            result = model.run(image, Options(detail="full", task=task, confidence=True))
            assert (result.task, result.id_map.shape, result.seen) == (task, (380, 420), None)
            assert result.confidence.shape == (380, 420) and result.segments

    def test_other_thresholds_need_no_forward_pass(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        image, other = image_of(70, 50), {"score": 0.9, "mask": 0.6, "overlap": 0.1}
        first = model.run(image, Options(confidence=True))
        expected = model.run(image, Options(confidence=True, thresholds=other))
        monkeypatch.setattr(type(model._run), "_forward", None)
        again = model.again(first, Options(confidence=True, thresholds=other))
        np.testing.assert_array_equal(again.id_map, expected.id_map)
        np.testing.assert_array_equal(again.confidence, expected.confidence)
        assert [(s.label_id, s.score, s.box) for s in again.segments] == [(s.label_id, s.score, s.box) for s in expected.segments]
        assert not np.array_equal(again.id_map, first.id_map) and again.model == first.model
        back = model.again(again, Options(confidence=True))
        np.testing.assert_array_equal(back.id_map, first.id_map)
        assert model.again(first, Options(thresholds={"score": 0.01})) is None
        with pytest.raises(BadRequestError, match="no such thresholds for the task 'instance'"):
            model.predict(image, task="instance", thresholds=other)
        for bad in ({"scores": 0.5}, "{", [1], {"mask": 2}, {"mask": "x"}, "[" * 200_000, f'{{"mask": 1{"0" * 400}}}'):
            with pytest.raises(BadRequestError, match="threshold"):
                model.predict(image, thresholds=bad)

    def test_objects_that_are_left_out_turn_their_confidence(self, model: Model) -> None:
        every = model.run(image_of(70, 50), Options(task="instance", confidence=True))
        scores = sorted(segment.score for segment in every.segments)
        # DETR's with random weights are all as sure, and all go.
        some = every.above(np.nextafter(scores[len(scores) // 2], 2))
        assert len(some.segments) < len(every.segments)
        gone = (every.id_map > 0) & (some.id_map == 0)
        np.testing.assert_array_equal(some.confidence, np.where(gone, 255 - every.confidence, every.confidence))

    def test_a_task_that_it_does_not_have_is_refused_with_those_that_it_has(self, model: Model) -> None:
        with pytest.raises(BadRequestError, match="does not answer the task 'region'; it answers: panoptic"):
            model.predict(image_of(20, 20), task="region")
        with pytest.raises(BadRequestError, match="must be one of auto, semantic"):
            model.predict(image_of(20, 20), task="cats")
        with pytest.raises(BadRequestError, match="one of auto, .* in words to a model that answers words"):
            model.predict(image_of(20, 20), task="the red cat")

    def test_what_it_was_made_for_is_in_its_name(self, folder: Path, tmp_path: Path) -> None:
        made = SEMANTIC if "semantic" in self.tasks else PANOPTIC
        for name, task in (("swin-ade-semantic", made), ("models--ann--x-instance", INSTANCE), ("x", PANOPTIC), ("y-coco-panoptic", PANOPTIC)):
            there = tmp_path / name
            there.symlink_to(folder, target_is_directory=True)
            assert networks.load(there).tasks[0] is task

    def test_a_backbone_that_is_named_and_described_is_not_fetched(self, folder: Path, checkpoint: Network, tmp_path: Path) -> None:
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        config = json.loads((folder / "config.json").read_text())
        if "backbone_config" not in config:
            pytest.skip("a network without a backbone of its own")
        (tmp_path / "config.json").write_text(json.dumps({**config, "backbone": "someone/else", "use_pretrained_backbone": True}))
        image = image_of(40, 60)
        assert same(self.raw(networks.load(tmp_path), image), self.raw(checkpoint, image))
        (tmp_path / "config.json").write_text(json.dumps({**config, "backbone": "someone/else", "backbone_config": None}))
        with pytest.raises(BadCheckpointError, match="someone/else"):
            networks.load(tmp_path)

    def test_a_class_table_of_another_length_is_not_the_networks(self, folder: Path, tmp_path: Path) -> None:
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        config = json.loads((folder / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a"}, "label2id": {"a": 0}}))
        assert networks.load(tmp_path).labels.names == ("a", "class 1", "class 2")

    def absurd(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        if "decoder_config" in config:
            return [{**config, "decoder_config": {**config["decoder_config"], "num_queries": 10**9}}, {**config, "fpn_feature_size": -1}]
        wide = {"mask2former": "hidden_dim", "oneformer": "hidden_dim", "detr": "d_model", "conditional-detr": "d_model", "eomt": "hidden_size"}[self.name]
        return [{**config, "num_queries": 10**9}, {**config, wide: 10**6}]


class TestMask2Former(QueriesContract):
    name = "mask2former"


# These, Conditional DETR and EoMT are of the same code as Mask2Former and DETR: every run compares their segments with the library's in
# tests/hub/test_query_layouts.py.


@pytest.mark.soak
class TestMaskFormer(QueriesContract):
    name = "maskformer"


class TestDetr(QueriesContract):
    name = "detr"
    flat = ("semantic",)

    def asked(self, threshold: float) -> dict[str, Any]:
        """They do not overlap, so the threshold decides who gets which pixel: it is the library's, and the asked-for one only filters."""
        return {"threshold": 0.3, "overlap_mask_area_threshold": 0.02}

    def masks_of(self, info: dict[str, Any]) -> Any:
        return [info["segmentation"].numpy() == segment["id"] for segment in info["segments_info"]]

    def test_a_backbone_of_timm_is_built_from_its_name(self, tmp_path: Path) -> None:
        """As the first DETR repositories have it; nobody is asked for weights."""
        config = {"model_type": "detr", "backbone": "resnet18", "use_timm_backbone": True, "use_pretrained_backbone": True, "d_model": 32}
        config |= {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_queries": 5}
        module = AutoModelForUniversalSegmentation.from_config(DetrConfig(**config, id2label=dict(enumerate("abc"))))
        module.save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": dict(enumerate("abc"))}))
        loaded = networks.load(tmp_path)
        assert loaded.notes == () and loaded.labels.names == ("a", "b", "c")
        for name in ("hf-hub:someone/else", "someone/else"):
            (tmp_path / "config.json").write_text(json.dumps({**config, "backbone": name}))
            with pytest.raises(BadCheckpointError, match="someone/else"):
                networks.load(tmp_path)


@pytest.mark.soak
class TestConditionalDetr(TestDetr):
    name = "conditional-detr"
    always_said = 1
    library = ConditionalDetrForSegmentation  # which no Auto class knows
    test_a_backbone_of_timm_is_built_from_its_name = None

    def test_the_last_class_is_never_found_where_the_processor_takes_it_for_none(self, model: Model) -> None:
        for task in ("panoptic", "instance"):
            found = model.predict(image_of(70, 50), 0.1, task=task)
            assert found.segments and all(segment.label_id < len(LABELS) - 1 for segment in found.segments)
        assert any("border" in note for note in model.spec.notes)


class TestOneFormer(TestDetr):
    name = "oneformer"
    test_a_backbone_of_timm_is_built_from_its_name = None

    def theirs(self, folder: Path, image: np.ndarray, task: str, **thresholds: float) -> Any:
        """From another directory than the checkpoint's, as everybody works."""
        module, processor = of_the_library(self.library, OneFormerProcessor, folder)
        with torch.inference_mode():
            outputs = module(**processor(images=[Image.fromarray(image)], task_inputs=[task], return_tensors="pt"))
        work = getattr(processor, f"post_process_{task}_segmentation")
        return work(outputs, target_sizes=[image.shape[:2]], **thresholds)[0]

    def plain(self, folder: Path, checkpoint: Network, batch: torch.Tensor) -> Any:
        question = OneFormerProcessor.from_pretrained(folder, repo_path=str(folder))(
            images=[Image.fromarray(image_of(20, 20))], task_inputs=["panoptic"], return_tensors="pt"
        )["task_inputs"]
        found = AutoModelForUniversalSegmentation.from_pretrained(folder).eval()(pixel_values=batch[:, :3], task_inputs=question)
        return [{"classes": found.class_queries_logits[0], "masks": found.masks_queries_logits[0]}]

    def test_each_task_is_asked_for_in_its_words(self, folder: Path) -> None:
        loaded, image = networks.load(folder), image_of(70, 50)
        raws = [self.raw(loaded.answering(task), image) for task in loaded.tasks]
        assert not same(raws[0], raws[1]) and not same(raws[1], raws[2])
        assert same(raws[0], self.raw(loaded, image))
        assert len({tuple(row) for row in loaded.questions.values()}) == 3
        # One module for every task; a batch without a sentence is asked for the first, and any number of pixels has room for one.
        instance = loaded.answering(INSTANCE)
        assert instance.module is loaded.module
        assert same(self.raw(instance.answering(PANOPTIC), image), raws[0])
        with torch.inference_mode():
            batch = loaded.preprocess(image)
            assert same(loaded.forward(loaded.module, batch[:, :3]), raws[0])
            small = replace(loaded, processor=type(loaded.processor)(size={"shortest_edge": 4, "longest_edge": 8}))
            assert small.preprocess(image_of(6, 9)).shape == (1, 3 + 4, 4, 6)
        assert not list((folder / "config.json").parent.glob("*tokenizer*.py"))

    def test_things_are_the_tables(self, folder: Path, tmp_path: Path) -> None:
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        table = {str(index): {"name": name, "isthing": index % 2} for index, name in enumerate(LABELS.names)}
        (tmp_path / "class_info.json").write_text(json.dumps(table))
        assert networks.load(tmp_path).labels.things.tolist() == [False, True, False]
        (tmp_path / "class_info.json").write_text(json.dumps({"0": {"name": "a", "isthing": 1}, "1": {"name": "b", "isthing": 1}}))
        assert networks.load(tmp_path).labels.things is None
        # Where there is none, nobody is asked for it.
        (tmp_path / "class_info.json").unlink()
        assert networks.load(tmp_path).labels.things is None

    def test_without_a_tokenizer_there_is_no_task(self, folder: Path, tmp_path: Path) -> None:
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        config = json.loads((folder / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "task_seq_len": 30}))
        with pytest.raises(BadCheckpointError, match="77 tokens .* takes 30"):
            networks.load(tmp_path)
        for name in TOKENIZER:
            (tmp_path / name).unlink(missing_ok=True)
        with pytest.raises(BadCheckpointError, match="no tokenizer"):
            networks.load(tmp_path)
        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(BadCheckpointError, match="tokenizer"):
            networks.load(tmp_path)


@pytest.mark.soak
class TestEomt(QueriesContract):
    name = "eomt"
    tasks = ("panoptic", "instance")

    def asked(self, threshold: float) -> dict[str, Any]:
        return {"threshold": threshold}

    void = -1
    whole_masks = False

    def masks_of(self, info: dict[str, Any]) -> Any:
        """Later ones lie over earlier ones: only the last is whole."""
        return [info["segmentation"].numpy() == segment["id"] for segment in info["segments_info"]]


@pytest.mark.parametrize("name", ["detr", "conditional-detr"])
def test_a_mask_head_takes_few_queries_at_once_and_gives_the_librarys_masks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = networks.network(name)
    made = outspoken(family.create(LABELS, {**family.default_options(), **TINY[name]}))
    plain = transformers_config.from_config(len(LABELS), made.options).eval()
    plain.load_state_dict(made.module.state_dict())
    batch, seen = torch.stack([torch.randn(3, 96, 128), torch.randn(3, 96, 128)]), []
    made.module.mask_head.output_conv.register_forward_hook(lambda module, given, found: seen.append(len(found)))
    with torch.inference_mode():
        expected = plain(pixel_values=batch).pred_masks
        assert torch.equal(made.module(pixel_values=batch).pred_masks, expected)
        assert seen == [24]
        for most, steps in ((450_000, [12, 12]), (1, [1] * 24)):
            monkeypatch.setattr(detr, "MOST_FLOATS", most)
            seen.clear()
            found = made.module(pixel_values=batch).pred_masks
            assert seen == steps
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["mask2former", "oneformer"])
def test_a_pixel_decoder_looks_from_few_places_at_once_and_gives_the_librarys_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = networks.network(name)
    made = outspoken(family.create(LABELS, {**family.default_options(), **TINY[name]}))
    plain = transformers_config.from_config(len(LABELS), made.options).float().eval()
    plain.load_state_dict(made.module.state_dict())
    plain.register_buffer("question", getattr(made.module, "question", None), persistent=False)
    batch, seen = torch.stack([torch.randn(3, 96, 160), torch.randn(3, 96, 160)]), []
    (layer,) = (module for module in made.module.modules() if isinstance(module, universal.FewPlaces))
    look = layer.look
    layer.look = lambda value, sides, where, weights: seen.append(where.shape[1]) or look(value, sides, where, weights)
    with torch.inference_mode():
        expected = family.forward(plain, batch)
        assert same(family.forward(made.module, batch), expected) and seen == [315]
        monkeypatch.setattr(universal, "MOST_SAMPLES", 100 * len(batch) * 64 * 12)
        assert same(family.forward(made.module, batch), expected) and seen[1:] == [100, 100, 100, 15]


def test_a_single_class_is_everywhere_as_the_library_has_it(tmp_path: Path) -> None:
    """One channel of class maps is no decision between two classes."""
    family = networks.network("maskformer")
    outspoken(family.create(LabelSet.from_names(["leaf"]), family.default_options())).save(tmp_path)
    model = load_model(str(tmp_path), device="cpu")
    assert model.labels.names == ("leaf",) and model.labels.background is None
    for size, detail in (((1, 201), "whole"), ((380, 420), "full")):
        found = model.run(image_of(*size), Options(task="semantic", detail=detail, confidence=True))
        assert not found.id_map.any() and [segment.label_id for segment in found.segments] == [0]

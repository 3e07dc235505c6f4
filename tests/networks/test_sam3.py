"""SAM 3 with random weights: words and examples get the masks and scores of plain transformers, clicks those of its tracker."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import CLIPTokenizer, Sam3Model, Sam3Processor, Sam3TrackerModel, Sam3TrackerProcessor, Sam3VideoConfig

from seg_demo import load_model, networks
from seg_demo.core.errors import BadRequestError
from seg_demo.core.requests import read_prompt
from seg_demo.core.types import LabelSet, ModelSpec
from seg_demo.inference.model import Model
from seg_demo.networks import sam
from seg_demo.networks.sam import Sam3Words
from seg_demo.networks.transformers_config import options_from_config
from tests.networks.contract import image_of
from tests.networks.test_clipseg import LAYERS, WORDS, clipseg_files
from tests.networks.test_sam import LEVELS, SMALL, VIT3, check, whole
from tests.networks.test_sam import theirs as clicked

PART = {"hidden_size": 32, "intermediate_size": 32, "num_layers": 2, "num_attention_heads": 2}
VISION = {"model_type": "sam3_vision_model", "backbone_config": VIT3, **LEVELS}
DETECTOR = {
    "model_type": "sam3", "vision_config": VISION, "geometry_encoder_config": PART, "detr_encoder_config": PART,
    "detr_decoder_config": {**PART, "num_queries": 12}, "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
    "text_config": {"model_type": "clip_text_model", **LAYERS, "vocab_size": len(WORDS), "max_position_embeddings": 32, "projection_dim": 16},
}  # fmt: skip
TRACKER = {"model_type": "sam3_tracker", **SMALL, "vision_config": VISION}
LITE = {**DETECTOR, "model_type": "sam3_lite_text", "text_config": {"model_type": "sam3_lite_text_text_model", **LAYERS, "vocab_size": len(WORDS), "projection_dim": 16}}
OPTIONS = {"sam3": {"model_type": "sam3_video", "detector_config": DETECTOR, "tracker_config": TRACKER}, "sam3_words": DETECTOR}
NOISY = ("decoder", "prompt_encoder", "no_memory", "scoring", "query_embed", "text_", "geometry")
SEED, SPREAD = 7, 15
SIZES = ((64, 48), (90, 517))
BOX = {(301, 200): (10.5, 20, 120, 201), (64, 48): (0, 0, 30, 31), (90, 517): (300, 5, 516.25, 90)}


def settle(detector: Any, batch: torch.Tensor, tokens: dict[str, torch.Tensor]) -> None:
    """Random weights find everything or nothing, everywhere or nowhere: biases by which half of it is found, with half of the pixels."""
    scoring, decoder, seen = detector.dot_product_scoring, detector.mask_decoder, {}
    parts = {"queries": scoring.query_proj, "text": scoring.text_proj, "pixels": decoder.instance_projection}
    scoring.query_proj.weight.mul_(SPREAD)
    detector.detr_decoder.presence_head.layer3.bias.add_(4)
    hooks = [part.register_forward_hook(lambda *call, key=key: seen.update({key: call[2]})) for key, part in parts.items()]
    detector(pixel_values=batch, **tokens)
    for hook in hooks:
        hook.remove()
    queries, text = seen["queries"][-1, 0], seen["text"][0]
    # A score of 0.3 of the one in the middle.
    scoring.query_proj.bias.sub_(((queries @ text).median() + 0.83 / scoring.scale) * text / text.square().sum())
    decoder.instance_projection.bias.sub_(seen["pixels"].mean((0, 2, 3)))


@lru_cache(maxsize=None)
def sam3_files(family: str, kind: str = "") -> dict[str, bytes]:
    """A repository as published: both parts or the detector alone, with vocab.json and merges.txt."""
    torch.manual_seed(5)
    found = networks.network(family).create(LabelSet.from_names(("object",)), LITE if kind else OPTIONS[family])
    generator = torch.Generator().manual_seed(SEED)
    words = {name: data for name, data in clipseg_files().items() if name in ("vocab.json", "merges.txt", "tokenizer_config.json")}
    with TemporaryDirectory() as folder, torch.no_grad():
        for name, data in words.items():
            (Path(folder) / name).write_bytes(data)
        for name, parameter in found.module.named_parameters():
            if any(part in name for part in NOISY):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.25)
        found.tokenizer = CLIPTokenizer.from_pretrained(folder)
        tokens = found.tokenizer("cat", padding="max_length", max_length=32, return_tensors="pt")
        settle(getattr(found.module, "detector_model", found.module), found.preprocess(image_of(64, 96)), dict(tokens))
        found.save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def written(folder: Path, family: str, *without: str, kind: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in sam3_files(family, kind).items():
        if name not in without:
            (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: written(tmp_path_factory.mktemp(family), family) for family in OPTIONS}


def theirs(folder: Path, image: np.ndarray, text: str | None = None, box: tuple[float, ...] | None = None) -> tuple[list[np.ndarray], list[float]]:
    """Masks and scores of plain transformers, the surest first; those without a pixel are left out."""
    module, processor = plain(folder)
    inputs = processor(images=Image.fromarray(image), text=text, input_boxes=None if box is None else [[list(box)]], return_tensors="pt")
    sizes = inputs.pop("original_sizes").tolist()
    with torch.inference_mode():
        found = processor.post_process_instance_segmentation(module(**inputs), target_sizes=sizes)[0]
    order = sorted(range(len(found["scores"])), key=lambda index: -round(float(found["scores"][index]), 6))
    order = [index for index in order if found["masks"][index].any()]
    return [found["masks"][index].numpy() > 0 for index in order], [round(float(found["scores"][index]), 6) for index in order]


@lru_cache(maxsize=None)
def plain(folder: Path) -> tuple[Any, Any]:
    name = json.loads((folder / "config.json").read_text()).get("model_type")
    kind = transformers.Sam3LiteTextModel if name == "sam3_lite_text" else Sam3Model
    return kind.from_pretrained(folder).eval(), Sam3Processor.from_pretrained(folder)


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, Model]:
    return {family: load_model(str(folder), device="cpu") for family, folder in folders.items()}


@pytest.mark.parametrize("family", OPTIONS)
@pytest.mark.parametrize("size", SIZES)
def test_words_and_examples_get_the_plain_librarys_masks_and_scores(
    folders: dict[str, Path], models: dict[str, Model], family: str, size: tuple[int, int]
) -> None:
    image, box, folder = image_of(*size), BOX[size], folders[family]
    word, boxed, example = (theirs(folder, image, *shown) for shown in (("cat", None), ("cat", box), (None, box)))
    others = [theirs(folder, image, text) for text in ("a red dog", "x")]
    assert any(0 < mask.mean() < 1 for mask in word[0]) and boxed[0] and boxed[1] != word[1] != example[1]
    with models[family].prompt(image) as session:
        found = session.segment(text="cat")
        check(found, *word)
        assert set(found.labels.names) == {"cat"}
        check(session.segment(text="cat", box=box), *boxed)
        check(session.segment(text="visual" if family == "sam3" else None, box=box), *example)
        # Several at a time, in their order.
        found = session.answer(read_prompt({"objects": [{"box": box, "text": "cat"}], "text": ["a red dog", "x"]}))
    several = (boxed, *others)
    check(found, [mask for masks, _ in several for mask in masks], [score for _, scores in several for score in scores])
    names = [name for name, (masks, _) in zip(("cat", "a red dog", "x"), several, strict=True) for _ in masks]
    assert [row["label"] for row in found.to_dict()["segments"]] == names


def test_clicks_are_the_trackers_and_a_picture_is_looked_at_once(folders: dict[str, Path]) -> None:
    size, one, box = (90, 517), [170, 45], [3, 11, 509.5, 88]
    image, folder = image_of(*size), folders["sam3"]
    tracker, processor = Sam3TrackerModel.from_pretrained(folder).eval(), Sam3TrackerProcessor.from_pretrained(folder)
    network = networks.load(folder)
    looks = []
    network.module.detector_model.vision_encoder.backbone.register_forward_hook(lambda *call: looks.append(1))
    encoder = sum(part.numel() for part in tracker.vision_encoder.backbone.parameters())
    parts = sum(part.numel() for half in (tracker, plain(folder)[0]) for part in half.parameters())
    assert sum(part.numel() for part in network.module.parameters()) == parts - encoder
    with Model.from_network(network, ModelSpec("sam3", None, "instance", "", "", "", "folder")).prompt(image) as session:
        masks, scores, logits = clicked((tracker, processor), image, True, input_points=[[[one]]], input_labels=[[[1]]])
        first = session.segment([one], [1])
        check(first, masks, scores)
        assert 0 < masks[0].mean() < 1
        masks, scores, _ = clicked((tracker, processor), image, False, input_boxes=[[box]])
        check(session.segment(box=box), masks, scores)
        masks, scores, _ = clicked((tracker, processor), image, False, logits[None], input_points=[[[one, [500, 2]]]], input_labels=[[[1, 0]]])
        check(session.segment([one, [500, 2]], [1, 0], previous=first), masks, scores)
        assert session.segment(text="cat").segments and session.everything(grid=2) is not None
    assert len(looks) == 1


def test_what_it_does_not_answer_is_a_sentence(models: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(40, 50)
    with models["sam3"].prompt(image) as session:
        with pytest.raises(BadRequestError, match=r"\d+ tokens .* reads 32 at most"):
            session.segment(text="do " * 40)
        with pytest.raises(BadRequestError, match="Words go by themselves"):
            session.segment([(3, 3)], [1], text="cat")
        with pytest.raises(BadRequestError, match="Words go by themselves"):
            session.segment(previous=np.ones((40, 50), bool), text="cat")
        with pytest.raises(BadRequestError, match="reaches beyond"):
            session.segment(box=(0, 0, 51, 40), text="cat")
    with models["sam3_words"].prompt(image) as session:
        with pytest.raises(BadRequestError, match="words and boxes around an example, not clicks"):
            session.segment([(3, 3)], [1])
        with pytest.raises(BadRequestError, match="told none"):
            session.everything()
        monkeypatch.setattr(sam, "LEAST_SCORE", 1.0)
        asked = session.answer(read_prompt({"objects": [{"box": [1, 1, 9, 9]}], "text": ["cat", "dog"]}))
        assert not asked.segments and list(asked.notes) == ["The model found nothing for: cat, dog.", "The model found nothing like what is in the box. Draw it closely around one example."]


@pytest.mark.parametrize("family", OPTIONS)
def test_written_again_it_is_the_same(folders: dict[str, Path], models: dict[str, Model], family: str, tmp_path: Path) -> None:
    network = models[family]._run.network
    network.save(tmp_path / "again")
    network.save(tmp_path / "half", half=True)
    assert (tmp_path / "half" / "model.safetensors").stat().st_size < 0.6 * (tmp_path / "again" / "model.safetensors").stat().st_size
    image = image_of(64, 48)
    first = models[family].prompt(image).segment(text="cat")
    again, half = (load_model(str(tmp_path / name), device="cpu").prompt(image).segment(text="cat") for name in ("again", "half"))
    check(again, [whole(first, index) for index in range(len(first.segments))], [segment.score for segment in first.segments])
    assert len(half.segments) and half.segments[0].score == pytest.approx(first.segments[0].score, abs=0.02)
    given: dict[str, Any] = {}
    exec(network.card_snippet(str(tmp_path / "again")), given)
    loaded = {type(value).__name__ for name, value in given.items() if name != "__builtins__"}
    assert loaded >= ({"Sam3Model", "Sam3Processor"} if family == "sam3_words" else {"Sam3Model", "Sam3TrackerModel", "Sam3TrackerProcessor"})


def test_a_small_text_encoder_is_one_too(tmp_path: Path) -> None:
    folder = written(tmp_path, "sam3_words", kind="sam3_lite_text")
    image = image_of(64, 96)
    masks, scores = theirs(folder, image, "cat")
    check(load_model(str(folder), device="cpu").prompt(image).segment(text="cat"), masks, scores)
    assert masks


def test_sizes_of_the_published_network_are_no_mistake() -> None:
    """Its vocabulary and the base of its rotations are larger than any layer."""
    published = Sam3Words.plain_config(json.loads(Sam3VideoConfig().to_json_string(use_diff=False)))
    options, _ = options_from_config(published)
    assert (options["model_type"], options["text_config"]["vocab_size"]) == ("sam3", 49408)

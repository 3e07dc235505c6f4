"""Repositories of networks of class queries as people have them, over the Hub stand-in: plain transformers' result for the task that the
checkpoint was made for, or one sentence."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation

from seg_demo import networks
from seg_demo.core.errors import SegDemoError
from seg_demo.core.types import LabelSet
from seg_demo.masks.queries import Thresholds
from seg_demo.networks import universal
from seg_demo.serving.predictor import load_model
from tests.hub.test_layouts import served  # noqa: F401
from tests.hub_layouts import (
    CONFIG,
    ID2LABEL,
    IMAGE,
    LABEL2ID,
    NAMES,
    PROCESSOR,
    WEIGHTS,
    Files,
    pickled,
    sharded,
    with_config,
    with_json,
    without,
)
from tests.networks.test_universal import TINY, outspoken

PICTURES = (IMAGE, np.random.default_rng(5).integers(0, 256, (201, 120, 3), dtype=np.uint8), np.tile(IMAGE, (5, 4, 1)))
DINOV3 = {
    "model_type": "eomt_dinov3", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": 64, "num_blocks": 1, "num_queries": 9, "num_upscale_blocks": 1,
}  # fmt: skip


@lru_cache(maxsize=16)
def _files(family: str, split: bool, dinov3: bool) -> tuple[tuple[str, bytes], ...]:
    kind = networks.network(family)
    torch.manual_seed(1)
    options = DINOV3 if dinov3 else {**kind.default_options(), **TINY[family]}
    made = outspoken(kind.create(LabelSet.from_names(NAMES), options))
    made.module.config.id2label = dict(enumerate(NAMES))
    made.module.config.label2id = LABEL2ID
    if split:
        made.processor = type(made.processor)(size={"shortest_edge": 64, "longest_edge": None}, do_split_image=True, do_pad=False)
    elif family != "eomt":
        made.processor.size = type(made.processor)(size={"shortest_edge": 64, "longest_edge": 128}).size
    with tempfile.TemporaryDirectory() as folder:
        made.module.save_pretrained(folder)
        made.processor.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    # transformers 5 may call the processor's file otherwise; most repositories are older.
    nested = json.loads(files.pop("processor_config.json", b"{}")).get("image_processor")
    return tuple({**files, **({} if nested is None else {PROCESSOR: json.dumps(nested).encode()})}.items())


def query_files(family: str, split: bool = False, dinov3: bool = False) -> Files:
    """config.json, model.safetensors and preprocessor_config.json as transformers' ``save_pretrained`` writes them."""
    return dict(_files(family, split, dinov3))


def former(files: Files, name: str) -> Files:
    """As transformers 4 named the processor."""
    return with_json(files, PROCESSOR, ("image_processor_type",), feature_extractor_type=name)


ROWS: dict[str, tuple[Callable[[], Files], str, dict[str, Any]]] = {
    "mask2former": (lambda: query_files("mask2former"), "panoptic", {}),
    "mask2former-ade-semantic": (lambda: query_files("mask2former"), "semantic", {}),
    "maskformer": (lambda: query_files("maskformer"), "panoptic", {}),
    "maskformer-ade-semantic": (lambda: query_files("maskformer"), "semantic", {}),
    "maskformer with a feature extractor": (lambda: former(query_files("maskformer"), "MaskFormerFeatureExtractor"), "panoptic", {}),
    "mask2former of the Fast processor": (
        lambda: with_json(query_files("mask2former"), PROCESSOR, image_processor_type="Mask2FormerImageProcessorFast"), "panoptic", {},
    ),
    "detr": (lambda: query_files("detr"), "panoptic", {}),
    "eomt": (lambda: query_files("eomt"), "panoptic", {}),
    "eomt-ade-semantic": (lambda: query_files("eomt", split=True), "semantic", {}),
    "eomt-dinov3": (lambda: query_files("eomt", dinov3=True), "panoptic", {}),
    "mask2former in shards": (lambda: sharded(query_files("mask2former")), "panoptic", {}),
    "detr as a pickle": (lambda: pickled(query_files("detr")), "panoptic", {}),
    "a backbone is named and described": (
        lambda: with_config(query_files("maskformer"), backbone="someone/else", use_pretrained_backbone=True), "panoptic", {},
    ),
    "a table of fewer names": (
        lambda: with_config(query_files("mask2former"), id2label={"0": "wall"}, label2id={"wall": 0}), "panoptic",
        {"says": "no name", "like": lambda: query_files("mask2former")},
    ),
}  # fmt: skip
REFUSED: dict[str, tuple[Callable[[], Files], str]] = {
    "oneformer": (lambda: with_config(query_files("mask2former"), model_type="oneformer", architectures=["OneFormerForUniversalSegmentation"]), "class queries"),
    "a shard is missing": (lambda: without(sharded(query_files("detr")), "model-00002-of-00003.safetensors"), "00002-of-00003"),
    "a pickle that is none": (lambda: {**without(query_files("eomt"), WEIGHTS), "pytorch_model.bin": b"no weights"}, "pytorch_model.bin"),
    "a billion queries": (lambda: with_config(query_files("mask2former"), num_queries=10**9), "num_queries"),
    "a backbone of somebody else": (lambda: with_config(query_files("maskformer"), "backbone_config", backbone="someone/else"), "someone/else"),
    "weights of another network": (lambda: {**query_files("detr"), WEIGHTS: query_files("eomt")[WEIGHTS]}, "weights"),
    "a detector without masks": (lambda: with_config(query_files("detr"), architectures=["DetrForObjectDetection"]), "boxes"),
}  # fmt: skip


def theirs(files: Files, picture: np.ndarray, task: str) -> np.ndarray:
    """The map of plain transformers, none as 0 in a panoptic one."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        module = AutoModelForUniversalSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
        processor = AutoImageProcessor.from_pretrained(folder)
    inputs = processor(images=Image.fromarray(picture), return_tensors="pt")
    with torch.inference_mode():
        outputs = module(**inputs)
    lenient = {} if task == "semantic" else {"threshold": 0.3, "overlap_mask_area_threshold": 0.02}
    found = getattr(processor, f"post_process_{task}_segmentation")(outputs, target_sizes=[picture.shape[:2]], **lenient)[0]
    if task == "semantic":
        return found.numpy()
    if not found["segments_info"]:
        return np.zeros(picture.shape[:2])
    return found["segmentation"].numpy() + min(segment["id"] == 0 for segment in found["segments_info"][:1])


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries with random weights lie over each other, and the library's overlap would leave hardly one."""
    for kind in (universal.ClassQueries, universal.Eomt):
        monkeypatch.setattr(kind, "thresholds", Thresholds(0.3, 0.5, 0.02))


@pytest.mark.parametrize("name", ROWS)
def test_query_layout(served, name: str) -> None:  # noqa: F811
    make, task, what = ROWS[name]
    id = "ann/" + re.sub(r"\W+", "-", name)
    served.add_repo(id, make())
    model = load_model(id)
    assert model.spec.task == task
    notes = " ".join(model.spec.notes)
    assert re.search(what["says"], notes) if "says" in what else not notes, notes
    like, seen = what.get("like", make)(), 0
    if "in shards" in name or "pickle" in name:
        like = query_files(name.split()[0])
    if "named and described" in name:
        like = query_files("maskformer")
    for picture in PICTURES:
        result = model.predict(picture)
        np.testing.assert_array_equal(result.id_map, theirs(like, picture, task))
        seen = max(seen, len(result.segments))
    assert seen > 1 and result.task == task


@pytest.mark.parametrize("name", REFUSED)
def test_query_layout_is_refused(served, name: str) -> None:  # noqa: F811
    make, says = REFUSED[name]
    id = "ann/no-" + re.sub(r"\W+", "-", name)
    served.add_repo(id, make())
    with pytest.raises(SegDemoError, match=says) as caught:
        load_model(id)
    assert 30 < len(str(caught.value)) < 700 and "Traceback" not in str(caught.value)
    assert caught.value.message.text("zh") != str(caught.value)


def test_what_a_repository_offers_is_told_before_it_is_loaded(served, capsys) -> None:  # noqa: F811
    from seg_demo.__main__ import main

    served.add_repo("ann/told", query_files("mask2former"))
    assert main(["check", "ann/told"]) == 0
    told = capsys.readouterr().out
    assert "Mask2Former" in told and all(name in told for name in ID2LABEL.values())
    assert json.loads(query_files("mask2former")[CONFIG])["model_type"] == "mask2former"

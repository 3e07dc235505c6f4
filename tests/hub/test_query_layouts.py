"""Repositories of networks of class queries as people have them, over the Hub stand-in: plain transformers' result for the task that the
checkpoint was made for, or one sentence."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForInstanceSegmentation,
    AutoModelForUniversalSegmentation,
    ConditionalDetrForSegmentation,
    Dinov2Config,
    OneFormerProcessor,
    RfDetrImageProcessor,
)

from seg_demo import networks
from seg_demo.core.errors import BadImageError, SegDemoError
from seg_demo.core.types import LabelSet
from seg_demo.hub import licences
from seg_demo.inference import engine as devices
from seg_demo.masks.queries import Thresholds
from seg_demo.networks import universal
from seg_demo.networks.oneformer import TOKENIZER
from seg_demo.serving.catalog import HUB
from seg_demo.serving.predictor import load_model, offer
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
    with_tensors,
    without,
)
from tests.networks.test_rfdetr import TINY as RFDETR, outspoken as of_rfdetr
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
    options = DINOV3 if dinov3 else {**kind.default_options(), **{**TINY, "rfdetr": RFDETR}[family]}
    made = (of_rfdetr if family == "rfdetr" else outspoken)(kind.create(LabelSet.from_names(NAMES), options))
    made.module.config.id2label = dict(enumerate(NAMES))
    made.module.config.label2id = LABEL2ID
    if split:
        made.processor = type(made.processor)(size={"shortest_edge": 64, "longest_edge": None}, do_split_image=True, do_pad=False)
    elif family not in ("eomt", "rfdetr"):
        made.processor.size = type(made.processor)(size={"shortest_edge": 64, "longest_edge": 128}).size
    with tempfile.TemporaryDirectory() as folder:
        made.module.save_pretrained(folder)
        made.processor.save_pretrained(folder)
        if family == "oneformer":
            made.tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    # transformers 5 may call the processor's file otherwise; most repositories are older.
    nested = json.loads(files.pop("processor_config.json", b"{}")).get("image_processor")
    return tuple({**files, **({} if nested is None else {PROCESSOR: json.dumps(nested).encode()})}.items())


def query_files(family: str, split: bool = False, dinov3: bool = False) -> Files:
    """config.json, model.safetensors and preprocessor_config.json as transformers' ``save_pretrained`` writes them."""
    return dict(_files(family, split, dinov3))


def broken(files: Files) -> Files:
    """With a weight that is no number."""

    def change(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        next(tensor for tensor in state.values() if tensor.ndim > 1).view(-1)[0] = torch.nan
        return state

    return with_tensors(files, change)


def former(files: Files, name: str) -> Files:
    """As transformers 4 named the processor."""
    return with_json(files, PROCESSOR, ("image_processor_type",), feature_extractor_type=name)


ROWS: dict[str, tuple[Callable[[], Files], str, dict[str, Any]]] = {
    "facebook/mask2former-swin-tiny-coco-panoptic": (lambda: query_files("mask2former"), "panoptic", {}),
    "mask2former-ade-semantic": (lambda: query_files("mask2former"), "semantic", {}),
    "maskformer": (lambda: query_files("maskformer"), "panoptic", {}),
    "maskformer-ade-semantic": (lambda: query_files("maskformer"), "semantic", {}),
    "maskformer with a feature extractor": (lambda: former(query_files("maskformer"), "MaskFormerFeatureExtractor"), "panoptic", {}),
    "mask2former of the Fast processor": (
        lambda: with_json(query_files("mask2former"), PROCESSOR, image_processor_type="Mask2FormerImageProcessorFast"), "panoptic", {},
    ),
    "detr": (lambda: query_files("detr"), "panoptic", {}),
    "conditional-detr": (lambda: query_files("conditional-detr"), "panoptic", {"says": "none of them"}),
    "oneformer": (lambda: query_files("oneformer"), "panoptic", {}),
    "Roboflow/rf-detr-seg-nano": (lambda: query_files("rfdetr"), "instance", {}),
    "Roboflow/rf-detr-seg-small": (
        lambda: with_json(query_files("rfdetr"), PROCESSOR, image_processor_type="DetrImageProcessor"), "instance", {},
    ),
    "rfdetr in shards": (lambda: sharded(query_files("rfdetr")), "instance", {}),
    "tue-mps/coco_panoptic_eomt_base_640_2x": (
        lambda: with_json(
            with_config(query_files("eomt"), backbone="vit_base_patch14_reg4_dinov2"), PROCESSOR, image_processor_type="EomtImageProcessorFast"
        ),
        "panoptic", {"like": lambda: query_files("eomt")},
    ),
    "eomt-ade-semantic": (lambda: query_files("eomt", split=True), "semantic", {}),
    "eomt-dinov3": (lambda: query_files("eomt", dinov3=True), "panoptic", {}),
    "an absurd number of classes, which the weights say better": (
        lambda: with_config(query_files("detr"), "id2label", "label2id", num_labels=10**7), "panoptic", {"like": lambda: query_files("detr")},
    ),
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
    "oneformer without a tokenizer": (
        lambda: {name: data for name, data in query_files("oneformer").items() if name not in TOKENIZER}, "no tokenizer",
    ),
    "a video model": (lambda: with_config(query_files("eomt"), model_type="videomt", architectures=["VideomtForUniversalSegmentation"]), "segments videos"),
    "birefnet": (
        lambda: with_config(query_files("eomt"), model_type="birefnet", architectures=["BiRefNet"], auto_map={"AutoModelForImageSegmentation": "birefnet.BiRefNet"}),
        "cuts the main thing out .* otsu",
    ),
    "rf-detr without masks": (lambda: with_config(query_files("rfdetr"), architectures=["RfDetrForObjectDetection"]), "boxes, no masks.*rf-detr-seg-nano"),
    "weights of NaN": (lambda: broken(query_files("rfdetr")), "not finite|NaN"),
    "a shard is missing": (lambda: without(sharded(query_files("detr")), "model-00002-of-00003.safetensors"), "00002-of-00003"),
    "a pickle that is none": (lambda: {**without(query_files("eomt"), WEIGHTS), "pytorch_model.bin": b"no weights"}, "pytorch_model.bin"),
    "more queries than places": (lambda: with_config(query_files("rfdetr"), num_queries=65), "65 queries.* 64 in a picture of 64 x 64"),
    "an encoder that has no head here": (
        lambda: {**query_files("eomt"), CONFIG: json.dumps({**Dinov2Config().to_dict(), "architectures": ["Dinov2Model"]}).encode()},
        "encoder without a segmentation head.*nvidia/segformer",
    ),
    "queries that are no number, beside a large one that is harmless": (lambda: with_config(query_files("mask2former"), num_queries="many"), "num_queries"),
    "a billion queries": (lambda: with_config(query_files("mask2former"), num_queries=10**9), "num_queries"),
    "a backbone of somebody else": (lambda: with_config(query_files("maskformer"), "backbone_config", backbone="someone/else"), "someone/else"),
    "weights of another network": (lambda: {**query_files("detr"), WEIGHTS: query_files("eomt")[WEIGHTS]}, "weights"),
    "a detector without masks": (lambda: with_config(query_files("detr"), architectures=["DetrForObjectDetection"]), "boxes"),
}  # fmt: skip
ONLY_WEIGHTS_TELL = ("weights of NaN", "a pickle that is none", "weights of another network")


LIBRARY = {"conditional_detr": ConditionalDetrForSegmentation, "rf_detr": AutoModelForInstanceSegmentation}


def theirs(files: Files, task: str) -> list[np.ndarray]:
    """The maps of plain transformers for all pictures, none as 0 in a panoptic one."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        kind = json.loads(files[CONFIG])["model_type"]
        module = LIBRARY.get(kind, AutoModelForUniversalSegmentation).from_pretrained(folder, dtype=torch.float32).eval()
        if kind == "oneformer":
            processor = partial(OneFormerProcessor.from_pretrained(folder, repo_path=folder), task_inputs=[task])
        else:
            processor = AutoImageProcessor.from_pretrained(folder)
    return [map_of(module, processor, kind, picture, task) for picture in PICTURES]


def map_of(module: Any, processor: Any, kind: str, picture: np.ndarray, task: str) -> np.ndarray:
    """The map of one network and processor of plain transformers, see :func:`theirs`."""
    with torch.inference_mode():
        outputs = module(**processor(images=[Image.fromarray(picture)], return_tensors="pt"))
    processor = getattr(processor, "func", processor)
    lenient = {} if task == "semantic" or kind == "rf_detr" else {"threshold": 0.3, "overlap_mask_area_threshold": 0.02}
    if kind == "rf_detr":
        processor = RfDetrImageProcessor()  # whatever preprocesses
    found = getattr(processor, f"post_process_{task}_segmentation")(outputs, target_sizes=[picture.shape[:2]], **lenient)[0]
    if task == "semantic":
        return found.numpy()
    if not found["segments_info"]:
        return np.zeros(picture.shape[:2])
    if kind == "rf_detr":
        return np.maximum(found["segmentation"].numpy(), 0)
    return found["segmentation"].numpy() + min(segment["id"] == 0 for segment in found["segments_info"][:1])


def visible(id_map: np.ndarray) -> np.ndarray:
    """Numbered again without those that others hide."""
    seen, compact = np.unique(id_map, return_inverse=True)
    return compact.reshape(id_map.shape) + (seen[0] != 0)


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries with random weights lie over each other, and the library's overlap would leave hardly one."""
    for kind in (universal.ClassQueries, universal.Eomt):
        monkeypatch.setattr(kind, "thresholds", Thresholds(0.3, 0.5, 0.02))


# What is shown of another network, too.
REPEATED = (
    "rfdetr in shards", "maskformer-ade-semantic", "mask2former of the Fast processor", "maskformer with a feature extractor", "a table of fewer names",
)  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.soak if name in REPEATED else ()) for name in ROWS])
def test_query_layout(served, name: str) -> None:  # noqa: F811
    make, task, what = ROWS[name]
    id = name if "/" in name else "ann/" + re.sub(r"\W+", "-", name)
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
    for picture, wanted in zip(PICTURES, theirs(like, task), strict=True):
        result = model.predict(picture)
        shown = visible(result.id_map) if task == "instance" else result.id_map
        np.testing.assert_array_equal(shown, wanted)
        seen = max(seen, len(result.segments))
    assert seen > 1 and result.task == task
    # A picture of which scaling leaves no pixel across, where the library ends in an error; RF-DETR's size is fixed.
    if "rf" in name:
        assert model.predict(np.zeros((1, 3000, 3), np.uint8)).id_map.shape == (1, 3000)
    else:
        with pytest.raises(BadImageError, match="long and narrow"):
            model.predict(np.zeros((1, 3000, 3), np.uint8))


def test_every_model_of_the_menu_from_the_hub_that_answers_more_than_classes_is_a_row() -> None:
    assert {spec.id for spec in HUB if spec.task != "semantic"} <= set(ROWS)


@pytest.mark.parametrize("name", REFUSED)
def test_query_layout_is_refused(served, name: str) -> None:  # noqa: F811
    make, says = REFUSED[name]
    id = "ann/no-" + re.sub(r"\W+", "-", name)
    served.add_repo(id, make())
    with pytest.raises(SegDemoError, match=says) as caught:
        load_model(id)
    assert 30 < len(str(caught.value)) < 700 and "Traceback" not in str(caught.value)
    assert caught.value.message.text("zh") != str(caught.value)
    if name in ONLY_WEIGHTS_TELL:
        return
    # Looked at before anything is fetched, it says the same.
    try:
        found = offer(id)
        told, loads = found.refused, found.loads
    except SegDemoError as error:
        told, loads = str(error), False
    assert not loads and re.search(says, told)


def test_what_a_repository_offers_is_told_before_it_is_loaded(served, capsys) -> None:  # noqa: F811
    from seg_demo.__main__ import main

    served.add_repo("ann/told", query_files("mask2former"))
    assert main(["check", "ann/told"]) == 0
    told = capsys.readouterr().out
    assert "Mask2Former" in told and all(name in told for name in ID2LABEL.values())
    assert re.search(r"tasks +panoptic, instance, semantic", told) and re.search(r"loads +yes", told) and "(main)" in told
    assert re.search(r"memory +0.0 GB to load it, [1-9]", told) and re.search(r"licence +none is stated", told)


def test_a_fine_tune_of_a_base_for_research_is_said_to_be_one(served, capsys, tmp_path) -> None:  # noqa: F811
    from seg_demo.__main__ import main

    card = "---\nlicense: apache-2.0\nbase_model: bob/middle\n---\n# Cells\n"
    served.add_repo("ann/cells-instance", {**query_files("rfdetr"), "README.md": card.encode()})
    served.add_repo("bob/middle", {"README.md": b"---\nlicense: mit\nbase_model:\n- lab/base\n- gone/away\n---\n"})
    served.add_repo("lab/base", {"README.md": b"---\nlicense: other\nlicense_name: lab-non-commercial\nbase_model: bob/middle\n---\n"})
    assert main(["check", "ann/cells-instance", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["commercial"] is False and told["tasks"] == ["instance"] and told["branch"] == "main"
    assert told["licence"] == (
        "apache-2.0 is stated, but it was made from lab/base, whose licence holds as well (lab-non-commercial): not for commercial use"
    )
    served.add_repo("ann/free", {**query_files("eomt", split=True), "README.md": b"---\nlicense: mit\n---\n"})
    assert main(["check", "ann/free", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["commercial"], told["licence"], told["task"]) == (True, "mit: commercial use is allowed", "semantic")
    # So does the card in a folder; of a base that is known to be for research, also where the Hub is not asked.
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in {**query_files("rfdetr"), "README.md": card.encode()}.items():
        (folder / name).write_bytes(content)
    assert main(["check", str(folder), "--json"]) == 0
    assert "lab-non-commercial" in json.loads(capsys.readouterr().out)["licence"]
    (folder / "README.md").write_text("---\nlicense: mit\nbase_model: nvidia/mit-b0\n---\n")
    assert licences.of_folder(folder).commercial is False
    for card in ("---\nlicense: [mit\n---\n", "---\n- mit\n---\n", "no front matter"):
        (folder / "README.md").write_text(card)
        assert licences.of_folder(folder) is None or licences.of_folder(folder).commercial is None


def test_a_model_that_does_not_fit_this_machine_is_refused_before_it_is_read(served, monkeypatch) -> None:  # noqa: F811
    served.add_repo("ann/large", query_files("rfdetr"))
    monkeypatch.setattr(devices, "available_memory", lambda: 100_000)
    monkeypatch.setattr(networks, "load", None)
    with pytest.raises(SegDemoError, match="takes about .* GB of memory"):
        load_model("ann/large")


def test_what_is_made_of_a_model_inherits_the_narrowest_licence(served) -> None:  # noqa: F811
    served.add_repo("ann/tuned", {"README.md": b"---\nlicense: apache-2.0\nbase_model: lab/narrow\n---\n"})
    served.add_repo("lab/narrow", {"README.md": b"---\nlicense: cc-by-nc-4.0\n---\n"})
    served.add_repo("ann/silent", {"README.md": b"# nothing\n"})
    assert [licences.inherited(id) for id in ("ann/tuned", "ann/silent", "nobody/there")] == ["cc-by-nc-4.0", "", ""]
    assert licences.inherited("ann/tuned/folder", "mit") == "cc-by-nc-4.0" and licences.inherited("nobody/here", "mit") == "mit"

"""The card: everything that issue and Hub ask for is on it, all foreign text stays text, and nothing private leaves."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from PIL import Image

from seg_demo import networks
from seg_demo.core.types import LabelSet
from train.report import CURVES_PNG, SAMPLES_PNG, SOURCE, CardFacts, read_facts, write_card

NASTY = "<script>alert(1)</script> | **x** [link](http://evil.example) `` ``` ``` $a$ \n# title"


def some_facts(**changes) -> CardFacts:
    colors = np.array([[0, 0, 0], [64, 176, 255], [255, 176, 0]], np.uint8)
    values = dict(
        name="unet-cells",
        architecture="unet",
        task="semantic",
        labels=LabelSet(("background", "cell", "border"), colors, 0),
        library="segmentation_models_pytorch",
        snippet=f'import segmentation_models_pytorch as smp\n\nmodel = smp.from_pretrained("{SOURCE}")',
        data_name="cells",
        data_source="cells",
        data_sha256="ab" * 32,
        train_images=120,
        val_images=30,
        split="By the hash of each image's content, seed 0.",
        config={"seed": 0, "lr": 0.003, "data": "cells", "push": None},
        command="python train/finetune.py --model unet --seed 0",
        metrics={"mean_iou": 0.81234, "mean_dice": 0.9, "iou/cell": 0.7, "dice/cell": 0.8, "boundary_iou/cell": 0.5},
        licence="apache-2.0",
        parameters=1_250_000,
        steps=400,
        seconds=130.0,
        device="cpu, fp32",
        limits=("Knows no everyday objects.",),
    )
    return CardFacts(**{**values, **changes})


def written(folder: Path, **changes) -> str:
    write_card(folder, some_facts(**changes))
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_card_says_everything(tmp_path):
    for name in (SAMPLES_PNG, CURVES_PNG):
        (tmp_path / name).write_bytes(b"png")
    text = written(tmp_path, repo_id="ann/unet-cells", base="nvidia/mit-b0", base_on_hub=True, fresh_layers=("decoder.",))
    for expected in (
        "1.25 million weights", "3 classes", "| 1 | cell | `#40b0ff` | 0.700 | 0.800 | 0.500 |", "| mean IoU | 0.8123 |",
        "30 held-out images", "120 images to learn from", "ab" * 32, "seed 0", '"lr": 0.003', "--model unet --seed 0",
        f"({SAMPLES_PNG})", f"({CURVES_PNG})", 'smp.from_pretrained("ann/unet-cells")', 'load_model("ann/unet-cells")',
        "inherited from nvidia/mit-b0", "Knows no everyday objects", '"torch":', "decoder.",
    ):  # fmt: skip
        assert expected in text, expected
    assert SOURCE not in text
    text = written(tmp_path, base="unet-cells", before={"mean_iou": 0.5})
    assert "| mean IoU | 0.8123 | 0.500 |" in text and "| mean Dice | 0.9000 | – |" in text


def test_the_metadata_is_what_the_hub_reads(tmp_path):
    licence = "NVIDIA Source Code License"
    written(tmp_path, base="nvidia/mit-b0", base_on_hub=True, data_source="hub:ann/nuclei", licence=licence)
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.pipeline_tag == "image-segmentation" and data.library_name == "segmentation-models-pytorch"
    assert (data.license, data.license_name) == ("other", "nvidia-source-code-license")
    assert data.base_model == "nvidia/mit-b0" and data.datasets == ["ann/nuclei"]
    results = {each.metric_type: each for each in data.eval_results}
    assert results["mean_iou"].metric_value == 0.8123
    assert results["mean_iou"].dataset_args == {"sha256": "ab" * 32}
    assert data.model_name == "unet-cells" and "semantic-segmentation" in data.tags


def test_a_card_without_any_metric_is_still_valid(tmp_path):
    text = written(tmp_path, metrics={}, licence=None, steps=0, base="fcn-voc", parameters=0)
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.eval_results is None and data.license is None
    assert "Not trained here" in text and "as they are" in text and SOURCE in text


def test_the_same_facts_give_the_same_bytes(tmp_path):
    first = written(tmp_path), (tmp_path / "training.json").read_bytes()
    assert first == (written(tmp_path), (tmp_path / "training.json").read_bytes())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["README.md", "training.json"]


def test_foreign_text_stays_text(tmp_path):
    labels = LabelSet((NASTY, "cell\u202e\x07", "---"), np.zeros((3, 3), np.uint8))
    text = written(
        tmp_path, name=NASTY, labels=labels, data_name=NASTY, data_source=NASTY, split=NASTY, base=NASTY, licence=NASTY,
        notes=(NASTY,), limits=(NASTY,), device=NASTY, fresh_layers=(NASTY,), command=f"echo '{NASTY}'",
        config={"data": NASTY},
    )  # fmt: skip
    assert ModelCard(text).data.model_name == NASTY, "the front matter is still one piece of YAML"
    body = text.split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(body)
    inline = [child for token in tokens for child in token.children or ()]
    html = [token.content for token in [*tokens, *inline] if token.type.startswith("html")]
    assert {line for each in html for line in each.split("\n") if line} == {
        "<details>", "<summary>Every setting</summary>", "</details>",
    }  # fmt: skip
    assert not [token for token in inline if token.type in ("link_open", "strong_open", "em_open", "image")]
    headings = [tokens[index + 1].content for index, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[1:] == ["Classes", "How good it is", "Use it", "Data", "Training", "Limits", "Licence"]
    assert "\u202e" not in body.split("```")[0] and "\x07" not in body


def test_tokens_and_folders_of_this_machine_do_not_leave(tmp_path, monkeypatch):
    secret = "hf_" + "Zq9" * 12
    monkeypatch.setenv("HF_TOKEN", "odd-token-4711")
    home = Path.home()
    text = written(
        tmp_path,
        data_source="/data/patients/scans",
        base=f"{home}/checkpoints/mine",
        config={"data": "/data/patients/scans", "note": secret, "other": "odd-token-4711"},
        command=f"python train/finetune.py --data '/data/patients/scans' --model {home}/checkpoints/mine",
        notes=(f"{home}/x.png was left out", secret),
    )
    for content in (text, (tmp_path / "training.json").read_text()):
        for private in ("/data/patients", str(home) + "/", secret, "odd-token-4711"):
            assert private not in content
    assert "--data scans --model mine" in text


def test_training_json_gives_the_facts_back(tmp_path):
    made = some_facts(notes=("one",), fresh_layers=("head.",))
    write_card(tmp_path, made)
    found = read_facts(tmp_path)
    assert found.labels == made.labels and replace(found, labels=made.labels) == made
    content = json.loads((tmp_path / "training.json").read_text())
    assert content["metrics"]["iou/cell"] == 0.7 and content["labels"]["colors"][1] == [64, 176, 255]
    (tmp_path / "training.json").write_text("{")
    assert read_facts(tmp_path) is None


# Their contract runs the same code; a U-Net is there for all.
CONTRACT = ("maskrcnn", "fcn", "segformer", "unet-instance", "rfdetr", "mask2former", "maskformer", "eomt", "oneformer", "detr", "conditional-detr")


@pytest.mark.parametrize("architecture", [pytest.param(name, marks=pytest.mark.soak if name in CONTRACT else ()) for name in networks.FAMILIES])
def test_the_printed_code_loads_the_same_weights_with_the_plain_library(tmp_path, architecture, monkeypatch):
    family = networks.network(architecture)
    labels = LabelSet.from_names(["background", "cell"], 0)
    checkpoint = family.create(labels, family.default_options())
    checkpoint.save(tmp_path)
    text = written(
        tmp_path, architecture=architecture, task=checkpoint.task.name, labels=labels, metrics={}, repo_id=str(tmp_path),
        library=checkpoint.family.library, snippet=checkpoint.card_snippet(SOURCE),
    )  # fmt: skip
    code = text.split("```python\n")[1].split("\n```")[0]
    names: dict[str, object] = {}
    if checkpoint.family.library == "seg_demo":
        monkeypatch.chdir(tmp_path)
        Image.new("RGB", (200, 150), "grey").save("picture.jpg")
        exec(compile(code, "README.md", "exec"), names)
        assert len(names["result"].segments) == 1 and (names["result"].width, names["result"].height) == (200, 150)
        return
    assert "seg_demo" not in code
    exec(compile(code, "README.md", "exec"), names)
    loaded, saved = names["model"].state_dict(), checkpoint.module.state_dict()
    if "tracker" in names:  # two parts, which share an encoder
        parts = {"detector_model": names["model"], "tracker_model": names["tracker"]}
        loaded = {f"{part}.{name}": tensor for part, module in parts.items() for name, tensor in module.state_dict().items()}
    assert loaded.keys() == saved.keys() and all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_the_card_says_which_objects_count(tmp_path):
    instance = dict(task="instance", architecture="maskrcnn", labels=LabelSet.from_names(["background", "cell"], background=0))
    few = written(tmp_path, **instance, metrics={"mask_ap": 0.81, "mask_ap50": 1.0})
    assert "at most 100 objects per image." in few
    many = written(tmp_path, **instance, metrics={"mask_ap": 0.81, "mask_ap50": 1.0, "mask_ap@100": 0.32, "mask_ap50@100": 0.396})
    assert "here all count. With COCO's cap: mask AP 0.3200, mask AP50 0.3960." in many
    assert "@100" not in many.partition("<details>")[0], "the table has the figure that counts"

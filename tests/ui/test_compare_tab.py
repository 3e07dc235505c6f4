"""The comparison of several models on one image: whoever fails is told and left out, and the others are compared."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from seg_demo.core.errors import BadCheckpointError, BadRequestError, BusyError, Message
from seg_demo.gateway.visitor import Upload
from seg_demo.serving.predictor import Predictor, load_model
from seg_demo.ui import compare_tab, menu
from tests.served import ROOT

COINS = Upload(ROOT / "seg_demo/ui/examples/coins.png", "coins")


def compared(models, truth=None, **more):
    return compare_tab.run_compare(COINS, models, 0.5, truth, None, lambda *_, **__: None, **more)


@pytest.fixture
def broken(monkeypatch):
    """A model that can be loaded, and gives no numbers for this image."""
    real = Predictor.run

    def run(self, resolved, *arguments):
        if resolved.spec.id == "maskrcnn-cells":
            raise BadCheckpointError(Message.of("This model gave <b>no numbers</b>."))
        return real(self, resolved, *arguments)

    monkeypatch.setattr(Predictor, "run", run)


def test_a_model_that_is_not_there_is_told_and_left_out():
    shown, told, *_ = compared(["unet-cells", "no-such-model", "segformer-cells"])
    assert len(shown.results) == 2 and "<b>no-such-model</b>" in told and told.count('role="alert"') == 1
    with pytest.raises(Exception, match="no-such-model"):
        compared(["unet-cells", "no-such-model"])


def test_region_methods_have_no_classes_to_compare_by():
    assert not any(spec.task == "region" for task in menu.learnt() for spec in menu.specs(task))
    shown, told, *_ = compared(["unet-cells", "otsu", "segformer-cells", "slic"])
    assert len(shown.results) == 2 and told.count("Region methods have no classes") == 2
    _, told, *_ = compared(["unet-cells", "otsu", "segformer-cells"], looks=2)
    assert told.count("Region methods have no classes") == 1, "whatever else is asked for"
    for alone in (["otsu", "slic"], ["unet-cells", "watershed"]):
        with pytest.raises(Exception, match="Region methods have no classes"):
            compared(alone)


def test_a_model_without_an_answer_is_told_and_left_out(broken):
    shown, told, *_ = compared(["maskrcnn-cells", "unet-cells", "segformer-cells"])
    assert len(shown.results) == len(shown.titles) == len(shown.memory) == 2
    assert "<b>maskrcnn-cells</b> This model gave &lt;b&gt;no numbers" in told
    with pytest.raises(Exception, match="gave .*no numbers"):
        compared(["unet-cells", "maskrcnn-cells"])


def test_what_looks_once_is_left_out_where_several_looks_are_compared():
    shown, told, *_ = compare_tab.run_compare(
        COINS, ["maskrcnn-cells", "unet-cells", "segformer-cells"], 0.5, None, None, lambda *_, **__: None, detail="full", looks=2
    )
    picture = np.asarray(Image.open(COINS.path).convert("RGB"))
    for result, model in zip(shown.results, ("unet-cells", "segformer-cells"), strict=True):
        expected = load_model(model, device="cpu").predict(picture, detail="full", looks=2)
        assert (result.id_map == expected.id_map).mean() > 0.9999, model
    assert "maskrcnn-cells looks at a picture once" in told
    with pytest.raises(Exception, match="detail must be"):
        compare_tab.run_compare(COINS, ["unet-cells", "segformer-cells"], 0.5, None, None, detail="most")


def test_the_truth_needs_its_own_model(broken, tmp_path):
    truth = tmp_path / "truth.png"
    with Image.open(COINS.path) as image:
        Image.fromarray(np.zeros(image.size[::-1], np.uint8)).save(truth)
    with pytest.raises(Exception, match="gave .*no numbers"):
        compared(["maskrcnn-cells", "unet-cells", "segformer-cells"], str(truth))
    assert len(compared(["unet-cells", "maskrcnn-cells", "segformer-cells"], str(truth))[0].results) == 2


def test_what_is_wrong_with_the_server_is_no_models_fault(monkeypatch):
    def full(*_, **__):
        raise BusyError(Message.of("As many are there as are accepted."))

    monkeypatch.setattr(Predictor, "run", full)
    with pytest.raises(Exception, match="As many are there"):
        compared(["unet-cells", "segformer-cells", "maskrcnn-cells"])


@pytest.mark.parametrize("models", [None, "otsu", [], ["otsu"], ["otsu", "otsu"], [{"a": 1}, ["otsu"]], ["otsu", 7, None]])
def test_what_is_no_list_of_models(models):
    with pytest.raises(Exception, match="Two to 4 different models can be compared"):
        compared(models)


def test_what_was_understood_is_said_below_the_pictures(tmp_path):
    """Of the picture, the truth, and how well the models know such pictures; in the viewer's own data."""
    pages = [Image.fromarray(data.astronaut()[:256, :256])] * 3
    picture, truth = tmp_path / "pages.tif", tmp_path / "truth.png"
    pages[0].save(picture, save_all=True, append_images=pages[1:])
    Image.fromarray(np.array([0, 127, 255], np.uint8)[np.arange(256) // 86][None].repeat(256, 0)).save(truth)
    told = compare_tab.run_compare(Upload(picture, "pages"), ["unet-cells", "segformer-cells"], 0.5, str(truth), None, lambda *_, **__: None)
    first, second, *own = compare_tab.ComparisonViewer().postprocess(told[0])["notes"]
    assert first == "This file has 3 pages; the first is shown."
    assert second.startswith("Ground truth: This mask holds as many greys as there are classes") and "127 = cell" in second
    assert [note.split(": ")[0] for note in own] == list(told[0].titles) and all("unlike those" in note for note in own)


@pytest.fixture(scope="module")
def panoptic_truth(tmp_path_factory):
    """What Mask R-CNN sees of the coins, as a person would have drawn it: one coin left out, one that nobody found, a crowd."""
    shown, *_ = compared(["maskrcnn-cells", "unet-cells"])
    found, folder = shown.results[0], tmp_path_factory.mktemp("truth")
    ids = np.where(found.id_map == 1, 0, found.id_map.astype(np.uint32) + 70_000 * (found.id_map > 0))
    ids[:40, :40] = 9
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(folder / "coins.png")
    seen = [number for number in range(2, len(found.segments) + 1) if (found.id_map == number).any()]
    segments = [{"id": 70_000 + number, "category_id": 18, "iscrowd": 0} for number in seen]
    segments.append({"id": 9, "category_id": 18, "iscrowd": 0})
    told = {
        "categories": [{"id": 18, "name": "Cell", "isthing": 1}, {"id": 3, "name": "tree", "isthing": 1}],
        "annotations": [{"image_id": 5, "file_name": "coins.png", "segments_info": segments}],
    }
    (folder / "panoptic.json").write_text(json.dumps(told))
    return folder, len(seen), shown


def test_segments_are_matched_with_a_panoptic_truth(panoptic_truth):
    folder, seen, _ = panoptic_truth
    shown, table, listed, _ = compared(["maskrcnn-cells", "unet-cells"], [str(folder / "coins.png"), str(folder / "panoptic.json")])
    (matched,) = shown.matched
    assert (matched.first, len(matched.matching.matches), len(matched.matching.missed)) == ("truth", seen, 1)
    # The coin that was left out lies in void, and is held against nobody.
    assert not [i for i in matched.matching.extra if i == 1] and set(np.unique(matched.pixels).tolist()) >= {0, 1, 2}
    rows = list(csv.DictReader(Path(listed.value["path"]).open(encoding="utf-8")))
    row = next(row for row in rows if row["first"] == "truth" and row["pq"])
    assert float(row["pq"]) == pytest.approx(seen / (seen + 0.5 + len(matched.matching.extra) / 2)) and row["only_first"] == "1"
    assert "PQ" in table and f"{seen} / 1 / {len(matched.matching.extra)}" in table
    sent = compare_tab.ComparisonViewer().postprocess(shown)
    assert sent["matched"][0]["counts"] == [seen, 1, len(matched.matching.extra)] and len(sent["matchedColors"]) == 4
    # A network of classes has no segments of its own to match.
    assert not any(row["pq"] for row in rows if row["second"] != row["first"] and "U-Net" in (row["first"], row["second"]))


def test_a_panoptic_truth_that_is_none_is_refused_with_a_sentence(panoptic_truth, tmp_path):
    folder, _, shown = panoptic_truth
    png, told = folder / "coins.png", json.loads((folder / "panoptic.json").read_text())
    several = [{**told["annotations"][0], "file_name": name} for name in ("a.png", "b.png")]
    for name, content, said in (
        ("list.json", [], "not of COCO's panoptic format"),
        ("broken.json", "{", "not of COCO's panoptic format"),
        ("ids.json", {**told, "annotations": [{**told["annotations"][0], "segments_info": []}]}, "none of the 0 in its JSON"),
        ("other.json", {**told, "annotations": several}, "none is called coins.png"),
    ):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(BadRequestError, match=said):
            compare_tab._read_truth([str(png), str(tmp_path / name)], *shown.results[0].id_map.shape)
    with pytest.raises(BadRequestError, match="2 pictures and 0 JSON files"):
        compare_tab._read_truth([str(png), str(png)], *shown.results[0].id_map.shape)


def test_a_truth_of_another_size_is_refused_before_a_model_has_run(monkeypatch, tmp_path):
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(tmp_path / "small.png")
    ran = []
    monkeypatch.setattr(Predictor, "run", lambda *_, **__: ran.append(1))
    with pytest.raises(Exception, match="9 x 7"):
        compared(["unet-cells", "segformer-cells"], str(tmp_path / "small.png"))
    assert not ran

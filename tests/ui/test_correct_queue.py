"""The queue of the tab Correct: what goes in, in which order, and what a browser may name."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from gradio import route_utils, utils
from gradio.context import LocalContext
from PIL import Image

from seg_demo.core.settings import Settings
from seg_demo.datasets import store
from seg_demo.ui import batch_tab, correct_tab
from seg_demo.ui.components import EXAMPLES
from seg_demo.ui.correct_tab import Item, make_queue, ranked
from seg_demo.ui.editor import Document, Refusal, predicted

REQUEST = SimpleNamespace(headers={"accept-language": "en"})
KEY = "k" * 40


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setattr(utils, "get_upload_folder", lambda: str(folder))
    return folder


def archive(path: Path) -> str:
    """Two pictures, one of them in a folder, and a file that is none."""
    picture = Image.open(EXAMPLES / "coins.png").crop((0, 0, 60, 40))
    picture.save(path.with_suffix(".png"))
    with zipfile.ZipFile(path, "w") as file:
        for name in ("a.png", "deep/b.png"):
            file.write(path.with_suffix(".png"), name)
        file.writestr("bad.png", "no image")
    return str(path)


def test_the_least_sure_come_first_and_the_unknown_last():
    items = [Item("a", "", None), Item("b", "", 0.9), Item("c", "", 0.2), Item("d", "", None), Item("e", "", 0.9)]
    assert "".join(item.name for item in ranked(items)) == "cbead"


def test_pictures_are_opened_one_after_the_other(uploads, monkeypatch):
    monkeypatch.setattr(store, "settings", lambda: Settings(data=str(uploads.parent / "data"), collect="on"))
    queue = make_queue([archive(uploads / "many.zip")], "model", "otsu", REQUEST, lambda *_, **__: None)
    assert [item.name for item in queue.items] == ["a.png", "deep/b.png"] and [item.margin for item in queue.items] == [None, None]
    assert [name for name, _ in queue.failed] == ["bad.png"] and "bad.png" not in queue.failed[0][1]
    asked = ("", "semantic", "coin", "blank", None, None, [], None)

    def opened(dataset: str, **item: object) -> Document | Refusal:
        return correct_tab.open_item(KEY, dataset, *asked, SimpleNamespace(_data={"item": item}), REQUEST)[0]

    first = opened(correct_tab.NEW, name="a.png", path=queue.items[0].path, done=None)
    assert (first.name, first.queue, first.image.shape, first.dataset_name) == ("a", queue.items[0].path, (40, 60, 3), "Corrections")
    second = opened(first.dataset, name="deep/b.png", path=queue.items[1].path, done=None)
    assert second.dataset == first.dataset and second.stem is None
    # What is done comes back as it was saved; what has been deleted meanwhile begins anew.
    dataset = store.visitor_store(KEY).open(first.dataset)
    mask = np.zeros((40, 60), np.uint8)
    mask[5:9, 7:20] = 1
    stem = dataset.add(queue.items[0].path, mask, correct_tab.Facts(), name="a").stem
    again = opened(first.dataset, name="a.png", path=queue.items[0].path, done={"dataset": first.dataset, "stem": stem})
    assert again.stem == stem and again.queue == queue.items[0].path and np.array_equal(again.drawing.ids, mask)
    dataset.delete(stem)
    assert opened(first.dataset, name="a.png", path=queue.items[0].path, done={"dataset": first.dataset, "stem": stem}).stem is None
    # A browser may name anything; only uploads are opened.
    for path in (str(EXAMPLES / "coins.png"), "/etc/passwd", None, 7):
        refusal = opened(first.dataset, name="x", path=path, done="no")
        assert isinstance(refusal, Refusal) and "no longer" in refusal.text


def test_what_makes_no_queue_is_said(uploads):
    with pytest.raises(gr.Error, match="image"):
        make_queue([], "blank", None, REQUEST)
    bad = uploads / "bad.png"
    bad.write_text("no image")
    with pytest.raises(gr.Error):
        make_queue([str(bad)], "model", "otsu", REQUEST, lambda *_, **__: None)


def test_one_picture_makes_a_queue_whatever_an_archive_leaves_out(uploads):
    """As many files failed as there are pictures, but one of them lay outside the archive's folder: that is none of the pictures."""
    packed = archive(uploads / "many.zip")
    with zipfile.ZipFile(packed, "w") as file:
        for name in ("a.png", "deep/b.png"):
            file.write(EXAMPLES / "coins.png", name)
        file.writestr("z.png", "no image")
        for name in ("../climb.png", "../../climb.png"):
            file.writestr(name, "x")
    queue = make_queue([packed], "model", "otsu", REQUEST, lambda *_, **__: None)
    assert [item.name for item in queue.items] == ["a.png", "deep/b.png"] and len(queue.failed) == 3


def test_a_picture_of_a_batch_is_looked_at_again(uploads):
    ran = batch_tab.Ran([archive(uploads / "many.zip")], "otsu")
    row, picker = batch_tab.pictures_of(ran)
    assert row.visible and [name for name, _ in picker.choices] == ["a.png", "deep/b.png", "bad.png"]
    result, again = batch_tab.look_at(picker.choices[1][1], ran, progress=lambda *_, **__: None)
    assert result is again and result.shown.task == "region" and result.upload.stem == "b"
    assert batch_tab.look_at(None, ran) == (None, None)
    for named, known in ((str(EXAMPLES / "coins.png"), ran), (picker.choices[1][1], None)):
        with pytest.raises(gr.Error, match="no longer"):
            batch_tab.look_at(named, known)
    # Areas are in the unit that was typed for the batch.
    sized, _ = batch_tab.look_at(picker.choices[1][1], replace(ran, pixel=0.5, unit="mm"), progress=lambda *_, **__: None)
    assert result.shown.calibration is None and sized.shown.calibration.pixel_size == (0.5, 0.5) and sized.shown.calibration.unit == "millimeter"


@pytest.mark.parametrize("ask", [lambda file: batch_tab.pictures_of(batch_tab.Ran([file], "otsu")), lambda file: make_queue([file], "blank", None, REQUEST)])
def test_what_was_unpacked_goes_when_uploads_do(uploads, monkeypatch, ask):
    page, packed = gr.Blocks(), archive(uploads / "many.zip")
    token = LocalContext.blocks.set(page)
    try:
        ask(packed)
        assert len(list(uploads.rglob("a.png"))) == 1
        route_utils.delete_files_created_by_app(page, 0)
        assert not [path for folder in uploads.iterdir() if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
        monkeypatch.setattr(batch_tab, "settings", lambda: Settings(max_batch_files=1))
        before = set(uploads.iterdir())
        with pytest.raises(gr.Error):
            ask(packed)
        assert set(uploads.iterdir()) == before
    finally:
        LocalContext.blocks.reset(token)


def test_strokes_that_teach_nothing_get_a_sentence(uploads, tmp_path):
    """The server function of *Predict the rest*: masks of another size, of one class, and files of others."""
    Image.new("RGB", (40, 30), (200, 0, 0)).save(uploads / "picture.png")
    Image.new("L", (40, 30), 255).save(tmp_path / "elsewhere.png")
    strokes = np.full((30, 40), 255, np.uint8)
    for name, size, values in (("small", (20, 40), (0, 1)), ("one", (30, 40), (1, 1))):
        strokes = np.full(size, 255, np.uint8)
        strokes[3], strokes[9] = values
        Image.fromarray(strokes).save(uploads / f"{name}.png")
    picture = str(uploads / "picture.png")
    assert "40 x 20" in predicted({"path": picture, "mask": str(uploads / "small.png")})["error"]
    assert "at least two classes" in predicted({"path": picture, "mask": str(uploads / "one.png")})["error"]
    for request in ({"path": picture, "mask": str(tmp_path / "elsewhere.png")}, {"path": picture}, {}, None, [1]):
        assert predicted(request)["error"] and "elsewhere" not in predicted(request)["error"]

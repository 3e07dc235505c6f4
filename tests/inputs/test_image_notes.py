"""What is said of how a picture was read reaches the result, the page in its language, the command line and a batch's tables."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import tifffile
from gradio.context import LocalContext

from seg_demo.__main__ import main
from seg_demo.gateway.visitor import Upload
from seg_demo.inputs.images import decode, pixels_of, read
from seg_demo.outputs.batch import Summary
from seg_demo.serving.predictor import load_model
from seg_demo.ui.components import SegmentationViewer
from seg_demo.ui.results import CachedResult, Result, preview_of
from tests.ui.test_i18n_errors import Browser

NOTE = "This file has 3 pages; the first is shown."


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "stack.tif"
    pages = np.random.default_rng(0).integers(0, 4000, (3, 40, 50), dtype=np.uint16)
    tifffile.imwrite(path, pages, photometric="minisblack")
    return path


def test_a_result_says_how_its_picture_was_read(stack):
    model, picture = load_model("otsu"), read(stack)
    assert picture.notes == (NOTE,) and pixels_of(picture) == 2000
    assert decode(picture) is picture.pixels and read(picture) is picture
    for source in (picture, stack, stack.read_bytes()):
        result = model.predict(source)
        assert result.notes == (NOTE,) and result.to_dict()["notes"] == [NOTE]
    assert model.predict(picture.pixels).to_dict()["notes"] == []


@pytest.mark.parametrize(("language", "said"), [("en", NOTE), ("zh-CN", "该文件有 3 页，显示的是第一页。")])
def test_the_page_says_it_in_its_language(stack, language, said):
    picture = read(stack)
    result = Result(Upload(stack, "stack"), CachedResult(load_model("otsu").predict(picture)), 0.5, preview_of(picture.pixels))
    token = LocalContext.request.set(Browser(language))
    try:
        assert SegmentationViewer().postprocess(result)["notes"] == [said]
    finally:
        LocalContext.request.reset(token)


def test_the_command_line_and_its_tables_say_it(stack, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["segment", str(stack), "--model", "otsu", "--out", str(out)]) == 0
    assert f"note: {stack}: {NOTE}" in capsys.readouterr().err
    assert json.loads((out / "stack" / "result.json").read_text())["notes"] == [NOTE]
    assert list(csv.reader(io.StringIO((out / "notes.csv").read_text()))) == [["image", "note"], ["stack.tif", NOTE]]


def test_no_table_of_notes_where_there_is_nothing_to_say(tmp_path):
    result = load_model("otsu").predict(np.zeros((20, 30, 3), np.uint8))
    summary = Summary(tmp_path, 1, result.labels, None)
    summary.add("a.png", result.to_dict(), result.id_map, np.zeros((20, 30, 3), np.uint8))
    assert "notes.csv" not in {path.name for path in summary.close()}

"""The strip's server side: what it is told, what it refuses, and that whatever works on an upload works on the view that was chosen of it."""

from __future__ import annotations

import inspect
import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import tifffile
from gradio import utils
from gradio.helpers import special_args
from PIL import Image

from seg_demo.core.picture import View
from seg_demo.core.settings import Settings
from seg_demo.datasets import store
from seg_demo.datasets.store import visitor_store
from seg_demo.gateway.visitor import Upload
from seg_demo.inputs.images import decode, read
from seg_demo.ui import batch_tab, click_tab, components, correct_tab, editor, segment_tab
from seg_demo.ui.components import first_look, look_again, viewed
from seg_demo.ui.results import make_file, viewer_value
from tests.inputs.test_scientific import here  # noqa: F401  (a file is read in this process)
from tests.scientific_files import PLACES, dicom, raster
from tests.served import ROOT

COINS = ROOT / "seg_demo/ui/examples/coins.png"
Y, X = np.mgrid[:60, :80]
REQUEST = SimpleNamespace(headers={"accept-language": "en"})
METHOD = [parameter.default for row in segment_tab.METHODS.values() for parameter in row.parameters]


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """Three planes with a bright square that grows, among the uploads."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setattr(utils, "get_upload_folder", lambda: str(folder))
    array = np.full((3, 60, 80), 100, "u2")
    for z in range(3):
        array[z, 10 : 20 + 10 * z, 10:30] = 4000
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(folder / "a.ome.tif", array, ome=True, photometric="minisblack", metadata={"axes": "ZYX", **size})
    return folder / "a.ome.tif"


def test_a_strip_is_told_what_there_is_to_choose(stack, tmp_path):
    told = first_look(Upload(stack, "a"))
    assert (told["of"], told["ask"], told["size"], told["counts"], told["bits"]) == (str(stack), 0, [80, 60], {"page": 1, "t": 1, "z": 3}, 16)
    assert told["view"] == {"page": 0, "z": 1, "t": 0, "channels": [0], "window": "auto", "gamma": 1.0}
    assert (told["pixel_size"], told["unit"], told["metres"]) == ([0.5, 0.5], "micrometer", pytest.approx([5e-7, 5e-7]))
    Image.open(components.ViewStrip().postprocess(told)["picture"]["path"]).verify()
    again = look_again(Upload(stack, "a"), {"of": str(stack), "view": {"z": 2, "window": [0, 5000]}, "ask": 4})
    assert (again["ask"], again["view"]["z"], again["ends"]) == (4, 2, [[0.0, 5000.0]])
    # Of all pages, one is shown; of several files, the first that is no photograph.
    assert look_again([str(COINS), str(stack)], {"of": str(stack), "view": {"page": "all"}, "ask": 1})["view"]["z"] == 1
    assert first_look([str(COINS), "many.zip", str(stack)])["of"] == str(stack)
    (tmp_path / "bad.tif").write_bytes(stack.read_bytes()[:200])
    assert first_look(Upload(COINS, "coins")) is None and first_look(None) is None and first_look(Upload(tmp_path / "bad.tif", "bad")) is None
    scan = np.tile(np.arange(2000, dtype="i2"), (10, 1))
    dicom(tmp_path / "ct.dcm", scan, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 600], WindowWidth=[400, 1600])
    windows = first_look(Upload(tmp_path / "ct.dcm", "ct"))["windows"]
    assert windows[:2] == [["dicom", -160.0, 239.0], ["dicom", -200.0, 1399.0]] and ["lung", -1350.0, 150.0] in windows
    raster(tmp_path / "place.tif", np.zeros((1, 20, 30), "u2") + Y[:20, :30].astype("u2"), *PLACES["utm"])
    place = first_look(Upload(tmp_path / "place.tif", "place"))
    assert (place["crs"], place["metres"]) == ("EPSG:32633", [10.0, 10.0])


@pytest.mark.parametrize(
    ("view", "said"), [({"z": 9}, "asks for z 9, but this file has 3"), ({"window": [5, "x"]}, "the second is larger"), ([1], "JSON object"), ({"gamma": 0}, "from 0.1 to 10")]
)
def test_what_a_file_does_not_have_is_a_sentence_in_the_strip(stack, view, said):
    told = look_again(Upload(stack, "a"), {"of": str(stack), "view": view, "ask": 2})
    assert said in told["why"] and told["ask"] == 2 and "picture" not in told
    # Segment says the same.
    with pytest.raises(gr.Error, match=said):
        viewed(segment_tab.run_method)(Upload(stack, "a"), {"of": str(stack), "view": view}, "otsu", *METHOD, None)


def test_a_plane_without_data_is_no_end_of_looking(stack):
    array = np.full((3, 60, 80), np.nan, "f4")
    array[0, 5, 5], array[2] = np.inf, X
    tifffile.imwrite(stack, array, photometric="minisblack", metadata={"axes": "ZYX"}, ome=True)
    told = first_look(Upload(stack, "a"))
    assert "are NaN" in told["empty"] and (told["counts"]["z"], told["view"]["z"]) == (3, 1)
    assert "1 of its values are infinite" in look_again(Upload(stack, "a"), {"of": str(stack), "view": {"z": 0}, "ask": 1})["empty"]
    again = look_again(Upload(stack, "a"), {"of": str(stack), "view": {"z": 2}, "ask": 1})
    assert again["empty"] is None and again["histogram"]["high"] > 70
    # Where nothing else can be chosen, and of what is to be segmented, it is refused as ever.
    with pytest.raises(gr.Error, match="all of its pixels are NaN"):
        viewed(segment_tab.run_method)(Upload(stack, "a"), {"of": str(stack), "view": None}, "otsu", *METHOD, None)
    tifffile.imwrite(stack, array[0], photometric="minisblack", ome=True)
    assert first_look(Upload(stack, "a")) is None


def test_only_what_was_chosen_for_this_very_file_counts():
    seen = []
    handler = viewed(lambda upload, *others: seen.append((upload, others)))
    upload = Upload(COINS, "coins")
    for sent in (None, {"of": "other", "view": {"z": 1}}, {"of": str(COINS), "view": None}):
        handler(upload, sent, 1)
    handler(None, {"of": str(COINS), "view": {"z": 1}}, 1)
    assert seen == [(upload, (1,))] * 3 + [(None, (1,))]
    for sent in ({"of": str(COINS), "view": {"z": 1}}, {"z": 1}):
        handler(upload, sent, 1)
        assert seen[-1] == (replace(upload, view={"z": 1}), (1,))
    # gradio still finds where it has to add what is its own.
    assert list(inspect.signature(viewed(segment_tab.run_network)).parameters)[:3] == ["upload", "sent", "model"]
    plain, around = special_args(segment_tab.run_network, [1] * 9), special_args(viewed(segment_tab.run_network), [1] * 10)
    assert around[1] == plain[1] + 1 and len(around[0]) == len(plain[0]) + 1
    assert special_args(viewed(click_tab.everything), [1, 2])[2] == 2


def test_another_view_is_another_question_and_its_file_says_so(stack, monkeypatch):
    monkeypatch.setattr(correct_tab, "may_collect", lambda: False)
    run = viewed(segment_tab.run_method)
    first, _ = run(Upload(stack, "a"), {"of": str(stack), "view": {"z": 0}}, "otsu", *METHOD, None)
    again, _ = run(Upload(stack, "a"), {"of": str(stack), "view": {"z": 0}}, "otsu", *METHOD, first)
    assert again is first
    other, _ = run(Upload(stack, "a"), {"of": str(stack), "view": {"z": 2}}, "otsu", *METHOD, first)
    assert (list(other.shown.areas), list(first.shown.areas)) == ([600], [200])
    shown = viewer_value(other)
    assert (shown["of"], shown["view"]["z"], shown["unit"], shown["pixelArea"]) == (str(stack), 2, "um", 0.25)
    assert json.loads(make_file(other, "measurements_json")[1])
    # A correction goes on on what was looked at.
    assert correct_tab._opened("", other, None, REQUEST)[0].view == other.shown.view


def test_a_drawing_is_kept_with_the_plane_that_it_was_drawn_on(stack, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "settings", lambda: Settings(data=str(tmp_path / "data"), collect="on"))
    upload = Upload(stack, "a", {"z": 2, "window": [0, 8000]})
    document = click_tab.open_picture(upload)
    wanted = read(stack, view=upload.view).pixels
    np.testing.assert_array_equal(document.image, wanted)
    mask = stack.with_name("mask.png")
    sent = {
        "doc": "d", "task": "semantic", "classes": [[0, "background"], [1, "cell"]], "objects": [], "background": 0, "name": "a", "seconds": 1, "strokes": 1,
        "source": "blank", "confidence": None, "stem": None, "image": str(stack), "mask": str(mask), "view": document.view.to_dict(),
    }  # fmt: skip
    Image.fromarray((wanted[..., 0] > 100).astype("u1")).save(mask)
    found = editor.drawn_result("k" * 40, sent)
    assert found.shown.to_dict()["view"] == {"page": 0, "z": 2, "t": 0, "channels": [0], "window": [0.0, 8000.0], "gamma": 1.0}
    mine = visitor_store("k" * 40)
    dataset = mine.create("cells", correct_tab.labels_for("cell", None, "semantic"), "semantic")
    _, sample = editor.keep(mine, {**sent, "dataset": dataset.key})
    np.testing.assert_array_equal(decode(sample.image), wanted)


def test_a_batch_takes_one_view_or_all_pages(stack, tmp_path, monkeypatch):
    Image.fromarray(np.asarray(Image.open(COINS))[:60, :80]).save(tmp_path / "photo.png")
    picked = [batch_tab.Picked(stack, "a.ome.tif"), batch_tab.Picked(tmp_path / "photo.png", "photo.png"), batch_tab.Picked(tmp_path / "none.tif", "none.tif")]
    out = tmp_path / "out"
    out.mkdir()
    from seg_demo.serving.predictor import load_model

    *_, report = batch_tab.segment_all(picked, [], load_model("otsu").predict, out, None, threading.Event(), View.parse('{"page": "all"}'))
    assert (report.total, report.done, [fault.name for fault in report.failed]) == (5, 4, ["none.tif"])
    assert sorted(path.relative_to(out).as_posix() for path in (out / "masks").rglob("*.png")) == [
        "masks/a/page-0000.png", "masks/a/page-0001.png", "masks/a/page-0002.png", "masks/photo/page-0000.png",
    ]  # fmt: skip
    ran = batch_tab.Ran([str(stack)], "otsu", view={"of": str(stack), "view": {"page": "all"}})
    row, picker = batch_tab.pictures_of(ran)
    assert [name for name, _ in picker.choices] == [f"a.ome.tif/page-000{index}" for index in range(3)]
    result, _ = batch_tab.look_at(picker.choices[2][1], ran, progress=lambda *_, **__: None)
    assert list(result.shown.areas) == [600]
    monkeypatch.setattr(batch_tab, "settings", lambda: Settings(max_batch_files=2))
    with pytest.raises(Exception, match="2"):
        batch_tab.planned(picked, View("all"))
    one, _ = batch_tab.planned(picked[:2], View(z=0))
    assert [(image.name, image.view) for image in one] == [("a.ome.tif", View(z=0)), ("photo.png", View(z=0))]


def test_a_batch_is_corrected_on_the_planes_that_it_looked_at(stack, monkeypatch):
    monkeypatch.setattr(correct_tab, "may_collect", lambda: False)
    seen = []
    monkeypatch.setattr(correct_tab, "margin_of", lambda path, model, view: seen.append(view))
    asked = ("", correct_tab.NEW, "", "semantic", "cell", "blank", None, None, [], None)
    for view, planes, names in (({"z": 2}, [2], ["a.ome.tif"]), ({"page": "all"}, [0, 1, 2], [f"a.ome.tif/page-000{number}" for number in range(3)])):
        ran = batch_tab.Ran([str(stack)], "otsu", view={"of": str(stack), "view": view})
        queue = correct_tab.queue_of_batch(ran, REQUEST, lambda *_, **__: None)
        assert [item.name for item in queue.items] == names and [view.z for view in seen[-len(planes) :]] == planes
        for item, z in zip(queue.items, planes, strict=True):
            event = SimpleNamespace(_data={"item": {"name": item.name, "path": item.path, "done": None}})
            document = correct_tab.open_item(*asked, event, REQUEST)[0]
            # The browser tells the pictures of a queue by this.
            assert (document.view.z, document.queue) == (z, item.path)
            np.testing.assert_array_equal(document.image, read(stack, view=View(z=z)).pixels)
    assert "no longer" in str(pytest.raises(gr.Error, correct_tab.queue_of_batch, None, REQUEST).value.message)


def test_a_strip_is_no_burden_on_the_page():
    """gr.HTML takes a word in quotes in a script for an event of its own, and what it is named after for a handler: gradio copies all that with each page."""
    told = json.dumps(components.ViewStrip(elem_id="x-view").get_config())
    assert len(told) < 60_000

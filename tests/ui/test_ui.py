"""The page's own parts without a browser: uploads, the viewer's value, the menu, words, and what is imported when."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from seg_demo.core.errors import BadImageError, Message
from seg_demo.core.types import INSTANCE, LabelSet, ModelSpec, Segment, Segmentation, paint, semantic_segmentation
from seg_demo.gateway import queue, visitor
from seg_demo.ui import components, menu, results, segment_tab
from seg_demo.ui.results import CachedResult
from tests.served import ROOT

STATIC = ROOT / "seg_demo/ui/static"
LABELS = LabelSet.from_names(["background", "<b>cell</b>"], background=0)


def instance_result(threshold: float = 0.5) -> results.Result:
    disc = np.hypot(*np.mgrid[-4:5, -4:5]) <= 4
    segments = (Segment(1, 0.9, (2, 3, 11, 12), disc), Segment(1, 0.3, (8, 3, 17, 12), disc))
    everything = Segmentation("instance", 20, 30, LABELS, paint(segments, 20, 30), segments)
    return results.Result(visitor.Upload(Path("missing.png"), "cells"), CachedResult(everything), threshold, b"jpeg")


def decoded(png: bytes) -> np.ndarray:
    rgb = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int64)
    assert not rgb[..., 2].any()
    return rgb[..., 0] + 256 * rgb[..., 1]


def test_the_page_is_built_without_what_is_slow_to_import():
    heavy = ("torch", "torchvision", "transformers", "skimage", "scipy", "timm")
    # A word of our scripts that gradio takes for a setting would put a memory address into the page: findings/gradio_quoted_words.sh.
    code = (
        "import sys; from seg_demo.ui.demo import build_demo; page = build_demo();"
        "settings = [(part['type'], key) for part in page.get_config_file()['components'] for key, value in part['props'].items() if str(value).startswith('functools.partial')];"
        f"print([m for m in {heavy} if m in sys.modules], settings)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("photo.jpg", "photo"),
        ("my photo (1).jpeg", "my-photo-1"),
        ("../../etc/passwd", "passwd"),
        ("..", "image"),
        ("细胞.png", "细胞"),
        ("x" * 300 + ".png", "x" * 80),
        ('a"<b>.png', "a-b"),
    ],
)
def test_downloads_are_named_after_the_upload_safely(name, stem):
    assert visitor.stem_of(name) == stem


def test_an_upload_is_handed_on_undecoded(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"no image")
    got = visitor.Photo().preprocess(ImageData(path=str(path), orig_name="mine.png"))
    assert got == visitor.Upload(path, "mine")
    assert visitor.Photo().preprocess(None) is None


@pytest.mark.parametrize("url", ["data:image/png;base64,@@@@", "data:text/plain,hello", "javascript:alert(1)"])
def test_a_data_url_that_holds_no_file_is_refused_in_words(url):
    with pytest.raises(gr.Error, match="Send"):
        visitor.bytes_of_data_url(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x.png", "https://example.org/x.png", "HTTP://[::1]/x"])
@pytest.mark.parametrize("component", [visitor.Photo, visitor.Files])
def test_addresses_are_not_fetched(component, url):
    with pytest.raises(gr.Error, match="addresses are not downloaded"):
        asyncio.run(component().async_move_resource_to_block_cache(url))


def test_the_threshold_filters_the_session_result_without_a_network():
    shown = instance_result()
    assert len(shown.shown.segments) == 1
    assert len(shown.at(0.2).shown.segments) == 2
    assert not shown.at(1.0).shown.segments


def test_the_viewer_is_told_what_the_table_and_the_id_map_say():
    value = components.SegmentationViewer().postprocess(instance_result(0.2))
    assert (value["task"], value["width"], value["height"], value["background"]) == ("instance", 30, 20, 0)
    assert [row["count"] for row in value["classes"]] == [2]
    assert [(row["id"], row["label"], row["score"]) for row in value["segments"]] == [(1, 1, 0.9), (2, 1, 0.3)]
    ids = decoded(Path(value["ids"]["path"]).read_bytes())
    assert np.array_equal(ids, instance_result(0.2).shown.id_map)
    assert components.SegmentationViewer().postprocess(None) is None


def test_many_ids_reach_the_viewer_exactly():
    ids = np.arange(300 * 300, dtype=np.uint16).reshape(300, 300) % 1000
    labels = LabelSet.from_names([str(index) for index in range(1000)])
    assert np.array_equal(decoded(results.viewer_ids(semantic_segmentation(ids, labels))), ids)


def test_a_huge_id_map_is_thinned_for_the_viewer_only(monkeypatch):
    monkeypatch.setattr(results, "MAX_VIEWER_PIXELS", 50)
    ids = np.repeat(np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3), 5, 0), 5, 1)
    segmentation = semantic_segmentation(ids, LabelSet.from_names(list("abcdef")), None, ids, ids)
    thin = decoded(results.viewer_ids(segmentation))
    assert thin.size <= 50 and set(np.unique(thin)) == set(range(6))


def test_downloads_need_no_network_and_say_so_when_the_upload_is_gone():
    name, content = results.make_file(instance_result(), "mask")
    assert name == "cells_mask.png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), instance_result().shown.id_map)
    for kind in (*results.kinds(INSTANCE), *results.TOOLS):
        if kind in ("zip", "overlay"):
            with pytest.raises(results.BadRequestError, match="Upload it again"):
                results.make_file(instance_result(), kind)
        else:
            assert results.make_file(instance_result(), kind)[1]


def test_what_a_tool_cannot_hold_of_a_result_is_said_with_its_download():
    _, content, lost = results.make_for_tool(instance_result(), "yolo")
    assert content and "scores are left out: yolo has no place for them." in str(lost[0])
    assert results.make_for_tool(instance_result(), "labelme")[2] == ()


def test_a_download_for_a_tool_is_its_file_or_a_zip_of_where_it_looks():
    named = {tool: results.make_file(instance_result(), tool)[0] for tool in results.TOOLS}
    assert named == {
        "yolo": "cells_yolo.zip", "labelme": "cells_labelme.json", "labelstudio": "cells_labelstudio.zip", "cvat": "cells_annotations.xml",
        "voc": "cells_voc.zip", "qupath": "cells_qupath.geojson", "imagej": "cells_rois.zip",
    }  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(results.make_file(instance_result(), "yolo")[1])) as archive:
        assert sorted(archive.namelist()) == ["data.yaml", "labels/cells.txt"]
    assert components.download_for(instance_result(), "", None)[1] == "", "the menu as it was: nothing is made"


def test_what_comes_from_strangers_is_escaped_on_the_page(monkeypatch):
    evil = ModelSpec(
        "a/b", None, "semantic", "<i>", "<script>alert(1)</script>", "<img src=x onerror=1>", "hub", ("<b>",), "<u>"
    )
    monkeypatch.setattr(menu, "specs", lambda task=None: [evil])
    for language in ("en", "zh"):
        page = segment_tab.cards({"a/b": True}, language) + menu.note("a/b", language)
        assert not re.search(r"<(script|img|i|b|u)\b", page)


def test_every_failure_is_a_sentence_and_our_own_mistakes_stay_in_the_log():
    @queue.in_words
    def refuse():
        raise BadImageError(Message.of("The file is <empty>."))

    @queue.in_words
    def fail():
        raise ZeroDivisionError("secret path /root")

    with pytest.raises(gr.Error, match="The file is &lt;empty&gt;") as caught:
        refuse()
    assert caught.value.print_exception is False
    with pytest.raises(gr.Error, match="on the server's side") as caught:
        fail()
    assert "secret" not in str(caught.value)


def test_every_word_exists_in_both_languages():
    for key, pair in components.WORDS.items():
        assert len(pair) == 2 and all(pair), key
    known = set()
    for name in ("viewer", "editor"):  # the editor's words join the viewer's
        text = (STATIC / f"{name}_text.js").read_text(encoding="utf-8")
        keys = [set(re.findall(r"(\w+): [\"\[]", part)) for part in re.split(r"\bzh(?:: |, )\{", text)]
        assert len(keys) == 2 and keys[0] == keys[1]
        known |= keys[0]
        assert {key.removesuffix("Touch") for key in known} <= known, "what is said where fingers point is said in place of something"
        used = set(re.findall(r'data-(?:text|label)="(\w+)"', (STATIC / f"{name}.html").read_text(encoding="utf-8")))
        scripts = "".join(path.read_text(encoding="utf-8") for path in STATIC.glob(f"{name}*.js"))
        assert used | set(re.findall(r'say\("(\w+)"\)', scripts)) <= known, name
    for spec in menu.specs():
        assert menu.about(spec, "zh") != menu.about(spec, "en") == spec.about and menu.title(spec, "en") == spec.title, spec.id


def test_the_note_says_what_cannot_be_used_now_and_that_a_licence_is_its_own():
    of = "facebook/mask2former-swin-tiny-coco-panoptic"
    for language, gone, licence in (("en", "cannot be used now", "Licence: its own"), ("zh", "目前不可用", "自有许可")):
        assert gone in (note := menu.note(of, language, {of: False})) and licence in note and "other" not in note
        assert gone not in menu.note(of, language, {of: True}) + menu.note(of, language)


def test_gradio_renders_the_viewer_once():
    # gradio evaluates templates as Handlebars and as a JavaScript template literal.
    for name in ("viewer.html", "viewer.css"):
        text = (STATIC / name).read_text(encoding="utf-8")
        assert not re.search(r"\$\{|\{\{|`|\\", text), name


def test_the_owners_menu_may_lack_a_task(monkeypatch):
    monkeypatch.setattr(menu.catalog, "default_model", lambda task: (_ for _ in ()).throw(menu.ModelNotFoundError(Message.of("none"))))
    assert menu.best("instance") is None


def test_a_pinned_model_is_asked_for_with_its_revision():
    spec = replace(menu.specs()[0], id="a/b", revision="v1")
    assert spec.key == "a/b@v1"


def test_a_tab_whose_kind_of_model_is_not_on_the_menu_says_so(tmp_path):
    from seg_demo.ui.segment_tab import run_network

    assert "no model of this kind" in menu.note(None, "en") and "没有这类模型" in menu.note("", "zh")
    assert "id that you typed" in menu.note("ann/cells", "en")
    with pytest.raises(gr.Error, match="No model is chosen"):
        run_network(visitor.Upload(tmp_path / "missing.png", "missing"), None, 0.5, "whole")

"""In Chromium: a panoptic result lists things one by one and stuff per class, is toggled, named under the pointer, doubted and taken away."""

from __future__ import annotations

import zipfile

import gradio as gr
import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from seg_demo.core.types import PANOPTIC, Segment, Segmentation
from seg_demo.gateway.visitor import Upload
from seg_demo.inputs.images import decode
from seg_demo.ui.components import I18N, outcome
from seg_demo.ui.demo import head, stylesheet, theme
from seg_demo.ui.results import CachedResult, Result, preview_of
from tests.outputs.test_export import panoptic, read_as_panopticapi
from tests.pages import RESULT_MS, browser  # noqa: F401
from tests.served import ROOT

PICTURE = ROOT / "seg_demo/ui/examples/coffee.jpg"
TEXT = {"en-US": ("3 things · 2 kinds of stuff", "Each thing"), "zh-CN": ("3 个物体 · 2 类材质", "各个物体")}


def result() -> Result:
    """A sky over a road with two cars and a person, in the picture's size."""
    image = decode(PICTURE)
    height, width = image.shape[:2]
    ids = np.full((height, width), 1, np.uint8)
    ids[height // 2 :] = 2
    boxes = [(0, 0, width, height // 2), (0, height // 2, width, height), (40, 150, 160, 260), (300, 220, 420, 320), (200, 100, 240, 300)]
    for number, (x0, y0, x1, y1) in enumerate(boxes[2:], start=3):
        ids[y0:y1, x0:x1] = number
    segments = tuple(Segment(label, score, box, None) for label, score, box in zip([0, 1, 2, 2, 3], [0.99, 0.9, 0.8, 0.7, 0.6], boxes, strict=True))
    sure = np.full((height, width), 250, np.uint8)
    sure[ids == 5] = 140
    found = Segmentation(PANOPTIC.name, height, width, panoptic().labels, ids, segments, confidence=sure)
    return Result(Upload(PICTURE, "coffee"), CachedResult(found), 0.0, preview_of(image))


@pytest.fixture(scope="module")
def address():
    with gr.Blocks() as demo:
        shown = outcome("panoptic", PANOPTIC)
        made = result()
        demo.load(lambda: (made, made), None, shown.outputs)
    demo.queue()
    _, url, _ = demo.launch(
        prevent_thread_lock=True, quiet=True, theme=theme(), css=stylesheet(), head=head(), i18n=I18N, server_name="127.0.0.1"
    )
    yield url
    demo.close()


@pytest.mark.parametrize(("width", "locale"), [pytest.param(1280, "en-US", marks=pytest.mark.soak), (380, "zh-CN")])
def test_things_are_listed_one_by_one_and_stuff_per_class(browser: Browser, address: str, width: int, locale: str, tmp_path) -> None:  # noqa: F811
    with browser.new_context(viewport={"width": width, "height": 900}, locale=locale) as context:
        page, problems = context.new_page(), []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.set_default_timeout(RESULT_MS)
        page.goto(address)
        viewer = page.locator("#panoptic-viewer")
        expect(viewer.locator(".sv[data-state=shown]")).to_be_visible(timeout=RESULT_MS)
        count, each = TEXT[locale]
        expect(viewer.locator(".sv-count")).to_have_text(count)
        expect(viewer.locator(".sv-legend > li")).to_have_count(6)
        assert [name.split("\n")[0] for name in viewer.locator(".sv-legend > li.sv-class").all_inner_texts()] == ["car", "person", "sky", "road"]
        assert viewer.locator(".sv-objects").count() == 2, "stuff has no list of objects"
        cars = viewer.locator(".sv-class").nth(0)
        expect(cars.locator("summary")).to_have_text(each)
        cars.locator("summary").click()
        expect(cars.locator(".sv-objects li")).to_have_count(2)  # filled when the list says that it is open: an event, some time later
        assert [name.split("\n")[0] for name in cars.locator(".sv-objects li").all_inner_texts()] == ["car #3", "car #4"]
        # One of them goes, and all of a class; what is hidden says so.
        cars.locator(".sv-objects .sv-row").nth(0).click()
        expect(cars.locator(".sv-objects .sv-row").nth(0)).to_have_attribute("aria-pressed", "false")
        expect(cars.locator(".sv-objects .sv-row").nth(1)).to_have_attribute("aria-pressed", "true")
        viewer.locator(".sv-class").nth(2).locator(".sv-row").click()
        expect(viewer.locator(".sv-hiding")).to_be_visible()
        cells = [row.split("\t")[3] for row in viewer.locator("tbody tr").all_inner_texts()]
        assert sorted(cells) == ["1", "2", "–", "–"]
        # The pointer names things by number and stuff by its class.
        stage = viewer.locator(".sv-stage")
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()
        for (x, y), name in {(360 / 600, 270 / 400): "car #4", (500 / 600, 350 / 400): "road"}.items():
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            expect(viewer.locator(".sv-tip b")).to_have_text(name)
        viewer.locator(".sv-doubt").click()
        expect(viewer.locator(".sv-key")).to_be_visible(timeout=RESULT_MS)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the window"
        with page.expect_download() as waiting:
            page.locator("#panoptic-coco_panoptic").click()
        waiting.value.save_as(tmp_path / "x.zip")
        with zipfile.ZipFile(tmp_path / "x.zip") as archive:
            ids, told = read_as_panopticapi({name: archive.read(name) for name in archive.namelist()})
        np.testing.assert_array_equal(ids, result().shown.id_map)
        assert told["images"][0]["file_name"] == "coffee.png" and not problems

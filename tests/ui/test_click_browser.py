"""The click tool in Chromium, by mouse, finger and keys: what a model of the Hub answers is what is shown and taken, and nobody else's pixels."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from seg_demo.core.settings import settings
from seg_demo.gateway.queue import predictor
from seg_demo.hub import lookup
from seg_demo.inference import prompting
from seg_demo.serving.predictor import load_model
from seg_demo.ui import click_tab
from seg_demo.ui.demo import build_demo, launch_arguments
from tests.editing import SIZE, Canvas, begin, mask_of, to_tab
from tests.hub.test_prompt_layouts import files
from tests.hub_stand_in import HubStandIn
from tests.networks.test_clipseg import clipseg_files
from tests.networks.test_sam3 import sam3_files
from tests.pages import COINS, RESULT_MS, Visits, browser, open_tab  # noqa: F401

IMAGE = np.repeat(np.asarray(Image.open(COINS))[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    from huggingface_hub import constants

    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    lookup.forget()
    with HubStandIn() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEG_DEMO_MODELS", "unet-cells, ann/clicks=instance, ann/words=instance, ann/both=instance")
        patch.setenv("SEG_DEMO_DATA", str(tmp_path_factory.mktemp("data")))
        settings.cache_clear()  # another file of this process may have read them
        hub.add_repo("ann/clicks", files("sam"))
        hub.add_repo("ann/words", clipseg_files())
        hub.add_repo("ann/both", sam3_files("sam3"))
        # Once they are here, it is known what they are.
        for model in ("ann/clicks", "ann/words", "ann/both"):
            predictor().get(model)
        demo = build_demo()
        _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_arguments(demo))
        yield url.rstrip("/")
        demo.close()
    settings.cache_clear()
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    lookup.forget()


@pytest.fixture
def visit(browser: Browser, address: str):  # noqa: F811
    visits = Visits(browser)

    def opened(**context: object) -> Page:
        page = visits.page(**{"viewport": {"width": 1280, "height": 1000}, **context})
        to_tab(page, address)
        return page

    yield opened
    visits.end()


def choose(page: Page) -> None:
    """The click tool, with the picture looked at."""
    page.locator(".se-stage").focus()
    with page.expect_response("**/run/click"):
        page.keyboard.press("c")
    expect(page.locator(".se-prompter")).to_have_value("ann/clicks")


def clicked(page: Page, act) -> None:
    """Do what asks the model, and wait until its answer is shown."""
    with page.expect_response("**/run/click"):
        act()
    expect(page.locator(".se-take")).to_be_enabled(timeout=RESULT_MS)
    expect(page.locator(".se-clickstate")).to_contain_text("%")


def pixel(canvas: Canvas, x: float, y: float) -> tuple[tuple[int, int], list[float]]:
    """A place on the screen, and the point of the image that it is."""
    point = canvas.screen(x, y)
    return point, [(point[0] - canvas.left - canvas.x) / canvas.scale, (point[1] - canvas.top - canvas.y) / canvas.scale]


@pytest.mark.soak
def test_clicks_boxes_and_words_are_taken_as_the_model_answers(visit):
    page = visit()
    begin(page, COINS, name="Clicks", task="instance", classes="coin, note")
    choose(page)
    canvas, rows = Canvas(page, SIZE), page.locator(".se-objects .se-row")
    with load_model("ann/clicks").prompt(IMAGE) as session:
        # The pointer rests: shown, not taken; the click there needs no further answer.
        place, first = pixel(canvas, 100, 100)
        with page.expect_response("**/run/click"):
            page.mouse.move(*place)
        page.mouse.click(*place)
        expect(page.locator(".se-take")).to_be_enabled()
        place, second = pixel(canvas, 220, 180)
        clicked(page, lambda: page.mouse.click(*place, button="right"))
        found = session.segment([first])
        found = session.segment([first, second], [1, 0], previous=found)
        page.keyboard.press("Enter")
        expect(rows).to_have_text(["coin #1"])
        expected = np.zeros(SIZE, np.uint16)
        expected[found.id_map > 0] = 1
        assert 0 < (expected == 1).sum() < expected.size and np.array_equal(mask_of(page), expected)
        # A box is another object, of the chosen class, on what is nobody's.
        page.locator(".se-stage").focus()
        for key in "n2":
            page.keyboard.press(key)
        (start, a), (end, b) = pixel(canvas, 250, 20), pixel(canvas, 350, 110)
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end, steps=3)
        clicked(page, page.mouse.up)
        found = session.segment(box=[*a, *b])
        page.keyboard.press("Enter")
        expect(rows).to_have_text(["coin #1", "note #2"])
        before = expected.copy()
        expected[(found.id_map > 0) & (expected == 0)] = 2
        assert (found.id_map[before == 1] > 0).any(), "it reaches into the first one"
        assert np.array_equal(mask_of(page), expected)
        # One step back and forth.
        page.locator(".se-stage").focus()
        page.keyboard.press("Control+z")
        assert np.array_equal(mask_of(page), before)
        # What was undone waits until what is clicked has been taken or dropped; its button says so.
        clicked(page, lambda: page.mouse.click(*start))
        expect(page.locator(".se-redo")).to_be_disabled()
        page.locator(".se-stage").focus()
        page.keyboard.press("Escape")
        expect(page.locator(".se-redo")).to_be_enabled()
        page.keyboard.press("Control+y")
        # A click inside an object corrects that one: its mask is the earlier one. Escape leaves all as it was.
        y, x = np.argwhere(expected == 1)[len(np.argwhere(expected == 1)) // 2]
        place, inside = pixel(canvas, x, y)
        clicked(page, lambda: page.mouse.click(*place))
        expect(page.locator(".se-which")).to_have_text("coin #1")
        page.keyboard.press("Escape")
        expect(page.locator(".se-take")).to_be_disabled()
        assert np.array_equal(mask_of(page), expected)
        page.locator(".se-stage").focus()
        clicked(page, lambda: page.mouse.click(*place))
        found = session.segment([inside], previous=expected == 1)
        page.keyboard.press("Enter")
        expected[expected == 1] = 0
        expected[(found.id_map > 0) & (expected == 0)] = 1
        assert np.array_equal(mask_of(page), expected)
    with load_model("ann/words").prompt(IMAGE) as session:
        found = session.segment(text="cat")
        with page.expect_response("**/run/click"):
            page.locator(".se-prompter").select_option("ann/words")
        page.locator(".se-over").check()
        page.locator(".se-words input").fill("cat")
        clicked(page, lambda: page.locator(".se-words button").click())
        page.locator(".se-take").click()
        expected[found.id_map > 0] = 3
        assert np.array_equal(mask_of(page), expected)
    with load_model("ann/both").prompt(IMAGE) as session:
        # A box is an object, or an example of what else to find.
        with page.expect_response("**/run/click"):
            page.locator(".se-prompter").select_option("ann/both")
        words = page.locator(".se-words input")
        words.fill("")
        hint = words.get_attribute("placeholder")
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end, steps=3)
        with page.expect_response("**/run/click"):
            page.mouse.up()
        expect(words).not_to_have_attribute("placeholder", hint)
        found = session.segment(text="visual", box=[*a, *b])
        with page.expect_response("**/run/click"):
            page.locator(".se-words button").click()
        expect(page.locator(".se-clickstate")).to_contain_text(f"{len(found.segments)} objects")
        page.locator(".se-take").click()
        assert len(found.segments) > 1 and np.array_equal(mask_of(page) > 3, found.id_map > 0)


@pytest.mark.soak
def test_with_a_finger_and_what_goes_wrong_is_said(visit):
    page = visit(viewport={"width": 380, "height": 800}, has_touch=True, locale="zh-CN")
    begin(page, COINS, name="手指", classes="cell, wall")
    canvas, shown = Canvas(page, SIZE), page.locator(".se-clickstate")
    expect(page.locator(".se-help")).to_contain_text("画笔。双指缩放")
    with page.expect_request("**/run/click") as asked:
        page.locator("[data-tool=click]").tap()
    kept = Path(asked.value.post_data_json["data"][0])
    assert all(page.locator(f".se-{name}").bounding_box()["height"] >= 44 for name in ("plus", "minus", "take", "drop"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    # What is said of a click that begins outside; then one inside, one to take away, and both are taken.
    page.locator(".se-minus").tap()
    (place, first), (other, second) = pixel(canvas, 100, 100), pixel(canvas, 220, 180)
    page.touchscreen.tap(*place)
    expect(page.locator(".se-notice")).to_contain_text("请先在对象内部点按")
    page.locator(".se-plus").tap()
    clicked(page, lambda: page.touchscreen.tap(*place))
    page.locator(".se-minus").tap()
    # The server has deleted the picture meanwhile, and forgotten what it remembered of it: sent once more, and looked at anew.
    kept.unlink()
    predictor()._sessions.shrink(0)
    with page.expect_response(lambda answer: "/upload" in answer.url):
        page.touchscreen.tap(*other)
    expect(shown).to_contain_text("%")
    with load_model("ann/clicks").prompt(IMAGE) as session:
        earlier = session.segment([first]).id_map > 0
    with load_model("ann/clicks").prompt(IMAGE) as session:
        found = session.segment([first, second], [1, 0], previous=earlier)
    page.locator(".se-take").tap()
    assert np.array_equal(mask_of(page), (found.id_map > 0).astype(np.uint8)), "into the class"
    # A model that cannot be had, and a picture that nobody answers: a sentence each, and the drawing stays.
    page.locator(".se-prompter").select_option("+")
    page.locator(".se-prompterid").fill("ann/nothing")
    page.locator(".se-prompterid").press("Enter")
    expect(shown).to_contain_text("ann/nothing", timeout=RESULT_MS)
    page.route("**/run/click", lambda route: route.abort())
    page.locator(".se-prompter").select_option("ann/clicks")
    page.locator(".se-plus").tap()
    page.touchscreen.tap(*canvas.screen(300, 30))
    expect(page.locator(".se-notice")).to_contain_text("服务器没有响应")
    page.unroute("**/run/click")
    assert np.array_equal(mask_of(page), (found.id_map > 0).astype(np.uint8))


def test_what_is_clicked_is_cut_out_and_taken_away(visit, monkeypatch):
    for name, value in (("GRID", 3), ("LEAST_SCORE", -1.0), ("LEAST_STEADINESS", -1.0)):
        monkeypatch.setattr(prompting, name, value)
    page = visit()
    open_tab(page, "Click")
    shown, rows = page.locator("#click-editor .se"), page.locator("#click-editor .se-objects .se-row")
    # What is shown comes when this test has seen that it is on its way.
    seen, made = threading.Event(), click_tab.Document
    monkeypatch.setattr(click_tab, "Document", lambda *arguments, **named: seen.wait(60) and made(*arguments, **named))
    page.locator("#click-image input[type=file]").set_input_files(str(COINS))
    expect(page.locator("#click-dock p")).to_contain_text("Working", timeout=RESULT_MS)
    expect(page.locator("#click-dock")).to_be_visible()
    expect(page.locator("#click-cancel")).to_be_hidden()
    seen.set()
    expect(shown).to_have_attribute("data-tool", "click", timeout=RESULT_MS)
    canvas = Canvas(page, SIZE, "#click-editor")

    def taken(kind: str) -> Path:
        with page.expect_download() as waiting:
            page.locator(f"#click-{kind}").click()
        return Path(waiting.value.path())

    page.locator("#click-cutout").click()
    expect(page.locator(".toast-wrap")).to_contain_text("nothing to cut out")
    page.locator(".toast-close").first.click()
    place, point = pixel(canvas, 100, 100)
    page.mouse.click(*place)
    # What is shown when a file is asked for is taken.
    cut = np.asarray(Image.open(taken("cutout")))
    expect(rows).to_have_text(["object #1"])
    with load_model("ann/clicks").prompt(IMAGE) as session:
        found = session.segment([point])
        everything = session.everything()
    x0, y0, x1, y1 = found.segments[0].box
    assert np.array_equal(cut[..., 3] == 255, found.segments[0].mask) and np.array_equal(cut[..., :3], IMAGE[y0:y1, x0:x1])
    assert np.array_equal(np.asarray(Image.open(taken("mask"))), (found.id_map > 0).astype(np.uint8))
    assert len(json.loads(taken("geojson").read_text())["features"]) == 1
    # Everything: each thing that a point of the grid means, for what had been drawn.
    before = shown.get_attribute("data-doc")
    seen.clear()
    shown.locator(".se-everything").click()
    expect(page.locator("#click-cancel")).to_be_visible(timeout=RESULT_MS)
    seen.set()
    shown.locator(".se-yes").click(timeout=RESULT_MS)
    expect(shown).not_to_have_attribute("data-doc", before)
    assert everything.segments
    expect(shown.locator(".se-objectcount")).to_have_text(str(len(np.unique(everything.id_map[everything.id_map > 0]))))
    assert np.array_equal(np.asarray(Image.open(taken("mask"))) > 0, everything.id_map > 0)
    # It is there after a reload, and Correct has nothing of it.
    page.reload()
    open_tab(page, "Click")
    expect(rows.first).to_be_visible()
    open_tab(page, "Correct")
    expect(page.locator("#correct-editor .se")).to_have_attribute("data-state", "empty")

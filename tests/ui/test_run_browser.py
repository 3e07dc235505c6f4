"""A run as a person sees it: it is asked once, shows how far it is wherever they look, can be cancelled, and says what is missing."""

from __future__ import annotations

import io
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from seg_demo.ui.components import SPOKEN, Slider
from tests.pages import COINS, RESULT_MS, browser, open_page, open_tab, shown, upload  # noqa: F401  (fixtures)
from tests.surface import quiet

PHONE = {"viewport": {"width": 380, "height": 780}, "has_touch": True, "is_mobile": True}
# What screen readers are told while a page lives.
LISTEN = """window.said = new Set(); new MutationObserver(() => {
  for (const node of document.querySelectorAll(".sr-only, [role=status], [aria-live]")) {
    if (node.textContent.trim()) window.said.add(node.textContent.trim());
  }
}).observe(document, { subtree: true, childList: true, characterData: true })"""


def noise(width: int, height: int) -> bytes:
    """A picture that takes its time in full detail."""
    file = io.BytesIO()
    small = np.random.default_rng(0).integers(0, 255, (height // 60, width // 60, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def asked(page: Page) -> list[str]:
    """The requests that are put into the queue from now on."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.post_data or "") if "/queue/join" in request.url else None)
    return seen


def pick(page: Page, tab: str, name: str) -> None:
    """Choose a model with the mouse, or by touch, and point elsewhere."""
    page.locator(f"#{tab}-model input").click()
    page.locator("ul[role=listbox] li", has_text=name).first.click()
    page.locator("#masthead h1").click()


SLOW = pytest.mark.soak


@pytest.mark.soak
@pytest.mark.parametrize("context", [{}, pytest.param(PHONE, marks=SLOW)], ids=["desk", "phone"])
def test_a_model_that_is_picked_runs_once_and_fails_once(open_page, context):  # noqa: F811
    page = open_page(**context)
    page.locator("#semantic-run").click()
    reason = page.locator("#semantic-viewer .sv-reason")
    expect(reason).to_contain_text("No picture yet")
    expect(reason).to_be_in_viewport()
    upload(page, "semantic", COINS)
    shown(page, "semantic")
    expect(reason).to_be_empty()
    seen = asked(page)
    with page.expect_response("**/queue/data**"):
        pick(page, "semantic", "SegFormer, cells")
    shown(page, "semantic")
    page.wait_for_timeout(1000)
    assert len(seen) == 1, seen
    seen.clear()
    pick(page, "semantic", "FCN ResNet-50")  # nobody serves its weights here
    expect(reason).to_contain_text("That did not work", timeout=RESULT_MS)
    page.wait_for_timeout(1000)
    assert len(seen) == 1, seen
    expect(reason).to_contain_text("cannot be")
    page.locator("#semantic-run").click()  # by the button the same is asked again
    page.wait_for_timeout(1000)
    assert len(seen) == 2, seen


@pytest.mark.soak
@pytest.mark.parametrize("context", [pytest.param({}, marks=SLOW), PHONE], ids=["desk", "phone"])
def test_full_detail_says_how_far_it_is_and_can_be_cancelled(open_page, demo_url, context):  # noqa: F811
    page = open_page(**context)
    page.locator("#semantic-detail input[value=full]").click()
    upload(page, "semantic", {"name": "big.png", "mimeType": "image/png", "buffer": noise(3400, 2720)})
    dock = page.locator("#semantic-dock")
    page.locator("#semantic-run").scroll_into_view_if_needed()
    expect(dock.locator("p")).to_contain_text("Tile", timeout=RESULT_MS)
    expect(dock).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    seen = asked(page)
    page.locator("#semantic-cancel").click()
    expect(dock).to_be_hidden()
    expect(page.locator("#semantic-viewer .sv-reason")).to_contain_text("Cancelled")
    with httpx.Client(base_url=demo_url, timeout=60) as http:
        before = http.get("/metrics").text
        quiet(http)  # the place is free, tiles before the end
        assert 'outcome="LeftError"' in before + http.get("/metrics").text
    assert not seen
    page.locator("#semantic-detail input[value=whole]").click()
    shown(page, "semantic")
    expect(dock).to_be_hidden()


@pytest.mark.soak
def test_a_batch_can_be_cancelled_and_gives_its_place_back(open_page, demo_url):  # noqa: F811
    page = open_page(**PHONE)
    open_tab(page, "Batch")
    file, picture = io.BytesIO(), noise(900, 720)
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(60):
            archive.writestr(f"{index}.png", picture)
    files = page.locator("#batch-files input[type=file]")
    files.set_input_files({"name": "many.zip", "mimeType": "application/zip", "buffer": file.getvalue()})
    dock, run, status = page.locator("#batch-dock"), page.locator("#batch-run"), page.locator("#batch-status")
    for _ in range(3):  # more than may be worked on at a time
        run.click()
        expect(dock.locator("p")).to_contain_text("of 60 images", timeout=RESULT_MS)
        expect(dock).to_be_in_viewport(ratio=1)
        page.locator("#batch-cancel").click()
        expect(status).to_contain_text("no results were saved")
        expect(dock).to_be_hidden()
        expect(run).to_be_enabled()
    with httpx.Client(base_url=demo_url, timeout=60) as http:
        quiet(http)


@pytest.mark.soak
def test_the_number_of_a_threshold_may_be_emptied_and_screen_readers_hear_words(open_page):  # noqa: F811
    page = open_page()
    page.evaluate(LISTEN)
    open_tab(page, "Instance")
    upload(page, "instance", COINS)
    viewer = shown(page, "instance")
    before = viewer.locator(".sv-count").inner_text()
    box = page.locator("#instance-threshold input[type=number]")
    box.focus()
    seen = asked(page)
    for key in ("End", "Backspace", "Backspace", "Backspace", "Backspace"):
        page.keyboard.press(key)
    while not any("null,null]" in each for each in seen):
        page.wait_for_timeout(50)
    expect(viewer.locator(".sv-count")).to_have_text(before, timeout=RESULT_MS)
    page.keyboard.type("7")
    expect(viewer.locator(".sv-nothing")).to_be_visible(timeout=RESULT_MS)
    expect(page.locator(".toast-body")).to_have_count(0)
    page.wait_for_function("window.said.has('Done')")  # what gradio itself would read out as "common.complete"
    assert not page.evaluate("[...window.said].filter(each => each.includes('common.'))")


@pytest.mark.parametrize(
    "came, taken", [(None, 0.5), (0.25, 0.25), (7, 1), (-1e9, 0), ("x", "x"), (True, True), ([], []), (float("inf"), 1)]
)
def test_a_slider_takes_what_its_box_can_hold(came, taken):
    assert Slider(0, 1, 0.5, step=0.01).preprocess(came) == taken
    assert str(Slider(0, 1, 0.5, step=0.01).preprocess(float("nan"))) == "nan"


@pytest.mark.soak
def test_another_tool_moves_neither_the_bar_nor_the_picture(open_page):  # noqa: F811
    page = open_page()
    for width in (1280, 900, 700, 380):
        page.set_viewport_size({"width": width, "height": 900})
        if width == 1280:
            open_tab(page, "Correct")
            page.locator("#correct-image input[type=file]").set_input_files(str(COINS))
            page.locator("#correct-classes textarea, #correct-classes input").first.fill("coin")
            page.locator("#correct-open").click()
            expect(page.locator("#correct-editor .se")).to_have_attribute("data-state", "open", timeout=RESULT_MS)
        places = set()
        for tool in ("pan", "brush", "region", "eraser", "pick"):
            page.locator(f"#correct-editor [data-tool={tool}]").first.click()
            box = page.locator("#correct-editor .se-stage").bounding_box()
            places.add((round(box["y"] + page.evaluate("scrollY"), 1), box["height"]))
        assert len(places) == 1, (width, places)


def test_what_gradio_has_no_words_for_is_still_what_it_asks_for():
    assert set(SPOKEN) == {"common.complete", "status.queue_position"}
    assert all(both[0] != both[1] and "{" not in both[0].replace("{position}", "").replace("{size}", "") for both in SPOKEN.values())

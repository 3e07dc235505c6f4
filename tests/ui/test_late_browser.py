"""In Chromium: what is chosen while an answer is under way counts, and an answer that comes too late moves nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from seg_demo.core.types import INSTANCE, LabelSet, ModelSpec, Segment, Segmentation, paint
from seg_demo.ui import components, segment_tab
from seg_demo.ui.components import I18N
from seg_demo.ui.demo import head, stylesheet, theme
from tests.pages import RESULT_MS, browser, drawn, shown, upload  # noqa: F401

SPEC = ModelSpec("unet-cells", None, "instance", "maskrcnn", "A stand-in", "", "bundled")


def picture(size: tuple[int, int], grey: int) -> dict[str, object]:
    """A file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, (grey,) * 3).save(file, "PNG")
    return {"name": f"{grey}.png", "mimeType": "image/png", "buffer": file.getvalue()}


ONE, OTHER = picture((120, 80), 90), picture((90, 110), 180)


class Slow:
    """In place of the predictor: a sure object at the edge and one of score 0.6, at once unless it is told to wait."""

    def __init__(self) -> None:
        self.wait: dict[str, Event] = {}  # what waits, and until when
        self.began: list[object] = []

    def held(self, name: str, told: object = None) -> None:
        self.began.append(told)
        if (until := self.wait.pop(name, None)) is not None:
            assert until.wait(30)

    @contextmanager
    def work(self, path: object, *_: object, **__: object) -> Iterator[SimpleNamespace]:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        yield SimpleNamespace(picture=SimpleNamespace(pixels=pixels), segment=lambda: self.segment(pixels), explain=self.explain)

    def segment(self, pixels: np.ndarray) -> Segmentation:
        self.held("run")
        height, width = pixels.shape[:2]
        segments = [Segment(1, score, box, np.ones((30, 20), bool)) for score, box in ((0.9, (0, 0, 20, 30)), (0.6, (42, 35, 62, 65)))]
        sure = np.full((height, width), 200, np.uint8)
        return Segmentation(
            "instance", height, width, LabelSet.from_names(("background", "cell"), 0), paint(segments, height, width), tuple(segments), model=SPEC, confidence=sure
        )

    def explain(self, shown: Segmentation, at: tuple[int, int]) -> SimpleNamespace:
        self.held("why", at)
        return SimpleNamespace(at=at, label="cell", frame=(0, 0, 20, 30), values=np.ones((3, 2), np.float32), beyond=None)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with gr.Blocks() as demo:
        segment_tab.network_tab(INSTANCE)
    demo.queue()
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, theme=theme(), css=stylesheet(), head=head(), i18n=I18N, server_name="127.0.0.1")
    yield url
    demo.close()


@pytest.fixture
def slow(monkeypatch) -> Slow:
    made = Slow()
    for module in (components, segment_tab):
        monkeypatch.setattr(module, "predictor", lambda: made)
    return made


@pytest.fixture
def page(browser: Browser, address: str, slow: Slow) -> Iterator[Page]:  # noqa: F811
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        opened, problems = context.new_page(), []
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.set_default_timeout(RESULT_MS)
        opened.goto(address)
        expect(opened.locator("#instance-viewer .sv")).to_be_visible(timeout=RESULT_MS)
        yield opened
        assert not problems


def until(page: Page, true: Callable[[], object]) -> None:
    """Let the page go on until something is true here."""
    for _ in range(1000):
        if true():
            return
        page.wait_for_timeout(10)
    raise AssertionError("never came")


def test_what_is_ticked_while_it_is_measured_is_what_the_table_then_shows(page, slow, monkeypatch):
    upload(page, "instance", ONE)
    shown(page, "instance")
    measured, first = components.measurements_value, slow.wait.setdefault("measure", Event())
    monkeypatch.setattr(components, "measurements_value", lambda *asked: (slow.held("measure", asked[1].inside), measured(*asked))[1])
    table = page.locator("#instance-measured .ms")
    table.locator("summary").click()
    until(page, lambda: False in slow.began)
    table.locator(".ms-inside").check()
    page.wait_for_timeout(100)
    first.set()
    expect(table).to_have_attribute("aria-busy", "false")
    expect(table.locator(".ms-said")).to_have_text("1 object · 1 at the edge left out")
    assert slow.began[-1] is True


def test_what_an_earlier_result_rests_on_or_doubts_moves_nothing(page, slow, monkeypatch):
    upload(page, "instance", ONE)
    viewer = shown(page, "instance")
    ratio = "node => Number(node.style.getPropertyValue('--ratio')).toFixed(2)"
    stage, why = viewer.locator(".sv-stage"), viewer.locator(".sv-why")
    why.click()
    first = slow.wait["why"] = Event()
    stage.click()
    until(page, lambda: len(slow.began) == 2)
    upload(page, "instance", OTHER)
    until(page, lambda: stage.evaluate(ratio) == "0.82")
    expect(why).to_have_attribute("aria-busy", "false")
    # What is asked of this one meanwhile waits, and is then asked as it was.
    stage.click()
    second = slow.wait["why"] = Event()
    first.set()
    until(page, lambda: len(slow.began) == 4)
    drawn(page)
    assert stage.evaluate(ratio) == "0.82" and why.get_attribute("aria-busy") == "true"
    second.set()
    expect(viewer.locator(".sv-parts")).to_be_visible()
    assert stage.evaluate(ratio) == "0.82" and slow.began[3] == pytest.approx((45, 55), abs=1)
    # The same with doubt, and with no picture after it.
    doubted, third = components.Result.with_doubt, slow.wait.setdefault("doubt", Event())
    monkeypatch.setattr(components.Result, "with_doubt", lambda result: (slow.held("doubt", "doubt"), doubted(result))[1])
    viewer.locator(".sv-doubt").click()
    until(page, lambda: slow.began[-1] == "doubt")
    page.locator("#instance-image button[aria-label='Remove Image']").click()
    expect(viewer).to_have_attribute("data-state", "empty")
    third.set()
    page.wait_for_timeout(300)
    expect(viewer).to_have_attribute("data-state", "empty")


def test_a_threshold_that_is_moved_while_the_network_runs_is_that_of_its_result(page, slow):
    running = slow.wait["run"] = Event()
    upload(page, "instance", ONE)
    until(page, lambda: slow.began)
    box = page.locator("#instance-threshold input[type=number]")
    box.fill("0.8")
    box.blur()
    page.wait_for_timeout(100)
    running.set()
    viewer = shown(page, "instance")
    expect(viewer.locator(".sv-count")).to_have_text("1 object")
    # The next run takes it from its start, and is not filtered again.
    upload(page, "instance", OTHER)
    until(page, lambda: len(slow.began) == 2)
    expect(viewer.locator(".sv-count")).to_have_text("1 object")

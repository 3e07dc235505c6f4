"""The page in headless Chromium, and what a person does with it: for every test that looks at a screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, PlaywrightContextManager, Request, expect, sync_playwright

from tests.served import ROOT

COINS = ROOT / "seg_demo/ui/examples/coins.png"
CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RESULT_MS = 120_000


# The pages of earlier tests, by the options of their contexts, which the next test opens again: a renderer that has run the
# page's scripts opens it in less than half the processor time. The last few, since each takes its memory.
_kept: dict[str, Page] = {}
MOST_KEPT = 4
# The Chromium that all files share; conftest.py closes it after the last of them.
_running: tuple[PlaywrightContextManager, Browser] | None = None


@pytest.fixture(scope="module")
def browser() -> Browser:
    global _running
    if CHROMIUM is None:
        pytest.skip("Chromium is missing. Install it (apt-get install chromium), or set CHROMIUM to a Chrome or Chromium.")
    if _running is None:
        playing = sync_playwright()
        _running = playing, playing.__enter__().chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
    return _running[1]


def close() -> None:
    """End Chromium, if it runs."""
    global _running
    if _running is not None:
        (playing, running), _running = _running, None
        _kept.clear()
        running.close()
        playing.__exit__()


# What shall come does: a busy machine takes longer over it than the library's five seconds.
expect.set_options(timeout=20_000)


class Visits:
    """The pages that one test opens, each with nothing stored; :meth:`end` fails if a script of theirs failed."""

    def __init__(self, browser: Browser) -> None:
        self.browser, self.problems = browser, []
        self._pages: dict[Page, bool] = {}  # whether it is kept
        self._heard: list[Callable[[], None]] = []

    def page(self, **context: object) -> Page:
        """A blank page in a context that no other page of this test shares."""
        key = repr(sorted(context.items()))
        page = _kept.get(key)
        if page is None or page in self._pages:
            page = self.browser.new_context(**context).new_page()
            page.set_default_timeout(RESULT_MS)
            self._pages[page] = _kept.setdefault(key, page) is page
        else:
            page.set_viewport_size(context["viewport"])
            self._pages[page] = True
        self.listen(page, "pageerror", lambda error: self.problems.append(f"script: {error}"))
        return page

    def listen(self, page: Page, event: str, heard: Callable[[Any], object]) -> None:
        """Hear an event of a page until the test ends."""
        page.on(event, heard)
        self._heard.append(lambda: page.remove_listener(event, heard))

    def end(self) -> None:
        for stop in self._heard:
            stop()
        for page, kept in self._pages.items():
            if not kept or not emptied(page):
                page.context.close()
                for key in [key for key, each in _kept.items() if each is page]:
                    del _kept[key]
        while len(_kept) > MOST_KEPT:
            _kept.pop(next(iter(_kept))).context.close()
        assert not self.problems


def emptied(page: Page) -> bool:
    """Leave the demo and forget what it stored in the browser; False if that cannot be done, as when its server is gone."""
    address = "/".join(page.url.split("/")[:3])
    try:
        # Of the same origin, so that the renderer stays, and without a script that could store anything.
        page.goto(f"{address}/health")
        page.mouse.move(0, 0)
        page.evaluate("sessionStorage.clear()")
        session = page.context.new_cdp_session(page)
        session.send("Storage.clearDataForOrigin", {"origin": address, "storageTypes": "all"})
        session.detach()
    except Error:
        return False
    return True


@pytest.fixture
def open_page(browser: Browser, demo_url: str):
    """A function that opens the page for another visitor each time and fails the test on script errors and foreign requests."""
    with opening(browser, demo_url) as opened:
        yield opened


@contextmanager
def opening(browser: Browser, demo_url: str) -> Iterator[Callable[..., Page]]:
    """What :func:`open_page` gives, for as long as its user likes."""
    visits = Visits(browser)

    def opened(**context: object) -> Page:
        page = visits.page(**{"viewport": {"width": 1280, "height": 900}, **context})
        visits.listen(page, "request", watch)
        # What the page's load event answers sets the picker: a person would have seen it before acting.
        with page.expect_response("**/run/predict"):
            page.goto(demo_url)
        expect(page.locator("#semantic-viewer .sv")).to_be_visible(timeout=RESULT_MS)
        return page

    def watch(request: Request) -> None:
        if not request.url.startswith((demo_url, "data:", "blob:")):
            visits.problems.append(f"request: {request.url}")

    yield opened
    visits.end()


def upload(page: Page, tab: str, path: object) -> None:
    page.locator(f"#{tab}-image input[type=file]").set_input_files(path if isinstance(path, dict) else str(path))


def shown(page: Page, tab: str):
    viewer = page.locator(f"#{tab}-viewer .sv")
    expect(viewer).to_have_attribute("data-state", "shown", timeout=RESULT_MS)
    return viewer


def open_tab(page: Page, name: str) -> None:
    """Choose a tab; on a narrow screen gradio keeps those that do not fit in a menu."""
    page.get_by_role("tab").first.wait_for()
    page.evaluate("scrollTo(0, 0)")
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.count() or not tab.is_visible():
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.click()


def drawn(page: Page) -> None:
    """Wait until what the last event asked for is on the screen: the viewer draws in the next animation frame."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def hover(page: Page, tab: str, x: float, y: float, size: tuple[int, int]) -> str:
    """Point at a pixel of the image and return what the viewer calls it."""
    stage = page.locator(f"#{tab}-viewer .sv-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    scale = min(box["width"] / size[0], box["height"] / size[1])
    left, top = (box["width"] - size[0] * scale) / 2, (box["height"] - size[1] * scale) / 2
    page.mouse.move(box["x"] + left + (x + 0.5) * scale, box["y"] + top + (y + 0.5) * scale)
    drawn(page)
    tip = stage.locator(".sv-tip")
    return tip.inner_text() if tip.is_visible() else ""


def pixels(page: Page, tab: str, canvas: str) -> int:
    """How many pixels of a canvas of the viewer are painted."""
    script = (
        "node => { const d = node.getContext('2d').getImageData(0, 0, node.width, node.height).data; let n = 0;"
        " for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n; }"
    )
    drawn(page)
    return page.locator(f"#{tab}-viewer .sv-{canvas}").evaluate(script)


def until_heat_changes(page: Page, before: str) -> None:
    """Wait until the doubt of a result in the tab Instance is drawn, and otherwise than it was.

    Args:
        page: the page.
        before: data URL of the layer as it was.
    """
    page.wait_for_function(
        "before => { const node = document.querySelector('#instance-viewer .sv-heat');"
        " return node.style.visibility === 'visible' && node.toDataURL() !== before; }",
        arg=before,
        timeout=RESULT_MS,
    )

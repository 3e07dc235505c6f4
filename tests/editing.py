"""The editor of the Correct tab as the browser tests drive it: by mouse, at places of the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from seg_demo.datasets.dataset import Dataset
from tests.pages import RESULT_MS, Visits, browser, open_tab  # noqa: F401

SIZE = (303, 384)  # height, width of the coins


@pytest.fixture
def data(demo_folder: Path) -> Path:
    """Where the demo keeps its visitors' datasets; every test names its own."""
    return demo_folder / "datasets"


@pytest.fixture
def address(demo_url: str) -> str:
    return demo_url


@pytest.fixture
def visit(browser: Browser):  # noqa: F811
    """A function that opens the tab Correct in a browser profile of its own; script errors fail the test."""
    visits = Visits(browser)

    def opened(address: str, **context: object) -> Page:
        page = visits.page(**{"viewport": {"width": 1280, "height": 1000}, **context})
        to_tab(page, address)
        return page

    yield opened
    visits.end()


def to_tab(page: Page, address: str) -> None:
    page.goto(address)
    chinese = page.evaluate("navigator.language").startswith("zh")
    open_tab(page, "修正" if chinese else "Correct")
    # The key is there once the page's load event has been answered.
    page.wait_for_function("localStorage.getItem('seg-demo-visitor') !== null")
    expect(page.locator("#correct-editor .se")).to_be_visible()


def begin(page: Page, image: object, name: str, task: str = "semantic", classes: str = "cell, wall", start: str = "blank"):
    """Make a dataset and open an image in the editor."""
    page.locator("#correct-name :is(input, textarea)").fill(name)
    page.locator(f"#correct-task input[value={task}]").check()
    page.locator("#correct-classes textarea").fill(classes)
    page.locator(f"#correct-start input[value={start}]").check()
    page.locator("#correct-image input[type=file]").set_input_files(str(image))
    expect(page.locator("#correct-image img")).to_be_visible()
    page.locator("#correct-open").click()
    expect(editor(page)).to_have_attribute("data-state", "open", timeout=RESULT_MS)
    page.locator(".se-stage").scroll_into_view_if_needed()


def editor(page: Page):
    return page.locator("#correct-editor .se")


class Canvas:
    """Where pixels of the image are on the screen, for mouse and oracle alike."""

    def __init__(self, page: Page, size: tuple[int, int], within: str = "#correct-editor") -> None:
        self.page, (self.height, self.width) = page, size
        # Once it stands still: the page scrolls to an image that was opened.
        box = page.evaluate(
            """async (within) => {
              const stage = document.querySelector(within + ' .se-stage');
              const place = () => { const b = stage.getBoundingClientRect(); return [b.left + stage.clientLeft, b.top + stage.clientTop, stage.clientWidth, stage.clientHeight]; };
              let [before, still] = [place(), 0];
              while (still < 10) {
                await new Promise(requestAnimationFrame);
                const now = place();
                still = now.every((value, i) => value === before[i]) ? still + 1 : 0;
                before = now;
              }
              return before;
            }""",
            within,
        )
        self.left, self.top, wide, tall = box
        self.scale = min(wide / self.width, tall / self.height)
        self.x, self.y = (wide - self.width * self.scale) / 2, (tall - self.height * self.scale) / 2

    def screen(self, x: float, y: float) -> tuple[int, int]:
        """Whole screen coordinates near a pixel, well inside the pixel that :meth:`pixel` names."""

        def near(origin: float, at: float) -> int:
            tried = [round(origin + at * self.scale) + shift for shift in range(9)]
            return next(point for point in tried if 0.02 < (point - origin) / self.scale % 1 < 0.98)

        return near(self.left + self.x, x), near(self.top + self.y, y)

    def pixel(self, point: tuple[int, int]) -> tuple[int, int]:
        x, y = (point[0] - self.left - self.x) / self.scale, (point[1] - self.top - self.y) / self.scale
        return int(np.floor(x)), int(np.floor(y))

    def stroke(self, *places: tuple[float, float]) -> list[tuple[int, int]]:
        """Draw with the mouse along places in image pixels; the pixels that it went through."""
        points = [self.screen(*place) for place in places]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point)
        self.page.mouse.up()
        return [self.pixel(point) for point in points]


def swept(size: tuple[int, int], pixels: list[tuple[int, int]], brush: float) -> np.ndarray:
    """bool: pixels whose centre is at most half a brush away from the polyline through the centres of ``pixels``."""
    y, x = np.mgrid[: size[0], : size[1]]
    inside = np.zeros(size, dtype=bool)
    for (ax, ay), (bx, by) in zip(pixels, pixels[1:] or pixels, strict=False):
        dx, dy = bx - ax, by - ay
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1), 0, 1)
        inside |= (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2 <= (brush / 2 + 1e-6) ** 2
    return inside


def current(page: Page) -> int:
    return int(page.locator(".se-sizevalue").inner_text())


def mask_of(page: Page) -> np.ndarray:
    """The mask as it is downloaded."""
    with page.expect_download() as waiting:
        page.locator(".se-download").click()
    return np.array(Image.open(waiting.value.path()))


def dataset_of(data: Path, key: str) -> Dataset:
    return Dataset(next(data.glob(f"*/{key}")))


def save(page: Page) -> None:
    page.locator(".se-save").click()
    expect(page.locator(".se-save")).to_be_enabled(timeout=RESULT_MS)
    expect(editor(page)).to_have_attribute("data-dirty", "false", timeout=RESULT_MS)
    expect(page.locator(".se-notice")).to_contain_text("Saved.")

"""What twenty objects cost by hand in the editor: polygons, the region tool, clicks from nothing, and clicks from a prediction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from skimage.measure import approximate_polygon, find_contours, grid_points_in_poly

from seg_demo.core import rle
from seg_demo.masks import regions
from seg_demo.networks.promptable import central_pixel
from seg_demo.serving import catalog
from synthetic.cells import render
from tests.editing import Canvas, address, begin, data, mask_of, visit  # noqa: F401
from tests.pages import RESULT_MS, browser  # noqa: F401
from train.metrics import overlap

SIDE, WANTED, GOOD, MOST_CLICKS = 512, 20, 0.9, 20
# Of the keystroke-level model (Card, Moran, Newell 1980): to point at something and press, and to press a key, in seconds.
POINT, KEY = 1.3, 0.28


# Keeps what the page is answered to clicks, with what it asked.
HEAR = """
() => {
  window.clickAnswers = [];
  const real = window.fetch;
  window.fetch = async (url, options) => {
    const answer = await real(url, options);
    if (String(url).endsWith("/run/click")) answer.clone().json().then((found) => window.clickAnswers.push([options.body, found]), () => {});
    return answer;
  };
}
"""


@dataclass
class Cost:
    """Pointings and keys of a person, and seconds that the page took for them when nobody waits in between."""

    points: int = 0
    keys: int = 0
    seconds: float = 0.0
    reached: int = 0

    def row(self, name: str) -> str:
        actions = self.points + self.keys
        return f"| {name} | {actions} | {self.points * POINT + self.keys * KEY:.0f} | {self.seconds:.1f} | {self.reached} of {WANTED} |"


class Hand:
    """Acts in the editor and counts what it does."""

    def __init__(self, page: Page, canvas: Canvas) -> None:
        self.page, self.canvas, self.cost = page, canvas, Cost()
        self.answers: list[tuple[str, dict]] = []
        page.evaluate(HEAR)
        page.locator(".se-stage").focus()

    def key(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.cost.keys += 1

    def click(self, x: float, y: float, button: str = "left") -> None:
        self.page.mouse.click(*self.canvas.screen(x, y), button=button)
        self.cost.points += 1

    def answer(self, spot: tuple[float, float]) -> dict:
        """What the server answered to the last click: asked for it, or a moment before it, because the pointer was there already."""
        until = time.monotonic() + RESULT_MS / 1000
        while time.monotonic() < until:
            self.answers += self.page.evaluate("window.clickAnswers.splice(0)")
            for asked, answer in reversed(self.answers):
                prompt = next((json.loads(value) for value in json.loads(asked)["data"] if str(value).startswith("{")), {})
                points = (prompt.get("objects") or [{}])[0].get("points")
                if points and np.abs(np.subtract(points[-1], spot)).max() < 1.5:
                    return answer["data"][0]
            self.page.wait_for_timeout(20)
        raise AssertionError(f"no answer to a click at {spot}; the page says: {self.page.locator('.se-clickstate').text_content()}")


def middle(mask: np.ndarray) -> tuple[float, float]:
    """(x, y) in the middle of the pixel that lies deepest in a mask."""
    x, y = central_pixel(mask)
    return x + 0.5, y + 0.5


def corners(mask: np.ndarray) -> np.ndarray:
    """(x, y) of the corners of the coarsest polygon that is good enough."""
    outline = max(find_contours(np.pad(mask, 1).astype(float), 0.5), key=len) - 1
    for tolerance in (8, 6, 5, 4, 3, 2.5, 2, 1.5, 1, 0.5):
        polygon = approximate_polygon(outline, tolerance)[:-1]
        if len(polygon) > 2 and overlap(grid_points_in_poly(mask.shape, polygon), mask) >= GOOD:
            break
    return polygon[:, ::-1] + 0.5


def polygons(hand: Hand, truth: list[np.ndarray]) -> None:
    hand.key("p")
    for mask in truth:
        for x, y in corners(mask):
            hand.click(x, y)
        hand.key("Enter")


def patches(hand: Hand, truth: list[np.ndarray], image: np.ndarray) -> None:
    """Every superpixel of which more than half lies in the object."""
    hand.key("r")
    hand.page.locator(".se-patches").select_option("2000")
    hand.cost.points += 1
    expect(hand.page.locator(".se-notice")).to_be_hidden(timeout=RESULT_MS)
    hand.page.locator(".se-stage").focus()
    found = regions.segment(image, "slic", regions=2000).id_map
    for mask in truth:
        hand.key("n")
        for number in np.unique(found[mask]):
            patch = found == number
            if (patch & mask).sum() * 2 > patch.sum():
                hand.click(*middle(patch))


def clicks(hand: Hand, truth: list[np.ndarray], start: np.ndarray) -> None:
    """Clicks at the middle of the largest error until the object is good enough, then it is taken; what a prediction has already is left."""
    hand.key("c")
    hand.page.wait_for_function("document.querySelector('.se-clickstate').textContent.includes('Esc')")
    for mask in truth:
        number = int(np.bincount(start[mask]).argmax())
        shown = (start == number) if number else np.zeros_like(mask)
        if overlap(shown, mask) >= GOOD:
            continue
        if not (shown & mask).any():
            shown = np.zeros_like(mask)
        for _ in range(MOST_CLICKS):
            missing, much = mask & ~shown, shown & ~mask
            adds = missing.sum() >= much.sum()
            spot = middle(missing if adds else much)
            hand.click(*spot, button="left" if adds else "right")
            answer = hand.answer(spot)
            # Where a pointer rests the page asks what a click would mean, and a click there takes that answer.
            hand.page.mouse.move(5, 5)
            assert "error" not in answer, answer
            expect(hand.page.locator(".se-take")).to_be_enabled(timeout=RESULT_MS)
            shown = rle.decode(answer["segments"][0]["segmentation"]).astype(bool)
            if overlap(shown, mask) >= GOOD:
                break
        hand.key("Enter")


@pytest.mark.soak
@pytest.mark.skipif(not any(spec.id == "click" for spec in catalog.BUNDLED), reason="no promptable model comes along")
def test_twenty_objects(visit, address, tmp_path):  # noqa: F811
    sample = render(9_137, 5, SIDE, kind="fluorescence")
    numbers, counts = np.unique(sample.instance_map[sample.instance_map > 0], return_counts=True)
    truth = [sample.instance_map == number for number in numbers[np.argsort(-counts)][:WANTED]]
    Image.fromarray(sample.image).save(tmp_path / "cells.png")
    rows = {}
    ways: dict[str, tuple[str, Callable]] = {
        "polygons": ("blank", lambda hand, _: polygons(hand, truth)),
        "region tool": ("blank", lambda hand, _: patches(hand, truth, sample.image)),
        "*Click*, from nothing": ("blank", lambda hand, start: clicks(hand, truth, start)),
        "*Click*, from a prediction": ("model", lambda hand, start: clicks(hand, truth, start)),
    }
    for name, (start, work) in ways.items():
        page = visit(address)
        if start == "model":
            page.locator("#correct-model input").click()
            page.get_by_role("option", name="Mask R-CNN, cells").click()
        begin(page, tmp_path / "cells.png", name=name, task="instance", classes="cell", start=start)
        hand = Hand(page, Canvas(page, (SIDE, SIDE)))
        before = mask_of(page)
        page.locator(".se-stage").focus()
        began = time.perf_counter()
        work(hand, before)
        hand.cost.seconds = time.perf_counter() - began
        found = mask_of(page)
        best = [max(overlap(found == number, mask) for number in np.unique(found[mask])) for mask in truth]
        hand.cost.reached = sum(each >= GOOD - 0.02 for each in best)
        rows[name] = hand.cost
        print("measured:", hand.cost.row(name))
    many = rows["polygons"].points + rows["polygons"].keys
    for name in ("*Click*, from nothing", "*Click*, from a prediction"):
        assert (rows[name].points + rows[name].keys) * 4 <= many and rows[name].reached == WANTED

"""The bundled clicked network on pictures that it has not learnt from, beside a random walker (Grady 2006, scikit-image's) that starts from
the same clicks: how many clicks it takes, and how long a click takes.

The random walker knows nothing of a click outside until one comes: so that it has a chance, the picture's edge counts as outside for it.
It sees pictures as small as the network does at first, and its answer is enlarged.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from scipy import ndimage
from skimage import data, draw, filters, segmentation
from skimage.transform import resize

from benchmarks.measure import Row, compare
from seg_demo import load_model
from seg_demo.core.types import tight_box
from seg_demo.serving import catalog
from synthetic.objects import render
from tests.editing import Canvas
from tests.pages import CHROMIUM, RESULT_MS, SWITCHES, open_tab
from tests.served import served
from train.metrics import MOST_CLICKS, clicked, clicks_to, overlap, whole_mask

OUTLINES = Path(__file__).parent / "outlines.json"
MODEL, PEER = "click", "skimage's random walker"
SIDE, RADIUS, BETA = 256, 3, 130
# No network was trained on pictures of this seed.
UNSEEN = 9001

Objects = list[tuple[str, np.ndarray, np.ndarray]]


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: fewer rendered pictures, and the small picture alone is timed.
    """
    if not any(spec.id == MODEL for spec in catalog.menu()):
        return
    yield coins_row()
    yield clicks_row("photographs", photographs())
    yield clicks_row("rendered pictures of an unseen seed", rendered(4 if quick else 10))
    sizes = (("0.3 MP", 480, 640), ("12 MP", 3000, 4000))[: 1 if quick else 2]
    for size in sizes:
        yield time_row(*size)
    for size in sizes if CHROMIUM is not None else ():
        yield page_row(*size)


def photographs() -> Objects:
    """(name, picture uint8 (H, W, 3), mask bool (H, W)) of things in scikit-image's photographs; of the horse its own silhouette."""
    drawn = json.loads(OUTLINES.read_text(encoding="utf-8"))
    found = []
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        picture = getattr(data, name)()
        masks = {thing: _filled(polygons, picture.shape[:2]) for thing, polygons in drawn[name].items()}
        for thing, others in drawn["without"].items():
            for other in others if thing in masks else ():
                masks[thing] &= ~masks[other]
        found += [(f"{name}: {thing}", picture, mask) for thing, mask in masks.items()]
    horse = ~data.horse()
    return [*found, ("horse", np.repeat((~horse * np.uint8(255))[..., None], 3, axis=2), horse)]


def _filled(polygons: Sequence[Sequence[Sequence[float]]], shape: tuple[int, int]) -> np.ndarray:
    return np.logical_or.reduce([draw.polygon2mask(shape, np.array(points)[:, ::-1]) for points in polygons])


def coins() -> Objects:
    """The 24 coins of ``skimage.data.coins()``: the watershed of scikit-image's own tutorial, holes filled, looked at by eye."""
    grey = data.coins()
    markers = np.zeros(grey.shape, np.int32)
    markers[grey < 30], markers[grey > 150] = 1, 2
    solid = ndimage.binary_fill_holes(segmentation.watershed(filters.sobel(grey), markers) - 1)
    numbers, count = ndimage.label(ndimage.binary_opening(solid, iterations=2))
    picture = np.repeat(grey[..., None], 3, axis=2)
    return [(f"coin {number}", picture, numbers == number) for number in range(1, count + 1)]


def rendered(pictures: int) -> Objects:
    """Two objects each of some pictures that nobody has learnt from."""
    found = []
    for index in range(pictures):
        sample = render(UNSEEN, index)
        numbers = np.unique(sample.instance_map)[1:]
        for number in np.random.default_rng(index).permutation(numbers)[:2]:
            found.append((f"{sample.name} {number}", sample.image, sample.instance_map == number))
    return found


class Walker:
    """The peer: as a session of a promptable model, for one picture.

    Args:
        picture: uint8 (H, W, 3).
    """

    def __init__(self, picture: np.ndarray) -> None:
        self.size = picture.shape[:2]
        factor = min(1.0, SIDE / max(self.size))
        self.small = tuple(max(2, round(side * factor)) for side in self.size)
        self.pixels = np.asarray(Image.fromarray(picture).resize(self.small[::-1], Image.Resampling.BOX), np.float64) / 255

    def segment(self, points: Sequence[Sequence[float]], labels: Sequence[int], previous: Any = None) -> np.ndarray:
        """bool (H, W)."""
        seeds = np.zeros(self.small, np.int32)
        seeds[[0, -1]] = 2
        seeds[:, [0, -1]] = 2
        for (x, y), label in zip(points, labels, strict=True):
            place = (y + 0.5) * self.small[0] / self.size[0] - 0.5, (x + 0.5) * self.small[1] / self.size[1] - 0.5
            seeds[draw.disk(place, RADIUS, shape=self.small)] = 1 if label else 2
            seeds[tuple(min(max(0, round(value)), side - 1) for value, side in zip(place, self.small, strict=True))] = 1 if label else 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = segmentation.random_walker(self.pixels, seeds, beta=BETA, mode="cg_j", channel_axis=-1, return_full_prob=True)
        return resize(found[0], self.size, order=1) > 0.5


def peers_clicks(picture: np.ndarray, truth: np.ndarray, most: int) -> list[float]:
    """The IoU after each click of the peer, as :func:`train.metrics.clicked` clicks."""

    return [value for value, _ in clicked(Walker(picture), truth, most)]


def our_clicks(objects: Objects, most: int, begin: Callable[[np.ndarray, np.ndarray, int], np.ndarray] | None = None, model: str = MODEL) -> list[list[float]]:
    """The IoU after each click, of every object.

    Args:
        objects: what is clicked.
        most: clicks.
        begin: the mask to start from, of a picture, the truth and a seed; None starts from nothing.
        model: menu key or folder.
    """
    model, found = load_model(model), []
    for index, (_, picture, truth) in enumerate(objects):
        with model.prompt(picture) as session:
            previous = begin(picture, truth, index) if begin else None
            found.append([value for value, _ in clicked(session, truth, most, previous=previous)])
    return found


def flawed(picture: np.ndarray, truth: np.ndarray, seed: int) -> np.ndarray:
    """A mask to be corrected, in the manner of DAVIS-585 (Chen et al. 2022, arXiv 2204.02574): superpixels at its edge are added and taken away
    until its IoU is between 0.75 and 0.85."""
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = tight_box(truth)
    margin = 4 + int(0.4 * max(x1 - x0, y1 - y0))
    box = np.s_[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin]
    wanted = truth[box]
    pieces = segmentation.slic(picture[box], n_segments=max(30, round(25 * wanted.size / wanted.sum())), compactness=10, start_label=1)
    mask = wanted.copy()
    for _ in range(1000):
        if overlap(wanted, mask) <= 0.85:
            break
        edge = ndimage.binary_dilation(mask, iterations=2) & ~ndimage.binary_erosion(mask, iterations=2)
        piece = pieces == rng.choice(np.unique(pieces[edge]))
        changed = mask | piece if rng.random() < 0.5 else mask & ~piece
        if overlap(wanted, changed) >= 0.75:
            mask = changed
    found = np.zeros_like(truth)
    found[box] = mask
    return found


def poor(picture: np.ndarray, truth: np.ndarray, seed: int) -> np.ndarray:
    """A prediction of a poor model: shifted, a quarter missing on one side and something else with it; IoU of about 0.6."""
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = tight_box(truth)
    wide, high = x1 - x0, y1 - y0
    found = np.roll(truth, (round(0.06 * high * rng.choice([-1, 1])), round(0.06 * wide * rng.choice([-1, 1]))), (0, 1))
    rows, columns = np.ogrid[: truth.shape[0], : truth.shape[1]]
    edge = [(columns < x0 + 0.25 * wide), (columns > x1 - 0.25 * wide), (rows < y0 + 0.25 * high), (rows > y1 - 0.25 * high)]
    side = int(rng.integers(4))
    found &= ~edge[side]
    x, y = ((x1, (y0 + y1) / 2), (x0, (y0 + y1) / 2), ((x0 + x1) / 2, y1), ((x0 + x1) / 2, y0))[side]
    return found | ((rows - y) ** 2 / (0.25 * high) ** 2 + (columns - x) ** 2 / (0.25 * wide) ** 2 < 1)


def mean_clicks(reached: list[list[float]], goal: float) -> float:
    """Mean clicks to an IoU, 20 at most."""
    return float(np.mean([clicks_to(row, goal) for row in reached]))


def clicks_row(what: str, objects: Objects) -> Row:
    """Mean clicks to 85 and 90 %."""
    times = {}

    def timed(name: str, work: Callable[[], list[list[float]]]) -> list[list[float]]:
        began = time.perf_counter(), time.process_time()
        found = work()
        count = sum(map(len, found))
        times[name] = (time.perf_counter() - began[0]) / count, (time.process_time() - began[1]) / count
        return found

    mine = timed("ours", lambda: our_clicks(objects, MOST_CLICKS))
    starts = {"a mask to be corrected": flawed, "a poor prediction": poor}
    again = {name: our_clicks(objects, MOST_CLICKS, begin) for name, begin in starts.items()}
    other = timed("theirs", lambda: [peers_clicks(picture, truth, MOST_CLICKS) for _, picture, truth in objects])
    begun = {
        name: float(np.mean([overlap(truth, begin(picture, truth, index)) for index, (_, picture, truth) in enumerate(objects)])) for name, begin in starts.items()
    }
    parts = [
        f"{len(objects)} objects; mean clicks (20 at most) to 85 %: {mean_clicks(mine, 0.85):.2f} / {mean_clicks(other, 0.85):.2f}",
        f"to 90 %: {mean_clicks(mine, 0.9):.2f} / {mean_clicks(other, 0.9):.2f}",
        *(f"from {name} of IoU {begun[name]:.2f}: {mean_clicks(reached, 0.85):.2f} and {mean_clicks(reached, 0.9):.2f}" for name, reached in again.items()),
        f"IoU after one click {np.mean([row[0] for row in mine]):.3f} / {np.mean([row[0] for row in other]):.3f}",
    ]
    return _row(f"clicks, {what}", times, "; ".join(parts), len(objects))


def _row(work: str, times: dict[str, tuple[float, float]], result: str, repeats: int) -> Row:
    (ours, our_cpu), (theirs, their_cpu) = times["ours"], times["theirs"]
    return Row(work, PEER, ours, theirs, our_cpu, their_cpu, None, None, result, None, None, repeats, time.strftime("%Y-%m-%d"))


def coins_row() -> Row:
    """One click on each coin."""
    objects = coins()
    times, found = {}, {}
    for name, work in (("ours", lambda: our_clicks(objects, 1)), ("theirs", lambda: [peers_clicks(picture, truth, 1) for _, picture, truth in objects])):
        began = time.perf_counter(), time.process_time()
        found[name] = [row[0] for row in work()]
        times[name] = (time.perf_counter() - began[0]) / len(objects), (time.process_time() - began[1]) / len(objects)
    good = {name: sum(value >= 0.9 for value in values) for name, values in found.items()}
    means = {name: statistics.mean(values) for name, values in found.items()}
    result = f"IoU of 0.90 or more after one click: {good['ours']} / {good['theirs']} of {len(objects)} coins; mean IoU {means['ours']:.3f} / {means['theirs']:.3f}"
    return _row("one click on each coin of coins()", times, result, len(objects))


def time_row(name: str, height: int, width: int) -> Row:
    """A second click on a picture of a size; the first is told beside it."""
    picture = np.asarray(Image.fromarray(data.coffee()).resize((width, height), Image.Resampling.BICUBIC))
    model = load_model(MODEL)
    spots = [(int(x * width / 600), int(y * height / 400)) for x, y in ((285, 140), (365, 285), (120, 250))]
    firsts = []
    for index in range(4):
        began = time.perf_counter()
        with model.prompt(picture) as fresh:
            fresh.segment(points=spots[:1], labels=[1])
        firsts.append(time.perf_counter() - began)
    session, walker = model.prompt(picture), Walker(picture)
    previous = session.segment(points=spots[:1], labels=[1])

    def ours() -> np.ndarray:
        return whole_mask(session.segment(points=spots[:2], labels=[1, 0], previous=previous))

    def check(mine: np.ndarray, other: np.ndarray) -> str:
        return f"the first click, the picture looked at: {statistics.median(firsts[1:]):.3f} s; masks of both overlap by {overlap(mine, other):.2f}"

    return compare(f"a further click, {name}", PEER, ours, lambda: walker.segment(spots[:2], [1, 0]), check, repeats=7)


# What tells, in the page, how long it took from the button of the mouse to the frame in which the answer is shown. What the page has
# shown already, because the pointer rested there, needs no answer: its text may stay as it is.
WATCH = """
() => {
  window.clickTimes = [];
  let began = null;
  const state = document.querySelector("#click-editor .se-clickstate");
  const frames = (count, then) => requestAnimationFrame(() => (count > 1 ? frames(count - 1, then) : then()));
  const shown = () => {
    if (began === null || !state.textContent.includes("%")) return;
    const start = began;
    began = null;
    frames(2, () => window.clickTimes.push(performance.now() - start));
  };
  addEventListener("pointerdown", () => { began = performance.now(); }, true);
  addEventListener("pointerup", () => frames(2, shown), true);
  new MutationObserver(shown).observe(state, { childList: true, characterData: true, subtree: true });
}
"""


def _opened(running: Browser, address: str, file: Path, size: tuple[int, int]) -> tuple[Page, Canvas]:
    """The tab Click in a page of its own, with a picture of `size` (width, height) in its editor, and where that picture is."""
    page = running.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(address)
    open_tab(page, "Click")
    page.locator("#click-image input[type=file]").set_input_files(str(file))
    expect(page.locator("#click-editor .se")).to_have_attribute("data-tool", "click", timeout=RESULT_MS)
    page.evaluate(WATCH)
    page.locator("#click-editor .se-stage").scroll_into_view_if_needed()
    return page, Canvas(page, size[::-1], "#click-editor")


def page_row(name: str, height: int, width: int) -> Row:
    """From the button of the mouse to the mask on the screen, in Chromium, of the tab Click; beside the same clicks in Python."""
    picture = Image.fromarray(data.coffee()).resize((width, height), Image.Resampling.BICUBIC)
    spots = [(x * width / 600, y * height / 400) for x, y in ((285, 140), (300, 150), (270, 120), (310, 130), (260, 160), (290, 120), (280, 170))]
    firsts, further = [], []
    with tempfile.TemporaryDirectory() as folder, served() as address, sync_playwright() as playing:
        file = Path(folder) / "coffee.jpg"
        picture.save(file, quality=92)
        running = playing.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page, canvas = _opened(running, address, file, picture.size)
        for turn in range(3):
            for index, spot in enumerate(spots):
                page.mouse.move(*canvas.screen(*spot))
                page.mouse.down()
                page.mouse.up()
                count = turn * len(spots) + index + 1
                page.wait_for_function("(count) => window.clickTimes.length >= count", arg=count)
            page.keyboard.press("Escape")
        times = page.evaluate("window.clickTimes")
        page.close()
        # Another picture, now that the server has the model.
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file, quality=92)
        page, canvas = _opened(running, address, file, picture.size)
        page.mouse.move(*canvas.screen(*spots[0]))
        page.mouse.down()
        page.mouse.up()
        page.wait_for_function("() => window.clickTimes.length > 0")
        other = page.evaluate("window.clickTimes[0]") / 1000
        running.close()
    for turn in range(3):
        one = times[turn * len(spots) : (turn + 1) * len(spots)]
        firsts.append(one[0] / 1000)
        further += [value / 1000 for value in one[1:]]
    model, plain = load_model(MODEL), []
    with model.prompt(np.asarray(picture)) as session:
        previous = session.segment(points=spots[:1], labels=[1])
        for index in range(2, len(spots) + 1):
            began = time.perf_counter()
            previous = session.segment(points=spots[:index], labels=[1] * index, previous=previous)
            plain.append(time.perf_counter() - began)
    result = (
        f"the first click of a new server {firsts[0]:.3f} s, of the next picture {other:.3f} s, of the next object {statistics.median(firsts[1:]):.3f} s"
    )
    ours, theirs = statistics.median(further), statistics.median(plain)
    work, today = f"a click, until its mask is on the screen, {name}", time.strftime("%Y-%m-%d")
    return Row(work, "the same in Python", ours, theirs, None, None, None, None, result, None, None, len(further), today)

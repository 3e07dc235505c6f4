"""The tab Correct in headless Chromium, by real mouse strokes: what is painted is what is saved, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from seg_demo.masks import regions
from tests.editing import (  # noqa: F401
    SIZE, Canvas, address, begin, current, data,
    dataset_of, editor, mask_of, save, swept, visit,
)  # fmt: skip
from tests.pages import COINS, RESULT_MS, browser, drawn  # noqa: F401


@pytest.mark.soak
def test_painted_saved_edited_again(visit, address, data):  # noqa: F811
    page = visit(address)
    begin(page, COINS, name="Painted")
    canvas, expected, size = Canvas(page, SIZE), np.zeros(SIZE, np.uint8), current(page)
    expected[swept(SIZE, canvas.stroke((40, 40), (200, 90), (120, 200)), size)] = 1
    page.keyboard.press("2")
    expected[swept(SIZE, canvas.stroke((150, 30), (150, 220)), size)] = 2
    page.keyboard.press("e")
    expected[swept(SIZE, canvas.stroke((100, 60), (220, 60)), size)] = 0
    assert np.array_equal(mask_of(page), expected)
    # A triangle, and the ground around it left out of learning.
    page.locator(".se-stage").focus()
    page.keyboard.press("p")
    page.keyboard.press("1")
    corners = [canvas.screen(*place) for place in ((250, 200), (340, 210), (300, 280))]
    for corner in corners:
        page.mouse.click(*corner)
    page.mouse.move(*canvas.screen(10, 10))
    page.keyboard.press("Enter")
    after = mask_of(page)
    inside = np.argwhere((after != expected) & (after == 1))
    assert abs(len(inside) - 90 * 75 / 2) < 250, "the area of the triangle"
    page.locator(".se-stage").focus()
    page.keyboard.press("g")
    page.keyboard.press("3")
    page.mouse.click(*canvas.screen(10, 290))
    expected = mask_of(page)
    assert expected[290, 10] == 255 and expected[250, 300] == 1
    save(page)
    dataset = dataset_of(data, "Painted")
    sample = dataset.sample("coins")
    image, mask, _ = dataset.read("coins")
    assert np.array_equal(mask, expected) and np.array_equal(image[..., 0], np.asarray(Image.open(COINS)))
    assert sample.facts.strokes == 5 and sample.facts.source == "blank" and 0 < sample.facts.seconds < 600
    # Again, and once more without a change: each save is answered.
    page.locator(".se-stage").focus()
    page.keyboard.press("1")
    page.keyboard.press("b")
    canvas = Canvas(page, SIZE)
    expected[swept(SIZE, canvas.stroke((20, 150), (60, 150)), size)] = 1
    save(page)
    save(page)
    assert np.array_equal(dataset.read("coins")[1], expected) and len(dataset) == 1
    # The list shows it; editing it again replaces its mask.
    row = page.locator("#correct-samples li[data-stem=coins]")
    expect(row).to_contain_text("6 strokes")
    row.locator(".sl-edit").click()
    expect(page.locator(".se-notice")).to_be_hidden(timeout=RESULT_MS)
    canvas = Canvas(page, SIZE)
    pixels = canvas.stroke((50, 250), (90, 250))
    expected[swept(SIZE, pixels, current(page))] = 1
    save(page)
    assert np.array_equal(dataset.read("coins")[1], expected) and len(dataset) == 1
    assert dataset.sample("coins").facts.strokes == 7
    with page.expect_download() as waiting:
        page.locator("#correct-zip").click()
    assert waiting.value.suggested_filename == "Painted.zip"
    row.locator(".sl-remove").click()
    row.locator(".sl-remove").click()
    expect(row).to_have_count(0)
    assert len(dataset) == 0


@pytest.mark.soak
def test_two_hundred_strokes_are_undone_and_redone_exactly(visit, address):  # noqa: F811
    page = visit(address)
    begin(page, COINS, name="Undone")
    canvas, rng, size = Canvas(page, SIZE), np.random.default_rng(0), current(page)
    expected = np.zeros(SIZE, np.uint8)
    halfway = None
    for stroke in range(200):
        if stroke == 100:
            halfway = expected.copy()
        page.keyboard.press(str(1 + stroke % 2))
        places = [(rng.uniform(5, 370), rng.uniform(5, 295)) for _ in range(2)]
        expected[swept(SIZE, canvas.stroke(*places), size)] = 1 + stroke % 2
    expect(editor(page)).to_have_attribute("data-strokes", "200")
    assert np.array_equal(mask_of(page), expected)
    undo, redo = page.locator(".se-undo"), page.locator(".se-redo")
    for _ in range(100):
        undo.dispatch_event("click")
    assert np.array_equal(mask_of(page), halfway)
    for _ in range(100):
        undo.dispatch_event("click")
    expect(undo).to_be_disabled()
    assert not mask_of(page).any()
    page.locator(".se-stage").focus()
    for _ in range(200):
        page.keyboard.press("Control+Shift+Z")
    expect(redo).to_be_disabled()
    assert np.array_equal(mask_of(page), expected)


def test_a_superpixel_is_painted_whole(visit, address):  # noqa: F811
    page = visit(address)
    begin(page, COINS, name="Regions")
    canvas = Canvas(page, SIZE)
    page.locator("[data-tool=region]").first.click()
    expect(page.locator(".se-notice")).to_contain_text("Looking for regions")
    expect(page.locator(".se-notice")).to_be_hidden(timeout=RESULT_MS)
    point = canvas.screen(120, 90)
    page.mouse.click(*point)
    grey = np.asarray(Image.open(COINS))
    found = regions.segment(np.repeat(grey[..., None], 3, axis=2), "slic", regions=600).id_map
    column, row = canvas.pixel(point)
    assert np.array_equal(mask_of(page), (found == found[row, column]).astype(np.uint8))


def test_a_new_object_is_seen_while_it_is_drawn(visit, address):  # noqa: F811
    page = visit(address)
    begin(page, COINS, name="Seen", task="instance", classes="coin")
    canvas = Canvas(page, SIZE)
    first, last = canvas.screen(60, 80), canvas.screen(160, 80)
    page.mouse.move(*first)
    page.mouse.down()
    page.mouse.move(*last)
    drawn(page)
    painted = page.evaluate(
        """([x, y]) => {
          const canvas = document.querySelector('#correct-editor .se-fillmap'), box = canvas.getBoundingClientRect();
          const at = [(x - box.left) * canvas.width / box.width, (y - box.top) * canvas.height / box.height];
          return canvas.getContext('2d').getImageData(...at.map(Math.floor), 1, 1).data[3];
        }""",
        list(last),
    )
    page.mouse.up()
    assert painted == 255


@pytest.mark.soak
def test_objects_are_made_merged_split_and_deleted(visit, address, data):  # noqa: F811
    page = visit(address)
    begin(page, COINS, name="Objects", task="instance", classes="coin, note")
    canvas, size = Canvas(page, SIZE), current(page)
    expected = np.zeros(SIZE, np.uint16)
    expected[swept(SIZE, canvas.stroke((40, 50), (160, 50)), size)] = 1
    page.keyboard.press("n")
    expected[swept(SIZE, canvas.stroke((40, 100), (160, 100)), size)] = 2
    page.keyboard.press("n")
    page.keyboard.press("2")
    expected[swept(SIZE, canvas.stroke((40, 150), (160, 150)), size)] = 3
    expect(page.locator(".se-objects .se-row")).to_have_text(["coin #1", "coin #2", "note #3"])
    assert np.array_equal(mask_of(page), expected)
    # Merge 2 into 1: pick 1, then click 2.
    page.locator(".se-stage").focus()
    page.keyboard.press("i")
    page.mouse.click(*canvas.screen(100, 50))
    page.keyboard.press("m")
    page.mouse.click(*canvas.screen(100, 100))
    expected[expected == 2] = 1
    assert np.array_equal(mask_of(page), expected)
    expect(page.locator(".se-objects .se-row")).to_have_count(2)
    # A line through both strokes of 1 leaves four pieces; every pixel stays in an object.
    page.locator(".se-stage").focus()
    page.keyboard.press("x")
    column = canvas.stroke((100, 20), (100, 120))[0][0]
    cut = mask_of(page)
    assert np.array_equal(cut > 0, expected > 0) and np.array_equal(cut == 3, expected == 3)
    assert len(np.unique(cut[expected == 1])) == 4
    for number in np.unique(cut[expected == 1]):
        columns = np.flatnonzero((cut == number).any(axis=0))
        assert columns.max() <= column or columns.min() >= column
    page.locator(".se-stage").focus()
    page.keyboard.press("Control+z")
    assert np.array_equal(mask_of(page), expected)
    page.locator(".se-stage").focus()
    page.keyboard.press("Control+y")
    page.keyboard.press("d")
    page.mouse.click(*canvas.screen(100, 150))
    cut[cut == 3] = 0
    assert np.array_equal(mask_of(page), cut)
    save(page)
    dataset = dataset_of(data, "Objects")
    _, mask, instances = dataset.read("coins")
    assert np.array_equal(instances, cut) and np.array_equal(mask, (cut > 0).astype(np.uint8))
    assert dataset.sample("coins").objects == 4


def test_everything_without_a_mouse(visit, address):  # noqa: F811
    page = visit(address)
    begin(page, COINS, name="Keys")
    page.locator(".se-stage").focus()
    page.keyboard.press("2")
    expect(page.locator(".se-classes .se-row[aria-selected=true]")).to_contain_text("wall")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    mask = mask_of(page)
    rows, columns = np.nonzero(mask == 2)
    size = current(page)
    assert rows.max() - rows.min() + 1 == pytest.approx(size, abs=1) and columns.max() - columns.min() + 1 > size
    page.locator(".se-stage").focus()
    page.keyboard.press("Control+z")
    assert not mask_of(page).any()
    for button in page.locator("#correct-editor button:visible").all():
        assert button.get_attribute("aria-label") or button.inner_text().strip()

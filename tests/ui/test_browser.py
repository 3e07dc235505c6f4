"""The page in headless Chromium: what a person does, and what a phone, a Chinese browser and a bad file get."""

from __future__ import annotations

import csv

import numpy as np
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import expect

from tests.pages import COINS, RESULT_MS, browser, hover, open_page, open_tab, pixels, shown, upload  # noqa: F401  (fixtures)


def api(address: str, model: str) -> tuple[dict, str, str]:
    client = Client(address, verbose=False, httpx_kwargs={"timeout": 120})
    return client.predict(image=handle_file(str(COINS)), model=model, api_name="/segment")


def test_upload_hover_toggle_download(open_page, demo_url, tmp_path):  # noqa: F811
    page = open_page()
    upload(page, "semantic", COINS)
    viewer = shown(page, "semantic")
    result, mask, _ = api(demo_url, "unet-cells")
    ids = np.asarray(Image.open(mask))
    segments = {segment["label"]: segment for segment in result["segments"]}

    # Hover: inside the class, well away from its edge.
    cell = segments["cell"]["id"]
    row, column = middle_of(ids == cell)
    said = hover(page, "semantic", column, row, (result["width"], result["height"]))
    assert said.startswith("cell") and f"{segments['cell']['area']:,} px" in said

    # Everything in the viewer happens without the server.
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    painted = pixels(page, "semantic", "fill")
    assert painted > 1000
    viewer.locator(".sv-legend .sv-row", has_text="cell").click()
    assert pixels(page, "semantic", "fill") < painted / 2
    assert hover(page, "semantic", column, row, (result["width"], result["height"])) == ""
    viewer.locator(".sv-legend .sv-row", has_text="cell").click()
    viewer.locator(".sv-opacity").fill("20")
    expect(viewer.locator(".sv-fill")).to_have_css("opacity", "0.2")
    viewer.locator(".sv-outlines").click()
    assert pixels(page, "semantic", "lines") == 0
    viewer.locator(".sv-compare").click()
    expect(viewer.locator(".sv-split")).to_be_visible()
    assert "inset" in viewer.locator(".sv-layers").evaluate("node => node.style.clipPath")
    viewer.locator(".sv-in").click()
    expect(viewer.locator(".sv-percent")).to_have_text("150 %")
    viewer.locator(".sv-stage").focus()
    page.keyboard.press("0")
    expect(viewer.locator(".sv-percent")).to_have_text("100 %")
    page.keyboard.press("n")
    expect(viewer.locator(".sv-live")).to_contain_text("px")
    assert not requests

    # The table and the legend agree with the API.
    first = viewer.locator("tbody tr").first.locator("td").all_inner_texts()
    largest = max(result["segments"], key=lambda segment: segment["area"])
    assert first[0] == largest["label"] and first[1] == f"{largest['area']:,}"

    with page.expect_download() as waiting:
        page.locator("#semantic-mask").click()
    assert waiting.value.suggested_filename == "coins_mask.png"
    assert np.array_equal(np.asarray(Image.open(waiting.value.path())), ids)
    with page.expect_download() as waiting:
        page.locator("#semantic-zip").click()
    assert waiting.value.suggested_filename == "coins.zip"


def middle_of(mask: np.ndarray) -> tuple[int, int]:
    """(row, column) of a pixel as far inside a mask as can be found by peeling it."""
    while True:
        peeled = mask.copy()
        peeled[1:] &= mask[:-1]
        peeled[:-1] &= mask[1:]
        peeled[:, 1:] &= mask[:, :-1]
        peeled[:, :-1] &= mask[:, 1:]
        if not peeled.any():
            return tuple(np.argwhere(mask)[0])
        mask = peeled


def test_every_object_is_measured_in_pixels_and_units(open_page):  # noqa: F811
    page = open_page()
    upload(page, "semantic", COINS)
    pieces = shown(page, "semantic").locator("tbody tr", has_text="cell").locator("td").nth(3).inner_text()
    table = page.locator("#semantic-measured .ms")
    table.locator("summary").click()
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(int(pieces), timeout=RESULT_MS)
    said = table.locator(".ms-said")
    expect(said).to_contain_text(f"{pieces} connected pieces")
    largest = float(rows.first.locator("td").nth(1).inner_text().replace(",", ""))
    table.locator(".ms-inside").check()
    expect(said).to_contain_text("at the edge left out")
    inside = int(said.inner_text().split()[0])
    table.locator(".ms-length").fill("0.5")
    table.locator(".ms-length").press("Enter")
    expect(table.locator("thead")).to_contain_text("Area (µm²)")
    assert float(rows.first.locator("td").nth(1).inner_text()) == largest / 4 and 0 < inside < int(pieces)
    assert table.locator("dl").inner_text().split()[:2] == ["n", str(inside)] and table.locator("svg rect").count() > 2
    table.get_by_role("button", name="Area").click()  # the smallest first
    assert float(rows.first.locator("td").nth(1).inner_text()) < largest / 8
    with page.expect_download() as told:
        table.get_by_role("button", name="CSV").click()
    with open(told.value.path(), newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == inside and max(float(row["area_um2"]) for row in listed) == largest / 4
    table.locator(".ms-length").fill("0.5 inch")
    table.locator(".ms-length").press("Enter")
    expect(said).to_contain_text("is not a pixel size")
    table.locator(".ms-length").fill("")
    table.locator(".ms-length").press("Enter")
    expect(said).to_contain_text("connected pieces")
    # Another result is measured by itself.
    upload(page, "semantic", COINS.with_name("nuclei.jpg"))
    expect(said).not_to_contain_text(f"{inside} connected pieces")


def test_the_threshold_filters_without_the_network(open_page):  # noqa: F811
    page = open_page()
    page.get_by_role("tab").nth(1).click()
    upload(page, "instance", COINS)
    viewer = shown(page, "instance")
    before = viewer.locator(".sv-count").inner_text()
    page.locator("#instance-threshold input[type=number]").fill("1")
    page.locator("#instance-threshold input[type=number]").blur()
    expect(viewer.locator(".sv-nothing")).to_be_visible(timeout=RESULT_MS)
    expect(viewer.locator(".sv-nothing")).to_contain_text("Nothing found")
    page.locator("#instance-threshold input[type=number]").fill("0.5")
    page.locator("#instance-threshold input[type=number]").blur()
    expect(viewer.locator(".sv-count")).to_have_text(before, timeout=RESULT_MS)


def test_an_example_runs_by_itself_and_clearing_empties_the_viewer(open_page):  # noqa: F811
    page = open_page()
    page.locator("#semantic-cells .gallery-item").first.click()
    viewer = shown(page, "semantic")
    page.locator("#semantic-image button[aria-label='Remove Image']").click()
    expect(viewer).to_have_attribute("data-state", "empty", timeout=RESULT_MS)


def test_regions_and_models(open_page):  # noqa: F811
    page = open_page()
    open_tab(page, "Regions")
    upload(page, "regions", COINS)
    viewer = shown(page, "regions")
    expect(viewer.locator(".sv-count")).to_contain_text("regions")
    # They can be corrected, too.
    page.locator("#regions-correct").click()
    expect(page.locator("#correct-editor .se")).to_have_attribute("data-task", "instance", timeout=RESULT_MS)
    expect(page.locator(".se-objectcount")).to_have_text(viewer.locator(".sv-count").text_content().split()[0])
    page.locator("button[data-tab-id=models]:visible").click()
    expect(page.locator("#models-cards article")).to_have_count(18)
    expect(page.locator("#models-cards")).to_contain_text("not available now")


def test_a_bad_file_and_an_unreachable_model_get_a_sentence(open_page, tmp_path):  # noqa: F811
    page = open_page()
    bad = tmp_path / "broken.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 64)
    upload(page, "semantic", bad)
    toast = page.locator(".toast-body")
    expect(toast.first).to_be_visible(timeout=RESULT_MS)
    assert len(toast.first.inner_text().split()) > 6
    expect(page.locator("#semantic-viewer .sv")).to_have_attribute("data-state", "empty")
    upload_again = page.locator("#semantic-image button[aria-label='Remove Image']")
    upload_again.click()
    upload(page, "semantic", COINS)
    shown(page, "semantic")


def test_a_phone_scrolls_only_downwards_and_touch_names_a_segment(open_page):  # noqa: F811
    page = open_page(viewport={"width": 380, "height": 780}, has_touch=True, is_mobile=True)
    upload(page, "semantic", COINS)
    shown(page, "semantic")
    for tab in ("Instance", "Regions", "Correct", "Batch", "Compare", "Fine-tune", "Models", "Semantic"):
        open_tab(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= 380, tab
    heights = page.locator("#semantic-viewer td:first-child").evaluate_all("cells => cells.map(cell => cell.offsetHeight)")
    assert len(heights) > 1 and max(heights) < 40, "a class's name is on one line"
    stage = page.locator("#semantic-viewer .sv-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    # A coin of the second row.
    page.touchscreen.tap(box["x"] + box["width"] * 0.12, box["y"] + box["height"] * 0.41)
    expect(stage.locator(".sv-tip")).to_contain_text("px")


def test_chinese_by_the_browsers_language(open_page):  # noqa: F811
    page = open_page(locale="zh-CN")
    expect(page.get_by_role("tab").first).to_have_text("语义分割")
    expect(page.locator("#semantic-run")).to_have_text("分割")
    expect(page.locator("#semantic-viewer .sv-empty")).to_contain_text("分割结果显示在这里")
    expect(page.locator("#semantic-note")).to_contain_text("细胞")
    upload(page, "semantic", COINS)
    viewer = shown(page, "semantic")
    expect(viewer.locator(".sv-details summary")).to_have_text("按类别统计")
    page.locator("#semantic-image input[type=file]").set_input_files(
        {"name": "notes.png", "mimeType": "image/png", "buffer": b"This is a text."}
    )
    expect(page.locator(".toast-body").first).to_contain_text("这是文本文件，无法作为图片打开", timeout=RESULT_MS)
    expect(page.locator("#semantic-image .image-frame")).to_have_attribute("data-unshown", "浏览器无法预览此文件")


def test_the_picker_marks_what_cannot_be_reached_and_an_example_keeps_the_marks(open_page):  # noqa: F811
    page = open_page()
    page.locator("#semantic-cells .gallery-item").first.click()
    shown(page, "semantic")
    page.locator("#semantic-model input").click()
    options = page.locator("[role=option]")
    expect(options.filter(has_text="ADE20K").first).to_contain_text("○")
    assert "○" not in options.filter(has_text="U-Net").first.inner_text()


def test_two_visitors_do_not_see_each_other(open_page):  # noqa: F811
    mine, other = open_page(), open_page()
    upload(mine, "semantic", COINS)
    shown(mine, "semantic")
    assert other.locator("#semantic-viewer .sv").get_attribute("data-state") == "empty"
    assert mine.locator("#semantic-viewer .sv").get_attribute("data-state") == "shown"

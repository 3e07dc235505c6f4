"""The doubt layer and full detail in headless Chromium."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from seg_demo.serving.predictor import load_model
from tests.pages import COINS, RESULT_MS, browser, hover, open_page, pixels, shown, until_heat_changes, upload  # noqa: F401


@pytest.fixture(scope="module")
def sure():
    """The same result from code."""
    return load_model("unet-cells", device="cpu").predict(COINS, confidence=True)


def said_margin(text: str) -> float:
    assert "margin" in text, text
    return float(text.split("margin")[1].split()[0])


@pytest.mark.soak
def test_doubt_toggles_at_once_and_says_what_the_model_says(open_page, sure):  # noqa: F811
    page = open_page()
    upload(page, "semantic", COINS)
    viewer = shown(page, "semantic")
    button, heat = viewer.locator(".sv-doubt"), viewer.locator(".sv-heat")
    expect(viewer.locator(".sv-key")).to_be_hidden()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    button.click()
    expect(viewer.locator(".sv-key")).to_be_visible(timeout=RESULT_MS)
    expect(button).to_have_attribute("aria-busy", "false")
    expect(viewer.locator(".sv-fill")).to_have_css("visibility", "hidden")
    assert [url for url in requests if url.endswith("doubt.png")], "the map travels when it is first wanted"
    assert not [url for url in requests if url.endswith("ids.png")], "and nothing else does"
    warm = pixels(page, "semantic", "heat")
    assert 0 < warm < (sure.margin < 255).sum() * 4

    # Edges of coins are in doubt, the middle of the ground is not: what is said is what code says.
    doubtful = np.argwhere(sure.margin < 160)
    for row, column in (doubtful[len(doubtful) // 2], np.argwhere(sure.margin == 255)[1000]):
        said = said_margin(hover(page, "semantic", column, row, (sure.width, sure.height)))
        around = sure.margin[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] / 255
        assert around.min() - 0.011 <= said <= around.max() + 0.011

    # From here on nothing is asked of the server, by mouse or by key.
    requests.clear()
    button.click()
    expect(viewer.locator(".sv-key")).to_be_hidden()
    expect(heat).to_have_css("visibility", "hidden")
    expect(viewer.locator(".sv-fill")).to_have_css("visibility", "visible")
    viewer.locator(".sv-stage").focus()
    page.keyboard.press("d")
    expect(button).to_have_attribute("aria-pressed", "true")
    assert pixels(page, "semantic", "heat") == warm and not requests

    # The table has the mean of each class, as its last column.
    assert viewer.locator("thead th").last.inner_text() == "Mean margin"
    for line in viewer.locator("tbody tr").all():
        cells = line.locator("td").all_inner_texts()
        label = sure.labels.names.index(cells[0])
        assert float(cells[-1]) == pytest.approx(sure.margin[sure.id_map == label].mean() / 255, abs=0.001)


@pytest.mark.soak
def test_doubt_follows_the_threshold_and_fits_a_phone_in_chinese(open_page):  # noqa: F811
    page = open_page(locale="zh-CN", viewport={"width": 380, "height": 780})
    page.get_by_role("tab").nth(1).click()
    upload(page, "instance", COINS)
    viewer = shown(page, "instance")
    # Only the sign is to be seen; a screen reader still says the word.
    assert viewer.locator(".sv-doubt > span").bounding_box()["width"] <= 1 and viewer.locator(".sv-doubt").text_content() == "存疑"
    viewer.locator(".sv-doubt").click()
    expect(viewer.locator(".sv-key")).to_be_visible(timeout=RESULT_MS)
    expect(viewer.locator(".sv-key")).to_contain_text("确信")
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    before = viewer.locator(".sv-heat").evaluate("node => node.toDataURL()")
    scores = sorted(segment.score for segment in load_model("maskrcnn-cells", device="cpu").predict(COINS).segments)
    # Between the least certain object and the next: it goes, the others stay.
    page.locator("#instance-threshold input[type=number]").fill(f"{(scores[0] + scores[1]) / 2:.6f}")
    page.locator("#instance-threshold input[type=number]").blur()
    until_heat_changes(page, before)


@pytest.mark.soak
def test_full_detail_is_chosen_on_the_page(open_page, tmp_path):  # noqa: F811
    page = open_page()
    large = tmp_path / "large.png"
    Image.open(COINS).convert("RGB").resize((1100, 860), Image.Resampling.BICUBIC).save(large)
    upload(page, "semantic", large)
    viewer = shown(page, "semantic")
    whole = viewer.locator("tbody").inner_text()
    page.locator("#semantic-detail label").nth(1).click()
    page.locator("#semantic-run").click()  # which has begun by itself
    expect(viewer.locator("tbody")).not_to_have_text(whole, use_inner_text=True, timeout=RESULT_MS)
    full = load_model("unet-cells", device="cpu").predict(large, detail="full")
    area = max(full.areas)
    expect(viewer.locator("tbody")).to_contain_text(f"{area:,}")

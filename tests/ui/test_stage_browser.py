"""What the viewer says about a run: why the last one failed, until there is something newer, and how small the network saw it."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.pages import COINS, RESULT_MS, browser, open_page, open_tab, shown, upload  # noqa: F401  (fixtures)

EVIL = '<img src=x onerror="window.fired=1">'


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 64)
    return path


@pytest.fixture
def long(tmp_path):
    """The coins in a strip of 3000 x 380 pixels."""
    path = tmp_path / "long.png"
    with Image.open(COINS) as coins:
        strip = Image.new("L", (3000, 380))
        for left in range(0, 3000, coins.width):
            strip.paste(coins.convert("L"), (left, 0))
    strip.save(path)
    return path


def keep_toasts(page: Page) -> None:
    """Toasts stay until something closes them: on a busy machine, a test could not tell that from their own ten seconds."""
    page.evaluate("{ const later = setTimeout; window.setTimeout = (f, ms, ...more) => ms === 10000 ? 0 : later(f, ms, ...more); }")


def reason(page: Page, tab: str):
    """Wait for a failure and return the element with its reason."""
    expect(page.locator(f"#{tab}-viewer .sv")).to_have_attribute("data-failed", "", timeout=RESULT_MS)
    return page.locator(f"#{tab}-viewer .sv-reason")


@pytest.mark.parametrize("tab, name", [("semantic", "Semantic"), pytest.param("regions", "Regions", marks=pytest.mark.soak)])
def test_a_reason_stays_until_the_next_run_and_a_toast_goes_with_it(open_page, bad, tab, name):  # noqa: F811
    page = open_page()
    keep_toasts(page)
    open_tab(page, name)
    upload(page, tab, COINS)
    viewer = shown(page, tab)
    upload(page, tab, bad)
    said = reason(page, tab)
    toast = page.locator(".toast-message-text")  # gradio tells twice of a picture that replaces another, so there may be two
    expect(said).to_have_text("That did not work" + toast.last.inner_text())
    expect(said).to_contain_text("This is a PNG that is damaged")
    expect(viewer).to_have_attribute("data-state", "empty")
    expect(viewer.locator(".sv-empty")).to_be_hidden()
    expect(page.locator(f"#{tab}-viewer [data-testid=status-tracker] .error")).to_be_hidden()  # it would lie over the reason
    # Heard once: the viewer's is the only live text that is not hidden from a screen reader, and the stage is described by it.
    assert said.get_attribute("role") == "status"
    expect(page.locator(".toast-message-item:not([aria-hidden=true])")).to_have_count(0)
    assert viewer.locator(".sv-stage").get_attribute("aria-describedby") == said.get_attribute("id")

    # Each failure has its own reason, and takes the toast of the one before away; a picture that is good takes both away.
    upload(page, tab, {"name": "notes.png", "mimeType": "image/png", "buffer": b"This is a text."})
    expect(said).to_contain_text("This is a text file, which cannot be opened as a picture", timeout=RESULT_MS)
    expect(toast.last).to_contain_text("This is a text")
    expect(toast.filter(has_text="damaged")).to_have_count(0)
    page.locator(".toast-close").click()
    expect(page.locator(".toast-body")).to_have_count(0)
    expect(said).to_be_visible()
    page.locator(f"#{tab}-run").click()
    expect(toast.last).to_contain_text("This is a text", timeout=RESULT_MS)
    expect(said).to_contain_text("This is a text")  # the same once more
    upload(page, tab, COINS)
    shown(page, tab)
    expect(page.locator(".toast-body")).to_have_count(0)
    expect(viewer).not_to_have_attribute("data-failed", "")
    expect(said).to_be_empty()
    assert viewer.locator(".sv-stage").get_attribute("aria-describedby") is None


@pytest.mark.soak
def test_a_reason_is_text_and_goes_when_the_picture_does(open_page):  # noqa: F811
    page = open_page()
    upload(page, "semantic", COINS)
    shown(page, "semantic")
    model = page.locator("#semantic-model input")
    model.fill(EVIL)
    model.press("Enter")
    model.blur()
    said = reason(page, "semantic")
    expect(said).to_contain_text(EVIL[:20])
    assert said.locator("img").count() == 0 and page.evaluate("window.fired") is None
    page.locator("#semantic-image button[aria-label='Remove Image']").click()
    expect(page.locator("#semantic-viewer .sv-empty")).to_be_visible(timeout=RESULT_MS)
    expect(said).to_be_empty()


@pytest.mark.soak
def test_a_reason_in_chinese_fits_a_phone_and_one_that_is_not_known_is_said_so(open_page, bad):  # noqa: F811
    page = open_page(locale="zh-CN", viewport={"width": 380, "height": 780}, has_touch=True, is_mobile=True)
    upload(page, "semantic", bad)
    said = reason(page, "semantic")
    expect(said).to_contain_text("未能完成")
    expect(said).to_contain_text("已损坏")
    stage, text = page.locator("#semantic-viewer .sv-stage").bounding_box(), said.bounding_box()
    assert stage["y"] <= text["y"] and text["y"] + text["height"] <= stage["y"] + stage["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    # What its toast said belongs to that failure alone.
    page.locator("#semantic-viewer .sv").evaluate("node => node.fails()")
    expect(said).to_have_text("未能完成原因不明，请重新运行。")
    # A failure that is told late does not disturb a newer run.
    page.locator("#semantic-viewer .sv").evaluate("node => { const told = node.fails(); node.begins(); return told; }")
    expect(said).to_be_empty()


@pytest.mark.soak
def test_a_strong_shrink_is_said_and_full_detail_and_regions_have_none(open_page, long):  # noqa: F811
    page = open_page()
    upload(page, "semantic", COINS)
    small = shown(page, "semantic").locator(".sv-small")
    expect(small).to_be_hidden()
    upload(page, "semantic", long)
    expect(small).to_have_text(
        "The image was shrunk from 3000 × 380 to 448 × 57 for the network, so small things may be missed. "
        "Full detail works at the original size.",
        timeout=RESULT_MS,
    )
    page.locator("#semantic-detail input[value=full]").check()
    expect(small).to_be_hidden(timeout=RESULT_MS)
    shown(page, "semantic")
    open_tab(page, "Regions")
    upload(page, "regions", long)
    expect(shown(page, "regions").locator(".sv-small")).to_be_hidden()

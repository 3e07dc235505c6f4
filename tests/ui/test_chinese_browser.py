"""The page in Chinese: no English sentence is left on any tab, with results and after failures."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from seg_demo.ui.components import WORDS
from tests.ui.test_names_browser import TABS, accessible
from tests.pages import COINS, RESULT_MS, browser, open_page, open_tab, shown, upload  # noqa: F401

# Names are the same in every language: of people, of a licence, of the Hub, of a network.
NAMES = re.compile(r"Stéfan van der Walt|NVIDIA Source Code License|Hugging Face Hub|U-Net with watershed|nobody/nothing-there")
# Three words or more in a row.
SENTENCE = re.compile(r"[A-Za-z][A-Za-z']+(?:[ ,]+[A-Za-z'][A-Za-z']+){2,}")
# What gradio calls its own buttons and boxes.
LABELS = "[...document.querySelectorAll('[aria-label]')].map(node => node.getAttribute('aria-label')).join('\\n')"


def english(page: Page) -> set[str]:
    """The English sentences that a person sees, or hears from a screen reader, and that stay: a page says its words once the server has
    been asked for them."""
    for _ in range(50):
        seen = page.locator("body").inner_text() + "\n" + page.evaluate(LABELS)
        if not (found := set(SENTENCE.findall(NAMES.sub("", seen)))):
            break
        page.wait_for_timeout(200)
    return found


@pytest.fixture
def page(open_page) -> Iterator[Page]:  # noqa: F811
    yield open_page(locale="zh-CN")


def name(key: str) -> str:
    return WORDS[key][1]


def test_no_tab_says_a_sentence_in_english_or_has_a_control_without_a_name(page):
    expect(page.get_by_role("tab").first).to_have_text("语义分割")
    for key in TABS:
        open_tab(page, name(key))
        expect(page.get_by_role("tabpanel").filter(visible=True)).to_be_visible()
        assert not english(page), key
        accessible(page, key)
    assert "Otsu 阈值" in page.locator("#models-cards").inner_text()
    open_tab(page, name("semantic"))
    expect(page.locator("#semantic-run")).to_have_text("分割")
    expect(page.locator("#semantic-viewer .sv-empty")).to_contain_text("分割结果显示在这里")
    expect(page.locator("#semantic-note")).to_contain_text("细胞")
    page.locator("#semantic-image input[type=file]").set_input_files(
        {"name": "notes.png", "mimeType": "image/png", "buffer": b"This is a text."}
    )
    expect(page.locator(".toast-body").first).to_contain_text("这是文本文件，无法作为图片打开", timeout=RESULT_MS)
    expect(page.locator("#semantic-image .image-frame")).to_have_attribute("data-unshown", "浏览器无法预览此文件")


@pytest.mark.soak
def test_results_and_failures_of_one_image(page, tmp_path: Path):
    open_tab(page, name("regions"))
    upload(page, "regions", COINS)
    viewer = shown(page, "regions")
    expect(viewer.locator("tbody td").first).to_have_text("区域")
    assert "SLIC 超像素" in page.locator("#regions-method").inner_text()
    open_tab(page, name("instance"))
    upload(page, "instance", COINS)
    shown(page, "instance")
    assert not english(page)
    (tmp_path / "notes.png").write_text("no picture")
    open_tab(page, name("semantic"))
    upload(page, "semantic", tmp_path / "notes.png")
    expect(page.locator(".toast-body")).to_contain_text("这是文本")
    expect(page.locator(".toast-title")).to_contain_text("出错了")
    assert not english(page)


@pytest.mark.soak
def test_files_of_a_kind_that_a_box_does_not_take(page, open_page, tmp_path: Path):  # noqa: F811
    """gradio refuses them in the browser, with words of its own, and none of them in Chinese."""
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.4")
    upload(page, "semantic", tmp_path / "paper.pdf")
    expect(page.locator(".toast-body")).to_contain_text("此处只接受图片，未使用：paper.pdf")
    assert not english(page)
    open_tab(page, name("batch"))
    page.locator("#batch-files input[type=file]").set_input_files(tmp_path / "paper.pdf")
    expect(page.locator(".toast-body").last).to_contain_text("此处只接受图片、.zip、.dcm、.dicom、.nii、.nii.gz、.npy，未使用：paper.pdf")
    assert not english(page)
    other = open_page()
    upload(other, "semantic", tmp_path / "paper.pdf")
    expect(other.locator(".toast-body")).to_contain_text("Not taken: paper.pdf. Choose images here.")


@pytest.mark.soak
def test_a_file_called_zip_that_is_none(page, tmp_path: Path):
    open_tab(page, name("finetune"))
    (tmp_path / "data.zip").write_text("no archive")
    page.locator("#finetune-zip input[type=file]").set_input_files(tmp_path / "data.zip")
    expect(page.locator("#finetune-zip")).to_contain_text("data")
    page.locator("#finetune-check").click()
    expect(page.locator(".toast-body")).to_contain_text("这是其他类型的文件", timeout=RESULT_MS)
    assert not english(page)


@pytest.mark.soak
def test_a_batch_with_a_broken_file_and_a_model_that_cannot_be_had(page, tmp_path: Path):
    (tmp_path / "notes.png").write_text("no picture")
    open_tab(page, name("batch"))
    panel = page.get_by_role("tabpanel").filter(visible=True)
    panel.locator("input[type=file]").first.set_input_files([COINS, tmp_path / "notes.png"])
    page.get_by_role("button", name=name("batch_run")).click()
    expect(panel.locator("table.counts")).to_be_visible(timeout=RESULT_MS)
    assert "这是文本" in panel.inner_text() and not english(page)
    open_tab(page, name("compare"))
    upload(page, "compare", COINS)
    box = page.locator("#compare-models input")
    box.fill("nobody/nothing-there")
    box.press("Enter")
    page.locator("#compare-run").click()
    # The other two are compared all the same.
    expect(page.locator("#compare-table table")).to_be_visible(timeout=RESULT_MS)
    alert = page.locator("#compare-table [role=alert]")
    expect(alert).to_contain_text("nobody/nothing-there")
    assert re.search("[\u4e00-\u9fff]{4}", alert.inner_text()) and not english(page)


@pytest.mark.soak
def test_what_is_wrong_with_data_to_learn_from(page, tmp_path: Path):
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for index in range(3):
            file.write(COINS, f"images/{index}.png")
        file.writestr("masks/0.png", "no picture")
    open_tab(page, name("finetune"))
    panel = page.get_by_role("tabpanel").filter(visible=True)
    # Why it failed stands where the findings would, and stays there.
    page.locator("#finetune-check").click()
    expect(panel.locator("#finetune-findings .fault")).to_contain_text("还没有", timeout=RESULT_MS)
    expect(panel.locator("#finetune-findings .error")).to_be_hidden()
    panel.locator("input[type=file]").first.set_input_files(archive)
    page.locator("#finetune-check").click()
    expect(panel.locator("#finetune-findings li")).to_have_count(4, timeout=RESULT_MS)
    assert "没有掩膜" in panel.inner_text() and not english(page)


def test_a_phone_shows_the_whole_table_scrolls_downwards_alone_and_the_doubts_key_goes_with_its_result(open_page, tmp_path: Path):  # noqa: F811
    page = open_page(locale="zh-CN", viewport={"width": 380, "height": 800}, has_touch=True, is_mobile=True)
    upload(page, "semantic", COINS)
    viewer = shown(page, "semantic")
    expect(viewer.locator(".sv-details summary")).to_have_text("按类别统计")
    # It scrolls only downwards, and touch names a segment.
    for key in ("instance", "regions", "correct", "batch", "compare", "finetune", "models", "semantic"):
        open_tab(page, name(key))
        assert page.evaluate("document.documentElement.scrollWidth") <= 380, key
    heights = page.locator("#semantic-viewer td:first-child").evaluate_all("cells => cells.map(cell => cell.offsetHeight)")
    assert len(heights) > 1 and max(heights) < 40, "a class's name is on one line"
    stage = page.locator("#semantic-viewer .sv-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    # A coin of the second row.
    page.touchscreen.tap(box["x"] + box["width"] * 0.12, box["y"] + box["height"] * 0.41)
    expect(stage.locator(".sv-tip")).to_contain_text("px")
    viewer.locator(".sv-doubt").click()
    expect(viewer.locator(".sv-key")).to_be_visible(timeout=RESULT_MS)
    assert viewer.locator(".sv-scroll").evaluate("node => node.scrollWidth <= node.clientWidth + 1")
    expect(viewer.locator(".sv-help")).to_contain_text("点按可查看名称")
    expect(viewer.locator(".sv-help")).not_to_contain_text("键")
    (tmp_path / "notes.png").write_text("no picture")
    upload(page, "semantic", tmp_path / "notes.png")
    expect(viewer).to_have_attribute("data-state", "empty", timeout=RESULT_MS)
    expect(viewer.locator(".sv-key")).to_be_hidden()


@pytest.mark.soak
def test_a_single_region_says_what_may_part_it(page, tmp_path: Path):
    # Dots too small and close for watershed as it is set at first.
    rows, columns = np.mgrid[:300, :400] % 12 - 6
    Image.fromarray(np.where(rows**2 + columns**2 < 9, 200, 20).astype(np.uint8)).save(tmp_path / "dots.png")
    open_tab(page, name("regions"))
    upload(page, "regions", tmp_path / "dots.png")
    expect(shown(page, "regions").locator(".sv-nothing")).to_contain_text("整张图是一个区域")

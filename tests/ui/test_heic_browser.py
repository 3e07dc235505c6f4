"""A phone's photo in a browser that cannot show it, nor tells what kind of file it is."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.pictures import saved
from tests.pages import COINS, RESULT_MS, browser, open_page, open_tab, shown, upload  # noqa: F401


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(saved(Image.open(COINS).convert("RGB"), "HEIF", quality=90))
    return path


@pytest.mark.soak
def test_it_is_segmented_corrected_and_part_of_a_batch(open_page, photo):  # noqa: F811
    page = open_page()
    upload(page, "semantic", photo)
    viewer = shown(page, "semantic")
    assert "33" in viewer.locator(".sv-details tbody").inner_text(), "a third of the picture is coins"
    expect(page.locator("#semantic-image .image-frame")).to_have_attribute("data-unshown", "No preview of this kind of file")
    open_tab(page, "Correct")
    upload(page, "correct", photo)
    expect(page.locator("#correct-image .image-frame")).to_be_visible()
    page.locator("#correct-open").click()
    expect(page.locator("#correct-editor .se")).to_have_attribute("data-state", "open", timeout=RESULT_MS)
    open_tab(page, "Batch")
    page.locator("#batch-files input[type=file]").set_input_files(str(photo))
    expect(page.locator("#batch-files")).to_contain_text("IMG_0001")
    page.locator("#batch-run").click()
    expect(page.locator("#batch-status")).to_contain_text("1 of 1 images segmented", timeout=RESULT_MS)


def test_what_has_a_type_or_is_no_heic_keeps_it(open_page):  # noqa: F811
    types = "[['a.HEIC', ''], ['b.heif', ''], ['c.heic', 'image/jpeg'], ['d.xyz', ''], ['e.HIF', '']]"
    found = open_page().evaluate(f"{types}.map(([name, type]) => new File([], name, {{ type }}).type)")
    assert found == ["image/heic", "image/heic", "image/jpeg", "", "image/heic"]

"""The tab Batch in headless Chromium: what fails lets go of its button, and what is done is shown and taken away."""

from __future__ import annotations

import zipfile

from playwright.sync_api import expect

from tests.pages import COINS, RESULT_MS, browser, open_page, open_tab  # noqa: F401


def test_an_error_frees_the_button_and_faults_are_folded_away(open_page, tmp_path):  # noqa: F811
    page = open_page()
    open_tab(page, "Batch")
    run, stop = page.locator("#batch-run"), page.locator("#batch-stop")
    expect(page.locator("#batch-status .idle")).to_contain_text("Nothing segmented yet")
    run.click()
    expect(page.locator(".toast-body")).to_contain_text("No file was sent")
    expect(run).to_be_enabled()
    expect(stop).to_be_hidden()
    with zipfile.ZipFile(tmp_path / "mixed.zip", "w") as archive:
        archive.write(COINS, "coins.png")
        for index in range(4):
            archive.writestr(f"bad-{index}.png", b"nonsense")
        archive.writestr("../climb.png", b"x")
    page.locator("#batch-files input[type=file]").set_input_files(str(tmp_path / "mixed.zip"))
    page.locator("#batch-pixel input").fill("0.5")
    run.click()
    expect(page.locator("#batch-table tbody tr")).to_have_count(2, timeout=RESULT_MS)
    expect(page.locator("#batch-status")).to_contain_text("1 of 6 images segmented")
    expect(page.locator("#batch-status summary")).to_have_text("Not segmented (5)")
    expect(page.locator("#batch-status details")).not_to_have_attribute("open", "")
    expect(page.locator("#batch-table thead")).to_contain_text("µm²")
    expect(run).to_be_enabled()
    with page.expect_download() as waiting:
        page.locator("#batch-download").click()
    names = zipfile.ZipFile(waiting.value.path()).namelist()
    assert {"counts.csv", "coco.json", "contact_sheet.png", "failed.csv", "masks/coins.png", "geojson/coins.geojson"} <= set(names)
    # What is looked at afterwards is the batch's, whatever has been chosen since.
    for box, value in (("model", "otsu"), ("pixel", "")):
        page.locator(f"#batch-{box} input").fill(value)
        page.locator(f"#batch-{box} input").press("Enter")
    page.locator("#batch-picture input").click()
    page.get_by_role("option", name="coins.png").click()
    viewer = page.locator("#batched-viewer .sv")
    expect(viewer).to_have_attribute("data-state", "shown", timeout=RESULT_MS)
    expect(viewer.locator(".sv-legend")).to_contain_text("cell")
    expect(viewer.locator("thead")).to_contain_text("µm²")
    page.locator("#batch-correct-all").click()
    expect(page.locator("#correct-queue .cq-at")).to_have_text("coins.png", timeout=RESULT_MS)
    expect(page.locator("#correct-model input")).to_have_value("U-Net, cells")
    expect(page.locator("#correct-queue .cq-margin")).to_contain_text("margin")

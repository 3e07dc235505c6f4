"""A scan and a stack in the browser, which knows neither: both are taken, segmented and part of a batch."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import tifffile
import pytest
from playwright.sync_api import expect

from tests.pages import COINS, RESULT_MS, browser, open_page, open_tab, shown, upload  # noqa: F401
from tests.scientific_files import dicom


@pytest.mark.soak
def test_a_scan_is_chosen_segmented_and_part_of_a_batch(open_page, tmp_path):  # noqa: F811
    y, x = np.mgrid[:120, :160]
    scan = (1000 + 400 * ((x - 80) ** 2 + (y - 60) ** 2 < 900)).astype("i2")
    dicom(tmp_path / "scan.dcm", scan, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=200, WindowWidth=500)
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "cells.ome.tif", np.stack([scan // 9, scan, scan // 3]).astype("u2"), ome=True, photometric="minisblack", metadata={"axes": "ZYX", **size})
    page = open_page()
    open_tab(page, "Regions")
    assert ".dcm" in page.locator("#regions-image input[type=file]").first.get_attribute("accept")
    upload(page, "regions", tmp_path / "scan.dcm")
    assert shown(page, "regions").locator(".sv-details tbody").inner_text()
    expect(page.locator("#regions-image .image-frame")).to_have_attribute("data-unshown", "No preview of this kind of file")
    open_tab(page, "Batch")
    page.locator("#batch-model input").fill("otsu")
    page.locator("#batch-model input").press("Enter")
    page.locator("#batch-files input[type=file]").set_input_files([str(tmp_path / "cells.ome.tif"), str(tmp_path / "scan.dcm")])
    expect(page.locator("#batch-files")).to_contain_text("scan")
    # One view for all files: every plane of the stack, and the scan.
    strip = page.locator("#batch-view")
    expect(strip.locator(".vs-picture")).to_be_visible(timeout=RESULT_MS)
    strip.locator(".vs-tick").check()
    page.locator("#batch-run").click()
    expect(page.locator("#batch-status")).to_contain_text("4 of 4 images segmented", timeout=RESULT_MS)
    expect(page.locator("#batch-table")).to_contain_text("cells.ome.tif/page-0002")
    expect(page.locator("#batch-table")).to_contain_text("µm²")


def test_the_strip_shows_a_view_at_once_and_segment_takes_it(open_page, tmp_path):  # noqa: F811
    y, x = np.mgrid[:120, :160]
    planes = np.full((5, 4, 120, 160), 300, "u2")
    for z in range(5):
        # In the second channel a disk that grows with the depth.
        planes[z, 1][(x - 80) ** 2 + (y - 60) ** 2 < (10 + 8 * z) ** 2] = 2000
    names = {"Channel": {"Name": ["DAPI", "<b>GFP</b>", "", "Cy5"]}, "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "stack.ome.tif", planes, ome=True, photometric="minisblack", metadata={"axes": "ZCYX", **names})
    page = open_page()
    open_tab(page, "Regions")
    page.locator("#regions-method").get_by_label("Otsu").check()
    upload(page, "regions", tmp_path / "stack.ome.tif")
    viewer, strip = shown(page, "regions"), page.locator("#regions-view .vs")
    expect(strip.locator(".vs-facts")).to_have_text("160 × 120 px · 0.5 µm per pixel · 80 × 60 µm · 4 channels · 16 bits")
    depth = strip.locator("input[data-axis=z]")
    assert depth.input_value() == "3" and strip.locator("input[type=range]").count() == 1
    first = strip.locator("select[data-channel='0']")
    assert first.locator("option").all_inner_texts() == ["DAPI", "<b>GFP</b>", "Channel 3", "Cy5"]
    expect(viewer.locator(".sv-scale")).to_contain_text("µm")
    # One channel, the last plane, and a window: each is seen before anything is segmented.
    for place in ("2", "1"):
        strip.locator(f"select[data-channel='{place}']").select_option("")
        expect(strip.locator(f"select[data-channel='{place}']")).to_have_value("")
    first.select_option("1")
    expect(strip.locator(".vs-channels .vs-field").first).to_contain_text("Grey")
    depth.fill("5")
    expect(viewer).to_have_attribute("data-state", "preview")
    expect(strip.locator("output")).to_have_text("5 / 5")
    expect(strip.locator(".vs-said")).to_contain_text("not been segmented yet")
    expect(page.locator("#regions-zip")).to_be_hidden()
    # On a phone it stays below the strip.
    page.set_viewport_size({"width": 380, "height": 900})
    page.wait_for_function("document.documentElement.scrollWidth == 380 && document.querySelector('#semantic-viewer .sv-stage').getBoundingClientRect().x < 30")
    page.set_viewport_size({"width": 1280, "height": 900})
    strip.locator(".vs-low").fill("2500")
    strip.locator(".vs-low").press("Enter")
    expect(strip.locator(".vs-said")).to_contain_text("two numbers of which the second is larger")
    strip.locator(".vs-low").fill("100")
    strip.locator(".vs-low").press("Enter")
    expect(strip).not_to_have_attribute("data-fault", "yes")
    strip.locator(".vs-run").click()
    expect(viewer).to_have_attribute("data-state", "shown", timeout=RESULT_MS)
    expect(strip.locator(".vs-run")).to_be_hidden()
    disk = int(((x - 80) ** 2 + (y - 60) ** 2 < 42**2).sum())
    rows = [row.split("\t") for row in viewer.locator(".sv-details tbody tr").all_inner_texts()]
    assert [f"{disk:,}", f"{round(disk / 4):,}"] in [row[1:3] for row in rows], rows
    assert viewer.locator(".sv-united").inner_text() == "Area (µm²)"
    # Back and forth: the result is found again with its view.
    depth.fill("4")
    expect(viewer).to_have_attribute("data-state", "preview")
    depth.fill("5")
    expect(viewer).to_have_attribute("data-state", "shown")
    with page.expect_download() as waiting:
        page.locator("#regions-zip").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        result = json.loads(archive.read(next(name for name in archive.namelist() if name.endswith("result.json"))))
    assert result["view"] == {"page": 0, "z": 4, "t": 0, "channels": [1], "window": [100.0, 2000.0], "gamma": 1.0}
    # A photograph has none.
    upload(page, "regions", COINS)
    expect(strip).to_be_hidden()

"""A scan and a stack in the browser, which knows neither: both are taken, segmented and part of a batch."""

from __future__ import annotations

import numpy as np
import tifffile
from playwright.sync_api import expect

from tests.pages import RESULT_MS, browser, open_page, open_tab, shown, upload  # noqa: F401
from tests.scientific_files import dicom


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
    page.locator("#batch-run").click()
    expect(page.locator("#batch-status")).to_contain_text("2 of 2 images segmented", timeout=RESULT_MS)
    expect(page.locator("#batch-table")).to_contain_text("µm²")

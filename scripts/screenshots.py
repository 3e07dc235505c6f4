"""The pictures of the README, taken of the running demo: ``python scripts/screenshots.py`` (``make screenshots``).

Starts the demo on a free port, walks through its tabs in headless Chromium, and writes docs/screenshots/*.png, each below
200 kB.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.served import served  # noqa: E402

DESKTOP = {"viewport": {"width": 1200, "height": 800}}
PHONE = {"viewport": {"width": 380, "height": 800}, "has_touch": True, "is_mobile": True}
DARK = {"color_scheme": "dark"}
CHINESE = {"locale": "zh-CN"}
MAX_BYTES = 200_000
PATIENCE_MS = 180_000
TABS = ("semantic", "instance", "panoptic", "regions", "click", "correct", "batch", "compare", "finetune", "models")


def main() -> None:
    """Take every picture, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these pictures, such as instance-desktop")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/screenshots", help="folder to write to")
    parser.add_argument("--url", help="of a demo that runs already")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        if chosen.url:
            take(browser, chosen.url, chosen.out, chosen.names)
        else:
            with served() as url:
                take(browser, url, chosen.out, chosen.names)
        browser.close()


def take(browser: Browser, url: str, out: Path, names: list[str]) -> None:
    """Write the pictures into a folder."""
    pictures = {
        "start-desktop": (DESKTOP, start),
        "semantic-desktop": (DESKTOP, lambda page: result(page, "semantic", "cells", 1, (0.52, 0.47))),
        "instance-desktop": (DESKTOP, lambda page: result(page, "instance", "cells", 0, (0.115, 0.41))),
        "instance-dark": (DESKTOP | DARK, lambda page: result(page, "instance", "cells", 1, (0.5, 0.5))),
        "regions-desktop": (DESKTOP, lambda page: result(page, "regions", "examples", 1, (0.45, 0.5))),
        "correct-desktop": (DESKTOP, editor),
        "models-desktop": (DESKTOP, models),
        "error-desktop": (DESKTOP, error),
        "stack-desktop": (DESKTOP, stack),
        "ct-desktop": (DESKTOP, ct),
        "raster-desktop-zh": (DESKTOP | CHINESE, raster),
        "start-phone": (PHONE, start),
        "instance-phone": (PHONE, lambda page: result(page, "instance", "cells", 0, None)),
        "instance-phone-zh": (PHONE | DARK | CHINESE, lambda page: result(page, "instance", "cells", 0, None)),
        "stack-phone": (PHONE, stack),
        "ct-phone-zh": (PHONE | CHINESE, ct),
        "raster-phone": (PHONE, raster),
    }
    for name, (context, walk) in pictures.items():
        if names and name not in names:
            continue
        with browser.new_context(**context) as opened:
            page = opened.new_page()
            page.goto(url)
            page.locator("#semantic-viewer .sv").wait_for(timeout=PATIENCE_MS)
            page.wait_for_load_state("load")
            walk(page)
            page.wait_for_timeout(500)
            write(page.screenshot(full_page="models" in name), out / f"{name}.png")


def write(shot: bytes, path: Path) -> None:
    """A screenshot as a PNG: in full colour if that is small enough, else with a palette of the colours that are in it."""
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    for colors in (256, 128, 64):
        if file.tell() <= MAX_BYTES:
            break
        file = io.BytesIO()
        picture.quantize(palette=palette(picture, colors), dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    path.write_bytes(file.getvalue())
    print(f"{path} {picture.width} x {picture.height}, {file.tell():,} bytes")


def palette(picture: Image.Image, colors: int) -> Image.Image:
    """A palette of the page's own colours and of all kinds of colours that are there, a button's as well as a photograph's.

    A quantiser that goes by frequency alone takes the green of a small button from the greys around it.
    """
    exact, counts = np.unique(np.asarray(picture).reshape(-1, 3), axis=0, return_counts=True)
    own = exact[np.argsort(-counts)[: colors // 8]]
    _, kinds = np.unique(exact >> 3, axis=0, return_index=True)
    common = picture.quantize(colors // 2, Image.Quantize.MEDIANCUT, kmeans=2)
    rare = Image.fromarray(exact[kinds][None]).quantize(colors - len(own) - colors // 2, Image.Quantize.MEDIANCUT)
    parts = [own, *(np.array(each.getpalette(), dtype=np.uint8).reshape(-1, 3) for each in (common, rare))]
    few = Image.new("P", (1, 1))
    few.putpalette(np.concatenate(parts)[:colors].tobytes())
    return few


def start(page: Page) -> None:
    """The page as it opens."""
    # On a busy machine the examples come after the page.
    page.wait_for_function(
        "(seen => seen.length > 0 && seen.every(img => img.complete && img.naturalWidth))"
        "([...document.querySelectorAll('.examples .gallery-item img')].filter(img => img.offsetParent))",
        timeout=PATIENCE_MS,
    )


def result(page: Page, tab: str, group: str, number: int, point: tuple[float, float] | None) -> None:
    """A result of one of the examples, with the pointer at a share of the stage's width and height."""
    open_tab(page, tab)
    page.locator(f"#{tab}-{group} .gallery-item").nth(number).click()
    page.locator(f"#{tab}-viewer .sv[data-state=shown]").wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(700)
    if point:
        box = page.locator(f"#{tab}-viewer .sv-stage").bounding_box()
        page.mouse.move(box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"])
    else:
        page.mouse.move(2, 2)  # it would point at what is scrolled below it
        page.locator(f"#{tab}-viewer").evaluate("node => scrollTo(0, node.getBoundingClientRect().top + scrollY - 90)")


def open_tab(page: Page, tab: str) -> None:
    """Choose a tab; a phone has most of them in a menu."""
    button = page.locator(f"button[data-tab-id={tab}]:visible")
    if not button.count():
        page.evaluate("scrollTo(0, 0)")
        page.locator(".overflow-menu > button").click()
        # What is in the menu has no names but those that are read.
        button = page.locator(".overflow-dropdown button").nth(TABS.index(tab) - page.locator("button[data-tab-id]:visible").count())
    button.click()
    page.wait_for_timeout(600)


def models(page: Page) -> None:
    """What each model is."""
    open_tab(page, "models")


def editor(page: Page) -> None:
    """A model's mask opened in the editor of the Correct tab."""
    open_tab(page, "correct")
    panel = page.get_by_role("tabpanel").filter(visible=True)
    panel.get_by_label("Name of the dataset").fill("coins")
    panel.get_by_role("textbox", name="Classes").fill("cell, border")
    panel.locator("input[type=file]").first.set_input_files(ROOT / "seg_demo/ui/examples/coins.png")
    page.wait_for_timeout(1500)
    panel.get_by_role("button", name="Open in the editor").click()
    page.locator(".se[data-state=open]").wait_for(timeout=PATIENCE_MS)
    page.mouse.click(600, 780)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(2500)


def stack(page: Page) -> None:
    """A stack of four channels and seven planes, of which one channel is segmented."""
    nuclei = np.asarray(Image.open(ROOT / "seg_demo/ui/examples/nuclei.jpg").convert("L"), dtype=np.float32) / 255
    noise = np.random.default_rng(0)
    planes = []
    for z in range(7):
        sharp = gaussian_filter(nuclei, abs(z - 3) * 1.2) * (1 - abs(z - 3) * 0.1)
        wide = gaussian_filter(sharp, 6)
        channels = (sharp, wide, np.abs(sharp - gaussian_filter(sharp, 3)), np.clip(wide - sharp, 0, None))
        planes.append(np.stack([300 + 12_000 * channel + noise.normal(0, 60, channel.shape) for channel in channels]))
    size = {"PhysicalSizeX": 0.325, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.325, "PhysicalSizeYUnit": "µm"}
    about = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "Alexa 488", "mCherry", "Cy5"]}, **size}
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack(planes).clip(0, 65_535).astype(np.uint16), ome=True, photometric="minisblack", metadata=about)
    strip = send(page, "semantic", "stack.ome.tif", file.getvalue())
    for select in (2, 1):  # green and blue show nothing: what is left is grey
        strip.locator("select").nth(select).select_option(index=0)
        page.wait_for_timeout(1500)
    segment_view(page, "semantic")


def ct(page: Page) -> None:
    """A slice of a drawn patient, of which one of the presets is looked at."""
    y, x = np.mgrid[:512, :512] / 256 - 1.0

    def oval(across: float, down: float, wide: float, high: float) -> np.ndarray:
        return ((x - across) / wide) ** 2 + ((y - down) / high) ** 2 < 1

    values = np.full(x.shape, -1000.0)
    for place, value in (
        ((0, 0.05, 0.88, 0.66), -90), ((0, 0.05, 0.82, 0.6), 45), ((-0.42, 0, 0.28, 0.42), -820), ((0.4, 0, 0.27, 0.42), -820), ((0.1, -0.08, 0.2, 0.24), 60),
        ((0.02, -0.2, 0.09, 0.09), 210), ((-0.1, 0.28, 0.06, 0.06), 190), ((0, 0.45, 0.13, 0.12), 420), ((0, 0.45, 0.08, 0.07), 180), ((0, 0.6, 0.04, 0.12), 500),
        ((0.45, -0.1, 0.05, 0.05), 30), ((-0.35, 0.15, 0.03, 0.03), 20), *(((0.79 * np.sin(turn), 0.05 + 0.57 * np.cos(turn), 0.035, 0.03), 600) for turn in np.arange(0.4, 6, 0.52)),
    ):  # fmt: skip
        values[oval(*place)] = value
    values = gaussian_filter(values, 1.2) + np.random.default_rng(0).normal(0, 12, values.shape)
    found, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, CTImageStorage, generate_uid()
    found.file_meta, found.SOPClassUID, found.SOPInstanceUID, found.Modality = meta, CTImageStorage, meta.MediaStorageSOPInstanceUID, "CT"
    found.StudyInstanceUID, found.SeriesInstanceUID, found.FrameOfReferenceUID = generate_uid(), generate_uid(), generate_uid()
    found.Rows, found.Columns, found.SamplesPerPixel, found.PhotometricInterpretation = 512, 512, 1, "MONOCHROME2"
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 16, 15, 1
    found.PixelSpacing, found.SliceThickness, found.RescaleSlope, found.RescaleIntercept = [0.75, 0.75], 1.5, 1, -1024
    found.ImagePositionPatient, found.ImageOrientationPatient, found.WindowCenter, found.WindowWidth = [-192, -192, 0], [1, 0, 0, 0, 1, 0], 40, 400
    found.PixelData = (values + 1024).astype(np.int16).tobytes()
    file = io.BytesIO()
    found.save_as(file, enforce_file_format=True)
    strip = send(page, "regions", "slice.dcm", file.getvalue())
    lung = strip.locator(".vs-preset option").nth(4)
    strip.locator(".vs-preset").select_option(value=lung.get_attribute("value"))
    page.wait_for_timeout(1500)
    segment_view(page, "regions")


def raster(page: Page) -> None:
    """Fields of 16 bits in UTM, ten metres a pixel."""
    draw = np.random.default_rng(3)
    kinds = np.array([[500, 900, 350, 3600], [1500, 1300, 700, 2600], [900, 1100, 500, 3100], [2100, 1700, 1100, 2300], [380, 650, 420, 2900], [1250, 1350, 480, 2800]])
    seeds, colors = draw.uniform(0, 400, (70, 2)), kinds[draw.integers(0, len(kinds), 70)] * draw.uniform(0.85, 1.15, (70, 1))
    y, x = np.mgrid[:400, :640]
    owner = np.argmin((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - 1.6 * seeds[:, 1]) ** 2, axis=-1)
    bands = np.moveaxis(gaussian_filter(colors[owner], (1, 1, 0)) + draw.normal(0, 40, (400, 640, 4)), -1, 0)
    with MemoryFile() as file:
        place = {"crs": "EPSG:32633", "transform": from_origin(390_000, 5_820_000, 10, 10), "nodata": 0}
        with file.open(driver="GTiff", height=400, width=640, count=4, dtype="uint16", compress="deflate", **place) as written:
            written.write(bands.clip(1, 10_000).astype(np.uint16))
        content = file.read()
    send(page, "regions", "fields.tif", content)
    segment_view(page, "regions")


def send(page: Page, tab: str, name: str, content: bytes) -> Locator:
    """A scientific file chosen on a tab: the strip by which one looks at it."""
    if tab != "semantic":
        open_tab(page, tab)
    page.locator(f"#{tab}-image input[type=file]").set_input_files({"name": name, "mimeType": "image/tiff" if name.endswith(".tif") else "application/dicom", "buffer": content})
    strip = page.locator(f"#{tab}-view .vs")
    strip.wait_for(timeout=PATIENCE_MS)
    return strip


def segment_view(page: Page, tab: str) -> None:
    """What the strip shows segmented, with the strip in sight; a file that was sent is by itself, as it lies."""
    page.wait_for_timeout(1500)
    if (run := page.locator(f"#{tab}-view .vs-run")).is_visible():
        run.click()
    page.locator(f"#{tab}-viewer .sv[data-state=shown]").wait_for(timeout=PATIENCE_MS)
    page.mouse.move(2, 2)
    # On a phone as on a desk: from the strip on, down to the scale.
    page.locator(f"#{tab}-view").evaluate("node => scrollTo(0, node.getBoundingClientRect().top + scrollY - 16)")
    page.wait_for_timeout(1500)


def error(page: Page) -> None:
    """A file that is no image."""
    file = {"name": "notes.png", "mimeType": "image/png", "buffer": b"This is a text."}
    page.locator("#semantic-image input[type=file]").set_input_files(file)
    page.locator(".toast-body").first.wait_for(timeout=PATIENCE_MS)


if __name__ == "__main__":
    main()

"""In Chromium: HTML in labels, ids, file names, class names and error texts is shown as text, and runs no script."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.served import served
from tests.pages import COINS, RESULT_MS, browser, drawn, open_tab, shown, upload  # noqa: F401

# A name of a file cannot have a slash; gradio's own code takes out what some systems do not allow.
EVIL = '<img src=x onerror="window.fired=1"><b class=evil>'
SCRIPT = "<script>window.fired=1</script><svg onload=window.fired=1>"


@contextmanager
def visited(browser: Browser, address: str) -> Iterator[Page]:  # noqa: F811
    """The page, open; whatever ran or was taken for HTML fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(RESULT_MS)
    dialogs, problems = [], []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: problems.append(str(error)))
    with page.expect_response("**/run/predict"):
        page.goto(address)
    yield page
    inert(page)
    assert not dialogs and not problems
    context.close()


def inert(page: Page) -> None:
    """Nothing of what was sent has become an element or has run."""
    drawn(page)
    found = page.evaluate(
        "() => [window.fired, document.title, document.querySelectorAll('img[src=x], .evil, svg[onload]').length,"
        " [...document.scripts].some(each => each.text === 'window.fired=1')]"
    )
    assert found == [None, "Image segmentation", 0, False], found


def choose_model(page: Page, tab: str, id: str) -> None:
    box = page.locator(f"#{tab}-model input")
    box.fill(id)
    box.press("Enter")
    box.blur()


def toast(page: Page, text: str) -> None:
    """Wait for an error with this text in it, see that it is text, and close it."""
    expect(page.locator(".toast-body").filter(has_text=text).first).to_be_visible(timeout=RESULT_MS)
    inert(page)
    for button in page.locator(".toast-close").all():
        button.click()
    expect(page.locator(".toast-body")).to_have_count(0)


def evil_file(folder: Path, content: bytes, suffix: str = ".png") -> Path:
    path = folder / f"{EVIL}{suffix}"
    path.write_bytes(content)
    return path


def test_names_ids_and_error_texts_are_text(browser, demo_url, tmp_path):  # noqa: F811
    good = evil_file(tmp_path, COINS.read_bytes())
    (tmp_path / "bad").mkdir()
    bad = evil_file(tmp_path / "bad", b"\x89PNG\r\n\x1a\n" + SCRIPT.encode())
    with visited(browser, demo_url) as page:
        upload(page, "semantic", good)
        shown(page, "semantic")
        inert(page)
        with page.expect_download() as waiting:
            page.locator("#semantic-mask").click()
        assert waiting.value.suggested_filename.endswith("_mask.png") and "<" not in waiting.value.suggested_filename
        choose_model(page, "semantic", EVIL)
        toast(page, "is not the id of a model")
        page.locator("#semantic-image button[aria-label='Remove Image']").click()
        choose_model(page, "semantic", "unet-cells")
        upload(page, "semantic", bad)
        toast(page, "PNG")

        open_tab(page, "Batch")
        with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
            archive.write(COINS, f"{EVIL}/{EVIL}.png")
            archive.writestr(f"{SCRIPT.replace('/', '')}.png", b"no image")
        page.locator("#batch-files input[type=file]").set_input_files([str(good), str(bad), str(tmp_path / "pictures.zip")])
        expect(page.locator("#batch-files .file-preview tr, #batch-files .file")).to_have_count(3, timeout=RESULT_MS)
        page.locator("#batch-run").click()
        expect(page.locator("#batch-table table")).to_be_visible(timeout=RESULT_MS)
        expect(page.locator("#batch-status li")).to_have_count(2)
        expect(page.locator("#batch-status li").first).to_contain_text("img src=x")
        inert(page)

        open_tab(page, "Correct")
        page.locator("#correct-name :is(input, textarea)").fill(EVIL)
        page.locator("#correct-classes textarea").fill(f"background, {EVIL}, {SCRIPT}")
        page.locator("#correct-start input[value=blank]").check()
        page.locator("#correct-image input[type=file]").set_input_files(str(good))
        expect(page.locator("#correct-image img")).to_be_visible()
        page.locator("#correct-open").click()
        expect(page.locator("#correct-editor .se")).to_have_attribute("data-state", "open", timeout=RESULT_MS)
        expect(page.locator("#correct-editor .se")).to_contain_text("<img src=x")
        inert(page)
        page.locator("#correct-dataset input").click()
        inert(page)


@pytest.mark.soak
def test_labels_of_a_strangers_model_are_text(browser, hub, folders, tmp_path):  # noqa: F811
    shutil.copytree(folders / "tiny", tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    labels = {"0": "background", "1": EVIL, "2": SCRIPT}
    config |= {"id2label": labels, "label2id": {name: int(key) for key, name in labels.items()}}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    hub.add_repo("ann/evil", tmp_path / "model")
    good = evil_file(tmp_path, COINS.read_bytes())
    # Without the menu of the Hub, which the page would open with where the Hub can be reached.
    with served(SEG_DEMO_MODELS="unet-cells, segformer-cells") as address, visited(browser, address) as page:
        upload(page, "semantic", good)
        shown(page, "semantic")
        choose_model(page, "semantic", "ann/evil")
        legend = page.locator("#semantic-viewer .sv-legend")
        expect(legend.filter(has_text="evil").or_(legend.filter(has_text="script")).first).to_be_visible(timeout=RESULT_MS)
        stage = page.locator("#semantic-viewer .sv-stage")
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()
        for step in range(1, 10):
            page.mouse.move(box["x"] + box["width"] * step / 10, box["y"] + box["height"] * step / 10)
            inert(page)
        stage.focus()
        for _ in range(4):
            page.keyboard.press("n")
            inert(page)
        page.locator("#semantic-viewer .sv-details summary").click()
        inert(page)
        for kind in ("coco_rle", "csv", "overlay", "zip"):
            with page.expect_download():
                page.locator(f"#semantic-{kind}").click()
            inert(page)

        open_tab(page, "Batch")
        page.locator("#batch-files input[type=file]").set_input_files(str(good))
        choose_model(page, "batch", "ann/evil")
        page.locator("#batch-run").click()
        expect(page.locator("#batch-table table")).to_be_visible(timeout=RESULT_MS)
        inert(page)

        open_tab(page, "Compare")
        upload(page, "compare", good)
        box = page.locator("#compare-models input")
        box.fill("ann/evil")
        box.press("Enter")
        page.locator("#compare-run").click()
        expect(page.locator("#compare-table table")).to_be_visible(timeout=RESULT_MS)
        inert(page)

        open_tab(page, "Correct")
        page.locator("#correct-start input[value=model]").check()
        choose_model(page, "correct", "ann/evil")
        page.locator("#correct-image input[type=file]").set_input_files(str(good))
        expect(page.locator("#correct-image img")).to_be_visible()
        page.locator("#correct-open").click()
        expect(page.locator("#correct-editor .se")).to_have_attribute("data-state", "open", timeout=RESULT_MS)
        inert(page)

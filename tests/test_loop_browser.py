"""The whole loop by mouse and keys in Chromium, against a Hub on loopback, with the page's own defaults.

Segment → correct six images with strokes → fine-tune → better on the hold-out → push → pick the new id → its result is used.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sklearn.metrics import jaccard_score

from tests.served import served
from tests.pages import RESULT_MS, browser, open_tab, upload  # noqa: F401
from tests.editing import Canvas, mask_of, save, swept, to_tab

TOKEN = "hf_bea_secret_0815"
SIZE = (192, 256)
BRUSH = 20
TRAIN_MS = 480_000


def worms(seed: int) -> tuple[np.ndarray, list[list[tuple[float, float]]], np.ndarray]:
    """Woven worms on a mottled ground: picture uint8, the polylines that paint them with a brush of 20, bool (H, W) truth."""
    rng, (height, width) = np.random.default_rng(seed), SIZE
    lines, truth = [], np.zeros(SIZE, dtype=bool)
    while len(lines) < 5:
        start = rng.uniform((24, 24), (width - 24, height - 24))
        end = start + rng.uniform(25, 60) * np.array([np.cos(angle := rng.uniform(0, 2 * np.pi)), np.sin(angle)])
        inside = (20 < end[0] < width - 20) and (20 < end[1] < height - 20)
        if inside and not (swept(SIZE, [tuple(start), tuple(end)], BRUSH + 16) & truth).any():
            lines.append([tuple(start), tuple(end)])
            truth |= swept(SIZE, lines[-1], BRUSH)
    rows, columns = np.mgrid[:height, :width]
    weave = 70 * (((rows // 2) + (columns // 2)) % 2)
    ground = 110 + 25 * np.sin(rows / 9 + seed) * np.cos(columns / 11)
    picture = np.where(truth, 90 + weave, ground)[..., None] + rng.normal(0, 6, (*SIZE, 3))
    return picture.clip(0, 255).astype(np.uint8), lines, truth


def segmented(page: Page, picture: Path) -> np.ndarray:
    """The mask of a picture by the model that the Semantic tab has chosen, as it is downloaded."""
    open_tab(page, "Semantic")
    upload(page, "semantic", picture)
    page.locator("#semantic-run").click()
    expect(page.locator("#semantic-viewer .sv")).to_have_attribute("data-state", "shown", timeout=RESULT_MS)
    with page.expect_download() as waiting:
        page.locator("#semantic-mask").click()
    return np.array(Image.open(waiting.value.path()))


def set_brush(page: Page, size: int) -> None:
    """The size of the brush by its keys: down to a pixel, then up, which passes every small size."""
    page.locator(".se-stage").focus()
    shown = page.locator(".se-sizevalue")
    for key, done in (("[", lambda value: value <= size), ("]", lambda value: value >= size)):
        for _ in range(80):
            if done(int(shown.inner_text())):
                break
            page.keyboard.press(key)


def correct(page: Page, picture: Path, lines: list[list[tuple[float, float]]], first: bool) -> np.ndarray:
    """Open a picture with a prediction, wipe it out with the eraser, paint the worms, save; the mask that was saved."""
    if first:
        page.locator("#correct-name :is(input, textarea)").fill("Woven worms")
    elif page.locator("#correct-image [aria-label=Clear]").count():
        page.locator("#correct-image [aria-label=Clear]").click()
    page.locator("#correct-image input[type=file]").set_input_files(str(picture))
    expect(page.locator("#correct-image img")).to_be_visible()
    page.locator("#correct-open").click()
    expect(page.locator(".se-facts")).to_contain_text(picture.stem, timeout=RESULT_MS)
    page.locator(".se-stage").scroll_into_view_if_needed()
    canvas = Canvas(page, SIZE)
    page.locator(".se-stage").focus()
    page.keyboard.press("e")
    for _ in range(8):
        page.keyboard.press("]")
    sweep = [(x, y) for index, y in enumerate(range(8, SIZE[0] + 1, 16)) for x in ((2, 254) if index % 2 == 0 else (254, 2))]
    canvas.stroke(*sweep)
    page.keyboard.press("b")
    page.keyboard.press("1")
    set_brush(page, BRUSH)
    size, expected = int(page.locator(".se-sizevalue").inner_text()), np.zeros(SIZE, np.uint8)
    for line in lines:
        expected[swept(SIZE, canvas.stroke(*line), size)] = 1
    painted = mask_of(page)
    assert np.array_equal(painted, expected)
    save(page)
    return painted


@pytest.mark.soak
def test_the_loop_by_mouse(browser: Browser, hub, tmp_path):  # noqa: F811
    hub.add_user("bea", TOKEN)
    environ = {"SEG_DEMO_DATA": str(tmp_path / "data"), "SEG_DEMO_JOBS": str(tmp_path / "jobs"), "SEG_DEMO_DEVICE": "cpu"}
    environ["SEG_DEMO_MODELS"] = "unet-cells,maskrcnn-cells"
    pictures = []
    for seed in range(7):
        picture, lines, truth = worms(seed)
        Image.fromarray(picture).save(tmp_path / f"worms-{seed}.png")
        pictures.append((tmp_path / f"worms-{seed}.png", lines, truth))
    new, _, truth = pictures.pop()
    environ |= {"GRADIO_TEMP_DIR": str(tmp_path / "gradio"), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    with served(keep=tmp_path / "log.txt", **environ) as address:
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        page.set_default_timeout(RESULT_MS)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        before = segmented(page, new) == 1
        to_tab(page, address)
        for index, (path, lines, drawn) in enumerate(pictures):
            painted = correct(page, path, lines, index == 0)
            assert jaccard_score(drawn.ravel(), painted.ravel() == 1) > 0.8, "the strokes paint what is there"
            expect(page.locator("#correct-samples li")).to_have_count(index + 1)
        open_tab(page, "Fine-tune")
        expect(page.locator("#finetune-dataset input")).to_have_value("Woven worms (6)")
        page.locator("#finetune-run").click()
        # The border between cells is a class of the base that nobody painted: said, and mended by one click.
        expect(page.locator("#finetune-findings")).to_contain_text("never occurs", timeout=RESULT_MS)
        page.locator("#finetune-skip").click()
        expect(page.locator("#finetune-findings")).to_contain_text("2 held out", timeout=RESULT_MS)
        page.locator("#finetune-run").click()
        expect(page.locator("#finetune-status .job")).to_have_attribute("data-state", "running", timeout=RESULT_MS)
        # Another look at the page finds the job again.
        page.reload()
        open_tab(page, "Fine-tune")
        expect(page.locator("#finetune-status .job")).to_have_attribute("data-state", "running", timeout=RESULT_MS)
        expect(page.locator("#finetune-status .job")).to_have_attribute("data-state", "done", timeout=TRAIN_MS)
        expect(page.locator("#finetune-verdict .verdict")).to_have_attribute("data-kind", "better")
        page.locator("#finetune-hub > button").click()
        page.locator("#push-repo :is(input, textarea)").fill("bea/worms")
        page.locator("#push-token input").fill(TOKEN)
        page.locator("#push-run").click()
        expect(page.locator("#finetune-pushed")).to_contain_text("bea/worms@", timeout=RESULT_MS)
        expect(page.locator("#push-token input")).to_have_value("")
        assert "model.safetensors" in hub.files("bea/worms")
        open_tab(page, "Semantic")
        after = segmented(page, new) == 1
        assert "bea/worms" in page.locator("#semantic-model input").input_value()
        scores = [jaccard_score(truth.ravel(), each.ravel()) for each in (before, after)]
        assert scores[1] > scores[0] + 0.1, scores
        assert not problems
    assert '"push"' in (tmp_path / "log.txt").read_text(), "the log has a line of the push, and no more"
    written = [path for place in (tmp_path, Path(os.environ["HF_HOME"])) for path in place.rglob("*") if path.is_file()]
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]

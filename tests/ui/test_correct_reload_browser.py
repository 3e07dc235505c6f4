"""What is drawn is kept: over a reload and a killed server, at 12 megapixels, and apart from what other visitors draw."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from seg_demo.datasets.dataset import stem_of
from seg_demo.serving import catalog
from tests.editing import (  # noqa: F401
    SIZE, Canvas, address, begin, current, data, dataset_of,
    editor, mask_of, save, swept, to_tab, visit,
)  # fmt: skip
from tests.served import ROOT, free_port, served
from tests.pages import COINS, RESULT_MS, browser, open_tab, shown, upload  # noqa: F401


@pytest.mark.soak
def test_a_drawing_survives_a_reload_and_a_killed_server(visit, tmp_path):  # noqa: F811
    port = str(free_port())
    environ = {"GRADIO_SERVER_PORT": port, "SEG_DEMO_DATA": str(tmp_path / "data")}
    expected = np.zeros(SIZE, np.uint8)
    with served(**environ) as address:  # noqa: F811
        page = visit(address)
        begin(page, COINS, name="Kept")
        canvas, size = Canvas(page, SIZE), current(page)
        expected[swept(SIZE, canvas.stroke((40, 40), (200, 90)), size)] = 1
        canvas.stroke((40, 240), (200, 190))
        page.keyboard.press("Control+z")
        page.wait_for_function(
            "() => new Promise(done => { const open = indexedDB.open('seg-demo-editor'); open.onsuccess = () => {"
            " const all = open.result.transaction('heads').objectStore('heads').getAll();"
            " all.onsuccess = () => { open.result.close();"
            " done(all.result.some(h => h.position === 1 && h.strokes === 2)); }; }; })"
        )
        to_tab(page, address)
        expect(page.locator(".se-notice")).to_contain_text("Restored")
        assert np.array_equal(mask_of(page), expected)
    with served(**environ) as address:
        to_tab(page, address)
        expect(page.locator(".se-notice")).to_contain_text("Restored")
        expect(page.locator("#correct-dataset input")).to_have_value("Kept")
        page.locator(".se-stage").focus()
        page.keyboard.press("Control+Shift+Z")
        canvas = Canvas(page, SIZE)
        expected = mask_of(page)
        assert expected[215, 120] == 1, "what was undone can still be redone"
        expected = expected.copy()
        expected[swept(SIZE, canvas.stroke((300, 40), (300, 200)), current(page))] = 1
        save(page)
    # A server that is started again knows nothing of a page that stayed open; what was drawn meanwhile can be saved there.
    expected[swept(SIZE, Canvas(page, SIZE).stroke((340, 40), (340, 200)), current(page))] = 1
    with served(**environ):
        save(page)
    dataset = dataset_of(tmp_path / "data", "Kept")
    image, mask, _ = dataset.read("coins")
    assert np.array_equal(mask, expected) and np.array_equal(image[..., 0], np.asarray(Image.open(COINS)))


def test_a_drawing_of_an_open_tab_is_kept_however_many_come_after_it(browser):  # noqa: F811
    """Those that no tab has any more go, the oldest first."""
    context = browser.new_context()
    context.route("**/*", lambda route: route.fulfill(content_type="text/html", body=""))
    script = (ROOT / "seg_demo/ui/static/editor_drafts.js").read_text("utf-8")
    begin_all = """async ([script, docs]) => {
      const [Drafts, claim] = new Function(script + "; return [Drafts, claim];")();
      const drafts = new Drafts("drafts");
      for (const [doc, time] of docs) {
        await claim(doc);
        await drafts.begin({ doc }, { doc, time });
      }
      return (await drafts.all("heads")).map((head) => head.doc).sort().join("");
    }"""
    left, first, later = (context.new_page() for _ in range(3))
    for tab in (left, first, later):
        tab.goto("http://localhost/")
    left.evaluate(begin_all, [script, [("a", 1)]])
    first.evaluate(begin_all, [script, [("b", 2)]])
    left.close()
    # The browser gives up what a closed tab held a moment later.
    later.evaluate("async () => { while ((await navigator.locks.query()).held.length > 1) await new Promise((done) => setTimeout(done, 20)); }")
    assert later.evaluate(begin_all, [script, [("c", 3), ("d", 4)]]) == "bcd"
    last = context.new_page()
    last.goto("http://localhost/")
    assert last.evaluate(begin_all, [script, [("e", 5), ("f", 6)]]) == "bcdef", "three other tabs' and its own, which it still draws on"
    context.close()


@pytest.mark.soak
def test_twelve_megapixels_are_painted_at_full_size_and_at_once(visit, address, tmp_path):  # noqa: F811
    size = (3000, 4000)
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (75, 100, 3), dtype=np.uint8))
    small.resize((4000, 3000), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=85)
    page = visit(address)
    begin(page, tmp_path / "large.jpg", name="Large")
    canvas, expected = Canvas(page, size), np.zeros(size, np.uint8)
    page.evaluate(
        """() => {
          window.delays = [];
          let waiting = null;
          const stage = document.querySelector('#correct-editor .se-stage');
          const began = event => { if (event.buttons && waiting === null) waiting = event.timeStamp; };
          stage.addEventListener('pointermove', began, true);
          const put = CanvasRenderingContext2D.prototype.putImageData;
          CanvasRenderingContext2D.prototype.putImageData = function (...given) {
            put.apply(this, given);
            if (waiting === null || !this.canvas.classList.contains('se-fillmap')) return;
            const since = waiting;
            waiting = null;
            const channel = new MessageChannel();  // its message comes after the frame
            channel.port1.onmessage = () => window.delays.push(performance.now() - since);
            channel.port2.postMessage(0);
          };
        }"""
    )
    places = [(400 + 90 * step, 1500 + 900 * np.sin(step / 4)) for step in range(34)]
    expected[swept(size, canvas.stroke(*places), current(page))] = 1
    delays = page.evaluate("window.delays")
    assert len(delays) > 10
    # A single pixel at the largest zoom, far from where the window began.
    page.locator(".se-stage").focus()
    mask = mask_of(page)
    assert mask.shape == size and np.array_equal(mask, expected)
    page.locator(".se-stage").focus()
    for _ in range(40):
        page.keyboard.press("[")
    assert current(page) == 1
    middle = canvas.screen(2000, 1500)
    page.mouse.move(*middle)
    for _ in range(20):
        page.mouse.wheel(0, -600)
    expect(page.locator(".se-percent")).not_to_have_text("100 %")
    page.keyboard.press("2")
    page.mouse.down()
    page.mouse.up()
    changed = np.argwhere(mask_of(page) != expected)
    assert len(changed) == 1 and np.abs(changed[0] - [1500, 2000]).max() <= 12
    print(f"measured: from event to drawn frame: median {np.median(delays):.1f} ms, most {max(delays):.1f} ms")
    assert np.median(delays) < 50


@pytest.mark.soak
def test_visitors_do_not_see_each_other_and_a_phone_in_chinese(visit, address):  # noqa: F811
    page = visit(address)
    begin(page, COINS, name="Mine")
    phone = {"viewport": {"width": 380, "height": 780}, "has_touch": True, "is_mobile": True}
    other = visit(address, locale="zh-CN", color_scheme="dark", **phone)
    expect(other.locator("#correct-dataset input")).to_have_value(re.compile("新建"))
    expect(other.locator("#correct-editor .se-empty")).to_contain_text("还没有")
    begin(other, COINS, name="别人")
    assert other.evaluate("document.documentElement.scrollWidth") <= 380
    canvas = Canvas(other, SIZE)
    other.touchscreen.tap(*canvas.screen(100, 100))
    expect(editor(other)).to_have_attribute("data-strokes", "1")
    # A polygon by taps: Undo takes a corner back, two fingers zoom and draw nothing, and the first corner closes it.
    other.locator("[data-tool=polygon]").tap()
    before, (left, top) = mask_of(other), canvas.screen(30, 30)
    for corner in ((30, 30), (90, 30), (90, 90), (300, 300)):
        other.touchscreen.tap(*canvas.screen(*corner))
    other.locator(".se-undo").tap()
    touches = other.context.new_cdp_session(other)
    for kind, places in (("Start", [(left, top)]), ("Start", [(left, top), (left + 40, top + 40)]), ("Move", [(left, top), (left + 80, top + 80)]), ("End", [])):
        touches.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": [{"x": x, "y": y, "id": id} for id, (x, y) in enumerate(places)]})
    expect(other.locator(".se-percent")).not_to_have_text("100 %")
    other.locator(".se-fit").tap()
    expect(other.locator(".se-percent")).to_have_text("100 %")
    assert np.array_equal(mask_of(other), before)
    other.touchscreen.tap(*canvas.screen(32, 33))
    expect(editor(other)).to_have_attribute("data-strokes", "2")
    painted = mask_of(other) != before
    assert painted[40:60, 70:85].all() and not painted[100:].any() and not painted[60:, :50].any()


def test_a_result_goes_into_the_editor_with_one_click(visit, address, data):  # noqa: F811
    page, title = visit(address), catalog.resolve("unet-cells", local_folders=False).title
    open_tab(page, "Semantic")
    upload(page, "semantic", COINS)
    shown(page, "semantic")
    with page.expect_download() as waiting:
        page.locator("#semantic-mask").click()
    found = np.array(Image.open(waiting.value.path()))
    page.locator("#semantic-correct").click()
    expect(editor(page)).to_have_attribute("data-state", "open", timeout=RESULT_MS)
    expect(page.locator("#correct-dataset input")).to_have_value(title)
    assert np.array_equal(mask_of(page), found) and (found == 1).mean() > 0.2
    canvas = Canvas(page, SIZE)
    page.locator(".se-stage").focus()
    page.keyboard.press("e")
    found[swept(SIZE, canvas.stroke((60, 60), (300, 60)), current(page))] = 0
    save(page)
    dataset = dataset_of(data, stem_of(title))
    facts = dataset.sample("coins").facts
    assert np.array_equal(dataset.read("coins")[1], found) and dataset.labels.names == ("background", "cell", "border")
    assert facts.source == "unet-cells" and 0.5 < facts.confidence < 1 and facts.strokes == 1
    # The next result of this model joins the same dataset.
    open_tab(page, "Semantic")
    page.locator("#semantic-correct").click()
    expect(editor(page)).to_have_attribute("data-strokes", "0", timeout=RESULT_MS)
    save(page)
    assert len(dataset) == 2
    # A push that fails leaves no token in the page.
    page.locator("#correct-hub > button").click()
    page.locator("#correct-token input").fill("hf_typed")
    page.locator("#correct-push").click()
    expect(page.locator(".toast-body")).to_contain_text("repository is missing")
    expect(page.locator("#correct-token input")).to_have_value("")


@pytest.mark.soak
def test_a_prediction_is_corrected(visit, address, data):  # noqa: F811
    page = visit(address)
    begin(page, ROOT / "seg_demo/ui/examples/coins.png", name="Predicted", classes="", start="model")
    expect(page.locator(".se-classes .se-row")).to_have_count(4)
    assert (mask_of(page) == 1).mean() > 0.2
    canvas = Canvas(page, SIZE)
    before = mask_of(page)
    page.locator(".se-stage").focus()
    page.keyboard.press("e")
    expected = before.copy()
    expected[swept(SIZE, canvas.stroke((60, 60), (300, 60)), current(page))] = 0
    save(page)
    dataset = dataset_of(data, "Predicted")
    assert np.array_equal(dataset.read("coins")[1], expected) and dataset.labels.names[:2] == ("background", "cell")
    assert dataset.sample("coins").facts.source == "unet-cells"

"""The page in headless Chromium: what a person does with one picture after another."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import expect

from tests.pages import COINS, RESULT_MS, browser, drawn, hover, open_page, open_tab, opening, pixels, shown, until_heat_changes, upload  # noqa: F401  (fixtures)
from tests.served import ROOT


def api(address: str, model: str) -> tuple[dict, str, str]:
    client = Client(address, verbose=False, httpx_kwargs={"timeout": 120})
    return client.predict(image=handle_file(str(COINS)), model=model, api_name="/segment")


@pytest.fixture(scope="module")
def page(browser, demo_url):  # noqa: F811
    """One page for all that a visitor does here in turn."""
    with opening(browser, demo_url) as opened:
        yield opened()


def test_upload_hover_toggle_download(page, demo_url):
    upload(page, "semantic", COINS)
    viewer = shown(page, "semantic")
    result, mask, _ = api(demo_url, "unet-cells")
    ids = np.asarray(Image.open(mask))
    segments = {segment["label"]: segment for segment in result["segments"]}

    # Hover: inside the class, well away from its edge.
    cell = segments["cell"]["id"]
    row, column = middle_of(ids == cell)
    said = hover(page, "semantic", column, row, (result["width"], result["height"]))
    assert said.startswith("cell") and f"{segments['cell']['area']:,} px" in said

    # Everything in the viewer happens without the server.
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    painted, hiding = pixels(page, "semantic", "fill"), viewer.locator(".sv-hiding")
    assert painted > 1000
    expect(hiding).to_be_hidden()
    viewer.locator(".sv-legend .sv-row", has_text="cell").click()
    expect(hiding).to_have_text("Hidden here only: downloads and tables hold everything.")
    assert pixels(page, "semantic", "fill") < painted / 2
    assert hover(page, "semantic", column, row, (result["width"], result["height"])) == ""
    viewer.locator(".sv-legend .sv-row", has_text="cell").click()
    expect(hiding).to_be_hidden()
    viewer.locator(".sv-opacity").fill("20")
    expect(viewer.locator(".sv-fill")).to_have_css("opacity", "0.2")
    viewer.locator(".sv-outlines").click()
    assert pixels(page, "semantic", "lines") == 0
    viewer.locator(".sv-compare").click()
    expect(viewer.locator(".sv-split")).to_be_visible()
    assert "inset" in viewer.locator(".sv-layers").evaluate("node => node.style.clipPath")
    viewer.locator(".sv-in").click()
    expect(viewer.locator(".sv-percent")).to_have_text("150 %")
    viewer.locator(".sv-stage").focus()
    page.keyboard.press("0")
    expect(viewer.locator(".sv-percent")).to_have_text("100 %")
    page.keyboard.press("n")
    expect(viewer.locator(".sv-live")).to_contain_text("px")
    assert not requests

    # The table and the legend agree with the API.
    first = viewer.locator("tbody tr").first.locator("td").all_inner_texts()
    largest = max(result["segments"], key=lambda segment: segment["area"])
    assert first[0] == largest["label"] and first[1] == f"{largest['area']:,}"
    expect(viewer.locator("th.sv-counted")).to_have_text("Pieces")
    pieces = viewer.locator("tbody tr", has_text="cell").first.locator("td").nth(3).inner_text()
    assert int(pieces.replace(",", "")) > 20, "every coin is a piece of its own, as in a batch"

    with page.expect_download() as waiting:
        page.locator("#semantic-mask").click()
    assert waiting.value.suggested_filename == "coins_mask.png"
    assert np.array_equal(np.asarray(Image.open(waiting.value.path())), ids)
    with page.expect_download() as waiting:
        page.locator("#semantic-zip").click()
    assert waiting.value.suggested_filename == "coins.zip"


def middle_of(mask: np.ndarray) -> tuple[int, int]:
    """(row, column) of a pixel as far inside a mask as can be found by peeling it."""
    while True:
        peeled = mask.copy()
        peeled[1:] &= mask[:-1]
        peeled[:-1] &= mask[1:]
        peeled[:, 1:] &= mask[:, :-1]
        peeled[:, :-1] &= mask[:, 1:]
        if not peeled.any():
            return tuple(np.argwhere(mask)[0])
        mask = peeled


def test_every_object_is_measured_in_pixels_and_units(page):
    upload(page, "semantic", COINS)
    pieces = shown(page, "semantic").locator("tbody tr", has_text="cell").locator("td").nth(3).inner_text()
    table = page.locator("#semantic-measured .ms")
    table.locator("summary").click()
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(int(pieces), timeout=RESULT_MS)
    said = table.locator(".ms-said")
    expect(said).to_contain_text(f"{pieces} connected pieces")
    largest = float(rows.first.locator("td").nth(1).inner_text().replace(",", ""))
    table.locator(".ms-inside").check()
    expect(said).to_contain_text("at the edge left out")
    inside = int(said.inner_text().split()[0])
    table.locator(".ms-length").fill("0.5")
    table.locator(".ms-length").press("Enter")
    expect(table.locator("thead")).to_contain_text("Area (µm²)")
    assert float(rows.first.locator("td").nth(1).inner_text()) == largest / 4 and 0 < inside < int(pieces)
    assert table.locator("dl").inner_text().split()[:2] == ["n", str(inside)] and table.locator("svg rect").count() > 2
    table.get_by_role("button", name="Area").click()  # the smallest first
    assert float(rows.first.locator("td").nth(1).inner_text()) < largest / 8
    with page.expect_download() as told:
        table.get_by_role("button", name="CSV").click()
    with open(told.value.path(), newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == inside and max(float(row["area_um2"]) for row in listed) == largest / 4
    table.locator(".ms-length").fill("0.5 inch")
    table.locator(".ms-length").press("Enter")
    expect(said).to_contain_text("is not a pixel size")
    table.locator(".ms-length").fill("")
    table.locator(".ms-length").press("Enter")
    expect(said).to_contain_text("connected pieces")
    # Another result is measured by itself.
    upload(page, "semantic", COINS.with_name("nuclei.jpg"))
    expect(said).not_to_contain_text(f"{inside} connected pieces")


def test_the_threshold_filters_without_the_network_and_doubt_follows_it(page):
    page.get_by_role("tab").nth(1).click()
    upload(page, "instance", COINS)
    viewer = shown(page, "instance")
    before = viewer.locator(".sv-count").inner_text()
    page.locator("#instance-threshold input[type=number]").fill("1")
    page.locator("#instance-threshold input[type=number]").blur()
    expect(viewer.locator(".sv-nothing")).to_be_visible(timeout=RESULT_MS)
    expect(viewer.locator(".sv-nothing")).to_contain_text("Nothing found")
    page.locator("#instance-threshold input[type=number]").fill("0.5")
    page.locator("#instance-threshold input[type=number]").blur()
    expect(viewer.locator(".sv-count")).to_have_text(before, timeout=RESULT_MS)
    # A click on nothing is answered beside the picture, not by the server, whose mark of an error would lie over the viewer's buttons.
    viewer.locator(".sv-why").click()
    assert hover(page, "instance", 5, 5, (384, 303)) == ""
    page.mouse.down()
    page.mouse.up()
    expect(viewer.locator(".sv-because")).to_have_text("Nothing was found there. Click on something that was found to see which parts of the picture that rests on.")
    expect(viewer.locator(".sv-why")).to_have_attribute("aria-busy", "false")
    viewer.locator(".sv-why").click()
    viewer.locator(".sv-doubt").click()
    expect(viewer.locator(".sv-key")).to_be_visible(timeout=RESULT_MS)
    heat = viewer.locator(".sv-heat").evaluate("node => node.toDataURL()")
    page.locator("#instance-threshold input[type=number]").fill("0.999")
    page.locator("#instance-threshold input[type=number]").blur()
    until_heat_changes(page, heat)


def test_an_example_runs_by_itself_keeps_the_pickers_marks_and_clearing_empties_the_viewer(page):
    open_tab(page, "Semantic")
    page.locator("#semantic-cells .gallery-item").first.click()
    viewer = shown(page, "semantic")
    # What cannot be reached is marked.
    page.locator("#semantic-model input").click()
    options = page.locator("[role=option]")
    expect(options.filter(has_text="ADE20K").first).to_contain_text("○")
    assert "○" not in options.filter(has_text="U-Net").first.inner_text()
    page.keyboard.press("Escape")
    page.locator("#semantic-image button[aria-label='Remove Image']").click()
    expect(viewer).to_have_attribute("data-state", "empty", timeout=RESULT_MS)


def test_what_is_hidden_goes_by_the_name_of_its_class(browser):  # noqa: F811
    """Another model numbers its classes otherwise; what the earlier one did not know is hidden only if it is background."""
    blank = browser.new_page()
    blank.set_content("<div id=root><ul class=sv-legend></ul><p class=sv-count></p><button class=sv-all></button><p class=sv-hiding></p></div>")
    scripts = "".join((ROOT / "seg_demo/ui/static" / name).read_text("utf-8") for name in ("viewer_text.js", "viewer_legend.js"))
    hidden = blank.evaluate(
        """scripts => {
          const Legend = new Function(scripts + "; return Legend;")();
          const legend = new Legend(document.querySelector("#root"), () => {}, () => {});
          const result = (names, background) => ({
            segment: "class", objects: false, background, names: new Map(names.map((name, id) => [id, name])),
            segments: names.map((_, id) => ({ id: id + 1, label: id, color: [0, 0, 0] })),
            classes: names.map((name, id) => ({ id, name, share: 0.2 })),
          });
          const shown = [];
          const show = (names, background, keep = true) => {
            const made = result(names, background);
            legend.show(made, keep);
            shown.push(made.segments.filter((segment) => legend.hidden.has(segment.id)).map((segment) => names[segment.label]).join());
          };
          show(["background", "cell", "border"], 0, false);
          legend.toggle([3]);
          show(["background", "cell", "border"], 0);
          show(["wall", "border", "cell"], null);
          show(["background", "cell", "border"], 0);
          legend.toggle([1]);
          show(["background", "wall"], 0);
          show(["background", "wall"], 0, false);
          return shown;
        }""",
        scripts,
    )
    blank.close()
    assert hidden == ["background", "background,border", "border", "background,border", "", "background"]


def test_regions_and_models(page):
    open_tab(page, "Regions")
    upload(page, "regions", COINS)
    viewer = shown(page, "regions")
    expect(viewer.locator(".sv-count")).to_contain_text("regions")
    # They are in no doubt.
    expect(viewer.locator(".sv-doubt")).to_be_hidden()
    expect(viewer.locator("thead th").last).to_be_hidden()
    viewer.locator(".sv-stage").focus()
    page.keyboard.press("d")
    drawn(page)
    expect(viewer.locator(".sv-key")).to_be_hidden()
    # They can be corrected, too.
    page.locator("#regions-correct").click()
    expect(page.locator("#correct-editor .se")).to_have_attribute("data-task", "instance", timeout=RESULT_MS)
    expect(page.locator(".se-objectcount")).to_have_text(viewer.locator(".sv-count").text_content().split()[0])
    page.locator("button[data-tab-id=models]:visible").click()
    expect(page.locator("#models-cards article")).to_have_count(18)
    expect(page.locator("#models-cards")).to_contain_text("not available now")


def test_a_click_on_what_was_found_asks_what_it_rests_on(open_page, tmp_path):  # noqa: F811
    page = open_page()
    Image.open(COINS).crop((110, 20, 230, 130)).save(tmp_path / "coin.png")
    upload(page, "semantic", tmp_path / "coin.png")
    viewer = shown(page, "semantic")
    expect(viewer.locator(".sv-legend .sv-row", has_text="cell")).to_be_visible(timeout=RESULT_MS)
    button, said = viewer.locator(".sv-why"), viewer.locator(".sv-because")
    expect(said).to_be_hidden()
    button.click()
    expect(said).to_contain_text("Click on something that was found")
    stage = viewer.locator(".sv-stage").bounding_box()
    page.mouse.click(stage["x"] + 0.45 * stage["width"], stage["y"] + 0.4 * stage["height"])
    expect(viewer.locator(".sv-parts")).to_be_visible(timeout=RESULT_MS)
    expect(said).to_contain_text("rests on here")
    expect(viewer.locator(".sv-key")).to_be_hidden()
    assert pixels(page, "semantic", "heat") > 1000
    viewer.locator(".sv-stage").focus()
    page.keyboard.press("w")
    expect(said).to_be_hidden()
    expect(viewer.locator(".sv-heat")).to_have_css("visibility", "hidden")


@pytest.mark.soak
def test_two_visitors_do_not_see_each_other(open_page):  # noqa: F811
    mine, other = open_page(), open_page()
    upload(mine, "semantic", COINS)
    shown(mine, "semantic")
    assert other.locator("#semantic-viewer .sv").get_attribute("data-state") == "empty"
    assert mine.locator("#semantic-viewer .sv").get_attribute("data-state") == "shown"

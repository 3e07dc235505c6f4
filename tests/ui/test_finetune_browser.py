"""The tab Fine-tune in headless Chromium with a job that is done: its verdict, and what can be done with it."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from seg_demo.core.requests import owner_of
from tests.editing import to_tab
from tests.finished_jobs import finished
from tests.pages import Visits, browser, open_tab  # noqa: F401


def visitor_of(page: Page) -> str:
    """The key that this browser sends with the events of the tab."""
    with page.expect_request(lambda request: "/queue/join" in request.url) as sent:
        open_tab(page, "Fine-tune")
    found = re.search(r'"data":\["([A-Za-z0-9_-]{32,64})"', sent.value.post_data)
    assert found, sent.value.post_data
    return found[1]


def test_a_job_that_is_done(browser: Browser, demo_url: str, demo_folder: Path, tmp_path: Path):  # noqa: F811
    jobs = demo_folder / "jobs"
    visits, size = Visits(browser), {"width": 1280, "height": 1000}
    page = visits.page(viewport=size)
    to_tab(page, demo_url)
    job = finished(jobs, tmp_path, owner_of(visitor_of(page)))
    page.reload()
    open_tab(page, "Fine-tune")
    verdict = page.locator("#finetune-verdict .verdict")
    expect(verdict).to_have_attribute("data-kind", "better")
    expect(verdict).to_contain_text("the background not counted")
    rows = verdict.locator("table tr")
    expect(rows.nth(1)).to_have_text(re.compile(r"cell\s*0\.200\s*0\.500\s*\+0\.300"))
    expect(verdict.locator("tfoot")).to_contain_text("background")
    expect(page.locator(".curves")).to_contain_text("mean IoU, the background counted: 0.700")
    with page.expect_download() as waiting:
        page.locator("#finetune-download").click()
    assert waiting.value.suggested_filename == "my-cells.zip"
    # Refused: said where the push is, and nothing is left of "Pushing".
    page.locator("#finetune-hub > button").click()
    page.locator("#push-repo :is(input, textarea)").fill("nonsense")
    page.locator("#push-token input").fill("hf_x")
    page.locator("#push-run").click()
    expect(page.locator("#finetune-pushed .fault")).to_contain_text("is not the name of a repository")
    expect(page.locator("#finetune-pushed")).not_to_contain_text("Pushing")
    # On the menus of the other tabs, with the mark of what cannot be reached; the Models tab is read anew.
    page.locator("#finetune-use").click()
    expect(page.locator("#finetune-told")).to_contain_text("segformer-my-cells")
    open_tab(page, "Models")
    expect(page.locator("#models-cards")).to_contain_text("segformer-my-cells")
    for tab, picker in (("Batch", "batch-model"), ("Compare", "compare-models")):
        with page.expect_response("**/run/predict"):
            open_tab(page, tab)
        page.locator(f"#{picker} input").click()
        expect(page.get_by_role("option", name="SegFormer, My cells")).to_be_visible()
        expect(page.get_by_role("option", name=re.compile("^○ .*ADE20K")).first).to_be_visible()
        assert page.get_by_role("option", name="Otsu threshold").count() == (tab == "Batch")
        page.keyboard.press("Escape")
    # Another visitor sees none of it.
    other = visits.page(viewport=size)
    to_tab(other, demo_url)
    open_tab(other, "Models")
    expect(other.locator("#models-cards")).to_contain_text("unet-cells")
    expect(other.locator("#models-cards")).not_to_contain_text("segformer-my-cells")
    open_tab(other, "Fine-tune")
    expect(other.locator("#finetune-status")).to_contain_text("No job yet")
    # Deleting asks.
    open_tab(page, "Fine-tune")
    page.locator("#finetune-delete").click()
    expect(page.locator("#finetune-lost")).to_contain_text("its trained weights")
    page.locator("#finetune-keep").click()
    expect(page.locator("#finetune-lost")).to_be_hidden()
    assert job.folder.is_dir()
    page.locator("#finetune-delete").click()
    page.locator("#finetune-delete-sure").click()
    expect(page.locator("#finetune-status")).to_contain_text("No job yet")
    assert not job.folder.exists()
    open_tab(page, "Models")
    expect(page.locator("#models-cards")).not_to_contain_text("segformer-my-cells")
    visits.end()

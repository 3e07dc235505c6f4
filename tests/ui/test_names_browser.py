"""Every control of every tab has a name for those who do not see it, in both languages; empty states lie level with their neighbours."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.pages import browser, open_page  # noqa: F401

TABS = ("semantic", "instance", "panoptic", "regions", "click", "correct", "batch", "compare", "finetune", "models")
# What says that nothing is there yet, and what it begins level with.
EMPTY = {"compare": ("#compare-image", "#compare-viewer .cv-empty"), "batch": ("#batch-files", "#batch-status .idle")}
# The accessible name as browsers compute it, as far as this page needs it (W3C accname 1.2).
NAMELESS = """() => {
  const text = (ids) => ids.split(" ").map((id) => document.getElementById(id)?.textContent || "").join(" ");
  const named = (node) =>
    node.getAttribute("aria-label") || text(node.getAttribute("aria-labelledby") || "") || node.title ||
    [...(node.labels || [])].map((label) => label.textContent).join(" ") ||
    (["INPUT", "SELECT", "TEXTAREA"].includes(node.tagName) ? "" : node.textContent || node.querySelector("img[alt]")?.alt) || "";
  return [...document.querySelectorAll("button, input:not([type=hidden]), select, textarea, a[href], [tabindex='0'], [role=slider]")]
    .filter((node) => node.checkVisibility({ visibilityProperty: true }) && !node.closest("[aria-hidden=true]") && node.offsetWidth)
    .filter((node) => !named(node).trim()).map((node) => node.outerHTML.slice(0, 200));
}"""


def accessible(page: Page, tab: str) -> None:
    """What is to be seen of a tab has names, fits, and lies level."""
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if tab in EMPTY:
        boxes = [page.locator(node).first.bounding_box() for node in EMPTY[tab]]
        assert abs(boxes[0]["y"] - boxes[1]["y"]) <= 2, boxes


@pytest.mark.soak
def test_every_control_has_a_name_on_every_tab(open_page):  # noqa: F811
    """In English; in Chinese, test_chinese_browser.py looks in every run."""
    page = open_page(locale="en-US")
    tabs = page.get_by_role("tab")
    assert tabs.count() >= len(TABS)
    for place, tab in enumerate(TABS):
        tabs.nth(place).click()
        page.wait_for_timeout(300)
        accessible(page, tab)
        assert tab not in EMPTY or len(page.locator(EMPTY[tab][1]).inner_text().split()) > 8
    names = page.locator(".gallery-item").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(names) > 8 and {"coins", "cat", "nuclei"} <= set(names)

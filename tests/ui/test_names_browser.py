"""Every control of every tab has a name for those who do not see it, in both languages; empty states lie level with their neighbours."""

from __future__ import annotations

import pytest

from tests.pages import browser, open_page  # noqa: F401

TABS = ("semantic", "instance", "panoptic", "regions", "click", "correct", "batch", "compare", "finetune", "models")
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


@pytest.mark.parametrize("locale", ["en-US", pytest.param("zh-CN", marks=pytest.mark.soak)])
def test_every_control_has_a_name_on_every_tab(open_page, locale):  # noqa: F811
    page = open_page(locale=locale)
    tabs = page.get_by_role("tab")
    assert tabs.count() >= len(TABS)
    for place in range(len(TABS)):
        tabs.nth(place).click()
        page.wait_for_timeout(300)
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    names = page.locator(".gallery-item").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(names) > 8 and {"coins", "cat", "nuclei"} <= set(names)


@pytest.mark.parametrize(("tab", "left", "right"), [
    ("Compare", "#compare-image", "#compare-viewer .cv-empty"),
    ("Batch", "#batch-files", "#batch-status .idle"),
])  # fmt: skip
def test_an_empty_state_says_what_to_do_and_begins_where_its_neighbour_does(open_page, tab, left, right):  # noqa: F811
    page = open_page()
    page.get_by_role("tab", name=tab).click()
    boxes = [page.locator(each).first.bounding_box() for each in (left, right)]
    assert abs(boxes[0]["y"] - boxes[1]["y"]) <= 2, boxes
    assert len(page.locator(right).inner_text().split()) > 8

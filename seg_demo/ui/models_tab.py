"""The tab that says what each model is, and when to choose which."""

from __future__ import annotations

import html

import gradio as gr

from seg_demo.ui import menu
from seg_demo.ui.i18n import language_of, words

# (English name, English advice), the same in Chinese: which family for which need.
CHOOSE = (
    (
        ("U-Net", "Little data, fine structures: cells, roads from above, defects. Twenty annotated images are a start."),
        ("U-Net", "数据少、结构细：细胞、航拍道路、缺陷。二十张标注好的图片即可开始。"),
    ),
    (
        ("SegFormer", "Whole scenes: streets, rooms, landscapes. It looks at the entire picture and knows many classes."),
        ("SegFormer", "完整场景：街道、室内、风景。能看到整张图片，认识的类别多。"),
    ),
    (
        (
            "Mask R-CNN",
            "Things to count: people, cars, animals, coins. Each gets its own mask and score, also where they overlap.",
        ),
        ("Mask R-CNN", "需要计数的对象：人、车、动物、硬币。即使重叠，每个也有自己的掩膜与得分。"),
    ),
    (
        ("FCN", "A simple, well-known network with the twenty Pascal VOC classes, useful for comparison."),
        ("FCN", "经典网络，认识二十个 Pascal VOC 类别，适合作为比较基准。"),
    ),
    (
        ("Regions", "No classes: it only finds where one thing ends and the next begins. No weights to download, quick on any machine."),
        ("区域分割", "没有类别，只找出区域之间的边界。无需下载权重，任何机器上都很快。"),
    ),
)
# (task, key of its name), in the order of the tabs.
FAMILIES = (("semantic", "semantic"), ("instance", "instance"), ("region", "regions"))


def models_tab(tab: gr.Tab) -> gr.HTML:
    """Build the tab in the current Blocks; its content is written when the page opens, and anew when the tab is.

    Args:
        tab: this one.
    """
    shown = gr.HTML(cards({}, "en"), elem_id="models-cards")
    tab.select(now, None, shown, queue=False, api_visibility="private", show_progress="hidden")
    return shown


def now(request: gr.Request) -> str:
    """The cards of the visitor's menu, with what can be reached."""
    return cards(menu.availability(), language_of(request))


def cards(ready: dict[str, bool], language: str) -> str:
    """The tab's HTML: advice, then for each kind of segmentation a card per model. Everything is escaped.

    Args:
        ready: menu key -> whether it can be used now; a missing one counts as not.
        language: ``en`` or ``zh``.
    """
    column = 1 if language == "zh" else 0
    advice = "".join(
        f"<div><dt>{html.escape(row[column][0])}</dt><dd>{html.escape(row[column][1])}</dd></div>" for row in CHOOSE
    )
    families = "".join(_family(task, heading, ready, language) for task, heading in FAMILIES)
    return f'<dl class="choose">{advice}</dl>{families}'


def _family(task: str, heading: str, ready: dict[str, bool], language: str) -> str:
    """The models of one kind under a heading; nothing if the menu has none."""
    articles = "".join(menu.card(spec, ready.get(menu.key(spec), False), language) for spec in menu.specs(task))
    if not articles:
        return ""
    name, lead = (html.escape(words(key, language)) for key in (heading, f"{heading}_lead"))
    return f'<h2 class="family">{name}</h2><p>{lead}</p><div class="cards">{articles}</div>'

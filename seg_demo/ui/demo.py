"""The page: its tabs, what happens when it opens, how it is launched, and its theme.

The theme has one accent, quiet neutrals, system fonts (nothing is fetched from elsewhere), light and dark.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import gradio as gr

from seg_demo.core import Message, SettingsError, Viewer, learnt_tasks, lines, requests
from seg_demo.core.settings import accounts, engine_refusals, scientific_bytes, settings
from seg_demo.datasets.store import may_collect
from seg_demo.gateway.guard import DIRECT_MOST, middleware
from seg_demo.gateway.queue import UNQUEUED, Page, expect_typed_ids, keep_deleting, manage, start_loading, working
from seg_demo.gateway.visitor import key_or_new, visitor_state
from seg_demo.inference import zerogpu
from seg_demo.ui import menu
from seg_demo.ui.api import add_endpoints, plain
from seg_demo.ui.batch_tab import batch_tab
from seg_demo.ui.click_tab import REMEMBER_KEY, add_click_endpoints, click_tab
from seg_demo.ui.compare_tab import compare_tab
from seg_demo.ui.components import EXAMPLES, I18N, STATIC, language_of, t, task_words
from seg_demo.ui.correct_tab import correct_batch, correct_results, correct_tab, filled
from seg_demo.ui.finetune_tab import finetune_tab, offered
from seg_demo.ui.segment_tab import FIRST, cards, models_tab, network_tab, regions_tab

TITLE = "Image segmentation"
# Files of visitors and downloads: looked through every ten minutes, deleted after two hours.
CACHE_SECONDS = (600, 7200)
# Sessions whose results are kept at once; a new visitor beyond it drops the oldest.
SESSIONS = 64
# How often those who wait are told their place.
STATUS_SECONDS = 1.0


def build_demo() -> gr.Blocks:
    """The page as Blocks with its queue set; no torch is imported, and no model loaded."""
    # Everybody is sent the page as it is built: it has nothing of any visitor's.
    before = requests.viewer.set(Viewer())
    try:
        return _build()
    finally:
        requests.viewer.reset(before)


def _build() -> gr.Blocks:
    with Page(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=CACHE_SECONDS) as demo:
        # First, so that no event of the page takes an endpoint's name.
        add_endpoints()
        add_click_endpoints()
        visitor = visitor_state()
        with gr.Row(elem_id="masthead"):
            gr.HTML((STATIC / "favicon.svg").read_text(encoding="utf-8"), elem_id="mark")
            with gr.Column(min_width=200):
                gr.Markdown(t("title"))
                gr.Markdown(t("tagline"), elem_id="tagline")
        # An owner's menu may have models of one kind only.
        first = next(filter(menu.specs, menu.learnt()), "regions")
        with gr.Tabs(elem_id="tabs", selected=first) as tabs:
            networks = []
            for task in learnt_tasks():
                with gr.Tab(task_words(task)[0], id=task.name) as tab:
                    networks.append(network_tab(task))
                    menu.follow(tab, networks[-1].model, task.name)
            with gr.Tab(t("regions"), id="regions"):
                region_note, regions = regions_tab()
            with gr.Tab(t("click"), id="click") as tab:
                click_tab(tab)
            with gr.Tab(t("correct"), id="correct") as correct:
                correcting = correct_tab(correct, visitor)
            with gr.Tab(t("batch"), id="batch") as batch:
                batched = batch_tab(demo, batch)
            with gr.Tab(t("compare"), id="compare") as compare:
                compare_tab(compare)
            with gr.Tab(t("finetune"), id="finetune") as finetune:
                finetune_tab(demo, finetune, visitor, {network.task.name: network.model for network in networks})
            with gr.Tab(t("models"), id="models") as tab:
                overview = models_tab(tab)
        for shown in (*(network.shown for network in networks), regions, batched.shown):
            if shown.correct is not None:
                correct_results(shown, correcting, visitor, tabs)
        correct_batch(batched, correcting, tabs)
        gr.Markdown(t("credits"), elem_classes="credits")

        # Whose menu it is comes with the key; no handler needs it.
        def opened(_: object, request: gr.Request) -> list[Any]:
            expect_typed_ids()
            ready, language = menu.availability(), language_of(request)
            method = menu.note(FIRST, language)
            return [*(value for network in networks for value in network.opened(ready, language)), method, cards(ready, language)]

        def greeted(key: object) -> tuple[str, Any]:
            known = key_or_new(key)
            return known, filled(known)

        demo.load(greeted, visitor, [visitor, correcting.dataset], **UNQUEUED).then(None, visitor, js=REMEMBER_KEY, **UNQUEUED)
        openings = [*(output for network in networks for output in network.outputs), region_note, overview]
        demo.load(opened, visitor, openings, **UNQUEUED)
    # gradio's own statistics, which nobody sees with monitoring off, would cost more with every request.
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
    # By default everyone who waits is told their place whenever one is served: work that grows with the queue, for each request.
    demo.queue(max_size=settings().queue_size, default_concurrency_limit=4, status_update_rate=STATUS_SECONDS)
    keep_deleting(demo)
    manage(demo, max(1, working() // 2))
    return demo


def load_ahead() -> Thread:
    """Load models in the background: first those that are selected when the page opens, then the others that are at hand, those first that are clicked:
    nobody waits longer for an answer than they do for that to a click.

    Returns:
        The running thread.
    """
    first = [spec for spec in map(menu.best, menu.learnt()) if spec is not None]
    at_hand = [spec for spec in menu.specs() if spec.source == "bundled" or (zerogpu.ACTIVE and spec.source != "builtin")]
    at_hand.sort(key=lambda spec: not menu.is_clicked(spec))
    return start_loading(list(dict.fromkeys(spec.key for spec in (*first, *at_hand))))


def check_machine() -> None:
    """Refuse settings that this machine cannot serve. Only a chosen device, engine or bf16 needs torch, for which no page waits
    otherwise.

    Raises:
        SettingsError: there is no such device, it has no such engine, or a folder cannot be written to.
    """
    chosen = settings()
    problems = []
    if chosen.device not in ("auto", "cpu"):
        from seg_demo.inference.engine import choose_device

        try:
            choose_device(chosen.device)
        except SettingsError as error:
            problems.append(Message("settings.bad_device", why=error))
    if chosen.engine == "openvino" or chosen.precision == "bf16":
        problems += engine_refusals(chosen.engine, chosen.precision, _kind(chosen.device))
    written = [("SEG_DEMO_DATA", chosen.data, may_collect()), ("SEG_DEMO_JOBS", chosen.jobs, offered())]
    for name, folder in ((name, folder) for name, folder, wanted in written if wanted):
        there = Path(folder).absolute()
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir() or not os.access(there, os.W_OK):
            problems.append(Message("settings.folder_not_writable", name=name, folder=folder))
    if problems:
        raise SettingsError(lines(Message("settings.not_served"), *problems))


def _kind(device: str) -> str:
    """Where a device setting leads to: ``cpu``, ``cuda`` or ``mps``."""
    if device != "auto":
        return device.split(":")[0]
    from seg_demo.inference.engine import choose_device

    return choose_device(device).type


def launch_arguments(demo: gr.Blocks | None = None) -> dict[str, Any]:
    """What ``launch`` needs beside host and port: gradio 6 takes the look of a page there, not in Blocks.

    Args:
        demo: of :func:`build_demo`, to be guarded; None leaves the guard out, for a page that only its owner opens.

    Raises:
        SettingsError: MCP is switched on, but what it needs is not installed, or there are passwords, which it would pass; or
            the passwords cannot be read.
    """
    if settings().mcp and find_spec("mcp") is None:
        raise SettingsError("settings.mcp_not_installed")
    if settings().mcp and settings().auth:
        raise SettingsError("settings.auth_and_mcp")
    return {
        "theme": theme(),
        "css": stylesheet(),
        "head": head(),
        "i18n": I18N,
        "favicon_path": STATIC / "favicon.svg",
        "allowed_paths": [str(EXAMPLES)],
        "footer_links": ["api", "settings"],
        "show_error": False,
        "enable_monitoring": False,
        # Requests past the queue wait in threads; the page's own events must find one all the same.
        "max_threads": DIRECT_MOST + working() + 40,
        # An archive may be larger than an image; each box checks what it takes.
        "max_file_size": max(scientific_bytes(settings()), settings().max_batch_bytes),
        "state_session_capacity": SESSIONS,
        "run_history": False,
        "mcp_server": settings().mcp,
        "auth": accounts(settings().auth) or None,
        "app_kwargs": middleware(demo, plain(demo, DIRECT_MOST)) if demo is not None else None,
    }


ACCENT = gr.themes.Color(
    name="accent", c50="#eefaf7", c100="#d5f2eb", c200="#aee4d9", c300="#7bd0c1", c400="#48b5a4", c500="#2a988a",
    c600="#0f766e", c700="#155e58", c800="#164b47", c900="#163f3c", c950="#072523",
)  # fmt: skip
NEUTRAL = gr.themes.Color(
    name="neutral", c50="#f8f8f6", c100="#f1f1ee", c200="#e3e3df", c300="#cfcfca", c400="#a3a49f", c500="#757771",
    c600="#565953", c700="#3d403c", c800="#262926", c900="#191c1a", c950="#111312",
)  # fmt: skip
SANS = (
    "Inter",
    "ui-sans-serif",
    "system-ui",
    "Segoe UI",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "sans-serif",
)
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """The theme; colours reach the viewer as gradio's CSS variables."""
    return gr.themes.Base(
        primary_hue=ACCENT,
        secondary_hue=ACCENT,
        neutral_hue=NEUTRAL,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
        font=SANS,
        font_mono=MONO,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="*neutral_800",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_700",
        color_accent="*primary_600",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_title_text_weight="600",
        block_title_text_color="*neutral_900",
        block_title_text_color_dark="*neutral_100",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_background_fill="white",
        input_background_fill_dark="*neutral_900",
        # The base theme's fields have no border: on a white block nobody sees where to type.
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_400",
        button_primary_text_color="white",
        button_primary_text_color_dark="*neutral_950",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_900",
        button_secondary_background_fill_hover_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )


def head() -> str:
    """What goes into the document's head: the page's own script, and styles that gradio's ``css`` cannot hold."""
    script, frame = ((STATIC / name).read_text(encoding="utf-8") for name in ("page.js", "frame.css"))
    return f"<style>{frame}</style><script>{script}</script>"


def stylesheet() -> str:
    """The page's own CSS."""
    return (STATIC / "page.css").read_text(encoding="utf-8")

"""How the page looks: one accent, quiet neutrals, system fonts (nothing is fetched from elsewhere), light and dark."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STATIC = Path(__file__).parent / "static"

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

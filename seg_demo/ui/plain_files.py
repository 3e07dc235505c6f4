"""What our components have in common: ``gr.HTML`` subclasses whose page parts are plain files, and which send files.

Functions, not a base class: gradio draws a component as its first base.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradio.blocks import Block

from seg_demo.ui.served import store_bytes
from seg_demo.ui.theme import STATIC


def plain_files(name: str, scripts: Sequence[str]) -> dict[str, Any]:
    """Arguments of ``gr.HTML`` for a component that is written in plain files.

    Args:
        name: stem of its html and css files.
        scripts: js files in the order in which they share one scope.
    """
    return {
        "html_template": _read(f"{name}.html"),
        "css_template": _read(f"{name}.css"),
        "js_on_load": "\n".join(map(_read, scripts)),
        "apply_default_css": False,
    }


def served_file(component: Block, data: bytes, name: str) -> dict[str, Any]:
    """A file that gradio gives an address to: it looks for this ``meta`` anywhere in a value.

    Args:
        component: whose value it is part of.
        data: its content.
        name: its name in the browser.
    """
    path = store_bytes(data, name, component.GRADIO_CACHE)
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def _read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")

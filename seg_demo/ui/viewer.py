"""The viewer: a ``gr.HTML`` subclass in plain files that composites one picture and one id map in the browser.

Hover, opacity, outlines, before/after, hiding classes, zoom and pan never ask the server. The template contains no
expressions, so gradio renders it once and the script keeps its canvases from result to result.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio import processing_utils

from seg_demo.ui.results import Result, viewer_doubt, viewer_ids, viewer_value
from seg_demo.ui.theme import STATIC

# One scope in the browser, in this order: each file may use the ones before it.
SCRIPTS = ("viewer_text.js", "viewer_ids.js", "viewer_view.js", "viewer_legend.js", "viewer_doubt.js", "viewer.js")


class SegmentationViewer(gr.HTML):
    """Shows a :class:`~seg_demo.ui.results.Result`, or an invitation if there is none.

    Its event ``select`` asks for the same result with its doubt, whose map is the largest of what is sent and seldom wanted.
    """

    def __init__(self, value: Result | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(
            value=value,
            html_template=_read("viewer.html"),
            css_template=_read("viewer.css"),
            js_on_load="\n".join(_read(name) for name in SCRIPTS),
            apply_default_css=False,
            elem_id=elem_id,
            render=render,
        )

    def postprocess(self, value: Result | None) -> dict[str, Any] | None:
        """What the browser receives: both pictures as files, and the legend as data.

        Args:
            value: a result, or None for the invitation.
        """
        if value is None:
            return None
        return {
            "image": self._file(value.preview, value.upload.stem + ".jpg"),
            "ids": self._file(viewer_ids(value.shown), "ids.png"),
            "doubt": self._file(viewer_doubt(value.shown), "doubt.png") if value.doubt else None,
            **viewer_value(value),
        }

    def _file(self, data: bytes, name: str) -> dict[str, Any]:
        """A file that gradio gives an address to: it looks for this ``meta`` anywhere in a value."""
        path = processing_utils.save_bytes_to_cache(data, name, self.GRADIO_CACHE)
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "picture, id map, classes and segments of one result"}


def _read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")

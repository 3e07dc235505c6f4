"""The viewer: a ``gr.HTML`` subclass in plain files that composites one picture and one id map in the browser.

Hover, opacity, outlines, before/after, hiding classes, zoom and pan never ask the server. The template contains no
expressions, so gradio renders it once and the script keeps its canvases from result to result.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from seg_demo.errors import SegDemoError
from seg_demo.ui.i18n_errors import spoken
from seg_demo.ui.plain_files import plain_files, served_file
from seg_demo.ui.results import Result, viewer_doubt, viewer_value
from seg_demo.ui.uploads import refused

# One scope in the browser, in this order: each file may use the ones before it.
SCRIPTS = (
    "viewer_text.js", "viewer_ids.js", "viewer_view.js", "viewer_legend.js", "viewer_doubt.js", "viewer_notes.js", "viewer.js",
)  # fmt: skip


class SegmentationViewer(gr.HTML):
    """Shows a :class:`~seg_demo.ui.results.Result`, or an invitation if there is none.

    In the browser it also says why the last run failed, see ``static/viewer_notes.js``.
    Its event ``select`` asks for the same result with its doubt, whose map is the largest of what is sent and seldom wanted.
    """

    def __init__(self, value: Result | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(
            value=value,
            **plain_files("viewer", SCRIPTS),
            elem_id=elem_id,
            render=render,
        )

    def postprocess(self, value: Result | None) -> dict[str, Any] | None:
        """What the browser receives: both pictures as files, and the legend as data.

        Args:
            value: a result, or None for the invitation.

        Raises:
            gr.Error: it had to make room for others' since its handler answered; gradio would hide our own errors here.
        """
        if value is None:
            return None
        try:
            shown = value.shown
            made = {
                "image": served_file(self, value.preview, value.upload.stem + ".jpg"),
                "ids": served_file(self, value.ids, "ids.png"),
                "doubt": served_file(self, viewer_doubt(shown), "doubt.png") if value.doubt else None,
                **viewer_value(value),
                "notes": [spoken(note) for note in (*shown.notes, *(shown.model.notes if shown.model else ()))],
            }
        except SegDemoError as error:
            raise refused(error.message) from error
        value.kept.shown()
        return made

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "picture, id map, classes and segments of one result"}

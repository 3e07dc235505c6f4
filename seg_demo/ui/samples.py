"""The list of a dataset's samples: a ``gr.HTML`` subclass with thumbnails, which says what is to be edited or deleted."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio import processing_utils

from seg_demo.datasets import Dataset
from seg_demo.ui.theme import STATIC

SCRIPTS = ("viewer_text.js", "samples.js")
# The last changed and the most doubtful ones; more would make the page slow.
LISTED = 150


class SampleList(gr.HTML):
    """Shows the samples of a :class:`~seg_demo.datasets.Dataset`; events ``edit`` and ``remove`` carry a ``stem``."""

    def __init__(self, value: Dataset | None = None, *, elem_id: str | None = None) -> None:
        super().__init__(
            value=value,
            html_template=(STATIC / "samples.html").read_text(encoding="utf-8"),
            css_template=(STATIC / "samples.css").read_text(encoding="utf-8"),
            js_on_load="\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS),
            apply_default_css=False,
            elem_id=elem_id,
        )

    def postprocess(self, value: Dataset | None) -> dict[str, Any] | None:
        """What the browser receives: facts and thumbnails.

        Args:
            value: a dataset, or None for none.
        """
        if value is None:
            return None
        samples = value.samples()
        known = [sample for sample in samples if sample.facts.confidence is not None]
        doubtful = sorted(known, key=lambda sample: sample.facts.confidence)[:LISTED]
        shown = {sample.stem: sample for sample in (*samples[:LISTED], *doubtful)}
        rows = [
            {
                "stem": sample.stem,
                "name": sample.name,
                "width": sample.width,
                "height": sample.height,
                "objects": sample.objects,
                "saved": sample.saved,
                "seconds": sample.facts.seconds,
                "strokes": sample.facts.strokes,
                "confidence": sample.facts.confidence,
                "thumbnail": self._file(sample.thumbnail.read_bytes(), sample.stem + ".jpg"),
            }
            for sample in shown.values()
        ]
        return {"rows": rows, "total": len(samples), "dataset": value.key}

    def _file(self, data: bytes, name: str) -> dict[str, Any]:
        """A file that gradio gives an address to: it looks for this ``meta`` anywhere in a value."""
        path = processing_utils.save_bytes_to_cache(data, name, self.GRADIO_CACHE)
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "samples of a dataset"}

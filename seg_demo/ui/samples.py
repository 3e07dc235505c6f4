"""The list of a dataset's samples: a ``gr.HTML`` subclass with thumbnails, which says what is to be edited or deleted."""

from __future__ import annotations

import io
from typing import Any

import gradio as gr
from PIL import Image

from seg_demo.datasets import Dataset, Sample
from seg_demo.datasets.sample import THUMBNAIL_SIDE
from seg_demo.ui.plain_files import plain_files, served_file

SCRIPTS = ("viewer_text.js", "samples.js")
# The last changed and the most doubtful ones; more would make the page slow.
LISTED = 150


class SampleList(gr.HTML):
    """Shows the samples of a :class:`~seg_demo.datasets.Dataset`; events ``edit`` and ``remove`` carry a ``stem``."""

    def __init__(self, value: Dataset | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(
            value=value,
            **plain_files("samples", SCRIPTS),
            elem_id=elem_id,
            render=render,
        )

    def postprocess(self, value: Dataset | None) -> dict[str, Any] | None:
        """What the browser receives: facts and thumbnails.

        Args:
            value: a dataset, or None for none.
        """
        if value is None:
            return None
        samples, unreadable = value.look()
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
                "thumbnail": served_file(self, _thumbnail(sample), sample.stem + ".jpg"),
            }
            for sample in shown.values()
        ]
        named = [f"facts/{stem}.json" for stem in unreadable][:LISTED]
        return {"rows": rows, "total": len(samples), "dataset": value.key, "unreadable": named}

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "samples of a dataset"}


def _thumbnail(sample: Sample) -> bytes:
    """A sample's small picture; an empty one if that is gone, which costs nothing else."""
    try:
        return sample.thumbnail.read_bytes()
    except OSError:
        file = io.BytesIO()
        Image.new("L", (THUMBNAIL_SIDE, THUMBNAIL_SIDE), "grey").save(file, "JPEG")
        return file.getvalue()

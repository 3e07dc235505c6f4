"""A dropdown whose choices come and go while pages are open."""

from __future__ import annotations

from typing import Any

import gradio as gr


class Choice(gr.Dropdown):
    """gradio's dropdown whose handler checks the value: a restarted server no longer knows what it offered to a page."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The payload as it came."""
        return payload

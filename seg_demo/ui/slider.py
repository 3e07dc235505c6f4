"""A slider whose number can be typed, and so be anything for a moment."""

from __future__ import annotations

from typing import Any

import gradio as gr


class Slider(gr.Slider):
    """gradio's slider. An emptied box of its number means the value that it began with, and a number beyond an end that end;
    gradio itself would answer that the request cannot be understood. What is no number is left to the handler."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """A number from the slider's least to its largest value.

        Args:
            payload: as the browser sent it; None while the box is empty.
        """
        if payload is None:
            payload = self.value
        if isinstance(payload, bool) or not isinstance(payload, int | float) or payload != payload:
            return payload
        return super().preprocess(min(max(payload, self.minimum), self.maximum))

"""Who a visitor is: the holder of a random key, kept in their browser alone, that opens their datasets."""

from __future__ import annotations

import secrets

import gradio as gr

from seg_demo.datasets.store import VISITOR_KEY


def visitor_state() -> gr.BrowserState:
    """The visitor's key in the browser's local storage; it survives reloads of the page and restarts of the server.

    Name and secret are fixed so that a restarted server reads what an earlier one wrote; the secret hides nothing from the
    visitor, whose own key it is.
    """
    return gr.BrowserState(None, storage_key="seg-demo-visitor", secret="seg-demo-visitor")


def key_or_new(value: object) -> str:
    """The key that a browser sent, or a fresh one (256 random bits) for a browser that has none yet."""
    if isinstance(value, str) and VISITOR_KEY.fullmatch(value):
        return value
    return secrets.token_urlsafe(32)

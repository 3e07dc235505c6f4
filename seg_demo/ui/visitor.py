"""Who a visitor is: for their datasets, the holder of a random key that is kept in their browser alone; for turns, an address."""

from __future__ import annotations

import ipaddress
import secrets
from functools import lru_cache
from typing import Any

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


def address_of(scope: dict[str, Any]) -> str | None:
    """Who sent a request, as far as it can be known: a public address. Inside a network it is a proxy's, and tells nothing.

    uvicorn has put the address from X-Forwarded-For into the scope already, where the proxy is one that
    ``FORWARDED_ALLOW_IPS`` trusts.

    Args:
        scope: of ASGI.
    """
    return _public((scope.get("client") or ("",))[0])


@lru_cache(maxsize=4096)  # asked again for everyone who waits, with each request
def _public(host: str) -> str | None:
    try:
        return host if ipaddress.ip_address(host).is_global else None
    except ValueError:
        return None


def whose(request: Any, session: str | None) -> str:
    """Whose turn an event takes: that of an address, or of a browser's session where the address tells nothing."""
    return address_of(request.scope) or f"session {session}"

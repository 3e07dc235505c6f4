"""Who a visitor is: for what they make, the holder of a random key that is kept in their browser alone; for turns, an address.

Also whether a visitor is the server's owner (off Spaces who sits at the machine, on a Space who is logged in as its author), and the
language that the visitor's browser asks for.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import threading
from collections import OrderedDict
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from gradio.context import LocalContext

from seg_demo.core.errors import in_language
from seg_demo.core.requests import VISITOR_KEY, Viewer, owner_of
from seg_demo.core.settings import settings

# What a program sends its visitor's key in, to see what is theirs; the page sends it with its events.
KEY_HEADER = "x-seg-demo-key"
STORAGE = "seg-demo-visitor"
# Sessions whose owner is remembered; a page sends the key again when a tab is opened.
SESSIONS = 4096
# Headers by which a proxy tells whom it speaks for; a request that has one does not come from this machine.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

_sessions: OrderedDict[str, str] = OrderedDict()
_lock = threading.Lock()


def visitor_state() -> gr.BrowserState:
    """The visitor's key in the browser's local storage; it survives reloads of the page and restarts of the server.

    Name and secret are fixed so that a restarted server reads what an earlier one wrote; the secret hides nothing from the
    visitor, whose own key it is.
    """
    return gr.BrowserState(None, storage_key=STORAGE, secret=STORAGE)


def key_or_new(value: object) -> str:
    """The key that a browser sent, or a fresh one (256 random bits) for a browser that has none yet."""
    if isinstance(value, str) and VISITOR_KEY.fullmatch(value):
        return value
    return secrets.token_urlsafe(32)


def viewer_of(inputs: dict[str, object], request: Any, session: str | None) -> Viewer:
    """Who an event is from: whoever holds the key that came with it, in its header, or with an earlier event of its session.

    Args:
        inputs: what came for the components that keep something in the browser, by their storage key.
        request: the event's.
        session: of gradio.
    """
    headers = getattr(request, "headers", None) or {}
    owner = owner_of(inputs.get(STORAGE)) or owner_of(headers.get(KEY_HEADER))
    with _lock:
        if owner and session:
            _sessions[session] = owner
            _sessions.move_to_end(session)
            while len(_sessions) > SESSIONS:
                _sessions.popitem(last=False)
        elif session and not owner:
            owner = _sessions.get(session, "")
    return Viewer(owner, request is not None and is_host(request))


def is_host(request: gr.Request) -> bool:
    """Whether the server is the visitor's own: off Spaces, who sits at the machine; on a Space, who is logged in as its author."""
    if not (space := os.environ.get("SPACE_ID")):
        return at_this_machine(request)
    scope = getattr(getattr(request, "request", None), "scope", {})
    login = (scope.get("session") or {}).get("oauth_info") or {}
    name = (login.get("userinfo") or {}).get("preferred_username")
    return bool(name) and name == space.partition("/")[0]


def at_this_machine(request: gr.Request) -> bool:
    """Whether a request comes from a browser on the machine that serves it, and through no proxy.

    The browser's own words count too: a proxy that adds no header, and a foreign page whose name was made to lead here (DNS
    rebinding), are addressed by another name. A proxy may also hide that name, and whoever comes through it may forge words; a
    demo with passwords is there for others, so with them nobody is known by where a request comes from.
    """
    if settings().auth:
        return False
    if any(request.headers.get(name) for name in _FORWARDED):
        return False
    named = [request.headers.get("host"), request.headers.get("origin")]
    client = getattr(request.client, "host", None)
    return all(_is_here(urlsplit(name if "//" in name else f"//{name}").hostname) for name in named if name) and _is_here(client)


def _is_here(host: str | None) -> bool:
    """Whether a host name or address is the loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


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


def language_of(request: gr.Request | None) -> str:
    """``zh`` if the browser asks for Chinese first, else ``en``."""
    wanted = (request.headers.get("accept-language") or "") if request is not None else ""
    return "zh" if wanted.lower().startswith("zh") else "en"


def spoken(message: str) -> str:
    """A message in the language of the browser whose request is being answered; English for all other clients."""
    return in_language(message, language_of(LocalContext.request.get(None)))

"""The door of the server: which addresses exist, how much may be sent, and what every answer says to the browser.

gradio serves more than this page needs (its monitoring, deep links, a proxy for addresses, a code editor): here is the list of
what is served, and everything else is answered with 404. The guard is ASGI middleware, put in through ``launch(app_kwargs=...)``;
it also answers ``/health`` and ``/metrics``.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio import utils
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response

from seg_demo.settings import settings
from seg_demo.ui import observe, work
from seg_demo.ui.guard_body import Bodies, BodyError
from seg_demo.ui.guard_seams import GONE, visitor, waiting

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# As gradio 6.31 names them. What the page, gradio_client, MCP and the login of a Space ask for.
_API = r"/gradio_api"
READ = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon|/(?:assets|static|svelte)/.+"
    rf"|{_API}/(?:info/?|openapi\.json|app_id/?|user/?|login_check/?|theme\.css|startup-events|queue/data|queue/status"
    rf"|upload_progress|heartbeat/\w{{1,64}}|call/(?:v2/)?\w+/\w{{1,64}}|file=.+|mcp(?:/.*)?)"
    rf"|/login/huggingface|/login/callback|/logout"
)
WRITE = re.compile(rf"{_API}/(?:queue/join|call/(?:v2/)?\w+/?|run/\w+/?|api/\w+/?|upload|cancel|reset/?|mcp(?:/.*)?)")
COMPONENT = f"{_API}/component_server"
DIRECT = re.compile(rf"{_API}/(?:run|api)/")
FILE = f"{_API}/file="
# Requests past the queue that are answered at a time, in all and for one visitor.
DIRECT_MOST, DIRECT_OWN = 64, 16
# Disk that uploads leave free.
FREE_BYTES = 1_000_000_000

log = logging.getLogger("seg_demo.ui")


def headers(frame_ancestors: str) -> dict[str, str]:
    """What every answer says to the browser.

    The page needs inline scripts and ``eval``: gradio's front end has the one and makes components' scripts with the other.

    Args:
        frame_ancestors: sites that may show the page in a frame, beside this one.
    """
    policy = (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: https://cdnjs.cloudflare.com",
        "style-src 'self' 'unsafe-inline' https://fonts.googleapis.com",
        "font-src 'self' data: https://fonts.gstatic.com",
        "img-src 'self' data: blob: https://huggingface.co",
        "media-src 'self' data: blob:",
        "connect-src 'self' data: blob: https://huggingface.co https://*.hf.space",
        "worker-src 'self' blob:",
        "frame-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self' https://huggingface.co",
        f"frame-ancestors 'self' {frame_ancestors}".strip(),
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    }


# Whatever a visitor uploads, opened by itself, is a dead thing.
FILE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"}


class Guard:
    """ASGI middleware around gradio's app.

    Args:
        app: what is guarded.
        blocks: the page.
    """

    def __init__(self, app: ASGIApp, blocks: gr.Blocks) -> None:
        self._app, self._blocks = app, blocks
        self._headers = headers(settings().frame_ancestors)
        self._bodies = Bodies(settings().max_bytes, settings().max_batch_bytes)
        self._direct: dict[str | None, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path") or "") or "/"
            await self._serve(path, scope, receive, _Answer(send, self._headers | (FILE_HEADERS if path.startswith(FILE) else {})))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: _Answer) -> None:
        answer = self._own(path, scope) or self._refusal(path, scope)
        if answer is not None:
            await answer(scope, receive, send)
            return
        try:
            if scope["method"] != "POST":
                await self._app(scope, receive, send)
            elif DIRECT.match(path):
                await self._directly(scope, receive, send)
            else:
                await self._app(scope, await self._bodies.bounded(path, scope, receive), send)
        except BodyError as error:
            observe.count("body", str(error.status))
            await _sentence(error.status, str(error))(scope, receive, send)
        except Exception as error:
            await self._failed(error, scope, receive, send)

    async def _failed(self, error: Exception, scope: Scope, receive: Receive, send: _Answer) -> None:
        """An error that gradio let through: a sentence, or, where the answer has begun, its end."""
        log.warning("%s %s", type(error).__name__, "before an answer" if not send.begun else "within an answer")
        log.debug("the request", exc_info=True)
        if send.begun:
            await send.end()
            return
        observe.count("malformed", type(error).__name__)
        text = "The request names an endpoint, a session or a component that is not there. See /gradio_api/info for what is."
        await _sentence(400, text)(scope, receive, send)

    def _own(self, path: str, scope: Scope) -> Response | None:
        """The answer to what the guard itself serves."""
        if path not in ("/health", "/metrics") or scope["method"] not in ("GET", "HEAD"):
            return None
        state, queued = work.state(), waiting(self._blocks)
        if path == "/metrics":
            return PlainTextResponse(observe.metrics(state, queued), media_type="text/plain; version=0.0.4")
        status, content = observe.health(state, queued)
        return JSONResponse(content, status, {"Cache-Control": "no-store"})

    def _refusal(self, path: str, scope: Scope) -> Response | None:
        """Why a request is not handed on, or None."""
        method = scope["method"]
        if method == "OPTIONS":
            return None  # gradio's own answer to what browsers ask about other sites
        known = READ if method in ("GET", "HEAD") else WRITE if method == "POST" else None
        served = known is not None and known.fullmatch(path) is not None
        if path.rstrip("/") == COMPONENT and method == "POST":
            served = any(getattr(block, "server_fns", None) for block in self._blocks.blocks.values())
        query = scope.get("query_string", b"")
        if not served or b"deep_link" in query or "/deep_links/" in path:
            return _sentence(404, "There is nothing at this address.")
        if path.startswith(FILE) and re.match(r"[\w+.-]{2,}:", path.removeprefix(FILE)):
            return _sentence(403, "Addresses are not fetched here. Download the file and upload it.")
        if path == f"{_API}/upload" and shutil.disk_usage(_disk(utils.get_upload_folder())).free < FREE_BYTES:
            return _sentence(507, "The server has no room for uploads at the moment. Try again in an hour.")
        return None

    async def _directly(self, scope: Scope, receive: Receive, send: _Answer) -> None:
        """A request past the queue: bounded in number, and known to have left when its connection is closed."""
        who = visitor(scope)
        own = self._direct.get(who, 0) if who else 0
        if sum(self._direct.values()) >= DIRECT_MOST or own >= DIRECT_OWN:
            observe.count("direct", "full")
            text = "Too many requests are being answered at the same time. Wait for one to end, or use the queue (/call)."
            await JSONResponse({"error": text, "detail": text}, 503)(scope, receive, send)
            return
        self._direct[who] = self._direct.get(who, 0) + 1
        try:
            async with self._bodies.watched(scope, receive, lambda: scope.__setitem__(GONE, True)) as read:
                await self._app(scope, read, send)
        finally:
            self._direct[who] -= 1
            if not self._direct[who]:
                del self._direct[who]


class _Answer:
    """Sends an answer with our headers in it, and remembers how far it has come."""

    def __init__(self, send: Send, extra: dict[str, str]) -> None:
        self._send, self._extra = send, extra
        self.begun = self._ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            MutableHeaders(scope=message).update(self._extra)
        elif message["type"] == "http.response.body":
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """End an answer that has begun."""
        if not self._ended:
            await self({"type": "http.response.body", "body": b"", "more_body": False})


def _sentence(status: int, text: str) -> JSONResponse:
    return JSONResponse({"detail": text}, status)


def _disk(folder: str) -> str:
    """A folder that exists, on the disk where this one will be."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def middleware(blocks: gr.Blocks) -> dict[str, Any]:
    """``launch``'s ``app_kwargs`` that put the guard around a page."""
    return {"middleware": [Middleware(Guard, blocks=blocks)]}

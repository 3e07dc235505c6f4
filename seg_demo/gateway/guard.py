"""What stands before gradio: which addresses are served, how much may be sent, and what every answer says to the browser.

gradio serves more than this page needs (its monitoring, deep links, a proxy for addresses, a code editor): what is served is listed
here, and everything else is answered with 404. The guard is ASGI middleware, put in through ``launch(app_kwargs=...)``; it also
answers ``/health`` and ``/metrics``, and ``POST /segment``, which takes a picture and gives its result in one round trip. Bodies of
requests are read within bounds before gradio parses them.

And connections that never say what they want are closed (:func:`bound_heads`). uvicorn waits for the head of a request as long as the connection
lives, so a few thousand silent or dripping ones take every file descriptor ("slowloris"). Written against uvicorn 0.54: a server's protocol
class is looked up in its configuration for each connection, ``cycle`` is the request under way, and ``data_received`` and ``connection_made`` are asyncio's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import gradio as gr
from gradio import utils
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from seg_demo.core import Message as Sentence
from seg_demo.core import storage
from seg_demo.core.settings import scientific_bytes, settings
from seg_demo.gateway import metrics, queue
from seg_demo.gateway.queue import GONE, crowded, drop_partial, queue_of
from seg_demo.gateway.visitor import address_of, language_of, sweep_partial
from seg_demo.inputs.formats import HEAD_BYTES, may_be_large

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# As gradio 6.31 names them. What the page, gradio_client, MCP and the login of a Space ask for.
API = r"/gradio_api"
READ = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon|/(?:assets|static|svelte)/.+"
    rf"|{API}/(?:info/?|openapi\.json|app_id/?|user/?|login_check/?|theme\.css|startup-events|queue/data|queue/status"
    rf"|upload_progress|heartbeat/\w{{1,64}}|call/(?:v2/)?\w+/\w{{1,64}}|file=.+|mcp(?:/.*)?)"
    rf"|/login/huggingface|/login/callback|/logout"
)
WRITE = re.compile(rf"{API}/(?:queue/join|call/(?:v2/)?\w+/?|run/\w+/?|api/\w+/?|upload|cancel|reset/?|mcp(?:/.*)?)")
# Only where the demo has passwords.
LOGIN = re.compile(r"/login/?")
COMPONENT = f"{API}/component_server"
FILE = f"{API}/file="
DIRECT = re.compile(rf"{API}/(?:run|api)/")
JOIN = f"{API}/queue/join"
# A picture in, its result out; see :mod:`seg_demo.ui.api`.
SEGMENT = "/segment"
# Requests past the queue that are answered at a time, in all and for one visitor.
DIRECT_MOST, DIRECT_OWN = 64, 16
# Bytes of an answer that are handed to the server at a time.
PIECE = 256 * 1024
# How long an upload that was broken off is kept, and how often, with an upload, such are looked for among all files.
PARTIAL_SECONDS, SWEEP_SECONDS = 600.0, 60.0
DISK_FULL = Sentence("gateway.no_room")

# A wrong password is answered after so long, and so many of one address may be looked at together.
WRONG_SECONDS, LOGINS_OWN = 1.0, 4

log = logging.getLogger("seg_demo.ui")

Plain = Callable[[bytes | Path, Request], Awaitable[Response]]


class Guard:
    """ASGI middleware around gradio's app.

    Args:
        app: what is guarded.
        blocks: the page.
        plain: answers ``POST /segment``, given its body and a request for the rest; None serves nothing there.
    """

    def __init__(self, app: ASGIApp, blocks: gr.Blocks, plain: Plain | None = None) -> None:
        self._app, self._blocks, self._plain, self._pages = app, blocks, plain, queue.Pages(app, blocks)
        self._headers = security_headers(settings().frame_ancestors)
        self._bodies = Bodies(settings().max_bytes, scientific_bytes(settings()), settings().max_batch_bytes)
        self._direct: Counter[str | None] = Counter()
        self._passwords = bool(settings().auth)
        self._logins: Counter[str | None] = Counter()
        self._swept = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path") or "") or "/"
            file = path.startswith(FILE)
            extra = self._headers | (FILE_HEADERS if file else {})
            await self._serve(path, scope, receive, _Answer(send, extra, file, scope["method"] == "HEAD"))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: _Answer) -> None:
        answer = self._own(path, scope) or self._refusal(path, scope)
        if answer is not None:
            send.ours = True
            await answer(scope, receive, send)
            return
        try:
            if scope["method"] != "POST":
                await self._pages(scope, receive, send)
            elif DIRECT.match(path):
                await self._directly(scope, receive, send)
            elif path == SEGMENT:
                await self._plainly(scope, receive, send)
            elif LOGIN.fullmatch(path):
                await self._login(path, scope, receive, send)
            else:
                read = await self._bodies.bounded(path, scope, receive)
                if path == JOIN and (reason := crowded(queue_of(self._blocks))) is not None:
                    # Before gradio finds its route, parses and builds the request: those who are told to come back take
                    # less time from those who wait.
                    metrics.count("queue", "full")
                    await _sentence(503, reason, scope)(scope, receive, send)
                    return
                await self._app(scope, read, send)
        except BodyError as error:
            if send.begun:
                await self._failed(error, scope, receive, send)
                return
            drop_partial(error)
            metrics.count("body", str(error.status))
            await _sentence(error.status, error.args[0], scope)(scope, receive, send)
        except Exception as error:
            await self._failed(error, scope, receive, send)

    async def _failed(self, error: Exception, scope: Scope, receive: Receive, send: _Answer) -> None:
        """An error that gradio let through: a sentence, or, where the answer has begun, the end of the connection.

        Raises:
            Exception: the error itself, within an answer: what has been sent cannot be taken back, and whoever gets a part of a
                file must not take it for the whole. The server closes the connection then.
        """
        log.warning("%s %s", type(error).__name__, "before an answer" if not send.begun else "within an answer")
        log.debug("the request", exc_info=True)
        drop_partial(error)
        if send.ends_in_words(error):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if send.begun:
            metrics.count("cut", type(error).__name__)
            raise error
        if storage.disk_full(error):
            metrics.count("disk", "full")
            await _sentence(507, DISK_FULL, scope)(scope, receive, send)
            return
        metrics.count("malformed", type(error).__name__)
        await _sentence(400, Sentence("gateway.names_what_is_not_there"), scope)(scope, receive, send)

    def _own(self, path: str, scope: Scope) -> Response | None:
        """The answer to what the guard itself serves."""
        if path not in ("/health", "/metrics") or scope["method"] not in ("GET", "HEAD"):
            return None
        state, queued = queue.state(), len(queue_of(self._blocks))
        if path == "/metrics":
            return PlainTextResponse(metrics.metrics(state, queued), media_type="text/plain; version=0.0.4")
        status, content = metrics.health(state, queued)
        return JSONResponse(content, status, {"Cache-Control": "no-store"})

    def _refusal(self, path: str, scope: Scope) -> Response | None:
        """Why a request is not handed on, or None."""
        method = scope["method"]
        if method == "OPTIONS":
            return None  # gradio's own answer to what browsers ask about other sites
        known = READ if method in ("GET", "HEAD") else WRITE if method == "POST" else None
        served = known is not None and known.fullmatch(path) is not None
        if method == "POST" and self._passwords and LOGIN.fullmatch(path):
            served = True
        if method == "POST" and path == SEGMENT:
            served = self._plain is not None
        if path.rstrip("/") == COMPONENT and method == "POST":
            served = any(getattr(block, "server_fns", None) for block in self._blocks.blocks.values())
        query = scope.get("query_string", b"")
        if not served or b"deep_link" in query or "/deep_links/" in path:
            return _sentence(404, Sentence("gateway.nothing_here"), scope)
        if path.startswith(FILE) and re.match(r"[\w+.-]{2,}:", path.removeprefix(FILE)):
            return _sentence(403, Sentence("gateway.addresses_not_fetched"), scope)
        if path == f"{API}/upload" and time.monotonic() - self._swept > SWEEP_SECONDS:
            self._swept = time.monotonic()
            sweep_partial(utils.get_upload_folder(), PARTIAL_SECONDS)
        if path == f"{API}/upload" and storage.free_space(utils.get_upload_folder()) < 0:
            return _sentence(507, DISK_FULL, scope)
        return None

    async def _login(self, path: str, scope: Scope, receive: Receive, send: _Answer) -> None:
        """A name and a password: guessing is made slow, which who types theirs does not notice."""
        # Not :func:`address_of`: colleagues behind one address wait for a guesser among them, nobody else does.
        who = (scope.get("client") or ("",))[0]
        if self._logins[who] >= LOGINS_OWN or self._logins.total() >= DIRECT_MOST:
            metrics.count("login", "full")
            await _sentence(429, Sentence("gateway.too_many_passwords"), scope)(scope, receive, send)
            return
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        with _counted(self._logins, who):
            await self._app(scope, await self._bodies.bounded(path, scope, receive), keep)
            right = answer[0].get("status", 500) < 400
            metrics.count("login", "right" if right else "wrong")
            if not right:
                await asyncio.sleep(WRONG_SECONDS)
        for message in answer:
            await send(message)

    async def _directly(self, scope: Scope, receive: Receive, send: _Answer) -> None:
        """A request past the queue: bounded in number, and known to have left when its connection is closed."""
        who = address_of(scope)
        if self._many(who):
            await _too_many(scope, "gateway.too_many_requests")(scope, receive, send)
            return
        # An object, since routers hand on copies of the scope.
        gone = scope[GONE] = threading.Event()
        with _counted(self._direct, who):
            async with self._bodies.watched(scope, receive, gone.set) as read:
                await self._app(scope, read, send)

    async def _plainly(self, scope: Scope, receive: Receive, send: _Answer) -> None:
        """A picture as the body, its result as the answer: bounded and watched as what goes past the queue."""
        send.ours, who, request = True, address_of(scope), Request(scope)
        if not _may_come_in(request):
            await _sentence(401, Sentence("gateway.not_logged_in"), scope)(scope, receive, send)
            return
        if self._many(who):
            await _too_many(scope, "gateway.too_many_pictures")(scope, receive, send)
            return
        gone = scope[GONE] = threading.Event()
        with _counted(self._direct, who):
            async with self._bodies.picture(scope, receive, gone.set) as data:
                answer = await self._plain(data, request)
            await answer(scope, receive, send)

    def _many(self, who: str | None) -> bool:
        """Whether no more requests past the queue are taken, of somebody or at all."""
        return self._direct.total() >= DIRECT_MOST or bool(who and self._direct[who] >= DIRECT_OWN)


def _too_many(scope: Scope, key: str) -> JSONResponse:
    metrics.count("direct", "full")
    text = Sentence(key).text(_language(scope))
    return JSONResponse({"error": text, "detail": text}, 503)


def _may_come_in(request: Request) -> bool:
    """Whether a demo with passwords knows whoever asks, by gradio's cookie; one without them knows everybody."""
    app = request.scope["app"]
    if app.auth is None and app.auth_dependency is None:
        return True
    tokens = (request.cookies.get(f"{name}-{app.cookie_id}") for name in ("access-token", "access-token-unsecure"))
    return any(app.tokens.get(token) is not None for token in tokens)


@contextmanager
def _counted(counts: Counter[str | None], who: str | None) -> Iterator[None]:
    """Within it one more is under way for somebody; who has none takes no memory."""
    counts[who] += 1
    try:
        yield
    finally:
        counts[who] -= 1
        if not counts[who]:
            del counts[who]


_NOT_A_REQUEST = json.dumps(
    {"detail": "The request lacks something, or has something of another kind. See /gradio_api/info for the endpoints."}
).encode()


_NO_FILE = json.dumps({"detail": "There is no such file here; uploads and results are deleted after a while."}).encode()


class CutOffError(Exception):
    """An answer ends before, or goes on after, what its head promised: a file was shortened while it was sent."""


class _Answer:
    """Sends an answer with our headers in it, and sees to it that it has the length that its head promises.

    Not every server does: some would send the end of a short body, or wait for the rest for ever.

    Args:
        send: of ASGI.
        extra: our headers.
        file: whether a file was asked for.
        bodiless: whether the head alone was asked for.
    """

    def __init__(self, send: Send, extra: dict[str, str], file: bool = False, bodiless: bool = False) -> None:
        self._send, self._extra, self._file, self._bodiless = send, extra, file, bodiless
        self.begun = self._ended = self.ours = False
        # Bytes of the body that have not come yet; None where the head does not say.
        self._left: int | None = None
        self._events = False

    async def __call__(self, message: Message) -> None:
        if self._ended:
            return
        if message["type"] == "http.response.start":
            self.begun = True
            if (body := self._instead(message["status"])) is not None:
                headers = [(b"content-type", b"application/json")]
                message = {"type": message["type"], "status": message["status"], "headers": headers}
                MutableHeaders(scope=message).update(self._extra)
                await self._send(message)
                self._ended = True
                await self._send({"type": "http.response.body", "body": body, "more_body": False})
                return
            head = MutableHeaders(scope=message)
            head.update(self._extra)
            self._events = head.get("content-type", "").startswith("text/event-stream")
            promised = head.get("content-length", "")
            if promised.isdigit() and not self._bodiless and message["status"] not in (204, 304):
                self._left = int(promised)
        elif message["type"] == "http.response.body":
            if self._left is not None:
                self._left -= len(message.get("body", b""))
                if self._left < 0 or (self._left and not message.get("more_body", False)):
                    raise CutOffError("the body is not as long as promised")
            self._ended = not message.get("more_body", False)
            if len(message.get("body", b"")) > PIECE:
                await self._send_in_pieces(message)
                return
        await self._send(message)

    async def _send_in_pieces(self, message: Message) -> None:
        """Send a large body. Of one that is handed over at once, the server copies all, and then all that the connection has not taken yet; the
        event loop answers nobody meanwhile (50 ms for the overlay of 12 megapixels)."""
        body, more = message["body"], message.get("more_body", False)
        for begin in range(0, len(body), PIECE):
            await self._send({**message, "body": body[begin : begin + PIECE], "more_body": more or begin + PIECE < len(body)})
            await asyncio.sleep(0)

    def ends_in_words(self, error: Exception) -> bool:
        """Whether an answer that has begun ends in an event that says what is wrong: gradio says so of sessions that it does not
        know, and raises it then (starlette wraps it)."""
        return self.begun and self._events and isinstance(error.__cause__ or error, HTTPException)

    def _instead(self, status: int) -> bytes | None:
        """What is answered in place of gradio's own words, which repeat what was sent; None keeps them."""
        if self._file and not self.ours and status in (403, 404):
            return _NO_FILE
        return _NOT_A_REQUEST if status == 422 else None


def _sentence(status: int, sentence: Sentence, scope: Scope) -> JSONResponse:
    return JSONResponse({"detail": sentence.text(_language(scope))}, status)


def _language(scope: Scope) -> str:
    return language_of(SimpleNamespace(headers=Headers(raw=list(scope.get("headers", ())))))


def security_headers(frame_ancestors: str) -> dict[str, str]:
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


def middleware(blocks: gr.Blocks, plain: Plain | None = None) -> dict[str, Any]:
    """``launch``'s ``app_kwargs`` that put the guard around a page.

    Args:
        blocks: the page.
        plain: as for :class:`Guard`.
    """
    return {"middleware": [Middleware(Guard, blocks=blocks, plain=plain)]}


# Files that one upload may hold, and what their names and borders take.
FILES, BORDERS = 20, 1_000_000
# JSON beside the picture that it may hold as base64.
JSON_BYTES = 1_000_000
# Lists and objects that a request's JSON may hold: a handler takes a dozen values.
PARTS = 200_000
# How long one body may take to arrive, and how many bytes of all of them are held at a time, in largest bodies.
BODY_SECONDS, HELD = 120.0, 8


class BodyError(Exception):
    """A body is not accepted; its text is for the sender.

    Args:
        status: of the answer.
        sentence: what came, what is accepted.
    """

    def __init__(self, status: int, sentence: Sentence) -> None:
        super().__init__(sentence)
        self.status = status


class Bodies:
    """Reads bodies.

    Args:
        max_bytes: largest picture.
        max_scientific: largest file of a microscope, scanner or satellite.
        max_upload: largest file of any other kind.
    """

    def __init__(self, max_bytes: int, max_scientific: int, max_upload: int) -> None:
        self._upload = max(FILES * max_bytes, max_scientific, max_upload) + BORDERS
        self._json, self._picture, self._scientific = max_bytes * 4 // 3 + JSON_BYTES, max_bytes, max_scientific
        self._held = self._stored = 0

    async def bounded(self, path: str, scope: Scope, receive: Receive) -> Receive:
        """Where gradio reads a body: counted while it streams for an upload, read and looked through for JSON.

        Raises:
            BodyError: it is too large, too slow or too nested.
        """
        kind = Headers(scope=scope).get("content-type", "")
        if path.endswith("/upload") or kind.startswith("multipart/"):
            return self._counted(scope, receive)
        return _again(await self._read_json(scope, receive), receive)

    @asynccontextmanager
    async def watched(self, scope: Scope, receive: Receive, gone: Callable[[], None]) -> AsyncIterator[Receive]:
        """A JSON body to read, while somebody looks whether its sender leaves.

        Args:
            scope: of ASGI.
            receive: of ASGI.
            gone: called when the connection is closed from the other side.

        Raises:
            BodyError: as for :meth:`bounded`.
        """
        data = await self._read_json(scope, receive)
        async with _looking(receive, gone) as left:

            async def after() -> Message:
                await left.wait()
                return {"type": "http.disconnect"}

            yield _again(data, after)

    @asynccontextmanager
    async def picture(self, scope: Scope, receive: Receive, gone: Callable[[], None]) -> AsyncIterator[bytes | Path]:
        """A body that is a picture; it counts among those that are held until it is done with. What is larger than a photograph may be, since
        a microscope, a scanner or a satellite wrote it, lies in a file for so long.

        Args and Raises:
            As for :meth:`watched`.
        """
        promised = _check_promise(scope, self._scientific)
        data, file, stored = bytearray(), None, 0
        try:
            async for part in _parts(receive):
                if file is None:
                    data += part
                    self._hold(len(part), 0)
                    if max(len(data), promised) <= self._picture or len(data) < HEAD_BYTES:
                        continue
                    if not may_be_large(data):
                        raise _too_large(self._picture)
                    file, part = tempfile.NamedTemporaryFile(prefix="seg-demo-body-"), bytes(data)
                    self._held -= len(data)
                    data.clear()
                stored += len(part)
                self._hold(0, len(part))
                if stored > self._scientific:
                    raise _too_large(self._scientific)
                await anyio.to_thread.run_sync(file.write, part)
            data = bytes(data)
            if file is not None:
                file.flush()
            async with _looking(receive, gone):
                yield data if file is None else Path(file.name)
        finally:
            self._held -= len(data)
            self._stored -= stored
            if file is not None:
                file.close()

    def _hold(self, held: int, stored: int) -> None:
        """So many bytes more are in memory, and in files."""
        self._held, self._stored = self._held + held, self._stored + stored
        if self._held > HELD * self._json or self._stored > HELD * self._scientific:
            raise BodyError(503, Sentence("gateway.receives_too_much"))

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        most, until = self._upload, time.monotonic() + BODY_SECONDS
        _check_promise(scope, most)
        arrived = 0

        async def read() -> Message:
            nonlocal arrived
            message = await _in_time(receive, until)
            arrived += len(message.get("body", b""))
            if arrived > most:
                raise _too_large(most)
            return message

        return read

    async def _read_json(self, scope: Scope, receive: Receive) -> bytes:
        """A whole body of JSON."""
        data = await self._read(scope, receive, self._json)
        if data.count(b"[") + data.count(b"{") + data.count(b",") > PARTS:
            raise BodyError(400, Sentence("gateway.too_many_parts", most=PARTS))
        return data

    async def _read(self, scope: Scope, receive: Receive, most: int) -> bytes:
        """A whole body of so many bytes at most."""
        _check_promise(scope, most)
        data = bytearray()
        try:
            async for part in _parts(receive):
                data += part
                self._hold(len(part), 0)
                if len(data) > most:
                    raise _too_large(most)
        finally:
            self._held -= len(data)
        return bytes(data)


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    """A body as it arrives; a BodyError if it does so too slowly."""
    more, until = True, time.monotonic() + BODY_SECONDS
    while more:
        message = await _in_time(receive, until)
        if message["type"] == "http.disconnect":
            return
        yield message.get("body", b"")
        more = message.get("more_body", False)


@asynccontextmanager
async def _looking(receive: Receive, gone: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
    """Within it somebody looks whether the sender of a request leaves.

    Args:
        receive: of ASGI, its body read.
        gone: called once they have.

    Returns:
        An event that is set then, too.
    """
    left = asyncio.Event()

    async def look() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone()
        left.set()

    looking = asyncio.create_task(look())
    try:
        yield left
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def _in_time(receive: Receive, until: float) -> Message:
    try:
        return await asyncio.wait_for(receive(), max(0.01, until - time.monotonic()))
    except TimeoutError:
        raise BodyError(408, Sentence("gateway.too_slow", seconds=BODY_SECONDS)) from None


def _check_promise(scope: Scope, most: int) -> int:
    """How many bytes are promised, 0 if that is not said; what says itself that it is too large is refused at once."""
    text = Headers(scope=scope).get("content-length", "")
    promised = int(text[:20]) if text.isascii() and text.isdigit() else 0
    if promised > most:
        raise _too_large(most)
    return promised


def _too_large(most: int) -> BodyError:
    return BodyError(413, Sentence("gateway.too_large", most=most))


def _again(data: bytes, after: Receive) -> Receive:
    """A body that has been read, to be read by gradio; then whatever comes after it."""
    sent = False

    async def read() -> Message:
        nonlocal sent
        if sent:
            return await after()
        sent = True
        return {"type": "http.request", "body": data, "more_body": False}

    return read


# What a head takes on the slowest lines is a second or two.
CONNECTION_SECONDS = 20.0


def bound_heads(server: Any, seconds: float = CONNECTION_SECONDS) -> None:
    """Close every later connection on which no head, the first or a later one, is complete in time.

    Args:
        server: a ``uvicorn.Server`` that runs.
        seconds: for a head, from the connection or from its first byte.
    """
    base = server.config.http_protocol_class

    class Bounded(base):
        """The protocol with a clock that runs while a head is waited for."""

        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._begin()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._awaited():
                self._begin()
            else:
                self._stop()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, *arguments: Any) -> None:
            self._stop()
            super().handle_websocket_upgrade(*arguments)

        def _awaited(self) -> bool:
            """Whether no request is under way. Another protocol has taken an upgraded connection over."""
            return self.transport.get_protocol() is self and (self.cycle is None or self.cycle.response_complete)

        def _begin(self) -> None:
            if self._clock is None:
                self._clock = self.loop.call_later(seconds, self._end)

        def _stop(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _end(self) -> None:
            self._clock = None
            if self._awaited():
                self.transport.close()

    server.config.http_protocol_class = Bounded

"""Bodies of requests, read within bounds before gradio parses them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

# Files that one upload may hold, and what their names and borders take.
FILES, BORDERS = 20, 1_000_000
# JSON beside the picture that it may hold as base64.
JSON_BYTES = 1_000_000
# Lists and objects that a request's JSON may hold: a handler takes a dozen values.
PARTS = 200_000
# How long one body may take to arrive, and how many bytes of all of them are held at a time, in largest bodies.
SECONDS, HELD = 120.0, 8


class BodyError(Exception):
    """A body is not accepted; its text is for the sender.

    Args:
        status: of the answer.
        text: what came, what is accepted.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Bodies:
    """Reads bodies.

    Args:
        max_bytes: largest picture.
        max_upload: largest file of any kind.
    """

    def __init__(self, max_bytes: int, max_upload: int) -> None:
        self._upload = max(FILES * max_bytes, max_upload) + BORDERS
        self._json = max_bytes * 4 // 3 + JSON_BYTES
        self._held = 0

    async def bounded(self, path: str, scope: Scope, receive: Receive) -> Receive:
        """Where gradio reads a body: counted while it streams for an upload, read and looked through for JSON.

        Raises:
            BodyError: it is too large, too slow or too nested.
        """
        kind = Headers(scope=scope).get("content-type", "")
        if path.endswith("/upload") or kind.startswith("multipart/"):
            return self._counted(scope, receive)
        return _again(await self._read(scope, receive), receive)

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
        data = await self._read(scope, receive)
        left = asyncio.Event()

        async def look() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone()
            left.set()

        async def after() -> Message:
            await left.wait()
            return {"type": "http.disconnect"}

        looking = asyncio.create_task(look())
        try:
            yield _again(data, after)
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        most, until = self._upload, time.monotonic() + SECONDS
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

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """A whole body of JSON."""
        _check_promise(scope, self._json)
        data, until = bytearray(), time.monotonic() + SECONDS
        try:
            while True:
                message = await _in_time(receive, until)
                if message["type"] == "http.disconnect":
                    break
                part = message.get("body", b"")
                data += part
                self._held += len(part)
                if len(data) > self._json:
                    raise _too_large(self._json)
                if self._held > HELD * self._json:
                    raise BodyError(503, "The server is receiving too much at the same time. Try again in a minute.")
                if not message.get("more_body", False):
                    break
        finally:
            self._held -= len(data)
        if data.count(b"[") + data.count(b"{") + data.count(b",") > PARTS:
            raise BodyError(400, f"The request has more than {PARTS:,} parts. See /gradio_api/info for what is wanted.")
        return bytes(data)


async def _in_time(receive: Receive, until: float) -> Message:
    try:
        return await asyncio.wait_for(receive(), max(0.01, until - time.monotonic()))
    except TimeoutError:
        raise BodyError(408, f"The request did not arrive within {SECONDS:g} seconds. Send it again.") from None


def _check_promise(scope: Scope, most: int) -> None:
    """Refuse at once what says itself that it is too large."""
    promised = Headers(scope=scope).get("content-length", "")
    if promised.isascii() and promised.isdigit() and int(promised[:20]) > most:
        raise _too_large(most)


def _too_large(most: int) -> BodyError:
    return BodyError(413, f"The request is larger than the {most:,} bytes that are accepted. Send a smaller image.")


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

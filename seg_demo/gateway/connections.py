"""Connections that never say what they want are closed.

uvicorn waits for the head of a request as long as the connection lives, so a few thousand silent or dripping ones take every file
descriptor ("slowloris"). Written against uvicorn 0.54: a server's protocol class is looked up in its configuration for each connection,
``cycle`` is the request under way, and ``data_received`` and ``connection_made`` are asyncio's.
"""

from __future__ import annotations

import asyncio
from typing import Any

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

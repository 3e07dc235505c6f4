"""One call per key at a time: whoever asks for the same thing meanwhile gets the same outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Once:
    """Calls under way, by key. Nothing is kept after a call has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[Any]] = {}

    def run(self, key: Hashable, call: Callable[[], T]) -> T:
        """The outcome of the call that runs for this key: the one given, or one that was under way already.

        Args:
            key: what the call is about.
            call: made unless one for the key is under way.

        Raises:
            BaseException: whatever the call raises, to everyone who waits for it.
        """
        with self._lock:
            running = self._running.get(key)
            if running is None:
                mine = self._running[key] = Future()
        if running is not None:
            return running.result()
        try:
            value = call()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(value)
            return value
        finally:
            with self._lock:
                del self._running[key]

"""One call per key at a time: whoever asks for the same thing meanwhile gets the same outcome."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

from seg_demo.models import requests
from seg_demo.threads import begin

T = TypeVar("T")
# How often one who waits looks whether somebody still waits for them.
LOOK_SECONDS = 0.2


class Once:
    """Calls under way, by key. Nothing is kept after a call has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[Any]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def run(self, key: Hashable, call: Callable[[], T]) -> T:
        """The outcome of the call that runs for this key: the one given, or one that was under way already.

        The call runs in a thread of its own: it goes on when the request that began it is withdrawn or takes too long, for
        whoever asks next.

        Args:
            key: what the call is about.
            call: made unless one for the key is under way.

        Raises:
            LeftError: the request that waits was withdrawn.
            TooLongError: it has used up its time.
            BusyError: it has waited a while, and others wait behind it; or the system gives no more threads.
            BaseException: whatever the call raises, to everyone who waits for it.
        """
        with self._lock:
            running = self._running.get(key)
            if running is None:
                running = Future()
                context = contextvars.copy_context()
                begin(threading.Thread(target=context.run, args=(self._make, key, call, running), name="once", daemon=True))
                self._running[key] = running
        while True:
            try:
                return running.result(LOOK_SECONDS)
            except TimeoutError:
                if running.done():  # the call's own TimeoutError, not that of the waiting
                    return running.result()
                requests.check(fetching=True)

    def _make(self, key: Hashable, call: Callable[[], Any], future: Future[Any]) -> None:
        value, failure = None, None
        try:
            value = call()
        except BaseException as error:  # handed over to everyone who waits, whatever it is
            failure = error
        # First the key, then the outcome: who asks after having got it makes a new call.
        with self._lock:
            del self._running[key]
        if failure is None:
            future.set_result(value)
        else:
            future.set_exception(failure)

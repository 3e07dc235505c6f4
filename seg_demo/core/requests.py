"""The request that a thread works on: its id, whether somebody still waits for it, how long it may take, what to log of it.

The page opens a request around each handler; whatever works for it further down asks :func:`check` between its stages. Code
that runs outside any request (Python, the command line, training) is never stopped.
"""

from __future__ import annotations

import contextvars
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from seg_demo.core.errors import BusyError, SegDemoError

# A request whose model is being fetched keeps others waiting for no longer than this.
FETCHING_SECONDS = 15.0

_current: contextvars.ContextVar[Request | None] = contextvars.ContextVar("seg_demo_request", default=None)


class LeftError(SegDemoError):
    """Nobody waits for the answer any more."""


class TooLongError(SegDemoError):
    """The request has used up the time that it may take."""


@dataclass
class Request:
    """One request under way.

    Attributes:
        endpoint: what was asked for; a name of ours, nothing that a visitor wrote.
        seconds: how long it may take.
        left: whether whoever asked has gone.
        crowded: whether others wait until this request is done.
        id: random, 16 hex digits; it names the request in the log.
        began: ``time.monotonic()`` of its start.
        facts: what the log will tell of it beside that: model, size, durations.
    """

    endpoint: str
    seconds: float = float("inf")
    left: Callable[[], bool] = lambda: False
    crowded: Callable[[], bool] = lambda: False
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    began: float = field(default_factory=time.monotonic)
    facts: dict[str, object] = field(default_factory=dict)

    def check(self, fetching: bool = False) -> None:
        """Go on, if there is still a reason to.

        Args:
            fetching: the request only waits until its model has been fetched and loaded, which goes on without it.

        Raises:
            LeftError: whoever asked has gone.
            TooLongError: the time is used up.
            BusyError: its model is still being fetched, and others wait behind it.
        """
        if self.left():
            raise LeftError("requests.cancelled")
        passed = time.monotonic() - self.began
        if fetching and passed > FETCHING_SECONDS and self.crowded():
            raise BusyError("requests.still_loading")
        if passed > self.seconds:
            raise TooLongError("requests.too_long", seconds=self.seconds)


@contextmanager
def opened(request: Request) -> Iterator[Request]:
    """Within it, :func:`check` and :func:`note` are about this request."""
    token = _current.set(request)
    try:
        yield request
    finally:
        _current.reset(token)


def check(fetching: bool = False) -> None:
    """:meth:`Request.check` of the request that this thread works on, if it works on one."""
    request = _current.get()
    if request is not None:
        request.check(fetching)


def crowded() -> Callable[[], bool]:
    """Says, now and later, whether others wait like the request that this thread works on; outside any request nobody does."""
    request = _current.get()
    return request.crowded if request is not None else lambda: False


def note(**facts: object) -> None:
    """Tell the log about the request that this thread works on: numbers and names of ours, no content of images.

    Args:
        facts: JSON-able values by name.
    """
    request = _current.get()
    if request is not None:
        request.facts.update(facts)

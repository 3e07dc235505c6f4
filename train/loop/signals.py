"""Ctrl-C and SIGTERM: during the steps they ask and the loop answers at the end of the step; elsewhere they act at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """A signal stopped the run. Not an Exception: nothing between the signal and the command may take it for a failure."""

    def __init__(self, number: int | None) -> None:
        """
        Args:
            number: of the signal; None if another process of the run received it.
        """
        super().__init__(f"stopped by signal {number}")
        self.exit_code = 128 + (number or signal.SIGTERM)


class Stopper:
    """Takes SIGINT and SIGTERM while it is entered.

    Within :meth:`deferred` the first signal is only remembered. Everywhere else, and at the second signal, :class:`Stopped`
    is raised where the program stands; whatever is being written then is written atomically.

    Attributes:
        signal: number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._deferring = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stopper:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self, on: bool = True) -> Iterator[None]:
        """Within this block the first signal waits until it is asked for.

        Args:
            on: False undoes an outer block for a while: a signal acts at once, also one that has been waiting.
        """
        before, self._deferring = self._deferring, on
        try:
            if not on:
                self.check()
            yield
        finally:
            self._deferring = before

    def check(self) -> None:
        """Act on a signal that has been waiting.

        Raises:
            Stopped: one has.
        """
        if self.signal is not None:
            raise Stopped(self.signal)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        first, self.signal = self.signal is None, number
        if not (first and self._deferring):
            raise Stopped(number)

"""How long a run will still take, from what its own steps and evaluations took on this machine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Steps that are measured before anything is said. The one before them does not count: it sets up kernels and workers.
LEAST = 4
RECENT = 100


class Pace:
    """Steps and evaluations as they are timed, and what that says about the rest of a run.

    Args:
        total: steps of the run.
        every: steps between evaluations.
        closing: evaluations that follow the last step's own.
        clock: seconds that only grow.
    """

    def __init__(self, total: int, every: int, closing: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.every, self.closing = total, every, closing
        self._clock = clock
        self._steps: deque[float] = deque(maxlen=RECENT)
        self._evaluation: float | None = None
        self._paused = 0.0
        self._last: float | None = None
        self.known = False

    def stepped(self) -> bool:
        """A step is done. True once: when enough steps have been measured to say how long the run will take."""
        now = self._clock()
        if self._last is not None:
            # What was saved in between is part of what steps take; the mean spreads it over them.
            self._steps.append(max(0.0, now - self._last - self._paused))
        self._last, self._paused = now, 0.0
        first = not self.known and len(self._steps) == LEAST
        self.known = self.known or first
        return first

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Around an evaluation, which takes no part in what steps take."""
        began = self._clock()
        try:
            yield
        finally:
            self._evaluation = self._clock() - began
            self._paused += self._evaluation

    def left(self, step: int) -> float | None:
        """Seconds from after a step to the end of the run, its closing evaluations included; None if too little is known.

        Args:
            step: steps done.
        """
        if not self.known:
            return None
        steps = sum(self._steps) / len(self._steps) * (self.total - step)
        return steps + (self._evaluation or 0.0) * (self._evaluations(step) + self.closing)

    def whole(self, step: int) -> float | None:
        """As :meth:`left`, for all steps of the run at the present pace, done or not."""
        rest = self.left(step)
        if rest is None:
            return None
        done = sum(self._steps) / len(self._steps) * step
        return rest + done + (self._evaluation or 0.0) * (self._evaluations(0) - self._evaluations(step))

    def sentence(self, step: int) -> str:
        """How long the whole run takes, for the log; for when :meth:`stepped` says so.

        Args:
            step: steps done.
        """
        counted = "evaluations included" if self._evaluation is not None else "evaluations not counted yet"
        return f"On this machine {in_words(self.whole(step))} for {self.total} steps, {counted}."

    def rest(self, step: int) -> str:
        """What is left, to follow the line of an evaluation; empty where nothing is, or too little is known.

        Args:
            step: steps done.
        """
        left = self.left(step) if step < self.total else None
        return "" if left is None else f"  ({in_words(left)} left)"

    def _evaluations(self, step: int) -> int:
        """Evaluations that are still to come after a step: at every multiple, and at the end; its own too, if it has one that has
        not been made yet."""
        last = step >= self.total
        after = 0 if last else self.total // self.every - step // self.every + (self.total % self.every > 0)
        return after + (step > 0 and not self._paused and (last or step % self.every == 0))


def in_words(seconds: float) -> str:
    """A duration as people say it, rounded so that it promises no more than is known.

    >>> [in_words(each) for each in (20, 61, 601, 3 * 3600 + 1700)]
    ['less than a minute', 'about 2 minutes', 'about 11 minutes', 'about 3.5 hours']

    Args:
        seconds: how long.
    """
    if seconds < 60:
        return "less than a minute"
    if seconds <= 90 * 60:
        return f"about {-(-int(seconds) // 60)} minutes"
    return f"about {seconds / 3600:.1f} hours"

"""Who works now, who waits, who is refused: the bounds that no way into the demo gets round."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from seg_demo.core import requests
from seg_demo.core.errors import BusyError
from seg_demo.core.requests import begin
from seg_demo.core.settings import Settings
from seg_demo.inputs.images import Source, give_back, pixels_of

T = TypeVar("T")

# Images worked on at a time where the owner has not said it: on a GPU as many as are computed together; on a CPU two, so that
# one is decoded or drawn while the network runs for another, and a short request need not wait for a long one.
SLOTS, GPU_SLOTS = 2, 8
# From so many pixels on a picture fills memory and takes its time; of such, and of full detail, half as many run at a time.
LARGE_PIXELS = 4_000_000
# Made by the drivers of NVIDIA on Linux, and on Windows below WSL.
GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
# How long one who would be refused waits first.
PATIENCE_SECONDS = 1.0


def slots(chosen: Settings, gpu: bool) -> int:
    """How many images are worked on at a time.

    Args:
        chosen: the settings.
        gpu: whether a CUDA device computes.
    """
    return chosen.concurrency or (GPU_SLOTS if gpu else SLOTS)


def gpu_expected(chosen: Settings) -> bool:
    """Whether a CUDA device will compute, as far as can be told before torch is imported."""
    return chosen.device.startswith("cuda") or (chosen.device == "auto" and any(path.exists() for path in GPU_FILES))


def is_large(image: Source, detail: str = "whole") -> bool:
    """Whether working on an image takes much memory or long.

    Args:
        image: as for :func:`seg_demo.inputs.images.decode`.
        detail: ``whole`` or ``full``.
    """
    return detail == "full" or pixels_of(image) >= LARGE_PIXELS


class Limit:
    """So many at a time, in the order of coming; a semaphore would let whoever comes just now pass those who wait.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._lock, self._free = threading.Lock(), count
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def slot(self, refusal: str = "") -> Iterator[None]:
        """One of them, as long as somebody waits for the answer.

        Args:
            refusal: said to whoever would have to wait for longer than a moment; without it they wait.

        Raises:
            LeftError: whoever asked has gone meanwhile.
            TooLongError: the request's time was used up by waiting.
            BusyError: the refusal.
        """
        requests.check()
        mine, began = threading.Event(), time.monotonic()
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                mine.set()
            else:
                self._waiting.append(mine)

        def reached(seconds: float) -> bool:
            if refusal and not mine.is_set() and time.monotonic() - began > PATIENCE_SECONDS:
                raise BusyError(refusal)
            return mine.wait(seconds)

        try:
            requests.wait(reached)
            yield
        finally:
            self._leave(mine)

    def _leave(self, mine: threading.Event) -> None:
        with self._lock:
            if mine.is_set():  # perhaps only while its owner was leaving
                if self._waiting:
                    self._waiting.popleft().set()
                else:
                    self._free += 1
            else:
                self._waiting.remove(mine)


class SingleFlight:
    """Calls under way, one per key at a time: whoever asks for the same thing meanwhile gets the same outcome, which is kept
    no longer."""

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
                made = requests.detached(lambda: self._make(key, call, running))
                begin(threading.Thread(target=made, name="single-flight", daemon=True))
                self._running[key] = running
        requests.wait(lambda seconds: wait([running], seconds).done, fetching=True)
        return running.result()

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


class Admission:
    """A bounded number of slots to work in, half of them (one at least) also for large requests, and a bounded number of
    requests that wait for one.

    Args:
        slots: how many work at a time.
        waiting: how many more may wait.
    """

    def __init__(self, slots: int, waiting: int) -> None:
        self.most = slots + waiting
        self._all = Limit(slots)
        self._large = Limit(max(1, slots // 2))
        self._lock = threading.Lock()
        self._admitted = 0
        self._began: dict[object, float] = {}

    @property
    def admitted(self) -> int:
        """Requests that are being worked on, wait, or fetch their model."""
        return self._admitted

    @property
    def running(self) -> int:
        """Requests that are being worked on now."""
        return len(self._began)

    @property
    def longest(self) -> float:
        """Seconds for which the longest of them has been worked on; 0 if there is none."""
        now = time.monotonic()
        return max((now - began for began in list(self._began.values())), default=0.0)

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Count one request, or refuse it at once if too many are there already.

        Raises:
            BusyError: as many are there as are accepted.
        """
        with self._lock:
            if self._admitted >= self.most:
                raise BusyError("requests.too_many", most=self.most)
            self._admitted += 1
        try:
            yield
        finally:
            with self._lock:
                self._admitted -= 1

    @contextmanager
    def slot(self, large: bool = False) -> Iterator[None]:
        """Wait for a slot and work in it.

        Args:
            large: see :func:`is_large`.

        Raises:
            LeftError: whoever asked has gone meanwhile.
            TooLongError: the request's time was used up by waiting.
        """
        began = time.monotonic()
        # In this order: a large request that waits for another one holds no slot that a small one could take.
        with self._large.slot() if large else nullcontext(), self._all.slot():
            key = object()
            self._began[key] = time.monotonic()
            try:
                requests.note(waited=round(time.monotonic() - began, 3))
                requests.check()
                yield
            finally:
                if large:
                    give_back()  # before anybody else's large picture is decoded
                del self._began[key]

"""Who works now, who waits, who is told to come back: the bound that no way into the demo gets round."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from seg_demo.core import requests
from seg_demo.core.errors import BusyError
from seg_demo.core.settings import Settings
from seg_demo.inputs.images import Source, give_back, pixels_of

# Images worked on at a time where the owner has not said it: on a GPU as many as are computed together; on a CPU two, so that
# one is decoded or drawn while the network runs for another, and a short request need not wait for a long one.
PLACES, GPU_PLACES = 2, 8
# From so many pixels on a picture fills memory and takes its time; of such, and of full detail, half as many run at a time.
LARGE_PIXELS = 4_000_000
# Made by the drivers of NVIDIA on Linux, and on Windows below WSL.
GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
# How often a request that waits looks whether somebody still waits for it.
LOOK_SECONDS = 0.2


def places(chosen: Settings, gpu: bool) -> int:
    """How many images are worked on at a time.

    Args:
        chosen: the settings.
        gpu: whether a CUDA device computes.
    """
    return chosen.concurrency or (GPU_PLACES if gpu else PLACES)


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


class Places:
    """So many places, taken in the order of coming; a semaphore would let whoever comes just now pass those who wait.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._lock, self._free = threading.Lock(), count
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place, as long as somebody waits for the answer.

        Raises:
            LeftError: whoever asked has gone meanwhile.
            TooLongError: the request's time was used up by waiting.
        """
        requests.check()
        mine = threading.Event()
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                mine.set()
            else:
                self._waiting.append(mine)
        try:
            while not mine.wait(LOOK_SECONDS):
                requests.check()
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


class Admission:
    """A bounded number of places to work, half of them (one at least) also for large requests, and a bounded number of
    requests that wait for one.

    Args:
        places: how many work at a time.
        waiting: how many more may wait.
    """

    def __init__(self, places: int, waiting: int) -> None:
        self.most = places + waiting
        self._free = Places(places)
        self._large = Places(max(1, places // 2))
        self._lock = threading.Lock()
        self._admitted = 0
        self._began: dict[object, float] = {}
        self._inside = contextvars.ContextVar("seg_demo_admitted", default=False)
        self._working = contextvars.ContextVar("seg_demo_working", default=False)

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
        """Count one request, or refuse it at once if too many are there already. Within another one it counts once.

        Raises:
            BusyError: as many are there as are accepted.
        """
        if self._inside.get():
            yield
            return
        with self._lock:
            if self._admitted >= self.most:
                raise BusyError("requests.too_many", most=self.most)
            self._admitted += 1
        token = self._inside.set(True)
        try:
            yield
        finally:
            self._inside.reset(token)
            with self._lock:
                self._admitted -= 1

    @contextmanager
    def place(self, large: bool = False) -> Iterator[None]:
        """Wait for a place and work in it; whoever has one already keeps it.

        Args:
            large: see :func:`is_large`.

        Raises:
            LeftError: whoever asked has gone meanwhile.
            TooLongError: the request's time was used up by waiting.
        """
        if self._working.get():
            yield
            return
        began = time.monotonic()
        # In this order: a large request that waits for another one holds no place that a small one could take.
        with self._large.one() if large else nullcontext(), self._free.one():
            key = object()
            token = self._working.set(True)
            self._began[key] = time.monotonic()
            try:
                requests.note(waited=round(time.monotonic() - began, 3))
                requests.check()
                yield
            finally:
                if large:
                    give_back()  # before anybody else's large picture is decoded
                del self._began[key]
                self._working.reset(token)

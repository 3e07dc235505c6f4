"""One background thread that compiles networks, one at a time and not in a crowd, and is never killed in native code."""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections.abc import Callable

from seg_demo.models import requests

# A command that segments one image and ends should not pay for compiling; seconds after an answer.
PAUSE = 0.5
# Compiling takes the processor from those who wait for an answer, and makes later answers faster: in a crowd it waits, but no
# longer than this, for some crowds never end.
CROWDED_SECONDS = 20.0
# How often it looks whether the crowd has gone.
LOOK_SECONDS = 0.2

_jobs: queue.Queue[tuple[Callable[[], None], Callable[[], bool], float]] = queue.Queue()
_lock = threading.Lock()
_thread: threading.Thread | None = None
_ending = threading.Event()


class EndingError(Exception):
    """The process is about to end; a job stops where it is."""


def submit(job: Callable[[], None]) -> None:
    """Run a job later in the background thread; while others wait for the request that this thread works on, later still.

    Args:
        job: raises nothing but :class:`EndingError`.
    """
    global _thread
    _jobs.put((job, requests.crowded(), time.monotonic() + CROWDED_SECONDS))
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_work, name="engine", daemon=True)
            _thread.start()


def check() -> None:
    """To be called between the stages of a job.

    Raises:
        EndingError: the process is about to end.
    """
    if _ending.is_set():
        raise EndingError


def drain(timeout: float) -> bool:
    """Wait until everything that was submitted has been done.

    Args:
        timeout: seconds to wait at most.

    Returns:
        Whether it was done in time.
    """
    until = time.monotonic() + timeout
    with _jobs.all_tasks_done:
        while _jobs.unfinished_tasks and time.monotonic() < until:
            _jobs.all_tasks_done.wait(until - time.monotonic())
        return not _jobs.unfinished_tasks


def _work() -> None:
    while True:
        job, crowded, until = _jobs.get()
        try:
            _ending.wait(PAUSE)
            while crowded() and time.monotonic() < until and not _ending.is_set():
                _ending.wait(LOOK_SECONDS)
            if not _ending.is_set():
                job()
        except EndingError:
            pass
        finally:
            # Before the next wait: what the job holds is large.
            del job, crowded
            _jobs.task_done()


@atexit.register
def _end() -> None:
    """Let the stage under way finish: a daemon thread that meets the end of the interpreter in C++ aborts the process."""
    _ending.set()
    drain(60.0)

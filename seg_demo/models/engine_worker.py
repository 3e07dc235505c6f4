"""One background thread that compiles networks, one at a time, and is never killed in the middle of native code."""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections.abc import Callable

# A command that segments one image and ends should not pay for compiling; seconds after an answer.
PAUSE = 0.5

_jobs: queue.Queue[Callable[[], None]] = queue.Queue()
_lock = threading.Lock()
_thread: threading.Thread | None = None
_ending = threading.Event()


class EndingError(Exception):
    """The process is about to end; a job stops where it is."""


def submit(job: Callable[[], None]) -> None:
    """Run a job later in the background thread.

    Args:
        job: raises nothing but :class:`EndingError`.
    """
    global _thread
    _jobs.put(job)
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
        job = _jobs.get()
        try:
            if not _ending.wait(PAUSE):
                job()
        except EndingError:
            pass
        finally:
            # Before the next wait: what the job holds is large.
            del job
            _jobs.task_done()


@atexit.register
def _end() -> None:
    """Let the stage under way finish: a daemon thread that meets the end of the interpreter in C++ aborts the process."""
    _ending.set()
    drain(60.0)

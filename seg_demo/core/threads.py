"""Threads: pools that are made when they are first used, and anew in a forked process, in which threads do not live on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from seg_demo.core.errors import BusyError


def pool(name: str, count: int, begin: Callable[[], None] | None = None) -> Callable[[], ThreadPoolExecutor]:
    """A function that gives the same pool of this process each time.

    Args:
        name: the threads' names begin with it.
        count: of threads at most.
        begin: called by each thread before its first work.
    """

    @lru_cache(maxsize=1)
    def made() -> ThreadPoolExecutor:
        return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=begin)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made.cache_clear)
    return made


def begin(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        BusyError: the system gives no more threads.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise BusyError("threads.none_left") from error

"""Work of many small steps in a thread for which torch does not share each step out.

torch divides every step among all its threads and waits for the last. Where other programs or requests use the processor too,
that waiting takes far longer than steps of some 10 microseconds: a label map of 30 ms was seen to take a second.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch

from seg_demo.threads import pool

S, T = TypeVar("S"), TypeVar("T")
# Two threads that begin at once would take each other's number for the one to leave behind.
_beginning = threading.Lock()


def alone(function: Callable[..., T], *arguments: object) -> T:
    """``function(*arguments)`` without gradients, by one thread; its result or error.

    Args:
        function: of torch, in many small steps.
        arguments: tensors may come from inference mode; they are not written to.
    """
    return _workers().submit(_run, function, arguments).result()


def each(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """``function`` of every item without gradients, each by one thread and several at the same time; in the items' order.

    Not for calls from within :func:`alone` or itself, which would wait for threads that wait for them.

    Args:
        function: of torch; it lets go of Python's lock where it computes.
        items: as many as there are processors keep all of them busy.
    """
    return [future.result() for future in [_workers().submit(_run, function, (item,)) for item in items]]


def _run(function: Callable[..., T], arguments: tuple[object, ...]) -> T:
    with torch.no_grad():
        return function(*arguments)


def _begin() -> None:
    """Set this thread's own number of threads, and leave the number that new threads begin with as it was."""
    with _beginning:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        other = threading.Thread(target=torch.set_num_threads, args=(before,))
        other.start()
        other.join()


_workers = pool("masks", os.cpu_count() or 1, _begin)
if hasattr(os, "register_at_fork"):
    # Another thread may hold it at that moment, and would hold it for ever in the forked process, where it does not run.
    os.register_at_fork(after_in_child=_beginning._at_fork_reinit)

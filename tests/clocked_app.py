"""``python -m tests.clocked_app``: ``app.py`` with a clock in its event loop: what held the loop, and for how long, as lines of JSON in the
file ``CLOCKED``.

A callback's processor time is that of the loop's own thread, so that neither other programs nor other threads of this one count; a
pause is what a visitor would notice, from when the loop should have come back until it did. Of a pause the loop's thread ``computed`` for so long, and was
``unserved`` for so long, ready but without a processor (Linux says so); the rest it waited for a lock, the interpreter's as a rule.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from asyncio.events import Handle
from contextlib import suppress

import app

# Seconds from which on something is written down; how often the loop should come back.
NOTED, EVERY = 0.02, 0.01

_bound_heads, _run = app.bound_heads, Handle._run
_lines: list[dict[str, object]] = []
# Processor seconds of this thread that went into looking for garbage, so far.
_collecting, _began = 0.0, 0.0
_thread: threading.Thread | None = None


def clocked(handle: Handle) -> None:
    """One callback of the event loop, and what it took; loops of other threads may take what they like."""
    if threading.current_thread() is not _thread:
        return _run(handle)
    began, before = time.thread_time(), _collecting
    _run(handle)
    took = time.thread_time() - began
    if took > NOTED:
        _lines.append({"callback": took, "garbage": _collecting - before, "what": repr(handle)[:400]})


def collected(phase: str, about: dict[str, int]) -> None:
    """Garbage is being looked for, by the loop's thread or another."""
    global _collecting, _began
    if threading.current_thread() is _thread:
        if phase == "start":
            _began = time.thread_time()
        else:
            _collecting += time.thread_time() - _began


def served(statistics: int | None) -> tuple[float, float]:
    """Seconds for which a thread has had a processor, and for which it was ready and had none, so far.

    Args:
        statistics: its file ``schedstat``, open; None where the system has none, and nothing is known of the latter.
    """
    if statistics is None:
        return time.thread_time(), 0.0
    had, waited = (int(number) / 1e9 for number in os.pread(statistics, 100, 0).split()[:2])
    return had, waited


async def look() -> None:
    """Come back again and again, and write down how late."""
    global _thread
    _thread = threading.current_thread()
    gc.callbacks.append(collected)
    statistics = None
    with suppress(OSError):
        statistics = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
    with open(os.environ["CLOCKED"], "w", encoding="utf-8", buffering=1) as file:
        while True:
            before = served(statistics)  # reads a file, after which it may have to wait for the interpreter's lock: not within what is measured
            began = time.monotonic()
            await asyncio.sleep(EVERY)
            late = time.monotonic() - began - EVERY
            if late > NOTED:
                computed, unserved = (now - then for now, then in zip(served(statistics), before, strict=True))
                _lines.append({"pause": late, "computed": computed, "unserved": unserved})
            while _lines:
                file.write(json.dumps(_lines.pop(0)) + "\n")


def bound_heads(server: object) -> None:
    """The server runs by now; its loop is that of its listening socket."""
    _bound_heads(server)
    loop = server.servers[0].get_loop()
    asyncio.run_coroutine_threadsafe(look(), loop)
    Handle._run = clocked


if __name__ == "__main__":
    app.bound_heads = bound_heads
    app.main()

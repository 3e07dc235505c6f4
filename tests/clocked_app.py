"""``python -m tests.clocked_app``: ``app.py`` with a clock in its event loop: what held the loop, and for how long, as lines of JSON in the
file ``CLOCKED``.

A callback's processor time is that of the loop's own thread, so that neither other programs nor other threads of this one count; a
pause is what a visitor would notice, from when the loop should have come back until it did.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from asyncio.events import Handle

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


async def look() -> None:
    """Come back again and again, and write down how late."""
    global _thread
    _thread = threading.current_thread()
    gc.callbacks.append(collected)
    with open(os.environ["CLOCKED"], "w", encoding="utf-8", buffering=1) as file:
        while True:
            began = time.monotonic()
            await asyncio.sleep(EVERY)
            late = time.monotonic() - began - EVERY
            if late > NOTED:
                _lines.append({"pause": late})
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

"""Large requests are held back in the queue, so that the small ones pass them there as they do at the places to work in.

Of large ones half as many are worked on as of all (:mod:`seg_demo.serving.limits`). Those that wait for that would fill what may
leave gradio's queue, and behind them everybody would wait. It reaches into gradio's queue as :mod:`seg_demo.gateway.queue` does:
``Queue.get_events`` chooses what leaves it, without an await, and ``push`` returns an event's id.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import gradio as gr
from gradio.queueing import Event

from seg_demo.core.errors import BadRequestError
from seg_demo.gateway.queue import WORK, crowded, queue_of
from seg_demo.gateway.work import working
from seg_demo.serving.limits import is_large
from seg_demo.ui.editor import uploaded

# Beside the large requests that are worked on, so many may have left the queue: the next one, whose model is fetched meanwhile.
NEXT = 1
# Files that are looked into at a time; some kinds are read whole.
LOOKS = 2


def hold_back(blocks: gr.Blocks) -> None:
    """Let few large requests leave a page's queue at a time.

    Args:
        blocks: whose queue has been set.
    """
    queue, most = queue_of(blocks), max(1, working() // 2) + NEXT
    push, choose, looks = queue.push, queue.get_events, anyio.CapacityLimiter(LOOKS)
    large: set[str] = set()

    async def marked(body: Any, request: Any, username: str | None) -> tuple[bool, Any, Any]:
        # What is about to be refused is not looked into.
        much = crowded(queue) is None and await anyio.to_thread.run_sync(asks_much, body.data, limiter=looks)
        accepted, told, state = await push(body=body, request=request, username=username)
        event = queue.event_ids_to_events.get(told) if accepted and much else None
        if event is not None and event.concurrency_id == WORK:
            large.intersection_update(queue.event_ids_to_events)
            large.add(told)
        return accepted, told, state

    def small_first() -> tuple[list[Event], bool, str] | None:
        line = queue.event_queue_per_concurrency_id.get(WORK)
        if line is None or not large:
            return choose()
        waiting, everyone = [each for each in line.queue if each._id in large], line.queue
        if len(large & queue.event_ids_to_events.keys()) - len(waiting) < most:
            return choose()
        line.queue = [each for each in everyone if each._id not in large]
        try:
            found = choose()
        finally:
            line.queue = everyone
        if found is not None and found[2] == WORK:
            for each in found[0]:
                everyone.remove(each)
        return found

    queue.push, queue.get_events = marked, small_first


def asks_much(data: list[Any]) -> bool:
    """Whether what was sent for a handler is a large picture, or asks for full detail.

    Args:
        data: JSON values, as the browser or a client sent them.
    """
    if "full" in data:
        return True
    named = (each.get("path") for each in data if isinstance(each, dict))
    return any(is_large(path) for path in map(_uploaded, named) if path is not None)


def _uploaded(path: object) -> Path | None:
    try:
        return uploaded(path)
    except (BadRequestError, OSError, ValueError):  # no upload, or a name that no file can have
        return None

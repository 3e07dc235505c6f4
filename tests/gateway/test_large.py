"""Large requests in gradio's queue: a small one passes all that wait, and whatever is sent in place of a picture does no harm."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio import utils
from gradio.queueing import Queue
from PIL import Image

from seg_demo.gateway.queue import NEXT, asks_much, working
from seg_demo.inputs.images import LARGE_PIXELS
from tests import crowd
from tests.gateway.test_load import _large, function
from tests.surface import API, http  # noqa: F401  (fixture)

MANY = 9


def test_the_seams_are_where_they_were():
    events, push = inspect.getsource(Queue.get_events), inspect.getsource(Queue.push)
    assert "await" not in events and "first_event = event_queue.queue[0]" in events and "queue.remove(event)" in events
    assert "return True, event._id" in push and "await" not in push.rpartition("queue.append(event)")[2]


async def passed(address: str, number: int) -> int:
    """Many visitors who ask for full detail, then one who does not; how many of them are answered while that one waits."""
    limits = httpx.Limits(max_connections=3 * MANY)
    async with httpx.AsyncClient(base_url=address, timeout=crowd.PATIENCE, limits=limits) as client:
        path, order = await _large(client, 800, 600), []

        async def answered(session: str, name: str) -> None:
            async with client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
                async for line in stream.aiter_lines():
                    if '"process_completed"' in line:
                        assert '"success":true' in line, line
                        order.append(name)

        asked = [("large", "unet-cells", "full")] * MANY + [("small", "otsu", "whole")]
        waiting = []
        for name, model, detail in asked:
            session, before = uuid.uuid4().hex, len(order)
            joined = await crowd.join(client, number, [crowd.file_data(path), model, 0.5, detail], session)
            assert joined.status_code == 200, joined.text
            waiting.append(asyncio.create_task(answered(session, name)))
        await asyncio.gather(*waiting)
        assert order.count("large") == MANY and order.count("small") == 1
        return order.index("small") - before


def test_a_small_request_passes_the_large_ones_that_wait(http):  # noqa: F811
    # Those that had left the queue when it came, and one that ends while it is worked on.
    assert asyncio.run(passed(str(http.base_url), function(http))) <= max(1, working() // 2) + NEXT + 1


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(utils, "get_upload_folder", lambda: str(tmp_path))
    return tmp_path


def test_what_is_large(folder):
    side = int(np.ceil(LARGE_PIXELS**0.5))
    for name, size in (("large.png", side), ("small.png", side - 1)):
        Image.new("L", (size, size)).save(folder / name)
    large, small = ({"path": str(folder / name), "meta": {}} for name in ("large.png", "small.png"))
    assert asks_much([large, "otsu", 0.5]) and not asks_much([small, "otsu", 0.5]) and asks_much([small, "otsu", 0.5, "full"])


def test_what_is_no_upload_is_not_looked_into(folder):
    outside = folder.parent / f"{folder.name}-outside.png"
    Image.new("L", (2500, 2500)).save(outside)
    (folder / "text.png").write_text("no image")
    for path in (outside, folder / ".." / outside.name, folder / "missing", folder, folder / "text.png", folder / ("n" * 5000)):
        assert not asks_much([{"path": str(path)}])
    for data in ([], [None, 7, [], {}], [{"path": 7}], [{"path": "\0"}], [{"path": "\ud800"}], [{"path": None}, "whole"]):
        assert not asks_much(data)

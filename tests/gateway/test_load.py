"""Many at once, many in a row, and those who try to have more than their share: nobody gets another's answer."""

from __future__ import annotations

import asyncio
import io
import time
import uuid

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from seg_demo.core import rle
from seg_demo.core.settings import settings
from seg_demo.inputs.images import REST_SECONDS
from tests import crowd
from tests.served import served
from tests.surface import API, quiet

MEGABYTE = 1_000_000
GROWTH = 50 * MEGABYTE


def function(http: httpx.Client, name: str = "segment") -> int:
    return next(each["id"] for each in http.get("/config").json()["dependencies"] if each["api_name"] == name)


@pytest.fixture(scope="module")
def http(demo_url):
    with httpx.Client(base_url=demo_url, timeout=120) as client:
        yield client


def rush(http: httpx.Client, count: int, timed: bool = False) -> list[crowd.Visit]:
    """A crowd whose every answer is its own, or the sentence that the queue is full; returns those who were served.

    How long they wait is judged only where nothing else runs beside them (``timed``).
    """
    single, visits = asyncio.run(crowd.crowd(str(http.base_url), function(http), count))
    served_ones = [each for each in visits if each.result is not None]
    for each in served_ones:
        assert (each.result["width"], each.result["height"]) == crowd.size_of(each.number) == each.mask, each
        assert each.result["model"]["id"] == crowd.model_of(each.number), each
        assert np.array_equal(np.asarray(crowd.whole(each.files[0])), _ids(each.result)), each.number
        assert crowd.whole(each.files[1]).size == crowd.size_of(each.number), each.number
    for each in visits:
        if each.result is None:
            assert each.status == 503 and "requests" in each.sentence and len(each.sentence) > 40, each
    p95 = float(np.percentile([each.seconds for each in served_ones], 95))
    most = (settings().queue_size + 1) * single * 1.5
    print(f"measured: {count} at once: {len(served_ones)} served, single {single:.3f} s, p95 {p95:.2f} s, at most {most:.2f} s")
    assert len(served_ones) >= min(count, settings().queue_size)
    assert not timed or p95 <= most, (p95, most, single)
    quiet(http)
    return served_ones


def _ids(result: dict[str, object]) -> np.ndarray:
    """The mask that goes with a result, from its JSON: ids, (height, width)."""
    found = np.zeros((result["height"], result["width"]), int)
    for segment in result["segments"]:
        found[rle.decode(segment["segmentation"])] = segment["id"]
    return found


def test_a_crowd_gets_its_own_answers_or_is_told_that_the_queue_is_full(http):
    rush(http, 50)


@pytest.mark.soak
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_two_hundred_at_once(http):
    for _ in range(2):
        assert len(rush(http, 200, timed=True)) < 200, "some were told to come back"


def memory(port: str) -> int:
    """Bytes that the demo on a port holds."""
    own = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    return sum(each.memory_info().rss for each in own if each.environ().get("GRADIO_SERVER_PORT") == port)


async def in_a_row(address: str, number: int, count: int, tab: tuple[int, list[object]]) -> None:
    """Requests one after another, of new visitors each, by the queue, past it, and by a tab; some are refused."""
    async with httpx.AsyncClient(base_url=address, timeout=crowd.PATIENCE) as http:
        for each in range(count):
            path = await crowd.upload(http, crowd.picture_of(each % 150))
            if each % 3 == 0:
                visit = await crowd.visit(http, number, each % 150, path)
                assert visit.result is not None, visit
            elif each % 3 == 1:
                body = {"data": [crowd.file_data(path), "otsu" if each % 2 else "user/none?", 0.5]}
                answer = (await http.post(f"{API}/run/segment", json=body)).json()
                assert ("data" if each % 2 else "error") in answer, answer
                for file in answer.get("data", [])[1:]:
                    crowd.whole(await crowd.fetch(http, file["path"]))
            else:
                session = uuid.uuid4().hex
                event, values = tab
                joined = await crowd.join(http, event, [crowd.file_data(path), None, "otsu", *values], session)
                assert joined.status_code == 200, joined.text
                assert "data" in await crowd.answered(http, session)


def tab_of(http: httpx.Client) -> tuple[int, list[object]]:
    """Number of the Regions tab's event, and the values of its controls."""
    config = http.get("/config").json()
    event = next(each for each in config["dependencies"] if each["api_name"] == "run_method" and len(each["inputs"]) > 5)
    values = {each["id"]: each["props"].get("value") for each in config["components"]}
    return event["id"], [values[each] for each in event["inputs"]][3:]


def grown(address: str, warm: int, count: int) -> int:
    """Bytes by which the demo grows during so many requests, after so many others; looked at when it rests, for what is free and not yet given back is no growth."""
    with httpx.Client(base_url=address, timeout=120) as http:
        number, tab, port = function(http), tab_of(http), str(http.base_url.port)

        def rested() -> int:
            quiet(http)
            time.sleep(2 * REST_SECONDS)
            return memory(port)

        asyncio.run(in_a_row(address, number, warm, tab))
        before, most = rested(), 0
        for _ in range(4):
            asyncio.run(in_a_row(address, number, count // 4, tab))
            most = max(most, rested() - before)
        print(f"measured: {count} in a row: {most / MEGABYTE:+.1f} MB at most, {(memory(port) - before) / MEGABYTE:+.1f} MB at the end")
        return most


@pytest.mark.soak
def test_requests_in_a_row_leave_nothing_behind(demo_url):
    assert grown(demo_url, 36, 36) <= GROWTH


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_two_thousand_in_a_row(demo_url):
    assert grown(demo_url, 250, 2000) <= GROWTH


async def one_among_many(address: str, number: int, many: int) -> int:
    """A visitor with many requests, then another with one; returns how many of the first are answered while that one waits."""
    limits = httpx.Limits(max_connections=3 * many)
    async with httpx.AsyncClient(base_url=address, timeout=crowd.PATIENCE, limits=limits) as http:
        # Slow enough that few are answered before the other comes.
        path, own = await _large(http, 800, 600), await crowd.upload(http, crowd.picture_of(0))
        greedy, answered = uuid.uuid4().hex, []

        async def all_of_them() -> None:
            async with http.stream("GET", f"{API}/queue/data", params={"session_hash": greedy}) as stream:
                async for line in stream.aiter_lines():
                    if '"process_completed"' in line:
                        answered.append(line)

        joined = [await crowd.join(http, number, [crowd.file_data(path), "slic", 0.5], greedy) for _ in range(many)]
        assert [each.status_code for each in joined] == [200] * many
        waiting = asyncio.create_task(all_of_them())
        await asyncio.sleep(0.1)  # what has been answered by now has arrived
        session, before = uuid.uuid4().hex, len(answered)
        assert (await crowd.join(http, number, [crowd.file_data(own), "otsu", 0.5], session)).status_code == 200
        assert "data" in await crowd.answered(http, session)
        passed = len(answered) - before
        await waiting
        assert len(answered) == many > before
        return passed


@pytest.mark.soak
def test_one_request_goes_before_the_many_of_another(http):
    from seg_demo.gateway.queue import FETCHING, working

    passed = asyncio.run(one_among_many(str(http.base_url), function(http), 12))
    # Those that had left the queue already, and those that are worked on beside it. In the order of their coming all twelve would.
    assert passed <= working() + FETCHING + working(), passed


async def leave(address: str, number: int, count: int) -> None:
    """Visitors who ask and close the page before they are answered."""
    async with httpx.AsyncClient(base_url=address, timeout=crowd.PATIENCE) as http:
        path = await crowd.upload(http, crowd.picture_of(0))
        for _ in range(count):
            session = uuid.uuid4().hex
            asked = await crowd.join(http, number, [crowd.file_data(path), "slic", 0.5], session)
            assert asked.status_code == 200, asked.text
            async with http.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
                async for _line in stream.aiter_lines():
                    break


def test_who_closes_the_page_leaves_the_queue(http):
    asyncio.run(leave(str(http.base_url), function(http), 30))
    began = time.monotonic()
    quiet(http)
    assert time.monotonic() - began < 20
    _, visits = asyncio.run(crowd.crowd(str(http.base_url), function(http), 3))
    assert all(each.result is not None for each in visits)


def test_a_request_has_its_time(tmp_path):
    with served(SEG_DEMO_REQUEST_SECONDS="3") as address, httpx.Client(base_url=address, timeout=120) as http:
        asyncio.run(crowd.crowd(address, function(http), 3))  # the same visits as below: what a first one imports and loads is there by then
        large = asyncio.run(_uploaded(address))
        body = {"data": [crowd.file_data(large), "unet-cells", 0.5, "full"]}
        began = time.monotonic()
        answer = http.post(f"{API}/run/segment", json=body).json()
        assert "longer than the 3 seconds" in answer["error"] and time.monotonic() - began < 30
        _, visits = asyncio.run(crowd.crowd(address, function(http), 3))
        assert all(each.result is not None for each in visits)


async def _uploaded(address: str) -> str:
    async with httpx.AsyncClient(base_url=address, timeout=crowd.PATIENCE) as http:
        return await _large(http, 6000, 4500)


async def _large(http: httpx.AsyncClient, width: int, height: int) -> str:
    """Upload a picture that takes its time."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (height // 10, width // 10, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((width, height)).save(file, "JPEG", quality=60)
    return await crowd.upload(http, file.getvalue(), "large.jpg")

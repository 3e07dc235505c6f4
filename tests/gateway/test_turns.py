"""Who gets which turn, and how much runs at a time: nobody gets round the bound, nobody fills the queue."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from types import SimpleNamespace

import httpx
from gradio.queueing import Event
from PIL import Image
from starlette.responses import PlainTextResponse

from seg_demo.core.settings import settings
from seg_demo.gateway import guard, queue as request_queue
from seg_demo.ui.demo import build_demo
from tests.surface import API, COINS, MODEL, file_data, functions, http, metric, quiet, uploaded  # noqa: F401  (fixtures)


def watched(http, most: list[int], end: threading.Event) -> None:  # noqa: F811
    while not end.wait(0.02):
        most.append(http.get("/health").json()["running"])


def test_direct_posts_and_cancelled_jobs_do_not_get_round_the_bound(http, functions):  # noqa: F811
    path = uploaded(http, COINS.read_bytes())
    seen, end = [], threading.Event()
    watcher = threading.Thread(target=watched, args=(http, seen, end))
    watcher.start()
    body = {"data": [file_data(path), MODEL, 0.5], "fn_index": functions["segment"]}

    def direct(_: int) -> httpx.Response:
        return http.post(f"{API}/run/segment", json=body)

    def cancelled(_: int) -> None:
        session = uuid.uuid4().hex
        event = http.post(f"{API}/queue/join", json={**body, "session_hash": session}).json().get("event_id")
        time.sleep(0.02)
        http.post(f"{API}/cancel", json={"session_hash": session, "fn_index": functions["segment"], "event_id": event})

    with ThreadPoolExecutor(24) as pool:
        answers = pool.map(direct, range(30))
        list(pool.map(cancelled, range(15)))
        answers = list(answers)
    end.set()
    watcher.join()
    assert max(seen) <= request_queue.working()
    assert all(answer.status_code == 200 or len(answer.json()["error"]) > 20 for answer in answers)
    assert sum(answer.status_code == 200 for answer in answers) >= 15
    quiet(http)


def test_a_visitor_who_leaves_frees_the_slot(http, functions):  # noqa: F811
    # Larger, so that the others have left while the first is worked on.
    large = io.BytesIO()
    Image.open(COINS).resize((3000, 2400)).save(large, "JPEG")
    body = {"data": [file_data(uploaded(http, large.getvalue())), "slic", 0.5], "fn_index": functions["segment"]}
    before = metric(http.get("/metrics").text, "LeftError")
    lines = [HTTPConnection(http.base_url.host, http.base_url.port, timeout=120) for _ in range(6)]
    for line in lines:
        line.request("POST", f"{API}/run/segment", json.dumps(body), {"Content-Type": "application/json"})
    until = time.monotonic() + 100
    while (state := http.get("/health").json())["running"] + state["waiting"] < 6:
        assert time.monotonic() < until, state
    for line in lines:
        line.close()
    quiet(http)
    assert metric(http.get("/metrics").text, "LeftError") - before >= 4, "who left before their turn is not worked for"


def event(address: str, session: str) -> Event:
    return Event(session, SimpleNamespace(concurrency_id="work"), SimpleNamespace(scope={"client": (address, 1)}), None)


def test_visitors_take_turns():
    line = request_queue.FairList()
    for number in range(4):
        line.append(event("8.8.8.8", f"a{number}"))
    for address in ("9.9.9.9", "1.1.1.1", "9.9.9.9"):
        line.append(event(address, "b"))
    assert [each.request.scope["client"][0][0] for each in line] == list("8918988")
    hidden = request_queue.FairList([event("127.0.0.1", "a"), event("127.0.0.1", "a")])
    hidden.append(event("127.0.0.1", "b"))
    assert [each.session_hash for each in hidden] == ["a", "b", "a"], "behind a proxy, sessions take turns"


def test_nobody_fills_the_queue_alone():
    place = SimpleNamespace(queue=[], concurrency_id="work", concurrency_limit=4, current_concurrency=1)
    queue, line = SimpleNamespace(event_queue_per_concurrency_id={"work": place}), place.queue
    while request_queue.refusal(queue, "8.8.8.8") is None:
        line.append(event("8.8.8.8", "a"))
    assert len(line) == settings().queue_size * 3 // 4
    assert "You have 24 requests waiting" in request_queue.refusal(queue, "8.8.8.8")
    for number in range(settings().queue_size - len(line)):
        assert request_queue.refusal(queue, f"9.9.9.{number}") is None
        line.append(event(f"9.9.9.{number}", "b"))
    assert "The server is busy: 32 requests" in request_queue.refusal(queue, "1.1.1.1")
    place.current_concurrency = 4
    del line[8:10]
    assert "The server is busy: 33 requests" in request_queue.refusal(queue, "1.1.1.1"), "three wait for a place"
    del line[8:22]
    assert "You have 8" in request_queue.refusal(queue, "8.8.8.8"), "while others wait, the bound of one visitor holds"


def test_a_full_queue_is_said_before_gradio_is_asked():
    asked = []

    async def app(scope, receive, send):
        asked.append(scope["path"])
        await PlainTextResponse("let in")(scope, receive, send)

    place = SimpleNamespace(queue=[], concurrency_id="work", concurrency_limit=4, current_concurrency=0)
    page = SimpleNamespace(_queue=SimpleNamespace(event_queue_per_concurrency_id={"work": place}), blocks={})

    async def joined(language: str = "en") -> httpx.Response:
        transport = httpx.ASGITransport(guard.Guard(app, page))
        async with httpx.AsyncClient(transport=transport, base_url="http://demo") as http:  # noqa: F811
            return await http.post(f"{API}/queue/join", json={"data": []}, headers={"accept-language": language})

    place.queue = [event("8.8.8.8", "a")] * (settings().queue_size - 1)
    assert asyncio.run(joined()).text == "let in" and len(asked) == 1
    place.queue.append(event("9.9.9.9", "b"))
    answer = asyncio.run(joined())
    assert (answer.status_code, len(asked)) == (503, 1) and "32 requests are waiting, which is the limit" in answer.json()["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert asyncio.run(joined("zh-CN,zh;q=0.9")).json()["detail"] == "服务器繁忙：已有 32 个请求在等待，达到上限。请一分钟后再试。"


def test_who_waits_is_told_their_place_now_and_then_and_not_with_every_answer():
    queue = build_demo()._queue
    assert not queue.live_updates and queue.update_intervals == 1.0

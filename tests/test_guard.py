"""The server's surface: what it serves, what it takes, what its answers say, and who gets which turn."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import os
import re
import threading
import time
import tracemalloc
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio import route_utils
from gradio.queueing import Event, EventQueue, Queue
from gradio.state_holder import SessionState
from gradio_client import Client, handle_file
from PIL import Image
from starlette.responses import PlainTextResponse

from seg_demo.settings import settings
from seg_demo.ui import guard, guard_rules, guard_seams, uploads, work
from seg_demo.ui.demo import build_demo
from tests.served import ROOT

COINS = ROOT / "seg_demo/ui/examples/coins.png"
API = "/gradio_api"
MODEL = "otsu"
SECRETS = ("Traceback", "site-packages", str(ROOT), "/usr/lib", "HF_TOKEN", 'File "')


@pytest.fixture(scope="module")
def http(demo_url):
    with httpx.Client(base_url=demo_url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def functions(http):
    """Ids of the events that have a handler, by their name in the API."""
    return {each["api_name"]: each["id"] for each in http.get("/config").json()["dependencies"]}


def uploaded(http, data: bytes, name: str = "image.png") -> str:
    answer = http.post(f"{API}/upload", files={"files": (name, data)})
    assert answer.status_code == 200
    return answer.json()[0]


def file_data(path: str) -> dict[str, object]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def called(http, data: object) -> tuple[str, str]:
    """The last event of a call of /segment and its content."""
    answer = http.post(f"{API}/call/segment", json={"data": data})
    if answer.status_code != 200:
        return "refused", answer.text
    lines = http.get(f"{API}/call/segment/{answer.json()['event_id']}").text.strip().splitlines()
    return lines[-2].removeprefix("event: "), lines[-1].removeprefix("data: ")


def test_every_answer_carries_the_headers(http):
    path = uploaded(http, COINS.read_bytes())
    for address in ("/", "/config", "/nothing", f"{API}/file=/etc/passwd", f"{API}/file={path}", "/health"):
        headers = http.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
        policy = headers["content-security-policy"]
        assert ("sandbox" in policy) == (f"{API}/file=" in address)
        assert "object-src 'none'" in policy or "default-src 'none'" in policy
    assert "frame-ancestors 'self' https://huggingface.co" in http.get("/").headers["content-security-policy"]
    assert "frame-ancestors 'self' https://a.org" in guard_rules.headers("https://a.org")["Content-Security-Policy"]


@pytest.mark.parametrize(
    "address",
    [
        "/monitoring", "/monitoring/summary", "/monitoring/x", f"{API}/runs", f"{API}/run-history/records",
        f"{API}/dev/reload",
        f"{API}/deep_link?session_hash=a", "/?deep_link=abc", f"{API}/proxy=https://a.hf.space/x", f"{API}/vibe-code",
        f"{API}/custom_component/a/client/b/c", f"{API}/token", f"{API}/profiling/summary", "/pwa_icon/9999", "/docs",
        f"{API}/stream/a/b/1/playlist.m3u8", "/login", "/.env", "/app.py", "/.git/config",
    ],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(http, address):
    answer = http.get(address)
    assert (answer.status_code, answer.json()) == (404, {"detail": "There is nothing at this address."})


@pytest.mark.parametrize("address", ["vibe-edit", "process_recording", "stream/x", "undo-vibe-edit", "file=x", "deep_link"])
def test_nothing_else_can_be_posted_to(http, address):
    assert http.post(f"{API}/{address}", json={}).status_code == 404
    assert http.put(f"{API}/upload").status_code == http.delete("/").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "/proc/self/environ", str(ROOT / "README.md"), str(ROOT / "seg_demo/settings.py"), "README.md",
        ".env",
        "../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "https://example.org/x.png", "file:///etc/passwd", "//etc/passwd",
        str(ROOT / "seg_demo/ui/examples/../../settings.py"), "~/.bashrc", "", "%00", "data:text/html,x",
    ],
)  # fmt: skip
def test_the_file_route_serves_no_other_file(http, path):
    answer = http.get(f"{API}/file={path}")
    assert answer.status_code in (403, 404) and len(answer.text) < 300 and "root:" not in answer.text


def test_results_and_uploads_have_unguessable_addresses(http):
    path = uploaded(http, COINS.read_bytes(), "a.png")
    assert len(path.split("/")[-2]) == 64, "the folder is the hash of the content"
    assert http.get(f"{API}/file={path}").content == COINS.read_bytes()
    for near in (path.rsplit("/", 1)[0], path.rsplit("/", 2)[0], path[:-1]):
        assert http.get(f"{API}/file={near}").status_code == 403
    page = uploaded(http, b"<script>alert(1)</script>", "a.html")
    answer = http.get(f"{API}/file={page}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_bodies_are_bounded(http):
    most = settings().max_bytes
    for route in ("call/segment", "upload", "queue/join"):
        with closing(HTTPConnection(http.base_url.host, http.base_url.port, timeout=30)) as line:
            line.putrequest("POST", f"{API}/{route}")
            line.putheader("Content-Length", "9" * 12)
            line.endheaders()
            answer = line.getresponse()
            assert answer.status == 413 and b"Send a smaller image" in answer.read(), "what promises too much is not read"
    answer = http.post(f"{API}/queue/join", content=b'{"data": [' + b"1," * 300_000 + b"1]}")
    assert answer.status_code == 400 and "parts" in answer.json()["detail"]
    large = uploaded(http, COINS.read_bytes() + bytes(most))
    event, content = called(http, [file_data(large), "otsu", 0.5])
    assert event == "error" and "more than is accepted" in content

    def endless():
        for _ in range(most // 2**18 * 2):
            yield bytes(2**20)

    answer = http.post(f"{API}/call/segment", content=endless())
    assert answer.status_code == 413
    for text in ("[" * 100_000, "{" * 10, '{"data": ' + "[" * 5000 + "]" * 5000 + "}", "null", "", "\xff"):
        answer = http.post(f"{API}/call/segment", content=text.encode("latin-1"))
        assert 400 <= answer.status_code < 500 and len(answer.text) < 500


@pytest.mark.parametrize("url", ["https://example.org/x", "HTTP://127.0.0.1/x", "http://169.254.169.254/x", "ftp://a/b"])
def test_addresses_are_not_fetched(http, url):
    for value in (file_data(url), {"url": url}, {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}):
        event, content = called(http, [value, "otsu", 0.5])
        assert event == "error" and len(json.loads(content)["error"]) > 20, content


@pytest.mark.parametrize(
    "image",
    [
        file_data("/etc/passwd"), file_data(str(ROOT / "README.md")), file_data("../../../etc/passwd"), {"path": 3}, [],
        "x", 7,
        file_data(""), {"path": None, "url": None}, file_data("data:image/png;base64,AAAA"), {"url": "data:,"},
        file_data("\0"),
    ],
)  # fmt: skip
def test_a_local_file_or_nonsense_as_image_gets_a_sentence(http, image):
    event, content = called(http, [image, "otsu", 0.5])
    assert event in ("error", "refused") and not any(secret in content for secret in SECRETS)
    sentence = json.loads(content)
    sentence = sentence.get("error", sentence.get("detail"))
    assert sentence and len(str(sentence)) > 20


def test_malformed_requests_get_a_sentence_and_leave_the_server_well(http, functions):
    session = uuid.uuid4().hex
    bodies = [
        {}, {"data": None}, {"data": []}, {"data": [1] * 50}, {"data": {}}, {"data": [None], "fn_index": 10**9},
        {"data": [], "fn_index": -1}, {"data": [], "fn_index": "x"}, {"data": [], "fn_index": None, "session_hash": "x"},
        {"data": [], "session_hash": {"a": 1}}, {"data": [], "event_data": 7, "fn_index": functions["segment"]},
        {"data": ["<script>", "<img src=x>", "<b>"], "fn_index": functions["segment"], "session_hash": session},
        {"data": [{"__proto__": 1}], "trigger_id": 10**30}, {"data": [], "batched": True, "fn_index": functions["segment"]},
    ]  # fmt: skip
    for route in ("queue/join", "call/segment", "call/x", "call/v2/segment", "call/v2/x", "run/segment", "run/x", "api/x"):
        for body in bodies:
            answer = http.post(f"{API}/{route}", json=body)
            assert not any(secret in answer.text for secret in SECRETS), (route, body, answer.text)
            if answer.status_code != 200:
                assert len(answer.text) > 20 and answer.headers["content-type"].startswith("application/json"), (route, body)
    for route in ("cancel", "reset", "upload"):
        assert http.post(f"{API}/{route}", json={"event_id": "x"}).status_code in (200, 400, 422)
    for address in (f"{API}/queue/data", f"{API}/queue/data?session_hash=y", f"{API}/call/segment/x", f"{API}/call/x/y"):
        answer = http.get(address)
        assert not any(secret in answer.text for secret in SECRETS)
    assert called(http, [file_data(uploaded(http, COINS.read_bytes())), "otsu", 0.5])[0] == "complete"


def watched(http, most: list[int], end: threading.Event) -> None:
    while not end.wait(0.02):
        most.append(http.get("/health").json()["running"])


def test_direct_posts_and_cancelled_jobs_do_not_get_round_the_bound(http, functions):
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
    assert max(seen) <= work.working()
    assert all(answer.status_code == 200 or len(answer.json()["error"]) > 20 for answer in answers)
    assert sum(answer.status_code == 200 for answer in answers) >= 15
    quiet(http)


def quiet(http) -> None:
    """Wait until nothing runs or waits."""
    until = time.monotonic() + 60
    while (state := http.get("/health").json())["running"] or state["waiting"]:
        assert time.monotonic() < until, state
        time.sleep(0.1)


def test_a_visitor_who_leaves_frees_the_slot(http, functions):
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


def metric(text: str, outcome: str) -> int:
    return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if f'outcome="{outcome}"' in line)


def test_health_and_counters(http):
    state = http.get("/health")
    assert state.status_code == 200 and set(state.json()) == {"status", "version", "models", "running", "waiting", "seconds"}
    before = metric(http.get("/metrics").text, "ok")
    called(http, [file_data(uploaded(http, COINS.read_bytes())), "otsu", 0.5])
    text = http.get("/metrics").text
    assert metric(text, "ok") == before + 1
    assert 'seg_demo_request_seconds_bucket{endpoint="segment",le="+Inf"}' in text and "coins" not in text


def test_broken_off_uploads_do_not_stay(tmp_path):
    for name, age in (("tmpold", 700), ("tmpnew", 0), ("other", 700)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    guard.sweep_partial(str(tmp_path), guard.PARTIAL_SECONDS)
    assert {path.name for path in tmp_path.iterdir()} == {"tmpnew", "other"}


def test_an_upload_that_is_broken_off_or_too_large_leaves_nothing(http):
    folder = Path(uploaded(http, COINS.read_bytes())).parents[1]
    before = set(folder.glob("tmp*"))  # of other tests' visitors
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n'
    for promised, sent in ((10_000_000, 2_000_000), (None, 3 * 2**20)):
        with closing(HTTPConnection(http.base_url.host, http.base_url.port, timeout=30)) as line:
            line.putrequest("POST", f"{API}/upload")
            line.putheader("Content-Type", "multipart/form-data; boundary=B")
            if promised:
                line.putheader("Content-Length", str(promised))
            else:
                line.putheader("Transfer-Encoding", "chunked")
            line.endheaders()
            body = head + bytes(sent)
            line.send(body if promised else b"%x\r\n%b\r\n" % (len(body), body))
            until = time.monotonic() + 10
            while set(folder.glob("tmp*")) <= before and time.monotonic() < until:
                time.sleep(0.02)
            assert not set(folder.glob("tmp*")) <= before, "it has begun"
        until = time.monotonic() + 10
        while not set(folder.glob("tmp*")) <= before:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_full_disk_is_said(monkeypatch):
    monkeypatch.setattr(guard.disk, "room", lambda path: -1)
    page = guard_seams.Page()
    answer = guard.Guard(None, page)._refusal(f"{API}/upload", {"method": "POST", "query_string": b""})
    assert answer.status_code == 507 and b"no room" in answer.body


def event(address: str, session: str) -> Event:
    return Event(session, SimpleNamespace(concurrency_id="work"), SimpleNamespace(scope={"client": (address, 1)}), None)


def test_visitors_take_turns():
    line = guard_seams.FairList()
    for number in range(4):
        line.append(event("8.8.8.8", f"a{number}"))
    for address in ("9.9.9.9", "1.1.1.1", "9.9.9.9"):
        line.append(event(address, "b"))
    assert [each.request.scope["client"][0][0] for each in line] == list("8918988")
    hidden = guard_seams.FairList([event("127.0.0.1", "a"), event("127.0.0.1", "a")])
    hidden.append(event("127.0.0.1", "b"))
    assert [each.session_hash for each in hidden] == ["a", "b", "a"], "behind a proxy, sessions take turns"


def test_nobody_fills_the_queue_alone():
    place = SimpleNamespace(queue=[], concurrency_id="work", concurrency_limit=4, current_concurrency=1)
    queue, line = SimpleNamespace(event_queue_per_concurrency_id={"work": place}), place.queue
    while guard_seams.refusal(queue, "8.8.8.8") is None:
        line.append(event("8.8.8.8", "a"))
    assert len(line) == settings().queue_size * 3 // 4
    assert "You have 24 requests waiting" in guard_seams.refusal(queue, "8.8.8.8")
    for number in range(settings().queue_size - len(line)):
        assert guard_seams.refusal(queue, f"9.9.9.{number}") is None
        line.append(event(f"9.9.9.{number}", "b"))
    assert "The server is busy: 32 requests" in guard_seams.refusal(queue, "1.1.1.1")
    place.current_concurrency = 4
    del line[8:10]
    assert "The server is busy: 33 requests" in guard_seams.refusal(queue, "1.1.1.1"), "three wait for a place"
    del line[8:22]
    assert "You have 8" in guard_seams.refusal(queue, "8.8.8.8"), "while others wait, the bound of one visitor holds"


def test_a_full_queue_is_said_before_gradio_is_asked():
    asked = []

    async def app(scope, receive, send):
        asked.append(scope["path"])
        await PlainTextResponse("let in")(scope, receive, send)

    place = SimpleNamespace(queue=[], concurrency_id="work", concurrency_limit=4, current_concurrency=0)
    page = SimpleNamespace(_queue=SimpleNamespace(event_queue_per_concurrency_id={"work": place}), blocks={})

    async def joined() -> httpx.Response:
        transport = httpx.ASGITransport(guard.Guard(app, page))
        async with httpx.AsyncClient(transport=transport, base_url="http://demo") as http:
            return await http.post(f"{API}/queue/join", json={"data": []})

    place.queue = [event("8.8.8.8", "a")] * (settings().queue_size - 1)
    assert asyncio.run(joined()).text == "let in" and len(asked) == 1
    place.queue.append(event("9.9.9.9", "b"))
    answer = asyncio.run(joined())
    assert (answer.status_code, len(asked)) == (503, 1) and "32 requests are waiting already" in answer.json()["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_who_waits_is_told_their_place_now_and_then_and_not_with_every_answer():
    queue = build_demo()._queue
    assert not queue.live_updates and queue.update_intervals == 1.0


def test_the_seams_into_gradio_are_where_they_were():
    assert gr.__version__ == "6.31.0", "read guard_seams.py again with the new version's source, then change this line"
    push, events = inspect.getsource(Queue.push), inspect.getsource(Queue.get_events)
    assert "event_queue.queue.append(event)" in push and "self.event_ids_to_events[event._id] = event" in push
    assert "first_event = event_queue.queue[0]" in events and list(inspect.signature(Queue.push).parameters)[1:] == [
        "body", "request", "username",
    ]  # fmt: skip
    assert {"queue", "concurrency_id", "concurrency_limit", "current_concurrency"} <= set(vars(EventQueue("work", 4)))
    process = inspect.getsource(Queue.process_events)
    assert "self.event_ids_to_events.pop(event._id, None)" in process and "if event.alive" in process
    assert "app.get_blocks().process_api(" in inspect.getsource(route_utils.call_process_api)
    parse = inspect.getsource(route_utils.GradioMultiPartParser)
    assert "async for chunk in self.stream" in parse and "self._files_to_close_on_error.append(" in parse
    session = inspect.getsource(SessionState)
    assert "self.blocks_config = copy(blocks.default_config)" in session and "config_for_block(" in session
    routes = set(re.findall(r"@router\.\w+\(\s*\"([^\"]+)\"", inspect.getsource(gr.routes)))
    for needed in ("/queue/join", "/queue/data", "/upload", "/run/{api_name}", "/call/{api_name}",
    "/file={path_or_url:path}"):
        assert needed in routes, needed
    unknown = {path for path in routes if "{" not in path} - KNOWN
    assert not unknown, f"new in gradio: {unknown}. Decide whether the guard serves them, then list them here"


KNOWN = {
    path
    for path in (
        "/user", "/user/", "/login_check", "/login_check/", "/token", "/token/", "/app_id", "/app_id/", "/dev/reload",
        "/runs",
        "/runs/", "/info", "/info/", "/openapi.json", "/reset", "/reset/", "/queue/join", "/cancel", "/queue/data",
        "/component_server", "/component_server/", "/queue/status", "/upload_progress", "/upload", "/startup-events",
        "/theme.css", "/process_recording", "/vibe-edit", "/vibe-edit/", "/undo-vibe-edit", "/undo-vibe-edit/", "/vibe-code",
        "/vibe-code/", "/vibe-starter-queries", "/vibe-starter-queries/", "/deep_link", "/run-history/connect",
        "/run-history/buckets", "/run-history/records", "/profiling/traces", "/profiling/summary", "/profiling/clear",
    )
}  # fmt: skip


def test_a_session_is_small():
    page = build_demo()
    assert SessionState(page).config_values and not any(SessionState(page).components)
    assert len(page.get_config_file()["components"]) > 100, "the page itself has them"
    tracemalloc.start()
    kept = [SessionState(page) for _ in range(20)]
    each = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    assert each < 200_000, f"{each:,.0f} bytes for each session"


def test_an_error_of_gradios_own_is_escaped():
    assert isinstance(uploads.refused("<b>"), uploads.Refused) and uploads.refused("<b>").message == "&lt;b&gt;"


def test_keyword_names_still_work_from_the_client(demo_url):
    client = Client(demo_url, verbose=False, httpx_kwargs={"timeout": 120})
    assert client.predict(image=handle_file(str(COINS)), model="otsu", api_name="/segment")[0]["task"] == "region"

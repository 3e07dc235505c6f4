"""The seams into gradio are where they were, and what we put there does what it is for."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
import tracemalloc
from types import SimpleNamespace

import gradio as gr
from gradio import route_utils
from gradio.queueing import EventQueue, Queue
from gradio.state_holder import SessionState

from seg_demo.core.errors import Message
from seg_demo.gateway import queue, visitor
from seg_demo.gateway.visitor import spoken
from seg_demo.ui.demo import build_demo


def test_the_seams_into_gradio_are_where_they_were():
    assert gr.__version__ == "6.31.0", "read gateway/queue.py again with the new version's source, then change this line"
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
    assert isinstance(visitor.refused("<b>"), visitor.Refused) and visitor.refused("<b>").message == "&lt;b&gt;"


def test_a_server_that_nobody_visits_starts_no_process_for_typed_models(monkeypatch):
    started, trimmed = [], []
    monkeypatch.setattr(queue.untrusted, "warm", lambda: started.append(1))
    monkeypatch.setattr(queue, "give_back", lambda: trimmed.append(1))
    for visited_before in (False, True):
        monkeypatch.setattr(queue, "_loaded_ahead", threading.Event())
        monkeypatch.setattr(queue, "_visited", threading.Event())
        if visited_before:  # whoever comes while models are loaded is not forgotten, and waits for them
            queue.expect_typed_ids()
            assert not started
        queue.start_loading(["otsu"]).join()
        assert len(started) == visited_before and trimmed
        queue.expect_typed_ids()
        assert started
        started.clear()


def test_what_a_component_writes_is_in_the_visitors_language():
    with queue.Page() as page:
        note = gr.Textbox()
        note.postprocess = spoken  # as the viewer and the editor say their notes
        page.load(lambda: Message("images.pages", count=3), None, note)
    (handler,) = page.fns.values()

    def written(language: str) -> str:
        request = gr.Request(headers={"accept-language": language}, client=None, session_hash="one")
        return asyncio.run(page.process_api(handler, [], SessionState(page), request=request))["data"][0]

    assert written("zh-CN,zh") == "该文件有 3 页，显示的是第一页。" and written("en") == "This file has 3 pages; the first is shown."


def test_the_page_is_made_once_for_each_head_that_it_depends_on():
    made: list[dict] = []

    async def app(scope, receive, send):
        made.append(scope)
        more = [(b"set-cookie", b"a=b")] if scope["path"] == "/config/" else []
        await send({"type": "http.response.start", "status": scope.get("status", 200), "headers": [(b"content-type", b"text/html"), *more]})
        await send({"type": "http.response.body", "body": f"page {len(made)}".encode()})

    def ask(path: str = "/", *head: tuple[bytes, bytes], **facts: object) -> bytes:
        parts = []

        async def send(message):
            parts.append(message.get("body", b""))
            message["headers"] = None  # whoever sends it on may write into it

        scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"a.org"), *head], "query_string": b"", "app": None, **facts}
        asyncio.run(pages(scope, None, send))
        return b"".join(parts)

    blocks = SimpleNamespace(config={"root": "a", "components": [1]})
    pages = queue.Pages(app, blocks)
    assert ask() == ask() == ask("/", (b"user-agent", b"x"), (b"accept-language", b"zh"), (b"cookie", b"x=y"), (b"x-forwarded-for", b"1.2.3.4"), (b"x-request-id", b"7")) == b"page 1"
    assert ask("/", (b"x-forwarded-proto", b"https")) == b"page 2" and ask("/config") == b"page 3" and ask() == b"page 1"
    assert ask("/gradio_api/info") == b"page 4" == ask("/gradio_api/info")
    blocks.config["is_running"] = True
    assert ask() == b"page 5" == ask(), "gradio has set something of it"
    for facts in ({"method": "HEAD"}, {"query_string": b"a=b"}, {"app": SimpleNamespace(auth={"a": "b"})}, {"path": "/config/"}, {"status": 500, "scheme": "https"}):
        count = len(made)
        ask(**facts), ask(**facts)
        assert len(made) == count + 2, facts
    for number in range(20):
        ask("/", (b"host", f"{number}.org".encode()))
        count = len(made)
        assert ask("/", (b"host", b"0.org")) and len(made) == count, "what is asked for again and again is kept"
    assert len(pages._kept) == queue.PAGES and ask("/", (b"host", b"19.org")) == ask("/", (b"host", b"19.org"))

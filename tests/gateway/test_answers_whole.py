"""Answers arrive whole or the connection breaks: many visitors with the same picture, equal masks, files that change under way."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from gradio import route_utils
from PIL import Image
from starlette.responses import FileResponse, StreamingResponse

from seg_demo.core.storage import write_atomically, write_once
from seg_demo.gateway import visitor
from seg_demo.gateway.guard import PIECE, Guard
from seg_demo.gateway.queue import Page
from seg_demo.inference import openvino
from seg_demo.ui import editor
from seg_demo.ui.demo import build_demo
from tests import crowd
from tests.surface import API, functions, http  # noqa: F401  (fixtures)


async def together(address: str, function: int, pictures: list[bytes], rounds: int) -> list[list[crowd.Visit]]:
    """Visitors with a picture each, all at the same moment, each several times; those that find the queue full come again."""
    limits = httpx.Limits(max_connections=4 * len(pictures), keepalive_expiry=crowd.KEPT_ALIVE)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:

        async def one(data: bytes) -> list[crowd.Visit]:
            visits: list[crowd.Visit] = []
            while len(visits) < rounds:
                came = await crowd.visit(client, function, 0, await crowd.upload(client, data), model="otsu")
                if came.status == 503:
                    await asyncio.sleep(0.2)
                    continue
                visits.append(came)
            return visits

        return await asyncio.gather(*map(one, pictures))


def even(grey: int) -> bytes:
    """A picture without anything in it."""
    file = io.BytesIO()
    Image.fromarray(np.full((400, 500, 3), grey, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("count", "rounds"), [(8, 1), pytest.param(64, 4, marks=pytest.mark.soak)])
def test_visitors_with_the_same_picture_get_the_same_files(http, functions, count, rounds):  # noqa: F811
    picture = crowd.picture_of(7)
    (alone,) = asyncio.run(together(str(http.base_url), functions["segment"], [picture], 1))
    wanted = alone[0].files
    assert len(wanted) == 2 and all(map(crowd.whole, wanted))
    for visits in asyncio.run(together(str(http.base_url), functions["segment"], [picture] * count, rounds)):
        assert [each.files for each in visits] == [wanted] * rounds


@pytest.mark.parametrize("count", [16, pytest.param(64, marks=pytest.mark.soak)])
def test_visitors_with_equal_masks_get_their_own_overlays(http, functions, count):  # noqa: F811
    pictures = [even(3 * grey) for grey in range(count)]
    masks = set()
    for grey, visits in enumerate(asyncio.run(together(str(http.base_url), functions["segment"], pictures, 2))):
        for each in visits:
            mask, overlay = each.files
            masks.add(mask)
            assert not np.asarray(crowd.whole(mask)).any()
            assert (np.asarray(crowd.whole(overlay)) == 3 * grey).all()
    assert len(masks) == 1, "the masks are equal, so that all have one file"


def test_equal_content_is_one_file_that_is_never_written_anew(tmp_path):
    data = os.urandom(300_000)
    path = visitor.store_bytes(data, "a.png", str(tmp_path))
    before = os.stat(path)
    time.sleep(0.02)
    assert visitor.store_bytes(data, "a.png", str(tmp_path)) == path
    after = os.stat(path)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert after.st_ctime_ns > before.st_ctime_ns, "gradio deletes files by the time of their last change"
    assert visitor.store_bytes(data, "b.png", str(tmp_path)) != path != visitor.store_bytes(data[:-1], "a.png", str(tmp_path))
    (tmp_path / "copy").write_bytes(data)
    assert Path(visitor.store_file(tmp_path / "copy", str(tmp_path))).read_bytes() == data
    os.truncate(path, 7)
    with open(path, "rb") as reading:
        assert Path(visitor.store_bytes(data, "a.png", str(tmp_path))).read_bytes() == data
        assert len(reading.read()) == 7, "who has the old file open keeps it"


def test_who_reads_finds_a_whole_file_whoever_writes(tmp_path):
    path, contents = tmp_path / "x", [bytes([each]) * 200_000 for each in range(4)]
    write_atomically(path, contents[0])
    until = time.monotonic() + 0.5

    def write(content: bytes) -> None:
        while time.monotonic() < until:
            write_atomically(path, content)

    def read(_: int) -> None:
        while time.monotonic() < until:
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(8) as threads:
        for done in [*map(lambda each: threads.submit(write, each), contents), *map(lambda n: threads.submit(read, n), range(4))]:
            done.result()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_atomically, lambda path, content: write_once(path, content, 5)])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, write):
    def fail(file):
        file.write(b"half")
        raise OSError("the disk is full")

    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(OSError, match="disk is full"):
        write(tmp_path / "x", fail)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]


def test_old_files_are_deleted_while_others_come(tmp_path):
    page = build_demo()
    for each in range(2000):
        (tmp_path / str(each)).write_bytes(b"")
        page.upload_file_set.add(str(tmp_path / str(each)))
    box = next(each for each in page.blocks.values() if isinstance(each, visitor.Photo))
    box.temp_files.add(str(tmp_path / "1999"))
    assert any(each is box.temp_files for each in page.temp_file_sets)
    ended = threading.Event()

    def come() -> None:
        number = 0
        while not ended.is_set():
            page.upload_file_set.add(f"{tmp_path}/new{(number := number + 1)}")
            time.sleep(0)

    coming = threading.Thread(target=come)
    coming.start()
    try:
        route_utils.delete_files_created_by_app(page, 0)
    finally:
        ended.set()
        coming.join()
    assert not any(tmp_path.iterdir())


def test_a_compiled_network_that_goes_is_never_found_by_halves(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fill(folder: Path) -> None:
        for name in ("graph.xml", "graph.bin"):
            (folder / name).write_bytes(b"x")

    folder = openvino.cache_entry("key", fill)
    # A process that dies while it removes.
    monkeypatch.setattr(openvino.shutil, "rmtree", lambda gone, **_: (gone / "graph.bin").unlink(missing_ok=True))
    openvino.drop_entry(folder)
    openvino.drop_entry(folder)
    assert not folder.exists()
    assert len(list(openvino.cache_entry("key", fill).iterdir())) == 2


def test_a_mask_that_two_visitors_sent_is_not_deleted_for_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(editor, "only_uploaded", lambda path: True)
    monkeypatch.setattr(editor, "uploaded", Path)
    for name, stays in (("mask.png", True), ("mask-1-22-333-4444.png", False), ("picture", True)):
        path = tmp_path / name
        path.write_bytes(b"x")
        editor.forget(str(path))
        assert path.exists() is stays, name
    sent = (Path(editor.__file__).parent / "static/editor_start.js").read_text()
    assert 'mask-${crypto.getRandomValues(new Uint32Array(4)).join("-")}.png' in sent


@contextmanager
def guarded(app):
    """An ASGI app behind the guard, on a real server."""
    config = uvicorn.Config(Guard(app, Page()), host="127.0.0.1", port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    running = threading.Thread(target=server.run)
    running.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5) as client:
            yield client
    finally:
        server.should_exit = True
        running.join()


def body(*parts: bytes, promised: int | None = None, fails: bool = False, status: int = 200):
    """An ASGI app that sends these parts, after a head that promises so many bytes."""

    async def app(scope, receive, send):
        headers = [] if promised is None else [(b"content-length", str(promised).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for each in parts:
            await send({"type": "http.response.body", "body": each, "more_body": True})
        if fails:
            raise RuntimeError("the file is gone")
        await send({"type": "http.response.body", "body": b""})

    return app


def changing(path: Path, change):
    """An ASGI app that serves a file, which changes once its first part has been sent."""

    async def app(scope, receive, send):
        parts = 0

        async def then(message):
            nonlocal parts
            await send(message)
            parts += message["type"] == "http.response.body"
            if parts == 1:
                change(path)

        await FileResponse(path)(scope, receive, then)

    return app


def late(path: Path, change):
    """An ASGI app that serves a file, which changes between the look at its size and its first byte."""

    async def app(scope, receive, send):
        async def then(message):
            await send(message)
            if message["type"] == "http.response.start":
                change(path)

        await FileResponse(path)(scope, receive, then)

    return app


FILE = f"{API}/file=x"


async def _endless():
    yield b"data: 1\n\n"
    raise RuntimeError("the worker died")


async def _stream(scope, receive, send):
    await StreamingResponse(_endless(), media_type="text/event-stream")(scope, receive, send)


@pytest.mark.parametrize(
    "app",
    [
        body(b"a" * 500, promised=1000),
        body(promised=1000),
        body(b"a" * 500, promised=1000, fails=True),
        body(b"a" * 500, fails=True),
        body(b"a" * 600, b"a" * 600, promised=1000),
        _stream,
    ],
    ids=["short", "empty", "failed", "failed-chunked", "long", "stream"],
)
def test_an_answer_that_breaks_off_breaks_the_connection(app):
    with guarded(app) as client:
        for _ in range(2):
            # And nobody waits for the rest, which would end in the client's own timeout.
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(FILE)


@pytest.mark.parametrize("app", [body(b"a" * 500, promised=500), body(b"a" * 500), body(promised=0)], ids=["promised", "chunked", "none"])
def test_a_whole_answer_stays_whole_and_its_connection_open(app):
    with guarded(app) as client:
        assert client.get(FILE).content == client.get(FILE).content in (b"a" * 500, b"")


def test_heads_and_answers_without_a_body_may_name_a_length():
    with guarded(body(promised=1000)) as client:
        assert client.head(FILE).headers["content-length"] == "1000"
    with guarded(body(promised=1000, status=304)) as client:
        assert client.get(FILE).status_code == 304


@pytest.mark.parametrize("served_by", [changing, late])
@pytest.mark.parametrize(
    ("change", "arrives"),
    [
        (lambda path: os.truncate(path, 10), None),
        (lambda path: path.write_bytes(b"b" * 4_000_000), "any"),
        (lambda path: write_atomically(path, b"b" * 10), "any"),
        (lambda path: path.unlink(), "any"),
    ],
    ids=["shortened", "rewritten", "replaced", "deleted"],
)
def test_a_file_that_changes_while_it_is_sent_comes_whole_or_not_at_all(tmp_path, served_by, change, arrives):
    path = tmp_path / "x"
    path.write_bytes(b"a" * 3_000_000)
    with guarded(served_by(path, change)) as client:
        try:
            got = client.get(FILE).content
        except httpx.RemoteProtocolError:
            return
    assert arrives is not None and len(got) == 3_000_000 and set(got) <= {*b"ab"}


def test_a_stream_whose_last_event_says_that_nobody_is_known_ends(http):  # noqa: F811
    for address in ("queue/data?session_hash=nobody", "call/segment/nothing"):
        answer = http.get(f"{API}/{address}")
        assert answer.status_code == 200 and "404: Not Found" in answer.text


@pytest.mark.parametrize("head", [True, False], ids=["promised", "chunked"])
def test_a_large_answer_is_handed_over_in_pieces_and_arrives_whole(head):
    data = bytes(range(256)) * (3 * PIECE // 256) + b"end"
    app = body(b"begin", data, promised=5 + len(data) if head else None)
    with guarded(app) as client:
        assert client.get(FILE).content == b"begin" + data
    sent: list[bytes] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message.get("body", b""))

    asyncio.run(Guard(app, Page())({"type": "http", "method": "GET", "path": FILE, "headers": [], "query_string": b""}, None, send))
    assert b"".join(sent) == b"begin" + data and max(map(len, sent)) == PIECE

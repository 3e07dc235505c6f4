"""``POST /segment``: the picture as the body, the result as the answer; the same as gradio's endpoint gives, within the same limits."""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import tempfile
import threading
import time
from pathlib import Path

import anyio
import gradio as gr
import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.requests import Request

from seg_demo.core.settings import scientific_bytes, settings
from seg_demo.gateway import guard
from seg_demo.ui import api
from tests.scientific_files import PLACES, raster
from tests.surface import API, COINS, file_data, http, metric, quiet, uploaded  # noqa: F401  (fixtures)

PICTURE = COINS.read_bytes()


def asked(http, data: bytes = PICTURE, headers: dict[str, str] | None = None, **parameters: object) -> httpx.Response:  # noqa: F811
    return http.post("/segment", params=parameters, content=data, headers=headers)


@pytest.mark.parametrize(
    ("model", "named"),
    [("otsu", {"smoothing": 2.5}), ("unet-cells", {"detail": "full", "task": "semantic"}), ("maskrcnn-cells", {"threshold": 0.7})],
)
def test_it_answers_what_the_queue_answers(http, model, named):  # noqa: F811
    path = uploaded(http, PICTURE)
    sent = [file_data(path), model, named.get("threshold", 0.5), named.get("detail", "whole"), named.get("smoothing"), named.get("task", "auto")]
    result, *files = http.post(f"{API}/run/segment", json={"data": sent}).json()["data"]
    answer = asked(http, model=model, files="mask,overlay", **named)
    assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff"
    found = answer.json()
    drawn = [base64.b64decode(found["files"][name]) for name in ("mask", "overlay")]
    assert drawn == [http.get(f"{API}/file={file['path']}").content for file in files]
    del found["files"]
    assert found.pop("seconds")["total"] > 0 < result.pop("seconds")["total"]
    assert found == result and len(found["segments"]) > 1
    alone = asked(http, model=model, **named).json()
    assert alone.pop("seconds") and alone == result, "nothing is drawn that nobody asked for"


def test_nothing_is_written_to_the_disk(http):  # noqa: F811
    folder = Path(uploaded(http, b"a neighbour")).parents[1]
    before = sorted(folder.rglob("*"))
    noise = np.random.default_rng(7).integers(0, 256, (40, 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    assert asked(http, file.getvalue(), model="otsu", files="overlay").json()["width"] == 50
    assert sorted(folder.rglob("*")) == before


def test_what_of_a_scientific_file_is_looked_at(http):  # noqa: F811
    planes = np.zeros((3, 30, 40), np.uint16)
    planes[2, 5:20, 8:30] = 40_000
    file = io.BytesIO()
    tifffile.imwrite(file, planes, imagej=True, metadata={"axes": "ZYX"})
    found = asked(http, file.getvalue(), model="otsu", view='{"z": 2}').json()
    assert found["view"]["z"] == 2 and [segment["area"] for segment in found["segments"]][-1] == 15 * 22


def test_a_stack_may_be_larger_than_a_photograph(http):  # noqa: F811
    """It is not held in memory, and gone afterwards."""
    planes = np.zeros((6, 1400, 1400), np.uint16)
    planes[4, 50:200, 80:300] = 40_000
    file = io.BytesIO()
    tifffile.imwrite(file, planes, imagej=True, metadata={"axes": "ZYX"})
    assert len(file.getvalue()) > settings().max_bytes
    found = asked(http, file.getvalue(), model="otsu", view='{"z": 4}').json()
    assert [segment["area"] for segment in found["segments"]][-1] == 150 * 220
    assert not list(Path(tempfile.gettempdir()).glob("seg-demo-body-*"))
    for data in (PICTURE + bytes(settings().max_bytes), iter([PICTURE, bytes(settings().max_bytes)])):
        assert asked(http, data).status_code == 413, "a photograph may not, whether it says so or not"


def test_a_raster_beyond_the_limit_is_segmented_in_full_detail_where_the_owner_allows_it(http, tmp_path):  # noqa: F811
    strip = np.tile(np.asarray(Image.open(COINS).convert("RGB"))[:100], (1, 53, 1))[:, :20_100]
    raster(tmp_path / "strip.tif", strip.transpose(2, 0, 1), *PLACES["utm"], tiled=True, blockxsize=256, blockysize=256, compress="deflate")
    data = (tmp_path / "strip.tif").read_bytes()
    assert "20,100 x 100 pixels" in asked(http, data, model="segformer-cells").json()["detail"]
    answer = asked(http, data, model="segformer-cells", detail="full", files="mask,overlay")
    found = answer.json()
    assert answer.status_code == 200 and (found["width"], found["height"], found["crs"]) == (20_100, 100, "EPSG:32633")
    mask, overlay = (io.BytesIO(base64.b64decode(found["files"][name])) for name in ("mask", "overlay"))
    counts = np.bincount(tifffile.imread(mask).ravel())
    assert {segment["id"]: segment["area"] for segment in found["segments"]} == {index: count for index, count in enumerate(counts.tolist()) if count}
    assert max(Image.open(overlay).size) <= 2048 and not list(Path(tempfile.gettempdir()).glob("seg-demo-body-*"))


@pytest.mark.parametrize(
    ("named", "data", "status", "words"),
    [
        ({}, PICTURE, 400, "not the id of a model"),
        ({"model": "otsu", "threshold": "nan"}, PICTURE, 400, "from 0 to 1"),
        ({"model": "otsu", "threshold": "a lot"}, PICTURE, 400, "'a lot'"),
        ({"model": "otsu", "smoothing": "99"}, PICTURE, 400, "8"),
        ({"model": "otsu", "view": "[]"}, PICTURE, 400, "view"),
        ({"model": "otsu", "treshold": "1"}, PICTURE, 400, "no parameter 'treshold'"),
        ({"model": "otsu", "files": "mask,zip"}, PICTURE, 400, "'mask,zip'"),
        ({"model": "unet-cells", "task": "panoptic"}, PICTURE, 400, "it answers: semantic"),
        ({"model": "otsu"}, b"", 400, "No image"),
        ({"model": "otsu"}, b"no picture at all", 400, "PNG"),
        ({"model": str(COINS.parent)}, PICTURE, 400, "paths are not accepted"),
    ],
)
def test_refusals_are_a_status_and_a_sentence(http, named, data, status, words):  # noqa: F811
    answer = asked(http, data, **named)
    assert answer.status_code == status and words in answer.json()["detail"], answer.text
    assert len(answer.json()["detail"]) > 20 and str(COINS.parent.parent) not in answer.json()["detail"].replace(str(named.get("model")), "")


def test_a_form_is_told_what_to_send_in_the_readers_language(http):  # noqa: F811
    form = http.post("/segment", params={"model": "otsu"}, files={"image": ("a.png", PICTURE)})
    assert form.status_code == 400 and "--data-binary" in form.json()["detail"]
    chinese = asked(http, model="otsu", threshold=3, headers={"Accept-Language": "zh-CN"}).json()["detail"]
    assert "阈值" in chinese and "3" in chinese


def test_bodies_are_bounded_before_they_have_come(http):  # noqa: F811
    most = settings().max_bytes
    host, port = http.base_url.host, http.base_url.port
    # What no file may have; and what a photograph may not, whose beginning is enough.
    for promised, sent in ((scientific_bytes(settings()) + 1, b""), (most + 1, PICTURE[:1024])):
        with socket.create_connection((host, port), 30) as line:
            line.sendall(f"POST /segment?model=otsu HTTP/1.1\r\nHost: {host}\r\nContent-Length: {promised}\r\n\r\n".encode() + sent)
            assert b" 413 " in line.recv(4096)
    assert http.get("/segment").status_code == http.put("/segment").status_code == 404


def test_who_leaves_is_not_worked_for(http):  # noqa: F811
    quiet(http)
    before = metric(http.get("/metrics").text, "LeftError")
    noise = np.random.default_rng(8).integers(0, 256, (1500, 2600, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG")
    data = file.getvalue()
    host, port = http.base_url.host, http.base_url.port
    lines = [socket.create_connection((host, port), 30) for _ in range(4)]
    for line in lines:
        head = f"POST /segment?model=unet-cells&detail=full HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n"
        line.sendall(head.encode() + data)
    time.sleep(0.5)
    for line in lines:
        line.close()
    until = time.monotonic() + 60
    while metric(http.get("/metrics").text, "LeftError") < before + 3 and time.monotonic() < until:
        time.sleep(0.2)
    assert metric(http.get("/metrics").text, "LeftError") >= before + 3
    quiet(http)


def test_who_waits_for_an_answer_leaves_the_page_its_threads(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(api, "_in_words", lambda data, request: ended.wait(30))
    request = Request({"type": "http", "headers": [], "query_string": b"", "client": ("127.0.0.1", 1), "session": {}})

    async def all_at_once() -> None:
        answer = api.plain(gr.Blocks(), guard.DIRECT_MOST)
        waiting = [asyncio.create_task(answer(b"", request)) for _ in range(guard.DIRECT_MOST)]
        await asyncio.sleep(0.1)
        try:
            with anyio.fail_after(5):
                await anyio.to_thread.run_sync(COINS.stat)  # as it is before a file is sent
        finally:
            ended.set()
            await asyncio.gather(*waiting)

    asyncio.run(all_at_once())


def test_pictures_that_wait_are_held_within_bounds():
    """So many bytes at a time, whoever sends them; each is counted until it has been answered."""
    size = 1_000_000
    bodies = guard.Bodies(size, size, size)

    async def all_at_once() -> list[int]:
        done, statuses = asyncio.Event(), []

        async def one() -> None:
            sent = [{"type": "http.request", "body": bytes(size), "more_body": False}]

            async def receive() -> dict[str, object]:
                if sent:
                    return sent.pop()
                await asyncio.Event().wait()

            try:
                async with bodies.picture({"headers": []}, receive, lambda: None):
                    await done.wait()
                statuses.append(200)
            except guard.BodyError as error:
                statuses.append(error.status)

        most = guard.HELD * (size * 4 // 3 + guard.JSON_BYTES) // size
        tasks = [asyncio.create_task(one()) for _ in range(most + 2)]
        while len(statuses) < 2:
            await asyncio.sleep(0.01)
        done.set()
        await asyncio.gather(*tasks)
        return sorted(statuses)

    statuses = asyncio.run(all_at_once())
    assert statuses.count(503) == 2 and statuses.count(200) == len(statuses) - 2 and bodies._held == 0

"""Many visitors at once, each with a picture of their own: what a browser does, without a browser."""

from __future__ import annotations

import asyncio
import io
import json
import time
import uuid
from dataclasses import dataclass

import httpx
import numpy as np
from PIL import Image

API = "/gradio_api"
MODELS = ("otsu", "unet-cells", "watershed", "slic", "segformer-cells")
PATIENCE = 600.0
# Seconds for which a client keeps an idle connection: less than uvicorn's five, or both end it at the same time and an upload is lost.
KEPT_ALIVE = 2.0


@dataclass(frozen=True)
class Visit:
    """What came of one visitor's request.

    Attributes:
        number: of the visitor.
        seconds: from the request, the picture already uploaded, to the answer.
        result: the JSON of /segment, or None.
        mask: size (width, height) of the mask file, or None.
        files: the content of both files of the answer, mask and overlay; empty if there is none.
        sentence: why there is no result.
        status: HTTP status of the request for a place in the queue.
    """

    number: int
    seconds: float
    result: dict[str, object] | None
    mask: tuple[int, int] | None
    sentence: str
    status: int
    files: tuple[bytes, ...] = ()


def size_of(number: int) -> tuple[int, int]:
    """Width and height of a visitor's picture: no two visitors have the same."""
    return 240 + number, 340 - number // 2


def picture_of(number: int) -> bytes:
    """A visitor's picture, PNG: a bright disc on a dark ground, and noise of their own."""
    width, height = size_of(number)
    y, x = np.mgrid[0:height, 0:width]
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 3) ** 2
    noise = np.random.default_rng(number).integers(0, 30, (height, width))
    file = io.BytesIO()
    Image.fromarray((inside * 180 + noise).astype(np.uint8)).convert("RGB").save(file, "PNG")
    return file.getvalue()


def model_of(number: int) -> str:
    """The model that a visitor chooses."""
    return MODELS[number % len(MODELS)]


def file_data(path: str) -> dict[str, object]:
    """An uploaded file, as the front end names it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


async def upload(http: httpx.AsyncClient, data: bytes, name: str = "image.png") -> str:
    """Upload a picture; returns its path on the server."""
    answer = await http.post(f"{API}/upload", files={"files": (name, data)})
    answer.raise_for_status()
    return answer.json()[0]


async def join(http: httpx.AsyncClient, function: int, data: list[object], session: str) -> httpx.Response:
    """Ask for a place in the queue."""
    return await http.post(f"{API}/queue/join", json={"data": data, "fn_index": function, "session_hash": session})


async def answered(http: httpx.AsyncClient, session: str) -> dict[str, object]:
    """The first event of a session that is an answer: its ``output``."""
    async with http.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
        async for line in stream.aiter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed":
                return message["output"]
    raise AssertionError("the stream ended without an answer")


async def visit(
    http: httpx.AsyncClient, function: int, number: int, path: str, start: asyncio.Event | None = None, model: str | None = None
) -> Visit:
    """One visitor: ask, wait, fetch the files."""
    if start is not None:
        await start.wait()
    session, began = uuid.uuid4().hex, time.monotonic()
    asked = await join(http, function, [file_data(path), model or model_of(number), 0.5], session)
    if asked.status_code != 200:
        return Visit(number, time.monotonic() - began, None, None, str(asked.json()["detail"]), asked.status_code)
    output = await answered(http, session)
    seconds = time.monotonic() - began
    if "data" not in output:
        return Visit(number, seconds, None, None, str(output["error"]), asked.status_code)
    result, *files = output["data"]
    content = tuple([await fetch(http, each["path"]) for each in files])
    return Visit(number, seconds, result, whole(content[0]).size, "", asked.status_code, content)


async def fetch(http: httpx.AsyncClient, path: str) -> bytes:
    """A file of an answer.

    Raises:
        httpx.HTTPError: it is not there, or did not come whole.
    """
    answer = await http.get(f"{API}/file={path}")
    answer.raise_for_status()
    return answer.content


def whole(data: bytes) -> Image.Image:
    """A picture, decoded to its last row."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


async def crowd(address: str, function: int, count: int) -> tuple[float, list[Visit]]:
    """So many visitors at the same moment, after some came one by one.

    Args:
        address: of the server.
        function: number of /segment.
        count: of visitors.

    Returns:
        Seconds of a single request (the mean over the models), and what came of each visitor.
    """
    limits = httpx.Limits(max_connections=2 * count + 10, max_keepalive_connections=count, keepalive_expiry=KEPT_ALIVE)
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE, limits=limits) as http:
        paths = []
        for number in range(count):
            paths.append(await upload(http, picture_of(number)))
        alone = []
        for turn in range(2):  # the first loads models
            alone = [(await visit(http, function, each, path)).seconds for each, path in enumerate(paths[: len(MODELS)])]
        start = asyncio.Event()
        waiting = [asyncio.create_task(visit(http, function, number, path, start)) for number, path in enumerate(paths)]
        start.set()
        return sum(alone) / len(alone), list(await asyncio.gather(*waiting))

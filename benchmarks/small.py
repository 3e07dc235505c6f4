"""Small pictures over HTTP: one round trip against gradio's endpoint of the same server, by the server's processor time, and by many clients
at once; what the server holds while nobody asks; and many small pictures by the command line against a loop of one's own."""

from __future__ import annotations

import asyncio
import base64
import io
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.measure import Row
from tests.served import ROOT, served

API = "/gradio_api"
SIDE = 128
# Answers of each way that are timed together, in turn with those of the other.
BLOCK = 25
# How often memory is looked at: the system walks all pages of a process for it, 20 ms for each, and of several processes more than of one.
LOOK_SECONDS = 5.0
MODELS = ("unet-cells", "otsu")
# Clients at once, their pictures, and for how many seconds they go on asking.
CLIENTS, WIDTH, HEIGHT, ROUND_SECONDS = 64, 366, 274, 10.0


def picture(number: int, width: int = SIDE, height: int = SIDE) -> bytes:
    """A bright disc on noise of its own, PNG."""
    y, x = np.mgrid[0:height, 0:width]
    disc = ((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2) * 180
    noise = np.random.default_rng(number).integers(0, 30, (height, width))
    file = io.BytesIO()
    Image.fromarray((disc + noise).astype(np.uint8)).convert("RGB").save(file, "PNG")
    return file.getvalue()


def directly(http: httpx.Client, data: bytes, model: str, files: str = "mask,overlay") -> tuple[bytes, ...]:
    """Mask and overlay in the answer to one request."""
    answer = http.post("/segment", params={"model": model, "files": files} if files else {"model": model}, content=data)
    answer.raise_for_status()
    return tuple(base64.b64decode(file) for file in answer.json().get("files", {}).values())


def through_gradio(http: httpx.Client, data: bytes, model: str) -> tuple[bytes, ...]:
    """An upload, a place in the queue, the answer, and both files: what a client without gradio_client does."""
    path = http.post(f"{API}/upload", files={"files": ("image.png", data)}).json()[0]
    event = http.post(f"{API}/call/segment", json={"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, model, 0.5]}).json()["event_id"]
    stream = http.get(f"{API}/call/segment/{event}")
    found = httpx.Response(200, content=stream.text.split("event: complete\ndata: ")[1].encode()).json()
    return tuple(http.get(f"{API}/file={file['path']}").content for file in found[1:])


def processor_seconds(server: psutil.Process) -> float:
    """Of a server and the processes that it has started, so far."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(taken.user + taken.system for taken in times)


def proportional_bytes(server: psutil.Process) -> int:
    """Memory of a server and the processes that it has started; what several share counts once."""
    return sum(process.memory_full_info().pss for process in (server, *server.children(recursive=True)))


def loaded(http: httpx.Client) -> None:
    """Wait until a server has loaded its models and thrown away what that left."""
    while http.get("/health").json()["models"] < 3:
        time.sleep(0.5)
    time.sleep(5)


def row(http: httpx.Client, server: psutil.Process, model: str, title: str, ours: Callable[..., object], blocks: int) -> Row:
    """Both ways in turn, on pictures that no answer was made of before.

    Args:
        http: of the server.
        server: its process.
        model: an id.
        title: of the row.
        ours: the way that is compared with gradio's.
        blocks: of :data:`BLOCK` answers each.
    """
    seconds: dict[Callable[..., object], list[float]] = {ours: [], through_gradio: []}
    processor: dict[Callable[..., object], list[float]] = {ours: [], through_gradio: []}
    number = 0
    for block in range(blocks + 1):  # the first warms up
        for ask in seconds:
            used, began = processor_seconds(server), time.perf_counter()
            for _ in range(BLOCK):
                ask(http, picture(number := number + 1), model)
            if block:
                seconds[ask].append((time.perf_counter() - began) / BLOCK)
                processor[ask].append((processor_seconds(server) - used) / BLOCK)
    same = directly(http, picture(0), model) == through_gradio(http, picture(0), model)
    mine, theirs = (statistics.median(processor[ask]) for ask in seconds)
    result = f"files {'identical' if same else 'DIFFERENT'}; server's processor {mine * 1e3:.1f} / {theirs * 1e3:.1f} ms"
    return Row(
        title, "gradio's endpoint of the same server, over plain HTTP", statistics.median(seconds[ours]), statistics.median(seconds[through_gradio]),
        mine, theirs, None, None, result, 0.6, None, blocks * BLOCK, date.today().isoformat(),
    )  # fmt: skip


async def directly_of_many(http: httpx.AsyncClient, data: bytes, model: str) -> None:
    """As :func:`directly`; who is told to come back does."""
    while (answer := await http.post("/segment", params={"model": model, "files": "mask,overlay"}, content=data)).status_code == 503:
        await asyncio.sleep(0.2)
    answer.raise_for_status()


async def through_gradio_of_many(http: httpx.AsyncClient, data: bytes, model: str) -> None:
    """As :func:`through_gradio`; who is told to come back does."""
    path = (await http.post(f"{API}/upload", files={"files": ("image.png", data)})).json()[0]
    body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, model, 0.5]}
    while (asked := await http.post(f"{API}/call/segment", json=body)).status_code == 503:
        await asyncio.sleep(0.2)
    stream = await http.get(f"{API}/call/segment/{asked.json()['event_id']}")
    found = httpx.Response(200, content=stream.text.split("event: complete\ndata: ")[1].encode()).json()
    for file in found[1:]:
        (await http.get(f"{API}/file={file['path']}")).raise_for_status()


async def of_many(address: str, ask: Callable[..., Awaitable[None]], model: str, seconds: float) -> list[float]:
    """Seconds of every answer that came within so many, of :data:`CLIENTS` clients who each ask again once they are answered. Counting begins once all have been
    answered, for the first of them found no queue."""
    pictures = [picture(number, WIDTH, HEIGHT) for number in range(CLIENTS)]
    answered, ends, took = 0, math.inf, []

    async def client(number: int) -> None:
        nonlocal answered, ends
        turn = 0
        while (began := time.perf_counter()) < ends:
            turn += 1
            await ask(http, pictures[number] + f"{ask.__name__} {number} {turn}".encode(), model)  # uploads are told apart by what they hold
            now, answered = time.perf_counter(), answered + (turn == 1)
            if answered == CLIENTS and ends == math.inf:
                ends = now + seconds
            elif answered == CLIENTS and now <= ends:
                took.append(now - began)

    async with httpx.AsyncClient(base_url=address, timeout=120, limits=httpx.Limits(max_connections=CLIENTS)) as http:
        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return took


def clients_row(address: str, model: str, repeats: int, seconds: float = ROUND_SECONDS) -> Row:
    """Many clients at once, both ways in turn; the time is that of the server for each answer.

    Args:
        address: of a server in whose queue they all have room.
        model: an id.
        repeats: rounds of each way.
        seconds: of a round.
    """
    rounds: dict[Callable[..., Awaitable[None]], list[list[float]]] = {directly_of_many: [], through_gradio_of_many: []}
    for _ in range(repeats):
        for ask, found in rounds.items():
            found.append(asyncio.run(of_many(address, ask, model, seconds)))
    rates, late = ([statistics.median(pick(took) for took in found) for found in rounds.values()] for pick in (lambda took: len(took) / seconds, lambda took: float(np.percentile(took, 95))))
    result = f"{rates[0]:.1f} / {rates[1]:.1f} answers a second; 95 % within {late[0]:.2f} / {late[1]:.2f} s (ratio {late[0] / late[1]:.2f})"
    title = f"{CLIENTS} clients at once, {WIDTH} x {HEIGHT} pixels, {model}, an answer with both files"
    return Row(
        title, "gradio's endpoint of the same server, over plain HTTP", 1 / rates[0], 1 / rates[1], None, None, None, None, result, 0.556, None, repeats,
        date.today().isoformat(),
    )  # fmt: skip


# What somebody would write who has many pictures and no command for them.
LOOP = """
import sys
from pathlib import Path
from seg_demo import load_model
from seg_demo.outputs.draw import id_map_png
model = load_model("unet-cells")
for path in sorted(Path(sys.argv[1]).iterdir()):
    folder = Path(sys.argv[2], path.stem)
    folder.mkdir(parents=True)
    (folder / "mask.png").write_bytes(id_map_png(model.predict(path)))
"""


def watched(arguments: list[str]) -> tuple[float, float, list[int]]:
    """Run a Python command.

    Args:
        arguments: of Python.

    Returns:
        Seconds; processor seconds; and the memory of its processes (PSS, bytes), looked at now and then.
    """
    used, began, memory = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), []
    command = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ends = threading.Event()

    def look() -> None:
        while not ends.wait(LOOK_SECONDS):
            with suppress(psutil.Error):
                memory.append(proportional_bytes(psutil.Process(command.pid)))

    looking = threading.Thread(target=look)
    looking.start()
    code = command.wait()
    seconds = time.perf_counter() - began
    ends.set()
    looking.join()
    if code:
        raise RuntimeError(f"exit code {code} of {' '.join(arguments)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime, memory


def command_row(count: int, repeats: int, workers: int = 2) -> Row:
    """Pictures in a folder, until their masks are written: ``segment --workers`` and a loop in turn, each from its start to its end.

    Args:
        count: of pictures.
        repeats: of both.
        workers: processes.
    """
    ours: list[tuple[float, float, list[int]]] = []
    theirs: list[tuple[float, float, list[int]]] = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder, "pictures")
        pictures.mkdir()
        for number in range(count):
            (pictures / f"{number:05}.png").write_bytes(picture(number))
        for repeat in range(repeats):
            mine, looped = Path(folder, f"ours-{repeat}"), Path(folder, f"theirs-{repeat}")
            ours.append(watched(["-m", "seg_demo", "segment", str(pictures), "--model", MODELS[0], "--out", str(mine), "--format", "png", "--workers", str(workers)]))
            theirs.append(watched(["-c", LOOP, str(pictures), str(looped)]))
        different = sum((path / "mask.png").read_bytes() != (mine / path.name / "mask.png").read_bytes() for path in looped.iterdir())
    memory = ours[-1][2]
    early, late = (max(part, default=0) / 1e6 for part in (memory[: len(memory) // 2], memory[len(memory) // 2 :]))
    return Row(
        f"{count:,} {SIDE}² pictures in a folder, {MODELS[0]}, until their masks are written, {workers} processes", "a loop of `load_model().predict` and a write",
        *(statistics.median(run[place] for run in runs) for place in (0, 1) for runs in (ours, theirs)), *(max(runs[-1][2], default=0) for runs in (ours, theirs)),
        f"{count - different} of {count} masks identical; {early:.0f} MB in the first half of the time, {late:.0f} MB in the second", 0.55, None, repeats,
        date.today().isoformat(),
    )  # fmt: skip


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: fewer answers and pictures.
    """
    with served(SEG_DEMO_ENGINE="auto") as address, httpx.Client(base_url=address, timeout=120) as http:
        server = next(process for process in psutil.Process().children() if process.environ().get("GRADIO_SERVER_PORT") == str(http.base_url.port))
        loaded(http)
        idle = proportional_bytes(server)
        for model in MODELS:
            title = f"{SIDE}² picture, {model}, over HTTP until both files are there"
            yield row(http, server, model, title, directly, 2 if quick else 6)
        json_alone = f"{SIDE}² picture, {MODELS[0]}, over HTTP; masks in the JSON alone"
        yield row(http, server, MODELS[0], json_alone, lambda http, data, model: directly(http, data, model, ""), 2 if quick else 6)
    with served(SEG_DEMO_ENGINE="auto", SEG_DEMO_QUEUE_SIZE="200", SEG_DEMO_VISITOR_QUEUE="200") as address, httpx.Client(base_url=address) as http:
        loaded(http)
        for model in MODELS:
            yield clients_row(address, model, 1 if quick else 3, 2.0 if quick else ROUND_SECONDS)
    yield Row(
        "server that nobody asks, three models loaded", "none", None, None, None, None, idle, None, "memory of all its processes (PSS)", None, None, 1,
        date.today().isoformat(),
    )  # fmt: skip
    yield command_row(200 if quick else 4000, 1)

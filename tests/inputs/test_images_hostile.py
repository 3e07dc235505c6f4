"""Odd and mutated images through the browser's route (upload, then the tab's event), the API's and plain HTTP, on the running demo."""

from __future__ import annotations

import io
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from PIL import Image

from seg_demo.core.errors import BadImageError
from seg_demo.inputs.images import decode
from tests.hostile_images import FORMATS, families, mutations, picture, saved, sound
from tests.served import ROOT
from tests.surface import API, SECRETS, file_data, functions, http, uploaded  # noqa: F401  (fixtures)

MEMORY = 400_000_000
SECONDS = 10.0


def by_the_tab(http, functions, data: bytes, name: str) -> dict[str, object]:  # noqa: F811
    """What the Regions tab is answered: the output of its event."""
    path = uploaded(http, data, name)
    session = uuid.uuid4().hex
    config = http.get("/config").json() if "tab" not in functions else None
    if config is not None:
        event = next(each for each in config["dependencies"] if each["api_name"] == "run_method" and len(each["inputs"]) > 5)
        values = {each["id"]: each["props"].get("value") for each in config["components"]}
        functions["tab"] = event["id"], [values[each] for each in event["inputs"]][1:]
    number, values = functions["tab"]
    body = {"data": [file_data(path), *values[:1], "otsu", *values[2:]], "fn_index": number, "session_hash": session}
    http.post(f"{API}/queue/join", json=body).raise_for_status()
    with http.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as answer:
        for line in answer.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed":
                return message["output"]
    raise AssertionError("no answer")


def by_the_api(http, functions, data: bytes, name: str) -> dict[str, object]:  # noqa: F811
    return http.post(f"{API}/run/segment", json={"data": [file_data(uploaded(http, data, name)), "otsu", 0.5]}).json()


def by_plain_http(http, functions, data: bytes, name: str) -> dict[str, object]:  # noqa: F811
    """As the API answers: the file as the body, its result or a sentence as the answer."""
    answer = http.post("/segment", params={"model": "otsu"}, content=data)
    assert answer.status_code in (200, 400), answer.text[:500]
    return {"data": [answer.json()]} if answer.status_code == 200 else {"error": answer.json()["detail"]}


ROUTES = (by_the_tab, by_the_api, by_plain_http)


def expected(data: bytes) -> tuple[int, int] | None:
    """Width and height of a file that the door lets in, or None."""
    try:
        height, width, _ = decode(data).shape
    except BadImageError:
        return None
    return width, height


def checked(http, functions, route, data: bytes, number: int) -> bool:  # noqa: F811
    """Send one file; True if it was segmented."""
    size = expected(data)
    began = time.monotonic()
    answer = route(http, functions, data, f"file{number}.png")
    took = time.monotonic() - began
    text = json.dumps(answer)
    assert took < SECONDS * slowness(), (number, took)
    assert not any(secret in text for secret in SECRETS if secret != str(ROOT)), text[:500]
    if size is None:
        assert len(answer["error"]) > 40 and "server's side" not in answer["error"], (number, text[:500])
        return False
    assert "data" in answer, (number, size, text[:500])
    if route is not by_the_tab:
        assert (answer["data"][0]["width"], answer["data"][0]["height"]) == size
    return True


def slowness() -> float:
    """How much busier this machine is than its processors can bear."""
    return max(1.0, psutil.getloadavg()[0] / (psutil.cpu_count() or 1)) * 2


def settled(http, functions) -> None:  # noqa: F811
    """Wait until the models that the demo loads by itself are there, and what the first requests import is, too."""
    until = time.monotonic() + 120
    while http.get("/health").json()["models"] < 3:
        assert time.monotonic() < until
        time.sleep(0.2)
    for format, data in sound().items():
        for route in ROUTES:
            assert checked(http, functions, route, data, 0), format


@contextmanager
def watched(port: int) -> Iterator[list[int]]:
    """Bytes that the demo on a port holds, again and again: idle first, and whatever it comes to within."""
    mine = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    process = next(each for each in mine if each.environ().get("GRADIO_SERVER_PORT") == str(port))
    seen, end = [process.memory_info().rss], threading.Event()

    def look() -> None:
        while not end.wait(0.02):
            seen.append(process.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        end.set()
        looking.join()


def campaign(http, functions, files: list[bytes], routes=ROUTES) -> None:  # noqa: F811
    settled(http, functions)
    with watched(http.base_url.port) as seen:
        served = sum(checked(http, functions, routes[number % len(routes)], data, number) for number, data in enumerate(files))
    grown = max(seen) - seen[0]
    assert grown < MEMORY, f"{grown / 1e6:.0f} MB"
    print(f"measured: {len(files)} files, {served} segmented, memory {grown / 1e6:+.0f} MB")
    assert http.get("/health").json()["status"] == "ok"


def test_odd_and_mutated_images_get_a_result_or_a_sentence(http, functions):  # noqa: F811
    made = families()
    assert len(made) >= 20 and sum(map(len, made.values())) >= 300
    rng = random.Random(1)
    sample = [rng.choice(files) for name, files in made.items() if name != "bombs"]
    campaign(http, functions, [*sample, *mutations(10)])


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_odd_images(http, functions):  # noqa: F811
    campaign(http, functions, [data for files in families().values() for data in files for _ in ROUTES])


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("seed", "routes"), [(0, (by_the_tab, by_the_api)), (1, (by_plain_http,))], ids=["through gradio", "plain HTTP"])
def test_a_thousand_mutated_files(http, functions, seed, routes):  # noqa: F811
    campaign(http, functions, list(mutations(1000, seed)), routes)


@pytest.mark.parametrize("format", [each for each in FORMATS if each not in ("GIF",)])
def test_what_decodes_has_its_own_corners(format):
    image = picture(61, 43)
    data = saved(image, format, **({"quality": 95} if format in ("JPEG", "WEBP", "AVIF") else {}))
    pixels, own = decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert pixels.shape == own.shape
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert np.abs(pixels[y, x].astype(int) - own[y, x]).max() <= 1

"""The server's surface as a stranger reaches it: over HTTP, without a browser."""

from __future__ import annotations

import time

import httpx
import pytest

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


def quiet(http) -> None:
    """Wait until nothing runs or waits."""
    until = time.monotonic() + 60
    while (state := http.get("/health").json())["running"] or state["waiting"]:
        assert time.monotonic() < until, state
        time.sleep(0.1)


def metric(text: str, outcome: str) -> int:
    return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if f'outcome="{outcome}"' in line)

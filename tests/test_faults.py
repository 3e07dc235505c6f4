"""Faults of the machine and of the Hub: each is a sentence, nothing half stays behind, and the next good request is served."""

from __future__ import annotations

import io
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from seg_demo.core.errors import BadCheckpointError, BadImageError, BusyError, HubUnavailableError, SegDemoError
from seg_demo.core.settings import Settings
from seg_demo.hub import cache, lookup, untrusted
from seg_demo.serving import predictor as loading
from seg_demo.serving.predictor import Predictor
from tests.checkpoints import IMAGE
from tests.crowd import file_data
from tests.surface import API, SECRETS
from tests.hub.test_lookup import FILES, impatient, spec  # noqa: F401  (a fixture)


@contextmanager
def full_disk(size: int, process: int = 0) -> Iterator[None]:
    """Within it no file of a process can become larger than this: writing more fails as on a full disk.

    Args:
        size: in bytes.
        process: its number; 0 is this one.
    """
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)


def stored(id: str) -> list[str]:
    """What lies in a repository's folder of the cache beside whole files."""
    blobs = cache.repo_folder(id) / "blobs"
    return [path.name for path in blobs.glob("*") if not cache._hashes_to(path, path.name) or "." in path.name]


@pytest.mark.parametrize("token", [False, True], ids=["visitor", "owner"])
def test_a_disk_that_fills_up_during_a_download(hub, token):
    hub.add_repo("ann/model", FILES)
    with full_disk(50_000), pytest.raises(HubUnavailableError, match="could not be stored"):
        lookup.fetch(spec("ann/model"), token=token)
    assert stored("ann/model") == []
    folder = lookup.fetch(spec("ann/model"), token=token)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_hub_that_fails_half_way_for_good(hub, folders):
    sound = {path.name: path.read_bytes() for path in (folders / "tiny").iterdir()}
    hub.add_repo("ann/model", sound)
    hub.fail("GET .*safetensors", status=None, after=len(sound["model.safetensors"]) // 2, times=1000)
    predictor = Predictor(replace(Settings(), quarantine=False))
    predictor.segment(IMAGE, "otsu")
    began = time.monotonic()
    with pytest.raises(HubUnavailableError, match="ann/model is not in the local cache"):
        predictor.segment(IMAGE, "ann/model")
    assert time.monotonic() - began < 60
    assert stored("ann/model") == [] and predictor.segment(IMAGE, "otsu").height == IMAGE.shape[0]
    hub._failures.clear()
    lookup.forget()
    assert predictor.segment(IMAGE, "ann/model").height == IMAGE.shape[0]


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_a_status_half_way_is_a_sentence_and_the_next_request_is_served(hub, impatient, status):  # noqa: F811
    hub.add_repo("ann/model", FILES)
    impatient()
    hub.fail("GET .*/resolve/.*safetensors", status=status, times=1000)
    with pytest.raises(SegDemoError) as caught:
        lookup.fetch(spec("ann/model"), token=False)
    assert len(str(caught.value)) > 40 and "resolve" not in str(caught.value), caught.value
    hub._failures.clear()
    assert lookup.fetch(spec("ann/model"), token=False).is_dir()
    # A download that was left behind ends by itself.
    until = time.monotonic() + 30
    while stored("ann/model"):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_cache_entry_that_is_damaged_while_the_server_runs_is_fetched_again(hub, folders):
    hub.add_repo("ann/model", folders / "tiny")
    predictor = Predictor(replace(Settings(), quarantine=False, cache_bytes=1))  # nothing is kept in memory
    first = predictor.segment(IMAGE, "ann/model")
    blob = next(cache.repo_folder("ann/model").glob("snapshots/*/model.safetensors")).resolve()
    whole = blob.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:200] + b"\xff" * 64 + whole[264:], b""):
        blob.write_bytes(damaged)
        assert np.array_equal(predictor.segment(IMAGE, "ann/model").id_map, first.id_map)
        assert blob.read_bytes() == whole


@pytest.mark.soak
def test_a_helper_that_dies_at_work_is_a_sentence(folders, monkeypatch):
    mine = untrusted.Sandbox()
    mine.inspect(folders / "other")

    def kill() -> None:
        until = time.monotonic() + 30
        while not (children := psutil.Process(mine._process.pid).children()) and time.monotonic() < until:
            time.sleep(0.001)
        psutil.Process(mine._process.pid).kill()
        for child in children:
            child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(BadCheckpointError, match="ended the process"):
        mine.inspect(folders / "segformer")
    killer.join()
    mine.inspect(folders / "third")
    mine.close()


def test_where_no_process_can_be_started_the_model_is_not_loaded(folders, monkeypatch):
    mine = untrusted.Sandbox()

    def fail(*arguments: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("seg_demo.core.sandbox.subprocess.Popen", fail)
    with pytest.raises(BusyError, match="No process could be started"):
        mine.inspect(folders / "tiny")
    monkeypatch.undo()
    mine.warm()
    assert mine._process.poll() is None, "as soon as there is one again"
    mine.close()


@pytest.mark.soak
def test_what_is_known_to_be_good_waits_for_nobody_elses_trial(hub, folders, monkeypatch):
    hub.add_repo("ann/good", folders / "tiny")
    hub.add_repo("ann/slow", folders / "other")
    # The same bytes may have been tried for another test of this process.
    monkeypatch.setattr(untrusted._sandbox, "_passed", set())
    predictor = Predictor(Settings())
    assert predictor.segment(IMAGE, "ann/good").height == IMAGE.shape[0]
    hold, busy, ask = threading.Event(), threading.Event(), untrusted._sandbox._ask
    def slow(path: object) -> str:
        busy.set()
        assert hold.wait(60)
        return ask(path)

    monkeypatch.setattr(untrusted._sandbox, "_ask", slow)
    other = threading.Thread(target=predictor.segment, args=(IMAGE, "ann/slow"))
    other.start()
    assert busy.wait(60)
    assert predictor.segment(IMAGE, "ann/good").height == IMAGE.shape[0]
    assert other.is_alive() and not hold.is_set(), "the trial is still going on"
    hold.set()
    other.join(120)
    assert not other.is_alive()


def test_a_processor_that_runs_out_of_memory_is_a_sentence_and_the_model_works_on(folders, monkeypatch):
    spec_of = loading.catalog.resolve(str(folders / "tiny"), local_folders=True)
    predictor = Predictor(Settings())
    model = predictor.get(spec_of.id, visitor=False)
    calls = []

    def scarce(*arguments: object) -> None:
        calls.append(arguments)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(type(model._run.network), "forward", staticmethod(scarce))
        with pytest.raises(BadImageError, match="not enough memory to segment an image of 70 x 45"):
            predictor.segment(IMAGE, spec_of.id, visitor=False)
    assert calls and predictor.state["running"] == predictor.state["admitted"] == 0
    assert predictor.segment(IMAGE, spec_of.id, visitor=False).height == IMAGE.shape[0]


def process_of(address: str) -> int:
    """The process number of the demo, whose disk can be filled."""
    mine = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    port = str(httpx.URL(address).port)
    return next(each.pid for each in mine if each.environ().get("GRADIO_SERVER_PORT") == port)


def picture(side: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_a_disk_that_fills_up_under_the_server(demo_url):
    process = process_of(demo_url)
    small, large = picture(100), picture(500)
    with httpx.Client(base_url=demo_url, timeout=120) as http:

        def sent(data: bytes) -> httpx.Response:
            return http.post(f"{API}/upload", files={"files": ("image.png", data)})

        def segmented(path: str) -> dict[str, object]:
            return http.post(f"{API}/run/segment", json={"data": [file_data(path), "otsu", 0.5]}).json()

        path, other = sent(small).json()[0], sent(large).json()[0]
        folder = Path(path).parents[1]
        before = set(folder.glob("tmp*"))  # of other tests' visitors
        usual = min(took(lambda: segmented(path)) for _ in range(3))
        with full_disk(300_000, process):
            answer = sent(picture(501))
            assert answer.status_code == 507 and "no room" in answer.json()["detail"], answer.text
            answer = segmented(other)
            assert "disk is full" in answer["error"], answer
            assert not any(secret in str(answer) for secret in SECRETS)
            assert "data" in segmented(path), "what is small is served"
        assert "data" in segmented(other)
        assert min(took(lambda: segmented(path)) for _ in range(3)) < 2 * usual + 0.5
        assert set(folder.glob("tmp*")) <= before, "nothing half written stays"
        assert http.get("/health").json()["status"] == "ok"


def took(call) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began

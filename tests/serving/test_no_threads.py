"""A system that gives no more threads or processes: a sentence each time, nobody waits for ever, and nothing is blamed for it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading

import pytest

from seg_demo.core import requests
from seg_demo.core.errors import BusyError
from seg_demo.core.requests import SingleFlight
from seg_demo.core.settings import Settings
from seg_demo.hub import client, untrusted
from seg_demo.serving import catalog
from seg_demo.serving import predictor as loading
from seg_demo.serving.predictor import Predictor


@pytest.fixture
def no_threads():
    """Threads want more memory for their stack than there is, so that the system refuses them."""
    before = threading.stack_size(2**46)
    yield
    threading.stack_size(before)


def test_a_call_that_gets_no_thread_is_not_waited_for_by_the_next_one(no_threads):
    flight = SingleFlight()
    for _ in range(2):
        with pytest.raises(BusyError, match="no more threads"):
            flight.run("key", lambda: 1)
    assert len(flight) == 0
    threading.stack_size(0)
    assert flight.run("key", lambda: 1) == 1


def test_a_look_up_that_gets_no_thread(no_threads):
    with pytest.raises(BusyError, match="no more threads"):
        client.within(5, lambda: 1)


@pytest.mark.soak
def test_a_model_is_not_blamed_when_no_process_is_left_to_try_it_in(folders, monkeypatch):
    """The helper cannot fork (its fork always fails); afterwards another helper tries the same model, and it passes."""
    mine, real = untrusted.Sandbox(), subprocess.Popen
    code = (
        "import os, sys, errno\nfrom seg_demo.serving import sandbox_child as quarantine_child\n"
        "def fork(): raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))\n"
        "os.fork = fork\nquarantine_child.serve(60.0, 15.0)"
    )
    try:
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", lambda words, **options: real([sys.executable, "-c", code], **options))
            for _ in range(2):
                with pytest.raises(BusyError, match=r"Resource temporarily unavailable.*Try again"):
                    mine.inspect(folders / "tiny")
        os.kill(mine._process.pid, 9)
        mine._process.wait()
        mine.inspect(folders / "tiny")
        assert mine.passed(folders / "tiny")
    finally:
        mine.close()


@pytest.mark.soak
def test_what_is_here_is_used_without_a_thread(hub, folders, monkeypatch):
    """The owner's Hub models, visitors' and torchvision's weights: threads for the first request, none for those that follow."""
    started: list[str] = []
    real = requests.begin
    monkeypatch.setattr(requests, "begin", lambda thread: started.append(thread.name) or real(thread))
    hub.add_repo("ann/model", folders / "tiny")
    predictor = Predictor(Settings())
    for visitor in (False, True):
        predictor.get("ann/model", visitor=visitor)
        first = len(started)
        for _ in range(5):
            predictor.get("ann/model", visitor=visitor)
        assert len(started) == first > 0
        assert hub.count() > 0


def test_torchvisions_weights_are_here_once_they_were_found_sound(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    data = b"weights"
    name = f"net-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    row = catalog.TorchvisionWeights("fcn", "fcn_resnet50", f"https://nowhere.example/models/{name}", "voc")
    monkeypatch.setitem(catalog.TORCHVISION, "fcn-resnet50-voc", row)
    spec = catalog.resolve("fcn-resnet50-voc", local_folders=False)
    assert not loading.is_here(spec, token=True)
    path = tmp_path / "hub/checkpoints" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    assert not loading.is_here(spec, token=True), "not looked into yet"
    assert loading.locate(spec, token=True) == path and loading.is_here(spec, token=True)
    path.unlink()
    assert not loading.is_here(spec, token=True)

"""Checkpoints of a stranger's choice are tried in a process of their own: what kills it is a sentence, and happens once."""

from __future__ import annotations

import json
import os
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest

from seg_demo import networks
from seg_demo.core import requests
from seg_demo.core.errors import BadCheckpointError, BusyError
from seg_demo.core.requests import LeftError, Request, TooLongError
from seg_demo.core.settings import Settings, settings
from seg_demo.hub import untrusted
from seg_demo.networks.segformer import SegFormer
from seg_demo.serving.predictor import Predictor
from tests.checkpoints import IMAGE, TINY, TWO


@pytest.fixture(scope="module")
def helper():
    """The helper of this process, started while the environment holds logins: it takes seconds, so all tests here have the same."""
    untrusted.close()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HF_TOKEN", "hf_secret")
        patched.setenv("MY_PASSWORD", "secret")
        untrusted.warm()
    return untrusted._sandbox


@pytest.fixture
def fresh(helper):
    """A quarantine that has seen nothing, with a helper that runs already."""
    mine = untrusted.Sandbox()
    mine._process = helper._process
    yield mine
    helper._process = mine._process


def test_a_good_checkpoint_passes_and_is_tried_once(fresh, folders, monkeypatch):
    fresh.inspect(folders / "tiny")
    asked = []
    monkeypatch.setattr(fresh, "_ask", lambda path: asked.append(path) or "")
    fresh.inspect(folders / "tiny")
    assert asked == []
    fresh.inspect(folders / "other")
    assert asked == [folders / "other"]


def test_the_helper_has_no_login(fresh, folders):
    fresh.inspect(folders / "tiny")
    environ = open(f"/proc/{fresh._process.pid}/environ", "rb").read()
    assert b"secret" not in environ and b"HF_HUB_OFFLINE=1" in environ


def test_what_takes_too_much_memory_or_time_is_a_sentence_and_the_next_one_is_served(fresh, folders, tmp_path, monkeypatch):
    # Sparse, so that the file costs nothing: 6 GB of zeros behind an honest header.
    shutil.copytree(folders / "tiny", tmp_path / "huge")
    header = json.dumps({"big": {"dtype": "F32", "shape": [1_500_000_000], "data_offsets": [0, 6_000_000_000]}}).encode()
    with open(tmp_path / "huge/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 6_000_000_000)
    monkeypatch.setattr(untrusted, "identity", lambda path: str(path))
    monkeypatch.setattr(untrusted, "settings", lambda: replace(settings(), quarantine_bytes=10**9))
    with pytest.raises(BadCheckpointError):
        fresh.inspect(tmp_path / "huge")
    helper = fresh._process.pid
    monkeypatch.setattr(untrusted, "settings", lambda: replace(settings(), quarantine_seconds=0.001))
    with pytest.raises(BadCheckpointError, match=r"within 0\.001 seconds"):
        fresh.inspect(folders / "third")
    monkeypatch.setattr(untrusted, "settings", settings)
    fresh.inspect(folders / "other")
    assert fresh._process.pid == helper, "the helper outlives what it tried"
    os.kill(helper, 9)
    fresh._process.wait()
    fresh.inspect(folders / "binary")
    assert fresh._process.pid != helper


@pytest.mark.soak
def test_class_queries_that_take_too_much_memory_kill_nothing_else(fresh, folders, tmp_path, monkeypatch):
    """A small network whose processor makes pictures so large that trying it takes gigabytes."""
    family = networks.network("maskformer")
    made = family.create(TWO, family.default_options())
    made.processor.size = type(made.processor)(size={"shortest_edge": 4000, "longest_edge": 4000}).size
    made.save(tmp_path)
    helper = fresh._process.pid
    monkeypatch.setattr(untrusted, "settings", lambda: replace(settings(), quarantine_bytes=5 * 10**8))
    with pytest.raises(BadCheckpointError, match="memory"):
        fresh.inspect(tmp_path)
    monkeypatch.setattr(untrusted, "settings", settings)
    fresh.inspect(folders / "third")
    assert fresh._process.pid == helper


def test_a_model_that_gives_no_numbers_is_refused(hub, tmp_path):
    checkpoint = SegFormer.create(TWO, TINY)
    weight = next(iter(checkpoint.module.parameters()))
    weight.data.mul_(3e38)
    checkpoint.save(tmp_path)
    hub.add_repo("ann/nan", tmp_path)
    with pytest.raises(BadCheckpointError, match="invalid numbers"):
        Predictor(Settings()).segment(IMAGE, "ann/nan")
    with pytest.raises(BadCheckpointError, match="invalid numbers"):
        Predictor(replace(Settings(), quarantine=False)).segment(IMAGE, "ann/nan")


def test_only_what_a_stranger_chose_goes_through_it(hub, folders, monkeypatch):
    hub.add_repo("ann/model", folders / "tiny")
    tried = []
    monkeypatch.setattr(untrusted, "inspect", lambda path: tried.append(path.name))
    Predictor(Settings()).get("ann/model", visitor=False)
    Predictor(Settings()).get("unet-cells")
    assert tried == []
    Predictor(Settings()).get("ann/model")
    assert tried == [hub.repos["model", "ann/model"].refs["main"]]


def test_a_request_that_was_withdrawn_or_takes_too_long_stops_and_the_download_goes_on(hub, folders):
    hub.add_repo("ann/model", folders / "tiny")
    predictor = Predictor(replace(Settings(), quarantine=False))
    with requests.opened(Request("segment", left=lambda: True)), pytest.raises(LeftError):
        predictor.segment(IMAGE, "ann/model")
    with requests.opened(Request("segment", seconds=-1)), pytest.raises(TooLongError, match="longer than the -1 seconds"):
        predictor.segment(IMAGE, "otsu")
    assert predictor.state["admitted"] == predictor.state["running"] == 0
    with requests.opened(Request("segment")) as request:
        result = predictor.segment(IMAGE, "ann/model")
    assert np.asarray(result.id_map).shape == IMAGE.shape[:2]
    assert request.facts["model"] == "ann/model" and request.facts["width"] == IMAGE.shape[1] and "waited" in request.facts


def test_a_slow_model_keeps_nobody_waiting_for_long(monkeypatch):
    monkeypatch.setattr(requests, "FETCHING_SECONDS", 0.0)
    crowded = Request("segment", crowded=lambda: True)
    with pytest.raises(BusyError, match="still being downloaded"):
        crowded.check(fetching=True)
    crowded.check()
    Request("segment").check(fetching=True)


def test_a_strangers_model_is_forgotten_by_the_cache_of_answers_when_it_changes(folders, tmp_path):
    shutil.copytree(folders / "tiny", tmp_path / "a")
    before = untrusted.identity(tmp_path / "a")
    assert before == untrusted.identity(folders / "tiny")
    with open(tmp_path / "a/config.json", "a") as file:
        file.write(" ")
    assert untrusted.identity(tmp_path / "a") != before

"""Predicting: within memory and the agreed work, on any device, the same for everybody."""

from __future__ import annotations

import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import seg_demo
from seg_demo import networks
from seg_demo.core.errors import BadRequestError, BusyError, SettingsError
from seg_demo.core.requests import check_threshold
from seg_demo.core.settings import Settings
from seg_demo.core.types import ModelSpec, Segmentation
from seg_demo.hub import cache
from seg_demo.inference import engine as devices
from seg_demo.inference import model as runs
from seg_demo.inference import zerogpu
from seg_demo.inference.model import Model
from seg_demo.serving import catalog
from seg_demo.serving.predictor import Predictor, load_model
from tests.checkpoints import CELLS, IMAGE, TWO, write_tiny
from tests.hub_layouts import sharded

SPEC = ModelSpec("ann/model", None, "semantic", "", "model", "", "hub")


def test_models_are_kept_while_memory_allows(folders, loads):
    size = load_model(str(folders / "tiny")).nbytes
    loads.clear()
    two = Predictor(replace(Settings(), cache_bytes=int(2.5 * size)))
    for name in ("tiny", "other", "tiny"):
        two.get(str(folders / name), visitor=False)
    assert len(loads) == 2
    two.get(str(folders / "third"), visitor=False)
    two.get(str(folders / "tiny"), visitor=False)
    assert len(loads) == 3, "the least recently used one (other) made room"
    assert sum(model.nbytes for model in two._models.values()) <= int(2.5 * size)
    two.get(str(folders / "other"), visitor=False)
    assert len(loads) == 4
    tiny = Predictor(replace(Settings(), cache_bytes=1))
    assert tiny.segment(IMAGE, str(folders / "tiny"), visitor=False).model.architecture == "segformer"
    assert len(loads) == 5 and not tiny._models and not tiny._passing, "it is loaded once for its request, and goes with it"


def test_a_folder_that_is_written_anew_is_loaded_anew(folders, tmp_path, loads):
    write_tiny(tmp_path)
    predictor = Predictor(Settings())
    assert len(predictor.get(str(tmp_path), visitor=False).labels) == 2
    write_tiny(tmp_path, CELLS)
    assert len(predictor.get(str(tmp_path), visitor=False).labels) == 3 and len(loads) == 2


def test_weights_in_shards_make_room_before_they_are_loaded_and_are_loaded_anew(folders, tmp_path, loads, monkeypatch):
    folder = tmp_path / "sharded"
    files = {path.name: path.read_bytes() for path in (folders / "tiny").iterdir()}
    folder.mkdir()
    for name, content in sharded(files).items():
        (folder / name).write_bytes(content)
    assert not (folder / "model.safetensors").exists()
    bytes_of_shards = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    asked, predictor = [], Predictor()
    room = predictor._make_space
    monkeypatch.setattr(predictor, "_make_space", lambda wanted: asked.append(wanted) or room(wanted))
    predictor.get(str(folder), visitor=False)
    assert asked[0] >= bytes_of_shards > 0
    predictor.get(str(folder), visitor=False)
    assert len(loads) == 1
    shard = next(folder.glob("*.safetensors"))
    os.utime(shard, ns=(shard.stat().st_atime_ns, shard.stat().st_mtime_ns + 10**9))
    predictor.get(str(folder), visitor=False)
    assert len(loads) == 2


def test_no_more_work_at_a_time_than_agreed(folders, monkeypatch):
    predictor = Predictor(replace(Settings(), concurrency=2, queue_size=2))
    predictor.get(str(folders / "tiny"), visitor=False)
    running, most, gate = [], [], threading.Event()

    def slow(self, image, options, report=None):
        running.append(1)
        most.append(len(running))
        gate.wait(10)
        running.pop()
        return Segmentation("semantic", 2, 2, TWO, np.zeros((2, 2), np.uint8), ())

    monkeypatch.setattr(Model, "run", slow)
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(predictor.segment, IMAGE, str(folders / "tiny"), visitor=False) for _ in range(4)]
        while predictor.state["admitted"] < 4:
            time.sleep(0.01)
        with pytest.raises(BusyError, match="4 requests are running or waiting"):
            predictor.segment(IMAGE, str(folders / "tiny"), visitor=False)
        gate.set()
        assert all(future.result().height == 2 for future in futures)
    assert max(most) <= 2 and predictor.state["admitted"] == predictor.state["running"] == 0


def test_a_threshold_filters_and_anything_else_is_refused(folders):
    model = load_model(str(folders / "maskrcnn"))
    everything = model.predict_all(IMAGE)
    scores = sorted(segment.score for segment in everything.segments)
    middle = scores[len(scores) // 2]
    assert len(model.predict(IMAGE, middle).segments) == sum(score >= middle for score in scores)
    for bad in (float("nan"), -0.1, 1.1, True, "0.5", None, [], float("inf"), 10**400):
        with pytest.raises(BadRequestError, match="threshold must be a number from 0 to 1"):
            check_threshold(bad)
    assert check_threshold(1) == 1.0 and check_threshold(np.float32(0.25)) == 0.25


def test_a_pil_image_and_its_array_give_the_same(folders):
    model = seg_demo.load_model(str(folders / "tiny"), device="cpu")
    result = model.predict(Image.fromarray(IMAGE))
    np.testing.assert_array_equal(result.id_map, model.predict(IMAGE).id_map)
    assert sum(result.areas) == IMAGE.shape[0] * IMAGE.shape[1]


def test_training_evaluates_through_the_same_predict_and_is_left_alone(folders):
    checkpoint = networks.load(folders / "maskrcnn")
    checkpoint.module.train()
    model = Model.from_network(checkpoint, ModelSpec("run", None, "instance", "maskrcnn", "run", "", "folder"))
    served = load_model(str(folders / "maskrcnn")).predict(IMAGE, 0.0)
    np.testing.assert_array_equal(model.predict(IMAGE, 0.0).id_map, served.id_map)
    assert checkpoint.module.training
    images = [torch.rand(3, 64, 64)]
    boxes = {"boxes": torch.tensor([[4.0, 4.0, 30.0, 30.0]]), "labels": torch.tensor([1])}
    losses = checkpoint.module(images, [{**boxes, "masks": torch.ones(1, 64, 64, dtype=torch.uint8)}])
    sum(losses.values()).backward()


@pytest.mark.parametrize("method", ["otsu", "watershed", "slic", "felzenszwalb"])
def test_region_methods_are_models(method):
    result = Predictor(Settings()).segment(IMAGE, method)
    assert result.task == "region" and result.model.architecture == "classical"
    assert result.labels == Model.classical(result.model).labels
    assert set(result.seconds) == {"decode", "segment", "total"}


def test_a_gpu_that_runs_out_of_memory_is_replaced_by_the_cpu(folders, monkeypatch):
    checkpoint = networks.load(folders / "tiny")
    expected = Model.from_network(checkpoint, SPEC).predict(IMAGE)
    copied = devices.on_cpu(checkpoint.module)
    assert all(mine is not theirs for mine, theirs in zip(copied.parameters(), checkpoint.module.parameters(), strict=True))
    # The meta device stands in for a GPU: whatever is computed on it is refused.
    elsewhere = replace(checkpoint, module=networks.load(folders / "tiny").module.to("meta"))
    monkeypatch.setattr(devices, "on_cpu", lambda module: copied)
    run = runs.NetworkRun._pass

    def full(self, network, module, batch, device, engine=None):
        if device.type == "meta":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert engine is None, "the copy is computed by torch alone"
        return run(self, network, module, batch, device)

    monkeypatch.setattr(runs.NetworkRun, "_pass", full)
    result = Model.from_network(elsewhere, SPEC).predict(IMAGE)
    np.testing.assert_array_equal(result.id_map, expected.id_map)
    assert result.device == "cpu"


def test_devices_and_memory():
    with pytest.raises(SettingsError, match="no device 'cuda:9' here, only .*cpu"):
        devices.choose_device("cuda:9")
    cpu = devices.choose_device("cpu")
    assert 0 < devices.cache_budget(Settings(), cpu) <= devices.total_memory(cpu) // 4
    assert devices.cache_budget(replace(Settings(), cache_bytes=7), cpu) == 7
    assert devices.out_of_memory(RuntimeError("MPS backend out of memory"))
    assert not devices.out_of_memory(RuntimeError("shapes differ"))


def test_on_zerogpu_only_plain_data_crosses_to_the_worker(hub, folders, loads, monkeypatch):
    hub.add_repo("ann/model", folders / "tiny")
    work, free = zerogpu._segment, []

    def worker(*arguments):
        # What removes models to make room for others asks for this lock first.
        with cache.exclusive(cache.repo_folder("ann/model").name) as alone:
            free.append(alone)
        return pickle.loads(pickle.dumps(work(*pickle.loads(pickle.dumps(arguments)))))

    monkeypatch.setattr(zerogpu, "ACTIVE", True)
    monkeypatch.setattr(zerogpu, "DEVICE", "cpu")
    monkeypatch.setattr(zerogpu, "_segment", worker)
    predictor = Predictor(Settings())
    first = predictor.segment(IMAGE, "ann/model")
    assert first.model.architecture == "segformer" and len(loads) == 1 and not predictor._models
    assert free == [False], "the model stays on the disk while it is read"
    predictor.segment(IMAGE, "ann/model")
    assert len(loads) == 1, "the worker keeps what it loaded"
    zerogpu._loaded.clear()
    predictor.get("ann/model")
    assert not zerogpu._held, "what visitors load here goes when the budget is used up"
    predictor.get("ann/model", visitor=False)
    predictor.segment(IMAGE, "ann/model")
    assert len(loads) == 2, "what the parent loaded before the fork is used"
    zerogpu._held.clear()


def test_zerogpu_is_asked_for_twice_what_the_last_work_took():
    durations, small, large = zerogpu.Durations(), 100 * 100, 4000 * 3000
    kind, other = ("segment", "whole", "a"), ("segment", "full", "a")
    assert durations.expected(kind, small) == zerogpu.DURATION, "nothing is known yet"
    durations.add(kind, large, 24.0)
    assert durations.expected(kind, large) == 48 and durations.expected(kind, large // 2) == 24
    assert durations.expected(kind, small) == zerogpu.LEAST and durations.expected(other, large) == zerogpu.DURATION
    durations.add(kind, large, 1200.0)
    assert durations.expected(kind, large) == zerogpu.MOST
    for _ in range(8):
        durations.add(kind, large, 12.0)
    assert durations.expected(kind, large) == 24, "what took long once is forgotten"


def test_torchvisions_entries_are_torchvisions_own():
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    theirs = {"fcn-resnet50-voc": FCN_ResNet50_Weights.DEFAULT, "maskrcnn-v2-coco": MaskRCNN_ResNet50_FPN_V2_Weights.DEFAULT}
    for key, weight in theirs.items():
        row = catalog.TORCHVISION[key]
        assert row.url == weight.url and hasattr(networks.network(row.network), "from_torchvision")
        assert catalog.known_labels(row.labels)[1:] == tuple(weight.meta["categories"][1:])

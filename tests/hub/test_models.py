"""Models from the Hub over real HTTP, through to a prediction: pushed, private, damaged, offline, asked for at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from seg_demo.core.errors import BadCheckpointError, BadRequestError, HubUnavailableError, ModelNotFoundError
from seg_demo.core.requests import Options
from seg_demo.core.settings import Settings, settings
from seg_demo.core.types import ModelSpec
from seg_demo.hub import cache, client, lookup
from seg_demo.serving.predictor import Predictor, load_model
from tests.checkpoints import IMAGE

SPEC = ModelSpec("ann/model", None, "semantic", "", "model", "", "hub")


@pytest.mark.parametrize("name", ["unet", "maskrcnn", *(pytest.param(name, marks=pytest.mark.soak) for name in ("binary", "segformer"))])
def test_a_pushed_checkpoint_is_served_by_its_id(hub, folders, loads, name):
    hub.add_user("ann", "hf_ann")
    client.push(folders / name, f"ann/{name}", token="hf_ann")
    predictor = Predictor(Settings())
    reported = []
    result = predictor.segment(IMAGE, f"ann/{name}", Options(0.0), report=lambda fraction, text: reported.append(text))
    assert result.id_map.shape == IMAGE.shape[:2] and result.device == "cpu"
    assert result.model.id == f"ann/{name}" and result.model.source == "hub" and result.model.labels == result.labels.names
    assert set(result.seconds) == {"decode", "preprocess", "forward", "postprocess", "total"}
    assert any("Downloading" in text for text in reported) and any("Loading" in text for text in reported)
    mine = load_model(str(folders / name)).predict(IMAGE, 0.0)
    np.testing.assert_array_equal(result.id_map, mine.id_map)
    assert [segment.score for segment in result.segments] == [segment.score for segment in mine.segments]
    hub.reset_counts()
    loads.clear()
    predictor.segment(IMAGE, f"ann/{name}", Options(0.9))
    assert hub.count() == 0 and loads == []


def test_revisions_are_models_of_their_own(hub, folders):
    hub.add_repo("ann/model", folders / "tiny")
    hub.add_repo("ann/model", folders / "other", revision="v2")
    predictor = Predictor(Settings())
    assert len(predictor.get("ann/model").labels) == 3
    other = predictor.get("ann/model@v2")
    assert len(other.labels) == 2 and other.spec.revision == "v2"
    result = predictor.segment(IMAGE, "ann/model@main")
    assert result.to_dict()["model"] == {"id": "ann/model", "revision": "main", "architecture": "segformer", "source": "hub"}
    with pytest.raises(ModelNotFoundError, match="no revision"):
        predictor.get("ann/model@v3")


def test_a_visitor_is_not_the_owner(hub, folders, monkeypatch):
    hub.add_user("ann", "hf_ann")
    hub.add_repo("ann/secret", folders / "tiny", private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    predictor = Predictor(Settings())
    assert load_model("ann/secret").spec.id == "ann/secret"
    assert predictor.get("ann/secret", visitor=False).spec.id == "ann/secret"
    for _ in range(2):
        with pytest.raises(ModelNotFoundError, match="no public model"):
            predictor.get("ann/secret")
    with pytest.raises(BadRequestError):
        predictor.get(str(folders / "tiny"))
    monkeypatch.setenv("SEG_DEMO_MODELS", "ann/secret")
    settings.cache_clear()
    try:
        assert predictor.get("ann/secret").spec.id == "ann/secret", "the owner's menu uses the owner's login"
        with pytest.raises(ModelNotFoundError):
            predictor.get("ann/secret@" + hub.repos["model", "ann/secret"].refs["main"])
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_offline_what_is_cached_works_and_the_rest_is_said_in_time(hub, folders, monkeypatch):
    hub.add_repo("ann/model", folders / "tiny")
    Predictor(Settings()).get("ann/model")
    hub.hanging = True
    lookup.forget()
    monkeypatch.setenv("SEG_DEMO_HUB_TIMEOUT", "1")
    settings.cache_clear()
    try:
        fresh = Predictor()
        assert fresh.segment(IMAGE, "ann/model").height == IMAGE.shape[0]
        began = time.monotonic()
        with pytest.raises(HubUnavailableError):
            fresh.get("ann/other")
        assert time.monotonic() - began < Settings().hub_timeout - 0.5, "the second that was set"
        with pytest.raises(ModelNotFoundError, match="There is no model 'nothing'"):
            fresh.get("nothing")
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_a_damaged_checkpoint_is_refused_and_not_kept(hub, folders):
    files = {path.name: path.read_bytes() for path in (folders / "tiny").iterdir()}
    hub.add_repo("ann/model", {**files, "model.safetensors": files["model.safetensors"][:-100]})
    predictor = Predictor(Settings())
    for _ in range(2):
        with pytest.raises(BadCheckpointError):
            predictor.get("ann/model")
    hub.add_repo("ann/model", files)
    lookup.forget()
    assert predictor.get("ann/model").spec.architecture == "segformer"


def test_many_who_ask_at_once_wait_for_one_download_and_one_load(hub, folders, loads):
    hub.add_repo("ann/model", folders / "tiny")
    predictor = Predictor(Settings())
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: predictor.get("ann/model"), range(8)))
    assert len(loads) == 1 and hub.count("GET .*model.safetensors") == 1
    assert len({id(model) for model in models}) == 1


def test_a_cached_file_that_rots_is_found_before_it_is_loaded(hub, folders):
    hub.add_repo("ann/model", folders / "tiny")
    path = lookup.fetch(SPEC, token=False)
    (path / "model.safetensors").resolve().write_bytes(b"rotten")
    cache.forget()
    lookup.forget()
    assert Predictor(Settings()).segment(IMAGE, "ann/model").model.architecture == "segformer"

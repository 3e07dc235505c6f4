"""Weights that are pickles: read by a child alone, and what is made of them answers as the plain library does."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSemanticSegmentation

from seg_demo import load_model
from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.settings import Settings, settings
from seg_demo.core.storage import locked
from seg_demo.hub import cache, lookup, untrusted
from seg_demo.networks.segformer import SegFormer
from seg_demo.serving.catalog import hub_spec
from seg_demo.serving.predictor import Predictor
from tests.checkpoints import IMAGE, TWO
from train.base_model import start
from train.config import Config


class Harmless:
    """Something that is no tensor."""


@pytest.fixture(autouse=True)
def here_nothing_is_unpickled(monkeypatch):
    """Whoever reads a pickle in this process fails; what children do is their own."""

    def unpickle(*args, **kwargs):
        raise AssertionError("a pickle was read in the server's own process")

    monkeypatch.setattr(torch, "load", unpickle)


def saved(data: object, **how: object) -> bytes:
    file = io.BytesIO()
    torch.save(data, file, **how)
    return file.getvalue()


def pickled(folder: Path, shards: int = 0, **how: object) -> dict[str, bytes]:
    """A checkpoint's files with the same weights as pickles: one, or so many shards with an index."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".json"}
    state = load_file(folder / "model.safetensors")
    if not shards:
        return {**files, "pytorch_model.bin": saved(state, **how)}
    names = {part: f"pytorch_model-{part + 1:05d}-of-{shards:05d}.bin" for part in range(shards)}
    table = {key: names[index % shards] for index, key in enumerate(sorted(state))}
    for name in names.values():
        files[name] = saved({key: state[key] for key, where in table.items() if where == name})
    return {**files, "pytorch_model.bin.index.json": json.dumps({"metadata": {}, "weight_map": table}).encode()}


def write(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("kind", "shards", "how"),
    [("tiny", 0, {}), ("tiny", 3, {}), ("other", 0, {"_use_new_zipfile_serialization": False}), ("binary", 0, {})],
)
def test_a_typed_id_answers_as_the_same_weights_in_safetensors_do(hub, folders, kind, shards, how):
    hub.add_repo("ann/pickled", pickled(folders / kind, shards, **how))
    result = Predictor(Settings()).segment(IMAGE, "ann/pickled")
    assert np.array_equal(result.id_map, load_model(str(folders / kind)).predict(IMAGE).id_map)


def test_what_is_made_is_what_plain_transformers_reads(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write(pickled(folders / "tiny"), tmp_path / "model")
    made = untrusted.converted(folder)
    monkeypatch.undo()
    plain = AutoModelForSemanticSegmentation.from_pretrained(folder).state_dict()
    ours = SegFormer.load(made).module.state_dict()
    assert plain.keys() == ours.keys() and all(torch.equal(plain[name], ours[name]) for name in plain)


def test_it_is_made_once_and_survives_a_restart_and_damage_is_mended(hub, folders, monkeypatch):
    hub.add_repo("ann/pickled", pickled(folders / "tiny"))
    made = []
    convert = untrusted.convert
    monkeypatch.setattr(untrusted, "convert", lambda *args: made.append(args) or convert(*args))
    first = Predictor(replace(Settings(), quarantine=False)).segment(IMAGE, "ann/pickled").id_map
    for _ in range(2):
        lookup.forget()
        assert np.array_equal(Predictor(replace(Settings(), quarantine=False)).segment(IMAGE, "ann/pickled").id_map, first)
    assert len(made) == 1
    (weights,) = cache.repo_folder("ann/pickled").glob(".converted/*/*/model.safetensors")
    weights.resolve().write_bytes(weights.read_bytes()[:-100])
    lookup.forget()
    assert np.array_equal(Predictor(replace(Settings(), quarantine=False)).segment(IMAGE, "ann/pickled").id_map, first)
    assert len(made) == 2


def test_safetensors_go_first(hub, folders, tmp_path):
    files = {path.name: path.read_bytes() for path in (folders / "tiny").iterdir()}
    hub.add_repo("ann/both", {**pickled(folders / "other"), **files})
    Predictor(replace(Settings(), quarantine=False)).segment(IMAGE, "ann/both")
    assert not hub.count("GET .*pytorch_model")
    folder = write({**files, "pytorch_model.bin": b"not looked at"}, tmp_path / "both")
    assert untrusted.converted(folder) == folder


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": torch.zeros(2), "b": Harmless()}, "Harmless"),
        ({"a": torch.zeros(2), "hyper_parameters": {"lr": 1.0}}, "'hyper_parameters' is a dict"),
        ({"state_dict": {"a": torch.zeros(2), "epoch": 3}}, "'epoch' is a int"),
        ([torch.zeros(2)], "it is a list"),
        ({"a": torch.zeros(2).to_sparse()}, "special kind"),
        ({0: torch.zeros(2)}, "a name in it is a int"),
    ],
)
def test_a_pickle_with_more_than_tensors_is_refused_in_words(hub, folders, content, said):
    hub.add_repo("ann/more", {**pickled(folders / "tiny"), "pytorch_model.bin": saved(content)})
    with pytest.raises(BadCheckpointError, match="holds more than weights") as caught:
        Predictor(Settings()).segment(IMAGE, "ann/more")
    assert said in str(caught.value)
    assert not list(cache.repo_folder("ann/more").glob(".converted/*/*"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"PK\x03\x04" + bytes(200), "cannot be read as pickled weights"),
    ],
)
def test_a_file_that_is_no_pickle_is_refused_in_words(folders, tmp_path, monkeypatch, data, said):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(BadCheckpointError, match=said):
        untrusted.converted(write({**pickled(folders / "tiny"), "pytorch_model.bin": data}, tmp_path / "model"))


def test_the_owner_may_refuse_and_an_old_torch_does(hub, folders, tmp_path, monkeypatch):
    hub.add_repo("ann/pickled", pickled(folders / "tiny"))
    folder = write(pickled(folders / "tiny"), tmp_path / "model")
    for name, value, said in (("SEG_DEMO_PICKLES", "refuse", "SEG_DEMO_PICKLES"), (None, None, "torch 2.10 or newer")):
        with monkeypatch.context() as patch:
            if name:
                patch.setenv(name, value)
            else:
                patch.setattr(untrusted, "version", lambda package: "2.9.1+cu128")
            settings.cache_clear()
            for call in (lambda: Predictor(Settings()).segment(IMAGE, "ann/pickled"), lambda: load_model(str(folder))):
                with pytest.raises(BadCheckpointError, match=said):
                    call()
        settings.cache_clear()
    assert not hub.count("GET .*/resolve/.*bin")


def test_shards_that_are_not_there_are_named(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write(pickled(folders / "tiny", 2), tmp_path / "model")
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(BadCheckpointError, match="00002-of-00002"):
        load_model(str(folder))
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    with pytest.raises(BadCheckpointError, match="not there"):
        load_model(str(folder))


def test_what_a_killed_server_has_left_goes_and_what_a_faster_one_made_stays(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write(pickled(folders / "tiny"), tmp_path / "model")
    root = untrusted.root()
    for name, age in ((".new-killed", 3600), (".new-other", 3600), (".new-made", 1)):
        (root / name / "weights").mkdir(parents=True)
        os.utime(root / name, (time.time() - age,) * 2)
    convert = untrusted.convert

    def slowly(files, output, most):
        convert(files, output, most)
        monkeypatch.setattr(untrusted, "convert", convert)
        (untrusted.converted(folder) / "mark").write_text("the first one")

    monkeypatch.setattr(untrusted, "convert", slowly)
    with locked(root / ".new-other"):
        made = untrusted.converted(folder)
    assert (made / "mark").is_file(), "somebody may be reading it"
    assert sorted(path.name for path in root.iterdir()) == sorted([".new-made", ".new-other", made.name])


def test_a_disk_that_fails_is_not_the_models_fault(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(saved({"a": torch.zeros(9)}))
    (tmp_path / "out/model.safetensors").mkdir(parents=True)
    with pytest.raises(BadCheckpointError, match="cannot be stored on the server: Is a directory. Free some space"):
        untrusted.convert([tmp_path / "pytorch_model.bin"], tmp_path / "out", 1 << 20)


def test_tensors_that_share_memory_are_written_each_under_its_name(tmp_path):
    """What safetensors wants: nothing shared, everything contiguous, the values as they are."""
    base = torch.arange(12.0).reshape(3, 4)
    state = {
        "tied": base, "twin": base, "turned": base.t(), "rows": base[1:], "spread": torch.ones(()).expand(5, 2),
        "half": base.half(), "count": torch.tensor(3), "none": torch.zeros(0, 4), "last": base.to(memory_format=torch.contiguous_format)[:, ::2],
    }  # fmt: skip
    (tmp_path / "in").mkdir()
    (tmp_path / "in/pytorch_model.bin").write_bytes(saved(state))
    untrusted.convert([tmp_path / "in/pytorch_model.bin"], tmp_path, 1 << 20)
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state)
    with pytest.raises(BadCheckpointError, match="of memory when unpacked"):
        untrusted.convert([tmp_path / "in/pytorch_model.bin"], tmp_path, 100)


def test_it_counts_as_the_visitors_models_do_and_goes_with_them(hub, folders):
    files = pickled(folders / "tiny")
    size = sum(map(len, files.values()))
    hub.add_repo("ann/pickled", files)
    predictor = Predictor(replace(Settings(), quarantine=False))
    predictor.segment(IMAGE, "ann/pickled")
    repo = cache.repo_folder("ann/pickled")
    (kept,) = cache._of(repo)
    counted = cache._size(repo, [kept])
    (weights,) = repo.glob(".converted/*/*/model.safetensors")
    assert size + weights.stat().st_size <= counted < size + weights.stat().st_size + 100
    hub.add_repo("ann/large", {"config.json": b"{}", "model.safetensors": bytes(1000)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEG_DEMO_VISITOR_MODELS_BYTES", str(counted + 500))
        settings.cache_clear()
        lookup.fetch(hub_spec("ann/large", None), token=False)
    settings.cache_clear()
    assert not repo.exists()


def test_more_than_there_is_room_for_is_refused_before_it_is_fetched(hub, folders, monkeypatch):
    files = pickled(folders / "tiny")
    hub.add_repo("ann/pickled", files)
    monkeypatch.setenv("SEG_DEMO_VISITOR_MODELS_BYTES", str(int(1.5 * len(files["pytorch_model.bin"]))))
    settings.cache_clear()
    try:
        with pytest.raises(BadCheckpointError, match="more than the"):
            Predictor(Settings()).segment(IMAGE, "ann/pickled")
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert not hub.count("GET .*/resolve/.*bin")


def test_a_folder_of_the_owner_goes_through_the_child_too(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write(pickled(folders / "tiny"), tmp_path / "model")
    wanted = load_model(str(folders / "tiny")).predict(IMAGE).id_map
    assert np.array_equal(load_model(str(folder)).predict(IMAGE).id_map, wanted)
    assert sorted(os.listdir(folder)) == sorted(pickled(folders / "tiny")), "nothing is added to it"
    (made,) = (tmp_path / "cache/seg-demo/converted").iterdir()
    write(pickled(folders / "tiny"), folder)
    load_model(str(folder))
    assert [path.name for path in (tmp_path / "cache/seg-demo/converted").iterdir()] == [made.name]
    monkeypatch.setattr(untrusted, "LIMIT", 0)
    shutil.copytree(folder, tmp_path / "again")
    (tmp_path / "again/extra.json").write_text("{}")
    load_model(str(tmp_path / "again"))
    assert len(list((tmp_path / "cache/seg-demo/converted").iterdir())) == 1, "the least recently used one gave way"


def test_training_reads_none_either_and_keeps_no_process_waiting(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write(pickled(folders / "other"), tmp_path / "model")
    begun = start(Config(model=str(folder)), lambda task: TWO)
    wanted = SegFormer.load(folders / "other").module.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in begun.checkpoint.module.state_dict().items())
    assert untrusted._sandbox._process is None


def test_torchvisions_files_go_through_the_child_too(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "net-01234567.pth").write_bytes(saved({"a": torch.arange(3)}))
    made = untrusted.converted_file(tmp_path / "net-01234567.pth")
    assert torch.equal(load_file(made)["a"], torch.arange(3)) and untrusted.converted_file(tmp_path / "net-01234567.pth") == made

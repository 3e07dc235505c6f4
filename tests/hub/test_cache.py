"""Models that visitors typed take a bounded part of the disk: who goes, who stays, and that nobody else's does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from seg_demo.core import storage
from seg_demo.core.errors import BadCheckpointError, BusyError, StorageError
from seg_demo.core.settings import Settings, settings
from seg_demo.hub import cache, lookup
from seg_demo.serving.predictor import Predictor
from tests.checkpoints import IMAGE
from tests.served import ROOT
from tests.hub.test_lookup import spec

SIZE = 100_000
FILES = {"config.json": b'{"model_type": "segformer"}', "model.safetensors": bytes(SIZE)}


@pytest.fixture
def room(monkeypatch):
    """Call it with the bytes that visitors' models may take."""

    def begin(most: int) -> None:
        monkeypatch.setenv("SEG_DEMO_VISITOR_MODELS_BYTES", str(most))
        settings.cache_clear()

    yield begin
    monkeypatch.undo()
    settings.cache_clear()


def weights(seed: int) -> dict[str, bytes]:
    return {**FILES, "model.safetensors": bytes([seed]) * SIZE}


def fetch(hub, name: str, seed: int, token: bool = False, **options) -> Path:
    hub.add_repo(name, weights(seed))
    return lookup.fetch(spec(name), token=token, **options)


def age(name: str, seconds: float) -> None:
    """Make a visitor's model one that was last used so long ago."""
    for path in (cache.repo_folder(name) / ".visitors").iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def here(*names: str) -> list[bool]:
    return [any(cache.repo_folder(name).glob("snapshots/*/model.safetensors")) for name in names]


def used() -> int:
    files = (path for path in Path(os.environ["HF_HOME"]).rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


def test_the_least_recently_used_goes_first(hub, room):
    room(int(2.5 * SIZE))
    fetch(hub, "ann/a", 1)
    fetch(hub, "ann/b", 2)
    age("ann/a", 200)
    age("ann/b", 100)
    lookup.fetch(spec("ann/a"), token=False)
    fetch(hub, "ann/c", 3)
    assert here("ann/a", "ann/b", "ann/c") == [True, False, True], "b was used before a"
    assert not cache.repo_folder("ann/b").exists()
    assert used() < 2.5 * SIZE
    assert lookup.fetch(spec("ann/b"), token=False).is_dir(), "it is fetched again when it is asked for"


def test_the_owners_models_and_the_menu_stay_and_do_not_count(hub, room):
    room(int(1.5 * SIZE))
    fetch(hub, "own/fetched", 1, token=True)
    fetch(hub, "own/menu", 2)
    age("own/menu", 100)
    fetch(hub, "ann/x", 3, owners=[("own/menu", "main")])
    assert here("own/fetched", "own/menu", "ann/x") == [True, True, True], "the menu is the owner's, whoever fetched it"
    lookup.fetch(spec("ann/x"), token=True)
    fetch(hub, "ann/y", 4)
    assert here("ann/x", "ann/y") == [True, True], "what the owner asks for is the owner's from then on"
    fetch(hub, "ann/z", 5)
    assert here("own/fetched", "own/menu", "ann/x", "ann/y", "ann/z") == [True, True, True, False, True]


def test_what_was_looked_at_first_is_a_visitors_too(hub, room):
    room(int(1.5 * SIZE))
    hub.add_repo("own/menu", weights(9))
    lookup.look(spec("own/menu"))
    lookup.fetch(spec("own/menu"), token=True)
    for number in range(3):
        hub.add_repo(f"ann/{number}", weights(number))
        lookup.look(spec(f"ann/{number}"), token=False)
        assert used() < 3.5 * SIZE
        lookup.fetch(spec(f"ann/{number}"), token=False)
        age(f"ann/{number}", 100 - number)
    assert here("own/menu", "ann/0", "ann/1", "ann/2") == [True, False, False, True]
    # Of what is arriving the promise stays.
    mark = cache.marker("ann/2", lookup.look(spec("ann/2"), token=False)[0].sha)
    mark.write_text("7", encoding="ascii")
    lookup.look(spec("ann/2"), token=False)
    assert mark.read_text(encoding="ascii") == "7"


def test_what_was_there_before_is_never_a_visitors(hub, room):
    hub.add_repo("ann/other", weights(1))
    room(int(1.5 * SIZE))
    program = "import huggingface_hub, sys; print(huggingface_hub.snapshot_download('ann/other', token=False))"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    lookup.fetch(spec("ann/other"), token=False)
    for number in range(3):
        fetch(hub, f"ann/{number}", 10 + number)
    assert here("ann/other", "ann/2") == [True, True]


def test_revisions_of_one_repository_go_one_by_one_and_share_what_they_share(hub, room):
    room(int(2.5 * SIZE))
    folders = []
    for number in range(4):
        hub.add_repo("ann/model", {**weights(number), "shared.json": b'{"shared": 1}'})
        lookup.forget()
        folders.append(lookup.fetch(spec("ann/model"), token=False))
        age("ann/model", 100)
    assert [folder.is_dir() for folder in folders] == [False, False, True, True]
    assert (folders[-1] / "shared.json").read_bytes() == b'{"shared": 1}'
    assert used() < 2.5 * SIZE
    assert lookup.fetch(spec("ann/model"), token=False) == folders[-1]


def test_what_can_never_fit_is_refused_before_it_is_fetched(hub, room, monkeypatch):
    room(SIZE // 2)
    with pytest.raises(BadCheckpointError, match="SEG_DEMO_VISITOR_MODELS_BYTES"):
        fetch(hub, "ann/a", 1)
    room(10 * SIZE)
    usage = namedtuple("usage", "total used free")(10**9, 0, 10**9 // 20 + SIZE // 2)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match="no room for ann/a"):
        fetch(hub, "ann/a", 1)
    assert hub.count("GET .*/resolve/") == 0
    assert fetch(hub, "ann/b", 1, token=True).is_dir(), "the owner's own decision is the owner's"


def test_what_is_in_use_stays_also_in_another_process(hub, room):
    room(int(1.5 * SIZE))
    fetch(hub, "ann/a", 1)
    program = (
        "from seg_demo.hub import cache as hub_locks\n"
        "with hub_locks.held('ann/a'):\n    print('held', flush=True)\n    input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert other.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match="all of them are in use"):
        fetch(hub, "ann/b", 2)
    assert here("ann/a", "ann/b") == [True, False]
    other.communicate("\n", timeout=30)
    assert lookup.fetch(spec("ann/b"), token=False).is_dir()
    assert here("ann/a", "ann/b") == [False, True]


def test_processes_that_make_room_at_once_keep_to_it_and_serve_whole_files(hub, room):
    most = int(3.5 * SIZE)
    room(most)
    for number in range(8):
        hub.add_repo(f"ann/{number}", weights(number))
    program = (
        "import sys, json\nfrom seg_demo.core.errors import BusyError\nfrom seg_demo.hub import lookup as hub\n"
        "from seg_demo.core.types import ModelSpec\nserved = busy = 0\n"
        "for step in range(16):\n"
        "    number = (step * int(sys.argv[1])) % 8\n"
        "    name = f'ann/{number}'\n"
        "    try:\n"
        "        with hub.held(name):\n            pass\n"
        "        folder = hub.fetch(ModelSpec(name, None, 'semantic', '', name, '', 'hub'), token=False)\n"
        "        with hub.held(name):\n"
        "            if folder.is_dir():\n"
        "                assert (folder / 'model.safetensors').read_bytes() == bytes([number]) * 100_000\n"
        "                served += 1\n"
        "    except BusyError:\n        busy += 1\n"
        "print(json.dumps([served, busy]))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, step], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for step in ("1", "3")
    ]
    for process in running:
        served, busy = json.loads(process.communicate(timeout=120)[0])
        assert process.returncode == 0 and served >= 8 and served + busy <= 16
    assert used() <= most


def test_a_visitors_model_works_on_after_it_was_removed_for_others(hub, folders, room, loads):
    sound = {path.name: path.read_bytes() for path in (folders / "tiny").iterdir()}
    size = sum(len(data) for name, data in sound.items() if name.endswith((".json", ".safetensors")))
    room(int(1.5 * size))
    hub.add_repo("ann/a", sound)
    hub.add_repo("ann/b", {**sound, "extra.json": b"{}"})
    predictor = Predictor(replace(Settings(), quarantine=False))
    for name in ("ann/a", "ann/b", "ann/a"):
        assert predictor.segment(IMAGE, name).height == IMAGE.shape[0]
    assert here("ann/a", "ann/b") == [True, False]
    assert used() <= 1.5 * size


def test_a_cache_without_locks_keeps_what_was_used_within_the_hour(hub, room, monkeypatch):
    monkeypatch.setattr("seg_demo.core.storage.fcntl", None)
    monkeypatch.setattr(cache, "LOCKS_KNOWN", False)
    room(int(1.5 * SIZE))
    fetch(hub, "ann/a", 1)
    with pytest.raises(BusyError):
        fetch(hub, "ann/b", 2)
    age("ann/a", cache.RECENT_SECONDS + 1)
    assert lookup.fetch(spec("ann/b"), token=False).is_dir() and here("ann/a") == [False]


def test_a_model_that_is_removed_while_it_is_checked_is_fetched_again(hub, folders, monkeypatch):
    """Another process that makes room does so between any two looks at a file."""
    hub.add_repo("ann/fleeting", folders / "tiny")
    predictor = Predictor(replace(Settings(), quarantine=False))
    expected = predictor.segment(IMAGE, "ann/fleeting").id_map
    real, gone = os.readlink, []

    def removed(path, *more):
        if not gone and "fleeting" in str(path):
            gone.append(path)
            shutil.rmtree(cache.repo_folder("ann/fleeting"))
        return real(path, *more)

    for place in ("find", "identity"):
        gone.clear()
        cache.forget()
        (folder,) = (cache.repo_folder("ann/fleeting") / "snapshots").iterdir()
        with monkeypatch.context() as patch:
            patch.setattr(os, "readlink", removed)
            if place == "find":
                assert not cache.intact(folder)
            else:
                patch.setattr(cache, "intact", lambda folder: True)
                fresh = Predictor(Settings())
                assert (fresh.segment(IMAGE, "ann/fleeting").id_map == expected).all()
        assert gone
        Predictor(replace(Settings(), quarantine=False)).segment(IMAGE, "ann/fleeting")

"""Collected datasets are never lost: deaths at every step, a full disk, threads, visitors and their names."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from seg_demo.core import storage
from seg_demo.core.errors import BadRequestError, DataError, StorageError
from seg_demo.core.settings import settings
from seg_demo.core.types import LabelSet
from seg_demo.datasets.dataset import is_stem, stem_of
from seg_demo.datasets.sample import Facts
from seg_demo.datasets.store import Store, may_collect, visitor_store
from tests.datasets.test_dataset import label_map, look, objects
from tests.small_datasets import picture

KEY = "k" * 43


@pytest.mark.parametrize("step", range(12))
def test_a_death_at_any_step_leaves_the_old_state_or_the_new(tmp_path, monkeypatch, step):
    dataset = Store(tmp_path).create("d", ["coin", "note"], "instance")
    mask, instances = objects(0)
    dataset.add(picture(0), mask, instances=instances, name="a")
    other = np.where(instances == 300, 0, instances), np.where(instances == 300, 0, mask)

    class Death(BaseException):
        pass

    calls = {"left": step}

    def dies(real):
        def call(*arguments, **named):
            calls["left"] -= 1
            if calls["left"] < 0:
                raise Death
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dies(os.replace))
        patched.setattr(os, "fsync", dies(os.fsync))
        # A killed process tidies nothing up.
        patched.setattr(storage.shutil, "rmtree", lambda *_, **__: None)
        try:
            dataset.replace("a", other[1], Facts(5, 5), instances=other[0])
            died = False
        except Death:
            died = True
    del dataset
    fresh = Store(tmp_path).open("d")
    _, stored, numbers = fresh.read("a")
    new = fresh.sample("a").facts == Facts(5, 5)
    assert np.array_equal(stored, other[1] if new else mask) and np.array_equal(numbers, other[0] if new else instances)
    assert new or died
    assert {path.name for path in fresh.path.iterdir()} == {
        "images", "masks", "instances", "facts", "thumbnails", "dataset.json", "labels.json",
    }  # fmt: skip


def test_a_full_disk_changes_nothing_and_says_so(tmp_path, monkeypatch):
    dataset = Store(tmp_path).create("d", ["cell"], "semantic")
    dataset.add(picture(0), label_map(0, 24, 32, 2), name="a")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="disk is full, so nothing was saved"):
            dataset.add(picture(1), label_map(1, 24, 32, 2), name="b")
    assert [sample.stem for sample in dataset.samples()] == ["a"] and not list(dataset.path.glob(".*"))


BAD_NAMES = ["../x", "/etc/passwd", "a/../../b", "..", ".", "", "a\0b", "C:\\x", ".hidden", "con", "\u202ex"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_never_leave_the_folder(tmp_path, name):
    store = Store(tmp_path / "root")
    dataset = store.create("d", ["cell"], "semantic")
    saved = dataset.add(picture(0), label_map(0, 24, 32, 2), name=name)
    assert is_stem(saved.stem) and saved.image.parent == dataset.path / "images"
    for ask in (store.open, store.delete, dataset.sample, dataset.delete, dataset.read):
        with pytest.raises(BadRequestError):
            ask(name)
    if name.strip() and name.isprintable():
        assert store.create(name, ["cell"], "semantic").path.parent == store.root
    assert {path.name for path in tmp_path.iterdir()} == {"root"}


def test_stems_are_stable():
    for name in ("a" * 300, "字" * 300, "a--b..c", "Ünïcode", "x.tar.gz", "-a-", "nul.txt"):
        stem = stem_of(name)
        assert stem_of(stem) == stem and is_stem(stem) and is_stem(f"{stem}-99999") and len(stem.encode()) < 245


def test_threads_that_save_at_once_lose_nothing(tmp_path):
    store = Store(tmp_path)
    store.create("d", ["cell"], "semantic")

    def work(number: int) -> None:
        store.open("d").add(picture(number), label_map(number, 24, 32, 2), name="same")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(look(store.open("d").path)) == 8


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """The folder of visitors' datasets of this test; settings are read again before and after."""
    monkeypatch.setenv("SEG_DEMO_DATA", str(tmp_path / "data"))
    settings.cache_clear()
    yield tmp_path / "data"
    monkeypatch.undo()
    settings.cache_clear()


def test_visitors_have_folders_of_their_own_that_do_not_tell_their_keys(data_folder):
    visitor_store(KEY).create("mine", ["cell"], "semantic")
    assert [dataset.key for dataset in visitor_store(KEY).list()] == ["mine"]
    assert visitor_store(KEY[:-1] + "x").list() == []
    assert KEY not in "".join(str(path) for path in data_folder.rglob("*"))
    for key in ("", "short", "../" + KEY, KEY + "/", None, KEY + "\n", ["x"]):
        with pytest.raises(BadRequestError):
            visitor_store(key)


def test_a_visitors_share_of_the_disk_ends(data_folder, monkeypatch):
    monkeypatch.setenv("SEG_DEMO_DATA_BYTES", "9000")
    settings.cache_clear()
    dataset = visitor_store(KEY).create("mine", ["cell"], "semantic")
    dataset.add(picture(0), label_map(0, 24, 32, 2))
    with pytest.raises(StorageError, match="left of the space that each visitor has"):
        for index in range(5):
            dataset.add(picture(index), label_map(index, 24, 32, 2))
    count = len(dataset)
    assert 1 <= count < 5 and sum(path.stat().st_size for path in data_folder.rglob("*") if path.is_file()) <= 9000
    dataset.delete(dataset.samples()[0].stem)
    assert len(dataset) == count - 1


def test_a_public_space_stores_nothing_unless_its_owner_says_so(data_folder, monkeypatch):
    assert may_collect()
    monkeypatch.setenv("SPACE_ID", "ann/demo")
    assert not may_collect()
    with pytest.raises(BadRequestError, match="SEG_DEMO_COLLECT=on"):
        visitor_store(KEY)
    monkeypatch.setenv("SEG_DEMO_COLLECT", "on")
    settings.cache_clear()
    assert may_collect() and visitor_store(KEY).list() == []


def test_stores_and_class_lists(tmp_path):
    store = Store(tmp_path)
    assert store.list() == []
    first, second = store.create("Same", ["a"], "semantic"), store.create("same", ["a"], "semantic")
    assert (first.key, second.key) == ("Same", "same-2")
    first.add(picture(0), label_map(0, 24, 32, 2))
    assert [dataset.key for dataset in store.list()] == ["Same", "same-2"]
    store.delete("Same")
    assert [dataset.key for dataset in store.list()] == ["same-2"] and not list(tmp_path.glob(".*"))
    (tmp_path / "same-2" / "dataset.json").rename(tmp_path / "kept.json")
    assert store.list() == [], "what is no dataset is passed over"
    (tmp_path / "same-2" / "dataset.json").write_text("{")
    third = store.create("third", ["a"], "semantic")
    assert [dataset.key for dataset in store.list()] == ["third"], "a damaged one does not hide the others"
    with pytest.raises(StorageError, match="missing or damaged"):
        store.open("same-2")
    (tmp_path / "kept.json").rename(tmp_path / "same-2" / "dataset.json")
    before = third.changed
    third.add(picture(1), label_map(1, 24, 32, 2))
    assert third.changed > before and [dataset.key for dataset in store.list()] == ["third", "same-2"]
    coco = store.create("coco", LabelSet.from_names(("__background__", "cat", "N/A", "N/A"), 0), "semantic")
    assert coco.labels.names == ("__background__", "cat", "N/A", "N/A 2")
    many = [str(number) for number in range(255)]
    for names, why in ((["a" * 81], "cannot be used as a class name"), ([" "], "cannot be used as a class name"), ([], "at least one"), (many, "at most 255")):
        with pytest.raises(DataError, match=why):
            store.create("x", names, "semantic")
    with pytest.raises(DataError, match="there would be 257"):
        store.open("same-2").add_classes(many)
    for name, task in (("  ", "semantic"), ("x", "region")):
        with pytest.raises(BadRequestError):
            store.create(name, ["a"], task)

"""Collected datasets on disk: what is saved is what training reads, nothing is lost, visitors stay apart."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg_demo.annotations.convert import pictures_of
from seg_demo.annotations.dataset import as_objects, labels_for, task_in
from seg_demo.core.errors import BadImageError, BadRequestError, DataError
from seg_demo.core.settings import Settings
from seg_demo.core.types import INSTANCE, PANOPTIC, LabelSet, Segmentation, distinct_colors
from seg_demo.datasets import store
from seg_demo.datasets.sample import Facts
from seg_demo.datasets.store import Store
from seg_demo.gateway.visitor import Upload
from seg_demo.ui import correct_tab
from tests.small_datasets import picture
from train import finetune
from train.data import open_dataset

ROOT = Path(__file__).parents[2]


def label_map(index: int, height: int, width: int, classes: int) -> np.ndarray:
    """uint8 (height, width): every class id, and 255 here and there."""
    rng = np.random.default_rng(index)
    mask = rng.integers(0, classes, (height, width), dtype=np.uint8)
    mask[rng.random((height, width)) < 0.05] = 255
    return mask


def objects(index: int, height: int = 24, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Class ids and object numbers: two objects of class 1 that touch, one of class 2, with gaps in their numbers."""
    mask, instances = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16)
    for number, label, (x0, x1) in ((1, 1, (2, 8)), (3, 1, (8, 14)), (300, 2, (18 + index % 4, 28))):
        mask[4:16, x0:x1], instances[4:16, x0:x1] = label, number
    return mask, instances


def look(path: Path):
    return open_dataset(str(path), seed=0, size=None, workers=2, progress=False)


def test_semantic_samples_are_read_by_training_as_they_were_saved(tmp_path):
    dataset = Store(tmp_path).create("Cells & more", ["cell", "border"], "semantic")
    assert dataset.key == "Cells-more" and dataset.labels.names == ("background", "cell", "border")
    shapes = [(1, 1), (5, 3), (24, 33), (17, 64)]
    for index, (height, width) in enumerate(shapes):
        mask = label_map(index, height, width, 3)
        dataset.add(picture(index, height, width), mask, Facts(12.5, 7, 0.25, "unet-cells"), name=f"photo {index}.v2")
    seen = look(dataset.path)
    assert not seen.faults and not seen.unclear and seen.kind == "semantic"
    assert seen.labels == dataset.labels, "names, colours and background survive"
    for item in seen.items:
        index = int(item.name.split("-")[-1].split(".")[0])
        sample = seen.read(item)
        assert np.array_equal(sample.image, picture(index, *shapes[index]))
        assert np.array_equal(sample.label_map, label_map(index, *shapes[index], 3))
    again = Store(tmp_path).open("Cells-more")
    first = again.sample("photo-2.v2")
    assert (first.width, first.height, first.name, first.facts) == (33, 24, "photo 2.v2", Facts(12.5, 7, 0.25, "unet-cells"))
    mask = label_map(2, 24, 33, 3)
    assert first.pixels == {label: int((mask == label).sum()) for label in range(3)}
    assert max(Image.open(first.thumbnail).size) <= 192
    image, stored, none = again.read("photo-2.v2")
    assert np.array_equal(image, picture(2, 24, 33)) and np.array_equal(stored, mask) and none is None


def test_objects_are_read_by_training_as_they_were_saved(tmp_path):
    dataset = Store(tmp_path).create("coins", LabelSet.from_names(("background", "coin", "note"), 0), "instance")
    for index in range(4):
        mask, instances = objects(index)
        saved = dataset.add(picture(index), mask, instances=instances, name=str(index))
        assert saved.objects == 3
    empty = np.zeros((24, 32), np.uint8)
    assert dataset.add(picture(9), empty, instances=empty, name="9").objects == 0
    seen = look(dataset.path)
    assert not seen.faults and not seen.unclear and seen.kind == "instance" and seen.labels == dataset.labels
    for item in seen.items[:4]:
        mask, instances = objects(int(item.name.split("/")[-1]))
        sample = seen.read(item)
        assert np.array_equal(sample.label_map, mask)
        assert np.array_equal(sample.instance_map, np.searchsorted([0, 1, 3, 300], instances))


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_the_training_command_accepts_what_was_saved(tmp_path, task, capsys):
    dataset = Store(tmp_path / "data").create("mine", ["coin", "note"], task)
    for index in range(4):
        mask, instances = objects(index, 64, 64)
        dataset.add(picture(index, 64, 64), mask, instances=instances if task == "instance" else None)
    model = "unet" if task == "semantic" else "maskrcnn"
    command = ["--data", str(dataset.path), "--model", model, "--output", str(tmp_path / "run"), "--dry-run"]
    assert finetune.main([*command, "--from-scratch", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["data"]["classes"] == ["background", "coin", "note"]
    assert facts["data"]["train_images"] + facts["data"]["val_images"] == 4


def test_of_a_panoptic_result_things_stay_things_and_stuff_stays_stuff(tmp_path):
    labels = LabelSet(("sky", "Cell", "cell", "grass"), distinct_colors(4), None, np.array([False, True, False, False]))
    found = Segmentation("panoptic", 24, 32, labels, np.zeros((24, 32), np.uint16), ())
    dataset = Store(tmp_path).create("mixed", correct_tab.labels_of(found), "instance")
    assert dataset.labels.names == ("background", "sky", "Cell", "grass") and dataset.labels.things.tolist() == [False, False, True, False]
    assert dataset.add_classes(["tree"]).things.tolist() == [False, False, True, False, True]
    # Two cells that touch, sky in two pieces of which a person drew one as an object, grass as none.
    mask, instances = np.zeros((24, 32), np.uint8), np.zeros((24, 32), np.uint16)
    mask[:4], mask[20:, :10], mask[20:, 10:] = 1, 1, 3
    mask[8:16, 4:20], instances[8:16, 4:12], instances[8:16, 12:20], instances[:4] = 2, 1, 2, 5
    for index in range(4):
        dataset.add(picture(index), mask, instances=instances)
    seen = look(Store(tmp_path).open("mixed").path)
    assert seen.kind == "panoptic" and seen.labels == dataset.labels and [seen.labels.names[thing] for thing in seen.things] == ["Cell", "tree"]
    assert task_in(seen, (PANOPTIC, INSTANCE)) is PANOPTIC and "2 classes of things (each object by itself) and 3 of stuff" in str(seen.notes[0])
    sample = as_objects(seen.read(seen.items[0]), seen, "panoptic")
    assert np.array_equal(sample.instance_map, np.where(instances == 5, 0, instances)) and np.array_equal(sample.label_map, mask)
    assert sample.instance_labels[[1, 2]].tolist() == [2, 2]
    # As objects alone, only things are learnt; and with the other tools' formats it goes out whole.
    assert labels_for(seen, "instance").names == ("background", "Cell", "tree")
    pictures = pictures_of(str(dataset.path))
    one = pictures.annotated(pictures.items[0]).segmentation
    assert [one.labels.names[segment.label_id] for segment in one.segments] == ["Cell", "Cell", "background", "sky", "grass"]
    (dataset.path / "labels.json").write_text('{"id2label": {"0": "background", "1": "sky"}, "things": ["moon"]}')
    with pytest.raises(DataError, match="lists 'moon' among its \"things\""):
        look(dataset.path)


@pytest.mark.soak
@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_the_training_command_as_it_is_typed(tmp_path, task):
    dataset = Store(tmp_path / "data").create("mine", ["coin"], task)
    mask, instances = objects(0, 64, 64)
    for index in range(4):
        dataset.add(picture(index, 64, 64), np.minimum(mask, 1), instances=instances if task == "instance" else None)
    command = [sys.executable, "train/finetune.py", "--data", str(dataset.path), "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "coin" in done.stdout and "Nothing was started" in done.stdout


def test_a_zip_is_a_dataset_of_its_own(tmp_path):
    dataset = Store(tmp_path / "data").create("coins", ["coin", "note"], "instance")
    for index in range(3):
        mask, instances = objects(index)
        dataset.add(picture(index), mask, Facts(60, 3), instances=instances, name="Münze")
    target = dataset.zip()
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "out")
        rows = [json.loads(line) for line in archive.read("metadata.jsonl").decode().splitlines()]
    target.unlink()
    assert [row["file_name"] for row in rows] == ["images/Münze.png", "images/Münze-2.png", "images/Münze-3.png"]
    assert rows[0]["seconds"] == 60 and rows[0]["strokes"] == 3
    seen, here = look(tmp_path / "out"), look(dataset.path)
    assert not seen.faults and seen.digest == here.digest
    assert "3 images with 9 objects" in (tmp_path / "out" / "README.md").read_text()


def test_the_datasets_library_reads_the_export(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    dataset = Store(tmp_path / "data").create("coins", ["coin", "note"], "instance")
    mask, instances = objects(0)
    dataset.add(picture(0), mask, instances=instances)
    with zipfile.ZipFile(dataset.zip(tmp_path / "d.zip")) as archive:
        archive.extractall(tmp_path / "out")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert np.array_equal(np.asarray(loaded[0]["image"]), picture(0)) and np.array_equal(np.asarray(loaded[0]["mask"]), mask)
    assert np.array_equal(np.asarray(loaded[0]["instances"]), instances)


def test_replace_delete_and_new_classes(tmp_path):
    dataset = Store(tmp_path).create("d", ["cell"], "semantic")
    for index in range(3):
        dataset.add(picture(index), label_map(index, 24, 32, 2), name="Same")
    assert sorted(sample.stem for sample in dataset.samples()) == ["Same", "Same-2", "Same-3"]
    with pytest.raises(DataError, match="holds 2, but the dataset's classes are numbered from 0 to 1"):
        dataset.replace("Same", label_map(0, 24, 32, 3), Facts())
    before = dataset.labels.colors
    assert dataset.add_classes(["Cell", "  wall ", "wall"]).names == ("background", "cell", "wall")
    assert np.array_equal(dataset.labels.colors[:2], before)
    dataset.replace("Same", label_map(7, 24, 32, 3), Facts(1, 1))
    assert dataset.samples()[0].stem == "Same", "the last changed comes first"
    dataset.delete("Same-2")
    assert len(dataset) == 2 and not list(dataset.path.rglob("Same-2*"))
    fresh = Store(tmp_path).open("d")
    assert np.array_equal(fresh.read("Same")[1], label_map(7, 24, 32, 3))
    assert np.array_equal(fresh.read("Same")[0], picture(0))
    assert len(look(dataset.path)) == 2 and not look(dataset.path).faults


@pytest.mark.parametrize(
    ("mask", "instances", "why"),
    [
        (np.zeros((24, 31), np.uint8), None, "the size of its image"),
        (np.zeros((24, 32), np.float32), None, "whole numbers"),
        (np.full((24, 32), 3, np.uint8), None, "holds 3"),
        (np.full((24, 32), -1, np.int16), None, "holds -1"),
        (np.full((24, 32), 256 + 1, np.uint16), None, "holds 257"),
        (np.zeros((24, 32), np.uint8), np.zeros((24, 32), np.uint16), "takes a mask alone"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(tmp_path, mask, instances, why):
    dataset = Store(tmp_path).create("d", ["cell", "wall"], "semantic")
    with pytest.raises(DataError, match=why):
        dataset.add(picture(0), mask, instances=instances)
    with pytest.raises(BadImageError):
        dataset.add(b"no image", np.zeros((24, 32), np.uint8))
    assert len(dataset) == 0 and not list((dataset.path / "masks").iterdir())


def test_objects_need_one_class_each(tmp_path):
    dataset = Store(tmp_path).create("d", ["coin", "note"], "instance")
    mask, instances = objects(0)
    for change, why in (
        (lambda m, i: m.__setitem__((5, 3), 2), "more than one class"),
        (lambda m, i: m.__setitem__(i == 3, 0), "no class of its own"),
        (lambda m, i: m.__setitem__(i == 3, 255), "no class of its own"),
    ):
        spoilt = mask.copy()
        change(spoilt, instances)
        with pytest.raises(DataError, match=why):
            dataset.add(picture(0), spoilt, instances=instances)
    with pytest.raises(DataError, match="numbered from 1 to 65534"):
        dataset.add(picture(0), mask, instances=np.where(instances == 300, 65_535, instances))
    with pytest.raises(DataError, match="instance map beside"):
        dataset.add(picture(0), mask)
    with pytest.raises(DataError, match="needs a background class"):
        Store(tmp_path).create("e", LabelSet.from_names(["coin"]), "instance")


def test_a_push_brings_the_dataset_and_takes_away_what_is_gone(hub, tmp_path, caplog):
    hub.add_user("ann", "hf_ann")
    dataset = Store(tmp_path).create("Coins", ["coin", "note"], "instance")
    with pytest.raises(BadRequestError, match="no samples yet"):
        dataset.push("ann/coins", "hf_ann")
    for index in range(3):
        mask, instances = objects(index)
        dataset.add(picture(index), mask, instances=instances, name=str(index))
    with pytest.raises(BadRequestError, match="does not accept the login token"):
        dataset.push("ann/coins", "hf_wrong")
    with pytest.raises(BadRequestError, match="is not the name of a repository"):
        dataset.push("../coins", "hf_ann")
    sha = dataset.push("ann/coins", "hf_ann")
    repo = hub.repos["dataset", "ann/coins"]
    assert repo.private
    there = {name: data for name, data in repo.commits[sha].items() if name != ".gitattributes"}
    assert set(there) == {"README.md", "labels.json", "metadata.jsonl"} | {
        f"{folder}/{index}.png" for folder in ("images", "masks", "instances") for index in range(3)
    }
    assert there["masks/1.png"] == dataset.sample("1").mask.read_bytes()
    dataset.delete("1")
    later = repo.commits[dataset.push("ann/coins", "hf_ann")]
    assert "images/1.png" not in later and "masks/1.png" not in later and "images/2.png" in later
    assert "hf_ann" not in caplog.text and "hf_wrong" not in caplog.text


def test_nothing_is_made_for_a_browser_whose_key_is_not_known_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "settings", lambda: Settings(data=str(tmp_path / "data"), collect="on"))
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(picture)
    sent = ("mine", "semantic", "cell", Upload(picture, "a"), "blank", None, None, [], None, None)
    assert "Try again in a moment" in correct_tab.open_new(None, correct_tab.NEW, *sent)[0].text
    assert not (tmp_path / "data").exists()
    assert correct_tab.open_new("k" * 40, correct_tab.NEW, *sent)[0].dataset_name == "mine"

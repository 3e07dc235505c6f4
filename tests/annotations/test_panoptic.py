"""COCO panoptic data: found from the files, read by panopticapi's rules, its faults a sentence each; learnt by networks of every task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg_demo.annotations.dataset import as_objects, labels_for, task_in
from seg_demo.core.errors import DataError
from seg_demo.core.types import INSTANCE, PANOPTIC, SEMANTIC
from tests.annotations.test_coco_objects import look
from tests.small_datasets import coco, panoptic, save, save_turned, write_json
from train import finetune
from train.metrics import true_segments


def ids_of(path: Path) -> np.ndarray:
    """As panopticapi's ``rgb2id`` has them."""
    color = np.array(Image.open(path), dtype=np.uint32)
    return color[:, :, 0] + 256 * color[:, :, 1] + 256 * 256 * color[:, :, 2]


@pytest.mark.parametrize("named", ["", "annotations/panoptic_all.json"])
def test_maps_are_what_json_and_png_say(tmp_path: Path, named: str) -> None:
    data = panoptic(tmp_path)
    dataset, found = look(tmp_path / named)
    assert found.ok and dataset.kind == "panoptic" and len(dataset) == 6
    # In the order of their ids; the one that nothing has is left out.
    assert dataset.labels.names == ("sky", "disc", "ground") and dataset.labels.background is None
    assert dataset.labels.things.tolist() == [False, True, False] and dataset.things == (1,)
    assert dataset.labels.colors.tolist() == [[70, 130, 180], [220, 20, 60], [107, 142, 35]]
    labels = {3: 0, 7: 1, 21: 2}
    for item, entry in zip(dataset.items, data["annotations"], strict=True):
        sample, ids = dataset.read(item), ids_of(tmp_path / "annotations" / "panoptic_all" / entry["file_name"])
        things = []
        for info in entry["segments_info"]:
            mask, label_id = ids == info["id"], labels[info["category_id"]]
            if info.get("iscrowd"):
                assert (sample.label_map[mask] == 255).all() and (sample.crowd[mask] == label_id + 1).all()
                continue
            assert (sample.label_map[mask] == label_id).all()
            numbers = np.unique(sample.instance_map[mask]).tolist()
            assert (numbers == [0]) == (label_id != 1) and len(numbers) == 1
            things += [number for number in numbers if number]
            assert all(sample.instance_labels[number] == 1 for number in numbers if number)
        assert sorted(things) == [1, 2] and (sample.label_map[ids == 0] == 255).all()
        assert (sample.crowd is not None) == (item.name == "0.png")
    assert sum(found.class_pixels) == sum(np.count_nonzero(dataset.read(item).label_map < 255) for item in dataset.items)


def test_a_network_learns_of_it_what_its_task_is(tmp_path: Path) -> None:
    panoptic(tmp_path)
    dataset, _ = look(tmp_path)
    assert task_in(dataset, (INSTANCE, PANOPTIC, SEMANTIC)) is PANOPTIC
    assert task_in(dataset, (SEMANTIC,)) is SEMANTIC and task_in(dataset, (INSTANCE,)) is INSTANCE
    assert labels_for(dataset, "semantic") == labels_for(dataset, "panoptic") == dataset.labels
    assert labels_for(dataset, "instance").names == ("background", "disc")
    sample = dataset.read(dataset.items[0])
    assert as_objects(sample, dataset).instance_labels.tolist() == [0, 1, 1]
    whole = as_objects(sample, dataset, "panoptic")
    truth = true_segments(whole, dataset.labels)
    assert sorted(truth.label_ids.values()) == [0, 1, 1, 1, 2] and len(truth.crowds) == 1
    counts = {label: 0 for label in range(3)}
    for identity, label_id in truth.label_ids.items():
        counts[label_id] += identity not in truth.crowds and np.count_nonzero(truth.ids == identity)
    assert counts == {label: np.count_nonzero(sample.label_map == label) for label in range(3)}
    assert ((truth.ids == 0) == ((sample.label_map == 255) & (sample.crowd == 0))).all()


def test_splits_are_those_of_the_files(tmp_path: Path) -> None:
    for name in ("train2017", "val2017"):
        panoptic(tmp_path / name, 3)
        shutil.move(tmp_path / name / "annotations" / "panoptic_all", tmp_path / "annotations" / f"panoptic_{name}")
        shutil.move(tmp_path / name / "annotations" / "panoptic_all.json", tmp_path / "annotations" / f"panoptic_{name}.json")
        for path in (tmp_path / name / "all").iterdir():
            shutil.move(path, tmp_path / name / path.name)
    dataset, found = look(tmp_path)
    assert [item.split for item in dataset.items] == ["train"] * 3 + ["val"] * 3
    # The same pictures stand on both sides here, which the doctor says of these as of any.
    assert {fault.kind for fault in found.faults} == {"duplicate across the split"}


def test_objects_come_first_where_both_are_there(tmp_path: Path) -> None:
    panoptic(tmp_path)
    write_json(coco(tmp_path), tmp_path / "annotations" / "instances_all.json")
    dataset, _ = look(tmp_path)
    assert dataset.kind == "instance" and any("panoptic_all.json" in str(note) for note in dataset.notes)


def broken(root: Path, change) -> Path:
    """The data with its JSON, or its first PNG, changed."""
    data = panoptic(root)
    change(data, root / "annotations" / "panoptic_all" / "1.png")
    write_json(data, root / "annotations" / "panoptic_all.json")
    return root


def repaint(path: Path, old: int, new: int) -> None:
    ids = ids_of(path)
    ids[ids == old] = new
    save(np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8), path)


FAULTS = {
    "an id that no entry has": (lambda data, png: repaint(png, 0, 77), "unlisted segment", "1 ids that no segment of the JSON has, such as 77"),
    "a segment of no pixel": (lambda data, png: repaint(png, 1, 70_000), "segment without pixels", "such as id 1"),
    "a category that is missing": (
        lambda data, png: data["annotations"][1]["segments_info"].append({"id": 5, "category_id": 99}), "unknown category id", "category id 99",
    ),
    "a PNG that is missing": (lambda data, png: png.unlink(), "missing mask", "lists the PNG 1.png"),
    "a PNG of another size": (lambda data, png: save(np.zeros((20, 30, 3), np.uint8), png), "size mismatch", "20"),
    "a grey PNG": (lambda data, png: save(np.full((48, 64), 7, np.uint8), png), "unreadable mask", "three channels"),
    "no PNG at all": (lambda data, png: png.write_bytes(b"nothing"), "unreadable mask", ""),
    "void as a segment": (lambda data, png: data["annotations"][1]["segments_info"].append({"id": 0, "category_id": 7}), "duplicate COCO id", "void"),
    "an id that is listed twice": (
        lambda data, png: data["annotations"][1]["segments_info"].append({"id": 1, "category_id": 7}), "duplicate COCO id", "segment id 1 twice",
    ),
    "an image without entry": (lambda data, png: data["annotations"].pop(1), "missing annotation", "no entry"),
    "an entry of no image": (lambda data, png: data["images"].pop(1), "unknown image id", "1"),
    "an image that is not there": (lambda data, png: data["images"][1].update(file_name="x.png"), "missing image", "x.png"),
    "two entries for one image": (lambda data, png: data["annotations"].append(data["annotations"][1]), "duplicate COCO id", "image id 1 more than once"),
    "a path that climbs": (lambda data, png: data["annotations"][1].update(file_name="../../../secret.png"), "path outside the dataset", "secret"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_a_sentence_about_its_file(tmp_path: Path, name: str) -> None:
    change, kind, what = FAULTS[name]
    _, found = look(broken(tmp_path, change))
    (fault,) = [fault for fault in found.faults if fault.kind == kind]
    assert what in str(fault.what) and ("1" in fault.file or "panoptic_all.json" in fault.file)
    assert {fault.kind for fault in found.faults} == {kind}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data, png: data["categories"][0].pop("isthing"), "categories[0] lacks isthing"),
        (lambda data, png: data["annotations"][2].pop("segments_info"), "annotations[2] lacks segments_info"),
        (lambda data, png: data["annotations"][2]["segments_info"][0].pop("category_id"), "annotations[2] has a segment without"),
        (lambda data, png: data["categories"].append({"id": 7, "name": "other", "isthing": 1}), "category id 7"),
        (lambda data, png: data["categories"][2].update(name="sky"), "more than one category named 'sky'"),
        (lambda data, png: data.update(images=[]), "lists no images"),
    ],
)
def test_a_file_that_cannot_be_meant_so_is_refused(tmp_path: Path, change, said: str) -> None:
    with pytest.raises(DataError, match=r".*") as refusal:
        look(broken(tmp_path, change))
    assert said in str(refusal.value)


def test_segments_of_void_are_ignored(tmp_path: Path) -> None:
    def rename(data, png):
        data["categories"][2]["name"] = "void"

    dataset, found = look(broken(tmp_path, rename))
    assert found.ok and dataset.labels.names == ("sky", "disc") and any("void" in str(note) for note in dataset.notes)
    sample = dataset.read(dataset.items[1])
    assert set(np.unique(sample.label_map).tolist()) == {0, 1, 255}


def test_a_photo_and_its_png_are_turned_together(tmp_path: Path) -> None:
    panoptic(tmp_path)
    path = tmp_path / "all" / "1.png"
    stored = np.asarray(Image.open(path))
    path.unlink()
    save_turned(stored, 6, tmp_path / "all" / "1.jpg")
    data = json.loads((tmp_path / "annotations" / "panoptic_all.json").read_text())
    data["images"][1]["file_name"] = "1.jpg"
    write_json(data, tmp_path / "annotations" / "panoptic_all.json")
    dataset, found = look(tmp_path)
    assert found.ok and [note.kind for note in found.notes] == ["photo turned by EXIF"]
    sample = dataset.read(dataset.named("1.jpg"))
    assert sample.label_map.shape == (64, 48)
    ids = ids_of(tmp_path / "annotations" / "panoptic_all" / "1.png")
    assert ((np.rot90(ids, -1) == 0) == (sample.label_map == 255)).all()


def test_a_dry_run_says_what_was_understood(tmp_path: Path, capsys) -> None:
    panoptic(tmp_path)
    command = ["--data", str(tmp_path), "--model", "mask2former", "--from-scratch", "--dry-run", "--device", "cpu"]
    assert finetune.main(command) == 0
    said = capsys.readouterr().out
    assert "panoptic truth" in said and "1 classes of things" in said and "2 of stuff" in said and "sky, disc, ground" in said
    assert finetune.main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["data"]["kind"] == "panoptic" and facts["data"]["classes"] == ["sky", "disc", "ground"]
    (broken(tmp_path / "b", lambda data, png: png.unlink()))
    assert finetune.main(["--data", str(tmp_path / "b"), *command[2:]]) == 2
    assert "lists the PNG 1.png" in capsys.readouterr().err

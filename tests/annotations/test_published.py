"""Cityscapes and ADE20K as they are downloaded, and mask folders made of them, are known by the names of their files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from seg_demo.annotations.dataset import Dataset, as_objects, labels_for, open_annotated
from seg_demo.core.errors import in_language
from tests.small_datasets import picture, save
from train.data import examine, open_dataset, split

H, W = 24, 37
# As cityscapesScripts' helpers/labels.py has them: number → (number for training, name), of those that are evaluated.
CITY = {7: (0, "road"), 11: (2, "building"), 24: (11, "person"), 26: (13, "car"), 33: (18, "bicycle")}


def look(root: Path) -> Dataset:
    return open_annotated(str(root), workers=1, progress=False)


def city(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of classes, and of objects: two cars that touch, people one by one and as a crowd, a trailer, and what is not evaluated."""
    ids = np.full((H, W), 7, np.uint8)
    ids[:3], ids[3:6], ids[6:12, 2:20], ids[6:12, 22:26], ids[14:20, :5], ids[14:20, 8:12], ids[-1] = 11, 4, 26, 24, 24, 30, 3
    objects = ids.astype(np.uint16)
    objects[6:12, 2:11], objects[6:12, 11:20], objects[6:12, 22:26], objects[14:20, 8:12] = 26_000, 26_001, 24_000, 30_000
    ids[0, index] = objects[0, index] = 33
    return ids, objects


def city_folder(root: Path, kinds: tuple[str, ...], count: int = 3) -> Path:
    table = np.full(256, 255, np.uint8)
    table[list(CITY)] = [number for number, _ in CITY.values()]
    for part, town, index in [("train", "ulm", index) for index in range(count)] + [("val", "lindau", count), ("test", "bonn", count + 1)]:
        stem = f"{town}_{index:06d}_000019"
        save(picture(index, H, W), root / "leftImg8bit" / part / town / f"{stem}_leftImg8bit.png")
        ids, objects = city(index)
        written = {"labelIds": ids, "labelTrainIds": table[ids], "instanceIds": objects}
        for kind in kinds:
            values = written[kind] if part != "test" else np.zeros_like(written[kind])
            save(values, root / "gtFine" / part / town / f"{stem}_gtFine_{kind}.png")
        save(picture(9, H, W), root / "gtFine" / part / town / f"{stem}_gtFine_color.png")
    return root


@pytest.mark.parametrize("kinds", [("labelIds",), ("labelTrainIds",), ("labelIds", "labelTrainIds", "instanceIds"), ("labelTrainIds", "instanceIds"), ("instanceIds",)])
def test_cityscapes_as_it_is_downloaded(kinds: tuple[str, ...], tmp_path: Path) -> None:
    dataset = look(city_folder(tmp_path, kinds))
    assert len(dataset) == 4 and not dataset.faults and not dataset.unclear and [item.split for item in dataset.items].count("val") == 1
    assert len(dataset.labels) == 19 and dataset.labels.background is None and tuple(dataset.labels.colors[13]) == (0, 0, 142)
    assert (dataset.labels.names[0], dataset.labels.names[18]) == ("road", "bicycle")
    assert any("Read as Cityscapes" in note for note in dataset.notes)
    if "labelIds" in kinds or kinds == ("instanceIds",):
        assert any("does: out of roi, static, trailer." in note for note in dataset.notes)
    assert dataset.kind == ("instance" if "instanceIds" in kinds else "semantic")
    for index, item in enumerate(sorted(dataset.items, key=lambda item: (item.split != "train", item.name))):
        ids, objects = city(index)
        sample = dataset.read(item)
        wanted = np.full((H, W), 255)
        for number, (label, name) in CITY.items():
            assert dataset.labels.names[label] == name
            wanted[ids == number] = label
        assert np.array_equal(sample.label_map, wanted)
        if dataset.kind == "instance":
            # A trailer is an object that is not evaluated; the crowd of people is no object.
            assert [(sample.instance_map == number).sum() for number in (1, 2, 3)] == [24, 54, 54] and sample.instance_map.max() == 3
            assert set(labels_for(dataset, "instance").names[1:]) == {"person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"}
            classes = as_objects(sample, dataset).instance_labels
            assert [labels_for(dataset, "instance").names[label] for label in classes[1:]] == ["person", "car", "car"]


def test_a_part_of_a_published_data_set_need_not_show_every_class(tmp_path: Path) -> None:
    dataset = open_dataset(str(city_folder(tmp_path, ("labelIds",))), seed=0, size=None, workers=1, progress=False)
    found = examine(dataset, *split(dataset, 0.5, 0))
    assert not found.faults and len(found.notes) == 1
    (note,) = (each for each in found.notes if each.kind == "class never occurs")
    assert note.what.startswith("has 14 classes that no training image here shows, so they cannot be learnt: sidewalk, wall, fence, pole")
    assert in_language(note.what, "zh") != note.what and in_language(note.remedy, "zh") != note.remedy


def test_cityscapes_in_a_folder_of_masks(tmp_path: Path) -> None:
    source = city_folder(tmp_path / "download", ("labelIds",))
    for path in source.rglob("*.png"):
        if "color" not in path.name and "bonn" not in path.name:
            target = tmp_path / "flat" / ("images" if "leftImg8bit" in path.name else "masks") / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    dataset = look(tmp_path / "flat")
    assert len(dataset) == 4 and len(dataset.labels) == 19 and any("Read as Cityscapes (labelIds)" in note for note in dataset.notes)
    # A list of the person's says what they want.
    (tmp_path / "flat" / "labels.json").write_text(json.dumps({str(number): f"n{number}" for number in (0, 3, 4, *CITY, 30)}))
    assert look(tmp_path / "flat").labels.names == ("n0", "n3", "n4", "n7", "n11", "n24", "n26", "n30", "n33")


def test_cityscapes_pictures_without_truth_are_named(tmp_path: Path) -> None:
    root = city_folder(tmp_path, ("labelIds", "instanceIds"))
    (root / "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png").unlink()
    (root / "gtFine/train/ulm/ulm_000000_000019_gtFine_instanceIds.png").unlink()
    dataset = look(root)
    assert [(fault.kind, fault.item) for fault in dataset.faults] == [("missing mask", "leftImg8bit/train/ulm/ulm_000001_000019")]
    assert dataset.kind == "semantic" and len(dataset) == 3, "objects of some pictures alone are not read"


def scene(index: int) -> np.ndarray:
    mask = np.full((H, W), 3, np.uint8)
    mask[:5], mask[8:20, 3:9], mask[20:, index:] = 0, 150, 1
    return mask


@pytest.mark.parametrize("named", [True, False])
def test_scene_parsing_leaves_out_0(named: bool, tmp_path: Path) -> None:
    for index, part in enumerate(("training", "training", "validation")):
        stem = f"ADE_{'val' if part == 'validation' else 'train'}_{index + 1:08d}"
        save(picture(index, H, W), tmp_path / "images" / part / f"{stem}.jpg")
        save(scene(index), tmp_path / "annotations" / part / f"{stem}.png")
    if named:
        rows = [f"{number}\t0.1\t9\t9\t{name}" for number, name in ((1, "wall"), (2, "building, edifice"), (3, "sky "), (4, "blind, screen"), (5, "blind, shade"), (150, "flag"))]
        (tmp_path / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n" + "\n".join(rows) + "\n")
    dataset = look(tmp_path)
    names = ("wall", "building", "sky", "blind, screen", "blind, shade", "flag") if named else ("class 1", "class 3", "class 150")
    assert dataset.labels.names == names and dataset.labels.background is None and [item.split for item in dataset.items] == ["train", "train", "val"]
    assert not dataset.faults and any("counts for nothing" in note and ("objectInfo150.txt of" in note) is not named for note in dataset.notes)
    wanted = np.full(256, 255)
    wanted[[1, 3, 150]] = [names.index(name) for name in (("wall", "sky", "flag") if named else names)]
    for index, item in enumerate(dataset.items):
        assert np.array_equal(dataset.read(item).label_map, wanted[scene(index)])


def whole(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of classes up to 2978, and of objects."""
    classes, objects = np.zeros((H, W), np.int64), np.zeros((H, W), np.int64)
    for number, (label, place) in enumerate([(2978, np.s_[:9]), (259, np.s_[9:15, 2:12]), (259, np.s_[9:15, 12:20]), (5, np.s_[20:, index:])], start=1):
        classes[place], objects[place] = label, number
    return classes, objects


def test_ade20k_as_it_is_downloaded(tmp_path: Path) -> None:
    called = {2978: "wall", 259: "door, double door", 5: "arm"}
    for index, part in enumerate(("training", "training", "validation")):
        folder = tmp_path / "ADE20K_2021_17_01/images/ADE" / part / "urban/street"
        stem = f"ADE_{'val' if part == 'validation' else 'train'}_{index + 1:08d}"
        save(picture(index, H, W), folder / f"{stem}.jpg")
        classes, objects = whole(index)
        save(np.stack([classes // 256 * 10, classes % 256, objects], axis=-1).astype(np.uint8), folder / f"{stem}_seg.png")
        save(np.zeros((H, W, 3), np.uint8), folder / f"{stem}_parts_1.png")
        things = [{"id": i, "name": name, "name_ndx": number} for i, (number, name) in enumerate(called.items()) if number != 5]
        text = json.dumps({"annotation": {"object": [*things, {"id": 9, "name": "handle", "name_ndx": 77}]}})
        (folder / f"{stem}.json").write_text(text if index != 1 else text[:-9])
        (folder / stem).mkdir()
        save(np.zeros((H, W), np.uint8), folder / stem / "instance_000_ADE.png")
    dataset = look(tmp_path)
    assert dataset.labels.names == ("class 5", "door", "wall") and dataset.kind == "instance" and [item.split for item in dataset.items] == ["train", "train", "val"]
    assert [(fault.kind, fault.severity) for fault in dataset.faults] == [("class names", "note")] and any("Read as ADE20K: 3 classes" in note for note in dataset.notes)
    for index, item in enumerate(dataset.items):
        classes, objects = whole(index)
        sample = dataset.read(item)
        assert np.array_equal(sample.label_map, np.select([classes == number for number in (5, 259, 2978)], [0, 1, 2], 255))
        # Numbered in another order, the same pixels.
        assert {(sample.instance_map == number).tobytes() for number in range(1, 5)} == {(objects == number).tobytes() for number in range(1, 5)}
        assert sorted(as_objects(sample, dataset).instance_labels[1:].tolist()) == [1, 2, 2, 3]
    for phrase in (*dataset.notes, dataset.faults[0].what, dataset.faults[0].remedy):
        assert in_language(phrase, "zh") != phrase
    next(tmp_path.rglob("*_00000002_seg.png")).unlink()
    fault = next(fault for fault in look(tmp_path).faults if fault.severity == "fault")
    assert (fault.kind, fault.item) == ("missing mask", "ADE20K_2021_17_01/images/ADE/training/urban/street/ADE_train_00000002")
    assert fault.remedy == "add ADE_train_00000002_seg.png to street/, or remove the image"


def test_names_alone_do_not_make_it_cityscapes(tmp_path: Path) -> None:
    for index in range(3):
        save(picture(index, H, W), tmp_path / f"images/ulm_{index:06d}_000019_leftImg8bit.png")
        save(np.array([[0, 1]] * H, np.uint8).repeat([10, W - 10], axis=1), tmp_path / f"masks/ulm_{index:06d}_000019_gtFine_labelIds.png")
    assert look(tmp_path).labels.names != () and not any("Cityscapes" in note for note in look(tmp_path).notes)

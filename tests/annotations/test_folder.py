"""Folders in every layout, and lists that come with them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from seg_demo.annotations.dataset import Dataset
from seg_demo.core.errors import DataError
from tests.small_datasets import blob_mask, coco, folder, pairs, picture, save, write_json
from train.data import open_dataset, split


def look(source: object) -> Dataset:
    return open_dataset(str(source), seed=0, size=None, workers=2, progress=False)


def check_reads(dataset: Dataset, count: int) -> None:
    """All items are there, sound, and read as what small_datasets wrote."""
    assert len(dataset) == count and not dataset.faults and not dataset.unclear
    for item in dataset.items:
        index = int(item.image.stem.split("_")[0])
        sample = dataset.read(item)
        assert np.array_equal(sample.image, picture(index))
        assert sample.label_map.dtype == np.uint8 and np.array_equal(sample.label_map, blob_mask(index))


def test_images_beside_masks(tmp_path):
    dataset = look(folder(tmp_path / "My Cells"))
    check_reads(dataset, 6)
    assert dataset.name == "my-cells" and dataset.kind == "semantic"
    assert dataset.labels.names == ("background", "cell") and dataset.labels.background == 0 and dataset.things == (1,)
    assert {item.split for item in dataset.items} == {None}


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
@pytest.mark.parametrize("inside", [False, True])
def test_splits_above_or_below(tmp_path, val, inside):
    folder(tmp_path / "all")
    for index in range(6):
        part = "train" if index < 4 else val
        for kind in ("images", "masks"):
            target = tmp_path / "d" / (f"{kind}/{part}" if inside else f"{part}/{kind}") / f"{index}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / "all" / kind / f"{index}.png", target)
    (tmp_path / "d" / ("" if inside else "train") / "classes.txt").write_text("background\ncell\n")
    dataset = look(tmp_path / "d")
    check_reads(dataset, 6)
    assert dataset.labels.names == ("background", "cell")
    train, held = split(dataset, 0.9, seed=0)
    assert sorted(item.image.stem for item in train) == list("0123") and sorted(item.image.stem for item in held) == list(
        "45"
    )


def test_a_test_split_serves_only_where_no_other_is_given(tmp_path):
    folder(tmp_path / "train", 4)
    for index in (4, 5):
        save(picture(index), tmp_path / "test" / "images" / f"{index}.png")
        save(blob_mask(index), tmp_path / "test" / "masks" / f"{index}.png")
    dataset = look(tmp_path)
    assert len(split(dataset, 0.5, 0)[1]) == 2 and "is used as one" in " ".join(dataset.notes)
    shutil.copytree(tmp_path / "train", tmp_path / "val")
    dataset = look(tmp_path)
    assert len(dataset) == 8 and "was not used" in " ".join(dataset.notes)


def test_names_match_without_suffix_in_subfolders_and_with_an_ending(tmp_path):
    save(picture(0), tmp_path / "images" / "a" / "0.png")
    save(picture(1), tmp_path / "images" / "b" / "1.bmp")
    save(picture(2), tmp_path / "images" / "2.TIFF")
    save(blob_mask(0), tmp_path / "masks" / "a" / "0.png")
    save(blob_mask(1), tmp_path / "masks" / "b" / "1.tif")
    save(blob_mask(2), tmp_path / "masks" / "2_mask.png")
    (tmp_path / "images" / ".DS_Store").write_text("x")
    (tmp_path / "images" / "a" / "._0.png").write_text("x")
    (tmp_path / "classes.txt").write_text("background\ncell\n")
    check_reads(look(tmp_path), 3)


def test_other_files_are_only_noted(tmp_path):
    folder(tmp_path)
    (tmp_path / "images" / "notes.docx").write_text("x")
    dataset = look(tmp_path)
    assert len(dataset) == 6 and [(fault.severity, fault.file) for fault in dataset.faults] == [("note", "images/")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_pairs(tmp_path, delimiter):
    check_reads(look(pairs(tmp_path, delimiter=delimiter)), 4)


def test_csv_quotes_bom_case_and_split(tmp_path):
    folder(tmp_path, 3)
    (tmp_path / "images" / "2.png").rename(tmp_path / "images" / "2_a, b.png")
    rows = ["images/0.png,masks/0.png,train", "images\\1.png,masks/1.png,VAL", '"images/2_a, b.png",masks/2.png,']
    text = "\n".join(["Image,Mask,Split", *rows])
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    dataset = look(tmp_path / "list.csv")
    check_reads(dataset, 3)
    assert [item.split for item in dataset.items] == ["train", "val", None]
    assert len(split(dataset, 0.5, 0)[1]) == 1


@pytest.mark.parametrize("start", [str, lambda path: "../" + path.name], ids=["absolute", "above"])
def test_a_csv_that_is_named_may_point_anywhere_but_no_folder_of_this_machine_is_told(tmp_path, start):
    folder(tmp_path / "data", 4)
    (tmp_path / "lists").mkdir()
    rows = [f"{start(tmp_path / 'data')}/images/{i}.png,{start(tmp_path / 'data')}/masks/{i}.png\r\n" for i in range(4)]
    (tmp_path / "lists" / "pairs.csv").write_text("sep=,\r\nimage,mask\r\n" + "".join(rows))
    (tmp_path / "lists" / "classes.txt").write_text("background\ncell\n")
    dataset = look(tmp_path / "lists" / "pairs.csv")
    check_reads(dataset, 4)
    assert not any(tmp_path.name in item.name or ".." in item.name for item in dataset.items)


@pytest.mark.parametrize("nested", [False, True])
def test_imagefolder_metadata(tmp_path, nested):
    for index in range(4):
        place = tmp_path / ("train" if index < 3 else "validation") if nested else tmp_path
        save(picture(index), place / f"{index}.png")
        save(blob_mask(index), place / f"{index}_mask.png")
        with (place / "metadata.jsonl").open("a") as file:
            file.write(json.dumps({"file_name": f"{index}.png", "mask_file_name": f"{index}_mask.png", "weight": 3}) + "\n")
    (tmp_path / "classes.txt").write_text("background\ncell\n")
    dataset = look(tmp_path)
    check_reads(dataset, 4)
    if nested:
        assert [item.split for item in dataset.items] == ["train"] * 3 + ["val"]


def test_roboflow_export(tmp_path):
    for part, count in (("train", 3), ("valid", 2)):
        data = coco(tmp_path / part, count)
        for path in (tmp_path / part / "images").iterdir():
            path.rename(tmp_path / part / path.name)
        write_json(data, tmp_path / part / "_annotations.coco.json")
    dataset = look(tmp_path)
    assert len(dataset) == 5 and not dataset.faults and dataset.kind == "instance"
    assert [item.split for item in dataset.items] == ["train"] * 3 + ["val"] * 2


def test_cvat_export(tmp_path):
    data = coco(tmp_path, 4)
    for annotation in data["annotations"]:
        annotation["category_id"] = float(annotation["category_id"])
    parts = {"train": data["images"][:3], "Validation2017": data["images"][3:]}
    for part, images in parts.items():
        own = {image["id"] for image in images}
        annotations = [each for each in data["annotations"] if each["image_id"] in own]
        write_json({**data, "images": images, "annotations": annotations}, tmp_path / "annotations" / f"instances_{part}.json")
    dataset = look(tmp_path)
    assert len(dataset) == 4 and not dataset.faults and dataset.labels.names == ("background", "cat", "dog")
    assert sorted(str(item.split) for item in dataset.items) == ["train"] * 3 + ["val"]
    write_json(data, tmp_path / "whole" / "annotations" / "instances_default.json")
    (tmp_path / "images").rename(tmp_path / "whole" / "images")
    dataset = look(tmp_path / "whole")
    assert len(dataset) == 4 and not dataset.faults and {item.split for item in dataset.items} == {None}


@pytest.mark.parametrize("parts", [("tray 1", "tray 2"), ("train", "train2"), ("train", "val"), ("left", "val")])
def test_subsets_with_equal_file_names_are_all_read(tmp_path, parts):
    """CVAT keeps each subset's images in a folder of its own, and frames are called the same in each."""
    for number, part in enumerate(parts):
        data = coco(tmp_path / "all", 6)
        for index, image in enumerate(data["images"]):
            save(picture(10 * number + index), tmp_path / "images" / part / image["file_name"])
        write_json(data, tmp_path / "annotations" / f"instances_{part}.json")
    shutil.rmtree(tmp_path / "all")
    dataset = look(tmp_path)
    assert not dataset.faults and len({item.name for item in dataset.items}) == len({item.image for item in dataset.items}) == 12
    for item in dataset.items:
        part, name = item.name.split("/")
        assert item.image == tmp_path / "images" / part / name
        assert len(item.annotations) == 2


def test_an_image_that_two_subsets_list_is_named(tmp_path):
    data = coco(tmp_path, 4)
    for part in ("left", "right"):
        write_json(data, tmp_path / "annotations" / f"instances_{part}.json")
    dataset = look(tmp_path)
    assert len(dataset) == 4 and {fault.kind for fault in dataset.faults} == {"duplicate image"} and len(dataset.faults) == 4
    assert any("right/0.png" in str(fault) and "left/0.png" in str(fault) for fault in dataset.faults)


def test_the_message_for_an_unknown_layout_says_what_is_expected(tmp_path):
    save(picture(0), tmp_path / "photos" / "a.png")
    with pytest.raises(DataError, match=r"holds photos/\. Expected images/ and masks/"):
        look(tmp_path)

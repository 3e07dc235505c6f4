"""Data sets go to other tools and come back: begun there, corrected here, taken back."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from seg_demo.core.errors import BadRequestError, DataError
from seg_demo.core.types import IGNORE
from seg_demo.datasets.dataset import Dataset
from seg_demo.datasets.sample import Facts
from seg_demo.datasets.store import TOOLS, Store, bring, zip_for
from seg_demo.gateway.visitor import Upload
from seg_demo.ui import correct_tab, editor
from tests.annotations.test_readers import NAMES, ROUND, data_set, save_picture

H, W = 24, 31


def filled(store: Store, task: str) -> Dataset:
    """A data set of three pictures: touching objects up to the borders, a hole, one pixel alone, and what is to be ignored."""
    dataset = store.create("mine", ["cell", "细胞"], task)
    rng = np.random.default_rng(1)
    for index in range(3):
        instances = np.zeros((H, W), np.uint16)
        instances[:9, :7], instances[2:5, 2:4], instances[4:20, 7:18], instances[-1, -1] = 1, 0, 2, 3
        mask = np.array([0, 1, 2, 1], np.uint8)[instances]
        mask[20:22, :5] = IGNORE if index == 0 else 0
        picture = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
        dataset.add(picture, mask, Facts(source="blank"), instances=instances if task == "instance" else None, name=f"p{index}")
    return dataset


def content(dataset: Dataset) -> dict[str, tuple[bytes, set[tuple[str, bytes]]]]:
    """By name of a picture: its pixels, and class and mask of every object, or of every class."""
    found = {}
    for sample in dataset.samples():
        image, mask, instances = dataset.read(sample.stem)
        numbers = instances if instances is not None else mask
        parts = {(dataset.labels.names[mask[numbers == number][0]], (numbers == number).tobytes()) for number in np.unique(numbers) if 0 < number != IGNORE}
        found[sample.name] = image.tobytes(), parts
    return found


@pytest.mark.parametrize("task", ["instance", "semantic"])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_dataset_goes_to_a_tool_and_comes_back(tool: str, task: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    dataset = filled(store, task)
    lost = zip_for(dataset, tool, tmp_path / "out.zip")
    if tool != "voc":
        assert any("pixels that were not to count are background now" in sentence for sentence in lost)
    found = bring(store, [tmp_path / "out.zip"])
    assert found.count == 3 and not found.failed and found.dataset.name == "out" and set(found.dataset.labels.names[1:]) == {"cell", "细胞"}
    if found.dataset.task == task:
        assert content(found.dataset) == content(dataset)
    else:  # a class's shapes are objects to every program
        assert task == "semantic" and {name: pixels for name, (pixels, _) in content(found.dataset).items()} == {name: pixels for name, (pixels, _) in content(dataset).items()}
        for sample, other in ((each, next(s for s in dataset.samples() if s.name == each.name)) for each in found.dataset.samples()):
            one, two = found.dataset.read(sample.stem)[1], dataset.read(other.stem)[1]
            names = [np.array(data.labels.names) for data in (found.dataset, dataset)]
            np.testing.assert_array_equal(names[0][np.where(one == IGNORE, 0, one)], names[1][np.where(two == IGNORE, 0, two)])


def test_what_cannot_be_read_is_named_and_the_rest_comes(tmp_path: Path) -> None:
    root = data_set(tmp_path / "data" / "set", "labelme", {"a": ROUND["a"], "c": ROUND["c"]})
    (root / "b.json").write_text((root / "a.json").read_text()[:-50])
    with zipfile.ZipFile(tmp_path / "from labelme.zip", "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root).as_posix())
        archive.writestr("../climb.json", "{}")
    told: list[tuple[int, int]] = []
    found = bring(Store(tmp_path / "store"), [tmp_path / "from labelme.zip"], lambda *done: told.append(done))
    assert found.count == 2 and told == [(0, 2), (1, 2)] and found.dataset.task == "instance"
    assert sorted(found.dataset.labels.names) == sorted(NAMES)
    assert sorted(name for name, _ in found.failed) == ["../climb.json", "b.json"] and any("perhaps its end is missing" in why for _, why in found.failed)
    assert any("hidden in part" in note for note in found.notes)


def test_nothing_is_left_of_what_cannot_come(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "a.json").write_text(json.dumps({"shapes": [{"label": "x", "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon"}], "imagePath": "gone.png"}))
    with pytest.raises(DataError, match="gone.png"):
        bring(store, [tmp_path / "a.json"])
    with pytest.raises(DataError):
        bring(store, [save_picture(tmp_path / "alone.png")])
    with pytest.raises(BadRequestError, match="No file"):
        bring(store, [])
    with pytest.raises(BadRequestError, match="empty|no"):
        zip_for(store.create("none", ["x"], "semantic"), "yolo", tmp_path / "x.zip")
    assert [dataset.name for dataset in store.list()] == ["none"]


def test_files_beside_their_pictures_need_no_zip(tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "cells.png")
    (tmp_path / "cells.json").write_text(
        json.dumps({"shapes": [{"label": "cell", "points": [[1, 1], [9, 1], [9, 8]], "shape_type": "polygon"}], "imagePath": "cells.png", "imageHeight": 40, "imageWidth": 60})
    )
    found = bring(Store(tmp_path / "store"), [tmp_path / "cells.json", picture])
    assert found.count == 1 and [sample.name for sample in found.dataset.samples()] == ["cells"]


@pytest.mark.parametrize("listed", [[f"class {number}" for number in range(20)], [f"class {number}" for number in range(300)], ["", *"abcde", "f" * 200]])
def test_of_a_list_of_classes_those_come_that_are_there(listed: list[str], tmp_path: Path) -> None:
    """Others cannot be learnt, and a list of many, or with odd names, is none that a data set can have."""
    picture, used = save_picture(tmp_path / "a.png"), (listed[3], listed[5])
    marks = [(4, [5, 5, 15, 5, 15, 15, 5, 15]), (6, [20, 20, 40, 20, 40, 30, 20, 30])]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}], "categories": [{"id": number, "name": name} for number, name in enumerate(listed, start=1)],
        "annotations": [{"id": number, "image_id": 1, "category_id": number, "iscrowd": 0, "segmentation": [ring], "bbox": [0, 0, 1, 1], "area": 1} for number, ring in marks],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(data))
    found = bring(Store(tmp_path / "store"), [tmp_path / "a.json", picture])
    names = found.dataset.labels.names
    assert found.count == 1 and names == ("background", *used) and {name for name, _ in content(found.dataset)["a"][1]} == set(used)
    described = editor.described_by(Upload(tmp_path / "a.json", "a"), Upload(picture, "a"))
    assert correct_tab.labels_for("", None, "instance", described).names == names


# Where a tool says something about the second picture.
SAID = {
    "coco": "*.json", "yolo": "labels/p1.txt", "labelme": "p1.json", "labelstudio": "tasks.json", "cvat": "annotations.xml", "qupath": "p1.geojson", "imagej": "p1_rois.zip",
}  # fmt: skip


@pytest.mark.parametrize("tool", SAID)
def test_a_correction_begins_with_what_a_tool_says_about_the_picture(tool: str, tmp_path: Path) -> None:
    dataset = filled(Store(tmp_path / "store"), "instance")
    zip_for(dataset, tool, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "out")
    sample = dataset.sample("p1")
    upload = Upload(sample.image, "p1")
    wanted = content(dataset)["p1"][1]
    (file,) = (tmp_path / "out").rglob(SAID[tool])
    for sent in (file,) if tool == "imagej" else (file, tmp_path / "out.zip"):
        described = editor.described_by(Upload(sent, sent.stem), upload)
        assert described[0].segmentation.segments and bool(described[1]) is (tool != "coco")
        # YOLO's text has numbers alone: its classes are those of data.yaml, or typed.
        typed = "cell, 细胞" if sent.suffix == ".txt" else ""
        labels = correct_tab.labels_for(typed, None, "instance", described)
        assert set(labels.names[1:]) == {"cell", "细胞"}
        document = correct_tab.begin(upload, labels, "instance", "mask", None, Upload(sent, sent.stem), {}, lambda part, text: None, described=described)
        ids, objects = document.drawing.ids, document.drawing.objects
        assert {(labels.names[label], (ids == number).tobytes()) for number, label in objects.items()} == wanted
        assert set(described[1]) <= set(document.notes)
        # A class per pixel is drawn of the same file.
        document = correct_tab.begin(upload, labels, "semantic", "mask", None, Upload(sent, sent.stem), {}, lambda part, text: None, described=described)
        assert np.array_equal(np.array(labels.names)[document.drawing.ids], np.array(dataset.labels.names)[dataset.read("p1")[1]])
    other = Upload(Path(shutil.copy(sample.image, tmp_path / "elsewhere.png")), "elsewhere")
    if tool in ("coco", "labelstudio", "cvat"):
        with pytest.raises(DataError, match="about other pictures"):
            editor.described_by(Upload(file, file.stem), other)
    else:  # a file about one picture is about this one, whatever it is called
        assert editor.described_by(Upload(file, file.stem), other)[0].segmentation.segments

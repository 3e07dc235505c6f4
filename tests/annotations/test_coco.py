"""COCO annotations draw as pycocotools draws them, with crowds, gaps in ids, overlaps and every kind of RLE."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as reference
from pycocotools.coco import COCO

from seg_demo.annotations.coco import draw_one
from seg_demo.annotations.dataset import Dataset
from seg_demo.annotations.listing import CocoObject
from seg_demo.core.errors import DataError
from tests.small_datasets import HEIGHT, WIDTH, coco, picture, save, save_turned, square, write_json
from train.data import examine, open_dataset, split


def look(source: object) -> Dataset:
    dataset = open_dataset(str(source), seed=0, size=None, workers=1, progress=False)
    assert not dataset.faults
    return dataset


def thing(segmentation: object) -> CocoObject:
    return CocoObject(1, segmentation, False, "x")


def test_polygons_and_rle_equal_pycocotools():
    rng = np.random.default_rng(0)
    for case in range(60):
        height, width = (int(side) for side in rng.integers(1, 70, 2))
        # Also outside the image, with the two decimals of COCO's own files and with the first point repeated.
        polygons = [
            [round(float(v), 2) for v in rng.uniform(-8, 78, 2 * int(rng.integers(3, 9)))]
            for _ in range(int(rng.integers(1, 4)))
        ]
        wanted = reference.decode(reference.merge(reference.frPyObjects(polygons, height, width))).astype(bool)
        assert np.array_equal(draw_one(thing(polygons), height, width), wanted)
        rle = reference.encode(np.asfortranarray(wanted.astype(np.uint8)))
        counts = np.diff(np.flatnonzero(np.diff(np.r_[-1, wanted.T.ravel(), -1].astype(int))))
        runs = ([0] if wanted.T.ravel()[0] else []) + counts.tolist()
        for form in ({"size": [height, width], "counts": rle["counts"].decode()}, {"size": [height, width], "counts": runs}):
            assert np.array_equal(draw_one(thing(form), height, width), wanted), case


def test_a_whole_file_equals_pycocotools(tmp_path):
    data = coco(tmp_path)
    path = write_json(data, tmp_path / "annotations.json")
    dataset, oracle = look(path), COCO(str(path))
    assert dataset.kind == "instance" and dataset.labels.names == ("background", "cat", "dog")
    assert not any("crowds" in note for note in dataset.notes)
    names = {image["file_name"]: image["id"] for image in data["images"]}
    for item in dataset.items:
        sample = dataset.read(item)
        annotations = oracle.loadAnns(oracle.getAnnIds(imgIds=names[item.name]))
        assert sample.instance_map.max() == len(annotations) == len(sample.instance_labels) - 1
        for annotation in annotations:
            mask = oracle.annToMask(annotation).astype(bool)
            numbers = np.unique(sample.instance_map[mask])
            assert len(numbers) == 1 and np.array_equal(sample.instance_map == numbers[0], mask)
            assert sample.instance_labels[numbers[0]] == {3: 1, 17: 2}[annotation["category_id"]]
            assert (sample.label_map[mask] == {3: 1, 17: 2}[annotation["category_id"]]).all()


def test_crowds_are_ignored_and_small_objects_lie_on_top(tmp_path):
    data = coco(tmp_path, 2)
    data["annotations"] = [
        {"id": 1, "image_id": 10, "category_id": 17, "segmentation": square(6, 6, 3)},
        {"id": 2, "image_id": 10, "category_id": 3, "segmentation": square(2, 2, 12)},
        {
            "id": 3,
            "image_id": 10,
            "category_id": 3,
            "iscrowd": 1,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, 5 * HEIGHT, 27 * HEIGHT]},
        },
    ]
    dataset = look(write_json(data, tmp_path / "c.json"))
    sample = dataset.read(dataset.items[0])
    assert sample.label_map.dtype == np.uint8
    assert sample.label_map[7, 7] == 2 and sample.label_map[3, 3] == 1 and sample.label_map[0, 0] == 255
    assert sample.instance_map.max() == 2 and sample.instance_map[0, 0] == 0
    empty = dataset.read(dataset.items[1])
    assert not empty.label_map.any() and not empty.instance_map.any() and empty.instance_labels.tolist() == [0]
    diagnosis = examine(dataset, *split(dataset, 0.5, 0))
    assert diagnosis.ok and any(note.kind == "empty mask" for note in diagnosis.notes)
    # Some programs write whole datasets of objects as crowds, of which nothing would be learnt.
    assert any("c.json: 1 of 3 annotations are crowds" in note for note in dataset.notes)


def test_categories_without_annotations_are_left_out_with_a_note(tmp_path):
    data = coco(tmp_path)
    data["categories"] += [{"id": 0, "name": "animals", "supercategory": "none"}, {"id": 5, "name": "cow"}]
    dataset = look(write_json(data, tmp_path / "c.json"))
    assert dataset.labels.names == ("background", "cat", "dog")
    assert any("animals, cow" in note for note in dataset.notes)


@pytest.mark.parametrize("place", ["c.json", "annotations/instances_train2017.json"])
@pytest.mark.parametrize("images", ["images", "beside", "train2017"])
def test_where_images_may_lie(tmp_path, place, images):
    path = tmp_path / "d" / place
    data = coco(tmp_path / "made")
    home = path.parent.parent if "/" in place else path.parent
    if images == "train2017" and "/" not in place:
        pytest.skip("COCO's own layout")
    target = path.parent if images == "beside" else home / images
    target.mkdir(parents=True, exist_ok=True)
    for picture_file in (tmp_path / "made" / "images").iterdir():
        picture_file.rename(target / picture_file.name)
    assert len(look(write_json(data, path))) == 4


@pytest.mark.parametrize("orientation", [6, 8])
def test_annotations_drawn_on_the_photo_as_stored(tmp_path, orientation):
    data = coco(tmp_path)
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[3:11, 2:10] = 255
    save_turned(stored, orientation, tmp_path / "images" / "0.png")
    dataset = look(write_json(data, tmp_path / "c.json"))
    sample = dataset.read(dataset.items[0])
    assert sample.label_map.shape == (WIDTH, HEIGHT)
    assert np.array_equal(sample.label_map == 1, sample.image[..., 0] == 255)


def test_ids_may_be_text_and_file_names_may_have_folders(tmp_path):
    data = {
        "images": [{"id": "a", "file_name": "sub\\a.png"}, {"id": "b", "file_name": "sub/b.png"}],
        "categories": [{"id": "c", "name": "cat"}],
        "annotations": [{"id": "1", "image_id": "a", "category_id": "c", "segmentation": square(2, 2, 5)}],
    }
    for index, name in enumerate("ab"):
        save(picture(index), tmp_path / "images" / "sub" / f"{name}.png")
    dataset = look(write_json(data, tmp_path / "c.json"))
    assert [item.name for item in dataset.items] == ["sub/a.png", "sub/b.png"]
    assert dataset.read(dataset.items[0]).label_map.sum() == 25


def test_a_polygon_outside_a_list_is_one_polygon(tmp_path):
    data = coco(tmp_path)
    data["annotations"][0]["segmentation"] = data["annotations"][0]["segmentation"][0]
    assert look(write_json(data, tmp_path / "c.json")).digest == look(write_json(coco(tmp_path), tmp_path / "c.json")).digest


def test_a_huge_rle_is_refused_before_it_is_expanded(tmp_path):
    data = coco(tmp_path)
    data["annotations"][0]["segmentation"] = {"size": [10**6, 10**6], "counts": [10**12]}
    dataset = look(write_json(data, tmp_path / "c.json"))
    with pytest.raises(DataError, match="RLE of size"):
        dataset.read(dataset.items[0])


def test_no_annotation_at_all_is_refused(tmp_path):
    data = coco(tmp_path) | {"annotations": []}
    with pytest.raises(DataError, match="annotates no object"):
        look(write_json(data, tmp_path / "c.json"))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="is not JSON"):
        look(tmp_path / "deep.json")
    assert json.loads((tmp_path / "c.json").read_text())["annotations"] == []

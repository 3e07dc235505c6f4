"""Masks that number objects, instance maps, and photographs turned by EXIF, as the folder reader takes them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from seg_demo.annotations.dataset import as_objects, labels_for
from tests.annotations.test_rules import labels_of, look, write_masks
from tests.small_datasets import (
    HEIGHT,
    WIDTH,
    blob_mask,
    folder,
    picture,
    save,
    save_turned,
    two_values,
    write_json,
)
from train.data import classes_of, examine, open_dataset, split, without_bad


def test_instance_maps_by_bits_and_by_folder(tmp_path):
    objects = np.zeros((HEIGHT, WIDTH), np.uint16)
    objects[2:6, 2:6], objects[2:6, 8:12], objects[10:20, 3:9] = 300, 7, 40_000
    write_masks(tmp_path / "a", [objects] * 2)
    for index in range(2):
        save(picture(index), tmp_path / "b" / "images" / f"{index}.png")
        save((objects > 0).astype(np.uint8) * 3, tmp_path / "b" / "instances" / f"{index}.png")
    dataset = look(tmp_path / "a")
    assert dataset.kind == "instance" and dataset.labels.names == ("background", "object")
    sample = dataset.read(dataset.items[0])
    assert sample.instance_map.max() == 3 and np.array_equal(sample.instance_map > 0, objects > 0)
    assert np.array_equal(sample.label_map, objects > 0)
    (tmp_path / "b" / "classes.txt").write_text("nucleus\n")
    other = look(tmp_path / "b")
    assert other.kind == "instance" and other.labels.names == ("background", "nucleus")
    assert other.read(other.items[0]).instance_map.max() == 1


def numbered(index: int) -> np.ndarray:
    """uint8: objects 1, 2, 3 ... of 2 x 2 pixels, another number of them for another index."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number in range(1, 18 + index):
        row, column = divmod(number, 8)
        mask[3 * row : 3 * row + 2, 4 * column : 4 * column + 2] = number
    return mask


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("classes", "name"), [(None, "object"), ("nucleus\n", "nucleus"), ("background\ncell\n", "cell")])
def test_masks_that_count_are_objects(tmp_path, dtype, classes, name):
    write_masks(tmp_path, [numbered(index).astype(dtype) for index in range(4)], classes)
    dataset = look(tmp_path)
    assert dataset.kind == "instance" and dataset.labels.names == ("background", name)
    assert "one object" in dataset.notes[0]
    for index, item in enumerate(dataset.items):
        assert np.array_equal(dataset.read(item).instance_map, numbered(index))


def test_a_few_objects_in_sixteen_bits_are_objects_and_in_eight_bits_classes(tmp_path):
    few = [numbered(index) * (numbered(index) <= 4 + index) for index in range(3)]
    write_masks(tmp_path / "wide", [mask.astype(np.uint16) for mask in few])
    write_masks(tmp_path / "narrow", few)
    assert look(tmp_path / "wide").kind == "instance"
    assert look(tmp_path / "narrow").kind == "semantic"


def test_masks_and_instances_together(tmp_path):
    folder(tmp_path, 3)
    for index in range(3):
        objects = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 2 + 1
        save((objects * blob_mask(index)).astype(np.uint16), tmp_path / "instances" / f"{index}.png")
    dataset = look(tmp_path)
    sample = dataset.read(dataset.items[0])
    assert dataset.kind == "instance" and dataset.labels.names == ("background", "cell")
    assert sample.instance_map.max() == 2 and np.array_equal(sample.label_map, blob_mask(0))


def test_an_instance_map_without_a_mask_beside_others_has_the_only_class_that_objects_have(tmp_path):
    folder(tmp_path, 4)
    for index in range(4):
        save(blob_mask(index) * np.uint16(3), tmp_path / "instances" / f"{index}.png")
    (tmp_path / "masks" / "2.png").unlink()
    dataset = look(tmp_path)
    sample = dataset.read(dataset.items[2])
    assert np.array_equal(sample.label_map, blob_mask(2)) and np.array_equal(sample.instance_map, blob_mask(2))
    # Where there are other classes, what lies around an object may be one of them.
    (tmp_path / "classes.txt").unlink()
    write_json({"id2label": {"0": "background", "1": "car", "2": "sky"}, "things": ["car"]}, tmp_path / "labels.json")
    dataset = look(tmp_path)
    assert dataset.things == (1,)
    assert np.array_equal(dataset.read(dataset.items[2]).label_map, np.where(blob_mask(2) > 0, 1, 255))
    assert classes_of(dataset, dataset.items[2]) == {1: np.count_nonzero(blob_mask(2))}


def test_an_instance_map_without_a_mask_beside_others_of_several_classes_is_a_fault(tmp_path):
    folder(tmp_path, 5, classes="background\ncell\ndirt\n")
    for index in range(5):
        save(blob_mask(index), tmp_path / "instances" / f"{index}.png")
        save(two_values(1, 2), tmp_path / "masks" / f"{index}.png")
    (tmp_path / "masks" / "2.png").unlink()
    dataset = open_dataset(str(tmp_path), seed=0, size=None, workers=1, progress=False)
    diagnosis = examine(dataset, *split(dataset, 0.3, 0))
    (fault,) = diagnosis.faults
    assert fault.file == "instances/2.png" and fault.what.key == "findings.objects_of_no_class"
    left = without_bad(dataset, diagnosis)
    assert len(left) == 4 and examine(left, *split(left, 0.3, 0)).ok and [left.read(item) for item in left.items]


def test_pieces_of_masks_are_objects_of_the_classes_alone_that_have_any(tmp_path):
    write_masks(tmp_path, [two_values(1, 2)] * 2, {"id2label": {"0": "car", "1": "sky", "2": "road"}, "things": ["car"]})
    dataset = look(tmp_path)
    sample = as_objects(dataset.read(dataset.items[0]), dataset)
    assert dataset.things == (0,) and labels_for(dataset, "instance").names == ("background", "car")
    assert sample.instance_labels.tolist() == [0, 1] and np.array_equal(sample.instance_map, two_values(1, 2) == 0)


def test_sixteen_bits_of_classes_stay_classes(tmp_path):
    raw = two_values(1, 2).astype(np.uint16)
    raw[0] = 65_535
    write_masks(tmp_path, [raw] * 2, "background\ncat\ndog\n")
    label_map = labels_of(look(tmp_path))[0]
    assert label_map.dtype == np.uint8 and (label_map[0] == 255).all() and np.array_equal(label_map[1:], raw[1:])


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("upright_mask", [True, False])
def test_photos_turned_by_exif(tmp_path, orientation, upright_mask):
    folder(tmp_path, 3)
    stored_image, stored_mask = picture(50), blob_mask(50)
    save_turned(stored_image, orientation, tmp_path / "images" / "1.png")
    turned = Image.fromarray(stored_mask)
    turned.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(turned))
    save(upright.copy() if upright_mask else stored_mask, tmp_path / "masks" / "1.png")
    dataset = look(tmp_path)
    sample = dataset.read(dataset.items[1])
    assert sample.image.shape[:2] == (WIDTH, HEIGHT) and np.array_equal(sample.label_map, upright)
    notes = [note for note in examine(dataset, *split(dataset, 0.3, 0)).notes if note.kind == "photo turned by EXIF"]
    assert [note.file for note in notes] == ([] if upright_mask else ["masks/1.png"])


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_photos_turned_without_a_trace_in_their_size_are_noted(tmp_path, orientation):
    folder(tmp_path, 3)
    save_turned(picture(50), orientation, tmp_path / "images" / "1.png")
    dataset = look(tmp_path)
    notes = [note for note in examine(dataset, *split(dataset, 0.3, 0)).notes if note.kind == "photo turned by EXIF"]
    assert [note.file for note in notes] == ["images/1.png"] and f"({orientation})" in notes[0].what

"""What the masks of a dataset mean: numbers, 0/255, palettes, colours, objects, ignore, with and without a class list."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from seg_demo.errors import DataError
from tests.small_datasets import (
    HEIGHT,
    WIDTH,
    blob_mask,
    folder,
    picture,
    save,
    save_palette,
    save_turned,
    two_values,
    write_json,
)
from train.data.doctor import examine
from train.data.index import Dataset, open_dataset
from train.data.split import split

RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def look(source: object) -> Dataset:
    dataset = open_dataset(str(source), seed=0, size=None, workers=1, progress=False)
    assert not dataset.faults and not dataset.unclear
    return dataset


def labels_of(dataset: Dataset) -> list[np.ndarray]:
    return [dataset.read(item).label_map for item in dataset.items]


def write_masks(root, masks: list[np.ndarray], classes: object = None, **options: object) -> None:
    for index, mask in enumerate(masks):
        save(picture(index), root / "images" / f"{index}.png")
        save(mask, root / "masks" / f"{index}.png", **options)
    if isinstance(classes, str):
        (root / "classes.txt").write_text(classes)
    elif classes is not None:
        write_json(classes, root / "labels.json")


@pytest.mark.parametrize(
    ("values", "classes", "names", "expected"),
    [
        # (first value, second value), list, names, (label of 0, of the first, of the second)
        ((1, 2), "background\ncat\ndog\n", ("background", "cat", "dog"), (0, 1, 2)),
        ((1, 255), "background\ncat\n", ("background", "cat"), (0, 1, 255)),
        ((255, 255), "background\ncat\n", ("background", "cat"), (0, 1, 1)),
        ((255, 255), "cat\n", ("background", "cat"), (0, 1, 1)),
        ((255, 255), None, ("background", "foreground"), (0, 1, 1)),
        ((1, 2), "cat\ndog\n", ("background", "cat", "dog"), (0, 1, 2)),
        ((1, 2), "sky\ncat\ndog\n", ("sky", "cat", "dog"), (0, 1, 2)),
        ((1, 2), None, ("background", "class 1", "class 2"), (0, 1, 2)),
        ((7, 23), None, ("background", "class 7", "class 23"), (0, 1, 2)),
        ((127, 255), None, ("background", "class 127", "class 255"), (0, 1, 2)),
        ((127, 255), "background\ncat\ndog\n", ("background", "cat", "dog"), (0, 1, 2)),
        ((7, 23), {"0": "background", "7": "cat", "23": "dog"}, ("background", "cat", "dog"), (0, 1, 2)),
        ((7, 23), {"7": "cat", "23": "dog"}, ("background", "cat", "dog"), (0, 1, 2)),
        ((7, 23), {"background": 0, "cat": 23, "dog": 7}, ("background", "dog", "cat"), (0, 1, 2)),
        ((1, 2), {"0": "background", "1": "void", "2": "dog"}, ("background", "dog"), (0, 255, 1)),
        (
            (1, 2),
            [{"id": 0, "name": "background"}, {"id": 2, "name": "b"}, {"id": 1, "name": "a"}],
            ("background", "a", "b"),
            (0, 1, 2),
        ),
        (
            (1, 2),
            {"id2label": {"0": "bg", "1": "a", "2": "b"}, "colors": [[0, 0, 0], [9, 9, 9], "#00ff00"]},
            ("bg", "a", "b"),
            (0, 1, 2),
        ),
    ],
)
def test_numbers_in_masks(tmp_path, values, classes, names, expected):
    raw = two_values(*values)
    write_masks(tmp_path, [raw, raw.T.copy().T, raw], classes)
    dataset = look(tmp_path)
    assert dataset.labels.names == names
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value, label in zip((0, *values), expected, strict=True):
        wanted[raw == value] = label
    assert np.array_equal(labels_of(dataset)[0], wanted)
    if classes is None or values == (255, 255):
        assert dataset.notes


def test_grey_masks_saved_as_rgb_mean_the_same(tmp_path):
    raw = two_values(255, 255)
    write_masks(tmp_path, [np.stack([raw] * 3, axis=2)] * 2, "background\ncat\n")
    assert np.array_equal(labels_of(look(tmp_path))[0], raw // 255)


def test_colors_with_a_table(tmp_path):
    raw = two_values(1, 2)
    mask = np.array([BLACK, GREEN, RED], np.uint8)[raw]
    write_masks(tmp_path, [mask] * 2, {"dog": list(RED), "cat": "#00ff00"})
    dataset = look(tmp_path)
    assert dataset.labels.names == ("background", "dog", "cat") and dataset.labels.background == 0
    assert dataset.labels.colors.tolist() == [list(BLACK), list(RED), list(GREEN)]
    assert np.array_equal(labels_of(dataset)[0], np.array([0, 2, 1])[raw])


def test_cvat_label_map(tmp_path):
    raw = two_values(1, 2)
    write_masks(tmp_path, [np.array([BLACK, RED, GREEN], np.uint8)[raw]] * 2)
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:255,0,0::\ndog:0,255,0::\n"
    )
    dataset = look(tmp_path)
    assert dataset.labels.names == ("background", "cat", "dog") and np.array_equal(labels_of(dataset)[0], raw)


def test_colors_without_a_table_are_proposed_by_area(tmp_path):
    raw = two_values(1, 2)
    write_masks(tmp_path, [np.array([BLACK, RED, GREEN], np.uint8)[raw], np.zeros((HEIGHT, WIDTH, 3), np.uint8)])
    dataset = look(tmp_path)
    # The second blob is larger, so its colour comes first.
    assert dataset.labels.names == ("background", "#00ff00", "#ff0000")
    assert np.array_equal(labels_of(dataset)[0], np.array([0, 2, 1])[raw])
    assert "#00ff00 = 1" in " ".join(dataset.notes)


def test_palette_masks_are_read_by_index_and_lend_their_colors(tmp_path):
    raw = two_values(1, 2)
    for index in range(2):
        save(picture(index), tmp_path / "images" / f"{index}.png")
        save_palette(raw, [BLACK, RED, GREEN], tmp_path / "masks" / f"{index}.png")
    dataset = look(tmp_path)
    assert np.array_equal(labels_of(dataset)[0], raw)
    assert dataset.labels.colors.tolist() == [list(BLACK), list(RED), list(GREEN)]
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    assert look(tmp_path).labels.names == ("background", "cat", "dog")


def test_palettes_that_disagree_are_read_by_color(tmp_path):
    raw = two_values(1, 2)
    for index, colors in enumerate(([BLACK, RED, GREEN], [BLACK, GREEN, RED])):
        save(picture(index), tmp_path / "images" / f"{index}.png")
        save_palette(raw, colors, tmp_path / "masks" / f"{index}.png")
    write_json({"background": list(BLACK), "cat": list(RED), "dog": list(GREEN)}, tmp_path / "labels.json")
    first, second = labels_of(look(tmp_path))
    assert np.array_equal(first, raw) and np.array_equal(second, np.array([0, 2, 1])[raw])


def test_voc_masks_with_their_border_of_ignore(tmp_path):
    raw = two_values(1, 255)
    colors = [BLACK, RED] + [(0, 0, index) for index in range(2, 255)] + [(224, 224, 192)]
    for index in range(2):
        save(picture(index), tmp_path / "images" / f"{index}.png")
        save_palette(raw, colors, tmp_path / "masks" / f"{index}.png")
    dataset = look(tmp_path)
    assert dataset.labels.names == ("background", "class 1") and np.array_equal(labels_of(dataset)[0], raw)


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


@pytest.mark.parametrize("classes", ["cat\nbackground\ndog\n", "1 cat\n2 background\n3 dog\n", "3: dog\n1: cat\n2: background\n"])
def test_numbers_from_one(tmp_path, classes):
    raw = two_values(0, 2) + np.uint8(1)
    write_masks(tmp_path, [raw] * 3, classes)
    dataset = look(tmp_path)
    assert dataset.labels.names == ("cat", "background", "dog") and dataset.labels.background == 1
    assert np.array_equal(labels_of(dataset)[0], raw - 1)


def test_mixed_masks_are_settled_by_saying_that_255_is_ignored(tmp_path):
    masks = [two_values(255, 255), two_values(1, 1), two_values(1, 1)]
    write_masks(tmp_path, masks, {"0": "background", "1": "cat", "255": "ignore"})
    assert np.array_equal(labels_of(look(tmp_path))[0], masks[0])


def test_masks_and_instances_together(tmp_path):
    folder(tmp_path, 3)
    for index in range(3):
        objects = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 2 + 1
        save((objects * blob_mask(index)).astype(np.uint16), tmp_path / "instances" / f"{index}.png")
    dataset = look(tmp_path)
    sample = dataset.read(dataset.items[0])
    assert dataset.kind == "instance" and dataset.labels.names == ("background", "cell")
    assert sample.instance_map.max() == 2 and np.array_equal(sample.label_map, blob_mask(0))


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


def test_reading_a_mask_that_changed_since_says_so(tmp_path):
    dataset = look(folder(tmp_path))
    save(blob_mask(0, 9), tmp_path / "masks" / "0.png")
    with pytest.raises(DataError, match=r"0.png holds 9, which no class has"):
        dataset.read(dataset.items[0])
    save(blob_mask(0)[:5], tmp_path / "masks" / "0.png")
    with pytest.raises(DataError, match=r"32 x 5 pixels, but 0\.png has 32 x 24"):
        dataset.read(dataset.items[0])

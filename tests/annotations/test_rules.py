"""What the masks of a dataset mean: numbers, 0/255, palettes, colours, objects, ignore, with and without a class list."""

from __future__ import annotations

import numpy as np
import pytest

from seg_demo.annotations.dataset import Dataset
from seg_demo.core.errors import DataError
from tests.small_datasets import (
    HEIGHT,
    WIDTH,
    blob_mask,
    folder,
    picture,
    save,
    save_palette,
    two_values,
    write_json,
)
from train.data import open_dataset

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


def test_reading_a_mask_that_changed_since_says_so(tmp_path):
    dataset = look(folder(tmp_path))
    save(blob_mask(0, 9), tmp_path / "masks" / "0.png")
    with pytest.raises(DataError, match=r"0.png holds 9, which no class has"):
        dataset.read(dataset.items[0])
    save(blob_mask(0)[:5], tmp_path / "masks" / "0.png")
    with pytest.raises(DataError, match=r"32 x 5 pixels, but 0\.png has 32 x 24"):
        dataset.read(dataset.items[0])

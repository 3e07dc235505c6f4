"""Numbers in masks without a class list: objects, classes, or a question, over many drawn datasets of both kinds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import label

from seg_demo.annotations.dataset import Dataset
from seg_demo.core.errors import in_language
from tests.small_datasets import picture, save, save_palette
from train.data import examine, open_dataset, split

SIDES = (61, 83)


def look(root: Path) -> Dataset:
    return open_dataset(str(root), seed=0, size=None, workers=1, progress=False)


def write(root: Path, masks: list[np.ndarray]) -> Path:
    for index, mask in enumerate(masks):
        save(picture(index, *SIDES), root / "images" / f"{index}.png")
        save(mask, root / "masks" / f"{index}.png")
    return root


def pieces(rng: np.random.Generator, count: int) -> np.ndarray:
    """uint16: so many rectangles that do not touch, on places drawn from a grid, numbered row by row as programs do."""
    mask = np.zeros(SIDES, bool)
    for place in rng.permutation(24)[:count]:
        row, column = 4 + 14 * (place // 6), 3 + 13 * (place % 6)
        height, width = rng.integers(3, 11, 2)
        mask[row : row + height, column : column + width] = True
    return label(mask, connectivity=2).astype(np.uint16)


def renumbered(mask: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The pieces 1, 2, 3 ... of a mask with other values."""
    return np.concatenate([[0], new]).astype(mask.dtype)[mask]


def counts_that_differ(rng: np.random.Generator, most: int) -> list[int]:
    return [most, 1, *(int(count) for count in rng.integers(1, most + 1, 4))]


@pytest.mark.parametrize("seed", range(12))
def test_numbered_objects_are_objects(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    masks = [pieces(rng, count) for count in counts_that_differ(rng, int(rng.integers(4, 20)))]
    if seed % 2:  # something lies across an object in one of them
        masks[0][:, 8:10] = 0
    dataset = look(write(tmp_path, masks))
    assert dataset.kind == "instance" and not dataset.unclear and "one object" in dataset.notes[0]
    for item, mask in zip(dataset.items, masks, strict=True):
        assert np.array_equal(dataset.read(item).instance_map > 0, mask > 0)
        assert dataset.read(item).instance_map.max() == len(np.unique(mask)) - 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("seed", range(12))
def test_classes_in_several_pieces_are_classes(seed: int, dtype: type, tmp_path: Path) -> None:
    """Also where each mask has the first few of them, 1, 2, 3 ... without gaps, as numbered objects would."""
    rng = np.random.default_rng(seed)
    masks = []
    for classes in counts_that_differ(rng, int(rng.integers(2, 7))):
        mask = pieces(rng, 3 * classes)
        masks.append(renumbered(mask, rng.permutation(np.arange(mask.max()) % classes + 1)).astype(dtype))
    dataset = look(write(tmp_path, masks))
    assert dataset.kind == "semantic" and not dataset.unclear
    for item, mask in zip(dataset.items, masks, strict=True):
        assert np.array_equal(dataset.read(item).label_map, mask)


@pytest.mark.parametrize("seed", range(8))
def test_what_may_be_either_is_asked_and_both_answers_settle_it(seed: int, tmp_path: Path) -> None:
    """One piece of each number, another count in each mask, in no order: organs, or objects that someone numbered by hand."""
    rng = np.random.default_rng(seed)
    most = int(rng.integers(2, 9))
    masks = [renumbered(mask, 1 + rng.permutation(mask.max())) for mask in (pieces(rng, n) for n in counts_that_differ(rng, most))]
    masks.append(renumbered(mask := pieces(rng, most), np.arange(int(mask.max()), 0, -1)))
    root = write(tmp_path, masks)
    dataset = look(root)
    (fault,) = dataset.unclear
    assert f"the numbers 1 to {most}" in str(fault) and "classes.txt" in str(fault) and "instances/" in str(fault)
    assert fault in examine(dataset, *split(dataset, 0.3, 0)).faults
    (root / "classes.txt").write_text("\n".join(["background", *(f"organ {n}" for n in range(1, most + 1))]))
    dataset = look(root)
    assert dataset.kind == "semantic" and not dataset.unclear
    assert all(np.array_equal(dataset.read(item).label_map, mask) for item, mask in zip(dataset.items, masks, strict=True))
    (root / "classes.txt").unlink()
    (root / "masks").rename(root / "instances")
    dataset = look(root)
    assert dataset.kind == "instance" and not dataset.unclear
    assert all(np.array_equal(dataset.read(item).instance_map, mask) for item, mask in zip(dataset.items, masks, strict=True))


def spread(root: Path, masks: list[np.ndarray], factor: int = 257) -> Path:
    return write(root, [mask.astype(np.uint16) * factor for mask in masks])


@pytest.mark.parametrize("names", [None, ["background", "cell", "nucleus"], {"0": "background", "1": "cell", "2": "nucleus"}])
@pytest.mark.parametrize("ignored", [False, True])
def test_eight_bits_spread_over_sixteen_are_eight(names, ignored: bool, tmp_path: Path) -> None:
    masks = [np.where(pieces(np.random.default_rng(seed), 6) > 3, 2, pieces(np.random.default_rng(seed), 6) > 0).astype(np.uint8) for seed in range(4)]
    for mask in masks:
        mask[:4] = 255 if ignored else 0
    spread(tmp_path, masks)
    if names is not None:
        (tmp_path / ("classes.txt" if isinstance(names, list) else "labels.json")).write_text("\n".join(names) if isinstance(names, list) else json.dumps(names))
    dataset = look(tmp_path)
    assert dataset.kind == "semantic" and len(dataset.labels) == 3 and not dataset.unclear
    assert any("514 was read as 2" in note for note in dataset.notes)
    for item, mask in zip(dataset.items, masks, strict=True):
        assert np.array_equal(dataset.read(item).label_map, mask)


def test_one_number_that_happens_to_be_a_multiple_of_257_is_itself(tmp_path: Path) -> None:
    masks = [np.where(pieces(np.random.default_rng(seed), 3) > 0, 514, 0).astype(np.uint16) for seed in range(4)]
    write(tmp_path, masks)
    (tmp_path / "labels.json").write_text(json.dumps({"0": "background", "514": "cell"}))
    dataset = look(tmp_path)
    assert not any("257" in note for note in dataset.notes)
    assert np.array_equal(dataset.read(dataset.items[0]).label_map, masks[0] > 0)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("rim", [(254,), (254, 1), (253, 254, 1, 2), (246,)])
def test_black_and_white_with_a_rim_of_nearly_white_was_smoothed(rim: tuple[int, ...], listed: bool, tmp_path: Path) -> None:
    masks = []
    for seed in range(4):
        mask = (pieces(np.random.default_rng(seed), 4) > 0).astype(np.uint8) * 255
        for place, value in enumerate(rim):
            mask[place, 5:8] = value
        masks.append(mask)
    write(tmp_path, masks)
    if listed:
        (tmp_path / "classes.txt").write_text("background\ncell\n")
    dataset = look(tmp_path)
    faults = examine(dataset, *split(dataset, 0.25, 0)).faults
    assert [fault.kind for fault in faults] == ["blurred mask"] * 4 and "nearest neighbour" in faults[0].remedy


def test_254_beside_255_may_be_a_class(tmp_path: Path) -> None:
    masks = [np.where(pieces(np.random.default_rng(seed), 4) > 0, 254, 0).astype(np.uint8) for seed in range(4)]
    for mask in masks:
        mask[:6] = 255
    write(tmp_path, masks)
    (tmp_path / "labels.json").write_text(json.dumps({"0": "background", "254": "cell", "255": "ignore"}))
    dataset = look(tmp_path)
    assert not examine(dataset, *split(dataset, 0.25, 0)).faults
    assert set(np.unique(dataset.read(dataset.items[0]).label_map)) == {0, 1, 255}


@pytest.mark.parametrize("name", ["no-data", "nodata", "No Data", "no_value"])
def test_what_has_no_data_is_no_class(name: str, tmp_path: Path) -> None:
    masks = [1 + (pieces(np.random.default_rng(seed), 4) > 0).astype(np.uint8) for seed in range(4)]
    for mask in masks:
        mask[:3] = 0
    write(tmp_path, masks)
    (tmp_path / "classes.txt").write_text(f"{name}\nbackground\nbuilding\n")
    dataset = look(tmp_path)
    assert dataset.labels.names == ("background", "building")
    assert np.array_equal(dataset.read(dataset.items[0]).label_map, np.where(masks[0] == 0, 255, masks[0] - 1))


def test_black_on_paper_is_one_more_object_of_a_palette(tmp_path: Path) -> None:
    colours = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    for seed in range(3):
        mask = pieces(np.random.default_rng(seed), 4).astype(np.uint8)
        save(picture(seed, *SIDES), tmp_path / "images" / f"{seed}.png")
        save_palette(mask, colours, tmp_path / "instances" / f"{seed}.png")
        dataset = look(tmp_path)
        assert np.array_equal(dataset.read(dataset.items[seed]).instance_map, mask)


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("listed", [["background", "cell", "nucleus"], ["cell", "nucleus"]])
def test_numbers_in_one_channel_are_numbers(channel: int, listed: list[str], tmp_path: Path) -> None:
    masks = [pieces(np.random.default_rng(seed), 6).clip(0, 2).astype(np.uint8) for seed in range(4)]
    coloured = []
    for mask in masks:
        coloured.append(np.zeros((*mask.shape, 3), np.uint8))
        coloured[-1][..., channel] = mask
    write(tmp_path, coloured)
    (tmp_path / "classes.txt").write_text("\n".join(listed) + "\n")
    dataset = look(tmp_path)
    assert not examine(dataset, *split(dataset, 0.25, 0)).faults and dataset.labels.names[-2:] == ("cell", "nucleus")
    for item, mask in zip(dataset.items, masks, strict=True):
        assert np.array_equal(dataset.read(item).label_map, mask)


def test_colours_that_one_sees_are_colours(tmp_path: Path) -> None:
    masks = [np.zeros((*SIDES, 3), np.uint8) for _ in range(3)]
    for mask in masks:
        mask[5:20, 5:20] = (128, 0, 0)
        mask[30:40, 30:40] = (64, 0, 0)
    write(tmp_path, masks)
    (tmp_path / "classes.txt").write_text("background\ncell\nnucleus\n")
    assert [fault.kind for fault in look(tmp_path).unclear] == ["coloured masks"]


@pytest.mark.parametrize("text", ["background,cell,nucleus\n", "['background', 'cell', 'nucleus']", 'background, cell, nucleus,\n'])
def test_names_in_one_line_are_names(text: str, tmp_path: Path) -> None:
    write(tmp_path, [pieces(np.random.default_rng(seed), 6).clip(0, 2).astype(np.uint8) for seed in range(4)])
    (tmp_path / "classes.txt").write_text(text)
    assert look(tmp_path).labels.names == ("background", "cell", "nucleus")


def test_more_objects_than_eight_bits_can_number(tmp_path: Path) -> None:
    for seed in range(2):
        mask = np.kron(np.arange(1, 321).reshape(16, 20), np.pad(np.ones((4, 4), int), 1))
        mask[:, : 6 * seed] = 0
        save(picture(seed, *mask.shape), tmp_path / "images" / f"{seed}.png")
        save((mask % 256).astype(np.uint8), tmp_path / "instances" / f"{seed}.png")
    (fault,) = look(tmp_path).unclear
    assert fault.kind == "numbers ran out" and "16 bits" in fault.remedy
    for phrase in (fault.what, fault.remedy):
        assert in_language(phrase, "zh") != phrase
    chosen = open_dataset(str(tmp_path), seed=0, size=None, workers=1, progress=False, reading="pieces")
    assert not chosen.unclear and chosen.read(chosen.items[0]).instance_map.max() == 319  # object 256 was written as 0


@pytest.mark.parametrize(("stored", "said"), [((128, 64, 0), "exchange red and blue"), ((1, 64, 127), "#01407f for #004080"), ((9, 200, 9), "add the colour")])
def test_a_colour_that_the_list_has_a_little_otherwise(stored: tuple[int, int, int], said: str, tmp_path: Path) -> None:
    masks = [np.zeros((*SIDES, 3), np.uint8) for _ in range(3)]
    for index, mask in enumerate(masks):
        mask[5:20, 5 + index : 20] = stored
    write(tmp_path, masks)
    (tmp_path / "labels.json").write_text(json.dumps({"background": [0, 0, 0], "road": [0, 64, 128]}))
    dataset = look(tmp_path)
    faults = [fault for fault in examine(dataset, *split(dataset, 0.25, 0)).faults if fault.kind == "unknown colour"]
    assert len(faults) == 3 and said in faults[0].remedy
    assert in_language(faults[0].remedy, "zh") != faults[0].remedy

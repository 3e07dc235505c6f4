"""Numbers in masks without a class list: objects, classes, or a question, over many drawn datasets of both kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.measure import label

from tests.small_datasets import picture, save
from train.data.doctor import examine
from train.data.index import Dataset, open_dataset
from train.data.split import split

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

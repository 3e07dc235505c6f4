"""The split: by content, the same whatever the names are, copies together, rare classes on both sides."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg_demo.annotations.dataset import Dataset, Scan
from seg_demo.annotations.listing import Item
from seg_demo.annotations.masks import MaskRule, MaskScan
from seg_demo.core.types import LabelSet
from tests.small_datasets import blob_mask, folder, picture, save
from train.data import open_dataset, split


def made(pictures: list[str], classes: list[set[int]], splits: list[str | None] | None = None) -> Dataset:
    """A dataset that exists in numbers only: the content of each image, and the classes in it."""
    names = [f"{index:03d}" for index in range(len(pictures))]
    items = [
        Item(name, Path(name), Path(name), split=s) for name, s in zip(names, splits or [None] * len(names), strict=True)
    ]
    scans = {
        name: Scan(
            content, 8, 8, MaskScan("", "grey", 8, dict.fromkeys(held | {0}, 9), {}, False, False), None, None, "", ()
        )
        for name, content, held in zip(names, pictures, classes, strict=True)
    }
    rule = MaskRule(np.uint8, {label: label for label in range(10)})
    labels = LabelSet.from_names([f"c{label}" for label in range(10)], 0)
    return Dataset("made", "made", Path(), labels, tuple(items), "semantic", (), "", scans=scans, rule=rule)


def sides(dataset: Dataset, fraction: float, seed: int = 0) -> tuple[set[str], set[str]]:
    train, val = split(dataset, fraction, seed)
    assert {item.name for item in train} | {item.name for item in val} == {item.name for item in dataset.items}
    assert len(train) + len(val) == len(dataset)
    return {item.name for item in train}, {item.name for item in val}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sets(st.integers(1, 5), max_size=3)), min_size=1, max_size=30),
    st.floats(0.01, 0.99),
    st.integers(0, 99),
)
def test_properties(rows, fraction, seed):
    shown: dict[int, set[int]] = {}
    for content, held in rows:
        shown.setdefault(content, held)
    dataset = made([str(content) for content, _ in rows], [shown[content] for content, _ in rows])
    train, val = sides(dataset, fraction, seed)
    content = {item.name: dataset.scans[item.name].digest for item in dataset.items}
    assert not {content[name] for name in train} & {content[name] for name in val}, "copies straddle the split"
    assert train
    if len(shown) >= 2:
        assert val
    held = {name: set(dataset.scans[name].mask.counts) for name in content}
    learnt = set().union(*(held[name] for name in train))

    def elsewhere(content: int, label: int) -> bool:
        return any(label in classes for other, classes in shown.items() if other != content)

    spare = [content for content, classes in shown.items() if all(elsewhere(content, label) for label in classes)]
    if spare and len(shown) >= 2:
        assert set().union(*held.values()) <= learnt, "a class is only in validation"


def test_fraction_is_met_where_nothing_is_rare():
    dataset = made([str(index) for index in range(100)], [{1}] * 100)
    for fraction, count in ((0.01, 1), (0.2, 20), (0.5, 50), (0.995, 99)):
        assert len(sides(dataset, fraction)[1]) == count


def test_rare_classes_are_on_both_sides():
    classes = [{1}] * 60
    classes[7], classes[31], classes[44], classes[45] = {1, 2}, {1, 2}, {3}, {1, 3}
    classes[50] = {4}
    for seed in range(20):
        dataset = made([str(index) for index in range(60)], classes)
        train, val = sides(dataset, 0.1, seed)
        assert len(val) == 6
        for pair in (("007", "031"), ("044", "045")):
            assert len(val & set(pair)) == 1
        assert "050" in train


def test_another_seed_gives_another_split_and_the_same_seed_the_same():
    dataset = made([str(index) for index in range(50)], [{1}] * 50)
    assert sides(dataset, 0.2, 1) == sides(dataset, 0.2, 1) != sides(dataset, 0.2, 2)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_fractions_outside_are_refused(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        split(made(["a", "b"], [{1}, {1}]), fraction, 0)


def test_a_given_split_is_kept_and_blanks_are_filled():
    contents = [str(index) for index in range(6)]
    given_val = made(contents, [{1}] * 6, ["train", None, "val", "train", None, "val"])
    assert sides(given_val, 0.9)[1] == {"002", "005"}
    only_train = made(contents, [{1}] * 6, ["train"] * 6)
    assert len(sides(only_train, 0.33)[1]) == 2
    blanks = made(contents, [{1}] * 6, ["train", "train", "train", None, None, None])
    assert sides(blanks, 0.5)[1] < {"003", "004", "005"}


def test_names_order_and_encoding_do_not_matter(tmp_path):
    folder(tmp_path / "a", 10)
    for index in range(10):
        name = f"{'zyxwvutsrq'[index]}.png"
        save(picture(index), tmp_path / "b" / "images" / name, compress_level=1)
        save(blob_mask(index), tmp_path / "b" / "masks" / name)
    shutil.copy(tmp_path / "a" / "classes.txt", tmp_path / "b" / "classes.txt")
    first, second = (open_dataset(str(tmp_path / part), seed=0, size=None, workers=3, progress=False) for part in "ab")
    chosen = [{data.scans[item.name].digest for item in split(data, 0.3, 5)[1]} for data in (first, second)]
    assert chosen[0] == chosen[1] and len(chosen[0]) == 3
    assert first.digest == second.digest


def test_the_digest_follows_the_content(tmp_path):
    def digest() -> str:
        return open_dataset(str(tmp_path), seed=0, size=None, workers=1, progress=False).digest

    folder(tmp_path)
    before = digest()
    assert digest() == before
    save(blob_mask(3, 0), tmp_path / "masks" / "3.png")
    after = digest()
    assert after != before
    (tmp_path / "classes.txt").write_text("background\nnucleus\n")
    assert digest() not in (before, after)


def test_built_in_data_never_shares_images_between_sides():
    seen = set()
    for seed in (0, 1, 2):
        dataset = open_dataset("cells", seed=seed, size=64, workers=1)
        train, val = split(dataset, 0.2, seed)
        drawn = {item.rendered for item in train}, {item.rendered for item in val}
        assert not drawn[0] & drawn[1] and not drawn[0] & seen
        seen |= drawn[0]
    sample = dataset.read(train[5])
    assert sample.image.shape == (64, 64, 3) and np.array_equal(sample.image, dataset.read(train[5]).image)

"""Which images are learnt from and which are kept for measuring."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

from train.data.index import Dataset
from train.data.listing import Item
from train.data.masks import IGNORE
from train.data.object_maps import by_class
from train.data.tally import tally


@dataclass
class _Group:
    """Items that show the same picture, which stay together."""

    order: str
    items: list[Item]
    classes: set[int]


def split(dataset: Dataset, val_fraction: float, seed: int) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Divides a dataset into training and validation items.

    A split that the data gives is kept as it is; items that it does not place are for training. Otherwise images are
    drawn by the hash of their decoded pixels and the seed, so that names and order do not matter, and copies of one
    picture stay together. Rare classes are placed first: each class that occurs is in training, and also in validation if
    more than one picture shows it, as far as the fraction allows. (A simple form of iterative stratification, Sechidis et
    al. 2011.)

    Args:
        dataset: with or without a given split.
        val_fraction: share of the images to validate on, in (0, 1). Rounded, but at least one image of two.
        seed: another seed gives another split.

    Returns:
        Training items and validation items, each in the order of the dataset.

    Raises:
        ValueError: a fraction outside (0, 1).
    """
    if not 0.0 < val_fraction < 1.0:
        raise ValueError(f"val_fraction must be between 0 and 1, but got {val_fraction}.")
    if any(item.split == "val" for item in dataset.items):
        return _parts(dataset, {item.name for item in dataset.items if item.split == "val"})
    free = [item for item in dataset.items if item.split is None] or list(dataset.items)
    groups = _groups(dataset, free, seed)
    wanted = min(max(1, round(val_fraction * len(free))), len(free) - 1)
    return _parts(dataset, _draw(groups, wanted))


def _parts(dataset: Dataset, val: set[str]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    train_items = tuple(item for item in dataset.items if item.name not in val)
    return train_items, tuple(item for item in dataset.items if item.name in val)


def _groups(dataset: Dataset, items: list[Item], seed: int) -> list[_Group]:
    """One group per picture, in an order that depends on the pixels and the seed alone."""
    by_picture: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_picture[dataset.scans[item.name].digest or item.name].append(item)
    groups = []
    for picture, same in by_picture.items():
        classes = {label for item in same for label in classes_of(dataset, item)}
        groups.append(_Group(hashlib.sha256(f"{seed} {picture}".encode()).hexdigest(), same, classes))
    return sorted(groups, key=lambda group: group.order)


def classes_of(dataset: Dataset, item: Item) -> dict[int, int]:
    """Label id → pixels of one item, from the survey; without ignored pixels and without what has no label."""
    scan = dataset.scans[item.name]
    if scan.object_pixels is not None:
        return {label: pixels for label, pixels in scan.object_pixels.items() if label != 65_535}
    if scan.mask is not None:
        return {label: pixels for label, pixels in tally(scan.mask, dataset.rule)[0].items() if label != IGNORE}
    if scan.instances is None:
        return {}
    if dataset.rule.thousands:
        return {label: pixels for label, pixels in tally(by_class(scan.instances), dataset.rule)[0].items() if label != IGNORE}
    objects = sum(dataset.objects.objects_in(scan.instances.counts).values())
    empty = sum(pixels for value, pixels in scan.instances.counts.items() if value not in dataset.objects.ignored) - objects
    return {label: pixels for label, pixels in ((0, empty), (dataset.rule.object_label or 1, objects)) if pixels}


def _draw(groups: list[_Group], wanted: int) -> set[str]:
    """Names of the validation items."""
    left = Counter(label for group in groups for label in group.classes)
    chosen: dict[str, _Group] = {}
    size = 0

    def take(group: _Group) -> None:
        nonlocal size
        chosen[group.order] = group
        size += len(group.items)
        left.subtract(group.classes)

    def spare(group: _Group) -> bool:
        """Whether training keeps another picture of each of its classes, and validation has room for it."""
        return size + len(group.items) <= wanted and all(left[label] > 1 for label in group.classes)

    total = dict(left)
    for label in sorted(total, key=lambda label: (total[label], label)):
        if total[label] == len(groups) or any(label in group.classes for group in chosen.values()):
            continue
        candidate = next((group for group in groups if label in group.classes and spare(group)), None)
        if candidate is not None:
            take(candidate)
    for group in groups:
        if group.order not in chosen and spare(group):
            take(group)
    if not chosen and len(groups) > 1:
        # No picture can be spared without loss: measuring nothing would be worse than learning from a little less.
        lost = {group.order: sum(left[label] < 2 for label in group.classes) for group in groups}
        take(min(groups, key=lambda group: (lost[group.order], len(group.items), group.order)))
    return {item.name for group in chosen.values() for item in group.items}

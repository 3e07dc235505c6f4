"""Counting what mean IoU is made of, against the algorithm of the ``evaluate`` library's ``mean_iou``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks import subjects
from benchmarks.measure import Row, compare
from seg_demo.masks.compare import confusion


def rows(quick: bool) -> Iterator[Row]:
    """The row of this file.

    Args:
        quick: fewer images.
    """
    yield accumulation_row(5 if quick else 20, 512, subjects.CLASSES)


def label_maps(count: int, side: int, classes: int, seed: int) -> list[np.ndarray]:
    """Label maps of square patches; uint8 (side, side), a few pixels ignored (255)."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        patches = random.integers(0, classes, (side // 16, side // 16), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        patches[random.random(patches.shape) < 0.01] = 255
        found.append(patches)
    return found


def histograms(truths: list[np.ndarray], guesses: list[np.ndarray], classes: int) -> tuple[np.ndarray, ...]:
    """``evaluate``'s ``total_intersect_and_union``: three histograms of masked float arrays per image.

    Returns:
        Pixels in common, pixels in either, pixels of the predictions, pixels of the truth; float64 (classes,) each.
    """
    totals = tuple(np.zeros(classes, dtype=np.float64) for _ in range(4))
    for label, guess in zip(truths, guesses, strict=True):
        mask = np.not_equal(label, 255)
        guess, label = guess[mask], np.array(label)[mask]
        common = guess[guess == label]
        edges = classes - 1
        area_common = np.histogram(common, bins=classes, range=(0, edges))[0]
        area_guess = np.histogram(guess, bins=classes, range=(0, edges))[0]
        area_label = np.histogram(label, bins=classes, range=(0, edges))[0]
        areas = (area_common, area_guess + area_label - area_common, area_guess, area_label)
        for total, area in zip(totals, areas, strict=True):
            total += area
    return totals


def accumulation_row(count: int, side: int, classes: int) -> Row:
    """The counts over some images."""
    truths = label_maps(count, side, classes, 0)
    guesses = [np.where(each == 255, 0, each).astype(np.uint8) for each in label_maps(count, side, classes, 1)]
    # Half of every prediction is right.
    for truth, guess in zip(truths, guesses, strict=True):
        guess[: side // 2] = np.where(truth == 255, 0, truth)[: side // 2]

    def ours() -> tuple[np.ndarray, ...]:
        counts = sum(confusion(truth, guess, classes, ignore=255) for truth, guess in zip(truths, guesses, strict=True))
        common, by_truth, by_guess = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
        return common, by_truth + by_guess - common, by_guess, by_truth

    return compare(
        f"mIoU accumulation, {count} images of {side}², {classes} classes", "evaluate's algorithm",
        ours, lambda: histograms(truths, guesses, classes),
        lambda mine, theirs: "counts identical" if all(map(np.array_equal, mine, theirs)) else "DIFFERENT",
        targets=(0.15, None), repeats=3,
    )  # fmt: skip

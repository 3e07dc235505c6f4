"""The samples of a run: read, kept decoded, and counted."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import torch

from train.data.index import Dataset
from train.data.listing import Item
from train.data.objects import as_objects
from train.data.sample import Sample
from train.loop.batches import local_processes, preload


def read_item(dataset: Dataset, items: tuple[Item, ...], task: str, index: int) -> Sample:
    """Sample ``index`` of some items of a data set, with objects if the task needs them.

    A plain function of the module, so that other processes can run it.
    """
    sample = dataset.read(items[index])
    return as_objects(sample, dataset) if task == "instance" else sample


def preloaded(
    read: Callable[[int], Sample], dataset: Dataset, count: int, quiet: bool, budget: int
) -> dict[int, Sample]:
    """Samples that are decoded once and kept, on all cores of this process's share.

    Args:
        read: index → sample.
        dataset: where they are from.
        count: number of samples.
        quiet: no progress bar.
        budget: bytes of decoded pixels to keep.

    Returns:
        index → sample, as many as fit.
    """
    # Rendering is Python and needs processes; decoders let go of the interpreter, so threads are enough for files.
    workers = max(1, (os.cpu_count() or 1) // local_processes())
    if dataset.source == "cells":
        executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    else:
        executor = ThreadPoolExecutor(workers)
    with executor:
        return preload(read, count, budget, executor, quiet)


def count_pixels(samples: Iterable[Sample], classes: int) -> list[int]:
    """Pixels per class in some samples.

    Args:
        samples: with label maps.
        classes: number of classes.
    """
    counts = np.zeros(classes, dtype=np.int64)
    for sample in samples:
        counts += np.bincount(sample.label_map.ravel(), minlength=classes)[:classes]
    return counts.tolist()


def balanced_weights(class_pixels: Sequence[int], classes: int) -> torch.Tensor:
    """Median-frequency balancing (Eigen and Fergus 2015): rarer classes weigh more, at most ten times the median.

    >>> balanced_weights([900, 90, 10], 3).tolist()
    [0.10000000149011612, 1.0, 9.0]

    Args:
        class_pixels: pixels per class in the training images.
        classes: number of classes.

    Returns:
        float32 (classes,); 0 for classes that never occur.
    """
    pixels = torch.tensor([float(class_pixels[index]) for index in range(classes)])
    median = pixels[pixels > 0].median()
    return torch.where(pixels > 0, (median / pixels.clamp(min=1)).clamp(max=10), torch.zeros_like(pixels))

"""Samples decoded once and kept: read in parallel, in their order, until the memory budget is used up.

Worker processes import this module and what renders or decodes, but no torch: each is small, and at work within a second.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

from tqdm import tqdm

from train.data.index import Dataset
from train.data.listing import Item
from train.data.objects import as_objects
from train.data.sample import Sample

CHUNK = 64


def read_item(dataset: Dataset, items: tuple[Item, ...], task: str, index: int) -> Sample:
    """Sample ``index`` of some items of a data set, with objects if the task needs them.

    A plain function of the module, so that other processes can run it.
    """
    sample = dataset.read(items[index])
    return as_objects(sample, dataset) if task == "instance" else sample


def preload(
    read: Callable[[int], Sample], dataset: Dataset, count: int, budget: int, workers: int, quiet: bool = False
) -> dict[int, Sample]:
    """Read samples once, in parallel.

    Args:
        read: index → sample; picklable if the data set is rendered.
        dataset: where they are from.
        count: number of samples.
        budget: bytes of decoded pixels to keep.
        workers: processes or threads that read.
        quiet: no progress bar.

    Returns:
        index → sample for as many as fit, beginning with the first.
    """
    cached: dict[int, Sample] = {}
    used = 0
    # A chunk is in memory whole, kept or not: photographs come a few at a time, small rendered pictures many.
    chunk = CHUNK if dataset.source == "cells" else 2 * max(1, workers)
    with _executor(read, dataset, workers) as executor:
        task = _read_in_worker if isinstance(executor, ProcessPoolExecutor) else read
        with tqdm(total=count, desc="reading images", unit="image", disable=quiet or None, leave=False) as bar:
            for first in range(0, count, chunk):
                indices = range(first, min(count, first + chunk))
                for index, sample in zip(indices, executor.map(task, indices), strict=True):
                    used += sample.image.nbytes + sample.label_map.nbytes
                    used += sum(layer.nbytes for layer in sample.layers)
                    if used <= budget:
                        cached[index] = sample
                    bar.update()
                if used > budget:
                    break
    return cached


def _executor(read: Callable[[int], Sample], dataset: Dataset, workers: int) -> Executor:
    """Rendering is Python and needs processes; decoders let go of the interpreter, so threads are enough for files."""
    if dataset.source != "cells":
        return ThreadPoolExecutor(workers)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(read, os.getpid()))


_read: Callable[[int], Sample] | None = None


def _begin(read: Callable[[int], Sample], parent: int) -> None:
    """Once per worker: the list of all items is sent once, not with every index; and nobody outlives a killed run."""
    global _read
    _read = read

    def leave_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _read_in_worker(index: int) -> Sample:
    return _read(index)

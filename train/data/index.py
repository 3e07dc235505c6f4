"""Training data as a person types it (a folder, a list, ``hub:USER/NAME``, ``cells``) → a Dataset whose items are read one by one.

What people bring is read by :mod:`seg_demo.annotations`; the built-in data is rendered. Samples are decoded once and kept (:func:`preload`), until the
memory budget is used up. Worker processes import this module and what renders or decodes, but no torch: each is small, and at work within a second.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seg_demo.annotations.dataset import Dataset, as_objects, open_annotated
from seg_demo.annotations.listing import Item, Sample
from seg_demo.core.errors import DataError, Message
from seg_demo.core.types import TASKS, LabelSet
from synthetic import nuclei
from synthetic import objects as rendered_objects
from synthetic.cells import CLASS_COLORS, CLASS_NAMES, render

CELLS, OBJECTS, NUCLEI = "cells", "objects", "nuclei"
CELLS_TRAIN, CELLS_VAL, CELLS_SIZE = 2400, 200, 256
# What this project renders: class names and colours; training and validation images, and their side in pixels.
BUILT_IN = {
    CELLS: (CLASS_NAMES, CLASS_COLORS, (CELLS_TRAIN, CELLS_VAL, CELLS_SIZE)),
    OBJECTS: (rendered_objects.CLASS_NAMES, rendered_objects.CLASS_COLORS, (2400, 24, 320)),
    NUCLEI: (nuclei.CLASS_NAMES, nuclei.CLASS_COLORS, (2400, 60, 256)),
}
# The validation images are the same whatever the training seed is, so that runs can be compared.
CELLS_VAL_SEED = 1


def open_dataset(
    source: str,
    *,
    seed: int,
    size: int | None,
    workers: int,
    progress: bool = True,
    samples: int | None = None,
    reading: str | None = None,
) -> Dataset:
    """Opens training data and reads every file of it once, in parallel, to learn what the masks mean.

    Args:
        source: ``cells``, ``objects`` or ``nuclei`` (built in), or what :func:`open_annotated` takes.
        seed: of the built-in data; other data has its own content.
        size: side in pixels of built-in images, None for 256, of objects 320; other data has its own sizes.
        workers: threads that read; 0 counts as 1.
        progress: whether to draw a progress bar on stderr.
        samples: training images of built-in data, None for 2400; other data has its own number.
        reading: which of two readings of the masks is meant, as there.

    Raises:
        DataError: as there.
    """
    if source in BUILT_IN:
        return _built_in(source, seed, size, samples)
    return open_annotated(source, workers=workers, progress=progress, reading=reading)


def _built_in(source: str, seed: int, size: int | None, samples: int | None) -> Dataset:
    """Built-in data: training images of the seed, and validation images that no training seed draws."""
    if seed < 0:
        raise DataError("data.bad_seed", seed=seed)
    names, colors, (count, val_count, side) = BUILT_IN[source]
    count, side = (count if samples is None else samples), (side if size is None else size)
    # Training seeds are even and the validation seed is odd, so that no image is in both.
    train = [Item(f"{source}-train-{i:05d}", None, split="train", rendered=(2 * seed, i)) for i in range(count)]
    val = [Item(f"{source}-val-{i:05d}", None, split="val", rendered=(CELLS_VAL_SEED, i)) for i in range(val_count)]
    content = f"{source} {seed} {side} {count} {val_count} {CELLS_VAL_SEED} {names}"
    return Dataset(
        name=source, source=source, root=Path(), labels=LabelSet(names, np.array(colors, dtype=np.uint8), 0), items=(*train, *val),
        kind="instance", things=(1,), digest=hashlib.sha256(content.encode()).hexdigest(), size=side, render=partial(_rendered, source, side),
        notes=(Message("data.built_in", count=count, size=side, seed=seed, val=val_count),),
    )  # fmt: skip


def _rendered(source: str, side: int, item: Item) -> Sample:
    """A sample of built-in data, ``side`` pixels wide and high."""
    if source == OBJECTS:
        return rendered_objects.render(*item.rendered, side)
    if source == NUCLEI:
        return nuclei.render(*item.rendered, side)
    return render(*item.rendered, side, training=item.split == "train")


CHUNK = 64


def read_item(dataset: Dataset, items: tuple[Item, ...], task: str, index: int) -> Sample:
    """Sample ``index`` of some items of a data set, with objects if the task needs them.

    A plain function of the module, so that other processes can run it.
    """
    sample = dataset.read(items[index])
    return as_objects(sample, dataset, task) if TASKS[task].objects else sample


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
    chunk = CHUNK if dataset.source in BUILT_IN else 2 * max(1, workers)
    with _executor(read, dataset, workers) as executor:
        task = _read_in_worker if isinstance(executor, ProcessPoolExecutor) else read
        with tqdm(total=count, desc="reading images", unit="image", disable=quiet or None, leave=False) as bar:
            for first in range(0, count, chunk):
                indices = range(first, min(count, first + chunk))
                for index, sample in zip(indices, executor.map(task, indices), strict=True):
                    used += sample.nbytes
                    if used <= budget:
                        cached[index] = sample
                    bar.update()
                if used > budget:
                    break
    return cached


def _executor(read: Callable[[int], Sample], dataset: Dataset, workers: int) -> Executor:
    """Rendering is Python and needs processes; decoders let go of the interpreter, so threads are enough for files."""
    if dataset.source not in BUILT_IN:
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

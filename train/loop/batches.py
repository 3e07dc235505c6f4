"""Samples → batches: decoded once, varied afresh every epoch, in an order that depends on nothing but the seed.

Every crop is a pure function of (seed, epoch, index), so a resumed run, a run with more workers and a run on more processes
see the same data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from train.data.augment import augment
from train.data.sample import Sample

Key = tuple[int, int]


@dataclass(frozen=True)
class Crop:
    """One varied training crop: tensors as :func:`train.data.augment.augment` returns them, and where it came from."""

    image: torch.Tensor
    labels: torch.Tensor
    instances: torch.Tensor | None
    instance_labels: np.ndarray | None
    name: str


@dataclass(frozen=True)
class Plan:
    """The order of the data: which samples every process sees at every step.

    Attributes:
        count: number of training samples.
        batch_size: samples per micro-batch and process.
        accumulate: micro-batches per optimizer step.
        processes: number of processes.
        seed: decides the order.
    """

    count: int
    batch_size: int
    accumulate: int
    processes: int
    seed: int

    @property
    def per_step(self) -> int:
        """Samples per optimizer step over all processes."""
        return self.batch_size * self.accumulate * self.processes

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in which about every sample is seen once; at least 1."""
        return max(1, self.count // self.per_step)

    def keys(self, step: int) -> list[Key]:
        """The (epoch, index) keys of one optimizer step, over all processes in order.

        The samples of all epochs form one endless stream of shuffles, so that no sample is dropped at an epoch's end.
        """
        keys = []
        for position in range(step * self.per_step, (step + 1) * self.per_step):
            epoch, place = divmod(position, self.count)
            keys.append((epoch, int(_shuffle(self.count, self.seed, epoch)[place])))
        return keys

    def micro_batches(self, start: int, stop: int, process: int) -> Iterator[list[Key]]:
        """The micro-batches of one process for the steps from ``start`` to ``stop``, ``accumulate`` per step.

        The doubled batch of one process is dealt out to two processes image by image.
        """
        for step in range(start, stop):
            mine = self.keys(step)[process :: self.processes]
            for first in range(0, len(mine), self.batch_size):
                yield mine[first : first + self.batch_size]


_SHUFFLES: dict[tuple[int, int, int], np.ndarray] = {}


def _shuffle(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of one epoch; the last few are remembered, since every key asks for one."""
    key = (count, seed, epoch)
    if key not in _SHUFFLES:
        while len(_SHUFFLES) >= 4:
            _SHUFFLES.pop(next(iter(_SHUFFLES)))
        _SHUFFLES[key] = np.random.default_rng([seed, 7, epoch]).permutation(count)
    return _SHUFFLES[key]


class CropDataset(Dataset):
    """Varied crops of samples by (epoch, index); decoded samples are kept as far as memory allows."""

    def __init__(self, read: Callable[[int], Sample], cached: dict[int, Sample], level: str, size: int, seed: int) -> None:
        """
        Args:
            read: index → sample, for those that are not in ``cached``.
            cached: samples that are already decoded.
            level: of :func:`augment`.
            size: side of the crops in pixels.
            seed: decides the crops.
        """
        self.read, self.cached, self.level, self.size, self.seed = read, cached, level, size, seed

    def __getitem__(self, key: Key) -> Crop:
        epoch, index = key
        sample = self.cached.get(index)
        if sample is None:
            sample = self.read(index)
        crop_seed = int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1, np.uint64)[0] >> 1)
        image, labels, instances = augment(sample, self.level, self.size, crop_seed)
        return Crop(image, labels, instances, sample.instance_labels, sample.name)


def preload(
    read: Callable[[int], Sample], count: int, budget: int, executor: Executor | None, quiet: bool = False
) -> dict[int, Sample]:
    """Decode samples once, in parallel, until the memory budget is used up.

    Args:
        read: index → sample; picklable if the executor runs processes.
        count: number of samples.
        budget: bytes of decoded pixels to keep.
        executor: what runs ``read``; None runs it here.
        quiet: no progress bar.

    Returns:
        index → sample for as many as fit, beginning with the first.
    """
    cached: dict[int, Sample] = {}
    used = 0
    chunk = 64
    with tqdm(total=count, desc="reading images", unit="image", disable=quiet or None, leave=False) as bar:
        for first in range(0, count, chunk):
            indices = range(first, min(count, first + chunk))
            samples = executor.map(read, indices) if executor else map(read, indices)
            for index, sample in zip(indices, samples, strict=True):
                used += sample.image.nbytes + sample.label_map.nbytes
                used += 0 if sample.instance_map is None else sample.instance_map.nbytes
                cached[index] = sample
                bar.update()
            if used > budget:
                break
    return cached


def memory_budget(share: float = 0.3) -> int:
    """Bytes that decoded samples may take: a share of the machine's physical memory, divided among this run's processes."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * share / local_processes())


def local_processes() -> int:
    """Processes of this run on this machine, as torchrun and ``accelerate launch`` tell each of them."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def loader(dataset: CropDataset, batches: Iterable[list[Key]], workers: int) -> Iterator[list[Crop]]:
    """Batches of crops, in the order of ``batches`` whatever the number of workers.

    Args:
        dataset: gives a crop for a key.
        batches: keys of every micro-batch, drawn as they are needed.
        workers: loading processes; 0 loads in this one.
    """
    return iter(
        DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=list,
            prefetch_factor=4 if workers else None,
            persistent_workers=False,
        )
    )

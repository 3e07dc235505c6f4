"""Samples → batches: decoded once, varied afresh every epoch, in an order that depends on nothing but the seed.

Every crop is a pure function of (seed, epoch, index), so a resumed run, a run with more workers and a run on more processes
see the same data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from seg_demo.models.devices import total_memory
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

    def __init__(
        self,
        read: Callable[[int], Sample],
        cached: dict[int, Sample],
        level: str,
        size: int,
        seed: int,
        seen: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """
        Args:
            read: index → sample, for those that are not in ``cached``.
            cached: samples that are already decoded.
            level: of :func:`augment`.
            size: side of the crops in pixels.
            seed: decides the crops.
            seen: resizes a sample as the network sees a picture of its size, before it is varied; None leaves it.
        """
        self.read, self.cached, self.level, self.size, self.seed = read, cached, level, size, seed
        self.seen = seen

    def __getitem__(self, key: Key) -> Crop:
        epoch, index = key
        sample = self.sample(key)
        if self.seen is not None:
            sample = self.seen(sample)
        crop_seed = int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1, np.uint64)[0] >> 1)
        image, labels, instances = augment(sample, self.level, self.size, crop_seed)
        return Crop(image, labels, instances, sample.instance_labels, sample.name)

    def sample(self, key: Key) -> Sample:
        """The sample that a key stands for, before it is varied."""
        _, index = key
        sample = self.cached.get(index)
        return self.read(index) if sample is None else sample


def memory_budget(share: float = 0.3) -> int:
    """Bytes that decoded samples may take: a share of the memory of this container, divided among this run's processes."""
    return int(total_memory(torch.device("cpu")) * share / local_processes())


def local_processes() -> int:
    """Processes of this run on this machine, as torchrun and ``accelerate launch`` tell each of them."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def local_cores() -> int:
    """Processor cores for each of this run's processes on this machine, at least 1."""
    return max(1, (os.cpu_count() or 1) // local_processes())


def workers_for(wanted: int | None, device: torch.device) -> int:
    """Processes that load data.

    Args:
        wanted: as set; None chooses.
        device: where the network is trained.
    """
    if wanted is not None:
        return wanted
    # On a CPU the network itself needs every core; loading beside it only adds copies.
    return 0 if device.type == "cpu" else min(8, max(2, (torch.get_num_threads() * 3) // 4))


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

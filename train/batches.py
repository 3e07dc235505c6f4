"""Samples → batches: decoded once, varied afresh every epoch, in an order that depends on nothing but the seed.

Every crop is a pure function of (seed, epoch, index), so a resumed run, a run with more workers and a run on more processes
see the same data.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from seg_demo.annotations.dataset import Dataset, as_objects
from seg_demo.annotations.listing import Sample
from seg_demo.core import IGNORE, IGNORE_16, TASKS, LabelSet, ModelSpec
from seg_demo.inference.engine import total_memory
from seg_demo.networks.preprocessing import tensor_of
from synthetic.cells import CLASS_NAMES, render
from train.config import ConfigError
from train.data import CELLS_SIZE

if TYPE_CHECKING:
    from seg_demo.networks.base import Network

Key = tuple[int, int]


@dataclass(frozen=True)
class Crop:
    """One varied training crop: tensors as :func:`train.batches.augment` returns them, and where it came from."""

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


class CropDataset(TorchDataset):
    """Varied crops of samples by (epoch, index); decoded samples are kept as far as memory allows."""

    def __init__(
        self,
        read: Callable[[int], Sample],
        cached: dict[int, Sample],
        level: str,
        size: int,
        seed: int,
        seen: Callable[[Sample], Sample] | None = None,
        replay: Replay | None = None,
    ) -> None:
        """
        Args:
            read: index → sample, for those that are not in ``cached``.
            cached: samples that are already decoded.
            level: of :func:`augment`.
            size: side of the crops in pixels.
            seed: decides the crops.
            seen: makes a sample of the data as the network sees a picture of its size, before it is varied; None where ``read`` and
                ``cached`` give it so.
            replay: gives the samples of indices beyond the data's own.
        """
        self.read, self.cached, self.level, self.size, self.seed = read, cached, level, size, seed
        self.seen, self.replay = seen, replay

    def __getitem__(self, key: Key) -> Crop:
        epoch, index = key
        sample = self.sample(key)
        crop_seed = int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1, np.uint64)[0] >> 1)
        image, labels, instances = augment(sample, self.level, self.size, crop_seed)
        return Crop(image, labels, instances, sample.instance_labels, sample.name)

    def sample(self, key: Key) -> Sample:
        """The sample that a key stands for, as the network sees it, before it is varied."""
        epoch, index = key
        if self.replay is not None and index >= self.replay.own:
            return self.replay.sample(epoch, index)
        sample = self.cached.get(index)
        sample = self.read(index) if sample is None else sample
        return sample if self.seen is None else self.seen(sample)


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


# Renders that a run sees in turn; each is drawn when it is first needed, and kept.
POOL = 128


def replay_count(share: float, images: int, dataset: Dataset, base: ModelSpec | None) -> int:
    """How many built-in images join the training images of an epoch.

    Args:
        share: of the crops that are built-in ones, in [0, 0.9].
        images: of the data itself.
        dataset: whose classes the built-in ones must fit.
        base: what the run starts from.

    Raises:
        ConfigError: the data has no class of the built-in one's objects.
    """
    if share == 0:
        return 0
    if dataset.source == "cells":
        raise ConfigError("training.replay_of_itself")
    if cell_of(dataset.labels, base) is None:
        names = ", ".join(dataset.labels.names)
        raise ConfigError("training.replay_without_cell", share=share, names=names)
    return max(1, round(share / (1 - share) * images))


def cell_of(labels: LabelSet, base: ModelSpec | None) -> int | None:
    """Which class of the data the built-in cells are: that of this name, else the only thing where the base is a bundled one.

    The latter is how such a base's head is handed on (:func:`train.base_model.in_words_of`).

    Args:
        labels: of the data.
        base: what the run starts from.
    """
    named = (index for index, name in enumerate(labels.names) if name.strip().casefold() == "cell")
    things = [index for index in range(len(labels)) if index != labels.background]
    only = things[0] if base is not None and base.source == "bundled" and len(things) == 1 else None
    return next(named, only)


@dataclass
class Replay:
    """Built-in samples among those of the data, others in every epoch.

    Attributes:
        own: samples of the data.
        extra: built-in samples of an epoch.
        seed: decides them.
        dataset: whose label ids are wanted.
        task: ``semantic`` or ``instance``.
        base: what the run starts from.
        seen: makes a sample as the network sees it; None leaves it.
        drawn: those that were needed already, by their number.
    """

    own: int
    extra: int
    seed: int
    dataset: Dataset
    task: str
    base: ModelSpec | None
    seen: Callable[[Sample], Sample] | None = None
    drawn: dict[int, Sample] = field(default_factory=dict)

    def sample(self, epoch: int, index: int) -> Sample:
        """The built-in sample of an index beyond those of the data: a pure function of epoch, index and seed."""
        number = (epoch * self.extra + index - self.own) % POOL
        if number not in self.drawn:
            # Even seeds are for training: none of these is a validation image of the built-in data.
            sample = render(2 * self.seed, number, CELLS_SIZE, training=True)
            sample = translated(sample, self.dataset, self.task, self.base)
            self.drawn[number] = sample if self.seen is None else self.seen(sample)
        return self.drawn[number]


def translated(sample: Sample, dataset: Dataset, task: str, base: ModelSpec | None) -> Sample:
    """A built-in sample with the label ids of other data, classes matched by their names and :func:`cell_of`.

    Args:
        sample: of the built-in data.
        dataset: whose classes are wanted.
        task: where it has objects, the class of each is named too.
        base: what the run starts from.

    Returns:
        The sample; pixels of classes that the data lacks (the border between cells) are ignored.
    """
    ignore = int(np.iinfo(dataset.rule.dtype).max)
    ids = {name.strip().casefold(): index for index, name in reversed(list(enumerate(dataset.labels.names)))}
    if dataset.labels.background is not None:
        ids["background"] = dataset.labels.background
    if (cell := cell_of(dataset.labels, base)) is not None:
        ids["cell"] = cell
    table = np.array([ids.get(name, ignore) for name in CLASS_NAMES], dtype=dataset.rule.dtype)
    fitted = Sample(sample.image, table[sample.label_map], sample.instance_map, sample.name, hidden=sample.hidden)
    return as_objects(fitted, dataset, task) if TASKS[task].objects else fitted


class AsSeen:
    """Brightens and resizes a sample as the checkpoint does an upload, its masks by nearest neighbour.

    To be done once: what noise, or the blocks of a JPEG, kept from being brightened has less of them once it is smaller.
    """

    def __init__(self, checkpoint: Network) -> None:
        """
        Args:
            checkpoint: whose preprocessing is used; its weights are not kept, so that this is small enough to be sent to a worker.
        """
        self._checkpoint = dataclasses.replace(checkpoint, module=_only_transform(checkpoint.module))

    def __call__(self, sample: Sample) -> Sample:
        """The same sample at the network's size."""
        if sample.fractions:
            return sample
        exposed = self._checkpoint.exposed(sample.seen)
        seen = self._checkpoint.pixels_as_seen(exposed)
        size = seen.shape[:2]
        if sample.values is None and size == sample.image.shape[:2] and exposed is sample.seen:
            return sample
        maps = {"label_map": nearest(sample.label_map, size)}
        if sample.instance_map is not None:
            maps["instance_map"] = nearest(sample.instance_map, size)
        if sample.hidden is not None:
            maps["hidden"] = np.stack([nearest(layer, size) for layer in sample.hidden])
        if sample.values is None:
            return dataclasses.replace(sample, image=seen, crowd=None, **maps)
        image = np.broadcast_to(np.zeros(3, np.uint8), (*size, 3))  # nobody looks at it any more
        return dataclasses.replace(sample, image=image, values=seen, fractions=True, crowd=None, **maps)


def _only_transform(module: nn.Module) -> nn.Module:
    """torchvision's detectors keep their sizes in a part of the module, which has no weights."""
    kept = nn.Module()
    if hasattr(module, "transform"):
        kept.transform = module.transform
    return kept


def nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size, each pixel's value that of the nearest.

    Args:
        mask: uint8 or uint16 (H, W).
        size: (height, width) in pixels.
    """
    numbers = torch.from_numpy(mask.astype(np.float32))[None, None]
    return nn.functional.interpolate(numbers, size, mode="nearest-exact")[0, 0].numpy().astype(mask.dtype)


def read_as_seen(read: Callable[[int], Sample], seen: AsSeen, index: int) -> Sample:
    """A sample as it is read and then resized; a plain function, so that worker processes can run it."""
    return seen(read(index))


# Beyond every class: in 16 bits 255 may be one.


def augment(sample: Sample, level: str, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """One training crop of a sample. The same arguments give the same crop.

    Args:
        sample: image uint8 (H, W, 3) or values as :class:`AsSeen` makes them (H, W, C), label map (H, W), instance map (H, W) or None, with the
            objects below others.
        level: ``none`` (a random crop), ``light`` (flips, mild scale and colour) or ``strong`` (also rotation, wide scale,
            grey, inversion, blur and noise).
        size: side of the crop in pixels.
        seed: decides every random choice.

    Returns:
        image float32 (C, size, size) in [0, 1]; label map int64 (size, size), 65535 where nothing is known; instance map
        int64 (size, size), or (1 + L, size, size) with L layers of objects that lie below others, or None.
    """
    image = tv_tensors.Image(tensor_of(sample.seen).permute(2, 0, 1))
    labels = sample.label_map.astype(np.int32)
    if sample.label_map.dtype == np.uint8:
        labels[sample.label_map == IGNORE] = IGNORE_16
    planes = [labels, *(layer.astype(np.int32) for layer in sample.layers)]
    masks = tv_tensors.Mask(torch.from_numpy(np.stack(planes)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image, masks = _geometry(image, masks, level, size)
        image = F.to_dtype(image, torch.float32, scale=True)
        if level != "none":
            vary = _appearance if sample.values is None else _channels_vary
            image = vary(image, strong=level == "strong")
    masks = masks.long().as_subclass(torch.Tensor)
    objects = None if sample.instance_map is None else masks[1] if sample.hidden is None else masks[1:]
    return image.as_subclass(torch.Tensor), masks[0], objects


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * torch.rand(()).item()


def _chance(probability: float) -> bool:
    return torch.rand(()).item() < probability


def _geometry(
    image: tv_tensors.Image, masks: tv_tensors.Mask, level: str, size: int
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    if level == "strong" and _chance(0.25):
        angle = _uniform(-45, 45)
        image = F.rotate(image, angle, interpolation=v2.InterpolationMode.BILINEAR, expand=False)
        masks = _filled(F.rotate(masks + 1, angle, expand=False))
    if level != "none":
        low, high = (0.5, 1.6) if level == "strong" else (0.8, 1.25)
        scale = float(np.exp(_uniform(np.log(low), np.log(high))))
        height, width = image.shape[-2:]
        # A scene smaller than the crop would be mostly padding, which teaches nothing.
        scale = max(scale, size / max(height, width))
        target = [max(1, round(height * scale)), max(1, round(width * scale))]
        image, masks = _crop(image, masks, round(size / scale))
        target = [size if side == round(size / scale) else max(1, round(side * scale)) for side in image.shape[-2:]]
        image = F.resize(image, target, antialias=True)
        masks = F.resize(masks, target, interpolation=v2.InterpolationMode.NEAREST_EXACT)
    image, masks = _crop(image, masks, size)
    if level != "none":
        if _chance(0.5):
            image, masks = F.horizontal_flip(image), F.horizontal_flip(masks)
        if _chance(0.5):
            image, masks = F.vertical_flip(image), F.vertical_flip(masks)
        if level == "strong" and _chance(0.5):
            image, masks = image.transpose(-1, -2), masks.transpose(-1, -2)
    missing = [size - image.shape[-1], size - image.shape[-2]]
    if any(missing):
        image = F.pad(image, [0, 0, *missing], padding_mode="constant")
        masks = _filled(F.pad(masks + 1, [0, 0, *missing]))
    return tv_tensors.Image(image), tv_tensors.Mask(masks)


def _filled(shifted: torch.Tensor) -> torch.Tensor:
    """Masks that were shifted by one, so that 0 marks what came from outside: ignore for labels, no object for instances."""
    outside = shifted == 0
    masks = shifted - 1
    masks[0][outside[0]] = IGNORE_16
    masks[1:][outside[1:]] = 0
    return masks


def _crop(image: torch.Tensor, masks: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A random square of at most ``side`` pixels, at most the image."""
    height, width = image.shape[-2:]
    rows, columns = min(side, height), min(side, width)
    top = int(torch.randint(height - rows + 1, ()).item())
    left = int(torch.randint(width - columns + 1, ()).item())
    return F.crop(image, top, left, rows, columns), F.crop(masks, top, left, rows, columns)


def _appearance(image: torch.Tensor, strong: bool) -> torch.Tensor:
    spread = 0.4 if strong else 0.2
    image = F.adjust_brightness(image, _uniform(1 - spread, 1 + spread))
    image = F.adjust_contrast(image, _uniform(1 - spread, 1 + spread))
    image = F.adjust_saturation(image, _uniform(1 - spread, 1 + spread))
    if not strong:
        return image
    if _chance(0.2):
        image = F.adjust_hue(image, _uniform(-0.5, 0.5))
    if _chance(0.15):
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if _chance(0.1):
        image = 1 - image
    if _chance(0.3):
        image = image.clamp(0, 1) ** float(np.exp(_uniform(-0.5, 0.5)))
    if _chance(0.15):
        image = F.gaussian_blur(image, [5, 5], [_uniform(0.3, 1.5)])
    if _chance(0.25):
        image = image + torch.randn(image.shape) * _uniform(0.005, 0.05)
    return image.clamp(0, 1)


def _channels_vary(image: torch.Tensor, strong: bool) -> torch.Tensor:
    """As :func:`_appearance`, of channels that are no colours: brightness and contrast of each by itself, and nothing that mixes them."""
    spread, shape = 0.4 if strong else 0.2, (image.shape[0], 1, 1)
    gain, contrast = (1 - spread + 2 * spread * torch.rand(shape) for _ in range(2))
    image = (image * gain).clamp(0, 1)
    mean = image.mean(dim=(1, 2), keepdim=True)
    image = ((image - mean) * contrast + mean).clamp(0, 1)
    if not strong:
        return image
    if _chance(0.3):
        image = image ** torch.exp(torch.rand(shape) - 0.5)
    if _chance(0.15):
        image = F.gaussian_blur(image, [5, 5], [_uniform(0.3, 1.5)])
    if _chance(0.25):
        image = image + torch.randn(image.shape) * _uniform(0.005, 0.05)
    return image.clamp(0, 1)

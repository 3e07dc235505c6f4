"""Training samples at the size in which the network will see pictures when it is used: scale is something that networks learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from seg_demo import networks
from seg_demo.networks.base import Checkpoint
from train.data.sample import Sample


class AsSeen:
    """Resizes a sample as the checkpoint's preprocessing resizes an upload, its masks by nearest neighbour.

    A sample that has that size already stays as it is, so that it may be done twice.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """
        Args:
            checkpoint: whose preprocessing is used; its weights are not kept, so that this is small enough to be sent to a worker.
        """
        self._checkpoint = dataclasses.replace(checkpoint, module=_only_transform(checkpoint.module))

    def __call__(self, sample: Sample) -> Sample:
        """The same sample at the network's size."""
        verbs = networks.network(self._checkpoint.architecture)
        image = verbs.pixels_as_seen(self._checkpoint, sample.image)
        size = image.shape[:2]
        if size == sample.image.shape[:2]:
            return sample
        maps = {"label_map": nearest(sample.label_map, size)}
        if sample.instance_map is not None:
            maps["instance_map"] = nearest(sample.instance_map, size)
        if sample.hidden is not None:
            maps["hidden"] = np.stack([nearest(layer, size) for layer in sample.hidden])
        return dataclasses.replace(sample, image=image, **maps)


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
    return F.interpolate(numbers, size, mode="nearest-exact")[0, 0].numpy().astype(mask.dtype)


def read_as_seen(read: Callable[[int], Sample], seen: AsSeen, index: int) -> Sample:
    """A sample as it is read and then resized; a plain function, so that worker processes can run it."""
    return seen(read(index))

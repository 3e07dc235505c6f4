"""How often each class occurs in the samples of a run, and what it weighs for that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from train.data.sample import Sample


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

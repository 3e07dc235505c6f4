"""Augmentation: image, labels and objects stay together; no label is invented; the seed decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seg_demo.annotations.listing import Sample
from seg_demo.core.types import IGNORE_16
from train.batches import augment


def painted(height: int, width: int, seed: int = 0) -> Sample:
    """A sample whose pixels say what they are: channel 0 is 40 x the label, channel 1 is 20 x the instance."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (-(-height // 16), -(-width // 16))), np.ones((16, 16), int))[:height, :width]
    instances = np.where(labels > 0, labels, 0)
    image = np.stack([labels * 40, instances * 20, np.zeros_like(labels)], axis=-1).astype(np.uint8)
    return Sample(image, labels.astype(np.uint8), instances.astype(np.uint16), "painted")


@pytest.mark.parametrize("level", ["none", "light", "strong"])
@pytest.mark.parametrize("size", [(97, 130), (40, 31), (256, 256)])
def test_shapes_and_ranges(level: str, size: tuple[int, int]) -> None:
    sample = painted(*size)
    for seed in range(12):
        image, labels, instances = augment(sample, level, 64, seed)
        assert image.shape == (3, 64, 64) and image.dtype == torch.float32
        assert labels.shape == (64, 64) and labels.dtype == torch.int64
        assert 0.0 <= image.min() and image.max() <= 1.0 and torch.isfinite(image).all()
        assert set(labels.unique().tolist()) <= {0, 1, 2, 3, IGNORE_16}
        assert set(instances.unique().tolist()) <= {0, 1, 2, 3}
        known = labels != IGNORE_16
        assert torch.equal(labels[known & (instances > 0)], instances[known & (instances > 0)])


def test_image_and_labels_move_together() -> None:
    sample = painted(200, 180)
    for seed in range(20):
        image, labels, _ = augment(sample, "none", 96, seed)
        assert torch.equal((image[0] * 255).round().long(), labels * 40)


def test_geometry_of_strong_keeps_most_pixels_aligned() -> None:
    """Colours change, but where the label changes, the image changes: the edges of both coincide."""
    sample = painted(160, 160)
    for seed in range(20):
        image, labels, _ = augment(sample, "light", 96, seed)
        inner = labels == 0
        if inner.sum() > 50 and (labels == 3).sum() > 50:
            assert image[:, labels == 3].mean() - image[:, inner].mean() > 0.1


def test_small_images_are_padded_with_ignore() -> None:
    _, labels, instances = augment(painted(20, 30), "none", 64, 1)
    assert (labels == IGNORE_16).sum() == 64 * 64 - 20 * 30
    assert (instances[labels == IGNORE_16] == 0).all()


def test_the_seed_decides_and_nothing_else_is_disturbed() -> None:
    sample = painted(100, 100)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = augment(sample, "strong", 64, 3)
    assert torch.equal(before, torch.get_rng_state())
    again = augment(sample, "strong", 64, 3)
    other = augment(sample, "strong", 64, 4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_wide_masks_keep_their_ids_and_their_ignore() -> None:
    labels = np.full((64, 64), 300, dtype=np.uint16)
    labels[:8] = 65535
    _, out, _ = augment(Sample(np.zeros((64, 64, 3), np.uint8), labels, None, "wide"), "none", 64, 0)
    assert set(out.unique().tolist()) == {300, IGNORE_16}

"""Pooling that is shared out among cores against torchvision's own: values and gradients to the last bit."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from seg_demo.networks.maskrcnn import SharedRoIAlign

NAMES = ["0", "1", "2", "3"]


def levels(channels: int, height: int, width: int, images: int, dtype: torch.dtype) -> OrderedDict[str, torch.Tensor]:
    """Features of a pyramid, and one level that is not pooled from."""
    shapes = [(-(-height // step), -(-width // step)) for step in (4, 8, 16, 32, 64)]
    features = [torch.randn(images, channels, *shape).to(dtype).requires_grad_() for shape in shapes]
    return OrderedDict(zip([*NAMES, "pool"], features, strict=True))


def boxes(count: int, height: int, width: int) -> torch.Tensor:
    """Boxes of all sizes; some reach over the image's edge."""
    corners = torch.rand(count, 2) * torch.tensor([width, height])
    sides = torch.rand(count, 2) ** 3 * torch.tensor([width, height]) * 1.2 + 0.5
    return torch.cat([corners - sides / 3, corners + sides], dim=1)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("channels, counts, dtype", [
    (64, [40], torch.float32), (5, [7, 0, 13], torch.float32), (1, [3], torch.float32), (64, [40, 1], torch.bfloat16),
    (16, [0], torch.float32),
])  # fmt: skip
def test_values_and_gradients_are_those_of_torchvision(
    channels: int, counts: list[int], dtype: torch.dtype, threads: int
) -> None:
    """For several images, without regions, in bf16 under autocast, with more threads than channels."""
    torch.manual_seed(channels)
    height, width, before = 203, 318, torch.get_num_threads()
    theirs = MultiScaleRoIAlign(NAMES, 7, 2)
    regions = [boxes(count, height, width) for count in counts]
    found = []
    torch.set_num_threads(threads)
    try:
        for pool in (theirs, SharedRoIAlign(theirs)):
            torch.manual_seed(1)
            features = levels(channels, height, width, len(counts), dtype)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                pooled = pool(features, regions, [(height, width)] * len(counts))
            (pooled.float() * torch.arange(pooled.numel()).reshape(pooled.shape).cos()).sum().backward()
            found.append((pooled, [features[name].grad for name in NAMES]))
    finally:
        torch.set_num_threads(before)
    (expected, gradients), (values, own) = found
    assert values.dtype == expected.dtype and torch.equal(values, expected)
    assert all(torch.equal(mine, other) for mine, other in zip(own, gradients, strict=True))
    if sum(counts):
        assert any(gradient.abs().sum() > 0 for gradient in own)


def test_a_network_in_inference_mode_pools_too() -> None:
    """As the evaluation during training does it."""
    theirs = MultiScaleRoIAlign(NAMES, 5, 2)
    torch.manual_seed(0)
    with torch.inference_mode():
        features, regions = levels(8, 100, 120, 1, torch.float32), [boxes(9, 100, 120)]
        assert torch.equal(SharedRoIAlign(theirs)(features, regions, [(100, 120)]), theirs(features, regions, [(100, 120)]))

"""The loss in bands is torch's cross-entropy and smp's Dice loss of resized logits, gradient included."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from train import losses as banded
from train.losses import banded_loss

IGNORE = 65_535


def plain(logits, labels, cross_entropy, dice, weights):
    whole = nn.functional.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    entropy = nn.functional.cross_entropy(whole, labels, weight=weights, ignore_index=IGNORE, reduction="sum")
    return cross_entropy * entropy + dice * smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)(whole, labels)


@pytest.mark.parametrize("band", [1, 700, 2**20])
@pytest.mark.parametrize("factors", [(0.01, 0.0), (0.0, 0.7), (0.01, 0.7)])
@pytest.mark.parametrize("size", [(2, 5, 16, 12, 64, 48), (1, 2, 9, 7, 31, 40), (3, 4, 20, 24, 20, 24), (1, 3, 5, 5, 5, 20)])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradient_equal_the_libraries(size, factors, band, weighted, monkeypatch):
    monkeypatch.setitem(banded.BAND, "cpu", band)
    batch, classes, height, width, rows, columns = size
    generator = torch.Generator().manual_seed(sum(size))
    logits = 4 * torch.randn(batch, classes, height, width, generator=generator)
    # The last class never occurs, and some pixels are not labelled.
    labels = torch.randint(0, max(1, classes - 1), (batch, rows, columns), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = IGNORE
    weights = torch.rand(classes, generator=generator) + 0.5 if weighted else None
    one, two = (logits.clone().requires_grad_(True) for _ in range(2))
    expected = plain(one, labels, *factors, weights)
    found = banded_loss(two, labels, IGNORE, *factors, weights)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    (3 * expected).backward()
    (3 * found).backward()
    torch.testing.assert_close(two.grad, one.grad, rtol=1e-4, atol=1e-7)


def test_nothing_labelled_and_certain_mistakes_are_finite():
    logits = torch.tensor([[[[200.0]], [[-200.0]]]], requires_grad=True)
    wrong = banded_loss(logits, torch.ones(1, 2, 2, dtype=torch.int64), IGNORE, 1.0, 1.0)
    assert wrong.item() == pytest.approx(4 * 400 + 0.5)
    nothing = banded_loss(logits, torch.full((1, 2, 2), IGNORE), IGNORE, 1.0, 1.0)
    nothing.backward()
    assert nothing.item() == 0 and not logits.grad.any()


def test_logits_of_the_batch_are_not_touched():
    logits = torch.randn(1, 3, 8, 8)
    before = logits.clone()
    banded_loss(logits.requires_grad_(True), torch.zeros(1, 8, 8, dtype=torch.int64), IGNORE, 1.0, 1.0).backward()
    assert torch.equal(logits.detach(), before)

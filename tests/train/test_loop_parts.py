"""The parts of the loop that can be checked by themselves: order of the data, schedule, moving average, losses, targets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.ops import sigmoid_focal_loss

from seg_demo.core.types import IGNORE_16, LabelSet
from seg_demo.networks.base import Preprocessing
from seg_demo.networks.maskrcnn import MaskRcnn
from seg_demo.networks.unet import UNet
from train.batches import Crop, Plan
from train.losses import Objective, focal_loss, target
from train.trainer import MovingAverage, lr_factor, parameter_groups


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3))
def test_every_epoch_sees_every_sample_once(count: int, batch: int, accumulate: int, processes: int, seed: int) -> None:
    plan = Plan(count, batch, accumulate, processes, seed)
    steps = -(-3 * count // plan.per_step)
    keys = [key for step in range(steps) for key in plan.keys(step)][: 3 * count]
    for epoch in range(3):
        assert sorted(index for at, index in keys if at == epoch) == list(range(count))


def test_two_processes_share_the_doubled_batch() -> None:
    one, two = Plan(30, 8, 1, 1, 0), Plan(30, 4, 1, 2, 0)
    whole = list(one.micro_batches(0, 10, 0))
    parts = [list(two.micro_batches(0, 10, process)) for process in range(2)]
    for step in range(10):
        assert sorted(whole[step]) == sorted(parts[0][step] + parts[1][step])


def test_a_resumed_run_continues_the_order() -> None:
    plan = Plan(13, 3, 2, 1, 4)
    assert list(plan.micro_batches(0, 9, 0))[2 * 4 :] == list(plan.micro_batches(4, 9, 0))


@pytest.mark.parametrize("schedule", ["cosine", "poly", "constant"])
def test_the_learning_rate_rises_then_never_rises_again(schedule: str) -> None:
    factors = [lr_factor(step, 100, 0.1, schedule) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == 1.0
    assert all(a < b for a, b in zip(factors[:9], factors[1:10], strict=True))
    assert all(a >= b for a, b in zip(factors[10:], factors[11:], strict=False))
    assert all(0 < factor <= 1 for factor in factors)


def test_parameter_groups_cover_everything_once() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    groups = parameter_groups(module, ("2.",), 1.0, 0.1, 0.05, True)
    assert sum(parameter.numel() for group in groups for parameter in group["params"]) == sum(
        parameter.numel() for parameter in module.parameters()
    )
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(1.0, 0.05), (1.0, 0.0), (0.1, 0.05), (0.1, 0.0)}
    for group in groups:
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_the_moving_average_is_the_recursion() -> None:
    module = nn.Linear(2, 2)
    average = MovingAverage(module, 0.9)
    expected = module.weight.detach().clone()
    for step in range(50):
        with torch.no_grad():
            module.weight += 0.1
        average.update(module)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    assert torch.allclose(average.module.weight, expected, atol=1e-6)


def semantic(loss: str, weights: torch.Tensor | None = None) -> Objective:
    labels = LabelSet.from_names(("a", "b", "c", "d"))
    return Objective(UNet(nn.Identity(), labels, Preprocessing((0.5,) * 3, (0.25,) * 3)), loss, weights)


def crops(count: int, size: int = 16) -> list[Crop]:
    rng = torch.Generator().manual_seed(0)
    made = []
    for index in range(count):
        labels = torch.randint(0, 4, (size, size), generator=rng)
        labels[: index + 1] = IGNORE_16
        made.append(Crop(torch.rand(3, size, size, generator=rng), labels, None, None, f"crop-{index}"))
    return made


def test_cross_entropy_is_that_of_torch_and_adds_up_over_micro_batches() -> None:
    torch.manual_seed(0)
    module, task = nn.Conv2d(3, 4, 3, padding=1), semantic("ce")
    made, device = crops(4), torch.device("cpu")
    whole = task.collate(made, device)
    loss = task.loss(module, whole, whole.valid, 1)
    normalised = (whole.images - 0.5) / 0.25
    assert loss.item() == pytest.approx(
        nn.functional.cross_entropy(module(normalised), whole.labels, ignore_index=IGNORE_16).item(), rel=1e-5
    )
    halves = [task.collate(made[:1], device), task.collate(made[1:], device)]
    parts = sum(task.loss(module, half, whole.valid, 2) for half in halves)
    assert parts.item() == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["ce", "dice", "focal", "lovasz", "ce+dice", "ce+lovasz", "focal+dice"])
def test_every_loss_falls_when_the_prediction_gets_right(loss: str) -> None:
    task, device = semantic(loss), torch.device("cpu")
    batch = task.collate(crops(2), device)
    truth = nn.functional.one_hot(batch.labels.clamp(max=3), 4).permute(0, 3, 1, 2).float()
    values = [float(task.loss(lambda images, scale=scale: truth * scale, batch, batch.valid, 1)) for scale in (-2.0, 0.0, 2.0, 8.0)]
    assert all(math.isfinite(value) for value in values)
    assert values == sorted(values, reverse=True) and values[-1] < values[0] - 0.1


def test_the_focal_loss_is_of_the_softmax() -> None:
    """Of two classes torchvision's, which is of one logit; of more, what is added to all logits of a pixel changes nothing; and splitting a batch neither."""
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 2, 9, 7), torch.randint(0, 2, (3, 9, 7))
    theirs = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], labels.float(), alpha=-1, gamma=2)
    torch.testing.assert_close(focal_loss(logits, labels, IGNORE_16), theirs.sum())
    labels[:, 4:], weights = IGNORE_16, torch.tensor([1.0, 3.0])
    expected = (theirs * weights[labels.clamp(max=1)])[:, :4].sum()
    torch.testing.assert_close(focal_loss(logits, labels, IGNORE_16, weights), expected)
    module, task, device, made = nn.Conv2d(3, 4, 3, padding=1), semantic("focal"), torch.device("cpu"), crops(4)
    whole = task.collate(made, device)
    loss = task.loss(module, whole, whole.valid, 1)
    module.bias.data += 7.0
    shifted, halves = task.loss(module, whole, whole.valid, 1), [task.collate(made[:1], device), task.collate(made[1:], device)]
    parts = sum(task.loss(module, half, whole.valid, 2) for half in halves)
    torch.testing.assert_close([shifted, parts], [loss, loss])


@pytest.mark.parametrize("loss", ["ce", "dice", "focal", "lovasz"])
def test_nothing_labelled_is_no_nan(loss: str) -> None:
    task, module = semantic(loss), nn.Conv2d(3, 4, 1)
    nothing = Crop(torch.rand(3, 8, 8), torch.full((8, 8), IGNORE_16), None, None, "nothing")
    batch = task.collate([nothing], torch.device("cpu"))
    value = task.loss(module, batch, batch.valid, 1)
    value.backward()
    assert value.item() == 0.0 and not module.weight.grad.any()


def test_fgsm_raises_the_loss_and_stays_in_range() -> None:
    torch.manual_seed(0)
    module, task = nn.Conv2d(3, 4, 3, padding=1), semantic("ce")
    batch = task.collate(crops(3), torch.device("cpu"))
    moved = task.adversarial(module, batch, 0.03)
    assert (moved.images - batch.images).abs().max() <= 0.03 + 1e-6
    assert moved.images.min() >= 0 and moved.images.max() <= 1
    assert task.loss(module, moved, batch.valid, 1) > task.loss(module, batch, batch.valid, 1)


def test_detection_targets_are_tight_and_leave_out_slivers() -> None:
    instances = torch.zeros(32, 32, dtype=torch.int64)
    instances[4:10, 6:20] = 1
    instances[20:22, 0:2] = 2
    crop = Crop(torch.rand(3, 32, 32), (instances > 0).long(), instances, np.array([0, 3, 1]), "a")
    made = target(crop)
    assert made["boxes"].tolist() == [[6, 4, 20, 10]]
    assert made["labels"].tolist() == [3] and made["masks"].sum() == 6 * 14


def test_an_image_without_objects_trains(monkeypatch) -> None:
    crop = Crop(torch.rand(3, 32, 32), torch.zeros(32, 32).long(), torch.zeros(32, 32).long(), None, "empty")
    detector = MaskRcnn(nn.Identity(), LabelSet.from_names(("background", "a"), 0), Preprocessing())
    made = Objective(detector, "ce").collate([crop], torch.device("cpu")).targets[0]
    assert made["boxes"].shape == (0, 4) and made["masks"].shape == (0, 32, 32)


def test_instance_training_says_when_there_are_no_instances() -> None:
    with pytest.raises(ValueError, match="instance map"):
        target(Crop(torch.rand(3, 8, 8), torch.zeros(8, 8).long(), None, None, "plain"))

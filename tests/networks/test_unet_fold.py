"""The folded decoder of a U-Net against smp's own, at the same weights."""

from __future__ import annotations

import copy

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from seg_demo.core.types import LabelSet
from seg_demo.networks.unet import FoldedDecoderBlock, UNet, fold_decoder


def trained(**options) -> nn.Module:
    """A U-Net whose norms have statistics and weights of their own, as after training."""
    torch.manual_seed(0)
    module = UNet.build(3, {**UNet.default_options(), **options})
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.uniform_(each.weight, 0.5, 1.5)
            nn.init.normal_(each.bias, std=0.3)
            each.running_mean.normal_(std=0.3)
            each.running_var.uniform_(0.5, 2)
    return module.eval()


def folded(module: nn.Module) -> tuple[nn.Module, int]:
    """A folded copy, and how many of its blocks are folded."""
    other = fold_decoder(copy.deepcopy(module))
    return other, sum(isinstance(each, FoldedDecoderBlock) for each in other.modules())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decoder_use_norm": False},
        {"decoder_attention_type": None, "encoder": "resnet18", "decoder_channels": [32, 24, 16, 8, 8]},
    ],
)
@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_logits_are_smps(options, size):
    module = trained(**options)
    other, count = folded(module)
    assert count == len(module.decoder.blocks)
    batch = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = module(batch)
        for each in (batch, batch.contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(other(each), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_training_and_the_state_dict_are_as_before():
    module = trained()
    other, _ = folded(module)
    assert list(other.state_dict()) == list(module.state_dict())
    batch = torch.randn(2, 3, 32, 32)
    for each in (module.train(), other.train()):
        each(batch).square().mean().backward()
    for mine, theirs in zip(other.parameters(), module.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)
    assert torch.equal(other(batch), module(batch))


def test_gradients_of_an_evaluation_reach_the_weights():
    module = trained().double()
    other, _ = folded(module)
    batch = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    for each in (module, other):
        each(batch).square().mean().backward()
    for mine, theirs in zip(other.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("options", [{"decoder_attention_type": "scse"}, {"decoder_interpolation": "bilinear"}])
def test_blocks_that_do_something_else_are_left_alone(options):
    assert folded(trained(**options))[1] == 0


def test_other_decoders_are_left_alone():
    module = smp.UnetPlusPlus("resnet18", encoder_weights=None)
    assert folded(module)[1] == 0 and fold_decoder(nn.Linear(2, 2)) is not None


def test_a_served_u_net_is_folded_and_a_gpus_is_not():
    labels = LabelSet.from_names(("a", "b", "c"))
    for device, count in (("cpu", 5), ("cuda", 0)):
        module = trained()
        UNet(module, labels, None, UNet.default_options()).optimise(torch.device(device))
        assert sum(isinstance(each, FoldedDecoderBlock) for each in module.modules()) == count

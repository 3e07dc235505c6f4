"""SegFormer's folded head against transformers' own: the same logits and the same gradients, to rounding."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import SegformerForSemanticSegmentation
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

from seg_demo.networks.segformer import FoldedDecodeHead, SegFormer, fold_head, resize


def pair(**options: object):
    """The same random weights twice, with transformers' head and with ours; BatchNorm's statistics away from 0 and 1."""
    torch.manual_seed(0)
    folded = fold_head(SegFormer.build(5, {**SegFormer.default_options(), "classifier_dropout_prob": 0.0, **options}))
    norm = folded.decode_head.batch_norm
    torch.nn.init.normal_(norm.running_mean, 0, 2)
    torch.nn.init.uniform_(norm.running_var, 0.2, 3)
    torch.nn.init.normal_(norm.weight, 1, 0.5)
    torch.nn.init.normal_(norm.bias, 0, 0.5)
    for layer in folded.decode_head.linear_projections:
        torch.nn.init.normal_(layer.proj.bias, 0, 0.5)
    plain = SegformerForSemanticSegmentation(folded.config)
    plain.load_state_dict(folded.state_dict())
    assert type(folded.decode_head) is FoldedDecodeHead and type(plain.decode_head) is SegformerDecodeHead
    return folded, plain


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (97, 131), (33, 160)])
def test_evaluation_gives_the_logits_of_transformers(size):
    folded, plain = pair()
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        mine, theirs = folded.eval()(pixel_values=images).logits, plain.eval()(pixel_values=images).logits
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_training_gives_the_logits_the_gradients_and_the_statistics_of_transformers():
    folded, plain = pair()
    images, weights = torch.randn(2, 3, 65, 94), torch.randn(2, 5, 33, 47)
    for module in (folded.train(), plain.train()):
        (module(pixel_values=images).logits * weights).sum().backward()
    # Some gradients are zero but for rounding (a constant before a BatchNorm, the bias of the keys): one measure for all.
    largest = max(float(theirs.grad.abs().max()) for theirs in plain.parameters())
    for (name, mine), theirs in zip(folded.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5 * largest, msg=name)
    for mine, theirs in zip(folded.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_the_state_dict_and_a_copy_are_those_of_transformers():
    folded, plain = pair()
    assert list(folded.state_dict()) == list(plain.state_dict())
    copied = copy.deepcopy(folded)
    with torch.no_grad():
        copied.decode_head.classifier.bias += 1
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        moved = copied.eval()(pixel_values=images).logits - folded.eval()(pixel_values=images).logits
    np.testing.assert_allclose(moved.numpy(), 1, atol=1e-4)


def test_other_networks_are_left_alone():
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1))
    assert fold_head(other) is other
    kept_as_sequence = fold_head(SegFormer.build(3, {**SegFormer.default_options(), "reshape_last_stage": False}))
    assert type(kept_as_sequence.decode_head) is SegformerDecodeHead


@pytest.mark.parametrize(("before", "after"), [((5, 7), (10, 14)), ((4, 4), (9, 5)), ((8, 3), (3, 8)), ((1, 1), (6, 2))])
def test_the_resize_with_gradients_is_that_of_torch(before, after):
    features = torch.randn(2, 3, *before, requires_grad=True)
    mine = resize(features, after)
    theirs = torch.nn.functional.interpolate(features, after, mode="bilinear", align_corners=False)
    torch.testing.assert_close(mine, theirs)
    weights = torch.randn_like(theirs)
    (a,), (b,) = (torch.autograd.grad((each * weights).sum(), features, retain_graph=True) for each in (mine, theirs))
    torch.testing.assert_close(a, b)

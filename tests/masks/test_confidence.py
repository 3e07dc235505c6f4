"""Confidence of every pixel, with a dense softmax of resized logits and torchvision's pasted masks as the oracles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seg_demo.masks import semantic
from seg_demo.masks.semantic import probability_and_margin


def dense(logits: torch.Tensor, height: int, width: int) -> np.ndarray:
    """255 times the winner's probability and its margin, in float64 from F.interpolate's logits: (2, H, W)."""
    resized = F.interpolate(logits[None], (height, width), mode="bilinear", align_corners=False)[0].double()
    if len(resized) == 1:
        resized = torch.cat([torch.zeros_like(resized), resized])
    best, second = (resized.softmax(0) * 255).topk(2, dim=0).values
    return torch.stack([best, best - second]).numpy()


def field(classes: int, height: int, width: int, scale: float, seed: int) -> torch.Tensor:
    """Smooth logits; a large scale makes most pixels certain, as training does."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((1, classes, 3, 3), generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bicubic")[0]
    return (smooth + 0.1 * torch.randn((classes, height, width), generator=generator)) * scale


@settings(max_examples=60, deadline=None)
@example(classes=40, size=(1, 1), height=1, width=97, scale=30.0, offset=0.0, seed=0, side=192)
@example(classes=3, size=(9, 9), height=400, width=400, scale=400.0, offset=3e4, seed=1, side=192)
@given(
    classes=st.sampled_from([1, 2, 3, 6, 7, 40, 150]),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    scale=st.sampled_from([0.0, 0.3, 3.0, 30.0, 400.0]),
    offset=st.sampled_from([0.0, -500.0, 3e4]),
    seed=st.integers(0, 2**31),
    side=st.sampled_from([7, 64, 192]),
)
def test_it_is_a_dense_softmax_within_one_of_255(
    classes: int, size: tuple[int, int], height: int, width: int, scale: float, offset: float, seed: int, side: int
) -> None:
    logits = field(classes, *size, scale, seed)
    # A shift of all classes changes no probability, but for a single channel it is the decision itself.
    expected = dense(logits.double(), height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic, "CONFIDENCE_BLOCK", side)
        found = probability_and_margin(logits + (offset if classes > 1 else 0.0), height, width)
    # float32 holds 30000 + x to 0.001 only, which the reference here does not have to bear.
    allowed = 1.0 + 255 * 0.004 * (offset > 1e3)
    assert found.dtype == np.uint8 and found.shape == (2, height, width)
    assert np.abs(found - expected).max() <= allowed
    assert found[0].min() >= int(255 / max(2, classes))


@pytest.mark.parametrize(("classes", "height", "width"), [(2, 33, 70), (5, 90, 41), (40, 61, 64)])
@pytest.mark.parametrize("budget", [1, 20_000, 10**9])
def test_devices_without_blocks_get_the_same(
    monkeypatch: pytest.MonkeyPatch, classes: int, height: int, width: int, budget: int
) -> None:
    monkeypatch.setattr(semantic, "CONFIDENCE_BUDGET", budget)
    logits = field(classes, 13, 9, 30.0, classes) + 500
    kept = logits.clone()
    found = semantic._by_classes(logits, height, width).numpy()
    assert np.abs(found - dense(logits, height, width)).max() <= 1 and torch.equal(logits, kept)


@pytest.mark.parametrize("classes", [1, 2, 5, 40])
@pytest.mark.parametrize("way", [probability_and_margin, lambda *given: semantic._by_classes(*given).numpy()])
@pytest.mark.parametrize("magnitude", [1e4, 1e8, 1e30, 3.4e38])
def test_logits_of_any_finite_size_have_a_probability(classes: int, magnitude: float, way, monkeypatch) -> None:
    if classes == 1 and way is not probability_and_margin:
        pytest.skip("one class becomes two before")
    monkeypatch.setattr(semantic, "CONFIDENCE_BUDGET", 20_000)
    unit = torch.empty((classes, 6, 5)).uniform_(-1, 1, generator=torch.Generator().manual_seed(classes)).mul_(1.5).clamp_(-1, 1)
    logits = unit * magnitude
    found = way(logits, 61, 47).astype(float)
    assert found.min() >= 0 and (found[0] >= found[1]).all() and found[0].min() >= int(255 / max(2, classes))
    # Where decisions cross, float32 cannot hold the difference by a few that the probabilities there are of.
    resized = F.interpolate(logits.double()[None], (61, 47), mode="bilinear", align_corners=False)[0]
    if classes == 1:
        resized = torch.cat([torch.zeros_like(resized), resized])
    first, second = resized.topk(2, dim=0).values
    clear = (first - second > 30 + magnitude * 1e-5).numpy()
    # The largest float less its opposite is no float: there, crossings are moved, but all numbers stay numbers.
    assert magnitude > 1e38 or (clear.mean() > 0.75 and found[:, clear].min() >= 254)
    level = way(torch.full((classes, 6, 5), -magnitude), 61, 47)
    assert set(np.unique(level[1])) == {255 if classes == 1 else 0}


def test_two_equal_classes_have_no_margin() -> None:
    logits = torch.stack([torch.full((4, 4), 2.0), torch.full((4, 4), 2.0), torch.full((4, 4), -9.0)])
    found = probability_and_margin(logits, 30, 30)
    assert (found[0] == 127).all() | (found[0] == 128).all() and not found[1].any()


def test_the_maps_are_computed_by_one_thread_at_a_time_and_the_same_from_many() -> None:
    logits = field(12, 20, 20, 4.0, 3)
    expected, before = probability_and_margin(logits, 300, 310), torch.get_num_threads()
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: probability_and_margin(logits, 300, 310), range(24)):
            assert np.array_equal(found, expected)
    assert torch.get_num_threads() == before
    with torch.inference_mode():
        assert np.array_equal(probability_and_margin(logits.clone(), 300, 310), expected)


def test_most_of_a_sure_map_is_filled_and_classes_without_a_chance_are_left_out(monkeypatch) -> None:
    evaluated = []
    kept = semantic._mattering
    monkeypatch.setattr(semantic, "_mattering", lambda grid: evaluated.append(kept(grid).shape) or kept(grid))
    logits = torch.full((40, 25, 25), -30.0)
    logits[4, :, :12] = 30.0
    logits[7, :, 12:] = 30.0
    found = probability_and_margin(logits, 700, 700)
    assert np.abs(found - dense(logits, 700, 700)).max() <= 1
    assert {shape[0] for shape in evaluated} == {2}, "only two of 40 classes can win"
    assert len(evaluated) == 4, "of 16 blocks, only those of the border are computed"


def test_memory_does_not_grow_with_classes_times_pixels(monkeypatch) -> None:
    sizes, product = [], torch.matmul
    monkeypatch.setattr(torch, "matmul", lambda a, b: sizes.append((out := product(a, b)).numel()) or out)
    probability_and_margin(field(150, 8, 8, 1.0, 2), 400, 300)
    assert 0 < max(sizes) <= semantic.CONFIDENCE_BUDGET < 150 * 400 * 300 / 4, "the largest tensors are those of a block"

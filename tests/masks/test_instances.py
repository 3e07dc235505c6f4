"""Masks of boxes, with torchvision's own pasting as the oracle."""

from __future__ import annotations

import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from benchmarks.measure import peak_of
from seg_demo.core.types import LabelSet, Segment, Segmentation, paint, tight_box
from seg_demo.masks import instances
from seg_demo.masks.instances import Resized, from_boxes, runs_of


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    side=st.sampled_from([1, 14, 28]),
    smooth=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_masks_equal_torchvisions(height: int, width: int, side: int, smooth: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand((6, 2, 2), generator=generator) * torch.tensor([width, height])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    masks = torch.rand((6, 1, side, side), generator=generator)
    if smooth:
        masks = torch.nn.functional.avg_pool2d(masks, 3, 1, 1) * 1.1
    scores, labels = torch.linspace(0.9, 0.1, 6), torch.arange(6)
    pasted = (paste_masks_in_image(masks, boxes, (height, width))[:, 0] > 0.5).numpy()
    segments = from_boxes(boxes, masks, scores, labels, height, width)
    seen = [index for index, mask in enumerate(pasted) if mask.any()]
    assert [segment.label_id for segment in segments] == seen
    for segment, index in zip(segments, seen, strict=True):
        assert segment.box == tight_box(pasted[index])
        assert segment.score == scores[index].item()
        x0, y0, x1, y1 = segment.box
        assert np.array_equal(segment.mask, pasted[index, y0:y1, x0:x1])


def test_no_detections() -> None:
    nothing = torch.zeros(0)
    assert from_boxes(torch.zeros(0, 4), torch.zeros(0, 1, 28, 28), nothing, nothing.long(), 10, 12) == ()


def detections(height: int, width: int, count: int) -> tuple[torch.Tensor, ...]:
    """Boxes, many as large as the image and over its edge; noise as masks; scores; labels."""
    generator = torch.Generator().manual_seed(height * width)
    corners = (torch.rand((count, 2, 2), generator=generator) * 1.4 - 0.2) * torch.tensor([width, height])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    masks = torch.nn.functional.avg_pool2d(torch.rand((count, 1, 28, 28), generator=generator), 3, 1, 1)
    return boxes, masks, torch.linspace(0.9, 0.1, count), torch.arange(count)


def same(one: Segment, other: Segment) -> None:
    """Assert that two segments are alike in all they tell."""
    assert (one.label_id, one.score, one.box) == (other.label_id, other.score, other.box)
    assert np.array_equal(one.mask, other.mask) and one.has_mask and other.has_mask
    assert (one.soft is None) == (other.soft is None)
    if one.soft is not None:
        assert one.soft.box == other.soft.box and np.array_equal(one.soft.values, other.soft.values)


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("kept", [0, 1])
def test_masks_that_are_resized_anew_are_those_that_are_kept(kept: int, confidence: bool, monkeypatch) -> None:
    """Also moved, twice, as a tile's objects are; and what a result makes of them."""
    height, width, found = 61, 83, detections(61, 83, 30)
    monkeypatch.setattr(instances, "KEPT", 1000)
    everything = from_boxes(*found, height, width, confidence)
    monkeypatch.setattr(instances, "KEPT", kept)
    some = from_boxes(*found, height, width, confidence)
    anew = [type(segment) is not Segment for segment in some]
    assert all(anew) if kept == 0 else any(anew) and not all(anew)
    assert all(type(segment) is Segment for segment in everything)
    for one, other in zip(some, everything, strict=True):
        same(one, other)
        same(one.moved(5, 0).moved(100, 7), other.moved(105, 7))
    names = LabelSet.from_names([f"class {index}" for index in range(30)], None)
    results = [
        Segmentation("instance", height, width, names, paint(each, height, width), each) for each in (some, everything)
    ]
    assert np.array_equal(results[0].id_map, results[1].id_map) and results[0].areas == results[1].areas
    assert results[0].above(0.5).to_dict() == results[1].above(0.5).to_dict()
    # As the result leaves ZeroGPU's worker: no tensor, of which every object would take along the memory of all.
    crossed = ForkingPickler.dumps(results[0])
    assert b"torch" not in bytes(crossed)
    for one, other in zip(pickle.loads(crossed).segments, everything, strict=True):
        same(one, other)


@pytest.mark.soak
def test_memory_does_not_grow_with_the_number_of_large_objects() -> None:
    """A hundred objects, each as large as the image: their masks would take 100 bytes per pixel."""
    height, width = 2000, 2400
    masks = torch.full((100, 1, 28, 28), 0.9)
    boxes = torch.tensor([[0.0, 0.0, width, height]]).repeat(100, 1)
    found = boxes, masks, torch.linspace(1, 0.5, 100), torch.zeros(100, dtype=torch.int64)

    def result() -> int:
        segments = from_boxes(*found, height, width)
        return int(paint(segments, height, width)[height // 2, width // 2]) + len(segments)

    peak, topmost = peak_of(result)
    assert topmost == 101
    # Heaps of threads keep some of what was freed, hence more than the twelve bytes that one mask at a time takes.
    assert peak < 60 * height * width


@pytest.mark.parametrize("count", (1, 3, 7))
def test_masks_of_probabilities_are_cut_where_the_library_cuts_them(count: int) -> None:
    """As SAM 3 has them: also where all that a pixel lies between is the threshold itself."""
    maps = (torch.rand(count, 36, 36, generator=torch.Generator().manual_seed(2)) * 3 - 1).clamp(0, 1)
    maps[:, 10:20, 5:15] = 0.5
    for size in ((301, 200), (20, 333), (37, 41)):
        wanted = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0] > 0.5
        for one, mask in zip(maps, wanted.numpy(), strict=True):
            resized = Resized(one.numpy(), size, together=min(count, 4), threshold=0.5)
            (x0, y0, x1, y1), crop = resized.tight()
            np.testing.assert_array_equal(crop, mask[y0:y1, x0:x1])
            assert crop.sum() == mask.sum() == resized.area
            np.testing.assert_array_equal(resized.crop((7, 3, 31, 17)), mask[3:17, 7:31])
    assert Resized(np.full((4, 4), 0.2, np.float32), (300, 200), threshold=0.5).tight() is None


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 700), st.integers(1, 200)),
    kind=st.sampled_from(["noise", "whole numbers", "signs", "spread", "tall"]),
    seed=st.integers(0, 2**31),
)
def test_runs_change_where_the_library_has_them_change(sizes: tuple[int, int, int, int], kind: str, seed: int) -> None:
    """Up and down; and where changes of sign fall on a pixel, so that its last bit decides: of whole numbers and whole factors."""
    height, width, tall, wide = sizes
    maps = torch.randn(2, height, width, generator=torch.Generator().manual_seed(seed))
    if kind == "spread":
        maps *= 10.0 ** torch.randint(-18, 18, maps.shape, generator=torch.Generator().manual_seed(seed))
    if kind == "tall":
        tall *= 20
    if kind in ("whole numbers", "signs"):
        maps, tall, wide = (maps * 3).round() if kind == "whole numbers" else maps.sign(), height * (tall % 9 + 1), width * (wide % 9 + 1)
    wanted = F.interpolate(maps[None], (tall, wide), mode="bilinear", align_corners=False)[0] > 0
    for runs, mask in zip(runs_of(maps, (tall, wide)), wanted.numpy(), strict=True):
        np.testing.assert_array_equal(runs.crop((0, 0, wide, tall)), mask)

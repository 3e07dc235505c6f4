"""Confidence of whole results: of objects and their edges, on request only, counted without a copy."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.roi_heads import paste_masks_in_image

from seg_demo.core.types import (
    LabelSet,
    ModelSpec,
    Segment,
    Segmentation,
    SoftMask,
    count_ids,
    extents,
    paint,
    paint_confidence,
    sum_by_id,
    tight_box,
)
from seg_demo.inference.model import Model
from seg_demo.masks.instances import from_boxes
from seg_demo.masks.semantic import semantic_from_logits
from seg_demo.outputs import export
from seg_demo.serving.predictor import load_model
from tests.checkpoints import IMAGE
from tests.masks.test_confidence import dense, field

def test_a_semantic_result_carries_it_only_on_request(folders) -> None:
    for name in ("unet", "binary", "segformer"):
        model = load_model(str(folders / name), device="cpu")
        plain, sure = model.predict(IMAGE), model.predict(IMAGE, confidence=True)
        assert plain.confidence is None and plain.margins is None and np.array_equal(plain.id_map, sure.id_map)
        for each in (sure.confidence, sure.margin):
            assert each.shape == IMAGE.shape[:2] and each.flags.c_contiguous
        assert sure.margins is sure.margin and (sure.margin <= sure.confidence).all()
        assert sure.above(0.9).confidence is sure.confidence
        rows = export.table(sure)
        for row in rows:
            mean = sure.confidence[sure.id_map == row["label_id"]].mean() / 255
            assert row["mean_confidence"] == pytest.approx(mean)
            assert row["mean_margin"] == pytest.approx(sure.margin[sure.id_map == row["label_id"]].mean() / 255)
        assert "mean_confidence" not in export.table(plain)[0]
        header = export.class_csv(sure).splitlines()[0]
        assert header == export.class_csv(plain).splitlines()[0] + ",mean_confidence,mean_margin"


def test_padding_is_cut_off() -> None:
    logits = field(3, 16, 16, 3.0, 6)
    result = semantic_from_logits(logits, LabelSet.from_names("abc"), 45, 50, padded=(64, 64), confidence=True)
    found = np.stack([result.confidence, result.margin])
    assert np.abs(found - dense(logits, 64, 64)[:, :45, :50]).max() <= 1


def detections(seed: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes, smooth mask probabilities and falling scores of six objects."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand((6, 2, 2), generator=generator) * torch.tensor([width, height])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    masks = F.avg_pool2d(torch.rand((6, 1, 28, 28), generator=generator), 9, 1, 4) * 1.2
    return boxes, masks, torch.tensor([0.97, 0.8, 0.65, 0.4, 0.3, 0.1])


@settings(max_examples=40, deadline=None)
@given(height=st.integers(8, 70), width=st.integers(8, 70), threshold=st.sampled_from([0.0, 0.35, 0.5, 0.9, 1.0]), seed=st.integers(0, 2**31))
def test_an_object_is_as_sure_as_its_score_and_its_masks_edge(height: int, width: int, threshold: float, seed: int) -> None:
    boxes, masks, scores = detections(seed, height, width)
    segments = from_boxes(boxes, masks, scores, torch.ones(6, dtype=torch.int64), height, width, confidence=True)
    id_map = paint(segments, height, width)
    labels = LabelSet.from_names(("background", "cell"), 0)
    sure = paint_confidence(id_map, segments, segments)
    result = Segmentation("instance", height, width, labels, id_map, segments, confidence=sure).above(threshold)

    pasted = paste_masks_in_image(masks, boxes, (height, width))[:, 0].numpy()
    found = [index for index, mask in enumerate(pasted) if (mask > 0.5).any()]
    belongs = np.stack([pasted[index] * scores[index].item() for index in found] or [np.zeros((height, width))])
    expected = 1 - belongs.max(0)
    kept = [place for place, index in enumerate(found) if scores[index] >= threshold]
    for position, place in reversed(list(enumerate(kept))):
        shown = result.id_map == position + 1
        expected[shown] = belongs[place][shown]
    assert len(result.segments) == len(kept)
    # One step for the mask's 8 bits, one for the product's.
    assert np.abs(result.confidence - expected * 255).max() <= 1.01
    assert np.abs(result.confidence_sums.sum() - result.confidence.sum() / 255) < 1e-6
    # An object is there or not: the margin is p - (1 - p), and nothing is less than undecided.
    assert np.abs(result.margins - np.maximum(2 * result.confidence.astype(int) - 255, 0)).max() == 0
    assert np.abs(result.margin_sums.sum() - result.margins.sum() / 255) < 1e-6


def test_an_instance_result_carries_it_only_on_request(folders) -> None:
    model = load_model(str(folders / "maskrcnn"), device="cpu")
    plain, sure = model.predict(IMAGE, 0.0), model.predict(IMAGE, 0.0, confidence=True)
    assert plain.confidence is None and all(segment.soft is None for segment in plain.segments)
    assert np.array_equal(plain.id_map, sure.id_map) and sure.confidence.shape == IMAGE.shape[:2]


def test_regions_have_none() -> None:
    spec = ModelSpec("otsu", None, "region", "classical", "Otsu", "", "builtin", labels=("background", "region"))
    assert Model.classical(spec).predict(IMAGE, confidence=True).confidence is None


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), ids=st.sampled_from([1, 5, 256, 300]), seed=st.integers(0, 2**31))
def test_counts_and_sums_are_numpys(height: int, width: int, ids: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    id_map = generator.integers(0, ids, (height, width)).astype(np.uint8 if ids <= 256 else np.uint16)
    values = generator.integers(0, 256, (height, width), dtype=np.uint8)
    for least in (0, 7, 70_000):
        assert np.array_equal(count_ids(id_map, least), np.bincount(id_map.ravel(), minlength=least))
    sums = np.bincount(id_map.ravel(), weights=values.ravel())
    assert np.array_equal(sum_by_id(id_map, values)[: len(sums)], sums)
    for shown in (id_map, np.asfortranarray(id_map), np.repeat(id_map, 3, axis=1)[:, ::2]):
        pixels, boxes = extents(shown)
        assert np.array_equal(pixels, np.bincount(shown.ravel(), minlength=len(pixels)))
        for identity in np.flatnonzero(pixels):
            assert tuple(boxes[identity]) == tight_box(shown == identity)


def test_counting_needs_no_copy_of_the_map() -> None:
    id_map = np.ones((4000, 3000), dtype=np.uint8)
    tracemalloc.start()
    count_ids(id_map)
    sum_by_id(id_map, id_map)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000, "np.bincount of the whole map takes 96 MB"


def test_wrong_maps_are_refused() -> None:
    labels, nothing = LabelSet.from_names(("a", "b")), np.zeros((4, 5), np.uint8)
    for wrong in (np.zeros((5, 4), np.uint8), np.zeros((4, 5))):
        with pytest.raises(ValueError, match="confidence must be uint8 of shape \\(4, 5\\)"):
            Segmentation("semantic", 4, 5, labels, nothing, (), confidence=wrong)
        with pytest.raises(ValueError, match="margin must be uint8 of shape \\(4, 5\\)"):
            Segmentation("semantic", 4, 5, labels, nothing, (), margin=wrong)
        with pytest.raises(ValueError, match="values must be uint8"):
            SoftMask((0, 0, 5, 4), wrong)
    with pytest.raises(ValueError, match="box must be"):
        SoftMask((3, 0, 3, 4), nothing)
    assert Segment(1, None, (0, 0, 2, 2), None).soft is None

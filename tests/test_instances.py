"""Masks of boxes, with torchvision's own pasting as the oracle."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.roi_heads import paste_masks_in_image

from seg_demo.masks.instances import from_boxes
from seg_demo.types import tight_box


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

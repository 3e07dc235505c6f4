"""Label maps and instance masks against the dense ways of transformers and torchvision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from benchmarks.measure import Row, compare
from seg_demo.masks.instances import from_boxes
from seg_demo.masks.label_map import argmax_resized
from seg_demo.rle import encode_crop


def smooth_logits(classes: int, height: int, width: int) -> torch.Tensor:
    """Logits as a network gives them: large even regions with soft borders. float32 (classes, height, width)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, classes, height // 16 + 1, width // 16 + 1, generator=generator) * 4
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[0]


def dense(logits: torch.Tensor, height: int, width: int) -> np.ndarray:
    """What ``post_process_semantic_segmentation`` of transformers does."""
    resized = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)
    return resized[0].argmax(dim=0).numpy()


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: smaller images and fewer repeats.
    """
    sizes = {"2 MP": (1225, 1633)} if quick else {"2 MP": (1225, 1633), "12 MP": (3000, 4000)}
    for name, (height, width) in sizes.items():
        for kind, logits in (("", smooth_logits(150, 128, 128)), (", white noise", torch.randn(150, 128, 128))):
            same = np.array_equal(argmax_resized(logits, height, width), dense(logits, height, width))
            yield compare(
                f"label map, 150 classes, {name}{kind}",
                "transformers' dense resize + argmax",
                lambda logits=logits, size=(height, width): argmax_resized(logits, *size),
                lambda logits=logits, size=(height, width): dense(logits, *size),
                "identical" if same else "DIFFERENT",
                repeats=1 if name == "12 MP" else 3,
            )
        yield pasted(name, height, width)


def pasted(name: str, height: int, width: int) -> Row:
    """100 objects: masks at the image's size and their RLE."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(100, 2, generator=generator) * torch.tensor([width * 0.8, height * 0.8])
    sides = 20 + torch.rand(100, 2, generator=generator) * min(height, width) * 0.2
    boxes = torch.cat([corners, (corners + sides).minimum(torch.tensor([float(width), float(height)]))], dim=1)
    masks = torch.rand(100, 1, 28, 28, generator=generator)
    scores, labels = torch.linspace(1, 0.5, 100), torch.ones(100, dtype=torch.int64)

    def ours() -> list[dict]:
        segments = from_boxes(boxes, masks, scores, labels, height, width)
        return [encode_crop(segment.mask, segment.box, height, width) for segment in segments]

    def theirs() -> list[dict]:
        full = paste_masks_in_image(masks, boxes, (height, width)) > 0.5
        return [coco_mask.encode(np.asfortranarray(each[0].numpy().astype(np.uint8))) for each in full]

    same = [each["counts"] for each in ours()] == [each["counts"].decode() for each in theirs()]
    result = "identical" if same else "DIFFERENT"
    return compare(f"100 masks + RLE, {name}", "torchvision paste + pycocotools", ours, theirs, result, repeats=1)

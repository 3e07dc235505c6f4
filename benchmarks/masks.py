"""Label maps and instance masks against the dense ways of transformers and torchvision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from benchmarks.measure import Row, compare
from benchmarks.subjects import CLASSES, SIZES
from seg_demo.core.rle import encode_crop
from seg_demo.inference.engine import available_memory
from seg_demo.masks.instances import from_boxes
from seg_demo.masks.semantic import argmax_resized


def smooth_logits(classes: int, height: int, width: int) -> torch.Tensor:
    """Logits as a network gives them: large even regions with soft borders. float32 (classes, height, width)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, classes, height // 16 + 1, width // 16 + 1, generator=generator) * 4
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[0]


def noise_logits(classes: int, height: int, width: int) -> torch.Tensor:
    """White noise, the worst case: another class wins at every grid point. float32 (classes, height, width)."""
    return torch.randn(classes, height, width, generator=torch.Generator().manual_seed(0))


def dense(logits: torch.Tensor, height: int, width: int) -> np.ndarray:
    """What ``post_process_semantic_segmentation`` of transformers does."""
    resized = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)
    return resized[0].argmax(dim=0).numpy()


def identical(mine: np.ndarray, theirs: np.ndarray | None) -> str:
    """Whether two arrays are the same in every element."""
    if theirs is None:
        return "done"
    return "identical" if np.array_equal(mine, theirs) else "DIFFERENT"


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: smaller images.
    """
    for size in ["2 MP"] if quick else ["2 MP", "12 MP"]:
        yield label_map_row(size, "", CLASSES)
        yield label_map_row(size, ", white noise", CLASSES)
        yield pasted_row(size, *SIZES[size], 100)


def label_map_row(size: str, kind: str, classes: int, grid: int = 128) -> Row:
    """Logits to labels at the size of the image.

    Args:
        size: key of ``SIZES``.
        kind: empty for smooth logits, or ``, white noise``.
        classes: number of classes.
        grid: height and width of the logits.
    """
    logits = (noise_logits if kind else smooth_logits)(classes, grid, grid)
    height, width = SIZES[size]
    fits = available_memory() > 4 * classes * height * width * 1.2
    return compare(
        f"label map alone, {classes} classes, {size}{kind}",
        "transformers' dense resize + argmax",
        lambda: argmax_resized(logits, height, width),
        (lambda: dense(logits, height, width)) if fits else None,
        identical,
        targets=(1.0, 0.05) if kind else (0.05, 0.02) if size == "12 MP" else (None, None),
        repeats=1 if size == "12 MP" else 3,
    )


def pasted_row(size: str, height: int, width: int, objects: int) -> Row:
    """Masks of objects at the image's size and their RLE."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(objects, 2, generator=generator) * torch.tensor([width * 0.8, height * 0.8])
    sides = 20 + torch.rand(objects, 2, generator=generator) * min(height, width) * 0.2
    boxes = torch.cat([corners, (corners + sides).minimum(torch.tensor([float(width), float(height)]))], dim=1)
    masks = torch.rand(objects, 1, 28, 28, generator=generator)
    scores, labels = torch.linspace(1, 0.5, objects), torch.ones(objects, dtype=torch.int64)

    def ours() -> list[str]:
        segments = from_boxes(boxes, masks, scores, labels, height, width)
        return [encode_crop(segment.mask, segment.box, height, width)["counts"] for segment in segments]

    def theirs() -> list[str]:
        full = paste_masks_in_image(masks, boxes, (height, width)) > 0.5
        return [coco_mask.encode(np.asfortranarray(each[0].numpy().astype(np.uint8)))["counts"].decode() for each in full]

    fits = available_memory() > 6 * objects * height * width
    return compare(
        f"{objects} masks pasted + RLE, {size}", "torchvision paste + pycocotools", ours, theirs if fits else None,
        lambda mine, other: "done" if other is None else "identical" if mine == other else "DIFFERENT",
        targets=(0.02, 0.02) if size == "12 MP" else (None, None), repeats=1,
    )  # fmt: skip

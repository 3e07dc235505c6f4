"""Segments of class queries against the image processors of transformers, given the same outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from transformers import EomtImageProcessor, Mask2FormerImageProcessor, MaskFormerImageProcessor, OneFormerImageProcessor
from transformers.image_transforms import get_size_with_aspect_ratio

from benchmarks.measure import Row, compare
from benchmarks.subjects import SIZES
from seg_demo.core.types import Segment
from seg_demo.inference.devices import available_memory
from seg_demo.masks import queries
from seg_demo.masks.queries import Order, Thresholds
from seg_demo.masks.semantic import argmax_resized

QUERIES, CLASSES, SIDE = 100, 133, 640
PROCESSORS = {
    "Mask2Former": Mask2FormerImageProcessor,
    "MaskFormer": MaskFormerImageProcessor,
    "OneFormer": OneFormerImageProcessor,
    "EoMT": EomtImageProcessor,
}


def order_of(family: str, height: int, width: int) -> Order:
    """The order of operations of a key of ``PROCESSORS``."""
    return {
        "Mask2Former": Order(grid=(384, 384)),
        "MaskFormer": Order(),
        "OneFormer": Order(antialias=True),
        "EoMT": Order(grid=(SIDE, SIDE), crop=get_size_with_aspect_ratio((height, width), SIDE, SIDE), late=True, cut=True),
    }[family]


def outputs_of(kind: str, height: int, width: int) -> SimpleNamespace:
    """What a network says of a picture, for a processor.

    Args:
        kind: empty for a trained network's, each of whose queries is sure of one blob; or ``, white noise``.
        height: of the masks.
        width: of the masks.
    """
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn((QUERIES, CLASSES + 1), generator=generator)
    classes[torch.arange(QUERIES), torch.randint(CLASSES, (QUERIES,), generator=generator)] += 9
    if kind:
        masks = torch.randn((QUERIES, height, width), generator=generator) * 3
    else:
        # Cells around as many points, with a soft border of a pixel or two and a little noise.
        points = torch.rand((QUERIES, 2), generator=generator) * torch.tensor([height, width])
        rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
        distance = torch.stack([((rows - y) ** 2 + (columns - x) ** 2).sqrt() for y, x in points.tolist()])
        nearest, places = distance.topk(2, dim=0, largest=False)
        others = torch.where(torch.arange(QUERIES)[:, None, None] == places[0], nearest[1], nearest[0])
        masks = (2 * (others - distance)).clamp(-12, 9) + torch.randn(distance.shape, generator=generator) * 0.2
    named = {"class_queries_logits": classes[None], "masks_queries_logits": masks[None]}
    return SimpleNamespace(**named, patch_offsets=None)


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: smaller images.
    """
    for size in ["2 MP"] if quick else ["12 MP"]:
        for family in PROCESSORS:
            yield panoptic_row(size, family)
        for kind in ("", ", white noise"):
            yield instance_row(size, kind)
            yield semantic_row(size, kind)
        yield panoptic_row(size, "Mask2Former", ", white noise")


def _row(size: str, what: str, kind: str, ours: Callable[[], object], theirs: Callable[[], object], check: Callable[..., str]) -> Row:
    height, width = SIZES[size]
    # EoMT's processor keeps five floats per query and pixel, and a copy of some.
    fits = available_memory() > (20 if "EoMT" in what else 8) * QUERIES * height * width + (1 << 30)
    return compare(
        f"{what}, {QUERIES} queries, {CLASSES} classes, {size}{kind}",
        "transformers' own post-processing",
        ours,
        theirs if fits else None,
        check,
        targets=(None, None) if size != "12 MP" else (0.5, 0.05) if kind else (0.05, 0.03),
        repeats=1,
    )


def panoptic_row(size: str, family: str, kind: str = "", grid: tuple[int, int] = (96, 128)) -> Row:
    """Segments that do not overlap.

    Args:
        size: key of ``SIZES``.
        family: key of ``PROCESSORS``.
        kind: empty for a trained network's masks, or ``, white noise``.
        grid: (height, width) of the masks.
    """
    height, width = SIZES[size]
    outputs = outputs_of(kind, *((SIDE // 4, SIDE // 4) if family == "EoMT" else grid))
    classes, masks = outputs.class_queries_logits[0], outputs.masks_queries_logits[0]
    processor = PROCESSORS[family].__new__(PROCESSORS[family])
    processor.size = {"shortest_edge": SIDE, "longest_edge": SIDE}

    def ours() -> queries.Found:
        return queries.without_overlaps(classes, masks, height, width, order_of(family, height, width), Thresholds())

    def theirs() -> dict:
        return processor.post_process_panoptic_segmentation(outputs, threshold=0.5, target_sizes=[(height, width)])[0]

    def check(found: queries.Found, info: dict | None) -> str:
        if info is None:
            return "done"
        segments = [(segment["label_id"], segment["score"]) for segment in info["segments_info"]]
        void = -1 if family == "EoMT" else 0
        same = list(zip(found.label_ids, found.scores, strict=True)) == segments
        same &= not segments or np.array_equal(found.id_map, info["segmentation"].numpy() - void)
        return f"{len(segments)} segments, {'identical' if same else 'DIFFERENT'}"

    return _row(size, f"panoptic segments, {family}", kind, ours, theirs, check)


def instance_row(size: str, kind: str, grid: tuple[int, int] = (96, 128)) -> Row:
    """Objects that may overlap, with Mask2Former's processor.

    Args:
        size: key of ``SIZES``.
        kind: as for :func:`panoptic_row`.
        grid: (height, width) of the masks.
    """
    height, width = SIZES[size]
    outputs = outputs_of(kind, *grid)
    classes, masks = outputs.class_queries_logits[0], outputs.masks_queries_logits[0]
    processor = Mask2FormerImageProcessor.__new__(Mask2FormerImageProcessor)

    def ours() -> list[Segment]:
        return queries.instances(classes, masks, height, width, order_of("Mask2Former", height, width))

    def theirs() -> dict:
        return processor.post_process_instance_segmentation(outputs, target_sizes=[(height, width)])[0]

    def check(found: list[Segment], info: dict | None) -> str:
        if info is None:
            return "done"
        painted = np.full((height, width), -1, np.int32)
        for index, instance in enumerate(found):
            x0, y0, x1, y1 = instance.box
            painted[y0:y1, x0:x1][instance.mask] = index
        segments = [(segment["label_id"], segment["score"]) for segment in info["segments_info"]]
        same = [(instance.label_id, instance.score) for instance in found] == segments
        same &= np.array_equal(painted, info["segmentation"].numpy())
        return f"{len(segments)} objects, {'identical' if same else 'DIFFERENT'}"

    return _row(size, "objects, Mask2Former", kind, ours, theirs, check)


def semantic_row(size: str, kind: str, grid: tuple[int, int] = (96, 128)) -> Row:
    """A label map, with Mask2Former's processor.

    Args:
        size: key of ``SIZES``.
        kind: as for :func:`panoptic_row`.
        grid: (height, width) of the masks.
    """
    height, width = SIZES[size]
    outputs = outputs_of(kind, *grid)
    classes, masks = outputs.class_queries_logits[0], outputs.masks_queries_logits[0]
    processor = Mask2FormerImageProcessor.__new__(Mask2FormerImageProcessor)

    def ours() -> np.ndarray:
        return argmax_resized(queries.class_maps(classes, masks, order_of("Mask2Former", height, width)), height, width)

    def theirs() -> np.ndarray:
        return processor.post_process_semantic_segmentation(outputs, target_sizes=[(height, width)])[0].numpy()

    def check(mine: np.ndarray, other: np.ndarray | None) -> str:
        return "done" if other is None else "identical" if np.array_equal(mine, other) else "DIFFERENT"

    return _row(size, "label map of class queries, Mask2Former", kind, ours, theirs, check)

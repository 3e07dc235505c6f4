"""Segments of class queries against the image processors of transformers, given the same outputs; and whole requests."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2
from transformers import (
    DetrImageProcessor,
    EomtImageProcessor,
    Mask2FormerImageProcessor,
    MaskFormerImageProcessor,
    OneFormerImageProcessor,
    RfDetrImageProcessor,
    pipeline,
)
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.image_utils import SizeDict

from benchmarks import subjects
from benchmarks.measure import Row, compare
from benchmarks.requests import same_objects, served
from benchmarks.subjects import SIZES
from seg_demo.core.types import Segment, Segmentation
from seg_demo.inference.engine import available_memory
from seg_demo.inference.model import Model
from seg_demo.inputs.images import decode
from seg_demo.masks import instances, queries
from seg_demo.masks.queries import Found, Order, Thresholds
from seg_demo.masks.semantic import argmax_resized
from seg_demo.networks.universal import Eomt

QUERIES, CLASSES, SIDE = 100, 133, 640
PROCESSORS = {
    "Mask2Former": Mask2FormerImageProcessor,
    "MaskFormer": MaskFormerImageProcessor,
    "OneFormer": OneFormerImageProcessor,
    "DETR": DetrImageProcessor,
    "EoMT": EomtImageProcessor,
}
# Of the processors that look for objects: RF-DETR's for nothing else.
OBJECTS = {**PROCESSORS, "RF-DETR": RfDetrImageProcessor}
NOISE = ", white noise"
# Bytes that a processor has at once for each query or class, and pixel: EoMT's of objects and segments four floats.
PEAKS, AT_EOMTS = 8, 17
# What is compared where the peer does not fit.
SMALLER = "2 MP"
# (height, width) of the masks that a network gives for a photograph.
GRIDS = {"EoMT": (SIDE // 4, SIDE // 4), "RF-DETR": (108, 108)}


def order_of(family: str, height: int, width: int) -> Order:
    """The order of operations of a key of ``PROCESSORS``."""
    return {
        "Mask2Former": Order(grid=(384, 384)),
        "MaskFormer": Order(),
        "OneFormer": Order(antialias=True),
        "DETR": Order(),
        "EoMT": Order(grid=(SIDE, SIDE), crop=get_size_with_aspect_ratio((height, width), SIDE, SIDE), late=True, cut=True),
    }[family]


def outputs_of(kind: str, family: str, count: int = QUERIES, classes: int = CLASSES) -> SimpleNamespace:
    """What a network says of a picture, for a processor.

    Args:
        kind: empty for a trained network's, each of whose queries is sure of one blob; or :data:`NOISE`.
        family: key of :data:`OBJECTS`.
        count: of queries.
        classes: beside none.
    """
    height, width = GRIDS.get(family, (96, 128))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((count, classes + 1), generator=generator) - 4 * (family == "RF-DETR")
    logits[torch.arange(count), torch.randint(classes, (count,), generator=generator)] += 9
    if kind:
        masks = torch.randn((count, height, width), generator=generator) * 3
    else:
        points = torch.rand((count, 2), generator=generator) * torch.tensor([height, width])
        masks = blobs(points, height, width, generator)
    named = {"class_queries_logits": logits[None], "masks_queries_logits": masks[None], "logits": logits[None], "pred_masks": masks[None]}
    return SimpleNamespace(**named, patch_offsets=None)


def blobs(points: torch.Tensor, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """Mask logits (Q, h, w) of cells around as many points (row, column), with a soft border of a pixel or two and a little noise."""
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    distance = torch.stack([((rows - y) ** 2 + (columns - x) ** 2).sqrt() for y, x in points.tolist()])
    nearest, places = distance.topk(2, dim=0, largest=False)
    others = torch.where(torch.arange(len(points))[:, None, None] == places[0], nearest[1], nearest[0])
    return (2 * (others - distance)).clamp(-12, 9) + torch.randn(distance.shape, generator=generator) * 0.2


def processor_of(family: str) -> Any:
    """The processor of a key of :data:`OBJECTS`, as far as its post-processing needs it."""
    made = OBJECTS[family].__new__(OBJECTS[family])
    made.size, made.class_info_file = {"shortest_edge": SIDE, "longest_edge": SIDE}, "coco"
    return made


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: smaller images.
    """
    size = "2 MP" if quick else "12 MP"
    for family in PROCESSORS:
        yield panoptic_row(size, family)
    for family in OBJECTS:
        yield instance_row(size, "", family)
    for family in PROCESSORS:
        yield semantic_row(size, "", family)
    for family in PROCESSORS:
        yield panoptic_row(size, family, NOISE)
    for family in OBJECTS:
        yield instance_row(size, NOISE, family)
    for family in PROCESSORS:
        yield semantic_row(size, NOISE, family)
    if not quick:
        yield panoptic_row("48 MP", "Mask2Former")
        for kind in SURE:
            yield mask2former_row(size, kind)
    yield rfdetr_row("2 MP")


# What a row runs at a size: ours, theirs, and how they compare, given nothing of theirs too.
Sides = tuple[Callable[[], Any], Callable[[], Any], Callable[[Any, Any], str]]


def _row(size: str, what: str, kind: str, sides: Callable[[tuple[int, int]], Sides], peak: int = PEAKS) -> Row:
    """A row at a size; where the peer does not fit, the result says so, and how both compare at a smaller one."""
    height, width = SIZES[size]
    ours, theirs, check = sides((height, width))
    needed = peak * QUERIES * height * width + (1 << 30)
    free = available_memory()

    def compared(mine: Any, other: Any) -> str:
        if other is not None or size == SMALLER:
            return check(mine, other)
        small = sides(SIZES[SMALLER])
        return f"{check(mine, other)}; the peer takes {needed / 1e9:.0f} GB, {free / 1e9:.0f} are free; at {SMALLER} {small[2](small[0](), small[1]())}"

    return compare(
        f"{what}, {QUERIES} queries, {CLASSES} classes, {size}{kind}",
        "transformers' own post-processing",
        ours,
        theirs if free > needed else None,
        compared,
        targets=(None, None) if size != "12 MP" else (0.5, 0.05) if kind else (0.05, 0.03),
        repeats=1,
        peer_once=size == "12 MP",
    )


def _peak(family: str) -> int:
    return AT_EOMTS if family == "EoMT" else PEAKS


def panoptic_row(size: str, family: str, kind: str = "") -> Row:
    """Segments that do not overlap.

    Args:
        size: key of ``SIZES``.
        family: key of ``PROCESSORS``.
        kind: as for :func:`outputs_of`.
    """
    return _row(size, f"panoptic segments, {family}", kind, partial(panoptic, family, kind), _peak(family))


def panoptic(family: str, kind: str, size: tuple[int, int], count: int = QUERIES, classes: int = CLASSES) -> Sides:
    """Both ways to segments that do not overlap, and how they compare.

    Args:
        family: key of ``PROCESSORS``.
        kind: as for :func:`outputs_of`.
        size: (height, width) of the photograph.
        count: of queries.
        classes: beside none.
    """
    outputs, processor = outputs_of(kind, family, count, classes), processor_of(family)
    logits, masks, order = outputs.class_queries_logits[0], outputs.masks_queries_logits[0], order_of(family, *size)

    def ours() -> Found:
        return queries.without_overlaps(logits, masks, *size, order, Thresholds())

    def theirs() -> dict:
        return processor.post_process_panoptic_segmentation(outputs, threshold=0.5, target_sizes=[size])[0]

    return ours, theirs, partial(same_segments, void=-1 if family == "EoMT" else 0)


def same_segments(found: Found, info: dict | None, void: int = 0) -> str:
    """How segments that do not overlap compare with transformers'."""
    if info is None:
        return f"{len(found.label_ids)} segments"
    segments = [(segment["label_id"], segment["score"]) for segment in info["segments_info"]]
    same = list(zip(found.label_ids, found.scores, strict=True)) == segments
    same &= not segments or np.array_equal(found.id_map, info["segmentation"].numpy() - void)
    return f"{len(segments)} segments, {'identical' if same else 'DIFFERENT'}"


def instance_row(size: str, kind: str, family: str = "Mask2Former") -> Row:
    """Objects, which may overlap but for those of :data:`APART`, and the id map of those on top.

    Args:
        size: key of ``SIZES``.
        kind: as for :func:`outputs_of`.
        family: key of ``OBJECTS``.
    """
    outputs, processor = outputs_of(kind, family), processor_of(family)
    classes, masks = outputs.class_queries_logits[0], outputs.masks_queries_logits[0]

    def sides(size: tuple[int, int]) -> Sides:
        ours, check = (objects_apart if family in APART else objects)(family, classes, masks, *size)
        return ours, lambda: processor.post_process_instance_segmentation(outputs, target_sizes=[size])[0], check

    return _row(size, f"objects, {family}", kind, sides, _peak(family))


# Of a family, and of all others whose objects may overlap.
FINDS = {
    "RF-DETR": lambda classes, masks, height, width: instances.sigmoid_instances(classes, masks, height, width),
    "EoMT": lambda *given: instances.late_instances(*given, order_of("EoMT", *given[2:])),
}
# Families whose objects do not overlap, and how they are found.
APART = {
    "OneFormer": lambda *given: queries.best_pairs_without_overlaps(*given, Order(antialias=True, logits=True), Thresholds()),
    "DETR": lambda *given: queries.without_overlaps(*given, Order(), Thresholds()),
}
Ours = tuple[Callable[[], Any], Callable[[Any, dict | None], str]]


def objects_apart(family: str, classes: torch.Tensor, masks: torch.Tensor, height: int, width: int) -> Ours:
    """Our way to objects that do not overlap, and how they compare with transformers'."""
    return lambda: APART[family](classes, masks, height, width), same_segments


def objects(family: str, classes: torch.Tensor, masks: torch.Tensor, height: int, width: int) -> Ours:
    """Our way to objects that may overlap with their id map, and how both compare with transformers'."""
    find = FINDS.get(family, lambda *given: instances.early_instances(*given, order_of(family, height, width)))
    # Later ones lie over earlier ones in theirs, but for RF-DETR, whose best is on top and which leaves out what cannot be seen.
    best_first = family == "RF-DETR"

    def ours() -> tuple[list[Segment], np.ndarray]:
        found = find(classes, masks, height, width)
        found = found if best_first else found[::-1]
        return found, instances.paint_objects(found, height, width)

    def check(mine: tuple[list[Segment], np.ndarray], info: dict | None) -> str:
        found, id_map = mine
        if info is None:
            return f"{len(found)} objects"
        numbers = np.full(len(found) + 1, -1)
        listed = [index for index in np.unique(id_map) if index] if best_first else list(range(len(found), 0, -1))
        numbers[listed] = np.arange(len(listed)) + best_first
        segments = [(segment["label_id"], segment["score"]) for segment in info["segments_info"]]
        same = [(found[index - 1].label_id, found[index - 1].score) for index in listed] == segments
        same &= np.array_equal(numbers[id_map], info["segmentation"].numpy())
        return f"{len(segments)} objects, {'identical' if same else 'DIFFERENT'}"

    return ours, check


def semantic_row(size: str, kind: str, family: str = "Mask2Former") -> Row:
    """A label map.

    Args:
        size: key of ``SIZES``.
        kind: as for :func:`outputs_of`.
        family: key of ``PROCESSORS``.
    """
    outputs, processor = outputs_of(kind, family), processor_of(family)
    if family == "EoMT":
        outputs = in_squares(kind, processor, SIZES[size])
        whole = of_squares(outputs)

    def sides(size: tuple[int, int]) -> Sides:
        def ours() -> np.ndarray:
            if family == "EoMT":
                return whole(size)
            order = order_of(family, *size)
            return argmax_resized(queries.class_maps(outputs.logits[0], outputs.pred_masks[0], order), *size, order.antialias)

        return ours, lambda: processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0].numpy(), check

    def check(mine: np.ndarray, other: np.ndarray | None) -> str:
        return "done" if other is None else "identical" if np.array_equal(mine, other) else "DIFFERENT"

    return _row(size, f"label map of class queries, {family}", kind, sides)


def in_squares(kind: str, processor: Any, size: tuple[int, int]) -> SimpleNamespace:
    """What an EoMT says of the squares of a photograph, which see the same things where they overlap.

    Args:
        kind: as for :func:`outputs_of`.
        processor: which will be one of several squares.
        size: (height, width) of the photograph, which is wide.
    """
    tall, wide = get_size_with_aspect_ratio(size, SIDE, None)
    processor.size = SizeDict(shortest_edge=SIDE)
    _, offsets = processor._split_image(torch.empty((1, 1, tall, wide), device="meta"), processor.size, [0])
    outputs, generator = outputs_of(kind, "EoMT"), torch.Generator().manual_seed(1)
    (height, width), square = GRIDS["EoMT"], outputs.pred_masks[0]
    if kind:
        squares = [square, torch.randn(square.shape, generator=generator) * 3]
    else:
        points = torch.rand((len(square), 2), generator=generator) * torch.tensor([height, width * wide / SIDE])
        lefts = [torch.tensor([0, begin * width / SIDE]) for _, begin, _ in offsets]
        squares = [blobs(points - left, height, width, generator) for left in lefts]
    masks = torch.stack(squares)
    return SimpleNamespace(class_queries_logits=outputs.logits.expand(len(masks), -1, -1), masks_queries_logits=masks, patch_offsets=offsets)


def of_squares(outputs: SimpleNamespace) -> Callable[[tuple[int, int]], np.ndarray]:
    """Our label map of :func:`in_squares`, by the size of the photograph."""
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64}
    network = Eomt.create(subjects.labels(CLASSES), {"model_type": "eomt", **small})
    network.processor = EomtImageProcessor(size={"shortest_edge": SIDE, "longest_edge": None}, do_split_image=True, do_pad=False)
    pairs = zip(outputs.class_queries_logits, outputs.masks_queries_logits, strict=True)
    raw = [{"classes": classes, "masks": masks} for classes, masks in pairs]
    return lambda size: network.squares(raw, *size).labels(*size)


# Queries that are sure, in words, and the share of its mask that a segment must win: where all are sure, none wins most of it.
SURE = {"mask2former-swin-t": ("a dozen of 100 queries sure", 0.8), "mask2former-swin-t-sure": ("all 100 queries sure", 0.0)}


def mask2former_row(size: str, kind: str = "mask2former-swin-t") -> Row:
    """Mask2Former on a photograph, the whole request. The peer resizes the masks of sure queries alone.

    Args:
        size: key of ``SIZES``.
        kind: key of ``SURE``, of :func:`subjects.folder`.
    """
    model, file, (sure, overlap) = subjects.model(kind), subjects.jpeg(*SIZES[size]), SURE[kind]
    pipe = pipeline("image-segmentation", model=str(subjects.folder(kind)), device="cpu")
    colors = model.labels.colors

    def plain() -> list[dict]:
        image = Image.open(io.BytesIO(file)).convert("RGB")
        # The thresholds of post-processing, which the pipeline has others for.
        found, pixels = pipe(image, subtask="panoptic", threshold=0.5, overlap_mask_area_threshold=overlap), np.array(image)
        for segment in found:
            inside = np.asarray(segment["mask"]) > 0
            pixels[inside] = (pixels[inside] * 0.5 + colors[pipe.model.config.label2id[segment["label"]]] * 0.5).astype(np.uint8)
        Image.fromarray(pixels).save(io.BytesIO(), "PNG", compress_level=1)
        return found

    def check(mine: Segmentation, theirs: list[dict] | None) -> str:
        if theirs is None:
            return f"{len(mine.segments)} segments"
        eager = Model.from_network(model._run.network, model.spec).predict(decode(file), thresholds={"overlap": overlap})
        box = (0, 0, *SIZES[size][::-1])
        plainly = [(model.labels.names.index(found["label"]), box, np.asarray(found["mask"]) > 0) for found in theirs]
        ours = ([(one.label_id, box, run.id_map == index) for index, one in enumerate(run.segments, start=1)] for run in (eager, mine))
        return f"{len(theirs)} segments; {same_objects(*ours, plainly)}"

    height, width = SIZES[size]
    return compare(
        f"Mask2Former Swin-T, {CLASSES} classes, {sure}, {size}, JPEG in, mask and overlay out", "transformers pipeline + blend",
        partial(served, model, file, thresholds={"overlap": overlap}), plain if available_memory() > 8 * QUERIES * height * width + (1 << 30) else None,
        check, targets=(0.35, 0.10), repeats=1, settle=subjects.compiled, peer_once=size == "12 MP",
    )  # fmt: skip


def rfdetr_row(size: str, kind: str = "rfdetr-seg-nano") -> Row:
    """RF-DETR-Seg-Nano with a hundred objects, the whole request, against Mask R-CNN with as many.

    Args:
        size: key of ``SIZES``.
        kind: of :func:`subjects.folder`.
    """
    model, file = subjects.model(kind), subjects.jpeg(*SIZES[size])
    network = model._run.network
    torch.manual_seed(0)
    peer = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=91, box_score_thresh=0.0).eval()

    def served() -> Segmentation:
        result = model.predict(decode(file), 0.05)
        result.to_dict()  # every mask, as run lengths
        return result

    def plain() -> dict[str, torch.Tensor]:
        pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(file)).convert("RGB"))).permute(2, 0, 1)
        with torch.inference_mode():
            return peer([pixels / 255])[0]

    def check(mine: Segmentation, theirs: dict[str, torch.Tensor]) -> str:
        pixels = decode(file)
        eager = Model.from_network(network, model.spec).predict(pixels, 0.05)
        with torch.inference_mode():
            outputs = network.module(pixel_values=network.preprocess(pixels))
        info = RfDetrImageProcessor().post_process_instance_segmentation(
            outputs, 0.05, target_sizes=[SIZES[size]], return_binary_maps=True
        )[0]
        listed = zip(info["segments_info"], info["segmentation"].numpy().astype(bool), strict=True)
        plainly = [(segment["label_id"], (0, 0, *SIZES[size][::-1]), mask) for segment, mask in listed]
        ours = ([(one.label_id, (0, 0, *SIZES[size][::-1]), whole(one, *SIZES[size])) for one in found.segments] for found in (eager, mine))
        return f"{len(mine.segments)} and {len(theirs['masks'])} objects; {same_objects(*ours, plainly)}"

    return compare(
        f"RF-DETR-Seg-Nano, {size}, JPEG in, objects out", "Mask R-CNN R50 v2 of torchvision, its own post-processing", served, plain, check,
        targets=(0.15, 0.15) if size == "2 MP" else (None, None), repeats=3, settle=subjects.compiled,
    )  # fmt: skip


def whole(segment: Segment, height: int, width: int) -> np.ndarray:
    """An object's mask in the whole picture: bool (height, width)."""
    found = np.zeros((height, width), bool)
    x0, y0, x1, y1 = segment.box
    found[y0:y1, x0:x1] = segment.mask
    return found

"""Whole requests, a camera's JPEG in, mask and overlay out, against the same through plain libraries and gradio."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import gradio
import numpy as np
import torch
from PIL import Image
from torchvision.utils import draw_segmentation_masks

from benchmarks import subjects
from benchmarks.measure import Row, compare
from seg_demo.core.rle import Box
from seg_demo.core.types import Segmentation, tight_box
from seg_demo.inference.engine import available_memory
from seg_demo.inference.model import Model
from seg_demo.inputs.images import decode
from seg_demo.networks.base import Network
from seg_demo.outputs import draw
from seg_demo.outputs.draw import overlay_png

# Class, box and the mask within the box.
Found = tuple[int, Box, np.ndarray]

TARGETS = {"12 MP": (0.12, 0.05), "2 MP": (0.22, 0.12), "0.3 MP": (0.40, 0.40)}


def served(model: Model, file: bytes, threshold: float = 0.5, **options: Any) -> Segmentation:
    """What the demo does for a request, with options of :meth:`Model.predict`: mask and overlay as files; its result."""
    pixels = decode(file)
    result = model.predict(pixels, threshold, **options)
    draw.id_map_png(result)
    overlay_png(pixels, result)
    return result


def project(model: Model, file: bytes) -> np.ndarray:
    """The id map of :func:`served`."""
    return served(model, file).id_map


def plain_segformer(pipe: Any, file: bytes, colors: np.ndarray) -> np.ndarray:
    """A pipeline, a blend and two ``gr.Image``; the label map."""
    image = Image.open(io.BytesIO(file)).convert("RGB")
    label_map = np.zeros((image.height, image.width), np.uint8)
    for found in pipe(image):
        label_map[np.asarray(found["mask"]) > 0] = pipe.model.config.label2id[found["label"]]
    blended = (np.asarray(image) * 0.5 + colors[label_map] * 0.5).astype(np.uint8)
    gradio.Image(format="png").postprocess(label_map)
    gradio.Image().postprocess(blended)
    return label_map


def plain_maskrcnn(module: torch.nn.Module, file: bytes, device: str = "cpu") -> tuple[torch.Tensor, list[int]]:
    """torchvision's model in evaluation, its ``draw_segmentation_masks`` and two ``gr.Image``; bool (N, H, W) and classes."""
    image = Image.open(io.BytesIO(file)).convert("RGB")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    with torch.inference_mode():
        found = {name: value.cpu() for name, value in module([(pixels / 255).to(device)])[0].items()}
    masks = found["masks"][:, 0] > 0.5
    order = torch.zeros(masks.shape[1:], dtype=torch.uint8)
    for index in reversed(range(len(masks))):
        order[masks[index]] = index + 1
    gradio.Image(format="png").postprocess(order.numpy())
    gradio.Image().postprocess(draw_segmentation_masks(pixels, masks, alpha=0.5).permute(1, 2, 0).numpy())
    return masks, found["labels"].tolist()


def cropped(masks: torch.Tensor, labels: list[int]) -> list[Found]:
    """Class, box and crop of every mask of bool (N, H, W) that has a pixel."""
    found = []
    for mask, label in zip(masks.numpy(), labels, strict=True):
        box = tight_box(mask)
        if box is not None:
            x0, y0, x1, y1 = box
            found.append((label, box, mask[y0:y1, x0:x1].copy()))
    return found


def same_labels(mine: np.ndarray, theirs: np.ndarray | None) -> str:
    """How many labels agree."""
    if theirs is None:
        return "done"
    part = float((mine == theirs).mean())
    return "identical" if part == 1 else f"{100 * part:.4f} % of the labels equal"


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: only the small images.
    """
    yield from segformer_rows(["0.3 MP"] if quick else ["0.3 MP", "2 MP", "12 MP", "48 MP"])
    yield maskrcnn_row("2 MP" if quick else "12 MP")


def segformer_rows(sizes: list[str]) -> Iterator[Row]:
    """SegFormer-B0 on photographs of some sizes."""
    from transformers import pipeline

    model = subjects.model("segformer-b0")
    pipe = pipeline("image-segmentation", model=str(subjects.folder("segformer-b0")), device="cpu")
    colors = model.labels.colors
    for size in sizes:
        file = subjects.jpeg(*subjects.SIZES[size])
        pixels = np.prod(subjects.SIZES[size])
        # float32 logits of every class, their resize and the softmax's worth of copies.
        fits = available_memory() > 4 * subjects.CLASSES * pixels * 1.3
        yield compare(
            f"SegFormer-B0, 150 classes, {size}, JPEG in, mask and overlay out",
            "transformers pipeline + blend + `gr.Image`",
            lambda file=file: project(model, file),
            (lambda file=file: plain_segformer(pipe, file, colors)) if fits else None,
            same_labels,
            targets=TARGETS.get(size, (None, None)),
            repeats=1 if pixels > 10_000_000 else 3,
            settle=subjects.compiled,
        )


def maskrcnn_row(size: str) -> Row:
    """Mask R-CNN with a hundred objects."""
    model, file = subjects.model("maskrcnn-r50"), subjects.jpeg(*subjects.SIZES[size])
    checkpoint = model._run.network
    peer, eager = plain(checkpoint), Model.from_network(checkpoint, model.spec)
    pixels = np.prod(subjects.SIZES[size])
    fits = available_memory() > 100 * pixels * 7

    def check(mine: Segmentation, theirs: tuple[torch.Tensor, list[int]] | None) -> str:
        if theirs is None:
            return f"{len(mine.segments)} objects"
        return same_objects(listed(eager.predict(file, 0.0)), listed(mine), cropped(*theirs))

    return compare(
        f"Mask R-CNN R50-FPN, {size}, 100 objects, JPEG in, mask and overlay out",
        "torchvision eval + draw_segmentation_masks + `gr.Image`",
        lambda: served(model, file, 0.0),
        (lambda: plain_maskrcnn(peer, file)) if fits else None,
        check,
        targets=(0.30, 0.10) if size == "12 MP" else (None, None),
        repeats=3,
        settle=subjects.compiled,
    )


def plain(checkpoint: Network) -> torch.nn.Module:
    """torchvision's own network with the same weights; it pastes the masks itself."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    module = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=len(checkpoint.labels), box_score_thresh=0.0
    )
    module.load_state_dict(checkpoint.module.state_dict())
    return module.eval()


def listed(result: Segmentation) -> list[Found]:
    """The objects of a result."""
    return [(each.label_id, each.box, each.mask) for each in result.segments]


def same_objects(eager: list[Found], served: list[Found], theirs: list[Found]) -> str:
    """Whether eager torch gives the peer's very masks, and how many of the engine's objects are the peer's, best first."""
    alike = len(eager) == len(theirs) and all(
        one[:2] == other[:2] and np.array_equal(one[2], other[2]) for one, other in zip(eager, theirs, strict=True)
    )
    ious, left = [], list(served)
    for each in theirs:
        best = max(left, key=lambda other: mask_iou(each, other), default=None)
        if best is not None and mask_iou(each, best) > 0.9:
            ious.append(mask_iou(each, best))
            left = [other for other in left if other is not best]
    first = "masks identical with eager fp32" if alike else "masks DIFFERENT with eager fp32"
    return f"{first}; with the engine {len(ious)} of {len(theirs)} objects the same, mask IoU ≥ {min(ious, default=0):.4f}"


def mask_iou(one: Found, other: Found) -> float:
    """Intersection over union of two objects; 0 where the classes differ."""
    (label, a, mask), (other_label, b, other_mask) = one, other
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    if label != other_label or x0 >= x1 or y0 >= y1:
        return 0.0
    inside = mask[y0 - a[1] : y1 - a[1], x0 - a[0] : x1 - a[0]] & other_mask[y0 - b[1] : y1 - b[1], x0 - b[0] : x1 - b[0]]
    common = int(np.count_nonzero(inside))
    return common / (int(np.count_nonzero(mask)) + int(np.count_nonzero(other_mask)) - common)

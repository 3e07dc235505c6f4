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
from seg_demo.models.devices import available_memory
from seg_demo.models.model import Model
from seg_demo.networks.base import Checkpoint
from seg_demo.outputs import render
from seg_demo.ui.results import overlay_png

TARGETS = {"12 MP": (0.12, 0.05), "2 MP": (0.22, 0.12), "0.3 MP": (0.40, 0.40)}


def project(model: Model, file: bytes) -> np.ndarray:
    """What the demo does for a request; the id map."""
    from seg_demo.inputs.images import decode

    pixels = decode(file)
    result = model.predict(pixels)
    render.id_map_png(result)
    overlay_png(pixels, result)
    return result.id_map


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


def plain_maskrcnn(module: torch.nn.Module, file: bytes) -> torch.Tensor:
    """torchvision's model in evaluation, its ``draw_segmentation_masks`` and two ``gr.Image``; bool (N, H, W)."""
    image = Image.open(io.BytesIO(file)).convert("RGB")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    with torch.inference_mode():
        found = module([pixels / 255])[0]
    masks = found["masks"][:, 0] > 0.5
    order = torch.zeros(masks.shape[1:], dtype=torch.uint8)
    for index in reversed(range(len(masks))):
        order[masks[index]] = index + 1
    gradio.Image(format="png").postprocess(order.numpy())
    gradio.Image().postprocess(draw_segmentation_masks(pixels, masks, alpha=0.5).permute(1, 2, 0).numpy())
    return masks


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
    peer = plain(model._run._checkpoint)
    pixels = np.prod(subjects.SIZES[size])
    fits = available_memory() > 100 * pixels * 7

    def served() -> Any:
        from seg_demo.inputs.images import decode

        image = decode(file)
        result = model.predict(image, 0.0)
        render.id_map_png(result)
        overlay_png(image, result)
        return result

    return compare(
        f"Mask R-CNN R50-FPN, {size}, 100 objects, JPEG in, mask and overlay out",
        "torchvision eval + draw_segmentation_masks + `gr.Image`",
        served,
        (lambda: plain_maskrcnn(peer, file)) if fits else None,
        same_objects,
        targets=(0.30, 0.10) if size == "12 MP" else (None, None),
        repeats=1,
        settle=subjects.compiled,
    )


def plain(checkpoint: Checkpoint) -> torch.nn.Module:
    """torchvision's own network with the same weights; it pastes the masks itself."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    module = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=len(checkpoint.labels), box_score_thresh=0.0
    )
    module.load_state_dict(checkpoint.module.state_dict())
    return module.eval()


def same_objects(mine: Any, theirs: torch.Tensor | None) -> str:
    """Mean IoU of the masks, object by object in the order of the scores."""
    if theirs is None:
        return f"{len(mine.segments)} objects"
    if len(mine.segments) != sum(bool(mask.any()) for mask in theirs):
        return f"DIFFERENT: {len(mine.segments)} objects instead of {len(theirs)}"
    ious = []
    for segment, mask in zip(mine.segments, (mask for mask in theirs if mask.any()), strict=True):
        x0, y0, x1, y1 = segment.box
        common = int((mask[y0:y1, x0:x1] & torch.from_numpy(segment.mask)).sum())
        ious.append(common / (int(mask.sum()) + int(segment.mask.sum()) - common))
    return f"{len(ious)} objects, mask IoU ≥ {min(ious):.4f}"

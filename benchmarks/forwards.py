"""Forward passes on the processor, as the demo serves them, against eager torch of the plain libraries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import box_iou

from benchmarks import subjects
from benchmarks.measure import Row, compare
from benchmarks.requests import plain
from seg_demo import networks
from seg_demo.core.types import ModelSpec
from seg_demo.inference import engine
from seg_demo.inference.model import Model
from seg_demo.networks.checkpoint import read_familiarity
from seg_demo.serving.catalog import BUNDLED_FOLDER


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: without Mask R-CNN.
    """
    repeats = 3 if quick else 7
    yield unet_row(512, repeats)
    yield segformer_row(512, repeats)
    yield familiarity_row((480, 640), 5 * repeats)
    if not quick:
        yield maskrcnn_row((1225, 1633), 3)


def batch(height: int, width: int) -> torch.Tensor:
    """The photograph, normalised; float32 (1, 3, height, width)."""
    return subjects._sample(height, width)


def same_labels(mine: torch.Tensor, theirs: torch.Tensor) -> str:
    """How many labels agree, and by how much the others win at most."""
    other = mine.argmax(1) != theirs.argmax(1)
    if not other.any():
        return "every label equal"
    best = theirs.topk(2, dim=1).values
    margin = float(((best[:, 0] - best[:, 1])[other] / theirs.abs().max()).max())
    part = 100 * float((~other).float().mean())
    return f"{part:.4f} % of the labels equal, the others win by ≤ {margin:.0e} of the largest logit"


def unet_row(side: int, repeats: int) -> Row:
    """U-Net on a ResNet-34."""
    import segmentation_models_pytorch as smp

    model, images = subjects.model("unet-r34"), batch(side, side)
    peer = smp.from_pretrained(str(subjects.folder("unet-r34")), encoder_weights=None).eval()
    return compare(
        f"U-Net R34 forward, {side}²", "smp eager", lambda: forward(model, images), lambda: eager(peer, images), same_labels,
        targets=(0.60, None), repeats=repeats, memory=False, settle=subjects.compiled,
    )  # fmt: skip


def segformer_row(side: int, repeats: int) -> Row:
    """SegFormer-B0, its logits before they are resized."""
    from transformers import SegformerForSemanticSegmentation

    model, images = subjects.model("segformer-b0"), batch(side, side)
    peer = SegformerForSemanticSegmentation.from_pretrained(subjects.folder("segformer-b0")).eval()
    return compare(
        f"SegFormer-B0 forward, {side}²", "transformers eager", lambda: forward(model, images),
        lambda: eager(lambda each: peer(pixel_values=each).logits, images), same_labels,
        targets=(0.25, None), repeats=repeats, memory=False, settle=subjects.compiled,
    )  # fmt: skip


def familiarity_row(size: tuple[int, int], repeats: int) -> Row:
    """The bundled U-Net from pixels to result, with and without its word on pictures unlike those that it learnt from."""
    folder = BUNDLED_FOLDER / "unet-cells"

    def serve(rule: Any) -> Model:
        network = replace(networks.load(folder), familiarity=rule)
        network.module.eval().requires_grad_(False)
        network.optimise(torch.device("cpu"))
        spec = ModelSpec("unet-cells", None, "semantic", "", "unet-cells", "", "folder")
        return Model.from_network(network, spec, engine=engine.choose(network, torch.device("cpu"), "auto", 1))

    def settled() -> None:
        silent.predict(photo)
        subjects.compiled()

    judging, silent, photo = serve(read_familiarity(folder)), serve(None), subjects.photo(*size)

    def check(mine: Any, other: Any) -> str:
        same = np.array_equal(mine.id_map, other.id_map) and mine.familiar is not None and other.familiar is None
        return "identical" if same else "DIFFERENT"

    return compare(
        f"unet-cells with its familiarity, {size[0] * size[1] / 1e6:.1f} MP", "the same without",
        lambda: judging.predict(photo), lambda: silent.predict(photo), check,
        targets=(1.03, None), repeats=repeats, memory=False, settle=settled,
    )  # fmt: skip


def maskrcnn_row(size: tuple[int, int], repeats: int) -> Row:
    """Mask R-CNN on a ResNet-50 with 100 objects, from the pixels to masks of 28 x 28 that are not pasted on either side.

    To compare them, torchvision pastes both. How closely fp32 defines them is told by the peer in another memory layout, in
    which the same kernels' sums have another order.
    """
    model = subjects.model("maskrcnn-r50")
    checkpoint = model._run.network
    photo = subjects.photo(*size)
    peer = plain(checkpoint)

    def ours() -> Any:
        with torch.inference_mode():
            return model._run._forward(checkpoint, None, checkpoint.preprocess(photo))[0]

    def theirs(layout: torch.memory_format = torch.contiguous_format) -> Any:
        with torch.inference_mode():
            images, _ = peer.transform([torch.from_numpy(photo).permute(2, 0, 1) / 255])
            features = peer.backbone(images.tensors.contiguous(memory_format=layout))
            proposals, _ = peer.rpn(images, features)
            return peer.roi_heads(features, proposals, images.image_sizes)[0]

    def check(mine: Any, other: Any) -> str:
        seen = checkpoint.preprocess(photo).shape[-2:]
        peer.to(memory_format=torch.channels_last)
        again = theirs(torch.channels_last)
        peer.to(memory_format=torch.contiguous_format)
        told = f"{same_detections(mine, other)}; pasted: {same_pasted(mine, other, seen, size)}"
        return f"{told}; the peer and itself in channels-last: {same_pasted(again, other, seen, size)}"

    return compare(
        f"Mask R-CNN R50 forward, {size[0] * size[1] / 1e6:.0f} MP", "torchvision eager", ours, theirs, check,
        targets=(0.60, None), repeats=repeats, memory=False, settle=subjects.compiled,
    )  # fmt: skip


def forward(model: Any, images: torch.Tensor) -> Any:
    """The demo's own forward pass."""
    with torch.inference_mode():
        return model._run._forward(model._run.network, None, images)[0]


def eager(module: Any, images: torch.Tensor) -> torch.Tensor:
    """A plain library's forward pass."""
    with torch.inference_mode():
        return module(images)


def same_detections(mine: list[dict[str, torch.Tensor]], theirs: list[dict[str, torch.Tensor]]) -> str:
    """How classes, boxes and masks agree, object by object."""
    a, b = mine[0], theirs[0]
    pairs = paired(a, b)
    if not pairs:
        return f"DIFFERENT: {len(a['labels'])} objects, {len(b['labels'])} of the peer, none in common"
    first, second = (torch.tensor(each) for each in zip(*pairs, strict=True))
    boxes = float((a["boxes"][first] - b["boxes"][second]).abs().max())
    binary = a["masks"][first] > 0.5, b["masks"][second] > 0.5
    moved = f"{int((binary[0] != binary[1]).sum())} of {binary[0].numel()} mask cells differ"
    return f"{told(len(pairs), a, b)}, boxes within {boxes:.0e} px, {moved}"


def same_pasted(
    mine: list[dict[str, torch.Tensor]], theirs: list[dict[str, torch.Tensor]], seen: tuple[int, int], size: tuple[int, int]
) -> str:
    """How the masks agree at the size of the image, where torchvision has pasted them, object by object.

    Args:
        mine: detections with boxes in pixels of what the network saw.
        theirs: likewise, of the peer.
        seen: (height, width) of that.
        size: (height, width) of the image.
    """
    shares, moved, total = [], 0, 0
    for pair in paired(mine[0], theirs[0]):
        masks = []
        for found, place in zip((mine[0], theirs[0]), pair, strict=True):
            box = resize_boxes(found["boxes"][place][None], seen, size)
            masks.append(paste_masks_in_image(found["masks"][place][None], box, size)[0, 0] > 0.5)
        common, either = int((masks[0] & masks[1]).sum()), int((masks[0] | masks[1]).sum())
        shares += [common / either] if either else []
        moved, total = moved + either - common, total + either
    close = sum(each >= 0.999 for each in shares)
    return (
        f"mask IoU ≥ 0.999 for {close} of {len(shares)}, {sum(shares) / max(1, len(shares)):.5f} on average, "
        f"≥ {min(shares, default=0.0):.4f}; {moved} of {total} pixels differ"
    )


def paired(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> list[tuple[int, int]]:
    """Places of the same object on both sides: the same class, and boxes that overlap by 99 %, best first.

    The order by score is no help: with random weights, scores of many objects are alike to the sixth digit.
    """
    overlap = box_iou(mine["boxes"], theirs["boxes"])
    overlap[mine["labels"][:, None] != theirs["labels"][None]] = 0
    pairs = []
    while overlap.numel() and float(overlap.max()) > 0.99:
        place = divmod(int(overlap.argmax()), overlap.shape[1])
        pairs.append(place)
        overlap[place[0]], overlap[:, place[1]] = 0, 0
    return pairs


def told(count: int, mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> str:
    """How many objects both sides have."""
    if count == len(mine["labels"]) == len(theirs["labels"]):
        return f"the same {count} objects"
    # Of equally good candidates at the end of the list, rounding decides which is the hundredth.
    return f"{count} of {len(theirs['labels'])} objects the same"

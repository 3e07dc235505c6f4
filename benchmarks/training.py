"""One step of training, as ``train/finetune.py`` takes it, against the plain libraries' own losses in fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks import subjects
from benchmarks.measure import Row, compare
from benchmarks.overlays import discs
from seg_demo import networks
from seg_demo.networks.base import Network, normalised
from seg_demo.networks.maskrcnn import MaskRcnn
from train.batches import Crop
from train.losses import Batch, Objective
from train.trainer import parameter_groups

CPU = torch.device("cpu")


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: fewer repeats, without Mask R-CNN.
    """
    repeats = 1 if quick else 5
    # fp32 is what a CPU gets by default; bf16 is asked for (`--precision bf16`), and emulated where the processor lacks it.
    for precision in ("bf16",) if quick else ("fp32", "bf16"):
        yield segformer_row(512, 2, precision, repeats)
        yield unet_row(256, 8, precision, repeats)
        if not quick:
            # The network of torchvision's reference script, and the small one that is trained here where nothing is named.
            yield maskrcnn_row(", R50-FPN", {"variant": "maskrcnn_resnet50_fpn"}, 512, precision, repeats)
            yield maskrcnn_row(", small", MaskRcnn.default_options(), 512, precision, repeats, ratio=0.58)


def step(module: nn.Module, loss: Callable[[], torch.Tensor], lr: float = 1e-4) -> Callable[[], float]:
    """A step with AdamW and clipping; called, it returns the loss before it."""
    groups = parameter_groups(module, (), lr, 1.0, 0.01, False)
    optimizer = torch.optim.AdamW(groups, fused=True)

    def run() -> float:
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(value.detach())

    return run


def ours(
    checkpoint: Network, task: Objective, batch: Callable[[], Batch], precision: str, lr: float = 1e-4, device: torch.device = CPU
) -> Callable[[], float]:
    """The project's step in a precision, with the network laid out as training lays it out.

    Args:
        checkpoint: changed in place.
        task: its loss.
        batch: gives the batch of a step.
        precision: ``fp32`` or ``bf16``.
        lr: learning rate of all layers.
        device: that the network is on.
    """
    checkpoint.optimise_training(device, precision)
    module = checkpoint.module.train()

    def loss() -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            return task.loss(module, batch(), batch().valid, 1)

    return step(module, loss, lr)


def aimed(ratio: float, precision: str) -> float | None:
    """The ratio that is aimed at; it counts on bf16."""
    return ratio if precision == "bf16" else None


def near(mine: float, theirs: float) -> str:
    """How far the losses of the first steps are from each other."""
    return f"first losses {mine:.4f} and {theirs:.4f}"


def where(device: torch.device) -> str:
    """Words for the name of a row."""
    return "" if device.type == "cpu" else " on a GPU"


def semantic_batch(count: int, side: int, classes: int, device: torch.device = CPU) -> Batch:
    """The photograph with a label map of patches."""
    generator = torch.Generator().manual_seed(0)
    images = torch.from_numpy(subjects.photo(side, side)).permute(2, 0, 1)[None].float().repeat(count, 1, 1, 1) / 255
    patches = torch.randint(0, classes, (count, side // 16, side // 16), generator=generator)
    labels = patches.repeat_interleave(16, 1).repeat_interleave(16, 2)
    return Batch(images.to(device), labels.to(device), None, ("photo",) * count)


def segformer_row(side: int, count: int, precision: str, repeats: int, device: torch.device = CPU) -> Row:
    """SegFormer-B0 against what transformers' Trainer computes per step."""
    first, second = (networks.load(subjects.folder("segformer-b0")) for _ in range(2))
    batch, rule = semantic_batch(count, side, subjects.CLASSES, device), first.preprocessing
    for network in (first, second):
        network.module.to(device)
    task = Objective(first, "ce")
    pixels = normalised(batch.images, rule)
    peer = second.module.train()
    return compare(
        f"training step, SegFormer-B0, {side}², batch {count}, {precision}{where(device)}", "transformers' loss in fp32",
        ours(first, task, lambda: batch, precision, device=device), step(peer, lambda: peer(pixel_values=pixels, labels=batch.labels).loss), near,
        targets=(aimed(0.5, precision), None), repeats=repeats,
    )  # fmt: skip


def unet_row(side: int, count: int, precision: str, repeats: int, device: torch.device = CPU) -> Row:
    """U-Net on a ResNet-34 against plain fp32."""
    first, second = (networks.load(subjects.folder("unet-r34")) for _ in range(2))
    classes, rule = len(first.labels), first.preprocessing
    batch = semantic_batch(count, side, classes, device)
    for network in (first, second):
        network.module.to(device)
    task = Objective(first, "ce")
    pixels = normalised(batch.images, rule)
    peer = second.module.train()
    return compare(
        f"training step, U-Net R34, {side}², batch {count}, {precision}{where(device)}", "smp in fp32",
        ours(first, task, lambda: batch, precision, device=device),
        step(peer, lambda: nn.functional.cross_entropy(peer(pixels), batch.labels)), near,
        targets=(aimed(0.45, precision), None), repeats=repeats,
    )  # fmt: skip


def maskrcnn_row(
    kind: str, options: dict[str, Any], side: int, precision: str, repeats: int, device: torch.device = CPU, ratio: float = 0.6
) -> Row:
    """A Mask R-CNN against torchvision's fp32; twenty discs."""
    names, found = subjects.labels(2), {}
    segmentation = discs(side, side, 20)
    image = torch.from_numpy(subjects.photo(side, side)).permute(2, 0, 1).float() / 255
    instances = torch.from_numpy(segmentation.id_map.astype("int64"))
    for name in ("ours", "theirs"):
        torch.manual_seed(0)
        found[name] = MaskRcnn.create(names, options)
        found[name].module.to(device)
    task = Objective(found["ours"], "ce")
    batch = task.collate([Crop(image, instances.clamp(max=1), instances, None, "photo")], device)
    peer = found["theirs"].module.train()

    def theirs() -> torch.Tensor:
        return sum(peer(list(batch.images), batch.targets).values())

    return compare(
        f"training step, Mask R-CNN{kind}, {side}², {precision}{where(device)}", "torchvision in fp32",
        ours(found["ours"], task, lambda: batch, precision, device=device), step(peer, theirs), near,
        targets=(aimed(ratio, precision), None), repeats=repeats,
    )  # fmt: skip

"""Which device a run computes on, and in which precision."""

from __future__ import annotations

import torch

from seg_demo import networks
from seg_demo.networks.base import Checkpoint
from train.config import Config
from train.loop.pooling import SharedRoIAlign


def best_device() -> str:
    """What ``--device auto`` means here: ``cuda``, ``mps`` or ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def lay_out(checkpoint: Checkpoint, device: torch.device, precision: str) -> None:
    """Let a network compute in the order and memory layout in which it is trained fastest; its state dict stays as it is.

    As for prediction (:func:`seg_demo.networks.optimise`). Mask R-CNN on a CPU pools with all cores, and in bf16 has its
    channels last: measured 0.78 of the time. In fp32 that layout changes nothing.

    Args:
        checkpoint: its module is changed in place, but not moved.
        device: where it is trained.
        precision: as accelerate names it.
    """
    networks.optimise(checkpoint, device)
    if checkpoint.architecture == "maskrcnn" and device.type == "cpu":
        heads = checkpoint.module.roi_heads
        heads.box_roi_pool, heads.mask_roi_pool = SharedRoIAlign(heads.box_roi_pool), SharedRoIAlign(heads.mask_roi_pool)
        if precision == "bf16":
            checkpoint.module.to(memory_format=torch.channels_last)


def choose_device(config: Config, problems: list[str]) -> tuple[torch.device, str]:
    """The device, and the precision that it does well: bf16 where the hardware has it.

    Args:
        config: ``device`` and ``precision`` count.
        problems: gets a sentence for what cannot be used.

    Returns:
        The device, and ``no``, ``bf16`` or ``fp16`` as accelerate names it.
    """
    name = best_device() if config.device == "auto" else config.device
    try:
        if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
            raise RuntimeError("that is not one of cpu, cuda, cuda:N, mps")
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("no CUDA device can be used here")
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise RuntimeError(f"there are {torch.cuda.device_count()} CUDA devices")
    except RuntimeError as error:
        problems.append(f"--device {config.device} cannot be used: {str(error).splitlines()[0]}. Use --device cpu or auto.")
        device = torch.device("cpu")
    if config.precision == "auto":
        return device, "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "no"
    if config.precision == "fp16" and device.type != "cuda":
        problems.append("--precision fp16 needs a CUDA device; on a CPU use fp32 or bf16.")
    return device, {"fp32": "no"}.get(config.precision, config.precision)

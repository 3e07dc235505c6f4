"""How much memory a training step needs, measured on one image, and how much there is."""

from __future__ import annotations

import torch

from seg_demo import networks
from seg_demo.networks.base import Checkpoint
from train.config import ConfigError
from train.loop.batches import local_processes

# Weights, gradients, two AdamW moments and the moving average, in fp32.
BYTES_PER_PARAMETER = 20
# What autograd keeps is not all: convolutions and interpolations take workspace of their own.
OVERHEAD = 1.5
# Larger crops are measured at this side and scaled by their area, so that measuring never needs the memory itself.
MEASURED_SIDE = 512


def check_memory(batch: int, checkpoint: Checkpoint, crop: int, device: torch.device) -> int:
    """Refuse a batch that cannot fit, with the size that does, and one that the network cannot be trained with.

    Args:
        batch: images per step and process.
        checkpoint: the network.
        crop: side of the crops in pixels.
        device: where it would be trained.

    Returns:
        Estimate of the memory of a step in bytes.

    Raises:
        ConfigError: names the batch size that fits.
    """
    try:
        fixed, per_image = _costs(checkpoint, batch, crop)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"This {checkpoint.architecture} cannot be trained on batches of {batch} crops of {crop} x {crop} pixels "
            f"({reason}). Try another --image-size, or a larger --batch-size (some networks need 2 or more)."
        ) from error
    needed, have = int(fixed + per_image * batch), available_memory(device)
    if have is None or needed <= have:
        return needed
    fits = int((have - fixed) // per_image)
    advice = f"--batch-size {fits} fits" if fits >= 1 else "even one image does not fit; use a smaller --image-size"
    raise ConfigError(
        f"--batch-size {batch} with crops of {crop} pixels needs about {needed / 2**30:.1f} GiB, but {device} has "
        f"{have / 2**30:.1f} GiB free: {advice} (with --accumulate, the same effective batch)."
    )


def _costs(checkpoint: Checkpoint, batch_size: int, side: int) -> tuple[float, float]:
    """Bytes of a step that do not depend on the batch, and bytes per image.

    The tensors that autograd keeps for the backward pass are counted in a real forward pass of two images, or of one where
    that is the batch: some networks cannot normalise a single one.
    """
    images, measured = min(2, batch_size), min(side, MEASURED_SIDE)
    counted = _saved_bytes(checkpoint, images, measured) / images * (side / measured) ** 2
    parameters = sum(parameter.numel() for parameter in checkpoint.module.parameters())
    return parameters * BYTES_PER_PARAMETER, (counted + side * side * 3 * 4) * OVERHEAD


def _saved_bytes(checkpoint: Checkpoint, batch_size: int, side: int) -> int:
    module = checkpoint.module
    device = next(module.parameters()).device
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    training = module.training
    module.train()
    kept = []
    try:
        with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            images = torch.rand(batch_size, 3, side, side, device=device)
            if networks.NETWORKS[checkpoint.architecture].task == "instance":
                kept.append(module(list(images), [_one_object(side, device) for _ in images]))
            else:
                kept.append(networks.network(checkpoint.architecture).forward(module, images))
    finally:
        module.train(training)
        for name, buffer in module.named_buffers():
            buffer.copy_(before[name])
    return sum(seen.values())


def _one_object(side: int, device: torch.device) -> dict[str, torch.Tensor]:
    box = torch.tensor([[side * 0.25, side * 0.25, side * 0.75, side * 0.75]], device=device)
    mask = torch.zeros((1, side, side), dtype=torch.uint8, device=device)
    mask[:, side // 4 : side * 3 // 4, side // 4 : side * 3 // 4] = 1
    return {"boxes": box, "labels": torch.ones(1, dtype=torch.int64, device=device), "masks": mask}


def available_memory(device: torch.device) -> int | None:
    """Free memory of a device in bytes, for one of this run's processes, or None where it cannot be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "cpu":
        try:
            with open("/proc/meminfo", encoding="ascii") as file:
                lines = dict(line.split(":", 1) for line in file)
            return int(lines["MemAvailable"].split()[0]) * 1024 // local_processes()
        except (OSError, KeyError, ValueError):
            return None
    return None

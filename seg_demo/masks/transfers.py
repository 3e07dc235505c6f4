"""Tensors between ordinary memory and a GPU, through page-locked memory, which the GPU reads and writes by itself."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; towards a GPU the copy goes on while the caller prepares what follows it.

    Args:
        tensor: on the CPU, any layout.
        device: where it is wanted.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: Tensor) -> np.ndarray:
    """A tensor as an array in ordinary memory, which it may share with a tensor on the CPU.

    Args:
        tensor: any device, of a dtype that numpy has.
    """
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy()
    locked = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    locked.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    # Page-locked memory is scarce, and results are kept for as long as their visitor stays.
    return locked.numpy().copy()

"""Whether an image fits into memory, known before any work starts, and which size would.

Where to compute and how precisely, and how much memory there is.
"""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from seg_demo.core.errors import BadImageError, Message, SettingsError
from seg_demo.core.settings import Settings
from seg_demo.inference.tiled import Plan, plan
from seg_demo.networks.base import Network

# What a forward pass takes per pixel of its batch, and whatever the size is.
FORWARD, FLOOR = 800, 64 << 20


def memory_needed(network: Network, height: int, width: int, detail: str, confidence: bool) -> int:
    """Bytes that a prediction takes above the loaded model and the decoded image: an estimate, rather too high.

    Args:
        network: any.
        height: of the image, in pixels.
        width: of the image, in pixels.
        detail: ``whole`` or ``full``.
        confidence: whether it is asked for.
    """
    cut = plan(network, height, width) if detail == "full" else None
    batch = math.prod(cut.grid.tile if cut else network.preprocessing.fitted(height, width))
    strips = _strips(cut, len(network.labels)) if cut and not network.task.objects else 0
    return FLOOR + FORWARD * batch + height * width * network.memory_per_pixel(cut is not None, confidence) + strips


def _strips(cut: Plan, classes: int) -> int:
    """Bytes of the blended logits that wait, if they are as fine as the pixels; six times a tile for what works on it."""
    wide = cut.grid.lefts[-1] + cut.grid.tile[1]
    return 4 * classes * (cut.grid.overlap * wide + 6 * cut.grid.tile[0] * cut.grid.tile[1])


def check_memory(network: Network, height: int, width: int, detail: str, confidence: bool) -> None:
    """Refuse an image that would not fit into the memory that is free now.

    Args:
        As for :func:`memory_needed`.

    Raises:
        BadImageError: it would not; the message says what size would.
    """
    free = available_memory()
    wanted = memory_needed(network, height, width, detail, confidence)
    if wanted <= free:
        return
    scale = _largest_scale(network, height, width, detail, confidence, free)
    if scale is None:
        advice = Message("memory.none_fits")
    else:
        key = "memory.fits_in_parts" if detail == "full" else "memory.fits_in_full_detail"
        advice = Message(key, width=math.floor(width * scale), height=math.floor(height * scale))
    raise BadImageError("memory.image_too_large", width=width, height=height, wanted=wanted / 2**30, free=free / 2**30, advice=advice)


def _largest_scale(
    network: Network, height: int, width: int, detail: str, confidence: bool, free: int
) -> float | None:
    """The largest factor in (0, 1), to a thousandth, at which the image fits; None if none does."""
    low, high = 0, 1000
    while high - low > 1:
        middle = (low + high) // 2
        tall, wide = (max(1, math.floor(side * middle / 1000)) for side in (height, width))
        if memory_needed(network, tall, wide, detail, confidence) <= free:
            low = middle
        else:
            high = middle
    return low / 1000 if low else None


CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

# Limit, use and statistics of this container: cgroup 2, then 1.
CGROUP_FILES = (
    (CGROUP_LIMITS[0], Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory.stat")),
    (CGROUP_LIMITS[1], Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"), Path("/sys/fs/cgroup/memory/memory.stat")),
)


def choose_device(wanted: str) -> torch.device:
    """The device that a setting or an argument names.

    Args:
        wanted: ``auto`` (CUDA, then Apple MPS, then CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        SettingsError: no such device here; the message lists those that are.
    """
    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there[:0] = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if wanted == "auto":
        return torch.device(there[0])
    if wanted not in there:
        raise SettingsError("devices.not_there", wanted=wanted, there=", ".join(there))
    return torch.device(wanted)


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of a forward pass: fp16 where a GPU gains from it, with fp32 where fp16 would be wrong.

    Autocast keeps normalisation and softmax in fp32, so results agree with fp32 to fp16's accuracy.

    Args:
        device: where the pass runs.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``; only CUDA has fp16, and torch never gets bf16.
    """
    if device.type == "cuda" and precision in ("auto", "fp16"):
        return torch.autocast("cuda", dtype=torch.float16)
    return nullcontext()


def total_memory(device: torch.device) -> int:
    """Memory of the device that models live in, in bytes; for a CPU what this container may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    for path in CGROUP_LIMITS:
        try:
            total = min(total, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return total


def available_memory() -> int:
    """Ordinary memory that this process may still take without swapping, in bytes; half of the machine's where nobody says."""
    free = free_memory()
    return total_memory(torch.device("cpu")) // 2 if free is None else free


def free_memory() -> int | None:
    """Ordinary memory that this container still has without swapping, in bytes; None where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    for limit, used, statistics in CGROUP_FILES:
        try:
            most, now = (int(path.read_text(encoding="ascii")) for path in (limit, used))
            # Pages of files are given back when memory gets short.
            cached = dict(line.split() for line in statistics.read_text(encoding="ascii").splitlines())
            free = min(free, most - now + int(cached.get("inactive_file", cached.get("total_inactive_file", 0))))
        except (OSError, ValueError):
            continue
    return max(0, free)


def cache_budget(chosen: Settings, device: torch.device) -> int:
    """How many bytes of loaded models are kept."""
    return chosen.cache_bytes or total_memory(device) // 4


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device had too little memory; MPS and the CPU allocator only say so in words."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in words for phrase in ("out of memory", "can't allocate memory"))

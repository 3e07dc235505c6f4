"""Where to compute and how precisely, and how much memory there is."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from seg_demo.errors import SettingsError
from seg_demo.settings import Settings

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
        raise SettingsError(f"There is no device {wanted!r} here, only {', '.join(there)}. Use one of them, or auto.")
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
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return total_memory(torch.device("cpu")) // 2
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
    return isinstance(error, RuntimeError) and any(each in words for each in ("out of memory", "can't allocate memory"))

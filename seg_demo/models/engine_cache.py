"""Where compiled networks are kept on disk: one folder per network and version of everything that shapes it."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from torch import nn

from seg_demo import networks

# Least recently used folders go when all together take more, in bytes.
LIMIT = 2 << 30
_LIBRARIES = ("openvino", "torch", "torchvision", "transformers", "timm", "segmentation-models-pytorch")


def root() -> Path:
    """The cache folder of this user (``XDG_CACHE_HOME``, else ``~/.cache``); not made here."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seg-demo" / "engine"


@lru_cache(maxsize=1)
def _versions() -> bytes:
    """Names every library and line of code that takes part in a forward pass."""
    about = hashlib.sha256()
    for name in _LIBRARIES:
        try:
            about.update(f"{name} {version(name)}\n".encode())
        except PackageNotFoundError:
            about.update(f"{name} none\n".encode())
    for path in sorted(Path(networks.__file__).parent.glob("*.py")):
        about.update(path.read_bytes())
    return about.digest()


def key(module: nn.Module, options: str) -> str:
    """Names a module by its structure, its weights and the versions of what runs it; 32 hex digits.

    Args:
        module: of which the graph is made.
        options: what it was built with, as far as its printed layers do not tell.
    """
    about = hashlib.sha256(_versions())
    about.update(f"{module!r}\n{options}\n".encode())
    for name, tensor in module.state_dict().items():
        about.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        about.update(memoryview(tensor.detach().cpu().contiguous().numpy().reshape(-1)).cast("B"))
    return about.hexdigest()[:32]


def entry(name: str, fill: Callable[[Path], None]) -> Path | None:
    """The folder of a key, filled by whoever comes first, in this process or another.

    Args:
        name: of :func:`key`.
        fill: writes the content of a new folder; may raise what it likes.

    Returns:
        The folder, or None where nothing can be written.
    """
    folder = root() / name
    if not folder.is_dir():
        fresh = root() / f".{name}.{uuid.uuid4().hex[:8]}"
        try:
            fresh.mkdir(parents=True)
        except OSError:
            return None
        try:
            fill(fresh)
            try:
                os.replace(fresh, folder)
            except OSError:
                # Another process was faster, or the disk is full; the first is as good.
                if not folder.is_dir():
                    return None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    try:
        os.utime(folder)
        prune(LIMIT, keep=folder)
    except OSError:
        pass
    return folder


def drop(folder: Path) -> None:
    """Remove a folder whose content turned out to be damaged, or that takes too much.

    Under another name first: whoever looks meanwhile finds the whole folder or none.
    """
    gone = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        os.replace(folder, gone)
    except OSError:
        return  # another was faster, or nothing can be written here
    shutil.rmtree(gone, ignore_errors=True)


def prune(limit: int, keep: Path) -> None:
    """Remove least recently used folders until the rest takes at most ``limit`` bytes; ``keep`` stays in any case."""
    found = []
    for folder in root().iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            found.append((folder.stat().st_mtime, size, folder))
    total = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found):
        if total > limit and folder != keep:
            drop(folder)
            total -= size

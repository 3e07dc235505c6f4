"""Locks on the cache of the Hub between the processes that share it: who reads a repository, who removes one.

They lie in a fixed number of files that are never removed; repositories that share one only wait for each other. Where the
system (Windows) or the disk has no locks, nothing is held.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants

from seg_demo import storage
from seg_demo.models import hub_cache

# Whether the system has locks.
KNOWN = storage.LOCKS
FILES = 256


def folder() -> Path:
    """Where the locks lie, beside those of huggingface_hub."""
    return Path(constants.HF_HUB_CACHE) / ".locks" / "seg-demo"


@contextmanager
def held(id: str) -> Iterator[None]:
    """Within it no process removes files of ``user/repo``."""
    with _locked(_file_of(hub_cache.repo_folder(id).name), shared=True, wait=True):
        yield


@contextmanager
def alone(name: str) -> Iterator[bool]:
    """Within it nobody reads a repository, if nobody does now.

    Args:
        name: of its folder.

    Yields:
        Whether that is so.
    """
    with _locked(_file_of(name), shared=False, wait=False) as got:
        yield got


@contextmanager
def room() -> Iterator[None]:
    """Within it no other process makes room."""
    with _locked(folder() / "room.lock", shared=False, wait=True):
        yield


def _file_of(name: str) -> Path:
    return folder() / f"{zlib.crc32(name.encode()) % FILES:03d}.lock"


@contextmanager
def _locked(path: Path, *, shared: bool, wait: bool) -> Iterator[bool]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        yield shared
        return
    with storage.locked(path, shared=shared, wait=wait) as got:
        yield got

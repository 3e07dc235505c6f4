"""The disk: what strangers leave free of it, and which errors mean that it is full."""

from __future__ import annotations

import errno
import os
import shutil

# What uploads and models of strangers leave free, and the share of a small disk that takes its place.
FREE_BYTES, FREE_SHARE = 1_000_000_000, 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def room(path: str | os.PathLike[str]) -> int:
    """Bytes that strangers may still fill; negative if the disk has less free than it should.

    Args:
        path: a folder on the disk; it need not exist yet.
    """
    folder = os.path.abspath(path)
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    usage = shutil.disk_usage(folder)
    return usage.free - min(FREE_BYTES, usage.total // FREE_SHARE)


def full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, means that a disk or a quota is full."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False

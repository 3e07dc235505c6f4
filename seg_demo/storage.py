"""Files that are there whole or not at all: whoever reads finds the old content or the new one, never half of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Content = bytes | str | Callable[[BinaryIO], object]


def write_atomically(path: Path, content: Content, *, durable: bool = False) -> None:
    """Create or replace a file at once, whoever else writes or reads it: content goes to a name of its own in the same folder,
    which is then renamed. Who has the old file open goes on reading that.

    Args:
        path: the file, in a folder that exists.
        content: bytes, text (as UTF-8), or a function that writes to the open file that it gets.
        durable: return only when the content would survive a power cut.

    Raises:
        OSError: the disk is full or fails. The old file is untouched then, and nothing else is left behind.
    """
    # Not named after the file, whose name may be as long as the file system allows.
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def write_once(path: Path, content: Content, size: int) -> None:
    """Write a file whose name says what it contains, unless it is there already; one that is counts as new from now on for
    whoever deletes old files by the time of their last change (``ctime``).

    Args:
        path: named after a hash of the content; its folder is made if it is missing.
        content: as for :func:`write_atomically`.
        size: of the content, in bytes: a file of another size is what somebody left unfinished, and is replaced.

    Raises:
        OSError: as for :func:`write_atomically`.
    """
    try:
        there = path.stat()
        if there.st_size == size:
            # The modification time stays: browsers recognise a file by it.
            os.utime(path, ns=(there.st_atime_ns, there.st_mtime_ns))
            return
    except FileNotFoundError:
        pass
    except PermissionError:
        return  # another user's, of the same content
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Within it no process finds a folder :func:`abandoned`; when this one is killed, every other does.

    Args:
        folder: that this process has made.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass  # a disk without locks
        yield
    finally:
        os.close(handle)


def abandoned(folder: Path) -> bool:
    """Whether nobody is :func:`filling` a folder any more; False where the system has no locks.

    Raises:
        OSError: it is not there.
    """
    if fcntl is None:
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

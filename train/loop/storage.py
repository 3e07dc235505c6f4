"""Durable writes: whoever reads finds the old content or the new one, complete, at whatever moment the writer died.

The order is that of every careful file system user: write under another name, sync, rename, sync the folder (the rename
itself is only an entry in that folder). Each step goes through a `Disk`, so that a test can fail every one of them.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from seg_demo.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT)


class Disk:
    """The steps of a durable write, one method each."""

    def create(self, path: Path) -> BinaryIO:
        """Open a file for writing, empty."""
        return path.open("wb")

    def write(self, file: BinaryIO, data: bytes | memoryview) -> int:
        """Append to an open file; the number of bytes written."""
        return file.write(data)

    def sync(self, file: BinaryIO) -> None:
        """Return when the content of an open file is on the disk."""
        file.flush()
        os.fsync(file.fileno())

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name in the same folder, atomically; a file replaces a file."""
        os.replace(source, target)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder are on the disk."""
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def make_folder(self, folder: Path) -> None:
        """Create an empty folder."""
        folder.mkdir()

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all that is in it."""
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


DISK = Disk()


class Stream:
    """What a serializer writes to. Remembers the first failure, because torch.save may hide it behind one of its own."""

    def __init__(self, file: BinaryIO, disk: Disk) -> None:
        self._file = file
        self._disk = disk
        self.failure: BaseException | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Append; the number of bytes written."""
        try:
            return self._disk.write(self._file, data)
        except BaseException as error:
            self.failure = self.failure or error
            raise

    def flush(self) -> None:
        """Nothing to do: the content is flushed and synced before the rename."""


def write_atomically(path: Path, content: bytes | str | Callable[[Stream], None], *, disk: Disk = DISK) -> None:
    """Replace a file, or create it, so that it is at every moment either the old one or the new one, complete.

    One writer per file at a time (a run folder has a lock): what a dead writer left under the temporary name is
    overwritten.

    Args:
        path: the file. Its folder is created if it is missing.
        content: bytes, text (as UTF-8), or a function that writes to the stream that it gets.
        disk: the steps.

    Raises:
        StorageError: the disk is full or fails; the old file is untouched.
    """
    fresh = path.with_name(f".{path.name}.new")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with disk.create(fresh) as file:
                stream = Stream(file, disk)
                if callable(content):
                    _serialize(content, stream)
                else:
                    stream.write(content.encode() if isinstance(content, str) else content)
                disk.sync(file)
            disk.rename(fresh, path)
        except BaseException:
            if fresh.exists():
                disk.remove(fresh)
            raise
        disk.sync_folder(path.parent)


def _serialize(content: Callable[[Stream], None], stream: Stream) -> None:
    try:
        content(stream)
    except BaseException:
        if stream.failure is not None:
            raise stream.failure from None
        raise


def save_folder(folder: Path, write: Callable[[Path], None], *, disk: Disk = DISK) -> None:
    """Replace a folder, or create it, as a whole: the new one is written beside it, synced, and swapped in by renames.

    A folder cannot be replaced in one step, so between two renames there is none of that name; both complete ones are
    beside it then, and :func:`recover_folder` finishes the swap.

    Args:
        folder: such as ``best/`` of a run.
        write: fills the empty folder that it gets.
        disk: the steps.

    Raises:
        StorageError: the disk is full or fails; the old folder is untouched.
    """
    fresh, old = _beside(folder)
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(folder, disk=disk)
        disk.make_folder(fresh)
        try:
            write(fresh)
            _sync_tree(fresh, disk)
        except BaseException:
            disk.remove(fresh)
            raise
        if folder.exists():
            disk.rename(folder, old)
        disk.rename(fresh, folder)
        disk.sync_folder(folder.parent)
        if old.exists():
            disk.remove(old)


def recover_folder(folder: Path, *, disk: Disk = DISK) -> None:
    """Finish what a writer of :func:`save_folder` that died left behind. Does nothing if nothing was left.

    Args:
        folder: the folder that was being replaced; afterwards it is there, complete, if it ever was.
        disk: the steps.

    Raises:
        StorageError: the disk fails.
    """
    fresh, old = _beside(folder)
    with storage_errors(folder):
        if not folder.exists() and old.exists():
            # The old one is moved away only after the new one is complete and synced.
            disk.rename(fresh if fresh.exists() else old, folder)
            disk.sync_folder(folder.parent)
        for left in (fresh, old):
            if left.exists():
                disk.remove(left)


def _beside(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


def _sync_tree(folder: Path, disk: Disk) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            disk.sync_folder(path)
        else:
            with path.open("rb+") as file:
                disk.sync(file)
    disk.sync_folder(folder)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a disk into a sentence about ``path``.

    Raises:
        StorageError: in place of an OSError, and of the libraries' own errors that wrap a full disk.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and "No space left on device" not in str(error):
            raise
        where = path.parent if path.parent.exists() else Path.cwd()
        if not isinstance(error, OSError) or error.errno in FULL:
            free = shutil.disk_usage(where).free / 2**20
            raise StorageError(
                f"{path} could not be written: the disk is full ({free:.0f} MiB free). What was saved before is untouched. "
                "Free some space, then run the same command with --resume."
            ) from error
        raise StorageError(
            f"{path} could not be written or read: {error.strerror or error}. What was saved before is untouched. Check "
            "that the folder exists, that you may write to it and that its disk works."
        ) from error

"""Files and folders that are there whole or not at all: whoever reads finds the old content or the new one, never half of it.

The order is that of every careful file system user: write under another name, sync, rename, sync the folder (the rename
itself is only an entry in that folder). Each step goes through a :class:`Disk`, so that a test can fail every one of them.

Beside it: how much space the disk has, which errors mean that it is full, and locks between processes.

A change of several files at once survives a killed process by a write-ahead journal of one folder per change: the new files are written and synced in a hidden folder; renaming that folder is the one atomic step; then they are moved
to their places. Whoever opens the dataset next throws away what was not renamed, and finishes what was.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

from seg_demo.core.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Content = bytes | str | Callable[[BinaryIO], object]
# Whether the system has the locks of :func:`locked`.
LOCKS = fcntl is not None
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
        if os.name == "nt":
            return  # folders cannot be opened there
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


class _Stream:
    """The open file that a serializer writes to. Remembers the first failure, because torch.save may hide it behind one of its
    own."""

    def __init__(self, file: BinaryIO, disk: Disk) -> None:
        self._file, self._disk = file, disk
        self.failure: BaseException | None = None

    def write(self, data: bytes | memoryview) -> int:
        try:
            return self._disk.write(self._file, data)
        except BaseException as error:
            self.failure = self.failure or error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def write_atomically(
    path: Path, content: Content, *, durable: bool = False, part: Path | None = None, disk: Disk = DISK
) -> None:
    """Create or replace a file at once, whoever else writes or reads it. Who has the old file open goes on reading that.

    Args:
        path: the file, in a folder that exists.
        content: bytes, text (as UTF-8), or a function that writes to the open file that it gets.
        durable: return only when the content would survive a power cut.
        part: in the same folder: the name under which it is written first. One name for all is for files with one writer, who
            overwrites what a dead one left; None takes a name of its own.
        disk: the steps.

    Raises:
        OSError: the disk is full or fails. The old file is untouched then, and nothing else is left behind.
    """
    with replacing(path, durable=durable, part=part, disk=disk) as file:
        if callable(content):
            try:
                content(file)
            except BaseException:
                if file.failure is not None:
                    raise file.failure from None
                raise
        else:
            file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(
    path: Path, *, durable: bool = False, part: Path | None = None, disk: Disk = DISK
) -> Iterator[BinaryIO]:
    """As :func:`write_atomically`, for a writer that cannot be called: within it a file is open that takes the place of ``path``
    when the block ends, and goes when it fails.

    Args:
        path, durable, part, disk: as for :func:`write_atomically`.

    Raises:
        OSError: as for :func:`write_atomically`.
    """
    # Not named after the file, whose name may be as long as the file system allows.
    part = path.with_name(f".{uuid.uuid4().hex}.part") if part is None else part
    try:
        with disk.create(part) as file:
            yield _Stream(file, disk)
            if durable:
                disk.sync(file)
        disk.rename(part, path)
    except BaseException:
        if part.exists():
            disk.remove(part)
        raise
    if durable:
        disk.sync_folder(path.parent)


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


def save_file(path: Path, content: Content, *, disk: Disk = DISK) -> None:
    """:func:`write_atomically` for what one command writes for good, in a folder that it has locked, and where a person is told
    of a failure.

    Args:
        path: the file. Its folder is created if it is missing.
        content: as for :func:`write_atomically`.
        disk: the steps.

    Raises:
        StorageError: the disk is full or fails; the old file is untouched.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, durable=True, part=path.with_name(f".{path.name}.new"), disk=disk)


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
def storage_errors(path: Path, *, public: bool = False) -> Iterator[None]:
    """Turn what the operating system says about a disk into a sentence about ``path``.

    Args:
        path: a file or folder.
        public: visitors read the sentence: neither where the path lies nor how much space the disk has is in it.

    Raises:
        StorageError: in place of an OSError, and of the libraries' own errors that wrap a full disk.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and "No space left on device" not in str(error):
            raise
        full = not isinstance(error, OSError) or error.errno in FULL
        if public and full:
            raise StorageError("datasets.disk_full") from error
        if public:
            raise StorageError("datasets.disk_failed", name=path.name, why=error.strerror or error) from error
        if full:
            free = shutil.disk_usage(path.parent if path.parent.exists() else Path.cwd()).free / 2**20
            raise StorageError("disk.full", path=path, free=free) from error
        raise StorageError("disk.failed", path=path, why=error.strerror or error) from error


# File descriptors of the locks that this process has open. A lock is of the open file, which a forked process has, too: it would be held until that
# one ends as well.
_open_locks: dict[object, int] = {}
# Held while one of them is opened or closed, when no process may be forked; by one that collects garbage meanwhile, too.
_opening = threading.RLock()


def _forget_locks() -> None:
    """In a forked process: the locks are its parent's."""
    _opening._at_fork_reinit()
    while _open_locks:
        os.close(_open_locks.popitem()[1])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_forget_locks)


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool | None]:
    """Within it no other process holds the lock of a file or a folder; the system gives it back when the process dies, and a process that is forked
    meanwhile has no share in it.

    Args:
        path: an existing file or folder.
        shared: others may share it.
        wait: until it is free.

    Yields:
        Whether it is held: False where another process has it, None where the disk has no locks; and it counts as held where the
        system (Windows) has none.

    Raises:
        OSError: there is no such file or folder.
    """
    if fcntl is None:
        yield True
        return
    mine = object()
    with _opening:
        _open_locks[mine] = handle = os.open(path, os.O_RDONLY)
    got: bool | None = None
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            got = True
        except BlockingIOError:
            got = False
        except OSError:
            got = None
        yield got
    finally:
        with _opening:
            if _open_locks.pop(mine, None) is not None:
                if got:  # given back, not only closed: a process that has just been forked has the file until it comes to forget it
                    fcntl.flock(handle, fcntl.LOCK_UN)
                os.close(handle)


def abandoned(folder: Path) -> bool:
    """Whether no process has a folder :func:`locked`, as it should while it fills it; False where the system has no locks.

    Raises:
        OSError: it is not there.
    """
    with locked(folder, wait=False) as free:
        return LOCKS and bool(free)


# What uploads and models of strangers leave free, and the share of a small disk that takes its place.
FREE_BYTES, FREE_SHARE = 1_000_000_000, 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def free_space(path: str | os.PathLike[str]) -> int:
    """Bytes that strangers may still fill; negative if the disk has less free than it should.

    Args:
        path: a folder on the disk; it need not exist yet.
    """
    folder = os.path.abspath(path)
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    usage = shutil.disk_usage(folder)
    return usage.free - min(FREE_BYTES, usage.total // FREE_SHARE)


def disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, means that a disk or a quota is full."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


_DRAFT, _FINAL, _REMOVED = ".draft-", ".change-", "removed.json"


_locks: WeakValueDictionary[Path, _FolderLock] = WeakValueDictionary()
_locks_lock = threading.Lock()


class _FolderLock:
    """A re-entrant lock that weak references may point to."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def lock_of(root: Path) -> _FolderLock:
    """The lock of a folder, the same for all that ask while anybody holds it; who asks first in this process also recovers.

    One process at a time may write to a folder: the server.

    Raises:
        StorageError: the disk fails.
    """
    with _locks_lock:
        found = _locks.get(root)
        if found is None:
            recover(root)
            found = _locks[root] = _FolderLock()
        return found


def commit(root: Path, files: Mapping[str, bytes], removed: Sequence[str] = ()) -> None:
    """Write and remove files of a folder so that all of it happens or nothing.

    Args:
        root: the folder.
        files: content by path relative to ``root``, with ``/``; existing files are replaced.
        removed: relative paths that go; a missing one is fine.

    Raises:
        StorageError: the disk is full or fails; nothing has changed then.
    """
    draft = root / (_DRAFT + uuid.uuid4().hex)
    with storage_errors(root, public=True):
        try:
            for name, data in files.items():
                _write_synced(draft / name, data)
            _write_synced(draft / _REMOVED, json.dumps(list(removed)).encode())
            final = root / (_FINAL + draft.name.removeprefix(_DRAFT))
            os.replace(draft, final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        DISK.sync_folder(root)
        _finish(root, final)


def recover(root: Path) -> None:
    """Finish or undo what a process that died left in a folder. Call it before anybody else may write there.

    Raises:
        StorageError: the disk fails.
    """
    with storage_errors(root, public=True):
        for change in sorted(root.glob(_FINAL + "*")):
            _finish(root, change)
        for draft in root.glob(_DRAFT + "*"):
            shutil.rmtree(draft)


def _finish(root: Path, change: Path) -> None:
    """Carry out a change; doing a part of it again does no harm."""
    manifest = change / _REMOVED
    removed = json.loads(manifest.read_text(encoding="utf-8"))
    moved = [path for path in change.rglob("*") if path.is_file() and path != manifest]
    for path in moved:
        target = root / path.relative_to(change)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    for name in removed:
        (root / name).unlink(missing_ok=True)
    for folder in {(root / path.relative_to(change)).parent for path in moved}:
        DISK.sync_folder(folder)
    shutil.rmtree(change)


def _write_synced(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

"""Changes of several files at once that survive a killed process: a write-ahead journal of one folder per change.

The new files are written and synced in a hidden folder; renaming that folder is the one atomic step; then they are moved
to their places. Whoever opens the dataset next throws away what was not renamed, and finishes what was.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from seg_demo.core.errors import StorageError
from seg_demo.core.storage import DISK, FULL

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
    with storage_errors(root):
        try:
            for name, data in files.items():
                _write(draft / name, data)
            _write(draft / _REMOVED, json.dumps(list(removed)).encode())
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
    with storage_errors(root):
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


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a disk into a sentence.

    Raises:
        StorageError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageError("datasets.disk_full") from error
        raise StorageError("datasets.disk_failed", name=path.name, why=error.strerror or error) from error

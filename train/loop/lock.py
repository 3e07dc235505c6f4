"""One run per folder: a lock that ends with its process, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from seg_demo.errors import SegDemoError
from train.loop.storage import storage_errors

# The system's record locks are per process: within this one they exclude nobody, so it keeps count itself.
_HELD: set[Path] = set()


class RunInUseError(SegDemoError):
    """Another live process works in the run folder."""


class RunLock:
    """Holds ``.lock`` in a run folder, for use in a ``with`` statement.

    A POSIX record lock: the system drops it when the process ends, even by SIGKILL, and a forked data loader that outlives
    its parent does not inherit it. What the file says (pid, host, start) is only for the message.

    Args:
        folder: the run folder; created if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder.resolve() / ".lock"
        self._handle: int | None = None

    def __enter__(self) -> RunLock:
        """Take the lock.

        Raises:
            RunInUseError: a live process holds it.
            StorageError: the folder cannot be written.
        """
        if self.path in _HELD:
            raise RunInUseError(self._in_use({"pid": os.getpid(), "host": socket.gethostname()}))
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while self._handle is None:
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    holder = _read(handle)
                    os.close(handle)
                    raise RunInUseError(self._in_use(holder)) from None
                # The last holder may have removed the file between the open and the lock: then this is a lock on nothing.
                if self._is_file(handle):
                    self._handle = handle
                else:
                    os.close(handle)
            _HELD.add(self.path)
            me = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
            with suppress(OSError):  # a full disk is no reason to give up the lock, only its message is poorer
                os.ftruncate(self._handle, 0)
                os.pwrite(self._handle, json.dumps(me).encode(), 0)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the lock back and remove its file."""
        self.path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = None
        _HELD.discard(self.path)

    def _is_file(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _in_use(self, holder: dict[str, object]) -> str:
        who = f"process {holder['pid']} on {holder['host']}" if "pid" in holder else "another process"
        since = f" since {holder['started']}" if "started" in holder else ""
        return (
            f"{self.path.parent} is in use by {who}{since}: two runs in one folder would overwrite each other. Wait for it "
            "to end, stop it, or give this run another --output."
        )


def _read(handle: int) -> dict[str, object]:
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
    except ValueError:  # the holder is just writing it
        return {}
    return holder if isinstance(holder, dict) else {}

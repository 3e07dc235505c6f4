"""A checkpoint of a stranger's choice, loaded and run once in a process of its own before the demo touches it.

What kills a loader (a crash in native code, memory without end, a file that keeps it busy for ever) then kills that process,
and the visitor reads a sentence. A helper process imports torch once, forks a child for each checkpoint, and ends when it
has had nothing to do for a while; it has no login and does not talk to the Hub. Where processes cannot fork (Windows), the
helper tries one checkpoint itself and dies with it. The memory limit is the system's RLIMIT_AS: Linux holds it, macOS does
not.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from seg_demo.errors import BadCheckpointError, BusyError
from seg_demo.settings import public_environment, settings
from seg_demo.threads import begin

IDLE_SECONDS = 600.0
# A checkpoint that was refused is not tried again for so long; the answer is the same.
REFUSED_SECONDS = 600.0
REMEMBERED = 1024
_MODULE = "seg_demo.models.quarantine_child"
_ROOT = Path(__file__).resolve().parents[2]
# What the helper gets of this process's environment: nothing that logs anyone in.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Quarantine:
    """The helper process and what it has found."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        # What is known already is told at once, also while the helper is busy with somebody else's model.
        self._known = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._refused: dict[str, tuple[str, float]] = {}
        self._passed: set[str] = set()

    def inspect(self, path: Path) -> None:
        """Return if a checkpoint can be loaded and gives numbers for a small image. Each is tried once.

        Args:
            path: checkpoint folder.

        Raises:
            BadCheckpointError: it is refused, or it kills or overtaxes its loader.
            BusyError: no process can be started to try it in, which says nothing about it.
        """
        name = identity(path)
        if (reason := self._told(name)) is None:
            with self._one:
                if (reason := self._told(name)) is None:  # somebody else may have asked meanwhile
                    reason = self._ask(path)
                    self._note(name, reason)
        if reason:
            raise BadCheckpointError(reason)

    def passed(self, path: Path) -> bool:
        """Whether a checkpoint has been tried and found good.

        Args:
            path: checkpoint folder.
        """
        return self._told(identity(path)) == ""

    def _told(self, name: str) -> str | None:
        """Why a checkpoint was refused lately, empty if it passed, None if it has to be tried."""
        with self._known:
            if name in self._passed:
                return ""
            reason, when = self._refused.get(name, (None, 0.0))
            return reason if time.monotonic() - when <= REFUSED_SECONDS else None

    def _note(self, name: str, reason: str) -> None:
        with self._known:
            if len(self._passed) + len(self._refused) > REMEMBERED:
                self._passed.clear()
                self._refused.clear()
            if reason:
                self._refused[name] = (reason, time.monotonic())
            else:
                self._passed.add(name)

    def close(self) -> None:
        """End the helper; the next checkpoint starts another one."""
        with self._one:
            self._end()

    def _ask(self, path: Path) -> str:
        """Why a checkpoint is refused, or an empty text."""
        owner = settings()
        order = {"path": str(path), "bytes": owner.quarantine_bytes, "seconds": owner.quarantine_seconds}
        try:
            process = self._running()
        except OSError as error:
            raise _no_process(error.strerror) from error
        # The helper keeps the time of its children; this one is for a helper that hangs itself.
        alarm = threading.Timer(owner.quarantine_seconds + 60, process.kill)
        begin(alarm)
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if answer.get("busy"):
                raise _no_process(str(answer["busy"]))
            return str(answer["refused"])
        except (OSError, ValueError, KeyError, TypeError):
            self._end()
            return "This model ended the process that tried to load it, so it is not loaded here. Choose another model."
        finally:
            alarm.cancel()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        kept = {key: value for key, value in public_environment().items() if key in _PASSED or key.startswith("SEG_DEMO_")}
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        mine = {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": ""}
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(IDLE_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
            env={**kept, **mine},
            text=True,
            start_new_session=True,
        )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            try:
                pipe.close()
            except OSError:
                pass  # what was written to it can no longer be flushed


def _no_process(why: str | None) -> BusyError:
    return BusyError(
        f"No process could be started to try this model in ({why}). Try again in some minutes, or choose a model of the menu."
    )


_quarantine = Quarantine()
inspect = _quarantine.inspect
passed = _quarantine.passed
close = _quarantine.close


def identity(path: Path) -> str:
    """What a checkpoint is: the hash of its files' names and hashes.

    Args:
        path: checkpoint folder; in huggingface_hub's cache a link names its file's hash, which was checked before.
    """
    digest = hashlib.sha256()
    for file in sorted(each for each in path.iterdir() if each.is_file()):
        stored = os.path.basename(os.readlink(file)) if file.is_symlink() else ""
        if len(stored) not in (40, 64):
            with open(file, "rb") as opened:
                stored = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{file.name}:{stored}\n".encode())
    return digest.hexdigest()

"""A checkpoint of a stranger's choice, loaded and run once in a process of its own before the demo touches it.

What kills a loader (a crash in native code, memory without end, a file that keeps it busy for ever) then kills that process,
and the visitor reads a sentence. A helper process imports torch once, forks a child for each checkpoint, and ends when it
has had nothing to do for a while; it has no login and does not talk to the Hub, and its children lock themselves in
(:mod:`seg_demo.serving.sandbox_child`). They also read the weights that are pickles (:mod:`seg_demo.hub.pickles`), which no other
process does, whoever's they are. Where processes cannot fork (Windows), the helper does one thing itself and ends with it.
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
from collections.abc import Sequence
from pathlib import Path

from seg_demo.core.errors import BadCheckpointError, BusyError, Message
from seg_demo.core.requests import begin
from seg_demo.core.settings import public_environment, settings

IDLE_SECONDS = 600.0
# How long the process that has imported what networks need waits for a checkpoint; it is half as large again as the helper.
NETWORKS_SECONDS = 15.0
# A checkpoint that was refused is not tried again for so long; the answer is the same.
REFUSED_SECONDS = 600.0
REMEMBERED = 1024
_MODULE = "seg_demo.serving.sandbox_child"
_ROOT = Path(__file__).resolve().parents[2]
# What the helper gets of this process's environment: nothing that logs anyone in.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Sandbox:
    """The helper process and what it has found."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        # What is known already is answered at once, also while the helper is busy with somebody else's model.
        self._known = threading.Lock()
        # The helper is started, and written to, by one thread at a time.
        self._pipe, self._why = threading.Lock(), None
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
        if (reason := self._verdict(name)) is None:
            with self._one:
                if (reason := self._verdict(name)) is None:  # somebody else may have asked meanwhile
                    reason = self._ask(path)
                    self._note(name, reason)
        if reason:
            raise BadCheckpointError(reason)

    def passed(self, path: Path) -> bool:
        """Whether a checkpoint has been tried and found good.

        Args:
            path: checkpoint folder.
        """
        return self._verdict(identity(path)) == ""

    def _verdict(self, name: str) -> str | None:
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

    def warm(self) -> None:
        """Have the helper ready: it takes seconds to start, and waits in little memory for a while."""
        self._write(None)

    def prepare(self) -> None:
        """Have it import what networks need, which goes on while a checkpoint is looked up and downloaded."""
        self._write({"do": "prepare"})

    def convert(self, files: Sequence[Path], output: Path, most: int) -> None:
        """Have pickled weights written as ``output/model.safetensors``, by a process that can do nothing else.

        Args:
            files: the pickles, all together the weights.
            output: an empty folder.
            most: bytes that may be written.

        Raises:
            BadCheckpointError: they hold more than tensors, or kill or overtax the process that reads them.
            BusyError: no process can be started for it.
        """
        order = {"do": "convert", "files": [str(file) for file in files], "output": str(output), "most": most}
        with self._one:
            reason = self._answer_to(order)
        if reason:
            raise BadCheckpointError(reason)

    def close(self) -> None:
        """End the helper; the next checkpoint starts another one."""
        with self._one:
            self._end()

    def _ask(self, path: Path) -> str:
        """Why a checkpoint is refused, or an empty text."""
        return self._answer_to({"do": "try", "path": str(path)})

    def _answer_to(self, order: dict[str, object]) -> str:
        """Why an order was refused, or an empty text. One at a time: the caller holds ``_one``."""
        owner = settings()
        order |= {"bytes": owner.quarantine_bytes, "seconds": owner.quarantine_seconds}
        process = self._write(order)
        if process is None:
            raise _no_process(self._why)
        # The helper keeps the time of its children; this one is for a helper that hangs itself.
        alarm = threading.Timer(owner.quarantine_seconds + 60, process.kill)
        begin(alarm)
        try:
            line = process.stdout.readline()
            if not line and process.wait(60) == 0 and (process := self._write(order)) is not None:
                line = process.stdout.readline()  # it had been idle for too long at that moment, and left
            answer = json.loads(line)
            if answer.get("busy"):
                raise _no_process(Message.from_dict(answer["busy"]))
            return Message.from_dict(answer["refused"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, subprocess.TimeoutExpired):
            with self._pipe:
                if self._process is process:
                    self._end()
            return Message("sandbox.ended_process")
        finally:
            alarm.cancel()

    def _write(self, order: dict[str, object] | None) -> subprocess.Popen[str] | None:
        """Start the helper if there is none, and give it an order; None if the system gives no process."""
        with self._pipe:
            for _ in range(2):  # one that has been idle for too long may end at this moment
                try:
                    process = self._running()
                except OSError as error:
                    self._why = error.strerror
                    return None
                try:
                    if order is not None:
                        process.stdin.write(json.dumps(order) + "\n")
                        process.stdin.flush()
                    return process
                except (OSError, ValueError):
                    self._end()
            self._why = Message("sandbox.process_ended")
            return None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        kept = {key: value for key, value in public_environment().items() if key in _PASSED or key.startswith("SEG_DEMO_")}
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        mine = {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": ""}
        # The folder it starts in is everybody's: no module is looked for there.
        mine["PYTHONSAFEPATH"] = "1"
        # Threads that wait for each other wait asleep: spinning, they take twice the time where others compute too.
        mine["OMP_WAIT_POLICY"] = "PASSIVE"
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(IDLE_SECONDS), str(NETWORKS_SECONDS)],
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
    return BusyError("sandbox.no_process", why=why)


_sandbox = Sandbox()
inspect = _sandbox.inspect
warm = _sandbox.warm
prepare = _sandbox.prepare
convert = _sandbox.convert
passed = _sandbox.passed
close = _sandbox.close


def identity(path: Path) -> str:
    """What a checkpoint is: the hash of its files' names and hashes.

    Args:
        path: checkpoint folder; in huggingface_hub's cache a link names its file's hash, which was checked before.
    """
    digest = hashlib.sha256()
    for file in sorted(found for found in path.iterdir() if found.is_file()):
        stored = os.path.basename(os.readlink(file)) if file.is_symlink() else ""
        if len(stored) not in (40, 64):
            with open(file, "rb") as opened:
                stored = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{file.name}:{stored}\n".encode())
    return digest.hexdigest()

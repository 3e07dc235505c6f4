"""A checkpoint of a stranger's choice, loaded and run once in a process of its own before the demo touches it.

What kills a loader (a crash in native code, memory without end, a file that keeps it busy for ever) then kills that process,
and the visitor reads a sentence. A helper process imports torch once, forks a child for each checkpoint, and ends when it
has had nothing to do for a while; it has no login and does not talk to the Hub, and its children lock themselves in
(:mod:`seg_demo.core.sandbox`). They also read the weights that are pickles (:mod:`seg_demo.hub.pickles`), which no other
process does, whoever's they are. Where processes cannot fork (Windows), the helper does one thing itself and ends with it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from seg_demo import networks
from seg_demo.core import BadCheckpointError, BusyError, Message, SegDemoError
from seg_demo.core.sandbox import Helper, ProcessError
from seg_demo.core.settings import settings

IDLE_SECONDS = 600.0
# How long the process that has imported what networks need waits for a checkpoint; it is half as large again as the helper.
NETWORKS_SECONDS = 15.0
# A checkpoint that was refused is not tried again for so long; the answer is the same.
REFUSED_SECONDS = 600.0
REMEMBERED = 1024
_MODULE = "seg_demo.serving.sandbox_child"


class Sandbox(Helper):
    """The helper process and what it has found."""

    def __init__(self) -> None:
        super().__init__(_MODULE, str(IDLE_SECONDS), str(NETWORKS_SECONDS))
        # What is known already is answered at once, also while the helper is busy with somebody else's model.
        self._known = threading.Lock()
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

    def look(self, path: Path, stored: Collection[str] | None) -> str:
        """Why a checkpoint is refused for what its JSON files tell, or an empty text.

        Args:
            path: checkpoint folder, perhaps without weights.
            stored: names of its weights; None where nobody knows them.

        Raises:
            BusyError: no process can be started to look in.
        """
        kind = networks.network(networks.identify(path))
        if not kind.__module__.startswith(f"{networks.__name__}."):
            # Another program has registered this class: the helper does not know it, and the checkpoint is that program's own.
            try:
                kind.look(path, stored)
            except SegDemoError as error:
                return str(error)
            return ""
        with self._one:
            return self._answer_to({"do": "try", "path": str(path), "stored": None if stored is None else list(stored)})

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

    def _ask(self, path: Path) -> str:
        """Why a checkpoint is refused, or an empty text."""
        return self._answer_to({"do": "try", "path": str(path)})

    def _answer_to(self, order: dict[str, object]) -> str:
        """Why an order was refused, or an empty text. One at a time: the caller holds ``_one``."""
        owner = settings()
        order |= {"bytes": owner.quarantine_bytes, "seconds": owner.quarantine_seconds}
        try:
            # The helper keeps the time of its children; this one is for a helper that hangs itself.
            answer = self.ask(order, owner.quarantine_seconds + 60)
            return Message("sandbox.ended_process") if answer is None else Message.from_dict(answer["refused"])
        except ProcessError as error:
            raise _no_process(error.args[0]) from error
        except (KeyError, TypeError):
            return Message("sandbox.ended_process")


def _no_process(why: str | None) -> BusyError:
    return BusyError("sandbox.no_process", why=why)


_sandbox = Sandbox()
inspect = _sandbox.inspect
look = _sandbox.look
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

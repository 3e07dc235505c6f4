"""The helper process of :mod:`seg_demo.models.quarantine`: orders in, as lines of JSON, and a line out for each that is answered.

``python -m seg_demo.models.quarantine_child IDLE_SECONDS`` ends when its input ends or nothing has come for so long. Three kinds
of process work together, so that little waits in memory and nothing of a stranger's outlives its use:

- the *helper* holds torch and little else: it waits in 350 MB for hours;
- the *networks' process*, forked from it while a checkpoint is looked up and downloaded, imports what networks need, which is
  half as large again, and ends when none has come for a quarter of a minute;
- a *child*, forked from one of the two for each order, locks itself in (:mod:`seg_demo.models.sandbox`), opens the stranger's
  files, which the other two never do, and ends.

===========  =====================================================================================================
``do``       what happens
===========  =====================================================================================================
``prepare``  the networks' process is started, if there is none; no answer
``try``      a checkpoint is loaded and run once (``path``, ``bytes``, ``seconds``)
``convert``  pickled weights are written as safetensors (``files``, ``output``, ``most``, ``bytes``, ``seconds``)
===========  =====================================================================================================
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seg_demo.models import sandbox

SIDE = 64
# What a child that loads and runs a network may write: nothing of size, and only where its own files are.
TRY_FILE_BYTES = 1 << 20
# How long the networks' process waits for a checkpoint.
NETWORKS_SECONDS = 15.0
# What the helper itself imports, and what the networks' process does, the most frequent first. torchvision and transformers'
# models bring torch's compiler with them, and scipy.
LIGHT = ("torch", "safetensors.torch", "numpy", "PIL.Image", "transformers", "seg_demo.networks", "seg_demo.models.pickles")
HEAVY = (
    "seg_demo.networks.segformer", "transformers.models.segformer.modeling_segformer", "seg_demo.networks.segformer_fold",
    "transformers.models.auto.processing_auto", "seg_demo.models.model", "seg_demo.networks.unet", "seg_demo.networks.unet_fold",
    "seg_demo.networks.maskrcnn", "seg_demo.networks.fcn",
)  # fmt: skip
# Begins a child's answer: what ends without it has died, whatever its exit status says.
_DONE = b"done:"
_SIGNALS = {number: number.name for number in signal.Signals}
_DONTNEED, _PARENT_DEATH = 4, 1  # sys/mman.h, linux/prctl.h


def attempt(path: Path, most: int, seconds: float) -> str:
    """Load a checkpoint and run it once, within limits.

    Args:
        path: checkpoint folder.
        most: bytes of memory beyond what the process has now.
        seconds: of processor time.

    Returns:
        Why it is refused; empty if it is not.
    """
    import numpy as np

    from seg_demo.errors import BadImageError, SegDemoError
    from seg_demo.models import devices
    from seg_demo.models.model import Model
    from seg_demo.networks import load, optimise
    from seg_demo.types import ModelSpec

    sandbox.limit(most, seconds, TRY_FILE_BYTES)
    # What ends here for memory has to be told from what is wrong with the files.
    memory = f"This model needs more than the {most / 1e9:.3g} GB of memory that a model may use here. Choose a smaller one."
    try:
        checkpoint = load(path)
        # As it will be served: folded, it answers in half the time.
        checkpoint.module.eval().requires_grad_(False)
        optimise(checkpoint, devices.choose_device("cpu"))
        spec = ModelSpec("checkpoint", None, "semantic", "", "checkpoint", "", "folder")
        image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Model.from_checkpoint(checkpoint, spec, "fp32").predict_all(image)
    except (MemoryError, BadImageError):
        return memory
    except SegDemoError as error:
        return str(error)
    except Exception as error:  # whatever a library raises at a file made by a stranger
        if devices.out_of_memory(error):
            return memory
        return f"This model cannot be loaded and run ({type(error).__name__}). Tell its owner, or choose another model."
    return ""


def convert(order: dict[str, Any]) -> str:
    """Write pickled weights as safetensors, within limits.

    Args:
        order: ``files`` and ``output`` as for :func:`seg_demo.models.pickles.rewrite`, and what they may take.

    Returns:
        Why they are refused; empty if they are not.
    """
    from seg_demo.errors import SegDemoError
    from seg_demo.models import pickles

    sandbox.limit(int(order["bytes"]), float(order["seconds"]), int(order["most"]) + TRY_FILE_BYTES)
    try:
        pickles.rewrite([Path(each) for each in order["files"]], Path(order["output"]), int(order["most"]))
    except MemoryError:
        return f"The weights of this model need more than the {order['bytes'] / 1e9:.3g} GB of memory that they may use here."
    except SegDemoError as error:
        return str(error)
    except Exception as error:  # whatever torch raises at a file made by a stranger
        return f"The weights of this model cannot be read ({type(error).__name__}). Tell its owner, or choose another model."
    return ""


def perform(order: dict[str, Any]) -> str:
    """Do what an order says, in a process that is thrown away afterwards.

    Args:
        order: of kind ``try`` or ``convert``.
    """
    gc.enable()
    libraries = sandbox.libraries()
    if order["do"] == "convert":
        sandbox.confine([*libraries, *_homes(order["files"])], [Path(order["output"])])
        return convert(order)
    path = Path(order["path"])
    sandbox.confine([*libraries, path, *_homes(path.iterdir() if path.is_dir() else ())])
    return attempt(path, int(order["bytes"]), float(order["seconds"]))


def _homes(files: Any) -> set[Path]:
    """The files themselves, wherever links lead to them."""
    return {Path(each).resolve() for each in files}


def fork(work: Callable[[int], None], *own: int) -> tuple[int, int]:
    """Start work in a forked process.

    Args:
        work: gets a file descriptor for its answers; the process ends with it, whatever happens.
        own: file descriptors of this process that the other must not keep open.

    Returns:
        The process's number, and the file descriptor that its answers come from.

    Raises:
        OSError: the system gives no more processes.
    """
    receiver, sender = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(receiver)
        os.close(sender)
        raise
    if child == 0:
        try:
            _end_with_parent()
            gc.disable()
            for descriptor in (receiver, *own):
                os.close(descriptor)
            work(sender)
        finally:
            os._exit(0)
    os.close(sender)
    return child, receiver


def _end_with_parent() -> None:
    """A process whose parent is killed is of no use to anybody. Linux only; elsewhere it ends with its time."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)


def in_child(order: dict[str, Any], *own: int) -> str:
    """:func:`perform` in a forked child that is killed when its time is up.

    Args:
        order: of kind ``try`` or ``convert``.
        own: as for :func:`fork`.

    Returns:
        Why it was refused; empty if it was not.

    Raises:
        OSError: the system gives no more processes.
    """
    seconds = float(order["seconds"])
    child, receiver = fork(lambda sender: _answer(sender, _DONE + perform(order).encode()[:4000]), *own)
    answer, until = b"", time.monotonic() + seconds
    ended = False
    while not ended and (left := until - time.monotonic()) > 0:
        if select.select([receiver], [], [], left)[0]:
            part = os.read(receiver, 4096)
            answer, ended = answer + part, not part
    os.close(receiver)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not ended:
        what = "loaded and run once" if order["do"] == "try" else "converted from a pickle"
        return f"This model could not be {what} within {seconds:g} seconds. Choose a smaller one."
    if not answer.startswith(_DONE):
        name = _SIGNALS.get(os.WTERMSIG(status), "") if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
        return f"This model ended the process that tried to load it ({name}), so it is not loaded here. Choose another."
    return answer.removeprefix(_DONE).decode("utf-8", "replace")


def _answer(sender: int, text: bytes) -> None:
    os.write(sender, text)


def answered(order: dict[str, Any], *own: int) -> dict[str, str]:
    """What an order came to: ``refused`` with the reason or nothing, or ``busy`` where there is no process to do it in."""
    try:
        return {"refused": in_child(order, *own)}
    except OSError as error:
        return {"busy": error.strerror or type(error).__name__}


class Networks:
    """The process that has imported what networks need.

    Args:
        own: file descriptors of the helper that it must not keep open.
    """

    def __init__(self, *own: int) -> None:
        self._own = own
        self._pid: int | None = None
        self._orders = self._answers = -1
        self._used = 0.0

    @property
    def ends(self) -> float | None:
        """When it has waited long enough, on the monotonic clock; None if there is none."""
        return None if self._pid is None else self._used + NETWORKS_SECONDS

    @property
    def pipes(self) -> tuple[int, ...]:
        """The helper's ends of what leads to it and from it."""
        return () if self._pid is None else (self._orders, self._answers)

    def start(self) -> None:
        """Have one.

        Raises:
            OSError: the system gives no more processes.
        """
        self._used = time.monotonic()
        if self._pid is not None and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._close()
        if self._pid is None:
            told, orders = os.pipe()
            try:
                self._pid, self._answers = fork(lambda sender: self._work(told, sender), orders, *self._own)
            except OSError:
                os.close(orders)
                raise
            finally:
                os.close(told)
            self._orders = orders

    def ask(self, order: dict[str, Any]) -> dict[str, str]:
        """What an order of kind ``try`` came to; see :func:`answered`."""
        for _ in range(2):  # this process opens no stranger's file: that it has ended says nothing about the checkpoint
            try:
                self.start()
            except OSError as error:
                return {"busy": error.strerror or type(error).__name__}
            try:
                os.write(self._orders, json.dumps(order).encode() + b"\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    part = os.read(self._answers, 1 << 16)
                    if not part:
                        raise OSError("it has ended")
                    answer += part
            except OSError:
                self.stop()
                continue
            self._used = time.monotonic()
            return json.loads(answer)
        return {"busy": "the process that has imported the libraries has ended"}

    def stop(self) -> None:
        """End it, if there is one."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._close()

    def _close(self) -> None:
        os.close(self._orders)
        os.close(self._answers)
        self._pid = None

    @staticmethod
    def _work(told: int, sender: int) -> None:
        """In the process: an order goes before what is still to be imported, since it may do without."""
        lines, missing = _Lines(told), list(HEAVY)
        while True:
            while missing and not lines.ready():
                importlib.import_module(missing.pop(0))
                if not missing:
                    slim()
            line = lines.next(None)
            if line is None:
                return
            os.write(sender, json.dumps(answered(json.loads(line), told, sender)).encode() + b"\n")


def serve(idle: float) -> None:
    """Answer orders until there are none.

    Args:
        idle: seconds without an order after which to end.
    """
    # Answers have the output for themselves; what a library prints goes where errors go.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Imports make a million objects that stay; looking through them for garbage is a sixth of the time.
    gc.disable()
    for name in LIGHT:
        importlib.import_module(name)
    slim()
    forks = hasattr(os, "fork")
    # Neither the orders nor the answers are a child's to read or write.
    own = (sys.stdin.fileno(), output.fileno())
    lines, networks = _Lines(own[0]), Networks(*own)
    until = time.monotonic() + idle
    while True:
        soonest = min(until, networks.ends or until)
        line = lines.next(max(0.0, soonest - time.monotonic()) if forks else None)
        if line == "":  # nothing came
            if networks.ends is not None and time.monotonic() >= networks.ends:
                networks.stop()
            if time.monotonic() >= until:
                line = None
            else:
                continue
        if line is None:
            networks.stop()
            return
        order, until = json.loads(line), time.monotonic() + idle
        if order["do"] == "prepare":
            try:
                if forks:
                    networks.start()
            except OSError:
                pass  # the order itself will say so
            continue
        if not forks:
            answer = {"refused": alone(order)}
        else:
            answer = networks.ask(order) if order["do"] == "try" else answered(order, *own, *networks.pipes)
        print(json.dumps(answer), file=output, flush=True)
        if not forks:
            return  # its limits stay with the process


def alone(order: dict[str, Any]) -> str:
    """Do what an order says in the helper itself, where processes cannot fork; it ends afterwards."""
    if order["do"] == "convert":
        return convert(order)
    return attempt(Path(order["path"]), int(order["bytes"]), float(order["seconds"]))


class _Lines:
    """Lines of an input, with an end to the waiting for them.

    Args:
        input: a file descriptor.
    """

    def __init__(self, input: int) -> None:
        self._input, self._kept = input, b""

    def ready(self) -> bool:
        """Whether there is something to read, or the input has ended."""
        return b"\n" in self._kept or bool(select.select([self._input], [], [], 0)[0])

    def next(self, seconds: float | None) -> str | None:
        """The next line; empty if none has come for so long, None if the input has ended.

        Args:
            seconds: to wait; None waits for ever.
        """
        while b"\n" not in self._kept:
            if seconds is not None and not select.select([self._input], [], [], seconds)[0]:
                return ""
            part = os.read(self._input, 1 << 16)
            if not part:
                return None
            self._kept += part
        line, self._kept = self._kept.split(b"\n", 1)
        return line.decode()


def slim() -> None:
    """Give back the memory that is not needed while the helper waits: garbage, free blocks, and pages of files.

    What was read of the libraries' files can be read again at any time, from the system's own cache of files. Children find
    what is left where it was, and do not copy it by looking for garbage in it.
    """
    gc.collect()
    gc.freeze()
    try:
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        for start, size in _unwritten(Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")):
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _DONTNEED)
    except (OSError, AttributeError):
        pass  # macOS, or a C library without malloc_trim


def _unwritten(text: str) -> list[tuple[int, int]]:
    """(start, bytes) of what is mapped from files and is as it is in the file, for nothing was ever written there.

    Args:
        text: of ``/proc/self/smaps``, see proc_pid_smaps(5).
    """
    found = []
    for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +/", block)
        if head and re.search(r"^Anonymous: +0 kB", block, re.MULTILINE):
            start, end = int(head[1], 16), int(head[2], 16)
            found.append((start, end - start))
    return found


if __name__ == "__main__":
    serve(float(sys.argv[1]))

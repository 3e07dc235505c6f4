"""The helper process of :mod:`seg_demo.hub.untrusted`: orders in, as lines of JSON, and a line out for each that is answered.

``python -m seg_demo.serving.sandbox_child IDLE_SECONDS NETWORKS_SECONDS`` ends when its input ends or nothing has come for so long. Three kinds
of process work together, so that little waits in memory and nothing of a stranger's outlives its use:

- the *helper* holds torch and little else: it waits in 350 MB for hours;
- the *networks' process*, forked from it while a checkpoint is looked up and downloaded, imports what networks need, which is
  half as large again, and ends when none has come for ``NETWORKS_SECONDS``;
- a *child*, forked from one of the two for each order, locks itself in (:mod:`seg_demo.core.sandbox`), opens the stranger's
  files, which the other two never do, and ends.

===========  =====================================================================================================
``do``       what happens
===========  =====================================================================================================
``prepare``  the networks' process is started, if there is none; no answer
``try``      a checkpoint is loaded and run once (``path``, ``bytes``, ``seconds``); or only looked at, without its weights (``stored``: their
             names, or null)
``convert``  pickled weights are written as safetensors (``files``, ``output``, ``most``, ``bytes``, ``seconds``)
===========  =====================================================================================================
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from seg_demo.core import Message
from seg_demo.core.sandbox import ChildError, Lines, confine, fork, import_next, in_child, library_folders, limit_resources

SIDE = 64
# What a child that loads and runs a network may write: nothing of size, and only where its own files are.
TRY_FILE_BYTES = 1 << 20
# What the helper itself imports, what pickles need first; and what the networks' process does, the most frequent first, and then each
# family's file. torchvision and transformers' models bring torch's compiler with them, and scipy.
CONVERTING = ("torch", "safetensors.torch", "numpy", "seg_demo.hub.untrusted")
LIGHT = (*CONVERTING, "PIL.Image", "transformers", "seg_demo.networks")
HEAVY = ("transformers.models.segformer.modeling_segformer", "transformers.models.auto.processing_auto", "seg_demo.inference.model")


def attempt(order: dict[str, Any]) -> str:
    """Load a checkpoint and run it once, or look at its JSON files, within limits.

    Args:
        order: of kind ``try``: ``bytes`` of memory beyond what the process has now, ``seconds`` of processor time.

    Returns:
        Why it is refused; empty if it is not.
    """
    import numpy as np

    from seg_demo.core import SEMANTIC, BadImageError, ModelSpec, SegDemoError
    from seg_demo.inference import engine
    from seg_demo.inference.model import Model
    from seg_demo.networks import identify, load, network

    path, most = Path(order["path"]), int(order["bytes"])
    limit_resources(most, float(order["seconds"]), TRY_FILE_BYTES)
    # What ends here for memory has to be told from what is wrong with the files.
    memory = Message("sandbox.too_much_memory", most=most / 1e9)
    try:
        if "stored" in order:
            network(identify(path)).look(path, order["stored"])
            return ""
        checkpoint = load(path)
        # As it will be served: folded, it answers in half the time.
        checkpoint.module.eval().requires_grad_(False)
        checkpoint.optimise(engine.choose_device("cpu"))
        spec = ModelSpec("checkpoint", None, SEMANTIC.name, "", "checkpoint", "", "folder")
        image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Model.from_network(checkpoint, spec, "fp32").probe(image)
    except (MemoryError, BadImageError):
        return memory
    except SegDemoError as error:
        return error.message
    except Exception as error:  # whatever a library raises at a file made by a stranger
        if engine.out_of_memory(error):
            return memory
        return Message("sandbox.not_loaded", why=type(error).__name__)
    return ""


def convert(order: dict[str, Any]) -> str:
    """Write pickled weights as safetensors, within limits.

    Args:
        order: ``files`` and ``output`` as for :func:`seg_demo.hub.untrusted.rewrite`, and what they may take.

    Returns:
        Why they are refused; empty if they are not.
    """
    from seg_demo.core import SegDemoError
    from seg_demo.hub import untrusted

    limit_resources(int(order["bytes"]), float(order["seconds"]), int(order["most"]) + TRY_FILE_BYTES)
    try:
        untrusted.rewrite([Path(file) for file in order["files"]], Path(order["output"]), int(order["most"]))
    except MemoryError:
        return Message("sandbox.weights_too_large", most=order["bytes"] / 1e9)
    except SegDemoError as error:
        return error.message
    except Exception as error:  # whatever torch raises at a file made by a stranger
        return Message("sandbox.weights_unreadable", why=type(error).__name__)
    return ""


def perform(order: dict[str, Any]) -> str:
    """Do what an order says, in a process that is thrown away afterwards.

    Args:
        order: of kind ``try`` or ``convert``.
    """
    gc.enable()
    libraries = library_folders()
    if order["do"] == "convert":
        confine([*libraries, *_homes(order["files"])], [Path(order["output"])])
        return convert(order)
    path = Path(order["path"])
    confine([*libraries, path, *_homes(path.iterdir() if path.is_dir() else ())])
    return attempt(order)


def _homes(files: Any) -> set[Path]:
    """The files themselves, wherever links lead to them."""
    return {Path(file).resolve() for file in files}


def verdict(order: dict[str, Any], *own: int) -> Message:
    """:func:`perform` in a forked child that is killed when its time is up.

    Args:
        order: of kind ``try`` or ``convert``.
        own: as for :func:`seg_demo.core.sandbox.fork`.

    Returns:
        Why it was refused; empty if it was not.

    Raises:
        OSError: the system gives no more processes.
    """
    seconds = float(order["seconds"])
    try:
        return Message.from_dict(in_child(lambda: Message.of(perform(order)).to_dict(), seconds, *own))
    except ChildError as error:
        if error.args[0] is not None:
            return Message("sandbox.ended_process_with", why=error.args[0])
    what = Message("sandbox.loaded_and_run") if order["do"] == "try" else Message("sandbox.converted")
    return Message("sandbox.too_slow", what=what, seconds=seconds)


def answered(order: dict[str, Any], *own: int) -> dict[str, str]:
    """What an order came to: ``refused`` with the reason or nothing, or ``busy`` where there is no process to do it in."""
    try:
        return {"refused": verdict(order, *own).to_dict()}
    except OSError as error:
        return {"busy": error.strerror or type(error).__name__}


class Networks:
    """The process that has imported what networks need.

    Args:
        seconds: for which it waits for a checkpoint.
        own: file descriptors of the helper that it must not keep open.
    """

    def __init__(self, seconds: float, *own: int) -> None:
        self._seconds, self._own = seconds, own
        self._pid: int | None = None
        self._orders = self._answers = -1
        self._used = 0.0

    @property
    def ends(self) -> float | None:
        """When it has waited long enough, on the monotonic clock; None if there is none."""
        return None if self._pid is None else self._used + self._seconds

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
            incoming, orders = os.pipe()
            try:
                self._pid, self._answers = fork(lambda sender: self._work(incoming, sender), orders, *self._own)
            except OSError:
                os.close(orders)
                raise
            finally:
                os.close(incoming)
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
        return {"busy": Message("sandbox.libraries_process_ended").to_dict()}

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
    def _work(incoming: int, sender: int) -> None:
        """In the process: an order goes before what is still to be imported, since it may do without."""
        from seg_demo.networks import FAMILIES

        # A class that was registered is imported already.
        files = (row.where.partition(":")[0] for row in FAMILIES.values() if isinstance(row.where, str))
        lines, missing = Lines(incoming), [*HEAVY, *files]
        while True:
            while missing and not lines.ready():
                import_next(missing)
            line = lines.next(None)
            if line is None:
                return
            os.write(sender, json.dumps(answered(json.loads(line), incoming, sender)).encode() + b"\n")


def serve(idle: float, waits: float) -> None:
    """Answer orders until there are none.

    Args:
        idle: seconds without an order after which to end.
        waits: seconds without a checkpoint after which the networks' process ends.
    """
    # Answers have the output for themselves; what a library prints goes where errors go.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Imports make a million objects that stay; looking through them for garbage is a sixth of the time.
    gc.disable()
    forks = hasattr(os, "fork")
    # Neither the orders nor the answers are a child's to read or write.
    own = (sys.stdin.fileno(), output.fileno())
    lines, networks, missing = Lines(own[0]), Networks(waits, *own), list(LIGHT)
    until = time.monotonic() + idle
    while True:
        while missing and not (forks and lines.ready()):
            import_next(missing)
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
        while missing and (order["do"] != "convert" or missing[0] in CONVERTING):
            import_next(missing)
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
    return attempt(order)


if __name__ == "__main__":
    serve(float(sys.argv[1]), float(sys.argv[2]))

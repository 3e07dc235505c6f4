"""The helper process of :mod:`seg_demo.models.quarantine`: a line of JSON in (path, bytes, seconds), a line out (refused,
or busy where the system gives no process to try it in).

``python -m seg_demo.models.quarantine_child IDLE_SECONDS`` ends when its input ends or nothing has come for so long.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path

import numpy as np

from seg_demo.errors import BadImageError, SegDemoError
from seg_demo.models import devices
from seg_demo.models.model import Model
from seg_demo.networks import NETWORKS, load, network
from seg_demo.types import ModelSpec

try:
    import resource
except ImportError:
    resource = None

SIDE = 64
# Begins a child's answer: what ends without it has died, whatever its exit status says.
_DONE = b"done:"
_SIGNALS = {number: number.name for number in signal.Signals}


def attempt(path: Path, most: int, seconds: float) -> str:
    """Load a checkpoint and run it once, within limits.

    Args:
        path: checkpoint folder.
        most: bytes of memory beyond what the process has now.
        seconds: of processor time.

    Returns:
        Why it is refused; empty if it is not.
    """
    _limit(most, seconds)
    # What ends here for memory has to be told from what is wrong with the files.
    memory = f"This model takes more than the {most / 1e9:.3g} GB of memory that one may take here. Choose a smaller one."
    try:
        checkpoint = load(path)
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


def _limit(most: int, seconds: float) -> None:
    if resource is None:
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 1 << 20, resource.RLIMIT_CPU: int(seconds) + 1}
    try:
        limits[resource.RLIMIT_AS] = _size() + most
    except OSError:
        pass  # no /proc, as on macOS, where that limit is not held either
    for which, value in limits.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(which, (value, value))
        except (ValueError, OSError):
            pass  # a system that does not know it


def _size() -> int:
    """Bytes of this process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def in_child(path: Path, most: int, seconds: float) -> str:
    """:func:`attempt` in a forked child that is killed when its time is up.

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
            os.close(receiver)
            os.write(sender, _DONE + attempt(path, most, seconds).encode()[:4000])
        finally:
            os._exit(0)
    os.close(sender)
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
        return f"This model could not be loaded and run once within {seconds:g} seconds. Choose a smaller one."
    if not answer.startswith(_DONE):
        name = _SIGNALS.get(os.WTERMSIG(status), "") if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
        return f"This model ended the process that tried to load it ({name}), so it is not loaded here. Choose another."
    return answer.removeprefix(_DONE).decode("utf-8", "replace")


def serve(idle: float) -> None:
    """Answer orders until there are none.

    Args:
        idle: seconds without an order after which to end.
    """
    # Answers have the output for themselves; what a library prints goes where errors go.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in NETWORKS:
        network(name)  # imports its library once for all children
    run = in_child if hasattr(os, "fork") else attempt
    while True:
        if run is in_child and not select.select([sys.stdin], [], [], idle)[0]:
            return
        line = sys.stdin.readline()
        if not line:
            return
        order = json.loads(line)
        try:
            answer = {"refused": run(Path(order["path"]), int(order["bytes"]), float(order["seconds"]))}
        except OSError as error:
            answer = {"busy": error.strerror or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)
        if run is attempt:
            return  # its limits stay with the process


if __name__ == "__main__":
    serve(float(sys.argv[1]))

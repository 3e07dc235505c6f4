"""``python -m seg_demo.jobs.runner FOLDER START STILL``: runs a job's command to an end and writes down how it ended.

The server starts it in a session of its own, so that it outlives the server. SIGTERM is handed on to the command, which saves
and exits. A command that does not begin, or that stands still, is ended, so that every job has an outcome. Imports nothing
heavy: it only watches.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from seg_demo.core.errors import Message
from seg_demo.core.storage import write_atomically
from seg_demo.jobs.processes import (
    CHILD,
    COMMAND,
    CONSOLE,
    EXIT,
    PROGRESS,
    RESULT,
    RUN,
    process_identity,
    processor_seconds,
    write_json,
)

# How often the command is looked at, and how long it may take to save and end when it is told to.
LOOK_SECONDS = 1.0
# What counts as passed between two looks at most: a machine or a container that was paused meanwhile has not stood still.
MOST_PASSED = 5.0
END_SECONDS = 60.0
# Processor time within the patience that tells a command at work from one whose threads only tick.
LEAST_WORK = 1.0
FAILED = 1
_ASKED = (-signal.SIGTERM, -signal.SIGINT)


class Watch:
    """Whether a command still does anything: it writes, or it computes.

    Args:
        folder: of the job.
        group: process group of the command.
        start: seconds within which it must have written how far it is for the first time.
        still: seconds for which it may do nothing.
    """

    def __init__(self, folder: Path, group: int, start: float, still: float) -> None:
        self._folder, self._group, self._start, self._still = folder, group, start, still
        self._looked, self._passed, self._stood = time.monotonic(), 0.0, 0.0
        self._written, self._worked = self._writings(), 0.0

    @property
    def begun(self) -> bool:
        """Whether it has said how far it is."""
        return (self._folder / PROGRESS).exists()

    def fault(self) -> str:
        """Why it has to be ended; empty while it may go on."""
        now, written, worked = time.monotonic(), self._writings(), processor_seconds(self._group)
        passed, self._looked = min(now - self._looked, MOST_PASSED), now
        self._passed, self._stood = self._passed + passed, self._stood + passed
        # Less than before: a process of the group has ended.
        if written != self._written or not 0 <= worked - self._worked < LEAST_WORK:
            self._stood, self._written, self._worked = 0.0, written, worked
        if not self.begun and self._passed > self._start:
            return Message("jobs.did_not_begin", seconds=self._start)
        if self._stood > self._still:
            return Message("jobs.stood_still", seconds=self._still)
        return ""

    def _writings(self) -> list[tuple[int, int] | None]:
        """Size and time of what it writes to."""
        found: list[tuple[int, int] | None] = []
        for name in (PROGRESS, CONSOLE, f"{RUN}/log.txt", f"{RUN}/last/state.pt"):
            try:
                stat = (self._folder / name).stat()
                found.append((stat.st_size, stat.st_mtime_ns))
            except OSError:
                found.append(None)
        return found


def main(folder: Path, start: float, still: float) -> int:
    """Run the command of a job's folder to its end.

    Args:
        folder: with ``command.json``, a list of words.
        start: as for :class:`Watch`.
        still: as for :class:`Watch`.

    Returns:
        The command's exit code; what a signal ended has minus its number. 1 where it could not be started or had to be ended.
    """
    try:
        code, why = _run(folder, start, still)
    except Exception as error:  # whatever it is, somebody waits to be told how the job ended
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        code, why = FAILED, Message("jobs.could_not_run", why=reason)
    write_json(folder / EXIT, {"code": code, "when": time.time(), "why": Message.of(why).to_dict()})
    return code


def _run(folder: Path, start: float, still: float) -> tuple[int, str]:
    """How the command ended, and why if it cannot say so itself."""
    command = json.loads((folder / COMMAND).read_text(encoding="utf-8"))
    child: subprocess.Popen[bytes] | None = None
    asked = False

    def hand_on(*_: object) -> None:
        nonlocal asked
        asked = True
        if child is not None and child.poll() is None:
            child.terminate()

    # Before there is a command: a signal that comes meanwhile must not leave one behind that nobody watches.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, hand_on)
    with (folder / CONSOLE).open("ab") as console, tempfile.TemporaryFile(dir=folder) as result:
        # A group of its own, which can be ended with all that it started.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=result, stderr=console, process_group=0)
        try:
            if asked:
                child.terminate()
            write_json(folder / CHILD, process_identity(child.pid))
            watch = Watch(folder, child.pid, start, still)
            fault = _wait(child, watch)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            code = child.wait()
        if code == 0:
            result.seek(0)
            write_atomically(folder / RESULT, result.read(), durable=True)
            return code, ""
    return (FAILED, fault) if fault else (code, _last_words(code, watch.begun))


def _wait(child: subprocess.Popen[bytes], watch: Watch) -> str:
    """Wait until the command has ended; why it had to be ended, or an empty text."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            child.wait(LOOK_SECONDS)
            return ""
        if fault := watch.fault():
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(END_SECONDS)
            return fault


def _last_words(code: int, begun: bool) -> str:
    """Why a command ended that could not say so itself; empty for one that could."""
    if code < 0 and code not in _ASKED:
        return Message("jobs.stopped_by_system", signal=signal.Signals(-code).name)
    if code == FAILED and not begun:
        return Message("jobs.ended_before_it_began")
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))

"""The processes of a job: whether one still runs, how they are started, and the one that watches.

Whether a process still runs is told by its id and the moment it began: ids are given out again, and a dead server forgets its own. The files of
a job's folder are written whole or not at all.

``python -m seg_demo.jobs.processes FOLDER START STILL`` watches: it runs a job's command to an end and writes down how it ended.
The server starts it in a session of its own, so that it outlives the server. SIGTERM is handed on to the command, which saves
and exits. A command that does not begin, or that stands still, is ended, so that every job has an outcome. This file imports nothing
heavy, for that.
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
from typing import Any

from seg_demo.core import JOB_OWNER, BusyError, Message, StorageError, write_atomically
from seg_demo.core.sandbox import public_environment

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def process_start(pid: int) -> str | None:
    """When a process began, in words that no other process of this id has ever had; None if it does not run.

    A zombie, which has ended and only waits to be noticed, does not run.

    Args:
        pid: of the process.
    """
    if sys.platform.startswith("linux"):
        try:
            # The name in parentheses may hold anything, a parenthesis too; proc(5) numbers the fields after it from 3.
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        state, ticks = fields[0], fields[19]
        boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else ""
        return None if state in ("Z", "X") else f"{boot}:{ticks}"
    told = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, when = told.stdout.strip().partition(" ")
    return when.strip() if state and not state.startswith("Z") else None


def process_identity(pid: int) -> dict[str, object]:
    """What is written down of a process, to know it again; JSON-able."""
    return {"pid": pid, "began": process_start(pid)}


def is_running(known: object) -> bool:
    """Whether the process that :func:`process_identity` described still runs, and not another one of its id.

    Args:
        known: of :func:`process_identity`; anything else runs not.
    """
    if not isinstance(known, dict) or not isinstance(known.get("pid"), int) or not known.get("began"):
        return False
    return process_start(known["pid"]) == known["began"]


def processor_seconds(group: int) -> float:
    """Processor time that the processes of a group have used, ended children of theirs included.

    Args:
        group: number of the process group.
    """
    if not sys.platform.startswith("linux"):
        told = subprocess.run(["ps", "-A", "-o", "pgid=,time="], capture_output=True, text=True, check=False)
        rows = (line.split() for line in told.stdout.splitlines())
        return sum(_clock(row[1]) for row in rows if len(row) == 2 and row[0] == str(group))
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended since it was listed
        if fields[2] == str(group):
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime: proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def _clock(text: str) -> float:
    """Seconds of what ``ps`` writes as ``[[days-]hours:]minutes:seconds``."""
    days, _, rest = text.rpartition("-")
    seconds = 0.0
    for part in rest.split(":"):
        seconds = 60 * seconds + float(part)
    return 86_400 * int(days or 0) + seconds


def send_signal(known: object, number: int) -> bool:
    """Send a signal to a process if it still runs.

    Args:
        known: of :func:`process_identity`.
        number: of the signal.

    Returns:
        Whether it was sent.
    """
    if not is_running(known):
        return False
    with suppress(ProcessLookupError):
        os.kill(known["pid"], number)
        return True
    return False


# About the job, the training command's own configuration, and the command as a list of words.
ABOUT, CONFIG, COMMAND = "job.json", "job.yaml", "command.json"
# The processes that run it, and how it ended.
RUNNER, CHILD, EXIT = "runner.json", "child.json", "exit.json"
# What the command writes: its terminal, its answer, how far it is, its run folder; and the copy of the data.
CONSOLE, RESULT, PROGRESS, RUN, DATA = "console.txt", "result.json", "progress.json", "run", "data"
# What the dry run found, and its picture of a sample in each of several readings of the masks.
CHECK, READINGS, PUSH = "check.json", "two-readings.png", "push.json"


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file at once.

    Raises:
        StorageError: the disk is full or fails.
    """
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False))


def write_text(path: Path, text: str) -> None:
    """Replace a text file at once.

    Raises:
        StorageError: the disk is full or fails.
    """
    try:
        write_atomically(path, text, durable=True)
    except OSError as error:
        raise StorageError("jobs.file_not_written", name=path.name, why=error.strerror) from error


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None if there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def tail(path: Path, lines: int = 40, most: int = 1 << 16) -> str:
    """The last lines of a text file, at most 64 kB of it; empty if it cannot be read.

    Args:
        path: the file.
        lines: how many.
        most: bytes that are read.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - most))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(line.rpartition("\r")[2] for line in text.splitlines()[-lines:])


ROOT = Path(__file__).resolve().parents[2]
# Seconds in which a command must have said how far it is for the first time, and for which it may stand still.
PATIENCE = (600.0, 900.0)
# Seconds in which the process that watches over a command must have started it.
LAUNCH_SECONDS = 60.0


def launch(folder: Path, root: Path, patience: tuple[float, float], owner: str = "") -> None:
    """Start the process that watches over a command; return when that has started the command, or has said why it could not.

    Args:
        folder: of the job, with ``command.json`` and nothing of an earlier start.
        root: of all jobs.
        patience: as :data:`PATIENCE`.
        owner: of the job, who sees no others' models in a comparison.

    Raises:
        BusyError: no process can be started; none is left behind.
        StorageError: the disk is full or fails.
    """
    nowhere = {stream: subprocess.DEVNULL for stream in ("stdin", "stdout", "stderr")}
    words = [sys.executable, "-m", "seg_demo.jobs.processes", str(folder), *map(str, patience)]
    environ = public_environment() | {"SEG_DEMO_JOBS": str(root), JOB_OWNER: owner}
    try:
        runner = subprocess.Popen(words, cwd=ROOT, env=environ, start_new_session=True, **nowhere)
    except OSError as error:
        raise no_process(error.strerror) from error
    try:
        write_json(folder / RUNNER, process_identity(runner.pid))
        until = time.monotonic() + LAUNCH_SECONDS
        while not any((folder / name).exists() for name in (CHILD, EXIT)):
            if runner.poll() is not None and not (folder / EXIT).exists():
                raise no_process("it ended at once")
            if time.monotonic() > until:
                raise no_process(f"nothing came of it for {LAUNCH_SECONDS:g} s")
            time.sleep(0.02)
    except BaseException:
        runner.terminate()  # it hands that on to a command that it may have started meanwhile
        try:
            runner.wait(LAUNCH_SECONDS)
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.wait()
        raise


def no_process(why: str | None) -> BusyError:
    """What to tell whoever wanted a job to be worked on."""
    return BusyError("jobs.no_process", why=why)


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

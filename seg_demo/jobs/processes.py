"""Whether a process still runs, by its id and the moment it began: ids are given out again, and a dead server forgets its own.

The files of a job's folder, and how they are written: whole or not at all.

How a job's processes are started: the one that watches (:mod:`seg_demo.jobs.runner`), which starts the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from seg_demo.core.errors import BusyError, StorageError
from seg_demo.core.requests import JOB_OWNER
from seg_demo.core.sandbox import public_environment
from seg_demo.core.storage import write_atomically

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
    words = [sys.executable, "-m", "seg_demo.jobs.runner", str(folder), *map(str, patience)]
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

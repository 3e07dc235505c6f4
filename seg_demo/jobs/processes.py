"""Whether a process still runs, by its id and the moment it began: ids are given out again, and a dead server forgets its own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def began(pid: int) -> str | None:
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


def identity(pid: int) -> dict[str, object]:
    """What is written down of a process, to know it again; JSON-able."""
    return {"pid": pid, "began": began(pid)}


def runs(known: object) -> bool:
    """Whether the process that :func:`identity` described still runs, and not another one of its id.

    Args:
        known: of :func:`identity`; anything else runs not.
    """
    if not isinstance(known, dict) or not isinstance(known.get("pid"), int) or not known.get("began"):
        return False
    return began(known["pid"]) == known["began"]


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


def send(known: object, number: int) -> bool:
    """Send a signal to a process if it still runs.

    Args:
        known: of :func:`identity`.
        number: of the signal.

    Returns:
        Whether it was sent.
    """
    if not runs(known):
        return False
    with suppress(ProcessLookupError):
        os.kill(known["pid"], number)
        return True
    return False

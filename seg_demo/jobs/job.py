"""One fine-tuning job: its folder, the processes that work on it, how far it is, how it ended. Nothing is kept in memory.

Whether a process still runs is told by its id and the moment it began: ids are given out again, and a dead server forgets its own. The files of
a job's folder are written whole or not at all. The verdict, whether the network became better, comes from per-image scores of base and new on the
same held-out images, else from what the log has from before the first step.

``python -m seg_demo.jobs.job FOLDER START STILL`` watches: it runs a job's command to an end and writes down how it ended. The server starts it in
a session of its own, so that it outlives the server. SIGTERM is handed on to the command, which saves and exits. A command that does not begin, or
that stands still, is ended, so that every job has an outcome. This file imports nothing heavy, for that.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg_demo.core import JOB_OWNER, BusyError, Message, StorageError, is_background, restored, write_atomically
from seg_demo.core.sandbox import public_environment

ROOT = Path(__file__).resolve().parents[2]
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


# States of a job. A draft has been checked, not started; an interrupted one lost its process to a crash or a power cut.
DRAFT, RUNNING, DONE, STOPPED = "draft", "running", "done", "stopped"
DIVERGED, REFUSED, FAILED, INTERRUPTED = "diverged", "refused", "failed", "interrupted"
# The exit codes of train/finetune.py; a signal's number is negative where it came before the command could catch it.
_ENDS = {0: DONE, 2: REFUSED, 3: DIVERGED, 130: STOPPED, 143: STOPPED, -2: STOPPED, -15: STOPPED}
# A line of the log that begins a record, and all of a trace but its last line.
_RECORD = re.compile(r"\S+Z (\w+) ")
_TRACE = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*", re.MULTILINE)
RESUMABLE = (STOPPED, INTERRUPTED, FAILED, DIVERGED)


@dataclass(frozen=True)
class Job:
    """A job; made by :class:`seg_demo.jobs.store.Jobs`.

    Attributes:
        folder: everything about it.
        id: name of the folder.
        about: ``name``, ``base``, ``owner``, ``created`` as written when it was made.
    """

    folder: Path
    id: str
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """What it is called on the page."""
        return str(self.about.get("name", self.id))

    @property
    def owner(self) -> str:
        """Whose it is, as in :mod:`seg_demo.core.requests`; empty for the jobs of earlier versions, which had none."""
        return str(self.about.get("owner") or "")

    @property
    def run(self) -> Path:
        """The run folder of the training command."""
        return self.folder / RUN

    @property
    def checkpoint(self) -> Path:
        """The best weights so far, a checkpoint folder."""
        return self.run / "best"

    @property
    def samples(self) -> Path | None:
        """A picture of the worst held-out images: of the finished run, else of its latest evaluation; None before."""
        places = [self.checkpoint] * (self.state() == DONE) + [self.run]
        return next((found for place in places if (found := place / "samples.png").is_file()), None)

    @property
    def readings(self) -> bytes | None:
        """A PNG of one sample in each of several equally likely readings of the masks, if the last check drew it."""
        try:
            return (self.folder / READINGS).read_bytes()
        except OSError:
            return None

    def state(self) -> str:
        """One of the states above, from what lies on the disk and which processes run."""
        ended = read_json(self.folder / EXIT)
        if isinstance(ended, dict):
            return _ENDS.get(ended.get("code"), FAILED)
        if not (self.folder / RUNNER).exists():
            return DRAFT
        alive = any(is_running(read_json(self.folder / name)) for name in (RUNNER, CHILD))
        return RUNNING if alive else INTERRUPTED

    def exit_code(self) -> int | None:
        """How the command ended; None while it runs, or if nobody saw it."""
        ended = read_json(self.folder / EXIT)
        return ended.get("code") if isinstance(ended, dict) else None

    def progress(self) -> dict[str, Any]:
        """How far the command is: ``stage``, ``step``, ``total``, ``loss``, ``seconds``; empty before it says anything."""
        found = read_json(self.folder / PROGRESS)
        return found if isinstance(found, dict) else {}

    def curves(self) -> list[dict[str, float]]:
        """The evaluations so far: one dict per line of ``metrics.jsonl``, finite numbers only."""
        try:
            lines = (self.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
        except (OSError, ValueError):
            return []
        return [{key: value for key, value in row.items() if _is_number(value)} for row in rows]

    def log(self, lines: int = 30) -> str:
        """The last lines of the run's log, or of the terminal where there is no log: why a run could not begin.

        Paths and traces of this machine are left out; the files have them.
        """
        log = tail(self.run / "log.txt", lines)
        if not log or self.exit_code() not in (None, 0, 143, 130):
            console = tail(self.folder / CONSOLE, lines)
            # What the log says is also written to the terminal.
            log = "\n".join([log, *(line for line in console.splitlines() if not line or line not in log)])
        return self.in_public(log).strip()

    def reason(self) -> Message:
        """Why it ended before it was done, in a sentence or two; empty if it said nothing, as what is killed does."""
        if (state := self.state()) not in (REFUSED, FAILED, DIVERGED):
            return Message.of("")
        if why := Message.from_dict(self.progress().get("error")):
            return why.changed(self.in_public)
        if state == REFUSED:
            said = tail(self.folder / CONSOLE).rpartition("Nothing was started:")[2]
            return Message.of(self.in_public(said).strip())
        if (ended := read_json(self.folder / EXIT)) and (why := Message.from_dict(ended.get("why"))):
            return why.changed(self.in_public)
        last = tail(self.run / "log.txt").splitlines()[::-1]
        for line in last:
            if (found := _RECORD.match(line)) is not None:
                return Message.of(self.in_public(line[found.end() :]).strip() if found[1] == "ERROR" else "")
        return Message.of("")

    def in_public(self, text: str) -> str:
        """What the command said, without where the job and this program lie, and of a trace its last line alone."""
        for place in (self.folder, ROOT):
            text = text.replace(f"{place}{os.sep}", "")
        return _TRACE.sub("", text).replace(str(self.folder), self.id)

    def result(self) -> dict[str, Any] | None:
        """What the command answered when it was done: ``metrics``, ``baseline``, ``pushed``; None before."""
        found = read_json(self.folder / RESULT)
        return restored(found, found.get("messages")) if isinstance(found, dict) else None

    def verdict(self) -> Verdict | None:
        """Whether it became better; None before it is done, and of a comparison."""
        result = self.result()
        return None if result is None or self.compares else judge(result, self.curves())

    @property
    def compares(self) -> bool:
        """Whether it trains no network but compares several."""
        return "comparing" in self.about

    def advice(self) -> dict[str, Any] | None:
        """What a comparison has found so far, as its ``advice.json`` says; None before it has begun, and of another job."""
        found = read_json(self.run / "advice.json") if self.compares else None
        return restored(found, found.get("messages")) if isinstance(found, dict) and found.get("rows") else None

    def check(self) -> dict[str, Any]:
        """What the dry run found: the plan, the ``diagnosis`` and the ``problems`` (None if it may start)."""
        found = read_json(self.folder / CHECK)
        return restored(found, found.get("messages")) if isinstance(found, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


RESAMPLES = 4000
# Fewer images than this have no interval to speak of: of two, the bootstrap's covers the mean half of the time. What is said then
# is the range of their differences, and "better" asks every one of them to have gained.
FEW = 6
# A difference below it is none: masks whose rims are moved by a pixel here and there differ by as much, and so do two trainings
# that differ by their seed alone.
MARGIN = 0.005
# The metric of one class, by the main metric.
_PER_CLASS = {"mean_iou": "iou/", "mask_ap": "mask_ap/", "pq": "pq/"}
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class ClassScore:
    """One class over all held-out images.

    Attributes:
        name: of the class.
        base: score in [0, 1] of the base; None if unknown.
        new: of the new network; None if unknown.
        background: whether it is the background, which no mean has in it.
    """

    name: str
    base: float | None
    new: float | None
    background: bool


@dataclass(frozen=True)
class Verdict:
    """What the held-out images say. The background counts only where there is no other class.

    Attributes:
        kind: ``better`` (the mean is at least :data:`MARGIN`, the whole spread is above 0), ``unclear`` (the mean is, the spread
            is not, or is not known), ``same`` (less than :data:`MARGIN` either way), ``worse`` (below that), or ``unknown`` (the
            base could not be measured).
        metric: name of the main metric.
        base: of the base, over all images and the classes but the background; None if unknown.
        new: of the new network.
        difference: mean over the images of new minus base; None if unknown.
        low: lower end of the spread of the difference: of its 95 % interval, or of fewer than :data:`FEW` images the least
            difference of them; None for fewer than two.
        high: upper end.
        images: how many were compared.
        why: why nothing could be compared, or None.
        classes: each class apart, the background last.
        logged: whether base and new are those of the log, before the first step and at the end, of all images together.
    """

    kind: str
    metric: str
    base: float | None
    new: float | None
    difference: float | None
    low: float | None
    high: float | None
    images: int
    why: str | None
    classes: tuple[ClassScore, ...] = ()
    logged: bool = False

    @property
    def offered(self) -> bool:
        """Whether the new network may be offered in the place of its base."""
        return self.kind not in ("worse", "same")

    @property
    def few(self) -> bool:
        """Whether the spread is a range of single images and no interval."""
        return self.images < FEW


def judge(result: dict[str, Any], evaluations: Sequence[Mapping[str, float]] = ()) -> Verdict:
    """The verdict on a finished run.

    Args:
        result: what ``python train/finetune.py --baseline --json`` printed.
        evaluations: those of the run, of its ``metrics.jsonl``; one of step 0 stands for the base where ``result`` has none.
    """
    baseline, metrics = result.get("baseline") or {}, result.get("metrics") or {}
    metric = baseline.get("metric") or next((name for name in _PER_CLASS if name in metrics), "mean_iou")
    before, after = baseline.get("base") or {}, baseline.get("new") or {}
    pairs = _pairs(baseline.get("images") or ())
    first = next((row for row in evaluations if row.get("step") == 0 and metric in row), None)
    logged = not pairs and first is not None and metric in metrics
    if logged:
        before, after = first, metrics
    classes = _classes(metric, before, after or metrics, baseline.get("background"))
    base, new = _headline(metric, before, classes, "base"), _headline(metric, after or metrics, classes, "new")
    if logged and base is not None and new is not None:
        # Of all images together nothing is known about the spread.
        kind = "same" if abs(new - base) < MARGIN else "worse" if new < base else "unclear"
        return Verdict(kind, metric, base, new, new - base, None, None, 0, None, classes, logged=True)
    if not pairs:
        why = baseline.get("why") or Message("verdicts.no_shared_class")
        return Verdict("unknown", metric, base, new, None, None, None, 0, why, classes)
    gains = np.array([new_score - base_score for base_score, new_score in pairs])
    difference = float(gains.mean())
    low, high = spread(gains)
    whole = difference if None in (base, new) else new - base
    if min(difference, whole) <= -MARGIN:
        # A loss over all pixels counts although single images gained.
        kind = "worse"
    elif difference < MARGIN:
        kind = "same"
    else:
        kind = "better" if low is not None and low > 0 else "unclear"
    return Verdict(kind, metric, base, new, difference, low, high, len(pairs), None, classes)


def _pairs(images: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """(base, new) of every image that has both, without the background where that is known."""
    found = []
    for row in images:
        pair = (row.get("base_things"), row.get("new_things"))
        pair = (row["base"], row["new"]) if None in pair else pair
        if None not in pair:
            found.append(pair)
    return found


def _classes(metric: str, before: Mapping[str, float], after: Mapping[str, float], background: str | None) -> tuple[ClassScore, ...]:
    """Every class that has a score, the background last."""
    prefix = _PER_CLASS.get(metric, "")
    names = list(dict.fromkeys(key[len(prefix) :] for row in (after, before) for key in row if prefix and key.startswith(prefix)))
    rows = [
        ClassScore(
            name, before.get(prefix + name), after.get(prefix + name),
            # Results of earlier versions do not say which class is the background.
            name == background or (background is None and is_background(name)),
        )
        for name in names
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda row: row.background))


def _headline(metric: str, scores: Mapping[str, float], classes: Sequence[ClassScore], side: str) -> float | None:
    """The mean over the classes but the background; the main metric as it is where single classes are not known."""
    values = [getattr(row, side) for row in classes if not row.background and getattr(row, side) is not None]
    return float(np.mean(values)) if values else scores.get(metric)


def spread(gains: np.ndarray) -> tuple[float | None, float | None]:
    """How far the differences of single images let the mean be trusted.

    Args:
        gains: float (N,), new minus base per image.

    Returns:
        Lower and upper end: of the 95 % interval of the mean, or of fewer than :data:`FEW` images of the differences
        themselves; None, None for a single one.
    """
    if len(gains) < 2:
        return None, None
    return (float(gains.min()), float(gains.max())) if len(gains) < FEW else interval(gains)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """The percentile bootstrap interval of a mean (Efron 1979); the same values always give the same interval.

    Args:
        values: float (N,).
        level: share of the resampled means that lie within.

    Returns:
        Lower and upper end; None, None for fewer than two values, which say nothing about their spread.
    """
    count = len(values)
    if count < 2:
        return None, None
    rng = np.random.default_rng(0)
    rows = max(1, _AT_ONCE // count)
    means = []
    for first in range(0, RESAMPLES, rows):
        chosen = rng.integers(0, count, (min(rows, RESAMPLES - first), count))
        means.append(values[chosen].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
    words = [sys.executable, "-m", "seg_demo.jobs.job", str(folder), *map(str, patience)]
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
_FAULT = 1
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
        code, why = _FAULT, Message("jobs.could_not_run", why=reason)
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
    return (_FAULT, fault) if fault else (code, _last_words(code, watch.begun))


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
    if code == _FAULT and not begun:
        return Message("jobs.ended_before_it_began")
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))

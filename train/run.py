"""A run on the disk: its folder, lock, resume state and history; how far it is, how long it will take, and what stops it."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import socket
import statistics
import sys
import time
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from filelock import FileLock, Timeout

from seg_demo import __version__
from seg_demo.core import DISK, Disk, Message, SegDemoError, lines, save_file, storage_errors, write_atomically
from train.config import Config, ConfigError, check, data_for, load_config

LAST = Path("last") / "state.pt"
BEST = Path("best")
# Of a run that is watched: the worst samples of its latest evaluation.
SAMPLES = "samples.png"
# What a run leaves that was killed before it had written what it is; a new run may begin there.
UNBORN = {".lock", "log.txt", ".config.json.new"}
# What may differ between a run and its resumption without changing the result.
OPERATIONAL = {"resume", "minutes", "push", "private", "onnx", "device", "workers", "threads", "json", "dry_run", "save_every", "report_to", "progress_file"}


def new_folder(config: Config, data_name: str) -> Path:
    """Make the folder of a new run: ``--output``, or the first free ``runs/<network>-<data>-<number>``.

    Raises:
        StorageError: it cannot be made.
    """
    if config.output:
        folder = Path(config.output)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{Path(config.model).name}-{data_name}").strip("-.") or "run"
    number = 1
    while True:
        folder = Path("runs") / f"{name}-{number}"
        with storage_errors(folder):
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:  # perhaps made this moment by a run that was started beside this one
                number += 1


def check_new(folder: Path) -> None:
    """Refuse a folder for a new run that holds another run, or anything else.

    Raises:
        ConfigError: with what to do instead.
    """
    if (folder / "config.json").exists():
        raise ConfigError("runs.holds_a_run", folder=folder)
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - UNBORN):
        raise ConfigError("runs.not_empty", folder=folder)


def resumed(config: Config, given: frozenset[str]) -> Config:
    """The configuration of a run that continues: what its folder says, with what this command line may change.

    Args:
        config: of this command line, with ``resume`` set.
        given: names of the fields that the command line or its file set.

    Raises:
        ConfigError: the folder holds no run, or a flag would change the run's result.
    """
    folder = Path(config.resume)
    if not (folder / "config.json").is_file():
        raise ConfigError("runs.no_run", folder=folder)
    before = load_config(folder / "config.json")
    changed = [
        Message(
            "runs.keeps_its_settings", flag="--" + name.replace("_", "-"), value=repr(getattr(config, name)), folder=folder,
            before=repr(getattr(before, name)),
        )
        for name in sorted(given - OPERATIONAL)
        if getattr(config, name) != getattr(before, name)
    ]
    if changed:
        raise ConfigError(lines(*changed))
    values = before.to_dict() | {name: getattr(config, name) for name in given & OPERATIONAL}
    now = Config(**{**values, "resume": config.resume, "dry_run": config.dry_run, "json": config.json, "output": None})
    if problems := check(now):
        raise ConfigError(lines(*problems))
    return now


@dataclass(frozen=True)
class PreviousRun:
    """How far a run has come that is resumed.

    Attributes:
        facts: ``config.json``: what the run was made from.
        state: its last state, or None if it was killed before the first.
    """

    facts: dict[str, Any]
    state: dict[str, Any] | None

    @property
    def finished(self) -> bool:
        """Whether it has been trained to its end."""
        return self.state is not None and self.state["history"]["finished"]


def previous_run(folder: Path) -> PreviousRun:
    """Read how far the run in a folder has come.

    Raises:
        BadStateError: its state is damaged.
        ConfigError: its ``config.json`` cannot be read.
    """
    from train.run import load_state

    try:
        facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError("runs.unreadable", file=folder / "config.json", why=type(error).__name__) from error
    return PreviousRun(facts, load_state(folder / LAST) if (folder / LAST).exists() else None)


def write_config(folder: Path, config: Config, facts: dict[str, Any]) -> None:
    """``config.json``: the configuration, the command, and what the run was made from.

    Args:
        folder: of the run.
        config: of the run.
        facts: JSON-able: data, classes, split, network.
    """
    content = {"seg_demo": __version__, "command": command_of(config), "config": config.to_dict(), **facts}
    save_file(folder / "config.json", (json.dumps(content, indent=2) + "\n").encode())


def command_of(config: Config) -> str:
    """The command line that repeats a run: every setting that is not the default, but for where it runs and pushes to."""
    import shlex

    default = Config(data=data_for(config.model))
    words = ["python", "train/finetune.py"]
    for name, value in config.to_dict().items():
        if name in OPERATIONAL - {"threads", "minutes"} or name == "output" or value == getattr(default, name):
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(shlex.quote(str(value)))
    return " ".join(words)


def write_metrics(folder: Path, history: History) -> None:
    """``metrics.jsonl``: one line per evaluation, the whole file replaced, so that a resumed run never doubles a line."""
    text = "".join(json.dumps(line) + "\n" for line in history.lines)
    save_file(folder / "metrics.jsonl", text.encode())


def log_to(folder: Path | None, quiet: bool, only: str | None = None) -> logging.Logger:
    """The run's log: sentences on stderr (unless ``quiet``) and, with times, in ``log.txt``.

    Args:
        folder: of the run; None logs to the terminal only.
        quiet: nothing on the terminal but warnings.
        only: name of the logger whose records the terminal shows; None shows all.
    """
    log = logging.getLogger("train")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.WARNING if quiet else logging.INFO)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    terminal.addFilter(logging.Filter(only or ""))
    log.addHandler(terminal)
    if folder is not None:
        file = logging.FileHandler(folder / "log.txt", encoding="utf-8")
        formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        file.setFormatter(formatter)
        log.addHandler(file)
    return log


class RunInUseError(SegDemoError):
    """Another live process works in the run folder."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Within it no other run may work in a folder: its ``.lock`` is held, which the system drops when the process ends, even by
    SIGKILL. What the file says (pid, host, start) is only for the message.

    Args:
        folder: of the run; created if it is missing.

    Raises:
        RunInUseError: a live process holds it.
        StorageError: the folder cannot be written.
    """
    path = folder.resolve() / ".lock"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunInUseError(_in_use(path)) from None
    try:
        me = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        with suppress(OSError):  # a full disk is no reason to give up the lock, only its message is poorer
            path.write_text(json.dumps(me), encoding="utf-8")
        yield
    finally:
        # Before it is given back: who opened the file meanwhile finds that it has no name any more, and makes a new one.
        with suppress(OSError):  # Windows removes it after the release
            path.unlink(missing_ok=True)
        lock.release()


def _in_use(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        who = Message("runs.process_since", pid=str(holder["pid"]), host=holder["host"], started=holder["started"])
    except (OSError, ValueError, KeyError, TypeError):  # the holder is just writing it
        who = Message("runs.another_process")
    return Message("runs.in_use", folder=path.parent, who=who)


# What ``torch.load(weights_only=True)`` reads back. A numpy float is a Python float to isinstance, but not to it.
PLAIN = (type(None), bool, int, float, str, bytes)


class BadStateError(SegDemoError):
    """A resume state is missing, incomplete or damaged."""


def save_state(path: Path, state: dict[str, Any], *, disk: Disk = DISK) -> None:
    """Replace the resume state by a new one; a reader finds the old or the new one, whole, at every moment.

    Args:
        path: the file, ``last/state.pt`` of a run folder.
        state: dicts, lists and tuples of tensors, numbers and text (state dicts of module, optimizer and average, random
            states, position, history).
        disk: the steps of the write.

    Raises:
        TypeError: the state holds something that could not be read back safely (our own mistake).
        StorageError: the disk is full or fails; the old state is untouched.
    """
    import torch

    _check_plain(state, "state")
    save_file(path, lambda stream: torch.save(state, stream), disk=disk)


def load_state(path: Path) -> dict[str, Any]:
    """Read a resume state; no code in it is run.

    Args:
        path: the file.

    Returns:
        What :func:`save_state` got, tensors on the CPU.

    Raises:
        BadStateError: there is none, or it is incomplete or damaged.
        StorageError: the disk fails.
    """
    if not path.is_file():
        raise BadStateError("runs.nothing_to_resume", path=path)
    import torch

    with storage_errors(path):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            state = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # damage surfaces as whatever the first reader to meet it raises
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadStateError(_damaged(path, reason)) from error
    if damaged:
        raise BadStateError(_damaged(path, Message("runs.record_damaged", record=damaged)))
    return state


def _damaged(path: Path, reason: str) -> Message:
    return Message("runs.damaged", path=path, size=path.stat().st_size, why=reason, best=path.parent.parent / "best")


def _check_plain(value: Any, where: str) -> None:
    import torch

    if type(value) in PLAIN or isinstance(value, torch.Tensor):
        return
    if type(value) in (dict, OrderedDict):
        for key, part in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(part, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, part in enumerate(value):
            _check_plain(part, f"{where}[{index}]")
    else:
        raise TypeError(f"{where} is a {type(value).__module__}.{type(value).__name__}, which cannot be read back safely.")


class Diverged(Exception):
    """The loss, its gradient or the network's answer is no longer a number; the message names the step and the samples."""


@dataclass
class History:
    """What a run has learnt about itself so far; saved with the weights.

    Attributes:
        step: optimizer steps done.
        best: best score so far, or None.
        stale: evaluations since the best.
        lines: one dict per evaluation, as in ``metrics.jsonl``.
        finished: the loop ran to its end.
        evaluated: step of the last evaluation; a run that was killed during one repeats it.
        loss_sum: sum of the losses of the steps since then.
        loss_steps: number of those steps.
        seconds: time spent in the loop.
    """

    step: int = 0
    best: float | None = None
    stale: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False
    evaluated: int | None = None
    loss_sum: float = 0.0
    loss_steps: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.evaluated is None:
            self.evaluated = self.lines[-1]["step"] if self.lines else 0

    def sentence(self, score: str) -> str:
        """The last evaluation, for the log.

        >>> History(lines=[{"step": 8, "loss": 0.25, "mean_iou": 0.5, "seconds": 61.2}]).sentence("mean_iou")
        'step 8  loss 0.2500  mean_iou 0.5000 (best)  61 s'

        Args:
            score: name of the metric that decides.
        """
        line = self.lines[-1]
        found = f"{score} {line.get(score, math.nan):.4f}"
        if not line["step"]:
            return f"before the first step: {found}"
        return f"step {line['step']}  loss {line['loss']:.4f}  {found}{'' if self.stale or score not in line else ' (best)'}  {line['seconds']:.0f} s"

    def due(self, every: int, total: int) -> bool:
        """Whether the present weights are to be evaluated before the next step.

        >>> [History(step=step, evaluated=4).due(4, 10) for step in (4, 6, 8, 10)]
        [False, False, True, True]

        Args:
            every: steps between evaluations.
            total: steps of the run.
        """
        return self.step != self.evaluated and (self.step % every == 0 or self.step == total)


PAUSE = 1.0


class ProgressFile:
    """``{"stage", "step", "total", "loss", "seconds", "left"}`` in a file, and ``error``, a message, where it ended before its end; a
    failing disk never stops a run.

    Args:
        path: the file; None writes nothing.
    """

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self._last = -PAUSE
        self._began = time.monotonic()

    def __call__(self, stage: str, step: int = 0, total: int = 0, loss: float | None = None, left: float | None = None) -> None:
        """Say how far the run is.

        Args:
            stage: ``prepare``, ``fit``, ``evaluate``, ``publish`` or ``advise``; a new stage is written at once.
            step: optimizer steps done; of ``advise`` seconds.
            total: of how many.
            loss: of the last step.
            left: seconds that the run will still take, as far as its own pace tells; None before it does.
        """
        now = time.monotonic()
        if self._path is None or (stage in ("fit", "advise") and 0 < step < total and now - self._last < PAUSE):
            return
        self._last = now
        seconds, rest = round(now - self._began, 1), None if left is None else round(left, 1)
        content = {"stage": stage, "step": step, "total": total, "loss": loss, "seconds": seconds, "left": rest}
        with suppress(OSError):
            write_atomically(self._path, json.dumps(content))


    def ended(self, reason: Message) -> None:
        """Say why the run ended before its end, beside how far it was.

        Args:
            reason: for whoever watches.
        """
        if self._path is None:
            return
        with suppress(OSError, ValueError):
            before = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
            write_atomically(self._path, json.dumps({**before, "error": reason.to_dict()}))


# Steps that are measured before anything is said. The one before them does not count: it sets up kernels and workers.
LEAST = 4
RECENT = 100


class Pace:
    """Steps and evaluations as they are timed, and what that says about the rest of a run.

    Args:
        total: steps of the run.
        every: steps between evaluations.
        closing: evaluations that follow the last step's own.
        clock: seconds that only grow.
    """

    def __init__(self, total: int, every: int, closing: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.every, self.closing = total, every, closing
        self._clock = clock
        self._steps: deque[float] = deque(maxlen=RECENT)
        self._evaluation: float | None = None
        self._paused = 0.0
        self._last: float | None = None
        self.known = False

    def stepped(self) -> bool:
        """A step is done. True once: when enough steps have been measured to say how long the run will take."""
        now = self._clock()
        if self._last is not None:
            # What was saved in between is part of what steps take; the mean spreads it over them.
            self._steps.append(max(0.0, now - self._last - self._paused))
        self._last, self._paused = now, 0.0
        first = not self.known and len(self._steps) == LEAST
        self.known = self.known or first
        return first

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Around an evaluation, which takes no part in what steps take."""
        began = self._clock()
        try:
            yield
        finally:
            self._evaluation = self._clock() - began
            self._paused += self._evaluation

    def left(self, step: int) -> float | None:
        """Seconds from after a step to the end of the run, its closing evaluations included; None if too little is known.

        Args:
            step: steps done.
        """
        if not self.known:
            return None
        steps = sum(self._steps) / len(self._steps) * (self.total - step)
        return steps + (self._evaluation or 0.0) * (self._evaluations(step) + self.closing)

    @property
    def step_seconds(self) -> float | None:
        """What a step takes: the middle one of the last, so that a save or a busy moment does not count; None if too little is known."""
        return statistics.median(self._steps) if self._steps else None

    def whole(self, step: int) -> float | None:
        """As :meth:`left`, for all steps of the run at the present pace, done or not."""
        rest = self.left(step)
        if rest is None:
            return None
        done = sum(self._steps) / len(self._steps) * step
        return rest + done + (self._evaluation or 0.0) * (self._evaluations(0) - self._evaluations(step))

    def sentence(self, step: int) -> str:
        """How long the whole run takes, for the log; for when :meth:`stepped` says so.

        Args:
            step: steps done.
        """
        counted = "evaluations included" if self._evaluation is not None else "evaluations not counted yet"
        return f"On this machine {in_words(self.whole(step))} for {self.total} steps, {counted}."

    def rest(self, step: int) -> str:
        """What is left, to follow the line of an evaluation; empty where nothing is, or too little is known.

        Args:
            step: steps done.
        """
        left = self.left(step) if step < self.total else None
        return "" if left is None else f"  ({in_words(left)} left)"

    def _evaluations(self, step: int) -> int:
        """Evaluations that are still to come after a step: at every multiple, and at the end; its own too, if it has one that has
        not been made yet."""
        last = step >= self.total
        after = 0 if last else self.total // self.every - step // self.every + (self.total % self.every > 0)
        return after + (step > 0 and not self._paused and (last or step % self.every == 0))


def in_words(seconds: float) -> str:
    """A duration as people say it, rounded so that it promises no more than is known.

    >>> [in_words(each) for each in (20, 61, 601, 3 * 3600 + 1700)]
    ['less than a minute', 'about 2 minutes', 'about 11 minutes', 'about 3.5 hours']

    Args:
        seconds: how long.
    """
    if seconds < 60:
        return "less than a minute"
    if seconds <= 90 * 60:
        return f"about {-(-int(seconds) // 60)} minutes"
    return f"about {seconds / 3600:.1f} hours"


class Stopped(BaseException):
    """A signal stopped the run. Not an Exception: nothing between the signal and the command may take it for a failure."""

    def __init__(self, number: int | None) -> None:
        """
        Args:
            number: of the signal; None if another process of the run received it.
        """
        super().__init__(f"stopped by signal {number}")
        self.exit_code = 128 + (number or signal.SIGTERM)


class Stopper:
    """Takes SIGINT and SIGTERM while it is entered.

    Within :meth:`deferred` the first signal is only remembered. Everywhere else, and at the second signal, :class:`Stopped`
    is raised where the program stands; whatever is being written then is written atomically.

    Attributes:
        signals: numbers of those that it takes.
        signal: number of the signal that came, or None.
    """

    signals: ClassVar[tuple[int, ...]] = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: int | None = None
        self._deferring = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stopper:
        for number in self.signals:
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self, on: bool = True) -> Iterator[None]:
        """Within this block the first signal waits until it is asked for.

        Args:
            on: False undoes an outer block for a while: a signal acts at once, also one that has been waiting.
        """
        before, self._deferring = self._deferring, on
        try:
            if not on:
                self.check()
            yield
        finally:
            self._deferring = before

    def check(self) -> None:
        """Act on a signal that has been waiting.

        Raises:
            Stopped: one has.
        """
        if self.signal is not None:
            raise Stopped(self.signal)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        first, self.signal = self.signal is None, number
        if not (first and self._deferring):
            raise Stopped(number)

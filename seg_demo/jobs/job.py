"""One fine-tuning job as its folder says: what it is, how far it is, how it ended. Nothing is kept in memory.

The verdict, whether the network became better, comes from per-image scores of base and new on the same held-out images, else from
what the log has from before the first step.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg_demo.core import Message, is_background, restored
from seg_demo.jobs import processes
from seg_demo.jobs.processes import ROOT

# States of a job. A draft has been checked, not started; an interrupted one lost its process to a crash or a power cut.
DRAFT, RUNNING, DONE, STOPPED, DIVERGED, REFUSED, FAILED, INTERRUPTED = (
    "draft", "running", "done", "stopped", "diverged", "refused", "failed", "interrupted",
)  # fmt: skip
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
        return self.folder / processes.RUN

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
            return (self.folder / processes.READINGS).read_bytes()
        except OSError:
            return None

    def state(self) -> str:
        """One of the states above, from what lies on the disk and which processes run."""
        ended = processes.read_json(self.folder / processes.EXIT)
        if isinstance(ended, dict):
            return _ENDS.get(ended.get("code"), FAILED)
        if not (self.folder / processes.RUNNER).exists():
            return DRAFT
        alive = any(processes.is_running(processes.read_json(self.folder / name)) for name in (processes.RUNNER, processes.CHILD))
        return RUNNING if alive else INTERRUPTED

    def exit_code(self) -> int | None:
        """How the command ended; None while it runs, or if nobody saw it."""
        ended = processes.read_json(self.folder / processes.EXIT)
        return ended.get("code") if isinstance(ended, dict) else None

    def progress(self) -> dict[str, Any]:
        """How far the command is: ``stage``, ``step``, ``total``, ``loss``, ``seconds``; empty before it says anything."""
        found = processes.read_json(self.folder / processes.PROGRESS)
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
        log = processes.tail(self.run / "log.txt", lines)
        if not log or self.exit_code() not in (None, 0, 143, 130):
            console = processes.tail(self.folder / processes.CONSOLE, lines)
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
            said = processes.tail(self.folder / processes.CONSOLE).rpartition("Nothing was started:")[2]
            return Message.of(self.in_public(said).strip())
        if (ended := processes.read_json(self.folder / processes.EXIT)) and (why := Message.from_dict(ended.get("why"))):
            return why.changed(self.in_public)
        last = processes.tail(self.run / "log.txt").splitlines()[::-1]
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
        found = processes.read_json(self.folder / processes.RESULT)
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
        found = processes.read_json(self.run / "advice.json") if self.compares else None
        return restored(found, found.get("messages")) if isinstance(found, dict) and found.get("rows") else None

    def check(self) -> dict[str, Any]:
        """What the dry run found: the plan, the ``diagnosis`` and the ``problems`` (None if it may start)."""
        found = processes.read_json(self.folder / processes.CHECK)
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

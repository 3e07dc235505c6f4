"""Which network for a person's data: candidates, cross-validated on the person's own pictures within a box of time.

Pictures are divided into a few parts (folds), and each candidate is trained once for each part, on the others, by the training loop
itself. All are trained for the same time; then the worse half is stopped, and the others go on for twice as long, until two are left
that have nearly all the time: successive halving (Jamieson and Talwalkar 2016, as in Hyperband, Li et al. 2018). A training goes on
where it was: its learning rate stays constant and the averaged weights are measured, which comes close to a rate that decays (Hägele et
al. 2024).

What was measured is in ``advice.json`` at every moment, so that a comparison that was stopped goes on where it was.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import shlex
import shutil
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from accelerate.utils import set_seed

from seg_demo.annotations.dataset import Dataset
from seg_demo.core import Message, SegDemoError, StorageError, save_file
from seg_demo.inference.engine import free_memory, out_of_memory
from train import run as runs
from train.candidates import BEHIND, FAILED, LEFT_OUT, RACING, WAITING, Advice, Candidate, candidates, command_for, halved, refuse_what_none_looks_at, training_seconds
from train.config import Config, ConfigError
from train.data import folds
from train.evaluate import LINES, HeldOut, write_figure
from train.run import Diverged, PreviousRun, ProgressFile, Stopped, Stopper, in_words
from train.setup import Data, NotPrepared, Prepared, accelerator_of, begin, crop_side, prepare, read_data, steps_of, with_channels
from train.trainer import Trainer

if TYPE_CHECKING:
    from seg_demo.annotations.channels import Channels
    from seg_demo.annotations.listing import Item, Sample
    from train.base_model import Start

log = logging.getLogger("train.advise")

FILE, TABLE, PICTURE, TRAININGS = "advice.json", "advice.md", "advice.png", "trainings"
MINUTES = 20.0
# In few minutes, and of few pictures, there are two.
FOLDS, FEW_MINUTES = 3, 3.0
# Of pictures, for each minute: what is decoded, trained on and measured again and again has to fit.
PIXELS_PER_MINUTE = 8e6
# Steps in which it is found out how long one takes, and the share of the time that all of that may take, and one candidate, the
# first two more: without them nothing can be compared.
TRIED_STEPS, TRYING, TRYING_ONE, TRYING_FIRST = 6, 0.3, 0.1, 0.3
# Share of the time that is planned: a training that is cut off by the end has not been measured.
PLANNED = 0.93
# A first training that is shorter tells nothing.
LEAST_SECONDS, LEAST_STEPS = 2.0, 8
# Columns of the table that are aligned to the right.
NUMBERS = (0, 3, 4, 6)
# A larger crop shows more around each pixel; it is compared where pictures are as large.
LARGER = 1.5


@dataclass(frozen=True)
class Decoded(Dataset):
    """A dataset whose pictures are decoded once for all trainings, as far as memory allows.

    Attributes:
        samples: that have been, by the items' names and the channels that a network takes.
        budget: bytes of pixels that may stay.
    """

    samples: dict[tuple[str, Channels | None], Sample] = field(default_factory=dict, compare=False, repr=False)
    budget: float = 0.0

    @classmethod
    def of(cls, dataset: Dataset) -> Decoded:
        """The same data."""
        return cls(**{one.name: getattr(dataset, one.name) for one in fields(dataset)}, budget=(free_memory() or 2**31) / 4)

    def read(self, item: Item) -> Sample:
        """As :meth:`seg_demo.annotations.dataset.Dataset.read`."""
        key = item.name, self.channels
        if (known := self.samples.get(key)) is not None:
            return known
        sample = super().read(item)
        if item.rendered is None and sum(map(_bytes, list(self.samples.values()))) < self.budget:
            self.samples[key] = sample
        return sample


def _bytes(sample: Sample) -> int:
    """About what a decoded sample takes, its truth counted as its image."""
    return sample.image.nbytes * 2 + (0 if sample.values is None else sample.values.nbytes)


class TooLong(Exception):
    """Something took longer than it was given within a :class:`TimeBox`."""


# Windows has no such timer; there the first moment counts at which Python itself is at work.
ALARM = getattr(signal, "SIGALRM", None)
# Seconds after which a time rings that has passed already.
SOON = 0.01


class TimeBox(Stopper):
    """A :class:`Stopper` that also stops by itself when a time has passed.

    Attributes:
        end: when, by :func:`time.monotonic`.
        late: the time has passed, and is why it stopped.
    """

    signals: ClassVar[tuple[int, ...]] = tuple(number for number in (*Stopper.signals, ALARM) if number is not None)

    def __init__(self, end: float) -> None:
        """
        Args:
            end: by :func:`time.monotonic`.
        """
        super().__init__()
        self.end, self.late = end, False
        # Whether a signal was swallowed and comes again.
        self._lost = False
        self._timer: threading.Timer | None = None
        self._former: tuple[float, float] = (0.0, 0.0)
        self._hook: Callable[..., None] = sys.unraisablehook

    @property
    def left(self) -> float:
        """Seconds to the end; 0 after it."""
        return max(0.0, self.end - time.monotonic())

    def __enter__(self) -> TimeBox:
        super().__enter__()
        self._hook, sys.unraisablehook = sys.unraisablehook, self._again
        self._former = self._set(max(self.left, SOON))
        return self

    def __exit__(self, *exception: object) -> None:
        sys.unraisablehook = self._hook
        self._set(0.0 if not any(self._former) else self._former[0])
        super().__exit__(*exception)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """A smaller box in this one.

        Args:
            seconds: that the block may take.

        Raises:
            TooLong: it took longer, and was stopped where it stood.
            Stopped: a signal came, or the whole time has passed.
        """
        self._set(max(min(seconds, self.left), SOON))
        try:
            yield
        except Stopped:
            if not self.late or not self.left:
                raise
            self.signal, self.late = None, False
            raise TooLong from None
        finally:
            if not self.late:
                self._set(max(self.left, SOON))

    def close(self) -> None:
        """What is left to do is short and comes after the time: nothing but a person's signal stops it any more."""
        self._set(0.0)
        if self.late:
            self.signal = None

    def _set(self, seconds: float) -> tuple[float, float]:
        """Let the alarm ring after some seconds; 0 never."""
        if ALARM is not None:
            return signal.setitimer(signal.ITIMER_REAL, seconds)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._ring) if seconds else None
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        return 0.0, 0.0

    def _ring(self) -> None:
        self.late = True
        signal.raise_signal(signal.SIGTERM)

    def _again(self, lost: sys.UnraisableHookArgs) -> None:
        """Python swallows what is raised in a finalizer, and a signal may come in one: then it comes again."""
        if isinstance(lost.exc_value, Stopped):
            self._lost = True
            self._set(SOON)
        else:
            self._hook(lost)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == ALARM and self.signal not in (None, ALARM):
            if not self._lost:
                return  # a person's came first, and what was measured is being saved
            number = self.signal
        self._lost = False
        self.late = self.late or number == ALARM
        super()._receive(number, frame)


class Comparison:
    """Candidates in training, in a run folder that is locked.

    Attributes:
        advice: what has been found so far.
    """

    def __init__(
        self, config: Config, data: Data, parts: Sequence[tuple[Item, ...]], folder: Path, box: TimeBox, advice: Advice, spent: float
    ) -> None:
        """
        Args:
            config: of the comparison.
            data: looked at once.
            parts: the folds.
            folder: of the run.
            box: the time.
            advice: with its candidates; of a comparison that is resumed, with what it has found.
            spent: seconds before now that count.
        """
        self.config, self.parts, self.folder, self.box, self.advice = config, parts, folder, box, advice
        self.data = replace(data, dataset=Decoded.of(data.dataset))
        self._spent, self._began = spent, time.monotonic()
        self._templates: dict[int, Prepared] = {}
        self._held_out: dict[tuple[int, str, Channels | None], HeldOut] = {}
        self._progress = ProgressFile(config.progress_file)

    @property
    def spent(self) -> float:
        """Seconds that the comparison has taken, those before it was resumed included."""
        return self._spent + time.monotonic() - self._began

    def run(self) -> None:
        """Compare until the time has passed, or the last rung has ended.

        Raises:
            Stopped: by a signal; what was measured is written.
            StorageError: the disk is full or fails.
        """
        try:
            self._save()
            advice = self.advice
            about = {"count": len(advice.candidates), "data": advice.data, "pictures": advice.pictures, "folds": advice.folds, "minutes": advice.minutes}
            log.info("%s", Message("candidates.begun", **about))
            self._try_all()
            self._race()
        except Stopped:
            if not self.box.late:
                self._save()
                log.warning("%s", Message("candidates.stopped", command=resumption(self.folder)))
                raise
            log.info("%s", Message("candidates.time_is_up"))
        self.box.close()
        if ranked := self.advice.standing():
            for known in self.advice.racing():
                if known not in ranked:
                    known.state, known.why = LEFT_OUT, Message("candidates.no_time")
        self.advice.done = bool(ranked)
        self._save()
        if self.advice.done:
            shutil.rmtree(self.folder / TRAININGS, ignore_errors=True)

    def _try_all(self) -> None:
        """Find out how fast each candidate is, by its first steps on the first fold; they are not lost."""
        advice = self.advice
        whole = self.spent + self.box.left
        while waiting := sorted((known for known in advice.candidates if known.state == WAITING), key=lambda known: known.order):
            candidate, first = waiting[0], len(advice.racing()) < 2
            if not first and self.spent > TRYING * whole:
                self._leave_out(candidate, Message("candidates.no_time_to_try"))
                continue
            limit = (TRYING_FIRST if first else TRYING_ONE) * whole
            try:
                with self.box.within(limit):
                    tried = self._attempt(candidate, 0, TRIED_STEPS, None)
            except TooLong:
                self._leave_out(candidate, Message("candidates.too_slow", seconds=limit))
                continue
            if tried:
                candidate.state = RACING
                log.info("%s", Message("candidates.tried", name=candidate.name, pace=candidate.pace, left=in_words(self.box.left)))
                self._add_larger_crop(candidate)
            self._save()

    def _add_larger_crop(self, candidate: Candidate) -> None:
        """The same network with larger crops, where that is anything else for these pictures."""
        if candidate.image_size or self.config.image_size or not candidate.pretrained:
            return
        prepared = self._templates[self._index(candidate)]
        larger = round(candidate.crop * LARGER / 32) * 32
        sides = sorted(min(scan.width, scan.height) for scan in self.data.dataset.scans.values())
        if not sides or sides[len(sides) // 2] < larger:
            return
        try:
            side = crop_side(replace(prepared.config, image_size=larger), self._start(candidate))
        except SegDemoError:
            return
        if side > candidate.crop:
            self.advice.candidates.append(Candidate(candidate.model, side, (1, candidate.order[1])))

    def _race(self) -> None:
        """Rung after rung: all that are left train for the same time on each fold, then the worse half is stopped."""
        advice = self.advice
        if not advice.sizes:
            self._admit()
        while advice.rung < len(advice.sizes) and (alive := advice.racing()):
            if len(advice.targets) <= advice.rung:
                sizes = [len(alive), *advice.sizes[advice.rung + 1 :]]
                overhead = statistics.fmean(known.overhead for known in alive)
                before = advice.targets[-1] if advice.targets else 0.0
                target = training_seconds(PLANNED * self.box.left, sizes, advice.folds, overhead, before)
                advice.targets.append(max(target, before + LEAST_SECONDS))
                about = {"rung": advice.rung + 1, "rungs": len(advice.sizes), "count": len(alive), "seconds": advice.targets[-1]}
                log.info("%s", Message("candidates.rung", **about, left=in_words(self.box.left)))
            # The fast ones first; and in the first rung one after the other on all folds, so that where its time does not suffice for a slow
            # one, the others have been compared.
            alive.sort(key=lambda known: (known.overhead + LEAST_STEPS * known.pace, known.order))
            turns = [(candidate, fold) for candidate in alive for fold in range(advice.folds)]
            if advice.rung:
                turns.sort(key=lambda turn: turn[1])
            for candidate, fold in turns:
                if candidate.state == RACING and candidate.score(advice.rung, fold) is None:
                    steps = max(1, round(advice.targets[advice.rung] / max(candidate.pace, 1e-6)))
                    self._attempt(candidate, fold, steps, advice.rung)
                    self._save()
            if not (ranked := advice.standing()):
                return
            if advice.rung + 1 < len(advice.sizes):
                for candidate in ranked[advice.sizes[advice.rung + 1] :]:
                    candidate.state = BEHIND
                    self._forget(candidate)
            advice.rung += 1
            self._save()

    def _admit(self) -> None:
        """How many candidates the time is enough for; the others are left out, the least promising first."""
        advice = self.advice
        racing = sorted(advice.racing(), key=lambda known: known.order)
        seconds = 0.0
        while len(racing) > 1:
            overhead = statistics.fmean(known.overhead for known in racing)
            seconds = training_seconds(self.box.left, halved(len(racing)), advice.folds, overhead, 0.0)
            slow = [known for known in racing if known.pace * LEAST_STEPS > seconds]
            if seconds >= LEAST_SECONDS and not slow or len(racing) == 2:
                break
            # What is too slow goes before what is unlikely; the two that come first are compared whatever the time.
            last = max(slow, key=lambda known: known.pace) if slow and seconds >= LEAST_SECONDS else racing[-1]
            racing.remove(last)
            self._leave_out(last, Message("candidates.no_time"))
        advice.sizes = halved(max(1, len(racing)))
        self._save()

    def _attempt(self, candidate: Candidate, fold: int, steps: int, rung: int | None) -> bool:
        """Train a candidate on a fold; False, and it is out, if that cannot be done."""
        try:
            self._train(candidate, fold, steps, rung)
        except StorageError:
            raise
        except Diverged as error:
            self._leave_out(candidate, error.args[0], FAILED)
        except SegDemoError as error:
            self._leave_out(candidate, error.message, FAILED)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self._leave_out(candidate, Message("candidates.memory_ran_out"), FAILED)
        return candidate.state not in (LEFT_OUT, FAILED)

    def _train(self, candidate: Candidate, fold: int, steps: int, rung: int | None) -> None:
        """Train a candidate on all folds but one until it has made ``steps``, and measure it on that one."""
        began = time.monotonic()
        place = self.folder / TRAININGS / str(self._index(candidate)) / str(fold)
        try:
            prepared, state = self._prepared(candidate, fold, steps, place)
            history = runs.History(**state["history"]) if state else None
            before = history.step if history else 0
            if history is None or history.evaluated != prepared.total:
                set_seed(self.config.seed)
                trainer = Trainer(prepared, accelerator_of(prepared, None), place, self._measured_on(fold, prepared), self._report, state)
                history = trainer.fit(self.box)
                if (pace := trainer.pace.step_seconds) is not None:
                    candidate.paces.append(pace)
                    candidate.overheads.append(max(0.0, time.monotonic() - began - pace * (history.step - before)))
        finally:
            candidate.seconds += time.monotonic() - began
            gc.collect()  # what accelerate holds in circles is of the size of the network
        candidate.steps[str(fold)] = history.step
        if rung is not None:
            score = history.best if history.best is not None and math.isfinite(history.best) else 0.0
            candidate.measured(rung, fold, self.advice.folds, score)
            about = {"name": candidate.name, "fold": fold + 1, "folds": self.advice.folds, "score": score, "steps": history.step}
            log.info("%s", Message("candidates.measured", **about, metric=self.advice.metric, left=in_words(self.box.left)))

    def _prepared(self, candidate: Candidate, fold: int, steps: int, place: Path) -> tuple[Prepared, dict[str, Any] | None]:
        """A training, and how far it has come."""
        learnt = tuple(item for part in self.parts if part is not self.parts[fold] for item in part)
        index = self._index(candidate)
        state = self._state(place)
        if index not in self._templates:
            data = replace(self.data, train=learnt, val=self.parts[fold])
            prepared = prepare(candidate.config(self.config), 1, True, None, data)
            begun = prepared.start
            if candidate.architecture and (begun.base and begun.base.id) != candidate.base:
                raise ConfigError("candidates.base_has_gone", base=candidate.base or candidate.model)
            self._describe(candidate, prepared)
            self._templates[index] = replace(prepared, start=replace(begun, checkpoint=None))  # its weights are large
            if state is not None:
                begun = self._start(candidate, place.parent)
            else:
                save_file(place.parent / "start.json", json.dumps(prepared.record()).encode())
        else:
            begun = self._start(candidate, place.parent if state is not None else None)
            if state is None:
                template = self._templates[index]
                begun, _ = with_channels(template.config, begun, self.data.dataset, template.train)
        template = self._templates[index]
        if state:
            # Of one that was stopped before it was known how fast it is, further steps tell.
            steps = max(steps, state["history"]["step"] + (0 if candidate.paces else TRIED_STEPS))
        plan = replace(template.plan, count=len(learnt))
        train = {"train": learnt, "val": self.parts[fold], "plan": plan, "start": begun, "total": steps, "eval_steps": steps}
        return replace(template, **train), state

    def _start(self, candidate: Candidate, going_on: Path | None = None) -> Start:
        """The network of a candidate as it begins; of one that goes on, by what its folder says, whatever the Hub answers now."""
        if going_on is not None:
            facts = json.loads((going_on / "start.json").read_text(encoding="utf-8"))
            return begin(candidate.config(self.config), self.data.dataset, PreviousRun(facts, {}))
        begun = begin(candidate.config(self.config), self.data.dataset)
        if (begun.base and begun.base.id) != candidate.base:
            raise ConfigError("candidates.base_has_gone", base=candidate.base or candidate.model)
        return begun

    @staticmethod
    def _state(place: Path) -> dict[str, Any] | None:
        """How far a training has come; None of one that is new, or whose state is damaged and that begins again."""
        path = place / runs.LAST
        if not path.exists() or not (place.parent / "start.json").exists():
            return None
        try:
            state = runs.load_state(path)
        except runs.BadStateError:
            shutil.rmtree(place, ignore_errors=True)
            return None
        return {**state, "history": {**state["history"], "finished": False}}

    def _describe(self, candidate: Candidate, prepared: Prepared) -> None:
        begun, config = prepared.start, candidate.config(self.config)
        candidate.architecture, candidate.base = begun.checkpoint.name, begun.base and begun.base.id
        candidate.pretrained, candidate.crop = begun.pretrained, prepared.crop
        candidate.parameters = sum(parameter.numel() for parameter in begun.checkpoint.module.parameters())
        candidate.total = steps_of(config, replace(prepared.plan, count=len(self.data.train)), begun)
        if not begun.pretrained:
            candidate.order = (2, candidate.order[1])
        self.advice.task = prepared.task
        self.advice.metric = begun.checkpoint.family.metric(begun.checkpoint.task) or ""

    def _measured_on(self, fold: int, prepared: Prepared) -> HeldOut:
        """The pictures of a fold, decoded once."""
        key = fold, prepared.task, prepared.dataset.channels
        if key not in self._held_out:
            self._held_out[key] = HeldOut(replace(prepared, start=replace(prepared.start, checkpoint=replace(prepared.start.checkpoint, module=None))))
        return self._held_out[key]

    def _leave_out(self, candidate: Candidate, why: str, state: str = LEFT_OUT) -> None:
        candidate.state, candidate.why = state, why
        log.info("%s", Message("candidates.out", name=candidate.name, why=why))
        self._forget(candidate)
        self._save()

    def _forget(self, candidate: Candidate) -> None:
        """Its trainings' weights are of no use any more."""
        index = self._index(candidate)
        self._templates.pop(index, None)
        shutil.rmtree(self.folder / TRAININGS / str(index), ignore_errors=True)

    def _index(self, candidate: Candidate) -> int:
        return next(index for index, known in enumerate(self.advice.candidates) if known is candidate)

    def _report(self, *_: object) -> None:
        """How far the comparison is, whatever its present training says of itself."""
        self._progress("advise", int(self.spent), int(self.spent + self.box.left), None, self.box.left)

    def _save(self) -> None:
        self.advice.spent = self.spent
        save_file(self.folder / FILE, json.dumps(self.advice.to_dict(self.config), indent=1).encode())
        self._report()


def table(advice: Advice) -> str:
    """What was found, for a terminal and as Markdown: a line for each candidate, the best first.

    Args:
        advice: with what has been measured.
    """
    rows = [("", "network", "starts from", "crops", "parameters", advice.metric, "trained", "")]
    for row in advice.rows():
        mean = "" if row["mean"] is None else f"{row['mean']:.3f}" + ("" if row["spread"] is None else f" ± {row['spread']:.3f}")
        base = (row["base"] or "random weights") if row["architecture"] else ""
        trained = "" if row["trained"] is None else f"{row['trained']:.0f} s, {row['steps']} steps"
        remark = row["why"] or {RACING: "", BEHIND: "fell behind"}.get(row["state"], "")
        cells = (row["place"] or "", row["model"], base, row["crop"] or "", f"{row['parameters'] / 1e6:.1f} M" if row["parameters"] else "")
        rows.append(tuple(str(cell).replace("|", "\\|") for cell in (*cells, mean, trained, remark)))
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    rows.insert(1, tuple("-" * (width - 1) + ":" if column in NUMBERS else "-" * width for column, width in enumerate(widths)))
    padded = ([cell.rjust(width) if column in NUMBERS else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))] for row in rows)
    lines = [f"| {' | '.join(row)} |" for row in padded]
    return "\n".join(lines)


def resumption(folder: Path) -> str:
    """The command that goes on with a comparison.

    Args:
        folder: of the run.
    """
    return f"python train/finetune.py --resume {shlex.quote(str(folder))}"


def conclusion(advice: Advice, config: Config, folder: Path) -> list[str]:
    """What follows from the table, a sentence each, and the command that trains the winner.

    Args:
        advice: with what has been measured.
        config: of the comparison.
        folder: of the run.
    """
    ranked = advice.standing()
    if not ranked:
        more = math.ceil(max(3 * advice.minutes, 3))
        said = Message("candidates.nothing_measured", minutes=advice.minutes)
        return [said, Message("candidates.more_time", command=f"{resumption(folder)} --minutes {more}")]
    first = ranked[0]
    if len(ranked) == 1:
        said = Message("candidates.only_one", first=first.name)
    elif advice.undecided():
        said = Message("candidates.undecided", first=first.name, second=ranked[1].name)
    else:
        said = Message("candidates.best", first=first.name, folds=advice.folds)
    return [said, *advice.notes, Message("candidates.go_on", command=command_for(config, first), time=in_words(first.total * first.pace))]


def draw(advice: Advice, path: Path) -> None:
    """The scores of all candidates that were measured, a dot for each fold and a bar from the mean one spread to either side.

    Args:
        advice: with what has been measured.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    rows = [row for row in advice.rows() if row["scores"]][::-1]
    figure = Figure(figsize=(8, 1.1 + 0.38 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for height, row in enumerate(rows):
        color = LINES[0] if row["state"] == RACING else "#999999"
        axis.errorbar(row["mean"], height, xerr=row["spread"] or 0, fmt="s", color=color, capsize=3, markersize=6, linewidth=1.5)
        axis.plot(row["scores"], [height] * len(row["scores"]), "o", color=color, markersize=3, alpha=0.6)
    axis.set_yticks(range(len(rows)), [f"{row['name']}, {row['trained']:.0f} s" for row in rows], fontsize=8, parse_math=False)
    axis.set_xlim(0, 1)
    axis.set_xlabel(f"{advice.metric}: mean and spread over {advice.folds} folds, after the seconds of training on each", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    write_figure(figure, path)


def looked_at(config: Config) -> tuple[Data, tuple[tuple[Item, ...], ...], list[str]]:
    """The data of a comparison, its folds, and what a person should know about them.

    Args:
        config: of the comparison.

    Raises:
        ConfigError: faults in the data, or too few pictures to hold any out.
    """
    problems: list[str] = []
    data = read_data(config, config.json, problems)
    if problems:
        raise NotPrepared(problems, data and data.diagnosis)
    minutes = config.minutes or MINUTES
    held_out = [item for item in data.dataset.items if item.split == "val"]
    # What the data itself keeps for measuring stays unseen: a choice is a kind of learning.
    items = [item for item in data.dataset.items if item not in held_out] if held_out else list(data.dataset.items)
    parts = folds(data.dataset, items, FOLDS, config.seed, PIXELS_PER_MINUTE * minutes)
    if minutes < FEW_MINUTES or sum(map(len, parts)) < 2 * FOLDS:
        parts = folds(data.dataset, items, 2, config.seed, PIXELS_PER_MINUTE * minutes)
    if len(parts) < 2:
        raise NotPrepared([Message("candidates.too_few_pictures", count=len(items))], data.diagnosis)
    used, notes = sum(map(len, parts)), []
    if used < len(items):
        notes.append(Message("candidates.some_pictures", used=used, count=len(items)))
    if used < 2 * FOLDS:
        notes.append(Message("candidates.few_pictures", count=used))
    if held_out:
        notes.append(Message("candidates.held_out_unseen", count=len(held_out)))
    return replace(data, train=tuple(items)), parts, notes


def begun(config: Config, given: Collection[str], folder: Path | None) -> tuple[Advice, Data, tuple[tuple[Item, ...], ...]]:
    """A comparison before its first training, or as far as it has come.

    Args:
        config: of the comparison.
        given: names of the settings that were given rather than left at their defaults.
        folder: of one that is resumed, else None.

    Raises:
        ConfigError: as :func:`looked_at`; or the data is not what the comparison began with.
    """
    data, parts, notes = looked_at(config)
    if folder is not None and (folder / FILE).exists():
        advice = read(folder)
        if advice.sha256 != data.dataset.digest:
            raise ConfigError("runs.other_data", data=config.data, run=folder)
        if not advice.targets and (config.minutes or 0) > advice.minutes:
            for known in advice.candidates:
                if known.state == LEFT_OUT:
                    known.state, known.why = WAITING, None  # there may be time for it now
        return replace(advice, minutes=config.minutes or advice.minutes), data, parts
    kind, minutes = data.dataset.kind, config.minutes or MINUTES
    found = candidates(config, given, kind)
    refuse_what_none_looks_at(config, [known.model for known in found])
    advice = Advice(data.dataset.name, data.dataset.digest, kind, "", minutes, sum(map(len, parts)), len(data.train), len(parts), found)
    return replace(advice, notes=notes), data, parts


def read(folder: Path) -> Advice:
    """What a comparison in a folder has found.

    Raises:
        ConfigError: its file is missing or damaged.
    """
    try:
        return Advice.from_dict(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError("runs.unreadable", file=folder / FILE, why=type(error).__name__) from error


def plan_of(advice: Advice) -> str:
    """What ``--dry-run`` prints.

    Args:
        advice: of :func:`begun`.
    """
    names = ", ".join(known.model for known in sorted(advice.candidates, key=lambda known: known.order))
    lines = [
        "Nothing was started (--dry-run). This is what would happen:",
        "",
        f"  compare   {len(advice.candidates)} networks and bases: {names}; larger crops of those that know something",
        f"  data      {advice.data}: {advice.pictures} of {advice.of_pictures} images in {advice.folds} folds ({advice.task})",
        f"  time      {advice.minutes:g} minutes",
    ]
    return "\n".join([*lines, *(f"  note: {note}" for note in advice.notes)])


def advise(config: Config, advice: Advice, data: Data, parts: Sequence[tuple[Item, ...]], folder: Path, began: float) -> Advice:
    """Compare within the time, and write what was found: ``advice.json``, ``advice.md`` and ``advice.png``.

    Args:
        config: of the comparison.
        advice: of :func:`begun`.
        data: likewise.
        parts: likewise.
        folder: of the run, locked.
        began: when the command was started, by :func:`time.monotonic`.

    Raises:
        Stopped: a signal came; what was measured is written.
        SegDemoError: a disk that is full, say; what was measured is written.
    """
    if advice.done and (folder / TABLE).exists():
        return advice
    spent = advice.spent + time.monotonic() - began
    # What comes after the comparison (a table, a picture) belongs to the time too.
    closing = min(8.0, 1.5 + 0.02 * advice.minutes * 60)
    if not advice.done:
        with TimeBox(time.monotonic() + max(0.0, advice.minutes * 60 - spent - closing)) as box:
            Comparison(config, data, parts, folder, box, advice, spent).run()
    if advice.measured:
        draw(advice, folder / PICTURE)
    text = "\n\n".join([f"# {advice.data}", table(advice), *conclusion(advice, config, folder)])
    save_file(folder / TABLE, (text + "\n").encode())
    return advice

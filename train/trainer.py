"""Training: steps, evaluations, saves; stopped cleanly by signals, resumed to the bit, stopped by the first NaN."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker
from tqdm import tqdm

from seg_demo import networks
from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.storage import recover_folder, save_folder
from seg_demo.core.types import ModelSpec
from seg_demo.inference.model import Model
from seg_demo.networks.base import Checkpoint
from train import run as runs
from train.base_model import name_of, remembered
from train.batches import (
    AsSeen,
    Crop,
    CropDataset,
    Plan,
    crops_of,
    loader,
    local_cores,
    memory_budget,
    read_as_seen,
    workers_for,
)
from train.config import Config
from train.data.index import CELLS, labels_for, preload, read_item
from train.data.sample import Sample
from train.evaluate import MAIN_METRIC, measure
from train.losses import Batch, InstanceTask, SemanticTask, balanced_weights, count_pixels
from train.metrics import only_shared, shared_labels
from train.optim import MovingAverage, freeze_auxiliary, lr_factor, parameter_groups, restore, set_train
from train.run import Diverged, History, Pace, ProgressFile, Stopped, Stopper, save_state
from train.setup import Prepared, lay_out

log = logging.getLogger("train")

# Held-out samples that are kept decoded between evaluations; further ones are read again.
MOST_VAL_BYTES = 96 * 2**20


class Trainer:
    """A prepared run and its folder.

    Attributes:
        stage: ``begin``, ``fit``, ``evaluate`` or ``publish``: how far it has come.
    """

    def __init__(
        self, prepared: Prepared, accelerator: Accelerator, folder: Path, progress: runs.Progress | None = None
    ) -> None:
        """
        Args:
            prepared: what to do.
            accelerator: processes and precision.
            folder: of the run; exists on the main process, which alone writes to it.
            progress: how far the run has come, if it is resumed.
        """
        self.prepared, self.accelerator, self.folder = prepared, accelerator, folder
        self.state = None if progress is None else progress.state
        self.trained = progress is not None and progress.finished
        self.stage = "begin"
        self.tell = ProgressFile(prepared.config.progress_file if accelerator.is_main_process else None)
        self.tell("prepare", total=prepared.total)
        self.pace = Pace(prepared.total, prepared.eval_steps, closing=1 + prepared.config.baseline)
        self._val: dict[int, Sample] | None = None
        self._tracker: Any = None

    def begin(self) -> None:
        """Write what the run is, or tidy up what a killed one left."""
        prepared = self.prepared
        if self.accelerator.is_main_process:
            recover_folder(self.folder / runs.BEST)
            if self.state is None:
                facts = {**prepared.facts(), "processes": prepared.plan.processes, "start": remembered(prepared.start)}
                runs.write_config(self.folder, prepared.config, facts)
        for note in (*prepared.notes, *prepared.start.notes):
            log.info("%s", note)

    def fit(self, stopper: Stopper) -> None:
        """Train to the last step; nothing to do if that has been done, or for ``--epochs 0``."""
        if self.trained:
            log.info("This run has been trained to its end already.")
            return
        prepared = self.prepared
        main = self.accelerator.is_main_process
        if prepared.total == 0:
            if main:
                self._keep(prepared.start.checkpoint)
                save_state(self.folder / runs.LAST, {"history": {**vars(History()), "finished": True}})
            self.trained = True
            return
        crops = self._crops()
        if main:
            step = self.state["history"]["step"] if self.state else 0
            self._tracker = start_tracker(prepared.config, self.folder, step)
        run = Fit(
            config=prepared.config,
            checkpoint=prepared.start.checkpoint,
            fresh=prepared.start.fresh,
            pretrained=prepared.start.pretrained,
            knows=prepared.start.knows,
            task=self._task(crops),
            plan=prepared.plan,
            crops=crops,
            total=prepared.total,
            eval_steps=prepared.eval_steps,
            lr=prepared.lr,
            workers=workers_for(prepared.config.workers, prepared.device),
            accelerator=self.accelerator,
            device=prepared.device if self.accelerator.num_processes == 1 else self.accelerator.device,
            evaluate=self._metrics,
            score=MAIN_METRIC[prepared.task],
            save=functools.partial(save_state, self.folder / runs.LAST),
            keep=self._keep,
            record=self._record,
            tell=self._stepped,
        )
        log.info(
            "%s on %s: %d steps in %s", prepared.start.checkpoint.architecture, prepared.device, prepared.total, self.folder
        )
        self.stage = "fit"
        try:
            fit(run, self.state, stopper)
        finally:
            if self._tracker is not None:
                self._tracker.finish()
        self.trained = True

    def evaluate(self) -> dict[str, float]:
        """Load ``best/`` afresh, evaluate it, and write its card, its figures and ``training.json`` into it.

        Returns:
            The metrics on the held-out images.
        """
        from train.card import write_report

        self.stage = "evaluate"
        self.tell("evaluate", self.prepared.total, self.prepared.total)
        checkpoint = networks.load(self.folder / runs.BEST)
        checkpoint.module.to(self.prepared.device)
        samples, labels = self._val_samples(), None
        if self.prepared.config.epochs == 0:
            data = labels_for(self.prepared.dataset, self.prepared.task)
            if data.names != checkpoint.labels.names:
                labels = shared_labels(data, checkpoint.labels)
                samples = () if labels is None else only_shared(samples, data, labels, self.prepared.task)
        return write_report(self.prepared, self.folder, self._model(checkpoint), samples, checkpoint, labels)

    def measure_base(self) -> dict[str, Any]:
        """What the network that the run started from is worth on the same held-out images, beside ``best/``."""
        from train.evaluate import measured_against_base

        return measured_against_base(self.prepared, self._best, self._val_samples)

    def publish(self, results: dict[str, float]) -> dict[str, str]:
        """Push ``best/`` and compare what arrived.

        Args:
            results: of :meth:`evaluate`, for the commit message.

        Returns:
            ``repo``, ``url`` and ``revision``.

        Raises:
            PublishError: the push failed; everything is kept and the message has the command that retries.
        """
        from train.publish import publish

        self.stage = "publish"
        self.tell("publish", self.prepared.total, self.prepared.total)
        score = MAIN_METRIC[self.prepared.task]
        start, data = self.prepared.start, self.prepared.dataset.name
        name = name_of(start, data, self.prepared.config.epochs != 0)
        published = publish(
            self.folder / runs.BEST,
            self.prepared.repo_id,
            private=self.prepared.config.private,
            message=f"{name}: {score} {results[score]:.3f}" if score in results else name,
            run_dir=self.folder,
        )
        log.info("Pushed to %s, revision %s", published.url, published.sha)
        return {"repo": self.prepared.repo_id, "url": published.url, "revision": published.sha}

    def _task(self, crops: CropDataset) -> SemanticTask | InstanceTask:
        prepared, config = self.prepared, self.prepared.config
        if prepared.task == "instance":
            return InstanceTask()
        checkpoint = prepared.start.checkpoint
        weights = None
        if config.class_weights == "balanced":
            # Built-in data is not surveyed; its decoded samples say how frequent each class is.
            pixels = prepared.diagnosis.class_pixels or count_pixels(crops.cached.values(), len(checkpoint.labels))
            weights = balanced_weights(pixels, len(checkpoint.labels))
        verbs = networks.network(checkpoint.architecture)
        return SemanticTask(verbs.forward, checkpoint.preprocessing, len(checkpoint.labels), config.loss, weights)

    def _crops(self) -> CropDataset:
        prepared, config = self.prepared, self.prepared.config
        seen = AsSeen(prepared.start.checkpoint)
        read = functools.partial(read_item, prepared.dataset, prepared.train, prepared.task)
        if prepared.dataset.source != CELLS:
            # Photographs are kept at the network's size; what is rendered is small, and its workers know no torch.
            read = functools.partial(read_as_seen, read, seen)
        quiet = config.json or not self.accelerator.is_main_process
        cached = preload(read, prepared.dataset, len(prepared.train), memory_budget(), local_cores(), quiet)
        return crops_of(prepared, read, cached, seen)

    def _val_samples(self) -> Iterator[Sample]:
        prepared = self.prepared
        read = functools.partial(read_item, prepared.dataset, prepared.val, prepared.task)
        if self._val is None:
            budget = min(memory_budget(0.1), MOST_VAL_BYTES)
            self._val = preload(read, prepared.dataset, len(prepared.val), budget, local_cores(), prepared.config.json)
        for index in range(len(prepared.val)):
            yield self._val[index] if index in self._val else read(index)

    def _model(self, checkpoint: Checkpoint) -> Model:
        prepared = self.prepared
        row = networks.NETWORKS[checkpoint.architecture]
        folder = str(self.folder / runs.BEST)
        spec = ModelSpec(folder, None, row.task, checkpoint.architecture, prepared.dataset.name, "", "folder")
        return Model.from_checkpoint(checkpoint, spec)

    def _best(self) -> Model:
        checkpoint = networks.load(self.folder / runs.BEST)
        checkpoint.module.to(self.prepared.device)
        return self._model(checkpoint)

    def _metrics(self, checkpoint: Checkpoint) -> dict[str, float]:
        path = self.folder / runs.SAMPLES if self.prepared.config.progress_file else None
        with self.pace.evaluating():
            return measure(self._model(checkpoint), self._val_samples(), self.prepared.task, path)

    def _stepped(self, step: int, total: int, loss: float) -> None:
        if self.pace.stepped() and self.accelerator.is_main_process:
            log.info(self.pace.sentence(step))
        self.tell("fit", step, total, loss, self.pace.left(step))

    def _keep(self, checkpoint: Checkpoint) -> None:
        half = self.prepared.config.half
        save_folder(self.folder / runs.BEST, lambda folder: networks.save(checkpoint, folder, half))

    def _record(self, history: History) -> None:
        runs.write_metrics(self.folder, history)
        log_line(self._tracker, history.lines[-1])
        log.info("%s%s", history.sentence(MAIN_METRIC[self.prepared.task]), self.pace.rest(history.step))


@dataclass
class Fit:
    """What the loop needs.

    Attributes:
        config: of the run.
        checkpoint: its module is trained in place.
        fresh: prefixes of layers that start from random weights.
        pretrained: False if all layers are fresh.
        knows: the weights are worth an evaluation before the first step; the best are kept, be it those.
        task: loss and collate.
        plan: order of the data.
        crops: varied samples.
        total: optimizer steps of the run.
        eval_steps: steps between evaluations.
        lr: peak learning rate of fresh layers.
        workers: processes that load data.
        accelerator: processes and precision.
        device: where the module is trained.
        evaluate: checkpoint → metrics; runs on the main process only.
        score: name of the metric that decides which weights are kept.
        save: writes the resume state, atomically.
        keep: writes a checkpoint as the best one, atomically.
        record: called with every evaluation's line.
        tell: called after every step with the steps done, those of the run, and the loss.
    """

    config: Config
    checkpoint: Checkpoint
    fresh: tuple[str, ...]
    pretrained: bool
    knows: bool
    task: SemanticTask | InstanceTask
    plan: Plan
    crops: CropDataset
    total: int
    eval_steps: int
    lr: float
    workers: int
    accelerator: Accelerator
    device: torch.device
    evaluate: Callable[[Checkpoint], dict[str, float]]
    score: str
    save: Callable[[dict[str, Any]], None]
    keep: Callable[[Checkpoint], None]
    record: Callable[[History], None]
    tell: Callable[[int, int, float], None]


def fit(run: Fit, state: dict[str, Any] | None, stopper: Stopper) -> History:
    """Train from the beginning, or from a saved state, to the last step.

    Args:
        run: everything prepared.
        state: what ``run.save`` wrote earlier, or None.
        stopper: says when a signal asks to stop.

    Returns:
        The history, ``finished``.

    Raises:
        Diverged: the loss is not a number; the last saved state is good.
        Stopped: a signal came; the state is saved.
    """
    config, accelerator = run.config, run.accelerator
    module = run.checkpoint.module.to(run.device)
    lay_out(run.checkpoint, run.device, accelerator.mixed_precision)
    freeze_auxiliary(module)
    average = MovingAverage(module, config.ema)
    groups = parameter_groups(module, run.fresh, run.lr, config.backbone_lr, config.weight_decay, run.pretrained)
    # One pass over the weights; on other devices than these, torch has no such kernel.
    fused = run.device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(groups, fused=fused, foreach=not fused)
    peaks = [group["lr"] for group in optimizer.param_groups]
    history = History(evaluated=-1 if run.knows else 0)
    if state is not None:
        restore(state, module, average, optimizer, accelerator.scaler)
        history = History(**state["history"])
    wrapped, optimizer = accelerator.prepare(module, optimizer, device_placement=[False, False])
    main = accelerator.is_main_process
    began = time.monotonic() - history.seconds

    def save() -> None:
        if main:
            history.seconds = time.monotonic() - began
            scaler = accelerator.scaler
            run.save(
                {
                    "module": module.state_dict(),
                    "average": average.module.state_dict(),
                    "updates": average.updates,
                    "optimizer": optimizer.optimizer.state_dict(),
                    "scaler": None if scaler is None else scaler.state_dict(),
                    "history": dataclasses.asdict(history),
                }
            )

    if state is None:
        save()
    parts = loader(run.crops, run.plan.micro_batches(history.step, run.total, accelerator.process_index), run.workers)
    recent: deque[float] = deque(maxlen=20)
    bar = tqdm(total=run.total, initial=history.step, desc="training", unit="step", disable=None if main else True)
    with bar, stopper.deferred():
        while not history.finished:
            if history.due(run.eval_steps, run.total):
                # The state is saved already, so one process may stop at once; several have to leave together.
                with stopper.deferred(on=accelerator.num_processes > 1):
                    better = main and _evaluate(run, average, history, time.monotonic() - began)
                if better:
                    run.keep(dataclasses.replace(run.checkpoint, module=average.module))
                if main:
                    run.record(history)
                history.evaluated, history.loss_sum, history.loss_steps = history.step, 0.0, 0
                enough = _agree(accelerator, bool(config.patience) and history.stale >= config.patience)
                history.finished = enough or history.step == run.total
                save()
                continue
            step = history.step
            set_train(module, config.freeze_norm)
            # Random numbers of a step (dropout, sampled proposals) depend on the step alone: a resumed run draws the same.
            torch.manual_seed((config.seed * 1_000_003 + step) * 4_099 + accelerator.process_index)
            factor = lr_factor(step, run.total, config.warmup, config.schedule)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            loss = _step(run, wrapped, optimizer, parts, step)
            average.update(module)
            history.step += 1
            history.loss_sum, history.loss_steps = history.loss_sum + loss, history.loss_steps + 1
            recent.append(loss)
            run.tell(history.step, run.total, loss)
            bar.update()
            bar.set_postfix(loss=f"{sum(recent) / len(recent):.3f}", refresh=False)
            stop = _agree(accelerator, stopper.signal is not None)
            if stop or history.due(run.eval_steps, run.total) or history.step % config.save_every == 0:
                save()
            if stop:
                raise Stopped(stopper.signal)
    if history.step < run.total:
        log.info("No better for %d evaluations: stopped early at step %d.", history.stale, history.step)
    if run.knows and history.stale == len(history.lines) - 1:
        log.warning("Nothing was gained on the held-out images: best/ holds the weights that the run started from.")
    accelerator.wait_for_everyone()
    stopper.check()  # a signal that came with the last save
    return history


def _step(run: Fit, wrapped: Any, optimizer: Any, parts: Iterator[list[Crop]], step: int) -> float:
    """One optimizer step over all micro-batches and processes; its loss."""
    config, accelerator = run.config, run.accelerator
    batches: list[Batch] = [run.task.collate(next(parts), run.device) for _ in range(config.accumulate)]
    world = accelerator.num_processes
    valid = sum(batch.valid for batch in batches)
    if world > 1:
        valid = int(accelerator.reduce(torch.tensor(valid, device=run.device), "sum"))
    optimizer.zero_grad()
    total = 0.0
    for index, batch in enumerate(batches):
        share = world * len(batches)
        last = index == len(batches) - 1
        with accelerator.no_sync(wrapped) if not last else nullcontext():
            loss = run.task.loss(wrapped, batch, valid, share)
            if config.adversarial:
                moved = run.task.adversarial(wrapped, batch, config.adversarial)
                loss = 0.5 * (loss + run.task.loss(wrapped, moved, valid, share))
            # DistributedDataParallel averages gradients over processes; the loss is a sum of shares.
            accelerator.backward(loss * world)
        total += float(loss.detach())
    norm = accelerator.clip_grad_norm_(wrapped.parameters(), config.clip or math.inf)
    if world > 1:
        total = float(accelerator.reduce(torch.tensor(total, device=run.device), "sum"))
    skipped_by_scaler = accelerator.scaler is not None
    if not math.isfinite(total) or (not skipped_by_scaler and not math.isfinite(float(norm))):
        names = ", ".join(name for batch in batches for name in batch.names)
        raise Diverged(
            f"Step {step + 1}: the {'loss' if not math.isfinite(total) else 'gradient'} is not a number. Samples of this "
            f"step: {names}. The last good state is kept; try a smaller --lr, or look at these samples."
        )
    optimizer.step()
    return total


def _evaluate(run: Fit, average: MovingAverage, history: History, seconds: float) -> bool:
    """Evaluate the averaged weights, add a line to the history; True if they are the best so far."""
    try:
        metrics = run.evaluate(dataclasses.replace(run.checkpoint, module=average.module))
    except BadCheckpointError as error:
        raise Diverged(f"Step {history.step}: {error} Try a smaller --lr.") from error
    score = metrics.get(run.score, math.nan)
    score = -math.inf if math.isnan(score) else score
    best = history.best is None or score > history.best
    history.best, history.stale = (score, 0) if best else (history.best, history.stale + 1)
    line = {"step": history.step, "epoch": round(history.step * run.plan.per_step / run.plan.count, 2)}
    if history.step:
        line["loss"] = history.loss_sum / max(1, history.loss_steps)
        line["lr"] = run.lr * lr_factor(history.step - 1, run.total, run.config.warmup, run.config.schedule)
    history.lines.append({**line, "seconds": round(seconds, 1), **metrics})
    return best


def _agree(accelerator: Accelerator, mine: bool) -> bool:
    """True on every process if it is true on any: all leave the loop at the same step."""
    if accelerator.num_processes == 1:
        return mine
    return bool(accelerator.reduce(torch.tensor(int(mine), device=accelerator.device), "sum") > 0)


class Trackio(TrackioTracker):
    """Accelerate's, whose library greets on stdout: that belongs to ``--json``, so it is sent to stderr."""

    def start(self) -> None:
        """Open the run."""
        with redirect_stdout(sys.stderr):
            super().start()

    def finish(self) -> None:
        """Close the run. By the library's own function, or it would close it, and say so, once more at the exit."""
        import trackio

        with redirect_stdout(sys.stderr):
            trackio.finish()


def start_tracker(config: Config, folder: Path, step: int) -> GeneralTracker | None:
    """A tracker that is ready to log.

    Args:
        config: ``report_to`` says which. That its package is installed has been checked.
        folder: of the run. TensorBoard's files go into ``tensorboard/`` in it; trackio keeps its own store, where the run
            has the folder's name in the project ``seg-demo``.
        step: of the run. What TensorBoard has from later ones, logged before a kill, is dropped.

    Returns:
        None for ``none``.
    """
    if config.report_to == "none":
        return None
    if config.report_to == "tensorboard":
        tracker = TensorBoardTracker("tensorboard", logging_dir=folder, purge_step=step + 1)
    else:
        tracker = Trackio("seg-demo", name=folder.resolve().name, config=config.to_dict(), resume="allow")
    tracker.start()
    return tracker


def log_line(tracker: GeneralTracker | None, line: dict[str, Any]) -> None:
    """Log one evaluation.

    Args:
        tracker: of :func:`start_tracker`.
        line: as in ``metrics.jsonl``.
    """
    if tracker is not None:
        tracker.log({name: value for name, value in line.items() if name != "step"}, step=line["step"])

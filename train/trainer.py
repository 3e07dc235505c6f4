"""Training: steps, evaluations, saves; stopped cleanly by signals, resumed to the bit, stopped by the first NaN.

Optimizer, learning-rate schedule and moving average.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker
from torch import nn
from tqdm import tqdm

from seg_demo.annotations.dataset import labels_for
from seg_demo.core import BadCheckpointError, Message, save_folder
from train import run as runs
from train.batches import AsSeen, Crop, CropDataset, Replay, loader, local_cores, memory_budget, read_as_seen, workers_for
from train.data import BUILT_IN, preload, read_item
from train.evaluate import HeldOut, evaluate, model_of, sample_grid
from train.losses import Batch, Objective, balanced_weights, count_pixels
from train.run import Diverged, History, Pace, ProgressFile, Stopped, Stopper, save_state

if TYPE_CHECKING:
    from seg_demo.networks.base import Network
    from train.config import Config
    from train.setup import Prepared

log = logging.getLogger("train")

# The worst samples that whoever watches a run gets to look at after every evaluation; few, so that they cost little of its time.
MOST_DRAWN = 3


class Trainer:
    """A network in training, and the run folder that it is saved to.

    Attributes:
        history: what the run has learnt about itself so far.
    """

    def __init__(
        self,
        prepared: Prepared,
        accelerator: Accelerator,
        folder: Path,
        held_out: HeldOut,
        progress: ProgressFile,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Read the samples, and take the network to its device.

        Args:
            prepared: what to do.
            accelerator: processes and precision.
            folder: of the run; exists on the main process, which alone writes to it.
            held_out: the images that it is evaluated on.
            progress: gets every step.
            state: what :meth:`_save` wrote, of a run that is resumed.
        """
        self.prepared, self.config, self.accelerator, self.folder = prepared, prepared.config, accelerator, folder
        self.held_out, self.progress = held_out, progress
        self.main = accelerator.is_main_process
        self.device = prepared.device if accelerator.num_processes == 1 else accelerator.device
        self.checkpoint, self.plan, self.total = prepared.start.checkpoint, prepared.plan, prepared.total
        self.score = self.checkpoint.family.metric(self.checkpoint.task)
        self.crops = self._crops()
        self.objective = self._objective()
        self.module = self.checkpoint.module.to(self.device)
        self.checkpoint.optimise_training(self.device, accelerator.mixed_precision)
        freeze_auxiliary(self.module)
        self.average = MovingAverage(self.module, self.config.ema)
        optimizer = self._adamw()
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        # What can segment the data as it is, is evaluated before the first step: the best weights are kept, be it those.
        self.history = History(evaluated=-1 if prepared.start.knows else 0)
        if state is not None:
            restore(state, self.module, self.average, optimizer, accelerator.scaler)
            self.history = History(**state["history"])
        self.wrapped, self.optimizer = accelerator.prepare(self.module, optimizer, device_placement=[False, False])
        self.pace = Pace(self.total, prepared.eval_steps, closing=1 + self.config.baseline)
        self.began = time.monotonic() - self.history.seconds
        self.resumed = state is not None

    def fit(self, stopper: Stopper) -> History:
        """Train to the last step.

        Args:
            stopper: says when a signal asks to stop.

        Returns:
            The history, ``finished``.

        Raises:
            Diverged: the loss is not a number; the last saved state is good.
            Stopped: a signal came; the state is saved.
        """
        config, history, accelerator = self.config, self.history, self.accelerator
        if not self.resumed:
            self._save()
        log.info("%s on %s: %d steps in %s", self.checkpoint.name, self.prepared.device, self.total, self.folder)
        tracker = start_tracker(config, self.folder, history.step) if self.main else None
        batches = self.plan.micro_batches(history.step, self.total, accelerator.process_index)
        parts = loader(self.crops, batches, workers_for(config.workers, self.prepared.device))
        recent: deque[float] = deque(maxlen=20)
        bar = tqdm(total=self.total, initial=history.step, desc="training", unit="step", disable=None if self.main and not config.json else True)
        try:
            with bar, stopper.deferred():
                while not history.finished:
                    if self._due():
                        # The state is saved already, so one process may stop at once; several have to leave together.
                        with stopper.deferred(on=accelerator.num_processes > 1):
                            better = self.main and self._evaluate()
                        self._close_evaluation(better, tracker)
                        continue
                    loss = self._step(parts, history.step)
                    self.average.update(self.module)
                    history.step += 1
                    history.loss_sum, history.loss_steps = history.loss_sum + loss, history.loss_steps + 1
                    recent.append(loss)
                    self._report_step(loss)
                    bar.update()
                    bar.set_postfix(loss=f"{sum(recent) / len(recent):.3f}", refresh=False)
                    stop = self._agree(stopper.signal is not None)
                    if stop or self._due() or history.step % config.save_every == 0:
                        self._save()
                    if stop:
                        raise Stopped(stopper.signal)
        finally:
            if tracker is not None:
                tracker.finish()
        if history.step < self.total:
            log.info("No better for %d evaluations: stopped early at step %d.", history.stale, history.step)
        if self.prepared.start.knows and history.stale == len(history.lines) - 1:
            log.warning("%s", Message("training.nothing_gained"))
        accelerator.wait_for_everyone()
        stopper.check()  # a signal that came with the last save
        return history

    def _step(self, parts: Iterator[list[Crop]], step: int) -> float:
        """One optimizer step over all micro-batches and processes; its loss."""
        config, accelerator, optimizer = self.config, self.accelerator, self.optimizer
        set_train(self.module, config.freeze_norm)
        # Random numbers of a step (dropout, sampled proposals) depend on the step alone: a resumed run draws the same.
        torch.manual_seed((config.seed * 1_000_003 + step) * 4_099 + accelerator.process_index)
        for group, peak in zip(optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * self._lr_factor(step)
        batches: list[Batch] = [self.objective.collate(next(parts), self.device) for _ in range(config.accumulate)]
        world = accelerator.num_processes
        valid = sum(batch.valid for batch in batches)
        if world > 1:
            valid = int(accelerator.reduce(torch.tensor(valid, device=self.device), "sum"))
        optimizer.zero_grad()
        total = 0.0
        for index, batch in enumerate(batches):
            share = world * len(batches)
            last = index == len(batches) - 1
            with accelerator.no_sync(self.wrapped) if not last else nullcontext():
                loss = self.objective.loss(self.wrapped, batch, valid, share)
                if config.adversarial:
                    moved = self.objective.adversarial(self.wrapped, batch, config.adversarial)
                    loss = 0.5 * (loss + self.objective.loss(self.wrapped, moved, valid, share))
                # DistributedDataParallel averages gradients over processes; the loss is a sum of shares.
                accelerator.backward(loss * world)
            total += float(loss.detach())
        norm = accelerator.clip_grad_norm_(self.wrapped.parameters(), config.clip or math.inf)
        if world > 1:
            total = float(accelerator.reduce(torch.tensor(total, device=self.device), "sum"))
        skipped_by_scaler = accelerator.scaler is not None
        if not math.isfinite(total) or (not skipped_by_scaler and not math.isfinite(float(norm))):
            names = ", ".join(name for batch in batches for name in batch.names)
            key = "training.loss_not_a_number" if not math.isfinite(total) else "training.gradient_not_a_number"
            raise Diverged(Message(key, step=step + 1, names=names))
        optimizer.step()
        return total

    def _evaluate(self) -> bool:
        """Evaluate the averaged weights, add a line to the history; True if they are the best so far."""
        history = self.history
        seconds = time.monotonic() - self.began
        try:
            metrics = self._metrics(dataclasses.replace(self.checkpoint, module=self.average.module))
        except BadCheckpointError as error:
            raise Diverged(Message("training.answer_not_a_number", step=history.step, why=error)) from error
        score = metrics.get(self.score, math.nan)
        score = -math.inf if math.isnan(score) else score
        # As long as the held-out images allow no score, what has learnt for longer is the better guess.
        best = history.best is None or score > history.best or score == history.best == -math.inf
        history.best, history.stale = (score, 0) if best else (history.best, history.stale + 1)
        line = {"step": history.step, "epoch": round(history.step * self.plan.per_step / self.plan.count, 2)}
        if history.step:
            line["loss"] = history.loss_sum / max(1, history.loss_steps)
            line["lr"] = self.prepared.lr * self._lr_factor(history.step - 1)
        history.lines.append({**line, "seconds": round(seconds, 1), **metrics})
        return best

    def _metrics(self, checkpoint: Network) -> dict[str, float]:
        """The metrics of a network on the held-out images; its worst samples are drawn for whoever watches the run."""
        watched = self.config.progress_file is not None
        with self.pace.evaluating():
            model = model_of(checkpoint, self.folder / runs.BEST, self.prepared.dataset.name)
            labels = labels_for(self.prepared.dataset, self.prepared.task)
            drawn = MOST_DRAWN if watched else 0
            metrics, results = evaluate(model, self.held_out, task=self.prepared.task, labels=labels, pictures=drawn, brief=True)
            if pictures := [result.picture for result in results if result.picture is not None]:
                sample_grid(pictures, self.folder / runs.SAMPLES)
        return metrics

    def _close_evaluation(self, better: bool, tracker: GeneralTracker | None) -> None:
        """Write down what an evaluation has shown, and keep its weights if they are the best."""
        config, history = self.config, self.history
        if better:
            save_best(dataclasses.replace(self.checkpoint, module=self.average.module), self.folder, config.half)
        if self.main:
            runs.write_metrics(self.folder, history)
            log_line(tracker, history.lines[-1])
            log.info("%s%s", history.sentence(self.score), self.pace.rest(history.step))
        history.evaluated, history.loss_sum, history.loss_steps = history.step, 0.0, 0
        enough = self._agree(bool(config.patience) and history.stale >= config.patience)
        history.finished = enough or history.step == self.total
        self._save()

    def _save(self) -> None:
        """The resume state, atomically."""
        if not self.main:
            return
        self.history.seconds = time.monotonic() - self.began
        scaler = self.accelerator.scaler
        state = {
            "module": self.module.state_dict(),
            "average": self.average.module.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "history": dataclasses.asdict(self.history),
        }
        save_state(self.folder / runs.LAST, state)

    def _report_step(self, loss: float) -> None:
        step = self.history.step
        if self.pace.stepped() and self.main:
            log.info(self.pace.sentence(step))
        self.progress("fit", step, self.total, loss, self.pace.left(step))

    def _due(self) -> bool:
        return self.history.due(self.prepared.eval_steps, self.total)

    def _lr_factor(self, step: int) -> float:
        return lr_factor(step, self.total, self.config.warmup, self.config.schedule)

    def _agree(self, mine: bool) -> bool:
        """True on every process if it is true on any: all leave the loop at the same step."""
        if self.accelerator.num_processes == 1:
            return mine
        return bool(self.accelerator.reduce(torch.tensor(int(mine), device=self.accelerator.device), "sum") > 0)

    def _adamw(self) -> torch.optim.AdamW:
        start, config = self.prepared.start, self.config
        rates = (self.prepared.lr, config.backbone_lr, config.weight_decay)
        groups = parameter_groups(self.module, start.fresh, *rates, start.pretrained)
        # One pass over the weights; on other devices than these, torch has no such kernel.
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.AdamW(groups, fused=fused, foreach=not fused)

    def _objective(self) -> Objective:
        checkpoint, weights = self.checkpoint, None
        if self.config.class_weights == "balanced" and not checkpoint.task.objects:
            # Built-in data is not surveyed; its decoded samples say how frequent each class is.
            pixels = self.prepared.diagnosis.class_pixels or count_pixels(self.crops.cached.values(), len(checkpoint.labels))
            weights = balanced_weights(pixels, len(checkpoint.labels))
        return Objective(checkpoint, self.config.loss, weights, labels_for(self.prepared.dataset, checkpoint.task.name))

    def _crops(self) -> CropDataset:
        prepared = self.prepared
        seen = AsSeen(self.checkpoint)
        read = functools.partial(read_item, prepared.dataset, prepared.train, prepared.task)
        rendered = prepared.dataset.source in BUILT_IN
        if not rendered:
            # Photographs are kept at the network's size; what is rendered is small, and its workers know no torch.
            read = functools.partial(read_as_seen, read, seen)
        quiet = self.config.json or not self.main
        cached = preload(read, prepared.dataset, len(prepared.train), memory_budget(), local_cores(), quiet)
        replay = None
        if prepared.replay:
            of = (prepared.dataset, prepared.task, prepared.start.base)
            replay = Replay(len(prepared.train), prepared.replay, self.config.seed, *of, seen)
        return CropDataset(read, cached, prepared.augment, prepared.crop, self.config.seed, seen if rendered else None, replay)


def save_best(checkpoint: Network, folder: Path, half: bool) -> None:
    """Write a checkpoint as the best one of a run, atomically.

    Args:
        checkpoint: to write.
        folder: of the run.
        half: store it in 16 bits.
    """
    save_folder(folder / runs.BEST, lambda best: checkpoint.save(best, half))


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


# Heads that only train along with the main one in other people's recipes; no loss here asks for their output.
AUXILIARY = ("aux_classifier.", "auxiliary_head.", "classification_head.")


def freeze_auxiliary(module: nn.Module) -> None:
    """Take the heads that get no gradient out of the training: DistributedDataParallel would wait for theirs.

    Args:
        module: of torchvision (``aux_classifier``), transformers (``auxiliary_head``) or smp (``classification_head``).
    """
    for name, parameter in module.named_parameters():
        if name.startswith(AUXILIARY):
            parameter.requires_grad_(False)


def set_train(module: nn.Module, freeze_norm: bool) -> None:
    """Training mode, with or without batch normalisation's.

    Args:
        module: the network.
        freeze_norm: normalise by the running statistics, and leave them as they are.
    """
    module.train()
    if freeze_norm:
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()


def parameter_groups(
    module: nn.Module, fresh: Sequence[str], lr: float, backbone_lr: float, weight_decay: float, pretrained: bool
) -> list[dict]:
    """Parameters in up to four groups: fresh or pretrained, with or without weight decay.

    Norms and biases (every parameter of one dimension) are not decayed, after Loshchilov and Hutter's AdamW as it is
    practised in timm and transformers.

    Args:
        module: the network.
        fresh: prefixes of the names of layers that start from random weights.
        lr: peak learning rate of fresh layers.
        backbone_lr: learning rate of the others, as a share of ``lr``.
        weight_decay: of the decayed groups.
        pretrained: False if everything is fresh.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            is_fresh = not pretrained or name.startswith(tuple(fresh))
            groups.setdefault((is_fresh, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": lr if is_fresh else lr * backbone_lr, "weight_decay": weight_decay if decayed else 0.0}
        for (is_fresh, decayed), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]


def lr_factor(step: int, total: int, warmup: float, schedule: str) -> float:
    """The learning rate of a step as a share of its peak: a linear rise, then a decay.

    >>> [round(lr_factor(step, 10, 0.2, "cosine"), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]

    Args:
        step: from 0.
        total: steps of the whole run.
        warmup: share of the steps in which the rate rises.
        schedule: ``cosine`` (Loshchilov and Hutter 2017), ``poly`` (power 0.9, Chen et al. 2018) or ``constant``.
    """
    rising = round(total * warmup)
    if step < rising:
        return (step + 1) / rising
    share = (step - rising) / max(1, total - rising)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * share))
    if schedule == "poly":
        return (1 - share) ** 0.9
    return 1.0


class MovingAverage:
    """Exponential moving average of a module's parameters; buffers (running statistics) are copied.

    The decay rises with the number of updates, min(decay, (1 + n) / (10 + n)), as in TensorFlow's implementation, so that
    the random weights of the beginning are soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """
        Args:
            module: what is averaged; its copy is ``self.module``.
            decay: in [0, 1); 0 makes the copy follow at once.
        """
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        mine = [parameter for parameter in self.module.parameters()]
        theirs = [parameter.detach() for parameter in module.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for own, other in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(other)


def restore(
    state: dict[str, Any], module: nn.Module, average: MovingAverage, optimizer: torch.optim.Optimizer, scaler: Any
) -> None:
    """Give the modules, the optimizer and the scaler of a run what was saved of them.

    Args:
        state: as the loop saves it.
        module: the network.
        average: of its weights.
        optimizer: of its parameters.
        scaler: of the gradients in fp16, or None.
    """
    module.load_state_dict(state["module"])
    average.module.load_state_dict(state["average"])
    average.updates = state["updates"]
    optimizer.load_state_dict(state["optimizer"])
    # The fused kernel goes through memory as it lies; a run from another device or precision has another layout.
    for weight, kept in optimizer.state.items():
        for key, value in kept.items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                kept[key] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
    if scaler is not None and state.get("scaler"):
        scaler.load_state_dict(state["scaler"])

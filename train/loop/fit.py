"""The loop: steps, evaluations, saves; stopped cleanly by signals, resumed to the bit, stopped by the first NaN."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from seg_demo.errors import BadCheckpointError
from seg_demo.networks.base import Checkpoint
from train.config import Config
from train.device import lay_out
from train.loop.batches import Crop, CropDataset, Plan, loader
from train.loop.history import Diverged, History
from train.loop.optim import MovingAverage, freeze_auxiliary, lr_factor, parameter_groups, restore, set_train
from train.loop.signals import Stopped, Stopper
from train.loop.tasks import Batch, InstanceTask, SemanticTask

log = logging.getLogger("train")


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

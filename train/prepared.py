"""A run that could begin at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from seg_demo import networks
from train.config import Config
from train.data.diagnosis import Diagnosis
from train.data.index import CELLS, Dataset
from train.data.listing import Item
from train.loop.batches import Plan
from train.start import Start

PIECES_NOTE = (
    "The masks say classes, not objects: every connected piece of a class counts as one object. That is right for things "
    "that stand apart; things that touch become one."
)


@dataclass(frozen=True)
class Prepared:
    """A run that could begin at once.

    Attributes:
        config: of the run.
        dataset: with its classes.
        train: items to learn from.
        val: items that are held out.
        diagnosis: what the doctor found.
        start: the network.
        plan: order of the data.
        total: optimizer steps.
        eval_steps: steps between evaluations.
        crop: side of the training crops in pixels.
        lr: peak learning rate of fresh layers.
        device: where to train.
        precision: ``no``, ``bf16`` or ``fp16``, as accelerate names it.
        step_bytes: estimate of the memory of a step.
        replay: images of the built-in data that join those of every epoch.
        repo_id: where it would be pushed, or None.
        user: as whom, or None.
    """

    config: Config
    dataset: Dataset
    train: tuple[Item, ...]
    val: tuple[Item, ...]
    diagnosis: Diagnosis
    start: Start
    plan: Plan
    total: int
    eval_steps: int
    crop: int
    lr: float
    device: torch.device
    precision: str
    step_bytes: int
    replay: int
    repo_id: str | None
    user: str | None

    @property
    def task(self) -> str:
        """``semantic`` or ``instance``."""
        return networks.NETWORKS[self.start.checkpoint.architecture].task

    @property
    def augment(self) -> str:
        """How much images are varied: rendered ones differ enough by themselves, and more would only slow learning down."""
        return self.config.augment or ("light" if self.dataset.source == CELLS else "strong")

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed about the data, a sentence each."""
        if self.task == "instance" and self.dataset.kind == "semantic":
            return (*self.dataset.notes, PIECES_NOTE)
        return self.dataset.notes

    def facts(self) -> dict[str, Any]:
        """What the run is made from, JSON-able, as ``config.json`` and ``--dry-run --json`` have it."""
        start = self.start
        return {
            "data": {
                "source": self.config.data,
                "name": self.dataset.name,
                "sha256": self.dataset.digest,
                "kind": self.dataset.kind,
                "train_images": len(self.train),
                "val_images": len(self.val),
                "replayed_images": self.replay,
                "classes": list(self.start.checkpoint.labels.names),
                "notes": list(self.notes),
            },
            "network": {
                "architecture": start.checkpoint.architecture,
                "base": start.base and start.base.id,
                "pretrained": start.pretrained,
                "parameters": sum(parameter.numel() for parameter in start.checkpoint.module.parameters()),
                "fresh_layers": list(start.fresh) if start.pretrained else ["all"],
                "notes": list(start.notes),
            },
            "schedule": {
                "steps": self.total,
                "steps_per_epoch": self.plan.steps_per_epoch,
                "steps_between_evaluations": self.eval_steps,
                "batch_size": self.plan.batch_size,
                "crop": self.crop,
                "lr": self.lr,
                "augment": self.augment,
            },
            "device": str(self.device),
            "precision": self.precision,
            "memory_bytes": self.step_bytes,
            "push": self.repo_id and {"repo": self.repo_id, "user": self.user, "private": self.config.private},
        }

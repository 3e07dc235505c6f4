"""Everything before the first step: data, its faults, the split, the network, the right to push, memory; problems together."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import torch

from seg_demo import networks
from seg_demo.errors import BadCheckpointError, SegDemoError
from seg_demo.networks.sizes import square
from train.config import NETWORKS, Config, ConfigError
from train.data.diagnosis import Diagnosis
from train.data.doctor import examine, without_bad
from train.data.index import CELLS, Dataset, Item, open_dataset
from train.data.objects import labels_for
from train.data.split import split
from train.device import choose_device
from train.loop.batches import Plan
from train.loop.replay import replay_count
from train.memory import check_memory
from train.prepared import Prepared
from train.report.readings import with_picture
from train.remember import rebuilt
from train.runs import Progress
from train.start import LEAST_STEPS, PASSES, Start, architecture_of, name_of, start


class NotPrepared(ConfigError):
    """A run that cannot begin: every problem that was found, and the doctor's findings where the data could be opened."""

    def __init__(self, message: str, diagnosis: Diagnosis | None) -> None:
        super().__init__(message)
        self.diagnosis = diagnosis


def prepare(config: Config, processes: int, quiet: bool, progress: Progress | None = None) -> Prepared:
    """Read the data, look for faults, split it, load the network, check the rights and the memory.

    Args:
        config: checked by :func:`train.flags.parse`.
        processes: of this run.
        quiet: no progress bars.
        progress: how far the run has come, if it is resumed: it keeps its network, and its data must be the same.

    Raises:
        ConfigError: with every problem that was found, one a paragraph.
    """
    problems: list[str] = []
    if config.threads:
        torch.set_num_threads(config.threads)
    device, precision = choose_device(config, problems)
    dataset = _attempt(problems, lambda: _opened(config, quiet))
    train: tuple[Item, ...] = ()
    val: tuple[Item, ...] = ()
    diagnosis = None
    if dataset is not None:
        train, val = split(dataset, config.val_fraction, config.seed)
        diagnosis = examine(dataset, train, val)
        if diagnosis.faults and config.skip_bad:
            dataset = without_bad(dataset, diagnosis)
            train, val = split(dataset, config.val_fraction, config.seed)
            diagnosis = examine(dataset, train, val)
        if diagnosis.faults:
            diagnosis = with_picture(diagnosis, dataset, Path(config.output).parent if config.output else Path("runs"))
            problems.append(diagnosis.report())
        if not problems and (not val or (not train and config.epochs != 0)):
            problems.append(
                f"--data {config.data}: {len(train)} images to learn from and {len(val)} held out; at least 1 each is needed."
            )
        if progress is not None:
            problems += _changes(config, progress, dataset, processes)
    elif progress is not None:
        when = "before its evaluation, which needs the held-out images" if progress.finished else "before its last step"
        problems.append(f"The run in {config.resume} was stopped {when}. Put the data back where it was, and resume again.")
    begun = None
    if dataset is not None:
        begun = _attempt(problems, lambda: _start(config, dataset, progress))
    elif progress is None:
        _attempt(problems, lambda: architecture_of(config))
    replay = 0
    if begun is not None:
        replay = _attempt(problems, lambda: replay_count(config.replay, len(train), dataset, begun.base))
    repo_id, user = _rights(config, begun, dataset, problems)
    if problems:
        raise NotPrepared("\n\n".join(dict.fromkeys(problems)), diagnosis)
    batch = config.batch_size or begun.batch_size
    plan = Plan(len(train) + replay, batch, config.accumulate, processes, config.seed)
    total = _steps(config, plan, begun.checkpoint.architecture)
    crop = crop_side(config, begun)
    trains = total > 0 and not (progress is not None and progress.finished)
    return Prepared(
        config=config,
        dataset=dataset,
        train=tuple(train),
        val=tuple(val),
        diagnosis=diagnosis,
        start=begun,
        plan=plan,
        total=total,
        eval_steps=max(config.eval_every * plan.steps_per_epoch, min(total, 50)) if total else 1,
        crop=crop,
        lr=config.lr or begun.lr,
        device=device,
        precision=precision,
        step_bytes=check_memory(batch, begun.checkpoint, crop, device) if trains else 0,
        replay=replay,
        repo_id=repo_id,
        user=user,
    )


def crop_side(config: Config, begun: Start) -> int:
    """Side of the training crops in pixels: as asked for, or what suits the network; always one that the network takes.

    Args:
        config: of the run.
        begun: its network.

    Raises:
        ConfigError: ``--image-size`` is one that the network does not take; the message names one that it does.
    """
    checkpoint = begun.checkpoint
    if config.image_size is None:
        # Samples are resized as uploads are: a crop is never larger than what the network sees of them.
        rule = checkpoint.preprocessing
        sides = [side for side in (*(rule.size or ()), rule.shortest_side, rule.longest_side) if side is not None]
        wanted = min([begun.crop_side, *sides])
    else:
        wanted = config.image_size
    rounded = max(32, wanted // 32 * 32) if config.image_size is None else -(-wanted // 32) * 32
    if networks.NETWORKS[checkpoint.architecture].task == "instance":
        return rounded
    fits = square(checkpoint, rounded)
    if fits == rounded or (fits is not None and (config.image_size is None or fits == config.image_size)):
        return fits
    given = "" if config.image_size is None else f"--image-size {config.image_size}: "
    size = checkpoint.preprocessing.size
    only = f"--image-size {fits}" if fits is not None else "no square crop" + (f", only {size[0]} x {size[1]} pixels" if size else "")
    raise ConfigError(
        f"{given}this network does not take crops of {rounded} x {rounded} pixels, which its position tables, windows or patches do "
        f"not fit. It takes {only}."
    )


def _changes(config: Config, progress: Progress, dataset: Dataset, processes: int) -> list[str]:
    """What differs from when the run was begun, so that going on would be another run."""
    changes = []
    before = progress.facts.get("data", {}).get("sha256")
    if before is not None and before != dataset.digest:
        changes.append(
            f"--data {config.data} is not what the run in {config.resume} began with (its images, masks or class names "
            "changed). Put it back to resume, or start a new run with the changed data."
        )
    began = progress.facts.get("processes", processes)
    if began != processes and not progress.finished:
        changes.append(
            f"The run in {config.resume} was begun by {began} processes, and {processes} would see the data in another order. "
            f"Resume it with {began}, launched as it was then."
        )
    return changes


def _start(config: Config, dataset: Dataset, progress: Progress | None) -> Start:
    """The network to train: of a run that has begun the same again, whatever the Hub answers now."""
    if progress is not None and progress.state is not None and "start" in progress.facts:
        return rebuilt(progress.facts["start"])
    return start(config, functools.partial(labels_for, dataset))


def _attempt(problems: list[str], work: Any) -> Any:
    """The result of ``work``, or None with its sentence among the problems."""
    try:
        return work()
    except SegDemoError as error:
        problems.append(str(error))
        return None


def _opened(config: Config, quiet: bool) -> Dataset:
    workers = os.cpu_count() or 1
    return open_dataset(
        config.data, seed=config.seed, size=None, workers=workers, progress=not quiet, samples=config.samples,
        reading=config.mask_reading,
    )  # fmt: skip


def _steps(config: Config, plan: Plan, architecture: str) -> int:
    """Optimizer steps: ``--epochs``, at most ``--max-steps``; without either, enough that a small data set is learnt."""
    if config.epochs is not None:
        steps = config.epochs * plan.steps_per_epoch
    elif config.max_steps is not None:
        return config.max_steps
    else:
        passes = PASSES.get(architecture, 8) if config.data == CELLS else 10
        steps = max(LEAST_STEPS[architecture], passes * plan.steps_per_epoch)
    return steps if config.max_steps is None else min(steps, config.max_steps)


def _rights(
    config: Config, begun: Start | None, dataset: Dataset | None, problems: list[str]
) -> tuple[str | None, str | None]:
    """Repository and user of the push; that the login may write there is checked before anything is trained."""
    if config.push is None:
        return None, None
    from train.publish import check_rights

    try:
        network = begun.checkpoint.architecture if begun else architecture_of(config) or "model"
    except SegDemoError:
        network = "model"
    data = dataset.name if dataset else "data"
    name = f"{network}-{data}" if begun is None else name_of(begun, data, config.epochs != 0)
    try:
        rights = check_rights(config.push or None, name, "", config.private)
    except SegDemoError as error:
        problems.append(str(error))
        return None, None
    return rights.repo_id, rights.user


def check_network(config: Config) -> None:
    """Refuse a model that can be known to be wrong before any data is read.

    Raises:
        SegDemoError: an unknown menu key, a malformed id, a folder that is not there.
    """
    if config.model not in NETWORKS:
        architecture = architecture_of(config)
        if architecture == "classical":
            raise BadCheckpointError(f"--model {config.model} is a method without weights; there is nothing to train.")

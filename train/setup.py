"""Everything before the first step: device, data, its faults, the split, the network, the right to push, memory; problems together."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from seg_demo.annotations.channels import HIGH, LOW, Channels, channel_ranges, lacking, picture_of, shared_channels
from seg_demo.annotations.dataset import Dataset, labels_for, task_in
from seg_demo.core import BadCheckpointError, BadRequestError, Message, SegDemoError, paragraphs
from seg_demo.hub import client
from seg_demo.inference import engine, onnx
from train.base_model import Start, architecture_of, check_network, for_channels, rebuilt, remembered, start
from train.batches import Plan, local_processes, replay_count
from train.config import Config, ConfigError
from train.data import BUILT_IN, examine, open_dataset, split, without_bad
from train.evaluate import with_picture

if TYPE_CHECKING:
    from seg_demo.annotations.listing import Diagnosis, Item
    from seg_demo.networks.base import Network
    from train.run import PreviousRun

PIECES_NOTE = Message("readings.pieces_are_objects")


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
        """What the network answers, by its name."""
        return self.start.checkpoint.task.name

    @property
    def augment(self) -> str:
        """How much images are varied: rendered ones differ enough by themselves, and more would only slow learning down."""
        return self.config.augment or ("light" if self.dataset.source in BUILT_IN else "strong")

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed about the data, a sentence each."""
        if self.start.checkpoint.task.objects and self.dataset.kind == "semantic":
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
                "architecture": start.checkpoint.name,
                "base": start.base and start.base.id,
                "pretrained": start.pretrained,
                "channels": start.checkpoint.channels,
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

    def record(self) -> dict[str, Any]:
        """What a run folder keeps, so that a resumed run is the same one."""
        return {**self.facts(), "processes": self.plan.processes, "start": remembered(self.start)}


@dataclass(frozen=True)
class Data:
    """What a run learns from and is measured on, looked at once.

    Attributes:
        dataset: with its classes.
        train: items to learn from.
        val: items that are held out.
        diagnosis: what the doctor found.
    """

    dataset: Dataset
    train: tuple[Item, ...]
    val: tuple[Item, ...]
    diagnosis: Diagnosis


class NotPrepared(ConfigError):
    """A run that cannot begin.

    Args:
        problems: each that was found.
        diagnosis: the doctor's findings, where the data could be opened.
    """

    def __init__(self, problems: Sequence[str], diagnosis: Diagnosis | None) -> None:
        super().__init__(paragraphs(*problems))
        self.diagnosis = diagnosis


def read_data(config: Config, quiet: bool, problems: list[str]) -> Data | None:
    """Read the data, split it, and look for faults.

    Args:
        config: checked by :func:`train.config.parse`.
        quiet: no progress bars.
        problems: gets what is wrong, a paragraph each.

    Returns:
        None where the data could not be opened.
    """
    dataset = _attempt(problems, lambda: _opened(config, quiet))
    if dataset is None:
        return None
    if config.channels is not None:
        found = lacking(dataset.items, dataset.depths, config.channels, dataset.root)
        dataset = replace(dataset, faults=(*dataset.faults, *found))
    train, val = split(dataset, config.val_fraction, config.seed)
    diagnosis = examine(dataset, train, val)
    if diagnosis.faults and config.skip_bad:
        dataset = without_bad(dataset, diagnosis)
        train, val = split(dataset, config.val_fraction, config.seed)
        diagnosis = examine(dataset, train, val)
    if diagnosis.faults:
        diagnosis = with_picture(diagnosis, dataset, Path(config.output).parent if config.output else Path("runs"))
        problems.append(diagnosis.report())
    return Data(dataset, tuple(train), tuple(val), diagnosis)


def prepare(
    config: Config, processes: int, quiet: bool, previous: PreviousRun | None = None, data: Data | None = None
) -> Prepared:
    """Read the data, look for faults, split it, load the network, check the rights and the memory.

    Args:
        config: checked by :func:`train.config.parse`.
        processes: of this run.
        quiet: no progress bars.
        previous: how far the run has come, if it is resumed: it keeps its network, and its data must be the same.
        data: what :func:`read_data` found and is sound; None reads it.

    Raises:
        ConfigError: with every problem that was found, one a paragraph.
        SegDemoError: as :func:`train.base_model.check_network`, before any data is read.
    """
    if data is None and (previous is None or previous.state is None):
        check_network(config)
    problems: list[str] = []
    if config.threads:
        torch.set_num_threads(config.threads)
    device, precision = choose_device(config, problems)
    data = data or read_data(config, quiet, problems)
    dataset, train, val, diagnosis = (data.dataset, data.train, data.val, data.diagnosis) if data else (None, (), (), None)
    if dataset is not None:
        if not problems and (not val or (not train and config.epochs != 0)):
            problems.append(Message("training.too_few_images", data=config.data, train=len(train), val=len(val)))
        if previous is not None:
            problems += _changes(config, previous, dataset, processes)
    elif previous is not None:
        key = "runs.stopped_before_evaluation" if previous.finished else "runs.stopped_before_last_step"
        problems.append(Message(key, run=config.resume))
    begun = None
    if dataset is not None:
        begun = _attempt(problems, lambda: begin(config, dataset, previous))
    elif previous is None:
        _attempt(problems, lambda: architecture_of(config))
    replay = 0
    if begun is not None and not problems:
        begun, dataset = _attempt(problems, lambda: with_channels(config, begun, dataset, train)) or (begun, dataset)
    if begun is not None:
        replay = _attempt(problems, lambda: replay_count(config.replay, len(train), dataset, begun.base))
    if config.onnx and begun is not None:
        _attempt(problems, lambda: (onnx.check_packages(), begun.checkpoint.graph()))
    repo_id, user = _rights(config, begun, dataset, problems)
    if problems:
        raise NotPrepared(list(dict.fromkeys(problems)), diagnosis)
    batch = config.batch_size or begun.batch_size
    plan = Plan(len(train) + replay, batch, config.accumulate, processes, config.seed)
    total = steps_of(config, plan, begun)
    if previous is not None and config.epochs is not None:
        # However its passes were counted when it began.
        total = previous.facts.get("schedule", {}).get("steps", total)
    crop = crop_side(config, begun)
    trains = total > 0 and not (previous is not None and previous.finished)
    return Prepared(
        config=config,
        dataset=dataset,
        train=train,
        val=val,
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
    network = begun.checkpoint
    if config.image_size is None:
        # Samples are resized as uploads are: a crop is never larger than what the network sees of them.
        rule = network.preprocessing
        sides = [side for side in (*(rule.size or ()), rule.shortest_side, rule.longest_side) if side is not None]
        wanted = min([begun.crop_side, *sides])
    else:
        wanted = config.image_size
    rounded = max(32, wanted // 32 * 32) if config.image_size is None else -(-wanted // 32) * 32
    fits = network.square(rounded)
    if fits == rounded or (fits is not None and (config.image_size is None or fits == config.image_size)):
        return fits
    size = network.preprocessing.size
    if fits is not None:
        only = Message("training.takes_size", side=fits)
    else:
        only = Message("training.takes_no_square_only", height=size[0], width=size[1]) if size else Message("training.takes_no_square")
    what = Message("training.crop_not_taken", side=rounded, takes=only)
    raise ConfigError(what if config.image_size is None else Message("training.image_size", side=config.image_size, what=what))


def _changes(config: Config, previous: PreviousRun, dataset: Dataset, processes: int) -> list[str]:
    """What differs from when the run was begun, so that going on would be another run."""
    changes = []
    before = previous.facts.get("data", {}).get("sha256")
    if before is not None and before != dataset.digest:
        changes.append(Message("runs.other_data", data=config.data, run=config.resume))
    began = previous.facts.get("processes", processes)
    if began != processes and not previous.finished:
        changes.append(Message("runs.other_processes", run=config.resume, began=began, processes=processes))
    return changes


def begin(config: Config, dataset: Dataset, previous: PreviousRun | None = None) -> Start:
    """The network to train: of a run that has begun the same again, with random weights, whatever the Hub answers now.

    Args:
        config: of the run.
        dataset: with its classes.
        previous: how far the run has come; None of a new one.

    Raises:
        SegDemoError: it cannot be had.
    """
    if previous is not None and previous.state is not None and "start" in previous.facts:
        return rebuilt(previous.facts["start"])
    return start(config, functools.partial(labels_for, dataset), functools.partial(task_in, dataset))


def with_channels(config: Config, begun: Start, dataset: Dataset, train: Sequence[Item]) -> tuple[Start, Dataset]:
    """The network for the channels that are asked for, that it has learnt, or that all images have, and the data as that network reads it.

    Args:
        config: of the run.
        begun: the network as it begins.
        dataset: with its classes.
        train: items by which the ranges of channels are measured that are no bytes.

    Raises:
        SegDemoError: the network or an image has other channels.
    """
    network, depths = begun.checkpoint, dataset.depths
    learnt = network.preprocessing.samples
    shared, notes = shared_channels(depths.values())
    count = learnt if config.epochs == 0 else config.channels or learnt or (shared if network.channels_option else None)
    if count is None:
        notes += (Message("data.channels_not_taken", count=shared, network=network.family.title),) if shared else ()
        return begun, replace(dataset, notes=(*dataset.notes, *notes))
    deep = any(depth.bits > 8 for depth in depths.values())
    if count == 3 and learnt is None and not deep:
        return begun, dataset
    if dataset.source in BUILT_IN or config.replay:
        raise ConfigError("training.channels_of_built_in", count=count)
    if faults := lacking(dataset.items, depths, count, dataset.root):
        raise ConfigError("training.image_lacks_channels", file=faults[0].file, what=faults[0].what, network=network.family.title)
    if network.channels_option is None:
        raise BadCheckpointError("networks.only_three_channels", network=network.family.title)
    begun = for_channels(begun, count)
    if deep and learnt is None:
        stored = Channels(count, as_bytes=False)
        ranges = channel_ranges(lambda item: stored.of(picture_of(item, stored)), train, count)
        shown = ", ".join(f"{low:g} to {high:g}" for low, high in ranges)
        said = Message("training.channel_ranges", low=LOW, high=HIGH, ranges=shown)
        begun = replace(begun, checkpoint=begun.checkpoint.measuring(ranges), notes=(*begun.notes, said))
    return begun, replace(dataset, channels=Channels(count, begun.checkpoint.preprocessing.ranges is None), notes=(*dataset.notes, *notes))


def _attempt(problems: list[str], work: Any) -> Any:
    """The result of ``work``, or None with its sentence among the problems."""
    try:
        return work()
    except SegDemoError as error:
        problems.append(error.message)
        return None


def _opened(config: Config, quiet: bool) -> Dataset:
    workers = os.cpu_count() or 1
    return open_dataset(
        config.data, seed=config.seed, size=None, workers=workers, progress=not quiet, samples=config.samples,
        reading=config.mask_reading,
    )  # fmt: skip


def steps_of(config: Config, plan: Plan, begun: Start) -> int:
    """Optimizer steps: ``--epochs``, at most ``--max-steps``; without either, enough that a small data set is learnt.

    Args:
        config: of the run.
        plan: order of its data.
        begun: its network.
    """
    if config.epochs is not None:
        # So many passes at least: a step goes on with the next one where it ends.
        steps = -(-config.epochs * plan.count // plan.per_step)
    elif config.max_steps is not None:
        return config.max_steps
    else:
        passes = begun.defaults.passes if config.data in BUILT_IN else 10
        steps = max(begun.defaults.least_steps, passes * plan.steps_per_epoch)
    return steps if config.max_steps is None else min(steps, config.max_steps)


def _rights(
    config: Config, begun: Start | None, dataset: Dataset | None, problems: list[str]
) -> tuple[str | None, str | None]:
    """Repository and user of the push; that the login may write there is checked before anything is trained."""
    if config.push is None:
        return None, None

    try:
        network = begun.checkpoint.name if begun else architecture_of(config) or "model"
    except SegDemoError:
        network = "model"
    data = dataset.name if dataset else "data"
    name = f"{network}-{data}" if begun is None else begun.result_name(data, config.epochs != 0)
    try:
        rights = check_rights(config.push or None, name, "", config.private)
    except SegDemoError as error:
        problems.append(error.message)
        return None, None
    return rights.repo_id, rights.user


def describe(prepared: Prepared) -> str:
    """The plan of a run, for people.

    Args:
        prepared: what would be done.
    """
    facts = prepared.facts()
    data, network, schedule = facts["data"], facts["network"], facts["schedule"]
    lines = [
        "Nothing was started (--dry-run). This is what would happen:",
        "",
        f"  data      {data['source']}: {data['train_images']} images to learn from, {data['val_images']} held out",
        f"  classes   {len(data['classes'])}: {_some(data['classes'])}",
        f"  network   {network['architecture']}, {network['parameters'] / 1e6:.2f} million parameters, from "
        f"{network['base'] or 'random weights'}{'' if network['channels'] == 3 else ', of {} channels'.format(network['channels'])}",
        f"  fresh     {_some(network['fresh_layers']) or 'no layer; all weights are kept'}",
        f"  schedule  {schedule['steps']} steps of {prepared.plan.per_step} crops of {schedule['crop']} x {schedule['crop']} pixels "
        f"({max(1, round(prepared.plan.count / prepared.plan.per_step, 1)):g} steps see every image once), peak learning rate {schedule['lr']:g}, "
        f"augmentation {schedule['augment']}",
        f"  evaluate  every {schedule['steps_between_evaluations']} steps on the held-out images, at their original size",
        f"  device    {facts['device']}, {'fp32' if facts['precision'] == 'no' else facts['precision']}; "
        f"about {facts['memory_bytes'] / 2**20:.0f} MiB for a step",
        f"  push      {_push(facts['push'])}",
    ]
    notes = [*data["notes"], *network["notes"]]
    if notes:
        lines += ["", *(f"  note: {note}" for note in notes)]
    report = prepared.diagnosis.report()
    if report:
        lines += ["", report]
    return "\n".join(lines)


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _push(push: dict[str, object] | None) -> str:
    if push is None:
        return "no (--push to push)"
    return f"to {push['repo']} as {push['user']}, {'private' if push['private'] else 'public'}"


def best_device() -> str:
    """What ``--device auto`` means here: ``cuda``, ``mps`` or ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def choose_device(config: Config, problems: list[str]) -> tuple[torch.device, str]:
    """The device, and the precision that it does well: bf16 where the hardware has it.

    Args:
        config: ``device`` and ``precision`` count.
        problems: gets a sentence for what cannot be used.

    Returns:
        The device, and ``no``, ``bf16`` or ``fp16`` as accelerate names it.
    """
    name = best_device() if config.device == "auto" else config.device
    try:
        if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
            raise RuntimeError(Message("devices.no_such_kind"))
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(Message("devices.no_cuda"))
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise RuntimeError(Message("devices.cuda_count", count=torch.cuda.device_count()))
    except RuntimeError as error:
        why = error.args[0] if error.args and isinstance(error.args[0], Message) else str(error).splitlines()[0]
        problems.append(Message("devices.unusable", device=config.device, why=why))
        device = torch.device("cpu")
    if config.precision == "auto":
        return device, "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "no"
    if config.precision == "fp16" and device.type != "cuda":
        problems.append(Message("devices.fp16_needs_cuda"))
    return device, {"fp32": "no"}.get(config.precision, config.precision)


# How long processes wait for each other, in hours: the main one evaluates while the others wait.
PATIENCE = 24


def launched(config: Config) -> PartialState | None:
    """The processes that ``accelerate launch`` or ``torchrun`` started together, as accelerate's state; None for one.

    Raises:
        ConfigError: they cannot work together.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return None
    cpu = config.device == "cpu" or (config.device == "auto" and best_device() == "cpu")
    team = PartialState(cpu=cpu, timeout=timedelta(hours=PATIENCE))
    if team.num_processes != count or team.distributed_type.value not in ("MULTI_CPU", "MULTI_GPU"):
        raise ConfigError("training.other_processes", count=count, kind=team.distributed_type.value)
    return team


def accelerator_of(prepared: Prepared, team: PartialState | None) -> Accelerator:
    """The run's accelerator, with its device and precision.

    Args:
        prepared: of :func:`train.setup.prepare`.
        team: of :func:`launched`.
    """
    unused = prepared.start.checkpoint.unused_layers
    # Running statistics are saved from the main process, so copying them to the others at each pass would change nothing,
    # and would overwrite what the backward pass of adversarial training still needs.
    handler = DistributedDataParallelKwargs(find_unused_parameters=unused, broadcast_buffers=False)
    cpu, handlers = prepared.device.type == "cpu", [handler] if team else []
    if team is None:
        # A run earlier in this process may have had another precision or device, which accelerate would hold on to.
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=cpu, mixed_precision=prepared.precision, kwargs_handlers=handlers)


# Weights, gradients, two AdamW moments and the moving average, in fp32.
BYTES_PER_PARAMETER = 20
# What autograd keeps is not all: convolutions and interpolations take workspace of their own.
OVERHEAD = 1.5
# Larger crops are measured at this side and scaled by their area, so that measuring never needs the memory itself.
MEASURED_SIDE = 512


def check_memory(batch: int, network: Network, crop: int, device: torch.device) -> int:
    """Refuse a batch that cannot fit, with the size that does, and one that the network cannot be trained with.

    Args:
        batch: images per step and process.
        network: what would be trained.
        crop: side of the crops in pixels.
        device: where it would be trained.

    Returns:
        Estimate of the memory of a step in bytes.

    Raises:
        ConfigError: names the batch size that fits.
    """
    try:
        fixed, per_image = _costs(network, batch, crop)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError("training.crops_not_taken", architecture=network.name, batch=batch, crop=crop, why=reason) from error
    needed, have = int(fixed + per_image * batch), available_memory(device)
    if have is None or needed <= have:
        return needed
    fits = int((have - fixed) // per_image)
    advice = Message("training.batch_fits", count=fits) if fits >= 1 else Message("training.not_even_one_fits")
    raise ConfigError(
        "training.not_enough_memory", batch=batch, crop=crop, needed=needed / 2**30, device=device, have=have / 2**30, advice=advice,
    )


def _costs(network: Network, batch_size: int, side: int) -> tuple[float, float]:
    """Bytes of a step that do not depend on the batch, and bytes per image.

    The tensors that autograd keeps for the backward pass are counted in a real forward pass of two images, or of one where
    that is the batch: some networks cannot normalise a single one.
    """
    images, measured = min(2, batch_size), min(side, MEASURED_SIDE)
    counted = _saved_bytes(network, images, measured) / images * (side / measured) ** 2
    parameters = sum(parameter.numel() for parameter in network.module.parameters())
    return parameters * BYTES_PER_PARAMETER, (counted + side * side * network.channels * 4) * OVERHEAD


def _saved_bytes(network: Network, batch_size: int, side: int) -> int:
    module = network.module
    device = next(module.parameters()).device
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    training = module.training
    module.train()
    kept = []
    try:
        with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            images = torch.rand(batch_size, network.channels, side, side, device=device)
            truth = [_one_object(side, device) for _ in images] if network.task.objects else None
            kept.append(network.rehearse(module, images, truth))
    finally:
        module.train(training)
        for name, buffer in module.named_buffers():
            buffer.copy_(before[name])
    return sum(seen.values())


def _one_object(side: int, device: torch.device) -> dict[str, torch.Tensor]:
    box = torch.tensor([[side * 0.25, side * 0.25, side * 0.75, side * 0.75]], device=device)
    mask = torch.zeros((1, side, side), dtype=torch.uint8, device=device)
    mask[:, side // 4 : side * 3 // 4, side // 4 : side * 3 // 4] = 1
    return {"boxes": box, "labels": torch.ones(1, dtype=torch.int64, device=device), "masks": mask}


def available_memory(device: torch.device) -> int | None:
    """Free memory of a device in bytes, for one of this run's processes, or None where it cannot be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "cpu":
        free = engine.free_memory()
        return None if free is None else free // local_processes()
    return None


LONGEST_NAME = 60


@dataclass(frozen=True)
class Rights:
    """Where a run will be pushed, and as whom.

    Attributes:
        repo_id: ``user/repo``.
        user: who is logged in.
    """

    repo_id: str
    user: str


def check_rights(repo_id: str | None, network: str, data_name: str, private: bool) -> Rights:
    """Find out, before hours of training, whether the push at their end would be allowed.

    Args:
        repo_id: ``user/repo``, or None for ``<user>/<network>-<data_name>``.
        network: architecture, for the default name.
        data_name: likewise; empty if ``network`` is the whole name.
        private: whether the repository must be private.

    Raises:
        BadRequestError: nobody is logged in, a name that the Hub cannot have, no right to write there, or a public
            repository where a private one was asked for.
        HubUnavailableError: the Hub does not answer.
    """
    user = client.whoami().name
    wanted = repo_id or f"{user}/{default_name(network, data_name)}"
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", wanted):
        raise BadRequestError("push.write_user_repo", value=wanted)
    try:
        validate_repo_id(wanted)
    except HFValidationError as error:
        raise BadRequestError("push.no_name_of_hub", value=wanted, why=error) from error
    client.can_write(wanted)
    there = client.head(wanted)
    if private and there is not None and not there.private:
        raise BadRequestError("push.is_public", repo=wanted, host=client.host())
    return Rights(wanted, user)


def default_name(network: str, data_name: str) -> str:
    """The name of a repository for a network and its data, with the characters that the Hub allows.

    >>> default_name("net", "My cells (2024)/ß..v2")
    'net-My-cells-2024-v2'
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "-", f"{network}-{data_name}")[:LONGEST_NAME].strip("-_")
    return name or "model"

"""Where a run starts from: pretrained weights if they can be had, a fresh network if not, with a head for the data's classes."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError

from seg_demo import networks
from seg_demo.core import (
    JOB_OWNER, SEMANTIC, TASKS, BadCheckpointError, BadRequestError, EncoderOnlyError, HubUnavailableError, LabelSet, Message, ModelNotFoundError,
    ModelSpec, SegDemoError, Task, Viewer, lines, listed,
)
from seg_demo.core.requests import viewer
from seg_demo.hub import client, lookup
from seg_demo.networks import checkpoint as networks_checkpoint
from seg_demo.networks.checkpoint import labels_from_dict, labels_to_dict
from seg_demo.networks.preprocessing import Preprocessing
from seg_demo.serving import catalog
from seg_demo.serving.predictor import load_checkpoint, locate
from train.config import Config, ConfigError, meaningless
from train.metrics import shared_labels

if TYPE_CHECKING:
    from seg_demo.networks.base import Network, TrainingDefaults


@dataclass(frozen=True)
class Start:
    """A network that is ready to be trained.

    Attributes:
        checkpoint: the network, with the data's classes.
        fresh: prefixes of parameter names that start from random weights; empty if the heads fitted as they were.
        pretrained: False if every layer is fresh.
        base: the model it comes from, or None.
        notes: what a person should know about the choice.
        knows: it can segment the data's classes as it is, for better or worse, so that training has something to beat.
    """

    checkpoint: Network
    fresh: tuple[str, ...]
    pretrained: bool
    base: ModelSpec | None
    notes: tuple[str, ...]
    knows: bool = False

    @property
    def defaults(self) -> TrainingDefaults:
        """What suits the network.

        Raises:
            BadCheckpointError: it cannot be trained here.
        """
        if self.checkpoint.training is None:
            raise BadCheckpointError("networks.not_trained", network=self.checkpoint.family.title)
        return self.checkpoint.training

    @property
    def crop_side(self) -> int:
        """Side of the training crops in pixels that suits the network."""
        suits = self.defaults
        if self.base is not None and self.base.source == "bundled":
            return suits.crop
        return suits.pretrained_crop if self.pretrained else suits.scratch_crop or suits.crop

    @property
    def batch_size(self) -> int:
        """Images per step and process that suit the network."""
        return self.defaults.batch_size if self.pretrained else self.defaults.scratch_batch_size

    @property
    def lr(self) -> float:
        """Peak learning rate of fresh layers that suits the network."""
        return self.defaults.lr if self.pretrained else self.defaults.scratch_lr or self.defaults.lr

    def result_name(self, data_name: str, trained: bool) -> str:
        """What the result of a run is called: ``<network>-<data>``, or the base's own name if it is published as it is.

        Args:
            data_name: short name of the data.
            trained: False for ``--epochs 0``.
        """
        if trained or self.base is None or self.base.source == "folder":
            return f"{self.checkpoint.name}-{data_name}"
        return Path(self.base.id).name


def menu() -> list[ModelSpec]:
    """The menu of the visitor whose job this is; of somebody at a terminal, everything that is here."""
    owner = os.environ.get(JOB_OWNER)
    before = viewer.set(None if owner is None else Viewer(owner, host=not owner))
    try:
        return catalog.menu()
    finally:
        viewer.reset(before)


def with_login(spec: ModelSpec) -> bool:
    """Whether a base is fetched with the login of this machine, and stays on its disk: what a visitor typed for a job is not."""
    return os.environ.get(JOB_OWNER) is None or (spec.id, spec.revision, spec.source) in {(known.id, known.revision, known.source) for known in menu()}


def architecture_of(config: Config) -> str | None:
    """The network that a configuration asks for by its name, a menu key or a folder; None of a repository that nobody has looked at."""
    if config.model in networks.FAMILIES:
        return config.model
    spec = catalog.resolve(config.model, local_folders=True)
    return spec.architecture or (networks.identify(Path(spec.id)) if spec.source == "folder" else None)


def check_network(config: Config) -> None:
    """Refuse a model that can be known to be wrong before any data is read.

    Raises:
        SegDemoError: an unknown menu key, a malformed id, a folder that is not there; settings that mean nothing to its network.
    """
    if config.model not in networks.FAMILIES and catalog.resolve(config.model, local_folders=True).source == "builtin":
        raise BadCheckpointError("training.method_without_weights", model=config.model)
    if problems := meaningless(config, architecture_of(config) or ""):
        raise ConfigError(lines(*problems))


def start(config: Config, labels_for: Callable[[str], LabelSet], task_in: Callable[[Sequence[Task]], Task] = itemgetter(0)) -> Start:
    """Load or build the network of a configuration and give it the data's classes.

    Args:
        config: ``model``, ``from_scratch``, ``epochs`` (0 keeps the network as it is, with its own classes) and ``seed``.
        labels_for: task → the data's classes.
        task_in: the tasks of a network → which of them it learns from the data.

    Raises:
        SegDemoError: a model that was asked for by id or folder cannot be had. A bare network name falls back to fresh
            weights, with a note.
    """
    torch.manual_seed(config.seed)
    if config.epochs == 0:
        return _as_it_is(config.model, labels_for, task_in)
    if config.model not in networks.FAMILIES:
        try:
            base = _load(config.model)
        except EncoderOnlyError:
            return _from_encoder(config, labels_for(SEMANTIC.name))
        if config.from_scratch:
            network = base.checkpoint.trained_for(task_in(base.checkpoint.family.tasks))
            labels = network.classes_of(labels_for(network.task.name), network.task)
            fresh = network.build(len(labels), network.options)
            rebuilt = dataclasses.replace(network, module=fresh, labels=labels)
            return Start(rebuilt, (), False, None, (Message("training.fresh", model=config.model),))
        return _learning(base, labels_for, task_in)
    family = networks.family(config.model)
    training, task = family.network.training, task_in(family.tasks)
    labels = family.network.classes_of(labels_for(task.name), task)
    if config.from_scratch or training is None:
        return _scratch(family.network, labels, task, ())
    if training.pretrained_encoder is not None:
        return _with_pretrained_encoder(family.network, training.pretrained_encoder, labels, task)
    if training.base is None:
        return _scratch(family.network, labels, task, ())
    try:
        if not catalog.available(catalog.resolve(training.base, local_folders=False)):
            raise HubUnavailableError("training.server_out_of_reach")
        return _learning(_load(training.base), labels_for, task_in)
    except (HubUnavailableError, ModelNotFoundError) as error:
        return _scratch(family.network, labels, task, (_warning(training.base, error),))


def _learning(base: Start, labels_for: Callable[[str], LabelSet], task_in: Callable[[Sequence[Task]], Task]) -> Start:
    """A base for the task and the classes of the data."""
    network = base.checkpoint.trained_for(task_in(base.checkpoint.family.tasks))
    return _with_labels(dataclasses.replace(base, checkpoint=network), network.classes_of(labels_for(network.task.name), network.task))


def _as_it_is(model: str, labels_for: Callable[[str], LabelSet], task_in: Callable[[Sequence[Task]], Task]) -> Start:
    """A trained network that is only published: no layer of it is replaced, whatever the data's classes are."""
    if model in networks.FAMILIES:
        family = networks.family(model)
        training = family.network.training
        if training is None or training.base is None:
            raise BadRequestError("training.no_standard_checkpoint", family=family.title)
        model = training.base
    base = _load(model)
    # Of the tasks that it has, it is measured and published for the one that the data is truth for.
    base = dataclasses.replace(base, checkpoint=base.checkpoint.trained_for(task_in(base.checkpoint.tasks)))
    known = base.checkpoint.labels
    labels = labels_for(base.checkpoint.task.name)
    if known.names == labels.names or base.checkpoint.family.prompts:
        return base
    shared = shared_labels(labels, known)
    if shared is None:
        note = Message("training.not_measured")
    else:
        names = ", ".join(name for index, name in enumerate(shared.names) if index != shared.background)
        note = Message("training.measured_on_shared", names=names)
    return dataclasses.replace(base, notes=(note,))


def _load(id: str) -> Start:
    spec = catalog.resolve(id, local_folders=True)
    network = load_checkpoint(spec, token=with_login(spec))
    return Start(dataclasses.replace(network, notes=()), (), True, spec, network.notes)


def _from_encoder(config: Config, labels: LabelSet) -> Start:
    """An encoder with a classifier, which is what tutorials fine-tune: its layers, and a fresh head for the data's classes."""
    spec = catalog.resolve(config.model, local_folders=True)
    folder = locate(spec, token=with_login(spec))
    network, fresh = networks.network(networks.identify(folder)).from_encoder(folder, labels)
    if config.from_scratch:
        module = network.build(len(labels), network.options)
        note = Message("training.fresh_with_head", model=config.model)
        return Start(dataclasses.replace(network, module=module, notes=()), (), False, None, (note,))
    return Start(dataclasses.replace(network, notes=()), fresh, True, spec, network.notes)


def _with_labels(base: Start, labels: LabelSet) -> Start:
    network = base.checkpoint
    if network.labels.names == labels.names:
        return dataclasses.replace(base, checkpoint=dataclasses.replace(network, labels=labels), knows=True)
    fresh, replaced = network.head_prefixes(), network.replace_head(labels)
    renamed = in_words_of(labels, network.labels, base.base is not None and base.base.source == "bundled")
    known = copy_known_classes(dataclasses.replace(network, labels=renamed), replaced, fresh)
    pairs = dict(zip(renamed.names, network.labels.names, strict=True))
    same = ", ".join(name for name in known if pairs[name] == name)
    others = (Message("training.class_of_other_name", name=name, base=pairs[name]) for name in known if pairs[name] != name)
    note = (Message("training.classes_taken_over", names=listed(same, *others)),) if known else ()
    knows = set(known) == set(labels.names)
    return dataclasses.replace(base, checkpoint=replaced, fresh=fresh, notes=(*base.notes, *note), knows=knows)


@torch.no_grad()
def copy_known_classes(source: Network, target: Network, prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """Give a new head what the old one knows about the classes that both have by name.

    A head's tensors hold the same number of rows for every class, class after class (Mask R-CNN's boxes have four), and class
    queries have one row more, for none of them.

    Args:
        source: with the old head; not a binary one of one channel, which has no rows per class.
        target: of the same architecture, with the new head; changed in place.
        prefixes: names of the head's parameters begin with one of these.

    Returns:
        Names of the classes that were copied, in the order of the target.
    """
    old, new = source.labels.names, target.labels.names
    shared = tuple(name for name in new if name in old)
    if not shared or source.options.get("binary"):
        return ()
    given = dict(source.module.named_parameters())
    for name, tensor in target.module.named_parameters():
        before = given.get(name)
        if not name.startswith(prefixes) or before is None:
            continue
        if tensor.shape[0] == len(new) + 1 and before.shape[0] == len(old) + 1:
            tensor[-1] = before[-1].to(tensor)
            tensor, before = tensor[:-1], before[:-1]
        if tensor.shape[0] % len(new) or before.shape[0] % len(old):
            continue
        rows, known = tensor.unflatten(0, (len(new), -1)), before.unflatten(0, (len(old), -1))
        if rows.shape[1:] == known.shape[1:]:
            for label in shared:
                rows[new.index(label)] = known[old.index(label)].to(rows)
    return shared


def in_words_of(labels: LabelSet, known: LabelSet, one_kind: bool) -> LabelSet:
    """A base's classes, by the names that the data has for the same.

    Args:
        labels: of the data.
        known: of the base.
        one_kind: the base was made for one kind of thing, ``cell``. Where the data has one kind of thing too, it is that,
            whatever its name.
    """
    names = list(known.names)
    if None not in (labels.background, known.background) and labels.names[labels.background] not in names:
        names[known.background] = labels.names[labels.background]
    things = [name for index, name in enumerate(labels.names) if index != labels.background]
    if one_kind and len(things) == 1 and things[0] not in names and "cell" in names:
        names[names.index("cell")] = things[0]
    return dataclasses.replace(known, names=tuple(names))


def _scratch(family: type[Network], labels: LabelSet, task: Task, notes: tuple[str, ...]) -> Start:
    """A small network with random weights, which a CPU can train."""
    return Start(family.create(labels, family.default_options()).trained_for(task), (), False, None, notes)


def _with_pretrained_encoder(family: type[Network], options: dict[str, Any], labels: LabelSet, task: Task) -> Start:
    """A network of segmentation_models_pytorch whose encoder knows ImageNet, or a small fresh one."""
    import segmentation_models_pytorch as smp

    encoder = options["encoder"]
    what = Message("training.imagenet_weights", encoder=encoder)
    if not _at_hand(smp.encoders.encoders[encoder]["pretrained_settings"]["imagenet"]) and not lookup.reachable():
        return _scratch(family, labels, task, (_warning(what, Message("training.hub_out_of_reach")),))
    try:
        with client.bounded():
            encoding = smp.encoders.get_encoder(encoder, weights="imagenet")
    except (*client.TRANSPORT_ERRORS, OSError, RuntimeError, ValueError, SafetensorError, SegDemoError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        return _scratch(family, labels, task, (_warning(what, reason),))
    network = family.create(labels, dict(options))
    network.module.encoder.load_state_dict(encoding.state_dict())
    parameters = smp.encoders.get_preprocessing_params(encoder, "imagenet")
    rule = dataclasses.replace(network.preprocessing, mean=tuple(parameters["mean"]), std=tuple(parameters["std"]))
    spec = ModelSpec(
        f"smp-hub/{encoder}.imagenet", None, network.task.name, network.name, f"{encoder} (ImageNet)", "", "hub"
    )
    fresh = tuple(f"{name}." for name, _ in network.module.named_children() if name != "encoder")
    return Start(dataclasses.replace(network, preprocessing=rule), fresh, True, spec, ())


def _at_hand(source: dict[str, str]) -> bool:
    """Whether an encoder's files are in the local cache: smp pins their commit, so that no network is needed then."""
    files = ("config.json", "model.safetensors")
    return all(isinstance(try_to_load_from_cache(source["repo_id"], file, revision=source["revision"]), str) for file in files)


def _warning(what: str, why: object) -> Message:
    return Message("training.from_random_weights", what=what, why=why)


def for_channels(begun: Start, count: int) -> Start:
    """A start that takes pictures of so many channels: the first layer of a pretrained one taken over, others made anew.

    Args:
        begun: that takes three, or as many.
        count: of the channels.

    Raises:
        BadCheckpointError: the network takes other ones.
    """
    network = begun.checkpoint
    if count == network.channels:
        return begun
    made = network.with_channels(count)
    if not begun.pretrained:
        return dataclasses.replace(begun, checkpoint=dataclasses.replace(made, module=made.build(len(made.labels), made.options).eval()))
    note = Message("training.first_layer_inflated", count=count)
    return dataclasses.replace(begun, checkpoint=made, notes=(*begun.notes, note))


def remembered(start: Start) -> dict[str, Any]:
    """Everything about a start but the weights, JSON-able; inverse of :func:`rebuilt`."""
    network = start.checkpoint
    return {
        "architecture": network.name,
        "task": network.task.name,
        "options": network.options,
        "labels": labels_to_dict(network.labels),
        "preprocessing": network.preprocessing.to_dict(),
        "processor": None if network.processor is None else json.loads(network.processor.to_json_string()),
        "fresh": list(start.fresh),
        "pretrained": start.pretrained,
        "base": None if start.base is None else asdict(start.base),
        "notes": list(start.notes),
        "knows": start.knows,
    }


def rebuilt(data: dict[str, Any]) -> Start:
    """The start that :func:`remembered` described, with random weights, which the run's state replaces.

    Args:
        data: of ``config.json``.

    Raises:
        BadCheckpointError: it describes no network.
    """
    labels = labels_from_dict(data["labels"], len(data["labels"]["id2label"]))
    family = networks.network(data["architecture"])
    module = family.build(len(labels), data["options"]).eval()
    preprocessing = Preprocessing.from_dict(data["preprocessing"], len(data["preprocessing"]["image_mean"]))
    network = family(module, labels, preprocessing, data["options"], _processor(data["processor"]))
    network = network.trained_for(TASKS[data.get("task", network.task.name)])
    base = data["base"] and ModelSpec(**{**data["base"], **{key: tuple(data["base"].get(key, ())) for key in ("labels", "notes", "tasks")}})
    notes = tuple(data["notes"])
    return Start(network, tuple(data["fresh"]), data["pretrained"], base, notes, data.get("knows", False))


def _processor(data: dict[str, Any] | None) -> Any:
    """transformers' image processor from its JSON, which it reads from folders only."""
    if data is None:
        return None
    from transformers import AutoImageProcessor

    with tempfile.TemporaryDirectory() as folder:
        networks_checkpoint.write_json(Path(folder), networks_checkpoint.PREPROCESSOR, data)
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

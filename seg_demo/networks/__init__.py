"""The registry of networks: one row here and one file per family, imported when first used.

A row is what must be known before torch is there: what the family is called, what it answers, and which config.json is one of its.
Everything else the class says (:class:`seg_demo.networks.base.Network`), and everybody else asks that. To add a family, write its
file and its row; :func:`register` takes a class that is not in this package.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_demo.core import INSTANCE, PANOPTIC, SEMANTIC, BadCheckpointError, Task

if TYPE_CHECKING:
    from seg_demo.networks.base import Network


# Prompts: points, boxes and earlier masks; words; and boxes round an example of what to find, with words or without.
CLICKS, WORDS, EXAMPLES = "clicks", "words", "examples"
# Mean IoU after the first few clicks.
CLICKED = "click_iou"


@dataclass(frozen=True)
class Family:
    """One family of networks.

    Attributes:
        name: as ``--model`` and the API's ``architecture`` have it; a config.json whose ``architecture`` is this is the family's.
        title: for people.
        library: what its checkpoints are made with.
        tasks: what it answers; the first unless something else is asked for.
        where: ``module:Class``, or the class itself.
        recognises: whether a config.json that names no architecture is one of the family's.
        prompts: kinds of prompts that it answers, of :data:`CLICKS`, :data:`WORDS` and :data:`EXAMPLES`; empty for what segments pictures by
            themselves.
        pictures: the built-in pictures that it learns from unless other data is given.
        tasks_of: which of the tasks a checkpoint can answer, by what it says about its image processor; None is all of them.
        published: Hub id of a checkpoint that is offered where the menu has none, by a family that answers prompts.
        trained: whether it can be trained here; said here as well as by its class, which takes seconds to import.
    """

    name: str
    title: str
    library: str
    tasks: tuple[Task, ...]
    where: str | type[Network] = ""
    recognises: Callable[[Mapping[str, Any]], bool] = lambda config: False
    prompts: tuple[str, ...] = ()
    pictures: str = "cells"
    tasks_of: Callable[[Mapping[str, Any]], tuple[Task, ...]] | None = None
    published: str = ""
    trained: bool = True

    def tasks_in(self, folder: Path) -> tuple[Task, ...]:
        """What a checkpoint of this family answers, by its files and without its weights; what it was made for first.

        Args:
            folder: the checkpoint; of the files the JSON alone are read.

        Raises:
            BadCheckpointError: a file that is not JSON.
        """
        from seg_demo.networks import checkpoint

        if len(self.tasks) == 1:
            return self.tasks
        data = checkpoint.processor_data(folder)
        tasks = self.tasks if self.tasks_of is None else self.tasks_of(data)
        ours = data.get(checkpoint.OUR_KEY)
        written = ours.get("task") if isinstance(ours, dict) else None
        first = written or checkpoint.made_for(folder, checkpoint.read_json(folder, checkpoint.CONFIG))
        return tuple(sorted(tasks, key=lambda task: task.name != first))

    def metric(self, task: Task) -> str | None:
        """Of :mod:`train.metrics`, what its trained networks are compared by.

        Args:
            task: that they answer.
        """
        return CLICKED if self.prompts else task.metric

    @property
    def answers(self) -> dict[str, Any]:
        """As :func:`answers_of`, for a model of this family that nobody has loaded."""
        return answers_of(self.tasks)

    @property
    def network(self) -> type[Network]:
        """The family's class, imported when it is first asked for."""
        if not isinstance(self.where, str):
            return self.where
        module, _, name = self.where.partition(":")
        return getattr(importlib.import_module(module), name)


def answers_of(tasks: tuple[Task, ...]) -> dict[str, Any]:
    """``task`` and ``tasks`` of the :class:`seg_demo.core.types.ModelSpec` of a model with these tasks, the one it was made for first."""
    named = tuple(task.name for task in tasks)
    return {"task": named[0], "tasks": named if len(named) > 1 else ()}


def _of_eomt(data: Mapping[str, Any]) -> tuple[Task, ...]:
    """EoMT's processor cuts pictures into squares, or pads them; neither does the other's tasks."""
    if data.get("do_split_image"):
        return (SEMANTIC,)
    return (PANOPTIC, INSTANCE) if data.get("do_pad") else (PANOPTIC, INSTANCE, SEMANTIC)


# In the order in which they look at a config.json.
FAMILIES: dict[str, Family] = {
    row.name: row
    for row in (
        Family(
            "unet", "U-Net", "segmentation_models_pytorch", (SEMANTIC,), "seg_demo.networks.unet:UNet",
            lambda config: isinstance(config.get("_model_class"), str),
        ),
        Family("fcn", "FCN", "torchvision", (SEMANTIC,), "seg_demo.networks.fcn:FCN"),
        Family(
            "mask2former", "Mask2Former", "transformers", (PANOPTIC, INSTANCE, SEMANTIC), "seg_demo.networks.universal:Mask2Former",
            lambda config: config.get("model_type") == "mask2former",
        ),
        Family(
            "maskformer", "MaskFormer", "transformers", (PANOPTIC, INSTANCE, SEMANTIC), "seg_demo.networks.universal:MaskFormer",
            lambda config: config.get("model_type") == "maskformer",
        ),
        Family(
            "oneformer", "OneFormer", "transformers", (PANOPTIC, INSTANCE, SEMANTIC), "seg_demo.networks.oneformer:OneFormer",
            lambda config: config.get("model_type") == "oneformer", trained=False,
        ),
        Family(
            "eomt", "EoMT", "transformers", (PANOPTIC, INSTANCE, SEMANTIC), "seg_demo.networks.universal:Eomt",
            lambda config: config.get("model_type") in ("eomt", "eomt_dinov3"), tasks_of=_of_eomt,
        ),
        Family(
            "detr", "DETR", "transformers", (PANOPTIC, INSTANCE, SEMANTIC), "seg_demo.networks.detr:Detr",
            lambda config: config.get("model_type") == "detr", trained=False,
        ),
        Family(
            "conditional-detr", "Conditional DETR", "transformers", (PANOPTIC, INSTANCE, SEMANTIC),
            "seg_demo.networks.detr:ConditionalDetr", lambda config: config.get("model_type") == "conditional_detr", trained=False,
        ),
        Family(
            "rfdetr", "RF-DETR", "transformers", (INSTANCE,), "seg_demo.networks.detr:RfDetr",
            lambda config: config.get("model_type") == "rf_detr",
        ),
        Family(
            "sam", "SAM", "transformers", (INSTANCE,), "seg_demo.networks.sam:Sam",
            lambda config: config.get("model_type") == "sam", (CLICKS,), published="facebook/sam-vit-base", trained=False,
        ),
        Family(
            "sam_hq", "SAM-HQ", "transformers", (INSTANCE,), "seg_demo.networks.sam:SamHq",
            lambda config: config.get("model_type") == "sam_hq", (CLICKS,), published="syscv-community/sam-hq-vit-base", trained=False,
        ),
        Family(
            "sam2", "SAM 2", "transformers", (INSTANCE,), "seg_demo.networks.sam:Sam2",
            lambda config: config.get("model_type") in ("sam2", "sam2_video"), (CLICKS,), published="facebook/sam2.1-hiera-tiny", trained=False,
        ),
        Family(
            "edgetam", "EdgeTAM", "transformers", (INSTANCE,), "seg_demo.networks.sam:EdgeTam",
            lambda config: config.get("model_type") in ("edgetam", "edgetam_video"), (CLICKS,), published="yonigozlan/EdgeTAM-hf", trained=False,
        ),
        Family(
            "sam3", "SAM 3", "transformers", (INSTANCE,), "seg_demo.networks.sam:Sam3",
            lambda config: config.get("model_type") == "sam3_video" and bool(config.get("detector_config")), (CLICKS, WORDS, EXAMPLES), trained=False,
        ),
        Family(
            "sam3_words", "SAM 3 (words)", "transformers", (INSTANCE,), "seg_demo.networks.sam:Sam3Words",
            lambda config: config.get("model_type") in ("sam3", "sam3_lite_text"), (WORDS, EXAMPLES), trained=False,
        ),
        Family(
            "sam3_tracker", "SAM 3 (clicks)", "transformers", (INSTANCE,), "seg_demo.networks.sam:Sam3Tracker",
            lambda config: config.get("model_type") in ("sam3_tracker", "sam3_tracker_video", "sam3_video"), (CLICKS,), trained=False,
        ),
        Family(
            "clipseg", "CLIPSeg", "transformers", (INSTANCE,), "seg_demo.networks.clipseg:ClipSeg",
            lambda config: config.get("model_type") == "clipseg", (WORDS,), published="CIDAS/clipseg-rd64-refined", trained=False,
        ),
        Family(
            "segformer", "SegFormer", "transformers", (SEMANTIC,), "seg_demo.networks.segformer:SegFormer",
            lambda config: isinstance(config.get("model_type"), str),
        ),
        Family("click", "Click", "seg_demo", (INSTANCE,), "seg_demo.networks.click:Click", prompts=(CLICKS,), pictures="objects"),
        Family("maskrcnn", "Mask R-CNN", "torchvision", (INSTANCE,), "seg_demo.networks.maskrcnn:MaskRcnn"),
        Family(
            "unet-instance", "U-Net with watershed", "segmentation_models_pytorch", (INSTANCE,), "seg_demo.networks.unet_instance:UNetInstance",
            pictures="nuclei",
        ),
    )
}  # fmt: skip


def family(name: str) -> Family:
    """The row of a family.

    Args:
        name: key of :data:`FAMILIES`.

    Raises:
        BadCheckpointError: no such row; the message lists them.
    """
    if name not in FAMILIES:
        raise BadCheckpointError("networks.no_such_network", name=name, names=", ".join(FAMILIES))
    return FAMILIES[name]


def network(name: str) -> type[Network]:
    """The class of a family.

    Args:
        name: key of :data:`FAMILIES`.

    Raises:
        BadCheckpointError: no such family; the message lists them.
    """
    return family(name).network


def title_of(name: str) -> str:
    """What people call a family; empty for what is none, such as a region method or a model that nobody has looked at."""
    return FAMILIES[name].title if name in FAMILIES else ""


def prompts_of(name: str) -> tuple[str, ...]:
    """Kinds of prompts that a family answers; empty for what is none, or answers none."""
    return FAMILIES[name].prompts if name in FAMILIES else ()


def register(cls: type[Network]) -> None:
    """Add a family whose class is somewhere else, to this process: a test's. A fork's has a row, which every process knows.

    Args:
        cls: has ``family``, a row without ``where``.

    Raises:
        ValueError: a family of this name is there already.
    """
    if cls.family.name in FAMILIES:
        raise ValueError(f"There are two networks {cls.family.name!r}: {FAMILIES[cls.family.name].network} and {cls}. Rename one of them.")
    FAMILIES[cls.family.name] = replace(cls.family, where=cls)


def identify(folder: Path) -> str:
    """Which family a checkpoint folder is of, from its config.json alone.

    ``architecture`` says it in checkpoints of our own format, ``_model_class`` in those of segmentation_models_pytorch, and
    ``model_type`` in those of transformers.

    Args:
        folder: the checkpoint.

    Returns:
        Key of :data:`FAMILIES`.

    Raises:
        BadCheckpointError: none of them; the message says what is supported.
    """
    from seg_demo.networks import checkpoint
    from seg_demo.networks.checkpoint import read_json

    config = read_json(Path(folder), "config.json")
    if (why := checkpoint.unsupported_kind(config)) is not None:
        raise BadCheckpointError(why)
    # A config of a stranger: what is no name is no key either.
    if isinstance(config.get("architecture"), str) and config["architecture"] in FAMILIES:
        return config["architecture"]
    for row in FAMILIES.values():
        if row.recognises(config):
            return row.name
    if (Path(folder) / "best" / "config.json").is_file():
        raise BadCheckpointError("checkpoints.run_folder")
    raise BadCheckpointError(checkpoint.unknown(config))


def load(folder: Path) -> Network:
    """Load a checkpoint folder, whatever its family.

    Args:
        folder: config.json, model.safetensors, preprocessor_config.json.

    Raises:
        BadCheckpointError: an unknown network, absurd sizes, or weights that are missing, unexpected or not finite.
    """
    try:
        return network(identify(folder)).load(Path(folder))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        # Every value that is known to matter is checked by name; this is for the kinds of nonsense nobody thought of.
        raise BadCheckpointError("checkpoints.wrong_kind_in_config", why=repr(error)) from error

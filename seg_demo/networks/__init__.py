"""The table of networks: one row and one file per architecture, each with the same verbs, imported when first used.

Verbs of a network's module: ``TASK``, ``default_options``, ``build``, ``load``, ``save``, ``preprocess``, ``forward``,
``postprocess``, ``head_prefixes``, ``replace_head``, ``card_snippet``; and of those whose encoder can say what a picture is like,
``forward_with_maps``.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from seg_demo.core.errors import BadCheckpointError

if TYPE_CHECKING:
    import torch

    from seg_demo.networks.base import Checkpoint


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        task: ``semantic`` or ``instance``.
        module_name: where its verbs are.
        title: for people.
        library: what its checkpoints are made with.
    """

    task: str
    module_name: str
    title: str
    library: str


NETWORKS: dict[str, Row] = {
    "unet": Row("semantic", "seg_demo.networks.unet", "U-Net", "segmentation_models_pytorch"),
    "fcn": Row("semantic", "seg_demo.networks.fcn", "FCN", "torchvision"),
    "segformer": Row("semantic", "seg_demo.networks.segformer", "SegFormer", "transformers"),
    "maskrcnn": Row("instance", "seg_demo.networks.maskrcnn", "Mask R-CNN", "torchvision"),
}


def network(name: str) -> ModuleType:
    """The verbs of a network.

    Args:
        name: row of :data:`NETWORKS`.

    Raises:
        BadCheckpointError: no such row; the message lists the rows.
    """
    if name not in NETWORKS:
        raise BadCheckpointError("networks.no_such_network", name=name, names=", ".join(NETWORKS))
    return importlib.import_module(NETWORKS[name].module_name)


def identify(folder: Path) -> str:
    """Which network a checkpoint folder is of, from its config.json alone.

    ``architecture`` says it in checkpoints of our torchvision networks, ``_model_class`` in those of
    segmentation_models_pytorch, and ``model_type`` in those of transformers.

    Args:
        folder: the checkpoint.

    Returns:
        Row of :data:`NETWORKS`.

    Raises:
        BadCheckpointError: none of them; the message says what is supported.
    """
    from seg_demo.networks import checkpoint as kinds
    from seg_demo.networks.checkpoint import read_json

    config = read_json(Path(folder), "config.json")
    if (why := kinds.unsupported_kind(config)) is not None:
        raise BadCheckpointError(why)
    if config.get("architecture") in NETWORKS:
        return config["architecture"]
    if isinstance(config.get("_model_class"), str):
        return "unet"
    if isinstance(config.get("model_type"), str):
        return "segformer"
    if isinstance(config.get("encoder_name"), str):
        raise BadCheckpointError("checkpoints.no_model_class", encoder=config["encoder_name"][:60])
    about = json.dumps(config.get("architectures") or sorted(config)[:8])[:200]
    raise BadCheckpointError("checkpoints.no_segmentation", about=about)


def load(folder: Path) -> Checkpoint:
    """Load a checkpoint folder, whatever its network.

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


def save(checkpoint: Checkpoint, folder: Path, half: bool = False) -> None:
    """Write a checkpoint folder that the network's plain library loads with identical logits.

    Args:
        checkpoint: what to write.
        folder: made if it does not exist; files of the same names are replaced.
        half: weights as fp16.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    network(checkpoint.architecture).save(checkpoint, Path(folder), half)


def optimise(checkpoint: Checkpoint, device: torch.device) -> None:
    """Let a network compute in the order and memory layout that is fastest on a device; its state dict stays as it is.

    Logits change by rounding only. SegFormer's head is folded (see :mod:`seg_demo.networks.segformer`). On a CPU a U-Net's
    decoder is folded too (:mod:`seg_demo.networks.unet`), measured 1.1 times as fast, and it gets channels last, 1.25
    (training) to 1.4 (prediction) times, while the other networks lose by that.

    Args:
        checkpoint: its module is changed in place, but not moved.
        device: where it will compute.
    """
    if checkpoint.architecture == "segformer":
        from seg_demo.networks.segformer import fold_head

        fold_head(checkpoint.module)
    elif checkpoint.architecture == "unet" and device.type == "cpu":
        from seg_demo.networks import unet

        unet.fold_decoder(checkpoint.module)
        # MobileOne's convolutions have corrupted memory in this layout.
        if "mobileone" not in str(checkpoint.options):
            checkpoint.module.to(memory_format=importlib.import_module("torch").channels_last)

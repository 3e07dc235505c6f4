"""What a transformers folder says about its model, checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
from transformers.utils import logging

from seg_demo.errors import BadCheckpointError
from seg_demo.networks import files, names
from seg_demo.networks.weights import check_finite
from seg_demo.types import LabelSet

# tipsv2_dpt names its logits otherwise.
MODEL_TYPES = tuple(name for name in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES if name != "tipsv2_dpt")
# These take pictures of any size.
ANY_SIZE = ("segformer", "mobilevit", "mobilevitv2", "mobilenet_v2")
# Set by us, or without meaning for the network. An attention implementation may be a name on the Hub, whose code would run.
NOT_OPTIONS = (
    "architectures", "auto_map", "attn_implementation", "_attn_implementation", "experts_implementation", "dtype",
    "torch_dtype", "id2label", "label2id", "num_labels", "_num_labels", "_name_or_path", "name_or_path",
    "transformers_version",
)  # fmt: skip


def config_of(num_classes: int, options: dict[str, Any]) -> PreTrainedConfig:
    """transformers' config of a model type for semantic segmentation, and of nothing else.

    Args:
        num_classes: output channels, but for ``binary`` options, where two classes share one channel.
        options: keys of the config, ``model_type`` among them.

    Raises:
        BadCheckpointError: another model type, or a config that transformers refuses.
    """
    model_type = options.get("model_type")
    if model_type not in MODEL_TYPES:
        raise BadCheckpointError(
            f"transformers models of type {str(model_type)[:80]!r} do not return logits per class and pixel. "
            f"Supported types: {', '.join(MODEL_TYPES)}."
        )
    arguments = {key: value for key, value in options.items() if key not in ("model_type", "binary")}
    try:
        return AutoConfig.for_model(model_type, num_labels=1 if options.get("binary") else num_classes, **arguments)
    except Exception as error:  # transformers validates with its own classes of errors, which change with its version
        raise BadCheckpointError(f"config.json is not one of a {model_type} model ({files.said(error)}).") from error


def from_config(num_classes: int, options: dict[str, Any]) -> nn.Module:
    """A module with transformers' own initialisation."""
    return AutoModelForSemanticSegmentation.from_config(config_of(num_classes, options))


def options_from_config(config: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Options and number of output channels from a config.json, before anything is built."""
    _refuse_fetching(config)
    options = {key: value for key, value in config.items() if key not in NOT_OPTIONS}
    files.check_options(options)
    id2label = config.get("id2label")
    count = len(id2label) if isinstance(id2label, dict) else config.get("num_labels", 2)
    names.check_count(count)
    if config.get("num_channels", 3) != 3:
        raise BadCheckpointError(f"The network takes {config['num_channels']} channels; only RGB images can be served.")
    if count == 1:
        options["binary"] = True
    return options, count


def _refuse_fetching(config: object) -> None:
    """A config may make transformers fetch a backbone or a quantiser: somebody else's weights or code."""
    if isinstance(config, dict):
        named = isinstance(config.get("backbone"), str) and not config.get("backbone_config")
        if config.get("use_pretrained_backbone") or config.get("quantization_config") or named:
            raise BadCheckpointError(
                "config.json asks for a backbone or a quantiser that would be fetched from elsewhere; "
                "only checkpoints that bring all their weights are loaded."
            )
        for value in config.values():
            _refuse_fetching(value)


def own_size(config: PreTrainedConfig) -> tuple[int, int] | None:
    """(height, width) in pixels that a network was made for, by its config; None if that says none."""
    for each in (config, getattr(config, "backbone_config", None)):
        size = getattr(each, "image_size", None)
        if isinstance(size, int):
            return size, size
        if isinstance(size, (list, tuple)) and len(size) == 2:
            return int(size[0]), int(size[1])
    return None


def label_set(config: dict[str, Any], ours: dict[str, Any], count: int) -> LabelSet:
    """Class names from config.json; one channel means background and the class that it names."""
    described = {"id2label": config.get("id2label"), **{key: ours[key] for key in ("colors", "background") if key in ours}}
    if count > 1:
        found = names.labels_from_dict(described, count)
        return found or LabelSet.from_names(tuple(f"class {index}" for index in range(count)))
    name = str(next(iter((config.get("id2label") or {0: "foreground"}).values())))[:200]
    return LabelSet.from_names(("background", name), background=0)


def read_module(folder: Path, options: dict[str, Any], count: int) -> nn.Module:
    """The module with exactly the weights of the folder; transformers itself would fill what is missing with noise."""
    try:
        with quiet():
            module, report = AutoModelForSemanticSegmentation.from_pretrained(
                folder,
                config=config_of(count, options),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # so that they are reported by name, and refused below
                output_loading_info=True,
            )
    except Exception as error:  # transformers, safetensors and torch all have their own
        raise BadCheckpointError(f"{files.WEIGHTS} of the checkpoint cannot be loaded ({files.said(error, folder)}).") from error
    for fault in ("missing", "unexpected", "mismatched"):
        keys = sorted(key if isinstance(key, str) else str(key[0]) for key in report[f"{fault}_keys"])
        if keys:
            raise BadCheckpointError(f"{len(keys)} weights in {files.WEIGHTS} are {fault}, the first is {keys[0]!r}.")
    check_finite(module.state_dict().items())
    return module


@contextmanager
def quiet() -> Iterator[None]:
    """transformers draws a bar even for a file of 3 MB, and a table of what is refused here with a sentence."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def initialise(module: nn.Module) -> None:
    """Random weights that learn: Xavier for linear layers and the classifier, Kaiming for convolutions.

    Args:
        module: a SegFormer of transformers, changed in place.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and name.endswith("classifier")):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

"""What a transformers folder says about its model, checked before anything is built from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING,
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
)
from transformers.utils import logging

from seg_demo.errors import BadCheckpointError, EncoderOnlyError
from seg_demo.networks import files, names
from seg_demo.networks.weights import class_dependent, left_out, refuse_larger, refuse_missing, shapes_of, without_effect
from seg_demo.types import MAX_IDS, LabelSet

# tipsv2_dpt names its logits otherwise.
MODEL_TYPES = tuple(name for name in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES if name != "tipsv2_dpt")
# Encoders of these types have a segmentation head of their own in transformers.
WITH_HEAD = ("segformer", "beit", "data2vec-vision", "mobilevit", "mobilevitv2", "mobilenet_v2")
# These give four maps of features, each half the size of the one before, as UPerNet wants them.
PYRAMIDS = ("convnext", "convnextv2", "swin", "swinv2", "focalnet", "resnet")
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


def is_encoder(config: dict[str, Any]) -> bool:
    """Whether a config.json describes an encoder of a family that can get a head.

    Args:
        config: its content.
    """
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None
    if config.get("model_type") in PYRAMIDS:
        return True
    return config.get("model_type") in WITH_HEAD and name is not None and not name.endswith("ForSemanticSegmentation")


def refuse_encoder(config: dict[str, Any], stored: Callable[[], Collection[str]]) -> None:
    """Say what an encoder is good for, instead of listing the weights that it lacks.

    Args:
        config: content of config.json. Its ``architectures`` may name a class of the author's own, or the base's: the libraries do not
            heed it, so the weights decide.
        stored: finds the names of the weights in the file.

    Raises:
        EncoderOnlyError: it is one.
    """
    if is_encoder(config) and not _has_head(config, stored):
        named = config.get("architectures")
        name = str(named[0])[:80] if isinstance(named, list) and named else str(config.get("model_type"))
        raise EncoderOnlyError(
            f"This is an encoder without a segmentation head ({name}): it has no layers that name a class for each pixel, so it cannot "
            "segment yet. It is a base for training: python -m train.finetune --model with its id. To segment at once, choose a model "
            "that was fine-tuned for it, such as nvidia/segformer-b0-finetuned-ade-512-512."
        )


def _has_head(config: dict[str, Any], stored: Callable[[], Collection[str]]) -> bool:
    """Whether layers that name a class for each pixel are among the weights, whatever they are a part of."""
    if config.get("model_type") in PYRAMIDS:
        return False
    options, count = options_from_config(config)
    plain = {key: value for key, value in options.items() if key != "binary"}
    try:
        heads = class_dependent(lambda classes: from_config(classes, plain), count)
    except BadCheckpointError:
        return False  # an encoder's config need not say where a head takes its features from
    return any(f".{name}".endswith(f".{head}") for name in stored() for head in heads)


def options_from_config(config: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Options and number of output channels from a config.json, before anything is built; see :func:`settled` for the number."""
    _refuse_fetching(config)
    options = {key: _unlabelled(value) for key, value in config.items() if key not in NOT_OPTIONS}
    if config.get("num_channels", 3) != 3:
        raise BadCheckpointError(f"The network takes {config['num_channels']} channels; only RGB images can be served. Choose a model that takes three channels.")
    _check_what_is_built(options)
    table, stated = names.class_table(config), config.get("num_labels", 2)
    count = len(table) or stated
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_IDS:
        count = 2
    if count == 1:
        options["binary"] = True
    return options, count


def _unlabelled(value: Any) -> Any:
    """A part of a config without tables of labels: a backbone's are of the thousands of classes that it was pretrained with."""
    if not isinstance(value, dict):
        return value
    return {key: _unlabelled(part) for key, part in value.items() if key not in ("id2label", "label2id")}


def _check_what_is_built(options: dict[str, Any]) -> None:
    """Refuse numbers that no real network has, if the network is built from them.

    A vocabulary, a seed or a number of training points may be as large as it likes. Whether anything is built from a number is
    seen from two networks that have a small one in its place: they have the same weights.
    """
    large = files.oversized(options)
    if not large:
        return
    for where, value in large:
        if isinstance(value, float) and not math.isfinite(value):
            files.refuse_option(where, value)

    def built(few: int) -> dict[str, torch.Size] | None:
        small = {where: value[:few] if isinstance(value, list) else type(value)(few) for where, value in large}
        try:
            return shapes_of(lambda: from_config(2, files.with_options(options, small)), "network")
        except BadCheckpointError:
            return None

    first = built(1)
    if first is None or first != built(2):
        files.refuse_option(*large[0])


def settled(
    options: dict[str, Any], count: int, state: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]
) -> tuple[dict[str, Any], int]:
    """Options and number of output channels as the weights have them: class tables are of other lengths now and then.

    Args:
        options: of :func:`options_from_config`.
        count: of the same.
        state: weights by the network's own names.
        wanted: shapes of the network that options and count describe.

    Raises:
        BadCheckpointError: the network cannot be built.
    """
    plain = {key: value for key, value in options.items() if key != "binary"}
    if all(state[name].shape == shape for name, shape in wanted.items() if name in state):
        return options, count
    others = shapes_of(lambda: from_config(count + 1, plain), "network")
    # The head has one row per class, and an auxiliary head as many.
    rows = {state[name].shape[0] for name, shape in wanted.items() if others[name] != shape and name in state and state[name].ndim}
    if len(rows) == 1 and 1 <= (found := rows.pop()) <= MAX_IDS:
        return {**plain, **({"binary": True} if found == 1 else {})}, found
    return options, count


def _refuse_fetching(config: object) -> None:
    """A config may make transformers fetch a backbone or a quantiser: somebody else's weights or code."""
    if isinstance(config, dict):
        if (quantised := config.get("quantization_config")) is not None:
            by = quantised.get("quant_method") if isinstance(quantised, dict) else None
            raise BadCheckpointError(
                f"The weights of this model are quantised ({str(by or 'quantization_config')[:40]}), which only the program that did it "
                "reads. Choose the model that it was made from."
            )
        named = isinstance(config.get("backbone"), str) and not config.get("backbone_config")
        if config.get("use_pretrained_backbone") or named:
            backbone = str(config.get("backbone") or "")[:80]
            raise BadCheckpointError(
                f"config.json names a backbone that would be fetched from elsewhere ({backbone}); only checkpoints that describe their "
                "backbone and bring all its weights are loaded. Ask its owner to save it again with save_pretrained(), or choose another "
                "model."
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


def label_set(config: dict[str, Any], ours: dict[str, Any], count: int) -> tuple[LabelSet, tuple[str, ...]]:
    """Class names from config.json, and what is to be said about them; one channel means background and the class it names."""
    table = names.class_table(config)
    if count > 1:
        found = names.labels_from_dict({"id2label": table, **{key: ours[key] for key in ("colors", "background") if key in ours}}, count)
        return found or LabelSet.from_names(tuple(f"class {index}" for index in range(count))), names.table_notes(config, count)
    return names.binary_labels(table), ()


def read_module(options: dict[str, Any], count: int, state: dict[str, Tensor]) -> tuple[nn.Module, tuple[str, ...]]:
    """The module with the weights of a folder; transformers itself would fill what is missing with noise.

    Args:
        options: of :func:`settled`.
        count: of the same.
        state: finite fp32 weights by the network's own names, or by those of earlier versions of transformers.

    Returns:
        The module, and what was left out, a sentence or none.

    Raises:
        BadCheckpointError: weights are missing, of other shapes, or of a larger network.
    """
    described = config_of(count, options)
    what = f"{options.get('model_type')} model"
    try:
        with quiet():
            module, report = MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING[type(described)].from_pretrained(
                None,
                config=described,
                state_dict=state,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # so that they are reported by name, and refused below
                output_loading_info=True,
            )
    except Exception as error:  # transformers and torch have their own
        raise BadCheckpointError(f"{files.WEIGHTS} of the checkpoint cannot be loaded ({files.said(error)}).") from error
    for name, have, want in sorted(report["mismatched_keys"], key=str):
        raise BadCheckpointError(
            f"Weight {name!r} has shape {tuple(have)} in {files.WEIGHTS}, but {files.CONFIG} describes {tuple(want)}."
        )
    refuse_missing(sorted(report["missing_keys"]), what, lambda: without_effect(lambda: from_config(count, options), _result))
    refuse_larger(report["unexpected_keys"], module.state_dict(), what)
    return module, left_out(report["unexpected_keys"])


def _result(module: nn.Module) -> Tensor:
    """Logits for some input, by which it is known what they depend on."""
    side = getattr(module.config, "image_size", None)
    height, width = side if isinstance(side, (list, tuple)) else (side or 512,) * 2
    return module(pixel_values=torch.zeros(1, 3, height, width)).logits


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

"""What smp's config.json says, checked before anything is built from it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
from torch import Tensor, nn

from seg_demo.errors import BadCheckpointError
from seg_demo.networks import albumentations, files, names
from seg_demo.networks.albumentations import Pipeline
from seg_demo.networks.base import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from seg_demo.types import LabelSet

DECODERS = tuple(model.__name__ for model in smp.MODEL_ARCHITECTURES_MAPPING.values())
# Renamed in smp: what its classes accept under the old name, they accept in a config of any age.
OLD_ARGUMENTS = ("decoder_use_batchnorm", "psp_use_batchnorm", "upscale_mode")
# smp maps these names of earlier versions to timm's.
FORMER_ENCODERS = ("timm-mobilenetv3_", "timm-regnet", "timm-res2", "timm-resnest", "timm-gernet")
# What smp hands on to a timm encoder (``tu-...``), of which it depends what the network computes or which sizes it takes.
ENCODER_ARGUMENTS = (
    "img_size", "dynamic_img_size", "dynamic_img_pad", "strict_img_size", "always_partition", "window_size",
)  # fmt: skip
# In our preprocessor_config.json: albumentations' file beside it does the work.
OF_PIPELINE = "albumentations"
SET_BY_US = ("self", "kwargs", "encoder_name", "encoder_weights", "in_channels", "classes", "activation")


def decoder_class(name: object) -> type[nn.Module]:
    """smp's class of a name.

    Raises:
        BadCheckpointError: no such class; the message lists them.
    """
    if name not in DECODERS:
        raise BadCheckpointError(f"There is no smp model {name!r}. Supported: {', '.join(DECODERS)}.")
    return getattr(smp, str(name))


def check_encoder(name: object) -> None:
    """Refuse an encoder that is not in the tables of smp and timm: timm would fetch what ``tu-hf-hub:user/repo`` points to.

    Raises:
        BadCheckpointError: no such encoder.
    """
    if isinstance(name, str):
        in_smp = name in smp.encoders.encoders or name.startswith(FORMER_ENCODERS)
        if in_smp or (name.startswith("tu-") and timm.is_model(name.removeprefix("tu-").split(".")[0])):
            return
    raise BadCheckpointError(f"There is no encoder {str(name)[:80]!r} in segmentation_models_pytorch or timm.")


def arguments_of(decoder: type[nn.Module]) -> set[str]:
    """Arguments of smp's class that a checkpoint may set."""
    return {*inspect.signature(decoder.__init__).parameters, *OLD_ARGUMENTS, *ENCODER_ARGUMENTS} - set(SET_BY_US)


def options_from_config(config: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Options and output channels from smp's config.json; the activation is dropped, for what leaves here is logits."""
    decoder = decoder_class(config.get("_model_class"))
    check_encoder(config.get("encoder_name", "resnet34"))
    channels = config.get("classes", 1)
    names.check_count(channels)
    if config.get("in_channels", 3) != 3:
        raise BadCheckpointError(f"The network takes {config['in_channels']} channels; only RGB images can be served. Choose a model that takes three channels.")
    options = {"decoder": decoder.__name__, "encoder": config.get("encoder_name", "resnet34")}
    options |= {key: config[key] for key in sorted(arguments_of(decoder)) if key in config}
    files.check_options(options)
    if channels == 1:
        options["binary"] = True
    return options, channels


def label_set(config: dict[str, Any], extra: dict[str, Any], channels: int) -> tuple[LabelSet, tuple[str, ...]]:
    """Class names from preprocessor_config.json, else config.json, else generated; and what is to be said about them."""
    count = max(2, channels)
    for data in (extra, config):
        table = names.class_table(data)
        if channels == 1 and len(table) == 1:
            return names.binary_labels(table), ()
        found = names.labels_from_dict(data, count)
        if found is not None:
            return found, names.table_notes(data, count)
    if channels == 1:
        return LabelSet.from_names(("background", "foreground"), background=0), ()
    return LabelSet.from_names(tuple(f"class {index}" for index in range(channels))), ()


def renamed(state: dict[str, Tensor], options: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of smp before 0.4, whose encoders were ports of timm's, under today's names (smp's ``load_state_dict``)."""
    name = options["encoder"].removeprefix("timm-").removeprefix("tu-").removeprefix("tf_")
    if not name.startswith(("regnet", "res2", "resnest", "mobilenetv3", "gernet")):
        return state
    today = {}
    for key, tensor in state.items():
        if key.startswith("encoder.") and not key.startswith("encoder.model."):
            key = "encoder.model." + key.removeprefix("encoder.")
        today[key.replace(".stages.", ".stages_") if "gernet" in name else key] = tensor
    return today


def preprocessing_of(
    folder: Path, extra: dict[str, Any], module: nn.Module, config: dict[str, Any], options: dict[str, Any], longest_side: int
) -> tuple[Preprocessing, Pipeline | None, tuple[str, ...]]:
    """How an upload becomes a batch, by what the folder says: our own file, albumentations' file, or the encoder's pretraining.

    Args:
        folder: the checkpoint.
        extra: content of its preprocessor_config.json, which only we write.
        module: the network.
        config: content of its config.json.
        options: of :func:`options_from_config`.
        longest_side: pixels to which uploads are shrunk where nothing says a size.

    Returns:
        The rule; the pipeline where that does the work; what is done otherwise than the folder says, a sentence each.

    Raises:
        BadCheckpointError: as :func:`seg_demo.networks.albumentations.parse`.
    """
    ours = extra.get("image_mean") is not None
    pipeline = albumentations.read(folder) if not ours or extra.get(OF_PIPELINE) else None
    if pipeline is None:
        if ours:
            return Preprocessing.from_dict(extra), None, ()
        return plain_preprocessing(module, options, longest_side, config.get("encoder_weights")), None, ()
    plain = plain_preprocessing(module, options, longest_side, None)
    rule, notes = pipeline.preprocessing(plain), list(pipeline.notes)
    if plain.size is not None:
        if pipeline.frame(96, 144).size != plain.size and pipeline.resizes:
            notes.append(
                f"{albumentations.CONFIG} makes pictures of a size that the network does not take: they are resized to its own "
                f"{plain.size[0]} x {plain.size[1]}."
            )
        if pipeline.frame(96, 144).size != plain.size or not pipeline.resizes:
            return replace(plain, mean=rule.mean, std=rule.std), None, tuple(notes)
    moves = [name for name, _ in pipeline.steps if name in (*albumentations.RESIZES, "PadIfNeeded")]
    if not moves:
        return rule, None, tuple(notes)
    capped = None if pipeline.resizes else plain.longest_side
    return rule, replace(pipeline, multiple=plain.multiple, longest_side=capped), tuple(notes)


def plain_preprocessing(
    module: nn.Module, options: dict[str, Any], longest_side: int, pretrained: object = None
) -> Preprocessing:
    """Mean and deviation that the encoder was pretrained with, from tables that need no network.

    Args:
        module: of :func:`seg_demo.networks.unet.build`.
        options: of :func:`options_from_config`.
        longest_side: pixels to which uploads are shrunk.
        pretrained: name of the weights that the encoder began with (``encoder_weights``), if it is known.
    """
    mean, std = encoder_normalisation(options["encoder"], pretrained)
    size = fixed_size(module)
    if size is not None:
        return Preprocessing(mean, std, size=size)
    stride = int(module.encoder.output_stride)
    # PAN pools the deepest features three times more, DPT once.
    multiple = {"PAN": 256, "DPT": 2 * stride}.get(options["decoder"], stride)
    return Preprocessing(mean, std, longest_side=longest_side, multiple=multiple)


def encoder_normalisation(encoder: str, pretrained: object = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of an encoder's pretraining: ``smp.encoders.get_preprocessing_params`` without asking the Hub.

    smp takes those of its own encoders from the repositories of their weights, and those of timm's from timm's table.

    Args:
        encoder: its name in smp.
        pretrained: name of its weights, as ``imagenet`` or ``advprop``.
    """
    if encoder.startswith(FORMER_ENCODERS):
        encoder = encoder.replace("timm-", "tu-tf_" if "mobilenetv3" in encoder else "tu-")
    if encoder.startswith("tu-"):
        known = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-"))
        known = known or timm.models.get_pretrained_cfg(encoder.removeprefix("tu-").split(".")[0])
        return (IMAGENET_MEAN, IMAGENET_STD) if known is None else (tuple(known.mean), tuple(known.std))
    if pretrained == "advprop" or encoder.startswith(("inception", "xception", "timm-tf_efficientnet_lite")):
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    if encoder.startswith("dpn"):
        return (124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3
    return IMAGENET_MEAN, IMAGENET_STD


def fixed_size(module: nn.Module) -> tuple[int, int] | None:
    """(height, width) in pixels of the only input that the encoder takes, as ViT and Swin of timm do by default; or None."""
    patches = getattr(getattr(module.encoder, "model", None), "patch_embed", None)
    only = getattr(patches, "strict_img_size", False) and not getattr(patches, "dynamic_img_pad", False)
    return tuple(patches.img_size) if only and patches.img_size is not None else None

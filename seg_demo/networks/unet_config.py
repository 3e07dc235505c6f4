"""What smp's config.json says, checked before anything is built from it."""

from __future__ import annotations

import inspect
from typing import Any

import segmentation_models_pytorch as smp
import timm
from torch import Tensor, nn

from seg_demo.errors import BadCheckpointError
from seg_demo.networks import files, names
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
        raise BadCheckpointError(f"The network takes {config['in_channels']} channels; only RGB images can be served.")
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
            return LabelSet.from_names(("background", *table.values()), background=0), ()
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


def plain_preprocessing(module: nn.Module, options: dict[str, Any], longest_side: int) -> Preprocessing:
    """Mean and deviation that the encoder was pretrained with, from tables that need no network."""
    encoder = options["encoder"]
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if encoder.startswith("tu-") and timm.is_model_pretrained(encoder.removeprefix("tu-")):
        params = smp.encoders.get_preprocessing_params(encoder)
        mean, std = params["mean"], params["std"]
    elif encoder.startswith(("inception", "xception")):
        mean = std = (0.5, 0.5, 0.5)
    elif encoder.startswith("dpn"):
        mean, std = (124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3
    size = fixed_size(module)
    if size is not None:
        return Preprocessing(tuple(mean), tuple(std), size=size)
    stride = int(module.encoder.output_stride)
    # PAN pools the deepest features three times more, DPT once.
    multiple = {"PAN": 256, "DPT": 2 * stride}.get(options["decoder"], stride)
    return Preprocessing(tuple(mean), tuple(std), longest_side=longest_side, multiple=multiple)


def fixed_size(module: nn.Module) -> tuple[int, int] | None:
    """(height, width) in pixels of the only input that the encoder takes, as ViT and Swin of timm do by default; or None."""
    patches = getattr(getattr(module.encoder, "model", None), "patch_embed", None)
    only = getattr(patches, "strict_img_size", False) and not getattr(patches, "dynamic_img_pad", False)
    return tuple(patches.img_size) if only and patches.img_size is not None else None

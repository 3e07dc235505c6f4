"""What a transformers folder says about its model, checked before anything is built from it.

transformers' image processor of a checkpoint: where it is written down, what it is where it is not, and what it does.

Three files say it. ``processor_config.json`` with an ``image_processor`` inside is what transformers 5 saves, and comes first, as
in ``AutoImageProcessor``; ``preprocessor_config.json`` is what all others have. A repository with neither gets what the library has
for that class of model. What a processor does to colours and to the frame is measured on two small pictures, beside what its
attributes say: processors differ in which of them they heed.

Three things are not the library's, on purpose:

- What crops or pads (MobileViT's and MobileNetV2's centre crop, a letterbox) would give a mask of another frame than the upload's,
  and the library stretches that over the upload: the crop and the padding are left out, so that the mask lies on its pixels.
- A size that the network cannot take (the library's prediction ends in an error) is replaced by the network's own.
- Checkpoints that this project trains from scratch have a ``seg_demo`` entry in preprocessor_config.json, which transformers
  ignores: with it, an image keeps its size up to a longest side.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    BeitImageProcessor,
    DPTImageProcessor,
    MobileNetV2ImageProcessor,
    MobileViTImageProcessor,
    PreTrainedConfig,
    Sapiens2ImageProcessor,
    SegformerImageProcessor,
    ViTImageProcessor,
)
from transformers.image_processing_backends import TorchvisionBackend
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING,
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING,
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
    MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING,
)
from transformers.utils import logging

from seg_demo.core import MAX_IDS, BadCheckpointError, EncoderOnlyError, LabelSet, Message
from seg_demo.networks import checkpoint
from seg_demo.networks.preprocessing import MAX_NETWORK_SIDE, Preprocessing, repeated, tensor_of
from seg_demo.networks.weights import class_dependent, halved, left_out, refuse_larger, refuse_missing, shapes_of, without_effect

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
    """transformers' config of a model type for semantic segmentation, of class queries or of prompts, and of nothing else.

    Args:
        num_classes: output channels, but for ``binary`` options, where two classes share one channel.
        options: keys of the config, ``model_type`` among them.

    Raises:
        BadCheckpointError: another model type, or a config that transformers refuses.
    """
    model_type = options.get("model_type")
    if model_type not in (*MODEL_TYPES, *checkpoint.QUERY_TYPES, *checkpoint.PROMPT_TYPES):
        raise BadCheckpointError("checkpoints.no_logits", type=str(model_type)[:80], types=", ".join(MODEL_TYPES))
    arguments = {key: value for key, value in options.items() if key not in ("model_type", "binary")}
    try:
        with quiet():  # a backbone that works, but is not among those that the authors published, is warned of
            return AutoConfig.for_model(model_type, num_labels=1 if options.get("binary") else num_classes, **arguments)
    except Exception as error:  # transformers validates with its own classes of errors, which change with its version
        raise BadCheckpointError("checkpoints.config_of_other_model", type=model_type, why=checkpoint.library_message(error)) from error


def class_of(config: PreTrainedConfig) -> type[transformers.PreTrainedModel]:
    """transformers' class of network for a config of :func:`config_of`."""
    if config.model_type in checkpoint.PROMPT_TYPES:
        return getattr(transformers, checkpoint.PROMPT_TYPES[config.model_type])
    if config.model_type == "conditional_detr":
        return transformers.ConditionalDetrForSegmentation  # which no Auto class knows
    if config.model_type not in checkpoint.QUERY_TYPES:
        return MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING[type(config)]
    if type(config) in MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING:
        return MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING[type(config)]
    return MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING[type(config)]


def from_config(num_classes: int, options: dict[str, Any]) -> nn.Module:
    """A module with transformers' own initialisation."""
    described = config_of(num_classes, options)
    return class_of(described)._from_config(described)


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
        raise EncoderOnlyError("checkpoints.encoder_only", name=name)


def _has_head(config: dict[str, Any], stored: Callable[[], Collection[str]]) -> bool:
    """Whether layers that name a class for each pixel are among the weights, whatever they are a part of."""
    if config.get("model_type") in PYRAMIDS:
        return False
    options, count = options_from_config(config, any_channels=True)
    plain = {key: value for key, value in options.items() if key != "binary"}
    try:
        heads = class_dependent(partial(from_config, options=plain), count)
    except BadCheckpointError:
        return False  # an encoder's config need not say where a head takes its features from
    return any(f".{name}".endswith(f".{head}") for name in stored() for head in heads)


def options_from_config(config: dict[str, Any], any_channels: bool = False) -> tuple[dict[str, Any], int]:
    """Options and number of output channels from a config.json, before anything is built; see :func:`settled` for the number. Pictures of other
    channels than red, green and blue are refused unless ``any_channels``."""
    _refuse_fetching(config)
    options = {key: _unlabelled(value) for key, value in config.items() if key not in NOT_OPTIONS}
    if (channels := checkpoint.channels_of(config)) != 3 and not any_channels:
        raise BadCheckpointError("checkpoints.other_channels", channels=channels)
    _check_what_is_built(options)
    table, stated = checkpoint.class_table(config), config.get("num_labels", 2)
    count = len(table) or stated
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_IDS:
        count = 2
    if count == 1:
        options["binary"] = True
    return options, count


def _unlabelled(value: Any) -> Any:
    """A part of a config without tables of labels: a backbone's are of the thousands of classes that it was pretrained with; and without
    what is set by us."""
    if not isinstance(value, dict):
        return value
    return {key: _unlabelled(part) for key, part in value.items() if key not in NOT_OPTIONS}


def _check_what_is_built(options: dict[str, Any]) -> None:
    """Refuse numbers that no real network has, if the network is built from them.

    A vocabulary, a seed or a number of training points may be as large as it likes. Whether anything is built from a number is
    seen from two networks that have a small one in its place: they have the same weights.
    """
    large = checkpoint.oversized(options)
    if not large:
        return
    if endless := [one for one in large if isinstance(one[1], float) and not math.isfinite(one[1])]:
        checkpoint.refuse_option(*endless[0])

    def built(few: int) -> dict[str, torch.Size] | None:
        small = {where: value[:few] if isinstance(value, list) else type(value)(few) for where, value in large}
        try:
            return shapes_of(partial(from_config, 2, options=checkpoint.with_options(options, small)), "network")
        except BadCheckpointError:
            return None

    if (first := built(1)) is None:  # perhaps for something beside them, which is said then
        shapes_of(partial(from_config, 2, options={key: value for key, value in options.items() if key not in {where[0] for where, _ in large}}), "network")
    if first is None or first != built(2):
        checkpoint.refuse_option(*large[0])


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
    others = shapes_of(partial(from_config, count + 1, options=plain), "network")
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
            raise BadCheckpointError("checkpoints.quantised", by=str(by or "quantization_config")[:40])
        named = isinstance(config.get("backbone"), str) and not config.get("backbone_config")
        if config.get("model_type") == "timm_backbone" and re.fullmatch(r"[\w.]+", str(config.get("backbone")), re.ASCII):
            named = False  # timm builds it by itself; an address of the Hub has other characters
        if config.get("model_type") == "timm_wrapper" and not re.fullmatch(r"[\w.]+", str(config.get("architecture")), re.ASCII):
            raise BadCheckpointError("checkpoints.backbone_elsewhere", backbone=str(config.get("architecture"))[:80])
        if config.get("use_pretrained_backbone") or named:
            backbone = str(config.get("backbone") or "")[:80]
            raise BadCheckpointError("checkpoints.backbone_elsewhere", backbone=backbone)
        for value in config.values():
            _refuse_fetching(value)


def own_size(config: PreTrainedConfig) -> tuple[int, int] | None:
    """(height, width) in pixels that a network was made for, by its config; None if that says none."""
    for part in (config, getattr(config, "backbone_config", None)):
        size = getattr(part, "image_size", None)
        if isinstance(size, int):
            return size, size
        if isinstance(size, (list, tuple)) and len(size) == 2:
            return int(size[0]), int(size[1])
    return None


def label_set(config: dict[str, Any], ours: dict[str, Any], count: int, binary: bool = True) -> tuple[LabelSet, tuple[str, ...]]:
    """Class names from config.json, and what is to be said about them; one channel means background and the class it names, unless
    ``binary`` is False."""
    table = checkpoint.class_table(config)
    if count > 1 or not binary:
        found = checkpoint.labels_from_dict({"id2label": table, **{key: ours[key] for key in ("colors", "background", "isthing") if key in ours}}, count)
        return found or LabelSet.from_names(tuple(f"class {index}" for index in range(count))), checkpoint.table_notes(config, count)
    return checkpoint.binary_labels(table), ()


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
            module, report = class_of(described).from_pretrained(
                None,
                config=described,
                state_dict=state,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # so that they are reported by name, and refused below
                output_loading_info=True,
            )
    except Exception as error:  # transformers and torch have their own
        raise BadCheckpointError("weights.not_loaded", why=checkpoint.library_message(error)) from error
    for name, have, want in sorted(report["mismatched_keys"], key=str):
        raise BadCheckpointError("weights.other_shape", name=name, shape=tuple(have), wanted=tuple(want))
    refuse_missing(sorted(report["missing_keys"]), what, lambda: without_effect(lambda: from_config(count, options), _result))
    refuse_larger(report["unexpected_keys"], module.state_dict(), what)
    return module, left_out(report["unexpected_keys"])


def write_module(module: nn.Module, names: Sequence[str], folder: Path, half: bool) -> None:
    """config.json and model.safetensors as transformers' Auto classes load them; config.json says float32, so that they cast halves
    back on loading.

    Args:
        module: of transformers; its config gets the names.
        names: of its classes.
        folder: exists.
        half: weights as fp16.
    """
    module.config.id2label = dict(enumerate(names))
    module.config.label2id = {name: index for index, name in enumerate(names)}
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    if half:
        state = {name: halved(tensor) for name, tensor in state.items()}
    with quiet():
        module.save_pretrained(folder, state_dict=state, max_shard_size="50GB")
    # transformers would load weights in the file's own type, and half precision is slow or missing on a CPU.
    checkpoint.write_json(folder, checkpoint.CONFIG, {**checkpoint.read_json(folder, checkpoint.CONFIG), "dtype": "float32"})


def _result(module: nn.Module) -> Tensor:
    """Logits for some input, by which it is known what they depend on."""
    side = getattr(module.config, "image_size", None)
    height, width = side if isinstance(side, (list, tuple)) else (side or 512,) * 2
    found = module(pixel_values=torch.zeros(1, checkpoint.channels_of(module.config.to_dict()), height, width))
    if module.config.model_type in checkpoint.QUERY_TYPES:
        classes, masks = query_logits(found)
        return classes.sum() + masks.sum()
    return found.logits


def query_logits(found: Any) -> tuple[Tensor, Tensor]:
    """Class logits (B, Q, C + 1) and mask logits (B, Q, h, w) of what a network of class queries answers: DETR names them otherwise."""
    if hasattr(found, "pred_masks"):
        return found.logits, found.pred_masks
    return found.class_queries_logits, found.masks_queries_logits


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


# Deformable attention begins by looking around itself evenly.
BEGIN_EVENLY = ("sampling_offsets", "attention_weights")


def initialise(module: nn.Module) -> None:
    """Random weights that learn: Xavier for linear layers and the classifier, Kaiming for convolutions.

    transformers' own are nearly all of a deviation of 0.02, with which hardly anything is learnt from scratch.

    Args:
        module: of transformers, changed in place.
    """
    for name, layer in module.named_modules():
        if name.endswith(BEGIN_EVENLY):
            continue
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and name.endswith("classifier")):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


MULTIPLE = 32
# These processors assemble masks from class queries instead of comparing logits.
QUERY_PROCESSORS = ("MaskFormer", "Mask2Former", "OneFormer", "Eomt", "Detr", "ConditionalDetr", "RfDetr", "Videomt")
# They crop and pad only where their attributes say so; others are looked at.
FAITHFUL = (
    BeitImageProcessor, DPTImageProcessor, MobileNetV2ImageProcessor, MobileViTImageProcessor, SegformerImageProcessor,
    Sapiens2ImageProcessor, ViTImageProcessor,
)  # fmt: skip
# Without these, what a processor gives are the resized pixels as they were.
AS_THEY_WERE = {"do_rescale": False, "do_normalize": False}
# How far a measured mean or deviation may be from the one that is written down: rounding, and half a grey level.
NEAR = 2e-3


def read_processor(folder: Path, data: dict[str, Any], config: PreTrainedConfig, **more: Any) -> Any:
    """transformers' image processor of a checkpoint, its numbers checked first.

    Args:
        folder: the checkpoint.
        data: of :func:`processor_data`.
        config: of the model, whose type has an image processor: the default where the folder has none, and the one that stands in
            for a feature extractor, as they were called until transformers 5, which has none any more.
        more: values of the processor that are others than the folder's.

    Raises:
        BadCheckpointError: sizes that are none, or a processor that is no image processor of transformers or works otherwise.
    """
    plain = {key: value for key, value in data.items() if key != checkpoint.OUR_KEY}
    channels = checkpoint.channels_of(config.to_dict())
    if not plain:
        return of_channels(default_processor(config), channels)
    for key in ("size", "crop_size", "pad_size"):
        sides = data.get(key)
        for side in sides.values() if isinstance(sides, dict) else sides if isinstance(sides, list) else [sides]:
            if side is not None and not (isinstance(side, int) and 1 <= side <= MAX_NETWORK_SIDE):
                raise BadCheckpointError("preprocessing.bad_size", key=key, value=str(sides)[:80], most=MAX_NETWORK_SIDE)
    try:
        former = {"config": config} if str(data.get("image_processor_type")).endswith("FeatureExtractor") else {}
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **former, **more)
    except Exception as error:  # whatever a strange file makes transformers raise, it is the file's fault
        why = checkpoint.library_message(error, folder)
        raise BadCheckpointError("preprocessing.no_processor", why=why) from error
    if type(processor).__name__.startswith(QUERY_PROCESSORS) and config.model_type not in checkpoint.QUERY_TYPES:
        raise BadCheckpointError("preprocessing.class_queries", name=type(processor).__name__)
    if getattr(processor, "do_rescale", True) is False and getattr(processor, "do_normalize", True) is False:
        # What neither scales nor normalises gives bytes, which the plain library cannot feed to a network: times one they are numbers.
        processor.do_rescale, processor.rescale_factor = True, 1.0
    return of_channels(processor, channels)


def of_channels(processor: Any, channels: int) -> Any:
    """A processor, changed in place, with a mean and a deviation for each channel: those of red, green and blue are taken in turn.

    Raises:
        BadCheckpointError: it has as many as neither.
    """
    for name, otherwise in (("image_mean", 0.0), ("image_std", 1.0)):
        value = getattr(processor, name, None)
        listed = isinstance(value, (list, tuple))
        if listed and len(value) not in (3, channels) and getattr(processor, "do_normalize", True):
            Preprocessing.from_dict({"image_mean": processor.image_mean, "image_std": processor.image_std}, channels)
        if channels != 3 and not (listed and len(value) == channels):
            setattr(processor, name, list(repeated(value if listed else (otherwise if value is None else value,), channels)))
    return processor


def _channels(processor: Any) -> int:
    """Channels of the pictures that a processor of :func:`of_channels` takes."""
    return len(processor.image_mean) if isinstance(getattr(processor, "image_mean", None), (list, tuple)) else 3


def given(image: np.ndarray) -> dict[str, Any]:
    """An image, uint8 (H, W, 3) RGB or (H, W, C) of other channels, as a processor is called with it: RGB as a picture of Pillow, because an
    array of 3 x W x 3 could be channels first or last."""
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return {"images": Image.fromarray(image), "return_tensors": "pt"}
    values = tensor_of(image).permute(2, 0, 1).to(torch.float32)
    return {"images": values, "return_tensors": "pt", "input_data_format": "channels_first"}


def default_processor(config: PreTrainedConfig) -> Any:
    """The image processor that transformers has for a class of model, with its default values.

    Args:
        config: of the model.
    """
    classes = IMAGE_PROCESSOR_MAPPING[type(config)]
    return (classes.get("torchvision") if isinstance(classes, dict) else classes[-1])()


def to_json(processor: Any) -> dict[str, Any]:
    """A processor's own values, as its ``save_pretrained`` writes them."""
    return json.loads(processor.to_json_string())


@dataclass(frozen=True)
class Colours:
    """What a processor does to a pixel: ``(value / 255 - mean) / std`` per channel of the network.

    Attributes:
        mean: per channel of the network.
        std: likewise.
        bgr: the network's channels are blue, green, red.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool


def colours_of(processor: Any) -> Colours:
    """What a processor does to colours: its attributes' values where they are what it does, else what was measured.

    Args:
        processor: of transformers.

    Raises:
        BadCheckpointError: means or deviations that are none, or colours that are mixed with each other.
    """
    named = _named_colours(processor)
    measured = _measured_colours(processor)
    numbers = [(*rule.mean, *rule.std) for rule in (named, measured)]
    if named.bgr == measured.bgr and np.allclose(*numbers, rtol=NEAR, atol=NEAR):
        return named
    return measured


def _named_colours(processor: Any) -> Colours:
    """By the names that most processors heed."""
    normal = getattr(processor, "do_normalize", True) and processor.image_mean is not None
    scale = 255 * float(processor.rescale_factor if getattr(processor, "do_rescale", True) else 1)
    if not 1e-6 < scale < 1e6:
        raise BadCheckpointError("preprocessing.bad_factor", value=processor.rescale_factor)
    mean, std = (processor.image_mean, processor.image_std) if normal else (0.0, 1.0)
    channels = _channels(processor)
    mean, std = ((value,) * channels if isinstance(value, (int, float)) else value for value in (mean, std))
    checked = Preprocessing.from_dict({"image_mean": mean, "image_std": std}, channels)
    if scale != 1:
        checked = Preprocessing(tuple(value / scale for value in checked.mean), tuple(value / scale for value in checked.std))
    return Colours(checked.mean, checked.std, bool(getattr(processor, "do_flip_channel_order", False)))


def _measured_colours(processor: Any) -> Colours:
    """From black, red, green and blue, or whatever the channels are, each a broad stripe of one picture."""
    channels = _channels(processor)
    picture = np.zeros((32, 32 * (channels + 1), channels), np.uint8)
    for stripe in range(channels):
        picture[:, 32 * (stripe + 1) : 32 * (stripe + 2), stripe] = 255
    try:
        whole = {"do_resize": False, "do_center_crop": False, "do_pad": False}
        if hasattr(processor, "do_split_image"):
            whole["do_split_image"] = False
        seen = processor(**given(picture), **whole)["pixel_values"][0].double()
    except Exception as error:  # the values of a strange file, as it is first used
        raise _unusable(error) from error
    middle, width = seen.shape[1] // 2, seen.shape[2]
    black, *lit = (seen[:, middle, round((stripe + 0.5) * width / (channels + 1))] for stripe in range(channels + 1))
    gain = torch.stack([answer - black for answer in lit])  # by the picture's channel, then the network's
    straight, mirrored = gain.diagonal(), gain.flip(0).diagonal()
    bgr = channels == 3 and bool(mirrored.abs().sum() > straight.abs().sum())
    used = mirrored if bgr else straight
    if not bool((used > 0).all()) or float(gain.abs().sum() - used.abs().sum()) > 0.01 * float(used.abs().sum()):
        raise BadCheckpointError("preprocessing.mixes_colours")
    std = 1 / used
    found = Preprocessing(tuple((-black * std).tolist()), tuple(std.tolist()))
    return Colours(found.mean, found.std, bgr)


def _unusable(error: Exception) -> BadCheckpointError:
    return BadCheckpointError("preprocessing.unusable", why=checkpoint.library_message(error))


def pixels_as_seen(processor: Any, image: np.ndarray, without: Sequence[str] = ()) -> np.ndarray:
    """An upload's pixels at the size that a processor gives them, colours as they were.

    Args:
        processor: of transformers.
        image: as for :func:`given`.
        without: its steps that are left out, such as ``do_pad``.

    Returns:
        uint8 (h, w, 3), RGB; of other channels float32 (h, w, C), in the image's values.
    """
    off = AS_THEY_WERE | dict.fromkeys(without, False)
    if "do_flip_channel_order" in getattr(processor.valid_kwargs, "__annotations__", {}):
        off["do_flip_channel_order"] = False
    try:
        seen = processor(**given(image), **off)["pixel_values"][0]
    except Exception as error:  # a size, a resampling or a step that it cannot do: the values of a strange file
        raise _unusable(error) from error
    if image.dtype == np.uint8 and image.shape[2] == 3:
        seen = seen.clamp(0, 255).round().to(torch.uint8)
    return seen.permute(1, 2, 0).contiguous().numpy()


def without_cropping(processor: Any, colours: Colours) -> tuple[Any, str | None]:
    """The processor with a frame that is the upload's, and what was changed for that, in words.

    Args:
        processor: of transformers; changed in place where an attribute says it.
        colours: of :func:`colours_of`.
    """
    crops, pads = (bool(getattr(processor, name, False)) for name in ("do_center_crop", "do_pad"))
    if (crops or pads) and _covers(processor):
        crops = pads = False
    if crops:
        processor.do_center_crop = False
        size, middle = processor.size, processor.crop_size
        if size and size.get("height") and middle and middle.get("height"):
            # The network was trained at the size of what is cut out.
            processor.size = middle
    if pads:
        processor.do_pad = False
    if type(processor) not in FAITHFUL and not _covers(processor):
        # Some crop whatever that attribute says (ConvNeXt's). What remains of them is their size and their colours.
        if colours.bgr:
            raise BadCheckpointError("preprocessing.crops_and_reorders", name=type(processor).__name__)
        side = pixels_as_seen(processor, np.zeros((96, 96, _channels(processor)), np.uint8)).shape
        arguments = {"size": {"height": side[0], "width": side[1]}, "resample": processor.resample}
        processor = SegformerImageProcessor(
            image_mean=list(colours.mean), image_std=list(colours.std), rescale_factor=1 / 255, **arguments
        )
        crops = True
    if not crops and not pads:
        return processor, None
    return processor, Message("preprocessing.crops" if crops else "preprocessing.pads")


def _covers(processor: Any) -> bool:
    """Whether a processor's result shows the whole picture from edge to edge: a ramp keeps its ends."""
    ramp = np.repeat(np.linspace(40, 215, 96).round().astype(np.uint8)[:, None], 128, axis=1)
    across = np.repeat(np.linspace(40, 215, 128).round().astype(np.uint8)[None], 96, axis=0)
    channels = _channels(processor)
    seen, beside = (pixels_as_seen(processor, np.repeat(plane[..., None], channels, axis=2)).astype(int)[..., 0] for plane in (ramp, across))
    ends = seen[0].mean(), seen[-1].mean(), beside[:, 0].mean(), beside[:, -1].mean()
    # The outermost pixel of a small result is the mean of what it stands for: half a step away from the edge.
    steps = (175 / seen.shape[0], 175 / seen.shape[0], 175 / seen.shape[1], 175 / seen.shape[1])
    return all(abs(end - wanted) <= step + 3 for end, wanted, step in zip(ends, (40, 215, 40, 215), steps, strict=True))


def fitting(processor: Any, takes: Callable[[int, int], bool], own: tuple[int, int] | None) -> tuple[Any, str | None]:
    """The processor with a size that the network takes, and what was changed for that, in words.

    Args:
        processor: of transformers; its size is changed in place if it must be.
        takes: whether the network takes a height and a width in pixels.
        own: the (height, width) that the network was made for, if its config says one.

    Raises:
        BadCheckpointError: neither fits.
    """
    wide, high = (pixels_as_seen(processor, np.zeros((*size, _channels(processor)), np.uint8)).shape[:2] for size in ((96, 144), (144, 96)))
    if takes(*wide) and takes(*high):
        return processor, None
    asked = Message("preprocessing.size" if wide == high else "preprocessing.size_of_2_to_3", height=wide[0], width=wide[1])
    if own is None or not takes(*own):
        raise BadCheckpointError("preprocessing.size_not_taken", size=asked)
    processor.do_resize = True
    for key, value in (("ensure_multiple_of", 1), ("keep_aspect_ratio", False), ("do_pad", False)):
        if hasattr(processor, key):
            setattr(processor, key, value)
    processor.size = type(processor)(size={"height": own[0], "width": own[1]}).size
    return processor, Message("preprocessing.resized_to_own", size=asked, height=own[0], width=own[1])


def preprocessing_of(processor: Any, colours: Colours, ours: dict[str, Any]) -> Preprocessing:
    """What the processor does, as training and full detail need to know it, or our own rule where the checkpoint has one.

    Args:
        processor: of transformers.
        colours: of :func:`colours_of`.
        ours: the ``seg_demo`` entry.
    """
    mean, std, ranges = colours.mean, colours.std, ours.get("channel_ranges")
    factor = float(processor.rescale_factor) if getattr(processor, "do_rescale", True) else 1.0
    clipped = ranges is not None
    if ranges is None and len(mean) != 3 and not math.isclose(factor * 255, 1, rel_tol=1e-6):
        ranges = [(0.0, 1 / factor)] * len(mean)  # of values that are not of 8 bits
    if ranges is not None:
        mean = tuple((255 * value - low) / (high - low) for value, (low, high) in zip(mean, ranges, strict=True))
        std = tuple(255 * value / (high - low) for value, (low, high) in zip(std, ranges, strict=True))
    data: dict[str, Any] = {"image_mean": mean, "image_std": std, "do_flip_channel_order": colours.bgr, "channel_ranges": ranges, "clip_to_ranges": clipped}
    size = processor.size if getattr(processor, "do_resize", True) else None
    if ours.get("longest_side") is not None:
        data |= {"longest_side": ours["longest_side"], "multiple": ours.get("multiple", MULTIPLE)}
    elif size is not None and size.get("height"):
        data["size"] = {"height": size["height"], "width": size["width"]}
    elif size is not None:
        data |= {"shortest_side": size.get("shortest_edge"), "longest_side": size.get("longest_edge")}
    return Preprocessing.from_dict(data, len(mean))


def loading_code(model: str, processor: str, source: str, arguments: str = "") -> str:
    """Python that loads a checkpoint by the names of two classes of transformers.

    Args:
        model: name of the network's class.
        processor: name of the processor's.
        source: folder or Hub id.
        arguments: further ones of the processor, with a comma before them.
    """
    return f"""from transformers import {", ".join(sorted((model, processor)))}

model = {model}.from_pretrained("{source}")
processor = {processor}.from_pretrained("{source}"{arguments})
"""


def is_plain(processor: Any) -> bool:
    """Whether its resize is transformers' own, so that it can be given pixels as they lie in memory."""
    return isinstance(processor, TorchvisionBackend) and type(processor).resize is TorchvisionBackend.resize

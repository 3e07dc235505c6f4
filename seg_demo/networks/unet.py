"""U-Net and the other decoders of segmentation_models_pytorch (smp), also one-channel binary checkpoints.

A U-Net proper: an encoder, a decoder with skip connections, and logits at the size of the batch. The folder is smp's own
(``smp.from_pretrained`` loads it with identical logits); class names and preprocessing, which smp does not keep, are in
preprocessor_config.json because a key that smp does not know in config.json breaks some encoders.

What smp's config.json says, checked before anything is built from it.

A U-Net's decoder with its upsampling folded into the convolution that follows (Ronneberger et al. 2015, figure 1).

A block doubles its input by repeating every pixel, concatenates the skip connection, and convolves with a 3 x 3 kernel. Where
pixels are repeated, several of the nine taps meet the same value, so their weights can be summed beforehand: an output row
2 i sees the input rows i - 1 and i with (w0, w1 + w2), a row 2 i + 1 sees i and i + 1 with (w0 + w1, w2), columns likewise.
That is a transposed convolution of stride 2 with a 4 x 4 kernel: 16 multiplications for 4 outputs instead of 36. In evaluation
the BatchNorm that follows is affine and folds in as well. Nothing is upsampled or concatenated any more.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn

from seg_demo.core import BadCheckpointError, LabelSet, Message, Segmentation
from seg_demo.networks import checkpoint, weights
from seg_demo.networks.base import LONGEST_SIDE, Graph, PixelNetwork, TrainingDefaults
from seg_demo.networks.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PIPELINE_FILE,
    RESIZES,
    Pipeline,
    Preprocessing,
    as_fractions,
    read_pipeline,
    repeated,
)

# A plain smp repo says nothing about sizes; at this side a processor answers in seconds, and most were trained below it.
PLAIN_LONGEST_SIDE = 1024


class UNet(PixelNetwork, family="unet"):
    """U-Net and the other decoders of segmentation_models_pytorch (smp)."""

    channels_option = "in_channels"
    training = TrainingDefaults(
        pretrained_encoder={"decoder": "Unet", "encoder": "resnet34", "decoder_channels": [256, 128, 64, 32, 16]},
        lr=3e-3,
        # Where every layer is fresh, more and smaller crops: after 1200 steps of equal cost on the built-in data, an IoU of the cells
        # of 0.38 (fp32) and 0.54 (bf16) instead of 0.28. Batches of 8 such crops stay below 0.35 even after 1800 steps.
        scratch_lr=2e-3,
        scratch_crop=128,
        scratch_batch_size=12,
        pretrained_crop=256,
        passes=12,
    )

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A U-Net of 1.1 million parameters that learns from scratch on a laptop.

        Its encoder is timm's smallest ResNet: with random weights, ordinary convolutions learn in half the steps that the
        depthwise ones of a MobileNet of the same size need.
        """
        return {"decoder": "Unet", "encoder": "tu-test_resnet", "decoder_channels": [128, 96, 64, 32, 16]}

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """A network with random weights; never touches the Hub.

        Args:
            num_classes: output channels, but for ``binary`` options, where two classes share one channel.
            options: ``decoder`` (a class of smp), ``encoder``, optionally ``binary`` and ``in_channels`` (else 3), and arguments of that class.

        Raises:
            BadCheckpointError: an unknown decoder, encoder or argument.
        """
        arguments = _arguments(options)
        decoder = decoder_class(options.get("decoder"))
        check_encoder(options.get("encoder"))
        unknown = sorted(set(arguments) - arguments_of(decoder))
        if unknown:
            raise BadCheckpointError("checkpoints.unknown_argument", name=decoder.__name__, argument=unknown[0])
        channels = 1 if options.get("binary") else num_classes
        with warnings.catch_warnings():
            # smp renames the `timm-` encoders that many checkpoints use, and says so each time.
            warnings.simplefilter("ignore", DeprecationWarning)
            return decoder(
                encoder_name=options["encoder"],
                encoder_weights=None,
                in_channels=options.get("in_channels", 3),
                classes=channels,
                activation=None,
                **arguments,
            )

    @classmethod
    def fresh_preprocessing(cls, module: nn.Module, options: dict[str, Any]) -> Preprocessing:
        """Colours of the encoder's pretraining; the size that the encoder takes, or pictures' own."""
        return plain_preprocessing(module, options, LONGEST_SIDE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A checkpoint folder written by :meth:`save`, by smp's ``save_pretrained``, or pushed by either.

        Args:
            folder: config.json and model.safetensors; preprocessor_config.json if we wrote it, albumentations_config_eval.json if its
                author did.

        Raises:
            BadCheckpointError: a config that describes no smp network of sane size, or weights that do not fit it.
        """
        config = checkpoint.read_json(folder, checkpoint.CONFIG)
        extra = checkpoint.read_optional_json(folder, checkpoint.PREPROCESSOR)
        options, channels = options_from_config(config)
        labels, notes = label_set(config, extra, channels)
        module, more = weights.construct(
            partial(cls.build, len(labels), options=options),
            weights.read_weights(folder),
            f"smp.{options['decoder']}",
            partial(_result, channels=options.get("in_channels", 3)),
            lambda state: renamed(state, options),
        )
        preprocessing, pipeline, said = preprocessing_of(folder, extra, module, config, options, PLAIN_LONGEST_SIDE)
        return cls(module, labels, preprocessing, options, pipeline, (*notes, *more, *said))

    def write(self, folder: Path, half: bool) -> None:
        """The files that ``smp.from_pretrained`` loads; smp casts halves back on loading."""
        config = {
            "_model_class": self.options["decoder"],
            "encoder_name": self.options["encoder"],
            "encoder_weights": None,
            "in_channels": self.channels,
            "classes": 1 if self.options.get("binary") else len(self.labels),
            **_arguments(self.options),
        }
        checkpoint.write_json(folder, checkpoint.CONFIG, config)
        described = {**self.preprocessing.to_dict(), **checkpoint.labels_to_dict(self.labels)}
        if self.processor is not None:
            described[OF_PIPELINE] = True
            checkpoint.write_json(folder, PIPELINE_FILE, self.processor.to_json())
        checkpoint.write_json(folder, checkpoint.PREPROCESSOR, described)
        weights.write_weights(self.module, folder, half)

    def preprocess(self, image: np.ndarray) -> Tensor:
        """An upload as the network sees it: through albumentations' steps where the checkpoint has them, else at its native size up to
        the longest side, padded to the output stride, normalised.

        Args:
            image: as for :meth:`Network.preprocess`.

        Returns:
            float32 (1, C, h, w) on the CPU.
        """
        return super().preprocess(image) if self.processor is None else self.processor(image)

    def pixels_as_seen(self, image: np.ndarray) -> np.ndarray:
        """As :meth:`Network.pixels_as_seen`, after albumentations' steps where the checkpoint has them."""
        if self.processor is None:
            return super().pixels_as_seen(image)
        pixels = self.processor.pixels_as_seen(image)
        return pixels if self.preprocessing.samples is None else as_fractions(pixels, self.preprocessing)

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> Tensor:
        """Logits of a batch; differentiable.

        Args:
            module: of this network.
            batch: (B, C, h, w), normalised, h and w multiples of the output stride.

        Returns:
            (B, C, h, w) logits; C is 1 for binary checkpoints (above 0 is foreground).
        """
        logits = module(batch)
        # With `aux_params` smp also classifies the whole image.
        return logits[0] if isinstance(logits, tuple) else logits

    @staticmethod
    def forward_with_maps(module: nn.Module, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`forward`, with the encoder's maps, the largest left out.

        Args:
            module: of this network, without a classification head.
            batch: as for :meth:`forward`.
        """
        maps = module.encoder(batch)
        return module.segmentation_head(module.decoder(maps)), list(maps[2:])

    def postprocess(self, raw: Tensor, height: int, width: int, confidence: bool = False) -> Segmentation:
        """As :meth:`PixelNetwork.postprocess`, of the part of the batch in which albumentations' steps put the picture."""
        if self.processor is None:
            return super().postprocess(raw, height, width, confidence)
        frame = self.processor.frame(height, width)
        (rows, columns), top, left = frame.content, frame.top, frame.left
        inside = raw[0, :, top : top + rows, left : left + columns]
        return self.label_map(inside, height, width, confidence=confidence)

    def graph(self) -> Graph:
        """As :meth:`PixelNetwork.graph`; albumentations' steps, which preprocess, take its library."""
        made = super().graph()
        return made if self.processor is None else replace(made, code=())

    def optimise(self, device: torch.device) -> None:
        """On a CPU the decoder is folded, measured 1.1 times as fast, and channels last are 1.25 (training) to 1.4 (prediction) times."""
        if device.type == "cpu":
            fold_decoder(self.module)
            # MobileOne's convolutions have corrupted memory in this layout.
            if "mobileone" not in str(self.options):
                self.module.to(memory_format=torch.channels_last)

    def for_tiles(self) -> Self:
        """Without albumentations' steps, which would resize a tile again, or pad it; what takes one size only is given that."""
        if self.processor is None:
            return self
        rule = self.preprocessing
        if (only := fixed_size(self.module)) is not None:
            return replace(self, processor=None, preprocessing=replace(rule, size=only, shortest_side=None, longest_side=None))
        sides = rule.size or (rule.shortest_side, rule.longest_side)
        longest = max(side for side in (*sides, 1) if side is not None)
        return replace(self, processor=None, preprocessing=replace(rule, size=None, shortest_side=None, longest_side=longest))

    def with_channels(self, count: int) -> Self:
        """As :meth:`Network.with_channels`, without albumentations' steps."""
        return super().with_channels(count) if count == self.channels else super(UNet, self.for_tiles()).with_channels(count)

    def measuring(self, ranges: Sequence[tuple[float, float]]) -> Self:
        """As :meth:`Network.measuring`, without albumentations' steps."""
        return super(UNet, self.for_tiles()).measuring(ranges)

    def head_prefixes(self) -> tuple[str, ...]:
        """The last layers, whatever the number of classes."""
        return ("segmentation_head.",)

    def card_snippet(self, source: str) -> str:
        """Code that loads the checkpoint with the plain library.

        Args:
            source: folder or Hub id.
        """
        rule, classes, count = self.preprocessing, 1 if self.options.get("binary") else len(self.labels), self.channels
        values = "RGB in [0, 1]"
        scaling = ""
        if rule.samples is not None:
            low, high = ([ends[side] for ends in rule.ranges or ((0.0, 255.0),) * count] for side in (0, 1))
            values = f"{count} channels, the file's own values"
            limited = ".clamp(0, 1)" if rule.ranges is not None and rule.clipped else ""
            scaling = f'''low, high = torch.tensor({low}).view({count}, 1, 1), torch.tensor({high}).view({count}, 1, 1)
pixels = ((pixels - low) / (high - low)){limited}
'''
        return f"""import segmentation_models_pytorch as smp
import torch

model = smp.from_pretrained("{source}", encoder_weights=None).eval()
pixels = torch.zeros(1, {count}, 256, 256)  # {values}, sides multiples of {rule.multiple}
{scaling}mean = torch.tensor({list(rule.mean)}).view({count}, 1, 1)
std = torch.tensor({list(rule.std)}).view({count}, 1, 1)
with torch.no_grad():
    logits = model((pixels - mean) / std)  # (1, {classes}, 256, 256)
"""


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Those of smp's class alone."""
    return {key: value for key, value in options.items() if key not in ("decoder", "encoder", "binary", "in_channels")}


def _result(module: nn.Module, channels: int) -> Tensor:
    """Logits for some input, by which it is known what they depend on."""
    height, width = fixed_size(module) or (256, 256)
    return UNet.forward(module, torch.zeros(1, channels, height, width))


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
        raise BadCheckpointError("networks.no_smp_model", name=name, names=", ".join(DECODERS))
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
    raise BadCheckpointError("networks.no_encoder", name=str(name)[:80])


def arguments_of(decoder: type[nn.Module]) -> set[str]:
    """Arguments of smp's class that a checkpoint may set."""
    return {*inspect.signature(decoder.__init__).parameters, *OLD_ARGUMENTS, *ENCODER_ARGUMENTS} - set(SET_BY_US)


def options_from_config(config: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Options and output channels from smp's config.json; the activation is dropped, for what leaves here is logits."""
    decoder = decoder_class(config.get("_model_class"))
    check_encoder(config.get("encoder_name", "resnet34"))
    channels = config.get("classes", 1)
    checkpoint.check_count(channels)
    options = {"decoder": decoder.__name__, "encoder": config.get("encoder_name", "resnet34")}
    if (count := checkpoint.channels_of(config)) != 3:
        options["in_channels"] = count
    options |= {key: config[key] for key in sorted(arguments_of(decoder)) if key in config}
    checkpoint.check_options(options)
    if channels == 1:
        options["binary"] = True
    return options, channels


def label_set(config: dict[str, Any], extra: dict[str, Any], channels: int) -> tuple[LabelSet, tuple[str, ...]]:
    """Class names from preprocessor_config.json, else config.json, else generated; and what is to be said about them."""
    count = max(2, channels)
    for data in (extra, config):
        table = checkpoint.class_table(data)
        if channels == 1 and len(table) == 1:
            return checkpoint.binary_labels(table), ()
        found = checkpoint.labels_from_dict(data, count)
        if found is not None:
            return found, checkpoint.table_notes(data, count)
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
        BadCheckpointError: as :func:`seg_demo.networks.preprocessing.parse_pipeline`.
    """
    ours, count = extra.get("image_mean") is not None, options.get("in_channels", 3)
    pipeline = read_pipeline(folder, count) if not ours or extra.get(OF_PIPELINE) else None
    if pipeline is None:
        if ours:
            return Preprocessing.from_dict(extra, count), None, ()
        unsaid = () if count == 3 else (Message("preprocessing.channels_unsaid", count=count),)
        return plain_preprocessing(module, options, longest_side, config.get("encoder_weights")), None, unsaid
    plain = plain_preprocessing(module, options, longest_side, None)
    rule, notes = pipeline.preprocessing(plain), list(pipeline.notes)
    if plain.size is not None:
        if pipeline.frame(96, 144).size != plain.size and pipeline.resizes:
            notes.append(Message("pipelines.resized_to_own", file=PIPELINE_FILE, height=plain.size[0], width=plain.size[1]))
        if pipeline.frame(96, 144).size != plain.size or not pipeline.resizes:
            return replace(plain, mean=rule.mean, std=rule.std, ranges=rule.ranges, clipped=rule.clipped), None, tuple(notes)
    moves = [name for name, _ in pipeline.steps if name in (*RESIZES, "PadIfNeeded")]
    if not moves:
        return rule, None, tuple(notes)
    capped = None if pipeline.resizes else plain.longest_side
    return rule, replace(pipeline, multiple=plain.multiple, longest_side=capped), tuple(notes)


def plain_preprocessing(
    module: nn.Module, options: dict[str, Any], longest_side: int, pretrained: object = None
) -> Preprocessing:
    """Mean and deviation that the encoder was pretrained with, from tables that need no network.

    Args:
        module: of smp.
        options: of :func:`options_from_config`.
        longest_side: pixels to which uploads are shrunk.
        pretrained: name of the weights that the encoder began with (``encoder_weights``), if it is known.
    """
    mean, std = (repeated(values, options.get("in_channels", 3)) for values in encoder_normalisation(options["encoder"], pretrained))
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


# Rows: taps of the transposed convolution; columns: taps of the kernel that are summed into each.
_SUMS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))


class FoldedDecoderBlock(UnetDecoderBlock):
    """smp's block, its parameters and their names unchanged, computed in the folded order while it is in eval mode.

    The weights are composed anew in each pass, which costs far less than the pass: nothing can go stale, and a module that is
    copied, moved, saved or trained needs no care.
    """

    def forward(
        self, feature_map: Tensor, target_height: int, target_width: int, skip_connection: Tensor | None = None
    ) -> Tensor:
        """Features of the next finer level.

        Args:
            feature_map: (B, C, h, w).
            target_height: of the result; folded where it is 2 h.
            target_width: of the result; folded where it is 2 w.
            skip_connection: (B, S, target_height, target_width) or None.

        Returns:
            (B, out, target_height, target_width).
        """
        doubled = (2 * feature_map.shape[2], 2 * feature_map.shape[3])
        if self.training or (target_height, target_width) != doubled:
            return super().forward(feature_map, target_height, target_width, skip_connection)
        weight, bias = _affine(self.conv1[0], self.conv1[1])
        sums = weight.new_tensor(_SUMS)
        inner, outer = weight.split([feature_map.shape[1], weight.shape[1] - feature_map.shape[1]], dim=1)
        kernel = torch.einsum("ak,oikl,bl->ioab", sums, inner, sums).contiguous()
        found = nn.functional.conv_transpose2d(feature_map, kernel, bias, stride=2, padding=1)
        if skip_connection is not None and skip_connection.shape[1]:  # MiT and ConvNeXt have no channels at their first level
            found = found + nn.functional.conv2d(skip_connection, outer, padding=1)
        return self.attention2(self.conv2(self.conv1[2](found)))


def fold_decoder(module: nn.Module) -> nn.Module:
    """Let the blocks of a U-Net's decoder compute in the folded order; blocks and networks of other kinds are left alone.

    Args:
        module: of smp; changed in place. Its state dict stays as it is.
    """
    for block in getattr(getattr(module, "decoder", None), "blocks", ()):
        if type(block) is UnetDecoderBlock and _folds(block):
            block.__class__ = FoldedDecoderBlock
    return module


def _folds(block: UnetDecoderBlock) -> bool:
    """Whether nothing stands between the upsampling and the convolution, and only something affine follows it."""
    convolution, norm = block.conv1[0], block.conv1[1]
    plain = (convolution.kernel_size, convolution.padding, convolution.stride) == ((3, 3), (1, 1), (1, 1))
    affine = isinstance(norm, nn.Identity) or (type(norm) is nn.BatchNorm2d and norm.track_running_stats and norm.affine)
    return block.interpolation_mode == "nearest" and isinstance(block.attention1.attention, nn.Identity) and plain and affine


def _affine(convolution: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a convolution and the BatchNorm after it, in evaluation."""
    if isinstance(norm, nn.Identity):
        return convolution.weight, convolution.bias
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * scale
    if convolution.bias is not None:
        bias = bias + convolution.bias * scale
    return convolution.weight * scale[:, None, None, None], bias

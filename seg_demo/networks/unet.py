"""U-Net and the other decoders of segmentation_models_pytorch (smp), also one-channel binary checkpoints.

A U-Net proper: an encoder, a decoder with skip connections, and logits at the size of the batch. The folder is smp's own
(``smp.from_pretrained`` loads it with identical logits); class names and preprocessing, which smp does not keep, are in
preprocessor_config.json because a key that smp does not know in config.json breaks some encoders.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seg_demo.errors import BadCheckpointError
from seg_demo.masks.label_map import semantic_from_logits
from seg_demo.networks import albumentations, base, files, names, weights
from seg_demo.networks.base import Checkpoint, copy_matching, to_batch
from seg_demo.networks.unet_config import (
    OF_PIPELINE,
    arguments_of,
    check_encoder,
    decoder_class,
    fixed_size,
    label_set,
    options_from_config,
    plain_preprocessing,
    preprocessing_of,
    renamed,
)
from seg_demo.types import LabelSet, Segmentation

TASK = "semantic"
# A plain smp repo says nothing about sizes; at this side a processor answers in seconds, and most were trained below it.
PLAIN_LONGEST_SIDE = 1024
CELLS_LONGEST_SIDE = 640


def default_options() -> dict[str, Any]:
    """A U-Net of 1.1 million parameters that learns from scratch on a laptop.

    Its encoder is timm's smallest ResNet: with random weights, ordinary convolutions learn in half the steps that the
    depthwise ones of a MobileNet of the same size need.
    """
    return {"decoder": "Unet", "encoder": "tu-test_resnet", "decoder_channels": [128, 96, 64, 32, 16]}


def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
    """A network with random weights; never touches the Hub.

    Args:
        num_classes: output channels, but for ``binary`` options, where two classes share one channel.
        options: ``decoder`` (a class of smp), ``encoder``, optionally ``binary``, and arguments of that class.

    Raises:
        BadCheckpointError: an unknown decoder, encoder or argument.
    """
    arguments = {key: value for key, value in options.items() if key not in ("decoder", "encoder", "binary")}
    decoder = decoder_class(options.get("decoder"))
    check_encoder(options.get("encoder"))
    unknown = sorted(set(arguments) - arguments_of(decoder))
    if unknown:
        raise BadCheckpointError(f"smp.{decoder.__name__} has no argument {unknown[0]!r}; check config.json.")
    channels = 1 if options.get("binary") else num_classes
    with warnings.catch_warnings():
        # smp renames the `timm-` encoders that many checkpoints use, and says so each time.
        warnings.simplefilter("ignore", DeprecationWarning)
        return decoder(
            encoder_name=options["encoder"],
            encoder_weights=None,
            in_channels=3,
            classes=channels,
            activation=None,
            **arguments,
        )


def create(labels: LabelSet, options: dict[str, Any]) -> Checkpoint:
    """A checkpoint with random weights, ready to be trained.

    Args:
        labels: the classes.
        options: as for :func:`build`.
    """
    module = build(len(labels), options).eval()
    preprocessing = plain_preprocessing(module, options, CELLS_LONGEST_SIDE)
    return Checkpoint("unet", module, labels, preprocessing, dict(options))


def load(folder: Path) -> Checkpoint:
    """A checkpoint folder written by :func:`save`, by smp's ``save_pretrained``, or pushed by either.

    Args:
        folder: config.json and model.safetensors; preprocessor_config.json if we wrote it, albumentations_config_eval.json if its
            author did.

    Raises:
        BadCheckpointError: a config that describes no smp network of sane size, or weights that do not fit it.
    """
    config = files.read_json(folder, files.CONFIG)
    extra = files.read_optional_json(folder, files.PREPROCESSOR)
    options, channels = options_from_config(config)
    labels, notes = label_set(config, extra, channels)
    module, more = weights.construct(
        lambda: build(len(labels), options),
        weights.read_weights(folder),
        f"smp.{options['decoder']}",
        _result,
        lambda state: renamed(state, options),
    )
    preprocessing, pipeline, said = preprocessing_of(folder, extra, module, config, options, PLAIN_LONGEST_SIDE)
    return Checkpoint("unet", module, labels, preprocessing, options, pipeline, (*notes, *more, *said))


def _result(module: nn.Module) -> Tensor:
    """Logits for some input, by which it is known what they depend on."""
    height, width = fixed_size(module) or (256, 256)
    return forward(module, torch.zeros(1, 3, height, width))


def save(checkpoint: Checkpoint, folder: Path, half: bool = False) -> None:
    """Write the folder that ``smp.from_pretrained`` loads.

    Args:
        checkpoint: of this network.
        folder: exists.
        half: weights as fp16; smp casts them back on loading.
    """
    arguments = {key: value for key, value in checkpoint.options.items() if key not in ("decoder", "encoder", "binary")}
    config = {
        "_model_class": checkpoint.options["decoder"],
        "encoder_name": checkpoint.options["encoder"],
        "encoder_weights": None,
        "in_channels": 3,
        "classes": 1 if checkpoint.options.get("binary") else len(checkpoint.labels),
        **arguments,
    }
    files.write_json(folder, files.CONFIG, config)
    described = {**checkpoint.preprocessing.to_dict(), **names.labels_to_dict(checkpoint.labels)}
    if checkpoint.processor is not None:
        described[OF_PIPELINE] = True
        files.write_json(folder, albumentations.CONFIG, checkpoint.processor.to_json())
    files.write_json(folder, files.PREPROCESSOR, described)
    weights.write_weights(checkpoint.module, folder, half)


def preprocess(checkpoint: Checkpoint, image: np.ndarray) -> Tensor:
    """An upload as the network sees it: through albumentations' steps where the checkpoint has them, else at its native size up to
    the longest side, padded to the output stride, normalised.

    Args:
        checkpoint: of this network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        float32 (1, 3, h, w) on the CPU.
    """
    if checkpoint.processor is not None:
        return checkpoint.processor(image)
    return to_batch(image, checkpoint.preprocessing)


def pixels_as_seen(checkpoint: Checkpoint, image: np.ndarray) -> np.ndarray:
    """An upload's pixels at the size in which the network sees them, padding apart: what training varies.

    Args:
        checkpoint: of this network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (h, w, 3), RGB.
    """
    if checkpoint.processor is not None:
        return checkpoint.processor.pixels_as_seen(image)
    return base.pixels_as_seen(checkpoint, image)


def forward(module: nn.Module, batch: Tensor) -> Tensor:
    """Logits of a batch; differentiable.

    Args:
        module: of this network.
        batch: (B, 3, h, w), normalised, h and w multiples of the output stride.

    Returns:
        (B, C, h, w) logits; C is 1 for binary checkpoints (above 0 is foreground).
    """
    logits = module(batch)
    # With `aux_params` smp also classifies the whole image.
    return logits[0] if isinstance(logits, tuple) else logits


def forward_with_maps(module: nn.Module, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
    """As :func:`forward`, with the encoder's maps, the largest left out.

    Args:
        module: of this network, without a classification head.
        batch: as for :func:`forward`.
    """
    maps = module.encoder(batch)
    return module.segmentation_head(module.decoder(maps)), list(maps[2:])


def postprocess(checkpoint: Checkpoint, raw: Tensor, height: int, width: int, confidence: bool = False) -> Segmentation:
    """Logits to the label map at the size of the upload.

    Args:
        checkpoint: of this network.
        raw: (1, C, h, w) logits, padding included.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        confidence: also how sure the network is of every pixel.

    Raises:
        BadCheckpointError: the network returned NaN.
    """
    top = left = 0
    rows, columns = checkpoint.preprocessing.fitted(height, width)
    if checkpoint.processor is not None:
        frame = checkpoint.processor.frame(height, width)
        top, left, (rows, columns) = frame.top, frame.left, frame.content
    inside = raw[0, :, top : top + rows, left : left + columns]
    return semantic_from_logits(inside, checkpoint.labels, height, width, confidence=confidence)


def head_prefixes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the parameters that depend on the number of classes begin with one of these."""
    return ("segmentation_head.",)


def replace_head(checkpoint: Checkpoint, labels: LabelSet) -> Checkpoint:
    """The same network for other classes: a fresh head with one channel per class, everything else kept.

    Args:
        checkpoint: stays as it is.
        labels: the new classes.
    """
    options = {key: value for key, value in checkpoint.options.items() if key != "binary"}
    module = build(len(labels), options).eval()
    copy_matching(checkpoint.module, module, head_prefixes(checkpoint))
    return replace(checkpoint, module=module, labels=labels, options=options)


def card_snippet(checkpoint: Checkpoint, source: str) -> str:
    """Code that loads the checkpoint with the plain library.

    Args:
        checkpoint: of this network.
        source: folder or Hub id.
    """
    channels = 1 if checkpoint.options.get("binary") else len(checkpoint.labels)
    return f"""import segmentation_models_pytorch as smp
import torch

model = smp.from_pretrained("{source}", encoder_weights=None).eval()
pixels = torch.zeros(1, 3, 256, 256)  # RGB in [0, 1], sides multiples of {checkpoint.preprocessing.multiple}
mean = torch.tensor({list(checkpoint.preprocessing.mean)}).view(3, 1, 1)
std = torch.tensor({list(checkpoint.preprocessing.std)}).view(3, 1, 1)
with torch.no_grad():
    logits = model((pixels - mean) / std)  # (1, {channels}, 256, 256)
"""

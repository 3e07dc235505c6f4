"""torchvision's semantic networks: FCN, DeepLabV3 and LR-ASPP. State-dict keys are torchvision's own.

torchvision's weights were trained on images whose shorter side is 520 pixels, so its preset ``SemanticSegmentation``
preprocesses for them. Networks trained here from scratch see images at their own size up to a longest side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn
from torchvision.models import segmentation
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import SemanticSegmentation
from torchvision.transforms.functional import resize

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import LabelSet, Segmentation
from seg_demo.masks.semantic import semantic_from_logits
from seg_demo.networks import base, checkpoint as files, class_names, weights
from seg_demo.networks.base import MAX_NETWORK_SIDE, Checkpoint, Preprocessing, copy_matching, to_batch

TASK = "semantic"
VARIANTS = (
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
CELLS_LONGEST_SIDE = 640
MULTIPLE = 32
# torchvision's preset knows no cap; without one, a panorama 50 times as wide as high would take gigabytes.
TORCHVISION = Preprocessing(shortest_side=520, longest_side=MAX_NETWORK_SIDE, multiple=MULTIPLE)


def default_options() -> dict[str, Any]:
    """LR-ASPP on MobileNetV3, 3.2 million parameters: the one of torchvision's networks that trains on a laptop."""
    return {"variant": "lraspp_mobilenet_v3_large", "aux": False}


def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
    """A network with random weights; never touches the network.

    Args:
        num_classes: output channels.
        options: ``variant``, one of :data:`VARIANTS`; ``aux``, whether it has the auxiliary classifier of torchvision's
            own weights, which only its training scripts use.

    Raises:
        BadCheckpointError: an unknown variant.
    """
    variant = options.get("variant")
    if variant not in VARIANTS:
        raise BadCheckpointError("networks.no_fcn_variant", variant=str(variant)[:80], names=", ".join(VARIANTS))
    make = getattr(segmentation, variant)
    module = make(weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=bool(options.get("aux")))
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            # torchvision's MobileNetV3 has 0.01, with which the running statistics lag for hundreds of steps.
            layer.momentum = 0.1
    return module


def create(labels: LabelSet, options: dict[str, Any]) -> Checkpoint:
    """A checkpoint with random weights, ready to be trained.

    Args:
        labels: the classes.
        options: as for :func:`build`.
    """
    preprocessing = Preprocessing(longest_side=CELLS_LONGEST_SIDE, multiple=MULTIPLE)
    return Checkpoint("fcn", build(len(labels), options).eval(), labels, preprocessing, dict(options))


def load(folder: Path) -> Checkpoint:
    """A checkpoint folder written by :func:`save`, or by ``PyTorchModelHubMixin`` with the same config.

    Args:
        folder: config.json and model.safetensors; without preprocessor_config.json, torchvision's preset preprocesses.

    Raises:
        BadCheckpointError: a config that describes no FCN of sane size, or weights that do not fit it.
    """
    config = files.read_json(folder, files.CONFIG)
    options, count, labels = class_names.torchvision_config(config)
    preprocessing = Preprocessing.from_dict(files.read_optional_json(folder, files.PREPROCESSOR) or TORCHVISION.to_dict())
    state = weights.read_weights(folder)
    module, notes = weights.construct(lambda: build(count, options), state, str(options.get("variant")))
    return Checkpoint("fcn", module, labels, preprocessing, options, notes=(*class_names.table_notes(config, count), *notes))


def save(checkpoint: Checkpoint, folder: Path, half: bool = False) -> None:
    """Write a folder that torchvision loads with the lines of :func:`card_snippet`.

    Args:
        checkpoint: of this network.
        folder: exists.
        half: weights as fp16; ``load_state_dict`` casts them back.
    """
    files.write_json(folder, files.CONFIG, class_names.torchvision_config_of(checkpoint))
    files.write_json(folder, files.PREPROCESSOR, checkpoint.preprocessing.to_dict())
    weights.write_weights(checkpoint.module, folder, half)


def preprocess(checkpoint: Checkpoint, image: np.ndarray) -> Tensor:
    """An upload as the network sees it: through torchvision's preset, or at its own size up to a longest side.

    Args:
        checkpoint: of this network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        float32 (1, 3, h, w) on the CPU.
    """
    rule = checkpoint.preprocessing
    side = _preset_side(rule, *image.shape[:2])
    if side is None:
        return to_batch(image, rule)
    return SemanticSegmentation(resize_size=side, mean=rule.mean, std=rule.std)(Image.fromarray(image))[None]


def pixels_as_seen(checkpoint: Checkpoint, image: np.ndarray) -> np.ndarray:
    """An upload's pixels at the size in which the network sees them, padding apart: what training varies.

    Args:
        checkpoint: of this network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (h, w, 3), RGB.
    """
    side = _preset_side(checkpoint.preprocessing, *image.shape[:2])
    if side is None:
        return base.pixels_as_seen(checkpoint, image)
    return np.array(resize(Image.fromarray(image), [side], InterpolationMode.BILINEAR, antialias=True))


def forward(module: nn.Module, batch: Tensor) -> Tensor:
    """Logits of a batch; differentiable.

    Args:
        module: of this network.
        batch: (B, 3, h, w), normalised.

    Returns:
        (B, C, h, w) logits, resized to the batch by torchvision itself.
    """
    return module(batch)["out"]


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
    logits = raw[0]
    if _preset_side(checkpoint.preprocessing, height, width) is None:
        rows, columns = checkpoint.preprocessing.fitted(height, width)
        logits = logits[:, :rows, :columns]
    return semantic_from_logits(logits, checkpoint.labels, height, width, confidence=confidence)


def head_prefixes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the parameters that depend on the number of classes; a new head has no auxiliary classifier."""
    options = {**checkpoint.options, "aux": False}
    return (*weights.class_dependent(lambda count: build(count, options), len(checkpoint.labels)), "aux_classifier.")


def replace_head(checkpoint: Checkpoint, labels: LabelSet) -> Checkpoint:
    """The same network for other classes: a fresh last layer, everything else kept but the auxiliary classifier.

    Args:
        checkpoint: stays as it is.
        labels: the new classes.
    """
    options = {**checkpoint.options, "aux": False}
    module = build(len(labels), options).eval()
    copy_matching(checkpoint.module, module, head_prefixes(checkpoint))
    return Checkpoint("fcn", module, labels, checkpoint.preprocessing, options)


def from_torchvision(variant: str, state: dict[str, Tensor], categories: list[str]) -> Checkpoint:
    """torchvision's own weights as a checkpoint.

    Args:
        variant: one of :data:`VARIANTS`.
        state: torchvision's state dict.
        categories: of the weights' metadata: 21 for Pascal VOC, the first is the background.

    Raises:
        BadCheckpointError: weights that are not the variant's.
    """
    options = {"variant": variant, "aux": any(name.startswith("aux_classifier.") for name in state)}
    weights.check_finite(state.items())
    module, _ = weights.construct(lambda: build(len(categories), options), state, variant)
    labels = LabelSet.from_names(("background", *categories[1:]), background=0)
    return Checkpoint("fcn", module, labels, TORCHVISION, options)


def card_snippet(checkpoint: Checkpoint, source: str) -> str:
    """Code that loads the checkpoint with plain torchvision.

    Args:
        checkpoint: of this network.
        source: folder or Hub id.
    """
    variant, aux = checkpoint.options["variant"], bool(checkpoint.options.get("aux"))
    made = f"weights=None, weights_backbone=None, num_classes={len(checkpoint.labels)}, aux_loss={aux}"
    return f"""from pathlib import Path
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from torchvision.models.segmentation import {variant}

model = {variant}({made})
folder = Path("{source}")
weights = folder / "model.safetensors" if folder.is_dir() else hf_hub_download("{source}", "model.safetensors")
model.load_state_dict(load_file(weights))
model.eval()  # model(batch)["out"], batch (B, 3, H, W) normalised with the mean and std of preprocessor_config.json
"""


def _preset_side(rule: Preprocessing, height: int, width: int) -> int | None:
    """The shorter side that torchvision's preset resizes to, or None where the image goes through our own rule."""
    if rule.shortest_side is None:
        return None
    longer = rule.shortest_side * max(height, width) / min(height, width)
    return rule.shortest_side if longer <= (rule.longest_side or MAX_NETWORK_SIDE) else None

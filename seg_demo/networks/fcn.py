"""torchvision's semantic networks: FCN, DeepLabV3 and LR-ASPP. State-dict keys are torchvision's own.

torchvision's weights were trained on images whose shorter side is 520 pixels, so its preset ``SemanticSegmentation``
preprocesses for them. Networks trained here from scratch see images at their own size up to a longest side.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from torch import Tensor, nn
from torchvision.models import segmentation
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import SemanticSegmentation
from torchvision.transforms.functional import resize

from seg_demo.core import BadCheckpointError, LabelSet, Segmentation
from seg_demo.networks import checkpoint, weights
from seg_demo.networks.base import STRIDE, PixelNetwork, TrainingDefaults
from seg_demo.networks.preprocessing import MAX_NETWORK_SIDE, Preprocessing

VARIANTS = (
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
# torchvision's preset knows no cap; without one, a panorama 50 times as wide as high would take gigabytes.
TORCHVISION = Preprocessing(shortest_side=520, longest_side=MAX_NETWORK_SIDE, multiple=STRIDE)


class FCN(PixelNetwork, family="fcn"):
    """FCN, DeepLabV3 and LR-ASPP of torchvision."""

    training = TrainingDefaults(base="fcn-resnet50-voc", crop=256, step_cost=2.1)

    @staticmethod
    def default_options() -> dict[str, Any]:
        """LR-ASPP on MobileNetV3, 3.2 million parameters: the one of torchvision's networks that trains on a laptop."""
        return {"variant": "lraspp_mobilenet_v3_large", "aux": False}

    @staticmethod
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

    @classmethod
    def stored_preprocessing(cls, folder: Path, options: dict[str, Any]) -> Preprocessing:
        """preprocessor_config.json's; without it, as in repositories of ``PyTorchModelHubMixin``, torchvision's preset preprocesses."""
        return Preprocessing.from_dict(checkpoint.read_optional_json(folder, checkpoint.PREPROCESSOR) or TORCHVISION.to_dict())

    @classmethod
    def from_torchvision(cls, variant: str, state: dict[str, Tensor], categories: list[str]) -> Self:
        """torchvision's own weights as a network.

        Args:
            variant: one of :data:`VARIANTS`.
            state: torchvision's state dict.
            categories: of the weights' metadata: 21 for Pascal VOC, the first is the background.

        Raises:
            BadCheckpointError: weights that are not the variant's.
        """
        options = {"variant": variant, "aux": any(name.startswith("aux_classifier.") for name in state)}
        weights.check_finite(state.items())
        module, _ = weights.construct(partial(cls.build, len(categories), options=options), state, variant)
        labels = LabelSet.from_names(("background", *categories[1:]), background=0)
        return cls(module, labels, TORCHVISION, options)

    def preprocess(self, image: np.ndarray) -> Tensor:
        """An upload as the network sees it: through torchvision's preset, or at its own size up to a longest side.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            float32 (1, 3, h, w) on the CPU.
        """
        rule = self.preprocessing
        side = _preset_side(rule, *image.shape[:2])
        if side is None:
            return super().preprocess(image)
        return SemanticSegmentation(resize_size=side, mean=rule.mean, std=rule.std)(Image.fromarray(image))[None]

    def pixels_as_seen(self, image: np.ndarray) -> np.ndarray:
        """An upload's pixels at the size in which the network sees them, padding apart: what training varies.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            uint8 (h, w, 3), RGB.
        """
        side = _preset_side(self.preprocessing, *image.shape[:2])
        if side is None:
            return super().pixels_as_seen(image)
        return np.array(resize(Image.fromarray(image), [side], InterpolationMode.BILINEAR, antialias=True))

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> Tensor:
        """Logits of a batch; differentiable.

        Args:
            module: of this network.
            batch: (B, 3, h, w), normalised.

        Returns:
            (B, C, h, w) logits, resized to the batch by torchvision itself.
        """
        return module(batch)["out"]

    def postprocess(self, raw: Tensor, height: int, width: int, confidence: bool = False) -> Segmentation:
        """As :meth:`PixelNetwork.postprocess`; what torchvision's preset preprocessed has no padding."""
        if _preset_side(self.preprocessing, height, width) is None:
            return super().postprocess(raw, height, width, confidence)
        return self.label_map(raw[0], height, width, confidence=confidence)

    def head_options(self) -> dict[str, Any]:
        """As :meth:`Network.head_options`; a new head has no auxiliary classifier."""
        return {**self.options, "aux": False}

    def head_prefixes(self) -> tuple[str, ...]:
        """As :meth:`Network.head_prefixes`, and the auxiliary classifier."""
        return (*super().head_prefixes(), "aux_classifier.")

    def card_snippet(self, source: str) -> str:
        """Code that loads the checkpoint with plain torchvision.

        Args:
            source: folder or Hub id.
        """
        variant, aux = self.options["variant"], bool(self.options.get("aux"))
        made = f"weights=None, weights_backbone=None, num_classes={len(self.labels)}, aux_loss={aux}"
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

"""Networks and pictures for tests of full detail: a U-Net whose halo is known, and one whose logits say where a pixel is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from seg_demo.core.types import ModelSpec
from seg_demo.networks.base import Preprocessing
from seg_demo.networks.unet import UNet
from tests.checkpoints import CELLS

ROOT = Path(__file__).parents[1]
SPEC = ModelSpec("ann/model", None, "semantic", "", "model", "", "folder")


def small_unet(longest: int, **options: object) -> UNet:
    """A U-Net of three stages, whose halo can be worked out; its weights make every class win somewhere."""
    torch.manual_seed(3)
    made = {"decoder": "Unet", "encoder": "resnet18", "encoder_depth": 3, "decoder_channels": [32, 16, 8], **options}
    checkpoint = UNet.create(CELLS, made)
    checkpoint.module.requires_grad_(False)
    rule = Preprocessing(longest_side=longest, multiple=checkpoint.preprocessing.multiple)
    return replace(checkpoint, preprocessing=rule)


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 9 + 2, width // 9 + 2, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((9, 9, 1), np.uint8))[:height, :width])


class Count(torch.nn.Module):
    """A network whose logits say where a pixel is: any misplaced tile or pixel shows."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor, self.weight = factor, torch.nn.Parameter(torch.ones(1))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        red = torch.nn.functional.avg_pool2d(batch[:, :1], self.factor) if self.factor > 1 else batch[:, :1]
        return torch.cat([red, -red, 0.3 - red.abs()], dim=1) * self.weight

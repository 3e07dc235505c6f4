"""Small checkpoints with random weights, for tests that load models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from seg_demo.core.types import LabelSet
from seg_demo.networks.maskrcnn import MaskRcnn
from seg_demo.networks.segformer import SegFormer
from seg_demo.networks.unet import UNet

IMAGE = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
CELLS = LabelSet.from_names(("background", "cell", "border"), 0)
TWO = LabelSet.from_names(("background", "cell"), 0)
FEW = {"min_size": 64, "max_size": 96, "box_detections_per_img": 20}
TINY = {
    **SegFormer.default_options(),
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [4, 8, 12, 16],
    "num_attention_heads": [1, 1, 1, 1],
    "decoder_hidden_size": 8,
}


def write_tiny(folder: Path, labels: LabelSet = TWO) -> None:
    """A SegFormer of a few thousand parameters; written again, it has other weights."""
    SegFormer.create(labels, TINY).save(folder)


def write_each(root: Path) -> None:
    """One folder per kind: ``unet``, ``binary`` (a U-Net of one channel), ``segformer``, ``maskrcnn``; and ``tiny`` (3
    classes), ``other`` and ``third`` (2 classes), which load quickly."""
    torch.manual_seed(0)
    small = UNet.default_options()
    made = {
        "unet": UNet.create(CELLS, small),
        "binary": UNet.create(TWO, {**small, "binary": True}),
        "segformer": SegFormer.create(CELLS, SegFormer.default_options()),
        "maskrcnn": MaskRcnn.create(TWO, {**MaskRcnn.default_options(), **FEW}),
        "tiny": SegFormer.create(CELLS, TINY),
        "other": SegFormer.create(TWO, TINY),
        "third": SegFormer.create(TWO, TINY),
    }
    for name, checkpoint in made.items():
        checkpoint.save(root / name)

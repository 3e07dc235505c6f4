"""A U-Net with watershed that begins with what `unet-cells` has learnt: ``python scripts/begin_unet_instance.py runs/unet-instance-begin``.

Encoder and decoder are the same network's, which took hours; its classes background and cell are the new network's, its border between cells
the line where objects meet. How deep inside an object a pixel lies is learnt from nothing.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from seg_demo import networks  # noqa: E402
from seg_demo.core.types import LabelSet  # noqa: E402
from seg_demo.networks.unet_instance import UNetInstance  # noqa: E402


def main(folder: Path) -> None:
    """Write the checkpoint folder."""
    torch.manual_seed(0)
    base = networks.load(ROOT / "seg_demo" / "bundled" / "unet-cells")
    background, cell, border = (base.labels.names.index(name) for name in ("background", "cell", "border"))
    options = {key: base.options[key] for key in ("encoder", "decoder_channels")}
    begun = UNetInstance.create(LabelSet.from_names(("background", "cell"), 0), options)
    known = {name: tensor for name, tensor in base.module.state_dict().items() if not name.startswith("segmentation_head.")}
    missing, unknown = begun.module.load_state_dict(known, strict=False)
    assert not unknown and all(name.startswith(("segmentation_head.", "shape_head.")) for name in missing), (missing, unknown)
    with torch.no_grad():
        for new, old in zip(begun.module.segmentation_head.parameters(), base.module.segmentation_head.parameters(), strict=True):
            new.copy_(old[[background, cell]])
        for new, old in zip(begun.module.shape_head.parameters(), base.module.segmentation_head.parameters(), strict=True):
            new[1].copy_(old[border] - torch.maximum(old[background], old[cell]))
    rule = replace(base.preprocessing, longest_side=begun.preprocessing.longest_side)
    replace(begun, preprocessing=rule).save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

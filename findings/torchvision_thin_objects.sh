#!/usr/bin/env bash
# Two parts of torchvision that are made for each other lose thin objects. The box that masks_to_boxes draws ends on the last pixel and not behind
# it: an object one pixel wide has a box without any width. SanitizeBoundingBoxes, which the detection pipelines end with, then removes that object,
# its mask and its label, although nothing was wrong with it; a line, a hair or a speck is never learnt. Boxes that end behind the last pixel stay.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2

print("torchvision", version("torchvision"))
masks = torch.zeros(4, 24, 32, dtype=torch.bool)
masks[0, 2:20, 5] = True  # a line down
masks[1, 21, 8:30] = True  # a line across
masks[2, 3, 3] = True  # a speck
masks[3, 4:12, 10:25] = True  # a block
labels = torch.arange(4)


def left(boxes):
    """Which objects are still there."""
    sample = {"boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(24, 32)), "masks": tv_tensors.Mask(masks), "labels": labels}
    return v2.SanitizeBoundingBoxes()(sample)["labels"].tolist()


tight = masks_to_boxes(masks)
print("its own boxes:", tight.int().tolist(), "left:", left(tight))
behind = tight + torch.tensor([0.0, 0.0, 1.0, 1.0])
print("boxes that end behind the last pixel: left:", left(behind))
sys.exit(0 if left(tight) == [3] and left(behind) == [0, 1, 2, 3] else 1)
PYTHON

#!/usr/bin/env bash
# torchmetrics' Hausdorff distance of label maps ends with a RuntimeError about an empty maximum as soon as a class of num_classes is in
# neither map, even if both maps are the same: the usual case of a picture that does not show every class. Its mean IoU leaves such a class out of
# the mean, and per class says -1 for it, not NaN as its Dice does: a mean taken by hand over classes goes below what any class has.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 torchmetrics==1.9.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from torchmetrics.segmentation import DiceScore, HausdorffDistance, MeanIoU

print("torchmetrics", version("torchmetrics"))
labels = torch.zeros(1, 16, 16, dtype=torch.long)
labels[0, 4:9, 5:12] = 1  # class 2 is not in the picture
try:
    print("Hausdorff distance:", HausdorffDistance(num_classes=3, input_format="index")(labels, labels))
    refused = False
except RuntimeError as error:
    print("Hausdorff distance: RuntimeError:", str(error)[:60])
    refused = True
two = HausdorffDistance(num_classes=2, input_format="index")(labels, labels).item()
overlaps = MeanIoU(num_classes=3, per_class=True, input_format="index")(labels, labels)
mean = MeanIoU(num_classes=3, input_format="index")(labels, labels).item()
dice = DiceScore(num_classes=3, average=None, input_format="index")(labels, labels)
print("of two classes:", two, "| IoU per class:", overlaps.tolist(), "their mean:", round(overlaps.mean().item(), 3), "its own:", mean, "| Dice:", dice.tolist())
sys.exit(0 if refused and two == 0 and overlaps.tolist() == [1, 1, -1] and mean == 1 and bool(dice[2].isnan()) else 1)
PYTHON

#!/usr/bin/env bash
# SoftCrossEntropyLoss of segmentation_models_pytorch leaves ignored pixels out of the sum, and counts them in the number that it divides by: the
# more of a picture nobody annotated, the smaller the loss, and with it the step that is taken for what is annotated. torch's own cross entropy,
# and the Dice, Lovász, Tversky and focal losses of the same package, give for a half that is ignored what they give for the other half alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 segmentation-models-pytorch==0.6.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from segmentation_models_pytorch import losses

print("segmentation-models-pytorch", version("segmentation-models-pytorch"))
torch.manual_seed(0)
logits, truth = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
half = truth.clone()
half[..., 4:] = 255  # nobody annotated the right half

found = {
    "cross entropy of torch": torch.nn.CrossEntropyLoss(ignore_index=255),
    "SoftCrossEntropyLoss": losses.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=255),
    "SoftCrossEntropyLoss, smoothed": losses.SoftCrossEntropyLoss(smooth_factor=0.1, ignore_index=255),
    "FocalLoss": losses.FocalLoss("multiclass", ignore_index=255),
    "DiceLoss": losses.DiceLoss("multiclass", ignore_index=255),
    "TverskyLoss": losses.TverskyLoss("multiclass", ignore_index=255),
    "LovaszLoss": losses.LovaszLoss("multiclass", ignore_index=255),
}
as_seen = True
for name, loss in found.items():
    share = float(loss(logits, half) / loss(logits[..., :4], truth[..., :4]))
    print(f"{name}: {share:.4f} of what the annotated half has alone")
    as_seen &= abs(share - (0.5 if name.startswith("Soft") else 1)) < 1e-4
sys.exit(0 if as_seen else 1)
PYTHON

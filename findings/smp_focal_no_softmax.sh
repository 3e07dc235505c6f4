#!/usr/bin/env bash
# FocalLoss("multiclass") of segmentation_models_pytorch takes each class by itself, with a sigmoid, as if a pixel could be of several: it is the mean of
# one binary focal loss for each class. A number added to all logits of a pixel changes neither its softmax nor its label, nor any other loss of the
# package for such masks, and multiplies this one. The softmax of what was trained with it is no probability that anything had learnt.
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
multi = {name: getattr(losses, name)("multiclass") for name in ("FocalLoss", "DiceLoss", "JaccardLoss", "TverskyLoss", "LovaszLoss")}
as_seen = True
for name, loss in multi.items():
    ratio = float(loss(logits + 5, truth) / loss(logits, truth))
    print(f"{name}: with 5 added to all logits {ratio:.3f} times as large")
    as_seen &= ratio > 5 if name == "FocalLoss" else abs(ratio - 1) < 1e-4
apart = sum(losses.FocalLoss("binary")(logits[:, number], (truth == number).long()) for number in range(3)) / 3
print(f"FocalLoss, multiclass: {float(multi['FocalLoss'](logits, truth)):.6f}; mean of the binary ones of its three classes: {float(apart):.6f}")
as_seen &= bool(torch.isclose(apart, multi["FocalLoss"](logits, truth)))
# A pixel of class 0 whose softmax is sure, by logits that are all high.
sure = torch.tensor([12.0, 2.0, 2.0]).reshape(1, 3, 1, 1)
label = torch.zeros(1, 1, 1, dtype=torch.long)
print(f"sure and right, softmax {float(sure.softmax(1)[0, 0]):.4f}: focal {float(multi['FocalLoss'](sure, label)):.3f}, cross entropy {float(torch.nn.functional.cross_entropy(sure, label)):.5f}")
as_seen &= float(multi["FocalLoss"](sure, label)) > 1
sys.exit(0 if as_seen else 1)
PYTHON

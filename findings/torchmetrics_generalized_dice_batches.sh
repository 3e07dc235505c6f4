#!/usr/bin/env bash
# GeneralizedDiceScore of torchmetrics depends on how the pictures came in batches: a class that is not in a picture's truth gets its weight from the
# other pictures of the batch, where there are any. The same two pictures, in one update or in two, have another score; MeanIoU and DiceScore of the
# same module do not care.
# And MeanIoU's mean is not the mean of what it says for each class (per_class=True): it is taken over all pairs of picture and class.
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
from torchmetrics.segmentation import DiceScore, GeneralizedDiceScore, MeanIoU

print("torchmetrics", version("torchmetrics"))
predicted = torch.tensor([[[0, 0, 0, 1]], [[1, 1, 1, 1]]])
truth = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 1]]])


def score(metric, *batches, **more):
    """What a metric says of pictures that come in these batches."""
    made = metric(num_classes=2, input_format="index", **more)
    for batch in batches:
        made.update(predicted[batch], truth[batch])
    return made.compute()


as_seen = True
for metric in (GeneralizedDiceScore, DiceScore, MeanIoU):
    together, apart = score(metric, slice(0, 2)), score(metric, slice(0, 1), slice(1, 2))
    print(f"{metric.__name__}: {together:.4f} in one batch, {apart:.4f} in two")
    as_seen &= bool(torch.isclose(together, apart)) == (metric is not GeneralizedDiceScore)
classes, mean = score(MeanIoU, slice(0, 2), per_class=True), score(MeanIoU, slice(0, 2))
print(f"MeanIoU per class {classes.tolist()}, whose mean is {float(classes.mean()):.4f}; MeanIoU {float(mean):.4f}")
as_seen &= not torch.isclose(classes.mean(), mean)
sys.exit(0 if as_seen else 1)
PYTHON

#!/usr/bin/env bash
# ROIAlign of OpenVINO, in the mode that equals torchvision's aligned one (half_pixel_for_nn) and with as many samples as the box is large
# (sampling ratio 0): a box without any width or height has no samples, and its features come out as NaN. torchvision gives zeros for it.
# A detector's heads turn that one box into NaN scores, and what compares scores afterwards loses more than that box.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 openvino==2026.4.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import openvino
import torch
from openvino import opset9 as ops
from torchvision.ops import roi_align

print("openvino", version("openvino"), "torchvision", version("torchvision"))
features = np.random.default_rng(0).random((1, 2, 16, 16), dtype=np.float32)
boxes = np.array([[8, 8, 40, 48], [12, 20, 12, 44], [30, 30, 30, 30]], np.float32)  # in pixels, four to a cell; two have no area


def found(ratio):
    """What OpenVINO gives for the three boxes, and what torchvision gives."""
    x, b, i = ops.parameter([1, 2, 16, 16], np.float32), ops.parameter([-1, 4], np.float32), ops.parameter([-1], np.int32)
    graph = openvino.Model([ops.roi_align(x, b, i, 7, 7, ratio, 0.25, "avg", "half_pixel_for_nn")], [x, b, i])
    compiled = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    mine = compiled([features, boxes, np.zeros(len(boxes), np.int32)])[0]
    return mine, roi_align(torch.from_numpy(features), [torch.from_numpy(boxes)], 7, 0.25, ratio, aligned=True).numpy()


as_seen = True
for ratio in (2, 0):
    mine, theirs = found(ratio)
    same = [bool(np.allclose(a, b, atol=1e-5)) for a, b in zip(mine, theirs)]
    lost = [bool(np.isnan(a).all()) for a in mine]
    print(f"sampling ratio {ratio}: equal {same}, NaN {lost}, torchvision's largest {[round(float(b.max()), 3) for b in theirs]}")
    as_seen &= same == [True, ratio == 2, ratio == 2] and lost == [False, ratio == 0, ratio == 0]
sys.exit(0 if as_seen else 1)
PYTHON

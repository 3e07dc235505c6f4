#!/usr/bin/env bash
# The mask head of transformers' DETR with masks copies each map of the backbone once per query before a 1 x 1 convolution, though neither the
# map nor the convolution depends on the query. The memory of a forward pass grows with queries times the finest map's 256 channels: a hundred
# queries and a picture of 800 x 1088, the sizes of the published checkpoints, take more than 11 GB, most of it copies. The same convolution
# before the copies gives the same masks to the last bit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 transformers==5.23.0 scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
import torch.nn.functional as F
from transformers.models.detr.modeling_detr import DetrMaskHeadSmallConv

torch.manual_seed(0)
print("transformers", version("transformers"))
# The head's widths for a ResNet-50; a picture of 256 x 320 and ten queries, so that it fits anywhere.
queries, channels, sides = 10, (1024, 512, 256), ((16, 20), (32, 40), (64, 80))
head = DetrMaskHeadSmallConv(264, list(channels), 256).eval()
features, looks = torch.randn(1, 256, 8, 10), torch.rand(1, queries, 8, 8, 10)
maps = [torch.randn(1, count, *side) for count, side in zip(channels, sides)]
given = []
for stage in head.fpn_stages:
    stage.fpn_adapter.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].clone()))
with torch.inference_mode():
    found = head(features, looks, maps)
    same = all(bool((one == one[:1]).all()) for one in given)
    ratio = sum(one.numel() for one in given) / sum(one.numel() for one in maps)
    print(f"the convolutions of three maps get {ratio:.0f} copies of each for {queries} queries, all equal: {same}")
    published = 100 * 4 * sum(count * rows * columns for count, (rows, columns) in zip(channels, ((50, 68), (100, 136), (200, 272))))
    print(f"with 100 queries and 800 x 1088 pixels the copies alone are {published / 1e9:.1f} GB")
    hidden = head.conv2(head.conv1(torch.cat([features.expand(queries, -1, -1, -1), looks[0]], dim=1)))
    for stage, one in zip(head.fpn_stages, maps):
        adapted = stage.fpn_adapter(one)
        hidden = stage.refine(adapted + F.interpolate(hidden, size=adapted.shape[-2:], mode="nearest"))
    apart = float((head.output_conv(hidden) - found).abs().max() / found.abs().max())
    print(f"convolved before they are copied: masks differ by {apart:.1e} of the largest value")
sys.exit(0 if ratio == queries and same and apart < 1e-5 else 1)
PYTHON

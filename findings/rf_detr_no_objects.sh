#!/usr/bin/env bash
# The loss of transformers' RF-DETR with masks, of pictures in which nothing is annotated: where no query is matched, the losses of the masks are
# no zeros but tensors without any element, (0, h, w). Added to them, the loss of the classes, which is a number, has no element either, so that
# nothing is learnt of a batch of empty pictures: not that there is nothing in them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 transformers==5.23.0 scipy==1.17.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from transformers import RfDetrConfig, RfDetrForInstanceSegmentation

torch.manual_seed(0)
print("transformers", version("transformers"))
backbone = {"model_type": "rf_detr_dinov2", "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 64, "patch_size": 8}
config = RfDetrConfig(
    backbone_config={**backbone, "num_windows": 2, "out_features": ["stage2", "stage4"]}, num_labels=2, num_queries=10, group_detr=2, d_model=32,
    decoder_layers=2, decoder_ffn_dim=64, decoder_self_attention_heads=4, decoder_cross_attention_heads=4, intermediate_size=64,
)
network = RfDetrForInstanceSegmentation(config).train()
pictures = torch.rand(2, 3, 64, 64)


def objects(count):
    """So many objects of one picture: class 0, the same box, 24 x 32 pixels each."""
    masks = torch.zeros(count, 64, 64)
    masks[:, 8:32, 8:40] = 1
    boxes = torch.tensor([[0.375, 0.3125, 0.5, 0.375]]).repeat(count, 1)
    return {"class_labels": torch.zeros(count, dtype=torch.int64), "boxes": boxes, "masks": masks}


shapes = {}
for title, counts in (("an object in one of two pictures", (1, 0)), ("no object in either", (0, 0))):
    found = network(pixel_values=pictures, labels=[objects(count) for count in counts])
    shapes[title] = tuple(found.loss.shape)
    gradients = torch.autograd.grad(found.loss.sum(), network.parameters(), allow_unused=True)
    moved = sum(gradient is not None and bool(gradient.any()) for gradient in gradients)
    print(f"{title}: loss of shape {shapes[title]}, of the classes {float(found.loss_dict['loss_ce']):.3f}, gradients of {moved} weights")
    last = moved
sys.exit(0 if list(shapes.values())[0] == () and 0 in list(shapes.values())[1] and last == 0 else 1)
PYTHON

#!/bin/sh
# Train the three bundled checkpoints again: rendered data, fixed seeds. On two CPU cores this takes hours; the figures of
# each are in the card of its folder under seg_demo/bundled/.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
for name in unet-cells segformer-cells maskrcnn-cells-first maskrcnn-cells; do
  $python train/finetune.py --config "scripts/bundled/$name.yaml" --output "runs/$name"
done
for name in unet-cells segformer-cells maskrcnn-cells; do
  $python scripts/bundle.py "runs/$name" "$name"
done

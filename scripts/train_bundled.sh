#!/bin/sh
# Train the bundled checkpoints again: rendered data, fixed seeds, one stage after the other. On two CPU cores this takes
# hours; the figures of each are in the card of its folder under seg_demo/bundled/.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
for name in unet-cells segformer-cells-first segformer-cells maskrcnn-cells-first maskrcnn-cells-second maskrcnn-cells; do
  $python train/finetune.py --config "scripts/bundled/$name.yaml" --output "runs/$name"
done
# Larger uploads are seen at 448 pixels: large cells are whole again, and small ones are still seen.
$python scripts/bundle.py runs/unet-cells unet-cells --longest-side 448
$python scripts/bundle.py runs/segformer-cells segformer-cells --longest-side 448
$python scripts/bundle.py runs/maskrcnn-cells maskrcnn-cells
# The clicked network begins with an encoder that has learnt from photographs, of the Hub or of the file CLICK_ENCODER, and learns on two
# processes at once.
$python scripts/begin_click.py runs/click-begin ${CLICK_ENCODER:-}
OMP_NUM_THREADS=1 $python -m torch.distributed.run --nproc_per_node 2 train/finetune.py --config scripts/bundled/click.yaml --output runs/click
for stage in second third; do
  $python train/finetune.py --config "scripts/bundled/click-$stage.yaml" --output "runs/click-$stage"
done
$python scripts/bundle.py runs/click-third click --note "Its encoder began with EfficientNet-Lite0's weights, which know ImageNet (Tan and Le 2019, Apache-2.0)." --note "Three stages: the first of 2300 steps by two processes; the last two with crowded nuclei among the pictures."
# So does the U-Net with watershed, which begins with the U-Net above, in two halves.
$python scripts/begin_unet_instance.py runs/unet-instance-begin
OMP_NUM_THREADS=1 $python -m torch.distributed.run --nproc_per_node 2 train/finetune.py --config scripts/bundled/unet-instance-cells-first.yaml --output runs/unet-instance-first
OMP_NUM_THREADS=1 $python -m torch.distributed.run --nproc_per_node 2 train/finetune.py --config scripts/bundled/unet-instance-cells.yaml --output runs/unet-instance
$python scripts/bundle.py runs/unet-instance unet-instance-cells --longest-side 448
# What each of the others is familiar with, for the warning on pictures of other kinds.
$python scripts/familiarity.py

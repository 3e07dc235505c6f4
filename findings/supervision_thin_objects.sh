#!/usr/bin/env bash
# supervision writes masks as the outlines that OpenCV finds through the middle of the pixels; of an object one pixel wide that is no outline. In its COCO
# files such an object is there, with a warning, an area and no segmentation, and is read back without a pixel; in its YOLO files, among outlines, it becomes the
# five numbers of a box whose height is 0, and nothing is said. Boxes of all objects are one pixel short in both directions.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check supervision==0.31.2
cd "$folder"
venv/bin/python - 2>/dev/null <<'PYTHON'
import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image

print("supervision", version("supervision"))
Path("images").mkdir()
Image.new("RGB", (40, 30)).save("images/a.png")
masks = np.zeros((2, 30, 40), bool)
masks[0, 5, 3:12] = True
masks[1, 15:18, 15:18] = True
found = sv.Detections(xyxy=sv.mask_to_xyxy(masks).astype(float), mask=masks, class_id=np.zeros(2, int))
data = sv.DetectionDataset(["thread"], ["images/a.png"], {"images/a.png": found})
data.as_coco(annotations_path="coco.json")
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    data.as_yolo(annotations_directory_path="labels", data_yaml_path="data.yaml")
written = json.loads(Path("coco.json").read_text())["annotations"]
outlines, boxes = [len(each["segmentation"]) for each in written], [each["bbox"][2:] for each in written]
back = next(iter(sv.DetectionDataset.from_coco("images", "coco.json", force_masks=True)))[2]
pixels = [int(mask.sum()) for mask in back.mask]
numbers = [len(line.split()) for line in Path("labels/a.txt").read_text().splitlines()]
print("  drawn: a row of 9 pixels, and 3 x 3 pixels")
print(f"  COCO: outlines {outlines}, width and height of the boxes {boxes}, pixels when it is read back {pixels}")
print(f"  YOLO: numbers per line {numbers}, warnings {len(said)}")
known = ([0, 1], [[8.0, 0.0], [2.0, 2.0]], [0, 9], [5, 9], 0)
sys.exit(0 if (outlines, boxes, pixels, numbers, len(said)) == known else "It behaves otherwise now.")
PYTHON

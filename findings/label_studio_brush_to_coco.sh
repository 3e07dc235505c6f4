#!/usr/bin/env bash
# Label Studio's export of brush masks to COCO takes the outer outlines of OpenCV, which run through the middle of the pixels. To everybody who reads
# COCO polygons as they are meant, every object is half a pixel smaller all around (4 x 4 pixels become 3 x 3), a ring is a filled square, and strokes
# one pixel wide are not in the file at all. The box beside the outline has the full size, so that box and outline of one object disagree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check label-studio-sdk==2.1.2 pycocotools==2.0.11 numpy==2.2.6 opencv-python-headless==4.12.0.88
cd "$folder"
venv/bin/python - <<'PYTHON'
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from label_studio_sdk.converter.brush import mask2rle
from label_studio_sdk.converter.exports.brush_to_coco import convert_to_coco
from pycocotools import mask as coco

print("label-studio-sdk", version("label-studio-sdk"), "- pycocotools", version("pycocotools"))
height, width = 40, 60
small, ring, stroke = (np.zeros((height, width), np.uint8) for _ in range(3))
small[5:9, 50:54] = 255
ring[4:20, 4:20] = 255
ring[7:17, 7:17] = 0
stroke[5:35, 40] = 255
brushes = {"a square of 4 x 4": small, "a ring": ring, "a stroke one pixel wide": stroke}
item = {"id": 1, "completed_by": 1, "input": {"image": "a.png"}, "output": {"brush": [
    {"type": "BrushLabels", "brushlabels": [name], "rle": mask2rle(mask), "original_width": width, "original_height": height}
    for name, mask in brushes.items()
]}}
data = json.loads(Path(convert_to_coco([item], "out")).read_text())
names = {each["id"]: each["name"] for each in data["categories"]}
found = {name: [] for name in brushes}
for each in data["annotations"]:
    drawn = coco.decode(coco.merge(coco.frPyObjects(each["segmentation"], height, width)))
    found[names[each["category_id"]]].append((int(drawn.sum()), each["area"], each["bbox"][2:]))
for name, mask in brushes.items():
    print(f"  {name}: painted {np.count_nonzero(mask)} pixels; in the file (pixels of the outline, area, width and height of the box): {found[name] or 'nothing'}")
known = {"a square of 4 x 4": [(9, 9, [4, 4])], "a ring": [(225, 225, [16, 16])], "a stroke one pixel wide": []}
sys.exit(0 if found == known else "It behaves otherwise now.")
PYTHON

#!/usr/bin/env bash
# sahi cuts large pictures and their COCO annotations into tiles. A crowd region (iscrowd 1, "do not ask for objects here") comes out as an ordinary
# object of its class, without a word: the flag is not read at all. With run lengths, as COCO itself stores crowds, the whole box becomes the object.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sahi==0.12.8 pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>/dev/null <<'PYTHON'
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image
from sahi.slicing import slice_coco

print("sahi", version("sahi"))
Image.new("RGB", (64, 64)).save("a.png")
triangle = [4, 4, 28, 4, 4, 28]
# The same triangle of another crowd as run lengths, in the tile beside it.
mask = np.zeros((64, 64), bool)
mask[4:28, 36:60] = np.tri(24, dtype=bool)
edges = np.flatnonzero(np.diff(np.pad(mask.T.ravel(), 1)))
counts = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
crowds = [
    {"id": 1, "segmentation": [triangle], "bbox": [4, 4, 24, 24], "area": 288},
    {"id": 2, "segmentation": {"size": [64, 64], "counts": counts}, "bbox": [36, 4, 24, 24], "area": int(mask.sum())},
]
Path("a.json").write_text(json.dumps({
    "images": [{"id": 1, "file_name": "a.png", "height": 64, "width": 64}], "categories": [{"id": 1, "name": "person"}],
    "annotations": [each | {"image_id": 1, "category_id": 1, "iscrowd": 1} for each in crowds],
}))
cut, _ = slice_coco("a.json", ".", "tiles", output_dir="out", slice_height=32, slice_width=32, overlap_height_ratio=0, overlap_width_ratio=0)
found = [(each["iscrowd"], each["area"]) for each in cut["annotations"]]
print(f"  iscrowd and area, before: {[(1, each['area']) for each in crowds]}")
print(f"  and in the tiles:         {found} (the box of the second has 24 x 24 = 576)")
sys.exit(0 if found == [(0, 288), (0, 576)] else "It behaves otherwise now.")
PYTHON

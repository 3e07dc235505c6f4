#!/usr/bin/env bash
# Pillow's ImageDraw.polygon, which draws labelme's masks, and OpenCV's fillPoly, which draws those of YOLO files in supervision and in trainers, both
# count the outline as part of the object, and agree on upright and level edges. On slanted ones they do not: nine of ten random triangles between
# whole pixels come out with other pixels, OpenCV's being the larger ones. One file of outlines teaches two masks, depending on who reads it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 numpy==2.2.6 opencv-python-headless==4.12.0.88
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import cv2
import numpy as np
from PIL import Image, ImageDraw

print("Pillow", version("pillow"), "OpenCV", cv2.__version__)
rng = np.random.default_rng(0)
side = 64


def both(corners):
    """The same outline as either library fills it."""
    canvas = Image.new("L", (side, side))
    ImageDraw.Draw(canvas).polygon([(int(x), int(y)) for x, y in corners], outline=1, fill=1)
    other = np.zeros((side, side), np.uint8)
    cv2.fillPoly(other, [np.array(corners, np.int32)], 1)
    return np.asarray(canvas), other


square = both([(10, 10), (20, 10), (20, 20), (10, 20)])
triangles = [both(rng.integers(4, side - 4, (3, 2))) for _ in range(500)]
differ = sum(not np.array_equal(*pair) for pair in triangles)
larger = [sum(int(pair[one].sum()) > int(pair[1 - one].sum()) for pair in triangles) for one in (0, 1)]
print(f"a square from 10 to 20: {square[0].sum()} and {square[1].sum()} pixels")
print(f"of 500 triangles {differ} differ; Pillow's is larger in {larger[0]}, OpenCV's in {larger[1]}")
sys.exit(0 if np.array_equal(*square) and differ > 400 and larger[0] == 0 and larger[1] > 400 else 1)
PYTHON

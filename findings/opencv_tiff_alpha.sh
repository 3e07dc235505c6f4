#!/usr/bin/env bash
# OpenCV multiplies the colours of an 8-bit RGBA TIFF with its transparency, also where it is asked to leave everything as it is (IMREAD_UNCHANGED)
# and the file says that it has not been done (unassociated alpha): under transparent pixels everything is black. The same picture as PNG, and as
# TIFF of 16 bits, it gives as stored. TIFFs of 8 bits it leaves to libtiff's reader for display, which multiplies.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 tifffile==2026.3.3 pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import cv2
import numpy as np
import PIL
import tifffile
from PIL import Image

print("OpenCV", cv2.__version__, "- Pillow", PIL.__version__)
stored = np.array([[[200, 100, 40, 255], [200, 100, 40, 128], [200, 100, 40, 0]]], np.uint8)
tifffile.imwrite("eight.tif", stored, photometric="rgb", extrasamples=["unassalpha"])
tifffile.imwrite("sixteen.tif", stored.astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"])
Image.fromarray(stored).save("eight.png")


def by_opencv(path, flags=cv2.IMREAD_UNCHANGED):
    """Red, green, blue (and alpha) of the three pixels."""
    image = cv2.imread(path, flags)
    return image[0, :, [2, 1, 0, 3][: image.shape[2]]].T.tolist()


wanted = stored[0].tolist()
seen = {path: by_opencv(path) for path in ("eight.png", "eight.tif")}
seen["sixteen.tif, divided by 257"] = (np.array(by_opencv("sixteen.tif")) // 257).tolist()
color = {path: by_opencv(path, cv2.IMREAD_COLOR) for path in ("eight.png", "eight.tif")}
print("  stored:                     ", wanted, "- by Pillow from the TIFF:", np.asarray(Image.open("eight.tif"))[0].tolist())
for path, pixels in seen.items():
    print(f"  {path + ':':28}", pixels)
for path, pixels in color.items():
    print(f"  {path + ', in colour:':28}", pixels)
others = seen["eight.png"] == seen["sixteen.tif, divided by 257"] == wanted == np.asarray(Image.open("eight.tif"))[0].tolist()
dark = [[200, 100, 40, 255], [100, 50, 20, 128], [0, 0, 0, 0]]
sys.exit(0 if others and np.abs(np.array(seen["eight.tif"]) - dark).max() <= 1 else "It behaves otherwise now.")
PYTHON

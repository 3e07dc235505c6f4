#!/usr/bin/env bash
# tifffile stores an array of True and False as a picture whose zero is white: it reads back as it was, but viewers and Pillow show it inverted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tifffile==2026.3.3 pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import PIL
import tifffile
from PIL import Image

mask = np.array([[True, True, False, False]])
tifffile.imwrite("default.tif", mask)
tifffile.imwrite("black.tif", mask, photometric="minisblack")
again = tifffile.imread("default.tif")[0].tolist()
seen = {name: np.asarray(Image.open(f"{name}.tif"))[0].tolist() for name in ("default", "black")}
print("tifffile", tifffile.__version__, "Pillow", PIL.__version__)
print("  written:", mask[0].tolist())
print("  read by tifffile:", again)
print("  read by Pillow:", seen["default"], "and with photometric='minisblack':", seen["black"])
as_known = again == mask[0].tolist() == seen["black"] and seen["default"] == (~mask)[0].tolist()
sys.exit(0 if as_known else "It behaves otherwise now.")
PYTHON

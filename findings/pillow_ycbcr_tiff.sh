#!/usr/bin/env bash
# Pillow cannot read the uncompressed YCbCr TIFF that it has just written; the same picture with LZW it reads, as RGB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import io
import sys

import numpy as np
import PIL
from PIL import Image

picture = Image.new("RGB", (8, 8), (200, 40, 60)).convert("YCbCr")
seen = {}
for compression in (None, "tiff_lzw"):
    file = io.BytesIO()
    picture.save(file, "TIFF", compression=compression)
    opened = Image.open(io.BytesIO(file.getvalue()))
    try:
        seen[compression] = (opened.mode, np.asarray(opened)[0, 0].tolist())
    except OSError as error:
        seen[compression] = (opened.mode, str(error))
print("Pillow", PIL.__version__)
for compression, (mode, what) in seen.items():
    print(f"  compression {compression}: opened as {mode}, first pixel {what}")
as_known = "truncated" in seen[None][1] and seen["tiff_lzw"][0] == "RGB" and abs(seen["tiff_lzw"][1][0] - 200) < 3
sys.exit(0 if as_known else "It behaves otherwise now.")
PYTHON

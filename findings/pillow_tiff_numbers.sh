#!/usr/bin/env bash
# Pillow reads signed bytes of a TIFF as unsigned, large 32-bit numbers as negative, and refuses the big-endian twins of what it reads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 numpy==2.4.6 tifffile==2026.3.3
cd "$folder"
venv/bin/python - <<'PYTHON'
import io
import sys

import numpy as np
import PIL
import tifffile
from PIL import Image, TiffImagePlugin, UnidentifiedImageError


def by_pillow(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    assert (tifffile.imread(io.BytesIO(file.getvalue())) == values).all()  # the file is good
    try:
        return np.asarray(Image.open(io.BytesIO(file.getvalue()))).tolist()
    except UnidentifiedImageError:
        return "not identified"


small = np.array([[1, 2]], np.uint8)
seen = {
    "int8 -1 and 127": by_pillow(np.array([[-1, 127]], np.int8)),
    "uint32 3000000000 and 1": by_pillow(np.array([[3_000_000_000, 1]], np.uint32)),
    "uint32, big-endian": by_pillow(np.array([[3_000_000_000, 1]], np.uint32), byteorder=">"),
    "uint16, white is zero": by_pillow(np.array([[1, 2]], np.uint16), photometric="miniswhite"),
    "uint16, white is zero, big-endian": by_pillow(np.array([[1, 2]], np.uint16), photometric="miniswhite", byteorder=">"),
    "BigTIFF of bytes": by_pillow(small, bigtiff=True),
    "BigTIFF of bytes, big-endian": by_pillow(small, bigtiff=True, byteorder=">"),
}
listed = b"MM\x00\x2b" in TiffImagePlugin.PREFIXES
print("Pillow", PIL.__version__, "- its list of TIFF headers names the big-endian BigTIFF:", listed)
for what, values in seen.items():
    print(f"  {what}: {values}")
as_known = listed and list(seen.values()) == [
    [[255, 127]], [[-1294967296, 1]], "not identified", [[1, 2]], "not identified", [[1, 2]], "not identified",
]
sys.exit(0 if as_known else "It behaves otherwise now.")
PYTHON

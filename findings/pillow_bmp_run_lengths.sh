#!/usr/bin/env bash
# Pillow's decoder of BMP run lengths drops the last pixel of an odd stretch of 4-bit pixels, and fails on a black-and-white palette.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import io
import struct
import sys

import numpy as np
import PIL
from PIL import Image


def bmp(bits, kind, palette, width, height, data):
    """A BMP with run lengths, as Microsoft's "Bitmap Compression" describes them; rows from below."""
    colors = b"".join(bytes([blue, green, red, 0]) for red, green, blue in palette)
    at = 54 + len(colors)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, kind, len(data), 0, 0, len(palette), 0)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + head + colors + data


print("Pillow", PIL.__version__)
colors = [(index * 16, 0, 255 - index * 16) for index in range(16)]
# The lower row: five pixels as they are (1 2 3 4 5, packed and padded to 4 bytes). The upper one: a run of five, 6 7 6 7 6.
stretch = bytes([0, 5, 0x12, 0x34, 0x50, 0, 0, 0]) + bytes([5, 0x67, 0, 0, 0, 1])
found = np.asarray(Image.open(io.BytesIO(bmp(4, 2, colors, 5, 2, stretch)))).tolist()
print("  stored [[6, 7, 6, 7, 6], [1, 2, 3, 4, 5]], read", found)
runs = bytes([2, 0, 2, 1, 0, 1])
try:
    Image.open(io.BytesIO(bmp(8, 1, [(0, 0, 0), (255, 255, 255)], 4, 1, runs))).load()
    two = "read"
except ValueError as error:
    two = str(error)
print("  8-bit runs, palette of black and white:", two)
as_known = found == [[6, 7, 6, 7, 6], [1, 2, 3, 4, 0]] and "raw mode" in two
sys.exit(0 if as_known else "It behaves otherwise now.")
PYTHON

#!/usr/bin/env bash
# A PNG of 16 bits may name one colour that is transparent: in RGB Pillow finds no such pixel, in grey it makes everything white.
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
import zlib

import numpy as np
import PIL
from PIL import Image


def png(kind, samples, key):
    """A row of 16-bit pixels and its tRNS chunk, as the PNG specification (third edition, 11.3.1.1) has it."""
    width = len(samples)
    body = b"\0" + np.array(samples, ">u2").tobytes()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, 1, 16, kind, 0, 0, 0)), (b"tRNS", np.array(key, ">u2").tobytes()),
        (b"IDAT", zlib.compress(body)), (b"IEND", b""),
    ]
    parts = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


color = np.asarray(Image.open(png(2, [[1000, 2000, 3000], [1001, 2002, 3003]], [1000, 2000, 3000])).convert("RGBA"))[0].tolist()
grey = np.asarray(Image.open(png(0, [1000, 1001, 60000], [1000])).convert("RGBA"))[0].tolist()
print("Pillow", PIL.__version__)
print("  RGB, the first pixel is transparent:", color)
print("  grey 1000 (transparent), 1001, 60000:", grey)
as_known = color == [[3, 7, 11, 255], [3, 7, 11, 255]] and grey == [[255, 255, 255, 255]] * 3
sys.exit(0 if as_known else "It behaves otherwise now.")
PYTHON

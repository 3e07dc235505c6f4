#!/usr/bin/env bash
# A TIFF whose pieces are compressed as JPEG 2000 (as slide scanners do) OpenCV cannot read, and gives a picture of the right size that is black all
# over instead of None, for 8 bits; of 16 bits, and of Zstandard, it gives None. haveImageReader says yes to all of them. For 8 bits it asks libtiff
# to draw the file, which refuses methods that it knows by name and was built without, and goes on after pieces of methods that it never heard of.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>/dev/null <<'PYTHON'
import sys

import cv2
import numpy as np
import tifffile

print("OpenCV", cv2.__version__, "- tifffile", tifffile.__version__)
picture = np.random.default_rng(0).integers(1, 255, (64, 64, 3), dtype=np.uint8)
seen = {}
for method in ("deflate", "zstd", "jpeg2000", "aperio_jp2000_rgb"):
    for kind in (np.uint8, np.uint16):
        stored = picture.astype(kind)
        tifffile.imwrite("a.tif", stored, photometric="rgb", compression=method, tile=(32, 32))
        assert np.array_equal(tifffile.imread("a.tif"), stored)  # the file is good, and the method loses nothing
        read = cv2.imread("a.tif", cv2.IMREAD_UNCHANGED)
        if read is None:
            answer = "None"
        else:
            answer = "as stored" if np.array_equal(read[..., ::-1], stored) else "black" if not read.any() else "something else"
        seen[method, kind.__name__] = (answer, cv2.haveImageReader("a.tif"))
for (method, kind), (answer, reader) in seen.items():
    print(f"  {method}, {kind}: {answer} (haveImageReader: {reader})")
wanted = {"deflate": ["as stored"] * 2, "zstd": ["None"] * 2, "jpeg2000": ["black", "None"], "aperio_jp2000_rgb": ["black", "None"]}
found = {method: [seen[method, kind][0] for kind in ("uint8", "uint16")] for method in wanted}
sys.exit(0 if found == wanted and all(reader for _, reader in seen.values()) else "It behaves otherwise now.")
PYTHON

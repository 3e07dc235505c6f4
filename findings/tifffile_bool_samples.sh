#!/usr/bin/env bash
# tifffile stores True and False as bits. Of an array with several samples per pixel (masks of two classes, one beside the other) it packs eight
# pixels of one sample into a byte, where TIFF has the samples of a pixel one after the other: the file reads otherwise than it was written,
# in GDAL and in tifffile itself, without an error. Planes one after the other come back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tifffile==2026.3.3 imagecodecs==2026.3.6 rasterio==1.4.4 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import rasterio
import tifffile

print("tifffile", version("tifffile"), "rasterio", version("rasterio"))
masks = np.zeros((4, 16, 2), bool)
masks[:, :8, 0] = True
masks[:, 8:, 1] = True


def right(**options):
    """Whether tifffile and GDAL read what was written."""
    written = masks if options["planarconfig"] == "contig" else np.moveaxis(masks, -1, 0)
    tifffile.imwrite("masks.tif", written, photometric="minisblack", **options)
    with rasterio.open("masks.tif") as raster:
        bands = raster.read()
    return bool((tifffile.imread("masks.tif") == written).all()), bool((np.moveaxis(bands, 0, -1) == masks).all())


beside, apart = right(planarconfig="contig"), right(planarconfig="separate")
print("samples beside each other: right in tifffile, GDAL:", beside)
print("planes one after the other:", apart)
sys.exit(0 if beside == (False, False) and apart == (True, True) else 1)
PYTHON

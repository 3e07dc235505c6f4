#!/usr/bin/env bash
# SimpleITK reads a TIFF of half floats as whole numbers: the bits of every value taken for a uint16, so that a probability of 0.5 becomes 14336.
# No error and no warning; of floats with 32 bits the same call gives the values. ITK's reader asks for the number of bits before the kind of number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check simpleitk==2.5.7 tifffile==2026.3.3 rasterio==1.4.4 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import rasterio
import SimpleITK
import tifffile

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
print("SimpleITK", version("simpleitk"), "- GDAL", rasterio.__gdal_version__, "- tifffile", tifffile.__version__)
values = [[0.0, 0.5, 1.0, -2.0]]
read = {}
for kind in (np.float32, np.float16):
    tifffile.imwrite("a.tif", np.array(values, kind))
    image = SimpleITK.ReadImage("a.tif")
    with rasterio.open("a.tif") as dataset:
        by_gdal = dataset.read(1).tolist()
    read[kind] = (image.GetPixelIDTypeAsString(), SimpleITK.GetArrayFromImage(image).tolist(), by_gdal, tifffile.imread("a.tif").tolist())
for kind, (name, by_itk, by_gdal, by_tifffile) in read.items():
    print(f"  {kind.__name__}: tifffile {by_tifffile}, GDAL {by_gdal}, SimpleITK {by_itk} ({name})")
good = all(by_gdal == by_tifffile == values for _, _, by_gdal, by_tifffile in read.values()) and read[np.float32][1] == values
sys.exit(0 if good and read[np.float16][1] == np.array(values, np.float16).view(np.uint16).tolist() else "It behaves otherwise now.")
PYTHON

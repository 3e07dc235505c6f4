#!/usr/bin/env bash
# rasterio takes the value of no data as a float also where a raster holds whole numbers of 64 bits. Of 2**53 + 1 the one below is written: the
# pixels without data are data then, and their neighbours in value are not. From 2**62 + 1 the file says 4.6116860184273879e+18, which is read
# back as 4. The type's largest number, which programs fill with, is refused as beyond it. A file whose tag names the number in full is masked
# right, though its `nodata` reads as another one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 tifffile==2026.3.3 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
import warnings

import numpy as np
import rasterio
import tifffile

warnings.simplefilter("ignore")  # no georeference
print("rasterio", rasterio.__version__, "- GDAL", rasterio.__gdal_version__)
result = {}
for name, nodata in (("2**53 + 1", 2**53 + 1), ("2**62 + 1", 2**62 + 1), ("2**63 - 1", 2**63 - 1)):
    pixels = np.array([[nodata, nodata - 1, 4, 5]], dtype=np.int64)
    try:
        with rasterio.open("a.tif", "w", driver="GTiff", height=1, width=4, count=1, dtype="int64", nodata=nodata) as file:
            file.write(pixels, 1)
        with rasterio.open("a.tif") as file:
            written = file.nodata, (file.read_masks(1)[0] == 0).tolist()
    except ValueError as error:
        written = str(error)
    tifffile.imwrite("b.tif", pixels, extratags=[(42113, "s", 0, f"{nodata}\0", True)])
    with rasterio.open("b.tif") as file:
        named = file.nodata, (file.read_masks(1)[0] == 0).tolist()
    result[name] = written, named
    print(f"  pixels {name}, one less, 4 and 5, no data is {name}:")
    print("    written by rasterio, read back: no data is", *((f"{written[0]!r}, so", written[1]) if isinstance(written, tuple) else ("refused:", written)))
    print("    named in the file by its digits: no data is", f"{named[0]!r}, so", named[1])
first = [True, False, False, False]
same = (
    result["2**53 + 1"] == ((2.0**53, [False, True, False, False]), (2.0**53, first))
    and result["2**62 + 1"][0][0] == 4.0
    and result["2**62 + 1"][1] == (2.0**62, first)
    and "beyond the valid range" in result["2**63 - 1"][0]
    and result["2**63 - 1"][1] == (None, first)
)
sys.exit(0 if same else "It behaves otherwise now.")
PYTHON

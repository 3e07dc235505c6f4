#!/usr/bin/env bash
# From a raster of float32, GDAL's polygons take neighbours for the same that are no more than ten steps of float32 apart. Whole numbers are exact in
# float32 up to 16777216, but from 1048576 on two neighbours with ids that follow each other become one polygon, which carries the last of the ids.
# COCO's panoptic ids (R + 256 G + 65536 B) are mostly larger than that. The same array as int32 gives every object its polygon.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import rasterio
from rasterio.features import shapes

print("rasterio", rasterio.__version__, "- GDAL", rasterio.__gdal_version__)


def ids(first, kind):
    """Ids of the polygons of four columns side by side, whose ids follow each other."""
    columns = np.repeat(np.arange(first, first + 4)[None], 3, axis=0).astype(kind)
    assert columns[0].tolist() == list(range(first, first + 4))  # each is exact in this type
    return sorted(int(value) for _, value in shapes(columns))


found = {(first, kind): ids(first, kind) for first in (1000, 1_048_576, 10_000_000) for kind in ("int32", "float32")}
for (first, kind), values in found.items():
    print(f"  ids {first} to {first + 3} as {kind}: polygons of {values}")
near = sorted(float(value) for _, value in shapes(np.array([[0.25, np.float32(0.25000015)]], np.float32)))
print("  0.25 and 0.25000015:", near)
whole = all(values == list(range(first, first + 4)) for (first, kind), values in found.items() if kind == "int32" or first == 1000)
merged = found[1_048_576, "float32"] == [1_048_579] and found[10_000_000, "float32"] == [10_000_003]
sys.exit(0 if whole and merged and len(near) == 1 else "It behaves otherwise now.")
PYTHON

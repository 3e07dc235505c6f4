#!/usr/bin/env bash
# A picture of black and white that becomes a palette picture has other numbers by every way: whoever reads a mask's indices gets it inverted, or 225.
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

picture = Image.fromarray(np.repeat(np.array([[0, 255, 255]], np.uint8)[..., None], 3, axis=2))
file = io.BytesIO()
picture.save(file, "GIF")
ways = {
    "convert('P')": picture.convert("P"),
    "convert('P', palette=ADAPTIVE)": picture.convert("P", palette=Image.Palette.ADAPTIVE),
    "quantize(2)": picture.quantize(2),
    "saved as GIF": Image.open(io.BytesIO(file.getvalue())),
}
found = {way: np.asarray(image)[0].tolist() for way, image in ways.items()}
seen = {way: np.asarray(image.convert("L"))[0].tolist() for way, image in ways.items()}
print("Pillow", PIL.__version__, "black, white, white as numbers of a palette:")
for way, numbers in found.items():
    print(f"  {way}: {numbers}, seen as {seen[way]}")
as_known = found["convert('P')"] == [0, 225, 225] and found["quantize(2)"] == [1, 0, 0] and found["saved as GIF"] == [1, 0, 0]
as_known = as_known and set(map(tuple, seen.values())) == {(0, 255, 255)}
sys.exit(0 if as_known else "It behaves otherwise now.")
PYTHON

#!/usr/bin/env bash
# Label Studio's own converter from an outline to its brush mask (contour2rle) lays the picture out with width and height exchanged: in a picture
# that is not square the brush lies elsewhere, cut to pieces, and whatever lies beyond the shorter side is lost. Its file keeps only the number of
# pixels, which is right, so nothing complains. From a mask (mask2rle) the same object comes back exactly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check label-studio-sdk==2.1.2 numpy==2.2.6 opencv-python-headless==4.12.0.88
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from label_studio_sdk.converter.brush import contour2rle, decode_rle, mask2rle

print("label-studio-sdk", version("label-studio-sdk"))


def box_of(mask):
    """Covered pixels and the box around them: (count, left, top, right, bottom), the last two inclusive."""
    y, x = np.nonzero(mask)
    return (int(y.size), *(int(side) for side in (x.min(), y.min(), x.max(), y.max())))


def brushes(height, width):
    """One rectangle, columns 5 to 34 and rows 3 to 12: as it is, through mask2rle, through contour2rle."""
    mask = np.zeros((height, width), np.uint8)
    mask[3:13, 5:35] = 255
    outline = np.array([[[5, 3]], [[34, 3]], [[34, 12]], [[5, 12]]])
    # Label Studio's masks have four channels; the last one is the brush.
    found = [np.reshape(decode_rle(bytes(rle)), (height, width, 4))[..., 3] for rle in (mask2rle(mask), contour2rle([outline], 0, width, height))]
    return [box_of(each) for each in (mask, *found)]


square, wide = brushes(40, 40), brushes(20, 40)
for title, (truth, by_mask, by_outline) in (("40 x 40", square), ("40 wide, 20 high", wide)):
    print(f"  {title}: pixels and box {truth}; mask2rle {by_mask}; contour2rle {by_outline}")
sys.exit(0 if len(set(square)) == 1 and wide[0] == wide[1] and wide[2] == (150, 5, 1, 39, 6) else "It behaves otherwise now.")
PYTHON

#!/usr/bin/env bash
# A degenerate part of four numbers beside a good polygon of one object: the order of the two decides. Last, it draws nothing and the polygon
# counts. First, pycocotools fails on an argument that nobody passed, and faster-coco-eval takes every part for a box [x, y, width, height]: of
# the good polygon the first four numbers, so that a square of 100 pixels becomes a rectangle of 200.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pycocotools==2.0.11 faster-coco-eval==1.8.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import faster_coco_eval.core.mask
import pycocotools.mask

square, four = [10, 10, 20, 10, 20, 20, 10, 20], [2, 2, 6, 5]
libraries = {"pycocotools": pycocotools.mask, "faster-coco-eval": faster_coco_eval.core.mask}


def pixels(mask, parts):
    """Pixels that the parts of one object cover in a picture of 64 x 64, or the name of the error."""
    try:
        return int(mask.area(mask.merge(mask.frPyObjects(parts, 64, 64))))
    except TypeError as error:
        return f"TypeError: {error}"


answers = {}
for name, mask in libraries.items():
    print(name, version(name))
    for title, parts in (("the square alone", [square]), ("square, then four numbers", [square, four]), ("four numbers, then the square", [four, square])):
        answers[name, title] = pixels(mask, parts)
        print(f"  {title}: {answers[name, title]}")
good, last, first = ([answers[name, title] for name in libraries] for title in dict.fromkeys(title for _, title in answers))
sys.exit(0 if good == last == [100, 100] and "'bb'" in str(first[0]) and first[1] == 230 else 1)
PYTHON

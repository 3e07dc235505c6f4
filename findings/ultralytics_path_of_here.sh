#!/usr/bin/env bash
# A data.yaml of Ultralytics that says `path: .` does not mean the folder it lies in, but the one in which the program was started: of two data sets
# the pictures of the wrong one are taken, with the other's class names, and nothing is said. Where that folder has no such pictures the file is said to be
# missing; relative paths that are not there lie below a folder in the user's settings. Without the key it is the folder of the data.yaml, as one would expect.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 ultralytics==8.4.190 opencv-python-headless==5.0.0.93
cd "$folder"
YOLO_CONFIG_DIR="$folder/settings" venv/bin/python - 2>/dev/null <<'PYTHON'
import os
import sys
from importlib.metadata import version
from pathlib import Path

from ultralytics.data.utils import check_det_dataset

print("ultralytics", version("ultralytics"))
root = Path.cwd().resolve()
for name, classes in (("cells", "[cell]"), ("roads", "[road]")):
    for part in ("images", "labels"):
        (root / name / part).mkdir(parents=True)
    (root / name / "here.yaml").write_text(f"path: .\ntrain: images\nval: images\nnames: {classes}\n")
    (root / name / "none.yaml").write_text(f"train: images\nval: images\nnames: {classes}\n")


def taken(file: str) -> str:
    try:
        data = check_det_dataset(str(root / "cells" / file), autodownload=False)
    except FileNotFoundError:
        return "not found"
    return f"{data['names'][0]} in {Path(data['train']).relative_to(root)}"


found = {}
for place in ("cells", "roads", "."):
    os.chdir(root / place)
    found[place] = taken("here.yaml"), taken("none.yaml")
    print(f"  started in {place}: with 'path: .' {found[place][0]}; without the key {found[place][1]}")
expected = {
    "cells": ("cell in cells/images", "cell in cells/images"), "roads": ("cell in roads/images", "cell in cells/images"), ".": ("not found", "cell in cells/images"),
}  # fmt: skip
sys.exit(found != expected)
PYTHON

#!/usr/bin/env bash
# In COCO, iscrowd 1 says "a group that nobody separated": evaluation asks for no such object, and training leaves it out. Two writers of COCO files
# set it for the shape of a mask: supervision for every object with a hole or of two parts, datumaro for every object that is a mask. Whoever writes
# a data set with them and scores a perfect detector on it is scored on less than was drawn: here on one object of three, and on none (-1).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check supervision==0.31.2 datumaro==1.13.12 pycocotools==2.0.11
cd "$folder"
venv/bin/python - 2>/dev/null <<'PYTHON'
import contextlib
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import supervision as sv
from datumaro.components.annotation import Mask
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Picture
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pycocotools.mask import encode

print("supervision", version("supervision"), "- datumaro", version("datumaro"), "- pycocotools", version("pycocotools"))
masks = np.zeros((3, 60, 80), bool)
masks[0, 5:20, 5:25] = True
masks[1, 25:50, 5:35] = True
masks[1, 32:40, 15:25] = False
masks[2, 5:15, 45:55] = masks[2, 20:30, 60:75] = True
picture = np.zeros((60, 80, 3), np.uint8)
Picture.fromarray(picture).save("a.png")

found = sv.Detections(xyxy=sv.mask_to_xyxy(masks).astype(float), mask=masks, class_id=np.zeros(3, int))
sv.DetectionDataset(["cell"], ["a.png"], {"a.png": found}).as_coco(annotations_path="supervision.json")
Dataset.from_iterable(
    [DatasetItem("a", media=Image.from_numpy(picture), annotations=[Mask(mask, label=0, id=n, group=n) for n, mask in enumerate(masks, 1)])],
    categories=["cell"],
).export("datumaro", "coco_instances")


def judged(path):
    """The crowd flags of a file, hole and parts last, and how many objects and which AP50 pycocotools sees in it for the three masks themselves."""
    truth = json.loads(Path(path).read_text())
    flags = [each["iscrowd"] for each in sorted(truth["annotations"], key=lambda each: each["id"])]
    image, category = truth["images"][0]["id"], truth["categories"][0]["id"]
    exact = [{"image_id": image, "category_id": category, "score": 0.9, "segmentation": encode(np.asfortranarray(m.astype(np.uint8)))} for m in masks]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
        evaluation = COCOeval(coco, coco.loadRes(exact), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    asked = sum(not ignored for each in evaluation.evalImgs[:1] for ignored in each["gtIgnore"])
    return flags, asked, round(float(evaluation.stats[1]), 3)


answers = [judged("supervision.json"), judged("datumaro/annotations/instances_default.json")]
for name, (flags, asked, precision) in zip(("supervision", "datumaro"), answers, strict=True):
    print(f"  {name}: iscrowd of a rectangle, one with a hole, one of two parts: {flags}; objects that count: {asked}, AP50 {precision}")
sys.exit(0 if answers == [([0, 1, 1], 1, 1.0), ([1, 1, 1], 0, -1.0)] else "It behaves otherwise now.")
PYTHON

#!/usr/bin/env bash
# COCO's average precision looks at 100 candidates at most, of a class in an image. Whoever raises that (params.maxDets) and asks
# summarize() for the mean AP gets -1 from pycocotools, without a word: the figure is looked up under a cap of exactly 100, while AP50 and AP75
# beside it follow the cap that was set. faster-coco-eval, made as a drop-in, gives the AP of the raised cap.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pycocotools==2.0.11 faster-coco-eval==1.8.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import contextlib
import io
import sys
from importlib.metadata import version

import pycocotools.coco
import pycocotools.cocoeval
from faster_coco_eval import COCO, COCOeval_faster

print("pycocotools", version("pycocotools"), "- faster-coco-eval", version("faster-coco-eval"))
boxes = [[20 * (n % 16), 20 * (n // 16), 10, 10] for n in range(256)]
truth = {
    "info": {}, "images": [{"id": 1, "height": 320, "width": 320}], "categories": [{"id": 1, "name": "cell"}],
    "annotations": [{"id": n, "image_id": 1, "category_id": 1, "bbox": b, "area": 100, "iscrowd": 0} for n, b in enumerate(boxes, 1)],
}
found = [{"image_id": 1, "category_id": 1, "bbox": b, "score": 0.9} for b in boxes]


def figures(coco_class, eval_class, caps):
    """AP, AP50 and AP75 of a detector that finds every one of 256 objects exactly."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_class()
        coco.dataset = truth
        coco.createIndex()
        evaluation = eval_class(coco, coco.loadRes([dict(each) for each in found]), "bbox")
        evaluation.params.maxDets = caps
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [round(float(value), 3) for value in evaluation.stats[:3]]


plain = figures(pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval, [1, 10, 100])
raised = figures(pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval, [1, 10, 256])
other = figures(COCO, COCOeval_faster, [1, 10, 256])
print("  256 of 256 found exactly: AP, AP50, AP75")
print("  pycocotools, its own cap of 100:    ", plain)
print("  pycocotools, maxDets [1, 10, 256]:  ", raised)
print("  faster-coco-eval, the same maxDets: ", other)
sys.exit(0 if max(plain) < 0.4 and raised == [-1.0, 1.0, 1.0] and other == [1.0, 1.0, 1.0] else 1)
PYTHON

"""Jobs as a training that is done leaves them, in no time: a real checkpoint, and what the command answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seg_demo.core.types import LabelSet
from seg_demo.jobs import job as job_files
from seg_demo.jobs.job import Job
from seg_demo.jobs.store import Jobs
from tests.checkpoints import TWO, write_tiny
from tests.small_datasets import folder

SCORES = {"mean_iou": 0.7, "iou/background": 0.9, "iou/cell": 0.5}
BEFORE = {"mean_iou": 0.5, "iou/background": 0.8, "iou/cell": 0.2}
# Two held-out images on which the new network is better.
IMAGES = [{"name": str(index), "base": 0.5, "new": 0.7, "base_things": 0.2, "new_things": 0.5} for index in range(2)]


def finished(
    root: Path, scratch: Path, owner: str, name: str = "My cells", labels: LabelSet = TWO, result: dict[str, Any] | None = None
) -> Job:
    """A job that is done.

    Args:
        root: of the jobs.
        scratch: a folder for its data.
        owner: whose it is.
        name: of its data.
        labels: of its network.
        result: what the command answered; None for one that became better.
    """
    store = Jobs(root)
    job = store.draft(name, folder(scratch / name, 2), {"model": "unet-cells"}, owner)
    write_tiny(job.checkpoint, labels)
    (job.checkpoint / "training.json").write_text(json.dumps({"licence": "apache-2.0"}))
    Image.fromarray(np.full((30, 90, 3), 77, np.uint8)).save(job.checkpoint / "samples.png")
    (job.run / "log.txt").write_text("2026-01-01T00:00:00Z INFO  done\n")
    line = {"step": 8, "loss": 0.5, "seconds": 3.0, **SCORES}
    (job.run / "metrics.jsonl").write_text(json.dumps({"step": 0, "seconds": 0.0, **BEFORE}) + "\n" + json.dumps(line) + "\n")
    baseline = {"metric": "mean_iou", "why": None, "background": "background", "base": BEFORE, "new": SCORES, "images": IMAGES}
    job_files.write_json(job.folder / job_files.RESULT, result or {"metrics": SCORES, "baseline": baseline})
    job_files.write_json(job.folder / job_files.CHECK, {"data": {"train_images": 6, "val_images": 2, "classes": list(labels.names)}})
    job_files.write_json(job.folder / job_files.RUNNER, {"pid": 0, "began": "x"})
    job_files.write_json(job.folder / job_files.EXIT, {"code": 0, "when": 0, "why": ""})
    return job

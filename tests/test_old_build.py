"""What an earlier build wrote is used by this one: its run goes on to the same weights, its jobs and datasets open.

``tests/data/old_build`` was written by version 0.1.0 before its modules were merged. ``{OLD}`` stands there for the folder.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from seg_demo import load_model
from seg_demo.datasets.store import Store
from seg_demo.jobs.job import DONE, DRAFT, STOPPED, judge
from seg_demo.jobs.store import Jobs
from tests.small_datasets import blob_mask, picture
from train import finetune

WRITTEN = Path(__file__).parent / "data" / "old_build"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folders as they would lie here."""
    root = shutil.copytree(WRITTEN, tmp_path / "old")
    for path in root.rglob("*"):
        if path.suffix in (".json", ".yaml", ".txt", ".md"):
            path.write_text(path.read_text(encoding="utf-8").replace("{OLD}", str(root)), encoding="utf-8")
    return root


def test_a_run_that_was_stopped_goes_on_to_the_weights_of_one_that_was_not(old: Path) -> None:
    """Both have the same data and seed; the old build ran the one to its end, and was stopped in the other after two steps of four."""
    whole, broken = (Jobs(old / "jobs").open(f"20260101-{end}").run for end in ("000000-d0d0d0", "000002-500500"))
    assert finetune.main(["--resume", str(broken)]) == 0
    first, second = (load_file(run / "best" / "model.safetensors") for run in (whole, broken))
    # Another processor rounds sums otherwise. Of a bias that a normalisation takes away again rounding is all of the gradient, and AdamW makes
    # whole steps of that, one learning rate each.
    assert first.keys() == second.keys()
    apart = torch.cat([(first[name] - second[name]).abs().flatten() for name in first if first[name].is_floating_point()])
    assert (apart > 1e-5).float().mean() < 0.02 and apart.max() < 0.01
    lines = [json.loads((run / "metrics.jsonl").read_text()) for run in (whole, broken)]
    assert lines[0].keys() == lines[1].keys() and lines[0]["mean_iou"] == pytest.approx(lines[1]["mean_iou"], abs=1e-3)
    assert {path.name for path in (whole / "best").iterdir()} == {path.name for path in (broken / "best").iterdir()}
    assert finetune.main(["--resume", str(whole)]) == 0, "a finished one has nothing left to do"


def test_jobs_open_in_the_state_in_which_they_were_left(old: Path) -> None:
    stopped, draft, done = (Jobs(old / "jobs").open(f"20260101-{end}") for end in ("000002-500500", "000001-b0b0b0", "000000-d0d0d0"))
    assert [job.state() for job in (stopped, draft, done)] == [STOPPED, DRAFT, DONE]
    assert [job.name for job in Jobs(old / "jobs").list()] == ["Stopped cells", "My cells"] and done.owner == "owner"
    assert stopped.progress()["total"] == 4 and Jobs(old / "jobs").config(stopped)["max_steps"] == 4
    assert done.verdict() == judge(done.result(), done.curves()) and done.curves()[-1]["step"] == 4
    faults = draft.check()["diagnosis"]["faults"]
    assert [fault["kind"] for fault in faults] == ["missing mask", "unreadable image"]
    result = load_model(str(done.checkpoint), device="cpu").predict(np.zeros((24, 32, 3), np.uint8))
    assert result.labels.names == ("background", "cell") and (result.height, result.width) == (24, 32)


def test_datasets_open_with_what_was_saved(old: Path) -> None:
    store = Store(old / "datasets")
    cells, objects = store.open("My-cells"), store.open("Objects")
    assert (cells.name, cells.task, cells.labels.names) == ("My cells", "semantic", ("background", "cell"))
    assert {sample.stem for sample in cells.samples()} == {"picture-0", "picture-1"}
    (thing,) = objects.samples()
    assert objects.task == "instance" and objects.labels.names == ("background", "cell", "debris")
    image, mask, instances = objects.read(thing.stem)
    assert image.shape == (24, 32, 3) and np.array_equal(mask, blob_mask(3)) and np.array_equal(instances, blob_mask(3))
    facts = cells.sample("picture-1").facts
    assert (facts.seconds, facts.strokes, facts.confidence, facts.source) == (3.5, 2, 0.5, "unet-cells")
    cells.add(Image.fromarray(picture(9)), blob_mask(9), name="new")
    assert len(store.open("My-cells").samples()) == 3

"""What the page shows of a job that ends before its time: it diverges, or disk or memory run out."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seg_demo.jobs import job as job_files
from seg_demo.jobs.job import DIVERGED, DONE, FAILED, RUNNING
from seg_demo.serving import catalog
from seg_demo.ui import finetune_view
from tests.jobs.test_jobs import QUICK, jobs, until  # noqa: F401
from tests.small_datasets import folder
from train.run import load_state


def ended(jobs, job, limit=None) -> str:  # noqa: F811
    """What the page says of a job that has ended; in its third step its process gets a limit (which, bytes)."""
    jobs.start(job)
    if limit is not None:
        until(lambda: job.progress().get("step", 0) >= 3)
        child = json.loads((job.folder / job_files.CHILD).read_text())["pid"]
        resource.prlimit(child, limit[0], (limit[1], resource.RLIM_INFINITY))
    until(lambda: job.state() != RUNNING)
    shown = finetune_view.status(job, "en")
    assert str(job.folder) not in shown + finetune_view.log(job, "en") and "Traceback" not in job.log()
    return shown


def test_a_job_that_diverges_says_so_and_keeps_its_last_good_state(jobs, tmp_path):  # noqa: F811
    # A base whose last normalisation is near the largest float: its weights are numbers, its loss is none.
    base = shutil.copytree(Path(catalog.__file__).parents[1] / "bundled" / "unet-cells", tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    last = max(key for key, value in weights.items() if key.startswith("decoder") and key.endswith("weight") and value.ndim == 1)
    save_file({**weights, last: torch.full(weights[last].shape, 1e38)}, base / "model.safetensors", {"format": "pt"})
    data = folder(tmp_path / "data", 4, classes="sky\nbird\n")
    job = jobs.draft("data", data, {**QUICK, "model": str(base), "from_scratch": False, "max_steps": 50})
    shown = ended(jobs, job)
    assert (job.state(), job.exit_code()) == (DIVERGED, 3)
    assert 'role="alert"' in shown and "is not a number" in shown and "smaller --lr" in shown
    assert "训练发散。第 " in finetune_view.status(job, "zh") and "not a number" not in finetune_view.status(job, "zh")
    state = load_state(job.run / "last" / "state.pt")
    assert all(bool(torch.isfinite(each).all()) for each in state["module"].values())
    assert len(list((job.folder / "data").rglob("*.png"))) == 8, "the data is kept"


@pytest.mark.parametrize(
    ("limit", "size", "said"),
    [
        (resource.RLIMIT_FSIZE, 30_000, "could not be written"),
        pytest.param(resource.RLIMIT_AS, 2**30, "Memory ran out", marks=pytest.mark.soak),
    ],
)
def test_a_job_that_runs_out_of_disk_or_memory_says_so_and_goes_on_afterwards(jobs, tmp_path, limit, size, said):  # noqa: F811
    steps = 60 if limit == resource.RLIMIT_FSIZE else 8
    larger = {} if limit == resource.RLIMIT_FSIZE else {"batch_size": 32, "image_size": 192, "save_every": 50}
    job = jobs.draft("data", folder(tmp_path / "data", 8), {**QUICK, "max_steps": steps, **larger})
    shown = ended(jobs, job, (limit, size))
    assert (job.state(), job.exit_code()) == (FAILED, 1)
    assert 'role="alert"' in shown and said in shown and job.verdict() is None
    chinese = finetune_view.status(job, "zh")
    assert ("无法写入" in chinese or "内存不足" in chinese) and said not in chinese
    # As if it had been asked for few: every step ends in an evaluation and its pictures.
    steps = min(steps, job.progress()["step"] + 3)
    config = json.loads((job.run / "config.json").read_text())
    config["config"]["max_steps"] = steps
    (job.run / "config.json").write_text(json.dumps(config))
    jobs.resume(job)
    until(lambda: job.state() != RUNNING)
    assert job.state() == DONE and job.progress()["step"] == steps and job.reason() == ""

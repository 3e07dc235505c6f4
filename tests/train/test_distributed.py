"""Two processes with half the batch each are one process with the whole: the same loss curve, the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.small_datasets import folder
from train import finetune

STEPS = 4
# `accelerate launch --cpu` starts one process only; on CPUs torch's own launcher starts several.
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def arguments(data: Path, output: Path, batch: int) -> list[str]:
    fixed = [
        "--from-scratch",
        "--loss",
        "ce",
        "--augment",
        "none",
        "--freeze-norm",
        "--ema",
        "0",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    sizes = ["--max-steps", str(STEPS), "--batch-size", str(batch), "--image-size", "32", "--workers", "0"]
    return ["--data", str(data), "--output", str(output), *sizes, *fixed]


@pytest.mark.soak
def test_two_cpu_processes_equal_one_with_the_doubled_batch(tmp_path: Path) -> None:
    folder(tmp_path / "data", count=10)
    script = str(Path(finetune.__file__))
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run([sys.executable, script, *arguments(tmp_path / "data", one, 4)], check=True, timeout=600)
    subprocess.run([*LAUNCH, script, *arguments(tmp_path / "data", two, 2)], check=True, timeout=900)
    curves = [[json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    first, second = (load_file(run / "best" / "model.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    for name in first:
        assert (first[name] - second[name]).abs().max() < 1e-3, name
    assert {path.name for path in two.iterdir()} == {"config.json", "metrics.jsonl", "log.txt", "last", "best"}


@pytest.mark.soak
def test_two_processes_train_mask_rcnn_with_everything_that_calls_the_network_twice(tmp_path: Path) -> None:
    folder(tmp_path / "data", count=10)
    twice = ["--model", "maskrcnn", "--adversarial", "0.01", "--accumulate", "2", "--max-steps", "2"]
    # It has a loss of its own.
    words = [word for word in arguments(tmp_path / "data", tmp_path / "run", 2) if word not in ("--freeze-norm", "--loss", "ce")]
    subprocess.run([*LAUNCH, str(Path(finetune.__file__)), *words, *twice], check=True, timeout=900)
    assert (tmp_path / "run" / "best" / "README.md").exists()
    assert finetune.main(["--resume", str(tmp_path / "run")]) == 0, "what is finished needs no second process"


@pytest.mark.soak
def test_two_processes_evaluate_what_was_trained_only(tmp_path: Path) -> None:
    """Both must know whether the card is there already, or one waits for another that has left."""
    folder(tmp_path / "data", count=10)
    run = tmp_path / "run"
    assert finetune.main(arguments(tmp_path / "data", run, 2)) == 0
    facts = run / "best" / "training.json"
    wanted = json.loads(facts.read_text())["metrics"]
    facts.unlink()
    again = [*LAUNCH, str(Path(finetune.__file__)), "--device", "cpu", "--resume", str(run)]
    subprocess.run(again, check=True, timeout=300)
    assert json.loads(facts.read_text())["metrics"] == wanted
    subprocess.run(again, check=True, timeout=300)

"""A training that is killed again and again: no corrupt state, and in the end the weights of the run nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import accelerate  # noqa: F401  what a child would import first: it should be killed at its work, not while it imports
import pytest
import segmentation_models_pytorch  # noqa: F401

from seg_demo import networks
from tests.small_datasets import folder
from train import finetune, setup, trainer  # noqa: F401
from train.run import load_state

KILLS = 100


def started(arguments: list[str], log: Path) -> int:
    """A child that runs the command; forked, so that it need not import torch again. Its process id."""
    child = os.fork()
    if child:
        return child
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    code = 1
    try:
        code = finetune.main(arguments)
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Exit code of a child that is waited for; negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.soak
def test_a_hundred_kills(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", count=8)
    log = tmp_path / "log"
    short = ["--from-scratch", "--max-steps", "12", "--batch-size", "2", "--image-size", "32", "--save-every", "1"]
    first = ["--data", str(data), *short, "--device", "cpu", "--threads", "1", "--workers", "0"]
    began = time.monotonic()
    assert ended(started([*first, "--output", str(tmp_path / "whole")], log)) == 0, log.read_text()
    duration = time.monotonic() - began
    expected = (tmp_path / "whole" / "best" / "model.safetensors").read_bytes()
    dice, kills, runs, phases = random.Random(0), 0, 0, set()
    while kills < KILLS:
        run, code = tmp_path / f"run-{runs}", -1
        runs += 1
        while code != 0:
            resumes = (run / "config.json").exists()
            child = started(["--resume", str(run)] if resumes else [*first, "--output", str(run)], log)
            time.sleep(dice.uniform(0, 1.2 * duration))
            os.kill(child, signal.SIGKILL)
            code = ended(child)
            assert code in (0, -signal.SIGKILL), log.read_text()[-3000:]
            kills += code != 0
            phases.add(phase_of(run))
            if (run / "best" / "model.safetensors").exists():
                networks.load(run / "best")
        assert (run / "best" / "model.safetensors").read_bytes() == expected
    assert {"unborn", "trained"} <= phases, phases


def phase_of(run: Path) -> str:
    """How far a killed run had come; loading its state checks that it is whole."""
    if not (run / "last" / "state.pt").exists():
        return "unborn"
    return "trained" if load_state(run / "last" / "state.pt")["history"]["step"] else "begun"

"""A training that is killed again and again: no corrupt state, and in the end the weights of the run nobody disturbed."""

from __future__ import annotations

import copy
import multiprocessing
import os
import random
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import accelerate  # noqa: F401  what a child would import first: it should be killed at its work, not while it imports
import pytest
import segmentation_models_pytorch  # noqa: F401

from seg_demo import networks
from seg_demo.networks import universal
from tests.small_datasets import coco, folder, panoptic, write_json
from tests.train.test_class_queries import TINY
from train import finetune, setup, trainer  # noqa: F401
from train.run import load_state

KILLS = 100


# Children are forked by a process that has imported what they need and done nothing else: one that has run other tests has threads and libraries whose
# locks and memory a child would inherit.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def command(arguments: list[str], log: Path, network: str | None) -> None:
    """In a child: the command, and what it says into a file.

    Args:
        arguments: of it.
        log: is added to.
        network: that is built tiny, as are its pictures.
    """
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    if network is not None:
        universal.SHORTEST_SIDE, universal.LONGEST_SIDE = 48, 96
        options = networks.network(network).default_options() | TINY[network]
        networks.network(network).default_options = staticmethod(lambda: copy.deepcopy(options))
    sys.exit(finetune.main(arguments))


def started(arguments: list[str], log: Path, network: str | None = None) -> BaseProcess:
    """A child that runs the command."""
    child = FORKS.Process(target=command, args=(arguments, log, network))
    child.start()
    return child


def ended(child: BaseProcess) -> int:
    """Exit code of a child that is waited for; negative for the signal that killed it."""
    child.join()
    return child.exitcode


@pytest.mark.soak
def test_a_hundred_kills(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", count=8)
    log = tmp_path / "log"
    short = ["--from-scratch", "--max-steps", "12", "--batch-size", "2", "--image-size", "32", "--save-every", "1"]
    first = ["--data", str(data), *short, "--device", "cpu", "--threads", "1", "--workers", "0"]
    for name in ("warm", "whole"):  # the first one waits for the process that forks them, which imports everything: kills would come too late, after most runs
        began = time.monotonic()
        assert ended(started([*first, "--output", str(tmp_path / name)], log)) == 0, log.read_text()
        duration = time.monotonic() - began
    expected = (tmp_path / "whole" / "best" / "model.safetensors").read_bytes()
    dice, kills, runs, phases = random.Random(0), 0, 0, set()
    while kills < KILLS:
        run, code = tmp_path / f"run-{runs}", -1
        runs += 1
        while code != 0:
            resumes = (run / "config.json").exists()
            child = started(["--resume", str(run)] if resumes else [*first, "--output", str(run)], log)
            child.join(dice.uniform(0, 1.2 * duration))
            child.kill()
            code = ended(child)
            assert code in (0, -signal.SIGKILL), log.read_text()[-3000:]
            kills += code != 0
            phases.add(phase_of(run))
            if (run / "best" / "model.safetensors").exists():
                networks.load(run / "best")
        assert (run / "best" / "model.safetensors").read_bytes() == expected
    assert {"unborn", "trained"} <= phases, phases


@pytest.mark.soak
@pytest.mark.parametrize("name", ["eomt", "rfdetr", "mask2former"])
def test_networks_of_class_queries_that_are_killed_between_steps_end_at_the_same_weights(name: str, tmp_path: Path) -> None:
    """At any moment after a step has been saved, four times; their losses draw points at random, which a resumed run draws again."""
    data = tmp_path / "data"
    if name == "rfdetr":
        write_json(coco(data, 8), data / "_annotations.coco.json")
    else:
        panoptic(data, 8)
    short = ["--from-scratch", "--max-steps", "8", "--batch-size", "2", "--image-size", "64", "--save-every", "1"]
    first = ["--model", name, "--data", str(data), *short, "--device", "cpu", "--threads", "1", "--workers", "0"]
    log, dice = tmp_path / "log", random.Random(0)
    assert ended(started([*first, "--output", str(tmp_path / "whole")], log, name)) == 0, log.read_text()
    run, kills, code = tmp_path / "run", 0, -1
    state = run / "last" / "state.pt"
    while code != 0:
        child = started(["--resume", str(run)] if state.exists() else [*first, "--output", str(run)], log, name)
        saved = state.stat().st_mtime_ns if state.exists() else 0
        while kills < 4 and (not state.exists() or state.stat().st_mtime_ns == saved):
            time.sleep(0.002)
        if kills < 4:
            time.sleep(dice.uniform(0, 0.1))
            child.kill()
            kills += 1
        code = ended(child)
        assert code in (0, -signal.SIGKILL), log.read_text()[-3000:]
    assert kills == 4
    weights = [(folder / "best" / "model.safetensors").read_bytes() for folder in (tmp_path / "whole", run)]
    assert weights[0] == weights[1]


def phase_of(run: Path) -> str:
    """How far a killed run had come; loading its state checks that it is whole."""
    if not (run / "last" / "state.pt").exists():
        return "unborn"
    return "trained" if load_state(run / "last" / "state.pt")["history"]["step"] else "begun"

"""A whole run killed at every step of everything that it writes, between the writes and inside them: each resumes to the bit."""

from __future__ import annotations

import shutil
from itertools import groupby
from pathlib import Path

import pytest

from seg_demo.core import storage
from tests.control_disk import ControlDisk, Killed
from tests.train.test_finetune import arguments, data  # noqa: F401
from train import finetune

STEPS = ("create", "write", "sync", "rename", "sync_folder", "make_folder", "remove")


def places(steps: list[str]) -> list[int]:
    """Every step, but of the many writes of one file only the first, the middle and the last."""
    chosen: list[int] = []
    for name, group in groupby(enumerate(steps), key=lambda pair: pair[1]):
        numbers = [number for number, _ in group]
        chosen += numbers if name != "write" else sorted({numbers[0], numbers[len(numbers) // 2], numbers[-1]})
    return chosen


def run_on(disk: ControlDisk, argv: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(storage.DISK, name, getattr(disk, name))
        return finetune.main(argv)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_a_run_killed_at_every_step_of_its_writes(data: Path, tmp_path: Path) -> None:  # noqa: F811
    whole, run = tmp_path / "whole", tmp_path / "run"
    command = arguments(data, run, "--max-steps", "2")
    every = ControlDisk(None)
    assert run_on(every, arguments(data, whole, "--max-steps", "2")) == 0
    expected = (whole / "best" / "model.safetensors").read_bytes()
    chosen = places(every.steps)
    assert {every.steps[number] for number in chosen} == set(STEPS) and len(chosen) > 50
    for number in chosen:
        shutil.rmtree(run, ignore_errors=True)
        with pytest.raises(Killed):
            run_on(ControlDisk(number, Killed), command)
        born = (run / "config.json").exists()
        code = finetune.main(["--resume", str(run)] if born else command)
        assert code == 0, f"step {number}, {every.steps[number]}"
        assert (run / "best" / "model.safetensors").read_bytes() == expected, f"step {number}, {every.steps[number]}"
        assert {path.name for path in run.iterdir()} == {path.name for path in whole.iterdir()}
        assert {path.name for path in (run / "best").iterdir()} == {path.name for path in (whole / "best").iterdir()}
    print(f"measured: {len(chosen)} of {len(every.steps)} steps")

"""Samples are read once, in order, within a budget; workers know their work from the start, and leave with a killed run."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from synthetic.cells import render
from tests.served import ROOT
from tests.small_datasets import folder
from train.data import open_dataset, preload, read_item

RUN = """
import functools

from train.data import open_dataset, preload, read_item
if __name__ == "__main__":
    dataset = open_dataset("cells", seed=0, size=256, workers=1, samples=3000)
    preload(functools.partial(read_item, dataset, dataset.items, "semantic"), dataset, 3000, 1 << 60, 2)
"""


def test_processes_read_what_the_renderer_draws_until_the_budget_is_used_up():
    dataset = open_dataset("cells", seed=3, size=64, workers=1, samples=200)
    read = functools.partial(read_item, dataset, dataset.items, "semantic")
    one = read(0)
    each = one.image.nbytes + one.label_map.nbytes + one.instance_map.nbytes
    samples = preload(read, dataset, 200, 70 * each + 1, 2, quiet=True)
    assert list(samples) == list(range(70))
    for index in (0, 1, 69):
        drawn = render(2 * 3, index, 64, training=True)  # training seeds are even
        assert np.array_equal(samples[index].image, drawn.image)
        assert np.array_equal(samples[index].label_map, drawn.label_map)


def test_files_are_read_a_few_at_a_time_once_the_budget_is_used_up(tmp_path):
    dataset = open_dataset(str(folder(tmp_path, 40)), seed=0, size=None, workers=1, progress=False)
    seen = []

    def read(index):
        seen.append(index)
        return read_item(dataset, dataset.items, "semantic", index)

    one = read(0)
    samples = preload(read, dataset, 40, 5 * (one.image.nbytes + one.label_map.nbytes), 2, quiet=True)
    assert list(samples) == list(range(5)) and max(seen) < 8


def children(parent: int) -> list[int]:
    """Worker processes of a process."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            above = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if above == parent and b"spawn_main" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue  # it ended meanwhile
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_workers_leave_when_the_run_is_killed():
    run = subprocess.Popen([sys.executable, "-c", RUN], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(children(run.pid)) == 2)
        workers = children(run.pid)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    wait_for(lambda: not any(alive(worker) for worker in workers))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)

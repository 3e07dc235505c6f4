"""--report-to: every evaluation reaches TensorBoard or trackio, and a resumed run goes on where it was."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from accelerate import PartialState

from train.config import Config
from train.trainer import log_line, start_tracker

LINE = {"step": 50, "loss": 0.5, "mean_iou": 0.7, "iou/cell": 0.6}


@pytest.fixture(autouse=True)
def state():
    PartialState(cpu=True)


def test_none_logs_nothing(tmp_path) -> None:
    assert start_tracker(Config(), tmp_path, 0) is None
    log_line(None, LINE)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_gets_every_number_at_its_step(tmp_path, monkeypatch) -> None:
    seen, made = [], []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            made.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, global_step: int) -> None:
            seen.append((name, value, global_step))

        def flush(self) -> None: ...

        def close(self) -> None:
            seen.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=SummaryWriter))
    monkeypatch.setattr("torch.utils.tensorboard", sys.modules["torch.utils.tensorboard"], raising=False)
    tracker = start_tracker(Config(report_to="tensorboard"), tmp_path, 25)
    log_line(tracker, LINE)
    tracker.finish()
    assert made == [(str(tmp_path / "tensorboard"), 26)]
    assert seen == [("loss", 0.5, 50), ("mean_iou", 0.7, 50), ("iou/cell", 0.6, 50), "closed"]


def test_trackio_continues_the_run_of_the_folder_and_leaves_stdout_alone(tmp_path, monkeypatch, capsys) -> None:
    seen = []
    run = SimpleNamespace(log=lambda values, step: seen.append((values, step)))

    def init(project: str, name: str, config: dict, resume: str):
        seen.append((project, name, config["seed"], resume))
        print("* Trackio project initialized")
        return run

    def finish() -> None:
        seen.append("closed")
        print("* Run finished")

    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=init, finish=finish))
    tracker = start_tracker(Config(report_to="trackio", seed=3), tmp_path / "unet-cells-1", 0)
    log_line(tracker, LINE)
    tracker.finish()
    values = {name: value for name, value in LINE.items() if name != "step"}
    assert seen == [("seg-demo", "unet-cells-1", 3, "allow"), (values, 50), "closed"]
    said = capsys.readouterr()
    assert said.out == "" and "initialized" in said.err and "finished" in said.err

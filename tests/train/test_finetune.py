"""The training command as a command: what it leaves behind, how it stops, resumes, fails and pushes. On a CPU, in seconds."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from seg_demo import load_model, networks
from tests.small_datasets import save
from train import finetune, losses
from train.run import load_state
from train.trainer import Trainer

TOKEN = "hf_ann_secret_4711"
CHECKPOINT = {
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "README.md",
    "training.json",
    "samples.png",
    "curves.png",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Twelve images of bright discs on dark ground, with masks: a task that a few steps begin to learn."""
    root = tmp_path_factory.mktemp("discs")
    for index in range(12):
        rng = np.random.default_rng(index)
        rows, columns = np.mgrid[:48, :64]
        mask = np.zeros((48, 64), np.uint8)
        for row, column in rng.integers(8, 40, (3, 2)):
            mask[(rows - row) ** 2 + (columns - column) ** 2 < 36] = 1
        image = rng.normal(60, 10, (48, 64, 3)) + 120 * mask[..., None]
        save(image.clip(0, 255).astype(np.uint8), root / "images" / f"{index:02d}.png")
        save(mask, root / "masks" / f"{index:02d}.png")
    (root / "classes.txt").write_text("background\ndisc\n")
    return root


def arguments(data: Path, output: Path, *more: str) -> list[str]:
    short = ["--from-scratch", "--max-steps", "6", "--batch-size", "2", "--image-size", "32", "--save-every", "1"]
    return ["--data", str(data), "--output", str(output), *short, "--device", "cpu", "--threads", "1", *more]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("network", ["unet", "segformer", "maskrcnn", pytest.param("fcn", marks=pytest.mark.soak), "unet-instance"])
def test_a_run_leaves_a_checkpoint_that_the_demo_loads(network: str, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert finetune.main(arguments(data, run, "--model", network, "--max-steps", "2")) == 0
    assert names(run) == {"config.json", "metrics.jsonl", "log.txt", "last", "best"}
    assert names(run / "last") == {"state.pt"}
    assert names(run / "best") == CHECKPOINT
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2] and all(np.isfinite(line["loss"]) for line in lines)
    checkpoint = networks.load(run / "best")
    assert checkpoint.name == network and checkpoint.labels.names == ("background", "disc")
    result = load_model(str(run / "best"), device="cpu").predict(np.asarray(Image.open(data / "images" / "00.png")))
    assert (result.height, result.width) == (48, 64)
    card = (run / "best" / "README.md").read_text()
    assert "disc" in card and str(tmp_path) not in card


def test_a_reader_that_has_left_is_no_fault_of_the_run() -> None:
    """``finetune --json | head -1``: the pipe is closed before everything is written."""
    read, write = os.pipe()
    os.close(read)
    code = "from train import finetune; finetune._print_json({'metrics': {}})"
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_terminal_has_no_letters_for_is_escaped(monkeypatch) -> None:
    """Windows writes in an old code page to whatever is no console, and a class name stopped the run."""
    terminal = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "stdout", terminal)
    finetune._print("Zelle ö, 细胞, half a sign \ud83e")
    assert terminal.buffer.getvalue() == "Zelle ö, \\u7ec6\\u80de, half a sign \\ud83e".encode("cp1252") + os.linesep.encode()


def test_a_stopped_run_resumes_to_the_bit(data: Path, tmp_path: Path, monkeypatch) -> None:
    """Every step interrupted once: the weights are those of the run that nobody disturbed."""
    whole, broken, few = tmp_path / "whole", tmp_path / "broken", ("--seed", "3", "--max-steps", "4")
    assert finetune.main(arguments(data, whole, *few)) == 0
    real, seen = Trainer._step, []

    def stop_after(self, parts, step):
        loss = real(self, parts, step)
        if step not in seen:
            seen.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    monkeypatch.setattr(Trainer, "_step", stop_after)
    code = finetune.main(arguments(data, broken, *few))
    stops = 0
    while code == 143:
        stops += 1
        code = finetune.main(["--resume", str(broken)])
    assert code == 0 and stops == 4 and seen == list(range(4))
    first, second = load_state(whole / "last" / "state.pt"), load_state(broken / "last" / "state.pt")
    for part in ("module", "average"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])
    assert (whole / "best" / "model.safetensors").read_bytes() == (broken / "best" / "model.safetensors").read_bytes()
    assert finetune.main(["--resume", str(broken)]) == 0


def test_a_nan_stops_the_run_and_names_the_samples(data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    real = losses.Objective.loss
    calls = []

    def loss(self, module, batch, valid, parts):
        calls.append(batch.names)
        return real(self, module, batch, valid, parts) * (float("nan") if len(calls) == 4 else 1.0)

    monkeypatch.setattr(losses.Objective, "loss", loss)
    assert finetune.main(arguments(data, tmp_path / "run")) == 3
    said = capsys.readouterr().err
    assert "not a number" in said and all(name in said for name in calls[3])
    state = load_state(tmp_path / "run" / "last" / "state.pt")
    assert state["history"]["step"] == 3
    assert all(torch.isfinite(tensor).all() for tensor in state["module"].values())


def test_epochs_0_republishes_what_it_is_given(data: Path, tmp_path: Path) -> None:
    assert finetune.main(arguments(data, tmp_path / "a", "--max-steps", "1")) == 0
    again = ["--data", str(data), "--model", str(tmp_path / "a" / "best"), "--epochs", "0", "--output", str(tmp_path / "b")]
    assert finetune.main([*again, "--device", "cpu"]) == 0
    first, second = (load_file(tmp_path / name / "best" / "model.safetensors") for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.soak
def test_runs_of_one_process_may_differ_in_precision(data: Path, tmp_path: Path) -> None:
    for precision in ("fp32", "bf16", "auto"):
        run = tmp_path / precision
        assert finetune.main(arguments(data, run, "--precision", precision, "--max-steps", "1", "--workers", "1")) == 0
        expected = "bf16" if precision == "bf16" else "no"
        assert json.loads((run / "config.json").read_text())["precision"] == expected


@pytest.mark.soak
def test_what_a_base_knows_is_measured_first_and_kept_if_training_spoils_it(data: Path, tmp_path: Path, capsys) -> None:
    assert finetune.main(arguments(data, tmp_path / "a", "--max-steps", "8", "--lr", "0.01")) == 0
    assert capsys.readouterr().err.count("On this machine less than a minute for 8 steps, evaluations not counted yet.") == 1
    base = tmp_path / "a" / "best"
    again = ["--data", str(data), "--model", str(base), "--output", str(tmp_path / "b"), "--max-steps", "3", "--lr", "9"]
    assert finetune.main([*again, "--batch-size", "2", "--image-size", "32", "--device", "cpu", "--threads", "1", "--ema", "0"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 3] and "loss" not in lines[0] and lines[1]["loss"] > 0
    assert lines[0]["mean_iou"] > lines[1]["mean_iou"]
    said = capsys.readouterr().err
    assert "before the first step" in said and "Nothing was gained" in said
    first, second = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "b" / "best"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_was_learnt_is_kept_where_the_held_out_images_allow_no_score(data: Path, tmp_path: Path) -> None:
    """Objects that none of them shows have no average precision; the weights of the first evaluation are no better for that."""
    for index in range(6):
        root, name = tmp_path / ("train" if index < 3 else "val"), f"{index:02d}.png"
        save(np.asarray(Image.open(data / "images" / name)), root / "images" / name)
        save(np.asarray(Image.open(data / "masks" / name)) * np.uint8(index < 3), root / "instances" / name)
    first, second = tmp_path / "first", tmp_path / "second"
    more = ["--mask-reading", "pieces", "--patience", "1", "--max-steps"]
    assert finetune.main(arguments(tmp_path, first, "--model", "unet-instance", *more, "1")) == 0
    begin = [word for word in arguments(tmp_path, second, "--model", str(first / "best"), *more, "2") if word != "--from-scratch"]
    assert finetune.main(begin) == 0
    history = load_state(second / "last" / "state.pt")["history"]
    assert [line["step"] for line in history["lines"]] == [0, 2] and history["best"] == -np.inf and history["stale"] == 0
    before, after = (load_file(run / "best" / "model.safetensors") for run in (first, second))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_dry_run_starts_nothing(data: Path, tmp_path: Path, capsys) -> None:
    assert finetune.main([*arguments(data, tmp_path / "run"), "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["data"]["classes"] == ["background", "disc"] and facts["schedule"]["steps"] == 6
    assert facts["data"]["train_images"] + facts["data"]["val_images"] == 12
    assert finetune.main([*arguments(data, tmp_path / "run"), "--dry-run"]) == 0
    assert "Nothing was started" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_what_only_a_loss_of_pixels_has_is_refused_for_a_checkpoint_with_one_of_its_own(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mask2former"}')
    monkeypatch.setattr("train.setup.read_data", lambda *_: pytest.fail("nothing has to be read for that"))
    for model in ("unet-instance-cells", str(tmp_path)):
        for given in (["--class-weights", "balanced"], ["--loss", "dice"]):
            assert finetune.main(["--data", "cells", "--model", model, *given]) == finetune.NOT_STARTED
            assert f"{given[0]} is {given[1]}, but training {model} uses a loss of its own" in capsys.readouterr().err


def test_everything_that_is_wrong_is_said_at_once(hub, data: Path, tmp_path: Path, capsys) -> None:
    """A bad mask and a missing login: one list, exit 2, no folder."""
    bad = tmp_path / "bad"
    for path in data.rglob("*.*"):
        (bad / path.relative_to(data)).parent.mkdir(parents=True, exist_ok=True)
        (bad / path.relative_to(data)).write_bytes(path.read_bytes())
    (bad / "images" / "03.png").write_bytes(b"not an image")
    (bad / "masks" / "05.png").unlink()
    run = tmp_path / "run"
    assert finetune.main([*arguments(bad, run), "--push"]) == 2
    said = capsys.readouterr().err
    assert "03.png" in said and "05.png" in said and "log" in said.lower()
    assert not run.exists()
    assert finetune.main([*arguments(bad, run), "--skip-bad", "--max-steps", "1"]) == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "unet-cellz"], "unet-cellz"),
        (["--model", "otsu"], "otsu"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--precision", "fp16"], "fp16"),
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--model", "nobody/nothing"], "nobody/nothing"),
        (["--batch-size", "100000000"], "fits"),
    ],
)
def test_what_cannot_be_started_is_said(hub, flags: list[str], said: str, data: Path, tmp_path: Path, capsys) -> None:
    assert finetune.main([*arguments(data, tmp_path / "run"), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_in_use_or_taken_is_refused(data: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    assert finetune.main(arguments(data, run, "--max-steps", "1")) == 0
    assert finetune.main(arguments(data, run, "--max-steps", "1")) == 2
    assert "--resume" in capsys.readouterr().err
    assert finetune.main(["--resume", str(run), "--lr", "0.5"]) == 2
    assert "keeps its settings" in capsys.readouterr().err
    assert finetune.main(["--resume", str(tmp_path / "nothing")]) == 2


def test_the_command_as_it_is_typed(data: Path, tmp_path: Path, capsys) -> None:
    """In a process of its own, from another folder, interrupted with Ctrl-C once it trains."""
    run, script = tmp_path / "run", Path(finetune.__file__)
    command = [sys.executable, str(script), *arguments(data, run, "--max-steps", "100000")]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 250
    while not (run / "last" / "state.pt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 130, said
    assert "--resume" in said
    assert load_state(run / "last" / "state.pt")["history"]["finished"] is False
    with pytest.raises(SystemExit) as ended:
        finetune.main(["--help"])
    assert ended.value.code == 0 and "--adversarial" in capsys.readouterr().out

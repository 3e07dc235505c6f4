"""A run that is resumed is the same run: its network, its data, its evaluations; and what is published as it is."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seg_demo import networks
from seg_demo.core.errors import BadCheckpointError, Message, StorageError
from seg_demo.serving.catalog import BUNDLED_FOLDER
from tests.small_datasets import folder
from tests.train.test_finetune import arguments, data  # noqa: F401
from train import base_model, finetune, setup
from train.base_model import rebuilt, remembered
from train.config import Config
from train.losses import count_pixels
from train.run import PreviousRun, Stopped, load_state
from train.trainer import Trainer


def read(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_an_evaluation_that_was_killed_is_made_up_for(data: Path, tmp_path: Path, monkeypatch) -> None:  # noqa: F811
    """Killed in the last evaluation, the only one: best/ does not exist then, and must after the resumption."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert finetune.main(arguments(data, whole, "--max-steps", "2")) == 0
    real = Trainer._metrics

    def killed(self, checkpoint):
        raise Stopped(15)

    monkeypatch.setattr(Trainer, "_metrics", killed)
    assert finetune.main(arguments(data, broken, "--max-steps", "2")) == 143
    assert not (broken / "best").exists()
    monkeypatch.setattr(Trainer, "_metrics", real)
    assert finetune.main(["--resume", str(broken)]) == 0
    (first,), (second,) = read(whole), read(broken)
    assert first | {"seconds": 0} == second | {"seconds": 0}
    assert (whole / "best" / "model.safetensors").read_bytes() == (broken / "best" / "model.safetensors").read_bytes()


def test_a_run_that_began_without_the_hub_keeps_its_network(data: Path, tmp_path: Path, monkeypatch) -> None:  # noqa: F811
    """The Hub could not be reached at first; that it can be now must not make another network of it."""
    run = tmp_path / "run"
    begin = [word for word in arguments(data, run, "--model", "segformer", "--max-steps", "2") if word != "--from-scratch"]
    monkeypatch.setattr(base_model.lookup, "reachable", lambda *_: False)
    real = Trainer._metrics

    def killed(self, checkpoint):
        raise Stopped(2)

    monkeypatch.setattr(Trainer, "_metrics", killed)
    assert finetune.main(begin) == 130
    monkeypatch.setattr(Trainer, "_metrics", real)
    monkeypatch.setattr(base_model, "start", lambda *_: pytest.fail("the start is remembered"))
    monkeypatch.setattr("train.setup.start", base_model.start)
    assert finetune.main(["--resume", str(run)]) == 0
    small = networks.network("segformer").default_options()
    assert networks.load(run / "best").options["hidden_sizes"] == small["hidden_sizes"]
    assert load_state(run / "last" / "state.pt")["history"]["finished"]


@pytest.mark.parametrize("network", ["unet", "fcn", "segformer", "maskrcnn", "mask2former", "eomt", "rfdetr"])
def test_a_remembered_start_is_the_same_network(network: str, tmp_path: Path) -> None:
    from seg_demo.core.types import LabelSet

    family = networks.network(network)
    made = family.create(LabelSet.from_names(["background", "cell"], 0), family.default_options()).trained_for(family.family.tasks[0])
    before = base_model.Start(made, ("head.",), True, None, ("a note",))
    after = rebuilt(json.loads(json.dumps(remembered(before))))
    after.checkpoint.module.load_state_dict(made.module.state_dict())
    assert (after.fresh, after.pretrained, after.base, after.notes) == (("head.",), True, None, ("a note",))
    for name, checkpoint in (("before", made), ("after", after.checkpoint)):
        checkpoint.save(tmp_path / name)
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "after" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(("batch", "epochs", "steps"), [(8, 10, 13), (5, 3, 6), (64, 10, 2)])
def test_epochs_are_whole_passes_and_a_run_keeps_the_steps_that_it_began_with(data: Path, batch: int, epochs: int, steps: int) -> None:  # noqa: F811
    model = str(BUNDLED_FOLDER / "unet-cells")
    config = Config(model=model, data=str(data), batch_size=batch, epochs=epochs, image_size=32, device="cpu")
    prepared = setup.prepare(config, 1, True)
    assert len(prepared.train) == 10 and prepared.total == steps
    words = {8: "1.2 steps see", 5: "2 steps see", 64: "1 steps see"}
    assert words[batch] in setup.describe(prepared)
    record = prepared.record()
    record["schedule"]["steps"] = 7
    assert setup.prepare(config, 1, True, PreviousRun(record, None)).total == 7
    assert setup.prepare(dataclasses.replace(config, epochs=None, max_steps=4), 1, True, PreviousRun(record, None)).total == 4


def test_changed_data_is_another_run(tmp_path: Path, capsys) -> None:
    root, run = folder(tmp_path / "data", count=8), tmp_path / "run"
    assert finetune.main(arguments(root, run, "--max-steps", "1")) == 0
    for kind in ("images", "masks"):
        min((root / kind).iterdir()).unlink()
    assert finetune.main(["--resume", str(run)]) == 0, "nothing is left to do that would read the data"
    (run / "best" / "training.json").unlink()
    assert finetune.main(["--resume", str(run)]) == 2, "its evaluation is"
    assert "is not what the run" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(StorageError(Message.of("The disk is full.")), 1), (BadCheckpointError(Message.of("It is NaN.")), 3)])
def test_a_failure_during_the_training_is_not_called_nothing_started(
    error: Exception, code: int, data: Path, tmp_path: Path, monkeypatch, capsys  # noqa: F811
) -> None:
    def fails(self, checkpoint):
        raise error

    monkeypatch.setattr(Trainer, "_metrics", fails)
    assert finetune.main(arguments(data, tmp_path / "run", "--max-steps", "1")) == code
    said = capsys.readouterr().err
    assert str(error) in said and "Nothing was started" not in said


def test_a_network_of_other_classes_is_published_as_it_is(data: Path, tmp_path: Path, capsys) -> None:  # noqa: F811
    assert finetune.main(arguments(data, tmp_path / "a", "--max-steps", "1")) == 0
    other = shutil.copytree(data, tmp_path / "others")
    (other / "classes.txt").write_text("background\nship\n")
    publish = ["--model", str(tmp_path / "a" / "best"), "--epochs", "0", "--device", "cpu"]
    assert finetune.main(["--data", str(other), *publish, "--output", str(tmp_path / "b")]) == 0
    first, second = (load_file(tmp_path / name / "best" / "model.safetensors") for name in "ab")
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert networks.load(tmp_path / "b" / "best").labels.names == ("background", "disc")
    card = (tmp_path / "b" / "best" / "README.md").read_text()
    assert "the data has none of its classes" in card and "mean IoU" not in card
    assert finetune.main(["--data", str(data), "--model", "unet", "--epochs", "0", "--output", str(tmp_path / "c")]) == 2
    assert "random weights" in capsys.readouterr().err


def test_pixels_are_counted_where_nothing_was_surveyed() -> None:
    from synthetic.cells import render

    assert sum(count_pixels([render(2, 0, 64)], 3)) == 64 * 64

"""The configuration: flags, YAML, and every problem in one message."""

from __future__ import annotations

import dataclasses
import shlex

import pytest

from seg_demo.networks import FAMILIES
from train.config import Config, ConfigError, check, load_config, parse
from train.run import command_of


def test_no_flags_is_the_default() -> None:
    config, given = parse([])
    assert config == Config() and given == frozenset()


def test_every_field_has_documentation_and_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for each in dataclasses.fields(Config):
        assert "--" + each.name.replace("_", "-") in text
        assert each.metadata["help"].split()[0] in text


def test_the_networks_of_the_help_are_those_that_can_be_trained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    named = " ".join(capsys.readouterr().out.split()).partition(", a menu key, a Hub id")[0].rpartition(" unet,")[2].replace(" ", "").split(",")
    assert ["unet", *named] == [name for name, row in FAMILIES.items() if row.network.training is not None]


def test_flags_win_over_the_file(tmp_path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("epochs: 3\nbatch-size: 4\nlr: 1e-3\n")
    config, given = parse(["--config", str(file), "--epochs", "7"])
    assert (config.epochs, config.batch_size, config.lr) == (7, 4, 1e-3)
    assert given == {"epochs", "batch_size", "lr"}


def test_push_with_and_without_a_repository() -> None:
    assert parse([])[0].push is None
    assert parse(["--push"])[0].push == ""
    assert parse(["--push", "ann/cells"])[0].push == "ann/cells"


@pytest.mark.parametrize("model", [*FAMILIES, "unet-cells"])
@pytest.mark.parametrize("data", ["cells", "objects", "nuclei", "my data"])
def test_the_command_of_a_run_repeats_it(model: str, data: str) -> None:
    """Also where a family learns from other built-in pictures than the rest unless told otherwise."""
    config, _ = parse(["--model", model, "--data", data])
    assert parse(shlex.split(command_of(config))[2:])[0] == config


def test_all_problems_are_reported_together(tmp_path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("epoch: 3\nschedule: linear\nhalf: perhaps\n")
    with pytest.raises(ConfigError) as caught:
        parse(["--config", str(file), "--batch-size", "0", "--lr", "fast", "--val-fraction", "1.5", "--push", "not a repo"])
    text = str(caught.value)
    for part in (
        "'epoch'",
        "epochs",
        "linear",
        "cosine",
        "perhaps",
        "--batch-size",
        "'fast'",
        "--val-fraction",
        "USER/REPO",
    ):
        assert part in text, part


def test_a_flag_that_does_not_exist_is_named_with_the_one_that_was_meant_and_the_other_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(["--batchsize", "4", "--seed", "-1"])
    assert str(caught.value).splitlines() == [
        "--batchsize is not a flag. Did you mean --batch-size?",
        "--seed is -1, but must be from 0 to 4294967295.",
    ]
    with pytest.raises(ConfigError, match="'photos' belongs to no flag"):
        parse(["photos"])
    with pytest.raises(ConfigError, match="--max-steps: expected one argument"):
        parse(["--max-steps"])


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "\x00"])
def test_a_file_that_is_not_settings(tmp_path, content: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match="a.yaml"):
        parse(["--config", str(file)])


def test_a_missing_file() -> None:
    with pytest.raises(ConfigError, match="nowhere.yaml"):
        parse(["--config", "nowhere.yaml"])


def test_what_is_too_large_for_its_use_is_said_before_anything_is_read(tmp_path) -> None:
    assert parse(["--seed", str(2**32 - 1), "--advise", "--minutes", "600"])[0].seed == 2**32 - 1
    for flag, value in (("--seed", str(2**32)), ("--minutes", "inf"), ("--minutes", "0.1")):
        with pytest.raises(ConfigError, match=f"^{flag} is {value}, but must be from"):
            parse(["--advise", flag, value])
    file = tmp_path / "a.yaml"
    for line in ("epochs: .inf", f"lr: {10**400}"):
        file.write_text(line)
        with pytest.raises(ConfigError, match=f"{line.split(':')[0]} is (inf|1000*), but must be a"):
            parse(["--config", str(file)])


def test_nan_is_no_number() -> None:
    assert check(dataclasses.replace(Config(), val_fraction=float("nan"), lr=float("nan"), weight_decay=float("nan")))


def test_a_folder_that_is_no_run(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="run"):
        load_config(tmp_path / "config.json")


def test_a_tracker_that_is_not_installed_is_said_before_anything_starts(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install trackio"):
        parse(["--report-to", "trackio"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert parse(["--report-to", "trackio"])[0].report_to == "trackio"


def test_random_weights_are_not_published_as_they_are() -> None:
    assert any("--from-scratch" in problem for problem in check(Config(epochs=0, from_scratch=True)))


def test_weights_of_classes_need_a_loss_that_has_them() -> None:
    for loss in ("dice", "lovasz"):
        with pytest.raises(ConfigError, match=f"--class-weights is balanced, but --loss {loss} has no weights"):
            parse(["--loss", loss, "--class-weights", "balanced"])
        assert parse(["--loss", loss, "--class-weights", "none"])[0].loss == loss
        assert not check(Config(loss=loss, class_weights="balanced", resume="runs/a")), "a run that was started so goes on so"
    for loss in ("ce", "focal", "ce+dice", "ce+lovasz", "focal+dice"):
        assert not check(Config(loss=loss, class_weights="balanced")), loss


@pytest.mark.parametrize("model", ["maskrcnn", "mask2former", "maskformer", "eomt", "rfdetr", "unet-instance"])
def test_what_only_a_loss_of_pixels_has_is_refused_for_networks_with_one_of_their_own(model: str) -> None:
    for given in (["--loss", "ce"], ["--class-weights", "balanced"]):
        with pytest.raises(ConfigError, match=f"{given[0]} is {given[1]}, but training {model} uses a loss of its own"):
            parse(["--model", model, *given])
        assert not check(Config(model=model, resume="runs/a", **{given[0][2:].replace("-", "_"): given[1]}))
    assert not check(Config(model="segformer", loss="dice"))

"""The configuration of a training run: one dataclass, from which the command line and the YAML file both follow.

Nothing heavy is imported here, so that a wrong flag is answered at once.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from seg_demo.core import Message, SegDemoError, lines, sentences
from seg_demo.networks import FAMILIES


class ConfigError(SegDemoError):
    """The configuration cannot be used; the message lists every problem, one a line."""


def option(default: Any, help: str, kind: Any, *, choices: Sequence[str] = (), metavar: str | None = None) -> Any:
    """A documented field of :class:`Config`: its default, its line of help, its type, and what it may be."""
    return field(default=default, metadata={"help": help, "kind": kind, "choices": tuple(choices), "metavar": metavar})


@dataclass(frozen=True)
class Config:
    """Everything that decides what a run does. Every field is a flag (``batch_size`` is ``--batch-size``) and a YAML key."""

    model: str = option("unet", f"{', '.join(row.name for row in FAMILIES.values() if row.trained)}, a menu key, a Hub id, or a checkpoint folder", str)
    data: str = option("cells", "cells, objects, nuclei, FOLDER, COCO.json (of objects or panoptic), PAIRS.csv, or hub:USER/NAME", str)
    output: str | None = option(None, "folder of the run (default: a new one under runs/)", str, metavar="DIR")
    resume: str | None = option(None, "continue the run in this folder", str, metavar="DIR")
    epochs: int | None = option(
        None, "passes over the training images (default: enough for a small run); 0 keeps the weights as they are", int
    )
    max_steps: int | None = option(None, "stop after this many optimizer steps", int)
    batch_size: int | None = option(None, "images per step and process (default: 8; more where every layer is fresh)", int)
    accumulate: int = option(1, "micro-batches whose gradients are summed into one step", int)
    image_size: int | None = option(None, "side of the training crops in pixels (default: by network)", int)
    lr: float | None = option(None, "peak learning rate of fresh layers (default: by network)", float)
    backbone_lr: float = option(0.25, "learning rate of pretrained layers, as a share of --lr", float)
    weight_decay: float = option(0.01, "AdamW's weight decay; never on norms and biases", float)
    warmup: float = option(0.05, "share of the steps in which the learning rate rises", float)
    schedule: str = option("cosine", "decay of the learning rate", str, choices=("cosine", "poly", "constant"))
    clip: float = option(5.0, "gradient norm above which gradients are scaled down; 0 leaves them", float)
    ema: float = option(0.99, "decay of the exponential moving average of the weights; 0 turns it off", float)
    patience: int = option(0, "evaluations without improvement before the run stops early; 0 never stops early", int)
    loss: str = option(
        "ce+dice",
        "loss of semantic networks",
        str,
        choices=("ce", "dice", "focal", "lovasz", "ce+dice", "ce+lovasz", "focal+dice"),
    )
    class_weights: str = option("none", "weights of the classes in the cross-entropy and the focal loss", str, choices=("none", "balanced"))
    freeze_norm: bool = option(False, "keep normalisation statistics as they are", bool)
    from_scratch: bool = option(False, "random weights, even where pretrained ones can be had", bool)
    seed: int = option(0, "seed of the split, the order, the augmentation and fresh weights", int)
    val_fraction: float = option(0.15, "share of the images that are held out", float)
    mask_reading: str | None = option(
        None, "which of two readings is meant, where masks can be read in two ways (the data's masks.json may say it too)", str,
        choices=("classes", "objects", "pieces", "opaque", "transparent", "void-0", "void-255", "255=ignore", "255=CLASS"),
    )  # fmt: skip
    channels: int | None = option(
        None, "channels of the images that are learnt from, such as 4; 3 takes the values of files as they are, too (default: those that"
        " all images have, if more than three)", int,
    )  # fmt: skip
    augment: str | None = option(
        None, "how much images are varied (default: strong; light for the built-in data, which varies by itself)", str,
        choices=("none", "light", "strong"),
    )  # fmt: skip
    adversarial: float = option(0.0, "FGSM training: largest change of a pixel, of a range of 0 to 1", float, metavar="EPS")
    replay: float = option(0.0, "share of built-in images among the crops, so that a bundled base does not forget", float)
    samples: int = option(1200, "training images of the built-in data", int)
    eval_every: int = option(1, "epochs between evaluations, which are at least 50 steps apart", int)
    save_every: int = option(50, "steps between saves of the resume state", int)
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps", str)
    precision: str = option("auto", "arithmetic of the forward pass", str, choices=("auto", "fp32", "bf16", "fp16"))
    workers: int | None = option(None, "processes that load data (default: by device)", int)
    threads: int | None = option(None, "threads for arithmetic on a CPU (default: all cores)", int)
    half: bool = option(False, "store the checkpoint in 16 bits (half the size)", bool)
    report_to: str = option("none", "also log every evaluation to", str, choices=("none", "tensorboard", "trackio"))
    baseline: bool = option(False, "measure the base on the held-out images too, to say what was gained", bool)
    progress_file: str | None = option(None, "say in this JSON file how far the run is, and draw samples", str, metavar="FILE")
    skip_bad: bool = option(False, "leave out samples with faults instead of stopping", bool)
    robustness: float = option(
        0.0, "minutes in which the score is also measured on blurred, noisy, darker, compressed, resized, turned and attacked images, for the card", float,
        metavar="MINUTES",
    )  # fmt: skip
    onnx: bool = option(False, "also write onnx/model.onnx into the checkpoint, compared with torch label by label (pip install -r requirements-onnx.txt)", bool)
    push: str | None = option(None, "push to the Hub; without a value to <you>/<network>-<data>", str, metavar="USER/REPO")
    private: bool = option(False, "push to a private repository", bool)
    advise: bool = option(False, "compare networks, bases and crops on your data, and say which to train", bool)
    minutes: float | None = option(None, "how long --advise may take (default: 20)", float)
    dry_run: bool = option(False, "say what would happen, and stop", bool)
    json: bool = option(False, "print the result as JSON, for programs", bool)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-able data."""
        return asdict(self)


def data_for(model: str) -> str:
    """The built-in data that ``--model`` learns from unless ``--data`` says otherwise."""
    return FAMILIES[model].pictures if model in FAMILIES else Config.data


def has_own_loss(architecture: str) -> bool:
    """Whether a family learns by a loss of its own, to which :data:`OF_CLASSES` mean nothing; False for what is none."""
    return architecture in FAMILIES and not FAMILIES[architecture].network.loss_per_pixel


def meaningless(config: Config, architecture: str, model: str = "") -> list[Message]:
    """A sentence for each setting of the loss that a network would not look at.

    Args:
        config: of the run; what was started goes on as it was.
        architecture: name of the network's family.
        model: what the sentence calls it; empty for what was asked for.
    """
    given = [name for name in OF_CLASSES if getattr(config, name) != _FIELDS[name].default]
    if config.resume or not given or not has_own_loss(architecture):
        return []
    return [Message("flags.loss_of_its_own", flag=_flag(name), value=getattr(config, name), model=model or config.model) for name in given]


# What says how classes per pixel are learnt.
OF_CLASSES = ("loss", "class_weights")
# The parts of a loss in which classes can weigh differently.
WEIGHTED = frozenset(("ce", "focal"))


def check(config: Config) -> list[str]:
    """Every problem of a configuration that can be seen without reading data, one sentence each."""
    problems = []
    for name, least in _LEAST.items():
        value = getattr(config, name)
        if value is not None and not value >= least:
            problems.append(Message("flags.too_small", flag=_flag(name), value=value, least=least))
    for name, (least, most) in _RANGES.items():
        value = getattr(config, name)
        if value is not None and not least <= value <= most:
            problems.append(Message("flags.out_of_range", flag=_flag(name), value=value, least=least, most=most))
    if config.lr is not None and not 0 < config.lr <= 10:
        problems.append(Message("flags.bad_lr", value=config.lr))
    if config.epochs == 0 and config.from_scratch:
        problems.append(Message("flags.nothing_from_scratch"))
    problems += meaningless(config, config.model)
    # A run that was started so goes on so.
    if config.class_weights != "none" and not config.resume and not WEIGHTED & set(config.loss.split("+")):
        problems.append(Message("flags.loss_without_weights", value=config.class_weights, loss=config.loss))
    if config.report_to != "none" and importlib.util.find_spec(config.report_to) is None:
        problems.append(Message("flags.tracker_not_installed", package=config.report_to))
    if config.resume and config.output:
        problems.append(Message("flags.resume_without_output"))
    if config.minutes is not None and not config.advise and not config.resume:
        problems.append(Message("flags.minutes_without_advise"))
    if config.advise:
        problems += [Message("flags.not_with_advise", flag=_flag(name)) for name in NOT_WITH_ADVISE if getattr(config, name) != _FIELDS[name].default]
    if config.push and not _looks_like_repo(config.push):
        problems.append(Message("push.write_user_repo", value=config.push))
    return problems


def _looks_like_repo(text: str) -> bool:
    user, slash, name = text.partition("/")
    return bool(slash and user and name and "/" not in name and not any(c.isspace() for c in text))


# What a comparison decides by itself, or does not do.
NOT_WITH_ADVISE = ("epochs", "max_steps", "push", "baseline", "replay", "report_to", "robustness", "onnx")
_LEAST = {
    "epochs": 0,
    "max_steps": 1,
    "batch_size": 1,
    "accumulate": 1,
    "image_size": 32,
    "patience": 0,
    "clip": 0,
    "weight_decay": 0,
    "samples": 8,
    "eval_every": 1,
    "save_every": 1,
    "workers": 0,
    "threads": 1,
    "channels": 1,
}
_RANGES = {
    "val_fraction": (0.01, 0.9),
    "warmup": (0, 0.9),
    "ema": (0, 0.99999),
    "adversarial": (0, 0.5),
    "replay": (0, 0.9),
    "backbone_lr": (0, 10),
    "robustness": (0, 24 * 60),
    "minutes": (0.2, 7 * 24 * 60),
    # Larger ones numpy does not take.
    "seed": (0, 2**32 - 1),
}


def load_config(path: Path) -> Config:
    """The configuration that a run folder keeps in ``config.json``.

    Raises:
        ConfigError: the file is missing or is not one of ours.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {option.name for option in fields(Config)}
        return Config(**{name: value for name, value in content["config"].items() if name in known})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError("runs.no_configuration", path=path, why=type(error).__name__) from error


_FIELDS: dict[str, Field] = {option.name: option for option in fields(Config)}
_BAD = object()


def parse(argv: Sequence[str]) -> tuple[Config, frozenset[str]]:
    """The configuration of a command line: defaults, then the YAML file, then the flags.

    Args:
        argv: arguments without the program's name.

    Returns:
        The configuration, and the names of the fields that were given rather than left at their defaults.

    Raises:
        ConfigError: with every problem of the file and of the flags together.
        SystemExit: for ``--help``.
    """
    known, strange = _parser().parse_known_args(argv)
    given = vars(known)
    problems = [_strange(word) for word in strange if word.startswith("-")]
    if strange and not problems:
        problems = [Message("flags.belongs_to_none", word=strange[0])]
    values: dict[str, Any] = {}
    path = given.pop("config", None)
    if path is not None:
        values.update(_read_yaml(Path(path), problems))
    for name, text in given.items():
        values[name] = _converted(_FIELDS[name], text, _flag(name), problems)
    config = Config(**{name: value for name, value in values.items() if value is not _BAD})
    if "data" not in values:
        config = replace(config, data=data_for(config.model))
    problems += check(config)
    if problems:
        raise ConfigError(lines(*problems))
    return config, frozenset(values)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong without repeating every flag there is."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError("flags.not_understood", what=f"{message[0].upper()}{message[1:]}")


def _strange(word: str) -> Message:
    """The sentence for a flag that does not exist."""
    name = word.lstrip("-").partition("=")[0].replace("-", "_")
    near = difflib.get_close_matches(name, [*_FIELDS, "config"], 1)
    # What follows "=" may be a token that was meant for another program.
    word = word.partition("=")[0]
    return Message("flags.misspelt", word=word, near=_flag(near[0])) if near else Message("flags.unknown", word=word)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python train/finetune.py",
        description="Fine-tune a segmentation network on your images, say how good it is, and push it to the Hub.",
        epilog="Exit codes: 0 done; 2 nothing was started; 3 diverged; 4 trained, but the push failed; 130 and 143 stopped "
        "after saving; 1 our own bug.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE.yaml", help="read these settings from a file; flags win over it")
    for option in fields(Config):
        flag = "--" + option.name.replace("_", "-")
        about = option.metadata["help"]
        if option.metadata["choices"]:
            about += ": " + ", ".join(option.metadata["choices"])
        if option.default not in (None, False, MISSING):
            about += f" (default: {option.default})"
        about = about.replace("%", "%%")
        if option.metadata["kind"] is bool:
            parser.add_argument(flag, action="store_true", help=about)
        elif option.name == "push":
            parser.add_argument(flag, nargs="?", const="", metavar="USER/REPO", help=about)
        else:
            parser.add_argument(flag, metavar=option.metadata["metavar"] or option.name.upper(), help=about)
    return parser


def _converted(option: Field, value: Any, where: str, problems: list[str]) -> Any:
    """One value in the field's type; what cannot be read is noted in ``problems``."""
    kind, choices = option.metadata["kind"], option.metadata["choices"]
    if value is None and option.default is None:
        return None
    try:
        if kind is bool:
            if not isinstance(value, bool):
                raise ValueError
            return value
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and value != int(value)):
            raise ValueError
        result = kind(value)
    except (TypeError, ValueError, OverflowError):
        problems.append(Message(f"flags.wanted_{kind.__name__}", where=where, value=repr(value)))
        return _BAD
    named = tuple(choice.removesuffix("CLASS") for choice in choices if choice.endswith("=CLASS"))
    if choices and result not in choices and not (named and str(result).startswith(named)):
        near = difflib.get_close_matches(str(result), choices, 1)
        problem = Message("flags.no_choice", where=where, value=repr(result), choices=", ".join(choices))
        problems.append(sentences(problem, Message("flags.did_you_mean", near=near[0]) if near else ""))
        return _BAD
    return result


def _read_yaml(path: Path, problems: list[str]) -> dict[str, Any]:
    """The values of a YAML file; unknown keys and unreadable files are noted in ``problems``."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(Message("flags.config_unreadable", path=path, why=error.strerror))
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(Message("flags.config_no_yaml", path=path, why=str(error).splitlines()[0]))
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        problems.append(Message("flags.config_no_lines", path=path, kind=type(content).__name__))
        return {}
    values = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, 1)
            hint = Message("flags.did_you_mean", near=near[0]) if near else Message("flags.see_help")
            problems.append(sentences(Message("flags.no_setting", path=path, name=str(key)), hint))
            continue
        values[name] = _converted(_FIELDS[name], value, f"--config {path}: {name}", problems)
    return values

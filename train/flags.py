"""The command line and the YAML file of a training run, both made from the fields of :class:`train.config.Config`."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, NoReturn

from train.config import Config, ConfigError, check

_FIELDS: dict[str, Field] = {each.name: each for each in fields(Config)}
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
        problems = [f"{strange[0]!r} belongs to no flag. --help lists them all."]
    values: dict[str, Any] = {}
    path = given.pop("config", None)
    if path is not None:
        values.update(_read_yaml(Path(path), problems))
    for name, text in given.items():
        values[name] = _converted(_FIELDS[name], text, "--" + name.replace("_", "-"), problems)
    config = Config(**{name: value for name, value in values.items() if value is not _BAD})
    problems += check(config)
    if problems:
        raise ConfigError("\n".join(problems))
    return config, frozenset(values)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong without repeating every flag there is."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message[0].upper()}{message[1:]}. --help lists every flag.")


def _strange(word: str) -> str:
    """The sentence for a flag that does not exist."""
    name = word.lstrip("-").partition("=")[0].replace("-", "_")
    near = difflib.get_close_matches(name, [*_FIELDS, "config"], 1)
    hint = f"Did you mean --{near[0].replace('_', '-')}?" if near else "--help lists them all."
    # What follows "=" may be a token that was meant for another program.
    return f"{word.partition('=')[0]} is not a flag. {hint}"


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
    for each in fields(Config):
        flag = "--" + each.name.replace("_", "-")
        about = each.metadata["help"]
        if each.metadata["choices"]:
            about += ": " + ", ".join(each.metadata["choices"])
        if each.default not in (None, False, MISSING):
            about += f" (default: {each.default})"
        about = about.replace("%", "%%")
        if each.metadata["kind"] is bool:
            parser.add_argument(flag, action="store_true", help=about)
        elif each.name == "push":
            parser.add_argument(flag, nargs="?", const="", metavar="USER/REPO", help=about)
        else:
            parser.add_argument(flag, metavar=each.metadata["metavar"] or each.name.upper(), help=about)
    return parser


def _converted(each: Field, value: Any, where: str, problems: list[str]) -> Any:
    """One value in the field's type; what cannot be read is noted in ``problems``."""
    kind, choices = each.metadata["kind"], each.metadata["choices"]
    if value is None and each.default is None:
        return None
    try:
        if kind is bool:
            if not isinstance(value, bool):
                raise ValueError
            return value
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and value != int(value)):
            raise ValueError
        result = kind(value)
    except (TypeError, ValueError):
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        problems.append(f"{where} is {value!r}, but must be {wanted}.")
        return _BAD
    if choices and result not in choices:
        near = difflib.get_close_matches(str(result), choices, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        problems.append(f"{where} is {result!r}, but must be one of {', '.join(choices)}.{hint}")
        return _BAD
    return result


def _read_yaml(path: Path, problems: list[str]) -> dict[str, Any]:
    """The values of a YAML file; unknown keys and unreadable files are noted in ``problems``."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"--config {path}: cannot be read ({error.strerror}).")
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(f"--config {path}: is not YAML ({str(error).splitlines()[0]}).")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        problems.append(f"--config {path}: must hold `name: value` lines, but holds a {type(content).__name__}.")
        return {}
    values = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, 1)
            hint = f" Did you mean {near[0]}?" if near else " See --help for the names."
            problems.append(f"--config {path}: {key!r} is not a setting.{hint}")
            continue
        values[name] = _converted(_FIELDS[name], value, f"--config {path}: {name}", problems)
    return values

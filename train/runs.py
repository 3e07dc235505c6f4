"""The run folder: ``config.json``, ``metrics.jsonl``, ``log.txt``, ``last/`` (resume state), ``best/`` (a checkpoint folder)."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_demo import __version__
from train.config import Config, ConfigError, check, load_config
from train.loop.storage import storage_errors, write_atomically

if TYPE_CHECKING:
    from train.loop.history import History

LAST = Path("last") / "state.pt"
BEST = Path("best")
# Of a run that is watched: the worst samples of its latest evaluation.
SAMPLES = "samples.png"
# What a run leaves that was killed before it had written what it is; a new run may begin there.
UNBORN = {".lock", "log.txt", ".config.json.new"}
# What may differ between a run and its resumption without changing the result.
OPERATIONAL = {"resume", "push", "private", "device", "workers", "threads", "json", "dry_run", "save_every", "report_to", "progress_file"}


def new_folder(config: Config, data_name: str) -> Path:
    """Make the folder of a new run: ``--output``, or the first free ``runs/<network>-<data>-<number>``.

    Raises:
        StorageError: it cannot be made.
    """
    if config.output:
        folder = Path(config.output)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{Path(config.model).name}-{data_name}").strip("-.") or "run"
    number = 1
    while True:
        folder = Path("runs") / f"{name}-{number}"
        with storage_errors(folder):
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:  # perhaps made this moment by a run that was started beside this one
                number += 1


def check_new(folder: Path) -> None:
    """Refuse a folder for a new run that holds another run, or anything else.

    Raises:
        ConfigError: with what to do instead.
    """
    if (folder / "config.json").exists():
        raise ConfigError(
            f"--output {folder} already holds a run. Continue it with --resume {folder}, or choose another folder."
        )
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - UNBORN):
        raise ConfigError(f"--output {folder} is not an empty folder. Choose a new one.")


def resumed(config: Config, given: frozenset[str]) -> Config:
    """The configuration of a run that continues: what its folder says, with what this command line may change.

    Args:
        config: of this command line, with ``resume`` set.
        given: names of the fields that the command line or its file set.

    Raises:
        ConfigError: the folder holds no run, or a flag would change the run's result.
    """
    folder = Path(config.resume)
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"--resume {folder} holds no run (no config.json there). Give the run's folder, such as runs/unet-cells-1."
        )
    before = load_config(folder / "config.json")
    changed = [
        f"--{name.replace('_', '-')} is {getattr(config, name)!r}, but the run in {folder} has {getattr(before, name)!r}; "
        "a resumed run keeps its settings."
        for name in sorted(given - OPERATIONAL)
        if getattr(config, name) != getattr(before, name)
    ]
    if changed:
        raise ConfigError("\n".join(changed))
    values = before.to_dict() | {name: getattr(config, name) for name in given & OPERATIONAL}
    now = Config(**{**values, "resume": config.resume, "dry_run": config.dry_run, "json": config.json, "output": None})
    if problems := check(now):
        raise ConfigError("\n".join(problems))
    return now


@dataclass(frozen=True)
class Progress:
    """How far a run has come that is resumed.

    Attributes:
        facts: ``config.json``: what the run was made from.
        state: its last state, or None if it was killed before the first.
    """

    facts: dict[str, Any]
    state: dict[str, Any] | None

    @property
    def finished(self) -> bool:
        """Whether it has been trained to its end."""
        return self.state is not None and self.state["history"]["finished"]


def progress_of(folder: Path) -> Progress:
    """Read how far the run in a folder has come.

    Raises:
        BadStateError: its state is damaged.
        ConfigError: its ``config.json`` cannot be read.
    """
    from train.loop.state import load_state

    try:
        facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder / 'config.json'} cannot be read ({type(error).__name__}).") from error
    return Progress(facts, load_state(folder / LAST) if (folder / LAST).exists() else None)


def write_config(folder: Path, config: Config, facts: dict[str, Any]) -> None:
    """``config.json``: the configuration, the command, and what the run was made from.

    Args:
        folder: of the run.
        config: of the run.
        facts: JSON-able: data, classes, split, network.
    """
    content = {"seg_demo": __version__, "command": command_of(config), "config": config.to_dict(), **facts}
    write_atomically(folder / "config.json", (json.dumps(content, indent=2) + "\n").encode())


def command_of(config: Config) -> str:
    """The command line that repeats a run: every setting that is not the default, but for where it runs and pushes to."""
    import shlex

    default = Config()
    words = ["python", "train/finetune.py"]
    for name, value in config.to_dict().items():
        if name in OPERATIONAL - {"threads"} or name == "output" or value == getattr(default, name):
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(shlex.quote(str(value)))
    return " ".join(words)


def write_metrics(folder: Path, history: History) -> None:
    """``metrics.jsonl``: one line per evaluation, the whole file replaced, so that a resumed run never doubles a line."""
    text = "".join(json.dumps(line) + "\n" for line in history.lines)
    write_atomically(folder / "metrics.jsonl", text.encode())


def log_to(folder: Path | None, quiet: bool) -> logging.Logger:
    """The run's log: sentences on stderr (unless ``quiet``) and, with times, in ``log.txt``.

    Args:
        folder: of the run; None logs to the terminal only.
        quiet: nothing on the terminal but warnings.
    """
    log = logging.getLogger("train")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.WARNING if quiet else logging.INFO)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(terminal)
    if folder is not None:
        file = logging.FileHandler(folder / "log.txt", encoding="utf-8")
        formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        file.setFormatter(formatter)
        log.addHandler(file)
    return log

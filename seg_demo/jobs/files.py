"""The files of a job's folder, and how they are written: whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from seg_demo.errors import StorageError
from seg_demo.storage import write_atomically

# About the job, the training command's own configuration, and the command as a list of words.
ABOUT, CONFIG, COMMAND = "job.json", "job.yaml", "command.json"
# The processes that run it, and how it ended.
RUNNER, CHILD, EXIT = "runner.json", "child.json", "exit.json"
# What the command writes: its terminal, its answer, how far it is, its run folder; and the copy of the data.
CONSOLE, RESULT, PROGRESS, RUN, DATA = "console.txt", "result.json", "progress.json", "run", "data"
# What the dry run found, and its picture of a sample in each of several readings of the masks.
CHECK, READINGS = "check.json", "two-readings.png"


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file at once.

    Raises:
        StorageError: the disk is full or fails.
    """
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False))


def write_text(path: Path, text: str) -> None:
    """Replace a text file at once.

    Raises:
        StorageError: the disk is full or fails.
    """
    try:
        write_atomically(path, text, durable=True)
    except OSError as error:
        raise StorageError(f"{path.name} could not be written ({error.strerror}). Free some space and try again.") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None if there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def tail(path: Path, lines: int = 40, most: int = 1 << 16) -> str:
    """The last lines of a text file, at most 64 kB of it; empty if it cannot be read.

    Args:
        path: the file.
        lines: how many.
        most: bytes that are read.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - most))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(line.rpartition("\r")[2] for line in text.splitlines()[-lines:])

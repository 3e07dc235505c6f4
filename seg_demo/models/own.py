"""Models that were made here: fine-tuned ones in a folder of this server, and those that were pushed from it to the Hub.

They are on the menu at once and after a restart: one JSON file beside the jobs keeps the list.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

from seg_demo.errors import StorageError
from seg_demo.settings import settings
from seg_demo.storage import write_atomically
from seg_demo.types import ModelSpec

FILE = "models.json"
_lock = threading.Lock()


def _file() -> Path:
    return Path(settings().jobs) / FILE


def _read() -> list[tuple[ModelSpec, str | None]]:
    """(model, folder) of every entry; a damaged file counts as none, for the demo must open."""
    try:
        rows = json.loads(_file().read_text(encoding="utf-8"))
        return [(ModelSpec(**{**row["model"], "labels": tuple(row["model"]["labels"])}), row["folder"]) for row in rows]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def own_models() -> list[ModelSpec]:
    """The models that were made here, the newest first; without those whose folder is gone."""
    return [spec for spec, folder in _read() if folder is None or (Path(folder) / "config.json").is_file()]


def folder_of(id: str) -> Path | None:
    """The checkpoint folder of a model that was made here and lies on this server, or None."""
    return next((Path(folder) for spec, folder in _read() if spec.id == id and spec.source == "folder" and folder), None)


def add(spec: ModelSpec, folder: Path | None = None) -> None:
    """Put a model on the menu; one of the same id gives way.

    Args:
        spec: of source ``hub``, or ``folder`` with a name for an id.
        folder: the checkpoint of a model of source ``folder``.

    Raises:
        StorageError: the list cannot be written.
    """
    with _lock:
        kept = [(each, where) for each, where in _read() if each.id != spec.id]
        _write([(spec, None if folder is None else str(folder.resolve())), *kept])


def remove(folder: Path) -> None:
    """Take models off the menu whose checkpoint lies in a folder.

    Raises:
        StorageError: the list cannot be written.
    """
    with _lock:
        rows = _read()
        kept = [row for row in rows if row[1] is None or not Path(row[1]).is_relative_to(folder.resolve())]
        if len(kept) < len(rows):
            _write(kept)


def free_id(wanted: str, taken: set[str]) -> str:
    """An id that is not taken: the wanted one, or with a number.

    >>> free_id("unet-coins", {"unet-coins"})
    'unet-coins-2'
    """
    number, found = 1, wanted
    while found in taken:
        number += 1
        found = f"{wanted}-{number}"
    return found


def _write(rows: list[tuple[ModelSpec, str | None]]) -> None:
    path = _file()
    content = [{"model": asdict(replace(spec, labels=tuple(spec.labels))), "folder": folder} for spec, folder in rows]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False))
    except OSError as error:
        raise StorageError(f"The list of own models could not be written ({error.strerror}). Free some space.") from error

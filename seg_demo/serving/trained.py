"""Models that were made here: fine-tuned ones in a folder of this server, and those that were pushed from it to the Hub.

They are on their owner's menu at once and after a restart, and on everybody's if they are shared (:mod:`seg_demo.core.ownership`): one
JSON file beside the jobs keeps the list.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from seg_demo.core.errors import BadRequestError, Message, StorageError
from seg_demo.core.ownership import viewer
from seg_demo.core.settings import settings
from seg_demo.core.storage import write_atomically
from seg_demo.core.types import ModelSpec

FILE = "models.json"
_lock = threading.Lock()


@dataclass(frozen=True)
class TrainedModel:
    """One entry of the list.

    Attributes:
        spec: of source ``hub``, or ``folder`` with a name for an id, which no other entry has.
        folder: the checkpoint of a model of source ``folder``.
        owner: as in :mod:`seg_demo.core.ownership`.
        shared: whether it is on everybody's menu.
    """

    spec: ModelSpec
    folder: str | None
    owner: str = ""
    shared: bool = False

    @property
    def visible(self) -> bool:
        """Whether it is on the menu of whoever is being answered."""
        who = viewer.get()
        return who is None or self.shared or who.owns(self.owner)


def _file() -> Path:
    return Path(settings().jobs) / FILE


def _read() -> list[TrainedModel]:
    """Every entry; a damaged file counts as none, for the demo must open."""
    try:
        rows = json.loads(_file().read_text(encoding="utf-8"))
        return [
            TrainedModel(
                _spec(row["model"]), row["folder"], _owner(row),
                row.get("shared") is True,
            )
            for row in rows
        ]  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _spec(row: dict[str, object]) -> ModelSpec:
    lists = {"labels": tuple(row["labels"]), "tasks": tuple(row.get("tasks", ()))}
    return ModelSpec(**{**row, **lists, "notes": tuple(map(Message.from_dict, row.get("notes", ())))})


def _owner(row: dict[str, object]) -> str:
    """Whose an entry is. Those of earlier versions do not say so, but their job does."""
    if isinstance(row.get("owner"), str):
        return str(row["owner"])
    if not isinstance(row.get("folder"), str):
        return ""
    try:
        return str(json.loads((Path(str(row["folder"])).parents[1] / "job.json").read_text(encoding="utf-8")).get("owner") or "")
    except (OSError, ValueError, IndexError, AttributeError):
        return ""


def entries(*, every: bool = False) -> list[TrainedModel]:
    """The models that were made here, the newest first; without those whose folder is gone.

    Args:
        every: also those that whoever is being answered may not see.
    """
    there = (row for row in _read() if row.folder is None or (Path(row.folder) / "config.json").is_file())
    return [row for row in there if every or row.visible]


def trained_models(*, every: bool = False) -> list[ModelSpec]:
    """The models of :func:`entries`; of several with one id the newest, and one's own before what others share."""
    who = viewer.get()
    rows = entries(every=every)
    rows.sort(key=lambda row: who is not None and not who.owns(row.owner))
    return list({row.spec.id: row.spec for row in reversed(rows)}.values())[::-1]


def folder_of(id: str) -> Path | None:
    """The checkpoint folder of a model that was made here and lies on this server, or None."""
    return next((Path(row.folder) for row in _read() if row.spec.id == id and row.spec.source == "folder" and row.folder), None)


def of_folder(folder: Path) -> TrainedModel | None:
    """The entry whose checkpoint is this folder, or None."""
    return next((row for row in _read() if row.folder is not None and Path(row.folder) == folder.resolve()), None)


def add(spec: ModelSpec, folder: Path | None = None, owner: str = "") -> None:
    """Put a model on its owner's menu; one of the same id and owner gives way.

    Args:
        spec: of source ``hub``, or ``folder`` with a name for an id.
        folder: the checkpoint of a model of source ``folder``.
        owner: whose it is.

    Raises:
        StorageError: the list cannot be written.
    """
    with _lock:
        kept = [row for row in _read() if (row.spec.id, row.owner) != (spec.id, owner)]
        _write([TrainedModel(spec, None if folder is None else str(folder.resolve()), owner), *kept])


def share(folder: Path, shared: bool) -> None:
    """Put a model on everybody's menu, or take it back.

    Args:
        folder: its checkpoint.
        shared: which of the two.

    Raises:
        BadRequestError: no model on the menu has this checkpoint.
        StorageError: the list cannot be written.
    """
    with _lock:
        rows = _read()
        chosen = [row.folder is not None and Path(row.folder) == folder.resolve() for row in rows]
        if not any(chosen):
            raise BadRequestError("models.not_shared_yet")
        _write([replace(row, shared=shared) if this else row for row, this in zip(rows, chosen, strict=True)])


def remove(folder: Path) -> None:
    """Take models off the menu whose checkpoint lies in a folder.

    Raises:
        StorageError: the list cannot be written.
    """
    with _lock:
        rows = _read()
        kept = [row for row in rows if row.folder is None or not Path(row.folder).is_relative_to(folder.resolve())]
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


def _write(rows: list[TrainedModel]) -> None:
    path = _file()
    content = [
        {
            "model": asdict(replace(row.spec, labels=tuple(row.spec.labels))), "folder": row.folder, "owner": row.owner,
            "shared": row.shared,
        }
        for row in rows
    ]  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False))
    except OSError as error:
        raise StorageError("models.list_not_written", why=error.strerror) from error

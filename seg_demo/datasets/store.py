"""The datasets of one visitor, and where they lie on the server."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from seg_demo.core import storage
from seg_demo.core.errors import BadRequestError, DataError, StorageError
from seg_demo.core.requests import owner_of
from seg_demo.core.settings import settings
from seg_demo.core.storage import DISK
from seg_demo.core.types import INSTANCE, SEMANTIC, TASKS, LabelSet
from seg_demo.datasets.dataset import Dataset, header_files, is_stem, label_set, stem_of

# What can be drawn by hand.
DRAWN = (SEMANTIC.name, INSTANCE.name)
MAX_DATASETS = 100

_log = logging.getLogger(__name__)


def drawn_as(task: str) -> str:
    """The task of a dataset that takes results of a task: its own, or the one of :data:`DRAWN` that has objects as it has."""
    return task if task in DRAWN else DRAWN[TASKS[task].objects]


class Store:
    """A folder of datasets, one folder each.

    Args:
        root: the folder; made when the first dataset is.
        limit: most bytes that all datasets together may take; None for no limit.
    """

    def __init__(self, root: Path | str, limit: int | None = None) -> None:
        self.root, self._limit = Path(root), limit

    def create(self, name: str, labels: LabelSet | Sequence[str], task: str) -> Dataset:
        """Make an empty dataset.

        Args:
            name: as the person typed it; its folder is named after it, with a number where that is taken.
            labels: the classes, in the order of their numbers. Of names alone, a missing ``background`` is put first.
            task: ``semantic`` (a class per pixel) or ``instance`` (separate objects with a class each).

        Raises:
            BadRequestError: another task, or no name.
            DataError: no classes, too many, or names that no class can have; an instance dataset without a background.
            StorageError: the disk is full or fails.
        """
        if task not in DRAWN:
            raise BadRequestError("datasets.bad_task", tasks=", ".join(DRAWN), value=str(task)[:40])
        title = " ".join(str(name).split())[:80]
        if not title:
            raise BadRequestError("datasets.no_name")
        chosen = label_set(labels)
        if TASKS[task].objects and chosen.background is None:
            raise DataError("datasets.no_background")
        with storage.storage_errors(self.root / stem_of(title, "dataset"), public=True):
            self.root.mkdir(parents=True, exist_ok=True)
            if sum(1 for _ in self._folders()) >= MAX_DATASETS:
                raise BadRequestError("datasets.too_many", most=MAX_DATASETS)
            draft = self.root / f".draft-{uuid.uuid4().hex}"
            draft.mkdir()
            for folder in ("images", "masks", "facts", "thumbnails", *(["instances"] if TASKS[task].objects else [])):
                (draft / folder).mkdir()
            storage.commit(draft, header_files(title, task, chosen))
            return Dataset(self._place(draft, stem_of(title, "dataset")), self._room)

    def _place(self, draft: Path, stem: str) -> Path:
        """Give a complete folder its name. Renaming onto a folder with files fails, so no dataset is ever overwritten."""
        number = 1
        while True:
            target = self.root / (stem if number == 1 else f"{stem}-{number}")
            taken = {folder.name.casefold() for folder in self._folders()}
            try:
                if target.name.casefold() not in taken:
                    os.rename(draft, target)
                    DISK.sync_folder(self.root)
                    return target
            except OSError:
                if not target.exists():
                    raise
            number += 1

    def open(self, key: str) -> Dataset:
        """A dataset by its key.

        Raises:
            BadRequestError: there is none of that key.
            StorageError: it is damaged.
        """
        if not is_stem(key) or not (self.root / key / "dataset.json").is_file():
            raise BadRequestError("datasets.none_such", name=str(key)[:80])
        return Dataset(self.root / key, self._room)

    def list(self) -> list[Dataset]:
        """All datasets, the last changed first; damaged ones are left out, and the log says so."""
        found = []
        for folder in self._folders():
            if not (folder / "dataset.json").is_file():
                continue
            try:
                found.append(Dataset(folder, self._room))
            except StorageError as error:
                _log.warning("%s", error)
        return sorted(found, key=lambda dataset: dataset.changed, reverse=True)

    def delete(self, key: str) -> None:
        """Remove a dataset with everything in it.

        Raises:
            BadRequestError: there is none of that key.
            StorageError: the disk fails.
        """
        dataset = self.open(key)
        with storage.storage_errors(dataset.path, public=True):
            # Renamed first: a removal that is interrupted leaves no half of a dataset.
            gone = self.root / f".removed-{uuid.uuid4().hex}"
            os.rename(dataset.path, gone)
            shutil.rmtree(gone)

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return [path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")]

    def _room(self) -> int:
        """Bytes that may still be written."""
        if self._limit is None:
            return 2**62
        return self._limit - sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())


def may_collect() -> bool:
    """Whether visitors may store datasets on this server: as its owner set it; if not set, everywhere but on a Space."""
    chosen = settings().collect
    return chosen == "on" or (chosen == "auto" and not os.environ.get("SPACE_ID"))


def visitor_store(key: str) -> Store:
    """The datasets of the visitor who holds a key. The disk knows only its hash, so that a listing of it opens nothing.

    Args:
        key: 32 to 64 letters, digits, ``_`` and ``-``, drawn at random in the visitor's browser or by the server.

    Raises:
        BadRequestError: not such a key, or the owner does not let visitors store anything.
    """
    if not may_collect():
        raise BadRequestError("datasets.not_stored_here")
    if not (folder := owner_of(key)):
        raise BadRequestError("datasets.no_place_yet")
    return Store(Path(settings().data) / folder, settings().data_bytes)



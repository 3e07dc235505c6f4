"""The datasets of one visitor, and where they lie on the server.

And a data set as other tools have it: taken along in their formats, with its pictures where they look for them, and brought in from them.
Both go picture by picture; one that cannot be read is named, and the rest goes on.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seg_demo.annotations.coco import BadAnnotation
from seg_demo.annotations.convert import SUFFIXES, TARGETS, pictures_of
from seg_demo.annotations.listing import IMAGE_SUFFIXES
from seg_demo.core import (
    DISK, INSTANCE, SEMANTIC, TASKS, BadRequestError, DataError, LabelSet, Message, SegDemoError, StorageError, owner_of, storage,
)
from seg_demo.core.settings import settings
from seg_demo.datasets.dataset import Dataset, header_files, is_stem, label_set, stem_of
from seg_demo.datasets.sample import Facts, annotated, split_maps
from seg_demo.inputs.archives import unpack
from seg_demo.outputs.batch import pack
from seg_demo.outputs.interchange import FORMATS, DataSet, loss_sentences

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


# In the order of the menu.
TOOLS: tuple[str, ...] = ("coco", *FORMATS)


def zip_for(dataset: Dataset, tool: str, target: Path) -> list[Message]:
    """A data set in the format of a tool, as one archive.

    Args:
        dataset: to be taken along.
        tool: one of :data:`TOOLS`.
        target: the file to write.

    Returns:
        A sentence for each thing that the format cannot hold, and for each sample that cannot be read.

    Raises:
        BadRequestError: it has no samples, or more classes than the format holds.
        StorageError: the disk is full or fails.
    """
    if tool not in TOOLS:
        raise BadRequestError("datasets.no_such_tool", tool=str(tool)[:40], tools=", ".join(TOOLS))
    samples, unreadable = dataset.look()
    if not samples:
        raise BadRequestError("datasets.empty", name=dataset.name)
    left = [Message("datasets.left_out", why=why) for why in unreadable.values()]
    form = TARGETS[tool](dataset.labels)
    with tempfile.TemporaryDirectory(prefix="seg-demo-dataset-", dir=target.parent) as folder:
        data = DataSet(Path(folder), form)
        try:
            for sample in sorted(samples, key=lambda sample: sample.stem):
                try:
                    _, mask, instances = dataset.read(sample.stem)
                    data.add(annotated(sample.image.name, mask, instances, dataset.labels), sample.image)
                except SegDemoError as error:
                    left.append(Message("datasets.left_out", why=error.message))
            data.close()
            pack(Path(folder), target)
        except OSError as error:
            raise StorageError("datasets.not_packed", name=dataset.name, why=error.strerror or error) from error
        finally:
            data.abandon()
    return [*loss_sentences(tool, form.lost), *left]


@dataclass(frozen=True)
class Brought:
    """A data set that was brought in.

    Attributes:
        dataset: the new one.
        count: of pictures that it has.
        failed: picture or file, and why it was left out.
        notes: how the files were read, and what was lost on the way.
    """

    dataset: Dataset
    count: int
    failed: tuple[tuple[str, Message | str], ...]
    notes: tuple[Message | str, ...]


def bring(store: Store, files: Sequence[Path], report: Callable[[int, int], None] = lambda done, total: None) -> Brought:
    """A new data set of pictures with another tool's annotations.

    Args:
        store: of the visitor.
        files: a zip of a whole folder; or the files of annotations with their pictures.
        report: told how many pictures of how many are done.

    Raises:
        SegDemoError: no file, or none that can be used; the message says why.
    """
    if not files:
        raise BadRequestError("batches.no_file")
    with tempfile.TemporaryDirectory(prefix="seg-demo-brought-") as name:
        folder, refused = Path(name), _gathered(files, Path(name))
        pictures = pictures_of(str(folder))
        failed: list[tuple[str, Message | str]] = [*refused, *pictures.failed]
        if not pictures.items:
            where, why = failed[0] if failed else (files[0].name, Message("annotations.none_fits"))
            raise DataError("datasets.nothing_brought", where=where, why=why)
        dataset, count, hidden, splits = None, 0, 0, set()
        try:
            for done, item in enumerate(pictures.items):
                report(done, len(pictures.items))
                try:
                    one = pictures.annotated(item)
                    dataset = dataset or store.create(files[0].stem, pictures.labels, drawn_as(pictures.task))
                    mask, instances = split_maps(one, dataset.labels, dataset.task)
                    dataset.add(item.image, mask, Facts(source="mask"), instances=instances, name=Path(one.file).stem)
                except BadAnnotation as problem:
                    failed.append((problem.file, problem.what))
                except StorageError:
                    if not count:
                        raise
                    failed.append((item.name, Message("datasets.no_room_for_more", count=count)))
                    break
                except SegDemoError as error:
                    failed.append((item.name, error.message))
                else:
                    count += 1
                    hidden += one.hidden
                    splits.add(item.split)
        except BaseException:
            _drop_empty(store, dataset, count)
            raise
        if not count:
            _drop_empty(store, dataset, count)
            raise DataError("datasets.nothing_brought", where=failed[0][0], why=failed[0][1])
        notes = list(pictures.notes)
        if hidden:
            notes.append(Message("losses.overlaps", count=hidden, format=dataset.name))
        if splits - {None}:
            notes.append(Message("datasets.split_not_kept"))
        return Brought(dataset, count, tuple(failed), tuple(notes))


def _drop_empty(store: Store, dataset: Dataset | None, count: int) -> None:
    if dataset is not None and not count:
        store.delete(dataset.key)


def _gathered(files: Sequence[Path], folder: Path) -> list[tuple[str, Message | str]]:
    """The files in a folder, archives unpacked; what was refused of them.

    A zip of ImageJ's ROIs beside pictures stays one.
    """
    most, left = settings().max_batch_files, settings().max_batch_bytes
    refused: list[tuple[str, Message | str]] = []
    alone = len(files) == 1
    for path in files:
        if path.suffix.lower() == ".zip" and (alone or not path.stem.lower().endswith(("roi", "rois", "roiset"))):
            found = unpack(path, folder, max_files=most, max_bytes=left, suffixes=SUFFIXES | IMAGE_SUFFIXES)
            refused += [(each.name, each.why) for each in found.refused]
            left -= sum(each.stat().st_size for each in found.files)
            continue
        try:
            os.link(path, folder / path.name)
        except OSError:
            shutil.copyfile(path, folder / path.name)
    return refused

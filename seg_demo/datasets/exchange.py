"""A data set as other tools have it: taken along in their formats, with its pictures where they look for them, and brought in from them.

Both go picture by picture; one that cannot be read is named, and the rest goes on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seg_demo.annotations.coco import BadAnnotation
from seg_demo.annotations.convert import SUFFIXES, TARGETS, pictures_of
from seg_demo.annotations.listing import IMAGE_SUFFIXES
from seg_demo.core.errors import BadRequestError, DataError, Message, SegDemoError, StorageError
from seg_demo.core.settings import settings
from seg_demo.datasets.dataset import Dataset
from seg_demo.datasets.sample import Facts, annotated, split_maps
from seg_demo.datasets.store import Store, drawn_as
from seg_demo.inputs.archives import unpack
from seg_demo.outputs.batch import pack
from seg_demo.outputs.interchange import FORMATS, DataSet, loss_sentences

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

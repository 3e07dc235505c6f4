"""What the Batch tab does between the upload and the zip; results lie on the disk, one image is in memory at a time."""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seg_demo.errors import BadRequestError, BusyError, SegDemoError
from seg_demo.inputs.archives import Refused, unpack
from seg_demo.inputs.files import SUFFIXES, apart
from seg_demo.inputs.images import Picture, read
from seg_demo.outputs.batch import Summary, picture_of, write_image
from seg_demo.outputs.counting import PixelSize
from seg_demo.settings import settings
from seg_demo.types import Segmentation

# How long a batch waits for its turn on a busy server before it gives an image up, in seconds.
PATIENCE = 600


@dataclass(frozen=True)
class Picked:
    """One file of a batch.

    Attributes:
        path: where it lies.
        name: what the tables call it: its path in the archive, or its own name.
    """

    path: Path
    name: str


@dataclass
class Report:
    """How far a batch has come.

    Attributes:
        total: files.
        done: images that were segmented.
        failed: files that were not, and why.
        name: of the file that is being worked on.
        finished: the files about all images are written.
        header: of the table of counts, once finished.
        rows: of that table.
        limited: images in which a detector stopped at a number of objects although there may be more, and that number.
        notes: image and what is to know about how it was read.
        pieces: whether what is counted are connected pieces of a class, not objects.
    """

    total: int
    done: int = 0
    failed: list[Refused] = field(default_factory=list)
    name: str = ""
    finished: bool = False
    header: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    limited: list[tuple[str, int]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    pieces: bool = False


def gather(files: Sequence[Path], folder: Path) -> tuple[list[Picked], list[Refused]]:
    """The images that were sent, archives unpacked.

    Args:
        files: as they were uploaded.
        folder: new; gets what archives hold.

    Returns:
        The images, and what was left out of archives.

    Raises:
        BadRequestError: an archive that cannot be read, no image at all, or more than the settings accept.
    """
    most, left = settings().max_batch_files, settings().max_batch_bytes
    picked: list[Picked] = []
    refused: list[Refused] = []
    for number, path in enumerate(files):
        if path.suffix.lower() == ".zip":
            inside = folder / str(number)
            inside.mkdir(parents=True)
            found = unpack(path, inside, max_files=most, max_bytes=left, suffixes=SUFFIXES)
            picked += [Picked(each, each.relative_to(inside).as_posix()) for each in found.files]
            refused += found.refused
            left -= sum(each.stat().st_size for each in found.files)
        else:
            picked.append(Picked(path, path.name))
            left -= path.stat().st_size
        if len(picked) > most:
            raise BadRequestError(f"More than {most:,} images were sent, which is the most at once. Send fewer.")
        if left < 0:
            limit = settings().max_batch_bytes / 1e6
            raise BadRequestError(f"The files have more than the {limit:,.0f} MB that are accepted at once. Send fewer.")
    if not picked:
        why = f" ({refused[0].name}: {refused[0].why})" if refused else ""
        raise BadRequestError(f"No images are in what was sent{why}. Send images, or a zip archive of them.")
    return picked, refused


def segment_all(
    picked: Sequence[Picked],
    refused: Sequence[Refused],
    segment: Callable[[Picture], Segmentation],
    folder: Path,
    pixel: PixelSize | None,
    stopped: threading.Event,
) -> Iterator[Report]:
    """Segment every image; a bad one is noted and the rest goes on.

    Args:
        picked: the images.
        refused: what was left out before.
        segment: a picture → its result.
        folder: exists; gets ``masks/``, ``geojson/`` and what :class:`~seg_demo.outputs.batch.Summary` writes.
        pixel: size of a pixel, or None.
        stopped: once set, the batch ends after the present image, and what was done is summarised.

    Yields:
        The same report before every image, and once it is finished.

    Raises:
        SegDemoError: of the first image, if none could be segmented: then the fault is not an image's (a model that cannot be
            had, a full disk).
    """
    report = Report(len(picked) + len(refused), failed=list(refused))
    summary: Summary | None = None
    early: list[Refused] = []
    last: SegDemoError | None = None
    stems = apart([Path(each.name) for each in picked])
    try:
        for each, stem in zip(picked, stems, strict=True):
            if stopped.is_set():
                break
            report.name = each.name
            yield report
            try:
                picture = read(each.path)
                result = segment(picture)
                write_image(folder, stem.as_posix(), result, pixel)
            except SegDemoError as error:
                last = error
                fault = Refused(each.name, error.message)
                report.failed.append(fault)
                (early.append(fault) if summary is None else summary.fail(fault.name, fault.why))
                continue
            if summary is None:
                # Only a result tells the classes of a model that was never loaded before.
                summary = Summary(folder, report.total, result.labels, pixel)
                for fault in (*refused, *early):
                    summary.fail(fault.name, fault.why)
            summary.add(each.name, result.to_dict(), result.id_map, picture_of(picture.pixels, result))
            report.pieces = result.task == "semantic"
            report.done += 1
        if summary is None:
            raise last or BadRequestError("The batch was stopped before its first image was finished.")
        summary.close()
        report.header, report.rows = summary.table()
        report.limited, report.notes = summary.limited(), summary.notes
        report.finished = True
        yield report
    except OSError as error:
        raise BadRequestError(
            f"The results could not be written ({error.strerror}). Send fewer images, or free some space."
        ) from error
    finally:
        if summary is not None:
            summary.abandon()


def patiently(work: Callable[[], Segmentation], stopped: threading.Event) -> Segmentation:
    """The result of some work, tried again while the server is busy with other visitors.

    Raises:
        BusyError: it still is after ten minutes, or the batch was stopped meanwhile.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except BusyError:
            if time.monotonic() > until or stopped.wait(1):
                raise


def pack(folder: Path, target: Path) -> Path:
    """Put all files of a folder into a zip archive; each is removed once it is in, so that the disk holds them once.

    Args:
        folder: of the results.
        target: the archive to write.
    """
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            method = zipfile.ZIP_STORED if path.suffix == ".png" else zipfile.ZIP_DEFLATED
            archive.write(path, path.relative_to(folder), compress_type=method)
            path.unlink()
    return target

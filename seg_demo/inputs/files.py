"""Paths that a person names → image files, each with a name of its own for its outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seg_demo.errors import BadRequestError

# What a folder is searched for; a file that is named is tried whatever it is called.
SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Job:
    """One image to segment.

    Attributes:
        source: the file.
        target: folder that its outputs go into, below the output folder.
        name: what the tables about all images call it: its path within the folder that was searched.
    """

    source: Path
    target: Path
    name: str


def find_jobs(paths: Sequence[Path], out: Path) -> list[Job]:
    """The images that paths stand for, each with a folder of its own.

    A file's outputs go to ``<stem>``; those of a file found in a folder keep its path within that folder. Where two would
    get the same folder, all of them are told apart by their suffix, and then by a number.

    Args:
        paths: files, taken whatever they are called, and folders, searched for image files.
        out: the output folder; what lies in it is no input.

    Raises:
        BadRequestError: a path that does not exist, or no image at all; the message lists them.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise BadRequestError("files.not_found", missing=", ".join(missing))
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            for file in sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file()):
                if not file.resolve().is_relative_to(out.resolve()):
                    found.setdefault(file.resolve(), file.relative_to(path))
        else:
            found.setdefault(path.resolve(), Path(path.name))
    if not found:
        where = ", ".join(map(str, paths))
        raise BadRequestError("files.no_images", where=where, suffixes=", ".join(sorted(SUFFIXES)))
    named = Counter(path.as_posix() for path in found.values())
    return [
        Job(source, target, path.as_posix() if named[path.as_posix()] == 1 else f"{target.as_posix()}{path.suffix}")
        for (source, path), target in zip(found.items(), apart(list(found.values())), strict=True)
    ]


def apart(relative: Sequence[Path]) -> list[Path]:
    """A name for the outputs of each file: its path without suffix, no two the same (also where case is ignored).

    Where two would get the same, all of them are told apart by their suffix, and then by a number.

    Args:
        relative: paths of files.
    """
    stems = [path.with_suffix("") for path in relative]
    counts: dict[str, int] = {}
    for stem in stems:
        counts[str(stem).lower()] = counts.get(str(stem).lower(), 0) + 1
    taken: set[str] = set()
    targets = []
    for path, stem in zip(relative, stems, strict=True):
        target = stem if counts[str(stem).lower()] == 1 else path.with_name(path.name.replace(".", "_"))
        base, number = target, 1
        while str(target).lower() in taken:
            number += 1
            target = base.with_name(f"{base.name}-{number}")
        taken.add(str(target).lower())
        targets.append(target)
    return targets

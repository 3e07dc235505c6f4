"""What an indexer finds before anything is decoded: items, and what is wrong with the way they are listed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from train.data.classes import ClassList

IMAGE_SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".tif",
        ".tiff",
        ".bmp",
        ".webp",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".avif",
        ".heic",
        ".heif",
        ".hif",
        ".jp2",
        ".tga",
    ]
)
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
FAULT, NOTE = "fault", "note"


@dataclass(frozen=True)
class Choice:
    """One of several equally likely readings of a dataset.

    Attributes:
        reading: what ``--mask-reading``, or ``{"reading": ...}`` in a ``masks.json`` beside the images, says to choose it.
        means: what it would be, in a few words.
    """

    reading: str
    means: str


@dataclass(frozen=True)
class Fault:
    """Something about the data that a person should know.

    Attributes:
        kind: a few words, the same for the same trouble (``missing mask``).
        file: the file it is about, relative to the dataset where it lies in it.
        what: what came and what was expected.
        remedy: what to do.
        severity: ``fault`` stops a run, ``note`` does not.
        item: name of the item that has to go if the fault is to be skipped; None where none would help.
        proposal: content of a ``labels.json`` in the dataset's folder that would settle it, to be confirmed by a person.
        choices: readings of which a person has to choose one; none is more likely than the others.
        picture: PNG file that shows one sample in each of them, once it was drawn.
    """

    kind: str
    file: str
    what: str
    remedy: str
    severity: str = FAULT
    item: str | None = None
    proposal: str | None = None
    choices: tuple[Choice, ...] = ()
    picture: str | None = None


@dataclass(frozen=True)
class CocoObject:
    """One annotation of a COCO file, mask not yet drawn.

    Attributes:
        label_id: index into the dataset's label set.
        segmentation: list of polygons (flat lists x, y, x, y ... in pixels) or an RLE object.
        crowd: a group that is not separated into objects; its pixels are ignored.
        file: how to name it in a message.
    """

    label_id: int
    segmentation: list | dict
    crowd: bool
    file: str


@dataclass(frozen=True)
class Item:
    """One image and where its truth is; nothing decoded.

    Attributes:
        name: unique in the dataset, such as the path relative to it without the suffix.
        image: the image file, or None where it is rendered.
        mask: file with a class per pixel, or None.
        instances: file with an object number per pixel, or None.
        annotations: COCO objects, or None.
        split: ``train`` or ``val`` where the data says so, else None.
        declared: (height, width) of the image as the annotation file states it, or None.
        rendered: (seed, index) of a built-in image, or None.
    """

    name: str
    image: Path | None
    mask: Path | None = None
    instances: Path | None = None
    annotations: tuple[CocoObject, ...] | None = None
    split: str | None = None
    declared: tuple[int, int] | None = None
    rendered: tuple[int, int] | None = None


@dataclass
class Listing:
    """What an indexer found.

    Attributes:
        name: short, fit for the name of a repository.
        root: folder to which names in messages are relative.
        items: the images with their truth.
        classes: class names as listed, or None if only the masks can tell.
        faults: what is wrong with the listing itself.
        notes: what was assumed.
        per_pixel: annotations give a class per pixel, not separate objects.
    """

    name: str
    root: Path
    items: list[Item] = field(default_factory=list)
    classes: ClassList | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    per_pixel: bool = False

    def settle_test_split(self) -> None:
        """Uses a given ``test`` split for validation where no other is given, and leaves it out where one is."""
        tested = [item for item in self.items if item.split == "test"]
        if not tested:
            return
        if any(item.split == "val" for item in self.items):
            self.items = [item for item in self.items if item.split != "test"]
            self.notes.append(f"The test split ({len(tested)} images) was not used; validation is measured on val.")
            return
        self.items = [replace(item, split="val") if item.split == "test" else item for item in self.items]
        self.notes.append(f"There is no validation split: the test split ({len(tested)} images) is used as one.")


def short_name(text: str) -> str:
    """A name fit for a Hub repository: letters, digits, dashes; ``data`` if nothing is left.

    >>> short_name("My Cells (2024).json")
    'my-cells-2024'
    """
    stem = PurePosixPath(text).stem if text.lower().endswith((".json", ".csv", ".jsonl", ".tsv")) else text
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40] or "data"


def inside(root: Path, name: str) -> Path | None:
    """The path that a list means by a name, or None if it leaves the folder (absolute, a drive, or ``..``).

    Names are compared as they are written, so that a folder may hold links to files elsewhere.

    Args:
        root: the dataset's folder.
        name: relative path, with ``/`` or ``\\``.

    >>> inside(Path("data"), "images/a.png").as_posix()
    'data/images/a.png'
    >>> inside(Path("data"), "../a.png") is None, inside(Path("data"), "C:\\\\a.png") is None
    (True, True)
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or re.match(r"^[A-Za-z]:", name):
        return None
    return root / path


def leads_out(path: Path, root: Path) -> bool:
    """Whether a path that lies in the dataset's folder by its name is, or goes through, a link to somewhere else.

    A person's own dataset may hold such links; what came from somebody else could show them a file of this machine.

    Args:
        path: of a file.
        root: the dataset's folder.
    """
    return path.is_relative_to(root) and not path.resolve().is_relative_to(root.resolve())


def is_file(path: Path) -> bool:
    """Whether a listed path is a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def relative(path: Path, root: Path) -> str:
    """A path as a message names it: relative to the dataset where it lies in it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def climbing(name: str, listed_in: str, item: str | None) -> Fault:
    """The fault of a listed path that leaves the dataset's folder."""
    return Fault(
        "path outside the dataset",
        listed_in,
        f"names {name!r}, which is absolute or climbs out of the dataset's folder",
        "list paths relative to the file that lists them, and keep the images beside or below it",
        item=item,
    )

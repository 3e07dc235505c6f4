"""What a source of training data lists before anything is decoded (items, and what is wrong with the way they are listed), what is
found about it as a whole, for a person and for a program, and the one type of what is read of an item: a sample.

Photos that a camera stored sideways, and truth that was drawn on them without turning, are told apart here.

Where masks can be read in several ways of which none is more likely, a person decides with ``--mask-reading``, or with a ``masks.json`` beside the images: ``{"reading": "255=cell"}``.
"""

from __future__ import annotations

import json
import mmap
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from seg_demo.core import DataError, Message, Picture, Stack, View

if TYPE_CHECKING:
    from seg_demo.annotations.classes import ClassList
    from seg_demo.inputs.mask_files import MaskFile
    from seg_demo.inputs.shapes import Shape

IMAGE_SUFFIXES = frozenset([
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm",
    ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".hif", ".jp2", ".tga", ".nii",
])  # fmt: skip
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
    """One annotation of a COCO file or of another tool, mask not yet drawn.

    Attributes:
        label_id: index into the dataset's label set.
        segmentation: list of polygons (flat lists x, y, x, y ... in pixels) or an RLE object; or what another tool has drawn.
        crowd: a group that is not separated into objects; its pixels are ignored.
        file: how to name it in a message.
        order: what has a higher one lies on top; among equals smaller objects do.
        plane: of a stack, its number, or depth and time, each from 1; 0 for any.
    """

    label_id: int
    segmentation: list | dict | Shape
    crowd: bool
    file: str
    order: int = 0
    plane: tuple[int, int, int] = (0, 0, 0)

    def places(self, planes: Sequence[View]) -> list[int] | None:
        """Which of a stack's planes, in the order in which they lie in the file, it was drawn on; None if nobody says so."""
        number, z, t = self.plane
        if number:
            return [number - 1] if number <= len(planes) else []
        return [at for at, plane in enumerate(planes) if z in (0, (plane.z or 0) + 1) and t in (0, (plane.t or 0) + 1)] if z or t else None


@dataclass(frozen=True)
class SegmentInfo:
    """One segment of a panoptic picture.

    Attributes:
        id: of its pixels in the PNG.
        label_id: index into the dataset's label set; None if its pixels are void.
        thing: it is one object; otherwise it is stuff.
        crowd: a group that is not separated into objects; its pixels are ignored.
    """

    id: int
    label_id: int | None
    thing: bool
    crowd: bool


@dataclass(frozen=True)
class PanopticTruth:
    """The panoptic truth of one picture, nothing decoded.

    Attributes:
        png: file whose pixels are R + 256 G + 65536 B = a segment's id, 0 for void.
        segments: those that are listed.
    """

    png: Path
    segments: tuple[SegmentInfo, ...]


@dataclass(frozen=True)
class Item:
    """One image and where its truth is; nothing decoded.

    Attributes:
        name: unique in the dataset, such as the path relative to it without the suffix.
        image: the image file, or None where it is rendered.
        mask: file with a class per pixel, or None.
        instances: file with an object number per pixel, or None.
        annotations: COCO objects, or None.
        panoptic: things and stuff as COCO's panoptic files have them, or None.
        split: ``train`` or ``val`` where the data says so, else None.
        declared: (height, width) of the image as the annotation file states it, or None.
        rendered: (seed, index) of a built-in image, or None.
        view: which plane of the image; None for what its file shows first.
        truth_view: which plane of the mask or map; None for a file of one picture.
        stack: what says of which stack, volume or series it is, or None.
        decode: makes numbers of classes of what the mask's file holds; None where it holds them.
    """

    name: str
    image: Path | None
    mask: Path | None = None
    instances: Path | None = None
    annotations: tuple[CocoObject, ...] | None = None
    panoptic: PanopticTruth | None = None
    split: str | None = None
    declared: tuple[int, int] | None = None
    rendered: tuple[int, int] | None = None
    view: View | None = None
    truth_view: View | None = None
    stack: str | None = None
    decode: Callable[[MaskFile], MaskFile] | None = None


@dataclass
class Listing:
    """What an indexer found.

    Attributes:
        name: short, fit for the name of a repository.
        root: folder to which names in messages are relative.
        items: the images with their truth.
        classes: class names as listed, or None if only the masks can tell. Of annotations those alone that have some, for nothing else can be learnt.
        listed: those and the ones without any annotation, in their order, where there are such: another tool's list stays whole.
        faults: what is wrong with the listing itself.
        notes: what was assumed.
        per_pixel: annotations give a class per pixel, not separate objects.
        things: which classes are of things, where there is stuff beside them; else None.
    """

    name: str
    root: Path
    items: list[Item] = field(default_factory=list)
    classes: ClassList | None = None
    listed: tuple[str, ...] = ()
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    per_pixel: bool = False
    things: tuple[bool, ...] | None = None

    def settle_test_split(self) -> None:
        """Uses a given ``test`` split for validation where no other is given, and leaves it out where one is."""
        tested = [item for item in self.items if item.split == "test"]
        if not tested:
            return
        if any(item.split == "val" for item in self.items):
            self.items = [item for item in self.items if item.split != "test"]
            self.notes.append(Message("data.test_not_used", count=len(tested)))
            return
        self.items = [replace(item, split="val") if item.split == "test" else item for item in self.items]
        self.notes.append(Message("data.test_as_validation", count=len(tested)))


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
        Message("findings.name_leaves_folder", name=name),
        Message("findings.list_paths_relative_to_the_file"),
        item=item,
    )


PER_KIND = 3
CLASS_ROWS = 16
NOTE_LINES = 8


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Attributes:
        name: of the dataset.
        kind: ``semantic`` or ``instance``.
        n_train: images to train on.
        n_val: images to validate on.
        sizes: (width, height) in pixels of the smallest, the middle and the largest image.
        classes: names by label id.
        class_pixels: labelled pixels per class in sound images; empty for built-in data and where masks are unclear.
        class_images: sound images that show each class; empty for built-in data and where masks are unclear.
        assumed: how the data was read where it did not say.
        faults: what stops a run.
        notes: what a person should know and a run survives.
    """

    name: str
    kind: str
    n_train: int
    n_val: int
    sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    classes: tuple[str, ...]
    class_pixels: tuple[int, ...]
    class_images: tuple[int, ...]
    assumed: tuple[str, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """Whether a run may start."""
        return not self.faults

    def report(self) -> str:
        """One screen of text: the data, its classes, what was assumed, and the first few findings of each kind."""
        small, middle, large = (f"{width} x {height}" for width, height in self.sizes)
        size = small if small == large else f"{small} to {large} (typically {middle})"
        lines = [
            f"Data {self.name}: {self.n_train} images to train, {self.n_val} to validate; {size} pixels; {self.kind} truth."
        ]
        lines += self._class_lines()
        lines += [f"  {note}" for note in self.assumed]
        if self.notes:
            lines += ["Worth knowing:", *_by_kind(self.notes, most=NOTE_LINES, each=1)]
        if self.faults:
            count = len(self.faults)
            lines += [
                f"{count} fault{'s' if count > 1 else ''} to correct:",
                *_by_kind(self.faults, most=None, each=PER_KIND),
            ]
            if any(fault.item for fault in self.faults):
                bad = len({fault.item for fault in self.faults if fault.item})
                lines.append(f"--skip-bad leaves out the {bad} image{'s' if bad > 1 else ''} concerned.")
        else:
            lines.append("No problems found.")
        return "\n".join(lines)

    def _class_lines(self) -> list[str]:
        if not self.class_pixels:
            return [f"Classes: {', '.join(self.classes)}."]
        total = max(1, sum(self.class_pixels))
        width = min(24, max(len(name) for name in self.classes))
        lines = [f"{len(self.classes)} classes:"]
        rows = list(zip(self.classes, self.class_pixels, self.class_images, strict=True))
        for label, (name, pixels, images) in enumerate(rows[:CLASS_ROWS]):
            lines.append(f"  {label:3d} {name[:width]:{width}s} {100 * pixels / total:6.2f} % of pixels, in {images} images")
        if len(rows) > CLASS_ROWS:
            lines.append(f"  ... and {len(rows) - CLASS_ROWS} more")
        return lines

    def to_dict(self) -> dict[str, object]:
        """The findings as JSON-able data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "images": {"train": self.n_train, "val": self.n_val},
            "sizes": {"smallest": list(self.sizes[0]), "median": list(self.sizes[1]), "largest": list(self.sizes[2])},
            "classes": [{"id": label, "name": name} | self._counts(label) for label, name in enumerate(self.classes)],
            "assumed": list(self.assumed),
            "faults": [asdict(fault) for fault in self.faults],
            "notes": [asdict(fault) for fault in self.notes],
        }

    def _counts(self, label: int) -> dict[str, int]:
        return {"pixels": self.class_pixels[label], "images": self.class_images[label]} if self.class_pixels else {}


def _by_kind(found: Sequence[Fault], most: int | None, each: int) -> list[str]:
    """Lines of findings, the first few of each kind; a remedy is said once where it is the same."""
    kinds: dict[str, list[Fault]] = defaultdict(list)
    for fault in found:
        kinds[fault.kind].append(fault)
    lines = []
    for kind, faults in list(kinds.items())[:most]:
        lines.append(f"  {kind}" + (f" ({len(faults)})" if len(faults) > 1 else ""))
        lines += [f"    {fault.file}: {fault.what}" for fault in faults[:each]]
        if len(faults) > each:
            lines.append(f"    ... and {len(faults) - each} more")
        lines.append(f"    -> {faults[0].remedy}")
        if faults[0].picture is not None:
            lines.append(f"    The readings are shown in {faults[0].picture}.")
        if faults[0].choices:
            lines.append(f'    A file masks.json in the data\'s folder says it too: {{"reading": "{faults[0].choices[0].reading}"}}')
    if most is not None and len(kinds) > most:
        lines.append(f"  ... and {len(kinds) - most} more kinds")
    return lines


EXIF_ORIENTATION = 0x0112
# How pixels as stored become upright, for the values of the EXIF tag that swap height and width.
TURNS = {
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),
}


def sideways(image: Path, size: tuple[int, int], truth: tuple[int, int]) -> int | None:
    """Whether truth was drawn on a photo as the camera stored it, so that it fits only once it is turned with the photo.

    Truth whose size fits is taken as upright: nothing in it could tell otherwise.

    Args:
        image: the photo's file.
        size: (height, width) of the upright photo in pixels.
        truth: (height, width) of the mask, or of the image as an annotation file states it.

    Returns:
        The photo's EXIF orientation, 5 to 8, or None.
    """
    if truth == size or truth[::-1] != size:
        return None
    value = _orientation(image)
    return value if value in TURNS else None


def unconfirmed(image: Path, truth: Path | None, size: tuple[int, int]) -> int | None:
    """Whether a photo is turned in a way that its size does not show, so that nothing tells how its mask was drawn.

    Args:
        image: the photo's file.
        truth: the mask's file, whose own EXIF orientation would tell, or None.
        size: (height, width) of the upright photo in pixels.

    Returns:
        The photo's EXIF orientation, 2 to 8, or None if it is upright or its size tells.
    """
    value = _orientation(image)
    shown = value in TURNS and size[0] != size[1]
    own = _orientation(truth) if truth is not None else 1
    return value if 2 <= value <= 8 and not shown and own == 1 else None


def _orientation(path: Path) -> int:
    """EXIF orientation of a file, 1 where there is none that can be read."""
    try:
        with Image.open(path) as opened:
            value = opened.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # Pillow's EXIF parser raises anything on bytes that are no EXIF; the pixels are good all the same
        return 1
    return value if isinstance(value, int) else 1


def turn(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as stored, made upright.

    Args:
        stored: (H, W) or (H, W, C).
        orientation: EXIF value from 5 to 8, as :func:`sideways` returns it.

    Returns:
        (W, H) or (W, H, C), contiguous.
    """
    return np.ascontiguousarray(TURNS[orientation](stored))


@dataclass(frozen=True)
class Sample:
    """An image with its labels, checked at construction.

    image: uint8 (H, W, 3), RGB, as a person sees it.
    label_map: uint8 or uint16 (H, W), a class id per pixel.
    instance_map: uint16 (H, W), 0 where there is no object and 1, 2, ... one number per object; None where the data has
        no objects.
    name: where the sample comes from, for messages.
    instance_labels: uint16 (N + 1,), the class id of each object by its number (entry 0 is unused); None where the label
        map under an object tells its class.
    hidden: uint16 (L, H, W), where objects overlap the numbers of those below the topmost one, layer by layer, 0 for none; the
        whole mask of object k is where the instance map or a layer is k. None where nothing overlaps.
    crowd: uint16 (H, W), 1 + class id where objects of a class are not separated (the label map ignores them), 0 elsewhere; None
        where there are none, or where they only count as ignored.
    values: (H, W, C) of any type, what a network of C channels sees of the file (:func:`seg_demo.inputs.planes.for_network`); None where that
        is the image.
    fractions: the values are float32, with 0 and 1 where the network's ranges have them.
    """

    image: np.ndarray
    label_map: np.ndarray
    instance_map: np.ndarray | None = None
    name: str = ""
    instance_labels: np.ndarray | None = None
    hidden: np.ndarray | None = None
    crowd: np.ndarray | None = None
    values: np.ndarray | None = None
    fractions: bool = False

    def __post_init__(self) -> None:
        _check(self.image, "image", (np.uint8,), "(H, W, 3)", self.name)
        if self.image.ndim != 3 or self.image.shape[2] != 3 or 0 in self.image.shape:
            raise ValueError(f"{self.name or 'sample'}: image has shape {self.image.shape}, expected (H, W, 3)")
        _check(self.label_map, "label_map", (np.uint8, np.uint16), "(H, W)", self.name)
        maps = {"label_map": self.label_map}
        if self.instance_map is not None:
            _check(self.instance_map, "instance_map", (np.uint16,), "(H, W)", self.name)
            maps["instance_map"] = self.instance_map
        if self.crowd is not None:
            _check(self.crowd, "crowd", (np.uint16,), "(H, W)", self.name)
            maps["crowd"] = self.crowd
        if self.values is not None:
            maps["values"] = self.values
        for what, array in maps.items():
            if array.shape[:2] != self.image.shape[:2]:
                raise ValueError(
                    f"{self.name or 'sample'}: {what} has shape {array.shape}, the image is {self.image.shape[:2]}"
                )
        if self.hidden is not None:
            _check(self.hidden, "hidden", (np.uint16,), "(L, H, W)", self.name)
            if self.instance_map is None or self.hidden.ndim != 3 or self.hidden.shape[1:] != self.instance_map.shape:
                raise ValueError(f"{self.name or 'sample'}: hidden has shape {self.hidden.shape}, expected layers of an instance map")
        if self.instance_labels is not None:
            _check(self.instance_labels, "instance_labels", (np.uint16,), "(N + 1,)", self.name)
            highest = -1 if self.instance_map is None else int(max(layer.max() for layer in self.layers))
            if self.instance_labels.ndim != 1 or not 0 <= highest < len(self.instance_labels):
                raise ValueError(
                    f"{self.name or 'sample'}: instance_labels has shape {self.instance_labels.shape}, "
                    f"the instance map goes up to {highest}"
                )

    @property
    def seen(self) -> np.ndarray:
        """(H, W, C): the values where there are some, else the image."""
        return self.image if self.values is None else self.values

    @property
    def picture(self) -> Picture:
        """What a model that takes the values predicts from."""
        count = self.seen.shape[2]
        return Picture(self.image, samples=self.values, channels=("",) * count, stack=Stack(), view=View(channels=tuple(range(count))))

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return sum(array.nbytes for array in (self.image, self.label_map, *self.layers, self.values) if array is not None)

    @property
    def layers(self) -> tuple[np.ndarray, ...]:
        """The instance map and what lies below it: uint16 (H, W) each; empty where the data has no objects."""
        below = () if self.hidden is None else tuple(self.hidden)
        return () if self.instance_map is None else (self.instance_map, *below)


def _check(array: object, what: str, dtypes: tuple[type, ...], shape: str, name: str) -> None:
    """Raises TypeError unless `array` is a numpy array of one of `dtypes`."""
    if not isinstance(array, np.ndarray) or array.dtype not in [np.dtype(d) for d in dtypes]:
        came = f"{type(array).__name__} {getattr(array, 'dtype', '')}".strip()
        wanted = " or ".join(np.dtype(d).name for d in dtypes)
        raise TypeError(f"{name or 'sample'}: {what} is {came}, expected a numpy array {wanted} {shape}")


CLASSES, OBJECTS, PIECES = "classes", "objects", "pieces"
OPAQUE, TRANSPARENT = "opaque", "transparent"
VOID_FIRST, VOID_LAST = "void-0", "void-255"
# Before the name of the class that 255 is, or before "ignore".
WHITE = "255="
WHITE_IGNORED = WHITE + "ignore"
READINGS = (CLASSES, OBJECTS, PIECES, OPAQUE, TRANSPARENT, VOID_FIRST, VOID_LAST)
DECISION = "masks.json"
# What is not the background, where nobody names it.
FOREGROUND = "foreground"
# Classes of which a picture is drawn where 255 may be any of them.
_MOST_CHOICES = 4


def decided_in(root: Path) -> str | None:
    """The reading that ``masks.json`` in a dataset's folder decides for, or None.

    Raises:
        DataError: the file is there and says nothing of the kind.
    """
    path = root / DECISION
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))
        found = said.get("reading") if isinstance(said, dict) else None
    except (ValueError, OSError, RecursionError):
        found = None
    if found not in READINGS and not str(found).startswith(WHITE):
        raise DataError("data.no_reading", path=path, example='{"reading": ...}', names=", ".join((*READINGS, WHITE + "CLASS")))
    return found


def black_alpha_fault() -> Fault:
    """The fault of shapes that are black with transparency round them, or transparent with black round them."""
    what = Message("findings.shape_in_transparency_alone")
    remedy = Message("findings.choose_opaque_or_transparent", opaque=OPAQUE, transparent=TRANSPARENT)
    choices = (Choice(OPAQUE, Message("findings.the_opaque_part_is_the_object")), Choice(TRANSPARENT, Message("findings.the_transparent_part_is_the_object")))
    return Fault("opaque or transparent", Message("findings.masks"), what, remedy, choices=choices)


def no_data_fault(name: str) -> Fault:
    """The fault of masks that hold nothing but one number and what their files mark as without data."""
    what, remedy = Message("findings.one_number_and_no_data"), Message("findings.choose_white_or_save_without_tag", reading=shlex.quote(WHITE + name), name=name)
    return Fault("0/255 masks", Message("findings.masks"), what, remedy, choices=(_white(name),))


def _white(name: str) -> Choice:
    return Choice(WHITE + name, Message("findings.white_is", name=name))


def white_fault(classes: ClassList, things: Sequence[str], nothing: str | None) -> Fault:
    """The fault of masks of 0 and 255 whose list names several classes.

    Args:
        classes: the list.
        things: those of its classes that 255 may be.
        nothing: the background's name in it, or None.
    """
    # Two names of which none is a background are 0 and 255 as likely as not.
    two = things if nothing is None and len(things) == 2 else (nothing, things[0])
    proposal = json.dumps({value: name for value, name in zip(("0", "255"), two, strict=True) if name is not None}, ensure_ascii=False)
    what = Message("findings.only_0_and_255_for_several_classes", file=classes.file, count=len(classes.names))
    remedy = Message("findings.choose_what_white_is", reading=shlex.quote(WHITE + things[0]), proposal=proposal)
    choices = tuple(_white(thing) for thing in things[:_MOST_CHOICES])
    return Fault("0/255 masks", classes.file, what, remedy, proposal=proposal, choices=choices)


def grey_fault(file: str, name: str, grey: int) -> Fault:
    """The fault of masks of black, one grey and white that come with one class.

    Args:
        file: where the class is named.
        name: of the class.
        grey: between 0 and 255.
    """
    white, ignored = Message("findings.white_is_and_grey_ignored", name=name, grey=grey), Message("findings.grey_is_and_white_ignored", name=name, grey=grey)
    remedy = Message("findings.choose_white_or_ignore", reading=shlex.quote(WHITE + name), means=white, other=WHITE_IGNORED, other_means=ignored)
    what = Message("findings.only_0_grey_and_255_for_one_class", file=file, grey=grey, name=name)
    return Fault("black, grey and white", file, what, remedy, choices=(Choice(WHITE + name, white), Choice(WHITE_IGNORED, ignored)))


def void_fault(classes: ClassList) -> Fault:
    """The fault of a list that begins with what is ignored, for masks that fit it either way."""
    void, first, second = classes.names[:3]
    last = classes.names[-1]
    what = Message("findings.void_first_or_without_number", void=void, last=last, first=first)
    remedy = Message("findings.choose_reading_of_void", void_first=VOID_FIRST, void=void, void_last=VOID_LAST, first=first, second=second)
    choices = (Choice(VOID_FIRST, Message("findings.void_is_0_first_is_1", void=void, first=first)), Choice(VOID_LAST, Message("findings.first_is_0_second_is_1", first=first, second=second)))
    return Fault("where numbers begin", classes.file, what, remedy, choices=choices)


def unclear_fault(most: int) -> Fault:
    """The fault of 16-bit masks whose numbers, up to ``most``, may be classes or objects."""
    what = Message("findings.sixteen_bits_without_class_list", most=most)
    remedy = Message("findings.write_classes_or_choose_objects")
    choices = (Choice(CLASSES, Message("findings.each_number_is_a_class")), Choice(OBJECTS, Message("findings.each_number_is_one_object")))
    return Fault("classes or objects", Message("findings.masks"), what, remedy, choices=choices)


def mixed_fault(file: str, name: str) -> Fault:
    """The fault of masks some of which hold 0 and 255 and the others 0 and 1.

    Args:
        file: where the class is named, or what the message is about.
        name: of the class.
    """
    what = Message("findings.some_255_some_1")
    white, ignored = Message("findings.white_is_too", name=name), Message("findings.white_is_ignored", name=name)
    remedy = Message("findings.save_alike_or_choose_meaning_of_255", name=name, reading=shlex.quote(WHITE + name), other=WHITE_IGNORED)
    return Fault("mixed masks", file, what, remedy, choices=(Choice(WHITE + name, white), Choice(WHITE_IGNORED, ignored)))


def is_panoptic(path: Path) -> bool:
    """Whether a JSON file is COCO's panoptic kind: segments are listed in it, whose pixels are in PNGs. Looks for the key alone."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b'"segments_info"') >= 0
    except (OSError, ValueError):  # an empty file has nothing to map
        return False


def panoptic_files(root: Path) -> list[tuple[Path, str | None]]:
    """Panoptic JSON files of a folder with their splits: in ``annotations/`` as COCO has them (``panoptic_train2017.json``), or in the folder."""
    found = [path for folder in (root, root / "annotations") for path in sorted(folder.glob("*.json")) if is_panoptic(path)]
    return [(path, _split_in(path.stem)) for path in found]


def _split_in(stem: str) -> str | None:
    words = "".join(letter if letter.isalpha() else " " for letter in stem.lower()).split()
    return next((SPLITS[word] for word in words if word in SPLITS), None)

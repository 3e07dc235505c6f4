"""DICOM series with a segmentation (SEG) or a structure set (RTSTRUCT) of them: each slice with what is marked on it. A slice is an image of
its own, or a frame of one.

A frame of a SEG and a contour belong to the slice that they name, else to the one in whose plane they lie. What is inside of a contour is
decided at the centres of pixels, and contours of one structure on one slice take each other's inside away, as structure sets draw holes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seg_demo.annotations.classes import ClassList
from seg_demo.annotations.listing import NOTE, CocoObject, Fault, Item, Listing, relative, short_name
from seg_demo.core.errors import DataError, Message, SegDemoError
from seg_demo.core.picture import View
from seg_demo.inputs.images import limits_of, read
from seg_demo.inputs.shapes import CENTRE, Outline, Shape, Stencil

# How far from a slice's plane, in millimetres, and from a grid, in pixels, what is marked on it may lie.
NEAR, NEAR_GRID = 0.05, 0.5
_SHOWN = 8
# An image and its frame, from 1; and what is known of it: its file, how it is looked at, and facts.
Place = tuple[str, int]
Slices = dict[Place, tuple[Path, View | None, dict[str, Any]]]


def is_dicom(path: Path) -> bool:
    """Whether a file begins as a DICOM does."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def list_dicom(root: Path, name: str) -> Listing | None:
    """Indexes a folder with DICOM series and what marks them; None if there is no SEG or RTSTRUCT in it.

    Args:
        root: the folder.
        name: of the dataset.

    Raises:
        DataError: what is marked there is on none of the slices.
    """
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith(".") and is_dicom(path)]
    if not files:
        return None
    from seg_demo.inputs import scientific  # ordinary photographs need none of it

    listing = Listing(short_name(name), root)
    images: Slices = {}
    marking: list[tuple[Path, dict[str, Any]]] = []
    for path in files:
        try:
            found = scientific.dicom_facts(path, limits_of(None, None, None))
        except SegDemoError as error:
            listing.faults.append(Fault("unreadable image", relative(path, root), error.message, Message("findings.replace_or_remove_dicom")))
            continue
        if found["kind"] != "image":
            marking.append((path, found))
        elif found["sop"]:
            several = len(found["frames"]) > 1
            for number, frame in enumerate(found["frames"]):
                images[found["sop"], number + 1] = path, View(**{found["axis"]: number}) if several else None, {**found, **frame}
    if not marking:
        return None
    names = sorted({label for _, found in marking for label in found["classes"].values()})
    objects: dict[Place, list[CocoObject]] = defaultdict(list)
    for path, found in marking:
        file, lost = relative(path, root), Counter()
        for place, label, shape in _frames(path, found, images, lost) if found["kind"] == "seg" else _contours(found, images, lost):
            objects[place].append(CocoObject(names.index(label) + 1, shape, False, file))
        for what, count in lost.items():
            listing.faults.append(Fault(f"marks {what.replace('_', ' ')}", file, Message(f"findings.{what}", count=count), Message("findings.give_the_marked_series")))
    if not objects:
        raise DataError("data.dicom_marks_nothing", path=root, marks=len(marking), slices=len(images))
    # A slice of a series that is marked elsewhere shows nothing; of a series that nobody marked nothing is known.
    series = {images[place][2]["series"] for place in objects}
    for place, (path, view, found) in images.items():
        if found["series"] in series:
            named = relative(path.with_suffix("") if path.suffix.lower() == ".dcm" else path, root)
            named += "" if view is None else f"-{place[1]:0{len(str(len(found['frames'])))}d}"
            listing.items.append(Item(named, path, annotations=tuple(objects[place]), stack=found["series"], view=view))
    if left := len(images) - len(listing.items):
        listing.faults.append(Fault("slices without marks", listing.root.name, Message("findings.series_not_marked", count=left), Message("findings.fine_if_not_of_the_data"), NOTE))
    listing.classes = ClassList(("background", *names), tuple(range(len(names) + 1)), (None,) * (len(names) + 1), relative(marking[0][0], root))
    shown = ", ".join(names[:_SHOWN])
    listing.notes.append(Message("data.dicom_understood", slices=len(listing.items), marks=len(marking), classes=len(names), names=shown))
    return listing


def _frames(path: Path, found: dict[str, Any], images: Slices, lost: Counter) -> Iterator[tuple[Place, str, Shape]]:
    """Slice, class and pixels of each frame of a SEG; those of no slice are counted."""
    for number, (segment, source, frame, position) in enumerate(found["frames"]):
        place = _slice_of(source, frame, position, found["series"], images)
        if place is None:
            lost["on_no_slice"] += 1
            continue
        slice_ = images[place][2]
        if slice_["size"] != found["size"] or (position and slice_["position"] and not _same_corner(position, slice_)):
            lost["on_another_grid"] += 1
            continue
        values = read(path, view=View(z=number) if len(found["frames"]) > 1 else View(), with_samples=True).samples
        if values is not None and (mask := values[..., 0] * 2 > found["most"]).any():
            yield place, found["classes"][segment], Stencil.of(mask)


def _contours(found: dict[str, Any], images: Slices, lost: Counter) -> Iterator[tuple[Place, str, Shape]]:
    """The same of the contours of a structure set, those of one structure on one slice together."""
    rings: dict[tuple[Place, int], list[tuple[float, ...]]] = defaultdict(list)
    for structure, source, frame, flat in found["contours"]:
        points = np.reshape(flat, (-1, 3)) if len(flat) >= 9 and len(flat) % 3 == 0 else np.zeros((0, 3))
        if not len(points) or not np.isfinite(points).all():
            lost["without_points"] += 1
            continue
        place = _slice_of(source, frame, points[0].tolist(), found["series"], images)
        if place is None or not all(images[place][2][name] for name in ("orientation", "spacing", "position")):
            lost["on_no_slice"] += 1
            continue
        pixels = _pixels(points, images[place][2])
        height, width = images[place][2]["size"]
        if pixels[:, 0].max() <= 0 or pixels[:, 1].max() <= 0 or pixels[:, 0].min() >= width or pixels[:, 1].min() >= height:
            lost["outside_of_slice"] += 1
            continue
        rings[place, structure].append(tuple(pixels.ravel().tolist()))
    for (place, structure), listed in rings.items():
        yield place, found["classes"].get(structure, str(structure)), Outline(tuple(listed), CENTRE)


def _slice_of(source: str | None, frame: int | None, position: list[float] | None, series: str | None, images: Slices) -> Place | None:
    """The slice that is named, else the one in whose plane a point lies."""
    named = source or "", frame or 1
    if named in images and (frame is not None or images[named][1] is None):
        return named
    if position is None:
        return None
    for place, (_, _, found) in images.items():
        if found["position"] and found["orientation"] and series in (None, found["series"]):
            normal = np.cross(found["orientation"][:3], found["orientation"][3:])
            if abs(float(np.dot(np.subtract(position, found["position"]), normal))) <= NEAR:
                return place
    return None


def _same_corner(position: list[float], found: dict[str, Any]) -> bool:
    """Whether a frame begins where its slice does."""
    step = min(found["spacing"] or (1.0,))
    return float(np.linalg.norm(np.subtract(position, found["position"]))) <= max(NEAR, NEAR_GRID * step)


def _pixels(points: np.ndarray, found: dict[str, Any]) -> np.ndarray:
    """Millimetres of a patient as x and y of pixels, whose corners are whole numbers: DICOM's position is the first pixel's centre."""
    along = np.reshape(found["orientation"], (2, 3))
    rows, columns = found["spacing"]
    return (points - found["position"]) @ along.T / (columns, rows) + 0.5

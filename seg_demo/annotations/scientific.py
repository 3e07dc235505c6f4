"""Annotations that say where they lie on Earth or in a patient, on the grid of the file that they are of.

**Rasters of the Earth** with GeoJSON, which is in degrees of WGS 84 (RFC 7946), or in what its ``crs`` member names (the format of 2008, which GDAL
and QGIS still write). A pixel belongs to a polygon if its centre does, as in GDAL's and rasterio's ``rasterize``.

**DICOM series** with a segmentation (SEG) or a structure set (RTSTRUCT) of them: each slice with what is marked on it. A slice is an image of
its own, or a frame of one. A frame of a SEG and a contour belong to the slice that they name, else to the one in whose plane they lie. What is
inside of a contour is decided at the centres of pixels, and contours of one structure on one slice take each other's inside away, as structure
sets draw holes.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seg_demo.annotations.classes import ClassList
from seg_demo.annotations.listing import NOTE, CocoObject, Fault, Item, Listing, relative, short_name
from seg_demo.annotations.readers import Marked, Reading, loaded, read_geojson
from seg_demo.core.errors import DataError, Message, SegDemoError
from seg_demo.core.picture import Georeference, View
from seg_demo.inputs.images import limits_of, read
from seg_demo.inputs.shapes import CENTRE, Outline, Shape, Stencil, Union

WGS84 = "EPSG:4326"
# Larger than any coordinate in metres or feet on Earth.
FARTHEST = 1e9
_OF_QUPATH = ('"objectType"', '"classification"')


def read_on_raster(path: Path, picture: Path, into: Reading) -> bool:
    """The areas of a GeoJSON in pixels of its raster, if that lies somewhere on Earth; not QuPath's, which are in pixels already.

    Args:
        path: the GeoJSON.
        picture: its image.
        into: gets what is read.

    Returns:
        Whether it was read.
    """
    try:
        data, raster = loaded(path), read(picture)
    except (SegDemoError, ValueError, OSError):
        return False  # whatever is wrong with either is said where it is read
    if raster.georeference is None or any(word in json.dumps(data)[:100_000] for word in _OF_QUPATH):
        return False
    first = len(into.pictures)
    read_geojson(path, into, farthest=FARTHEST)
    stated = data.get("crs") if isinstance(data, dict) else None
    for number in range(first, len(into.pictures)):
        marked = replace(into.pictures[number], size=raster.pixels.shape[:2])
        into.pictures[number] = _placed(marked, path, raster.georeference, stated, into)
    return True


def _placed(marked: Marked, path: Path, georeference: Georeference, stated: Any, into: Reading) -> Marked:
    """The same marks in pixels; those that lie elsewhere are counted, and a problem if all do."""
    corners = [_points(mark.shape) for mark in marked.marks]
    if not corners:
        return marked
    points = np.concatenate(corners)
    named = _crs_of(stated)
    if named is None:
        degrees = bool((np.abs(points[:, 0]) <= 360).all() and (np.abs(points[:, 1]) <= 90).all())
        named = WGS84 if degrees else georeference.crs
        into.dropped["crs_of_raster"] += not degrees
    if not georeference.crs:
        into.bad(path.name, "raster_without_crs", marked.image, crs=named or "?")
        return replace(marked, marks=())
    if named != georeference.crs:
        # Heavy, and of rasters alone.
        from seg_demo.inputs.scientific import reprojected

        points = reprojected(points, named, georeference.crs)
        if np.isnan(points).all():
            into.bad(path.name, "unknown_crs", marked.image, crs=named[:60], raster=georeference.crs[:60])
            return replace(marked, marks=())
        into.dropped["reprojected"] += 1
    a, b, c, d, e, f = georeference.affine
    pixels = np.linalg.solve(np.array([[a, b], [d, e]]), (points - [c, f]).T).T
    marks, at, away = [], 0, 0
    height, width = marked.size
    for mark, own in zip(marked.marks, corners, strict=True):
        there = pixels[at : at + len(own)]
        at += len(own)
        low, high = there.min(axis=0), there.max(axis=0)
        if not np.isfinite(there).all() or high.min() <= 0 or low[0] >= width or low[1] >= height:
            away += 1
        else:
            marks.append(replace(mark, shape=_with_points(mark.shape, there)))
    if away == len(corners):
        into.bad(path.name, "outside_raster", marked.image, count=away, crs=named[:60], raster=georeference.crs[:60])
    into.dropped["outside_raster"] += away if marks else 0
    return replace(marked, marks=tuple(marks))


def _crs_of(stated: Any) -> str | None:
    """``EPSG:n`` of a ``crs`` member, or what it names otherwise; None without one."""
    properties = stated.get("properties") if isinstance(stated, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str) or not name.strip():
        return None
    if re.search(r"CRS:?84$|CRS::?84$", name):
        return WGS84
    match = re.search(r"EPSG:(?:[\d.]*:)?(\d{4,6})$", name)
    return f"EPSG:{match[1]}" if match else name.strip()


def _points(shape: Shape) -> np.ndarray:
    """Corners of a shape that GeoJSON has, float64 (N, 2)."""
    parts = shape.parts if isinstance(shape, Union) else (shape,)
    return np.concatenate([np.array(ring, dtype=np.float64).reshape(-1, 2) for part in parts for ring in part.rings])


def _with_points(shape: Shape, points: np.ndarray) -> Shape:
    """The shape with other corners, in the order of :func:`_points`."""
    parts, made, at = shape.parts if isinstance(shape, Union) else (shape,), [], 0
    for part in parts:
        rings = []
        for ring in part.rings:
            count = len(ring) // 2
            rings.append(tuple(points[at : at + count].ravel().tolist()))
            at += count
        made.append(Outline(tuple(rings), part.rule))
    return made[0] if len(made) == 1 else Union(tuple(made))


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

"""Folders and files of annotation tools → items: YOLO segmentation, labelme, Label Studio, CVAT for images 1.1, QuPath's GeoJSON, ImageJ's ROIs, DICOM.

Which tool it is is seen from the files. Where those of two lie in one folder, a person has to choose. The files themselves are read by
:mod:`seg_demo.annotations.readers`; here they meet their images and become one list of classes: in the order of the tool's own list, else by the alphabet.

Annotations that say where they lie on Earth or in a patient come onto the grid of the file that they are of:

* **Rasters of the Earth** with GeoJSON, which is in degrees of WGS 84 (RFC 7946), or in what its ``crs`` member names (the format of 2008, which GDAL
  and QGIS still write). A pixel belongs to a polygon if its centre does, as in GDAL's and rasterio's ``rasterize``.
* **DICOM series** with a segmentation (SEG) or a structure set (RTSTRUCT) of them: each slice with what is marked on it. A slice is an image of
  its own, or a frame of one. A frame of a SEG and a contour belong to the slice that they name, else to the one in whose plane they lie. What is
  inside of a contour is decided at the centres of pixels, and contours of one structure on one slice take each other's inside away, as structure
  sets draw holes.
"""

from __future__ import annotations

import mmap
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seg_demo.annotations import readers
from seg_demo.annotations.classes import ClassList, find_classes, is_background, is_ignored
from seg_demo.annotations.coco import IGNORED, is_no_class
from seg_demo.annotations.file_names import FileFinder, OnePicture, SeveralFit, several_fit
from seg_demo.annotations.listing import IMAGE_SUFFIXES, NOTE, SPLITS, CocoObject, Fault, Item, Listing, relative, short_name
from seg_demo.annotations.readers import Mark, Marked, Reading, loaded, of_qupath, read_geojson
from seg_demo.core import DataError, Georeference, Message, SegDemoError, View
from seg_demo.inputs.images import limits_of, read
from seg_demo.inputs.shapes import CENTRE, Outline, Shape, Stencil, corners_of, holds_rois, with_corners

YOLO, LABELME, LABEL_STUDIO, CVAT, GEOJSON, IMAGEJ = "YOLO", "labelme", "Label Studio", "CVAT", "GeoJSON", "ImageJ"
_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
# Keys of a description's own, not within others, as in settings of trainings.
_KEYS = [re.compile(rb"(?:\A|\n)(?:\xef\xbb\xbf)?[\"']?(?:" + keys + rb")[\"']?[ \t]*:") for keys in (b"names", b"train|val")]
_SPLIT_KEYS = ("train", "val", "valid", "test")
_CONFIG = ("labeling_config.xml", "labelling_config.xml", "config.xml")
# How names of ROIs end after the picture's.
_ROI_ENDING = re.compile(r"[\s_.-]*(roi|rois|roiset|roi_?set)$", re.IGNORECASE)
_YOLO_LINE = re.compile(rb"\d+(\s+-?[\d.]+(e-?\d+)?){4,}")
_MOST_YAML, _MOST_LABELS = 1_000_000, 50_000_000
_SHOWN = 8
TOOL_SUFFIXES = frozenset({".yaml", ".yml", ".geojson", ".roi", ".zip", ".xml", ".json"})
Places = list[Path | None]


def kind_of(path: Path) -> str | None:
    """The tool that a file is of, by its name and what it begins with; None for any other file."""
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml") and (path.name.lower() in _YAML or _holds(path, _KEYS)):
        return YOLO
    if suffix == ".geojson":
        return GEOJSON
    if suffix == ".roi" or (suffix == ".zip" and (_ROI_ENDING.search(path.stem) or holds_rois(path))):
        return IMAGEJ
    if suffix == ".xml":
        return CVAT if _holds(path, [b"<annotations>", b"<image "]) or _holds(path, [b"<annotations>", b"<track "]) else None
    if suffix == ".json":
        if _holds(path, [b'"shapes"']) and (_holds(path, [b'"imagePath"']) or _holds(path, [b'"version"', b'"flags"'])):
            return LABELME
        if _holds(path, [b'"FeatureCollection"', b'"geometry"']):
            return GEOJSON
        if _begins_list(path):
            if _holds(path, [b'"Feature"', b'"geometry"']):
                return GEOJSON
            # The data stand behind the annotations, where a file may break off; the last is JSON-MIN's.
            if any(_holds(path, words) for words in ([b'"annotations"', b'"result"'], [b'"annotations"', b'"data"'], [b'"predictions"', b'"data"'], [b'"annotation_id"', b'labels"'])):
                return LABEL_STUDIO
    return None


def _holds(path: Path, words: Sequence[bytes | re.Pattern[bytes]]) -> bool:
    # An empty file has nothing to map.
    with suppress(OSError, ValueError), path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(content.find(word) >= 0 if isinstance(word, bytes) else word.search(content) is not None for word in words)
    return False


def _begins_list(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    return False


def list_tools(path: Path) -> Listing | None:
    """Indexes a folder, or a file, of an annotation tool; None if it is of none.

    Args:
        path: a folder; or a ``data.yaml``, an ``annotations.xml``, a JSON or GeoJSON file.

    Raises:
        DataError: files of two tools lie there, or nothing in them can be used.
    """
    root = path if path.is_dir() else path.parent
    if not (found := tools_in(path)):
        return None
    if len(found) > 1:
        raise _two_formats(path, found, root)
    (kind, files), = found.items()
    reading = Reading()
    listing = Listing(short_name((path if path.is_dir() else path.with_suffix("")).resolve().name), root)
    places = _READERS[kind](files, root, reading)
    _list(kind, reading, places, listing, files)
    named = {place for place in places if place is not None}
    beside = sorted(each for folder in {place.parent for place in named} for each in folder.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES and each not in named)
    if beside and kind != YOLO:
        listing.notes.append(Message("annotations.pictures_beside", count=len(beside), name=beside[0].name))
    return listing


def is_of_tool(path: Path) -> bool:
    """Whether :func:`list_for` reads a file or a folder."""
    return bool(tools_in(path)) or bool(_yolo_texts(path))


def list_for(path: Path, image: Path) -> Listing:
    """Indexes what a file, or a folder, says about one picture that lies elsewhere.

    Args:
        path: a file of an annotation tool, a text file of YOLO's, or a folder of such.
        image: the picture.

    Returns:
        A listing of that picture, or of none.

    Raises:
        DataError: as :func:`list_tools`.
    """
    root = path if path.is_dir() else path.parent
    if len(found := tools_in(path)) > 1:
        raise _two_formats(path, found, root)
    reading, only = Reading(), OnePicture(image)
    kind, files = next(iter(found.items()), (YOLO, []))
    if kind == YOLO:
        files = _yolo_texts_for(path, root, files, reading)
    elif kind == GEOJSON:
        for file in files:
            _geojson(file, reading, file.stem, image)
    elif kind == IMAGEJ:
        for file in files:
            readers.read_imagej(file, reading, _ROI_ENDING.sub("", file.stem))
    else:
        for file in files:
            {LABELME: readers.read_labelme, LABEL_STUDIO: readers.read_label_studio, CVAT: readers.read_cvat}[kind](file, reading)
    names = [picture.image for picture in reading.pictures]
    only.expect(names or [image.name])
    places = [only.find(name) for name in names]
    listing = Listing(short_name(image.stem), root)
    _list(kind, reading, places, listing, files)
    return listing


def _two_formats(path: Path, found: dict[str, list[Path]], root: Path) -> DataError:
    return DataError("annotations.two_formats", path=path, names=", ".join(f"{kind} ({relative(files[0], root)})" for kind, files in found.items()))


def _yolo_texts(path: Path) -> list[Path]:
    """Text files that begin with a class's number and shares."""
    texts = [path] if path.is_file() and path.suffix.lower() == ".txt" else sorted(path.rglob("*.txt")) if path.is_dir() else []
    return [text for text in texts if _YOLO_LINE.match(text.open("rb").read(200).lstrip())]


def _yolo_texts_for(path: Path, root: Path, files: list[Path], into: Reading) -> list[Path]:
    """Label files without their images, each named after one."""
    described = [file for file in files if file.is_file() and file.suffix.lower() in (".yaml", ".yml")]
    names = _yolo_names(_yaml_of(described[0]) if described else {}, root, path)
    into.classes = [names[number] for number in sorted(names)] or None
    texts = _yolo_texts(path)
    for text in texts:
        place = relative(text, root)
        into.pictures.append(Marked(text.stem, readers.yolo_marks(text.read_text(encoding="utf-8-sig", errors="replace"), names, place, text.stem, into)))
    return texts or files


def tools_in(path: Path) -> dict[str, list[Path]]:
    """The tools and their files, in the order of their names."""
    if path.is_file():
        kind = kind_of(path)
        return {} if kind is None else {kind: [path]}
    found: dict[str, list[Path]] = {}
    for each in sorted(each for each in path.rglob("*.*") if each.suffix.lower() in TOOL_SUFFIXES):
        if each.is_file() and not any(part.startswith((".", "__MACOSX")) for part in each.relative_to(path).parts) and (kind := kind_of(each)):
            found.setdefault(kind, []).append(each)
    if YOLO not in found and (labels := _label_folders(path)):
        found[YOLO] = labels
    return found


def _label_folders(root: Path) -> list[Path]:
    """Folders ``labels`` of text files beside ``images``, in the folder or in those of its splits."""
    folders = [root, *(child for child in sorted(root.iterdir()) if child.is_dir() and child.name.lower() in SPLITS)]
    pairs = [folder / "labels" for folder in folders if (folder / "images").is_dir() and (folder / "labels").is_dir()]
    return [labels for labels in pairs if any(labels.rglob("*.txt")) and not any(each.suffix.lower() in IMAGE_SUFFIXES for each in labels.rglob("*"))]


def _yolo(files: list[Path], root: Path, into: Reading) -> Places:
    """``data.yaml`` names folders of images, or lists of them; the labels lie where the path says ``labels`` instead of ``images``."""
    file, said = _described(files, root)
    names = _yolo_names(said, root, file)
    into.classes = [names[number] for number in sorted(names)] or None
    images: dict[Path, str | None] = {}
    # One list may be named for several splits; what it lacks is said once.
    images_of = lru_cache(None)(lambda entry: _images_of(entry, said.get("path"), root, into))
    for key in _SPLIT_KEYS:
        for entry in said.get(key) if isinstance(said.get(key), list) else [said.get(key)]:
            before, found = len(into.problems), images_of(entry) if isinstance(entry, str) else ()
            if key == "test" and not found:
                del into.problems[before:]  # COCO's list comes with the labels, and its pictures are another download, which training does not need
            for image in found:
                images.setdefault(image, SPLITS[key])
    if said.get("train") and said.get("train") == said.get("val"):
        images = dict.fromkeys(images)  # both are all of it: nobody has split the data
    if not images:
        for labels in files if files[0].is_dir() else _label_folders(root):
            split = SPLITS.get(labels.parent.name.lower())
            for image in _pictures(labels.parent / "images"):
                inner = image.relative_to(labels.parent / "images").parts[0].lower()
                images[image] = split or SPLITS.get(inner)
    if not images:
        raise DataError("annotations.no_images", path=root, format=YOLO)
    places: Places = []
    for image, split in images.items():
        name = relative(image, root)
        labels = _labels_of(image)
        marks: tuple[Mark, ...] = ()
        if labels is None or not labels.is_file():
            into.dropped["without_labels"] += 1
        elif labels.stat().st_size > _MOST_LABELS:
            into.bad(relative(labels, root), "too_large", name, megabytes=_MOST_LABELS / 1e6)
        else:
            marks = readers.yolo_marks(labels.read_text(encoding="utf-8-sig", errors="replace"), names, relative(labels, root), name, into)
        into.pictures.append(Marked(name, marks, split=split))
        places.append(image)
    _texts_alone(images, root, into)
    return places


def _texts_alone(images: Iterable[Path], root: Path, into: Reading) -> None:
    """Note the label files whose pictures are not there, unless a list has named those."""
    told = {re.split(r"[\\/]", problem.image)[-1].rpartition(".")[0] for problem in into.problems if problem.image is not None}
    for folder, beside in {labels.parent: image.parent for image in images if (labels := _labels_of(image)) is not None}.items():
        stems = {each.stem for each in beside.iterdir()}
        for text in sorted(folder.glob("*.txt")) if folder.is_dir() else ():
            if text.stem not in stems | told and _yolo_texts(text):
                into.bad(relative(text, root), "picture_missing", None, name=text.stem)


def _described(files: list[Path], root: Path) -> tuple[Path, dict[str, object]]:
    """The file that describes the data, and what it says; nothing where there is none.

    Raises:
        DataError: there are several, which do not say the same.
    """
    usual = [path for path in files if path.name.lower() in _YAML]
    found = [(path, _yaml_of(path)) for path in usual or files if path.is_file()]
    for path, said in found[1:]:
        if any(said.get(key) != found[0][1].get(key) for key in ("path", "names", *_SPLIT_KEYS)):
            raise DataError("annotations.two_descriptions", path=root, one=relative(found[0][0], root), other=relative(path, root))
    return found[0] if found else (files[0], {})


def _yaml_of(path: Path) -> dict[str, object]:
    """The content of a ``data.yaml``.

    Raises:
        DataError: it is none.
    """
    try:
        # Words as they stand there, but for nothing: to YAML, a class called no is false, and one called 007 is 7.
        said = yaml.load(path.read_bytes()[:_MOST_YAML].decode("utf-8-sig"), Loader=yaml.BaseLoader)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError("annotations.bad_yaml", path=path, why=" ".join(str(error).split())[:160]) from error
    if not isinstance(said, dict):
        raise DataError("annotations.bad_yaml", path=path, why=type(said).__name__)
    return {key: None if value in ("", "~", "null", "Null", "NULL") else value for key, value in said.items()}


def _yolo_names(said: dict[str, object], root: Path, file: Path) -> dict[int, str]:
    given = said.get("names")
    given = dict(enumerate(given)) if isinstance(given, list) else given
    if isinstance(given, dict) and all(str(key).isdigit() for key in given):
        # Of a sign beyond 16 bits JSON writes both halves, which YAML does not join.
        return {int(key): str(name).encode("utf-16", "surrogatepass").decode("utf-16", "replace") for key, name in given.items()}
    if given is not None:
        raise DataError("annotations.bad_yaml", path=file, why="names")
    listed = find_classes(root)
    return {} if listed is None else dict(zip(listed.values or range(len(listed.names)), listed.names, strict=False))


def _images_of(entry: str, base: object, root: Path, into: Reading) -> Iterable[Path]:
    """The images that an entry of ``data.yaml`` means: a folder or a list, wherever the file was written. What a list names and is not there is noted."""
    bases = [root, *([root / str(base)] if isinstance(base, str) and not Path(base).is_absolute() else [])]
    plain = [part for part in re.split(r"[\\/]", entry) if part not in ("", ".", "..")]
    for folder in bases:
        for skipped in range(len(plain)):
            place = folder.joinpath(*plain[skipped:])
            if place.is_dir() and place.resolve().is_relative_to(root.resolve()):
                return _pictures(place)
            if place.is_file() and place.suffix.lower() == ".txt":
                finder = FileFinder([root, place.parent])
                lines = place.read_text(encoding="utf-8-sig", errors="replace").splitlines()
                found = [_find(finder, line.strip(), place, into) for line in lines if line.strip()]
                return [each for each in found if each is not None]
    return ()


def _pictures(folder: Path) -> list[Path]:
    return [each for each in sorted(folder.rglob("*")) if each.suffix.lower() in IMAGE_SUFFIXES and each.is_file()] if folder.is_dir() else []


def _labels_of(image: Path) -> Path | None:
    parts = list(image.parts)
    at = next((index for index in range(len(parts) - 2, -1, -1) if parts[index].lower() == "images"), None)
    if at is None:
        return image.with_suffix(".txt")
    parts[at] = "labels"
    return Path(*parts).with_suffix(".txt")


def _per_file(read: Callable[[Path, Reading], None], finding: Callable[[Path, Path], Sequence[Path]]) -> Callable[[list[Path], Path, Reading], Places]:
    """A reader of files that name their pictures."""

    def of_files(files: list[Path], root: Path, into: Reading) -> Places:
        places: Places = []
        # One for all files of a folder: it remembers what lies where.
        finders: dict[Path, FileFinder] = {}
        for path in files:
            before = len(into.pictures)
            read(path, into)
            finder = finders.setdefault(path.parent, FileFinder(finding(path, root)))
            for picture in into.pictures[before:]:
                places.append(_find(finder, picture.image, path, into))
        return places

    return of_files


def _find(finder: FileFinder, image: str, path: Path, into: Reading) -> Path | None:
    try:
        found = finder.find(image)
    except SeveralFit as several:
        into.problems.append(readers.Problem(path.name, several_fit(image, several.files, path.name, None).what, image))
        return None
    # A file that was renamed together with its picture still says the old name.
    beside = [path.with_suffix(suffix) for suffix in (".png", ".jpg", ".jpeg", ".tif", ".tiff")] if found is None and path.suffix == ".json" else []
    found = found or next((each for each in beside if each.is_file()), None)
    if found is None:
        into.bad(path.name, "picture_missing", image, name=image[:120])
    return found


def _near(path: Path, root: Path) -> Sequence[Path]:
    split = path.parent.name
    return [path.parent, path.parent / "images", path.parent.parent / "images", path.parent.parent / "images" / split, root / "images", root]


def _by_name(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by what files of annotations may be called after them; of several, the first."""
    pictures = [each for each in sorted(folder.iterdir()) if each.suffix.lower() in IMAGE_SUFFIXES] if folder.is_dir() else []
    return {name: each for each in reversed(pictures) for name in (each.name, each.stem, each.stem.removesuffix(".ome"))}


def _by_stem(read: Callable[[Path, Reading, str, Path | None], None], ending: re.Pattern[str] | None) -> Callable[[list[Path], Path, Reading], Places]:
    """A reader of files that are named after their pictures."""

    def of_files(files: list[Path], root: Path, into: Reading) -> Places:
        places: Places = []
        named = lru_cache(None)(_by_name)
        for path in files:
            stem = ending.sub("", path.stem) if ending is not None else path.stem
            near = [named(folder) for folder in dict.fromkeys(_near(path, root))]
            picture = next((pictures[stem] for pictures in near if stem in pictures), None)
            if picture is None and not stem and len(only := {each for pictures in near for each in pictures.values()}) == 1:
                picture = only.pop()
                into.dropped["only_picture"] += 1
            image = relative(picture, root) if picture is not None else stem
            before = len(into.pictures)
            read(path, into, image, picture)
            if picture is None:
                into.bad(relative(path, root), "picture_missing" if stem else "named_after_none", image, name=stem[:120] or path.name)
            places += [picture] * (len(into.pictures) - before)
        return places

    return of_files


def _geojson(path: Path, into: Reading, image: str, picture: Path | None) -> None:
    before = len(into.pictures), len(into.problems)
    if picture is None or not read_on_raster(path, picture, into):
        readers.read_geojson(path, into)
    into.pictures[before[0] :] = [Marked(image, each.marks, each.size) for each in into.pictures[before[0] :]]
    into.problems[before[1] :] = [readers.Problem(each.where, each.what, each.image and image) for each in into.problems[before[1] :]]


_READERS: dict[str, Callable[[list[Path], Path, Reading], Places]] = {
    YOLO: _yolo,
    LABELME: _per_file(readers.read_labelme, _near),
    LABEL_STUDIO: _per_file(readers.read_label_studio, _near),
    CVAT: _per_file(readers.read_cvat, _near),
    GEOJSON: _by_stem(_geojson, None),
    IMAGEJ: _by_stem(lambda path, into, image, picture: readers.read_imagej(path, into, image), _ROI_ENDING),
}


def _config_classes(root: Path) -> list[str] | None:
    """The labels of a Label Studio labelling configuration beside the tasks."""
    for name in _CONFIG:
        path = root / name
        if path.is_file() and path.stat().st_size < _MOST_YAML and (found := readers.studio_classes(path)) is not None:
            return found
    return None


def _list(kind: str, reading: Reading, places: Places, listing: Listing, files: list[Path]) -> None:
    """Items, classes, notes and faults of what was read."""
    root = listing.root
    file = relative(files[0], root)
    listed = reading.classes
    if kind == LABEL_STUDIO:
        listed = _config_classes(root)
    elif kind == LABELME and (given := find_classes(root)) is not None:
        listed = [name for name in given.names if not (is_ignored(name) or is_background(name))]
    used = Counter(mark.label for picture in reading.pictures for mark in picture.marks)
    if not used:
        for problem in reading.problems[:1]:
            raise DataError("annotations.nothing_read", path=root / file, format=kind, where=problem.where, what=problem.what)
        raise DataError("annotations.no_objects", path=root / file, format=kind)
    classes = [name for name in (listed or sorted(used)) if name in used and not is_no_class(name)]
    unlisted = [] if listed is None else [name for name in sorted(used) if name not in listed and not is_no_class(name)]
    if not classes and not unlisted:
        raise DataError("annotations.no_objects", path=root / file, format=kind)
    labels = {name: label for label, name in enumerate(classes, start=1)}
    names: dict[str, str] = {}
    taken: dict[Path, str] = {}
    for picture, image in zip(reading.pictures, places, strict=True):
        if image is None:
            continue
        name = relative(image.with_suffix(""), root)
        names[picture.image] = name
        if image in taken:
            listing.faults.append(Fault("duplicate image", file, Message("annotations.picture_twice", name=taken[image]), Message("findings.list_each_image_once_with_all"), item=name))
            continue
        taken[image] = name
        objects = []
        for mark in picture.marks:
            if mark.label in unlisted:
                what = Message("annotations.unlisted_class", name=mark.label[:60])
                listing.faults.append(Fault("class without a place", mark.where, what, Message("annotations.correct_or_remove"), item=name))
                continue
            label = labels.get(mark.label, IGNORED if is_ignored(mark.label) else 0)
            objects.append(CocoObject(max(label, 0), mark.shape, label == IGNORED, mark.where, mark.order, mark.plane))
        split = SPLITS.get(picture.split or "")
        listing.items.append(Item(name, image, annotations=tuple(objects), split=split, declared=picture.size))
    for problem in reading.problems:
        item = names.get(problem.image) if problem.image is not None else None
        listing.faults.append(Fault("unreadable annotation", problem.where, problem.what, Message("annotations.correct_or_remove"), item=item))
    listing.classes = ClassList(("background", *classes), tuple(range(len(classes) + 1)), (None,) * (len(classes) + 1), file)
    shown = ", ".join(classes[:_SHOWN]) + (f" and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else "")
    listing.notes.append(Message("annotations.understood", format=kind, file=file, pictures=len(reading.pictures), objects=sum(used.values()), classes=len(classes), names=shown))
    empty = [name for name in listed or () if name not in used and not is_no_class(name)]
    if empty:
        listing.listed = ("background", *(name for name in listed if not is_no_class(name)))
        listing.notes.append(Message("coco.empty_categories", names=", ".join(empty[:_SHOWN]) + (f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else "")))
    listing.notes += [Message(f"dropped.{what}", count=count) for what, count in reading.dropped.items() if count]
    if listing.items and not any(item.annotations for item in listing.items):
        listing.faults.append(Fault("no objects", file, Message("annotations.none_fits"), Message("annotations.correct_or_remove"), NOTE))
    listing.settle_test_split()


WGS84 = "EPSG:4326"
# Larger than any coordinate in metres or feet on Earth.
FARTHEST = 1e9


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
    if raster.georeference is None or of_qupath(data):
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
    corners = [corners_of(mark.shape) for mark in marked.marks]
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
            marks.append(replace(mark, shape=with_corners(mark.shape, there)))
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


# How far from a slice's plane, in millimetres, and from a grid, in pixels, what is marked on it may lie.
NEAR, NEAR_GRID = 0.05, 0.5
# An image and its frame, from 1; and what is known of it: its file, how it is looked at, and facts.
Place = tuple[str, int]
Slices = dict[Place, tuple[Path, View | None, dict[str, Any]]]


def is_dicom(path: Path) -> bool:
    """Whether a file begins as a DICOM does."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
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
        if values is not None and (mask := values[..., 0].astype(np.uint16) * 2 > found["most"]).any():
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

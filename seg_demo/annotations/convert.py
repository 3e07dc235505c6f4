"""Annotations of one tool → those of another: ``python -m seg_demo convert ANNOTATIONS --to FORMAT --out DIR``.

Everything that training reads (``--data``) is understood, picture by picture, so that memory holds one of them. Outlines are drawn by the rule of the tool
that wrote them, and written by that of the one that shall read them. What the other format cannot hold is counted and said; a picture that cannot be
read is named, and the rest goes on.

Exit codes: 0 everything converted; 1 some pictures were left out; 2 nothing was written, and why.

Annotated pictures of any source, one after the other (:func:`pictures_of`), as :class:`~seg_demo.outputs.interchange.Annotated`, are also what data
sets take in; and what a file says about one picture that lies elsewhere (:func:`found_on`) is how a correction begins.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import orjson
from tqdm import tqdm

from seg_demo.annotations.coco import BadAnnotation, draw_item, is_coco, list_coco, segment_of
from seg_demo.annotations.dataset import Dataset, as_objects, labels_for, list_source, open_annotated
from seg_demo.annotations.file_names import OnePicture
from seg_demo.annotations.listing import EXIF_ORIENTATION, IMAGE_SUFFIXES, TURNS, Item, Listing, is_panoptic
from seg_demo.annotations.other_tools import is_of_tool, list_for
from seg_demo.core import (
    ALL, BACKGROUND, IGNORE_16, INSTANCE, PANOPTIC, SEMANTIC, TASKS, BadRequestError, DataError, LabelSet, Message, Picture, SegDemoError, Segment,
    Segmentation, View, extents, ignore_id, paint, semantic_segmentation,
)
from seg_demo.core.settings import settings
from seg_demo.inputs.archives import unpack
from seg_demo.inputs.images import decode
from seg_demo.outputs import export
from seg_demo.outputs.draw import encode_png, viewer_id_png
from seg_demo.outputs.interchange import FORMATS, Annotated, DataSet, Format, classes_of, loss_sentences

# Of files of annotation tools, beside pictures.
SUFFIXES = frozenset({".json", ".xml", ".geojson", ".txt", ".yaml", ".yml", ".roi", ".csv", ".jsonl", ".zip"})
# What the editor takes for annotations rather than a mask; Cellpose's arrays are named in words.
ONE = frozenset({".json", ".xml", ".geojson", ".txt", ".roi", ".zip"})


def pictures_of(source: str, fits: Callable[[Sequence[str]], bool] | None = None) -> Drawn | Read:
    """What lies at a source.

    Args:
        source: as :func:`seg_demo.annotations.dataset.open_annotated` takes it.
        fits: as for :class:`Drawn`.

    Raises:
        DataError: there is nothing, or it cannot be understood.
    """
    listing = list_source(source)
    drawn = bool(listing.items) and listing.things is None and all(item.annotations is not None for item in listing.items)
    return Drawn(listing, fits=fits) if drawn else Read(source)


def _file_of(item: Item) -> str:
    """What a picture is called in the new data set: without the folders in which the old one kept its pictures and splits."""
    suffix = "" if item.image is None else item.image.suffix
    parts = [part for part in PurePosixPath(item.name).parts if part not in ("/", "..")]
    while len(parts) > 1 and parts[0].lower() in ("images", "image", "imgs", "jpegimages", "train", "val", "valid", "test"):
        parts = parts[1:]
    name = "/".join(parts)
    return name if suffix and name.lower().endswith(suffix.lower()) else name + suffix


class _Names:
    """Names of pictures that are unique in the new data set."""

    def __init__(self, items: Sequence[Item]) -> None:
        short = [_file_of(item) for item in items]
        stems = [PurePosixPath(name).with_suffix("").as_posix().casefold() for name in short]
        taken = {stem for stem, count in Counter(stems).items() if count == 1}
        self._names = {}
        for item, name, stem in zip(items, short, stems, strict=True):
            if stem not in taken:
                # All that was left out, and the suffix within the stem. Names that differ in case alone are one on other systems.
                suffix = "" if item.image is None else item.image.suffix
                number, free = 1, item.name.replace("/", "_")
                while free.casefold() in taken:
                    number += 1
                    free = f"{item.name.replace('/', '_')}-{number}"
                taken.add(free.casefold())
                name = free + suffix
            self._names[item.name] = name

    def __getitem__(self, item: Item) -> str:
        return self._names[item.name]


class _Unpainted(Segmentation):
    """Objects of one picture; their id map is painted when it is asked for, which outlines and run lengths are not."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.segments))
        if self.__dict__["id_map"] is None:
            del self.__dict__["id_map"]

    @cached_property
    def id_map(self) -> np.ndarray:
        """uint8 or uint16 (height, width), see :func:`paint`."""
        return paint(self.segments, self.height, self.width)


class Drawn:
    """Pictures whose files list marks: nothing is decoded but their sizes.

    Args:
        listing: of such items.
        lenient: marks that cannot be drawn are left out of their pictures, instead of the pictures.
        fits: whether the whole list of classes can be had where the pictures go. Otherwise, or without it, there are those alone that some mark has:
            a data set with one that never occurs cannot be learnt from.
    """

    def __init__(self, listing: Listing, lenient: bool = False, fits: Callable[[Sequence[str]], bool] | None = None) -> None:
        self._lenient = lenient
        whole = bool(listing.listed) and fits is not None and fits(listing.listed)
        names = listing.listed if whole else listing.classes.names
        self.items = listing.items
        self.notes = [note for note in listing.notes if not (whole and note.key == "coco.empty_categories")]
        self.task = SEMANTIC.name if listing.per_pixel else INSTANCE.name
        self.labels = LabelSet.from_names(names, 0)
        self._numbers = [names.index(name) for name in listing.classes.names] if whole else None
        bad = {fault.item for fault in listing.faults if fault.severity == "fault" and fault.item is not None}
        self.failed = [(fault.file, fault.what) for fault in listing.faults if fault.severity == "fault"]
        self.items = [item for item in self.items if item.name not in bad]
        self._files = _Names(self.items)

    def annotated(self, item: Item) -> Annotated:
        """One picture.

        Raises:
            BadAnnotation: a mark that cannot be drawn.
            SegDemoError: a picture that cannot be read.
        """
        height, width = decode(item.image).shape[:2] if item.declared is None else _upright(item)
        if self._numbers is not None:
            item = dataclasses.replace(item, annotations=tuple(dataclasses.replace(thing, label_id=self._numbers[thing.label_id]) for thing in item.annotations))
        if self.task == SEMANTIC.name or item.declared not in (None, (height, width)):
            return self._of_maps(item, height, width)
        found, crowds, void = [], [], None
        for thing in item.annotations:
            try:
                segment = segment_of(thing, height, width)
            except BadAnnotation as problem:
                if not self._lenient:
                    raise
                self.failed.append((problem.file, problem.what))
                continue
            if thing.crowd:
                void = np.zeros((height, width), dtype=bool) if void is None else void
                x0, y0, x1, y1 = segment.box
                void[y0:y1, x0:x1] |= segment.mask
                if thing.label_id:
                    crowds.append(segment)
            elif thing.label_id:
                found.append((-thing.order, segment.area, len(found), segment))
        # What lies on top comes first.
        return dataclasses.replace(self._of(item, [segment for *_, segment in sorted(found)], void, height, width), crowds=tuple(crowds))

    def _of(self, item: Item, segments: list[Segment], void: np.ndarray | None, height: int, width: int) -> Annotated:
        if len(segments) > IGNORE_16 - 1:
            raise DataError("convert.too_many_objects", name=item.name, count=len(segments))
        return Annotated(self._files[item], _Unpainted(INSTANCE.name, height, width, self.labels, None, segments), item.split, void)

    def _of_maps(self, item: Item, height: int, width: int) -> Annotated:
        """As they are drawn for training: a class per pixel, or a photo that was annotated before it was turned upright."""
        drawn, _ = draw_item(item, height, width)
        if drawn.problems:
            raise drawn.problems[0]
        void = drawn.label_map == IGNORE_16
        if self.task == SEMANTIC.name:
            id_map = np.where(void, 0, drawn.label_map)
            found = semantic_segmentation(id_map.astype(np.uint8 if len(self.labels) < 256 else np.uint16), self.labels)
            return Annotated(self._files[item], found, item.split, void if void.any() else None)
        layers = (drawn.instance_map, *(() if drawn.hidden is None else drawn.hidden))
        return self._of(item, _segments(layers, drawn.instance_labels), void if void.any() else None, height, width)


def _upright(item: Item) -> tuple[int, int]:
    """(height, width) of a picture as it is seen; as its file of annotations says where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(item.image) as image:
            # Pillow decodes a PNG to look for EXIF behind its pixels, where hardly any has it.
            exif = Image.Image.getexif(image) if image.format == "PNG" and not _goes_on(item.image) else image.getexif()
            return image.size if exif.get(EXIF_ORIENTATION, 1) in TURNS else image.size[::-1]
    except (OSError, ValueError, SyntaxError):
        return item.declared


def _goes_on(png: Path) -> bool:
    """Whether chunks of a PNG follow its pixels (PNG specification, 5.3), or it breaks off."""
    with png.open("rb") as file:
        file.seek(8)
        pixels = False
        while len(head := file.read(8)) == 8:
            kind = head[4:]
            if kind == b"IEND" or (pixels and kind != b"IDAT"):
                return kind != b"IEND"
            pixels |= kind == b"IDAT"
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return True


def _segments(layers: Sequence[np.ndarray], labels: np.ndarray) -> list[Segment]:
    """The objects of maps: those on top first (smaller ones, which are drawn last)."""
    from scipy import ndimage

    places: dict[int, list[tuple[slice, slice]]] = {}
    for layer in layers:
        for number, place in enumerate(ndimage.find_objects(layer.astype(np.int32)), start=1):
            if place is not None:
                places.setdefault(number, []).append(place)
    segments = []
    for number in sorted(places, reverse=True):
        y0, x0 = (min(place[axis].start for place in places[number]) for axis in (0, 1))
        y1, x1 = (max(place[axis].stop for place in places[number]) for axis in (0, 1))
        mask = np.zeros((y1 - y0, x1 - x0), dtype=bool)
        for layer in layers:
            mask |= layer[y0:y1, x0:x1] == number
        segments.append(Segment(int(labels[number]), None, (x0, y0, x1, y1), mask))
    return segments


class Read:
    """Pictures whose truth are masks: read as for training, once to know what the numbers mean and once to convert.

    Args:
        source: as for ``--data``.
    """

    def __init__(self, source: str) -> None:
        self._data: Dataset = open_annotated(source, workers=2)
        if self._data.unclear:
            fault = self._data.unclear[0]
            raise DataError("convert.unclear", file=fault.file, what=fault.what, remedy=fault.remedy)
        faults = [*self._data.faults, *(fault for scan in self._data.scans.values() for fault in scan.faults)]
        self.failed = [(fault.file, fault.what) for fault in faults if fault.severity == "fault"]
        bad = {fault.item for fault in faults if fault.severity == "fault" and fault.item is not None}
        self.items = [item for item in self._data.items if item.name not in bad]
        self.notes, self.task = self._data.notes, self._data.kind
        self.labels = labels_for(self._data, self.task)
        if self.labels.background is None and self.task == SEMANTIC.name:
            # Pixels that count for nothing need a place that is no class.
            names = (*self.labels.names, BACKGROUND)
            self.labels = LabelSet(names, np.concatenate([self.labels.colors, np.zeros((1, 3), np.uint8)]), len(names) - 1)
        self._files = _Names(self.items)

    def annotated(self, item: Item) -> Annotated:
        """One picture.

        Raises:
            SegDemoError: a file that cannot be read.
        """
        sample = self._data.read(item)
        void = sample.label_map == ignore_id(sample.label_map.dtype)
        height, width = void.shape
        if self.task == SEMANTIC.name:
            found = semantic_segmentation(np.where(void, self.labels.background, sample.label_map).astype(sample.label_map.dtype), self.labels)
        else:
            sample = as_objects(sample, self._data, self.task)
            segments = _segments(sample.layers, sample.instance_labels)
            if self.task == PANOPTIC.name:
                found = self._panoptic(sample.label_map, segments, void)
            else:
                found = Segmentation(self.task, height, width, self.labels, paint(segments, height, width), tuple(segments))
                void &= found.id_map == 0
        return Annotated(self._files[item], found, item.split, void if void.any() else None)

    def _panoptic(self, label_map: np.ndarray, things: list[Segment], void: np.ndarray) -> Segmentation:
        """Things one by one, then every class of stuff."""
        height, width = label_map.shape
        stuff = np.where(void | (paint(things, height, width) > 0), ignore_id(label_map.dtype), label_map)
        pixels, boxes = extents(stuff)
        segments = list(things)
        for label in np.flatnonzero(pixels).tolist():
            if label < len(self.labels) and not self.labels.is_thing(label):
                x0, y0, x1, y1 = boxes[label].tolist()
                segments.append(Segment(label, None, (x0, y0, x1, y1), stuff[y0:y1, x0:x1] == label))
        id_map = paint(segments, height, width)
        return Segmentation(PANOPTIC.name, height, width, self.labels, id_map, tuple(dataclasses.replace(each, mask=None) for each in segments))


def is_annotations(path: Path) -> bool:
    """Whether a file is one of annotations, by its name: anything but a picture or an array.

    Raises:
        DataError: Cellpose's arrays, which are pickles.
    """
    if path.name.lower().endswith("_seg.npy"):
        raise DataError("annotations.seg_npy")
    return path.suffix.lower() in ONE


def found_on(path: Path, image: Path, size: tuple[int, int], shown: Picture | None = None) -> tuple[Annotated, tuple[Message, ...]]:
    """What a file of annotations says about one picture that lies elsewhere; marks that cannot be read are left out.

    The picture is told by its name; a file that is about one picture is about this one, whatever it calls it.

    Args:
        path: of a tool's file, of COCO's JSON, of a text file of YOLO's, or of a zip of such.
        image: the picture.
        size: (height, width) of the upright picture.
        shown: the plane of a stack that is looked at: what was drawn on others is not on it.

    Returns:
        The picture with its objects, and what is to know about how the file was read.

    Raises:
        DataError: it is no such file, or it is about other pictures.
    """
    with tempfile.TemporaryDirectory(prefix="seg-demo-annotations-") as folder:
        listing = _listing_on(path, image, Path(folder))
        if not listing.items:
            raise DataError("annotations.not_about_this", file=path.name, name=image.name)
        notes = [note for note in listing.notes if note.key.startswith(("annotations.", "dropped.", "coco.crowds", "coco.class_per"))]
        item = listing.items[0]
        if shown is not None and shown.stack is not None and shown.view is not None and item.annotations:
            planes = View(page=ALL).each(shown.stack)
            at = planes.index(View(shown.view.page or 0, shown.view.z or 0, shown.view.t or 0))
            here = tuple(mark for mark in item.annotations if len(planes) == 1 or (places := mark.places(planes)) is None or at in places)
            if elsewhere := len(item.annotations) - len(here):
                notes.append(Message("annotations.other_planes", count=elsewhere))
            item = dataclasses.replace(item, annotations=here)
        bad = [fault for fault in listing.faults if fault.severity == "fault" and fault.item == item.name]
        pictures = Drawn(dataclasses.replace(listing, faults=[]), lenient=True)
        try:
            one = pictures.annotated(dataclasses.replace(item, declared=item.declared or size))
        except BadAnnotation as problem:
            raise DataError("data.bad_annotation", what=problem) from problem
        left = [*((fault.file, fault.what) for fault in bad), *pictures.failed]
        if left:
            notes.append(Message("annotations.left_out", count=len(left), where=left[0][0], what=left[0][1]))
        return one, tuple(notes)


def _listing_on(path: Path, image: Path, folder: Path) -> Listing:
    """The listing of what a file says about a picture; a zip is unpacked into the folder."""
    source = path
    if path.suffix.lower() == ".zip":
        wanted = (SUFFIXES | IMAGE_SUFFIXES) - {".zip"}
        files = unpack(path, folder, max_files=settings().max_batch_files, max_bytes=settings().max_batch_bytes, suffixes=wanted).files
        source = path if any(file.suffix.lower() == ".roi" for file in files) else folder
    if is_of_tool(source):
        return list_for(source, image)
    files = [source] if source.is_file() else sorted(source.rglob("*.json"))
    for file in files:
        if is_coco(file):
            return list_coco([(file, None)], file.name, file.parent, OnePicture(image))
        if is_panoptic(file):
            raise DataError("annotations.open_the_png", file=file.name)
    raise DataError("annotations.not_known", file=path.name)


DONE, SOME_FAILED, NOTHING_WRITTEN = 0, 1, 2
# How many pictures that were left out are named one by one.
_NAMED = 20


class Coco(Format):
    """COCO's JSON of objects, one per split, masks as run lengths."""

    name = "coco"
    lacks = frozenset({"uncrowded"})

    def __init__(self, labels: LabelSet) -> None:
        super().__init__(labels)
        self._images: dict[str, list[dict[str, object]]] = {}
        self._count, self._task = 0, INSTANCE.name

    def files(self, one: Annotated) -> dict[str, bytes]:
        result = one.segmentation
        self._task = result.task
        split = one.split or "default"
        images = self._images.setdefault(split, [])
        images.append({"id": len(images) + 1, "file_name": one.file, "width": result.width, "height": result.height})
        annotations = export.coco(result, one.file)["annotations"]
        for crowd in one.crowds:
            x0, y0, x1, y1 = crowd.box
            about = {"category_id": crowd.label_id, "iscrowd": 1, "area": crowd.area, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            annotations.append({"id": 0, "image_id": 0, **about, "segmentation": crowd.runs(result.height).encoded(result.width)})
        for annotation in annotations:
            self._count += 1
            annotation["id"], annotation["image_id"] = self._count, len(images)
        return {f"annotations/instances_{split}.json": orjson.dumps(annotations)[1:-1]}

    def parts(self) -> dict[str, tuple[bytes, bytes, bytes]]:
        # The background of objects is no category.
        listed = classes_of(self.labels) if TASKS[self._task].objects else range(len(self.labels))
        categories = json.dumps([{"id": label, "name": self.labels.names[label], "supercategory": ""} for label in listed], separators=(",", ":"))
        about = f'],"info":{{"description":"segmentation","task":"{self._task}"}},"categories":{categories},"images":'
        return {
            f"annotations/instances_{split}.json": (b'{"annotations":[', b",\n", f"{about}{json.dumps(self._images.get(split, []))}}}".encode("ascii"))
            for split in ("default", "train", "val")
        }


class CocoPanoptic(Format):
    """COCO's panoptic JSON and PNGs, one of each folder per split."""

    name = "coco-panoptic"
    lacks = frozenset({"scores"})

    def __init__(self, labels: LabelSet) -> None:
        super().__init__(labels)
        self._said: dict[str, dict[str, list[object]]] = {}

    def files(self, one: Annotated) -> dict[str, bytes]:
        split = one.split or "default"
        said = self._said.setdefault(split, {"images": [], "annotations": []})
        png = f"{one.stem}.png"
        found = export.coco_panoptic(one.segmentation, one.file, png)
        number = len(said["images"]) + 1
        said["images"].append({**found["images"][0], "id": number})
        said["annotations"].append({**found["annotations"][0], "image_id": number})
        return {f"annotations/panoptic_{split}/{png}": viewer_id_png(one.segmentation)}

    def about(self) -> dict[str, bytes]:
        categories = [
            {"id": label, "name": name, "isthing": int(self.labels.is_thing(label)), "supercategory": ""} for label, name in enumerate(self.labels.names)
        ]
        return {
            f"annotations/panoptic_{split}.json": json.dumps({**said, "categories": categories}, separators=(",", ":")).encode("ascii")
            for split, said in self._said.items()
        }


class Png(Format):
    """Folders of PNG masks: a class per pixel, and beside it an object's number per pixel, as training reads them."""

    name = "png"
    lacks = frozenset({"scores", "overlaps"})

    def files(self, one: Annotated) -> dict[str, bytes]:
        result = one.segmentation
        dtype = np.uint8 if len(self.labels) < 255 else np.uint16
        kinds = np.full(np.iinfo(result.id_map.dtype).max + 1, self.labels.background or 0, dtype=dtype)
        for identity, segment in zip(result.ids, result.segments, strict=True):
            kinds[identity] = segment.label_id
        if TASKS[result.task].stuff:
            kinds[0] = ignore_id(dtype)
        classes = kinds[result.id_map]
        if one.void is not None:
            classes[one.void] = ignore_id(dtype)
        folder = self._split_folder(one.split)
        found = {f"{folder}masks/{one.stem}.png": encode_png(classes)}
        if TASKS[result.task].objects:
            found[f"{folder}instances/{one.stem}.png"] = encode_png(result.id_map.astype(np.uint16))
        return found

    def place(self, one: Annotated) -> str:
        return f"{self._split_folder(one.split)}images/{one.file}"

    def about(self) -> dict[str, bytes]:
        return {"labels.json": json.dumps({str(label): name for label, name in enumerate(self.labels.names)}, ensure_ascii=False, indent=1).encode("utf-8", "replace")}


class GeoJson(Format):
    """GeoJSON in pixels, one per picture beside it."""

    name = "geojson"
    pictures = ""

    def files(self, one: Annotated) -> dict[str, bytes]:
        found = export.geojson(one.segmentation, one.polygons)
        kept = {one.segmentation.ids[index] for index, *_ in one.marks}
        found["features"] = [feature for feature in found["features"] if feature["id"] in kept]
        return {f"{one.stem}.geojson": json.dumps(found, allow_nan=False, separators=(",", ":")).encode("ascii")}


TARGETS: dict[str, type[Format]] = {"png": Png, "coco": Coco, "coco-panoptic": CocoPanoptic, "geojson": GeoJson, **FORMATS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    options = parser().parse_args(argv)
    try:
        return convert(options.annotations, options.to, options.out, options.images)
    except SegDemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return NOTHING_WRITTEN


def parser() -> argparse.ArgumentParser:
    """Of the command's arguments."""
    found = argparse.ArgumentParser(
        prog="python -m seg_demo convert",
        description="Convert annotations from any format that training reads into another. Exit codes: 0 all converted, 1 some pictures were left out, 2 nothing was written.",
    )
    found.add_argument("annotations", metavar="ANNOTATIONS", help="a folder, a file, or hub:USER/NAME, as for --data of train/finetune.py")
    found.add_argument("--to", required=True, choices=tuple(TARGETS), metavar="FORMAT", help=", ".join(TARGETS))
    found.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the annotations go; new or empty")
    found.add_argument("--no-images", dest="images", action="store_false", help="do not copy the pictures to where the tool looks for them")
    return found


def convert(source: str, to: str, out: Path, images: bool = True) -> int:
    """Convert annotations, and say what was understood, dropped and lost.

    Args:
        source: as for ``--data``.
        to: of :data:`TARGETS`.
        out: a folder that is new or empty.
        images: whether pictures are copied too.

    Returns:
        The exit code.

    Raises:
        SegDemoError: nothing could be read, or nothing be written; the message says what.
    """

    def held(names: Sequence[str]) -> bool:
        try:
            return bool(TARGETS[to](LabelSet.from_names(names, 0)))
        except (BadRequestError, ValueError):
            return False

    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BadRequestError("convert.out_not_empty", out=out)
        with _uncollected():
            pictures = pictures_of(source, held)
        form = TARGETS[to](pictures.labels)
        if to == CocoPanoptic.name and not TASKS[pictures.task].stuff:
            raise BadRequestError("exports.other_task", format=to, task=pictures.task, tasks=PANOPTIC.name)
        out.mkdir(parents=True, exist_ok=True)
        return _convert(pictures, DataSet(out, form), out, images)
    except OSError as error:
        raise BadRequestError("cli.out_not_writable", out=out, why=error.strerror or error) from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is made meanwhile is no garbage: looking through a million objects for some, again and again, takes longer than to write them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


def _convert(pictures: Drawn | Read, data: DataSet, out: Path, images: bool) -> int:
    for note in pictures.notes:
        print(f"note: {note}")
    failed = [f"{file}: {what}" for file, what in pictures.failed]
    done = 0
    try:
        with tqdm(total=len(pictures.items), unit="picture", disable=None) as bar:
            for item in pictures.items:
                try:
                    one = pictures.annotated(item)
                    data.add(one, item.image if images else None)
                    done += 1
                except BadAnnotation as problem:
                    failed.append(f"{problem.file}: {problem.what}")
                except SegDemoError as error:
                    failed.append(f"{item.name}: {error}")
                bar.update()
        if done:  # lists of classes alone are no annotations
            data.close()
    finally:
        data.abandon()
    for line in failed[:_NAMED]:
        print(f"left out: {line}", file=sys.stderr)
    if len(failed) > _NAMED:
        print(f"left out: {len(failed) - _NAMED} more", file=sys.stderr)
    for sentence in loss_sentences(data.form.name, data.form.lost):
        print(f"lost: {sentence}")
    total = done + len(failed)
    print(f"{done} of {total} pictures converted to {data.form.name}; " + (f"results in {out}." if done else "nothing was written."))
    return (SOME_FAILED if failed else DONE) if done else NOTHING_WRITTEN

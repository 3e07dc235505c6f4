"""What annotation tools wrote about pictures: YOLO's text files, labelme's and Label Studio's JSON, CVAT's XML, QuPath's GeoJSON, ImageJ's ROIs.

A reader gives the pictures that a file is about as it calls them, and on each the marks in the order of the file, each with the pixels that the tool
itself takes for inside (:mod:`seg_demo.inputs.shapes`). What is no area (keypoints, lines, tags) is counted; what cannot be read is a problem of
its picture, and the rest goes on. Nothing is drawn here, and no picture is opened.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from seg_demo.core import OBJECT, Message, SegDemoError
from seg_demo.core.settings import settings
from seg_demo.inputs.archives import unpack
from seg_demo.inputs.mask_files import drawn_in, read_mask
from seg_demo.inputs.shapes import (
    AREA, CENTRE, EDGE, FARTHEST, LINE, PERCENT, SHARES, Ellipse, Outline, Roi, Shape, Stencil, Stroke, Union, decode_roi,
)  # fmt: skip

MOST_BYTES = 2_000_000_000
_MOST_ROIS, _MOST_ROI_BYTES = 65_535, 500_000_000  # of a zip; ImageJ itself has trouble with more


@dataclass(frozen=True)
class Mark:
    """Something that somebody drew.

    Attributes:
        label: the name of its class.
        shape: its pixels.
        where: what to call it in a message.
        order: marks of a higher one lie on top.
        score: in [0, 1], or None.
        plane: of a stack, its number, or depth and time, each from 1; 0 for any.
    """

    label: str
    shape: Shape
    where: str
    order: int = 0
    score: float | None = None
    plane: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Marked:
    """What a file says about one picture.

    Attributes:
        image: the picture as the file calls it.
        marks: in the order of the file.
        size: (height, width) of the picture as the file states it, or None.
        split: ``train``, ``val`` or ``test``, or None.
    """

    image: str
    marks: tuple[Mark, ...]
    size: tuple[int, int] | None = None
    split: str | None = None


@dataclass(frozen=True)
class Problem:
    """What cannot be read.

    Attributes:
        where: file, and place in it.
        what: the end of a sentence that begins with it.
        image: the picture that is concerned, as the file calls it; None where it is no single one.
    """

    where: str
    what: str
    image: str | None


@dataclass
class Reading:
    """What has been read so far.

    Attributes:
        pictures: with their marks.
        classes: in the order in which the files list them; None as long as none does, then they are those of the marks.
        dropped: what is no area → how many.
        problems: what cannot be read.
    """

    pictures: list[Marked] = field(default_factory=list)
    classes: list[str] | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def bad(self, where: str, key: str, image: str | None, **values: object) -> None:
        """Note what cannot be read."""
        self.problems.append(Problem(where, Message(f"annotations.{key}", **values), image))


class _Bad(Exception):
    """A mark that cannot be read: a key of ``annotations`` and its values."""

    def __init__(self, key: str, **values: object) -> None:
        self.key, self.values = key, values
        super().__init__(key)


def loaded(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: it is no JSON, or far too large; the message says so.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(Message("annotations.too_large", megabytes=MOST_BYTES / 1e6))
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(Message("annotations.no_json", why=str(error)[:120])) from error


def _numbers(values: object, least: int = 2, unit: float = FARTHEST) -> tuple[float, ...]:
    """Coordinates x, y, x, y ... as they stand in a list of pairs, or of numbers.

    Raises:
        _Bad: other things than finite numbers, one that lies absurdly far outside, or too few points.
    """
    flat = [part for value in values for part in (value if isinstance(value, list | tuple) else (value,))] if isinstance(values, list | tuple) else []
    if not all(type(number) in (int, float) and math.isfinite(number) and abs(number) < unit for number in flat) or len(flat) % 2:
        raise _Bad("no_coordinates")
    if len(flat) < 2 * least:
        raise _Bad("too_few_points", count=len(flat) // 2, least=least)
    return tuple(map(float, flat))


def _size(height: object, width: object) -> tuple[int, int] | None:
    return (height, width) if type(height) is int and type(width) is int and height > 0 and width > 0 else None


def _score(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else None


def _json_reader(read: Callable[..., None]) -> Callable[..., None]:
    """A reader of one JSON file, which is a problem itself where it is none."""

    def of_file(path: Path, into: Reading, **more: Any) -> None:
        try:
            data = loaded(path)
        except (ValueError, OSError) as error:
            into.problems.append(Problem(path.name, Message.of(error), None))
            return
        read(data, path, into, **more)

    of_file.__doc__ = read.__doc__
    return of_file


# Ultralytics' YOLO


def yolo_marks(text: str, names: dict[int, str], where: str, image: str, into: Reading) -> tuple[Mark, ...]:
    """The lines of a label file: a class's number, then x y x y ... in shares of the picture, perhaps a score behind.

    Args:
        text: of the file.
        names: class number → name; empty where nothing lists them, then a number is its name.
        where: the file, for messages.
        image: the picture that it belongs to.
        into: gets the problems.
    """
    marks = []
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        place = f"{where}, line {number}"
        try:
            values = [float(part) for part in parts]
            if not values[0].is_integer() or (names and int(values[0]) not in names):
                raise _Bad("unknown_class_number", number=parts[0][:20], count=len(names))
            if len(values) == 5 or (len(values) == 6 and 0 <= values[5] <= 1):
                raise _Bad("only_a_box")
            shares, score = (values[1:-1], values[-1]) if len(values) % 2 == 0 else (values[1:], None)
            # Some programs write 1.0000001 for the border.
            if any(not -0.01 <= share <= 1.01 for share in shares):
                raise _Bad("no_shares")
            points = _numbers([min(max(share, 0.0), 1.0) for share in shares], 3)
            marks.append(Mark(names.get(int(values[0]), f"class {int(values[0])}"), Outline((points,), LINE, SHARES), place, score=_score(score)))
        except ValueError:
            into.bad(place, "no_numbers", image, text=line[:40])
        except _Bad as bad:
            into.bad(place, bad.key, image, **bad.values)
    return tuple(marks)


# labelme


@_json_reader
def read_labelme(data: Any, path: Path, into: Reading) -> None:
    """Labelme's JSON of one picture: polygons, rectangles, circles, masks; lines and points as thick as labelme draws them. Shapes of one label and
    group are one object."""
    if not isinstance(data, dict) or not isinstance(data.get("shapes"), list) or "imagePath" not in data:
        into.bad(path.name, "no_labelme", None)
        return
    image = str(data["imagePath"]).replace("\\", "/")
    # Named after its picture, whatever folder of another machine the path leads through.
    groups: dict[object, list[tuple[Mark, Shape]]] = {}
    for number, entry in enumerate(data["shapes"], start=1):
        where = f"{path.name}, shape {number}"
        try:
            if not isinstance(entry, dict) or not isinstance(entry.get("label"), str) or not entry["label"].strip():
                raise _Bad("no_label")
            shape = _labelme_shape(entry)
            into.dropped["flags"] += bool(isinstance(entry.get("flags"), dict) and any(entry["flags"].values()))
            into.dropped["drawn_lines"] += entry.get("shape_type") in ("line", "linestrip")
            into.dropped["drawn_points"] += entry.get("shape_type") == "point"
            mark = Mark(entry["label"].strip(), shape, where, score=_score(entry.get("score")))
            group = entry.get("group_id")
            groups.setdefault((mark.label, group) if group is not None else number, []).append((mark, shape))
        except _Bad as bad:
            into.bad(where, bad.key, image, **bad.values)
    if isinstance(data.get("flags"), dict) and any(data["flags"].values()):
        into.dropped["flags"] += 1
    marks = [
        members[0][0] if len(members) == 1 else Mark(members[0][0].label, Union(tuple(shape for _, shape in members)), members[0][0].where, score=members[0][0].score)
        for members in groups.values()
    ]
    into.pictures.append(Marked(image, tuple(marks), _size(data.get("imageHeight"), data.get("imageWidth"))))


_LABELME = {"circle": ("circle", 2), "rectangle": ("rectangle", 2), "line": ("line", 2), "linestrip": ("line", 2), "point": ("point", 1)}


def _labelme_shape(entry: dict[str, Any]) -> Shape:
    kind = entry.get("shape_type") or "polygon"
    if kind == "mask":
        x0, y0, x1, y1 = (int(side) for side in _numbers(entry.get("points"), 2)[:4])
        try:
            mask = read_mask(base64.b64decode(entry.get("mask") or "", validate=True)).numbers
        except (SegDemoError, binascii.Error, ValueError, TypeError) as error:
            raise _Bad("broken_mask") from error
        if mask.ndim != 2:
            raise _Bad("broken_mask")
        if mask.shape != (y1 - y0 + 1, x1 - x0 + 1):
            raise _Bad("mask_of_other_size", came=f"{mask.shape[1]} x {mask.shape[0]}", wanted=f"{x1 - x0 + 1} x {y1 - y0 + 1}")
        return Stencil.of(mask > 0, x0, y0)
    if kind in ("polygon", "oriented_rectangle"):
        return Outline((_numbers(entry.get("points"), 3),), EDGE)
    if kind not in _LABELME:
        raise _Bad("unknown_kind", kind=str(kind)[:40])
    name, count = _LABELME[kind]
    points = _numbers(entry.get("points"), count)
    sides = set(points[::2]), set(points[1::2])
    if kind == "rectangle" and len(points) == 8 and len(set(zip(points[::2], points[1::2], strict=True))) == 4 and len(sides[0]) == len(sides[1]) == 2:
        # All four corners, as X-AnyLabeling writes them.
        points = min(sides[0]), min(sides[1]), max(sides[0]), max(sides[1])
    if kind != "linestrip" and len(points) != 2 * count:
        raise _Bad("other_points", count=len(points) // 2, wanted=count)
    return Stroke(name, points)


# Label Studio


@_json_reader
def read_label_studio(data: Any, path: Path, into: Reading) -> None:
    """Label Studio's JSON, or JSON-MIN: of each task the annotation that counts (ground truth, else the latest), or where nobody has annotated, the last
    prediction. Tasks that have neither, or were skipped, say nothing of their pictures."""
    for number, task in enumerate(_studio_tasks(data) if isinstance(data, list) else [], start=1):
        where = f"{path.name}, task {task.get('id', number) if isinstance(task, dict) else number}"
        image = _studio_image(task)
        if image is None:
            into.bad(where, "no_picture", None)
            continue
        done = [each for each in _listed(task.get("annotations")) if isinstance(each, dict) and not each.get("was_cancelled")]
        done.sort(key=lambda each: (bool(each.get("ground_truth")), str(each.get("updated_at") or each.get("created_at") or "")))
        guesses = [each for each in _listed(task.get("predictions")) if isinstance(each, dict)]
        if not done and not guesses:
            into.dropped["unannotated"] += 1
            continue
        into.dropped["other_annotations"] += max(0, len(done) - 1)
        into.dropped["predictions"] += len(guesses) if done else max(0, len(guesses) - 1)
        into.pictures.append(_studio_marks(_listed((done or guesses)[-1].get("result")), where, image, into))


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _studio_tasks(data: list[Any]) -> list[Any]:
    """Tasks as JSON has them; those of JSON-MIN have their regions beside the data, under the names of the tags, and one record per annotation."""
    tasks: list[Any] = []
    short: dict[str, dict[str, Any]] = {}
    for number, task in enumerate(data):
        if not isinstance(task, dict) or "data" in task:
            tasks.append(task)
            continue
        regions = [each for value in task.values() if isinstance(value, list) for each in value if isinstance(each, dict)]
        result = [{**each, "value": each, "type": next((key for key in each if key.lower().endswith("labels")), "")} for each in regions]
        if (name := str(task.get("id", ("", number)))) not in short:
            short[name] = {**task, "data": task, "annotations": []}
            tasks.append(short[name])
        short[name]["annotations"].append({**task, "result": result})
    return tasks


def _studio_image(task: object) -> str | None:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        return None
    values = task["data"]
    first = values.get("image") or next((value for value in values.values() if isinstance(value, str) and re.search(r"\.[A-Za-z]\w{1,4}($|\?)", value)), None)
    return first if isinstance(first, str) else None


def studio_classes(path: Path) -> list[str] | None:
    """The labels of a labelling configuration of Label Studio, as results name them; None if it is no XML."""
    found: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, said: found.append(said.get("alias") or said["value"]) if tag == "Label" and "value" in said else None
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError:
        return None
    return list(dict.fromkeys(found))


def _studio_marks(result: list[Any], where: str, image: str, into: Reading) -> Marked:
    marks, sizes = [], set()
    # A region that holds labels alone has its outline in another one of the same id.
    regions = [each for each in result if isinstance(each, dict) and isinstance(each.get("value"), dict) and each.get("id") is not None]
    drawn = {str(each["id"]): each["value"] for each in regions if _OUTLINES & each["value"].keys()}
    lent = {str(each["id"]) for each in regions if not _OUTLINES & each["value"].keys() and any(key.lower().endswith("labels") for key in each["value"])}
    for number, region in enumerate(result, start=1):
        place = f"{where}, region {number}"
        try:
            if not isinstance(region, dict) or not isinstance(region.get("value"), dict):
                raise _Bad("no_label")
            kind, value = str(region.get("type")).lower(), region["value"]
            if kind.startswith("keypoint"):
                into.dropped["keypoints"] += 1
                continue
            names = next((value[key] for key in value if key.lower().endswith("labels") and isinstance(value[key], list)), None)
            if not names:
                # Choices, texts and relations; and what a tag without labels drew, whose labels stand in a region of their own.
                into.dropped["other_regions"] += not _OUTLINES & value.keys() or str(region.get("id")) not in lent
                continue
            size = _size(region.get("original_height"), region.get("original_width"))
            sizes.add(size)
            value = value if _OUTLINES & value.keys() else {**drawn.get(str(region.get("id")), {}), **value}
            if "vertices" in value and not value.get("closed"):
                into.dropped["lines"] += 1
                continue
            if region.get("image_rotation"):
                raise _Bad("turned_picture", angle=region["image_rotation"])
            into.dropped["second_labels"] += len(names) - 1
            marks.append(Mark(str(names[0]), _studio_shape(kind, value, size), place, score=_score(region.get("score"))))
        except _Bad as bad:
            into.bad(place, bad.key, image, **bad.values)
    sizes.discard(None)
    return Marked(image, tuple(marks), sizes.pop() if len(sizes) == 1 else None)


_OUTLINES = frozenset({"rle", "imageDataURL", "points", "vertices", "radiusX", "width"})


def _studio_shape(kind: str, value: dict[str, Any], size: tuple[int, int] | None) -> Shape:
    if "rle" in value:
        if size is None:
            raise _Bad("no_size")
        try:
            if not isinstance(value["rle"], list) or size[0] * size[1] > settings().max_pixels:
                raise ValueError("no list, or a mask that is larger than any picture that is read")
            return Stencil.of(_unpacked(bytes(value["rle"]), 4 * size[0] * size[1]).reshape(*size, 4)[..., 3] >= 128, size=size)
        except (ValueError, TypeError, IndexError) as error:
            raise _Bad("broken_mask") from error
    if "imageDataURL" in value:
        try:
            inside = drawn_in(base64.b64decode(str(value["imageDataURL"]).partition(",")[2], validate=True))
        except (SegDemoError, binascii.Error) as error:
            raise _Bad("broken_mask") from error
        if inside is None:
            raise _Bad("broken_mask")
        return Stencil.of(inside, size=size or inside.shape)
    if "vertices" in value:
        corners = [corner for corner in value["vertices"] if isinstance(corner, dict)] if isinstance(value["vertices"], list) else []
        before = [None, *(corner.get("id") for corner in corners)]
        if any(corner.get("isBezier") for corner in corners) or any(corner.get("prevPointId") not in (None, past) for corner, past in zip(corners, before, strict=False)):
            raise _Bad("unknown_kind", kind=f"{kind[:40]}, curved or branched")
        return Outline((_numbers([number for corner in corners for number in (corner.get("x"), corner.get("y"))], 3),), AREA, PERCENT)
    if "points" in value:
        # Drawn as its converter hands it to COCO.
        return Outline((_numbers(value["points"], 3),), AREA, PERCENT)
    if "radiusX" in value:
        x, y, a, b = (value.get(key) for key in ("x", "y", "radiusX", "radiusY"))
        angle = value.get("rotation") or 0
        _numbers([x, y, a, b, angle, 0])
        return Ellipse((float(x), float(y)), (float(a), float(b)), float(angle), PERCENT)
    if "width" in value and "height" in value:
        raise _Bad("only_a_box")
    raise _Bad("unknown_kind", kind=kind[:40])


def _unpacked(data: bytes, wanted: int) -> np.ndarray:
    """uint8 (``wanted``,): the values of @thi.ng/rle-pack, see :func:`seg_demo.outputs.interchange.brush_rle`."""
    bits = bin(int.from_bytes(b"\x01" + data, "big"))[3:]
    total, word = int(bits[:32], 2), int(bits[32:37], 2) + 1
    if total != wanted or word > 8:
        raise ValueError("other values than the mask has")
    sizes = [int(bits[at : at + 4], 2) + 1 for at in range(37, 53, 4)]
    at, count = 53, 0
    values, lengths = [], []
    while count < total:
        size = sizes[int(bits[at + 1 : at + 3], 2)]
        length = int(bits[at + 3 : at + 3 + size], 2) + 1
        repeated = bits[at] == "1"
        at += 3 + size
        for _ in range(1 if repeated else length):
            values.append(int(bits[at : at + word], 2))
            lengths.append(length if repeated else 1)
            at += word
        count += length
    return np.repeat(np.array(values, np.uint8), lengths)[:total]


# CVAT


class _Cvat(Exception):
    """Why an XML is not read, as a message."""


def read_cvat(path: Path, into: Reading) -> None:
    """CVAT for images 1.1, element by element: polygons, ellipses, masks; who lies on top by z-order. Shapes of one label and group are one object.

    A document that declares entities is refused unread.
    """
    state: dict[str, Any] = {"path": [], "text": "", "labels": [], "image": None, "number": 0}
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise _Cvat(Message("annotations.entities"))

    def start(tag: str, said: dict[str, str]) -> None:
        state["path"].append(tag)
        state["text"] = ""
        if state["path"] == ["annotations", "track"]:
            raise _Cvat(Message("annotations.of_video"))
        if state["path"] == ["annotations", "image"]:
            state["image"], state["number"], state["groups"] = said, 0, defaultdict(list)
        elif state["image"] is not None and len(state["path"]) == 3:
            state["number"] += 1
            _cvat_mark(tag, said, path, state, into)
        elif state["image"] is not None and tag == "attribute":
            into.dropped["attributes"] += 1

    def end(tag: str) -> None:
        if tag == "name" and state["path"][-2:] == ["label", "name"]:
            state["labels"].append(state["text"].strip())
        if state["path"] == ["annotations", "image"]:
            said = state["image"]
            marks = []
            for members in state["groups"].values():
                first = members[0]
                marks.append(first if len(members) == 1 else Mark(first.label, Union(tuple(each.shape for each in members)), first.where, max(each.order for each in members)))
            sides = [int(said.get(key, "")) if said.get(key, "").isdigit() else None for key in ("height", "width")]
            into.pictures.append(Marked(_cvat_image(said), tuple(marks), _size(*sides), said.get("subset", "").lower() or None))
            state["image"] = None
        state["path"].pop()

    def text(data: str) -> None:
        state["text"] += data

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.buffer_text = True
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        into.bad(path.name, "no_xml", None, line=error.lineno, why=expat.errors.messages.get(error.code, error.code))
    except _Cvat as refused:
        into.problems.append(Problem(path.name, refused.args[0], None))
    except OSError as error:
        into.bad(path.name, "unreadable", None, why=error.strerror)
    if state["labels"]:
        into.classes = list(dict.fromkeys([*(into.classes or []), *state["labels"]]))


def _cvat_image(said: dict[str, str]) -> str:
    """What a picture is called: exports of projects have a folder for each subset."""
    return "/".join(part for part in (said.get("subset"), said.get("name", "")) if part)


def _cvat_mark(tag: str, said: dict[str, str], path: Path, state: dict[str, Any], into: Reading) -> None:
    image = _cvat_image(state["image"])
    where = f"{path.name}, {image}, shape {state['number']}"
    if tag in ("points", "polyline", "skeleton", "cuboid", "tag"):
        into.dropped[{"points": "keypoints", "skeleton": "keypoints", "polyline": "lines", "tag": "tags"}.get(tag, "cuboids")] += 1
        return
    try:
        label = said.get("label")
        if label is None:
            raise _Bad("no_label")
        if state["labels"] and label not in state["labels"]:
            raise _Bad("unlisted_class", name=label[:60])
        order = int(said.get("z_order") or 0)
        mark = Mark(label, _cvat_shape(tag, said), where, order)
    except ValueError:
        into.bad(where, "no_coordinates", image)
        return
    except _Bad as bad:
        into.bad(where, bad.key, image, **bad.values)
        return
    group = said.get("group_id", "0")
    state["groups"][(label, group) if group not in ("", "0") else (state["number"],)].append(mark)


def _cvat_shape(tag: str, said: dict[str, str]) -> Shape:
    if tag == "polygon":
        return Outline((_numbers([float(side) for point in said.get("points", "").split(";") for side in point.split(",")], 3),), AREA)
    if tag == "mask":
        left, top, width, height = (int(float(said[key])) if key in said else -1 for key in ("left", "top", "width", "height"))
        runs = np.array([int(run) for run in said.get("rle", "").split(",")], dtype=np.int64)
        pixels = width * height
        if min(width, height) < 1 or pixels > settings().max_pixels or ((runs < 0) | (runs > pixels)).any() or runs.sum() != pixels or min(left, top) < 0:
            raise _Bad("broken_mask")
        return Stencil.of(np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(height, width), left, top)
    if tag == "ellipse":
        x, y, a, b = _numbers([float(said.get(key, "nan")) for key in ("cx", "cy", "rx", "ry")])
        return Ellipse((x, y), (a, b), float(said.get("rotation") or 0))
    raise _Bad("only_a_box") if tag == "box" else _Bad("unknown_kind", kind=tag[:40])


# QuPath, and GeoJSON in pixels as this program writes it


def is_geojson(data: object) -> bool:
    """Whether JSON is GeoJSON of shapes."""
    if isinstance(data, list):
        return bool(data) and all(isinstance(each, dict) and each.get("type") == "Feature" for each in data[:5])
    return isinstance(data, dict) and data.get("type") in ("FeatureCollection", "Feature")


def of_qupath(data: Any) -> bool:
    """Whether GeoJSON says of its shapes what QuPath does, whose coordinates are pixels."""
    features = data.get("features", [data]) if isinstance(data, dict) else data
    said = [each.get("properties") for each in features if isinstance(each, dict)] if isinstance(features, list) else []
    return any(isinstance(each, dict) and ("objectType" in each or isinstance(each.get("classification"), dict)) for each in said)


@_json_reader
def read_geojson(data: Any, path: Path, into: Reading, farthest: float = FARTHEST) -> None:
    """QuPath's GeoJSON, one per picture and named after it: areas with the class of their ``classification``. No coordinate is as large as
    ``farthest``."""
    features = data if isinstance(data, list) else data.get("features") if isinstance(data, dict) and data.get("type") == "FeatureCollection" else [data]
    size = _size(data.get("height"), data.get("width")) if isinstance(data, dict) else None
    if not isinstance(features, list) or not is_geojson(data):
        into.bad(path.name, "no_geojson", path.stem)
        return
    marks = []
    for number, feature in enumerate(features, start=1):
        where = f"{path.name}, feature {number}"
        try:
            if not isinstance(feature, dict):
                raise _Bad("no_label")
            said = feature.get("properties") if isinstance(feature.get("properties"), dict) else {}
            if said.get("objectType") == "tma_core":
                into.dropped["cores"] += 1
                continue
            shape = _geometry(feature.get("geometry"), into, farthest)
            into.dropped["nuclei"] += isinstance(feature.get("nucleusGeometry"), dict)
            if shape is not None:
                plane = feature["geometry"].get("plane")
                axes = [plane.get(axis) if isinstance(plane, dict) else None for axis in ("z", "t")]
                place = (0, *(at + 1 if isinstance(at, int) and at >= 0 else 0 for at in axes))
                marks.append(Mark(_geojson_label(said, into), shape, where, score=_geojson_score(said), plane=place))
        except _Bad as bad:
            into.bad(where, bad.key, path.stem, **bad.values)
    into.pictures.append(Marked(path.stem, tuple(marks), size))


def _geometry(geometry: object, into: Reading, farthest: float, inner: bool = False) -> Shape | None:
    if not isinstance(geometry, dict):
        raise _Bad("unknown_kind", kind="no geometry")
    kind, rings = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection" and isinstance(geometry.get("geometries"), list) and not inner:
        # One object of areas, and perhaps of points and lines; RFC 7946 (3.1.8) advises against collections in collections.
        found = [part for each in geometry["geometries"] if (part := _geometry(each, into, farthest, True)) is not None]
        return Union(tuple(leaf for part in found for leaf in (part.parts if isinstance(part, Union) else (part,)))) if found else None
    if kind in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        into.dropped["keypoints" if "Point" in kind else "lines"] += 1
        return None
    if kind not in ("Polygon", "MultiPolygon"):
        raise _Bad("unknown_kind", kind=str(kind)[:40])
    polygons = [rings] if kind == "Polygon" else rings
    if not isinstance(polygons, list) or not polygons or not all(isinstance(each, list) and each for each in polygons):
        raise _Bad("no_coordinates")
    # A third coordinate is a height, which no picture has.
    parts = [tuple(_numbers([point[:2] if isinstance(point, list) else point for point in ring] if isinstance(ring, list) else ring, 3, farthest) for ring in each) for each in polygons]
    shapes = tuple(Outline(part, CENTRE) for part in parts)
    return shapes[0] if len(shapes) == 1 else Union(shapes)


# The last are what GDAL and ArcGIS call the values of a raster whose areas became shapes.
_CLASS_KEYS = ("label", "class", "class_name", "classname", "classification", "category", "name", "type", "class_id", "DN", "gridcode")


def _geojson_label(said: dict[str, Any], into: Reading) -> str:
    found = said.get("classification")
    if isinstance(found, dict) and isinstance(found.get("names"), list):
        return ": ".join(map(str, found["names"]))
    # This project's own, and how people of maps call it. What QuPath names is one object.
    keys = () if "objectType" in said else _CLASS_KEYS
    named = [found.get("name")] if isinstance(found, dict) else [said.get(key) for key in keys]
    for name in named:
        if isinstance(name, str) and name.strip():
            return name.strip()
        if isinstance(name, (int, float)) and not isinstance(name, bool) and float(name).is_integer():
            return str(int(name))
    into.dropped["unclassified"] += 1
    return OBJECT


def _geojson_score(said: dict[str, Any]) -> float | None:
    measured = said.get("measurements")
    if isinstance(measured, list):  # as QuPath before 0.4 wrote them
        measured = {each.get("name"): each.get("value") for each in measured if isinstance(each, dict)}
    return _score(measured.get("score") if isinstance(measured, dict) else said.get("score"))


# ImageJ


def read_imagej(path: Path, into: Reading, image: str) -> None:
    """A ROI, or a zip of them, of one picture.

    The class is what the ROI's properties call so, else its group's number, else its name without a number behind; ImageJ's own names, which are
    numbers alone, are no classes.

    Args:
        path: the file.
        into: gets the picture.
        image: that it belongs to.
    """
    marks = []
    try:
        for where, data in _rois(path):
            try:
                roi = decode_roi(data)
            except ValueError as error:
                into.bad(where, "broken_roi", image, why=error)
                continue
            if roi.shape is None:
                into.dropped["keypoints" if roi.kind == "points" else "lines"] += 1
                continue
            rings = getattr(roi.shape, "rings", ())
            if any(not all(math.isfinite(side) and abs(side) < FARTHEST for side in ring) or len(ring) < 6 for ring in rings) or (not rings and isinstance(roi.shape, Outline)):
                into.bad(where, "no_coordinates", image)
                continue
            score = roi.properties.get("score", "")
            score = _score(float(score)) if re.fullmatch(r"[\d.]+(e-?\d+)?", score) else None
            marks.append(Mark(_roi_label(roi, into), roi.shape, where, score=score, plane=roi.plane))
    except (SegDemoError, OSError) as error:
        into.problems.append(Problem(path.name, Message.of(error), image))
    into.pictures.append(Marked(image, tuple(marks)))


def _rois(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix.lower() == ".roi":
        yield path.name, path.read_bytes()[:_MOST_ROI_BYTES]
        return
    with tempfile.TemporaryDirectory(prefix="seg-demo-rois-") as folder:
        for each in unpack(path, Path(folder), max_files=_MOST_ROIS, max_bytes=_MOST_ROI_BYTES, suffixes={".roi"}).files:
            yield f"{path.name}, {each.name}", each.read_bytes()


def _roi_label(roi: Roi, into: Reading) -> str:
    if roi.properties.get("class"):
        return roi.properties["class"]
    if roi.group:
        return f"group {roi.group}"
    name = re.sub(r"[\s_#.-]*\d+$", "", re.sub(r"\.roi$", "", roi.name)).strip()
    if name and not re.fullmatch(r"[\d\s_.-]*", name):
        into.dropped["names_as_classes"] += 1
        return name
    into.dropped["unclassified"] += 1
    return OBJECT

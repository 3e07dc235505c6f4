"""A segmentation, or many, in the formats of annotation tools: YOLO, labelme, Label Studio, CVAT, Pascal VOC, QuPath and ImageJ.

Each outline follows its tool's own rule (:mod:`seg_demo.inputs.shapes`), so that the tool gets the same pixels back. Where outlines cannot say it,
such as an object in several parts, the tool's own masks do where it has any; what a format cannot hold is counted (:func:`losses`) and
never left out silently. The background of results that have a class per pixel is what no shape covers.

A format is a subclass of :class:`Format` and its row in :data:`FORMATS`: the files of one picture, and of a whole data set in the
folders where the tool looks for them.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
import orjson

from seg_demo.core import IGNORE, TASKS, BadRequestError, LabelSet, Message, Segment, Segmentation, count_ids
from seg_demo.inputs.shapes import encode_roi
from seg_demo.outputs.draw import encode_png
from seg_demo.outputs.polygons import Polygon, inner_rings, polygons_of, single_rings

TRAIN, VAL = "train", "val"
# What XML 1.0 cannot hold, and what ends a line of a list of names.
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff\ufffe\uffff]")
# Ids of QuPath are UUIDs; the same segments get the same ones.
_SPACE = uuid.UUID("8f0a7a55-5f3e-4a43-9d1c-0d6f4f6f2b11")
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Annotated:
    """One picture with what is said about it.

    Attributes:
        file: of the picture, as the tool shall find it: a path with ``/``, unique in its data set.
        segmentation: at the size of the upright picture.
        split: ``train`` or ``val``, or None where the data says nothing.
        void: bool (H, W), pixels of which nothing is known, or None.
        crowds: groups that nobody has separated into objects; their pixels are void.
    """

    file: str
    segmentation: Segmentation
    split: str | None = None
    void: np.ndarray | None = None
    crowds: tuple[Segment, ...] = ()

    @cached_property
    def polygons(self) -> Sequence[list[Polygon]]:
        """:func:`polygons_of` the segmentation."""
        return polygons_of(self.segmentation)

    @property
    def hidden(self) -> int:
        """How many objects others hide in part."""
        return losses(frozenset({"overlaps"}), self)["overlaps"]

    @property
    def stem(self) -> str:
        """The path of the picture without its suffix."""
        return PurePosixPath(self.file).with_suffix("").as_posix()

    @property
    def marks(self) -> list[tuple[int, Segment, str, list[Polygon]]]:
        """Index, segment, name of its class and polygons of everything that is not the background of classes."""
        return [(index, segment, name, self.polygons[index]) for index, segment, name in self.named]

    @property
    def named(self) -> list[tuple[int, Segment, str]]:
        """Index, segment and name of its class of everything that is not the background of classes."""
        names, background = self.segmentation.labels.names, nothing(self.segmentation)
        return [(index, segment, names[segment.label_id]) for index, segment in enumerate(self.segmentation.segments) if segment.label_id != background]

    @cached_property
    def single(self) -> list[np.ndarray | None]:
        """Of every segment the one ring along the edges of its pixels, int64 (N, 2); None where it takes several. Without :attr:`polygons`, where they are not known yet."""
        if "polygons" not in self.__dict__ and TASKS[self.segmentation.task].overlaps:
            return single_rings([self.segmentation.runs_of(index) for index in range(len(self.segmentation.segments))])
        return [np.array(pieces[0][0]) if len(pieces) == 1 == len(pieces[0]) else None for pieces in self.polygons]

    def outline(self, index: int) -> Sequence[tuple[float, float]] | None:
        """One ring whose pixels by COCO's rule are a segment's mask: the corners that somebody drew, where they are known and lie on the picture.

        Args:
            index: of the segment.

        Returns:
            (x, y) in pixels of every corner; None where there is no such ring.
        """
        drawn, result = self.segmentation.segments[index].drawn, self.segmentation
        if drawn is None:
            return None if (ring := self.single[index]) is None else ring.tolist()
        if len(drawn) > 1 or min(drawn[0]) < 0 or max(drawn[0][::2]) > result.width or max(drawn[0][1::2]) > result.height:
            return None
        return list(zip(drawn[0][::2], drawn[0][1::2], strict=True))


def nothing(segmentation: Segmentation) -> int | None:
    """The label id of what is no shape in other tools: the background of a class per pixel; None where there is none."""
    return None if TASKS[segmentation.task].objects else segmentation.labels.background


def classes_of(labels: LabelSet) -> list[int]:
    """The label ids that tools list, in their order: all but the background."""
    return [label for label in range(len(labels)) if label != labels.background]


def _plain(name: str) -> str:
    return _CONTROL.sub(" ", name)


def _quoted(name: str) -> str:
    """A name in the double quotes of YAML, in ASCII: of JSON's two escapes for one sign beyond 16 bits YAML makes two halves of a sign."""
    return '"' + "".join(json.dumps(sign)[1:-1] if ord(sign) < 1 << 16 else f"\\U{ord(sign):08x}" for sign in name) + '"'


def _hex(color: np.ndarray) -> str:
    return "#" + bytes(color.tolist()).hex()


def _json(value: object) -> bytes:
    """Compact JSON, in ASCII, of what may hold arrays of finite numbers."""
    with suppress(TypeError):  # half a surrogate pair in a name
        if (found := orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)).isascii():
            return found
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=np.ndarray.tolist).encode("ascii")


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


class Format:
    """A tool's format, filled picture by picture.

    Args:
        labels: the classes of all pictures.

    Attributes:
        labels: as given.
        lost: what could not be held so far: what of :func:`losses` → how many.
        splits: split → the pictures' files.
    """

    name = ""
    # What it cannot hold: of scores, parts, overlaps, objects, void; slits say that holes are reached along them, uncrowded: void but for crowds.
    lacks: frozenset[str] = frozenset({"void"})
    # Folder of the pictures in a data set.
    pictures = "images/"

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.lost: Counter[str] = Counter()
        self.splits: dict[str | None, list[str]] = {}

    def of(self, one: Annotated) -> dict[str, bytes]:
        """The files of one picture alone, by names that do not depend on it."""
        raise NotImplementedError

    def add(self, one: Annotated) -> dict[str, bytes]:
        """The files that a data set gets for one more picture, by their paths; what lists all of them is written by :meth:`parts`."""
        self.lost += losses(self.lacks, one)
        self.splits.setdefault(one.split, []).append(one.file)
        return self.files(one)

    def files(self, one: Annotated) -> dict[str, bytes]:
        """As :meth:`add`, of the picture alone."""
        raise NotImplementedError

    def place(self, one: Annotated) -> str:
        """Where the data set has the picture itself."""
        return self.pictures + one.file

    def parts(self) -> dict[str, tuple[bytes, bytes, bytes]]:
        """Files that grow with the pictures: path → what they begin with, what separates pictures, what they end with.

        :meth:`files` gives the middle under the same path.
        """
        return {}

    def about(self) -> dict[str, bytes]:
        """The files about all pictures, once all have been added."""
        return {}

    def _split_folder(self, split: str | None) -> str:
        """``train/`` and ``val/`` where the data says what is what."""
        return "" if split is None else f"{split}/"


class Yolo(Format):
    """Ultralytics' YOLO segmentation: a text file per picture, a line per object: class, then x y x y ... as shares of width and height.

    Read with ``cv2.fillPoly``, lines are drawn over the outermost pixels, and a hole that is reached along a slit stays one. An object in several parts becomes
    several.
    """

    name = "yolo"
    lacks = frozenset({"scores", "parts", "slits", "void"})

    def of(self, one: Annotated) -> dict[str, bytes]:
        return {"yolo.txt": self._lines(one), "data.yaml": self._yaml({"train": "."})}

    def files(self, one: Annotated) -> dict[str, bytes]:
        return {f"labels/{self._split_folder(one.split)}{one.stem}.txt": self._lines(one)}

    def place(self, one: Annotated) -> str:
        return f"images/{self._split_folder(one.split)}{one.file}"

    def about(self) -> dict[str, bytes]:
        whole = {"train": "images", "val": "images"}
        given = {split: f"images/{split}" for split in (TRAIN, VAL) if split in self.splits}
        # Both keys are required; where nobody has split the data, both are all of it.
        return {"data.yaml": self._yaml(whole if None in self.splits else {**dict.fromkeys((TRAIN, VAL), next(iter(given.values()), "images")), **given})}

    def _lines(self, one: Annotated) -> bytes:
        numbers = {label: number for number, label in enumerate(classes_of(self.labels))}
        height, width = one.segmentation.height, one.segmentation.width
        lines = []
        parts = [(segment, polygon) for _, segment, _, pieces in one.marks for polygon in pieces]
        for (segment, _), ring in zip(parts, inner_rings([polygon for _, polygon in parts]), strict=True):
            # Three points at least make an outline, if need be of one pixel.
            ring = ring.tolist()
            ring += [ring[-1]] * (3 - len(ring))
            # Ultralytics cuts to whole pixels, supervision rounds: a quarter within the pixel is the same to both.
            shares = [f"{(x + 0.25) / width:.8f} {(y + 0.25) / height:.8f}" for x, y in ring]
            lines.append(f"{numbers.get(segment.label_id, 0)} {' '.join(shares)}\n")
        return "".join(lines).encode("ascii")

    def _yaml(self, folders: dict[str, str]) -> bytes:
        lines = [f"{key}: {folder}" for key, folder in folders.items()] + ["names:"]
        lines += [f"  {number}: {_quoted(self.labels.names[label])}" for number, label in enumerate(classes_of(self.labels))]
        return ("\n".join(lines) + "\n").encode("ascii")


class Labelme(Format):
    """Labelme's JSON, one per picture beside it: polygons, and masks where an object has holes or parts."""

    name = "labelme"
    pictures = ""

    def of(self, one: Annotated) -> dict[str, bytes]:
        return {"labelme.json": self._content(one)}

    def files(self, one: Annotated) -> dict[str, bytes]:
        return {f"{one.stem}.json": self._content(one)}

    def about(self) -> dict[str, bytes]:
        names = ["__ignore__", "_background_", *(_plain(self.labels.names[label]) for label in classes_of(self.labels))]
        return {"labels.txt": ("\n".join(names) + "\n").encode("utf-8", "replace")}

    def _content(self, one: Annotated) -> bytes:
        shapes = []
        plain = [index for index, *_ in one.named if one.single[index] is not None]
        rings = dict(zip(plain, inner_rings([[one.single[index]] for index in plain]), strict=True))
        for index, segment, name in one.named:
            shape: dict[str, object] = {"label": _plain(name), "points": [], "group_id": None, "description": "", "shape_type": "polygon", "flags": {}, "mask": None}
            ring = rings.get(index, ())
            if len(ring) > 2:
                shape["points"] = ring + 0.5
            else:
                x0, y0, x1, y1 = segment.box
                png = encode_png(one.segmentation.mask_of(index).astype(np.uint8))
                shape |= {"shape_type": "mask", "points": [[x0, y0], [x1 - 1, y1 - 1]], "mask": base64.b64encode(png).decode("ascii")}
            if segment.score is not None:
                shape["score"] = segment.score
            shapes.append(shape)
        size = {"imageHeight": one.segmentation.height, "imageWidth": one.segmentation.width}
        name = PurePosixPath(one.file).name
        return _json({"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None, **size})


class LabelStudio(Format):
    """Label Studio's tasks with predictions: polygons in percent, and brush masks where an object has holes or parts."""

    name = "labelstudio"

    def of(self, one: Annotated) -> dict[str, bytes]:
        return {"labelstudio.json": b"[" + self._task(one, one.file) + b"]", "labeling_config.xml": self._config()}

    def files(self, one: Annotated) -> dict[str, bytes]:
        return {"tasks.json": self._task(one, self.place(one))}

    def parts(self) -> dict[str, tuple[bytes, bytes, bytes]]:
        return {"tasks.json": (b"[", b",\n", b"]\n")}

    def about(self) -> dict[str, bytes]:
        return {"labeling_config.xml": self._config()}

    def _task(self, one: Annotated, path: str) -> bytes:
        result = one.segmentation
        found = []
        for index, segment, name in one.named:
            if simple := (ring := one.single[index]) is not None:
                value: dict[str, object] = {"points": 100 * ring / [result.width, result.height], "closed": True, "polygonlabels": [_plain(name)]}
            else:
                mask = np.zeros((result.height, result.width), dtype=bool)
                x0, y0, x1, y1 = segment.box
                mask[y0:y1, x0:x1] = result.mask_of(index)
                value = {"format": "rle", "rle": list(brush_rle(mask)), "brushlabels": [_plain(name)]}
            kind = "polygon" if simple else "brush"
            region = {
                "id": str(index + 1), "type": f"{kind}labels", "from_name": kind, "to_name": "image", "image_rotation": 0,
                "original_width": result.width, "original_height": result.height, "value": value,
            }  # fmt: skip
            found.append(region if segment.score is None else {**region, "score": segment.score})
        model = "segmentation" if result.model is None else result.model.id
        return _json({"data": {"image": "/data/local-files/?d=" + quote(path)}, "predictions": [{"model_version": model, "result": found}]})

    def _config(self) -> bytes:
        labels = "".join(
            f'    <Label value={quoteattr(_plain(self.labels.names[label]))} background="{_hex(self.labels.colors[label])}"/>\n'
            for label in classes_of(self.labels)
        )
        kinds = "".join(f'  <{tag}Labels name="{tag.lower()}" toName="image">\n{labels}  </{tag}Labels>\n' for tag in ("Polygon", "Brush"))
        return f'<View>\n  <Image name="image" value="$image"/>\n{kinds}</View>\n'.encode()


def brush_rle(mask: np.ndarray) -> bytes:
    """Label Studio's run lengths of a brush mask, as its own encoder writes them (``label_studio_sdk.converter.brush.encode_rle``).

    The bits are those of @thi.ng/rle-pack: 32 of the number of values, 5 of their size less one, four times 4 of a run length's size less
    one; then for every run a one, 2 of which size its length has, the length less one, and the value. Each pixel counts four times.

    Args:
        mask: bool (H, W).
    """
    values = mask.ravel()
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    lengths = 4 * np.diff(np.concatenate([[0], changes, [values.size]]))
    value = bool(values[0])
    bits = [f"{4 * values.size:032b}", "00111", "0010", "0011", "0111", "1111"]
    for length in lengths.tolist():
        shown = "11111111" if value else "00000000"
        while length > 0:
            now = min(length, 1 << 16)
            code, size = next((code, size) for code, size in (("00", 3), ("01", 4), ("10", 8), ("11", 16)) if now <= 1 << size)
            bits.append(f"1{code}{now - 1:0{size}b}{shown}")
            length -= now
        value = not value
    text = "".join(bits)
    # A whole byte where none is needed, as there.
    text += "0" * (8 - len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


class Cvat(Format):
    """CVAT for images 1.1: one XML, polygons, and masks where an object has holes or parts; who lies on top by z-order."""

    name = "cvat"
    lacks = frozenset({"scores", "void"})

    def __init__(self, labels: LabelSet) -> None:
        super().__init__(labels)
        self._count = 0

    def of(self, one: Annotated) -> dict[str, bytes]:
        head, _, tail = self.parts()["annotations.xml"]
        return {"annotations.xml": head + self._image(one, 0) + tail}

    def files(self, one: Annotated) -> dict[str, bytes]:
        self._count += 1
        return {"annotations.xml": self._image(one, self._count - 1)}

    def parts(self) -> dict[str, tuple[bytes, bytes, bytes]]:
        labels = "".join(
            f"<label><name>{_text(self.labels.names[label])}</name><color>{_hex(self.labels.colors[label])}</color><type>any</type><attributes></attributes></label>\n"
            for label in classes_of(self.labels)
        )
        head = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task><name>segmentation</name><labels>\n{labels}</labels></task></meta>\n'
        return {"annotations.xml": (head.encode(), b"", b"</annotations>\n")}

    def _image(self, one: Annotated, number: int) -> bytes:
        result = one.segmentation
        subset = "" if one.split is None else f' subset="{one.split}"'
        lines = [f'<image id="{number}" name={quoteattr(_plain(one.file))}{subset} width="{result.width}" height="{result.height}">']
        overlaps, last = TASKS[result.task].overlaps, len(result.segments) - 1
        for index, segment, name in one.named:
            # The first lies on top.
            shared = f'label={quoteattr(_plain(name))} source="auto" occluded="0"'
            z = f'z_order="{last - index if overlaps else 0}"'
            if (ring := one.outline(index)) is not None:
                # Two decimals, as CVAT writes them, and more where somebody gave more.
                points = ";".join([f"{x}.00,{y}.00" if type(x) is type(y) is int else f"{x!r},{y!r}" for x, y in ring])
                lines.append(f'<polygon {shared} points="{points}" {z}></polygon>')
            else:
                x0, y0, x1, y1 = segment.box
                runs = ", ".join(map(str, _row_runs(result.mask_of(index))))
                lines.append(f'<mask {shared} rle="{runs}" left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}" {z}></mask>')
        return ("\n".join([*lines, "</image>"]) + "\n").encode()


def _text(name: str) -> str:
    return _plain(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _row_runs(mask: np.ndarray) -> list[int]:
    """Lengths of runs of a mask row by row, zeros first."""
    values = mask.ravel()
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [values.size]])).tolist()
    return [0, *runs] if values[0] else runs


class Voc(Format):
    """Pascal VOC: palette PNGs of classes and of objects, 255 where nothing is known; CVAT's and datumaro's ``labelmap.txt`` says which colour is which."""

    name = "voc"
    lacks = frozenset({"scores", "overlaps", "objects"})
    pictures = "JPEGImages/"

    def __init__(self, labels: LabelSet) -> None:
        super().__init__(labels)
        self.lost["names"] = sum(":" in name or name.startswith(("#", "//")) for name in labels.names)
        self.lost += Counter()  # nothing that is 0
        if len(classes_of(self.labels)) > _VOC_MOST:
            raise BadRequestError("exports.too_many_classes", format=self.name, most=_VOC_MOST, count=len(classes_of(self.labels)))

    def of(self, one: Annotated) -> dict[str, bytes]:
        return {**{path.replace("/", "") + ".png": data for path, data in self._maps(one).items()}, "labelmap.txt": self._names()}

    def files(self, one: Annotated) -> dict[str, bytes]:
        return {f"{folder}{one.stem}.png": data for folder, data in self._maps(one).items()}

    def about(self) -> dict[str, bytes]:
        lists = {split or TRAIN: sorted(PurePosixPath(file).with_suffix("").as_posix() for file in files) for split, files in self.splits.items()}
        every = sorted(name for names in lists.values() for name in names)
        named = {f"ImageSets/Segmentation/{split}.txt": "".join(f"{name}\n" for name in names).encode() for split, names in {**lists, "trainval": every}.items()}
        return {"labelmap.txt": self._names(), **named}

    def _maps(self, one: Annotated) -> dict[str, bytes]:
        result = one.segmentation
        task = TASKS[result.task]
        values = {label: value for value, label in enumerate(classes_of(self.labels), start=1)}
        kinds = np.zeros(np.iinfo(result.id_map.dtype).max + 1, dtype=np.uint8)
        for identity, segment in zip(result.ids, result.segments, strict=True):
            kinds[identity] = values.get(segment.label_id, 0)
        if task.stuff:
            kinds[0] = IGNORE
        maps = {"SegmentationClass/": kinds[result.id_map]}
        if task.objects:
            numbers = np.zeros_like(kinds)
            count = min(len(result.segments), _VOC_MOST)
            numbers[1 : count + 1] = np.arange(1, count + 1)
            maps["SegmentationObject/"] = numbers[result.id_map]
        for found in maps.values():
            if one.void is not None:
                found[one.void] = IGNORE
        return {folder: encode_png(found, voc_colors()) for folder, found in maps.items()}

    def _names(self) -> bytes:
        rows = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(self._listed(), voc_colors().tolist(), strict=False)]
        return ("# label:color_rgb:parts:actions\n" + "\n".join(rows) + "\n").encode("utf-8", "replace")

    def _listed(self) -> list[str]:
        # A colon ends a name there, and a line that begins with a number sign or two slashes is a comment, without which the classes after it would move up.
        names = (_plain(self.labels.names[label]).strip().replace(":", "：") for label in classes_of(self.labels))
        return ["background", *(re.sub("^(#|//)", lambda found: found[0].translate({35: "＃", 47: "／"}), name) for name in names)]


# 255 is the border round objects.
_VOC_MOST = 254


def voc_colors() -> np.ndarray:
    """VOC's palette: uint8 (256, 3), the bits of a number dealt out to red, green and blue from the highest down."""
    numbers = np.arange(256)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colors


class QuPath(Format):
    """QuPath's GeoJSON: an annotation or detection object per segment, holes and parts, the score among its measurements."""

    name = "qupath"
    pictures = ""

    def of(self, one: Annotated) -> dict[str, bytes]:
        return {"qupath.geojson": self._content(one)}

    def files(self, one: Annotated) -> dict[str, bytes]:
        return {f"{one.stem}.geojson": self._content(one)}

    def _content(self, one: Annotated) -> bytes:
        labels = one.segmentation.labels
        kind = "detection" if TASKS[one.segmentation.task].objects else "annotation"
        features = []
        for index, segment, name, pieces in one.marks:
            closed = [[[list(point) for point in (*ring, ring[0])] for ring in piece] for piece in pieces]
            single = len(closed) == 1
            properties: dict[str, object] = {"objectType": kind, "classification": {"name": name, "color": labels.colors[segment.label_id].tolist()}}
            if segment.score is not None:
                properties["measurements"] = {"score": segment.score}
            features.append(
                {
                    "type": "Feature",
                    "id": str(uuid.uuid5(_SPACE, f"{one.file}\0{index}\0{name.encode('utf-8', 'replace')}\0{segment.box}")),
                    "geometry": {"type": "Polygon" if single else "MultiPolygon", "coordinates": closed[0] if single else closed},
                    "properties": properties,
                }
            )
        return _json({"type": "FeatureCollection", "features": features})


class ImageJ(Format):
    """A zip of ImageJ's ROIs, as its ROI manager opens it: names are unique, class and score stand in the properties, the group is the class's number."""

    name = "imagej"
    pictures = ""

    def of(self, one: Annotated) -> dict[str, bytes]:
        return {"rois.zip": self._content(one)}

    def files(self, one: Annotated) -> dict[str, bytes]:
        return {f"{one.stem}_rois.zip": self._content(one)}

    def _content(self, one: Annotated) -> bytes:
        groups = {label: number for number, label in enumerate(classes_of(self.labels), start=1)}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, (_, segment, name, pieces) in enumerate(one.marks, start=1):
                plain = _plain(name)
                properties = {"class": plain} | ({} if segment.score is None else {"score": str(_number(segment.score))})
                group = groups.get(segment.label_id, 0)
                data = encode_roi(f"{plain} {number:04d}", pieces, group if group < 256 else 0, properties)
                # ImageJ shows the name of the entry, whatever the ROI itself says.
                stem = re.sub(r"[^\w.-]+", "_", plain)[:80]
                entry = zipfile.ZipInfo(f"{stem}_{number:04d}.roi", date_time=_DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, data)
        return buffer.getvalue()


# In the order in which the command line and the page list them.
FORMATS: dict[str, type[Format]] = {kind.name: kind for kind in (Yolo, Labelme, LabelStudio, Cvat, Voc, QuPath, ImageJ)}


class DataSet:
    """A folder that fills with pictures in a tool's format, one at a time; only names stay in memory.

    Args:
        folder: exists; gets the files where the tool looks for them.
        form: new, of the classes of all pictures.
    """

    def __init__(self, folder: Path, form: Format) -> None:
        self._folder, self.form = folder, form
        self._open: dict[str, BinaryIO] = {}
        self._begun: set[str] = set()
        self._frames = form.parts()

    def add(self, one: Annotated, picture: Path | None = None) -> None:
        """Write what is said about one picture.

        Args:
            one: the picture.
            picture: its file, which is copied to where the tool looks for it; None leaves it where it is.

        Raises:
            OSError: the disk is full or fails.
        """
        for path, data in self.form.add(one).items():
            if path not in self._frames:
                self._write(path, data)
                continue
            begin, between, _ = self._frames[path]
            if path not in self._open:
                (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
                self._open[path] = (self._folder / path).open("wb")
                self._open[path].write(begin)
            if data:
                self._open[path].write(between + data if path in self._begun else data)
                self._begun.add(path)
        if picture is not None:
            place = self._folder / self.form.place(one)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not (place.exists() and place.samefile(picture)):
                shutil.copyfile(picture, place)

    def close(self) -> None:
        """Write what is about all pictures.

        Raises:
            OSError: the disk is full or fails.
        """
        frames = self.form.parts()  # what they end with may list what came
        for path, file in self._open.items():
            with file:
                file.write(frames[path][2])
        self._open.clear()
        for path, data in self.form.about().items():
            self._write(path, data)

    def abandon(self) -> None:
        """Let go of the files of a data set that is not finished."""
        for file in self._open.values():
            file.close()

    def _write(self, path: str, data: bytes) -> None:
        (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / path).write_bytes(data)


def losses(lacks: frozenset[str], one: Annotated) -> Counter[str]:
    """What a format cannot hold of a picture.

    Args:
        lacks: of the format.
        one: the picture.

    Returns:
        ``scores``, ``parts`` (objects in several, each of which becomes an object), ``slits`` (objects whose holes hang on a slit), ``overlaps`` (objects
        that others hide in part), ``objects`` (beyond 254) and ``void`` (pixels of which nothing is known) → how many; only what is not 0.
    """
    result = one.segmentation
    found = Counter()
    if "scores" in lacks:
        found["scores"] = sum(segment.score is not None and segment.label_id != nothing(result) for segment in result.segments)
    if "parts" in lacks:
        found["parts"] = sum(len(pieces) > 1 for *_, pieces in one.marks)
    if "slits" in lacks:
        found["slits"] = sum(any(len(piece) > 1 for piece in pieces) for *_, pieces in one.marks)
    if "overlaps" in lacks and TASKS[result.task].overlaps:
        seen = count_ids(result.id_map, len(result.segments) + 1)
        found["overlaps"] = sum(int(seen[identity]) < area for identity, area in zip(result.ids, result.areas, strict=True))
    if "objects" in lacks and TASKS[result.task].objects:
        found["objects"] = max(0, len(result.segments) - _VOC_MOST)
    if lacks & {"void", "uncrowded"} and one.void is not None:
        void = one.void if "void" in lacks else one.void.copy()
        for crowd in one.crowds if "void" not in lacks else ():
            x0, y0, x1, y1 = crowd.box
            void[y0:y1, x0:x1] &= ~crowd.mask
        found["void"] = int(np.count_nonzero(void))
    return +found


def loss_sentences(name: str, lost: Counter[str]) -> Iterator[Message]:
    """What to say of :func:`losses`, a sentence each.

    Args:
        name: of the format.
        lost: of all pictures.
    """
    for what, count in lost.items():
        yield Message(f"losses.{what}", format=name, count=count)

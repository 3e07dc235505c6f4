"""A segmentation as files that other tools read: COCO, GeoJSON, CSV, PNG, and all of them in one zip.

How many and how large: counts and areas of a result per class, in pixels and in units.
"""

from __future__ import annotations

import csv as csv_format
import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from seg_demo.core import TASKS, BadRequestError, Message, Picture, Segmentation, Task, count_ids, tight_box
from seg_demo.outputs import calibrated, draw, interchange
from seg_demo.outputs.measurements import Measurements, PixelSize, measure, pixel_of, plain
from seg_demo.outputs.polygons import Polygon, keyhole, polygons_of

Json = dict[str, object]
Original = np.ndarray | Picture
# A spreadsheet takes a cell that begins like this for a formula (OWASP, CSV injection), also in full width.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
SEGMENT_COLUMNS = ("id", "label_id", "label", "score", "area", "area_fraction", "x", "y", "width", "height")
# How a row of measurements alone begins.
PIECE_COLUMNS = ("id", "label_id", "label", "score", "area", "x", "y", "width", "height")
_CLASS_COLUMNS = ("label_id", "label", "pixels", "share", "count", "mean_score")
_CONFIDENCE, _MARGIN = "mean_confidence", "mean_margin"
_LIMIT = "limit"
# Zip entries carry a date; a fixed one makes equal results equal files.
_DATE = (1980, 1, 1, 0, 0, 0)


def coco(segmentation: Segmentation, file_name: str, polygons: Sequence[list[Polygon]] | None = None) -> Json:
    """COCO JSON with one annotation per segment, the background class of semantic results included.

    Args:
        segmentation: any result.
        file_name: of the image that was segmented.
        polygons: what ``polygons_of(segmentation)`` gave, to write polygons; None writes compressed RLE. Both load into
            exactly the same masks in pycocotools. COCO's polygons know no holes: a ring reaches each along a slit.

    Returns:
        JSON-able ``info`` (its ``task`` says whether annotations are objects or all pixels of a class), ``images`` (one), ``categories`` (id = label id) and ``annotations`` (``id`` from 1, ``area`` in pixels,
        ``bbox`` [x, y, width, height] in pixels, ``iscrowd`` 0, ``score`` where there is one).
    """
    annotations = []
    names = segmentation.labels.names
    for index, (segment, area) in enumerate(zip(segmentation.segments, segmentation.areas, strict=True)):
        x0, y0, x1, y1 = segment.box
        annotation: Json = {
            "id": index + 1,
            "image_id": 1,
            "category_id": segment.label_id,
            "iscrowd": 0,
            "area": area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        if segment.score is not None:
            annotation["score"] = segment.score
        if polygons is None:
            annotation["segmentation"] = segmentation.runs_of(index).encoded(segmentation.width)
        else:
            annotation["segmentation"] = [[side for point in keyhole(shape) for side in point] for shape in polygons[index]]
        annotations.append(annotation)
    return {
        "info": {"description": "segmentation", "task": segmentation.task},
        "images": [{"id": 1, "file_name": file_name, "width": segmentation.width, "height": segmentation.height}],
        "categories": [{"id": index, "name": name, "supercategory": ""} for index, name in enumerate(names)],
        "annotations": annotations,
    }


def coco_panoptic(segmentation: Segmentation, file_name: str, png: str) -> Json:
    """COCO's panoptic JSON (Kirillov et al. 2019), as panopticapi reads it.

    Args:
        segmentation: a panoptic result.
        file_name: of the image that was segmented.
        png: name of the PNG beside it, whose pixels are R + 256 G + 65536 B = the segment's id, 0 for none.

    Returns:
        JSON-able ``images`` (one), ``annotations`` (one, with ``segments_info``) and ``categories`` (id = label id, ``isthing`` 0 or 1).
    """
    labels = segmentation.labels
    segments = []
    for identity, segment, area in zip(segmentation.ids, segmentation.segments, segmentation.areas, strict=True):
        x0, y0, x1, y1 = segment.box
        found: Json = {"id": identity, "category_id": segment.label_id, "area": area, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
        segments.append(found if segment.score is None else {**found, "score": segment.score})
    return {
        "info": {"description": "segmentation", "task": segmentation.task},
        "images": [{"id": 1, "file_name": file_name, "width": segmentation.width, "height": segmentation.height}],
        "annotations": [{"image_id": 1, "file_name": png, "segments_info": segments}],
        "categories": [
            {"id": index, "name": name, "isthing": int(labels.is_thing(index)), "supercategory": ""}
            for index, name in enumerate(labels.names)
        ],
    }


def geojson(segmentation: Segmentation, polygons: Sequence[list[Polygon]] | None = None) -> Json:
    """GeoJSON (RFC 7946): longitude and latitude in WGS 84 where the picture's place on Earth is known, see :func:`calibrated.on_earth`; else
    pixels of the image: x to the right, y down, (0, 0) the image's upper left corner.

    Args:
        segmentation: any result.
        polygons: what ``polygons_of(segmentation)`` gave; None traces them.

    Returns:
        JSON-able FeatureCollection with one Polygon or MultiPolygon per segment. Rings run along the edges of pixels, are
        closed and follow the right-hand rule in x and y as numbers; rasterised they give exactly the mask.
    """
    features = []
    shapes = polygons_of(segmentation) if polygons is None else polygons
    rings = [[[[list(point) for point in (*ring, ring[0])] for ring in piece] for piece in pieces] for pieces in shapes]
    earthly = calibrated.is_georeferenced(segmentation)
    if earthly:
        rings = calibrated.on_earth(segmentation, rings)
    unit = None if segmentation.calibration is None else segmentation.calibration.pixel_area
    for identity, segment, area, closed in zip(segmentation.ids, segmentation.segments, segmentation.areas, rings, strict=True):
        single = len(closed) == 1
        features.append(
            {
                "type": "Feature",
                "id": identity,
                "geometry": {
                    "type": "Polygon" if single else "MultiPolygon",
                    "coordinates": closed[0] if single else closed,
                },
                "properties": {
                    "label_id": segment.label_id,
                    "label": segmentation.labels.names[segment.label_id],
                    "score": segment.score,
                    "area": area,
                    **({} if unit is None else {"area_units": area * unit}),
                },
            }
        )
    pixels = "pixels of the image: x to the right, y down, (0, 0) is its upper left corner"
    return {
        "type": "FeatureCollection",
        "coordinate_system": "longitude and latitude in degrees, WGS 84 (RFC 7946)" if earthly else pixels,
        "width": segmentation.width,
        "height": segmentation.height,
        "features": features,
    }


def table(segmentation: Segmentation) -> list[Json]:
    """One row per class that has a segment, largest first.

    Args:
        segmentation: any result.

    Returns:
        Rows of ``label_id``, ``label``, ``pixels`` (of the id map, so that objects that overlap count once), ``share`` of
        the image in [0, 1], ``count`` (objects or regions; of semantic results connected pieces, as in batches), and ``mean_score`` of them in [0, 1] or None; for a result that has
        confidence also ``mean_confidence`` and ``mean_margin`` of the class's pixels in [0, 1], or None if it has none; and
        ``limit`` where a detector stopped at so many objects although there may be more.
    """
    of_id = count_ids(segmentation.id_map)
    pieces = _pieces(segmentation)
    sums = {} if segmentation.confidence is None else {
        _CONFIDENCE: segmentation.confidence_sums, _MARGIN: segmentation.margin_sums
    }
    rows: dict[int, Json] = {}
    scores: dict[int, list[float]] = {}
    for identity, segment in zip(segmentation.ids, segmentation.segments, strict=True):
        label_id = segment.label_id
        name = segmentation.labels.names[label_id]
        row = rows.setdefault(label_id, {"label_id": label_id, "label": name, "pixels": 0, "count": 0})
        row["pixels"] += int(of_id[identity]) if identity < of_id.size else 0
        row["count"] += 1 if pieces is None else int(pieces[identity])
        for column, of_each in sums.items():
            row[column] = row.get(column, 0.0) + float(of_each[identity])
        if segment.score is not None:
            scores.setdefault(label_id, []).append(segment.score)
    total = segmentation.height * segmentation.width
    for label_id, row in rows.items():
        known = scores.get(label_id)
        row["share"] = row["pixels"] / total
        row["mean_score"] = sum(known) / len(known) if known else None
        for column in sums:
            row[column] = row[column] / row["pixels"] if row["pixels"] else None
        row[_LIMIT] = None if segmentation.limit is None else segmentation.limit.objects
    ordered = sorted(rows.values(), key=lambda row: -row["pixels"])
    return [{column: row[column] for column in _class_columns(segmentation)} for row in ordered]


def _pieces(segmentation: Segmentation) -> np.ndarray | None:
    """Connected pieces of every class of a semantic result, counted once; None for others, which have objects."""
    if TASKS[segmentation.task].objects:
        return None
    known = vars(segmentation)
    if "pieces" not in known:
        known["pieces"] = pieces_of(segmentation.id_map)
    return known["pieces"]


def objects_csv(segmentation: Segmentation, measured: Measurements | None = None, pixel: PixelSize | None = None) -> str:
    """CSV of the page's table: a row per class as in :func:`class_csv`, then one per object or region with its own area.

    Args:
        segmentation: any result; a semantic one has classes only.
        measured: of its objects; None leaves measurements out.
        pixel: size of a pixel, for columns in its unit.

    Returns:
        CSV with the columns ``row`` (``class``, ``object`` or ``region``), ``id`` (in the mask file; empty for classes), ``label_id``,
        ``label``, ``area_pixels`` (classes: of the id map, where objects that overlap count once; objects: of their own mask), ``share`` of
        the image in [0, 1], ``count`` (objects, regions, or connected pieces of a semantic class), ``score`` (classes: the mean), and the
        box ``x``, ``y``, ``width``, ``height`` in pixels; ``limit`` as there; and those of :meth:`Measurements.columns`, of objects.
    """
    pixels = segmentation.height * segmentation.width
    columns = ["row", "id", "label_id", "label", "area_pixels", "share", "count", "score", "x", "y", "width", "height"]
    limit = () if segmentation.limit is None else (segmentation.limit.objects,)
    task = TASKS[segmentation.task]
    more, lines = measured_columns(measured, pixel, len(segmentation.segments))
    rows: list[tuple[object, ...]] = []
    for row in table(segmentation):
        first = ("class", None, row["label_id"], row["label"], row["pixels"], row["share"], row["count"], row["mean_score"])
        rows.append((*first, None, None, None, None, *limit, *[None] * len(more)))
    listed = zip(segmentation.ids, segmentation.segments, segmentation.areas, lines, strict=True) if task.objects else ()
    for identity, segment, area, numbers in listed:
        x0, y0, x1, y1 = segment.box
        name = segmentation.labels.names[segment.label_id]
        place = x0, y0, x1 - x0, y1 - y0
        rows.append((task.segment, identity, segment.label_id, name, area, area / pixels, 1, segment.score, *place, *limit, *numbers))
    return table_csv([*columns, *([_LIMIT] if limit else []), *more], rows)


def measured_columns(
    measured: Measurements | None, pixel: PixelSize | None, count: int
) -> tuple[tuple[str, ...], Sequence[Sequence[object]]]:
    """Names of the columns of measurements, and their values for each of so many segments; none of both without measurements."""
    if measured is None:
        return (), [()] * count
    columns = measured.columns(pixel)
    return tuple(columns), list(zip(*map(plain, columns.values()), strict=True))


def measurements_csv(measured: Measurements, pixel: PixelSize | None = None) -> str:
    """CSV with one row per object, or connected piece of a class, and nothing else: :meth:`Measurements.rows`.

    Args:
        measured: of a result.
        pixel: size of a pixel, for columns in its unit.
    """
    return table_csv([*PIECE_COLUMNS, *measured.columns(pixel)], [tuple(row.values()) for row in measured.rows(pixel)])


def _class_columns(segmentation: Segmentation) -> tuple[str, ...]:
    """Columns of :func:`table`; those that are not always there come last, so that the others keep their places."""
    sure = () if segmentation.confidence is None else (_CONFIDENCE, _MARGIN)
    return (*_CLASS_COLUMNS, *sure, *(() if segmentation.limit is None else (_LIMIT,)))


def cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers as they are, None empty."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def table_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV text (RFC 4180) with a header."""
    text = io.StringIO()
    writer = csv_format.writer(text)
    writer.writerow(columns)
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()


def csv(segmentation: Segmentation, measured: Measurements | None = None, pixel: PixelSize | None = None) -> str:
    """CSV with one row per segment: id in the mask file, class, score, area in pixels and as a share, box in pixels, and measurements.

    Args:
        segmentation: any result. Class names that begin like a formula get an apostrophe in front.
        measured: of its segments; None leaves measurements out.
        pixel: size of a pixel, for columns in its unit.
    """
    pixels = segmentation.height * segmentation.width
    more, lines = measured_columns(measured, pixel, len(segmentation.segments))
    rows = []
    for identity, segment, area, numbers in zip(segmentation.ids, segmentation.segments, segmentation.areas, lines, strict=True):
        x0, y0, x1, y1 = segment.box
        name = segmentation.labels.names[segment.label_id]
        rows.append((identity, segment.label_id, name, segment.score, area, area / pixels, x0, y0, x1 - x0, y1 - y0, *numbers))
    return table_csv([*SEGMENT_COLUMNS, *more], rows)


def class_csv(segmentation: Segmentation) -> str:
    """CSV of :func:`table`, one row per class.

    Args:
        segmentation: any result. Class names that begin like a formula get an apostrophe in front.
    """
    return table_csv(_class_columns(segmentation), [tuple(row.values()) for row in table(segmentation)])


def _json(value: Json) -> bytes:
    """As :func:`seg_demo.outputs.draw.json_parts`, joined."""
    return b"".join(draw.json_parts(value))


def cutout(image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
    """The objects without their surroundings, cut to the box around all of them.

    Args:
        image: uint8 (H, W, 3), the upright original.
        segmentation: of that image, with objects.

    Returns:
        uint8 (h, w, 4), RGBA: the picture's own pixels, opaque in any object and clear elsewhere.

    Raises:
        BadRequestError: there is no object.
    """
    box = tight_box(segmentation.id_map > 0)
    if box is None:
        raise BadRequestError("exports.nothing_to_cut_out")
    x0, y0, x1, y1 = box
    found = np.empty((y1 - y0, x1 - x0, 4), np.uint8)
    found[..., :3] = image[y0:y1, x0:x1]
    found[..., 3] = np.where(segmentation.id_map[y0:y1, x0:x1] > 0, 255, 0)
    return found


class Subject:
    """One segmented picture as the exports take it; what several of them need is made once, and only if one asks.

    Args:
        segmentation: what is written.
        picture: the upright original, uint8 (H, W, 3) or with all that its file stores, which is measured then; or what decodes it.
        file_name: of the image, as COCO names it.
        prefix: what the names of its files begin with.
        pixel: size of a pixel, for measurements in its unit too; None takes what the file states, if it does.
        inside: whether the files of measurements alone leave out objects that touch the edge of the picture.
        counted: :attr:`counted`, where somebody has measured already; None measures when a file asks for it.
    """

    def __init__(
        self, segmentation: Segmentation, picture: Original | Callable[[], Original], file_name: str, prefix: str = "",
        pixel: PixelSize | None = None, inside: bool = False, counted: Measurements | None = None,
    ) -> None:  # fmt: skip
        self.segmentation, self.file_name, self.prefix = segmentation, file_name, prefix
        self.pixel, self.inside = pixel_of(segmentation, pixel), inside
        self._picture = picture
        self._of_tools: dict[str, dict[str, bytes]] = {}
        if counted is not None:
            self.counted = counted

    @cached_property
    def _original(self) -> Original:
        return self._picture() if callable(self._picture) else self._picture

    @property
    def picture(self) -> np.ndarray:
        """uint8 (H, W, 3), the upright original."""
        return self._original.pixels if isinstance(self._original, Picture) else self._original

    @property
    def polygons(self) -> Sequence[list[Polygon]]:
        """:func:`polygons_of` the segmentation, traced once."""
        return self.annotated.polygons

    @cached_property
    def counted(self) -> Measurements:
        """Of what can be counted: its objects, or connected pieces."""
        return measure(self.segmentation, self._intensities, pieces=not TASKS[self.segmentation.task].objects)

    @cached_property
    def measured(self) -> Measurements:
        """Of its segments."""
        return self.counted if TASKS[self.segmentation.task].objects else measure(self.segmentation, self._intensities)

    @property
    def objects(self) -> Measurements:
        """As :attr:`counted`, perhaps without those at the edge."""
        return self.counted.inside() if self.inside else self.counted

    @cached_property
    def annotated(self) -> interchange.Annotated:
        """As other tools' formats take it."""
        return interchange.Annotated(self.file_name, self.segmentation)

    def of_tool(self, name: str) -> dict[str, bytes]:
        """Its files in the format of a tool, a key of :data:`interchange.FORMATS`."""
        if name not in self._of_tools:
            self._of_tools[name] = interchange.FORMATS[name](self.segmentation.labels).of(self.annotated)
        return self._of_tools[name]

    def lost(self, name: str) -> Counter[str]:
        """What a format, a key of :data:`FORMATS`, cannot hold of it: see :func:`interchange.losses`."""
        return interchange.losses(_LACKS[name], self.annotated) if name in _LACKS else Counter()

    def download_of_tool(self, name: str) -> tuple[str, bytes]:
        """One file in the format of a tool, a key of :data:`interchange.FORMATS`, for a click: the end of its name, and its content: the file itself, or
        a zip where the tool wants several, in the folders where it looks for them."""
        files = self.of_tool(name)
        if len(files) == 1:
            return next(iter(files.items()))
        form = interchange.FORMATS[name](self.segmentation.labels)
        if not form.parts():
            files = {**form.add(self.annotated), **form.about()}
        return f"{name}.zip", zip_bytes(files)

    @property
    def _intensities(self) -> Original | None:
        """The picture; None where it has been deleted meanwhile: shapes can be measured without it."""
        with suppress(BadRequestError):
            return self._original
        return None


@dataclass(frozen=True)
class Export:
    """One kind of file that a person can take away.

    Attributes:
        key: of its button's words; also its name for :func:`make`.
        file: its name, after the picture's.
        make: its content.
        button: whether the page offers it by itself.
        bundled: whether it is in the zip, in a batch, and among what the command line writes.
        exists: whether a result has it.
        fits: whether results of a task can have it.
    """

    key: str
    file: str
    make: Callable[[Subject], bytes]
    button: bool = True
    bundled: bool = True
    exists: Callable[[Segmentation], bool] = lambda segmentation: True
    fits: Callable[[Task], bool] = lambda task: True

    def of(self, segmentation: Segmentation) -> bool:
        """Whether there is such a file of a result."""
        return self.fits(TASKS[segmentation.task]) and self.exists(segmentation)


PANOPTIC_PNG, PANOPTIC_JSON = "panoptic.png", "panoptic.json"
# In the order in which the page and the archives show them. A new kind of file is a row here.
EXPORTS: dict[str, Export] = {
    row.key: row
    for row in (
        Export("mask", "mask.png", lambda one: draw.id_map_png(one.segmentation)),
        Export("overlay", "overlay.png", lambda one: draw.overlay_png(one.picture, one.segmentation)),
        Export("coco_rle", "coco_rle.json", lambda one: _json(coco(one.segmentation, one.file_name))),
        Export("coco_polygons", "coco_polygons.json", lambda one: _json(coco(one.segmentation, one.file_name, one.polygons))),
        # Both in one, for a click.
        Export("coco_panoptic", "coco_panoptic.zip", lambda one: zip_bytes(_panoptic(one)), bundled=False, fits=lambda task: task.stuff),
        Export("panoptic_png", PANOPTIC_PNG, lambda one: draw.viewer_id_png(one.segmentation), button=False, fits=lambda task: task.stuff),
        Export(
            "panoptic_json", PANOPTIC_JSON,
            lambda one: _json(coco_panoptic(one.segmentation, one.file_name, one.prefix + PANOPTIC_PNG)), button=False,
            fits=lambda task: task.stuff,
        ),
        Export("geotiff", "mask.tif", lambda one: calibrated.geotiff(one.segmentation), button=False, exists=calibrated.is_georeferenced),
        Export("nifti", "mask.nii.gz", lambda one: calibrated.nifti(one.segmentation), button=False, exists=calibrated.is_gridded),
        Export("dicom_seg", "segmentation.dcm", lambda one: calibrated.dicom_seg(one.segmentation), button=False, bundled=False, exists=calibrated.is_of_series),
        Export("geojson", "segments.geojson", lambda one: _json(geojson(one.segmentation, one.polygons))),
        # For whoever wants one thing out of its picture; the page offers it where that is what one came for.
        Export("cutout", "cutout.png", lambda one: draw.encode_png(cutout(one.picture, one.segmentation)), button=False, bundled=False, fits=lambda task: task.objects),
        # One row per class, or per object with its areas: what a spreadsheet is opened for.
        Export("csv", "table.csv", lambda one: _text(objects_csv(one.segmentation, one.measured if TASKS[one.segmentation.task].objects else None, one.pixel)), bundled=False),
        # Of objects, or connected pieces of classes, alone: offered beside the page's table of them.
        Export("measurements", "measurements.csv", lambda one: _text(measurements_csv(one.objects, one.pixel)), button=False, bundled=False),
        Export("measurements_json", "measurements.json", lambda one: _json(one.objects.to_dict(one.pixel)), button=False, bundled=False),
        Export("segments", "segments.csv", lambda one: _text(csv(one.segmentation, one.measured, one.pixel)), button=False),
        Export("classes", "classes.csv", lambda one: _text(class_csv(one.segmentation)), button=False),
        Export("result", "result.json", lambda one: _json(one.segmentation.to_dict()), button=False),
        Export(
            "confidence", "confidence.png", lambda one: draw.encode_png(one.segmentation.confidence), button=False,
            exists=lambda segmentation: segmentation.confidence is not None,
        ),
    )
}  # fmt: skip
# The files of annotation tools' formats; those that have more than one are a zip for a click.
_TOOL_FILES: dict[str, tuple[str, ...]] = {
    "yolo": ("yolo.txt", "data.yaml"),
    "labelme": ("labelme.json",),
    "labelstudio": ("labelstudio.json", "labeling_config.xml"),
    "cvat": ("annotations.xml",),
    "voc": ("SegmentationClass.png", "SegmentationObject.png", "labelmap.txt"),
    "qupath": ("qupath.geojson",),
    "imagej": ("rois.zip",),
}


def _of_tool(name: str, file: str) -> Export:
    """The row of one file of a tool's format."""
    objects = file == "SegmentationObject.png"
    return Export(
        f"{name}_{file}", file, lambda one: one.of_tool(name)[file], button=False, bundled=False,
        exists=lambda segmentation: TASKS[segmentation.task].objects or not objects,
    )  # fmt: skip


EXPORTS |= {row.key: row for name, files in _TOOL_FILES.items() for row in (_of_tool(name, file) for file in files)}


# What pictures of formats that not every picture has are.
_OF = {"geotiff": "exports.of_earth", "nifti": "exports.of_volume", "dicom-seg": "exports.of_series"}
# What the command line calls them, and the rows that they are.
FORMATS: dict[str, tuple[str, ...]] = {
    "png": ("mask",),
    "coco": ("coco_rle",),
    "coco-panoptic": ("panoptic_png", "panoptic_json"),
    "geojson": ("geojson",),
    "csv": ("segments",),
    "measurements": ("measurements",),
    "geotiff": ("geotiff",),
    "dicom-seg": ("dicom_seg",),
    "nifti": ("nifti",),
    **{name: tuple(f"{name}_{file}" for file in files) for name, files in _TOOL_FILES.items()},
}
# Those that say intensities, as what is written by default does.
MEASURED = frozenset({"csv", "measurements"})

# What formats lack that other programs read as truth.
_LACKS = {"png": frozenset({"scores", "overlaps"}), **{name: form.lacks for name, form in interchange.FORMATS.items()}}


def rows_of(formats: Sequence[str], task: Task) -> tuple[Export, ...]:
    """The kinds of file that some formats are.

    Args:
        formats: keys of :data:`FORMATS`.
        task: of the results.

    Raises:
        BadRequestError: a format of other results; the message says of which.
    """
    rows = [(name, EXPORTS[key]) for name in dict.fromkeys(formats) for key in FORMATS[name]]
    for name, row in rows:
        if not row.fits(task):
            able = ", ".join(other.name for other in TASKS.values() if row.fits(other))
            raise BadRequestError("exports.other_task", format=name, task=task.name, tasks=able)
    return tuple(row for _, row in rows)


def _panoptic(one: Subject) -> dict[str, bytes]:
    """Both files of COCO's panoptic format, by their names."""
    return {one.prefix + row.file: row.make(one) for row in (EXPORTS["panoptic_png"], EXPORTS["panoptic_json"])}


def _text(table: str) -> bytes:
    return table.encode("utf-8", "replace")


def bundle(
    image: Original | Callable[[], Original], segmentation: Segmentation, stem: str, file_name: str | None = None, formats: Sequence[str] = (),
    pixel: PixelSize | None = None,
) -> dict[str, bytes]:  # fmt: skip
    """Every file that a person can take away, or those of some formats.

    Args:
        image: as ``picture`` of :class:`Subject`.
        segmentation: of that image.
        stem: what the files' names begin with, usually the image's name without its suffix; characters that are no
            letters, digits, dots or dashes become underscores. Empty for the bare names.
        file_name: of the image, as COCO names it; None takes the stem with ``.png``.
        formats: keys of :data:`FORMATS`; empty for all that is bundled.
        pixel: size of a pixel, for measurements in its unit too.

    Raises:
        BadRequestError: as :func:`rows_of`.

    Returns:
        File name → content: the bundled rows of :data:`EXPORTS`, each after the stem and an underscore; for
        a result that has confidence also ``confidence.png`` (grey, 255 is certain).
    """
    prefix = re.sub(r"[^\w.-]+", "_", stem).strip(".")
    before = f"{prefix}_" if prefix else ""
    return files_of(Subject(segmentation, image, file_name or f"{prefix or 'image'}.png", before, pixel), formats)


def files_of(subject: Subject, formats: Sequence[str] = ()) -> dict[str, bytes]:
    """As :func:`bundle`, of a subject; names begin with its prefix. A note of its result says what was left out."""
    segmentation = subject.segmentation
    every = rows_of(formats, TASKS[segmentation.task]) if formats else (row for row in EXPORTS.values() if row.bundled)
    rows = [row for row in every if row.of(segmentation)]
    for name in formats:
        if name in _OF and not all(EXPORTS[key].of(segmentation) for key in FORMATS[name]):
            raise BadRequestError("exports.not_calibrated", format=name, of=Message(_OF[name]))
    found = {}
    for row in rows:
        try:
            found[subject.prefix + row.file] = row.make(subject)
        except BadRequestError as error:
            if formats or error.message.key != "exports.not_on_earth":
                raise
            # Nobody asked for it by name, and the rest is not lost with it.
            subject.segmentation = replace(subject.segmentation, notes=(*subject.segmentation.notes, error.message))
    return found


def zip_bytes(files: dict[str, bytes]) -> bytes:
    """A zip archive; the same files always give the same bytes.

    Args:
        files: name → content, such as from :func:`bundle`.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=_DATE)
            # PNGs are compressed already.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


# Pixels that are numbered at a time.
_BAND_PIXELS = 1 << 22


def count(result: Mapping[str, Any], id_map: np.ndarray | None) -> dict[int, dict[str, Any]]:
    """How many of each class are in an image, and how large they are together.

    Args:
        result: of ``Segmentation.to_dict()``.
        id_map: (H, W), the ids of the result; None of a raster that was segmented window by window, whose result says all this itself.

    Returns:
        Label id → ``label``, ``count`` (objects or regions; of semantic results, which know no objects, connected pieces, see
        :func:`pieces_of`), ``pixels`` (of the id map, so that objects that overlap count once) and
        ``mean_score`` in [0, 1] or None.
    """
    if id_map is None:
        return {
            segment["label_id"]: {"label": segment["label"], "count": segment["pieces"], "pixels": segment["area"], "mean_score": segment["score"]}
            for segment in result["segments"]
        }
    classes = not TASKS[result["task"]].objects
    pixels = np.bincount(id_map.ravel(), minlength=1 + max((segment["id"] for segment in result["segments"]), default=0))
    pieces = pieces_of(id_map) if classes else None
    rows: dict[int, dict[str, Any]] = {}
    scores: dict[int, list[float]] = {}
    for segment in result["segments"]:
        label = segment["label_id"]
        row = rows.setdefault(label, {"label": segment["label"], "count": 0, "pixels": 0})
        row["count"] += int(pieces[segment["id"]]) if classes else 1
        row["pixels"] += int(pixels[segment["id"]])
        if segment["score"] is not None:
            scores.setdefault(label, []).append(segment["score"])
    for label, row in rows.items():
        row["mean_score"] = float(np.mean(scores[label])) if label in scores else None
    return rows


def pieces_of(id_map: np.ndarray) -> np.ndarray:
    """Connected pieces of every value of an id map: pixels that touch along an edge are one.

    In bands whose seams are joined: numbers of all pixels at once would take four to twelve bytes each.

    Args:
        id_map: uint8 or uint16 (H, W).

    Returns:
        int64 (largest value + 1,).

    >>> pieces_of(np.array([[1, 0, 1], [1, 0, 0], [0, 2, 1]], np.uint8)).tolist()
    [2, 3, 1]
    """
    # scikit-image and these parts of SciPy take half a second to import, which the page need not wait for.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from skimage.measure import label

    rows = max(1, _BAND_PIXELS // id_map.shape[1])
    values, seams, total, above = [], [], 0, None
    for top in range(0, id_map.shape[0], rows):
        band = id_map[top : top + rows]
        numbers, most = label(band.astype(np.int32), background=-1, connectivity=1, return_num=True)
        own = np.zeros(most, dtype=np.int64)
        own[numbers.ravel() - 1] = band.ravel()
        values.append(own)
        numbers = numbers.astype(np.int64) - 1 + total
        if above is not None:
            meet = id_map[top - 1] == band[0]
            seams.append(np.unique(np.stack([above[meet], numbers[0][meet]]), axis=1))
        above, total = numbers[-1], total + most
    of_piece = np.concatenate(values)
    first, second = np.concatenate(seams, axis=1) if seams else np.zeros((2, 0), dtype=np.int64)
    graph = coo_matrix((np.ones(first.size, dtype=bool), (first, second)), shape=(total, total))
    count, joined = connected_components(graph, directed=False)
    value = np.zeros(count, dtype=np.int64)
    value[joined] = of_piece
    return np.bincount(value, minlength=int(id_map.max()) + 1)

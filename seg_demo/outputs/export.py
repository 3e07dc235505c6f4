"""A segmentation as files that other tools read: COCO, GeoJSON, CSV, PNG, and all of them in one zip."""

from __future__ import annotations

import csv as csv_format
import io
import json
import re
import zipfile
from collections.abc import Sequence

import numpy as np

from seg_demo.outputs import png, render
from seg_demo.outputs.counting import pieces_of
from seg_demo.outputs.polygons import Polygon, keyhole, polygons_of
from seg_demo.painting import count_ids
from seg_demo.rle import encode_crop
from seg_demo.types import Segmentation

Json = dict[str, object]
# A spreadsheet takes a cell that begins like this for a formula (OWASP, CSV injection), also in full width.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_SEGMENT_COLUMNS = ("id", "label_id", "label", "score", "area", "area_fraction", "x", "y", "width", "height")
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
            mask = segmentation.mask_of(index)
            annotation["segmentation"] = encode_crop(mask, segment.box, segmentation.height, segmentation.width)
        else:
            annotation["segmentation"] = [[side for point in keyhole(shape) for side in point] for shape in polygons[index]]
        annotations.append(annotation)
    return {
        "info": {"description": "segmentation", "task": segmentation.task},
        "images": [{"id": 1, "file_name": file_name, "width": segmentation.width, "height": segmentation.height}],
        "categories": [{"id": index, "name": name, "supercategory": ""} for index, name in enumerate(names)],
        "annotations": annotations,
    }


def geojson(segmentation: Segmentation, polygons: Sequence[list[Polygon]] | None = None) -> Json:
    """GeoJSON (RFC 7946) in pixels of the image: x to the right, y down, (0, 0) the image's upper left corner.

    Args:
        segmentation: any result.
        polygons: what ``polygons_of(segmentation)`` gave; None traces them.

    Returns:
        JSON-able FeatureCollection with one Polygon or MultiPolygon per segment. Rings run along the edges of pixels, are
        closed and follow the right-hand rule in x and y as numbers; rasterised they give exactly the mask.
    """
    features = []
    shapes = polygons_of(segmentation) if polygons is None else polygons
    for identity, segment, area, pieces in zip(
        segmentation.ids, segmentation.segments, segmentation.areas, shapes, strict=True
    ):
        closed = [[[list(point) for point in (*ring, ring[0])] for ring in piece] for piece in pieces]
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
                },
            }
        )
    return {
        "type": "FeatureCollection",
        "coordinate_system": "pixels of the image: x to the right, y down, (0, 0) is its upper left corner",
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
    if segmentation.task != "semantic":
        return None
    known = vars(segmentation)
    if "pieces" not in known:
        known["pieces"] = pieces_of(segmentation.id_map)
    return known["pieces"]


def objects_csv(segmentation: Segmentation) -> str:
    """CSV of the page's table: a row per class as in :func:`class_csv`, then one per object or region with its own area.

    Args:
        segmentation: any result; a semantic one has classes only.

    Returns:
        CSV with the columns ``row`` (``class``, ``object`` or ``region``), ``id`` (in the mask file; empty for classes), ``label_id``,
        ``label``, ``area_pixels`` (classes: of the id map, where objects that overlap count once; objects: of their own mask), ``share`` of
        the image in [0, 1], ``count`` (objects, regions, or connected pieces of a semantic class), ``score`` (classes: the mean), and the
        box ``x``, ``y``, ``width``, ``height`` in pixels; ``limit`` as there.
    """
    pixels = segmentation.height * segmentation.width
    columns = ["row", "id", "label_id", "label", "area_pixels", "share", "count", "score", "x", "y", "width", "height"]
    limit = () if segmentation.limit is None else (segmentation.limit.objects,)
    rows: list[tuple[object, ...]] = []
    for each in table(segmentation):
        first = ("class", None, each["label_id"], each["label"], each["pixels"], each["share"], each["count"], each["mean_score"])
        rows.append((*first, None, None, None, None, *limit))
    kind = {"instance": "object", "region": "region"}.get(segmentation.task)
    listed = zip(segmentation.ids, segmentation.segments, segmentation.areas, strict=True) if kind else ()
    for identity, segment, area in listed:
        x0, y0, x1, y1 = segment.box
        name = segmentation.labels.names[segment.label_id]
        place = x0, y0, x1 - x0, y1 - y0
        rows.append((kind, identity, segment.label_id, name, area, area / pixels, 1, segment.score, *place, *limit))
    return _csv([*columns, *([_LIMIT] if limit else [])], rows)


def _class_columns(segmentation: Segmentation) -> tuple[str, ...]:
    """Columns of :func:`table`; those that are not always there come last, so that the others keep their places."""
    sure = () if segmentation.confidence is None else (_CONFIDENCE, _MARGIN)
    return (*_CLASS_COLUMNS, *sure, *(() if segmentation.limit is None else (_LIMIT,)))


def cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers as they are, None empty."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV text (RFC 4180) with a header."""
    text = io.StringIO()
    writer = csv_format.writer(text)
    writer.writerow(columns)
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()


def csv(segmentation: Segmentation) -> str:
    """CSV with one row per segment: id in the mask file, class, score, area in pixels and as a share, box in pixels.

    Args:
        segmentation: any result. Class names that begin like a formula get an apostrophe in front.
    """
    pixels = segmentation.height * segmentation.width
    rows = []
    for identity, segment, area in zip(segmentation.ids, segmentation.segments, segmentation.areas, strict=True):
        x0, y0, x1, y1 = segment.box
        name = segmentation.labels.names[segment.label_id]
        rows.append((identity, segment.label_id, name, segment.score, area, area / pixels, x0, y0, x1 - x0, y1 - y0))
    return _csv(_SEGMENT_COLUMNS, rows)


def class_csv(segmentation: Segmentation) -> str:
    """CSV of :func:`table`, one row per class.

    Args:
        segmentation: any result. Class names that begin like a formula get an apostrophe in front.
    """
    return _csv(_class_columns(segmentation), [tuple(row.values()) for row in table(segmentation)])


def _json(value: Json) -> bytes:
    """JSON without spaces; ASCII, because class names from anywhere may hold what UTF-8 cannot."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def bundle(image: np.ndarray, segmentation: Segmentation, stem: str, file_name: str | None = None) -> dict[str, bytes]:
    """Every file that a person can take away.

    Args:
        image: uint8 (H, W, 3), the upright original.
        segmentation: of that image.
        stem: what the files' names begin with, usually the image's name without its suffix; characters that are no
            letters, digits, dots or dashes become underscores. Empty for the bare names.
        file_name: of the image, as COCO names it; None takes the stem with ``.png``.

    Returns:
        File name → content: ``mask.png`` (ids), ``overlay.png``, ``coco_rle.json``, ``coco_polygons.json``,
        ``segments.geojson``, ``segments.csv``, ``classes.csv`` and ``result.json``, each after the stem and an underscore; for
        a result that has confidence also ``confidence.png`` (grey, 255 is certain).
    """
    prefix = re.sub(r"[^\w.-]+", "_", stem).strip(".")
    shapes = polygons_of(segmentation)
    name = file_name or f"{prefix or 'image'}.png"
    files = {
        "mask.png": render.id_map_png(segmentation),
        "overlay.png": render.overlay_png(image, segmentation),
        "coco_rle.json": _json(coco(segmentation, name)),
        "coco_polygons.json": _json(coco(segmentation, name, shapes)),
        "segments.geojson": _json(geojson(segmentation, shapes)),
        "segments.csv": csv(segmentation).encode("utf-8", "replace"),
        "classes.csv": class_csv(segmentation).encode("utf-8", "replace"),
        "result.json": _json(segmentation.to_dict()),
    }
    if segmentation.confidence is not None:
        files["confidence.png"] = png.encode(segmentation.confidence)
    return {f"{prefix}_{key}" if prefix else key: content for key, content in files.items()}


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

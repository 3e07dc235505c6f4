"""Many segmented images as one set of files: one COCO JSON, tables of counts and areas, and a contact sheet.

What grows with the pixels goes to the disk at once, image by image; only a few numbers per image and class stay in memory.

The contact sheet shows every image as a small picture with its name (in Pillow's own font, and for other signs one of the system's),
so that a person sees at a glance what went wrong.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import time
import unicodedata
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seg_demo.core import AUTO, DETAILS, TASKS, BadRequestError, LabelSet, Message, Options, Segmentation, is_background, write_atomically
from seg_demo.outputs import draw
from seg_demo.outputs.export import PIECE_COLUMNS, cell, count, geojson
from seg_demo.outputs.interchange import FORMATS, Annotated, DataSet, loss_sentences
from seg_demo.outputs.measurements import LENGTHS, UNITS, Measurements, PixelSize

COCO, COUNTS, OBJECTS, PIECES, FAILED, NOTES, SHEET = (
    "coco.json", "counts.csv", "objects.csv", "pieces.csv", "failed.csv", "notes.csv", "contact_sheet.png",
)  # fmt: skip
# What formats of other tools could not hold.
LOSSES = "losses.csv"
# COCO's panoptic format of all images: the PNG files of a batch lie in the folder that panopticapi looks for beside the JSON.
PANOPTIC, PANOPTIC_FOLDER = "panoptic.json", "panoptic"
# What all results of a batch have in common.
RUN = "run.json"
_OBJECT_COLUMNS = ("image", "id", "label_id", "label", "score", "area_pixels", "x", "y", "width", "height")
_COUNT_COLUMNS = ("image", "width", "height", "label_id", "label", "count", "area_pixels", "share", "mean_area_pixels")


def run_of(model: str, options: Options) -> dict[str, Any]:
    """What :data:`RUN` says of a batch: the model, the threshold, and what else was chosen; what was not is left out."""
    run: dict[str, Any] = {"model": model, "threshold": options.threshold}
    if options.detail != DETAILS[0]:
        run["detail"] = options.detail
    if options.task != AUTO:
        run["task"] = options.task
    if options.looks > 1:
        run["looks"] = options.looks
    if options.thresholds:
        run["thresholds"] = dict(options.thresholds)
    run |= options.parameters
    if options.view is not None:
        run["view"] = options.view.to_dict()
    return run


class Summary:
    """The files about all images of a batch. Add every image, then :meth:`close`.

    Args:
        folder: exists; gets :data:`COCO`, :data:`COUNTS`, :data:`OBJECTS` (results with separate segments only),
            :data:`PIECES` (the connected pieces of results that have classes only, measured), :data:`PANOPTIC` (panoptic results only), :data:`FAILED` (if any did), :data:`NOTES` (if there is something to know about how
            one was read) and :data:`SHEET`.
        images: how many there will be.
        labels: the classes; None where they are not known, then those that results name, ``background`` by its name.
        pixel: size of a pixel; None takes what the files state, in the unit of the first one that states any.
    """

    def __init__(self, folder: Path, images: int, labels: LabelSet | None, pixel: PixelSize | None) -> None:
        self._folder, self._pixel, self._labels = folder, pixel, labels
        self._typed, self._pixels = pixel is not None, []
        self._names = {} if labels is None else dict(enumerate(labels.names))
        self._images: list[dict[str, Any]] = []
        self._rows: list[dict[int, dict[str, Any]]] = []
        self._failed: list[tuple[str, str]] = []
        self._notes: list[tuple[str, str]] = []
        self._annotations, self._apart = 0, set()
        self._panoptic: list[dict[str, Any]] = []
        self._things: dict[int, bool] = {}
        self._tasks: set[str] = set()
        self._limits: list[int | None] = []
        self._parts = (folder / f"{COCO}.annotations").open("w", encoding="ascii")
        self._objects: Any = None
        self._pieces: Any = None
        self._sheet = ContactSheet(images)

    def add(
        self, name: str, result: Mapping[str, Any], id_map: np.ndarray | None, picture: np.ndarray | Callable[[], np.ndarray], png: str = "",
        measured: tuple[Sequence[str], Sequence[Sequence[object]]] = ((), ()), pieces: Measurements | None = None,
    ) -> None:  # fmt: skip
        """Add one segmented image.

        Args:
            name: of the image, as the tables call it.
            result: of ``Segmentation.to_dict()``.
            id_map: (H, W), the ids of the result; None of a raster, whose masks are in its own files alone and not in :data:`COCO`.
            picture: uint8 (h, w, 3), of any size: what the contact sheet shows; or what gives it, asked as long as there is room on the sheet.
            png: of a panoptic result, how the JSON calls its PNG.
            measured: of a result that has objects, names and values of further columns of :data:`OBJECTS`, see
                :func:`seg_demo.outputs.export.measured_columns`; of other channels other names.
            pieces: of a result that has none, its connected pieces.
        """
        width, height = result["width"], result["height"]
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": name, "width": width, "height": height})
        stated = self._pixel if self._typed else PixelSize.stated(result.get("pixel_size"), result.get("unit"))
        if self._pixel is None:
            self._pixel = stated
        self._pixels.append(None if self._pixel is None or stated is None else stated.within(self._pixel.unit))
        self._tasks.add(result["task"])
        self._notes += [(name, note) for note in result.get("notes", ())]
        self._limits.append(result.get("limit"))
        rows = count(result, id_map)
        self._rows.append(rows)
        for segment in result["segments"]:
            self._names[segment["label_id"]] = segment["label"]
            if id_map is not None:
                self._write_annotation(number, segment)
        self._apart |= {number} if id_map is None else set()
        if TASKS[result["task"]].objects:
            self._write_objects(name, result["segments"], *self._in_unit(stated, *measured))
        if pieces is not None:
            self._write_pieces(name, pieces)
        if TASKS[result["task"]].stuff:
            self._things |= {segment["label_id"]: segment["isthing"] for segment in result["segments"]}
            segments = [
                {"id": segment["id"], "category_id": segment["label_id"], "area": segment["area"], "bbox": segment["bbox"], "iscrowd": 0}
                for segment in result["segments"]
            ]
            self._panoptic.append({"image_id": number, "file_name": png, "segments_info": segments})
        found = [f"{row['label']}: {row['count']}" for label, row in rows.items() if not self._is_background(label)]
        self._sheet.add(name, picture, ", ".join(found) or "nothing found")

    def fail(self, name: str, why: str) -> None:
        """Note an image that could not be segmented.

        Args:
            name: of the file.
            why: a sentence.
        """
        self._failed.append((name, why))
        self._sheet.add(name, None, why)

    @property
    def pixel(self) -> PixelSize | None:
        """What the tables' areas are in: as typed, or as the first image states it that states any."""
        return self._pixel

    @property
    def notes(self) -> list[tuple[str, str]]:
        """(Image, what is to know about how it was read), once for each sentence."""
        return list(self._notes)

    def limited(self) -> list[tuple[str, int]]:
        """Images in which a detector stopped at a number of objects although there may be more, and that number."""
        return [(image["file_name"], limit) for image, limit in zip(self._images, self._limits, strict=True) if limit is not None]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """The counts so far: header, and one row per image and class; a class that an image lacks has a row of zeros.

        The last column, ``limit``, is there if a detector stopped at a number of objects in any image.
        """
        header = [*_COUNT_COLUMNS, "mean_score"]
        if self._pixel is not None:
            header += [f"area_{self._pixel.unit}2", f"mean_area_{self._pixel.unit}2"]
        limited = bool(self.limited())
        header += ["limit"] if limited else []
        seen = sorted({label for rows in self._rows for label in rows})
        if all(map(self._is_background, seen)):
            # Nothing was found anywhere: that, too, is a count of every class that was looked for.
            seen = sorted({*seen, *(label for label in self._names if not self._is_background(label))})
        table = []
        for image, rows, limit, size in zip(self._images, self._rows, self._limits, self._pixels, strict=True):
            for label in seen:
                row = rows.get(label) or {"label": self._names[label], "count": 0, "pixels": 0, "mean_score": None}
                pixels, number = row["pixels"], row["count"]
                mean = pixels / number if number else None
                share = pixels / (image["width"] * image["height"])
                line = [image["file_name"], image["width"], image["height"], label, row["label"], number, pixels, share, mean]
                line.append(row["mean_score"])
                if self._pixel is not None:
                    line += [None, None] if size is None else [size.area(pixels), None if mean is None else size.area(mean)]
                line += [limit] if limited else []
                table.append(line)
        return header, table

    def close(self) -> list[Path]:
        """Write what is about all images.

        Returns:
            The files.
        """
        header, rows = self.table()
        files = [self._folder / COUNTS, self._folder / COCO, self._folder / SHEET]
        _write_csv(files[0], header, rows)
        self._write_coco(files[1])
        self._sheet.save(files[2])
        for table, path in ((self._objects, OBJECTS), (self._pieces, PIECES)):
            if table is not None:
                table.close()
                files.append(self._folder / path)
        if self._panoptic:
            files.append(self._folder / PANOPTIC)
            files[-1].write_text(json.dumps(self._panoptic_json(), separators=(",", ":")), encoding="ascii")
        if self._failed:
            files.append(self._folder / FAILED)
            _write_csv(files[-1], ["file", "why"], self._failed)
        if self._notes:
            files.append(self._folder / NOTES)
            _write_csv(files[-1], ["image", "note"], self._notes)
        return files

    def _panoptic_json(self) -> dict[str, Any]:
        """As :func:`seg_demo.outputs.export.coco_panoptic`, of all images."""
        things = {label: self._things.get(label, self._labels is None or self._labels.is_thing(label)) for label in self._names}
        categories = [
            {"id": label, "name": name, "isthing": int(things[label]), "supercategory": ""} for label, name in sorted(self._names.items())
        ]
        info = {"description": "segmentation", "task": next(iter(self._tasks))}
        return {"info": info, "images": self._images, "annotations": self._panoptic, "categories": categories}

    def abandon(self) -> None:
        """Let go of the files of a batch that is not finished."""
        for file in (self._parts, self._objects, self._pieces):
            if file is not None:
                with suppress(OSError):  # of what could not be written any more
                    file.close()
        Path(self._parts.name).unlink(missing_ok=True)

    def _is_background(self, label: int) -> bool:
        if self._labels is not None:
            return label == self._labels.background
        return is_background(self._names.get(label, ""))

    def _write_annotation(self, image: int, segment: Mapping[str, Any]) -> None:
        self._annotations += 1
        annotation = {
            "id": self._annotations,
            "image_id": image,
            "category_id": segment["label_id"],
            "iscrowd": 0,
            "area": segment["area"],
            "bbox": segment["bbox"],
            "segmentation": segment["segmentation"],
        }
        if segment["score"] is not None:
            annotation["score"] = segment["score"]
        self._parts.write(json.dumps(annotation, allow_nan=False, separators=(",", ":")) + "\n")

    def _in_unit(self, own: PixelSize | None, columns: Sequence[str] = (), values: Sequence[Sequence[object]] = ()) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        """Measurements with their lengths in the unit of the table."""
        if own is None or self._pixel is None or own.unit == self._pixel.unit:
            return columns, values
        theirs = {f"{name}_{own.unit}": f"{name}_{self._pixel.unit}" for name in LENGTHS}
        factor = UNITS[own.unit] / UNITS[self._pixel.unit]
        scaled = [
            [float(value) * factor if column in theirs and value not in (None, "") else value for column, value in zip(columns, row, strict=True)] for row in values
        ]
        return [theirs.get(column, column) for column in columns], scaled

    def _write_objects(self, name: str, segments: Sequence[Mapping[str, Any]], columns: Sequence[str], values: Sequence[Sequence[object]]) -> None:
        unit, size = [] if self._pixel is None else [f"area_{self._pixel.unit}2"], self._pixels[-1]
        if self._objects is None:
            # Its area in units is there already.
            self._columns = [*unit, *(column for column in columns if column not in unit)]
            self._objects = (self._folder / OBJECTS).open("w", encoding="utf-8", errors="replace", newline="")
            csv.writer(self._objects).writerow([*_OBJECT_COLUMNS, *self._columns])
        elif not {*unit, *columns} <= set(self._columns):
            self._columns = list(dict.fromkeys([*unit, *self._columns, *columns]))
            self._objects = _widened(self._objects, [*_OBJECT_COLUMNS, *self._columns])
        writer = csv.writer(self._objects)
        for found, numbers in zip(segments, values or [()] * len(segments), strict=True):
            row = [name, found["id"], found["label_id"], found["label"], found["score"], found["area"], *found["bbox"]]
            of_column = {**dict(zip(columns, numbers, strict=False)), **dict.fromkeys(unit, None if size is None else size.area(found["area"]))}
            row += [of_column.get(column) for column in self._columns]
            writer.writerow([cell(value) for value in row])

    def _write_pieces(self, name: str, pieces: Measurements) -> None:
        columns = [*PIECE_COLUMNS, *pieces.columns(self._pixels[-1])]
        if self._pieces is None:
            self._piece_columns = columns
            self._pieces = (self._folder / PIECES).open("w", encoding="utf-8", errors="replace", newline="")
            csv.writer(self._pieces).writerow(["image", *self._piece_columns])
        elif not set(columns) <= set(self._piece_columns):
            self._piece_columns = list(dict.fromkeys([*self._piece_columns, *columns]))
            self._pieces = _widened(self._pieces, ["image", *self._piece_columns])
        writer = csv.writer(self._pieces)
        for row in pieces.rows(self._pixels[-1]):
            writer.writerow([cell(value) for value in (name, *(row.get(column) for column in self._piece_columns))])

    def _write_coco(self, path: Path) -> None:
        self._parts.close()
        parts = Path(self._parts.name)
        categories = [{"id": label, "name": name, "supercategory": ""} for label, name in sorted(self._names.items())]
        # What an annotation is, an object or all pixels of a class, decides how the file is read back for training.
        info = {"description": "segmentation"} | ({"task": next(iter(self._tasks))} if len(self._tasks) == 1 else {})
        images = [image for image in self._images if image["id"] not in self._apart]
        head = {"info": info, "images": images, "categories": categories}
        with path.open("w", encoding="ascii") as file, parts.open(encoding="ascii") as lines:
            file.write(json.dumps(head)[:-1] + ',"annotations":[')
            for index, line in enumerate(lines):
                file.write(("," if index else "") + line.rstrip("\n"))
            file.write("]}")
        parts.unlink()


class ForTools:
    """Folders of a batch in other tools' formats, ``<format>/`` each, filled picture by picture; the pictures themselves are where they were.

    Args:
        folder: exists.
        formats: keys of :data:`seg_demo.outputs.interchange.FORMATS`.
        labels: the classes.

    Raises:
        BadRequestError: a format that cannot hold so many classes.
    """

    def __init__(self, folder: Path, formats: Sequence[str], labels: LabelSet) -> None:
        self._folder = folder
        self._sets = {name: DataSet(folder / name, FORMATS[name](labels)) for name in formats}

    def add(self, file: str, segmentation: Segmentation) -> None:
        """Add one picture.

        Args:
            file: of the picture, unique in the batch.
            segmentation: of it.
        """
        one = Annotated(file, segmentation)
        for data in self._sets.values():
            data.add(one)

    def close(self) -> list[tuple[str, Message]]:
        """Write what is about all pictures, and ``losses.csv`` where a format could not hold something.

        Returns:
            (Format, a sentence) of everything that one could not hold.
        """
        lost = []
        for name, data in self._sets.items():
            data.close()
            lost += [(name, sentence) for sentence in loss_sentences(name, data.form.lost)]
        if lost:
            _write_csv(self._folder / LOSSES, ["format", "lost"], lost)
        return lost

    def abandon(self) -> None:
        """Let go of the files of a batch that is not finished."""
        for data in self._sets.values():
            data.abandon()


def picture_of(image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
    """What the contact sheet shows of an image: its overlay, no larger than a tile.

    Args:
        image: uint8 (H, W, 3), the upright original.
        segmentation: of it.
    """
    return np.asarray(thumbnail(draw.overlay(image, segmentation), TILE))


def write_image(folder: Path, stem: str, segmentation: Segmentation, pixel: PixelSize | None) -> None:
    """``masks/<stem>.png`` (ids without loss), ``geojson/<stem>.geojson`` and, of a panoptic result, ``panoptic/<stem>.png`` of one image
    of a batch.

    Args:
        folder: exists.
        stem: unique in the batch; may have folders.
        segmentation: any result.
        pixel: size of a pixel; adds areas in its unit to the GeoJSON, whose coordinates stay pixels.
    """
    shapes = geojson(segmentation)
    if pixel is not None:
        shapes["pixel_size"] = {"length": pixel.length, "unit": pixel.unit}
        for feature in shapes["features"]:
            feature["properties"][f"area_{pixel.unit}2"] = pixel.area(feature["properties"]["area"])
    content = json.dumps(shapes, allow_nan=False, separators=(",", ":")).encode("ascii")
    files = [(f"masks/{stem}.png", draw.id_map_png(segmentation)), (f"geojson/{stem}.geojson", content)]
    if TASKS[segmentation.task].stuff:
        files.append((f"{PANOPTIC_FOLDER}/{stem}.png", draw.viewer_id_png(segmentation)))
    for path, data in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def pack(folder: Path, target: Path) -> Path:
    """Put all files of a folder into a zip archive; each is removed once it is in, so that the disk holds them once.

    Args:
        folder: of the results.
        target: the archive to write.
    """
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(child for child in folder.rglob("*") if child.is_file()):
            method = zipfile.ZIP_STORED if path.suffix == ".png" else zipfile.ZIP_DEFLATED
            archive.write(path, path.relative_to(folder), compress_type=method)
            path.unlink()
    return target


def _widened(file: TextIO, columns: Sequence[str]) -> TextIO:
    """A table that is being written with more columns, empty in the rows so far: the first picture that states the size of its pixels need not come first."""
    file.close()
    path = Path(file.name)
    part = path.with_name(f"{path.name}.part")
    with path.open(encoding="utf-8", newline="") as before, part.open("w", encoding="utf-8", newline="") as after:
        writer = csv.DictWriter(after, columns, restval="")
        writer.writeheader()
        writer.writerows(csv.DictReader(before))
    part.replace(path)
    return path.open("a", encoding="utf-8", errors="replace", newline="")


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([cell(value) for value in row] for row in rows)


TILE = 232
CAPTION = 38
GAP = 12
COLUMNS = 6
MOST_TILES = 300
# Half the side of the cross that stands for an image that failed.
_CROSS = 22
_PAPER, _FRAME, _INK, _SOFT, _FAULT = (255, 255, 255), (236, 237, 235), (25, 28, 26), (99, 103, 98), (176, 36, 36)


class ResultParts:
    """Results of many pictures as parquet files of run lengths, a row for each picture; many rows are in memory, never all.

    Every part is written whole or not at all, so that whoever is stopped goes on where the last part ends.

    Args:
        folder: gets the parts, :data:`PARTS`; made when there is one. Those that are there stay.

    Attributes:
        done: names of the pictures that the parts hold.

    Raises:
        BadRequestError: a part that is there cannot be read, or pyarrow is missing.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise BadRequestError("cli.no_pyarrow") from error
        self._folder, self._rows, self._written = folder, [], time.monotonic()
        self.done: set[str] = set()
        for part in sorted(folder.glob(PARTS)):
            try:
                self.done.update(pq.read_table(part, columns=["image"])["image"].to_pylist())
            except (OSError, ValueError, KeyError) as error:
                raise BadRequestError("cli.bad_part", path=part, why=error) from error

    def clear(self) -> None:
        """Begin anew.

        Raises:
            OSError: a part cannot be removed.
        """
        for part in self._folder.glob(PARTS):
            part.unlink()
        self.done.clear()

    def add(self, name: str, source: str, result: Mapping[str, Any]) -> None:
        """Add a picture's result; it is on the disk with the next part.

        Args:
            name: of the picture, unique.
            source: where it lies.
            result: of ``Segmentation.to_dict()``.

        Raises:
            OSError, StorageError: the disk is full or fails.
        """
        segments = [{**segment, "counts": segment["segmentation"]["counts"]} for segment in result["segments"]]
        model, seconds = result["model"] or {}, result["seconds"].get("total")
        self._rows.append({
            **{key: result.get(key) for key in ("task", "width", "height", "device", "familiar", "limit", "pixel_size", "unit", "crs")},
            "image": name, "source": source, "model": model.get("id"), "revision": model.get("revision"), "seconds": seconds,
            "view": json.dumps(result["view"]) if "view" in result else None, "notes": list(map(str, result["notes"])), "segments": segments,
        })  # fmt: skip
        if len(self._rows) >= PART_ROWS or time.monotonic() - self._written > PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has been added since the last part.

        Raises:
            OSError, StorageError: the disk is full or fails.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._written = time.monotonic()
        if not self._rows:
            return
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(self._rows, schema=_part_schema()), file, compression="zstd")
        self._folder.mkdir(parents=True, exist_ok=True)
        # A name of its own, whoever else writes here.
        write_atomically(self._folder / PARTS.replace("*", uuid.uuid4().hex), file.getvalue())
        self.done.update(row["image"] for row in self._rows)
        self._rows = []


# A part is written when so many rows are in memory, or when the last one was written so many seconds ago.
PART_ROWS, PART_SECONDS, PARTS = 500, 30.0, "part-*.parquet"


def _part_schema() -> Any:
    """Of the parts: a picture's row; ``counts`` is COCO's compressed run lengths, ``bbox`` its [x, y, width, height] in pixels."""
    import pyarrow as pa

    segment = pa.struct({
        "id": pa.int32(), "label_id": pa.int32(), "label": pa.string(), "score": pa.float64(), "area": pa.int64(), "area_fraction": pa.float64(),
        "area_units": pa.float64(), "bbox": pa.list_(pa.int32(), 4), "isthing": pa.bool_(), "counts": pa.string(),
    })  # fmt: skip
    return pa.schema({
        "image": pa.string(), "source": pa.string(), "width": pa.int32(), "height": pa.int32(), "task": pa.string(), "model": pa.string(),
        "revision": pa.string(), "device": pa.string(), "seconds": pa.float64(), "familiar": pa.bool_(), "limit": pa.int32(), "pixel_size": pa.list_(pa.float64()),
        "unit": pa.string(), "crs": pa.string(), "view": pa.string(), "notes": pa.list_(pa.string()), "segments": pa.list_(segment),
    })  # fmt: skip


class ContactSheet:
    """A grid that is filled one picture at a time; only the sheet itself is in memory, at most 300 tiles (62 MB).

    Args:
        images: how many there will be; those beyond :data:`MOST_TILES` are only counted.
    """

    def __init__(self, images: int) -> None:
        self._total = images
        self._shown = max(1, min(images, MOST_TILES))
        self._columns = min(COLUMNS, self._shown)
        rows = -(-self._shown // self._columns)
        height = rows * (TILE + CAPTION + GAP) + GAP + (CAPTION if images > self._shown else 0)
        self._sheet = Image.new("RGB", (self._columns * (TILE + GAP) + GAP, height), _PAPER)
        self._draw = ImageDraw.Draw(self._sheet)
        self._count = 0

    def add(self, name: str, picture: np.ndarray | Callable[[], np.ndarray] | None, note: str) -> None:
        """Put the next picture on the sheet.

        Args:
            name: of the image.
            picture: uint8 (H, W, 3), usually the overlay, or what gives it; None for an image that failed, which gets an empty frame.
            note: the line below the name, such as what was counted, or why it failed.
        """
        if self._count >= self._shown:
            self._count += 1
            return
        row, column = divmod(self._count, self._columns)
        left, top = GAP + column * (TILE + GAP), GAP + row * (TILE + CAPTION + GAP)
        self._draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=_FRAME)
        if picture is None:
            x, y = left + TILE // 2, top + TILE // 2
            self._draw.line((x - _CROSS, y - _CROSS, x + _CROSS, y + _CROSS), fill=_FAULT, width=5)
            self._draw.line((x - _CROSS, y + _CROSS, x + _CROSS, y - _CROSS), fill=_FAULT, width=5)
        else:
            small = thumbnail(picture() if callable(picture) else picture, TILE)
            self._sheet.paste(small, (left + (TILE - small.width) // 2, top + (TILE - small.height) // 2))
        ink = _INK if picture is not None else _FAULT
        # By their baselines: fonts differ in what is above it.
        for text, size, y, color, keep_end in ((name, 14, 16, ink, True), (note, 12, 32, _SOFT, False)):
            drawn, font = drawable(text, size)
            self._draw.text((left, top + TILE + y), self._fitting(drawn, font, keep_end), fill=color, font=font, anchor="ls")
        self._count += 1

    def save(self, path: Path) -> None:
        """Write the sheet as a PNG."""
        if self._total > self._shown:
            text = f"and {self._total - self._shown} more images, which the tables list"
            self._draw.text((GAP, self._sheet.height - CAPTION), text, fill=_SOFT, font=ImageFont.load_default(14))
        self._sheet.save(path, "PNG", compress_level=4)

    def _fitting(self, text: str, font: Font, keep_end: bool) -> str:
        """The text, cut with an ellipsis to the width of a tile; of file names the end says more than the beginning."""
        text = text[-300 if keep_end else 0 :][:300]
        if self._draw.textlength(text, font=font) <= TILE:
            return text
        while text and self._draw.textlength("…" + text, font=font) > TILE:
            text = text[1:] if keep_end else text[:-1]
        return "…" + text if keep_end else text + "…"


def thumbnail(picture: np.ndarray, side: int) -> Image.Image:
    """A picture within a square, its sides in proportion; averaged when it shrinks, repeated pixels when it grows.

    Args:
        picture: uint8 (H, W, 3).
        side: of the square in pixels.
    """
    image = Image.fromarray(picture)
    scale = side / max(image.size)
    size = tuple(max(1, round(length * scale)) for length in image.size)
    return image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST, reducing_gap=None)


Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Where systems keep fonts, and what those that know many signs are called: European ones first, then Chinese ones.
_FOLDERS = {
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts"),
    "win32": ("C:/Windows/Fonts",),
}
_NAMES = (
    "DejaVuSans", "LiberationSans", "NotoSans-", "Helvetica", "arial", "NotoSansCJK", "NotoSansSC", "SourceHanSans", "wqy-microhei",
    "wqy-zenhei", "DroidSansFallback", "PingFang", "Hiragino", "STHeiti", "Arial Unicode", "msyh", "simhei", "simsun",
)  # fmt: skip
_SUFFIXES = (".ttf", ".ttc", ".otf")


def drawable(text: str, size: int) -> tuple[str, Font]:
    """A text as it can be drawn, and the font to draw it with.

    Args:
        text: anything.
        size: of the font in pixels.

    Returns:
        The text, in which control signs are blanks, and signs that the font lacks are their plain letter or ``?``; and the
        font that has most of its signs.
    """
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    signs = {sign for sign in text if not sign.isspace()}
    if all(_usual(size, sign) for sign in signs):
        return text, _default(size)
    best, most = _default(size), -1
    for font in _candidates(size):
        known = sum(_has(font, sign) for sign in signs)
        if known > most:
            best, most = font, known
        if known == len(signs):
            break
    return "".join(sign if sign.isspace() or _has(best, sign) else _plain(sign) for sign in text), best


@lru_cache(maxsize=8)
def _default(size: int) -> Font:
    """The font that comes with Pillow, unpacked once."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def _usual(size: int, sign: str) -> bool:
    """Whether that font has a sign: it has all of most names, of which a contact sheet has hundreds. Fonts of the system are files that stay open
    as long as they are remembered."""
    return _has(_default(size), sign)


def _candidates(size: int) -> Iterator[Font]:
    yield _default(size)
    for path in _of_system():
        try:
            font = ImageFont.truetype(path, size)
        except OSError:
            continue  # damaged, or not a font that Pillow reads
        yield font


def _has(font: Font, sign: str) -> bool:
    """Whether a font draws a sign; what it lacks it draws as it draws a sign that does not exist."""
    return bytes(font.getmask(sign)) != bytes(font.getmask("\uffff"))


def _plain(sign: str) -> str:
    """The letter without its accent, or a question mark."""
    letter = unicodedata.normalize("NFKD", sign)[0]
    return letter if letter.isascii() else "?"


@lru_cache(maxsize=1)
def _of_system() -> tuple[str, ...]:
    """The paths of the system's fonts of the names above, one for each name, in their order."""
    # Regular ones before bold and slanted ones, whose names are longer.
    found = sorted(_files(), key=lambda path: ("regular" not in path.stem.casefold(), len(path.stem), path.stem))
    first = (next((path for path in found if path.stem.casefold().startswith(name.casefold())), None) for name in _NAMES)
    return tuple(str(path) for path in first if path is not None)


def _files() -> Iterator[Path]:
    for folder in _FOLDERS.get(sys.platform, ()):
        place = Path(folder).expanduser()
        if place.is_dir():
            yield from (path for path in place.rglob("*") if path.suffix.lower() in _SUFFIXES)

"""The result of a raster too large for memory: its bands of labels are kept on the disk as they come, and what people take away is written
from them in one pass.

A band that is there is never computed again: after an interruption, a full disk or a crash the same call goes on with the next one. Written are
``mask.tif`` (tiles, compressed, with the raster's CRS and affine), ``segments.geojson`` (outlines across all bands, as :func:`seg_demo.outputs.export.geojson`
has them of a picture), ``segments.csv`` (areas), ``overlay.png`` (small enough to look at) and, last, ``result.json``. Nothing of all this is ever in
memory as a whole, but for outlines that are still open and a few numbers for each ring.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import orjson

from seg_demo.core import (
    BadRequestError, LabelSet, Message, ModelSpec, Segmentation, StorageError, disk_full, extents, mean_scores, semantic_segmentation,
    write_atomically,
)
from seg_demo.outputs import calibrated, draw
from seg_demo.outputs.export import SEGMENT_COLUMNS, table_csv
from seg_demo.outputs.polygons import Tracer

if TYPE_CHECKING:
    from seg_demo.core import Options, Report
    from seg_demo.inference.model import Model
    from seg_demo.inference.rasters import Frozen
    from seg_demo.inputs.scientific import Raster

RESULT, MASK, OVERLAY = "result.json", "mask.tif", "overlay.png"
# The files of the formats that a raster can be written in.
FORMATS = {"geotiff": MASK, "geojson": "segments.geojson", "csv": "segments.csv"}
# Folder, in that of the result, of what is not finished.
UNFINISHED = ".bands"
_FACTS, _COMPUTED = "facts.json", "computed.json"
# Longest side of what is looked at; corners of outlines that are put into degrees, and pixels that are traced, at a time.
LOOKED_AT, _POINTS, _TRACED = 2048, 20_000, 1 << 21
_HEAD = struct.Struct("<IQ")


class _Bands:
    """Bands of labels in a folder, one file each, in their order.

    Args:
        folder: of the work.

    Attributes:
        count: of those that are there, from the first on.
        all: of those that there shall be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.count, self.all = folder, 0, 0
        if (folder / _FACTS).is_file():
            self.all = json.loads((folder / _FACTS).read_text(encoding="utf-8"))["bands"]
        while self._path(self.count).is_file():
            self.count += 1

    def begin(self, facts: Mapping[str, Any], fresh: bool = False) -> None:
        """Keep bands of this; those of anything else are removed, and with ``fresh`` all that are there."""
        text = json.dumps(facts, sort_keys=True)
        if fresh or not (self.folder / _FACTS).is_file() or (self.folder / _FACTS).read_text(encoding="utf-8") != text:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.count, self.all = 0, facts["bands"]
            self.folder.mkdir(parents=True)
            write_atomically(self.folder / _FACTS, text)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05}"

    def add(self, number: int, labels: np.ndarray, small: np.ndarray, head: Mapping[str, Any]) -> None:
        """One more: labels (h, W), what is looked at of the picture uint8 (h', W', 3), and what else belongs to it."""
        text = json.dumps({**head, "dtype": labels.dtype.str, "shape": labels.shape, "small": small.shape}).encode()
        packed = zlib.compress(np.ascontiguousarray(labels).data, 1)
        write_atomically(self._path(number), b"".join([_HEAD.pack(len(text), len(packed)), text, packed, small.tobytes()]))
        self.count = number + 1

    def head(self, number: int) -> dict[str, Any]:
        """What belongs to a band."""
        with self._path(number).open("rb") as file:
            return self._head(file)[0]

    @staticmethod
    def _head(file: BinaryIO) -> tuple[dict[str, Any], int]:
        length, packed = _HEAD.unpack(file.read(_HEAD.size))
        return json.loads(file.read(length)), packed

    def __iter__(self) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
        for number in range(self.count):
            with self._path(number).open("rb") as file:
                head, packed = self._head(file)
                labels = np.frombuffer(zlib.decompress(file.read(packed)), dtype=head["dtype"]).reshape(head["shape"])
                small = np.frombuffer(file.read(), dtype=np.uint8).reshape(head["small"])
            yield head, labels, small


def check_formats(formats: Sequence[str]) -> None:
    """BadRequestError if a raster cannot be written in one of some formats."""
    for name in formats:
        if name not in FORMATS:
            raise BadRequestError("rasters.other_format", format=name, formats=", ".join(FORMATS))


def segment(
    model: Model | Frozen, raster: Raster, folder: Path, options: Options, formats: Sequence[str] = (), report: Report | None = None, fresh: bool = False,
    source: Path | None = None, overlay: bool = False,
) -> Segmentation:  # fmt: skip
    """Segment a raster in full detail into a folder, or go on where an earlier call was interrupted.

    Args:
        model: gives classes of pixels.
        raster: opened.
        folder: gets the files; it is made.
        options: what is asked for.
        formats: keys of :data:`FORMATS`; empty for all, and the overlay. ``result.json`` is always written, last.
        report: called with the fraction done and a few words.
        fresh: whether to begin anew.
        overlay: also ``overlay.png`` where formats are named.
        source: the file, of which bands that are there must be; None for one that nobody changes meanwhile.

    Returns:
        The result at a size that can be looked at, as ``overlay.png`` shows it; its areas are those of this size.

    Raises:
        BadImageError: the raster is damaged somewhere; the bands before stay.
        BadRequestError: the model gives no classes of pixels, a view that does not fit it, or a format that no raster is written in.
        StorageError: the disk is full or fails; what is there stays, and the same call goes on.
    """
    compute(model, raster, folder, options, formats, report, fresh, source)
    return write(model.spec, model.labels, raster, folder, formats, report, overlay)


def compute(
    model: Model | Frozen, raster: Raster, folder: Path, options: Options, formats: Sequence[str] = (), report: Report | None = None, fresh: bool = False,
    source: Path | None = None,
) -> None:  # fmt: skip
    """The first half of :func:`segment`: every band, kept in a folder in that of the result.

    Args:
        model: as there; so are all others, and what is raised.
    """
    check_formats(formats)
    count = model.bands(raster, options)
    state = None if source is None else source.stat()
    facts = {
        "model": [model.spec.id, model.spec.revision, model.spec.architecture, list(model.labels.names), _written(model.spec.id)],
        "raster": [raster.height, raster.width, raster.view.to_dict(), *([] if state is None else [state.st_size, state.st_mtime_ns])],
        "task": options.task, "bands": count,
    }  # fmt: skip
    began, bands = time.perf_counter(), _Bands(folder / UNFINISHED)
    with _explained(folder, bands):
        bands.begin(facts, fresh)
        done = bands.count
        if done:
            raster.resume(bands.head(done - 1)["raster"])
        if done < count:
            raster.prepare(report)
            step = -(-max(raster.height, raster.width) // LOOKED_AT)

            def leave(number: int, top: int, labels: np.ndarray, scores: np.ndarray) -> None:
                small = raster[top + -top % step : top + len(labels) : step, ::step]
                bands.add(number, labels, small, {"top": top, "step": step, "scores": scores.tolist(), "raster": raster.state})

            device, familiar, notes = model.run_rows(raster, options, leave, done, _timed(report, done / count))
            seconds = round(time.perf_counter() - began, 6)
            write_atomically(bands.folder / _COMPUTED, json.dumps({"device": device, "familiar": familiar, "notes": notes, "seconds": seconds}))


def write(
    spec: ModelSpec, labels: LabelSet, raster: Raster, folder: Path, formats: Sequence[str] = (), report: Report | None = None, overlay: bool = False
) -> Segmentation:
    """The second half of :func:`segment`: every file, from bands that are all there. It takes no network, so that a process can do it which has none.

    Args:
        spec: of the model that has computed them.
        labels: its classes.
        raster: opened, maybe again.
        folder: as of :func:`compute`; so are the others.

    Raises:
        StorageError: the disk is full or fails; what is there stays, and the same call goes on.
    """
    bands = _Bands(folder / UNFINISHED)
    with _explained(folder, bands):
        raster.resume(bands.head(bands.count - 1)["raster"])
        result = _write(spec, labels, raster, bands, folder, formats, overlay or not formats, report)
        shutil.rmtree(bands.folder, ignore_errors=True)
    return result


@contextmanager
def _explained(folder: Path, bands: _Bands) -> Iterator[None]:
    """StorageError for what the disk raises."""
    try:
        yield
    except OSError as error:
        key = "rasters.disk_full" if disk_full(error) else "rasters.disk_failed"
        raise StorageError(key, folder=folder.name, done=bands.count, count=bands.all, why=error.strerror or str(error)) from error


def _written(id: str) -> int:
    """When a checkpoint folder got its weights; 0 for models that have a revision."""
    return max((path.stat().st_mtime_ns for path in Path(id).glob("*.safetensors")), default=0) if os.path.isdir(id) else 0


def _timed(report: Report | None, begin: float) -> Report | None:
    """A report that says how long the rest will take, from what was done since now."""
    if report is None:
        return None
    started = time.perf_counter()

    def said(fraction: float | None, text: object) -> None:
        done = (fraction or 0) - begin
        if done <= 0:
            report(fraction, text)
            return
        left = (time.perf_counter() - started) / done * (1 - fraction)
        minutes, seconds = divmod(round(left), 60)
        report(fraction, Message("progress.left", what=text, left=f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"))

    return said


def _write(
    spec: ModelSpec, labels: LabelSet, raster: Raster, bands: _Bands, folder: Path, formats: Sequence[str], overlay: bool, report: Report | None
) -> Segmentation:
    """Every file, from bands that are all there."""
    wanted, shape = [FORMATS[name] for name in (formats or FORMATS)], (raster.height, raster.width)
    areas = _Areas(len(labels))
    scores: list[np.ndarray] = []
    small: list[tuple[np.ndarray, np.ndarray]] = []
    outlines = _Outlines(bands.folder / "rings", raster.width) if FORMATS["geojson"] in wanted else None
    dtype = np.dtype(np.uint8 if len(labels) <= 255 else np.uint16)

    def passed() -> Iterator[np.ndarray]:
        for number, (head, band, picture) in enumerate(bands, start=1):
            areas.add(band)
            scores.append(np.array(head["scores"]))
            first = -head["top"] % head["step"]
            small.append((band[first :: head["step"], :: head["step"]].copy(), picture))
            if outlines is not None:
                outlines.add(band)
            if report is not None:
                report(number / bands.count, Message("progress.writing_raster"))
            yield band

    if MASK in wanted:
        part = bands.folder / "mask.part"
        calibrated.write_tiff(part, passed(), shape, dtype, raster.calibration)
        os.replace(part, folder / MASK)
    else:
        for _ in passed():
            pass
    means = mean_scores(np.stack(scores))
    found = Segments(labels, areas, means, shape, raster, None if outlines is None else outlines.pieces())
    left: list[Message] = []
    if outlines is not None:
        try:
            with (bands.folder / "geojson.part").open("wb") as file:
                for part in outlines.geojson(found):
                    file.write(part)
            os.replace(bands.folder / "geojson.part", folder / FORMATS["geojson"])
        except BadRequestError as error:  # some of it is nowhere on Earth
            if formats:
                raise
            left.append(error.message)
            wanted.remove(FORMATS["geojson"])
    if FORMATS["csv"] in wanted:
        write_atomically(folder / FORMATS["csv"], found.csv())
    ids, seen = (np.concatenate(parts) for parts in zip(*small, strict=True))
    looked_at = semantic_segmentation(ids, labels, means)
    if overlay:
        write_atomically(folder / OVERLAY, draw.overlay_png(seen, looked_at))
    computed = bands.folder / _COMPUTED  # not there if all ended between the last band and this
    known = json.loads(computed.read_text(encoding="utf-8")) if computed.is_file() else {}
    notes = [*raster.notes, *known.get("notes", ()), *left]
    result = {
        "task": looked_at.task, "model": {"id": spec.id, "revision": spec.revision, "architecture": spec.architecture, "source": spec.source},
        "width": raster.width, "height": raster.height, "device": known.get("device"), "seconds": {"total": known.get("seconds", 0.0)},
        "familiar": known.get("familiar"), "notes": notes, "limit": None, "view": raster.view.to_dict(),
        **({} if raster.calibration is None else raster.calibration.to_dict()), "windows": bands.count,
        "files": [*wanted, *([OVERLAY] if overlay else [])], "segments": found.rows(),
    }  # fmt: skip
    write_atomically(folder / RESULT, json.dumps(result))
    return replace(looked_at, notes=tuple(notes))


class _Areas:
    """Pixels and boxes of classes, band by band."""

    def __init__(self, count: int) -> None:
        self.pixels = np.zeros(count, dtype=np.int64)
        self.boxes = np.tile(np.array([np.iinfo(np.int64).max] * 2 + [0] * 2), (count, 1))
        self._top = 0

    def add(self, band: np.ndarray) -> None:
        """The next rows (h, W)."""
        pixels, boxes = extents(band)
        there = np.flatnonzero(pixels)
        moved = boxes[there] + np.array([0, self._top, 0, self._top])
        self.boxes[there, :2] = np.minimum(self.boxes[there, :2], moved[:, :2])
        self.boxes[there, 2:] = np.maximum(self.boxes[there, 2:], moved[:, 2:])
        self.pixels[: len(pixels)] += pixels[: len(self.pixels)]
        self._top += len(band)


class Segments:
    """The classes that are there, as results list them.

    Args:
        labels: the classes.
        areas: of them.
        scores: of them.
        shape: height and width.
        raster: for size and place of its pixels.
        pieces: connected pieces of classes, where they were counted.
    """

    def __init__(
        self, labels: LabelSet, areas: _Areas, scores: Mapping[int, float], shape: tuple[int, int], raster: Raster, pieces: np.ndarray | None
    ) -> None:
        self._labels, self._areas, self._scores, self.shape, self.calibration, self._pieces = labels, areas, scores, shape, raster.calibration, pieces

    def rows(self) -> list[dict[str, Any]]:
        """As in a result, but for the masks; ``pieces`` are connected ones."""
        unit = None if self.calibration is None else self.calibration.pixel_area
        found = []
        for label in np.flatnonzero(self._areas.pixels).tolist():
            area, (x0, y0, x1, y1) = int(self._areas.pixels[label]), self._areas.boxes[label].tolist()
            row = {
                "id": label, "label_id": label, "label": self._labels.names[label], "score": self._scores.get(label), "area": area,
                "area_fraction": area / (self.shape[0] * self.shape[1]), "bbox": [x0, y0, x1 - x0, y1 - y0],
            }  # fmt: skip
            row |= {} if unit is None else {"area_units": area * unit}
            row |= {} if self._pieces is None else {"pieces": int(self._pieces[label])}
            found.append(row)
        return found

    def csv(self) -> str:
        """A row per class."""
        rows = self.rows()
        more = [name for name in ("area_units", "pieces") if rows and name in rows[0]]
        values = [(*(row[name] for name in SEGMENT_COLUMNS[:6]), *row["bbox"], *(row[name] for name in more)) for row in rows]
        return table_csv((*SEGMENT_COLUMNS, *more), values)


class _Outlines:
    """Rings of all classes, on the disk as they close, and out of there as GeoJSON.

    Args:
        path: of a file for them.
        width: pixels of a row.
    """

    def __init__(self, path: Path, width: int) -> None:
        self._path, self._file = path, path.open("wb")
        # Of every ring, of which there may be millions: its class, its piece, and its points, less than none of a hole.
        self._labels, self._pieces, self._counts = array("H"), array("I"), array("i")
        self._tracer = Tracer(width, self._take)

    def _take(self, label: int, piece: int, ring: np.ndarray) -> None:
        self._labels.append(label)
        self._pieces.append(piece)
        # From its upper left corner an outline goes to the right, and a hole down.
        self._counts.append(len(ring) if ring[0, 1] == ring[1, 1] else -len(ring))
        self._file.write(ring.tobytes())

    def add(self, band: np.ndarray) -> None:
        """The next rows, a few at a time: the tracer numbers every pixel of what it is given."""
        rows = max(1, _TRACED // band.shape[1])
        for top in range(0, len(band), rows):
            self._tracer.add(band[top : top + rows])

    def pieces(self) -> np.ndarray:
        """Connected pieces of every class, once all rows have come."""
        self._tracer.close()
        self._file.close()
        counted = self._tracer.pieces()
        self._roots = self._tracer.roots()[np.asarray(self._pieces)]
        del self._tracer, self._pieces  # of each piece and ring some bytes, beside what sorting takes
        return np.concatenate([counted, np.zeros(1 << 16, dtype=np.int64)])

    def geojson(self, found: Segments) -> Iterator[bytes]:
        """The file, a Feature per class, in parts."""
        labels, counts = np.asarray(self._labels), np.asarray(self._counts)
        outer, offsets = counts > 0, np.concatenate([[0], np.cumsum(np.abs(counts), dtype=np.int64)])
        # A class's pieces after each other, of each the outer ring first, holes in their order (the sort is stable).
        order = np.lexsort((~outer, self._roots, labels))
        place = None if found.calibration is None else found.calibration.georeference
        place = place if place is not None and place.crs else None
        pixels = "pixels of the image: x to the right, y down, (0, 0) is its upper left corner"
        where = "longitude and latitude in degrees, WGS 84 (RFC 7946)" if place else pixels
        yield json.dumps({"type": "FeatureCollection", "coordinate_system": where, "width": found.shape[1], "height": found.shape[0]})[:-1].encode()
        yield b', "features": ['
        rings = self._rings(order, offsets, outer, place)
        for number, row in enumerate(found.rows()):
            mine = order[labels[order] == row["label_id"]]
            single = int(outer[mine].sum()) == 1
            yield (b"," if number else b"") + f'{{"type": "Feature", "id": {row["id"]}, "geometry": {{"type": "{"Polygon" if single else "MultiPolygon"}", "coordinates": '.encode()
            yield b"" if single else b"["
            for index, one in enumerate(mine):
                before = (b"]," if index else b"") + b"[" if outer[one] else b","
                yield before + next(rings)
            properties = {name: row[name] for name in ("label_id", "label", "score", "area", "area_units") if name in row}
            yield (b"]" if single else b"]]") + b'}, "properties": ' + json.dumps(properties).encode() + b"}"
        yield b"]}"

    def _rings(self, order: np.ndarray, offsets: np.ndarray, outer: np.ndarray, place: Any) -> Iterator[bytes]:
        """Each ring, closed, as JSON."""
        with self._path.open("rb", buffering=0) as file:  # here and there, some bytes each
            for batch in _batches(map(int, order), lambda one: int(offsets[one + 1] - offsets[one])):
                rings = []
                for one in batch:
                    file.seek(int(offsets[one]) * 8)
                    points = file.read(int(offsets[one + 1] - offsets[one]) * 8)
                    rings.append((np.frombuffer(points + points[:8], dtype=np.int32).reshape(-1, 2), bool(outer[one])))
                shown = calibrated.rings_on_earth(place, rings) if place else [ring for ring, _ in rings]
                yield from (orjson.dumps(ring, option=orjson.OPT_SERIALIZE_NUMPY) for ring in shown)


def _batches(items: Iterable[int], size: Callable[[int], int]) -> Iterator[list[int]]:
    """Items in their order, some at a time."""
    batch, total = [], 0
    for item in items:
        batch.append(item)
        total += size(item)
        if total >= _POINTS:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch

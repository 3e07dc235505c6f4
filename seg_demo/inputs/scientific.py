"""Pictures of microscopes, scanners and satellites: sent to a process that can do nothing else, and back as a :class:`Picture`.

What is read: TIFF and BigTIFF of every kind (OME, ImageJ, GeoTIFF), DICOM, NIfTI, ``.npy`` and PNG of 16 bits. None of their readers is
imported here, nor ever meets a file in this process: :mod:`seg_demo.inputs.scientific_files` does that. It stays ready for
``IDLE_SECONDS``, so that a second file costs what decoding costs.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import queue
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from seg_demo.core import (
    BadImageError, BadRequestError, BusyError, Calibration, Distribution, Georeference, Grid, Message, Picture, Stack, View, requests,
)
from seg_demo.core.sandbox import Helper, ProcessError, open_written
from seg_demo.inputs import planes
from seg_demo.inputs.formats import Limits, check_size, refuse
from seg_demo.inputs.planes import absence
from seg_demo.inputs.tiff import Tiff

IDLE_SECONDS = 600.0
# For one file: of processor time, and on the clock, where others compute too.
SECONDS, CLOCK = 60.0, 150.0
# Files that are read at the same time; as many helpers of about 120 MB are there at most.
TOGETHER = 2
# Bytes of memory per accepted pixel: of the child, of a page as it is stored, and of the samples that are kept.
MEMORY, PAGE, KEPT = 32, 16, 8
_MODULE = "seg_demo.inputs.scientific_files"
_MEMORY_FOLDER = Path("/dev/shm")
_DTYPES = frozenset(f"{order}{kind}" for order in "<|" for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"))
# What is wanted of a file, and the files in which a child leaves it.
PIXELS, SAMPLES, LOOK, STACK = "pixels", "samples", "look", "stack"
_POINTS, _FACTS = "points", "facts"
# Bytes of what is said about a structure set.
MOST_FACTS = 500_000_000
_AGAIN = Message("advice.again")
# Pixels of a raster that are read at a time, and memory of the child that does it.
_BAND_PIXELS, _BAND_MEMORY = 16_000_000, 1_500_000_000
# What nobody asks about of a raster, for it is read in parts.
MOST_BYTES = 1 << 50
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Decoders:
    """The helpers that read files, each one file at a time; the one that was used last is used first."""

    def __init__(self) -> None:
        self._free: queue.LifoQueue[Helper] = queue.LifoQueue()
        self._every = [Helper(_MODULE, str(IDLE_SECONDS)) for _ in range(TOGETHER)]
        for helper in self._every:
            self._free.put(helper)

    def answer(self, order: dict[str, object]) -> dict[str, Any]:
        """What a child made of a file.

        Raises:
            BusyError: no process can be started for it.
        """
        taken: list[Helper] = []

        def turn(seconds: float) -> bool:
            with suppress(queue.Empty):
                taken.append(self._free.get(timeout=seconds))
            return bool(taken)

        requests.wait(turn)
        helper = taken[0]
        try:
            reply = helper.answer(order, float(order["seconds"]) + 60)
        except ProcessError as error:
            raise BusyError("scientific.no_process", why=error.args[0]) from error
        finally:
            self._free.put(helper)
        return {"ended": ""} if reply is None else reply

    def close(self) -> None:
        """End the helpers; the next file starts one."""
        for helper in self._every:
            helper.close()


_decoders = Decoders()
close = _decoders.close


def read(
    form: str, kind: Message, data: bytes | mmap.mmap, source: Path | None, view: View | None, limits: Limits, want: str = PIXELS,
    channels: int | None = None,
) -> Picture | Stack:
    """A scientific file as a person sees it, with what it says besides.

    Args:
        form: ``TIFF``, ``PNG``, ``NUMPY``, ``NIFTI`` or ``DICOM``.
        kind: what the file is, for sentences.
        data: the file.
        source: where the same lies on the disk; None writes ``data`` there.
        view: what is looked at; None leaves it to the file.
        limits: of this call.
        want: ``pixels``; ``samples``: also those of all channels, which take memory and time; ``look``: also how the values that are shown
            are distributed; ``stack``: what there is to choose from alone, for which no plane is decoded.
        channels: of ``samples`` those of so many channels, for a network; None for all.

    Returns:
        The picture; the stack where that alone is wanted.

    Raises:
        BadImageError: it is refused, or it kills or overtaxes its reader.
        BadRequestError: a view of what the file does not have.
        BusyError: no process can be started for it.
    """
    most = limits.pixels
    order = {
        "kind": form, "view": None if view is None else view.to_dict(), "pixels": most, "side": limits.side, "page_bytes": most * PAGE,
        "kept_bytes": most * KEPT, "bytes": most * MEMORY + 400_000_000 + len(data), "seconds": CLOCK, "processor": SECONDS,
        "file_bytes": most * max(KEPT, 3) + 1_000_000, "want": want, "channels": channels,
    }  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(prefix="seg-demo-picture-", dir=_roomy(most * (KEPT * (want == SAMPLES) + 3) + (len(data) if source is None else 0))) as folder:
            output = Path(folder, "out")
            output.mkdir()
            if source is None:
                source = Path(folder, "in")
                source.write_bytes(data)
            reply = _decoders.answer({**order, "path": str(source.resolve()), "output": str(output)})
            if "place" in reply:
                raise BusyError("scientific.no_place", why=str(reply["place"])[:80])
            if want == STACK and "stack" in reply:
                return _stack(reply["stack"])
            if "shape" not in reply:
                raise _refusal(reply, kind, limits)
            return _picture(reply, output, limits)
    except OSError as error:
        raise BusyError("scientific.no_place", why=error.strerror) from error
    except (KeyError, TypeError, ValueError) as error:  # an answer that is none
        raise refuse(Message("scientific.ended_process", kind=kind, why=""), limits, _AGAIN) from error


class Raster:
    """A TIFF too large for memory: rows of it as a person sees them, all in one intensity window. What is asked for twice in a row is read once.

    Args:
        path: of the file.
        view: what is looked at; None leaves it to the file.
        limits: its ``pixels`` and ``side`` hold.
        channels: that a network takes which sees other than a person does, see :meth:`values`; None for a person's.

    Attributes:
        height: pixels.
        width: pixels.
        shape: as of an array uint8 (H, W, 3), of which rows and columns can be taken.
        view: complete.
        stack: what there is to choose from.
        calibration: size and place of its pixels, or None.

    Raises:
        BadImageError: it is refused, at once or when rows of it turn out to be damaged.
        BadRequestError: a view of what the file does not have.
        BusyError: no process can be started for it, or there is no place.
    """

    def __init__(self, path: Path, view: View | None, limits: Limits, channels: int | None = None) -> None:
        self._path, self._size, self._limits, self._count = path.resolve(), path.stat().st_size, limits, channels
        self._asked = None if view is None else view.to_dict()
        # On the disk, not in memory: what is read of it lies in the system's cache of files, which is nobody's memory.
        self._folder = tempfile.TemporaryDirectory(prefix="seg-demo-raster-")
        self._output = Path(self._folder.name, "out")
        self._output.mkdir()
        # Rows that were read, by what of them.
        self._bands: dict[str, dict[tuple[int, int], BinaryIO]] = {"paint": {}, "take": {}}
        # Rows that are being read: what of them, which, and what comes of it.
        self._reader, self._coming = ThreadPoolExecutor(1, "raster"), None
        # Pixels without data of the rows that were read, and the values that they have.
        self._missing: dict[tuple[int, int], int] = {}
        self._gone: list[float] = []
        try:
            found = self._order("look")
            self.height, self.width = map(int, found["shape"])
            check_size(self.width, self.height, limits)
            self.view, self.calibration, self.stack = View.parse(found["view"]), _calibration(found["calibration"]), _stack(found["stack"])
            self._notes = tuple(map(Message.from_dict, found["notes"]))
            self._windows, self._most = (list(found["windows"]), None) if found["known"] else (None, None)
            self._stored, self._names = (len(self.view.channels), np.dtype(found["dtype"])), tuple(map(str, found["channels"]))
            if found["dtype"] not in _DTYPES:
                raise ValueError("not a picture")
            many = 1 if channels is None else math.ceil(self._stored[0] * self._stored[1].itemsize / 4)
            rows = max(1, _BAND_PIXELS // self.width // many)
            step = max(1, int(found["step"]))
            self._rows = max(step, rows // step * step) if step <= 2 * rows else rows
        except (KeyError, TypeError, ValueError) as error:  # an answer that is none
            self.close()
            raise self._ended() from error
        except BaseException:
            self.close()
            raise
        self.shape = self.height, self.width, 3

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what was read, and is being read."""
        self._arrive()
        self._reader.shutdown()
        for bands in self._bands.values():
            for file in bands.values():
                file.close()
            bands.clear()
        self._folder.cleanup()

    @property
    def notes(self) -> tuple[Message, ...]:
        """What is not seen of the file, or otherwise than it was meant; of the rows that were read, where they hold no data."""
        notes = list(self._notes)
        for window in self._windows or ():
            notes += [note for note in map(Message.from_dict, window["notes"]) if note not in notes]
        if missing := sum(self._missing.values()):
            notes.append(absence(missing, self.height * self.width, self._gone))
        return tuple(notes)

    @property
    def state(self) -> dict[str, Any]:
        """What going on later needs, as JSON: the intensity windows, and what has no data so far."""
        missing = [[*rows, count] for rows, count in self._missing.items() if count]
        return {"windows": self._windows, "most": self._most, "missing": missing, "gone": self._gone}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier :attr:`state` of the same file and view.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        if state["windows"] is not None:
            for window in state["windows"]:
                float(window["low"]), float(window["high"]), tuple(map(float, window["gone"])), tuple(map(Message.from_dict, window["notes"]))
            self._windows, self._most = list(state["windows"]), state["most"]
        self._missing = {(int(top), int(bottom)): int(count) for top, bottom, count in state["missing"]}
        self._gone = [float(value) for value in state["gone"]]

    def prepare(self, report: Callable[[float | None, Message], object] | None = None) -> None:
        """Find the intensity windows, if they depend on all values; reading does so too, without a word.

        Args:
            report: called with the fraction of a pass that is done, and a few words.
        """
        again = self._windows is None
        while again:
            for top in range(0, self.height, self._rows):
                bottom = min(top + self._rows, self.height)
                found = self._order("count", rows=[top, bottom])
                if report is not None:
                    report(bottom / self.height, Message("progress.range_of_values"))
            try:
                again = bool(found["again"])
                if not again:
                    self.resume({**self.state, "windows": found["windows"], "most": found["most"]})
            except (KeyError, TypeError, ValueError) as error:
                raise self._ended() from error

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
        """uint8 (h, w, 3): some rows and columns; steps are taken of what is read."""
        self.prepare()
        return self._part("paint", place, 3, np.dtype(np.uint8))

    def values(self, count: int, bytes_wanted: bool) -> Values:
        """What a network takes of it that sees other than a person does.

        Args:
            count: of its channels, that the raster was opened for.
            bytes_wanted: as for :func:`seg_demo.inputs.planes.for_network`.

        Raises:
            BadImageError, BadRequestError: as from there; or values are wanted in a window that all of them decide about.
        """

        def taken(stored: np.ndarray) -> tuple[np.ndarray, tuple[Message, ...]]:
            # Pixels that a person sees are not looked at where samples are there.
            pixels = np.broadcast_to(np.uint8(0), (*stored.shape[:2], 3))
            picture = Picture(pixels, samples=stored, channels=self._names, stack=self.stack, view=self.view)
            return planes.for_network(picture, count, bytes_wanted)

        _, notes = taken(np.zeros((1, 1, self._stored[0]), dtype=self._stored[1]))
        window, kind = self.view.window, self._stored[1]
        if bytes_wanted and kind != np.uint8 and planes.fixed_window(kind, window, self.stack, None) is None:
            raise BadRequestError("rasters.window_of_all", count=count, window=str(window))
        return Values((self.height, self.width, count), lambda place: taken(self._part("take", place, *self._stored))[0], notes)

    def _part(self, what: str, place: tuple[slice, slice], depth: int, dtype: np.dtype) -> np.ndarray:
        """(h, w, depth): some rows and columns of what an order gives of rows, which are read where they are not there."""
        rows, columns = (range(*span.indices(length)) for span, length in zip(place, self.shape, strict=False))
        found, bands = np.empty((len(rows), len(columns), depth), dtype=dtype), self._bands[what]
        if not found.size:
            return found
        wanted = range(rows[0] // self._rows * self._rows, rows[-1] + 1, self._rows)
        for gone in [span for span in bands if span[1] <= wanted[0]]:
            bands.pop(gone).close()
        for top in wanted:
            span = top, min(top + self._rows, self.height)
            if span not in bands:
                self._arrive()
            if span not in bands:
                self._keep(what, span, *self._fetch(what, span, depth * dtype.itemsize))
            inside = [index for index, row in enumerate(rows) if span[0] <= row < span[1]]
            if inside:
                lines = slice(rows[inside[0]] - top, rows[inside[-1]] - top + 1, rows.step)
                band = np.memmap(bands[span], dtype, "r", shape=(span[1] - top, self.width, depth))
                found[inside[0] : inside[-1] + 1] = band[lines, columns.start : columns.stop : columns.step]
        below = span[1], min(span[1] + self._rows, self.height)
        if below[0] < self.height and below not in bands and self._coming is None:
            # Rasters are gone through from top to bottom: another process reads while this one computes.
            self._coming = what, below, self._reader.submit(self._fetch, what, below, depth * dtype.itemsize)
        return found

    def _arrive(self) -> None:
        """Wait for the rows that are being read, if any are; what is wrong with them is said once they are asked for, and read again."""
        if self._coming is not None:
            (what, span, reading), self._coming = self._coming, None
            with suppress(BadImageError, BadRequestError, BusyError, OSError):
                self._keep(what, span, *reading.result())

    def _keep(self, what: str, span: tuple[int, int], found: Mapping[str, Any], file: BinaryIO) -> None:
        """Keep rows that were read, and what was said of them."""
        self._bands[what][span] = file
        try:
            if what == "paint":
                missing, gone = int(found["missing"]), [float(value) for value in found["gone"]]
                self._missing[span] = missing
                if missing and sum(self._missing.values()) == self.height * self.width:
                    reason = Message("pixels.all_nan") if all(value != value for value in gone) else Message("pixels.all_nodata")
                    raise _refusal({"refused": reason.to_dict(), "why": "unusable"}, Message("kinds.tiff"), self._limits)
                self._gone += [value for value in gone if not any(value == other or (value != value and other != other) for other in self._gone)]
        except (KeyError, TypeError, ValueError) as error:
            raise self._ended() from error

    def _fetch(self, what: str, span: tuple[int, int], size: int) -> tuple[dict[str, Any], BinaryIO]:
        """A child's answer about some rows, and the file of them, which has no name any more; one at a time."""
        found = self._order(what, rows=list(span), windows=self._windows, most=self._most)
        try:
            file = open_written(self._output / PIXELS, (span[1] - span[0]) * self.width * size)
            (self._output / PIXELS).unlink()
        except ValueError as error:
            raise self._ended() from error
        return found, file

    def _order(self, what: str, **more: object) -> dict[str, Any]:
        """A child's answer about some rows."""
        kind = Message("kinds.tiff")
        order = {
            "kind": "TIFF", "raster": what, "view": self._asked, "pixels": self._limits.pixels, "side": self._limits.side, "page_bytes": 1 << 62,
            # The file is mapped, which takes addresses and no memory.
            "bytes": _BAND_MEMORY + self._size, "seconds": CLOCK, "processor": SECONDS, "file_bytes": 4 * _BAND_PIXELS + 100_000_000, "want": PIXELS, "channels": self._count,
            "path": str(self._path), "output": str(self._output),
        }  # fmt: skip
        reply = _decoders.answer({**order, **more})
        if "place" in reply:
            raise BusyError("scientific.no_place", why=str(reply["place"])[:80])
        if "memory" in reply:
            raise refuse(Message("scientific.too_much_memory", kind=kind, most=_BAND_MEMORY / 1e9), self._limits, Message("advice.store_in_tiles"))
        if "shape" not in reply:
            raise _refusal(reply, kind, self._limits)
        return reply

    def _ended(self) -> BadImageError:
        return refuse(Message("scientific.ended_process", kind=Message("kinds.tiff"), why=""), self._limits, _AGAIN)


@dataclass(frozen=True)
class Values:
    """Of a raster too large for memory, what a network takes that sees other than a person does; parts of it can be taken.

    Attributes:
        shape: as of an array (H, W, channels).
        part: rows and columns → (h, w, channels).
        notes: what is to say about it.
    """

    shape: tuple[int, int, int]
    part: Callable[[tuple[slice, slice]], np.ndarray]
    notes: tuple[Message, ...]

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
        return self.part(place)


def pixels_in_parts(path: Path, view: View | None, limits: Limits) -> int:
    """Pixels of a TIFF that is beyond the limits of what is decoded as a whole, else 0; its header alone is looked at."""
    try:
        with path.open("rb") as file:
            if file.read(4) not in _TIFFS:
                return 0
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                found = Tiff(data)
                beyond = found.width * found.height > limits.pixels or max(found.width, found.height) > limits.side
                beyond = beyond or len(data) > (limits if view is None and found.is_photograph else limits.of_scientific).bytes
                return found.width * found.height if beyond else 0
    except (OSError, ValueError):
        return 0


def to_wgs84(crs: str, points: np.ndarray) -> np.ndarray:
    """As :func:`reprojected`: longitude and latitude, degrees."""
    return reprojected(points, crs, "EPSG:4326")


def reprojected(points: np.ndarray, source: str, target: str) -> np.ndarray:
    """Places in another coordinate system; longitude comes before latitude.

    Args:
        points: float64 (N, 2), x and y.
        source: what they are in, as :class:`seg_demo.core.picture.Georeference` has it.
        target: what is wanted.

    Returns:
        float64 (N, 2), infinite where there is no such place; NaN all over where nobody knows one of the coordinate systems.

    Raises:
        BusyError: no process can be started for it.
    """
    if not len(points):
        return points
    content = np.ascontiguousarray(points, dtype=np.float64).tobytes()
    order = {"kind": "WGS84", "crs": source, "target": target, "bytes": 400_000_000 + 16 * len(content), "seconds": CLOCK, "processor": SECONDS, "file_bytes": len(content) + 1_000_000}
    try:
        with tempfile.TemporaryDirectory(prefix="seg-demo-points-") as folder:
            output = Path(folder, "out")
            output.mkdir()
            Path(folder, "in").write_bytes(content)
            reply = _decoders.answer({**order, "path": str(Path(folder, "in").resolve()), "output": str(output)})
            if "place" in reply:
                raise BusyError("scientific.no_place", why=str(reply["place"])[:80])
            if "points" not in reply:
                return np.full(points.shape, np.nan)
            with open_written(output / _POINTS, len(content)) as file:
                return np.fromfile(file).reshape(points.shape)
    except ValueError:  # an answer that is none
        return np.full(points.shape, np.nan)
    except OSError as error:
        raise BusyError("scientific.no_place", why=error.strerror) from error


def dicom_facts(path: Path, limits: Limits) -> dict[str, Any]:
    """What a DICOM marks or where it lies, as :func:`seg_demo.inputs.dicom.facts` finds it.

    Raises:
        BadImageError: it is refused, or it kills or overtaxes its reader.
        BusyError: no process can be started for it.
    """
    kind, size = Message("kinds.dicom"), path.stat().st_size
    order = {"kind": "DICOM OBJECT", "path": str(path.resolve()), "bytes": 800_000_000 + 8 * size, "seconds": CLOCK, "processor": SECONDS, "file_bytes": MOST_FACTS}
    try:
        with tempfile.TemporaryDirectory(prefix="seg-demo-facts-") as folder:
            reply = _decoders.answer({**order, "output": folder})
            if "place" in reply:
                raise BusyError("scientific.no_place", why=str(reply["place"])[:80])
            if "facts" not in reply:
                raise _refusal(reply, kind, limits)
            with open_written(Path(folder, _FACTS), int(reply["facts"])) as file:
                return json.loads(file.read(), object_pairs_hook=_by_number)
    except OSError as error:
        raise BusyError("scientific.no_place", why=error.strerror) from error
    except (KeyError, TypeError, ValueError) as error:  # an answer that is none
        raise refuse(Message("scientific.ended_process", kind=kind, why=""), limits, _AGAIN) from error


def _by_number(pairs: list[tuple[str, Any]]) -> dict[Any, Any]:
    """JSON has no numbers for keys."""
    return {int(key) if key.isdigit() else key: value for key, value in pairs}


def _roomy(wanted: int) -> str | None:
    """A folder in memory with so much room, or None for the system's own for temporary files."""
    try:
        if os.access(_MEMORY_FOLDER, os.W_OK) and shutil.disk_usage(_MEMORY_FOLDER).free > 2 * wanted:
            return str(_MEMORY_FOLDER)
    except OSError:
        pass
    return None


def _refusal(reply: Mapping[str, Any], kind: Message, limits: Limits) -> BadImageError | BadRequestError:
    """Why there is no picture."""
    if "size" in reply:
        try:
            check_size(*map(int, reply["size"]), limits)
        except BadImageError as error:
            return error
    if "memory" in reply:
        what = Message("scientific.too_much_memory", kind=kind, most=limits.pixels * MEMORY / 1e9)
        return refuse(what, limits, Message("advice.scale_or_cut"))
    if "refused" not in reply:
        why = reply.get("ended")
        if "ended" in reply and why in (None, "SIGXCPU"):
            return refuse(Message("scientific.too_slow", kind=kind, seconds=CLOCK if why is None else SECONDS), limits, Message("advice.scale_or_cut"))
        return refuse(Message("scientific.ended_process", kind=kind, why=str(why or "")[:40]), limits, _AGAIN)
    why, reason = reply.get("why"), Message.from_dict(reply["refused"])
    if why == "request":
        return BadRequestError(reason)
    if why == "damaged":
        return refuse(Message("images.damaged", kind=kind, reason=reason), limits, _AGAIN)
    if why == "unusable":
        return refuse(Message("images.unusable", reason=reason), limits, Message("advice.replace_pixels"))
    if why == "unread":
        return refuse(Message("scientific.not_read", kind=kind, reason=reason), limits, Message("advice.save_as_rgb"))
    return refuse(Message("images.undecodable", kind=kind), limits, _AGAIN)


def _picture(reply: Mapping[str, Any], output: Path, limits: Limits) -> Picture:
    """A child's answer, of which nothing is believed that would not fit.

    Raises:
        KeyError, TypeError, ValueError: it does not fit together.
    """
    height, width, count = map(int, reply["shape"])
    check_size(width, height, limits)
    if count < 1 or reply["dtype"] not in _DTYPES:
        raise ValueError("not a picture")
    with open_written(output / PIXELS, height * width * 3) as file:
        pixels = np.fromfile(file, dtype=np.uint8).reshape(height, width, 3)
    samples = None
    if reply["whole"]:
        stored = (count, height, width) if reply["first"] else (height, width, count)
        # Not copied: the file has no name any more once this is returned, and goes with the array.
        with open_written(output / SAMPLES, height * width * count * np.dtype(reply["dtype"]).itemsize) as file:
            samples = np.asarray(np.memmap(file, dtype=reply["dtype"], mode="c", shape=stored))
        samples = np.moveaxis(samples, 0, -1) if reply["first"] else samples
    return Picture(
        pixels, tuple(map(Message.from_dict, reply["notes"])), samples, tuple(map(str, reply["channels"])),
        _calibration(reply["calibration"]), _stack(reply["stack"]), View.parse(reply["view"]), _distribution(reply["distribution"]),
    )  # fmt: skip


def _stack(found: Mapping[str, Any]) -> Stack:
    counts = {name: int(found[name]) for name in ("pages", "z", "t", "bits")}
    windows = tuple((float(low), float(high)) for low, high in found["windows"])
    alpha, nodata = found["alpha"], found["nodata"]
    return Stack(
        **counts, windows=windows, slope=float(found["slope"]), intercept=float(found["intercept"]), alpha=None if alpha is None else int(alpha),
        nodata=None if nodata is None else float(nodata), inverted=bool(found["inverted"]),
    )  # fmt: skip


def _distribution(found: Mapping[str, Any] | None) -> Distribution | None:
    if found is None:
        return None
    counts = tuple(tuple(map(int, channel)) for channel in found["counts"])
    return Distribution(float(found["low"]), float(found["high"]), counts, tuple((float(black), float(white)) for black, white in found["ends"]))


def _calibration(found: Mapping[str, Any] | None) -> Calibration | None:
    if found is None:
        return None
    place, grid = found["georeference"], found["grid"]
    if place is not None:
        tags = tuple((int(number), int(kind), tuple(value) if isinstance(value, list) else value) for number, kind, value in place["tags"])
        place = Georeference(str(place["crs"]), tuple(map(float, place["affine"])), tags, bool(place["geographic"]))
    if grid is not None:
        axes = {name: (int(grid[name][0]), grid[name][1]) for name in ("rows", "columns", "fixed")}
        grid = Grid(tuple(map(int, grid["shape"])), tuple(map(float, grid["affine"])), **axes)
    size = found["pixel_size"]
    return Calibration(None if size is None else (float(size[0]), float(size[1])), str(found["unit"])[:40], place, grid, found["series"])

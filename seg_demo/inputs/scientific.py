"""Pictures of microscopes, scanners and satellites: sent to a process that can do nothing else, and back as a :class:`Picture`.

What is read: TIFF and BigTIFF of every kind (OME, ImageJ, GeoTIFF), DICOM, NIfTI, ``.npy`` and PNG of 16 bits. None of their readers is
imported here, nor ever meets a file in this process: :mod:`seg_demo.inputs.scientific_files` does that. It stays ready for
``IDLE_SECONDS``, so that a second file costs what decoding costs.
"""

from __future__ import annotations

import mmap
import os
import queue
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from seg_demo.core import requests
from seg_demo.core.errors import BadImageError, BadRequestError, BusyError, Message
from seg_demo.core.picture import Calibration, Distribution, Georeference, Grid, Picture, Stack, View
from seg_demo.core.sandbox import Helper, ProcessError, open_written
from seg_demo.inputs.formats import Limits, check_size, refuse

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
_POINTS = "points"
_AGAIN = Message("advice.again")


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
    return Stack(**counts, windows=windows, slope=float(found["slope"]), intercept=float(found["intercept"]))


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

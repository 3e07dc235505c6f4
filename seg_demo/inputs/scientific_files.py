"""Files of microscopes, scanners and satellites → one plane of them, its channels, and what they say about it; in a process that can do
nothing else.

``python -m seg_demo.inputs.scientific_files IDLE_SECONDS`` is the helper of :mod:`seg_demo.inputs.scientific`; it imports the readers
(tifffile with imagecodecs, rasterio, pydicom with pylibjpeg, nibabel) and opens no file. A child that it forks for each file locks itself
in (:mod:`seg_demo.core.sandbox`), reads the plane that is asked for, and answers with the fields of
:class:`seg_demo.core.picture.Picture` and no others: nothing else that a file says leaves the child, the name of a patient least of all.

Sources: TIFF 6.0, OME-XML, OGC GeoTIFF 1.1; NIfTI-1.1 and -2 (nifti.nimh.nih.gov); DICOM PS3.3 and PS3.5; tests compare with the libraries.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import math
import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from seg_demo.core import MOST_SHOWN, Calibration, Damaged, Georeference, Grid, Message, PixelError, SegDemoError, Stack, TiffError, View
from seg_demo.core.sandbox import confine, library_folders, limit_resources, serve
from seg_demo.inputs import dicom, rasters, samples
from seg_demo.inputs.planes import (
    Opened,
    Series,
    TooLarge,
    Unread,
    absence,
    check_numbers,
    distribution,
    names,
    nothing_there,
    render,
    settle,
    sized,
    unit_of,
)
from seg_demo.inputs.samples import Samples
from seg_demo.inputs.tiff import COLORS, ORIENTATION, PROFILE, Tiff, beginning_at, let_libtiff_read, mend_palette, palette_of

# What each kind of file needs, the most frequent first; imported by the helper between files.
MODULES = {
    "TIFF": ("tifffile", "imagecodecs._imcd", "imagecodecs._zlib", "imagecodecs._zstd", "imagecodecs._jpeg8", "rasterio", "rasterio.crs"),
    "DICOM": ("pydicom", "pydicom.pixels", "pylibjpeg", "openjpeg", "libjpeg"),
    "NIFTI": ("nibabel",),
    "WGS84": ("rasterio.warp",),
    "DICOM OBJECT": ("pydicom",),
}
# Files of an answer, and what else is wanted of a file.
SAMPLES, PIXELS, POINTS, FACTS, LOOK, STACK = "samples", "pixels", "points", "facts", "look", "stack"
_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)


def open_tiff(path: Path, most: int, chosen: int = 0) -> Opened:
    """TIFF and BigTIFF of every kind that tifffile reads; what it does not read, the server's reader and Pillow try.

    Args:
        path: of the file.
        most: bytes that a decoded page may have.
        chosen: page that is looked at. A file may hold images of other sizes, depths and channels: all but the number of pages is of this one.
    """
    import tifffile

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        counted, exact = Tiff(data).pages()
    tif = tifffile.TiffFile(path, _multifile=False)
    page = tif.pages.first
    notes: tuple[str, ...] = ()
    listed: list[Any] = []
    if not exact:
        # Looking for what belongs together means reading every page's tags.
        series, notes = [_first_alone(page)], (Message("images.more_pages", count=counted),)
    else:
        listed = list(tif.series)
        series = [one for one in listed if not (one.keyframe.is_reduced or one.keyframe.is_mask)] or listed
    planes = [Series.of(one) for one in series]
    # Colours of a palette and the like are seen, page by page; channels that have pages of their own are such.
    offsets = np.cumsum([0, *(one.length() * (one.length("C") if _mapped(one.series.keyframe) else 1) for one in planes)])
    first = planes[min(int(np.searchsorted(offsets, chosen, side="right")), len(planes)) - 1]
    uneven = next((int(offset) + 1 for one, offset in zip(planes, offsets, strict=False) if one.length("Z") != planes[0].length("Z") or one.length("T") != planes[0].length("T")), 0)
    page = first.series.keyframe
    # Not of the file's first page, which may be a preview.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        structure = Tiff(data, page.offset)
    geographic = any(tag in structure.tags for tag in _GEO_TAGS)
    nodata = structure.nodata
    if page.dtype is None:
        raise TiffError(Message("tiff.unknown_form"))
    dtype = np.dtype(page.dtype).newbyteorder("=")
    check_numbers(dtype)
    if math.prod(page.shape) * dtype.itemsize > most:
        raise TooLarge(page.imagewidth, page.imagelength)
    if page.axes not in ("YX", "YXS", "SYX"):
        raise TiffError(Message("tiff.unknown_form"))
    photometric, extra = int(page.photometric), [int(kind) for kind in page.extrasamples]
    per_page = page.shape[page.axes.index("S")] if "S" in page.axes else 1
    channels = first.length("C") * per_page
    colour = photometric in (2, 6, 34892) and per_page >= 3
    alpha = next((per_page - len(extra) + index for index, kind in enumerate(extra) if kind in (1, 2)), None)
    premultiplied = alpha is not None and extra[alpha - per_page + len(extra)] == 1
    if colour and per_page == 4 and not extra:
        alpha, notes = 3, (*notes, Message("images.channel_as_alpha", channels=per_page, channel=4))
    turn = 1 if geographic else int(page.tags.valueof(ORIENTATION) or 1)
    turn = turn if 1 <= turn <= 8 else 1
    height, width = page.shape[page.axes.index("Y")], page.shape[page.axes.index("X")]
    size = path.stat().st_size
    mask = _mask_of(page, listed, path, size) if turn == 1 and alpha is None and dtype.kind in "uf" and not _mapped(page) else None
    if mask is not None and dtype.kind == "u":
        # A channel more, as others store it.
        alpha = channels

    def series_of(at: tuple[int, int, int]) -> int:
        return int(np.searchsorted(offsets, at[0], side="right")) - 1

    def plane(at: tuple[int, int, int], wanted: Sequence[int]) -> np.ndarray:
        number = series_of(at)
        which = planes[number]
        parts: dict[int, np.ndarray] = {}
        for channel in sorted({sample // per_page for sample in wanted}):
            parts[channel] = _read_page(path, which.series, which.number(at[0] - int(offsets[number]), at[1], at[2], channel), size)
        if len(parts) == 1 and page.axes == "YXS" and list(wanted) == list(range(per_page)):
            values = next(iter(parts.values()))
        else:
            axis = page.axes.find("S")
            picked = [parts[sample // per_page] if axis < 0 else np.take(parts[sample // per_page], sample % per_page, axis) for sample in wanted]
            values = np.moveaxis(np.stack(picked), 0, -1)
        values = values.astype(np.uint8) if values.dtype == bool else values
        return samples.upright(values, turn) if turn > 1 else values

    def stored(at: tuple[int, int, int], wanted: Sequence[int]) -> list[rasters.StoredPage]:
        number = series_of(at)
        which = planes[number]
        numbers = [which.number(at[0] - int(offsets[number]), at[1], at[2], channel) for channel in sorted({sample // per_page for sample in wanted})]
        return [rasters.StoredPage(path, which.series, index, size) for index in numbers]

    def in_file(wanted: Sequence[int]) -> list[int]:
        return [channel for channel in wanted if channel < channels] or [0]

    def masked(values: np.ndarray, wanted: Sequence[int], there: np.ndarray) -> np.ndarray:
        """Channels of the file (h, w, so many), and what its mask says of the same pixels."""
        if dtype.kind == "f":
            return np.where(there[..., None], values, values.dtype.type("nan"))
        opacity, known = there.astype(values.dtype) * values.dtype.type((1 << int(page.bitspersample)) - 1), in_file(wanted)
        return np.stack([opacity if channel == channels else values[..., known.index(channel)] for channel in wanted], axis=-1)

    def masked_plane(at: tuple[int, int, int], wanted: Sequence[int]) -> np.ndarray:
        return masked(plane(at, in_file(wanted)), wanted, _rows_of(mask, 0, height, width))

    def whole(at: tuple[int, int, int], wanted: Sequence[int]) -> None:
        for one in stored(at, in_file(wanted)):
            one.check()

    def parts(at: tuple[int, int, int], wanted: Sequence[int], top: int, bottom: int) -> Iterator[tuple[int, int, np.ndarray]]:
        found = rasters.parts_of(stored(at, in_file(wanted)), in_file(wanted), per_page, top, bottom)
        if mask is None:
            yield from found
            return
        there = _rows_of(mask, top, bottom, width)
        for row, column, values in found:
            yield row, column, masked(values, wanted, there[row - top : row - top + values.shape[0], column : column + values.shape[1]])

    labels = _tiff_calibration(tif, first, turn)[1]
    found = None
    if geographic:
        found, described, more = _georeference(path, page)
        notes, labels = notes + more, labels or described

    def calibration(at: tuple[int, int, int]) -> Calibration | None:
        return found if geographic else _tiff_calibration(tif, planes[series_of(at)], turn)[0]

    shown = (width, height) if turn >= 5 else (height, width)
    depth, times = first.length("Z"), first.length("T")
    if _mapped(page):

        def seen(at: tuple[int, int, int], wanted: Sequence[int]) -> np.ndarray:
            number = series_of(at)
            index, channel = divmod(at[0] - int(offsets[number]), planes[number].length("C"))
            values = _as_seen(path, planes[number].series, planes[number].number(index, at[1], at[2], channel), size)
            if values.shape[:2] != shown:
                raise Unread(Message("scientific.pages_differ", number=at[0] + 1))
            if photometric == 3 and nodata is not None:  # one of the palette's colours stands for none
                stored = _read_page(path, planes[number].series, planes[number].number(index, at[1], at[2], channel), size)
                without = samples.upright(stored[..., None] == nodata, turn)[..., 0]
                if without.all():
                    raise nothing_there((nodata,))
                values = np.where(without[..., None], np.uint8(0), values)
                opened.notes = (*notes, *([absence(int(np.count_nonzero(without)), without.size, (nodata,))] if without.any() else []))
            return values[..., list(wanted)]

        stack = Stack(int(offsets[-1]), depth, times)
        opened = Opened(*shown, np.dtype(np.uint8), seen, ("red", "green", "blue"), stack, calibration, colour=True, notes=notes, uneven=uneven)
        return opened
    profile = structure.tags.get(PROFILE, (None,))[0] if colour else None
    return Opened(
        *shown, np.dtype(np.uint8 if dtype == bool else dtype), plane if mask is None else masked_plane,
        names(labels if len(labels) == channels else (), max(channels, 0 if alpha is None else alpha + 1)),
        Stack(int(offsets[-1]), depth, times, bits=int(page.bitspersample)), calibration, colour, alpha, photometric == 0, nodata, notes,
        premultiplied, profile if isinstance(profile, bytes) else None,
        parts=parts if turn == 1 else None, whole=whole, step=min(page.tilelength if page.is_tiled else page.rowsperstrip, height), uneven=uneven,
    )  # fmt: skip


def _mapped(page: Any) -> bool:
    """Whether its values are palettes' entries, printing colours and the like, which are read as the eye sees them."""
    return (photometric := int(page.photometric)) in (3, 5, 8, 9, 10) or (photometric == 6 and int(page.compression) not in (6, 7, 34892))


def _mask_of(page: Any, listed: Sequence[Any], path: Path, size: int) -> rasters.StoredPage | None:
    """The mask of a page, 0 where it has no data: a page of its own behind it, of the same size (TIFF 6.0, SubfileType 4; GDAL's internal masks)."""
    before_next = min((one.keyframe.index for one in listed if one.keyframe.index > page.index and not (one.keyframe.is_mask or one.keyframe.is_reduced)), default=math.inf)
    for one in listed:
        mask = one.keyframe
        if mask.is_mask and page.index < mask.index < before_next and mask.shape == (page.imagelength, page.imagewidth):
            return rasters.StoredPage(path, one, 0, size)
    return None


def _rows_of(mask: rasters.StoredPage, top: int, bottom: int, width: int) -> np.ndarray:
    """bool (bottom - top, W): rows of a mask."""
    there = np.zeros((bottom - top, width), dtype=bool)
    for row, column, values in mask.parts([0], top, bottom):
        there[row - top : row - top + values.shape[0], column : column + values.shape[1]] = values[..., 0] != 0
    return there


def _first_alone(page: Any) -> Any:
    """A page as a series of one."""
    import tifffile

    return tifffile.TiffPageSeries([page], page.shape, page.dtype, page.axes)


def _read_page(path: Path, series: Any, number: int, size: int) -> np.ndarray:
    count = math.prod(series.shape) // max(1, math.prod(series.keyframe.shape))
    if len(series.pages) == count:
        page = series.pages[number]
        if page is None:
            return np.zeros(series.keyframe.shape, series.keyframe.dtype)
        rasters.check_whole(page, series.keyframe, size)
        try:
            values = page.asarray(maxworkers=2)
        except (ImportError, NotImplementedError) as error:  # a codec that imagecodecs was built without
            raise TiffError(Message("tiff.unknown_compression", number=int(series.keyframe.compression))) from error
    elif series.dataoffset is not None:
        # ImageJ's, and what was written in one piece: a single directory for all planes.
        dtype = np.dtype(series.keyframe.parent.byteorder + series.keyframe.dtype.char)
        step = math.prod(series.keyframe.shape) * dtype.itemsize
        if series.dataoffset + (number + 1) * step > size:
            raise Damaged(Message("damage.ends_before_pixels"))
        values = np.fromfile(path, dtype, math.prod(series.keyframe.shape), offset=series.dataoffset + number * step).reshape(series.keyframe.shape)
    else:
        raise TiffError(Message("tiff.unknown_form"))
    return values.reshape(series.keyframe.shape).astype(values.dtype.newbyteorder("="), copy=False)


def _as_seen(path: Path, series: Any, number: int, size: int) -> np.ndarray:
    """A plane of palette, printing and other colours as uint8 (H, W, 3), read as a picture of one page is."""
    if len(series.pages) != math.prod(series.shape) // max(1, math.prod(series.keyframe.shape)):
        # A single directory for all planes.
        page = series.keyframe
        colours = page.tags.valueof(COLORS)
        if int(page.photometric) != 3 or colours is None:
            raise TiffError(Message("tiff.unknown_form"))
        found = Samples(_read_page(path, series, number, size)[..., None], samples.PALETTE, 8, palette=palette_of(np.ravel(colours)))
        found.turn = int(page.tags.valueof(ORIENTATION) or 1)
        return samples.to_rgb(found)
    if (page := series.pages[number]) is None:
        return np.zeros((*series.keyframe.shape[:2], 3), dtype=np.uint8)
    data = beginning_at(path.read_bytes(), page.offset)
    file = Tiff(data)
    if not file.pillow_reads_it():
        return samples.to_rgb(file.load())
    image = Image.open(io.BytesIO(data), formats=["TIFF"])
    let_libtiff_read(image)
    mend_palette(image)
    image.load()
    return samples.to_rgb(image)


def _tiff_calibration(tif: Any, first: Series, turn: int) -> tuple[Calibration | None, tuple[str, ...]]:
    """Pixel size and channel names that OME-XML, ImageJ or a microscope's own format states."""
    found, labels = None, ()
    if tif.is_ome:
        try:
            root = ElementTree.fromstring(tif.ome_metadata or "")
        except ElementTree.ParseError:
            return None, ()
        pixels = _ome_pixels(root, first.series.keyframe.index)
        if pixels is not None:
            # The schema's default unit.
            units = [unit_of(pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XY"]
            wide, high = (pixels.get(f"PhysicalSize{axis}") for axis in "XY")
            found = sized(wide, high or wide, units[0], units[1] if high else None)
            labels = tuple(node.get("Name", "") for node in pixels if node.tag.rpartition("}")[2] == "Channel")
    elif tif.is_imagej:
        facts, tags = tif.imagej_metadata or {}, tif.pages.first.tags
        per_unit = [tags.valueof(tag) for tag in (282, 283)]
        if all(isinstance(ratio, tuple) and ratio[0] for ratio in per_unit):
            found = sized(*(ratio[1] / ratio[0] for ratio in per_unit), unit_of(facts.get("unit")))
        labels = tuple(map(str, facts.get("Labels") or ()))
    elif tif.is_lsm:
        facts = tif.lsm_metadata or {}
        found = sized(*(float(facts.get(name) or 0) * 1e6 for name in ("VoxelSizeX", "VoxelSizeY")), "micrometer")
    if found is not None and turn >= 5:
        found = replace(found, pixel_size=found.pixel_size[::-1])
    return found, labels


def _ome_pixels(root: ElementTree.Element, number: int) -> ElementTree.Element | None:
    """What OME-XML says of the image that a page of the file, by its number, is of; each image has a size of its own."""
    every = [node for node in root.iter() if node.tag.rpartition("}")[2] == "Pixels"]
    for pixels in every if len(every) > 1 else ():
        for data in pixels:
            if data.tag.rpartition("}")[2] == "TiffData":
                begin, count = int(data.get("IFD", 0)), int(data.get("PlaneCount", data.get("NumPlanes", 1 if "IFD" in data.attrib else 1 << 31)))
                if begin <= number < begin + max(1, count):
                    return pixels
    return every[0] if len(every) == 1 else None


def _georeference(path: Path, page: Any) -> tuple[Calibration | None, tuple[str, ...], tuple[str, ...]]:
    """Place, names of bands, and notes of a GeoTIFF, as GDAL understands its tags; no other file beside it is looked for."""
    import rasterio

    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    try:
        # GDAL takes a file's first page, which may be a preview.
        name = f"GTIFF_DIR:{page.index + 1}:{path}" if page.index else path
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_GEOREF_SOURCES="INTERNAL"), rasterio.open(name, driver="GTiff") as raster:
            crs, affine, described = raster.crs, tuple(raster.transform)[:6], tuple(raster.descriptions)
    except (rasterio.errors.RasterioError, ValueError):
        return None, (), (Message("scientific.crs_unknown"),)
    labels = tuple(name or "" for name in described)
    labels = labels if any(labels) else ()
    if affine == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0) or not all(map(math.isfinite, affine)) or affine[0] * affine[4] == affine[1] * affine[3]:
        return None, labels, ()
    tags = tuple((tag.code, int(tag.dtype), tag.value) for tag in page.tags if tag.code in _GEO_TAGS)
    known = crs is not None and (crs.is_geographic or crs.is_projected)
    if not known:
        place = Georeference("", affine, tags)
        return Calibration(georeference=place), labels, (Message("scientific.crs_unknown"),)
    number = crs.to_epsg(confidence_threshold=100)
    place = Georeference(f"EPSG:{number}" if number else crs.to_wkt(), affine, tags, bool(crs.is_geographic))
    unit = "degree" if crs.is_geographic else unit_of(crs.linear_units) or str(crs.linear_units)[:40]
    return Calibration(place.pixel_size, unit, place), labels, _stretched(crs, affine, page)


# Radius of the sphere of EPSG:3857 in metres, and how much too long a metre may be before it is said.
_RADIUS, _STRETCHED = 6_378_137.0, 1.02


def _stretched(crs: Any, affine: tuple[float, ...], page: Any) -> tuple[Message, ...]:
    """That lengths of Mercator's projection, which maps in browsers have, are no lengths on the ground."""
    if not crs.is_projected or crs.to_dict().get("proj") not in ("merc", "webmerc"):
        return ()
    north = affine[3] * page.imagewidth / 2 + affine[4] * page.imagelength / 2 + affine[5]
    longer = math.cosh(min(abs(north) * crs.linear_units_factor[1] / _RADIUS, 10.0))
    return (Message("scientific.mercator", longer=f"{longer:.2f}", larger=f"{longer**2:.2f}"),) if longer > _STRETCHED else ()


def open_png(path: Path, most: int) -> Opened:
    """A PNG of 16 bits, of which Pillow keeps 8 in all but grey."""
    image = Image.open(path, formats=["PNG"])
    height, width = image.height, image.width
    if samples.is_deep_png(image):
        found = samples.png_samples(path.read_bytes())
        values = found.values if found.alpha is None else np.dstack([found.values, found.alpha])
        turn = found.turn
    else:
        image.load()
        grey = image.mode in ("I;16", "I", "L", "1")
        values, turn = np.asarray(image) if grey else samples.to_rgb(image), samples.orientation(image) if grey else 1
        values = values.astype(np.uint16) if image.mode in ("I;16", "I") else values.astype(np.uint8) * (255 if image.mode == "1" else 1)
        values = values[..., None] if values.ndim == 2 else values
    values = samples.upright(values, turn)
    count = values.shape[2]
    alpha = {2: 1, 4: 3}.get(count)
    labels = ("red", "green", "blue", "alpha") if count > 2 else ("grey", "alpha")
    size = (width, height) if turn >= 5 else (height, width)
    return Opened(
        *size, values.dtype, lambda at, wanted: values[..., list(wanted)], labels[:count], Stack(bits=values.dtype.itemsize * 8),
        colour=count > 2, alpha=alpha,
    )  # fmt: skip


def open_numpy(path: Path, most: int) -> Opened:
    """An array of ``.npy``: (H, W), with channels last or first where there are at most four of them, or planes of such."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "Python objects" in str(error):
            raise Unread(Message("scientific.no_array")) from error
        raise Damaged(Message("damage.header")) from error
    check_numbers(array.dtype)
    shape = array.shape
    layouts = {2: "YX", 3: "YXC" if shape[-1:] < (5,) else "CYX" if shape[:1] < (5,) else "PYX", 4: "PYXC" if shape[-1:] < (5,) else "PCYX"}
    axes = layouts.get(array.ndim)
    if axes is None or (axes == "PCYX" and shape[1] > 4):
        raise Unread(Message("scientific.other_shape", shape=shape))
    sizes = dict(zip(axes, shape, strict=True))

    def plane(at: tuple[int, int, int], wanted: Sequence[int]) -> np.ndarray:
        values = array[at[0]] if axes[0] == "P" else array
        values = values[..., None] if "C" not in axes else np.moveaxis(values, axes.replace("P", "").index("C"), -1)
        picked = np.array(values[..., list(wanted)])
        return picked.astype(np.uint8 if picked.dtype == bool else picked.dtype.newbyteorder("="), copy=False)

    dtype, count = array.dtype.newbyteorder("="), sizes.get("C", 1)
    bits = 1 if dtype == bool else dtype.itemsize * 8
    colour, alpha = dtype == np.uint8 and count >= 3, 3 if dtype == np.uint8 and count == 4 else None
    return Opened(sizes["Y"], sizes["X"], np.dtype(np.uint8) if dtype == bool else dtype, plane, names((), count), Stack(sizes.get("P", 1), bits=bits), colour=colour, alpha=alpha)


def open_nifti(path: Path, most: int) -> Opened:
    """NIfTI-1 and -2, compressed or not: axial planes as radiologists look at them (front on top, the patient's right on the left), of
    volumes that are one voxel thin along another axis that plane."""
    import gzip

    import nibabel

    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    stream = gzip.open(path) if packed else path.open("rb")
    head = stream.read(4)
    stream.seek(0)
    kind = nibabel.Nifti2Image if 540 in (int.from_bytes(head, "little"), int.from_bytes(head, "big")) else nibabel.Nifti1Image
    try:
        image = kind.from_stream(stream)
        shape = tuple(int(length) for length in image.header.get_data_shape())
        dtype = image.header.get_data_dtype()
    except Exception as error:  # whatever a header that lies makes it raise
        raise Damaged(Message("damage.header")) from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if min(shape, default=1) < 1 or not np.isfinite(image.affine).all():
        raise Damaged(Message("damage.header"))
    if not 2 <= len(shape) <= 4:
        raise Unread(Message("scientific.nifti_dimensions", count=len(shape)))
    colour = dtype.names is not None and dtype.names[:3] == ("R", "G", "B")
    if not colour:
        check_numbers(dtype)
    spatial = (*shape, 1)[:3]
    fixed, rows, columns = _orientation(image.affine, spatial)
    times = shape[3] if len(shape) > 3 else 1
    if spatial[rows[0]] * spatial[columns[0]] * dtype.itemsize > most:
        raise TooLarge(spatial[columns[0]], spatial[rows[0]])

    def plane(at: tuple[int, int, int], wanted: Sequence[int]) -> np.ndarray:
        place: list[Any] = [slice(None)] * len(image.shape)
        if len(shape) > 2:
            place[fixed] = at[2]
        if len(shape) > 3:
            place[3] = at[1]
        place[len(shape) :] = [0] * (len(image.shape) - len(shape))
        values = np.asarray(image.dataobj[tuple(place)])
        if values.ndim == 3:  # a plane of a two-dimensional file
            values = values[..., 0]
        values = values if rows[0] < columns[0] else values.T
        values = values[:: -1 if rows[1] else 1, :: -1 if columns[1] else 1]
        if colour:
            return np.stack([values[name] for name in ("R", "G", "B")], axis=-1)[..., list(wanted)]
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        return values.astype(np.float64 if values.dtype.itemsize > 8 else values.dtype)[..., None]

    zooms = np.sqrt((np.asarray(image.affine, dtype=float)[:3, :3] ** 2).sum(axis=0))
    unit = {"micron": "micrometer", "meter": "meter"}.get(image.header.get_xyzt_units()[0], "millimeter")
    size = sized(zooms[columns[0]], zooms[rows[0]], unit)
    affine = tuple(float(value) for value in np.asarray(image.affine, dtype=float).ravel())
    sample = np.dtype(np.uint8) if colour else np.asarray(image.dataobj[(slice(0, 1),) * len(image.shape)]).dtype.newbyteorder("=")
    return Opened(
        spatial[rows[0]], spatial[columns[0]], sample, plane, ("red", "green", "blue") if colour else ("",),
        Stack(1, spatial[fixed], times, bits=sample.itemsize * 8),
        lambda at: replace(size or Calibration(), grid=Grid(spatial, affine, rows, columns, (fixed, at[2]))), colour,
    )  # fmt: skip


def _orientation(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[int, tuple[int, bool], tuple[int, bool]]:
    """Which voxel axis is looked along, and which are the rows' and the columns', each with whether it is gone along backwards."""
    from nibabel.orientations import io_orientation

    order = io_orientation(affine)
    anatomical = [int(axis) if np.isfinite(axis) else -1 for axis in order[:, 0]]
    free = [axis for axis in range(3) if axis not in anatomical]
    anatomical = [free.pop(0) if axis < 0 else axis for axis in anatomical]
    signs = [1 if np.isnan(sign) else int(sign) for sign in order[:, 1]]
    # Voxel axes that run to the right, to the front and to the top, in this order.
    to = [anatomical.index(axis) for axis in range(3)]
    thin = [axis for axis in range(3) if shape[to[axis]] == 1]
    along = 2 if not thin or 2 in thin else thin[0]
    # Right to left, front to back, top to bottom: a voxel axis that runs the other way is gone along from its end.
    down, across = {2: (1, 0), 1: (2, 0), 0: (2, 1)}[along]

    def gone(axis: int) -> tuple[int, bool]:
        return to[axis], signs[to[axis]] > 0

    return to[along], gone(down), gone(across)


OPENERS: dict[str, Callable[..., Opened]] = {
    "TIFF": open_tiff, "PNG": open_png, "NUMPY": open_numpy, "NIFTI": open_nifti, "DICOM": dicom.open_dicom,
}  # fmt: skip


def decode(order: dict[str, Any]) -> dict[str, Any]:
    """What an order comes to: the picture's fields, its samples and pixels in files of the folder ``output``; or why it is refused.

    Args:
        order: ``kind`` of :data:`OPENERS`, ``path``, ``output``, ``view``, ``pixels`` and ``side`` (most of a plane), ``page_bytes``
            (of a plane as it is stored), ``want`` (``pixels``, ``samples`` too, ``look``: the distribution of the values too, or ``stack``: what
            there is to choose from alone), ``kept_bytes`` (most of the samples), ``channels`` (so many of them, for a network; None is all).
    """
    path, output = Path(order["path"]), Path(order["output"])

    def fits(width: int, height: int) -> bool:
        return height >= 1 and width >= 1 and height * width <= order["pixels"] and max(height, width) <= order["side"]

    if order["kind"] == "PNG":  # which is decoded when it is opened
        with path.open("rb") as file:
            head = file.read(24)
        width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
        if not fits(width, height):
            return {"size": [width, height]}
    asked = View.parse(order["view"])
    page = asked.page if asked is not None and isinstance(asked.page, int) else 0
    opened = OPENERS[order["kind"]](path, int(order["page_bytes"]), *([page] if order["kind"] == "TIFF" else []))
    height, width = opened.height, opened.width
    if not fits(width, height):
        return {"size": [width, height]}
    if order["want"] == STACK:
        if opened.uneven:
            raise Unread(Message("scientific.pages_differ", number=opened.uneven))
        return {"stack": asdict(opened.stack)}
    if opened.stack_of is not None:
        # Which windows there are to choose from is known once the plane is.
        first, _ = settle(replace(asked or View(), window=None), opened, order.get("channels"))
        opened = replace(opened, stack=opened.stack_of((first.page, first.t, first.z)))
    view, notes = settle(asked, opened, order.get("channels"))
    at = view.page, view.t, view.z
    if "raster" in order:
        found = rasters.answer(order, opened, view, output)
        return {**found, **_facts(opened, view, at), "shape": [height, width], "notes": [Message.of(note).to_dict() for note in (*notes, *opened.notes)]}
    count = len(opened.channels)
    kept = list(range(count)) if order.get("channels") is None else list(view.channels)
    whole = order["want"] == SAMPLES and height * width * len(kept) * opened.dtype.itemsize <= order["kept_bytes"]
    shown = view.channels[:MOST_SHOWN]
    needed = [*shown, *([] if opened.alpha is None or opened.alpha in shown else [opened.alpha])]
    wanted = list(dict.fromkeys([*kept, *needed] if whole else needed))
    values = opened.plane(at, wanted)
    picked = [values[..., wanted.index(channel)] for channel in shown]
    opacity = None
    # Where it is one of the network's channels it is no opacity.
    if opened.alpha is not None and opened.alpha not in view.channels:
        opacity = values[..., wanted.index(opened.alpha)]
    profile = opened.profile if shown == (0, 1, 2) else None
    try:
        samples.check_finite(values, opened.nodata)
        rgb, seen = render(picked, view, opened.stack, opened.nodata, opened.inverted, opacity, opened.premultiplied, profile)
    except PixelError as error:
        if order["want"] != LOOK or opened.stack.pages * opened.stack.z * opened.stack.t * count == len(shown):
            raise
        # Whoever looks for a view finds one only if this is no end.
        rgb, seen = np.zeros((height, width, 3), dtype=np.uint8), (Message("views.nothing_here", reason=Message.of(error)),)
    _write(output / PIXELS, rgb)
    if whole and kept != wanted:
        values = values[..., [wanted.index(channel) for channel in kept]]
    first = values.strides[-1] == max(values.strides) and values.shape[2] > 1
    if whole:
        _write(output / SAMPLES, np.moveaxis(values, -1, 0) if first else values)
    found = distribution(picked, view, opened.stack, opened.nodata, opened.inverted) if order["want"] == LOOK else None
    return {
        "shape": [height, width, len(kept)], "dtype": values.dtype.str, "first": first, "whole": whole, **_facts(opened, view, at),
        "distribution": None if found is None else asdict(found),
        "notes": [Message.of(note).to_dict() for note in (*notes, *opened.notes, *seen)],
    }  # fmt: skip


def _facts(opened: Opened, view: View, at: tuple[int, int, int]) -> dict[str, Any]:
    """What a file says of a plane besides its samples."""
    calibration = opened.calibration(at)
    return {
        "channels": list(opened.channels), "stack": asdict(replace(opened.stack, alpha=opened.alpha, nodata=opened.nodata, inverted=opened.inverted)), "view": view.to_dict(),
        "calibration": None if calibration is None else asdict(calibration),
    }  # fmt: skip


def _write(path: Path, array: np.ndarray) -> None:
    """Array.tofile does not tell a full disk from anything else."""
    with path.open("wb") as file:
        file.write(np.ascontiguousarray(array).data)


def to_wgs84(order: dict[str, Any]) -> dict[str, Any]:
    """Points of a coordinate system in another one, in a file of the folder ``output``; PROJ meets an untrusted ``crs`` only here.

    Args:
        order: ``crs``, ``target`` (else WGS 84), ``path`` of float64 (N, 2), ``output``.
    """
    from rasterio.warp import transform

    points = np.fromfile(order["path"], dtype=np.float64).reshape(-1, 2)
    found = np.array(transform(order["crs"], order.get("target", "EPSG:4326"), points[:, 0], points[:, 1]), dtype=np.float64).T
    _write(Path(order["output"], POINTS), found)
    return {"points": len(points)}


def dicom_object(order: dict[str, Any]) -> dict[str, Any]:
    """What a DICOM marks or where it lies, as JSON in a file of the folder ``output``."""
    written = Path(order["output"], FACTS).write_text(json.dumps(dicom.facts(Path(order["path"]))), encoding="ascii")
    return {"facts": written}


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """:func:`decode`, or :func:`to_wgs84`, in a process that is thrown away afterwards, locked in first; every failure as a sentence."""
    confine([*library_folders(), Path(order["path"])], [Path(order["output"])])
    limit_resources(int(order["bytes"]), float(order["processor"]), int(order["file_bytes"]))
    # Pillow's own limit is below what an owner may accept; sizes are checked here.
    Image.MAX_IMAGE_PIXELS = None
    try:
        return {"WGS84": to_wgs84, "DICOM OBJECT": dicom_object}.get(order["kind"], decode)(order)
    except TooLarge as error:
        return {"size": error.args, "memory": True}
    except MemoryError:
        return {"memory": True}
    except (Damaged, PixelError, TiffError, Unread) as error:
        kind = {Damaged: "damaged", PixelError: "unusable", TiffError: "unread"}
        return {"refused": Message.of(error).to_dict(), "why": kind.get(type(error), "unread")}
    except SegDemoError as error:
        return {"refused": error.message.to_dict(), "why": "request"}
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return {"place": os.strerror(error.errno)} if full else {"refused": None, "why": "undecodable"}
    except Exception:  # whatever a library raises at an untrusted file; its text may say what only the file should know
        return {"refused": None, "why": "undecodable"}


def needs(order: dict[str, Any]) -> tuple[str, ...]:
    """The modules that an order needs."""
    return MODULES.get(order["kind"], ())


if __name__ == "__main__":
    serve(answer, [module for listed in MODULES.values() for module in listed], float(sys.argv[1]), needs)

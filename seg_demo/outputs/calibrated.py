"""A segmentation back into the formats of its trade: on the same place of the Earth, in the same volume, of the same study.

GeoTIFF carries the file's own GeoKeys, so that what reads the picture reads the result at the same place; NIfTI is a volume of the file's own
shape and affine; DICOM SEG names the image that it is of. Each opens in its reference library with every pixel in place.

Sources: OGC GeoTIFF 1.1; RFC 7946; NIfTI-1.1; DICOM PS3.3 A.51 (by highdicom).
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seg_demo.core import TASKS, BadRequestError, Segmentation
from seg_demo.inputs import scientific

if TYPE_CHECKING:
    from seg_demo.core import Calibration, Georeference, Grid

# An edge of so many pixels gets further points: straight on a map, it is not in degrees.
_LONG_EDGE = 64
# Bytes that masks of objects may take, one beside the other: of a bit a pixel, and of a byte where they overlap.
_MOST_SEGMENTS = 256_000_000
_CHUNK = 1 << 22
# Side of a tile of a raster that is written in parts.
_TILE = 256

Ring = list[list[float]]


def is_georeferenced(segmentation: Segmentation) -> bool:
    """Whether its place on Earth is known."""
    found = segmentation.calibration
    return found is not None and found.georeference is not None and bool(found.georeference.crs)


def is_gridded(segmentation: Segmentation) -> bool:
    """Whether it lies in a volume (NIfTI)."""
    return segmentation.calibration is not None and segmentation.calibration.grid is not None


def is_of_series(segmentation: Segmentation) -> bool:
    """Whether it is of a DICOM image that can be named."""
    found = segmentation.calibration
    return found is not None and found.series is not None and {"SOPInstanceUID", "SOPClassUID"} <= found.series.keys()


def on_earth(segmentation: Segmentation, shapes: Sequence[Sequence[Sequence[Ring]]]) -> list[list[list[Ring]]]:
    """Closed rings in pixels as RFC 7946 wants them: longitude and latitude in WGS 84, the outer one counterclockwise, holes clockwise.

    Args:
        segmentation: georeferenced.
        shapes: of every segment, of every piece, rings of [x, y] corners of pixels, the last point of each being its first.

    Raises:
        BadRequestError: a place that has no longitude and latitude.
    """
    rings = [(ring, index == 0) for pieces in shapes for rings in pieces for index, ring in enumerate(rings)]
    ends = iter(rings_on_earth(segmentation.calibration.georeference, rings))
    return [[[next(ends) for _ in piece] for piece in pieces] for pieces in shapes]


def rings_on_earth(place: Georeference, rings: Sequence[tuple[Ring | np.ndarray, bool]]) -> list[Ring]:
    """As :func:`on_earth`, of rings and whether each is an outer one.

    Args:
        place: with a CRS.
        rings: closed, in pixels.

    Raises:
        BadRequestError: a place that has no longitude and latitude.
    """
    a, b, c, d, e, f = place.affine
    dense = [_with_points(ring) for ring, _ in rings]
    every = np.concatenate(dense) if dense else np.zeros((0, 2))
    mapped = np.stack([a * every[:, 0] + b * every[:, 1] + c, d * every[:, 0] + e * every[:, 1] + f], axis=1)
    degrees = scientific.to_wgs84(place.crs, mapped)
    if not np.isfinite(degrees).all():
        raise BadRequestError("exports.not_on_earth", crs=place.crs[:80])
    # A tenth of a millimetre.
    degrees = np.round(degrees, 9)
    ends = np.split(degrees, np.cumsum([len(ring) for ring in dense])[:-1]) if dense else ()
    return [_turned(ring, outer) for ring, (_, outer) in zip(ends, rings, strict=True)]


def _with_points(ring: Ring | np.ndarray) -> np.ndarray:
    """float64 (N, 2): a ring with points on its long edges."""
    corners = np.asarray(ring, dtype=np.float64)
    steps = np.maximum(1, np.ceil(np.abs(np.diff(corners, axis=0)).max(axis=1) / _LONG_EDGE).astype(int))
    if steps.max(initial=1) == 1:
        return corners
    parts = [begin + (end - begin) * (np.arange(count) / count)[:, None] for begin, end, count in zip(corners, corners[1:], steps, strict=False)]
    return np.concatenate([*parts, corners[-1:]])


def _turned(ring: np.ndarray, outer: bool) -> Ring:
    x, y = (ring - ring[0]).T
    area = float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))
    return (ring if (area > 0) == outer else ring[::-1]).tolist()


def geotiff(segmentation: Segmentation) -> bytes:
    """``mask.tif``: the id map with the picture's own CRS and affine.

    Args:
        segmentation: with a georeference.
    """
    import tifffile

    buffer = io.BytesIO()
    tags = _place_tags(segmentation.calibration)
    tifffile.imwrite(
        buffer, segmentation.id_map, photometric="minisblack", compression="zlib", rowsperstrip=256, metadata=None, software=False, extratags=tags
    )
    return buffer.getvalue()


def _place_tags(calibration: Calibration | None) -> list[tuple[int, int, int, Any, bool]]:
    place = None if calibration is None else calibration.georeference
    listed = () if place is None else place.tags
    return [(number, kind, len(value) if isinstance(value, tuple | str) else 1, value, True) for number, kind, value in listed]


def write_tiff(path: Path, bands: Iterable[np.ndarray], shape: tuple[int, int], dtype: np.dtype, calibration: Calibration | None) -> None:
    """A GeoTIFF in compressed tiles from bands of rows, which it never has more of in memory than a row of tiles.

    Args:
        path: of the file.
        bands: of the id map, top down.
        shape: height and width of all together.
        dtype: uint8 or uint16.
        calibration: of the picture, whose place the file gets.
    """
    import tifffile

    # The classic form ends at 4 GB.
    tifffile.imwrite(
        path, _tiles(bands, shape[1], dtype), shape=shape, dtype=dtype, tile=(_TILE, _TILE), photometric="minisblack", compression="zlib", metadata=None,
        software=False, extratags=_place_tags(calibration), bigtiff=shape[0] * shape[1] * dtype.itemsize > 1 << 31, maxworkers=1,
    )  # fmt: skip


def _tiles(bands: Iterable[np.ndarray], width: int, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Square tiles, row by row, filled up with 0."""
    across = -(-width // _TILE)
    rows, have = np.zeros((_TILE, across * _TILE), dtype=dtype), 0

    def row() -> Iterator[np.ndarray]:
        rows[have:] = 0
        for column in range(across):
            yield np.ascontiguousarray(rows[:, column * _TILE : (column + 1) * _TILE])

    for band in bands:
        at = 0
        while at < len(band):
            count = min(_TILE - have, len(band) - at)
            rows[have : have + count, :width] = band[at : at + count]
            have, at = have + count, at + count
            if have == _TILE:
                yield from row()
                have = 0
    if have:
        yield from row()


def nifti(segmentation: Segmentation) -> bytes:
    """``mask.nii.gz``: a volume of the file's own shape and affine, in which the plane holds ids and all else is 0.

    Args:
        segmentation: in a volume.
    """
    import nibabel

    found = segmentation.calibration
    grid: Grid = found.grid
    plane = segmentation.id_map[:: -1 if grid.rows[1] else 1, :: -1 if grid.columns[1] else 1]
    plane = plane if grid.rows[0] < grid.columns[0] else plane.T
    volume = np.zeros(grid.shape, dtype=plane.dtype, order="F")
    axis, at = grid.fixed
    volume[(slice(None),) * axis + (at,)] = plane
    image = nibabel.Nifti1Image(np.broadcast_to(volume[:1, :1, :1], grid.shape), np.array(grid.affine).reshape(4, 4))
    image.header.set_data_dtype(plane.dtype)
    image.header.set_xyzt_units({"micrometer": "micron", "meter": "meter"}.get(found.unit, "mm"))
    image.header["vox_offset"], image.header["scl_slope"], image.header["scl_inter"] = 352, 1, 0
    image.header["magic"] = b"n+1"
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=6) as file:
        file.write(image.header.structarr.tobytes())
        file.write(bytes(4))
        flat = volume.reshape(-1, order="F")
        for begin in range(0, flat.size, _CHUNK):
            file.write(flat[begin : begin + _CHUNK].tobytes())
    return buffer.getvalue()


def dicom_seg(segmentation: Segmentation) -> bytes:
    """``segmentation.dcm``: a DICOM SEG of the image's study, which names the image, and the frame of several; one segment per class or object,
    overlaps kept; one without pixels where nothing was found. Nothing about the patient is in it: whoever imports it knows by the study whose it is.

    Args:
        segmentation: of a DICOM image.

    Raises:
        BadRequestError: more objects than fit, each of which takes a frame, or an image that does not say of which study it is.
    """
    import highdicom
    from pydicom.sr.codedict import codes

    source = _source(segmentation)
    background = None if TASKS[segmentation.task].objects else segmentation.labels.background
    kept = [index for index, segment in enumerate(segmentation.segments) if segment.label_id != background]
    areas = sum(segmentation.areas[index] for index in kept)
    identities = [segmentation.ids[index] for index in kept]
    numbers = np.zeros(int(max(segmentation.ids, default=0)) + 1, dtype=np.uint16)
    numbers[identities] = np.arange(1, len(kept) + 1)
    pixels: np.ndarray = numbers[np.minimum(segmentation.id_map, numbers.size - 1)]
    pixels[segmentation.id_map >= numbers.size] = 0
    overlap = np.count_nonzero(pixels) != areas
    if segmentation.height * segmentation.width * len(kept) > _MOST_SEGMENTS * (1 if overlap else 8):
        raise BadRequestError("exports.too_many_objects", format="dicom-seg", count=len(kept))
    if overlap:
        pixels = np.zeros((segmentation.height, segmentation.width, len(kept)), dtype=bool)
        for place, index in enumerate(kept):
            x0, y0, x1, y1 = segmentation.segments[index].box
            pixels[y0:y1, x0:x1, place] = segmentation.mask_of(index)
    model = segmentation.model.id if segmentation.model else "segmentation"
    algorithm = highdicom.AlgorithmIdentificationSequence(name=model[:64], version="1", family=codes.cid7162.ArtificialIntelligence)
    names = segmentation.labels.names
    # Where nothing was found, one empty segment says of all classes together that they were looked for.
    looked_for = ", ".join(name for index, name in enumerate(names) if index != background)
    labelled = [(f"{names[segmentation.segments[index].label_id]} {number}", names[segmentation.segments[index].label_id]) for number, index in enumerate(kept, start=1)]
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=_named(label),
            # No standard has a code for what a network's classes are called.
            segmented_property_category=codes.SCT.PhysicalObject,
            segmented_property_type=_concept(name),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, (label, name) in enumerate(labelled or [(looked_for, looked_for)], start=1)
    ]
    made = highdicom.seg.Segmentation(
        source_images=[source], pixel_array=pixels[None], segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described, series_instance_uid=highdicom.UID(), series_number=100, sop_instance_uid=highdicom.UID(), instance_number=1,
        manufacturer="seg_demo", manufacturer_model_name=model[:64], software_versions="1", device_serial_number="0", omit_empty_frames=False,
    )  # fmt: skip
    _name_source(made, segmentation.calibration.series)
    buffer = io.BytesIO()
    made.save_as(buffer)
    return buffer.getvalue()


def _name_source(made: Any, series: Mapping[str, Any]) -> None:
    """Say of what kind the image is that a SEG names, and which of its frames it is of."""
    for element in made.iterall():
        if element.keyword == "ReferencedSOPClassUID":
            element.value = series["SOPClassUID"]
    if "NumberOfFrames" in series:
        for frame in made.PerFrameFunctionalGroupsSequence:
            for derived in frame.DerivationImageSequence:
                for source in derived.SourceImageSequence:
                    source.ReferencedFrameNumber = int(series["frame"]) + 1


def _source(segmentation: Segmentation) -> Any:
    """What a SEG has to know of its image, or of one frame of it, and nothing about the patient.

    It is presented as an image of one frame of a kind of which nothing more is required: of others highdicom expects all frames, and
    functional groups that not every file has. :func:`_name_source` puts that right.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    found = segmentation.calibration
    series = dict(found.series)
    if lacking := [name for name in ("StudyInstanceUID", "SeriesInstanceUID") if name not in series]:
        raise BadRequestError("exports.dicom_lacks", format="dicom-seg", names=", ".join(lacking))
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    named = ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality"]
    image.Modality, image.SpecificCharacterSet = "OT", "ISO_IR 192"
    # Without a thickness highdicom writes sizes that it does not read again; the image that is named has them, and its place.
    if found.pixel_size is not None and "SliceThickness" in series:
        image.PixelSpacing, image.SliceThickness = [found.pixel_size[1], found.pixel_size[0]], series["SliceThickness"]
        placed = ["ImagePositionPatient", "ImageOrientationPatient"]
        named += placed if all(name in series for name in placed) else []
    for name in named:
        if name in series:
            setattr(image, name, series[name])
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"):
        setattr(image, name, "")
    image.Rows, image.Columns = segmentation.height, segmentation.width
    image.SeriesNumber = image.InstanceNumber = 1
    return image


def _named(text: str) -> str:
    """A name as DICOM takes it: without its sign between values and without control characters, 64 characters at most."""
    return "".join(sign if sign.isprintable() else "?" for sign in text.encode("utf-8", "replace").decode()).replace("\\", "/")[:64].strip() or "?"


def _concept(name: str) -> Any:
    from highdicom.sr import CodedConcept

    plain = "".join(sign for sign in name.upper() if sign.isascii() and sign.isalnum())
    # Names that a code has no room or signs for are told apart by a number.
    code = plain if plain and len(plain) <= 16 and name.isascii() else f"{plain[:7]}{zlib.crc32(name.encode('utf-8', 'replace')):08X}"
    return CodedConcept(code, "99SEGDEMO", _named(name))

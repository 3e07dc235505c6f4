"""DICOM: pictures, what they say about where they lie, and what segmentations (SEG) and structure sets (RTSTRUCT) mark; in the process of
:mod:`seg_demo.inputs.scientific_files`, and nothing about a patient.

Sources: DICOM PS3.3, A.51 and C.8.20 (SEG), A.19 and C.8.8.5-6 (RTSTRUCT), C.7.6.2.1.1 (from patient to pixel).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seg_demo.core import Calibration, Damaged, Message, Stack
from seg_demo.inputs.planes import Opened, TooLarge, Unread, sized

SEG, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"
# Of all contours of a structure set together, and of frames of a segmentation.
MOST_NUMBERS, MOST_FRAMES = 20_000_000, 100_000


def open_dicom(path: Path, most: int) -> Opened:
    """DICOM with pixels: frames of one object. Values are as stored; windows are of Hounsfield units or whatever they are rescaled to."""
    import pydicom
    from pydicom import pixels

    try:
        found = pydicom.dcmread(path, force=True)
        kind = str(found.get("SOPClassUID") or found.get("file_meta", {}).get("MediaStorageSOPClassUID") or "")
    except Exception as error:  # its texts may name what only the file should know
        raise Damaged(Message("damage.header")) from error
    if kind == "1.2.840.10008.1.3.10":
        raise Unread(Message("scientific.dicom_directory"))
    if not any(name in found for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        locked = "EncryptedAttributesSequence" in found
        raise Unread(Message("scientific.dicom_encrypted") if locked else Message("scientific.dicom_without_pixels", kind=_class_name(kind)))
    try:
        height, width, count = int(found.Rows), int(found.Columns), int(found.get("SamplesPerPixel", 1))
        frames, bits = max(1, int(found.get("NumberOfFrames") or 1)), int(found.get("BitsStored") or found.BitsAllocated)
        photometric = str(found.PhotometricInterpretation)
    except Exception as error:
        raise Damaged(Message("damage.header")) from error
    if not 1 <= count <= 4 or min(height, width) < 1:
        raise Damaged(Message("damage.header"))
    if height * width * count * -(-int(found.BitsAllocated) // 8) > most:
        raise TooLarge(width, height)
    palette = photometric == "PALETTE COLOR"
    colour = palette or count >= 3

    def plane(at: tuple[int, int, int], wanted: Sequence[int]) -> np.ndarray:
        try:
            values = _frame_of_bits(found, max(at)) if frames > 1 and int(found.BitsAllocated) == 1 else pixels.pixel_array(found, index=max(at) if frames > 1 else None)
            if palette:
                values = pixels.apply_color_lut(values, found)
            elif "ModalityLUTSequence" in found:
                values = pixels.apply_modality_lut(values, found)
        except MemoryError:
            raise
        except Exception as error:
            syntax = found.file_meta.get("TransferSyntaxUID", "")
            raise Unread(Message("scientific.dicom_not_decoded", syntax=_class_name(str(syntax)))) from error
        values = values.reshape(height, width, -1)
        if limits is not None and "ModalityLUTSequence" not in found:
            values = np.where((values >= limits[0]) & (values <= limits[1]), values.dtype.type(padding), values)
        return np.ascontiguousarray(values[..., list(wanted)]).astype(values.dtype.newbyteorder("="), copy=False)

    padding = found.get("PixelPaddingValue") if not colour else None
    # All between the two is padding (PS3.3 C.7.5.1.1.2).
    other = found.get("PixelPaddingRangeLimit") if padding is not None else None
    limits = None if other is None else sorted((int(padding), int(other)))
    if palette and (lookup := found.get("RedPaletteColorLookupTableDescriptor")) is not None:
        bits = int(lookup[2])
    probe = np.dtype(f"u{2 if palette and bits > 8 else 1}") if palette else _dicom_dtype(found)
    in_depth = frames > 1 and _in_depth(found)

    def stack(at: tuple[int, int, int]) -> Stack:
        windows = _windows(found, max(at)) if not colour else ()
        return Stack(1, frames if in_depth else 1, 1 if in_depth else frames, windows, *_rescale(found, max(at)), bits)

    return Opened(
        height, width, probe, plane, ("red", "green", "blue")[: 3 if colour else 1] if colour else ("",), stack((0, 0, 0)),
        lambda at: _dicom_calibration(found, max(at)), colour, None, photometric == "MONOCHROME1",
        None if padding is None else float(padding), stack_of=stack,
    )  # fmt: skip


def _in_depth(found: Any) -> bool:
    """Whether frames follow each other in depth, and not in time."""
    return not any(name in found for name in ("FrameTime", "FrameTimeVector", "CineRate"))


def _frame_of_bits(found: Any, frame: int) -> np.ndarray:
    """A frame of one bit per pixel, which may begin within a byte: pydicom does not read such a one by itself."""
    size = int(found.Rows) * int(found.Columns) * int(found.get("SamplesPerPixel", 1))
    stored = np.frombuffer(found.PixelData, dtype=np.uint8)[frame * size // 8 : -(-(frame + 1) * size // 8)]
    return np.unpackbits(stored, bitorder="little")[frame * size % 8 :][:size]


def _class_name(uid: str) -> str:
    """What the standard calls a UID of its own; others say nothing."""
    from pydicom.uid import UID_dictionary

    return UID_dictionary[uid][0] if uid in UID_dictionary else "?"


def _dicom_dtype(found: Any) -> np.dtype:
    if "FloatPixelData" in found:
        return np.dtype(np.float32)
    if "DoubleFloatPixelData" in found:
        return np.dtype(np.float64)
    signed = int(found.get("PixelRepresentation") or 0)
    return np.dtype(f"{'i' if signed else 'u'}{max(1, -(-int(found.BitsAllocated) // 8))}")


def _group(found: Any, name: str, frame: int) -> Any:
    """The first item of a sequence, in the object itself or among what its frames share or have of their own."""
    for place in (found, *(found.get("SharedFunctionalGroupsSequence") or ()), *(found.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]):
        if (items := place.get(name)) is not None and len(items):
            return items[0]
    return found


def _rescale(found: Any, frame: int) -> tuple[float, float]:
    if "ModalityLUTSequence" in found:
        return 1.0, 0.0
    group = _group(found, "PixelValueTransformationSequence", frame)
    try:
        slope, intercept = float(group.get("RescaleSlope") or 1), float(group.get("RescaleIntercept") or 0)
    except (TypeError, ValueError):
        return 1.0, 0.0
    return (slope, intercept) if math.isfinite(slope) and slope and math.isfinite(intercept) else (1.0, 0.0)


def _windows(found: Any, frame: int) -> tuple[tuple[float, float], ...]:
    """Black and white of the object's windows. Source: DICOM PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3 (LINEAR_EXACT)."""
    group = _group(found, "FrameVOILUTSequence", frame)
    centers, widths = (group.get(name) for name in ("WindowCenter", "WindowWidth"))
    if centers is None or widths is None or centers == "" or widths == "":
        return ()
    listed = [list(values) if hasattr(values, "__len__") and not isinstance(values, str) else [values] for values in (centers, widths)]
    exact = str(group.get("VOILUTFunction") or "LINEAR") == "LINEAR_EXACT"
    ends = []
    for center, width in zip(*listed, strict=False):
        center, width = float(center), float(width)
        low, high = (center - width / 2, center + width / 2) if exact else (center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)
        if math.isfinite(low) and math.isfinite(high):
            ends.append((low, max(high, low + 1e-6)))
    return tuple(ends[:32])


def _dicom_calibration(found: Any, frame: int) -> Calibration | None:
    group = _group(found, "PixelMeasuresSequence", frame)
    spacing = next((group.get(name) for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing") if group.get(name)), None)
    size = None
    if spacing is not None and len(spacing) == 2:
        size = sized(spacing[1], spacing[0], "millimeter")
    elif regions := found.get("SequenceOfUltrasoundRegions"):
        units = [(region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")) for region in regions]
        if units == [(3, 3)]:
            size = sized(regions[0].get("PhysicalDeltaX"), regions[0].get("PhysicalDeltaY"), "centimeter")
    series: dict[str, Any] = {"frame": frame}
    for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if re.fullmatch(r"[0-9.]{1,64}", str(found.get(name) or "")):
            series[name] = str(found.get(name))
    if str(found.get("Modality") or "") in ("CT", "MR", "PT", "US", "CR", "DX", "XA", "SM", "NM", "OT", "MG", "XC", "ES", "GM", "OP", "RF"):
        series["Modality"] = str(found.Modality)
    for name, sequence in (("ImagePositionPatient", "PlanePositionSequence"), ("ImageOrientationPatient", "PlaneOrientationSequence")):
        numbers = _group(found, sequence, frame).get(name)
        if numbers is not None and len(numbers) in (3, 6):
            series[name] = [float(value) for value in numbers]
    for name in ("SliceThickness", "NumberOfFrames"):
        if isinstance(value := group.get(name, found.get(name)), int | float):
            series[name] = float(value)
    return replace(size or Calibration(), series=series)


def facts(path: Path) -> dict[str, Any]:
    """What an object is, JSON-able.

    Returns:
        ``kind`` (``image``, ``seg`` or ``rtstruct``) and ``series``; of an image ``sop``, ``size`` (rows, columns), ``axis`` (``z`` or ``t``, that
        several frames follow each other along) and ``frames`` (each with ``spacing``, ``position`` and ``orientation`` in millimetres where
        they are stated); of a SEG ``size``, ``classes`` (by number), ``most`` (the value that means all), ``frames`` ((segment, SOP instance
        UID of the image or None, its frame from 1 or None, position or None) each); of a structure set ``classes`` and ``contours``
        ((structure, SOP instance UID or None, frame or None, x, y, z, x, y, z ...) each).

    Raises:
        Damaged: it is no DICOM.
        Unread: it holds absurdly much.
    """
    import pydicom

    try:
        found = pydicom.dcmread(path, stop_before_pixels=True)
        kind = str(found.get("SOPClassUID") or "")
        if kind == SEG:
            return _seg(found)
        return _rtstruct(found) if kind == RTSTRUCT else _image(found)
    except Unread:
        raise
    except Exception as error:  # its texts may name what only the file should know
        raise Damaged(Message("damage.header")) from error


def _uid(value: object) -> str | None:
    text = str(value or "")
    return text if re.fullmatch(r"[0-9.]{1,64}", text) else None


def _numbers(values: Any, count: int) -> list[float] | None:
    return [float(value) for value in values] if values is not None and len(values) == count else None


def _image(found: Any) -> dict[str, Any]:
    size = [int(found.get("Rows") or 0), int(found.get("Columns") or 0)]
    count = max(1, int(found.get("NumberOfFrames") or 1))
    if count > MOST_FRAMES:
        raise Unread(Message("scientific.too_many_frames", count=count, most=MOST_FRAMES))
    stated = (
        ("spacing", "PixelMeasuresSequence", "PixelSpacing", 2), ("position", "PlanePositionSequence", "ImagePositionPatient", 3),
        ("orientation", "PlaneOrientationSequence", "ImageOrientationPatient", 6),
    )  # fmt: skip
    frames = [{name: _numbers(_group(found, group, frame).get(keyword), many) for name, group, keyword, many in stated} for frame in range(count)]
    return {
        "kind": "image", "sop": _uid(found.get("SOPInstanceUID")), "series": _uid(found.get("SeriesInstanceUID")), "size": size,
        "axis": "z" if _in_depth(found) else "t", "frames": frames,
    }  # fmt: skip


def _seg(found: Any) -> dict[str, Any]:
    count = int(found.get("NumberOfFrames") or 1)
    if count > MOST_FRAMES:
        raise Unread(Message("scientific.too_many_frames", count=count, most=MOST_FRAMES))
    shared = next(iter(found.get("SharedFunctionalGroupsSequence") or ()), None)
    frames = []
    for own in found.get("PerFrameFunctionalGroupsSequence") or ():
        segment = _first(own, shared, "SegmentIdentificationSequence")
        place = _first(own, shared, "PlanePositionSequence")
        derived = _first(own, shared, "DerivationImageSequence")
        source = next(iter(derived.get("SourceImageSequence") or ()), None) if derived is not None else None
        position = _numbers(place.get("ImagePositionPatient"), 3) if place is not None else None
        frames.append([int(segment.ReferencedSegmentNumber), *_referenced(source), position])
    classes = {int(item.SegmentNumber): _class_of(item) for item in found.SegmentSequence}
    referenced = next(iter(found.get("ReferencedSeriesSequence") or ()), None)
    most = 1 if str(found.get("SegmentationType")) != "FRACTIONAL" else int(found.get("MaximumFractionalValue") or 255)
    series = _uid(referenced.get("SeriesInstanceUID")) if referenced is not None else None
    return {"kind": "seg", "series": series, "size": [int(found.Rows), int(found.Columns)], "classes": classes, "most": most, "frames": frames}


def _class_of(segment: Any) -> str:
    """The label of a segment; where that is what the segment shows with a number behind it, one object among others, what it shows."""
    label = str(segment.get("SegmentLabel") or segment.SegmentNumber)
    shown = next(iter(segment.get("SegmentedPropertyTypeCodeSequence") or ()), None)
    kind = str(shown.get("CodeMeaning") or "") if shown is not None else ""
    return (kind if kind and re.fullmatch(re.escape(kind) + r" \d+", label) else label)[:60]


def _referenced(item: Any) -> tuple[str | None, int | None]:
    """Which image and which one of its frames an item names."""
    if item is None:
        return None, None
    number = item.get("ReferencedFrameNumber")
    return _uid(item.get("ReferencedSOPInstanceUID")), int(number) if isinstance(number, int) else None


def _first(own: Any, shared: Any, name: str) -> Any:
    """The first item of a functional group, of the frame or of all."""
    for place in (own, shared):
        if place is not None and (items := place.get(name)):
            return items[0]
    return None


def _rtstruct(found: Any) -> dict[str, Any]:
    classes = {int(item.ROINumber): str(item.get("ROIName") or item.ROINumber)[:60] for item in found.StructureSetROISequence}
    contours, total = [], 0
    for structure in found.get("ROIContourSequence") or ():
        for contour in structure.get("ContourSequence") or ():
            if str(contour.get("ContourGeometricType")) != "CLOSED_PLANAR":
                continue
            points = [float(value) for value in contour.ContourData]
            total += len(points)
            if total > MOST_NUMBERS:
                raise Unread(Message("scientific.too_many_frames", count=total, most=MOST_NUMBERS))
            image = next(iter(contour.get("ContourImageSequence") or ()), None)
            contours.append([int(structure.ReferencedROINumber), *_referenced(image), points])
    series = None
    for frame in found.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for item in study.get("RTReferencedSeriesSequence") or ():
                series = series or _uid(item.get("SeriesInstanceUID"))
    return {"kind": "rtstruct", "series": series, "classes": classes, "contours": contours}

"""DICOM series with SEG and RTSTRUCT as training data: highdicom's segmentations are the oracle, structure sets are written by hand."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr.coding import Code
from pydicom.dataset import Dataset as Attributes
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from seg_demo.annotations.dataset import open_annotated
from seg_demo.core.errors import DataError
from seg_demo.inputs.dicom import RTSTRUCT
from train.data import examine, split

ROWS, COLUMNS, SPACING = 24, 32, (0.8, 0.5)
# Rows run down and a little to the back, columns to the left.
ORIENTATION = [1.0, 0.0, 0.0, 0.0, 0.8, -0.6]


def slices(folder: Path, count: int = 4, step: float = 2.0) -> list[FileDataset]:
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame = (generate_uid() for _ in range(3))
    normal = np.cross(ORIENTATION[:3], ORIENTATION[3:])
    found = []
    for number in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = CTImageStorage, generate_uid(), ExplicitVRLittleEndian
        ct = FileDataset(str(folder / f"{number}.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
        ct.SOPClassUID, ct.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ct.StudyInstanceUID, ct.SeriesInstanceUID, ct.FrameOfReferenceUID = study, series, frame
        ct.PatientName, ct.PatientID, ct.PatientBirthDate, ct.PatientSex = "Doe^Jane", "4711", "", ""
        ct.StudyID, ct.StudyDate, ct.StudyTime, ct.AccessionNumber, ct.ReferringPhysicianName = "1", "20260101", "120000", "", ""
        ct.Modality, ct.InstanceNumber, ct.SeriesNumber = "CT", number + 1, 1
        ct.Rows, ct.Columns, ct.SamplesPerPixel, ct.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
        ct.BitsAllocated, ct.BitsStored, ct.HighBit, ct.PixelRepresentation = 16, 16, 15, 0
        ct.PixelSpacing, ct.SliceThickness = list(SPACING), step
        ct.ImageOrientationPatient, ct.ImagePositionPatient = ORIENTATION, (np.array([5.0, -7.0, 3.0]) + number * step * normal).tolist()
        ct.PixelData = np.random.default_rng(number).integers(0, 2000, (ROWS, COLUMNS), dtype=np.uint16).tobytes()
        ct.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        found.append(ct)
    return found


def segmentation(path: Path, source: list[FileDataset], count: int | None = None, most: int = 0) -> np.ndarray:
    """A SEG of two segments that overlap; bool (slices, rows, columns, segments). With ``most``, probabilities of which that value means all."""
    count = count or len(source)
    masks = np.zeros((count, ROWS, COLUMNS, 2), dtype=np.uint8)
    for number in range(1, count):
        masks[number, 3:12, 4 + number : 15, 0] = 1
        masks[number, 10:20, 12:28, 1] = 1
    described = [
        highdicom.seg.SegmentDescription(
            number, label, Code("85756007", "SCT", "Tissue"), Code("85756007", "SCT", "Tissue"), highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )  # fmt: skip
        for number, label in ((1, "kidney"), (2, "liver"))
    ]
    kind = highdicom.seg.SegmentationTypeValues.FRACTIONAL if most else highdicom.seg.SegmentationTypeValues.BINARY
    stored = masks if not most else np.where(masks, np.linspace(0.51, 1, COLUMNS)[None, None, :, None], 0.49) * (masks.any((1, 2))[:, None, None])
    highdicom.seg.Segmentation(
        source, stored, kind, described, generate_uid(), 2, generate_uid(), 1, "maker", "model", "1", "1",
        **({"max_fractional_value": most} if most else {}),
    ).save_as(path)  # fmt: skip
    return masks


@pytest.mark.parametrize("most", [0, 255, 150], ids=["binary", "of 255", "of 150"])
def test_frames_of_a_seg_are_the_truth_of_the_slices_that_they_name(tmp_path: Path, most: int) -> None:
    """Of probabilities, more than a half is marked."""
    source = slices(tmp_path / "ct")
    masks = segmentation(tmp_path / "marks.dcm", source, most=most)
    slices(tmp_path / "other", 2)
    dataset = open_annotated(str(tmp_path), workers=1, progress=False)
    assert dataset.labels.names == ("background", "kidney", "liver") and len(dataset) == 4
    # Of the other series nothing is known.
    assert [fault.kind for fault in dataset.faults] == ["slices without marks"]
    for item in dataset.items:
        sample = dataset.read(item)
        number = int(item.image.stem)
        for layer_label in (1, 2):
            drawn = sum(((layer > 0) & (sample.instance_labels[layer] == layer_label)).astype(int) for layer in sample.layers)
            assert np.array_equal(drawn > 0, masks[number, ..., layer_label - 1] > 0)
    assert not any("Doe" in str(note) or "4711" in str(note) for note in dataset.notes)


def test_a_series_is_learnt_from_or_measured_on(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        segmentation(tmp_path / name / "marks.dcm", slices(tmp_path / name / "ct", 3))
    dataset = open_annotated(str(tmp_path), workers=1, progress=False)
    train, val = split(dataset, 0.3, 1)
    assert len(train) == 6 and len({item.image.parent for item in val}) == 1
    assert examine(dataset, train, val).ok


def structures(path: Path, source: list[FileDataset], contours: list[tuple[int, str, list[tuple[float, float]], bool]], shift: float = 0.0) -> None:
    """A structure set whose contours (slice, name, x and y in pixels, whether the slice is named) are in millimetres."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = RTSTRUCT, generate_uid(), ExplicitVRLittleEndian
    found = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID, found.Modality = RTSTRUCT, meta.MediaStorageSOPInstanceUID, "RTSTRUCT"
    found.SeriesInstanceUID, found.StudyInstanceUID = generate_uid(), source[0].StudyInstanceUID
    names = list(dict.fromkeys(name for _, name, _, _ in contours))
    found.StructureSetROISequence, found.ROIContourSequence = pydicom.Sequence(), pydicom.Sequence()
    for number, name in enumerate(names, start=1):
        roi, outlines = Attributes(), Attributes()
        roi.ROINumber, roi.ROIName = number, name
        outlines.ReferencedROINumber, outlines.ContourSequence = number, pydicom.Sequence()
        for place, of, ring, stated in contours:
            if of != name:
                continue
            ct, contour = source[place], Attributes()
            along = np.reshape(ct.ImageOrientationPatient, (2, 3)).astype(float)
            points = np.array(ring) - 0.5 + shift
            world = np.array(ct.ImagePositionPatient, dtype=float) + (points * (SPACING[1], SPACING[0])) @ along
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(ring)
            contour.ContourData = [f"{value:.6f}" for value in world.ravel()]
            if stated:
                reference = Attributes()
                reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CTImageStorage, ct.SOPInstanceUID
                contour.ContourImageSequence = pydicom.Sequence([reference])
            outlines.ContourSequence.append(contour)
        found.StructureSetROISequence.append(roi)
        found.ROIContourSequence.append(outlines)
    found.save_as(path, enforce_file_format=True)


def box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def test_contours_of_a_structure_set_lie_where_they_were_drawn(tmp_path: Path) -> None:
    source = slices(tmp_path)
    drawn = [
        (1, "heart", box(3, 4, 20, 18), True), (1, "heart", box(6, 8, 12, 12), True),  # a hole
        (2, "heart", box(10, 2, 15, 9), False), (2, "lung", box(18.2, 3.1, 30.4, 20.3), False),
    ]  # fmt: skip
    structures(tmp_path / "rs.dcm", source, drawn)
    dataset = open_annotated(str(tmp_path), workers=1, progress=False)
    assert dataset.labels.names == ("background", "heart", "lung") and len(dataset) == 4 and not dataset.faults
    maps = {item.image.stem: dataset.read(item).label_map for item in dataset.items}
    wanted = np.zeros((4, ROWS, COLUMNS), np.uint8)
    wanted[1, 4:18, 3:20], wanted[1, 8:12, 6:12], wanted[2, 2:9, 10:15], wanted[2, 3:20, 18:30] = 1, 0, 1, 2
    for number in range(4):
        assert np.array_equal(maps[str(number)], wanted[number]), number


def test_marks_of_another_series_or_grid_are_named(tmp_path: Path) -> None:
    source = slices(tmp_path / "ct")
    structures(tmp_path / "far.dcm", source, [(1, "heart", box(3, 4, 9, 9), True), (2, "heart", box(3, 4, 9, 9), True)], shift=500)
    with pytest.raises(DataError, match="on none of the 4 slices"):
        open_annotated(str(tmp_path), workers=1, progress=False)
    (tmp_path / "far.dcm").unlink()
    structures(tmp_path / "some.dcm", source, [(1, "heart", box(3, 4, 9, 9), True), (2, "heart", box(503, 4, 509, 9), True)])
    strangers = slices(tmp_path / "elsewhere", 3, step=7.0)
    segmentation(tmp_path / "seg.dcm", strangers)
    for path in (tmp_path / "elsewhere").iterdir():
        path.unlink()
    dataset = open_annotated(str(tmp_path), workers=1, progress=False)
    said = {(fault.file, fault.kind) for fault in dataset.faults}
    assert ("some.dcm", "marks outside of slice") in said and ("seg.dcm", "marks on no slice") in said


def test_frames_of_one_image_are_slices_too(tmp_path: Path) -> None:
    source = slices(tmp_path / "ct", 3)
    volume = pydicom.dcmread(source[0].filename)
    volume.SOPClassUID = volume.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    volume.NumberOfFrames, volume.PixelData = len(source), b"".join(ct.PixelData for ct in source)
    measures, turned, shared = Attributes(), Attributes(), Attributes()
    measures.PixelSpacing, measures.SliceThickness, turned.ImageOrientationPatient = list(SPACING), 2.0, ORIENTATION
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turned]
    volume.SharedFunctionalGroupsSequence, volume.PerFrameFunctionalGroupsSequence = [shared], pydicom.Sequence()
    for ct in source:
        place, frame = Attributes(), Attributes()
        place.ImagePositionPatient = ct.ImagePositionPatient
        frame.PlanePositionSequence = [place]
        volume.PerFrameFunctionalGroupsSequence.append(frame)
        Path(ct.filename).unlink()
    for name in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(volume, name)
    volume.save_as(tmp_path / "ct" / "volume.dcm")
    masks = segmentation(tmp_path / "marks.dcm", [volume], 3)
    # Without the number of a frame it is the place that counts.
    structures(tmp_path / "rs.dcm", source, [(2, "heart", box(20, 1, 30, 9), False)])
    dataset = open_annotated(str(tmp_path), workers=1, progress=False)
    assert dataset.labels.names == ("background", "heart", "kidney", "liver") and not dataset.faults
    assert [(item.name, item.view.z) for item in dataset.items] == [(f"ct/volume-{number + 1}", number) for number in range(3)]
    for number, item in enumerate(dataset.items):
        sample = dataset.read(item)
        drawn = [sum(((layer > 0) & (sample.instance_labels[layer] == label)).astype(int) for layer in sample.layers) > 0 for label in (1, 2, 3)]
        assert drawn[0].any() == (number == 2)
        assert np.array_equal(drawn[1], masks[number, ..., 0] > 0) and np.array_equal(drawn[2], masks[number, ..., 1] > 0)

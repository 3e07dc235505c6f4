#!/usr/bin/env bash
# A CT image may leave its slice thickness empty (type 2 of the CT Image module). highdicom makes a segmentation of it without a word, and does not
# read what it has written: its reader wants a slice thickness among the pixel measures, where the standard asks for one only of volumes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check highdicom==0.28.2 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import highdicom
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

print("highdicom", version("highdicom"), "pydicom", version("pydicom"))


def image(thickness):
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.SOPClassUID, found.SOPInstanceUID, found.Modality = CTImageStorage, generate_uid(), "CT"
    found.StudyInstanceUID, found.SeriesInstanceUID, found.FrameOfReferenceUID = generate_uid(), generate_uid(), generate_uid()
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
        setattr(found, name, "")
    found.Rows, found.Columns, found.SeriesNumber, found.InstanceNumber = 8, 9, 1, 1
    found.PixelSpacing, found.ImagePositionPatient, found.ImageOrientationPatient = [0.5, 0.5], [0, 0, 0], [1, 0, 0, 0, 1, 0]
    found.SliceThickness = thickness
    return found


def again(thickness):
    """How many pixels highdicom finds in the segmentation that it has made, or why it finds none."""
    described = highdicom.seg.SegmentDescription(
        1, "organ", codes.SCT.Organ, codes.SCT.Liver, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
    )
    mask = np.zeros((1, 8, 9), np.uint8)
    mask[0, 2:5, 3:6] = 1
    made = highdicom.seg.Segmentation(
        [image(thickness)], mask, highdicom.seg.SegmentationTypeValues.BINARY, [described], generate_uid(), 2, generate_uid(), 1, "maker", "model", "1", "1"
    )
    made.save_as("seg.dcm")
    try:
        return int(highdicom.seg.segread("seg.dcm").pixel_array.sum())
    except AttributeError as error:
        return str(error)


with_one, without = again(3.0), again(None)
print("slice thickness 3:", with_one)
print("slice thickness empty:", without)
sys.exit(0 if with_one == 9 and without == "Sequence does not have the required attributes for a Pixel Measures Sequence." else 1)
PYTHON

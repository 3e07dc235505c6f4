#!/usr/bin/env bash
# DICOM stores pixels of one bit without gaps, so that a frame whose size is no multiple of eight begins within a byte (segmentations of odd sizes).
# pydicom reads all frames of such a file, but not each frame by its index: from the second one on it fails with a ValueError about shapes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian

print("pydicom", version("pydicom"))
frames = (np.arange(3 * 3 * 5).reshape(3, 3, 5) % 4 == 0).astype(np.uint8)
found = Dataset()
found.file_meta = FileMetaDataset()
found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
found.NumberOfFrames, found.Rows, found.Columns = frames.shape
found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
found.BitsAllocated = found.BitsStored = 1
found.HighBit = found.PixelRepresentation = 0
found.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()


def frame(index):
    try:
        return bool((pixel_array(found, index=index) == frames[index]).all())
    except ValueError as error:
        return str(error)


whole, each = bool((pixel_array(found) == frames).all()), [frame(index) for index in range(3)]
print("all frames at once are right:", whole)
print("frame by frame:", each)
sys.exit(0 if whole and each[0] is True and each[1] == "cannot reshape array of size 9 into shape (3,5)" else 1)
PYTHON

#!/usr/bin/env bash
# A NIfTI file that states no position (qform and sform code 0, as many tools that only know voxels write it) has two: nibabel puts the middle of
# the volume at the origin and lets x run to the left; SimpleITK puts the first voxel there and lets x run to the left and y to the back. The same
# voxel lies in two places, with front and back exchanged. SimpleITK then writes its reading into the header as if it had been measured, so that
# an image that passed through it no longer lies on a mask that did not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nibabel==5.4.2 simpleitk==2.5.7 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import nibabel
import numpy as np
import SimpleITK

print("nibabel", version("nibabel"), "SimpleITK", version("SimpleITK"))
voxels = np.zeros((6, 5, 4), np.uint8)
voxels[1, 2, 3] = 1
header = nibabel.Nifti1Header()
header.set_data_dtype(np.uint8)
header.set_data_shape(voxels.shape)
header.set_zooms((2, 2, 3))
nibabel.save(nibabel.Nifti1Image(voxels, None, header), "voxels.nii")


def place(path):
    """Millimetres to the right, front and top of the voxel, as nibabel has it, and the codes of the header."""
    read = nibabel.load(path)
    codes = int(read.header["qform_code"]), int(read.header["sform_code"])
    return [float(value) for value in (read.affine @ [1, 2, 3, 1])[:3]], codes


image = SimpleITK.ReadImage("voxels.nii")
left, back, top = image.TransformIndexToPhysicalPoint((1, 2, 3))
mine, codes = place("voxels.nii")
theirs = [-left, -back, top]
SimpleITK.WriteImage(image, "again.nii")
moved, written = place("again.nii")
print("nibabel:", mine, "codes", codes)
print("SimpleITK:", theirs)
print("nibabel, after SimpleITK has read and written the file:", moved, "codes", written)
sys.exit(0 if mine == [3.0, 0.0, 4.5] and codes == (0, 0) and theirs == moved == [-2.0, -4.0, 9.0] and written == (1, 1) else 1)
PYTHON

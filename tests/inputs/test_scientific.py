"""Files of microscopes, scanners and satellites: what the reference libraries read is what arrives, and nothing else does."""

from __future__ import annotations

import csv
import io
import json
import re
import resource
import struct
import subprocess
import sys
import time

import nibabel
import numpy as np
import pydicom
import pytest
import rasterio
import tifffile
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from seg_demo.__main__ import main
from seg_demo.core.errors import BadImageError, BadRequestError
from seg_demo.inputs import scientific, scientific_files
from seg_demo.inputs.images import decode_mask, read
from seg_demo.serving.predictor import load_model
from tests.pictures import auto
from tests.scientific_files import PERSON, PLACES, dicom, noise, raster, variants
from tests.served import ROOT
from tests.stranger_tiffs import plain
from tests.stranger_tiffs import tiff as made


@pytest.fixture(scope="module", autouse=True)
def _no_helper_is_left():
    yield
    scientific.close()


def check(picture, variant) -> str:
    """What is wrong with a picture; empty if nothing is."""
    if picture.samples is None or picture.samples.dtype != variant.samples.dtype or picture.samples.shape != variant.samples.shape:
        got = None if picture.samples is None else (picture.samples.dtype, picture.samples.shape)
        return f"samples {got}, but {variant.samples.dtype, variant.samples.shape}"
    if not np.array_equal(picture.samples, variant.samples, equal_nan=variant.samples.dtype.kind == "f"):
        return "samples differ"
    if picture.pixels.dtype != np.uint8 or picture.pixels.shape != (*variant.samples.shape[:2], 3):
        return f"pixels {picture.pixels.shape}"
    for name, wanted in variant.facts.items():
        place = picture.georeference if name in ("crs", "affine") else picture
        got = getattr(place, name)
        if name == "pixels":
            if not np.array_equal(got, wanted):
                return "pixels differ"
        elif (not np.allclose(got, wanted)) if name in ("pixel_size", "affine") else got != wanted:
            return f"{name} {got}, but {wanted}"
    return ""


def test_every_variant_is_what_its_library_reads(tmp_path, monkeypatch):
    """16 families and 170 files and views; the first of every family through the locked-in child, the others without the fork."""
    wrong, families, count = [], set(), 0
    for variant in variants(tmp_path):
        if variant.family in families:
            monkeypatch.setattr(scientific._decoders, "answer", lambda order: json.loads(json.dumps(scientific_files.decode(order))))
        else:
            monkeypatch.undo()
        families.add(variant.family)
        count += 1
        try:
            problem = check(read(variant.path, view=variant.view and json.dumps(variant.view)), variant)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            wrong.append(f"{variant.family} {variant.name}: {problem}")
    assert not wrong, "\n".join(wrong)
    assert len(families) >= 15 and count >= 120, (families, count)


def sentence(path, kind=BadImageError, **view) -> str:
    """Why a file, or a view of it, is refused."""
    with pytest.raises(kind) as caught:
        read(path, view=view or None)
    said = str(caught.value)
    assert said.endswith(".") and "Traceback" not in said and "/tmp" not in said and PERSON not in said and "4711" not in said
    assert caught.value.message.text("zh") != said
    return said


def lying(offset: int, value: int, width: int = 4) -> bytes:
    """A plain TIFF of 16 bits with one number of it changed."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, noise("u2", 60, 50), photometric="minisblack", metadata=None)
    data = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        at = file.pages.first.tags[offset].valueoffset
    data[at : at + width] = value.to_bytes(width, "little")
    return bytes(data)


def test_headers_that_lie_are_sentences_within_time_and_memory(tmp_path):
    began, before = time.monotonic(), peak()
    assert "ends before its pixels" in sentence(lying(273, 10_000_000))
    assert "ends before its pixels" in sentence(lying(279, 10_000_000))
    assert "65,535 x 60 pixels" in sentence(lying(256, 65_535, 2))
    many = plain(50, 60, 65_535, 1, t258=(3, [16]), t279=(4, [6000]))
    assert sentence(made(many, bytes(6000)))
    huge = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1), "u2")) | {"shape": (1 << 16, 1 << 15)}
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, huge)
    assert sentence(array.getvalue())
    head = b"II*\0" + struct.pack("<I", 8)
    chained = b"".join(
        struct.pack("<HHHII" + "HHII" * 5, 6, 256, 3, 1, 4, 257, 3, 1, 3, 258, 3, 1, 16, 262, 3, 1, 1, 273, 4, 1, 8, 279, 4, 1, 24) + struct.pack("<I", 8 + 78 * (index + 1))
        for index in range(60_000)
    )
    picture = read(head + chained)
    assert picture.pixels.shape == (3, 4, 3) and "more than 10,000 pages" in picture.notes[-1]
    assert time.monotonic() - began < 60 and peak() - before < 500


def peak() -> float:
    """Megabytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_medicine_that_is_no_picture_says_what_it_is_and_nobodys_name(tmp_path):
    array = noise("u2", 40, 50)
    found = dicom(tmp_path / "text.dcm", array)
    del found.PixelData
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    found.save_as(tmp_path / "text.dcm")
    assert "holds no picture (it is of kind Encapsulated PDF Storage)" in sentence(tmp_path / "text.dcm")
    found.EncryptedAttributesSequence = [pydicom.Dataset()]
    found.save_as(tmp_path / "locked.dcm")
    assert "it is encrypted" in sentence(tmp_path / "locked.dcm")
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    found.save_as(tmp_path / "DICOMDIR")
    assert "DICOMDIR" in sentence(tmp_path / "DICOMDIR")
    broken = dicom(tmp_path / "broken.dcm", array, syntax=JPEG2000Lossless)
    broken.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
    broken.save_as(tmp_path / "broken.dcm")
    assert "pixels are damaged, or stored in a way that is not read here (JPEG 2000" in sentence(tmp_path / "broken.dcm")
    dicom(tmp_path / "lies.dcm", array, Rows=60_000, Columns=60_000)
    assert sentence(tmp_path / "lies.dcm")
    cut = dicom(tmp_path / "cut.dcm", array)
    cut.PixelData = cut.PixelData[:100]
    cut.save_as(tmp_path / "cut.dcm")
    assert sentence(tmp_path / "cut.dcm")
    dicom(tmp_path / "good.dcm", array)
    picture = read(tmp_path / "good.dcm")
    assert PERSON not in repr(picture) and "4711" not in repr(picture)
    assert picture.calibration.series["Modality"] == "CT" and set(picture.calibration.series) <= {
        "frame", "Modality", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "ImagePositionPatient",
        "ImageOrientationPatient", "SliceThickness", "NumberOfFrames",
    }  # fmt: skip


def test_other_bad_input_is_a_sentence_each(tmp_path):
    nibabel.Nifti1Image(noise("i2", 3, 4, 5, 2, 2), np.eye(4)).to_filename(tmp_path / "five.nii")
    assert "5 dimensions" in sentence(tmp_path / "five.nii")
    nibabel.Nifti1Image(noise("f4", 3, 4, 5).astype(np.complex64), np.eye(4)).to_filename(tmp_path / "complex.nii")
    assert "complex" in sentence(tmp_path / "complex.nii")
    (tmp_path / "short.nii").write_bytes((tmp_path / "complex.nii").read_bytes()[:400].replace(b"\x20\x00\x40\x00", b"\x04\x00\x10\x00"))
    assert sentence(tmp_path / "short.nii")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    assert "no array of numbers" in sentence(tmp_path / "objects.npy")
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    assert "numbers were expected" in sentence(tmp_path / "words.npy")
    np.save(tmp_path / "six.npy", np.zeros((2, 2, 2, 2, 2, 2)))
    assert "(2, 2, 2, 2, 2, 2)" in sentence(tmp_path / "six.npy")
    array = noise("f4", 1, 40, 50)
    array[0, :5], array[0, 5] = np.nan, np.inf
    raster(tmp_path / "holes.tif", array, "EPSG:32633", PLACES["utm"][1])
    assert "no data (NaN, inf)" in read(tmp_path / "holes.tif").notes[-1]
    raster(tmp_path / "none.tif", np.full((1, 40, 50), 7, "u2"), "EPSG:32633", PLACES["utm"][1], nodata=7)
    assert "all of its pixels are marked as holding no data" in sentence(tmp_path / "none.tif")
    local = rasterio.crs.CRS.from_wkt('LOCAL_CS["nobody knows",UNIT["metre",1]]')
    raster(tmp_path / "local.tif", noise("u2", 1, 40, 50), local, PLACES["utm"][1])
    picture = read(tmp_path / "local.tif")
    assert "coordinate system is not known" in picture.notes[-1] and picture.georeference.crs == "" and picture.pixel_size is None
    with pytest.raises(BadImageError, match="DICOM"):
        decode_mask(b"\0" * 128 + b"DICM" + bytes(200))


def test_a_reader_that_dies_or_hangs_is_a_sentence_and_the_next_file_is_read(tmp_path, monkeypatch):
    np.save(tmp_path / "good.npy", noise("u2", 40, 50))
    helper = scientific._decoders._every[-1]
    read(tmp_path / "good.npy")
    process = helper._process
    monkeypatch.setattr(scientific, "CLOCK", 0.0001)
    assert "could not be read within" in sentence(tmp_path / "good.npy")
    monkeypatch.undo()
    assert read(tmp_path / "good.npy").pixels.shape == (40, 50, 3) and helper._process is process, "the helper outlives its children"
    process.kill()
    process.wait()
    assert read(tmp_path / "good.npy").pixels.shape == (40, 50, 3)


def test_a_photograph_imports_none_of_it_and_meets_no_other_process(tmp_path):
    colours = noise("u1", 40, 50, 3)
    for name, options in (("a.jpg", {}), ("b.png", {}), ("c.tif", {}), ("d.tif", {"compression": "tiff_lzw"})):
        Image.fromarray(colours).save(tmp_path / name, **options)
    Image.fromarray(colours[..., 0]).save(tmp_path / "e.tif")
    code = f"""
import sys
from pathlib import Path
from seg_demo.inputs.images import read
for path in sorted(Path({str(tmp_path)!r}).iterdir()):
    assert read(path).view is None, path
print(sorted({{"tifffile", "imagecodecs", "rasterio", "pydicom", "nibabel", "seg_demo.inputs.scientific", "seg_demo.inputs.planes"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_views_show_what_they_name(tmp_path):
    array = noise("u2", 3, 4, 40, 50)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "ZCYX"})
    picture = read(tmp_path / "a.tif", view='{"z": 2, "channels": [3, 1], "window": [1000, 50000], "gamma": 2}')
    for place, channel in enumerate((3, 1)):
        wanted = np.rint(np.clip((array[2, channel] - 1000.0) / 49_000, 0, 1) ** 2 * 255)
        np.testing.assert_array_equal(picture.pixels[..., place], wanted)
    assert not picture.pixels[..., 2].any() and picture.notes == ()
    assert picture.view.to_dict() == {"page": 0, "z": 2, "t": 0, "channels": [3, 1], "window": [1000.0, 50000.0], "gamma": 2.0}
    again = read(tmp_path / "a.tif", view=picture.view.to_dict())
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    full = read(tmp_path / "a.tif", view={"window": "full", "channels": [0]})
    np.testing.assert_array_equal(full.pixels[..., 1], np.rint(array[1, 0] / 257))
    default = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(default.pixels, np.dstack([auto(array[1, channel]) for channel in range(3)]))
    scan = np.arange(2000, dtype="i2").reshape(40, 50)
    dicom(tmp_path / "ct.dcm", scan, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    hounsfield = scan * 2.0 - 1024
    wanted = np.rint(np.clip((hounsfield - (40 - 0.5)) / 399 + 0.5, 0, 1) * 255)
    assert read(tmp_path / "ct.dcm").view.window == "dicom"
    np.testing.assert_array_equal(read(tmp_path / "ct.dcm").pixels[..., 0], wanted)
    np.testing.assert_array_equal(read(tmp_path / "ct.dcm", view={"window": [-160, 240]}).pixels[..., 0], np.rint(np.clip((hounsfield + 160) / 400, 0, 1) * 255))
    Image.fromarray(noise("u1", 40, 50, 3)).save(tmp_path / "photo.png")
    photo = np.asarray(Image.open(tmp_path / "photo.png"))
    np.testing.assert_array_equal(read(tmp_path / "photo.png", view={"channels": [2]}).pixels, np.repeat(photo[..., 2:], 3, axis=2))


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ('{"z": 7}', "asks for z 7, but this file has 3"), ('{"page": -1}', "page is a whole number"), ('{"t": true}', "t is a whole number"),
        ('{"channels": []}', "one to three numbers"), ('{"channels": [9]}', "asks for channel 9, but this file has 4"), ('{"window": "dicom"}', "this file states none"),
        ('{"window": [3, 3]}', "the second is larger"), ('{"window": [0, 1e999]}', "the second is larger"), ('{"gamma": 0}', "from 0.1 to 10"), ('{"zoom": 2}', "any of page"), ("{", "is none"),
        ("[" * 3000, "at most 2,000 letters"), ("[1]", "JSON object"),
    ],
)  # fmt: skip
def test_a_view_that_is_none_is_refused_in_words(stack, view, said):
    with pytest.raises(BadRequestError, match=re.escape(said)):
        read(stack, view=view)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    path = tmp_path_factory.mktemp("stack") / "a.tif"
    tifffile.imwrite(path, noise("u2", 3, 4, 40, 50), imagej=True, metadata={"axes": "ZCYX"})
    return path


def test_a_result_says_what_was_looked_at_and_how_large_it_is(stack, tmp_path, capsys):
    path = tmp_path / "cells.ome.tif"
    array = np.zeros((3, 40, 50), "u2")
    array[1, 10:20, 10:30] = 3000
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(path, array, ome=True, photometric="minisblack", metadata={"axes": "ZYX", **size})
    result = load_model("otsu").predict(path, view={"z": 1, "window": "full"})
    assert result.calibration.pixel_size == (0.5, 0.25)
    told = result.to_dict()
    assert told["view"] == {"page": 0, "z": 1, "t": 0, "channels": [0], "window": "full", "gamma": 1.0}
    assert (told["pixel_size"], told["unit"]) == ([0.5, 0.25], "micrometer")
    assert [segment["area_units"] for segment in told["segments"]] == [segment["area"] * 0.125 for segment in told["segments"]]
    out = tmp_path / "out"
    view = '{"z": 1, "window": "full"}'
    assert main(["segment", str(path), "--model", "otsu", "--out", str(out), "--view", view]) == 0
    written = json.loads((out / "cells" / "result.json").read_text())
    assert written["view"] == told["view"] and written["segments"] == told["segments"]
    assert json.loads((out / "run.json").read_text())["view"] == {"z": 1, "window": "full", "gamma": 1.0}
    (row,) = [row for row in csv.DictReader((out / "cells" / "segments.csv").open()) if row["area"] == "200"]
    assert float(row["area_um2"]) == 25.0
    (row,) = [row for row in csv.DictReader((out / "counts.csv").open()) if row["area_pixels"] == "200"]
    assert float(row["area_um2"]) == 25.0
    capsys.readouterr()
    assert main(["segment", str(path), "--model", "otsu", "--out", str(tmp_path / "other"), "--view", '{"z": 9}']) == 1
    assert "asks for z 9, but this file has 3" in capsys.readouterr().err
    assert main(["segment", str(path), "--model", "otsu", "--out", str(tmp_path / "third"), "--view", '{"depth": 9}']) == 2
    place = tmp_path / "place.tif"
    raster(place, noise("u2", 1, 40, 50), *PLACES["utm"])
    assert load_model("otsu").predict(place).to_dict()["crs"] == "EPSG:32633"

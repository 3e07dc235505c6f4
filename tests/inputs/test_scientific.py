"""Files of microscopes, scanners and satellites: what the reference libraries read is what arrives, and nothing else does."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import rasterio
import tifffile
from PIL import Image
from pydicom.uid import JPEG2000Lossless, RLELossless
from rasterio.transform import Affine
from rasterio.warp import transform

from seg_demo.__main__ import main
from seg_demo.core.errors import BadImageError, BadRequestError, BusyError
from seg_demo.core.picture import View
from seg_demo.inputs import images, scientific, scientific_files
from seg_demo.inputs.images import decode_mask, read, views_of
from seg_demo.serving.predictor import load_model
from tests.inputs.test_images import linear_profile
from tests.pictures import auto
from tests.scientific_files import PATIENT, PERSON, PLACES, dicom, noise, raster, variants
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
            problem = check(read(variant.path, view=variant.view and json.dumps(variant.view), with_samples=True), variant)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            wrong.append(f"{variant.family} {variant.name}: {problem}")
    assert not wrong, "\n".join(wrong)
    assert len(families) >= 15 and count >= 120, (families, count)


def sentence(path, kind=BadImageError, **view) -> str:
    """Why a file, or a view of it, is refused."""
    with pytest.raises(kind) as caught:
        read(path, view=view or None, with_samples=True)
    said = str(caught.value)
    assert said.endswith(".") and "Traceback" not in said and "/tmp" not in said and PERSON not in said and PATIENT not in said
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
    assert "65,535 x 60 pixels" in sentence(lying(256, 65_535, 2)) and "more than is accepted" in sentence(lying(257, 65_535, 2))
    assert "2,147,483,647 x 40 pixels" in sentence(made(plain(50, 40, 1, 1, t256=(4, [2**31 - 1]), t258=(3, [16]), t279=(4, [4000])), bytes(4000)))
    assert "method (number 51234)" in sentence(lying(259, 51_234, 2))
    many = plain(50, 60, 65_535, 1, t258=(3, [16]), t279=(4, [6000]))
    assert sentence(made(many, bytes(6000)))
    huge = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1), "u2")) | {"shape": (1 << 16, 1 << 15)}
    for shape in ((1 << 16, 1 << 15), (40, 50)):
        array = io.BytesIO()
        np.lib.format.write_array_header_1_0(array, huge | {"shape": shape})
        assert "damaged" in sentence(array.getvalue())
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
    assert PERSON not in repr(picture) and PATIENT not in repr(picture)
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
    array[0, :5], array[0, 5] = np.nan, -np.inf
    raster(tmp_path / "holes.tif", array, "EPSG:32633", PLACES["utm"][1])
    assert "50 of its values are infinite" in sentence(tmp_path / "holes.tif") and "with NaN where" in sentence(tmp_path / "holes.tif")
    raster(tmp_path / "named.tif", array, "EPSG:32633", PLACES["utm"][1], nodata=-np.inf)
    assert "no data (-inf, NaN)" in read(tmp_path / "named.tif").notes[-1]
    for dtype, value in (("u2", 7), ("i2", -9999), ("f4", -9999), ("f4", -np.inf)):
        raster(tmp_path / "none.tif", np.full((1, 40, 50), value, dtype), "EPSG:32633", PLACES["utm"][1], nodata=value)
        assert "all of its pixels are marked as holding no data" in sentence(tmp_path / "none.tif"), dtype
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


@pytest.fixture
def here(monkeypatch):
    """Files are read in this process, by what the locked-in child runs once it has locked itself in."""
    monkeypatch.setattr(scientific_files, "confine", lambda *_: ())
    monkeypatch.setattr(scientific_files, "limit_resources", lambda *_: None)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setattr(scientific._decoders, "answer", lambda order: json.loads(json.dumps(scientific_files.answer(order))))


def test_a_band_or_half_of_it_without_data_is_no_empty_picture(tmp_path, here):
    array = noise("u2", 3, 40, 50)
    array[array == 0] = 1
    array[0] = 0
    raster(tmp_path / "band.tif", array, "EPSG:32633", PLACES["utm"][1], nodata=0)
    picture = read(tmp_path / "band.tif")
    np.testing.assert_array_equal(picture.pixels, np.dstack([np.zeros((40, 50)), auto(array[1]), auto(array[2])]))
    assert "hold no data (0)" in picture.notes[-1]
    halves = noise("u2", 2, 40, 50) | 1
    halves[0, :, :25] = halves[1, :, 25:] = 0
    raster(tmp_path / "halves.tif", halves, "EPSG:32633", PLACES["utm"][1], nodata=0)
    assert read(tmp_path / "halves.tif").pixels[..., :2].any(axis=(0, 1)).all()
    assert "marked as holding no data" in sentence(tmp_path / "band.tif", channels=[0])


@pytest.mark.parametrize("kind", ["i8", "u8"])
def test_the_largest_number_of_64_bits_is_no_damage(tmp_path, here, kind):
    """It is no whole number of its type once it is a fraction, as which what a file has for no data is known."""
    array = noise("u2", 40, 50).astype(kind) % 1000
    array[:4] = np.iinfo(kind).max
    raster(tmp_path / "a.tif", array[None], "EPSG:32633", PLACES["utm"][1])
    picture = read(tmp_path / "a.tif")
    assert not picture.pixels[:4].any() and picture.pixels[4:].max() == 255
    low, high = np.percentile(array[4:], (0.35, 99.65))
    assert abs(picture.pixels[4:, :, 0] - ((array[4:] - low) / (high - low) * 255).clip(0, 255)).max() <= 1


def test_every_image_of_an_ome_file_has_its_own_pixel_size(tmp_path, here):
    with tifffile.TiffWriter(tmp_path / "two.ome.tif") as file:
        for size in (0.5, 2.0):
            metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": size, "PhysicalSizeYUnit": "µm"}
            file.write(noise("u2", 40, 50), photometric="minisblack", metadata=metadata)
    for page, size in ((0, 0.5), (1, 2.0)):
        picture = read(tmp_path / "two.ome.tif", view={"page": page})
        assert picture.pixel_size == (size, size) and picture.unit == "micrometer" and picture.pages == 2


def test_palettes_have_their_place_pages_and_colours(tmp_path, here):
    indices = noise("u1", 1, 40, 50)
    colours = {index: (index, 255 - index, 7, 255) for index in range(256)}
    raster(tmp_path / "place.tif", indices, *PLACES["utm"], nodata=0)
    with rasterio.open(tmp_path / "place.tif", "r+") as file:
        file.write_colormap(1, colours)
    seen = np.array([colours[index][:3] for index in range(256)], dtype=np.uint8)
    picture = read(tmp_path / "place.tif")
    assert picture.georeference.crs == "EPSG:32633" and picture.pixel_size == (10, 10) and picture.unit == "meter"
    there = indices[0] > 0  # a colour of the palette that the file has for no data is none
    np.testing.assert_array_equal(picture.pixels, np.where(there[..., None], seen[indices[0]], 0))
    assert "hold no data (0)" in picture.notes[-1] and not there.all()
    pages = noise("u1", 4, 40, 50)
    # With 8 bits as some programs write it, and as the standard has it; every page with a directory of its own, and one for all.
    for factor in (1, 257):
        for truncate in (False, True):
            path = tmp_path / f"{factor}{truncate}.tif"
            tifffile.imwrite(path, pages, photometric="palette", colormap=(seen.T * np.uint16(factor)).astype("u2"), truncate=truncate, metadata={"axes": "ZYX"})
            picture = read(path, view={"window": "full"})
            assert picture.stack.z == 4 and picture.view.z == 2, picture.stack
            np.testing.assert_array_equal(picture.pixels, seen[pages[2]])
            np.testing.assert_array_equal(read(path, view={"z": 3}).pixels, seen[pages[3]])
    ink = noise("u1", 40, 50, 4)
    tifffile.imwrite(tmp_path / "ink.tif", np.stack([ink, ink]), photometric="separated", metadata=None)
    Image.fromarray(ink, "CMYK").save(tmp_path / "one.tif")
    np.testing.assert_array_equal(read(tmp_path / "ink.tif", view={"page": 1}).pixels, read(tmp_path / "one.tif").pixels)


def test_a_preview_before_the_picture_is_not_looked_at(tmp_path, here):
    colours = np.stack([np.arange(256), 255 - np.arange(256), np.zeros(256)]).astype("u2") * 257
    pages = noise("u1", 2, 16, 16)
    for photometric, more in (("palette", {"colormap": colours}), ("minisblack", {})):
        path = tmp_path / f"{photometric}.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(pages[0, ::4, ::4], photometric=photometric, subfiletype=1, metadata=None, extratags=[(42113, "s", 2, "9", True)], **more)
            for page in pages:
                file.write(page, photometric=photometric, metadata=None, **more)
        for source in (path, path.read_bytes()):
            for number in (0, 1):
                picture = read(source, view={"page": number})
                assert picture.pixels.shape == (16, 16, 3) and picture.pages == 2
                seen = (colours.T // 257)[pages[number]] if more else np.repeat(pages[number][..., None], 3, axis=2)
                np.testing.assert_array_equal(picture.pixels, seen)


def test_alpha_that_colours_are_multiplied_with_is_not_multiplied_again(tmp_path, here):
    pixel = np.array([100, 0, 0, 128], dtype=np.uint8)
    for kind, wanted in (("assocalpha", (227, 127, 127)), ("unassalpha", (177, 127, 127))):
        tifffile.imwrite(tmp_path / "a.tif", np.broadcast_to(pixel, (2, 4, 5, 4)), photometric="rgb", extrasamples=[kind], metadata=None)
        assert tuple(read(tmp_path / "a.tif").pixels[0, 0]) == wanted


def test_colours_of_pages_are_of_their_profile(tmp_path, here):
    colours = noise("u1", 40, 50, 3)
    display = linear_profile()
    Image.fromarray(colours).save(tmp_path / "one.tif", icc_profile=display)
    Image.fromarray(colours).save(tmp_path / "two.tif", icc_profile=display, save_all=True, append_images=[Image.fromarray(colours)])
    np.testing.assert_array_equal(read(tmp_path / "two.tif").pixels, read(tmp_path / "one.tif").pixels)


def test_how_large_a_scientific_file_is_stands_in_its_header(tmp_path):
    flat = np.zeros((2000, 2100))
    tifffile.imwrite(tmp_path / "a.tif", flat.astype("f4"), compression="zlib")
    dicom(tmp_path / "a.dcm", flat.astype("u2"), syntax=RLELossless)
    nibabel.Nifti1Image(flat.astype("u1")[..., None], np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    nibabel.Nifti2Image(flat.astype("u1"), np.eye(4)).to_filename(tmp_path / "b.nii")
    np.save(tmp_path / "a.npy", flat.astype("u1"))
    Image.fromarray(flat.astype("u2")).save(tmp_path / "a.png")
    for path in sorted(tmp_path.iterdir()):
        assert images.pixels_of(path) == 4_200_000 and images.is_large(path), path
    np.save(tmp_path / "small.npy", flat[:100].astype("u2"))
    assert images.pixels_of(tmp_path / "small.npy") == 210_000 and not images.is_large(tmp_path / "small.npy")


def test_an_owners_limits_hold_for_scientific_files_too(tmp_path, here, monkeypatch):
    np.save(tmp_path / "a.npy", noise("u2", 40, 50))
    with pytest.raises(BadImageError, match="bytes|MB|KB"):
        read((tmp_path / "a.npy").read_bytes(), max_bytes=1000)
    Image.fromarray(noise("u2", 40, 50)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    monkeypatch.setattr(images, "_let_pillow", lambda pixels: None)
    with pytest.raises(BadImageError, match="50 x 40 pixels"):
        read(tmp_path / "a.png", max_pixels=1999)
    assert read(tmp_path / "a.png", max_pixels=2000).pixels.shape == (40, 50, 3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_full_disk_is_no_damaged_file(tmp_path, here, monkeypatch):
    def answer(order):
        Path(order["output"], scientific_files.PIXELS).symlink_to("/dev/full")
        return json.loads(json.dumps(scientific_files.answer(order)))

    monkeypatch.setattr(scientific._decoders, "answer", answer)
    np.save(tmp_path / "a.npy", noise("u2", 40, 50))
    with pytest.raises(BusyError, match="no place on this server's disk"):
        read(tmp_path / "a.npy")


def test_every_frame_of_a_dicom_has_its_own_scale_and_window(tmp_path, here):
    frames = np.stack([np.arange(2000, dtype="u2").reshape(40, 50)] * 3)
    groups = []
    for slope, center in ((1, 500), (2, 1500), (-1, -800)):
        group, values, window = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slope, 10, "US"
        window.WindowCenter, window.WindowWidth = center, 401
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = [values], [window]
        groups.append(group)
    dicom(tmp_path / "frames.dcm", frames, PerFrameFunctionalGroupsSequence=groups)
    for number, (slope, center) in enumerate(((1, 500), (2, 1500), (-1, -800))):
        picture = read(tmp_path / "frames.dcm", view={"z": number})
        wanted = np.rint(np.clip((frames[number] * float(slope) + 10 - (center - 0.5)) / 400 + 0.5, 0, 1) * 255)
        np.testing.assert_allclose(picture.pixels[..., 0], wanted, atol=1)
        assert picture.stack.slope == slope and picture.stack.windows == ((center - 200.5, center + 199.5),)


def test_samples_are_there_when_asked_for(stack, here):
    assert read(stack).samples is None and read(stack, view={"channels": [3]}).samples is None
    assert read(stack, with_samples=True).samples.shape == (40, 50, 4)
    np.testing.assert_array_equal(read(stack).pixels, read(stack, with_samples=True).pixels)


def test_only_an_ordinary_file_of_the_right_size_is_taken_from_the_child(tmp_path, monkeypatch):
    """A reader that its file has taken over could leave a link to a file of the server's, or a pipe that nobody writes to."""
    np.save(tmp_path / "good.npy", noise("u2", 40, 50))
    (tmp_path / "secret").write_bytes(bytes(40 * 50 * 3))
    tampered = {
        "link": lambda file: file.symlink_to(tmp_path / "secret"), "pipe": os.mkfifo, "folder": Path.mkdir,
        "short": lambda file: file.write_bytes(bytes(10)), "long": lambda file: file.write_bytes(bytes(40 * 50 * 3 + 1)), "nothing": lambda file: None,
    }  # fmt: skip
    for name in (scientific_files.PIXELS, scientific_files.SAMPLES):
        for place in tampered.values():

            def answer(order, name=name, place=place):
                reply = scientific_files.decode(order)
                (file := Path(order["output"], name)).unlink()
                place(file)
                return json.loads(json.dumps(reply))

            monkeypatch.setattr(scientific._decoders, "answer", answer)
            assert "ended the process that read it" in sentence(tmp_path / "good.npy")


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


def test_images_of_a_file_have_sizes_depths_and_channels_of_their_own(tmp_path):
    """OME-TIFF with several images: all but the number of pages is of the one that is looked at."""
    path = tmp_path / "some.ome.tif"
    deep, colours, other = noise("u2", 4, 30, 40), noise("u2", 3, 30, 40), noise("u1", 2, 24, 50)
    with tifffile.TiffWriter(path, ome=True) as file:
        for array, axes in ((deep, "ZYX"), (colours, "CYX"), (other, "ZYX")):
            file.write(array, photometric="minisblack", metadata={"axes": axes})
    shown = {page: read(path, view={"page": page}, with_samples=True) for page in range(3)}
    assert [(picture.stack.pages, picture.stack.z, len(picture.channels), picture.view.z) for picture in shown.values()] == [(3, 4, 1, 2), (3, 1, 3, 0), (3, 2, 1, 1)]
    assert np.array_equal(shown[0].samples[..., 0], deep[2]) and np.array_equal(shown[1].samples, np.moveaxis(colours, 0, -1))
    assert np.array_equal(shown[2].samples[..., 0], other[1]) and np.array_equal(read(path, view={"page": 2, "z": 0}).pixels[..., 0], other[0])
    with pytest.raises(BadRequestError, match="z"):
        read(path, view={"page": 2, "z": 3})
    with pytest.raises(BadImageError, match="page 2 differs from the first one"):
        views_of(path, View(page="all"))


def test_padding_may_be_a_range(tmp_path):
    array = np.arange(-30, 90, dtype=np.int16).reshape(10, 12)
    for first, last_ in ((-30, 9), (9, -30)):
        found = dicom(tmp_path / "a.dcm", array, RescaleSlope=1, RescaleIntercept=0)
        found.add_new("PixelPaddingValue", "SS", first)
        found.add_new("PixelPaddingRangeLimit", "SS", last_)
        found.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        picture = read(tmp_path / "a.dcm", with_samples=True)
        assert np.array_equal(picture.samples[..., 0], np.where(array <= 9, first, array)) and not picture.pixels[array <= 9].any()
        assert any("33.33% of the pixels hold no data" in str(note) for note in picture.notes)


def test_mercator_says_that_it_stretches(tmp_path):
    """A metre of a map in the browser at 60 degrees is half a metre on the ground, for the cosine of 60 degrees is a half."""
    north = transform("EPSG:4326", "EPSG:3857", [10.0], [60.0])[1][0]
    raster(tmp_path / "a.tif", noise("u1", 3, 20, 30), "EPSG:3857", Affine(5, 0, 1_113_194.9, 0, -5, north + 50))
    raster(tmp_path / "b.tif", noise("u1", 3, 20, 30), "EPSG:3857", Affine(5, 0, 1_113_194.9, 0, -5, 50))
    raster(tmp_path / "c.tif", noise("u1", 3, 20, 30), *PLACES["utm"])
    said = [[str(note) for note in read(tmp_path / f"{name}.tif").notes if "Mercator" in note] for name in "abc"]
    assert said[0] and "lengths come out 2.00 and areas 4.00 times" in said[0][0] and not said[1] and not said[2]

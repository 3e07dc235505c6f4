"""Files of microscopes, scanners and satellites, written by the reference libraries: 16 families, each with what its reader must find."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import rasterio
import tifffile
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid
from rasterio.transform import Affine

from tests.stranger_tiffs import plain
from tests.stranger_tiffs import tiff as made

RNG = np.random.default_rng(16)
HEIGHT, WIDTH = 37, 53
PERSON = "Doe^Jane"
# Of letters: a file names itself and others by random numbers of forty digits.
PATIENT = "QXJZ"


@dataclass
class Variant:
    """One file.

    Attributes:
        family: and its name within it.
        path: of the file.
        samples: (H, W, C), of the plane that is seen first, as the reference library reads it.
        facts: attributes of the picture that must be so.
        view: what is asked for; None for the file's own choice.
    """

    family: str
    name: str
    path: Path
    samples: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)
    view: dict[str, Any] | None = None


def noise(dtype: str, *shape: int) -> np.ndarray:
    """Random numbers over the whole of a type; fractions around 0."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (RNG.standard_normal(shape) * 100).astype(kind)
    ends = np.iinfo(kind)
    return RNG.integers(ends.min, ends.max, shape, dtype=kind, endpoint=True)


def last(planes: np.ndarray) -> np.ndarray:
    """(C, H, W) → (H, W, C)."""
    return np.moveaxis(planes, 0, -1)


def variants(folder: Path) -> Iterator[Variant]:
    """Every file, written one after the other."""
    for family in (_ome, _imagej, _pages, _planar, _tiled, _depths, _kinds, _many, _compressions, _predictors, _headers, _earth, _masked, _medical, _volumes, _arrays, _png):
        for number, (name, path, samples, *rest) in enumerate(family(folder)):
            yield Variant(family.__name__[1:], name or str(number), path, samples, *rest)


def _ome(folder: Path):
    sizes = {"T": 2, "Z": 5, "C": 3, "Y": HEIGHT, "X": WIDTH}
    for axes in ("YX", "CYX", "ZYX", "TYX", "ZCYX", "CZYX", "TCYX", "TZCYX", "TCZYX", "CTZYX"):
        path = folder / f"{axes}.ome.tif"
        array = noise("u2", *(sizes[axis] for axis in axes))
        facts = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
        labels = {"Channel": {"Name": ["DAPI", "GFP", "RFP"]}} if "C" in axes else {}
        tifffile.imwrite(path, array, ome=True, photometric="minisblack", metadata={"axes": axes, **facts, **labels})
        seen = tifffile.imread(path)
        for axis in "TZ":
            if axis in axes:
                seen = np.take(seen, {"T": 0, "Z": 2}[axis], [other for other in axes if other not in "TZ"[: "TZ".index(axis)]].index(axis))
        wanted = {"pixel_size": (0.5, 0.25), "unit": "micrometer", "pages": array.size // HEIGHT // WIDTH // (3 if "C" in axes else 1)}
        if "C" in axes:
            wanted["channels"] = ("DAPI", "GFP", "RFP")
        yield axes, path, last(seen) if "C" in axes else seen[..., None], wanted
    path = folder / "rgb.ome.tif"
    colours = noise("u1", HEIGHT, WIDTH, 3)
    tifffile.imwrite(path, colours, ome=True, photometric="rgb", metadata={"axes": "YXS", "PhysicalSizeX": 2, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 2, "PhysicalSizeYUnit": "nm"})
    yield "rgb", path, colours, {"pixel_size": (2.0, 2.0), "unit": "nanometer", "pixels": colours}
    path = folder / "units.ome.tif"
    mixed = {"PhysicalSizeX": 325.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.65, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(path, grey := noise("u2", HEIGHT, WIDTH), ome=True, photometric="minisblack", metadata={"axes": "YX", **mixed})
    yield "units", path, grey[..., None], {"pixel_size": (325.0, 650.0), "unit": "nanometer"}
    view = {"z": 4, "t": 1, "channels": [2]}
    yield "view", folder / "TZCYX.ome.tif", last(tifffile.imread(folder / "TZCYX.ome.tif")[1, 4]), {}, view


def _imagej(folder: Path):
    for dtype in ("u1", "u2", "f4"):
        for axes, shape in (("YX", ()), ("ZYX", (4,)), ("CYX", (2,)), ("TZCYX", (2, 3, 2)), ("TYX", (3,))):
            path = folder / f"{dtype}{axes}.tif"
            array = noise(dtype, *shape, HEIGHT, WIDTH)
            tifffile.imwrite(path, array, imagej=True, resolution=(4.0, 2.0), metadata={"axes": axes, "unit": "um", "spacing": 3})
            seen = tifffile.imread(path)
            seen = seen[0, 1] if axes == "TZCYX" else seen[len(seen) // 2] if axes == "ZYX" else seen[0] if axes == "TYX" else seen
            yield f"{dtype}{axes}", path, last(seen) if "C" in axes else seen[..., None], {"pixel_size": (0.25, 0.5), "unit": "micrometer"}


def _pages(folder: Path):
    for dtype in ("u1", "u2", "i2"):
        path = folder / f"pages-{dtype}.tif"
        array = noise(dtype, 6, HEIGHT, WIDTH)
        tifffile.imwrite(path, array, photometric="minisblack")
        yield f"{dtype} first", path, array[0][..., None], {"pages": 6}
        yield f"{dtype} fifth", path, array[4][..., None], {"pages": 6}, {"page": 4}
    path = folder / "colours.tif"
    array = noise("u1", 3, HEIGHT, WIDTH, 3)
    tifffile.imwrite(path, array, photometric="rgb")
    yield "colours", path, array[2], {"pixels": array[2]}, {"page": 2}


def _planar(folder: Path):
    for channels in (2, 4, 7):
        for dtype in ("u1", "u2", "f4"):
            path = folder / f"planar{channels}{dtype}.tif"
            array = noise(dtype, channels, HEIGHT, WIDTH)
            tifffile.imwrite(path, array, photometric="minisblack", planarconfig="separate", metadata=None)
            yield f"{channels} of {dtype}", path, last(tifffile.imread(path)), {}


def _tiled(folder: Path):
    for tile in ((16, 16), (32, 48), (64, 64)):
        for shape, options in (((HEIGHT, WIDTH), {}), ((HEIGHT, WIDTH, 4), {"planarconfig": "contig"}), ((4, HEIGHT, WIDTH), {"planarconfig": "separate"})):
            path = folder / f"tiled{tile[0]}{len(shape)}{shape[0]}.tif"
            array = noise("u2", *shape)
            tifffile.imwrite(path, array, photometric="minisblack", tile=tile, metadata=None, **options)
            seen = tifffile.imread(path)
            yield f"{tile} {shape}", path, seen[..., None] if seen.ndim == 2 else seen if seen.shape[2] == 4 else last(seen), {}


def _depths(folder: Path):
    path = folder / "bits1.tif"
    tifffile.imwrite(path, RNG.random((HEIGHT, WIDTH)) < 0.5, photometric="minisblack", metadata=None)
    yield "1 bit", path, tifffile.imread(path)[..., None].astype(np.uint8), {}, {"page": 0}
    for bits in (2, 3, 4, 6, 9, 10, 12, 14):
        for channels in (1, 2):
            values = RNG.integers(0, 2**bits, (HEIGHT, WIDTH, channels), dtype=np.uint16)
            flat = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(HEIGHT, WIDTH * channels, 2), axis=2)[..., -bits:]
            packed = np.packbits(flat.reshape(HEIGHT, -1), axis=1)
            path = folder / f"bits{bits}{channels}.tif"
            path.write_bytes(made(plain(WIDTH, HEIGHT, channels, 1, t258=(3, [bits] * channels), t279=(4, [packed.size])), packed.tobytes()))
            yield f"{bits} bits", path, tifffile.imread(path).reshape(HEIGHT, WIDTH, channels), {}, {"page": 0}


def _kinds(folder: Path):
    for dtype in ("u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"):
        path = folder / f"kind-{dtype}.tif"
        tifffile.imwrite(path, noise(dtype, HEIGHT, WIDTH), photometric="minisblack")
        yield dtype, path, tifffile.imread(path)[..., None], {}


def _many(folder: Path):
    for channels in (2, 5, 12, 31):
        path = folder / f"many{channels}.tif"
        array = noise("u2", HEIGHT, WIDTH, channels)
        tifffile.imwrite(path, array, photometric="minisblack", planarconfig="contig", metadata=None)
        yield f"{channels} channels", path, array, {}
        yield f"channel {channels}", path, array, {}, {"channels": [channels - 1]}


def _compressions(folder: Path):
    for compression in ("lzw", "zlib", "zstd", "packbits", "lzma", "jpeg2000", "jpegxl", "webp", "png", "lerc", "deflate"):
        shape = (HEIGHT, WIDTH, 3) if compression == "webp" else (HEIGHT, WIDTH)
        path = folder / f"{compression}.tif"
        options = {"compressionargs": {"lossless": True}} if compression in ("webp", "jpegxl") else {}
        array = noise("u1" if compression == "webp" else "u2", *shape)
        tifffile.imwrite(path, array, photometric="rgb" if len(shape) == 3 else "minisblack", compression=compression, metadata=None, **options)
        seen = tifffile.imread(path)
        yield compression, path, seen if seen.ndim == 3 else seen[..., None], {}
    path = folder / "jpeg.tif"
    tifffile.imwrite(path, noise("u1", 64, 64, 3), photometric="ycbcr", compression="jpeg", subsampling=(2, 2), metadata=None)
    yield "jpeg", path, tifffile.imread(path), {}, {"page": 0}


def _predictors(folder: Path):
    for compression in ("lzw", "zlib", "zstd"):
        for dtype in ("u1", "u2", "u4", "f4"):
            path = folder / f"predictor-{compression}{dtype}.tif"
            tifffile.imwrite(path, noise(dtype, 2, HEIGHT, WIDTH), photometric="minisblack", planarconfig="separate", compression=compression, predictor=True, metadata=None)
            yield f"{compression} {dtype}", path, last(tifffile.imread(path)), {}


def _headers(folder: Path):
    for big in (False, True):
        for order in "<>":
            path = folder / f"head{big}{ord(order)}.tif"
            array = noise("u2", 3, HEIGHT, WIDTH)
            tifffile.imwrite(path, array, photometric="minisblack", bigtiff=big, byteorder=order, metadata={"axes": "ZYX"})
            yield f"big {big} {order}", path, array[1][..., None], {"pages": 3}
    for turn in (3, 6, 8):
        path = folder / f"turned{turn}.tif"
        array = noise("u2", HEIGHT, WIDTH)
        tifffile.imwrite(path, array, photometric="minisblack", metadata=None, extratags=[(274, "H", 1, turn, True)])
        yield f"turned {turn}", path, np.rot90(array, {3: 2, 6: 3, 8: 1}[turn])[..., None], {}


def raster(path: Path, array: np.ndarray, crs: Any, affine: Affine, **options: Any) -> None:
    """A GeoTIFF as GDAL writes it, from (C, H, W)."""
    profile = {"driver": "GTiff", "height": array.shape[1], "width": array.shape[2], "count": array.shape[0], "dtype": array.dtype}
    with rasterio.open(path, "w", crs=crs, transform=affine, **profile, **options) as file:
        file.write(array)
        file.descriptions = tuple(f"band {index}" for index in range(len(array)))


PLACES = {
    "utm": ("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 4_600_000)),
    "south-up": ("EPSG:32633", Affine(10, 0, 500_000, 0, 10, 4_500_000)),
    "rotated": ("EPSG:32633", Affine(8, 6, 500_000, 6, -8, 4_600_000)),
    "degrees": ("EPSG:4326", Affine(0.001, 0, 13.0, 0, -0.002, 52.5)),
    "mercator": ("EPSG:3857", Affine(5, 0, 1_500_000, 0, -5, 6_000_000)),
}


def _earth(folder: Path):
    for name, (crs, affine) in PLACES.items():
        for options in ({}, {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate", "interleave": "pixel"}):
            path = folder / f"{name}{len(options)}.tif"
            array = noise("u2", 4, HEIGHT, WIDTH)
            raster(path, array, crs, affine, **options)
            wide, high = float(np.hypot(affine.a, affine.d)), float(np.hypot(affine.b, affine.e))
            facts = {"pixel_size": (wide, high), "unit": "degree" if name == "degrees" else "meter", "crs": crs, "affine": tuple(affine)[:6]}
            yield f"{name} {len(options)}", path, last(array), {**facts, "channels": tuple(f"band {index}" for index in range(4))}


def _masked(folder: Path):
    """Rasters with a mask within, as GDAL writes it beside overviews: a channel more that says how opaque pixels are, of fractions NaN."""
    there = np.ones((HEIGHT, WIDTH), dtype=bool)
    there[: HEIGHT // 3, 4:] = there[-7:, : WIDTH // 2] = False
    for dtype, options in (("u1", {}), ("u2", {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "lzw"}), ("f4", {"compress": "deflate", "blockysize": 5})):
        path = folder / f"masked-{dtype}.tif"
        array = noise(dtype, 3, HEIGHT, WIDTH)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            raster(path, array, *PLACES["utm"], **options)
            with rasterio.open(path, "r+") as file:
                file.write_mask(there)
                file.build_overviews([2])
        with rasterio.open(path) as file:
            assert np.array_equal(file.dataset_mask() > 0, there)
        if dtype == "f4":
            yield dtype, path, np.where(there[..., None], last(array), np.float32("nan")), {}
            continue
        opaque = there[..., None].astype(array.dtype) * np.iinfo(array.dtype).max
        seen = {"pixels": np.where(there[..., None], last(array), 255)} if dtype == "u1" else {}
        yield dtype, path, np.concatenate([last(array), opaque], axis=-1), seen


def dicom(path: Path, array: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> FileDataset:
    """A CT image, or what its attributes make of it; with the name of a patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = CTImageStorage, generate_uid(), ExplicitVRLittleEndian
    found = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    found.PatientName, found.PatientID, found.Modality = PERSON, f"P-{PATIENT}", "CT"
    found.StudyInstanceUID, found.SeriesInstanceUID, found.FrameOfReferenceUID = generate_uid(), generate_uid(), generate_uid()
    found.SamplesPerPixel = 3 if array.ndim > 2 and array.shape[-1] == 3 else 1
    found.Rows, found.Columns = array.shape[-3:-1] if found.SamplesPerPixel == 3 else array.shape[-2:]
    found.PhotometricInterpretation = "RGB" if found.SamplesPerPixel == 3 else "MONOCHROME2"
    if found.SamplesPerPixel == 3:
        found.PlanarConfiguration = 0
    found.BitsAllocated = found.BitsStored = array.dtype.itemsize * 8
    found.HighBit, found.PixelRepresentation = found.BitsStored - 1, int(array.dtype.kind == "i")
    found.PixelSpacing, found.ImagePositionPatient, found.ImageOrientationPatient = [0.5, 0.75], [-100, -50, 30], [1, 0, 0, 0, 1, 0]
    found.SliceThickness = 2.0
    if array.ndim - (found.SamplesPerPixel == 3) > 2:
        found.NumberOfFrames = array.shape[0]
    for name, value in attributes.items():
        setattr(found, name, value)
    found.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    if syntax != ExplicitVRLittleEndian:
        found.compress(syntax, generate_instance_uid=False)
    found.save_as(path, enforce_file_format=True)
    return found


def _medical(folder: Path):
    sized = {"pixel_size": (0.75, 0.5), "unit": "millimeter"}
    rescaled = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    cases: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "ct": (RNG.integers(0, 3000, (HEIGHT, WIDTH)).astype("i2"), {**rescaled, "WindowCenter": [40, 600], "WindowWidth": [400, 1600]}),
        "monochrome1": (noise("u2", HEIGHT, WIDTH), {"PhotometricInterpretation": "MONOCHROME1"}),
        "twelve bits": (RNG.integers(0, 4096, (HEIGHT, WIDTH)).astype("u2"), {"BitsStored": 12, "HighBit": 11}),
        "signed": (noise("i2", HEIGHT, WIDTH), {}),
        "eight bits": (noise("u1", HEIGHT, WIDTH), {}),
        "frames": (noise("u2", 5, HEIGHT, WIDTH), {}),
        "film": (noise("u1", 5, HEIGHT, WIDTH), {"FrameTime": 40}),
        "colours": (noise("u1", HEIGHT, WIDTH, 3), {}),
    }
    for name, (array, attributes) in cases.items():
        for label, syntax in (("", ExplicitVRLittleEndian), ("RLE", RLELossless), ("J2K", JPEG2000Lossless)):
            path = folder / f"{name}{label}.dcm"
            dicom(path, array, syntax=syntax, **attributes)
            seen = pydicom.dcmread(path).pixel_array
            seen = seen[2] if name == "frames" else seen[0] if name == "film" else seen
            yield f"{name} {label}", path, seen if seen.ndim == 3 else seen[..., None], sized
    path = folder / "palette.dcm"
    indexed = dicom(folder / "index.dcm", noise("u1", HEIGHT, WIDTH), PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(indexed, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(indexed, f"{colour}PaletteColorLookupTableData", noise("u2", 256).tobytes())
    indexed.save_as(path)
    found = pydicom.dcmread(path)
    yield "palette", path, pydicom.pixels.apply_color_lut(found.pixel_array, found), sized
    # Frames that begin within a byte.
    bits = RNG.integers(0, 2, (5, HEIGHT, WIDTH)).astype("u1")
    packed = dicom(folder / "bytes.dcm", bits, BitsAllocated=1, BitsStored=1, HighBit=0)
    packed.PixelData = np.packbits(bits, bitorder="little").tobytes()
    packed.save_as(folder / "bits.dcm")
    yield "bits", folder / "bits.dcm", bits[2][..., None], sized


AFFINES = {
    "RAS": np.diag([0.5, 0.75, 2, 1]), "LPS": np.diag([-0.5, -0.75, 2, 1]),
    "PIR": np.array([[0, 0, 2.0, -5], [-0.5, 0, 0, 7], [0, -0.75, 0, 9], [0, 0, 0, 1]]),
    "oblique": np.array([[0.48, -0.1, 0, 3], [0.1, 0.74, 0.05, -2], [0, -0.05, 2, 1], [0, 0, 0, 1]]),
}  # fmt: skip


def axial(image: Any, time: int = 0) -> np.ndarray:
    """The middle plane from below: rows from front to back, columns from right to left, as nibabel turns it."""
    turned = nibabel.as_closest_canonical(image)
    array = np.asarray(turned.dataobj)
    array = array[..., time] if array.ndim == 4 else array
    return array[::-1, ::-1, array.shape[2] // 2].T[..., None]


def _volumes(folder: Path):
    for name, affine in AFFINES.items():
        for dtype, shape in (("i2", (9, 7, 5)), ("f4", (9, 7, 5)), ("u1", (9, 7, 5, 3))):
            path = folder / f"{name}{dtype}.nii{'.gz' if dtype != 'f4' else ''}"
            image = nibabel.Nifti1Image(noise(dtype, *shape), affine)
            image.header.set_xyzt_units("mm", "sec")
            image.to_filename(path)
            yield f"{name} {dtype}", path, axial(nibabel.load(path)), {"unit": "millimeter"}
    scaled = nibabel.Nifti1Image(noise("i2", 9, 7, 5).astype(float), AFFINES["RAS"])
    scaled.header.set_data_dtype(np.int16)
    scaled.to_filename(folder / "scaled.nii")
    yield "scaled", folder / "scaled.nii", axial(nibabel.load(folder / "scaled.nii")), {"pixel_size": (0.5, 0.75)}
    second = nibabel.Nifti2Image(noise("u2", 9, 7, 5), AFFINES["LPS"])
    second.to_filename(folder / "second.nii")
    (folder / "second.nii.gz").write_bytes(gzip.compress((folder / "second.nii").read_bytes()))
    for name in ("second.nii", "second.nii.gz"):
        yield name, folder / name, axial(second), {"pixel_size": (0.5, 0.75)}
    colours = np.zeros((9, 7, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel in "RGB":
        colours[channel] = noise("u1", 9, 7, 5)
    nibabel.Nifti1Image(colours, AFFINES["RAS"]).to_filename(folder / "rgb.nii")
    plane = colours[::-1, ::-1, 2].T
    yield "colours", folder / "rgb.nii", np.stack([plane[channel] for channel in "RGB"], axis=-1), {}


def _arrays(folder: Path):
    for dtype in ("?", "u1", "u2", ">u2", "i4", "f2", "f8"):
        path = folder / f"array{dtype.strip('>?')}{len(dtype)}.npy"
        array = noise("u1", HEIGHT, WIDTH) > 99 if dtype == "?" else noise(dtype.strip(">"), HEIGHT, WIDTH).astype(dtype)
        np.save(path, array)
        yield dtype, path, array.astype("u1" if dtype == "?" else array.dtype.newbyteorder("="))[..., None], {}
    for name, array, seen in (
        ("last", noise("u2", HEIGHT, WIDTH, 4), lambda array: array), ("first", noise("u2", 3, HEIGHT, WIDTH), last),
        ("pages", noise("u2", 9, HEIGHT, WIDTH), lambda array: array[0][..., None]),
        ("colours", noise("u1", 9, HEIGHT, WIDTH, 3), lambda array: array[0]), ("fortran", np.asfortranarray(noise("f4", HEIGHT, WIDTH)), lambda array: array[..., None]),
    ):  # fmt: skip
        np.save(folder / f"{name}.npy", array)
        yield name, folder / f"{name}.npy", seen(array), {}


def _png(folder: Path):
    import imagecodecs

    for channels in (1, 2, 3, 4):
        array = noise("u2", HEIGHT, WIDTH, channels)
        path = folder / f"deep{channels}.png"
        path.write_bytes(imagecodecs.png_encode(array[..., 0] if channels == 1 else array))
        # Of those with alpha and colours the upper 8 bits are the picture, unless a view asks for more.
        yield f"{channels} channels", path, array, {}, {"window": "full"}
    Image.fromarray(noise("u2", HEIGHT, WIDTH)).save(folder / "grey.png")
    yield "grey", folder / "grey.png", np.asarray(Image.open(folder / "grey.png"))[..., None], {}

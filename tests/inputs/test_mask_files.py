"""Mask files as other programs write them: depth, channels, transparency, palettes of grey, white zeros, pages."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_png

from seg_demo.core.errors import BadImageError
from seg_demo.inputs.mask_files import ALPHA, BLACK_ALPHA, EMPTY_ALPHA, HIDDEN, NAN, NEGATIVE, NODATA, PAGES, ZERO_NODATA, numbers_meant, read_mask, read_object_map  # fmt: skip
from tests.pictures import png, saved

RNG = np.random.default_rng(5)
DEEP = RNG.integers(0, 65_536, (9, 13, 4), dtype=np.uint16)
LABELS = RNG.integers(0, 3, (9, 13), dtype=np.uint8)
SHAPE = np.zeros((9, 13), bool)
SHAPE[2:6, 3:9] = True


def png16(array: np.ndarray) -> bytes:
    """A 16-bit PNG of 1 to 4 channels."""
    channels = 1 if array.ndim == 2 else array.shape[2]
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = array.reshape(array.shape[0], -1).astype(">u2")
    return png(head, b"".join(b"\0" + row.tobytes() for row in rows))


def tiff(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def opaque(channels: int) -> np.ndarray:
    array = DEEP[..., :channels].copy()
    if channels in (2, 4):
        array[..., -1] = 65_535
    return array


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_several_channels_of_16_bits_keep_all_of_them(channels):
    array = opaque(channels)
    found = read_mask(png16(array)).numbers
    encoded = torch.frombuffer(bytearray(png16(array)), dtype=torch.uint8)
    reference = np.moveaxis(decode_png(encoded, ImageReadMode.UNCHANGED).numpy(), 0, -1)
    wanted = reference[..., 0] if channels == 2 else reference[..., :3]
    assert found.dtype == np.uint16 and np.array_equal(found, wanted) and np.array_equal(reference, array)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_so_do_those_of_tiffs(channels, planar, compression, order):
    array = opaque(channels)
    data = tiff(
        array if planar == "contig" else np.moveaxis(array, -1, 0), planarconfig=planar, compression=compression, byteorder=order,
        photometric="minisblack" if channels == 2 else "rgb", extrasamples=["unassalpha"] if channels in (2, 4) else None,
    )  # fmt: skip
    found = read_mask(data).numbers
    assert np.array_equal(found, array[..., 0] if channels == 2 else array[..., :3])


@pytest.mark.parametrize("spread", [1, 257])
def test_colours_of_8_bits_in_16_are_8_bits(spread):
    colours = np.array([[0, 0, 0], [128, 0, 0], [7, 200, 9]], np.uint16)[LABELS]
    found = read_mask(png16(colours * spread)).numbers
    assert found.dtype == np.uint8 and np.array_equal(found, colours)


@pytest.mark.parametrize("dtype", ["uint32", "int32", "uint64", "int64", "float16", "float32", "float64", "int16", "int8", "uint8"])
def test_every_depth_of_whole_numbers(dtype):
    found = read_mask(tiff(LABELS.astype(dtype)))
    assert np.array_equal(found.numbers, LABELS) and not found.understood


@pytest.mark.parametrize("dtype", ["uint32", "int32", "uint64", "float64", "float32", "int64"])
def test_large_numbers_keep_apart(dtype):
    ids = np.where(LABELS == 0, 0, 16_777_000 + LABELS.astype(np.int64) * 7)
    assert np.array_equal(read_mask(tiff(ids.astype(dtype))).numbers, ids)


def test_unsigned_numbers_beyond_31_bits():
    ids = np.where(LABELS == 0, 0, 4_000_000_000 + LABELS.astype(np.int64))
    assert np.array_equal(read_mask(tiff(ids.astype(np.uint32))).numbers, ids)


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "float32", "float64"])
def test_what_is_below_zero_is_ignored(dtype):
    found = read_mask(tiff((LABELS.astype(np.int64) - 1).astype(dtype)))
    assert found.understood == (NEGATIVE,) and np.array_equal(found.numbers, np.where(LABELS == 0, 65_535, LABELS.astype(int) - 1))


def test_nan_is_ignored_and_fractions_are_refused():
    values = LABELS.astype(np.float32)
    values[0, 0] = np.nan
    found = read_mask(tiff(values))
    assert found.understood == (NAN,) and found.numbers[0, 0] == 65_535 and np.array_equal(found.numbers.ravel()[1:], LABELS.ravel()[1:])
    for bad, why in ((0.5, "fractions"), (np.inf, "infinite")):
        values[0, 0] = bad
        with pytest.raises(BadImageError, match=why):
            read_mask(tiff(values))


@pytest.mark.parametrize(
    ("colour", "hidden", "levels", "wanted", "said"),
    [
        # what is visible, what is transparent, (alpha there, alpha here), the mask, what is said
        ((255, 255, 255), (255, 255, 255), (0, 255), np.where(SHAPE, 255, 0), (ALPHA,)),
        ((255, 255, 255), (0, 0, 0), (0, 255), np.where(SHAPE, 255, 0), ()),
        ((255, 255, 255), (255, 255, 255), (0, 128), np.where(SHAPE, 255, 0), (ALPHA,)),
        ((255, 255, 255), (255, 255, 255), (64, 255), np.where(SHAPE, 255, 0), (ALPHA,)),
        ((1, 1, 1), (1, 1, 1), (0, 255), np.where(SHAPE, 1, 0), (ALPHA,)),
        ((0, 0, 0), (0, 0, 0), (0, 255), np.where(SHAPE, 255, 0), (BLACK_ALPHA,)),
        ((0, 0, 0), (255, 255, 255), (0, 255), np.where(SHAPE, 255, 0), (BLACK_ALPHA,)),
    ],
)
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_shapes_in_the_transparency(colour, hidden, levels, wanted, said, mode):
    four = np.dstack([np.where(SHAPE[..., None], colour, hidden), np.where(SHAPE, levels[1], levels[0])]).astype(np.uint8)
    image = Image.fromarray(four) if mode == "RGBA" else Image.merge("LA", [Image.fromarray(four[..., i].copy()) for i in (0, 3)])
    found = read_mask(saved(image, "PNG"))
    numbers = found.numbers[..., 0] if found.numbers.ndim == 3 else found.numbers
    assert np.array_equal(numbers, wanted) and found.understood == said


def test_a_coloured_shape_on_transparency_and_one_on_nothing():
    red = np.zeros((9, 13, 4), np.uint8)
    red[..., 0] = 200
    red[SHAPE, 3] = 255
    found = read_mask(saved(Image.fromarray(red), "PNG"))
    assert found.understood == (ALPHA,) and np.array_equal(found.numbers, np.where(SHAPE[..., None], (200, 0, 0), 0))
    red[..., 3] = 0
    assert read_mask(saved(Image.fromarray(red), "PNG")).understood == (EMPTY_ALPHA,)


def test_several_colours_on_transparency_of_one_that_nobody_sees():
    table = np.array([[255, 255, 255, 0], [200, 0, 0, 255], [0, 90, 0, 255]], np.uint8)
    found = read_mask(saved(Image.fromarray(table[LABELS]), "PNG"))
    table[0] = 0
    assert found.understood == (HIDDEN,) and np.array_equal(found.numbers, table[LABELS][..., :3])


def test_transparency_that_is_the_same_everywhere_says_nothing():
    for alpha in (255, 7, 0):
        four = np.dstack([np.repeat(LABELS[..., None], 3, 2), np.full_like(LABELS, alpha)])
        found = read_mask(saved(Image.fromarray(four), "PNG"))
        assert np.array_equal(found.numbers[..., 0], LABELS) and not found.understood


def test_a_palette_of_one_colour_and_transparency():
    for order in (0, 1):
        image = Image.fromarray(np.where(SHAPE, order, 1 - order).astype(np.uint8), "P")
        image.putpalette([255, 255, 255] * 2)
        found = read_mask(saved(image, "PNG", transparency=1 - order))
        assert np.array_equal(found.numbers, np.where(SHAPE, 255, 0)) and found.understood == (ALPHA,)


def grey_palette(indices: np.ndarray, greys: list[int], form: str) -> bytes:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette([value for grey in greys for value in (grey,) * 3])
    return saved(image, form)


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("greys", [[0, 255], [255, 0], [0, 127, 255], [255, 127, 0], [127, 0, 255], list(range(255, -1, -1))])
def test_a_palette_of_greys_means_what_is_seen(form, greys):
    """Whatever order the palette has, pictures that look alike are read alike."""
    levels = sorted(set(greys) & {0, 127, 255}) if len(greys) < 4 else [0, 127, 255]
    seen = np.array(levels)[LABELS % len(levels)]
    found = read_mask(grey_palette(np.vectorize(greys.index)(seen), greys, form))
    meant = numbers_meant(found, 3)
    rank = {value: index for index, value in enumerate(np.unique(meant).tolist())}
    assert np.array_equal(np.vectorize(rank.get)(meant), np.searchsorted(levels, seen))


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmps_of_few_bits_with_black_and_white(bits):
    """Pillow takes the second and third for single bits."""
    width = 16
    rows = RNG.integers(0, 2, (5, width), dtype=np.uint8)
    packed = {1: np.packbits(rows, axis=1), 4: rows[:, ::2] << 4 | rows[:, 1::2], 8: rows}[bits]
    packed = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4)))[::-1]
    palette = bytes([0, 0, 0, 0, 255, 255, 255, 0])
    head = struct.pack("<IiiHHIIiiII", 40, width, 5, 1, bits, 0, packed.size, 2835, 2835, 2, 0)
    data = b"BM" + struct.pack("<IHHI", 14 + 40 + 8 + packed.size, 0, 0, 14 + 40 + 8) + head + palette + packed.tobytes()
    assert np.array_equal(numbers_meant(read_mask(data), 2), rows)


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (np.where(SHAPE, 0, 255), np.where(SHAPE, 255, 0)),  # a picture: the shape is seen white
        (LABELS, LABELS),  # numbers of classes, which nobody could tell apart if they were greys
        (np.where(SHAPE, 128, 255), np.where(SHAPE, 127, 0)),
    ],
)
def test_tiffs_whose_zero_is_white(stored, wanted):
    found = read_mask(tiff(stored.astype(np.uint8), photometric="miniswhite"))
    assert np.array_equal(numbers_meant(found, 3), wanted)


def test_arrays_of_true_and_false_are_what_they_were():
    """tifffile stores them with a white zero, so that viewers show them inverted."""
    assert np.array_equal(read_mask(tiff(SHAPE)).numbers, SHAPE)
    for photometric in (0, 1):
        data = saved(Image.fromarray(SHAPE), "TIFF", tiffinfo={262: photometric})
        assert np.array_equal(read_mask(data).numbers, SHAPE)


def test_16_bits_of_black_and_white():
    for photometric, seen in (("minisblack", SHAPE), ("miniswhite", ~SHAPE)):
        found = read_mask(tiff(np.where(SHAPE, 65_535, 0).astype(np.uint16), photometric=photometric))
        assert np.array_equal(numbers_meant(found, 2), np.where(seen, 255, 0))


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_of_grey_keep_their_numbers_beside_what_is_seen(bits):
    labels = RNG.integers(0, 2**bits, (3, 8), dtype=np.uint8)
    packed = np.packbits(np.unpackbits(labels[..., None], axis=2)[..., -bits:].reshape(3, -1), axis=1)
    found = read_mask(png(struct.pack(">IIBBBBB", 8, 3, bits, 0, 0, 0, 0), b"".join(b"\0" + row.tobytes() for row in packed)))
    assert np.array_equal(found.numbers, labels) and np.array_equal(found.levels[found.numbers], labels * (255 // (2**bits - 1)))


def test_pages(tmp_path: Path):
    pages = np.stack([np.roll(SHAPE, shift, 1) for shift in (0, 2, 1)]).astype(np.uint8) * 255
    data = tiff(pages, photometric="minisblack")
    found = read_mask(data)
    assert (found.pages, found.others) == (3, True) and np.array_equal(found.numbers, pages[0])
    with pytest.raises(ValueError, match="3 pages that differ"):
        numbers_meant(found, 2)
    objects = read_object_map(data)
    wanted = np.select([pages[0] > 0, pages[1] > 0, pages[2] > 0], [1, 2, 3])
    assert objects.understood == (PAGES,) and np.array_equal(objects.numbers, wanted)
    alike = read_mask(tiff(np.stack([pages[0]] * 2), photometric="minisblack"))
    assert (alike.pages, alike.others) == (2, False)
    # A pyramid's smaller pictures are no pages.
    with tifffile.TiffWriter(tmp_path / "p.tif") as writer:
        writer.write(pages[0])
        writer.write(pages[0][::2, ::2])
    assert read_mask(tmp_path / "p.tif").pages == 1


@pytest.mark.parametrize("turn", range(1, 9))
def test_deep_masks_turn_as_flat_ones_do(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    flat = read_mask(saved(Image.fromarray(LABELS), "PNG", exif=exif)).numbers
    data = png16(np.dstack([LABELS.astype(np.uint16) * 300] * 3))
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    at = data.index(b"IDAT") - 4
    data = data[:at] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at:]
    assert np.array_equal(read_mask(data).numbers, flat.astype(int) * 300)


@pytest.mark.parametrize("channels", [4, 5, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_channel_per_class_is_no_colour(channels, dtype):
    layers = np.stack([LABELS == number for number in range(channels)], axis=-1).astype(dtype)
    extra = ["unspecified"] * (channels - 1)
    with pytest.raises(BadImageError, match=f"it has {channels} channels, but a mask has one number"):
        read_mask(tiff(layers, photometric="minisblack", planarconfig="contig", extrasamples=extra))


NAMED = {"uint8": [9, 200, 255], "uint16": [9, 65_535], "uint32": [9, 2**32 - 1], "int32": [9, -9999, -(2**31)], "float32": [9, 3.4028234663852886e38]}


@pytest.mark.parametrize(("dtype", "nodata"), [(dtype, value) for dtype, values in NAMED.items() for value in values])
def test_what_a_file_names_as_no_data_is_ignored(dtype, nodata):
    stored = LABELS.astype(dtype)
    stored[:2] = nodata
    mask = read_mask(tiff(stored, extratags=[(42113, "s", 0, f"{nodata}\0", True)]))
    ignored = {np.dtype("u1"): 255, np.dtype("u2"): 65_535, np.dtype("i8"): -1}[mask.numbers.dtype]
    assert (mask.numbers[:2] == ignored).all() and np.array_equal(mask.numbers[2:], LABELS[2:])
    assert {NODATA, NEGATIVE} & set(mask.understood)


def test_no_data_beside_white_and_zero_for_no_data():
    stored = (LABELS > 0).astype(np.uint8) * 255
    stored[:2] = 128
    mask = read_mask(tiff(stored, extratags=[(42113, "s", 0, "128", True)]))
    assert mask.numbers.dtype == np.uint16 and (mask.numbers[:2] == 65_535).all() and set(np.unique(mask.numbers[2:])) == {0, 255}
    zero = read_mask(tiff(LABELS, extratags=[(42113, "s", 0, "0", True)]))
    assert np.array_equal(zero.numbers, LABELS) and zero.understood == (ZERO_NODATA,)
    for text in ("", "none", "300", "7"):
        plain = read_mask(tiff(LABELS, extratags=[(42113, "s", 0, text or " ", True)]))
        assert np.array_equal(plain.numbers, LABELS) and plain.understood == ()

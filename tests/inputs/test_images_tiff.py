"""TIFFs of any depth, layout and number of channels: the samples are those that tifffile reads, the colours those one expects."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seg_demo.inputs import tiff
from seg_demo.inputs.images import decode, decode_mask, read
from tests.pictures import RNG, auto, refused, saved
from tests.stranger_tiffs import plain
from tests.stranger_tiffs import tiff as made

DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")


def written(array: np.ndarray, **options: object) -> bytes:
    """A TIFF as tifffile writes it."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def noise(dtype: str, *shape: int) -> np.ndarray:
    """Random numbers over the whole of a type."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (RNG.standard_normal(shape) * 100).astype(kind)
    ends = np.iinfo(kind)
    return RNG.integers(ends.min, ends.max, shape, dtype=kind, endpoint=True)


@given(
    dtype=st.sampled_from(DTYPES), order=st.sampled_from("<>"), channels=st.integers(1, 6), apart=st.booleans(),
    height=st.integers(1, 70), width=st.integers(1, 70), tile=st.sampled_from([None, (16, 16), (32, 48)]), rows=st.integers(1, 80),
    compression=st.sampled_from([None, "zlib", "lzma"]), predictor=st.booleans(), big=st.booleans(), white=st.booleans(),
)  # fmt: skip
@settings(max_examples=250, deadline=None, database=None)
def test_every_layout_has_the_samples_that_tifffile_reads(
    dtype, order, channels, apart, height, width, tile, rows, compression, predictor, big, white
):
    image = noise(dtype, *((channels, height, width) if apart else (height, width, channels)))
    # Without its codecs, tifffile writes differences of whole numbers of one channel alone.
    whole = np.dtype(dtype).kind != "f" and np.dtype(dtype).itemsize < 8
    predictor = predictor and compression is not None and whole and (channels == 1 or apart) and order == "<"
    photometric = "rgb" if channels in (3, 4) and not white else ("miniswhite" if white else "minisblack")
    data = written(
        image if channels > 1 else image.reshape(height, width), byteorder=order, bigtiff=big, photometric=photometric, compression=compression,
        planarconfig=("separate" if apart else "contig") if channels > 1 else None, predictor=predictor or None,
        tile=tile, rowsperstrip=None if tile else rows, metadata=None,
    )  # fmt: skip
    wanted = tifffile.imread(io.BytesIO(data)).reshape(image.shape)
    wanted = np.moveaxis(wanted, 0, -1) if apart else wanted
    found = tiff.Tiff(data).load()
    shown = found.values.shape[2]
    np.testing.assert_array_equal(found.values, wanted[..., :shown])
    assert found.inverted == white and shown == (3 if channels > 2 else 1)
    if found.alpha is not None:
        np.testing.assert_array_equal(found.alpha, wanted[..., 3])
    if tiff.Tiff(data).is_photograph:  # others go to the child, and are compared in test_scientific.py
        assert decode(data).shape == (height, width, 3)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd", "lzma", "raw"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L"])
def test_what_libtiff_has_compressed_is_what_pillow_reads(compression: str, mode: str) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (83, 61, 4), dtype=np.uint8), "RGBA").convert(mode)
    for options in ({}, {"tiffinfo": {317: 2}}, {"strip_size": 700}):
        data = saved(image, "TIFF", compression=compression, **options)
        file = tiff.Tiff(data)
        found = file.load()
        values = found.values if found.alpha is None else np.dstack([found.values, found.alpha])
        np.testing.assert_array_equal(np.squeeze(values), np.asarray(image))


@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_differences_of_deep_samples(compression: str, predictor: int) -> None:
    """Pillow lets libtiff write the predictor; of grey images it reads the result right."""
    values = (RNG.standard_normal((40, 33)) * 1000).astype(np.float32 if predictor == 3 else np.int32)
    data = saved(Image.fromarray(values), "TIFF", compression=compression, tiffinfo={317: predictor})
    np.testing.assert_array_equal(tiff.Tiff(data).load().values[..., 0], values)


@pytest.mark.parametrize("order", "<>")
def test_differences_of_several_deep_channels(order: str) -> None:
    """By hand, as TIFF 6.0 section 14 has it: each sample less the one of the same channel to the left, modulo 2**16."""
    values = RNG.integers(0, 65_536, (9, 14, 3), dtype=np.uint16)
    differences = np.diff(values, axis=1, prepend=np.zeros((9, 1, 3), np.uint16)).astype(f"{order}u2")
    data = zlib.compress(differences.tobytes())
    tags = plain(14, 9, 3, t258=(3, [16] * 3), t259=(3, [8]), t279=(4, [len(data)]), t317=(3, [2]))
    file = made(tags, data)
    if order == ">":
        file = swapped(file)
    np.testing.assert_array_equal(tiff.Tiff(file).load().values, values)


def swapped(data: bytes) -> bytes:
    """The directory of a little-endian TIFF of :func:`tests.stranger_tiffs.tiff` in the other byte order."""
    (count,) = struct.unpack_from("<H", data, 8)
    out = bytearray(data)
    out[:10] = b"MM\0*" + struct.pack(">IH", 8, count)
    for at in range(10, 10 + 12 * count, 12):
        tag, kind, number, value = struct.unpack_from("<HHII", data, at)
        form, size = {3: ("H", 2), 4: ("I", 4)}[kind]
        if number * size > 4:
            struct.pack_into(">HHII", out, at, tag, kind, number, value)
            struct.pack_into(f">{number}{form}", out, value, *struct.unpack_from(f"<{number}{form}", data, value))
        else:
            struct.pack_into(">HHI", out, at, tag, kind, number)
            struct.pack_into(f">{number}{form}", out, at + 8, *struct.unpack_from(f"<{number}{form}", data, at + 8))
    return bytes(out)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 9, 10, 12, 14, 15])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_samples_of_odd_numbers_of_bits(bits: int, channels: int) -> None:
    values = RNG.integers(0, 2**bits, (7, 11, channels), dtype=np.uint16)
    flat = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(7, 11 * channels, 2), axis=2)[..., -bits:]
    packed = np.packbits(flat.reshape(7, -1), axis=1)
    tags = plain(11, 7, channels, 2 if channels == 3 else 1, t258=(3, [bits] * channels), t279=(4, [packed.size]))
    data = made(tags, packed.tobytes())
    np.testing.assert_array_equal(tiff.Tiff(data).load().values, values[..., : 3 if channels == 3 else 1])
    if channels != 2:
        labels, _ = decode_mask(data)
        np.testing.assert_array_equal(labels, values if channels == 3 else values[..., 0])
    if bits < 8 and channels != 2:  # two channels are shown as red and green, see tests/inputs/test_scientific.py
        wanted = values[..., : 3 if channels == 3 else 1] * 255 // (2**bits - 1)
        np.testing.assert_array_equal(decode(data), np.broadcast_to(wanted, (7, 11, 3)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", "<>")
def test_sixteen_bits_apart_show_what_they_show_together(channels: int, compression: str | None, order: str) -> None:
    image = noise("u2", 37, 53, channels)
    image[..., 3:] = 65_535
    photometric = "rgb" if channels > 2 else "minisblack"
    options = {"photometric": photometric, "compression": compression, "byteorder": order, "extrasamples": ["unassalpha"] if channels == 4 else None}
    apart = written(np.moveaxis(image, -1, 0), planarconfig="separate", **options) if channels > 1 else written(image[..., 0], **options)
    together = written(image, planarconfig="contig", **options) if channels > 1 else apart
    np.testing.assert_array_equal(decode(apart), decode(together))
    if channels > 2:
        wanted = image[..., :3] >> 8
    else:  # measurements: one channel is grey, two are red and green, each in its own window
        wanted = np.dstack([auto(image[..., channel]) for channel in (0, channels - 1)] + [auto(image[..., 0]) * (channels == 1)])
    np.testing.assert_array_equal(decode(apart), wanted)


@pytest.mark.parametrize("dtype", ["u2", "f4", "i2"])
def test_few_bits_of_colours_are_stretched_together(dtype: str) -> None:
    image = np.zeros((40, 50, 3), dtype)
    image[:, :25] = (100, 900, 500)
    image[:, 25:] = (1000, 200, 600)
    got = decode(written(image, photometric="rgb"))
    wanted = np.rint((image.astype(float) - 100) / 900 * 255)
    np.testing.assert_array_equal(got, wanted)
    grey = decode(written(image[..., 0], photometric="minisblack"))
    np.testing.assert_array_equal(grey[0, 0], [0, 0, 0])
    np.testing.assert_array_equal(grey[0, -1], [255, 255, 255])


def test_signed_numbers_and_white_is_zero() -> None:
    ramp = np.linspace(-100, 100, 201).astype(np.int8).reshape(3, 67)
    got = decode(written(ramp))[..., 0]
    assert got[0, 0] == 0 and got[-1, -1] == 255 and (np.diff(got.ravel().astype(int)) >= 0).all()
    for dtype in ("u1", "u2", "u4", "f4"):
        for order in "<>":
            image = np.linspace(0, 100, 201).reshape(3, 67).astype(dtype)
            black = decode(written(image, photometric="minisblack", byteorder=order))
            np.testing.assert_array_equal(decode(written(image, photometric="miniswhite", byteorder=order)), 255 - black)
    bilevel = RNG.random((9, 13)) < 0.5
    for photometric, turned in (("minisblack", bilevel), ("miniswhite", ~bilevel)):
        np.testing.assert_array_equal(decode(written(bilevel, photometric=photometric))[..., 0], turned * 255)


@pytest.mark.parametrize("filler", [-9999.0, np.nan, np.finfo(np.float32).min, np.finfo(np.float32).max, -32768.0, 1e20, 7.0])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_pixels_without_data_leave_the_rest_as_it_is(filler: float, dtype: str) -> None:
    whole = np.linspace(0.2, 0.8, 600).reshape(20, 30).astype(dtype)
    holes = whole.copy()
    holes[:4, :5] = filler
    options = {"extratags": [(42113, "s", 0, "7", True)]} if filler == 7 else {}
    picture = read(written(holes, **options))
    np.testing.assert_array_equal(picture.pixels[:4, :5], 0)
    assert np.abs(picture.pixels[5:].astype(int) - decode(written(whole))[5:]).max() <= 40
    assert picture.pixels[-1, -1, 0] == 255 and picture.pixels[4, 0, 0] < 60
    (note,) = picture.notes
    assert note.startswith("3.33% of the pixels hold no data")


@pytest.mark.parametrize(("dtype", "filler", "named"), [("i2", -32768, False), ("i2", -9999, False), ("u2", 65535, True), ("u2", 0, True), ("u4", 2**32 - 1, False), ("i4", -(2**31), False)])
def test_whole_numbers_without_data(dtype: str, filler: int, named: bool) -> None:
    image = np.linspace(1000, 3000, 600).reshape(20, 30).astype(dtype)
    image[:4, :5] = filler
    tags = [(42113, "s", 0, str(filler), True)] if named else []
    picture = read(written(image, extratags=tags))
    assert (picture.pixels[:4, :5] == 0).all() and picture.pixels[-1, -1, 0] == 255 and picture.pixels[4, 0, 0] < 60
    assert "no data" in picture.notes[0] and f"({filler:g})" in picture.notes[0]


def test_numbers_that_only_look_like_fillers_are_kept() -> None:
    levels = np.full((9, 9), -9999, np.int16)
    levels[3:6, 3:6] = 500
    assert read(written(levels)).notes == () and decode(written(levels))[4, 4, 0] == 255
    dense = np.linspace(-9999, 9000, 600).reshape(20, 30).astype(np.float32)
    assert read(written(dense)).notes == () and decode(written(dense))[-1, -1, 0] == 255
    named = '<GDALMetadata><Item name="_FillValue" sample="0">-1</Item></GDALMetadata>'
    image = np.linspace(0, 9, 600).reshape(20, 30).astype(np.float32)
    image[0] = -1
    assert "no data" in read(written(image, extratags=[(42112, "s", 0, named, True)])).notes[0]
    assert "are NaN" in refused(written(np.full((5, 5), np.nan, np.float32)))


def test_it_is_said_which_page_and_channels_are_shown() -> None:
    pages = read(written(noise("u1", 4, 20, 30), photometric="minisblack"))
    assert pages.notes == ("This file has 4 pages; the first is shown.",)
    stack = read(written(noise("u2", 7, 20, 30), imagej=True, metadata={"axes": "ZYX"}))
    assert stack.notes == ("This file has 7 planes in depth; the middle one, number 4, is shown.",)
    film = read(written(noise("u2", 7, 20, 30), imagej=True, metadata={"axes": "TYX"}))
    assert film.notes == ("This file has 7 points in time; the first is shown.",)
    many = read(written(noise("u2", 20, 30, 5), photometric="minisblack", planarconfig="contig"))
    assert many.notes == ("This file has 5 channels; channels 1, 2 and 3 are shown as red, green and blue.",)
    two = read(written(noise("u1", 20, 30, 2), photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"]))
    assert two.notes == ("This file has 2 channels; channels 1 and 2 are shown as red and green.",)
    assert read(written(noise("u2", 20, 30, 4), photometric="rgb", extrasamples=["unassalpha"])).notes == ()
    infrared = noise("u1", 20, 30, 4)
    data = written(infrared, photometric="rgb", extrasamples=["unspecified"])
    assert read(data).notes == ("This file has 4 channels; channels 1, 2 and 3 are shown as red, green and blue.",)
    np.testing.assert_array_equal(decode(data), infrared[..., :3])
    silent = made(plain(30, 20, 4), infrared.tobytes())
    assert read(silent).notes == ("This file has 4 channels; channel 4 was read as transparency.",)
    for array in (noise("u1", 20, 30, 3), noise("u1", 20, 30)):
        assert read(written(array)).notes == ()
    overview = io.BytesIO()
    with tifffile.TiffWriter(overview) as file:
        file.write(noise("u1", 40, 60), subifds=0)
        file.write(noise("u1", 20, 30), subfiletype=1)
    assert read(overview.getvalue()).notes == ()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_it_is_said_that_an_animation_shows_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (9, 7), color) for color in ("red", "lime", "blue")]
    assert read(saved(frames[0], format, save_all=True, append_images=frames[1:])).notes == (
        "This animation has 3 frames; the first is shown.",
    )
    assert read(saved(frames[0], format)).notes == ()


def test_colours_that_are_not_red_green_blue() -> None:
    cmyk = np.zeros((8, 9, 4), np.uint16)
    cmyk[..., 1:3] = 65_535  # magenta and yellow: red
    for planar in ("contig", "separate"):
        data = written(cmyk if planar == "contig" else np.moveaxis(cmyk, -1, 0), photometric="separated", planarconfig=planar)
        assert np.abs(decode(data)[4, 4].astype(int) - [255, 0, 0]).max() < 6
    for dtype, ones in (("u1", 255), ("u2", 65_535)):
        lab = np.zeros((8, 9, 3), dtype)
        lab[..., 0] = ones // 2
        for photometric in ("cielab", "icclab"):
            lab[..., 1:] = 0 if photometric == "cielab" else ones // 2 + 1
            got = decode(written(lab, photometric=photometric))[4, 4].astype(int)
            assert np.abs(got - 118).max() < 5, (dtype, photometric, got)
    colors = RNG.integers(0, 65_536, (3, 256), dtype=np.uint16)
    indices = noise("u1", 12, 10)
    data = written(indices, photometric="palette", colormap=colors, byteorder=">", bigtiff=True)
    np.testing.assert_array_equal(decode(data), (colors.T >> 8)[indices])
    labels, palette = decode_mask(data)
    np.testing.assert_array_equal(labels, indices)
    np.testing.assert_array_equal(palette, colors.T >> 8)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("subsampling", [1, 2])
def test_ycbcr_with_and_without_compression(compressed: bool, subsampling: int) -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:4], rgb[4:] = (200, 40, 60), (30, 180, 90)
    stored = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    if subsampling == 2:  # four of Y, then the Cb and Cr of the four
        luma = stored[..., 0].reshape(4, 2, 4, 2).transpose(0, 2, 1, 3).reshape(4, 4, 4)
        stored = np.concatenate([luma, stored[::2, ::2, 1:]], axis=2)
    data = zlib.compress(stored.tobytes()) if compressed else stored.tobytes()
    tags = plain(8, 8, 3, 6, t530=(3, [subsampling] * 2), t259=(3, [8 if compressed else 1]), t279=(4, [len(data)]))
    assert np.abs(decode(made(tags, data)).astype(int) - rgb).max() <= 1


def test_what_cannot_be_read_says_what_it_is() -> None:
    assert "complex" in refused(written(noise("f4", 5, 6).astype(np.complex64)))
    bits = plain(6, 5, 3, t258=(3, [8, 16, 8]))
    assert "differ in depth" in refused(made(bits, bytes(200)))
    sensor = plain(6, 5, 1, 32803, t258=(3, [16]), t279=(4, [60]))
    assert "sensor" in refused(made(sensor, bytes(60)))
    lerc = plain(6, 5, 1, 1, t258=(3, [16]), t259=(3, [34887]), t279=(4, [60]))
    assert "its pixels cannot be decoded" in refused(made(lerc, bytes(60)))  # LERC is read, and this is none
    short = written(noise("u2", 60, 50, 3), photometric="rgb")
    assert "ends before its pixels" in refused(short[:5000])
    broken = bytearray(written(noise("u2", 60, 50, 3), photometric="rgb", compression="zlib"))
    broken[-3000:] = bytes(3000)
    assert "damaged" in refused(bytes(broken))


def test_deep_masks_keep_their_numbers() -> None:
    ids = np.arange(63 * 64, dtype=np.uint16).reshape(63, 64)
    for channels in (ids, np.dstack([ids] * 3)):
        for order in "<>":
            got, palette = decode_mask(written(channels, byteorder=order, photometric="rgb" if channels.ndim == 3 else "minisblack"))
            np.testing.assert_array_equal(got, ids)
            assert got.dtype == np.uint16 and palette is None
    alpha = np.dstack([ids, np.full_like(ids, 65_535)])
    np.testing.assert_array_equal(decode_mask(written(alpha, photometric="minisblack", extrasamples=["unassalpha"]))[0], ids)
    colours = RNG.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    got, _ = decode_mask(written(colours.astype(np.uint16) * 257, photometric="rgb"))
    np.testing.assert_array_equal(got, colours)
    assert "2 channels" in refused_mask(written(np.dstack([ids, ids]), photometric="minisblack", extrasamples=["unspecified"]))


def refused_mask(data: bytes) -> str:
    from seg_demo.core.errors import BadImageError

    with pytest.raises(BadImageError) as caught:
        decode_mask(data)
    return str(caught.value)


@pytest.mark.parametrize("turn", range(1, 9))
def test_deep_tiffs_are_turned_upright(turn: int) -> None:
    image = noise("u2", 21, 34, 3)
    data = written(image, photometric="rgb", extratags=[(274, "H", 1, turn, True)])
    eight = written((image >> 8).astype(np.uint8), photometric="rgb", extratags=[(274, "H", 1, turn, True)])
    np.testing.assert_array_equal(decode(data), decode(eight))
    grey = written(image[..., 0], extratags=[(274, "H", 1, turn, True)])
    np.testing.assert_array_equal(auto(decode_mask(grey)[0]), decode(grey)[..., 0])


def test_an_endless_chain_of_pages_is_counted_no_further_than_it_matters() -> None:
    head = b"II*\0" + struct.pack("<I", 8)
    pages = b"".join(struct.pack("<HHHII", 1, 256, 3, 1, 1) + struct.pack("<I", 8 + 18 * (index + 1)) for index in range(20_000))
    count, exact = tiff.Tiff(head + pages).pages()
    assert count == 10_000 and not exact


@pytest.mark.parametrize("dtype", ["u2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_few_values_far_off_do_not_darken_the_rest(dtype: str, channels: int) -> None:
    top = 1.0 if dtype[0] == "f" else 3000
    plain = np.linspace(0, top, 61 * 47 * channels).reshape(61, 47, channels).astype(dtype)
    for place, value in (((3, 5, 0), 60_000), ((60, 46, channels - 1), 65_535)):
        hot = plain.copy()
        hot[place] = value
        photometric = "rgb" if channels == 3 else "minisblack"
        got = read(written(hot if channels == 3 else hot[..., 0], photometric=photometric))
        whole = read(written(plain if channels == 3 else plain[..., 0], photometric=photometric))
        rest = np.ones(plain.shape, bool)
        rest[place] = False
        rest = rest if channels == 3 else np.repeat(rest, 3, axis=2)
        assert np.abs(got.pixels[rest].astype(int) - whole.pixels[rest]).max() <= 1
        (note,) = got.notes
        assert "lie far outside the range of all others" in note
        assert not whole.notes


@pytest.mark.parametrize(("dtype", "filler"), [("f4", 1e30), ("f4", -10_000), ("f8", 1e6), ("i4", -1_000_000), ("u4", 5_000_000)])
def test_a_filler_that_no_program_is_known_for_is_no_data(dtype: str, filler: float) -> None:
    image = np.linspace(0, 1 if dtype[0] == "f" else 900, 40 * 50).reshape(40, 50).astype(dtype)
    image[:8] = filler
    got = read(written(image, photometric="minisblack"))
    assert (got.pixels[:8] == 0).all()
    assert (got.pixels[8].min(), got.pixels[39].max()) == (0, 255)
    assert got.notes[0].startswith("20.00% of the pixels hold no data")


def test_sixteen_bits_whose_rest_uses_twelve_are_not_darkened_by_a_filler() -> None:
    image = np.linspace(100, 4095, 40 * 50).reshape(40, 50).astype("u2")
    image[:8] = 65_535
    got = read(written(image, photometric="minisblack"))
    assert got.pixels[8].min() < 5 and got.pixels[39].max() == 255
    assert "lie far outside" in got.notes[0]
    # Two values are a drawing, not a filler: both are seen.
    drawing = np.where(image == 65_535, 65_535, 900).astype("u2")
    assert np.unique(read(written(drawing, photometric="minisblack")).pixels).tolist() == [0, 255]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_palette_written_with_eight_bits_is_not_black(compression: str | None) -> None:
    index = np.arange(200, dtype=np.uint8).reshape(10, 20)
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype("u2")
    for order in "<>":
        got = read(written(index, photometric="palette", colormap=colours, compression=compression, byteorder=order)).pixels
        np.testing.assert_array_equal(got, colours.T.astype(np.uint8)[index])


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_a_preview_before_the_picture_is_not_the_picture(big: bool, order: str, dtype: str) -> None:
    image = noise(dtype, 40, 60, 3)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=big, byteorder=order) as file:
        file.write(image[::8, ::8].copy(), photometric="rgb", subfiletype=1)
        file.write(image[::4, ::4].copy(), photometric="rgb", subfiletype=1)
        file.write(image, photometric="rgb")
        file.write(image[::2, ::2].copy(), photometric="rgb", subfiletype=1)
    got = read(buffer.getvalue())
    np.testing.assert_array_equal(got.pixels, read(written(image, photometric="rgb")).pixels)
    assert got.notes == ()
    alone = written(image[::8, ::8].copy(), photometric="rgb", subfiletype=1, bigtiff=big, byteorder=order)
    assert read(alone).pixels.shape == (5, 8, 3)

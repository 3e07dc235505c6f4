"""The one door for images: right pixels for every format."""

from __future__ import annotations

import base64
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from seg_demo.inputs import formats, images, samples
from seg_demo.inputs.images import decode, limits_of
from tests.pictures import CORNERS, RNG, auto, picture, png, refused, saved


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(format: str) -> None:
    image = picture()
    got = decode(saved(Image.fromarray(image), format, **({"lossless": True} if format == "WEBP" else {})))
    assert got.dtype == np.uint8 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, image)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "GIF", "MPO", "HEIF"])
def test_lossy_formats_equal_pillow(format: str) -> None:
    data = saved(Image.fromarray(picture()), format)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation(format: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(Image.fromarray(picture()), format, exif=exif)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    got = decode(data)
    np.testing.assert_array_equal(got, wanted)
    assert got.shape == ((37, 53, 3) if turn < 5 else (53, 37, 3))
    # From the meaning of the tag: which corner of the stored picture is seen at the upper left.
    corner = {1: 0, 2: 1, 3: 3, 4: 2, 5: 0, 6: 2, 7: 3, 8: 1}[turn]
    assert np.abs(got[2, 2].astype(int) - CORNERS[corner]).max() < 40


def test_orientation_of_pil_images_and_nonsense_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = Image.open(io.BytesIO(saved(Image.fromarray(picture()), "PNG", exif=exif)))
    np.testing.assert_array_equal(decode(opened), np.rot90(picture(), -1))
    for nonsense in (0, 9, 77):
        exif[0x0112] = nonsense
        np.testing.assert_array_equal(decode(saved(Image.fromarray(picture()), "PNG", exif=exif)), picture())
    np.testing.assert_array_equal(decode(saved(Image.fromarray(picture()), "PNG", exif=b"Exif\0\0broken")), picture())


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_STRIP_PIXELS", 500)
    deep = RNG.integers(0, 10_000, (37, 53), dtype=np.uint16)
    for turn in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = turn
        wanted = np.rot90(picture(), -1) if turn == 6 else picture()
        np.testing.assert_array_equal(decode(saved(Image.fromarray(picture()), "PNG", exif=exif)), wanted)
    in_strips = decode(saved(Image.fromarray(deep), "TIFF"))
    monkeypatch.undo()
    np.testing.assert_array_equal(decode(saved(Image.fromarray(deep), "TIFF")), in_strips)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_modes_equal_what_is_seen(mode: str) -> None:
    image = Image.fromarray(picture())
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(RNG.integers(0, 256, (37, 53), dtype=np.uint8)))
    image = image.convert(mode)
    data = saved(image, "JPEG" if mode == "CMYK" else "PNG")
    opened = Image.open(io.BytesIO(data))
    seen = opened
    if mode in ("LA", "RGBA"):
        seen = Image.alpha_composite(Image.new("RGBA", opened.size, "white"), opened.convert("RGBA"))
    wanted = np.asarray(seen.convert("RGB")).astype(int)
    assert np.abs(decode(data).astype(int) - wanted).max() <= 1
    assert np.abs(decode(opened).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX", "LAB"])
def test_pil_images_of_rare_modes(mode: str) -> None:
    smooth = Image.fromarray(picture())
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(smooth, *profiles, outputMode="LAB")
    else:
        image = smooth.convert(mode)
    assert np.abs(decode(image).astype(int) - picture()).max() < 30  # saturated colours are clipped


def test_transparent_palette_grey_and_colour_keys_lie_on_white() -> None:
    palette = Image.new("P", (4, 2), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((0, 0), 0)
    for format in ("PNG", "GIF"):
        got = decode(saved(palette, format, transparency=0))
        assert got[0, 0].tolist() == [255, 255, 255] and got[1, 1].tolist() == [200, 100, 50]
    half = decode(saved(palette, "PNG", transparency=bytes([128, 255])))
    assert np.abs(half[0, 0].astype(int) - [132, 137, 142]).max() <= 1
    keyed = decode(saved(Image.fromarray(picture()), "PNG", transparency=(255, 0, 0)))
    assert keyed[0, 0].tolist() == [255, 255, 255] and keyed[20, 20].tolist() == picture()[20, 20].tolist()


def test_cmyk_of_adobe_is_inverted_and_seen_right() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for format in ("JPEG", "TIFF"):
        assert np.abs(decode(saved(red, format))[8, 8].astype(int) - [255, 0, 0]).max() < 6


def test_icc_profiles_are_taken_to_srgb() -> None:
    image = Image.new("RGB", (5, 5), (10, 120, 200))
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(decode(saved(image, "PNG", icc_profile=srgb)), np.asarray(image))
    for unusable in (xyz, b"no profile at all", srgb[:200]):
        np.testing.assert_array_equal(decode(saved(image, "PNG", icc_profile=unusable)), np.asarray(image))
    wide = linear_profile()
    wanted = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(wide)), ImageCms.createProfile("sRGB"))
    got = decode(saved(image, "PNG", icc_profile=wide))
    np.testing.assert_array_equal(got, np.asarray(wanted))
    assert got[0, 0, 1] > 150  # 120 of linear light is far brighter in sRGB
    image.putalpha(0)
    assert (decode(saved(image, "PNG", icc_profile=wide)) == 255).all()


def linear_profile() -> bytes:
    """sRGB's own profile with its tone curves made linear and its name changed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    for index in range(count):
        tag, offset, size = struct.unpack(">4sII", data[132 + 12 * index : 144 + 12 * index])
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            data[offset : offset + size] = (b"para" + bytes(8) + struct.pack(">i", 65536)).ljust(size, b"\0")
        if tag == b"desc":
            name = data[offset : offset + size].replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
            data[offset : offset + size] = name
    return bytes(data)


def test_sixteen_bit_grey() -> None:
    full = np.linspace(0, 65_535, 37 * 53).astype(np.uint16).reshape(37, 53)
    for format in ("PNG", "TIFF"):
        got = decode(saved(Image.fromarray(full), format))  # a measurement, not a photograph: see seg_demo.core.picture.View
        np.testing.assert_array_equal(got, np.repeat(auto(full)[..., None], 3, axis=2))
    twelve = np.linspace(300, 4_000, 37 * 53).astype(np.uint16).reshape(37, 53)
    twelve[0, 0] = 16_000  # a hot pixel
    got = decode(saved(Image.fromarray(twelve), "TIFF"))[..., 0].astype(int)
    assert got[0, 1] <= 1 and got[-1, -1] >= 254 and abs(got[18, 26] - 128) < 3
    big = Image.frombytes("I;16B", (53, 37), full.astype(">u2").tobytes())
    np.testing.assert_array_equal(decode(saved(big, "TIFF"))[..., 0], auto(full))
    assert (decode(saved(Image.fromarray(np.full((3, 3), 1000, np.uint16)), "PNG")) == round(1000 / 257)).all()


def test_sixteen_bit_colour_keeps_its_upper_byte() -> None:
    values = RNG.integers(0, 65_536, (5, 7, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = png(struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0), rows)
    np.testing.assert_array_equal(decode(data), values >> 8)


def test_float_and_integer_tiffs_are_stretched() -> None:
    values = np.linspace(-3, 7, 35, dtype=np.float32).reshape(5, 7)
    wanted = np.rint(np.linspace(0, 255, 35)).reshape(5, 7)
    assert np.abs(decode(saved(Image.fromarray(values), "TIFF"))[..., 0] - wanted).max() <= 1
    integers = (values * 1000).astype(np.int32)
    assert np.abs(decode(saved(Image.fromarray(integers), "TIFF"))[..., 0] - wanted).max() <= 1
    assert (decode(saved(Image.fromarray(np.full((3, 3), 2.5, np.float32)), "TIFF")) == 0).all()
    holes = values.copy()
    holes[2, 3] = np.nan
    got = decode(saved(Image.fromarray(holes), "TIFF"))[..., 0]
    assert got[2, 3] == 0 and np.abs(np.delete(got.ravel() - wanted.ravel(), 17)).max() <= 1
    assert "all of its pixels are NaN" in refused(saved(Image.fromarray(np.full((3, 3), np.nan, np.float32)), "TIFF"))
    holes[4, 5:] = np.inf, -np.inf
    assert "2 of its values are infinite" in refused(saved(Image.fromarray(holes), "TIFF"))


def test_white_is_zero_tiff() -> None:
    grey = Image.fromarray(np.arange(20, dtype=np.uint16).reshape(4, 5) * 3_000)
    data = saved(grey, "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(decode(data)[..., 0], 255 - auto(np.asarray(grey)))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_first_frame_of_animations(format: str) -> None:
    frames = [Image.new("RGB", (9, 7), color) for color in ("red", "lime", "blue")]
    got = decode(saved(frames[0], format, save_all=True, append_images=frames[1:]))
    assert got.shape == (7, 9, 3) and np.abs(got.astype(int) - [255, 0, 0]).max() < 12


def test_sources(tmp_path) -> None:
    data = saved(Image.fromarray(picture()), "PNG")
    path = tmp_path / "größe 1.png"
    path.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    mislabelled = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    for source in (data, bytearray(data), memoryview(data), path, str(path), url, mislabelled, Image.fromarray(picture())):
        np.testing.assert_array_equal(decode(source), picture())
    image = picture()
    assert decode(image) is image
    np.testing.assert_array_equal(decode(image[..., 0]), np.repeat(image[..., :1], 3, axis=2))
    np.testing.assert_array_equal(decode(image[::2, ::-1]), image[::2, ::-1])
    assert (decode(np.zeros((4, 5, 4), np.uint8)) == 255).all()


@pytest.mark.parametrize(
    ("mode", "subsampling", "cost"),
    [("RGB", "4:2:0", 8.3), ("RGB", "4:4:4", 10.5), ("RGB", "4:2:2", 10.5), ("RGBA", "4:2:0", 12), ("RGBA", "4:4:4", 14), ("L", "4:0:0", 8)],
)
def test_the_cost_of_an_avif_is_known(mode: str, subsampling: str, cost: float) -> None:
    data = saved(Image.new(mode, (40, 30)), "AVIF", subsampling=subsampling)
    assert formats.decoding_cost(Image.open(io.BytesIO(data))) == cost
    deep = bytearray(data)
    deep[data.index(b"av1C") + 6] |= 0x40
    assert "damaged" in refused(bytes(deep)), "libavif itself finds out a file that lies about its bits"


def test_the_decoder_of_an_avif_is_let_go_before_its_pixels_are_copied() -> None:
    """Pillow's own attribute; where it is called otherwise, the memory of AVIFs has to be measured again."""
    limits = limits_of(None, None, None)
    image = images._load(*images._open(saved(Image.fromarray(picture()), "AVIF"), limits), limits)
    assert isinstance(image._decoder, images._DroppedDecoder) and image._decoder._decoder is None
    assert image.size == (53, 37)

"""The one door for images: right pixels for every format, a sentence for everything else."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from seg_demo.errors import BadImageError
from seg_demo.inputs import pixels
from seg_demo.inputs.images import decode, decode_mask

RNG = np.random.default_rng(0)
CORNERS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], dtype=np.uint8)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture(height: int = 37, width: int = 53) -> np.ndarray:
    """Smooth colours with a different block in each corner, so that every turn and flip shows."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, 128 + 0 * x], axis=-1).astype(np.uint8)
    for corner, color in zip(((0, 0), (0, -8), (-8, 0), (-8, -8)), CORNERS, strict=True):
        rows, columns = (slice(start, start + 8 or None) for start in corner)
        image[rows, columns] = color
    return image


def refused(data: object, **limits: int) -> str:
    """The sentence with which something is refused; it says what is accepted."""
    with pytest.raises(BadImageError) as caught:
        decode(data, **limits)
    text = str(caught.value)
    assert "Accepted are JPEG, PNG" in text and text.endswith(".") and "\n" not in text
    assert "Traceback" not in text and "/tmp" not in text and "0x" not in text
    return text


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(format: str) -> None:
    image = picture()
    got = decode(saved(Image.fromarray(image), format, **({"lossless": True} if format == "WEBP" else {})))
    assert got.dtype == np.uint8 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, image)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "GIF", "MPO"])
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
    monkeypatch.setattr(pixels, "_STRIP_PIXELS", 500)
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
        got = decode(saved(Image.fromarray(full), format))
        np.testing.assert_array_equal(got, np.repeat((full >> 8).astype(np.uint8)[..., None], 3, axis=2))
    twelve = np.linspace(300, 4_000, 37 * 53).astype(np.uint16).reshape(37, 53)
    twelve[0, 0] = 16_000  # a hot pixel
    got = decode(saved(Image.fromarray(twelve), "TIFF"))[..., 0].astype(int)
    assert got[0, 1] <= 1 and got[-1, -1] >= 254 and abs(got[18, 26] - 128) < 3
    big = Image.frombytes("I;16B", (53, 37), full.astype(">u2").tobytes())
    np.testing.assert_array_equal(decode(saved(big, "TIFF"))[..., 0], full >> 8)
    assert (decode(saved(Image.fromarray(np.full((3, 3), 1000, np.uint16)), "PNG")) == 3).all()


def test_sixteen_bit_colour_keeps_its_upper_byte() -> None:
    values = RNG.integers(0, 65_536, (5, 7, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = png(struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0), rows)
    np.testing.assert_array_equal(decode(data), values >> 8)


def png(header: bytes, rows: bytes) -> bytes:
    """A PNG from its IHDR and its filtered rows."""
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def test_float_and_integer_tiffs_are_stretched() -> None:
    values = np.linspace(-3, 7, 35, dtype=np.float32).reshape(5, 7)
    wanted = np.rint(np.linspace(0, 255, 35)).reshape(5, 7)
    assert np.abs(decode(saved(Image.fromarray(values), "TIFF"))[..., 0] - wanted).max() <= 1
    integers = (values * 1000).astype(np.int32)
    assert np.abs(decode(saved(Image.fromarray(integers), "TIFF"))[..., 0] - wanted).max() <= 1
    assert (decode(saved(Image.fromarray(np.full((3, 3), 2.5, np.float32)), "TIFF")) == 0).all()
    for bad in (np.nan, np.inf, -np.inf):
        values[2, 3] = bad
        assert "NaN or infinite" in refused(saved(Image.fromarray(values), "TIFF"))


def test_white_is_zero_tiff() -> None:
    grey = Image.fromarray(np.arange(20, dtype=np.uint16).reshape(4, 5) * 3_000)
    data = saved(grey, "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(decode(data)[..., 0], 255 - (np.asarray(grey) >> 8))


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
    ("data", "word"),
    [
        (b"", "empty"),
        (b"hello, this is a shopping list\n" * 9, "a text"),
        ("grüße".encode("utf-16"), "a text"),
        (b'{"image": 1}', "JSON"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"PK\x03\x04aaaaaaaaaaaa", "ZIP"),
        (b"\x1f\x8b\x08aaaaaaaa", "gzip"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2", "video"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "sound"),
        (b"8BPS\x00\x01" + bytes(30), "Photoshop"),
        (bytes(128) + b"DICM" + bytes(40), "DICOM"),
        (bytes(range(256)) * 4, "unknown kind"),
        (b"\x89PNG\r\n\x1a\n", "a PNG"),
        (b"\xff\xd8\xff", "a JPEG"),
        (b"GIF89a", "a GIF"),
        (b"II*\x00", "a TIFF"),
        (b"MM\x00+\x00", "a TIFF"),
        (b"BM", "a BMP"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "a WebP"),
        (b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00avifmif1", "an AVIF"),
        (None, "NoneType"),
        (7, "int"),
        ({"path": "x"}, "dict"),
        ("http://example.org/a.png", "URL"),
        ("file:///etc/passwd", "URL"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64", "empty"),
        ("data:image/png;base64,****", "data: URL"),
        ("data:text/plain,hello%20you", "a text"),
        ("no such file.png", "cannot be read"),
        ("nul\0byte.png", "cannot be read"),
        ("x" * 5_000, "cannot be read"),
        ("/dev/zero", "no ordinary file"),
        ("/", "a folder"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 2), np.uint8), "(4, 4, 2)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "(2, 4, 4, 3)"),
        (np.zeros((0, 4, 3), np.uint8), "nothing to see"),
        (np.zeros((3, 4), object), "object"),
        (Image.new("RGB", (0, 4)), "nothing to see"),
    ],
)
def test_everything_else_is_a_sentence(data: object, word: str) -> None:
    assert word in refused(data)


def test_limits_hold_before_decoding() -> None:
    image = Image.new("RGB", (60, 40))
    data = saved(image, "PNG")
    assert "60 x 40 pixels" in refused(data, max_pixels=2_399)
    assert "60 x 40 pixels" in refused(image, max_side=59)
    assert "60 x 40 pixels" in refused(np.zeros((40, 60, 3), np.uint8), max_pixels=2_399)
    assert "MB" in refused(data, max_bytes=len(data) - 1)
    assert "MB" in refused("data:;base64," + "A" * 4_000, max_bytes=2_000)
    assert decode(data, max_pixels=2_400, max_side=60, max_bytes=len(data)).shape == (40, 60, 3)
    for width, height in ((9_000, 9_000), (20_001, 10), (50_000, 50_000), (2**31 - 1, 2**31 - 1)):
        bomb = png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"")
        assert "pixels" in refused(bomb)
    # WebP takes twice the memory of the others, so half of the pixels are accepted.
    assert "megapixels of it" in refused(saved(image, "WEBP"), max_pixels=4_000)
    assert decode(saved(image, "WEBP"), max_pixels=4_800).shape == (40, 60, 3)


def test_limits_hold_for_files(tmp_path) -> None:
    path = tmp_path / "large.png"
    with open(path, "wb") as file:
        file.truncate(10**12)  # sparse: reading it would end the process
    assert "MB" in refused(path)


def test_lying_headers_and_endless_structures_are_refused_at_once() -> None:
    jpeg = saved(Image.fromarray(picture()), "JPEG")
    at = jpeg.index(b"\xff\xc0")
    assert "promises" in refused(jpeg[: at + 5] + struct.pack(">HH", 7_000, 7_000) + jpeg[at + 9 :])
    assert "segments" in refused(jpeg[:2] + b"\xff\xfe\x00\x02" * 20_000 + jpeg[2:])
    assert "scans" in refused(jpeg[:-2] + b"\xff\xda\x00\x02" * 200 + jpeg[-2:])
    data = saved(Image.fromarray(picture()), "PNG")
    empty = bytes(4) + b"abCd" + struct.pack(">I", zlib.crc32(b"abCd"))
    assert "chunks" in refused(data[:33] + empty * 120_000 + data[33:])
    flipped = bytearray(data)
    flipped[data.index(b"IDAT") + 10] ^= 1
    assert "checksum" in refused(bytes(flipped))
    gif = saved(Image.fromarray(picture()), "GIF")
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    assert "first frame" in refused(gif[:at] + b"\x21\xfe" + b"\x01a" * 50_000 + b"\0" + gif[at:])
    bmp = saved(Image.fromarray(picture()[..., 0]), "BMP")
    assert "run lengths" in refused(bmp[:30] + b"\x01" + bmp[31:] + bytes(6_000_000))
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 273, 4, 10**7, 8) + bytes(4)
    assert "tag 273" in refused(tiff)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File Read", "ignore:Metadata Warning")
def test_damaged_files_are_sentences_or_pictures() -> None:
    """Seeded bit flips, cuts and splices of every format: a picture of a legal size or a sentence, nothing else."""
    image = Image.fromarray(picture(24, 32))
    files = [saved(image, format) for format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")]
    files += [saved(image, "JPEG", progressive=True), saved(image.convert("P"), "PNG"), saved(image.convert("CMYK"), "JPEG")]
    files += [saved(image, "TIFF", compression=compression) for compression in ("tiff_lzw", "jpeg")]
    files += [saved(image, "WEBP", lossless=True)]
    rng = np.random.default_rng(7)
    outcomes = {"picture": 0, "sentence": 0}
    for turn in range(600):
        data = bytearray(files[turn % len(files)])
        kind = turn // len(files) % 3
        if kind == 0:
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        elif kind == 1:
            del data[rng.integers(1, len(data)) :]
        else:
            other = files[rng.integers(len(files))]
            data[rng.integers(4, min(64, len(data))) :] = other[rng.integers(len(other)) :]
        try:
            got = decode(bytes(data), max_pixels=1_000_000)
            assert got.dtype == np.uint8 and got.ndim == 3 and got.shape[2] == 3
            outcomes["picture"] += 1
        except BadImageError as error:
            assert "Accepted are" in str(error)
            outcomes["sentence"] += 1
    assert min(outcomes.values()) > 50


def test_truncated_files_are_refused() -> None:
    image = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"):
        data = saved(image, format)
        assert "cut off" in refused(data[: len(data) // 2]) or "damaged" in refused(data[: len(data) // 2])


def test_masks_keep_their_numbers() -> None:
    labels = RNG.integers(0, 5, (13, 17), dtype=np.uint8)
    got, palette = decode_mask(saved(Image.fromarray(labels), "PNG"))
    np.testing.assert_array_equal(got, labels)
    assert got.dtype == np.uint8 and palette is None
    indexed = Image.fromarray(labels, "L").copy()
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    got, palette = decode_mask(saved(indexed, "PNG", transparency=0))
    np.testing.assert_array_equal(got, labels)
    assert palette[:5].tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    deep = RNG.integers(0, 65_536, (13, 17), dtype=np.uint16)
    for format in ("PNG", "TIFF"):
        got, _ = decode_mask(saved(Image.fromarray(deep), format))
        assert got.dtype == np.uint16
        np.testing.assert_array_equal(got, deep)
    got, _ = decode_mask(saved(Image.fromarray(deep.astype(np.int32)), "TIFF"))
    np.testing.assert_array_equal(got, deep)
    got, _ = decode_mask(saved(Image.fromarray(labels > 2), "PNG"))
    np.testing.assert_array_equal(got, labels > 2)
    coloured = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_mask(saved(Image.fromarray(coloured), "PNG"))[0], coloured)
    for bad in (np.float32(0.5), np.float32(-1), np.float32(70_000), np.float32(np.nan)):
        with pytest.raises(BadImageError, match="cannot be used"):
            decode_mask(saved(Image.fromarray(np.full((3, 3), bad)), "TIFF"))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_masks_of_few_grey_bits_are_not_stretched(bits: int) -> None:
    labels = RNG.integers(0, 2**bits, (3, 8), dtype=np.uint8)
    packed = np.packbits(np.unpackbits(labels[..., None], axis=2)[..., -bits:].reshape(3, -1), axis=1)
    data = png(struct.pack(">IIBBBBB", 8, 3, bits, 0, 0, 0, 0), b"".join(b"\0" + row.tobytes() for row in packed))
    np.testing.assert_array_equal(decode_mask(data)[0], labels)
    np.testing.assert_array_equal(decode(data)[..., 0], labels * (255 // (2**bits - 1)))


def test_mask_and_image_turn_together() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(picture()[..., 0]), "PNG", exif=exif)
    np.testing.assert_array_equal(decode_mask(data)[0], decode(data)[..., 0])

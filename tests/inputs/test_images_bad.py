"""The one door for images: a sentence for everything that is no image, too large, damaged or lying."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from seg_demo.core.errors import BadImageError
from seg_demo.inputs.images import decode
from tests.pictures import RNG, picture, png, refused, saved


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"hello, this is a shopping list\n" * 9, "a text file"),
        ("grüße".encode("utf-16"), "a text file"),
        (b'{"image": 1}', "JSON"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"PK\x03\x04aaaaaaaaaaaa", "ZIP"),
        (b"\x1f\x8b\x08aaaaaaaa", "gzip"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "a HEIC photo that is damaged"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2", "video"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "sound"),
        (b"8BPS\x00\x01" + bytes(30), "Photoshop"),
        (bytes(128) + b"DICM" + bytes(40), "DICOM"),
        (bytes(range(256)) * 4, "a kind that is not known"),
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
        ("data:text/plain,hello%20you", "a text file"),
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
    files = [saved(image, format) for format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF")]
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
    for format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF"):
        data = saved(image, format)
        assert "cut off" in refused(data[: len(data) // 2]) or "damaged" in refused(data[: len(data) // 2])

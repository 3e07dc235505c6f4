"""Image files that obey or break their formats in rare ways, each made by hand; with the right pixels where there are any.

Unlike :mod:`tests.hostile_images` nothing is mutated by chance: every file aims at one thing that a decoder may get wrong.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
import pillow_heif
from PIL import Image

from tests.heic_tiles import tiled
from tests.hostile_images import picture, saved
from tests.stranger_tiffs import RGB, Files, many_tiles, tiffs


def chunk(name: bytes, body: bytes, spoilt: bool = False) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ spoilt)


def png(*extra: bytes, after: tuple[bytes, ...] = (), array: np.ndarray = RGB) -> bytes:
    """A PNG of an RGB array with further chunks before and after its pixels."""
    height, width, _ = array.shape
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + b"".join(after) + chunk(b"IEND", b"")


def pngs() -> Files:
    """Checksums, text and profile bombs, animation, chunks in the wrong place."""
    bomb, profile = zlib.compress(bytes(60_000_000)), zlib.compress(b"\0\0\0\x84lcms" + bytes(30_000_000))
    frame = struct.pack(">IIIIIHHBB", 0, 40, 24, 0, 0, 1, 10, 0, 0)
    other = chunk(b"fdAT", struct.pack(">I", 2) + zlib.compress(bytes(24 * 121)))
    empty = chunk(b"IDAT", b"") * 20_000
    return [
        (png(chunk(b"tEXt", b"a\0b", spoilt=True)), None),
        (png(chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", frame), after=(chunk(b"fcTL", b"\0\0\0\1" + frame[4:]), other)), RGB),
        (png(after=(chunk(b"tEXt", b"x" * 900_000),)), RGB),
        (png(chunk(b"iCCP", b"x\0\0" + b"no zlib")), RGB),
        (png(chunk(b"eXIf", b"II*\0" + b"\xff" * 40)), RGB),
        (png(chunk(b"gAMA", struct.pack(">I", 0))), RGB),
        (png(chunk(b"pHYs", struct.pack(">IIB", 0, 2**32 - 1, 9))), RGB),
        *(
            (data, None)
            for data in (
                png(chunk(b"zTXt", b"a\0\0" + bomb)), png(chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)), png(chunk(b"iCCP", b"x\0\0" + profile)),
                png(chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))), png(chunk(b"PLTE", bytes(7))), png(empty), png(chunk(b"tRNS", b"\0")),
                png(chunk(b"ABCD", b"")), b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), png()[:-12],
            )
        ),
    ]  # fmt: skip


def gifs() -> Files:
    """Frames without a size or outside of the canvas, missing colours, codes beyond the table."""
    head = lambda width, height, flags=0x80: b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0)  # noqa: E731
    frame = lambda x, y, w, h, code=2: b"," + struct.pack("<HHHHBB", x, y, w, h, 0, code) + b"\x02\x4c\x01\0;"  # noqa: E731
    colors = b"\0\0\0\xff\xff\xff"
    sizes = [(0, 0, 0, 0), (0, 0, 0, 5), (9, 9, 5, 5), (0, 0, 65_535, 65_535), (60_000, 60_000, 1, 1), (0, 0, 20_000, 2500)]
    made = [head(10, 10) + colors + frame(*size) for size in sizes] + [head(w, h) + colors + frame(0, 0, 1, 1) for w, h in ((0, 0), (65_535, 65_535))]
    made += [head(4, 4, 0) + frame(0, 0, 4, 4), head(4, 4) + colors + frame(0, 0, 4, 4, 12), head(4, 4) + colors + frame(0, 0, 4, 4, 255), head(4, 4) + colors + b"!\xfe" + b"\xffx"]
    return [(data, None) for data in made]


def bmps() -> Files:
    """Run lengths that leave the canvas, rows from the top, headers of all ages, palettes that are too large or too small."""

    def bmp(width: int, height: int, bits: int, compression: int, data: bytes, palette: bytes = b"", used: int = 0, header: int = 40) -> bytes:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(data), 0, 0, used, 0)
        return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(palette) + len(data), 0, 0, 14 + len(info) + len(palette)) + info + palette + data

    height, width, _ = RGB.shape
    top_down = RGB[..., ::-1].tobytes()
    old = b"BM" + struct.pack("<IHHI", 26 + RGB.size, 0, 0, 26) + struct.pack("<IHHHH", 12, width, height, 1, 24) + RGB[::-1, :, ::-1].tobytes()
    greys = b"".join(bytes([i, i, i, 0]) for i in range(256))
    good: Files = [(bmp(width, -height, 24, 0, top_down), RGB), (old, RGB)]
    runs = [b"\xff\x05" * 9000 + b"\0\1", b"\0\2\xff\xff" * 500, b"\0\xff" + bytes(255), b"\0\0" * 9000, b"\xff\x05", b"\0\2\0\0" * 9000]
    odd = [bmp(8, 8, 8, 1, run, greys, 256) for run in runs] + [bmp(8, 8, 4, 2, run, greys[:64], 16) for run in runs]
    odd += [bmp(8, 8, 8, 0, bytes(64), b"", 2**31), bmp(8, 8, 8, 0, bytes(64), greys[:4], 1), bmp(8, 8, 7, 0, bytes(64)), bmp(8, 8, 24, 4, bytes(64))]
    odd += [bmp(8, -(2**31), 24, 0, bytes(99)), bmp(8, 8, 16, 3, bytes(128)), bmp(8, 8, 32, 3, bytes(256), header=124), bmp(8, 8, 24, 0, b"", header=2**31)]
    return good + [(data, None) for data in odd]


def webps() -> Files:
    """Canvases that lie about what is on them; parts of no size; animations without a frame."""
    data = saved(picture(40, 24), "WEBP", lossless=True)

    def wrapped(flags: int, width: int, height: int, *parts: bytes) -> bytes:
        head = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = b"WEBP" + head + b"".join(parts)
        return b"RIFF" + struct.pack("<I", len(body)) + body

    alpha = b"ALPH" + struct.pack("<I", 2) + b"\xff\xff"
    frame = b"ANMF" + struct.pack("<I", 16 + len(data) - 12) + bytes(3) + bytes(3) + (39).to_bytes(3, "little") + (23).to_bytes(3, "little") + bytes(4) + data[12:]
    animation = b"ANIM" + struct.pack("<I", 6) + bytes(6)
    outside = frame[:8] + (500).to_bytes(3, "little") + frame[11:]
    sizes = [(1, 1), (40, 25), (16_384, 16_384), (5000, 9000), (20_000, 2)]
    lies = [wrapped(0, w, h, data[12:]) for w, h in sizes]
    odd = [
        *lies, wrapped(0x10, 40, 24, alpha, data[12:]), wrapped(2, 40, 24, animation), wrapped(2, 40, 24, animation, outside),
        wrapped(2, 9000, 5000, animation, frame), wrapped(0x20, 40, 24, b"ICCP" + struct.pack("<I", 2**32 - 1)), wrapped(0xFF, 40, 24, data[12:]),
        b"RIFF" + struct.pack("<I", 2**32 - 1) + data[8:], b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0", b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0" + b"\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f",
    ]  # fmt: skip
    return [(wrapped(0, 40, 24, data[12:]), RGB), (wrapped(2, 40, 24, animation, frame), RGB), *((each, None) for each in odd)]


def _frame(data: bytes) -> int:
    """Where the frame header of a JPEG begins."""
    return next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)


def jpegs() -> Files:
    """Coding processes that are rare, sizes that come later, markers where none belongs, too many components."""
    data, progressive = saved(picture(40, 24), "JPEG", quality=90), saved(picture(40, 24), "JPEG", quality=90, progressive=True)
    right, at = np.asarray(Image.open(io.BytesIO(data))), _frame(data)
    scan = data.index(b"\xff\xda")
    processes = [data[: at + 1] + bytes([kind]) + data[at + 2 :] for kind in (0xC1, 0xC3, 0xC5, 0xC9, 0xCB, 0xCD, 0xCF)]
    with_size = lambda height, width: data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]  # noqa: E731
    end = data[:-2]
    odd = [
        *processes, data[: at + 4] + b"\x0c" + data[at + 5 :], with_size(0, 40), with_size(0, 40)[:-2] + b"\xff\xdc\0\4\0\x18\xff\xd9", with_size(24, 0),
        data[:scan] + b"\xff\xdd\0\4\0\1" + data[scan:], end + b"\xff\xd3" * 5000 + b"\xff\xd9", end + b"\xff" * 100_000 + b"\xd9",
        data[: at + 9] + b"\x04" + data[at + 10 :], data[: at + 11] + b"\x44" + data[at + 12 :], data[: at + 11] + b"\0" + data[at + 12 :],
        data[:scan] + data[scan:-2] * 99 + b"\xff\xd9", progressive[:-2] + progressive[progressive.index(b"\xff\xda") : -2] * 9 + b"\xff\xd9",
        data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x02" + data[2:], b"\xff\xd8\xff\xd9", b"\xff\xd8" + data, data[:2] + b"\xff\xe0\0\2" * 9000 + data[2:],
    ]  # fmt: skip
    comments = data[:2] + (b"\xff\xfe\xff\xff" + b"<script>alert(1)</script>".ljust(65_533)) * 20 + data[2:]
    return [(data, right), (comments, right), (end, None), *((each, None) for each in odd)]


def scans() -> Files:
    """A progressive JPEG of 49 megapixels whose last scan comes again and again: each goes over all of it."""
    data = saved(Image.new("L", (7000, 7000), 90), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    before = data[:last].count(b"\xff\xda")
    return [(data[:-2] + data[last:-2] * count + b"\xff\xd9", None) for count in (99 - before, 5000)]


def exifs() -> Files:
    """Orientations that are none, in any type, in directories that are cut off or lead back to themselves."""
    right = np.asarray(Image.open(io.BytesIO(saved(picture(40, 24), "JPEG", quality=90))))

    def photo(body: bytes) -> bytes:
        data = saved(picture(40, 24), "JPEG", quality=90)
        return data[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(body)) + b"Exif\0\0" + body + data[2:]

    entry = lambda kind, count, value: b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHI4s", 0x112, kind, count, value) + b"\x08\0\0\0"  # noqa: E731
    bad = [entry(3, 1, struct.pack("<HH", turn, 0)) for turn in (0, 1, 9, 255, 65_535)] + [entry(12, 1, b"\xff" * 4), entry(2, 1, b"6\0\0\0"), entry(3, 0, b"\6\0\0\0")]
    bad += [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*" + bytes(60_000), b"\0" * 9, entry(3, 1, b"\6\0\0\0")[:12]]
    made: Files = [(photo(body), right) for body in bad]
    made.append((photo(entry(3, 1, struct.pack("<HH", 6, 0))), np.rot90(right, 3)))
    made.append((photo(entry(4, 1, struct.pack("<I", 3))), right[::-1, ::-1]))
    return made


def profiles() -> Files:
    """Profiles that are none, of another kind of colour, or huge."""
    garbage = (b"", b"x", bytes(128), b"\xff" * 4000, struct.pack(">I", 2**32 - 1) + b"lcms" + bytes(120), bytes(36) + b"acsp" + bytes(2000))
    made = [(saved(picture(40, 24), "PNG", icc_profile=each), RGB) for each in garbage]
    return made + [(saved(picture(40, 24).convert("CMYK"), "JPEG", icc_profile=each), None) for each in garbage]


def polyglots() -> Files:
    """Files that are two things at once: the image counts, and nothing else of it is ever run."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("x.js", "alert(1)")
    page = b"<!doctype html><script>alert(1)</script>"
    return [
        (png() + archive.getvalue(), RGB), (png(chunk(b"tEXt", b"a\0" + page)) + page, RGB), (png() + b"%PDF-1.7", RGB),
        (page + png(), None), (archive.getvalue() + png(), None), (b"\xef\xbb\xbf" + png(), None), (b"GIF89a/*" + b" " * 40 + b"*/=1;", None), (b"BM" + page, None),
    ]  # fmt: skip


def heics() -> Files:
    """Grids that lie, lead to themselves, or have thousands of cells; turns and cuts without sense."""
    file = io.BytesIO()
    pillow_heif.from_pillow(picture(64, 64)).save(file, quality=90)
    tile = file.getvalue()
    whole = tiled(tile, 64, 2, 2, 120, 100)
    ref = whole.index(b"dimg") + 8
    own = whole[:ref] + struct.pack(">H", 1) + whole[ref + 2 :]
    odd = [
        own, tiled(tile, 64, 99, 99, 6336, 6336), tiled(tile, 64, 200, 200, 7000, 7000, given=300), tiled(tile, 64, 2, 2, 0, 0), tiled(tile, 64, 2, 2, 20_000, 20_000),
        tiled(tile, 9000, 2, 2, 120, 100), tiled(tile, 64, 256, 256, 120, 100, given=1), tile.replace(b"hvcC", b"hvcX"), tile.replace(b"ispe", b"free"), tile[:300],
        whole.replace(b"idat", b"free"), tile.replace(b"hdlr", b"free"), tile.replace(b"heic", b"mif1"), tile[:24] + struct.pack(">I", 2**31) + tile[28:],
    ]  # fmt: skip
    return [(data, None) for data in odd]


def avifs() -> Files:
    """Sizes that lie, boxes that are missing, endless or nested, and an animation, whose first frame counts."""
    still = saved(picture(40, 24), "AVIF", quality=95)
    moving = saved(picture(40, 24), "AVIF", save_all=True, append_images=[Image.new("RGB", (40, 24))], quality=95)
    at = still.index(b"ispe") + 8
    lie = lambda width, height: still[:at] + struct.pack(">II", width, height) + still[at + 8 :]  # noqa: E731
    odd = [*(lie(*size) for size in ((1, 1), (41, 24), (0, 0), (7000, 7000), (2**31, 2**31)))]
    odd += [still.replace(name, b"free") for name in (b"ispe", b"av1C", b"pitm", b"iloc", b"hdlr")] + [still[:24] + b"\0\0\0\1" + still[28:], still[: len(still) // 2]]
    odd += [still[:32] + b"\0\0\0\x08free" * 20_000 + still[32:]]
    return [(moving, np.asarray(Image.open(io.BytesIO(moving)))), *((data, None) for data in odd)]


def photos_of_two() -> Files:
    """MPO files whose index lies: of the pictures inside, the first counts, or the file is refused."""
    file = io.BytesIO()
    picture(40, 24).save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 24))])
    data = file.getvalue()
    at = data.index(b"MPF\0") + 4
    right = np.asarray(Image.open(io.BytesIO(data)))
    return [(data, right), *((data[: at + skip] + b"\xff" * 4 + data[at + skip + 4 :], None) for skip in range(4, 90, 7))]


FAMILIES = {
    made.__name__: made
    for made in (tiffs, many_tiles, pngs, gifs, bmps, webps, jpegs, scans, exifs, profiles, polyglots, heics, avifs, photos_of_two)
}  # fmt: skip

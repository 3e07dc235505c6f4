"""Odd, broken and mutated image files, drawn from a seed."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener

register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)  # which also lets Pillow save it
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
PER_FAMILY = 12


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth picture with some noise, RGB."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 40, (height, width))
    planes = (x * 255 // max(1, width), y * 255 // max(1, height), (x + y) % 200 + noise)
    return Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def sound(seed: int = 0, width: int = 64, height: int = 48) -> dict[str, bytes]:
    """One good file per format."""
    return {format: saved(picture(width, height, seed), format) for format in FORMATS}


def _png(width: int, height: int, data: bytes = b"", depth: int = 8, kind: int = 2) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 1000, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(500)


def families(seed: int = 0) -> dict[str, list[bytes]]:
    """Files by what is odd about them; whether one is accepted is the door's to say.

    Args:
        seed: of everything that is random.
    """
    rng = random.Random(seed)
    good = sound(seed)
    made: dict[str, list[bytes]] = {}
    for format, data in good.items():
        made[f"truncated {format}"] = [data[: rng.randrange(1, len(data))] for _ in range(PER_FAMILY)]
        made[f"flipped {format}"] = [mutated(data, rng, "flip") for _ in range(PER_FAMILY)]
    texts = (b"", b" ", b"hello", b"<svg/>", b"<html><script>alert(1)</script>", b"%PDF-1.7", b"GIF89a", b"BM", b"RIFF", b"\xff\xd8")
    made["texts and stubs"] = [*texts, b"PK\x03\x04" + bytes(30), b"\x7fELF" + bytes(99)]
    made["random bytes"] = [rng.randbytes(rng.randrange(1, 5000)) for _ in range(PER_FAMILY)]
    made["magic and noise"] = [data[:12] + rng.randbytes(3000) for data in good.values() for _ in range(2)]
    sizes = [(1, 1), (1, 2000), (2000, 1), (2, 3), (3, 2), (7, 5), (1, 20_000), (20_000, 1), (20_001, 1), (31, 33), (97, 1), (5, 800)]
    made["odd sizes"] = [saved(picture(*size), "PNG") for size in sizes]
    modes = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK", "L", "RGBA")
    made["odd modes"] = [_in_mode(mode, index) for index, mode in enumerate(modes)]
    made["rotated by EXIF"] = [_rotated(turn) for turn in (*range(1, 9), 0, 9, 255, 65_535)]
    lies = [(0, 0), (0, 5), (5, 0), (-1, 5), (2**31 - 1, 2**31 - 1), (30_000, 30_000), (20_001, 2), (7000, 7200), (65_535, 65_535)]
    made["PNGs whose header lies"] = [_png(*size) for size in (*lies, (9999, 4999), (1, 2**31 - 1), (2**31, 1))]
    made["BMPs whose header lies"] = [_bmp(*size) for size in ((0, 0), (-5, 5), (5, -5), (2**31 - 1, 1), (30_000, 30_000), (7000, 7000))]
    made["bombs"] = [_png(side, side, bytes(side * (side * 3 + 1))) for side in (1000, 2000, 8000)]
    made["odd depths"] = [_png(8, 8, bytes(999), depth, kind) for depth in (0, 1, 2, 4, 7, 16, 32) for kind in (0, 2, 3)]
    made["junk behind"] = [data + rng.randbytes(2000) for data in good.values()]
    made["junk before"] = [rng.randbytes(7) + data for data in good.values()]
    made["formats joined"] = [mutated(data, rng, "splice", list(good.values())) for data in good.values() for _ in range(2)]
    made["zeros within"] = [data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * len(data) // 3 :] for data in good.values()]
    return made


def _in_mode(mode: str, seed: int) -> bytes:
    image = picture(40, 30, seed)
    if mode in ("I;16", "F"):
        values = np.asarray(image.convert("L")).astype(np.float32 if mode == "F" else np.uint16)
        return saved(Image.fromarray(values * (np.nan if seed == 8 else 200)) if mode == "F" else Image.fromarray(values), "TIFF")
    return saved(image.convert(mode), "TIFF")


def _rotated(turn: int) -> bytes:
    exif = Image.Exif()
    exif[274] = turn
    return saved(picture(50, 30), "JPEG", exif=exif)


def mutated(data: bytes, rng: random.Random, way: str | None = None, others: list[bytes] | None = None) -> bytes:
    """A file with a few things wrong.

    Args:
        data: a good file.
        rng: draws what is changed.
        way: ``flip`` bits, ``cut`` it off, or ``splice`` it with another file; None draws one.
        others: to splice with.
    """
    way = way or rng.choice(("flip", "cut", "splice"))
    if way == "cut":
        return data[: rng.randrange(1, len(data))]
    if way == "splice":
        other = rng.choice(others or [data])
        at = rng.randrange(4, min(200, len(data), len(other)))
        return (data[:at] + other[at:]) if rng.random() < 0.5 else other[:at] + data[at:]
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 12)):
        changed[rng.randrange(min(len(data), rng.choice((64, 512, len(data)))))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def mutations(count: int, seed: int = 0) -> Iterator[bytes]:
    """So many mutated files."""
    rng = random.Random(seed)
    good = list(sound(seed, 48, 32).values())
    for _ in range(count):
        yield mutated(rng.choice(good), rng, None, good)

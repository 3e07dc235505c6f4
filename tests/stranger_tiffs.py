"""TIFFs of :mod:`tests.stranger_images`: planes, tiles, directories that lead nowhere or in circles."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tests.hostile_images import picture, saved

Files = list[tuple[bytes, "np.ndarray | None"]]
RGB = np.asarray(picture(40, 24))


def tiff(tags: dict[int, tuple[int, list[int]]], data: bytes, big: bool = False, following: int = 0) -> bytes:
    """A TIFF with one directory; tag 273 (strip offsets) or 324 (tile offsets) counts from the beginning of ``data``."""
    sizes = {1: "B", 3: "H", 4: "I", 16: "Q"}
    head = 16 if big else 8
    entry, room = (20, 8) if big else (12, 4)
    at = head + (8 if big else 2) + entry * len(tags) + (8 if big else 4)
    begins = at + sum(len(v) * struct.calcsize(sizes[k]) for k, v in tags.values() if len(v) * struct.calcsize(sizes[k]) > room)
    rows, outside = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        values = [value + begins for value in values] if tag in (273, 324) else values
        body = struct.pack(f"<{len(values)}{sizes[kind]}", *values)
        if len(body) > room:
            body, outside = struct.pack("<Q" if big else "<I", at + len(outside)), outside + body
        rows += struct.pack("<HHQ" if big else "<HHI", tag, kind, len(values)) + body.ljust(room, b"\0")
    header = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if big else b"II*\0" + struct.pack("<I", 8)
    return header + struct.pack("<Q" if big else "<H", len(tags)) + rows + struct.pack("<Q" if big else "<I", following) + outside + data


def plain(width: int, height: int, samples: int, photometric: int = 2, **more: tuple[int, list[int]]) -> dict[int, tuple[int, list[int]]]:
    """The tags of an uncompressed 8-bit TIFF in one strip."""
    size = width * height * samples
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [8] * samples), 259: (3, [1]), 262: (3, [photometric]), 273: (4, [0]),
            277: (3, [samples]), 278: (3, [height]), 279: (4, [size])}  # fmt: skip
    return tags | {int(key[1:]): value for key, value in more.items()}


def tiffs() -> Files:
    """Layouts and sample formats; directories that lead round in circles; offsets and counts that lie."""
    height, width, _ = RGB.shape
    planes = RGB.transpose(2, 0, 1).tobytes()
    apart = plain(width, height, 3, t284=(3, [2]), t273=(4, [0, width * height, 2 * width * height]), t279=(4, [width * height] * 3))
    square = np.zeros((32, 48, 3), np.uint8)
    square[:24, :40] = RGB
    tiles = [square[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16, 32)]
    in_tiles = plain(width, height, 3, t322=(3, [16]), t323=(3, [16]), t324=(4, [768 * i for i in range(6)]), t325=(4, [768] * 6))
    for strip in (273, 278, 279):
        del in_tiles[strip]
    half = RGB[..., 0].astype(np.float16)
    cmyka = np.dstack([RGB, RGB[..., :1], np.full((height, width, 1), 255, np.uint8)])
    good: Files = [
        (tiff(plain(width, height, 3), RGB.tobytes()), RGB),
        (tiff(plain(width, height, 3), RGB.tobytes(), big=True), RGB),
        (tiff(apart, planes), RGB),
        (tiff(in_tiles, b"".join(tiles)), RGB),
        (tiff(plain(width, height, 1, 0), RGB[..., 0].tobytes()), 255 - RGB[..., :1].repeat(3, 2)),
        (tiff(plain(width, height, 3), RGB.tobytes(), following=8), RGB),
    ]
    odd = [
        tiff(plain(width, height, 1, 1, t258=(3, [16]), t339=(3, [3]), t279=(4, [half.nbytes])), half.tobytes()),
        tiff(plain(width, height, 5, 5, t338=(3, [2])), cmyka.tobytes()),
        saved(picture(40, 24), "TIFF", compression="jpeg"),
        saved(picture(40, 24).convert("1"), "TIFF", compression="group4"),
        tiff(plain(width, height, 3, t273=(4, [2**31])), RGB.tobytes()),
        tiff(plain(width, height, 3, t279=(4, [2**32 - 1])), RGB.tobytes()),
        tiff(plain(width, height, 3, t278=(3, [0])), RGB.tobytes()),
        tiff(plain(width, height, 3, t277=(3, [65_535])), RGB.tobytes()),
        tiff(plain(width, height, 3, t258=(3, [8, 16, 8])), RGB.tobytes()),
        tiff(plain(width, height, 3, t258=(3, [0, 0, 0])), RGB.tobytes()),
        tiff(plain(width, height, 3, t259=(3, [60_000])), RGB.tobytes()),
        tiff(plain(width, height, 3, t274=(3, [77])), RGB.tobytes()),
        tiff(plain(width, height, 3, t284=(3, [9])), RGB.tobytes()),
        tiff(in_tiles | {322: (3, [0]), 323: (3, [0])}, b"".join(tiles)),
        tiff(in_tiles | {322: (4, [2**31]), 323: (4, [2**31])}, b"".join(tiles)),
        tiff(plain(7000, 7000, 3), RGB.tobytes()),
        b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 34665, 4, 1, 8) + struct.pack("<I", 8),
        b"MM\0*\xff\xff\xff\xff",
    ]
    return good + [(data, None) for data in odd]


def many_tiles() -> Files:
    """So many tiles that each costs more than its pixels: 50 megapixels of 16 x 16, all of them the same bytes."""
    data = zlib.compress(bytes(768))
    count = 400 * 440
    tags = plain(6400, 7040, 3, t259=(3, [8]), t322=(3, [16]), t323=(3, [16]), t324=(4, [0] * count), t325=(4, [len(data)] * count))
    for strip in (273, 278, 279):
        del tags[strip]
    return [(tiff(tags, data), np.zeros((7040, 6400, 3), np.uint8))]

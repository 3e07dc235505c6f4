"""HEIC pictures made of tiles, as phones save them, which pillow-heif can read but not write (ISO 23008-12, 6.6.2.3)."""

from __future__ import annotations

import struct


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, body: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + body)


def _inside(data: bytes, *path: bytes) -> bytes:
    """The content of a box within boxes."""
    for wanted in path:
        at = 0
        while data[at + 4 : at + 8] != wanted:
            at += int.from_bytes(data[at : at + 4], "big")
        data = data[at + (12 if wanted == b"meta" else 8) : at + int.from_bytes(data[at : at + 4], "big")]
    return data


def tiled(
    tile: bytes, side: int, rows: int, columns: int, width: int, height: int, turn: int | None = None, given: int | None = None
) -> bytes:
    """A file whose picture is a grid, every cell of it the same tile.

    Args:
        tile: a HEIC with one picture.
        side: of the tile in pixels.
        rows: of the grid.
        columns: of the grid.
        width: of the picture, which is cut from the grid.
        height: of the picture.
        turn: quarter turns to the left, or None.
        given: how many cells lead to a tile; None for all.
    """
    count = rows * columns if given is None else given
    ids, coded = range(2, 2 + count), _inside(tile, b"mdat")
    entries = [_full(b"infe", struct.pack(">HH4sx", 1, 0, b"grid"), 2)]
    entries += [_full(b"infe", struct.pack(">HH4sx", id, 0, b"hvc1"), 2, 1) for id in ids]
    properties = [
        _full(b"ispe", struct.pack(">II", width, height)), _full(b"ispe", struct.pack(">II", side, side)),
        _box(b"hvcC", _inside(tile, b"meta", b"iprp", b"ipco", b"hvcC")), _full(b"pixi", b"\x03\x08\x08\x08"),
        *([] if turn is None else [_box(b"irot", bytes([turn]))]),
    ]  # fmt: skip
    own = [1, 4] if turn is None else [1, 4, 5]
    links = struct.pack(">IHB", 1 + count, 1, len(own)) + bytes(own)
    links += b"".join(struct.pack(">HB", id, 3) + bytes([2, 0x80 | 3, 4]) for id in ids)
    grid = struct.pack(">4B2I", 0, 1, rows - 1, columns - 1, width, height)
    kind = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")

    def meta(at: int) -> bytes:
        where = struct.pack(">HH", 0x4400, 1 + count) + struct.pack(">4H2I", 1, 1, 0, 1, 0, len(grid))
        where += b"".join(struct.pack(">4H2I", id, 0, 0, 1, at, len(coded)) for id in ids)
        return _full(
            b"meta",
            _full(b"hdlr", struct.pack(">I4s13x", 0, b"pict"))
            + _full(b"pitm", struct.pack(">H", 1))
            + _full(b"iloc", where, 1)
            + _full(b"iinf", struct.pack(">H", 1 + count) + b"".join(entries))
            + _full(b"iref", _box(b"dimg", struct.pack(f">HH{count}H", 1, count, *ids)))
            + _box(b"iprp", _box(b"ipco", b"".join(properties)) + _full(b"ipma", links))
            + _box(b"idat", grid),
        )

    return kind + meta(len(kind) + len(meta(0)) + 8) + _box(b"mdat", coded)

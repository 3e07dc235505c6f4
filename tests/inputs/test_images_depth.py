"""PNGs with 16 bits in several channels, BMPs whose palette looks like grey, and more pixels than Pillow accepts by itself."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from seg_demo.core.errors import BadImageError
from seg_demo.inputs.images import decode, decode_mask, read
from tests.pictures import RNG, png, refused, saved


def png16(values: np.ndarray, **chunks: bytes) -> bytes:
    """A 16-bit PNG of 2 to 4 channels, with filters of every kind."""
    height, width, channels = values.shape
    raw = values.astype(">u2").reshape(height, -1).view(np.uint8).astype(int)
    rows, above, size = b"", np.zeros(raw.shape[1], int), 2 * channels
    for index, row in enumerate(raw):
        left = np.concatenate([np.zeros(size, int), row[:-size]])
        corner = np.concatenate([np.zeros(size, int), above[:-size]])
        estimate = left + above - corner
        away = [np.abs(estimate - each) for each in (left, above, corner)]
        paeth = np.where((away[0] <= away[1]) & (away[0] <= away[2]), left, np.where(away[1] <= away[2], above, corner))
        kind = index % 5
        guess = (0 * row, left, above, (left + above) // 2, paeth)[kind]
        rows += bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes()
        above = row
    data = png(struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0), rows)
    more = b"".join(
        struct.pack(">I", len(body)) + kind.encode() + body + struct.pack(">I", zlib.crc32(kind.encode() + body))
        for kind, body in chunks.items()
    )
    return data[:33] + more + data[33:]


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 33)])
def test_masks_have_all_sixteen_bits(channels: int, size: tuple[int, int]) -> None:
    values = RNG.integers(0, 65_536, (*size, channels), dtype=np.uint16)
    if channels == 2:
        got, palette = decode_mask(png16(values))
        np.testing.assert_array_equal(got, values[..., 0])
    else:
        values[0, 0, :3] = (1, 2, 3)  # not only repeated bytes
        got, palette = decode_mask(png16(values))
        np.testing.assert_array_equal(got, values[..., :3])
        same = values.copy()
        same[..., 1:3] = same[..., :1]
        np.testing.assert_array_equal(decode_mask(png16(same))[0], same[..., 0])
    assert palette is None and got.dtype == np.uint16
    if channels > 2 and size != (1, 1):  # colours of 8 bits, each byte twice
        eight = values // 256
        got, _ = decode_mask(png16(eight * 257))
        np.testing.assert_array_equal(got, eight[..., :3])
        assert got.dtype == np.uint8


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_few_bits_are_stretched_and_many_are_not(channels: int) -> None:
    values = RNG.integers(0, 4096, (30, 40, channels), dtype=np.uint16)
    values[0, 0], values[0, 1] = 0, 4095
    if channels != 3:
        values[..., -1] = 65_535
    colours = values[..., : 1 if channels == 2 else 3]
    low, high = np.quantile(colours, [0.001, 0.999], method="inverted_cdf")
    wanted = np.clip(np.rint((colours.astype(float) - low) * 255 / (high - low)), 0, 255)
    got = decode(png16(values))
    assert np.abs(got.astype(int) - wanted).max() <= 1
    values[5, 5, 0] = 1 << 14
    np.testing.assert_array_equal(decode(png16(values)), np.broadcast_to(values[..., : colours.shape[2]] >> 8, (30, 40, 3)))


def test_transparency_of_sixteen_bits_lies_on_white() -> None:
    values = RNG.integers(0, 4096, (30, 40, 4), dtype=np.uint16)
    values[..., 3] = 4095  # twelve bits of alpha as well
    values[:10, :, 3] = 0
    got = decode(png16(values))
    assert (got[:10] == 255).all() and got[10:].mean() < 160
    keyed = np.full((6, 7, 3), 30_000, np.uint16)
    keyed[2, 3] = (1000, 2000, 3001)
    keyed[2, 4] = (1000, 2000, 3000)
    got = decode(png16(keyed, tRNS=struct.pack(">HHH", 1000, 2000, 3000)))
    assert got[2, 4].tolist() == [255, 255, 255] and got[2, 3].tolist() == [3, 7, 11]


def test_a_transparent_grey_of_sixteen_bits_lies_on_white() -> None:
    rows = b"\0" + np.array([20_000, 20_001, 60_000], ">u2").tobytes()
    data = png(struct.pack(">IIBBBBB", 3, 1, 16, 0, 0, 0, 0), rows)
    key = b"tRNS" + struct.pack(">H", 20_000)
    data = data[:33] + struct.pack(">I", 2) + key + struct.pack(">I", zlib.crc32(key)) + data[33:]
    assert decode(data)[0, :, 0].tolist() == [255, 20_001 >> 8, 60_000 >> 8]
    assert decode_mask(data)[0].tolist() == [[20_000, 20_001, 60_000]]


def test_a_damaged_deep_png_is_a_sentence() -> None:
    data = png16(RNG.integers(0, 900, (30, 40, 3), dtype=np.uint16))
    assert "damaged" in refused(data[: len(data) // 2])
    assert "needs a lot of memory" in refused(data, max_pixels=1500)
    assert decode(data, max_pixels=2400).shape == (30, 40, 3)


def bmp(bits: int, palette: list[tuple[int, int, int]], indices: np.ndarray, *, top_down: bool = False, runs: bytes | None = None, old: bool = False) -> bytes:
    """A BMP with a palette; ``indices`` (H, W) from above."""
    height, width = indices.shape
    ordered = indices if top_down else indices[::-1]
    spread = np.unpackbits(ordered.astype(np.uint8)[..., None], axis=2)[..., -bits:].reshape(height, -1)
    rows = np.packbits(spread, axis=1)
    data = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes() if runs is None else runs
    kind = 0 if runs is None else {8: 1, 4: 2}[bits]
    if old:
        colors = b"".join(bytes([blue, green, red]) for red, green, blue in palette)
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        colors = b"".join(bytes([blue, green, red, 0]) for red, green, blue in palette)
        head = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, kind, len(data), 0, 0, len(palette), 0)
    at = 14 + len(head) + len(colors)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + head + colors + data


def greys(count: int, step: int) -> list[tuple[int, int, int]]:
    return [(value * step,) * 3 for value in range(count)]


PALETTES = {
    1: [greys(2, 255), greys(2, 1), [(255,) * 3, (0,) * 3], [(0, 0, 0)]],
    4: [greys(2, 255), greys(4, 85), greys(16, 1), greys(16, 17), greys(4, 1), [(9, 8, 7), (1, 2, 3)]],
    8: [greys(1, 1), greys(2, 255), greys(4, 1), greys(4, 85), greys(16, 1), greys(16, 17), greys(255, 1), greys(256, 1), greys(200, 1), [(1, 2, 3), (255, 0, 9)]],
}


@pytest.mark.parametrize(("bits", "index"), [(bits, index) for bits, all_of in PALETTES.items() for index in range(len(all_of))])
@pytest.mark.parametrize("top_down", [False, True])
def test_bmps_show_their_palette(bits: int, index: int, top_down: bool) -> None:
    palette = PALETTES[bits][index]
    for width, height in ((1, 1), (7, 5), (33, 20)):
        indices = RNG.integers(0, len(palette), (height, width), dtype=np.uint8)
        data = bmp(bits, palette, indices, top_down=top_down)
        np.testing.assert_array_equal(decode(data), np.array(palette, np.uint8)[indices])
        np.testing.assert_array_equal(decode_mask(data)[0], indices)
    if not top_down and len(palette) == 1 << bits:  # the oldest header has no number of colours
        data = bmp(bits, palette, indices, old=True)
        np.testing.assert_array_equal(decode(data), np.array(palette, np.uint8)[indices])


def run_lengths(indices: np.ndarray, bits: int) -> bytes:
    """Rows from below: runs, stretches of odd length, and a jump over pixels of colour 0."""
    out = b""
    for number, row in enumerate(indices[::-1]):
        at = 0
        while at < len(row):
            count = min(len(row) - at, (3, 5, 7)[(at + number) % 3])
            part = row[at : at + count]
            if not part.any():
                out += bytes([0, 2, count, 0])
            elif len(set(part.tolist())) == 1:
                value = int(part[0])
                out += bytes([count, value if bits == 8 else value * 17])
            elif count < 3:
                out += b"".join(bytes([1, int(value) if bits == 8 else int(value) * 17]) for value in part)
            else:
                body = part.tobytes() if bits == 8 else bytes((int(a) << 4) | int(b) for a, b in zip(part[::2], [*part[1::2], 0], strict=False))
                out += bytes([0, count]) + body + bytes(len(body) % 2)
            at += count
        out += bytes([0, 0])
    return out + bytes([0, 1])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("count", [2, 4, 16])
def test_bmps_with_run_lengths(bits: int, count: int) -> None:
    for palette in (greys(count, 1), greys(count, 255 // (count - 1)), [(index, 0, 255 - index) for index in range(count)]):
        indices = RNG.integers(0, count, (11, 29), dtype=np.uint8)
        indices[3:5] = 0
        indices[6, :20] = 1
        data = bmp(bits, palette, indices, runs=run_lengths(indices, bits))
        np.testing.assert_array_equal(decode(data), np.array(palette, np.uint8)[indices])
        np.testing.assert_array_equal(decode_mask(data)[0], indices)
        with pytest.raises(BadImageError, match="damaged or cut off"):
            decode(data[:-40])


def test_what_pillow_itself_writes_as_bmp() -> None:
    disc = (np.add.outer(np.arange(20) ** 2, np.arange(30) ** 2) < 200).astype(np.uint8)
    for palette in ([0, 0, 0, 255, 255, 255], [255, 255, 255, 0, 0, 0], [0, 0, 0, 9, 9, 9]):
        image = Image.fromarray(disc).convert("L")
        image.putpalette(palette)
        np.testing.assert_array_equal(decode(saved(image, "BMP")), decode(saved(image, "PNG")))


def test_the_owners_limit_counts_and_not_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setenv("SEG_DEMO_MAX_PIXELS", "50000000")
    image = Image.new("RGB", (60, 40), "red")
    for format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"):
        assert decode(saved(image, format), max_pixels=5000).shape == (40, 60, 3)
    for options in ({"compression": "tiff_lzw"}, {"compression": "jpeg"}):
        assert decode(saved(image, "TIFF", **options), max_pixels=5000).shape == (40, 60, 3)
    assert "60 x 40 pixels" in refused(saved(image, "PNG"), max_pixels=2000)


@pytest.mark.soak
def test_more_than_pillow_accepts_by_itself() -> None:
    side = 13_500  # 182 megapixels, more than twice Pillow's limit
    rows = b"".join([b"\0" + bytes([0, 255] * (side // 16 + 1))[: (side + 7) // 8]] * side)
    data = png(struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), rows)
    picture = read(data, max_pixels=200_000_000, max_side=20_000)
    assert picture.pixels.shape == (side, side, 3) and picture.pixels[5, 12].tolist() == [255] * 3

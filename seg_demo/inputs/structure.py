"""Faults of a file that show in its structure, found before a decoder runs: what would keep it busy for minutes, fill
the memory or let wrong pixels through. The limits are far above what cameras and programs write.
"""

from __future__ import annotations

import re
import struct
import zlib

from PIL import Image

from seg_demo.messages import Message

# Measured with Pillow 12.3 on one slow core: 4 million JPEG segments took 6 s, 1.6 million PNG chunks 8 s, and a GIF
# comment of 9 million sub-blocks did not end within minutes, because it is joined block by block. A megabyte of BMP run
# lengths took half a second.
MAX_SEGMENTS = 10_000
MAX_SCANS = 100
MAX_CHUNKS = 100_000
MAX_EXTENSION_BYTES = 1_000_000
MAX_TAG_VALUES = 200_000
MAX_RUN_LENGTH_BYTES = 5_000_000

# Field types of one byte per value (BYTE, ASCII, SBYTE, UNDEFINED), and the tags that point to the EXIF, GPS and
# interoperability directories.
_BYTES = (1, 2, 6, 7)
_BITS_PER_SAMPLE = 258
# Measured with libheif 1.23 and pictures of 12 to 48 megapixels: bytes per pixel by chroma subsampling, alpha and more than 8 bits.
# libheif makes 8 bits of the common form directly, of others by way of 16 bits per channel.
_HEIF_COST = {
    (420, False, False): 8.0, (422, False, False): 9.0, (444, False, False): 10.0,
    (420, True, False): 9.0, (422, True, False): 12.5, (444, True, False): 12.5,
    (420, False, True): 8.0, (422, False, True): 13.5, (444, False, True): 16.0,
    (420, True, True): 12.0, (422, True, True): 21.0, (444, True, True): 21.0,
}  # fmt: skip
# The same for libavif 1.4 without the decoder's planes (see images.py), by subsampling and alpha, for 8 bits.
_AVIF_COST = {(True, False): 8.3, (True, True): 12.0, (False, False): 10.5, (False, True): 14.0}
# AVIF's configuration box: its third byte has the bits high_bitdepth (0x40), subsampling_x and _y (0x0c).
_AVIF_CONFIGURATION = re.compile(rb"av1C\x81.(.)", re.DOTALL)
# BMP's compression field: RLE8 and RLE4.
_RUN_LENGTHS = (1, 2)
_DIRECTORIES = (0x8769, 0x8825, 0xA005)
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd8]")
_ARITHMETIC = range(0xC9, 0xD0)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(data: bytes) -> str | None:
    """Too many segments or scans, or less data than the size in the header can be made of."""
    at, segments, scans, size = 2, 0, 0, None
    while (found := _MARKER.search(data, at)) and found.end() + 2 <= len(data):
        marker, body = data[found.end() - 1], found.end()
        if marker == 0xD9:
            break
        segments += 1
        scans += marker == 0xDA
        if segments > MAX_SEGMENTS:
            return f"it has more than {MAX_SEGMENTS:,} segments"
        if scans > MAX_SCANS:
            return Message("damage.scans", most=MAX_SCANS)
        if marker in _FRAMES and marker not in _ARITHMETIC and size is None and body + 7 <= len(data):
            size = struct.unpack(">HH", data[body + 3 : body + 7])
        at = body + int.from_bytes(data[body : body + 2], "big")
    if size is not None:
        # Huffman coding spends a bit or more on each of the height * width / 64 blocks of the largest component.
        height, width = size
        if height * width / 512 > len(data):
            return Message("damage.ends_long_before", width=width, height=height)
    return None


def _png(data: bytes) -> str | None:
    """Too many chunks, or a critical chunk whose checksum is wrong (every browser refuses those too)."""
    at, chunks = 8, 0
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        chunks += 1
        if chunks > MAX_CHUNKS:
            return Message("damage.chunks", most=MAX_CHUNKS)
        if end > len(data) or kind == b"IEND":
            break
        critical = kind[:1].isupper()
        if critical and zlib.crc32(memoryview(data)[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return Message("damage.checksum")
        at = end
    return None


def _gif(data: bytes) -> str | None:
    """Too long extensions before the first frame."""
    at = 13 + (3 * 2 ** ((data[10] & 7) + 1) if len(data) > 10 and data[10] & 0x80 else 0)
    blocks = 0
    start = at
    while at + 2 < len(data) and data[at] == 0x21:
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
            blocks += 1
            if blocks > MAX_SEGMENTS or at - start > MAX_EXTENSION_BYTES:
                return "what stands before its first frame is too long"
        at += 1
    return None


def _tiff(data: bytes) -> str | None:
    """Directories whose tags hold more numbers (strip offsets above all) than an image within the limits can need."""
    order, name = ("<", "little") if data[:2] == b"II" else (">", "big")
    counter, entry, offset = ("Q", "HHQQ", 8) if 0x2B in data[2:4] else ("H", "HHII", 4)
    header, step = struct.calcsize(order + counter), struct.calcsize(order + entry)
    todo = [int.from_bytes(data[offset : 2 * offset], name)]
    seen = set()
    while todo:
        pointer = todo.pop()
        if pointer in seen or pointer + header > len(data) or len(seen) > MAX_SCANS:
            continue
        seen.add(pointer)
        (count,) = struct.unpack_from(order + counter, data, pointer)
        entries = min(count, MAX_SEGMENTS, (len(data) - pointer - header) // step)
        for at in range(pointer + header, pointer + header + entries * step, step):
            tag, kind, values, value = struct.unpack_from(order + entry, data, at)
            if kind not in _BYTES and values > MAX_TAG_VALUES:
                return f"its tag {tag} claims {values:,} values"
            if tag in _DIRECTORIES:
                todo.append(value)
    return None


def _bmp(data: bytes) -> str | None:
    """Too many run lengths, which Pillow decodes in Python."""
    if int.from_bytes(data[30:34], "little") in _RUN_LENGTHS and len(data) > MAX_RUN_LENGTH_BYTES:
        return f"it has more than {MAX_RUN_LENGTH_BYTES:,} bytes of run lengths"
    return None


_CHECKS = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "TIFF": _tiff, "BMP": _bmp}


def fault(data: bytes, format: str) -> str | None:
    """What is wrong with a file before it is decoded.

    Args:
        data: the whole file.
        format: Pillow's name of its format.

    Returns:
        Half a sentence that follows "This JPEG cannot be read: ", or None if nothing is known to be wrong.
    """
    check = _CHECKS.get(format)
    return check(data) if check else None


def decoding_cost(image: Image.Image) -> float:
    """Bytes of memory that decoding takes at its peak, per pixel.

    Args:
        image: opened, but not yet loaded.

    Returns:
        8 for what needs little more than Pillow's own 4 bytes and the result's 3; more for WebP (two canvases and a copy,
        measured 15), AVIF and HEIC (planes and a copy, see above), progressive JPEG (all its coefficients) and TIFF (a strip).
    """
    if image.format == "WEBP":
        return 16.0
    if image.format == "AVIF":
        return _avif_cost(image)
    if image.format == "HEIF":
        deep, alpha = image.info.get("bit_depth", 8) > 8, "A" in image.getbands()
        # Grey has no chroma; of what is not known the dearest is assumed.
        chroma = image.info.get("chroma", 420 if len(image.getbands()) <= 2 else None)
        return _HEIF_COST.get((chroma, alpha, deep), max(_HEIF_COST.values()))
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):
        factors = [(horizontal, vertical) for _, horizontal, vertical, _ in image.layer]
        widest, tallest = max(h for h, _ in factors), max(v for _, v in factors)
        return max(8.0, 4 + 2 * sum(h * v for h, v in factors) / max(1, widest * tallest))
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))
        return max(8.0, 4 + sum(bits) / 8)
    return 8.0


def _avif_cost(image: Image.Image) -> float:
    """:func:`decoding_cost` of an AVIF: of all pictures inside, alpha planes and tiles too, the dearest counts."""
    image.fp.seek(0)
    found = [match[1][0] for match in _AVIF_CONFIGURATION.finditer(image.fp.read())]
    if not found or any(bits & 0x40 for bits in found):
        return 16.0
    if image.mode == "L":
        return 8.0
    # An alpha plane is of one colour, which counts as subsampled too.
    return _AVIF_COST[all(bits & 0x0C == 0x0C for bits in found), "A" in image.getbands()]

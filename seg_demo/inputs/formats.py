"""What a file is, by its first bytes and never by its name: the formats that are read, and a name for everything else.

Faults of a file that show in its structure, found before a decoder runs: what would keep it busy for minutes, fill
the memory or let wrong pixels through. The limits are far above what cameras and programs write.

How a file was compressed with loss, where masks must not be.

BMPs with a palette, which Pillow takes for plain grey when the palette looks like it, whatever the bits of a pixel are.

Its run lengths also lose the last pixel of stretches of odd length with 4 bits, and fail where it took the palette for grey.
Source: Microsoft, "BITMAPINFOHEADER structure" and "Bitmap Compression" (Win32 API, Windows GDI).
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImagePalette, UnidentifiedImageError

from seg_demo.core import BadImageError, Message

# Bytes of a file's beginning that say what it is.
HEAD_BYTES = 1024


@dataclass(frozen=True)
class Kind:
    """What the first bytes say.

    Attributes:
        key: what it is, as :data:`name` says it.
        format: Pillow's name of the format if it is read, else None.
        advice: what a person can do who has such a file; empty if it is read.
    """

    key: str
    format: str | None
    advice: str = ""

    @property
    def name(self) -> Message:
        """As it reads in a sentence after "This is", such as ``a PDF document``."""
        return Message(f"kinds.{self.key}")


_SAVE = Message("advice.save_as_png")
_EXPORT = Message("advice.export_page")
_UNPACK = Message("advice.unpack")
_FRAME = Message("advice.save_frame")
_CONVERT = Message("advice.save_with_program")

# Either order of bytes, with addresses of 32 bits and of 64.
TIFF_STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_READ = (
    (b"\xff\xd8\xff", Kind("jpeg", "JPEG")),
    (b"\x89PNG\r\n\x1a\n", Kind("png", "PNG")),
    (b"GIF87a", Kind("gif", "GIF")),
    (b"GIF89a", Kind("gif", "GIF")),
    *((start, Kind("tiff", "TIFF")) for start in TIFF_STARTS),
    (b"BM", Kind("bmp", "BMP")),
)
_REFUSED = (
    (b"%PDF", Kind("pdf", None, _EXPORT)),
    (b"%!PS", Kind("postscript", None, _EXPORT)),
    (b"PK\x03\x04", Kind("zip", None, _UNPACK)),
    (b"\x1f\x8b", Kind("gzip", None, _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Kind("sevenzip", None, _UNPACK)),
    (b"Rar!", Kind("rar", None, _UNPACK)),
    (b"BZh", Kind("bzip2", None, _UNPACK)),
    (b"8BPS", Kind("photoshop", None, _SAVE)),
    (b"\x00\x00\x00\x0cjP  ", Kind("jpeg_2000", None, _SAVE)),
    (b"\xff\x4f\xff\x51", Kind("jpeg_2000", None, _SAVE)),
    (b"\x00\x00\x00\x0cJXL ", Kind("jpeg_xl", None, _SAVE)),
    (b"\xff\x0a", Kind("jpeg_xl", None, _SAVE)),
    (b"\x00\x00\x01\x00", Kind("icon", None, _SAVE)),
    (b"DDS ", Kind("dds", None, _SAVE)),
    (b"qoif", Kind("qoi", None, _SAVE)),
    (b"v/1\x01", Kind("openexr", None, _SAVE)),
    (b"\x89HDF", Kind("hdf5", None, _CONVERT)),
    (b"\x93NUMPY", Kind("numpy", None, _CONVERT)),
    (b"SIMPLE  =", Kind("fits", None, _CONVERT)),
    (b"\x1aE\xdf\xa3", Kind("video", None, _FRAME)),
    (b"\x7fELF", Kind("program", None, Message("advice.send_image"))),
    (b"MZ", Kind("program", None, Message("advice.send_image"))),
    (b"ID3", Kind("sound", None, Message("advice.send_image"))),
    (b"OggS", Kind("sound_or_video", None, _FRAME)),
)
# Read by :mod:`seg_demo.inputs.scientific`, as pictures and not as masks; by their keys, and what their readers call them.
SCIENTIFIC = {"dicom": "DICOM", "nifti": "NIFTI", "numpy": "NUMPY"}
# Groups 2 and 8 in either of the two ways in which DICOM without its preamble can begin.
_BARE_DICOM = re.compile(rb"[\x02\x08]\0[\0-\x20]\0(?:[A-Z]{2}|[\x04-\x40]\0\0\0)", re.DOTALL)
_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_UNKNOWN = Kind("unknown", None, Message("advice.send_png"))


@cache
def _reads_heic() -> bool:
    """Let Pillow read HEIC where pillow-heif is installed, and the picture alone: neither thumbnails nor depth maps beside it.

    libheif turns and mirrors the picture itself, and pillow-heif removes the orientation from its EXIF; it decodes no more
    pixels than the header promises.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    return True


def accepted(masks: bool = False) -> Message:
    """The formats that are read, for a sentence.

    Args:
        masks: as masks, and not as pictures.
    """
    if masks:
        return Message("kinds.accepted_masks_with_heic") if _reads_heic() else Message("kinds.accepted_masks")
    return Message("kinds.accepted_with_heic") if _reads_heic() else Message("kinds.accepted")


def _boxed(head: bytes) -> Kind:
    """The kind of a file that begins with an ISO ``ftyp`` box: AVIF, HEIC or a video."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if brands.intersection(_AVIF):
        return Kind("avif", "AVIF")
    if brands.intersection(_HEIC):
        advice = Message("advice.phone_compatible")
        return Kind("heic", "HEIF" if _reads_heic() else None, advice)
    return Kind("video", None, _FRAME)


def _text(head: bytes) -> Kind | None:
    """The kind of a text file, or None if the bytes are no text."""
    try:
        # A character may be cut in two at the end of the head, and in UTF-16 nearly every second byte is zero.
        text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return None
        text = head[: error.start].decode("utf-8", errors="ignore")
    if not text or sum(character.isprintable() or character in "\t\r\n\f" for character in text) < 0.95 * len(text):
        return None
    start = text.lstrip().lower()
    if start.startswith("<svg") or (start.startswith(("<?xml", "<!--", "<!doctype svg")) and "<svg" in start):
        return Kind("svg", None, _EXPORT)
    if start.startswith(("<!doctype html", "<html", "<head", "<body")) or "<html" in start:
        return Kind("web_page", None, Message("advice.save_image_of_page"))
    if start.startswith(("{", "[")):
        return Kind("json", None, Message("advice.send_described"))
    return Kind("text", None, Message("advice.send_png"))


def _begins_like_nifti(head: bytes) -> bool:
    """NIfTI-1 or -2 in one file, compressed or not."""
    if head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(31).decompress(head, 352)
        except zlib.error:
            return False
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def identify(data: bytes) -> Kind:
    """What a file is.

    Args:
        data: the file, or at least its first kilobyte.

    Returns:
        Its kind; ``format`` is None where it is not read.
    """
    head = bytes(data[:HEAD_BYTES])
    for magic, kind in _READ:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return Kind("webp", "WEBP") if head[8:12] == b"WEBP" else Kind("sound_or_video", None, _FRAME)
    if head[4:8] == b"ftyp":
        return _boxed(head)
    if head[128:132] == b"DICM" or _BARE_DICOM.match(head):
        return Kind("dicom", None, _CONVERT)
    if _begins_like_nifti(head):
        return Kind("nifti", None, _CONVERT)
    for magic, kind in _REFUSED:
        if head.startswith(magic):
            return kind
    return _text(head) or _UNKNOWN


def may_be_large(head: bytes) -> bool:
    """Whether a file that begins so, with ``HEAD_BYTES``, may be larger than a photograph: it comes from a microscope, a scanner or a satellite."""
    kind = identify(head)
    return kind.key in SCIENTIFIC or kind.format == "TIFF"


# An array's shape in the header of .npy; DICOM's Rows and Columns, with their type and without, in either order of bytes.
_SHAPE = re.compile(rb"'shape': *\(([0-9, ]*)\)")
_SIDES = re.compile(rb"\x28\0([\x10\x11])\0(?:US\x02\0|\x02\0\0\0)(..)|\0\x28\0([\x10\x11])US\0\x02(..)", re.DOTALL)


def plane_size(data: bytes, form: str) -> tuple[int, int] | None:
    """Width and height, of all but PNG in either order, that a scientific file other than TIFF says its planes have, or the largest of them.

    Args:
        data: the whole file.
        form: ``PNG``, ``NUMPY``, ``NIFTI`` or ``DICOM``.

    Returns:
        None where it cannot be seen without decompressing.
    """
    if form == "PNG":
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    sides: list[int] = []
    if form == "NUMPY" and (found := _SHAPE.search(data, 0, HEAD_BYTES)):
        sides = [int(side) for side in found[1].split(b",") if side.strip().isdigit()]
    elif form == "NIFTI":
        head = zlib.decompressobj(31).decompress(data[:HEAD_BYTES], 352) if data[:2] == b"\x1f\x8b" else data[:352]
        second = head[4:8] == b"n+2\0"
        order = "little" if int.from_bytes(head[:4], "little") in (348, 540) else "big"
        begin, step = (16, 8) if second else (40, 2)
        sides = [int.from_bytes(head[at : at + step], order, signed=True) for at in range(begin + step, begin + 4 * step, step)]
    elif form == "DICOM":
        stated: dict[bytes, int] = {}
        for found in _SIDES.finditer(data):
            stated.setdefault(found[1] or found[3], int.from_bytes(found[2] or found[4], "little" if found[1] else "big"))
            if len(stated) == 2:
                break
        sides = list(stated.values())
    sides = sorted(side for side in sides if side > 0)[-2:]
    return (sides[0], sides[1]) if len(sides) == 2 else None


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


_PIXELS_AT, _HEADER_AT, _BITS_AT = 10, 14, {12: 24}
_RLE8, _RLE4 = 1, 2
_RAW = {1: "P;1", 4: "P;4", 8: "P"}


def keep_bmp_palette(image: Image.Image, data: bytes) -> None:
    """Let Pillow read a BMP's pixels as what they are, indices, where its palette only looks like plain grey.

    Args:
        image: opened, not loaded.
        data: the whole file.
    """
    header = int.from_bytes(data[_HEADER_AT : _HEADER_AT + 4], "little")
    at = _BITS_AT.get(header, 28)
    bits = int.from_bytes(data[at : at + 2], "little")
    if image.mode not in ("1", "L", "P") or bits not in _RAW or (image.mode, bits) == ("1", 1):
        return
    entry = 3 if header == 12 else 4
    begin = _HEADER_AT + header
    count = 0 if header == 12 else int.from_bytes(data[46:50], "little")
    count = min(count or 1 << bits, 256)
    end = begin + entry * count
    pixels = int.from_bytes(data[_PIXELS_AT : _PIXELS_AT + 4], "little")
    end = min(end, pixels) if pixels > begin else end
    if image.mode != "P":
        if image.mode == "L" and bits == 8 and count == 256:
            return  # plain grey indeed
        image._mode = "P"
        image.palette = ImagePalette.raw("BGRX" if entry == 4 else "BGR", data[begin:end])
        tile = image.tile[0]
        if tile.codec_name == "raw":
            image.tile = [tile._replace(args=(_RAW[bits], *tile.args[1:]))]


def bmp_run_lengths(image: Image.Image, data: bytes) -> Image.Image | None:
    """The picture of a BMP with run lengths; None if it has none.

    Args:
        image: opened and through :func:`keep_bmp_palette`, not loaded.
        data: the whole file.

    Returns:
        A loaded image of the same mode and palette. Pixels that are not written are of colour 0.

    Raises:
        ValueError: the file ends before its runs do.
    """
    if not image.tile or image.tile[0].codec_name != "bmp_rle":
        return None
    tile = image.tile[0]
    narrow, direction = tile.args[1], tile.args[-1]
    width, height = image.size
    rows = np.zeros((height, width), dtype=np.uint8)
    at, x, y = tile.offset, 0, 0
    while y < height:
        if at + 2 > len(data):
            raise ValueError("cut off")
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            fill = (value >> 4, value & 15) if narrow else (value, value)
            rows[y, x : x + count : 2] = fill[0]
            rows[y, x + 1 : x + count : 2] = fill[1]
            x += count
        elif value == 0:
            x, y = 0, y + 1
        elif value == 1:
            break
        elif value == 2:
            if at + 2 > len(data):
                raise ValueError("cut off")
            x, y, at = x + data[at], y + data[at + 1], at + 2
        else:
            size = (value + 1) // 2 if narrow else value
            raw = np.frombuffer(data[at : at + size], dtype=np.uint8)
            if len(raw) < size:
                raise ValueError("cut off")
            if narrow:
                raw = np.stack([raw >> 4, raw & 15], axis=1).ravel()[:value]
            room = max(0, min(value, width - x))
            rows[y, x : x + room] = raw[:room]
            x, at = x + value, at + size + size % 2
    made = Image.fromarray(rows[::-1] if direction == -1 else rows)
    if image.mode == "P":
        made.putpalette(image.palette.palette, image.palette.rawmode or "RGB")
    made.info.update(image.info)
    return made


# Pillow's names of TIFF compressions that lose.
_LOSING = ("jpeg", "tiff_jpeg", "webp", "jpeg2000")


def lossy_form(path: Path) -> str | None:
    """How a file is compressed with loss, such as ``a JPEG``; None if it is not.

    JPEG, HEIC and AVIF always count: the latter two can be without loss, but nobody can tell from their values.

    Args:
        path: of an image that can be decoded.
    """
    with path.open("rb") as file:
        head = file.read(64)
        kind = identify(head)
        if kind.format in ("JPEG", "HEIF", "AVIF"):
            return kind.name
        if kind.format == "WEBP" and _lossy_webp(file.seek(0) or file.read()):
            return "a lossy WebP"
    if kind.format == "TIFF":
        try:
            with Image.open(path, formats=["TIFF"]) as image:
                return "a TIFF with JPEG or WebP inside" if image.info.get("compression") in _LOSING else None
        except UnidentifiedImageError:
            return None  # of a depth that Pillow does not know, which no lossy compression has
    return None


def _lossy_webp(data: bytes) -> bool:
    """Whether the first frame is of the lossy kind: the first ``VP8`` chunk, whatever stands before it (RFC 9649)."""
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        # A frame of an animation holds chunks of its own after 16 bytes.
        at += 8 + 16 if kind == b"ANMF" else 8 + size + size % 2
    return False


# Of what is read in parts.
ANY_SIDE = 1 << 31


@dataclass(frozen=True)
class Limits:
    """What is accepted at most.

    Attributes:
        pixels: height times width.
        bytes: size of the file.
        side: longest side in pixels.
        masks: whether masks are read, and not pictures.
        scientific: size of a file of a microscope, scanner or satellite; None for ``bytes``.
    """

    pixels: int
    bytes: int
    side: int
    masks: bool = False
    scientific: int | None = None

    @property
    def of_scientific(self) -> Limits:
        """The limits of such a file."""
        return self if self.scientific is None else replace(self, bytes=self.scientific, scientific=None)

    def message(self) -> Message:
        """What is accepted, for a sentence."""
        if self.side >= ANY_SIDE:
            return Message("images.limits_in_parts", megapixels=self.pixels / 1e6)
        return Message("images.limits", formats=accepted(self.masks), megabytes=self.bytes / 1e6, megapixels=self.pixels / 1e6, side=self.side)


def refuse(what: Message, limits: Limits, advice: Message) -> BadImageError:
    """What came, what is accepted, what to do."""
    return BadImageError("images.refused", what=what, limits=limits.message(), advice=advice)


def check_bytes(size: int, limits: Limits) -> None:
    """BadImageError if a file is empty or too large."""
    if size == 0:
        raise refuse(Message("images.empty"), limits, Message("advice.image_again"))
    if size > limits.bytes:
        raise refuse(Message("images.too_many_bytes", size=size / 1e6), limits, Message("advice.save_smaller"))


def check_size(width: int, height: int, limits: Limits) -> None:
    """BadImageError if an image has no pixels or too many."""
    if width < 1 or height < 1:
        raise refuse(Message("images.no_pixels", width=width, height=height), limits, Message("advice.another"))
    if width * height > limits.pixels or max(width, height) > limits.side:
        what = Message("images.too_many_pixels", width=width, height=height, megapixels=width * height / 1e6)
        raise refuse(what, limits, Message("advice.scale_or_cut"))

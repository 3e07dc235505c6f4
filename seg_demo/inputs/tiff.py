"""TIFFs that Pillow reads wrong, only by half, or not at all: more than 8 bits, planes apart, other numbers of channels.

The layout is read here, strips and tiles are decompressed by Pillow's libtiff, which never sees more than a row of bytes.
Source: TIFF 6.0; BigTIFF; TIFF Technical Notes 2 and 3 (predictors); GDAL's tags 42112 and 42113; tests compare with tifffile.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile

from seg_demo.core import Damaged, Message, PixelError, TiffError
from seg_demo.inputs.formats import MAX_TAG_VALUES
from seg_demo.inputs.samples import CMYK, GREY, LAB, PALETTE, RGB, Samples

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, DESCRIPTION = 256, 257, 258, 259, 262, 266, 270
STRIPS, ORIENTATION, SAMPLES, ROWS, COUNTS, PLANAR, PREDICTOR, COLORS = 273, 274, 277, 278, 279, 284, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_COUNTS, INKS, EXTRA, FORMAT = 322, 323, 324, 325, 332, 338, 339
SUBFILE, METADATA, NODATA, PROFILE = 254, 42112, 42113, 34675
# Streams of bytes that libtiff undoes, by its number of them: LZW, deflate (old and new), PackBits, LZMA, Zstandard.
NONE, STREAMS = 1, (5, 8, 32946, 34925, 50000, 32773)
# Those of them that libtiff knows predictors for; it ignores the tag with others.
_PREDICTED = STREAMS[:-1]
# Whole pictures, which Pillow reads: fax and JPEG. Its libtiff knows no WebP.
_JPEG = (6, 7)
_PICTURES = (2, 3, 4, *_JPEG)
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_FAX = (2, 3, 4)
# GeoTIFF, Zeiss LSM, no data: what microscopes and satellites write.
_MEASURED = (33550, 33922, 34264, 34735, 34412, NODATA, METADATA)
_REDUCED, _MASK = 1, 4
_MOST_PAGES = 10_000
_MOST_PREVIEWS = 4
_GROUP_BYTES = 4_000_000
_FILLER = re.compile(r'<Item[^>]*name="(?:[^"]*#)?(?:_FillValue|missing_value|NODATA_VALUES?|nodata)"[^>]*>([^<]+)</Item>', re.IGNORECASE)


@dataclass
class Directory:
    """One page's tags.

    Attributes:
        tags: number → values; texts and bytes as one bytes value.
        following: offset of the next page's, 0 for none.
    """

    tags: dict[int, tuple]
    following: int


class Tiff:
    """The structure of a file; its pixels are read by :meth:`load`.

    Args:
        data: the whole file.
        at: offset of the page that is looked at; None for the first.

    Raises:
        Damaged: no such page.
    """

    def __init__(self, data: bytes, at: int | None = None) -> None:
        self._data = data
        self._order = "<" if data[:2] == b"II" else ">"
        (version,) = self._unpack("H", 2)
        # Pillow also takes headers whose two bytes stand the wrong way round.
        self.big = version in (43, 43 << 8)
        (first,) = self._unpack("Q", 8) if self.big else self._unpack("I", 4)
        self.first = first if at is None else at
        self.tags = self._directory(self.first).tags
        self.width, self.height = self._one(WIDTH, 0), self._one(HEIGHT, 0)

    def _unpack(self, kind: str, at: int) -> tuple:
        try:
            return struct.unpack_from(self._order + kind, self._data, at)
        except struct.error as error:
            raise Damaged(Message("damage.ends_too_early")) from error

    def _entries(self, at: int) -> tuple[int, int, int]:
        """Offset of the first entry, their number, and the size of one."""
        head, size = (8, 20) if self.big else (2, 12)
        if at < 8 or at + head > len(self._data):
            raise Damaged(Message("damage.directory_outside"))
        (count,) = self._unpack("Q" if self.big else "H", at)
        return at + head, min(count, (len(self._data) - at - head) // size), size

    def _following(self, at: int) -> int:
        begin, count, size = self._entries(at)
        end = begin + count * size
        if end + (8 if self.big else 4) > len(self._data):
            return 0
        return self._unpack("Q" if self.big else "I", end)[0]

    def _directory(self, at: int) -> Directory:
        begin, count, size = self._entries(at)
        tags: dict[int, tuple] = {}
        room = 8 if self.big else 4
        for entry in range(begin, begin + min(count, 1000) * size, size):
            tag, kind, number = self._unpack("HHQ" if self.big else "HHI", entry)
            form = _TYPES.get(kind)
            if form is None or tag in tags or number < 1 or (form != "s" and number > MAX_TAG_VALUES):
                continue
            length = number * struct.calcsize(form)
            place = entry + size - room
            if length > room:
                (place,) = self._unpack("Q" if self.big else "I", place)
            if place + length <= len(self._data):
                tags[tag] = self._unpack(f"{number}{form}", place)
        return Directory(tags, self._following(at))

    def _one(self, tag: int, default: int) -> int:
        value = self.tags.get(tag, (default,))[0]
        return value if isinstance(value, int) else default

    def _text(self, tag: int) -> str:
        value = self.tags.get(tag, (b"",))[0]
        return value.split(b"\0")[0].decode("utf-8", "replace").strip() if isinstance(value, bytes) else ""

    def pages(self) -> tuple[int, bool]:
        """How many pictures the file holds, smaller copies and masks of one left out, and whether all were counted."""
        count, at, seen = 0, self.first, set()
        while at and at not in seen:
            if len(seen) >= _MOST_PAGES:
                return max(count, 1), False
            seen.add(at)
            try:
                begin, entries, size = self._entries(at)
                following = self._following(at)
            except Damaged:
                break
            kind = 0
            for entry in range(begin, begin + min(entries, 4) * size, size):
                if self._unpack("H", entry)[0] == SUBFILE:
                    (kind,) = self._unpack("I", entry + size - (8 if self.big else 4))
            count += len(seen) == 1 or not kind & (_REDUCED | _MASK)
            at = following
        # ImageJ writes one directory for stacks of more than 4 GB, or of one piece.
        stack = re.match(r"ImageJ=[^\n]*\n(?:.*\n)*?images=(\d{1,9})", self._text(DESCRIPTION))
        return max(count, 1, int(stack[1]) if stack else 1), True

    @property
    def is_photograph(self) -> bool:
        """Whether it is a picture like any other: of one page, grey or coloured as the eye sees it, compressed in a usual way, and nothing said of
        where and how large it is. A grey picture of more than 8 bits is a measurement."""
        stored = self._one(COMPRESSION, NONE)
        # Pillow's JPEG is of 8 bits, and in no BigTIFF of the other byte order.
        rare = stored in _JPEG and (set(self.tags.get(BITS, (1,))) != {8} or (self.big and self._order == ">"))
        if rare or any(tag in self.tags for tag in _MEASURED) or stored not in (NONE, *STREAMS, *_PICTURES):
            return False
        stated = self._text(DESCRIPTION)[:4096]
        if stated.startswith("ImageJ=") or "<OME" in stated:
            return False
        kind, shown, alpha = self._shown()
        colours = self.channels - (alpha is not None)
        if kind in (RGB, LAB, CMYK, PALETTE):
            usual = self._one(PHOTOMETRIC, 1) in (2, 3, 5, 6, 8, 9, 34892) and colours == {PALETTE: 1, CMYK: 4}.get(kind, 3)
        else:
            usual = colours == 1 and self.bits <= 8 and self._one(FORMAT, 1) in (1, 4)
        # Faxes and scans of several pages are read by Pillow, whose libtiff knows their compression.
        return usual and (self._one(COMPRESSION, NONE) in _FAX or self.pages()[0] == 1)

    @property
    def bits(self) -> int:
        """Of one sample."""
        return self._one(BITS, 1)

    @property
    def channels(self) -> int:
        """Samples per pixel."""
        return self._one(SAMPLES, 1)

    def pillow_reads_it(self) -> bool:
        """Whether Pillow gives the right pixels, or is to refuse it."""
        bits, photometric, count = self.tags.get(BITS, (1,)), self._one(PHOTOMETRIC, 0), self.channels
        plain = set(self.tags.get(FORMAT, (1,))) == {1}
        if self._one(COMPRESSION, NONE) in _PICTURES or photometric == 6:
            return True
        if not plain or (self.big and self._order == ">"):
            return False
        if count == 1:
            return bits[0] in (1, 2, 4, 8) and photometric in (0, 1, 3)
        if set(bits) != {8} or self._one(PLANAR, 1) != 1:
            return False
        # A fourth channel that is not said to be alpha deserves a note.
        alpha = photometric == 2 and count == 4 and self.tags.get(EXTRA) in ((1,), (2,))
        return alpha or (photometric, count) in ((2, 3), (5, 4), (8, 3))

    @property
    def _dtype(self) -> np.dtype:
        bits, form = self.bits, self._one(FORMAT, 1)
        if len(set(self.tags.get(BITS, (1,)))) > 1 or len(set(self.tags.get(FORMAT, (1,)))) > 1:
            raise TiffError(Message("tiff.depths_differ"))
        if form in (1, 4):
            if bits in (8, 16, 32, 64):
                return np.dtype(f"u{bits // 8}")
            if 1 <= bits < 16:
                return np.dtype("u1" if bits < 8 else "u2")
        if form == 2 and bits in (8, 16, 32, 64):
            return np.dtype(f"i{bits // 8}")
        if form == 3 and bits in (16, 32, 64):
            return np.dtype(f"f{bits // 8}")
        keys = {1: "tiff.whole_numbers", 2: "tiff.signed_numbers", 3: "tiff.fractions", 5: "tiff.complex_numbers", 6: "tiff.complex_numbers"}
        raise TiffError(Message(keys[form], bits=bits) if form in keys else Message("tiff.unknown_form"))

    def _shown(self) -> tuple[str, list[int], int | None]:
        """Kind of the samples, channels that are shown, and the one that is alpha."""
        count, photometric = self.channels, self._one(PHOTOMETRIC, 1)
        if not 1 <= count <= 65_535:
            raise Damaged(Message("damage.channel_count"))
        extra = self.tags.get(EXTRA, ())
        own = count - len(extra) if len(extra) < count else count
        alpha = next((own + index for index, kind in enumerate(extra) if kind in (1, 2)), None)
        colours = [channel for channel in range(count) if channel != alpha]
        if photometric == 3 and COLORS in self.tags:
            return PALETTE, [0], None
        if photometric == 5 and count >= 4:
            if self._one(INKS, 1) != 1:
                raise TiffError(Message("tiff.other_inks"))
            return CMYK, [0, 1, 2, 3], None
        if photometric in (8, 9) and count >= 3:
            return LAB, [0, 1, 2], None
        if photometric in (2, 34892) and count >= 3:
            # Without a word about the fourth, it is taken for alpha, as everywhere.
            return RGB, [0, 1, 2], 3 if count == 4 and not extra else alpha
        if photometric in (0, 1, 2, 4, 34892):
            return (RGB, colours[:3], alpha) if len(colours) >= 3 else (GREY, colours[:1], alpha)
        names = {6: "YCbCr", 10: "ITU Lab", 32803: Message("tiff.colours_of_sensor"), 32844: "LogL", 32845: "LogLuv"}
        raise TiffError(Message("tiff.colours", kind=names.get(photometric) or Message("tiff.colours_of_kind", number=photometric)))

    @property
    def cost(self) -> float:
        """Bytes of memory that :meth:`load` and what follows take at their peak, per pixel.

        Raises:
            TiffError: as for :meth:`load`.
            Damaged: as for :meth:`load`.
        """
        _, shown, alpha = self._shown()
        kept = (len(shown) + (alpha is not None)) * self._dtype.itemsize
        _, rows, row_bytes = self._segment()
        piece = max(rows * row_bytes, min(_GROUP_BYTES, self.height * row_bytes))
        copies = 1 if self._one(COMPRESSION, NONE) == NONE and self.bits % 8 == 0 else 3
        if self.bits % 8:
            copies += 8 * self._dtype.itemsize
        return max(8.0, 4 + kept + copies * piece / max(1, self.width * self.height))

    def _segment(self) -> tuple[int, int, int]:
        """Width and height in pixels of a strip or tile, and its bytes per row."""
        if TILES in self.tags or TILE_WIDTH in self.tags:
            width, rows = self._one(TILE_WIDTH, 0), self._one(TILE_HEIGHT, 0)
        else:
            width, rows = self.width, min(self._one(ROWS, self.height), self.height)
        if width < 1 or rows < 1 or width > 1 << 20 or rows > 1 << 20:
            raise Damaged(Message("damage.strips_without_size"))
        apart = self._one(PLANAR, 1) == 2
        return width, rows, (width * (1 if apart else self.channels) * self.bits + 7) // 8

    def load(self) -> Samples:
        """The samples that are shown.

        Raises:
            TiffError: a kind of TIFF that is not read.
            Damaged: offsets or counts that lie.
            OSError: strips or tiles that cannot be decompressed.
        """
        kind, shown, alpha = self._shown()
        wanted = shown + ([] if alpha is None else [alpha])
        dtype = self._dtype
        nodata = self.nodata
        # Parts that were never written (sparse files of GDAL) hold no data.
        values = np.zeros((self.height, self.width, len(wanted)), dtype=dtype)
        if nodata is not None and _fits(nodata, dtype):
            values[...] = nodata
        apart = self._one(PLANAR, 1) == 2 and self.channels > 1
        if apart:
            for index, channel in enumerate(wanted):
                for rows, columns, piece in self._pieces(channel):
                    values[rows, columns, index] = piece[..., 0]
        else:
            for rows, columns, piece in self._pieces(0):
                values[rows, columns] = piece[..., wanted]
        palette = None
        if kind == PALETTE:
            palette = palette_of(self.tags[COLORS])
            if not len(palette) or dtype.kind != "u":
                raise Damaged(Message("damage.palette"))
        if self._one(PHOTOMETRIC, 1) == 9:
            values[..., 1:] ^= 1 << (self.bits - 1)  # ICC's Lab adds 128 to a and b, CIE's has a sign
        extra = self.tags.get(EXTRA, ())
        return Samples(
            values=values[..., : len(shown)],
            kind=kind,
            bits=self.bits,
            alpha=None if alpha is None else values[..., -1],
            premultiplied=alpha is not None and 1 in extra,
            palette=palette,
            inverted=self._one(PHOTOMETRIC, 1) == 0,
            turn=turn if 1 <= (turn := self._one(ORIENTATION, 1)) <= 8 else 1,
            nodata=nodata,
            profile=self.tags.get(PROFILE, (None,))[0] if isinstance(self.tags.get(PROFILE, (None,))[0], bytes) else None,
            channels=self.channels - (alpha is not None),
            notes=_channel_note(kind, shown, alpha, self),
        )

    @property
    def nodata(self) -> float | None:
        """The value that GDAL, or what GDAL converted, names for pixels without data."""
        found = _FILLER.search(self._text(METADATA))
        for text in (self._text(NODATA), found[1] if found else ""):
            if (value := nodata_of(text)) is not None:
                return value
        return None

    def _pieces(self, plane: int) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Strips or tiles of a plane, each with its place: rows, columns, samples (h, w, C)."""
        width, rows, row_bytes = self._segment()
        tiled = TILES in self.tags or TILE_WIDTH in self.tags
        offsets = self.tags.get(TILES if tiled else STRIPS) or self.tags.get(STRIPS if tiled else TILES)
        across, down = -(-self.width // width), -(-self.height // rows)
        many = across * down
        if offsets is None or len(offsets) < many * (plane + 1):
            raise Damaged(Message("damage.too_few_strips"))
        counts = self.tags.get(TILE_COUNTS if tiled else COUNTS) or self.tags.get(COUNTS if tiled else TILE_COUNTS)
        stored = self._one(COMPRESSION, NONE)
        if stored != NONE and (counts is None or len(counts) < len(offsets)):
            raise Damaged(Message("damage.strips_without_length"))
        if stored not in (NONE, *STREAMS):
            raise TiffError(Message("tiff.unknown_compression", number=stored))
        channels = 1 if self._one(PLANAR, 1) == 2 else self.channels
        group = max(1, _GROUP_BYTES // (rows * row_bytes))
        for begin in range(0, many, group):
            chosen = range(begin, min(begin + group, many))
            heights = [rows if tiled else min(rows, self.height - index // across * rows) for index in chosen]
            at = [plane * many + index for index in chosen]
            if stored == NONE:
                pieces = [self._plain(offsets[k], row_bytes, h) for k, h in zip(at, heights, strict=True)]
            else:
                spans = [(offsets[k], counts[k]) for k in at]
                pieces = self._decompressed(spans, heights, row_bytes, stored)
            for index, height, raw in zip(chosen, heights, pieces, strict=True):
                if raw is None:
                    continue  # a part that was never written
                top, left = index // across * rows, index % across * width
                samples = self._samples(raw.reshape(height, row_bytes), width, channels)
                samples = samples[: self.height - top, : self.width - left]
                yield slice(top, top + samples.shape[0]), slice(left, left + samples.shape[1]), samples

    def _plain(self, offset: int, row_bytes: int, height: int) -> np.ndarray | None:
        if not offset:
            return None
        if offset + row_bytes * height > len(self._data):
            raise Damaged(Message("damage.ends_before_pixels"))
        raw = np.frombuffer(self._data, dtype=np.uint8, count=row_bytes * height, offset=offset)
        return _reversed_bits(raw) if self._one(FILL_ORDER, 1) == 2 else raw

    def _decompressed(self, spans: list[tuple[int, int]], heights: list[int], row_bytes: int, stored: int) -> list[np.ndarray | None]:
        """The bytes of strips or tiles, through libtiff: as one grey picture of 8 bits, a row of it for each of theirs."""
        there = [index for index, (offset, count) in enumerate(spans) if offset and count]
        pieces: list[np.ndarray | None] = [None] * len(spans)
        for run in _runs(there, heights):
            parts = []
            for index in run:
                offset, count = spans[index]
                if offset + count > len(self._data):
                    raise Damaged(Message("damage.ends_before_pixels"))
                parts.append(self._data[offset : offset + count])
            file = _grey_tiff(parts, row_bytes, [heights[index] for index in run], stored, self._one(FILL_ORDER, 1))
            image = Image.open(io.BytesIO(file), formats=["TIFF"])
            raw = np.frombuffer(image.tobytes(), dtype=np.uint8)
            begin = 0
            for index in run:
                size = heights[index] * row_bytes
                pieces[index] = raw[begin : begin + size]
                begin += size
        return pieces

    def _samples(self, raw: np.ndarray, width: int, channels: int) -> np.ndarray:
        """Bytes of whole rows (h, bytes) → samples (h, w, C), predictor undone."""
        dtype, bits, predictor = self._dtype, self.bits, self._one(PREDICTOR, 1)
        height = len(raw)
        if predictor not in (1, 2, 3) or self._one(COMPRESSION, NONE) not in _PREDICTED:
            predictor = 1
        if bits % 8 or bits == 24:
            if predictor > 1:
                raise TiffError(Message("tiff.differences", bits=bits))
            return _unpacked(raw, bits, width * channels, dtype).reshape(height, width, channels)
        if predictor == 3:
            if dtype.kind != "f":
                raise Damaged(Message("damage.predictor"))
            whole = np.cumsum(raw.reshape(height, -1, channels), axis=1, dtype=np.uint8)
            planes = whole.reshape(height, dtype.itemsize, width * channels)
            values = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
            return values.reshape(height, width, channels).astype(dtype)
        values = raw.view(dtype.newbyteorder(self._order)).reshape(height, width, channels)
        if predictor == 2:
            bare = np.dtype(f"u{dtype.itemsize}")
            return np.cumsum(values.astype(dtype).view(bare), axis=1, dtype=bare).view(dtype)
        return values


def whole_first(data: bytes) -> bytes:
    """A TIFF whose header points to its first page that is no smaller copy of another: scanners and cameras put a preview before it.

    Args:
        data: a file that begins like one (:data:`seg_demo.inputs.formats.TIFF_STARTS`).

    Returns:
        ``data`` itself, unless its first page says that it is a smaller copy and one of the next few does not.
    """
    at = whole_at(data)
    return data if at is None else beginning_at(data, at)


def whole_at(data: bytes) -> int | None:
    """Where the first page of a TIFF is that is no smaller copy of another, if it is one of the first few; None for the first of all.

    Args:
        data: as for :func:`whole_first`.
    """
    try:
        file = Tiff(data)
        at, kind = file.first, file._one(SUBFILE, 0)
        for _ in range(_MOST_PREVIEWS):
            if not kind & _REDUCED:
                break
            page = file._directory(at)
            at = page.following
            kind = file._directory(at).tags.get(SUBFILE, (0,))[0] if at else _REDUCED
        if at == file.first or not at or not isinstance(kind, int) or kind & (_REDUCED | _MASK):
            return None
    except Damaged:
        return None
    return at


def beginning_at(data: bytes, at: int) -> bytes:
    """A TIFF whose header points to another of its pages.

    Args:
        data: the whole file.
        at: offset of the page's directory.
    """
    file = Tiff(data, at)
    begin, form = (8, "Q") if file.big else (4, "I")
    offset = struct.pack(file._order + form, at)
    return data[:begin] + offset + data[begin + len(offset) :]


def nodata_of(text: str) -> float | None:
    """The number that a text such as ``-9999`` or ``255 255 255`` names, or None."""
    for word in text.split()[:1]:
        # C's way to write fractions; infinity ends so too.
        for number in (word, word.rstrip("f\0")):
            try:
                return float(number)
            except ValueError:
                continue
    return None


def palette_of(stored: Sequence[int]) -> np.ndarray:
    """uint16 (K, 3): the colours of the tag ColorMap, also where it was written with 8 bits."""
    palette = np.array(stored, dtype=np.uint16)
    palette = palette[: len(palette) // 3 * 3].reshape(3, -1).T
    return palette * 257 if _is_of_8_bits(palette) else palette


def _is_of_8_bits(palette: np.ndarray) -> bool:
    """Whether a palette, whose numbers should reach to 65535, was written with numbers to 255 (as libtiff's tools test it too)."""
    return bool(palette.size) and 0 < int(palette.max()) < 256


def mend_palette(image: Image.Image) -> None:
    """Give a palette TIFF its colours where the palette was written with 8 bits, which Pillow takes for black.

    Args:
        image: of ``PIL.TiffImagePlugin``, opened, not loaded.
    """
    stored = image.tag_v2.get(COLORS)
    if image.mode == "P" and stored and _is_of_8_bits(palette := np.array(stored, dtype=np.uint16)):
        image.putpalette(palette[: len(palette) // 3 * 3].reshape(3, -1).T.astype(np.uint8).tobytes())


def let_libtiff_read(image: Image.Image) -> None:
    """Have libtiff read an uncompressed YCbCr TIFF as it reads compressed ones; Pillow takes its bytes for RGB with a pad.

    Args:
        image: of ``PIL.TiffImagePlugin``, opened, not loaded.
    """
    if image.tag_v2.get(PHOTOMETRIC) == 6 and not image.use_load_libtiff:
        width, height = image.tag_v2[WIDTH], image.tag_v2[HEIGHT]
        image.use_load_libtiff = True
        image.tile = [ImageFile._Tile("libtiff", (0, 0, width, height), 0, ("RGBX", "raw", False, image.tag_v2.offset))]


def _channel_note(kind: str, shown: list[int], alpha: int | None, file: Tiff) -> tuple[str, ...]:
    """Which channels are shown, if that is not what everybody expects."""
    usual = {GREY: 1, PALETTE: 1, RGB: 3, LAB: 3, CMYK: 4}[kind]
    count = file.channels - (alpha is not None)
    if alpha is not None and EXTRA not in file.tags:
        return (Message("images.channel_as_alpha", channels=file.channels, channel=alpha + 1),)
    if kind == RGB and file._one(PHOTOMETRIC, 1) != 2:
        return (Message("images.channels_as_rgb", count=count, red=shown[0] + 1, green=shown[1] + 1, blue=shown[2] + 1),)
    if count > usual and kind in (GREY, PALETTE):
        return (Message("images.channel_as_grey", count=count, channel=shown[0] + 1),)
    if count > usual and kind == RGB:
        return (Message("images.channels_as_rgb", count=count, red=1, green=2, blue=3),)
    if count > usual:
        return (Message("images.first_channels", count=count, shown=usual),)
    return ()


def _fits(value: float, dtype: np.dtype) -> bool:
    """Whether a type holds a value, rounded if it is one of fractions."""
    if dtype.kind == "f":
        return True
    ends = np.iinfo(dtype)
    return np.isfinite(value) and float(value).is_integer() and ends.min <= value <= ends.max


def _runs(indices: list[int], heights: list[int]) -> Iterator[list[int]]:
    """Indices in runs of which all but the last are equally high: what one TIFF can hold as its strips."""
    run: list[int] = []
    for index in indices:
        if run and (heights[run[-1]] != heights[run[0]] or heights[index] > heights[run[0]]):
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _grey_tiff(parts: list[bytes], row_bytes: int, heights: list[int], stored: int, fill_order: int) -> bytes:
    """A TIFF of 8-bit grey whose strips are ``parts``, compressed as they are."""
    count = len(parts)
    tags = {
        WIDTH: row_bytes, HEIGHT: sum(heights), BITS: 8, COMPRESSION: stored, PHOTOMETRIC: 1, FILL_ORDER: fill_order, STRIPS: None,
        SAMPLES: 1, ROWS: heights[0], COUNTS: None,
    }  # fmt: skip
    table = 8 + 2 + 12 * len(tags) + 4
    begin = table + 8 * count
    offsets = np.cumsum([begin, *map(len, parts)])[:-1].astype("<u4").tobytes()
    lengths = np.array([len(part) for part in parts], dtype="<u4").tobytes()
    rows = b""
    for tag, value in sorted(tags.items()):
        if value is not None:
            rows += struct.pack("<HHII", tag, 4, 1, value)
        elif count == 1:
            rows += struct.pack("<HHI", tag, 4, 1) + (offsets if tag == STRIPS else lengths)
        else:
            rows += struct.pack("<HHII", tag, 4, count, table if tag == STRIPS else table + 4 * count)
    return b"".join([b"II*\0\x08\0\0\0", struct.pack("<H", len(tags)), rows, bytes(4), offsets, lengths, *parts])


def _reversed_bits(raw: np.ndarray) -> np.ndarray:
    return np.packbits(np.unpackbits(raw, bitorder="little"))


def _unpacked(raw: np.ndarray, bits: int, count: int, dtype: np.dtype) -> np.ndarray:
    """Samples of 1 to 15 bits, highest bit first, rows padded to whole bytes: (h, count)."""
    if not 1 <= bits <= 16:
        raise PixelError(Message("pixels.bits", bits=bits))
    flat = np.unpackbits(raw, axis=1, count=count * bits).reshape(len(raw), count, bits)
    values = np.zeros((len(raw), count), dtype=dtype)
    for bit in range(bits):
        values = (values << 1) | flat[..., bit].astype(dtype)
    return values

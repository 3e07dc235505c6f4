"""What a file is, by its first bytes and never by its name: the formats that are read, and a name for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from seg_demo.messages import Message

_HEAD = 1024


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

_READ = (
    (b"\xff\xd8\xff", Kind("jpeg", "JPEG")),
    (b"\x89PNG\r\n\x1a\n", Kind("png", "PNG")),
    (b"GIF87a", Kind("gif", "GIF")),
    (b"GIF89a", Kind("gif", "GIF")),
    (b"II*\x00", Kind("tiff", "TIFF")),
    (b"MM\x00*", Kind("tiff", "TIFF")),
    (b"II+\x00", Kind("tiff", "TIFF")),
    (b"MM\x00+", Kind("tiff", "TIFF")),
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


def accepted() -> str:
    """The formats that are read, for a sentence."""
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


def identify(data: bytes) -> Kind:
    """What a file is.

    Args:
        data: the file, or at least its first kilobyte.

    Returns:
        Its kind; ``format`` is None where it is not read.
    """
    head = bytes(data[:_HEAD])
    for magic, kind in _READ:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return Kind("webp", "WEBP") if head[8:12] == b"WEBP" else Kind("sound_or_video", None, _FRAME)
    if head[4:8] == b"ftyp":
        return _boxed(head)
    if head[128:132] == b"DICM":
        return Kind("dicom", None, _CONVERT)
    for magic, kind in _REFUSED:
        if head.startswith(magic):
            return kind
    return _text(head) or _UNKNOWN

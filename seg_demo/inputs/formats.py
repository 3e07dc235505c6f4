"""What a file is, by its first bytes and never by its name: the formats that are read, and a name for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

_HEAD = 1024


@dataclass(frozen=True)
class Kind:
    """What the first bytes say.

    Attributes:
        name: as it reads in a sentence after "This is", such as ``a PDF document``.
        format: Pillow's name of the format if it is read, else None.
        advice: what a person can do who has such a file; empty if it is read.
    """

    name: str
    format: str | None
    advice: str = ""


_SAVE = "Save it as PNG or JPEG and send that."
_EXPORT = "Export the page or drawing as PNG and send that."
_UNPACK = "Unpack it and send one of the images inside."
_FRAME = "Save one frame as PNG or JPEG and send that."
_CONVERT = "Save it as PNG, TIFF or JPEG with the program that made it and send that."

_READ = (
    (b"\xff\xd8\xff", Kind("a JPEG", "JPEG")),
    (b"\x89PNG\r\n\x1a\n", Kind("a PNG", "PNG")),
    (b"GIF87a", Kind("a GIF", "GIF")),
    (b"GIF89a", Kind("a GIF", "GIF")),
    (b"II*\x00", Kind("a TIFF", "TIFF")),
    (b"MM\x00*", Kind("a TIFF", "TIFF")),
    (b"II+\x00", Kind("a TIFF", "TIFF")),
    (b"MM\x00+", Kind("a TIFF", "TIFF")),
    (b"BM", Kind("a BMP", "BMP")),
)
_REFUSED = (
    (b"%PDF", Kind("a PDF document", None, _EXPORT)),
    (b"%!PS", Kind("a PostScript document", None, _EXPORT)),
    (b"PK\x03\x04", Kind("a ZIP archive or an office document", None, _UNPACK)),
    (b"\x1f\x8b", Kind("a gzip archive", None, _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", None, _UNPACK)),
    (b"Rar!", Kind("a RAR archive", None, _UNPACK)),
    (b"BZh", Kind("a bzip2 archive", None, _UNPACK)),
    (b"8BPS", Kind("a Photoshop document", None, _SAVE)),
    (b"\x00\x00\x00\x0cjP  ", Kind("a JPEG 2000 image", None, _SAVE)),
    (b"\xff\x4f\xff\x51", Kind("a JPEG 2000 image", None, _SAVE)),
    (b"\x00\x00\x00\x0cJXL ", Kind("a JPEG XL image", None, _SAVE)),
    (b"\xff\x0a", Kind("a JPEG XL image", None, _SAVE)),
    (b"\x00\x00\x01\x00", Kind("an icon file", None, _SAVE)),
    (b"DDS ", Kind("a DDS texture", None, _SAVE)),
    (b"qoif", Kind("a QOI image", None, _SAVE)),
    (b"v/1\x01", Kind("an OpenEXR image", None, _SAVE)),
    (b"\x89HDF", Kind("an HDF5 file", None, _CONVERT)),
    (b"\x93NUMPY", Kind("a NumPy array file", None, _CONVERT)),
    (b"SIMPLE  =", Kind("a FITS file", None, _CONVERT)),
    (b"\x1aE\xdf\xa3", Kind("a video", None, _FRAME)),
    (b"\x7fELF", Kind("a program", None, "Send an image.")),
    (b"MZ", Kind("a program", None, "Send an image.")),
    (b"ID3", Kind("a sound file", None, "Send an image.")),
    (b"OggS", Kind("a sound or video file", None, _FRAME)),
)
_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_UNKNOWN = Kind("a file of a kind that is not known here", None, "Send an image, saved as PNG or JPEG.")


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
    return "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC" if _reads_heic() else "JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF"


def _boxed(head: bytes) -> Kind:
    """The kind of a file that begins with an ISO ``ftyp`` box: AVIF, HEIC or a video."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if brands.intersection(_AVIF):
        return Kind("an AVIF", "AVIF")
    if brands.intersection(_HEIC):
        advice = "Save it as JPEG (on a phone: camera format \"most compatible\") and send that."
        return Kind("a HEIC photo", "HEIF" if _reads_heic() else None, advice)
    return Kind("a video", None, _FRAME)


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
        return Kind("an SVG drawing", None, _EXPORT)
    if start.startswith(("<!doctype html", "<html", "<head", "<body")) or "<html" in start:
        return Kind("a web page", None, "Open it, save the image itself (not the page) and send that.")
    if start.startswith(("{", "[")):
        return Kind("a JSON file", None, "Send the image that it describes.")
    return Kind("a text file", None, "Send an image, saved as PNG or JPEG.")


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
        return Kind("a WebP", "WEBP") if head[8:12] == b"WEBP" else Kind("a sound or video file", None, _FRAME)
    if head[4:8] == b"ftyp":
        return _boxed(head)
    if head[128:132] == b"DICM":
        return Kind("a DICOM file", None, _CONVERT)
    for magic, kind in _REFUSED:
        if head.startswith(magic):
            return kind
    return _text(head) or _UNKNOWN

"""Whether a mask's file was compressed with loss, so that its numbers are not those that were drawn."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from seg_demo.inputs.formats import identify

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

"""The bytes behind what is sent, and how many of them and of their pixels are accepted. Nothing is decoded here."""

from __future__ import annotations

import base64
import binascii
import os
import stat
import threading
import urllib.parse
from dataclasses import dataclass

from PIL import Image

from seg_demo.errors import BadImageError
from seg_demo.inputs.formats import accepted
from seg_demo.settings import settings


_raising = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """What is accepted at most.

    Attributes:
        pixels: height times width.
        bytes: size of the file.
        side: longest side in pixels.
    """

    pixels: int
    bytes: int
    side: int

    def __str__(self) -> str:
        megabytes, megapixels = self.bytes / 1e6, self.pixels / 1e6
        return f"{accepted()} up to {megabytes:.4g} MB, {megapixels:.4g} megapixels and {self.side:,} pixels a side"


def _let_pillow(pixels: int) -> None:
    """Raise Pillow's own limit, which warns of more than 89 megapixels and refuses the double, to what an owner accepts.

    It holds for the whole process and is asked by every thread: it is only ever raised, and sizes are checked here.
    """
    if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
        with _raising:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, pixels)


def limits_of(max_pixels: int | None, max_bytes: int | None, max_side: int | None) -> Limits:
    """The limits of one call: what is None comes from the settings."""
    owner = settings()
    pixels = owner.max_pixels if max_pixels is None else max_pixels
    _let_pillow(pixels)
    return Limits(
        pixels,
        owner.max_bytes if max_bytes is None else max_bytes,
        owner.max_side if max_side is None else max_side,
    )


def refuse(what: str, limits: Limits, advice: str) -> BadImageError:
    """What came, what is accepted, what to do."""
    return BadImageError(f"{what} Accepted are {limits}. {advice}")


def check_bytes(size: int, limits: Limits) -> None:
    """BadImageError if a file is empty or too large."""
    if size == 0:
        raise refuse("This file is empty.", limits, "Save or download the image again and send that.")
    if size > limits.bytes:
        advice = "Save it smaller or as JPEG and send that."
        raise refuse(f"This file has {size / 1e6:,.1f} MB, more than is accepted.", limits, advice)


def check_size(width: int, height: int, limits: Limits) -> None:
    """BadImageError if an image has no pixels or too many."""
    if width < 1 or height < 1:
        raise refuse(f"This image has {width} x {height} pixels, so there is nothing to see.", limits, "Send another one.")
    if width * height > limits.pixels or max(width, height) > limits.side:
        size = f"{width:,} x {height:,} pixels ({width * height / 1e6:,.1f} megapixels)"
        advice = "Scale it down or cut out a part and send that."
        raise refuse(f"This image has {size}, more than is accepted.", limits, advice)


def read_file(path: str | os.PathLike, limits: Limits) -> bytes:
    """The bytes of an ordinary file; its size is checked before it is read."""
    name = os.path.basename(os.fspath(path))[:80]
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
            raise refuse(f"{name!r} is {what}.", limits, "Name one image file.")
        check_bytes(status.st_size, limits)
        with open(path, "rb") as file:
            return file.read(limits.bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "that is no name of a file"
        raise refuse(f"The file {name!r} cannot be read ({reason}).", limits, "Check its name and its rights.") from error


def read_text(text: str, limits: Limits) -> bytes:
    """The bytes behind a ``data:`` URL or a path. Nothing is ever downloaded."""
    scheme = text[:32].partition(":")[0].strip().lower()
    if scheme == "data":
        head, comma, body = text.partition(",")
        coded = head.lower().endswith(";base64")
        # Base64 makes 4 characters of 3 bytes, percent signs at most 3 of one: too long is too large, before decoding.
        check_bytes(len(body) * 3 // 4 if coded else len(body) // 3 + 1, limits)
        try:
            if not comma:
                raise ValueError("no comma")
            raw = urllib.parse.unquote_to_bytes(body)
            return base64.b64decode(b"".join(raw.split()), validate=True) if coded else raw
        except (ValueError, binascii.Error) as error:
            advice = "It must look like data:image/png;base64, followed by the file in base64."
            raise refuse("This data: URL cannot be read.", limits, advice) from error
    if scheme in ("http", "https", "ftp", "ftps", "file", "blob") and ":" in text[:32]:
        raise refuse("This is a URL, and URLs are not downloaded.", limits, "Download the image and send the file.")
    return read_file(text, limits)

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
from seg_demo.messages import Message
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

    def message(self) -> Message:
        """What is accepted, for a sentence."""
        return Message("images.limits", formats=accepted(), megabytes=self.bytes / 1e6, megapixels=self.pixels / 1e6, side=self.side)


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


def read_file(path: str | os.PathLike, limits: Limits) -> bytes:
    """The bytes of an ordinary file; its size is checked before it is read."""
    name = os.path.basename(os.fspath(path))[:80]
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            key = "images.is_a_folder" if stat.S_ISDIR(status.st_mode) else "images.no_ordinary_file"
            raise refuse(Message(key, name=name), limits, Message("advice.name_a_file"))
        check_bytes(status.st_size, limits)
        with open(path, "rb") as file:
            return file.read(limits.bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or Message("images.no_file_name")
        raise refuse(Message("images.file_unreadable", name=name, reason=reason), limits, Message("advice.check_name")) from error


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
            raise refuse(Message("images.bad_data_url"), limits, Message("advice.data_url")) from error
    if scheme in ("http", "https", "ftp", "ftps", "file", "blob") and ":" in text[:32]:
        raise refuse(Message("images.is_a_url"), limits, Message("advice.download"))
    return read_file(text, limits)

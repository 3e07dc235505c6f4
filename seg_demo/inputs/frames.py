"""How many pictures a file holds, of which the first is shown, counted without decoding any."""

from __future__ import annotations

from PIL import Image

from seg_demo.inputs.tiff import Tiff
from seg_demo.messages import Message

# Sub-blocks of a GIF that are skipped before counting ends: 50 MB of a usual one.
_MOST_BLOCKS = 200_000
# Keys of the sentences: the number is exact, or the least.
_PAGES = "images.pages", "images.more_pages"
_FRAMES = "images.frames", "images.more_frames"
_PICTURES = ("images.pictures",)


def note_of_frames(image: Image.Image | Tiff, data: bytes) -> tuple[str, ...]:
    """A sentence on which page, frame or picture is shown, if the file has several.

    The second picture of a JPEG (of phones: brightness, depth, a preview) belongs to the first, and is not worth a word.

    Args:
        image: opened.
        data: the whole file.
    """
    if isinstance(image, Tiff):
        return _note(_PAGES, *image.pages())
    if image.format == "GIF":
        return _note(_FRAMES, *gif_frames(data))
    if image.format in ("PNG", "WEBP", "AVIF"):
        return _note(_FRAMES, getattr(image, "n_frames", 1), True)
    if image.format == "HEIF":
        return _note(_PICTURES, getattr(image, "n_frames", 1), True)
    return ()


def _note(keys: tuple[str, ...], count: int, exact: bool) -> tuple[str, ...]:
    return (Message(keys[not exact], count=count),) if count > 1 or not exact else ()


def gif_frames(data: bytes) -> tuple[int, bool]:
    """Frames of a GIF, and whether all were counted. Source: GIF89a specification.

    Args:
        data: the whole file.
    """

    def table(at: int) -> int:
        return 3 * 2 ** ((data[at] & 7) + 1) if data[at] & 0x80 else 0

    frames = blocks = 0
    try:
        at = 13 + table(10)
        while data[at] in (0x21, 0x2C):
            if data[at] == 0x2C:
                frames += 1
                at += 11 + table(at + 9)
            else:
                at += 2
            while data[at]:
                at += 1 + data[at]
                blocks += 1
                if blocks > _MOST_BLOCKS:
                    return frames, False
            at += 1
    except IndexError:
        pass  # cut off; whether the first frame is whole, its decoder says
    return frames, True

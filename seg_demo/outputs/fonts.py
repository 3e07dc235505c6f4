"""Fonts for text in pictures: Pillow's own, which knows ASCII, and for other signs those of the system."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Where systems keep fonts, and what those that know many signs are called: European ones first, then Chinese ones.
_FOLDERS = {
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts"),
    "win32": ("C:/Windows/Fonts",),
}
_NAMES = (
    "DejaVuSans", "LiberationSans", "NotoSans-", "Helvetica", "arial", "NotoSansCJK", "NotoSansSC", "SourceHanSans", "wqy-microhei",
    "wqy-zenhei", "DroidSansFallback", "PingFang", "Hiragino", "STHeiti", "Arial Unicode", "msyh", "simhei", "simsun",
)  # fmt: skip
_SUFFIXES = (".ttf", ".ttc", ".otf")


def drawable(text: str, size: int) -> tuple[str, Font]:
    """A text as it can be drawn, and the font to draw it with.

    Args:
        text: anything.
        size: of the font in pixels.

    Returns:
        The text, in which control signs are blanks, and signs that the font lacks are their plain letter or ``?``; and the
        font that has most of its signs.
    """
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    signs = {sign for sign in text if not sign.isspace()}
    best, most = ImageFont.load_default(size), -1
    for font in _candidates(size):
        known = sum(_has(font, sign) for sign in signs)
        if known > most:
            best, most = font, known
        if known == len(signs):
            break
    return "".join(sign if sign.isspace() or _has(best, sign) else _plain(sign) for sign in text), best


def _candidates(size: int) -> Iterator[Font]:
    yield ImageFont.load_default(size)
    for path in _of_system():
        try:
            font = ImageFont.truetype(path, size)
        except OSError:
            continue  # damaged, or not a font that Pillow reads
        yield font


def _has(font: Font, sign: str) -> bool:
    """Whether a font draws a sign; what it lacks it draws as it draws a sign that does not exist."""
    return bytes(font.getmask(sign)) != bytes(font.getmask("\uffff"))


def _plain(sign: str) -> str:
    """The letter without its accent, or a question mark."""
    letter = unicodedata.normalize("NFKD", sign)[0]
    return letter if letter.isascii() else "?"


@lru_cache(maxsize=1)
def _of_system() -> tuple[str, ...]:
    """The paths of the system's fonts of the names above, one for each name, in their order."""
    # Regular ones before bold and slanted ones, whose names are longer.
    found = sorted(_files(), key=lambda path: ("regular" not in path.stem.casefold(), len(path.stem), path.stem))
    first = (next((path for path in found if path.stem.casefold().startswith(name.casefold())), None) for name in _NAMES)
    return tuple(str(path) for path in first if path is not None)


def _files() -> Iterator[Path]:
    for folder in _FOLDERS.get(sys.platform, ()):
        place = Path(folder).expanduser()
        if place.is_dir():
            yield from (path for path in place.rglob("*") if path.suffix.lower() in _SUFFIXES)

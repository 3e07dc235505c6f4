"""A contact sheet: every image of a batch as a small picture with its name, so that a person sees at a glance what went wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seg_demo.outputs import fonts

TILE = 232
CAPTION = 38
GAP = 12
COLUMNS = 6
MOST_TILES = 300
# Half the side of the cross that stands for an image that failed.
_CROSS = 22
_PAPER, _FRAME, _INK, _SOFT, _FAULT = (255, 255, 255), (236, 237, 235), (25, 28, 26), (99, 103, 98), (176, 36, 36)


class ContactSheet:
    """A grid that is filled one picture at a time; only the sheet itself is in memory, at most 300 tiles (62 MB).

    Args:
        images: how many there will be; those beyond :data:`MOST_TILES` are only counted.
    """

    def __init__(self, images: int) -> None:
        self._total = images
        self._shown = max(1, min(images, MOST_TILES))
        self._columns = min(COLUMNS, self._shown)
        rows = -(-self._shown // self._columns)
        height = rows * (TILE + CAPTION + GAP) + GAP + (CAPTION if images > self._shown else 0)
        self._sheet = Image.new("RGB", (self._columns * (TILE + GAP) + GAP, height), _PAPER)
        self._draw = ImageDraw.Draw(self._sheet)
        self._count = 0

    def add(self, name: str, picture: np.ndarray | None, note: str) -> None:
        """Put the next picture on the sheet.

        Args:
            name: of the image.
            picture: uint8 (H, W, 3), usually the overlay; None for an image that failed, which gets an empty frame.
            note: the line below the name, such as what was counted, or why it failed.
        """
        if self._count >= self._shown:
            self._count += 1
            return
        row, column = divmod(self._count, self._columns)
        left, top = GAP + column * (TILE + GAP), GAP + row * (TILE + CAPTION + GAP)
        self._draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=_FRAME)
        if picture is None:
            x, y = left + TILE // 2, top + TILE // 2
            self._draw.line((x - _CROSS, y - _CROSS, x + _CROSS, y + _CROSS), fill=_FAULT, width=5)
            self._draw.line((x - _CROSS, y + _CROSS, x + _CROSS, y - _CROSS), fill=_FAULT, width=5)
        else:
            small = thumbnail(picture, TILE)
            self._sheet.paste(small, (left + (TILE - small.width) // 2, top + (TILE - small.height) // 2))
        ink = _INK if picture is not None else _FAULT
        # By their baselines: fonts differ in what is above it.
        for text, size, y, color, keep_end in ((name, 14, 16, ink, True), (note, 12, 32, _SOFT, False)):
            drawn, font = fonts.drawable(text, size)
            self._draw.text((left, top + TILE + y), self._fitting(drawn, font, keep_end), fill=color, font=font, anchor="ls")
        self._count += 1

    def save(self, path: Path) -> None:
        """Write the sheet as a PNG."""
        if self._total > self._shown:
            text = f"and {self._total - self._shown} more images, which the tables list"
            self._draw.text((GAP, self._sheet.height - CAPTION), text, fill=_SOFT, font=ImageFont.load_default(14))
        self._sheet.save(path, "PNG", compress_level=4)

    def _fitting(self, text: str, font: fonts.Font, keep_end: bool) -> str:
        """The text, cut with an ellipsis to the width of a tile; of file names the end says more than the beginning."""
        text = text[-300 if keep_end else 0 :][:300]
        if self._draw.textlength(text, font=font) <= TILE:
            return text
        while text and self._draw.textlength("…" + text, font=font) > TILE:
            text = text[1:] if keep_end else text[:-1]
        return "…" + text if keep_end else text + "…"


def thumbnail(picture: np.ndarray, side: int) -> Image.Image:
    """A picture within a square, its sides in proportion; averaged when it shrinks, repeated pixels when it grows.

    Args:
        picture: uint8 (H, W, 3).
        side: of the square in pixels.
    """
    image = Image.fromarray(picture)
    scale = side / max(image.size)
    size = tuple(max(1, round(length * scale)) for length in image.size)
    return image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST, reducing_gap=None)

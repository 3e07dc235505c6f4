"""Every sign of a file name is drawn, or said to be missing."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from seg_demo.outputs import batch


def drawn(text: str, font: batch.Font) -> bytes:
    sheet = Image.new("L", (60, 40))
    ImageDraw.Draw(sheet).text((4, 4), text, fill=255, font=font)
    return sheet.tobytes()


def test_ascii_needs_no_font_of_the_system(monkeypatch):
    monkeypatch.setattr(batch, "_of_system", lambda: pytest.fail("not needed"))
    assert batch.drawable("cells (1) #7\n[x]~.png", 14)[0] == "cells (1) #7 [x]~.png"


def test_without_fonts_accents_go_and_other_signs_are_question_marks(monkeypatch):
    monkeypatch.setattr(batch, "_of_system", lambda: ())
    assert batch.drawable("Zellträger é 细胞 7.png", 14)[0] == "Zelltrager e ?? 7.png"


@pytest.mark.parametrize("text", ["Größe ½ µm ñ", "细胞 7.png", "細胞 ä"])
def test_the_system_draws_them_where_it_can(text):
    shown, font = batch.drawable(text, 14)
    missing = [sign for sign in text if not sign.isspace() and drawn(sign, font) == drawn("\uffff", font)]
    if missing:
        pytest.skip(f"No font with {missing} is installed.")
    assert shown == text and len({drawn(sign, font) for sign in set(text) - {" "}}) == len(set(text) - {" "})

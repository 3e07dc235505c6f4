"""Files made by hand, each aiming at one thing that a decoder may get wrong: at the door, and on the running demo."""

from __future__ import annotations

import time

import numpy as np
import pytest

from seg_demo.core.errors import BadImageError
from seg_demo.inputs.images import decode
from tests.stranger_images import FAMILIES
from tests.surface import functions, http  # noqa: F401  (fixtures)
from tests.inputs.test_images_hostile import SECONDS, campaign, slowness


@pytest.mark.parametrize("family", FAMILIES)
def test_the_door_gives_the_right_pixels_or_a_sentence(family):
    """Where the file says what its pixels are, those; else whatever decodes, or why it does not; soon in any case."""
    for number, (data, wanted) in enumerate(FAMILIES[family]()):
        began = time.monotonic()
        try:
            found = decode(data)
        except BadImageError as error:
            assert wanted is None and len(str(error)) > 80, f"file {number}: {error}"
            found = None
        assert time.monotonic() - began < SECONDS * slowness(), number
        if wanted is not None:
            assert found.shape == wanted.shape, number
            # A megapixel of it: the large ones are alike everywhere.
            apart = np.abs(found[:1000, :1000].astype(int) - wanted[:1000, :1000])
            assert apart.mean() < 1, (number, apart.mean())


def test_files_made_by_hand_get_a_result_or_a_sentence(http, functions):  # noqa: F811
    made = {family: make() for family, make in FAMILIES.items()}
    assert len(made) >= 13 and sum(map(len, made.values())) > 180
    # One of each family: its first and its last by turns, which are mostly a sound and a broken one. All are looked at above.
    campaign(http, functions, [files[-(number % 2)][0] for number, files in enumerate(made.values())])


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_files_made_by_hand(http, functions):  # noqa: F811
    """Each twice, so that it comes by the page's way and by the API's."""
    campaign(http, functions, [data for make in FAMILIES.values() for data, _ in make() for _ in range(2)])

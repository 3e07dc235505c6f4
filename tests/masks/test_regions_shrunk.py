"""Large pictures made small in bands are those that Pillow makes at once, in far less memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from seg_demo.masks.regions import fitting, shrunk
from tests.served import ROOT


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(2500, 1900, (640, 842)), (2000, 2100, (2100, 2000)), (4001, 1003, (500, 1999)), (3, 9000, (2560, 1)), (9000, 3, (1, 2560)), (17, 13, (13, 17)), (1, 1, (1, 1))],
)
def test_it_is_pillows(height, width, size):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found, wanted = np.asarray(shrunk(image, size)), np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    assert found.shape == wanted.shape and np.abs(found.astype(int) - wanted).max() <= 1


def test_sizes_keep_their_shape():
    for width, height in ((4032, 3024), (1, 20_000), (2561, 2560), (7, 5)):
        small = fitting(width, height, 2560)
        assert max(small) <= 2560 and min(small) >= 1
        assert small == (width, height) or max(small) == 2560


def test_the_preview_of_49_megapixels_takes_little_memory():
    code = (
        "import numpy as np\nfrom seg_demo.ui.results import preview_of\n"
        "def kilobytes(name): return int(next(l for l in open('/proc/self/status') if l.startswith(name)).split()[1])\n"
        "preview_of(np.zeros((9, 9, 3), np.uint8)); image = np.full((7000, 7000, 3), 90, np.uint8); before = kilobytes('VmRSS')\n"
        "open('/proc/self/clear_refs', 'w').write('5'); preview_of(image); print((kilobytes('VmHWM') - before) / 1000)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 120

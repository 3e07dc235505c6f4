"""Classical regions: they cover what they should, at any size, and every parameter does something."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.filters import threshold_otsu

from seg_demo.core.errors import BadRequestError
from seg_demo.core.types import Segmentation, paint
from seg_demo.masks import regions
from seg_demo.masks.regions import fitting, shrunk
from tests.served import ROOT

RNG = np.random.default_rng(0)


def disks(height: int = 60, width: int = 90, bright: bool = True) -> np.ndarray:
    """Three disks and a speck on a plain ground, with a little noise."""
    y, x = np.mgrid[:height, :width]
    image = np.full((height, width), 60.0)
    for cy, cx, radius in ((15, 20, 9), (40, 30, 12), (30, 70, 14), (50, 55, 1)):
        image[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = 190
    image = image if bright else 250 - image
    noisy = np.clip(image + RNG.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    return np.repeat(noisy[..., None], 3, axis=2)


def check(result: Segmentation, image: np.ndarray) -> None:
    """What holds for every region result."""
    assert result.task == "region" and (result.height, result.width) == image.shape[:2]
    assert result.labels.names == ("background", "region") and result.labels.background == 0
    assert all(segment.score is None and segment.label_id == 1 and segment.mask.any() for segment in result.segments)
    np.testing.assert_array_equal(paint(result.segments, result.height, result.width), result.id_map)
    assert sum(result.areas) == np.count_nonzero(result.id_map)


def mixed(result: Segmentation, inside: np.ndarray) -> int:
    """Pixels of regions on the wrong side of an outline: of each region those on the side where it has fewer."""
    masks = [result.id_map == identity for identity in result.ids]
    return sum(int(min(mask[inside].sum(), mask[~inside].sum())) for mask in masks)


@pytest.mark.parametrize("bright", [True, False])
def test_otsu_finds_objects_of_either_side(bright: bool) -> None:
    image = disks(bright=bright)
    result = regions.segment(image, "otsu", min_area=0.5)
    check(result, image)
    wanted = [math.pi * radius**2 for radius in (9, 12, 14)]
    assert sorted(result.areas) == pytest.approx(wanted, rel=0.1)
    assert len(regions.segment(image, "otsu", min_area=0).segments) >= 4
    other = regions.segment(image, "otsu", objects=-1 if bright else 1)
    assert max(other.areas) > 0.6 * image.shape[0] * image.shape[1]
    same = regions.segment(image, "otsu", min_area=0.5, objects=1 if bright else -1)
    np.testing.assert_array_equal(same.id_map, result.id_map)


def test_otsu_uses_its_threshold_on_a_photograph() -> None:
    coins = data.coins()
    image = np.repeat(coins[..., None], 3, axis=2)
    result = regions.segment(image, "otsu", objects=1, min_area=0)
    check(result, image)
    assert np.mean((result.id_map > 0) == (coins > threshold_otsu(coins))) > 0.95


@pytest.mark.parametrize("method", ["watershed", "slic", "felzenszwalb"])
def test_regions_tile_the_picture_and_follow_outlines(method: str) -> None:
    image = disks()
    result = regions.segment(image, method, **({"min_area": 0.5} if method != "slic" else {"regions": 60}))
    check(result, image)
    assert (result.id_map > 0).all() and len(result.segments) >= 4
    # Every region lies nearly on one side of the disks' outlines.
    inside = image[..., 0] > 125
    assert mixed(result, inside) < 0.03 * inside.size


@pytest.mark.parametrize("method", regions.METHODS)
def test_every_parameter_changes_something(method: str) -> None:
    image = disks()
    ids = regions.segment(image, method).id_map
    for parameter in regions.METHODS[method].parameters:
        assert parameter.min <= parameter.default <= parameter.max and parameter.step > 0 and parameter.help.endswith(".")
        ends = [regions.segment(image, method, **{parameter.name: value}) for value in (parameter.min, parameter.max)]
        for result in ends:
            check(result, image)
        assert any(not np.array_equal(result.id_map, ids) for result in ends)
        same = regions.segment(image, method, **{parameter.name: parameter.default})
        np.testing.assert_array_equal(same.id_map, ids)


@pytest.mark.parametrize("method", regions.METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 2), (5, 33), (37, 41)])
def test_odd_sizes_noise_and_constant_pictures(method: str, size: tuple[int, int]) -> None:
    noise = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    check(regions.segment(noise, method), noise)
    constant = np.full((*size, 3), 77, np.uint8)
    result = regions.segment(constant, method)
    assert result.segments == () and not result.id_map.any() and result.to_dict()["segments"] == []


@pytest.mark.parametrize("method", ["watershed", "slic", "felzenszwalb"])
def test_large_pictures_are_computed_smaller(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = disks(121, 203)
    small = regions.Method(**{**vars(regions.METHODS[method]), "pixels": 5_000})
    monkeypatch.setitem(regions.METHODS, method, small)
    result = regions.segment(image, method)
    check(result, image)
    assert (result.id_map > 0).all() and len(result.segments) > 1
    # Outlines lie where those at full size do, to the width of a small pixel.
    inside = image[..., 0] > 125
    assert mixed(result, inside) < 0.05 * inside.size


@pytest.mark.soak
def test_more_pieces_than_ids_keep_the_largest() -> None:
    mask = np.zeros((600, 600), bool)
    mask[::2, ::2] = True  # 90,000 single pixels
    mask[100:110, 100:110] = True
    pieces = regions._large_pieces(mask, 1)
    assert pieces.max() == 65_535 and len(np.unique(pieces)) == 65_536 and pieces[105, 105] > 0
    result = regions._segmentation(pieces)
    assert result.id_map.dtype == np.uint16 and len(result.segments) == 65_535


@pytest.mark.parametrize(
    ("method", "parameters", "word"),
    [
        ("kmeans", {}, "otsu, watershed, slic, felzenszwalb"),
        ("slic", {"scale": 3}, "regions and compactness"),
        ("slic", {"regions": 1}, "from 2 to 5000"),
        ("slic", {"regions": float("nan")}, "nan"),
        ("slic", {"regions": True}, "True"),
        ("otsu", {"min_area": "1"}, "number from 0 to 5"),
        ("otsu", {"min_area": None}, "None"),
        ("felzenszwalb", {"scale": float("inf")}, "inf"),
    ],
)
def test_bad_requests(method: str, parameters: dict, word: str) -> None:
    with pytest.raises(BadRequestError, match=word):
        regions.segment(disks(), method, **parameters)


# Thin things keep their width.


def lines(ground: int, ink: int, place) -> tuple[np.ndarray, np.ndarray]:
    """A picture of one-pixel lines, and where they are."""
    mask = np.zeros((90, 121), bool)
    place(mask)
    image = np.full((90, 121, 3), ground, np.uint8)
    image[mask] = ink
    return image, mask


def diagonal(mask):
    mask[np.arange(90), np.arange(90) + 7] = True


@pytest.mark.parametrize("place", [lambda m: m.__setitem__((slice(None), 60), True), lambda m: m.__setitem__(41, True), diagonal])
@pytest.mark.parametrize(("ground", "ink"), [(20, 200), (230, 40), (90, 120)])
def test_a_line_of_one_pixel_stays_one_pixel(place, ground, ink):
    image, mask = lines(ground, ink, place)
    assert np.array_equal(regions.segment(image, "otsu").id_map > 0, mask)
    wide = regions.segment(image, "otsu", smoothing=1).id_map > 0
    assert ground > 20 or wide.sum() > 1.8 * mask.sum(), "what was the default doubled bright lines"


def test_single_pixels_and_gaps_stay_too():
    image, mask = lines(10, 250, lambda m: m.__setitem__((slice(1, None, 4), slice(1, None, 4)), True))
    assert np.array_equal(regions.segment(image, "otsu", min_area=0).id_map > 0, mask)
    # Two lines with a gap of one pixel between them are two.
    image, _ = lines(10, 250, lambda m: (m.__setitem__((slice(None), 50), True), m.__setitem__((slice(None), 52), True)))
    assert len(regions.segment(image, "otsu").segments) == 2 and len(regions.segment(image, "otsu", smoothing=1).segments) == 1


def test_smoothing_is_a_parameter_everywhere(tmp_path, capsys):
    import json

    from seg_demo import load_model
    from seg_demo.__main__ import main
    from seg_demo.core.errors import BadRequestError

    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(100, 45, (80, 90, 3)), 0, 255).astype(np.uint8)
    image[20:60, 20:60] = np.clip(rng.normal(170, 45, (40, 40, 3)), 0, 255)
    Image.fromarray(image).save(tmp_path / "noisy.png")
    counts = {}
    for smoothing in (None, 0, 3.0):
        counts[smoothing] = len(regions.segment(image, "otsu", **({} if smoothing is None else {"smoothing": smoothing})).segments)
        assert len(load_model("otsu").predict(image, smoothing=smoothing).segments) == counts[smoothing]
        out = tmp_path / f"out{smoothing}"
        given = ["segment", str(tmp_path / "noisy.png"), "--model", "otsu", "--out", str(out)]
        assert main(given + ([] if smoothing is None else ["--smoothing", str(smoothing)])) == 0
        assert len(json.loads((out / "noisy" / "result.json").read_text())["segments"]) == counts[smoothing]
    assert counts[None] == counts[0] > counts[3.0] == 1
    assert load_model("watershed").predict(image, smoothing=4).to_dict()["segments"] != load_model("watershed").predict(image).to_dict()["segments"]
    # Results of another smoothing are not mixed with these.
    capsys.readouterr()
    assert main(given + ["--smoothing", "2"]) == 2 and "another run" in capsys.readouterr().err
    for value in (-1, 9, float("nan"), "1", True):
        with pytest.raises(BadRequestError, match="smoothing of otsu must be a number from 0 to 8"):
            load_model("otsu").predict(image, smoothing=value)
    with pytest.raises(BadRequestError, match="has no parameter 'smoothing'"):
        load_model("slic").predict(image, smoothing=1)
    with pytest.raises(BadRequestError, match="is a network"):
        load_model("unet-cells", device="cpu").predict(image, smoothing=1)

# Large pictures made small in bands are those that Pillow makes at once, in far less memory.

@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(2500, 1900, (640, 842)), (2000, 2100, (2100, 2000)), (4001, 1003, (500, 1999)), (3, 9000, (2560, 1)), (9000, 3, (1, 2560)), (17, 13, (13, 17)), (1, 1, (1, 1))],
)
def test_a_picture_made_small_is_pillows(height, width, size):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found, wanted = np.asarray(shrunk(image, size)), np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    assert found.shape == wanted.shape and np.abs(found.astype(int) - wanted).max() <= 1

def test_sizes_keep_their_shape():
    for width, height in ((4032, 3024), (1, 20_000), (2561, 2560), (7, 5)):
        small = fitting(width, height, 2560)
        assert max(small) <= 2560 and min(small) >= 1
        assert small == (width, height) or max(small) == 2560

@pytest.mark.soak
def test_the_preview_of_49_megapixels_takes_little_memory():
    code = (
        "import numpy as np\nfrom seg_demo.ui.results import preview_of\n"
        "def kilobytes(name): return int(next(l for l in open('/proc/self/status') if l.startswith(name)).split()[1])\n"
        "preview_of(np.zeros((9, 9, 3), np.uint8)); image = np.full((7000, 7000, 3), 90, np.uint8); before = kilobytes('VmRSS')\n"
        "open('/proc/self/clear_refs', 'w').write('5'); preview_of(image); print((kilobytes('VmHWM') - before) / 1000)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    print(f"measured: {float(done.stdout):.0f} MB for the preview of 49 megapixels")
    assert float(done.stdout) < 120

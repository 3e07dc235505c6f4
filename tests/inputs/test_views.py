"""All planes of a file one by one, what a window is chosen by, and how large a file of a microscope may be."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from seg_demo.__main__ import main
from seg_demo.core.errors import BadImageError, BadRequestError
from seg_demo.core.picture import Stack, View
from seg_demo.core.settings import Settings, scientific_bytes
from seg_demo.inputs import images, planes
from tests.inputs.test_scientific import here  # noqa: F401  (a file is read in this process)
from tests.scientific_files import dicom, noise


pytestmark = pytest.mark.usefixtures("here")


def test_all_pages_are_the_planes_that_a_view_leaves_open():
    stack = Stack(pages=2, z=3, t=2)
    every = View.parse('{"page": "all", "channels": [1], "gamma": 2}').each(stack)
    assert [(view.page, view.t, view.z) for view in every] == [(page, t, z) for page in range(2) for t in range(2) for z in range(3)]
    assert {(view.channels, view.gamma) for view in every} == {((1,), 2)}
    assert [(view.page, view.t, view.z) for view in View("all", z=1).each(stack)] == [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1)]
    assert View(z=1).each(stack) == (View(z=1),) and View("all").each(None) == (View(0, 0, 0),)
    with pytest.raises(BadRequestError, match="page is a whole number"):
        View.parse('{"page": "every"}')
    with pytest.raises(BadRequestError, match="z is a whole number"):
        View.parse('{"z": "all"}')


def test_where_one_picture_is_looked_at_all_pages_are_refused(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    for call in (images.read, images.look):
        with pytest.raises(BadRequestError, match="here one page is looked at"):
            call(tmp_path / "a.png", view='{"page": "all"}')


def test_the_command_gives_every_page_a_folder_and_says_what_was_chosen(tmp_path, capsys):
    array = np.zeros((3, 40, 50), "u2")
    for index in range(3):
        array[index, 5 : 10 + 5 * index, 10:30] = 3000
    source = tmp_path / "in"
    source.mkdir()
    tifffile.imwrite(source / "cells.tif", array, photometric="minisblack")
    Image.fromarray(array[2].astype("u1") // 2).save(source / "photo.png")
    (source / "bad.tif").write_bytes(b"II*\0\x0f\x27\0\0")
    out = tmp_path / "out"
    command = ["segment", str(source), "--model", "otsu", "--out", str(out), "--view", '{"page": "all", "window": "full"}']
    assert main(command) == 1
    said = capsys.readouterr()
    assert "4 of 4 images segmented" in said.out and "bad.tif" in said.err
    assert json.loads((out / "run.json").read_text())["view"] == {"page": "all", "window": "full", "gamma": 1.0}
    for index in range(3):
        result = json.loads((out / "cells" / f"page-{index:04}" / "result.json").read_text())
        assert result["view"] == {"page": index, "z": 0, "t": 0, "channels": [0], "window": "full", "gamma": 1.0}
        assert {segment["area"] for segment in result["segments"]} == {(5 + 5 * index) * 20}
    assert (out / "photo" / "page-0000" / "mask.png").is_file()
    counts = (out / "counts.csv").read_text()
    assert "cells.tif/page-0002" in counts and "bad.tif" in (out / "failed.csv").read_text()
    # What is there is not made again, whatever cannot be read.
    assert main(command) == 1
    assert "4 of 5 images have results" in capsys.readouterr().out


def test_a_look_says_how_the_values_of_the_shown_channels_are_distributed(tmp_path):
    values = np.full((4, 100, 120), 200, "u2")
    values[1, :50] = 1000
    values[2, 0, 0] = 60_000  # a hot pixel, of which the picture says nothing
    tifffile.imwrite(tmp_path / "a.ome.tif", values, ome=True, photometric="minisblack", metadata={"axes": "CYX", "Channel": {"Name": list("abcd")}})
    found = images.look(tmp_path / "a.ome.tif", {"channels": [1, 2], "window": [100, 900]})
    told = found.distribution
    assert found.channels == ("a", "b", "c", "d") and told.ends == ((100, 900), (100, 900))
    assert (told.low, told.high) == (200, 1080) and [len(counts) for counts in told.counts] == [planes.STEPS] * 2
    assert (told.counts[0][0], sum(told.counts[0]), told.counts[1][0]) == (6000, 12_000, 11_999)
    np.testing.assert_array_equal(found.pixels, images.read(tmp_path / "a.ome.tif", view={"channels": [1, 2], "window": [100, 900]}).pixels)
    scan = np.tile(np.arange(2000, dtype="i2"), (10, 1))
    dicom(tmp_path / "ct.dcm", scan, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    told = images.look(tmp_path / "ct.dcm").distribution
    assert told.ends == ((-160, 239),) and (told.low, told.high) == (-1024, 975)
    dicom(tmp_path / "film.dcm", scan.astype("u2"), PhotometricInterpretation="MONOCHROME1")
    (ends,) = images.look(tmp_path / "film.dcm").distribution.ends
    assert ends[0] > ends[1], "the smallest value is white"
    np.save(tmp_path / "far.npy", np.array([[-1.7e308, 1.7e308]]))
    assert images.look(tmp_path / "far.npy").distribution is None
    np.save(tmp_path / "flat.npy", np.full((9, 9), 5, "u2"))
    assert images.look(tmp_path / "flat.npy").distribution.counts[0][planes.STEPS // 2] == 81
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.png")
    assert images.look(tmp_path / "photo.png") is None


def test_a_stack_may_be_larger_than_a_photograph_may(tmp_path, monkeypatch):
    monkeypatch.setenv("SEG_DEMO_MAX_BYTES", "20000")
    images.settings.cache_clear()
    try:
        array = noise("u2", 4, 100, 100)
        tifffile.imwrite(tmp_path / "stack.tif", array, photometric="minisblack")
        np.testing.assert_array_equal(images.read(tmp_path / "stack.tif", view={"page": 3, "window": "full"}).pixels[..., 0], np.rint(array[3] / 257))
        assert images.pixels_of(tmp_path / "stack.tif") == 10_000
        # A preview before the picture decides nothing.
        with tifffile.TiffWriter(tmp_path / "preview.tif") as file:
            file.write(np.zeros((10, 10, 3), "u1"), photometric="rgb", subfiletype=1)
            file.write(array[0], photometric="minisblack")
            file.write(array[1], photometric="minisblack")
        assert images.read(tmp_path / "preview.tif").pixels.shape == (100, 100, 3)
        tifffile.imwrite(tmp_path / "photo.tif", noise("u1", 100, 100, 3), photometric="rgb")
        with pytest.raises(BadImageError, match="up to 0.02 MB"):
            images.read(tmp_path / "photo.tif")
        assert images.pixels_of(tmp_path / "photo.tif") == 0
        np.save(tmp_path / "many.npy", noise("u2", 11, 100, 100))
        with pytest.raises(BadImageError, match="up to 0.2 MB"):
            images.read(tmp_path / "many.npy")
        with pytest.raises(BadImageError, match="up to 0.02 MB"):
            images.decode_mask(tmp_path / "stack.tif")
    finally:
        monkeypatch.undo()
        images.settings.cache_clear()
    assert scientific_bytes(Settings()) == 200_000_000
    assert scientific_bytes(Settings(max_scientific_bytes=50, max_bytes=70)) == 70


def test_a_network_of_one_channel_sees_an_xray_as_a_person_does(tmp_path):
    """Whichever end of the scale its file has white, and in the view's gamma; a network that takes the file's own values gets them."""
    rng = np.random.default_rng(7)
    scan = rng.integers(0, 4000, (40, 50)).astype("u2")
    dicom(tmp_path / "a.dcm", scan, WindowCenter=2000, WindowWidth=3000)
    dicom(tmp_path / "b.dcm", 4000 - scan, PhotometricInterpretation="MONOCHROME1", WindowCenter=2000, WindowWidth=3000)
    small = rng.integers(0, 256, (40, 50), dtype="u1")
    dicom(tmp_path / "c.dcm", small, PhotometricInterpretation="MONOCHROME1")
    for name, view in (("a", {}), ("b", {}), ("b", {"gamma": 0.5}), ("c", {})):
        picture = images.read(tmp_path / f"{name}.dcm", view=view, channels=1)
        values, _ = planes.for_network(picture, 1, True)
        np.testing.assert_array_equal(values[..., 0], picture.pixels[..., 0])
        assert np.array_equal(planes.for_network(picture, 1, False)[0][..., 0], {"a": scan, "b": 4000 - scan, "c": small}[name])
    seen = [planes.for_network(images.read(tmp_path / f"{name}.dcm", channels=1), 1, True)[0].astype(int) for name in "ab"]
    assert np.abs(seen[0] - seen[1]).max() <= 1

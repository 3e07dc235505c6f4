"""Rasters too large for memory: read, segmented and written part by part, each pixel, label and outline as of a picture in memory."""

from __future__ import annotations

import _ctypes
import ctypes
import csv
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import psutil
import pytest
import rasterio
import tifffile
import torch
from PIL import Image

from seg_demo import load_model, networks, workers
from seg_demo.__main__ import main
from seg_demo.core import sandbox
from seg_demo.core.errors import BadImageError, BadRequestError, StorageError
from seg_demo.core.picture import Stack, View
from seg_demo.core.requests import Options
from seg_demo.core.settings import settings
from seg_demo.core.types import mean_scores
from seg_demo.inference import rasters as windows
from seg_demo.inference.model import Model
from seg_demo.inference.tiled import plan
from seg_demo.inputs import formats, planes, scientific
from seg_demo.inputs import rasters as parts
from seg_demo.inputs.archives import Job
from seg_demo.inputs.formats import Limits
from seg_demo.inputs.images import read
from seg_demo.masks.semantic import MeanScores
from seg_demo.networks.preprocessing import Preprocessing
from seg_demo.outputs import calibrated, polygons, rasters
from seg_demo.outputs.export import geojson, pieces_of
from seg_demo.outputs.polygons import Tracer, trace
from seg_demo.workers import Loaded, Order
from tests.checkpoints import write_tiny
from tests.inputs.test_scientific import here as unlocked  # noqa: F401  (a fixture)
from tests.scientific_files import PLACES, noise, raster, variants
from tests.served import ROOT
from tests.tiled import SPEC, Count, small_unet, textured

LIMITS = Limits(1 << 34, scientific.MOST_BYTES, formats.ANY_SIDE)


@pytest.fixture(scope="module", autouse=True)
def _no_helper_is_left():
    yield
    scientific.close()


@pytest.fixture
def here(unlocked, monkeypatch):  # noqa: F811
    """As there; a few rows at a time."""
    monkeypatch.setattr(scientific, "_BAND_PIXELS", 700)


def opened(path, view=None) -> scientific.Raster:
    return scientific.Raster(path, None if view is None else View.parse(view), LIMITS)


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.soak)])
def test_every_tiff_is_read_in_parts_as_it_is_whole(tmp_path, here, every):
    """The pixels, windows, notes and calibration of every variant of a TIFF; those that are not read in parts say so."""
    wrong, count, refused = [], 0, 0
    tiffs = [variant for variant in variants(tmp_path) if variant.path.suffix in (".tif", ".tiff", ".btf")]
    for variant in tiffs[::every]:
        whole = read(variant.path, view=variant.view or {})
        try:
            with opened(variant.path, variant.view) as some:
                pixels = some[:, :]
                same = np.array_equal(pixels, whole.pixels), some.notes == whole.notes, some.view == whole.view, some.calibration == whole.calibration
        except BadImageError as error:
            refused += 1
            same = ("palette" in str(error),)
        count += 1
        if not all(same):
            wrong.append(f"{variant.family} {variant.name}: {same}")
    assert not wrong, "\n".join(wrong)
    assert count * every > 90 and refused < 12, (count, refused)


@pytest.mark.parametrize("kind", ["i1", "u2", "f4", "i8", *(pytest.param(kind, marks=pytest.mark.soak) for kind in ("i2", "u4", "i4", "f8"))])
def test_windows_of_parts_are_those_of_the_whole(tmp_path, here, kind):
    """Hot pixels, fillers, NaN and nodata, which the whole raster decides about."""
    array = (noise("f8", 61, 83) * 3).clip(-3000, 3000).astype(kind) if kind != "i1" else noise("i1", 61, 83)
    array[3, 4:9], array[40:44, 1:60] = np.iinfo(kind).max if kind[0] in "iu" else 6e4, 7
    if kind[0] == "f":
        array[10:20, 30:50] = np.nan
        array[50:60, 3:20] = -9999
    raster(tmp_path / "a.tif", array[None], *PLACES["utm"], nodata=7, tiled=True, blockxsize=16, blockysize=32, compress="deflate")
    for window in ("auto", "full", [-5.0, 900.0]):
        whole = read(tmp_path / "a.tif", view={"window": window})
        with opened(tmp_path / "a.tif", {"window": window}) as some:
            np.testing.assert_array_equal(some[:, :], whole.pixels)
            assert some.notes == whole.notes and some.notes


@pytest.mark.parametrize("window", ["auto", [-5.0, 900.0]])
def test_what_is_no_number_is_a_sentence_of_parts_too(tmp_path, here, window):
    array = noise("f4", 1, 61, 83)
    array[0, 40, 5:8], array[0, 2] = np.inf, -np.inf
    raster(tmp_path / "a.tif", array, *PLACES["utm"], nodata=-np.inf, tiled=True, blockxsize=16, blockysize=32)
    with opened(tmp_path / "a.tif", {"window": window}) as some, pytest.raises(BadImageError, match="3 of the values in rows 41 to 48 are infinite"):
        some[:, :]
    for value, said in ((-9999, "marked as holding no data"), (np.nan, "are NaN")):
        raster(tmp_path / "a.tif", np.full((1, 61, 83), value, "f4"), *PLACES["utm"], nodata=value, tiled=True, blockxsize=16, blockysize=32)
        with opened(tmp_path / "a.tif", {"window": window}) as some, pytest.raises(BadImageError, match=said):
            some[:, :]


def test_opacity_of_16_bits_is_of_the_whole_raster(tmp_path, here):
    array = noise("u2", 60, 50, 4)
    array[..., 3] = np.arange(60)[:, None] * 16
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16), compression="zlib")
    with opened(tmp_path / "a.tif") as some:
        np.testing.assert_array_equal(some[:, :], read(tmp_path / "a.tif", view={"window": "auto"}).pixels)


def test_order_statistics_are_numpys():
    generator = np.random.default_rng(5)
    for kind in ("i1", "i2", "u4", "i4", "f2", "f4", "f8"):
        for size in (1, 2, 7, 1000, 30_011):
            values = (generator.standard_normal(size) * 90).clip(0 if kind[0] == "u" else -120, 120).astype(kind)
            tally = parts.Tally(np.dtype(kind), "auto", None, size)
            while tally.result is None:
                for begin in range(0, size, 613):
                    tally.add(values[None, begin : begin + 613], 0, begin, size)
                tally.turn()
                again = parts.Tally(np.dtype(kind), "auto", None, size)
                again.restore(tally.save())
                tally = again
            wanted = planes.window_of(values[None], "auto", Stack(bits=values.itemsize * 8), None)
            assert tally.result == wanted, (kind, size)


def model_of(longest: int = 64) -> Model:
    return Model.from_network(small_unet(longest), SPEC)


@pytest.fixture
def field(tmp_path, monkeypatch):
    """A raster of odd sides, 16 bits, with a corner without data, read a row of tiles at a time."""
    monkeypatch.setattr(scientific, "_BAND_PIXELS", 9000)
    array = (textured(301, 203).astype(np.uint16) * 11 + noise("u2", 301, 203, 3) % 11).transpose(2, 0, 1)
    array[:, 10:90, 30:120] = 0
    path = tmp_path / "field.tif"
    raster(path, array, *PLACES["rotated"], nodata=0, tiled=True, blockxsize=32, blockysize=48, compress="deflate", predictor=2)
    return path


def measuring(ranges) -> Model:
    """A network of four channels, which takes the file's own values within ranges, or from 0 to 255."""
    network = small_unet(64, in_channels=4)
    rule = Preprocessing((0.4,) * 4, (0.2, 0.3, 0.2, 0.3), longest_side=64, multiple=network.preprocessing.multiple, ranges=ranges)
    return Model.from_network(replace(network, preprocessing=rule), SPEC)


@pytest.mark.parametrize(
    ("kind", "ranges", "view"), [("u2", ((0, 3000),) * 4, None), ("f4", ((-50, 2500),) * 4, {"channels": [4, 1, 0, 2]}), pytest.param("u2", None, {"window": [100, 2900]}, marks=pytest.mark.soak)]
)
def test_networks_of_other_channels_take_the_files_own_values(tmp_path, here, monkeypatch, kind, ranges, view):
    monkeypatch.setattr(scientific, "_BAND_PIXELS", 18_000)
    colours = textured(190, 203)
    array = np.dstack([colours, colours[::-1, :, :2]]).astype(kind) * 11
    raster(tmp_path / "a.tif", array.transpose(2, 0, 1), *PLACES["utm"], tiled=True, blockxsize=32, blockysize=48, compress="deflate", interleave="band")
    model = measuring(ranges)
    whole = model.predict(tmp_path / "a.tif", detail="full", view=view)
    assert len(whole.segments) > 1 and "The model takes 4 channels" in str(whole.notes)
    # As the command line does it, of a file that is beyond the limit now.
    asked = {"detail": "full", "task": "auto", "thresholds": {}, "smoothing": None, "looks": 1}
    monkeypatch.setenv("SEG_DEMO_MAX_PIXELS", "30000")
    settings.cache_clear()
    try:
        job = Job(tmp_path / "a.tif", Path("out"), "a.tif", View.parse(view))
        order = Order("", None, tmp_path, asked, (), "", None)
        assert order.carry_out(model, job).problem is None
        # And of a large one, whose files another process writes.
        later = replace(job, target=Path("later"))
        assert order.carry_out(model, later, apart=True).problem is None and not (tmp_path / "later/mask.tif").exists()
        assert order.written(Loaded.of(model), later, lambda *_: None).problem is None
        results = [json.loads((tmp_path / name / "result.json").read_text()) | {"seconds": None} for name in ("out", "later")]
        assert results[0] == results[1]
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    for name in ("out", "later"):
        check_files(tmp_path / name, whole, tmp_path / "a.tif")


def simple(feature) -> list:
    coordinates = feature["geometry"]["coordinates"]
    listed = [coordinates] if feature["geometry"]["type"] == "Polygon" else coordinates
    return sorted((tuple(map(tuple, shape[0])), sorted(tuple(map(tuple, ring)) for ring in shape[1:])) for shape in listed)


def check_files(folder, whole, source) -> None:
    """Every file of a raster says what the result in memory says."""
    with rasterio.open(folder / "mask.tif") as mask, rasterio.open(source) as picture:
        np.testing.assert_array_equal(mask.read(1), whole.id_map)
        assert (mask.crs, mask.transform) == (picture.crs, picture.transform)
        assert mask.profile["tiled"] and mask.compression.name == "deflate"
    told, wanted = json.loads((folder / "result.json").read_text()), whole.to_dict()
    pieces = pieces_of(whole.id_map)
    for mine, other in zip(told.pop("segments"), wanted.pop("segments"), strict=True):
        assert mine.pop("score") == pytest.approx(other.pop("score"))
        assert mine.pop("pieces") == pieces[mine["id"]]
        assert mine == {name: value for name, value in other.items() if name != "segmentation"}
    for name in ("device", "seconds"):
        wanted.pop(name)
    assert {name: told[name] for name in wanted} == wanted
    mine, other = json.loads((folder / "segments.geojson").read_text()), geojson(whole)
    for one, two in zip(mine.pop("features"), other.pop("features"), strict=True):
        assert one["id"] == two["id"] and simple(one) == simple(two)
        assert {**one["properties"], "score": 0} == {**two["properties"], "score": 0}
    assert mine == other
    assert not (folder / rasters.UNFINISHED).exists()


def test_windows_give_the_labels_outlines_and_areas_of_the_whole(tmp_path, here, field):
    model = model_of()
    whole = model.predict(field, detail="full")
    assert len(whole.segments) > 1 and "no data" in whole.notes[-1]
    said = []
    with opened(field) as some:
        small = rasters.segment(model, some, tmp_path / "out", Options(detail="full"), report=lambda part, text: said.append((part, text)), source=field)
    check_files(tmp_path / "out", whole, field)
    assert sorted(os.listdir(tmp_path / "out")) == ["mask.tif", "overlay.png", "result.json", "segments.csv", "segments.geojson"]
    np.testing.assert_array_equal(small.id_map, whole.id_map)  # no side is longer than what is looked at
    assert any("left" in str(text) and "Tile" in str(text) for _, text in said) and said[-1][0] == 1


def test_what_was_interrupted_goes_on_where_it_was(tmp_path, here, field, monkeypatch):
    # What is blended of a row of tiles and the next lies on the disk, as it does of a wide raster.
    strips, temporary = [], tempfile.TemporaryFile
    monkeypatch.setattr(windows, "_LARGE", 1)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: strips.append(1) or temporary())
    model = model_of()
    whole = model.predict(field, detail="full")
    tiles = []

    def stopping(at):
        def report(part, text):
            tiles.append(part)
            if "Tile" in str(text) and part >= at:
                raise KeyboardInterrupt

        return report

    out = tmp_path / "out"
    for at in (0.3, 0.31, 0.62):
        with opened(field) as some, pytest.raises(KeyboardInterrupt):
            rasters.segment(model, some, out, Options(detail="full"), report=stopping(at), source=field)
        assert not (out / "result.json").exists()
    kept = len([name for name in os.listdir(out / rasters.UNFINISHED) if name.isdigit()])
    assert kept >= 3
    orders = []
    answer = scientific._decoders.answer
    monkeypatch.setattr(scientific._decoders, "answer", lambda order: orders.append(order.get("raster")) or answer(order))
    with opened(field) as some:
        rasters.segment(model, some, out, Options(detail="full"), report=stopping(2), source=field)
    check_files(out, whole, field)
    assert len(strips) == 4
    assert "count" not in orders  # the range of values was kept too
    # Of another file nothing is taken over, whatever its name.
    with opened(field) as some, pytest.raises(KeyboardInterrupt):
        rasters.segment(model, some, out, Options(detail="full"), report=stopping(0.62), source=field)
    os.utime(field, (1, 1))
    with opened(field) as some, pytest.raises(KeyboardInterrupt):
        rasters.segment(model, some, out, Options(detail="full"), report=stopping(0.01), source=field)
    assert not [name for name in os.listdir(out / rasters.UNFINISHED) if name.isdigit()]


def test_a_full_disk_keeps_what_is_there(tmp_path, here, field, monkeypatch):
    model, written = model_of(), []
    whole = model.predict(field, detail="full")
    write = rasters.write_atomically

    def full(path, content):
        written.append(path)
        if path.name == "00003" and len(written) == 5:  # facts, three bands, and this one
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(rasters, "write_atomically", full)
    with opened(field) as some, pytest.raises(StorageError, match=r"full.* 3 of \d+ bands are there and stay"):
        rasters.segment(model, some, tmp_path / "out", Options(detail="full"), source=field)
    with opened(field) as some:
        rasters.segment(model, some, tmp_path / "out", Options(detail="full"), source=field)
    check_files(tmp_path / "out", whole, field)


def test_damage_is_a_sentence_and_what_is_above_it_stays(tmp_path, field):
    """Through the locked-in child, as a stranger's file is read."""
    data = bytearray(field.read_bytes())
    with tifffile.TiffFile(field) as file:
        page = file.pages.first
        place, cut = page.dataoffsets[-5], page.dataoffsets[len(page.dataoffsets) // 2]
    bad = tmp_path / "bad.tif"
    data[place : place + 40] = b"\xff" * 40
    bad.write_bytes(data)
    with opened(bad, {"window": [0, 3000]}) as some, pytest.raises(BadImageError) as caught:
        rasters.segment(model_of(), some, tmp_path / "out", Options(detail="full"))
    assert str(caught.value).endswith(".") and "/tmp" not in str(caught.value)
    bad.write_bytes(field.read_bytes()[:cut])
    with pytest.raises(BadImageError):
        opened(bad)
    lying = np.zeros((64, 64), np.uint8)
    for shape, most in (((70_000, 70_000), 1 << 30), ((64, 64), 4095)):
        tifffile.imwrite(bad, lying, metadata=None, rowsperstrip=64)
        with tifffile.TiffFile(bad, mode="r+") as file:
            file.pages.first.tags["ImageLength"].overwrite(shape[0])
            file.pages.first.tags["ImageWidth"].overwrite(shape[1])
        with pytest.raises(BadImageError):
            scientific.Raster(bad, None, Limits(most, 1 << 50, 1 << 31))
    with pytest.raises(BadRequestError, match="asks for page 7"):
        opened(field, {"page": 7})


def test_objects_and_other_formats_are_refused_before_anything_is_read(tmp_path, here, field, folders, monkeypatch):
    orders = []
    answer = scientific._decoders.answer
    monkeypatch.setattr(scientific._decoders, "answer", lambda order: orders.append(order.get("raster")) or answer(order))
    detector = Model.from_network(networks.load(folders / "maskrcnn"), replace(SPEC, task="instance"))
    with opened(field) as some, pytest.raises(BadRequestError, match="finds objects .instance."):
        rasters.segment(detector, some, tmp_path / "out", Options(detail="full"))
    with opened(field) as some, pytest.raises(BadRequestError, match="not written as coco; it is as geotiff, geojson, csv"):
        rasters.segment(model_of(), some, tmp_path / "out", Options(detail="full"), ["coco"])
    raster(tmp_path / "four.tif", noise("u2", 4, 30, 40), *PLACES["utm"])
    with opened(tmp_path / "four.tif", {"channels": [0, 1, 2, 3]}) as some, pytest.raises(BadRequestError, match=r"one to three numbers .* \[0, 1, 2, 3\]"):
        rasters.segment(model_of(), some, tmp_path / "out", Options(detail="full"))
    with scientific.Raster(tmp_path / "four.tif", None, LIMITS, 4) as some, pytest.raises(BadRequestError, match="in the window auto depends on all of them"):
        rasters.segment(measuring(None), some, tmp_path / "out", Options(detail="full"))
    with scientific.Raster(field, None, LIMITS, 4) as some, pytest.raises(BadImageError, match="takes 4 channels, but this picture has 3"):
        rasters.segment(measuring(None), some, tmp_path / "out", Options(detail="full"))
    assert orders == ["look"] * 5 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("loose", [polygons._MOST_LOOSE, 1], ids=["short", "packed"])
def test_outlines_in_bands_are_those_of_the_whole(monkeypatch, loose):
    monkeypatch.setattr(polygons, "_MOST_LOOSE", loose)
    generator = np.random.default_rng(0)
    for _ in range(150):
        height, width = generator.integers(1, 14, 2)
        ids = generator.integers(0, generator.integers(2, 5), (height, width)).astype(np.uint8)
        rings: list = []
        tracer = Tracer(int(width), lambda label, piece, ring, rings=rings: rings.append((label, piece, ring)))
        cuts = sorted({0, int(height), *generator.integers(0, height, 3).tolist()})
        for top, bottom in zip(cuts, cuts[1:], strict=False):
            tracer.add(ids[top:bottom])
        tracer.close()
        roots, found = tracer.roots(), {}
        area = [int(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) for x, y in (ring.astype(int).T for _, _, ring in rings)]
        assert [each > 0 for each in area] == [ring[0, 1] == ring[1, 1] for _, _, ring in rings]
        for index in sorted(range(len(rings)), key=lambda index: area[index] < 0):
            label, piece, ring = rings[index]
            found.setdefault((label, int(roots[piece])), []).append(tuple(map(tuple, ring.tolist())))
        got = sorted((label, shape[0], sorted(shape[1:])) for (label, _), shape in found.items())
        whole = trace(ids.astype(np.uint16) + np.uint16(1))
        wanted = [(label - 1, tuple(shape[0]), sorted(map(tuple, shape[1:]))) for label, shapes in whole.items() for shape in shapes]
        assert got == sorted(wanted)
        assert tracer.pieces().tolist() == pieces_of(ids).tolist()


def test_mean_scores_of_parts_are_those_of_all():
    logits = torch.from_numpy(np.random.default_rng(2).standard_normal((3, 20, 30)).astype(np.float32))
    whole = MeanScores()
    whole.add(logits)
    some = [MeanScores() for _ in range(2)]
    some[0].add(logits[:, :7])
    some[1].add(logits[:, 7:])
    assert mean_scores(np.stack([one.parts for one in some])) == pytest.approx(whole.of(range(3)))


def test_the_command_line_takes_what_is_beyond_the_limit_in_full_detail(tmp_path, monkeypatch, capsys, field):
    write_tiny(tmp_path / "model")
    small = tmp_path / "photo.png"
    Image.fromarray(textured(20, 30)).save(small)
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.stack([textured(260, 203), textured(260, 203, 1)]), photometric="rgb", tile=(64, 64), compression="zlib")
    monkeypatch.setenv("SEG_DEMO_MAX_PIXELS", "50000")
    settings.cache_clear()
    try:
        asked = ["segment", str(field), str(small), "--model", str(tmp_path / "model")]
        assert main([*asked, "--out", str(tmp_path / "whole")]) == 1  # as ever
        assert "301" in (said := capsys.readouterr().err) and "pixels" in said
        assert main([*asked, "--out", str(tmp_path / "out"), "--detail", "full"]) == 0
        assert "no data" in capsys.readouterr().err
        assert main([*asked, "--out", str(tmp_path / "out"), "--detail", "full"]) == 0
        assert "2 of 2 images have results" in capsys.readouterr().out
        assert main([*asked[:2], *asked[3:], "--out", str(tmp_path / "two"), "--detail", "full", "--format", "geotiff", "csv", "--pixel-size", "500nm"]) == 0
        typed = json.loads((tmp_path / "two" / "field" / "result.json").read_text())
        assert (typed["pixel_size"], typed["unit"]) == ([500, 500], "nanometer")
        assert all(each["area_units"] == each["area"] * 250_000 for each in typed["segments"])
        assert sorted(os.listdir(tmp_path / "two" / "field")) == ["mask.tif", "result.json", "segments.csv"]
        pages = ["segment", str(stack), *asked[3:], "--detail", "full", "--view", '{"page": "all"}', "--out"]
        assert main([*pages, str(tmp_path / "pages")]) == 0
        assert sorted(os.listdir(tmp_path / "pages" / "stack")) == ["page-0000", "page-0001"]
        monkeypatch.setenv("SEG_DEMO_MAX_PIXELS", "500000")
        settings.cache_clear()
        assert main([*asked[:2], *asked[3:], "--out", str(tmp_path / "three"), "--detail", "full"]) == 0
        assert main([*pages, str(tmp_path / "planes"), "--format", "png"]) == 0
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    for page in ("page-0000", "page-0001"):
        whole = np.asarray(Image.open(tmp_path / "planes" / "stack" / page / "mask.png"))
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "pages" / "stack" / page / "mask.tif"), whole)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "field" / "mask.tif"), np.asarray(Image.open(tmp_path / "three" / "field" / "mask.png")))
    # The tables about all images have it as they have one that was in memory whole; COCO, which has every mask, does not.
    table, same = ([row for row in csv.DictReader((tmp_path / run / "counts.csv").open(newline="")) if row["image"] == "field.tif"] for run in ("out", "three"))
    assert table and [{**row, "mean_score": ""} for row in table] == [{**row, "mean_score": ""} for row in same]
    assert [float(row["mean_score"]) for row in table] == pytest.approx([float(row["mean_score"]) for row in same], abs=1e-3)
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["photo.png"] and {each["image_id"] for each in coco["annotations"]} == {2}


def interrupted(*_: object, **__: object) -> None:
    """As Ctrl-C; a process of pytest's workers takes no notice of the signal itself."""
    raise KeyboardInterrupt


def test_rasters_alone_are_computed_without_the_networks_library(tmp_path, monkeypatch, capsys):
    """As by the model itself; one that is narrower than a tile takes the model, one that is damaged is named, and what Ctrl-C stops goes on later."""
    large, narrow, damaged = tmp_path / "large.tif", tmp_path / "narrow.tif", tmp_path / "damaged.tif"
    row, column = np.mgrid[:1300, :700] % 71 - 35
    discs = np.where((row**2 + column**2 < 400)[..., None], np.uint8(190), np.uint8(40)) + noise("u1", 1300, 700, 3) % 25
    tifffile.imwrite(large, discs, photometric="rgb", tile=(256, 256), compression="zlib")
    tifffile.imwrite(narrow, discs[:700, :300], photometric="rgb", tile=(64, 64), compression="zlib")
    content = bytearray(large.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    damaged.write_bytes(content)
    asked = ["segment", str(large), str(damaged), str(narrow), "--model", "unet-cells", "--detail", "full", "--format", "geotiff", "csv", "--out"]
    monkeypatch.setenv("SEG_DEMO_MAX_PIXELS", "100000")
    monkeypatch.setenv("SEG_DEMO_ENGINE", "openvino")
    settings.cache_clear()
    began: list[str] = []

    def start(self, work, *more, really=workers.Windows._start):
        began.append(work.__name__)
        return really(self, work, *more)

    monkeypatch.setattr(workers.Windows, "_start", start)
    try:
        assert main([*asked, str(tmp_path / "model")]) == 1 and not began
        before = capsys.readouterr()
        monkeypatch.setattr(workers, "WINDOWS_FROM", 1)
        monkeypatch.setattr(workers, "APART_FROM", 500_000)
        assert main([*asked, str(tmp_path / "lean")]) == 1
        assert began == ["_loaded", "_windows", "_written", "_windows", "_loaded"]
        after = capsys.readouterr()
        assert "2 of 3 images" in after.out and "damaged.tif" in after.err and before.err == after.err
        monkeypatch.setattr(workers.Windows, "__init__", lambda self, order: vars(self).update(_order=order, _process=None, _frozen=b"", loaded=Loaded.of(load_model("unet-cells"))))
        monkeypatch.setattr(workers.Windows, "_asked", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main([*asked, str(tmp_path / "lean"), "--overwrite"])
        assert f"stopped: {large}" in capsys.readouterr().err
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    for name in ("large", "narrow"):
        masks, results = ([tmp_path / by / name / file for by in ("lean", "model")] for file in ("mask.tif", "result.json"))
        lean, whole = map(tifffile.imread, masks)
        # The first tile is eager torch's where the model itself answers: of two equal logits either may win.
        assert np.count_nonzero(lean != whole) <= 3 and len(np.unique(lean)) > 1
        facts = [json.loads(path.read_text()) | {"seconds": None} for path in results]
        scores = [[segment["score"] for segment in found.pop("segments")] for found in facts]
        assert facts[0] == facts[1] and facts[0]["familiar"] is not None and scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_a_network_is_frozen_where_a_tiles_pixels_become_its_batch_one_by_one(monkeypatch):
    """Its batches are the network's own, bit for bit, and nothing that looks at a picture as a whole is taken for that."""
    monkeypatch.setenv("SEG_DEMO_ENGINE", "openvino")
    settings.cache_clear()
    try:
        for id in ("segformer-cells", "unet-cells"):
            model = load_model(id, device="cpu")
            network, frozen = model._run.network, pickle.loads(pickle.dumps(model.frozen(Options(detail="full"))))
            tile = textured(*frozen.tile)
            assert torch.equal(frozen.preprocess(tile), plan(network, *(4 * side for side in frozen.tile)).network.preprocess(tile))
            assert frozen.labels.names == network.labels.names and frozen.opened().compiled is not None
        assert load_model("otsu").frozen(Options(detail="full")) is None
        assert load_model("maskrcnn-cells").frozen(Options(detail="full")) is None
        own = type(network).preprocess
        monkeypatch.setattr(type(network), "preprocess", lambda self, image: own(self, image) - float(image.mean()))
        assert model.frozen(Options(detail="full")) is None
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_the_windows_of_a_raster_import_no_library_of_networks():
    code = "import sys, seg_demo.workers, seg_demo.outputs.rasters, seg_demo.inference.rasters as r; r.openvino.library(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {name.split(".")[0] for name in done.stdout.split()}
    assert "torch" in found and "openvino" in found and not found & {"transformers", "torchvision", "timm", "segmentation_models_pytorch", "gradio", "huggingface_hub"}


def test_a_raster_may_be_larger_than_its_reader_may_be(tmp_path):
    """A file is mapped, which takes addresses: one of 4 GB was taken for a damaged one."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, textured(260, 203), photometric="rgb", tile=(64, 64), compression="zlib", bigtiff=True)
    os.truncate(path, 4 << 30)  # sparse: it takes no room
    with opened(path) as some:
        np.testing.assert_array_equal(some[:, :], textured(260, 203))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep what is free")
def test_free_memory_and_pages_of_libraries_go_back_to_the_system():
    code = """
import numpy as np, torch
from seg_demo.core.sandbox import map_large_blocks, release
def memory():
    lines = open("/proc/self/smaps_rollup").read().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) / 1000 for line in lines}
map_large_blocks()
small = [np.ones(1000) for _ in range(20_000)]
between = small[:: 100]
before = memory()
del small
release()
after = memory()
assert before["Rss"] - before["Anonymous"] > 2 * (after["Rss"] - after["Anonymous"]), (before, after)
assert before["Anonymous"] - after["Anonymous"] > 120, (before, after)
assert all(values.sum() == 1000 for values in between) and torch.ones(9).sum() == 9
for _ in range(3):
    blocks = [np.ones(1 << 20) for _ in range(9)]
    held, blocks = np.ones(1000), None
    assert memory()["Anonymous"] < after["Anonymous"] + 20
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep what is free")
def test_a_library_is_not_unloaded_while_pages_of_libraries_go_back():
    """What another thread maps at its place then would be emptied."""
    path = str(next(Path(PIL.__file__).parent.glob("_imagingtk*.so")).resolve())  # which nothing else needs
    libc = ctypes.CDLL(None)

    def mapped() -> bool:
        return path in Path("/proc/self/maps").read_text()

    handle = _ctypes.dlopen(path, os.RTLD_NOW)
    with sandbox._held(libc) as held:
        _ctypes.dlclose(handle)
        assert mapped() and path in held
        ours = [block for block in Path("/proc/self/maps").read_text().splitlines() if block.endswith(path)]
        places = {int(block.partition("-")[0], 16) for block in ours}
        assert places & {start for start, _ in sandbox._unwritten(Path("/proc/self/smaps").read_text(), held)}
        assert not places & {start for start, _ in sandbox._unwritten(Path("/proc/self/smaps").read_text(), held - {path})}
    assert not mapped()


def test_a_file_that_is_written_in_parts_is_whole(tmp_path):
    """Sides that are no multiples of a tile, bands that are no multiples of anything, and 16 bits."""
    ids = noise("u2", 613, 517)
    bands = np.split(ids, [5, 6, 255, 256, 600])
    calibrated.write_tiff(tmp_path / "a.tif", iter(bands), ids.shape, ids.dtype, None)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), ids)
    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(1), ids)


@pytest.mark.soak
def test_a_gigapixel_stays_within_700_megabytes(tmp_path):
    """32,768 x 32,768, with a network that costs nothing: what reading, blending, tracing and writing take of memory, all processes together, beside torch and
    the command, which take 325 MB."""
    path = tmp_path / "giga.tif"
    block = textured(512, 512)

    def blocks():
        for number in range(64 * 64):
            yield np.roll(block, number, 0)

    tifffile.imwrite(path, blocks(), shape=(32_768, 32_768, 3), dtype=np.uint8, tile=(512, 512), photometric="rgb", compression="zlib", bigtiff=True)
    code = "from tests.outputs.test_rasters import giga; import sys; giga(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, str(path), str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stderr
    print(f"measured: {float(done.stdout.split()[-1]):.0f} MB for 1,074 megapixels")
    assert float(done.stdout.split()[-1]) <= 700 - 325, done.stdout
    assert json.loads((tmp_path / "out" / "result.json").read_text())["width"] == 32_768


def giga(path: str, out: str) -> None:
    """In a process of its own: prints the peak of it and of its helpers, which come and go, in megabytes, above what it has with everything
    that this file imports; looked at ten times a second; what they share counts once."""

    def kilobytes(pid: int) -> int:  # 0 of a process that has just ended
        try:
            return int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("\nPss:")[1].split()[0])
        except (OSError, IndexError):
            return 0

    def look() -> None:
        while not end.wait(0.1):
            seen.append(sum(kilobytes(pid) for pid in (os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True)))))

    network = replace(small_unet(1024), module=Count(4))
    sandbox.map_large_blocks()  # as the command's processes do
    sandbox.release()  # pages of libraries that only importing them took would hide as much
    seen, end = [kilobytes(os.getpid())], threading.Event()
    looking = threading.Thread(target=look)
    looking.start()
    try:
        with opened(Path(path)) as some:
            rasters.segment(Model.from_network(network, SPEC), some, Path(out), Options(detail="full"))
    finally:
        end.set()
        looking.join()
    scientific.close()
    print((max(seen) - seen[0]) / 1024)

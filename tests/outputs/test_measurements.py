"""Measurements are regionprops', whichever way they are taken: maps in strips, objects in boxes, connected pieces."""

from __future__ import annotations

import csv
import io
import json
import math
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.measure import label, regionprops

from seg_demo.__main__ import main
from seg_demo.core.errors import BadRequestError
from seg_demo.core.types import LabelSet, Segment, Segmentation, extents, paint, semantic_segmentation
from seg_demo.inputs.images import read
from seg_demo.outputs import export, measurements
from seg_demo.outputs.measurements import Measurements, PixelSize, histogram, measure
from tests.scientific_files import HEIGHT, PLACES, WIDTH, dicom, noise, raster

RNG = np.random.default_rng(5)
LABELS = LabelSet.from_names(("background", "cell", "=other"), 0)
SIZES = [(1, 1), (1, 17), (13, 1), (7, 5), (31, 29), (64, 48)]


def picture_of(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Noise of a dtype, far from zero where it is float."""
    if np.issubdtype(dtype, np.floating):
        return (1e6 + RNG.random((height, width, channels))).astype(dtype)
    return RNG.integers(0, np.iinfo(dtype).max, (height, width, channels), endpoint=True, dtype=dtype)


def instances(height: int, width: int, count: int = 9) -> Segmentation:
    """Objects that overlap: noise, a single pixel, lines of each direction, a full box, and a box that is not tight."""
    masks = []
    for index in range(count):
        h, w = int(RNG.integers(1, height + 1)), int(RNG.integers(1, width + 1))
        mask = RNG.random((h, w)) < (0.3, 0.8, 1.0)[index % 3]
        if index % 4 == 1:
            mask = np.eye(h, w, dtype=bool)
        mask[h // 2, w // 2] = True
        masks.append(mask)
    masks += [np.ones((1, 1), bool), np.ones((1, width), bool), np.ones((height, 1), bool), np.ones((height, width), bool)]
    segments = []
    for index, mask in enumerate(masks):
        y, x = (int(RNG.integers(0, most - side + 1)) for most, side in zip((height, width), mask.shape, strict=True))
        segments.append(Segment(1 + index % 2, 1 - index / 100, (x, y, x + mask.shape[1], y + mask.shape[0]), mask))
    return Segmentation("instance", height, width, LABELS, paint(segments, height, width), tuple(segments))


def tiled(height: int, width: int, task: str = "region") -> Segmentation:
    """Ids without overlap, scattered, so that each is in many places."""
    count = min(40, height * width)
    id_map = RNG.integers(0, count + 1, (height, width)).astype(np.uint8)
    id_map = np.repeat(np.repeat(id_map, 3, axis=0), 2, axis=1)[:height, :width]
    found = np.unique(id_map[id_map > 0])
    id_map = np.where(id_map > 0, np.searchsorted(found, id_map) + 1, 0).astype(np.uint16)
    _, boxes = extents(id_map)
    segments = [Segment(1, None, tuple(boxes[index + 1].tolist()), None) for index in range(found.size)]
    return Segmentation(task, height, width, LABELS, id_map, tuple(segments))


def expected(mask: np.ndarray, picture: np.ndarray) -> dict[str, object]:
    """What regionprops says of one mask."""
    (region,) = regionprops(mask.astype(np.uint8), picture)
    y0, x0, y1, x1 = region.bbox
    return {
        "area": region.area, "box": (x0, y0, x1, y1), "perimeter": region.perimeter, "equivalent_diameter": region.equivalent_diameter_area,
        "major_axis": region.axis_major_length, "minor_axis": region.axis_minor_length, "centroid": region.centroid[::-1],
        "mean": region.intensity_mean, "sd": region.intensity_std,
        "edge": y0 == 0 or x0 == 0 or y1 == mask.shape[0] or x1 == mask.shape[1],
    }  # fmt: skip


def compare(found: Measurements, masks: list[np.ndarray], picture: np.ndarray) -> None:
    """Every number of every object."""
    assert len(found) == len(masks)
    columns = found.columns()
    for index, mask in enumerate(masks):
        wanted = expected(mask, picture)
        assert found.area[index] == wanted["area"] and tuple(found.boxes[index]) == wanted["box"]
        assert found.edge[index] == columns["touches_edge"][index] == wanted["edge"]
        for name in ("perimeter", "equivalent_diameter", "major_axis", "minor_axis"):
            assert columns[name][index] == pytest.approx(wanted[name], rel=1e-6, abs=2e-6), name
        np.testing.assert_allclose(found.centroid[index], wanted["centroid"], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.mean[index], wanted["mean"], rtol=1e-9)
        np.testing.assert_allclose(found.deviation[index], wanted["sd"], rtol=1e-6, atol=1e-6)
        if wanted["perimeter"]:
            assert columns["circularity"][index] == pytest.approx(min(1, 4 * math.pi * wanted["area"] / wanted["perimeter"] ** 2))
        if wanted["minor_axis"] > 1e-3:
            assert columns["elongation"][index] == pytest.approx(wanted["major_axis"] / wanted["minor_axis"], rel=1e-5)


def full(result: Segmentation, index: int) -> np.ndarray:
    x0, y0, x1, y1 = result.segments[index].box
    mask = np.zeros((result.height, result.width), bool)
    mask[y0:y1, x0:x1] = result.mask_of(index)
    return mask


@pytest.mark.parametrize("strip", [7, 1 << 19])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [instances, tiled, lambda h, w: tiled(h, w, "panoptic")])
def test_measurements_are_regionprops(make, size, strip, monkeypatch) -> None:
    monkeypatch.setattr(measurements, "_STRIP_PIXELS", strip)
    result, picture = make(*size), picture_of(*size)
    compare(measure(result, picture), [full(result, index) for index in range(len(result.segments))], picture)


@pytest.mark.parametrize("strip", [7, 1 << 19])
@pytest.mark.parametrize("size", SIZES)
def test_classes_and_their_connected_pieces(size, strip, monkeypatch) -> None:
    monkeypatch.setattr(measurements, "_STRIP_PIXELS", strip)
    id_map, picture = RNG.choice(np.array([0, 1, 2], np.uint8), size, p=[0.4, 0.4, 0.2]), picture_of(*size)
    result = semantic_segmentation(id_map, LABELS)
    compare(measure(result, picture), [id_map == segment.label_id for segment in result.segments], picture)
    found = measure(result, picture, pieces=True)
    masks = [numbers == number for value in (1, 2) for numbers in [label(id_map == value, connectivity=1)] for number in range(1, numbers.max() + 1)]
    masks.sort(key=lambda mask: (-np.count_nonzero(mask), int(np.flatnonzero(mask)[0])))
    assert found.kind == "piece" and found.left_out == 0 and found.label_ids.tolist() == [id_map[mask][0] for mask in masks]
    compare(found, masks, picture)


def test_sixteen_channels_of_any_dtype() -> None:
    result = instances(23, 19)
    for dtype in (np.uint16, np.int16, np.float32, np.float64):
        picture = picture_of(23, 19, 16, dtype)
        names = [f"marker {index}" for index in range(16)]
        found = measure(result, picture, names)
        compare(found, [full(result, index) for index in range(len(result.segments))], picture.astype(np.float64))
        assert {"mean_marker 0", "sd_marker 15"} <= found.columns().keys()
    picture = picture_of(23, 19, 2, np.float32)
    picture[...] = np.nan
    assert measure(result, picture).to_dict()["objects"][0]["mean_1"] is None
    with pytest.raises(ValueError, match="picture must be"):
        measure(result, picture[1:])


def test_shapes_by_hand() -> None:
    yy, xx = np.ogrid[:121, :121]
    disk = (yy - 60) ** 2 + (xx - 60) ** 2 <= 50**2
    bar, dot = np.ones((4, 40), bool), np.ones((1, 1), bool)
    segments = (Segment(1, 0.9, (0, 0, 121, 121), disk), Segment(1, 0.8, (10, 5, 50, 9), bar), Segment(1, None, (120, 7, 121, 8), dot))
    columns = measure(Segmentation("instance", 121, 121, LABELS, paint(segments, 121, 121), segments), None).columns()
    assert columns["circularity"][0] == pytest.approx(0.907, abs=0.001) and columns["elongation"][0] == pytest.approx(1, abs=1e-6)
    assert columns["elongation"][1] == pytest.approx(10, rel=0.04) and columns["circularity"][1] < 0.5
    assert columns["touches_edge"].tolist() == [0, 0, 1] and np.isnan(columns["circularity"][2]) and np.isnan(columns["elongation"][2])
    assert columns["minor_axis"][2] == 0 and (columns["centroid_x"][1], columns["centroid_y"][1]) == (29.5, 6.5)


@pytest.mark.parametrize("pixel", [PixelSize(0.5, "um"), PixelSize(3, "nm", 3), PixelSize(2, "m", 0.5)])
def test_units_are_regionprops_of_that_spacing(pixel) -> None:
    result = tiled(31, 29)
    found = measure(result, None)
    columns, (right, down), unit = found.columns(pixel), pixel.sides, pixel.unit
    for index, region in enumerate(regionprops(result.id_map, spacing=(down, right))):
        wanted = {
            f"area_{unit}2": region.area, f"equivalent_diameter_{unit}": region.equivalent_diameter_area, f"major_axis_{unit}": region.axis_major_length,
            f"minor_axis_{unit}": region.axis_minor_length, f"centroid_x_{unit}": region.centroid[1], f"centroid_y_{unit}": region.centroid[0],
        }  # fmt: skip
        if pixel.square:
            wanted[f"perimeter_{unit}"] = region.perimeter
        for name, value in wanted.items():
            assert columns[name][index] == pytest.approx(value, rel=1e-6, abs=1e-5), name
    assert np.isnan(columns[f"perimeter_{unit}"]).all() == (not pixel.square)
    data = json.loads(json.dumps(found.to_dict(pixel), allow_nan=False))
    assert data["pixel_size"] == [right, down] and data["unit"] == measurements.UNIT_NAMES[unit]
    assert data["objects"][0]["area_units"] == pytest.approx(data["objects"][0]["area"] * right * down)


def test_totals_and_histogram_and_what_touches_the_edge() -> None:
    result = tiled(40, 40)
    found = measure(result, picture_of(40, 40))
    inside = found.inside()
    assert 0 < len(inside) < len(found) and not inside.edge.any()
    assert len(inside) == sum(0 not in region.bbox and 40 not in region.bbox for region in regionprops(result.id_map))
    total = inside.summary()["area"]
    assert total["count"] == len(inside) and total["sum"] == inside.area.sum() and total["median"] == np.median(inside.area)
    assert total["mean"] == pytest.approx(inside.area.mean()) and total["sd"] == pytest.approx(inside.area.std(ddof=1))
    bars = histogram(found.area)
    assert sum(bars["counts"]) == len(found) and bars["edges"][0] == found.area.min() and bars["edges"][-1] == found.area.max()
    np.testing.assert_array_equal(np.histogram(found.area, bars["edges"])[0], bars["counts"])
    assert histogram(np.array([1.0, 1, 1])) == {"edges": [1, 1], "counts": [3]} and histogram(np.array([np.nan])) is None
    assert len(histogram(np.array([1.0, 2, 3, 2, 1, 1e12]))["counts"]) <= 30
    nothing = measure(Segmentation("instance", 4, 4, LABELS, np.zeros((4, 4), np.uint8), ()), picture_of(4, 4))
    assert nothing.to_dict()["summary"]["area"] == {"count": 0, "mean": None, "median": None, "sd": None, "min": None, "max": None, "sum": 0.0}
    assert list(nothing.rows()) == []


@pytest.mark.parametrize(("text", "area"), [("10 nm", 200), ("0.5mm", 0.5), ("2 µm", 8), ("1e1m", 200)])
def test_pixel_sizes_are_read(text, area) -> None:
    assert PixelSize.parse(text).area(2) == area


@pytest.mark.parametrize("make", [lambda: PixelSize(1, "ft"), lambda: PixelSize(math.nan, "um"), lambda: PixelSize(1, "um", 0)])
def test_no_pixel_size(make) -> None:
    with pytest.raises(BadRequestError):
        make()


def test_files_have_them_at_the_end() -> None:
    result, picture = instances(23, 31), picture_of(23, 31)
    subject = export.Subject(result, picture, "a.png", pixel=PixelSize(2, "um"))
    rows = list(csv.DictReader(io.StringIO(export.EXPORTS["segments"].make(subject).decode(), newline="")))
    assert list(rows[0])[:10] == ["id", "label_id", "label", "score", "area", "area_fraction", "x", "y", "width", "height"]
    found = measure(result, picture)
    assert [float(row["perimeter"]) for row in rows] == found.perimeter.tolist()
    assert [float(row["area_um2"]) for row in rows] == (4 * found.area).tolist()
    table = list(csv.DictReader(io.StringIO(export.EXPORTS["csv"].make(subject).decode(), newline="")))
    objects = [row for row in table if row["row"] == "object"]
    assert [row["mean_red"] for row in objects] == [str(value) for value in found.mean[:, 0].tolist()]
    assert {row["perimeter"] for row in table if row["row"] == "class"} == {""}
    alone = list(csv.DictReader(io.StringIO(export.EXPORTS["measurements"].make(subject).decode(), newline="")))
    assert [row["id"] for row in alone] == [str(identity) for identity in result.ids] and {row["label"] for row in alone} == {"cell", "'=other"}
    without = export.Subject(result, picture, "a.png", inside=True)
    assert len(export.EXPORTS["measurements"].make(without).splitlines()) == 1 + int((~found.edge).sum())
    data = json.loads(export.EXPORTS["measurements_json"].make(subject))
    assert data["kind"] == "object" and len(data["objects"]) == len(result.segments) and data["unit"] == "micrometer"


@pytest.mark.soak
def test_a_thousand_objects_of_twelve_megapixels() -> None:
    height, width = 3000, 4000
    picture = picture_of(height, width)
    yy, xx = np.ogrid[:61, :61]
    disk = (yy - 30) ** 2 + (xx - 30) ** 2 <= 900
    segments = []
    for index in range(1000):
        y, x = divmod(index * 11_003, width - 61)
        y = (y * 37 + index * 2) % (height - 61)
        segments.append(Segment(1, 1 - index / 2000, (x, y, x + 61, y + 61), disk))
    result = Segmentation("instance", height, width, LABELS, paint(segments, height, width), tuple(segments))
    # Within their boxes: nothing of the size of the picture is made for an object.
    tracemalloc.start()
    assert len(measure(result, picture)) == 1000
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()
    # The map alone, without overlap: strips of it are all that is made.
    half = semantic_segmentation((result.id_map[: height // 2] > 0).astype(np.uint8), LABELS)
    tracemalloc.start()
    assert 100 < len(measure(half, picture[: height // 2], pieces=True)) < 1000
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()


def test_intensities_are_those_that_the_file_stores(tmp_path) -> None:
    """Of every channel, by its name, without the window of a view, the opacity and what is no data; Hounsfield units of a CT."""
    some = tiled(HEIGHT, WIDTH)
    four = noise("u2", 4, HEIGHT, WIDTH)
    tifffile.imwrite(tmp_path / "four.ome.tif", four, ome=True, photometric="minisblack", metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP", "", "GFP"]}})
    found = measure(some, read(tmp_path / "four.ome.tif", view={"channels": [1], "window": [0, 90]}, with_samples=True))
    assert found.channels == ("DAPI", "GFP 2", "channel 3", "GFP 4")
    wanted = regionprops(some.id_map.astype(int), np.moveaxis(four, 0, -1))
    assert np.allclose(found.mean, [one.intensity_mean for one in wanted]) and np.allclose(found.deviation, [one.intensity_std for one in wanted])
    # Three as they are seen, and one that says how opaque they are.
    clear = noise("u2", HEIGHT, WIDTH, 4)
    raster(tmp_path / "clear.tif", np.moveaxis(clear, -1, 0), *PLACES["utm"], photometric="rgb", alpha="yes")
    found = measure(some, read(tmp_path / "clear.tif", with_samples=True))
    assert found.channels == ("band 0", "band 1", "band 2")
    assert np.allclose(found.mean, [one.intensity_mean for one in regionprops(some.id_map.astype(int), clear[..., :3])])
    without = noise("u2", 1, HEIGHT, WIDTH)
    without[0, : HEIGHT // 2] = 7
    raster(tmp_path / "without.tif", without, *PLACES["utm"], nodata=7)
    values = np.where(without[0] == 7, np.nan, without[0])
    found = measure(some, read(tmp_path / "without.tif", with_samples=True))
    assert found.channels == ("band 0",) and np.isnan(found.mean).any() and not np.isnan(found.mean).all()
    assert np.allclose(found.mean[:, 0], [values[some.id_map == index].mean() for index in some.ids], equal_nan=True)
    assert any(row["mean_band 0"] is None for row in json.loads(json.dumps(found.to_dict(), allow_nan=False))["objects"])
    scan = noise("i2", HEIGHT, WIDTH)
    dicom(tmp_path / "scan.dcm", scan, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    found = measure(some, read(tmp_path / "scan.dcm", with_samples=True))
    assert np.allclose(found.mean[:, 0], [(scan[some.id_map == index] * 2.0 - 1024).mean() for index in some.ids], rtol=1e-5)


def test_twice_the_exposure_is_twice_the_intensity(tmp_path, capsys) -> None:
    """On the command line, beside a photograph, which has other channels: one table has all of them."""
    y, x = np.mgrid[:60, :80]
    cells = sum(np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 60) for cy, cx in ((15, 20), (40, 55), (20, 62)))
    dim = (200 + 6000 * cells).astype(np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", dim)
    tifffile.imwrite(tmp_path / "in" / "b.tif", dim * 2)
    Image.fromarray(np.repeat((cells * 200).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)).save(tmp_path / "in" / "c.png")
    assert main(["segment", str(tmp_path / "in"), "--model", "watershed", "--out", str(tmp_path / "out")]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "objects.csv").open(encoding="utf-8")))
    means = {name: [float(row["mean_intensity"]) for row in rows if row["image"].startswith(name)] for name in "ab"}
    assert len(means["a"]) >= 3 and np.allclose(np.multiply(means["a"], 2), means["b"]) and max(means["a"]) > 255
    photographed = [row for row in rows if row["image"].startswith("c")]
    assert photographed and all(row["mean_red"] and not row["mean_intensity"] for row in photographed) and not any(row["mean_red"] for row in rows if row["image"][0] in "ab")

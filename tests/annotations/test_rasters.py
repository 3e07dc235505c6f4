"""GeoJSON on the grid of its GeoTIFF: rasterio's rasterize is the oracle, its warp the one of coordinate systems."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform_geom

from seg_demo.annotations.dataset import open_annotated
from seg_demo.core.errors import DataError

UTM = "EPSG:32633"
GRIDS = {
    "north up": Affine(2.0, 0, 500_000, 0, -2.0, 5_400_000),
    "south up": Affine(2.0, 0, 500_000, 0, 2.0, 5_399_900),
    "turned": Affine(2.0, 0, 500_000, 0, -2.0, 5_400_000) @ Affine.rotation(20),
}


def written(root: Path, name: str, affine: Affine, crs: str | None, areas: list[tuple[str, list]], stated: dict | None) -> np.ndarray:
    """A raster of 60 x 80 pixels with areas in its coordinates, which the GeoJSON has in ``crs``; the class map as rasterio burns it."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(name)).integers(0, 3000, (3, 60, 80), dtype=np.uint16)
    with rasterio.open(root / "images" / f"{name}.tif", "w", driver="GTiff", height=60, width=80, count=3, dtype="uint16", crs=UTM, transform=affine) as raster:
        raster.write(values)
    shapes, features = [], []
    for label, ring in areas:
        place = [affine @ tuple(point) for point in ring]
        geometry = {"type": "Polygon", "coordinates": [[*place, place[0]]]}
        shapes.append((geometry, {"field": 1, "water": 2}[label]))
        moved = geometry if crs in (None, UTM) else transform_geom(UTM, crs, geometry)
        features.append({"type": "Feature", "properties": {"class": label}, "geometry": json.loads(json.dumps(moved))})
    data = {"type": "FeatureCollection", "features": features} | ({"crs": stated} if stated else {})
    (root / "labels" / f"{name}.geojson").write_text(json.dumps(data))
    return rasterize(shapes, out_shape=(60, 80), transform=affine, dtype="uint8")


def named(crs: str) -> dict:
    return {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{crs.rpartition(':')[2]}"}}


AREAS = [
    ("field", [(4.3, 5.2), (30.7, 8.1), (25.2, 33.4), (6.6, 30.9)]),
    ("water", [(50.2, 40.1), (70.6, 42.7), (60.3, 55.8)]),
    ("field", [(70.4, -6.2), (91.3, -6.2), (91.3, 20.6), (70.4, 20.6)]),
]


@pytest.mark.parametrize(
    ("grid", "crs"),
    [
        pytest.param(grid, crs, marks=() if place in (number, 2) else pytest.mark.soak)  # each with one, and the last with all
        for place, grid in enumerate(GRIDS)
        for number, crs in enumerate((UTM, "EPSG:4326", "EPSG:3857", None))
    ],
)
def test_areas_are_burnt_as_rasterio_does_it(grid: str, crs: str | None, tmp_path: Path) -> None:
    stated = named(crs) if crs not in (None, "EPSG:4326") else None
    wanted = {name: written(tmp_path, name, GRIDS[grid], crs, AREAS, stated) for name in ("a", "b")}
    dataset = open_annotated(str(tmp_path), workers=1, progress=False)
    assert dataset.labels.names == ("background", "field", "water") and not dataset.faults
    for item in dataset.items:
        found = dataset.read(item).label_map
        assert int((found != wanted[item.name.rpartition("/")[2]]).sum()) <= (0 if crs in (UTM, None) else 2)
    said = " ".join(map(str, dataset.notes))
    assert ("another coordinate system" in said) == (crs not in (UTM, None)) and ("that of their raster was taken" in said) == (crs is None)


def test_labels_of_another_place_or_system_are_named(tmp_path: Path) -> None:
    written(tmp_path, "a", GRIDS["north up"], UTM, AREAS, named(UTM))
    far = [("field", [(5_000, 5_000), (5_030, 5_000), (5_030, 5_030)])]
    written(tmp_path, "b", GRIDS["north up"], UTM, far, named(UTM))
    written(tmp_path, "c", GRIDS["north up"], UTM, [*AREAS, *far], named(UTM))
    dataset = open_annotated(str(tmp_path), workers=1, progress=False)
    (fault,) = dataset.faults
    assert "b.geojson" in fault.file and "all 1 areas lie outside of the raster" in str(fault.what) and "EPSG:32633" in str(fault.what)
    assert any("1 areas lie outside of their raster" in str(note) for note in dataset.notes)
    # Said to be in another system than they are: they end up elsewhere.
    written(tmp_path / "other", "a", GRIDS["north up"], UTM, AREAS, named("EPSG:32610"))
    with pytest.raises(DataError, match="outside of the raster"):
        open_annotated(str(tmp_path / "other"), workers=1, progress=False)
    written(tmp_path / "nobody", "a", GRIDS["north up"], UTM, AREAS, {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::999999"}})
    with pytest.raises(DataError, match="nobody knows one of the two"):
        open_annotated(str(tmp_path / "nobody"), workers=1, progress=False)


def test_classes_are_numbers_or_called_classification_and_collections_hold_several_areas(tmp_path: Path) -> None:
    """As GIS writes them. QuPath's `classification` is an object, and only then are coordinates pixels."""
    for kind, classes in (("number", (3, 7.0)), ("classification", ("field", "water")), ("DN", (1, 2))):
        root = tmp_path / kind
        wanted = written(root, "a", GRIDS["north up"], UTM, AREAS, named(UTM))
        path = root / "labels" / "a.geojson"
        data = json.loads(path.read_text())
        for feature in data["features"]:
            feature["properties"] = {"class" if kind == "number" else kind: classes[feature["properties"]["class"] == "water"]}
        first, other = data["features"][0], data["features"].pop(2)
        both = {"type": "MultiPolygon", "coordinates": [first["geometry"]["coordinates"], other["geometry"]["coordinates"]]}
        first["geometry"] = {"type": "GeometryCollection", "geometries": [both, {"type": "Point", "coordinates": first["geometry"]["coordinates"][0][0]}]}
        path.write_text(json.dumps(data))
        dataset = open_annotated(str(root), workers=1, progress=False)
        assert dataset.labels.names == ("background", *(str(int(each)) if isinstance(each, float) else str(each) for each in classes))
        assert np.array_equal(dataset.read(dataset.items[0]).label_map, wanted)

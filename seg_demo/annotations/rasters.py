"""Labels as GeoJSON that say where on Earth they lie, on the grid of the raster that they are of.

GeoJSON is in degrees of WGS 84 (RFC 7946), or in what its ``crs`` member names (the format of 2008, which GDAL and QGIS still write). A
pixel belongs to a polygon if its centre does, as in GDAL's and rasterio's ``rasterize``.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seg_demo.annotations.readers import Marked, Reading, loaded, read_geojson
from seg_demo.core.errors import SegDemoError
from seg_demo.core.picture import Georeference
from seg_demo.inputs.images import read
from seg_demo.inputs.shapes import Outline, Shape, Union

WGS84 = "EPSG:4326"
# Larger than any coordinate in metres or feet on Earth.
FARTHEST = 1e9
_OF_QUPATH = ('"objectType"', '"classification"')


def read_on_raster(path: Path, picture: Path, into: Reading) -> bool:
    """The areas of a GeoJSON in pixels of its raster, if that lies somewhere on Earth; not QuPath's, which are in pixels already.

    Args:
        path: the GeoJSON.
        picture: its image.
        into: gets what is read.

    Returns:
        Whether it was read.
    """
    try:
        data, raster = loaded(path), read(picture)
    except (SegDemoError, ValueError, OSError):
        return False  # whatever is wrong with either is said where it is read
    if raster.georeference is None or any(word in json.dumps(data)[:100_000] for word in _OF_QUPATH):
        return False
    first = len(into.pictures)
    read_geojson(path, into, farthest=FARTHEST)
    stated = data.get("crs") if isinstance(data, dict) else None
    for number in range(first, len(into.pictures)):
        marked = replace(into.pictures[number], size=raster.pixels.shape[:2])
        into.pictures[number] = _placed(marked, path, raster.georeference, stated, into)
    return True


def _placed(marked: Marked, path: Path, georeference: Georeference, stated: Any, into: Reading) -> Marked:
    """The same marks in pixels; those that lie elsewhere are counted, and a problem if all do."""
    corners = [_points(mark.shape) for mark in marked.marks]
    if not corners:
        return marked
    points = np.concatenate(corners)
    named = _crs_of(stated)
    if named is None:
        degrees = bool((np.abs(points[:, 0]) <= 360).all() and (np.abs(points[:, 1]) <= 90).all())
        named = WGS84 if degrees else georeference.crs
        into.dropped["crs_of_raster"] += not degrees
    if not georeference.crs:
        into.bad(path.name, "raster_without_crs", marked.image, crs=named or "?")
        return replace(marked, marks=())
    if named != georeference.crs:
        # Heavy, and of rasters alone.
        from seg_demo.inputs.scientific import reprojected

        points = reprojected(points, named, georeference.crs)
        if np.isnan(points).all():
            into.bad(path.name, "unknown_crs", marked.image, crs=named[:60], raster=georeference.crs[:60])
            return replace(marked, marks=())
        into.dropped["reprojected"] += 1
    a, b, c, d, e, f = georeference.affine
    pixels = np.linalg.solve(np.array([[a, b], [d, e]]), (points - [c, f]).T).T
    marks, at, away = [], 0, 0
    height, width = marked.size
    for mark, own in zip(marked.marks, corners, strict=True):
        there = pixels[at : at + len(own)]
        at += len(own)
        low, high = there.min(axis=0), there.max(axis=0)
        if not np.isfinite(there).all() or high.min() <= 0 or low[0] >= width or low[1] >= height:
            away += 1
        else:
            marks.append(replace(mark, shape=_with_points(mark.shape, there)))
    if away == len(corners):
        into.bad(path.name, "outside_raster", marked.image, count=away, crs=named[:60], raster=georeference.crs[:60])
    into.dropped["outside_raster"] += away if marks else 0
    return replace(marked, marks=tuple(marks))


def _crs_of(stated: Any) -> str | None:
    """``EPSG:n`` of a ``crs`` member, or what it names otherwise; None without one."""
    properties = stated.get("properties") if isinstance(stated, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str) or not name.strip():
        return None
    if re.search(r"CRS:?84$|CRS::?84$", name):
        return WGS84
    match = re.search(r"EPSG:(?:[\d.]*:)?(\d{4,6})$", name)
    return f"EPSG:{match[1]}" if match else name.strip()


def _points(shape: Shape) -> np.ndarray:
    """Corners of a shape that GeoJSON has, float64 (N, 2)."""
    parts = shape.parts if isinstance(shape, Union) else (shape,)
    return np.concatenate([np.array(ring, dtype=np.float64).reshape(-1, 2) for part in parts for ring in part.rings])


def _with_points(shape: Shape, points: np.ndarray) -> Shape:
    """The shape with other corners, in the order of :func:`_points`."""
    parts, made, at = shape.parts if isinstance(shape, Union) else (shape,), [], 0
    for part in parts:
        rings = []
        for ring in part.rings:
            count = len(ring) // 2
            rings.append(tuple(points[at : at + count].ravel().tolist()))
            at += count
        made.append(Outline(tuple(rings), part.rule))
    return made[0] if len(made) == 1 else Union(tuple(made))

"""What the page is told of a result: its measurements."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg_demo.core.errors import BadRequestError
from seg_demo.core.picture import Calibration
from seg_demo.core.types import LabelSet, Segmentation, semantic_segmentation
from seg_demo.gateway.visitor import Upload
from seg_demo.outputs.measurements import PixelSize, measure
from seg_demo.ui import results
from seg_demo.ui.results import CachedResult, Result, Units, measured, measurements_value

LABELS = LabelSet.from_names(("background", "cell"), 0)


def result_of(folder: Path, **facts: object) -> Result:
    """Three cells of 4, 9 and 16 pixels, one of them at the edge, on a coloured or grey picture."""
    mask = np.zeros((12, 30), np.uint8)
    mask[0:2, 1:3], mask[4:7, 8:11], mask[6:10, 20:24] = 1, 1, 1
    picture = np.stack([mask * 90, mask * (60 if facts.pop("coloured", False) else 90), mask * 90], axis=-1)
    Image.fromarray(picture).save(folder / "x.png")
    found: Segmentation = replace(semantic_segmentation(mask, LABELS), **facts)
    return Result(Upload(folder / "x.png", "x"), CachedResult(found), 0.0, b"")


def column(value: dict, name: str) -> list:
    return [row[4 + value["columns"].index(name)] for row in value["rows"]]


def test_rows_totals_and_histograms(tmp_path):
    result = result_of(tmp_path, coloured=True)
    value = json.loads(json.dumps(measurements_value(result, Units()), allow_nan=False))
    assert (value["kind"], value["count"], value["at_edge"], value["unit"], value["names"]) == ("piece", 3, 1, None, {"1": "cell"})
    assert column(value, "area") == [16, 9, 4] and column(value, "mean_green") == [60, 60, 60] and [row[3] for row in value["rows"]] == [0, 0, 1]
    assert value["summary"]["area"]["sum"] == 29 and sum(value["histograms"]["area"]["counts"]) == 3
    assert value["summary"].keys() == value["histograms"].keys() == {name for name in value["columns"] if not name.startswith("centroid")}
    inside = measurements_value(result, Units(inside=True))
    assert (inside["count"], inside["at_edge"], inside["summary"]["area"]["min"]) == (2, 1, 9)
    assert {"mean_grey", "sd_grey"} < set(measurements_value(result_of(tmp_path), Units())["columns"])


def test_what_is_typed_goes_before_what_the_file_says(tmp_path):
    result = result_of(tmp_path, calibration=Calibration((0.5, 0.25), "micrometer"))
    value = measurements_value(result, Units())
    assert (value["unit"], value["sides"], column(value, "area")) == ("um", [0.5, 0.25], [2, 1.125, 0.5])
    # Steps of an outline are of several lengths there.
    assert column(value, "perimeter") == [None] * 3 and value["histograms"]["perimeter"] is None
    typed = measurements_value(result, Units.of({"length": " 2,0 ", "unit": "nm", "inside": 1}))
    assert (typed["unit"], column(typed, "area"), typed["inside"]) == ("nm", [64, 36, 16], False)
    assert column(typed, "perimeter") == [2 * value for value in measure(result.shown, None, pieces=True).perimeter]
    assert Units.of(None) == Units() and Units.of({"length": "", "unit": "x"}) == Units()
    assert Units.of({"length": "0.5", "unit": "mm"}).pixel == PixelSize(0.5, "mm")
    for length in ("x", "-1", "0", "1e999"):
        with pytest.raises(BadRequestError):
            Units.of({"length": length, "unit": "um"})


def test_shapes_are_measured_without_the_picture_and_many_rows_are_cut(tmp_path, monkeypatch):
    result = result_of(tmp_path)
    (tmp_path / "x.png").unlink()
    monkeypatch.setattr(results, "MOST_ROWS", 2)
    value = measurements_value(result, Units())
    assert column(value, "area") == [16, 9] and value["count"] == 3 and not any(name.startswith("mean_") for name in value["columns"])
    assert measured(result) is measured(result)
    monkeypatch.setattr(results, "MOST_KEPT", 2)
    assert measured(other := result_of(tmp_path)) is not measured(other)

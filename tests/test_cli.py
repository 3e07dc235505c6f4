"""The command line, as a command: what it writes, what it says, its exit codes."""

from __future__ import annotations

import argparse
import csv
import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from seg_demo.__main__ import find_jobs, main
from seg_demo.core.errors import BadRequestError
from tests.checkpoints import write_tiny

FILES = {
    "mask.png",
    "overlay.png",
    "coco_rle.json",
    "coco_polygons.json",
    "segments.geojson",
    "segments.csv",
    "classes.csv",
    "result.json",
}


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (37, 50)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_tiny(folder)
    return str(folder)


def test_files_and_folders_are_segmented_and_a_bad_file_does_not_stop_the_rest(tmp_path, checkpoint, capsys):
    images, out = tmp_path / "images", tmp_path / "images" / "out"
    write_image(images / "a.png", 1)
    write_image(images / "a.jpg", 2)
    write_image(images / "deep" / "a.png", 3, (20, 30))
    (images / "bad.png").write_text("no image")
    (images / "notes.txt").write_text("not looked at")
    assert main(["segment", str(images), str(images / "a.png"), "--model", checkpoint, "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert "3 of 4 images segmented" in captured.out and "bad.png" in captured.err
    assert {path.parent.relative_to(out).as_posix() for path in out.rglob("result.json")} == {"a_png", "a_jpg", "deep/a"}
    for folder in ("a_png", "a_jpg", "deep/a"):
        assert {path.name for path in (out / folder).iterdir()} == FILES
    result = json.loads((out / "deep" / "a" / "result.json").read_text())
    assert (result["height"], result["width"], result["model"]["source"]) == (20, 30, "folder")
    assert np.asarray(Image.open(out / "deep" / "a" / "mask.png")).shape == (20, 30)

    before = (out / "a_png" / "mask.png").stat().st_mtime_ns
    assert main(["segment", str(images), "--model", checkpoint, "--out", str(out)]) == 1
    assert "3 of 4 images have results" in capsys.readouterr().out
    assert (out / "a_png" / "mask.png").stat().st_mtime_ns == before
    (images / "bad.png").unlink()
    assert main(["segment", str(images), "--model", checkpoint, "--out", str(out), "--threshold", "0.4"]) == 2
    assert "results of another run" in capsys.readouterr().err
    assert main(["segment", str(images), "--model", checkpoint, "--out", str(out), "--overwrite", "--pixel-size", "2mm"]) == 0
    assert (out / "a_png" / "mask.png").stat().st_mtime_ns > before
    # Each class of each image, measured; and the pieces of all images together.
    with (out / "a_png" / "segments.csv").open(newline="") as file:
        classes = list(csv.DictReader(file))
    assert [float(row["area_mm2"]) for row in classes] == [4 * int(row["area"]) for row in classes] and "sd_blue" in classes[0]
    with (out / "pieces.csv").open(newline="") as file:
        pieces = list(csv.DictReader(file))
    assert all(float(row["area_mm2"]) == 4 * int(row["area"]) for row in pieces)
    with (out / "counts.csv").open(newline="") as file:
        counted = {(row["image"], row["label"]): int(row["count"]) for row in csv.DictReader(file) if row["label_id"] != "0"}
    assert Counter((row["image"], row["label"]) for row in pieces) == Counter({key: count for key, count in counted.items() if count})


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--model", "resnet"], "There is no model 'resnet'"),
        (["--model", "../nowhere"], "it is not there"),
        (["--model", "otsu", "--threshold", "1.5"], "threshold must be a number from 0 to 1"),
        (["--model", "otsu", "--threshold", "nan"], "threshold must be a number from 0 to 1"),
    ],
)
def test_nothing_is_started_with_what_cannot_work(tmp_path, capsys, extra, said):
    write_image(tmp_path / "a.png")
    assert main(["segment", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), *extra]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_device_is_said(tmp_path, checkpoint, capsys):
    write_image(tmp_path / "a.png")
    command = ["segment", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--model", checkpoint]
    assert main([*command, "--device", "cuda:99"]) == 2
    assert "no device 'cuda:99' here" in capsys.readouterr().err


def test_missing_paths_and_empty_folders(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["segment", str(tmp_path / "none.png"), "--model", "otsu", "--out", str(tmp_path / "out")]) == 2
    assert "cannot be found" in capsys.readouterr().err
    assert main(["segment", str(tmp_path / "empty"), "--model", "otsu", "--out", str(tmp_path / "out")]) == 2
    assert "No images are in" in capsys.readouterr().err


def test_usage_errors_exit_with_2():
    for command in ([], ["segment"], ["segment", "a.png", "--out", "x"], ["dance"]):
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert caught.value.code == 2


def test_every_image_gets_a_folder_of_its_own(tmp_path):
    names = ["one/a.png", "one/a.PNG.png", "one/A.jpg", "one/a_jpg.png", "two/a.png", "two/b.c.png"]
    for name in names:
        write_image(tmp_path / name)
    jobs = find_jobs([tmp_path / "one", tmp_path / "two", tmp_path / "one" / "a.png"], tmp_path / "out")
    assert len(jobs) == len(names)
    targets = [str(job.target).lower() for job in jobs]
    assert len(set(targets)) == len(targets)
    with pytest.raises(BadRequestError):
        find_jobs([tmp_path / "one"], tmp_path / "one")


def test_the_menu_is_listed(capsys):
    assert main(["models"]) == 0
    assert "otsu" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"id", "title", "task", "tasks", "architecture", "source", "licence", "labels", "channels", "available", "promptable"} == set(rows[0])


def test_tables_that_cannot_be_written_are_told_from_a_command_that_did_nothing(tmp_path, capsys):
    write_image(tmp_path / "a.png", 1)
    out = tmp_path / "out"
    (out / "coco.json").mkdir(parents=True)
    asked = ["segment", str(tmp_path / "a.png"), "--model", "otsu", "--out", str(out)]
    for _ in range(2):  # what is done stays, and then the tables alone are missing
        assert main(asked) == 1
        assert f"The tables in {out} could not be written" in capsys.readouterr().err
        assert (out / "a" / "result.json").is_file() and not list(out.glob("*.annotations"))
    (out / "coco.json").rmdir()
    assert main(asked) == 0 and (out / "coco.json").is_file()


def test_formats_that_are_asked_for_are_written_alone(tmp_path, checkpoint, capsys):
    write_image(tmp_path / "a.png", 1)
    out = tmp_path / "out"
    asked = ["segment", str(tmp_path / "a.png"), "--model", checkpoint, "--out", str(out)]
    assert main([*asked, "--format", "csv", "png", "--format", "coco", "geojson"]) == 0
    assert {path.name for path in (out / "a").iterdir()} == {"mask.png", "coco_rle.json", "segments.geojson", "segments.csv"}
    assert {path.name for path in out.iterdir()} == {"a", "run.json"}
    before = (out / "a" / "mask.png").stat().st_mtime_ns
    assert main([*asked, "--format", "png", "csv", "coco", "geojson"]) == 0
    assert "1 of 1 images have results" in capsys.readouterr().out and (out / "a" / "mask.png").stat().st_mtime_ns == before
    assert main(asked) == 2 and "results of another run" in capsys.readouterr().err
    other = [*asked[:-1], str(tmp_path / "other")]
    assert main([*other, "--format", "coco-panoptic"]) == 2
    assert "is for panoptic results, but the task is 'semantic'" in capsys.readouterr().err
    assert main([*other, "--thresholds", '{"scores": 1}']) == 2 and "score, mask, overlap" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    with pytest.raises(SystemExit, match="2"):
        main([*other, "--format", "dicom"])


@pytest.mark.parametrize(
    ("model", "extra", "said"),
    [
        (None, ["--task", "panoptic"], "does not answer the task 'panoptic'"),
        (None, ["--task", "panoptic", "--workers", "2"], "does not answer the task 'panoptic'"),
        (None, ["--smoothing", "2"], "is a network"),
        (None, ["--thresholds", '{"score": 0.5}'], "has no such thresholds"),
        ("otsu", ["--looks", "2"], "looks at a picture once"),
        ("otsu", ["--smoothing", "-1"], "must be a number from 0 to 8"),
        ("slic", ["--smoothing", "1"], "has no parameter 'smoothing'"),
        ("otsu", ["--thresholds", '{"score": 0.5}'], "has no such thresholds"),
        ("click", ["--detail", "full"], "Full detail"),
    ],
)
def test_what_no_picture_can_be_segmented_with_is_said_once_and_nothing_is_started(tmp_path, checkpoint, capsys, model, extra, said):
    """A folder that noted such options refused the command that leaves them out."""
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name)
    command = ["segment", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--model", model or checkpoint, "--out", str(tmp_path / "out")]
    assert main([*command, *extra]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("error: ") == 1 and "failed" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("typed", "expected"), [([], ([2, 3], "meter", 6)), (["--pixel-size", "500nm"], ([500, 500], "nanometer", 250_000))])
def test_rows_have_the_pixel_size_that_is_typed(tmp_path, typed, expected):
    """Of a GeoTIFF, too, whose own is what they have without it."""
    parquet = pytest.importorskip("pyarrow.parquet")
    place = (33550, "d", 3, (2.0, 3.0, 0.0), True), (33922, "d", 6, (0, 0, 0, 5e5, 5e6, 0), True), (34735, "H", 12, (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633), True)
    picture = np.zeros((40, 50), np.uint8)
    picture[5:15, 5:25] = 200
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="minisblack", extratags=place)
    assert main(["segment", str(tmp_path / "a.tif"), "--model", "otsu", "--out", str(tmp_path / "out"), "--parquet", *typed]) == 0
    (row,) = parquet.read_table(tmp_path / "out" / "results").to_pylist()
    size, unit, area = expected
    assert (row["pixel_size"], row["unit"], row["crs"]) == (size, unit, "EPSG:32633")
    assert [each["area_units"] for each in row["segments"]] == [each["area"] * area for each in row["segments"]] != []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", pressed)
    monkeypatch.setattr(sys, "argv", ["seg_demo", "models"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("seg_demo", run_name="__main__")
    assert ended.value.code == 130 and capsys.readouterr().err == "Stopped.\n"

"""COCO's annotations converted into other tools' formats, each conversion a process of its own, beside datumaro's.

datumaro is not among the project's requirements: ``DATUMARO=/path/to/environment/bin/python`` names an environment that has it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import Row

OBJECTS, PER_PICTURE, SIDES = 100_000, 50, (480, 640)
# Ours → what datumaro calls it, and what it has to do before: its writers of masks leave outlines out without a word.
# Not YOLO: of outlines it writes the boxes alone.
FORMATS = {"coco": ("coco_instances", ""), "cvat": ("cvat", ""), "labelme": ("label_me", ""), "voc": ("voc_segmentation", "polygons_to_masks")}
PEER = (
    "import sys; from datumaro.components.dataset import Dataset; source, target, form, before = sys.argv[1:]; data = Dataset.import_from(source, 'coco_instances'); "
    "data = data.transform(before) if before else data; data.export(target, form, save_media=False)"
)
TARGET = 0.5


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: a fiftieth of the objects.
    """
    count, repeats = OBJECTS // 50 if quick else OBJECTS, 1
    peer = os.environ.get("DATUMARO")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        source = coco(Path(name) / "source", count)
        for ours in FORMATS:
            yield _row(source, Path(name), ours, peer, count, repeats)


def coco(folder: Path, count: int) -> Path:
    """A data set of COCO's with polygons of 12 to 40 corners, as people draw them; seeded.

    Args:
        folder: gets ``annotations/instances_train.json`` and ``images/train/``.
        count: of objects.
    """
    rng = np.random.default_rng(17)
    height, width = SIDES
    (folder / "annotations").mkdir(parents=True)
    (folder / "images/train").mkdir(parents=True)
    images, annotations = [], []
    for number in range(1, -(-count // PER_PICTURE) + 1):
        images.append({"id": number, "file_name": f"{number:06d}.png", "height": height, "width": width})
        Image.new("L", (width, height)).save(folder / "images/train" / f"{number:06d}.png")
        for _ in range(min(PER_PICTURE, count - len(annotations))):
            corners = int(rng.integers(12, 41))
            angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
            radius = rng.uniform(4, 40) * rng.uniform(0.8, 1.2, corners)
            x = np.clip(rng.uniform(0, width) + radius * np.cos(angles), 0, width).round(2)
            y = np.clip(rng.uniform(0, height) + radius * np.sin(angles), 0, height).round(2)
            box = [x.min(), y.min(), x.max() - x.min(), y.max() - y.min()]
            area = abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": int(rng.integers(1, 21)), "iscrowd": 0, "area": area,
                "bbox": [float(value) for value in box], "segmentation": [np.stack([x, y], axis=1).ravel().tolist()],
            })  # fmt: skip
    categories = [{"id": number, "name": f"class {number}", "supercategory": ""} for number in range(1, 21)]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (folder / "annotations/instances_train.json").write_text(text)
    return folder


def _row(source: Path, work: Path, ours: str, peer: str | None, count: int, repeats: int) -> Row:
    """One format, both ways in turn."""
    target = work / "converted"
    mine = [sys.executable, "-m", "seg_demo", "convert", str(source), "--to", ours, "--out", str(target), "--no-images"]
    other = [peer, "-c", PEER, str(source), str(target), *FORMATS[ours]]
    spent: dict[str, list[tuple[float, float, int]]] = {"ours": [], "theirs": []}
    written: dict[str, int | None] = {}
    for _ in range(repeats):
        for who, command in (("ours", mine), ("theirs", other)) if peer else (("ours", mine),):
            spent[who].append(_run(command))
            written[who] = _written(target, ours)
            subprocess.run(["rm", "-rf", target], check=True)
    (wall, cpu, peak), rest = _median(spent["ours"]), _median(spent["theirs"]) if peer else (None, None, None)
    told = [f"{written[who]:,}{'' if who == 'ours' else ' by datumaro'}" for who in written if written[who] is not None]
    result = f"objects written: {', '.join(told)}" if told else "masks written"
    return Row(
        f"COCO of {count:,} objects to {ours}, one process", "datumaro" if peer else "datumaro is not installed (DATUMARO names its Python)", wall, rest[0], cpu, rest[1],
        peak, rest[2], result, TARGET, None, repeats, time.strftime("%Y-%m-%d"),
    )  # fmt: skip


def _run(command: Sequence[str]) -> tuple[float, float, int]:
    """Seconds, processor seconds and peak bytes of a process."""
    began = time.perf_counter()
    # Compiled modules are kept, as they are for everybody.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def _median(runs: Sequence[tuple[float, float, int]]) -> tuple[float, float, int]:
    seconds, cpu, peaks = zip(*runs, strict=True)
    return statistics.median(seconds), statistics.median(cpu), max(peaks)


def _written(folder: Path, kind: str) -> int | None:
    """How many objects a converted data set has, counted without either program; None where that takes looking at pixels."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if kind == "coco":
        # A process begins with the peak of the one that starts it: this one reads no lists.
        return sum(path.read_bytes().count(b'"category_id"') for path in files if path.suffix == ".json")
    if kind == "cvat":
        return sum(path.read_bytes().count(mark) for path in files if path.suffix == ".xml" for mark in (b"<polygon", b"<mask"))
    if kind == "yolo":
        return sum(len(path.read_bytes().splitlines()) for path in files if path.suffix == ".txt" and "labels" in path.parts)
    if kind == "labelme":
        marks = ((".json", b'"shape_type"'), (".xml", b"<object>"))
        return sum(path.read_bytes().count(mark) for path in files for suffix, mark in marks if path.suffix == suffix)
    return None

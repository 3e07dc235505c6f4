"""Annotations of one tool → those of another: ``python -m seg_demo convert ANNOTATIONS --to FORMAT --out DIR``.

Everything that training reads (``--data``) is understood, picture by picture, so that memory holds one of them. Outlines are drawn by the rule of the tool
that wrote them, and written by that of the one that shall read them. What the other format cannot hold is counted and said; a picture that cannot be
read is named, and the rest goes on.

Exit codes: 0 everything converted; 1 some pictures were left out; 2 nothing was written, and why.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import orjson
from tqdm import tqdm

from seg_demo.annotations.coco import BadAnnotation
from seg_demo.annotations.pictures import Drawn, Read, pictures_of
from seg_demo.core.errors import BadRequestError, SegDemoError
from seg_demo.core.types import INSTANCE, PANOPTIC, TASKS, LabelSet, ignore_id
from seg_demo.outputs import export
from seg_demo.outputs.draw import encode_png, viewer_id_png
from seg_demo.outputs.interchange import FORMATS, Annotated, DataSet, Format, classes_of, loss_sentences

DONE, SOME_FAILED, NOTHING_WRITTEN = 0, 1, 2
# How many pictures that were left out are named one by one.
_NAMED = 20


class Coco(Format):
    """COCO's JSON of objects, one per split, masks as run lengths."""

    name = "coco"
    lacks = frozenset({"uncrowded"})

    def __init__(self, labels: LabelSet) -> None:
        super().__init__(labels)
        self._images: dict[str, list[dict[str, object]]] = {}
        self._count, self._task = 0, INSTANCE.name

    def files(self, one: Annotated) -> dict[str, bytes]:
        result = one.segmentation
        self._task = result.task
        split = one.split or "default"
        images = self._images.setdefault(split, [])
        images.append({"id": len(images) + 1, "file_name": one.file, "width": result.width, "height": result.height})
        annotations = export.coco(result, one.file)["annotations"]
        for crowd in one.crowds:
            x0, y0, x1, y1 = crowd.box
            about = {"category_id": crowd.label_id, "iscrowd": 1, "area": crowd.area, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            annotations.append({"id": 0, "image_id": 0, **about, "segmentation": crowd.runs(result.height).encoded(result.width)})
        for annotation in annotations:
            self._count += 1
            annotation["id"], annotation["image_id"] = self._count, len(images)
        return {f"annotations/instances_{split}.json": orjson.dumps(annotations)[1:-1]}

    def parts(self) -> dict[str, tuple[bytes, bytes, bytes]]:
        # The background of objects is no category.
        listed = classes_of(self.labels) if TASKS[self._task].objects else range(len(self.labels))
        categories = json.dumps([{"id": label, "name": self.labels.names[label], "supercategory": ""} for label in listed], separators=(",", ":"))
        about = f'],"info":{{"description":"segmentation","task":"{self._task}"}},"categories":{categories},"images":'
        return {
            f"annotations/instances_{split}.json": (b'{"annotations":[', b",\n", f"{about}{json.dumps(self._images.get(split, []))}}}".encode("ascii"))
            for split in ("default", "train", "val")
        }


class CocoPanoptic(Format):
    """COCO's panoptic JSON and PNGs, one of each folder per split."""

    name = "coco-panoptic"
    lacks = frozenset({"scores"})

    def __init__(self, labels: LabelSet) -> None:
        super().__init__(labels)
        self._said: dict[str, dict[str, list[object]]] = {}

    def files(self, one: Annotated) -> dict[str, bytes]:
        split = one.split or "default"
        said = self._said.setdefault(split, {"images": [], "annotations": []})
        png = f"{one.stem}.png"
        found = export.coco_panoptic(one.segmentation, one.file, png)
        number = len(said["images"]) + 1
        said["images"].append({**found["images"][0], "id": number})
        said["annotations"].append({**found["annotations"][0], "image_id": number})
        return {f"annotations/panoptic_{split}/{png}": viewer_id_png(one.segmentation)}

    def about(self) -> dict[str, bytes]:
        categories = [
            {"id": label, "name": name, "isthing": int(self.labels.is_thing(label)), "supercategory": ""} for label, name in enumerate(self.labels.names)
        ]
        return {
            f"annotations/panoptic_{split}.json": json.dumps({**said, "categories": categories}, separators=(",", ":")).encode("ascii")
            for split, said in self._said.items()
        }


class Png(Format):
    """Folders of PNG masks: a class per pixel, and beside it an object's number per pixel, as training reads them."""

    name = "png"
    lacks = frozenset({"scores", "overlaps"})

    def files(self, one: Annotated) -> dict[str, bytes]:
        result = one.segmentation
        dtype = np.uint8 if len(self.labels) < 255 else np.uint16
        kinds = np.full(np.iinfo(result.id_map.dtype).max + 1, self.labels.background or 0, dtype=dtype)
        for identity, segment in zip(result.ids, result.segments, strict=True):
            kinds[identity] = segment.label_id
        if TASKS[result.task].stuff:
            kinds[0] = ignore_id(dtype)
        classes = kinds[result.id_map]
        if one.void is not None:
            classes[one.void] = ignore_id(dtype)
        folder = self._split_folder(one.split)
        found = {f"{folder}masks/{one.stem}.png": encode_png(classes)}
        if TASKS[result.task].objects:
            found[f"{folder}instances/{one.stem}.png"] = encode_png(result.id_map.astype(np.uint16))
        return found

    def place(self, one: Annotated) -> str:
        return f"{self._split_folder(one.split)}images/{one.file}"

    def about(self) -> dict[str, bytes]:
        return {"labels.json": json.dumps({str(label): name for label, name in enumerate(self.labels.names)}, ensure_ascii=False, indent=1).encode("utf-8", "replace")}


class GeoJson(Format):
    """GeoJSON in pixels, one per picture beside it."""

    name = "geojson"
    pictures = ""

    def files(self, one: Annotated) -> dict[str, bytes]:
        found = export.geojson(one.segmentation, one.polygons)
        kept = {one.segmentation.ids[index] for index, *_ in one.marks}
        found["features"] = [feature for feature in found["features"] if feature["id"] in kept]
        return {f"{one.stem}.geojson": json.dumps(found, allow_nan=False, separators=(",", ":")).encode("ascii")}


TARGETS: dict[str, type[Format]] = {"png": Png, "coco": Coco, "coco-panoptic": CocoPanoptic, "geojson": GeoJson, **FORMATS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    options = parser().parse_args(argv)
    try:
        return convert(options.annotations, options.to, options.out, options.images)
    except SegDemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return NOTHING_WRITTEN


def parser() -> argparse.ArgumentParser:
    """Of the command's arguments."""
    found = argparse.ArgumentParser(
        prog="python -m seg_demo convert",
        description="Convert annotations from any format that training reads into another. Exit codes: 0 all converted, 1 some pictures were left out, 2 nothing was written.",
    )
    found.add_argument("annotations", metavar="ANNOTATIONS", help="a folder, a file, or hub:USER/NAME, as for --data of train/finetune.py")
    found.add_argument("--to", required=True, choices=tuple(TARGETS), metavar="FORMAT", help=", ".join(TARGETS))
    found.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the annotations go; new or empty")
    found.add_argument("--no-images", dest="images", action="store_false", help="do not copy the pictures to where the tool looks for them")
    return found


def convert(source: str, to: str, out: Path, images: bool = True) -> int:
    """Convert annotations, and say what was understood, dropped and lost.

    Args:
        source: as for ``--data``.
        to: of :data:`TARGETS`.
        out: a folder that is new or empty.
        images: whether pictures are copied too.

    Returns:
        The exit code.

    Raises:
        SegDemoError: nothing could be read, or nothing be written; the message says what.
    """
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BadRequestError("convert.out_not_empty", out=out)
        with _uncollected():
            pictures = pictures_of(source)
        form = TARGETS[to](pictures.labels)
        if to == CocoPanoptic.name and not TASKS[pictures.task].stuff:
            raise BadRequestError("exports.other_task", format=to, task=pictures.task, tasks=PANOPTIC.name)
        out.mkdir(parents=True, exist_ok=True)
        return _convert(pictures, DataSet(out, form), out, images)
    except OSError as error:
        raise BadRequestError("cli.out_not_writable", out=out, why=error.strerror or error) from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is made meanwhile is no garbage: looking through a million objects for some, again and again, takes longer than to write them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


def _convert(pictures: Drawn | Read, data: DataSet, out: Path, images: bool) -> int:
    for note in pictures.notes:
        print(f"note: {note}")
    failed = [f"{file}: {what}" for file, what in pictures.failed]
    done = 0
    try:
        with tqdm(total=len(pictures.items), unit="picture", disable=None) as bar:
            for item in pictures.items:
                try:
                    one = pictures.annotated(item)
                    data.add(one, item.image if images else None)
                    done += 1
                except BadAnnotation as problem:
                    failed.append(f"{problem.file}: {problem.what}")
                except SegDemoError as error:
                    failed.append(f"{item.name}: {error}")
                bar.update()
        data.close()
    finally:
        data.abandon()
    for line in failed[:_NAMED]:
        print(f"left out: {line}", file=sys.stderr)
    if len(failed) > _NAMED:
        print(f"left out: {len(failed) - _NAMED} more", file=sys.stderr)
    for sentence in loss_sentences(data.form.name, data.form.lost):
        print(f"lost: {sentence}")
    total = done + len(failed)
    print(f"{done} of {total} pictures converted to {data.form.name}; results in {out}.")
    return SOME_FAILED if failed else DONE

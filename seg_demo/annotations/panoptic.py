"""COCO panoptic JSON and its PNGs → items, by panopticapi's rules; a PNG → the maps of its picture.

A picture's entry lists segments by id, category and ``iscrowd``; its PNG holds the id of every pixel, R + 256 G + 65536 B, 0 where nothing is
known (Kirillov et al. 2019, arXiv 1801.00868). Categories say with ``isthing`` whether they are things, each segment an object, or stuff, all of
which is one segment.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg_demo.annotations.classes import ClassList, is_left_out
from seg_demo.annotations.file_names import FileFinder, SeveralFit, read_lists, several_fit
from seg_demo.annotations.listing import Fault, Item, Listing, PanopticTruth, SegmentInfo, climbing, inside, relative, short_name, sideways, turn
from seg_demo.core.errors import DataError, Message
from seg_demo.core.types import IGNORE_16
from seg_demo.inputs.mask_files import panoptic_ids

VOID = 0
PREFIX = "panoptic_"


def list_panoptic(files: list[tuple[Path, str | None]], name: str, root: Path) -> Listing:
    """Indexes panoptic files: one, or one per split, which share their categories.

    Categories that no segment has are left out, and segments of one called void, ignore or unlabelled are void.

    Args:
        files: (path, split) each; split None where one file holds everything.
        name: of the dataset.
        root: folder to which messages name files.

    Raises:
        DataError: a file is no panoptic JSON, or its categories do not say what they are.
    """
    read = [(path, split, _read(path)) for path, split in files]
    listing = Listing(short_name(name), root)
    ids = _categories(read, listing)
    for path, split, data in read:
        _add_items(path, split, data, ids, listing, f"{split or path.stem}/" if len(files) > 1 else "")
    listing.settle_test_split()
    return listing


def _read(path: Path) -> dict:
    data = read_lists(path)
    wanted = {"images": {"id": (int, str), "file_name": str}, "annotations": {"image_id": (int, str), "file_name": str, "segments_info": list}}
    wanted["categories"] = {"id": (int, str), "name": str, "isthing": (int, bool)}
    for key, fields in wanted.items():
        for position, entry in enumerate(data[key]):
            lacking = [field for field, kind in fields.items() if not (isinstance(entry, dict) and isinstance(entry.get(field), kind))]
            if lacking:
                raise DataError("coco.entry_lacks", path=path, key=key, position=position, lacking=", ".join(lacking))
    for position, entry in enumerate(data["annotations"]):
        whole = all(isinstance(info, dict) and type(info.get("id")) is int and isinstance(info.get("category_id"), int | str) for info in entry["segments_info"])
        if not whole:
            raise DataError("panoptic.segment_lacks", path=path, position=position)
    if not data["images"]:
        raise DataError("coco.no_images", path=path)
    return data


@dataclass(frozen=True)
class _Category:
    """A category: its label id, or None where its segments are void, and whether it is of things."""

    label_id: int | None
    thing: bool


def _categories(read: list[tuple[Path, str | None, dict]], listing: Listing) -> dict[object, _Category]:
    """Category id → what it is; sets the classes of the listing."""
    rows: dict[object, dict] = {}
    for path, _, data in read:
        own = Counter(category["id"] for category in data["categories"])
        for row in data["categories"]:
            before = rows.setdefault(row["id"], row)
            if own[row["id"]] > 1 or (before["name"], bool(before["isthing"])) != (row["name"], bool(row["isthing"])):
                raise DataError("coco.category_id_twice", path=path, id=row["id"], other=before["name"], name=row["name"])
    used = {info["category_id"] for _, _, data in read for entry in data["annotations"] for info in entry["segments_info"]}
    empty = [row["name"] for identity, row in rows.items() if identity not in used]
    if empty:
        few = ", ".join(empty[:8]) + (f" and {len(empty) - 8} more" if len(empty) > 8 else "")
        listing.notes.append(Message("coco.empty_categories", names=few))
    in_order = sorted((identity for identity in rows if identity in used), key=lambda identity: (isinstance(identity, str), identity))
    kept = [identity for identity in in_order if not is_left_out(rows[identity]["name"]) or rows[identity]["isthing"]]
    if not kept:
        raise DataError("coco.no_annotations", path=read[0][0])
    names = tuple(rows[identity]["name"].strip() for identity in kept)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError("coco.category_name_twice", path=read[0][0], name=twice[0])
    colours = tuple(_colour(rows[identity].get("color")) for identity in kept)
    listing.classes = ClassList(names, tuple(range(len(names))), colours, read[0][0].name)
    listing.things = tuple(bool(rows[identity]["isthing"]) for identity in kept)
    void = [rows[identity]["name"] for identity in in_order if identity not in kept]
    if void:
        listing.notes.append(Message("panoptic.void_categories", names=", ".join(void)))
    labels = {identity: label for label, identity in enumerate(kept)}
    return {identity: _Category(labels.get(identity), bool(row["isthing"])) for identity, row in rows.items()}


def _colour(value: object) -> tuple[int, int, int] | None:
    whole = isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value)
    return tuple(value) if whole else None


def _add_items(path: Path, split: str | None, data: dict, ids: dict[object, _Category], listing: Listing, prefix: str) -> None:
    pictures, pngs = FileFinder(_picture_roots(path)), FileFinder(_png_roots(path))
    file = path.name
    counts = Counter(image["id"] for image in data["images"])
    images = {image["id"]: image for image in data["images"]}
    entries: dict[object, dict] = {}
    for entry in data["annotations"]:
        if entry["image_id"] not in images:
            what = Message("findings.image_id_unknown", image_id=entry["image_id"])
            listing.faults.append(Fault("unknown image id", f"{file}, {entry['file_name']}", what, Message("findings.add_the_image_to_the_list")))
        elif entry["image_id"] in entries:
            what, remedy = Message("findings.panoptic_entry_twice", image_id=entry["image_id"]), Message("findings.keep_one_panoptic_entry")
            listing.faults.append(Fault("duplicate COCO id", file, what, remedy, item=prefix + str(images[entry["image_id"]]["file_name"])))
        else:
            entries[entry["image_id"]] = entry
    for image_id, image in images.items():
        listed, name = str(image["file_name"]), prefix + str(image["file_name"]).replace("\\", "/")
        if counts[image_id] > 1:
            what = Message("findings.image_id_repeated", image_id=image_id, counts=counts[image_id])
            listing.faults.append(Fault("duplicate COCO id", file, what, Message("findings.number_the_images_without_repeats"), item=name))
            continue
        entry = entries.get(image_id)
        if entry is None:
            what, remedy = Message("findings.no_panoptic_entry"), Message("findings.add_panoptic_entry_or_remove_image")
            listing.faults.append(Fault("missing annotation", f"{file}, {listed}", what, remedy, item=name))
            continue
        found = _found(listed, pictures, file, name, listing, "image")
        png = _found(entry["file_name"], pngs, file, name, listing, "mask")
        if found is None or png is None:
            continue
        segments = _segments(entry, ids, f"{file}, {entry['file_name']}", name, listing)
        stated = (image.get("height"), image.get("width"))
        declared = stated if all(type(side) is int for side in stated) else None
        listing.items.append(Item(name, found, panoptic=PanopticTruth(png, segments), split=split, declared=declared))
    listing.faults += [*pictures.note(file), *pngs.note(file)]


def _found(listed: str, finder: FileFinder, file: str, item: str, listing: Listing, kind: str) -> Path | None:
    """The file of a listed name; where there is none, its fault is noted."""
    try:
        found = finder.find(listed)
    except SeveralFit as several:
        listing.faults.append(several_fit(listed, several.files, file, item))
        return None
    if found is None and inside(Path(), listed) is None:
        listing.faults.append(climbing(listed, file, item))
    elif found is None and kind == "image":
        what, remedy = Message("findings.listed_image_missing", listed=listed), Message("findings.put_the_image_there_or_remove")
        listing.faults.append(Fault("missing image", file, what, remedy, item=item))
    elif found is None:
        what, remedy = Message("findings.panoptic_png_missing", listed=listed), Message("findings.put_panoptic_png_beside")
        listing.faults.append(Fault("missing mask", file, what, remedy, item=item))
    return found


def _segments(entry: dict, ids: dict[object, _Category], where: str, item: str, listing: Listing) -> tuple[SegmentInfo, ...]:
    segments: dict[int, SegmentInfo] = {}
    for info in entry["segments_info"]:
        category = ids.get(info["category_id"])
        if category is None:
            what = Message("findings.segment_of_unknown_category", id=info["id"], category=info["category_id"])
            listing.faults.append(Fault("unknown category id", where, what, Message("findings.add_the_category_or_remove"), item=item))
        elif info["id"] in segments or info["id"] == VOID:
            what = Message("findings.segment_id_twice" if info["id"] else "findings.segment_id_void", id=info["id"])
            listing.faults.append(Fault("duplicate COCO id", where, what, Message("findings.number_segments_from_1"), item=item))
        else:
            segments[info["id"]] = SegmentInfo(info["id"], category.label_id, category.thing, bool(info.get("iscrowd")))
    return tuple(segments.values())


def _picture_roots(path: Path) -> list[Path]:
    """Where pictures lie: beside the JSON, or as COCO has them in ``train2017/`` beside ``annotations/panoptic_train2017.json``."""
    above, subset = path.parent.parent, path.stem.removeprefix(PREFIX)
    folders = (path.parent, above) if path.parent.name == "annotations" else (path.parent,)
    return [place for folder in folders for place in (folder / subset, folder / "images" / subset, folder / "images", folder)]


def _png_roots(path: Path) -> list[Path]:
    """Where the PNGs lie: in a folder of the JSON's name beside it, as panopticapi looks for them, or close by."""
    subset = path.stem.removeprefix(PREFIX)
    names = (path.stem, f"{PREFIX}{subset}", "panoptic", f"panoptic/{subset}", "panoptic_masks", "masks", f"masks/{subset}")
    return [*(path.parent / name for name in names), path.parent]


@dataclass(frozen=True)
class Maps:
    """The truth of one picture.

    Attributes:
        label_map: uint16 (H, W), label ids, 65535 where nothing is known and in crowds.
        instance_map: uint16 (H, W), numbers of things from 1, 0 for none.
        instance_labels: uint16 (N + 1,), label id by number; entry 0 is unused.
        crowd: uint16 (H, W), 1 + label id in crowds, 0 elsewhere; None where there are none.
        unlisted: ids in the PNG that no entry lists, with their pixels.
        absent: ids that are listed and have no pixel.
        turned: the EXIF orientation by which it was turned with its photo, or None.
    """

    label_map: np.ndarray
    instance_map: np.ndarray
    instance_labels: np.ndarray
    crowd: np.ndarray | None
    unlisted: dict[int, int]
    absent: tuple[int, ...]
    turned: int | None = None


class OtherSize(Exception):
    """A PNG of another size than its picture; ``shape`` is its (height, width)."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        super().__init__(f"{shape}")


def maps_of(item: Item, height: int, width: int) -> Maps:
    """The maps of an item at the size of its upright picture.

    Args:
        item: of a panoptic file.
        height: of the upright picture in pixels.
        width: of the upright picture in pixels.

    Raises:
        BadImageError: the PNG cannot be read.
        ValueError: it has no three channels of 8 bits; the message says so.
        OtherSize: it does not fit the picture.
    """
    ids, turned = panoptic_ids(item.panoptic.png, item.panoptic.png.name), None
    if ids.shape != (height, width):
        turned = sideways(item.image, (height, width), ids.shape)
        if turned is None:
            raise OtherSize(ids.shape)
        ids = turn(ids, turned)
    found, places, counts = np.unique(ids, return_inverse=True, return_counts=True)
    places = places.reshape(ids.shape)
    listed = {segment.id: segment for segment in item.panoptic.segments}
    classes = np.full(len(found), IGNORE_16, dtype=np.uint16)
    numbers, crowds = np.zeros(len(found), dtype=np.uint16), np.zeros(len(found), dtype=np.uint16)
    labels = [0]
    for position, identity in enumerate(found.tolist()):
        segment = listed.get(identity)
        if segment is None or segment.label_id is None:
            continue
        if segment.crowd:
            crowds[position] = segment.label_id + 1
            continue
        classes[position] = segment.label_id
        if segment.thing:
            numbers[position] = len(labels)
            labels.append(segment.label_id)
    unlisted = {i: n for i, n in zip(found.tolist(), counts.tolist(), strict=True) if i != VOID and i not in listed}
    absent = tuple(identity for identity in listed if identity not in set(found.tolist()))
    crowd = crowds[places] if crowds.any() else None
    return Maps(classes[places], numbers[places], np.array(labels, dtype=np.uint16), crowd, unlisted, absent, turned)


def faults_in(maps: Maps, item: Item, root: Path) -> list[Fault]:
    """What is wrong between a PNG and the list of its segments.

    Args:
        maps: of the item.
        item: of a panoptic file.
        root: folder to which messages name files.
    """
    file, faults = relative(item.panoptic.png, root), []
    if maps.unlisted:
        first = max(maps.unlisted, key=lambda identity: maps.unlisted[identity])
        what = Message("findings.ids_without_segment", count=len(maps.unlisted), id=first, pixels=maps.unlisted[first])
        faults.append(Fault("unlisted segment", file, what, Message("findings.add_segment_or_paint_void"), item=item.name))
    if maps.absent:
        what = Message("findings.segments_without_pixels", count=len(maps.absent), id=maps.absent[0])
        faults.append(Fault("segment without pixels", file, what, Message("findings.remove_segment_or_paint_it"), item=item.name))
    return faults

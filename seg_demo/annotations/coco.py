"""COCO JSON → items: polygons, RLE, crowds, sparse category ids.

COCO annotations → maps: polygons, and RLE compressed or not, drawn as pycocotools draws them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from faster_coco_eval.core import mask as coco_mask

from seg_demo.annotations.classes import ClassList, is_ignored
from seg_demo.annotations.file_names import KEYS, FileFinder, OnePicture, SeveralFit, parsed, read_lists, several_fit
from seg_demo.annotations.listing import NOTE, CocoObject, Fault, Item, Listing, climbing, inside, relative, short_name, sideways, turn
from seg_demo.core import IGNORE_16, SEMANTIC, DataError, Message, RunsSegment, Segment, is_background, tight_box
from seg_demo.core import decode as decode_rle
from seg_demo.inputs.shapes import FARTHEST, PolygonRuns, Shape

# Names of what nobody labelled. In COCO a pixel that no annotation covers is just that, and it is background.
UNLABELLED = frozenset({"unlabeled", "unlabelled", "unannotated", "nolabel"})
# What annotations of categories that are no classes are: label 0, or a region that counts for nothing.
BACKGROUND, IGNORED = 0, -1
_NUMBERS = frozenset({int, float})


def list_coco(files: list[tuple[Path, str | None]], name: str, root: Path, picture: OnePicture | None = None) -> Listing:
    """Indexes COCO files: one, or one per split.

    Label 0 is the background; categories follow in the order of their ids, those without any annotation are left out. Files are
    matched by the names of their categories, whatever ids they give them. A category that is called background (or
    unlabelled: in COCO, that is a pixel without an annotation) is no class of objects, and one called ignore or void is a
    region that counts for nothing.

    Args:
        files: (path, split) each; split None where one file holds everything.
        name: of the dataset.
        root: folder to which messages name files.
        picture: the only one that is wanted, where it lies elsewhere.

    Raises:
        DataError: a file is no COCO JSON, lists no images, or gives one id or one name to two categories.
    """
    read = [(path, split, _read(path)) for path, split in files]
    listing = Listing(short_name(name), root, per_pixel=all(_is_label_map(data) for _, _, data in read))
    if listing.per_pixel:
        listing.notes.append(Message("coco.class_per_pixel", file=files[0][0].name))
    for (path, split, data), ids in zip(read, _categories(read, listing), strict=True):
        _add_items(path, split, data, ids, listing, _prefix(path, split, files), picture)
    listing.settle_test_split()
    return listing


def _read(path: Path) -> dict:
    data = read_lists(path)
    if not any(isinstance(entry, dict) and "id" in entry for entry in data["annotations"]):
        # Nothing refers to an annotation by its number.
        for number, entry in enumerate(data["annotations"], start=1):
            if isinstance(entry, dict):
                entry["id"] = number
    for key in KEYS:
        wanted = ("id",) + {"images": ("file_name",), "annotations": ("image_id", "category_id"), "categories": ("name",)}[
            key
        ]
        for position, entry in enumerate(data[key]):
            # Almost all are as they should be, and there may be a million.
            if type(entry) is dict and all(type(entry.get(field)) is (str if field in ("file_name", "name") else int) for field in wanted):
                continue
            for field in wanted[: 1 if key == "categories" else None] if isinstance(entry, dict) else ():
                if field != "file_name":
                    entry[field] = _identity(entry.get(field))
            lacking = [
                field for field in wanted if not (isinstance(entry, dict) and isinstance(entry.get(field), int | str))
            ]
            if lacking:
                raise DataError("coco.entry_lacks", path=path, key=key, position=position, lacking=", ".join(lacking))
    if not data["images"]:
        raise DataError("coco.no_images", path=path)
    return data


def is_coco(path: Path) -> bool:
    """Whether a file is COCO JSON with outlines or boxes, and not one of its captions or panoptic files."""
    try:
        return _has_objects(parsed(path, _has_objects))
    except (OSError, ValueError, RecursionError):
        return False


def _has_objects(data: object) -> bool:
    """Whether that is what a file of COCO's objects holds."""
    if not (isinstance(data, dict) and all(isinstance(data.get(key), list) for key in KEYS) and data["annotations"]):
        return False
    return all(isinstance(entry, dict) and ("segmentation" in entry or "bbox" in entry) for entry in data["annotations"][:5])


def _identity(value: object) -> object:
    """An id as it is compared: tables make 7.0 of 7, and some tools write "7" in one list and 7 in the other."""
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9]\d{0,17})(\.0+)?", value.strip()):
        return int(float(value)) if "." in value else int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_label_map(data: dict) -> bool:
    """Whether a file holds a class per pixel: it says so, or each class has one annotation per picture and they fill it."""
    info = data.get("info")
    if isinstance(info, dict) and info.get("task") == SEMANTIC.name:
        return True
    empty = {category["id"] for category in data["categories"] if is_background(str(category["name"]))}
    if not empty:
        return False
    kinds = Counter((annotation["image_id"], annotation["category_id"]) for annotation in data["annotations"])
    if not empty & {category for _, category in kinds} or max(kinds.values()) > 1:
        return False
    covered: Counter[object] = Counter()
    for annotation in data["annotations"]:
        area = annotation.get("area")
        covered[annotation["image_id"]] += area if isinstance(area, int | float) else 0
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in data["images"]}
    return all(
        identity in sizes and all(type(side) is int for side in sizes[identity]) and pixels == math.prod(sizes[identity])
        for identity, pixels in covered.items()
    )


def _categories(read: list[tuple[Path, str | None, dict]], listing: Listing) -> list[dict[object, int]]:
    """Per file category id → label id, 0 for the background, ``IGNORED`` for what counts for nothing; sets the class list of the listing."""
    tables = [_names(path, data) for path, _, data in read]
    first = sorted(range(len(read)), key=lambda index: read[index][1] != "train")
    numbers: dict[str, set[object]] = defaultdict(set)
    for table in tables:
        for identity, name in table.items():
            numbers[name].add(identity)
    names = {identity: name for index in reversed(first) for identity, name in tables[index].items()}
    agreed = len(names) == len(numbers) == sum(map(len, numbers.values()))
    if not agreed:
        moved = min((name for name in numbers if len(numbers[name]) > 1), default=min(numbers), key=str)
        listing.notes.append(Message("coco.numbered_differently", count=len(read), name=moved))
    tables_in_order = [names] if agreed else [tables[index] for index in first]
    ordered = dict.fromkeys(
        table[identity] for table in tables_in_order for identity in sorted(table, key=lambda i: (isinstance(i, str), i))
    )
    used = {table[a["category_id"]] for (_, _, data), table in zip(read, tables, strict=True) for a in data["annotations"] if a["category_id"] in table}
    empty = [name for name in ordered if name not in used]
    if empty:
        listing.listed = ("background", *(name for name in ordered if not is_no_class(name)))
        listing.notes.append(Message("coco.empty_categories", names=_few(empty)))
    kept = [name for name in ordered if name in used and not is_no_class(name)]
    if not kept:
        raise DataError("coco.no_annotations", path=read[0][0])
    _tell_of_no_classes([name for name in ordered if name in used and is_no_class(name)], read, tables, listing)
    classes = ("background", *kept)
    listing.classes = ClassList(classes, tuple(range(len(classes))), (None,) * len(classes), read[0][0].name)
    labels = {name: label for label, name in enumerate(kept, start=1)}
    labels |= {name: IGNORED if is_ignored(name) else BACKGROUND for name in ordered if is_no_class(name)}
    return [{identity: labels[name] for identity, name in table.items() if name in labels} for table in tables]


def _names(path: Path, data: dict) -> dict[object, str]:
    """Category id → name of one file."""
    own = Counter(category["id"] for category in data["categories"])
    names: dict[object, str] = {}
    for category in data["categories"]:
        identity, name = category["id"], unicodedata.normalize("NFC", str(category["name"]).strip())
        if own[identity] > 1:
            other = names.setdefault(identity, name)
            raise DataError("coco.category_id_twice", path=path, id=identity, other=other, name=name)
        names[identity] = name
    used = {annotation["category_id"] for annotation in data["annotations"]}
    # Some exports begin with the project's name, which may be that of a class; nothing is annotated as that.
    named = Counter(name for identity, name in names.items() if identity in used)
    twice = [name for name, count in named.items() if count > 1]
    if twice:
        raise DataError("coco.category_name_twice", path=path, name=twice[0])
    return {identity: name for identity, name in names.items() if identity in used or name not in named}


def is_no_class(name: str) -> bool:
    """Whether a category is no class of objects: the background, what nobody labelled, or what is to be ignored."""
    return is_background(name) or is_ignored(name) or re.sub(r"[\W_]+", "", name.lower()) in UNLABELLED


def _tell_of_no_classes(names: list[str], read: list, tables: list[dict[object, str]], listing: Listing) -> None:
    for name in names:
        count = sum(
            table.get(annotation["category_id"]) == name
            for (_, _, data), table in zip(read, tables, strict=True)
            for annotation in data["annotations"]
        )
        key = "coco.no_objects_but_ignored" if is_ignored(name) else "coco.no_objects_but_background"
        listing.notes.append(Message(key, name=name, count=count))


def _add_items(path: Path, split: str | None, data: dict, ids: dict[object, int], listing: Listing, prefix: str, picture: OnePicture | None) -> None:
    file = f"{path.parent.name}/{path.name}" if prefix else path.name
    finder = FileFinder(_roots(path)) if picture is None else picture.expect([str(image["file_name"]) for image in data["images"]])
    places = {image["id"]: _place(image, finder, path) for image in data["images"]}
    blame: dict[object, str] = {}
    objects: dict[object, list[CocoObject]] = defaultdict(list)
    counts = Counter(image["id"] for image in data["images"])
    names = {image["id"]: prefix + places[image["id"]].name for image in data["images"]}
    known = {category["id"] for category in data["categories"]}
    parts: list[str] = []
    for annotation in _once(data["annotations"], file, listing):
        label = f"{file}, annotation {annotation['id']}"
        image_id, item = annotation["image_id"], names.get(annotation["image_id"])
        if item is None:
            what = Message("findings.image_id_unknown", image_id=image_id)
            listing.faults.append(
                Fault("unknown image id", label, what, Message("findings.add_the_image_to_the_list"))
            )
        elif annotation["category_id"] not in known:
            what = Message("findings.category_id_unknown", annotation=annotation['category_id'])
            remedy = Message("findings.add_the_category_or_remove")
            listing.faults.append(Fault("unknown category id", label, what, remedy, item=item))
        else:
            label_id = ids[annotation["category_id"]]
            objects[image_id].append(_object(annotation, label_id, f"{label} ({names[image_id]})", parts))
    for image in data["images"]:
        name, image_id = names[image["id"]], image["id"]
        if counts[image_id] > 1:
            if image_id not in blame:
                what = Message("findings.image_id_repeated", image_id=image_id, counts=counts[image_id])
                listing.faults.append(Fault("duplicate COCO id", file, what, Message("findings.number_the_images_without_repeats"), item=name))
            blame[image_id] = name
            continue
        item = _item(image, places[image_id], name, tuple(objects[image_id]), split, file, listing)
        if item is not None:
            listing.items.append(item)
    listing.faults += [*finder.note(file), *_parts_fault(parts, file)]
    crowds = sum(bool(annotation.get("iscrowd")) for annotation in data["annotations"])
    if crowds:
        # Several programs mark objects so for the shape of their masks (findings/coco_objects_become_crowds.sh); nothing else would tell.
        listing.notes.append(Message("coco.crowds", file=file, count=crowds, total=len(data["annotations"])))
    _drop_twins(listing, file)


def _once(annotations: list[dict], file: str, listing: Listing) -> list[dict]:
    """The annotations without exact copies under one id. Nothing else refers to an id, so that objects which share one are objects all
    the same, as files that were put together from several have them; a note says so."""
    if len({annotation["id"] for annotation in annotations}) == len(annotations):
        return annotations
    kept: dict[object, list[dict]] = defaultdict(list)
    found, repeated = [], []
    for annotation in annotations:
        before = kept[annotation["id"]]
        if before:
            repeated.append(annotation["id"])
        if annotation not in before:
            before.append(annotation)
            found.append(annotation)
    if repeated:
        what = Message("findings.annotation_id_twice", annotation=repeated[0])
        remedy = Message("findings.fine_each_annotation_is_one_object", copies=len(annotations) - len(found))
        listing.faults.append(Fault("duplicate COCO id", file, what, remedy, NOTE))
    return found


@dataclass(frozen=True)
class _Place:
    """Where the image of an entry is: a file, or why there is none; ``name`` is what it is called in the dataset."""

    name: str
    found: Path | None
    several: tuple[Path, ...] = ()


def _place(image: dict, finder: FileFinder | OnePicture, path: Path) -> _Place:
    listed = str(image["file_name"])
    try:
        found = finder.find(listed)
    except SeveralFit as several:
        return _Place(listed.replace("\\", "/"), None, several.files)
    if found is not None and inside(path.parent, listed) is None:
        # Names end up in reports and cards, where the folders of somebody's machine are nobody's business.
        return _Place(relative(found, path.parent), found)
    return _Place(listed.replace("\\", "/"), found)


def _parts_fault(parts: list[str], file: str) -> list[Fault]:
    """What a person should know about parts of objects that are no polygons; their objects have other parts."""
    if not parts:
        return []
    what = Message("findings.parts_that_are_no_polygons", count=len(parts), parts=parts[0])
    return [Fault("broken parts", file, what, Message("findings.check_objects_or_draw_again"), NOTE)]


def _object(annotation: dict, label_id: int, file: str, parts: list[str]) -> CocoObject:
    segmentation = annotation.get("segmentation")
    if not isinstance(segmentation, list | dict):
        segmentation = []
    if isinstance(segmentation, list) and segmentation and all(isinstance(number, int | float) for number in segmentation):
        # One polygon that was not put into a list of polygons is a common slip, and means nothing else.
        segmentation = [segmentation]
    if isinstance(segmentation, list) and len(segmentation) > 2 and all(map(_is_point, segmentation)):
        segmentation = [segmentation]
    if isinstance(segmentation, list):
        # Points as pairs, [[x, y], [x, y], ...], mean the same as their numbers one after the other.
        segmentation = [
            [number for point in polygon for number in point] if isinstance(polygon, list) and polygon and all(map(_is_point, polygon)) else polygon
            for polygon in segmentation
        ]
        sound = [polygon for polygon in segmentation if polygon_problem(polygon) is None] if len(segmentation) > 1 else []
        if sound and len(sound) < len(segmentation):
            parts += [file] * (len(segmentation) - len(sound))
            segmentation = sound
    crowd = bool(annotation.get("iscrowd")) or label_id == IGNORED
    return CocoObject(max(label_id, 0), segmentation, crowd, file)


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(number) in (int, float) for number in value)


def _item(
    image: dict, place: _Place, name: str, objects: tuple[CocoObject, ...], split: str | None, file: str, listing: Listing
) -> Item | None:
    listed = str(image["file_name"])
    found = place.found
    if found is None:
        if place.several:
            listing.faults.append(several_fit(listed, place.several, file, name))
        elif inside(Path(), listed) is None:
            listing.faults.append(climbing(listed, file, name))
        else:
            what = Message("findings.listed_image_missing", listed=listed)
            remedy = Message("findings.put_the_image_there_or_remove")
            listing.faults.append(Fault("missing image", file, what, remedy, item=name))
        return None
    stated = (image.get("height"), image.get("width"))
    declared = stated if all(type(side) is int for side in stated) else None
    return Item(name, found, annotations=objects, split=split, declared=declared)


def _roots(path: Path) -> list[Path]:
    """Where the images of a COCO file may lie: beside it, in images/, or as in COCO's own annotations/instances_X.json."""
    above = path.parent.parent
    subset = path.stem.removeprefix("instances_")
    places = [path.parent, path.parent / "images", path.parent / subset, path.parent / "images" / subset]
    if path.parent.name == "annotations":
        places += [above, above / "images", above / subset, above / "images" / subset]
    return places


def _prefix(path: Path, split: str | None, files: list[tuple[Path, str | None]]) -> str:
    """What sets the images of one of several files apart from equal names in the others: its split, or its subset's name."""
    if len(files) == 1:
        return ""
    if split is not None and [named for _, named in files].count(split) == 1:
        return f"{split}/"
    subset = path.stem.removeprefix("instances_")
    return f"{subset if subset != path.stem else path.parent.name}/"


def _drop_twins(listing: Listing, file: str) -> None:
    """Keeps the first of several entries for one image of one split, and names the trouble."""
    first: dict[tuple[Path, str | None], Item] = {}
    counts = Counter((item.image, item.split) for item in listing.items)
    for item in listing.items:
        key = item.image, item.split
        if first.setdefault(key, item) is item:
            continue
        other = first[key].name
        what = (
            Message("findings.listed_with_different_ids", name=item.name, counts=counts[key])
            if other == item.name
            else Message("findings.listed_image_again", name=item.name, other=other)
        )
        fault = Fault("duplicate image", file, what, Message("findings.list_each_image_once_with_all"), item=other)
        if fault not in listing.faults:
            listing.faults.append(fault)
    listing.items = [item for item in listing.items if first[item.image, item.split] is item]


def _few(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# Objects that may lie below the topmost one at a pixel: each layer takes two bytes per pixel.
MOST_LAYERS = 16


class BadAnnotation(Exception):
    """An annotation that cannot be drawn: ``kind``, ``file``, ``what`` and ``remedy`` as in a fault."""

    def __init__(self, kind: str, file: str, what: str, remedy: str) -> None:
        self.kind, self.file, self.what, self.remedy = kind, file, what, remedy
        super().__init__(Message("data.annotation", file=file, what=what, remedy=remedy))


@dataclass(frozen=True)
class Drawn:
    """The objects of one image.

    Attributes:
        label_map: uint16 (H, W), label ids, 0 where there is no object, 65535 under a crowd.
        instance_map: uint16 (H, W), number of the topmost object, 0 none. Smaller objects lie on top of larger ones.
        instance_labels: uint16 (N + 1,), label id by object number; entry 0 is 0.
        hidden: uint16 (L, H, W), numbers of the objects below the topmost one, layer by layer; None where nothing overlaps.
        problems: what is wrong with single annotations.
        buried: pixels of objects that lie below more than ``MOST_LAYERS`` others and were lost.
    """

    label_map: np.ndarray
    instance_map: np.ndarray
    instance_labels: np.ndarray
    hidden: np.ndarray | None
    problems: tuple[BadAnnotation, ...]
    buried: int = 0


def draw_item(item: Item, height: int, width: int) -> tuple[Drawn, int | None]:
    """Draws a COCO item at the size of its upright image, turned with the photo where it was annotated sideways.

    Args:
        item: with annotations.
        height: of the upright image in pixels.
        width: of the upright image in pixels.

    Returns:
        The maps, and the EXIF orientation by which they were turned, or None.

    Raises:
        BadAnnotation: the file states another size for the image.
    """
    stated = item.declared or (height, width)
    if stated == (height, width):
        return draw(item.annotations, height, width), None
    turned = sideways(item.image, (height, width), stated)
    if turned is None:
        what = Message("findings.stated_size_differs", stated=stated[1], stated_2=stated[0], width=width, height=height)
        raise BadAnnotation(
            "size mismatch", item.name, what, Message("findings.annotate_again_or_restore_image")
        )
    drawn = draw(item.annotations, *stated)
    maps = {"label_map": turn(drawn.label_map, turned), "instance_map": turn(drawn.instance_map, turned)}
    if drawn.hidden is not None:
        maps["hidden"] = np.stack([turn(layer, turned) for layer in drawn.hidden])
    return replace(drawn, **maps), turned


def draw(objects: Sequence[CocoObject], height: int, width: int) -> Drawn:
    """Draws the objects of one image. What is annotated as background is no object: it only says what the pixels are.

    Args:
        objects: the image's annotations.
        height: of the image in pixels.
        width: of the image in pixels.
    """
    problems: list[BadAnnotation] = []
    crops = []
    crowd = np.zeros((height, width), dtype=bool)
    for thing in objects:
        try:
            mask = draw_one(thing, height, width)
        except BadAnnotation as problem:
            problems.append(problem)
            continue
        box = tight_box(mask)
        if box is None:
            problems.append(_zero_area(thing))
        elif thing.crowd:
            crowd |= mask
        else:
            x0, y0, x1, y1 = box
            crops.append((thing.label_id, box, mask[y0:y1, x0:x1].copy(), thing.order))
    # A bolt on a plate must not vanish under the plate, whatever the order of the file, unless somebody has said what lies on top.
    crops.sort(key=lambda crop: (crop[3], -int(np.count_nonzero(crop[2]))))
    label_map = np.where(crowd, np.uint16(IGNORE_16), np.uint16(0))
    layers = [np.zeros((height, width), dtype=np.uint16)]
    labels, buried = [0], 0
    for label_id, (x0, y0, x1, y1), mask, _ in crops:
        label_map[y0:y1, x0:x1][mask] = label_id
        if label_id == 0 or len(labels) == IGNORE_16:
            continue
        buried += _push(layers, (slice(y0, y1), slice(x0, x1)), mask, len(labels))
        labels.append(label_id)
    hidden = np.stack(layers[1:]) if len(layers) > 1 else None
    return Drawn(label_map, layers[0], np.array(labels, dtype=np.uint16), hidden, tuple(problems), buried)


def _push(layers: list[np.ndarray], window: tuple[slice, slice], mask: np.ndarray, number: int) -> int:
    """Lays an object on top: what is there already moves down by a layer, pixel by pixel.

    Returns:
        Pixels that were moved off the lowest layer.
    """
    coming = np.where(mask, np.uint16(number), np.uint16(0))
    for depth in range(MOST_LAYERS + 1):
        if depth == len(layers):
            layers.append(np.zeros_like(layers[0]))
        there = layers[depth][window]
        moved = np.where(coming > 0, there, 0)
        np.copyto(there, coming, where=coming > 0)
        if not moved.any():
            return 0
        coming = moved
    return int(np.count_nonzero(coming))


def draw_one(thing: CocoObject, height: int, width: int) -> np.ndarray:
    """The mask of one annotation.

    Returns:
        bool (height, width).

    Raises:
        BadAnnotation: its polygons or its RLE cannot be read, or belong to an image of another size.
    """
    if isinstance(thing.segmentation, dict):
        return _draw_rle(thing, height, width)
    if isinstance(thing.segmentation, Shape):
        try:
            return thing.segmentation.full(height, width)
        except ValueError as other:
            what = Message("findings.rle_of_other_size", size=str(list(thing.segmentation.size)), height=height, width=width)
            raise BadAnnotation("size mismatch", thing.file, what, Message("findings.export_again_from_image")) from other
    polygons = [_checked_polygon(thing, polygon) for polygon in thing.segmentation]
    if not polygons:
        raise _no_mask(thing)
    _refuse_shares(thing, polygons)
    drawn = coco_mask.decode(coco_mask.frPyObjects(polygons, height, width))
    return drawn.reshape(height, width, -1).any(axis=2)


def segment_of(thing: CocoObject, height: int, width: int) -> Segment:
    """One annotation as a segment, its mask as :func:`draw_one` draws it, without a map of the whole picture where there are outlines.

    Raises:
        BadAnnotation: as there, or it covers no pixel.
    """
    label = max(thing.label_id, 0)
    if isinstance(thing.segmentation, list) and thing.segmentation:
        polygons = [_checked_polygon(thing, polygon) for polygon in thing.segmentation]
        _refuse_shares(thing, polygons)
        runs = PolygonRuns.of(polygons, height, width)
        if runs.box is None:
            raise _zero_area(thing)
        return RunsSegment(label, runs)
    if isinstance(thing.segmentation, Shape) and getattr(thing.segmentation, "size", None) in (None, (height, width)):
        crop = thing.segmentation.draw(height, width)
    else:
        mask = draw_one(thing, height, width)
        box = tight_box(mask)
        crop = None if box is None else (box, mask[box[1] : box[3], box[0] : box[2]])
    if crop is None:
        raise _zero_area(thing)
    return Segment(label, None, *crop)


def _draw_rle(thing: CocoObject, height: int, width: int) -> np.ndarray:
    size, counts = thing.segmentation.get("size"), thing.segmentation.get("counts")
    # The size is checked before anything is expanded: a stated 10^6 x 10^6 would otherwise take the memory.
    if size != [height, width]:
        what = Message("findings.rle_of_other_size", size=str(size)[:40], height=height, width=width)
        raise BadAnnotation("size mismatch", thing.file, what, Message("findings.export_again_from_image"))
    try:
        if isinstance(counts, list) and not all(type(count) is int for count in counts):
            raise ValueError("counts that are not whole numbers")
        if not isinstance(counts, list | str):
            raise ValueError(f"counts of type {type(counts).__name__}")
        return decode_rle({"size": size, "counts": counts})
    except (ValueError, OverflowError, IndexError) as error:
        raise BadAnnotation(
            "broken RLE", thing.file, Message("findings.cannot_be_decoded", error=error), Message("findings.export_the_annotation_again")
        ) from error


def polygon_problem(polygon: object) -> str | None:
    """Why a part of an object is no polygon, as the end of a sentence, or None if it is one.

    Libraries answer by what comes first: a list that begins with four numbers is refused, or all of its parts are taken for boxes
    (``findings/coco_short_polygons.sh``).

    Args:
        polygon: as it stands in the file.
    """
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        count = len(polygon) if isinstance(polygon, list) else type(polygon).__name__
        return Message("findings.polygon_too_short", count=count)
    # Far outside an image of at most 20000 pixels a side is no coordinate, and the drawing routine counts in 32 bits. No sum of such numbers
    # is finite where one of them is not.
    if not (_NUMBERS.issuperset(map(type, polygon)) and -FARTHEST < min(polygon) and max(polygon) < FARTHEST and math.isfinite(sum(polygon))):
        return Message("findings.polygon_not_finite")
    return None


def _checked_polygon(thing: CocoObject, polygon: object) -> list[float]:
    what = polygon_problem(polygon)
    if what is not None:
        raise BadAnnotation("broken polygon", thing.file, what, Message("findings.draw_object_again_or_remove"))
    return polygon


def _refuse_shares(thing: CocoObject, polygons: Sequence[Sequence[float]]) -> None:
    """Refuse outlines that lie within the first pixel, and not along its edges: they are shares of the image's width and height."""
    if max(map(max, polygons)) > 1:
        return
    numbers = [number for polygon in polygons for number in polygon]
    if all(0 <= number <= 1 for number in numbers) and any(0 < number < 1 for number in numbers):
        what = Message("findings.coordinates_are_shares")
        raise BadAnnotation("shares, not pixels", thing.file, what, Message("findings.multiply_x_by_the_image"))


def _zero_area(thing: CocoObject) -> BadAnnotation:
    return BadAnnotation(
        "zero-area object", thing.file, Message("findings.covers_no_pixel_of_its_image"), Message("findings.remove_the_annotation_or_draw")
    )


def _no_mask(thing: CocoObject) -> BadAnnotation:
    what = Message("findings.has_only_a_box")
    return BadAnnotation(
        "object without a mask", thing.file, what, Message("findings.draw_outline_not_box")
    )

"""COCO JSON → items: polygons, RLE, crowds, sparse category ids."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

from seg_demo.errors import DataError
from train.data.classes import ClassList, is_background
from train.data.listing import CocoObject, Fault, Item, Listing, climbing, inside, is_file, short_name

KEYS = ("images", "annotations", "categories")


def list_coco(files: list[tuple[Path, str | None]], name: str, root: Path) -> Listing:
    """Indexes COCO files: one, or one per split.

    Label 0 is the background; categories follow in the order of their ids, those without any annotation are left out.

    Args:
        files: (path, split) each; split None where one file holds everything.
        name: of the dataset.
        root: folder to which messages name files.

    Raises:
        DataError: a file is no COCO JSON, lists no images, or the files disagree about a category.
    """
    read = [(path, split, _read(path)) for path, split in files]
    listing = Listing(short_name(name), root)
    ids = _categories(read, listing)
    for path, split, data in read:
        _add_items(path, split, data, ids, listing, _prefix(path, split, files))
    listing.settle_test_split()
    return listing


def _read(path: Path) -> dict:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}). Export it again as UTF-8."
        ) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}). Export it again; it may have been cut short.") from error
    missing = [key for key in KEYS if not (isinstance(data, dict) and isinstance(data.get(key), list))]
    if missing:
        raise DataError(
            f"{path} is no COCO file: no list of {', '.join(missing)}. Expected an object with the lists {', '.join(KEYS)}."
        )
    for key in KEYS:
        wanted = ("id",) + {"images": ("file_name",), "annotations": ("image_id", "category_id"), "categories": ("name",)}[
            key
        ]
        for position, entry in enumerate(data[key]):
            for field in wanted[: 1 if key == "categories" else None] if isinstance(entry, dict) else ():
                if isinstance(entry.get(field), float) and entry[field].is_integer():
                    entry[field] = int(entry[field])  # tables make 7.0 of 7
            lacking = [
                field for field in wanted if not (isinstance(entry, dict) and isinstance(entry.get(field), int | str))
            ]
            if lacking:
                raise DataError(f"{path}: {key}[{position}] lacks {', '.join(lacking)}. Add it, or remove the entry.")
    if not data["images"]:
        raise DataError(f"{path} lists no images. Export it again with the images that are annotated.")
    return data


def _categories(read: list[tuple[Path, str | None, dict]], listing: Listing) -> dict[int, int]:
    """Category id → label id; sets the class list of the listing."""
    names: dict[int, str] = {}
    used: set[int] = set()
    for path, _, data in read:
        own = Counter(category["id"] for category in data["categories"])
        for category in data["categories"]:
            identity, name = category["id"], str(category["name"])
            if own[identity] > 1 or names.setdefault(identity, name) != name:
                raise DataError(
                    f"{path} gives category id {identity!r} to {names.get(identity, name)!r} and {name!r}. Number each once."
                )
        used |= {annotation["category_id"] for annotation in data["annotations"]}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise DataError(f"{read[0][0]} has more than one category named {twice[0]!r}. Merge or rename them.")
    empty = [names[identity] for identity in names if identity not in used]
    if empty:
        listing.notes.append(f"Categories without any annotation are left out: {_few(empty)}.")
    kept = [identity for identity in names if identity in used and not is_background(names[identity])]
    kept.sort(key=lambda identity: (isinstance(identity, str), identity))
    if not kept:
        raise DataError(f"{read[0][0]} annotates no object of any of its categories. Export it again with annotations.")
    classes = ("background", *(names[identity] for identity in kept))
    listing.classes = ClassList(classes, tuple(range(len(classes))), (None,) * len(classes), read[0][0].name)
    ids = {identity: 0 for identity in names if is_background(names[identity])}
    return ids | {identity: label for label, identity in enumerate(kept, start=1)}


def _add_items(path: Path, split: str | None, data: dict, ids: dict[int, int], listing: Listing, prefix: str) -> None:
    file = f"{path.parent.name}/{path.name}" if prefix else path.name
    blame: dict[object, str] = {}
    objects: dict[object, list[CocoObject]] = defaultdict(list)
    counts = Counter(image["id"] for image in data["images"])
    names = {image["id"]: prefix + str(image["file_name"]).replace("\\", "/") for image in data["images"]}
    seen: set[object] = set()
    for annotation in data["annotations"]:
        label = f"{file}, annotation {annotation['id']}"
        image_id, item = annotation["image_id"], names.get(annotation["image_id"])
        if annotation["id"] in seen:
            what = f"annotation id {annotation['id']} is there more than once"
            listing.faults.append(
                Fault("duplicate COCO id", file, what, "number the annotations without repeats", item=item)
            )
        seen.add(annotation["id"])
        if item is None:
            what = f"belongs to image id {image_id}, which is not among the images"
            listing.faults.append(
                Fault("unknown image id", label, what, "add the image to the list, or remove the annotation")
            )
        elif annotation["category_id"] not in ids:
            what = f"has category id {annotation['category_id']}, which is not among the categories"
            remedy = "add the category, or remove the annotation"
            listing.faults.append(Fault("unknown category id", label, what, remedy, item=item))
        else:
            objects[image_id].append(_object(annotation, ids[annotation["category_id"]], f"{label} ({names[image_id]})"))
    for image in data["images"]:
        name, image_id = names[image["id"]], image["id"]
        if counts[image_id] > 1:
            if image_id not in blame:
                what = f"image id {image_id} is there {counts[image_id]} times"
                listing.faults.append(Fault("duplicate COCO id", file, what, "number the images without repeats", item=name))
            blame[image_id] = name
            continue
        item = _item(path, image, name, tuple(objects[image_id]), split, file, listing)
        if item is not None:
            listing.items.append(item)
    _drop_twins(listing, file)


def _object(annotation: dict, label_id: int, file: str) -> CocoObject:
    segmentation = annotation.get("segmentation")
    if not isinstance(segmentation, list | dict):
        segmentation = []
    if isinstance(segmentation, list) and segmentation and all(isinstance(number, int | float) for number in segmentation):
        # One polygon that was not put into a list of polygons is a common slip, and means nothing else.
        segmentation = [segmentation]
    return CocoObject(label_id, segmentation, bool(annotation.get("iscrowd")), file)


def _item(
    path: Path, image: dict, name: str, objects: tuple[CocoObject, ...], split: str | None, file: str, listing: Listing
) -> Item | None:
    listed = str(image["file_name"])
    if inside(path.parent, listed) is None:
        listing.faults.append(climbing(listed, file, name))
        return None
    found = next((inside(root, listed) for root in _roots(path) if is_file(inside(root, listed))), None)
    if found is None:
        what = f"lists {listed!r}, which is neither beside it nor in images/"
        remedy = "put the image there, or remove it from the list"
        listing.faults.append(Fault("missing image", file, what, remedy, item=name))
        return None
    stated = (image.get("height"), image.get("width"))
    declared = stated if all(type(side) is int for side in stated) else None
    return Item(name, found, annotations=objects, split=split, declared=declared)


def _roots(path: Path) -> list[Path]:
    """Where the images of a COCO file may lie: beside it, in images/, or as in COCO's own annotations/instances_X.json."""
    above = path.parent.parent
    subset = path.stem.removeprefix("instances_")
    places = [path.parent, path.parent / "images", path.parent / subset]
    if path.parent.name == "annotations":
        places += [above, above / "images", above / subset, above / "images" / subset]
    return places


def _prefix(path: Path, split: str | None, files: list[tuple[Path, str | None]]) -> str:
    """What sets the images of one of several files apart from equal names in the others: its split, or its subset's name."""
    if len(files) == 1:
        return ""
    if split is not None and [each for _, each in files].count(split) == 1:
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
            f"lists {item.name!r} {counts[key]} times with different ids"
            if other == item.name
            else f"lists {item.name!r}, an image that is listed as {other!r} already"
        )
        fault = Fault("duplicate image", file, what, "list each image once, with all of its annotations", item=other)
        if fault not in listing.faults:
            listing.faults.append(fault)
    listing.items = [item for item in listing.items if first[item.image, item.split] is item]


def _few(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

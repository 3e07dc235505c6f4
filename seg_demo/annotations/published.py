"""Data sets as they are published: COCO panoptic, Cityscapes and ADE20K, as they are downloaded or as mask folders made of them, and data sets on the Hub.

* **Cityscapes** (Cordts et al. 2016, arXiv 1604.01685; numbers as in cityscapesScripts' ``helpers/labels.py``): pictures
  ``leftImg8bit/SPLIT/CITY/..._leftImg8bit.png``, truth ``gtFine/SPLIT/CITY/..._gtFine_labelIds.png`` (0 to 33) or ``..._labelTrainIds.png`` (0 to 18, 255 for
  what is not evaluated), objects ``..._instanceIds.png`` (1000 times the number plus a count; a number alone where objects cannot be told apart). What its
  evaluation leaves out is left out here.
* **ADE20K, SceneParsing** (Zhou et al. 2017): ``images/training/ADE_train_00000001.jpg``, ``annotations/training/ADE_train_00000001.png``. 1 to 150 are classes, which
  ``objectInfo150.txt`` names; 0 is everything else, no background: it is left out, which other programs call reducing the labels.
* **ADE20K, whole**: ``..._seg.png`` beside each picture. R // 10 * 256 + G is the class, B the object, black what nobody annotated; the ``.json`` beside it names the
  classes. Its parts (``..._parts_1.png``) are not read.
* **COCO panoptic**: JSON and its PNGs become items, by panopticapi's rules, and a PNG becomes the maps of its picture. A picture's entry lists segments
  by id, category and ``iscrowd``; its PNG holds the id of every pixel, R + 256 G + 65536 B, 0 where nothing is known (Kirillov et al. 2019, arXiv
  1801.00868). Categories say with ``isthing`` whether they are things, each segment an object, or stuff, all of which is one segment.
* **On the Hub**: through the ``datasets`` library; its images become files in the local cache.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seg_demo.annotations.classes import ClassList, find_classes, is_left_out, read_classes
from seg_demo.annotations.file_names import FileFinder, SeveralFit, read_lists, several_fit
from seg_demo.annotations.listing import (
    IMAGE_SUFFIXES,
    NOTE,
    SPLITS,
    Fault,
    Item,
    Listing,
    PanopticTruth,
    SegmentInfo,
    climbing,
    inside,
    relative,
    short_name,
    sideways,
    turn,
)
from seg_demo.core import IGNORE_16, DataError, HubUnavailableError, Message, is_background, write_atomically
from seg_demo.hub.client import TRANSPORT_ERRORS, bounded, unseen
from seg_demo.inputs.mask_files import MaskFile, panoptic_ids
from seg_demo.inputs.object_maps import THOUSAND, ObjectRule

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

# Number, class, colour, in the order of the numbers for training.
_EVALUATED = (
    (7, "road", (128, 64, 128)), (8, "sidewalk", (244, 35, 232)), (11, "building", (70, 70, 70)), (12, "wall", (102, 102, 156)), (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)), (19, "traffic light", (250, 170, 30)), (20, "traffic sign", (220, 220, 0)), (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)), (23, "sky", (70, 130, 180)), (24, "person", (220, 20, 60)), (25, "rider", (255, 0, 0)), (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)), (28, "bus", (0, 60, 100)), (31, "train", (0, 80, 100)), (32, "motorcycle", (0, 0, 230)), (33, "bicycle", (119, 11, 32)),
)  # fmt: skip
_OTHERS = {
    0: "unlabeled", 1: "ego vehicle", 2: "rectification border", 3: "out of roi", 4: "static", 5: "dynamic", 6: "ground", 9: "parking", 10: "rail track",
    14: "guard rail", 15: "bridge", 16: "tunnel", 18: "polegroup", 29: "caravan", 30: "trailer",
}  # fmt: skip
_COUNTABLE = frozenset({"person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"})
_OBJECTS = ObjectRule(ignored=frozenset({255, *(THOUSAND * number + count for number in _OTHERS for count in range(THOUSAND))}), thousands=True)
_PICTURE, _CITY_COLORS = "_leftImg8bit", "label_colors.txt"
_CITY_TRUTH = re.compile(r"_gt(?:Fine|Coarse)_(labelIds|labelTrainIds|instanceIds)$")
_ADE = re.compile(r"ADE_(?:train|val|frame)_\w+$")
_SEG = "_seg.png"
_NAMES = "objectInfo150.txt"
SCENE_CLASSES = 150


def list_published(root: Path) -> Listing | None:
    """The listing of a folder as it is downloaded; None for any other.

    Args:
        root: the folder.
    """
    return _cityscapes(root) or _whole_ade20k(root)


def _cityscapes(root: Path) -> Listing | None:
    folders = {child.name: child for child in root.iterdir() if child.is_dir()}
    truths = [folders[name] for name in ("gtFine", "gtCoarse") if name in folders]
    if "leftImg8bit" not in folders or not truths:
        return None
    pictures = [path for path in sorted(folders["leftImg8bit"].rglob(f"*{_PICTURE}.*")) if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")]
    kinds = ("labelIds", "labelTrainIds", "instanceIds")
    found = {path: {kind: file for kind in kinds if (file := _city_file(path, folders["leftImg8bit"], truths, kind)) is not None} for path in pictures}
    # One kind of numbers for all of them.
    kind = next((kind for kind in kinds[:2] if any(kind in files for files in found.values())), None)
    listing = Listing(short_name(root.resolve().name), root)
    # Tools lay out data of other classes in the same way, with a list of them. In that of datumaro and CVAT, where nothing is black, 0 is the
    # background, listed or not.
    listed = find_classes(root)
    if listed is not None and not {"road", "car"} <= set(listed.names):
        bare = Path(listed.file).name == _CITY_COLORS and (0, 0, 0) not in listed.colors and not any(map(is_background, listed.names))
        listing.classes = replace(listed, names=("background", *listed.names), colors=((0, 0, 0), *listed.colors)) if bare else listed
    tested, named = 0, set()
    for path, files in found.items():
        place = path.relative_to(folders["leftImg8bit"]).parts[0].lower()
        split = SPLITS.get(place.removesuffix("_extra"))
        if split == "test":
            tested += 1  # its truth is not published: what lies there is empty
            continue
        name = relative(path.with_suffix(""), root).removesuffix(_PICTURE)
        if name in named:
            what = Message("annotations.picture_twice", name=name)
            listing.faults.append(Fault("duplicate image", relative(path, root), what, Message("findings.list_each_image_once_with_all"), item=name))
            continue
        named.add(name)
        mask, objects = files.get(kind), files.get("instanceIds")
        if mask is None and (kind is not None or objects is None):
            what = Message("findings.has_no_mask_in_folders", folders=" or ".join(f"{folder.name}/" for folder in truths))
            remedy = Message("findings.add_mask_to_folder_or_remove_image", stem=path.stem.removesuffix(_PICTURE), folders=f"{truths[0].name}/")
            listing.faults.append(Fault("missing mask", relative(path, root), what, remedy, item=name))
        else:
            listing.items.append(Item(name, path, mask, objects, split=split))
    # Objects of some pictures alone would make those of the others background.
    if any(item.instances is None for item in listing.items):
        listing.items = [replace(item, instances=None) if item.mask is not None else item for item in listing.items]
    if tested:
        listing.notes.append(Message("data.test_not_used", count=tested))
    return listing if listing.items else None


def _city_file(picture: Path, pictures: Path, truths: Iterable[Path], kind: str) -> Path | None:
    """The file of truth of a kind that goes with a picture; fine before coarse."""
    folder, stem = picture.parent.relative_to(pictures), picture.stem.removesuffix(_PICTURE)
    files = (truth / folder / f"{stem}_{truth.name}_{kind}.png" for truth in truths)
    return next((file for file in files if file.is_file()), None)


def _whole_ade20k(root: Path) -> Listing | None:
    masks = [path for path in sorted(root.rglob(f"ADE_*{_SEG}")) if _ADE.match(path.name.removesuffix(_SEG))]
    if not masks:
        return None
    listing = Listing(short_name(root.resolve().name), root)
    names: dict[int, str] = {}
    for mask in masks:
        stem = mask.name.removesuffix(_SEG)
        name = relative(mask, root).removesuffix(_SEG)
        image = next((file for suffix in (".jpg", ".png", ".jpeg") if (file := mask.with_name(stem + suffix)).is_file()), None)
        if image is None:
            what = Message("findings.has_no_image_of_its_name", images=relative(mask.parent, root))
            listing.faults.append(Fault("mask without image", relative(mask, root), what, Message("findings.add_the_image_or_remove")))
            continue
        split = next((SPLITS[part.lower()] for part in mask.relative_to(root).parts[:-1] if part.lower() in SPLITS), None)
        listing.items.append(Item(name, image, mask, mask, split=split, decode=ade20k_classes))
        _read_names(mask.with_name(f"{stem}.json"), names, listing)
    known = set(masks)
    for folder in sorted({mask.parent for mask in masks}):
        for image in sorted(each for each in folder.glob("ADE_*.jp*g") if _ADE.match(each.stem) and each.with_name(each.stem + _SEG) not in known):
            what = Message("findings.has_no_mask_beside")
            remedy = Message("findings.add_mask_to_folder_or_remove_image", stem=(image.stem + _SEG).removesuffix(".png"), folders=f"{folder.name}/")
            listing.faults.append(Fault("missing mask", relative(image, root), what, remedy, item=relative(image.with_suffix(""), root)))
    listing.classes = ClassList(tuple(names.values()), tuple(names), (None,) * len(names), "*.json")
    listing.settle_test_split()
    return listing


def _read_names(path: Path, names: dict[int, str], listing: Listing) -> None:
    """Adds what a picture's JSON calls the classes of its objects."""
    if not path.is_file():
        return
    try:
        for thing in json.loads(path.read_text(encoding="utf-8-sig", errors="replace"))["annotation"]["object"]:
            names.setdefault(int(thing["name_ndx"]), str(thing["name"]).strip())
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        what, remedy = Message("findings.names_not_read", why=f"{type(error).__name__}: {error}"), Message("findings.fine_if_others_name_them")
        listing.faults.append(Fault("class names", relative(path, listing.root), what, remedy, NOTE))


def ade20k_classes(mask: MaskFile) -> MaskFile:
    """The numbers of classes, uint16 (H, W), of ADE20K's colours, uint8 (H, W, 3); other masks as they are.

    >>> coloured = MaskFile(np.array([[[10, 3, 7], [0, 0, 0]]], np.uint8), None)
    >>> ade20k_classes(coloured).numbers.tolist()
    [[259, 0]]
    """
    if mask.numbers.ndim != 3 or mask.numbers.dtype != np.uint8:
        return mask
    red, green = mask.numbers[..., 0].astype(np.uint16), mask.numbers[..., 1].astype(np.uint16)
    return replace(mask, numbers=red // 10 * 256 + green)


def classes_of(listing: Listing, used: Iterable[int]) -> ClassList | None:
    """The classes of a listing: as listed, else those of a published data set whose masks it has.

    Args:
        listing: of any source.
        used: values in its masks, or in its instance maps where it has no masks.
    """
    values = set(used) - {255, 65_535}
    items, given = listing.items, listing.classes
    if any(item.decode is not None for item in items):
        listed = {value: name for value, name in zip(given.values, given.names, strict=True) if value in values}
        listed |= {value: f"class {value}" for value in values - {0} if value not in listed}
        # Objects have the colours of the picture's own file, in which black alone is none.
        return replace(_numbered(listed, given.file, Message("published.ade20k", count=len(listed))), objects=ObjectRule())
    if given is not None or not values:
        return given
    truths = [item.mask or item.instances for item in items]
    if all(truth is not None and _CITY_TRUTH.search(truth.stem) for truth in truths):
        return _of_cityscapes(values, {_CITY_TRUTH.search(truth.stem)[1] for truth in truths}, any(item.instances is not None for item in items))
    scenes = all(item.mask is not None and _ADE.match(item.image.stem) for item in items)
    if scenes and max(values) <= SCENE_CLASSES:
        names = _scene_names(listing.root / _NAMES)
        listed = {value: names.get(value, f"class {value}") for value in (names or sorted(values)) if value}
        return _numbered(listed, _NAMES, Message("published.scene_parsing" if names else "published.scene_parsing_unnamed", count=len(listed)))
    return None


def _of_cityscapes(values: set[int], kinds: set[str], objects: bool) -> ClassList | None:
    """The classes that are evaluated; None where the values are not Cityscapes' in spite of their names."""
    numbers, names, colours = zip(*_EVALUATED, strict=True)
    ids = {value if value < THOUSAND else value // THOUSAND for value in values}
    for_training = kinds == {"labelTrainIds"}
    known = set(range(len(names))) if for_training else {*numbers, *_OTHERS}
    if len(kinds) != 1 or not ids <= known or not ids & (set(range(len(names))) if for_training else set(numbers)):
        return None
    kind = next(iter(kinds))
    left = [] if for_training else [_OTHERS[value] for value in sorted(ids & set(_OTHERS))]
    notes = [Message("published.cityscapes", kind=kind, names=", ".join(names))]
    if left:
        notes.append(Message("published.left_out", names=", ".join(left)))
    return ClassList(
        names, tuple(range(len(names))) if for_training else numbers, colours, f"..._{kind}.png", tuple(notes), ignored=() if for_training else tuple(_OTHERS),
        countable=_COUNTABLE, objects=_OBJECTS if objects else None, published=True,
    )  # fmt: skip


def _numbered(listed: Mapping[int, str], file: str, note: Message) -> ClassList:
    """Classes by their numbers, 0 left out; the first of a class's names, where no other class begins with the same."""
    first = {value: re.split(r"[,;]", name)[0].strip() for value, name in listed.items()}
    twice = {name for name, count in Counter(first.values()).items() if count > 1}
    names = {value: first[value] if first[value] not in twice else listed[value] for value in sorted(listed)}
    again = {name for name, count in Counter(names.values()).items() if count > 1}
    names = {value: f"{name} ({value})" if name in again else name for value, name in names.items()}
    return ClassList(tuple(names.values()), tuple(names), (None,) * len(names), file, (note,), ignored=(0,), published=True)


def _scene_names(path: Path) -> dict[int, str]:
    """Number → name of the table that comes with SceneParsing; empty where it is missing or another."""
    if not path.is_file():
        return {}
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line.strip()]
    names = {int(row[0]): row[-1].strip() for row in rows[1:] if row[0].strip().isdigit() and row[-1].strip()}
    return dict(sorted(names.items())) if names and max(names) <= SCENE_CLASSES else {}


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


IMAGE_COLUMNS = ("image", "pixel_values", "img")
MASK_COLUMNS = ("mask", "label", "annotation", "labels", "masks", "annotations", "segmentation_mask", "semantic_mask")
INSTANCE_COLUMNS = ("instances", "instance_map", "instance_mask")
CLASS_FILES = ("id2label.json", "labels.json", "classes.txt")
WHO = re.compile(r"(?P<id>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<revision>[\w./-]{1,120}))?")


def list_hub(source: str) -> Listing:
    """Indexes a Hub dataset with an image column and a mask column, downloading it if it is not cached.

    Class names come from an ``id2label.json``, ``labels.json`` or ``classes.txt`` in its repository, else from its masks.

    Args:
        source: ``USER/NAME``, optionally ``@REVISION``.

    Raises:
        DataError: not such a name, no such dataset, or one without images and masks.
        HubUnavailableError: the Hub does not answer, and the dataset is not cached.
    """
    match = WHO.fullmatch(source)
    if match is None or any(part in (".", "..") for part in match["id"].split("/")):
        raise DataError("hub_data.no_dataset", name=source)
    name, revision = match["id"], match["revision"]
    # load_dataset prefers a local folder of that name to the Hub.
    if Path(name).exists():
        raise DataError("hub_data.ambiguous", name=name)
    with bounded():
        loaded = _load(name, revision)
        classes = _classes(name, revision)
    return list_loaded(loaded, name, classes)


def _load(name: str, revision: str | None) -> DatasetDict:
    # Slow to import, and only wanted here.
    import datasets
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    try:
        return datasets.load_dataset(name, revision=revision)
    except DatasetNotFoundError as error:
        raise DataError(_unseen(name, revision)) from error
    except TRANSPORT_ERRORS as error:
        if unseen(error):
            raise DataError(_unseen(name, revision)) from error
        if isinstance(error, FileNotFoundError):
            raise DataError("hub_data.no_files", name=name) from error
        raise HubUnavailableError("hub_data.not_in_cache", name=name, why=type(error).__name__) from error
    except (DatasetGenerationError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError("hub_data.not_loaded", name=name, why=reason) from error


def _unseen(name: str, revision: str | None) -> Message:
    return Message("hub_data.unseen_revision", name=name, revision=revision) if revision else Message("hub_data.unseen", name=name)


def _classes(name: str, revision: str | None) -> ClassList | None:
    """The class list in the repository, if there is one."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError

    for file in CLASS_FILES:
        where = {"repo_type": "dataset", "revision": revision}
        try:
            return read_classes(Path(hf_hub_download(name, file, **where)))
        except RemoteEntryNotFoundError:
            continue
        except (*TRANSPORT_ERRORS, HubUnavailableError):
            cached = try_to_load_from_cache(name, file, **where)
            if isinstance(cached, str):
                return read_classes(Path(cached))
    return None


def list_loaded(loaded: DatasetDict, name: str, classes: ClassList | None) -> Listing:
    """Indexes a dataset that the library has loaded; each encoded image becomes a file in the cache, once.

    Args:
        loaded: splits with an image and a mask column (or an instance map).
        name: ``USER/NAME``.
        classes: class names, or None.

    Raises:
        DataError: no image column, or no column of masks.
    """
    listing = Listing(short_name(name.rpartition("/")[2]), _cache_folder(loaded), classes=classes)
    for key, rows in loaded.items():
        split = SPLITS.get(key.lower())
        if split is None and len(loaded) > 1:
            listing.notes.append(Message("hub_data.split_left_alone", name=key))
            continue
        columns = _columns(rows, name)
        for index, files in enumerate(_files(rows, columns, listing.root / key, _own_folders(name))):
            item = f"{key}/{index:06d}"
            if (outside := next((what for what, path in files.items() if path is None), None)) is not None:
                what = Message("findings.names_foreign_file", outside=outside)
                remedy = Message("findings.tell_owner_row_leaves_dataset")
                listing.faults.append(Fault("path outside the dataset", item, what, remedy, item=item))
            elif "image" in files and ("mask" in files or "instances" in files):
                truth = files.get("mask"), files.get("instances")
                listing.items.append(Item(item, files["image"], *truth, split=split if len(loaded) > 1 else None))
            else:
                what = Message("findings.has_no_mask" if "image" in files else "findings.has_no_image")
                listing.faults.append(Fault("missing mask", item, what, Message("findings.complete_the_row"), item=item))
    if not listing.items and not listing.faults:
        raise DataError("hub_data.no_rows", name=name, splits=", ".join(loaded))
    listing.settle_test_split()
    return listing


def _columns(rows: Dataset, name: str) -> dict[str, str]:
    """Which column is what: ``image``, ``mask``, ``instances``."""
    from datasets import Image

    pictures = [column for column, feature in rows.features.items() if isinstance(feature, Image)]
    wanted = {"image": IMAGE_COLUMNS, "mask": MASK_COLUMNS, "instances": INSTANCE_COLUMNS}
    found = {what: next((c for c in names if c in pictures), None) for what, names in wanted.items()}
    found = {what: column for what, column in found.items() if column is not None}
    if "image" not in found or len(found) < 2:
        raise DataError("hub_data.other_columns", name=name, columns=", ".join(rows.features), pictures=", ".join(pictures) or "none")
    return found


def _cache_folder(loaded: DatasetDict) -> Path:
    """Where the files of a dataset lie; another version of it has another folder."""
    from datasets import config

    version = " ".join(f"{key} {rows._fingerprint}" for key, rows in sorted(loaded.items()))
    return Path(config.HF_DATASETS_CACHE) / "seg-demo" / hashlib.sha256(version.encode()).hexdigest()[:24]


def _own_folders(name: str) -> tuple[Path, ...]:
    """Where the ``datasets`` library puts the files of a dataset that it downloads."""
    from datasets import config
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repo = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="dataset")
    return repo.resolve(), Path(config.DOWNLOADED_DATASETS_PATH).resolve()


def _files(
    rows: Dataset, columns: dict[str, str], folder: Path, own: tuple[Path, ...]
) -> Iterator[dict[str, Path | None]]:
    """The files of each row, by what they are; None for one that the dataset names and that is not in its ``own`` folders."""
    from datasets import Image

    folder.mkdir(parents=True, exist_ok=True)
    encoded = rows.select_columns(list(columns.values()))
    for column in columns.values():
        encoded = encoded.cast_column(column, Image(decode=False))
    for index, row in enumerate(encoded):
        yield {
            what: _file(row[column], folder / f"{index:06d}-{what}", own)
            for what, column in columns.items()
            if row[column] is not None
        }


def _file(cell: dict, target: Path, own: tuple[Path, ...]) -> Path | None:
    """The path of one encoded image: where the library has it as a file already, or written once.

    The path of a cell is whatever the dataset's author wrote there: any file of this machine.
    """
    if cell["bytes"] is None:
        path = Path(cell["path"] or "").resolve()
        return path if any(path.is_relative_to(folder) for folder in own) else None
    # The name carries the hash, so that a file of the right name is whole and the right one.
    path = target.with_name(f"{target.name}-{hashlib.sha256(cell['bytes']).hexdigest()[:16]}")
    if not path.exists():
        write_atomically(path, cell["bytes"])
    return path

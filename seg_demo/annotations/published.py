"""Data sets that are known by how their files are called: Cityscapes and ADE20K, as they are downloaded or as mask folders made of them.

* **Cityscapes** (Cordts et al. 2016, arXiv 1604.01685; numbers as in cityscapesScripts' ``helpers/labels.py``): pictures
  ``leftImg8bit/SPLIT/CITY/..._leftImg8bit.png``, truth ``gtFine/SPLIT/CITY/..._gtFine_labelIds.png`` (0 to 33) or ``..._labelTrainIds.png`` (0 to 18, 255 for
  what is not evaluated), objects ``..._instanceIds.png`` (1000 times the number plus a count; a number alone where objects cannot be told apart). What its
  evaluation leaves out is left out here.
* **ADE20K, SceneParsing** (Zhou et al. 2017): ``images/training/ADE_train_00000001.jpg``, ``annotations/training/ADE_train_00000001.png``. 1 to 150 are classes, which
  ``objectInfo150.txt`` names; 0 is everything else, no background: it is left out, which other programs call reducing the labels.
* **ADE20K, whole**: ``..._seg.png`` beside each picture. R // 10 * 256 + G is the class, B the object, black what nobody annotated; the ``.json`` beside it names the
  classes. Its parts (``..._parts_1.png``) are not read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from seg_demo.annotations.classes import ClassList
from seg_demo.annotations.listing import NOTE, SPLITS, Fault, Item, Listing, relative, short_name
from seg_demo.core.errors import Message
from seg_demo.inputs.mask_files import MaskFile
from seg_demo.inputs.object_maps import THOUSAND, ObjectRule

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
_PICTURE = "_leftImg8bit"
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
    pictures = [path for path in sorted(folders["leftImg8bit"].rglob(f"*{_PICTURE}.png")) if not path.name.startswith(".")]
    kinds = ("labelIds", "labelTrainIds", "instanceIds")
    found = {path: {kind: file for kind in kinds if (file := _city_file(path, folders["leftImg8bit"], truths, kind)) is not None} for path in pictures}
    # One kind of numbers for all of them.
    kind = next((kind for kind in kinds[:2] if any(kind in files for files in found.values())), None)
    listing = Listing(short_name(root.resolve().name), root)
    tested = 0
    for path, files in found.items():
        place = path.relative_to(folders["leftImg8bit"]).parts[0].lower()
        split = SPLITS.get(place.removesuffix("_extra"))
        if split == "test":
            tested += 1  # its truth is not published: what lies there is empty
            continue
        name = relative(path, root).removesuffix(f"{_PICTURE}.png")
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

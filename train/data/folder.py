"""A folder → items: images beside masks, split or not, or one of the lists that such folders come with.

Layouts, tried in this order:

* ``_annotations.coco.json`` in the folder or in ``train/``, ``valid/``, ``test/``; or COCO files in ``annotations/``, as CVAT
  and COCO itself lay them out (``annotations/instances_train.json``, ``..._val.json``);
* ``metadata.jsonl`` (or ``.csv``) in the folder or in ``train/``, ``validation/``, ``test/``: an imagefolder;
* images and masks in one folder, or in ``train/`` and ``val/``: ``a.jpg`` and ``a_mask.png``, as Roboflow exports them;
* ``images/`` with ``masks/`` and/or ``instances/``, in the folder or in ``train/``, ``val/``, ``test/``, or with those
  below: ``images/train/`` and ``masks/train/``.

An image and its mask have the same stem and lie in the same subfolder; a mask may add ``_mask`` or the like. ``masks/``
holds a class per pixel, ``instances/`` an object number per pixel.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from seg_demo.core.errors import DataError
from seg_demo.core.messages import Message
from train.data.classes import find_classes
from train.data.coco import is_coco, list_coco
from train.data.file_names import described, file_per_object, of_label_studio, other_files, pair_affixes, pair_names, respelled
from train.data.listing import IMAGE_SUFFIXES, NOTE, SPLITS, Fault, Item, Listing, relative, short_name
from train.data.table import METADATA, list_table

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "segmentationclass")
INSTANCE_FOLDERS = ("instances", "instance", "instance_masks", "segmentationobject")
COCO_NAME = "_annotations.coco.json"
MASK_ENDINGS = ("_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_seg")
# How names of masks end that lie beside their images, those first that end in others.
_BESIDE = ("_cp_masks", *MASK_ENDINGS, "_segmentation")
# What names of folders with truth have in them, whatever else: DRIVE's 1st_manual, say, beside its mask/ of what the camera sees.
_TRUTH = re.compile("manual|label|mask|truth|annot|segm|(^|[^a-z])gt")
EXPECTED = (
    Message("data.expected")
)


def list_folder(root: Path) -> Listing:
    """Indexes a dataset folder.

    Args:
        root: the folder.

    Raises:
        DataError: nothing that can be learnt from lies in it.
    """
    parts = [(root, None), *_split_folders(root)]
    name = root.resolve().name
    coco = [(folder / COCO_NAME, split) for folder, split in parts if (folder / COCO_NAME).is_file()] or _instances_files(root)
    if coco:
        return list_coco(coco, name, root)
    tables = [(folder / file, split) for folder, split in parts for file in METADATA if (folder / file).is_file()]
    if tables:
        return list_table(tables, name, root)
    triples = [found for folder, split in parts if (found := _triple(folder, split)) is not None]
    if not any(_by_stem(folder)[0] for _, truths, _ in triples for folder in truths.values()):
        elsewhere = _coco_elsewhere(root)
        if elsewhere:
            return list_coco(elsewhere, name, root)
    if not triples and any(together := {folder: _together(folder) for folder, _ in parts}.values()):
        return _list_together([(folder, split, pairs) for (folder, split), pairs in zip(parts, together, strict=True) if pairs], root, name)
    if not triples:
        raise DataError("data.folder_holds", path=root, what=_contents(root), advice=described(root) or EXPECTED)
    truth_folders = [folder for _, truths, _ in triples for folder in truths.values()]
    listing = Listing(short_name(name), root, classes=find_classes(*(folder for folder, _ in parts), *truth_folders))
    for images, truths, split in triples:
        below = _split_folders(images)
        for folder, inner in below or [(images, None)]:
            sub = "" if folder == images else folder.name
            _pair(folder, {kind: _twin(truth, sub) for kind, truth in truths.items()}, split or inner, listing)
    _split_by_lists(root, listing)
    for images, truths, _ in triples:
        listing.faults += _left_aside(images, truths, root)
    if not listing.items and all(fault.severity == NOTE for fault in listing.faults):
        raise DataError("data.no_images_but", path=triples[0][0], what=_contents(triples[0][0]), advice=EXPECTED)
    listing.settle_test_split()
    return listing


def _instances_files(root: Path) -> list[tuple[Path, str | None]]:
    """COCO files in ``annotations/`` with their splits: ``instances_train2017.json`` is for training."""
    found = sorted((root / "annotations").glob("instances_*.json"))
    names = [re.sub(r"[\W\d_]+", "", path.stem.removeprefix("instances_").lower()) for path in found]
    return [(path, SPLITS.get(name)) for path, name in zip(found, names, strict=True)]


def _together(folder: Path) -> dict[Path, Path | None]:
    """Images → masks of a folder that holds both: ``a.jpg`` and ``a_mask.png``, as Roboflow, DeepGlobe and Cellpose write them.

    Empty unless at least two images have a mask whose name says so. An image without one has None.
    """
    files = {path.stem: path for path in _children(folder) if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES}
    pairs: dict[Path, Path | None] = {}
    masks = set()
    for stem, path in files.items():
        ending = next((each for each in _BESIDE if stem.lower().endswith(each)), None)
        core = stem if ending is None else stem[: -len(ending)]
        image = next((files[core + each] for each in ("", "_img", "_image", "_sat") if core + each in files), None) if ending else None
        if image is not None and image not in pairs:
            pairs[image] = path
            masks.add(path)
    if len(pairs) < 2:
        return {}
    return pairs | {path: None for path in files.values() if path not in masks and path not in pairs}


def _list_together(found: list[tuple[Path, str | None, dict[Path, Path | None]]], root: Path, name: str) -> Listing:
    """The items of folders that hold images and masks beside each other."""
    listing = Listing(short_name(name), root, classes=find_classes(root, *(folder for folder, _, _ in found)))
    for folder, split, pairs in found:
        for image, mask in pairs.items():
            item = relative(image.with_suffix(""), root)
            if mask is None:
                what, remedy = Message("findings.has_no_mask_beside"), Message("findings.add_mask_png", stem=image.stem)
                listing.faults.append(Fault("missing mask", relative(image, root), what, remedy, item=item))
            else:
                listing.items.append(Item(item, image, mask, None, split=split))
        first = next(mask for mask in pairs.values() if mask is not None)
        listing.notes.append(Message("data.one_folder", name=first.name))
    listing.settle_test_split()
    return listing


def _split_by_lists(root: Path, listing: Listing) -> None:
    """The split that VOC's ``ImageSets/Segmentation/train.txt`` and ``val.txt`` give; images that no list names are left out with what lacks."""
    named: dict[str, str] = {}
    for folder in (root / "ImageSets" / "Segmentation", root / "ImageSets"):
        for path in sorted(folder.glob("*.txt")):
            if path.stem in SPLITS and (split := SPLITS[path.stem]):
                lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
                named.update({line.split()[0]: split for line in lines if line.strip()})
    kept = [item for item in listing.items if item.name.partition("/")[2] in named]
    if not {"train", "val"} <= {named[item.name.partition("/")[2]] for item in kept}:
        return
    left = len(listing.items) - len(kept)
    listing.items = [replace(item, split=named[item.name.partition("/")[2]]) for item in kept]
    unnamed = [f for f in listing.faults if f.kind == "missing mask" and f.item is not None and f.item.partition("/")[2] not in named]
    listing.faults = [fault for fault in listing.faults if fault not in unnamed]
    out = left + len(unnamed)
    listing.notes.append(Message("data.split_of_lists_without", count=out) if out else Message("data.split_of_lists"))


def _left_aside(images: Path, truths: dict[str, Path], root: Path) -> list[Fault]:
    """Folders beside the images with as many pictures and a name of truth, which were not read: one of them may be what was meant."""
    count = sum(map(len, _by_stem(images)[0].values()))
    used = {images, *truths.values()}
    others = [child for child in _children(images.parent) if child.is_dir() and child not in used and _TRUTH.search(child.name.lower())]
    same = [child for child in others if count > 1 and sum(map(len, _by_stem(child)[0].values())) == count]
    if not same:
        return []
    read = " and ".join(f"{relative(folder, root)}/" for folder in truths.values())
    what = Message("findings.holds_a_picture_for_each_image", read=read)
    return [Fault("folder left aside", f"{relative(same[0], root)}/", what, Message("findings.if_it_is_the_truth_rename"), NOTE)]


def _coco_elsewhere(root: Path) -> list[tuple[Path, str | None]]:
    """COCO files under names of their own, in the folder or in ``annotations/``, if they can be told apart: ``result.json``, ``train.json``.

    Raises:
        DataError: several of them are for the same images, and one has to be chosen.
    """
    found = [path for folder in (root, root / "annotations") for path in sorted(folder.glob("*.json")) if is_coco(path)]
    splits = [next((SPLITS[word] for word in re.split(r"[\W\d_]+", path.stem.lower()) if word in SPLITS), None) for path in found]
    twice = next((split for split in splits if splits.count(split) > 1 or (split is None and len(found) > 1)), "")
    if twice != "":
        names = ", ".join(relative(path, root) for path in found)
        raise DataError("data.several_coco_files", path=root, names=names)
    return list(zip(found, splits, strict=True))


def _split_folders(folder: Path) -> list[tuple[Path, str]]:
    """Subfolders named after a split, in order of their names."""
    return [
        (child, SPLITS[child.name.lower()]) for child in _children(folder) if child.name.lower() in SPLITS and child.is_dir()
    ]


def _triple(folder: Path, split: str | None) -> tuple[Path, dict[str, Path], str | None] | None:
    """The images folder with its folders of truth (``mask`` and/or ``instances``), or None."""
    named = {child.name.lower(): child for child in _children(folder) if child.is_dir()}
    images = next((named[name] for name in IMAGE_FOLDERS if name in named), None)
    truths = {"mask": MASK_FOLDERS, "instances": INSTANCE_FOLDERS}
    found = {kind: next((named[n] for n in names if n in named), None) for kind, names in truths.items()}
    found = {kind: path for kind, path in found.items() if path is not None}
    return (images, found, split) if images is not None and found else None


def _twin(truth: Path, sub: str) -> Path:
    """The folder of truth that goes with a split below the images: ``masks/val`` with ``images/val``."""
    if not sub:
        return truth
    split = SPLITS[sub.lower()]
    return next((folder for folder, name in _split_folders(truth) if name == split), truth / sub)


def _pair(images: Path, truths: dict[str, Path], split: str | None, listing: Listing) -> None:
    """Adds an item for every image, and the faults of what has no counterpart."""
    pictures, others = _by_stem(images)
    if others:
        listing.faults.append(_strangers(images, others, listing.root))
    maps = {kind: _by_stem(folder)[0] for kind, folder in truths.items()}
    if pictures and (another := _another_kind(pictures, truths, maps, listing)) is not None:
        listing.faults.append(another)
        return
    used: dict[str, set[str]] = {kind: set() for kind in maps}
    otherwise = {kind: _paired(pictures, by_stem) for kind, by_stem in maps.items()}
    for kind, pairs in otherwise.items():
        named = [(relative(pictures[one][0], listing.root), maps[kind][other][0]) for one, other in pairs.items()]
        listing.faults += respelled(named, relative(images, listing.root) + "/")
    for stem, paths in pictures.items():
        item = relative(images / stem, listing.root)
        found: dict[str, Path] = {}
        clash = paths if len(paths) > 1 else None
        for kind, by_stem in maps.items():
            key = _key(stem, by_stem) or otherwise[kind].get(stem)
            if key is not None:
                used[kind].add(key)
                clash = clash or (by_stem[key] if len(by_stem[key]) > 1 else None)
                found[kind] = by_stem[key][0]
        if clash:
            what = Message("findings.has_the_same_stem", name=clash[1].name)
            remedy = Message("findings.rename_or_remove")
            listing.faults.append(Fault("two files of one stem", relative(clash[0], listing.root), what, remedy, item=item))
        elif not found:
            folders = " or ".join(f"{relative(folder, listing.root)}/" for folder in truths.values())
            file, remedy = relative(paths[0], listing.root), Message("findings.add_png_to_or_remove", stem=stem, folders=folders)
            listing.faults.append(Fault("missing mask", file, Message("findings.has_no_mask_2", folders=folders), remedy, item=item))
        else:
            listing.items.append(Item(item, paths[0], found.get("mask"), found.get("instances"), split=split))
    for kind, by_stem in maps.items():
        for stem in by_stem.keys() - used[kind]:
            file = relative(by_stem[stem][0], listing.root)
            what = Message("findings.has_no_image_of_its_name", images=relative(images, listing.root))
            listing.faults.append(Fault("mask without image", file, what, Message("findings.add_the_image_or_remove")))
    listing.faults.sort(key=lambda fault: (fault.kind, fault.file))


def _key(stem: str, by_stem: Mapping[str, object]) -> str | None:
    """What a mask is called that belongs to an image, spelled the same."""
    return next((stem + ending for ending in ("", *MASK_ENDINGS) if stem + ending in by_stem), None)


def _paired(pictures: Mapping[str, object], by_stem: Mapping[str, object]) -> dict[str, str]:
    """Images and masks that only a spelling keeps apart: a folder that went through a Mac, a web tool, or Windows."""
    alone = [stem for stem in pictures if _key(stem, by_stem) is None]
    taken = {_key(stem, by_stem) for stem in pictures}
    if not alone:
        return {}
    pairs = pair_names(alone, [stem for stem in by_stem if stem not in taken], ("", *MASK_ENDINGS))
    # Only where no name fits: a mask that is missing must not be made up for by one that is left over.
    return pairs or (pair_affixes(alone, list(by_stem)) if len(alone) == len(pictures) else {})


def _another_kind(
    pictures: Mapping[str, object], truths: dict[str, Path], maps: Mapping[str, Mapping[str, object]], listing: Listing
) -> Fault | None:
    """The fault of truth that is there, but in files of another kind, or in several per image."""
    for kind, folder in truths.items():
        where = relative(folder, listing.root) + "/"
        if not any(maps.values()) and (found := other_files(folder)) is not None:
            what, remedy = found
            return Fault("no masks", where, what, remedy)
        if of_label_studio(maps[kind]):
            what = Message("findings.holds_masks_that_label_studio_named")
            remedy = Message("findings.export_the_project_as_coco_if")
            return Fault("masks named by tasks", where, what, remedy)
        if not any(_key(stem, maps[kind]) for stem in pictures) and file_per_object(pictures, maps[kind]):
            what = Message("findings.holds_several_files_per_image")
            remedy = Message("findings.make_one_file_per_image")
            return Fault("several masks per image", where, what, remedy)
    return None


def _strangers(images: Path, others: list[Path], root: Path) -> Fault:
    names = ", ".join(path.name for path in others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    what = Message("findings.holds_not_images_by_their_names", names=names)
    return Fault("other files", relative(images, root) + "/", what, Message("findings.nothing_to_do_if_they"), NOTE)


def _by_stem(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Image files below a folder by their path without suffix, and the files that are none."""
    found: dict[str, list[Path]] = defaultdict(list)
    others = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if any(_hidden(part) for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found[path.relative_to(folder).with_suffix("").as_posix()].append(path)
        elif path.suffix.lower() not in (".txt", ".json"):
            others.append(path)
    return dict(found), others


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if not _hidden(child.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def _contents(folder: Path) -> str:
    names = [child.name + ("/" if child.is_dir() else "") for child in _children(folder)]
    if not names:
        return "nothing"
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")

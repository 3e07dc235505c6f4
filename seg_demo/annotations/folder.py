"""A folder → items: images beside masks, split or not, or one of the lists that such folders come with.

Layouts, tried in this order:

* published data sets as they are downloaded (:mod:`seg_demo.annotations.published`);
* ``_annotations.coco.json`` in the folder or in ``train/``, ``valid/``, ``test/``; or COCO files in ``annotations/``, as CVAT
  and COCO itself lay them out (``annotations/instances_train.json``, ``..._val.json``);
* panoptic files of COCO (``annotations/panoptic_train.json`` with its PNGs) where there are none of objects;
* ``metadata.jsonl`` (or ``.csv``) in the folder or in ``train/``, ``validation/``, ``test/``: an imagefolder;
* images and masks in one folder, or in ``train/`` and ``val/``: ``a.jpg`` and ``a_mask.png``, as Roboflow exports them;
* files of annotation tools (:mod:`seg_demo.annotations.other_tools`), where no masks lie beside them;
* DICOM series with a SEG or RTSTRUCT of them, in any folders (:mod:`seg_demo.annotations.other_tools`);
* ``images/`` with ``masks/`` and/or ``instances/``, in the folder or in ``train/``, ``val/``, ``test/``, or with those
  below: ``images/train/`` and ``masks/train/``.

An image and its mask have the same stem and lie in the same subfolder; a mask may add ``_mask`` or the like. ``masks/``
holds a class per pixel, ``instances/`` an object number per pixel.

Lists of pairs → items: a CSV with ``image,mask`` columns, and imagefolder's ``metadata.jsonl`` or ``metadata.csv``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from seg_demo.annotations.classes import find_classes
from seg_demo.annotations.coco import is_coco, list_coco
from seg_demo.annotations.file_names import (
    FileFinder,
    SeveralFit,
    described,
    other_files,
    pair_affixes,
    pair_names,
    respelled,
    several_fit,
)
from seg_demo.annotations.listing import (
    IMAGE_SUFFIXES,
    NOTE,
    SPLITS,
    Fault,
    Item,
    Listing,
    climbing,
    inside,
    is_file,
    panoptic_files,
    relative,
    short_name,
)
from seg_demo.annotations.other_tools import TOOL_SUFFIXES, list_dicom, list_tools, tools_in
from seg_demo.annotations.published import list_panoptic, list_published
from seg_demo.core import DataError, Message

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "segmentationclass")
INSTANCE_FOLDERS = ("instances", "instance", "instance_masks", "segmentationobject")
COCO_NAME = "_annotations.coco.json"
MASK_ENDINGS = ("_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_seg")
# How names of masks end that lie beside their images, those first that end in others.
_BESIDE = ("_cp_masks", *MASK_ENDINGS, "_segmentation")
_OF_CELLPOSE = re.compile(r"(.+?)_(flows|cp_output|(outlines|flows|dP)_cp_masks)")
# What names of folders with truth have in them, whatever else: DRIVE's 1st_manual, say, beside its mask/ of what the camera sees.
_TRUTH = re.compile("manual|label|mask|truth|annot|segm|(^|[^a-z])gt")
EXPECTED = (
    Message("data.expected")
)


def is_picture(path: Path) -> bool:
    """Whether a file is of a kind of pictures that is read, by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES or path.name.lower().endswith(".nii.gz")


def bare(path: Path) -> Path:
    """A path without what says the kind of file.

    >>> bare(Path("a/b.nii.gz")).as_posix(), bare(Path("a/b.c.png")).as_posix()
    ('a/b', 'a/b.c')
    """
    return path.with_name(path.name[: -len(".nii.gz")]) if path.name.lower().endswith(".nii.gz") else path.with_suffix("")


def list_folder(root: Path) -> Listing:
    """Indexes a dataset folder; a note names the annotation tools whose files lie there and are not what was read.

    Args:
        root: the folder.

    Raises:
        DataError: nothing that can be learnt from lies in it.
    """
    listing = _list_folder(root)
    was_read = any(isinstance(note, Message) and note.key == "annotations.understood" for note in listing.notes)
    beside = not was_read and any(path.suffix.lower() in TOOL_SUFFIXES or path.name == "labels" for path in root.rglob("*"))
    if beside and (found := tools_in(root)):
        named = ", ".join(f"{kind} ({relative(files[0], root)})" for kind, files in found.items())
        listing.notes.append(Message("annotations.also_there", names=named))
    return listing


def _list_folder(root: Path) -> Listing:
    if (published := list_published(root)) is not None:
        return published
    parts = [(root, None), *_split_folders(root)]
    name = root.resolve().name
    coco = [(folder / COCO_NAME, split) for folder, split in parts if (folder / COCO_NAME).is_file()] or _instances_files(root)
    panoptic = panoptic_files(root)
    if coco:
        listing = list_coco(coco, name, root)
        if panoptic:
            listing.notes.append(Message("panoptic.not_read", file=relative(panoptic[0][0], root)))
        return listing
    if panoptic:
        return list_panoptic(_one_per_split(panoptic, root), name, root)
    tables = [(folder / file, split) for folder, split in parts for file in METADATA if (folder / file).is_file()]
    if tables:
        return list_table(tables, name, root)
    triples = [found for folder, split in parts if (found := _triple(folder, split)) is not None]
    if not any(_by_stem(folder)[0] for _, truths, _ in triples for folder in truths.values()):
        elsewhere = _coco_elsewhere(root)
        if elsewhere:
            return list_coco(elsewhere, name, root)
        if not any(_together(folder) for folder, _ in parts) and (listing := list_tools(root)) is not None:
            return listing
    if not triples and not any(_together(folder) for folder, _ in parts) and (listing := list_dicom(root, name)) is not None:
        return listing
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
    _number_objects(listing)
    for images, truths, _ in triples:
        listing.faults += _not_read(images, truths, root)
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

    Empty unless at least two images have a mask whose name says so, or one a mask of Cellpose's. An image without one has None.
    """
    files = {bare(path).name: path for path in _children(folder) if path.is_file() and is_picture(path)}
    # What Cellpose writes besides is neither image nor mask.
    files = {stem: path for stem, path in files.items() if (own := _OF_CELLPOSE.fullmatch(stem)) is None or f"{own[1]}_cp_masks" not in files}
    pairs: dict[Path, Path | None] = {}
    masks = set()
    for stem, path in files.items():
        ending = next((suffix for suffix in _BESIDE if stem.lower().endswith(suffix)), None)
        core = stem if ending is None else stem[: -len(ending)]
        image = next((files[core + suffix] for suffix in ("", "_img", "_image", "_sat") if core + suffix in files), None) if ending else None
        if image is not None and image not in pairs:
            pairs[image] = path
            masks.add(path)
    if len(pairs) < 2 and not any(bare(mask).name.endswith("_cp_masks") for mask in pairs.values()):
        return {}
    return pairs | {path: None for path in files.values() if path not in masks and path not in pairs}


def _list_together(found: list[tuple[Path, str | None, dict[Path, Path | None]]], root: Path, name: str) -> Listing:
    """The items of folders that hold images and masks beside each other."""
    listing = Listing(short_name(name), root, classes=find_classes(root, *(folder for folder, _, _ in found)))
    for folder, split, pairs in found:
        for image, mask in pairs.items():
            item = relative(bare(image), root)
            if mask is None:
                what, remedy = Message("findings.has_no_mask_beside"), Message("findings.add_named_mask_or_remove_image", stem=image.stem)
                listing.faults.append(Fault("missing mask", relative(image, root), what, remedy, item=item))
            else:
                listing.items.append(Item(item, image, mask, None, split=split))
        first = next(mask for mask in pairs.values() if mask is not None)
        listing.notes.append(Message("data.one_folder", name=first.name))
    _number_objects(listing)
    listing.settle_test_split()
    return listing


def _number_objects(listing: Listing) -> None:
    """Let masks whose names are Cellpose's number objects, where no list says that their values are classes."""
    if listing.classes is None:
        own = [item.instances is None and item.mask is not None and bare(item.mask).name.endswith("_cp_masks") for item in listing.items]
        listing.items = [replace(item, mask=None, instances=item.mask) if numbers else item for item, numbers in zip(listing.items, own, strict=True)]


def _split_by_lists(root: Path, listing: Listing) -> None:
    """The split that VOC's ``ImageSets/Segmentation/train.txt`` and ``val.txt`` give; images that no list names are left out with what lacks."""
    named: dict[str, str] = {}
    known = {item.name.partition("/")[2] for item in listing.items} | {fault.item.partition("/")[2] for fault in listing.faults if fault.item is not None}
    for folder in (root / "ImageSets" / "Segmentation", root / "ImageSets"):
        for path in sorted(folder.glob("*.txt")):
            if path.stem in SPLITS and (split := SPLITS[path.stem]):
                lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
                # Lists of one class have 1 or -1 behind the name, and names may have blanks.
                named.update({line.strip() if line.strip() in known else line.split()[0]: split for line in lines if line.strip()})
    kept = [item for item in listing.items if item.name.partition("/")[2] in named]
    if not {"train", "val"} <= {named[item.name.partition("/")[2]] for item in kept}:
        return
    left = len(listing.items) - len(kept)
    listing.items = [replace(item, split=named[item.name.partition("/")[2]]) for item in kept]
    unnamed = [f for f in listing.faults if f.kind == "missing mask" and f.item is not None and f.item.partition("/")[2] not in named]
    listing.faults = [fault for fault in listing.faults if fault not in unnamed]
    out = left + len(unnamed)
    listing.notes.append(Message("data.split_of_lists_without", count=out) if out else Message("data.split_of_lists"))


def _not_read(images: Path, truths: dict[str, Path], root: Path) -> list[Fault]:
    """Folders beside the images with as many pictures and a name of truth, which were not read: one of them may be what was meant."""
    count = sum(map(len, _by_stem(images)[0].values()))
    used = {images, *truths.values()}
    others = [child for child in _children(images.parent) if child.is_dir() and child not in used and _TRUTH.search(child.name.lower())]
    same = [child for child in others if count > 1 and sum(map(len, _by_stem(child)[0].values())) == count]
    if not same:
        return []
    read = " and ".join(f"{relative(folder, root)}/" for folder in truths.values())
    what = Message("findings.other_folder_of_pictures_not_read", read=read)
    return [Fault("folder left aside", f"{relative(same[0], root)}/", what, Message("findings.rename_folder_if_truth"), NOTE)]


def _coco_elsewhere(root: Path) -> list[tuple[Path, str | None]]:
    """COCO files under names of their own, in the folder or in ``annotations/``, if they can be told apart: ``result.json``, ``train.json``.

    Raises:
        DataError: several of them are for the same images, and one has to be chosen.
    """
    found = [path for folder in (root, root / "annotations") for path in sorted(folder.glob("*.json")) if is_coco(path)]
    splits = [next((SPLITS[word] for word in re.split(r"[\W\d_]+", path.stem.lower()) if word in SPLITS), None) for path in found]
    return _one_per_split(list(zip(found, splits, strict=True)), root)


def _one_per_split(files: list[tuple[Path, str | None]], root: Path) -> list[tuple[Path, str | None]]:
    """The same files, which must be of different splits where there are several."""
    splits = [split for _, split in files]
    if len(files) > 1 and (None in splits or len(set(splits)) < len(splits)):
        names = ", ".join(relative(path, root) for path, _ in files)
        raise DataError("data.several_coco_files", path=root, names=names)
    return files


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
    there = {kind: [named[name] for name in names if name in named] for kind, names in truths.items()}
    # VOC has an Annotations folder of boxes, or an empty one, beside the folders of masks.
    found = {kind: next((path for path in paths if len(paths) == 1 or any(map(is_picture, path.rglob("*")))), paths[0]) for kind, paths in there.items() if paths}
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
        listing.faults.append(_other_files(images, others, listing.root))
    maps = {kind: _by_stem(folder)[0] for kind, folder in truths.items()}
    if pictures and (another := _another_kind(pictures, truths, maps, listing)) is not None:
        listing.faults.append(another)
        return
    used: dict[str, set[str]] = {kind: set() for kind in maps}
    otherwise = {kind: _paired(pictures, by_stem) for kind, by_stem in maps.items()}
    for kind, pairs in otherwise.items():
        named = [(relative(pictures[one][0], listing.root), maps[kind][other][0]) for one, other in pairs.items()]
        if named:
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
            what = Message("findings.same_stem_twice", name=clash[1].name)
            remedy = Message("findings.rename_or_remove")
            listing.faults.append(Fault("two files of one stem", relative(clash[0], listing.root), what, remedy, item=item))
        elif not found:
            folders = " or ".join(f"{relative(folder, listing.root)}/" for folder in truths.values())
            file, remedy = relative(paths[0], listing.root), Message("findings.add_mask_to_folder_or_remove_image", stem=stem, folders=folders)
            listing.faults.append(Fault("missing mask", file, Message("findings.has_no_mask_in_folders", folders=folders), remedy, item=item))
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
        if _of_label_studio(maps[kind]):
            what = Message("findings.holds_masks_that_label_studio_named")
            remedy = Message("findings.export_label_studio_as_coco")
            return Fault("masks named by tasks", where, what, remedy)
        if not any(_key(stem, maps[kind]) for stem in pictures) and _file_per_object(pictures, maps[kind]):
            what = Message("findings.holds_several_files_per_image")
            remedy = Message("findings.make_one_file_per_image")
            return Fault("several masks per image", where, what, remedy)
    return None


def _of_label_studio(masks: Collection[str]) -> bool:
    """Whether masks are called as Label Studio calls brush strokes, by numbers of tasks that no image has."""
    return bool(masks) and all(re.match(r"(.*/)?task-\d+-annotation-\d+-", mask) for mask in masks)


def _file_per_object(stems: Collection[str], masks: Collection[str]) -> bool:
    """Whether most images have several masks each, whose names begin with theirs.

    >>> _file_per_object(["a", "b"], ["a/1", "a/2", "b_1", "b_2", "b_3"])
    True
    """
    counts = Counter()
    for mask in masks:
        for end in range(len(mask) - 1, 0, -1):
            if mask[end] in "/_-." and mask[:end] in stems:
                counts[mask[:end]] += 1
                break
    return sum(count > 1 for count in counts.values()) * 2 > len(stems)


def _other_files(images: Path, others: list[Path], root: Path) -> Fault:
    names = ", ".join(path.name for path in others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    what = Message("findings.holds_no_images", names=names)
    return Fault("other files", relative(images, root) + "/", what, Message("findings.fine_if_not_of_the_data"), NOTE)


def _by_stem(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Image files below a folder by their path without suffix, and the files that are none."""
    found: dict[str, list[Path]] = defaultdict(list)
    others = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if any(_hidden(part) for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        if is_picture(path):
            found[bare(path.relative_to(folder)).as_posix()].append(path)
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


# Names of columns without what is neither letter nor digit.
IMAGE_COLUMNS = (
    "image", "filename", "imagefilename", "imagepath", "images", "img", "imgpath", "imagefile", "imgfile", "imgfilename", "satimagepath", "file", "filepath",
)  # fmt: skip
MASK_COLUMNS = (
    "mask", "maskfilename", "maskpath", "labelfilename", "annotationfilename", "masks", "maskfile", "segmentationmask", "segmentation", "labelpath",
    "labelfile", "annotationpath", "annotation", "gtpath", "groundtruth", "label",
)  # fmt: skip
INSTANCE_COLUMNS = ("instances", "instancesfilename", "instancefilename", "instancespath", "instancepath", "instancemask")
METADATA = ("metadata.jsonl", "metadata.csv")
Row = tuple[int, dict[str, str]]


def list_table(files: list[tuple[Path, str | None]], name: str, root: Path, anywhere: bool = False) -> Listing:
    """Indexes lists of pairs: one, or one per split. Paths are relative to the file that lists them.

    A list that a person names by its own path may point anywhere; one that is found in a folder, which may have come from
    somebody else, only below itself.

    Columns: an image (``image`` or ``file_name``), a mask (``mask`` or ``mask_file_name``) and/or an instance map
    (``instances``); optionally ``split`` (train, val, test).

    Args:
        files: (path, split) each; split None where the rows say it, or nothing does.
        name: of the dataset.
        root: folder to which messages name files.
        anywhere: paths may be absolute or begin with ``..``.

    Raises:
        DataError: a list is not UTF-8, cannot be parsed, lacks a column, or has no rows.
    """
    listing = Listing(short_name(name), root, classes=find_classes(root, *(path.parent for path, _ in files)))
    seen: set[str] = set()
    for path, split in files:
        header, rows = read_rows(path)
        columns = _columns(path, header)
        if not rows:
            raise DataError("lists.no_rows", path=path)
        finder = FileFinder([path.parent])
        for line, row in rows:
            _add(path, line, row, columns, split, listing, seen, finder if not anywhere else _Anywhere(path.parent, finder))
        listing.faults += finder.note(path.name)
    listing.settle_test_split()
    return listing


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Header (lower case) and rows with their line numbers.

    Args:
        path: ``*.jsonl`` with an object per line, else separated values: comma, semicolon or tab, quoted as in RFC 4180.

    Raises:
        DataError: not UTF-8, a line that is no JSON object, or a row with more fields than the header.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("lists.no_utf8", path=path, byte=error.start, why=error.reason) from error
    if path.suffix == ".jsonl":
        rows = list(_json_rows(path, text))
        return sorted({key for _, row in rows for key in row}), rows
    # Excel's own way of saying which separator it used.
    stated = re.match(r"sep=(.)\r?\n", text)
    text = text[stated.end() :] if stated else text
    lines = text.splitlines()
    if not lines:
        raise DataError("lists.empty", path=path)
    separator = stated[1] if stated else max(",;\t", key=lines[0].count)
    reader = csv.DictReader(io.StringIO(text), delimiter=separator, strict=True)
    try:
        header = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = header
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError("lists.bad_quotes", path=path, line=reader.line_num, why=error) from error
    for line, row in rows:
        if None in row:
            count = len(header) + len(row[None])
            raise DataError("lists.too_many_fields", path=path, line=line, count=count, named=len(header), separator=separator)
    return header, [(line, {key: (value or "").strip() for key, value in row.items()}) for line, row in rows]


def _json_rows(path: Path, text: str) -> Iterable[Row]:
    for line, entry in enumerate(text.splitlines(), start=1):
        if not entry.strip():
            continue
        try:
            row = json.loads(entry)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError("lists.line_no_json", path=path, line=line, why=error) from error
        if not isinstance(row, dict):
            raise DataError("lists.line_no_object", path=path, line=line)
        yield line, {key.lower(): value for key, value in row.items() if isinstance(value, str)}


def _columns(path: Path, header: list[str]) -> dict[str, str | None]:
    wanted = {"image": IMAGE_COLUMNS, "mask": MASK_COLUMNS, "instances": INSTANCE_COLUMNS, "split": ("split",)}
    called = {re.sub(r"[\W_]+", "", name): name for name in reversed(header)}
    found = {what: next((called[name] for name in names if name in called), None) for what, names in wanted.items()}
    missing = [] if found["image"] else ["image"]
    missing += [] if found["mask"] or found["instances"] else ["mask"]
    if missing and any("encodedpixels" in name or name == "rle" for name in called):
        raise DataError("lists.run_lengths", path=path)
    if missing:
        raise DataError("lists.no_column", path=path, missing=" and no column ".join(missing), columns=", ".join(header) or "none")
    return found


def _add(
    path: Path,
    line: int,
    row: dict[str, str],
    columns: dict[str, str | None],
    split: str | None,
    listing: Listing,
    seen: set[str],
    finder: FileFinder | _Anywhere,
) -> None:
    """Adds the item of one row, or the fault that keeps it out."""
    where = f"{path.name}, line {line}"
    listed = {what: row.get(name, "") if name else "" for what, name in columns.items()}
    if not listed["image"]:
        listing.faults.append(Fault("missing image", where, Message("findings.names_no_image"), Message("findings.fill_in_the_image_or_remove")))
        return
    name = listed["image"].replace("\\", "/")
    if inside(path.parent, name) is None:
        # Names end up in reports and cards, where the folders of anybody's machine are nobody's business.
        name = f"{line}-{PurePosixPath(name).name}"
    name = name if split is None else f"{split}/{name}"
    files: dict[str, Path | None] = {"image": None, "mask": None, "instances": None}
    for what in files:
        if not listed[what]:
            continue
        try:
            target = finder.find(listed[what])
        except SeveralFit as several:
            listing.faults.append(several_fit(listed[what], several.files, where, name))
            return
        if target is None and isinstance(finder, FileFinder) and inside(path.parent, listed[what]) is None:
            listing.faults.append(climbing(listed[what], where, name))
            return
        if target is None:
            fault = Message("findings.named_file_missing", listed=listed[what][:200])
            remedy = Message("findings.put_file_there_or_remove_row", name=path.name)
            listing.faults.append(
                Fault(f"missing {'image' if what == 'image' else 'mask'}", where, fault, remedy, item=name)
            )
            return
        files[what] = target
    if files["mask"] is None and files["instances"] is None:
        remedy = Message("findings.fill_in_the_mask_or_remove")
        listing.faults.append(Fault("missing mask", where, Message("findings.names_no_mask", listed=listed['image']), remedy, item=name))
        return
    if str(files["image"]) in seen:
        remedy = Message("findings.list_each_image_once")
        listing.faults.append(Fault("duplicate image", where, Message("findings.lists_again", listed=listed['image']), remedy, item=name))
        return
    seen.add(str(files["image"]))
    stated = listed["split"].lower()
    if stated and stated not in SPLITS:
        remedy = Message("findings.use_train_val_or_test")
        listing.faults.append(Fault("unknown split", where, Message("findings.unknown_split", stated=stated), remedy, item=name))
        return
    listing.items.append(Item(name, files["image"], files["mask"], files["instances"], split=split or SPLITS.get(stated)))


class _Anywhere:
    """Files of a list that a person named by its own path: as written wherever that leads, else beside the list.

    Args:
        root: folder to which paths are relative.
        finder: of that folder.
    """

    def __init__(self, root: Path, finder: FileFinder) -> None:
        self._root, self._finder = root, finder

    def find(self, listed: str) -> Path | None:
        """As :meth:`FileFinder.find`."""
        direct = self._root / listed.replace("\\", "/")
        return direct if is_file(direct) else self._finder.find(listed)

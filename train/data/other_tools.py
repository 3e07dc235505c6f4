"""Annotations in the formats of other tools that are not read here: what they are, and how to get masks or COCO from them.

The formats are known by their files: Ultralytics' ``labels/*.txt`` and ``data.yaml``, labelme's and Supervisely's JSON beside the images,
CVAT's ``annotations.xml``, Cityscapes' ``gtFine``, nnU-Net's ``labelsTr``, COCO's panoptic JSON, one file per object (Data Science Bowl
2018), arrays of numpy, MATLAB files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from seg_demo.errors import DataError
from train.data.listing import SPLITS

_LOOKED_AT = 2000
_MOST_BYTES = 2_000_000
_ARRAYS = {
    ".txt": ("holds text files, not pictures (outlines as YOLO stores them, perhaps)",
             "convert them to masks or to COCO JSON (the tool that made them exports COCO), since text files hold no pixels"),
    ".json": ("holds JSON files, not pictures", "export COCO JSON, or masks as PNG, from the tool that made them"),
    ".xml": ("holds XML files, not pictures", "export COCO JSON, or masks as PNG, from the tool that made them"),
    ".npy": ("holds arrays of numpy, not pictures", "save each as a PNG of its numbers: Image.fromarray(array).save(...), uint8 up to 255, else uint16"),
    ".npz": ("holds arrays of numpy, not pictures", "save each as a PNG of its numbers: Image.fromarray(array).save(...), uint8 up to 255, else uint16"),
    ".mat": ("holds MATLAB files, not pictures", "save the numbers in each as PNG: scipy.io.loadmat reads them, Image.fromarray(array).save(...) writes them"),
}  # fmt: skip


def described(root: Path, deeper: bool = True) -> str | None:
    """What a folder holds in whose layout nothing is found, as sentences with what to do; None for what is not known.

    Args:
        root: the dataset's folder.
        deeper: whether to look into the folders of its splits, or its only one, as well.
    """
    children = sorted(child for child in root.iterdir() if not child.name.startswith("."))
    folders = {child.name.lower(): child for child in children if child.is_dir()}
    if "gtfine" in folders or "gtcoarse" in folders:
        return (
            "This is Cityscapes as it is downloaded. Copy leftImg8bit/ to images/, and of gtFine/ the files ..._labelIds.png (or "
            "..._labelTrainIds.png) to masks/, those ..._instanceIds.png to instances/, train/ and val/ below each."
        )
    if "imagestr" in folders and "labelstr" in folders:
        return "This is nnU-Net's layout. Rename imagesTr/ to images/ and labelsTr/ to masks/, and write the names of dataset.json into classes.txt."
    if (root / "annotations.xml").is_file():
        return "annotations.xml is CVAT's own format. Export the task again as 'COCO 1.0', or as 'Segmentation mask 1.1' with its images."
    below = [folder for folder in folders.values() if (folder / "images").is_dir() and (folder / "masks").is_dir()]
    if len(below) > 1:
        return (
            "Each image has a folder of its own, with a file per object in masks/. Put the images into images/, and for each one PNG of its "
            "name into instances/: 0 is the background, and 1, 2, 3 ... are the objects."
        )
    if any((folder / "ann").is_dir() for folder in [root, *folders.values()]):
        return "This is Supervisely's own format. Export it as COCO, or as masks: with the app 'Export as masks', machine masks into masks/."
    if (root / "data.yaml").is_file() or (root / "labels").is_dir() and (root / "images").is_dir():
        return "This looks like a dataset in YOLO's format, whose outlines are text files. Export it as COCO (in Roboflow: 'COCO Segmentation')."
    if any(_of_labelme(path) for path in islice((child for child in children if child.suffix.lower() == ".json"), 5)):
        return (
            "The JSON files are labelme's own. Make masks of them with labelme's labelme2voc.py, whose JPEGImages/ and SegmentationClass/ are "
            "read, or COCO with labelme2coco.py."
        )
    if any(_is_panoptic(_loaded(path)) for path in islice((child for child in children if child.suffix.lower() == ".json"), 5)):
        return "This is COCO's panoptic format. Rename the folder of its PNG files to instances/, beside images/, to learn its segments as objects of one class."
    for ending in ("_masks", "_mask", "_labels", "_label", "_annotations", "_gt", "annot", "masks", "labels"):
        if (pair := next((name for name in folders if name + ending in folders), None)) is not None:
            beside = folders[pair + ending].name
            return f"{beside}/ seems to hold the masks of {folders[pair].name}/. Rename them to {folders[pair].name}/masks/ and {folders[pair].name}/images/."
    inner = [folder for name, folder in folders.items() if name in SPLITS] or (list(folders.values()) if len(folders) == 1 else [])
    if deeper and inner and (found := described(inner[0], deeper=False)) is not None:
        return found
    twins = Counter(child.stem.lower().rsplit("_", 1)[-1] for child in children if child.is_file())
    ending = next((each for each in ("masks", "mask", "label", "labels", "gt", "seg", "segmentation") if twins[each] > 1), None)
    if ending is not None:
        return f"Images and masks lie in one folder. Move the files that end in _{ending} to masks/ (or to instances/, if they number objects), the images to images/."
    return None


def _of_labelme(path: Path) -> bool:
    found = _loaded(path)
    return isinstance(found, dict) and isinstance(found.get("shapes"), list) and "imagePath" in found


def _loaded(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig")) if path.stat().st_size <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None


def refuse_json(path: Path, data: object) -> None:
    """Refuse a JSON file that is not COCO's in its own words, where it is known.

    Raises:
        DataError: it is another tool's.
    """
    if not isinstance(data, dict | list):
        return
    if _is_panoptic(data):
        raise DataError(
            f"{path} is a panoptic COCO file, whose masks are PNG files of their own. Rename the folder of these PNG files to instances/, beside images/, to learn their segments as "
            "objects of one class; or convert it with panopticapi's panoptic2detection_coco_format.py and give that file."
        )
    if isinstance(data, dict) and isinstance(data.get("shapes"), list) and "imagePath" in data:
        raise DataError(
            f"{path} is labelme's own JSON of one image. Make masks of all of them with labelme's labelme2voc.py, or COCO with labelme2coco.py, and give "
            "that folder or file."
        )
    if isinstance(data, list) and any(isinstance(task, dict) and "annotations" in task for task in data[:5]):
        raise DataError(f"{path} is Label Studio's own JSON. Export the project again as 'COCO', and give its result.json.")


def _is_panoptic(data: object) -> bool:
    return isinstance(data, dict) and any(isinstance(entry, dict) and "segments_info" in entry for entry in _listed(data, "annotations")[:5])


def _listed(data: dict, key: str) -> list:
    return data[key] if isinstance(data.get(key), list) else []


def other_files(folder: Path) -> tuple[str, str] | None:
    """What a folder of truth holds instead of pictures, as (what, remedy); None if it holds none of what is known."""
    found = Counter(path.suffix.lower() for path in islice(folder.rglob("*"), _LOOKED_AT) if path.is_file())
    kinds = [suffix for suffix, _ in found.most_common() if suffix in _ARRAYS]
    return _ARRAYS[kinds[0]] if kinds else None


def of_label_studio(masks: Collection[str]) -> bool:
    """Whether masks are called as Label Studio calls brush strokes, by numbers of tasks that no image has."""
    return bool(masks) and all(re.match(r"(.*/)?task-\d+-annotation-\d+-", mask) for mask in masks)


def file_per_object(stems: Collection[str], masks: Collection[str]) -> bool:
    """Whether most images have several masks each, whose names begin with theirs.

    >>> file_per_object(["a", "b"], ["a/1", "a/2", "b_1", "b_2", "b_3"])
    True
    """
    counts = Counter()
    for mask in masks:
        for end in range(len(mask) - 1, 0, -1):
            if mask[end] in "/_-." and mask[:end] in stems:
                counts[mask[:end]] += 1
                break
    return sum(count > 1 for count in counts.values()) * 2 > len(stems)

"""Broken datasets: a builder each, and what the doctor has to say about it. More in broken_masks.py and broken_lists.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.small_datasets import blob_mask, folder, picture, save, write_json


@dataclass(frozen=True)
class Broken:
    """A broken dataset.

    Attributes:
        build: makes it in an empty folder and returns the source to open.
        file: what the message has to name.
        reason: what it has to say, as a part of the text.
        kind: of the fault, or None if the whole source is refused with a DataError.
    """

    build: Callable[[Path], str | Path]
    file: str
    reason: str
    kind: str | None


BROKEN: dict[str, Broken] = {}


def broken(file: str, reason: str, kind: str | None = None) -> Callable:
    """Registers a builder under its own name."""

    def register(build: Callable[[Path], str | Path]) -> Callable:
        BROKEN[build.__name__] = Broken(build, file, reason, kind)
        return build

    return register


@broken("nothing-here", "There is no data at")
def no_such_folder(root: Path) -> Path:
    return root / "nothing-here"


@broken("empty", "holds nothing")
def empty_folder(root: Path) -> Path:
    (root / "empty").mkdir()
    return root / "empty"


@broken("loose", "a.png, b.png")
def loose_images(root: Path) -> Path:
    for name in "ab":
        save(picture(1), root / "loose" / f"{name}.png")
    return root / "loose"


@broken("images", "holds no images, but notes.md")
def images_without_images(root: Path) -> Path:
    (root / "images").mkdir()
    (root / "masks").mkdir()
    (root / "images" / "notes.md").write_text("hello")
    return root


@broken("photo.png", "is a single .png file")
def one_image(root: Path) -> Path:
    return save(picture(1), root / "photo.png")


@broken("classes.txt", "the name 'cell' twice")
def class_twice(root: Path) -> Path:
    return folder(root, classes="cell\ncell\n")


@broken("classes.txt", "not UTF-8")
def classes_not_utf8(root: Path) -> Path:
    folder(root)
    (root / "classes.txt").write_bytes("Hintergrund\nZelle\u00e4\n".encode("latin-1"))
    return root


@broken("classes.txt", "lists no class")
def classes_empty(root: Path) -> Path:
    return folder(root, classes="\n\n")


@broken("labels.json", "not JSON: Expecting")
def labels_not_json(root: Path) -> Path:
    folder(root, classes=None)
    (root / "labels.json").write_text('{"0": "background",')
    return root


@broken("labels.json", "nested too deeply")
def labels_too_deep(root: Path) -> Path:
    folder(root, classes=None)
    (root / "labels.json").write_text("[" * 100_000)
    return root


@broken("labels.json", "where a colour")
def labels_bad_color(root: Path) -> Path:
    folder(root, classes=None)
    write_json({"background": [0, 0, 0], "cell": [255, 0, 300]}, root / "labels.json")
    return root


@broken("images/2.png", "text", "unreadable image")
def image_is_text(root: Path) -> Path:
    folder(root)
    (root / "images" / "2.png").write_text("this is no image")
    return root


@broken("images/2.png", "damaged", "unreadable image")
def image_truncated(root: Path) -> Path:
    path = folder(root) / "images" / "2.png"
    path.write_bytes(path.read_bytes()[:200])
    return root


@broken("images/2.png", "empty", "unreadable image")
def image_empty(root: Path) -> Path:
    (folder(root) / "images" / "2.png").write_bytes(b"")
    return root


@broken("masks/2.png", "damaged", "unreadable mask")
def mask_truncated(root: Path) -> Path:
    path = folder(root) / "masks" / "2.png"
    path.write_bytes(path.read_bytes()[:60])
    return root


@broken("masks/2.tif", "fractions", "unreadable mask")
def mask_of_fractions(root: Path) -> Path:
    (folder(root) / "masks" / "2.png").unlink()
    save(blob_mask(2).astype(np.float32) / 2, root / "masks" / "2.tif")
    return root


@broken("images/2.png", "no mask in masks/", "missing mask")
def mask_missing(root: Path) -> Path:
    (folder(root) / "masks" / "2.png").unlink()
    return root


@broken("masks/2.png", "no image of its name", "mask without image")
def image_missing(root: Path) -> Path:
    (folder(root) / "images" / "2.png").unlink()
    return root


@broken("images/2.jpg", "same stem as 2.png", "two files of one stem")
def two_images_of_one_stem(root: Path) -> Path:
    save(picture(50), folder(root) / "images" / "2.jpg")
    return root


@broken("masks/2.png", "has 16 x 12 pixels, but 2.png has 32 x 24", "size mismatch")
def mask_of_other_size(root: Path) -> Path:
    save(blob_mask(2)[::2, ::2], folder(root) / "masks" / "2.png")
    return root


@broken("masks/2.png", "has 24 x 32 pixels", "size mismatch")
def mask_turned_without_reason(root: Path) -> Path:
    save(np.ascontiguousarray(blob_mask(2).T), folder(root) / "masks" / "2.png")
    return root


@broken("train/images/0.png", "same picture as val/images/copy.png", "duplicate across the split")
def duplicate_across_the_split(root: Path) -> Path:
    folder(root / "train")
    folder(root / "val", 2)
    shutil.rmtree(root / "val" / "images")
    save(picture(0), root / "val" / "images" / "copy.png", compress_level=1)
    save(picture(31), root / "val" / "images" / "1.png")
    (root / "val" / "masks" / "0.png").rename(root / "val" / "masks" / "copy.png")
    return root


@broken("spleen", "never occurs in any image", "class never occurs")
def class_never_occurs(root: Path) -> Path:
    return folder(root, classes="background\ncell\nspleen\n")


@broken("cell", "never occurs in a training image", "class never occurs")
def class_only_in_val(root: Path) -> Path:
    folder(root / "train", value=2)
    folder(root / "val", 2)
    for index in range(2):
        save(picture(40 + index), root / "val" / "images" / f"{index}.png")
    (root / "classes.txt").write_text("background\ncell\nborder\n")
    return root


@broken("the data", "1 images to train on and 0 to validate on", "too few images")
def one_pair(root: Path) -> Path:
    return folder(root, 1)

"""Datasets whose masks cannot be understood. Importing it adds them to BROKEN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from tests.broken_datasets import BROKEN, broken
from tests.small_datasets import HEIGHT, WIDTH, blob_mask, folder, picture, save, write_json

__all__ = ["BROKEN"]


@broken("masks/2.png", "holds 7 on", "label out of range")
def label_out_of_range(root: Path) -> Path:
    save(blob_mask(2, 7), folder(root) / "masks" / "2.png")
    return root


@broken("masks/2.png", "#123456", "unknown colour")
def color_not_in_the_table(root: Path) -> Path:
    folder(root, classes=None)
    write_json({"background": [0, 0, 0], "cell": [255, 0, 0]}, root / "labels.json")
    for index in range(6):
        color = (0x12, 0x34, 0x56) if index == 2 else (255, 0, 0)
        save(blob_mask(index)[..., None] * np.array(color, np.uint8), root / "masks" / f"{index}.png")
    return root


@broken("classes.txt", "gives no colours", "coloured masks")
def colors_without_a_table(root: Path) -> Path:
    folder(root, classes="background\ncat\ndog\n")
    for index in range(6):
        mask = blob_mask(index)[..., None] * np.array((200, 30 * index, 0), np.uint8)
        save(mask, root / "masks" / f"{index}.png")
    return root


@broken("classes.txt", "others 0 and 1", "mixed masks")
def two_ways_of_saving(root: Path) -> Path:
    folder(root)
    save(blob_mask(2, 255), root / "masks" / "2.png")
    return root


@broken("masks", "others 0 and 1", "mixed masks")
def two_ways_of_saving_without_a_list(root: Path) -> Path:
    two_ways_of_saving(root)
    (root / "classes.txt").unlink()
    return root


@broken("class 1", "nothing to tell apart", "only one class")
def one_class_and_ignore(root: Path) -> Path:
    folder(root, classes=None)
    for index in range(6):
        save(np.where(blob_mask(index), 255, 1).astype(np.uint8), root / "masks" / f"{index}.png")
    return root


@broken("classes.txt", "which one is 255", "0/255 masks")
def black_and_white_for_three_classes(root: Path) -> Path:
    return folder(root, value=255, classes="background\ncat\ndog\n")


@broken("masks/2.jpg", "most of them near 0, 255", "JPEG mask")
def jpeg_mask(root: Path) -> Path:
    folder(root, value=255)
    (root / "masks" / "2.png").unlink()
    # An edge off the 8 x 8 blocks, so that the compression shows.
    save(blob_mask(2, 255), root / "masks" / "2.jpg", quality=60)
    return root


@broken("masks/2.png", "it was smoothed", "blurred mask")
def smoothed_mask(root: Path) -> Path:
    folder(root, value=255)
    mask = np.zeros((96, 96), np.uint8)
    mask[20:70, 31:80] = 255
    save(np.zeros((96, 96, 3), np.uint8), root / "images" / "2.png")
    Image.fromarray(mask).filter(ImageFilter.GaussianBlur(1)).save(root / "masks" / "2.png")
    return root


@broken("masks/2.png", "different colours: it is a picture rather than a mask", "blurred mask")
def photo_as_mask(root: Path) -> Path:
    save(picture(9), folder(root, classes=None) / "masks" / "2.png")
    return root


@broken("masks/2.png", "all are ignored", "nothing labelled")
def mask_of_ignore_only(root: Path) -> Path:
    save(np.full((HEIGHT, WIDTH), 255, np.uint8), folder(root) / "masks" / "2.png")
    return root


@broken("masks", "79 different values", "too many classes")
def object_numbers_as_classes(root: Path) -> Path:
    folder(root, classes=None)
    mask = np.arange(HEIGHT * WIDTH, dtype=np.int64).reshape(HEIGHT, WIDTH) // 10 + 1
    save((3 * mask).astype(np.uint8), root / "masks" / "2.png")
    return root


@broken("classes.txt", "names 2 classes, but instance maps", "classes without masks")
def instances_of_several_classes(root: Path) -> Path:
    folder(root, classes="cat\ndog\n")
    (root / "masks").rename(root / "instances")
    return root

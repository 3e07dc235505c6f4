"""The data of a job: a copy of a dataset's folder, or what an archive holds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from seg_demo.errors import BadRequestError
from seg_demo.inputs.archives import unpack
from seg_demo.settings import settings

# What a dataset of the store keeps for itself; training needs none of it, and hidden files are its journal.
_LEFT_OUT = ("facts", "thumbnails", "drafts", "dataset.json", ".*")


def take(source: Path, target: Path, name: str) -> Path:
    """Copy or unpack data into a job's folder.

    Args:
        source: a folder, or a zip archive.
        target: new folder to put it in.
        name: of the data; the folder within ``target`` is called after it, and with it the repository that is pushed.

    Returns:
        The folder that ``--data`` takes.

    Raises:
        BadRequestError: an archive that cannot be used, or holds nothing.
        OSError: the disk is full or fails.
    """
    folder = target / (re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:40] or "data")
    if source.is_dir():
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        return folder
    folder.mkdir(parents=True)
    # An image and its mask are two files, so that a dataset of an archive may have as many images as a batch.
    unpacked = unpack(
        source, folder, max_files=2 * settings().max_batch_files + 10, max_bytes=settings().max_batch_bytes
    )
    if not unpacked.files:
        why = f" ({unpacked.refused[0].name}: {unpacked.refused[0].why})" if unpacked.refused else ""
        raise BadRequestError(f"The archive holds no file{why}. Pack images/ and masks/ into it.")
    inside = sorted(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and inside[0].name.lower() not in ("images", "masks", "train", "val"):
        # The archive of a folder holds that folder; what training wants lies in it.
        wrapped = folder.with_name(folder.name + ".unpacked")
        folder.rename(wrapped)
        (wrapped / inside[0].name).rename(folder)
        wrapped.rmdir()
    return folder

"""A dataset on the Hub → items, through the ``datasets`` library; its images become files in the local cache."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from seg_demo.annotations.classes import ClassList, read_classes
from seg_demo.annotations.listing import SPLITS, Fault, Item, Listing, short_name
from seg_demo.core.errors import DataError, HubUnavailableError, Message
from seg_demo.core.storage import write_atomically
from seg_demo.hub.client import TRANSPORT_ERRORS, bounded, unseen

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

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

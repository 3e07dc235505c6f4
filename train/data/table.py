"""Lists of pairs → items: a CSV with ``image,mask`` columns, and imagefolder's ``metadata.jsonl`` or ``metadata.csv``."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from seg_demo.core.errors import DataError
from seg_demo.core.messages import Message
from train.data.classes import find_classes
from train.data.file_names import FileFinder, SeveralFit, several_fit
from train.data.listing import SPLITS, Fault, Item, Listing, climbing, inside, is_file, short_name

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
            fault = Message("findings.names_which_does_not_exist", listed=listed[what][:200])
            remedy = Message("findings.put_the_file_there_names", name=path.name)
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
        listing.faults.append(Fault("unknown split", where, Message("findings.has_split", stated=stated), remedy, item=name))
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

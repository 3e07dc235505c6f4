"""The classes of a dataset: names that can be stored, and the files that say which number in a mask is which class."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seg_demo.errors import DataError, StorageError
from seg_demo.types import LabelSet, distinct_colors

VERSION = 1
MAX_CLASSES = 255
BACKGROUND = "background"


def label_set(labels: LabelSet | Sequence[str]) -> LabelSet:
    """Classes as a dataset can store them: names that differ, not too many, and a background.

    Args:
        labels: a label set, whose numbers are kept; or names, of which a missing ``background`` is put first.

    Raises:
        DataError: none, too many, or a name that no class can have.
    """
    if isinstance(labels, LabelSet):
        names = _distinct(labels.names)
        chosen = LabelSet(names, labels.colors, labels.background)
    else:
        names = clean_names(labels)
        if not names:
            raise DataError("A dataset needs at least one class. Type the names of what is to be found.")
        plain = [name.casefold().strip("_") for name in names]
        if BACKGROUND not in plain:
            names, plain = [BACKGROUND, *names], [BACKGROUND, *plain]
        chosen = LabelSet.from_names(names, background=plain.index(BACKGROUND))
    if len(chosen) > MAX_CLASSES:
        raise DataError(f"A dataset has at most {MAX_CLASSES} classes, but there are {len(chosen)}. Use fewer.")
    return chosen


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, those that occur again with a number: some checkpoints have ten classes ``N/A``."""
    seen: set[str] = set()
    found = []
    for name in names:
        text, number = clean_names([name])[0], 1
        while (candidate := text if number == 1 else f"{text} {number}").casefold() in seen:
            number += 1
        seen.add(candidate.casefold())
        found.append(candidate)
    return tuple(found)


def extended(labels: LabelSet, names: Sequence[str]) -> LabelSet:
    """The classes with further ones behind them; names that are there already, in any case of letters, are skipped.

    Raises:
        DataError: too many, or a name that no class can have.
    """
    known = {name.casefold() for name in labels.names}
    fresh = [name for name in clean_names(names) if name.casefold() not in known]
    count = len(labels) + len(fresh)
    if count > MAX_CLASSES:
        raise DataError(f"A dataset has at most {MAX_CLASSES} classes, but there would be {count}. Use fewer.")
    colors = np.concatenate([labels.colors, distinct_colors(count, labels.background)[len(labels) :]])
    return LabelSet((*labels.names, *fresh), colors, labels.background)


def header_files(name: str, task: str, labels: LabelSet) -> dict[str, bytes]:
    """``dataset.json``, and ``labels.json`` as training reads it: the class of each number in the masks."""
    colors = labels.colors.tolist()
    header = {"version": VERSION, "name": name, "task": task, "labels": labels.names, "colors": colors}
    classes = {"id2label": {str(index): label for index, label in enumerate(labels.names)}, "colors": colors}
    return {
        "dataset.json": json.dumps({**header, "background": labels.background}, ensure_ascii=False, indent=1).encode(),
        "labels.json": json.dumps(classes, ensure_ascii=False, indent=1).encode(),
    }


def clean_names(names: Sequence[str]) -> list[str]:
    """Class names without surrounding blanks, control characters and repetitions.

    Raises:
        DataError: an empty or over-long name.
    """
    cleaned: dict[str, str] = {}
    for name in names:
        text = unicodedata.normalize("NFC", " ".join(str(name).split()))
        if not text or len(text) > 80 or not text.isprintable():
            raise DataError(f"{str(name)[:40]!r} cannot be used as a class name. Type 1 to 80 letters, digits, signs or spaces.")
        cleaned.setdefault(text.casefold(), text)
    return list(cleaned.values())


def read_header(folder: Path) -> tuple[str, str, LabelSet]:
    """Name, task and classes of a dataset, as :func:`header_files` wrote them.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        header = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        colors = np.array(header["colors"], dtype=np.uint8)
        return str(header["name"]), str(header["task"]), LabelSet(tuple(header["labels"]), colors, header["background"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"The dataset {folder.name} cannot be opened: its dataset.json is missing or damaged ({error}). Its images and "
            "masks are untouched; restore the file from a copy, or make a new dataset."
        ) from error

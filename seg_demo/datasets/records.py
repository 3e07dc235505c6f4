"""What is stored about the samples of a dataset: ``facts/STEM.json`` each, and ``drafts/`` that say which save made which sample.

A file that cannot be read costs its own sample alone: it is named and passed over, and nothing of it is touched.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from seg_demo.datasets.names import is_stem
from seg_demo.datasets.sample import Sample
from seg_demo.errors import StorageError


def read(root: Path, name: str, stem: str) -> Sample:
    """One sample.

    Args:
        root: folder of the dataset.
        name: of the dataset, for the message.
        stem: of the sample.

    Raises:
        StorageError: its file cannot be read.
    """
    path = root / "facts" / f"{stem}.json"
    try:
        sample = Sample.from_json(stem, json.loads(path.read_text(encoding="utf-8")), root)
        if not all(isinstance(text, str) for text in (sample.name, sample.saved, sample.facts.source)):
            raise TypeError("a text was expected")
        if not all(isinstance(number, int) for number in (sample.width, sample.height, *sample.pixels.values())):
            raise TypeError("a number was expected")
        return sample
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"facts/{path.name} of the dataset {name} is damaged ({type(error).__name__}), so this sample is left out"
        raise StorageError(f"{what}. Its image and its mask are untouched; restore the file from a copy.") from error


def look(root: Path, name: str) -> tuple[list[Sample], dict[str, str]]:
    """All samples.

    Args:
        root: folder of the dataset.
        name: of the dataset, for the messages.

    Returns:
        Those that can be read, the last changed first; and the stems of the others, with a sentence each.
    """
    found, unreadable = [], {}
    for path in sorted((root / "facts").glob("*.json")):
        try:
            found.append(read(root, name, path.stem))
        except StorageError as error:
            unreadable[path.stem] = str(error)
    return sorted(found, key=lambda sample: (sample.saved, sample.stem), reverse=True), unreadable


def draft_file(draft: str) -> str:
    """Where it stands which sample a save has made, relative to the dataset.

    Args:
        draft: what tells the save from others, any text.
    """
    return f"drafts/{hashlib.sha256(draft.encode('utf-8', 'replace')).hexdigest()[:32]}"


def made_by(root: Path, name: str, draft: str) -> str | None:
    """The stem of the sample that a save has made; None if there is none, or it cannot be read any more.

    Args:
        root: folder of the dataset.
        name: of the dataset.
        draft: of the save.
    """
    try:
        stem = (root / draft_file(draft)).read_text(encoding="utf-8")
        return stem if is_stem(stem) and read(root, name, stem).draft == draft else None
    except (OSError, ValueError, StorageError):
        return None

"""What is known about a model before it is loaded: the class names of well-known data sets, and what a checkpoint folder says.

The menu is asked for several times with each request, so a folder is read once for each state of its files.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from seg_demo.networks import identify
from seg_demo.networks.files import CONFIG, PREPROCESSOR, read_json, read_optional_json
from seg_demo.networks.names import class_table, labels_from_dict


@lru_cache(maxsize=1)
def _all_labels() -> dict[str, list[str]]:
    return json.loads((Path(__file__).parent / "labels.json").read_text(encoding="utf-8"))


def known_labels(key: str) -> tuple[str, ...]:
    """Class names of a well-known data set: ``voc``, ``coco`` or ``cityscapes``."""
    return tuple(_all_labels()[key])


def architecture_of(folder: Path) -> str:
    """Which network a checkpoint folder is of, as :func:`seg_demo.networks.identify` has it.

    Raises:
        BadCheckpointError: none that is known.
    """
    return _identified(folder, _state(folder))


def labels_in(folder: Path) -> tuple[str, ...]:
    """The class names that a checkpoint folder states, in the order of their ids; empty if it states none.

    Raises:
        BadCheckpointError: a file of it cannot be read.
    """
    return _labels(folder, _state(folder))


def _state(folder: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """Changes when a JSON file of the folder does."""
    found = []
    for name in (CONFIG, PREPROCESSOR):
        try:
            stat = (folder / name).stat()
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append(None)
    return tuple(found)


@lru_cache(maxsize=256)
def _identified(folder: Path, state: object) -> str:
    return identify(folder)


@lru_cache(maxsize=256)
def _labels(folder: Path, state: object) -> tuple[str, ...]:
    for data in (read_json(folder, CONFIG), read_optional_json(folder, PREPROCESSOR)):
        table = class_table(data)
        # How many classes the network has is known once it is loaded; a table of so many names is mostly of so many.
        found = labels_from_dict({"id2label": table}, len(table)) if table else None
        if found is not None:
            return found.names
    return ()

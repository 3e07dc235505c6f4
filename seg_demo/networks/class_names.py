"""Class names and colours in the JSON files of a checkpoint folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.messages import Message
from seg_demo.core.types import MAX_IDS, LabelSet, distinct_colors, is_background
from seg_demo.networks.checkpoint import check_options


def labels_to_dict(labels: LabelSet) -> dict[str, Any]:
    """``id2label``, ``label2id``, ``colors`` and ``background`` of a label set, JSON-able."""
    return {
        "id2label": {str(index): name for index, name in enumerate(labels.names)},
        "label2id": {name: index for index, name in enumerate(labels.names)},
        "colors": labels.colors.tolist(),
        "background": labels.background,
    }


def class_table(data: dict[str, Any]) -> dict[int, str]:
    """The class names that a config states, by id, in whatever form it has them; what is no name or no id is left out.

    ``id2label`` with ids as numbers or as text, or the wrong way round, or as a list; else ``label2id``.

    >>> class_table({"id2label": {"1": "cell", "255": "ignore"}}), class_table({"label2id": {"cell": 1}})
    ({1: 'cell', 255: 'ignore'}, {1: 'cell'})
    """
    for key in ("id2label", "label2id"):
        table = data.get(key)
        if isinstance(table, list):
            table = dict(enumerate(table))
        if not isinstance(table, dict):
            continue
        forward = {_id(id): name for id, name in reversed(table.items())}
        backward = {_id(id): name for name, id in reversed(table.items())}
        found = max((forward, backward), key=lambda each: len(each) - (None in each))
        names = {id: str(name)[:200] for id, name in found.items() if id is not None and name is not None and str(name).strip()}
        if names:
            return dict(sorted(names.items()))
    return {}


def _id(value: object) -> int | None:
    """A label id as a config writes it, or None."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(?:LABEL_)?([0-9]{1,9})\s*", value)
        return int(match[1]) if match else None
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**9 and int(value) == value
    return int(value) if whole else None


def labels_from_dict(data: dict[str, Any], count: int) -> LabelSet | None:
    """The label set that a config describes. An id is the number of an output channel, as in transformers' own pipelines.

    Args:
        data: has ``id2label`` (id → name) or ``label2id``, and perhaps ``colors`` and ``background``.
        count: number of classes that the network has.

    Returns:
        None if no name belongs to a class. A class without a name is called ``class`` and its number. Without ``background``,
        class 0 is it where its name says so.

    Raises:
        BadCheckpointError: absurdly many classes, or colours or a background that are none.
    """
    check_count(count)
    table = class_table(data)
    if not any(index < count for index in table):
        return None
    ordered = tuple(table.get(index, f"class {index}") for index in range(count))
    background = data.get("background", first_background(ordered))
    if background is not None and (not isinstance(background, int) or not 0 <= background < count):
        raise BadCheckpointError("class_tables.bad_background", most=count - 1, value=background)
    return LabelSet(ordered, _colors(data.get("colors"), count, background), background)


def binary_labels(table: Mapping[int, str]) -> LabelSet:
    """The two classes of a network with one channel, which is about the class that is not the background.

    >>> binary_labels({0: "cell"}).names, binary_labels({0: "sky", 1: "bird"}).names, binary_labels({0: "background"}).names
    (('background', 'cell'), ('sky', 'bird'), ('background', 'foreground'))

    Args:
        table: of :func:`class_table`; two names are those of both, one is the class's.
    """
    if 0 in table and 1 in table:
        return LabelSet.from_names((table[0], table[1]), background=0)
    named = table.get(1, table.get(0, next(iter(table.values()), "foreground")))
    return LabelSet.from_names(("background", "foreground" if first_background((named,)) == 0 else named), background=0)


def table_notes(data: dict[str, Any], count: int) -> tuple[str, ...]:
    """What a person should know about a class table that is not exactly the network's: a sentence each.

    Args:
        data: as for :func:`labels_from_dict`.
        count: number of classes that the network has.
    """
    table, notes = class_table(data), []
    nameless = [index for index in range(count) if index not in table]
    homeless = [index for index in table if index >= count]
    if table and nameless:
        notes.append(Message("class_tables.nameless", count=len(nameless), total=count))
    if homeless:
        first = homeless[0]
        notes.append(Message("class_tables.homeless", count=count, last=count - 1, homeless=len(homeless), name=table[first][:40], id=first))
    return tuple(notes)


def first_background(names: tuple[str, ...]) -> int | None:
    """0 if the first class is called background, else None."""
    return 0 if is_background(names[0]) else None


def check_count(count: object) -> None:
    """Refuse a number of classes that no label map can hold.

    Raises:
        BadCheckpointError: not an integer from 1 to 65535.
    """
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_IDS:
        raise BadCheckpointError("class_tables.bad_count", count=count, most=MAX_IDS)


def _colors(data: object, count: int, background: int | None) -> np.ndarray:
    if data is None:
        return distinct_colors(count, background)
    try:
        colors = np.array(data, dtype=np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadCheckpointError("class_tables.colors_unreadable", why=error) from error
    if colors.shape != (count, 3) or colors.min() < 0 or colors.max() > 255:
        raise BadCheckpointError("class_tables.bad_colors", count=count, shape=colors.shape)
    return colors.astype(np.uint8)


def own_config_of(name: str, options: dict[str, Any], labels: LabelSet) -> dict[str, Any]:
    """config.json of a network whose library has no format; ``num_classes`` and ``options`` are arguments as the Hub's mixin keeps them."""
    return {"architecture": name, "num_classes": len(labels), "options": options, **labels_to_dict(labels)}


def own_config(config: dict[str, Any]) -> tuple[dict[str, Any], int, LabelSet]:
    """Options, number of classes and class names from a config.json that :func:`own_config_of` made.

    Args:
        config: its content.

    Raises:
        BadCheckpointError: no options, absurd numbers, or class names that are not the network's.
    """
    options, count = config.get("options"), config.get("num_classes")
    check_count(count)
    if not isinstance(options, dict) or count < 2:
        raise BadCheckpointError("checkpoints.no_options")
    check_options(options)
    labels = labels_from_dict(config, count)
    if labels is None:
        labels = LabelSet.from_names(("background", *(f"class {index}" for index in range(1, count))), background=0)
    return options, count, labels

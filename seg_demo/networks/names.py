"""Class names and colours in the JSON files of a checkpoint folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from seg_demo.errors import BadCheckpointError
from seg_demo.networks.files import check_options
from seg_demo.types import MAX_IDS, LabelSet, distinct_colors

if TYPE_CHECKING:
    from seg_demo.networks.base import Checkpoint


def labels_to_dict(labels: LabelSet) -> dict[str, Any]:
    """``id2label``, ``label2id``, ``colors`` and ``background`` of a label set, JSON-able."""
    return {
        "id2label": {str(index): name for index, name in enumerate(labels.names)},
        "label2id": {name: index for index, name in enumerate(labels.names)},
        "colors": labels.colors.tolist(),
        "background": labels.background,
    }


def labels_from_dict(data: dict[str, Any], count: int) -> LabelSet | None:
    """The label set that a config describes.

    Args:
        data: has ``id2label`` (id → name) and perhaps ``colors`` and ``background``.
        count: number of classes that the network has.

    Returns:
        None if there is no ``id2label``. Without ``background``, class 0 is it where its name says so.

    Raises:
        BadCheckpointError: not exactly the ids 0 .. count - 1, or colours that are none.
    """
    check_count(count)
    id2label = data.get("id2label")
    if id2label is None:
        return None
    try:
        names = {int(key): str(name)[:200] for key, name in id2label.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise BadCheckpointError(f"id2label must map ids to names, but cannot be read ({error}).") from error
    if sorted(names) != list(range(count)):
        raise BadCheckpointError(f"id2label names {len(names)} classes, but the network has {count} (ids 0 to {count - 1}).")
    ordered = tuple(names[index] for index in range(count))
    background = data.get("background", background_of(ordered))
    if background is not None and (not isinstance(background, int) or not 0 <= background < count):
        raise BadCheckpointError(f"background must be a label id from 0 to {count - 1} or null, but is {background!r}.")
    return LabelSet(ordered, _colors(data.get("colors"), count, background), background)


def background_of(names: tuple[str, ...]) -> int | None:
    """0 if the first class is called background, else None."""
    return 0 if names[0].strip("_ ").lower() in ("background", "bg") else None


def check_count(count: object) -> None:
    """Refuse a number of classes that no label map can hold.

    Raises:
        BadCheckpointError: not an integer from 1 to 65535.
    """
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_IDS:
        raise BadCheckpointError(f"The checkpoint has {count!r} classes; 1 to {MAX_IDS} are possible.")


def _colors(data: object, count: int, background: int | None) -> np.ndarray:
    if data is None:
        return distinct_colors(count, background)
    try:
        colors = np.array(data, dtype=np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadCheckpointError(f"colors must be one [R, G, B] per class, but cannot be read ({error}).") from error
    if colors.shape != (count, 3) or colors.min() < 0 or colors.max() > 255:
        raise BadCheckpointError(f"colors must be {count} times [R, G, B] from 0 to 255, but have shape {colors.shape}.")
    return colors.astype(np.uint8)


def torchvision_config_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """config.json of a torchvision network; ``num_classes`` and ``options`` are arguments as the Hub's mixin keeps them."""
    return {
        "architecture": checkpoint.architecture,
        "num_classes": len(checkpoint.labels),
        "options": checkpoint.options,
        **labels_to_dict(checkpoint.labels),
    }


def torchvision_config(config: dict[str, Any]) -> tuple[dict[str, Any], int, LabelSet]:
    """Options, number of classes and class names from the config.json of a torchvision network.

    Args:
        config: what :func:`torchvision_config_of` made.

    Raises:
        BadCheckpointError: no options, absurd numbers, or class names that are not the network's.
    """
    options, count = config.get("options"), config.get("num_classes")
    check_count(count)
    if not isinstance(options, dict) or count < 2:
        raise BadCheckpointError("config.json needs options, and num_classes of 2 or more (background included).")
    check_options(options)
    labels = labels_from_dict(config, count)
    if labels is None:
        labels = LabelSet.from_names(("background", *(f"class {index}" for index in range(1, count))), background=0)
    return options, count, labels

"""The start of a run as JSON, so that a resumed run builds the same network without the Hub, a folder or luck.

The weights are not in it: those of a run that has begun are in its state.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seg_demo import networks
from seg_demo.networks import files
from seg_demo.networks.base import Checkpoint, Preprocessing
from seg_demo.networks.names import labels_from_dict, labels_to_dict
from seg_demo.types import ModelSpec
from train.start import Start


def remembered(start: Start) -> dict[str, Any]:
    """Everything about a start but the weights, JSON-able; inverse of :func:`rebuilt`."""
    checkpoint = start.checkpoint
    return {
        "architecture": checkpoint.architecture,
        "options": checkpoint.options,
        "labels": labels_to_dict(checkpoint.labels),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "processor": None if checkpoint.processor is None else json.loads(checkpoint.processor.to_json_string()),
        "fresh": list(start.fresh),
        "pretrained": start.pretrained,
        "base": None if start.base is None else asdict(start.base),
        "notes": list(start.notes),
        "knows": start.knows,
    }


def rebuilt(data: dict[str, Any]) -> Start:
    """The start that :func:`remembered` described, with random weights, which the run's state replaces.

    Args:
        data: of ``config.json``.

    Raises:
        BadCheckpointError: it describes no network.
    """
    labels = labels_from_dict(data["labels"], len(data["labels"]["id2label"]))
    module = networks.network(data["architecture"]).build(len(labels), data["options"]).eval()
    checkpoint = Checkpoint(
        data["architecture"],
        module,
        labels,
        Preprocessing.from_dict(data["preprocessing"]),
        data["options"],
        _processor(data["processor"]),
    )
    base = data["base"] and ModelSpec(**{**data["base"], "labels": tuple(data["base"]["labels"])})
    notes = tuple(data["notes"])
    return Start(checkpoint, tuple(data["fresh"]), data["pretrained"], base, notes, data.get("knows", False))


def _processor(data: dict[str, Any] | None) -> Any:
    """transformers' image processor from its JSON, which it reads from folders only."""
    if data is None:
        return None
    from transformers import AutoImageProcessor

    with tempfile.TemporaryDirectory() as folder:
        files.write_json(Path(folder), files.PREPROCESSOR, data)
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

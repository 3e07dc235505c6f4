"""A model's files → a model on a device, with the engine that serves it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from seg_demo import networks
from seg_demo.models import batching, catalog, devices, engine, familiarity, loading, zerogpu
from seg_demo.models.admission import places
from seg_demo.models.model import Model
from seg_demo.settings import settings
from seg_demo.types import ModelSpec


def load_model(id: str, device: str | None = None) -> Model:
    """A model for Python and the command line: folders are allowed, and the login of this machine is used.

    Args:
        id: menu key, ``user/repo``, ``user/repo@revision``, or a checkpoint folder.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``; None takes the setting.

    Raises:
        SegDemoError: the model cannot be found, fetched or loaded; the message says what to do.
    """
    spec = catalog.resolve(id, local_folders=True)
    if spec.source == "builtin":
        return Model.classical(spec)
    return build(spec, loading.locate(spec, token=True), device or settings().device)


def build(spec: ModelSpec, path: Path, device: str) -> Model:
    """Load a model's files onto a device.

    Args:
        spec: the model.
        path: of :func:`seg_demo.models.loading.locate`.
        device: as for :func:`seg_demo.models.devices.choose_device`.

    Raises:
        BadCheckpointError: the files are refused.
        SettingsError: there is no such device.
    """
    target = devices.choose_device(device)
    checkpoint = loading.load(spec, path)
    if checkpoint.architecture in familiarity.NETWORKS:
        checkpoint = replace(checkpoint, familiarity=familiarity.read(path))
    checkpoint.module.eval().requires_grad_(False)
    checkpoint.module.to(target)
    networks.optimise(checkpoint, target)
    verbs, chosen = networks.network(checkpoint.architecture), settings()
    served = engine.choose(checkpoint, verbs, target, chosen.engine, chosen.concurrency or 1, chosen.precision)
    together = target.type == "cuda" and not zerogpu.ACTIVE and places(chosen, gpu=True) > 1
    window = batching.WINDOW if together else None
    return Model.from_checkpoint(checkpoint, spec, engine=served, window=window)

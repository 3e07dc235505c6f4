"""ModelSpec → where its files are → a checkpoint in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seg_demo.errors import BadRequestError
from seg_demo.models import catalog, hub, own, pickles, quarantine, weights
from seg_demo.models.class_names import known_labels
from seg_demo.models.hub_download import Report
from seg_demo.types import ModelSpec

if TYPE_CHECKING:
    from seg_demo.networks.base import Checkpoint


def locate(spec: ModelSpec, *, token: bool, report: Report | None = None) -> Path:
    """Where the files of a model are on this machine, after fetching them if needed.

    Args:
        spec: of any source but ``builtin``, which has no files.
        token: whether the login of this machine may be used.
        report: called with a fraction, or None, and a few words while something is downloaded.

    Returns:
        A checkpoint folder with safetensors, which are made of pickles where there is nothing else; or torchvision's file.

    Raises:
        SegDemoError: what :func:`seg_demo.models.hub.fetch`, :func:`seg_demo.models.pickles.converted` and
            :func:`seg_demo.models.weights.fetch` raise.
    """
    if spec.source == "bundled":
        return catalog.BUNDLED_FOLDER / spec.id
    if spec.source == "folder":
        return pickles.converted(own.folder_of(spec.id) or Path(spec.id))
    if spec.source == "hub":
        owners = [(each.id, each.revision or "main") for each in catalog.menu(every=True) if each.source == "hub" and not token]
        folder = hub.fetch(spec, token=token, report=report, owners=owners)
        if report is not None and pickles.ready(folder) is None:
            report(None, f"Converting {spec.title}")
        with hub.held(spec.id):
            return pickles.converted(folder, visitor=not token)
    if spec.source == "torchvision":
        return weights.fetch(weights.TORCHVISION[spec.id], report)
    raise BadRequestError(f"{spec.id} is a method without a network, so there is no checkpoint of it. Choose a network.")


def is_here(spec: ModelSpec, *, token: bool) -> bool:
    """Whether :func:`locate` answers at once, without asking anybody or reading a large file.

    Args:
        spec: of any source but ``builtin``.
        token: as for :func:`locate`.
    """
    if spec.source == "hub":
        folder = hub.recent(spec, token=token)
        return folder is not None and pickles.ready(folder) is not None
    return spec.source != "torchvision" or weights.checked(weights.TORCHVISION[spec.id])


def load(spec: ModelSpec, path: Path) -> Checkpoint:
    """A checkpoint in memory, in eval mode, fp32 on the CPU.

    Args:
        spec: the model.
        path: of :func:`locate`.

    Raises:
        BadCheckpointError: the files are refused.
    """
    # torch comes with the networks; whoever only wants the menu does not wait for it.
    from seg_demo import networks

    if spec.source == "torchvision":
        row = weights.TORCHVISION[spec.id]
        return weights.load(row, path, list(known_labels(row.labels)))
    return networks.load(path)


def load_checkpoint(spec: ModelSpec, *, token: bool, report: Report | None = None) -> Checkpoint:
    """:func:`locate`, then :func:`load`; for training, which needs the process that reads pickles only here."""
    try:
        return load(spec, locate(spec, token=token, report=report))
    finally:
        quarantine.close()

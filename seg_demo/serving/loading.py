"""ModelSpec → where its files are → a checkpoint in memory → a model on a device, with the engine that serves it; and what a
repository offers, before anything is loaded (:func:`offer`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seg_demo import networks
from seg_demo.core.errors import BadRequestError
from seg_demo.core.messages import Message
from seg_demo.core.requests import Report
from seg_demo.core.settings import settings
from seg_demo.core.types import ModelSpec
from seg_demo.hub import lookup, pickles, sandbox
from seg_demo.inference import batching, devices, engine, familiarity, zerogpu
from seg_demo.inference.model import Model
from seg_demo.networks.checkpoint import INDEX, WEIGHTS
from seg_demo.serving import catalog, trained
from seg_demo.serving.catalog import architecture_of, known_labels, labels_in
from seg_demo.serving.limits import slots

if TYPE_CHECKING:
    from seg_demo.networks.base import Network

# Class names that are listed of an offer.
SHOWN_NAMES = 8


def locate(spec: ModelSpec, *, token: bool, report: Report | None = None) -> Path:
    """Where the files of a model are on this machine, after fetching them if needed.

    Args:
        spec: of any source but ``builtin``, which has no files.
        token: whether the login of this machine may be used.
        report: called with a fraction, or None, and a few words while something is downloaded.

    Returns:
        A checkpoint folder with safetensors, which are made of pickles where there is nothing else; or torchvision's file.

    Raises:
        SegDemoError: what :func:`seg_demo.hub.lookup.fetch`, :func:`seg_demo.hub.pickles.converted` and
            :func:`seg_demo.serving.catalog.fetch_weights` raise.
    """
    if spec.source == "bundled":
        return catalog.BUNDLED_FOLDER / spec.id
    if spec.source == "folder":
        return pickles.converted(trained.folder_of(spec.id) or Path(spec.id))
    if spec.source == "hub":
        owners = [(entry.id, entry.revision or "main") for entry in catalog.menu(every=True) if entry.source == "hub" and not token]
        folder = lookup.fetch(spec, token=token, report=report, owners=owners)
        if report is not None and pickles.ready(folder) is None:
            report(None, Message("progress.converting", title=spec.title))
        with lookup.held(spec.id):
            return pickles.converted(folder, visitor=not token)
    if spec.source == "torchvision":
        return catalog.fetch_weights(catalog.TORCHVISION[spec.id], report)
    raise BadRequestError("models.no_network", id=spec.id)


def is_here(spec: ModelSpec, *, token: bool) -> bool:
    """Whether :func:`locate` answers at once, without asking anybody or reading a large file.

    Args:
        spec: of any source but ``builtin``.
        token: as for :func:`locate`.
    """
    if spec.source == "hub":
        folder = lookup.recent(spec, token=token)
        return folder is not None and pickles.ready(folder) is not None
    return spec.source != "torchvision" or catalog.weights_checked(catalog.TORCHVISION[spec.id])


def load(spec: ModelSpec, path: Path) -> Network:
    """A network in memory, in eval mode, fp32 on the CPU.

    Args:
        spec: the model.
        path: of :func:`locate`.

    Raises:
        BadCheckpointError: the files are refused.
    """
    if spec.source == "torchvision":
        row = catalog.TORCHVISION[spec.id]
        return catalog.load_weights(row, path, list(known_labels(row.labels)))
    return networks.load(path)


def load_checkpoint(spec: ModelSpec, *, token: bool, report: Report | None = None) -> Network:
    """:func:`locate`, then :func:`load`; for training, which needs the process that reads pickles only here."""
    try:
        return load(spec, locate(spec, token=token, report=report))
    finally:
        sandbox.close()


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
    return build(spec, locate(spec, token=True), device or settings().device)


def build(spec: ModelSpec, path: Path, device: str) -> Model:
    """Load a model's files onto a device.

    Args:
        spec: the model.
        path: of :func:`seg_demo.serving.loading.locate`.
        device: as for :func:`seg_demo.inference.devices.choose_device`.

    Raises:
        BadCheckpointError: the files are refused.
        SettingsError: there is no such device.
    """
    target = devices.choose_device(device)
    network, chosen = load(spec, path), settings()
    if network.forward_with_maps is not None:
        network = replace(network, familiarity=familiarity.read(path))
    network.module.eval().requires_grad_(False)
    network.module.to(target)
    network.optimise(target)
    served = engine.choose(network, target, chosen.engine, chosen.concurrency or 1, chosen.precision)
    together = target.type == "cuda" and not zerogpu.ACTIVE and slots(chosen, gpu=True) > 1
    window = batching.WINDOW if together else None
    return Model.from_network(network, spec, engine=served, window=window)


@dataclass(frozen=True)
class Offer:
    """A model that can be fetched and loaded, as far as its files tell.

    Attributes:
        id: as it was resolved.
        commit: of the repository; empty for a folder.
        architecture: family of networks.
        task: what it answers.
        labels: class names that it states; empty if it states none.
        weights: where they come from, in words.
        size: bytes that are downloaded; 0 for a folder.
    """

    id: str
    commit: str
    architecture: str
    task: str
    labels: tuple[str, ...]
    weights: str
    size: int

    def lines(self) -> list[str]:
        """For a terminal."""
        names = ", ".join(self.labels[:SHOWN_NAMES]) + (", …" if len(self.labels) > SHOWN_NAMES else "")
        rows = {
            "model": self.id,
            "commit": self.commit,
            "network": f"{networks.title_of(self.architecture)} ({self.task}, {networks.family(self.architecture).library})",
            "classes": f"{len(self.labels)}: {names}" if self.labels else "no names are stated; they are called by their number",
            "weights": self.weights,
            "download": f"{self.size / 1e6:,.1f} MB" if self.size else "",
        }
        return [f"{name:<9} {value}" for name, value in rows.items() if value]


def offer(id: str) -> Offer:
    """Look at a model without loading it.

    Args:
        id: as for :func:`seg_demo.serving.catalog.resolve`, folders too; the login of this machine is used.

    Raises:
        SegDemoError: there is no such model, or it is none that can be loaded; the message says what to choose instead.
    """
    spec = catalog.resolve(id, local_folders=True)
    if spec.source in ("builtin", "torchvision"):
        raise BadRequestError("hub.nothing_to_check", id=spec.id)
    if spec.source != "hub":
        folder = locate(spec, token=True)
        return _offer(spec.id, "", folder, "in the folder", 0)
    listing, folder = lookup.look(spec)
    if listing.lender is not None:
        where = f"from the pull request of the Hub's conversion bot (commit {listing.lender[:8]})"
    elif listing.pickled:
        where = "a pickle, which a process of its own turns into safetensors"
    elif INDEX in listing.names:
        where = f"{len([name for name in listing.names if name.endswith('.safetensors')])} safetensors files with an index"
    else:
        where = listing.names[WEIGHTS]
    return _offer(spec.id if spec.revision is None else f"{spec.id}@{spec.revision}", listing.sha, folder, where, sum(listing.every.values()))


def _offer(id: str, commit: str, folder: Path, where: str, size: int) -> Offer:
    architecture = architecture_of(folder)
    return Offer(id, commit, architecture, networks.family(architecture).tasks[0].name, labels_in(folder), where, size)

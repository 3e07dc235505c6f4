"""What a model's repository offers, before anything is loaded: only its list of files and its config.json are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seg_demo.core.errors import BadCheckpointError, BadRequestError
from seg_demo.hub import lookup
from seg_demo.networks import NETWORKS
from seg_demo.networks.checkpoint import INDEX, WEIGHTS
from seg_demo.serving import catalog, loading
from seg_demo.serving.catalog import architecture_of, labels_in

SHOWN = 8


@dataclass(frozen=True)
class Offer:
    """A model that can be fetched and loaded, as far as its files tell.

    Attributes:
        id: as it was resolved.
        commit: of the repository; empty for a folder.
        architecture: row of the table of networks.
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
        names = ", ".join(self.labels[:SHOWN]) + (", …" if len(self.labels) > SHOWN else "")
        rows = {
            "model": self.id,
            "commit": self.commit,
            "network": f"{NETWORKS[self.architecture].title} ({self.task}, {NETWORKS[self.architecture].library})",
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
        folder = loading.locate(spec, token=True)
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
    if architecture not in NETWORKS:
        raise BadCheckpointError("hub.unknown_network", id=id)
    return Offer(id, commit, architecture, NETWORKS[architecture].task, labels_in(folder), where, size)

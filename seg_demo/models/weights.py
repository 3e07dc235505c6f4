"""torchvision's own weight files: known by their hash, loaded without running code, downloaded within a time limit."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
from huggingface_hub import constants

from seg_demo.errors import HubUnavailableError
from seg_demo.models import hub_client, pickles
from seg_demo.models.hub_download import Report
from seg_demo.settings import settings
from seg_demo.storage import replacing

if TYPE_CHECKING:
    from seg_demo.networks.base import Checkpoint

SERVER = "https://download.pytorch.org"
_CHUNK = 1 << 18

_lock = threading.Lock()
_checked: set[Path] = set()


@dataclass(frozen=True)
class Weights:
    """One weight file.

    Attributes:
        network: row of the table of networks.
        variant: torchvision's name of the architecture.
        url: where torchvision has it; the name ends with the first 8 hex digits of its sha256.
        labels: key in ``labels.json``.
    """

    network: str
    variant: str
    url: str
    labels: str


TORCHVISION = {
    "fcn-resnet50-voc": Weights("fcn", "fcn_resnet50", f"{SERVER}/models/fcn_resnet50_coco-1167a1af.pth", "voc"),
    "maskrcnn-v2-coco": Weights(
        "maskrcnn", "maskrcnn_resnet50_fpn_v2", f"{SERVER}/models/maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth", "coco"
    ),
}


def local(weights: Weights) -> Path | None:
    """The file in torch.hub's own cache, if it is there and has the hash of its name."""
    path = _cache() / weights.url.rsplit("/", 1)[1]
    return path if path.is_file() and _sound(path) else None


def checked(weights: Weights) -> bool:
    """Whether the file is there and this process has found it sound."""
    path = _cache() / weights.url.rsplit("/", 1)[1]
    with _lock:
        known = path in _checked
    return known and path.is_file()


def fetch(weights: Weights, report: Report | None = None) -> Path:
    """The weight file, downloaded if needed.

    Args:
        weights: row of :data:`TORCHVISION`.
        report: called with the fraction that has arrived, and a few words.

    Raises:
        HubUnavailableError: nothing arrives for ``hub_timeout`` seconds, or what arrives is damaged.
    """
    if (path := local(weights)) is not None:
        return path
    path = _cache() / weights.url.rsplit("/", 1)[1]
    moved = hub_client.Progress()
    name = f"The weights of {weights.variant}"
    if constants.is_offline_mode():
        raise HubUnavailableError(f"{name} are not in the local cache, and HF_HUB_OFFLINE is set. Choose another model.")
    try:
        hub_client.within(settings().hub_timeout, lambda: _download(weights.url, path, moved, report), moved)
    except (httpx2.HTTPError, OSError) as error:
        raise HubUnavailableError(
            f"{name} are not in the local cache and cannot be downloaded from {weights.url.split('/models')[0]} now "
            f"({type(error).__name__}). Try again later, or choose a model without ○ in the menu."
        ) from error
    if not _sound(path):
        path.unlink(missing_ok=True)
        raise HubUnavailableError(f"{name} arrived damaged. Try again.")
    return path


def load(weights: Weights, path: Path, names: list[str]) -> Checkpoint:
    """A checkpoint from a weight file, whose pickle another process reads (:mod:`seg_demo.models.pickles`).

    Args:
        weights: row of :data:`TORCHVISION`.
        path: of :func:`fetch`.
        names: one per class.
    """
    from safetensors.torch import load_file

    from seg_demo import networks

    state = load_file(pickles.converted_file(path))
    return networks.network(weights.network).from_torchvision(weights.variant, state, names)


def _cache() -> Path:
    """Where torch.hub keeps files (``torch.hub.get_dir``), without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def _sound(path: Path) -> bool:
    """Whether a file's sha256 begins with the 8 digits at the end of its name; hashed once per process."""
    with _lock:
        if path in _checked:
            return True
    wanted = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    with open(path, "rb") as file:
        good = wanted is not None and hashlib.file_digest(file, "sha256").hexdigest().startswith(wanted[1])
    if good:
        with _lock:
            _checked.add(path)
    return good


def _download(url: str, path: Path, moved: hub_client.Progress, report: Report | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with httpx2.stream("GET", url, timeout=settings().hub_timeout, follow_redirects=True) as answer:
        answer.raise_for_status()
        total, arrived = int(answer.headers.get("content-length") or 0), 0
        if total > settings().max_model_bytes:
            raise OSError(f"{total} bytes are more than SEG_DEMO_MAX_MODEL_BYTES")
        with replacing(path) as file:
            for chunk in answer.iter_bytes(_CHUNK):
                file.write(chunk)
                arrived += len(chunk)
                moved.touch()
                if report is not None:
                    report(min(1.0, arrived / total) if total else None, f"Downloading {path.name}")

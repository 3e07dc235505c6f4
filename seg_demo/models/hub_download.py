"""What a Hub repository offers, looked at before anything is fetched, and the download of exactly that."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi, get_repo_discussions, snapshot_download
from huggingface_hub.hf_api import ModelInfo
from tqdm.std import tqdm

from seg_demo.errors import BadCheckpointError
from seg_demo.models import hub_client, pickles
from seg_demo.models.hub_cache import COMMIT, REQUIRED
from seg_demo.settings import settings
from seg_demo.types import ModelSpec

# A configuration is a few kilobytes; tokenizers and the like are not ours to fetch.
MAX_JSON_BYTES = 1_000_000
MAX_JSON_FILES = 32
# The Hub's own bot offers the safetensors form of older repositories as a pull request, which transformers loads as well.
CONVERSION_BOT = "SFconvertbot"

Report = Callable[[float | None, str], None]


@dataclass(frozen=True)
class Listing:
    """One commit of a repository.

    Attributes:
        sha: the commit.
        files: size in bytes of each file that we want.
        pickled: bytes of those among them that hold the weights as pickles, from which safetensors will be made.
    """

    sha: str
    files: dict[str, int]
    pickled: int = 0


def look_up(spec: ModelSpec, *, token: bool) -> Listing:
    """Ask the Hub for the commit that a revision names and for the sizes of its files.

    Args:
        spec: ``id`` is ``user/repo``; ``revision`` may be None.
        token: whether the login of this machine may be used.

    Raises:
        BadCheckpointError: config.json or model.safetensors is missing or too large.
        TimeoutError: no answer within ``hub_timeout`` seconds.
        httpx2.HTTPError, OSError: what the client raises.
    """
    listing = hub_client.within(settings().hub_timeout, lambda: _look_up(spec, None if token else False))
    too_large = {name: size for name, size in listing.files.items() if size > settings().max_model_bytes}
    for name, size in too_large.items():
        raise BadCheckpointError(
            f"{name} of {spec.id} has {size} bytes, and at most {settings().max_model_bytes} are fetched. Choose a smaller "
            "model (an owner can raise SEG_DEMO_MAX_MODEL_BYTES)."
        )
    return listing


def _look_up(spec: ModelSpec, token: bool | None) -> Listing:
    api = HfApi(token=token)
    info = api.model_info(spec.id, revision=spec.revision, files_metadata=True)
    sizes = _sizes(info)
    if "model.safetensors" not in sizes and spec.revision is None:
        converted = _conversion(spec.id, token)
        if converted is not None:
            info = api.model_info(spec.id, revision=converted, files_metadata=True)
            sizes = _sizes(info)
    pickled = () if "model.safetensors" in sizes else pickles.offered(sizes)
    weights_of = pickled or REQUIRED[-1:]
    missing = [name for name in (REQUIRED[0], *weights_of) if name not in sizes]
    if pickled and not missing and (why := pickles.refusal()) is not None:
        raise BadCheckpointError(
            f"{spec.id} has its weights only as a pickle ({pickled[0]}). {why} Choose a model that has model.safetensors."
        )
    if missing:
        weights = [name for name in sizes if re.search(r"\.(bin|pth?|ckpt|h5|onnx|safetensors(\.index\.json)?)$", name)]
        found = ", ".join(sorted(weights)[:5]) or "no weights at all"
        raise BadCheckpointError(
            f"{spec.id} has no {' and no '.join(missing)} (it has {found}). A model that can be loaded has config.json "
            "and all its weights in one model.safetensors; other kinds of weight files can run code and are not loaded."
        )
    if not COMMIT.fullmatch(info.sha or ""):
        raise BadCheckpointError(f"The Hub names no commit for {spec.id}; the address {hub_client.host()} may not be a Hub.")
    small = [name for name, size in sizes.items() if re.fullmatch(r"[\w.-]+\.json", name) and size <= MAX_JSON_BYTES]
    first = (REQUIRED[0], *weights_of)
    wanted = [*first, *sorted(set(small) - set(first))[:MAX_JSON_FILES]]
    return Listing(info.sha, {name: sizes[name] for name in wanted}, sum(sizes[name] for name in pickled))


def _sizes(info: ModelInfo) -> dict[str, int]:
    """Bytes by file name; a file whose size the Hub does not tell is as good as not there."""
    return {file.rfilename: file.size for file in info.siblings or () if file.size is not None}


def _conversion(id: str, token: bool | None) -> str | None:
    """The branch on which the Hub's bot offers a repository's weights as safetensors, or None."""
    offers = get_repo_discussions(
        id, author=CONVERSION_BOT, discussion_type="pull_request", discussion_status="open", token=token
    )
    for offer in offers:
        if offer.author == CONVERSION_BOT and offer.is_pull_request:
            return offer.git_reference
    return None


def download(spec: ModelSpec, listing: Listing, *, token: bool, report: Report | None = None) -> None:
    """Fetch a commit's files into the local cache; those that are there are kept.

    Args:
        spec: ``id`` is ``user/repo``.
        listing: of :func:`look_up`.
        token: whether the login of this machine may be used.
        report: called with the fraction that has arrived, and a few words.

    Raises:
        TimeoutError: nothing arrived for ``hub_timeout`` seconds.
        httpx2.HTTPError, OSError: what the client raises.
    """
    moved = hub_client.Progress()
    total = sum(listing.files.values())

    def fetch() -> None:
        snapshot_download(
            spec.id,
            revision=listing.sha,
            allow_patterns=list(listing.files),
            token=None if token else False,
            tqdm_class=_meter(moved, total, report, spec.id),
        )

    hub_client.within(settings().hub_timeout, fetch, moved)


def _meter(moved: hub_client.Progress, total: int, report: Report | None, name: str) -> type[tqdm]:
    """A progress bar that is drawn nowhere: it notes that bytes arrive, and tells the fraction."""
    lock = threading.Lock()

    class Meter(tqdm):
        """huggingface_hub makes one for the files, one for the bytes received and one for the bytes written."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": io.StringIO(), "leave": False})
            self._bytes = options.get("unit") == "B"

        def update(self, n: float | None = 1) -> bool | None:
            moved.touch()
            shown = super().update(n)
            if self._bytes and report is not None:
                with lock:
                    report(min(1.0, self.n / max(1, total)), f"Downloading {name}")
            return shown

    return Meter

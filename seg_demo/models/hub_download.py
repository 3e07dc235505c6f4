"""What a Hub repository offers, looked at before anything is fetched, and the download of exactly that."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.hf_api import ModelInfo
from tqdm.std import tqdm

from seg_demo.errors import BadCheckpointError, ModelNotFoundError
from seg_demo.models import hub_cache, hub_client, hub_layout, pickles
from seg_demo.models.hub_cache import COMMIT
from seg_demo.networks import kinds
from seg_demo.networks.files import CONFIG, read_json
from seg_demo.settings import settings
from seg_demo.types import ModelSpec

# The Hub's own bot offers the safetensors form of older repositories as a pull request, which transformers loads as well.
CONVERSION_BOT = "SFconvertbot"
DEFAULT_BRANCH = "main"

Report = Callable[[float | None, str], None]


@dataclass(frozen=True)
class Listing:
    """One commit of a repository, and what of it is a checkpoint.

    Attributes:
        sha: the commit.
        files: size in bytes of each file of the commit that we want, by its path.
        pickled: bytes of those among them that hold the weights as pickles, from which safetensors will be made.
        names: path in the repository by the name that a file has in the checkpoint's folder.
        lender: the commit that the weights are taken from instead, a pull request's, or None.
        lent: size in bytes of each file of that commit, by its path.
    """

    sha: str
    files: dict[str, int]
    pickled: int = 0
    names: dict[str, str] = field(default_factory=dict)
    lender: str | None = None
    lent: dict[str, int] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether the checkpoint is what lies at the top of the commit, under the same names."""
        return self.lender is None and all(name == path for name, path in self.names.items())

    @property
    def every(self) -> dict[str, int]:
        """All files that are wanted, whichever commit has them."""
        return self.files | self.lent


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
    too_large = {name: size for name, size in listing.every.items() if size > settings().max_model_bytes}
    for name, size in too_large.items():
        raise BadCheckpointError(
            f"{name} of {spec.id} has {size} bytes, but at most {settings().max_model_bytes} are downloaded. Choose a smaller "
            "model (an owner can raise SEG_DEMO_MAX_MODEL_BYTES)."
        )
    return listing


def _look_up(spec: ModelSpec, token: bool | None) -> Listing:
    api = HfApi(token=token)
    id, asked = hub_cache.split(spec.id)
    try:
        info = api.model_info(id, revision=spec.revision, files_metadata=True)
    except HfHubHTTPError as error:
        known = isinstance(error, (GatedRepoError, RevisionNotFoundError)) or hub_client.wrong_token(error)
        if not known and hub_client.status_of(error) in (401, 403, 404):
            _refuse_other_kinds(api, id)
        raise
    sizes = _sizes(info)
    folder = hub_layout.folder_of(id, sizes, asked)
    config = hub_layout.path_of(folder, CONFIG)
    weights, lender, lent, pickled = hub_layout.weights_in(sizes, folder), None, {}, ()
    if not weights and config in sizes:
        if spec.revision in (None, DEFAULT_BRANCH):
            lender, weights, lent = _conversion(api, id, folder)
        if not weights:
            pickled = pickles.offered(hub_layout.below(sizes, folder))
            if pickled and (why := pickles.refusal()) is not None:
                raise BadCheckpointError(
                    f"{spec.id} has its weights only as a pickle ({pickled[0]}). {why} Choose a model that has model.safetensors."
                )
    if config not in sizes or not (weights or pickled):
        raise BadCheckpointError(hub_layout.refusal(spec.id, sizes, folder))
    if not COMMIT.fullmatch(info.sha or ""):
        raise BadCheckpointError(f"The Hub names no commit for {spec.id}; the address {hub_client.host()} may not be a Hub.")
    names = {name: hub_layout.path_of(folder, name) for name in (*hub_layout.json_in(sizes, folder), *pickled)} | weights
    files = {path: sizes[path] for path in names.values() if path not in lent}
    return Listing(info.sha, files, sum(sizes[names[name]] for name in pickled), names, lender, lent)


def _refuse_other_kinds(api: HfApi, id: str) -> None:
    """
    Raises:
        ModelNotFoundError: there is a dataset or a Space of that name.
    """
    for kind, called in (("dataset", "a dataset"), ("space", "a Space")):
        try:
            api.repo_info(id, repo_type=kind)
        except HfHubHTTPError:
            continue
        raise ModelNotFoundError(f"{id} is {called} of the Hub, not a model. Type the id of a model, such as one that its page names.")


def _sizes(info: ModelInfo) -> dict[str, int]:
    """Bytes by file name; a file whose size the Hub does not tell is as good as not there."""
    return {file.rfilename: file.size for file in info.siblings or () if file.size is not None}


def _conversion(api: HfApi, id: str, folder: str) -> tuple[str | None, dict[str, str], dict[str, int]]:
    """The weights that the Hub's bot offers as safetensors in its newest open pull request that has them.

    Returns:
        The commit, the path of each file by its name in the checkpoint, and sizes by path; None and nothing where it offers none.
    """
    try:
        offers = list(
            api.get_repo_discussions(id, author=CONVERSION_BOT, discussion_type="pull_request", discussion_status="open")
        )
    except HfHubHTTPError as error:
        if hub_client.may_pass(error):
            raise
        return None, {}, {}  # discussions are switched off, or not for us: no pull request
    ours = [offer for offer in offers if offer.author == CONVERSION_BOT and offer.is_pull_request and offer.status == "open"]
    for offer in sorted(ours, key=lambda offer: offer.num, reverse=True):
        try:
            info = api.model_info(id, revision=offer.git_reference, files_metadata=True)
        except HfHubHTTPError as error:
            if hub_client.may_pass(error):
                raise
            continue
        sizes = _sizes(info)
        weights = hub_layout.weights_in(sizes, folder)
        if weights and COMMIT.fullmatch(info.sha or ""):
            return info.sha, weights, {path: sizes[path] for path in weights.values()}
    return None, {}, {}


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
    id = hub_cache.split(spec.id)[0]
    total, login = sum(listing.every.values()), None if token else False

    def fetch() -> None:
        config = listing.names.get(CONFIG, CONFIG)
        path = hf_hub_download(id, config, revision=listing.sha, token=login, tqdm_class=_meter(moved, total, None, spec.id))
        # What can be told from this file is said before the weights are downloaded.
        if (why := kinds.refusal(read_json(Path(path).parent, CONFIG))) is not None:
            raise BadCheckpointError(why)
        before = listing.files.get(config, 0)
        for sha, files in ((listing.sha, listing.files), (listing.lender, listing.lent)):
            if sha is not None and files:
                meter = _meter(moved, total, report, spec.id, before)
                snapshot_download(id, revision=sha, allow_patterns=list(files), token=login, tqdm_class=meter)
                before = sum(files.values())
        if not listing.plain:
            hub_cache.compose(folder(spec, listing), {name: _source(spec, listing, path) for name, path in listing.names.items()})

    hub_client.within(settings().hub_timeout, fetch, moved)


def small_files(spec: ModelSpec, listing: Listing, *, token: bool) -> Path:
    """Fetch a checkpoint's JSON files alone.

    Args:
        spec: of source ``hub``.
        listing: of :func:`look_up`.
        token: whether the login of this machine may be used.

    Returns:
        The folder of the commit that they lie in.

    Raises:
        TimeoutError, httpx2.HTTPError, OSError: as for :func:`download`.
    """
    moved, login = hub_client.Progress(), None if token else False
    id, config = hub_cache.split(spec.id)[0], listing.names[CONFIG]
    wanted = [path for path in listing.names.values() if path.endswith(".json") and not path.endswith(".index.json")]

    def fetch() -> Path:
        meter = _meter(moved, 1, None, spec.id)
        paths = {path: hf_hub_download(id, path, revision=listing.sha, token=login, tqdm_class=meter) for path in wanted}
        return Path(paths[config]).parent

    return hub_client.within(settings().hub_timeout, fetch, moved)


def folder(spec: ModelSpec, listing: Listing) -> Path:
    """Where a checkpoint lies, or will lie."""
    return (hub_cache.snapshot if listing.plain else hub_cache.composed)(spec.id, listing.sha)


def _source(spec: ModelSpec, listing: Listing, path: str) -> Path:
    """The cached file that a path in the repository stands for."""
    return hub_cache.snapshot(spec.id, str(listing.lender) if path in listing.lent else listing.sha) / path


def here(spec: ModelSpec, listing: Listing) -> bool:
    """Whether every wanted file is in the local cache, undamaged, and the checkpoint put together from these.

    Args:
        spec: of source ``hub``.
        listing: of :func:`look_up`.
    """
    place = folder(spec, listing)
    if not all((place / name).is_file() for name in listing.names) or not hub_cache.intact(place):
        return False
    if listing.plain:
        return True
    # A pull request may have got other weights since.
    pairs = ((place / name, _source(spec, listing, path)) for name, path in listing.names.items())
    return all(mine.resolve() == theirs.resolve() or not mine.is_symlink() for mine, theirs in pairs)


def _meter(moved: hub_client.Progress, total: int, report: Report | None, name: str, before: int = 0) -> type[tqdm]:
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
                    report(min(1.0, (before + self.n) / max(1, total)), f"Downloading {name}")
            return shown

    return Meter

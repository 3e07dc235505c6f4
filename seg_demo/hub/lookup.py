"""ModelSpec → verified local checkpoint folder.

What was found once is remembered: a second request for a model makes no network call. A branch is looked up again after
``REFRESH_SECONDS``; a commit never. Where the Hub cannot be reached, the local cache serves, and for ``DOWN_SECONDS`` nobody
waits for the Hub again.

Whose token: with ``token=False`` nobody's. The local cache is shared with the owner, so a cached private model must not leak
through it: such a caller is served from the cache only what an anonymous look-up has been answered for before, which a file
``.anonymous/<commit>`` beside the cached snapshots notes.

What a repository offers is looked at before anything is fetched: which of its files are a checkpoint's, by their names alone, and what to
say where none can be. Exactly those are downloaded.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, constants, get_session, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RevisionNotFoundError, SafetensorsParsingError
from huggingface_hub.hf_api import ModelInfo
from tqdm.std import tqdm

from seg_demo.core import BadCheckpointError, HubUnavailableError, Message, ModelNotFoundError, SegDemoError
from seg_demo.core.settings import settings
from seg_demo.hub import cache, client, untrusted
from seg_demo.hub.cache import COMMIT, held
from seg_demo.hub.client import TRANSPORT_ERRORS
from seg_demo.networks import checkpoint
from seg_demo.networks.checkpoint import CONFIG, INDEX, WEIGHTS, read_json

if TYPE_CHECKING:
    from seg_demo.core import ModelSpec, Report

REFRESH_SECONDS = 600.0
DOWN_SECONDS = 30.0
UP_SECONDS = 300.0
PROBE_SECONDS = 3.0
REMEMBERED = 1024

_Key = tuple[str, str, bool]


@dataclass
class _Found:
    """Where a model's files are, and when the Hub said so."""

    folder: Path
    when: float


_lock = threading.Lock()
_found: OrderedDict[_Key, _Found] = OrderedDict()
_seen: dict[str, tuple[bool, float]] = {}
_asking: dict[str, threading.Lock] = {}


def forget() -> None:
    """Drop everything remembered in this process: found models, checked files, and whether the Hub could be reached."""
    with _lock:
        _found.clear()
        _seen.clear()
    cache.forget()


def fetch(spec: ModelSpec, *, token: bool, report: Report | None = None, owners: Iterable[tuple[str, str]] = ()) -> Path:
    """The local folder of a Hub model, downloaded if needed; config.json and model.safetensors are in it.

    Args:
        spec: ``id`` is ``user/repo``, or ``user/repo/folder``; ``revision`` a branch, tag or commit, None for the default branch.
        token: whether the login of this machine may be used; False for what a visitor typed, which is bounded on the disk.
        report: called with the fraction that has been downloaded, or None, and a few words.
        owners: repositories and revisions that do not have to make room for what a visitor typed.

    Raises:
        ModelNotFoundError: no such repository or revision can be seen by whose token is used.
        BadCheckpointError: the repository has no config.json, no safetensors weights, or too large ones.
        HubUnavailableError: the Hub does not answer within ``hub_timeout`` seconds, or fails, and nothing is cached.
        BusyError: no room on the disk for what a visitor typed, because all of it is in use.
        StorageError: the disk is full.
    """
    folder = _fetch(spec, token, report, owners)
    (cache.claim if token else cache.touch)(spec.id, cache.commit_in(folder))
    return folder


def recent(spec: ModelSpec, *, token: bool) -> Path | None:
    """The local folder of a model that :func:`fetch` would return without asking the Hub; None if it would ask.

    Args:
        spec: as for :func:`fetch`.
        token: as for :func:`fetch`.
    """
    revision = spec.revision or "main"
    with _lock:
        known = _found.get((spec.id, revision, token))
    if known is None or not cache.complete(known.folder) or not cache.intact(known.folder):
        return None
    fresh = COMMIT.fullmatch(revision) is not None or time.monotonic() - known.when < REFRESH_SECONDS
    return known.folder if fresh else None


def _fetch(spec: ModelSpec, token: bool, report: Report | None, owners: Iterable[tuple[str, str]]) -> Path:
    key = (spec.id, spec.revision or "main", token)
    if (folder := recent(spec, token=token)) is not None:
        return folder
    if COMMIT.fullmatch(key[1]) and (folder := cached(spec, token=token)):
        return _remember(key, folder)
    # Whether there is something newer is not worth as long a wait as what is missing.
    if (folder := cached(spec, token=token)) and not reachable():
        return _remember(key, folder)
    try:
        return _remember(key, _from_hub(spec, token, report, owners))
    except HubUnavailableError:
        folder = cached(spec, token=token)
        if folder is None:
            raise
        return _remember(key, folder)


def _from_hub(spec: ModelSpec, token: bool, report: Report | None, owners: Iterable[tuple[str, str]]) -> Path:
    """Look the model up, download what is missing, and note what the next one needs to know."""
    if constants.is_offline_mode():
        raise client.unavailable(OfflineModeIsEnabled(), Message("hub.not_in_cache", id=spec.id))
    if _remembered(constants.ENDPOINT) is False:
        raise client.unavailable(TimeoutError(), Message("hub.not_in_cache", id=spec.id))
    try:
        listing, anonymous = _look_up_as(spec, token)
        _note(constants.ENDPOINT, True)
        folder = place_of(spec, listing)
        if not here(spec, listing):
            if not token:
                most = settings().visitor_models_bytes
                cache.reserve(spec.id, listing.sha, listing.every, most, owners, listing.pickled)
                if listing.lender is not None:
                    cache.lend(spec.id, listing.sha, listing.lender)
            try:
                with held(spec.id):
                    download(spec, listing, token=not anonymous, report=report)
            finally:
                if not token:
                    cache.settle(spec.id, listing.sha, listing.pickled if cache.complete(folder) else 0)
    except (*TRANSPORT_ERRORS, SegDemoError, ValueError, RuntimeError) as error:
        if client.is_silence(error):
            _note(constants.ENDPOINT, False)
        raise client.sentence(error, spec, token) from error
    if not here(spec, listing):
        raise HubUnavailableError("hub.arrived_damaged", id=spec.id)
    cache.note(spec.id, spec.revision or "main", listing.sha, public=anonymous)
    return folder


def look(spec: ModelSpec, *, token: bool = True, owners: Iterable[tuple[str, str]] = ()) -> tuple[Listing, Path]:
    """What the Hub has of a model, and the folder with its small files, which alone are fetched.

    Args:
        spec: of source ``hub``.
        token: whether the login of this machine may be used; False for what a visitor typed, as for :func:`fetch`.
        owners: as for :func:`fetch`.

    Raises:
        SegDemoError: as for :func:`fetch`.
    """
    if constants.is_offline_mode():
        raise client.unavailable(OfflineModeIsEnabled(), Message("hub.not_looked_at", id=spec.id))
    try:
        listing, anonymous = _look_up_as(spec, token)
        if not token:
            small = {path: size for path, size in listing.every.items() if path.endswith((".json", ".txt"))}
            cache.reserve_small(spec.id, listing.sha, small, settings().visitor_models_bytes, owners, listing.lender)
        with held(spec.id):
            return listing, small_files(spec, listing, token=not anonymous)
    except (*TRANSPORT_ERRORS, SegDemoError, ValueError, RuntimeError) as error:
        raise client.sentence(error, spec, token) from error


def _look_up_as(spec: ModelSpec, token: bool) -> tuple[Listing, bool]:
    """What the Hub says, and whether it said so to nobody in particular."""
    if not token:
        return look_up(spec, token=False), True
    try:
        return look_up(spec, token=True), False
    except TRANSPORT_ERRORS as error:
        if not client.wrong_token(error):
            raise
        try:  # the Hub refuses a stale login even for what everyone may see
            return look_up(spec, token=False), True
        except TRANSPORT_ERRORS:
            raise error from None


def cached(spec: ModelSpec, *, token: bool) -> Path | None:
    """The local folder of a Hub model as it was last seen, without any network call; None if it has to be fetched.

    Args:
        spec: of source ``hub``.
        token: whether the login may be used; False serves only what is known to be public.
    """
    return cache.find(spec.id, spec.revision or "main", public_only=not token)


def reachable(address: str | None = None) -> bool:
    """Whether the Hub (or another server) answers now. Takes at most a few seconds, and is remembered.

    Args:
        address: another server's address, such as ``https://download.pytorch.org``; None for the Hub.
    """
    address = address or constants.ENDPOINT
    remembered = _remembered(address)
    if remembered is not None:
        return remembered
    if constants.is_offline_mode():
        return False

    def ask() -> bool:
        return get_session().head(address, follow_redirects=False).status_code < 500

    with _lock:
        asking = _asking.setdefault(address, threading.Lock())
    with asking:  # whoever else wants to know meanwhile waits for this answer
        remembered = _remembered(address)
        if remembered is not None:
            return remembered
        try:
            answer = client.within(min(PROBE_SECONDS, settings().hub_timeout), ask)
        except TRANSPORT_ERRORS:
            answer = False
        _note(address, answer)
    return answer


def _remembered(address: str) -> bool | None:
    """What is still known about a server: answers, does not, or nothing."""
    with _lock:
        answer, when = _seen.get(address, (False, -float("inf")))
    age = time.monotonic() - when
    return answer if age < (UP_SECONDS if answer else DOWN_SECONDS) else None


def _note(address: str, answers: bool) -> None:
    with _lock:
        _seen[address] = (answers, time.monotonic())


def _remember(key: _Key, folder: Path) -> Path:
    with _lock:
        _found[key] = _Found(folder, time.monotonic())
        _found.move_to_end(key)
        while len(_found) > REMEMBERED:
            _found.popitem(last=False)
    return folder


# The Hub's own bot offers the safetensors form of older repositories as a pull request, which transformers loads as well.
CONVERSION_BOT = "SFconvertbot"
DEFAULT_BRANCH = "main"


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
        card: the front matter of the repository's README; empty if it has none.
    """

    sha: str
    files: dict[str, int]
    pickled: int = 0
    names: dict[str, str] = field(default_factory=dict)
    lender: str | None = None
    lent: dict[str, int] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)

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
    listing = client.within(settings().hub_timeout, lambda: _look_up(spec, None if token else False))
    too_large = {name: size for name, size in listing.every.items() if size > settings().max_model_bytes}
    for name, size in too_large.items():
        raise BadCheckpointError("hub.too_large", name=name, id=spec.id, size=size, most=settings().max_model_bytes)
    return listing


def _look_up(spec: ModelSpec, token: bool | None) -> Listing:
    api = HfApi(token=token)
    id, asked = cache.split(spec.id)
    try:
        info = api.model_info(id, revision=spec.revision, files_metadata=True)
    except HfHubHTTPError as error:
        known = isinstance(error, (GatedRepoError, RevisionNotFoundError)) or client.wrong_token(error)
        if not known and client.status_of(error) in (401, 403, 404):
            _refuse_other_kinds(api, id)
        raise
    sizes = _sizes(info)
    folder = folder_of(id, sizes, asked)
    config = path_of(folder, CONFIG)
    weights, lender, lent, pickled = weights_in(sizes, folder), None, {}, ()
    if not weights and config in sizes:
        # A tag or a commit that is the newest one too; what an older one had may be other weights than those that were converted.
        if spec.revision in (None, DEFAULT_BRANCH) or api.model_info(id).sha == info.sha:
            lender, weights, lent = _conversion(api, id, folder)
        if not weights:
            pickled = untrusted.offered(below(sizes, folder))
            if pickled and (why := untrusted.refusal()) is not None:
                raise BadCheckpointError("pickles.only_weights", id=spec.id, file=pickled[0], why=why)
    if config not in sizes or not (weights or pickled):
        raise BadCheckpointError(layout_refusal(spec.id, sizes, folder))
    if sizes[config] > checkpoint.MAX_JSON_BYTES:
        raise BadCheckpointError("checkpoints.file_too_large", name=CONFIG, size=sizes[config], most=checkpoint.MAX_JSON_BYTES)
    checkpoint.refuse_missing_part(spec.id, weights)
    if not COMMIT.fullmatch(info.sha or ""):
        raise BadCheckpointError("hub.no_commit", id=spec.id, host=client.host())
    names = {name: path_of(folder, name) for name in (*json_in(sizes, folder), *pickled)} | weights
    files = {path: sizes[path] for path in names.values() if path not in lent}
    card = info.card_data.to_dict() if info.card_data is not None else {}
    return Listing(info.sha, files, sum(sizes[names[name]] for name in pickled), names, lender, lent, card)


def _refuse_other_kinds(api: HfApi, id: str) -> None:
    """
    Raises:
        ModelNotFoundError: there is a dataset or a Space of that name.
    """
    for kind, called in (("dataset", Message("addresses.dataset")), ("space", Message("addresses.space"))):
        try:
            api.repo_info(id, repo_type=kind)
        except HfHubHTTPError:
            continue
        raise ModelNotFoundError("hub.no_model", id=id, kind=called)


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
        if client.may_pass(error):
            raise
        return None, {}, {}  # discussions are switched off, or not for us: no pull request
    ours = [offer for offer in offers if offer.author == CONVERSION_BOT and offer.is_pull_request and offer.status == "open"]
    for offer in sorted(ours, key=lambda offer: offer.num, reverse=True):
        try:
            info = api.model_info(id, revision=offer.git_reference, files_metadata=True)
        except HfHubHTTPError as error:
            if client.may_pass(error):
                raise
            continue
        sizes = _sizes(info)
        weights = weights_in(sizes, folder)
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
    moved = client.Progress()
    id = cache.split(spec.id)[0]
    total, login = sum(listing.every.values()), None if token else False

    def fetch() -> None:
        config = listing.names.get(CONFIG, CONFIG)
        path = hf_hub_download(id, config, revision=listing.sha, token=login, tqdm_class=_meter(moved, total, None, spec.id))
        # What can be told from this file is said before the weights are downloaded.
        if (why := checkpoint.unsupported_kind(read_json(Path(path).parent, CONFIG))) is not None:
            raise BadCheckpointError(why)
        before = listing.files.get(config, 0)
        for sha, files in ((listing.sha, listing.files), (listing.lender, listing.lent)):
            if sha is not None and files:
                meter = _meter(moved, total, report, spec.id, before)
                snapshot_download(id, revision=sha, allow_patterns=list(files), token=login, tqdm_class=meter)
                before = sum(files.values())
        if not listing.plain:
            cache.compose(place_of(spec, listing), {name: _source(spec, listing, path) for name, path in listing.names.items()})

    client.within(settings().hub_timeout, fetch, moved)


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
    moved, login = client.Progress(), None if token else False
    id, config = cache.split(spec.id)[0], listing.names[CONFIG]
    wanted = [path for path in listing.names.values() if path.endswith((".json", ".txt")) and not path.endswith(".index.json")]

    def fetch() -> Path:
        meter = _meter(moved, 1, None, spec.id)
        paths = {path: hf_hub_download(id, path, revision=listing.sha, token=login, tqdm_class=meter) for path in wanted}
        return Path(paths[config]).parent

    return client.within(settings().hub_timeout, fetch, moved)


def stored_names(spec: ModelSpec, listing: Listing, *, token: bool) -> list[str] | None:
    """Names of all weights of a checkpoint, from the beginning of its file or from the index of several; None where nobody can tell.

    Args:
        spec: of source ``hub``.
        listing: of :func:`look_up`.
        token: whether the login of this machine may be used.
    """
    path = listing.names.get(INDEX) or listing.names.get(WEIGHTS)
    if path is None:
        return None
    id, login, sha = cache.split(spec.id)[0], None if token else False, listing.lender if path in listing.lent else listing.sha

    def ask() -> list[str]:
        if INDEX in listing.names:
            if listing.every[path] > checkpoint.MAX_JSON_BYTES:
                return []
            return list(json.loads(Path(hf_hub_download(id, path, revision=sha, token=login)).read_text(encoding="utf-8"))["weight_map"])
        return list(HfApi(token=login).parse_safetensors_file_metadata(id, path, revision=sha).tensors)

    try:
        return client.within(settings().hub_timeout, ask) or None
    except (*TRANSPORT_ERRORS, SafetensorsParsingError, ValueError, TypeError, KeyError, AttributeError, RuntimeError):
        return None  # what the file is will be seen when it is loaded


def place_of(spec: ModelSpec, listing: Listing) -> Path:
    """Where a checkpoint lies, or will lie."""
    return (cache.snapshot if listing.plain else cache.composed)(spec.id, listing.sha)


def _source(spec: ModelSpec, listing: Listing, path: str) -> Path:
    """The cached file that a path in the repository stands for."""
    return cache.snapshot(spec.id, str(listing.lender) if path in listing.lent else listing.sha) / path


def here(spec: ModelSpec, listing: Listing) -> bool:
    """Whether every wanted file is in the local cache, undamaged, and the checkpoint put together from these.

    Args:
        spec: of source ``hub``.
        listing: of :func:`look_up`.
    """
    place = place_of(spec, listing)
    if not all((place / name).is_file() for name in listing.names) or not cache.intact(place):
        return False
    if listing.plain:
        return True
    # A pull request may have got other weights since.
    pairs = ((place / name, _source(spec, listing, path)) for name, path in listing.names.items())
    return all(mine.resolve() == theirs.resolve() or not mine.is_symlink() for mine, theirs in pairs)


def _meter(moved: client.Progress, total: int, report: Report | None, name: str, before: int = 0) -> type[tqdm]:
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
                    report(min(1.0, (before + self.n) / max(1, total)), Message("progress.downloading", name=name))
            return shown

    return Meter


# A configuration is a few kilobytes; tokenizers and the like are not ours to fetch, but for the words of CLIP, which are below this.
MAX_JSON_BYTES = 1_000_000
VOCABULARY, MERGES = "vocab.json", "merges.txt"
# As transformers 5 writes the words of CLIP, without the other two: 3.6 MB.
TOKENIZER, MAX_TOKENIZER_BYTES = ("tokenizer.json", "tokenizer_config.json"), 8_000_000
MAX_JSON_FILES = 32
# Weights that are no network: of an adapter, of the optimizer.
_NO_NETWORK = re.compile(r"(adapter|optimizer|scheduler|scaler|ema_state).*\.safetensors")
_DEEPEST = 4
CHOOSE = Message("layouts.choose_semantic")


def below(names: Collection[str], folder: str) -> list[str]:
    """The names of the files that lie directly in a folder, without it.

    Args:
        names: paths of files in a repository.
        folder: path of the folder, empty for the top.
    """
    start = f"{folder}/" if folder else ""
    return sorted(name[len(start) :] for name in names if name.startswith(start) and "/" not in name[len(start) :])


def path_of(folder: str, name: str) -> str:
    """The path of a file in a repository's folder."""
    return f"{folder}/{name}" if folder else name


def weights_in(names: Collection[str], folder: str) -> dict[str, str]:
    """The safetensors files that are a checkpoint's weights: path in the repository by the name that they get; empty if none are.

    ``model.safetensors``; the shards that an index names; or the only safetensors file there is, whatever it is called.

    Args:
        names: paths of files in a repository.
        folder: of the checkpoint in it, empty for the top.
    """
    here = below(names, folder)
    if WEIGHTS in here:
        return {WEIGHTS: path_of(folder, WEIGHTS)}
    tensors = [name for name in here if name.endswith(".safetensors") and not _NO_NETWORK.fullmatch(name)]
    indices = [name for name in here if name.endswith(".safetensors.index.json")]
    if INDEX in indices or len(indices) == 1:
        index = INDEX if INDEX in indices else indices[0]
        stem = index.removesuffix(".safetensors.index.json")
        shards = [name for name in tensors if re.fullmatch(rf"{re.escape(stem)}-\d+-of-\d+\.safetensors", name)]
        if shards:
            return {INDEX: path_of(folder, index), **{name: path_of(folder, name) for name in shards}}
    return {WEIGHTS: path_of(folder, tensors[0])} if len(tensors) == 1 else {}


def json_in(sizes: Mapping[str, int], folder: str) -> list[str]:
    """The small JSON files of a checkpoint's folder, config.json first, and those of its words.

    Args:
        sizes: bytes by path in the repository.
        folder: of the checkpoint in it, empty for the top.
    """
    there = below(sizes, folder)
    one_file = VOCABULARY not in there and all(name in there for name in TOKENIZER)
    small = [
        name
        for name in there
        if (name == MERGES or re.fullmatch(r"[\w.-]+\.json", name) and not name.endswith(".index.json"))
        and sizes[path_of(folder, name)] <= (MAX_TOKENIZER_BYTES if one_file and name == TOKENIZER[0] or name == CONFIG else MAX_JSON_BYTES)
    ]
    return sorted(small, key=lambda name: (name != CONFIG, name))[:MAX_JSON_FILES]


def folders_in(names: Collection[str]) -> list[str]:
    """The folders of a repository that hold a whole checkpoint.

    Args:
        names: paths of files in it.
    """
    found = []
    for name in sorted(names):
        folder, _, file = name.rpartition("/")
        if file == CONFIG and folder and folder.count("/") < _DEEPEST:
            if weights_in(names, folder) or untrusted.offered(below(names, folder)):
                found.append(folder)
    return found


def folder_of(id: str, names: Collection[str], asked: str) -> str:
    """The folder in a repository that holds the checkpoint that is meant, empty for the top.

    Args:
        id: ``user/repo``.
        names: paths of the files in it.
        asked: the folder that was typed, empty if none was.

    Raises:
        BadCheckpointError: there is no such folder, or there are several and none was typed.
    """
    offered = [] if "model_index.json" in names else folders_in(names)
    listed = ", ".join(f"{id}/{folder}" for folder in offered[:6]) + (" …" if len(offered) > 6 else "")
    if asked:
        if any(name.startswith(f"{asked}/") for name in names):
            return asked
        advice = Message("layouts.its_models", listed=listed) if offered else Message("layouts.type_id", id=id)
        raise BadCheckpointError("layouts.no_folder", id=id, folder=asked, advice=advice)
    if CONFIG in names or not offered or "adapter_config.json" in names:
        return ""
    if len(offered) > 1:
        raise BadCheckpointError("layouts.several_models", id=id, count=len(offered), listed=listed)
    return offered[0]


def layout_refusal(id: str, names: Collection[str], folder: str) -> Message:
    """Why a repository whose weights or config.json are missing cannot be loaded, and what to choose instead.

    Args:
        id: ``user/repo``.
        names: paths of the files in it.
        folder: of the checkpoint in it, empty for the top.
    """
    here = below(names, folder)

    def with_end(*ends: str) -> list[str]:
        return [name for name in here if name.lower().endswith(ends)]

    def anywhere(*ends: str) -> list[str]:
        """Here, else in folders; a folder may have such a name itself."""
        paths = (["/".join(name.split("/")[:depth]) for depth in range(1, name.count("/") + 2)] for name in sorted(names))
        return with_end(*ends) or sorted({path for group in paths for path in group if path.lower().endswith(ends)})

    tensors, config = [name for name in with_end(".safetensors") if not _NO_NETWORK.fullmatch(name)], CONFIG in here
    if "adapter_config.json" in here:
        return Message("layouts.adapter", id=id)
    if "model_index.json" in names:
        return Message("layouts.diffusers", id=id, advice=CHOOSE)
    if with_end(".gguf") and not tensors:
        return Message("layouts.gguf", id=id, file=with_end(".gguf")[0], advice=CHOOSE)
    if len(tensors) > 1:
        return Message("layouts.several_weight_files", id=id, count=len(tensors), files=", ".join(tensors[:4]))
    below_here = [name for name in sorted(names) if name.endswith(".safetensors") and "/" in name and not _NO_NETWORK.fullmatch(name.rsplit("/")[-1])]
    if config and not tensors and below_here:
        return Message("layouts.config_elsewhere", id=id, file=below_here[0])
    with_its_program, of_pytorch = Message("layouts.save_with_its_program"), Message("layouts.ask_for_pytorch")
    other = (
        (anywhere(".ckpt"), Message("layouts.is_lightning"), Message("layouts.save_network_inside")),
        (_ultralytics(here), Message("layouts.is_ultralytics"), Message("layouts.no_yolo", advice=CHOOSE)),
        (anywhere(".onnx"), Message("layouts.is_onnx"), Message("layouts.ask_for_source")),
        (anywhere(".h5", ".keras", ".pb", ".tflite", "ckpt.index"), Message("layouts.is_tensorflow"), of_pytorch),
        (anywhere(".msgpack"), Message("layouts.is_flax"), of_pytorch),
        (anywhere(".mlmodel", ".mlpackage", ".engine", ".xml", ".torchscript", ".ts", ".pte"), Message("layouts.is_compiled"), Message("layouts.ask_for_weights")),
        (anywhere(".pth", ".pt", ".pkl", ".pickle", ".joblib", ".bin"), Message("layouts.is_other_pickle"), with_its_program),
    )  # fmt: skip
    if not tensors:
        for files, what, advice in other:
            if files:
                return Message("layouts.no_safetensors", id=id, file=files[0], what=what, advice=advice)
    if not config and tensors:
        return Message("layouts.no_config", id=id, file=tensors[0])
    found = ", ".join(name for name in here if not name.startswith("."))[:120] or Message("layouts.nothing")
    return Message("layouts.weights_missing" if config else "layouts.all_missing", id=id, found=found, advice=CHOOSE)


def _ultralytics(here: Collection[str]) -> list[str]:
    """Weights as ultralytics saves and names them."""
    known = re.compile(r"(yolo|yolov\d|best|last|sam|fastsam|mobile_sam|rtdetr)[\w.-]*\.pt", re.IGNORECASE)
    return [name for name in here if known.fullmatch(name)]

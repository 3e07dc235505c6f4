"""The models on the menu, and what a typed id means.

``SEG_DEMO_MODELS`` replaces the networks on the menu (bundled, Hub and torchvision) by the owner's own, in their order; the
region methods stay, named or not, and so do the models that were made here (:class:`TrainedModel`), each on its owner's menu. Each entry is a key of the
built-in menu, or ``user/repo`` or ``user/repo@revision``; a Hub entry is fetched with the owner's login, so it may be private, and its plain id
then stands for the revision on the menu. Until such a model has been fetched once, its task is not known and it is listed as
semantic, unless ``=instance`` follows the id.

torchvision's own weight files are known by their hash, loaded without running code, and downloaded within a time limit. The menu is
asked for several times with each request, so a folder is read once for each state of its files.

Models that were made here, fine-tuned in a folder of this server or pushed from it to the Hub, are on their owner's menu at once and
after a restart, and on everybody's if they are shared: one JSON file beside the jobs keeps the list.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import threading
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
from huggingface_hub import constants

from seg_demo import networks
from seg_demo.core import (
    INSTANCE, LANGUAGES, PANOPTIC, SEMANTIC, BadCheckpointError, BadRequestError, HubUnavailableError, Message, ModelNotFoundError, ModelSpec,
    Report, SettingsError, StorageError, Task, in_language, learnt_tasks, replacing, write_atomically,
)
from seg_demo.core.requests import viewer
from seg_demo.core.settings import Settings, settings
from seg_demo.hub import client, lookup, untrusted
from seg_demo.hub.licences import NVIDIA
from seg_demo.networks import identify
from seg_demo.networks.checkpoint import CONFIG, PREPROCESSOR, PROCESSOR, channels_of, class_table, labels_from_dict, read_json, read_optional_json

if TYPE_CHECKING:
    from seg_demo.networks.base import Network

BUNDLED_FOLDER = Path(__file__).resolve().parents[1] / "bundled"
# What a newcomer drops in is a street or a room: these know everyday objects, the bundled ones know cells.
EVERYDAY = {
    SEMANTIC.name: "nvidia/segformer-b0-finetuned-ade-512-512",
    INSTANCE.name: "maskrcnn-v2-coco",
    PANOPTIC.name: "facebook/mask2former-swin-tiny-coco-panoptic",
}
MAX_ID = 200
MAX_ADDRESS = 600
# Ids of the menu that a sentence lists.
NAMED = 5

_OWNERS = re.compile(r"(?P<id>[^=]+?)\s*(?:=\s*(?P<task>\w+))?")


def menu(chosen: Settings | None = None, *, every: bool = False) -> list[ModelSpec]:
    """The models on the menu of whoever is being answered (``ownership.viewer``), in its order. A bundled one is on it only if
    its folder is there.

    Args:
        chosen: the settings; None takes those of this process.
        every: also what other visitors made and did not share.

    Raises:
        SettingsError: ``SEG_DEMO_MODELS`` has entries that are neither menu keys nor Hub ids; the message lists them.
    """
    return list(_menu((chosen or settings()).models, every))


def _menu(owners: str, every: bool) -> tuple[ModelSpec, ...]:
    built_in = {spec.id: spec for spec in (*_bundled(), *map(_with_known_labels, HUB), *map(_with_known_labels, TORCH))}
    made_here = [spec for spec in trained_models(every=every) if spec.id not in built_in]
    if not owners.strip(" ,"):
        return (*built_in.values(), *made_here, *METHODS)
    methods = {spec.id: spec for spec in METHODS}
    specs, wrong = {}, []
    for entry in filter(None, (part.strip() for part in owners.split(","))):
        match = _OWNERS.fullmatch(entry)
        known = match is not None and match["task"] in (None, *(task.name for task in learnt_tasks()))
        parsed = client.parse_id(_plain(match["id"])) if known else None
        spec = built_in.get(entry) or methods.get(entry) or (parsed and _with_known_labels(hub_spec(*parsed, task=match["task"] or SEMANTIC.name)))
        if spec is None or spec.id in specs:
            wrong.append(entry)
        else:
            specs[spec.id] = spec
    if wrong:
        raise SettingsError("settings.bad_models", entries=", ".join(map(repr, wrong)), keys=", ".join((*built_in, *methods)))
    return (*specs.values(), *(spec for spec in (*made_here, *METHODS) if spec.id not in specs))


def _plain(entry: str) -> str:
    """An address as an id; what is none stays."""
    try:
        return client.id_of(entry)
    except BadRequestError:
        return entry


def _bundled(id: str = "") -> list[ModelSpec]:
    """The small checkpoints that come with this package, or the one of an id, with the labels in their own files."""
    return [
        replace(spec, labels=labels_in(BUNDLED_FOLDER / spec.id))
        for spec in BUNDLED
        if id in ("", spec.id) and (BUNDLED_FOLDER / spec.id / CONFIG).is_file()
    ]


def _with_known_labels(spec: ModelSpec) -> ModelSpec:
    """A Hub or torchvision entry, with what is known about it before it is loaded."""
    if spec.source == "torchvision":
        return replace(spec, labels=known_labels(TORCHVISION[spec.id].labels))
    folder = lookup.cached(spec, token=True)
    if folder is not None:
        try:
            architecture = architecture_of(folder)
            known = networks.answers_of(tasks_in(folder))
            return replace(spec, architecture=architecture, labels=labels_in(folder) or spec.labels, channels=channels_of(read_json(folder, CONFIG)), **known)
        except BadCheckpointError:
            return spec
    return replace(spec, labels=known_labels("cityscapes")) if "cityscapes" in spec.id and not spec.labels else spec


def hub_spec(id: str, revision: str | None, task: str = SEMANTIC.name) -> ModelSpec:
    """A Hub model that nothing is known about yet; loading it fills in the architecture and the task."""
    spec = ModelSpec(id, revision, task, "", id, "", "hub", about=TYPED)
    return replace(spec, title=spec.key)


def resolve(id: str, *, local_folders: bool) -> ModelSpec:
    """What a menu key, a typed id, or (for Python and the command line) a folder stands for.

    Args:
        id: menu key, title of a model on the menu, ``user/repo``, ``user/repo/folder`` or either with ``@revision``, or the address of such a page of the Hub; a
            folder only with ``local_folders``, where an existing checkpoint folder goes before a title or a Hub id of the same spelling.
        local_folders: False for whatever a visitor typed: no text of theirs ever names a local path or an address.

    Raises:
        BadRequestError: not the spelling of a model id, or the address of something else.
        ModelNotFoundError: no menu entry of that name, or no checkpoint in that folder.
    """
    text = id.strip() if isinstance(id, str) else ""
    if (spec := _on_menu(text, local_folders)) is not None:
        return spec
    if local_folders and _exists(text, CONFIG):
        return ModelSpec(str(Path(text).expanduser()), None, SEMANTIC.name, "", Path(text).name, "", "folder")
    if (spec := _titled(text, local_folders)) is not None:
        return spec
    named = client.id_of(text) if len(text) <= MAX_ADDRESS else text
    if named != text and (spec := _on_menu(named, local_folders)) is not None:
        return spec
    parsed = client.parse_id(named) if len(named) <= MAX_ID else None
    if parsed is not None and not (local_folders and text.count("/") > 1 and _exists(text)):
        return hub_spec(*parsed)
    shown = repr(id if len(str(id)) <= 80 else f"{str(id)[:80]}…")
    keys = _some_keys(text)
    if local_folders and (_exists(text) or text.startswith(("/", "./", "../", "~"))):
        raise ModelNotFoundError("models.no_checkpoint_folder", id=shown, keys=keys)
    if re.fullmatch(r"[\w.-]{1,80}", text):
        raise ModelNotFoundError("models.not_on_menu", id=shown, keys=keys)
    raise BadRequestError("models.no_id", id=shown, keys=keys)


def _on_menu(text: str, every: bool) -> ModelSpec | None:
    """The menu's entry that a text names."""
    if not settings().models.strip(" ,"):
        # Those that are always there are asked for most, and the rest of the menu takes longer to look up than a small picture to decode.
        for spec in (*(_bundled(text) if text else ()), *(spec for spec in METHODS if spec.id == text)):
            if spec.source == "bundled" or all(made.id != text for made in trained_models(every=every)):
                return spec
    return next((spec for spec in menu(every=every) if text in (spec.id, spec.key)), None)


def _titled(text: str, every: bool) -> ModelSpec | None:
    """The menu's entry whose title a text is, or alone begins: a page's picker of several models sends it as it was typed. What may be an id of the Hub is none."""
    written = text.casefold()
    titles = [(spec, [in_language(spec.title, language).casefold() for language in LANGUAGES]) for spec in (menu(every=every) if written and "/" not in written else ())]
    titled = [spec for spec, names in titles if written in names] or [spec for spec, names in titles if len(written) > 2 and any(name.startswith(written) for name in names)]
    return titled[0] if len(titled) == 1 else None


def _some_keys(text: str) -> str:
    """Ids of the menu for a sentence about a text that is none of them: what is written alike, then the first ones."""
    ids = [spec.id for spec in menu()]
    listed = list(dict.fromkeys((*difflib.get_close_matches(text, ids), *ids)))
    return ", ".join(listed[:NAMED]) + (", …" if len(listed) > NAMED else "")


def of_folder(folder: Path, id: str, source: str) -> ModelSpec:
    """What a checkpoint folder holds, under an id; no weights are read.

    Args:
        folder: the checkpoint.
        id: to call it by.
        source: ``folder``, or ``hub`` for one that has been pushed.

    Raises:
        BadCheckpointError: the folder holds no network that is known.
    """
    architecture = architecture_of(folder)
    title = networks.family(architecture).title
    known = {"architecture": architecture, "title": title, "licence": "", "source": source, "labels": labels_in(folder), "channels": channels_of(read_json(folder, CONFIG))}
    return ModelSpec(id, None, about=MADE_HERE, **known, **networks.answers_of(tasks_in(folder)))


def _exists(folder: str, name: str = "") -> bool:
    """Whether a path that the owner typed exists; what cannot be a path does not."""
    try:
        return bool(folder) and (Path(folder).expanduser() / name).exists()
    except (OSError, ValueError, RuntimeError):
        return False


def on_menu(spec: ModelSpec) -> bool:
    """Whether a model is the owner's choice, which is fetched with the owner's login."""
    return any((spec.id, spec.revision, spec.source) == (entry.id, entry.revision, entry.source) for entry in menu())


def available(spec: ModelSpec) -> bool:
    """Whether a model can be used now: it is here, or where it would come from answers. At most a few seconds, remembered.

    Args:
        spec: from the menu or :func:`resolve`.
    """
    if spec.source == "hub":
        return lookup.cached(spec, token=on_menu(spec)) is not None or lookup.reachable()
    if spec.source == "torchvision":
        return local_weights(TORCHVISION[spec.id]) is not None or lookup.reachable(WEIGHTS_SERVER)
    return True


def default_model(task: str) -> str:
    """The id that the page opens with: what knows everyday things if it can be had, else what is bundled.

    Args:
        task: a name of :data:`seg_demo.core.types.TASKS`.

    Raises:
        ModelNotFoundError: the menu has no model of this task.
    """
    of_task = [spec for spec in menu() if spec.answers(task)]
    if not of_task:
        raise ModelNotFoundError("models.none_of_task", task=task)
    if not settings().models.strip(" ,"):
        of_task.sort(key=lambda spec: spec.id != EVERYDAY.get(task))
    return next((spec.id for spec in of_task if available(spec)), of_task[0].id)


def describe() -> list[dict[str, object]]:
    """The menu as JSON-able rows: id, title, task, tasks, architecture, source, licence, labels, channels, available, promptable."""
    return [
        {
            "id": spec.key,
            "title": spec.title,
            "task": spec.task,
            "tasks": list(spec.tasks or (spec.task,)),
            "architecture": spec.architecture,
            "source": spec.source,
            "licence": spec.licence,
            "labels": list(spec.labels),
            "channels": spec.channels,
            "available": available(spec),
            "promptable": bool(networks.prompts_of(spec.architecture)),
        }
        for spec in menu()
    ]


TYPED = Message("models_about.typed")
MADE_HERE = Message("models_about.made_here")
# As the methods of seg_demo.masks.regions label their results.
REGIONS = ("background", "region")

BUNDLED = tuple(
    ModelSpec(
        id, None, task, id.removesuffix("-cells"), Message(f"models_title.{id.replace('-', '_')}"), "Apache-2.0", "bundled",
        about=Message(f"models_about.{id.replace('-', '_')}"),
    )
    for id, task in (("unet-cells", "semantic"), ("segformer-cells", "semantic"), ("maskrcnn-cells", "instance"), ("unet-instance-cells", "instance"), ("click", "instance"))
)  # fmt: skip


def _row(id: str, architecture: str, licence: str, name: str, *tasks: str) -> ModelSpec:
    """A model of the Hub, whose words have ``name`` in their keys."""
    words = {"title": Message(f"models_title.{name}"), "about": Message(f"models_about.{name}")}
    return ModelSpec(id, None, tasks[0], architecture, licence=licence, source="hub", tasks=tasks if len(tasks) > 1 else (), **words)


HUB = (
    _row("nvidia/segformer-b0-finetuned-ade-512-512", "segformer", NVIDIA, "segformer_b0_ade", "semantic"),
    _row("nvidia/segformer-b2-finetuned-ade-512-512", "segformer", NVIDIA, "segformer_b2_ade", "semantic"),
    _row("nvidia/segformer-b0-finetuned-cityscapes-1024-1024", "segformer", NVIDIA, "segformer_b0_cityscapes", "semantic"),
    _row(
        "facebook/mask2former-swin-tiny-coco-panoptic", "mask2former", "other", "mask2former_coco",
        "panoptic", "instance", "semantic",
    ),
    _row("tue-mps/coco_panoptic_eomt_base_640_2x", "eomt", "", "eomt_coco", "panoptic", "instance"),
    _row("Roboflow/rf-detr-seg-nano", "rfdetr", "Apache-2.0", "rfdetr_nano", "instance"),
    _row("Roboflow/rf-detr-seg-small", "rfdetr", "Apache-2.0", "rfdetr_small", "instance"),
)  # fmt: skip

TORCH = (
    ModelSpec(
        "fcn-resnet50-voc", None, "semantic", "fcn", Message("models_title.fcn_resnet50_voc"), "BSD-3-Clause", "torchvision",
        about=Message("models_about.fcn_resnet50_voc"),
    ),
    ModelSpec(
        "maskrcnn-v2-coco", None, "instance", "maskrcnn", Message("models_title.maskrcnn_v2_coco"), "BSD-3-Clause", "torchvision",
        about=Message("models_about.maskrcnn_v2_coco"),
    ),
)  # fmt: skip

METHODS = (
    ModelSpec(
        "otsu", None, "region", "classical", Message("page.otsu"), "BSD-3-Clause", "builtin", REGIONS,
        about=Message("models_about.otsu"),
    ),
    ModelSpec(
        "watershed", None, "region", "classical", Message("page.watershed"), "BSD-3-Clause", "builtin", REGIONS,
        about=Message("models_about.watershed"),
    ),
    ModelSpec(
        "slic", None, "region", "classical", Message("page.slic"), "BSD-3-Clause", "builtin", REGIONS,
        about=Message("models_about.slic"),
    ),
    ModelSpec(
        "felzenszwalb", None, "region", "classical", Message("page.felzenszwalb"), "BSD-3-Clause", "builtin", REGIONS,
        about=Message("models_about.felzenszwalb"),
    ),
)  # fmt: skip


WEIGHTS_SERVER = "https://download.pytorch.org"
_CHUNK = 1 << 18

_lock = threading.Lock()
_checked: set[Path] = set()


@dataclass(frozen=True)
class TorchvisionWeights:
    """One weight file.

    Attributes:
        network: family of networks.
        variant: torchvision's name of the architecture.
        url: where torchvision has it; the name ends with the first 8 hex digits of its sha256.
        labels: key in ``labels.json``.
    """

    network: str
    variant: str
    url: str
    labels: str


TORCHVISION = {
    "fcn-resnet50-voc": TorchvisionWeights("fcn", "fcn_resnet50", f"{WEIGHTS_SERVER}/models/fcn_resnet50_coco-1167a1af.pth", "voc"),
    "maskrcnn-v2-coco": TorchvisionWeights(
        "maskrcnn", "maskrcnn_resnet50_fpn_v2", f"{WEIGHTS_SERVER}/models/maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth", "coco"
    ),
}


def local_weights(weights: TorchvisionWeights) -> Path | None:
    """The file in torch.hub's own cache, if it is there and has the hash of its name."""
    path = _cache() / weights.url.rsplit("/", 1)[1]
    return path if path.is_file() and _sound(path) else None


def weights_checked(weights: TorchvisionWeights) -> bool:
    """Whether the file is there and this process has found it sound."""
    path = _cache() / weights.url.rsplit("/", 1)[1]
    with _lock:
        known = path in _checked
    return known and path.is_file()


def fetch_weights(weights: TorchvisionWeights, report: Report | None = None) -> Path:
    """The weight file, downloaded if needed.

    Args:
        weights: row of :data:`TORCHVISION`.
        report: called with the fraction that has arrived, and a few words.

    Raises:
        HubUnavailableError: nothing arrives for ``hub_timeout`` seconds, or what arrives is damaged.
    """
    if (path := local_weights(weights)) is not None:
        return path
    path = _cache() / weights.url.rsplit("/", 1)[1]
    moved = client.Progress()
    name = Message("hub.the_weights", variant=weights.variant)
    if constants.is_offline_mode():
        raise HubUnavailableError("hub.weights_offline", weights=name)
    try:
        client.within(settings().hub_timeout, lambda: _download(weights.url, path, moved, report), moved)
    except (httpx2.HTTPError, OSError) as error:
        raise HubUnavailableError(
            "hub.weights_unavailable", weights=name, host=weights.url.split("/models")[0], why=type(error).__name__,
        ) from error
    if not _sound(path):
        path.unlink(missing_ok=True)
        raise HubUnavailableError("hub.file_damaged", name=name)
    return path


def load_weights(weights: TorchvisionWeights, path: Path, names: list[str]) -> Network:
    """A network from a weight file, whose pickle another process reads (:mod:`seg_demo.hub.untrusted`).

    Args:
        weights: row of :data:`TORCHVISION`.
        path: of :func:`fetch_weights`.
        names: one per class.
    """
    from safetensors.torch import load_file

    from seg_demo import networks

    state = load_file(untrusted.converted_file(path))
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


def _download(url: str, path: Path, moved: client.Progress, report: Report | None) -> None:
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
                    report(min(1.0, arrived / total) if total else None, Message("progress.downloading", name=path.name))


@lru_cache(maxsize=1)
def _all_labels() -> dict[str, list[str]]:
    return json.loads((Path(__file__).parent / "labels.json").read_text(encoding="utf-8"))


def known_labels(key: str) -> tuple[str, ...]:
    """Class names of a well-known data set: ``voc``, ``coco`` or ``cityscapes``."""
    return tuple(_all_labels()[key])


def architecture_of(folder: Path) -> str:
    """Which network a checkpoint folder is of, as :func:`seg_demo.networks.identify` has it.

    Raises:
        BadCheckpointError: none that is known.
    """
    return _identified(folder, _state(folder))


def labels_in(folder: Path) -> tuple[str, ...]:
    """The class names that a checkpoint folder states, in the order of their ids; empty if it states none.

    Raises:
        BadCheckpointError: a file of it cannot be read.
    """
    return _labels(folder, _state(folder))


def tasks_in(folder: Path) -> tuple[Task, ...]:
    """What a checkpoint folder answers, what it was made for first.

    Raises:
        BadCheckpointError: a file of it cannot be read, or it is of no network that is known.
    """
    return _tasks(folder, _state(folder))


def _state(folder: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """Changes when a JSON file of the folder does."""
    found = []
    for name in (CONFIG, PREPROCESSOR, PROCESSOR):
        try:
            stat = (folder / name).stat()
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append(None)
    return tuple(found)


@lru_cache(maxsize=256)
def _identified(folder: Path, state: object) -> str:
    return identify(folder)


@lru_cache(maxsize=256)
def _tasks(folder: Path, state: object) -> tuple[Task, ...]:
    return networks.family(_identified(folder, state)).tasks_in(folder)


@lru_cache(maxsize=256)
def _labels(folder: Path, state: object) -> tuple[str, ...]:
    for data in (read_json(folder, CONFIG), read_optional_json(folder, PREPROCESSOR)):
        table = class_table(data)
        # How many classes the network has is known once it is loaded; a table of so many names is mostly of so many.
        found = labels_from_dict({"id2label": table}, len(table)) if table else None
        if found is not None:
            return found.names
    return ()


TRAINED_FILE = "models.json"
_trained_lock = threading.Lock()


@dataclass(frozen=True)
class TrainedModel:
    """One entry of the list.

    Attributes:
        spec: of source ``hub``, or ``folder`` with a name for an id, which no other entry has.
        folder: the checkpoint of a model of source ``folder``.
        owner: as in :mod:`seg_demo.core.requests`.
        shared: whether it is on everybody's menu.
    """

    spec: ModelSpec
    folder: str | None
    owner: str = ""
    shared: bool = False

    @property
    def visible(self) -> bool:
        """Whether it is on the menu of whoever is being answered."""
        who = viewer.get()
        return who is None or self.shared or who.owns(self.owner)


def _trained_file() -> Path:
    return Path(settings().jobs) / TRAINED_FILE


def _read_trained() -> list[TrainedModel]:
    """Every entry; a damaged file counts as none, for the demo must open."""
    try:
        rows = json.loads(_trained_file().read_text(encoding="utf-8"))
        return [
            TrainedModel(
                _trained_spec(row["model"]), row["folder"], _owner_in(row),
                row.get("shared") is True,
            )
            for row in rows
        ]  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _trained_spec(row: dict[str, object]) -> ModelSpec:
    lists = {"labels": tuple(row["labels"]), "tasks": tuple(row.get("tasks", ()))}
    return ModelSpec(**{**row, **lists, "notes": tuple(map(Message.from_dict, row.get("notes", ())))})


def _owner_in(row: dict[str, object]) -> str:
    """Whose an entry is. Those of earlier versions do not say so, but their job does."""
    if isinstance(row.get("owner"), str):
        return str(row["owner"])
    if not isinstance(row.get("folder"), str):
        return ""
    try:
        return str(json.loads((Path(str(row["folder"])).parents[1] / "job.json").read_text(encoding="utf-8")).get("owner") or "")
    except (OSError, ValueError, IndexError, AttributeError):
        return ""


def trained_entries(*, every: bool = False) -> list[TrainedModel]:
    """The models that were made here, the newest first; without those whose folder is gone.

    Args:
        every: also those that whoever is being answered may not see.
    """
    there = (row for row in _read_trained() if row.folder is None or (Path(row.folder) / "config.json").is_file())
    return [row for row in there if every or row.visible]


def trained_models(*, every: bool = False) -> list[ModelSpec]:
    """The models of :func:`entries`; of several with one id the newest, and one's own before what others share."""
    who = viewer.get()
    rows = trained_entries(every=every)
    rows.sort(key=lambda row: who is not None and not who.owns(row.owner))
    return list({row.spec.id: row.spec for row in reversed(rows)}.values())[::-1]


def trained_folder(id: str) -> Path | None:
    """The checkpoint folder of a model that was made here and lies on this server, or None."""
    return next((Path(row.folder) for row in _read_trained() if row.spec.id == id and row.spec.source == "folder" and row.folder), None)


def trained_in(folder: Path) -> TrainedModel | None:
    """The entry whose checkpoint is this folder, or None."""
    return next((row for row in _read_trained() if row.folder is not None and Path(row.folder) == folder.resolve()), None)


def add_trained(spec: ModelSpec, folder: Path | None = None, owner: str = "") -> None:
    """Put a model on its owner's menu; one of the same id and owner gives way.

    Args:
        spec: of source ``hub``, or ``folder`` with a name for an id.
        folder: the checkpoint of a model of source ``folder``.
        owner: whose it is.

    Raises:
        StorageError: the list cannot be written.
    """
    with _trained_lock:
        kept = [row for row in _read_trained() if (row.spec.id, row.owner) != (spec.id, owner)]
        _write_trained([TrainedModel(spec, None if folder is None else str(folder.resolve()), owner), *kept])


def share_trained(folder: Path, shared: bool) -> None:
    """Put a model on everybody's menu, or take it back.

    Args:
        folder: its checkpoint.
        shared: which of the two.

    Raises:
        BadRequestError: no model on the menu has this checkpoint.
        StorageError: the list cannot be written.
    """
    with _trained_lock:
        rows = _read_trained()
        chosen = [row.folder is not None and Path(row.folder) == folder.resolve() for row in rows]
        if not any(chosen):
            raise BadRequestError("models.not_shared_yet")
        _write_trained([replace(row, shared=shared) if this else row for row, this in zip(rows, chosen, strict=True)])


def remove_trained(folder: Path) -> None:
    """Take models off the menu whose checkpoint lies in a folder.

    Raises:
        StorageError: the list cannot be written.
    """
    with _trained_lock:
        rows = _read_trained()
        kept = [row for row in rows if row.folder is None or not Path(row.folder).is_relative_to(folder.resolve())]
        if len(kept) < len(rows):
            _write_trained(kept)


def free_id(wanted: str, taken: set[str]) -> str:
    """An id that is not taken: the wanted one, or with a number.

    >>> free_id("unet-coins", {"unet-coins"})
    'unet-coins-2'
    """
    number, found = 1, wanted
    while found in taken:
        number += 1
        found = f"{wanted}-{number}"
    return found


def _write_trained(rows: list[TrainedModel]) -> None:
    path = _trained_file()
    content = [
        {
            "model": asdict(replace(row.spec, labels=tuple(row.spec.labels))), "folder": row.folder, "owner": row.owner,
            "shared": row.shared,
        }
        for row in rows
    ]  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False))
    except OSError as error:
        raise StorageError("models.list_not_written", why=error.strerror) from error

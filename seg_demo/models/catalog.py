"""The models on the menu, and what a typed id means.

``SEG_DEMO_MODELS`` replaces the networks on the menu (bundled, Hub and torchvision) by the owner's own, in their order; the
region methods stay, named or not, and so do the models that were made here (``own.py``), each on its owner's menu. Each entry is a key of the
built-in menu, or ``user/repo`` or ``user/repo@revision``; a Hub entry is fetched with the owner's login, so it may be private, and its plain id
then stands for the revision on the menu. Until such a model has been fetched once, its task is not known and it is listed as
semantic, unless ``=instance`` follows the id.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from seg_demo.errors import BadCheckpointError, BadRequestError, ModelNotFoundError, SettingsError
from seg_demo.models import addresses, hub, own, weights
from seg_demo.models.class_names import architecture_of, known_labels, labels_in
from seg_demo.models.entries import BUNDLED, HUB, MADE_HERE, METHODS, TORCH, TYPED
from seg_demo.networks import NETWORKS
from seg_demo.networks.files import CONFIG
from seg_demo.settings import Settings, settings
from seg_demo.types import ModelSpec

BUNDLED_FOLDER = Path(__file__).resolve().parents[1] / "bundled"
# What a newcomer drops in is a street or a room: these know everyday objects, the bundled ones know cells.
EVERYDAY = {"semantic": "nvidia/segformer-b0-finetuned-ade-512-512", "instance": "maskrcnn-v2-coco"}
MAX_ID = 200
MAX_ADDRESS = 600

_NAME = r"\w(?:[\w.-]{0,94}\w)?"
_HUB_ID = re.compile(rf"(?P<id>(?P<repo>{_NAME}/{_NAME})(?:/{_NAME}){{0,4}})(?:@(?P<revision>\w(?:[\w./-]{{0,198}}\w)?))?", re.ASCII)
_OWNERS = re.compile(r"(?P<id>[^=]+?)\s*(?:=\s*(?P<task>semantic|instance))?")


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
    made_here = [spec for spec in own.own_models(every=every) if spec.id not in built_in]
    if not owners.strip(" ,"):
        return (*built_in.values(), *made_here, *METHODS)
    methods = {spec.id: spec for spec in METHODS}
    specs, wrong = {}, []
    for entry in filter(None, (part.strip() for part in owners.split(","))):
        match = _OWNERS.fullmatch(entry)
        parsed = parse_hub_id(_plain(match["id"])) if match else None
        spec = built_in.get(entry) or methods.get(entry) or (parsed and _with_known_labels(hub_spec(*parsed, task=match["task"] or "semantic")))
        if spec is None or spec.id in specs:
            wrong.append(entry)
        else:
            specs[spec.id] = spec
    if wrong:
        raise SettingsError(
            f"SEG_DEMO_MODELS has {', '.join(map(repr, wrong))}. Each entry must be one of {', '.join((*built_in, *methods))}, or a Hub "
            "id such as user/repo, user/repo@revision or user/repo=instance, each repository once; separate them by commas."
        )
    return (*specs.values(), *(spec for spec in (*made_here, *METHODS) if spec.id not in specs))


def _plain(entry: str) -> str:
    """An address as an id; what is none stays."""
    try:
        return addresses.id_of(entry)
    except BadRequestError:
        return entry


def _bundled() -> list[ModelSpec]:
    """The small checkpoints that come with this package, with the labels in their own files."""
    return [
        replace(spec, labels=labels_in(BUNDLED_FOLDER / spec.id))
        for spec in BUNDLED
        if (BUNDLED_FOLDER / spec.id / CONFIG).is_file()
    ]


def _with_known_labels(spec: ModelSpec) -> ModelSpec:
    """A Hub or torchvision entry, with what is known about it before it is loaded."""
    if spec.source == "torchvision":
        return replace(spec, labels=known_labels(weights.TORCHVISION[spec.id].labels))
    folder = hub.cached(spec, token=True)
    if folder is not None:
        try:
            architecture = architecture_of(folder)
            task = NETWORKS[architecture].task
            return replace(spec, architecture=architecture, task=task, labels=labels_in(folder) or spec.labels)
        except BadCheckpointError:
            return spec
    return replace(spec, labels=known_labels("cityscapes")) if "cityscapes" in spec.id and not spec.labels else spec


def parse_hub_id(text: str) -> tuple[str, str | None] | None:
    """``user/repo``, ``user/repo/folder`` or either with ``@revision`` as (id, revision), or None if it is neither.

    >>> parse_hub_id("ann/cells@v2"), parse_hub_id("../etc"), parse_hub_id("ann/zoo/b0")
    (('ann/cells', 'v2'), None, ('ann/zoo/b0', None))
    """
    match = _HUB_ID.fullmatch(text)
    if match is None or ".." in text or "--" in match["repo"] or "//" in text or match["repo"].endswith(".git"):
        return None
    return match["id"], match["revision"]


def hub_spec(id: str, revision: str | None, task: str = "semantic") -> ModelSpec:
    """A Hub model that nothing is known about yet; loading it fills in the architecture and the task."""
    return ModelSpec(id, revision, task, "", id if revision is None else f"{id}@{revision}", "", "hub", about=TYPED)


def resolve(id: str, *, local_folders: bool) -> ModelSpec:
    """What a menu key, a typed id, or (for Python and the command line) a folder stands for.

    Args:
        id: menu key, ``user/repo``, ``user/repo/folder`` or either with ``@revision``, or the address of such a page of the Hub; a
            folder only with ``local_folders``, where an existing checkpoint folder goes before a Hub id of the same spelling.
        local_folders: False for whatever a visitor typed: no text of theirs ever names a local path or an address.

    Raises:
        BadRequestError: not the spelling of a model id, or the address of something else.
        ModelNotFoundError: no menu entry of that name, or no checkpoint in that folder.
    """
    text = id.strip() if isinstance(id, str) else ""
    if (spec := _on_menu(text, local_folders)) is not None:
        return spec
    if local_folders and _exists(text, CONFIG):
        return ModelSpec(str(Path(text).expanduser()), None, "semantic", "", Path(text).name, "", "folder")
    named = addresses.id_of(text) if len(text) <= MAX_ADDRESS else text
    if named != text and (spec := _on_menu(named, local_folders)) is not None:
        return spec
    parsed = parse_hub_id(named) if len(named) <= MAX_ID else None
    if parsed is not None and not (local_folders and text.count("/") > 1 and _exists(text)):
        return hub_spec(*parsed)
    shown = repr(id if len(str(id)) <= 80 else f"{str(id)[:80]}…")
    keys = ", ".join(spec.id for spec in menu())
    if local_folders and _exists(text):
        raise ModelNotFoundError(f"{shown} is no checkpoint folder: it has no {CONFIG}. Models: {keys}, or user/repo.")
    if re.fullmatch(r"[\w.-]{1,80}", text):
        raise ModelNotFoundError(f"There is no model {shown}. The menu has {keys}; a Hub id is written user/repo.")
    raise BadRequestError(
        f"{shown} is not the id of a model. Pick one from the menu ({keys}), or type a Hugging Face id such as user/repo or "
        "user/repo@revision; addresses of other sites and paths are not accepted."
    )


def _on_menu(text: str, every: bool) -> ModelSpec | None:
    """The menu's entry that a text names."""
    return next((spec for spec in menu(every=every) if text in (spec.id, f"{spec.id}@{spec.revision}")), None)


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
    row = NETWORKS[architecture]
    return ModelSpec(id, None, row.task, architecture, row.title, "", source, labels_in(folder), about=MADE_HERE)


def _exists(folder: str, name: str = "") -> bool:
    """Whether a path that the owner typed exists; what cannot be a path does not."""
    try:
        return bool(folder) and (Path(folder).expanduser() / name).exists()
    except (OSError, ValueError, RuntimeError):
        return False


def on_menu(spec: ModelSpec) -> bool:
    """Whether a model is the owner's choice, which is fetched with the owner's login."""
    return any((spec.id, spec.revision, spec.source) == (each.id, each.revision, each.source) for each in menu())


def available(spec: ModelSpec) -> bool:
    """Whether a model can be used now: it is here, or where it would come from answers. At most a few seconds, remembered.

    Args:
        spec: from the menu or :func:`resolve`.
    """
    if spec.source == "hub":
        return hub.cached(spec, token=on_menu(spec)) is not None or hub.reachable()
    if spec.source == "torchvision":
        return weights.local(weights.TORCHVISION[spec.id]) is not None or hub.reachable(weights.SERVER)
    return True


def default_model(task: str) -> str:
    """The id that the page opens with: what knows everyday things if it can be had, else what is bundled.

    Args:
        task: ``semantic``, ``instance`` or ``region``.

    Raises:
        ModelNotFoundError: the menu has no model of this task.
    """
    of_task = [spec for spec in menu() if spec.task == task]
    if not of_task:
        raise ModelNotFoundError(f"The menu has no {task} model. Add one to SEG_DEMO_MODELS.")
    if not settings().models.strip(" ,"):
        of_task.sort(key=lambda spec: spec.id != EVERYDAY.get(task))
    return next((spec.id for spec in of_task if available(spec)), of_task[0].id)


def describe() -> list[dict[str, object]]:
    """The menu as JSON-able rows: id, title, task, architecture, source, licence, labels, available."""
    return [
        {
            "id": spec.id if spec.revision is None else f"{spec.id}@{spec.revision}",
            "title": spec.title,
            "task": spec.task,
            "architecture": spec.architecture,
            "source": spec.source,
            "licence": spec.licence,
            "labels": list(spec.labels),
            "available": available(spec),
        }
        for spec in menu()
    ]

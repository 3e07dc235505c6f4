"""The menu as the page shows it: choices with what is available now, a note on the chosen model, a card for each.

And the class mapping: what the classes of a model become in a dataset that calls them otherwise, such as cell → coin. Classes of the same name go together by themselves. For the others the page shows one box of pairs; what was chosen there is
remembered in the visitor's browser, for each dataset and model.
"""

from __future__ import annotations

import html
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import gradio as gr

from seg_demo import networks
from seg_demo.core import (
    TASKS, DataError, LabelSet, Message, ModelNotFoundError, ModelSpec, SegDemoError, in_language, is_background, learnt_tasks, plain_name,
)
from seg_demo.core.settings import settings
from seg_demo.datasets.dataset import clean_names, label_set
from seg_demo.datasets.store import Store
from seg_demo.gateway.queue import UNQUEUED, agreement
from seg_demo.hub import licences, lookup
from seg_demo.serving import catalog
from seg_demo.serving.catalog import labels_in
from seg_demo.ui.components import language_of, task_words, words

if TYPE_CHECKING:
    from seg_demo.serving.predictor import Offer

SAMPLE_CLASSES = 6
# Of the weight files that are not here: nvidia's repositories and torchvision's own table (``_file_size``).
PUBLISHED_SIZES = {
    "nvidia/segformer-b0-finetuned-ade-512-512": "15 MB",
    "nvidia/segformer-b2-finetuned-ade-512-512": "110 MB",
    "nvidia/segformer-b0-finetuned-cityscapes-1024-1024": "15 MB",
    "facebook/mask2former-swin-tiny-coco-panoptic": "190 MB",
    "fcn-resnet50-voc": "135 MB",
    "maskrcnn-v2-coco": "177 MB",
}
# How many typed models are looked at at once, and for how long what was seen holds.
_looking = threading.BoundedSemaphore(4)
REMEMBER_SECONDS = 300.0
_looks: dict[str, tuple[float, Offer]] = {}


def specs(task: str | None = None) -> list[ModelSpec]:
    """The models on the menu, of one task or of all."""
    return [spec for spec in catalog.menu(settings()) if task is None or spec.answers(task)]


def availability() -> dict[str, bool]:
    """Menu key -> whether it can be used now. At most a few seconds, and remembered for the next visitor."""
    return {row["id"]: row["available"] for row in catalog.describe()}


def title(spec: ModelSpec, language: str) -> str:
    """What a model is called on the page."""
    return in_language(spec.title, language)


def choices(*tasks: str, ready: dict[str, bool] | None = None, language: str = "en") -> list[tuple[str, str]]:
    """(text, id) for the picker, task by task; ○ marks what cannot be reached, nothing is marked while that is not known."""
    known = ready or {}
    marks = {spec: "" if known.get(spec.key, True) else "○ " for task in tasks for spec in specs(task)}
    return [(mark + title(spec, language), spec.key) for spec, mark in marks.items()]


def follow(tab: gr.Tab, picker: gr.Dropdown, *tasks: str) -> None:
    """Keep a picker's choices in step with the menu: read anew when its tab is opened, with what can be reached by then, and
    with the models that have joined while the page is open.

    Args:
        tab: with the picker.
        picker: whose value stays.
        tasks: of the models that it offers, in their order.
    """

    def anew(request: gr.Request) -> gr.Dropdown:
        ready, language = availability(), language_of(request)
        return gr.Dropdown(choices=choices(*tasks, ready=ready, language=language))

    tab.select(anew, None, picker, **UNQUEUED)


def learnt() -> tuple[str, ...]:
    """Names of the tasks that networks answer, in the order of the tabs."""
    return tuple(task.name for task in learnt_tasks())


def first_network() -> str:
    """The id that a picker of all networks begins with; empty if the menu has none."""
    return next(filter(None, map(at_first, learnt())), "")


def at_first(task: str) -> str:
    """The id that is selected before it is known what can be reached: the first that needs no network."""
    menu = specs(task)
    return next((spec.key for spec in menu if spec.source in ("bundled", "builtin")), menu[0].key if menu else "")


def best(task: str) -> ModelSpec | None:
    """The model that the page opens with once it is known what can be reached; None if the menu has none of the task."""
    try:
        chosen = catalog.default_model(task)
    except ModelNotFoundError:
        return None
    return next(spec for spec in specs(task) if spec.id == chosen)


def everyday(task: str) -> str:
    """The id of the menu's model that knows everyday things, whether it can be reached or not; empty if there is none."""
    known = [spec for spec in specs(task) if spec.source in ("hub", "torchvision")]
    known.sort(key=lambda spec: spec.id != catalog.EVERYDAY.get(task))
    return known[0].key if known else ""


def is_clicked(spec: ModelSpec) -> bool:
    """Whether a model answers clicks."""
    return networks.CLICKS in networks.prompts_of(spec.architecture)


def looks_again(identity: object) -> bool:
    """Whether the mean of several looks is any choice with a model: of one that is not on the menu, it may be. Networks that answer several
    tasks answer with queries, which have no mean, also where a checkpoint of theirs answers one."""
    spec = spec_of(identity)
    if spec is None:
        return True
    queries = spec.tasks or (spec.architecture in networks.FAMILIES and len(networks.family(spec.architecture).tasks) > 1)
    return TASKS[spec.task].learnt and TASKS[spec.task].classes and not queries


def about(spec: ModelSpec, language: str) -> str:
    """One or two sentences: what the model is good at."""
    return in_language(spec.about, language)


def class_sample(spec: ModelSpec, language: str) -> str:
    """The classes in a few words: all of them, or how many and the first ones. Background is no class to look for.

    Of a class with synonyms (ADE20K: "building, edifice") the first is enough.
    """
    names = [name for name in spec.labels if not is_background(name) and name.lower() != "n/a"]
    listed = words("separator", language).join(name.split(",")[0] for name in names[:SAMPLE_CLASSES])
    if len(names) <= SAMPLE_CLASSES:
        return listed
    return words("more_classes", language).format(count=len(names)) + listed + " …"


def spec_of(identity: object) -> ModelSpec | None:
    """The menu's model of an id; None of a typed one."""
    return next((spec for spec in specs() if spec.key == identity), None)


def licence_of(spec: ModelSpec, language: str) -> str:
    """The name of a model's licence; what its card calls "other" is in a file beside the weights."""
    return words("licence_own", language) if spec.licence == "other" else spec.licence or words("unstated", language)


def note(identity: object, language: str, ready: dict[str, bool] | None = None) -> str:
    """HTML below the picker: what the chosen model is good at, its classes and its licence. Everything is escaped.

    Args:
        identity: what is picked.
        language: ``en`` or ``zh``.
        ready: menu key -> whether it can be used now; None if that is not known.
    """
    spec = spec_of(identity)
    if spec is None:
        return f'<p class="note">{html.escape(words("typed" if identity else "no_model", language))}</p>'
    parts = [about(spec, language)]
    if spec.source != "builtin":
        if spec.labels:
            sample = class_sample(spec, language)
            parts.append(words("knows", language) + sample + ("" if sample.endswith("…") else words("stop", language)))
        parts.append(words("licence", language) + words("colon", language) + licence_of(spec, language) + words("stop", language))
    if ready is not None and not ready.get(spec.key, True):
        parts.append(words("not_now", language))
    return f'<p class="note">{html.escape(("" if language == "zh" else " ").join(part for part in parts if part))}</p>'


def looked_at(identity: object, language: str) -> str | None:
    """HTML below the picker for a model that a person typed: what its repository holds, before anything large is fetched, or why it
    cannot be used. Everything is escaped. None where there is nothing to look at, or where too many look at once.
    """
    if not identity or any(spec.key == identity for spec in specs()) or not _looking.acquire(blocking=False):
        return None
    try:
        found = _offered(str(identity)[: catalog.MAX_ADDRESS])
    finally:
        _looking.release()
    if isinstance(found, Message):
        return f'<p class="note">{html.escape(in_language(found, language))}</p>'
    separator, of = words("separator", language), words("memory_of", language)
    loads = in_language(found.refused, language) or words("loads_yes" if found.loads else "loads_no", language)
    rows = [
        ("network", networks.title_of(found.architecture)),
        ("tasks", separator.join(str(task_words(TASKS[task], language)[0]) for task in found.tasks)),
        ("size", f"{found.size / 1e6:,.1f} MB"),
        ("memory", of.format(wanted=f"{found.memory / 1e9:.1f}", free=f"{found.free / 1e9:.1f}")),
        ("loads", loads),
        ("licence", in_language(found.licence, language)),
    ]
    facts = "".join(f"<dt>{html.escape(words(name, language))}</dt><dd>{html.escape(value)}</dd>" for name, value in rows if value)
    return f'<p class="note">{html.escape(words("typed", language))}</p><dl class="facts">{facts}</dl>'


def _offered(identity: str) -> Offer | Message:
    """What a repository holds, as it was a few minutes ago; or why it cannot be used, which is looked at anew."""
    from seg_demo.serving.predictor import offer

    known = _looks.get(identity)
    if known is not None and time.monotonic() - known[0] < REMEMBER_SECONDS:
        return known[1]
    try:
        found = offer(identity, visitor=True)
    except SegDemoError as error:
        return error.message
    if len(_looks) >= MOST_REMEMBERED:
        _looks.clear()
    _looks[identity] = time.monotonic(), found
    return found


def card(spec: ModelSpec, ready: bool, language: str) -> str:
    """One model as an HTML article. Everything is escaped."""
    rows = [
        ("network", networks.title_of(spec.architecture)),
        ("tasks", words("separator", language).join(str(task_words(TASKS[task], language)[0]) for task in spec.tasks)),
        ("classes", class_sample(spec, language) if spec.source != "builtin" else ""),
        ("licence", licence_of(spec, language)),
        ("commercial", commercial_use(spec, language)),
        ("source", words(f"source_{spec.source}", language)),
        ("size", size_of(spec)),
        ("precision", precision_of(spec, language)),
    ]
    facts = "".join(
        f"<dt>{html.escape(words(key, language))}</dt><dd>{html.escape(value)}</dd>" for key, value in rows if value
    )
    state = words("ready" if ready else "unreachable", language)
    return (
        f'<article><span class="state{" on" if ready else ""}">{html.escape(state)}</span><h3>{html.escape(title(spec, language))}</h3>'
        f"<code>{html.escape(spec.key)}</code><p>{html.escape(about(spec, language))}</p><dl>{facts}</dl></article>"
    )


def commercial_use(spec: ModelSpec, language: str) -> str:
    """Whether the licence of the weights allows commercial use, in a word or two."""
    return words({True: "commercial_yes", False: "commercial_no", None: "commercial_ask"}[licences.allows_commerce(spec.licence)], language)


def precision_of(spec: ModelSpec, language: str) -> str:
    """What computing in bf16 changed on the first image; empty where bf16 was not asked for."""
    if settings().precision != "bf16" or spec.source == "builtin":
        return ""
    share = agreement(spec)
    if share is None:
        return words("bf16_unknown", language)
    return words("bf16_agreement", language).format(share=f"{math.floor(share * 1e5) / 1e3:g}")


def size_of(spec: ModelSpec) -> str:
    """The size of the weights in megabytes: of the file that comes along, else as published; empty where there are none."""
    if spec.source == "bundled":
        file = catalog.BUNDLED_FOLDER / spec.id / "model.safetensors"
        return f"{file.stat().st_size / 1e6:.1f} MB" if file.is_file() else ""
    return PUBLISHED_SIZES.get(spec.id, "")


ARROW = " → "
# Helper classes between things: of cell and border, a dataset's only class is the cell.
HELPERS = frozenset(("border", "borders", "boundary", "edge", "edges", "contour", "outline", "n/a", "void", "ignore", "unlabeled", "unlabelled"))
# What two long lists have is no list to choose from; whoever has such types a few names to find a pair.
MOST_PAIRS = 2000
MOST_REMEMBERED = 60


def mapping_state() -> gr.BrowserState:
    """What was chosen, in the browser's local storage: ``dataset|model`` → {class of the model: class of the dataset}."""
    return gr.BrowserState({}, storage_key="seg-demo-class-mapping", secret="seg-demo-class-mapping")


def known_names(model: object) -> list[str]:
    """The classes of a model as far as they are known without loading it; empty if they are not.

    Args:
        model: id on the menu, or as a person typed it.
    """
    try:
        spec = catalog.resolve(model if isinstance(model, str) else "", local_folders=False)
        if spec.labels or spec.source != "hub":
            return [name for name in spec.labels if not is_background(name)]
        folder = lookup.cached(spec, token=catalog.on_menu(spec))
        return [name for name in (labels_in(folder) if folder else ()) if not is_background(name)]
    except SegDemoError:
        return []


def things(labels: LabelSet) -> list[str]:
    """The classes of a dataset without its background."""
    return [name for index, name in enumerate(labels.names) if index != labels.background]


def labels_of(store: Store | None, dataset: object, typed: list[str]) -> LabelSet | None:
    """The classes of the dataset that a picture would be opened for; None if it takes those of the model."""
    try:
        if store is not None and isinstance(dataset, str) and dataset in {known.key for known in store.list()}:
            return store.open(dataset).labels
        return label_set(clean_names(typed)) if typed else None
    except SegDemoError:
        return None


def unmatched(model: list[str], dataset: list[str]) -> tuple[list[str], list[str]]:
    """The classes of either side that the other has not.

    >>> unmatched(["cell", "border"], ["Coin", "Border"])
    (['cell'], ['Coin'])
    """
    here, there = {plain_name(name) for name in model}, {plain_name(name) for name in dataset}
    return [name for name in model if plain_name(name) not in there], [name for name in dataset if plain_name(name) not in here]


def suggestion(model: list[str], dataset: list[str]) -> dict[str, str]:
    """What is chosen before anybody has chosen: the pair, where either side has one class left that is no helper.

    >>> suggestion(["cell", "border"], ["coin"]), suggestion(["cell"], ["coin", "note"]), suggestion(["car", "bus"], ["truck"])
    ({'cell': 'coin'}, {}, {})
    """
    left, right = unmatched(model, dataset)
    left, right = ([name for name in side if plain_name(name) not in HELPERS] for side in (left, right))
    return {left[0]: right[0]} if len(left) == len(right) == 1 else {}


def remembered(kept: object, dataset: object, model: object) -> dict[str, str] | None:
    """What was chosen for a dataset and a model; None if nothing was. What a browser keeps may be anything."""
    found = kept.get(f"{dataset}|{model}") if isinstance(kept, dict) else None
    if not isinstance(found, dict):
        return None
    return {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, str)}


def with_chosen(kept: object, dataset: object, model: object, chosen: dict[str, str]) -> dict[str, Any]:
    """What is kept with one more choice; the oldest of many go."""
    rows = dict(kept) if isinstance(kept, dict) else {}
    rows.pop(f"{dataset}|{model}", None)
    rows[f"{dataset}|{model}"] = chosen
    return dict(list(rows.items())[-MOST_REMEMBERED:])


def pairs_of(value: object, model: list[str] | None = None, dataset: list[str] | None = None) -> dict[str, str]:
    """The pairs of the box.

    Args:
        value: what the box has, such as ``["cell → coin"]``.
        model: classes of the model; None for any.
        dataset: classes of the dataset; None for any.

    Raises:
        DataError: no pair, a class that is not there, or one that would become two.
    """
    found: dict[str, str] = {}
    for text in value if isinstance(value, list) else []:
        source, arrow, target = str(text)[:200].rpartition(ARROW)
        if not arrow or (model is not None and source not in model) or (dataset is not None and target not in dataset):
            raise DataError("pairs.no_pair", text=str(text)[:80])
        if source in found:
            raise DataError("pairs.two_targets", name=source, first=found[source], second=target)
        found[source] = target
    return found


def box(kept: object, store: Store | None, dataset: object, typed: list[str], model: object) -> Any:
    """The box of pairs as it should be now: hidden where there is nothing to choose. Arguments as for :func:`offered`."""
    choices, value = offered(kept, store, dataset, typed, model)
    return gr.Dropdown(choices=choices, value=value, visible=bool(choices))


def offered(kept: object, store: Store | None, dataset: object, typed: list[str], model: object) -> tuple[list[str], list[str]]:
    """The pairs that there are, and those that are chosen; none where all names are the same, or not known.

    Args:
        kept: of :func:`mapping_state`.
        store: of the visitor, or None where nothing is stored.
        dataset: key of the chosen one.
        typed: class names of a new one.
        model: id of the model.
    """
    labels, names = labels_of(store, dataset, typed), known_names(model)
    left, right = unmatched(names, things(labels)) if labels is not None else ([], [])
    if not left or not right or len(left) * len(things(labels)) > MOST_PAIRS:
        return [], []
    # A class that has its namesake may take others in besides: bus and truck → vehicle.
    choices = [f"{source}{ARROW}{target}" for source in left for target in things(labels)]
    chosen = remembered(kept, dataset, menu_key(model))
    chosen = suggestion(names, things(labels)) if chosen is None else chosen
    return choices, [pair for pair in (f"{source}{ARROW}{target}" for source, target in chosen.items()) if pair in choices]


def menu_key(model: object) -> str:
    """A model's id as the menu writes it, so that a choice is found again however the model was asked for."""
    try:
        return catalog.resolve(model if isinstance(model, str) else "", local_folders=False).key
    except SegDemoError:
        return str(model)[:120]

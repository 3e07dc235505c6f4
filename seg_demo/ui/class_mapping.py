"""Class mapping: what the classes of a model become in a dataset that calls them otherwise, such as cell → coin.

Classes of the same name go together by themselves. For the others the page shows one box of pairs; what was chosen there is
remembered in the visitor's browser, for each dataset and model.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from seg_demo.datasets import Store
from seg_demo.datasets.classes import clean_names, label_set
from seg_demo.datasets.drawing import same_name
from seg_demo.errors import DataError, SegDemoError
from seg_demo.models import catalog, hub
from seg_demo.models.class_names import labels_in
from seg_demo.types import LabelSet
from seg_demo.ui import menu

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
            return [name for name in spec.labels if same_name(name) != "background"]
        folder = hub.cached(spec, token=catalog.on_menu(spec))
        return [name for name in (labels_in(folder) if folder else ()) if same_name(name) != "background"]
    except SegDemoError:
        return []


def things(labels: LabelSet) -> list[str]:
    """The classes of a dataset without its background."""
    return [name for index, name in enumerate(labels.names) if index != labels.background]


def labels_of(store: Store | None, dataset: object, typed: list[str]) -> LabelSet | None:
    """The classes of the dataset that a picture would be opened for; None if it takes those of the model."""
    try:
        if store is not None and isinstance(dataset, str) and dataset in {each.key for each in store.list()}:
            return store.open(dataset).labels
        return label_set(clean_names(typed)) if typed else None
    except SegDemoError:
        return None


def unmatched(model: list[str], dataset: list[str]) -> tuple[list[str], list[str]]:
    """The classes of either side that the other has not.

    >>> unmatched(["cell", "border"], ["Coin", "Border"])
    (['cell'], ['Coin'])
    """
    here, there = {same_name(name) for name in model}, {same_name(name) for name in dataset}
    return [name for name in model if same_name(name) not in there], [name for name in dataset if same_name(name) not in here]


def suggestion(model: list[str], dataset: list[str]) -> dict[str, str]:
    """What is chosen before anybody has chosen: the pair, where either side has one class left that is no helper.

    >>> suggestion(["cell", "border"], ["coin"]), suggestion(["cell"], ["coin", "note"]), suggestion(["car", "bus"], ["truck"])
    ({'cell': 'coin'}, {}, {})
    """
    left, right = unmatched(model, dataset)
    left, right = ([name for name in side if same_name(name) not in HELPERS] for side in (left, right))
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
            raise DataError(f"{str(text)[:80]!r} does not pair a class of the model with one of the dataset. Choose it from the list.")
        if source in found:
            raise DataError(f"The class {source!r} cannot become both {found[source]!r} and {target!r}. Remove one of them.")
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
        return menu.key(catalog.resolve(model if isinstance(model, str) else "", local_folders=False))
    except SegDemoError:
        return str(model)[:120]

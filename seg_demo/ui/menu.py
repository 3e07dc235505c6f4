"""The menu as the page shows it: choices with what is available now, a note on the chosen model, a card for each."""

from __future__ import annotations

import html
import math

import gradio as gr

from seg_demo.errors import ModelNotFoundError
from seg_demo.models import catalog
from seg_demo.networks import NETWORKS
from seg_demo.settings import settings
from seg_demo.types import ModelSpec
from seg_demo.ui.i18n import ABOUT_ZH, TITLES_ZH, language_of, words
from seg_demo.ui.work import agreement

SAMPLE_CLASSES = 6
# Of the weight files that are not here: nvidia's repositories and torchvision's own table (``_file_size``).
PUBLISHED_SIZES = {
    "nvidia/segformer-b0-finetuned-ade-512-512": "15 MB",
    "nvidia/segformer-b2-finetuned-ade-512-512": "110 MB",
    "nvidia/segformer-b0-finetuned-cityscapes-1024-1024": "15 MB",
    "fcn-resnet50-voc": "135 MB",
    "maskrcnn-v2-coco": "177 MB",
}


def specs(task: str | None = None) -> list[ModelSpec]:
    """The models on the menu, of one task or of all."""
    return [spec for spec in catalog.menu(settings()) if task in (None, spec.task)]


def key(spec: ModelSpec) -> str:
    """The id by which a menu entry is asked for."""
    return spec.id if spec.revision is None else f"{spec.id}@{spec.revision}"


def availability() -> dict[str, bool]:
    """Menu key -> whether it can be used now. At most a few seconds, and remembered for the next visitor."""
    return {row["id"]: row["available"] for row in catalog.describe()}


def title(spec: ModelSpec, language: str) -> str:
    """What a model is called on the page."""
    return TITLES_ZH.get(spec.id, spec.title) if language == "zh" else spec.title


def choices(task: str, ready: dict[str, bool] | None = None, language: str = "en") -> list[tuple[str, str]]:
    """(text, id) for the picker; ○ marks what cannot be reached, nothing is marked while that is not known."""
    known = ready or {}
    marks = {spec: "" if known.get(key(spec), True) else "○ " for spec in specs(task)}
    return [(mark + title(spec, language), key(spec)) for spec, mark in marks.items()]


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
        return gr.Dropdown(choices=[choice for task in tasks for choice in choices(task, ready, language)])

    tab.select(anew, None, picker, queue=False, api_visibility="private", show_progress="hidden")


def at_first(task: str) -> str:
    """The id that is selected before it is known what can be reached: the first that needs no network."""
    menu = specs(task)
    return next((key(spec) for spec in menu if spec.source in ("bundled", "builtin")), key(menu[0]) if menu else "")


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
    return key(known[0]) if known else ""


def about(spec: ModelSpec, language: str) -> str:
    """One or two sentences: what the model is good at."""
    return ABOUT_ZH.get(spec.id, spec.about) if language == "zh" else spec.about


def class_sample(spec: ModelSpec, language: str) -> str:
    """The classes in a few words: all of them, or how many and the first ones. Background is no class to look for.

    Of a class with synonyms (ADE20K: "building, edifice") the first is enough.
    """
    names = [name for name in spec.labels if name.lower() not in ("background", "n/a", "__background__")]
    listed = words("separator", language).join(name.split(",")[0] for name in names[:SAMPLE_CLASSES])
    if len(names) <= SAMPLE_CLASSES:
        return listed
    return words("more_classes", language).format(count=len(names)) + listed + " …"


def note(identity: object, language: str) -> str:
    """HTML below the picker: what the chosen model is good at, its classes and its licence. Everything is escaped."""
    spec = next((spec for spec in specs() if key(spec) == identity), None)
    if spec is None:
        return f'<p class="note">{html.escape(words("typed" if identity else "no_model", language))}</p>'
    parts = [about(spec, language)]
    if spec.source != "builtin":
        if spec.labels:
            sample = class_sample(spec, language)
            parts.append(words("knows", language) + sample + ("" if sample.endswith("…") else words("stop", language)))
        parts.append(words("licence", language) + words("colon", language) + (spec.licence or words("unstated", language)))
    return f'<p class="note">{html.escape(("" if language == "zh" else " ").join(part for part in parts if part))}</p>'


def card(spec: ModelSpec, ready: bool, language: str) -> str:
    """One model as an HTML article. Everything is escaped."""
    rows = [
        ("network", NETWORKS[spec.architecture].title if spec.architecture in NETWORKS else ""),
        ("classes", class_sample(spec, language) if spec.source != "builtin" else ""),
        ("licence", spec.licence or words("unstated", language)),
        ("source", words("source_" + spec.source, language)),
        ("size", size_of(spec)),
        ("precision", precision_of(spec, language)),
    ]
    facts = "".join(
        f"<dt>{html.escape(words(key, language))}</dt><dd>{html.escape(value)}</dd>" for key, value in rows if value
    )
    state = words("ready" if ready else "unreachable", language)
    return (
        f'<article><span class="state{" on" if ready else ""}">{html.escape(state)}</span><h3>{html.escape(title(spec, language))}</h3>'
        f"<code>{html.escape(key(spec))}</code><p>{html.escape(about(spec, language))}</p><dl>{facts}</dl></article>"
    )


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

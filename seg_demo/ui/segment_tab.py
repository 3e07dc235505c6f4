"""The tabs with networks, one per task that networks answer; the tab in which an image falls into regions without any; and the tab that
says what each model is, and when to choose which.
"""

from __future__ import annotations

import html
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from seg_demo.core import AUTO, REGION, TASKS, THRESHOLDS, BadRequestError, Options, Task, check_threshold, check_thresholds
from seg_demo.gateway.queue import QUIET, UNQUEUED, in_words, predictor, rendering, work_limits
from seg_demo.gateway.visitor import Photo, Upload
from seg_demo.masks.regions import METHODS, Parameter
from seg_demo.ui import menu
from seg_demo.ui.components import Either, Outcome, Slider, ViewStrip, detail_box, examples, follow_file, image_box, language_of, looks_box, outcome, reporting, t, task_words, viewed
from seg_demo.ui.results import CachedResult, Result, preview_of

CELL_PICTURES = ("coins.png", "nuclei.jpg", "cell.png", "tissue.jpg")
EVERYDAY_PICTURES = ("coffee.jpg", "cat.jpg", "astronaut.jpg", "rocket.jpg")


@dataclass(frozen=True)
class NetworkTab:
    """What the page's load event fills in.

    Attributes:
        task: what its models answer.
        model: the picker.
        note: what the chosen model knows.
        everyday: the examples that only a model of everyday things understands.
        shown: the right-hand side.
    """

    task: Task
    model: gr.Dropdown
    note: gr.HTML
    everyday: gr.Column
    shown: Outcome

    @property
    def outputs(self) -> list[Any]:
        """Where the values of :meth:`opened` go."""
        return [self.model, self.note, self.everyday]

    def opened(self, ready: dict[str, bool], language: str) -> list[Any]:
        """The tab as it opens: what is available now, and the model that suits best.

        Args:
            ready: menu key -> whether it can be used now.
            language: ``en`` or ``zh``.
        """
        spec = menu.best(self.task.name)
        chosen = spec.key if spec else None
        picker = gr.Dropdown(choices=menu.choices(self.task.name, ready=ready, language=language), value=chosen)
        return [picker, menu.note(chosen, language, ready), gr.Column(visible=ready.get(menu.everyday(self.task.name), False))]


def network_tab(task: Task) -> NetworkTab:
    """Build the tab in the current Blocks.

    Args:
        task: what its models answer.
    """
    name = task.name
    first = menu.at_first(name)
    gr.Markdown(task_words(task)[1], elem_classes="lead")
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=4, min_width=280, elem_classes="controls"):
            photo = image_box(name)
            model = gr.Dropdown(
                choices=menu.choices(name), value=first, allow_custom_value=True, filterable=True,
                label=t("model"), info=t("model_info"), elem_id=f"{name}-model", render=False,
            )  # fmt: skip
            with gr.Column(visible=False, elem_classes="examples") as everyday:
                examples(EVERYDAY_PICTURES, menu.everyday(name), photo, model, t("examples_everyday"), f"{name}-everyday")
            # Pictures for the models that come along: what knows everyday things alone has no cells to find.
            with gr.Column(visible=getattr(menu.spec_of(first), "source", "") == "bundled", elem_classes="examples"):
                examples(CELL_PICTURES, first, photo, model, t("examples_cells"), f"{name}-cells")
            model.render()
            note = gr.HTML(menu.note(first, "en"), elem_id=f"{name}-note")
            threshold = Slider(
                0, 1, 0.5, step=0.01, label=t("threshold"), info=t("threshold_info" if task.scores else "threshold_score_info"),
                visible=task.scores or task.stuff, elem_id=f"{name}-threshold",
            )  # fmt: skip
            detail, looks = detail_box(name), looks_box(name, visible=task.classes and menu.looks_again(first))
            tuned = advanced(name) if task.stuff else []
            run = gr.Button(t("run"), variant="primary", elem_id=f"{name}-run")
        with gr.Column(scale=9, min_width=300, elem_classes="outcome"):
            strip = ViewStrip(elem_id=f"{name}-view")
            shown = outcome(name, task, correctable=True)
    connect(task, photo, strip, model, note, threshold, detail, looks, tuned, run, shown)
    return NetworkTab(task, model, note, everyday, shown)


def advanced(tab: str) -> list[gr.Textbox]:
    """The thresholds of segments that do not overlap, in the order of :data:`THRESHOLDS`; an empty box is the model's own. (gradio's
    number box shows 0 where it is empty.)

    Args:
        tab: its id.
    """
    with gr.Accordion(t("advanced"), open=False, elem_id=f"{tab}-advanced"):
        gr.Markdown(t("advanced_info"), elem_classes="note")
        with gr.Row():
            return [
                gr.Textbox(
                    label=t(f"threshold_{name}"), info=t(f"threshold_{name}_info"), placeholder=t("threshold_own"), max_length=8,
                    min_width=90, elem_id=f"{tab}-threshold-{name}",
                )
                for name in THRESHOLDS
            ]  # fmt: skip


def connect(
    task: Task,
    photo: Photo,
    strip: ViewStrip,
    model: gr.Dropdown,
    note: gr.HTML,
    threshold: Slider,
    detail: gr.Radio,
    looks: gr.Radio,
    tuned: list[gr.Textbox],
    run: gr.Button,
    shown: Outcome,
) -> None:
    """A new picture, another model, detail or number of looks, or the button runs the network on the view that the strip holds; the slider only filters, and
    other thresholds are answered from what is kept of the network's outputs."""
    follow_file(strip, photo)
    asked = [photo, strip, model, threshold, detail, shown.result, gr.State(task.name), looks, *tuned]
    # One event, not four: what is asked while it runs is one more run at most, with what is chosen by then.
    done = gr.on(
        [photo.change, model.input, detail.input, looks.input, run.click], viewed(run_network), asked, shown.outputs, api_visibility="private",
        show_progress_on=shown.viewer, trigger_mode="always_last", js=shown.begins, **work_limits(),
    )  # fmt: skip
    shown.clear_after_failure(done)
    shown.cancellable(done)
    if tuned:
        moved = gr.on(
            [event for box in tuned for event in (box.submit, box.blur)], viewed(retune), asked, shown.outputs, api_visibility="private",
            show_progress_on=shown.viewer, trigger_mode="always_last", **work_limits(),
        )  # fmt: skip
        shown.cancellable(moved)
        slid = threshold.input(
            viewed(slide), asked, [*shown.outputs, tuned[0]], api_visibility="private", show_progress_on=shown.viewer, trigger_mode="always_last",
            **work_limits(),
        )  # fmt: skip
        shown.cancellable(slid)
        for answered in (done, moved):
            answered.then(score_of, [shown.result, threshold], threshold, **UNQUEUED)
    else:
        filtering: dict[str, Any] = {**QUIET, "concurrency_limit": 4, "concurrency_id": "filter"}
        threshold.input(refilter, [shown.result, threshold], shown.outputs, trigger_mode="always_last", **filtering)
        if task.scores:
            done.success(overtaken, [shown.result, threshold], shown.outputs, **filtering)
    model.change(describe, model, note, **UNQUEUED).then(look, model, note, **UNQUEUED)
    if task.classes:
        model.change(offer_looks, model, looks, **UNQUEUED)


@in_words
def run_network(
    upload: Upload | None,
    model: object,
    threshold: object,
    detail: object,
    before: Result | None = None,
    preferred: str = AUTO,
    looks: object = 1,
    score: object = None,
    mask: object = None,
    overlap: object = None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> tuple[Result | None, Result | None]:
    """A visitor's picture through the chosen model; every candidate is kept, so that the threshold can move later.

    What was answered a moment ago is not computed again: choosing a model or full detail runs the network by itself, and
    whoever then clicks on the button too has asked twice. Where only score, mask and overlap have changed, no network runs if
    its outputs are still there.
    """
    return _answered(upload, model, threshold, detail, before, preferred, looks, typed(score, mask, overlap), progress)


def _answered(
    upload: Upload | None, model: object, threshold: object, detail: object, before: Result | None, preferred: str, looks: object,
    thresholds: dict[str, object], progress: gr.Progress,
) -> tuple[Result | None, Result | None]:  # fmt: skip
    """What :func:`run_network` answers."""
    if upload is None:
        return None, None
    if not model:
        raise BadRequestError("requests.no_model")
    # What was chosen before this model was, and is not offered with it.
    looks = looks if menu.looks_again(model) else 1
    options = Options(threshold, detail, confidence=True, preferred=preferred, thresholds=thresholds, view=upload.view, looks=looks)
    asked = model, options.detail, preferred, options.looks, *options.thresholds.items()
    if before is not None and before.answers(upload, *asked):
        again = before.at(options.threshold)
        return again, again
    with predictor().work(upload.path, model, options=options, report=reporting(progress)) as work:
        kept = before.kept_of(upload, *asked[:4]) if before is not None and before.asked != asked else None
        found = work.again(kept) if kept is not None else None
        preview = before.preview if found is not None else preview_of(work.picture.pixels)
        result = Result(upload, CachedResult(found or work.segment()), options.threshold, preview, asked=asked)
    return result, result


def typed(*boxes: object) -> dict[str, object]:
    """The thresholds of boxes in the order of :data:`THRESHOLDS`, as numbers where they are such; without the empty ones.

    >>> typed("0,8", "", None)
    {'score': 0.8}
    """
    chosen: dict[str, object] = {}
    for name, text in zip(THRESHOLDS, boxes, strict=True):
        if plain := str(text or "").strip().replace(",", "."):
            chosen[name] = plain
            with suppress(ValueError):
                chosen[name] = float(plain)
    return chosen


@in_words
def retune(
    upload: Upload | None,
    model: object,
    threshold: object,
    detail: object,
    before: Result | None,
    preferred: str,
    looks: object,
    score: object,
    mask: object,
    overlap: object,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> tuple[Any, Any]:
    """The session's result at other thresholds; nothing where there is none, or a box was left as it was."""
    thresholds = typed(score, mask, overlap)
    if before is None or tuple(check_thresholds(thresholds).items()) == before.asked[4:]:
        return gr.skip(), gr.skip()
    return _answered(upload, model, threshold, detail, before, preferred, looks, thresholds, progress)


@in_words
def slide(
    upload: Upload | None,
    model: object,
    threshold: object,
    detail: object,
    before: Result | None,
    preferred: str,
    looks: object,
    score: object,
    mask: object,
    overlap: object,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> tuple[Any, Any, Any]:
    """The session's result at the score of the slider, which the box is then filled with."""
    chosen = f"{check_threshold(threshold):g}"
    if before is None:
        return gr.skip(), gr.skip(), chosen
    return *_answered(upload, model, threshold, detail, before, preferred, looks, typed(chosen, mask, overlap), progress), chosen


def score_of(result: Result | None, threshold: object) -> Any:
    """Where the slider belongs: at the score that the result was made with, which is the model's own where none was asked for."""
    with suppress(BadRequestError):
        used = None if result is None else result.shown.thresholds.get("score")
        return gr.skip() if used is None or used == threshold else used
    return gr.skip()


@in_words
def refilter(result: Result | None, threshold: object) -> tuple[Result | None, Result | None]:
    """The session's result at another threshold."""
    wanted = check_threshold(threshold)
    filtered = result and result.at(wanted)
    if filtered is not None:
        with rendering():
            _ = filtered.ids  # painted here, and not by the viewer, where nothing bounds how many are at the same time
    return filtered, filtered


def overtaken(result: Result | None, threshold: object) -> tuple[Any, Any]:
    """The session's result at the threshold that the slider was moved to while the network ran; nothing where it was left alone."""
    if result is None or result.threshold == threshold:
        return gr.skip(), gr.skip()
    return refilter(result, threshold)


def describe(model: object, request: gr.Request) -> str:
    """The note below the picker."""
    return menu.note(model, language_of(request), menu.availability())


def offer_looks(model: object) -> Either:
    """The number of looks, where it is any choice with the model."""
    return Either.offered(menu.looks_again(model), 1)


def look(model: object, request: gr.Request) -> Any:
    """What the repository of a model that was typed holds, below the picker."""
    found = menu.looked_at(model, language_of(request))
    return gr.skip() if found is None else found


PICTURES = ("coins.png", "coffee.jpg", "galaxies.jpg", "astronaut.jpg", "cat.jpg")
FIRST = "watershed"


def regions_tab() -> tuple[gr.HTML, Outcome]:
    """Build the tab in the current Blocks.

    Returns:
        The note on the method, which the page's load event writes in the visitor's language; and the right-hand side.
    """
    gr.Markdown(t("regions_lead"), elem_classes="lead")
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=4, min_width=280, elem_classes="controls"):
            photo = image_box("regions")
            with gr.Column(elem_classes="examples"):
                examples(PICTURES, None, photo, None, t("examples_regions"), "regions-examples")
            method = gr.Radio(
                [(t(name), name) for name in METHODS],
                value=FIRST,
                label=t("method"),
                elem_id="regions-method",
            )
            note = gr.HTML(menu.note(FIRST, "en"), elem_id="regions-note")
            rows = {}
            knobs = []
            for name, row in METHODS.items():
                with gr.Column(visible=name == FIRST, elem_classes="controls") as rows[name]:
                    knobs += [knob(name, parameter) for parameter in row.parameters]
            run = gr.Button(t("run"), variant="primary", elem_id="regions-run")
        with gr.Column(scale=9, min_width=300, elem_classes="outcome"):
            strip = ViewStrip(elem_id="regions-view")
            shown = outcome("regions", REGION, correctable=True)
    follow_file(strip, photo)
    moved = [knob.release if isinstance(knob, Slider) else knob.input for knob in knobs]
    # One event: what is asked while it runs is one more run at most, with what is chosen by then.
    done = gr.on(
        [photo.change, method.input, run.click, *moved], viewed(run_method), [photo, strip, method, *knobs, shown.result], shown.outputs,
        api_visibility="private", show_progress_on=shown.viewer, trigger_mode="always_last", js=shown.begins, **work_limits(),
    )  # fmt: skip
    shown.clear_after_failure(done)
    shown.cancellable(done)
    method.change(choose, method, [note, *rows.values()], **UNQUEUED)
    return note, shown


def knob(method: str, parameter: Parameter) -> Slider | gr.Radio:
    """The control of one parameter: a slider, or three choices where there are only three values."""
    key = f"{method}_{parameter.name}"
    if (parameter.max - parameter.min) / parameter.step == 2:
        names = [(t("objects_dark"), -1), (t("objects_auto"), 0), (t("objects_bright"), 1)]
        return gr.Radio(names, value=parameter.default, label=t(key), elem_id=f"regions-{key}")
    return Slider(
        parameter.min,
        parameter.max,
        parameter.default,
        step=parameter.step,
        label=t(key),
        info=t(key + "_help"),
        elem_id=f"regions-{key}",
    )


@in_words
def run_method(upload: Upload | None, method: object, *values: Any) -> tuple[Result | None, Result | None]:
    """A visitor's picture through one method with the values of its controls; what was answered a moment ago is that again.

    Args:
        upload: the picture.
        method: key of ``METHODS``.
        values: of the controls of all methods in their order, and the session's result.
    """
    if upload is None:
        return None, None
    if method not in METHODS:
        raise BadRequestError("regions.no_such_method", method=str(method)[:40], names=", ".join(METHODS))
    *chosen, before = values
    keys = [(name, parameter.name) for name, row in METHODS.items() for parameter in row.parameters]
    parameters = {parameter: value for (name, parameter), value in zip(keys, chosen, strict=True) if name == method}
    if before is not None and before.answers(upload, method, *parameters.values()):
        return before, before
    with predictor().work(upload.path, method, options=Options(parameters=parameters, view=upload.view)) as work:
        result = Result(upload, CachedResult(work.segment()), 0.0, preview_of(work.picture.pixels), asked=(method, *parameters.values()))
    return result, result


def choose(method: object, request: gr.Request) -> list[Any]:
    """The note on a method, and only its controls shown."""
    return [menu.note(method, language_of(request)), *(gr.Column(visible=name == method) for name in METHODS)]


# (English name, English advice), the same in Chinese: which family for which need.
CHOOSE = (
    (
        ("U-Net", "Little data, fine structures: cells, roads from above, defects. Twenty annotated images are a start."),
        ("U-Net", "数据少、结构细：细胞、航拍道路、缺陷。二十张标注好的图片即可开始。"),
    ),
    (
        ("SegFormer", "Whole scenes: streets, rooms, landscapes. It looks at the entire picture and knows many classes."),
        ("SegFormer", "完整场景：街道、室内、风景。能看到整张图片，认识的类别多。"),
    ),
    (
        (
            "Mask R-CNN",
            "Things to count: people, cars, animals, coins. Each gets its own mask and score, also where they overlap.",
        ),
        ("Mask R-CNN", "需要计数的对象：人、车、动物、硬币。即使重叠，每个也有自己的掩膜与得分。"),
    ),
    (
        ("U-Net with watershed", "Many things that touch: nuclei, cells, seeds, grains, any number of them. None lies upon another."),
        ("U-Net + 分水岭", "大量相互接触的对象：细胞核、细胞、种子、颗粒，数量不限，互不重叠。"),
    ),
    (
        ("Mask2Former, EoMT", "Whole scenes with their things counted: what is everything here, and how many of each?"),
        ("Mask2Former、EoMT", "完整场景并逐个计数：这里都有什么，各有多少？"),
    ),
    (
        ("Click", "One thing that you can point at, in any picture: it is outlined where you click."),
        ("点选", "任何图片中可以指出的一个对象：点击即勾勒其轮廓。"),
    ),
    (
        ("FCN", "A simple, well-known network with the twenty Pascal VOC classes, useful for comparison."),
        ("FCN", "经典网络，认识二十个 Pascal VOC 类别，适合作为比较基准。"),
    ),
    (
        ("Regions", "No classes: it only finds where one thing ends and the next begins. No weights to download, quick on any machine."),
        ("区域分割", "没有类别，只找出区域之间的边界。无需下载权重，任何机器上都很快。"),
    ),
)


def models_tab(tab: gr.Tab) -> gr.HTML:
    """Build the tab in the current Blocks; its content is written when the page opens, and anew when the tab is.

    Args:
        tab: this one.
    """
    shown = gr.HTML(cards({}, "en"), elem_id="models-cards")
    tab.select(now, None, shown, **UNQUEUED)
    return shown


def now(request: gr.Request) -> str:
    """The cards of the visitor's menu, with what can be reached."""
    return cards(menu.availability(), language_of(request))


def cards(ready: dict[str, bool], language: str) -> str:
    """The tab's HTML: advice, then for each kind of segmentation a card per model. Everything is escaped.

    Args:
        ready: menu key -> whether it can be used now; a missing one counts as not.
        language: ``en`` or ``zh``.
    """
    column = 1 if language == "zh" else 0
    advice = "".join(
        f"<div><dt>{html.escape(row[column][0])}</dt><dd>{html.escape(row[column][1])}</dd></div>" for row in CHOOSE
    )
    families = "".join(_kind(task, ready, language) for task in TASKS.values())
    return f'<dl class="choose">{advice}</dl>{families}'


def _kind(task: Task, ready: dict[str, bool], language: str) -> str:
    """The models that were made for one kind under a heading; nothing if the menu has none."""
    made = [spec for spec in menu.specs(task.name) if spec.task == task.name]
    articles = "".join(menu.card(spec, ready.get(spec.key, False), language) for spec in made)
    if not articles:
        return ""
    name, lead = map(html.escape, task_words(task, language))
    return f'<h2 class="family">{name}</h2><p>{lead}</p><div class="cards">{articles}</div>'

"""The tab in which an image falls into regions without any network."""

from __future__ import annotations

from typing import Any

import gradio as gr

from seg_demo.errors import BadRequestError
from seg_demo.inputs.images import read
from seg_demo.masks.region_methods import METHODS, Parameter
from seg_demo.models.admission import is_large
from seg_demo.ui import menu
from seg_demo.ui.bench import examples, image_box, outcome
from seg_demo.ui.i18n import language_of, t
from seg_demo.ui.kept import Kept
from seg_demo.ui.results import Result, preview_of
from seg_demo.ui.slider import Slider
from seg_demo.ui.uploads import Upload
from seg_demo.ui.work import in_words, predictor, work_limits

PICTURES = ("coins.png", "coffee.jpg", "galaxies.jpg", "astronaut.jpg", "cat.jpg")
FIRST = "watershed"


def regions_tab() -> gr.HTML:
    """Build the tab in the current Blocks.

    Returns:
        The note on the method, which the page's load event writes in the visitor's language.
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
            shown = outcome("regions")
    moved = [each.release if isinstance(each, Slider) else each.input for each in knobs]
    # One event: what is asked while it runs is one more run at most, with what is chosen by then.
    done = gr.on(
        [photo.change, method.input, run.click, *moved], run_method, [photo, method, *knobs, shown.result], shown.outputs,
        api_visibility="private", show_progress_on=shown.viewer, trigger_mode="always_last", js=shown.begins, **work_limits(),
    )  # fmt: skip
    shown.clear_after_failure(done)
    shown.cancellable(done)
    method.change(choose, method, [note, *rows.values()], api_visibility="private", show_progress="hidden", queue=False)
    return note


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
        raise BadRequestError(f"There is no region method {str(method)[:40]!r}. Choose one of {', '.join(METHODS)}.")
    *chosen, before = values
    keys = [(name, parameter.name) for name, row in METHODS.items() for parameter in row.parameters]
    parameters = {parameter: value for (name, parameter), value in zip(keys, chosen, strict=True) if name == method}
    if before is not None and before.answers(upload, method, *parameters.values()):
        return before, before
    with predictor().work(large=is_large(upload.path)):
        picture = read(upload.path)
        found = Kept(predictor().segment_regions(picture, method, parameters))
        result = Result(upload, found, 0.0, preview_of(picture.pixels), asked=(method, *parameters.values()))
    return result, result


def choose(method: object, request: gr.Request) -> list[Any]:
    """The note on a method, and only its controls shown."""
    return [menu.note(method, language_of(request)), *(gr.Column(visible=name == method) for name in METHODS)]

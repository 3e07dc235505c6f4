"""The two tabs with networks: every pixel gets a class (semantic), or every object its own mask (instance)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from seg_demo.errors import BadRequestError
from seg_demo.inputs.images import read
from seg_demo.models.admission import is_large
from seg_demo.ui import menu
from seg_demo.ui.bench import Outcome, examples, image_box, outcome
from seg_demo.ui.i18n import language_of, t
from seg_demo.ui.i18n_errors import spoken
from seg_demo.ui.kept import Kept
from seg_demo.ui.results import Result, preview_of
from seg_demo.ui.slider import Slider
from seg_demo.ui.uploads import Photo, Upload
from seg_demo.ui.work import aside, detail_of, in_words, predictor, score_threshold, work_limits

CELL_PICTURES = ("coins.png", "nuclei.jpg", "cell.png", "tissue.jpg")
EVERYDAY_PICTURES = ("coffee.jpg", "cat.jpg", "astronaut.jpg", "rocket.jpg")


@dataclass(frozen=True)
class NetworkTab:
    """What the page's load event fills in.

    Attributes:
        task: ``semantic`` or ``instance``.
        model: the picker.
        note: what the chosen model knows.
        everyday: the examples that only a model of everyday things understands.
        shown: the right-hand side.
    """

    task: str
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
        spec = menu.best(self.task)
        chosen = menu.key(spec) if spec else None
        picker = gr.Dropdown(choices=menu.choices(self.task, ready, language), value=chosen)
        return [picker, menu.note(chosen, language), gr.Column(visible=ready.get(menu.everyday(self.task), False))]


def network_tab(task: str) -> NetworkTab:
    """Build the tab in the current Blocks.

    Args:
        task: ``semantic`` or ``instance``.
    """
    first = menu.at_first(task)
    gr.Markdown(t(f"{task}_lead"), elem_classes="lead")
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=4, min_width=280, elem_classes="controls"):
            photo = image_box(task)
            model = gr.Dropdown(
                choices=menu.choices(task), value=first, allow_custom_value=True, filterable=True,
                label=t("model"), info=t("model_info"), elem_id=f"{task}-model", render=False,
            )  # fmt: skip
            with gr.Column(visible=False, elem_classes="examples") as everyday:
                examples(EVERYDAY_PICTURES, menu.everyday(task), photo, model, t("examples_everyday"), f"{task}-everyday")
            with gr.Column(visible=bool(first), elem_classes="examples"):
                examples(CELL_PICTURES, first, photo, model, t("examples_cells"), f"{task}-cells")
            model.render()
            note = gr.HTML(menu.note(first, "en"), elem_id=f"{task}-note")
            threshold = Slider(
                0, 1, 0.5, step=0.01, label=t("threshold"), info=t("threshold_info"),
                visible=task == "instance", elem_id=f"{task}-threshold",
            )  # fmt: skip
            detail = gr.Radio(
                [(t("detail_whole"), "whole"), (t("detail_full"), "full")], value="whole", label=t("detail"),
                info=t("detail_info"), elem_id=f"{task}-detail",
            )  # fmt: skip
            run = gr.Button(t("run"), variant="primary", elem_id=f"{task}-run")
        with gr.Column(scale=9, min_width=300, elem_classes="outcome"):
            shown = outcome(task, correctable=True)
    connect(photo, model, note, threshold, detail, run, shown)
    return NetworkTab(task, model, note, everyday, shown)


def connect(
    photo: Photo,
    model: gr.Dropdown,
    note: gr.HTML,
    threshold: Slider,
    detail: gr.Radio,
    run: gr.Button,
    shown: Outcome,
) -> None:
    """A new picture, another model or detail, or the button runs the network; the slider only filters."""
    # One event, not four: what is asked while it runs is one more run at most, with what is chosen by then.
    done = gr.on(
        [photo.change, model.input, detail.input, run.click], run_network, [photo, model, threshold, detail, shown.result],
        shown.outputs, api_visibility="private", show_progress_on=shown.viewer, trigger_mode="always_last", js=shown.begins,
        **work_limits(),
    )  # fmt: skip
    shown.clear_after_failure(done)
    shown.cancellable(done)
    model.change(describe, model, note, api_visibility="private", show_progress="hidden", queue=False)
    threshold.input(
        refilter, [shown.result, threshold], shown.outputs, api_visibility="private", show_progress="hidden",
        trigger_mode="always_last", concurrency_limit=4, concurrency_id="filter",
    )  # fmt: skip


@in_words
def run_network(
    upload: Upload | None,
    model: object,
    threshold: object,
    detail: object,
    before: Result | None = None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> tuple[Result | None, Result | None]:
    """A visitor's picture through the chosen model; every candidate is kept, so that the threshold can move later.

    What was answered a moment ago is not computed again: choosing a model or full detail runs the network by itself, and
    whoever then clicks on the button too has asked twice.
    """
    if upload is None:
        return None, None
    if not model:
        raise BadRequestError("No model is chosen. Choose one from the menu, or type a Hugging Face id such as user/repo.")
    wanted, closely = score_threshold(threshold), detail_of(detail)
    if before is not None and before.answers(upload, model, closely):
        again = before.at(wanted)
        return again, again

    def report(part: float | None, text: str) -> None:
        # gradio shows no words without a number: what has none (loading) follows a download, and finds the bar full.
        progress(1.0 if part is None else part, desc=spoken(text))

    with predictor().work(model, large=is_large(upload.path, closely), report=report):
        picture = read(upload.path)
        everything = predictor().segment_all(picture, model, report=report, detail=closely, confidence=True)
        result = Result(upload, Kept(everything), wanted, preview_of(picture.pixels), asked=(model, closely))
    return result, result


@in_words
def refilter(result: Result | None, threshold: object) -> tuple[Result | None, Result | None]:
    """The session's result at another threshold."""
    wanted = score_threshold(threshold)
    filtered = result and result.at(wanted)
    if filtered is not None:
        with aside():
            _ = filtered.ids  # painted here, and not by the viewer, where nothing bounds how many are at the same time
    return filtered, filtered


def describe(model: object, request: gr.Request) -> str:
    """The note below the picker."""
    return menu.note(model, language_of(request))

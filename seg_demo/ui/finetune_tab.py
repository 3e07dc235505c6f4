"""The tab in which a network learns a visitor's images: settings on the left, the job on the right, the Hub below it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import gradio as gr

from seg_demo.jobs.store import TRAIN
from seg_demo.settings import settings
from seg_demo.ui import finetune_work as work
from seg_demo.ui import menu
from seg_demo.ui.choice import Choice
from seg_demo.ui.finetune_view import idle
from seg_demo.ui.i18n import t
from seg_demo.ui.pushing import login_offered
from seg_demo.ui.slider import Slider
from seg_demo.ui.uploads import Files

REFRESH_SECONDS = 2.0
# What the note has that says that a push is on its way.
PUSHING = "data-pushing"

# Of requirements-train.txt, which a Space that only serves does not install.
NEEDED = ("accelerate", "datasets", "faster_coco_eval", "matplotlib", "tqdm", "yaml")


def offered() -> bool:
    """Whether visitors may fine-tune here: as the owner set it; by default everywhere but on Spaces, and only with train/."""
    chosen = settings().finetune
    return TRAIN.is_file() and (chosen == "on" or (chosen == "auto" and not os.environ.get("SPACE_ID")))


@dataclass(frozen=True)
class _Job:
    """The right-hand side: one job."""

    picker: Choice
    status: gr.HTML
    curves: gr.HTML
    verdict: gr.HTML
    samples: gr.Image
    log: gr.HTML
    stop: gr.Button
    resume: gr.Button
    use: gr.Button
    delete: gr.Button
    hub: gr.Accordion
    timer: gr.Timer
    download: gr.Button
    share: gr.Checkbox
    link: gr.DownloadButton
    lost: gr.HTML
    asked: gr.Column
    sure: gr.Button
    keep: gr.Button
    told: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """Where :func:`finetune_work.watch` writes."""
        return [
            self.status, self.curves, self.verdict, self.samples, self.log, self.stop, self.resume, self.use, self.delete,
            self.hub, self.timer, self.download, self.share,
        ]  # fmt: skip


def finetune_tab(page: gr.Blocks, tab: gr.Tab, visitor: gr.BrowserState, pickers: dict[str, gr.Dropdown]) -> None:
    """Build the tab in the current Blocks.

    Args:
        page: whose load event finds running jobs again.
        tab: this one; opening it reads the datasets anew.
        visitor: whose datasets they are.
        pickers: task → the picker of models that a new one joins.
    """
    gr.Markdown(t("finetune_lead"), elem_classes="lead")
    unusable = "finetune_off" if not offered() else "finetune_missing" if not all(map(find_spec, NEEDED)) else None
    if unusable:
        gr.Markdown(t(unusable), elem_id="finetune-off")
        return
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=4, min_width=280, elem_classes="controls"):
            inputs, draft = _settings()
            check = gr.Button(t("finetune_check"), elem_id="finetune-check")
            found = gr.HTML("", elem_id="finetune-findings")
            reading = gr.Radio(
                choices=[], value=None, visible=False, label=t("finetune_reading"), elem_id="finetune-reading"
            )
            with gr.Row():
                skip = gr.Button(t("finetune_skip"), visible=False, elem_id="finetune-skip")
                mend = gr.Button(t("finetune_mend"), visible=False, elem_id="finetune-mend")
            run = gr.Button(t("finetune_run"), variant="primary", elem_id="finetune-run")
        with gr.Column(scale=9, min_width=300):
            job = _job()
    mending = [found, draft, skip, mend]
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    heavy = {"concurrency_limit": 2, "concurrency_id": "finetune"}
    hidden = {"api_visibility": "undocumented"}
    looked = [
        check.click(work.check, [visitor, *inputs], mending, api_name="finetune_check", show_progress_on=found, **hidden, **heavy),
        skip.click(work.skip_bad, [visitor, draft], mending, api_name="finetune_skip", show_progress_on=found, **hidden, **heavy),
        mend.click(work.mend, [visitor, draft], mending, show_progress_on=found, api_visibility="private", **heavy),
        reading.input(
            work.choose, [visitor, draft, reading], mending, api_name="finetune_choose", show_progress_on=found, **hidden, **heavy
        ),
    ]
    began = run.click(
        work.start, [visitor, draft, *inputs], [*mending, job.picker], api_name="finetune_start", show_progress_on=found,
        **hidden, **heavy,
    )  # fmt: skip
    for event in (*looked, began):
        event.success(work.readings, [visitor, draft], reading, **quiet)
    began.success(work.watch, [visitor, job.picker], job.shown, **quiet)
    # Other settings are another draft.
    for each in inputs:
        each.change(lambda: "", None, draft, queue=False, **quiet)
    job.timer.tick(work.watch, [visitor, job.picker], job.shown, concurrency_limit=4, concurrency_id="watch", **quiet)
    job.picker.change(
        work.watch, [visitor, job.picker], job.shown, api_name="finetune_watch", show_progress="hidden", **hidden
    )
    for button, handler in ((job.stop, work.stop), (job.resume, work.resume)):
        button.click(handler, [visitor, job.picker], None, **quiet).success(
            work.watch, [visitor, job.picker], job.shown, **quiet
        )
    told, models = job.told, _hub(job, visitor)
    _deleting(job, visitor, quiet)
    packed = job.download.click(
        work.download, [visitor, job.picker], job.link, api_name="finetune_download", show_progress="minimal",
        concurrency_limit=2, concurrency_id="zips", **hidden,
    )  # fmt: skip
    packed.success(None, js="() => setTimeout(() => document.querySelector('#finetune-file').click(), 60)", **quiet)
    job.share.input(
        work.share, [visitor, job.picker, job.share], told, api_name="finetune_share", show_progress="hidden", **hidden
    )
    # What is said about one job is not left beside another.
    job.picker.change(lambda: "", None, told, queue=False, **quiet)
    job.use.click(
        work.use, [visitor, job.picker], [told, *pickers.values()], api_name="finetune_use", show_progress="hidden", **hidden
    ).success(work.watch, [visitor, job.picker], job.shown, **quiet)
    models(list(pickers.values()))
    base, dataset = inputs[:2]
    menu.follow(tab, base, "semantic", "instance")
    dataset.change(work.suggest, [visitor, dataset], base, **quiet)
    tab.select(work.datasets, [visitor, dataset], dataset, **quiet)
    page.load(work.datasets, [visitor, dataset], dataset, **quiet)
    page.load(work.jobs_of, visitor, job.picker, **quiet).then(work.watch, [visitor, job.picker], job.shown, **quiet)


def _settings() -> tuple[list[Any], gr.Textbox]:
    """What is trained on what and how: the inputs of :func:`finetune_work.start` in their order, and the draft's id."""
    choices = [*menu.choices("semantic"), *menu.choices("instance")]
    base = gr.Dropdown(
        choices=choices, value=menu.at_first("semantic"), allow_custom_value=True, filterable=True, label=t("finetune_base"),
        info=t("finetune_base_info"), elem_id="finetune-base",
    )  # fmt: skip
    dataset = Choice(
        choices=[], value=None, label=t("finetune_data"), info=t("finetune_data_info"), elem_id="finetune-dataset"
    )
    archive = Files(
        label=t("finetune_zip"), file_count="single", file_types=[".zip"], height=150, elem_id="finetune-zip"
    )
    steps = Slider(
        10, 3000, 300, step=10, label=t("finetune_steps"), info=t("finetune_steps_info"), elem_id="finetune-steps"
    )
    with gr.Accordion(t("finetune_more"), open=False, elem_id="finetune-more"):
        augment = gr.Radio(
            [(t(f"augment_{level}"), level) for level in ("none", "light", "strong")], value="strong",
            label=t("finetune_augment"), elem_id="finetune-augment",
        )  # fmt: skip
        lr = gr.Number(0, label=t("finetune_lr"), minimum=0, maximum=1, elem_id="finetune-lr")
        size = gr.Number(0, label=t("finetune_size"), minimum=0, maximum=1024, precision=0, elem_id="finetune-size")
        batch = Slider(1, 32, 4, step=1, label=t("finetune_batch"), elem_id="finetune-batch")
        share = Slider(0.05, 0.5, 0.25, step=0.05, label=t("finetune_held_out"), elem_id="finetune-held-out")
        replay = Slider(
            0, 0.75, 0.25, step=0.05, label=t("finetune_replay"), info=t("finetune_replay_info"), elem_id="finetune-replay"
        )
    draft = gr.Textbox("", visible=False)
    return [base, dataset, archive, steps, augment, lr, size, batch, share, replay], draft


def _job() -> _Job:
    """The job that is looked at."""
    picker = Choice(
        choices=[], value=None, label=t("finetune_job"), info=t("finetune_job_info"), visible=False, elem_id="finetune-job"
    )
    status = gr.HTML(idle("finetune", "en"), elem_id="finetune-status")
    with gr.Row():
        stop = gr.Button(t("finetune_stop"), visible=False, elem_id="finetune-stop")
        resume = gr.Button(t("finetune_resume"), visible=False, elem_id="finetune-resume")
        use = gr.Button(t("finetune_use"), visible=False, variant="primary", elem_id="finetune-use")
        download = gr.Button(t("finetune_download"), visible=False, elem_id="finetune-download")
        delete = gr.Button(t("finetune_delete"), visible=False, elem_id="finetune-delete")
    with gr.Column(visible=False, elem_id="finetune-asked") as asked:
        lost = gr.HTML("", elem_id="finetune-lost")
        with gr.Row():
            sure = gr.Button(t("finetune_delete_sure"), variant="stop", elem_id="finetune-delete-sure")
            keep = gr.Button(t("finetune_keep"), elem_id="finetune-keep")
    share = gr.Checkbox(
        False, label=t("finetune_share"), info=t("finetune_share_info"), visible=False, elem_id="finetune-share"
    )
    # Clicked by script as soon as the file is there: the visitor clicks once.
    link = gr.DownloadButton("", elem_id="finetune-file", elem_classes="download-link")
    # What became of what was asked for, below the buttons that ask.
    told = gr.HTML("", elem_id="finetune-told")
    verdict = gr.HTML("", elem_id="finetune-verdict")
    curves = gr.HTML("", elem_id="finetune-curves")
    samples = gr.Image(
        label=t("finetune_samples"), show_label=False, visible=False, interactive=False, format="png", buttons=["fullscreen"],
        elem_id="finetune-samples",
    )  # fmt: skip
    hub = gr.Accordion(t("push"), open=False, visible=False, elem_id="finetune-hub")
    log = gr.HTML("", elem_id="finetune-log")
    timer = gr.Timer(REFRESH_SECONDS, active=False)
    return _Job(
        picker, status, curves, verdict, samples, log, stop, resume, use, delete, hub, timer, download, share, link, lost, asked,
        sure, keep, told,
    )  # fmt: skip


def _deleting(job: _Job, visitor: gr.BrowserState, quiet: dict[str, Any]) -> None:
    """Deleting asks first, and says what is lost."""
    row = [job.asked, job.delete]
    job.delete.click(work.ask, [visitor, job.picker], [job.lost, *row], **quiet)
    job.keep.click(lambda: work.asking(False), None, row, queue=False, **quiet)
    gone = job.sure.click(work.delete, [visitor, job.picker], job.picker, api_name="finetune_delete", show_progress="hidden",
        api_visibility="undocumented")  # fmt: skip
    # gradio's ``then`` does not follow a failure.
    for event in (gone.success, gone.failure):
        event(lambda: gr.Column(visible=False), None, job.asked, queue=False, **quiet)
    job.picker.change(lambda: gr.Column(visible=False), None, job.asked, queue=False, **quiet)


def _hub(job: _Job, visitor: gr.BrowserState) -> Callable[[list[gr.Dropdown]], None]:
    """The push: a function that connects it with the pickers of models."""
    on_space = bool(os.environ.get("SPACE_ID"))
    with job.hub:
        if login_offered():
            gr.LoginButton()
        repo = gr.Textbox(label=t("push_repo"), info=t("push_repo_info"), max_lines=1, elem_id="push-repo")
        token = gr.Textbox(
            label=t("push_token"), info=t("push_token_info"), type="password", max_lines=1, elem_id="push-token",
            placeholder=None if on_space else t("push_token_local"),
        )  # fmt: skip
        private = gr.Checkbox(False, label=t("push_private"), elem_id="push-private")
        button = gr.Button(t("push_run"), variant="primary", elem_id="push-run")
        said = gr.HTML("", elem_id="finetune-pushed")

    def connect(pickers: list[gr.Dropdown]) -> None:
        pushed = button.click(
            work.push, [visitor, job.picker, repo, token, private], [said, token, *pickers], api_name="finetune_push",
            api_visibility="undocumented", show_progress="hidden", concurrency_limit=2, concurrency_id="push",
        )  # fmt: skip
        # A server that died, or a queue that was full, has said nothing: "Pushing …" does not stay.
        pushed.failure(None, said, said, js=f"(now) => String(now || '').includes({PUSHING!r}) ? '' : now", api_visibility="private")

    return connect

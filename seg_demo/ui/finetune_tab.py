"""The tab in which a network learns a visitor's images: settings on the left, the job on the right, the Hub below it.

What the handlers know lies on the disk, so that any server and any page finds it again.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import utils

from seg_demo.core import BadRequestError, SegDemoError, in_language, owner_of
from seg_demo.core.requests import of_key
from seg_demo.core.settings import settings
from seg_demo.datasets.store import visitor_store
from seg_demo.gateway.queue import QUIET, UNQUEUED, in_words, stream_in_words
from seg_demo.gateway.visitor import Files, login_offered, stem_of, store_file, token_for
from seg_demo.jobs import store
from seg_demo.jobs.job import DONE, RESUMABLE, RUNNING, Job
from seg_demo.jobs.store import TRAIN, Jobs
from seg_demo.serving import catalog
from seg_demo.ui import finetune_view as view
from seg_demo.ui import menu
from seg_demo.ui.components import Choice, Slider, language_of, t, words
from seg_demo.ui.finetune_view import idle

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
    train: gr.Button

    @property
    def shown(self) -> list[Any]:
        """Where :func:`finetune_work.watch` writes."""
        return [
            self.status, self.curves, self.verdict, self.samples, self.log, self.stop, self.resume, self.use, self.delete,
            self.hub, self.timer, self.download, self.share, self.train,
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
            with gr.Accordion(t("advise"), open=False, elem_id="finetune-compare"):
                gr.Markdown(t("advise_lead"))
                minutes = Slider(2, 120, 20, step=1, label=t("advise_minutes"), elem_id="finetune-minutes")
                compare = gr.Button(t("advise_run"), elem_id="finetune-advise")
        with gr.Column(scale=9, min_width=300):
            job = _job()
    mending = [found, draft, skip, mend]
    heavy = {"concurrency_limit": 2, "concurrency_id": "finetune"}
    hidden = {"api_visibility": "undocumented"}
    looked = [
        check.click(check_data, [visitor, *inputs], mending, api_name="finetune_check", show_progress_on=found, **hidden, **heavy),
        skip.click(skip_bad, [visitor, draft], mending, api_name="finetune_skip", show_progress_on=found, **hidden, **heavy),
        mend.click(mend_data, [visitor, draft], mending, show_progress_on=found, api_visibility="private", **heavy),
        reading.input(
            choose, [visitor, draft, reading], mending, api_name="finetune_choose", show_progress_on=found, **hidden, **heavy
        ),
    ]
    began = run.click(
        start, [visitor, draft, *inputs], [*mending, job.picker], api_name="finetune_start", show_progress_on=found,
        **hidden, **heavy,
    )  # fmt: skip
    begun = [*mending, job.picker]
    compared = compare.click(
        advise, [visitor, draft, *inputs, minutes], begun, api_name="finetune_advise", show_progress_on=found, **hidden, **heavy
    )
    trained = job.train.click(
        train_winner, [visitor, job.picker], begun, api_name="finetune_train", show_progress_on=found, **hidden, **heavy
    )
    for event in (*looked, began, compared):
        event.success(readings, [visitor, draft], reading, **QUIET)
    for event in (began, compared, trained):
        event.success(watch, [visitor, job.picker], job.shown, **QUIET)
    for event in (*looked, began, compared, trained):
        event.failure(None, None, found, js="() => window.segDemoReason()", api_visibility="private")
    # Other settings are another draft.
    for control in inputs:
        control.change(lambda: "", None, draft, **UNQUEUED)
    job.timer.tick(watch, [visitor, job.picker], job.shown, concurrency_limit=4, concurrency_id="watch", **QUIET)
    job.picker.change(
        watch, [visitor, job.picker], job.shown, api_name="finetune_watch", show_progress="hidden", **hidden
    )
    for button, handler in ((job.stop, stop), (job.resume, resume)):
        button.click(handler, [visitor, job.picker], None, **QUIET).success(
            watch, [visitor, job.picker], job.shown, **QUIET
        )
    told, models = job.told, _hub(job, visitor)
    _deleting(job, visitor)
    packed = job.download.click(
        download, [visitor, job.picker], job.link, api_name="finetune_download", show_progress="minimal",
        concurrency_limit=2, concurrency_id="zips", **hidden,
    )  # fmt: skip
    packed.success(None, js="() => setTimeout(() => document.querySelector('#finetune-file').click(), 60)", **QUIET)
    job.share.input(
        share, [visitor, job.picker, job.share], told, api_name="finetune_share", show_progress="hidden", **hidden
    )
    # What is said about one job is not left beside another.
    job.picker.change(lambda: "", None, told, **UNQUEUED)
    job.use.click(
        use, [visitor, job.picker], [told, *pickers.values()], api_name="finetune_use", show_progress="hidden", **hidden
    ).success(watch, [visitor, job.picker], job.shown, **QUIET)
    models(list(pickers.values()))
    base, dataset = inputs[:2]
    menu.follow(tab, base, *menu.learnt())
    dataset.change(suggest, [visitor, dataset], base, **QUIET)
    tab.select(datasets, [visitor, dataset], dataset, **QUIET)
    page.load(datasets, [visitor, dataset], dataset, **QUIET)
    page.load(job_picker, visitor, job.picker, **QUIET).then(watch, [visitor, job.picker], job.shown, **QUIET)


def _settings() -> tuple[list[Any], gr.Textbox]:
    """What is trained on what and how: the inputs of :func:`finetune_work.start` in their order, and the draft's id."""
    base = gr.Dropdown(
        choices=menu.choices(*menu.learnt()), value=menu.first_network(), allow_custom_value=True, filterable=True, label=t("finetune_base"),
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
        train = gr.Button(t("advise_train"), visible=False, variant="primary", elem_id="finetune-train")
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
        sure, keep, told, train,
    )  # fmt: skip


def _deleting(job: _Job, visitor: gr.BrowserState) -> None:
    """Deleting asks first, and says what is lost."""
    row = [job.asked, job.delete]
    job.delete.click(ask, [visitor, job.picker], [job.lost, *row], **QUIET)
    job.keep.click(lambda: asking(False), None, row, **UNQUEUED)
    gone = job.sure.click(delete, [visitor, job.picker], job.picker, api_name="finetune_delete", show_progress="hidden",
        api_visibility="undocumented")  # fmt: skip
    # gradio's ``then`` does not follow a failure.
    for event in (gone.success, gone.failure):
        event(lambda: gr.Column(visible=False), None, job.asked, **UNQUEUED)
    job.picker.change(lambda: gr.Column(visible=False), None, job.asked, **UNQUEUED)


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
            push, [visitor, job.picker, repo, token, private], [said, token, *pickers], api_name="finetune_push",
            api_visibility="undocumented", show_progress="hidden", concurrency_limit=2, concurrency_id="push",
        )  # fmt: skip
        # A server that died, or a queue that was full, has said nothing: "Pushing …" does not stay.
        pushed.failure(None, said, said, js=f"(now) => String(now || '').includes({PUSHING!r}) ? '' : now", api_visibility="private")

    return connect


# The zip of a job that was made last, as long as it is there: who asks again gets the same one.
_packed: dict[str, Path] = {}
_packing = threading.Lock()


def datasets(visitor: Any, chosen: Any) -> Any:
    """The picker of datasets that have samples now; what was chosen stays chosen if it is still there."""
    try:
        found = [dataset for dataset in visitor_store(visitor).list() if len(dataset)]
    except SegDemoError:
        found = []
    choices = [(f"{dataset.name} ({len(dataset)})", dataset.key) for dataset in found]
    keys = [key for _, key in choices]
    return gr.Dropdown(choices=choices, value=chosen if chosen in keys else next(iter(keys), None))


def suggest(visitor: Any, dataset: Any) -> Any:
    """The base that suits a dataset: whose predictions were corrected most, else a bundled network of its task."""
    try:
        chosen = visitor_store(visitor).open(dataset)
        sources = Counter(sample.facts.source for sample in chosen.samples())
    except SegDemoError:
        return gr.skip()
    known = {spec.key: spec for spec in menu.specs(chosen.task)}
    best = next((source for source, _ in sources.most_common() if source in known), None)
    base = best or next((key for key, spec in known.items() if spec.source == "bundled"), None)
    return gr.skip() if base is None else gr.Dropdown(value=base)


def job_picker(visitor: Any) -> Any:
    """The picker of jobs, with the newest chosen."""
    choices = [(f"{job.name}, {job.id[:13]}", job.id) for job in jobs_of(visitor)]
    return gr.Dropdown(choices=choices, value=choices[0][1] if choices else None, visible=bool(choices))


@in_words
def check_data(
    visitor: Any, base: Any, dataset: Any, archive: Any, steps: Any, augment: Any, lr: Any, size: Any, batch: Any, share: Any,
    replay: Any, request: gr.Request,
) -> list[Any]:  # fmt: skip
    """Make a draft of a job and say what is wrong with its data.

    Returns:
        The findings, the draft's id, and the buttons that mend.
    """
    return checked(draft_of(visitor, base, dataset, archive, steps, augment, lr, size, batch, share, replay), request)


@in_words
def skip_bad(visitor: Any, draft: Any, request: gr.Request) -> list[Any]:
    """Leave the faulty images out of a draft, and check it again."""
    job = mine(visitor, draft)
    all_jobs().configure(job, skip_bad=True)
    return checked(job, request)


def readings(visitor: Any, draft: Any, request: gr.Request) -> Any:
    """The readings of the masks that a person has to choose from after a check; hidden where there is nothing to choose."""
    try:
        found = choices(mine(visitor, draft).check(), language_of(request)) if draft else []
    except SegDemoError:
        found = []
    return gr.Radio(choices=found, value=None, visible=bool(found))


@in_words
def choose(visitor: Any, draft: Any, reading: Any, request: gr.Request) -> list[Any]:
    """Read the masks of a draft as the visitor says, and check it again."""
    job = mine(visitor, draft)
    if reading not in {name for _, name in choices(job.check(), "en")}:
        raise BadRequestError("finetuning.bad_reading")
    all_jobs().configure(job, mask_reading=reading)
    return checked(job, request)


@in_words
def mend_data(visitor: Any, draft: Any, request: gr.Request) -> list[Any]:
    """Take the doctor's first proposal for the classes of a draft, and check it again."""
    job = mine(visitor, draft)
    found = proposals(job.check())
    if not found:
        raise BadRequestError("finetuning.no_suggestion")
    all_jobs().mend(job, found[0])
    return checked(job, request)


@in_words
def start(
    visitor: Any, draft: Any, base: Any, dataset: Any, archive: Any, steps: Any, augment: Any, lr: Any, size: Any, batch: Any,
    share: Any, replay: Any, request: gr.Request,
) -> list[Any]:  # fmt: skip
    """Start the draft that was checked, or make, check and start one; with faults nothing is started.

    Returns:
        The findings, the draft's id (empty once it runs), the buttons that mend, and the picker of jobs.
    """
    return _begun(visitor, draft, [base, dataset, archive, steps, augment, lr, size, batch, share, replay], request)


@in_words
def advise(
    visitor: Any, draft: Any, base: Any, dataset: Any, archive: Any, steps: Any, augment: Any, lr: Any, size: Any, batch: Any,
    share: Any, replay: Any, minutes: Any, request: gr.Request,
) -> list[Any]:  # fmt: skip
    """As :func:`start`, but compare networks on the data for some minutes; what is trained of them is decided afterwards."""
    low, high = LIMITS["minutes"]
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not low <= minutes <= high:
        raise BadRequestError("finetuning.bad_number", name="minutes", low=low, high=high, value=str(minutes)[:40])
    return _begun(visitor, draft, [base, dataset, archive, steps, augment, lr, size, batch, share, replay], request, minutes)


@in_words
def train_winner(visitor: Any, id: Any, request: gr.Request) -> list[Any]:
    """Train what a comparison has found best, on the same data; returns as :func:`start`."""
    all_jobs().check_free(owner_of(visitor) or None)
    job = all_jobs().winner(mine(visitor, id))
    return _launched(visitor, job, checked(job, request))


def _begun(visitor: Any, draft: Any, inputs: list[Any], request: gr.Request, minutes: float | None = None) -> list[Any]:
    """Start a draft that was checked, or one that is made and checked now; with ``minutes`` as a comparison."""
    dataset, archive = inputs[1:3]
    all_jobs().check_free(owner_of(visitor) or None)
    if draft and not outdated(visitor, job := mine(visitor, draft), None if archive else dataset):
        shown = [view.findings(job.check(), language_of(request), job.readings), draft, gr.Button(), gr.Button()]
    else:
        old = mine(visitor, draft) if draft else None
        job = draft_of(visitor, *inputs)
        if old is not None:
            # What the visitor said about the faults holds for the samples that have joined since.
            all_jobs().configure(job, skip_bad=bool(all_jobs().config(old).get("skip_bad")), mask_reading=all_jobs().config(old).get("mask_reading"))
        shown = checked(job, request)
    if minutes is not None and job.check().get("problems") is None:
        all_jobs().compare(job, float(minutes))
    return _launched(visitor, job, shown)


def _launched(visitor: Any, job: Job, shown: list[Any]) -> list[Any]:
    """What was shown of a draft, which is started if nothing is wrong with it."""
    if job.check().get("problems") is not None:
        return [*shown, gr.Dropdown()]
    all_jobs().start(job)
    return [shown[0], "", gr.Button(visible=False), gr.Button(visible=False), job_picker(visitor)]


@in_words
def watch(visitor: Any, id: Any, request: gr.Request) -> list[Any]:
    """One job as it is now: status, curves, verdict, samples, log, which buttons there are, and whether to look again."""
    language = language_of(request)
    hidden = gr.Button(visible=False)
    if not id:
        empty = view.idle("finetune", language)
        return [
            empty, "", "", gr.Image(visible=False), "", *[hidden] * 4, gr.Accordion(visible=False), gr.Timer(active=False),
            hidden, gr.Checkbox(visible=False), hidden,
        ]  # fmt: skip
    job = mine(visitor, id)
    state, advice = job.state(), job.advice()
    made = state == DONE and not job.compares  # a model is there
    found = job.verdict() if state == DONE else None
    samples = gr.Image(visible=False)
    if (picture := job.samples) is not None:
        samples = gr.Image(store_file(picture), visible=True)
    worse = found is not None and not found.offered
    known = catalog.trained_in(job.checkpoint) if made else None
    return [
        view.status(job, language),
        view.curves(job.curves(), language),
        view.advice(advice, language) if job.compares else view.verdict(found, language),
        samples,
        view.log(job, language),
        gr.Button(visible=state == RUNNING),
        gr.Button(visible=state in RESUMABLE),
        gr.Button(
            t("finetune_use_worse" if worse else "finetune_use"), visible=made,
            variant="secondary" if worse else "primary",
        ),
        gr.Button(visible=state != RUNNING),
        gr.Accordion(visible=made),
        gr.Timer(active=state == RUNNING),
        gr.Button(visible=made),
        gr.Checkbox(value=known is not None and known.shared, visible=known is not None and of_key(visitor).host),
        gr.Button(visible=advice is not None and advice["done"] and state != RUNNING),
    ]  # fmt: skip


@in_words
def stop(visitor: Any, id: Any) -> None:
    """Ask a job to save and end."""
    all_jobs().cancel(mine(visitor, id))


@in_words
def resume(visitor: Any, id: Any) -> None:
    """Go on with a job."""
    job = mine(visitor, id)
    all_jobs().resume(job)


@in_words
def ask(visitor: Any, id: Any, request: gr.Request) -> tuple[Any, Any]:
    """What would be lost with a job, and the buttons that delete and keep it in the place of the one that asked."""
    job = mine(visitor, id)
    known = catalog.trained_in(job.checkpoint)
    return view.lost(job, known and known.shared, language_of(request)), *asking(True)


def asking(on: bool) -> tuple[Any, Any]:
    """The row that asks whether a job is to be deleted, and the button that makes it ask."""
    return gr.Column(visible=on), gr.Button(visible=not on)


@in_words
def delete(visitor: Any, id: Any) -> Any:
    """Remove a job with its weights; the picker without it."""
    all_jobs().delete(mine(visitor, id))
    return job_picker(visitor)


@in_words
def download(visitor: Any, id: Any) -> str:
    """A job's checkpoint as a zip, where gradio may serve it from: in a folder of its own that nobody can guess."""
    job = mine(visitor, id)
    with _packing:
        if (known := _packed.get(job.id)) is not None and known.is_file():
            known.touch()
            return str(known)
        folder = Path(utils.get_upload_folder()) / secrets.token_hex(16)
        folder.mkdir(parents=True)
        try:
            _packed[job.id] = store.pack_model(job, folder / f"{store.short_name(job)}.zip")
        except BaseException:
            shutil.rmtree(folder)
            raise
        return str(_packed[job.id])


@in_words
def use(visitor: Any, id: Any, request: gr.Request) -> list[Any]:
    """Put a job's network on its owner's menu; it is chosen in its tab only if it is no worse than its base."""
    job = mine(visitor, id)
    return [view.note("used", language_of(request), id=(made := store.use_here(job))), *_pickers(job, made, language_of(request))]


@in_words
def share(visitor: Any, id: Any, shared: Any, request: gr.Request) -> str:
    """Put a job's network on everybody's menu, or take it back. Only the server's owner may, and only with their own.

    Raises:
        BadRequestError: somebody else's server.
    """
    job = mine(visitor, id)
    if not of_key(visitor).host:
        raise BadRequestError("finetuning.owner_shares")
    catalog.share_trained(job.checkpoint, shared is True)
    return view.note("finetune_shared" if shared is True else "finetune_unshared", language_of(request))


@stream_in_words
def push(
    visitor: Any, id: Any, repo: Any, token: Any, private: Any, request: gr.Request, login: gr.OAuthToken | None
) -> Iterator[list[Any]]:
    """Push a job's network to the Hub with a typed token, the visitor's login, or (off Spaces) that of this machine.

    Yields:
        What is said about it (why it failed, too, and then the error), the emptied box of the token, and the pickers of models.
    """
    language = language_of(request)
    try:
        job, given = mine(visitor, id), token_for(token, login, request)
        yield [view.note("push_doing", language), "", *(gr.Dropdown() for _ in menu.learnt())]
        pushed = store.push_model(job, str(repo or "").strip(), given, bool(private))
    except SegDemoError as error:
        yield [view.fault(in_language(error.message, language)), "", *(gr.Dropdown() for _ in menu.learnt())]
        raise
    yield [view.note("push_done", language, id=pushed.id), "", *_pickers(job, pushed.id, language)]


def _pickers(job: Job, id: str, language: str) -> list[Any]:
    """The pickers of the networks' tabs with a new model, chosen where it may be."""
    ready, task = menu.availability(), catalog.resolve(id, local_folders=False).task
    found = job.verdict()
    chosen = {"value": id} if found is None or found.offered else {}
    return [
        gr.Dropdown(choices=menu.choices(known, ready=ready, language=language), **(chosen if known == task else {}))
        for known in menu.learnt()
    ]


LIMITS = {"steps": (1, 100_000), "batch": (1, 256), "share": (0.01, 0.9), "replay": (0, 0.9), "lr": (0, 10), "size": (0, 4096), "minutes": (1, 1440)}


@lru_cache(maxsize=1)
def all_jobs() -> Jobs:
    """The jobs of this server."""
    return Jobs(settings().jobs)


def jobs_of(visitor: Any) -> list[Job]:
    """The jobs of whoever holds a key, the newest first."""
    who = of_key(visitor)
    return [job for job in all_jobs().list() if who.owns(job.owner)]


def mine(visitor: Any, id: Any) -> Job:
    """A job that this visitor may see.

    Raises:
        BadRequestError: there is none, or it is somebody else's, which is not told apart.
    """
    job = all_jobs().open(id)
    if not of_key(visitor).owns(job.owner):
        raise BadRequestError("jobs.none_such")
    return job


def draft_of(
    visitor: Any, base: Any, dataset: Any, archive: Any, steps: Any, augment: Any, lr: Any, size: Any, batch: Any, share: Any,
    replay: Any,
) -> Job:  # fmt: skip
    """A draft of what was chosen; its replay is in the draft's own notes until the data's classes are known.

    Raises:
        SegDemoError: a base that cannot be taught, a setting out of its range, or no data.
    """
    spec = catalog.resolve(base if isinstance(base, str) else "", local_folders=False)
    if spec.source == "builtin":
        raise BadRequestError("finetuning.no_weights", model=spec.title)
    if os.environ.get("SPACE_ID") and not catalog.on_menu(spec):
        raise BadRequestError("finetuning.menu_only")
    given = {"steps": steps, "batch": batch, "share": share, "replay": replay, "lr": lr or 0, "size": size or 0}
    for name, value in given.items():
        low, high = LIMITS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise BadRequestError("finetuning.bad_number", name=name, low=low, high=high, value=str(value)[:40])
    if augment not in ("none", "light", "strong"):
        raise BadRequestError("finetuning.bad_augment", value=str(augment)[:40])
    config = {
        "model": spec.key,
        "max_steps": int(steps),
        "batch_size": int(batch),
        "val_fraction": float(share),
        "augment": augment,
        "lr": float(lr) if lr else None,
        "image_size": max(32, int(size)) if size else None,
        "baseline": True,
        "device": settings().device,
        "replay": 0.0,
    }
    if archive:
        source, name = Path(archive), stem_of(archive)
    elif dataset:
        chosen = visitor_store(visitor).open(dataset)
        source, name = chosen.path, chosen.name
    else:
        raise BadRequestError("finetuning.no_data")
    if not (owner := owner_of(visitor)):
        raise BadRequestError("finetuning.no_key")
    job = all_jobs().draft(name, source, config, owner)
    if spec.source == "bundled" and replay:
        all_jobs().remember(job, replay=float(replay))
    return job


def outdated(visitor: Any, job: Job, dataset: Any) -> bool:
    """Whether a dataset has changed since a draft took its copy.

    Args:
        visitor: whose dataset it is.
        job: the draft.
        dataset: key of the dataset; None if the draft is not of one.
    """
    if not dataset:
        return False
    return visitor_store(visitor).open(dataset).changed > float(job.about.get("created", 0))


def checked(job: Job, request: gr.Request) -> list[Any]:
    """The findings on a draft, its id, and the buttons that mend what can be mended."""
    answer, language = all_jobs().check(job), language_of(request)
    said = view.findings(answer, language, job.readings)
    classes = [name.strip().casefold() for name in (answer.get("data") or {}).get("classes", ())]
    # The only thing that data shows is, to a bundled base, its cell, whatever its name.
    if job.about.get("replay") and ("cell" in classes or (len(classes) == 2 and "background" in classes)):
        all_jobs().configure(job, replay=job.about["replay"])
        said += f'<p class="note">{words("finetune_replays_share", language).format(share=job.about["replay"])}</p>'
    faults = (answer.get("diagnosis") or {}).get("faults") or ()
    return [said, job.id, gr.Button(visible=any(map(_skippable, faults))), gr.Button(visible=bool(proposals(answer)))]


def _skippable(fault: dict[str, Any]) -> bool:
    """Whether ``--skip-bad`` helps: by leaving an image out, or by training without a class that never occurs."""
    return bool(fault["item"]) or "--skip-bad" in fault["remedy"]


def choices(answer: dict[str, Any], language: str) -> list[tuple[str, str]]:
    """(what it means, its name) of each reading that a person has to choose from."""
    faults = (answer.get("diagnosis") or {}).get("faults") or ()
    found = next((fault["choices"] for fault in faults if fault.get("choices")), ())
    return [(in_language(choice["means"], language), choice["reading"]) for choice in found]


def proposals(answer: dict[str, Any]) -> list[str]:
    """What the doctor proposes as classes."""
    return [fault["proposal"] for fault in (answer.get("diagnosis") or {}).get("faults") or () if fault.get("proposal")]

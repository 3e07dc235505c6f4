"""The handlers of the Fine-tune tab. What they know lies on the disk, so that any server and any page finds it again."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import utils

from seg_demo.datasets.store import visitor_store
from seg_demo.errors import BadRequestError, SegDemoError
from seg_demo.jobs import publish
from seg_demo.jobs.job import DONE, RESUMABLE, RUNNING, Job
from seg_demo.models import catalog, own
from seg_demo.ownership import of_key, owner_of
from seg_demo.ui import finetune_view as view
from seg_demo.ui import finetune_draft, menu
from seg_demo.ui.finetune_draft import all_jobs, checked, choices, draft_of, mine, outdated, proposals
from seg_demo.ui.i18n import language_of, t
from seg_demo.ui.i18n_errors import told
from seg_demo.ui.pushing import token_for
from seg_demo.ui.served import store_file
from seg_demo.ui.work import in_words, stream_in_words

# The zip of a job that was made last, as long as it is there: who asks again gets the same one.
_packed: dict[str, Path] = {}
_packing = threading.Lock()


def datasets(visitor: Any, chosen: Any) -> Any:
    """The picker of datasets that have samples now; what was chosen stays chosen if it is still there."""
    try:
        found = [each for each in visitor_store(visitor).list() if len(each)]
    except SegDemoError:
        found = []
    choices = [(f"{each.name} ({len(each)})", each.key) for each in found]
    keys = [key for _, key in choices]
    return gr.Dropdown(choices=choices, value=chosen if chosen in keys else next(iter(keys), None))


def suggest(visitor: Any, dataset: Any) -> Any:
    """The base that suits a dataset: whose predictions were corrected most, else a bundled network of its task."""
    try:
        chosen = visitor_store(visitor).open(dataset)
        sources = Counter(sample.facts.source for sample in chosen.samples())
    except SegDemoError:
        return gr.skip()
    known = {menu.key(spec): spec for spec in menu.specs(chosen.task)}
    best = next((source for source, _ in sources.most_common() if source in known), None)
    base = best or next((key for key, spec in known.items() if spec.source == "bundled"), None)
    return gr.skip() if base is None else gr.Dropdown(value=base)


def jobs_of(visitor: Any) -> Any:
    """The picker of jobs, with the newest chosen."""
    choices = [(f"{job.name}, {job.id[:13]}", job.id) for job in finetune_draft.jobs_of(visitor)]
    return gr.Dropdown(choices=choices, value=choices[0][1] if choices else None, visible=bool(choices))


@in_words
def check(
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
        raise BadRequestError("This data cannot be read in this way. Check the data again.")
    all_jobs().configure(job, mask_reading=reading)
    return checked(job, request)


@in_words
def mend(visitor: Any, draft: Any, request: gr.Request) -> list[Any]:
    """Take the doctor's first proposal for the classes of a draft, and check it again."""
    job = mine(visitor, draft)
    found = proposals(job.check())
    if not found:
        raise BadRequestError("There is no suggestion for this data. Check it again.")
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
    all_jobs().check_free(owner_of(visitor) or None)
    if draft and not outdated(visitor, job := mine(visitor, draft), None if archive else dataset):
        shown = [view.findings(job.check(), language_of(request), job.readings), draft, gr.Button(), gr.Button()]
    else:
        old = mine(visitor, draft) if draft else None
        job = draft_of(visitor, base, dataset, archive, steps, augment, lr, size, batch, share, replay)
        if old is not None:
            # What the visitor said about the faults holds for the samples that have joined since.
            all_jobs().configure(job, skip_bad=bool(all_jobs().config(old).get("skip_bad")), mask_reading=all_jobs().config(old).get("mask_reading"))
        shown = checked(job, request)
    if job.check().get("problems") is not None:
        return [*shown, gr.Dropdown()]
    all_jobs().start(job)
    return [shown[0], "", gr.Button(visible=False), gr.Button(visible=False), jobs_of(visitor)]


@in_words
def watch(visitor: Any, id: Any, request: gr.Request) -> list[Any]:
    """One job as it is now: status, curves, verdict, samples, log, which buttons there are, and whether to look again."""
    language = language_of(request)
    hidden = gr.Button(visible=False)
    if not id:
        empty = view.idle("finetune", language)
        return [
            empty, "", "", gr.Image(visible=False), "", *[hidden] * 4, gr.Accordion(visible=False), gr.Timer(active=False),
            hidden, gr.Checkbox(visible=False),
        ]  # fmt: skip
    job = mine(visitor, id)
    state = job.state()
    found = job.verdict() if state == DONE else None
    samples = gr.Image(visible=False)
    if (picture := job.samples) is not None:
        samples = gr.Image(store_file(picture), visible=True)
    worse = found is not None and not found.offered
    known = own.of_folder(job.checkpoint) if state == DONE else None
    return [
        view.status(job, language),
        view.curves(job.curves(), language),
        view.verdict(found, language),
        samples,
        view.log(job, language),
        gr.Button(visible=state == RUNNING),
        gr.Button(visible=state in RESUMABLE),
        gr.Button(
            t("finetune_use_worse" if worse else "finetune_use"), visible=state == DONE,
            variant="secondary" if worse else "primary",
        ),
        gr.Button(visible=state != RUNNING),
        gr.Accordion(visible=state == DONE),
        gr.Timer(active=state == RUNNING),
        gr.Button(visible=state == DONE),
        gr.Checkbox(value=known is not None and known.shared, visible=known is not None and of_key(visitor).host),
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
    known = own.of_folder(job.checkpoint)
    return view.lost(job, known and known.shared, language_of(request)), *asking(True)


def asking(on: bool) -> tuple[Any, Any]:
    """The row that asks whether a job is to be deleted, and the button that makes it ask."""
    return gr.Column(visible=on), gr.Button(visible=not on)


@in_words
def delete(visitor: Any, id: Any) -> Any:
    """Remove a job with its weights; the picker without it."""
    all_jobs().delete(mine(visitor, id))
    return jobs_of(visitor)


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
            _packed[job.id] = publish.pack(job, folder / f"{publish.short_name(job)}.zip")
        except BaseException:
            shutil.rmtree(folder)
            raise
        return str(_packed[job.id])


@in_words
def use(visitor: Any, id: Any, request: gr.Request) -> list[Any]:
    """Put a job's network on its owner's menu; it is chosen in its tab only if it is no worse than its base."""
    job = mine(visitor, id)
    return [view.note("used", language_of(request), id=(made := publish.use_here(job))), *_pickers(job, made, language_of(request))]


@in_words
def share(visitor: Any, id: Any, shared: Any, request: gr.Request) -> str:
    """Put a job's network on everybody's menu, or take it back. Only the server's owner may, and only with their own.

    Raises:
        BadRequestError: somebody else's server.
    """
    job = mine(visitor, id)
    if not of_key(visitor).host:
        raise BadRequestError("Only the owner of this server may share a model with everybody.")
    own.share(job.checkpoint, shared is True)
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
        yield [view.note("push_doing", language), "", gr.Dropdown(), gr.Dropdown()]
        pushed = publish.push(job, str(repo or "").strip(), given, bool(private))
    except SegDemoError as error:
        yield [view.fault(told(error.message, language)), "", gr.Dropdown(), gr.Dropdown()]
        raise
    yield [view.note("push_done", language, id=pushed.id), "", *_pickers(job, pushed.id, language)]


def _pickers(job: Job, id: str, language: str) -> list[Any]:
    """The pickers of the semantic and the instance tab with a new model, chosen where it may be."""
    ready, task = menu.availability(), catalog.resolve(id, local_folders=False).task
    found = job.verdict()
    chosen = {"value": id} if found is None or found.offered else {}
    return [
        gr.Dropdown(choices=menu.choices(each, ready, language), **(chosen if each == task else {}))
        for each in ("semantic", "instance")
    ]

"""The handlers of the Fine-tune tab. What they know lies on the disk, so that any server and any page finds it again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils, utils

from seg_demo.datasets.store import visitor_store
from seg_demo.errors import BadRequestError, SegDemoError
from seg_demo.jobs import publish
from seg_demo.jobs.job import DONE, RESUMABLE, RUNNING, Job
from seg_demo.jobs.store import Jobs
from seg_demo.models import catalog
from seg_demo.settings import settings
from seg_demo.ui import finetune_view as view
from seg_demo.ui import menu
from seg_demo.ui.i18n import language_of, t, words
from seg_demo.ui.uploads import stem_of
from seg_demo.ui.work import in_words, stream_in_words

LIMITS = {"steps": (1, 100_000), "batch": (1, 256), "share": (0.01, 0.9), "replay": (0, 0.9), "lr": (0, 10), "size": (0, 4096)}


@lru_cache(maxsize=1)
def _jobs() -> Jobs:
    return Jobs(settings().jobs)


def _owner(visitor: Any) -> str:
    """Whose jobs are shown: on a Space each visitor's own; elsewhere all belong to everyone."""
    if not os.environ.get("SPACE_ID"):
        return ""
    try:
        return visitor_store(visitor).root.name
    except SegDemoError:
        return ""


def _mine(visitor: Any, id: Any) -> Job:
    job = _jobs().open(id)
    if os.environ.get("SPACE_ID") and job.about.get("owner") != _owner(visitor):
        raise BadRequestError("There is no such job. It may have been deleted; reload the page.")
    return job


def datasets(visitor: Any) -> Any:
    """The picker of datasets with what the visitor has now."""
    try:
        found = visitor_store(visitor).list()
    except SegDemoError:
        found = []
    choices = [(f"{each.name} ({len(each)})", each.key) for each in found]
    return gr.Dropdown(choices=choices, value=choices[0][1] if choices else None)


def jobs_of(visitor: Any) -> Any:
    """The picker of jobs, with the newest chosen."""
    mine = [job for job in _jobs().list() if not os.environ.get("SPACE_ID") or job.about.get("owner") == _owner(visitor)]
    choices = [(f"{job.name}, {job.id[:13]}", job.id) for job in mine]
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
    return _checked(_draft(visitor, base, dataset, archive, steps, augment, lr, size, batch, share, replay), request)


@in_words
def skip_bad(visitor: Any, draft: Any, request: gr.Request) -> list[Any]:
    """Leave the faulty images out of a draft, and check it again."""
    job = _mine(visitor, draft)
    _jobs().configure(job, skip_bad=True)
    return _checked(job, request)


@in_words
def mend(visitor: Any, draft: Any, request: gr.Request) -> list[Any]:
    """Take the doctor's first proposal for the classes of a draft, and check it again."""
    job = _mine(visitor, draft)
    proposals = _proposals(job.check())
    if not proposals:
        raise BadRequestError("There is no proposal for this data. Check it again.")
    _jobs().mend(job, proposals[0])
    return _checked(job, request)


@in_words
def start(
    visitor: Any, draft: Any, base: Any, dataset: Any, archive: Any, steps: Any, augment: Any, lr: Any, size: Any, batch: Any,
    share: Any, replay: Any, request: gr.Request,
) -> list[Any]:  # fmt: skip
    """Start the draft that was checked, or make, check and start one; with faults nothing is started.

    Returns:
        The findings, the draft's id (empty once it runs), the buttons that mend, and the picker of jobs.
    """
    if (other := _jobs().running()) is not None:
        raise BadRequestError(f"The job {other.name!r} is running, and one runs at a time. Wait for it, or stop it.")
    if draft:
        job = _mine(visitor, draft)
        shown = [view.findings(job.check(), language_of(request)), draft, gr.Button(), gr.Button()]
    else:
        job = _draft(visitor, base, dataset, archive, steps, augment, lr, size, batch, share, replay)
        shown = _checked(job, request)
    if job.check().get("problems") is not None:
        return [*shown, gr.Dropdown()]
    _jobs().start(job)
    return [shown[0], "", gr.Button(visible=False), gr.Button(visible=False), jobs_of(visitor)]


@in_words
def watch(visitor: Any, id: Any, request: gr.Request) -> list[Any]:
    """One job as it is now: status, curves, verdict, samples, log, which buttons there are, and whether to look again."""
    language = language_of(request)
    if not id:
        nothing = [gr.Button(visible=False)] * 4
        return [view.note("finetune_idle", language), "", "", gr.Image(visible=False), "", *nothing, gr.Accordion(visible=False),
                gr.Timer(active=False)]  # fmt: skip
    job = _mine(visitor, id)
    state = job.state()
    found = job.verdict() if state == DONE else None
    picture = job.checkpoint / "samples.png"
    samples = gr.Image(visible=False)
    if state == DONE and picture.is_file():
        samples = gr.Image(processing_utils.save_file_to_cache(picture, utils.get_upload_folder()), visible=True)
    worse = found is not None and not found.offered
    return [
        view.status(job, language),
        view.curves(job.curves(), language),
        view.verdict(found, language),
        samples,
        view.log(job, language),
        gr.Button(visible=state == RUNNING),
        gr.Button(visible=state in RESUMABLE),
        gr.Button(
            t("finetune_use_worse" if worse else "finetune_use"), visible=state == DONE, variant="secondary" if worse else "primary"
        ),
        gr.Button(visible=state != RUNNING),
        gr.Accordion(visible=state == DONE),
        gr.Timer(active=state == RUNNING),
    ]


@in_words
def stop(visitor: Any, id: Any) -> None:
    """Ask a job to save and end."""
    _jobs().cancel(_mine(visitor, id))


@in_words
def resume(visitor: Any, id: Any) -> None:
    """Go on with a job."""
    _jobs().resume(_mine(visitor, id))


@in_words
def delete(visitor: Any, id: Any) -> Any:
    """Remove a job with its weights; the picker without it."""
    _jobs().delete(_mine(visitor, id))
    return jobs_of(visitor)


@in_words
def use(visitor: Any, id: Any, request: gr.Request) -> list[Any]:
    """Put a job's network on the menu; it is chosen in its tab only if it is no worse than its base."""
    job = _mine(visitor, id)
    return [view.note("used", language_of(request), id=(made := publish.use_here(job))), *_pickers(job, made)]


@stream_in_words
def push(
    visitor: Any, id: Any, repo: Any, token: Any, private: Any, request: gr.Request, login: gr.OAuthToken | None
) -> Iterator[list[Any]]:
    """Push a job's network to the Hub with a typed token, the visitor's login, or (off Spaces) that of this machine.

    Yields:
        What is said about it, the emptied box of the token, and the pickers of models.
    """
    job, language = _mine(visitor, id), language_of(request)
    given = (token.strip() if isinstance(token, str) else "") or (login.token if login is not None else "")
    if not given and os.environ.get("SPACE_ID"):
        raise BadRequestError("Nobody is logged in. Log in with the button above, or type a token that may write.")
    yield [view.note("push_doing", language), "", gr.Dropdown(), gr.Dropdown()]
    pushed = publish.push(job, str(repo or "").strip(), given or None, bool(private))
    yield [view.note("push_done", language, id=pushed.id), "", *_pickers(job, pushed.id)]


def _pickers(job: Job, id: str) -> list[Any]:
    """The pickers of the semantic and the instance tab with a new model, chosen where it may be."""
    ready, task = menu.availability(), catalog.resolve(id, local_folders=False).task
    found = job.verdict()
    chosen = {"value": id} if found is None or found.offered else {}
    return [
        gr.Dropdown(choices=menu.choices(each, ready), **(chosen if each == task else {})) for each in ("semantic", "instance")
    ]


def _draft(
    visitor: Any, base: Any, dataset: Any, archive: Any, steps: Any, augment: Any, lr: Any, size: Any, batch: Any, share: Any,
    replay: Any,
) -> Job:  # fmt: skip
    """A draft of what was chosen; its replay is in the draft's own notes until the data's classes are known."""
    spec = catalog.resolve(base if isinstance(base, str) else "", local_folders=False)
    if spec.source == "builtin":
        raise BadRequestError(f"{spec.title} has no weights, so there is nothing to teach. Choose a network.")
    if os.environ.get("SPACE_ID") and not catalog.on_menu(spec):
        raise BadRequestError("On this server only models of its menu can be fine-tuned. Choose one of them.")
    given = {"steps": steps, "batch": batch, "share": share, "replay": replay, "lr": lr or 0, "size": size or 0}
    for name, value in given.items():
        low, high = LIMITS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise BadRequestError(f"The setting {name} must be a number from {low} to {high}, but is {str(value)[:40]!r}.")
    if augment not in ("none", "light", "strong"):
        raise BadRequestError(f"The variation of the images is none, light or strong, but got {str(augment)[:40]!r}.")
    config = {
        "model": menu.key(spec),
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
        raise BadRequestError("There is nothing to learn from yet. Save samples on the Correct tab, or send a zip of images/ and masks/.")
    job = _jobs().draft(name, source, config, _owner(visitor))
    if spec.source == "bundled" and replay:
        _jobs().remember(job, replay=float(replay))
    return job


def _checked(job: Job, request: gr.Request) -> list[Any]:
    """The findings on a draft, its id, and the buttons that mend what can be mended."""
    answer, language = _jobs().check(job), language_of(request)
    said = view.findings(answer, language)
    classes = [name.strip().casefold() for name in (answer.get("data") or {}).get("classes", ())]
    if job.about.get("replay") and "cell" in classes:
        _jobs().configure(job, replay=job.about["replay"])
        said += f'<p class="note">{words("finetune_replays_share", language).format(share=job.about["replay"])}</p>'
    faults = (answer.get("diagnosis") or {}).get("faults") or ()
    return [said, job.id, gr.Button(visible=any(map(_skippable, faults))), gr.Button(visible=bool(_proposals(answer)))]


def _skippable(fault: dict[str, Any]) -> bool:
    """Whether ``--skip-bad`` helps: by leaving an image out, or by training without a class that never occurs."""
    return bool(fault["item"]) or "--skip-bad" in fault["remedy"]


def _proposals(answer: dict[str, Any]) -> list[str]:
    """What the doctor proposes as classes."""
    return [each["proposal"] for each in (answer.get("diagnosis") or {}).get("faults") or () if each.get("proposal")]

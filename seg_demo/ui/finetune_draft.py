"""From what was chosen on the Fine-tune tab to a draft of a job, and what the doctor says about it."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from seg_demo.datasets.store import visitor_store
from seg_demo.errors import BadRequestError
from seg_demo.jobs.job import Job
from seg_demo.jobs.store import Jobs
from seg_demo.models import catalog
from seg_demo.ownership import of_key, owner_of
from seg_demo.settings import settings
from seg_demo.ui import finetune_view as view
from seg_demo.ui import i18n_doctor
from seg_demo.ui import menu
from seg_demo.ui.i18n import language_of, words
from seg_demo.ui.uploads import stem_of

LIMITS = {"steps": (1, 100_000), "batch": (1, 256), "share": (0.01, 0.9), "replay": (0, 0.9), "lr": (0, 10), "size": (0, 4096)}


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
        raise BadRequestError("There is no such job. It may have been deleted; reload the page.")
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
        raise BadRequestError(f"{spec.title} has no weights, so it cannot be trained. Choose a network.")
    if os.environ.get("SPACE_ID") and not catalog.on_menu(spec):
        raise BadRequestError("On this server only models on its menu can be fine-tuned. Choose one of them.")
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
        raise BadRequestError(
            "There is no data to train on yet. Save samples on the Correct tab, or send a zip of images/ and masks/."
        )
    if not (owner := owner_of(visitor)):
        raise BadRequestError("This browser has no key yet, with which it finds its jobs again. Reload the page.")
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
    return [(i18n_doctor.finding(each["means"], language), each["reading"]) for each in found]


def proposals(answer: dict[str, Any]) -> list[str]:
    """What the doctor proposes as classes."""
    return [each["proposal"] for each in (answer.get("diagnosis") or {}).get("faults") or () if each.get("proposal")]

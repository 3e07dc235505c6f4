"""A run that was trained and evaluated before: what is left to do needs its folder alone, wherever the data is by now."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from seg_demo import networks
from train import runs
from train.config import Config
from train.loop.progress import ProgressFile
from train.loop.storage import recover_folder
from train.publish import check_rights, publish
from train.report.facts import CardFacts, read_facts
from train.report.metrics import MAIN_METRIC

log = logging.getLogger("train")


def reported_in(folder: Path) -> CardFacts | None:
    """What the card in ``best/`` of a finished run says, or None if the run was stopped before its evaluation.

    Args:
        folder: of the run, locked by this process: a replacement of ``best/`` that was broken off is completed first.
    """
    recover_folder(folder / runs.BEST)
    return read_facts(folder / runs.BEST)


def publish_again(config: Config, folder: Path) -> dict[str, Any]:
    """Push what a finished run holds, if that is asked for; its numbers are those of its evaluation.

    Args:
        config: of the run, with what this command line changed. An empty ``push`` means where it was to go before.
        folder: of the run; :func:`reported_in` found its report.

    Returns:
        JSON-able, as a run prints it: ``run``, ``checkpoint``, ``metrics``, ``baseline`` (None: not measured again) and
        ``pushed`` (``repo``, ``url`` and ``revision``, or None).

    Raises:
        SegDemoError: ``best/`` cannot be loaded; nobody is logged in, or may not write there.
        PublishError: the push failed; everything is kept.
    """
    best, facts = folder / runs.BEST, read_facts(folder / runs.BEST)
    networks.load(best)
    log.info("This run has been trained and evaluated already; its checkpoint is %s", best)
    pushed = None
    if config.push is not None:
        ProgressFile(config.progress_file)("publish", facts.steps, facts.steps)
        repo_id = check_rights(config.push or facts.repo_id, facts.name, "", config.private).repo_id
        score = MAIN_METRIC[facts.task]
        message = f"{facts.name}: {score} {facts.metrics[score]:.3f}" if score in facts.metrics else facts.name
        published = publish(best, repo_id, private=config.private, message=message, run_dir=folder)
        log.info("Pushed to %s, revision %s", published.url, published.sha)
        pushed = {"repo": repo_id, "url": published.url, "revision": published.sha}
    return {"run": str(folder), "checkpoint": str(best), "metrics": facts.metrics, "baseline": None, "pushed": pushed}

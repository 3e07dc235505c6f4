"""The push of a finished checkpoint: what arrived is compared by hash."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seg_demo import networks
from seg_demo.core.errors import HubUnavailableError, Message, SegDemoError, lines
from seg_demo.core.storage import recover_folder
from seg_demo.core.types import TASKS
from seg_demo.hub import client
from train import run as runs
from train.config import Config
from train.report import CardFacts, add_onnx, read_facts, write_card
from train.run import ProgressFile
from train.setup import check_rights

log = logging.getLogger("train")


class PublishError(SegDemoError):
    """The push failed; everything is kept, and the message ends with the command that retries.

    Args:
        reason: why, without that command.
        hint: that command.
    """

    def __init__(self, reason: Message, hint: str = "") -> None:
        super().__init__(lines(reason, hint))
        self.reason = reason


@dataclass(frozen=True)
class Published:
    """What a push came to.

    Attributes:
        repo_id: ``user/repo``.
        url: of the repository.
        sha: the commit that holds the checkpoint, compared file by file.
        unchanged: the repository held just this already, so no commit was made.
    """

    repo_id: str
    url: str
    sha: str
    unchanged: bool


def publish(folder: Path, repo_id: str, *, private: bool, message: str, run_dir: Path) -> Published:
    """Push a checkpoint folder in one commit, then download that commit and compare it by hash.

    The card is rewritten for the repository's name first. Pushing what is there already makes no commit.

    Args:
        folder: ``best/`` of a run: the checkpoint with its card.
        repo_id: ``user/repo``, as :func:`check_rights` returned it.
        private: make a new repository private.
        message: of the commit.
        run_dir: of the run, for the command that retries.

    Raises:
        PublishError: the Hub did not take it after all retries, what arrived differs, or the card could not be written;
            ``folder`` is as it was.
    """
    facts = read_facts(folder)
    try:
        if facts is not None and facts.repo_id != repo_id:
            write_card(folder, replace(facts, repo_id=repo_id))
        before = _sha(repo_id)
        sha = client.push(folder, repo_id, private=private, message=message, say=log.warning)
        different = client.verify(repo_id, sha, folder)
    except SegDemoError as error:
        raise PublishError(error.message, retry_hint(run_dir, repo_id, private)) from error
    if different:
        what = Message("push.arrived_different", files=", ".join(different), repo=repo_id, sha=sha)
        raise PublishError(what, retry_hint(run_dir, repo_id, private))
    return Published(repo_id, f"{client.host()}/{repo_id}", sha, before == sha)


def _sha(repo_id: str) -> str | None:
    """The newest commit of a repository; None if it is not there, or if the Hub does not say, which is no reason to give up."""
    try:
        there = client.head(repo_id)
    except HubUnavailableError:
        return None
    return there and there.sha


def retry_hint(run_dir: Path, repo_id: str, private: bool) -> str:
    """The sentence with the command that pushes a finished run without training it again."""
    command = ["python", "train/finetune.py", "--resume", str(run_dir), "--push", repo_id, *["--private"] * private]
    return Message("push.nothing_is_lost", command=shlex.join(command))


def reported_in(folder: Path) -> CardFacts | None:
    """What the card in ``best/`` of a finished run says, or None if the run was stopped before its evaluation.

    Args:
        folder: of the run, locked by this process: a replacement of ``best/`` that was broken off is completed first.
    """
    recover_folder(folder / runs.BEST)
    return read_facts(folder / runs.BEST)


def push_best(config: Config, folder: Path, repo_id: str) -> dict[str, str]:
    """Push the best checkpoint of a run that is evaluated and has its card.

    Args:
        config: of the run.
        folder: of the run.
        repo_id: as :func:`check_rights` returned it.

    Returns:
        ``repo``, ``url`` and ``revision``.

    Raises:
        PublishError: the push failed; everything is kept and the message has the command that retries.
    """
    facts = read_facts(folder / runs.BEST)
    score = networks.family(facts.architecture).metric(TASKS[facts.task])
    message = f"{facts.name}: {score} {facts.metrics[score]:.3f}" if score in facts.metrics else facts.name
    published = publish(folder / runs.BEST, repo_id, private=config.private, message=message, run_dir=folder)
    log.info("Pushed to %s, revision %s", published.url, published.sha)
    return {"repo": repo_id, "url": published.url, "revision": published.sha}


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
    if config.onnx and facts.onnx is None:
        facts = add_onnx(best, facts)
    pushed = None
    if config.push is not None:
        ProgressFile(config.progress_file)("publish", facts.steps, facts.steps)
        rights = check_rights(config.push or facts.repo_id, facts.name, "", config.private)
        pushed = push_best(config, folder, rights.repo_id)
    return {"run": str(folder), "checkpoint": str(best), "metrics": facts.metrics, "baseline": None, "pushed": pushed}

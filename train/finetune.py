"""Fine-tune a segmentation network, say how good it is, and push it: configure → read the data → train → evaluate → publish.

python train/finetune.py                        a U-Net on the built-in data
python train/finetune.py --data my_folder --model unet-cells --push
python train/finetune.py --data my_folder --dry-run
python train/finetune.py --data my_folder --advise --minutes 20
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
import traceback
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

# `python train/finetune.py` puts train/ on the path, not the folder above it, where both packages are.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from seg_demo.core import (  # noqa: E402
    TASKS,  # noqa: E402
    HubUnavailableError,
    Message,
    SegDemoError,
    lines,
    messages_in,
    redacted,
    sentences,
)
from train import run as runs  # noqa: E402
from train.config import Config, ConfigError, meaningless, parse  # noqa: E402

if TYPE_CHECKING:
    from train.report import CardFacts

_log = logging.getLogger("train")

# torch and its friends take seconds to import, so what needs them is imported where it is used: a wrong flag is answered before.

DONE, BUG, NOT_STARTED, DIVERGED, PUSH_FAILED = 0, 1, 2, 3, 4


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 done; 2 nothing was started; 3 diverged; 4 trained, but the push failed; 130 and 143 stopped by
        Ctrl-C and SIGTERM after saving; 1 our own bug.
    """
    config = None
    try:
        config, given = parse(sys.argv[1:] if argv is None else argv)
        return run(config, given)
    except ConfigError as error:
        print(f"Nothing was started:\n{error}", file=sys.stderr)
        if config is not None:
            runs.ProgressFile(config.progress_file).ended(error.message)
        return NOT_STARTED
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except runs.Stopped as stopped:
        print("Stopped.", file=sys.stderr)
        return stopped.exit_code
    except Exception:
        print(redacted(traceback.format_exc()), file=sys.stderr)
        print("This is a bug in the training command, not in your data or settings; please report it.", file=sys.stderr)
        return BUG


def run(config: Config, given: frozenset[str]) -> int:
    """Configure, read the data, train, evaluate, publish; see :func:`main` for what is returned.

    Args:
        config: checked.
        given: names of the fields that were given rather than left at their defaults.

    Raises:
        ConfigError: nothing was started; every problem that was found.
    """
    began = time.monotonic()
    folder = Path(config.resume or config.output or "runs")
    if config.resume:
        config = runs.resumed(config, given)
    elif config.output:
        runs.check_new(folder)
    from accelerate.utils import set_seed

    from train.setup import accelerator_of, launched

    runs.ProgressFile(config.progress_file)("prepare")  # whoever watches knows that it has begun
    try:
        team = launched(config)
        main_process = team is None or team.is_main_process
        with ExitStack() as held:
            previous = None
            if config.advise:
                return _advise(config, given, team, held, began)
            if config.resume:
                if main_process and not config.dry_run:
                    held.enter_context(runs.run_lock(folder))
                previous = runs.previous_run(folder)
                if _only_the_push_is_left(config, folder, previous, team):
                    return _push_alone(config, folder) if main_process else DONE
            prepared = _read_the_data(config, team, previous)
            if config.dry_run:
                if main_process:
                    _print_plan(prepared)
                return DONE
            set_seed(config.seed)
            accelerator = accelerator_of(prepared, team)
            if main_process and not config.resume:
                folder = runs.new_folder(config, prepared.dataset.name)
                held.enter_context(runs.run_lock(folder))
                runs.check_new(folder)  # another run may have been here while the data was read
            stopper = held.enter_context(runs.Stopper())
            return _train_evaluate_publish(prepared, accelerator, folder, previous, stopper)
    except ConfigError:
        raise
    except SegDemoError as error:
        raise ConfigError(error.message) from error


def _read_the_data(config: Config, team: Any, previous: runs.PreviousRun | None) -> Any:
    """What :func:`train.setup.prepare` makes; one process of each machine downloads and reads before the others."""
    from train.setup import NotPrepared, prepare

    main_process = team is None or team.is_main_process
    if not main_process:
        config = replace(config, push=None)  # the main process asks for the rights, and pushes
    try:
        with team.local_main_process_first() if team else nullcontext():
            prepared = prepare(config, team.num_processes if team else 1, config.json or not main_process, previous)
    except NotPrepared as error:
        if config.dry_run and config.json and main_process:
            _print_json({"problems": error.message, "diagnosis": error.diagnosis and error.diagnosis.to_dict()}, indent=2)
        raise
    # Which network a repository holds may be known only now.
    if problems := meaningless(config, prepared.start.checkpoint.name):
        raise ConfigError(lines(*problems))
    return prepared


def _train_evaluate_publish(
    prepared: Any, accelerator: Any, folder: Path, previous: runs.PreviousRun | None, stopper: runs.Stopper
) -> int:
    """The run itself, in a folder that is locked; each part can be repeated after a crash. For what is returned see :func:`main`."""
    from seg_demo.core import recover_folder
    from seg_demo.inference.engine import out_of_memory
    from train.evaluate import HeldOut, compare_with_base
    from train.report import write_report
    from train.trainer import Trainer, save_best

    config, main_process = prepared.config, accelerator.is_main_process
    state, trained = (None, False) if previous is None else (previous.state, previous.finished)
    log = runs.log_to(folder if main_process else None, quiet=config.json or not main_process)
    progress = runs.ProgressFile(config.progress_file if main_process else None)
    progress("prepare", total=prepared.total)
    resume = f"python train/finetune.py --resume {shlex.quote(str(folder))}"
    begun = False
    try:
        if main_process:
            recover_folder(folder / runs.BEST)  # what a killed run left
            if state is None:
                runs.write_config(folder, config, prepared.record())
        for note in (*prepared.notes, *prepared.start.notes):
            log.info("%s", note)
        held_out = HeldOut(prepared)
        if trained:
            log.info("This run has been trained to its end already.")
        elif prepared.total == 0:
            if main_process:
                save_best(prepared.start.checkpoint, folder, config.half)
                runs.save_state(folder / runs.LAST, {"history": {**vars(runs.History()), "finished": True}})
        else:
            trainer = Trainer(prepared, accelerator, folder, held_out, progress, state)
            begun = True
            trainer.fit(stopper)
        begun = True
        if not main_process:
            return DONE
        progress("evaluate", prepared.total, prepared.total)
        metrics = write_report(prepared, folder, held_out)
        baseline = compare_with_base(prepared, folder, held_out) if config.baseline else None
        answer = {"run": str(folder), "checkpoint": str(folder / runs.BEST), "metrics": metrics, "baseline": baseline, "pushed": None}
        if config.push is not None:
            progress("publish", prepared.total, prepared.total)
            answer["pushed"] = push_best(config, folder, prepared.repo_id)
    except runs.Diverged as error:
        log.error("Diverged. %s\nIts folder: %s", error, folder)
        progress.ended(sentences(Message("training.diverged"), Message.of(error)))
        return DIVERGED
    except runs.Stopped as stopped:
        if main_process:
            log.warning("Stopped at your request; everything done so far is saved. Continue with: %s", resume)
        return stopped.exit_code
    except PublishError as error:
        return _push_failed(log, config, folder, error, answer)
    except SegDemoError as error:
        if not begun:
            raise ConfigError(error.message) from error
        progress.ended(error.message)
        log.error("%s\nEverything done so far is saved in %s. When that is fixed, run: %s", error, folder, resume)
        return BUG
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        reason = Message("training.memory_ran_out")
        progress.ended(reason)
        log.error("%s\nEverything done so far is saved in %s. Continue with: %s", reason, folder, resume)
        return BUG
    if config.json:
        _print_json(answer)
    return DONE


def _advise(config: Config, given: frozenset[str], team: Any, held: ExitStack, began: float) -> int:
    """Compare networks on the data, in a folder of its own; see :func:`main` for what is returned.

    Args:
        config: checked, with ``advise``.
        given: as for :func:`run`.
        team: other processes, of which there must be none.
        held: keeps the folder's lock.
        began: when the command was started.
    """
    from train.advise import advise, begun, conclusion, plan_of, table

    if team is not None:
        raise ConfigError("candidates.one_process")
    folder = None
    if config.resume:
        folder = Path(config.resume)
        if not config.dry_run:
            held.enter_context(runs.run_lock(folder))
    advice, data, parts = begun(config, given, folder)
    if config.dry_run:
        plan = {"advice": advice.to_dict(), "diagnosis": data.diagnosis.to_dict(), "problems": None}
        if config.json:
            _print_json(plan, indent=2)
        else:
            _print(plan_of(advice))
        return DONE
    if folder is None:
        folder = runs.new_folder(replace(config, model="advice"), advice.data)
        held.enter_context(runs.run_lock(folder))
        runs.check_new(folder)
        runs.write_config(folder, config, {"data": {"source": config.data, "name": advice.data, "sha256": advice.sha256}})
    runs.log_to(folder, quiet=config.json, only="train.advise")
    try:
        advise(config, advice, data, parts, folder, began)
    except runs.Stopped as stopped:
        if advice.measured and not config.json:
            _print(table(advice))
        return stopped.exit_code
    if config.json:
        _print_json({"run": str(folder), "advice": advice.to_dict(config)})
    else:
        _print("\n".join([table(advice), "", *conclusion(advice, config, folder)] if advice.measured else conclusion(advice, config, folder)))
    if not advice.standing():
        runs.ProgressFile(config.progress_file).ended(conclusion(advice, config, folder)[0])
        return NOT_STARTED
    return DONE


def _only_the_push_is_left(config: Config, folder: Path, previous: runs.PreviousRun, team: Any) -> bool:
    """Whether a run that is resumed has been trained and evaluated: what is left needs its folder alone, wherever the data is."""
    if not previous.finished or config.dry_run or (config.push is None and config.baseline):
        return False
    with team.main_process_first() if team else nullcontext():
        reported = reported_in(folder) is not None
    if team:
        team.wait_for_everyone()  # the push rewrites what the others look for
    return reported


def _push_alone(config: Config, folder: Path) -> int:
    """A run that needs nothing but its push, if that; see :func:`main` for what is returned."""
    from train.report import read_facts

    log, best = runs.log_to(folder, quiet=config.json), folder / runs.BEST
    try:
        done = publish_again(config, folder)
    except PublishError as error:
        metrics = read_facts(best).metrics
        return _push_failed(log, config, folder, error, {"run": str(folder), "checkpoint": str(best), "metrics": metrics, "baseline": None, "pushed": None})
    if config.json:
        _print_json(done)
    return DONE


def _push_failed(log: Any, config: Config, folder: Path, error: Any, answer: dict[str, Any]) -> int:
    """Say that everything but the push is done; ``answer`` is what ``--json`` prints of it."""
    log.error("The checkpoint is kept in %s. %s", folder / runs.BEST, error)
    runs.ProgressFile(config.progress_file).ended(error.reason)
    if config.json:
        _print_json(answer)
    return PUSH_FAILED


def _print_plan(prepared: Any) -> None:
    """What ``--dry-run`` prints."""
    from train.setup import describe

    if prepared.config.json:
        _print_json({**prepared.facts(), "diagnosis": prepared.diagnosis.to_dict(), "problems": None}, indent=2)
    else:
        _print(describe(prepared))


def _print_json(answer: dict[str, Any], indent: int | None = None) -> None:
    """What ``--json`` prints: the texts in it are English, and ``messages`` says those that have them in other languages."""
    _print(json.dumps({**answer, "messages": [message.to_dict() for message in messages_in(answer)]}, indent=indent))


def _print(text: str) -> None:
    """Print what the run came to. A reader that has seen enough (``| head``) is no fault of the run, which ends as it would have, nor is a terminal
    that lacks letters of a class name."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python flushes at its end goes nowhere either


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
    from seg_demo.hub import client
    from train.report import read_facts, write_card

    facts = read_facts(folder)
    try:
        if facts is not None and facts.repo_id != repo_id:
            write_card(folder, replace(facts, repo_id=repo_id))
        before = _sha(repo_id)
        sha = client.push(folder, repo_id, private=private, message=message, say=_log.warning)
        different = client.verify(repo_id, sha, folder)
    except SegDemoError as error:
        raise PublishError(error.message, retry_hint(run_dir, repo_id, private)) from error
    if different:
        what = Message("push.arrived_different", files=", ".join(different), repo=repo_id, sha=sha)
        raise PublishError(what, retry_hint(run_dir, repo_id, private))
    return Published(repo_id, f"{client.host()}/{repo_id}", sha, before == sha)


def _sha(repo_id: str) -> str | None:
    """The newest commit of a repository; None if it is not there, or if the Hub does not say, which is no reason to give up."""
    from seg_demo.hub import client

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
    from seg_demo.core import recover_folder
    from train.report import read_facts

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
    from seg_demo import networks
    from train.report import read_facts

    facts = read_facts(folder / runs.BEST)
    score = networks.family(facts.architecture).metric(TASKS[facts.task])
    message = f"{facts.name}: {score} {facts.metrics[score]:.3f}" if score in facts.metrics else facts.name
    published = publish(folder / runs.BEST, repo_id, private=config.private, message=message, run_dir=folder)
    _log.info("Pushed to %s, revision %s", published.url, published.sha)
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
    from seg_demo import networks
    from train.report import add_onnx, read_facts
    from train.setup import check_rights

    best, facts = folder / runs.BEST, read_facts(folder / runs.BEST)
    networks.load(best)
    _log.info("This run has been trained and evaluated already; its checkpoint is %s", best)
    if config.onnx and facts.onnx is None:
        facts = add_onnx(best, facts)
    pushed = None
    if config.push is not None:
        runs.ProgressFile(config.progress_file)("publish", facts.steps, facts.steps)
        rights = check_rights(config.push or facts.repo_id, facts.name, "", config.private)
        pushed = push_best(config, folder, rights.repo_id)
    return {"run": str(folder), "checkpoint": str(best), "metrics": facts.metrics, "baseline": None, "pushed": pushed}


if __name__ == "__main__":
    sys.exit(main())

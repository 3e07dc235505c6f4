"""Fine-tune a segmentation network, say how good it is, and push it: prepare → fit → evaluate → publish.

python train/finetune.py                        a U-Net on the built-in data
python train/finetune.py --data my_folder --model unet-cells --push
python train/finetune.py --data my_folder --dry-run
"""

from __future__ import annotations

import json
import shlex
import sys
import traceback
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

# `python train/finetune.py` puts train/ on the path, not the folder above it, where both packages are.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from seg_demo.core.errors import SegDemoError  # noqa: E402
from seg_demo.hub.redact import redacted  # noqa: E402
from train.config import (  # noqa: E402
    Config,
    ConfigError,
    parse,  # noqa: E402
)
from train.run import Stopped, Stopper  # noqa: E402

DONE, BUG, NOT_STARTED, DIVERGED, PUSH_FAILED = 0, 1, 2, 3, 4


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 done; 2 nothing was started; 3 diverged; 4 trained, but the push failed; 130 and 143 stopped by
        Ctrl-C and SIGTERM after saving; 1 our own bug.
    """
    try:
        config, given = parse(sys.argv[1:] if argv is None else argv)
        return run(config, given)
    except ConfigError as error:
        print(f"Nothing was started:\n{error}", file=sys.stderr)
        return NOT_STARTED
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except Stopped as stopped:
        print("Stopped.", file=sys.stderr)
        return stopped.exit_code
    except Exception:
        print(redacted(traceback.format_exc()), file=sys.stderr)
        print("This is a bug in the training command, not in your data or settings; please report it.", file=sys.stderr)
        return BUG


def run(config: Config, given: frozenset[str]) -> int:
    """Prepare, fit, evaluate, publish; see :func:`main` for what is returned.

    Args:
        config: checked.
        given: names of the fields that were given rather than left at their defaults.

    Raises:
        ConfigError: nothing was started; every problem that was found.
    """
    from train import run as runs

    folder = Path(config.resume or config.output or "runs")
    if config.resume:
        config = runs.resumed(config, given)
    elif config.output:
        runs.check_new(folder)

    # torch and its friends take seconds to import; a wrong flag was answered before.
    from accelerate.utils import set_seed

    from train import setup as preparing
    from train.publish import reported_in
    from train.run import ProgressFile, run_lock
    from train.setup import accelerator_of, launched
    from train.trainer import Trainer

    ProgressFile(config.progress_file)("prepare")  # whoever watches knows that it has begun
    try:
        team = launched(config)
        main_process = team is None or team.is_main_process
        with ExitStack() as held:
            progress = None
            if config.resume:
                if main_process and not config.dry_run:
                    held.enter_context(run_lock(folder))
                progress = runs.progress_of(folder)
                if progress.finished and not config.dry_run and (config.push is not None or not config.baseline):
                    with team.main_process_first() if team else nullcontext():
                        reported = reported_in(folder) is not None
                    if team:
                        team.wait_for_everyone()  # the push rewrites what the others look for
                    if reported:
                        return _again(config, folder) if main_process else DONE
            try:
                prepared = _prepared(config, team, progress)
            except preparing.NotPrepared as error:
                if config.dry_run and config.json and main_process:
                    found = error.diagnosis and error.diagnosis.to_dict()
                    print(json.dumps({"problems": str(error), "diagnosis": found}, indent=2))
                raise
            if config.dry_run:
                if main_process:
                    _say(prepared)
                return DONE
            set_seed(config.seed)
            accelerator = accelerator_of(prepared, team)
            if main_process and not config.resume:
                folder = runs.new_folder(config, prepared.dataset.name)
                held.enter_context(run_lock(folder))
                runs.check_new(folder)  # another run may have been here while the data was read
            stopper = held.enter_context(Stopper())
            return _work(Trainer(prepared, accelerator, folder, progress), stopper)
    except ConfigError:
        raise
    except SegDemoError as error:
        raise ConfigError(str(error)) from error


def _prepared(config: Config, team, progress):
    """What :func:`train.setup.prepare` makes; one process of each machine downloads and reads before the others."""
    from train import setup as preparing

    main_process = team is None or team.is_main_process
    if not main_process:
        config = replace(config, push=None)  # the main process asks for the rights, and pushes
    if progress is None or progress.state is None:
        preparing.check_network(config)
    with team.local_main_process_first() if team else nullcontext():
        return preparing.prepare(config, team.num_processes if team else 1, config.json or not main_process, progress)


def _say(prepared) -> None:
    """What ``--dry-run`` prints."""
    from train.setup import describe

    if prepared.config.json:
        print(json.dumps({**prepared.facts(), "diagnosis": prepared.diagnosis.to_dict(), "problems": None}, indent=2))
    else:
        print(describe(prepared))


def _again(config: Config, folder: Path) -> int:
    """A run that needs nothing but its push, if that; see :func:`main` for what is returned."""
    from train import run as runs
    from train.publish import PublishError, publish_again

    log = runs.log_to(folder, quiet=config.json)
    try:
        done = publish_again(config, folder)
    except PublishError as error:
        log.error("The checkpoint is kept in %s. %s", folder / runs.BEST, error)
        return PUSH_FAILED
    if config.json:
        print(json.dumps(done))
    return DONE


def _work(trainer, stopper: Stopper) -> int:
    """Fit, evaluate and publish in a folder that is locked; see :func:`main` for what is returned."""
    from seg_demo.inference.devices import out_of_memory
    from train import run as runs
    from train.run import Diverged

    config, folder = trainer.prepared.config, trainer.folder
    main_process = trainer.accelerator.is_main_process
    log = runs.log_to(folder if main_process else None, quiet=config.json or not main_process)
    resume = f"python train/finetune.py --resume {shlex.quote(str(folder))}"
    try:
        trainer.begin()
        trainer.fit(stopper)
        if not main_process:
            return DONE
        results = trainer.evaluate()
        baseline = trainer.measure_base() if config.baseline else None
        published = trainer.publish(results) if config.push is not None else None
    except Diverged as error:
        log.error("Diverged. %s\nIts folder: %s", error, folder)
        return DIVERGED
    except Stopped as stopped:
        if main_process:
            log.warning("Stopped at your request; everything done so far is saved. Continue with: %s", resume)
        return stopped.exit_code
    except SegDemoError as error:
        if trainer.stage == "begin":
            raise ConfigError(str(error)) from error
        if trainer.stage == "publish":
            log.error("The checkpoint is kept in %s. %s", folder / runs.BEST, error)
            return PUSH_FAILED
        log.error("%s\nEverything done so far is saved in %s. When that is fixed, run: %s", error, folder, resume)
        return BUG
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        log.error(
            "Memory ran out. Free some memory and resume, or start again with a smaller --batch-size or --image-size.\n"
            "Everything done so far is saved in %s. Continue with: %s", folder, resume,
        )  # fmt: skip
        return BUG
    if config.json:
        print(
            json.dumps(
                {
                    "run": str(folder),
                    "checkpoint": str(folder / runs.BEST),
                    "metrics": results,
                    "baseline": baseline,
                    "pushed": published,
                }
            )
        )
    return DONE


if __name__ == "__main__":
    sys.exit(main())

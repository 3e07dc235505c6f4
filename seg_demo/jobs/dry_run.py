"""What the training command would do with a job's data, and what is wrong with them: asked before anything is started."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seg_demo.errors import BadRequestError
from seg_demo.jobs.launch import ROOT, no_process

CHECK_SECONDS = 900


def dry_run(command: Sequence[str], environ: Mapping[str, str], in_public: Callable[[str], str]) -> dict[str, Any]:
    """Run the training command with ``--dry-run --json``.

    Args:
        command: with its configuration.
        environ: variables of the process.
        in_public: makes of what the command says what a visitor may read.

    Returns:
        Its answer: the plan with ``diagnosis`` and ``problems`` (None if it may start), every text fit for a visitor.

    Raises:
        BadRequestError: the command gave no answer.
        BusyError: no process can be started.
    """
    command = [*command, "--dry-run", "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CHECK_SECONDS, stdin=subprocess.DEVNULL, cwd=ROOT, env=dict(environ)
        )
    except OSError as error:
        raise no_process(error.strerror) from error
    except subprocess.TimeoutExpired:
        raise BadRequestError(f"Checking the data took more than {CHECK_SECONDS // 60} minutes. Send less data.") from None
    said = in_public(done.stderr).strip()
    if done.returncode not in (0, 2):
        raise BadRequestError(f"The data could not be checked: {said[-600:]}")
    try:
        return _each_text(json.loads(done.stdout), in_public)
    except ValueError:
        return {"problems": said.removeprefix("Nothing was started:").strip()[-4000:], "diagnosis": None}


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """JSON with each of its texts changed; names of values stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(each, change) for each in value]
    if isinstance(value, dict):
        return {key: _each_text(each, change) for key, each in value.items()}
    return value

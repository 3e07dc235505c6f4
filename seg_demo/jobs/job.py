"""One fine-tuning job as its folder says: what it is, how far it is, how it ended. Nothing is kept in memory."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg_demo.jobs import files, processes
from seg_demo.jobs.launch import ROOT
from seg_demo.jobs.verdict import Verdict, judge

# States of a job. A draft has been checked, not started; an interrupted one lost its process to a crash or a power cut.
DRAFT, RUNNING, DONE, STOPPED, DIVERGED, REFUSED, FAILED, INTERRUPTED = (
    "draft", "running", "done", "stopped", "diverged", "refused", "failed", "interrupted",
)  # fmt: skip
# The exit codes of train/finetune.py; a signal's number is negative where it came before the command could catch it.
_ENDS = {0: DONE, 2: REFUSED, 3: DIVERGED, 130: STOPPED, 143: STOPPED, -2: STOPPED, -15: STOPPED}
# A line of the log that begins a record, and all of a trace but its last line.
_RECORD = re.compile(r"\S+Z (\w+) ")
_TRACE = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*", re.MULTILINE)
RESUMABLE = (STOPPED, INTERRUPTED, FAILED, DIVERGED)


@dataclass(frozen=True)
class Job:
    """A job; made by :class:`seg_demo.jobs.store.Jobs`.

    Attributes:
        folder: everything about it.
        id: name of the folder.
        about: ``name``, ``base``, ``owner``, ``created`` as written when it was made.
    """

    folder: Path
    id: str
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """What it is called on the page."""
        return str(self.about.get("name", self.id))

    @property
    def owner(self) -> str:
        """Whose it is, as in :mod:`seg_demo.ownership`; empty for the jobs of earlier versions, which had none."""
        return str(self.about.get("owner") or "")

    @property
    def run(self) -> Path:
        """The run folder of the training command."""
        return self.folder / files.RUN

    @property
    def checkpoint(self) -> Path:
        """The best weights so far, a checkpoint folder."""
        return self.run / "best"

    @property
    def samples(self) -> Path | None:
        """A picture of the worst held-out images: of the finished run, else of its latest evaluation; None before."""
        places = [self.checkpoint] * (self.state() == DONE) + [self.run]
        return next((found for place in places if (found := place / "samples.png").is_file()), None)

    @property
    def readings(self) -> bytes | None:
        """A PNG of one sample in each of several equally likely readings of the masks, if the last check drew it."""
        try:
            return (self.folder / files.READINGS).read_bytes()
        except OSError:
            return None

    def state(self) -> str:
        """One of the states above, from what lies on the disk and which processes run."""
        ended = files.read_json(self.folder / files.EXIT)
        if isinstance(ended, dict):
            return _ENDS.get(ended.get("code"), FAILED)
        if not (self.folder / files.RUNNER).exists():
            return DRAFT
        alive = any(processes.runs(files.read_json(self.folder / name)) for name in (files.RUNNER, files.CHILD))
        return RUNNING if alive else INTERRUPTED

    def exit_code(self) -> int | None:
        """How the command ended; None while it runs, or if nobody saw it."""
        ended = files.read_json(self.folder / files.EXIT)
        return ended.get("code") if isinstance(ended, dict) else None

    def progress(self) -> dict[str, Any]:
        """How far the command is: ``stage``, ``step``, ``total``, ``loss``, ``seconds``; empty before it says anything."""
        found = files.read_json(self.folder / files.PROGRESS)
        return found if isinstance(found, dict) else {}

    def curves(self) -> list[dict[str, float]]:
        """The evaluations so far: one dict per line of ``metrics.jsonl``, finite numbers only."""
        try:
            lines = (self.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
        except (OSError, ValueError):
            return []
        return [{key: value for key, value in row.items() if _is_number(value)} for row in rows]

    def log(self, lines: int = 30) -> str:
        """The last lines of the run's log, or of the terminal where there is no log: why a run could not begin.

        Paths and traces of this machine are left out; the files have them.
        """
        log = files.tail(self.run / "log.txt", lines)
        if not log or self.exit_code() not in (None, 0, 143, 130):
            console = files.tail(self.folder / files.CONSOLE, lines)
            # What the log says is also written to the terminal.
            log = "\n".join([log, *(line for line in console.splitlines() if not line or line not in log)])
        return self.in_public(log).strip()

    def reason(self) -> str:
        """Why it ended before it was done, in a sentence or two; empty if it said nothing, as what is killed does."""
        if (state := self.state()) == REFUSED:
            return self.in_public(files.tail(self.folder / files.CONSOLE).rpartition("Nothing was started:")[2]).strip()
        if state not in (FAILED, DIVERGED):
            return ""
        if (ended := files.read_json(self.folder / files.EXIT)) and ended.get("why"):
            return self.in_public(str(ended["why"]))
        last = files.tail(self.run / "log.txt").splitlines()[::-1]
        for line in last:
            if (found := _RECORD.match(line)) is not None:
                return self.in_public(line[found.end() :]).strip() if found[1] == "ERROR" else ""
        return ""

    def in_public(self, text: str) -> str:
        """What the command said, without where the job and this program lie, and of a trace its last line alone."""
        for place in (self.folder, ROOT):
            text = text.replace(f"{place}{os.sep}", "")
        return _TRACE.sub("", text).replace(str(self.folder), self.id)

    def result(self) -> dict[str, Any] | None:
        """What the command answered when it was done: ``metrics``, ``baseline``, ``pushed``; None before."""
        found = files.read_json(self.folder / files.RESULT)
        return found if isinstance(found, dict) else None

    def verdict(self) -> Verdict | None:
        """Whether it became better; None before it is done."""
        result = self.result()
        return None if result is None else judge(result, self.curves())

    def check(self) -> dict[str, Any]:
        """What the dry run found: the plan, the ``diagnosis`` and the ``problems`` (None if it may start)."""
        found = files.read_json(self.folder / files.CHECK)
        return found if isinstance(found, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

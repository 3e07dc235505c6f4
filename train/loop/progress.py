"""How far a run is, for programs that watch it: one small JSON file, replaced at most once a second."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from seg_demo.storage import write_atomically

PAUSE = 1.0


class ProgressFile:
    """``{"stage", "step", "total", "loss", "seconds", "left"}`` in a file; a failing disk never stops a run.

    Args:
        path: the file; None writes nothing.
    """

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self._last = -PAUSE
        self._began = time.monotonic()

    def __call__(self, stage: str, step: int = 0, total: int = 0, loss: float | None = None, left: float | None = None) -> None:
        """Say how far the run is.

        Args:
            stage: ``prepare``, ``fit``, ``evaluate`` or ``publish``; a new stage is written at once.
            step: optimizer steps done.
            total: of how many.
            loss: of the last step.
            left: seconds that the run will still take, as far as its own pace tells; None before it does.
        """
        now = time.monotonic()
        if self._path is None or (stage == "fit" and 0 < step < total and now - self._last < PAUSE):
            return
        self._last = now
        seconds, rest = round(now - self._began, 1), None if left is None else round(left, 1)
        content = {"stage": stage, "step": step, "total": total, "loss": loss, "seconds": seconds, "left": rest}
        with suppress(OSError):
            write_atomically(self._path, json.dumps(content))

"""``--report-to``: every evaluation also in TensorBoard or trackio, through accelerate's trackers."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker

from train.config import Config


class Trackio(TrackioTracker):
    """Accelerate's, whose library greets on stdout: that belongs to ``--json``, so it is sent to stderr."""

    def start(self) -> None:
        """Open the run."""
        with redirect_stdout(sys.stderr):
            super().start()

    def finish(self) -> None:
        """Close the run. By the library's own function, or it would close it, and say so, once more at the exit."""
        import trackio

        with redirect_stdout(sys.stderr):
            trackio.finish()


def start_tracker(config: Config, folder: Path, step: int) -> GeneralTracker | None:
    """A tracker that is ready to log.

    Args:
        config: ``report_to`` says which. That its package is installed has been checked.
        folder: of the run. TensorBoard's files go into ``tensorboard/`` in it; trackio keeps its own store, where the run
            has the folder's name in the project ``seg-demo``.
        step: of the run. What TensorBoard has from later ones, logged before a kill, is dropped.

    Returns:
        None for ``none``.
    """
    if config.report_to == "none":
        return None
    if config.report_to == "tensorboard":
        tracker = TensorBoardTracker("tensorboard", logging_dir=folder, purge_step=step + 1)
    else:
        tracker = Trackio("seg-demo", name=folder.resolve().name, config=config.to_dict(), resume="allow")
    tracker.start()
    return tracker


def log_line(tracker: GeneralTracker | None, line: dict[str, Any]) -> None:
    """Log one evaluation.

    Args:
        tracker: of :func:`start_tracker`.
        line: as in ``metrics.jsonl``.
    """
    if tracker is not None:
        tracker.log({name: value for name, value in line.items() if name != "step"}, step=line["step"])

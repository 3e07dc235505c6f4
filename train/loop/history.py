"""What a run has learnt about itself so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


class Diverged(Exception):
    """The loss, its gradient or the network's answer is no longer a number; the message names the step and the samples."""


@dataclass
class History:
    """What a run has learnt about itself so far; saved with the weights.

    Attributes:
        step: optimizer steps done.
        best: best score so far, or None.
        stale: evaluations since the best.
        lines: one dict per evaluation, as in ``metrics.jsonl``.
        finished: the loop ran to its end.
        evaluated: step of the last evaluation; a run that was killed during one repeats it.
        loss_sum: sum of the losses of the steps since then.
        loss_steps: number of those steps.
        seconds: time spent in the loop.
    """

    step: int = 0
    best: float | None = None
    stale: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False
    evaluated: int | None = None
    loss_sum: float = 0.0
    loss_steps: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.evaluated is None:
            self.evaluated = self.lines[-1]["step"] if self.lines else 0

    def sentence(self, score: str) -> str:
        """The last evaluation, for the log.

        >>> History(lines=[{"step": 8, "loss": 0.25, "mean_iou": 0.5, "seconds": 61.2}]).sentence("mean_iou")
        'step 8  loss 0.2500  mean_iou 0.5000 (best)  61 s'

        Args:
            score: name of the metric that decides.
        """
        line = self.lines[-1]
        found = f"{score} {line.get(score, math.nan):.4f}"
        if not line["step"]:
            return f"before the first step: {found}"
        return f"step {line['step']}  loss {line['loss']:.4f}  {found}{'' if self.stale else ' (best)'}  {line['seconds']:.0f} s"

    def due(self, every: int, total: int) -> bool:
        """Whether the present weights are to be evaluated before the next step.

        >>> [History(step=step, evaluated=4).due(4, 10) for step in (4, 6, 8, 10)]
        [False, False, True, True]

        Args:
            every: steps between evaluations.
            total: steps of the run.
        """
        return self.step != self.evaluated and (self.step % every == 0 or self.step == total)

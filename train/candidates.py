"""What is compared when networks are compared on a person's data, and what has been found: candidates, rungs, the standing.

A candidate is a network with what it starts from and the side of its crops; the registry's classes say which there are.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from seg_demo import networks
from seg_demo.core import SegDemoError, lines, messages_in, restored
from seg_demo.hub import lookup
from seg_demo.serving import catalog
from train import run as runs
from train.base_model import architecture_of, menu
from train.config import OF_CLASSES, Config, ConfigError, has_own_loss, meaningless

if TYPE_CHECKING:
    from seg_demo.networks.base import TrainingDefaults

# Below it two networks are as good as each other: trainings that differ by their seed alone differ by as much.
MARGIN = 0.005

# What begins with weights from elsewhere is a network of tens of millions of parameters that sees larger crops: a step takes many times as long.
LARGE = 10

# What may become of a candidate.
WAITING, RACING, BEHIND, LEFT_OUT, FAILED = "waiting", "racing", "behind", "left-out", "failed"


@dataclass
class Candidate:
    """A network with what it starts from and the side of its crops, and what has been measured of it.

    Attributes:
        model: as ``--model`` takes it.
        image_size: side of the crops in pixels where it is not the one that suits the network, else None.
        order: what is tried first: 0 what knows something, 1 its other crops, 2 what begins with random weights; then what
            a step costs, so that a slow network takes nobody's turn.
        state: one of those above.
        why: why it is not compared, or None.
        architecture: name of the family.
        base: id of the model that it starts from, or None.
        pretrained: False if every layer is fresh.
        parameters: how many numbers are learnt.
        crop: side of its crops in pixels.
        total: optimizer steps of a training with the network's own defaults.
        paces: seconds of a step, of each training.
        overheads: seconds of each training that were no steps: reading, loading, measuring.
        steps: that each fold's training has come to.
        scores: of each rung and fold, in [0, 1], None where it was not measured.
        seconds: that were spent on it.
    """

    model: str
    image_size: int | None = None
    order: tuple[int, float] = (0, 0)
    state: str = WAITING
    why: str | None = None
    architecture: str = ""
    base: str | None = None
    pretrained: bool = False
    parameters: int = 0
    crop: int = 0
    total: int = 0
    paces: list[float] = field(default_factory=list)
    overheads: list[float] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)
    scores: list[list[float | None]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.model} ({self.crop})" if self.crop else self.model

    @property
    def pace(self) -> float:
        """Seconds of a step: the middle of its trainings', so that a busy moment of the machine does not decide."""
        return statistics.median(self.paces) if self.paces else 0.0

    @property
    def overhead(self) -> float:
        """Seconds of a training beside its steps."""
        return statistics.median(self.overheads) if self.overheads else 0.0

    def score(self, rung: int, fold: int) -> float | None:
        """What was measured in a rung on a fold; None if nothing was."""
        return self.scores[rung][fold] if 0 <= rung < len(self.scores) else None

    def measured(self, rung: int, fold: int, count: int, score: float) -> None:
        """Write down a score.

        Args:
            rung: from 0.
            fold: from 0.
            count: of folds.
            score: in [0, 1].
        """
        while len(self.scores) <= rung:
            self.scores.append([None] * count)
        self.scores[rung][fold] = score

    def last(self) -> tuple[int, list[float]]:
        """The last rung in which anything was measured of it, and the scores of its folds; (-1, []) where nothing was."""
        for rung in range(len(self.scores) - 1, -1, -1):
            if found := [score for score in self.scores[rung] if score is not None]:
                return rung, found
        return -1, []

    def config(self, config: Config) -> Config:
        """The configuration of its trainings.

        Args:
            config: of the comparison.
        """
        quiet = {"json": True, "progress_file": None, "advise": False, "minutes": None, "dry_run": False}
        return replace(config, model=self.model, image_size=self.image_size or config.image_size, schedule="constant", patience=0, **quiet)


@dataclass
class Advice:
    """What a comparison has found so far.

    Attributes:
        data: short name of the data.
        sha256: digest of the data.
        task: what the networks answer, by its name.
        metric: what they are compared by.
        minutes: how long it may take.
        pictures: how many were used.
        of_pictures: how many there are to learn from.
        folds: parts of the cross-validation.
        candidates: all of them.
        sizes: how many candidates train in each rung; empty before it is known how fast they are.
        targets: seconds of training in each rung so far, counted from the training's beginning.
        rung: the present one.
        spent: seconds so far.
        done: it came to its end.
        command: the command line without the winner, of which :meth:`to_dict` makes the whole one.
        notes: what a person should know.
    """

    data: str
    sha256: str
    task: str
    metric: str
    minutes: float
    pictures: int
    of_pictures: int
    folds: int
    candidates: list[Candidate]
    sizes: list[int] = field(default_factory=list)
    targets: list[float] = field(default_factory=list)
    rung: int = 0
    spent: float = 0.0
    done: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Whether there is a score of anything."""
        return any(candidate.scores for candidate in self.candidates)

    def racing(self) -> list[Candidate]:
        """Those that have not been stopped."""
        return [candidate for candidate in self.candidates if candidate.state == RACING]

    def standing(self) -> list[Candidate]:
        """Those that have not been stopped, the best first: by the latest rung of which all have a fold in common, and among equals the
        faster one. Where the time ended before there was one, those that were measured on all folds. Empty where none was."""
        return self._ranked()[0]

    def _ranked(self) -> tuple[list[Candidate], int, list[int]]:
        alive = self.racing()
        for rung in range(len(self.targets) - 1, -1, -1):
            common = [fold for fold in range(self.folds) if all(known.score(rung, fold) is not None for known in alive)]
            if alive and common:
                return _by_mean(alive, rung, common), rung, common
        everywhere = list(range(self.folds))
        whole = [known for known in alive if self.targets and all(known.score(0, fold) is not None for fold in everywhere)]
        return (_by_mean(whole, 0, everywhere), 0, everywhere) if whole else ([], -1, [])

    def undecided(self) -> bool:
        """Whether the best two are as good as each other: less than :data:`MARGIN` apart, or not in the same order on every fold."""
        ranked, rung, common = self._ranked()
        if len(ranked) < 2:
            return False
        gains = [ranked[0].score(rung, fold) - ranked[1].score(rung, fold) for fold in common]
        return statistics.fmean(gains) < MARGIN or min(gains) <= 0

    def rows(self) -> list[dict[str, Any]]:
        """What a table shows, the best first: ``place`` (1 is the winner, None what is not compared), ``name``, ``model``,
        ``image_size``, ``architecture``, ``base``, ``pretrained``, ``crop`` (pixels), ``parameters``, ``state``, ``why``, ``mean`` and
        ``spread`` (standard deviation over the folds) of the metric, ``scores`` of its folds, ``trained`` (seconds of training on
        each fold, after which these were measured), ``steps``, ``seconds`` (all that it took), ``minutes_to_train``."""
        ranked = self.standing()
        behind = [known for known in self.candidates if known.state == BEHIND]
        behind.sort(key=lambda known: (-known.last()[0], -statistics.fmean(known.last()[1] or [0.0])))
        others = [known for known in self.candidates if known not in ranked and known not in behind]
        rows = []
        for place, known in enumerate((*ranked, *behind, *others), start=1):
            rung, scores = known.last()
            rows.append(
                {
                    "place": place if scores and known not in others else None, "name": known.name, "model": known.model, "image_size": known.image_size,
                    "architecture": known.architecture, "base": known.base, "pretrained": known.pretrained, "crop": known.crop,
                    "parameters": known.parameters, "state": known.state, "why": known.why,
                    "mean": statistics.fmean(scores) if scores else None,
                    "spread": statistics.stdev(scores) if len(scores) > 1 else None, "scores": scores,
                    "trained": self.targets[rung] if scores else None, "steps": max(known.steps.values(), default=0),
                    "seconds": known.seconds, "minutes_to_train": known.total * known.pace / 60,
                }
            )  # fmt: skip
        return rows

    def to_dict(self, config: Config | None = None) -> dict[str, Any]:
        """JSON-able: the fields, ``rows`` of the table, ``winner`` (its name, or None), ``undecided`` and ``command``, which trains it.

        Args:
            config: of the comparison, for the command.
        """
        ranked = self.standing()
        content = {**asdict(self), "rows": self.rows(), "winner": ranked[0].name if ranked else None, "undecided": self.undecided()}
        content["command"] = command_for(config, ranked[0]) if ranked and config else None
        return {**content, "messages": [message.to_dict() for message in messages_in(content)]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Advice:
        """Inverse of :meth:`to_dict`.

        Raises:
            TypeError: it is none.
        """
        content = restored(content, content["messages"])
        known = {one.name for one in fields(cls)}
        rows = [Candidate(**{**row, "order": tuple(row["order"])}) for row in content["candidates"]]
        return cls(**{name: value for name, value in content.items() if name in known} | {"candidates": rows})


def _by_mean(rows: Sequence[Candidate], rung: int, chosen: Sequence[int]) -> list[Candidate]:
    """The best first, by the mean of some folds; among equals the faster one."""
    means = {id(known): statistics.fmean(known.score(rung, fold) for fold in chosen) for known in rows}
    return sorted(rows, key=lambda known: (-means[id(known)], known.pace))


def command_for(config: Config, winner: Candidate) -> str:
    """The command line that trains a candidate on all of the data, with everything else that was asked for.

    Args:
        config: of the comparison.
        winner: the candidate; it has been trained, so that its family is known.
    """
    plain = {name: getattr(Config(), name) for name in OF_CLASSES} if has_own_loss(winner.architecture) else {}
    asked = replace(config, model=winner.model, image_size=winner.image_size or config.image_size, advise=False, minutes=None, **plain)
    return runs.command_of(asked)


def candidates(config: Config, given: Collection[str], kind: str) -> list[Candidate]:
    """What is worth comparing: what is bundled or was trained here, and every family that learns from such data, from its base or
    its encoder where that can be had and else from random weights; what was asked for by ``--model`` alone, if it was.

    Args:
        config: of the comparison.
        given: names of the settings that were given rather than left at their defaults.
        kind: name of the task that the data is truth for.
    """
    if "model" in given or config.model != Config().model:
        return [Candidate(config.model)]
    learnable = {
        row.name: row.network.training for row in networks.FAMILIES.values()
        if not row.prompts and any(task.name == kind for task in row.tasks) and row.network.training is not None
    }  # fmt: skip
    here = [spec for spec in menu() if spec.source in ("bundled", "folder") and spec.answers(kind) and spec.architecture in learnable]
    found = [Candidate(spec.id, order=(0, learnable[spec.architecture].step_cost)) for spec in here]
    known = {spec.id for spec in here}
    if config.from_scratch:
        found, known = [], set()
    for name, training in learnable.items():
        if training.base not in known:
            better = _can_be_had(training) and not config.from_scratch
            found.append(Candidate(name, order=(0, LARGE * training.step_cost) if better else (2, training.step_cost)))
    return found


def refuse_what_none_looks_at(config: Config, models: Sequence[str]) -> None:
    """Settings of the loss that mean nothing to any candidate; where some look at them, the trainings of those have them.

    Args:
        config: of the comparison.
        models: of the candidates, as ``--model`` takes them.

    Raises:
        ConfigError: there are such.
        SegDemoError: there is no such model.
    """
    unused = [meaningless(config, architecture_of(replace(config, model=model)) or "", ", ".join(models)) for model in models]
    if unused and all(unused):
        raise ConfigError(lines(*unused[0]))


def _can_be_had(training: TrainingDefaults) -> bool:
    """Whether a family's bare name starts from weights that know something."""
    if training.pretrained_encoder is not None:
        return lookup.reachable()
    try:
        return training.base is not None and catalog.available(catalog.resolve(training.base, local_folders=False))
    except SegDemoError:
        return False


def halved(count: int) -> list[int]:
    """How many candidates train in each rung: half of those before, until two are left.

    >>> halved(10), halved(2), halved(1)
    ([10, 5, 3, 2], [2], [1])

    Args:
        count: of candidates, at least 1.
    """
    sizes = [count]
    while sizes[-1] > 2:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def training_seconds(left: float, sizes: Sequence[int], count: int, overhead: float, before: float) -> float:
    """How long each training of the next rung has trained at its end, if every rung trains twice as long as the one before it and
    all rungs together fill the time.

    >>> training_seconds(600, [4, 2], 3, 0, 0), training_seconds(300, [2], 3, 10, 20)
    (33.333333333333336, 60.0)

    Args:
        left: seconds for all of them.
        sizes: candidates of the next rung and of those after it.
        count: of folds.
        overhead: seconds of a training that are no steps.
        before: seconds that each has trained in the rungs before.
    """
    # In the first of these rungs a training grows from ``before`` to T, in the next by T, then by 2 T, and so on.
    growth = sizes[0] + sum(size * 2**index for index, size in enumerate(sizes[1:]))
    return (left / count - overhead * sum(sizes) + before * sizes[0]) / growth

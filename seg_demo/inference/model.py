"""One loaded model: an image in, a Segmentation at its size out. The demo, the API, the command and training's evaluation
all predict through here; behind it are a network's stages on its device, or a region method.

A GPU computes eight small images in hardly more time than one. So, while other requests for a model are under way, the first waits a
moment for them and computes with those whose input has the same size. On a CPU, which gains nothing by this, requests queue.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from seg_demo.core import (
    AUTO, MOST_SHOWN, TASKS, BadCheckpointError, BadImageError, BadRequestError, LabelSet, Message, ModelSpec, Options, Picture, Report, Segmentation,
    Stack, Task, View, requests,
)
from seg_demo.core.settings import settings
from seg_demo.inference import engine as devices
from seg_demo.inference import rasters, tiled
from seg_demo.inference.explain import Explanation, explain
from seg_demo.inference.prompting import PromptRun, Session
from seg_demo.inputs.images import Source, read
from seg_demo.masks.semantic import to_device
from seg_demo.networks.checkpoint import UNFAMILIAR

if TYPE_CHECKING:
    from seg_demo.inference.engine import Engine
    from seg_demo.inputs.scientific import Raster, Values
    from seg_demo.networks.base import Network


class Model:
    """A model that is ready to predict.

    Attributes:
        spec: what it is, with the architecture, task and class names as loaded.
        labels: its classes.
    """

    def __init__(self, spec: ModelSpec, labels: LabelSet, run: Run, nbytes: int) -> None:
        self.spec, self.labels = spec, labels
        self._run, self._nbytes = run, nbytes

    @property
    def nbytes(self) -> int:
        """Memory of its weights in bytes; those that an engine holds besides are added once it has compiled."""
        engine = getattr(self._run, "engine", None)
        return self._nbytes + (0 if engine is None else engine.nbytes)

    @property
    def samples(self) -> int | None:
        """Channels of a file's own samples that it takes (``channels`` of :func:`seg_demo.inputs.images.read`); None for what a person sees."""
        return self._run.network.preprocessing.samples if isinstance(self._run, NetworkRun) else None

    @property
    def agreement(self) -> float | None:
        """The share of decisions, on the first image, that a compiled network shares with eager torch in fp32; else None."""
        return getattr(getattr(self._run, "engine", None), "agreement", None)

    @classmethod
    def from_network(
        cls,
        network: Network,
        spec: ModelSpec,
        precision: str | None = None,
        engine: Engine | None = None,
        window: float | None = None,
    ) -> Model:
        """A model around a network in memory, on the device that its weights are on. The module is left as it is.

        Args:
            network: may be in training; it is put into eval mode while it predicts.
            spec: what to call it; architecture, task and classes are the network's.
            precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``; None takes the setting.
            engine: of :func:`seg_demo.inference.engine.choose`, for a module that is not trained any more; None is eager torch.
            window: seconds for which a request waits for others to be computed with; None computes each alone.
        """
        known = replace(
            spec, architecture=network.name, labels=network.labels.names, notes=network.notes, channels=network.channels, **network.answers
        )
        precision = precision or settings().precision
        run = PromptRun(network, precision, engine) if network.family.prompts else NetworkRun(network, precision, engine, window)
        return cls(known, network.labels, run, network.nbytes)

    @classmethod
    def classical(cls, spec: ModelSpec) -> Model:
        """A region method as a model without weights.

        Args:
            spec: whose id is the method.
        """
        return cls(spec, LabelSet.from_names(spec.labels, background=0), RegionRun(spec.id, {}), 0)

    def named(self, spec: ModelSpec) -> Model:
        """The same model, weights shared, under the id and revision that it was asked for by."""
        if (spec.id, spec.revision) == (self.spec.id, self.spec.revision):
            return self
        known = replace(self.spec, id=spec.id, revision=spec.revision, title=spec.title)
        return Model(known, self.labels, self._run, self._nbytes)

    def predict(
        self,
        image: Source,
        threshold: float = 0.5,
        *,
        detail: str = "whole",
        confidence: bool = False,
        report: Report | None = None,
        smoothing: float | None = None,
        task: str = AUTO,
        thresholds: Mapping[str, float] | None = None,
        view: object = None,
        looks: int = 1,
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: PIL image, uint8 (H, W, 3) RGB, or the path or bytes of a file.
            threshold: score in [0, 1] that objects of instance models must reach; other models have none.
            detail: ``whole`` shrinks a large image to what the network takes at once; ``full`` goes over its own pixels tile
                by tile. Images no larger than a tile, and region methods, are the same either way.
            confidence: also compute how sure the network is of every pixel, ``Segmentation.confidence``.
            report: called with the fraction done and a few words after each tile.
            smoothing: standard deviation in pixels of the blur before Otsu's threshold or the search for edges; None takes the
                method's default. Other models have none.
            task: what to answer, for models that answer several; ``auto`` is what it was made for.
            thresholds: of panoptic results: ``score``, ``mask`` and ``overlap``, in [0, 1], as :class:`seg_demo.masks.queries.Thresholds`
                explains them; what is left out is the library's default.
            view: what of a scientific file is looked at, such as ``{"z": 3, "channels": [1]}``, see :class:`seg_demo.core.picture.View`; None
                leaves that to the file.
            looks: 1, 2 (also mirrored) or 4 (also upside down): the mean of so many answers of a network of classes, for as much time.

        Raises:
            BadImageError: not an image, or too large for the settings or the memory.
            BadRequestError: a threshold that is no number from 0 to 1, another detail, another number of looks, what a model does not have: a
                smoothing, a task, more looks than one.
        """
        options = Options(threshold, detail, confidence, requests.smoothed(smoothing), task, thresholds=thresholds or {}, view=view, looks=looks)
        return self.run(image, options, report).above(options.threshold)

    def predict_all(
        self,
        image: Source,
        *,
        detail: str = "whole",
        confidence: bool = False,
        report: Report | None = None,
        smoothing: float | None = None,
    ) -> Segmentation:
        """Segment one image and keep every candidate, so that ``Segmentation.above`` can filter without the network.

        Args:
            image, detail, confidence, report, smoothing: as for :meth:`predict`.

        Raises:
            BadImageError: not an image, or too large for the settings or the memory.
            BadRequestError: another detail, or a smoothing for a model that has none.
        """
        return self.run(image, Options(detail=detail, confidence=confidence, parameters=requests.smoothed(smoothing)), report)

    def prompt(self, image: Source, view: object = None, embed: Callable[[Picture], Any] | None = None) -> Session:
        """Look at a picture, to answer clicks, boxes, earlier masks or words about it.

        Args:
            image: as for :meth:`predict`.
            view: as for :meth:`predict`.
            embed: as for :meth:`seg_demo.inference.prompting.PromptRun.open`.

        Returns:
            ``session.segment(points=[(x, y)], labels=[1])`` is a result of one object; ``session.close()`` forgets the picture.

        Raises:
            BadImageError: not an image, or too large for the settings or the memory.
            BadRequestError: the model answers no prompts.
        """
        if not isinstance(self._run, PromptRun):
            raise BadRequestError("prompts.not_promptable", id=self.spec.id)
        picture = read(image, view=view)
        refuse_more(picture)
        return self._run.open(picture, self.spec, embed)

    @property
    def heavy_look(self) -> bool:
        """Whether a GPU pays for looking at a picture: the network has an encoder of pictures."""
        return isinstance(self._run, PromptRun) and self._run.network.heavy_look

    def probe(self, image: Source) -> Segmentation:
        """An answer about a picture, of whatever kind the model gives: that it gives one at all."""
        if isinstance(self._run, PromptRun):
            return self.prompt(image).answer(self._run.network.trials)
        if (count := self.samples) is not None:
            pixels, order = read(image).pixels, tuple(range(count))
            image = Picture(pixels, samples=pixels[..., [number % 3 for number in order]], channels=("",) * count, stack=Stack(), view=View(channels=order))
        return self.predict_all(image)

    def check(self, options: Options) -> None:
        """BadRequestError for options that no picture can be segmented with, as :meth:`run` raises it."""
        self._with(options).check(options.detail, self._task(options), options.thresholds)

    def run(self, image: Source, options: Options, report: Report | None = None) -> Segmentation:
        """Every candidate in one image; what :meth:`predict` and :meth:`predict_all` do once the options are checked.

        Args:
            image: as for :meth:`predict`.
            options: what is asked for; the threshold is for whoever filters the result.
            report: as for :meth:`predict`.

        Raises:
            BadImageError: not an image, or too large for the settings or the memory.
            BadRequestError: parameters for a model that has none, or none of these; or a task that it does not have.
        """
        task = self._task(options)
        run = self._with(options)
        began = time.perf_counter()
        picture = read(image, view=options.view, channels=self.samples)
        pixels, taken = self._taken(picture)
        decoded = time.perf_counter()
        try:
            result = run(pixels, options.detail, options.confidence, report, task, options.thresholds)
        except (RuntimeError, MemoryError) as error:
            if not devices.out_of_memory(error):
                raise
            height, width = picture.pixels.shape[:2]
            raise BadImageError("memory.not_enough", width=width, height=height, id=self.spec.id) from error
        seconds = {"decode": decoded - began, **result.seconds, "total": time.perf_counter() - began}
        seconds = {stage: round(value, 6) for stage, value in seconds.items()}
        size = {"width": result.width, "height": result.height}
        requests.note(architecture=self.spec.architecture, source=self.spec.source, device=result.device, seconds=seconds, **size)
        return replace(result, model=self.spec, seconds=seconds, notes=picture.notes + taken + result.notes, **picture.facts)

    def _taken(self, picture: Picture) -> tuple[np.ndarray, tuple[Message, ...]]:
        """What of a picture the network sees, and what is to say about it."""
        if (count := self.samples) is None:
            refuse_more(picture)
            return picture.pixels, ()
        from seg_demo.inputs import planes  # ordinary photographs need none of it

        return planes.for_network(picture, count, self._run.network.preprocessing.ranges is None)

    def run_rows(self, raster: Raster, options: Options, leave: rasters.Band, begin: int = 0, report: Report | None = None) -> tuple[str, bool | None, tuple[str, ...]]:
        """Classes of a raster that is too large for memory, in full detail, some rows at a time.

        Args:
            raster: opened; it is read from where it is needed on.
            options: what is asked for, without confidence.
            leave: gets bands of labels, top down.
            begin: bands that there are already, of the same model and raster.
            report: called after each tile with the fraction done and a few words.

        Returns:
            Where it was computed, whether the raster is like what the model learnt from, as far as it was looked at now, and what is to say: if it
            is not, and which channels were taken.

        Raises:
            BadImageError: the raster turns out to be damaged.
            BadRequestError: the model gives objects, or nothing per pixel; or it takes other channels, and the view does not fit.
        """
        run, image = self._rows(raster, options)
        device, familiar = run.rows(image, self._task(options), options.thresholds, leave, begin, report)
        taken = () if image is raster else image.notes
        return device, familiar, (*taken, *((UNFAMILIAR,) if familiar is False else ()))

    def bands(self, raster: Raster, options: Options) -> int:
        """How many bands :meth:`run_rows` gives of a raster.

        Args:
            raster: as there.
            options: as there.

        Raises:
            BadRequestError: as there.
        """
        return self._rows(raster, options)[0].bands(raster.height, raster.width, self._task(options))

    def frozen(self, options: Options) -> rasters.Frozen | None:
        """The model for a process of rasters alone; None where those need all of it."""
        if not isinstance(run := self._run, NetworkRun) or options.parameters or options.thresholds or options.looks > 1:
            return None
        return rasters.freeze(run.network.answering(self._task(options)), run.engine, self.spec)

    def _rows(self, raster: Raster, options: Options) -> tuple[NetworkRun, Raster | Values]:
        """What gives classes of pixels, and what it takes of a raster."""
        task = self._task(options)
        if not isinstance(self._run, NetworkRun) or not task.classes:
            raise BadRequestError("rasters.classes_only", id=self.spec.id, task=task.name)
        run = self._with(options)
        if (count := self.samples) is None:
            refuse_more(raster)
            return run, raster
        return run, raster.values(count, self._run.network.preprocessing.ranges is None)

    def again(self, result: Segmentation, options: Options) -> Segmentation | None:
        """A result at other thresholds, from what is kept of it: no network runs.

        Args:
            result: of :meth:`run` with confidence, of this model's classes.
            options: thresholds and confidence.

        Returns:
            None where too little is kept: of large outputs, in full detail, of other tasks, and where the model is another one by now.
        """
        if result.outputs is None or result.labels != self.labels or not isinstance(self._run, NetworkRun):
            return None
        began = time.perf_counter()
        found = self._run.again(result, options.confidence, options.thresholds)
        if found is None:
            return None
        seconds = {**result.seconds, "postprocess": round(time.perf_counter() - began, 6)}
        facts = {name: getattr(result, name) for name in ("model", "device", "seen", "notes", "familiar", "view", "calibration")}
        return replace(found, seconds=seconds, outputs=result.outputs, **facts)

    @property
    def explains(self) -> bool:
        """Whether :meth:`explain` has an answer: a network decides, and not by prompts."""
        return isinstance(self._run, NetworkRun)

    def explain(self, image: Source, result: Segmentation, at: tuple[int, int], report: Report | None = None) -> Explanation:
        """What the answer at a pixel rests on: the parts of the picture without which it would be lost; the network is asked some forty times.

        Args:
            image: as for :meth:`predict`.
            result: of this model and image, at the threshold at which it is looked at.
            at: (x, y), a pixel of the upload.
            report: called with the fraction done and a few words.

        Raises:
            BadImageError: as for :meth:`predict`.
            BadRequestError: the model is no network; there is nothing at the pixel; or the thing is not found again in what the network is shown.
        """
        if not isinstance(run := self._run, NetworkRun):
            raise BadRequestError("explain.no_network", id=self.spec.id)
        picture, task = read(image, view=result.view, channels=self.samples), TASKS[result.task]

        def ask(size: tuple[int, int] | None) -> Callable[[np.ndarray], Segmentation]:
            once = run.looking(1, size, second=False)
            return partial(once, detail="whole", confidence=task.classes, report=None, task=task, thresholds=result.thresholds)

        return explain(ask, run.network.answering(task), run.network.exposed(self._taken(picture)[0]), result, at, report)

    def _task(self, options: Options) -> Task:
        """The task that is answered."""
        spec = self.spec
        if options.task == AUTO:
            return TASKS[options.preferred if spec.answers(options.preferred) else spec.task]
        if not spec.answers(options.task):
            answered = ", ".join(spec.tasks or (spec.task,))
            raise BadRequestError("requests.task_not_answered", id=spec.id, task=options.task, tasks=answered)
        return TASKS[options.task]

    def _with(self, options: Options) -> Run:
        """What answers: a method with its parameters, or a network, as often as it is to look."""
        run = self._run
        if options.parameters:
            if isinstance(run, RegionRun):
                return run.with_parameters(options.parameters)
            raise BadRequestError("requests.not_smoothed", id=self.spec.id)
        if options.looks == 1:
            return run
        if not isinstance(run, NetworkRun) or not run.network.averages:
            raise BadRequestError("requests.one_look", id=self.spec.id)
        return run.looking(options.looks)


def refuse_more(picture: Picture | Raster) -> None:
    """BadRequestError if more channels of a picture are asked for than a person sees, for a model that sees what a person does."""
    if picture.view is not None and picture.view.channels is not None and len(picture.view.channels) > MOST_SHOWN:
        raise BadRequestError("views.bad_channels", value=list(picture.view.channels))


# uint8 (H, W, 3) or other channels, detail, confidence, report, task and thresholds in, a result with the seconds of its stages out.
Run = Callable[[np.ndarray, str, bool, Report | None, Task, Mapping[str, float]], Segmentation]


class RegionRun:
    """A region method behind the same call as a network."""

    def __init__(self, method: str, parameters: dict[str, float]) -> None:
        self._method, self._parameters = method, parameters

    def with_parameters(self, parameters: Mapping[str, float]) -> RegionRun:
        """The same method with other parameters; whether it has such is found out when it runs."""
        return RegionRun(self._method, {**self._parameters, **parameters})

    def check(self, detail: str, task: Task, thresholds: Mapping[str, float]) -> None:
        """BadRequestError for thresholds, and for parameters that the method does not take."""
        if thresholds:
            raise BadRequestError("requests.no_thresholds", title=self._method, task=task.name)
        from seg_demo.masks import regions

        regions.values_of(self._method, self._parameters)

    def __call__(self, image: np.ndarray, detail: str, confidence: bool, report: Report | None, task: Task, thresholds: Mapping[str, float]) -> Segmentation:
        self.check(detail, task, thresholds)
        # scikit-image is only needed here, and takes a second to import.
        from seg_demo.masks import regions

        began = time.perf_counter()
        result = regions.segment(image, self._method, **self._parameters)
        return replace(result, device="cpu", seconds={"segment": time.perf_counter() - began})


class NetworkRun:
    """A network's stages: preprocess, forward, postprocess, and of some closer, the second look.

    Args:
        network: on the device that computes.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``, which is the engine's affair.
        engine: answers in place of the module, or None.
        window: seconds for which a request waits for others to be computed with, or None.
    """

    def __init__(self, network: Network, precision: str, engine: Engine | None = None, window: float | None = None) -> None:
        self.network, self._precision, self.engine, self._window, self._looks, self._second = network, precision, engine, window, 1, True
        # To go through a module's tree takes as long as decoding a small picture.
        self._parameters = tuple(network.module.parameters())
        # By the task that is answered: a network may have a module for each.
        self._batchers: dict[str, Batcher] = {}

    def looking(self, looks: int, size: tuple[int, int] | None = None, second: bool = True) -> NetworkRun:
        """The same run whose answers are means of so many (:func:`engine.averaged`), of pictures at a size or its own; ``second`` or as they are shown."""
        (other := copy.copy(self))._looks, other._second = looks, second
        other.network = self.network if size is None else self.network.seeing(size)
        return other

    def check(self, detail: str, task: Task, thresholds: Mapping[str, float]) -> None:
        """As :meth:`RegionRun.check`."""
        self.network.answering(task).with_thresholds(thresholds)

    def __call__(self, image: np.ndarray, detail: str, confidence: bool, report: Report | None, task: Task, thresholds: Mapping[str, float]) -> Segmentation:
        network = self.network.answering(task).with_thresholds(thresholds)
        second, image = devices.check_memory(network, *image.shape[:2], detail, confidence) and self._second, network.exposed(image) if self._second else image
        plan = tiled.plan(network, *image.shape[:2]) if detail == "full" else None
        with self._computing(network, second) as (answer, closer, seen):
            if plan is not None:
                began = time.perf_counter()
                result = tiled.run(plan, answer, image, confidence, report, closer)
                result = replace(result, seconds={"tiles": time.perf_counter() - began})
            else:
                result = self._stages(network, image, confidence, answer, closer)
            return self._judged(result, seen)

    @contextmanager
    def _computing(self, network: Network, second: bool = False) -> Iterator[tuple[tiled.Forward, tiled.Closer, list[np.ndarray]]]:
        """The network's answers, its second looks if it may take any, and what its encoder says of what it saw first; nothing is trained within."""
        # What inference mode makes can never be trained on, and a module may keep it (torchvision's anchors).
        trained = any(parameter.requires_grad for parameter in self._parameters)
        joined = nullcontext() if (batcher := self._batcher(network)) is None else batcher.underway()
        seen: list[np.ndarray] = []
        with joined, torch.no_grad() if trained else torch.inference_mode():
            first, again = (partial(self._answer, network, batcher, statistics=kept) for kept in (seen, []))
            yield devices.averaged(first, self._looks), partial(devices.looked_closer, again if second else None), seen

    def bands(self, height: int, width: int, task: Task) -> int:
        """As :meth:`Model.bands`."""
        plan = tiled.plan(self.network.answering(task), height, width)
        return 1 if plan is None else len(plan.grid.tops)

    def rows(
        self, raster: Raster | Values, task: Task, thresholds: Mapping[str, float], leave: rasters.Band, begin: int, report: Report | None
    ) -> tuple[str, bool | None]:
        """As :meth:`Model.run_rows`."""
        network = self.network.answering(task).with_thresholds(thresholds)
        plan = tiled.plan(network, *raster.shape[:2])
        with self._computing(network) as (answer, closer, seen):
            if plan is None:  # many bytes, few pixels
                result = self._stages(network, raster[:, :], False, answer, closer)
                found = {segment.label_id: segment.score or 0.0 for segment in result.segments}
                means = [found.get(label, 0.0) for label in range(len(result.labels))]
                leave(0, 0, result.id_map, np.array([[float(label in found) for label in range(len(means))], means, means]))
                device = str(result.device)
            else:
                settle = (lambda idle: None) if self.engine is None else self.engine.settle
                device = rasters.run(plan, answer, raster, leave, report, begin, settle)
        known = network.familiarity
        return device, None if known is None else known.knows(seen)

    def again(self, result: Segmentation, confidence: bool, thresholds: Mapping[str, float]) -> Segmentation | None:
        """As :meth:`Model.again`."""
        with torch.inference_mode():
            return self.network.answering(TASKS[result.task]).with_thresholds(thresholds).again(result, confidence)

    def _judged(self, result: Segmentation, statistics: list[np.ndarray]) -> Segmentation:
        """The result, with a word where the picture is unlike those that the network learnt from."""
        known = self.network.familiarity
        familiar = None if known is None else known.knows(statistics)
        return replace(result, familiar=familiar, notes=(UNFAMILIAR, *result.notes) if familiar is False else result.notes)

    def _stages(self, network: Network, image: np.ndarray, confidence: bool, answer: tiled.Forward, closer: tiled.Closer) -> Segmentation:
        times = [time.perf_counter()]
        batch = network.preprocess(image)
        # A batch may be padded beyond the size that the rule says, and libraries round that size down where the rule does not.
        fitted = network.preprocessing.fitted(*image.shape[:2])
        seen = min(fitted[0], batch.shape[-2]), min(fitted[1], batch.shape[-1])
        times.append(time.perf_counter())
        raw, device = answer(batch)
        times.append(time.perf_counter())
        result = replace(self._postprocess(network, raw, *image.shape[:2], confidence), seen=seen)
        times.append(time.perf_counter())
        if network.enlarged > 1:
            result = closer(network, result, image, confidence)
            times.append(time.perf_counter())
        stages = zip(("preprocess", "forward", "postprocess", "closer"), np.diff(times).tolist(), strict=False)
        return replace(result, device=str(device), seconds=dict(stages))

    def _postprocess(self, network: Network, raw: Any, height: int, width: int, confidence: bool) -> Segmentation:
        """Where the network's answer is; on the CPU, if a GPU has too little memory left for it."""
        try:
            return network.postprocess(raw, height, width, confidence)
        except (RuntimeError, MemoryError) as error:
            if not (devices.out_of_memory(error) and isinstance(raw, torch.Tensor) and raw.device.type == "cuda"):
                raise
        torch.cuda.empty_cache()
        return network.postprocess(devices.fetched(raw), height, width, confidence)

    def _batcher(self, network: Network) -> Batcher | None:
        """Where requests for what a network answers meet; None where they do not."""
        if self._window is None:
            return None
        name = network.task.name
        # Of two that come at once the second takes the first's.
        return self._batchers.get(name) or self._batchers.setdefault(name, Batcher(partial(self._here, network), self._window))

    def _answer(self, network: Network, batcher: Batcher | None, batch: torch.Tensor, statistics: list[np.ndarray]) -> tuple[Any, torch.device]:
        """The network's answer, or a sentence if it is none; a visitor who has left gets none either. What its encoder says of
        the picture is added to ``statistics``."""
        requests.check()
        raw, device = self._forward(network, batcher, batch)
        if isinstance(raw, tuple):
            raw, found = raw
            statistics.append(found[0].float().cpu().numpy())
        if not devices.finite(raw):
            raise BadCheckpointError("models.invalid_numbers")
        requests.check()
        return raw, device

    def _forward(self, network: Network, batcher: Batcher | None, batch: torch.Tensor) -> tuple[Any, torch.device]:
        """The network's answer, as :meth:`_pass` gives it, and where it was computed: the CPU, if the GPU cannot."""
        device = next(network.module.parameters()).device
        try:
            return (batcher or partial(self._here, network))(batch), device
        except (RuntimeError, NotImplementedError) as error:
            # NotImplementedError: an operator that MPS lacks.
            if device.type == "cpu" or not (devices.out_of_memory(error) or isinstance(error, NotImplementedError)):
                raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        cpu = torch.device("cpu")
        return self._pass(network, devices.on_cpu(network.module), batch, cpu), cpu

    def _here(self, network: Network, batch: torch.Tensor) -> Any:
        return self._pass(network, network.module, batch, next(network.module.parameters()).device, self.engine)

    def _forward_familiar(self, network: Network, module: torch.nn.Module, batch: torch.Tensor, engine: Engine | None) -> Any:
        """The answer of a module or its engine; with the encoder's statistics in a tuple where they are wanted."""
        if network.familiarity is None:
            return network.forward(module, batch) if engine is None else engine(batch)
        if engine is not None:
            return engine.with_statistics(batch)
        raw, maps = network.forward_with_maps(module, batch)
        return raw, devices.statistics(maps)

    def _pass(self, network: Network, module: torch.nn.Module, batch: torch.Tensor, device: torch.device, engine: Engine | None = None) -> Any:
        """The network's answer, or its engine's, as fp32 on the CPU; but logits stay on a CUDA device, and only what is made
        of them leaves."""
        training = module.training
        if training:
            module.eval()
        try:
            given = to_device(devices.laid_out(batch, module), device)
            work = partial(self._forward_familiar, network, module, given, engine)
            raw = devices.arithmetic(module, device, self._precision, work)
            return raw if device.type == "cuda" and not network.task.objects else devices.fetched(raw)
        finally:
            if training:
                module.train()


# Seconds in which others may join: little beside a forward pass and the sending of its result.
WINDOW = 0.005
# Images of one batch at most.
MOST = 8


@dataclass
class _Group:
    """Requests that are computed together.

    Attributes:
        batches: (1, C, H, W) of each, all of one shape.
        answers: of each, or the error that it met; empty until ``done``.
        full: set when nobody may join any more.
        done: set when the answers are there.
    """

    batches: list[Tensor] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    full: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class Batcher:
    """A forward pass that many threads may call.

    Args:
        forward: a batch (B, C, H, W) → a tensor (B, ...), a list of B answers, or a tuple of such.
        window: seconds for which the first of a group waits for others that are under way.
        most: requests of one group at most.
    """

    def __init__(self, forward: Callable[[Tensor], Any], window: float = WINDOW, most: int = MOST) -> None:
        self._forward, self._window, self._most = forward, window, most
        self._lock = threading.Lock()
        self._open: dict[tuple[int, ...], _Group] = {}
        self._underway = 0

    @contextmanager
    def underway(self) -> Iterator[None]:
        """A request, from before its input is made until its result is; nobody waits for what is not under way."""
        with self._lock:
            self._underway += 1
        try:
            yield
        finally:
            with self._lock:
                self._underway -= 1

    def __call__(self, batch: Tensor) -> Any:
        """The answer to one request.

        Args:
            batch: (1, C, H, W).

        Returns:
            As ``forward`` gives it for this batch alone, but for rounding.

        Raises:
            Exception: what ``forward`` raises for this batch alone.
        """
        shape = tuple(batch.shape)
        with self._lock:
            group = self._open.setdefault(shape, _Group())
            place = len(group.batches)
            group.batches.append(batch)
            if len(group.batches) >= min(self._most, self._underway):
                del self._open[shape]
                group.full.set()
        if place == 0:
            self._lead(group, shape)
        group.done.wait()
        answer = group.answers[place]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _lead(self, group: _Group, shape: tuple[int, ...]) -> None:
        """Wait for others, then compute for all of them."""
        try:
            group.full.wait(self._window)
            with self._lock:
                if self._open.get(shape) is group:
                    del self._open[shape]
            group.answers = self._answers(group.batches)
        except BaseException as error:
            group.answers = [error] * self._most
            raise
        finally:
            group.done.set()

    def _answers(self, batches: list[Tensor]) -> list[Any]:
        if len(batches) > 1:
            try:
                return _split(self._forward(torch.cat(batches)), len(batches))
            except Exception:
                # Too little memory for all at once, or one of them cannot be computed: then each gets its own answer.
                pass
        return [self._alone(batch) for batch in batches]

    def _alone(self, batch: Tensor) -> Any:
        try:
            return self._forward(batch)
        except Exception as error:
            return error


def _split(raw: Any, count: int) -> list[Any]:
    """The answer to each image of a batch, as a batch of one."""
    if isinstance(raw, tuple):
        return list(zip(*(_split(part, count) for part in raw), strict=True))
    assert len(raw) == count, (len(raw), count)
    return [raw[index : index + 1] for index in range(count)]

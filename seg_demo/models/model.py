"""One loaded model: an image in, a Segmentation at its size out. The demo, the API, the command and training's evaluation
all predict through here."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from seg_demo import networks
from seg_demo.errors import BadImageError, BadRequestError
from seg_demo.inputs.images import Source, read
from seg_demo.models import detail as tiling
from seg_demo.models import devices, requests
from seg_demo.models.hub_download import Report
from seg_demo.models.runs import NetworkRun, RegionRun, Run
from seg_demo.networks.base import Checkpoint
from seg_demo.settings import settings
from seg_demo.types import LabelSet, ModelSpec, Segmentation

if TYPE_CHECKING:
    from seg_demo.models.engine import Engine


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
    def agreement(self) -> float | None:
        """The share of decisions, on the first image, that a compiled network shares with eager torch in fp32; else None."""
        return getattr(getattr(self._run, "engine", None), "agreement", None)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        spec: ModelSpec,
        precision: str | None = None,
        engine: Engine | None = None,
        window: float | None = None,
    ) -> Model:
        """A model around a checkpoint in memory, on the device that its weights are on. The module is left as it is.

        Args:
            checkpoint: may be in training; it is put into eval mode while it predicts.
            spec: what to call it; architecture, task and classes are taken from the checkpoint.
            precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``; None takes the setting.
            engine: of :func:`seg_demo.models.engine.choose`, for a module that is not trained any more; None is eager torch.
            window: seconds for which a request waits for others to be computed with; None computes each alone.
        """
        row = networks.NETWORKS[checkpoint.architecture]
        known = replace(
            spec, architecture=checkpoint.architecture, task=row.task, labels=checkpoint.labels.names, notes=checkpoint.notes
        )
        run = NetworkRun(checkpoint, precision or settings().precision, engine, window)
        return cls(known, checkpoint.labels, run, checkpoint.nbytes)

    @classmethod
    def classical(cls, spec: ModelSpec, parameters: dict[str, float] | None = None) -> Model:
        """A region method as a model without weights.

        Args:
            spec: whose id is the method.
            parameters: values by name, as ``regions.METHODS`` lists them; those left out take their defaults.
        """
        return cls(spec, LabelSet.from_names(spec.labels, background=0), RegionRun(spec.id, parameters or {}), 0)

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

        Raises:
            BadImageError: not an image, or too large for the settings or the memory.
            BadRequestError: a threshold that is no number from 0 to 1, another detail, or a smoothing for a model that has none.
        """
        wanted = check_threshold(threshold)
        options = {"detail": detail, "confidence": confidence, "report": report, "smoothing": smoothing}
        return self.predict_all(image, **options).above(wanted)

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
            image: as for :meth:`predict`.
            detail: as for :meth:`predict`.
            confidence: as for :meth:`predict`.
            report: as for :meth:`predict`.
            smoothing: as for :meth:`predict`.

        Raises:
            BadImageError: not an image, or too large for the settings or the memory.
            BadRequestError: another detail, or a smoothing for a model that has none.
        """
        tiling.check_detail(detail)
        run = self._run if smoothing is None else self._smoothed(smoothing)
        began = time.perf_counter()
        picture = read(image)
        pixels = picture.pixels
        decoded = time.perf_counter()
        try:
            result = run(pixels, detail, confidence, report)
        except (RuntimeError, MemoryError) as error:
            if not devices.out_of_memory(error):
                raise
            height, width = pixels.shape[:2]
            raise BadImageError(
                f"There is not enough memory to segment an image of {width} x {height} pixels with {self.spec.id}. Send a "
                "smaller image, or choose a smaller model."
            ) from error
        seconds = {"decode": decoded - began, **result.seconds, "total": time.perf_counter() - began}
        seconds = {stage: round(value, 6) for stage, value in seconds.items()}
        size = {"width": result.width, "height": result.height}
        requests.note(architecture=self.spec.architecture, source=self.spec.source, device=result.device, seconds=seconds, **size)
        return replace(result, model=self.spec, seconds=seconds, notes=picture.notes + result.notes)


    def _smoothed(self, pixels: float) -> Run:
        if isinstance(self._run, RegionRun):
            return self._run.smoothed(pixels)
        raise BadRequestError(not_smoothed(self.spec.id))


def not_smoothed(id: str) -> str:
    """The sentence for a smoothing that a network was asked for."""
    return f"Smoothing is for the region methods otsu and watershed, but {id} is a network. Leave it out."


def check_threshold(value: object) -> float:
    """A score threshold, or the sentence why it is none.

    Raises:
        BadRequestError: anything but a finite number from 0 to 1.
    """
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if number and math.isfinite(value) and 0 <= value <= 1:
        return float(value)
    raise BadRequestError(f"The threshold must be a number from 0 to 1, but is {str(value)[:40]!r}. Leave it out for 0.5.")

"""Spaces on ZeroGPU: the network's work runs in a forked process that has the GPU for a while.

Import this module before anything that touches CUDA. What the parent holds before the first fork, the worker finds in
``_held``; anything else it loads itself and keeps while it lives. Elsewhere ``ACTIVE`` is False and nothing here is called.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seg_demo.core import ModelSpec, Segmentation

if TYPE_CHECKING:
    from seg_demo.core import Options
    from seg_demo.inference.model import Model
    from seg_demo.inputs.images import Picture

try:
    import spaces
except ImportError:
    spaces = None

ACTIVE = spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")
DEVICE = "cuda"
# Models of visitors' choice that a worker keeps.
MOST_LOADED = 2

# Seconds of GPU that are asked for while nothing of a kind has been measured, the least and the most: a visitor's quota must hold what is
# asked for, used or not, and who asks for less waits less.
DURATION, LEAST, MOST = 60, 10, 120
# Of a kind of work the last measurements count, and as much again is asked for.
_MEASURED, _RESERVE = 8, 2.0

_held: dict[str, Model] = {}
_loaded: OrderedDict[str, Model] = OrderedDict()

Build = Callable[[ModelSpec, Path, str], "Model"]


class Durations:
    """What work on the GPU has taken, and what is to be asked for the next time: seconds per megapixel of each kind of work with each
    model, loading included."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, ...], deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, kind: tuple[str, ...], pixels: int, seconds: float) -> None:
        """Count a measurement.

        Args:
            kind: of work, and with which model.
            pixels: of the picture.
            seconds: in the worker.
        """
        with self._lock:
            self._rates.setdefault(kind, deque(maxlen=_MEASURED)).append(seconds / _megapixels(pixels))

    def expected(self, kind: tuple[str, ...], pixels: int) -> int:
        """Seconds to ask for: twice what the slowest of the last ones took per megapixel, within bounds; :data:`DURATION` of what is new.

        Args:
            kind: as for :meth:`add`.
            pixels: as for :meth:`add`.
        """
        with self._lock:
            rates = self._rates.get(kind)
            if not rates:
                return DURATION
            return min(MOST, max(LEAST, math.ceil(_RESERVE * max(rates) * _megapixels(pixels))))


durations = Durations()


def _megapixels(pixels: int) -> float:
    """Of a small picture, what it takes is not its pixels."""
    return max(1.0, pixels / 1e6)


def hold(key: str, model: Model) -> None:
    """Keep a model for the workers; effective for those that are forked afterwards.

    Args:
        key: where its files are.
        model: on ``cuda``.
    """
    _held[key] = model


def _seconds(kind: tuple[str, ...], build: Build, key: str, spec: ModelSpec, path: Path, image: Picture, options: Options | None) -> int:
    """What ``spaces`` asks the Hub for, with the arguments of the work itself."""
    return durations.expected(kind, image.pixels.shape[0] * image.pixels.shape[1])


def _on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    return spaces.GPU(duration=_seconds)(function) if spaces is not None else function


@_on_gpu
def _segment(kind: tuple[str, ...], build: Build, key: str, spec: ModelSpec, path: Path, image: Picture, options: Options) -> tuple[Segmentation, float]:
    began = time.perf_counter()
    return _model(build, key, spec, path).run(image, options), time.perf_counter() - began


@_on_gpu
def _everything(kind: tuple[str, ...], build: Build, key: str, spec: ModelSpec, path: Path, image: Picture, options: None) -> tuple[Segmentation, float]:
    began = time.perf_counter()
    with _model(build, key, spec, path).prompt(image) as session:
        return session.everything(), time.perf_counter() - began


@_on_gpu
def _embed(kind: tuple[str, ...], build: Build, key: str, spec: ModelSpec, path: Path, image: Picture, options: None) -> tuple[Any, float]:
    began = time.perf_counter()
    with _model(build, key, spec, path).prompt(image) as session:
        return _plain(session.embedding), time.perf_counter() - began


def segment(build: Build, key: str, spec: ModelSpec, path: Path, image: Picture, options: Options) -> Segmentation:
    """Every candidate in one image, computed in the worker; only plain data goes in and out.

    Args:
        build: :func:`seg_demo.serving.predictor.build`, for what the worker does not have yet.
        key: of :func:`hold`.
        spec: the model.
        path: where its files are.
        image: as it was read.
        options: what is asked for.
    """
    return _measured(_segment, ("segment", options.detail, key), build, key, spec, path, image, options)


def everything(build: Build, key: str, spec: ModelSpec, path: Path, image: Picture) -> Segmentation:
    """Everything that a promptable model finds in a picture.

    Args:
        build: as for :func:`segment`.
        key: as for :func:`segment`.
        spec: the model.
        path: where its files are.
        image: as it was read.
    """
    return _measured(_everything, ("everything", key), build, key, spec, path, image, None)


def embed(build: Build, key: str, spec: ModelSpec, path: Path, image: Picture) -> Any:
    """What a promptable model's encoder says of a picture, once: tensors on the CPU, from which clicks are answered there.

    Args: as for :func:`everything`.
    """
    return _tensors(_measured(_embed, ("embed", key), build, key, spec, path, image, None))


def _measured(work: Callable[..., tuple[Any, float]], kind: tuple[str, ...], *given: Any) -> Any:
    result, seconds = work(kind, *given)
    height, width = given[4].pixels.shape[:2]
    durations.add(kind, height * width, seconds)
    return result


def _plain(value: Any) -> Any:
    """Tensors in nested lists, tuples and dicts as numpy: of a tensor only a handle would cross, to memory that ends with the worker."""
    # Only here: the page opens before torch is imported.
    import torch

    return _nested(value, torch.Tensor, lambda tensor: (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy())


def _tensors(value: Any) -> Any:
    """The inverse of :func:`_plain`."""
    import torch

    return _nested(value, np.ndarray, torch.from_numpy)


def _nested(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The same lists, tuples and dicts with what is of a kind changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _nested(part, kind, change) for key, part in value.items()}
    return type(value)(_nested(part, kind, change) for part in value) if isinstance(value, (list, tuple)) else value


def _model(build: Build, key: str, spec: ModelSpec, path: Path) -> Model:
    """The model, in the worker."""
    model = _held.get(key) or _loaded.get(key)
    if model is None:
        model = _loaded[key] = build(spec, path, DEVICE)
        while len(_loaded) > MOST_LOADED:
            _loaded.popitem(last=False)
    return model.named(spec)

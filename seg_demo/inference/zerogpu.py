"""Spaces on ZeroGPU: the network's work runs in a forked process that has the GPU for a while.

Import this module before anything that touches CUDA. What the parent holds before the first fork, the worker finds in
``_held``; anything else it loads itself and keeps while it lives. Elsewhere ``ACTIVE`` is False and nothing here is called.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_demo.core.requests import Options, Prompt
from seg_demo.core.types import ModelSpec, Segmentation
from seg_demo.inputs.images import Picture

if TYPE_CHECKING:
    from seg_demo.inference.model import Model

try:
    import spaces
except ImportError:
    spaces = None

ACTIVE = spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")
# Seconds of GPU that one image may take, loading included.
DURATION = 60
DEVICE = "cuda"
# Models of visitors' choice that a worker keeps.
MOST_LOADED = 2

_held: dict[str, Model] = {}
_loaded: OrderedDict[str, Model] = OrderedDict()


def hold(key: str, model: Model) -> None:
    """Keep a model for the workers; effective for those that are forked afterwards.

    Args:
        key: where its files are.
        model: on ``cuda``.
    """
    _held[key] = model


def _on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    return spaces.GPU(duration=DURATION)(function) if spaces is not None else function


@_on_gpu
def segment(build: Callable[[ModelSpec, Path, str], Model], key: str, spec: ModelSpec, path: Path, image: Picture, options: Options) -> Segmentation:
    """Every candidate in one image, computed in the worker; only plain data goes in and out.

    Args:
        build: :func:`seg_demo.serving.predictor.build`, for what the worker does not have yet.
        key: of :func:`hold`.
        spec: the model.
        path: where its files are.
        image: as it was read.
        options: what is asked for.
    """
    return _model(build, key, spec, path).run(image, options)


@_on_gpu
def prompt(
    build: Callable[[ModelSpec, Path, str], Model], key: str, spec: ModelSpec, path: Path, image: Picture, prompts: Sequence[Prompt]
) -> Segmentation:
    """The objects that prompts show, or everything without any: the picture is looked at each time, for workers keep nothing for long.

    Args:
        build: as for :func:`segment`.
        key: as for :func:`segment`.
        spec: the model.
        path: where its files are.
        image: as it was read.
        prompts: what is shown.
    """
    with _model(build, key, spec, path).prompt(image) as session:
        return session.answer(prompts) if prompts else session.everything()


def _model(build: Callable[[ModelSpec, Path, str], Model], key: str, spec: ModelSpec, path: Path) -> Model:
    """The model, in the worker."""
    model = _held.get(key) or _loaded.get(key)
    if model is None:
        model = _loaded[key] = build(spec, path, DEVICE)
        while len(_loaded) > MOST_LOADED:
            _loaded.popitem(last=False)
    return model.named(spec)

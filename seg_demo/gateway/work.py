"""Where the page meets the models: one predictor per process, the network's work, and every failure in words.

torch and everything above it is imported inside the functions: the page opens before it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any

import gradio as gr

from seg_demo.core import storage
from seg_demo.core.errors import SegDemoError
from seg_demo.core.messages import Message
from seg_demo.core.requests import Request
from seg_demo.core.settings import settings
from seg_demo.core.types import ModelSpec
from seg_demo.gateway import metrics
from seg_demo.gateway.files import DISK_FULL, refused
from seg_demo.gateway.queue import FETCHING, WORK, departure
from seg_demo.hub import sandbox
from seg_demo.inference import zerogpu
from seg_demo.serving.limits import Limit, gpu_expected, slots

if TYPE_CHECKING:
    from seg_demo.serving.predictor import Predictor

log = logging.getLogger("seg_demo.ui")


# Results that are filtered or written into files at a time; each may take the memory of a large picture.
RENDERING = 2
_rendering = Limit(RENDERING)
# Batches that are worked on at a time: each holds a picture and its result while it waits for a slot.
BATCHES = 2
_batches = Limit(BATCHES)
# Set once the models that the page opens with have been loaded, or could not be.
_loaded_ahead = threading.Event()


# Event arguments of what the page does by itself: no endpoint of the API, and no progress is drawn; and of what answers so fast that
# it need not queue.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
UNQUEUED: dict[str, Any] = {**QUIET, "queue": False}


def work_limits() -> dict[str, Any]:
    """Event arguments of everything that runs a network: one queue."""
    return {"concurrency_limit": working() + FETCHING, "concurrency_id": WORK}


def working() -> int:
    """Images that are worked on at a time, as far as can be told before torch is imported."""
    chosen = settings()
    return slots(chosen, gpu_expected(chosen) and not zerogpu.ACTIVE)


_one = threading.Lock()


def predictor() -> Predictor:
    """The one predictor of this process: its cache of models and its bound on running work are shared by all visitors."""
    # Without the lock, a visitor who comes while torch is being imported would get a predictor of their own.
    with _one:
        return _predictor()


@lru_cache(maxsize=1)
def _predictor() -> Predictor:
    from seg_demo.serving.predictor import Predictor

    return Predictor()


def state() -> dict[str, float] | None:
    """What the predictor is doing (``Predictor.state``); None as long as there is none, which is not waited for."""
    return _predictor().state if _predictor.cache_info().currsize else None


def agreement(spec: ModelSpec) -> float | None:
    """``Predictor.agreement``; None as long as there is no predictor, which is not waited for."""
    return _predictor().agreement(spec) if _predictor.cache_info().currsize else None


def rendering() -> AbstractContextManager[None]:
    """For what takes memory but no network: few at a time, whoever asks and however."""
    return _rendering.slot()


def one_batch() -> AbstractContextManager[None]:
    """For a batch: few at a time, whoever asks and however.

    Raises:
        BusyError: as many are being worked on.
    """
    return _batches.slot(Message("requests.too_many_batches", count=BATCHES))


def in_words(handler: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
    """A handler whose every failure reaches the visitor as one sentence, and each call a line of the log.

    Args:
        handler: runs in a thread.
        name: in the log; None takes the handler's.
    """

    @wraps(handler)
    def answer(*arguments: Any, **named: Any) -> Any:
        left, crowded = departure()
        request = Request(name or handler.__name__, settings().request_seconds, left, crowded)
        try:
            with metrics.observed(request):
                return handler(*arguments, **named)
        except gr.Error:
            raise
        except SegDemoError as error:
            raise refused(error.message) from error
        except Exception as error:
            if storage.disk_full(error):
                log.error("%s: the disk is full", handler.__name__)
                raise refused(DISK_FULL) from None
            log.exception("%s failed", handler.__name__)
            raise refused(Message("requests.our_fault")) from None

    return answer


def stream_in_words(handler: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """As :func:`in_words`, for handlers that yield."""

    @wraps(handler)
    def answer(*arguments: Any, **named: Any) -> Iterator[Any]:
        running = handler(*arguments, **named)
        step = in_words(lambda: next(running, _END), handler.__name__)
        try:
            while (value := step()) is not _END:
                yield value
        finally:
            running.close()

    return answer


_END = object()


def expect_typed_ids() -> None:
    """Have the process ready that tries models of visitors' choice, which takes seconds to start: somebody has opened the page.
    While models are still being loaded for it, that goes first."""
    if settings().quarantine and not zerogpu.ACTIVE and _loaded_ahead.is_set():
        sandbox.warm()


def start_loading(ids: list[str]) -> threading.Thread:
    """Load models in the background, in this order, so that the first visitor need not wait.

    Args:
        ids: menu keys. One that cannot be loaded is logged and left for whoever asks for it.
    """

    def load() -> None:
        for identity in ids:
            try:
                predictor().get(identity, visitor=False)
            except SegDemoError as error:
                log.warning("%s was not loaded ahead: %s", identity, error)
            except Exception:
                log.exception("%s was not loaded ahead", identity)
        _loaded_ahead.set()
        expect_typed_ids()

    thread = threading.Thread(target=load, name="load-models", daemon=True)
    thread.start()
    return thread

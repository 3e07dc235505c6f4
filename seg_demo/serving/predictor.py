"""Loaded models for many visitors: each loaded once, kept while memory allows, and never more work at a time than agreed.

One call per key at a time: whoever asks for the same thing meanwhile gets the same outcome.

Models of visitors' choice: fetched by nobody's login, tried where they can do no harm, and in nobody's way.
"""

from __future__ import annotations

import contextvars
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch

from seg_demo.core import requests
from seg_demo.core.errors import BadRequestError, BusyError
from seg_demo.core.messages import Message
from seg_demo.core.settings import Settings, settings
from seg_demo.core.threads import begin
from seg_demo.core.types import ModelSpec, Segmentation
from seg_demo.hub import lookup, pickles, sandbox
from seg_demo.hub.download import Report
from seg_demo.inference import devices, zerogpu
from seg_demo.inference.model import Model, check_threshold, not_smoothed
from seg_demo.inference.tiled import check_detail
from seg_demo.inputs.images import Source, read
from seg_demo.networks.checkpoint import weight_paths
from seg_demo.serving import catalog, loading
from seg_demo.serving.limits import Admission, is_large, places
from seg_demo.serving.loading import build


class Predictor:
    """The models of one server.

    Least recently used models are dropped once all together exceed the budget; one that alone exceeds it serves its request
    and is not kept. A model that is being loaded is waited for, not loaded twice, and one is loaded at a time. At most
    ``places`` images are worked on at a time, whoever asks and however; ``queue_size`` more may wait. Fetching and
    loading a model takes no one else's place. A model of a visitor's choice is tried in a process of its own first.

    Args:
        chosen: the settings; None takes those of this process.
    """

    def __init__(self, chosen: Settings | None = None) -> None:
        self._settings = chosen or settings()
        self._device = devices.choose_device(self._settings.device)
        # On ZeroGPU this process has no GPU to ask; its models wait in ordinary memory.
        where = torch.device("cpu") if zerogpu.ACTIVE else self._device
        self._budget = devices.cache_budget(self._settings, where)
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._lock = threading.Lock()
        self._fetching, self._building, self._one_build = Once(), Once(), threading.Lock()
        gpu = self._device.type == "cuda" and not zerogpu.ACTIVE
        self._admission = Admission(places(self._settings, gpu), self._settings.queue_size)
        self._strangers = Strangers(self._settings.quarantine)

    def get(self, id: str, *, visitor: bool = True, report: Report | None = None) -> Model:
        """A loaded model. Asking again for one that is kept makes no network call and loads nothing.

        Args:
            id: menu key, ``user/repo`` or ``user/repo@revision``; for the owner also a folder.
            visitor: what strangers typed: no folders, and the login only for what is on the owner's menu.
            report: called with a fraction, or None, and a few words while something is downloaded or loaded.

        Raises:
            SegDemoError: the model cannot be found, fetched or loaded; the message says what to do.
        """
        spec = catalog.resolve(id, local_folders=not visitor)
        requests.note(model=spec.id if visitor else spec.source)
        if spec.source == "builtin":
            return Model.classical(spec)
        path = self._locate(spec, visitor, report)
        key = _key(path)
        if (model := self._kept(key)) is None:
            with stays(spec, path):
                model = self._building.run(key, lambda: self._build(key, spec, path, report))
        return model.named(spec)

    def _kept(self, key: str) -> Model | None:
        with self._lock:
            if key in self._models:
                self._models.move_to_end(key)
            return self._models.get(key)

    def segment(
        self,
        image: Source,
        id: str,
        threshold: float = 0.5,
        *,
        visitor: bool = True,
        report: Report | None = None,
        detail: str = "whole",
        confidence: bool = False,
        smoothing: float | None = None,
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: as for :meth:`Model.predict`.
            id: as for :meth:`get`.
            threshold: score in [0, 1] that objects of instance models must reach.
            visitor: as for :meth:`get`.
            report: as for :meth:`get`, and called after each tile of full detail.
            detail: ``whole`` or ``full``, as for :meth:`Model.predict`.
            confidence: also how sure the model is of every pixel.
            smoothing: of region methods in pixels, as for :meth:`Model.predict`.

        Raises:
            SegDemoError: a bad image, threshold, detail, smoothing or model, or :class:`BusyError`.
        """
        wanted, options = check_threshold(threshold), {"detail": check_detail(detail), "confidence": confidence, "smoothing": smoothing}
        return self.segment_all(image, id, visitor=visitor, report=report, **options).above(wanted)

    def segment_all(
        self,
        image: Source,
        id: str,
        *,
        visitor: bool = True,
        report: Report | None = None,
        detail: str = "whole",
        confidence: bool = False,
        smoothing: float | None = None,
    ) -> Segmentation:
        """Segment one image and keep every candidate; ``Segmentation.above`` filters without the network.

        Args and Raises: as for :meth:`segment`.
        """
        with self._admission.admission():
            if zerogpu.ACTIVE and (spec := catalog.resolve(id, local_folders=not visitor)).source != "builtin":
                path = self._locate(spec, visitor, report)
                if smoothing is not None:
                    raise BadRequestError(not_smoothed(spec.id))
                with self._admission.place(is_large(image, detail)), stays(spec, path):
                    result = zerogpu.segment_all(_key(path), spec, path, read(image), detail, confidence)
                requests.note(device=result.device, seconds=result.seconds)  # the worker's own notes stayed with it
                return result
            model = self.get(id, visitor=visitor, report=report)
            with self._admission.place(is_large(image, detail)):
                return model.predict_all(image, detail=detail, confidence=confidence, report=report, smoothing=smoothing)

    def segment_regions(self, image: Source, method: str, parameters: dict[str, float]) -> Segmentation:
        """Regions of one image by a classical method with other than its default parameters.

        Args:
            image: as for :meth:`Model.predict`.
            method: key of ``regions.METHODS``.
            parameters: values by name, as that table lists them.

        Raises:
            SegDemoError: a bad image, method or parameter, or :class:`BusyError`.
        """
        spec = catalog.resolve(method, local_folders=False)
        if spec.source != "builtin":
            raise BadRequestError("regions.no_such_method_on_tab", method=method[:40])
        requests.note(model=spec.id)
        with self.work(large=is_large(image)):
            return Model.classical(spec, parameters).predict_all(image)

    @contextmanager
    def work(
        self, id: str | None = None, *, large: bool = False, visitor: bool = True, report: Report | None = None
    ) -> Iterator[None]:
        """A place to work in, for a handler that also decodes and draws: within it no call waits for another place.

        Args:
            id: as for :meth:`get`; the model is fetched and loaded before the place is taken. None where there is none.
            large: of ``admission.is_large``.
            visitor: as for :meth:`get`.
            report: as for :meth:`get`.

        Raises:
            SegDemoError: what :meth:`get` raises, or :class:`BusyError`.
        """
        with self._admission.admission():
            if id is not None and zerogpu.ACTIVE:
                spec = catalog.resolve(id, local_folders=not visitor)
                if spec.source != "builtin":
                    self._locate(spec, visitor, report)
            elif id is not None:
                self.get(id, visitor=visitor, report=report)
            with self._admission.place(large):
                yield

    @property
    def state(self) -> dict[str, float]:
        """For those who watch over the server: ``models`` kept, ``running`` and ``admitted`` requests, and the seconds for
        which the ``longest`` running one has been worked on."""
        now = self._admission
        return {"models": len(self._models), "running": now.running, "admitted": now.admitted, "longest": now.longest}

    def agreement(self, spec: ModelSpec) -> float | None:
        """``Model.agreement`` of a model that is loaded; None if it is not, or nothing is known yet."""
        with self._lock:
            models = list(self._models.values())
        shares = (model.agreement for model in models if (model.spec.id, model.spec.revision) == (spec.id, spec.revision))
        return next((share for share in shares if share is not None), None)

    def _locate(self, spec: ModelSpec, visitor: bool, report: Report | None) -> Path:
        token = not visitor or catalog.on_menu(spec)
        if (spec.source != "hub" or token) and loading.is_here(spec, token=token):
            return loading.locate(spec, token=token)
        who = (spec.id, spec.revision, spec.source, token)
        if spec.source != "hub" or token:
            return self._fetching.run(who, lambda: loading.locate(spec, token=token, report=report))
        if (path := self._strangers.ready(spec)) is not None:
            return path
        self._strangers.check(spec, len(self._fetching))
        return self._fetching.run(who, lambda: self._strangers.bring(spec, report))

    def _build(self, key: str, spec: ModelSpec, path: Path, report: Report | None) -> Model:
        if report is not None:
            report(None, Message("progress.loading", title=spec.title))
        with self._one_build, stays(spec, path):
            if (model := self._kept(key)) is not None:
                return model  # another request built it since we looked
            self._make_room(sum(file.stat().st_size for file in weight_paths(path)))
            model = build(spec, path, str(self._device))
        if zerogpu.ACTIVE:
            zerogpu.hold(key, model)
        if model.nbytes <= self._budget:
            self._make_room(model.nbytes)
            with self._lock:
                self._models[key] = model
        return model

    def _make_room(self, wanted: int) -> None:
        """Drop models until this many bytes more fit into the budget; what can never fit drops none."""
        dropped = False
        with self._lock:
            while self._models and wanted <= self._budget < sum(model.nbytes for model in self._models.values()) + wanted:
                self._models.popitem(last=False)
                dropped = True
        if dropped and self._device.type == "cuda" and not zerogpu.ACTIVE:
            torch.cuda.empty_cache()


def _key(path: Path) -> str:
    """Names what a path holds now: a folder that training has written anew is another model."""
    return f"{path}:{max((file.stat().st_mtime_ns for file in weight_paths(path)), default=0)}"


T = TypeVar("T")
# How often one who waits looks whether somebody still waits for them.
LOOK_SECONDS = 0.2


class Once:
    """Calls under way, by key. Nothing is kept after a call has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[Any]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def run(self, key: Hashable, call: Callable[[], T]) -> T:
        """The outcome of the call that runs for this key: the one given, or one that was under way already.

        The call runs in a thread of its own: it goes on when the request that began it is withdrawn or takes too long, for
        whoever asks next.

        Args:
            key: what the call is about.
            call: made unless one for the key is under way.

        Raises:
            LeftError: the request that waits was withdrawn.
            TooLongError: it has used up its time.
            BusyError: it has waited a while, and others wait behind it; or the system gives no more threads.
            BaseException: whatever the call raises, to everyone who waits for it.
        """
        with self._lock:
            running = self._running.get(key)
            if running is None:
                running = Future()
                context = contextvars.copy_context()
                begin(threading.Thread(target=context.run, args=(self._make, key, call, running), name="once", daemon=True))
                self._running[key] = running
        while True:
            try:
                return running.result(LOOK_SECONDS)
            except TimeoutError:
                if running.done():  # the call's own TimeoutError, not that of the waiting
                    return running.result()
                requests.check(fetching=True)

    def _make(self, key: Hashable, call: Callable[[], Any], future: Future[Any]) -> None:
        value, failure = None, None
        try:
            value = call()
        except BaseException as error:  # handed over to everyone who waits, whatever it is
            failure = error
        # First the key, then the outcome: who asks after having got it makes a new call.
        with self._lock:
            del self._running[key]
        if failure is None:
            future.set_result(value)
        else:
            future.set_exception(failure)


# Models that are fetched and tried at the same time; as many again may wait for that.
MOST = 2


class Strangers:
    """The way in for Hub models that are not on the owner's menu.

    Args:
        tries: whether they are tried in a process of their own; never on ZeroGPU.
    """

    def __init__(self, tries: bool) -> None:
        self._wanted = tries
        self._places = threading.BoundedSemaphore(MOST)

    def ready(self, spec: ModelSpec) -> Path | None:
        """The folder of a model that has been fetched and tried; it waits behind nobody whose model has not.

        Args:
            spec: of source ``hub``.
        """
        folder = lookup.recent(spec, token=False)
        try:
            path = None if folder is None else pickles.ready(folder)
            if path is None or (self._tries() and not sandbox.passed(path)):
                return None
        except OSError:
            return None  # removed meanwhile to make room for others: it is fetched again
        return loading.locate(spec, token=False)

    def check(self, spec: ModelSpec, under_way: int) -> None:
        """Refuse a model that has to be fetched while many are.

        Args:
            spec: of source ``hub``.
            under_way: models that are being fetched now.

        Raises:
            BusyError: too many.
        """
        if under_way >= 2 * MOST and lookup.cached(spec, token=False) is None:
            raise BusyError("requests.downloads_full")

    def bring(self, spec: ModelSpec, report: Report | None) -> Path:
        """Fetch a model and try it.

        Args:
            spec: of source ``hub``.
            report: told about it.

        Raises:
            SegDemoError: it cannot be had, or is refused.
        """
        with self._places:
            if self._tries():
                # Meanwhile: the file that is largest takes longer to come than the libraries to be imported.
                sandbox.prepare()
            path = loading.locate(spec, token=False, report=report)
            if self._tries():
                if report is not None:
                    report(None, Message("progress.trying", title=spec.title))
                with stays(spec, path):
                    sandbox.inspect(path)
        return path

    def _tries(self) -> bool:
        return self._wanted and not zerogpu.ACTIVE


@contextmanager
def stays(spec: ModelSpec, path: Path) -> Iterator[None]:
    """Within it a model's files are not removed to make room for others.

    Args:
        spec: the model.
        path: where its files are.

    Raises:
        BusyError: they were removed already.
    """
    with lookup.held(spec.id) if spec.source == "hub" else nullcontext():
        if not path.exists():
            raise BusyError("disk.model_removed")
        yield

"""Loaded models for many visitors: each loaded once, kept while memory allows, and never more work at a time than agreed.

ModelSpec → where its files are → a checkpoint in memory → a model on a device, with the engine that serves it; and what a
repository offers, before anything is loaded (:func:`offer`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from seg_demo import networks
from seg_demo.core import Admission, BadCheckpointError, BadRequestError, BusyError, Limiter, Message, Options, Report, SingleFlight, View, requests
from seg_demo.core.settings import Settings, settings, slots
from seg_demo.hub import licences, lookup, untrusted
from seg_demo.inference import engine, zerogpu
from seg_demo.inference import model as batching
from seg_demo.inference.model import Model
from seg_demo.inference.prompting import Session, Sessions, fingerprint
from seg_demo.inputs.images import FreedMemory, Picture, Source, is_large, read
from seg_demo.networks.checkpoint import CONFIG, INDEX, WEIGHTS, channels_of, read_familiarity, read_json, samples_of, weight_paths, weights_size
from seg_demo.serving import catalog
from seg_demo.serving.catalog import architecture_of, known_labels, labels_in

if TYPE_CHECKING:
    from seg_demo.core import ModelSpec, Segmentation
    from seg_demo.inference.explain import Explanation
    from seg_demo.networks.base import Network

# Class names that are listed of an offer.
SHOWN_NAMES = 8
# Untrusted models that are fetched and tried at the same time; as many again may wait for that.
UNTRUSTED_MOST = 2


@dataclass(frozen=True)
class ResolvedModel:
    """The model of a request: what its id was resolved to, once.

    Attributes:
        spec: the model.
        path: where its files are on this machine; None for a region method, which has none.
    """

    spec: ModelSpec
    path: Path | None

    @cached_property
    def samples(self) -> int | None:
        """Channels of a file's own samples that it takes: ``channels`` of :func:`seg_demo.inputs.images.read`."""
        return None if self.path is None or not self.path.is_dir() else samples_of(self.path)

    def check(self, options: Options) -> None:
        """Refuse several looks of a model that looks once, before it is loaded."""
        if options.looks > 1 and (self.path is None or not networks.network(self.spec.architecture or architecture_of(self.path)).averages):
            raise BadRequestError("requests.one_look", id=self.spec.id)


class Predictor:
    """The models of one server.

    Least recently used models are dropped once all together exceed the budget; one that alone exceeds it serves its request
    and is not kept. A model that is being loaded is waited for, not loaded twice, and one is loaded at a time. At most
    ``slots`` images are worked on at a time, whoever asks and however; ``queue_size`` more may wait. Fetching and
    loading a model takes no one else's slot. A model of a visitor's choice is tried in a process of its own first.

    Pictures that promptable models have looked at (:meth:`prompting`) are kept for their visitor within the same budget, half of it at
    most; they go before any model does. Neither looking at a picture nor answering a click takes a slot of other requests: whoever clicks
    waits for others who click, and not for the large picture of somebody else.

    Args:
        chosen: the settings; None takes those of this process.
    """

    def __init__(self, chosen: Settings | None = None) -> None:
        self._settings = chosen or settings()
        self._device = engine.choose_device(self._settings.device)
        # On ZeroGPU this process has no GPU to ask; its models wait in ordinary memory.
        where = torch.device("cpu") if zerogpu.ACTIVE else self._device
        self._budget = engine.cache_budget(self._settings, where)
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._passing: dict[str, Model] = {}  # the last one that was too large to be kept, while the request that it was loaded for waits for its slot
        self._lock = threading.Lock()
        self._fetching, self._building, self._one_build = SingleFlight(), SingleFlight(), Limiter(1)
        gpu = self._device.type == "cuda" and not zerogpu.ACTIVE
        self._admission = Admission(slots(self._settings, gpu), self._settings.queue_size, FreedMemory())
        self._untrusted = UntrustedModels(self._settings.quarantine)
        self._clicks, self._looks = Limiter(slots(self._settings, gpu)), Limiter(max(1, slots(self._settings, gpu) // 2))
        self._sessions: Sessions | None = None  # made with the first prompt

    def get(self, id: str, *, visitor: bool = True, report: Report | None = None) -> Model:
        """A loaded model. Asking again for one that is kept makes no network call and loads nothing.

        Args:
            id: menu key, ``user/repo`` or ``user/repo@revision``; for the owner also a folder.
            visitor: what strangers typed: no folders, and the login only for what is on the owner's menu.
            report: called with a fraction, or None, and a few words while something is downloaded or loaded.

        Raises:
            SegDemoError: the model cannot be found, fetched or loaded; the message says what to do.
        """
        model = self.load(resolved := self.resolve(id, visitor=visitor, report=report), report)
        # For good, so that visitors' are not: those of a comparison are kept within the budget, and loaded by the worker again.
        if zerogpu.ACTIVE and not visitor and resolved.path is not None:
            zerogpu.hold(_key(resolved.path), model)
        return model

    def resolve(self, id: str, *, visitor: bool = True, report: Report | None = None) -> ResolvedModel:
        """What an id stands for, with its files on this machine; as for :meth:`get`."""
        spec = catalog.resolve(id, local_folders=not visitor)
        requests.note(model=spec.id if visitor else spec.source)
        return ResolvedModel(spec, None if spec.source == "builtin" else self._locate(spec, visitor, report))

    def load(self, resolved: ResolvedModel, report: Report | None = None, device: str = "") -> Model:
        """The model, loaded unless it is kept.

        Args:
            resolved: of :meth:`resolve`.
            report: as for :meth:`get`.
            device: where it is to compute; empty is where requests do.

        Raises:
            BadCheckpointError: its files are refused.
            BusyError: its files were removed meanwhile.
        """
        if resolved.path is None:
            return Model.classical(resolved.spec)
        key = _key(resolved.path) + device
        if (model := self._cached(key)) is None:
            with stays(resolved.spec, resolved.path):
                model = self._building.run(key, lambda: self._build(key, resolved, report, device))
        return model.named(resolved.spec)

    def _cached(self, key: str) -> Model | None:
        with self._lock:
            if key in self._models:
                self._models.move_to_end(key)
            return self._models.get(key) or self._passing.get(key)

    def segment(
        self,
        image: Source,
        id: str,
        options: Options = Options(),  # noqa: B008  (frozen)
        *,
        visitor: bool = True,
        report: Report | None = None,
    ) -> Segmentation:
        """Segment one image: a whole request, as for :meth:`work`; ``report`` is also called after each tile of full detail."""
        with self.work(image, id, options=options, visitor=visitor, report=report) as work:
            return work.segment().above(options.threshold)

    @contextmanager
    def work(
        self,
        image: Source,
        *ids: str,
        options: Options = Options(),  # noqa: B008  (frozen)
        visitor: bool = True,
        report: Report | None = None,
    ) -> Iterator[Work]:
        """One request, admitted and in a slot of its own: decoding and drawing belong into it as well. Not to be nested.

        Args:
            image: as for :meth:`Model.predict`; decoded when it is first asked for.
            ids: as for :meth:`get`; models that are fetched and loaded before the slot is taken.
            options: what is asked for.
            visitor: as for :meth:`get`.
            report: as for :meth:`segment`.

        Raises:
            SegDemoError: what :meth:`get` raises, or :class:`BusyError`.
        """
        with self._request():
            models = [self.resolve(id, visitor=visitor, report=report) for id in ids]
            for resolved in models:
                resolved.check(options)
                if not zerogpu.ACTIVE:
                    self.load(resolved, report)
            with self._admission.slot(is_large(image, options.detail)):
                yield Work(self, image, models, options, report)

    @contextmanager
    def _request(self) -> Iterator[None]:
        with self._admission.admission():
            try:
                yield
            finally:
                self._passing = {}

    @contextmanager
    def prompting(
        self, image: Source, id: str, *, who: Hashable = None, much: bool = False, view: object = None, visitor: bool = True, report: Report | None = None
    ) -> Iterator[Session | WorkerSession]:
        """A visitor's session on a picture: opened with the first prompt, and found again by the next ones. Not to be nested.

        On ZeroGPU a worker looks at the picture once, and prompts are answered here from what it gave, which costs a visitor none of their
        time there.

        Args:
            image: as for :meth:`Model.predict`; read only when the session is opened.
            id: as for :meth:`get`.
            who: whose session it is, which nobody else finds; None for one that is not kept.
            much: everything is asked for, which takes a slot like a large picture and holds up no click.
            view: as for :meth:`Model.prompt`.
            visitor: as for :meth:`get`.
            report: as for :meth:`get`.

        Raises:
            SegDemoError: what :meth:`get` and :meth:`Model.prompt` raise, or :class:`BusyError`.
        """
        with self._request():
            resolved = self.resolve(id, visitor=visitor, report=report)
            away = zerogpu.ACTIVE and resolved.path is not None
            if away and much:
                with self._admission.slot(is_large(image)), stays(resolved.spec, resolved.path):
                    yield WorkerSession(resolved.spec, resolved.path, read(image, view=view))
                return
            model = self.load(resolved, report, "cpu" if away else "")
            key = (who, resolved.path and _key(resolved.path), fingerprint(image), View.parse(view))
            with self._lock:
                self._sessions = Sessions() if self._sessions is None else self._sessions
            session = None if who is None else self._sessions.get(key)
            if session is None:
                embed = partial(zerogpu.embed, build, _key(resolved.path), resolved.spec, resolved.path) if away and model.heavy_look else None
                with self._looks.slot():
                    session = model.prompt(image, view, embed)
                session.looks = self._looks.slot
                # Models give way to no session; sessions give way to models.
                with self._lock:
                    left = self._budget - sum(model.nbytes for model in self._models.values())
                if who is not None:
                    self._sessions.keep(key, session, max(0, min(left, self._budget // 2)))
            with self._admission.slot(large=True) if much else self._clicks.slot():
                yield session

    def forget(self, who: Hashable) -> None:
        """Drop the sessions of somebody who has left, named as for :meth:`prompting`."""
        if self._sessions is not None:
            self._sessions.forget(who)

    def run(self, resolved: ResolvedModel, picture: Picture, options: Options, report: Report | None) -> Segmentation:
        """A picture through a model, by whoever has a slot (:class:`Work`).

        Args:
            resolved: the model.
            picture: what :func:`seg_demo.inputs.images.read` made of the upload.
            options: what is asked for.
            report: as for :meth:`segment`.

        Returns:
            Every candidate, whatever its score.
        """
        if not zerogpu.ACTIVE or resolved.path is None:
            return self.load(resolved, report).run(picture, options, report)
        if options.parameters:
            raise BadRequestError("requests.not_smoothed", id=resolved.spec.id)
        with stays(resolved.spec, resolved.path):
            result = zerogpu.segment(build, _key(resolved.path), resolved.spec, resolved.path, picture, options)
        requests.note(device=result.device, seconds=result.seconds)  # the worker's own notes stayed with it
        return result

    @property
    def state(self) -> dict[str, float]:
        """For those who watch over the server: ``models`` kept, ``running`` and ``admitted`` requests, and the seconds for
        which the ``longest`` running one has been worked on."""
        now = self._admission
        sessions = 0 if self._sessions is None else len(self._sessions)
        return {"models": len(self._models), "sessions": sessions, "running": now.running, "admitted": now.admitted, "longest": now.longest}

    def agreement(self, spec: ModelSpec) -> float | None:
        """``Model.agreement`` of a model that is loaded; None if it is not, or nothing is known yet."""
        with self._lock:
            models = list(self._models.values())
        shares = (model.agreement for model in models if (model.spec.id, model.spec.revision) == (spec.id, spec.revision))
        return next((share for share in shares if share is not None), None)

    def _locate(self, spec: ModelSpec, visitor: bool, report: Report | None) -> Path:
        if spec.source != "hub" or not visitor or catalog.on_menu(spec):
            if is_here(spec, token=True):
                return locate(spec, token=True)
            key = (spec.id, spec.revision, spec.source)
            return self._fetching.run(key, lambda: locate(spec, token=True, report=report))
        if (path := self._untrusted.ready(spec)) is not None:
            return path
        self._untrusted.check(spec, len(self._fetching))
        return self._fetching.run((spec.id, spec.revision, "untrusted"), lambda: self._untrusted.bring(spec, report))

    def _build(self, key: str, resolved: ResolvedModel, report: Report | None, device: str) -> Model:
        spec, path = resolved.spec, resolved.path
        if report is not None:
            report(None, Message("progress.loading", title=spec.title))
        with self._one_build.slot(), stays(spec, path):
            if (model := self._cached(key)) is not None:
                return model  # another request built it since we looked
            self._passing = {}
            self._make_space(sum(file.stat().st_size for file in weight_paths(path)))
            model = build(spec, path, device or str(self._device))
        if model.nbytes <= self._budget:
            self._make_space(model.nbytes)
            with self._lock:
                self._models[key] = model
        else:
            self._passing = {key: model}
        return model

    def _make_space(self, wanted: int) -> None:
        """Drop models until this many bytes more fit into the budget; what can never fit drops none."""
        dropped = False
        with self._lock:
            held = sum(model.nbytes for model in self._models.values())
            if self._sessions is not None:
                self._sessions.shrink(max(0, self._budget - held - wanted))
            while self._models and wanted <= self._budget < sum(model.nbytes for model in self._models.values()) + wanted:
                self._models.popitem(last=False)
                dropped = True
        if dropped and self._device.type == "cuda" and not zerogpu.ACTIVE:
            torch.cuda.empty_cache()


def _key(path: Path) -> str:
    """Names what a path holds now: a folder that training has written anew is another model."""
    return f"{path}:{max((file.stat().st_mtime_ns for file in weight_paths(path)), default=0)}"


class Work:
    """A request in its slot; of :meth:`Predictor.work`.

    Attributes:
        options: what is asked for.
        samples: as of :class:`Model`, of the first model.
    """

    def __init__(
        self, predictor: Predictor, image: Source, models: list[ResolvedModel], options: Options, report: Report | None
    ) -> None:
        self._predictor, self._image, self._resolved, self._report = predictor, image, models, report
        self.samples, self.options = models[0].samples if models else None, options

    @cached_property
    def picture(self) -> Picture:
        """The image as the first model takes it, decoded once; BadImageError for anything else than an accepted image within the limits."""
        return read(self._image, view=self.options.view, channels=self.samples)

    def segment(self, resolved: ResolvedModel | None = None) -> Segmentation:
        """Every candidate of the request's first model, or of ``resolved``, whatever its score.

        Raises:
            SegDemoError: a bad image, parameters that are not the model's, or too little memory.
        """
        resolved = resolved or self._resolved[0]
        wanted = resolved.samples
        picture = self.picture if wanted == self.samples else read(self._image, view=self.options.view, channels=wanted)
        return self._predictor.run(resolved, picture, self.options, self._report)

    def again(self, result: Segmentation) -> Segmentation | None:
        """A result at other thresholds, as :meth:`seg_demo.inference.model.Model.again` of the request's first model."""
        return None if zerogpu.ACTIVE else self._predictor.load(self._resolved[0], self._report).again(result, self.options)

    def explain(self, result: Segmentation, at: tuple[int, int]) -> Explanation:
        """As :meth:`seg_demo.inference.model.Model.explain` of the request's first model; on ZeroGPU by the processor, which costs nobody's time there."""
        model = self._predictor.load(self._resolved[0], self._report, "cpu" if zerogpu.ACTIVE else "")
        return model.explain(self.picture, result, at, self._report)


class WorkerSession:
    """What :meth:`Predictor.prompting` gives on ZeroGPU for everything in a picture, which a worker finds by itself.

    Args:
        spec: the model.
        path: where its files are.
        picture: as it was read.
    """

    def __init__(self, spec: ModelSpec, path: Path, picture: Picture) -> None:
        self.spec, self.pixels, self.notes = spec, picture.pixels, picture.notes
        self._path, self._picture = path, picture

    def everything(self) -> Segmentation:
        """As :meth:`seg_demo.inference.prompting.Session.everything`."""
        return zerogpu.everything(build, _key(self._path), self.spec, self._path, self._picture)


class UntrustedModels:
    """The way in for Hub models that are not on the owner's menu: fetched with nobody's login, tried where they can do no harm,
    and in nobody's way.

    Args:
        tries: whether they are tried in a process of their own; never on ZeroGPU.
    """

    def __init__(self, tries: bool) -> None:
        self._tries = tries and not zerogpu.ACTIVE
        self._limit = Limiter(UNTRUSTED_MOST)

    def ready(self, spec: ModelSpec) -> Path | None:
        """The folder of a model of source ``hub`` that has been fetched and tried; it waits behind nobody whose model has not."""
        folder = lookup.recent(spec, token=False)
        try:
            path = None if folder is None else untrusted.ready(folder)
            if path is None or (self._tries and not untrusted.passed(path)):
                return None
        except OSError:
            return None  # removed meanwhile to make room for others: it is fetched again
        return locate(spec, token=False)

    def check(self, spec: ModelSpec, under_way: int) -> None:
        """Refuse a model that has to be fetched while many are.

        Args:
            spec: of source ``hub``.
            under_way: models that are being fetched now.

        Raises:
            BusyError: too many.
        """
        if under_way >= 2 * UNTRUSTED_MOST and lookup.cached(spec, token=False) is None:
            raise BusyError("requests.downloads_full")

    def bring(self, spec: ModelSpec, report: Report | None) -> Path:
        """Fetch a model and try it.

        Args:
            spec: of source ``hub``.
            report: called as it goes on.

        Raises:
            SegDemoError: it cannot be had, or is refused.
        """
        with self._limit.slot():
            if self._tries:
                # Meanwhile: the file that is largest takes longer to come than the libraries to be imported.
                untrusted.prepare()
            path = locate(spec, token=False, report=report)
            if self._tries:
                if report is not None:
                    report(None, Message("progress.trying", title=spec.title))
                with stays(spec, path):
                    untrusted.inspect(path)
        return path


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


def locate(spec: ModelSpec, *, token: bool, report: Report | None = None) -> Path:
    """Where the files of a model are on this machine, after fetching them if needed.

    Args:
        spec: of any source but ``builtin``, which has no files.
        token: whether the login of this machine may be used.
        report: called with a fraction, or None, and a few words while something is downloaded.

    Returns:
        A checkpoint folder with safetensors, which are made of pickles where there is nothing else; or torchvision's file.

    Raises:
        SegDemoError: what :func:`seg_demo.hub.lookup.fetch`, :func:`seg_demo.hub.untrusted.converted` and
            :func:`seg_demo.serving.catalog.fetch_weights` raise.
    """
    if spec.source == "bundled":
        return catalog.BUNDLED_FOLDER / spec.id
    if spec.source == "folder":
        return untrusted.converted(catalog.trained_folder(spec.id) or Path(spec.id))
    if spec.source == "hub":
        folder = lookup.fetch(spec, token=token, report=report, owners=() if token else _owners())
        if weight_paths(folder):
            return folder
        if report is not None and untrusted.ready(folder) is None:
            report(None, Message("progress.converting", title=spec.title))
        with lookup.held(spec.id):
            return untrusted.converted(folder, visitor=not token)
    if spec.source == "torchvision":
        return catalog.fetch_weights(catalog.TORCHVISION[spec.id], report)
    raise BadRequestError("models.no_network", id=spec.id)


def is_here(spec: ModelSpec, *, token: bool) -> bool:
    """Whether :func:`locate` answers at once, without asking anybody or reading a large file.

    Args:
        spec: of any source but ``builtin``.
        token: as for :func:`locate`.
    """
    if spec.source == "hub":
        folder = lookup.recent(spec, token=token)
        return folder is not None and untrusted.ready(folder) is not None
    return spec.source != "torchvision" or catalog.weights_checked(catalog.TORCHVISION[spec.id])


def load(spec: ModelSpec, path: Path) -> Network:
    """A network in memory, in eval mode, fp32 on the CPU.

    Args:
        spec: the model.
        path: of :func:`locate`.

    Raises:
        BadCheckpointError: the files are refused.
    """
    if spec.source == "torchvision":
        row = catalog.TORCHVISION[spec.id]
        return catalog.load_weights(row, path, list(known_labels(row.labels)))
    wanted, free = memory_to_load(path, weights_size(path)), engine.available_memory()
    if wanted > free:
        raise BadCheckpointError("memory.model_too_large", wanted=wanted / 1e9, free=free / 1e9)
    return networks.load(path)


def load_checkpoint(spec: ModelSpec, *, token: bool, report: Report | None = None) -> Network:
    """:func:`locate`, then :func:`load`; for training, which needs the process that reads pickles only here."""
    try:
        return load(spec, locate(spec, token=token, report=report))
    finally:
        untrusted.close()


def load_model(id: str, device: str | None = None) -> Model:
    """A model for Python and the command line: folders are allowed, and the login of this machine is used.

    Args:
        id: menu key, ``user/repo``, ``user/repo@revision``, or a checkpoint folder.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``; None takes the setting.

    Raises:
        SegDemoError: the model cannot be found, fetched or loaded; the message says what to do.
    """
    spec = catalog.resolve(id, local_folders=True)
    if spec.source == "builtin":
        return Model.classical(spec)
    return build(spec, locate(spec, token=True), device or settings().device)


def build(spec: ModelSpec, path: Path, device: str) -> Model:
    """Load a model's files onto a device.

    Args:
        spec: the model.
        path: of :func:`seg_demo.serving.predictor.locate`.
        device: as for :func:`seg_demo.inference.engine.choose_device`.

    Raises:
        BadCheckpointError: the files are refused.
        SettingsError: there is no such device.
    """
    target = engine.choose_device(device)
    network, chosen = load(spec, path), settings()
    if network.forward_with_maps is not None:
        network = replace(network, familiarity=read_familiarity(path))
    network.module.eval().requires_grad_(False)
    network.module.to(target)
    network.optimise(target)
    served = engine.choose(network, target, chosen.engine, chosen.concurrency or 1, chosen.precision)
    together = target.type == "cuda" and not zerogpu.ACTIVE and slots(chosen, gpu=True) > 1
    window = batching.WINDOW if together else None
    return Model.from_network(network, spec, engine=served, window=window)


@dataclass(frozen=True)
class Offer:
    """A model that can be fetched and loaded, as far as its files tell.

    Attributes:
        id: as it was resolved.
        commit: of the repository; empty for a folder.
        branch: or tag that the commit was found by; empty for a folder.
        architecture: family of networks.
        task: what it answers, or was made for if it answers several.
        tasks: all that it answers.
        labels: class names that it states; empty if it states none.
        weights: where they come from, in words.
        size: bytes that are downloaded; of a folder, those of its weights.
        memory: bytes that its weights take while it is loaded, twice what they take afterwards.
        free: bytes that are free on this machine.
        licence: and what it allows, along all that it was made from, in a sentence; empty for a folder without a card.
        commercial: whether that allows commercial use; None where it is not told.
        channels: of the pictures that it takes.
        refused: why it cannot be loaded, by all but its weights; empty if it can.
    """

    id: str
    commit: str
    branch: str
    architecture: str
    task: str
    tasks: tuple[str, ...]
    labels: tuple[str, ...]
    weights: str
    size: int
    memory: int
    free: int
    licence: str
    commercial: bool | None
    channels: int = 3
    refused: str = ""

    @property
    def loads(self) -> bool:
        """Whether it can be loaded, and fits this machine."""
        return not self.refused and self.memory <= self.free

    def rows(self) -> dict[str, str]:
        """What a person wants to know, by what that is called."""
        names = ", ".join(self.labels[:SHOWN_NAMES]) + (", …" if len(self.labels) > SHOWN_NAMES else "")
        rows = {
            "model": self.id,
            "commit": f"{self.commit} ({self.branch})" if self.branch else self.commit,
            "network": f"{networks.title_of(self.architecture)} ({self.task}, {networks.family(self.architecture).library})",
            "tasks": ", ".join(self.tasks) + "; the first is what it was made for" if len(self.tasks) > 1 else "",
            "channels": "3: red, green and blue" if self.channels == 3 else f"{self.channels}, of files that have them; --view chooses which",
            "classes": f"{len(self.labels)}: {names}" if self.labels else "no names are stated; they are called by their number",
            "weights": self.weights,
            "download" if self.commit else "size": f"{self.size / 1e6:,.1f} MB" if self.size else "",
            "memory": f"{self.memory / 1e9:,.1f} GB to load it, {self.free / 1e9:,.1f} GB are free here",
            "licence": self.licence,
            "loads": "yes, as far as its files tell" if self.loads else f"no: {self.refused or 'this machine has too little memory for it'}",
        }
        return {name: value for name, value in rows.items() if value}


def _owners() -> list[tuple[str, str]]:
    """Repositories and revisions that do not have to make room for what a visitor typed."""
    return [(entry.id, entry.revision or "main") for entry in catalog.menu(every=True) if entry.source == "hub"]


def offer(id: str, *, visitor: bool = False) -> Offer:
    """Look at a model without loading it.

    Args:
        id: as for :func:`seg_demo.serving.catalog.resolve`.
        visitor: it was typed by one, so that folders are nobody's business and the login of this machine is not used.

    Raises:
        SegDemoError: there is no such model, or it is none that can be loaded; the message says what to choose instead.
    """
    spec = catalog.resolve(id, local_folders=not visitor)
    if spec.source in ("builtin", "torchvision"):
        raise BadRequestError("hub.nothing_to_check", id=spec.id)
    if spec.source != "hub":
        line = licences.of_folder(folder := locate(spec, token=True))
        return replace(_offer(spec.id, folder, "in the folder", weights_size(folder), line=line), refused=untrusted.look(folder, None))
    token = not visitor or catalog.on_menu(spec)
    listing, folder = lookup.look(spec, token=token, owners=() if token else _owners())
    if listing.lender is not None:
        where = f"from the pull request of the Hub's conversion bot (commit {listing.lender[:8]})"
    elif listing.pickled:
        where = "a pickle, which a process of its own turns into safetensors"
    else:
        parts = len([name for name in listing.names if name.endswith(".safetensors")])
        where = f"{parts} safetensors files with an index" if INDEX in listing.names else listing.names[WEIGHTS]
    line = licences.lineage(*licences.of_card(spec.id, listing.card), lambda base: licences.on_hub(base, token=token))
    heavy = sum(size for name, size in listing.every.items() if not name.endswith((".json", ".txt")))
    found = _offer(spec.key, folder, where, heavy, listing, spec.revision or "main", line)
    return replace(found, refused=untrusted.look(folder, lookup.stored_names(spec, listing, token=token)))


def memory_to_load(folder: Path, size: int) -> int:
    """Bytes that a checkpoint's weights take while they are loaded: as they are read and as the network has them, both as fp32.

    Args:
        folder: with its config.json.
        size: bytes of its weights in their files.
    """
    config = read_json(folder, CONFIG)
    half = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.") in ("float16", "bfloat16")
    return size * (4 if half else 2)


def _offer(
    id: str, folder: Path, where: str, heavy: int, listing: lookup.Listing | None = None, branch: str = "", line: licences.Lineage | None = None
) -> Offer:
    architecture, tasks = architecture_of(folder), tuple(task.name for task in catalog.tasks_in(folder))
    commit, size = ("", heavy) if listing is None else (listing.sha, sum(listing.every.values()))
    known = labels_in(folder), where, size, memory_to_load(folder, heavy), engine.available_memory()
    allowed = ("", None) if line is None else (line.described(), line.commercial)
    return Offer(id, commit, branch, architecture, tasks[0], tasks, *known, *allowed, channels_of(read_json(folder, CONFIG)))

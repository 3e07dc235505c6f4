"""The pictures of one command, segmented by this process, by several of its own, or (:mod:`seg_demo.cluster`) by other machines'; and its rasters
with as little memory as that can be done.

Of several processes each holds the model and works on one picture at a time with its share of the processor's cores. A picture that kills
its worker (a crash in native code, no memory left) costs that worker alone: the picture is named, and another process takes its
place. Whoever stops the command stops its workers; each of them ends by itself once nobody hears it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_demo.core import BadRequestError, Message, SegDemoError, disk_full, write_atomically
from seg_demo.core.sandbox import end_with_parent, map_large_blocks, release

if TYPE_CHECKING:
    from seg_demo.core import Calibration, LabelSet, ModelSpec, Options
    from seg_demo.inference.model import Model
    from seg_demo.inference.rasters import Frozen
    from seg_demo.inputs.archives import Job
    from seg_demo.inputs.scientific import Raster
    from seg_demo.outputs.measurements import PixelSize

_log = logging.getLogger(__name__)
# A worker that is ending has so many seconds for it.
END_SECONDS = 10.0
# Pictures that a worker has at a time: one that it works on, and one that it goes on with.
AHEAD = 2
# Pixels of all rasters together from which on they are worth a process of their own, which takes five seconds to start; and of one from which on
# its files are, too: what has computed it holds 600 MB, and its outlines take hundreds more.
WINDOWS_FROM, APART_FROM = 1 << 25, 1 << 27


@dataclass(frozen=True)
class Done:
    """What came of a picture.

    Attributes:
        job: the picture.
        problem: why it has no result; None where it has one.
        notes: what to know of it.
        lost: of every format that was written, what it could not hold of the result, and how often.
        result: ``Segmentation.to_dict()``, where the order keeps it; else None.
        files: of it, by their names, in the order in which they are to be written; empty once they are.
        full: whether its files found no room, so that those of the next would find none either.
    """

    job: Job
    problem: str | None
    notes: tuple[str, ...] = ()
    lost: Mapping[str, Counter[str]] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    full: bool = False


@dataclass(frozen=True)
class Loaded:
    """What a model turned out to be.

    Attributes:
        spec: of it.
        labels: its classes.
        samples: channels that its files are opened with; None for a person's.
    """

    spec: ModelSpec
    labels: LabelSet
    samples: int | None

    @classmethod
    def of(cls, model: Model) -> Loaded:
        """Of a model in memory."""
        return cls(model.spec, model.labels, model.samples)


@dataclass(frozen=True)
class Order:
    """What is done with each picture.

    Attributes:
        model: id, as for :func:`seg_demo.load_model`.
        device: likewise.
        out: the output folder.
        asked: arguments of ``Model.predict``.
        formats: to write; empty for all files, or none where results are kept.
        last: the file that is written last: where it is, the picture is done.
        pixel: size of a pixel, for measurements in its unit too.
        fresh: whether what an interrupted run has left of a raster is thrown away.
        kept: whether results are handed back, for a table of them.
    """

    model: str
    device: str | None
    out: Path
    asked: Mapping[str, Any]
    formats: Sequence[str]
    last: str
    pixel: PixelSize | None
    fresh: bool = False
    kept: bool = False

    def load(self) -> Model:
        """The model, in this process.

        Raises:
            SegDemoError: it cannot be found, fetched or loaded, or does not take what is asked.
        """
        # torch takes seconds to import.
        from seg_demo.serving.predictor import load_model

        model = load_model(self.model, device=self.device)
        model.check(self.options())  # what no picture can be segmented with is said once, and nothing is begun
        return model

    def carry_out(self, model: Model, job: Job, report: Callable[[float | None, str], object] | None = None, apart: bool = False) -> Done:
        """Segment one picture and write its files; one that cannot be is reported.

        Args:
            model: of :meth:`load`.
            job: the picture.
            report: called after each tile of full detail, and each window of a raster.
            apart: whether a raster is only computed, and its files are left to :meth:`written`.
        """
        from seg_demo.inputs.images import MOST_RASTER, open_raster

        if self.asked["detail"] == "full" and not self.kept and isinstance(job.source, Path):
            try:
                if (raster := open_raster(job.source, job.view, MOST_RASTER, model.samples)) is not None:
                    return self._segment_raster(model, raster, job, report, apart)
            except (SegDemoError, OSError) as error:
                return Done(job, str(error))
        return self.write(self.make(model, job, report))

    def few_and_large(self, jobs: Sequence[Job]) -> bool:
        """Whether the pictures are rasters alone, and worth :class:`Windows`."""
        from seg_demo.inputs.images import pixels_in_parts

        if self.asked["detail"] != "full" or self.kept:
            return False
        sizes = [pixels_in_parts(job.source, job.view) if isinstance(job.source, Path) else 0 for job in jobs]
        return all(sizes) and sum(sizes) >= WINDOWS_FROM

    def say_stopped(self, job: Job) -> None:
        """Where a raster goes on that has been stopped."""
        print(f"stopped: {job.source}: what is done of it is kept in {self.out / job.target}; the same command goes on there.", file=sys.stderr)

    def windows(self, frozen: Frozen, job: Job, report: Callable[[float | None, str], object], apart: bool = False) -> Done | None:
        """As :meth:`carry_out`, of a raster without its network's library; None where that takes the network itself.

        Args:
            frozen: opened.
            job: the raster.
            report: as there.
            apart: as there.
        """
        from seg_demo.inputs.images import MOST_RASTER, open_raster

        try:
            raster = open_raster(job.source, job.view, MOST_RASTER)
            if raster is None or not frozen.takes(raster):
                return None
            return self._segment_raster(frozen, raster, job, report, apart)
        except (SegDemoError, OSError) as error:
            return Done(job, str(error))

    def written(self, loaded: Loaded, job: Job, report: Callable[[float | None, str], object]) -> Done:
        """The files of a raster, of which the rest of :meth:`carry_out` has been done ``apart``.

        Args:
            loaded: the model.
            job: the raster.
            report: as there.
        """
        from seg_demo.inputs.images import MOST_RASTER, open_raster
        from seg_demo.outputs import rasters

        try:
            with open_raster(job.source, job.view, MOST_RASTER, loaded.samples) as raster:
                raster.calibration = self._calibrated(raster.calibration)
                result = rasters.write(loaded.spec, loaded.labels, raster, self.out / job.target, self.formats, _worded(report))
        except (SegDemoError, OSError) as error:
            return Done(job, str(error))
        return Done(job, None, tuple(map(str, result.notes)))

    def make(self, model: Model, job: Job, report: Callable[[float | None, str], object] | None = None) -> Done:
        """As :meth:`carry_out`, with files that are not written yet."""
        from seg_demo.inputs.images import read
        from seg_demo.outputs.export import MEASURED, Subject, files_of

        measured = not MEASURED.isdisjoint(self.formats) if self.formats else not self.kept
        try:
            picture = read(job.data(), view=job.view, channels=model.samples, with_samples=measured)
            result = model.predict(picture, report=report, **self.asked)
            subject = Subject(result, picture, job.source.name, pixel=self.pixel)
            files = {} if self.kept and not self.formats else files_of(subject, self.formats)
            lost, result = {name: subject.lost(name) for name in self.formats}, subject.segmentation
        except (SegDemoError, OSError) as error:
            return Done(job, str(error))
        limit = () if result.limit is None else (_limit_sentence(result.limit.objects, str(self.asked["detail"])),)
        notes = (*map(str, result.notes), *limit)
        ordered = {name: files[name] for name in sorted(files, key=lambda name: name == self.last)}
        return Done(job, None, notes, lost, replace(result, calibration=self._calibrated(result.calibration)).to_dict() if self.kept else None, ordered)

    def write(self, done: Done) -> Done:
        """Write the files of a picture into its folder.

        Args:
            done: of :meth:`make`.

        Returns:
            The same without files; with a problem, if they could not be written.
        """
        try:
            if done.files:
                folder = self.out / done.job.target
                folder.mkdir(parents=True, exist_ok=True)
                for name, data in done.files.items():
                    write_atomically(folder / name, data)
        except (SegDemoError, OSError) as error:
            return Done(done.job, str(error), full=disk_full(error))
        return replace(done, files={})

    def options(self) -> Options:
        """What is asked, but for the threshold."""
        from seg_demo.core import Options
        from seg_demo.core import smoothed

        asked = self.asked
        return Options(detail=asked["detail"], parameters=smoothed(asked["smoothing"]), task=asked["task"], thresholds=asked["thresholds"], looks=asked["looks"])

    def _calibrated(self, found: Calibration | None) -> Calibration | None:
        """What is known of a picture's pixels, with the size that was typed."""
        return found if self.pixel is None else self.pixel.over(found)

    def _segment_raster(self, model: Model | Frozen, raster: Raster, job: Job, report: Callable[[float | None, str], object] | None, apart: bool) -> Done:
        """A TIFF beyond the pixel limit, window by window."""
        from seg_demo.outputs import rasters

        map_large_blocks()
        asked = raster, self.out / job.target, self.options(), self.formats, _worded(report), self.fresh, job.source
        try:
            with raster:
                raster.calibration = self._calibrated(raster.calibration)
                notes = rasters.compute(model, *asked) if apart else rasters.segment(model, *asked).notes
        except KeyboardInterrupt:
            self.say_stopped(job)
            raise
        return Done(job, None, tuple(map(str, notes or ())))


def _worded(report: Callable[[float | None, str], object] | None) -> Callable[[float | None, str], object]:
    """A report that says the fraction in words too."""

    def shown(fraction: float | None, text: str) -> None:
        if report is not None:
            report(fraction, text if fraction is None else f"{fraction:.1%}, {text}")

    return shown


def _limit_sentence(objects: int, detail: str) -> str:
    """What to know about a result that stopped at a number of objects.

    Args:
        objects: that were kept.
        detail: ``whole`` or ``full``.
    """
    if detail == "full":
        return f"at most {objects} objects are kept of a tile (the limit), and there may be more."
    return f"at most {objects} objects are kept of a picture (the limit), and there may be more; --detail full finds them tile by tile."


class Workers:
    """Processes that carry out an order. To be closed.

    Args:
        order: what to do with each picture.
        count: of processes, no more than there are pictures; each computes with its share of the cores.

    Attributes:
        loaded: the model, which the first of them has loaded by now.

    Raises:
        SegDemoError: the model cannot be found, fetched or loaded, or no process can be started.
    """

    def __init__(self, order: Order, count: int) -> None:
        self._order, self._count = order, count
        self._context = multiprocessing.get_context("spawn")
        # By our end of a worker's pipe: its process; who loads the model yet; and the pictures that others have, of which the first is worked on.
        self._processes: dict[connection.Connection, Any] = {}
        self._loading: set[connection.Connection] = set()
        self._busy: dict[connection.Connection, deque[Job]] = {}
        self._why = ""
        try:
            # All import what networks need, which takes longest, but one alone loads at first: what has to be downloaded is downloaded once, and
            # what is refused is refused once.
            first = self._start()
            for _ in range(count - 1):
                with suppress(BadRequestError):
                    self._start()
            self._let_load(first)
            self.loaded = self._model_of(first)
            for line in self._loading:
                self._let_load(line)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Workers:
        """These."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self.close()

    def run(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Carry the order out for pictures, in about their order.

        Args:
            jobs: the pictures.

        Returns:
            What came of each, as soon as it is known.
        """
        waiting = deque(jobs)
        self._share_out(waiting)
        while self._busy or (waiting and self._processes):
            for line in connection.wait([*self._loading, *self._busy]):
                if line in self._loading:
                    self._joined(line)
                else:
                    yield self._outcome(line, waiting)
                    if waiting and line not in self._processes:
                        self._replace()
                self._share_out(waiting)
        for job in waiting:  # there is no process left, and none can be had
            yield Done(job, self._why)

    def _share_out(self, waiting: deque[Job]) -> None:
        """Give pictures to all who have the model and fewer than they may have; none of them waits for us after each picture."""
        for _ in range(AHEAD):
            for line in self._processes:
                if waiting and line not in self._loading and len(self._busy.get(line, ())) < AHEAD:
                    job = waiting.popleft()
                    self._busy.setdefault(line, deque()).append(job)
                    with suppress(OSError):  # it has died meanwhile, which the end of its pipe tells
                        line.send(job)

    def _replace(self) -> None:
        """Start one more, or go on with those that there are."""
        try:
            self._let_load(self._start())
        except BadRequestError as error:
            self._why = str(error)

    def _joined(self, line: connection.Connection) -> None:
        """A worker has the model, or has died of it, perhaps for want of memory: then the others go on without it."""
        try:
            self._model_of(line)
        except SegDemoError as error:
            self._why = str(error)
            if line in self._processes:
                self._how_it_ended(line)

    def close(self) -> None:
        """End them, whatever they do."""
        for line, process in self._processes.items():
            line.close()
            process.terminate()
        for process in self._processes.values():
            _join(process)
        self._processes.clear()
        self._loading.clear()
        self._busy.clear()

    def _start(self) -> connection.Connection:
        process, mine = _started(self._context, _work, self._order, max(1, (os.cpu_count() or 1) // self._count))
        self._processes[mine] = process
        self._loading.add(mine)
        return mine

    @staticmethod
    def _let_load(line: connection.Connection) -> None:
        """Have a worker load the model."""
        with suppress(OSError):  # as for a picture
            line.send(None)

    def _outcome(self, line: connection.Connection, waiting: deque[Job]) -> Done:
        """What came of the picture that a worker has worked on; where it died of that, others get what it had not begun."""
        had = self._busy[line]
        job = had.popleft()
        try:
            done = Done(job, **line.recv())
        except (EOFError, OSError):
            waiting.extendleft(reversed(had))
            had.clear()
            done = Done(job, str(Message("cli.worker_died", how=self._how_it_ended(line))))
        if not had:
            del self._busy[line]
        return done

    def _model_of(self, line: connection.Connection) -> Loaded:
        """What a worker answers once it has the model.

        Raises:
            SegDemoError: it has none, and ends.
        """
        self._loading.discard(line)
        return _model_heard(line, lambda: self._how_it_ended(line))

    def _how_it_ended(self, line: connection.Connection) -> str:
        """Of a worker that ends: the name of a signal, or its exit code; it is not among them any more."""
        process = self._processes.pop(line)
        line.close()
        process.join(END_SECONDS)
        return _ending(process)


def _started(context: Any, work: Callable[..., None], *more: Any) -> tuple[Any, connection.Connection]:
    """A process that does some work, which has its end of a line for its first argument; and the other end.

    Raises:
        BadRequestError: none can be started.
    """
    mine, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *more), name=work.__name__, daemon=True)
    try:
        process.start()
    except OSError as error:
        mine.close()
        raise BadRequestError("cli.no_worker", why=error.strerror) from error
    finally:
        theirs.close()  # or its end would never be noticed
    return process, mine


def _model_heard(line: connection.Connection, how_it_ended: Callable[[], str]) -> Loaded:
    """What a process answers once it has the model.

    Raises:
        SegDemoError: it has none.
    """
    try:
        answer = line.recv()
    except (EOFError, OSError):
        raise BadRequestError("cli.no_worker", why=how_it_ended()) from None
    if isinstance(answer, SegDemoError):
        raise answer
    return answer


def _join(process: Any) -> None:
    """Wait for a process that has been told to end, but not for ever."""
    process.join(END_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()


def _ending(process: Any) -> str:
    """How a process has ended, in a word or two."""
    code = process.exitcode
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


class Windows:
    """The rasters of a command, one after another, with the least memory. To be closed.

    A process loads the model, leaves what tiles need of it, and ends; another one computes them, which imports none of the libraries of networks. What
    takes the network itself, the first one does, again with the model in memory. The files of a large one are written by a third, once whoever
    has computed it has ended. This process imports none of this.

    Args:
        order: what to do with each raster.

    Attributes:
        loaded: the model.

    Raises:
        SegDemoError: the model cannot be found, fetched or loaded, or no process can be started.
    """

    def __init__(self, order: Order) -> None:
        self._order, self._context = order, multiprocessing.get_context("spawn")
        self._process, self._line, self._idle = None, None, False
        self._frozen: bytes | None = None
        try:
            self.loaded = self._load()
            self._line.send(None)
            self._frozen = self._line.recv_bytes() or None
            self._idle = True
        except (EOFError, OSError):  # it has died, perhaps of what that takes
            self.close()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Windows:
        """These."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self.close()

    def run(self, jobs: Sequence[Job], report: Callable[[str], object]) -> Iterator[Done]:
        """Carry the order out.

        Args:
            jobs: the rasters.
            report: called with a few words as each goes on.

        Returns:
            What came of each.
        """
        from seg_demo.inputs.images import pixels_in_parts

        for job in jobs:
            try:
                apart = pixels_in_parts(job.source, job.view) >= APART_FROM
                done = self._asked(_windows, job, report, self._frozen, apart=apart) if self._frozen is not None else None
                done = done or self._asked(_loaded, job, report, apart=apart)
                yield self._asked(_written, job, report, self.loaded) if apart and not done.problem else done
            except KeyboardInterrupt:
                self.close()
                self._order.say_stopped(job)
                raise

    def _asked(self, work: Callable[..., None], job: Job, report: Callable[[str], object], *more: Any, apart: bool = False) -> Done | None:
        """What came of a raster in a process that does this work."""
        try:
            if self._process is None or self._process.name != work.__name__:
                self.close()
                if work is _loaded:
                    self._load()
                else:
                    self._start(work, *more)
            self._idle = False
            self._line.send((job, apart))
            while isinstance(answer := self._line.recv(), str):
                report(answer)
            self._idle = True
            return answer if answer is None else Done(job, **answer)
        except (EOFError, OSError):
            return Done(job, str(Message("cli.worker_died", how=self._how_it_ended())))
        except SegDemoError as error:  # it cannot be loaded any more
            return Done(job, str(error))

    def _load(self) -> Loaded:
        """The model, in a process of its own.

        Raises:
            SegDemoError: it cannot be had.
        """
        self._start(_loaded)
        return _model_heard(self._line, self._how_it_ended)

    def _start(self, work: Callable[..., None], *more: Any) -> None:
        self._process, self._line = _started(self._context, work, self._order, *more)

    def _how_it_ended(self) -> str:
        process = self._process
        self.close()
        return _ending(process)

    def close(self) -> None:
        """End the process that there is, whatever it does; what it has on the disk for itself goes with it."""
        if self._process is not None:
            self._line.close()
            if not self._idle:  # else it ends because nobody hears it any more
                self._process.terminate()
            self._idle = False
            _join(self._process)
            self._process = None


def _work(line: connection.Connection, order: Order, threads: int) -> None:
    """One worker: the model, then picture after picture for as long as somebody sends them."""
    # Ctrl-C reaches all processes of a terminal; what becomes of it is the command's affair.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # torch, which is not imported yet, looks there
        os.environ[name] = str(threads)
    from seg_demo.serving import predictor  # noqa: F401  (takes seconds)

    try:
        line.recv()
        try:
            model = order.load()
        except SegDemoError as error:
            line.send(error)
            return
        line.send(Loaded.of(model))
        while True:
            done = order.carry_out(model, line.recv())
            # Who hears us knows of which picture: paths take longest to pack and unpack.
            line.send({name: value for name, value in vars(done).items() if name != "job"})
    except (EOFError, OSError):
        return  # nobody hears us any more


def _alone() -> None:
    """Ctrl-C is the command's affair; what ends this process lets it clear up, also the end of the command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    end_with_parent(signal.SIGTERM)


def _loaded(line: connection.Connection, order: Order) -> None:
    """The model for rasters: what it is, what tiles need of it (asked for by None), and rasters that need all of it."""
    _alone()
    map_large_blocks()
    from seg_demo.inference import tiled  # noqa: F401  (with torch; pages of libraries go back before more come)

    release()
    from seg_demo.serving import predictor  # noqa: F401

    release()
    try:
        try:
            model = order.load()
        except SegDemoError as error:
            line.send(error)
            return
        release()
        line.send(Loaded.of(model))
        while True:
            if (asked := line.recv()) is not None:
                job, apart = asked
                _reported(line, partial(order.carry_out, model, job, apart=apart))
                continue
            try:
                frozen = model.frozen(order.options())
            except SegDemoError:  # which is said of the raster
                frozen = None
            line.send_bytes(b"" if frozen is None else pickle.dumps(frozen))
    except (EOFError, OSError):
        _leave()


def _windows(line: connection.Connection, order: Order, frozen: bytes) -> None:
    """Rasters, by what tiles need of a model; None of those that need all of it."""
    _alone()
    map_large_blocks()
    from seg_demo.inference import tiled  # noqa: F401  (as above)

    release()
    opened = pickle.loads(frozen)
    try:
        try:
            opened = opened.opened()
        except Exception as error:  # whatever the engine raises
            _log.warning("The graph on the disk was not taken (%s: %s); the network itself goes on.", type(error).__name__, error)
            opened = None
        while True:
            job, apart = line.recv()
            _reported(line, lambda report: None if opened is None else order.windows(opened, job, report, apart))
    except (EOFError, OSError):
        _leave()


def _written(line: connection.Connection, order: Order, loaded: Loaded) -> None:
    """Files of rasters that have been computed; without torch."""
    _alone()
    map_large_blocks()
    try:
        while True:
            job, _ = line.recv()
            _reported(line, partial(order.written, loaded, job))
    except (EOFError, OSError):
        _leave()


def _leave() -> None:
    """End this process, which nobody hears any more, without what Python and the libraries do at their end: it would read 150 MB of their files once more."""
    from seg_demo.inputs import scientific

    scientific.close()
    os._exit(0)


def _reported(line: connection.Connection, work: Callable[..., Done | None]) -> None:
    """Send how work goes on, and what came of it."""
    done = work(report=lambda _, text: line.send(str(text)))
    line.send(done and {name: value for name, value in vars(done).items() if name != "job"})

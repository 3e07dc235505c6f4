"""The pictures of one command, segmented by this process, by several of its own, or (:mod:`seg_demo.cluster`) by other machines'.

Of several processes each holds the model and works on one picture at a time with its share of the processor's cores. A picture that kills
its worker (a crash in native code, no memory left) costs that worker alone: the picture is named, and another process takes its
place. Whoever stops the command stops its workers; each of them ends by itself once nobody hears it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seg_demo.core.errors import BadRequestError, Message, SegDemoError
from seg_demo.core.storage import write_atomically

if TYPE_CHECKING:
    from seg_demo.core.types import LabelSet
    from seg_demo.inference.model import Model
    from seg_demo.inputs.archives import Job
    from seg_demo.inputs.scientific import Raster
    from seg_demo.outputs.measurements import PixelSize

T, R = TypeVar("T"), TypeVar("R")
# A worker that is ending has so many seconds for it.
END_SECONDS = 10.0
# Pictures that a worker has at a time: one that it works on, and one that it goes on with.
AHEAD = 2


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
    """

    job: Job
    problem: str | None
    notes: tuple[str, ...] = ()
    lost: Mapping[str, Counter[str]] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """What a model turned out to be.

    Attributes:
        id: of it.
        task: what it answers unless something else is asked for.
        labels: its classes.
        notes: what was understood or left out when it was loaded.
    """

    id: str
    task: str
    labels: LabelSet
    notes: tuple[str, ...]

    @classmethod
    def of(cls, model: Model) -> Loaded:
        """Of a model in memory."""
        return cls(model.spec.id, model.spec.task, model.labels, model.spec.notes)


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
            SegDemoError: it cannot be found, fetched or loaded.
        """
        # torch takes seconds to import.
        from seg_demo.serving.predictor import load_model

        return load_model(self.model, device=self.device)

    def carry_out(self, model: Model, job: Job, report: Callable[[float | None, str], object] | None = None) -> Done:
        """Segment one picture and write its files; one that cannot be is reported.

        Args:
            model: of :meth:`load`.
            job: the picture.
            report: called after each tile of full detail, and each window of a raster.
        """
        from seg_demo.inputs.images import MOST_RASTER, open_raster

        if self.asked["detail"] == "full" and not self.kept and isinstance(job.source, Path):
            try:
                if (raster := open_raster(job.source, job.view, MOST_RASTER, model.samples)) is not None:
                    return self._segment_raster(model, raster, job, report)
            except (SegDemoError, OSError) as error:
                return Done(job, str(error))
        return self.write(self.make(model, job, report))

    def make(self, model: Model, job: Job, report: Callable[[float | None, str], object] | None = None) -> Done:
        """As :meth:`carry_out`, with files that are not written yet."""
        from seg_demo.inputs.images import read
        from seg_demo.outputs.export import Subject, files_of

        try:
            picture = read(job.data(), view=job.view, channels=model.samples)
            result = model.predict(picture, report=report, **self.asked)
            subject = Subject(result, picture.pixels, job.source.name, pixel=self.pixel)
            files = {} if self.kept and not self.formats else files_of(subject, self.formats)
            lost = {name: subject.lost(name) for name in self.formats}
        except (SegDemoError, OSError) as error:
            return Done(job, str(error))
        limit = () if result.limit is None else (_limit_sentence(result.limit.objects, str(self.asked["detail"])),)
        notes = (*map(str, result.notes), *limit)
        ordered = {name: files[name] for name in sorted(files, key=lambda name: name == self.last)}
        return Done(job, None, notes, lost, result.to_dict() if self.kept else None, ordered)

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
            return Done(done.job, str(error))
        return replace(done, files={})

    def _segment_raster(self, model: Model, raster: Raster, job: Job, report: Callable[[float | None, str], object] | None) -> Done:
        """A TIFF beyond the pixel limit, window by window."""
        from seg_demo.core.requests import Options, smoothed
        from seg_demo.core.sandbox import map_large_blocks
        from seg_demo.outputs import rasters

        map_large_blocks()
        asked, folder = self.asked, self.out / job.target
        options = Options(detail="full", parameters=smoothed(asked["smoothing"]), task=asked["task"], thresholds=asked["thresholds"])

        def shown(fraction: float | None, text: str) -> None:
            if report is not None:
                report(fraction, text if fraction is None else f"{fraction:.1%}, {text}")

        try:
            with raster:
                result = rasters.segment(model, raster, folder, options, self.formats, shown, self.fresh, job.source)
        except KeyboardInterrupt:
            print(f"stopped: {job.source}: what is done of it is kept in {folder}; the same command goes on there.", file=sys.stderr)
            raise
        return Done(job, None, tuple(map(str, result.notes)))


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
            process.join(END_SECONDS)
            if process.exitcode is None:
                process.kill()
                process.join()
        self._processes.clear()
        self._loading.clear()
        self._busy.clear()

    def _start(self) -> connection.Connection:
        mine, theirs = self._context.Pipe()
        threads = max(1, (os.cpu_count() or 1) // self._count)
        process = self._context.Process(target=_work, args=(theirs, self._order, threads), daemon=True)
        try:
            process.start()
        except OSError as error:
            mine.close()
            raise BadRequestError("cli.no_worker", why=error.strerror) from error
        finally:
            theirs.close()  # or its end would never be noticed
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
        try:
            answer = line.recv()
        except (EOFError, OSError):
            raise BadRequestError("cli.no_worker", why=self._how_it_ended(line)) from None
        if isinstance(answer, SegDemoError):
            raise answer
        return answer

    def _how_it_ended(self, line: connection.Connection) -> str:
        """Of a worker that ends: the name of a signal, or its exit code; it is not among them any more."""
        process = self._processes.pop(line)
        line.close()
        process.join(END_SECONDS)
        code = process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


@contextmanager
def in_order(work: Callable[[T], R], items: Sequence[T], count: int) -> Iterator[Iterator[R]]:
    """What a function makes of each item, in their order, by several processes of which none runs far ahead of whoever takes what they make.

    Args:
        work: of a module, so that other processes find it; what it raises is raised here.
        items: what it is called with.
        count: of processes; 1 is this one.

    Raises:
        BrokenExecutor: a process has died.
    """
    if count == 1:
        yield map(work, items)
        return
    context = multiprocessing.get_context("spawn")
    # Ctrl-C is the command's affair, here too.
    with ProcessPoolExecutor(min(count, len(items)), context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:

        def results() -> Iterator[R]:
            under_way: deque[Future[R]] = deque()
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) > 2 * AHEAD * count:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()

        try:
            yield results()
        finally:
            pool.shutdown(cancel_futures=True)


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

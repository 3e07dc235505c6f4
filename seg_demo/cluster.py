"""The pictures of one command, segmented on a Ray cluster: this machine's cores, or those of all its nodes.

Ray Data hands pictures out to actors, one per core or GPU, each of which holds the model; what they made comes back to the command,
which alone writes, so that nodes need to read the sources only. A block of pictures that is lost with its actor or its node is done once
more, picture by picture; a picture that is lost again is named and left out.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from seg_demo import __version__
from seg_demo.core import BadRequestError, Message, SegDemoError
from seg_demo.workers import Done, Loaded, Order

if TYPE_CHECKING:
    from seg_demo.inputs.archives import Job

# Who does not answer within so many seconds is not there.
ANSWER_SECONDS = 5.0
MOST_ACTORS = 10_000
# A cluster whose nodes cannot load the model by then never will.
LOAD_SECONDS = 900.0
# Pictures of a block, which are lost together; of a run, after which actors load the model anew: bounds of what Ray keeps of blocks that are done.
BLOCK, RUN = 8, 20_000


class Cluster:
    """A Ray cluster that carries out an order. To be closed.

    Args:
        order: what to do with each picture.
        address: ``HOST:PORT`` of its head, from one of its nodes; empty takes the cluster of ``RAY_ADDRESS`` or of this machine, or starts one on its cores.
        most: actors at a time; None takes one for each core, or GPU where there are any.

    Attributes:
        loaded: the model, which one of the nodes has loaded by now.

    Raises:
        BadRequestError: Ray is not installed, nobody answers at the address, or nodes have another version of this package.
        SegDemoError: the model cannot be found, fetched or loaded.
    """

    def __init__(self, order: Order, address: str, most: int | None = None) -> None:
        # Neither who uses it nor how is reported to anybody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise BadRequestError("cluster.no_ray", why=error) from error
        self._ray, self._order = ray, order
        _check_answers(address)
        logging.getLogger("ray").setLevel(logging.ERROR)
        started = {} if address or os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
        try:
            ray.init(address=address or None, logging_level=logging.ERROR, log_to_driver=False, **started)
        except Exception as error:
            raise BadRequestError("cluster.no_answer", address=address or "RAY_ADDRESS", why=str(error).strip().splitlines()[0][:200]) from error
        try:
            have = ray.cluster_resources()
            gpus = int(have.get("GPU", 0)) if order.device is None or order.device.startswith(("auto", "cuda")) else 0
            self._count = min(gpus or max(1, int(have.get("CPU", 1))), most or MOST_ACTORS)
            self._needs = {"num_cpus": 1, "num_gpus": 1} if gpus else {"num_cpus": 1}
            # One alone at first: what has to be downloaded is downloaded once, and what is refused is refused once.
            answer = self._first()
            if isinstance(answer, SegDemoError):
                raise answer
            self.loaded: Loaded = answer
        except BaseException:
            ray.shutdown()
            raise

    def __enter__(self) -> Cluster:
        """It."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it; one that was started here ends."""
        self._ray.shutdown()

    def run(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Carry the order out for pictures, in any order.

        Args:
            jobs: the pictures.

        Returns:
            What came of each, once, as soon as it is known; its files are written.
        """
        for begin in range(0, len(jobs), RUN):
            part = list(jobs[begin : begin + RUN])
            left = dict(enumerate(part))
            # What shared a block, an actor or a node with one that was lost is done alone; if the whole run was lost with a node, once more.
            for attempt, size in enumerate((max(1, min(BLOCK, len(part) // (4 * self._count))), 1, 1)):
                whole = True
                try:
                    for number, done in self._blocks(left, size):
                        del left[number]
                        yield self._order.write(done)
                except self._ray.exceptions.RayError:
                    whole = False
                if not left or (whole and attempt):
                    break
            for job in left.values():
                yield Done(job, str(Message("cluster.picture_lost")))

    def _first(self) -> Loaded | SegDemoError:
        """What the first node answers that loads the model."""
        task = self._ray.remote(_probe).options(**self._needs, max_retries=1).remote(pickle.dumps(self._order), __version__)
        try:
            return self._ray.get(task, timeout=LOAD_SECONDS)
        except Exception as error:
            raise BadRequestError("cluster.node_failed", why=str(error).strip().splitlines()[-1][:200]) from error

    def _blocks(self, jobs: Mapping[int, Job], size: int) -> Iterator[tuple[int, Done]]:
        """What came of pictures by their number; those are missing whose block was lost."""
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # those that are lost are done again
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        rows = [{"number": number, "job": pickle.dumps(job)} for number, job in jobs.items()]
        pool = data.ActorPoolStrategy(min_size=1, max_size=self._count, initial_size=min(self._count, len(rows)), max_tasks_in_flight_per_actor=1)
        arguments = (pickle.dumps(self._order), __version__)
        with warnings.catch_warnings():  # Ray 2.64 will take no arguments of actors there, hence the bound in requirements-ray.txt
            warnings.simplefilter("ignore")
            # By default Ray Data would try a block that kills its actor for ever.
            made = data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map(
                Worker, fn_constructor_args=arguments, compute=pool, max_restarts=-1, max_task_retries=0, **self._needs
            )
        for row in made.iter_rows():
            yield row["number"], pickle.loads(row["done"])


class Worker:
    """An actor: the model, and what it makes of a picture.

    Args:
        order: pickled.
        version: of the package that asks.

    Raises:
        SegDemoError: it cannot be done here.
    """

    def __init__(self, order: bytes, version: str) -> None:
        self._order = _understood(order, version)
        self._model = self._order.load()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row with the number of a picture and a job → with its number and what came of it."""
        return {"number": row["number"], "done": pickle.dumps(self._order.make(self._model, pickle.loads(row["job"])))}


def _probe(order: bytes, version: str) -> Loaded | SegDemoError:
    """The model of an order, or why there is none."""
    try:
        return Loaded.of(_understood(order, version).load())
    except SegDemoError as error:
        return error


def _understood(order: bytes, version: str) -> Order:
    """An order of the same version of this package.

    Raises:
        BadRequestError: another version asks.
    """
    if version != __version__:
        raise BadRequestError("cluster.other_version", node=socket.gethostname(), there=__version__, here=version)
    return pickle.loads(order)


def _check_answers(address: str) -> None:
    """BadRequestError if nobody answers at an address; Ray itself would try for minutes."""
    if not address or address in ("auto", "local"):
        return
    place = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        if not place.hostname or place.port is None:
            raise ValueError("HOST:PORT or ray://HOST:PORT is expected")
        with socket.create_connection((place.hostname, place.port), ANSWER_SECONDS) as line:
            # gRPC is spoken there, whose servers answer this greeting; Ray waits for minutes for one that is silent.
            line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            if not line.recv(1):
                raise ConnectionError("it hung up")
    except (OSError, ValueError) as error:
        raise BadRequestError("cluster.no_answer", address=address, why=error) from error

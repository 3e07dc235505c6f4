"""Where we reach into gradio, and nowhere else: written against gradio 6.31.0; tests/gateway/test_queue.py fails when a seam moves.

* ``Queue.push(body, request, username)`` returns (accepted, text or the event's id, state); ``queue_full`` becomes HTTP 503.
* ``Queue.get_events`` chooses what leaves the queue, without an await.
* ``Queue.event_queue_per_concurrency_id[id].queue`` is a list: appended to by ``push``, worked off from its front.
* ``current_concurrency`` beside it counts the events of the line that have begun.
* ``Queue.event_ids_to_events`` loses an event when it has ended or was cancelled; ``Event.alive`` is False once its
  visitor's stream was closed.
* ``Queue.pending_messages_per_session`` and ``pending_event_ids_session`` keep what nobody has fetched.
* ``SessionState`` copies ``Blocks.default_config`` and keeps what the copy's ``config_for_block`` says of each component,
  for deep links and components that handlers render (there are none here).
* ``Blocks.process_api`` runs a handler with everything before and after it, in a context that the handler's thread gets.
* ``Blocks.upload_file_set`` has the paths of all uploads; ``Block.keep_in_cache`` those of the page's own files.
* ``delete_files_created_by_app`` goes in a thread through ``Blocks.temp_file_sets``, among them each ``Block.temp_files``.
* ``GradioMultiPartParser.parse`` keeps its files in ``_files_to_close_on_error``.
* The page, its configuration and its endpoints depend on four lines of the request's head (``route_utils.get_request_origin``), on who has logged in, and on
  ``Blocks.config``; endpoints asked for without a page have the first asker's address for good.
* ``LocalContext`` knows the event and the request of the thread that runs a handler.

Where the page meets the models: one predictor per process, the network's work, and every failure in words.

torch and everything above it is imported inside the functions: the page opens before it.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import gradio as gr
from gradio import route_utils
from gradio.blocks import BlocksConfig
from gradio.context import LocalContext
from gradio.queueing import Event, Queue

from seg_demo.core import BadRequestError, Limiter, Message, ModelSpec, Request, SegDemoError, in_language, requests, storage
from seg_demo.core.settings import gpu_expected, settings, slots
from seg_demo.gateway import metrics
from seg_demo.gateway.visitor import DISK_FULL, Refused, language_of, refused, uploaded, viewer_of, whose
from seg_demo.hub import untrusted
from seg_demo.inference import zerogpu
from seg_demo.inputs.images import give_back, is_large

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from seg_demo.serving.predictor import Predictor

# A threading.Event in the scope of a request past the queue: the guard sets it when its visitor has gone.
GONE = "seg_demo.gone"
# What a visitor has not fetched for so long is thrown away; looked at with a request, at most once a minute.
UNREAD_SECONDS, SWEEP_SECONDS = 900.0, 60.0
# The line of everything that runs a network. Beside the requests that are worked on, so many may leave it: one that waits for
# its model to be fetched holds up nobody whose model is there.
WORK, FETCHING = "work", 3
# The line of prompts, which take little time once their picture has been looked at.
CLICKS = "clicks"

# Beside the large requests that are worked on, so many may have left the line: the next one, whose model is fetched meanwhile.
NEXT = 1
# Files that are looked into at a time; some kinds are read whole.
LOOKS = 2
NOT_UNDERSTOOD = (
    "The request could not be understood: a parameter is missing, is of another kind, or names a file that was not uploaded "
    "here. The endpoints are described at the foot of the page, under API."
)

log = logging.getLogger("seg_demo.ui")


class _SessionConfig(BlocksConfig):
    """A session's components without their configurations, which gradio keeps for deep links alone: some megabytes for each
    session, and every value that was ever answered."""

    def config_for_block(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """Nothing, which gradio leaves out."""
        return {}


class _Config(BlocksConfig):
    """The page's components; sessions copy them."""

    def __copy__(self) -> BlocksConfig:
        copied = super().__copy__()
        copied.__class__ = _SessionConfig
        return copied


class Page(gr.Blocks):
    """gradio's Blocks, whose failures before and after a handler (its own parsing, file checks) are sentences too, whose sessions
    are small, and whose handlers see what is their visitor's and no other's."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.default_config.__class__ = _Config

    async def process_api(self, block_fn: Any, inputs: list[Any], *arguments: Any, **named: Any) -> dict[str, Any]:
        """As gradio's; arguments that plain HTTP left out at the end take their defaults, as gradio_client does it.

        Raises:
            gr.Error: whatever went wrong, as a sentence.
        """
        wanted = getattr(block_fn, "inputs", ())
        inputs = [*inputs, *(getattr(component, "value", None) for component in wanted[len(inputs) :])]
        kept = {component.storage_key: value for component, value in zip(wanted, inputs, strict=False) if isinstance(component, gr.BrowserState)}
        request = named.get("request")
        request = request[0] if isinstance(request, list) else request
        before = requests.viewer.set(viewer_of(kept, request, named.get("session_hash")))
        # gradio tells handlers alone: components write sentences too, in the browser's language.
        asked = LocalContext.request.set(request)
        try:
            return await super().process_api(block_fn, inputs, *arguments, **named)
        except gr.Error as error:
            # gradio's own repeat what was sent, and the page shows their text as HTML.
            raise error if isinstance(error, Refused) else refused(str(error.message)[:500]) from None
        except Exception as error:
            if storage.disk_full(error):
                raise refused(DISK_FULL) from None
            # What a stranger can bring about at will is worth a line, not a traceback.
            log.warning("a request was not understood: %s", type(error).__name__)
            log.debug("the request", exc_info=True)
            metrics.count("malformed", type(error).__name__)
            raise refused(NOT_UNDERSTOOD) from None
        finally:
            LocalContext.request.reset(asked)
            requests.viewer.reset(before)

    @classmethod
    def get_block_name(cls) -> str:
        """What the front end knows this as."""
        return "blocks"


class _Files(set[str]):
    """Paths that one thread goes through while others add to them."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())


def keep_deleting(blocks: gr.Blocks) -> None:
    """Let old files go for as long as the server runs: gradio's task that deletes them ends for good once a file is added to a
    set that it is going through.

    Args:
        blocks: whose components are all there.
    """
    kept = {id(paths): _Files(paths) for paths in blocks.temp_file_sets}
    blocks.temp_file_sets = list(kept.values())
    blocks.upload_file_set = kept[id(blocks.upload_file_set)]
    for block in blocks.blocks.values():
        if id(block.temp_files) in kept:
            block.temp_files = kept[id(block.temp_files)]


def departure() -> tuple[Callable[[], bool], Callable[[], bool]]:
    """For the handler that this thread runs: whether its visitor has gone, and whether others wait for it to end."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    raw = LocalContext.request.get(None)
    scope = getattr(getattr(raw, "request", raw), "scope", {})
    if blocks is None:
        return (lambda: False), (lambda: False)
    queue = blocks._queue
    event, gone = queue.event_ids_to_events.get(event_id) if event_id else None, scope.get(GONE)

    def left() -> bool:
        if event is None:
            return gone is not None and gone.is_set()
        return not event.alive or event_id not in queue.event_ids_to_events

    return left, lambda: len(queue) > 0


def only_uploaded(path: str) -> bool:
    """Whether a file was sent by a browser to the page whose handler this thread runs, and is none that the page shows itself
    (an example that somebody uploaded again has the same path).

    Args:
        path: absolute.
    """
    blocks = LocalContext.blocks.get(None)
    if blocks is None or path not in blocks.upload_file_set:
        return False
    return not any(path in getattr(block, "keep_in_cache", ()) for block in blocks.blocks.values())


def as_uploads(files: Iterable[Path]) -> None:
    """Let files go when uploads do: gradio deletes those alone that it knows.

    Args:
        files: that the handler which this thread runs has written among the uploads.
    """
    if (blocks := LocalContext.blocks.get(None)) is not None:
        blocks.upload_file_set.update(map(str, files))


def drop_partial(error: BaseException) -> None:
    """Delete what an upload that ended in an error has written so far; gradio does so after errors of its own alone.

    Args:
        error: as it left gradio; the parser of the body is in its traceback.
    """
    trace = error.__traceback__
    while trace is not None:
        parser = trace.tb_frame.f_locals.get("self")
        if isinstance(parser, route_utils.GradioMultiPartParser):
            for file in parser._files_to_close_on_error:
                with suppress(OSError):  # closing writes what is left, for which there may be no room
                    file.close()
                Path(file.name).unlink(missing_ok=True)
        trace = trace.tb_next


# What gradio makes for everyone anew: the page, its configuration, and the description of its endpoints.
_INFO = tuple(f"{route_utils.API_PREFIX}/info{end}" for end in ("", "/"))
_MADE = ("/", "/config", "/config/", *_INFO)
# What of a request's head gradio makes addresses in them of (``route_utils.get_request_origin``).
_ADDRESSED = (b"host", b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server")
# Addresses of the page that are kept: a server has one or two, whatever strangers write into the heads of their requests.
PAGES = 6


class Pages:
    """Answers with the page, its configuration and its endpoints as gradio has made them once for an address. gradio makes the same two megabytes anew for
    everyone: 50 ms, in which the event loop gets its turn late.

    Of the endpoints gradio itself would keep the address that the first one asked for, and tell it to everybody; asked for those of the page, it does not.

    Args:
        app: gradio's.
        blocks: the page, which must know no names: with them gradio shows everybody their own.
    """

    def __init__(self, app: ASGIApp, blocks: gr.Blocks) -> None:
        self._app, self._blocks = app, blocks
        self._kept: OrderedDict[Hashable, list[Any]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, for the page or anything else."""
        own = scope.get("app")
        known = getattr(own, "auth", None) is not None or getattr(own, "auth_dependency", None) is not None
        if known or scope["method"] != "GET" or scope.get("query_string") or scope["path"] not in _MADE:
            await self._app(scope, receive, send)
            return
        # Beside the head, the plain values of the configuration: gradio sets some of them once it serves.
        facts = tuple((name, value) for name, value in self._blocks.config.items() if isinstance(value, str | int | float | None))
        head = tuple(pair for pair in scope["headers"] if pair[0] in _ADDRESSED)
        key = scope["path"], scope.get("root_path"), scope.get("scheme"), scope.get("server"), id(self._blocks.config), facts, head
        if (answer := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        else:
            answer, scope = [], {**scope, "query_string": b"page="} if scope["path"] in _INFO else scope

            async def keep(message: Any) -> None:
                answer.append(message)

            await self._app(scope, receive, keep)
            if answer[0].get("status") == 200 and all(name != b"set-cookie" for name, _ in answer[0]["headers"]):
                self._kept[key] = answer
                while len(self._kept) > PAGES:
                    self._kept.popitem(last=False)
        for message in answer:
            await send({**message})


def queue_of(blocks: gr.Blocks) -> Queue:
    """A page's queue; its length is the number of requests in it that have not begun."""
    return blocks._queue


class FairList(list):
    """Waiting events, in turns: everyone's first, then everyone's second, and so on."""

    def append(self, event: Event) -> None:
        """Put an event where its visitor's turn is."""
        mine = whose(event.request, event.session_hash)
        rank = sum(whose(other.request, other.session_hash) == mine for other in self)
        seen: Counter[str] = Counter()
        for index, other in enumerate(self):
            owner = whose(other.request, other.session_hash)
            if seen[owner] > rank:
                self.insert(index, event)
                return
            seen[owner] += 1
        super().append(event)


def manage(blocks: gr.Blocks, large: int) -> None:
    """Let visitors take turns in a page's queue, let few large requests leave it at a time, and say in words why one is not let in.

    Of large requests half as many are worked on as of all (:mod:`seg_demo.core.requests`). Those that wait for that would fill
    what may leave the queue, and behind them everybody would wait: they are held back here, where the small ones pass them.

    Args:
        blocks: whose queue has been set.
        large: large requests that are worked on at a time.
    """
    queue = queue_of(blocks)
    push, choose, swept, looks = queue.push, queue.get_events, _Sweep(queue), anyio.CapacityLimiter(LOOKS)
    held: set[str] = set()  # ids of the large ones

    async def let_in(body: Any, request: Any, username: str | None) -> tuple[bool, Any, Any]:
        swept()
        who = whose(request, body.session_hash)
        # What is about to be refused is not looked into; and while it is, others come.
        much = refusal(queue, who) is None and await anyio.to_thread.run_sync(asks_much, body.data, limiter=looks)
        if reason := refusal(queue, who):
            metrics.count("queue", "full")
            return False, in_language(reason, language_of(request)), "queue_full"
        fn = route_utils.get_fn(blocks, None, body)
        queue.create_event_queue_for_fn(fn)
        line = queue.event_queue_per_concurrency_id[fn.concurrency_id]
        if not isinstance(line.queue, FairList):
            line.queue = FairList(line.queue)
        accepted, answer, state = await push(body=body, request=request, username=username)
        event = queue.event_ids_to_events.get(answer) if accepted and much else None
        if event is not None and event.concurrency_id == WORK:
            held.intersection_update(queue.event_ids_to_events)
            held.add(answer)
        return accepted, answer, state

    def small_first() -> tuple[list[Event], bool, str] | None:
        line = queue.event_queue_per_concurrency_id.get(WORK)
        if line is None or not held:
            return choose()
        waiting, everyone = [event for event in line.queue if event._id in held], line.queue
        if len(held & queue.event_ids_to_events.keys()) - len(waiting) < large + NEXT:
            return choose()
        line.queue = [event for event in everyone if event._id not in held]
        try:
            found = choose()
        finally:
            line.queue = everyone
        if found is not None and found[2] == WORK:
            for event in found[0]:
                everyone.remove(event)
        return found

    queue.push, queue.get_events = let_in, small_first


def asks_much(data: list[Any]) -> bool:
    """Whether what was sent for a handler is a large picture, or asks for full detail.

    Args:
        data: JSON values, as the browser or a client sent them.
    """
    if "full" in data:
        return True
    named = (value.get("path") for value in data if isinstance(value, dict))
    return any(is_large(path) for path in map(_uploaded, named) if path is not None)


def _uploaded(path: object) -> Path | None:
    try:
        return uploaded(path)
    except (BadRequestError, OSError, ValueError):  # no upload, or a name that no file can have
        return None


def crowded(queue: Queue) -> str | None:
    """Why nobody's request can wait now, or None if one more can.

    Args:
        queue: gradio's.
    """
    # Those that gradio has begun beyond the slots there are wait as well, only further in.
    lines = list(queue.event_queue_per_concurrency_id.values())
    begun = (max(0, line.current_concurrency - line.concurrency_limit + FETCHING) for line in lines if line.concurrency_id == WORK)
    total = sum(len(line.queue) for line in lines) + sum(begun)
    if total < settings().queue_size:
        return None
    return Message("requests.queue_full", count=total)


def refusal(queue: Queue, who: str) -> str | None:
    """Why one more request of somebody cannot wait, or None if it can.

    Args:
        queue: gradio's.
        who: of :func:`whose`.
    """
    if (reason := crowded(queue)) is not None:
        return reason
    size, own = settings().queue_size, settings().visitor_queue
    waiting = (event for line in queue.event_queue_per_concurrency_id.values() for event in line.queue)
    owners = Counter(whose(event.request, event.session_hash) for event in waiting)
    # Alone, one may fill three quarters of the queue; the rest stays for whoever comes next.
    most = min(own, size) if owners.total() > owners[who] else max(min(own, size), size * 3 // 4, 1)
    if owners[who] >= most:
        return Message("requests.your_queue_full", count=owners[who])
    return None


class _Sweep:
    """Throws away answers that nobody fetches, and the sessions that they belong to."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self._last = queue, time.monotonic()
        self._idle: dict[str, float] = {}

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last < SWEEP_SECONDS:
            return
        self._last = now
        busy = {event.session_hash for event in self._queue.event_ids_to_events.values()}
        there = {*self._queue.pending_messages_per_session, *self._queue.pending_event_ids_session} - busy
        self._idle = {session: self._idle.get(session, now) for session in there}
        for session in [name for name, since in self._idle.items() if now - since > UNREAD_SECONDS]:
            for kept in (self._queue.pending_messages_per_session, self._queue.pending_event_ids_session, self._idle):
                kept.pop(session, None)


# Results that are filtered or written into files at a time; each may take the memory of a large picture.
RENDERING = 2
_rendering = Limiter(RENDERING)
# Batches that are worked on at a time: each holds a picture and its result while it waits for a slot.
BATCHES = 2
_batches = Limiter(BATCHES)
# Set once the models that the page opens with have been loaded, or could not be; and once somebody has opened it.
_loaded_ahead, _visited = threading.Event(), threading.Event()


# Event arguments of what the page does by itself: no endpoint of the API, and no progress is drawn; and of what answers so fast that
# it need not queue.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
UNQUEUED: dict[str, Any] = {**QUIET, "queue": False}


def work_limits() -> dict[str, Any]:
    """Event arguments of everything that runs a network: one queue."""
    return {"concurrency_limit": working() + FETCHING, "concurrency_id": WORK}


def click_limits() -> dict[str, Any]:
    """Event arguments of what answers clicks: a queue of its own, in which nobody waits behind a large picture."""
    return {"concurrency_limit": working() + FETCHING, "concurrency_id": CLICKS}


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


@contextmanager
def underway(name: str) -> Iterator[None]:
    """Within it this thread works on a request of the visitor whose handler it runs: bounded in time, counted, told to the log.

    Args:
        name: of the endpoint, in the log.
    """
    left, crowded = departure()
    with metrics.observed(Request(name, settings().request_seconds, left, crowded)):
        yield


def sentence_of(error: Exception, name: str) -> Message:
    """What a visitor reads of an error; what is our own fault goes into the log, so it is to be called where that was caught.

    Args:
        error: of a handler.
        name: of the endpoint.
    """
    if isinstance(error, SegDemoError):
        return error.message
    if storage.disk_full(error):
        log.error("%s: the disk is full", name)
        return DISK_FULL
    log.exception("%s failed", name)
    return Message("requests.our_fault")


def in_words(handler: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
    """A handler whose every failure reaches the visitor as one sentence, and each call a line of the log.

    Args:
        handler: runs in a thread.
        name: in the log; None takes the handler's.
    """

    @wraps(handler)
    def answer(*arguments: Any, **named: Any) -> Any:
        try:
            with underway(name or handler.__name__):
                return handler(*arguments, **named)
        except gr.Error:
            raise
        except Exception as error:
            told = refused(sentence_of(error, handler.__name__))
            raise told from (error if isinstance(error, SegDemoError) else None)

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
    While models are still being loaded for it, that goes first. A server that nobody visits does without its memory."""
    _visited.set()
    if settings().quarantine and not zerogpu.ACTIVE and _loaded_ahead.is_set():
        untrusted.warm()


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
        if _visited.is_set():
            expect_typed_ids()
        # What reading weights and importing their libraries took is garbage by now. The libraries stay, hundreds of thousands of objects: to look
        # through them for garbage now and then would hold every thread, the event loop's too, for a third of a second. A model's last reference frees it.
        gc.collect()
        gc.freeze()
        give_back()

    thread = threading.Thread(target=load, name="load-models", daemon=True)
    thread.start()
    return thread

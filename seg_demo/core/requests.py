"""A request: who asks, what for, whether somebody still waits for it, how long it may take, what to log of it; who works now, who waits,
who is refused: the bounds that no way into the demo gets round.

The page opens a request around each handler; whatever works for it further down asks :func:`check` between its stages, and
waits, for whatever it has to wait, with :func:`wait`. Code that runs outside any request (Python, the command line, training)
is never stopped.

What a visitor made is theirs: datasets, fine-tuning jobs with their pictures, and the models that come of them. A visitor holds
a random key, which lies in their browser; what they make carries the key's hash, and they alone see it, on the page and through the
API. The server's owner may share a model that they made with everybody. The programs of this machine (the command line, Python, the training command) see everything.
"""

from __future__ import annotations

import contextvars
import hashlib
import json
import math
import numbers
import os
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from seg_demo.core.errors import BadRequestError, BusyError, Message, SegDemoError
from seg_demo.core.picture import View
from seg_demo.core.rle import decode
from seg_demo.core.types import TASKS

# A request whose model is being fetched keeps others waiting for no longer than this.
FETCHING_SECONDS = 15.0
# How often one who waits looks whether somebody still waits for them.
LOOK_SECONDS = 0.2
DETAILS = ("whole", "full")
# How often a network of classes may look, and the axes of (..., H, W) that are mirrored for each look after the first: once; also left and
# right; also upside down, both ways.
LOOKS: dict[int, tuple[tuple[int, ...], ...]] = {1: (), 2: ((-1,),), 4: ((-1,), (-2,), (-2, -1))}
# What decides which segments of a panoptic result there are: the score of a query, the probability from which a pixel is in its
# mask, and the share of its mask that it must win.
THRESHOLDS = ("score", "mask", "overlap")
# The task that a model was made for.
AUTO = "auto"

# Told how far something has come: a fraction in [0, 1], or None where nobody knows, and a few words.
Report = Callable[[float | None, str], None]

_current: contextvars.ContextVar[Request | None] = contextvars.ContextVar("seg_demo_request", default=None)


@dataclass(frozen=True)
class Options:
    """What is asked for beside the image and the model: checked where it is made, and nowhere after.

    Attributes:
        threshold: score in [0, 1] that objects of instance models must reach; other models have none.
        detail: ``whole`` shrinks a large image to what the network takes at once; ``full`` goes over its own pixels tile by tile.
        confidence: whether it is also computed how sure the network is of every pixel.
        task: of :data:`seg_demo.core.types.TASKS`, or ``auto`` for ``preferred`` where the model has that, else what it was made for.
        preferred: a task that is taken where the model has it, or ``auto``.
        parameters: of a region method, by name, as ``regions.METHODS`` lists them; the method itself checks them. Networks have none.
        thresholds: of :data:`THRESHOLDS`, each in [0, 1], for panoptic results; what is left out is the network's default.
        view: what of a scientific file is looked at, as :meth:`seg_demo.core.picture.View.parse` takes it; None leaves that to the file.
        looks: of :data:`LOOKS`: how often a network of classes looks at the picture, mirrored in different ways; its answers are averaged.

    Raises:
        BadRequestError: a threshold that is no number from 0 to 1 or has another name, another detail, no task, no view, or no number of looks.
    """

    threshold: float = 0.5
    detail: str = "whole"
    confidence: bool = False
    parameters: Mapping[str, float] = field(default_factory=dict)
    task: str = AUTO
    preferred: str = AUTO
    thresholds: Mapping[str, float] = field(default_factory=dict)
    view: View | None = None
    looks: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", check_looks(self.looks))
        object.__setattr__(self, "view", View.parse(self.view))
        object.__setattr__(self, "threshold", check_threshold(self.threshold))
        check_detail(self.detail)
        check_task(self.task)
        check_task(self.preferred)
        object.__setattr__(self, "thresholds", check_thresholds(self.thresholds))


def smoothed(pixels: float | None) -> dict[str, float]:
    """The parameters that a smoothing stands for; None is the method's default."""
    return {} if pixels is None else {"smoothing": pixels}


def check_threshold(value: object) -> float:
    """A score threshold, or the sentence why it is none.

    Raises:
        BadRequestError: anything but a finite number from 0 to 1.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise BadRequestError("requests.bad_threshold", value=str(value)[:40])


def check_thresholds(value: object) -> dict[str, float]:
    """The thresholds of segments that do not overlap, or the sentence why they are none.

    Args:
        value: a mapping, or its JSON text as the API and the command line take it; empty for the network's defaults.

    Raises:
        BadRequestError: other names than :data:`THRESHOLDS`, or anything but finite numbers from 0 to 1.
    """
    if isinstance(value, str) and value.strip():
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if value is None or value == "":
        return {}
    if not isinstance(value, Mapping) or not set(value) <= set(THRESHOLDS):
        raise BadRequestError("requests.bad_thresholds", value=str(value)[:80], names=", ".join(THRESHOLDS))
    return {name: check_threshold(number) for name, number in value.items()}


def check_detail(value: object) -> str:
    """How closely to look, or the sentence why it is nothing of the kind.

    Raises:
        BadRequestError: anything but ``whole`` or ``full``.
    """
    if isinstance(value, str) and value in DETAILS:
        return value
    raise BadRequestError("requests.bad_detail", value=str(value)[:40])


def check_looks(value: object) -> int:
    """How often to look, or the sentence why it is nothing of the kind.

    Raises:
        BadRequestError: anything but a number of :data:`LOOKS`.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and value in LOOKS:
        return int(value)
    raise BadRequestError("requests.bad_looks", value=str(value)[:40])


def check_task(value: object) -> str:
    """What to answer, or the sentence why it is nothing of the kind.

    Raises:
        BadRequestError: anything but ``auto`` or the name of a task.
    """
    if isinstance(value, str) and (value == AUTO or value in TASKS):
        return value
    words = isinstance(value, str) and len(value.split()) > 1
    raise BadRequestError("requests.words_for_task" if words else "requests.bad_task", value=str(value)[:40], tasks=", ".join((AUTO, *TASKS)))


# What one request may ask for at most.
MOST_POINTS, MOST_OBJECTS, MOST_WORDS, MOST_LETTERS = 1000, 100, 20, 200
# Letters of a prompt's JSON: a hundred masks of ragged edges.
MOST_PROMPT = 4_000_000


@dataclass(frozen=True, eq=False)
class Prompt:
    """What one object is shown by: clicks, a box, an earlier mask of it, or words. Coordinates are pixels of the upload.

    A box with words, or a box for a model that is not clicked, is an example: everything is meant that is like what is in it.

    Attributes:
        points: (x, y) of each click, (0, 0) being the upper left pixel.
        labels: of each click, 1 inside the object and 0 outside.
        box: (x0, y0, x1, y1) around it, or None.
        mask: an earlier mask of it as COCO RLE (``size`` and ``counts``, compressed or not), or None.
        text: words for it; empty for none. Several things may be found by them.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: Mapping[str, Any] | None = None
    text: str = ""

    def __post_init__(self) -> None:
        points = self.points if isinstance(self.points, (Sequence, np.ndarray)) and not isinstance(self.points, str) else None
        if points is None:
            raise BadRequestError("prompts.no_list", what="points", value=_shown(self.points))
        if len(points) > MOST_POINTS:
            raise BadRequestError("prompts.too_many_points", count=len(points), most=MOST_POINTS)
        object.__setattr__(self, "points", tuple(_numbers(point, 2, "prompts.bad_point") for point in points))
        labels = self.labels if isinstance(self.labels, (Sequence, np.ndarray)) and not isinstance(self.labels, str) else None
        if labels is None or len(labels) != len(points):
            raise BadRequestError("prompts.other_labels", points=len(points), labels=0 if labels is None else len(labels))
        for label in labels:
            if isinstance(label, bool) or not isinstance(label, numbers.Real) or label not in (0, 1):
                raise BadRequestError("prompts.bad_label", value=_shown(label))
        object.__setattr__(self, "labels", tuple(int(label) for label in labels))
        if self.box is not None:
            object.__setattr__(self, "box", _numbers(self.box, 4, "prompts.bad_box"))
            if not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
                raise BadRequestError("prompts.empty_box", box=_shown(list(self.box)))
        if self.mask is not None and not isinstance(self.mask, Mapping):
            raise BadRequestError("prompts.bad_mask", why=_shown(self.mask))
        if not isinstance(self.text, str) or len(self.text) > MOST_LETTERS:
            raise BadRequestError("prompts.bad_words", most=MOST_LETTERS, value=_shown(self.text))
        if not (self.text.strip() or self.box is not None or self.mask is not None or 1 in self.labels):
            raise BadRequestError("prompts.nothing_inside")

    def check(self, height: int, width: int) -> None:
        """Refuse what does not lie in the upload.

        Args:
            height: of the upload, in pixels.
            width: of the upload, in pixels.

        Raises:
            BadRequestError: a point or a box outside, or a mask of another size.
        """
        for x, y in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise BadRequestError("prompts.point_outside", x=x, y=y, width=width, height=height)
        if self.box is not None and not (0 <= self.box[0] and 0 <= self.box[1] and self.box[2] <= width and self.box[3] <= height):
            raise BadRequestError("prompts.box_outside", box=_shown(list(self.box)), width=width, height=height)
        if self.mask is not None:
            size = self.mask.get("size")
            if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
                raise BadRequestError("prompts.other_size", size=_shown(size), height=height, width=width)

    def earlier(self) -> np.ndarray | None:
        """The earlier mask, bool (H, W); None without one.

        Raises:
            BadRequestError: runs that are no mask of the upload's size.
        """
        if self.mask is None:
            return None
        try:
            counts = self.mask["counts"]
            pixels = int(self.mask["size"][0]) * int(self.mask["size"][1])
            if not isinstance(counts, (str, bytes)) and max(counts, default=0) > pixels:
                raise ValueError(f"a run of {max(counts)} pixels")
            return np.ascontiguousarray(decode(dict(self.mask)))
        except (KeyError, TypeError, ValueError, OverflowError, MemoryError, UnicodeError) as error:
            raise BadRequestError("prompts.bad_mask", why=str(error)[:120]) from error


def read_prompt(text: object) -> tuple[Prompt, ...]:
    """The prompts of a request: ``{"objects": [{"points": [[x, y], ...], "labels": [1, 0, ...], "box": [x0, y0, x1, y1], "mask":
    {COCO RLE}}, {"box": [...], "text": "cat"}, ...], "text": ["cat", ...]}``, every key optional; those of words alone after the others.

    Args:
        text: that as JSON text, or as what JSON makes of it.

    Returns:
        Empty where nothing is shown, which asks for everything that is in the picture.

    Raises:
        BadRequestError: anything else, or more than one request may ask for.
    """
    if isinstance(text, str):
        if len(text) > MOST_PROMPT:
            raise BadRequestError("prompts.too_long", most=MOST_PROMPT)
        try:
            text = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError) as error:
            raise BadRequestError("prompts.no_json", why=str(error)[:120]) from error
    if not isinstance(text, Mapping) or not set(text) <= {"objects", "text"}:
        raise BadRequestError("prompts.no_prompt", value=_shown(sorted(map(str, text)) if isinstance(text, Mapping) else text))
    objects, words = (text.get(key) if text.get(key) is not None else [] for key in ("objects", "text"))
    words = [words] if isinstance(words, str) else words
    for what, listed, most in (("objects", objects, MOST_OBJECTS), ("text", words, MOST_WORDS)):
        if not isinstance(listed, (list, tuple)):
            raise BadRequestError("prompts.no_list", what=what, value=_shown(listed))
        if len(listed) > most:
            raise BadRequestError("prompts.too_many", what=what, count=len(listed), most=most)
    found = [_prompt(shown) for shown in objects]
    total = sum(len(prompt.points) for prompt in found)
    if total > MOST_POINTS:
        raise BadRequestError("prompts.too_many_points", count=total, most=MOST_POINTS)
    if (total := len(words) + sum(bool(prompt.text) for prompt in found)) > MOST_WORDS:
        raise BadRequestError("prompts.too_many", what="text", count=total, most=MOST_WORDS)
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise BadRequestError("prompts.bad_words", most=MOST_LETTERS, value=_shown(word))
    return (*found, *(Prompt(text=word.strip()) for word in words))


def _prompt(shown: object) -> Prompt:
    """One of the objects of a request."""
    if not isinstance(shown, Mapping) or not set(shown) <= {"points", "labels", "box", "mask", "text"}:
        raise BadRequestError("prompts.no_object", value=_shown(sorted(map(str, shown)) if isinstance(shown, Mapping) else shown))
    points = shown.get("points") if shown.get("points") is not None else []
    labels = shown.get("labels") if shown.get("labels") is not None else [1] * (len(points) if isinstance(points, (list, tuple)) else 0)
    text = shown.get("text") if shown.get("text") is not None else ""
    return Prompt(points, labels, shown.get("box"), shown.get("mask"), text.strip() if isinstance(text, str) else text)


def _numbers(values: Any, count: int, key: str) -> tuple[float, ...]:
    """So many finite numbers, or the sentence why they are none."""
    listed, found = list(values) if isinstance(values, (Sequence, np.ndarray)) and not isinstance(values, str) else [], ()
    plain = all(isinstance(value, numbers.Real) and not isinstance(value, bool) for value in listed)
    with suppress(OverflowError):  # of whole numbers that no float holds
        found = tuple(float(value) for value in listed) if plain else ()
    if len(found) != count or not all(map(math.isfinite, found)):
        raise BadRequestError(key, value=_shown(values))
    return found


def _shown(value: object) -> str:
    """What was sent, in a few letters."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


class LeftError(SegDemoError):
    """Nobody waits for the answer any more."""


class TooLongError(SegDemoError):
    """The request has used up the time that it may take."""


@dataclass
class Request:
    """One request under way.

    Attributes:
        endpoint: what was asked for; a name of ours, nothing that a visitor wrote.
        seconds: how long it may take.
        left: whether whoever asked has gone.
        crowded: whether others wait until this request is done.
        id: random, 16 hex digits; it names the request in the log.
        began: ``time.monotonic()`` of its start.
        facts: what the log will tell of it beside that: model, size, durations.
    """

    endpoint: str
    seconds: float = float("inf")
    left: Callable[[], bool] = lambda: False
    crowded: Callable[[], bool] = lambda: False
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    began: float = field(default_factory=time.monotonic)
    facts: dict[str, object] = field(default_factory=dict)

    def check(self, fetching: bool = False) -> None:
        """Go on, if there is still a reason to.

        Args:
            fetching: the request only waits until its model has been fetched and loaded, which goes on without it.

        Raises:
            LeftError: whoever asked has gone.
            TooLongError: the time is used up.
            BusyError: its model is still being fetched, and others wait behind it.
        """
        if self.left():
            raise LeftError("requests.cancelled")
        passed = time.monotonic() - self.began
        if fetching and passed > FETCHING_SECONDS and self.crowded():
            raise BusyError("requests.still_loading")
        if passed > self.seconds:
            raise TooLongError("requests.too_long", seconds=self.seconds)


@contextmanager
def opened(request: Request) -> Iterator[Request]:
    """Within it, :func:`check` and :func:`note` are about this request."""
    token = _current.set(request)
    try:
        yield request
    finally:
        _current.reset(token)


def check(fetching: bool = False) -> None:
    """:meth:`Request.check` of the request that this thread works on, if it works on one."""
    request = _current.get()
    if request is not None:
        request.check(fetching)


def wait(reached: Callable[[float], object], *, fetching: bool = False) -> None:
    """Wait, as long as somebody waits for the answer.

    Args:
        reached: waits for so many seconds at most, and says whether it has come.
        fetching: as for :meth:`Request.check`.

    Raises:
        LeftError, TooLongError, BusyError: as :meth:`Request.check`.
    """
    while not reached(LOOK_SECONDS):
        check(fetching)


def detached(call: Callable[[], object]) -> Callable[[], object]:
    """A call for another thread, in the context of this one but for its request: it goes on when that is withdrawn.

    Args:
        call: made once.
    """
    context = contextvars.copy_context()
    context.run(_current.set, None)
    return lambda: context.run(call)


def crowded() -> Callable[[], bool]:
    """Says, now and later, whether others wait like the request that this thread works on; outside any request nobody does."""
    request = _current.get()
    return request.crowded if request is not None else lambda: False


def note(**facts: object) -> None:
    """Tell the log about the request that this thread works on: numbers and names of ours, no content of images.

    Args:
        facts: JSON-able values by name.
    """
    request = _current.get()
    if request is not None:
        request.facts.update(facts)


def pool(name: str, count: int, begin: Callable[[], None] | None = None) -> Callable[[], ThreadPoolExecutor]:
    """A function that gives the same pool of this process each time.

    Args:
        name: the threads' names begin with it.
        count: of threads at most.
        begin: called by each thread before its first work.
    """

    @lru_cache(maxsize=1)
    def made() -> ThreadPoolExecutor:
        return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=begin)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made.cache_clear)
    return made


def begin(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        BusyError: the system gives no more threads.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise BusyError("threads.none_left") from error


VISITOR_KEY = re.compile(r"[A-Za-z0-9_-]{32,64}")


@dataclass(frozen=True)
class Viewer:
    """Who asks for something.

    Attributes:
        owner: of :func:`owner_of`; empty for somebody without a key.
        host: whether this server is theirs. What nobody owns (it was made before anything had an owner) is theirs, too.
    """

    owner: str = ""
    host: bool = False

    def owns(self, owner: object) -> bool:
        """Whether what carries this owner is theirs.

        >>> Viewer("a").owns("a"), Viewer("a").owns("b"), Viewer().owns(""), Viewer("a", host=True).owns("")
        (True, False, False, True)
        """
        return owner == self.owner if owner else self.host


# Who is being answered; None is this machine itself, which sees everything.
viewer: contextvars.ContextVar[Viewer | None] = contextvars.ContextVar("viewer", default=None)
# Environment variable that says to a job's command whose job it is: a name that no scheduler sets, and no setting of the owner's.
JOB_OWNER = "_SEG_DEMO_JOB_OWNER"


def owner_of(key: object) -> str:
    """What things carry whose visitor holds a key. The disk knows only this hash, so that a listing of it opens nothing.

    Args:
        key: 32 to 64 letters, digits, ``_`` and ``-``, drawn at random; anything else is no key.

    Returns:
        32 hexadecimal digits, or an empty text for what is no key.
    """
    if not isinstance(key, str) or VISITOR_KEY.fullmatch(key) is None:
        return ""
    return hashlib.sha256(key.encode("ascii")).hexdigest()[:32]


def of_key(key: object) -> Viewer:
    """The viewer with a key: what a handler was given with it counts, whoever its session has been before."""
    now = viewer.get()
    return Viewer(owner_of(key), host=now is not None and now.host)


T = TypeVar("T")

# How long one who would be refused waits first.
PATIENCE_SECONDS = 1.0


class Limiter:
    """So many at a time, in the order of coming; a semaphore would let whoever comes just now pass those who wait.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._lock, self._free = threading.Lock(), count
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def slot(self, refusal: Message | None = None) -> Iterator[None]:
        """One of them, as long as somebody waits for the answer.

        Args:
            refusal: said to whoever would have to wait for longer than a moment; without it they wait.

        Raises:
            LeftError: whoever asked has gone meanwhile.
            TooLongError: the request's time was used up by waiting.
            BusyError: the refusal.
        """
        check()
        mine, began = threading.Event(), time.monotonic()
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                mine.set()
            else:
                self._waiting.append(mine)

        def reached(seconds: float) -> bool:
            if refusal and not mine.is_set() and time.monotonic() - began > PATIENCE_SECONDS:
                raise BusyError(refusal)
            return mine.wait(seconds)

        try:
            wait(reached)
            yield
        finally:
            self._leave(mine)

    def _leave(self, mine: threading.Event) -> None:
        with self._lock:
            if mine.is_set():  # perhaps only while its owner was leaving
                if self._waiting:
                    self._waiting.popleft().set()
                else:
                    self._free += 1
            else:
                self._waiting.remove(mine)


class SingleFlight:
    """Calls under way, one per key at a time: whoever asks for the same thing meanwhile gets the same outcome, which is kept no longer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, futures.Future[Any]] = {}

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
                running = futures.Future()
                made = detached(lambda: self._make(key, call, running))
                begin(threading.Thread(target=made, name="single-flight", daemon=True))
                self._running[key] = running
        wait(lambda seconds: futures.wait([running], seconds).done, fetching=True)
        try:
            return running.result()
        finally:
            running = None  # it would hold the error, whose frames hold it, and with the callers' the upload

    def _make(self, key: Hashable, call: Callable[[], Any], future: futures.Future[Any]) -> None:
        value, failure = None, None
        try:
            value = call()
        except BaseException as error:  # handed over to everyone who waits, whatever it is
            failure = error
        # First the key, then the outcome: who asks after having got it makes a new call.
        with self._lock:
            del self._running[key]
        future.set_result(value) if failure is None else future.set_exception(failure)
        del future, failure  # the error's frames would hold it


class Admission:
    """A bounded number of slots to work in, half of them (one at least) also for large requests, and a bounded number of
    requests that wait for one.

    Args:
        slots: how many work at a time.
        waiting: how many more may wait.
        freed: called when a request is done, before anybody else's picture is decoded in its slot, with whether it was a large one.
    """

    def __init__(self, slots: int, waiting: int, freed: Callable[[bool], object] = lambda large: None) -> None:
        self.most, self._freed = slots + waiting, freed
        self._all = Limiter(slots)
        self._large = Limiter(max(1, slots // 2))
        self._lock = threading.Lock()
        self._admitted = 0
        self._began: dict[object, float] = {}

    @property
    def admitted(self) -> int:
        """Requests that are being worked on, wait, or fetch their model."""
        return self._admitted

    @property
    def running(self) -> int:
        """Requests that are being worked on now."""
        return len(self._began)

    @property
    def longest(self) -> float:
        """Seconds for which the longest of them has been worked on; 0 if there is none."""
        now = time.monotonic()
        return max((now - began for began in list(self._began.values())), default=0.0)

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Count one request, or refuse it at once if too many are there already.

        Raises:
            BusyError: as many are there as are accepted.
        """
        with self._lock:
            if self._admitted >= self.most:
                raise BusyError("requests.too_many", most=self.most)
            self._admitted += 1
        try:
            yield
        finally:
            with self._lock:
                self._admitted -= 1

    @contextmanager
    def slot(self, large: bool = False) -> Iterator[None]:
        """Wait for a slot and work in it.

        Args:
            large: see :func:`seg_demo.inputs.images.is_large`.

        Raises:
            LeftError: whoever asked has gone meanwhile.
            TooLongError: the request's time was used up by waiting.
        """
        began = time.monotonic()
        # In this order: a large request that waits for another one holds no slot that a small one could take.
        with self._large.slot() if large else nullcontext(), self._all.slot():
            key = object()
            self._began[key] = time.monotonic()
            try:
                note(waited=round(time.monotonic() - began, 3))
                check()
                yield
            finally:
                self._freed(large)
                del self._began[key]

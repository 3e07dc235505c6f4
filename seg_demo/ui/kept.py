"""Results that sessions keep, within a bound on the memory of all of them together.

A result of 50 megapixels has an id map, and the confidence and the margin of every pixel: 150 MB, of objects up to 350 MB. Ids
repeat and the others are smooth, so deflate makes a twelfth to a hundredth of them in a third of a second. The latest results
are kept as they are, those before them and all large ones packed, and when that is still too much the oldest are let go; whoever
comes back to such a one is told to segment the image again.
"""

from __future__ import annotations

import pickle
import threading
import time
import weakref
import zlib
from contextlib import suppress

from seg_demo.errors import BadRequestError
from seg_demo.threads import pool
from seg_demo.types import Segmentation

# Of all results together, as they are and packed; and of one that is kept as it is.
KEPT_BYTES, PLAIN_BYTES = 64_000_000, 16_000_000

_threads = pool("kept", 1)
_shelf: weakref.WeakSet[Kept] = weakref.WeakSet()
# Held by whoever brings a new one: two at a time would let go of twice as much, and a set must not grow while it is gone through.
_bringing = threading.Lock()


class Kept:
    """One segmentation with every candidate, for as long as somebody holds this object and there is room.

    Args:
        everything: the segmentation.

    Attributes:
        nbytes: what its arrays take, packed or not, and those of the view that was asked for last.
        used: ``time.monotonic()`` when it was last asked for.
    """

    def __init__(self, everything: Segmentation) -> None:
        self._lock = threading.Lock()
        self._plain: Segmentation | None = everything
        self._packed: list[bytes] | None = None
        self._seen: dict[float | None, weakref.ref[Segmentation]] = {}
        self._view: tuple[float, Segmentation] | None = None
        self.nbytes = self._own = sum(each.raw().nbytes for each in _buffers(everything)[1])
        self.used = time.monotonic()
        with _bringing:
            _make_room(self)
            _shelf.add(self)

    @property
    def everything(self) -> Segmentation:
        """The segmentation.

        Raises:
            BadRequestError: it had to make room for others'.
        """
        with self._lock:
            self.used = time.monotonic()
            if self._plain is not None:
                return self._plain
            if self._packed is None:
                raise BadRequestError("This result was removed to make room for others. Segment the image again.")
            there = self._seen[None]() if None in self._seen else None
            if there is None:
                # Arrays that may be written to, as the others.
                head, *arrays = (bytearray(zlib.decompress(each)) for each in self._packed)
                there = pickle.loads(head, buffers=arrays)
                self._seen[None] = weakref.ref(there)
            return there

    def above(self, threshold: float) -> Segmentation:
        """:meth:`Segmentation.above`; what was asked for last is not made again, unless it has been packed and let go.

        Args:
            threshold: score in [0, 1].

        Raises:
            BadRequestError: as for :attr:`everything`.
        """
        with self._lock:
            self.used = time.monotonic()
            if self._view is not None and self._view[0] == threshold:
                return self._view[1]
            there = self._seen[threshold]() if threshold in self._seen else None
        if there is not None:
            return there
        everything = self.everything
        found = everything.above(threshold)
        # Its objects are those of everything.
        more = 0 if found is everything else sum(each.nbytes for each in (found.id_map, found.confidence) if each is not None)
        with self._lock:
            self._seen = {None: self._seen[None]} if None in self._seen else {}
            self._seen[threshold] = weakref.ref(found)
            if self._plain is not None:
                self._view, self.nbytes = (threshold, found), self._own + more
        return found

    def shown(self) -> None:
        """Whoever asked has been answered: what is large is packed in the background."""
        if self._plain is not None and self.nbytes > PLAIN_BYTES:
            with suppress(RuntimeError):  # no thread is left for it: the next one that needs room packs it
                _threads().submit(_packed, weakref.ref(self))

    def pack(self) -> None:
        """Keep it packed from now on; who has it in hand keeps that."""
        with self._lock:
            everything = self._plain
        if everything is None:
            return
        head, arrays = _buffers(everything)
        packed = [zlib.compress(head, 1), *(zlib.compress(each.raw(), 1) for each in arrays)]
        with self._lock:
            if self._plain is everything:  # not let go meanwhile
                self._seen[None] = weakref.ref(everything)
                self._plain, self._view, self._packed = None, None, packed
                self.nbytes = sum(map(len, packed))

    def let_go(self) -> None:
        """Keep it no more."""
        with self._lock:
            self._plain = self._view = self._packed = None
            self._seen.clear()
            self.nbytes = 0


def _make_room(new: Kept) -> None:
    """Pack and let go of what has not been looked at for longest, until there is room."""
    others = sorted((each for each in _shelf if each is not new), key=lambda each: each.used)
    # Large ones are packed as soon as they have been shown.
    left = KEPT_BYTES - min(new.nbytes, PLAIN_BYTES) - sum(each.nbytes for each in others)
    for step in (Kept.pack, Kept.let_go):
        for each in others:
            if left >= 0:
                return
            before = each.nbytes
            step(each)
            left += before - each.nbytes


def _packed(kept: weakref.ref[Kept]) -> None:
    there = kept()
    if there is not None:
        there.pack()


def _buffers(value: object) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """A pickle without its arrays, and the arrays, which are not copied."""
    arrays: list[pickle.PickleBuffer] = []
    return pickle.dumps(value, protocol=5, buffer_callback=arrays.append), arrays

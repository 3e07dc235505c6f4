"""The session cache: results that sessions keep, within a bound on the memory of all of them together.

A result of 50 megapixels has an id map, and the confidence and the margin of every pixel: 150 MB, of objects up to 350 MB. Ids
repeat and the others are smooth, so deflate makes a twelfth to a hundredth of them in a third of a second. The latest results
are kept as they are, those before them and all large ones compressed, and when that is still too much the oldest are evicted; whoever
comes back to such a one is told to segment the image again. Files in place of this were measured: writing a result delays its
answer (2 megapixels by a sixth, 50 megapixels by 0.15 s and more), and a folder for them may lie in memory.
"""

from __future__ import annotations

import pickle
import threading
import time
import weakref
import zlib
from contextlib import suppress

from seg_demo.core.errors import BadRequestError
from seg_demo.core.threads import pool
from seg_demo.core.types import Segmentation

# Of all results together, compressed or not; and of one that is kept as it is.
CACHE_BYTES, UNCOMPRESSED_BYTES = 64_000_000, 16_000_000

_threads = pool("session-cache", 1)
_cached: weakref.WeakSet[CachedResult] = weakref.WeakSet()
# Held by whoever adds one: two at a time would evict twice as much, and a set must not grow while it is gone through.
_adding = threading.Lock()


class CachedResult:
    """One segmentation with every candidate, for as long as somebody holds this object and there is room.

    Args:
        everything: the segmentation.

    Attributes:
        nbytes: what its arrays take, compressed or not, and those of the view that was asked for last.
        used: ``time.monotonic()`` when it was last asked for.
    """

    def __init__(self, everything: Segmentation) -> None:
        self._lock = threading.Lock()
        self._whole: Segmentation | None = everything
        self._compressed: list[bytes] | None = None
        self._seen: dict[float | None, weakref.ref[Segmentation]] = {}
        self._view: tuple[float, Segmentation] | None = None
        self.nbytes = self._own_bytes = sum(array.raw().nbytes for array in _buffers(everything)[1])
        self.used = time.monotonic()
        with _adding:
            _make_space(self)
            _cached.add(self)

    @property
    def everything(self) -> Segmentation:
        """The segmentation.

        Raises:
            BadRequestError: it had to make room for others'.
        """
        with self._lock:
            self.used = time.monotonic()
            if self._whole is not None:
                return self._whole
            if self._compressed is None:
                raise BadRequestError("results.removed")
            there = self._seen[None]() if None in self._seen else None
            if there is None:
                # Arrays that may be written to, as the others.
                head, *arrays = (bytearray(zlib.decompress(part)) for part in self._compressed)
                there = pickle.loads(head, buffers=arrays)
                self._seen[None] = weakref.ref(there)
            return there

    def above(self, threshold: float) -> Segmentation:
        """:meth:`Segmentation.above`; what was asked for last is not made again, unless it has been compressed.

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
        more = 0 if found is everything else sum(array.nbytes for array in (found.id_map, found.confidence) if array is not None)
        with self._lock:
            self._seen = {None: self._seen[None]} if None in self._seen else {}
            self._seen[threshold] = weakref.ref(found)
            if self._whole is not None:
                self._view, self.nbytes = (threshold, found), self._own_bytes + more
        return found

    def answered(self) -> None:
        """Whoever asked has been answered: what is large is compressed in the background."""
        if self._whole is not None and self.nbytes > UNCOMPRESSED_BYTES:
            with suppress(RuntimeError):  # no thread is left for it: the next one that needs the space does it
                _threads().submit(_compress, weakref.ref(self))

    def compress(self) -> None:
        """Keep it compressed from now on; who has it in hand keeps that."""
        with self._lock:
            everything = self._whole
        if everything is None:
            return
        head, arrays = _buffers(everything)
        compressed = [zlib.compress(head, 1), *(zlib.compress(array.raw(), 1) for array in arrays)]
        with self._lock:
            if self._whole is everything:  # not evicted meanwhile
                self._seen[None] = weakref.ref(everything)
                self._whole, self._view, self._compressed = None, None, compressed
                self.nbytes = sum(map(len, compressed))

    def evict(self) -> None:
        """Keep it no more."""
        with self._lock:
            self._whole = self._view = self._compressed = None
            self._seen.clear()
            self.nbytes = 0


def _make_space(new: CachedResult) -> None:
    """Compress and evict what has not been looked at for longest, until there is space."""
    others = sorted((result for result in _cached if result is not new), key=lambda result: result.used)
    # Large ones are compressed as soon as they have been shown.
    left = CACHE_BYTES - min(new.nbytes, UNCOMPRESSED_BYTES) - sum(result.nbytes for result in others)
    for step in (CachedResult.compress, CachedResult.evict):
        for result in others:
            if left >= 0:
                return
            before = result.nbytes
            step(result)
            left += before - result.nbytes


def _compress(reference: weakref.ref[CachedResult]) -> None:
    there = reference()
    if there is not None:
        there.compress()


def _buffers(value: object) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """A pickle without its arrays, and the arrays, which are not copied."""
    arrays: list[pickle.PickleBuffer] = []
    return pickle.dumps(value, protocol=5, buffer_callback=arrays.append), arrays

"""A visitor's result: what the session keeps, what the viewer is sent, and the files that are made when asked for.

A session keeps the mask and the name of the upload, never the decoded picture: twenty visitors with 50 megapixels each
would otherwise hold 3 GB.

Results that sessions keep, within a bound on the memory of all of them together.

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
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO

import numpy as np

from seg_demo.core.errors import BadRequestError
from seg_demo.core.threads import pool
from seg_demo.core.types import Segmentation
from seg_demo.gateway.files import Upload
from seg_demo.inputs.images import decode
from seg_demo.masks.regions import fitting, shrunk
from seg_demo.outputs import draw, export

# The browser gets the id map at full size up to here; above, every n-th pixel (downloads are always at full size).
MAX_VIEWER_PIXELS = 16_000_000
PREVIEW_SIDE = 2560
# Doubt is a smooth field: a screen shows no more of it, and it compresses far worse than ids.
MAX_DOUBT_PIXELS = 4_000_000

# How long an answer also serves whoever asks for the same once more.
AGAIN_SECONDS = 10.0

KINDS = ("zip", *(row.key for row in export.EXPORTS.values() if row.button))


@dataclass(frozen=True, eq=False)
class Result:
    """What a visitor's session keeps of one segmented upload.

    Attributes:
        upload: the visitor's file.
        kept: the segmentation with every candidate, whatever its score.
        threshold: score in [0, 1] from which objects are shown; without meaning for semantic results and regions.
        preview: the picture as the viewer shows it, a JPEG of at most ``PREVIEW_SIDE`` pixels a side.
        doubt: whether the viewer is also sent the map of the margins.
        asked: what the network was asked for beside the upload; empty where there was none.
        made: ``time.monotonic()`` when it was.
    """

    upload: Upload
    kept: Kept
    threshold: float
    preview: bytes
    doubt: bool = False
    asked: tuple[object, ...] = ()
    made: float = field(default_factory=time.monotonic)

    def answers(self, upload: Upload, *asked: object) -> bool:
        """Whether this is the answer to a question that is asked again at once; later the model may be another one.

        Args:
            upload: the visitor's file; the server names it after what it contains.
            asked: as for ``asked``.
        """
        return (upload.path, asked) == (self.upload.path, self.asked) and time.monotonic() - self.made < AGAIN_SECONDS

    @property
    def shown(self) -> Segmentation:
        """The segmentation at the threshold: what is seen, exported and counted. Hold it while several things are made of it.

        Raises:
            BadRequestError: it had to make room for others'.
        """
        return self.kept.above(self.threshold)

    @cached_property
    def ids(self) -> bytes:
        """The id map as the viewer is sent it, see :func:`viewer_ids`."""
        return viewer_ids(self.shown)

    def at(self, threshold: float) -> Result:
        """The same result at another score threshold; no network runs."""
        return replace(self, threshold=threshold)

    def with_doubt(self) -> Result:
        """The same view with the map of the margins; what the view consists of is not made again."""
        other = replace(self, doubt=True)
        vars(other).update(ids=self.ids)
        return other


def preview_of(image: np.ndarray) -> bytes:
    """A picture for the screen: JPEG, bounded in size.

    Args:
        image: uint8 (H, W, 3), RGB.
    """
    size = fitting(image.shape[1], image.shape[0], PREVIEW_SIDE)
    file = BytesIO()
    shrunk(image, size).save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()


def viewer_ids(segmentation: Segmentation) -> bytes:
    """The id map for the viewer, RGB PNG with id = R + 256 * G, thinned to every n-th pixel beyond the limit."""
    pixels = segmentation.height * segmentation.width
    if pixels <= MAX_VIEWER_PIXELS:
        return draw.viewer_id_png(segmentation)
    step = int(np.ceil(np.sqrt(pixels / MAX_VIEWER_PIXELS)))
    thin = np.ascontiguousarray(segmentation.id_map[step // 2 :: step, step // 2 :: step])
    height, width = thin.shape
    smaller = replace(segmentation, height=height, width=width, id_map=thin, segments=(), confidence=None, margin=None)
    return draw.viewer_id_png(smaller)


def viewer_doubt(segmentation: Segmentation) -> bytes:
    """The margins for the viewer: an 8-bit grey PNG, 255 is certain; above the limit the least of every n x n pixels, so
    that no doubtful line disappears.

    Args:
        segmentation: has confidence.
    """
    margins = segmentation.margins
    step = int(np.ceil(np.sqrt(margins.size / MAX_DOUBT_PIXELS)))
    if step > 1:
        for axis in (0, 1):
            margins = np.minimum.reduceat(margins, np.arange(0, margins.shape[axis], step), axis=axis)
    return draw.encode_png(margins)


def viewer_value(result: Result) -> dict[str, object]:
    """What the viewer is told beside its two pictures: classes and segments, both largest first.

    Returns:
        JSON-able: ``task``, ``width``, ``height``, ``seen`` ([width, height] in pixels that the network saw, or None), ``limit`` (objects at which a detector stopped, or None),
        ``background`` (label id or None), ``unsure`` (whether there is confidence), ``classes`` (id, name, pixels, share, count, score, mean margin in [0, 1] or None) and ``segments`` (id in
        the id map, label id, color [R, G, B], score, area in pixels).
    """
    shown = result.shown
    colors = draw.colors_of(shown)
    segments = [
        {"id": identity, "label": segment.label_id, "color": colors[identity].tolist(), "score": segment.score, "area": area}
        for identity, segment, area in zip(shown.ids, shown.segments, shown.areas, strict=True)
    ]
    return {
        "task": shown.task,
        "width": shown.width,
        "height": shown.height,
        "seen": None if shown.seen is None else [shown.seen[1], shown.seen[0]],
        "limit": None if shown.limit is None else shown.limit.objects,
        "background": shown.labels.background,
        "unsure": shown.confidence is not None,
        "classes": [
            {
                "id": row["label_id"],
                "name": row["label"],
                "score": row["mean_score"],
                "margin": row.get("mean_margin"),
                **{key: row[key] for key in ("pixels", "share", "count")},
            }
            for row in export.table(shown)
        ],
        "segments": sorted(segments, key=lambda segment: -segment["area"]),
    }


def make_file(result: Result, kind: str) -> tuple[str, bytes]:
    """One download, made from the session's result; no network runs.

    Args:
        result: of the session.
        kind: one of ``KINDS``.

    Returns:
        File name and content.

    Raises:
        BadRequestError: the upload has been deleted meanwhile.
    """
    shown, stem = result.shown, result.upload.stem
    if kind == "zip":
        return f"{stem}.zip", export.zip_bytes(export.bundle(_image(result), shown, stem))
    row = export.EXPORTS[kind]
    return f"{stem}_{row.file}", row.make(export.Subject(shown, lambda: _image(result), f"{stem}.png"))


def _image(result: Result) -> np.ndarray:
    if not result.upload.path.is_file():
        raise BadRequestError("results.upload_is_gone")
    return decode(result.upload.path)


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
                raise BadRequestError("results.removed")
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

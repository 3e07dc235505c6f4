"""A visitor's result: what the session keeps, what the viewer is sent, and the files that are made when asked for.

A session keeps the mask and the name of the upload, never the decoded picture: twenty visitors with 50 megapixels each
would otherwise hold 3 GB.

Results are kept within a bound on the memory of all of them together. One of 50 megapixels has an id map, and the confidence and the margin of every pixel: 150 MB, of objects up to 350 MB. Ids
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
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from seg_demo.core import TASKS, BadRequestError, Message, Picture, Segmentation, Task
from seg_demo.core.requests import pool
from seg_demo.gateway.visitor import Upload
from seg_demo.inputs.images import read
from seg_demo.masks.regions import fitting, shrunk
from seg_demo.outputs import draw, export, interchange
from seg_demo.outputs.measurements import Measurements, PixelSize, histogram, pixel_of, plain

if TYPE_CHECKING:
    from seg_demo.inference.explain import Explanation

# The browser gets the id map at full size up to here; above, every n-th pixel (downloads are always at full size).
MAX_VIEWER_PIXELS = 16_000_000
PREVIEW_SIDE = 2560
# Doubt is a smooth field: a screen shows no more of it, and it compresses far worse than ids.
MAX_DOUBT_PIXELS = 4_000_000
# What an answer rests on is drawn so large, and as bright as may be where this share of it or more is lost.
WHY_SIDE, LEAST_WHY = 1024, 0.05

# Rows of single objects that the page is sent, the largest ones; totals and histograms are of all, and so are the files.
MOST_ROWS = 3000
# So many measured objects are kept with a result; more are measured again when they are asked for.
MOST_KEPT = 5000

# How long an answer also serves whoever asks for the same once more.
AGAIN_SECONDS = 10.0


# Annotation tools whose formats the page offers in one menu.
TOOLS: tuple[str, ...] = tuple(interchange.FORMATS)


def kinds(task: Task) -> tuple[str, ...]:
    """What the results of a task can be taken away as: everything in one, or keys of the table of exports."""
    return ("zip", *(row.key for row in export.EXPORTS.values() if row.button and row.fits(task)))


@dataclass(frozen=True, eq=False)
class Result:
    """What a visitor's session keeps of one segmented upload.

    Attributes:
        upload: the visitor's file.
        cached: the segmentation with every candidate, whatever its score.
        threshold: score in [0, 1] from which objects are shown; without meaning for semantic results and regions.
        preview: the picture as the viewer shows it, a JPEG of at most ``PREVIEW_SIDE`` pixels a side.
        doubt: whether the viewer is also sent the map of the margins.
        why: what the answer at a pixel rests on, for the viewer; None unless it was asked for.
        asked: what the network was asked for beside the upload; empty where there was none.
        made: ``time.monotonic()`` when it was.
    """

    upload: Upload
    cached: CachedResult
    threshold: float
    preview: bytes
    doubt: bool = False
    why: Explanation | None = None
    asked: tuple[object, ...] = ()
    made: float = field(default_factory=time.monotonic)

    def answers(self, upload: Upload, *asked: object) -> bool:
        """Whether this is the answer to a question that is asked again at once; later the model may be another one.

        Args:
            upload: the visitor's file; the server names it after what it contains.
            asked: as for ``asked``.
        """
        return (upload.path, upload.view, asked) == (self.upload.path, self.upload.view, self.asked) and time.monotonic() - self.made < AGAIN_SECONDS

    def kept_of(self, upload: Upload, *asked: object) -> Segmentation | None:
        """The segmentation, if it is of an upload and of what its question begins with, and the network's outputs are kept with it.

        Args:
            upload: the visitor's file.
            asked: as ``asked`` begins.
        """
        if (upload.path, upload.view, asked) != (self.upload.path, self.upload.view, self.asked[: len(asked)]):
            return None
        with suppress(BadRequestError):
            everything = self.cached.everything
            return everything if everything.outputs is not None else None
        return None

    @property
    def shown(self) -> Segmentation:
        """The segmentation at the threshold: what is seen, exported and counted. Hold it while several things are made of it.

        Raises:
            BadRequestError: it had to make room for others'.
        """
        return self.cached.above(self.threshold)

    @cached_property
    def ids(self) -> bytes:
        """The id map as the viewer is sent it, see :func:`viewer_ids`."""
        return viewer_ids(self.shown)

    def at(self, threshold: float) -> Result:
        """The same result at another score threshold; no network runs."""
        return replace(self, threshold=threshold)

    def with_doubt(self) -> Result:
        """The same view with the map of the margins; what the view consists of is not made again."""
        return self._alike(doubt=True)

    def because(self, why: Explanation) -> Result:
        """The same view with what the answer at a pixel rests on."""
        return self._alike(why=why)

    def _alike(self, **changed: Any) -> Result:
        other = replace(self, **changed)
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


def viewer_why(why: Explanation, segmentation: Segmentation) -> bytes:
    """What an answer rests on for the viewer: an 8-bit grey PNG of the whole picture, made smaller where it is large, 255 where most is lost.

    Args:
        why: of this result.
        segmentation: the result.
    """
    width, height = fitting(segmentation.width, segmentation.height, WHY_SIDE)
    left, top, right, bottom = (round(value * side / full) for value, side, full in zip(why.frame, (width, height) * 2, (segmentation.width, segmentation.height) * 2, strict=True))
    shown = np.zeros((height, width), np.uint8)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    scaled = Image.fromarray(why.values / max(float(why.values.max()), LEAST_WHY)).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    shown[top:bottom, left:right] = np.rint(255 * np.clip(np.asarray(scaled), 0, 1))[: height - top, : width - left]
    return draw.encode_png(shown)


def viewer_value(result: Result) -> dict[str, object]:
    """What the viewer is told beside its two pictures: classes and segments, both largest first.

    Returns:
        JSON-able: ``task``, what a ``segment`` is called, whether they are ``objects``, ``scored`` and ``grouped`` into things and stuff, ``width``, ``height``, ``seen`` ([width, height] in pixels that the network saw, or None), ``limit`` (objects at which a detector stopped, or None),
        ``of`` (the upload) and ``view`` (what of it, or None), ``unit`` that the file gives sizes in, with ``pixelArea`` in its square and ``metres`` of a pixel's sides, or None,
        ``background`` (label id or None), ``unsure`` (whether there is confidence), ``classes`` (id, name, pixels, share, count, score, mean margin in [0, 1] or None) and ``segments`` (id in
        the id map, label id, color [R, G, B], score, area in pixels); where they are grouped, each also says whether it is a ``thing``.
    """
    shown = result.shown
    task, pixel = TASKS[shown.task], pixel_of(shown)
    colors = draw.colors_of(shown)

    def kind(label_id: int) -> dict[str, bool]:
        return {"thing": shown.labels.is_thing(label_id)} if task.stuff else {}

    segments = [
        {"id": identity, "label": segment.label_id, "color": colors[identity].tolist(), "score": segment.score, "area": area, **kind(segment.label_id)}
        for identity, segment, area in zip(shown.ids, shown.segments, shown.areas, strict=True)
    ]
    return {
        "task": shown.task,
        "segment": task.segment,
        "objects": task.objects,
        "scored": task.learnt,
        "grouped": task.stuff,
        "width": shown.width,
        "height": shown.height,
        "seen": None if shown.seen is None else [shown.seen[1], shown.seen[0]],
        "limit": None if shown.limit is None else shown.limit.objects,
        "of": str(result.upload.path),
        "view": None if shown.view is None else shown.view.to_dict(),
        "unit": None if pixel is None else pixel.unit,
        "pixelArea": None if pixel is None else pixel.area(1),
        "metres": None if pixel is None else list(pixel.within("m").sides),
        "background": shown.labels.background,
        "unsure": shown.confidence is not None,
        "explains": task.learnt and shown.model is not None and shown.model.source != "builtin",
        "classes": [
            {
                "id": row["label_id"],
                "name": row["label"],
                "score": row["mean_score"],
                "margin": row.get("mean_margin"),
                **{key: row[key] for key in ("pixels", "share", "count")},
                **kind(row["label_id"]),
            }
            for row in export.table(shown)
        ],
        "segments": sorted(segments, key=lambda segment: -segment["area"]),
    }


@dataclass(frozen=True)
class Units:
    """How a visitor wants objects measured.

    Attributes:
        pixel: size of a pixel, as typed; None for what the file says, or pixels.
        inside: whether objects that touch the edge of the picture are left out.
    """

    pixel: PixelSize | None = None
    inside: bool = False

    @classmethod
    def of(cls, sent: object) -> Units:
        """What the page sends: ``length`` (text; empty for none), ``unit`` and ``inside``.

        Raises:
            BadRequestError: a length that none can have.
        """
        asked = sent if isinstance(sent, dict) else {}
        text = str(asked.get("length") or "").strip().replace(",", ".")
        pixel = PixelSize.parse(f"{text} {asked.get('unit')}") if text else None
        return cls(pixel, asked.get("inside") is True)


def measured(result: Result) -> Measurements:
    """What can be counted in a result, measured at its threshold: objects, or connected pieces; kept with it where they are not many."""
    known = vars(result)
    if "measured" in known:
        return known["measured"]
    found = export.Subject(result.shown, lambda: _image(result), "").counted
    if len(found) <= MOST_KEPT:
        known["measured"] = found
    return found


def measurements_value(result: Result, units: Units) -> dict[str, object]:
    """What the page's table of measurements is told.

    Returns:
        JSON-able: ``kind`` (what a row is), ``count``, ``at_edge`` (how many of all touch the edge), ``left_out`` (pieces beyond the most that are measured), ``inside``, ``unit`` and ``sides`` (of a pixel) or
        None, ``names`` (label id → name), ``columns`` (names of the measures, see :meth:`Measurements.columns`, those in the unit in place of those in pixels under their plain names, and of a grey picture one channel, ``grey``), ``rows`` (id, label id, score, whether it
        touches the edge, then a value for each column), ``summary`` and ``histograms`` by column.
    """
    everything = measured(result)
    found = everything.inside() if units.inside else everything
    pixel = pixel_of(result.shown, units.pixel)
    values, totals = {"area": found.area, **found.columns(pixel)}, found.summary(pixel)
    edge = values.pop("touches_edge")
    if pixel is not None:
        # In their places, so that the order stays: shape, place, intensity.
        for there in (values, totals):
            for name in [name for name in there if name.endswith((f"_{pixel.unit}", f"_{pixel.unit}2"))]:
                there[name.rpartition("_")[0]] = there.pop(name)
    if len({(everything.mean[:, index].tobytes(), everything.deviation[:, index].tobytes()) for index in range(len(found.channels))}) == 1 < len(found.channels):
        first, *others = found.channels
        for there in (values, totals):
            for kind in ("mean", "sd"):
                there[f"{kind}_grey"] = there.pop(f"{kind}_{first}")
                for other in others:
                    del there[f"{kind}_{other}"]
    order = np.argsort(-found.area, kind="stable")[:MOST_ROWS]
    columns = [_short(array[order]) for array in (found.scores, *values.values())]
    rows = zip(found.ids[order].tolist(), found.label_ids[order].tolist(), columns[0], edge[order].tolist(), *columns[1:], strict=True)
    return {
        "kind": found.kind, "count": len(found), "at_edge": int(everything.edge.sum()), "left_out": found.left_out, "inside": units.inside,
        "unit": None if pixel is None else pixel.unit, "sides": None if pixel is None else list(pixel.sides), "names": {str(index): found.labels.names[index] for index in np.unique(found.label_ids)},
        "columns": list(values), "rows": [list(row) for row in rows],
        "summary": totals,
        "histograms": {name: histogram(array) for name, array in values.items() if not name.startswith("centroid")},
    }  # fmt: skip


def _short(values: np.ndarray) -> list[float | int | None]:
    """Numbers of six digits: what a table shows of them."""
    return [value if value is None or isinstance(value, int) else float(f"{value:.6g}") for value in plain(values)]


def make_file(result: Result, kind: str, units: Units | None = None) -> tuple[str, bytes]:
    """One download, made from the session's result; no network runs.

    Args:
        result: of the session.
        kind: of :func:`kinds`, or ``measurements`` or ``measurements_json``, or one of :data:`TOOLS`.
        units: for what is measured.

    Returns:
        File name and content.

    Raises:
        BadRequestError: the upload has been deleted meanwhile.
    """
    shown, stem, units = result.shown, result.upload.stem, units or Units()
    if kind == "zip":
        return f"{stem}.zip", export.zip_bytes(export.bundle(_image(result), shown, stem, pixel=units.pixel))
    known = vars(result).get("measured")
    subject = export.Subject(shown, lambda: _image(result), f"{stem}.png", pixel=units.pixel, inside=units.inside, counted=known)
    if kind in TOOLS:
        return make_for_tool(result, kind)[:2]
    row = export.EXPORTS[kind]
    return f"{stem}_{row.file}", row.make(subject)


def make_for_tool(result: Result, tool: str) -> tuple[str, bytes, tuple[Message, ...]]:
    """A download in the format of another tool, and a sentence for each thing that it cannot hold of this result.

    Args:
        result: of the session.
        tool: one of :data:`TOOLS`.

    Returns:
        File name, content, sentences.
    """
    stem = result.upload.stem
    subject = export.Subject(result.shown, lambda: _image(result), f"{stem}.png")
    name, content = subject.download_of_tool(tool)
    return f"{stem}_{name}", content, tuple(interchange.loss_sentences(tool, subject.lost(tool)))


def _image(result: Result) -> Picture:
    if not result.upload.path.is_file():
        raise BadRequestError("results.upload_is_gone")
    return read(result.upload.path, view=result.shown.view, with_samples=True)


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

"""The types that cross packages: class names and colours, one segment, one segmented image, a task, one model on the menu.

numpy only; each is validated where it is made, so what arrives anywhere else is right by construction. With them stands what id
maps are made by and measured with (painted from objects, counted), in strips of rows.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from seg_demo.core.picture import Calibration, View
from seg_demo.core.rle import Box, Runs, count_ids, encode_each, sum_by_id, tight_box

# Ids of pixels that count for nothing, in maps of 8 and of 16 bits: what annotation tools and data sets use for "void".
IGNORE, IGNORE_16 = 255, 65_535
# How a class is called that is everything else, and one that nobody has named; the others are what data sets in other languages and tools write.
BACKGROUND, OBJECT = "background", "object"
_BACKGROUNDS = frozenset({BACKGROUND, "bg", "backgrnd", "hintergrund", "fond", "fondo", "背景"})
_RUN_PIXELS = 1 << 18  # looked at together: in the worst case every pixel is a run of its own, with 40 bytes of numbers about it


def ignore_id(dtype: np.dtype | type) -> int:
    """:data:`IGNORE` of a uint8 map, :data:`IGNORE_16` of a uint16 one.

    >>> ignore_id(np.uint8), ignore_id(np.dtype(np.uint16))
    (255, 65535)
    """
    return {np.dtype(np.uint8): IGNORE, np.dtype(np.uint16): IGNORE_16}[np.dtype(dtype)]


def plain_name(name: str) -> str:
    """A class name as names are compared: without regard to case, and to blanks and underscores around it.

    >>> plain_name(" Cell "), plain_name("__background__")
    ('cell', 'background')
    """
    return name.casefold().strip("_ ")


def is_background(name: str) -> bool:
    """Whether a class name means "nothing of what is looked for": ``background``, ``_background_``, ``BG``, ``Hintergrund`` ...

    >>> is_background("__Background__"), is_background("road")
    (True, False)
    """
    return re.sub(r"[\W_]+", "", name.casefold()) in _BACKGROUNDS


def background_of(names: Sequence[str]) -> int | None:
    """The index of the first class that :func:`is_background`, or None.

    >>> background_of(["cell", "BG"]), background_of(["cell"])
    (1, None)
    """
    return next((index for index, name in enumerate(names) if is_background(name)), None)


def distinct_colors(count: int, background: int | None = None) -> np.ndarray:
    """Colours that stay apart for any number of classes: hues in golden-ratio steps, lightness in three turns.

    Args:
        count: number of colours.
        background: index that gets black, or None.

    Returns:
        uint8 (count, 3), RGB.
    """
    colors = np.zeros((count, 3), dtype=np.uint8)
    for index in range(count):
        hue = (0.58 + index * 0.618034) % 1.0
        lightness = (0.55, 0.42, 0.68)[index % 3]
        colors[index] = [round(255 * channel) for channel in colorsys.hls_to_rgb(hue, lightness, 0.75)]
    if background is not None:
        colors[background] = 0
    return colors


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Class names and their colours.

    Attributes:
        names: one name per class; the index is the label id.
        colors: uint8 (K, 3), RGB.
        background: the label id that means "nothing", or None if every class is a thing of its own.
        things: bool (K,), which classes are of things that can be counted; the others are stuff. None where nobody knows.
    """

    names: tuple[str, ...]
    colors: np.ndarray
    background: int | None = None
    things: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(str(name) for name in self.names))
        count = len(self.names)
        if not 1 <= count <= MAX_IDS:
            raise ValueError(f"A label set has 1 to {MAX_IDS} names, but got {count}.")
        if self.colors.dtype != np.uint8 or self.colors.shape != (count, 3):
            raise ValueError(f"colors must be uint8 of shape ({count}, 3), but got {self.colors.dtype} {self.colors.shape}.")
        if self.background is not None and not 0 <= self.background < count:
            raise ValueError(f"background must be None or a label id from 0 to {count - 1}, but got {self.background}.")
        if self.things is not None and (self.things.dtype != bool or self.things.shape != (count,)):
            raise ValueError(f"things must be bool of shape ({count},), but got {self.things.dtype} {self.things.shape}.")

    @classmethod
    def from_names(cls, names: Sequence[str], background: int | None = None) -> LabelSet:
        """A label set with generated colours.

        Args:
            names: one name per class, in order of their ids.
            background: label id of the background, or None.
        """
        return cls(tuple(names), distinct_colors(len(names), background), background)

    def __len__(self) -> int:
        return len(self.names)

    def is_thing(self, label_id: int) -> bool:
        """Whether a class is of things; of any class where nobody knows."""
        return self.things is None or bool(self.things[label_id])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelSet):
            return NotImplemented
        same = self.names == other.names and self.background == other.background
        return same and np.array_equal(self.colors, other.colors) and np.array_equal(self.things, other.things)


@dataclass(frozen=True, eq=False)
class SoftMask:
    """How likely the pixels around an object belong to it.

    Attributes:
        box: (x0, y0, x1, y1), half-open integer pixels of the upright original image; outside, the probability is 0.
        values: uint8 (y1 - y0, x1 - x0), 255 times the probability.
    """

    box: Box
    values: np.ndarray

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if not (0 <= x0 < x1 and 0 <= y0 < y1):
            raise ValueError(f"box must be (x0, y0, x1, y1) with 0 <= x0 < x1 and 0 <= y0 < y1, but got {self.box}.")
        if self.values.dtype != np.uint8 or self.values.shape != (y1 - y0, x1 - x0):
            wanted = f"uint8 of shape {(y1 - y0, x1 - x0)}"
            raise ValueError(f"values must be {wanted}, but got {self.values.dtype} {self.values.shape}.")


@dataclass(frozen=True, eq=False)
class Segment:
    """One class (semantic), object (instance) or region of an image.

    Attributes:
        label_id: index into the label set.
        score: confidence in [0, 1], or None where the method gives none.
        box: (x0, y0, x1, y1), half-open integer pixels of the upright original image.
        mask: bool (y1 - y0, x1 - x0), or None for semantic results, whose mask is cut from the id map.
        soft: probabilities instead of the mask's yes and no, for objects whose confidence was asked for; else None.
    """

    label_id: int
    score: float | None
    box: Box
    mask: np.ndarray | None
    soft: SoftMask | None = None

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if not (0 <= x0 < x1 and 0 <= y0 < y1):
            raise ValueError(f"box must be (x0, y0, x1, y1) with 0 <= x0 < x1 and 0 <= y0 < y1, but got {self.box}.")
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score must be None or in [0, 1], but got {self.score}.")
        if self.mask is not None and (self.mask.dtype != bool or self.mask.shape != (y1 - y0, x1 - x0)):
            shape = (y1 - y0, x1 - x0)
            raise ValueError(f"mask must be bool of shape {shape}, but got {self.mask.dtype} {self.mask.shape}.")

    @property
    def has_mask(self) -> bool:
        """Whether ``mask`` is one; the mask is not made for that."""
        return self.mask is not None

    @property
    def drawn(self) -> Sequence[Sequence[float]] | None:
        """Polygons x, y, x, y ... in pixels of the upload, as somebody drew them, whose pixels by COCO's rule are the mask; None of other masks."""
        return None

    @property
    def area(self) -> int:
        """Pixels of the mask, where there is one."""
        return int(np.count_nonzero(self.mask))

    def runs(self, height: int) -> Runs:
        """The mask, where there is one, as runs down the columns of an image of a height in pixels."""
        return Runs.of_crop(self.mask, self.box, height)

    def moved(self, right: int, down: int) -> Segment:
        """The same segment, so many pixels further right and down, as a part of a larger image."""

        def moved(box: Box) -> Box:
            return box[0] + right, box[1] + down, box[2] + right, box[3] + down

        soft = self.soft and SoftMask(moved(self.soft.box), self.soft.values)
        return replace(self, box=moved(self.box), soft=soft)


class RunsSegment(Segment):
    """An object that is known by the runs of its mask, which is made when it is asked for.

    Args:
        label_id: index into the label set.
        source: of the whole picture; at least one pixel.
    """

    def __init__(self, label_id: int, source: Runs) -> None:
        vars(self).update(label_id=label_id, score=None, box=source.box, soft=None, _source=source)

    @property
    def has_mask(self) -> bool:
        """True."""
        return True

    @property
    def mask(self) -> np.ndarray:
        """bool (y1 - y0, x1 - x0)."""
        return self._source.crop(self.box)

    @property
    def drawn(self) -> Sequence[Sequence[float]] | None:
        """As of :class:`Segment`."""
        return getattr(self._source, "polygons", None)

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        return self._source.area

    def runs(self, height: int) -> Runs:
        """As they are known."""
        return self._source

    def moved(self, right: int, down: int) -> Segment:
        """As :meth:`Segment.moved`."""
        x0, y0, x1, y1 = self.box
        return Segment(self.label_id, self.score, (x0 + right, y0 + down, x1 + right, y1 + down), self.mask)


MAX_IDS = 65_535


def paint(segments: Sequence[Segment], height: int, width: int) -> np.ndarray:
    """The id map of objects: 1 + index of the topmost, 0 none. Earlier segments lie on top, so the best score wins.

    Args:
        segments: objects with masks, best first.
        height: pixels.
        width: pixels.

    Returns:
        (height, width), uint8 for up to 255 objects, else uint16.

    Raises:
        ValueError: more objects than a 16-bit map can name.
    """
    if len(segments) > MAX_IDS:
        raise ValueError(f"An id map names at most {MAX_IDS} objects, but got {len(segments)}.")
    id_map = np.zeros((height, width), dtype=np.uint8 if len(segments) <= 255 else np.uint16)
    for index in range(len(segments) - 1, -1, -1):
        x0, y0, x1, y1 = segments[index].box
        id_map[y0:y1, x0:x1][segments[index].mask] = index + 1
    return id_map


def paint_confidence(id_map: np.ndarray, segments: Sequence[Segment], candidates: Sequence[Segment]) -> np.ndarray:
    """How sure an instance result is of each pixel: 255 times a probability.

    A pixel belongs to an object with the probability score * mask probability. Where an object is shown, that of the
    object is taken; elsewhere that of no candidate at all: 1 - the largest of any. So both sides of a mask's edge are in
    doubt, and so is the place of a candidate whose score just misses the threshold.

    Args:
        id_map: (H, W), of :func:`paint`.
        segments: those that were painted, with ``soft`` masks.
        candidates: all objects that were considered, the painted ones among them, with ``soft`` masks.

    Returns:
        uint8 (H, W).
    """
    confidence = np.zeros(id_map.shape, dtype=np.uint8)
    for segment in candidates:
        x0, y0, x1, y1 = segment.soft.box
        window = confidence[y0:y1, x0:x1]
        np.maximum(window, _evidence(segment), out=window)
    np.subtract(255, confidence, out=confidence)
    for index, segment in enumerate(segments):
        x0, y0, x1, y1 = segment.soft.box
        shown = id_map[y0:y1, x0:x1] == index + 1
        np.copyto(confidence[y0:y1, x0:x1], _evidence(segment), where=shown)
    return confidence


def _evidence(segment: Segment) -> np.ndarray:
    """Score times mask probability: uint8, the shape of the soft mask."""
    score = 1.0 if segment.score is None else segment.score
    return np.rint(score * np.arange(256)).astype(np.uint8)[segment.soft.values]


__all__ = [
    "INSTANCE", "MAX_IDS", "PANOPTIC", "REGION", "SEMANTIC", "SOURCES", "TASKS", "LabelSet", "Limit", "ModelSpec", "Segment", "Segmentation",
    "SoftMask", "Task", "distinct_colors", "learnt_tasks", "paint", "register_task", "semantic_segmentation", "tight_box",
]  # fmt: skip

SOURCES = ("bundled", "hub", "torchvision", "folder", "builtin")


@dataclass(frozen=True)
class Task:
    """What a segmentation says about a picture. JSON, files and the API have its name; everything else asks these.

    Attributes:
        name: of the table :data:`TASKS`.
        segment: what one segment is called: ``class``, ``object`` or ``region``.
        title: key of its words on the page, if that is not its name.
        objects: its segments are separate things, and the id map holds 1 + index of the topmost one, 0 for none. Otherwise there is
            one segment per class present, background included, and the id map holds label ids.
        overlaps: segments may cover each other, so each has a mask of its own.
        scores: segments have scores, by which a threshold chooses among them.
        metric: of :mod:`train.metrics`, by which trained networks are compared; None where nothing can be learnt.
        stuff: its segments are things one by one, and of a class that is stuff one for all of it.
    """

    name: str
    segment: str = "object"
    title: str = ""
    objects: bool = True
    overlaps: bool = False
    scores: bool = False
    metric: str | None = None
    stuff: bool = False

    @property
    def learnt(self) -> bool:
        """Whether its segments have classes, which networks can be taught; otherwise it is of methods without classes."""
        return self.metric is not None

    @property
    def classes(self) -> bool:
        """Whether every pixel has a class and that is all: no objects are told apart."""
        return not self.objects and not self.stuff


SEMANTIC = Task("semantic", segment="class", objects=False, metric="mean_iou")
INSTANCE = Task("instance", overlaps=True, scores=True, metric="mask_ap")
PANOPTIC = Task("panoptic", segment="segment", metric="pq", stuff=True)
REGION = Task("region", segment="region", title="regions")
TASKS: dict[str, Task] = {task.name: task for task in (SEMANTIC, INSTANCE, PANOPTIC, REGION)}


def register_task(task: Task) -> None:
    """Add a task that is not in the table.

    Raises:
        ValueError: one of its name is there already.
    """
    if task.name in TASKS:
        raise ValueError(f"There are two tasks {task.name!r}. Rename one of them.")
    TASKS[task.name] = task


def learnt_tasks() -> tuple[Task, ...]:
    """The tasks that networks answer, in the order of the page's tabs."""
    return tuple(task for task in TASKS.values() if task.learnt)


@dataclass(frozen=True)
class ModelSpec:
    """A model that a person can pick.

    Attributes:
        id: menu key, Hub id (``user/repo``) or folder.
        revision: branch, tag or commit of a Hub repo, or None for the default branch.
        task: of :data:`TASKS`; what it answers unless something else is asked for.
        architecture: family of networks (:data:`seg_demo.networks.FAMILIES`) or ``classical``; empty while a typed id has not been looked at.
        title: a few words for the menu.
        licence: SPDX id or the name of the licence of the weights; empty if not stated.
        source: one of ``bundled``, ``hub``, ``torchvision``, ``folder``, ``builtin``.
        labels: class names as far as they are known before loading.
        about: one or two sentences: what it is good at.
        notes: what was understood or left out when it was loaded, a sentence each.
        tasks: all that it answers; empty where ``task`` is all.
        channels: of the pictures that it takes, as far as that is known before loading: 3 for red, green and blue.
    """

    id: str
    revision: str | None
    task: str
    architecture: str
    title: str
    licence: str
    source: str
    labels: tuple[str, ...] = ()
    about: str = ""
    notes: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    channels: int = 3

    def __post_init__(self) -> None:
        if unknown := [task for task in (self.task, *self.tasks) if task not in TASKS]:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, but got {unknown[0]!r}.")
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, but got {self.source!r}.")

    @property
    def key(self) -> str:
        """What it is asked for by: its id, and after an @ the revision; :func:`seg_demo.hub.client.parse_id` takes that apart."""
        return self.id if self.revision is None else f"{self.id}@{self.revision}"

    def answers(self, task: str) -> bool:
        """Whether it has a task."""
        return task == self.task or task in self.tasks


@dataclass(frozen=True)
class Limit:
    """That a detector stopped at a number of objects, and what it may have left out.

    Attributes:
        objects: so many were kept, of a picture or of a tile of it.
        score: in [0, 1]; what was cut off scores no higher.
    """

    objects: int
    score: float


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One segmented image, at the size of the upload whatever the network saw. No segments at all is legal.

    Attributes:
        task: ``semantic``, ``instance``, ``panoptic`` or ``region``.
        height: pixels.
        width: pixels.
        labels: the classes.
        id_map: (height, width), uint8 or uint16. Semantic: the label id. Otherwise 1 + index of the topmost segment, 0 none.
        segments: semantic: one per class present, by label id; otherwise one per object, by falling score.
        model: what made it, or None.
        device: where it was computed, such as ``cpu`` or ``cuda:0``, or None.
        seconds: duration of the stages, ``total`` among them.
        confidence: uint8 (height, width), 255 times the probability that the id map is right at a pixel: semantic, the softmax of
            the class; instance, see :func:`seg_demo.core.types.paint_confidence` and, of class queries,
            :func:`seg_demo.masks.instances.presence`; panoptic, :class:`seg_demo.masks.queries.Found`. None unless asked for, and for regions.
        margin: uint8 (height, width), semantic: 255 times how far the probability of the pixel's class lies above that of the
            runner-up. None for other tasks, whose decisions are between two, and without confidence.
        seen: (height, width) in pixels that the whole image was resized to for the network, its padding left out; None in full detail and without a network.
        notes: what to know of how the picture was read, in English sentences: which page or channels were taken, where it holds
            no data; and whether it is unlike what the model knows. Empty for an ordinary photo.
        limit: where a detector stopped at a number of objects although there may be more; else None.
        familiar: whether the picture is like those in which the model learnt to find things; None where that is not known.
        outputs: what a network of class queries said, for :meth:`seg_demo.networks.base.Network.again`; None unless that is kept.
        view: what of the file was looked at; None for photographs.
        calibration: size and place of its pixels, where the file says so.
        thresholds: in [0, 1], by which its segments were chosen, by :data:`seg_demo.core.requests.THRESHOLDS`; empty where there are none.
    """

    task: str
    height: int
    width: int
    labels: LabelSet
    id_map: np.ndarray
    segments: tuple[Segment, ...]
    model: ModelSpec | None = None
    device: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    confidence: np.ndarray | None = None
    margin: np.ndarray | None = None
    seen: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    limit: Limit | None = None
    familiar: bool | None = None
    outputs: tuple[np.ndarray, ...] | None = None
    view: View | None = None
    calibration: Calibration | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.segments))
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, but got {self.task!r}.")
        if self.id_map.dtype not in (np.uint8, np.uint16) or self.id_map.shape != (self.height, self.width):
            wanted = f"uint8 or uint16 of shape ({self.height}, {self.width})"
            raise ValueError(f"id_map must be {wanted}, but got {self.id_map.dtype} {self.id_map.shape}.")
        for name, sure in (("confidence", self.confidence), ("margin", self.margin)):
            if sure is not None and (sure.dtype != np.uint8 or sure.shape != (self.height, self.width)):
                wanted = f"uint8 of shape ({self.height}, {self.width})"
                raise ValueError(f"{name} must be {wanted}, but got {sure.dtype} {sure.shape}.")
        for segment in self.segments:
            if not 0 <= segment.label_id < len(self.labels):
                raise ValueError(f"label id {segment.label_id} is outside the {len(self.labels)} classes.")
            if segment.box[2] > self.width or segment.box[3] > self.height:
                raise ValueError(f"box {segment.box} leaves the image of {self.width} x {self.height} pixels.")
            if TASKS[self.task].overlaps and not segment.has_mask:
                raise ValueError(f"a segment of a {self.task} result needs a mask, but got None.")

    def __getstate__(self) -> dict[str, object]:
        """The fields, for pickle; what is counted of them when asked for is counted anew, and may be so meanwhile by another thread."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def ids(self) -> tuple[int, ...]:
        """The value of each segment in the id map, in the order of ``segments``."""
        if not TASKS[self.task].objects:
            return tuple(segment.label_id for segment in self.segments)
        return tuple(range(1, len(self.segments) + 1))

    @cached_property
    def areas(self) -> tuple[int, ...]:
        """Pixels of each segment's own mask (overlapping objects count fully), in the order of ``segments``."""
        task = TASKS[self.task]
        if not task.objects:
            counts = count_ids(self.id_map, len(self.labels))
            return tuple(int(counts[segment.label_id]) for segment in self.segments)
        if task.overlaps:
            return tuple(segment.area for segment in self.segments)
        return tuple(count_ids(self.id_map, len(self.segments) + 1)[1 : len(self.segments) + 1].tolist())

    @cached_property
    def confidence_sums(self) -> np.ndarray | None:
        """Sum of the confidence over the pixels of every id of the id map, float64 (N,) in steps of 1/255; None without one."""
        return None if self.confidence is None else sum_by_id(self.id_map, self.confidence) / 255

    @property
    def margins(self) -> np.ndarray | None:
        """How clearly each pixel was decided, what the viewer's doubt is the opposite of: uint8 (height, width), 255 times
        ``margin``, or for objects, where a pixel belongs to one or not, twice its confidence less 1; None without confidence."""
        if self.margin is not None or self.confidence is None:
            return self.margin
        return np.maximum(2 * np.arange(256) - 255, 0).astype(np.uint8)[self.confidence]

    @cached_property
    def margin_sums(self) -> np.ndarray | None:
        """Sum of the margins over the pixels of every id of the id map, as ``confidence_sums``."""
        return None if self.confidence is None else sum_by_id(self.id_map, self.margins) / 255

    def mask_of(self, index: int) -> np.ndarray:
        """The mask of one segment within its box.

        Args:
            index: position in ``segments``.

        Returns:
            bool (y1 - y0, x1 - x0).
        """
        segment = self.segments[index]
        mask = segment.mask
        if mask is not None:
            return mask
        x0, y0, x1, y1 = segment.box
        return self.id_map[y0:y1, x0:x1] == self.ids[index]

    def runs_of(self, index: int) -> Runs:
        """The mask of one segment, a position in ``segments``, as runs down the columns of the image."""
        segment = self.segments[index]
        return segment.runs(self.height) if segment.has_mask else Runs.of_crop(self.mask_of(index), segment.box, self.height)

    def above(self, threshold: float) -> Segmentation:
        """The same result with only the objects whose score reaches the threshold; no network runs.

        Args:
            threshold: score in [0, 1]. Results of tasks without scores, and objects without one, are kept as they are.

        Returns:
            A result whose confidence, if there is one, counts the objects left out as doubt about the pixels below them.
        """
        if not TASKS[self.task].scores:
            return self
        kept = tuple(s for s in self.segments if s.score is None or s.score >= threshold)
        # Of the first ones, as of objects by score, whoever is on top of a pixel stays there: no mask has to be made again.
        first, size = all(mine is other for mine, other in zip(kept, self.segments, strict=False)), np.min_scalar_type(len(kept))
        id_map = (self.id_map * (self.id_map <= len(kept))).astype(size) if first else paint(kept, self.height, self.width)
        confidence = self.confidence
        if confidence is not None and self.segments and self.segments[0].soft is not None:
            confidence = paint_confidence(id_map, kept, self.segments)
        elif confidence is not None:
            # It is of there being an object, or none: where one is left out, the chance that it is right to leave it out.
            confidence = np.where((id_map > 0) == (self.id_map > 0), confidence, 255 - confidence)
        # What a limit cut off would be left out here too, if it scores lower than what is asked for.
        limit = self.limit if self.limit is not None and threshold <= self.limit.score else None
        return replace(self, segments=kept, id_map=id_map, confidence=confidence, limit=limit)

    def to_dict(self) -> dict[str, object]:
        """The result as JSON-able data, with one COCO compressed RLE per segment.

        Returns:
            ``task``, ``model``, ``width``, ``height``, ``device``, ``seconds``, ``familiar`` (whether the picture
            is like those that the model learnt from, or None), ``notes``, ``limit`` (so many objects at most were kept and
            there may be more, else None) and ``segments``; a segment's ``id`` is its value in the id map, ``bbox`` is
            COCO's [x, y, width, height] in pixels, ``area`` is in pixels. ``model`` has ``notes`` where something of it was
            understood or left out. A segment of a panoptic result has ``isthing``. Where the file says so, ``view`` (what of it was looked at),
            ``pixel_size`` and ``unit``, ``crs``, and of every segment ``area_units``, in square units.
        """
        model = self.model
        named = model and {"id": model.id, "revision": model.revision, "architecture": model.architecture, "source": model.source}
        if model and model.notes:
            named["notes"] = list(model.notes)
        pixels, calibration = self.height * self.width, self.calibration
        unit = None if calibration is None else calibration.pixel_area
        segments, encoded = [], encode_each(map(self.runs_of, range(len(self.segments))), self.width)
        for identity, segment, area, runs in zip(self.ids, self.segments, self.areas, encoded, strict=True):
            x0, y0, x1, y1 = segment.box
            segments.append({
                "id": identity, "label_id": segment.label_id, "label": self.labels.names[segment.label_id], "score": segment.score, "area": area,
                "area_fraction": area / pixels, "bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": runs,
            })  # fmt: skip
            if TASKS[self.task].stuff:
                segments[-1]["isthing"] = self.labels.is_thing(segment.label_id)
            if unit is not None:
                segments[-1]["area_units"] = area * unit
        return {
            "task": self.task, "model": named, "width": self.width, "height": self.height, "device": self.device, "seconds": dict(self.seconds),
            "familiar": self.familiar, "notes": list(self.notes), "limit": None if self.limit is None else self.limit.objects,
            **({} if self.view is None else {"view": self.view.to_dict()}), **({} if calibration is None else calibration.to_dict()), "segments": segments,
        }  # fmt: skip


def mean_scores(parts: np.ndarray) -> dict[int, float]:
    """Softmax probability in [0, 1] per label id: the mean over the points where the class is the largest, or, where it is so only between points, its
    largest value.

    Args:
        parts: float64 (..., 3, C): points, sum and largest probability of each class, of one or more pieces of a picture.
    """
    count, total, largest = np.moveaxis(parts, -2, 0).reshape(3, -1, parts.shape[-1])
    points = count.sum(0)
    return dict(enumerate(np.where(points > 0, total.sum(0) / np.maximum(points, 1), largest.max(0)).clip(0, 1).tolist()))


def extents(id_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of every id and the box around them, from the runs of equal ids in each row: maps are made of long ones.

    Args:
        id_map: uint8 or uint16 (H, W).

    Returns:
        Counts int64 (N,) and half-open boxes int64 (N, 4), x0 y0 x1 y1, N as many as the dtype can name. The box of an id that does not occur means nothing.
    """
    height, width = id_map.shape
    count = np.iinfo(id_map.dtype).max + 1
    pixels = np.zeros(count, dtype=np.int64)
    boxes = np.tile(np.array([width, height, 0, 0], dtype=np.int64), (count, 1))
    left, top, right, bottom = boxes.T
    step = max(1, _RUN_PIXELS // max(1, width))
    for first in range(0, height, step):
        strip = np.ascontiguousarray(id_map[first : first + step])
        begins = np.ones(strip.shape, dtype=bool)
        np.not_equal(strip[:, 1:], strip[:, :-1], out=begins[:, 1:])
        starts = np.flatnonzero(begins)
        ids, lengths = strip.reshape(-1)[starts], np.diff(starts, append=strip.size)
        found = np.bincount(ids, weights=lengths)
        pixels[: found.size] += found.astype(np.int64)
        rows, columns = np.divmod(starts, width)
        np.minimum.at(left, ids, columns)
        np.maximum.at(right, ids, columns + lengths)
        # Runs come row by row, and the last of several assignments stays.
        bottom[ids] = first + rows + 1
        earliest = np.full(count, height)
        earliest[ids[::-1]] = first + rows[::-1]
        np.minimum(top, earliest, out=top)
    return pixels, boxes


def semantic_segmentation(
    id_map: np.ndarray, labels: LabelSet, scores: dict[int, float] | None = None, confidence: np.ndarray | None = None, margin: np.ndarray | None = None
) -> Segmentation:
    """A semantic result from its label map: one segment per class present, background included.

    Args:
        id_map: uint8 or uint16 (H, W), label ids.
        labels: the classes.
        scores: mean confidence per label id in [0, 1], where known.
        confidence: uint8 (H, W), 255 times the probability of each pixel's class, or None.
        margin: uint8 (H, W), 255 times how far that lies above the probability of the runner-up, or None.

    Raises:
        ValueError: a label id outside the classes.
    """
    height, width = id_map.shape
    pixels, boxes = extents(id_map)
    segments = []
    for label_id in np.flatnonzero(pixels).tolist():
        score = None if scores is None else scores.get(label_id)
        segments.append(Segment(label_id, score, tuple(boxes[label_id].tolist()), None))
    return Segmentation(SEMANTIC.name, height, width, labels, id_map, tuple(segments), confidence=confidence, margin=margin)

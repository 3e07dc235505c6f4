"""The types that cross rooms: class names, one segment, one segmented image, one model on the menu.

numpy only; each is validated where it is made, so what arrives anywhere else is right by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from seg_demo.labels import LabelSet, distinct_colors
from seg_demo.painting import MAX_IDS, count_ids, extents, paint, paint_confidence, sum_by_id, tight_box
from seg_demo.rle import encode_crop
from seg_demo.segments import Segment, SoftMask

__all__ = [
    "MAX_IDS", "SOURCES", "TASKS", "LabelSet", "Limit", "ModelSpec", "Segment", "Segmentation", "SoftMask", "distinct_colors", "paint",
    "semantic_segmentation", "tight_box",
]  # fmt: skip

TASKS = ("semantic", "instance", "region")
SOURCES = ("bundled", "hub", "torchvision", "folder", "builtin")


@dataclass(frozen=True)
class ModelSpec:
    """A model that a person can pick.

    Attributes:
        id: menu key, Hub id (``user/repo``) or folder.
        revision: branch, tag or commit of a Hub repo, or None for the default branch.
        task: one of ``semantic``, ``instance``, ``region``.
        architecture: row of the table of networks (``unet``, ``fcn``, ``segformer``, ``maskrcnn``) or ``classical``;
            empty while a typed id has not been looked at.
        title: a few words for the menu.
        licence: SPDX id or the name of the licence of the weights; empty if not stated.
        source: one of ``bundled``, ``hub``, ``torchvision``, ``folder``, ``builtin``.
        labels: class names as far as they are known before loading.
        about: one or two sentences: what it is good at.
        notes: what was understood or left out when it was loaded, a sentence each.
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

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, but got {self.task!r}.")
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, but got {self.source!r}.")


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
        task: ``semantic``, ``instance`` or ``region``.
        height: pixels.
        width: pixels.
        labels: the classes.
        id_map: (height, width), uint8 or uint16. Semantic: the label id. Otherwise 1 + index of the topmost segment, 0 none.
        segments: semantic: one per class present, by label id; otherwise one per object, by falling score.
        model: what made it, or None.
        device: where it was computed, such as ``cpu`` or ``cuda:0``, or None.
        seconds: duration of the stages, ``total`` among them.
        confidence: uint8 (height, width), 255 times the probability that the id map is right at a pixel: semantic, the softmax of
            the class; instance, see :func:`seg_demo.painting.paint_confidence`. None unless it was asked for, and for
            regions, which have none.
        margin: uint8 (height, width), semantic: 255 times how far the probability of the pixel's class lies above that of the
            runner-up. None for other tasks, whose decisions are between two, and without confidence.
        seen: (height, width) in pixels that the whole image was resized to for the network, its padding left out; None in full
            detail and without a network.
        notes: what to know of how the picture was read, in English sentences: which page or channels were taken, where it holds
            no data; and whether it is unlike what the model knows. Empty for an ordinary photo.
        limit: where a detector stopped at a number of objects although there may be more; else None.
        familiar: whether the picture is like those in which the model learnt to find things; None where that is not known.
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
            if self.task == "instance" and not segment.has_mask:
                raise ValueError(f"a segment of a {self.task} result needs a mask, but got None.")

    def __getstate__(self) -> dict[str, object]:
        """The fields, for pickle; what is counted of them when asked for is counted anew, and may be so meanwhile by another thread."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def ids(self) -> tuple[int, ...]:
        """The value of each segment in the id map, in the order of ``segments``."""
        if self.task == "semantic":
            return tuple(segment.label_id for segment in self.segments)
        return tuple(range(1, len(self.segments) + 1))

    @cached_property
    def areas(self) -> tuple[int, ...]:
        """Pixels of each segment's own mask (overlapping objects count fully), in the order of ``segments``."""
        if self.task == "semantic":
            counts = count_ids(self.id_map, len(self.labels))
            return tuple(int(counts[segment.label_id]) for segment in self.segments)
        if self.task == "region":
            return tuple(count_ids(self.id_map, len(self.segments) + 1)[1 : len(self.segments) + 1].tolist())
        return tuple(int(np.count_nonzero(segment.mask)) for segment in self.segments)

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
        return self.id_map[y0:y1, x0:x1] == segment.label_id

    def above(self, threshold: float) -> Segmentation:
        """The same result with only the objects whose score reaches the threshold; no network runs.

        Args:
            threshold: score in [0, 1]. Semantic results, regions, and objects without a score are kept as they are.

        Returns:
            A result whose confidence, if there is one, counts the objects left out as doubt about the pixels below them.
        """
        if self.task != "instance":
            return self
        kept = tuple(s for s in self.segments if s.score is None or s.score >= threshold)
        id_map = paint(kept, self.height, self.width)
        confidence = self.confidence
        if confidence is not None:
            confidence = paint_confidence(id_map, kept, self.segments)
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
            understood or left out.
        """
        model = self.model
        named = model and {"id": model.id, "revision": model.revision, "architecture": model.architecture, "source": model.source}
        if model and model.notes:
            named["notes"] = list(model.notes)
        pixels = self.height * self.width
        segments = []
        for index, (identity, segment, area) in enumerate(zip(self.ids, self.segments, self.areas, strict=True)):
            x0, y0, x1, y1 = segment.box
            segments.append(
                {
                    "id": identity,
                    "label_id": segment.label_id,
                    "label": self.labels.names[segment.label_id],
                    "score": segment.score,
                    "area": area,
                    "area_fraction": area / pixels,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "segmentation": encode_crop(self.mask_of(index), segment.box, self.height, self.width),
                }
            )
        return {
            "task": self.task,
            "model": named,
            "width": self.width,
            "height": self.height,
            "device": self.device,
            "seconds": dict(self.seconds),
            "familiar": self.familiar,
            "notes": list(self.notes),
            "limit": None if self.limit is None else self.limit.objects,
            "segments": segments,
        }


def semantic_segmentation(
    id_map: np.ndarray,
    labels: LabelSet,
    scores: dict[int, float] | None = None,
    confidence: np.ndarray | None = None,
    margin: np.ndarray | None = None,
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
    return Segmentation("semantic", height, width, labels, id_map, tuple(segments), confidence=confidence, margin=margin)

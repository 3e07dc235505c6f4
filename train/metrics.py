"""The metrics of held-out images: of label maps (IoU, Dice, boundary IoU), of objects (COCO's average precision), of things and stuff (PQ);
and of a network that is clicked: clicks that a program sets where the answer is most wrong, counted until it is right."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as coco_mask
from scipy import ndimage

from seg_demo.annotations.listing import Sample
from seg_demo.core import INSTANCE, PANOPTIC, TASKS, LabelSet, Segment, Segmentation, extents, ignore_id, paint, tight_box
from seg_demo.inference.model import Model
from seg_demo.masks.compare import PanopticQuality, SegmentMap, confusion, match_segments, segment_map
from seg_demo.networks import CLICKED
from seg_demo.networks.promptable import central_pixel, next_click

if TYPE_CHECKING:
    from seg_demo.annotations.listing import Sample

BOUNDARY_RATIO = 0.02


class SemanticMeter:
    """Adds up pixels image by image; the metrics are those of the data set as a whole, not means over images.

    Classes are matched by name. What the network calls by a name that the data does not know counts as wrong wherever it
    is painted. A class that is in neither truth nor predictions has no score: it is left out of the means and of the
    result. A class that is only ever painted by mistake has 0.

    Args:
        truth: classes of the data; their ids are those in the label maps.
        predicted: classes of the network; their ids are those in its id maps. None if they are the same.

    Attributes:
        things: mean IoU of the image that was added last without the background, in [0, 1]; 1 if it has nothing but
            background and nothing else is painted, NaN if all of it is ignored.
    """

    def __init__(self, truth: LabelSet, predicted: LabelSet | None = None) -> None:
        self.labels = truth
        self._translate = same_names(truth, predicted or truth)
        count = len(truth)
        self._confusion = np.zeros((count + 1, count + 1), dtype=np.int64)
        self._boundary = np.zeros((2, count), dtype=np.int64)
        self.things = math.nan

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """Count one image.

        Args:
            truth: uint8 or uint16 (H, W), class ids of the data; 255 (65535 in uint16) is ignored.
            prediction: uint8 or uint16 (H, W), class ids of the network.

        Returns:
            The mean IoU of this image alone over the classes in it, in [0, 1]; NaN if all of it is ignored.
        """
        count = len(self.labels)
        ignored = truth == ignore_id(truth.dtype)
        # One value beyond the classes stands for unknown names, one more for what is ignored, on both sides.
        target = np.where(ignored, count + 1, truth).astype(np.uint16)
        guess = np.where(ignored, count + 1, self._translate[prediction]).astype(np.uint16)
        added = confusion(target, guess, count + 1, ignore=count + 1)
        self._confusion += added
        self._boundary += boundary_counts(target, guess, count)
        ious = _ious(added)
        things = ious if self.labels.background is None else np.delete(ious, self.labels.background)
        self.things = math.nan if np.isnan(ious).all() else 1.0 if np.isnan(things).all() else float(np.nanmean(things))
        return float(np.nanmean(ious)) if not np.isnan(ious).all() else math.nan

    def result(self) -> dict[str, float]:
        """The metrics so far, all in [0, 1].

        Returns:
            ``mean_iou``, ``mean_dice``, ``pixel_accuracy``, ``boundary_iou`` (the mean over the classes), and ``iou/NAME``,
            ``dice/NAME``, ``boundary_iou/NAME`` for each class that occurs. What has no value is left out, so that the
            result is valid JSON.
        """
        ious = _ious(self._confusion)
        # Dice = 2 TP / (2 TP + FP + FN) = 2 IoU / (1 + IoU).
        dices = 2 * ious / (1 + ious)
        common, either = self._boundary
        boundaries = np.divide(common, either, out=np.full(len(common), np.nan), where=either > 0)
        total = self._confusion.sum()
        values = {"mean_iou": _mean(ious), "mean_dice": _mean(dices), "boundary_iou": _mean(boundaries)}
        values["pixel_accuracy"] = float(np.trace(self._confusion[:-1, :-1]) / total) if total else math.nan
        for kind, scores in (("iou", ious), ("dice", dices), ("boundary_iou", boundaries)):
            values |= {f"{kind}/{name}": float(score) for name, score in zip(self.labels.names, scores, strict=True)}
        return {name: value for name, value in values.items() if not math.isnan(value)}


def _ious(counts: np.ndarray) -> np.ndarray:
    """IoU per class, float64 (K,), NaN for absent ones, of a confusion matrix (K + 1, K + 1) whose last class is unknown."""
    hits = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return np.divide(hits, either, out=np.full(len(hits), np.nan), where=either > 0)[:-1]


def _mean(values: np.ndarray) -> float:
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


def same_names(truth: LabelSet, predicted: LabelSet) -> np.ndarray:
    """For each class of a network the class of the data with the same name.

    Args:
        truth: classes of the data.
        predicted: classes of the network.

    Returns:
        uint16 (number of the network's classes,): ids of the data's classes; their number K where no name fits. Names are
        compared without regard to case and surrounding blanks.

    >>> data = LabelSet.from_names(["background", "cell"])
    >>> same_names(data, LabelSet.from_names(["Cell", "border", "background"])).tolist()
    [1, 2, 0]
    """
    if truth.names == predicted.names:
        return np.arange(len(truth), dtype=np.uint16)
    ids = {name.strip().casefold(): index for index, name in reversed(list(enumerate(truth.names)))}
    return np.array([ids.get(name.strip().casefold(), len(truth)) for name in predicted.names], dtype=np.uint16)


def boundary_counts(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of boundary intersections and unions per class, for boundary IoU (Cheng et al., CVPR 2021).

    A mask's boundary is what an erosion by d pixels takes away, where d is 2 % of the image's diagonal (at least 1), the
    image's own edge included. A pixel survives the erosion of its class exactly if the (2 d + 1)-wide square around it holds
    one value only, which is asked once for all classes.

    Args:
        truth: integer (H, W), class ids; values from ``classes`` on are counted for no class.
        prediction: integer (H, W), likewise.
        classes: number of classes K.

    Returns:
        int64 (2, K): pixels in both boundaries, and in either, where both masks of the class are cut to their boundary.

    A 3 x 3 image has d = 1: all its pixels but the centre are boundary.

    >>> full = np.zeros((3, 3), int)
    >>> boundary_counts(full, full, 1).tolist()
    [[8], [8]]
    >>> dot = full.copy(); dot[1, 1] = 1   # one pixel of class 1 makes all of class 0 boundary
    >>> boundary_counts(full, dot, 2).tolist()
    [[8, 0], [8, 1]]
    """
    edges = []
    for label_map in (truth, prediction):
        edges.append(np.where(_on_boundary(label_map), label_map, classes).astype(np.int64))
    sizes = [np.bincount(edge.ravel(), minlength=classes)[:classes] for edge in edges]
    common = np.bincount(edges[0][edges[0] == edges[1]], minlength=classes)[:classes]
    return np.stack([common, sizes[0] + sizes[1] - common])


def _on_boundary(label_map: np.ndarray) -> np.ndarray:
    """Where the square around a pixel leaves the image or holds more than one value, bool (H, W)."""
    height, width = label_map.shape
    reach = max(1, round(BOUNDARY_RATIO * math.hypot(height, width)))
    # A square holds one value if each of its rows does, and the column through its centre does.
    down = np.ones((height, width), dtype=bool)
    across = np.ones((height, width), dtype=bool)
    np.not_equal(label_map[1:], label_map[:-1], out=down[1:])
    np.not_equal(label_map[:, 1:], label_map[:, :-1], out=across[:, 1:])
    rows = _unmarked(across.T, 1 - reach, reach).T
    return ~(_unmarked(~rows, -reach, reach) & _unmarked(down, 1 - reach, reach))


def _unmarked(marks: np.ndarray, first: int, last: int) -> np.ndarray:
    """Where none of the rows from ``first`` to ``last`` (relative, inclusive) is marked or outside, bool as ``marks``."""
    length = last - first + 1
    clear = np.zeros(marks.shape, dtype=bool)
    if len(marks) < length:
        return clear
    # Windows of 1, 2, 4, ... rows, each from two halves; the last two overlap.
    marked, wide = marks, 1
    while 2 * wide <= length:
        marked = marked[:-wide] | marked[wide:]
        wide *= 2
    count = len(marks) - length + 1
    begin = -first  # in both uses the window reaches back
    clear[begin : begin + count] = ~(marked[:count] | marked[length - wide : length - wide + count])
    return clear


# The per-image score asks what a person at the default threshold sees.
SHOWN_SCORE = 0.5
MATCH_IOU = 0.5
# COCO looks at so many candidates of a class in an image. A perfect detector of 256 objects has an AP50 of 0.39 then.
STANDARD_CAP = 100


class InstanceMeter:
    """Collects objects as compressed run lengths and computes COCO's average precision over all of them.

    As COCO does, pixels that are not labelled forgive what is painted there, and at most the 100 best candidates of a class
    in an image count; but where an image holds more objects of a class than that, all candidates do, and the standard
    figures stand beside. Objects whose class the network does not know are missed; candidates of classes that the data does not
    know are left out.

    Args:
        truth: classes of the data.
        predicted: classes of the network. None if they are the same.
    """

    def __init__(self, truth: LabelSet, predicted: LabelSet | None = None) -> None:
        self.labels = truth
        self._translate = same_names(truth, predicted or truth)
        self._images: list[dict[str, int]] = []
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []
        self._shown = np.zeros(3, dtype=np.int64)

    def add(self, sample: Sample, prediction: Segmentation) -> float:
        """Count one image.

        Args:
            sample: with an instance map.
            prediction: all candidates with their scores, however low.

        Returns:
            F1 of this image alone, in [0, 1]: objects matched at an IoU of 0.5 among the candidates with a score of at
            least 0.5 that are found or lie mostly on labelled pixels. An image without any object, painted without any, has 1.
        """
        truth = true_objects(sample, self.labels)
        identity = len(self._images) + 1
        self._images.append({"id": identity, "height": truth.height, "width": truth.width})
        objects = [_annotation(identity, s, s.label_id, truth) for s in truth.segments]
        for number, thing in enumerate(objects, start=len(self._truth) + 1):
            self._truth.append(thing | {"id": number, "iscrowd": 0})
        unlabelled = self._add_unlabelled(identity, sample)
        candidates = []
        for segment in prediction.segments:
            label_id = int(self._translate[segment.label_id])
            if label_id < len(self.labels):
                found = _annotation(identity, segment, label_id, prediction)
                candidates.append(found | {"score": 1.0 if segment.score is None else float(segment.score)})
        self._found += candidates
        shown = [candidate for candidate in candidates if candidate["score"] >= SHOWN_SCORE]
        hits, forgiven = _hits(objects, unlabelled, shown)
        total = len(objects) + len(shown) - forgiven
        self._shown += (hits, len(objects), len(shown) - forgiven)
        return 2 * hits / total if total else 1.0

    def _add_unlabelled(self, identity: int, sample: Sample) -> list[dict[str, Any]]:
        """COCO's way to say "nobody knows what is here": one crowd region per class. Of these, which are alike, the last or none."""
        unknown = sample.label_map == ignore_id(sample.label_map.dtype)
        box = tight_box(unknown)
        if box is None:
            return []
        height, width = unknown.shape
        region = Segment(0, None, box, unknown[box[1] : box[3], box[0] : box[2]])
        whole = Segmentation(INSTANCE.name, height, width, self.labels, np.zeros((height, width), np.uint8), (region,))
        for label_id in range(len(self.labels)):
            crowd = _annotation(identity, region, label_id, whole)
            self._truth.append(crowd | {"id": len(self._truth) + 1, "iscrowd": 1})
        return self._truth[-1:]

    def _caps(self) -> tuple[int, int]:
        """COCO's cap on the candidates of a class in an image, and the one that counts here: all where the data holds more."""
        objects = Counter((found["image_id"], found["category_id"]) for found in self._truth if not found["iscrowd"])
        if max(objects.values()) <= STANDARD_CAP:
            return STANDARD_CAP, STANDARD_CAP
        candidates = Counter((found["image_id"], found["category_id"]) for found in self._found)
        return STANDARD_CAP, max((STANDARD_CAP, *candidates.values()))

    def result(self) -> dict[str, float]:
        """The metrics so far, all in [0, 1].

        Returns:
            ``mask_ap`` (mean over IoU 0.50 to 0.95 and over classes), ``mask_ap50``, ``mask_ap75``, ``box_ap``, and
            ``mask_ap/NAME`` for each class that occurs. Where an image holds more than 100 objects of a class, also
            ``mask_ap@100`` and so on for those figures that COCO's cap of 100 candidates changes; and ``accuracy_50``, hits / (hits +
            false + missed) at an IoU of 0.5 among candidates with a score of at least 0.5 over all images, which StarDist calls accuracy
            and Cellpose and the 2018 Data Science Bowl average precision. Empty if the data has no object at all: AP has no value then.
        """
        if not any(not listed["iscrowd"] for listed in self._truth):
            return {}
        categories = [{"id": index, "name": name} for index, name in enumerate(self.labels.names)]
        truth = COCO({"info": {}, "images": self._images, "annotations": self._truth, "categories": categories})
        found = truth.loadRes([dict(listed) for listed in self._found])
        caps = self._caps()
        (capped, masks), (capped_boxes, boxes) = (_precision(truth, found, kind, caps) for kind in ("segm", "bbox"))
        values, standard = _figures(masks, boxes), _figures(capped, capped_boxes)
        values |= {f"{name}@{STANDARD_CAP}": value for name, value in standard.items() if value != values[name]}
        hits, objects, shown = self._shown.tolist()
        values["accuracy_50"] = hits / (objects + shown - hits)
        for index, name in enumerate(self.labels.names):
            if (masks[:, :, index] > -1).any():
                values[f"mask_ap/{name}"] = _average(masks[:, :, index])
        return values


def _precision(truth: COCO, found: COCO, kind: str, caps: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Interpolated precision under each cap, float64 (10 IoU thresholds, 101 recalls, K classes), -1 for classes without objects."""
    evaluation = COCOeval_faster(truth, found, iouType=kind, print_function=_say_nothing)
    evaluation.params.maxDets = [1, *caps]
    evaluation.evaluate()
    evaluation.accumulate()
    # Areas of all sizes are the first.
    precision = evaluation.eval["precision"][:, :, :, 0]
    return precision[..., 1], precision[..., 2]


def _figures(masks: np.ndarray, boxes: np.ndarray) -> dict[str, float]:
    return {
        "mask_ap": _average(masks),
        "mask_ap50": _average(masks[0]),
        "mask_ap75": _average(masks[5]),
        "box_ap": _average(boxes),
    }


def _say_nothing(*_: object) -> None:
    """faster-coco-eval reports its progress to this."""


def _average(precision: np.ndarray) -> float:
    return float(precision[precision > -1].mean())


def _annotation(identity: int, segment: Segment, label_id: int, whole: Segmentation) -> dict[str, Any]:
    (x0, y0, x1, y1), runs = segment.box, segment.runs(whole.height)
    return {
        "image_id": identity,
        "category_id": label_id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": runs.area,
        "segmentation": runs.encoded(whole.width),
    }


def _hits(objects: list[dict[str, Any]], unlabelled: list[dict[str, Any]], candidates: list[dict[str, Any]]) -> tuple[int, int]:
    """How many candidates, best first, take a free object of their class, each the one that it fits best; and how many others lie mostly
    on what is not labelled, which COCO asks of crowds by their intersection with the candidate over its area."""
    others, count = [*objects, *unlabelled], len(objects)
    if not others or not candidates:
        return 0, 0
    rles = [[{**found["segmentation"], "counts": found["segmentation"]["counts"].encode()} for found in side] for side in (candidates, others)]
    overlap = np.asarray(coco_mask.iou(rles[0], rles[1], [0] * count + [1] * len(unlabelled)))
    classes = [np.array([found["category_id"] for found in side], dtype=int) for side in (candidates, objects)]
    overlap[:, :count][classes[0][:, None] != classes[1][None, :]] = 0
    hits = forgiven = 0
    for row in overlap:
        best = int(row[:count].argmax()) if count else 0
        if count and row[best] >= MATCH_IOU:
            hits += 1
            overlap[:, best] = 0
        elif row[count:].max(initial=0) >= MATCH_IOU:
            forgiven += 1
    return hits, forgiven


class PanopticMeter:
    """Adds up panoptic quality (Kirillov et al. 2019, arXiv 1801.00868) by panopticapi's rules.

    Classes are matched by name; what is found of classes that the data does not know is left out.

    Args:
        truth: classes of the data, with what of them are things.
        predicted: classes of the network. None if they are the same.
    """

    def __init__(self, truth: LabelSet, predicted: LabelSet | None = None) -> None:
        self.labels = truth
        ids = enumerate(same_names(truth, predicted or truth).tolist())
        self._ids = {theirs: ours for theirs, ours in ids if ours < len(truth)}
        self._quality = PanopticQuality(len(truth))

    def add(self, sample: Sample, prediction: Segmentation) -> float:
        """Count one image.

        Args:
            sample: with an instance map of its things.
            prediction: of things and stuff.

        Returns:
            The mean PQ of this image alone over the classes in it, in [0, 1]; NaN if nothing in it counts.
        """
        matching = match_segments(true_segments(sample, self.labels), segment_map(prediction, self._ids))
        alone = PanopticQuality(len(self.labels))
        alone.add(matching)
        self._quality.add(matching)
        mean = alone.mean()
        return math.nan if mean is None else mean.pq

    def result(self) -> dict[str, float]:
        """The metrics so far, all in [0, 1].

        Returns:
            ``pq``, ``sq`` (mean IoU of matched segments) and ``rq`` (their F1), means over the classes that occur; ``pq_things`` and
            ``pq_stuff``; and ``pq/NAME``, ``sq/NAME``, ``rq/NAME`` for each class that occurs. What has no value is left out.
        """
        things = np.ones(len(self.labels), dtype=bool) if self.labels.things is None else self.labels.things
        values = {}
        if (mean := self._quality.mean()) is not None:
            values |= {"pq": mean.pq, "sq": mean.sq, "rq": mean.rq}
        for name, ids in (("pq_things", np.flatnonzero(things)), ("pq_stuff", np.flatnonzero(~things))):
            if (part := self._quality.mean(ids.tolist())) is not None:
                values[name] = part.pq
        for index, name in enumerate(self.labels.names):
            if (one := self._quality.of_class(index)) is not None:
                values |= {f"pq/{name}": one.pq, f"sq/{name}": one.sq, f"rq/{name}": one.rq}
        return values


def true_segments(sample: Sample, labels: LabelSet) -> SegmentMap:
    """The things of a sample one by one, its stuff one per class, and its crowds, which only forgive.

    Args:
        sample: with an instance map, whose ``instance_labels`` say the classes.
        labels: classes of the data, with what of them are things.

    Returns:
        Ids: 0 where nothing is known, then the things' own numbers, then stuff and crowds by class.
    """
    segments = true_objects(sample, labels).segments
    numbers = np.unique(sample.instance_map)
    numbers = numbers[numbers > 0].tolist()
    ids = sample.instance_map.astype(np.uint32)
    label_ids = {number: segment.label_id for number, segment in zip(numbers, segments, strict=True)}
    after = int(ids.max()) + 1
    classes = sample.label_map.astype(np.uint32)
    stuff = np.zeros(int(ignore_id(sample.label_map.dtype)) + 1, dtype=bool)
    stuff[: len(labels)] = False if labels.things is None else ~labels.things
    inside = stuff[sample.label_map] & (ids == 0)
    ids[inside] = after + classes[inside]
    label_ids |= {after + label_id: label_id for label_id in np.unique(sample.label_map[inside]).tolist()}
    if sample.crowd is None:
        return SegmentMap(ids, label_ids)
    inside = (sample.crowd > 0) & (ids == 0)
    beyond = after + len(labels) - 1
    ids[inside] = beyond + sample.crowd[inside].astype(np.uint32)
    crowds = {beyond + value: value - 1 for value in np.unique(sample.crowd[inside]).tolist()}
    return SegmentMap(ids, label_ids | crowds, frozenset(crowds))


def true_panoptic(sample: Sample, labels: LabelSet) -> Segmentation:
    """The things and stuff of a sample as a segmentation, without scores and crowds.

    Args:
        sample: as for :func:`true_segments`.
        labels: as for :func:`true_segments`.
    """
    truth = true_segments(sample, labels)
    kept = [identity for identity in truth.label_ids if identity not in truth.crowds]
    table = np.zeros(int(truth.ids.max()) + 1, dtype=np.uint16)
    table[kept] = np.arange(1, len(kept) + 1)
    id_map = table[truth.ids]
    _, boxes = extents(id_map)
    segments = [
        Segment(truth.label_ids[identity], None, tuple(boxes[index].tolist()), None) for index, identity in enumerate(kept, start=1)
    ]
    return Segmentation(PANOPTIC.name, *id_map.shape, labels, id_map, tuple(segments))


def true_objects(sample: Sample, labels: LabelSet) -> Segmentation:
    """The objects of a sample as a segmentation.

    An object's class is what the sample says; where it says nothing, the most frequent class under the object among the
    known ones other than background, else class 1.

    Args:
        sample: with an instance map.
        labels: classes of the data.

    Returns:
        Task ``instance``, segments by their number in the instance map, without scores.

    Raises:
        ValueError: the sample has no instance map.
    """
    if sample.instance_map is None:
        raise ValueError(f"{sample.name or 'sample'}: objects can be evaluated only with an instance map, but it has none.")
    height, width = sample.instance_map.shape
    segments = []
    for number, window in sorted(_windows(sample).items()):
        rows, columns = window
        mask = np.logical_or.reduce([layer[window] == number for layer in sample.layers])
        if sample.instance_labels is not None:
            label_id = int(sample.instance_labels[number])
        else:
            label_id = _class_under(sample.label_map[window][mask], labels)
        segments.append(Segment(label_id, None, (columns.start, rows.start, columns.stop, rows.stop), mask))
    return Segmentation(INSTANCE.name, height, width, labels, paint(segments, height, width), tuple(segments))


def _windows(sample: Sample) -> dict[int, tuple[slice, slice]]:
    """Rows and columns around each object by its number, what lies below others included."""
    found: dict[int, tuple[slice, slice]] = {}
    for layer in sample.layers:
        for number, window in enumerate(ndimage.find_objects(layer), start=1):
            if window is None:
                continue
            known = found.get(number, window)
            found[number] = tuple(
                slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(known, window, strict=True)
            )
    return found


def _class_under(values: np.ndarray, labels: LabelSet) -> int:
    counts = np.bincount(values, minlength=len(labels))[: len(labels)].copy()
    if labels.background is not None:
        counts[labels.background] = 0
    return int(counts.argmax()) if counts.any() else min(1, len(labels) - 1)


def shared_labels(data: LabelSet, network: LabelSet) -> LabelSet | None:
    """The classes that data and network both have, as the data calls them.

    >>> data = LabelSet.from_names(["background", "cat", "cell"], background=0)
    >>> shared_labels(data, LabelSet.from_names(["background", "dog", "Cat"], background=0)).names
    ('background', 'cat')
    >>> shared_labels(data, LabelSet.from_names(["background", "dog"], background=0)) is None
    True

    Args:
        data: classes of the data.
        network: classes of the network.

    Returns:
        None if they share none but the background.
    """
    found = set(same_names(data, network).tolist()) - {len(data)}
    if not found - {data.background}:
        return None
    kept = sorted(found)
    background = kept.index(data.background) if data.background in found else None
    things = None if data.things is None else data.things[kept]
    return LabelSet(tuple(data.names[index] for index in kept), data.colors[kept], background, things)


def only_shared(samples: Iterable[Sample], data: LabelSet, shared: LabelSet, task: str) -> Iterator[Sample]:
    """Samples with the classes that are shared: pixels of others are ignored, objects of others are left out.

    Args:
        samples: with the ids of ``data``.
        data: classes of the data, for this task.
        shared: of :func:`shared_labels`.
        task: objects are translated where it has them, label maps where it has classes or stuff.

    Yields:
        Samples with the ids of ``shared``.
    """
    ids = np.array([shared.names.index(name) if name in shared.names else -1 for name in data.names])
    objects, pixels = TASKS[task].objects, TASKS[task].stuff or not TASKS[task].objects
    for sample in samples:
        sample = _with_objects(sample, ids) if objects else sample
        yield _with_pixels(sample, ids) if pixels else sample


def _with_pixels(sample: Sample, ids: np.ndarray) -> Sample:
    ignore = ignore_id(sample.label_map.dtype)
    table = np.full(ignore + 1, ignore, dtype=sample.label_map.dtype)
    table[: len(ids)] = np.where(ids < 0, ignore, ids)
    crowd = sample.crowd
    if crowd is not None:
        crowd = np.concatenate([[0], ids + 1]).astype(np.uint16)[crowd]
    return dataclasses.replace(sample, label_map=table[sample.label_map], crowd=crowd)


def _with_objects(sample: Sample, ids: np.ndarray) -> Sample:
    classes = ids[sample.instance_labels]
    classes[0] = -1  # entry 0 is no object
    kept = np.flatnonzero(classes >= 0)
    numbers = np.zeros(len(classes), dtype=np.uint16)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return dataclasses.replace(
        sample,
        instance_map=numbers[sample.instance_map],
        hidden=None if sample.hidden is None else numbers[sample.hidden],
        instance_labels=np.concatenate([[0], classes[kept]]).astype(np.uint16),
    )


# At most so many clicks are set, as in all publications, and the IoU after so many of them is averaged for one figure.
MOST_CLICKS, FIRST = 20, 5
GOALS = (0.85, 0.9)
# Objects of a picture that are clicked, and the pixels that such a one has at least.
OBJECTS, LEAST_PIXELS = 2, 48


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks bool (H, W); 1 where both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def clicked(session: Any, truth: np.ndarray, most: int = MOST_CLICKS, goal: float = GOALS[-1], previous: Any = None) -> Iterator[tuple[float, Any]]:
    """Click an object until it is outlined: the first time in its middle, then in the middle of the largest region that is wrong.

    Args:
        session: of :meth:`seg_demo.inference.model.Model.prompt`, or what answers ``segment`` as it does, perhaps with a mask bool (H, W).
        truth: bool (H, W), the object, with one pixel at least.
        most: clicks.
        goal: IoU at which no further click is set.
        previous: a mask to start from, bool (H, W): the first click goes where that is most wrong; or None.

    Yields:
        After each click the IoU, and the answer.
    """
    points, labels = [], []
    first = None if previous is None else next_click(truth, previous)
    x, y, label = (*central_pixel(truth), 1) if first is None else first
    for _ in range(most):
        points.append((x, y))
        labels.append(label)
        result = session.segment(points=points, labels=labels, previous=previous)
        found = result if isinstance(result, np.ndarray) else whole_mask(result)
        reached = overlap(truth, found)
        yield reached, result
        if reached >= goal or (click := next_click(truth, found)) is None:
            return
        (x, y, label), previous = click, result


def whole_mask(result: Segmentation) -> np.ndarray:
    """The first object of a result, bool (H, W)."""
    mask = np.zeros((result.height, result.width), dtype=bool)
    if result.segments:
        x0, y0, x1, y1 = result.segments[0].box
        mask[y0:y1, x0:x1] = result.mask_of(0)
    return mask


def clicks_to(reached: list[float], goal: float, most: int = MOST_CLICKS) -> int:
    """How many clicks an IoU takes, `most` where it is never reached: the NoC of Xu et al. 2016.

    >>> clicks_to([0.5, 0.87, 0.91], 0.85), clicks_to([0.5, 0.6], 0.85)
    (2, 20)
    """
    return next((count for count, value in enumerate(reached, start=1) if value >= goal), most)


class ClickMeter:
    """Clicks a few objects of every picture, and counts.

    Args:
        most: clicks; fewer than 20 are enough to compare networks in training, and then nothing is said of what takes more.
    """

    def __init__(self, most: int = MOST_CLICKS) -> None:
        self.most = most
        self.reached: list[list[float]] = []

    def add(self, model: Model, sample: Sample) -> tuple[float, Segmentation]:
        """Click objects of one sample.

        Args:
            model: answers clicks.
            sample: with an instance map.

        Returns:
            Mean over the objects of the IoU after one click (NaN without an object), and what was found then.

        Raises:
            ValueError: the sample has no instance map.
        """
        if sample.instance_map is None:
            raise ValueError(f"{sample.name or 'sample'}: objects can be clicked only with an instance map, but it has none.")
        numbers, pixels = np.unique(sample.instance_map, return_counts=True)
        numbers = numbers[(numbers > 0) & (pixels >= LEAST_PIXELS)]
        # Always the same ones, but not always the first, which lie above left.
        rng = np.random.default_rng(zlib.crc32(sample.name.encode()))
        chosen = rng.permutation(numbers)[:OBJECTS]
        first, segments, labels = [], [], model.labels
        with model.prompt(sample.image) as session:
            for number in chosen:
                truth = np.logical_or.reduce([layer == number for layer in sample.layers])
                steps = list(clicked(session, truth, self.most))
                self.reached.append([value for value, _ in steps])
                first.append(steps[0][0])
                segments += steps[0][1].segments[:1]
                labels = steps[0][1].labels
        size = sample.image.shape[:2]
        found = Segmentation("instance", *size, labels, paint(segments, *size), tuple(segments))
        return (float(np.mean(first)) if first else float("nan")), found

    def result(self) -> dict[str, float]:
        """``click_iou``, the mean IoU over the first five clicks (a mask that is right stays so); ``iou_1`` after the first and ``iou_3``
        after three; ``noc_85`` and ``noc_90``, mean clicks to 85 and 90 %, 20 at most; ``failed_90``, the share of objects that never get
        there; empty without an object."""
        if not self.reached:
            return {}
        first = np.array([[row[min(index, len(row) - 1)] for index in range(FIRST)] for row in self.reached])
        found = {CLICKED: float(first.mean()), "iou_1": float(first[:, 0].mean()), "iou_3": float(first[:, 2].mean())}
        if self.most < MOST_CLICKS:
            return found
        counts = {f"noc_{round(100 * goal)}": float(np.mean([clicks_to(row, goal) for row in self.reached])) for goal in GOALS}
        failed = float(np.mean([max(row) < GOALS[-1] for row in self.reached]))
        return {**found, **counts, "failed_90": failed}

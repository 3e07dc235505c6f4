"""Average precision of objects, by faster-coco-eval (equal to pycocotools), from crops: no full-size mask is ever made."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as coco_mask
from scipy import ndimage

from seg_demo.rle import encode_crop
from seg_demo.types import LabelSet, Segment, Segmentation, paint, tight_box
from train.data.sample import Sample
from train.report.semantic import ignore_id, same_names

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

    def add(self, sample: Sample, prediction: Segmentation) -> float:
        """Count one image.

        Args:
            sample: with an instance map.
            prediction: all candidates with their scores, however low.

        Returns:
            F1 of this image alone, in [0, 1]: objects matched at an IoU of 0.5 among the candidates with a score of at
            least 0.5. An image without any object, painted without any, has 1.
        """
        truth = true_objects(sample, self.labels)
        identity = len(self._images) + 1
        self._images.append({"id": identity, "height": truth.height, "width": truth.width})
        objects = [_annotation(identity, s, s.label_id, truth) for s in truth.segments]
        for number, each in enumerate(objects, start=len(self._truth) + 1):
            self._truth.append(each | {"id": number, "iscrowd": 0})
        self._add_unlabelled(identity, sample)
        candidates = []
        for segment in prediction.segments:
            label_id = int(self._translate[segment.label_id])
            if label_id < len(self.labels):
                found = _annotation(identity, segment, label_id, prediction)
                candidates.append(found | {"score": 1.0 if segment.score is None else float(segment.score)})
        self._found += candidates
        return _f1(objects, [each for each in candidates if each["score"] >= SHOWN_SCORE])

    def _add_unlabelled(self, identity: int, sample: Sample) -> None:
        """COCO's way to say "nobody knows what is here": one crowd region per class."""
        unknown = sample.label_map == ignore_id(sample.label_map)
        box = tight_box(unknown)
        if box is None:
            return
        height, width = unknown.shape
        region = Segment(0, None, box, unknown[box[1] : box[3], box[0] : box[2]])
        whole = Segmentation("instance", height, width, self.labels, np.zeros((height, width), np.uint8), (region,))
        for label_id in range(len(self.labels)):
            crowd = _annotation(identity, region, label_id, whole)
            self._truth.append(crowd | {"id": len(self._truth) + 1, "iscrowd": 1})

    def _caps(self) -> tuple[int, int]:
        """COCO's cap on the candidates of a class in an image, and the one that counts here: all where the data holds more."""
        objects = Counter((each["image_id"], each["category_id"]) for each in self._truth if not each["iscrowd"])
        if max(objects.values()) <= STANDARD_CAP:
            return STANDARD_CAP, STANDARD_CAP
        candidates = Counter((each["image_id"], each["category_id"]) for each in self._found)
        return STANDARD_CAP, max((STANDARD_CAP, *candidates.values()))

    def result(self) -> dict[str, float]:
        """The metrics so far, all in [0, 1].

        Returns:
            ``mask_ap`` (mean over IoU 0.50 to 0.95 and over classes), ``mask_ap50``, ``mask_ap75``, ``box_ap``, and
            ``mask_ap/NAME`` for each class that occurs. Where an image holds more than 100 objects of a class, also
            ``mask_ap@100`` and so on for those figures that COCO's cap of 100 candidates changes. Empty if the data has no
            object at all: AP has no value then.
        """
        if not any(not each["iscrowd"] for each in self._truth):
            return {}
        categories = [{"id": index, "name": name} for index, name in enumerate(self.labels.names)]
        truth = COCO({"info": {}, "images": self._images, "annotations": self._truth, "categories": categories})
        found = truth.loadRes([dict(each) for each in self._found])
        caps = self._caps()
        (capped, masks), (capped_boxes, boxes) = (_precision(truth, found, kind, caps) for kind in ("segm", "bbox"))
        values, standard = _figures(masks, boxes), _figures(capped, capped_boxes)
        values |= {f"{name}@{STANDARD_CAP}": value for name, value in standard.items() if value != values[name]}
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
    x0, y0, x1, y1 = segment.box
    return {
        "image_id": identity,
        "category_id": label_id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": int(np.count_nonzero(segment.mask)),
        "segmentation": encode_crop(segment.mask, segment.box, whole.height, whole.width),
    }


def _f1(objects: list[dict[str, Any]], candidates: list[dict[str, Any]]) -> float:
    """F1 of candidates, best first, each taking the free object of its class that it fits best."""
    if not objects or not candidates:
        return float(len(objects) == len(candidates))
    rles = [
        [{**each["segmentation"], "counts": each["segmentation"]["counts"].encode()} for each in side]
        for side in (candidates, objects)
    ]
    overlap = np.asarray(coco_mask.iou(rles[0], rles[1], [0] * len(objects)))
    classes = [np.array([each["category_id"] for each in side]) for side in (candidates, objects)]
    overlap[classes[0][:, None] != classes[1][None, :]] = 0
    hits = 0
    for row in overlap:
        best = int(row.argmax())
        if row[best] >= MATCH_IOU:
            hits += 1
            overlap[:, best] = 0
    return 2 * hits / (len(objects) + len(candidates))


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
    return Segmentation("instance", height, width, labels, paint(segments, height, width), tuple(segments))


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

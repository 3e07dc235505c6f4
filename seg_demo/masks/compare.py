"""How far several segmentations of one image agree: over class names, whatever ids and tasks the models have.

Beside it the confusion matrix and the panoptic quality that everything shares which compares, and what the numbers of an uploaded label
mask mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seg_demo.core import BACKGROUND, IGNORE, IGNORE_16, TASKS, LabelSet, Message, Segmentation, background_of, ignore_id, is_background

_STRIP_PIXELS = 1 << 20


@dataclass(frozen=True)
class Common:
    """Several results in one numbering of classes.

    Attributes:
        names: every class that any of them knows, by its name without regard to case; the id is the position.
        maps: uint16 (H, W) each, ids into ``names``.
        known: for each result the ids that its model can say.
    """

    names: tuple[str, ...]
    maps: tuple[np.ndarray, ...]
    known: tuple[frozenset[int], ...]

    def shared(self, first: int, second: int) -> list[int]:
        """The ids that two of the results' models both know, in order."""
        return sorted(self.known[first] & self.known[second])


@dataclass(frozen=True)
class Overlap:
    """Agreement of two label maps on the classes that both know.

    Attributes:
        iou: class name → intersection over union in [0, 1]; classes that neither shows are left out.
        mean: of them, or None if there is none.
        same: share of the pixels on which both say the same class.
    """

    iou: dict[str, float]
    mean: float | None
    same: float


def common(results: Sequence[Segmentation]) -> Common:
    """Put results into one numbering of classes.

    Args:
        results: of one image; pixels of object and region results that no segment covers are background.

    Raises:
        ValueError: results of different sizes, or none.
    """
    if not results or len({(result.height, result.width) for result in results}) != 1:
        raise ValueError("Results to compare must be of one image, all of the same size.")
    names: dict[str, int] = {}
    maps, known = [], []
    for result in results:
        ids = [names.setdefault(key(name), len(names)) for name in result.labels.names]
        if not TASKS[result.task].objects:
            table = np.array(ids, dtype=np.uint16)
        else:
            nothing = names.setdefault(BACKGROUND, len(names))
            table = np.array([nothing, *(ids[segment.label_id] for segment in result.segments)], dtype=np.uint16)
            ids = [*ids, nothing]
        maps.append(table[result.id_map])
        known.append(frozenset(ids))
    return Common(tuple(names), tuple(maps), tuple(known))


def key(name: str) -> str:
    """A class name as names are compared: without regard to case, blanks around it, and underscores around background.

    >>> key(" Cell "), key("__background__")
    ('cell', 'background')
    """
    plain = name.strip().casefold()
    return BACKGROUND if is_background(plain) else plain


def agreement(maps: Sequence[np.ndarray]) -> np.ndarray:
    """For each pixel how many of the maps say what most of them say.

    Args:
        maps: integer (H, W) each, in one numbering.

    Returns:
        uint8 (H, W), from 1 (all differ) to the number of maps (all agree).
    """
    most = np.ones(maps[0].shape, dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // maps[0].shape[1])
    for top in range(0, maps[0].shape[0], rows):
        strips = [labels[top : top + rows] for labels in maps]
        for one in strips:
            votes = sum((one == other).astype(np.uint8) for other in strips)
            np.maximum(most[top : top + rows], votes, out=most[top : top + rows])
    return most


def overlap(first: np.ndarray, second: np.ndarray, names: Sequence[str], shared: Sequence[int], ignore: int | None) -> Overlap:
    """Intersection over union of two label maps per class.

    Args:
        first: integer (H, W), ids into ``names``, or ``ignore``.
        second: integer (H, W), ids into ``names``.
        names: of the classes.
        shared: ids of the classes that both know.
        ignore: value in ``first`` of pixels that do not count, or None.
    """
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    rows = max(1, _STRIP_PIXELS // first.shape[1])
    for top in range(0, first.shape[0], rows):
        part = slice(top, top + rows)
        matrix += confusion(first[part], second[part], len(names), -1 if ignore is None else ignore)
    both = np.diag(matrix)
    either = matrix.sum(axis=0) + matrix.sum(axis=1) - both
    iou = {names[index]: float(both[index] / either[index]) for index in shared if either[index]}
    total = int(matrix.sum())
    return Overlap(iou, float(np.mean(list(iou.values()))) if iou else None, float(both.sum() / total) if total else 1.0)


def truth_ids(mask: np.ndarray, model: Segmentation, names: Sequence[str], notes: list[Message] | None = None) -> np.ndarray:
    """An uploaded label mask in the numbering of :func:`common`.

    Args:
        mask: of :func:`seg_demo.inputs.mask_files.numbers_meant`, with the label ids of one of the models in one of the ways that
            :func:`seg_demo.masks.compare.label_ids` reads; 255 (65535 of 16 bits) is ignored.
        model: the result whose model's ids the mask has.
        names: of :func:`common`.
        notes: as for :func:`label_ids`.

    Returns:
        uint16 (H, W), 65535 to ignore.

    Raises:
        ValueError: the mask has another size, or an id that the model has not; the message says so.
    """
    if mask.shape[:2] != (model.height, model.width):
        came = f"{mask.shape[1]} x {mask.shape[0]}"
        raise ValueError(Message("truth.other_size", came=came, wanted=f"{model.width} x {model.height}"))
    mask = label_ids(mask, model.labels, notes)
    ids = [names.index(key(name)) for name in model.labels.names]
    ignore = ignore_id(mask.dtype)
    table = np.full(ignore + 1, IGNORE_16, dtype=np.uint16)
    unknown = [int(value) for value in np.unique(mask) if value != ignore and value >= len(ids)]
    if unknown:
        raise ValueError(Message("truth.unknown_value", value=unknown[0], count=len(ids), last=len(ids) - 1))
    table[: len(ids)] = ids
    return table[mask]


def named_ids(segments: SegmentMap, names: Sequence[str], known: Sequence[str]) -> tuple[np.ndarray, SegmentMap]:
    """A truth of segments in the numbering of :func:`common`.

    Args:
        segments: with classes of their own.
        names: of these classes, by their number.
        known: of :func:`common`.

    Returns:
        uint16 (H, W), 65535 for void and for classes that no model knows; and the segments of the others.
    """
    places = {name: index for index, name in enumerate(known)}
    numbers = {i: places.get(key(names[label_id])) for i, label_id in segments.label_ids.items()}
    counted = {i: number for i, number in numbers.items() if number is not None}
    classes = _looked_up(segments.ids, {i: number + 1 for i, number in counted.items()})
    label_map = np.where(classes > 0, classes - 1, IGNORE_16).astype(np.uint16)
    return label_map, SegmentMap(segments.ids, counted, segments.crowds & counted.keys())


def confusion(target: np.ndarray, prediction: np.ndarray, classes: int, ignore: int = 255) -> np.ndarray:
    """Confusion matrix of two label maps, by one bincount over pairs of target and prediction.

    >>> confusion(np.array([[0, 1], [1, 255]], np.uint8), np.array([[0, 0], [1, 1]], np.uint8), 2)
    array([[1, 0],
           [1, 1]])

    Args:
        target: integer, any shape: label ids, or ``ignore`` for pixels that do not count.
        prediction: integer, the same shape: label ids.
        classes: number of classes K.
        ignore: 255, or 65535 for uint16 label maps.

    Returns:
        int64 (K, K): pixels of target class (row) that were predicted as (column).

    Raises:
        ValueError: different shapes, or a label id of K or more in a pixel that counts.
    """
    if target.shape != prediction.shape:
        raise ValueError(f"Label maps must have the same shape, but got {target.shape} and {prediction.shape}.")
    if target.dtype == prediction.dtype == np.uint8 and classes <= ignore:
        # All 65,536 pairs of bytes are counted, unchecked and without a mask; what is wrong shows in the counts.
        pairs = target.astype(np.uint16) << 8
        pairs |= prediction
        counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
        counts[ignore : ignore + 1] = 0
        if not counts[classes:].any() and not counts[:, classes:].any():
            return counts[:classes, :classes].copy()
    counted = target != ignore
    truth, guess = target[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, values in (("target", truth), ("prediction", guess)):
        if values.size and (values.max() >= classes or values.min() < 0):
            found = int(values.max() if values.max() >= classes else values.min())
            raise ValueError(f"The {name} has label id {found}, but there are {classes} classes (ids 0 to {classes - 1}).")
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True, eq=False)
class SegmentMap:
    """Segments of one picture that do not overlap, as COCO's panoptic format has them.

    Attributes:
        ids: integer (H, W), not negative, the segment of every pixel; 0 is void.
        label_ids: the class of every segment by its id. What is not listed is no segment.
        crowds: ids of those that are several things in one, which nobody is expected to tell apart.
    """

    ids: np.ndarray
    label_ids: Mapping[int, int]
    crowds: frozenset[int] = frozenset()


def segment_map(result: Segmentation, label_ids: Mapping[int, int]) -> SegmentMap:
    """The segments of a result as they are seen: of objects that overlap, the topmost.

    Args:
        result: of a task of objects, or of classes, of which each is one segment.
        label_ids: the number of a class for those that count, by the result's label id.
    """
    ids, offset = result.id_map, 0
    if not TASKS[result.task].objects:
        # 0 is a class there.
        ids, offset = ids.astype(np.uint32) + 1, 1
    seen = zip(result.ids, result.segments, strict=True)
    return SegmentMap(ids, {i + offset: label_ids[s.label_id] for i, s in seen if s.label_id in label_ids})


@dataclass(frozen=True)
class Match:
    """A true segment and the one that was found for it.

    Attributes:
        truth: id of the true one.
        found: id of the other.
        label_id: the class of both.
        iou: intersection over union in (0.5, 1], without what the truth calls void.
    """

    truth: int
    found: int
    label_id: int
    iou: float


@dataclass(frozen=True)
class Matching:
    """Which segments of a picture were found.

    Attributes:
        matches: by the ids of the true segments.
        missed: id → class of the true segments without a match, crowds apart.
        extra: id → class of those found without a match.
        ignored: ids of those found that count for nothing, because more than half of one lies in void or in a crowd of its class.
    """

    matches: tuple[Match, ...]
    missed: Mapping[int, int]
    extra: Mapping[int, int]
    ignored: frozenset[int] = frozenset()


def match_segments(truth: SegmentMap, found: SegmentMap) -> Matching:
    """Match segments of one class whose IoU is above 0.5, so that none can match two; the rules of ``pq_compute`` in COCO's panopticapi.

    Args:
        truth: true segments.
        found: those of a result of the same size.

    Raises:
        ValueError: another size.
    """
    if truth.ids.shape != found.ids.shape:
        raise ValueError(f"Segments to match must be of one image, but got {truth.ids.shape} and {found.ids.shape}.")
    shared = _shared_pixels(truth.ids, found.ids)
    true_areas, found_areas = Counter(), Counter()
    for (true_id, found_id), pixels in shared.items():
        true_areas[true_id] += pixels
        found_areas[found_id] += pixels
    matches = []
    for (true_id, found_id), pixels in sorted(shared.items()):
        label_id = truth.label_ids.get(true_id)
        if label_id is None or true_id in truth.crowds or found.label_ids.get(found_id) != label_id:
            continue
        union = found_areas[found_id] + true_areas[true_id] - pixels - shared.get((0, found_id), 0)
        if pixels / union > 0.5:
            matches.append(Match(true_id, found_id, label_id, pixels / union))
    seen, taken = {match.truth for match in matches}, {match.found for match in matches}
    missed = {i: label_id for i, label_id in truth.label_ids.items() if i not in seen and i not in truth.crowds}
    # A data set has one crowd per class and picture.
    crowds = {label_id: i for i, label_id in truth.label_ids.items() if i in truth.crowds}
    extra, ignored = {}, set()
    for found_id, label_id in found.label_ids.items():
        if found_id in taken:
            continue
        forgiven = shared.get((0, found_id), 0) + shared.get((crowds.get(label_id), found_id), 0)
        if forgiven > 0.5 * found_areas[found_id]:
            ignored.add(found_id)
        else:
            extra[found_id] = label_id
    return Matching(tuple(matches), missed, extra, frozenset(ignored))


# What a pixel is in :func:`matched_pixels`: nothing, of a segment that both have, of one that only the truth has or only the other, and
# of one of each.
MATCHED, MISSED, EXTRA, BOTH = 1, 2, 3, 4


def matched_pixels(truth: SegmentMap, found: SegmentMap, matching: Matching) -> np.ndarray:
    """Where segments were matched, missed and found in excess: uint8 (H, W) of :data:`MATCHED`, :data:`MISSED`, :data:`EXTRA`,
    :data:`BOTH` and 0.

    Args:
        truth: one side of the matching.
        found: the other.
        matching: of both.
    """
    # A pixel of a match is one of both masks, or of neither side's failures.
    pairs = {match.truth: match.found for match in matching.matches}
    made = np.zeros(truth.ids.shape, dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // max(1, truth.ids.shape[1]))
    for top in range(0, truth.ids.shape[0], rows):
        strips = [side.ids[top : top + rows] for side in (truth, found)]
        missed, extra, partner = (
            _looked_up(ids, table)
            for ids, table in ((strips[0], dict.fromkeys(matching.missed, 1)), (strips[1], dict.fromkeys(matching.extra, 1)), (strips[0], pairs))
        )
        part = made[top : top + rows]
        part[(partner > 0) & (partner == strips[1])] = MATCHED
        part[missed > 0] = MISSED
        part[extra > 0] = EXTRA
        part[(missed > 0) & (extra > 0)] = BOTH
    return made


def _looked_up(ids: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    """The values of ids in a table, 0 for those that it does not have: int64 of the same shape."""
    values, places = np.unique(ids, return_inverse=True)
    return np.array([table.get(value, 0) for value in values.tolist()], dtype=np.int64)[places].reshape(ids.shape)


def _shared_pixels(first: np.ndarray, second: np.ndarray) -> dict[tuple[int, int], int]:
    """How many pixels every pair of values shares."""
    counts: Counter[tuple[int, int]] = Counter()
    rows = max(1, _STRIP_PIXELS // max(1, first.shape[1]))
    for top in range(0, first.shape[0], rows):
        pairs = first[top : top + rows].astype(np.int64) << 32
        pairs |= second[top : top + rows].astype(np.int64)
        for pair, pixels in zip(*(values.tolist() for values in np.unique(pairs, return_counts=True)), strict=True):
            counts[pair >> 32, pair & 0xFFFFFFFF] += pixels
    return counts


@dataclass(frozen=True)
class Quality:
    """Panoptic quality of one class, or the mean over several (Kirillov et al., CVPR 2019, arXiv 1801.00868).

    Attributes:
        pq: the product of the other two for one class; in [0, 1].
        sq: mean IoU of the matched segments, in [0, 1].
        rq: the F1 of finding segments, in [0, 1].
        classes: how many occur.
    """

    pq: float
    sq: float
    rq: float
    classes: int = 1


class PanopticQuality:
    """Adds up matchings image by image; the quality is that of the data set as a whole, as panopticapi has it.

    Args:
        classes: number of classes K.

    Attributes:
        iou: float64 (K,), sum of the IoU of matches.
        matched: int64 (K,), segments that were found.
        extra: int64 (K,), segments that are not in the truth.
        missed: int64 (K,), segments that were not found.
    """

    def __init__(self, classes: int) -> None:
        self.iou = np.zeros(classes)
        self.matched, self.extra, self.missed = (np.zeros(classes, dtype=np.int64) for _ in range(3))

    def add(self, matching: Matching) -> None:
        """Count one image.

        Args:
            matching: of :func:`match_segments`, with classes below K.
        """
        for match in matching.matches:
            self.iou[match.label_id] += match.iou
            self.matched[match.label_id] += 1
        for counts, segments in ((self.extra, matching.extra), (self.missed, matching.missed)):
            np.add.at(counts, np.array(list(segments.values()), dtype=np.int64), 1)

    def of_class(self, label_id: int) -> Quality | None:
        """The quality of a class, or None if it occurs on neither side."""
        matched, wrong = int(self.matched[label_id]), 0.5 * int(self.extra[label_id]) + 0.5 * int(self.missed[label_id])
        if not matched + wrong:
            return None
        iou = float(self.iou[label_id])
        return Quality(iou / (matched + wrong), iou / matched if matched else 0.0, matched / (matched + wrong))

    def mean(self, label_ids: Iterable[int] | None = None) -> Quality | None:
        """The mean over the classes that occur, or None if none does.

        Args:
            label_ids: of these alone, such as the things; all if None.
        """
        among = range(len(self.iou)) if label_ids is None else label_ids
        found = [quality for quality in map(self.of_class, among) if quality is not None]
        if not found:
            return None
        return Quality(*(sum(getattr(quality, name) for quality in found) / len(found) for name in ("pq", "sq", "rq")), len(found))


# Grey levels that were chosen so that an eye can tell them apart reach at least this far.
LEAST_SPREAD = 64


def label_ids(raw: np.ndarray, labels: LabelSet, notes: list[Message] | None = None) -> np.ndarray:
    """The label ids that a mask means.

    Args:
        raw: as :func:`seg_demo.inputs.mask_files.numbers_meant` gives it: uint8 or uint16 (H, W), or (H, W, 3). Grey that was
            saved in three channels is grey. Of colours, each must be that of a class (the mask of this demo, saved by another
            program). Black and white, or one of them, is the one class that is not the background. As many greys as classes, spread like
            0, 127, 255, are the classes in rising order.
        labels: the classes.
        notes: how it was read is appended, where its numbers are no label ids; a sentence each.

    Returns:
        uint8 or uint16 (H, W): label ids, and what else the mask holds as it is, the 255 of pixels to ignore with it.

    Raises:
        ValueError: colours that no class has; or black and white where several classes could be meant. The message says so.
    """
    notes = [] if notes is None else notes
    if raw.ndim == 3:
        if not (np.array_equal(raw[..., 0], raw[..., 1]) and np.array_equal(raw[..., 0], raw[..., 2])):
            ids = _of_colors(raw, labels)
            notes.append(Message("label_maps.by_colour"))
            return ids
        raw = np.ascontiguousarray(raw[..., 0])
    if raw.dtype == np.uint8 and bool(((raw == 0) | (raw == 255)).all()):
        background = _background(labels)
        things = [index for index in range(len(labels)) if index != background]
        if len(things) > 1:
            if not ((raw == 255).any() and (raw == 0).any()):
                return raw
            names = ", ".join(labels.names[index] for index in things[:6]) + (" ..." if len(things) > 6 else "")
            first = {"number": things[0], "name": labels.names[things[0]]}
            raise ValueError(Message("truth.black_and_white", count=len(things), names=names, **first))
        black = IGNORE if background is None else background
        if things and bool((raw == 255).any()):
            nothing = Message("label_maps.ignored") if background is None else labels.names[background]
            notes.append(Message("label_maps.black_and_white", name=labels.names[things[0]], background=nothing))
        return np.where(raw == 255, np.uint8(things[0] if things else black), np.uint8(black))
    if raw.dtype == np.uint8:
        levels = np.unique(raw)
        if len(levels) == len(labels) and levels[-1] >= LEAST_SPREAD and not set(levels.tolist()) - {IGNORE} <= set(range(len(labels))):
            pairs = ", ".join(f"{level} = {name}" for level, name in zip(levels.tolist(), labels.names, strict=True))
            notes.append(Message("label_maps.greys_in_order", pairs=pairs))
            return np.searchsorted(levels, raw).astype(np.uint8)
        things = [name for index, name in enumerate(labels.names) if index != _background(labels)]
        if len(things) == 1 and len(levels) == 3 and levels[0] == 0 and levels[1] >= LEAST_SPREAD // 2 and levels[2] == IGNORE:
            raise ValueError(Message("truth.black_grey_and_white", grey=levels[1], name=things[0]))
    ignored = ignore_id(raw.dtype)
    if len(labels) <= ignored and (count := int((raw == ignored).sum())):
        notes.append(Message("label_maps.some_ignored", value=ignored, share=max(count / raw.size, 0.001)))
    return raw


def _background(labels: LabelSet) -> int | None:
    """The background, also of checkpoints that only name it so."""
    if labels.background is not None:
        return labels.background
    return background_of(labels.names)


def _of_colors(raw: np.ndarray, labels: LabelSet) -> np.ndarray:
    packed = raw.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    known = {int(red) << 16 | int(green) << 8 | int(blue): index for index, (red, green, blue) in enumerate(labels.colors)}
    colors, places = np.unique(packed, return_inverse=True)
    foreign = [int(color) for color in colors if int(color) not in known]
    if foreign:
        raise ValueError(Message("truth.other_colours", count=len(foreign), total=len(colors), colour=f"#{foreign[0]:06x}"))
    dtype = np.uint8 if len(labels) <= 255 else np.uint16
    return np.array([known[int(color)] for color in colors], dtype=dtype)[places].reshape(raw.shape[:2])

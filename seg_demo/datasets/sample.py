"""One image of a dataset with its truth: what is known about it, what is allowed in it, and its small picture.

Between what a person draws and what a dataset stores.

A drawing is one map: of class ids, or, where objects are kept apart, of object numbers with a class each. A dataset stores
class ids, and object numbers beside them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from seg_demo.core import (
    IGNORE, INSTANCE, OBJECT, SEMANTIC, TASKS, BadRequestError, DataError, LabelSet, Message, Segment, Segmentation, extents, ignore_id, plain_name,
)
from seg_demo.inputs.mask_files import MaskFile, findings, note_of, numbers_meant
from seg_demo.inputs.object_maps import counts_of, objects_of, understand_objects, values_of
from seg_demo.masks.compare import label_ids
from seg_demo.masks.regions import Region
from seg_demo.outputs.export import pieces_of
from seg_demo.outputs.interchange import Annotated

# Of 16-bit instance maps; 65535 means ignore to training.
MAX_OBJECTS = 65_534
THUMBNAIL_SIDE = 192


@dataclass(frozen=True)
class Facts:
    """How a mask came about.

    Attributes:
        seconds: time spent on it in the editor.
        strokes: changes made by hand.
        confidence: mean margin of the prediction that it began with, in [0, 1], or None; low means doubtful.
        source: ``blank``, ``mask`` (an uploaded one), or the id of the model whose prediction was corrected.
    """

    seconds: float = 0.0
    strokes: int = 0
    confidence: float | None = None
    source: str = "blank"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds >= 0 and self.strokes >= 0):
            raise ValueError(f"seconds and strokes must be 0 or more, but are {self.seconds} and {self.strokes}.")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence must be None or in [0, 1], but is {self.confidence}.")


@dataclass(frozen=True)
class Sample:
    """One image of a dataset.

    Attributes:
        stem: file name without suffix, unique in the dataset.
        name: of the file that the person sent, without suffix.
        width: pixels.
        height: pixels.
        image: RGB PNG.
        mask: 8-bit grey PNG, a class per pixel, 255 to ignore.
        instances: 16-bit grey PNG, an object number per pixel and 0 for none; None in semantic datasets.
        thumbnail: JPEG of at most 192 pixels a side, the mask drawn over the image.
        objects: how many there are, or None in semantic datasets.
        pixels: by class id, how many; those to ignore are not counted.
        saved: ISO 8601 time of the last change, UTC.
        facts: how the mask came about.
        draft: what told the save that made it from others, or None.
    """

    stem: str
    name: str
    width: int
    height: int
    image: Path
    mask: Path
    instances: Path | None
    thumbnail: Path
    objects: int | None
    pixels: dict[int, int]
    saved: str
    facts: Facts
    draft: str | None = None

    @classmethod
    def from_json(cls, stem: str, record: dict[str, object], root: Path) -> Sample:
        """A sample from its record in the journal.

        Args:
            stem: of its files.
            record: as stored; facts that this version does not know are left out.
            root: folder of the dataset.
        """
        known = {field.name for field in fields(Facts)}
        return cls(
            stem=stem,
            **{key: record[key] for key in ("name", "width", "height", "objects", "saved")},
            image=root / "images" / f"{stem}.png",
            mask=root / "masks" / f"{stem}.png",
            instances=None if record["objects"] is None else root / "instances" / f"{stem}.png",
            thumbnail=root / "thumbnails" / f"{stem}.jpg",
            pixels={int(key): count for key, count in record["pixels"].items()},
            facts=Facts(**{key: value for key, value in record["facts"].items() if key in known}),
            draft=record.get("draft"),
        )


def check_truth(image_size: tuple[int, int], labels: LabelSet, mask: np.ndarray, instances: np.ndarray | None) -> np.ndarray:
    """A mask as it is stored, after everything about it has been checked.

    Args:
        image_size: (height, width) in pixels.
        labels: the classes.
        mask: integer (H, W), a class id per pixel, 255 to ignore.
        instances: integer (H, W), an object number per pixel, 0 for none; None for semantic truth.

    Returns:
        uint8 (H, W).

    Raises:
        DataError: another size, a number that no class has, or an object without one class of its own.
    """
    for what, array in (("mask", mask), ("instances", instances)):
        if array is None:
            continue
        if array.ndim != 2 or array.shape != tuple(image_size) or not np.issubdtype(array.dtype, np.integer):
            raise DataError(f"datasets.bad_{what}", dtype=array.dtype, shape=array.shape, wanted=tuple(image_size))
    values = np.unique(mask)
    bad = values[((values >= len(labels)) & (values != IGNORE)) | (values < 0)]
    if bad.size:
        raise DataError("datasets.mask_beyond_classes", value=bad[0], last=len(labels) - 1)
    if instances is not None:
        _check_objects(labels, mask, instances)
    return mask.astype(np.uint8)


def _check_objects(labels: LabelSet, mask: np.ndarray, instances: np.ndarray) -> None:
    """DataError unless every object number is storable and lies on pixels of one class that is not the background."""
    low, high = int(instances.min()), int(instances.max())
    if low < 0 or high > MAX_OBJECTS:
        came = low if low < 0 else high
        raise DataError("datasets.object_beyond_limit", value=came, most=MAX_OBJECTS)
    inside = instances > 0
    numbers, classes = instances[inside].astype(np.int64), mask[inside].astype(np.int64)
    least = np.full(high + 1, 256, dtype=np.int64)
    most = np.full(high + 1, -1, dtype=np.int64)
    np.minimum.at(least, numbers, classes)
    np.maximum.at(most, numbers, classes)
    mixed = np.flatnonzero((most >= 0) & (least != most))
    if mixed.size:
        raise DataError("datasets.object_of_two_classes", number=mixed[0])
    nothing = np.flatnonzero((most == labels.background) | (most == IGNORE))
    if nothing.size:
        raise DataError("datasets.object_without_class", number=nothing[0])


def thumbnail(image: np.ndarray, mask: np.ndarray, labels: LabelSet, instances: np.ndarray | None) -> bytes:
    """A small JPEG of the image with its mask drawn over it.

    Args:
        image: uint8 (H, W, 3), RGB.
        mask: uint8 (H, W), class ids.
        labels: the classes.
        instances: (H, W), whose edges are drawn; or None.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    width, height = picture.size
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.intp)
    small = mask[rows[:, None], columns]
    painted = (small != IGNORE) & (small != (-1 if labels.background is None else labels.background))
    colors = np.zeros((256, 3), dtype=np.float32)
    colors[: len(labels)] = labels.colors
    pixels = np.asarray(picture, dtype=np.float32)
    pixels = np.where(painted[..., None], 0.5 * pixels + 0.5 * colors[small], pixels)
    parts = small if instances is None else instances[rows[:, None], columns]
    edges = np.zeros(parts.shape, dtype=bool)
    edges[:, 1:] |= parts[:, 1:] != parts[:, :-1]
    edges[1:] |= parts[1:] != parts[:-1]
    pixels[edges] = 255
    file = BytesIO()
    Image.fromarray(pixels.round().astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


# Of pixels to leave out; the browser keeps 65535 for what lies outside the image.
IGNORE_ID = 65_534
MOST_OBJECTS = IGNORE_ID - 1
# Share of the numbers of an object map that may lie in several separate pieces, as objects do that others cut in two.
CUT_IN_TWO = 0.5


@dataclass(frozen=True)
class Drawing:
    """A mask to begin with.

    Attributes:
        ids: uint16 (H, W): class ids, or object numbers and 0 for none; ``IGNORE_ID`` where nothing is to be learnt.
        objects: class id by object number; None for a map of classes.
        confidence: mean margin of the prediction in [0, 1], or None.
        missing: names of predicted classes that the dataset does not have; their pixels are left empty.
        notes: how a mask file was read, where that is not plain; one sentence each.
    """

    ids: np.ndarray
    objects: dict[int, int] | None
    confidence: float | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[Message, ...] = ()


def from_prediction(result: Segmentation, labels: LabelSet, task: str, mapping: Mapping[str, str] | None = None) -> Drawing:
    """What a model found, in the classes of a dataset; classes are matched by their names, or as a person said.

    Regions without a class become the dataset's first class. A map of classes becomes objects by its connected pieces.

    Args:
        result: of any task.
        labels: of the dataset.
        task: of the dataset, ``semantic`` or ``instance``.
        mapping: class of the model → class of the dataset, for those whose names differ.

    Raises:
        BadRequestError: more objects than a map can number.
    """
    things = [index for index in range(len(labels)) if index != labels.background]
    by_name = {plain_name(name): index for index, name in enumerate(labels.names)}
    if not TASKS[result.task].learnt and things:
        by_name = {"region": things[0], "background": labels.background}
    elif result.labels.background is not None and labels.background is not None:
        by_name[plain_name(result.labels.names[result.labels.background])] = labels.background
    for source, target in (mapping or {}).items():
        if (index := by_name.get(plain_name(target))) is not None:
            by_name.setdefault(plain_name(source), index)
    found = sorted({segment.label_id for segment in result.segments})
    missing = tuple(result.labels.names[label] for label in found if by_name.get(plain_name(result.labels.names[label])) is None)
    nothing = IGNORE_ID if labels.background is None else labels.background
    table = np.full(max(len(result.labels), 1), nothing, dtype=np.uint16)
    for label in found:
        target = by_name.get(plain_name(result.labels.names[label]))
        table[label] = nothing if target is None else target
    confidence = None if result.confidence is None else float(result.margin_sums.sum()) / result.id_map.size
    if not TASKS[result.task].objects:
        known = np.full(int(np.iinfo(result.id_map.dtype).max) + 1, nothing, dtype=np.uint16)
        known[: len(table)] = table
        classes = known[result.id_map]
        if not TASKS[task].objects:
            return Drawing(classes, None, confidence, missing)
        return Drawing(*_pieces(classes, things), confidence, missing)
    of_segment = np.array([nothing, *(table[segment.label_id] for segment in result.segments)], dtype=np.uint16)
    if not TASKS[task].objects:
        return Drawing(of_segment[result.id_map], None, confidence, missing)
    objects = {number: int(label) for number, label in enumerate(of_segment) if number > 0 and label in things}
    if len(of_segment) > MOST_OBJECTS:
        count = len(of_segment) - 1
        raise BadRequestError("drawings.too_many_objects", count=count)
    kept = np.array([number if number in objects else 0 for number in range(len(of_segment))], dtype=np.uint16)
    return Drawing(kept[result.id_map], objects, confidence, missing)


def _pieces(classes: np.ndarray, things: list[int]) -> tuple[np.ndarray, dict[int, int]]:
    """Connected pieces (by sides and corners) of each class as objects; the ignored stay so."""
    from scipy import ndimage

    ids = np.where(classes == IGNORE_ID, np.uint16(IGNORE_ID), np.uint16(0))
    objects: dict[int, int] = {}
    for label in things:
        pieces, count = ndimage.label(classes == label, structure=np.ones((3, 3)))
        if len(objects) + count > MOST_OBJECTS:
            raise BadRequestError("drawings.too_many_pieces")
        inside = pieces > 0
        ids[inside] = pieces[inside] + len(objects)
        objects.update({number: label for number in range(len(objects) + 1, len(objects) + count + 1)})
    return ids, objects


def from_mask(mask: MaskFile | np.ndarray, size: tuple[int, int], labels: LabelSet, task: str) -> Drawing:
    """A mask that a person uploaded.

    Args:
        mask: as :func:`seg_demo.inputs.mask_files.read_mask` reads it, or ``read_object_map`` for ``instance``; or its numbers
            alone, (H, W) or (H, W, 3).
        size: (height, width) of the image.
        labels: of the dataset.
        task: ``semantic``: the numbers are classes, in one of the ways that :func:`seg_demo.masks.compare.label_ids` reads;
            255 is ignored. ``instance``: numbers or colours are objects, of the first class; of a mask that has one value only,
            each connected piece is.

    Raises:
        DataError: of another size, with a number or colour that no class has, or one that can be read in several ways.
    """
    mask = mask if isinstance(mask, MaskFile) else MaskFile(mask)
    if mask.size != tuple(size):
        came, wanted = f"{mask.size[1]} x {mask.size[0]}", f"{size[1]} x {size[0]}"
        raise DataError("drawings.other_size", came=came, wanted=wanted)
    try:
        if TASKS[task].objects:
            return _objects(mask, labels)
        notes: list[Message] = []
        ids = label_ids(numbers_meant(mask, len(labels), notes), labels, notes)
        return Drawing(_classes(ids, labels), None, notes=tuple(notes))
    except ValueError as error:
        raise DataError("drawings.unusable", reason=error) from error


def _objects(mask: MaskFile, labels: LabelSet) -> Drawing:
    """An instance map: its own numbers where the editor can count so far, else 1, 2, ..."""
    things = [index for index in range(len(labels)) if index != labels.background]
    if mask.others:
        raise ValueError(Message("pixels.pages_differ", count=mask.pages))
    notes = [note_of(finding, Message("mask_files.this_mask")) for finding in findings(mask)]
    values, coloured = values_of(mask)
    bits, where = 8 if mask.numbers.dtype == np.uint8 else 16, Message("mask_files.this_mask_within")
    reading = understand_objects([counts_of(values)], [coloured], bits, where)
    found = objects_of(mask, reading.rule)
    notes += reading.notes
    count = len(found.values)
    if count == 1:
        ids, objects = _pieces(np.where(found.numbers > 0, things[0], IGNORE_ID), things[:1])
        if len(objects) > 1:
            ids[~found.ignored & (found.numbers == 0)] = 0
            notes.append(Message("drawings.pieces_as_objects", count=len(objects)))
            return Drawing(ids, objects, notes=tuple(notes))
    if coloured and count:
        notes.append(Message("object_maps.colours", count=count))
    if count > 1 and (apart := int((pieces_of(found.numbers)[1:] > 1).sum())) > CUT_IN_TWO * count:
        notes.append(Message("drawings.numbers_in_pieces", apart=apart, count=count))
    ids = found.numbers.copy()
    numbers = range(1, count + 1)
    most = max(found.values, default=0)
    if not coloured and most < IGNORE_ID:
        ids, numbers = np.array([0, *found.values], dtype=np.uint16)[found.numbers], found.values
    elif not coloured:
        notes.append(Message("object_maps.renumbered", most=most, count=count))
    ids[found.ignored] = IGNORE_ID
    return Drawing(ids, dict.fromkeys(numbers, things[0]), notes=tuple(notes))


def from_sample(mask: np.ndarray, instances: np.ndarray | None, labels: LabelSet) -> Drawing:
    """What a dataset has stored, as :meth:`seg_demo.datasets.dataset.Dataset.read` gives it.

    Args:
        mask: uint8 (H, W), class ids, 255 to ignore.
        instances: uint16 (H, W), object numbers, or None.
        labels: of the dataset.
    """
    if instances is None:
        return Drawing(_classes(mask, labels), None)
    ids = instances.astype(np.uint16)
    numbers, first = np.unique(ids, return_index=True)
    objects = {int(number): int(mask.flat[at]) for number, at in zip(numbers, first, strict=True) if number > 0}
    ids[(mask == IGNORE) & (instances == 0)] = IGNORE_ID
    return Drawing(ids, objects)


def _classes(mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    ignored = ignore_id(np.uint16) if mask.dtype == np.uint16 else IGNORE
    bad = [value for value in np.unique(mask).tolist() if value >= len(labels) and value not in (IGNORE, ignored)]
    if bad:
        raise DataError("drawings.beyond_classes", value=bad[0], last=len(labels) - 1)
    ids = mask.astype(np.uint16)
    ids[(mask == IGNORE) | (mask == ignored)] = IGNORE_ID
    return ids


def truth(
    raw: np.ndarray, task: str, class_ids: dict[int, int], objects: dict[int, int], background: int | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """What a dataset stores of a drawing that came back.

    Args:
        raw: uint8 or uint16 (H, W), the PNG of the editor: class ids with 255 to ignore, or object numbers with 65535.
        task: of the dataset.
        class_ids: id in the dataset by id in the editor.
        objects: class (as the editor numbers it) by object number; not read for semantic datasets.
        background: of the dataset.

    Returns:
        Mask uint8 (H, W) and instance map uint16 (H, W) or None, for :meth:`seg_demo.datasets.dataset.Dataset.add`.

    Raises:
        DataError: a number in the map that has no class.
    """
    if raw.ndim != 2:
        raise DataError("drawings.arrived_coloured")
    if not TASKS[task].objects:
        table = np.full(65_536, -1, dtype=np.int32)
        table[IGNORE] = IGNORE
        for here, there in class_ids.items():
            table[here] = there
        return _looked_up(raw, table), None
    table = np.full(65_536, -1, dtype=np.int32)
    table[0], table[65_535] = background or 0, IGNORE
    for number, label in objects.items():
        table[number] = class_ids.get(label, -1)
    instances = raw.astype(np.uint16)
    mask = _looked_up(instances, table)
    instances[instances == 65_535] = 0
    return mask, instances


def corrected(raw: np.ndarray, task: str, labels: LabelSet, class_ids: dict[int, int], objects: dict[int, int]) -> Segmentation:
    """A drawing as a result, to be counted, measured and taken away as any other. Pixels to ignore belong to no segment.

    Args:
        raw: as for :func:`truth`.
        task: ``semantic`` or ``instance``.
        labels: the classes.
        class_ids: index in ``labels`` by id in the editor.
        objects: class (as the editor numbers it) by object number; those without a pixel are left out.

    Raises:
        DataError: a number in the map that has no class.
    """
    mask, instances = truth(raw, task, class_ids, objects, labels.background)
    height, width = mask.shape
    pixels, boxes = extents(mask if instances is None else instances)
    present = [int(number) for number in np.flatnonzero(pixels)]
    if instances is None:
        segments = [Segment(label, None, tuple(boxes[label].tolist()), None) for label in present if label != IGNORE]
        return Segmentation(task, height, width, labels, mask, tuple(segments))
    present = [number for number in present if number > 0]
    order = np.zeros(pixels.size, dtype=np.min_scalar_type(max(len(present), 1)))
    order[present] = np.arange(1, len(present) + 1)
    id_map = order[instances]
    segments = [
        Region(class_ids[objects[number]], tuple(boxes[number].tolist()), id_map, index + 1) for index, number in enumerate(present)
    ]
    return Segmentation(task, height, width, labels, id_map, tuple(segments))


def annotated(file: str, mask: np.ndarray, instances: np.ndarray | None, labels: LabelSet) -> Annotated:
    """What a data set stores of a picture, as other tools' formats take it.

    Args:
        file: of the picture.
        mask: uint8 (H, W), class ids, 255 to ignore.
        instances: uint16 (H, W), object numbers, or None.
        labels: of the data set.
    """
    void = mask == IGNORE
    raw = mask if instances is None else np.where(void & (instances == 0), np.uint16(65_535), instances.astype(np.uint16))
    objects = {} if instances is None else from_sample(mask, instances, labels).objects
    task = SEMANTIC.name if instances is None else INSTANCE.name
    found = corrected(raw, task, labels, {index: index for index in range(len(labels))}, objects)
    return Annotated(file, found, void=void if void.any() else None)


def split_maps(one: Annotated, labels: LabelSet, task: str) -> tuple[np.ndarray, np.ndarray | None]:
    """What a data set stores of a picture with another tool's annotations.

    Args:
        one: whose classes are those of the data set, in their order.
        labels: of the data set.
        task: of the data set.

    Returns:
        As :func:`truth`. Of objects that overlap, each pixel is the topmost one's.
    """
    result = one.segmentation
    table = np.full(int(np.iinfo(result.id_map.dtype).max) + 1, labels.background or 0, dtype=np.uint8)
    for identity, segment in zip(result.ids, result.segments, strict=True):
        table[identity] = segment.label_id
    mask = table[result.id_map]
    instances = result.id_map.astype(np.uint16) if TASKS[task].objects else None
    if one.void is not None:
        mask[one.void & (mask == (labels.background or 0))] = IGNORE
        if instances is not None:
            instances[mask == IGNORE] = 0
    return mask, instances


def from_annotations(one: Annotated, labels: LabelSet, task: str) -> Drawing:
    """What a file of another tool says about a picture.

    Args:
        one: with classes of the file's own; classes are matched by their names, those without a name, which only have a number, by that, and
            what nobody has named is the data set's class where it has one alone.
        labels: of the data set.
        task: of the data set.

    Raises:
        BadRequestError: as :func:`from_prediction`.
    """
    things = [name for index, name in enumerate(labels.names) if index != labels.background]
    mapping = {}
    for name in one.segmentation.labels.names:
        number = re.fullmatch(r"class (\d+)", name)
        if number and int(number[1]) < len(things):
            mapping[name] = things[int(number[1])]
        elif name == OBJECT and len(things) == 1:
            mapping[name] = things[0]
    drawing = from_prediction(one.segmentation, labels, task, mapping)
    ids = drawing.ids
    if one.void is not None:
        nothing = 0 if TASKS[task].objects else labels.background
        ids = np.where(one.void & (ids == nothing), np.uint16(IGNORE_ID), ids) if nothing is not None else ids
    hidden = one.hidden
    notes = (Message("drawings.hidden_objects", count=hidden),) if hidden else ()
    return replace(drawing, ids=ids, notes=(*drawing.notes, *notes))


def _looked_up(raw: np.ndarray, table: np.ndarray) -> np.ndarray:
    found = table[raw]
    if found.min() < 0:
        value = int(raw[found < 0][0])
        raise DataError("drawings.unknown_value", value=value)
    return found.astype(np.uint8)

"""Annotated pictures of any source (a folder, a list, another tool's files, ``hub:USER/NAME``) → a Dataset whose items are read one by one.

First every file is read once, in parallel, and only numbers are kept: sizes, hashes, which values masks hold, whether a mask was
compressed with loss. What the masks mean, the split and the doctor work on these numbers without reading again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seg_demo.annotations.channels import Channels, Depth, expand, fingerprint, picture_of, plane_mask
from seg_demo.annotations.coco import MOST_LAYERS, BadAnnotation, draw_item, list_coco
from seg_demo.annotations.folder import list_folder, list_table
from seg_demo.annotations.listing import NOTE, Fault, Item, Listing, Sample, decided_in, is_panoptic, leads_out, relative, sideways, turn, unconfirmed
from seg_demo.annotations.masks import (
    Maps,
    MaskRule,
    MaskScan,
    UnknownValue,
    clusters,
    hex_color,
    histogram,
    map_dtype,
    objects_in,
    scan_of,
    understand_maps,
    understood_in,
    with_objects,
)
from seg_demo.annotations.other_tools import list_tools
from seg_demo.annotations.published import OtherSize, classes_of, faults_in, list_panoptic, maps_of
from seg_demo.annotations.rules import Reading, understand
from seg_demo.core import INSTANCE, PANOPTIC, SEMANTIC, TASKS, DataError, LabelSet, Message, SegDemoError, Task, ignore_id, phrase
from seg_demo.inputs.formats import lossy_form
from seg_demo.inputs.mask_files import MaskFile, read_mask, read_object_map, settled
from seg_demo.inputs.object_maps import ObjectRule, objects_of


@dataclass(frozen=True)
class Dataset:
    """Training data that has been looked at once.

    Attributes:
        name: short, fit for the name of a repository.
        source: as it was typed.
        root: folder to which messages name files.
        labels: the classes.
        items: the images with their truth, in the order of their names.
        kind: the name of the task that it is truth for: ``semantic`` (a class per pixel), ``instance`` (separate objects too) or
            ``panoptic`` (things and stuff).
        things: label ids that objects may have.
        digest: sha256 over the decoded images, their truth, the given split and the class names.
        notes: what was assumed, a sentence each.
        faults: what is wrong with the listing.
        unclear: why the masks cannot be understood; leaving items out does not help.
        scans: what reading each item found, by its name; empty for built-in data.
        rule: how masks are read.
        objects: how instance maps are read.
        size: side of built-in images in pixels, 0 of others.
        render: makes the sample of an item that is rendered, of built-in data; else None.
        lenient: bad items were left out, and what cannot be helped by that is only noted.
        decided: which reading of the masks a person has chosen, or None.
        channels: how the values of files are read for a network; None for what a person sees.
        published: its classes are those of a published data set, of which a part need not show them all.
        again: makes the same dataset in another reading.
    """

    name: str
    source: str
    root: Path
    labels: LabelSet
    items: tuple[Item, ...]
    kind: str
    things: tuple[int, ...]
    digest: str
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    unclear: tuple[Fault, ...] = ()
    scans: Mapping[str, Scan] = field(default_factory=dict)
    rule: MaskRule = field(default_factory=lambda: MaskRule(np.uint8))
    objects: ObjectRule = field(default_factory=ObjectRule)
    size: int = 0
    render: Callable[[Item], Sample] | None = None
    lenient: bool = False
    decided: str | None = None
    channels: Channels | None = None
    published: bool = False
    again: Callable[[str], Dataset] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def depths(self) -> dict[str, Depth]:
        """Channels and bits of each image that could be read, by its item's name; empty for built-in data."""
        return {name: scan.depth for name, scan in self.scans.items() if scan.digest}

    @property
    def around(self) -> int | None:
        """What lies around the objects of an instance map that no mask goes with: the background, or None where it may be a class of stuff."""
        return self.labels.background if len(self.labels) == 2 else None

    def read_as(self, reading: str) -> Dataset:
        """The same data in another reading of its masks, one of :data:`seg_demo.annotations.listing.READINGS`; nothing is read again."""
        return self if self.again is None else self.again(reading)

    def named(self, name: str) -> Item:
        """The item of a name."""
        return next(item for item in self.items if item.name == name)

    def read(self, item: Item) -> Sample:
        """Decodes one item.

        Args:
            item: one of ``items``.

        Returns:
            Image uint8 (H, W, 3) upright RGB; label map uint8 or uint16 (H, W) with the ids of ``labels``, 255 (65535) to
            ignore; for ``instance`` data the objects too.

        Raises:
            DataError: a mask does not fit its image, or holds what has no label.
            BadImageError: a file cannot be read.
        """
        if item.rendered is not None:
            return self.render(item)
        picture = picture_of(item, self.channels)
        sample = self._read_truth(item, picture.pixels)
        return sample if self.channels is None else replace(sample, values=self.channels.of(picture))

    def _read_truth(self, item: Item, image: np.ndarray) -> Sample:
        if item.annotations is not None:
            return self._read_objects(item, image)
        if item.panoptic is not None:
            return self._read_panoptic(item, image)
        size = image.shape[:2]
        objects = None
        if item.instances is not None:
            try:
                found = settled(_fitting(item, item.instances, size, read_object_map), self.decided)
                objects = objects_of(found, self.objects)
            except ValueError as problem:
                raise DataError("data.instances_unreadable", path=item.instances, reason=problem) from problem
        instance_map = None if objects is None else objects.numbers
        try:
            if item.mask is not None:
                label_map = self.rule.read(settled(_fitting(item, item.mask, size, _classes_in(item)), self.decided))
            elif self.rule.thousands:
                label_map = self.rule.read(found)
            else:
                empty = ignore_id(self.rule.dtype) if self.around is None else self.around
                label_map = np.where(instance_map > 0, self.rule.dtype(self.rule.object_label), self.rule.dtype(empty))
                label_map[objects.ignored] = ignore_id(self.rule.dtype)
        except UnknownValue as unknown:
            raise DataError("data.mask_beyond_classes", path=item.mask or item.instances, values=unknown) from unknown
        return Sample(image, label_map, instance_map, item.name)

    def _read_objects(self, item: Item, image: np.ndarray) -> Sample:
        try:
            drawn, _ = draw_item(item, *image.shape[:2])
        except BadAnnotation as problem:
            raise DataError("data.bad_annotation", what=problem) from problem
        if drawn.problems:
            raise DataError("data.bad_annotation", what=drawn.problems[0])
        # Casting wraps 65535, which means ignore, to 255, which means the same in 8 bits.
        label_map = drawn.label_map.astype(self.rule.dtype)
        if self.kind == "semantic":
            return Sample(image, label_map, name=item.name)
        return Sample(image, label_map, drawn.instance_map, item.name, drawn.instance_labels, drawn.hidden)


    def _read_panoptic(self, item: Item, image: np.ndarray) -> Sample:
        try:
            maps = maps_of(item, *image.shape[:2])
        except OtherSize as other:
            came, wanted = f"{other.shape[1]} x {other.shape[0]}", f"{image.shape[1]} x {image.shape[0]}"
            raise DataError("data.other_size", path=item.panoptic.png, came=came, image=item.image.name, wanted=wanted) from other
        # Casting wraps 65535, which means ignore, to 255, which means the same in 8 bits.
        label_map = maps.label_map.astype(self.rule.dtype)
        return Sample(image, label_map, maps.instance_map, item.name, maps.instance_labels, crowd=maps.crowd)


def _classes_in(item: Item) -> Callable[[Path], MaskFile]:
    """What reads an item's mask."""
    return read_mask if item.decode is None else lambda path: item.decode(read_mask(path))


def _fitting(item: Item, path: Path, size: tuple[int, int], read: Callable[[Path], MaskFile]) -> MaskFile:
    """A mask at the size of its image, turned with the photo where it was drawn sideways."""
    mask = read(path) if item.truth_view is None else plane_mask(path, item.truth_view)
    shape = mask.size
    if shape != size:
        turned = sideways(item.image, size, shape)
        if turned is None:
            came, wanted = f"{shape[1]} x {shape[0]}", f"{size[1]} x {size[0]}"
            raise DataError("data.other_size", path=path, came=came, image=item.image.name, wanted=wanted)
        mask = replace(mask, numbers=turn(mask.numbers, turned))
    return mask


def open_annotated(source: str, *, workers: int, progress: bool = True, reading: str | None = None) -> Dataset:
    """Opens annotated pictures and reads every file of them once, in parallel, to learn what the masks mean.

    Args:
        source: a folder, a COCO ``*.json`` (of objects or panoptic), a list ``*.csv`` or ``*.jsonl`` of pairs, a file of an annotation tool, or
            ``hub:USER/NAME``, optionally ``@REVISION``.
        workers: threads that read; 0 counts as 1.
        progress: whether to draw a progress bar on stderr.
        reading: which of two readings of the masks is meant, one of :data:`seg_demo.annotations.listing.READINGS`; None takes what ``masks.json`` in the
            dataset's folder says, ``{"reading": "pieces"}``, if it is there.

    Raises:
        DataError: there is nothing at the source, or a list of it cannot be read. What is wrong with single files is no
            error but a fault, which the doctor reports with all the others.
    """
    try:
        listing = list_source(source)
    except OSError as error:
        raise DataError("data.source_unreadable", path=source, why=error.strerror or error) from error
    expand(listing)
    listing.items.sort(key=lambda item: item.name)
    decided = reading or decided_in(listing.root)
    scans = survey(listing.items, listing.root, workers=workers, progress=progress, decided=decided)
    return _understood(source, listing, scans, decided)


def list_source(source: str) -> Listing:
    """What :func:`open_annotated` opens, before any picture is looked at.

    Args:
        source: as there.

    Raises:
        DataError: as there.
    """
    if source.startswith("hub:"):
        # Its client takes half a second to import, which files need not wait for.
        from seg_demo.annotations.published import list_hub

        return list_hub(source.removeprefix("hub:"))
    path = Path(source).expanduser()
    if path.is_dir():
        return list_folder(path)
    if not path.is_file():
        raise DataError("data.none_there", path=source, cells="cells, objects")
    if (listing := list_tools(path)) is not None:
        return listing
    if path.suffix.lower() == ".json" and is_panoptic(path):
        return list_panoptic([(path, None)], path.name, path.parent)
    if path.suffix.lower() == ".json":
        return list_coco([(path, None)], path.name, path.parent)
    if path.suffix.lower() in (".csv", ".tsv", ".jsonl"):
        return list_table([(path, None)], path.name, path.parent, anywhere=True)
    raise DataError("data.single_file", path=source, suffix=path.suffix or "nameless")


def _understood(source: str, listing: Listing, scans: dict[str, Scan], decided: str | None) -> Dataset:
    """The dataset of a listing whose files have been read."""
    items, scanned = listing.items, scans
    coco = any(item.annotations is not None for item in items)
    if listing.things is not None:
        return _of_things_and_stuff(source, listing, scans)
    if coco or (not items and listing.classes is not None):
        classes = listing.classes
        labels = LabelSet.from_names(classes.names, background=0)
        reading = Reading(MaskRule(map_dtype(len(labels))), labels)
    else:
        masks = [scan.mask for scan in scans.values() if scan.mask is not None]
        only_objects = bool(items) and all(item.mask is None for item in items)
        maps = [scan.instances for scan in scans.values() if scan.instances is not None]
        classes = classes_of(listing, {value for scan in masks or maps for value in scan.counts})
        reading = understand(masks, classes, only_objects, maps, decided)
    if reading.masks_hold_objects:
        items = [replace(item, mask=None, instances=item.mask) for item in items]
        scans = {name: replace(scan, mask=None, instances=scan.mask and scan.mask.as_objects()) for name, scan in scans.items()}
    elif reading.rule.by_grey:
        grey_palettes = reading.rule.grey_palettes
        scans = {name: replace(scan, mask=scan.mask and scan.mask.as_greys(grey_palettes)) for name, scan in scans.items()}
    maps = {item.name: scans[item.name].instances for item in items if not coco and scans[item.name].instances is not None}
    objects = understand_maps(maps, items, listing.root, decided) if classes is None or classes.objects is None else Maps(classes.objects)
    countable = None if classes is None else classes.countable
    has_objects = (coco and not listing.per_pixel) or any(item.instances is not None for item in items)
    things = tuple(index for index, name in enumerate(reading.labels.names) if index != reading.labels.background and (countable is None or name in countable))
    rule, faults = (reading.rule, []) if coco or reading.faults else _with_maps_alone(reading.rule, items, things, listing.root)
    labels, kind, understood = reading.labels, INSTANCE.name if has_objects else SEMANTIC.name, ()
    if classes is not None and classes.panoptic and all(item.mask is not None and item.instances is not None for item in items):
        counted = np.array([name in countable for name in labels.names])
        labels, kind = dataclasses.replace(labels, things=counted), PANOPTIC.name
        of_things = int(counted.sum())
        understood = (Message("panoptic.understood_of_masks", file=classes.file, things=of_things, stuff=len(counted) - of_things),)
    return Dataset(
        name=listing.name,
        source=source,
        root=listing.root,
        labels=labels,
        items=tuple(items),
        kind=kind,
        things=things,
        digest=digest_of(items, scans, reading.labels),
        notes=(*listing.notes, *(classes.notes if classes else ()), *understood, *reading.notes, *objects.notes, *understood_in(items, scans, listing.root)),
        faults=(*listing.faults, *faults),
        unclear=(*reading.faults, *objects.faults),
        scans=scans,
        rule=rule,
        objects=objects.rule,
        decided=decided,
        published=classes is not None and classes.published,
        again=lambda other: _understood(source, listing, scanned, other),
    )


def _with_maps_alone(rule: MaskRule, items: Sequence[Item], things: tuple[int, ...], root: Path) -> tuple[MaskRule, list[Fault]]:
    """The rule for items of which some have an instance map and no mask, beside others with masks: all their objects are of the only
    class that has any, or else such an item has a fault."""
    alone = [item for item in items if item.mask is None and item.instances is not None]
    if not alone or rule.thousands or rule.object_label is not None:
        return rule, []
    if len(things) == 1:
        return replace(rule, object_label=things[0]), []
    what, remedy = Message("findings.objects_of_no_class", count=len(things)), Message("findings.add_class_mask_or_remove_image")
    return rule, [Fault("objects without classes", relative(item.instances, root), what, remedy, item=item.name) for item in alone]


def _of_things_and_stuff(source: str, listing: Listing, scans: dict[str, Scan]) -> Dataset:
    """The dataset of a panoptic listing, which leaves nothing to be understood."""
    classes, things = listing.classes, np.array(listing.things)
    labels = LabelSet.from_names(classes.names)
    colours = np.array(classes.colors, dtype=np.uint8) if classes.coloured else labels.colors
    labels = LabelSet(labels.names, colours, things=things)
    counted = sum(listing.things)
    return Dataset(
        name=listing.name,
        source=source,
        root=listing.root,
        labels=labels,
        items=tuple(listing.items),
        kind=PANOPTIC.name,
        things=tuple(np.flatnonzero(things).tolist()),
        digest=digest_of(listing.items, scans, labels),
        notes=(*listing.notes, Message("panoptic.understood", file=classes.file, things=counted, stuff=len(things) - counted)),
        faults=tuple(listing.faults),
        scans=scans,
        rule=MaskRule(map_dtype(len(labels))),
    )


def digest_of(items: list[Item] | tuple[Item, ...], scans: Mapping[str, Scan], labels: LabelSet) -> str:
    """sha256 of a dataset's content: decoded images, truth, given split and class names; not of where its files lie."""
    rows = sorted([scans[item.name].digest, scans[item.name].truth, item.split or ""] for item in items)
    return hashlib.sha256(json.dumps([list(labels.names), rows]).encode()).hexdigest()


def task_in(dataset: Dataset, tasks: Sequence[Task]) -> Task:
    """Which of a network's tasks a data set is truth for; the first where it is for none.

    Args:
        dataset: whose kind counts.
        tasks: of the network, what it was made for first.
    """
    return next((task for task in tasks if task.name == dataset.kind), tasks[0])


def labels_for(dataset: Dataset, task: str) -> LabelSet:
    """The classes that a network for a task learns from a data set.

    Args:
        dataset: with its classes.
        task: of classes, or of things and stuff: the data's own. Of objects: ``background`` as class 0, as torchvision wants it, and the
            classes that objects have; a class such as the cells' border, which is no object, is not among them.

    Raises:
        DataError: objects are wanted, and no class has any.
    """
    if not TASKS[task].objects or TASKS[task].stuff:
        return dataset.labels
    if not dataset.things:
        raise DataError("panoptic.no_things", data=dataset.source)
    names, colors = dataset.labels.names, dataset.labels.colors
    black = np.zeros((1, 3), dtype=np.uint8)
    return LabelSet(
        ("background", *(names[thing] for thing in dataset.things)), np.concatenate([black, colors[list(dataset.things)]]), 0
    )


def as_objects(sample: Sample, dataset: Dataset, task: str = INSTANCE.name) -> Sample:
    """A sample with separate objects whose classes are those of ``labels_for(dataset, task)``.

    Args:
        sample: of the data set; without objects, the connected components of its things become objects.
        dataset: where it is from.
        task: of objects.

    Returns:
        The sample with ``instance_labels``; an object whose class was not stated has the one that most of its pixels have.
    """
    sample = with_objects(sample, dataset.things)
    if not TASKS[task].stuff and sample.crowd is not None:
        sample = dataclasses.replace(sample, crowd=None)
    count = int(max(layer.max() for layer in sample.layers)) + 1
    lut = np.zeros(max(dataset.things, default=0) + 1, dtype=np.uint16)
    lut[list(dataset.things)] = dataset.things if TASKS[task].stuff else np.arange(1, len(dataset.things) + 1)
    if sample.instance_labels is not None:
        classes = lut[sample.instance_labels]
        classes[:1] = 0
        return dataclasses.replace(sample, instance_labels=classes)
    pixels = np.zeros((count, len(lut)), dtype=np.int64)
    inside = (sample.instance_map > 0) & np.isin(sample.label_map, dataset.things)
    np.add.at(pixels, (sample.instance_map[inside], sample.label_map[inside]), 1)
    classes = lut[pixels.argmax(axis=1)]
    classes[0] = 0
    nothing = pixels.sum(axis=1) == 0
    if TASKS[task].stuff:
        # What a person drew as an object of a class of stuff is a part of that.
        return dataclasses.replace(sample, instance_map=np.where(nothing[sample.instance_map], np.uint16(0), sample.instance_map), instance_labels=classes)
    # An object all of whose pixels are, say, border still is an object.
    classes[1:][nothing[1:]] = 1
    return dataclasses.replace(sample, instance_labels=classes)


@dataclass(frozen=True)
class Scan:
    """What reading one item found.

    Attributes:
        digest: sha256 of the upright decoded image; empty if it cannot be read.
        height: pixels of the upright image, 0 if unknown.
        width: pixels.
        mask: of the mask file, or None.
        instances: of the instance map, or None.
        object_pixels: COCO, panoptic too: label id → visible pixels, 65535 for crowds and void; else None.
        truth: sha256 of everything that says what the image shows.
        faults: what is wrong with its files, each with the item's name.
        depth: how many channels of how many bits the image has.
    """

    digest: str
    height: int
    width: int
    mask: MaskScan | None
    instances: MaskScan | None
    object_pixels: dict[int, int] | None
    truth: str
    faults: tuple[Fault, ...]
    depth: Depth = Depth()


def survey(
    items: Sequence[Item], root: Path, *, workers: int, progress: bool, decided: str | None = None
) -> dict[str, Scan]:
    """Reads all the items.

    Threads, because decoding and hashing release the interpreter's lock and a process that already runs torch is not safe
    to fork. At most ``workers`` images are in memory at a time.

    Args:
        items: with unique names.
        root: folder to which messages name files.
        workers: threads; 0 counts as 1.
        progress: whether to draw a progress bar on stderr.
        decided: which reading of the masks a person has chosen, or None.

    Returns:
        The scan of each item by its name.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        found = pool.map(lambda item: scan(item, root, decided), items)
        bar = tqdm(found, total=len(items), desc="Reading the data", unit="image", disable=None if progress else True, leave=False)
        return {item.name: result for item, result in zip(items, bar, strict=True)}
    finally:
        # Ctrl-C should not have to wait for the rest of the images.
        pool.shutdown(cancel_futures=True)


def scan(item: Item, root: Path, decided: str | None = None) -> Scan:
    """Reads one item: never raises for bad data, but returns it as faults."""
    faults: list[Fault] = []
    digest, height, width, depth = "", 0, 0, Depth()
    try:
        picture = picture_of(item)
        height, width = picture.pixels.shape[:2]
        digest, depth = fingerprint(picture, item), Depth.of(picture)
    except (SegDemoError, OSError) as error:
        faults.append(_unreadable("image", item.image, error, item, root))
    files = {}
    for which, path in (("mask", item.mask), ("instances", item.instances)):
        if path is not None:
            files[which] = _scan_mask(path, item, (height, width), root, faults, which == "instances", decided)
    drawn = None
    truth = [found.digest for found in files.values() if found]
    if item.annotations is not None:
        said = [(thing.label_id, thing.crowd, thing.segmentation, *([thing.order] if thing.order else [])) for thing in item.annotations]
        truth.append(hashlib.sha256(repr(said).encode()).hexdigest())
        drawn = _scan_objects(item, (height, width), faults) if digest else None
    if item.panoptic is not None:
        drawn, said = _scan_panoptic(item, (height, width), root, faults) if digest else ({}, "")
        truth.append(said)
    png = None if item.panoptic is None else item.panoptic.png
    if digest and (value := unconfirmed(item.image, item.mask or item.instances or png, (height, width))) is not None:
        what = Message("findings.turned_by_exif", value=value)
        remedy = Message("findings.compare_with_mask_and_save_upright")
        faults.append(Fault("photo turned by EXIF", relative(item.image, root), what, remedy, NOTE))
    faults += [_linked(path, root) for path in (item.image, item.mask, item.instances, png) if path is not None and leads_out(path, root)]
    joined = hashlib.sha256(" ".join(truth).encode()).hexdigest()
    return Scan(digest, height, width, files.get("mask"), files.get("instances"), drawn, joined, tuple(faults), depth)


def _scan_objects(item: Item, size: tuple[int, int], faults: list[Fault]) -> dict[int, int]:
    """Visible pixels per label of a COCO item, its faults appended to ``faults``."""
    try:
        drawn, turned = draw_item(item, *size)
        problems = drawn.problems
    except BadAnnotation as problem:
        drawn, turned, problems = None, None, (problem,)
    faults += [Fault(p.kind, p.file, p.what, p.remedy, item=item.name) for p in problems]
    if drawn is not None and drawn.buried:
        what = Message("findings.too_many_overlapping", buried=drawn.buried, most_layers=MOST_LAYERS)
        faults.append(Fault("overlapping objects", item.name, what, Message("findings.check_for_double_annotation"), NOTE))
    if turned is not None:
        faults.append(_turned_fault(item.name, item, size, turned))
    return {} if drawn is None else histogram(drawn.label_map, None, False).counts


def _scan_panoptic(item: Item, size: tuple[int, int], root: Path, faults: list[Fault]) -> tuple[dict[int, int], str]:
    """Pixels per label of a panoptic item and a hash of its truth, its faults appended to ``faults``."""
    try:
        maps = maps_of(item, *size)
    except OtherSize as other:
        faults.append(_size_fault(relative(item.panoptic.png, root), other.shape, size, item))
        return {}, ""
    except (SegDemoError, OSError, ValueError) as error:
        faults.append(_unreadable("mask", item.panoptic.png, error, item, root))
        return {}, ""
    faults += faults_in(maps, item, root)
    if maps.turned is not None:
        faults.append(_turned_fault(relative(item.panoptic.png, root), item, size, maps.turned))
    hashed = hashlib.sha256()
    for part in (maps.label_map, maps.instance_map, maps.instance_labels, maps.crowd):
        hashed.update(b"" if part is None else part.tobytes())
    return histogram(maps.label_map, None, False).counts, hashed.hexdigest()


def _scan_mask(
    path: Path, item: Item, size: tuple[int, int], root: Path, faults: list[Fault], objects: bool, decided: str | None
) -> MaskScan | None:
    """Numbers of one mask or instance map, its faults appended to ``faults``."""
    file = relative(path, root)
    try:
        if item.truth_view is not None:
            mask, lossy = settled(plane_mask(path, item.truth_view), decided), None
        else:
            mask, lossy = settled((read_object_map if objects else _classes_in(item))(path), decided), lossy_form(path)
    except (SegDemoError, OSError) as error:
        faults.append(_unreadable("mask", path, error, item, root))
        return None
    shape = mask.size
    if size[0] and shape != size:
        turned = sideways(item.image, size, shape)
        faults.append(_size_fault(file, shape, size, item) if turned is None else _turned_fault(file, item, size, turned))
    scanned = (objects_in if objects else scan_of)(mask, lossy is not None)
    if lossy is not None:
        faults.append(_lossy_objects(file, lossy, scanned, item) if objects else _lossy_fault(file, lossy, scanned, item))
    elif mask.others:
        faults.append(_several_pages(file, mask.pages, objects, item))
    return scanned


def _linked(path: Path, root: Path) -> Fault:
    what = Message("findings.is_a_link_to_outside", path=path.resolve())
    remedy = Message("findings.fine_if_links_are_yours")
    return Fault("links out of the dataset", relative(path, root), what, remedy, NOTE)


def _size_fault(file: str, shape: tuple[int, int], size: tuple[int, int], item: Item) -> Fault:
    what = Message("findings.size_differs_from_other", shape=shape[1], shape_2=shape[0], name=item.image.name, size=size[1], size_2=size[0])
    remedy = Message("findings.make_mask_at_image_size")
    return Fault("size mismatch", file, what, remedy, item=item.name)


def _turned_fault(file: str, item: Item, size: tuple[int, int], orientation: int) -> Fault:
    what = Message("findings.drawn_before_turning", name=item.image.name, orientation=orientation, size=size[1], size_2=size[0])
    return Fault("photo turned by EXIF", file, what, Message("findings.check_turn_or_save_upright"), NOTE)


def _lossy_fault(file: str, form: str, found: MaskScan, item: Item) -> Fault:
    levels = clusters(found.by_color if found.mode == "color" else found.counts, found.mode == "color")
    named = ", ".join(hex_color(v) if found.mode == "color" else str(v) for v in levels)
    what = Message("findings.lossy_blurs_labels", form=form, count=len(found.counts), named=named)
    remedy = Message("findings.save_mask_as_png_or_round", named=named)
    return Fault("JPEG mask", file, what, remedy, item=item.name)


def _lossy_objects(file: str, form: str, found: MaskScan, item: Item) -> Fault:
    what = Message("findings.lossy_invents_objects", form=form, count=len(found.counts))
    remedy = Message("findings.save_the_instance_map_as_png")
    return Fault("JPEG mask", file, what, remedy, item=item.name)


def _several_pages(file: str, pages: int, objects: bool, item: Item) -> Fault:
    what = Message("findings.holds_pages_that_differ", pages=pages)
    alone = Message("findings.save_page_by_itself")
    remedy = alone if objects else Message("findings.save_page_by_itself_or_use_instances")
    return Fault("several pages", file, what, remedy, item=item.name)


# Refusals of what is only too large.
_TOO_LARGE = ("images.too_many_bytes", "images.too_many_pixels", "images.far_too_many_pixels")


def _unreadable(which: str, path: Path, error: Exception, item: Item, root: Path) -> Fault:
    reason = _reason(error)
    mask, image, instances = (Message(f"findings.{word}") for word in ("mask", "image", "instances"))
    replaced, other = {"image": (image, mask), "mask": (mask, image)}.get(which, (instances, image))
    remedy = Message("findings.replace_the_or_remove", replaced=replaced, other=other)
    if reason.key in _TOO_LARGE:
        remedy = Message("findings.scale_down_or_raise_limits")
    return Fault(f"unreadable {which}", relative(path, root), phrase(reason), remedy, item=item.name)


def _reason(error: Exception) -> Message:
    """Why a picture cannot be read; what goes on with what is accepted, and what a visitor can do, is left out."""
    message = error.message if isinstance(error, SegDemoError) else Message.of(error if str(error) else type(error).__name__)
    if message.key == "images.refused":
        message = message.values["what"]
    return message

"""Training data as a person types it (a folder, a list, ``hub:USER/NAME``, ``cells``) → a Dataset whose items are read one by one.

What people bring is read by :mod:`seg_demo.annotations`; the built-in data is rendered. Samples are decoded once and kept (:func:`preload`), until the
memory budget is used up. Worker processes import this module and what renders or decodes, but no torch: each is small, and at work within a second.

What is wrong with training data, and what to do about it, before the first step; which images are learnt from and which are kept for measuring.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seg_demo.annotations.dataset import Dataset, as_objects, digest_of, open_annotated
from seg_demo.annotations.listing import FAULT, NOTE, Diagnosis, Fault, Item, Sample, relative
from seg_demo.annotations.masks import IGNORED, MaskScan, by_class, clusters, doubtful_maps, hex_color
from seg_demo.annotations.rules import blurred, tally
from seg_demo.core import TASKS, DataError, LabelSet, Message
from synthetic import nuclei
from synthetic import objects as rendered_objects
from synthetic.cells import CLASS_COLORS, CLASS_NAMES, render

CELLS, OBJECTS, NUCLEI = "cells", "objects", "nuclei"
CELLS_TRAIN, CELLS_VAL, CELLS_SIZE = 2400, 200, 256
# What this project renders: class names and colours; training and validation images, and their side in pixels.
BUILT_IN = {
    CELLS: (CLASS_NAMES, CLASS_COLORS, (CELLS_TRAIN, CELLS_VAL, CELLS_SIZE)),
    OBJECTS: (rendered_objects.CLASS_NAMES, rendered_objects.CLASS_COLORS, (2400, 24, 320)),
    NUCLEI: (nuclei.CLASS_NAMES, nuclei.CLASS_COLORS, (2400, 60, 256)),
}
# The validation images are the same whatever the training seed is, so that runs can be compared.
CELLS_VAL_SEED = 1
CHUNK = 64
# Share of an image that objects hardly ever have in all images of a dataset.
MOST_FOREGROUND = 0.9
# Difference of two colours in each channel that a rounding, or a typing error, makes.
NEAR = 4


def open_dataset(
    source: str,
    *,
    seed: int,
    size: int | None,
    workers: int,
    progress: bool = True,
    samples: int | None = None,
    reading: str | None = None,
) -> Dataset:
    """Opens training data and reads every file of it once, in parallel, to learn what the masks mean.

    Args:
        source: ``cells``, ``objects`` or ``nuclei`` (built in), or what :func:`open_annotated` takes.
        seed: of the built-in data; other data has its own content.
        size: side in pixels of built-in images, None for 256, of objects 320; other data has its own sizes.
        workers: threads that read; 0 counts as 1.
        progress: whether to draw a progress bar on stderr.
        samples: training images of built-in data, None for 2400; other data has its own number.
        reading: which of two readings of the masks is meant, as there.

    Raises:
        DataError: as there.
    """
    if source in BUILT_IN:
        return _built_in(source, seed, size, samples)
    return open_annotated(source, workers=workers, progress=progress, reading=reading)


def _built_in(source: str, seed: int, size: int | None, samples: int | None) -> Dataset:
    """Built-in data: training images of the seed, and validation images that no training seed draws."""
    if seed < 0:
        raise DataError("data.bad_seed", seed=seed)
    names, colors, (count, val_count, side) = BUILT_IN[source]
    count, side = (count if samples is None else samples), (side if size is None else size)
    # Training seeds are even and the validation seed is odd, so that no image is in both.
    train = [Item(f"{source}-train-{i:05d}", None, split="train", rendered=(2 * seed, i)) for i in range(count)]
    val = [Item(f"{source}-val-{i:05d}", None, split="val", rendered=(CELLS_VAL_SEED, i)) for i in range(val_count)]
    content = f"{source} {seed} {side} {count} {val_count} {CELLS_VAL_SEED} {names}"
    return Dataset(
        name=source, source=source, root=Path(), labels=LabelSet(names, np.array(colors, dtype=np.uint8), 0), items=(*train, *val),
        kind="instance", things=(1,), digest=hashlib.sha256(content.encode()).hexdigest(), size=side, render=partial(_rendered, source, side),
        notes=(Message("data.built_in", count=count, size=side, seed=seed, val=val_count),),
    )  # fmt: skip


def _rendered(source: str, side: int, item: Item) -> Sample:
    """A sample of built-in data, ``side`` pixels wide and high."""
    if source == OBJECTS:
        return rendered_objects.render(*item.rendered, side)
    if source == NUCLEI:
        return nuclei.render(*item.rendered, side)
    return render(*item.rendered, side, training=item.split == "train")


def read_item(dataset: Dataset, items: tuple[Item, ...], task: str, index: int) -> Sample:
    """Sample ``index`` of some items of a data set, with objects if the task needs them.

    A plain function of the module, so that other processes can run it.
    """
    sample = dataset.read(items[index])
    return as_objects(sample, dataset, task) if TASKS[task].objects else sample


def preload(
    read: Callable[[int], Sample], dataset: Dataset, count: int, budget: int, workers: int, quiet: bool = False
) -> dict[int, Sample]:
    """Read samples once, in parallel.

    Args:
        read: index → sample; picklable if the data set is rendered.
        dataset: where they are from.
        count: number of samples.
        budget: bytes of decoded pixels to keep.
        workers: processes or threads that read.
        quiet: no progress bar.

    Returns:
        index → sample for as many as fit, beginning with the first.
    """
    cached: dict[int, Sample] = {}
    used = 0
    # A chunk is in memory whole, kept or not: photographs come a few at a time, small rendered pictures many.
    chunk = CHUNK if dataset.source in BUILT_IN else 2 * max(1, workers)
    with _executor(read, dataset, workers) as executor:
        task = _read_in_worker if isinstance(executor, ProcessPoolExecutor) else read
        with tqdm(total=count, desc="reading images", unit="image", disable=quiet or None, leave=False) as bar:
            for first in range(0, count, chunk):
                indices = range(first, min(count, first + chunk))
                for index, sample in zip(indices, executor.map(task, indices), strict=True):
                    used += sample.nbytes
                    if used <= budget:
                        cached[index] = sample
                    bar.update()
                if used > budget:
                    break
    return cached


def _executor(read: Callable[[int], Sample], dataset: Dataset, workers: int) -> Executor:
    """Rendering is Python and needs processes; decoders let go of the interpreter, so threads are enough for files."""
    if dataset.source not in BUILT_IN:
        return ThreadPoolExecutor(workers)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(read, os.getpid()))


_read: Callable[[int], Sample] | None = None


def _begin(read: Callable[[int], Sample], parent: int) -> None:
    """Once per worker: the list of all items is sent once, not with every index; and nobody outlives a killed run."""
    global _read
    _read = read

    def leave_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _read_in_worker(index: int) -> Sample:
    return _read(index)


def examine(dataset: Dataset, train: Sequence[Item], val: Sequence[Item]) -> Diagnosis:
    """Everything that is wrong with a dataset and its split, from what :func:`open_dataset` read; opens no file.

    Built-in data is trusted.

    Args:
        dataset: as opened.
        train: items to learn from.
        val: items to measure on.
    """
    found = [*dataset.faults, *dataset.unclear]
    scanned = [(item, dataset.scans[item.name]) for item in (*train, *val) if item.name in dataset.scans]
    for item, scan in scanned:
        found += scan.faults
        if scan.mask is not None and not scan.mask.lossy and not dataset.unclear:
            found += _mask_faults(dataset, item, scan.mask)
    bad = {fault.item for fault in found if fault.severity == FAULT}
    sides = {
        "train": [item for item in train if item.name not in bad],
        "val": [item for item in val if item.name not in bad],
    }
    pixels: Counter[int] = Counter()
    images = {side: Counter() for side in sides}
    for side, items in sides.items():
        for item in items:
            if item.rendered is None:
                held = classes_of(dataset, item)
                pixels.update(held)
                images[side].update(held.keys())
                found += [] if dataset.unclear else _emptiness(dataset, item, held)
    if scanned:
        found += _copies(dataset, train, val)
        if not dataset.unclear:
            found += _absent_classes(dataset, images)
            found += _doubtful_masks(dataset, [item for side in sides.values() for item in side])
            found += _doubtful_maps(dataset, [item for side in sides.values() for item in side])
    found += _too_few(len(train), len(val), bool(dataset.faults))
    sizes = sorted((scan.width, scan.height) for _, scan in scanned if scan.digest) or [(dataset.size, dataset.size)]
    known = range(len(dataset.labels)) if scanned and not dataset.unclear else ()
    found.sort(key=lambda fault: fault.kind)
    return Diagnosis(
        name=dataset.name,
        kind=dataset.kind,
        n_train=len(train),
        n_val=len(val),
        sizes=(sizes[0], sizes[len(sizes) // 2], sizes[-1]),
        classes=dataset.labels.names,
        class_pixels=tuple(pixels[label] for label in known),
        class_images=tuple(images["train"][label] + images["val"][label] for label in known),
        assumed=dataset.notes,
        faults=tuple(fault for fault in found if fault.severity == FAULT),
        notes=tuple(fault for fault in found if fault.severity == NOTE),
    )


def without_bad(dataset: Dataset, diagnosis: Diagnosis) -> Dataset:
    """The dataset without the items that have a fault; its notes say how many went. Split and examine it again.

    What leaving items out cannot help stays a fault, except that classes which never occur are only noted from then on.

    Args:
        dataset: as opened.
        diagnosis: of it.
    """
    bad = {fault.item for fault in diagnosis.faults if fault.item is not None}
    kept = tuple(item for item in dataset.items if item.name not in bad)
    scans = {item.name: dataset.scans[item.name] for item in kept if item.name in dataset.scans}
    total = len({*bad, *(item.name for item in dataset.items)})
    note = Message("data.left_out", count=len(bad), total=total)
    return replace(
        dataset,
        items=kept,
        scans=scans,
        digest=digest_of(kept, scans, dataset.labels) if scans else dataset.digest,
        notes=(*dataset.notes, note) if bad else dataset.notes,
        faults=(),
        lenient=True,
    )


def _mask_faults(dataset: Dataset, item: Item, mask: MaskScan) -> list[Fault]:
    """What one mask holds that has no class."""
    _, unknown = tally(mask, dataset.rule)
    if not unknown:
        return []
    file = relative(item.mask, dataset.root)
    coloured = mask.mode == "color" or (mask.mode == "palette" and dataset.rule.by_palette)
    named = [hex_color(key) if coloured else str(key) for key in sorted(unknown, key=lambda key: -unknown[key])]
    if blurred(mask, None):
        return [_smoothed(mask, file, item)]
    listed = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    pixels = sum(unknown.values())
    if coloured:
        what = Message("findings.numbers_of_no_class", listed=listed, pixels=pixels)
        remedy = _known_otherwise(unknown, dataset.rule.colors) or Message("findings.add_colour_or_correct_mask")
        return [Fault("unknown colour", file, what, remedy, item=item.name)]
    highest = max((value for value, label in dataset.rule.values.items() if label >= 0), default=0)
    what = Message("findings.numbers_beyond_classes", listed=listed, pixels=pixels, highest=highest)
    return [Fault("label out of range", file, what, Message("findings.add_class_or_correct_mask"), item=item.name)]


def _known_otherwise(unknown: Collection[int], table: Mapping[int, int]) -> str | None:
    """What to do about colours that the list has with red and blue exchanged, or a little different; None for others."""
    turned = {color: (color & 255) << 16 | color & 0xFF00 | color >> 16 for color in unknown}
    if any(color != other for color, other in turned.items()) and all(other in table for other in turned.values()):
        return Message("findings.exchange_red_and_blue")
    near = {color: min(table, key=lambda other: _distance(color, other), default=None) for color in unknown}
    if any(other is None or _distance(color, other) > NEAR for color, other in near.items()):
        return None
    pairs = ", ".join(f"{hex_color(color)} for {hex_color(other)}" for color, other in list(near.items())[:5])
    return Message("findings.correct_the_list_or_the_masks", pairs=pairs)


def _distance(one: int, other: int) -> int:
    return max(abs((one >> shift & 255) - (other >> shift & 255)) for shift in (0, 8, 16))


def _smoothed(mask: MaskScan, file: str, item: Item) -> Fault:
    """The fault of a mask with more values or colours than classes."""
    coloured = mask.mode == "color"
    peaks = clusters(mask.counts, coloured)
    different, kind = len(mask.counts), Message("findings.colours" if coloured else "findings.values")
    if sum(mask.counts[peak] for peak in peaks) < sum(mask.counts.values()) / 2:
        remedy = Message("findings.put_the_mask_in_its_place")
        what = Message("findings.picture_rather_than_mask", different=different, kind=kind)
        return Fault("blurred mask", file, what, remedy, item=item.name)
    near = ", ".join(hex_color(peak) if coloured else str(peak) for peak in peaks)
    what = Message("findings.mask_was_smoothed", different=different, kind=kind, near=near)
    remedy = Message("findings.resize_with_nearest_neighbour", near=near)
    return Fault("blurred mask", file, what, remedy, item=item.name)


def _emptiness(dataset: Dataset, item: Item, held: dict[int, int]) -> list[Fault]:
    file = relative(item.mask or item.instances or item.image, dataset.root)
    if not held and item.annotations is None:
        what, remedy = Message("findings.all_pixels_ignored"), Message("findings.label_it_or_remove")
        return [Fault("nothing labelled", file, what, remedy, item=item.name)]
    background = dataset.labels.background
    if background is not None and not set(held) - {background}:
        what = Message("findings.shows_only_background") if item.annotations is None else Message("findings.has_no_annotated_object")
        remedy = Message("findings.fine_if_picture_shows_none")
        return [Fault("empty mask", file, what, remedy, NOTE)]
    return []


def _copies(dataset: Dataset, train: Sequence[Item], val: Sequence[Item]) -> list[Fault]:
    """Pictures that are there more than once: across a given split a fault, else a note."""
    same: dict[str, list[tuple[str, Item]]] = defaultdict(list)
    for side, items in (("train", train), ("val", val)):
        for item in items:
            if dataset.scans[item.name].digest:
                same[dataset.scans[item.name].digest].append((side, item))
    found = []
    for group in same.values():
        tested = next((item for side, item in group if side == "val"), None)
        learnt = [item for side, item in group if side == "train"]
        if tested is not None:
            for item in learnt:
                what = Message("findings.same_picture_in_train_and_val", image=relative(tested.image, dataset.root))
                remedy = Message("findings.remove_one_of_both_splits")
                file = relative(item.image, dataset.root)
                found.append(Fault("duplicate across the split", file, what, remedy, item=item.name))
        elif len(learnt) > 1:
            others = ", ".join(relative(item.image, dataset.root) for item in learnt[1:4])
            differ = len({dataset.scans[item.name].truth for item in learnt}) > 1
            what = Message("findings.same_picture_different_masks", others=others) if differ else Message("findings.same_picture_again", others=others)
            remedy = Message("findings.keep_one_with_right_mask") if differ else Message("findings.keep_one_copy")
            found.append(Fault("duplicate image", relative(learnt[0].image, dataset.root), what, remedy, NOTE))
    return found


def _doubtful_masks(dataset: Dataset, items: Sequence[Item]) -> list[Fault]:
    """Masks that say hardly what was meant: one value in each picture, or nearly nothing but foreground in all of them."""
    truth = {item.name: item for item in items if item.rendered is None and item.mask is not None}
    held = {name: pixels for name, item in truth.items() if (pixels := classes_of(dataset, item))}
    background = dataset.labels.background
    first = next((name for name, pixels in held.items() if set(pixels) - {background}), None)
    if len(held) < 2 or first is None:
        return []
    file = relative(truth[first].mask, dataset.root)
    if all(len(pixels) == 1 for pixels in held.values()):
        label = next(iter(held[first]))
        what = Message("findings.every_mask_is_one_class", names=dataset.labels.names[label], count=len(held))
        remedy = Message("findings.export_masks_with_class_numbers")
        return [Fault("one value everywhere", file, what, remedy)]
    if background is None:
        return []
    shares = [1 - pixels.get(background, 0) / sum(pixels.values()) for pixels in held.values()]
    if min(shares) <= MOST_FOREGROUND:
        return []
    share, most = 100 * shares[list(held).index(first)], 100 * MOST_FOREGROUND
    what = Message("findings.mostly_foreground", share=share, count=len(held), most=most)
    return [Fault("nearly all foreground", file, what, _exchange(dataset), NOTE)]


def _exchange(dataset: Dataset) -> Message:
    """How to say that two values mean the opposite."""
    labels, background = dataset.labels, dataset.labels.background
    shown = {label: value for value, label in sorted(dataset.rule.values.items(), reverse=True) if label >= 0 and _occurs(dataset, value)}
    if len(labels) != 2 or set(shown) != {0, 1} or background is None:
        return Message("findings.say_which_value_is_background")
    example = json.dumps({str(shown[background]): labels.names[1 - background], str(shown[1 - background]): labels.names[background]})
    return Message("findings.exchange_values_in_labels_json", example=example)


def _occurs(dataset: Dataset, value: int) -> bool:
    return any(scan.mask is not None and value in scan.mask.counts for scan in dataset.scans.values())


def _doubtful_maps(dataset: Dataset, items: Sequence[Item]) -> list[Fault]:
    """What about the instance maps is hardly meant so."""
    counts, shares, files = {}, {}, {}
    for item in items:
        scan = dataset.scans[item.name].instances if item.name in dataset.scans else None
        if scan is None or scan.lossy or dataset.objects.pieces:
            continue
        objects = dataset.objects.objects_in(scan.counts)
        counts[item.name] = len(objects)
        shares[item.name] = max(objects.values(), default=0) / max(1, sum(scan.counts.values()))
        files[item.name] = relative(item.instances, dataset.root)
    return doubtful_maps(counts, shares, files, dataset.decided is not None)


def _absent_classes(dataset: Dataset, images: dict[str, Counter[int]]) -> list[Fault]:
    """Classes that cannot be learnt because training never shows them, or not be measured because validation does not."""
    found: list[Fault] = []
    if not any(images["train"].values()) and not any(images["val"].values()):
        return found  # no truth could be read at all, and that is said already
    elsewhere = []
    for label, name in enumerate(dataset.labels.names):
        if label == dataset.labels.background:
            continue
        if not images["train"][label] and dataset.published:
            elsewhere.append(name)
        elif not images["train"][label]:
            where = Message("findings.in_any_image" if not images["val"][label] else "findings.in_a_training_image")
            remedy = Message("findings.add_images_of_class_or_drop_it")
            severity = NOTE if dataset.lenient else FAULT
            found.append(
                Fault("class never occurs", name, Message("findings.class_never_occurs", where=where), remedy, severity)
            )
        elif not images["val"][label]:
            what = Message("findings.class_not_in_validation")
            found.append(Fault("class not measured", name, what, Message("findings.add_more_images_of_class"), NOTE))
    if elsewhere:
        what = Message("findings.classes_of_others", count=len(elsewhere), names=", ".join(elsewhere))
        found.append(Fault("class never occurs", dataset.name, what, Message("findings.fine_for_a_part_of_it"), NOTE))
    return found


def _too_few(train: int, val: int, others_listed: bool) -> list[Fault]:
    if train and val:
        return []
    what = Message("findings.too_few_images_for_split", train=train, val=val)
    more = Message("findings.add_two_different_images")
    correct = Message("findings.correct_faults_too_few_images_left")
    return [Fault("too few images", Message("findings.the_data"), what, correct if others_listed else more)]


@dataclass
class _Group:
    """Items that show the same picture, which stay together."""

    order: str
    items: list[Item]
    classes: set[int]


def split(dataset: Dataset, val_fraction: float, seed: int) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Divides a dataset into training and validation items.

    A split that the data gives is kept as it is; items that it does not place are for training. Otherwise images are
    drawn by the hash of their decoded pixels and the seed, so that names and order do not matter, and copies of one
    picture stay together. Rare classes are placed first: each class that occurs is in training, and also in validation if
    more than one picture shows it, as far as the fraction allows. (A simple form of iterative stratification, Sechidis et
    al. 2011.)

    Args:
        dataset: with or without a given split.
        val_fraction: share of the images to validate on, in (0, 1). Rounded, but at least one image of two.
        seed: another seed gives another split.

    Returns:
        Training items and validation items, each in the order of the dataset.

    Raises:
        ValueError: a fraction outside (0, 1).
    """
    if not 0.0 < val_fraction < 1.0:
        raise ValueError(f"val_fraction must be between 0 and 1, but got {val_fraction}.")
    if any(item.split == "val" for item in dataset.items):
        return _parts(dataset, {item.name for item in dataset.items if item.split == "val"})
    free = [item for item in dataset.items if item.split is None] or list(dataset.items)
    groups = _groups(dataset, free, seed)
    wanted = min(max(1, round(val_fraction * len(free))), len(free) - 1)
    return _parts(dataset, _draw(groups, wanted))


def folds(
    dataset: Dataset, items: Sequence[Item], count: int, seed: int, most_pixels: float
) -> tuple[tuple[Item, ...], ...]:
    """Divides items into parts of which each is measured on by what has learnt from the others (cross-validation).

    Copies of one picture stay together. Each class is spread over as many parts as there are pictures of it, the rarest
    first (as in :func:`split`, after Sechidis et al. 2011); names and order do not matter.

    Args:
        dataset: whose items they are.
        items: to be divided.
        count: how many parts.
        seed: another seed gives other parts.
        most_pixels: of pictures that are taken; those beyond are left out, but for the first two for each part.

    Returns:
        The parts, each in the order of the dataset; fewer than ``count`` where there are fewer different pictures.
    """
    groups = _groups(dataset, list(items), seed)
    pictures = Counter(label for group in groups for label in group.classes)
    first: dict[str, _Group] = {}
    for label in sorted(pictures, key=lambda label: (pictures[label], label)):
        having = [group for group in groups if label in group.classes]
        missing = max(0, count - sum(group.order in first for group in having))
        first |= {group.order: group for group in [group for group in having if group.order not in first][:missing]}
    chosen: list[_Group] = []
    pixels = 0
    for group in (*first.values(), *(group for group in groups if group.order not in first)):
        size = sum(_pixels(dataset, item) for item in group.items)
        if len(chosen) < 2 * count or pixels + size <= most_pixels:
            chosen.append(group)
            pixels += size
    parts: list[list[_Group]] = [[] for _ in range(min(count, len(chosen)))]
    for group in chosen:
        rarest = min(group.classes, key=lambda label: (pictures[label], label), default=None)
        parts.sort(key=lambda part: (sum(rarest in other.classes for other in part), sum(len(other.items) for other in part)))
        parts[0].append(group)
    names = [{item.name for group in part for item in group.items} for part in parts]
    return tuple(sorted((tuple(item for item in dataset.items if item.name in held) for held in names), key=lambda part: part[0].name))


def _pixels(dataset: Dataset, item: Item) -> int:
    scan = dataset.scans.get(item.name)
    return dataset.size**2 if scan is None else scan.width * scan.height


def _parts(dataset: Dataset, val: set[str]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    train_items = tuple(item for item in dataset.items if item.name not in val)
    return train_items, tuple(item for item in dataset.items if item.name in val)


def _groups(dataset: Dataset, items: list[Item], seed: int) -> list[_Group]:
    """One group per picture, in an order that depends on the pixels and the seed alone."""
    by_picture: dict[str, list[Item]] = defaultdict(list)
    # Planes of one stack are alike: measured on one whose neighbour was learnt, any network looks good.
    stacks = len({item.stack or item.name for item in items}) > 1
    for item in items:
        scan = dataset.scans.get(item.name)  # what is rendered has none
        by_picture[f"stack {item.stack}" if item.stack is not None and stacks else (scan and scan.digest) or item.name].append(item)
    groups = []
    for same in by_picture.values():
        scan = dataset.scans.get(same[0].name)
        picture = (scan and scan.digest) or same[0].name
        classes = {label for item in same for label in classes_of(dataset, item)}
        groups.append(_Group(hashlib.sha256(f"{seed} {picture}".encode()).hexdigest(), same, classes))
    return sorted(groups, key=lambda group: group.order)


def classes_of(dataset: Dataset, item: Item) -> dict[int, int]:
    """Label id → pixels of one item, from the survey; without ignored pixels and without what has no label."""
    if (scan := dataset.scans.get(item.name)) is None:
        return {}
    if scan.object_pixels is not None:
        return {label: pixels for label, pixels in scan.object_pixels.items() if label != 65_535}
    if scan.mask is not None:
        return {label: pixels for label, pixels in tally(scan.mask, dataset.rule)[0].items() if label != IGNORED}
    if scan.instances is None:
        return {}
    if dataset.rule.thousands:
        return {label: pixels for label, pixels in tally(by_class(scan.instances), dataset.rule)[0].items() if label != IGNORED}
    objects = sum(dataset.objects.objects_in(scan.instances.counts).values())
    empty = sum(pixels for value, pixels in scan.instances.counts.items() if value not in dataset.objects.ignored) - objects
    thing = 1 if dataset.rule.object_label is None else dataset.rule.object_label
    return {label: pixels for label, pixels in ((dataset.around, empty), (thing, objects)) if pixels and label is not None}


def _draw(groups: list[_Group], wanted: int) -> set[str]:
    """Names of the validation items."""
    left = Counter(label for group in groups for label in group.classes)
    chosen: dict[str, _Group] = {}
    size = 0

    def take(group: _Group) -> None:
        nonlocal size
        chosen[group.order] = group
        size += len(group.items)
        left.subtract(group.classes)

    def spare(group: _Group) -> bool:
        """Whether training keeps another picture of each of its classes, and validation has room for it."""
        return size + len(group.items) <= wanted and all(left[label] > 1 for label in group.classes)

    total = dict(left)
    for label in sorted(total, key=lambda label: (total[label], label)):
        if total[label] == len(groups) or any(label in group.classes for group in chosen.values()):
            continue
        candidate = next((group for group in groups if label in group.classes and spare(group)), None)
        if candidate is not None:
            take(candidate)
    for group in groups:
        if group.order not in chosen and spare(group):
            take(group)
    if not chosen and len(groups) > 1:
        # No picture can be spared without loss: measuring nothing would be worse than learning from a little less.
        lost = {group.order: sum(left[label] < 2 for label in group.classes) for group in groups}
        take(min(groups, key=lambda group: (lost[group.order], len(group.items), group.order)))
    return {item.name for group in chosen.values() for item in group.items}

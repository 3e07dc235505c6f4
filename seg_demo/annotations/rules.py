"""What the masks of a dataset mean: from its class list, where there is one, and the values that its masks hold.

With a class list (see classes.py for its forms):

* numbers in the list are values in the masks; names alone are numbered from 0;
* names alone of which none is a background, in masks that go up to exactly their count: numbered from 1, 0 is the
  background;
* numbers up to exactly their count, without 0: numbered from 1 too;
* one class beside the background, in masks of 16 bits that go beyond it, or that hold 1, 2, 3 ...: objects of that class;
* masks of 0 and 255 with one class beside the background: 255 is that class;
* names alone of which the first is ``void``, ``ignore`` or the like: it is 0 where the masks go up to the last name's number;
  where they hold 255 and do not, or where labelme calls it ``__ignore__``, it is 255 and the next name is 0;
* as many grey values as classes, spread like 0, 127, 255: they follow in rising order; one more than classes of which none is a
  background: so too, and 0 is the background;
* value 0 (or black) without a class of its own is the background.

Without one, a meaning is proposed for the values and colours in the masks. In all cases 255 (65535 in 16 bits) means ignore unless it was given a class.

"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from seg_demo.annotations.classes import ClassList, is_left_out, is_unlabeled, is_unnumbered
from seg_demo.annotations.listing import (  # fmt: skip
    CLASSES,
    FOREGROUND,
    OBJECTS,
    OPAQUE,
    TRANSPARENT,
    VOID_FIRST,
    VOID_LAST,
    WHITE,
    WHITE_IGNORED,
    Fault,
    black_alpha_fault,
    grey_fault,
    mixed_fault,
    no_data_fault,
    unclear_fault,
    void_fault,
    white_fault,
)
from seg_demo.annotations.masks import IGNORED, MaskRule, MaskScan, by_class, by_thousands, clusters, hex_color, map_dtype
from seg_demo.core import LabelSet, Message, distinct_colors, is_background, sentences
from seg_demo.inputs.mask_files import BLACK_ALPHA, NODATA, greys_count
from seg_demo.inputs.object_maps import VOC_BORDER
from seg_demo.masks.compare import LEAST_SPREAD

BOTH = {0, 255}


@dataclass
class Reading:
    """What the masks mean.

    Attributes:
        rule: values and colours → label ids.
        labels: the classes.
        masks_hold_objects: the files listed as masks are instance maps.
        notes: what was assumed.
        faults: what keeps the masks from being understood.
    """

    rule: MaskRule
    labels: LabelSet
    masks_hold_objects: bool = False
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def understand(
    masks: Sequence[MaskScan],
    classes: ClassList | None,
    only_objects: bool,
    maps: Sequence[MaskScan] = (),
    decided: str | None = None,
) -> Reading:
    """Decides how the masks of a dataset are read.

    Args:
        masks: of all items; JPEGs and blurred ones are left aside.
        classes: the class list, or None.
        only_objects: the dataset has instance maps and no masks.
        maps: the instance maps of all items.
        decided: the reading that a person has chosen (see :class:`seg_demo.annotations.listing.Choice`), or None.
    """
    if only_objects and by_thousands(maps):
        # Such maps hold classes and objects at once.
        reading = understand([by_class(scan) for scan in maps if not scan.lossy], classes, False)
        return replace(reading, rule=replace(reading.rule, thousands=True), masks_hold_objects=False)
    if only_objects:
        return _objects(classes)
    masks, by_grey, grey_palettes = _by_what_is_meant(masks, classes)
    sound = [mask for mask in masks if not mask.lossy and not blurred(mask, classes)]
    spread = _spread_over_sixteen_bits(sound)
    if spread:
        sound = [_eight_bits(mask) for mask in sound]
    unmarked, marked = _without_data(sound, classes, decided)
    reading = _understood(unmarked, classes, decided)
    if marked and not any(len(mask.counts) > 1 for mask in unmarked):
        name = next((name for name in reading.labels.names if not is_background(name)), FOREGROUND)
        reading.faults = [no_data_fault(name)]
    if by_grey:
        reading.rule = replace(reading.rule, by_grey=True, grey_palettes=grey_palettes)
        reading.notes.append(Message("readings.greys"))
    if spread:
        wide = {257 * value: label for value, label in reading.rule.values.items() if value <= 255}
        reading.rule = replace(reading.rule, values={**reading.rule.values, **wide})
        if spread != {0, 65_535}:
            highest = max(value for value in spread if value < 65_535)
            reading.notes.append(Message("readings.bytes_in_16_bits", stored=highest, read=highest // 257))
    if decided not in (OPAQUE, TRANSPARENT) and any(BLACK_ALPHA in mask.understood for mask in masks):
        reading.faults.append(black_alpha_fault())
    return reading


def _by_what_is_meant(masks: Sequence[MaskScan], classes: ClassList | None) -> tuple[list[MaskScan], bool, bool]:
    """Masks that list greys by their numbers or by what they show, whether it is the latter, and whether no palette has a colour."""
    used: dict[int, set[int]] = {}
    coloured = any(color >> 16 != color & 255 or color >> 8 & 255 != color & 255 for mask in masks for color in mask.palette.values())
    listing = [mask for mask in masks if mask.levels and not (mask.mode == "palette" and coloured)]
    for mask in listing:
        for number, grey in mask.levels.items():
            used.setdefault(number, set()).add(grey)
    plain = {value for mask in masks if mask.mode == "grey" and not mask.levels and mask.bits == 8 for value in mask.counts}
    listed = None if classes is None or classes.values is None else set(classes.values)
    if not greys_count(used, plain, listed, None if classes is None else len(classes.names) + 1):
        # Numbers with a grey palette are numbers, as if they had none.
        return [mask if coloured or mask.mode != "palette" else replace(mask, mode="grey") for mask in masks], False, not coloured
    return [mask.as_greys(not coloured) for mask in masks], True, not coloured


def _spread_over_sixteen_bits(masks: Sequence[MaskScan]) -> set[int]:
    """The values of 16-bit masks that are 8 bits spread over 16: black and white, or two or more multiples of 257; else nothing.

    Then 65535 is 255, and no value to ignore where that is none.
    """
    values = {value for mask in masks if mask.bits == 16 and mask.mode == "grey" for value in mask.counts}
    spread = all(value % 257 == 0 and value <= 65_535 for value in values)
    return values if spread and 0 in values and (values == {0, 65_535} or len(values - {0, 65_535}) > 1) else set()


def _without_data(masks: Sequence[MaskScan], classes: ClassList | None, decided: str | None) -> tuple[list[MaskScan], bool]:
    """Masks without the pixels of 255 that their files themselves mark as without data, and whether there are any; as they are
    where a class is numbered 255, or a person has said what it is."""
    holding = [mask for mask in masks if mask.bits == 8 and 255 in mask.counts]
    listed = classes is not None and classes.values is not None and 255 in classes.values
    if not holding or listed or (decided or "").startswith(WHITE) or not all(NODATA in mask.understood for mask in holding):
        return list(masks), False
    return [replace(mask, counts={v: n for v, n in mask.counts.items() if v != 255}) if mask in holding else mask for mask in masks], True


def _eight_bits(mask: MaskScan) -> MaskScan:
    if mask.bits == 8 or mask.mode != "grey":
        return mask
    return replace(mask, bits=8, counts={value // 257: pixels for value, pixels in mask.counts.items()}, apart=0)


def _understood(sound: Sequence[MaskScan], classes: ClassList | None, decided: str | None) -> Reading:
    if classes is None:
        found = propose(sound, by_palette_colors=_palettes_differ(sound), decided=decided)
        if found.objects:
            reading = _objects(None)
            reading.masks_hold_objects = True
            reading.notes.append(found.note)
            return reading
        labels = LabelSet(found.names, found.colors, found.background)
        rule = _complete(map_dtype(len(labels)), dict(found.values), dict(found.color_table), found.by_palette)
        faults = [*found.faults, *_single_class(labels)]
        return Reading(rule, labels, notes=[found.note] if found.note else [], faults=faults)
    if decided != CLASSES and _number_objects(sound, classes):
        reading = _objects(classes)
        reading.masks_hold_objects = True
        name = reading.labels.names[1]
        reading.notes.append(Message("readings.numbers_as_objects", file=classes.file, name=name))
        return reading
    return _listed(sound, classes, decided)


def _number_objects(masks: Sequence[MaskScan], classes: ClassList) -> bool:
    """Whether masks that come with the name of one thing hold a number per object of it."""
    things = [name for name in classes.names if not is_background(name) and not is_left_out(name)]
    if len(things) != 1 or (classes.values is not None and len(classes.values) > 2) or any(m.mode != "grey" for m in masks):
        return False
    wide = any(mask.bits == 16 for mask in masks)
    beyond = {value for mask in masks for value in mask.counts if value < 65_535} - {0, 1, 255, *(classes.values or ())}
    return (wide and bool(beyond)) or (bool(beyond) and counted(masks, FEWEST_OBJECTS))


def _objects(classes: ClassList | None) -> Reading:
    names, fault = name_objects(classes)
    reading = Reading(MaskRule(np.uint8, object_label=1), LabelSet.from_names(names, background=0))
    reading.faults += [fault] if fault else []
    return reading


def _palettes_differ(masks: Sequence[MaskScan]) -> bool:
    """Whether an index has different colours in different palette masks, so that only the colours can mean something."""
    seen: dict[int, int] = {}
    return any(
        seen.setdefault(i, color) != color for mask in masks if mask.mode == "palette" for i, color in mask.palette.items()
    )


def _listed(masks: Sequence[MaskScan], classes: ClassList, decided: str | None) -> Reading:
    """Reads the masks by a class list."""
    coloured = classes.coloured and classes.values is None
    table = {red << 16 | green << 8 | blue for red, green, blue in (c for c in classes.colors if c)} | {0, VOC_BORDER}
    palettes = [mask for mask in masks if mask.mode == "palette"]
    by_palette = bool(palettes) and (
        _palettes_differ(palettes) or (coloured and all(set(mask.palette.values()) <= table for mask in palettes))
    )
    values: Counter[int] = Counter()
    colors: Counter[int] = Counter()
    for mask in masks:
        as_color = mask.mode == "color" or (mask.three_channels and coloured) or (mask.mode == "palette" and by_palette)
        (colors if as_color else values).update(mask.by_color if as_color else mask.counts)
    notes: list[str] = []
    faults: list[Fault] = []
    classes = _with_white_alone(classes, set(values), notes, decided)
    numbers = {} if any(classes.colors) else _numbers_in_one_channel(colors)
    if numbers:
        values.update({number: colors[color] for color, number in numbers.items()})
        colors = Counter()
        notes.append(Message("readings.number_in_one_channel"))
    positions = _positions(set(values) - {65_535}, classes, notes, faults, decided)
    names = list(classes.names)
    add_background = _lacks_background(classes, positions, values, colors)
    if add_background:
        names.insert(0, "background")
        notes.append(Message("readings.black_background", file=classes.file))
    elif 0 in positions and not is_background(names[positions[0]]) and not any(map(is_background, names)) and values:
        notes.append(Message("readings.first_class_for_0", file=classes.file, name=names[positions[0]]))
    ignored = [name for name in names if is_left_out(name)]
    alone = len(names) - len(ignored) < 2 and not any(map(is_background, names))
    empty = next((name for name in ignored if is_unlabeled(name)), None) if alone else None
    if empty is not None:
        ignored.remove(empty)
        notes.append(Message("readings.rest_as_background", name=empty))
    if ignored:
        notes.append(Message("readings.ignored", names=", ".join(ignored)))
    kept = [name for name in names if name not in ignored]
    ids = {name: kept.index(name) if name in kept else IGNORED for name in names}
    value_table = dict.fromkeys(classes.ignored, IGNORED) | {value: ids[classes.names[position]] for value, position in positions.items()}
    color_table = {
        color[0] << 16 | color[1] << 8 | color[2]: ids[name]
        for name, color in zip(classes.names, classes.colors, strict=True)
        if color
    }
    color_table |= {color: value_table[number] for color, number in numbers.items() if number in value_table}
    background = next((index for index, name in enumerate(kept) if is_background(name) or name == empty), None)
    if add_background:
        value_table.setdefault(0, 0)
    if background is not None:
        color_table.setdefault(0, background)
    if mixed(masks) and 255 not in positions and len(things := [n for n in kept if not is_background(n)]) == 1:
        if decided == WHITE + things[0]:
            value_table[255] = ids[things[0]]
        elif decided != WHITE_IGNORED:
            faults.append(mixed_fault(classes.file, things[0]))
    if (decided or "").startswith(WHITE) and (grey := _grey_between(set(values), classes)) is not None:
        # Between black and white is what is neither: a trimap's unknown.
        value_table.setdefault(grey, IGNORED)
    if colors and not any(classes.colors):
        faults.append(_no_colors(colors, classes))
    given = dict(zip(classes.names, classes.colors, strict=True))
    labels = LabelSet(tuple(kept), _label_colors([given.get(name) for name in kept], background), background)
    faults += _single_class(labels)
    rule = _complete(map_dtype(len(kept)), value_table, color_table, by_palette)
    return Reading(rule, labels, notes=notes, faults=faults)


def _numbers_in_one_channel(colors: Counter[int]) -> dict[int, int]:
    """Colour → number, where all colours are small numbers in one and the same channel: 0x020000 is 2. Nothing for colours that one sees."""
    for shift in (16, 8, 0):
        numbers = {color: color >> shift & 255 for color in colors}
        if colors and all(number << shift == color for color, number in numbers.items()):
            return numbers if 0 < max(numbers.values()) <= max(8, 2 * len(numbers)) else {}
    return {}


def _single_class(labels: LabelSet) -> list[Fault]:
    """One class in all: whatever a network answered would be right."""
    if len(labels) != 1:
        return []
    name = labels.names[0]
    what = Message("findings.only_one_class", name=name)
    remedy = Message("findings.name_other_value_in_labels_json")
    return [Fault("only one class", name, what, remedy)]


def _positions(
    values: set[int], classes: ClassList, notes: list[str], faults: list[Fault], decided: str | None
) -> dict[int, int]:
    """Value in the masks → position in the class list."""
    count = len(classes.names)
    things = [i for i, name in enumerate(classes.names) if not is_background(name) and not is_left_out(name)]
    empty = next((i for i, name in enumerate(classes.names) if is_background(name)), None)
    plain = dict(zip(classes.values or range(count), range(count), strict=True))
    if 255 in values and values <= BOTH and 255 not in plain:
        if len(things) == 1:
            notes.append(Message("readings.white_as_class", name=classes.names[things[0]]))
            return {255: things[0]} if empty is None else {0: empty, 255: things[0]}
        faults.append(white_fault(classes, [classes.names[thing] for thing in things], None if empty is None else classes.names[empty]))
        return plain
    grey = _grey_between(values, classes)
    if grey is not None and len(things) == 1:
        name = classes.names[things[0]]
        there = {} if empty is None else {0: empty}
        if decided == WHITE + name:
            return there | {255: things[0]}
        if decided == WHITE_IGNORED:
            return there | {grey: things[0]}
        faults.append(grey_fault(classes.file, name, grey))
        return plain
    if classes.values is not None:
        return plain
    used = values - {255}
    if count > 2 and is_left_out(classes.names[0]) and (used or decided):
        shifted = {255: 0, **{position - 1: position for position in range(1, count)}}
        beyond = bool(used) and max(used) > count - 2
        if decided == VOID_LAST or is_unnumbered(classes.names[0]) or (decided != VOID_FIRST and not beyond and 255 in values):
            notes.append(
                Message(
                    "readings.void_without_number",
                    void=classes.names[0],
                    file=classes.file,
                    first=classes.names[1],
                    second=classes.names[2],
                )
            )
            return shifted
        if decided != VOID_FIRST and not beyond:
            faults.append(void_fault(classes))
        return plain
    if used and max(used) == count and (empty is None or 0 not in used):
        return {position + 1: position for position in range(count)}
    if len(values) == count and max(values) >= LEAST_SPREAD and not used <= set(range(count)):
        levels = sorted(values)
        pairs = ", ".join(f"{value} = {name}" for value, name in zip(levels, classes.names, strict=True))
        notes.append(Message("readings.rising_greys", pairs=pairs))
        return dict(zip(levels, range(count), strict=True))
    if empty is None and 0 in values and len(values) == count + 1 and max(values) >= LEAST_SPREAD and not used <= set(range(count + 1)):
        levels = sorted(values)[1:]
        pairs = ", ".join(f"{value} = {name}" for value, name in zip(levels, classes.names, strict=True))
        notes.append(Message("readings.greys_and_background_in_order", pairs=pairs))
        return dict(zip(levels, range(count), strict=True))
    return plain


def _with_white_alone(classes: ClassList, values: set[int], notes: list[str], decided: str | None) -> ClassList:
    """The list without the other classes, where masks hold 0 and 255 and a person has said which class 255 is."""
    name = (decided or "").removeprefix(WHITE)
    if not (decided or "").startswith(WHITE) or name not in classes.names or not values <= BOTH or 255 in (classes.values or ()):
        return classes
    kept = [at for at, known in enumerate(classes.names) if known == name or is_background(known)]
    left = [known for at, known in enumerate(classes.names) if at not in kept and not is_left_out(known)]
    if left:
        notes.append(Message("readings.other_classes_left_out", file=classes.file, names=", ".join(left)))
    return replace(classes, names=tuple(classes.names[at] for at in kept), values=None, colors=tuple(classes.colors[at] for at in kept))


def _grey_between(values: set[int], classes: ClassList) -> int | None:
    """The grey of masks of black, one grey and white, which come with one class beside the background; None for others."""
    between = values - {0, 255, 65_535}
    things = [name for name in classes.names if not is_background(name) and not is_left_out(name)]
    if classes.values is not None or len(things) != 1 or len(between) != 1 or not values >= BOTH:
        return None
    (grey,) = between
    return grey if grey >= LEAST_SPREAD // 2 else None


def _lacks_background(classes: ClassList, positions: dict[int, int], values: Counter[int], colors: Counter[int]) -> bool:
    if any(map(is_background, classes.names)):
        return False
    black_listed = (0, 0, 0) in classes.colors
    return (0 in values and 0 not in positions and 0 not in classes.ignored) or (0 in colors and any(classes.colors) and not black_listed)


def _no_colors(colors: Counter[int], classes: ClassList) -> Fault:
    found = [hex_color(color) for color, _ in colors.most_common(8)]
    what = Message("findings.coloured_masks_list_without_colours", found=', '.join(found), value=' ...' if len(colors) > 8 else '', file=classes.file)
    pairs = zip(classes.names, found, strict=False)
    proposal = "{" + ", ".join(f'"{name}": "{color}"' for name, color in pairs) + "}"
    remedy = Message("findings.say_which_colour", proposal=proposal)
    # Only where there is a colour for every class can the guess be complete.
    complete = proposal if len(colors) == len(classes.names) else None
    return Fault("coloured masks", classes.file, what, remedy, proposal=complete)


def _label_colors(given: list[tuple[int, int, int] | None], background: int | None) -> np.ndarray:
    """uint8 (K, 3): the colours of the list, generated ones where it has none."""
    colors = distinct_colors(len(given), background)
    for index, color in enumerate(given):
        if color is not None:
            colors[index] = color
    return colors


def _complete(dtype: type, values: dict[int, int], colors: dict[int, int], by_palette: bool) -> MaskRule:
    """The rule with what holds for every dataset: ignore values, and grey masks that were saved with three channels."""
    values.setdefault(255, IGNORED)
    values.setdefault(65_535, IGNORED)
    colors.setdefault(VOC_BORDER, IGNORED)
    for value, label in values.items():
        if value <= 255:
            colors.setdefault(value * 0x010101, label)
    return MaskRule(dtype, values, colors, by_palette)


MOST_CLASSES = 64
MOST_IDS = 16
FEWEST_OBJECTS = 4
# Share of the numbers that may lie in several pieces and still be objects, some of which others cut in two.
MOST_APART = 0.2


@dataclass
class Found:
    """A proposal.

    Attributes:
        names: of the classes.
        colors: uint8 (K, 3).
        background: label id or None.
        values: value → label id.
        color_table: 0xRRGGBB → label id.
        by_palette: palette masks are read by colour.
        objects: the masks number objects instead of classes.
        note: what was assumed, as a sentence.
        faults: why nothing can be proposed.
    """

    names: tuple[str, ...]
    colors: np.ndarray
    background: int | None
    values: dict[int, int]
    color_table: dict[int, int]
    by_palette: bool = False
    objects: bool = False
    note: str = ""
    faults: tuple[Fault, ...] = ()


def name_objects(classes: ClassList | None) -> tuple[tuple[str, str], Fault | None]:
    """Names for data that has only instance maps, which say where objects are and not what.

    Returns:
        ("background", the object's class), and a fault if the list names several classes.
    """
    named = [name for name in (classes.names if classes else ()) if not is_background(name) and not is_left_out(name)]
    if len(named) <= 1:
        return ("background", named[0] if named else "object"), None
    what = Message("findings.instances_of_several_classes", count=len(named))
    remedy = Message("findings.add_class_masks_or_list_one_class")
    return ("background", "object"), Fault("classes without masks", classes.file, what, remedy)


def propose(masks: Sequence[MaskScan], by_palette_colors: bool, decided: str | None = None) -> Found:
    """Proposes classes for masks that come without a list.

    * Only 0 and 255: background and foreground.
    * Small numbers: one class each, 0 the background, 255 ignored.
    * Numbers of objects instead of classes, see :func:`numbering`.
    * Grey levels spread to 255 (0, 127, 255): one class each.
    * At most 64 colours: one class each, black the background, the others by falling area.

    Args:
        masks: those that are not blurred.
        by_palette_colors: palette masks disagree about their indices, so that their colours must count.
        decided: ``classes`` or ``objects``, where a person has said so.
    """
    values: Counter[int] = Counter()
    colors: Counter[int] = Counter()
    for mask in masks:
        if mask.mode == "color" or (mask.mode == "palette" and by_palette_colors):
            colors.update(mask.by_color)
        else:
            values.update(mask.counts)
    if colors:
        # A mask without any object is grey even among coloured ones.
        extra = set(values) - {0, 255}
        if extra:
            what = Message("findings.some_coloured_some_numbers", extra=min(extra))
            return _nothing(
                Fault("mixed masks", Message("findings.masks"), what, Message("findings.write_colours_or_save_alike"))
            )
        return _by_color(colors, by_palette_colors)
    wide = any(mask.bits == 16 for mask in masks)
    ids = set(values) - {65_535 if wide else 255}
    kind = decided if decided in (CLASSES, OBJECTS) else numbering(masks)
    if kind == "unclear":
        return _nothing(unclear_fault(max(ids)))
    if kind == "objects":
        note = Message("readings.unnamed_as_objects", most=max(ids))
        return Found(("background", "object"), distinct_colors(2, 0), 0, {}, {}, objects=True, note=note)
    if mixed(masks) and decided != WHITE_IGNORED:
        if decided == WHITE + FOREGROUND:
            return replace(_nothing(), values={0: 0, 1: 1, 255: 1})
        return _nothing(mixed_fault("masks", FOREGROUND))
    palettes = [mask.palette for mask in masks if mask.mode == "palette"]
    return _by_value(values, {k: v for palette in palettes for k, v in palette.items()}, wide)


def numbering(masks: Sequence[MaskScan]) -> str:
    """What the numbers in grey masks without a class list are.

    * Classes where they lie in several separate pieces: an object is one piece.
    * Objects where 16 bits hold many numbers, or where masks count (:func:`counted`) to more than there are classes
      as a rule, or, in 16 bits, further than three and in the order in which programs number objects, row by row.
    * Unclear where 16-bit masks count less far, or in another order: both happens.
    * Else classes, such as with the same few numbers in every mask.

    Returns:
        ``objects``, ``classes`` or ``unclear``.
    """
    numbers = [set(mask.counts) - {0, 65_535 if mask.bits == 16 else 255} for mask in masks if mask.mode == "grey"]
    ids = set().union(*numbers)
    several = sum(len(counts) for counts in numbers if len(counts) > 1)
    if len(ids) <= MOST_CLASSES and sum(mask.apart for mask in masks) > MOST_APART * several:
        return "classes"
    wide = any(mask.bits == 16 for mask in masks)
    if (wide and (max(ids, default=0) > 255 or len(ids) > MOST_IDS)) or counted(masks, MOST_IDS):
        return "objects"
    if not wide or not counted(masks, 2):
        return "classes"
    rising = all(mask.rising for mask, counts in zip(masks, numbers, strict=True) if len(counts) > 1)
    return "objects" if rising and counted(masks, FEWEST_OBJECTS) else "unclear"


def counted(masks: Sequence[MaskScan], least: int) -> bool:
    """Whether masks number objects by what they hold: each has 1, 2, 3 ... without gaps, not all equally many, some many.

    Args:
        masks: of one dataset.
        least: how many a mask has to hold at least once, so that a few classes are not taken for objects.
    """
    if any(mask.mode != "grey" for mask in masks):
        return False
    held = [set(mask.counts) - {0, 65_535 if mask.bits == 16 else -1} for mask in masks]
    most = {len(numbers) for numbers in held}
    return len(most) > 1 and max(most) >= least and all(numbers == set(range(1, len(numbers) + 1)) for numbers in held)


def mixed(masks: Sequence[MaskScan]) -> bool:
    """Whether some masks hold 0 and 255 and all others 0 and 1: two ways of saving the same, unless 255 means ignore."""
    held = {frozenset(mask.counts) for mask in masks}
    ways = frozenset({0, 1}), frozenset({0, 255})
    return set(ways) <= held and all(len(values) == 1 or values in ways for values in held)


def _nothing(fault: Fault | None = None) -> Found:
    names = ("background", FOREGROUND)
    return Found(names, distinct_colors(2, 0), 0, {0: 0, 255: 1}, {}, faults=(fault,) if fault else ())


def _by_value(values: Counter[int], palette: dict[int, int], wide: bool) -> Found:
    if set(values) <= {0, 255}:
        found = _nothing()
        found.note = Message("readings.white_as_foreground") if 255 in values else ""
        return found
    ids = sorted(set(values) - {65_535 if wide else 255})
    levels = 255 in values and not wide and max(ids) >= max(32, 2 * len(ids))
    if levels:
        ids = sorted(values)
    if len(ids) > MOST_CLASSES:
        what = Message("findings.too_many_values_without_list", count=len(ids))
        remedy = Message("findings.rename_to_instances_or_write_classes")
        return _nothing(Fault("too many classes", Message("findings.masks"), what, remedy))
    table = {value: label for label, value in enumerate(ids)}
    names = tuple("background" if value == 0 else f"class {value}" for value in ids)
    background = table.get(0)
    colors = distinct_colors(len(ids), background)
    shown = [palette.get(value) for value in ids]
    # A grey ramp is what drawing programs write by default; only a palette with colours was chosen by someone.
    chosen = any(color is not None and len({color >> 16, color >> 8 & 255, color & 255}) > 1 for color in shown)
    if chosen and None not in shown and len(set(shown)) == len(shown):
        colors = np.array([[color >> 16, color >> 8 & 255, color & 255] for color in shown], dtype=np.uint8)
    key = "readings.classes_assumed_255_ignored" if 255 in values and not levels else "readings.classes_assumed"
    advice = Message("readings.name_them_or_use_instances" if wide else "readings.name_them")
    note = sentences(Message(key, values=_listed_values(ids)), advice)
    return Found(names, colors, background, table, {}, note=note)


def _by_color(colors: Counter[int], by_palette: bool) -> Found:
    shown = [color for color, _ in sorted(colors.items(), key=lambda pair: (-pair[1], pair[0])) if color != VOC_BORDER]
    if len(shown) > MOST_CLASSES:
        what = Message("findings.colours_without_table", count=len(shown))
        remedy = Message("findings.write_colour_of_each_class")
        return _nothing(Fault("coloured masks", Message("findings.masks"), what, remedy))
    if 0 in shown:
        shown = [0, *(color for color in shown if color != 0)]
    background = 0 if shown[0] == 0 else None
    names = tuple("background" if color == 0 else hex_color(color) for color in shown)
    table = {color: label for label, color in enumerate(shown)} | {VOC_BORDER: IGNORED}
    rgb = np.array([[color >> 16, color >> 8 & 255, color & 255] for color in shown], dtype=np.uint8)
    proposal = ", ".join(f"{hex_color(color)} = {label}" for color, label in table.items() if label != IGNORED)
    note = Message("readings.colours_proposed", proposal=proposal)
    values = {0: 0} if background == 0 else {}
    return Found(names, rgb, background, values, table, by_palette, note=note)


def _listed_values(ids: list[int], most: int = 8) -> str:
    text = ", ".join(map(str, ids[:most]))
    return text + (f" and {len(ids) - most} more values" if len(ids) > most else "")


NEARLY_WHITE = 245


def blurred(mask: MaskScan, classes: ClassList | None) -> bool:
    """Whether a lossless mask was resized or smoothed: a few strong values with a trickle of others between them, or more
    colours than any list of classes has.

    Args:
        mask: what it holds.
        classes: the class list, whose values are never a blur, or None.
    """
    allowed = set() if classes is None else set(classes.values or range(len(classes.names) + 1)) | {255}
    if mask.mode == "color":
        return len(mask.counts) > (MOST_CLASSES if classes is None else max(MOST_CLASSES, 2 * len(classes.names)))
    if mask.mode != "grey" or mask.bits != 8 or set(mask.counts) <= allowed:
        return False
    if _rimmed(mask, allowed):
        return True
    if len(mask.counts) < 6:
        return False
    peaks = clusters(mask.counts, False)
    strong = sorted(mask.counts[peak] for peak in peaks)
    weak = [pixels for value, pixels in mask.counts.items() if value not in peaks]
    if len(strong) < 2 or max(peaks) < 64:
        return False
    return sum(weak) <= 0.3 * sum(strong) and 10 * float(np.median(weak)) <= strong[-2]


def _rimmed(mask: MaskScan, allowed: set[int]) -> bool:
    """Whether a mask of black and white has a few pixels of nearly white beside it: 254, 253 ..., which smoothing leaves."""
    white = mask.counts.get(255, 0)
    nearly = [value for value in mask.counts if NEARLY_WHITE <= value < 255 and value not in allowed]
    few = all(value < 255 - NEARLY_WHITE or value >= NEARLY_WHITE for value in mask.counts)
    return bool(nearly) and few and white > sum(mask.counts[value] for value in nearly)


def tally(mask: MaskScan, rule: MaskRule) -> tuple[dict[int, int], dict[int, int]]:
    """Pixels per label id of a mask, from what is already known of it.

    Returns:
        label id (or IGNORED) → pixels, and value or colour without a label → pixels.
    """
    as_color = mask.three_channels or (mask.mode == "palette" and rule.by_palette)
    counts, table = (mask.by_color, rule.colors) if as_color else (mask.counts, rule.values)
    known: Counter[int] = Counter()
    unknown: dict[int, int] = {}
    for key, pixels in counts.items():
        if key in table:
            known[table[key]] += pixels
        else:
            unknown[key] = pixels
    return dict(known), unknown

"""Classes of a dataset without a class list: the meaning that is proposed for the values and colours in its masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seg_demo.inputs.object_maps import VOC_BORDER
from seg_demo.types import distinct_colors
from train.data.classes import ClassList, is_background, is_left_out
from train.data.histogram import MaskScan
from train.data.listing import Choice, Fault
from train.data.masks import IGNORE, hex_color

MOST_CLASSES = 64
MOST_IDS = 16
FEWEST_OBJECTS = 4
# Share of the numbers that may lie in several pieces and still be objects, some of which others cut in two.
MOST_APART = 0.2
CLASSES, OBJECTS = "classes", "objects"


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
    what = f"names {len(named)} classes, but instance maps do not say which object is which"
    remedy = "add masks/ with a class per pixel beside instances/, or list one class"
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
            what = f"some masks are coloured and others hold numbers such as {min(extra)}"
            return _nothing(
                Fault("mixed masks", "masks", what, "write labels.json with the colours, or save all in one way")
            )
        return _by_color(colors, by_palette_colors)
    wide = any(mask.bits == 16 for mask in masks)
    ids = set(values) - {65_535 if wide else 255}
    kind = decided if decided in (CLASSES, OBJECTS) else numbering(masks)
    if kind == "unclear":
        return _nothing(_unclear_fault(max(ids)))
    if kind == "objects":
        note = (
            f"No class list names the numbers in the masks, which go up to {max(ids)}: each was read as one object. If they "
            "are classes, name them in classes.txt."
        )
        return Found(("background", "object"), distinct_colors(2, 0), 0, {}, {}, objects=True, note=note)
    if mixed(masks):
        return _nothing(mixed_fault("masks", "class"))
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
    several = sum(len(each) for each in numbers if len(each) > 1)
    if len(ids) <= MOST_CLASSES and sum(mask.apart for mask in masks) > MOST_APART * several:
        return "classes"
    wide = any(mask.bits == 16 for mask in masks)
    if (wide and (max(ids, default=0) > 255 or len(ids) > MOST_IDS)) or counted(masks, MOST_IDS):
        return "objects"
    if not wide or not counted(masks, 2):
        return "classes"
    rising = all(mask.rising for mask, each in zip(masks, numbers, strict=True) if len(each) > 1)
    return "objects" if rising and counted(masks, FEWEST_OBJECTS) else "unclear"


def _unclear_fault(most: int) -> Fault:
    what = f"16-bit masks hold the numbers 1 to {most} and there is no class list: they may be classes, or number the objects"
    remedy = (
        "if they are classes, write classes.txt with a name per line, the background first; if each is one object, rename "
        "masks/ to instances/, or in a list the column mask to instances; or choose with --mask-reading classes or objects"
    )
    choices = (Choice(CLASSES, "each number is a class"), Choice(OBJECTS, "each number is one object"))
    return Fault("classes or objects", "masks", what, remedy, choices=choices)


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


def mixed_fault(file: str, name: str) -> Fault:
    """The fault of such masks.

    Args:
        file: where the class is named, or what the message is about.
        name: of the class.
    """
    what = "some masks hold 0 and 255 and others 0 and 1"
    remedy = (
        f'if 255 is the class too, save all masks in one way; if it means ignore, say so in labels.json: '
        f'{{"0": "background", "1": "{name}", "255": "ignore"}}'
    )
    return Fault("mixed masks", file, what, remedy)


def _nothing(fault: Fault | None = None) -> Found:
    names = ("background", "foreground")
    return Found(names, distinct_colors(2, 0), 0, {0: 0, 255: 1}, {}, faults=(fault,) if fault else ())


def _by_value(values: Counter[int], palette: dict[int, int], wide: bool) -> Found:
    if set(values) <= {0, 255}:
        found = _nothing()
        found.note = "Masks hold 0 and 255: 255 was read as class 1, 'foreground'." if 255 in values else ""
        return found
    ids = sorted(set(values) - {65_535 if wide else 255})
    levels = 255 in values and not wide and max(ids) >= max(32, 2 * len(ids))
    if levels:
        ids = sorted(values)
    if len(ids) > MOST_CLASSES:
        what = f"the masks hold {len(ids)} different values and there is no class list"
        remedy = "if they number objects, rename the folder to instances/; otherwise write classes.txt with a name per line"
        return _nothing(Fault("too many classes", "masks", what, remedy))
    table = {value: label for label, value in enumerate(ids)}
    names = tuple("background" if value == 0 else f"class {value}" for value in ids)
    background = table.get(0)
    colors = distinct_colors(len(ids), background)
    shown = [palette.get(value) for value in ids]
    # A grey ramp is what drawing programs write by default; only a palette with colours was chosen by someone.
    chosen = any(color is not None and len({color >> 16, color >> 8 & 255, color & 255}) > 1 for color in shown)
    if chosen and None not in shown and len(set(shown)) == len(shown):
        colors = np.array([[color >> 16, color >> 8 & 255, color & 255] for color in shown], dtype=np.uint8)
    note = f"No class list: masks hold {_listed(ids)}, each read as a class of its own"
    if 255 in values and not levels:
        note += "; 255 is ignored"
    note += (
        ". Name them in classes.txt."
        if not wide
        else ". Name them in classes.txt, or use instances/ if they number objects."
    )
    return Found(names, colors, background, table, {}, note=note)


def _by_color(colors: Counter[int], by_palette: bool) -> Found:
    shown = [color for color, _ in sorted(colors.items(), key=lambda pair: (-pair[1], pair[0])) if color != VOC_BORDER]
    if len(shown) > MOST_CLASSES:
        what = f"the masks hold {len(shown)} colours and there is no colour table"
        remedy = 'write labels.json with the colour of each class, {"road": [128, 64, 128], ...}'
        return _nothing(Fault("coloured masks", "masks", what, remedy))
    if 0 in shown:
        shown = [0, *(color for color in shown if color != 0)]
    background = 0 if shown[0] == 0 else None
    names = tuple("background" if color == 0 else hex_color(color) for color in shown)
    table = {color: label for label, color in enumerate(shown)} | {VOC_BORDER: IGNORE}
    rgb = np.array([[color >> 16, color >> 8 & 255, color & 255] for color in shown], dtype=np.uint8)
    proposal = ", ".join(f"{hex_color(color)} = {label}" for color, label in table.items() if label != IGNORE)
    note = f"Masks are coloured and there is no colour table: read as {proposal}. Name the classes in labels.json."
    values = {0: 0} if background == 0 else {}
    return Found(names, rgb, background, values, table, by_palette, note=note)


def _listed(ids: list[int], most: int = 8) -> str:
    text = ", ".join(map(str, ids[:most]))
    return text + (f" and {len(ids) - most} more values" if len(ids) > most else "")

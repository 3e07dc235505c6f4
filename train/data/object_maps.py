"""What the instance maps of a dataset mean, and what about them cannot be right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from seg_demo.inputs import mask_files
from seg_demo.inputs.object_maps import THOUSAND, ObjectRule, understand_objects
from train.data.histogram import MaskScan
from train.data.listing import FAULT, NOTE, Choice, Fault, Item, relative

# Share of the values of all maps that lie in several pieces, from which on nobody can tell whether a value is an object.
MOST_APART = 0.5
LEAST_APART = 3
# Share of a picture that one object hardly ever has.
WHOLE = 0.95
# Counts that are so many times more or fewer than in most maps.
JUMP, LEAST_JUMP = 10, 20
VALUES, PIECES = "objects", "pieces"
_SAID = {
    mask_files.ALPHA: "The shape in {files} is in its transparency alone: what is opaque is the object, the rest is background.",
    mask_files.EMPTY_ALPHA: "{files}: transparent everywhere, so nothing is drawn there.",
    mask_files.HIDDEN: "{files}: what is transparent was read as background.",
    mask_files.NEGATIVE: "{files}: numbers below 0 are ignored.",
    mask_files.NAN: "{files}: pixels that are not numbers (NaN) are ignored.",
    mask_files.PAGES: "{files}: each page was read as one object.",
    mask_files.NODATA: "{files}: pixels of the value that the file names for what has no data are ignored.",
    mask_files.ZERO_NODATA: "{files}: the file names 0 for what has no data, and 0 was read like any other number. If such pixels are to "
    'be ignored, say so in labels.json, such as {{"0": "ignore", "1": "cell"}}.',
}


@dataclass
class Maps:
    """How the instance maps of a dataset are read.

    Attributes:
        rule: which values are objects.
        notes: what was assumed, a sentence each.
        faults: what keeps them from being understood.
    """

    rule: ObjectRule = field(default_factory=ObjectRule)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def by_class(scan: MaskScan) -> MaskScan:
    """A map of 1000 times the class plus a number → the same with the classes alone."""
    counts: Counter[int] = Counter()
    for value, pixels in scan.counts.items():
        counts[value if value < THOUSAND else value // THOUSAND] += pixels
    highest = max(counts)
    return replace(scan, counts=dict(sorted(counts.items())), bits=8 if highest <= 255 else 16, apart=0, rising=False)


def by_thousands(maps: Sequence[MaskScan]) -> bool:
    """Whether instance maps hold 1000 times the class plus a number."""
    return _rule(maps, "").rule.thousands


def _rule(maps: Sequence[MaskScan], where: str):
    sound = [scan for scan in maps if not scan.lossy]
    bits = 8 if all(scan.bits == 8 for scan in sound) else 16
    return understand_objects([scan.counts for scan in sound], [scan.mode == "color" for scan in sound], bits, where)


def understand_maps(maps: Mapping[str, MaskScan], items: Sequence[Item], root, decided: str | None = None) -> Maps:
    """How instance maps are read.

    Args:
        maps: item's name → what its map holds.
        items: of the dataset.
        root: folder to which messages name files.
        decided: what a person said where maps can be read in two ways: ``objects`` or ``pieces``.
    """
    if not maps:
        return Maps()
    files = {item.name: relative(item.instances, root) for item in items if item.instances is not None}
    first = next(iter(maps))
    where = files[first].rpartition("/")[0] + "/" if "/" in files[first] else "the instance maps"
    reading = _rule(list(maps.values()), where)
    rule, notes = reading.rule, list(reading.notes)
    sound = {name: scan for name, scan in maps.items() if not scan.lossy}
    counts = {name: len(rule.objects_in(scan.counts)) for name, scan in sound.items()}
    coloured = [name for name, scan in sound.items() if scan.mode == "color"]
    if coloured:
        name = max(coloured, key=counts.__getitem__)
        notes.append(f"Objects in {where} are colours: each colour is one object ({counts[name]} in {files[name]}).")
    if any(value > 65_535 for scan in sound.values() for value in scan.counts) and not coloured:
        highest = max(value for scan in sound.values() for value in scan.counts)
        notes.append(f"Numbers in {where} go up to {highest}: the objects of each map were renumbered from 1.")
    apart, several = sum(scan.apart for scan in sound.values()), sum(counts.values())
    faults = []
    if decided == PIECES:
        rule = replace(rule, pieces=True)
        notes.append(f"Each connected piece of a value in {where} was read as one object.")
    elif decided is None and (wrapped := [name for name in sound if _wrapped(sound[name], counts[name])]):
        faults.append(_wrapped_fault(files[wrapped[0]], sound[wrapped[0]].apart))
    elif decided is None and apart >= LEAST_APART and apart > MOST_APART * several:
        if any(item.mask is not None for item in items):
            # Beside masks, which say the classes, the maps are meant to say the objects.
            notes.append(
                f"{apart} of {several} values in {where} lie in several separate pieces; each value was read as one object. If each "
                f"connected piece is one, use --mask-reading {PIECES}."
            )
        else:
            faults.append(_values_or_pieces(where, apart, several))
    return Maps(rule, notes, faults)


def _wrapped(scan: MaskScan, objects: int) -> bool:
    """Whether a map of 8 bits holds every number there is, some of them in several pieces: more objects than 8 bits can number."""
    return scan.bits == 8 and scan.mode == "grey" and objects >= 250 and scan.apart >= LEAST_APART


def _wrapped_fault(file: str, apart: int) -> Fault:
    what = f"has 8 bits and uses all their numbers, and {apart} of them lie in several separate pieces: objects above 255 seem to have begun at 0 again"
    remedy = "save instance maps with 16 bits from their source; or say --mask-reading pieces (each connected piece is one object)"
    choices = (Choice(VALUES, "each value is one object"), Choice(PIECES, "each connected piece is one object"))
    return Fault("numbers ran out", file, what, remedy, choices=choices)


def _values_or_pieces(where: str, apart: int, several: int) -> Fault:
    what = (
        f"{apart} of {several} values lie in several separate pieces: each value may be one object, or a class whose connected "
        "pieces are the objects"
    )
    remedy = "choose with --mask-reading objects (each value is one object) or --mask-reading pieces (each connected piece is one)"
    choices = (Choice(VALUES, "each value is one object"), Choice(PIECES, "each connected piece is one object"))
    return Fault("values or pieces", where, what, remedy, choices=choices)


def understood_in(items: Sequence[Item], scans: Mapping[str, object], root) -> list[str]:
    """Sentences about what reading the files had to find out."""
    found: dict[str, list[str]] = {}
    for item in items:
        for path, scan in ((item.mask, scans[item.name].mask), (item.instances, scans[item.name].instances)):
            if path is None or scan is None:
                continue
            for kind in scan.understood:
                if kind in _SAID:
                    found.setdefault(kind, []).append(relative(path, root))
            if scan.pages > 1 and not scan.others and mask_files.PAGES not in scan.understood:
                found.setdefault("same pages", []).append(relative(path, root))
    said = {**_SAID, "same pages": "{files}: holds several equal pages; the first was read."}
    return [said[kind].format(files=_files(names)) for kind, names in found.items()]


def _files(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def doubtful_maps(
    counts: Mapping[str, int], shares: Mapping[str, float], files: Mapping[str, str], decided: bool
) -> list[Fault]:
    """What about instance maps is hardly meant so.

    Args:
        counts: item's name → objects.
        shares: item's name → share of the picture that its largest object has, 0 without one.
        files: item's name → how to name its map.
        decided: a person has said how the maps are read.
    """
    found: list[Fault] = []
    if len(counts) < 2:
        return found
    empty = [name for name, count in counts.items() if count == 0]
    if 2 * len(empty) > len(counts) and len(empty) < len(counts):
        what = f"holds no object, like {len(empty)} of {len(counts)} instance maps"
        remedy = "if there is something to see in these images, export the instance maps again; if not, there is nothing to do"
        found.append(Fault("maps without objects", files[empty[0]], what, remedy, NOTE))
    whole = [name for name, count in counts.items() if count == 1 and shares[name] >= WHOLE]
    if 2 * len(whole) > len(counts):
        # Whoever has said that each value is an object has looked.
        severity = NOTE if decided else FAULT
        what = f"holds one object that covers {100 * shares[whole[0]]:.0f} % of the picture, like {len(whole)} of {len(counts)} instance maps"
        remedy = (
            "look at one: if this is the background, save the maps again with 0 where there is no object; if the pictures show one "
            "thing each, use --mask-reading objects"
        )
        found.append(Fault("one object everywhere", files[whole[0]], what, remedy, severity))
    usual = median(counts.values())
    jumps = [
        name
        for name, count in counts.items()
        if abs(count - usual) >= LEAST_JUMP and (count >= JUMP * max(1, usual) or (0 < count <= usual / JUMP))
    ]
    if jumps and len(counts) > 2:
        name = max(jumps, key=lambda name: abs(counts[name] - usual))
        more = f", and {len(jumps) - 1} more differ as much" if len(jumps) > 1 else ""
        what = f"holds {counts[name]} objects where most instance maps hold about {usual:.0f}{more}"
        remedy = "check whether it was exported like the others; if it does show so many, there is nothing to do"
        found.append(Fault("counts that jump", files[name], what, remedy, NOTE))
    return found

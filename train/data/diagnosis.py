"""The doctor's findings, for a person and for a program."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from train.data.listing import Fault

PER_KIND = 3
CLASS_ROWS = 16
NOTE_LINES = 8


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Attributes:
        name: of the dataset.
        kind: ``semantic`` or ``instance``.
        n_train: images to train on.
        n_val: images to validate on.
        sizes: (width, height) in pixels of the smallest, the middle and the largest image.
        classes: names by label id.
        class_pixels: labelled pixels per class in sound images; empty for built-in data and where masks are unclear.
        class_images: sound images that show each class; empty for built-in data and where masks are unclear.
        assumed: how the data was read where it did not say.
        faults: what stops a run.
        notes: what a person should know and a run survives.
    """

    name: str
    kind: str
    n_train: int
    n_val: int
    sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    classes: tuple[str, ...]
    class_pixels: tuple[int, ...]
    class_images: tuple[int, ...]
    assumed: tuple[str, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]

    @property
    def n_items(self) -> int:
        """Images in training and validation together."""
        return self.n_train + self.n_val

    @property
    def ok(self) -> bool:
        """Whether a run may start."""
        return not self.faults

    def report(self) -> str:
        """One screen of text: the data, its classes, what was assumed, and the first few findings of each kind."""
        small, middle, large = (f"{width} x {height}" for width, height in self.sizes)
        size = small if small == large else f"{small} to {large} (typically {middle})"
        lines = [
            f"Data {self.name}: {self.n_train} images to train, {self.n_val} to validate; {size} pixels; {self.kind} truth."
        ]
        lines += self._class_lines()
        lines += [f"  {note}" for note in self.assumed]
        if self.notes:
            lines += ["Worth knowing:", *_by_kind(self.notes, most=NOTE_LINES, each=1)]
        if self.faults:
            count = len(self.faults)
            lines += [
                f"{count} fault{'s' if count > 1 else ''} to correct:",
                *_by_kind(self.faults, most=None, each=PER_KIND),
            ]
            if any(fault.item for fault in self.faults):
                bad = len({fault.item for fault in self.faults if fault.item})
                lines.append(f"--skip-bad leaves out the {bad} image{'s' if bad > 1 else ''} concerned.")
        else:
            lines.append("No problems found.")
        return "\n".join(lines)

    def _class_lines(self) -> list[str]:
        if not self.class_pixels:
            return [f"Classes: {', '.join(self.classes)}."]
        total = max(1, sum(self.class_pixels))
        width = min(24, max(len(name) for name in self.classes))
        lines = [f"{len(self.classes)} classes:"]
        rows = list(zip(self.classes, self.class_pixels, self.class_images, strict=True))
        for label, (name, pixels, images) in enumerate(rows[:CLASS_ROWS]):
            lines.append(f"  {label:3d} {name[:width]:{width}s} {100 * pixels / total:6.2f} % of pixels, in {images} images")
        if len(rows) > CLASS_ROWS:
            lines.append(f"  ... and {len(rows) - CLASS_ROWS} more")
        return lines

    def to_dict(self) -> dict[str, object]:
        """The findings as JSON-able data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "images": {"train": self.n_train, "val": self.n_val},
            "sizes": {"smallest": list(self.sizes[0]), "median": list(self.sizes[1]), "largest": list(self.sizes[2])},
            "classes": [{"id": label, "name": name} | self._counts(label) for label, name in enumerate(self.classes)],
            "assumed": list(self.assumed),
            "faults": [asdict(fault) for fault in self.faults],
            "notes": [asdict(fault) for fault in self.notes],
        }

    def _counts(self, label: int) -> dict[str, int]:
        return {"pixels": self.class_pixels[label], "images": self.class_images[label]} if self.class_pixels else {}


def _by_kind(found: Sequence[Fault], most: int | None, each: int) -> list[str]:
    """Lines of findings, the first few of each kind; a remedy is said once where it is the same."""
    kinds: dict[str, list[Fault]] = defaultdict(list)
    for fault in found:
        kinds[fault.kind].append(fault)
    lines = []
    for kind, faults in list(kinds.items())[:most]:
        lines.append(f"  {kind}" + (f" ({len(faults)})" if len(faults) > 1 else ""))
        lines += [f"    {fault.file}: {fault.what}" for fault in faults[:each]]
        if len(faults) > each:
            lines.append(f"    ... and {len(faults) - each} more")
        lines.append(f"    -> {faults[0].remedy}")
        if faults[0].picture is not None:
            lines.append(f"    The readings are shown in {faults[0].picture}.")
        if faults[0].choices:
            lines.append(f'    A file masks.json in the data\'s folder says it too: {{"reading": "{faults[0].choices[0].reading}"}}')
    if most is not None and len(kinds) > most:
        lines.append(f"  ... and {len(kinds) - most} more kinds")
    return lines

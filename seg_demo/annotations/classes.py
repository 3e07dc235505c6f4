"""Class names as people list them: classes.txt, labels.json in its many forms, and the lists of other tools: labelme's
``labels.txt`` and ``class_names.txt``, CVAT's ``labelmap.txt``, CamVid's ``label_colors.txt`` and ``class_dict.csv``, Roboflow's ``_classes.csv``.

What a list means for the values in masks:

* A number given with a name (``{"0": "background", "7": "cell"}``) is the value in the masks; gaps are fine.
* A colour given with a name (``{"cell": [255, 0, 0]}``, ``"#ff0000"``) is its colour in coloured masks.
* Names alone are numbered from 0 in their order. If none of them is a background and the masks use one number more than
  there are names, they are numbered from 1, and 0 is the background (see rules.py).
* Lines of classes.txt that all begin with a number of their own (``0 background``, ``1: cell``) give values as JSON does.
* ``ignore``, ``void`` and ``no data`` are not classes: their pixels are left out of loss and metrics, as those of value 255 are. A list of
  names that begins with one of them may number it 0, or, as labelme's ``__ignore__``, not at all (see rules.py).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seg_demo.core import DataError, Message, is_background

if TYPE_CHECKING:
    from seg_demo.inputs.object_maps import ObjectRule

FILES = (
    "labels.json", "classes.json", "id2label.json", "label2id.json", "class_names.json", "classes.txt", "class_names.txt", "labels.txt",
    "labelmap.txt", "label_colors.txt", "label_names.txt", "_classes.csv", "class_dict.csv", "classes.csv", "labels.csv",
)  # fmt: skip
IGNORED = frozenset({"ignore", "ignored", "void", "dontcare", "ignoreregion", "nodata", "novalue", "nodatavalue"})
# Not labelled is not the same as left out where there is but one other class: then it is what is not that class.
UNLABELED = frozenset({"unlabeled", "unlabelled", "unannotated", "notlabeled", "notlabelled"})
Color = tuple[int, int, int]


@dataclass(frozen=True)
class ClassList:
    """Class names from a file.

    Attributes:
        names: in the order of the file, or of their values where it gives values.
        values: the value of each in the masks, or None if the file gives only an order.
        colors: RGB of each in coloured masks, None for one without.
        file: where the list comes from.
        notes: what else is to be said of it, a sentence each.
        ignored: values in the masks that count for nothing.
        countable: names of the classes that objects have; None for all.
        panoptic: the others are stuff, of which a picture has one each.
        objects: how instance maps are read, where the data set is known; None where that is to be found out.
        published: they are those of a published data set, of which a part need not show them all.
    """

    names: tuple[str, ...]
    values: tuple[int, ...] | None
    colors: tuple[Color | None, ...]
    file: str
    notes: tuple[Message, ...] = ()
    ignored: tuple[int, ...] = ()
    countable: frozenset[str] | None = None
    panoptic: bool = False
    objects: ObjectRule | None = None
    published: bool = False

    @property
    def coloured(self) -> bool:
        """Whether every class has a colour."""
        return all(color is not None for color in self.colors)


def is_ignored(name: str) -> bool:
    """Whether a class name means pixels that count for nothing: ``ignore``, ``void``, ``don't care``."""
    return _plain(name) in IGNORED


def is_left_out(name: str) -> bool:
    """Whether pixels of a class of masks count for nothing: they are ignored, or nobody has labelled them."""
    return is_ignored(name) or is_unlabeled(name)


def is_unlabeled(name: str) -> bool:
    """Whether a class name means pixels that nobody has labelled."""
    return _plain(name) in UNLABELED


def is_unnumbered(name: str) -> bool:
    """Whether a class name is labelme's for pixels that have no number of their own: ``__ignore__``."""
    return name == "__ignore__"


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def find_classes(*folders: Path) -> ClassList | None:
    """The class list of a dataset: the first of ``FILES`` that lies in one of the folders, or None.

    Its notes name the other lists there that say something else.

    Raises:
        DataError: a list was found and cannot be used.
    """
    found = [folder / name for folder in dict.fromkeys(folders) for name in FILES if (folder / name).is_file()]
    if not found:
        return None
    chosen = read_classes(found[0])
    notes = []
    for path in found[1:]:
        try:
            other = read_classes(path)
        except DataError:
            continue  # nothing is read from it
        if _contradict(chosen, other):
            name = path.name if path.parent == found[0].parent else f"{path.parent.name}/{path.name}"
            notes.append(Message("readings.other_list", other=name, said=_names_of(other), file=chosen.file, used=_names_of(chosen)))
    return replace(chosen, notes=tuple(notes))


def _contradict(one: ClassList, other: ClassList) -> bool:
    """Whether two lists cannot both be right: other names, other numbers or colours for a name, or names alone in another order."""
    pairs = [(_plain(name), value, color) for name, value, color in zip(other.names, other.values or [None] * len(other.names), other.colors, strict=True)]
    known = {_plain(name): (value, color) for name, value, color in zip(one.names, one.values or [None] * len(one.names), one.colors, strict=True)}
    things = [[_plain(name) for name in listed.names if not is_background(name) and not is_left_out(name)] for listed in (one, other)]
    if set(things[0]) != set(things[1]):
        return True
    if any(None not in pair and pair[0] != pair[1] for name, value, color in pairs if name in known for pair in zip(known[name], (value, color), strict=True)):
        return True
    ordered = not any(listed.values is None and any(listed.colors) for listed in (one, other))
    return ordered and things[0] != things[1]


def _names_of(listed: ClassList, most: int = 6) -> str:
    """What a list says, shortly: its names, with their numbers where it gives any."""
    said = [name if listed.values is None else f"{listed.values[at]} = {name}" for at, name in enumerate(listed.names[:most])]
    return ", ".join(said) + (" ..." if len(listed.names) > most else "")


def read_classes(path: Path) -> ClassList:
    """Reads a class list.

    Args:
        path: ``*.json`` (numbers to names, names to numbers or colours, a list, or ``{"id2label": ..., "colors": ...}``, with the
            names of ``"things"`` where the others are stuff) or
            ``*.txt`` (a name per line, a number or a colour before or after it, or CVAT's ``name:r,g,b:parts:actions``), or
            ``*.csv`` (a header, then a name with its number or colour).

    Raises:
        DataError: not UTF-8, not JSON, no names, a name or number twice, a colour that is none.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        if path.suffix == ".json":
            data = json.loads(text)
            return _with_things(_checked(*_from_json(data), path.name), data)
        if path.suffix == ".csv":
            return _checked(*_from_table(text), path.name)
        return _checked(*_from_lines(text), path.name)
    except UnicodeDecodeError as error:
        raise DataError("data.no_utf8", path=path, why=error.reason, byte=error.start) from error
    except json.JSONDecodeError as error:
        raise DataError("data.no_json", path=path, why=error.msg, line=error.lineno) from error
    except RecursionError as error:
        raise DataError("data.nested_too_deeply", path=path) from error
    except _BadList as error:
        raise DataError("class_lists.bad", path=path, what=error) from error


class _BadList(Exception):
    """What is wrong with a class list, as the end of a sentence that begins with its path."""


Rows = tuple[list[str], list[int] | None, list[Color | None]]


def _from_lines(text: str) -> Rows:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if lines[:1] != ["__ignore__"]:  # labelme's lists have no comments
        lines = [line for line in lines if not line.startswith(("#", "//"))]
    if len(lines) == 1 and lines[0].count(",") and not re.search(r"\d", lines[0]):
        # All names in one line, or a list as Python prints it.
        lines = [name.strip(" \"'") for name in lines[0].strip("[](){}").split(",")]
        lines = [name for name in lines if name]
    cvat = [re.fullmatch(r"(.+?)\s*:\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?::.*)?", line) for line in lines]
    plain = [re.fullmatch(r"(.+?)\s*:\s*:[^:]*:[^:]*", line) for line in lines]
    if lines and all(one or other for one, other in zip(cvat, plain, strict=True)):
        # Where no label has a colour there, datumaro paints by the colours of VOC.
        colors = [_color([int(m[2]), int(m[3]), int(m[4])]) if m else None if any(cvat) else _voc_color(number) for number, m in enumerate(cvat)]
        return [(one or other)[1] for one, other in zip(cvat, plain, strict=True)], None, colors
    before = [re.fullmatch(r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;:]+(.*\S)", line) for line in lines]
    if lines and all(before):
        return [m[4] for m in before], None, [_color([int(m[1]), int(m[2]), int(m[3])]) for m in before]
    after = [re.fullmatch(r"(.*?\S)[\s,;:]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})", line) for line in lines]
    if lines and all(after):
        return [m[1] for m in after], None, [_color([int(m[2]), int(m[3]), int(m[4])]) for m in after]
    numbered = [re.fullmatch(r"(-1|\d{1,5})(?:\s*[:=,;]\s*|\s+)(.*\S)", line) for line in lines]
    # "5 cent", "10 cent" are names.
    if len(lines) > 1 and all(numbered) and _are_ids([int(m[1]) for m in numbered], [m[2] for m in numbered]):
        return _by_number([(int(m[1]), m[2]) for m in numbered])
    # "stage 1", "stage 2" are names, so a number after the name needs more than a blank before it.
    named = [re.fullmatch(r"(.*?\S)\s*[:=,;\t]\s*(-1|\d{1,5})", line) for line in lines]
    if len(lines) > 1 and all(named) and _are_ids([int(m[2]) for m in named], [m[1] for m in named]):
        return _by_number([(int(m[2]), m[1]) for m in named])
    return lines, None, [None] * len(lines)


def _by_number(pairs: list[tuple[int, str]]) -> Rows:
    """Names by their values; -1 is how some tools number what is ignored, which masks hold as 255."""
    pairs = sorted((255 if value == -1 else value, name) for value, name in pairs)
    return [name for _, name in pairs], [value for value, _ in pairs], [None] * len(pairs)


def _from_table(text: str) -> Rows:
    """A table with a header: a column of names, and one of numbers or three of colours."""
    lines = [line for line in text.splitlines() if line.strip()]
    separator = max(",;\t", key=lines[0].count) if lines else ","
    rows = [[cell.strip().strip('"') for cell in line.split(separator)] for line in lines]
    header = [re.sub(r"[\W_]+", "", cell.lower()) for cell in rows[0]] if rows else []

    def column(*names: str) -> int | None:
        return next((header.index(name) for name in names if name in header), None)

    name = column("name", "class", "classname", "label", "labelname", "category")
    number = column("pixelvalue", "value", "id", "classid", "labelid", "index", "pixel")
    colors = [column("r", "red"), column("g", "green"), column("b", "blue")]
    if name is None or len(rows) < 2 or any(len(row) != len(header) for row in rows):
        raise _BadList(Message("class_lists.table_without_names"))
    names = [_name(row[name]) for row in rows[1:]]
    if number is not None and all(re.fullmatch(r"-1|\d{1,5}", row[number]) for row in rows[1:]):
        return _by_number([(int(row[number]), name) for row, name in zip(rows[1:], names, strict=True)])
    if None not in colors and all(row[column].isdigit() for row in rows[1:] for column in colors):
        return names, None, [_color([int(row[column]) for column in colors]) for row in rows[1:]]
    return names, None, [None] * len(names)


def _are_ids(values: list[int], names: list[str]) -> bool:
    """Whether the numbers before names are their ids: each once, a 0 or a 1 among them, and no name twice."""
    return len(set(values)) == len(set(names)) == len(values) and min(values) in (-1, 0, 1)


def _from_json(data: object) -> Rows:
    if isinstance(data, dict) and isinstance(data.get("id2label"), dict | list):
        names, values, colors = _from_json(data["id2label"])
        return names, values, _named_colors(data.get("colors", data.get("palette")), names) or colors
    if isinstance(data, dict) and isinstance(data.get("labels", data.get("classes")), dict | list):
        return _from_json(data.get("labels", data.get("classes")))
    if isinstance(data, list) and data and all(isinstance(entry, dict) for entry in data):
        return _from_records(data)
    if isinstance(data, list):
        return [_name(entry) for entry in data], None, [None] * len(data)
    if not isinstance(data, dict):
        raise _BadList(Message("class_lists.no_list", kind=type(data).__name__))
    if all(_is_number(key) for key in data):
        return _by_number([(int(key), _name(value)) for key, value in data.items()])
    if all(isinstance(value, int) and not isinstance(value, bool) for value in data.values()):
        return _by_number([(value, _name(key)) for key, value in data.items()])
    return [_name(key) for key in data], None, [_color(value) for value in data.values()]


def _from_records(records: list[dict]) -> Rows:
    names = [_name(next((r[key] for key in ("name", "label", "class") if key in r), None)) for r in records]
    numbers = [next((r[key] for key in ("id", "value", "index") if key in r), None) for r in records]
    colors = [_color(r["color"]) if r.get("color") is not None else None for r in records]
    if all(number is None for number in numbers):
        return names, None, colors
    if not all(isinstance(number, int) for number in numbers):
        raise _BadList(Message("class_lists.some_numbers", numbers=numbers[:5]))
    order = sorted(range(len(names)), key=lambda index: numbers[index])
    return [names[i] for i in order], [numbers[i] for i in order], [colors[i] for i in order]


def _named_colors(data: object, names: list[str]) -> list[Color | None] | None:
    if data is None:
        return None
    if isinstance(data, list) and len(data) == len(names):
        return [_color(value) for value in data]
    if isinstance(data, dict):
        return [_color(data[name]) if name in data else None for name in names]
    raise _BadList(Message("class_lists.other_count_of_colours", count=len(names)))


def _color(value: object) -> Color:
    """RGB of ``[r, g, b]`` or ``#rrggbb``."""
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    whole = isinstance(value, list) and len(value) in (3, 4) and all(type(v) is int and 0 <= v <= 255 for v in value)
    if not whole:
        raise _BadList(Message("class_lists.no_colour", value=str(value)[:40]))
    return value[0], value[1], value[2]


def _voc_color(number: int) -> Color:
    """The colour of VOC's palette: the bits of a number dealt out to red, green and blue from the highest down."""
    red, green, blue = (sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3))
    return red, green, blue


def _with_things(listed: ClassList, data: object) -> ClassList:
    """The list with what it says of things and stuff: the names of things, which must be classes."""
    things = data.get("things") if isinstance(data, dict) and "id2label" in data else None
    if things is None:
        return listed
    if not isinstance(things, list) or (strange := next((thing for thing in things if thing not in listed.names), None)) is not None:
        raise _BadList(Message("class_lists.no_thing", value=repr(things if not isinstance(things, list) else strange)[:40]))
    return replace(listed, countable=frozenset(things), panoptic=True)


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _BadList(Message("class_lists.no_name", value=str(value)[:40]))
    return value.strip()


def _is_number(key: str) -> bool:
    return re.fullmatch(r"-1|\d{1,5}", key) is not None


def _checked(names: list[str], values: list[int] | None, colors: list[Color | None], file: str) -> ClassList:
    if not names:
        raise _BadList(Message("class_lists.empty"))
    for what, given in (("name", names), ("number", values or []), ("colour", [c for c in colors if c])):
        twice = next((entry for index, entry in enumerate(given) if entry in given[:index]), None)
        if twice is not None:
            raise _BadList(Message(f"class_lists.{what}_twice", value=repr(twice)))
    if values is not None and not 0 <= values[0] <= values[-1] <= 65_535:
        raise _BadList(Message("class_lists.numbers_beyond_masks", least=values[0], most=values[-1]))
    return ClassList(tuple(names), None if values is None else tuple(values), tuple(colors), file)

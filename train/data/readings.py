"""Masks that can be read in several ways, of which none is more likely: the readings, what is said about them, and who decides.

A person decides with ``--mask-reading``, or with a ``masks.json`` beside the images: ``{"reading": "255=cell"}``.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from seg_demo.core.errors import DataError, Message
from train.data.classes import ClassList
from train.data.listing import Choice, Fault
from train.data.masks import PIECES

CLASSES, OBJECTS = "classes", "objects"
OPAQUE, TRANSPARENT = "opaque", "transparent"
VOID_FIRST, VOID_LAST = "void-0", "void-255"
# Before the name of the class that 255 is, or before "ignore".
WHITE = "255="
WHITE_IGNORED = WHITE + "ignore"
READINGS = (CLASSES, OBJECTS, PIECES, OPAQUE, TRANSPARENT, VOID_FIRST, VOID_LAST)
DECISION = "masks.json"
# What is not the background, where nobody names it.
FOREGROUND = "foreground"
# Classes of which a picture is drawn where 255 may be any of them.
_MOST_CHOICES = 4


def decided_in(root: Path) -> str | None:
    """The reading that ``masks.json`` in a dataset's folder decides for, or None.

    Raises:
        DataError: the file is there and says nothing of the kind.
    """
    path = root / DECISION
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))
        found = said.get("reading") if isinstance(said, dict) else None
    except (ValueError, OSError, RecursionError):
        found = None
    if found not in READINGS and not str(found).startswith(WHITE):
        raise DataError("data.no_reading", path=path, example='{"reading": ...}', names=", ".join((*READINGS, WHITE + "CLASS")))
    return found


def black_alpha_fault() -> Fault:
    """The fault of shapes that are black with transparency round them, or transparent with black round them."""
    what = Message("findings.shape_in_transparency_alone")
    remedy = Message("findings.choose_opaque_or_transparent", opaque=OPAQUE, transparent=TRANSPARENT)
    choices = (Choice(OPAQUE, Message("findings.the_opaque_part_is_the_object")), Choice(TRANSPARENT, Message("findings.the_transparent_part_is_the_object")))
    return Fault("opaque or transparent", Message("findings.masks"), what, remedy, choices=choices)


def no_data_fault(name: str) -> Fault:
    """The fault of masks that hold nothing but one number and what their files mark as without data."""
    what, remedy = Message("findings.one_number_and_no_data"), Message("findings.choose_white_or_save_without_tag", reading=shlex.quote(WHITE + name), name=name)
    return Fault("0/255 masks", Message("findings.masks"), what, remedy, choices=(_white(name),))


def _white(name: str) -> Choice:
    return Choice(WHITE + name, Message("findings.white_is", name=name))


def white_fault(classes: ClassList, things: Sequence[str], nothing: str | None) -> Fault:
    """The fault of masks of 0 and 255 whose list names several classes.

    Args:
        classes: the list.
        things: those of its classes that 255 may be.
        nothing: the background's name in it, or None.
    """
    # Two names of which none is a background are 0 and 255 as likely as not.
    two = things if nothing is None and len(things) == 2 else (nothing, things[0])
    proposal = json.dumps({value: name for value, name in zip(("0", "255"), two, strict=True) if name is not None}, ensure_ascii=False)
    what = Message("findings.only_0_and_255_for_several_classes", file=classes.file, count=len(classes.names))
    remedy = Message("findings.choose_what_white_is", reading=shlex.quote(WHITE + things[0]), proposal=proposal)
    choices = tuple(_white(thing) for thing in things[:_MOST_CHOICES])
    return Fault("0/255 masks", classes.file, what, remedy, proposal=proposal, choices=choices)


def grey_fault(file: str, name: str, grey: int) -> Fault:
    """The fault of masks of black, one grey and white that come with one class.

    Args:
        file: where the class is named.
        name: of the class.
        grey: between 0 and 255.
    """
    white, ignored = Message("findings.white_is_and_grey_ignored", name=name, grey=grey), Message("findings.grey_is_and_white_ignored", name=name, grey=grey)
    remedy = Message("findings.choose_white_or_ignore", reading=shlex.quote(WHITE + name), means=white, other=WHITE_IGNORED, other_means=ignored)
    what = Message("findings.only_0_grey_and_255_for_one_class", file=file, grey=grey, name=name)
    return Fault("black, grey and white", file, what, remedy, choices=(Choice(WHITE + name, white), Choice(WHITE_IGNORED, ignored)))


def void_fault(classes: ClassList) -> Fault:
    """The fault of a list that begins with what is ignored, for masks that fit it either way."""
    void, first, second = classes.names[:3]
    last = classes.names[-1]
    what = Message("findings.void_first_or_without_number", void=void, last=last, first=first)
    remedy = Message("findings.choose_reading_of_void", void_first=VOID_FIRST, void=void, void_last=VOID_LAST, first=first, second=second)
    choices = (Choice(VOID_FIRST, Message("findings.void_is_0_first_is_1", void=void, first=first)), Choice(VOID_LAST, Message("findings.first_is_0_second_is_1", first=first, second=second)))
    return Fault("where numbers begin", classes.file, what, remedy, choices=choices)


def unclear_fault(most: int) -> Fault:
    """The fault of 16-bit masks whose numbers, up to ``most``, may be classes or objects."""
    what = Message("findings.sixteen_bits_without_class_list", most=most)
    remedy = Message("findings.write_classes_or_choose_objects")
    choices = (Choice(CLASSES, Message("findings.each_number_is_a_class")), Choice(OBJECTS, Message("findings.each_number_is_one_object")))
    return Fault("classes or objects", Message("findings.masks"), what, remedy, choices=choices)


def mixed_fault(file: str, name: str) -> Fault:
    """The fault of masks some of which hold 0 and 255 and the others 0 and 1.

    Args:
        file: where the class is named, or what the message is about.
        name: of the class.
    """
    what = Message("findings.some_255_some_1")
    white, ignored = Message("findings.white_is_too", name=name), Message("findings.white_is_ignored", name=name)
    remedy = Message("findings.save_alike_or_choose_meaning_of_255", name=name, reading=shlex.quote(WHITE + name), other=WHITE_IGNORED)
    return Fault("mixed masks", file, what, remedy, choices=(Choice(WHITE + name, white), Choice(WHITE_IGNORED, ignored)))

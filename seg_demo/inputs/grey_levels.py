"""Masks whose numbers are places in a list of greys: whether the numbers were meant, or the greys that a person sees.

Palettes of greys, 1, 2 and 4 bits per pixel and TIFFs whose zero is white all store the same picture by other numbers. Two pictures
that look the same mean the same; a palette of colours is another matter, whose numbers mean classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

# Greys above this look white, and numbers below this are classes as a rule.
_LIGHT, _FEW = 191, 64


def greys_count(
    used: Mapping[int, Collection[int]], plain: Collection[int] = (), listed: Collection[int] | None = None, classes: int | None = None
) -> bool:
    """Whether masks are read by the greys that they show instead of the numbers that they store.

    Args:
        used: number → the greys that it shows in the masks that use it; from 0 to 255.
        plain: numbers in the dataset's masks that are their own greys.
        listed: values that a class list gives, or None.
        classes: how many classes there are, or None if nobody says.

    Returns:
        True for greys: where a number shows another grey in another mask, where black is not number 0, where the greys do not rise with
        the numbers (unless all look white), or where only the greys are those of other masks or of the class list.

    >>> greys_count({0: [0], 1: [255]}), greys_count({0: [255], 1: [0]}), greys_count({0: [255], 1: [254], 2: [253]})
    (False, True, False)
    """
    if not used:
        return False
    if any(len(set(greys)) > 1 for greys in used.values()):
        return True
    pairs = sorted((number, next(iter(greys))) for number, greys in used.items())
    numbers, greys = {number for number, _ in pairs}, {grey for _, grey in pairs}
    if numbers == greys and all(number == grey for number, grey in pairs):
        return False
    if listed is not None:
        known = {*listed, 255}
        if (greys <= known) != (numbers <= known):
            return greys <= known
    rising = all(one[1] < other[1] for one, other in zip(pairs, pairs[1:], strict=False))
    if not rising or pairs == [(0, 255)]:
        return not (min(greys) > _LIGHT and max(numbers) < _FEW and len(pairs) > 1)
    if 0 in greys and (0, 0) not in pairs:
        return True
    others = set(plain) - {0}
    if others and (others <= greys) != (others <= numbers | {255} and not others <= {255}):
        return others <= greys
    return greys == {0, 255} and numbers != {0, 1} and (classes is None or max(numbers) >= classes)

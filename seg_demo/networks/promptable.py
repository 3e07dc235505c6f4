"""What a network is that answers clicks, boxes, earlier masks or words: it looks at a picture once, and then answers prompts.

A family of them is one file with a subclass of :class:`PromptNetwork`; sessions (:mod:`seg_demo.inference.prompting`) ask it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import ndimage
from torch import Tensor

from seg_demo.core import OBJECT, BadCheckpointError, BadRequestError, Prompt, Segmentation, tight_box
from seg_demo.masks.semantic import all_finite
from seg_demo.networks.base import Network

if TYPE_CHECKING:
    from seg_demo.masks.instances import Resized
    from seg_demo.networks.base import Graph


@dataclass(frozen=True)
class Answer:
    """One guess at an object.

    Attributes:
        mask: where it is, at the size of the upload once it is asked for.
        score: in [0, 1], how good the network takes the mask to be.
        steadiness: in [0, 1], how little the mask changes with its threshold.
        label: what it is called.
        logits: what the same network takes as an earlier mask, a tensor or several by name; None where it takes none.
    """

    mask: Resized
    score: float
    steadiness: float = 1.0
    label: str = OBJECT
    logits: Tensor | Mapping[str, Tensor] | None = None


@dataclass
class PromptNetwork(Network):
    """A network that answers prompts, none of which are classes.

    Attributes:
        together: prompts of one kind that it answers at a time.
        trials: prompts that it answers on every picture: one of every kind.
        grid: points along a picture's longer side by which everything in it is looked for; None for as many as the SAM family has.
        least: score and steadiness from which what was found that way counts; None likewise.
        heavy_look: whether :meth:`embed` runs a network, for which a GPU pays; prompts are answered from what it gives on any device.
    """

    together: ClassVar[int] = 16
    trials: ClassVar[tuple[Prompt, ...]] = (Prompt(points=((0, 0),), labels=(1,)),)
    grid: ClassVar[int | None] = None
    least: ClassVar[tuple[float, float] | None] = None
    heavy_look: ClassVar[bool] = True
    # A compiled form of `forward` on this module, where there is one (:func:`seg_demo.inference.engine.choose`).
    compiled: ClassVar[Callable[[Tensor], Any] | None] = None

    def computed(self, batch: Tensor) -> Any:
        """What :meth:`forward` gives for a batch, by the compiled form where there is one."""
        return self.forward(self.module, batch) if self.compiled is None else self.compiled(batch)

    @staticmethod
    def check_finite(*answers: Tensor) -> None:
        """Return if all numbers of a decoder's answers are finite.

        Args:
            answers: float, on the CPU.

        Raises:
            BadCheckpointError: they are not.
        """
        if not all(map(all_finite, answers)):
            raise BadCheckpointError("models.invalid_numbers")

    @abstractmethod
    def candidates(
        self, embedding: Any, size: tuple[int, int], prompts: Sequence[Prompt], earlier: Any
    ) -> list[list[Answer]]:
        """The guesses at every prompt.

        Args:
            embedding: what :meth:`embed` made of the picture.
            size: (height, width) of the upload in pixels, in which prompts are.
            prompts: with as many points each, all with a box or none, all of words or none.
            earlier: of the only prompt an earlier mask of the object: ``Answer.logits``, or bool (height, width).
        """

    def graph(self) -> Graph:
        """As :meth:`Network.graph`: there is none of a picture alone.

        Raises:
            BadRequestError: always.
        """
        raise BadRequestError("onnx.answers_prompts", title=self.family.title)

    def cell(self, height: int, width: int) -> float:
        """How many pixels of an upload are one cell of its embedding, along a side.

        Args:
            height: of the upload, in pixels.
            width: of the upload, in pixels.

        Returns:
            0 where a part of the upload would show no more than the whole does: because the network shrinks it no further, or looks
            closer by itself.
        """
        return 0.0

    def embed(self, image: np.ndarray) -> Any:
        """What is computed once per picture: tensors on the module's device, in lists and dicts if need be.

        Args:
            image: uint8 (H, W, 3), RGB.
        """
        device = next(self.module.parameters()).device
        return self.computed(self.preprocess(image).to(device))

    def postprocess(self, raw: Any, height: int, width: int, confidence: bool = False) -> Segmentation:
        """Never called: a picture by itself has no answer."""
        raise NotImplementedError(f"{self.family.title} answers prompts, not pictures.")


def central_pixel(mask: np.ndarray, randomly: Callable[[], float] | None = None) -> tuple[int, int]:
    """The pixel (x, y) of a region that is furthest from its edge, the first of several.

    Args:
        mask: bool (H, W) with at least one pixel; what lies beyond the picture is not in it.
        randomly: gives numbers in [0, 1); then any pixel may come that is more than half as far from the edge as that, as for RITM's
            training clicks.
    """
    x0, y0, x1, y1 = tight_box(mask)
    depth = ndimage.distance_transform_edt(np.pad(mask[y0:y1, x0:x1], 1))[1:-1, 1:-1]
    if randomly is None:
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        places = np.argwhere(depth > depth.max() / 2)
        row, column = places[min(len(places) - 1, int(randomly() * len(places)))]
    return x0 + int(column), y0 + int(row)


def clicks_of(prompt: Prompt) -> list[tuple[float, float, float]]:
    """The clicks of a prompt in their order: x, y, label."""
    return [(float(x), float(y), float(label)) for (x, y), label in zip(prompt.points, prompt.labels, strict=True)]


def in_turn(prompt: Prompt, earlier: Any, said: Sequence[Sequence[float]] | None, most: int) -> list[Prompt]:
    """A prompt as a person gives it: first the box, then click after click.

    Args:
        prompt: with all of its clicks.
        earlier: as for :meth:`PromptNetwork.candidates`.
        said: what :func:`clicks_of` has of the earlier answer: clicks that both begin with have been heard, and are not said by themselves again. None
            where nobody knows: a mask that somebody brings has heard all but the last if it agrees with them, or else none.
        most: clicks that are said by themselves; those before them come together.

    Returns:
        At least one prompt, the last one with everything.
    """
    count, least = len(prompt.points), int(earlier is not None or prompt.box is None)
    if said is not None:
        heard = sum(1 for _ in takewhile(lambda pair: pair[0] == tuple(pair[1]), zip(clicks_of(prompt), said, strict=False)))
    elif isinstance(earlier, np.ndarray):
        agrees = (earlier[int(y), int(x)] == label for (x, y), label in zip(prompt.points[:-1], prompt.labels, strict=False))
        heard = count - 1 if all(agrees) else 0
    else:
        # Without an object there is nothing outside it.
        heard = prompt.labels.index(1) if least and 1 in prompt.labels else 0
    first = min(max(heard + least, count - most), count)
    return [replace(prompt, points=prompt.points[:turn], labels=prompt.labels[:turn]) for turn in range(first, count + 1)]


def next_click(truth: np.ndarray, found: np.ndarray, randomly: Callable[[], float] | None = None) -> tuple[int, int, int] | None:
    """Where somebody would click next who knows the truth: in the middle of the largest region that is wrong, as all measures of
    interactive segmentation have it (Xu et al. 2016, arXiv 1603.04042).

    Args:
        truth: bool (H, W).
        found: bool (H, W), the last answer.
        randomly: as for :func:`central_pixel`.

    Returns:
        x and y of a pixel, and 1 where the object is missing or 0 where something else was taken for it; None where
        nothing is wrong.
    """
    wrong = truth != found
    if not wrong.any():
        return None
    regions = []
    for mask, label in ((truth & ~found, 1), (found & ~truth, 0)):
        pieces, count = ndimage.label(mask)
        if count:
            sizes = np.bincount(pieces.ravel())[1:]
            regions.append((int(sizes.max()), label, pieces == 1 + int(sizes.argmax())))
    _, label, region = max(regions, key=lambda row: row[:2])
    x, y = central_pixel(region, randomly)
    return x, y, label


def spoiled(mask: np.ndarray, randomly: Callable[[], float]) -> np.ndarray:
    """A mask as a poor prediction has it: shifted, too large or too small, a part missing, something else with it.

    Args:
        mask: bool (h, w) with at least one pixel.
        randomly: gives numbers in [0, 1).
    """
    found, size = mask.copy(), math.sqrt(mask.sum())
    if randomly() < 0.4:
        found = np.roll(found, [round(0.15 * size * (2 * randomly() - 1)) for _ in range(2)], (0, 1))
    amount = max(1, round(0.12 * size * randomly()))
    if randomly() < 0.5:
        found = (ndimage.binary_dilation if randomly() < 0.5 else ndimage.binary_erosion)(found, iterations=amount)
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    for inside in (False, True):
        if randomly() < 0.6:
            places = np.argwhere(mask)
            y, x = places[int(randomly() * len(places))] + 0.4 * size * (2 * np.array([randomly(), randomly()]) - 1)
            reach = size * (0.1 + 0.5 * randomly())
            found[(rows - y) ** 2 + (columns - x) ** 2 * (0.4 + 2 * randomly()) < reach**2] = inside
    return found

"""What a network is that answers clicks, boxes, earlier masks or words: it looks at a picture once, and then answers prompts.

A family of them is one file with a subclass of :class:`PromptNetwork`; sessions (:mod:`seg_demo.inference.prompting`) ask it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from seg_demo.core.requests import Prompt
from seg_demo.core.types import Segmentation
from seg_demo.masks.instances import Resized
from seg_demo.networks.base import Network

# What an object is called that was clicked and not named.
OBJECT = "object"


@dataclass(frozen=True)
class Answer:
    """One guess at an object.

    Attributes:
        mask: where it is, at the size of the upload once it is asked for.
        score: in [0, 1], how good the network takes the mask to be.
        steadiness: in [0, 1], how little the mask changes with its threshold.
        label: what it is called.
        logits: what the same network takes as an earlier mask; None where it takes none.
    """

    mask: Resized
    score: float
    steadiness: float = 1.0
    label: str = OBJECT
    logits: Tensor | None = None


@dataclass
class PromptNetwork(Network):
    """A network that answers prompts, none of which are classes.

    Attributes:
        together: prompts of one kind that it answers at a time.
        trial: a prompt that it answers on every picture.
    """

    together: ClassVar[int] = 16
    trial: ClassVar[Prompt] = Prompt(points=((0, 0),), labels=(1,))

    @abstractmethod
    def candidates(
        self, embedding: Any, size: tuple[int, int], prompts: Sequence[Prompt], earlier: Tensor | np.ndarray | None
    ) -> list[list[Answer]]:
        """The guesses at every prompt.

        Args:
            embedding: what :meth:`embed` made of the picture.
            size: (height, width) of the upload in pixels, in which prompts are.
            prompts: with as many points each, all with a box or none, all of words or none.
            earlier: of the only prompt an earlier mask of the object: ``Answer.logits``, or bool (height, width).
        """

    def embed(self, image: np.ndarray) -> Any:
        """What is computed once per picture: tensors on the module's device, in lists and dicts if need be.

        Args:
            image: uint8 (H, W, 3), RGB.
        """
        device = next(self.module.parameters()).device
        return self.forward(self.module, self.preprocess(image).to(device))

    def postprocess(self, raw: Any, height: int, width: int, confidence: bool = False) -> Segmentation:
        """Never called: a picture by itself has no answer."""
        raise NotImplementedError(f"{self.family.title} answers prompts, not pictures.")

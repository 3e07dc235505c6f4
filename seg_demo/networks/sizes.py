"""Which sizes of picture a network takes: tried on shapes alone, without memory or arithmetic.

Position tables, windows and patches fix the size for some networks, and configs say that in as many ways as there are families.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from seg_demo import networks

if TYPE_CHECKING:
    from seg_demo.networks.base import Checkpoint


class Takes:
    """Answers whether a network takes pictures of a height and a width in pixels.

    Args:
        make: builds the network.
        forward: module, batch (B, 3, h, w) → logits.
    """

    def __init__(self, make: Callable[[], nn.Module], forward: Callable[[nn.Module, Tensor], Tensor]) -> None:
        self._make, self._forward = make, forward
        self._module: nn.Module | None = None
        self._known: dict[tuple[int, int], bool] = {}

    def __call__(self, height: int, width: int) -> bool:
        """True as well where shapes alone cannot tell."""
        if (height, width) not in self._known:
            self._known[height, width] = self._try(height, width)
        return self._known[height, width]

    def _try(self, height: int, width: int) -> bool:
        try:
            if self._module is None:
                with torch.device("meta"):
                    self._module = self._make().eval()
            with torch.no_grad():
                self._forward(self._module, torch.zeros((1, 3, height, width), device="meta"))
        except NotImplementedError:
            return True
        except Exception as error:  # whatever a library raises at a size that it was not made for
            return "meta" in str(error)
        return True


def square(checkpoint: Checkpoint, wanted: int) -> int | None:
    """The side of a square that a network takes, as near to a wanted one as it gets; None if it takes no square that was tried.

    Args:
        checkpoint: of a semantic network.
        wanted: pixels.
    """
    verbs = networks.network(checkpoint.architecture)
    count = len(checkpoint.labels)
    takes = Takes(lambda: verbs.build(count, checkpoint.options), verbs.forward)
    # Patches of 14, 16 and 32 pixels, windows of 7 and 8 of those, and the size that uploads get.
    near = {round(wanted / step) * step for step in (checkpoint.preprocessing.multiple, 14, 16, 32, 64, 224, 256)}
    fixed = set(checkpoint.preprocessing.size or ())
    sides = [wanted, *sorted({side for side in near | fixed if side > 0}, key=lambda side: (abs(side - wanted), side))]
    return next((side for side in sides if takes(side, side)), None)

"""Which engine serves where: the combinations that are refused, and the sentences that say so. Imports no torch.

The page looks here before it starts, the models when one is built.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Wish:
    """What was asked for, and where it would be served.

    Attributes:
        engine: ``auto``, ``eager``, ``openvino`` or ``inductor``.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        device: ``cpu``, ``cuda`` or ``mps``.
        openvino: whether it is installed.
        zerogpu: whether networks run in ZeroGPU's workers.
    """

    engine: str
    precision: str
    device: str
    openvino: bool
    zerogpu: bool = False

    @property
    def named(self) -> bool:
        """Whether something was asked for that not every device serves."""
        return self.engine in ("openvino", "inductor") or self.precision == "bf16"


# What cannot be served, and what to say then. The words in braces are attributes of the wish.
REFUSED: tuple[tuple[Callable[[Wish], bool], str], ...] = (
    (
        lambda wish: wish.engine == "openvino" and wish.device != "cpu",
        "SEG_DEMO_ENGINE is openvino, which is for CPUs, but the device is {device}. Set it to auto.",
    ),
    (
        lambda wish: wish.engine == "openvino" and not wish.openvino,
        "SEG_DEMO_ENGINE is openvino, but it is not installed. Run pip install openvino, or set it to auto.",
    ),
    (
        lambda wish: wish.engine == "inductor" and wish.device not in ("cpu", "cuda"),
        "SEG_DEMO_ENGINE is inductor, which is for CPUs and CUDA, but the device is {device}. Set it to auto.",
    ),
    (
        lambda wish: wish.engine == "inductor" and wish.zerogpu,
        "SEG_DEMO_ENGINE is inductor, but ZeroGPU's workers end before compiling would pay. Set it to auto.",
    ),
    (
        lambda wish: wish.precision == "bf16"
        and (wish.device != "cpu" or wish.engine not in ("auto", "openvino") or not wish.openvino),
        "SEG_DEMO_PRECISION is bf16, which is for CPUs and needs OpenVINO, but the device is {device}, SEG_DEMO_ENGINE is "
        "{engine}, and openvino is {installed}. Install openvino, set SEG_DEMO_ENGINE to auto and SEG_DEMO_DEVICE to cpu, or set "
        "SEG_DEMO_PRECISION to auto.",
    ),
)


def has_openvino() -> bool:
    """Whether openvino can be imported; it is not imported for that."""
    return importlib.util.find_spec("openvino") is not None


def refusals(wish: Wish) -> list[str]:
    """A sentence for everything in a wish that cannot be served; none if all of it can."""
    told = {**vars(wish), "installed": "installed" if wish.openvino else "not installed"}
    return [sentence.format(**told) for refused, sentence in REFUSED if refused(wish)]

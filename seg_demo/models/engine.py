"""An inference engine for CPUs: the same answers as eager torch, sooner, and never later than eager would give them.

A network begins in eager torch. Its first answer is also the example by which a background thread compiles it and checks
the result; from then on the compiled one answers. Whatever fails to compile, to run, or to agree stays eager, and the log
says so once.

What is compiled are *parts*: tensor in, tuple of tensors out. A semantic network is one part. Mask R-CNN is three: the
pyramid of features with the proposals' scores, the box head, and the mask head; what lies between them (anchors,
suppression, pooling) depends on the data, and torchvision computes it as ever.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from seg_demo.errors import SettingsError
from seg_demo.models import engine_openvino
from seg_demo.models.engine_part import Part, crop, described, same_winners
from seg_demo.models.engine_rcnn import DetectorEngine

if TYPE_CHECKING:
    from seg_demo.networks.base import Checkpoint


class SemanticEngine:
    """A semantic network's forward pass, eager at first and compiled once that has proved to agree.

    Args:
        checkpoint: on the CPU, in eval mode, not to be trained any more.
        verbs: the network's module.
        streams: images that are segmented at the same time.
        precision: ``fp32`` or ``bf16``.
    """

    def __init__(self, checkpoint: Checkpoint, verbs: ModuleType, streams: int, precision: str = "fp32") -> None:
        network = _Forward(checkpoint.module, verbs)
        # Measured: attention takes twice as long where sizes are left open; convolutions do not mind.
        free = () if checkpoint.architecture == "segformer" else (0, 2, 3)
        smaller, about = crop(checkpoint), described(checkpoint)
        self._part = Part(checkpoint.architecture, network, streams, free, smaller, about, precision, same_winners)

    def __call__(self, batch: Tensor) -> Tensor:
        """Logits of a batch, as the network's ``forward`` gives them.

        Args:
            batch: float32 (B, 3, h, w) on the CPU.
        """
        return self._part(batch)[0]

    @property
    def nbytes(self) -> int:
        """Memory of the compiled weights in bytes, beside the eager ones."""
        return self._part.nbytes

    @property
    def agreement(self) -> float | None:
        """The share of the first image's labels, at the logits' size, that are eager's in fp32; None before it is known."""
        return self._part.agreement


Engine = SemanticEngine | DetectorEngine


def choose(
    checkpoint: Checkpoint, verbs: ModuleType, device: torch.device, wanted: str, streams: int, precision: str = "auto"
) -> Engine | None:
    """The engine that a network is served with.

    Args:
        checkpoint: in eval mode, not to be trained any more.
        verbs: the network's module.
        device: where its weights are.
        wanted: ``auto`` (OpenVINO on a CPU where it is installed), ``eager`` or ``openvino``.
        streams: images that are segmented at the same time.
        precision: ``bf16`` lets the compiled form compute in it; others do in fp32.

    Returns:
        A callable in place of the network's ``forward`` with ``nbytes`` and ``agreement``, or None for eager torch.

    Raises:
        SettingsError: OpenVINO is asked for, by its name or by bf16, where it cannot serve.
    """
    usable = device.type == "cpu" and engine_openvino.installed()
    if precision == "bf16" and (wanted == "eager" or not usable):
        raise SettingsError(
            f"SEG_DEMO_PRECISION is bf16, which needs a CPU and OpenVINO, but the device is {device}, SEG_DEMO_ENGINE is "
            f"{wanted}, and openvino is {'' if engine_openvino.installed() else 'not '}installed. Set it to auto."
        )
    if wanted == "eager":
        return None
    if wanted == "openvino" and device.type != "cpu":
        raise SettingsError(f"SEG_DEMO_ENGINE is openvino, which is for CPUs, but the device is {device}. Set it to auto.")
    if wanted == "openvino" and not usable:
        raise SettingsError(
            "SEG_DEMO_ENGINE is openvino, but it is not installed. Run pip install openvino, or set it to auto."
        )
    if not usable:
        return None
    kind = DetectorEngine if checkpoint.architecture == "maskrcnn" else SemanticEngine
    return kind(checkpoint, verbs, streams, "bf16" if precision == "bf16" else "fp32")


class _Forward(nn.Module):
    """A network's ``forward`` verb as a module of one tensor."""

    def __init__(self, network: nn.Module, verbs: ModuleType) -> None:
        super().__init__()
        self.network, self._verbs = network, verbs
        self.training = False

    def forward(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Logits of a batch (B, 3, h, w), alone in a tuple."""
        return (self._verbs.forward(self.network, batch),)

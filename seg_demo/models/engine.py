"""An inference engine: the same answers as eager torch, sooner, and never later than eager would give them.

A network begins in eager torch. Its first answer is also the example by which a background thread compiles it and checks
the result; from then on the compiled one answers. Whatever fails to compile, to run, or to agree stays eager, and the log
says so once. The compiler is OpenVINO, for CPUs.

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
from seg_demo.models import engine_rules
from seg_demo.models.engine_agree import same_winners
from seg_demo.models.engine_part import Compiler, Part, crop, described
from seg_demo.models.familiarity import statistics
from seg_demo.models.engine_rcnn import DetectorEngine

if TYPE_CHECKING:
    from seg_demo.networks.base import Checkpoint


class SemanticEngine:
    """A semantic network's forward pass, eager at first and compiled once that has proved to agree.

    Args:
        checkpoint: in eval mode, not to be trained any more.
        verbs: the network's module.
        compiler: makes its compiled form.
    """

    def __init__(self, checkpoint: Checkpoint, verbs: ModuleType, compiler: Compiler) -> None:
        told = checkpoint.familiarity is not None
        network = _Forward(checkpoint.module, verbs, told)
        about = described(checkpoint) + " and statistics" * told
        # Measured: attention takes twice as long where sizes are left open; convolutions do not mind.
        free = () if checkpoint.architecture == "segformer" else (0, 2, 3)
        self._part = Part(
            checkpoint.architecture, network, compiler, free, crop(checkpoint), about, same_winners
        )

    def __call__(self, batch: Tensor) -> Tensor:
        """Logits of a batch, as the network's ``forward`` gives them.

        Args:
            batch: float32 (B, 3, h, w) where the network is.
        """
        return self._part(batch)[0]

    def with_statistics(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and :func:`seg_demo.models.familiarity.statistics`, of a checkpoint that has a familiarity.

        Args:
            batch: as for a call.
        """
        logits, found = self._part(batch)
        return logits, found

    @property
    def nbytes(self) -> int:
        """Memory of the compiled weights in bytes, beside the eager ones."""
        return self._part.nbytes

    @property
    def agreement(self) -> float | None:
        """The share of the first image's labels, at the logits' size, that are eager's; None before it is known."""
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
        precision: ``bf16`` lets OpenVINO compute in it; else fp32.

    Returns:
        A callable in place of the network's ``forward`` with ``nbytes`` and ``agreement``, or None for eager torch.

    Raises:
        SettingsError: what is asked for cannot serve there.
    """
    if found := engine_rules.refusals(wanted, precision, device.type):
        raise SettingsError(" ".join(found))
    if wanted == "eager" or device.type != "cpu" or not engine_rules.has_openvino():
        return None
    from seg_demo.models.engine_openvino import OpenVino

    semantic = checkpoint.architecture != "maskrcnn"
    compiler = OpenVino(streams, "bf16" if precision == "bf16" else "fp32", channels_last=semantic)
    return (SemanticEngine if semantic else DetectorEngine)(checkpoint, verbs, compiler)


class _Forward(nn.Module):
    """A network's ``forward`` verb as a module of one tensor."""

    def __init__(self, network: nn.Module, verbs: ModuleType, told: bool) -> None:
        super().__init__()
        self.network, self._verbs, self._told = network, verbs, told
        self.training = False

    def forward(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Logits of a batch (B, 3, h, w), alone in a tuple or with the statistics of the encoder's maps."""
        if self._told:
            logits, maps = self._verbs.forward_with_maps(self.network, batch)
            return logits, statistics(maps)
        return (self._verbs.forward(self.network, batch),)

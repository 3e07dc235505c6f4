"""DETR and Conditional DETR with masks: class queries whose mask head looks at the whole picture once per query."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_demo.core.errors import Message
from seg_demo.core.types import Segment
from seg_demo.masks import queries
from seg_demo.networks import FAMILIES
from seg_demo.networks.transformers_config import loading_code
from seg_demo.networks.universal import STAGES, ClassQueries, apart

# Floats of maps of queries that are alive at once in the mask head (128 MiB).
MOST_FLOATS = 1 << 25


class Detr(ClassQueries):
    """DETR with masks (Carion et al. 2020, arXiv 2005.12872), whose objects never overlap."""

    family = FAMILIES["detr"]
    output_names = ("logits", "pred_masks")
    sizes_stay_open = True

    @staticmethod
    def slim(module: nn.Module) -> None:
        """As :meth:`ClassQueries.slim`: its mask head needs a hundredth of the library's memory."""
        few_queries_at_once(module)

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A DETR of a few million parameters."""
        backbone = {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1], "layer_type": "basic"}
        layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 8, "decoder_attention_heads": 8}
        return {
            "model_type": "detr",
            "backbone_config": {"model_type": "resnet", **backbone, "out_features": STAGES},
            **layers,
            "d_model": 64,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "num_queries": 50,
        }

    def _instances(self, classes: Tensor, masks: Tensor, height: int, width: int) -> list[Segment]:
        return apart(queries.without_overlaps(classes, masks, height, width, self.order, self.thresholds))


class ConditionalDetr(Detr):
    """Conditional DETR with masks (Meng et al. 2021, arXiv 2108.06152).

    Its classes have no "none of them", but its processor takes the last one for that where it looks for objects and segments, and so
    never finds it there; for class maps it counts as any other.
    """

    family = FAMILIES["conditional-detr"]
    none_rows: ClassVar[int] = 0

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A Conditional DETR of a few million parameters."""
        return {**Detr.default_options(), "model_type": "conditional_detr"}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As :meth:`ClassQueries.load`; what the processor does to the last class is said."""
        made = super().load(folder)
        return replace(made, notes=(*made.notes, Message("networks.last_class_is_none", name=made.labels.names[-1])))

    def card_snippet(self, source: str) -> str:
        """As :meth:`ClassQueries.card_snippet`; neither the pipeline nor an Auto class knows it."""
        code = loading_code("ConditionalDetrForSegmentation", "AutoImageProcessor", source)
        return f"""{code}# outputs = model(**processor(images=image, return_tensors="pt"))
# processor.post_process_{self.tasks[0].name}_segmentation(outputs, target_sizes=[(height, width)])
"""


class _FewQueries(nn.Module):
    """The mask head of DETR and Conditional DETR (``DetrMaskHeadSmallConv``) without Q copies of the backbone's maps.

    The library copies each map of the backbone for each query before a 1 x 1 convolution of it, the same for all: 12 GB for one picture
    of 800 x 1088. Here that convolution is computed once per picture, and a few queries pass through the rest at a time, unless all copies
    take little memory.
    """

    def forward(self, features: Tensor, attention_masks: Tensor, fpn_features: list[Tensor]) -> Tensor:
        """Mask logits (B * Q, 1, H', W').

        Args:
            features: (B, C, h, w), of the backbone's last map.
            attention_masks: (B, Q, heads, h, w), where each query looks.
            fpn_features: the backbone's maps before that, (B, C_i, h_i, w_i), the finest last.
        """
        count, maps, traced = attention_masks.shape[1], (features, *fpn_features), torch.jit.is_tracing() or torch.compiler.is_compiling()
        if not traced and len(features) * count * sum(one[0].numel() for one in maps) <= MOST_FLOATS:
            # As the library has it: for other numbers of small maps its kernels add up in another order.
            spread = [one.unsqueeze(1).expand(-1, count, -1, -1, -1).flatten(0, 1) for one in maps]
            sides = [stage.fpn_adapter(one) for stage, one in zip(self.fpn_stages, spread[1:], strict=True)]
            return self._masks(spread[0], attention_masks.flatten(0, 1), sides)
        sides = [stage.fpn_adapter(one) for stage, one in zip(self.fpn_stages, fpn_features, strict=True)]
        if traced:
            # A graph has all queries of all pictures at once: the number of steps would be a constant of it.
            spread = [one.unsqueeze(1).expand(-1, count, -1, -1, -1).flatten(0, 1) for one in (features, *sides)]
            return self._masks(spread[0], attention_masks.flatten(0, 1), spread[1:])
        step = max(1, MOST_FLOATS // (3 * max(one[0].numel() for one in (features, *sides))))
        found = []
        for index in range(len(features)):
            for some in attention_masks[index].split(step):
                found.append(self._masks(features[index].expand(len(some), -1, -1, -1), some, [side[index] for side in sides]))
        return torch.cat(found)

    def _masks(self, features: Tensor, looks: Tensor, sides: list[Tensor]) -> Tensor:
        """Mask logits (N, 1, H', W') of features and looks (N, ...), and of what they are added to, for all of them or each."""
        maps = self.conv2(self.conv1(torch.cat([features, looks], dim=1)))
        for stage, side in zip(self.fpn_stages, sides, strict=True):
            maps = stage.refine(F.interpolate(maps, size=side.shape[-2:], mode="nearest") + side)
        return self.output_conv(maps)


def few_queries_at_once(module: nn.Module) -> None:
    """Make the mask head of a network of DETR's family :class:`_FewQueries`, with the same weights under the same names."""
    if not isinstance(module.mask_head, _FewQueries):
        head = _FewQueries()
        head.__dict__.update(module.mask_head.__dict__)
        module.mask_head = head

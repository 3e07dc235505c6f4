"""DETR and its kin with masks.

DETR and Conditional DETR: class queries whose mask head looks at the whole picture once per query.

RF-DETR (Robinson et al. 2025, arXiv 2511.09554), transformers' ``RfDetrForInstanceSegmentation``: objects alone, each with a mask of its own.
Its classes have no "none of them": a query stands for every class whose probability is high enough. What is made of the queries
equals the processor's ``post_process_instance_segmentation(..., return_binary_maps=True)``, whose map leaves hidden objects out; here
they are listed with the whole of their masks. (``pipeline("image-segmentation")`` cuts masks at a logit of 0.5, where the authors and
the processor have 0.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_convert

from seg_demo.core import INSTANCE, LabelSet, Message, Segment, Task
from seg_demo.masks import instances, queries
from seg_demo.networks import transformers_config
from seg_demo.networks.transformers_config import config_of, from_config, loading_code, own_size
from seg_demo.networks.universal import LEAST_SCORE, STAGES, ClassQueries, Eomt, Mask2Former, apart, more_queries_than_places
from seg_demo.networks.weights import Takes

# Floats of maps of queries that are alive at once in the mask head (128 MiB).
MOST_FLOATS = 1 << 25


class Detr(ClassQueries, family="detr"):
    """DETR with masks (Carion et al. 2020, arXiv 2005.12872), whose objects never overlap."""

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


class ConditionalDetr(Detr, family="conditional-detr"):
    """Conditional DETR with masks (Meng et al. 2021, arXiv 2108.06152).

    Its classes have no "none of them", but its processor takes the last one for that where it looks for objects and segments, and so
    never finds it there; for class maps it counts as any other.
    """

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


# With which the names of weights begin in the authors' own layout, which transformers reads and writes.
AUTHORS = ("backbone.0.", "transformer.", "segmentation_head.")
PARTS = "model."


@dataclass
class RfDetr(ClassQueries, family="rfdetr"):
    """RF-DETR with masks. Its sides are multiples of patches times windows, which its image processor's fixed size is."""

    training = replace(Mask2Former.training, base="Roboflow/rf-detr-seg-nano", scratch_lr=5e-4, scratch_crop=None, scratch_batch_size=4)
    # All pictures have one size, and the compiled form agrees to rounding (3e-6 of the largest logit).
    engine: ClassVar = Eomt.engine
    none_rows: ClassVar[int] = 0
    output_names: ClassVar = ("logits", "pred_masks")
    tasks: tuple[Task, ...] = field(default=(INSTANCE,))

    @staticmethod
    def default_options() -> dict[str, Any]:
        """An RF-DETR of a few million parameters."""
        backbone = {"hidden_size": 96, "num_hidden_layers": 6, "num_attention_heads": 4, "image_size": 256, "patch_size": 8, "num_windows": 2}
        return {
            "model_type": "rf_detr",
            "backbone_config": {"model_type": "rf_detr_dinov2", **backbone, "out_features": ["stage3", "stage6"]},
            "d_model": 64,
            "decoder_layers": 3,
            "decoder_ffn_dim": 256,
            "decoder_self_attention_heads": 4,
            "decoder_cross_attention_heads": 8,
            "intermediate_size": 256,
            "num_queries": 100,
            "group_detr": 4,
        }

    @classmethod
    def create(cls, labels: LabelSet, options: dict[str, Any]) -> Self:
        """As :meth:`Network.create`, with an image processor of the one size that the backbone was made for."""
        module = cls.build(len(labels), options).eval()
        height, width = own_size(module.config)
        kind = type(transformers_config.default_processor(module.config))
        processor = kind(size={"height": height, "width": width})
        preprocessing = transformers_config.preprocessing_of(processor, transformers_config.colours_of(processor), {})
        return cls(module, labels, preprocessing, dict(options), processor)

    @classmethod
    def fitting_processor(cls, processor: Any, count: int, options: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
        """As :meth:`ClassQueries.fitting_processor`, tried on shapes alone: sides that follow the picture's are multiples of nothing.

        Raises:
            BadCheckpointError: also if there are more queries than places in a picture, at one of which each begins.
        """
        takes, own = Takes(lambda: from_config(count, options), cls.forward), own_size(config_of(count, options))
        fixed = processor.do_resize and bool(processor.size.get("height"))

        def fits(height: int, width: int) -> bool:
            return (fixed or (height, width) == own) and takes(height, width)

        sizes = [own, (processor.size.get("height"), processor.size.get("width")) if fixed else own]
        if own is not None and not any(takes(*size) for size in sizes) and Takes(lambda: from_config(count, {**options, "num_queries": 1}), cls.forward)(*own):
            raise more_queries_than_places(config_of(count, options), *own)
        processor, note = transformers_config.fitting(processor, fits, own)
        return processor, () if note is None else (note,)

    @classmethod
    def by_network_names(cls, state: dict[str, Tensor], wanted: Collection[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """As :meth:`ClassQueries.by_network_names`: the authors' names are nothing's part."""
        if any(name.startswith(AUTHORS) for name in state):
            return state, ()
        return super().by_network_names(state, wanted)

    @classmethod
    def _stated_classes(cls, options: dict[str, Any], count: int, state: Mapping[str, Tensor]) -> int:
        short = {name.removeprefix(PARTS).removeprefix(PARTS): tensor for name, tensor in state.items()}
        return super()._stated_classes(options, count, {f"{PARTS}{name}": tensor for name, tensor in short.items()})

    def loss(self, module: nn.Module, images: Tensor, truth: Any, per_pixel: Any, share: float) -> Tensor:
        """transformers' own: classes, boxes and masks of queries that are matched with objects, in every group and after every layer."""
        sides = images.new_tensor([images.shape[-1], images.shape[-2]]).repeat(2)
        labels = [
            {"class_labels": one["labels"], "boxes": box_convert(one["boxes"], "xyxy", "cxcywh") / sides, "masks": one["masks"]}
            for one in truth
        ]
        found = module(pixel_values=self.as_seen(images), labels=labels)
        if any(len(one["labels"]) for one in truth):
            return share * found.loss
        # Of no object at all, its losses of masks are tensors without elements, and so is the sum of all (findings/rf_detr_no_objects.sh).
        classes = sum(value for name, value in found.loss_dict.items() if name.startswith("loss_ce"))
        return share * self.module.config.class_loss_coefficient * classes

    def square(self, wanted: int) -> int | None:
        """The side to which its processor resizes pictures, whatever their shape; None where that is no square."""
        height, width = self.preprocessing.size or own_size(self.module.config)
        return height if height == width else None

    @staticmethod
    def best_scores(classes: Tensor) -> Tensor:
        """As :meth:`ClassQueries.best_scores`, from logits (Q, C)."""
        return classes.sigmoid().amax(-1)

    def _instances(self, classes: Tensor, masks: Tensor, height: int, width: int) -> list[Segment]:
        return instances.sigmoid_instances(classes, masks, height, width, LEAST_SCORE)

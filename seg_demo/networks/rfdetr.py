"""RF-DETR with masks (Robinson et al. 2025, arXiv 2511.09554), transformers' ``RfDetrForInstanceSegmentation``: objects alone, each with a
mask of its own.

Its classes have no "none of them": a query stands for every class whose probability is high enough. What is made of the queries
equals the processor's ``post_process_instance_segmentation(..., return_binary_maps=True)``, whose map leaves hidden objects out; here
they are listed with the whole of their masks. (``pipeline("image-segmentation")`` cuts masks at a logit of 0.5, where the authors and
the processor have 0.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from torch import Tensor, nn
from torchvision.ops import box_convert

from seg_demo.core.types import INSTANCE, LabelSet, Segment, Task
from seg_demo.masks import instances
from seg_demo.networks import FAMILIES, transformers_config
from seg_demo.networks.transformers_config import config_of, from_config, own_size
from seg_demo.networks.universal import LEAST_SCORE, ClassQueries, Eomt, Mask2Former, more_queries_than_places
from seg_demo.networks.weights import Takes

# With which the names of weights begin in the authors' own layout, which transformers reads and writes.
AUTHORS = ("backbone.0.", "transformer.", "segmentation_head.")
PARTS = "model."


@dataclass
class RfDetr(ClassQueries):
    """RF-DETR with masks. Its sides are multiples of patches times windows, which its image processor's fixed size is."""

    family = FAMILIES["rfdetr"]
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

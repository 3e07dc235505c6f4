"""Mask R-CNN's pooling of regions for training on a CPU, shared out among its cores.

torchvision pools on one core, forwards and backwards; in a step of bf16 that takes a third of the time. A channel does not
depend on others, so each core takes some of them: values and gradients are torchvision's to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import _convert_to_roi_format, _filter_input, _setup_scales

from seg_demo.masks.resize import each


class SharedRoIAlign(MultiScaleRoIAlign):
    """RoIAlign (He et al. 2017) of the pyramid's levels, as torchvision computes it.

    Args:
        pool: whose levels, size and sampling are taken over.
    """

    def __init__(self, pool: MultiScaleRoIAlign) -> None:
        options = {"canonical_scale": pool.canonical_scale, "canonical_level": pool.canonical_level}
        super().__init__(pool.featmap_names, list(pool.output_size), pool.sampling_ratio, **options)

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Pooled regions, (N, C, height, width), in the features' dtype.

        Args:
            x: levels by name, each (B, C, h, w).
            boxes: per image (N_b, 4), x0 y0 x1 y1 in its pixels.
            image_shapes: height and width of each image, after the resize.
        """
        levels = _filter_input(x, self.featmap_names)
        if self.scales is None or self.map_levels is None:
            self.scales, self.map_levels = _setup_scales(levels, image_shapes, self.canonical_scale, self.canonical_level)
        rois = _convert_to_roi_format(boxes)
        if len(levels) == 1:
            return _Align.apply(levels[0], rois, self.scales[0], self.output_size, self.sampling_ratio)
        chosen = self.map_levels(boxes)
        result = levels[0].new_zeros((len(rois), levels[0].shape[1], *self.output_size))
        for level, (features, scale) in enumerate(zip(levels, self.scales, strict=True)):
            places = torch.where(chosen == level)[0]
            pooled = _Align.apply(features, rois[places], scale, self.output_size, self.sampling_ratio)
            result[places] = pooled.to(result.dtype)
        return result


class _Align(torch.autograd.Function):
    """RoIAlign of one level: features (B, C, h, w), regions (N, 5) of image, x0, y0, x1, y1; no gradient for the regions."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, rois: Tensor, scale: float, size: tuple[int, int], ratio: int) -> Tensor:
        ctx.save_for_backward(rois)
        ctx.about, ctx.like = (scale, *size), torch.empty_like(features, device="meta")
        ctx.ratio, rois = ratio, rois.float()

        def pooled(channels: slice) -> Tensor:
            part = features[:, channels].to(torch.float32, memory_format=torch.contiguous_format)
            return torch.ops.torchvision.roi_align(part, rois, *ctx.about, ratio, False).to(features.dtype)

        return torch.cat(each(pooled, _shares(features.shape[1])), dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (rois,) = ctx.saved_tensors
        # Laid out as the features are, so that the convolutions before them need not reorder it.
        result = torch.empty_like(ctx.like, device=gradient.device)
        batch, _, height, width = result.shape
        rois = rois.float()

        def spread(channels: slice) -> None:
            part, count = gradient[:, channels].float(), channels.stop - channels.start
            sizes = (*ctx.about, batch, count, height, width)
            result[:, channels] = torch.ops.torchvision._roi_align_backward(part, rois, *sizes, ctx.ratio, False)

        each(spread, _shares(result.shape[1]))
        return result, None, None, None, None


def _shares(channels: int) -> list[slice]:
    """All channels, in as many parts as torch has threads."""
    count = min(torch.get_num_threads(), channels)
    edges = [channels * index // count for index in range(count + 1)]
    return [slice(*pair) for pair in zip(edges[:-1], edges[1:], strict=True)]

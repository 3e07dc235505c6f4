"""SegFormer's decode head with its projections folded into the fusing convolution (Xie et al. 2021, section 3.2).

The head projects every stage to D channels, resizes all to the largest stage, concatenates them, and fuses the 4 D channels
to D by a 1×1 convolution. Projection, resize and fusion are linear, and a resize keeps constants, so with the fusing weights
split into one block per stage

    fuse(concat(resize(project(x)))) = Σ resize(F·W x) + Σ F·b

where F is the stage's block of the fusion and W, b its projection: one small convolution per stage at the stage's own size
instead of one of 4 D channels at the largest. In evaluation the BatchNorm that follows is affine and folds in as well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead


class FoldedDecodeHead(SegformerDecodeHead):
    """transformers' decode head, its parameters and their names unchanged, computed in the folded order.

    The weights are composed anew in each pass, which costs far less than the pass: nothing can go stale, gradients reach the
    parameters of the head as they are, and a module that is copied, moved, saved or trained needs no care.
    """

    def forward(self, encoder_hidden_states: tuple[Tensor, ...], **_: object) -> Tensor:
        """Logits from the feature maps of the stages.

        Args:
            encoder_hidden_states: (B, C_i, h_i, w_i) of each stage, the largest first.

        Returns:
            (B, classes, h_0, w_0).
        """
        size = encoder_hidden_states[0].shape[-2:]
        norm = None if self.training else self.batch_norm
        scale = None if norm is None else norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        # The fusion expects the stages concatenated from the last to the first.
        blocks = self.linear_fuse.weight.flatten(1).chunk(len(encoder_hidden_states), dim=1)[::-1]
        fused, shift = None, 0
        for features, layer, block in zip(encoder_hidden_states, self.linear_projections, blocks, strict=True):
            block = block if scale is None else block * scale[:, None]
            shift = shift + block @ layer.proj.bias
            part = resize(nn.functional.conv2d(features, (block @ layer.proj.weight)[:, :, None, None]), size)
            fused = part if fused is None else fused + part
        if norm is None:
            hidden = self.batch_norm(fused + shift[:, None, None])
        else:
            hidden = fused + (shift - norm.running_mean * scale + norm.bias)[:, None, None]
        return self.classifier(self.dropout(self.activation(hidden)))


def fold(module: nn.Module) -> nn.Module:
    """Let a SegFormer compute its head in the folded order; other networks are left alone.

    Args:
        module: of transformers; changed in place. Its state dict stays as it is.
    """
    head = getattr(module, "decode_head", None)
    if type(head) is SegformerDecodeHead and head.config.reshape_last_stage:
        head.__class__ = FoldedDecodeHead
    return module


def resize(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize without aligned corners, as ``F.interpolate`` does it.

    Where gradients are wanted, both axes are multiplied with their interpolation matrices: the backward pass of
    ``F.interpolate`` on a CPU takes four times as long as these products.

    Args:
        features: (B, C, h, w).
        size: (height, width) of the result.
    """
    if tuple(features.shape[-2:]) == tuple(size):
        return features
    if not (torch.is_grad_enabled() and features.requires_grad):
        return nn.functional.interpolate(features, size, mode="bilinear", align_corners=False)
    rows = _matrix(features.shape[-2], size[0], features)
    columns = _matrix(features.shape[-1], size[1], features)
    return rows @ (features @ columns.T)


def _matrix(before: int, after: int, like: Tensor) -> Tensor:
    """(after, before) weights of a linear resize: its answer to every unit vector."""
    units = torch.eye(before, device=like.device)[None]
    return nn.functional.interpolate(units, after, mode="linear", align_corners=False)[0].T.to(like.dtype)

"""A U-Net's decoder with its upsampling folded into the convolution that follows (Ronneberger et al. 2015, figure 1).

A block doubles its input by repeating every pixel, concatenates the skip connection, and convolves with a 3 x 3 kernel. Where
pixels are repeated, several of the nine taps meet the same value, so their weights can be summed beforehand: an output row
2 i sees the input rows i - 1 and i with (w0, w1 + w2), a row 2 i + 1 sees i and i + 1 with (w0 + w1, w2), columns likewise.
That is a transposed convolution of stride 2 with a 4 x 4 kernel: 16 multiplications for 4 outputs instead of 36. In evaluation
the BatchNorm that follows is affine and folds in as well. Nothing is upsampled or concatenated any more.
"""

from __future__ import annotations

import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn

# Rows: taps of the transposed convolution; columns: taps of the kernel that are summed into each.
_SUMS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))


class FoldedDecoderBlock(UnetDecoderBlock):
    """smp's block, its parameters and their names unchanged, computed in the folded order while it is in eval mode.

    The weights are composed anew in each pass, which costs far less than the pass: nothing can go stale, and a module that is
    copied, moved, saved or trained needs no care.
    """

    def forward(
        self, feature_map: Tensor, target_height: int, target_width: int, skip_connection: Tensor | None = None
    ) -> Tensor:
        """Features of the next finer level.

        Args:
            feature_map: (B, C, h, w).
            target_height: of the result; folded where it is 2 h.
            target_width: of the result; folded where it is 2 w.
            skip_connection: (B, S, target_height, target_width) or None.

        Returns:
            (B, out, target_height, target_width).
        """
        doubled = (2 * feature_map.shape[2], 2 * feature_map.shape[3])
        if self.training or (target_height, target_width) != doubled:
            return super().forward(feature_map, target_height, target_width, skip_connection)
        weight, bias = _affine(self.conv1[0], self.conv1[1])
        sums = weight.new_tensor(_SUMS)
        inner, outer = weight.split([feature_map.shape[1], weight.shape[1] - feature_map.shape[1]], dim=1)
        kernel = torch.einsum("ak,oikl,bl->ioab", sums, inner, sums).contiguous()
        found = nn.functional.conv_transpose2d(feature_map, kernel, bias, stride=2, padding=1)
        if skip_connection is not None and skip_connection.shape[1]:  # MiT and ConvNeXt have no channels at their first level
            found = found + nn.functional.conv2d(skip_connection, outer, padding=1)
        return self.attention2(self.conv2(self.conv1[2](found)))


def fold(module: nn.Module) -> nn.Module:
    """Let the blocks of a U-Net's decoder compute in the folded order; blocks and networks of other kinds are left alone.

    Args:
        module: of smp; changed in place. Its state dict stays as it is.
    """
    for block in getattr(getattr(module, "decoder", None), "blocks", ()):
        if type(block) is UnetDecoderBlock and _folds(block):
            block.__class__ = FoldedDecoderBlock
    return module


def _folds(block: UnetDecoderBlock) -> bool:
    """Whether nothing stands between the upsampling and the convolution, and only something affine follows it."""
    convolution, norm = block.conv1[0], block.conv1[1]
    plain = (convolution.kernel_size, convolution.padding, convolution.stride) == ((3, 3), (1, 1), (1, 1))
    affine = isinstance(norm, nn.Identity) or (type(norm) is nn.BatchNorm2d and norm.track_running_stats and norm.affine)
    return block.interpolation_mode == "nearest" and isinstance(block.attention1.attention, nn.Identity) and plain and affine


def _affine(convolution: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a convolution and the BatchNorm after it, in evaluation."""
    if isinstance(norm, nn.Identity):
        return convolution.weight, convolution.bias
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * scale
    if convolution.bias is not None:
        bias = bias + convolution.bias * scale
    return convolution.weight * scale[:, None, None, None], bias

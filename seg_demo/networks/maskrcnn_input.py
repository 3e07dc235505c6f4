"""An upload as Mask R-CNN sees it: torchvision's own transform to the last bit, at a fraction of its cost.

torchvision makes floats of all pixels, normalises them, and then resizes without antialiasing, which looks at four pixels for
each that it makes. Here only those four are made into floats and normalised.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, _resize_image_and_masks

from seg_demo.masks.interpolation import SMALL_OUTPUT, Rule, find_rule


def padded_size(transform: GeneralizedRCNNTransform, height: int, width: int) -> tuple[int, int]:
    """(height, width) to which an upload is padded, so that torchvision does not shrink it to nothing.

    It would, where an image is more than ``max_size`` times as long as high. Others keep their size.
    """
    least = math.ceil((max(height, width) + 1) / transform.max_size)
    return max(height, least), max(width, least)


def network_size(transform: GeneralizedRCNNTransform, height: int, width: int) -> tuple[int, int]:
    """(height, width) that torchvision resizes an image to in evaluation, by its own arithmetic."""
    image = torch.empty((3, height, width), device="meta")
    resized, _ = _resize_image_and_masks(image, transform.min_size[-1], transform.max_size, None, transform.fixed_size)
    return resized.shape[-2], resized.shape[-1]


def network_input(transform: GeneralizedRCNNTransform, image: np.ndarray) -> Tensor:
    """``transform([pixels / 255])`` in evaluation, before torchvision pads it to its stride.

    Args:
        transform: of the network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        float32 (1, 3, h, w) on the CPU, normalised.
    """
    padded = padded_size(transform, *image.shape[:2])
    size = network_size(transform, *padded)
    pixels = torch.from_numpy(np.ascontiguousarray(image))
    rule = find_rule(padded, size, 3, False) if sum(size) > SMALL_OUTPUT else None
    if rule is not None:
        return _sampled(transform, pixels, rule)[None]
    floats = _floats(transform, pixels)
    missing = padded[0] - image.shape[0], padded[1] - image.shape[1]
    if any(missing):
        floats = F.pad(floats[None], (0, missing[1], 0, missing[0]), mode="replicate")[0]
    return F.interpolate(floats[None], size, mode="bilinear", align_corners=False)


def _sampled(transform: GeneralizedRCNNTransform, pixels: Tensor, rule: Rule) -> Tensor:
    """float32 (3, h, w): each output from its four pixels; beyond the image, its edge.

    Args:
        transform: normalises.
        pixels: uint8 (H, W, 3).
        rule: of the padded size and the output.
    """
    last = pixels.shape[0] - 1, pixels.shape[1] - 1
    corners = []
    for row in (rule.rows.first, rule.rows.second):
        strip = pixels[row.clamp(max=last[0])]
        for column in (rule.columns.first, rule.columns.second):
            corners.append(_floats(transform, strip[:, column.clamp(max=last[1])]))
    weights = (rule.rows.near[:, None], rule.rows.far[:, None], rule.columns.near, rule.columns.far)
    head = rule.combine(tuple(corner[: rule.tail] for corner in corners), weights)
    tail = rule.combine_tail(tuple(corner[rule.tail :] for corner in corners), weights)
    return torch.cat([head, tail])


def _floats(transform: GeneralizedRCNNTransform, pixels: Tensor) -> Tensor:
    """uint8 (H, W, 3) → float32 (3, H, W), normalised."""
    return transform.normalize(pixels.permute(2, 0, 1).contiguous().float().div_(255))

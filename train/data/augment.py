"""Varying training images: image, label map and instance map together, as a pure function of a seed.

The operations are torchvision.transforms.v2 on tv_tensors, which resample masks by nearest neighbour. What a rotation or a
padding brings in from outside the image is *ignore* in the label map and no object in the instance map: no label is invented.
"""

from __future__ import annotations

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from train.data.sample import Sample

# Beyond every class: in 16 bits 255 may be one.
IGNORE = 65_535


def augment(sample: Sample, level: str, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """One training crop of a sample. The same arguments give the same crop.

    Args:
        sample: image uint8 (H, W, 3), label map (H, W), instance map (H, W) or None, with the objects below others.
        level: ``none`` (a random crop), ``light`` (flips, mild scale and colour) or ``strong`` (also rotation, wide scale,
            grey, inversion, blur and noise).
        size: side of the crop in pixels.
        seed: decides every random choice.

    Returns:
        image float32 (3, size, size) in [0, 1]; label map int64 (size, size), 65535 where nothing is known; instance map
        int64 (size, size), or (1 + L, size, size) with L layers of objects that lie below others, or None.
    """
    image = tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1))
    labels = sample.label_map.astype(np.int32)
    if sample.label_map.dtype == np.uint8:
        labels[sample.label_map == 255] = IGNORE
    planes = [labels, *(layer.astype(np.int32) for layer in sample.layers)]
    masks = tv_tensors.Mask(torch.from_numpy(np.stack(planes)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image, masks = _geometry(image, masks, level, size)
        image = F.to_dtype(image, torch.float32, scale=True)
        if level != "none":
            image = _appearance(image, strong=level == "strong")
    masks = masks.long().as_subclass(torch.Tensor)
    objects = None if sample.instance_map is None else masks[1] if sample.hidden is None else masks[1:]
    return image.as_subclass(torch.Tensor), masks[0], objects


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * torch.rand(()).item()


def _chance(probability: float) -> bool:
    return torch.rand(()).item() < probability


def _geometry(
    image: tv_tensors.Image, masks: tv_tensors.Mask, level: str, size: int
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    if level == "strong" and _chance(0.25):
        angle = _uniform(-45, 45)
        image = F.rotate(image, angle, interpolation=v2.InterpolationMode.BILINEAR, expand=False)
        masks = _filled(F.rotate(masks + 1, angle, expand=False))
    if level != "none":
        low, high = (0.5, 1.6) if level == "strong" else (0.8, 1.25)
        scale = float(np.exp(_uniform(np.log(low), np.log(high))))
        height, width = image.shape[-2:]
        # A scene smaller than the crop would be mostly padding, which teaches nothing.
        scale = max(scale, size / max(height, width))
        target = [max(1, round(height * scale)), max(1, round(width * scale))]
        image, masks = _crop(image, masks, round(size / scale))
        target = [size if side == round(size / scale) else max(1, round(side * scale)) for side in image.shape[-2:]]
        image = F.resize(image, target, antialias=True)
        masks = F.resize(masks, target, interpolation=v2.InterpolationMode.NEAREST_EXACT)
    image, masks = _crop(image, masks, size)
    if level != "none":
        if _chance(0.5):
            image, masks = F.horizontal_flip(image), F.horizontal_flip(masks)
        if _chance(0.5):
            image, masks = F.vertical_flip(image), F.vertical_flip(masks)
        if level == "strong" and _chance(0.5):
            image, masks = image.transpose(-1, -2), masks.transpose(-1, -2)
    missing = [size - image.shape[-1], size - image.shape[-2]]
    if any(missing):
        image = F.pad(image, [0, 0, *missing], padding_mode="constant")
        masks = _filled(F.pad(masks + 1, [0, 0, *missing]))
    return tv_tensors.Image(image), tv_tensors.Mask(masks)


def _filled(shifted: torch.Tensor) -> torch.Tensor:
    """Masks that were shifted by one, so that 0 marks what came from outside: ignore for labels, no object for instances."""
    outside = shifted == 0
    masks = shifted - 1
    masks[0][outside[0]] = IGNORE
    masks[1:][outside[1:]] = 0
    return masks


def _crop(image: torch.Tensor, masks: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A random square of at most ``side`` pixels, at most the image."""
    height, width = image.shape[-2:]
    rows, columns = min(side, height), min(side, width)
    top = int(torch.randint(height - rows + 1, ()).item())
    left = int(torch.randint(width - columns + 1, ()).item())
    return F.crop(image, top, left, rows, columns), F.crop(masks, top, left, rows, columns)


def _appearance(image: torch.Tensor, strong: bool) -> torch.Tensor:
    spread = 0.4 if strong else 0.2
    image = F.adjust_brightness(image, _uniform(1 - spread, 1 + spread))
    image = F.adjust_contrast(image, _uniform(1 - spread, 1 + spread))
    image = F.adjust_saturation(image, _uniform(1 - spread, 1 + spread))
    if not strong:
        return image
    if _chance(0.2):
        image = F.adjust_hue(image, _uniform(-0.5, 0.5))
    if _chance(0.15):
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if _chance(0.1):
        image = 1 - image
    if _chance(0.3):
        image = image.clamp(0, 1) ** float(np.exp(_uniform(-0.5, 0.5)))
    if _chance(0.15):
        image = F.gaussian_blur(image, [5, 5], [_uniform(0.3, 1.5)])
    if _chance(0.25):
        image = image + torch.randn(image.shape) * _uniform(0.005, 0.05)
    return image.clamp(0, 1)

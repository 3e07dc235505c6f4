"""The layers of the network that is clicked (:mod:`seg_demo.networks.click` says how it is asked).

Both kinds are U-Nets, and compare: they ask of each place how much it looks like the places that were clicked, and like the earlier mask
and what is around that. :class:`ClickNet` is small and begins with random weights; :class:`EncodedClickNet` looks at pictures with an encoder
that has learnt from photographs what things look like, as RITM does (Sofiiuk et al. 2021, arXiv 2102.06583).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import timm
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

if TYPE_CHECKING:
    from seg_demo.core import Box

# timm's encoders that EncodedClickNet takes: EfficientNet-Lite (Tan and Le 2019, without squeeze and excitation), whose weights are Apache-2.0.
ENCODERS = tuple(f"tf_efficientnet_lite{size}" for size in range(5))
# The first layers of an encoder, which stay as they are: edges and textures are the same everywhere.
FROZEN = ("conv_stem", "bn1", "blocks.0", "blocks.1")

# Radius in pixels of the network of the disc that stands for a click.
RADIUS = 3.0
# The guided filter: outlines follow edges that are this near, in pixels of the smaller picture; what differs by less than the root of this share of the range is none.
NEAR, FLAT = 2, 1e-3
# What a further click says of the pixels around it, as a logit; to which distance, in shares of the longer side of what the network sees;
# and the distance that an edge across the whole range of brightness is worth, in its pixels.
SAYS, REACHES, EDGE = 3.0, 0.15, 20.0
# How far in pixels an outline may move at any click; and by which factor a mask may become larger of a click outside, else it gains nothing.
RIM, MOST_GROWTH = 2, 1.25
# What is narrower than twice this, in pixels of what the network sees, is a crack in a mask and not its outline.
CRACK = 2
# What is dim is seen better where brightness is spread over this share of the range, by at most this gain.
CONTRAST, MOST_GAIN = 0.75, 4.0
# How probable it is that the pixels of a box belong to what is in it, float32 (64, 64): things reach to its sides, and hardly into its corners. Said to a
# network that has learnt boxes as one number all over, it makes of the boxes of things in photographs masks of 0.76 IoU instead of 0.67.
LIKELY, UNLIKELY = 0.9, 0.3
BOXED = torch.where(torch.linspace(-1, 1, 64)[:, None] ** 2 + torch.linspace(-1, 1, 64) ** 2 < 1, LIKELY, UNLIKELY)


class Unit(nn.Sequential):
    """Convolution, batch normalisation, and ReLU unless a sum follows."""

    def __init__(self, inner: int, outer: int, kernel: int = 3, stride: int = 1, active: bool = True) -> None:
        layers: list[nn.Module] = [nn.Conv2d(inner, outer, kernel, stride, (kernel - 1) // 2, bias=False), nn.BatchNorm2d(outer)]
        super().__init__(*layers, *[nn.ReLU(inplace=True)] * active)


def halving(inner: int, outer: int) -> Unit:
    """Half the size, every pixel from the four that it covers: a kernel of three would look half a pixel up and to the left at each level,
    and masks of a network that has not learnt for long would lie there."""
    return Unit(inner, outer, 2, 2)


class Residual(nn.Module):
    """Two convolutions beside the identity (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Unit(width, width), Unit(width, width, active=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        return F.relu(maps + self.second(self.first(maps)))


class Context(nn.Module):
    """Channels weighed by their means over the picture (squeeze and excitation, Hu et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        return maps * torch.sigmoid(self.outer(F.relu(self.inner(maps.mean((2, 3), keepdim=True)))))


class ClickNet(nn.Module):
    """Picture and marks in, one logit per pixel out.

    Args:
        widths: channels at a half, a quarter, an eighth, a 16th and a 32nd of the size.
        decoder: channels on the way back, at a half, a quarter, an eighth and a 16th.
        keys: length of the vectors by which places are compared.
    """

    def __init__(self, widths: Sequence[int], decoder: Sequence[int], keys: int) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, deepest = widths
        up2, up4, up8, up16 = decoder
        self.at2 = nn.Sequential(nn.PixelUnshuffle(2), Unit(24, half))
        self.at4 = nn.Sequential(halving(half, quarter), Residual(quarter), Residual(quarter))
        self.keys = nn.Conv2d(quarter, keys, 1)
        self.at8 = nn.Sequential(halving(quarter + 4, eighth), Residual(eighth), Residual(eighth))
        self.at16 = nn.Sequential(halving(eighth + 4, sixteenth), Residual(sixteenth), Residual(sixteenth))
        self.at32 = nn.Sequential(halving(sixteenth, deepest), Residual(deepest), Context(deepest))
        self.to16 = Unit(deepest + sixteenth, up16)
        self.to8 = Unit(up16 + eighth, up8)
        self.to4 = Unit(up8 + quarter + 4, up4)
        self.narrow = Unit(up4, up2, 1)
        self.to2 = Unit(up2 + half, up2)
        self.head = nn.Sequential(nn.Conv2d(up2, 4, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, batch: Tensor) -> Tensor:
        """Logits of the object.

        Args:
            batch: float32 (B, 6, h, w), h and w multiples of 32: the normalised picture, discs of clicks inside and outside in
                [0, 1], and the probability of an earlier mask.

        Returns:
            (B, 1, h, w).
        """
        half = self.at2(batch)
        quarter = self.at4(half)
        alike = likeness(self.keys(quarter), batch[:, 3:])
        eighth = self.at8(torch.cat([quarter, alike], 1))
        sixteenth = self.at16(torch.cat([eighth, F.avg_pool2d(alike, 2)], 1))
        maps = self.to16(_joined(self.at32(sixteenth), sixteenth))
        maps = self.to8(_joined(maps, eighth))
        maps = self.to4(torch.cat([_joined(maps, quarter), alike], 1))
        return self.head(self.to2(_joined(self.narrow(maps), half)))


class EncodedClickNet(nn.Module):
    """Picture and marks in, one logit per pixel out, with a pretrained encoder.

    What the picture alone decides comes first, and is never trained; the marks join it at a quarter of the size, from where on the encoder
    goes on learning slowly. Its normalisation keeps the statistics of the photographs that it has seen.

    Args:
        encoder: one of :data:`ENCODERS`; without its last stage, which serves classification.
        decoder: channels on the way back, at a half, a quarter, an eighth and a 16th.
        keys: length of the vectors by which places are compared.
    """

    def __init__(self, encoder: str, decoder: Sequence[int], keys: int) -> None:
        super().__init__()
        self.encoder = timm.create_model(encoder, pretrained=False, features_only=True)
        half, quarter, eighth, sixteenth, _ = self.encoder.feature_info.channels()
        del self.encoder.blocks[6]
        deepest = self.encoder.blocks[5][-1].conv_pwl.out_channels
        up2, up4, up8, up16 = decoder
        self.marks = nn.Sequential(nn.PixelUnshuffle(4), Unit(96, 2 * quarter), nn.Conv2d(2 * quarter, quarter, 1))
        self.fine = nn.Sequential(nn.PixelUnshuffle(2), Unit(24, half))
        self.keys4, self.keys8, self.keys16 = nn.Conv2d(quarter, keys, 1), nn.Conv2d(eighth, keys, 1), nn.Conv2d(sixteenth, 2 * keys, 1)
        self.alike8, self.alike16 = nn.Conv2d(8, eighth, 1), nn.Conv2d(4, sixteenth, 1)
        for layer in (self.marks[2], self.alike8, self.alike16):
            # At first the encoder sees what it knows: a picture.
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.to16 = Unit(deepest + sixteenth + 4, up16)
        self.to8 = Unit(up16 + eighth + 4, up8)
        self.to4 = Unit(up8 + quarter + 4, up4)
        self.narrow = Unit(up4, up2, 1)
        self.to2 = Unit(up2 + 2 * half, up2)
        self.head = nn.Sequential(nn.Conv2d(up2, 4, 3, padding=1), nn.PixelShuffle(2))
        for name in FROZEN:
            self.encoder.get_submodule(name).requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the encoder's normalisation."""
        super().train(mode)
        for layer in self.encoder.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        return self

    def forward(self, batch: Tensor) -> Tensor:
        """Logits of the object, as :meth:`ClickNet.forward`.

        Args:
            batch: float32 (B, 6, h, w), h and w multiples of 32.

        Returns:
            (B, 1, h, w).
        """
        encoder, blocks, marks = self.encoder, self.encoder.blocks, batch[:, 3:]
        half = blocks[0](encoder.bn1(encoder.conv_stem(batch[:, :3])))
        quarter = blocks[1](half) + self.marks(batch)
        alike4 = likeness(self.keys4(quarter), marks)
        eighth = blocks[2](quarter)
        alike8 = likeness(self.keys8(eighth), marks)
        sixteenth = blocks[4](blocks[3](eighth + self.alike8(torch.cat([alike8, F.avg_pool2d(alike4, 2)], 1))))
        alike16 = likeness(self.keys16(sixteenth), marks)
        deepest = blocks[5](sixteenth + self.alike16(alike16))
        maps = self.to16(torch.cat([_joined(deepest, sixteenth), alike16], 1))
        maps = self.to8(torch.cat([_joined(maps, eighth), alike8], 1))
        maps = self.to4(torch.cat([_joined(maps, quarter), alike4], 1))
        return self.head(self.to2(torch.cat([_joined(self.narrow(maps), half), self.fine(batch)], 1)))


def likeness(keys: Tensor, marks: Tensor) -> Tensor:
    """How much each place looks like the mean of those clicked inside, outside, of the earlier mask and of what is not in it.

    Args:
        keys: (B, K, h, w), what places are compared by.
        marks: (B, 3, H, W) in [0, 1]: clicks inside, outside, and the earlier mask.

    Returns:
        Cosines (B, 4, h, w), 0 where there is no such place.
    """
    keys = F.normalize(keys, dim=1)
    shares = F.adaptive_avg_pool2d(marks, keys.shape[-2:]).to(keys.dtype)
    earlier = shares[:, 2:]
    shares = torch.cat([shares, (1 - earlier) * earlier.amax((2, 3), keepdim=True)], 1)
    shares = shares / (shares.sum((2, 3), keepdim=True) + 1e-3)
    means = F.normalize(torch.einsum("bchw,bmhw->bmc", keys, shares), dim=2, eps=1e-3)
    return torch.einsum("bchw,bmc->bmhw", keys, means)


def draw_clicks(marks: Tensor, points: Sequence[Sequence[float]], labels: Sequence[int]) -> None:
    """Draw clicks as discs into the first two of some maps, in place.

    Args:
        marks: float32 (at least 2, h, w).
        points: (x, y) in pixels of the maps, (0.5, 0.5) being the middle of the first.
        labels: 1 inside, drawn into the first map, or 0, into the second.
    """
    rows, columns = marks.shape[-2:]
    reach = math.ceil(RADIUS) + 1
    for (x, y), label in zip(points, labels, strict=True):
        left, top = max(0, int(x) - reach), max(0, int(y) - reach)
        right, bottom = min(columns, int(x) + reach + 1), min(rows, int(y) + reach + 1)
        if left >= right or top >= bottom:
            continue
        down = torch.arange(top, bottom, dtype=torch.float32)[:, None] + 0.5 - y
        across = torch.arange(left, right, dtype=torch.float32)[None] + 0.5 - x
        disc = (RADIUS + 0.5 - torch.sqrt(down * down + across * across)).clamp(0, 1).to(marks)
        window = marks[0 if label else 1, top:bottom, left:right]
        torch.maximum(window, disc, out=window)


def stretched(picture: Tensor) -> Tensor:
    """A picture whose brightness takes :data:`CONTRAST` of the range at least, if a gain of :data:`MOST_GAIN` reaches that; colours keep their
    differences.

    Args:
        picture: float32 (1, 3, h, w) in [0, 1].

    Returns:
        The same shape and range; the picture itself where it is as contrasty as that.
    """
    # Every fourth pixel says enough; numpy looks for the two values, where torch sorts all.
    some = picture[..., ::2, ::2].numpy()
    low, high = float(np.quantile(some.min(1), 0.01)), float(np.quantile(some.max(1), 0.99))
    gain = min(CONTRAST / max(high - low, 0.02), MOST_GAIN)
    if gain <= 1:
        return picture
    middle = (low + high) / 2
    return ((picture - middle) * gain + min(max(middle, CONTRAST / 2), 1 - CONTRAST / 2)).clamp(0, 1)


def resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (h, w, 3) to uint8 (3, *size), antialiased where that is smaller."""
    maps = pixels.permute(2, 0, 1)[None]
    return maps[0] if size == maps.shape[-2:] else F.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=True)[0]


def shown(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (h, w, 3) as the network is shown it, before its normalisation: float32 (1, 3, *size) in [0, 1]."""
    return stretched(resized(pixels, size)[None].float() / 255)


def part(levels: list[Tensor], frame: Box, factor: float) -> tuple[Box, Tensor]:
    """A frame's pixels from the smallest level that has enough of them, uint8 (h, w, 3), and the frame that these really show."""
    height, width = levels[0].shape[:2]
    depth = min(len(levels) - 1, max(0, int(math.log2(max(1.0, 1 / factor)))))
    rows, columns = levels[depth].shape[:2]
    down, across = rows / height, columns / width
    left, top = int(frame[0] * across), int(frame[1] * down)
    right, bottom = min(columns, max(left + 1, math.ceil(frame[2] * across))), min(rows, max(top + 1, math.ceil(frame[3] * down)))
    really = round(left / across), round(top / down), round(right / across), round(bottom / down)
    return really, levels[depth][top:bottom, left:right]


def seen_at(maps: Tensor, frame: Box, side: int) -> Tensor:
    """A frame of maps (C, H, W) at the size of the network's."""
    x0, y0, x1, y1 = frame
    part = maps[None, :, y0:y1, x0:x1]
    return F.interpolate(part, (side, side), mode="bilinear", align_corners=False, antialias=max(part.shape[-2:]) > side)[0]


def guided(chance: Tensor, fine: Tensor) -> Tensor:
    """Probabilities of a small picture at the size of a larger one, whose edges they follow: around every pixel they are taken as linear in the
    colours (He and Sun 2015, arXiv 1505.00996).

    Args:
        chance: float32 (h, w) in [0, 1].
        fine: float32 (3, H, W) in [0, 1], the larger picture.

    Returns:
        float32 (H, W) in [0, 1].
    """

    def mean(maps: Tensor) -> Tensor:
        # Shifted maps, one after the other: three times as fast as torch's pooling, which takes every window by itself.
        maps = F.pad(maps[None], (NEAR,) * 4, mode="replicate")[0]
        for axis in (1, 2):
            first, *others = (maps.narrow(axis, begin, maps.shape[axis] - 2 * NEAR) for begin in range(2 * NEAR + 1))
            maps = sum(others, first)
        return maps / (2 * NEAR + 1) ** 2

    r, g, b = picture = F.interpolate(fine[None], chance.shape, mode="bilinear", align_corners=False, antialias=True)[0]
    colours, level, mixed, rr, rg, rb, gg, gb, bb = mean(
        torch.cat([picture, chance[None], picture * chance, torch.stack([r * r, r * g, r * b, g * g, g * b, b * b])])
    ).split([3, 1, 3, 1, 1, 1, 1, 1, 1])
    r, g, b = colours.split(1)
    rr, gg, bb = rr - r * r + FLAT, gg - g * g + FLAT, bb - b * b + FLAT
    rg, rb, gb = rg - r * g, rb - r * b, gb - g * b
    cr, cg, cb = (mixed - colours * level).split(1)
    # Cramer's rule: three unknowns per pixel.
    ir, ig, ib = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    jg, jb, kb = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    slopes = torch.cat([ir * cr + ig * cg + ib * cb, ig * cr + jg * cg + jb * cb, ib * cr + jb * cg + kb * cb]) / (rr * ir + rg * ig + rb * ib)
    lines = mean(torch.cat([slopes, level - (slopes * colours).sum(0, keepdim=True)]))
    lines = F.interpolate(lines[None], fine.shape[1:], mode="bilinear", align_corners=False)[0]
    return ((lines[:3] * fine).sum(0) + lines[3]).clamp(0, 1)


def spread(picture: Tensor, places: Sequence[tuple[float, float]], labels: Sequence[int]) -> Tensor:
    """What clicks say of the pixels around them: those that are nearer to a click inside than to one outside belong to it, the nearer the
    surer, by the length of ways that edges lengthen.

    Args:
        picture: float32 (3, h, w) in [0, 1].
        places: (x, y) of the clicks in its pixels, (0.5, 0.5) being the middle of the first.
        labels: 1 inside or 0 outside, one for every click.

    Returns:
        Logits to add, float32 (h, w), in [-:data:`SAYS`, :data:`SAYS`].
    """
    from skimage.graph import MCP_Geometric

    rows, columns = picture.shape[1:]
    # Every second pixel is enough, and four times as fast.
    step = 2 if min(rows, columns) >= 32 else 1
    small = F.avg_pool2d(picture[None], step, ceil_mode=True)[0].numpy()
    down, across = np.gradient(small, axis=(1, 2)) if min(small.shape[1:]) > 1 else (np.zeros_like(small),) * 2
    costs, reach = step + EDGE * np.sqrt(down**2 + across**2).max(0), REACHES * max(rows, columns)
    ways = []
    for wanted in (1, 0):
        # A click may lie between pixels, half of one beyond the middle of the last.
        starts = [(min(rows - 1, int(y)) // step, min(columns - 1, int(x)) // step) for (x, y), label in zip(places, labels, strict=True) if label == wanted]
        ways.append(MCP_Geometric(costs).find_costs(starts)[0] if starts else np.full(costs.shape, np.inf))
    inside, outside = (np.minimum(way, 1e6) for way in ways)
    found = SAYS * (outside - inside) / (outside + inside + 1e-6) * np.exp(-np.minimum(inside, outside) / reach)
    return F.interpolate(torch.from_numpy(found.astype(np.float32))[None, None], scale_factor=step, mode="bilinear")[0, 0, :rows, :columns]


def cut(mask: Tensor, frame: Box, size: tuple[int, int]) -> Tensor:
    """A frame of a mask as shares in [0, 1].

    Args:
        mask: bool (H, W).
        frame: (x0, y0, x1, y1), pixels of the mask.
        size: (rows, columns) of the result.

    Returns:
        float32 (rows, columns).
    """
    x0, y0, x1, y1 = frame
    part = mask[y0:y1, x0:x1]
    # Every n-th pixel is enough of a mask that is many times larger than what is asked for, and takes no memory.
    step = max(1, int(min(part.shape[0] / size[0], part.shape[1] / size[1]) / 2))
    return F.interpolate(part[::step, ::step][None, None].float(), size, mode="bilinear", align_corners=False, antialias=True)[0, 0]


def placed(values: Tensor, source: Box, frame: Box, size: tuple[int, int]) -> Tensor:
    """Values of one frame as another one sees them, 0 beyond.

    Args:
        values: (h, w), of the source.
        source: (x0, y0, x1, y1), pixels of the picture.
        frame: the other one, as ``source``.
        size: (rows, columns) of the result.

    Returns:
        float32 (rows, columns).
    """
    rows, columns = size
    found = torch.zeros(rows, columns)
    down, across = rows / (frame[3] - frame[1]), columns / (frame[2] - frame[0])
    left, right = ((source[side] - frame[0]) * across for side in (0, 2))
    top, bottom = ((source[side] - frame[1]) * down for side in (1, 3))
    y = (torch.arange(rows) + 0.5 - top) / (bottom - top) * 2 - 1
    x = (torch.arange(columns) + 0.5 - left) / (right - left) * 2 - 1
    inside_y, inside_x = (y.abs() < 1).nonzero()[:, 0], (x.abs() < 1).nonzero()[:, 0]
    if not len(inside_y) or not len(inside_x):
        return found
    y, x = y[inside_y], x[inside_x]
    grid = torch.stack([x[None].expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)[None]
    part = F.grid_sample(values[None, None].float(), grid, mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
    found[inside_y[0] : inside_y[-1] + 1, inside_x[0] : inside_x[-1] + 1] = part
    return found


def pieces_near(mask: Tensor, place: tuple[float, float], near: float, most: float = math.inf) -> Tensor:
    """The pieces of a mask bool (h, w) that come near a place (x, y) in its pixels, up to the distance `most` from it: bool (h, w); diagonal
    neighbours are of one piece."""
    if most < math.inf:
        rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
        mask = mask & torch.from_numpy((rows + 0.5 - place[1]) ** 2 + (columns + 0.5 - place[0]) ** 2 <= most**2)
    pieces, _ = ndimage.label(mask.numpy(), np.ones((3, 3)))
    column, row = (min(max(0, int(value)), length - 1) for value, length in zip(place, reversed(mask.shape), strict=True))
    reach = math.ceil(near)
    found = np.unique(pieces[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1])
    return torch.from_numpy(np.isin(pieces, found[found > 0]))


def unclicked(mask: Tensor, places: Sequence[tuple[float, float]], labels: Sequence[int]) -> Tensor:
    """The pieces of a mask bool (h, w) that no click inside is on, of places (x, y) in its pixels: bool (h, w)."""
    pieces, _ = ndimage.label(mask.numpy(), np.ones((3, 3)))
    ends = [length - 1 for length in reversed(mask.shape)]
    clicked = [(min(max(0, int(value)), end) for value, end in zip(place, ends, strict=True)) for place, label in zip(places, labels, strict=True) if label]
    return mask & ~torch.from_numpy(np.isin(pieces, [pieces[row, column] for column, row in clicked]))


def depth(mask: Tensor, place: tuple[float, float]) -> float:
    """How far a place lies from the outline of a mask that it is in, as a share of the root of the mask's pixels; holes and cracks of it are no outline.

    Args:
        mask: bool (h, w).
        place: (x, y) in its pixels, (0.5, 0.5) being the middle of the first.

    Returns:
        0 beyond the mask, infinite in one without an outline.
    """
    inside, (x, y) = np.pad(mask.numpy(), CRACK + 1), place
    solid = ndimage.binary_fill_holes(ndimage.binary_closing(inside, np.ones((3, 3)), CRACK))[CRACK + 1 : -CRACK - 1, CRACK + 1 : -CRACK - 1]
    if not (0 <= x < solid.shape[1] and 0 <= y < solid.shape[0]) or not solid[int(y), int(x)]:
        return 0.0
    return math.inf if solid.all() else float(ndimage.distance_transform_edt(solid)[int(y), int(x)]) / math.sqrt(solid.sum())


def one_way(logits: Tensor, earlier: Tensor, label: int) -> Tensor:
    """A further answer that is held to what its click can mean: one inside takes nothing away, but for the rim, and one outside, where the network
    would add much, adds nothing.

    Args:
        logits: float32 (h, w), of the answer.
        earlier: bool (h, w), the mask before.
        label: of the click, 1 inside or 0 outside.

    Returns:
        Of these logits, float32 (h, w).
    """
    if label:
        core = F.max_pool2d((~earlier)[None].float(), 2 * RIM + 1, 1, RIM)[0] == 0
        return torch.where(core, logits.clamp(min=1), logits)
    if (logits > 0).sum() <= MOST_GROWTH * earlier.sum():
        return logits
    around = F.max_pool2d(earlier[None].float(), 2 * RIM + 1, 1, RIM)[0] > 0
    return torch.where(around, logits, logits.clamp(max=-1))


def longest_side(frame: Box) -> int:
    """The longer side of a frame in pixels."""
    return max(frame[2] - frame[0], frame[3] - frame[1])


def clipped(frame: Sequence[float], size: tuple[int, int]) -> Box:
    """A frame of whole pixels within the picture, with one pixel at least."""
    left, top = min(max(0, math.floor(frame[0])), size[1] - 1), min(max(0, math.floor(frame[1])), size[0] - 1)
    return left, top, min(size[1], max(left + 1, math.ceil(frame[2]))), min(size[0], max(top + 1, math.ceil(frame[3])))


def _joined(coarse: Tensor, fine: Tensor) -> Tensor:
    """Coarse maps enlarged to the size of finer ones, with those."""
    return torch.cat([F.interpolate(coarse, fine.shape[-2:], mode="nearest"), fine], 1)

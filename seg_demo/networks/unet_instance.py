"""Objects from the maps of a U-Net, for crowded and touching things: a class, how deep inside its object each pixel lies, and where objects meet.

After Scherr et al. 2020 (PLoS ONE 15(12), e0243219), who won cell tracking challenges with it, the network learns for every pixel its class,
the distance to the edge of its object in shares of the largest one there, so that small and large objects look alike, and, as the U-Net paper
(Ronneberger et al. 2015) has it, the thin line along which objects meet. Where the distance peaks and no line runs is the middle of an object;
from there a seeded watershed floods what is foreground. Touching things come apart that the boxes of a detector lose, their number takes hardly any
time, and the convolutions are a plain U-Net's. (Vectors, as Cellpose has them, hold winding shapes together better, but have to be followed pixel
by pixel for many steps, which costs a processor more than the network does.)

The last layers' maps are half as fine as the pixels that the network sees, so that of small neighbours it takes two for one. A picture, or a tile
of it, in which the first look finds small things is therefore looked at once more, a quarter larger, and whichever look expects more of its objects
to be right is the answer: many small ones take about two and a half times as long as few or large ones. Bilinear, because noise that is interpolated
more sharply is taken for seams; at twice the size, other than what it learnt from, more things fall to pieces than come apart.

Where a picture is dark all over, as an exposure for other things leaves nuclei or as bytes show a camera's 12 bits, it is brightened first, by the same
table for all of it, so that tiles meet: what hardly differs from the ground is lost otherwise. Not by the brightest pixel, which may be a speck of
dust, and not so far that noise becomes something.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, Self

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from scipy import ndimage
from segmentation_models_pytorch.base import SegmentationHead
from torch import Tensor, nn

from seg_demo.core import MAX_IDS, BadCheckpointError, Message, Segmentation, extents
from seg_demo.masks.regions import Region
from seg_demo.masks.semantic import all_finite, argmax_resized, probability_and_margin
from seg_demo.networks import base
from seg_demo.networks.base import LONGEST_SIDE, EngineHints, Network, TrainingDefaults
from seg_demo.networks.preprocessing import MAX_NETWORK_SIDE, Preprocessing, normalised
from seg_demo.networks.unet import arguments_of, check_encoder, fold_decoder, plain_preprocessing

# Two peaks of the share of the distance are two objects where it falls between them below this part of the lower, and a peak has at least PEAK:
# that of a small one is low once it is smoothed, and what has no seed is flooded from its neighbour. What is nothing has a low score.
DIP, PEAK = 0.5, 0.05
# Of the share of the distance before its peaks are looked for: sigma in pixels of the network's.
SMOOTHING = 0.7
# Pixels of the network's that an object has at least.
LEAST = 6
# What lies at the edge of a picture and is smaller than this share of the typical object there is a shade of the edge more often than an object,
# and where it is one, too little of it is seen to say so; typical is the median of at least so many.
SLIVER, TYPICAL_OF = 0.1, 4
# Pixels of the network's that a typical object is across at most, as a disc of their mean area, at least so many of them, where the picture is looked
# at once more at so many times its size; but not where the mean score of everything found is lower than SURE, as in textures of photographs.
SMALL, SMALL_OF, ENLARGED, SURE = 14.0, 8, 1.25, 0.5
# Of 255: a picture whose brightest things are darker than DARK is brightened until they are BRIGHT, but no further than until its noise has a deviation
# of GRAIN, and not where that is hardly any more. What has been brightened is not dark any more.
DARK, BRIGHT, GRAIN, WORTH = 100.0, 200.0, 8.0, 1.25
# It is not where it may be empty: where its brightest things, and a hundredth of all, are fewer than FAINT levels above the darkest pixels, as what is
# seen may be a few levels then; or where they are not as many times as far above its middle as those are below, for noise goes as far up as down. Nor where more than BLOCKS times as much changes between the blocks of a JPEG as within
# them: they would be taken for objects.
FAINT, SKEW, BLOCKS = 6.0, 1.5, 2.0
# The brightest things are what is in more than so many of the squares of a picture cut into so many by so many: a speck of dust is in four at most.
SQUARES, SPECK = 8, 4
# Pixels that are looked at of a picture to see whether it is dark, for most are not.
LOOKED_AT = 1 << 14
# Rows of a large picture that are filled at once.
STRIP_PIXELS = 1 << 20


class InstanceUNet(smp.Unet):
    """smp's U-Net with a second head.

    Args:
        classes: channels of the first head, background included.
        encoder: its name in smp.
        arguments: of ``smp.Unet``.
    """

    def __init__(self, classes: int, encoder: str, **arguments: Any) -> None:
        super().__init__(encoder_name=encoder, encoder_weights=None, in_channels=3, classes=classes, activation=None, **arguments)
        self.shape_head = SegmentationHead(self.segmentation_head[0].in_channels, 2)
        smp.base.initialization.initialize_head(self.shape_head)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the classes, of the share of the distance, and of the line between objects.

        Args:
            x: (B, 3, h, w), normalised, h and w multiples of the encoder's stride.

        Returns:
            (B, classes + 2, h, w).
        """
        return self.heads(self.encoder(x))

    def heads(self, maps: list[Tensor]) -> Tensor:
        """As :meth:`forward`, of the encoder's maps."""
        found = self.decoder(maps)
        return torch.cat([self.segmentation_head(found), self.shape_head(found)], 1)


class UNetInstance(Network, family="unet-instance"):
    """Objects from a U-Net's maps and a seeded watershed. They have scores, and none lies upon another."""

    engine = EngineHints()
    enlarged = ENLARGED
    training = TrainingDefaults(
        pretrained_encoder={"encoder": "resnet34", "decoder_channels": [256, 128, 64, 32, 16]},
        lr=3e-3,
        scratch_lr=3e-3,
        scratch_crop=192,
        scratch_batch_size=4,
        pretrained_crop=256,
        step_cost=1.2,
        passes=12,
    )

    @staticmethod
    def default_options() -> dict[str, Any]:
        """1.2 million parameters, 2.5 MB in 16 bits: the encoder of the small U-Net, which learns from scratch on a laptop."""
        return {"encoder": "tu-test_resnet", "decoder_channels": [128, 96, 64, 32, 16]}

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """A network with random weights; never touches the Hub.

        Args:
            num_classes: background included.
            options: ``encoder``, and arguments of ``smp.Unet``.

        Raises:
            BadCheckpointError: an unknown encoder or argument.
        """
        arguments = {key: value for key, value in options.items() if key != "encoder"}
        check_encoder(options.get("encoder"))
        if unknown := sorted(set(arguments) - arguments_of(smp.Unet)):
            raise BadCheckpointError("checkpoints.unknown_argument", name="Unet", argument=unknown[0])
        return InstanceUNet(num_classes, options["encoder"], **arguments)

    @classmethod
    def fresh_preprocessing(cls, module: nn.Module, options: dict[str, Any]) -> Preprocessing:
        """Colours of the encoder's pretraining; pictures at their own size up to a longest side."""
        return plain_preprocessing(module, {**options, "decoder": "Unet"}, LONGEST_SIDE)

    def exposed(self, image: np.ndarray) -> np.ndarray:
        """As :meth:`Network.exposed`: a dark one brighter; numbers of other channels as they are, which have their own ranges."""
        tables = None if self.preprocessing.samples is not None else brightening(image)
        return image if tables is None else np.stack([table[channel] for table, channel in zip(tables, np.moveaxis(image, 2, 0), strict=True)], 2)

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> Tensor:
        """Logits of the classes, of the share of the distance, and of the line between objects: (B, classes + 2, h, w).

        The mean of what the module says of the picture and of it turned upside down: what is an accident of one of them does not part an
        object or join two. It takes twice the time of a small network.

        Args:
            module: of this network.
            batch: (B, 3, h, w), normalised, h and w multiples of the output stride.
        """
        return (module(batch) + module(batch.flip(-2, -1)).flip(-2, -1)) / 2

    @staticmethod
    def forward_with_maps(module: nn.Module, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`forward`, with the encoder's maps of the picture as it stands, the largest left out.

        Args:
            module: of this network.
            batch: as for :meth:`forward`.
        """
        maps = module.encoder(batch)
        return (module.heads(maps) + module(batch.flip(-2, -1)).flip(-2, -1)) / 2, list(maps[2:])

    def graph(self) -> base.Graph:
        """As :meth:`Network.graph`: the maps. The watershed that makes objects of them is no graph, and takes more than ten lines; nor is
        :func:`brightening`, which looks at all of a picture, of which the graph may see a tile."""
        answer = base.Tensors(self.module, lambda module, batch: (self.forward(module, batch),))
        return base.Graph(answer, ("logits",), lambda found: found[0], note=Message("onnx.maps_alone"))

    def postprocess(self, raw: Tensor, height: int, width: int, confidence: bool = False) -> Segmentation:
        """The maps of one image as objects at the size of the upload, by falling score.

        An object is found at the size of the maps. At the size of the upload its outline against the background is where the bilinearly
        resized foreground ends, and its line against a neighbour that of the nearest pixels of the maps.

        Args:
            raw: (1, classes + 2, h, w), at the size of the batch, padding included.
            height: of the upload, in pixels.
            width: of the upload, in pixels.
            confidence: also how sure the network is that there is an object, or none, at every pixel.

        Raises:
            BadCheckpointError: the network returned NaN.
        """
        rows, columns = self.preprocessing.fitted(height, width)
        maps = raw[0, :, :rows, :columns].float().cpu()
        if not all_finite(maps):
            raise BadCheckpointError("networks.not_finite")
        background = self.labels.background or 0
        others = [index for index in range(len(self.labels)) if index != background]
        # Nothing, and anything: what decides where objects are, however many classes there are.
        two = torch.stack([maps[background], maps[others].logsumexp(0)])
        chances = maps[:-2].softmax(0).numpy()
        distance, line = (values.sigmoid().numpy() for values in maps[-2:])
        ids = separated(two[1].sub(two[0]).sigmoid().numpy(), distance, line)
        ids, scores, classes = _ranked(ids, chances, distance, background)
        id_map, inside = _enlarged(ids, two, height, width)
        segments = []
        pixels, boxes = extents(id_map)
        for index, (score, label_id) in enumerate(zip(scores, classes, strict=True)):
            # Where a large picture is shrunk below its objects' size, or a box below a pixel, nothing may be left.
            if index + 1 < len(pixels) and pixels[index + 1]:
                segments.append(Region(label_id, tuple(boxes[index + 1].tolist()), id_map, index + 1, score))
        if len(segments) < len(scores):
            table = np.zeros(len(scores) + 1, id_map.dtype)
            table[[segment.identity for segment in segments]] = np.arange(1, len(segments) + 1)
            id_map = table[id_map]
            segments = [Region(each.label_id, each.box, id_map, number, each.score) for number, each in enumerate(segments, start=1)]
        sure = None
        if confidence:
            sure = probability_and_margin(two, height, width)[0]
            # The other way round where there is foreground that belongs to nothing.
            np.subtract(255, sure, out=sure, where=(inside > 0) & (id_map == 0))
        return Segmentation(self.task.name, height, width, self.labels, id_map, tuple(segments), confidence=sure)

    def closer(self, result: Segmentation) -> Self | None:
        """As :meth:`Network.closer`: where objects are small, and likely to be any."""
        rows, columns = self.preprocessing.fitted(result.height, result.width)
        count, shrunk = len(result.segments), rows * columns / (result.height * result.width)
        if count < SMALL_OF or sum(segment.score for segment in result.segments) < count * SURE:
            return None
        if shrunk * np.count_nonzero(result.id_map) > count * np.pi / 4 * SMALL**2:
            return None
        size = round(ENLARGED * rows), round(ENLARGED * columns)
        return None if max(size) > MAX_NETWORK_SIDE else self.seeing(size)

    def optimise(self, device: torch.device) -> None:
        """As the U-Net's."""
        if device.type == "cpu":
            fold_decoder(self.module)
            self.module.to(memory_format=torch.channels_last)

    @staticmethod
    def memory_per_pixel(tiled: bool, confidence: bool) -> int:
        """The id map of 16 bits, the foreground, a copy while ids are counted, and what the first of two looks found; in tiles the id maps of
        the tiles too; and the colours of a brightened picture."""
        return (11 if tiled else 14) + (4 if tiled else 5) * confidence

    def loss(self, module: nn.Module, images: Tensor, truth: Any, per_pixel: Callable[[Tensor], Tensor], share: float) -> Tensor:
        """Cross-entropy and Dice of the classes, and cross-entropies of the share of the distance and of the line between objects.

        Pixels beside such a line count more, as in the U-Net paper, and pixels of small objects too, of which there are few in each.
        """
        wanted = [truth_maps(objects, images.shape[-2:]) for objects in truth]
        classes, numbers, distance, weights = (torch.from_numpy(np.stack(maps)).to(images.device) for maps in zip(*wanted, strict=True))
        line = meeting(numbers).float()
        logits = module(normalised(images, self.preprocessing)).float()
        weights = weights + 4 * line
        entropy = F.cross_entropy(logits[:, :-2], classes, reduction="none")
        foreground, inside = 1 - logits[:, :-2].softmax(1)[:, self.labels.background or 0], (numbers > 0).float()
        total = (entropy * weights).sum() / weights.sum() + _dice(foreground, inside)
        total = total + 2 * (F.binary_cross_entropy_with_logits(logits[:, -2], distance, reduction="none") * weights).sum() / weights.sum()
        drawn = logits[:, -1]
        rare = 1 + 4 * line
        total = total + (F.binary_cross_entropy_with_logits(drawn, line, reduction="none") * rare).sum() / rare.sum()
        return share * (total + 0.5 * _dice(drawn.sigmoid(), line))

    def head_prefixes(self) -> tuple[str, ...]:
        """The head of the classes; distance and line mean the same whatever the objects are called."""
        return ("segmentation_head.",)

    def card_snippet(self, source: str) -> str:
        """Code that loads the checkpoint with plain smp.

        Args:
            source: folder or Hub id.
        """
        arguments = "".join(f", {key}={value!r}" for key, value in self.options.items() if key != "encoder")
        return f"""from pathlib import Path
import segmentation_models_pytorch as smp
import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file

model = smp.Unet({self.options["encoder"]!r}, encoder_weights=None, classes={len(self.labels)}{arguments})
model.shape_head = smp.base.SegmentationHead(model.segmentation_head[0].in_channels, 2)
folder = Path("{source}")
weights = folder / "model.safetensors" if folder.is_dir() else hf_hub_download("{source}", "model.safetensors")
model.load_state_dict({{name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(weights).items()}})
model.eval()
pixels = torch.zeros(1, 3, 256, 256)  # RGB in [0, 1], sides multiples of {self.preprocessing.multiple}
mean = torch.tensor({list(self.preprocessing.mean)}).view(3, 1, 1)
std = torch.tensor({list(self.preprocessing.std)}).view(3, 1, 1)
def logits(batch):
    maps = model.decoder(model.encoder(batch))
    return torch.cat([model.segmentation_head(maps), model.shape_head(maps)], 1)

with torch.no_grad():
    batch = (pixels - mean) / std
    found = (logits(batch) + logits(batch.flip(-2, -1)).flip(-2, -1)) / 2  # the demo takes the mean with the picture turned upside down
    classes = found[:, :{len(self.labels)}].softmax(1)  # (1, {len(self.labels)}, 256, 256)
    distance, line = found[:, {len(self.labels)}:].sigmoid().unbind(1)  # peaks of distance * (1 - line) are the seeds of a watershed
# a picture whose brightest things have fewer than {DARK:.0f} of 255 levels is made brighter beforehand, as `brightening` of the demo's networks/unet_instance.py does it
# where things are small, {SMALL_OF} or more of fewer than {SMALL:.0f} pixels across, the demo looks once more at {ENLARGED} times the size
"""


def brightening(image: np.ndarray) -> np.ndarray | None:
    """What the levels of each channel of a dark picture become, uint8 (3, 256); None of one that is bright enough or shows nothing.

    The ground stays as it is; what is above it, is so by as many times more in all channels. What is brighter than the brightest things, such as
    dust, shares what is left above them.

    Args:
        image: uint8 (H, W, 3), RGB.
    """
    height, width = image.shape[:2]
    step = max(1, int(np.sqrt(height * width / LOOKED_AT)))
    few = image[::step, ::step]
    low, middle, most = np.percentile(few.max(2), (0.5, 50, 99))
    # A hundredth of all pixels is more than a few specks.
    if min(height, width) < 2 * SQUARES or most >= DARK:
        return None
    # Of two by two pixels the darkest, for a single bright one is the camera's.
    levels = reduce(np.maximum, np.moveaxis(image, 2, 0))
    levels = np.minimum(levels[1:], levels[:-1])
    levels = np.minimum(levels[:, 1:], levels[:, :-1])
    for axis, length in enumerate(levels.shape):
        levels = np.maximum.reduceat(levels, np.arange(SQUARES) * length // SQUARES, axis)
    high, lows = float(np.sort(levels, None)[-1 - SPECK]), np.percentile(few, 0.5, axis=(0, 1))
    if high >= DARK or min(high, most) - low < FAINT or high - middle < SKEW * (middle - low):
        return None
    slopes = np.diff(image[::step].astype(np.int16), axis=1)
    steps = np.abs(slopes).mean((0, 2))
    if steps[7::8].mean() > BLOCKS * np.delete(steps, np.s_[7::8]).mean():
        return None
    # The deviation of white noise by what is no slope along a row, as that of most pixels, which edges do not move.
    noise = float(np.median(np.abs(np.diff(slopes, axis=1)), (0, 1)).max()) / 0.6745 / np.sqrt(6)
    times = min((BRIGHT - lows.min()) / (high - lows.min()), GRAIN / max(noise, 1e-6))
    if times < WORTH:
        return None
    ends = [((0, low, max(high, low + 1), 255), (0, low, low + times * max(high - low, 1), 255)) for low in lows.tolist()]
    return np.rint([np.interp(np.arange(256), *knots) for knots in ends]).astype(np.uint8)


def separated(foreground: np.ndarray, distance: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Objects of maps: a seeded watershed within the foreground.

    Args:
        foreground: float32 (h, w) in [0, 1], the probability of any object.
        distance: float32 (h, w) in [0, 1], the share of the distance to the edge of the object.
        line: float32 (h, w) in [0, 1], the probability that two objects meet here.

    Returns:
        int32 (h, w), 0 for none. Foreground without a peak is none.
    """
    # scikit-image takes half a second to import.
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    inside = foreground > 0.5
    depth = ndimage.gaussian_filter(np.where(inside, distance * (1 - line), 0), SMOOTHING) * inside
    # A fixed threshold would lose what the network is less sure of: there the share is low all over. What reconstruction by dilation leaves of
    # a peak that hardly rises above the way to a higher one is a slope of that (Vincent 1993, IEEE Transactions on Image Processing 2(2)).
    level = reconstruction(depth * DIP, depth)
    seeds, count = ndimage.label(local_maxima(level) & (level > DIP * PEAK), np.ones((3, 3)))
    return watershed(-depth, seeds, mask=inside) if count else seeds


def _ranked(ids: np.ndarray, chances: np.ndarray, distance: np.ndarray, background: int) -> tuple[np.ndarray, list[float], list[int]]:
    """Objects int32 (h, w) numbered by falling score, their scores in [0, 1] and their classes; without specks and slivers.

    An object's score is the mean probability of its class on it, times how clear its middle is: what has none may be a part of something.
    On rendered pictures of unseen seeds about as many of the objects of a score are right (at an IoU of 0.5) as that says.
    """
    count = int(ids.max(initial=0))
    flat = ids.ravel()
    areas = np.bincount(flat, minlength=count + 1)
    sums = np.stack([np.bincount(flat, weights=plane.ravel(), minlength=count + 1) for plane in chances])
    sums[background] = -1
    classes, means = sums.argmax(0), sums.max(0) / np.maximum(areas, 1)
    peaks = np.zeros(count + 1)
    np.maximum.at(peaks, flat, distance.ravel())
    scores = np.clip(means * (1 - (1 - peaks) ** 2), 0, 1)
    large = areas >= LEAST
    if count >= TYPICAL_OF:
        at_edge = np.unique(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]))
        large[at_edge] &= areas[at_edge] >= SLIVER * np.median(areas[1:])
    found = np.flatnonzero(large)
    found = found[found > 0]
    found = found[np.argsort(-scores[found], kind="stable")][:MAX_IDS]
    table = np.zeros(count + 1, np.int32)
    table[found] = np.arange(1, len(found) + 1)
    return table[ids], scores[found].tolist(), classes[found].tolist()


def _enlarged(ids: np.ndarray, two: Tensor, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The id map of an upload, uint8 or uint16 (H, W), and uint8 (H, W), 1 where there is foreground.

    Args:
        ids: int32 (h, w), objects.
        two: float32 (2, h, w), logits of the background and of everything else.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
    """
    inside = argmax_resized(two, height, width)
    numbers = ids.astype(np.uint8 if ids.max(initial=0) <= 255 else np.uint16)
    if ids.shape == (height, width):
        return numbers, inside
    # The resized foreground ends up to a pixel of the maps beyond the objects.
    numbers = np.where(numbers > 0, numbers, ndimage.maximum_filter(numbers, 3))
    rows, columns = (
        np.minimum((np.arange(after) + 0.5) * before / after, before - 1).astype(np.intp) for before, after in zip(ids.shape, (height, width), strict=True)
    )
    found, step = np.empty((height, width), numbers.dtype), max(1, STRIP_PIXELS // width)
    for top in range(0, height, step):
        np.multiply(numbers[rows[top : top + step, None], columns], inside[top : top + step], out=found[top : top + step], casting="unsafe")
    return found, inside


def truth_maps(objects: dict[str, Tensor], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What is learnt of one crop.

    Args:
        objects: ``boxes``, ``labels`` and ``masks`` as torchvision's detectors take them.
        size: (height, width) in pixels.

    Returns:
        Classes int64 (H, W); numbers of the objects float32 (H, W), 0 for none, the smaller upon the larger; the share of the distance float32
        (H, W), from nearly 0 at the edge of an object to 1 in its middle, where the crop's edge is none; and weights float32 (H, W).
    """
    masks, labels = objects["masks"].cpu().numpy(), objects["labels"].tolist()
    boxes = [[int(value) for value in box] for box in objects["boxes"].tolist()]
    classes, numbers = np.zeros(size, np.int64), np.zeros(size, np.float32)
    distance, weights = np.zeros(size, np.float32), np.ones(size, np.float32)
    for index in sorted(range(len(labels)), key=lambda place: -int(masks[place].sum())):
        x0, y0, x1, y1 = boxes[index]
        inside = masks[index, y0:y1, x0:x1] > 0
        classes[y0:y1, x0:x1][inside] = labels[index]
        numbers[y0:y1, x0:x1][inside] = index + 1
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        window = slice(max(0, y0 - 1), y1 + 1), slice(max(0, x0 - 1), x1 + 1)
        inside = numbers[window] == index + 1
        if not inside.any():
            continue
        depth = ndimage.distance_transform_edt(inside) - 0.5 if not inside.all() else np.ones(inside.shape)
        distance[window][inside] = (depth / depth.max())[inside]
        weights[window][inside] = np.clip(np.sqrt(300 / inside.sum()), 0.5, 3)
    return classes, numbers, distance, weights


def meeting(numbers: Tensor) -> Tensor:
    """bool (B, H, W): where an object lies within two pixels of another, the gap between them included.

    Args:
        numbers: float32 (B, H, W), of the objects, 0 for none.
    """
    maps = numbers[:, None]
    grown = torch.where(maps > 0, maps, F.max_pool2d(maps, 3, 1, 1))
    high = F.max_pool2d(grown, 3, 1, 1)
    low = -F.max_pool2d(torch.where(grown > 0, -grown, -torch.inf), 3, 1, 1)
    return ((grown > 0) & (high > low))[:, 0]


def _dice(chance: Tensor, wanted: Tensor) -> Tensor:
    """1 less the Dice coefficient of a batch's probabilities and its truth (B, H, W)."""
    return 1 - (2 * (chance * wanted).sum() + 1) / (chance.sum() + wanted.sum() + 1)

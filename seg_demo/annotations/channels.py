"""Images of other channels than red, green and blue, or of more than 8 bits, as training reads them: how many channels the data has, and
which of their values become 0 and 1.

Values are brought to one scale for all images of a dataset, by percentiles over the images that are learnt from, as nnU-Net does for CT
(Isensee et al., Nature Methods 18, 2021: 0.5 and 99.5). They travel with the checkpoint, and prediction applies them again. A window by
each image alone, as a person is shown it, would lose what a number means: a reflectance, a count of photons, a Hounsfield unit.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from seg_demo.core.errors import DataError, Message, SegDemoError
from seg_demo.core.picture import Picture
from seg_demo.inputs.images import read
from seg_demo.annotations.listing import Fault, Item, relative
from seg_demo.annotations.masks import digest_of_pixels

LOW, HIGH = 0.5, 99.5
# Images that are looked at for the percentiles, and numbers of each channel that are sorted.
MOST_IMAGES, MOST_NUMBERS = 200, 1 << 22


@dataclass(frozen=True)
class Depth:
    """What an image holds.

    Attributes:
        channels: that are no opacity; 3 for a photograph, also a grey one.
        bits: of a value.
    """

    channels: int = 3
    bits: int = 8

    @classmethod
    def of(cls, picture: Picture) -> Depth:
        """Of an image as it was read."""
        if picture.stack is None:
            return cls()
        return cls(len(picture.channels) - (picture.stack.alpha is not None), picture.stack.bits)


@dataclass(frozen=True)
class Channels:
    """How the values of files are read for a network.

    Attributes:
        count: of the channels.
        as_bytes: the network takes values from 0 to 255; otherwise those of the file.
    """

    count: int
    as_bytes: bool

    def of(self, picture: Picture) -> np.ndarray:
        """The values of an image that was read for it: (H, W, count) of the file's type, or uint8."""
        from seg_demo.inputs import planes  # photographs need none of it

        return planes.for_network(picture, self.count, self.as_bytes)[0]


def picture_of(item: Item, channels: Channels | None = None) -> Picture:
    """An item's image, upright.

    Args:
        item: not a built-in one.
        channels: what of it is wanted besides what a person sees.

    Raises:
        BadImageError: its file cannot be read.
    """
    return read(item.image, view=item.view, channels=None if channels is None else channels.count)


def fingerprint(picture: Picture, item: Item) -> str:
    """sha256 of an image's pixels; where its file holds more than a person sees, of all of that too."""
    seen = digest_of_pixels(picture.pixels)
    if Depth.of(picture) == Depth() and item.view is None:
        return seen
    status = item.image.stat()
    # Empty planes of a stack are alike, and no copies.
    plane = "" if item.view is None else item.view.to_dict()
    return hashlib.sha256(f"{seen} {_content(item.image, status.st_mtime_ns, status.st_size)} {plane}".encode()).hexdigest()


@lru_cache(maxsize=16)
def _content(path: Path, changed: int, size: int) -> str:
    """sha256 of a file, which every plane of it asks for."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shared_channels(depths: Iterable[Depth]) -> tuple[int | None, tuple[Message, ...]]:
    """The number of channels that all images have, where it is more than three; else None, and what is to say about it."""
    counts = Counter(depth.channels for depth in depths)
    most = max(counts, default=3)
    if most <= 3:
        return None, ()
    if len(counts) == 1:
        return most, ()
    return None, (Message("data.channels_differ", most=most, count=counts[most], total=sum(counts.values())),)


def lacking(items: Sequence[Item], depths: dict[str, Depth], count: int, root: Path) -> list[Fault]:
    """The faults of images that have fewer channels than a network is to learn; one is had from any."""
    found = []
    for item in items:
        there = depths[item.name].channels if item.name in depths else count
        if there < count and count > 1:
            what = Message("findings.too_few_channels", there=there, count=count)
            found.append(Fault("too few channels", relative(item.image, root), what, Message("findings.replace_or_fewer_channels", count=there), item=item.name))
    return found


def channel_ranges(read_values: Callable[[Item], np.ndarray], items: Sequence[Item], count: int) -> tuple[tuple[float, float], ...]:
    """Per channel the values that become 0 and 1: percentiles ``LOW`` and ``HIGH`` of what the images hold that are learnt from.

    Args:
        read_values: item → (H, W, count) of any type.
        items: to learn from; of many, evenly chosen ones are read.
        count: of the channels.

    Raises:
        DataError: no image of them can be read, or a channel has no numbers at all.
    """
    chosen = items[:: -(-len(items) // MOST_IMAGES)] if items else []
    each = max(256, MOST_NUMBERS // max(1, len(chosen)))
    pool: list[np.ndarray] = []
    for item in chosen:
        try:
            flat = read_values(item).reshape(-1, count)
        except SegDemoError:
            continue  # the doctor has said so already
        pool.append(flat[:: -(-len(flat) // each)].astype(np.float32))
    if not pool:
        raise DataError("data.no_values", count=count)
    numbers, ranges = np.concatenate(pool), []
    for channel in range(count):
        known = numbers[:, channel][np.isfinite(numbers[:, channel])]
        if not known.size:
            raise DataError("data.no_values", count=count)
        low, high = (float(end) for end in np.percentile(known, (LOW, HIGH)))
        if not low < high:  # nearly all are one value: then all of them count
            low, high = float(known.min()), float(known.max())
        ranges.append((low, high if low < high else low + 1.0))
    return tuple(ranges)

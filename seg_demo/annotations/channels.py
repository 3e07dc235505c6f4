"""Images of other channels than red, green and blue, or of more than 8 bits, as training reads them: how many channels the data has, and
which of their values become 0 and 1.

Values are brought to one scale for all images of a dataset, by percentiles over the images that are learnt from, as nnU-Net does for CT
(Isensee et al., Nature Methods 18, 2021: 0.5 and 99.5). They travel with the checkpoint, and prediction applies them again. A window by
each image alone, as a person is shown it, would lose what a number means: a reflectance, a count of photons, a Hounsfield unit.

Files with several planes, TIFF stacks and NIfTI volumes beside masks of as many planes: each plane is an item of its own. Planes are paired in
the order in which they lie in both files; of volumes as radiologists look at them, so that image and mask must lie on one grid of voxels, and
rasters of the Earth on one of the ground. What does not fit is a fault of the pair.
"""

from __future__ import annotations

import hashlib
import math
import mmap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np

from seg_demo.annotations.listing import FAULT, NOTE, CocoObject, Fault, Item, Listing, relative
from seg_demo.annotations.masks import digest_of_pixels
from seg_demo.core import AXES, Calibration, Damaged, DataError, Grid, Message, Picture, PixelError, SegDemoError, TiffError, View
from seg_demo.inputs.images import read
from seg_demo.inputs.mask_files import MaskFile, of_values
from seg_demo.inputs.tiff import Tiff

LOW, HIGH = 0.5, 99.5
# Images that are looked at for the percentiles, and numbers of each channel that are sorted.
MOST_IMAGES, MOST_NUMBERS = 200, 1 << 22
# Tags of a GeoTIFF: the scale, the transformation, and the directory of what else it says.
_PLACED = (33550, 34264, 34735)
# Voxels and pixels are in one place if they are no further apart than this share of one, at the far corner of the picture.
NEAR = 0.05
# Labels that a scaled header turned into 0.99999.
ROUND = 1e-3


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


def is_volume(path: Path) -> bool:
    """Whether a file is a NIfTI, by its name."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def expand(listing: Listing) -> None:
    """Put an item for each plane in the place of those of several; the faults of pairs that do not fit go to the listing's.

    Args:
        listing: changed in place.
    """
    listing.items = [plane for item in listing.items for plane in _planes(item, listing)]


def plane_mask(path: Path, view: View) -> MaskFile:
    """The labels of one plane of a file.

    Args:
        path: of a TIFF or NIfTI.
        view: the plane.

    Raises:
        BadImageError: the file cannot be read.
        DataError: it holds colours, or numbers that are no labels.
    """
    picture = read(path, view=view, with_samples=True)
    if picture.samples is None or picture.samples.shape[2] != 1:
        raise DataError("data.plane_of_colours", path=path, count=len(picture.channels))
    values = picture.samples[..., 0]
    if values.dtype.kind == "f":
        whole = np.rint(values)
        values = np.where(np.abs(values - whole) <= ROUND, whole, values)
    try:
        return of_values(values)
    except PixelError as error:
        raise DataError("data.plane_without_labels", path=path, reason=error) from error


def _planes(item: Item, listing: Listing) -> Sequence[Item]:
    """The item, or one for each of its planes; none where they do not fit."""
    truth = item.mask or item.instances
    if item.image is None or truth is None:
        return (item,) if item.image is None or not any(any(mark.plane) for mark in item.annotations or ()) else _marked(item, listing)
    image, mask = _looked_at(item.image), _looked_at(truth)
    if image is None or (mask is None and not is_volume(item.image)):
        return (item,)
    file = relative(truth, listing.root)
    if mask is None:
        mask = Picture(image.pixels) if not is_volume(truth) else None
        if mask is None:
            return (item,)  # whatever is wrong with it is said where it is read
    if (what := _other_place(image, mask, item.image.name)) is not None:
        listing.faults.append(Fault("another grid", file, what, Message("findings.resample_the_mask"), item=item.name))
        return ()
    shown, there = _views(image), _views(mask)
    if len(shown) != len(there):
        # A page more is a preview as often as not; depth and time are meant.
        alone = len(there) == 1
        if not alone or image.stack.pages == 1:
            what = Message("findings.planes_differ", there=len(there), name=item.image.name, count=len(shown))
            remedy = Message("findings.one_plane_is_learnt" if alone else "findings.give_a_mask_for_each_plane")
            listing.faults.append(Fault("planes that differ", file, what, remedy, NOTE if alone else FAULT, item=None if alone else item.name))
        if not alone:
            return ()
        return (replace(item, truth_view=there[0]) if is_volume(truth) else item,)
    if len(shown) == 1 and not is_volume(truth):
        return (item,)
    digits = len(str(len(shown)))
    pairs = zip(shown, there, strict=True)
    named = [item.name] if len(shown) == 1 else [f"{item.name}-{number:0{digits}d}" for number in range(1, len(shown) + 1)]
    return [replace(item, name=name, view=view, truth_view=plane, stack=item.name) for name, (view, plane) in zip(named, pairs, strict=True)]


def _marked(item: Item, listing: Listing) -> Sequence[Item]:
    """An item for each plane that something is drawn on. Of the others nothing is known: people draw on some planes of a stack."""
    image = _looked_at(item.image)
    views = [View()] if image is None else _views(image)
    if len(views) == 1:
        return (item,)
    drawn: dict[int, list[CocoObject]] = defaultdict(list)
    for mark in item.annotations:
        for place in mark.places(views) or ():
            drawn[place].append(mark)
    anywhere = [mark for mark in item.annotations if not any(mark.plane)]
    lost = len(item.annotations) - len(anywhere) - len({id(mark) for marks in drawn.values() for mark in marks})
    if lost:
        what = Message("findings.on_no_plane", count=lost, planes=len(views))
        listing.faults.append(Fault("marks on no plane", relative(item.image, listing.root), what, Message("findings.give_the_marked_stack")))
    if len(drawn) < len(views):
        what = Message("findings.planes_not_marked", count=len(views) - len(drawn), planes=len(views))
        listing.faults.append(Fault("planes without marks", relative(item.image, listing.root), what, Message("findings.fine_if_not_of_the_data"), NOTE))
    digits = len(str(len(views)))
    return [
        replace(item, name=f"{item.name}-{place + 1:0{digits}d}", view=views[place], annotations=tuple([*drawn[place], *anywhere]), stack=item.name)
        for place in sorted(drawn)
    ]  # fmt: skip


def _looked_at(path: Path) -> Picture | None:
    """A file that may have several planes, or lie somewhere, as it is read by default; None for others, and what cannot be read."""
    try:
        return read(path, view=View()) if is_volume(path) or _may_be_stack(path) else None
    except (SegDemoError, OSError):
        return None


def _may_be_stack(path: Path) -> bool:
    """Whether a TIFF has more than one page, a stack in one page as ImageJ writes it, or a place on Earth; nothing is decoded."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = Tiff(data)
            return found.pages()[0] > 1 or any(tag in found.tags for tag in _PLACED) or data.find(b"ImageJ=") >= 0
    except (OSError, ValueError, TiffError, Damaged):
        return False


def _views(picture: Picture) -> list[View]:
    """The planes of a file, in the order in which they lie in it."""
    stack = picture.stack
    if stack is None:
        return [View()]
    counts = {axis: stack.pages if axis == "page" else getattr(stack, axis) for axis in AXES}
    places = product(*(range(count) for count in counts.values()))
    return [View(**{axis: at for axis, at in zip(counts, place, strict=True) if counts[axis] > 1}) for place in places]


def _other_place(image: Picture, mask: Picture, name: str) -> Message | None:
    """Why a mask does not lie on its image, where both say where they lie."""
    one, other = (picture.calibration or Calibration() for picture in (image, mask))
    if one.grid is not None and other.grid is not None:
        # As they are shown: one may be stored turned or mirrored, which its affine undoes.
        (sizes, place), (others, elsewhere) = (_as_shown(grid) for grid in (one.grid, other.grid))
        if sizes != others:
            shapes = (" x ".join(map(str, grid.shape)) for grid in (other.grid, one.grid))
            return Message("findings.other_voxels", came=next(shapes), wanted=next(shapes), name=name)
        far = _apart(place, elsewhere, sizes)
        return None if far <= NEAR else Message("findings.other_grid", far=far, name=name)
    if one.georeference is not None and other.georeference is not None:
        if one.georeference.crs != other.georeference.crs:
            return Message("findings.other_crs", came=other.georeference.crs[:60] or "?", wanted=one.georeference.crs[:60] or "?", name=name)
        affines = (np.reshape(place.affine, (2, 3)) for place in (one.georeference, other.georeference))
        far = _apart(*affines, image.pixels.shape[1::-1])
        return None if far <= NEAR else Message("findings.other_grid", far=far, name=name)
    return None


def _as_shown(grid: Grid) -> tuple[tuple[int, int, int], np.ndarray]:
    """Rows, columns and planes of a volume, and from their numbers to millimetres: float64 (3, 4)."""
    affine = np.reshape(grid.affine, (4, 4))[:3]
    steps, begin = [], affine[:, 3].copy()
    for axis, backwards in (grid.rows, grid.columns, (grid.fixed[0], False)):
        steps.append(-affine[:, axis] if backwards else affine[:, axis])
        begin += affine[:, axis] * (grid.shape[axis] - 1) * backwards
    sizes = grid.shape[grid.rows[0]], grid.shape[grid.columns[0]], grid.shape[grid.fixed[0]]
    return sizes, np.stack([*steps, begin], axis=1)


def _apart(one: np.ndarray, other: np.ndarray, sizes: Sequence[int]) -> float:
    """How many pixels or voxels two affines are apart at most, at the corners of a grid of these sizes."""
    corners = np.array(list(product(*((0, size) for size in sizes)))).T
    moved = (one - other)[:, :-1] @ corners + (one - other)[:, -1:]
    unit = min(float(np.linalg.norm(one[:, axis])) for axis in range(len(sizes)))
    far = float(np.linalg.norm(moved, axis=0).max()) / unit if unit else math.inf
    return far if math.isfinite(far) else math.inf

"""Files with several planes as training data: TIFF stacks and NIfTI volumes beside masks of as many planes. Each plane is an item of its own.

Planes are paired in the order in which they lie in both files; of volumes as radiologists look at them, so that image and mask must lie
on one grid of voxels, and rasters of the Earth on one of the ground. What does not fit is a fault of the pair.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from seg_demo.annotations.listing import FAULT, NOTE, Fault, Item, Listing, relative
from seg_demo.core.errors import DataError, Message, SegDemoError
from seg_demo.core.picture import AXES, Calibration, Grid, Picture, View
from seg_demo.inputs.images import read
from seg_demo.inputs.mask_files import MaskFile, of_values
from seg_demo.inputs.samples import PixelError
from seg_demo.inputs.tiff import Damaged, Tiff, TiffError

# Tags of a GeoTIFF: the scale, the transformation, and the directory of what else it says.
_PLACED = (33550, 34264, 34735)
# Voxels and pixels are in one place if they are no further apart than this share of one, at the far corner of the picture.
NEAR = 0.05
# Labels that a scaled header turned into 0.99999.
ROUND = 1e-3


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
        return (item,)
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

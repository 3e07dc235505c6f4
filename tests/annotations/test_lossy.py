"""Masks that were compressed with loss are known by their files, and their numbers are counted in bounded memory."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from skimage.measure import label

from seg_demo.annotations.masks import BAND_PIXELS, MOST_RUNS, SLIVER, histogram, several_pieces
from seg_demo.inputs.formats import lossy_form
from tests.pictures import saved
from tests.small_datasets import folder, two_values
from train.data import examine, open_dataset, split


def webp(mask: np.ndarray, **options: object) -> bytes:
    return saved(Image.fromarray(mask).convert("RGB"), "WEBP", **options)


def with_profile_first(data: bytes) -> bytes:
    """A WebP whose lossy chunk stands behind a long colour profile."""
    profile = b"ICCP" + struct.pack("<I", 500) + bytes(500)
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x20\0\0\0" + (31).to_bytes(3, "little") + (23).to_bytes(3, "little")
    body = b"WEBP" + extended + profile + data[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animated(mask: np.ndarray, **options: object) -> bytes:
    other = Image.fromarray(255 - mask).convert("RGB")
    return saved(Image.fromarray(mask).convert("RGB"), "WEBP", save_all=True, append_images=[other], **options)


MASK = two_values(127, 255)
FORMS = {
    "JPEG": (saved(Image.fromarray(MASK), "JPEG"), "a JPEG"),
    "AVIF": (saved(Image.fromarray(MASK), "AVIF", quality=60), "an AVIF"),
    "lossy WebP": (webp(MASK), "a lossy WebP"),
    "WebP behind a profile": (with_profile_first(webp(MASK)), "a lossy WebP"),
    "WebP with alpha": (saved(Image.fromarray(np.dstack([MASK] * 4)), "WEBP"), "a lossy WebP"),
    "animated WebP": (animated(MASK), "a lossy WebP"),
    "TIFF with JPEG": (saved(Image.fromarray(MASK), "TIFF", compression="jpeg"), "a TIFF with JPEG"),
    "PNG": (saved(Image.fromarray(MASK), "PNG"), None),
    "TIFF": (saved(Image.fromarray(MASK), "TIFF", compression="tiff_lzw"), None),
    "BMP": (saved(Image.fromarray(MASK), "BMP"), None),
    "GIF": (saved(Image.fromarray(MASK), "GIF"), None),
    "WebP": (webp(MASK, lossless=True), None),
    "WebP with exact alpha": (saved(Image.fromarray(np.dstack([MASK] * 4)), "WEBP", lossless=True), None),
    "animated exact WebP": (animated(MASK, lossless=True), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_loses_is_known_whatever_its_name_says(tmp_path, form):
    data, wanted = FORMS[form]
    (tmp_path / "mask.png").write_bytes(data)
    found = lossy_form(tmp_path / "mask.png")
    assert (found or "").startswith(wanted or "") and (found is None) == (wanted is None)


@pytest.mark.parametrize("form", [form for form, (_, wanted) in FORMS.items() if wanted])
def test_each_is_refused_before_the_first_step(tmp_path, form):
    root = folder(tmp_path, 3, classes="background\ncell\nborder\n")
    (root / "masks/1.png").write_bytes(FORMS[form][0])
    dataset = open_dataset(str(root), seed=0, size=None, workers=1, progress=False)
    faults = {fault.file: fault for fault in examine(dataset, *split(dataset, 0.3, 0)).faults}
    assert "compressed with loss" in faults["masks/1.png"].what and FORMS[form][1] in faults["masks/1.png"].what
    assert "PNG" in faults["masks/1.png"].remedy


def pieces_of(numbers: np.ndarray) -> int:
    """As :func:`several_pieces`, from scikit-image's labels."""
    pieces = label(numbers, background=0, connectivity=2)
    found = 0
    for value in set(np.unique(numbers).tolist()) - {0, 65_535}:
        sizes = np.bincount(pieces[numbers == value])
        found += int((sizes >= max(1, SLIVER * sizes.sum())).sum() > 1)
    return found


def test_pieces_are_those_of_scikit_image():
    rng = np.random.default_rng(3)
    for _ in range(150):
        height, width = rng.integers(1, 25, 2)
        numbers = rng.integers(0, rng.integers(2, 7), (height, width)).astype(rng.choice([np.uint8, np.uint16]))
        if rng.random() < 0.5:
            numbers = np.kron(numbers, np.ones((2, 3), numbers.dtype))
        if numbers.dtype == np.uint16:
            numbers[numbers == 3] = 65_535
        assert several_pieces(numbers) == pieces_of(numbers)


def test_counts_are_those_of_all_bands_together():
    rng = np.random.default_rng(4)
    mask = np.repeat(rng.integers(0, 9, (BAND_PIXELS // 500, 10), dtype=np.uint16), 125, axis=1)
    found = histogram(mask, None, False)
    values, pixels = np.unique(mask, return_counts=True)
    assert found.counts == dict(zip(values.tolist(), pixels.tolist(), strict=True)) and mask.size > 2 * BAND_PIXELS
    firsts = [int(np.flatnonzero(mask.ravel() == value)[0]) for value in range(1, 9)]
    assert found.rising == (firsts == sorted(firsts))


def test_a_large_mask_of_objects_takes_little_memory():
    """16 megapixels with 2,500 objects: labelling every pixel took 20 bytes each."""
    mask = np.kron(np.arange(1, 2501, dtype=np.uint16).reshape(50, 50), np.pad(np.ones((60, 60), np.uint16), 10))
    tracemalloc.start()
    found = histogram(mask, None, False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.counts) == 2501 and found.apart == 0 and found.rising
    assert peak < 5 * mask.size, f"{peak / 1e6:.0f} MB"


def test_noise_is_looked_at_more_coarsely():
    """More runs than any drawing has: what is large is still found to lie apart."""
    checker = np.where(np.indices((4200, 4200)).sum(axis=0) % 2, 5, 9).astype(np.uint16)
    checker[:1600, :1600], checker[2600:, 2600:], checker[:1600, 2600:] = 7, 7, 8
    assert (checker[:, 1:] != checker[:, :-1]).sum() > MOST_RUNS
    assert several_pieces(checker) >= 1
    assert several_pieces(np.where(np.isin(checker, (7, 8)), checker, 0).astype(np.uint16)) == 1

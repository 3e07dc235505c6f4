"""The one door for masks: numbers stay numbers."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from seg_demo.core.errors import BadImageError
from seg_demo.inputs.images import decode, decode_mask
from tests.pictures import RNG, picture, png, saved


def test_masks_keep_their_numbers() -> None:
    labels = RNG.integers(0, 5, (13, 17), dtype=np.uint8)
    got, palette = decode_mask(saved(Image.fromarray(labels), "PNG"))
    np.testing.assert_array_equal(got, labels)
    assert got.dtype == np.uint8 and palette is None
    indexed = Image.fromarray(labels, "L").copy()
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    got, palette = decode_mask(saved(indexed, "PNG", transparency=0))
    np.testing.assert_array_equal(got, labels)
    assert palette[:5].tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    deep = RNG.integers(0, 65_536, (13, 17), dtype=np.uint16)
    for format in ("PNG", "TIFF"):
        got, _ = decode_mask(saved(Image.fromarray(deep), format))
        assert got.dtype == np.uint16
        np.testing.assert_array_equal(got, deep)
    got, _ = decode_mask(saved(Image.fromarray(deep.astype(np.int32)), "TIFF"))
    np.testing.assert_array_equal(got, deep)
    got, _ = decode_mask(saved(Image.fromarray(labels > 2), "PNG"))
    np.testing.assert_array_equal(got, labels > 2)
    coloured = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_mask(saved(Image.fromarray(coloured), "PNG"))[0], coloured)
    for bad in (np.float32(0.5), np.float32(-1), np.float32(70_000), np.float32(np.nan)):
        with pytest.raises(BadImageError, match="cannot be used"):
            decode_mask(saved(Image.fromarray(np.full((3, 3), bad)), "TIFF"))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_masks_of_few_grey_bits_are_not_stretched(bits: int) -> None:
    labels = RNG.integers(0, 2**bits, (3, 8), dtype=np.uint8)
    packed = np.packbits(np.unpackbits(labels[..., None], axis=2)[..., -bits:].reshape(3, -1), axis=1)
    data = png(struct.pack(">IIBBBBB", 8, 3, bits, 0, 0, 0, 0), b"".join(b"\0" + row.tobytes() for row in packed))
    np.testing.assert_array_equal(decode_mask(data)[0], labels)
    np.testing.assert_array_equal(decode(data)[..., 0], labels * (255 // (2**bits - 1)))


def test_mask_and_image_turn_together() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(picture()[..., 0]), "PNG", exif=exif)
    np.testing.assert_array_equal(decode_mask(data)[0], decode(data)[..., 0])

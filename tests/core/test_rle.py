"""COCO RLE of crops, with pycocotools as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from seg_demo.core.rle import PackedRuns, Painter, Runs, compress_counts, decode, decompress_counts, encode_crop, encode_each, tight_box


@st.composite
def crops(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int, int, int], int, int]:
    """A mask within a box within an image; boxes that touch the borders are frequent."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random((y1 - y0, x1 - x0))
    return noise < density, (x0, y0, x1, y1), height, width


def full_mask(mask: np.ndarray, box: tuple[int, int, int, int], height: int, width: int) -> np.ndarray:
    full = np.zeros((height, width), bool)
    x0, y0, x1, y1 = box
    full[y0:y1, x0:x1] = mask
    return full


@settings(max_examples=200, deadline=None)
@given(crops())
def test_encoding_equals_pycocotools(case: tuple[np.ndarray, tuple[int, int, int, int], int, int]) -> None:
    full = full_mask(*case)
    expected = coco.encode(np.asfortranarray(full.astype(np.uint8)))
    ours = encode_crop(*case)
    assert ours == {"size": list(full.shape), "counts": expected["counts"].decode("ascii")}
    assert np.array_equal(decode(ours), full)
    assert np.array_equal(coco.decode({**ours, "counts": ours["counts"].encode("ascii")}), full)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_masks_that_are_encoded_together_are_as_each_alone(count: int) -> None:
    rng = np.random.default_rng(count)
    masks = [rng.random((37, 23)) < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0]) for _ in range(count)]
    found = list(encode_each((Runs.of_crop(mask, (0, 0, 23, 37), 37) for mask in masks), 23))
    expected = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    assert found == [{"size": [37, 23], "counts": each["counts"].decode("ascii")} for each in expected]


@settings(max_examples=100, deadline=None)
@given(crops())
def test_runs_know_their_area_box_and_crops(case: tuple[np.ndarray, tuple[int, int, int, int], int, int]) -> None:
    (mask, box, height, width), full = case, full_mask(*case)
    runs = Runs.of_crop(mask, box, height)
    assert runs.area == full.sum() and runs.box == tight_box(full)
    assert np.array_equal(runs.crop(box), mask) and np.array_equal(runs.crop((0, 0, width, height)), full)
    packed = PackedRuns.of(runs)
    assert packed.area == runs.area and np.array_equal(packed.runs().edges, runs.edges) and np.array_equal(packed.crop(box), mask)


@pytest.mark.parametrize("far", [200, 60_000, 4_000_000_000, 2**40])
def test_runs_are_packed_as_small_as_they_can_be_and_come_back(far: int) -> None:
    edges = np.array([3, 7, 7 + far, 9 + far])
    packed = PackedRuns.of(Runs.of_edges(edges, far))
    assert packed.runs().edges.tolist() == edges.tolist() and packed.area == 6
    assert packed.nbytes == 4 * next(size for size in (1, 2, 4, 8) if far < 1 << 8 * size)
    nothing = PackedRuns.of(Runs.of_edges(np.zeros(0, np.int64), 9))
    assert nothing.area == nothing.nbytes == 0 and nothing.runs().box is None


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_painted_runs_equal_painted_masks(count: int) -> None:
    random, (height, width) = np.random.default_rng(count), (23, 31)
    painter, expected = Painter(height, width), np.zeros((height, width), int)
    for index in range(1, count + 1):
        x0, y0 = random.integers(0, width), random.integers(0, height)
        mask = random.random((random.integers(1, height - y0 + 1), random.integers(1, width - x0 + 1))) < random.choice([0.0, 0.3, 0.9, 1.0])
        box = (x0, y0, x0 + mask.shape[1], y0 + mask.shape[0])
        painter.add(Runs.of_crop(mask, box, height))
        expected[full_mask(mask, box, height, width) & (expected == 0)] = index
    assert np.array_equal(painter.id_map(), expected) and painter.id_map().dtype == (np.uint8 if count <= 255 else np.uint16)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**40), max_size=30))
def test_counts_survive_compression(counts: list[int]) -> None:
    assert decompress_counts(compress_counts(np.array(counts, dtype=np.int64))).tolist() == counts if counts else True


def test_uncompressed_and_bytes_decode() -> None:
    mask = np.array([[False, True], [True, True]])
    assert Runs.of_crop(mask, (0, 0, 2, 2), 2).counts(2).tolist() == [1, 3]
    assert np.array_equal(decode({"size": [2, 2], "counts": [1, 3]}), mask)
    assert np.array_equal(decode({"size": [2, 2], "counts": b"13"}), mask)


@pytest.mark.parametrize("counts", [[1, 2], [5, -1], "o"])
def test_malformed_counts_are_refused(counts: object) -> None:
    with pytest.raises(ValueError, match="COCO RLE"):
        decode({"size": [2, 2], "counts": counts})


@pytest.mark.parametrize("text", ["o" * 50_000, "o" * 9 + "O", ("P" * 8 + "?") * 6])
def test_a_number_without_end_is_refused_at_once(text: str) -> None:
    """It comes from whoever sends a mask: as one number of thousands of digits it would be work for minutes."""
    with pytest.raises(ValueError, match="more than 45 bits"):
        decompress_counts(text)


def test_counts_that_only_add_up_because_they_overflow_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels"):
        decode({"size": [2, 2], "counts": [2**62, 2**62, 2**62, 2**62, 4]})

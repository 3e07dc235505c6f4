"""Exact label maps, with the dense resize and argmax as the oracle."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import LabelSet
from seg_demo.masks import resize as workers, semantic
from seg_demo.masks.resize import alone, axis, evaluate, find_rule, is_channels_last
from seg_demo.masks.semantic import MeanScores, argmax_resized, semantic_from_logits


def resized(logits: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return F.interpolate(logits[None], (height, width), mode="bilinear", align_corners=False)[0]


def noise(kind: str, shape: tuple[int, int, int], seed: int, channels_last: bool) -> torch.Tensor:
    """Logits of several kinds; rounded ones tie everywhere."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator)
    if kind == "smooth":
        coarse = torch.randn((1, shape[0], 3, 3), generator=generator) * 5
        logits = F.interpolate(coarse, shape[1:], mode="bicubic")[0] + logits * 0.01
    elif kind == "ties":
        logits = logits.round()
    elif kind == "equal":
        logits = torch.full(shape, 0.3)
    elif kind == "huge":
        logits = logits * 1e30
    if channels_last:
        logits = logits[None].contiguous(memory_format=torch.channels_last)[0]
    return logits


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """F.interpolate chooses its kernel by the number of threads too."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def never_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every size takes the algorithm for large ones, in small blocks."""
    monkeypatch.setattr(semantic, "DENSE_ELEMENTS", 0)
    monkeypatch.setattr(semantic, "CORNER_BUDGET", 20_000)


shapes = st.tuples(st.sampled_from([2, 3, 4, 7, 19, 33, 300]), st.integers(1, 24), st.integers(1, 24))


@settings(max_examples=120, deadline=None)
@example(threads=1, shape=(19, 1, 2), height=4, width=1, kind="equal", channels_last=False, seed=0)
@example(threads=1, shape=(3, 5, 6), height=4, width=126, kind="ties", channels_last=False, seed=0)
@given(
    threads=st.sampled_from([1, 2]),
    shape=shapes,
    height=st.integers(1, 160),
    width=st.integers(1, 160),
    kind=st.sampled_from(["noise", "smooth", "ties", "equal", "huge"]),
    channels_last=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_labels_are_those_of_a_dense_resize(
    threads: int, shape: tuple[int, int, int], height: int, width: int, kind: str, channels_last: bool, seed: int
) -> None:
    logits = noise(kind, shape, seed, channels_last)
    with pytest.MonkeyPatch.context() as patch, torch_threads(threads):
        patch.setattr(semantic, "DENSE_ELEMENTS", 0)
        patch.setattr(semantic, "CORNER_BUDGET", 20_000)
        expected = resized(logits, height, width).argmax(0).numpy()
        labels = argmax_resized(logits, height, width)
    assert labels.dtype == (np.uint8 if shape[0] <= 255 else np.uint16)
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(300, 40), (40, 300), (513, 129)])
def test_the_arithmetic_of_this_machine_is_known(size: tuple[int, int], channels_last: bool) -> None:
    logits = noise("noise", (21, 17, 33), 5, channels_last)
    assert is_channels_last(logits) == channels_last
    rule = find_rule((17, 33), size, 21, channels_last)
    assert rule is not None, "the fast algorithm is never used here: a variant of the arithmetic is missing"
    expected = resized(logits, *size)
    assert torch.equal(evaluate(logits[: rule.tail], rule.rows, rule.columns, rule.combine), expected[: rule.tail])
    assert torch.equal(evaluate(logits[rule.tail :], rule.rows, rule.columns, rule.combine_tail), expected[rule.tail :])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("classes_at_once", [1, 2, 3, 5])
@pytest.mark.parametrize("channels_last", [False, True])
def test_an_unknown_arithmetic_falls_back_to_torch(
    monkeypatch: pytest.MonkeyPatch, channels_last: bool, classes_at_once: int, threads: int
) -> None:
    monkeypatch.setattr(semantic, "find_rule", lambda *_: None)
    monkeypatch.setattr(semantic, "DENSE_ELEMENTS", classes_at_once * 150 * 70)
    for classes in (3, 4, 8, 17, 35):
        logits = noise("ties", (classes, 9, 11), classes, channels_last)
        with torch_threads(threads):
            expected = resized(logits, 150, 70).argmax(0).numpy()
            assert np.array_equal(argmax_resized(logits, 150, 70), expected)


def test_nan_wins_as_in_torch(never_dense: None) -> None:
    logits = noise("noise", (5, 9, 11), 1, False)
    logits[3, 4, 5] = torch.nan
    logits[1, 4, 6] = torch.nan
    logits[2, 0, 0] = torch.inf
    assert np.array_equal(argmax_resized(logits, 150, 70), resized(logits, 150, 70).argmax(0).numpy())


def test_shrinking(never_dense: None) -> None:
    logits = noise("noise", (6, 150, 170), 2, False)
    assert np.array_equal(argmax_resized(logits, 70, 90), resized(logits, 70, 90).argmax(0).numpy())


@pytest.mark.parametrize("kind", ["noise", "smooth", "ties", "huge"])
def test_one_channel_is_a_binary_decision(never_dense: None, kind: str) -> None:
    for size in ((50, 31), (300, 211), (5, 4)):
        logits = noise(kind, (1, 7, 9), 3, False)
        assert np.array_equal(argmax_resized(logits, *size), (resized(logits, *size)[0] > 0).numpy())
    logits[0, 2, 3], logits[0, 5, 5] = torch.nan, torch.inf
    assert np.array_equal(argmax_resized(logits, 300, 211), (resized(logits, 300, 211)[0] > 0).numpy())


def test_a_large_binary_map_needs_no_floats_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = noise("smooth", (1, 100, 100), 4, False)
    expected = (resized(logits, 3000, 3000)[0] > 0).numpy()
    sizes, resize = [], F.interpolate
    monkeypatch.setattr(semantic.F, "interpolate", lambda values, size, **how: sizes.append(size) or resize(values, size, **how))
    assert np.array_equal(argmax_resized(logits, 3000, 3000), expected)
    assert all(height * width < 1_000_000 for height, width in sizes), "only probes of the arithmetic"


def test_half_precision_is_resized_as_float() -> None:
    logits = noise("noise", (4, 7, 9), 4, False).half()
    assert np.array_equal(argmax_resized(logits, 50, 31), resized(logits.float(), 50, 31).argmax(0).numpy())


def test_the_last_rows_have_both_corners_in_one() -> None:
    last = axis(4, 9, fused=True)
    assert last.first[-1] == last.second[-1] == 3 and 0 < last.far[-1] < 1


def mean_scores(*pieces: torch.Tensor) -> dict[int, float]:
    scores = MeanScores()
    for logits in pieces:
        scores.add(logits)
    return scores.of(range(max(2, len(pieces[0]))))


def test_mean_scores() -> None:
    logits = torch.zeros(3, 2, 2)
    logits[1, 0] = 2.0
    logits[2, 1] = 4.0
    probability = logits.softmax(0)
    # Class 0 is the largest nowhere on the grid, but may be between its points.
    expected = {0: probability[0].max(), 1: probability[1, 0, 0], 2: probability[2, 1, 0]}
    for pieces in ((logits,), (logits[:, :1], logits[:, 1:]), (logits[:, :, :1], logits[:, :, 1:], logits[:, :0])):
        assert mean_scores(*pieces) == pytest.approx({label: float(value) for label, value in expected.items()})
    binary = mean_scores(torch.tensor([[[2.0, -1.0]]]))
    assert binary == pytest.approx({1: torch.sigmoid(torch.tensor(2.0)).item(), 0: torch.sigmoid(torch.tensor(1.0)).item()})


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("classes", [2, 5, 37])
def test_mean_scores_are_a_softmaxs_in_any_layout(classes: int, channels_last: bool) -> None:
    """With classes that win nowhere, whose score is their largest probability."""
    logits = noise("noise", (classes, 23, 17), classes, channels_last) * 4
    logits[1] -= 30
    probability, label = logits.softmax(0), logits.argmax(0)
    found = mean_scores(logits)
    for each in range(classes):
        won = label == each
        expected = probability[each][won].mean() if won.any() else probability[each].max()
        assert found[each] == pytest.approx(float(expected), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", ["noise", "ties", "equal", "huge", "nan", "inf"])
@pytest.mark.parametrize("classes", [1, 2, 21, 300])
def test_at_the_logits_own_size_labels_are_a_dense_resizes(classes: int, kind: str, channels_last: bool, monkeypatch) -> None:
    """Without a resize, in strips of rows; but next to a number that is none, a resize gives more of them."""
    monkeypatch.setattr(semantic, "DENSE_ELEMENTS", classes * 9 * 5)
    logits = noise(kind, (classes, 23, 9), 0, channels_last)
    if kind in ("nan", "inf"):
        logits[-1, 11, 4] = float(kind)
    dense = resized(logits, 23, 9)
    expected = dense[0] > 0 if classes == 1 else dense.argmax(0)
    found = argmax_resized(logits, 23, 9)
    assert found.dtype == (np.uint8 if classes <= 255 else np.uint16)
    np.testing.assert_array_equal(found, expected)


def test_padding_is_cut_off_after_the_resize() -> None:
    logits = noise("smooth", (3, 16, 16), 6, False)
    labels = LabelSet.from_names(("a", "b", "c"))
    result = semantic_from_logits(logits, labels, 45, 50, padded=(64, 64))
    assert np.array_equal(result.id_map, resized(logits, 64, 64).argmax(0).numpy()[:45, :50])
    assert all(0 <= segment.score <= 1 for segment in result.segments)


def test_nan_logits_are_a_sentence() -> None:
    with pytest.raises(BadCheckpointError, match="NaN"):
        semantic_from_logits(torch.full((2, 3, 3), torch.nan), LabelSet.from_names(("a", "b")), 5, 5)


def test_the_many_small_steps_are_one_threads_and_other_threads_keep_theirs() -> None:
    def threads(*_: object) -> int:
        return torch.get_num_threads()

    before = torch.get_num_threads()
    assert alone(threads) == 1 and torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(threads).result() == before
    with pytest.raises(ZeroDivisionError):
        alone(lambda: 1 / 0)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_a_process_forked_while_a_thread_begins_begins_its_own() -> None:
    with workers._beginning:
        child = multiprocessing.get_context("fork").Process(target=alone, args=(len, "abc"))
        child.start()
    child.join(20)
    stuck = child.exitcode is None
    child.kill()
    assert not stuck and child.exitcode == 0

"""What sessions keep of results: all of it, within a bound, and a sentence where it had to go."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from seg_demo import networks
from seg_demo.core.errors import BadRequestError
from seg_demo.core.types import TASKS, ModelSpec, Segmentation
from seg_demo.gateway.queue import Page
from seg_demo.gateway.visitor import Upload
from seg_demo.inference.model import NetworkRun
from seg_demo.serving import catalog
from seg_demo.serving.predictor import load_model
from seg_demo.ui import components, segment_tab
from seg_demo.ui import results as session_cache
from seg_demo.ui.components import SegmentationViewer
from seg_demo.ui.results import CachedResult, Result, kinds, make_file
from tests.networks.contract import LABELS
from tests.networks.test_universal import outspoken
from tests.served import ROOT

COINS = ROOT / "seg_demo/ui/examples/coins.png"


@pytest.fixture(scope="module")
def found() -> dict[str, Segmentation]:
    return {
        id: load_model(id, device="cpu").predict_all(COINS, confidence=id != "slic")
        for id in ("unet-cells", "maskrcnn-cells", "slic")
    }


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """What other files have left is nothing that these tests let go of: to look through all of it takes a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    gc.collect()
    monkeypatch.setattr(session_cache, "_cached", weakref.WeakSet())


def same(mine: Segmentation, expected: Segmentation) -> None:
    for name in ("id_map", "confidence", "margin"):
        one, other = getattr(mine, name), getattr(expected, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype and np.array_equal(one, other) and one.flags.writeable
    assert mine.to_dict() == expected.to_dict()
    for one, other in zip(mine.segments, expected.segments, strict=True):
        assert one.box == other.box and one.has_mask == other.has_mask
        if other.has_mask:
            assert np.array_equal(one.mask, other.mask)
        if other.soft is not None:
            assert one.soft.box == other.soft.box and np.array_equal(one.soft.values, other.soft.values)


@pytest.mark.parametrize("id", ["unet-cells", "maskrcnn-cells", "slic"])
@pytest.mark.parametrize("threshold", [0.0, 0.9])
def test_what_was_compressed_is_the_same(found, id, threshold):
    plain, other = CachedResult(found[id]), CachedResult(replace(found[id]))
    before = other.nbytes
    assert before >= found[id].id_map.nbytes
    other.compress()
    assert other.nbytes < before / 3
    same(other.everything, found[id])
    same(other.above(threshold), found[id].above(threshold))
    assert plain.above(threshold) is plain.above(threshold), "made once"
    held = other.above(threshold)
    assert other.above(threshold) is held, "unpacked once as long as somebody has it"
    other.compress()
    same(other.above(0.3), found[id].above(0.3))


def test_every_download_of_a_compressed_result(found, monkeypatch):
    for id, everything in found.items():
        upload = Upload(COINS, "coins")
        results = [Result(upload, CachedResult(replace(everything)), 0.5, b"jpeg") for _ in range(2)]
        results[1].cached.compress()
        for kind in kinds(TASKS[everything.task]):
            (name, plain), (_, packed) = (make_file(each, kind) for each in results)
            assert plain == packed or (kind == "zip" and len(plain) == len(packed)), (id, name)
        assert results[0].ids == results[1].ids


def test_the_latest_are_kept_as_they_are_others_compressed_and_the_oldest_evicted(found, monkeypatch):
    one = found["unet-cells"]
    size = CachedResult(one).nbytes
    monkeypatch.setattr(session_cache, "CACHE_BYTES", int(3.5 * size))
    there = [CachedResult(replace(one)) for _ in range(4)]
    assert [each.nbytes == size for each in there] == [False, True, True, True]
    _ = there[1].everything  # looked at again
    there.append(CachedResult(replace(one)))
    assert [each.nbytes == size for each in there] == [False, True, False, True, True]
    for each in there:
        same(each.everything, one)
    packed = there[0].nbytes
    monkeypatch.setattr(session_cache, "CACHE_BYTES", size + int(2.5 * packed))
    there.append(CachedResult(replace(one)))
    assert sum(each.nbytes for each in there) <= session_cache.CACHE_BYTES and there[-1].nbytes == size
    gone = [each for each in there if not each.nbytes]
    assert len(gone) == 3
    for ask in (lambda: gone[0].everything, lambda: gone[0].above(0.5)):
        with pytest.raises(BadRequestError, match="removed to make room.*Segment the image again"):
            ask()


def test_what_nobody_holds_takes_no_room(found):
    there = [CachedResult(replace(found["slic"])) for _ in range(3)]
    assert len(session_cache._cached) == 3
    there.clear()
    gc.collect()
    assert not session_cache._cached


def test_what_had_to_go_is_said_in_words(found):
    result = Result(Upload(COINS, "coins"), CachedResult(replace(found["unet-cells"])), 0.5, b"jpeg")
    result.cached.evict()
    for ask in (
        lambda: segment_tab.refilter(result, 0.4), lambda: components.with_doubt(result), lambda: components.download_of("mask")(result),
        lambda: SegmentationViewer().postprocess(result),
    ):  # fmt: skip
        with pytest.raises(Exception, match="removed to make room"):
            ask()


def test_a_large_one_is_compressed_once_it_has_been_shown(found, monkeypatch):
    large = CachedResult(replace(found["maskrcnn-cells"]))
    before = large.nbytes
    large.answered()
    session_cache._threads().submit(int).result()
    assert large.nbytes == before, "small ones are kept as they are"
    monkeypatch.setattr(session_cache, "UNCOMPRESSED_BYTES", before - 1)
    result = Result(Upload(Path("coins.png"), "coins"), large, 0.5, b"jpeg")
    SegmentationViewer().postprocess(result)
    session_cache._threads().submit(int).result()
    assert large.nbytes < before
    same(result.shown, found["maskrcnn-cells"].above(0.5))


def test_many_threads(found, monkeypatch):
    monkeypatch.setattr(session_cache, "CACHE_BYTES", 1_000_000)

    def work(number: int) -> None:
        id = ("unet-cells", "maskrcnn-cells", "slic")[number % 3]
        mine = CachedResult(replace(found[id]))
        for threshold in (0.2, 0.6, 0.2):
            try:
                assert np.array_equal(mine.above(threshold).id_map, found[id].above(threshold).id_map)
            except BadRequestError:
                return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(48)))


def test_the_page_says_it_too_when_only_the_picture_is_missing(found):
    """The handler has answered already, as it does for a question that is asked again at once."""
    result = Result(Upload(COINS, "coins"), CachedResult(replace(found["unet-cells"])), 0.5, b"jpeg")
    with Page() as page:
        viewer = SegmentationViewer()
        gr.Button().click(lambda: result, None, viewer)
    result.cached.evict()
    with pytest.raises(gr.Error, match="removed to make room.*Segment the image again"):
        asyncio.run(page.process_api(page.fns[0], []))


def test_a_view_counts_as_long_as_it_is_kept(found):
    mine, other = CachedResult(replace(found["maskrcnn-cells"])), CachedResult(replace(found["unet-cells"]))
    own, whole = mine.nbytes, other.nbytes
    for threshold in (0.5, 0.9):
        view = mine.above(threshold)
        assert mine.nbytes == own + view.id_map.nbytes + view.confidence.nbytes
    other.above(0.5)
    assert other.nbytes == whole, "it is all of it"
    mine.compress()
    packed = mine.nbytes
    assert packed < own and mine.above(0.4) is not view and mine.nbytes == packed


class Counts:
    """Part of a result; another thread counts the result's pixels while this is packed."""

    def __init__(self) -> None:
        self.result: list[Segmentation] = []

    def __reduce__(self):
        for each in self.result:
            _ = each.areas
        return Counts, ()


def test_what_is_counted_while_it_is_compressed_does_no_harm(found):
    counts = Counts()
    mine = CachedResult(replace(found["unet-cells"], seconds={"total": counts}))
    counts.result.append(mine.everything)
    before = mine.nbytes
    mine.compress()
    assert mine.nbytes < before / 3 and mine.everything.areas == found["unet-cells"].areas


def test_results_that_come_and_go_at_the_same_time_keep_the_bound(found, monkeypatch):
    one = found["unet-cells"]
    monkeypatch.setattr(session_cache, "CACHE_BYTES", int(3.5 * CachedResult(one).nbytes))
    monkeypatch.setattr(CachedResult, "compress", lambda self: None)
    switching, together = sys.getswitchinterval(), threading.Barrier(4)
    there: list[list[CachedResult]] = [[] for _ in range(4)]

    def bring(mine: list[CachedResult]) -> None:
        together.wait(10)
        for _ in range(300):
            mine[:-20] = []
            mine.append(CachedResult(one))

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(bring, there))
    finally:
        sys.setswitchinterval(switching)
    assert sum(each.nbytes > 0 for each in session_cache._cached) == 3, "no more, and no fewer"


def test_where_no_thread_is_left_to_compress_it_the_answer_comes_all_the_same(found, monkeypatch):
    monkeypatch.setattr(session_cache, "UNCOMPRESSED_BYTES", 1)

    class Full:
        def submit(self, *_: object) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(session_cache, "_threads", Full)
    result = Result(Upload(COINS, "coins"), CachedResult(replace(found["unet-cells"])), 0.5, b"jpeg")
    assert SegmentationViewer().postprocess(result)["width"] == found["unet-cells"].width


def test_other_thresholds_are_answered_from_what_is_kept_of_the_networks_outputs(tmp_path, monkeypatch):
    network = networks.network("maskformer")
    outspoken(network.create(LABELS, network.default_options())).save(tmp_path)
    spec = ModelSpec(str(tmp_path), None, "panoptic", "maskformer", "tiny", "", "folder", tasks=("panoptic", "instance", "semantic"))
    before = catalog._menu
    monkeypatch.setattr(catalog, "_menu", lambda owners, every: (spec, *before(owners, every)))
    forwards, real = [], NetworkRun._forward
    monkeypatch.setattr(NetworkRun, "_forward", lambda *arguments: forwards.append(1) or real(*arguments))
    asked = Upload(COINS, "coins"), spec.id, 0.5, "whole"
    first, _ = segment_tab.run_network(*asked, None, "panoptic", 1, "0.2", "", "0.05", lambda *_, **__: None)
    assert len(forwards) == 1 and first.shown.task == "panoptic" and first.shown.confidence is not None
    for score in ("0,3", "0.2", "0.6"):
        other, _ = segment_tab.retune(*asked, first, "panoptic", 1, score, "", "0.05", lambda *_, **__: None)
        fresh, _ = segment_tab.run_network(*asked, None, "panoptic", 1, score, "", "0.05", lambda *_, **__: None)
        if score == "0.2":
            assert other == gr.skip(), "the box was left as it was"
            continue
        assert np.array_equal(other.shown.id_map, fresh.shown.id_map)
        assert [(s.label_id, s.score, s.box) for s in other.shown.segments] == [(s.label_id, s.score, s.box) for s in fresh.shown.segments]
    assert len(forwards) == 4, "the first and the three that were asked afresh"
    # The slider is the same, fills the box, and lies where the result's score is, which may be the model's own.
    slid, _, box = segment_tab.slide(*asked[:2], 0.6, "whole", first, "panoptic", 1, "0.2", "", "0.05", lambda *_, **__: None)
    assert box == "0.6" and np.array_equal(slid.shown.id_map, other.shown.id_map) and len(forwards) == 4
    assert (segment_tab.score_of(slid, 0.5), segment_tab.score_of(slid, 0.6), segment_tab.score_of(None, 0.5)) == (0.6, gr.skip(), gr.skip())
    assert segment_tab.slide(*asked[:2], 0.35, "whole", None, "panoptic", 1, "", "", "", lambda *_, **__: None)[2] == "0.35"
    # Where it had to make room for others', or the picture is another one, the network runs.
    first.cached.evict()
    segment_tab.retune(*asked, first, "panoptic", 1, "0.6", "", "0.05", lambda *_, **__: None)
    assert len(forwards) == 5
    with pytest.raises(gr.Error, match="number from 0 to 1"):
        segment_tab.retune(*asked, first, "panoptic", 1, "x", "", "", lambda *_, **__: None)

"""The benchmarks' rows at tiny sizes: both sides run, and what they give agrees. Their figures are not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from benchmarks import gpu, growth, masks, metrics, overlays, queries, report, small, subjects, training, typed
from benchmarks.measure import Row, compare, peak_of
from seg_demo.networks.maskrcnn import MaskRcnn
from tests.networks.test_sam import made

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A size that takes milliseconds; masks of a quarter of the queries, for the processors bring theirs to a size of their own first."""
    monkeypatch.setitem(subjects.SIZES, "tiny", (90, 120))
    monkeypatch.setattr(queries, "QUERIES", 25)


@pytest.mark.soak
def test_label_maps_and_masks_are_the_peers():
    for kind in ("", ", white noise"):
        assert masks.label_map_row("tiny", kind, 20, grid=16).result == "identical"
    assert masks.pasted_row("tiny", 90, 120, 7).result == "identical"


@pytest.mark.soak
def test_segments_of_class_queries_are_the_peers():
    """One of each; every family is compared at many sizes in tests/masks/test_queries.py."""
    assert queries.panoptic_row("tiny", "EoMT").result.endswith("identical")
    assert queries.instance_row("tiny", "", "RF-DETR").result.endswith("identical")
    assert queries.semantic_row("tiny", "").result.endswith("identical")


@pytest.mark.soak
def test_segments_of_every_family_are_the_peers():
    for family in queries.PROCESSORS:
        assert queries.panoptic_row("tiny", family).result.endswith("identical"), family
    for family in queries.OBJECTS:
        assert queries.instance_row("tiny", "", family).result.endswith("identical"), family
        if family in queries.PROCESSORS:
            assert queries.semantic_row("tiny", "", family).result.endswith("identical"), family
    assert queries.semantic_row("tiny", queries.NOISE).result.endswith("identical")


@pytest.mark.soak
def test_many_small_pictures_have_the_masks_of_a_loop():
    assert small.command_row(6, 1).result.startswith("6 of 6 masks identical")


def test_without_a_gpu_its_rows_are_refused_and_the_page_says_so(tmp_path):
    """A label map's row runs on any device; a row of that file stands in a section of its own, with the card."""
    row = gpu.labels_row("tiny", "cpu", 1)
    assert row.result == "identical"
    report.keep("masks", row, False, tmp_path)
    assert "Not run: `python -m benchmarks --gpu`" in (tmp_path / "RESULTS.md").read_text()
    report.keep("gpu", row, False, tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.index("## On a GPU") < text.index(row.work) and "Not run" not in text
    if not torch.cuda.is_available():
        asked = subprocess.run([sys.executable, "-m", "benchmarks", "--gpu"], capture_output=True, text=True)
        assert asked.returncode == 2 and "no CUDA device" in asked.stderr


@pytest.mark.soak
def test_the_rows_for_a_gpu_agree_with_their_peers_on_any_device(monkeypatch, capsys):
    """On the processor, where half precision is not taken: the same pixels. What does not fit into the time is named."""
    monkeypatch.setattr(gpu, "KINDS", ("unet-r34",))
    monkeypatch.setattr(gpu, "REQUESTS", ("segformer-b0",))
    monkeypatch.setattr(gpu, "CLIENTS", 3)
    monkeypatch.setattr(gpu, "sam2", lambda: made("sam2"))
    rows = list(gpu.rows(True, "cpu", clock=iter([0, *[1] * 5, 1000]).__next__))
    assert [row.result for row in rows if "half" in row.work] == ["100.000 % of the pixels equal, 21 and 21 segments"]
    assert all(row.result == "identical" for row in rows if "half" not in row.work), rows
    assert len(rows) == 5 and "segformer_row, segformer_row" in capsys.readouterr().out


@pytest.mark.soak
def test_counts_and_overlays_are_the_peers():
    assert metrics.accumulation_row(2, 64, 20).result == "counts identical"
    assert overlays.overlay_row("tiny", 90, 120, 12).result.startswith(("equal to ±0", "equal to ±1"))


def test_the_annotators_algorithm_puts_small_masks_on_top():
    image = np.zeros((2, 3, 3), np.uint8)
    both = np.array([[[1, 0, 0], [0, 0, 0]], [[1, 1, 1], [0, 0, 0]]], bool)
    painted = overlays.mask_annotator(image, both, np.array([[200, 0, 0], [0, 100, 0]], np.uint8))
    assert painted[0, 0].tolist() == [100, 0, 0] and painted[0, 1].tolist() == [0, 50, 0] and not painted[1].any()


def test_a_missed_comparison_would_be_told():
    assert masks.identical(np.zeros(2), np.array([0, 1])) == "DIFFERENT"
    row = metrics.accumulation_row(1, 32, 5)
    assert row.theirs > 0 and row.our_cpu is not None


@pytest.mark.soak
def test_the_losses_of_a_training_step_are_the_plain_librarys(monkeypatch):
    torch.manual_seed(0)
    row = training.maskrcnn_row("", MaskRcnn.default_options(), 96, "fp32", 1)
    assert row.result.startswith("first losses")
    step = training.step(module := torch.nn.Linear(2, 1), lambda: module(torch.ones(1, 2)).square().sum())
    assert step() > step()


def test_medians_peaks_and_targets():
    calls = []

    def work(name, seconds, size):
        calls.append(name)
        held = np.ones(size, np.uint8)
        time.sleep(seconds)
        return len(held)

    row = compare(
        "a", "b", lambda: work("ours", 0.01, 1), lambda: work("theirs", 0.03, 40 << 20),
        lambda mine, theirs: f"{mine} {theirs}",
        targets=(0.9, 0.001), repeats=2, settle=lambda: calls.append("settled"),
    )  # fmt: skip
    assert calls == ["ours", "settled", "ours", "theirs", "theirs", *("ours", "theirs") * 2]
    assert row.result.startswith(f"1 {40 << 20}; compiling took 0 MiB") and row.ours < row.theirs and row.their_bytes >= 39 << 20
    assert peak_of(lambda: np.ones(30 << 20, np.uint8).sum())[0] >= 29 << 20
    line = Row("w", "p", 1.0, 2.0, None, None, 10 << 20, 20 << 20, "same", 0.4, 0.6, 1, "2026-01-01").line()
    assert line == "| w | p | 1 / 2 s | 0.500 (≤ 0.4, missed) |  | 10 / 20 MiB | 0.500 (≤ 0.6) | same |"
    alone = Row("w", "p", 1.0, None, 1.0, None, 10 << 20, None, "done", None, None, 1, "2026-01-01").line()
    assert alone == "| w | p | 1 / not run s |  |  | 10 / not run MiB |  | done |"


def test_the_page_keeps_other_rows_and_replaces_its_own(tmp_path):
    row = Row("w", "p", 1.0, 2.0, 1.0, 2.0, None, None, "same", None, None, 1, "2026-01-01")
    for each in (row, Row(**{**row.to_dict(), "work": "x"}), Row(**{**row.to_dict(), "ours": 0.5})):
        report.keep("masks", each, False, tmp_path)
    data = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["rows"]
    assert [each["work"] for each in data] == ["x", "w"] and data[1]["ours"] == 0.5
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert page.count("| same |") == 2 and "torch " in page


def test_what_is_measured_quickly_replaces_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(report, "QUICK_FOLDER", tmp_path / "quick")
    row = Row("w", "p", 1.0, 2.0, 1.0, 2.0, None, None, "same", None, None, 1, "2026-01-01")
    report.keep("masks", row, False)
    report.keep("masks", Row(**{**row.to_dict(), "ours": 0.5}), True)
    assert [json.loads((folder / "results.json").read_text())["rows"][0]["ours"] for folder in (tmp_path, tmp_path / "quick")] == [1.0, 0.5]


@pytest.mark.soak
def test_growth_is_measured_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "MEGAPIXELS", (0.01, 0.02))
    monkeypatch.setattr(growth, "QUERIES", (5, 10))
    monkeypatch.setattr(growth, "CLASSES", (2, 5))
    monkeypatch.setattr(growth, "AT", (5, 4, 0.02))
    growth.write(growth.segment_curves(quick=True), tmp_path, growth.SEGMENTS)
    assert "queries^" in (tmp_path / "growth-queries.md").read_text(encoding="utf-8") and (tmp_path / "growth-queries-classes.png").is_file()
    found = {"megapixels": growth.curves([0.01, 0.02], lambda size: (5, size))}
    assert [len(points) for points in found["megapixels"].values()] == [2, 2]
    growth.write(found, tmp_path)
    assert (tmp_path / "growth-megapixels.png").read_bytes().startswith(b"\x89PNG")
    assert "megapixels^" in (tmp_path / "growth.md").read_text(encoding="utf-8")
    squares = [(x, x**2.0, int(x) * 100) for x in (1.0, 2.0, 4.0, 8.0)]
    assert growth.exponent(squares, 1) == pytest.approx(2) and growth.exponent(squares, 2) == pytest.approx(1)
    monkeypatch.setattr(growth, "available_memory", lambda: 0)
    assert not growth.curves([0.01], lambda size: (5, size))["peer"], "a peer that would not fit is not run"


@pytest.mark.soak
def test_a_typed_checkpoint_answers_as_the_pipeline_does():
    warm, cold = typed.rows(quick=True, small=True)
    assert float(warm.result.split("%")[0]) > 99.9 and "the helper waits in" in warm.result
    assert warm.time_target == 1.3 and min(warm.ours, cold.ours, warm.theirs) > 0

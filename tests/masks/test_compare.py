"""Agreement and IoU between models equal a dense computation, over class names and whatever the ids and tasks are."""

from __future__ import annotations

import csv
import io
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from seg_demo.core.types import LabelSet, Segment, Segmentation, paint, semantic_segmentation
from seg_demo.masks.compare import agreement, common, key, overlap, truth_ids
from seg_demo.ui import compare_tab

NAMES = ["background", "Cell", "border", "dust"]


def semantic(seed: int, names: list[str], height: int = 23, width: int = 37) -> Segmentation:
    ids = np.random.default_rng(seed).integers(0, len(names), (height // 3 + 1, width // 3 + 1), dtype=np.uint8)
    return semantic_segmentation(ids.repeat(3, 0).repeat(3, 1)[:height, :width], LabelSet.from_names(names))


def instance(seed: int, names: list[str], height: int = 23, width: int = 37) -> Segmentation:
    rng = np.random.default_rng(seed)
    segments = []
    for _ in range(9):
        x, y, label = int(rng.integers(0, width - 8)), int(rng.integers(0, height - 8)), int(rng.integers(1, len(names)))
        segments.append(Segment(label, 0.5, (x, y, x + 8, y + 8), rng.random((8, 8)) < 0.8))
    return Segmentation("instance", height, width, LabelSet.from_names(names), paint(segments, height, width), tuple(segments))


def dense(result: Segmentation) -> np.ndarray:
    """The name of the class at every pixel."""
    names = np.array([key(name) for name in result.labels.names])
    if result.task == "semantic":
        return names[result.id_map]
    full = np.full((result.height, result.width), "background", dtype=object)
    for y in range(result.height):
        for x in range(result.width):
            if result.id_map[y, x]:
                full[y, x] = names[result.segments[result.id_map[y, x] - 1].label_id]
    return full


RESULTS = [
    semantic(0, NAMES),
    semantic(1, ["dust", "cell ", "__background__"]),
    instance(2, ["background", "cell", "dust"]),
    semantic(3, ["tree", "cell"]),
]


def test_the_agreement_map_equals_counting_names():
    seen = [dense(result) for result in RESULTS]
    for count in (2, 3, 4):
        found = agreement(common(RESULTS[:count]).maps)
        for y in range(23):
            for x in range(37):
                said = [each[y, x] for each in seen[:count]]
                assert found[y, x] == max(said.count(name) for name in said)


def test_iou_equals_the_dense_one_over_shared_names():
    together = common(RESULTS)
    for first, second in combinations(range(4), 2):
        a, b = dense(RESULTS[first]), dense(RESULTS[second])
        found = overlap(together.maps[first], together.maps[second], together.names, together.shared(first, second), None)
        wanted = {}
        for name in together.names:
            know = [name in {key(n) for n in r.labels.names} | ({"background"} if r.task != "semantic" else set())
                    for r in (RESULTS[first], RESULTS[second])]  # fmt: skip
            union = np.count_nonzero((a == name) | (b == name))
            if all(know) and union:
                wanted[name] = np.count_nonzero((a == name) & (b == name)) / union
        assert found.iou == pytest.approx(wanted)
        assert found.mean == (pytest.approx(np.mean(list(wanted.values()))) if wanted else None)
        assert found.same == pytest.approx((a == b).mean())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_maps_of_any_size(data):
    shape = (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)))
    maps = [data.draw(arrays(np.uint16, shape, elements=st.integers(0, 3))) for _ in range(data.draw(st.integers(2, 4)))]
    votes = np.max([sum((one == other).astype(int) for other in maps) for one in maps], axis=0)
    assert np.array_equal(agreement(maps), votes)
    names = ["a", "b", "c", "d"]
    found = overlap(maps[0], maps[1], names, range(4), None)
    for index, name in enumerate(names):
        union = np.count_nonzero((maps[0] == index) | (maps[1] == index))
        both = np.count_nonzero((maps[0] == index) & (maps[1] == index))
        assert found.iou.get(name) == (pytest.approx(both / union) if union else None)


def test_a_truth_has_the_ids_of_a_chosen_model_and_ignores_255():
    together = common(RESULTS[:2])
    ids = RESULTS[1].id_map.copy()
    ids[:4] = 255
    truth = truth_ids(ids, RESULTS[1], together.names)
    against = overlap(truth, together.maps[1], together.names, together.shared(1, 1), 65_535)
    assert against.same == 1 and set(against.iou.values()) == {1.0}
    other = overlap(truth, together.maps[0], together.names, together.shared(0, 1), 65_535)
    a, b = dense(RESULTS[1])[4:], dense(RESULTS[0])[4:]
    assert other.iou["cell"] == pytest.approx(((a == "cell") & (b == "cell")).sum() / ((a == "cell") | (b == "cell")).sum())


def test_a_black_and_white_truth_is_the_one_class():
    result = semantic(4, ["background", "cell"])
    together = common([result])
    assert np.array_equal(truth_ids(result.id_map * np.uint8(255), result, together.names), together.maps[0])
    three = np.repeat((result.id_map * np.uint8(255))[..., None], 3, axis=2)
    assert np.array_equal(truth_ids(three, result, together.names), together.maps[0])
    drawn = result.labels.colors[result.id_map]
    assert np.array_equal(truth_ids(drawn, result, together.names), together.maps[0])
    wide = truth_ids(result.id_map.astype(np.uint16), result, together.names)
    assert np.array_equal(wide, together.maps[0])


def test_a_truth_that_does_not_fit_is_said():
    together = common(RESULTS[:1])
    with pytest.raises(ValueError, match="37 x 22 pixels, the image 37 x 23"):
        truth_ids(RESULTS[0].id_map[:-1], RESULTS[0], together.names)
    with pytest.raises(ValueError, match="holds 9"):
        truth_ids(np.full((23, 37), 9, np.uint8), RESULTS[0], together.names)
    with pytest.raises(ValueError, match="black and white, but there are"):
        truth_ids(np.where(RESULTS[0].id_map == 1, 255, 0).astype(np.uint8), RESULTS[0], together.names)
    with pytest.raises(ValueError, match="1 of its 2 colours"):
        colors = RESULTS[0].labels.colors[np.zeros((23, 37), int)]
        colors[3] = 1, 2, 3
        truth_ids(colors, RESULTS[0], together.names)
    with pytest.raises(ValueError, match="one image"):
        common([semantic(0, NAMES), semantic(0, NAMES, 22)])


def test_the_table_and_the_map_as_files():
    together = common(RESULTS[:3])
    rows = list(csv.DictReader(io.StringIO(compare_tab.comparison_table(list(compare_tab.overlaps(["a", "b", "=c"], together, None))))))
    assert {(row["first"], row["second"]) for row in rows} == {("a", "b"), ("a", "'=c"), ("b", "'=c")}
    cell = next(row for row in rows if (row["first"], row["second"], row["class"]) == ("a", "b", "cell"))
    wanted = overlap(together.maps[0], together.maps[1], together.names, together.shared(0, 1), None)
    assert float(cell["iou"]) == pytest.approx(wanted.iou["cell"])
    picture = np.asarray(Image.open(io.BytesIO(compare_tab.agreement_png(agreement(together.maps), 3))))
    assert np.array_equal(picture, agreement(together.maps))

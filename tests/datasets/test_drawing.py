"""Between drawings and stored masks: predictions in a dataset's classes, uploaded masks, and what comes back from a browser."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gradio import utils
from PIL import Image
from scipy import ndimage

from seg_demo.core.errors import BadRequestError, DataError, SegDemoError
from seg_demo.core.types import LabelSet, Segment, Segmentation, paint, semantic_segmentation
from seg_demo.datasets.sample import IGNORE_ID, Facts, check_truth, corrected, from_mask, from_prediction, from_sample, truth
from seg_demo.datasets.store import Store, drawn_as
from seg_demo.outputs import draw
from seg_demo.outputs.export import bundle
from seg_demo.outputs.measurements import measure
from seg_demo.ui import menu
from seg_demo.ui.correct_tab import class_names, labels_for
from seg_demo.ui.editor import facts_of, keep
from tests.small_datasets import picture

LABELS = LabelSet.from_names(("background", "cell", "wall"), 0)


def blobs(seed: int = 0, shape: tuple[int, int] = (31, 45)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, shape, dtype=np.uint8)


def test_a_map_of_classes_is_matched_by_names():
    theirs = LabelSet.from_names(("Wall", "__background__", "CELL", "tree"), 1)
    ids = np.random.default_rng(1).integers(0, 4, (17, 9), dtype=np.uint8)
    drawing = from_prediction(semantic_segmentation(ids, theirs), LABELS, "semantic")
    assert np.array_equal(drawing.ids, np.array([2, 0, 1, 0])[ids]) and drawing.objects is None and drawing.missing == ("tree",)


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_classes_of_other_names_become_what_a_person_said(task):
    """Two of theirs may become one of ours; equal names stay together whatever is said, and what is nowhere is left out."""
    result = objects_of(LabelSet.from_names(("background", "nucleus", "wall"), 0))
    drawing = from_prediction(result, LABELS, task, {"nucleus": "Cell", "wall": "cell", "tree": "cell", "x": "no such"})
    wanted = np.array([0, 1, 2, 1]) if task == "semantic" else np.array([0, 1, 2, 3])
    assert np.array_equal(drawing.ids, wanted[result.id_map]) and drawing.missing == ()
    assert drawing.objects == (None if task == "semantic" else {1: 1, 2: 2, 3: 1})
    assert from_prediction(result, LABELS, task, {}).missing == ("nucleus",)


@pytest.mark.parametrize("value", [["cell"], ["cell → moon"], ["star → coin"], ["cell → coin", "cell → note"], [3]])
def test_what_is_no_mapping_is_said(value):
    with pytest.raises(DataError, match="does not pair|cannot become both"):
        menu.pairs_of(value, ["cell", "wall"], ["coin", "note"])


def test_a_class_with_an_arrow_in_its_name_is_one():
    assert menu.pairs_of(["a → b → coin"]) == {"a → b": "coin"} and menu.pairs_of(None) == {}


def test_what_a_browser_keeps_may_be_anything():
    for kept in (None, 3, [], {"a|m": 5}, {"a|m": {1: 2}}):
        assert not menu.remembered(kept, "a", "m")
        assert menu.remembered(menu.with_chosen(kept, "a", "m", {"x": "y"}), "a", "m") == {"x": "y"}


def test_a_map_of_classes_becomes_objects_by_its_pieces():
    ids = blobs(2)
    drawing = from_prediction(semantic_segmentation(ids, LABELS), LABELS, "instance")
    counts = [ndimage.label(ids == label, np.ones((3, 3)))[1] for label in (1, 2)]
    assert len(drawing.objects) == sum(counts)
    classes = np.array([0, *(drawing.objects[number] for number in sorted(drawing.objects))])
    assert np.array_equal(classes[drawing.ids], ids)


def objects_of(labels: LabelSet, task: str = "instance") -> Segmentation:
    segments = tuple(
        Segment(label, 0.9 if task == "instance" else None, (x, 2, x + 8, 12), np.ones((10, 8), bool))
        for label, x in ((1, 1), (2, 6), (1, 20))
    )
    return Segmentation(task, 20, 40, labels, paint(segments, 20, 40), segments)


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_objects_keep_their_class_or_their_number(task):
    result = objects_of(LabelSet.from_names(("background", "wall", "thing"), 0))
    drawing = from_prediction(result, LABELS, task)
    wanted = np.array([0, 2, 0, 2]) if task == "semantic" else np.array([0, 1, 0, 3])
    assert np.array_equal(drawing.ids, wanted[result.id_map]) and drawing.missing == ("thing",)
    assert drawing.objects == (None if task == "semantic" else {1: 2, 3: 2})


def test_a_drawing_is_a_result_again():
    """Object numbers with gaps, pixels to ignore, ids of classes in the editor's order."""
    labels, raw = LabelSet.from_names(("background", "a", "b"), 0), np.zeros((9, 12), np.uint16)
    raw[1:4, 1:5], raw[2:8, 6:9], raw[0], raw[8, 11] = 7, 300, 65_535, 4
    found = corrected(raw, "instance", labels, {0: 0, 1: 1, 2: 2}, {7: 2, 300: 1, 4: 1, 12: 1})
    assert [segment.label_id for segment in found.segments] == [1, 2, 1] and found.id_map.dtype == np.uint8
    for index, number in enumerate((4, 7, 300)):
        np.testing.assert_array_equal(found.id_map == index + 1, raw == number)
        x0, y0, x1, y1 = found.segments[index].box
        np.testing.assert_array_equal(found.mask_of(index), (raw == number)[y0:y1, x0:x1])
    assert found.areas == (1, 12, 18) and (found.id_map[0] == 0).all()
    # What comes back to the editor is what went out.
    again = from_prediction(found, labels, "instance")
    np.testing.assert_array_equal(again.ids, found.id_map)
    classes = np.zeros((9, 12), np.uint8)
    classes[2:4, 2:6], classes[5:, 5:], classes[0] = 5, 3, 255
    found = corrected(classes, "semantic", labels, {0: 0, 3: 1, 5: 2}, {})
    assert [segment.label_id for segment in found.segments] == [0, 1, 2] and found.areas[1:] == (28, 8)
    assert (found.id_map[0] == 255).all()
    for pieces in (False, True):
        assert measure(found, np.zeros((9, 12, 3), np.uint8), pieces=pieces).area.tolist() == [found.areas[0], 28, 8][pieces:]
    files = bundle(np.zeros((9, 12, 3), np.uint8), found, "")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(files["mask.png"]))), found.id_map)
    assert [row["area"] for row in json.loads(files["coco_rle.json"])["annotations"]] == list(found.areas)
    assert corrected(np.zeros((3, 3), np.uint16), "instance", labels, {0: 0}, {}).segments == ()
    with pytest.raises(DataError):
        corrected(np.full((3, 3), 9, np.uint8), "semantic", labels, {0: 0}, {})


def test_regions_are_the_first_class():
    labels = LabelSet.from_names(("background", "region", "x"), 0)
    drawing = from_prediction(objects_of(labels, "region"), LABELS, "instance")
    assert set(drawing.objects.values()) <= {1} and drawing.objects[1] == 1


def test_uploaded_masks():
    binary = np.where(blobs() == 1, 255, 0).astype(np.uint8)
    one = LabelSet.from_names(("background", "cell"), 0)
    assert np.array_equal(from_mask(binary, binary.shape, one, "semantic").ids, binary == 255)
    ids = from_mask(np.where(blobs() == 1, 255, 2).astype(np.uint8), (31, 45), LABELS, "semantic").ids
    assert set(np.unique(ids)) == {2, IGNORE_ID}
    with pytest.raises(DataError, match="black and white, but there are 2 classes"):
        from_mask(binary, binary.shape, LABELS, "semantic")
    for way in (lambda ids: np.repeat(ids[..., None], 3, axis=2), lambda ids: LABELS.colors[ids]):
        assert np.array_equal(from_mask(way(blobs()), (31, 45), LABELS, "semantic").ids, blobs())
    objects = from_mask(np.uint16([[0, 7, 300, 65_535]]), (1, 4), LABELS, "instance")
    assert objects.ids.tolist() == [[0, 7, 300, IGNORE_ID]] and objects.objects == {7: 1, 300: 1}
    for raw, why in ((blobs() + 1, "holds 3"), (blobs()[1:], "45 x 30 pixels"), (np.full((31, 45, 3), (9, 0, 1), np.uint8), "coloured")):
        with pytest.raises(DataError, match=why):
            from_mask(raw, (31, 45), LABELS, "semantic")


def test_a_stored_sample_comes_back_as_it_was(tmp_path):
    dataset = Store(tmp_path).create("d", LABELS, "instance")
    instances = np.zeros((24, 32), np.uint16)
    instances[3:9, 3:9], instances[10:20, 5:30] = 4, 900
    mask = np.select([instances == 4, instances == 900], [1, 2]).astype(np.uint8)
    mask[0, :5] = 255
    dataset.add(picture(0), mask, instances=instances)
    drawing = from_sample(*dataset.read("image")[1:], LABELS)
    assert drawing.objects == {4: 1, 900: 2} and (drawing.ids[0, :5] == IGNORE_ID).all()
    sent = np.where(drawing.ids == IGNORE_ID, 65_535, drawing.ids).astype(np.uint16)
    again, numbers = truth(sent, "instance", {0: 0, 1: 1, 2: 2}, drawing.objects, 0)
    assert np.array_equal(again, mask) and np.array_equal(numbers, instances)
    with pytest.raises(DataError, match="holds 900, which is no class or object"):
        truth(sent, "instance", {0: 0, 1: 1}, {4: 1}, 0)


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    assert Path(utils.get_upload_folder()) == tmp_path / "uploads"
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


def message(uploads: Path, **changes: object) -> dict[str, object]:
    (uploads / "image.png").write_bytes(draw.encode_png(picture(0)))
    (uploads / "mask.png").write_bytes(draw.encode_png(blobs(0, (24, 32))))
    classes = [[0, "background"], [1, "Wall"], [2, "new one"]]
    sent = {"dataset": "d", "stem": None, "name": "a", "classes": classes, "objects": [], "seconds": 3, "strokes": 2}
    files = {"image": str(uploads / "image.png"), "mask": str(uploads / "mask.png")}
    return {**sent, **files, "source": "blank", "confidence": 0.5, **changes}


def test_what_a_browser_sends_is_stored_in_the_datasets_numbers(tmp_path, uploads):
    store = Store(tmp_path / "data")
    store.create("d", LABELS, "semantic")
    dataset, sample = keep(store, message(uploads))
    assert dataset.labels.names == ("background", "cell", "wall", "new one") and sample.facts == Facts(3, 2, 0.5, "blank")
    assert np.array_equal(dataset.read("a")[1], np.array([0, 2, 3])[blobs(0, (24, 32))])
    keep(store, message(uploads, stem="a", seconds=float("nan"), strokes=-1, confidence="high"))
    assert len(dataset) == 1 and dataset.sample("a").facts == Facts(0, 0, None, "blank")


def test_a_number_that_no_float_holds_is_left_out():
    facts = facts_of({"seconds": 10**400, "confidence": 10**400, "strokes": 10**400})
    assert (facts.seconds, facts.confidence, facts.strokes) == (0.0, None, 0)


def test_a_save_whose_answer_was_lost_is_no_second_sample(tmp_path, uploads):
    store = Store(tmp_path / "data")
    store.create("d", LABELS, "semantic")
    dataset, first = keep(store, message(uploads, doc="one"))
    sent = message(uploads, doc="one", strokes=9)
    (uploads / "mask.png").write_bytes(draw.encode_png(np.zeros((24, 32), np.uint8)))
    _, again = keep(store, sent)
    assert again.stem == first.stem and len(dataset) == 1 and dataset.sample("a").facts.strokes == 9
    assert not dataset.read("a")[1].any(), "what was sent last counts"
    # Another document of the same picture is another sample, also with what no browser sends; so is one after a deletion.
    for doc, count in (("two", 2), (None, 3), (7, 4), ("", 5), ("x" * 10_000, 6)):
        keep(store, message(uploads, doc=doc))
        assert len(dataset) == count
    dataset.delete("a")
    assert keep(store, message(uploads, doc="one"))[1].stem == "a"
    sent = message(uploads, doc="at once")
    with ThreadPoolExecutor(4) as pool:
        assert len({stored.stem for _, stored in pool.map(lambda _: keep(store, sent), range(4))}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "../d"}, {"dataset": None}, {"stem": "../a"}, {"stem": 7}, {"stem": "gone"}, {"image": "/etc/passwd"},
        {"image": None}, {"mask": "/etc/passwd"}, {"mask": ["x"]}, {"mask": "a\0b"}, {"classes": "x"}, {"classes": [[0, 1]]},
        {"classes": [[-1, "x"]]}, {"classes": [[0, "background"]]}, {"classes": [[0, ""], [1, "a"], [2, "b"]]}, {"objects": {}},
        {"objects": [[1, "x"]]}, {"objects": [[1, 2, 3]]}, {"classes": [[True, "x"]]},
    ],
)  # fmt: skip
def test_nothing_that_a_browser_sends_is_trusted(tmp_path, uploads, changes):
    store = Store(tmp_path / "data")
    dataset = store.create("d", LABELS, "semantic")
    with pytest.raises(SegDemoError):
        keep(store, message(uploads, **changes))
    assert len(dataset) == 0


def test_typed_classes():
    assert class_names("cell, wall\n 核；cell") == ["cell", "wall", "核"]
    assert labels_for("cell", None, "semantic").names == ("background", "cell")
    with pytest.raises(BadRequestError, match="Type the classes"):
        labels_for(" ", None, "semantic")


def test_things_and_stuff_are_drawn_as_objects_and_saved_as_classes_and_numbers():
    """Of a panoptic result, each thing is one and each kind of stuff is; what nobody has stays background."""
    id_map = np.repeat(np.array([[1, 1, 2, 2, 0], [3, 3, 2, 4, 0]], np.uint8), 6, axis=0)
    labels = replace(LabelSet.from_names(["sky", "car"]), things=np.array([False, True]))
    boxes = [(0, 0, 2, 6), (2, 0, 4, 12), (0, 6, 2, 12), (3, 6, 4, 12)]
    segments = [Segment(label, 0.9, box, None) for label, box in zip([0, 1, 1, 1], boxes, strict=True)]
    result = Segmentation("panoptic", 12, 5, labels, id_map, tuple(segments))
    own = LabelSet.from_names(["background", "sky", "car"], 0)
    drawing = from_prediction(result, own, drawn_as("panoptic"))
    assert drawing.objects == {1: 1, 2: 2, 3: 2, 4: 2} and not drawing.missing
    mask, instances = truth(drawing.ids, "instance", {0: 0, 1: 1, 2: 2}, drawing.objects, 0)
    np.testing.assert_array_equal(mask, np.array([0, 1, 2, 2, 2], np.uint8)[id_map])
    np.testing.assert_array_equal(instances, id_map)
    check_truth((12, 5), own, mask, instances)

"""What COCO annotations are: objects with their own whole masks, background that is none, classes matched by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as reference

from seg_demo import load_model
from seg_demo.annotations.coco import MOST_LAYERS, BadAnnotation, draw, segment_of
from seg_demo.annotations.dataset import as_objects, labels_for
from seg_demo.annotations.listing import CocoObject, Sample
from seg_demo.core.errors import in_language
from seg_demo.core.types import LabelSet, Segment, Segmentation, semantic_segmentation
from seg_demo.inputs.images import decode
from seg_demo.outputs.batch import Summary
from seg_demo.outputs.export import coco as exported
from seg_demo.outputs.polygons import polygons_of
from tests.small_datasets import HEIGHT, WIDTH, coco, picture, save, square, write_json
from train.batches import Crop, augment
from train.data import examine, open_dataset, split
from train.losses import target
from train.metrics import true_objects


def look(source):
    dataset = open_dataset(str(source), seed=0, size=None, workers=1, progress=False)
    found = examine(dataset, *split(dataset, 0.5, 0))
    for phrase in (text for each in (*found.notes, *found.faults) for text in (each.what, each.remedy)):
        assert in_language(phrase, "zh") != phrase, phrase
    for sentence in dataset.notes:
        assert sentence.text("zh") != sentence, sentence
    return dataset, found


def rle(mask) -> dict:
    made = reference.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": made["counts"].decode()}


WHOLE = [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]]
FORMS = {"polygon": WHOLE, "rle": rle(np.ones((HEIGHT, WIDTH), bool))}


@pytest.mark.parametrize("name", ["background", "BG", "_background_", "unlabeled", "Un-labelled", "背景"])
@pytest.mark.parametrize("form", ["polygon", "rle"])
@pytest.mark.parametrize("identity", [0, 99])
def test_a_background_that_is_drawn_is_no_object(tmp_path, name, form, identity):
    data = coco(tmp_path)
    plain, _ = look(write_json(data, tmp_path / "c.json"))
    wanted = [plain.read(item) for item in plain.items]
    data["categories"].insert(0, {"id": identity, "name": name})
    for index in range(4):
        # Some tools write it first, some last; it must not lie on the objects.
        data["annotations"].insert(9 * (index % 2), {"id": 100 + index, "image_id": 10 + index, "category_id": identity, "segmentation": FORMS[form]})
    dataset, found = look(write_json(data, tmp_path / "c.json"))
    assert found.ok and dataset.kind == "instance" and dataset.labels.names == ("background", "cat", "dog")
    assert labels_for(dataset, "instance").names == ("background", "cat", "dog")
    assert any("are not objects" in note for note in dataset.notes)
    for item, sample in zip(dataset.items, wanted, strict=True):
        got = dataset.read(item)
        assert np.array_equal(got.label_map, sample.label_map) and np.array_equal(got.instance_map, sample.instance_map)
        assert np.array_equal(got.instance_labels, sample.instance_labels) and got.hidden is None


def test_a_region_to_ignore_is_ignored_and_id_zero_may_be_a_class(tmp_path):
    data = coco(tmp_path)
    data["categories"] = [{"id": 0, "name": "cat"}, {"id": 17, "name": "dog"}, {"id": 5, "name": "Don't care"}]
    for annotation in data["annotations"]:
        annotation["category_id"] = {3: 0, 17: 17}[annotation["category_id"]]
    data["annotations"].append({"id": 99, "image_id": 10, "category_id": 5, "segmentation": square(2, 13, 6)})
    dataset, found = look(write_json(data, tmp_path / "c.json"))
    assert found.ok and dataset.labels.names == ("background", "cat", "dog")
    sample = dataset.read(dataset.items[0])
    assert sample.instance_map.max() == 2 and (sample.label_map == 255).sum() == 36 and (sample.label_map == 1).sum() == 64


def test_only_background_is_refused(tmp_path):
    data = coco(tmp_path)
    data["categories"], data["annotations"] = [{"id": 3, "name": "background"}], data["annotations"][::2]
    with pytest.raises(Exception, match="annotates no object"):
        look(write_json(data, tmp_path / "c.json"))


@pytest.mark.parametrize("bad", [[1, 1, 1, 1], [1, 1, 9, 9], [1, 1, 5, 5, 9, 9, 3], [1, 1, float("nan"), 5, 9, 9], [], [1, 1, None, 2, 5, 5], "x", None])
def test_a_broken_part_costs_only_itself(tmp_path, bad):
    data = coco(tmp_path)
    wanted = look(write_json(data, tmp_path / "c.json"))[0].digest
    data["annotations"][2]["segmentation"] = [bad, *data["annotations"][2]["segmentation"], bad]
    data["annotations"][5]["segmentation"] = [*data["annotations"][5]["segmentation"], bad]
    dataset, found = look(write_json(data, tmp_path / "c.json"))
    assert dataset.digest == wanted and found.ok
    (note,) = [each for each in found.notes if each.kind == "broken parts"]
    assert note.what.startswith("holds 3 parts") and "annotation 3 (1.png)" in note.what


def splits(root, train, val):
    """train/ and valid/ with COCO files that have these categories; each image has a cat of 64 and a dog of 25 pixels."""
    for number, (part, categories) in enumerate((("train", train), ("valid", val))):
        data = coco(root / "made", 2)
        for index in range(2):
            save(picture(10 * number + index), root / part / f"{index}.png")
        ids = {name: identity for identity, name in categories}
        data["categories"] = [{"id": identity, "name": name} for identity, name in categories]
        for annotation in data["annotations"]:
            name = {3: "cat", 17: "dog"}[annotation["category_id"]]
            annotation["category_id"] = ids[name]
            annotation["segmentation"] = square(2, 3, 8) if name == "cat" else square(16, 3, 5)
        write_json(data, root / part / "_annotations.coco.json")
    return root


@pytest.mark.parametrize(
    "val",
    [
        [(1, "cat"), (2, "dog")],
        [(2, "dog"), (1, "cat")],
        [(1, "dog"), (2, "cat")],
        [(7, "cat"), (5, "dog")],
        [("a", "cat"), ("b", "dog")],
        [(0, "animals"), (1, "cow"), (2, "dog"), (3, "cat")],
    ],
)
def test_classes_of_several_files_are_matched_by_name(tmp_path, val):
    dataset, found = look(splits(tmp_path, [(1, "cat"), (2, "dog")], val))
    assert found.ok and dataset.labels.names == ("background", "cat", "dog")
    assert found.class_pixels[1:] == (4 * 64, 4 * 25)
    assert any("matched by their names" in note for note in dataset.notes) == (sorted(map(str, val)) != sorted(map(str, [(1, "cat"), (2, "dog")])))
    turned, _ = look(splits(tmp_path / "turned", val, [(1, "cat"), (2, "dog")]))
    assert set(turned.labels.names) == {"background", "cat", "dog"}
    for item in turned.items:
        sample = turned.read(item)
        assert (sample.label_map == turned.labels.names.index("cat")).sum() == 64


def test_a_category_named_like_the_project_is_no_reason_to_refuse(tmp_path):
    data = coco(tmp_path)
    data["categories"].insert(0, {"id": 0, "name": "cat", "supercategory": "none"})
    assert look(write_json(data, tmp_path / "c.json"))[0].labels.names == ("background", "cat", "dog")
    data["annotations"][0]["category_id"] = 0
    with pytest.raises(Exception, match="more than one category named 'cat'"):
        look(write_json(data, tmp_path / "c.json"))


# Objects that overlap.


def overlapping(seed: int, count: int, height: int = 60, width: int = 70):
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width]
    masks = []
    while len(masks) < count:
        y, x, a, b = rng.integers(0, height), rng.integers(0, width), *rng.integers(3, 25, 2)
        mask = ((ys - y) / a) ** 2 + ((xs - x) / b) ** 2 <= 1
        masks.append(mask & (rng.random() < 0.5 or (ys + xs) % 9 > 2))  # in parts
    return masks, [int(label) for label in rng.integers(1, 4, count)]


@pytest.mark.parametrize("seed", range(4))
def test_every_object_keeps_its_mask_and_box(seed):
    masks, classes = overlapping(seed, 12)
    objects = [CocoObject(label, rle(mask), False, "x") for mask, label in zip(masks, classes, strict=True)]
    drawn = draw(objects, *masks[0].shape)
    assert drawn.hidden is not None and len(drawn.hidden) <= MOST_LAYERS and not drawn.buried
    sample = Sample(np.zeros((*masks[0].shape, 3), np.uint8), drawn.label_map, drawn.instance_map, "x", drawn.instance_labels, drawn.hidden)
    labels = LabelSet.from_names(["background", "a", "b", "c"], background=0)
    wanted = sorted((label, mask.tobytes()) for mask, label in zip(masks, classes, strict=True))
    found = true_objects(sample, labels)
    assert sorted((s.label_id, full(s, found).tobytes()) for s in found.segments) == wanted
    # And in training: the whole picture as one crop.
    image, labelled, instances = augment(sample, "none", 70, seed=1)
    made = target(Crop(image, labelled, instances, sample.instance_labels, "x"))
    crops = sorted((int(label), mask.numpy()[:60, :70].astype(bool).tobytes()) for label, mask in zip(made["labels"], made["masks"], strict=True))
    assert crops == [entry for entry in wanted if np.frombuffer(entry[1], bool).sum() >= 12]
    for box, mask in zip(made["boxes"].tolist(), made["masks"].numpy(), strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert box == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def full(segment, whole):
    mask = np.zeros((whole.height, whole.width), bool)
    x0, y0, x1, y1 = segment.box
    mask[y0:y1, x0:x1] = segment.mask
    return mask


def test_equal_objects_on_each_other_take_bounded_memory_and_are_said(tmp_path):
    data = coco(tmp_path, 2)
    data["annotations"] = [
        {"id": index, "image_id": 10 + index % 2, "category_id": 3, "segmentation": square(2, 2, 9)} for index in range(60)
    ]
    dataset, found = look(write_json(data, tmp_path / "c.json"))
    sample = dataset.read(dataset.items[0])
    assert len(sample.layers) == MOST_LAYERS + 1 and sample.instance_map.max() == 30
    assert [note.kind for note in found.notes].count("overlapping objects") == 2 and found.ok
    assert len(true_objects(as_objects(sample, dataset), dataset.labels).segments) == MOST_LAYERS + 1


def test_a_photo_as_stored_turns_what_lies_below_too(tmp_path):
    from tests.small_datasets import save_turned

    data = coco(tmp_path)
    data["annotations"][0]["segmentation"], data["annotations"][1]["segmentation"] = square(2, 3, 9), square(5, 4, 12)
    wanted = look(write_json(data, tmp_path / "c.json"))[0]
    upright = wanted.read(wanted.items[0])
    save_turned(picture(0), 6, tmp_path / "images" / "0.png")
    turned = look(tmp_path / "c.json")[0]
    sample = turned.read(turned.items[0])
    assert np.array_equal(np.rot90(upright.hidden, -1, (1, 2)), sample.hidden) and sample.hidden.any()


# What we export comes back.


def semantic_result(index: int) -> Segmentation:
    label_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    label_map[3:9, 2 + index : 9 + index], label_map[12:20, 15:25], label_map[12:20, 2:8] = 1, 1, 2
    return semantic_segmentation(label_map, LabelSet.from_names(["background", "cell", "dirt"], background=0), {0: 1.0, 1: 0.9, 2: 0.8})


@pytest.mark.parametrize("old", [False, True])
def test_our_coco_of_a_semantic_result_is_read_back(tmp_path, old):
    (tmp_path / "out").mkdir()
    summary = Summary(tmp_path / "out", 3, None, None)
    for index in range(3):
        save(picture(index), tmp_path / f"{index}.png")
        result = semantic_result(index)
        summary.add(f"{index}.png", result.to_dict() | {"task": "semantic"}, result.id_map, picture(index))
    summary.close()
    data = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert data["info"]["task"] == "semantic"
    if old:
        del data["info"]["task"]
    dataset, found = look(write_json(data, tmp_path / "coco.json"))
    assert found.ok and dataset.kind == "semantic" and dataset.labels.names == ("background", "cell", "dirt")
    for index, item in enumerate(dataset.items):
        sample = dataset.read(item)
        assert sample.instance_map is None and np.array_equal(sample.label_map, semantic_result(index).id_map)
        # A network of objects learns the pieces, not one object per class.
        assert as_objects(sample, dataset).instance_labels.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_our_coco_of_one_picture_is_read_back(tmp_path, form):
    masks, classes = overlapping(7, 5)
    made = []
    for mask, label in zip(masks, classes, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        made.append(Segment(label, 0.9, box, mask[box[1] : box[3], box[0] : box[2]]))
    from seg_demo.core.types import paint

    labels = LabelSet.from_names(["background", "a", "b", "c"], background=0)
    result = Segmentation("instance", 60, 70, labels, paint(made, 60, 70), tuple(made))
    save(picture(0, 60, 70), tmp_path / "x.png")
    save(picture(1, 60, 70), tmp_path / "y.png")
    data = exported(result, "x.png", polygons_of(result) if form == "polygons" else None)
    data["images"].append({"id": 2, "file_name": "y.png", "width": 70, "height": 60})
    dataset, _ = look(write_json(data, tmp_path / "c.json"))
    assert dataset.kind == "instance"
    back = true_objects(dataset.read(dataset.items[0]), dataset.labels)
    names = dataset.labels.names
    assert sorted((names[s.label_id], full(s, back).tobytes()) for s in back.segments) == sorted(
        (labels.names[label], mask.tobytes()) for mask, label in zip(masks, classes, strict=True)
    )


def test_segmented_by_a_network_and_read_back(tmp_path):
    from skimage.data import coins

    image = np.repeat(coins()[:, :, None], 3, axis=2)
    save(image[:160, :160], tmp_path / "a.png")
    save(image[100:260, 100:260], tmp_path / "b.png")
    model = load_model("unet-cells", device="cpu")
    (tmp_path / "out").mkdir()
    summary = Summary(tmp_path / "out", 2, model.labels, None)
    results = {}
    for name in ("a.png", "b.png"):
        pixels = decode(tmp_path / name)
        results[name] = model.predict(pixels)
        summary.add(name, results[name].to_dict(), results[name].id_map, pixels)
    summary.close()
    (tmp_path / "out" / "coco.json").rename(tmp_path / "coco.json")
    dataset, _ = look(tmp_path / "coco.json")
    for item in dataset.items:
        assert np.array_equal(dataset.read(item).label_map, results[item.name].id_map)


def test_annotations_that_share_an_id_are_objects_all_the_same(tmp_path):
    """Files put together from several begin to count anew; an exact copy of an annotation is one object."""
    data = coco(tmp_path)
    wanted = look(write_json(data, tmp_path / "c.json"))[0]
    for annotation in data["annotations"]:
        annotation["id"] = 1
    data["annotations"].append(dict(data["annotations"][0]))
    dataset, found = look(write_json(data, tmp_path / "c.json"))
    assert found.ok and [note.kind for note in found.notes].count("duplicate COCO id") == 1
    (note,) = [note for note in found.notes if note.kind == "duplicate COCO id"]
    assert "annotation id 1 is used more than once" in note.what and "1 exact copies once" in note.remedy
    for mine, other in zip(dataset.items, wanted.items, strict=True):
        assert np.array_equal(dataset.read(mine).instance_map, wanted.read(other).instance_map)


def test_an_objects_outlines_are_drawn_without_a_map_as_pycocotools_draws_them():
    rng = np.random.default_rng(1)
    empty = 0
    for _ in range(400):
        height, width = (int(side) for side in rng.integers(1, 40, 2))
        reach = rng.choice([3, 20, 60])
        polygons = [rng.uniform(-reach / 2, reach, 2 * rng.integers(3, 9)).round(int(rng.integers(0, 3))).tolist() for _ in range(rng.integers(1, 4))]
        wanted = reference.decode(reference.merge(reference.frPyObjects(polygons, height, width)))
        try:
            found = segment_of(CocoObject(1, polygons, False, "x"), height, width)
        except BadAnnotation as bad:
            assert not wanted.any() and bad.kind == "zero-area object"
            empty += 1
            continue
        x0, y0, x1, y1 = found.box
        mask = np.zeros_like(wanted)
        mask[y0:y1, x0:x1] = found.mask
        np.testing.assert_array_equal(mask, wanted)
        assert found.area == wanted.sum() and found.runs(height).encoded(width) == rle(wanted) and found.mask.any(0)[[0, -1]].all() and found.mask.any(1)[[0, -1]].all()
    assert 0 < empty < 200

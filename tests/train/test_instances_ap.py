"""Average precision of objects against pycocotools, and examples that can be checked by hand."""

import contextlib
import io
import math

import numpy as np
import pytest
from pycocotools import mask as pycoco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from seg_demo.annotations.listing import Sample
from seg_demo.core.types import LabelSet, Segment, Segmentation, paint, tight_box
from train.metrics import InstanceMeter, true_objects
from train.report import beside_standard

OBJECTS = LabelSet.from_names(["background", "cell", "coin"], background=0)


def instance_scene(rng, height, width):
    """A sample with disks of two classes, and a noisy prediction with duplicates, misses and phantoms."""
    instance_map = np.zeros((height, width), np.uint16)
    ys, xs = np.mgrid[:height, :width]
    classes = [0]
    for _ in range(rng.integers(0, 9)):
        y, x, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(3, 12)
        instance_map[(ys - y) ** 2 + (xs - x) ** 2 <= radius**2] = len(classes)
        classes.append(int(rng.integers(1, 3)))
    labels = np.array(classes, np.uint16)
    sample = Sample(np.zeros((height, width, 3), np.uint8), labels[instance_map].astype(np.uint8), instance_map, "s", labels)
    segments = []
    for number in np.unique(instance_map[instance_map > 0]).tolist() * 2:
        moved = np.roll(instance_map == number, rng.integers(-3, 4, 2), (0, 1))
        label_id = classes[number] if rng.random() < 0.8 else int(rng.integers(1, 3))
        segments.append((moved, label_id))
    segments.append(((ys < 9) & (xs < 8), 1))
    made = []
    for mask, label_id in segments:
        box = tight_box(mask)
        score = float(np.round(rng.random(), 3))
        made.append(Segment(label_id, score, box, mask[box[1] : box[3], box[0] : box[2]]))
    made.sort(key=lambda each: -each.score)
    return sample, Segmentation("instance", height, width, OBJECTS, paint(made, height, width), tuple(made))


def full_mask(segment, height, width):
    full = np.zeros((height, width), np.uint8, order="F")
    x0, y0, x1, y1 = segment.box
    full[y0:y1, x0:x1] = segment.mask
    return full


def by_pycocotools(scenes, cap: int = 100) -> dict[str, float]:
    """COCO's own evaluation of full masks, with at most so many candidates of a class in an image."""
    images, truth, found = [], [], []
    for image_id, (sample, prediction) in enumerate(scenes, 1):
        height, width = sample.label_map.shape
        images.append({"id": image_id, "height": height, "width": width})
        regions = [(sample.instance_map == n, int(sample.instance_labels[n]), 0) for n in np.unique(sample.instance_map)[1:]]
        if (sample.label_map == 255).any():
            regions += [(sample.label_map == 255, label_id, 1) for label_id in range(3)]
        for mask, label_id, crowd in regions:
            rle = pycoco_mask.encode(np.asfortranarray(mask, np.uint8))
            entry = {"image_id": image_id, "category_id": label_id, "segmentation": rle, "iscrowd": crowd}
            entry |= {"area": float(mask.sum()), "bbox": pycoco_mask.toBbox(rle).tolist()}
            truth.append(entry | {"id": len(truth) + 1})
        for segment in prediction.segments:
            rle = pycoco_mask.encode(full_mask(segment, height, width))
            bbox = pycoco_mask.toBbox(rle).tolist()
            entry = {"image_id": image_id, "category_id": segment.label_id, "segmentation": rle, "bbox": bbox}
            found.append(entry | {"score": segment.score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        categories = [{"id": index, "name": name} for index, name in enumerate(OBJECTS.names)]
        coco.dataset = {"info": {}, "images": images, "annotations": truth, "categories": categories}
        coco.createIndex()
        results = coco.loadRes(found)
        stats = {}
        for kind in ("segm", "bbox"):
            evaluation = COCOeval(coco, results, kind)
            evaluation.params.maxDets = [1, 10, cap]
            evaluation.evaluate()
            evaluation.accumulate()
            # summarize() looks for a cap of 100 by its number, and says -1 where there is none.
            precision = evaluation.eval["precision"][:, :, :, 0, 2]
            stats[kind] = [each[each > -1].mean() for each in (precision, precision[0], precision[5])]
    values = {"mask_ap": stats["segm"][0], "mask_ap50": stats["segm"][1], "mask_ap75": stats["segm"][2]}
    return {name: float(value) for name, value in values.items()} | {"box_ap": float(stats["bbox"][0])}


def test_average_precision_equals_pycocotools():
    rng = np.random.default_rng(3)
    scenes = [instance_scene(rng, height, width) for height, width in ((61, 47), (40, 90), (33, 33), (70, 70), (50, 51))]
    scenes[1][0].label_map[20:, 60:] = 255
    meter = InstanceMeter(OBJECTS)
    for sample, prediction in scenes:
        assert 0 <= meter.add(sample, prediction) <= 1
    result = meter.result()
    for name, value in by_pycocotools(scenes).items():
        assert result[name] == pytest.approx(value, abs=1e-9), name
    assert 0.05 < result["mask_ap"] < 0.95 and "mask_ap/background" not in result
    assert result["mask_ap"] == pytest.approx((result["mask_ap/cell"] + result["mask_ap/coin"]) / 2)
    assert all(type(value) is float for value in result.values())
    assert meter.result() == result, "asking twice changes nothing"


def test_per_image_f1_by_hand():
    instance_map = np.zeros((10, 20), np.uint16)
    instance_map[2:6, 2:6], instance_map[2:6, 12:16] = 1, 2
    sample = Sample(np.zeros((10, 20, 3), np.uint8), (instance_map > 0).astype(np.uint8), instance_map)
    hit = Segment(1, 0.9, (2, 2, 6, 6), np.ones((4, 4), bool))
    wrong_class = Segment(2, 0.8, (12, 2, 16, 6), np.ones((4, 4), bool))
    unsure = Segment(1, 0.4, (12, 2, 16, 6), np.ones((4, 4), bool))
    segments = (hit, wrong_class, unsure)
    prediction = Segmentation("instance", 10, 20, OBJECTS, paint(segments, 10, 20), segments)
    # Two objects, two candidates shown, one of them right: 2 * 1 / (2 + 2).
    meter = InstanceMeter(OBJECTS)
    assert meter.add(sample, prediction) == 0.5
    # One hit, one false, one missed.
    assert meter.result()["accuracy_50"] == 1 / 3
    empty = Segmentation("instance", 10, 20, OBJECTS, np.zeros((10, 20), np.uint8), ())
    assert InstanceMeter(OBJECTS).add(sample, empty) == 0.0


def test_what_lies_on_unlabelled_pixels_is_forgiven_beside_ap_too():
    instance_map = np.zeros((10, 20), np.uint16)
    instance_map[2:6, 2:6] = 1
    label_map = (instance_map > 0).astype(np.uint8)
    label_map[:, 10:] = 255
    sample = Sample(np.zeros((10, 20, 3), np.uint8), label_map, instance_map)

    def found(columns: list[int], found_too: bool = True) -> Segmentation:
        segments = tuple(Segment(1 + x % 2, 0.8, (x, 2, x + 4, 6), np.ones((4, 4), bool)) for x in columns)
        segments = (Segment(1, 0.9, (2, 2, 6, 6), np.ones((4, 4), bool)),) * found_too + segments
        return Segmentation("instance", 10, 20, OBJECTS, paint(segments, 10, 20), segments)

    # Wholly there, of either class, and half there; a quarter is not enough.
    for columns, others in (([12, 13, 8], 0), ([7], 1), ([12, 7], 1)):
        meter = InstanceMeter(OBJECTS)
        assert meter.add(sample, found(columns)) == 2 / (2 + others)
        assert meter.result()["accuracy_50"] == 1 / (1 + others)
    meter = InstanceMeter(OBJECTS)
    assert meter.add(sample, found([12], found_too=False)) == 0
    # Where no object is, nothing is missed either.
    nothing = Sample(sample.image, np.where(label_map == 1, 0, label_map).astype(np.uint8), np.zeros_like(instance_map))
    assert meter.add(nothing, found([12], found_too=False)) == 1 and meter.add(nothing, found([2], found_too=False)) == 0


def test_no_object_in_the_data_has_no_precision_and_no_candidate_has_zero():
    blank = Sample(np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9), np.uint8), np.zeros((8, 9), np.uint16))
    empty = Segmentation("instance", 8, 9, OBJECTS, np.zeros((8, 9), np.uint8), ())
    meter = InstanceMeter(OBJECTS)
    assert meter.add(blank, empty) == 1.0
    assert meter.result() == {}
    one = np.zeros((8, 9), np.uint16)
    one[2:5, 3:6] = 300
    meter.add(Sample(blank.image, (one > 0).astype(np.uint8), one), empty)
    assert meter.result()["mask_ap"] == 0.0


def test_the_class_of_an_object_is_the_known_one_under_it():
    # A cell with a border of two classes that the objects' label set does not have, or that is background there.
    instance_map, label_map = np.zeros((2, 6, 6), np.uint16)
    instance_map[1:5, 1:5] = 7
    label_map[1:5, 1:5], label_map[2:4, 2:4] = 9, 2
    sample = Sample(np.zeros((6, 6, 3), np.uint8), label_map, instance_map)
    (only,) = true_objects(sample, OBJECTS).segments
    assert only.label_id == 2 and only.box == (1, 1, 5, 5) and only.mask.all()
    with pytest.raises(ValueError, match="instance map"):
        true_objects(Sample(sample.image, label_map), OBJECTS)


def crowded(rng, count, classes=1):
    """A sample of so many squares, and a prediction that finds most, some of them twice, and some that are none."""
    side = 8 * math.ceil(math.sqrt(count)) + int(rng.integers(0, 8))
    instance_map = np.zeros((side + 5, side), np.uint16)
    labels, made = [0], []
    for number in range(1, count + 1):
        row, column = divmod(number - 1, side // 8)
        label_id = 1 + number % classes
        labels.append(label_id)
        top, left = 8 * row + 1, 8 * column + 1
        instance_map[top : top + 6, left : left + 6] = number
        for _ in range(int(rng.choice([0, 1, 1, 1, 1, 2]))):
            shift = int(rng.integers(0, 3))
            box = (left, top, left + 6 - shift, top + 6)
            made.append(Segment(label_id, float(np.round(rng.random(), 3)), box, np.ones((6, 6 - shift), bool)))
    made += [Segment(1, float(rng.random()), (0, 0, 4, 4), np.ones((4, 4), bool)) for _ in range(int(rng.integers(0, 60)))]
    made.sort(key=lambda each: -each.score)
    known = np.array(labels, np.uint16)
    sample = Sample(np.zeros((*instance_map.shape, 3), np.uint8), known[instance_map].astype(np.uint8), instance_map, "s", known)
    return sample, Segmentation("instance", *instance_map.shape, OBJECTS, paint(made, *instance_map.shape), tuple(made))


@pytest.mark.parametrize(("count", "classes"), [(101, 1), (180, 2), (256, 1), *(pytest.param(count, classes, marks=pytest.mark.soak) for count, classes in ((100, 1), (250, 2)))])
def test_the_cap_is_lifted_where_the_data_holds_more(count, classes):
    rng = np.random.default_rng(count)
    scenes = [crowded(rng, count, classes), crowded(rng, 30, 2)]
    meter = InstanceMeter(OBJECTS)
    for scene in scenes:
        meter.add(*scene)
    result = meter.result()
    lifted = count / classes > 100
    for name, value in by_pycocotools(scenes, 100_000 if lifted else 100).items():
        assert result[name] == pytest.approx(value, abs=1e-9), name
    standard = by_pycocotools(scenes, 100)
    for name, value in standard.items():
        assert result.get(f"{name}@100", result[name]) == pytest.approx(value, abs=1e-9), name
    # Of 101 objects, the last candidates may change nothing.
    assert count == 101 or ("mask_ap@100" in result) == lifted
    assert count != 256 or result["mask_ap50"] > 1.1 * result["mask_ap50@100"]


def test_a_perfect_detector_of_a_crowd_is_perfect():
    sample, _ = crowded(np.random.default_rng(0), 256)
    found = true_objects(sample, OBJECTS)
    meter = InstanceMeter(OBJECTS)
    meter.add(sample, Segmentation("instance", found.height, found.width, OBJECTS, found.id_map, found.segments))
    result = meter.result()
    assert result["mask_ap"] == result["mask_ap50"] == result["box_ap"] == result["accuracy_50"] == 1.0
    assert result["mask_ap50@100"] == pytest.approx(0.396, abs=1e-3)
    said = beside_standard("mask_ap", result)
    assert "0.3960" in said and "100" in said and beside_standard("mean_iou", result) == ""

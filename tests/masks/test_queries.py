"""Segments of class queries: the oracle is transformers' own post-processing of the same outputs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco
from transformers import (
    DetrImageProcessor,
    EomtImageProcessor,
    Mask2FormerImageProcessor,
    MaskFormerImageProcessor,
    OneFormerImageProcessor,
    RfDetrImageProcessor,
)
from transformers.image_transforms import get_size_with_aspect_ratio

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import Segment, paint
from seg_demo.masks import instances, queries, semantic
from seg_demo.masks.queries import Order, Thresholds
from seg_demo.masks.resize import evaluate, find_antialiased_rule
from seg_demo.masks.semantic import argmax_resized

CLASSES = 6
ORDERS = {
    Mask2FormerImageProcessor: Order(grid=(384, 384)),
    MaskFormerImageProcessor: Order(),
    DetrImageProcessor: Order(),
    OneFormerImageProcessor: Order(antialias=True),
}
# Up, down, mixed, odd, tiny, a row, and the grid's own.
SIZES = [(301, 407), (61, 43), (19, 501), (700, 33), (1, 200), (384, 384), (130, 7)]


def blobs(count: int, height: int, width: int, seed: int, smooth: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Class and mask logits as a trained network gives them: masks that are sure but for their edges."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((1, count, smooth, smooth), generator=generator)
    masks = 12 * F.interpolate(coarse, (height, width), mode="bicubic")[0] - 3
    masks += torch.randn(masks.shape, generator=generator) * 0.1
    classes = 4 * torch.randn((count, CLASSES + 1), generator=generator)
    return classes, masks


def noise(count: int, height: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.randn((count, CLASSES + 1), generator=generator), 3 * torch.randn((count, height, width), generator=generator)


def outputs(classes: torch.Tensor, masks: torch.Tensor) -> SimpleNamespace:
    named = {"class_queries_logits": classes[None], "masks_queries_logits": masks[None], "logits": classes[None], "pred_masks": masks[None]}
    return SimpleNamespace(**{name: tensor.clone() for name, tensor in named.items()}, patch_offsets=None)


def processor(kind: type) -> object:
    made = kind.__new__(kind)
    made.size = {"shortest_edge": 96, "longest_edge": 96}
    return made


def theirs(info: dict, void: int = 0) -> tuple[np.ndarray, list[tuple[int, float]]]:
    """transformers' result as ours is: ids from 1 in the order of the segments, none as 0."""
    segments = [(segment["label_id"], segment["score"]) for segment in info["segments_info"]]
    segmentation = info["segmentation"].numpy()
    return (np.zeros(segmentation.shape, int) if not segments else segmentation - void), segments


def assert_equal(found: queries.Found, info: dict, void: int = 0) -> None:
    id_map, segments = theirs(info, void)
    np.testing.assert_array_equal(found.id_map, id_map)
    assert list(zip(found.label_ids, found.scores, strict=True)) == segments


@pytest.fixture(params=["dense", "corners", "strips", "queries"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the ways, whatever the size; what cannot be taken falls back as it does otherwise."""
    if request.param != "dense":
        monkeypatch.setattr(queries, "DENSE_ELEMENTS", 0)
    if request.param == "corners":
        monkeypatch.setattr(queries, "WORTH", 2)
    if request.param == "strips":
        monkeypatch.setattr(queries, "WORTH", -1)
        monkeypatch.setattr(queries, "CORNER_BUDGET", 60_000)
    if request.param == "queries":
        monkeypatch.setattr(queries, "find_rule", lambda *_: None)
        monkeypatch.setattr(queries, "find_antialiased_rule", lambda *_: None)
    return request.param


@pytest.mark.parametrize(
    ("kind", "make"),
    [(kind, blobs) for kind in ORDERS] + [pytest.param(kind, noise, marks=() if kind is OneFormerImageProcessor else pytest.mark.soak) for kind in ORDERS],
    ids=lambda value: value.__name__.removesuffix("ImageProcessor"),
)
def test_panoptic_segments_are_the_processors(kind: type, make: object, way: str) -> None:
    for seed, (height, width) in enumerate(SIZES):
        classes, masks = make(9, 24, 31, seed)
        info = kind.post_process_panoptic_segmentation(
            processor(kind), outputs(classes, masks), threshold=0.4, overlap_mask_area_threshold=0.3, target_sizes=[(height, width)]
        )[0]
        found = queries.without_overlaps(classes, masks, height, width, ORDERS[kind], Thresholds(0.4, 0.5, 0.3))
        assert_equal(found, info)


@pytest.mark.parametrize("make", [blobs, noise])
def test_eomts_panoptic_segments_are_the_processors(make: object, way: str) -> None:
    for seed, (height, width) in enumerate([(301, 407), (61, 43), (900, 40), (50, 50)]):
        classes, masks = make(9, 24, 24, seed)
        own = processor(EomtImageProcessor)
        info = own.post_process_panoptic_segmentation(
            outputs(classes, masks), [(height, width)], threshold=0.4, overlap_mask_area_threshold=0.3
        )[0]
        found = queries.without_overlaps(classes, masks, height, width, eomt(height, width), Thresholds(0.4, 0.5, 0.3))
        assert_equal(found, info, void=-1)


def eomt(height: int, width: int) -> Order:
    return Order(grid=(96, 96), crop=get_size_with_aspect_ratio((height, width), 96, 96), late=True, cut=True)


def test_most_of_a_trained_networks_masks_is_decided_by_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred queries at two megapixels, in each way; and neither takes the other's."""
    monkeypatch.setattr(queries, "CORNER_BUDGET", 100_000)
    classes, masks = blobs(100, 96, 96, 0, smooth=9)
    order, thresholds = Order(grid=(384, 384)), Thresholds(0.3, 0.5, 0.1)
    monkeypatch.setattr(queries._Pixels, "_by_queries", None)
    by_corners = queries.without_overlaps(classes, masks, 1200, 1700, order, thresholds)
    monkeypatch.undo()
    monkeypatch.setattr(queries, "find_rule", lambda *_: None)
    by_queries = queries.without_overlaps(classes, masks, 1200, 1700, order, thresholds)
    np.testing.assert_array_equal(by_corners.id_map, by_queries.id_map)
    assert (by_corners.label_ids, by_corners.scores) == (by_queries.label_ids, by_queries.scores)
    assert len(by_corners.label_ids) > 5


def test_the_first_of_equal_queries_wins_and_its_twin_is_dropped(way: str) -> None:
    classes, masks = blobs(4, 24, 31, 0)
    classes[:] = torch.tensor([9.0] + [0.0] * CLASSES)
    masks = masks[[0, 0, 1, 1]]
    info = MaskFormerImageProcessor.post_process_panoptic_segmentation(
        processor(MaskFormerImageProcessor), outputs(classes, masks), target_sizes=[(300, 411)]
    )[0]
    found = queries.without_overlaps(classes, masks, 300, 411, Order(), Thresholds())
    assert_equal(found, info)
    assert len(found.label_ids) <= 2


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17])
def test_any_number_of_queries(count: int, way: str) -> None:
    for kind, order in ORDERS.items():
        classes, masks = blobs(count, 24, 31, count)
        classes[:, -1] -= 8
        info = kind.post_process_panoptic_segmentation(
            processor(kind), outputs(classes, masks), threshold=0.2, overlap_mask_area_threshold=0.1, target_sizes=[(211, 300)]
        )[0]
        assert_equal(queries.without_overlaps(classes, masks, 211, 300, order, Thresholds(0.2, 0.5, 0.1)), info)


@pytest.mark.parametrize("kind", ORDERS, ids=lambda kind: kind.__name__.removesuffix("ImageProcessor"))
def test_no_segment_at_all(kind: type) -> None:
    classes, masks = blobs(5, 24, 31, 0)
    for nothing in (masks, masks * 0 - 50):
        found = queries.without_overlaps(classes - (nothing is masks) * classes, nothing, 200, 150, ORDERS[kind], Thresholds(0.9))
        assert (found.label_ids, found.scores, found.id_map.any()) == ((), (), False)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("order", [Order(), Order(grid=(60, 80)), Order(late=True, grid=(96, 96), crop=(96, 72), cut=True)])
def test_no_object_at_all(order: Order, count: int) -> None:
    """Of three hundred classes none may be likely enough that a query's mask is looked at."""
    _, masks = blobs(count, 24, 31, 0)
    find = instances.late_instances if order.late else instances.early_instances
    for size in ((200, 150), (40, 30)):
        assert find(torch.zeros(count, 301), masks, *size, order, 0.05) == []
        assert instances.sigmoid_instances(torch.full((count, 300), -9.0), masks, *size) == []


def test_a_share_of_four_fifths_is_kept_as_the_library_keeps_it() -> None:
    """0.8 in float32 is above 0.8."""
    masks = torch.full((2, 1, 5), -9.0)
    masks[0] = 5.0
    masks[1, 0, 4] = 9.0
    classes = torch.tensor([[3.0, 0.0], [9.0, 0.0]])
    info = MaskFormerImageProcessor.post_process_panoptic_segmentation(
        processor(MaskFormerImageProcessor), outputs(classes, masks), target_sizes=[(1, 5)]
    )[0]
    found = queries.without_overlaps(classes, masks, 1, 5, Order(), Thresholds())
    assert_equal(found, info)
    assert len(found.label_ids) == 2


def test_a_fused_class_is_one_segment_and_every_thing_has_a_number_of_its_own() -> None:
    """transformers sets its counter back after a fused class: two things can get one id."""
    masks = torch.full((5, 8, 10), -9.0)
    for index in range(5):
        masks[index, :, 2 * index : 2 * index + 2] = 9.0
    classes = torch.zeros((5, CLASSES + 1))
    for index, label in enumerate([1, 0, 0, 1, 0]):
        classes[index, label] = 9.0 + index / 10
    info = MaskFormerImageProcessor.post_process_panoptic_segmentation(
        processor(MaskFormerImageProcessor), outputs(classes, masks), label_ids_to_fuse={1}, target_sizes=[(160, 210)]
    )[0]
    assert [segment["id"] for segment in info["segments_info"]] == [1, 2, 3, 1, 2]
    found = queries.without_overlaps(classes, masks, 160, 210, Order(), Thresholds(), frozenset({1}))
    assert found.label_ids == (1, 0, 0, 0)
    assert found.scores[0] == info["segments_info"][3]["score"]
    # The same pixels have the same classes, and no segment of ours lies in two of theirs.
    classes_of_theirs = {segment["id"]: segment["label_id"] for segment in info["segments_info"]}
    for number in range(1, 5):
        (at,) = np.unique(info["segmentation"].numpy()[found.id_map == number])
        assert classes_of_theirs[int(at)] == found.label_ids[number - 1]
    np.testing.assert_array_equal(found.id_map == 0, info["segmentation"].numpy() == 0)


@pytest.mark.parametrize("kind", [Mask2FormerImageProcessor, MaskFormerImageProcessor], ids=["Mask2Former", "MaskFormer"])
@pytest.mark.parametrize("make", [blobs, noise])
def test_instances_are_the_processors(kind: type, make: object) -> None:
    for seed, (height, width) in enumerate(SIZES):
        classes, masks = make(9, 24, 31, seed)
        masks[0] = -9
        info = kind.post_process_instance_segmentation(
            processor(kind), outputs(classes, masks), threshold=0.3, target_sizes=[(height, width)], return_binary_maps=True
        )[0]
        found = instances.early_instances(classes, masks, height, width, ORDERS[kind], 0.3)
        assert [(instance.label_id, instance.score) for instance in found] == theirs(info)[1]
        for instance, mask in zip(found, info["segmentation"].numpy() if found else (), strict=True):
            assert instance.score <= 1
            x0, y0, x1, y1 = instance.box
            np.testing.assert_array_equal(instance.mask, mask[y0:y1, x0:x1] == 1)
            assert instance.mask.sum() == mask.sum() and instance.mask[0].any() and instance.mask[:, -1].any()


@pytest.mark.parametrize("worth", [0, 2], ids=["whole", "boxes"])
def test_eomts_instances_are_the_processors(worth: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "WORTH", worth)
    own = processor(EomtImageProcessor)
    for make in (blobs, noise):
        for seed, (height, width) in enumerate([(301, 407), (61, 43), (900, 40), (50, 50)]):
            classes, masks = make(9, 24, 24, seed)
            info = own.post_process_instance_segmentation(outputs(classes, masks), target_sizes=[(height, width)], threshold=0.3)[0]
            found = instances.late_instances(classes, masks, height, width, eomt(height, width), 0.3)
            assert [(instance.label_id, instance.score) for instance in found] == theirs(info)[1]
            painted = np.full((height, width), -1)
            for index, instance in enumerate(found):
                x0, y0, x1, y1 = instance.box
                painted[y0:y1, x0:x1][instance.mask] = index
            np.testing.assert_array_equal(painted, info["segmentation"].numpy())


def test_oneformers_instances_are_the_processors(way: str) -> None:
    """Raw logits times the score, several classes of one query."""
    own = OneFormerImageProcessor.__new__(OneFormerImageProcessor)
    own.class_info_file = "coco"
    for make in (blobs, noise):
        for seed, (height, width) in enumerate(SIZES):
            classes, masks = make(9, 24, 31, seed)
            info = own.post_process_instance_segmentation(
                outputs(classes, masks), threshold=0.2, overlap_mask_area_threshold=0.1, target_sizes=[(height, width)]
            )[0]
            order = Order(logits=True, antialias=True)
            assert_equal(queries.best_pairs_without_overlaps(classes, masks, height, width, order, Thresholds(0.2, 0.5, 0.1)), info)


@pytest.mark.parametrize("kind", ORDERS, ids=lambda kind: kind.__name__.removesuffix("ImageProcessor"))
def test_class_maps_are_the_processors(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, (height, width) in enumerate(SIZES):
        classes, masks = blobs(9, 24, 31, seed)
        maps = queries.class_maps(classes, masks, ORDERS[kind])
        (dense,) = kind.post_process_semantic_segmentation(processor(kind), outputs(classes, masks))
        np.testing.assert_array_equal(maps.argmax(0), dense)
        (dense,) = kind.post_process_semantic_segmentation(processor(kind), outputs(classes, masks), target_sizes=[(height, width)])
        antialias = kind is OneFormerImageProcessor
        np.testing.assert_array_equal(argmax_resized(maps, height, width, antialias), dense)
        monkeypatch.setattr(semantic, "DENSE_ELEMENTS", 0)
        np.testing.assert_array_equal(argmax_resized(maps, height, width, antialias), dense)


@pytest.mark.parametrize("make", [blobs, noise, pytest.param(lambda *given: tuple(part.round() for part in noise(*given)), id="ties")])
def test_label_maps_of_squares_are_the_processors(make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide, upright, in three squares and in one; by points and with all maps."""
    by_points = semantic.SquaresOfQueries.labels
    monkeypatch.setattr(queries, "DENSE_ELEMENTS", 0)
    for seed, size in enumerate([(301, 407), (700, 401), (130, 340), (333, 333)]):
        own = EomtImageProcessor(size={"shortest_edge": 96, "longest_edge": None}, do_split_image=True)
        fitted = get_size_with_aspect_ratio(size, 96, None)
        _, offsets = own._split_image(torch.zeros(1, 1, *fitted), own.size, [0])
        masks = torch.stack([make(9, 24, 24, 10 * seed + index)[1] for index in range(len(offsets))])
        # As many classes as make the products of matrices alike for all points and for some; with few they are not, and all maps are made.
        classes = (4 * torch.randn((len(masks), 9, 20), generator=torch.Generator().manual_seed(seed))).round()
        given = SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks, patch_offsets=offsets)
        dense = own.post_process_semantic_segmentation(given, target_sizes=[size])[0].numpy()
        squares = queries.Squares(classes, masks, (96, 96), fitted, tuple((begin, end) for _, begin, end in offsets), size[0] > size[1])
        used: list[object] = []
        monkeypatch.setattr(semantic.SquaresOfQueries, "labels", lambda *given: used.append(by_points(*given)) or used[-1])
        np.testing.assert_array_equal(squares.labels(*size), dense)
        assert used
        np.testing.assert_array_equal(argmax_resized(squares.maps(), *size), dense)
        sure = semantic.probability_and_margin(queries.logarithms(squares.maps()), *size)
        assert np.abs(sure.astype(int) - squares.probability_and_margin(*size)).max() <= 1


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(broken: float) -> None:
    classes, masks = blobs(3, 8, 8, 0)
    masks[1, 2, 3] = broken
    for ask in (
        lambda: queries.without_overlaps(classes, masks, 40, 50, Order(), Thresholds()),
        lambda: instances.early_instances(classes, masks, 40, 50, Order()),
        lambda: queries.class_maps(classes, masks, Order()),
        lambda: queries.Squares(classes[None], masks[None], (8, 8), (8, 8), ((0, 8),), False).labels(40, 50),
    ):
        with pytest.raises(BadCheckpointError):
            ask()


def test_antialiased_values_have_the_bits_of_the_library() -> None:
    """Up and alike; where a side shrinks there is no rule."""
    for target in ((150, 170), (24, 31), (1000, 33)):
        rule = find_antialiased_rule((24, 31), target)
        assert rule is not None
        values = torch.rand((3, 24, 31), generator=torch.Generator().manual_seed(0))
        theirs = F.interpolate(values[None], target, mode="bilinear", antialias=True, align_corners=False)[0]
        assert torch.equal(evaluate(values, rule.rows, rule.columns, rule.combine), theirs)
    assert find_antialiased_rule((24, 31), (150, 20)) is None


@pytest.mark.parametrize("make", [blobs, noise])
@pytest.mark.parametrize("find", ["early", "late", "sigmoid"])
def test_an_object_is_the_same_however_its_mask_is_kept(find: str, make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a crop, as runs, at the low size: masks, areas, runs, what is painted, and parts of tiles."""
    classes, masks = make(9, 24, 31, 0)
    height, width = 200, 300
    ways = {
        "early": lambda: instances.early_instances(classes, masks, height, width, Order(), 0.1),
        "late": lambda: instances.late_instances(classes, masks, height, width, Order(late=True), 0.1),
        "sigmoid": lambda: instances.sigmoid_instances(classes, masks, height, width, 0.1),
    }
    plenty = ways[find]()
    monkeypatch.setattr(instances, "KEPT", 0)
    little = ways[find]()
    assert len(plenty) > 3 and all(type(segment) is not Segment and segment.has_mask for segment in little)
    for one, other in zip(plenty, little, strict=True):
        assert (one.label_id, one.score, one.box, one.area) == (other.label_id, other.score, other.box, other.area)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.area == one.mask.sum()
        x0, y0, x1, y1 = one.box
        whole = np.zeros((height, width), np.uint8)
        whole[y0:y1, x0:x1] = one.mask
        expected = coco.encode(np.asfortranarray(whole))["counts"].decode()
        moved = other.moved(7, 9)
        assert all(segment.runs(height).encoded(width)["counts"] == expected for segment in (one, other))
        assert moved.box == tuple(a + b for a, b in zip(one.box, (7, 9, 7, 9), strict=True)) and moved.area == one.area
        np.testing.assert_array_equal(moved.runs(height + 9).crop((7, 9, width + 7, height + 9)), whole)
        pieces = [instances.cropped(segment, 90, 120) for segment in (one, other)]
        part = one.mask[: max(0, 90 - y0), : max(0, 120 - x0)]
        assert [piece is None for piece in pieces] == [not part.any()] * 2
        assert all(piece is None or piece.mask.sum() == part.sum() for piece in pieces)
    for found in (plenty, little):
        np.testing.assert_array_equal(instances.paint_objects(found, height, width), paint(found, height, width))


@pytest.mark.parametrize("order", [Order(grid=(60, 80)), Order(), Order(late=True, grid=(96, 96), crop=(96, 70), cut=True)])
def test_confidence_is_the_chance_of_the_query_that_wins_a_pixel(order: Order, way: str) -> None:
    classes, masks = blobs(9, 24, 31, 4)
    height, width = 203, 157
    found = queries.without_overlaps(classes, masks, height, width, order, Thresholds(0.4, 0.5, 0.3), confidence=True)
    plain = queries.without_overlaps(classes, masks, height, width, order, Thresholds(0.4, 0.5, 0.3))
    np.testing.assert_array_equal(found.id_map, plain.id_map)
    assert plain.confidence is None and len(found.label_ids) > 2
    scores, label_ids = classes.softmax(-1).max(-1)
    kept = label_ids.ne(CLASSES) & (scores > 0.4)
    logits = masks[kept][None] if order.grid is None else F.interpolate(masks[kept][None], order.grid, mode="bilinear")
    if order.crop:
        logits = logits[:, :, : order.crop[0], : order.crop[1]]
    likely = logits if order.late else logits.sigmoid()
    likely = F.interpolate(likely, (height, width), mode="bilinear")[0]
    chance = ((likely.sigmoid() if order.late else likely) * scores[kept][:, None, None]).amax(0).numpy()
    expected = 255 * np.where(found.id_map > 0, chance, 1 - chance)
    assert np.abs(found.confidence - expected).max() <= 1


def test_objects_are_sure_where_any_query_is() -> None:
    classes, masks = blobs(9, 24, 31, 4)
    scores = classes.softmax(-1)[:, :-1].amax(-1)
    sure = instances.presence(scores, masks, 97, 123, Order())
    expected = F.interpolate((masks.sigmoid() * scores[:, None, None]).amax(0)[None, None], (97, 123), mode="bilinear")[0, 0]
    assert sure.dtype == np.uint8 and np.abs(sure - 255 * expected.numpy()).max() <= 1


@pytest.mark.parametrize("make", [blobs, noise])
def test_rfdetrs_detections_are_the_processors(make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    total = 0
    for seed, (height, width) in enumerate([*SIZES, (701, 533)]):
        for kept in (0, 4):
            monkeypatch.setattr(instances, "KEPT", kept)
            classes, masks = make(3 if seed == 1 else 9, 24, 31, seed)
            masks[0] = -9
            classes[1], masks[2] = classes[2], masks[2].round().clamp(-1, 1)
            info = RfDetrImageProcessor().post_process_instance_segmentation(
                outputs(classes, masks), threshold=0.3, target_sizes=[(height, width)], return_binary_maps=True
            )[0]
            found = instances.sigmoid_instances(classes, masks, height, width, 0.3)
            assert [(instance.label_id, instance.score) for instance in found] == theirs(info)[1]
            total += len(found)
            for instance, mask in zip(found, info["segmentation"].numpy(), strict=True):
                x0, y0, x1, y1 = instance.box
                np.testing.assert_array_equal(instance.mask, mask[y0:y1, x0:x1])
                assert instance.mask.sum() == mask.sum() and instance.mask[0].any() and instance.mask[:, -1].any()
            # Its map is ours, but for the numbers of those that cannot be seen.
            visible = RfDetrImageProcessor().post_process_instance_segmentation(
                outputs(classes, masks), threshold=0.3, target_sizes=[(height, width)]
            )[0]
            id_map = paint(found, height, width)
            seen, compact = np.unique(id_map, return_inverse=True)
            void = 0 if 0 in seen else -1
            np.testing.assert_array_equal(compact.reshape(id_map.shape) - void, np.maximum(visible["segmentation"].numpy(), 0))
            assert [(found[index - 1].label_id, found[index - 1].score) for index in seen if index] == theirs(visible)[1]
    assert total > 20

"""Datasets as other tools write them: instance maps, class lists, nonsense, and readings of which a person has to choose one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from seg_demo.annotations.classes import read_classes
from seg_demo.core.errors import DataError
from seg_demo.core.types import LabelSet
from seg_demo.datasets.sample import IGNORE_ID, from_mask
from seg_demo.inputs.mask_files import numbers_meant, read_mask, read_object_map
from seg_demo.inputs.object_maps import MOST_OBJECTS
from seg_demo.masks.compare import label_ids
from seg_demo.ui import finetune_view
from tests.small_datasets import picture, save, save_palette, write_json
from train.data import examine, open_dataset, split
from train.evaluate import FILE, GAP, LINE, with_picture
from train.evaluate import SIDE as SHOWN

SIDE = 64
PLACES = [(2, 2), (2, 30), (25, 2), (25, 30), (45, 10)]


def objects(index: int = 0, numbers=(1, 2, 3, 4, 5)) -> np.ndarray:
    """int64 (64, 64): five squares of 12 pixels a side, moved with the index."""
    ids = np.zeros((SIDE, SIDE), np.int64)
    for number, (y, x) in zip(numbers, PLACES, strict=True):
        ids[y + index : y + index + 12, x + index : x + index + 12] = number
    return ids


def dataset(root: Path, write, classes: str | None = None, sub: str = "masks", listed: str = "classes.txt", count: int = 4, suffix: str = "png") -> Path:
    for index in range(count):
        save(picture(index, SIDE, SIDE), root / "images" / f"{index}.png")
        (root / sub).mkdir(exist_ok=True)
        made = write(index)
        path = root / sub / f"{index}.{suffix}"
        if suffix == "tif" or made.dtype not in (np.uint8, np.uint16, bool):
            tifffile.imwrite(path.with_suffix(".tif"), made)
        else:
            save(made, path)
    if classes is not None:
        (root / listed).write_bytes(classes.encode() if isinstance(classes, str) else classes)
    return root


def look(root: Path, reading: str | None = None):
    found = open_dataset(str(root), seed=0, size=None, workers=1, progress=False, reading=reading)
    return found, examine(found, *split(found, 0.3, 0))


def areas(found) -> list[int]:
    return np.bincount(found.read(found.items[0]).instance_map.ravel())[1:].tolist()


VOC = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]], np.uint8)
SPREAD = np.array([0, 1, 257, 65_537, 70_000, 3_000_000])


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda i: VOC[objects(i)], "Objects in instances/ are colours: each colour is one object (5 in instances/0.png)."),
        # COCO's panoptic PNGs: R + 256 G + 65536 B.
        (lambda i: np.stack([SPREAD[objects(i)] >> shift & 255 for shift in (0, 8, 16)], 2).astype(np.uint8), "are colours"),
        # ADE20K: classes in red and green, objects in blue.
        (lambda i: np.stack([(objects(i) > 0) * 30, (objects(i) > 0) * 7, objects(i)], 2).astype(np.uint8), "are colours"),
        (lambda i: SPREAD[objects(i)].astype(np.uint32), "go up to 3000000"),
        (lambda i: SPREAD[objects(i)].astype(np.float64), "go up to 3000000"),
        (lambda i: objects(i) - 1, "numbers below 0 are ignored"),
        (lambda i: (objects(i) * 1000).astype(np.uint16), None),
        (lambda i: np.repeat(objects(i)[..., None].astype(np.uint8), 3, 2), None),
        (lambda i: np.where(objects(i) == 0, 255, objects(i)).astype(np.uint8), "No pixel of instances/ is 0: 255"),
        (lambda i: np.where((objects(i) == 0)[..., None], 255, VOC[objects(i)]).astype(np.uint8), "No pixel of instances/ is 0: #ffffff"),
    ],
)
def test_objects_are_understood_however_they_are_numbered(tmp_path, write, said):
    found, diagnosis = look(dataset(tmp_path, write, sub="instances"))
    assert diagnosis.ok, diagnosis.report()
    # One of the five is not there in maps that begin to count from -1.
    assert areas(found) == [144] * (4 if said and "below 0" in said else 5)
    assert said is None or any(said in note for note in found.notes), found.notes
    assert diagnosis.class_pixels[1] == 4 * 144 * len(areas(found))


def test_cvat_s_objects_beside_its_classes(tmp_path):
    """Segmentation mask 1.1, with labelmap.txt and without."""
    for index in range(4):
        save(picture(index, SIDE, SIDE), tmp_path / "JPEGImages" / f"{index}.png")
        save(VOC[objects(index)], tmp_path / "SegmentationObject" / f"{index}.png")
        save(np.where((objects(index) > 0)[..., None], (250, 50, 83), 0).astype(np.uint8), tmp_path / "SegmentationClass" / f"{index}.png")
    for lines, name in ((None, "#fa3253"), ("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncell:250,50,83::\n", "cell")):
        if lines:
            (tmp_path / "labelmap.txt").write_text(lines)
        found, diagnosis = look(tmp_path)
        assert diagnosis.ok and found.labels.names == ("background", name) and areas(found) == [144] * 5


def test_voc_objects_with_their_border(tmp_path):
    colours = [tuple(map(int, colour)) for colour in VOC] + [(0, 0, index) for index in range(6, 255)] + [(224, 224, 192)]
    for index in range(4):
        ids = objects(index).astype(np.uint8)
        ids[0] = 255
        save(picture(index, SIDE, SIDE), tmp_path / "images" / f"{index}.png")
        save_palette(ids, colours, tmp_path / "instances" / f"{index}.png")
    found, diagnosis = look(tmp_path)
    sample = found.read(found.items[0])
    assert diagnosis.ok and areas(found) == [144] * 5 and (sample.label_map[0] == 255).all()


def test_cityscapes_numbers_say_classes_and_objects(tmp_path):
    def write(index):
        ids = objects(index, (24_000, 24_001, 26_000, 26_001, 7))
        return np.where(ids == 0, 11, ids).astype(np.uint16)

    names = {"7": "road", "11": "building", "24": "person", "26": "car"}
    root = dataset(tmp_path, write, sub="instances")
    write_json(names, root / "labels.json")
    found, diagnosis = look(root)
    assert diagnosis.ok and found.labels.names == ("road", "building", "person", "car"), diagnosis.report()
    sample = found.read(found.items[0])
    assert areas(found) == [144] * 4 and [int((sample.label_map == label).sum()) for label in range(4)] == [144, 64 * 64 - 720, 288, 288]
    assert diagnosis.class_pixels == (4 * 144, 4 * (64 * 64 - 720), 4 * 288, 4 * 288)


def test_lossy_maps_are_refused_and_pages_are_objects(tmp_path):
    root = dataset(tmp_path / "a", lambda i: (objects(i) * 40).astype(np.uint8), sub="instances", suffix="jpg")
    _, diagnosis = look(root)
    assert {fault.kind for fault in diagnosis.faults} >= {"JPEG mask"} and "rounding cannot" in diagnosis.faults[0].remedy + diagnosis.report()

    def stack(index):
        return np.stack([(objects(index) == number).astype(np.uint8) * 255 for number in range(1, 6)])

    root = dataset(tmp_path / "b", stack, suffix="tif")
    _, diagnosis = look(root)
    assert all(fault.kind in ("several pages", "class never occurs", "too few images") for fault in diagnosis.faults) and "5 pages" in diagnosis.report()
    (root / "masks").rename(root / "instances")  # as the remedy says
    found, diagnosis = look(root)
    assert diagnosis.ok and areas(found) == [144] * 5 and any("each page was read as one object" in note for note in found.notes)


def three(index: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4:20, 4 + index : 20 + index], mask[30:50, 30:60], mask[60:] = 1, 2, 255
    return mask


@pytest.mark.parametrize(
    ("listed", "text", "names"),
    [
        ("labels.txt", "__ignore__\n_background_\ncat\ndog\n", ("_background_", "cat", "dog")),
        ("labels.txt", "\ufeff__ignore__\r\n_background_\r\ncat  \r\ndog\r\n\r\n", ("_background_", "cat", "dog")),
        ("labels.txt", "# of labelme\n__ignore__\n_background_\ncat\ndog\n", ("_background_", "cat", "dog")),
        ("classes.txt", "void\nbackground\ncat\ndog\n", ("background", "cat", "dog")),
        ("classes.txt", "unlabeled\nsky\ncat\ndog\n", ("sky", "cat", "dog")),
        ("class_names.txt", "_background_\ncat\ndog\n", ("_background_", "cat", "dog")),
        ("class_names.txt", "background\ncat\ndog\nvoid\n", ("background", "cat", "dog")),
        ("classes.json", '["background", "cat", "dog"]', ("background", "cat", "dog")),
        ("classes.txt", "-1: ignore\n0: background\n1: cat\n2: dog\n", ("background", "cat", "dog")),
        ("classes.txt", "background: 0\ncat: 1\ndog: 2\n", ("background", "cat", "dog")),
        ("classes.txt", "cat\ndog\n", ("background", "cat", "dog")),
        ("labels.json", '{"-1": "ignore", "0": "background", "1": "cat", "2": "dog"}', ("background", "cat", "dog")),
        ("_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n2, dog\n", ("background", "cat", "dog")),
    ],
)
def test_class_lists_of_other_tools_do_not_shift(tmp_path, listed, text, names):
    found, diagnosis = look(dataset(tmp_path, three, text, listed=listed))
    assert diagnosis.ok, diagnosis.report()
    assert found.labels.names == names and diagnosis.class_pixels == (4 * (60 * 64 - 256 - 600), 4 * 256, 4 * 600)


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ("label_colors.txt", "0 0 0\tVoidless\n64 128 64\tAnimal\n192 0 128\tArchway\n"),
        ("label_colors.txt", "Voidless 0 0 0\nAnimal 64 128 64\nArchway 192 0 128\n"),
        ("class_dict.csv", "name,r,g,b\nVoidless,0,0,0\nAnimal,64,128,64\nArchway,192,0,128\n"),
        ("labelmap.txt", "Voidless:0,0,0::\nAnimal:64,128,64::\nArchway:192,0,128::\n"),
    ],
)
def test_colour_tables_of_other_tools(tmp_path, listed, text):
    (tmp_path / listed).write_text(text)
    found = read_classes(tmp_path / listed)
    assert found.names == ("Voidless", "Animal", "Archway") and found.colors == ((0, 0, 0), (64, 128, 64), (192, 0, 128)) and found.values is None


def test_void_first_that_is_0_in_the_masks_stays_so(tmp_path):
    found, diagnosis = look(dataset(tmp_path, lambda i: np.where(three(i) == 255, 0, three(i)), "void\ncat\ndog\n"))
    assert diagnosis.ok and found.labels.names == ("cat", "dog") and diagnosis.class_pixels == (4 * 256, 4 * 600)


def ids_in_pieces(index: int) -> np.ndarray:
    return np.where(objects(index) > 2, 2, objects(index) > 0).astype(np.uint8) + 0


def black_alpha(index: int) -> np.ndarray:
    return np.dstack([np.zeros((SIDE, SIDE, 3), np.uint8), np.where(objects(index) > 0, 255, 0).astype(np.uint8)])


def one_or_white(index: int) -> np.ndarray:
    return (objects(index) > 0).astype(np.uint8) * (255 if index else 1)


def white(index: int) -> np.ndarray:
    return (objects(index) > 0).astype(np.uint8) * 255


def grey_and_white(index: int) -> np.ndarray:
    return np.array([0, 128, 255], np.uint8)[np.where(objects(index) > 2, 2, objects(index) > 0) + 0]


@pytest.mark.parametrize(
    ("sub", "write", "classes", "kind", "wanted"),
    [
        ("masks", one_or_white, "background\ncell\n", "mixed masks", {"255=cell": 4 * 720, "255=ignore": 720}),
        ("masks", one_or_white, None, "mixed masks", {"255=foreground": 4 * 720, "255=ignore": 720}),
        ("masks", white, "background\ncell\nwall\n", "0/255 masks", {"255=cell": 4 * 720, "255=wall": 4 * 720}),
        ("masks", white, "cat\nblack dog\n", "0/255 masks", {"255=cat": 4 * 720, "255=black dog": 4 * 720}),
        ("masks", grey_and_white, "background\ncell\n", "black, grey and white", {"255=cell": 4 * 432, "255=ignore": 4 * 288}),
        ("masks", grey_and_white, "cell\n", "black, grey and white", {"255=cell": 4 * 432, "255=ignore": 4 * 288}),
        ("instances", ids_in_pieces, None, "values or pieces", {"objects": [288, 432], "pieces": [144] * 5}),
        ("masks", black_alpha, "background\ncell\n", "opaque or transparent", {"opaque": 720, "transparent": 4096 - 720}),
        ("masks", lambda i: (objects(i) > 0).astype(np.uint8), "void\nsky\ncell\n", "where numbers begin", {"void-0": 720, "void-255": 4096 - 720}),
        ("masks", lambda i: objects(i, [(i + k) % 5 + 1 if i else 5 - k for k in range(5)] if i < 3 else (2, 1, 2, 0, 1)).astype(np.uint16), None, "classes or objects", None),
    ],
)
def test_two_readings_are_shown_and_both_answers_settle_it(tmp_path, sub, write, classes, kind, wanted):
    root = dataset(tmp_path / "d", write, classes, sub=sub)
    found, diagnosis = look(root)
    if kind == "classes or objects" and not any(fault.kind == kind for fault in diagnosis.faults):
        pytest.skip("these numbers are not doubtful")
    (fault,) = [fault for fault in diagnosis.faults if fault.choices]
    assert fault.kind == kind and len(fault.choices) == 2
    shown = with_picture(diagnosis, found, tmp_path / "out")
    path = tmp_path / "out" / FILE
    assert str(path) in shown.report() and str(path) in json.dumps(shown.to_dict()) and "masks.json" in shown.report()
    with Image.open(path) as image:
        seen = np.asarray(image)
    third = (seen.shape[1] - GAP) // 3
    tiles = [seen[2 * LINE + GAP :, GAP + at * third : GAP + at * third + SHOWN] for at in range(3)]
    alike = kind in ("0/255 masks", "classes or objects")  # the same shapes, with either meaning above
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 20
    assert np.array_equal(tiles[1], tiles[2]) == alike and not np.array_equal(tiles[0], tiles[1])
    page = finetune_view.findings({"diagnosis": shown.to_dict(), "problems": shown.report()}, "zh", path.read_bytes())
    assert '<img alt=' in page and "data:image/png;base64," in page
    answers = []
    for choice in fault.choices:
        assert f"--mask-reading {choice.reading}" in fault.remedy or kind in ("classes or objects", "0/255 masks")
        by_flag, after = look(root, choice.reading)
        assert not [each for each in after.faults if each.choices]
        (root / "masks.json").write_text(json.dumps({"reading": choice.reading}))
        by_file, _ = look(root)
        (root / "masks.json").unlink()
        sample = by_flag.read(by_flag.items[0])
        assert np.array_equal(sample.label_map, by_file.read(by_file.items[0]).label_map)
        answers.append(sample)
        if choice.reading.startswith("255="):
            assert after.ok and len(by_flag.labels) == 2, after.report()
            assert after.class_pixels[1] == wanted[choice.reading]
        elif wanted is not None:
            got = areas(by_flag) if sub == "instances" else int((sample.label_map == (0 if kind.startswith("where") else 1)).sum())
            assert got == wanted[choice.reading], choice


def test_nonsense_is_noticed(tmp_path):
    _, diagnosis = look(dataset(tmp_path / "a", lambda i: np.full((SIDE, SIDE), 1 + i % 2, np.uint8), "background\na\nb\n"))
    assert "one value everywhere" in {fault.kind for fault in diagnosis.faults}
    # Most is foreground in every image: the advice exchanges the two, and then it is right.
    root = dataset(tmp_path / "b", lambda i: np.where(objects(i) == 1, 0, 255).astype(np.uint8), "background\ncell\n")
    _, diagnosis = look(root)
    (note,) = [note for note in diagnosis.notes if note.kind == "nearly all foreground"]
    (root / "labels.json").write_text(note.remedy[note.remedy.index("{") : note.remedy.index("}") + 1])
    _, diagnosis = look(root)
    assert diagnosis.ok and dict(zip(diagnosis.classes, diagnosis.class_pixels, strict=True))["cell"] == 4 * 144
    assert not any(note.kind == "nearly all foreground" for note in diagnosis.notes)


def test_nonsense_in_instance_maps_is_noticed(tmp_path):
    _, diagnosis = look(dataset(tmp_path / "a", lambda i: (objects(i) if i == 0 else objects(i) * 0).astype(np.uint8), sub="instances"))
    assert any(note.kind == "maps without objects" and "3 of 4" in note.what for note in diagnosis.notes)
    whole = dataset(tmp_path / "b", lambda i: np.pad(np.ones((SIDE - 1, SIDE), np.uint8), ((i % 2, 1 - i % 2), (0, 0))), sub="instances")
    _, diagnosis = look(whole)
    assert any(fault.kind == "one object everywhere" for fault in diagnosis.faults)
    _, diagnosis = look(whole, "objects")
    assert diagnosis.ok and any(note.kind == "one object everywhere" for note in diagnosis.notes)

    def many(index):
        grid = np.kron(np.arange(1, 65).reshape(8, 8), np.pad(np.ones((6, 6), int), ((0, 2), (0, 2))))
        return (grid if index else np.where(grid == 1, 1, 0)).astype(np.uint8)

    _, diagnosis = look(dataset(tmp_path / "c", many, sub="instances"))
    (note,) = [note for note in diagnosis.notes if note.kind == "counts that jump"]
    assert note.file == "instances/0.png" and "holds 1 objects where most instance maps hold about 64" in note.what


def test_palettes_of_grey_are_judged_by_the_whole_dataset(tmp_path):
    """A file that shows two of three greys must not number them otherwise."""
    def write(index):
        return np.array([0, 127, 255], np.uint8)[three(index) % 3 if index else (three(index) == 2) * 2]

    for index in range(4):
        seen = write(index)
        greys = sorted(set(np.unique(seen).tolist()), reverse=True)
        save(picture(index, SIDE, SIDE), tmp_path / "images" / f"{index}.png")
        (tmp_path / "masks").mkdir(exist_ok=True)
        image = Image.fromarray(np.vectorize(greys.index)(seen).astype(np.uint8), "P")
        image.putpalette([value for grey in greys for value in (grey,) * 3])
        image.save(tmp_path / "masks" / f"{index}.gif")
    found, diagnosis = look(tmp_path)
    assert diagnosis.ok, diagnosis.report()
    for index, item in enumerate(found.items):
        assert np.array_equal(found.read(item).label_map, np.searchsorted([0, 127, 255], write(index)))


@pytest.mark.parametrize("white", [1, 7, 255])
def test_a_foreground_is_opened_as_its_pieces_and_a_photograph_not_without_a_word(white):
    labels = LabelSet.from_names(("background", "cell"), 0)
    drawing = from_mask(np.where(objects() > 0, white, 0).astype(np.uint8), (SIDE, SIDE), labels, "instance")
    assert sorted(np.bincount(drawing.ids.ravel())[1:].tolist()) == [144] * 5 and drawing.objects == dict.fromkeys(range(1, 6), 1)
    assert drawing.notes and "each of its 5 separate pieces became an object" in drawing.notes[0]
    assert "object" not in drawing.notes[0].text("zh") and "5" in drawing.notes[0].text("zh")
    # One object in one piece keeps its number, and nothing is said.
    drawing = from_mask(np.where(objects() == 1, white, 0).astype(np.uint8), (SIDE, SIDE), labels, "instance")
    assert drawing.objects == {white: 1} and not drawing.notes
    photograph = np.random.default_rng(0).integers(0, 200, (SIDE, SIDE), dtype=np.uint8)
    (note,) = from_mask(photograph, (SIDE, SIDE), labels, "instance").notes
    assert "not a photograph" in note and "object" not in note.text("zh")
    assert not from_mask(objects().astype(np.uint8), (SIDE, SIDE), labels, "instance").notes


def test_the_editor_reads_the_same(tmp_path):
    labels = LabelSet.from_names(("background", "cell"), 0)
    save(VOC[objects()], tmp_path / "a.png")
    drawing = from_mask(read_object_map(tmp_path / "a.png"), (SIDE, SIDE), labels, "instance")
    assert sorted(np.bincount(drawing.ids.ravel())[1:].tolist()) == [144] * 5 and set(drawing.objects) == {1, 2, 3, 4, 5}
    tifffile.imwrite(tmp_path / "b.tif", SPREAD[objects()].astype(np.uint32))
    drawing = from_mask(read_object_map(tmp_path / "b.tif"), (SIDE, SIDE), labels, "instance")
    assert np.array_equal(drawing.ids, objects()) and len(drawing.objects) == 5
    white = np.dstack([np.full((SIDE, SIDE, 3), 255, np.uint8), np.where(objects() > 0, 255, 0).astype(np.uint8)])
    save(white, tmp_path / "c.png")
    assert np.array_equal(from_mask(read_mask(tmp_path / "c.png"), (SIDE, SIDE), labels, "semantic").ids, objects() > 0)
    tifffile.imwrite(tmp_path / "d.tif", objects() - 1)
    assert (from_mask(read_mask(tmp_path / "d.tif"), (SIDE, SIDE), LabelSet.from_names("abcdef", 0), "semantic").ids == IGNORE_ID).sum() == 4096 - 720
    assert MOST_OBJECTS >= 65_534


BLACK_TO_WHITE = np.where(objects() > 0, 255, 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "written", "task", "classes", "said"),
    [
        ("a.png", BLACK_TO_WHITE, "semantic", ("background", "cell"), ["white was read as cell, black as background"]),
        ("b.png", np.dstack([np.full((SIDE, SIDE, 3), 255, np.uint8), BLACK_TO_WHITE]), "semantic", ("background", "cell"), ["transparency alone", "black and white"]),
        ("c.tif", BLACK_TO_WHITE.astype(np.uint16) * 257, "semantic", ("background", "cell"), ["65535 was read as 255", "black and white"]),
        ("d.png", np.array([0, 127, 255], np.uint8)[three(0) % 3], "semantic", ("background", "cat", "dog"), ["0 = background, 127 = cat, 255 = dog"]),
        ("e.png", np.where(objects() == 1, 255, objects() == 2).astype(np.uint8), "semantic", ("background", "cell", "x"), ["are 255, which means ignore"]),
        ("f.tif", objects() - 1, "semantic", tuple("abcdef"), ["numbers below 0 are ignored", "ignore"]),
        ("g.png", VOC[objects()], "instance", ("background", "cell"), ["each of 5 colours became an object"]),
        ("h.tif", SPREAD[objects()].astype(np.uint32), "instance", ("background", "cell"), ["its 5 objects were renumbered from 1"]),
        ("i.png", objects().astype(np.uint8), "instance", ("background", "cell"), []),
        ("j.png", (objects() % 3).astype(np.uint8), "semantic", ("background", "cell", "x"), []),
    ],
)
def test_what_was_understood_of_a_mask_is_said_where_one_is_opened(tmp_path, name, written, task, classes, said):
    path = tmp_path / name
    tifffile.imwrite(path, written) if name.endswith("tif") else save(written, path)
    labels = LabelSet.from_names(classes, 0)
    notes = from_mask((read_object_map if task == "instance" else read_mask)(path), (SIDE, SIDE), labels, task).notes
    assert len(notes) == len(said) and all(part in note for part, note in zip(said, notes, strict=True)), notes
    assert not any(re.search("[a-z]{3,} [a-z]{3,}", note.text("zh")) for note in notes)


def test_black_grey_and_white_of_one_class_is_not_guessed_in_the_editor_either():
    labels = LabelSet.from_names(("background", "cell"), 0)
    with pytest.raises(DataError, match="whether cell is 255 or 128") as caught:
        from_mask(grey_and_white(0), (SIDE, SIDE), labels, "semantic")
    assert "128" in caught.value.message.text("zh") and "whether" not in caught.value.message.text("zh")
    assert from_mask(grey_and_white(0), (SIDE, SIDE), LabelSet.from_names(("background", "cell", "x"), 0), "semantic").notes


def test_what_a_file_of_8_bits_names_as_no_data_is_not_white(tmp_path):
    """GDAL's tag says 255: black and 255 is no picture of a shape."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, BLACK_TO_WHITE, extratags=[(42113, "s", 0, "255", True)])
    labels = LabelSet.from_names(("background", "cell"), 0)
    drawing = from_mask(read_mask(path), (SIDE, SIDE), labels, "semantic")
    assert set(np.unique(drawing.ids)) == {0, IGNORE_ID} and "no data are ignored" in drawing.notes[0]
    assert np.array_equal(label_ids(numbers_meant(read_mask(path), 2), labels) == 65_535, BLACK_TO_WHITE == 255)


def tagged(root: Path, values, classes: str | None = None) -> Path:
    """Masks whose files name 255 for what has no data, as GDAL writes it."""
    dataset(root, lambda i: objects(i).astype(np.uint8), classes)
    for index in range(4):
        (root / "masks" / f"{index}.png").unlink()
        ids = np.where(objects(index) > 2, 2, objects(index) > 0) + 0
        tifffile.imwrite(root / "masks" / f"{index}.tif", np.array(values, np.uint8)[ids], extratags=[(42113, "s", 0, "255", True)])
    return root


def test_no_data_of_8_bits_is_no_class_and_no_grey(tmp_path):
    """Of 0, 127 and 255 the last is none; of 0 and 255 nothing is left, which is said instead of guessed."""
    found, diagnosis = look(tagged(tmp_path / "a", (0, 127, 255), "background\ncell\n"))
    assert diagnosis.ok and diagnosis.class_pixels[1] == 4 * 288
    assert any("no data are ignored" in note for note in found.notes)
    for classes in (None, "background\ncell\n"):
        root = tagged(tmp_path / f"b{bool(classes)}", (0, 255, 255), classes)
        (fault,) = look(root)[1].faults
        assert fault.kind == "0/255 masks" and "GDAL_NODATA" in fault.remedy and "GDAL_NODATA" in fault.remedy.text("zh")
        _, diagnosis = look(root, fault.choices[0].reading)
        assert diagnosis.ok and diagnosis.class_pixels[1] == 4 * 720
    root = tagged(tmp_path / "c", (0, 255, 255))
    (root / "labels.json").write_text('{"0": "background", "255": "cell"}')
    _, diagnosis = look(root)
    assert diagnosis.ok and diagnosis.class_pixels[1] == 4 * 720, "a list that names 255 counts more"


def test_greys_of_two_classes_that_name_no_background(tmp_path):
    found, diagnosis = look(dataset(tmp_path, grey_and_white, "cell\nwall\n"))
    assert diagnosis.ok and found.labels.names == ("background", "cell", "wall") and diagnosis.class_pixels[1:] == (4 * 288, 4 * 432)
    assert any("128 = cell, 255 = wall" in note for note in found.notes)


def test_a_reading_that_names_no_class_leaves_the_fault(tmp_path):
    root = dataset(tmp_path, white, "background\ncell\nwall\n")
    assert [fault.kind for fault in look(root, "255=dog")[1].faults] == ["0/255 masks"]


@pytest.mark.parametrize(
    ("other", "text", "contradicts"),
    [
        ("classes.txt", "background\ndog\ncat\n", True),
        ("classes.txt", "background\ncat\nhorse\n", True),
        ("label2id.json", '{"background": 0, "cat": 2, "dog": 1}', True),
        ("classes.txt", "background\ncat\ndog\n", False),
        ("classes.txt", "Cat\ndog\n", False),
        ("class_dict.csv", "name,r,g,b\ndog,1,2,3\ncat,4,5,6\n", False),
        ("labels.csv", "image,label\na.png,cat\nb.png,cat\n", False),
    ],
)
def test_class_lists_that_contradict_each_other_are_said(tmp_path, other, text, contradicts):
    root = dataset(tmp_path, three, '{"0": "background", "1": "cat", "2": "dog"}', listed="labels.json")
    (root / other).write_text(text)
    found, diagnosis = look(root)
    assert diagnosis.ok and found.labels.names == ("background", "cat", "dog")
    notes = [note for note in found.notes if "says otherwise" in note]
    assert [note.startswith(other) and "labels.json was used" in note for note in notes] == [True] * contradicts
    assert all("otherwise" not in note.text("zh") for note in notes)

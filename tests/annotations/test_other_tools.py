"""Datasets as other tools lay them out: read where it is plain what they mean, else a sentence that leads to masks or COCO."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg_demo.annotations.dataset import Dataset
from seg_demo.annotations.file_names import pair_affixes
from seg_demo.core.errors import DataError, in_language
from seg_demo.outputs.interchange import voc_colors
from tests.small_datasets import HEIGHT, WIDTH, blob_mask, picture, save
from train.data import examine, open_dataset, split


def look(root: Path) -> Dataset:
    return open_dataset(str(root), seed=0, size=None, workers=1, progress=False)


def write(root: Path, images: list[str], masks: list[str]) -> Path:
    for index, name in enumerate(images):
        save(picture(index), root / name)
    for index, name in enumerate(masks):
        save(blob_mask(index), root / name)
    return root


# How a name of image number i and of its mask are made, by the tool.
PAIRED = {
    "ISIC": ("images/ISIC_{:07d}.jpg", "masks/ISIC_{:07d}_segmentation.png"),
    "DRIVE": ("images/{}_training.tif", "masks/{}_manual1.gif"),
    "Cityscapes": ("images/ulm_{:06d}_000019_leftImg8bit.png", "masks/ulm_{:06d}_000019_gtFine_labelIds.png"),
    "Cellpose": ("images/x{}.tif", "masks/x{}_cp_masks.tif"),
    "nnU-Net": ("images/case_{:03d}_0000.png", "masks/case_{:03d}.png"),
    "Hasty": ("images/a{}.jpg", "masks/a{}.jpg.png"),
    "prefixes": ("images/img_{}.png", "masks/mask_{}.png"),
    "pets": ("images/Abyssinian_{}.jpg", "annotations/trimaps/Abyssinian_{}.png"),
    "CamVid": ("images/0006R0_f{:05d}.png", "masks/0006R0_f{:05d}_L.png"),
}


@pytest.mark.parametrize("tool", PAIRED)
def test_what_all_names_of_a_folder_begin_or_end_with_does_not_part_them(tool: str, tmp_path: Path) -> None:
    image, mask = PAIRED[tool]
    numbers = [1, 2, 11, 21, 100]
    dataset = look(write(tmp_path, [image.format(n) for n in numbers], [mask.format(n) for n in numbers]))
    assert not dataset.faults or {fault.kind for fault in dataset.faults} == {"names spelled differently"}
    assert len(dataset) == 5
    for item in dataset.items:
        index = next(i for i, n in enumerate(numbers) if item.name.endswith(image.format(n).rpartition(".")[0]))
        assert np.array_equal(dataset.read(item).label_map, blob_mask(index))


def test_masks_of_other_images_are_not_paired() -> None:
    assert pair_affixes(["a11", "a12", "a13"], ["b21", "b22", "b23"]) == {}
    assert pair_affixes(["11", "12", "13"], ["21", "22", "23"]) == {}
    assert pair_affixes(["img_1", "img_2", "img_3", "img_4"], ["mask_4", "mask_5", "mask_6", "mask_7"]) == {}
    assert pair_affixes(["a1"], ["b1"]) == {}
    # The number of the scan and of the slice: nothing is left to tell two apart that both fit.
    assert pair_affixes(["x_1", "x_2"], ["y_1", "y_1b"]) in ({}, {"x_1": "y_1"})


def test_a_missing_mask_is_not_made_up_for(tmp_path: Path) -> None:
    dataset = look(write(tmp_path, ["images/a1.png", "images/a2.png", "images/a3.png"], ["masks/a1.png", "masks/b2.png", "masks/b3.png"]))
    assert sorted(fault.kind for fault in dataset.faults) == ["mask without image"] * 2 + ["missing mask"] * 2


FAULTS = {
    "several masks per image": [f"masks/a{i}/{k}.png" for i in range(3) for k in range(4)],
    "masks named by tasks": [f"masks/task-{i}-annotation-{i + 4}-by-1-tag-Cell-0.png" for i in range(3)],
    "no masks": [],
}


@pytest.mark.parametrize("kind", FAULTS)
def test_truth_of_another_kind_is_one_fault_and_not_one_per_file(kind: str, tmp_path: Path) -> None:
    write(tmp_path, [f"images/a{i}.png" for i in range(3)], FAULTS[kind])
    if kind == "no masks":
        (tmp_path / "masks").mkdir()
        (tmp_path / "masks/a0.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (fault,) = look(tmp_path).faults
    assert fault.kind == kind
    for phrase in (fault.what, fault.remedy):
        assert in_language(phrase, "zh") != phrase


@pytest.mark.parametrize("suffix", [".npy", ".mat", ".json", ".xml", ".npz"])
def test_files_that_are_no_pictures_are_named(suffix: str, tmp_path: Path) -> None:
    write(tmp_path, ["images/a0.png", "images/a1.png"], [])
    for index in range(2):
        (tmp_path / "masks").mkdir(exist_ok=True)
        (tmp_path / f"masks/a{index}{suffix}").write_bytes(b"{}")
    (fault,) = (fault for fault in look(tmp_path).faults if fault.severity == "fault")
    assert fault.kind == "no masks" and "not pictures" in fault.what
    for phrase in (fault.what, fault.remedy):
        assert in_language(phrase, "zh") != phrase


PANOPTIC = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": []}], "categories": []}
REFUSED = {
    "Cityscapes": ({"leftImg8bit/train/ulm/a.png", "gtFine/train/ulm/a.png"}, {}),
    "nnU-Net": ({"imagesTr/a_0000.png", "labelsTr/a.png"}, {"dataset.json": {}}),
    "CVAT": ({"images/a.png"}, {"annotations.xml": {}}),
    "a file per object": ({"x/images/x.png", "x/masks/1.png", "y/images/y.png", "y/masks/1.png"}, {}),
    "Supervisely": ({"ds0/img/a.png"}, {"ds0/ann/a.png.json": {}}),
    "YOLO": ({"train/a.png"}, {"data.yaml": {}}),
    "was read as labelme, but it holds no object": ({"a.png"}, {"a.json": {"shapes": [], "imagePath": "a.png"}}),
    "never opened here": ({"a.png"}, {"a_seg.npy": {}}),
    "panoptic": ({"data/pictures/a.png", "data/panoptic/a.png"}, {"data/panoptic_train.json": PANOPTIC}),
    "Rename them to train/masks/": ({"train/a.png", "train_masks/a.png", "other/b.png"}, {}),
    "lie in one folder": ({"a.png", "c_masks.png", "b.png", "d_masks.png"}, {}),
    "end in _masks to masks/": ({"data/a.png", "data/a_masks.png", "data/b.png", "data/b_masks.png"}, {}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_layout_that_is_not_read_is_named_with_what_to_do(said: str, tmp_path: Path) -> None:
    pictures, texts = REFUSED[said]
    write(tmp_path, sorted(pictures), [])
    for name, content in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(DataError, match=said) as refused:
        look(tmp_path)
    chinese = refused.value.message.text("zh")
    assert chinese is not None and any("\u4e00" <= letter <= "\u9fff" for letter in chinese)


BESIDE = {
    "Roboflow": ("a{}_jpg.rf.0{}ab.jpg", "a{}_jpg.rf.0{}ab_mask.png"),
    "DeepGlobe": ("10{}{}_sat.jpg", "10{}{}_mask.png"),
    "Cellpose": ("{}0{}_img.tif", "{}0{}_masks.tif"),
    "Cellpose's own": ("x{}{}.tif", "x{}{}_cp_masks.png"),
    "ISIC": ("I{}{}.jpg", "I{}{}_Segmentation.png"),
}


@pytest.mark.parametrize("tool", BESIDE)
@pytest.mark.parametrize("splits", [("",), ("train/", "valid/")])
def test_images_and_masks_beside_each_other(tool: str, splits: tuple[str, ...], tmp_path: Path) -> None:
    image, mask = BESIDE[tool]
    for number, side in enumerate(splits):
        for index in range(3):
            save(picture(10 * number + index), tmp_path / (side + image.format(index, number)))
            save(blob_mask(index), tmp_path / (side + mask.format(index, number)))
        (tmp_path / side / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cell\n")
    dataset = look(tmp_path)
    assert len(dataset) == 3 * len(splits) and not dataset.faults and dataset.labels.names == ("background", "cell")
    assert {item.split for item in dataset.items} == ({None} if splits == ("",) else {"train", "val"})
    for item in dataset.items:
        assert any(np.array_equal(dataset.read(item).label_map, blob_mask(index)) for index in range(3))
    save(picture(99), tmp_path / splits[0] / "alone.png")
    (fault,) = look(tmp_path).faults
    assert (fault.kind, fault.what) == ("missing mask", "has no mask beside it")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"shapes": [], "imagePath": "a.png"}, "was read as labelme, but it holds no object"),
        ([{"annotations": [], "data": {}}], "was read as Label Studio, but nothing in it can be used: a.json, task 1 names no picture"),
    ],
)
def test_json_of_another_tool_that_says_nothing_is_named(content: object, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    save(picture(1), tmp_path / "a.png")
    with pytest.raises(DataError, match=said):
        look(path)


def coco(count: int, first: int = 0, points: str = "flat", ids: bool = True) -> dict:
    square = {"flat": [[4, 4, 20, 4, 20, 16, 4, 16]], "pairs": [[4, 4], [20, 4], [20, 16], [4, 16]], "nested": [[[4, 4], [20, 4], [20, 16], [4, 16]]]}
    return {
        "images": [{"id": i, "file_name": f"{first + i}.png", "height": HEIGHT, "width": WIDTH} for i in range(count)],
        "annotations": [{"image_id": i, "category_id": 1, "segmentation": square[points]} | ({"id": i} if ids else {}) for i in range(count)],
        "categories": [{"id": 1, "name": "cell"}],
    }


@pytest.mark.parametrize("points", ["flat", "pairs", "nested"])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("name", ["result.json", "annotations.json", "annotations/default.json"])
def test_coco_under_any_name_with_points_as_pairs_and_without_ids(points: str, ids: bool, name: str, tmp_path: Path) -> None:
    write(tmp_path, [f"images/{i}.png" for i in range(3)], [])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(json.dumps(coco(3, points=points, ids=ids)))
    dataset = look(tmp_path)
    assert not examine(dataset, *split(dataset, 0.3, 0)).faults and dataset.labels.names == ("background", "cell")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[4:16, 4:20] = 1
    assert np.array_equal(dataset.read(dataset.items[0]).label_map, expected)


@pytest.mark.parametrize("names", [("train.json", "val.json"), ("annotations/train.json", "annotations/valid.json"), ("coco_train2024.json", "coco_val2024.json")])
def test_coco_files_per_split_under_names_of_their_own(names: tuple[str, str], tmp_path: Path) -> None:
    for side, (name, first) in zip(("train", "val"), zip(names, (0, 10), strict=True), strict=True):
        write(tmp_path, [f"images/{'valid' if 'valid' in name else side}/{first + i}.png" for i in range(2)], [])
        (tmp_path / name).parent.mkdir(exist_ok=True)
        content = coco(2, first)
        if "coco" in name:
            for image in content["images"]:
                image["file_name"] = f"{side}/{image['file_name']}"
        (tmp_path / name).write_text(json.dumps(content))
    dataset = look(tmp_path)
    assert sorted(item.split for item in dataset.items) == ["train", "train", "val", "val"] and not dataset.faults


def test_of_several_coco_files_none_is_guessed(tmp_path: Path) -> None:
    write(tmp_path, ["images/0.png"], [])
    for name in ("first.json", "second.json"):
        (tmp_path / name).write_text(json.dumps(coco(1)))
    with pytest.raises(DataError, match="several COCO files: first.json, second.json"):
        look(tmp_path)


def test_shares_of_the_image_are_no_pixels(tmp_path: Path) -> None:
    content = coco(2)
    for entry in content["annotations"]:
        entry["segmentation"] = [[0.1, 0.1, 0.6, 0.1, 0.6, 0.7]]
    write(tmp_path, ["0.png", "1.png"], [])
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(content))
    dataset = look(tmp_path)
    fault = examine(dataset, *split(dataset, 0.3, 0)).faults[0]
    assert "between 0 and 1" in fault.what and "multiply" in fault.remedy
    assert in_language(fault.what, "zh") != fault.what and in_language(fault.remedy, "zh") != fault.remedy


@pytest.mark.parametrize("lists", ["ImageSets/Segmentation", "ImageSets"])
def test_the_split_of_voc_is_that_of_its_lists(lists: str, tmp_path: Path) -> None:
    write(tmp_path, [f"JPEGImages/{i}.jpg" for i in range(6)], [f"SegmentationClass/{i}.png" for i in range(5)])
    (tmp_path / lists).mkdir(parents=True)
    (tmp_path / lists / "train.txt").write_text("0\n1\n")
    (tmp_path / lists / "val.txt").write_text("2\n3 1\n")
    (tmp_path / lists / "trainval.txt").write_text("0\n1\n2\n3\n")
    dataset = look(tmp_path)
    assert {item.name: item.split for item in dataset.items} == {f"JPEGImages/{i}": "train" if i < 2 else "val" for i in range(4)}
    assert not dataset.faults and any("2 images that they do not name were left out" in note for note in dataset.notes)


@pytest.mark.parametrize("count", [1, 2])
def test_numbers_in_masks_of_cellpose_are_objects_and_its_other_files_nothing(count: int, tmp_path: Path) -> None:
    numbers = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) // WIDTH // 9
    for index in range(count):
        save(picture(index), tmp_path / f"x{index}.tif")
        save(numbers, tmp_path / f"x{index}_cp_masks.tif")
        for own in ("flows", "cp_output", "outlines_cp_masks", "flows_cp_masks"):
            save(picture(9), tmp_path / f"x{index}_{own}.png")
        (tmp_path / f"x{index}_seg.npy").write_bytes(b"\x93NUMPY")
    dataset = look(tmp_path)
    assert not dataset.faults and dataset.kind == "instance" and dataset.labels.names == ("background", "object") and len(dataset) == count
    np.testing.assert_array_equal(dataset.read(dataset.items[0]).instance_map, numbers)


def test_voc_as_datumaro_writes_it_without_colours_and_with_blanks_in_names(tmp_path: Path) -> None:
    """Its list leaves the colours empty, and its masks have VOC's; a name in a list of images may hold a blank."""
    classes = [f"class {number}" for number in range(1, 20)]
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "".join(f"{name}:::\n" for name in ("background", *classes)))
    for split_, name in (("train", "deep/a 1"), ("val", "b")):
        save(picture(1), tmp_path / f"JPEGImages/{name}.png")
        save(blob_mask(1)[..., None] * voc_colors()[19], tmp_path / f"SegmentationClass/{name}.png")
        (tmp_path / f"ImageSets/Segmentation/{split_}.txt").write_text(f"{name}\n")
    dataset = look(tmp_path)
    assert not dataset.faults and {item.name: item.split for item in dataset.items} == {"JPEGImages/deep/a 1": "train", "JPEGImages/b": "val"}
    assert dataset.labels.names == ("background", *classes)
    np.testing.assert_array_equal(dataset.read(dataset.items[0]).label_map, blob_mask(1) * 19)


def test_cityscapes_layout_with_classes_of_ones_own(tmp_path: Path) -> None:
    """As datumaro and CVAT write any data: 0 is the background, which their list may lack, and photographs are there as they came."""
    (tmp_path / "label_colors.txt").write_text("128 0 0 apple\n0 128 0 pear\n0 0 128 plum\n")
    for index, name in enumerate(("a_leftImg8bit.png", "b_leftImg8bit.jpg")):
        save(picture(index), tmp_path / "leftImg8bit/train" / name)
        save(blob_mask(index) * 2, tmp_path / f"gtFine/train/{'ab'[index]}_gtFine_labelIds.png")
    dataset = look(tmp_path)
    assert dataset.labels.names == ("background", "apple", "pear", "plum") and [item.name for item in dataset.items] == ["leftImg8bit/train/a", "leftImg8bit/train/b"]
    np.testing.assert_array_equal(dataset.read(dataset.items[0]).label_map, blob_mask(0) * 2)
    # What is black there is the background to them, whatever it is called; of a list of anybody else's nothing is known; a picture is there once.
    (tmp_path / "label_colors.txt").write_text("0 0 0 nothing\n128 0 0 apple\n0 128 0 pear\n")
    save(picture(0), tmp_path / "leftImg8bit/train/a_leftImg8bit.jpg")
    dataset = look(tmp_path)
    assert dataset.labels.names == ("nothing", "apple", "pear") and [fault.kind for fault in dataset.faults] == ["duplicate image"] and len(dataset.items) == 2
    (tmp_path / "label_colors.txt").rename(tmp_path / "classes.txt")
    (tmp_path / "classes.txt").write_text("apple\npear\nplum\n")
    assert look(tmp_path).labels.names == ("apple", "pear", "plum")


def test_voc_labels_of_which_some_have_colours(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\nx:200,10,10::\ny:::\n")
    save(picture(0), tmp_path / "JPEGImages/a.png")
    save(blob_mask(0)[..., None] * np.uint8([200, 10, 10]), tmp_path / "SegmentationClass/a.png")
    dataset = look(tmp_path)
    assert dataset.labels.names == ("background", "x", "y")
    np.testing.assert_array_equal(dataset.read(dataset.items[0]).label_map, blob_mask(0))


def test_a_folder_with_a_picture_for_each_image_that_was_not_read_is_named(tmp_path: Path) -> None:
    numbers = range(21, 25)
    names = [f"training/{folder}/{i}_{end}" for folder, end in (("1st_manual", "manual1.gif"), ("mask", "training_mask.gif")) for i in numbers]
    dataset = look(write(tmp_path, [f"training/images/{i}_training.tif" for i in numbers], names))
    (fault,) = (fault for fault in dataset.faults if fault.kind == "folder left aside")
    assert fault.severity == "note" and fault.file == "training/1st_manual/" and "training/mask/ was taken" in fault.what


@pytest.mark.parametrize("beside", ["thumbnails", "overlays", "depth", "right"])
def test_other_pictures_beside_the_images_are_nobodys_business(beside: str, tmp_path: Path) -> None:
    names = [f"{folder}/{i}.png" for folder in ("masks", beside) for i in range(3)]
    assert not look(write(tmp_path, [f"images/{i}.png" for i in range(3)], names)).faults


@pytest.mark.parametrize("header", ["img_path,label_path", "Image Path,Mask Path", "images,masks", "filename,mask_filename", "image,label", "image_id,sat_image_path,mask_path"])
def test_columns_under_other_names(header: str, tmp_path: Path) -> None:
    write(tmp_path, ["a0.png", "a1.png"], ["m0.png", "m1.png"])
    rows = [f"a{i}.png,m{i}.png" if header.count(",") == 1 else f"{i},a{i}.png,m{i}.png" for i in range(2)]
    (tmp_path / "list.csv").write_text("\n".join([header, *rows]) + "\n")
    dataset = look(tmp_path / "list.csv")
    assert len(dataset) == 2 and not dataset.faults
    assert np.array_equal(dataset.read(dataset.items[1]).label_map, blob_mask(1))


def test_run_lengths_in_a_table_are_named(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("ImageId,EncodedPixels\na,1 5\n")
    with pytest.raises(DataError, match="run lengths"):
        look(tmp_path / "train.csv")


def test_both_halves_of_a_sign_in_yolos_names_are_one(tmp_path: Path) -> None:
    """As ``json.dumps`` escapes them."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text('train: images\nval: images\nnames: ["\\ud83e\\udda0", "cell"]\n')
    assert "🦠" in look(tmp_path).labels.names

"""Stacks and volumes as training data: each plane beside the mask of that plane, and what does not fit is named."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from zipfile import ZipFile

import nibabel
import numpy as np
import rasterio
import tifffile
from PIL import Image
from rasterio.transform import Affine

from seg_demo.annotations.convert import found_on
from seg_demo.annotations.dataset import Dataset, open_annotated
from seg_demo.inputs.images import read
from seg_demo.inputs.shapes import encode_roi
from train.data import examine, split

RNG = np.random.default_rng(6)


def opened(root: Path) -> Dataset:
    return open_annotated(str(root), workers=1, progress=False)


def volume(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(Z, H, W) of 16 bits, and labels 0 to 2 of each plane."""
    labels = np.zeros((count, 20, 26), np.uint8)
    for plane in range(count):
        labels[plane, 3 : 8 + plane, 4:12] = 1
        labels[plane, 12:17, 14 : 18 + plane] = 2
    return (RNG.integers(0, 900, labels.shape) + 2000 * labels.astype(np.int64)).astype(np.uint16), labels


def folders(root: Path) -> tuple[Path, Path]:
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("background\nnerve\nvessel\n")
    return root / "images", root / "masks"


def tiff(path: Path, planes: np.ndarray) -> None:
    tifffile.imwrite(path, planes, ome=True, photometric="minisblack", metadata={"axes": "ZYX"})


def test_every_plane_of_a_tiff_stack_is_learnt_with_its_mask(tmp_path: Path) -> None:
    images, masks = folders(tmp_path)
    truth = {}
    for name in ("a", "b", "c"):
        values, labels = volume(3)
        tiff(images / f"{name}.ome.tif", values)
        tiff(masks / f"{name}.ome.tif", labels)
        truth[name] = values, labels
    dataset = opened(tmp_path)
    assert len(dataset) == 9 and not dataset.faults and dataset.labels.names == ("background", "nerve", "vessel")
    for item in dataset.items:
        stem = item.name.rpartition("/")[2]
        values, labels = truth[stem[0]]
        plane = int(stem[-1]) - 1
        assert item.view.z == plane and np.array_equal(dataset.read(item).label_map, labels[plane])
    # A stack is either learnt from or measured on.
    train, val = split(dataset, 0.3, 1)
    assert len(train) == 6 and len({item.image for item in val}) == 1
    assert examine(dataset, train, val).ok


def test_counts_that_differ_are_named(tmp_path: Path) -> None:
    images, masks = folders(tmp_path)
    for name, of_mask in (("a", 3), ("b", 2), ("c", 3)):
        tiff(images / f"{name}.tif", volume(3)[0])
        tiff(masks / f"{name}.tif", volume(of_mask)[1])
    dataset = opened(tmp_path)
    (fault,) = dataset.faults
    assert (fault.kind, fault.item) == ("planes that differ", "images/b") and "has 2 planes, and b.tif has 3" in str(fault.what)
    assert len(dataset) == 6


def nifti(path: Path, planes: np.ndarray, affine: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(planes, 0, -1).astype(np.int16), affine), path)


def test_nifti_pairs_lie_on_one_grid(tmp_path: Path) -> None:
    images, masks = folders(tmp_path)
    turned = np.array([[-2.0, 0, 0, 40], [0, 0, 2.0, -9], [0, -2.0, 0, 30], [0, 0, 0, 1]])
    values, labels = (array[:, ::2] for array in volume(4))
    nifti(images / "a.nii.gz", values, turned)
    nifti(masks / "a.nii.gz", labels, turned)
    moved = turned.copy()
    moved[0, 3] += 3
    nifti(images / "b.nii.gz", values, turned)
    nifti(masks / "b.nii.gz", labels, moved)
    nifti(images / "c.nii.gz", values, turned)
    nifti(masks / "c.nii.gz", labels[:3], turned)
    # Stored mirrored, with an affine that undoes it: the same voxels in the same places.
    nifti(images / "d.nii.gz", values, turned)
    mirrored = turned.copy()
    mirrored[:, 0], mirrored[:, 3] = -turned[:, 0], turned @ [labels.shape[1] - 1, 0, 0, 1]
    nifti(masks / "d.nii.gz", labels[:, ::-1], mirrored)
    dataset = opened(tmp_path)
    said = {fault.item: (fault.kind, str(fault.what)) for fault in dataset.faults}
    assert said["images/b"][0] == "another grid" and "up to 1.5 pixels apart" in said["images/b"][1]
    assert said["images/c"][0] == "another grid" and "voxels" in said["images/c"][1]
    # Along the axis that this affine makes the body's, whichever that is in the file: image and mask alike.
    assert {item.name.rpartition("-")[0] for item in dataset.items} == {"images/a", "images/d"}
    maps = [dataset.read(item).label_map for item in dataset.items]
    for item, label_map in zip(dataset.items, maps, strict=True):
        values = read(item.image, view=item.view, with_samples=True).samples[..., 0]
        assert np.array_equal(label_map, values // 2000)
    assert sum(int((label_map == 2).sum()) for label_map in maps) == 2 * int((labels == 2).sum())


def test_masks_of_rasters_lie_where_their_rasters_do(tmp_path: Path) -> None:
    images, masks = folders(tmp_path)
    affine = Affine(10.0, 0, 400_000, 0, -10.0, 5_000_000)
    for name, place, crs in (("a", affine, 32633), ("b", affine @ Affine.translation(3, 0), 32633), ("c", affine, 32634)):
        for folder, where, system, count in ((images, affine, 32633, 3), (masks, place, crs, 1)):
            planes = volume(3)[0] if count == 3 else volume(1)[1]
            kind = planes.dtype.name
            with rasterio.open(folder / f"{name}.tif", "w", driver="GTiff", height=20, width=26, count=count, dtype=kind, crs=f"EPSG:{system}", transform=where) as raster:
                raster.write(planes)
    dataset = opened(tmp_path)
    said = {fault.item: str(fault.what) for fault in dataset.faults if fault.kind == "another grid"}
    assert "up to 3.0 pixels apart" in said["images/b"] and "is in EPSG:32634, and c.tif is in EPSG:32633" in said["images/c"]
    assert [item.name for item in dataset.items] == ["images/a"]


def roi(corner: int, plane: int = 0, depth: int = 0, time: int = 0) -> bytes:
    """A square of 6 x 5 pixels on a plane, or at a depth and a time, from 1."""
    ring = [(corner, 3), (corner + 6, 3), (corner + 6, 8), (corner, 8)]
    data = bytearray(encode_roi("nerve", [[ring]], 0, {}))
    struct.pack_into(">i", data, 56, plane)
    struct.pack_into(">2i", data, struct.unpack_from(">i", data, 60)[0] + 8, depth, time)
    return bytes(data)


def test_rois_are_of_the_plane_that_they_were_drawn_on(tmp_path: Path) -> None:
    """A plain stack counts its planes, one of depth and time says both; of planes that nothing is drawn on nothing is known."""
    tifffile.imwrite(tmp_path / "plain.tif", volume(5)[0], imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "both.tif", np.stack([volume(3)[0]] * 2), imagej=True, metadata={"axes": "TZYX"})
    drawn = {"plain": [roi(1, 2), roi(9, 2), roi(4, 5), roi(18), roi(2, 9)], "both": [roi(3, 0, 2, 1), roi(10, 0, 3, 2), roi(17, 0, 3)]}
    for name, rois in drawn.items():
        with ZipFile(tmp_path / f"{name}_RoiSet.zip", "w") as archive:
            for number, data in enumerate(rois):
                archive.writestr(f"{number}.roi", data)
    dataset = opened(tmp_path)
    begins = {item.name: sorted(np.flatnonzero(np.diff(np.pad((dataset.read(item).label_map > 0).any(0), 1).astype(int)) == 1).tolist()) for item in dataset.items}
    assert begins == {"plain-2": [1, 9, 18], "plain-5": [4, 18], "both-2": [3], "both-3": [17], "both-6": [10, 17]}
    assert {(item.view.t, item.view.z) for item in dataset.items if item.stack == "both"} == {(0, 1), (0, 2), (1, 2)}
    assert sorted(fault.kind for fault in dataset.faults) == ["marks on no plane", "planes without marks", "planes without marks"]
    (lost,) = (fault for fault in dataset.faults if fault.kind == "marks on no plane")
    assert lost.file == "plain.tif" and "1 of its marks name planes" in str(lost.what) and "it has 5" in str(lost.what)


def test_a_drawing_opens_on_the_plane_that_is_looked_at(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", volume(5)[0], imagej=True, metadata={"axes": "ZYX"})
    with ZipFile(tmp_path / "RoiSet.zip", "w") as archive:
        for number, data in enumerate([roi(1, 2), roi(9, 2), roi(4, 5), roi(18)]):
            archive.writestr(f"{number}.roi", data)
    for z, count in ((1, 3), (4, 2), (0, 1)):
        shown = read(tmp_path / "plain.tif", view={"z": z})
        found, notes = found_on(tmp_path / "RoiSet.zip", tmp_path / "plain.tif", shown.pixels.shape[:2], shown)
        assert len(found.segmentation.segments) == count and any(f"{4 - count} marks are on other planes" in note for note in notes)
    assert len(found_on(tmp_path / "RoiSet.zip", tmp_path / "plain.tif", (20, 26))[0].segmentation.segments) == 4


def test_planes_of_geojson_count_from_zero(tmp_path: Path) -> None:
    tiff(tmp_path / "a.ome.tif", volume(3)[0])
    Image.fromarray(np.zeros((20, 26), np.uint8)).save(tmp_path / "flat.png")
    ring = [[4, 3], [10, 3], [10, 8], [4, 8], [4, 3]]
    features = [
        {"type": "Feature", "properties": {"objectType": "annotation"}, "geometry": {"type": "Polygon", "coordinates": [ring], "plane": {"c": -1, "z": z, "t": 0}}}
        for z in (0, 2)
    ]
    for name in ("a", "flat"):
        (tmp_path / f"{name}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    dataset = opened(tmp_path)
    assert [(item.name, item.view and item.view.z, len(item.annotations)) for item in sorted(dataset.items, key=lambda item: item.name)] == [
        ("a.ome-1", 0, 1), ("a.ome-3", 2, 1), ("flat", None, 2),
    ]  # fmt: skip

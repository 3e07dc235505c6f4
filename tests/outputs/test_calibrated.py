"""Results in the formats of their trade: the reference libraries find every pixel where the source has it."""

from __future__ import annotations

import json

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import rasterio
import shapely
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, UltrasoundMultiFrameImageStorage
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform

from seg_demo.__main__ import main
from seg_demo.annotations.dataset import open_annotated
from seg_demo.core.errors import BadRequestError
from seg_demo.core.types import INSTANCE, LabelSet, Segment, Segmentation, paint, semantic_segmentation
from seg_demo.inputs import scientific
from seg_demo.inputs.images import read
from seg_demo.outputs.export import bundle, geojson
from tests.scientific_files import AFFINES, PATIENT, PERSON, PLACES, dicom, noise, raster

LABELS = LabelSet.from_names(["background", "field", "water"], 0)


@pytest.fixture(scope="module", autouse=True)
def _no_helper_is_left():
    yield
    scientific.close()


def result_of(path, seed: int = 0) -> Segmentation:
    """A label map with holes and pieces on a picture's grid."""
    picture = read(path)
    noise = np.random.default_rng(seed).random(tuple(-(-side // 4) for side in picture.pixels.shape[:2]))
    ids = np.kron((noise * 3).astype(np.uint8), np.ones((4, 4), np.uint8))[: picture.pixels.shape[0], : picture.pixels.shape[1]]
    found = semantic_segmentation(np.ascontiguousarray(ids), LABELS)
    return Segmentation(**{**{name: getattr(found, name) for name in ("task", "height", "width", "labels", "id_map", "segments")}, **picture.facts})


@pytest.mark.parametrize("place", PLACES)
def test_a_raster_comes_back_on_its_place(tmp_path, place):
    crs, affine = PLACES[place]
    raster(tmp_path / "a.tif", np.random.default_rng(1).integers(0, 4000, (1, 150, 190)).astype("u2"), crs, affine)
    result = result_of(tmp_path / "a.tif")
    files = bundle(lambda: None, result, "", formats=["geotiff", "geojson"])
    (tmp_path / "mask.tif").write_bytes(files["mask.tif"])
    with rasterio.open(tmp_path / "mask.tif") as made, rasterio.open(tmp_path / "a.tif") as source:
        assert made.crs == source.crs and made.transform == source.transform and made.shape == source.shape
        np.testing.assert_array_equal(made.read(1), result.id_map)
    shapes = json.loads(files["segments.geojson"])
    assert "WGS 84" in shapes["coordinate_system"]
    burned = np.full(result.id_map.shape, 255, np.uint8)
    for feature in shapes["features"]:
        geometry = shapely.geometry.shape(feature["geometry"])
        for polygon in getattr(geometry, "geoms", [geometry]):
            assert polygon.exterior.is_ccw and not any(ring.is_ccw for ring in polygon.interiors), "RFC 7946, 3.1.6"
            assert -180 <= polygon.bounds[0] and polygon.bounds[3] <= 90
        back = shapely.transform(geometry, lambda points: np.stack(transform("EPSG:4326", crs, *points.T), axis=1))
        rasterize([(back, feature["id"])], out=burned, transform=affine)
        if "area_units" in feature["properties"]:
            assert feature["properties"]["area_units"] == pytest.approx(back.area, rel=1e-6)
    np.testing.assert_array_equal(burned, result.id_map)


@pytest.mark.parametrize("orientation", AFFINES)
@pytest.mark.parametrize("shape", [(9, 7, 5), (20, 1, 30), (12, 10)])
def test_a_volume_comes_back_in_its_grid(tmp_path, orientation, shape):
    image = nibabel.Nifti1Image(np.random.default_rng(2).integers(0, 900, shape).astype("i2"), AFFINES[orientation])
    image.to_filename(tmp_path / "a.nii.gz")
    picture = read(tmp_path / "a.nii.gz", with_samples=True)
    result = result_of(tmp_path / "a.nii.gz")
    (tmp_path / "mask.nii.gz").write_bytes(bundle(lambda: None, result, "", formats=["nifti"])["mask.nii.gz"])
    made = nibabel.load(tmp_path / "mask.nii.gz")
    np.testing.assert_allclose(made.affine, image.affine, atol=1e-6)
    assert made.shape == (*shape, 1)[:3]
    # Where the source has a sample's value, the mask has its id: both are the same voxels.
    ids, values = np.asarray(made.dataobj), np.asarray(image.dataobj).reshape(made.shape)
    wanted = np.zeros(made.shape, int)
    for row, column in np.ndindex(*result.id_map.shape):
        wanted[np.unravel_index(_voxel(picture, made.shape, row, column), made.shape)] = result.id_map[row, column]
    np.testing.assert_array_equal(ids, wanted)
    seen = [values[np.unravel_index(_voxel(picture, made.shape, row, column), made.shape)] for row, column in np.ndindex(*result.id_map.shape)]
    np.testing.assert_array_equal(np.reshape(seen, result.id_map.shape), picture.samples[..., 0])


def _voxel(picture, shape, row: int, column: int) -> int:
    """The flat index of the voxel that a pixel shows."""
    grid, at = picture.calibration.grid, [0, 0, 0]
    for (axis, reverse), place in ((grid.rows, row), (grid.columns, column)):
        at[axis] = shape[axis] - 1 - place if reverse else place
    at[grid.fixed[0]] = grid.fixed[1]
    return int(np.ravel_multi_index(at, shape))


def test_a_dicom_segmentation_names_its_image_and_keeps_overlaps(tmp_path):
    source = dicom(tmp_path / "a.dcm", np.random.default_rng(3).integers(0, 900, (40, 50)).astype("i2"))
    picture = read(tmp_path / "a.dcm")
    masks = [np.zeros((40, 50), bool) for _ in range(3)]
    masks[0][5:20, 5:25], masks[1][10:30, 20:40], masks[2][35:, 45:] = True, True, True
    segments = [Segment(1 + index % 2, 0.9, (0, 0, 50, 40), mask) for index, mask in enumerate(masks)]
    labels = LabelSet.from_names(["background", "田", "water"], 0)
    result = Segmentation(INSTANCE.name, 40, 50, labels, paint(segments, 40, 50), tuple(segments), **picture.facts)
    (tmp_path / "seg.dcm").write_bytes(bundle(lambda: None, result, "", formats=["dicom-seg"])["segmentation.dcm"])
    made = highdicom.seg.segread(tmp_path / "seg.dcm")
    found = made.get_pixels_by_source_instance([source.SOPInstanceUID])
    np.testing.assert_array_equal(found[0], np.stack(masks, axis=-1))
    assert made.StudyInstanceUID == source.StudyInstanceUID and made.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert [str(segment.SegmentLabel) for segment in made.SegmentSequence] == ["田 1", "water 2", "田 3"]
    # As training data they are objects of two classes.
    (tmp_path / "data").mkdir()
    for name in ("a.dcm", "seg.dcm"):
        (tmp_path / "data" / name).write_bytes((tmp_path / name).read_bytes())
    dataset = open_annotated(str(tmp_path / "data"), workers=1, progress=False)
    assert dataset.labels.names == ("background", "water", "田")
    assert sorted(label for label in dataset.read(dataset.items[0]).instance_labels if label) == [1, 2, 2]
    text = str(pydicom.dcmread(tmp_path / "seg.dcm"))
    assert PERSON not in text and PATIENT not in text
    plain = result_of(tmp_path / "a.dcm")
    (tmp_path / "classes.dcm").write_bytes(bundle(lambda: None, plain, "", formats=["dicom-seg"])["segmentation.dcm"])
    classes = highdicom.seg.segread(tmp_path / "classes.dcm").get_pixels_by_source_instance([source.SOPInstanceUID], combine_segments=True, relabel=False)
    np.testing.assert_array_equal(classes[0], plain.id_map)


def group(**attributes) -> Dataset:
    """An item of a sequence."""
    found = Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def test_a_dicom_segmentation_names_the_frame_that_it_is_of(tmp_path):
    planes = np.random.default_rng(4).integers(0, 900, (3, 40, 50)).astype("u2")
    planes[1] = 7
    shared = group(PixelMeasuresSequence=[group(PixelSpacing=[0.5, 0.75], SliceThickness=3.0)], PlaneOrientationSequence=[group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])
    places = [group(PlanePositionSequence=[group(ImagePositionPatient=[-10, -20, 3 * number])]) for number in range(3)]
    # What lies in a patient, frame by frame; and a film that lies nowhere, of a kind of which highdicom takes no segmentation.
    volume = dicom(tmp_path / "volume.dcm", planes, SOPClassUID=EnhancedCTImageStorage, SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=places)
    film = dicom(tmp_path / "film.dcm", planes, SOPClassUID=UltrasoundMultiFrameImageStorage, Modality="KO", FrameTime=40)
    for source in (volume, film):
        for name in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", *(("FrameOfReferenceUID",) if source is film else ())):
            delattr(source, name)
        pydicom.dcmwrite(source.filename, source)
    asked = ["--model", "otsu", "--out", str(tmp_path / "out"), "--view", '{"page": "all"}', "--format", "dicom-seg", "png"]
    assert main(["segment", str(tmp_path / "volume.dcm"), str(tmp_path / "film.dcm"), *asked]) == 0
    for name, source in (("volume", volume), ("film", film)):
        for number in range(3):
            folder = tmp_path / "out" / name / f"page-{number:04}"
            made, wanted = highdicom.seg.segread(folder / "segmentation.dcm"), np.asarray(Image.open(folder / "mask.png"))
            # Nothing is found in the plain one: an empty segment says so.
            assert wanted.any() == (number != 1)
            found = made.get_pixels_by_source_frame(source.SOPInstanceUID, [number + 1], combine_segments=True, relabel=False)
            np.testing.assert_array_equal(found[0], wanted)
            assert {element.value for element in made.iterall() if element.keyword == "ReferencedSOPClassUID"} == {source.SOPClassUID}
            place = {tuple(item.PlanePositionSequence[0].ImagePositionPatient) for item in made.PerFrameFunctionalGroupsSequence if "PlanePositionSequence" in item}
            assert place == ({(-10, -20, 3 * number)} if name == "volume" else set())
            assert PERSON not in str(made) and PATIENT not in str(made)


@pytest.mark.parametrize("missing", ["Modality", "SliceThickness", "PixelSpacing", "FrameOfReferenceUID", "ImageOrientationPatient"])
def test_a_dicom_that_says_less_is_named_all_the_same(tmp_path, missing):
    source = dicom(tmp_path / "a.dcm", np.random.default_rng(3).integers(0, 900, (40, 50)).astype("i2"))
    delattr(source, missing)
    pydicom.dcmwrite(tmp_path / "a.dcm", source)
    result = result_of(tmp_path / "a.dcm")
    (tmp_path / "seg.dcm").write_bytes(bundle(lambda: None, result, "", formats=["dicom-seg"])["segmentation.dcm"])
    found = highdicom.seg.segread(tmp_path / "seg.dcm").get_pixels_by_source_instance([source.SOPInstanceUID], combine_segments=True, relabel=False)
    np.testing.assert_array_equal(found[0], result.id_map)


def test_a_dicom_without_a_study_is_no_source(tmp_path):
    source = dicom(tmp_path / "a.dcm", np.random.default_rng(3).integers(0, 900, (40, 50)).astype("i2"))
    del source.StudyInstanceUID
    pydicom.dcmwrite(tmp_path / "a.dcm", source)
    with pytest.raises(BadRequestError, match="StudyInstanceUID is missing"):
        bundle(lambda: None, result_of(tmp_path / "a.dcm"), "", formats=["dicom-seg"])


def test_a_format_that_a_picture_cannot_have_is_a_sentence(tmp_path):
    dicom(tmp_path / "a.dcm", np.random.default_rng(3).integers(0, 900, (40, 50)).astype("i2"))
    result = result_of(tmp_path / "a.dcm")
    for name, said in (("geotiff", "of the Earth"), ("nifti", "of a volume")):
        with pytest.raises(BadRequestError, match=said):
            bundle(lambda: None, result, "", formats=[name])
    assert "pixels of the image" in geojson(result)["coordinate_system"]


def test_the_command_line_writes_them(tmp_path):
    raster(tmp_path / "a.tif", np.random.default_rng(1).integers(0, 4000, (1, 50, 60)).astype("u2"), *PLACES["utm"])
    assert main(["segment", str(tmp_path / "a.tif"), "--model", "otsu", "--out", str(tmp_path / "out"), "--format", "geotiff", "geojson"]) == 0
    assert {path.name for path in (tmp_path / "out" / "a").iterdir()} == {"mask.tif", "segments.geojson"}
    assert main(["segment", str(tmp_path / "a.tif"), "--model", "otsu", "--out", str(tmp_path / "none"), "--format", "nifti"]) == 1


def test_a_disc_of_the_earth_has_every_file_but_that_in_degrees(tmp_path):
    """The corners of a geostationary picture are no places. Whoever asks for GeoJSON is told; nobody else loses the rest."""
    half = 5_567_248.0
    crs = "+proj=geos +h=35785831 +lon_0=0 +sweep=y"
    raster(tmp_path / "disc.tif", noise("u1", 3, 40, 40), crs, Affine(half / 20, 0, -half, 0, -half / 20, half))
    result = result_of(tmp_path / "disc.tif")
    files = bundle(lambda: np.zeros((40, 40, 3), np.uint8), result, "")
    assert "segments.geojson" not in files and {"mask.png", "mask.tif", "segments.csv"} <= set(files)
    assert any("no longitude and latitude" in note for note in json.loads(files["result.json"])["notes"])
    with pytest.raises(BadRequestError, match="Write geotiff, which keeps that system"):
        bundle(lambda: None, result, "", formats=["geojson"])
    assert main(["segment", str(tmp_path / "disc.tif"), "--model", "otsu", "--out", str(tmp_path / "out")]) == 0
    assert any("no longitude and latitude" in note for note in json.loads((tmp_path / "out" / "disc" / "result.json").read_text())["notes"])

"""Networks that take other channels than red, green and blue: smp's and transformers' with what the libraries give as oracles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import tifffile
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

from seg_demo import networks
from seg_demo.annotations.channels import Channels, channel_ranges
from seg_demo.core.errors import BadCheckpointError, BadImageError, BadRequestError
from seg_demo.core.types import LabelSet, ModelSpec
from seg_demo.inference.model import Model
from seg_demo.inputs.images import read
from seg_demo.networks import checkpoint
from seg_demo.networks.preprocessing import Preprocessing
from tests.scientific_files import PLACES, raster

SPEC = ModelSpec("x", None, "semantic", "", "x", "", "folder")
RANGES = [(100.0, 3000.0), (0.0, 1000.0), (50.0, 4000.0), (10.0, 2000.0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A file of four channels of 16 bits, and one of two."""
    here = tmp_path_factory.mktemp("channels")
    values = np.random.default_rng(4).integers(0, 4000, (4, 61, 83), dtype=np.uint16)
    named = {"axes": "CYX", "Channel": {"Name": ["red", "green", "blue", "nir"]}}
    tifffile.imwrite(here / "four.ome.tif", values, metadata=named, photometric="minisblack")
    tifffile.imwrite(here / "two.tif", values[:2], metadata={"axes": "CYX"}, photometric="minisblack", imagej=True)
    return here


@pytest.fixture(scope="module")
def unet(folder: Path) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    module = smp.Unet("tu-test_resnet", encoder_weights=None, in_channels=4, classes=3, decoder_channels=(32, 24, 16, 12, 8)).eval()
    module.save_pretrained(folder / "unet")
    rule = Preprocessing((0.4,) * 4, (0.2, 0.3, 0.2, 0.3), multiple=32, ranges=tuple(RANGES)).to_dict()
    labels = checkpoint.labels_to_dict(LabelSet.from_names(("background", "a", "b"), background=0))
    checkpoint.write_json(folder / "unet", checkpoint.PREPROCESSOR, {**rule, **labels})
    return module, folder / "unet"


@pytest.fixture(scope="module")
def segformer(folder: Path) -> Path:
    torch.manual_seed(0)
    config = SegformerConfig(
        num_channels=4, num_labels=3, depths=[1] * 4, hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).eval().save_pretrained(folder / "segformer")
    how = {"image_mean": [0.1, 0.2, 0.3, 0.4], "image_std": [0.2, 0.3, 0.4, 0.5], "rescale_factor": 1 / 10_000}
    SegformerImageProcessor(size={"height": 64, "width": 96}, do_reduce_labels=False, **how).save_pretrained(folder / "segformer")
    return folder / "segformer"


def loaded(path: Path) -> Model:
    return Model.from_network(networks.load(path), SPEC)


def test_smp_takes_the_files_values_by_its_own_ranges(folder, unet):
    module, path = unet
    values = torch.from_numpy(tifffile.imread(folder / "four.ome.tif").astype(np.float32))
    low, high = (torch.tensor(ends).view(4, 1, 1) for ends in zip(*RANGES, strict=True))
    seen = (((values - low) / (high - low)).clamp(0, 1) - 0.4) / torch.tensor([0.2, 0.3, 0.2, 0.3]).view(4, 1, 1)
    padded = torch.nn.functional.pad(seen[None], (0, 13, 0, 3), mode="reflect")
    with torch.no_grad():
        wanted = module(padded)[0, :, :61, :83].argmax(0).numpy()
    model = loaded(path)
    assert (model.spec.channels, model.samples) == (4, 4)
    result = model.predict(folder / "four.ome.tif")
    assert np.array_equal(result.id_map, wanted)
    assert result.view.channels == (0, 1, 2, 3)
    # Another order is another picture.
    turned = model.predict(folder / "four.ome.tif", view={"channels": [3, 2, 1, 0]})
    assert turned.view.channels == (3, 2, 1, 0) and not np.array_equal(turned.id_map, wanted)


def test_transformers_logits_are_the_librarys(folder, segformer):
    network = networks.load(segformer)
    values = np.moveaxis(tifffile.imread(folder / "four.ome.tif"), 0, -1)
    processor, module = SegformerImageProcessor.from_pretrained(segformer), SegformerForSemanticSegmentation.from_pretrained(segformer).eval()
    given = processor(images=torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1), input_data_format="channels_first", return_tensors="pt")
    assert torch.equal(network.preprocess(values), given["pixel_values"])
    # Training scales them in two steps.
    seen = torch.from_numpy(network.pixels_as_seen(values)).permute(2, 0, 1)[None]
    mean, std = (torch.tensor(numbers).view(1, 4, 1, 1) for numbers in (network.preprocessing.mean, network.preprocessing.std))
    torch.testing.assert_close((seen - mean) / std, given["pixel_values"], rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        outputs = module(**given)
    wanted = processor.post_process_semantic_segmentation(outputs, target_sizes=[(61, 83)])[0].numpy()
    assert np.array_equal(Model.from_network(network, SPEC).predict(folder / "four.ome.tif").id_map, wanted)


def test_what_holds_no_data_is_no_measurement(folder, unet, segformer, tmp_path):
    """A value that the file names for no data counts for a network as NaN does, and not for the percentiles that are learnt."""
    values = np.random.default_rng(7).integers(1, 4000, (4, 61, 83)).astype("i2")
    values[:, 10:40, 20:50] = -9999
    raster(tmp_path / "named.tif", values, *PLACES["utm"], nodata=-9999)
    raster(tmp_path / "nan.tif", np.where(values < 0, np.nan, values).astype("f4"), *PLACES["utm"])
    for path in (unet[1], segformer):
        first, second = (loaded(path).predict(tmp_path / f"{name}.tif").id_map for name in ("named", "nan"))
        np.testing.assert_array_equal(first, second)
        assert len(np.unique(first)) > 1
    seen = [Channels(4, as_bytes).of(read(tmp_path / "named.tif", channels=4)) for as_bytes in (False, True)]
    assert np.isnan(seen[0][10:40, 20:50]).all() and (seen[1][10:40, 20:50] == 0).all()
    np.testing.assert_allclose(channel_ranges(lambda item: seen[0], [None], 4), np.nanpercentile(np.where(values < 0, np.nan, values), (0.5, 99.5), axis=(1, 2)).T)


def test_full_detail_of_other_channels_covers_the_picture(folder, unet, tmp_path):
    values = np.random.default_rng(5).integers(0, 4000, (4, 620, 700), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "large.ome.tif", values, metadata={"axes": "CYX"}, photometric="minisblack")
    model = loaded(unet[1])
    result = model.predict(tmp_path / "large.ome.tif", detail="full")
    whole = model.predict(tmp_path / "large.ome.tif")
    assert result.id_map.shape == (620, 700) and (result.id_map == whole.id_map).mean() > 0.9


def test_what_has_too_few_channels_or_names_others_is_refused_in_words(folder, unet):
    model = loaded(unet[1])
    with pytest.raises(BadImageError, match=r"takes 4 channels, but this picture has 2"):
        model.predict(folder / "two.tif")
    with pytest.raises(BadImageError, match=r"has 3 \(red, green, blue\)"):
        model.predict(np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(BadRequestError, match=r"takes 4 channels, but the view names 2"):
        model.predict(folder / "four.ome.tif", view={"channels": [0, 3]})
    with pytest.raises(BadRequestError, match=r"one to three numbers"):
        Model.classical(ModelSpec("otsu", None, "region", "classical", "Otsu", "", "builtin", ("background", "region"))).predict(
            folder / "four.ome.tif", view={"channels": [0, 1, 2, 3]}
        )


def test_a_plain_checkpoint_without_ranges_gets_bytes_by_the_window(folder, tmp_path):
    smp.Unet("tu-test_resnet", encoder_weights=None, in_channels=4, classes=2, decoder_channels=(32, 24, 16, 12, 8)).save_pretrained(tmp_path / "plain")
    model = loaded(tmp_path / "plain")
    assert "means and deviations of red, green and blue are taken in turn" in str(model.spec.notes[0])
    result = model.predict(folder / "four.ome.tif")
    assert any("values from 0 to 255" in str(note) for note in result.notes)


def test_one_channel_is_a_photographs_brightness(tmp_path):
    torch.manual_seed(0)
    smp.Unet("tu-test_resnet", encoder_weights=None, in_channels=1, classes=1, decoder_channels=(32, 24, 16, 12, 8)).save_pretrained(tmp_path / "grey")
    model = loaded(tmp_path / "grey")
    photo = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    thousandths = photo.astype(np.int64) @ np.array([299, 587, 114])
    photo[thousandths % 1000 == 500] = 0  # halfway between two levels either is right
    grey = np.rint(photo @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    assert np.array_equal(model.predict(photo).id_map, model.predict(np.repeat(grey[..., None], 3, axis=2)).id_map)


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_a_first_layer_is_taken_over_as_smp_does_it(count):
    labels = LabelSet.from_names(("background", "a"), background=0)
    cls = networks.network("unet")
    base = cls.create(labels, cls.default_options())
    made = base.with_channels(count)
    wanted = smp.encoders._utils.patch_first_conv
    other = cls.build(2, base.options)
    other.load_state_dict(base.module.state_dict())
    wanted(other.encoder, new_in_channels=count, pretrained=True)
    for (name, ours), (_, theirs) in zip(made.module.encoder.state_dict().items(), other.encoder.state_dict().items(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6), name
    assert made.channels == len(made.preprocessing.std) == count and base.channels == 3


def test_a_segformer_for_other_channels_saves_what_the_library_reads(folder, tmp_path):
    values = np.moveaxis(tifffile.imread(folder / "four.ome.tif"), 0, -1)
    cls = networks.network("segformer")
    made = cls.create(LabelSet.from_names(("background", "a"), background=0), cls.default_options()).with_channels(4).measuring(RANGES)
    made.save(tmp_path / "made")
    again = networks.load(tmp_path / "made")
    assert again.preprocessing.ranges == tuple(RANGES) and checkpoint.samples_of(tmp_path / "made") == 4
    assert torch.allclose(again.preprocess(values), made.preprocess(values), atol=1e-4)
    module = SegformerForSemanticSegmentation.from_pretrained(tmp_path / "made").eval()
    processor = SegformerImageProcessor.from_pretrained(tmp_path / "made", do_resize=False)
    low, high = np.array(RANGES).T
    inside = np.clip(values, low, high).astype(np.float32)[:32, :64]
    given = processor(images=torch.from_numpy(inside).permute(2, 0, 1), input_data_format="channels_first", return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        torch.testing.assert_close(module(given).logits, again.module(again.preprocess(values[:32, :64])).logits, rtol=1e-3, atol=1e-3)


def test_absurd_channels_are_refused(unet, tmp_path):
    config = checkpoint.read_json(unet[1], checkpoint.CONFIG)
    for count in (0, 65, "4", True, None):
        with pytest.raises(BadCheckpointError, match="number from 1 to 64"):
            checkpoint.channels_of({**config, "in_channels": count})

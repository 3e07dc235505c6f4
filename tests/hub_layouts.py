"""Repositories as people have them: what their files are called, what their configs say, what is left out and what is too much.

``LAYOUTS`` is a table; ``tests/hub/test_layouts.py`` serves each row over the Hub stand-in and compares what the demo makes of it
with the plain library. A row is added by ``layout(name, files)``: bytes by path, made from a small network with real keys
(``transformers_files(family)``, ``smp_files(decoder, encoder)``) by functions that change them. ``like`` is what the plain library
loads where it cannot load the row itself, ``refused`` a pattern of the sentence where nothing can be loaded.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

Files = dict[str, bytes]
Tensors = dict[str, Tensor]
# Sides that every encoder takes without padding; not square, so that rows and columns cannot be mixed up.
IMAGE = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
IMAGE[16:40, 24:60] //= 3
NAMES = ("wall", "road", "tree", "sky", "lamp")
ID2LABEL = {str(index): name for index, name in enumerate(NAMES)}
LABEL2ID = {name: index for index, name in enumerate(NAMES)}
WEIGHTS, CONFIG, PROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"


@dataclass(frozen=True)
class Layout:
    """One repository and what is expected of it.

    Attributes:
        name: in words; the test's name.
        files: makes the files of the main branch.
        like: makes the files that the plain library loads for comparison; None takes the files themselves.
        typed: what is asked for, ``{id}`` stands for the repository's id.
        branches: makes the files of other revisions, by revision.
        pulls: makes the files of pull requests: number, author, state (``open``, ``closed``) and files of each.
        discussions: whether the repository has discussions.
        kind: ``model``, ``dataset`` or ``space``.
        id: of the repository; None makes one of the name.
        before: ids that the repository had before, or other spellings of its id, from which the Hub redirects.
        labels: class names expected; None does not look.
        says: pattern that the notes about the loaded model match; None expects that nothing is said.
        refused: pattern of the sentence where nothing is loaded.
        soak: too slow for every run.
    """

    name: str
    files: Callable[[], Files]
    like: Callable[[], Files] | None = None
    typed: str = "{id}"
    branches: Mapping[str, Callable[[], Files]] = field(default_factory=dict)
    pulls: tuple[tuple[int, str, str, Callable[[], Files]], ...] = ()
    discussions: bool = True
    kind: str = "model"
    id: str | None = None
    before: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = NAMES
    says: str | None = None
    refused: str | None = None
    soak: bool = False


LAYOUTS: dict[str, Layout] = {}


def layout(name: str, files: Callable[[], Files] | Files, **what: Any) -> None:
    """Add a row to the table."""
    assert name not in LAYOUTS, name
    LAYOUTS[name] = Layout(name, files if callable(files) else lambda: files, **what)


# Small networks with real keys.


def _backbone(name: str) -> Any:
    from transformers import ConvNextConfig, SwinConfig

    stages = ["stage1", "stage2", "stage3", "stage4"]
    if name == "convnext":
        return ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=stages)
    return SwinConfig(image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4, out_features=stages)


def _config(family: str) -> Any:
    import transformers as t

    vit = {"image_size": 64, "patch_size": 16, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    pyramid = {"pool_scales": [1, 2], "auxiliary_channels": 8}
    if family == "segformer":
        return t.SegformerConfig(depths=[1] * 4, hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1] * 4, decoder_hidden_size=16)
    if family == "beit":
        return t.BeitConfig(**vit, **pyramid, out_indices=[1, 2, 3, 4], use_relative_position_bias=True)
    if family == "data2vec-vision":
        return t.Data2VecVisionConfig(**vit, **pyramid, out_indices=[0, 1, 2, 3], use_relative_position_bias=True)
    if family == "dpt":
        neck = {"neck_hidden_sizes": [8, 8, 16, 16], "reassemble_factors": [4, 2, 1, 0.5], "fusion_hidden_size": 16}
        return t.DPTConfig(**vit, **neck, backbone_out_indices=[0, 1, 2, 3], is_hybrid=False)
    if family == "mobilevit":
        sizes = {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 64]}
        return t.MobileViTConfig(image_size=64, **sizes, num_attention_heads=2, aspp_out_channels=16)
    if family == "mobilevitv2":
        return t.MobileViTV2Config(image_size=64, width_multiplier=0.25, aspp_out_channels=16, n_attn_blocks=[1, 1, 1])
    if family == "mobilenet_v2":
        return t.MobileNetV2Config(image_size=64, depth_multiplier=0.25)
    backbone = _backbone(family.removeprefix("upernet-"))
    return t.UperNetConfig(backbone_config=backbone, hidden_size=16, **pyramid)


PROCESSORS = {
    "segformer": ("SegformerImageProcessor", {"size": {"height": 64, "width": 96}}),
    "beit": ("BeitImageProcessor", {"size": {"height": 64, "width": 64}, "do_center_crop": False}),
    "data2vec-vision": ("BeitImageProcessor", {"size": {"height": 64, "width": 64}, "do_center_crop": False}),
    "dpt": ("DPTImageProcessor", {"size": {"height": 64, "width": 64}, "keep_aspect_ratio": False}),
    "mobilevit": ("MobileViTImageProcessor", {"size": {"shortest_edge": 64}, "do_center_crop": False}),
    "mobilevitv2": ("MobileViTImageProcessor", {"size": {"shortest_edge": 64}, "do_center_crop": False}),
    "mobilenet_v2": ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 64}, "do_center_crop": False}),
    "upernet-convnext": ("SegformerImageProcessor", {"size": {"height": 64, "width": 96}}),
    "upernet-swin": ("SegformerImageProcessor", {"size": {"height": 64, "width": 64}}),
}


def _balanced(module: torch.nn.Module, run: Callable[[torch.nn.Module], Tensor], classes: int) -> None:
    """Random weights that say something: spread wide enough, and each class on average as likely as the others."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var") or not tensor.is_floating_point():
                continue
            if tensor.ndim > 1:
                tensor.copy_(torch.randn_like(tensor) * (2.0 / tensor[0].numel()) ** 0.5)
            elif name.endswith("bias"):
                tensor.normal_(0, 0.1)
        mean = run(module).mean((0, 2, 3))
        last = [tensor for name, tensor in module.named_parameters() if name.endswith("bias") and tensor.shape == (classes,)]
        last[0].sub_(mean)


def _saved(save: Callable[[Path], None]) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@lru_cache(maxsize=32)
def _transformers(family: str, classes: int) -> Files:
    import transformers

    config = _config(family)
    config.id2label = dict(enumerate(NAMES[:classes]))
    config.label2id = {name: index for index, name in config.id2label.items()}
    torch.manual_seed(0)
    module = transformers.AutoModelForSemanticSegmentation.from_config(config).eval()
    _balanced(module, lambda network: network(pixel_values=torch.rand(2, 3, 64, 64) * 4 - 2).logits, classes)
    kind, settings = PROCESSORS[family]

    def write(folder: Path) -> None:
        module.save_pretrained(folder)
        getattr(transformers, kind)(**settings).save_pretrained(folder)

    files = _saved(write)
    # transformers 5 may call the processor's file otherwise; most repositories are older.
    data = json.loads(files.pop("processor_config.json", b"{}")).get("image_processor")
    return files if data is None else {**files, PROCESSOR: json.dumps(data).encode()}


def transformers_files(family: str = "segformer", classes: int = len(NAMES)) -> Files:
    """config.json, model.safetensors and preprocessor_config.json as transformers' ``save_pretrained`` writes them."""
    return dict(_transformers(family, classes))


@lru_cache(maxsize=32)
def _smp(decoder: str, encoder: str, classes: int, arguments: str) -> Files:
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    module = getattr(smp, decoder)(encoder, encoder_weights=None, classes=classes, **json.loads(arguments)).eval()
    _balanced(module, lambda network: network(torch.rand(2, 3, 64, 64) * 4 - 2), classes)
    files = _saved(lambda folder: module.save_pretrained(folder))
    return {name: data for name, data in files.items() if name != "README.md"}


def smp_files(decoder: str = "Unet", encoder: str = "tu-test_resnet", classes: int = len(NAMES), **arguments: Any) -> Files:
    """config.json and model.safetensors as smp's ``save_pretrained`` writes them."""
    return dict(_smp(decoder, encoder, classes, json.dumps(arguments)))


# Changes.


def with_json(files: Files, name: str, drop: tuple[str, ...] = (), **changes: Any) -> Files:
    """Other keys in one of the JSON files."""
    data = {key: value for key, value in json.loads(files[name]).items() if key not in drop}
    return {**files, name: json.dumps({**data, **changes}).encode()}


def with_config(files: Files, *drop: str, **changes: Any) -> Files:
    """Other keys in config.json."""
    return with_json(files, CONFIG, drop, **changes)


def without(files: Files, *names: str) -> Files:
    """Some files less."""
    return {name: data for name, data in files.items() if name not in names}


def renamed(files: Files, **names: str) -> Files:
    """The weights under another name: ``weights="other.safetensors"``, or any file by its stem."""
    stems = {name.rsplit(".", 1)[0]: name for name in files}
    changed = dict(files)
    for stem, name in names.items():
        changed[name] = changed.pop(WEIGHTS if stem == "weights" else stems[stem])
    return changed


def with_tensors(files: Files, change: Callable[[Tensors], Tensors]) -> Files:
    """Other tensors in model.safetensors."""
    state = change(load(files[WEIGHTS]))
    return {**files, WEIGHTS: save({name: tensor.contiguous().clone() for name, tensor in state.items()}, {"format": "pt"})}


def prefixed(files: Files, prefix: str) -> Files:
    """Every tensor's name begins with a wrapper's."""
    return with_tensors(files, lambda state: {prefix + name: tensor for name, tensor in state.items()})


def with_extra(files: Files, **extra: Tensor) -> Files:
    """Tensors that the network does not have; ``__`` in a name stands for a dot."""
    return with_tensors(files, lambda state: state | {name.replace("__", "."): tensor for name, tensor in extra.items()})


def without_tensors(files: Files, part: str) -> Files:
    """Tensors whose name holds a text are missing."""
    assert any(part in name for name in load(files[WEIGHTS])), part
    return with_tensors(files, lambda state: {name: tensor for name, tensor in state.items() if part not in name})


def sharded(files: Files, count: int = 3, stem: str = "model") -> Files:
    """The weights in several files with an index, as transformers splits large ones."""
    state = load(files[WEIGHTS])
    parts: list[Tensors] = [{} for _ in range(count)]
    for number, (name, tensor) in enumerate(state.items()):
        parts[number % count][name] = tensor
    names = [f"{stem}-{number + 1:05d}-of-{count:05d}.safetensors" for number in range(count)]
    where = {name: file for file, part in zip(names, parts, strict=True) for name in part}
    index = {"metadata": {"total_size": sum(tensor.nbytes for tensor in state.values())}, "weight_map": where}
    made = {file: save(part, {"format": "pt"}) for file, part in zip(names, parts, strict=True)}
    return {**without(files, WEIGHTS), **made, f"{stem}.safetensors.index.json": json.dumps(index).encode()}


def pickled(files: Files, name: str = "pytorch_model.bin", keep: bool = False) -> Files:
    """The weights as torch pickles them."""
    buffer = io.BytesIO()
    torch.save(load(files[WEIGHTS]), buffer)
    return {**(files if keep else without(files, WEIGHTS)), name: buffer.getvalue()}


def pickled_shards(files: Files, count: int = 2) -> Files:
    """The weights as pickles in several files with an index."""
    made = sharded(files, count, "pytorch_model")
    index = json.loads(made.pop("pytorch_model.safetensors.index.json"))
    whole = {name: data for name, data in made.items() if not name.endswith(".safetensors")}
    for name, data in made.items():
        if name.endswith(".safetensors"):
            whole |= pickled({WEIGHTS: data}, name.replace(".safetensors", ".bin"))
    where = {tensor: file.replace(".safetensors", ".bin") for tensor, file in index["weight_map"].items()}
    return {**whole, "pytorch_model.bin.index.json": json.dumps({**index, "weight_map": where}).encode()}


def below(folder: str, files: Files) -> Files:
    """The files in a folder."""
    return {f"{folder}/{name}": data for name, data in files.items()}


def others(files: Files) -> Files:
    """The same network with other weights, whose labels differ."""
    return with_tensors(files, lambda state: {name: tensor.flip(0) if tensor.ndim > 1 else tensor for name, tensor in state.items()})


# What the plain libraries make of it.


def expected(files: Files) -> np.ndarray:
    """(H, W) labels of :data:`IMAGE` by the plain library, at the picture's size.

    transformers: Auto classes and the processor's own ``post_process_semantic_segmentation``, whose crop of the centre is left
    out. smp: ``from_pretrained``, the picture normalised as its encoder was pretrained.
    """
    return _expected(tuple(sorted((name, data) for name, data in files.items() if "/" not in name)))


@lru_cache(maxsize=128)
def _expected(files: tuple[tuple[str, bytes], ...]) -> np.ndarray:
    """Of files that many rows have alike once."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files:
            (Path(folder) / name).write_bytes(data)
        config = json.loads(dict(files)[CONFIG])
        return (_by_smp if "_model_class" in config else _by_transformers)(Path(folder))


def _by_transformers(folder: Path) -> np.ndarray:
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    module = AutoModelForSemanticSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    if getattr(processor, "do_center_crop", None):
        processor.do_center_crop = False
    inputs = processor(images=Image.fromarray(IMAGE), return_tensors="pt")
    with torch.no_grad():
        outputs = module(**inputs)
    if outputs.logits.shape[1] == 1:  # argmax of one channel would be 0 everywhere
        wide = torch.nn.functional.interpolate(outputs.logits, IMAGE.shape[:2], mode="bilinear", align_corners=False)
        return (wide[0, 0] > 0).long().numpy()
    (labels,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[IMAGE.shape[:2]])
    return labels.numpy()


def _by_smp(folder: Path) -> np.ndarray:
    import segmentation_models_pytorch as smp

    import timm

    # smp's names of before 0.4 stand for timm's.
    encoder = json.loads((folder / CONFIG).read_text())["encoder_name"].replace("timm-mobilenetv3", "tu-tf_mobilenetv3")
    module = smp.from_pretrained(str(folder), encoder_weights=None).eval()
    # For encoders of its own smp would ask the Hub; those of this table were trained with ImageNet's mean and deviation.
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    # smp builds encoders of these former names from timm's TensorFlow ports.
    today = encoder.replace("timm-mobilenetv3", "tu-tf_mobilenetv3")
    if today.startswith("tu-") and timm.is_model_pretrained(today.removeprefix("tu-")):
        known = smp.encoders.get_preprocessing_params(today)
        mean, std = known["mean"], known["std"]
    pixels = torch.from_numpy(IMAGE).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        logits = module((pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    return (logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long())[0].numpy()


# The table.

FAMILIES = tuple(PROCESSORS)
SMP = (
    ("Unet", "tu-test_resnet"), ("UnetPlusPlus", "tu-test_resnet"), ("MAnet", "tu-test_resnet"), ("Linknet", "tu-test_resnet"),
    ("FPN", "tu-test_resnet"), ("DeepLabV3", "tu-test_resnet"), ("DeepLabV3Plus", "tu-test_resnet"),
    ("PSPNet", "tu-test_resnet"), ("UPerNet", "tu-test_resnet"), ("Unet", "timm-mobilenetv3_small_minimal_100"), ("FPN", "mobileone_s0"),
    ("Unet", "mobilenet_v2"), ("Segformer", "mit_b0"), ("UPerNet", "tu-test_convnext"),
)  # fmt: skip

for _family in FAMILIES:
    layout(f"{_family} as transformers saves it", lambda family=_family: transformers_files(family))
for _decoder, _encoder in SMP:
    _generated = tuple(f"class {index}" for index in range(len(NAMES)))
    layout(f"smp {_decoder} with {_encoder}", lambda decoder=_decoder, encoder=_encoder: smp_files(decoder, encoder), labels=_generated)
layout(
    "a card, code, logs and a pickle beside the weights",
    lambda: {
        **transformers_files(), "README.md": b"---\nlicense: mit\n---\n", "pytorch_model.bin": b"x", "training_args.bin": b"x", "train.py": b"raise",
        "runs/events.out.tfevents.1": b"x", ".gitattributes": b"", "trainer_state.json": b"{}",
    },
)  # fmt: skip
layout("nothing but a card", {"README.md": b"# soon"}, refused="has no config.json")

# Names of weights.

_LOSS = {"loss_fct__weight": torch.ones(5)}
layout("a trainer's loss among the weights", lambda: with_extra(transformers_files(), **_LOSS), like=transformers_files, says="1 weights .*loss_fct.weight")
layout(
    "an auxiliary head that the config does not have",
    lambda: with_config(transformers_files("beit"), use_auxiliary_head=False), like=lambda: transformers_files("beit"), says="auxiliary_head",
)  # fmt: skip
layout(
    "an auxiliary head of mmsegmentation among the weights",
    lambda: with_extra(transformers_files(), auxiliary_head__conv_seg__weight=torch.ones(5, 3), auxiliary_head__convs__0__conv__weight=torch.ones(3, 3)),
    like=transformers_files, says="2 weights .*auxiliary_head.conv_seg.weight",
)  # fmt: skip
layout("position_ids among the weights", lambda: with_extra(transformers_files(), embeddings__position_ids=torch.arange(9)), like=transformers_files)
layout("smp with a loss among the weights", lambda: with_extra(smp_files(), **_LOSS), like=smp_files, labels=None, says="loss_fct")
layout("a truth ratio of a trainer among smp's weights, and its head for whole pictures",
    lambda: with_extra(smp_files(), classification_head__3__weight=torch.ones(4, 2)), like=smp_files, labels=None, says="classification_head",
)  # fmt: skip
for _prefix in ("model.", "module.", "module.model.", "net.", "segmentation_model."):
    layout(f"SegFormer saved within {_prefix}", lambda prefix=_prefix: prefixed(transformers_files(), prefix), like=transformers_files, says=re.escape(_prefix))
layout("SegFormer saved within model. beside a loss", lambda: with_extra(prefixed(transformers_files(), "model."), **_LOSS), like=transformers_files, says="loss_fct")
layout("DPT saved within model.", lambda: prefixed(transformers_files("dpt"), "model."), like=lambda: transformers_files("dpt"), says="'model.'")
layout("UPerNet saved within network.", lambda: prefixed(transformers_files("upernet-swin"), "network."), like=lambda: transformers_files("upernet-swin"), says="'network.'")
layout("smp saved within model.", lambda: prefixed(smp_files(), "model."), like=smp_files, labels=None, says="'model.'")
layout("smp saved within segmentation_model.", lambda: prefixed(smp_files("FPN"), "segmentation_model."), like=lambda: smp_files("FPN"), labels=None, says="segmentation_model")
layout(
    "an average beside the network itself",
    lambda: with_tensors(transformers_files(), lambda state: state | {f"ema.{name}": tensor * 0 for name, tensor in state.items()}),
    like=transformers_files, says="ema",
)  # fmt: skip
layout(
    "a teacher and a student",
    lambda: with_tensors(transformers_files(), lambda state: {f"{who}.{name}": tensor for who in ("teacher", "student") for name, tensor in state.items()}),
    refused="2 times, under 'student.' and 'teacher.'",
)  # fmt: skip
layout("counters are missing", lambda: without_tensors(transformers_files("upernet-swin"), "num_batches_tracked"), like=lambda: transformers_files("upernet-swin"))
layout("smp without counters", lambda: without_tensors(smp_files(), "num_batches_tracked"), like=smp_files, labels=None)
layout(
    "DPT without the residual unit that it does not use",
    lambda: without_tensors(transformers_files("dpt"), "fusion_stage.layers.0.residual_layer1"), like=lambda: transformers_files("dpt"),
)  # fmt: skip
layout("BEiT without the head that only training uses", lambda: without_tensors(transformers_files("beit"), "auxiliary_head"), like=lambda: transformers_files("beit"))
layout("DPT without a residual unit that it uses", lambda: without_tensors(transformers_files("dpt"), "fusion_stage.layers.1.residual_layer1"), refused="lacks .*residual_layer1")
layout("a classifier is missing", lambda: without_tensors(transformers_files(), "classifier"), refused="lacks 2 weights .*decode_head.classifier")
layout("a statistic is missing", lambda: without_tensors(smp_files(), "running_mean"), refused="lacks .*running_mean")
layout(
    "weights of a larger network than the config describes",
    lambda: with_tensors(transformers_files(), lambda state: state | {name.replace("block.0.0.", "block.0.1."): tensor for name, tensor in state.items()}),
    refused="larger network",
)  # fmt: skip
layout("weights in half precision", lambda: with_tensors(transformers_files(), lambda state: {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}))

# Tables of classes.


def _table(id2label: object, **more: object) -> Callable[[], Files]:
    return lambda: with_config(transformers_files(), "label2id", id2label=id2label, **more)


_CLASSES = tuple(f"class {index}" for index in range(5))
layout("class ids begin at 1", _table(dict(enumerate(NAMES, 1))), like=transformers_files, labels=("class 0", *NAMES[:4]), says="1 of the 5 .*'lamp' for 5")
layout("class ids skip one", _table({0: "a", 1: "b", 3: "d", 4: "e", 6: "g"}), like=transformers_files, labels=("a", "b", "class 2", "d", "e"), says="'g' for 6")
layout("class ids hold 255", _table({0: "a", 1: "b", 2: "c", 3: "d", 255: "ignore"}), like=transformers_files, labels=("a", "b", "c", "d", "class 4"), says="'ignore' for 255")
layout("three classes, one of them 255", lambda: with_config(transformers_files(classes=3), "label2id", id2label={"0": "ground", "1": "cell", "255": "void"}),
    like=lambda: transformers_files(classes=3), labels=("ground", "cell", "class 2"), says="'void' for 255",
)  # fmt: skip
layout("class names are missing", lambda: with_config(transformers_files(), "label2id", "id2label"), like=transformers_files, labels=_CLASSES)
layout("only the number of classes", lambda: with_config(transformers_files(), "label2id", "id2label", num_labels=5), like=transformers_files, labels=_CLASSES)
layout("only label2id", lambda: with_config(transformers_files(), "id2label", label2id=LABEL2ID), like=transformers_files)
layout("too few class names", _table({"0": "a", "1": "b"}), like=transformers_files, labels=("a", "b", *_CLASSES[2:]), says="3 of the 5")
layout("too many class names", _table(dict(enumerate("abcdefgh"))), like=transformers_files, labels=tuple("abcde"), says="3 names")
layout("class names twice", _table(dict(enumerate("aabba"))), like=transformers_files, labels=tuple("aabba"))
layout("class names the wrong way round", _table(LABEL2ID), like=transformers_files)
layout("class names in a list", _table(list(NAMES)), like=transformers_files)
layout("class names are null", _table(None), like=transformers_files, labels=_CLASSES)
layout("class names of thousands that are none of its", _table({str(index): f"thing {index}" for index in range(70_000)}), like=transformers_files, labels=tuple(f"thing {index}" for index in range(5)), says="69995")
layout("smp with names that begin at 1", lambda: {**smp_files(), PROCESSOR: json.dumps({"id2label": dict(enumerate(NAMES, 1))}).encode()}, like=smp_files, labels=("class 0", *NAMES[:4]), says="1 of the 5")
layout("smp of one channel with a name", lambda: with_config(smp_files(classes=1), id2label={"0": "cell"}), like=lambda: smp_files(classes=1), labels=("background", "cell"))

# Numbers that build nothing, and such as do.

layout("label ids of thousands in a backbone", lambda: with_json(
    transformers_files("upernet-swin"), CONFIG, backbone_config={**json.loads(transformers_files("upernet-swin")[CONFIG])["backbone_config"], "id2label": {str(index): f"LABEL_{index}" for index in range(21842)}, "label2id": {f"LABEL_{index}": index for index in range(21842)}},
), like=lambda: transformers_files("upernet-swin"))  # fmt: skip
layout(
    "a vocabulary, training points, a seed and a date", lambda: with_config(transformers_files(), vocab_size=49408, train_num_points=12544, seed=20240131, eos_token_id=151645),
    like=transformers_files,
)  # fmt: skip
layout("weights of 150 classes for the loss", lambda: with_config(transformers_files(), class_weights=[0.5] * 150), like=transformers_files)
layout("smp with keys of a trainer", lambda: with_config(smp_files(), max_steps=160_000, seen=[0] * 100, seed=20240131), like=smp_files, labels=None)
layout("a width of a million", lambda: with_config(transformers_files(), decoder_hidden_size=10**6), refused="decoder_hidden_size is 1000000")
layout("a billion layers", lambda: with_config(transformers_files("beit"), num_hidden_layers=10**9), refused="num_hidden_layers is 1000000000")

# Which files are taken.

layout("one safetensors file of another name", lambda: renamed(transformers_files(), weights="segformer_b0.safetensors"), like=transformers_files)
layout("the half precision variant alone", lambda: renamed(transformers_files(), weights="model.fp16.safetensors"), like=transformers_files)
layout("smp with weights of another name", lambda: renamed(smp_files(), weights="best.safetensors"), like=smp_files, labels=None)
layout("two safetensors files of other names", lambda: {**renamed(transformers_files(), weights="last.safetensors"), "best.safetensors": b"x"}, refused="2 weight files .best.safetensors, last.safetensors.")
layout("an adapter's weights beside the network's", lambda: {**transformers_files(), "adapter_model.safetensors": b"x"}, like=transformers_files)
for _family in ("segformer", "dpt", "upernet-swin"):
    layout(f"{_family} in shards", lambda family=_family: sharded(transformers_files(family)), like=lambda family=_family: transformers_files(family))
layout("smp in shards", lambda: sharded(smp_files(), 2), like=smp_files, labels=None)
layout("one shard with an index", lambda: sharded(transformers_files(), 1), like=transformers_files)
layout("shards saved within model.", lambda: sharded(prefixed(transformers_files(), "model.")), like=transformers_files, says="'model.'")
layout("a shard is missing", lambda: without(sharded(transformers_files()), "model-00002-of-00003.safetensors"), refused="not all of the 3 files .* model-00002-of-00003.safetensors is missing")
layout("an index of shards that lead elsewhere", lambda: {**sharded(transformers_files()), "model.safetensors.index.json": json.dumps({"weight_map": {"a": "../../x.safetensors"}}).encode()}, refused="safetensors files beside it")

# The conversion bot's pull request.

BOT = "SFconvertbot"
_PICKLED = {"pytorch_model.bin": b"x"}


def _unconverted(**changes: Any) -> Files:
    return {**without(with_config(transformers_files(), **changes), WEIGHTS), **_PICKLED}


layout("weights in the bot's pull request", lambda: _unconverted(), pulls=((1, BOT, "open", transformers_files),), like=transformers_files)
layout("weights in the bot's pull request, the branch by its name", lambda: _unconverted(), typed="{id}@main", pulls=((1, BOT, "open", transformers_files),), like=transformers_files)
layout(
    "the newest of the bot's pull requests, and not a stranger's", lambda: _unconverted(), like=transformers_files,
    pulls=((1, BOT, "open", lambda: others(transformers_files())), (2, BOT, "open", transformers_files), (3, "mallory", "open", lambda: others(transformers_files())),
           (4, BOT, "closed", lambda: others(transformers_files()))),
)  # fmt: skip
layout(
    "names and sizes from the branch, weights from the pull request", lambda: _unconverted(id2label=dict(enumerate("abcde"))),
    pulls=((1, BOT, "open", lambda: with_json(with_config(transformers_files(), id2label=dict(enumerate("vwxyz"))), PROCESSOR, size={"height": 32, "width": 32})),),
    like=transformers_files, labels=tuple("abcde"),
)  # fmt: skip
layout("shards in the bot's pull request", lambda: _unconverted(), pulls=((1, BOT, "open", lambda: sharded(transformers_files())),), like=transformers_files)
layout("the branch has weights, and so has a pull request", transformers_files, pulls=((1, BOT, "open", lambda: others(transformers_files())),))
layout("a pull request by its name", lambda: _unconverted(), typed="{id}@refs/pr/1", pulls=((1, BOT, "open", transformers_files),), like=transformers_files)

# Folders and addresses.

_ZOO = lambda: {**below("b0", transformers_files()), **below("b1", others(transformers_files())), "README.md": b"# zoo"}  # noqa: E731
layout("a folder of a repository", _ZOO, typed="{id}/b0", like=transformers_files)
layout("another folder of it", _ZOO, typed="{id}/b1", like=lambda: others(transformers_files()))
layout("several folders and none typed", _ZOO, refused="holds 2 models, each in a folder. Type the one that is meant: .*/b0, .*/b1")
layout("a folder that is not there", _ZOO, typed="{id}/b7", refused="has no folder 'b7'. Its models are .*/b0")
layout("the only folder", lambda: {**below("model", transformers_files()), "README.md": b"# one"}, like=transformers_files)
layout("folders within folders", lambda: below("sizes/b0", sharded(transformers_files())), typed="{id}/sizes/b0", like=transformers_files)
layout("smp in a folder", lambda: {**below("fpn", smp_files("FPN")), **below("unet", smp_files())}, typed="{id}/fpn", like=lambda: smp_files("FPN"), labels=None)
layout("a folder of a revision", transformers_files, branches={"v2": lambda: below("b1", transformers_files())}, typed="{id}/b1@v2", like=transformers_files)
layout("checkpoints of a trainer beside the model", lambda: {**transformers_files(), **below("checkpoint-500", others(transformers_files()))}, like=transformers_files)
layout("an address", transformers_files, typed="https://huggingface.co/{id}", like=transformers_files)
layout("the address of a folder", _ZOO, typed="https://huggingface.co/{id}/tree/main/b0", like=transformers_files)
layout("the address of a file", _ZOO, typed="https://huggingface.co/{id}/blob/main/b0/config.json", like=transformers_files)
layout("the address of a revision", transformers_files, branches={"v2": lambda: others(transformers_files())}, typed="hf.co/{id}/tree/v2", like=lambda: others(transformers_files()))

# What is no network for segmentation, or none that can be loaded; each has its sentence.


def _only(name: str, **config: Any) -> Files:
    return {CONFIG: json.dumps(config).encode(), name: b"x" * 64}


layout("an adapter", {"adapter_config.json": b'{"peft_type": "LORA", "base_model_name_or_path": "ann/base"}', "adapter_model.safetensors": b"x"}, refused="is an adapter .*merge_and_unload")
layout("a detector", lambda: _only(WEIGHTS, model_type="detr", architectures=["DetrForObjectDetection"]), refused="gives boxes, no masks")
layout("another detector", lambda: _only(WEIGHTS, model_type="yolos", architectures=["YolosForObjectDetection"]), refused="gives boxes, no masks")
layout("a depth model", lambda: _only(WEIGHTS, model_type="dpt", architectures=["DPTForDepthEstimation"]), refused="estimates depth")
layout("a classifier", lambda: _only(WEIGHTS, model_type="vit", architectures=["ViTForImageClassification"]), refused="names what a whole picture shows")
layout("a classifier of timm", lambda: _only(WEIGHTS, architecture="resnet50", num_classes=1000, num_features=2048, pretrained_cfg={}), refused="classifier of timm .resnet50")
layout("a language model", lambda: _only(WEIGHTS, model_type="llama", architectures=["LlamaForCausalLM"]), refused="is a language model")
layout("a model of speech", lambda: _only(WEIGHTS, model_type="wav2vec2", architectures=["Wav2Vec2ForCTC"]), refused="speech or sound")
layout("class queries", lambda: _only(WEIGHTS, model_type="mask_dino", architectures=["MaskDinoForUniversalSegmentation"]), refused="class queries")
layout("a model that is clicked", lambda: _only(WEIGHTS, model_type="seggpt", architectures=["SegGptForImageSegmentation"]), refused="needs clicks or words")
layout("code of its own", lambda: {**_only(WEIGHTS, model_type="birefnet", architectures=["BiRefNet"], auto_map={"AutoModelForImageSegmentation": "birefnet.BiRefNet"}), "birefnet.py": b"raise"}, refused="code of its own .birefnet.py")
layout("a known network with code beside it", lambda: with_config(transformers_files(), auto_map={"AutoModelForSemanticSegmentation": "mine.Mine"}), like=transformers_files)
layout("ONNX only", {"config.json": b"{}", "onnx/model.onnx": b"x", "model.onnx": b"x"}, refused="model.onnx, is the network in the form of ONNX")
layout("a file of ultralytics", {"yolov8n-seg.pt": b"x", "README.md": b""}, refused="is a file of ultralytics")
layout("a checkpoint of Lightning", {"epoch=9.ckpt": b"x", "hparams.yaml": b""}, refused="is a checkpoint of PyTorch Lightning")
layout("a pickle of another program", {"model.pth": b"x", "config.py": b""}, refused="a pickle that no library loads by its name")
layout("TensorFlow only", {"config.json": b"{}", "tf_model.h5": b"x"}, refused="form of TensorFlow")
layout("Flax only", {"config.json": b"{}", "flax_model.msgpack": b"x"}, refused="form of Flax")
layout("Core ML only", {"config.json": b"{}", "net.mlmodel": b"x"}, refused="for one kind of machine")
layout("GGUF", {"config.json": b"{}", "llama.Q4_K_M.gguf": b"x"}, refused="GGUF")
layout("diffusers", {"model_index.json": b"{}", "unet/config.json": b"{}", "unet/diffusion_pytorch_model.safetensors": b"x", "vae/config.json": b"{}", "vae/diffusion_pytorch_model.safetensors": b"x"}, refused="pipeline of diffusers")
layout("weights without a config", lambda: without(transformers_files(), CONFIG), refused="no config.json that says which network")
layout("a config without weights", lambda: without(transformers_files(), WEIGHTS), refused="has no model.safetensors .it has config.json")
layout("a dataset", {"data.parquet": b"x"}, kind="dataset", refused="is a dataset of the Hub, not a model")
layout("a Space", {"app.py": b""}, kind="space", refused="is a Space of the Hub, not a model")
layout("the address of a dataset", {"data.parquet": b"x"}, kind="dataset", typed="https://huggingface.co/datasets/{id}", refused="is a dataset of the Hub, not a model")
layout("an organisation's page", transformers_files, typed="https://huggingface.co/ann", refused="not that of a model")

# Pickles: read by a child that has locked itself in.

layout("a pickle", lambda: pickled(transformers_files()), like=transformers_files)
layout("pickles in shards", lambda: pickled_shards(transformers_files("upernet-swin")), like=lambda: transformers_files("upernet-swin"))
layout("a pickle of DPT within model.", lambda: pickled(prefixed(transformers_files("dpt"), "model.")), like=lambda: transformers_files("dpt"), says="'model.'")
layout("a pickle of smp", lambda: pickled(smp_files()), like=smp_files, labels=None)
layout("a pickle in a folder", lambda: {**below("b0", pickled(transformers_files())), **below("b1", transformers_files("beit"))}, typed="{id}/b0", like=transformers_files)
layout("a pickle with other weights beside safetensors", lambda: {**pickled(others(transformers_files())), **transformers_files()}, like=transformers_files)
layout("a pickle where discussions are switched off", lambda: pickled(transformers_files()), discussions=False, like=transformers_files)
layout("a pickle whose bot's pull request is closed", lambda: pickled(transformers_files()), pulls=((1, BOT, "closed", lambda: others(transformers_files())),), like=transformers_files)
layout("a pickle on a branch", transformers_files, branches={"old": lambda: pickled(others(transformers_files()))}, typed="{id}@old", like=lambda: others(transformers_files()))

# The menu's own repositories: NVIDIA's, of 2022, whose processors were called feature extractors and whose branches have pickles.


def _nvidia(side: int, reduce: bool, weights: bool) -> Files:
    made = {
        "do_normalize": True, "do_resize": True, "feature_extractor_type": "SegformerFeatureExtractor", "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225], "reduce_labels": reduce, "resample": 2, "size": side,
    }  # fmt: skip
    files = with_config(
        transformers_files(), "label2id", "num_labels", architectures=["SegformerForSemanticSegmentation"], torch_dtype="float32",
        transformers_version="4.18.0.dev0", reshape_last_stage=True, semantic_loss_ignore_index=255, drop_path_rate=0.1,
    )  # fmt: skip
    files |= {PROCESSOR: json.dumps(made).encode(), "tf_model.h5": b"x", "README.md": b"---\nlicense: other\n---\n"}
    return files if weights else pickled(files)


def _today(side: int) -> Files:
    return with_json(transformers_files(), PROCESSOR, size={"height": side, "width": side})


layout("the menu's B0 of ADE20K", lambda: _nvidia(512, True, True), id="nvidia/segformer-b0-finetuned-ade-512-512", like=lambda: _today(512))
layout("the menu's B2 of ADE20K", lambda: _nvidia(512, True, False), id="nvidia/segformer-b2-finetuned-ade-512-512", like=lambda: _today(512))
layout("the menu's B0 of Cityscapes", lambda: _nvidia(1024, False, False), id="nvidia/segformer-b0-finetuned-cityscapes-1024-1024", like=lambda: _today(1024))

# What is said in a config but not heeded by the libraries, and what is meant where they are silent.

for _named in ("MySegformer", "SegformerForImageClassification", "SegformerModel"):
    layout(f"a whole network whose config names {_named}", lambda named=_named: with_config(transformers_files(), architectures=[named]))
layout("an encoder whose config names a class of the author's", lambda: without_tensors(with_config(transformers_files(), architectures=["MyEncoder"]), "decode_head"), refused="base for training")
layout("SegFormer of one channel with two names", lambda: with_config(transformers_files(classes=1), id2label={"0": "sky", "1": "bird"}), like=lambda: transformers_files(classes=1), labels=("sky", "bird"))
layout("SegFormer of one channel called background", lambda: with_config(transformers_files(classes=1), id2label={"0": "background"}), like=lambda: transformers_files(classes=1), labels=("background", "foreground"))
layout("one mean for all channels", lambda: with_json(transformers_files(), PROCESSOR, image_mean=0.5, image_std=0.5))
layout("a picture whose bytes are neither scaled nor normalised", lambda: with_json(transformers_files(), PROCESSOR, do_rescale=False, do_normalize=False),
    like=lambda: with_json(transformers_files(), PROCESSOR, do_normalize=True, do_rescale=False, image_mean=[0.0] * 3, image_std=[1.0] * 3),
)  # fmt: skip
layout("values of -1 to 1", lambda: with_json(transformers_files(), PROCESSOR, rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[1.0] * 3))
for _resample in (0, 1, 3):
    layout(f"resampling by Pillow's number {_resample}", lambda resample=_resample: with_json(transformers_files(), PROCESSOR, size={"height": 40, "width": 52}, resample=resample))
layout("a resampling that the library does not have", lambda: with_json(transformers_files(), PROCESSOR, resample=4), refused="image processor cannot be used")
layout("a resampling in words", lambda: with_json(transformers_files(), PROCESSOR, resample="bicubic"), refused="image processor cannot be used")
layout("a resize without a size", lambda: with_json(transformers_files(), PROCESSOR, size=None), refused="image processor cannot be used")
layout("an empty processor file", lambda: {**transformers_files(), PROCESSOR: b""}, refused="is empty")
layout("a config with a mark of byte order", lambda: {**transformers_files(), CONFIG: b"\xef\xbb\xbf" + transformers_files()[CONFIG]}, refused="byte order mark")
layout("a processor of class queries", lambda: with_json(transformers_files(), PROCESSOR, image_processor_type="Mask2FormerImageProcessor"), refused="class queries")
layout("weights of 8 bits", lambda: with_tensors(transformers_files(), lambda state: {name: tensor.to(torch.float8_e4m3fn) if tensor.ndim > 1 else tensor for name, tensor in state.items()}),
    like=lambda: with_tensors(transformers_files(), lambda state: {name: tensor.to(torch.float8_e4m3fn).float() if tensor.ndim > 1 else tensor for name, tensor in state.items()}),
)  # fmt: skip
layout("quantised by bitsandbytes", lambda: with_config(transformers_files(), quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}), refused="quantised .bitsandbytes")
layout("quantised by GPTQ", lambda: with_config(transformers_files(), quantization_config={"quant_method": "gptq", "bits": 4}), refused="quantised .gptq")
layout("a backbone by its name", lambda: with_config(transformers_files("upernet-swin"), "backbone_config", backbone="microsoft/swin-tiny-patch4-window7-224"), refused="fetched from elsewhere .microsoft/swin-tiny")
layout("an adapter that was not merged", lambda: with_extra(transformers_files(), decode_head__classifier__lora_A__default__weight=torch.ones(2, 2)), refused="merge_and_unload")
for _decoder, _encoder in (("Unet", "mit_b0"), ("Unet", "tu-test_convnext"), ("UnetPlusPlus", "resnet18"), ("FPN", "mit_b0")):
    layout(f"smp {_decoder} with {_encoder} and its own mean", lambda decoder=_decoder, encoder=_encoder: smp_files(decoder, encoder), labels=None)
layout("smp with attention", lambda: smp_files(decoder_attention_type="scse"), labels=None)
layout("smp with four levels and bilinear upsampling", lambda: smp_files(encoder_depth=4, decoder_channels=[64, 32, 16, 8], decoder_interpolation="bilinear"), labels=None)
layout("smp parts of which torch.compile wrapped", lambda: with_tensors(smp_files(), lambda state: {name.replace("encoder.", "encoder._orig_mod."): tensor for name, tensor in state.items()}), like=smp_files, labels=None)
layout("smp before 0.4, without the name of its class", lambda: with_config(smp_files(), "_model_class"), refused="_model_class is missing")
layout("smp with weights of three channels where one is stated", lambda: with_config(smp_files(), in_channels=1), refused=r"has shape \(16, 3, 3, 3\).*describes \(16, 1, 3, 3\)")

# Uploads and copies that went wrong.

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
for _name in (WEIGHTS, "pytorch_model.bin"):
    _rest = lambda: without(transformers_files(), WEIGHTS)  # noqa: E731
    layout(f"{_name} is a pointer of Git LFS", lambda name=_name: {**_rest(), name: POINTER}, refused="pointer of Git LFS")
    layout(f"{_name} is empty", lambda name=_name: {**_rest(), name: b""}, refused=f"{_name} of this model is empty")
    layout(f"{_name} is a web page", lambda name=_name: {**_rest(), name: b"<!DOCTYPE html><html><body>404</body></html>"}, refused="is a web page")
layout("config.json is a pointer of Git LFS", lambda: {**transformers_files(), CONFIG: POINTER}, refused="pointer of Git LFS")
layout("weights are cut off", lambda: {**transformers_files(), WEIGHTS: transformers_files()[WEIGHTS][:-500]}, refused="is cut off")
layout("a pickle that is called safetensors", lambda: {**transformers_files(), WEIGHTS: pickled(transformers_files())["pytorch_model.bin"]}, refused="a pickle of torch under another name")


def _held(key: str, **beside: Any) -> Files:
    """Weights in what a training program pickles together."""
    buffer = io.BytesIO()
    torch.save({key: load(transformers_files()[WEIGHTS]), **beside}, buffer)
    return {**without(transformers_files(), WEIGHTS), "pytorch_model.bin": buffer.getvalue()}


layout("a pickle of weights beside an epoch", lambda: _held("state_dict", epoch=3), like=transformers_files)
layout("a pickle of weights beside an optimizer", lambda: _held("model_state_dict", optimizer_state_dict={"state": {}}), like=transformers_files)

# Folders that hold another program's files.

layout("weights in a folder below the config", lambda: {CONFIG: transformers_files()[CONFIG], "weights/model.safetensors": transformers_files()[WEIGHTS]}, refused="another folder than its weights .weights/model.safetensors")
layout("transformers.js", lambda: {**without(transformers_files(), WEIGHTS), "onnx/model.onnx": b"x", "onnx/model_quantized.onnx": b"x"}, refused="onnx/model.onnx, is the network in the form of ONNX")
layout("a package of Core ML", lambda: {CONFIG: b"{}", "seg.mlpackage/Data/weights/weight.bin": b"x"}, refused="seg.mlpackage, is the network compiled")
layout("nnU-Net", lambda: {"fold_0/checkpoint_final.pth": b"x", "dataset.json": b"{}", "plans.json": b"{}"}, refused="fold_0/checkpoint_final.pth, is a pickle")
layout("a trainer's checkpoints and no model", lambda: {**below("checkpoint-500", transformers_files()), **below("checkpoint-1000", transformers_files())}, refused="holds 2 models")
layout("a commit by its first letters", lambda: transformers_files(), typed="{id}@0123abc", refused="all its 40 letters")
layout("a branch with a slash", transformers_files, branches={"feature/x": lambda: others(transformers_files())}, typed="https://huggingface.co/{id}/tree/feature%2Fx", like=lambda: others(transformers_files()))
for _number, _typed in enumerate((
    " {id}/ ", "HTTPS://HuggingFace.co/{id}?library=transformers", "git clone https://huggingface.co/{id}", "git@hf.co:{id}.git", "hf download {id} --local-dir x",
    'AutoModel.from_pretrained("{id}")', 'model="{id}"', "\u201c{id}\u201d.", "\u200b{id}", "[{id}](https://huggingface.co/{id})", "https://hf-mirror.com/{id}/tree/main", "{id} @ main",
)):  # fmt: skip
    layout(f"copied text {_number}", transformers_files, typed=_typed, id="ann/copied")

# Where the Hub redirects.

layout("a repository that was renamed", transformers_files, id="ann/today", before=("ann/formerly",), typed="ann/formerly")
layout("a renamed repository with a pickle", lambda: pickled(transformers_files()), id="ann/pickled-today", before=("bob/pickled",), typed="bob/pickled", like=transformers_files)
layout("a folder of a renamed repository", _ZOO, id="ann/zoo-today", before=("ann/zoo-formerly",), typed="ann/zoo-formerly/b1", like=lambda: others(transformers_files()))
layout("an id in other letters", transformers_files, id="ann/Sea-Ice", before=("Ann/sea-ice",), typed="Ann/sea-ice")
layout("the bot's weights of a renamed repository", lambda: _unconverted(), id="ann/bot-today", before=("ann/bot-formerly",), typed="ann/bot-formerly", pulls=((1, BOT, "open", transformers_files),), like=transformers_files)

# Rows that show of another network, prefix or spelling what a neighbour shows: left to the soak tests.
_REPEATED = (
    "data2vec-vision as transformers saves it", "mobilevit as transformers saves it", "upernet-convnext as transformers saves it",
    *(f"smp {decoder} with tu-test_resnet" for decoder in ("UnetPlusPlus", "MAnet", "Linknet", "DeepLabV3", "PSPNet")),
    "smp Unet with mobilenet_v2", "smp UPerNet with tu-test_convnext", "smp Unet with tu-test_convnext and its own mean",
    "smp FPN with mit_b0 and its own mean", "smp UnetPlusPlus with resnet18 and its own mean", "smp with a loss among the weights",
    "SegFormer saved within module.", "SegFormer saved within net.", "SegFormer saved within segmentation_model.",
    "SegFormer saved within model. beside a loss", "UPerNet saved within network.", "smp saved within segmentation_model.",
    "smp without counters", "dpt in shards", "upernet-swin in shards", "shards saved within model.", "smp with weights of another name",
    "another folder of it", "smp in a folder", "the address of a file", "only the number of classes", "class names are null",
    "smp with names that begin at 1", "smp with keys of a trainer", "weights of 150 classes for the loss",
    "the newest of the bot's pull requests, and not a stranger's", "shards in the bot's pull request",
    "weights in the bot's pull request, the branch by its name", "a pickle of DPT within model.", "a pickle of smp", "a pickle in a folder",
    "a pickle where discussions are switched off", "a pickle of weights beside an optimizer",
    "a whole network whose config names SegformerForImageClassification", "a whole network whose config names SegformerModel",
    "SegFormer of one channel called background", "resampling by Pillow's number 1", "resampling by Pillow's number 3",
    "smp FPN with mobileone_s0", "smp UPerNet with tu-test_resnet", "smp Segformer with mit_b0", "smp Unet with timm-mobilenetv3_small_minimal_100",
    "upernet-swin as transformers saves it", "mobilevitv2 as transformers saves it", "smp FPN with tu-test_resnet", "smp DeepLabV3Plus with tu-test_resnet",
    "smp in shards", "smp saved within model.", "SegFormer of one channel with two names", "a pickle of weights beside an epoch",
    "a whole network whose config names MySegformer", "a pickle on a branch", "weights in half precision", "folders within folders", "DPT saved within model.",
    "the address of a folder", "a folder of a renamed repository", "the bot's weights of a renamed repository",
    "smp with four levels and bilinear upsampling", "one shard with an index", "the address of a revision", "a pull request by its name", "one mean for all channels", "weights of 8 bits", "checkpoints of a trainer beside the model", "an average beside the network itself", "a folder of a revision", "class names twice", "an address",
    *(f"copied text {number}" for number in (1, 2, 4, 6, 7, 8, 10)), "a renamed repository with a pickle",
)  # fmt: skip
LAYOUTS |= {name: replace(LAYOUTS[name], soak=True) for name in _REPEATED}

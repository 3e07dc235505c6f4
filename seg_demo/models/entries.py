"""The built-in menu: what each model is, whose licence it has, what it is good at."""

from __future__ import annotations

from seg_demo.types import ModelSpec

NVIDIA = "NVIDIA Source Code License (non-commercial)"
CELLS = "Cells, coins, pollen and other separate round things on a plain background. It does not recognise everyday objects."
TYPED = "A model from the Hugging Face Hub, as its owner published it."
MADE_HERE = "Fine-tuned in this demo; its model card says how good it is."
# As the methods of seg_demo.masks.regions label their results.
REGIONS = ("background", "region")

BUNDLED = (
    ModelSpec(
        "unet-cells", None, "semantic", "unet", "U-Net, cells", "Apache-2.0", "bundled",
        about=f"{CELLS} Draws a border class between neighbours that touch. The fastest of the three.",
    ),
    ModelSpec(
        "segformer-cells", None, "semantic", "segformer", "SegFormer, cells", "Apache-2.0", "bundled",
        about=f"{CELLS} Looks at more of the surroundings than a U-Net does.",
    ),
    ModelSpec(
        "maskrcnn-cells", None, "instance", "maskrcnn", "Mask R-CNN, cells", "Apache-2.0", "bundled",
        about=f"{CELLS} Finds each one by itself, also where they overlap, so they can be counted.",
    ),
)  # fmt: skip

HUB = (
    ModelSpec(
        "nvidia/segformer-b0-finetuned-ade-512-512", None, "semantic", "segformer", "SegFormer B0, scenes (ADE20K)", NVIDIA,
        "hub", about="150 classes of rooms, streets and landscapes. Small and quick; use B2 where the outlines matter.",
    ),
    ModelSpec(
        "nvidia/segformer-b2-finetuned-ade-512-512", None, "semantic", "segformer", "SegFormer B2, scenes (ADE20K)", NVIDIA,
        "hub", about="150 classes of rooms, streets and landscapes. Finer than B0, several times as slow.",
    ),
    ModelSpec(
        "nvidia/segformer-b0-finetuned-cityscapes-1024-1024", None, "semantic", "segformer",
        "SegFormer B0, streets (Cityscapes)", NVIDIA, "hub",
        about="19 classes of street scenes as a car's camera sees them.",
    ),
)  # fmt: skip

TORCH = (
    ModelSpec(
        "fcn-resnet50-voc", None, "semantic", "fcn", "FCN ResNet-50, objects (VOC)", "BSD-3-Clause", "torchvision",
        about="20 kinds of things, such as people, animals, vehicles and furniture, against a background.",
    ),
    ModelSpec(
        "maskrcnn-v2-coco", None, "instance", "maskrcnn", "Mask R-CNN v2, objects (COCO)", "BSD-3-Clause", "torchvision",
        about="80 kinds of everyday objects, each one found and outlined by itself.",
    ),
)  # fmt: skip

METHODS = (
    ModelSpec(
        "otsu", None, "region", "classical", "Otsu threshold", "BSD-3-Clause", "builtin", REGIONS,
        about="One brightness threshold, found from the histogram. For things clearly brighter or darker than the background.",
    ),
    ModelSpec(
        "watershed", None, "region", "classical", "Edges + watershed", "BSD-3-Clause", "builtin", REGIONS,
        about="Fills the picture from flat areas up to its edges. For things that touch and have visible outlines.",
    ),
    ModelSpec(
        "slic", None, "region", "classical", "SLIC superpixels", "BSD-3-Clause", "builtin", REGIONS,
        about="Patches of about the same size that follow the colours. A first step for painting labels.",
    ),
    ModelSpec(
        "felzenszwalb", None, "region", "classical", "Felzenszwalb", "BSD-3-Clause", "builtin", REGIONS,
        about="Merges neighbours whose difference is small for the region they lie in. Large even areas become one region.",
    ),
)  # fmt: skip

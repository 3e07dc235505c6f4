"""The page's words in English and Chinese, chosen by the browser's language.

Static texts are translated in the browser by ``gr.I18n``; what the server writes later (about a model, for example) follows
the request's ``Accept-Language``, which browsers send for the same setting. The viewer carries its own words.
"""

from __future__ import annotations

import gradio as gr
from gradio.i18n import I18nData

from seg_demo.ui import i18n_correct, i18n_loop

# key: (English, Chinese)
WORDS: dict[str, tuple[str, str]] = {
    "title": ("# Image segmentation", "# 图像分割"),
    "tagline": (
        "Drop in an image and see what is in it, and where. Point at a part to see its name; download the result for your next "
        "tool.",
        "放入一张图片，看看里面有什么、在哪里：悬停查看名称，结果可下载给后续工具使用。",
    ),
    "semantic": ("Semantic", "语义分割"),
    "instance": ("Instance", "实例分割"),
    "regions": ("Regions", "区域分割"),
    "models": ("Models", "模型"),
    "semantic_lead": (
        "Every pixel gets one class, such as road, sky or cell. Touching objects of one class become one area.",
        "每个像素归入一个类别，如道路、天空、细胞。相邻的同类物体连成一片。",
    ),
    "instance_lead": (
        "Every object is found separately, with its class, mask and score, so that you can count objects.",
        "逐个找出对象，给出类别、掩膜与得分，便于计数。",
    ),
    "regions_lead": (
        "Divides the image by brightness, colour and edges, without a model and without classes. Quick, with nothing to "
        "download.",
        "不用模型、不分类别，按亮度、颜色与边缘划分区域：快速，无需下载。",
    ),
    "image": ("Image", "图片"),
    "drop": ("Drop an image here\nor click to choose one", "将图片拖到此处\n或点击选择"),
    "model": ("Model", "模型"),
    "model_info": (
        "Choose from the menu (○ means not available now), or type a Hugging Face id: user/repo",
        "从菜单选择（○ 表示目前不可用），或输入 Hugging Face 模型 ID：user/repo",
    ),
    "threshold": ("Score threshold", "得分阈值"),
    "threshold_info": (
        "Objects with a lower score are hidden. The model does not run again.",
        "隐藏得分更低的对象，模型不会重新运行。",
    ),
    "detail": ("Detail", "精细程度"),
    "detail_whole": ("Whole image", "整图"),
    "detail_full": ("Full detail", "完整细节"),
    "detail_info": (
        "For images larger than the model's input. Whole image: shrunk to fit. Full detail: tile by tile at its original size; "
        "slower, but finds small things.",
        "仅影响大于模型输入尺寸的图片。整图：缩小后处理；完整细节：按原尺寸逐块处理，较慢，但能找到细小目标。",
    ),
    "method": ("Method", "方法"),
    # The parameters of the region methods; their English is the table in masks/region_methods.py.
    "otsu_objects": ("Objects are", "目标是"),
    "objects_dark": ("dark", "暗的"),
    "objects_auto": ("dark or bright: decided from the picture", "自动判断"),
    "objects_bright": ("bright", "亮的"),
    "otsu_min_area": ("Smallest piece (%)", "最小块（%）"),
    "otsu_min_area_help": ("In percent of the picture; smaller ones are left out.", "占全图百分比；更小的舍去。"),
    "otsu_smoothing": ("Smoothing (pixels)", "平滑（像素）"),
    "otsu_smoothing_help": (
        "Blur before the threshold: for noisy pictures; it widens thin lines.",
        "阈值前的模糊程度：用于噪声多的图片；会使细线变宽。",
    ),
    "watershed_smoothing": ("Smoothing (pixels)", "平滑（像素）"),
    "watershed_smoothing_help": ("Blur before the search for edges.", "寻找边缘前的模糊程度。"),
    "watershed_min_area": ("Smallest seed (%)", "最小种子（%）"),
    "watershed_min_area_help": (
        "In percent of the picture; smaller ones are merged into their neighbours.",
        "占全图百分比；更小的并入相邻区域。",
    ),
    "slic_regions": ("Regions", "区域数"),
    "slic_regions_help": ("About how many; small pictures get fewer.", "大致数量；小图片会更少。"),
    "slic_compactness": ("Compactness", "紧凑度"),
    "slic_compactness_help": (
        "Higher values give squarer regions; lower values follow the colours.",
        "越大区域越方正，越小越贴合颜色。",
    ),
    "felzenszwalb_scale": ("Scale", "尺度"),
    "felzenszwalb_scale_help": ("Higher values give larger and fewer regions.", "越大则区域越大、越少。"),
    "felzenszwalb_min_area": ("Smallest region (%)", "最小区域（%）"),
    "felzenszwalb_min_area_help": ("In percent of the picture; smaller ones are merged.", "占全图百分比；更小的并入相邻区域。"),
    "otsu": ("Otsu threshold", "Otsu 阈值"),
    "watershed": ("Edges + watershed", "边缘 + 分水岭"),
    "slic": ("SLIC superpixels", "SLIC 超像素"),
    "felzenszwalb": ("Felzenszwalb", "Felzenszwalb 图分割"),
    "run": ("Segment", "分割"),
    "cancel": ("Cancel", "取消"),
    "examples_everyday": ("Try a photograph", "试试照片"),
    "examples_cells": ("Try cells and coins", "试试细胞与硬币"),
    "examples_regions": ("Try an example", "试试示例"),
    "download": ("Download", "下载"),
    "zip": ("Everything (.zip)", "全部 (.zip)"),
    "mask": ("Mask PNG", "掩膜 PNG"),
    "overlay": ("Overlay PNG", "叠加图 PNG"),
    "coco_rle": ("COCO (RLE)", "COCO（RLE）"),
    "coco_polygons": ("COCO (polygons)", "COCO（多边形）"),
    "geojson": ("GeoJSON", "GeoJSON"),
    "csv": ("Table CSV", "表格 CSV"),
    "ready": ("ready", "可用"),
    "unreachable": ("not available now", "目前不可用"),
    "typed": (
        "A model id that you typed. Its class names, colours and preprocessing come from its repository; code in the "
        "repository is never run.",
        "手动输入的模型 ID。类别名、颜色与预处理取自其仓库；仓库中的代码不会运行。",
    ),
    "no_model": (
        "The menu has no model of this kind. Type the id of one from the Hugging Face Hub: user/repo.",
        "菜单中没有这类模型。请输入 Hugging Face Hub 的模型 ID：user/repo。",
    ),
    "knows": ("It recognises: ", "可识别："),
    "licence": ("Licence", "许可证"),
    "unstated": ("not stated", "未说明"),
    "source": ("Source", "来源"),
    "network": ("Network", "网络"),
    "classes": ("Classes", "类别"),
    "size": ("Size", "大小"),
    "precision": ("Precision", "精度"),
    "bf16_unknown": ("bf16 once an image has been segmented; fp32 until then", "首张图像分割后使用 bf16，此前为 fp32"),
    "bf16_agreement": (
        "bf16: on the first image, {share} % of the labels were the same as in fp32",
        "bf16：首张图像上 {share}% 的标签与 fp32 一致",
    ),
    "more_classes": ("{count} classes, such as ", "{count} 个类别，例如 "),
    "separator": (", ", "、"),
    "stop": (".", "。"),
    "colon": (": ", "："),
    "source_bundled": ("comes with the demo", "随演示附带"),
    "source_hub": ("Hugging Face Hub", "Hugging Face Hub"),
    "source_torchvision": ("torchvision", "torchvision"),
    "source_builtin": ("computed directly, no weights", "直接计算，无权重"),
    "source_folder": ("a folder on the server", "服务器上的文件夹"),
    "credits": (
        "Example pictures: coins, Brooklyn Museum (no known copyright restrictions); cell, P. Müller et al. (CC0); coffee, "
        "Rachel Michetti (CC0); cat, Stéfan van der Walt (CC0); astronaut and galaxies, NASA, rocket, SpaceX (public "
        "domain); nuclei and tissue, rendered by this project (Apache-2.0).",
        "示例图片：硬币，布鲁克林博物馆（无已知版权限制）；细胞，P. Müller 等（CC0）；咖啡，Rachel Michetti（CC0）；"
        "猫，Stéfan van der Walt（CC0）；宇航员与星系，NASA，火箭，SpaceX（公有领域）；"
        "细胞核与组织，本项目生成（Apache-2.0）。",
    ),
    **i18n_loop.WORDS,
    **i18n_correct.WORDS,
}

# What the menu's models are good at, in Chinese; in English it is ModelSpec.about.
ABOUT_ZH: dict[str, str] = {
    "unet-cells": "显微镜下的细胞、硬币、花粉等彼此分开的圆形目标；不认识日常物品。相邻目标之间画出边界类。三者中最快。",
    "segformer-cells": "显微镜下的细胞、硬币、花粉等彼此分开的圆形目标；不认识日常物品。比 U-Net 看得更广。",
    "maskrcnn-cells": "显微镜下的细胞、硬币、花粉等彼此分开的圆形目标；不认识日常物品。逐个找出，重叠也能计数。",
    "nvidia/segformer-b0-finetuned-ade-512-512": "室内、街道与风景的 150 个类别。小而快；需要精细轮廓时用 B2。",
    "nvidia/segformer-b2-finetuned-ade-512-512": "室内、街道与风景的 150 个类别。比 B0 精细，但慢数倍。",
    "nvidia/segformer-b0-finetuned-cityscapes-1024-1024": "车载视角街景的 19 个类别。",
    "fcn-resnet50-voc": "人、动物、车辆、家具等 20 类对象，其余为背景。",
    "maskrcnn-v2-coco": "80 类日常对象，逐个找出并勾画。",
    "otsu": "由直方图得到一个亮度阈值。适合明显亮于或暗于背景的目标。",
    "watershed": "从平坦处向边缘填充图像。适合相互接触、轮廓可见的目标。",
    "slic": "大小相近、贴合颜色的小块。可作为手工标注的第一步。",
    "felzenszwalb": "合并差异相对较小的相邻区域。大片均匀处成为一个区域。",
}

# The menu's names in Chinese; in English it is ModelSpec.title.
TITLES_ZH: dict[str, str] = {
    "unet-cells": "U-Net 细胞",
    "segformer-cells": "SegFormer 细胞",
    "maskrcnn-cells": "Mask R-CNN 细胞",
    "nvidia/segformer-b0-finetuned-ade-512-512": "SegFormer B0 场景（ADE20K）",
    "nvidia/segformer-b2-finetuned-ade-512-512": "SegFormer B2 场景（ADE20K）",
    "nvidia/segformer-b0-finetuned-cityscapes-1024-1024": "SegFormer B0 街景（Cityscapes）",
    "fcn-resnet50-voc": "FCN ResNet-50 物体（VOC）",
    "maskrcnn-v2-coco": "Mask R-CNN v2 物体（COCO）",
    **{method: WORDS[method][1] for method in ("otsu", "watershed", "slic", "felzenszwalb")},
}

# What gradio tells screen readers without having words for it (6.31): they would hear the key.
SPOKEN: dict[str, tuple[str, str]] = {
    "common.complete": ("Done", "已完成"),
    "status.queue_position": ("In line: {position} of {size}", "排队中：第 {position} 位，共 {size} 位"),
}

# Gradio keeps its own words in the same table, so ours carry a prefix.
PREFIX = "seg_"
_LOCALES = (("en", 0), ("zh", 1), ("zh-CN", 1), ("zh-TW", 1))
I18N = gr.I18n(
    **{
        locale: {key: both[which] for key, both in [*((PREFIX + key, both) for key, both in WORDS.items()), *SPOKEN.items()]}
        for locale, which in _LOCALES
    }
)


def t(key: str) -> I18nData:
    """A static text that the browser translates.

    Raises:
        KeyError: no such text.
    """
    if key not in WORDS:
        raise KeyError(key)
    return I18N(PREFIX + key)


def language_of(request: gr.Request | None) -> str:
    """``zh`` if the browser asks for Chinese first, else ``en``."""
    wanted = (request.headers.get("accept-language") or "") if request is not None else ""
    return "zh" if wanted.lower().startswith("zh") else "en"


def words(key: str, language: str) -> str:
    """A text that the server writes, in ``en`` or ``zh``."""
    english, chinese = WORDS[key]
    return chinese if language == "zh" else english

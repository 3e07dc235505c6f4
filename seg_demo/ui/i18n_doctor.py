"""Chinese for what the training command's doctor finds in a dataset; English where a finding is not in this table.

A finding is a phrase about a file, and a remedy; neither ends in a full stop.
"""

from __future__ import annotations

import re

from seg_demo.ui import i18n_masks
from seg_demo.ui.i18n_errors import in_chinese

# What a finding is about, where it is no file.
ABOUT = {"the data": "数据", "masks": "掩膜"}
# What stands in a phrase's parts.
PARTS = {
    "image": "图片", "mask": "掩膜", "instances": "实例图", "values": "值", "colours": "颜色",
    "in any image": "在任何图片中", "in a training image": "在训练图片中",
}  # fmt: skip
# English phrase with its {parts}: Chinese.
PHRASES = {
    # Files that are missing, doubled or unreadable.
    "has no mask in {folders}": "在 {folders} 中没有掩膜",
    "add {file} to {folders}, or remove the image": "将 {file} 放入 {folders}，或删除该图片",
    "has the same stem as {file}: which one is meant?": "与 {file} 同名（不计扩展名）：以哪个为准？",
    "rename or remove one, so that every image has one mask of its name": "请改名或删除其一，使每张图片恰有一个同名掩膜",
    "has no image of its name in {folder}": "在 {folder} 中没有同名图片",
    "add the image, or remove the mask": "请添加图片，或删除掩膜",
    "holds {names}, not images by their names": "含有 {names}，从扩展名看不是图片",
    "nothing to do if they are not part of the data": "若本来就不需要，可不处理",
    "replace the {which}, or remove it with its {other}": "请更换{which}，或连同{other}一起删除",
    "scale image and mask down, cut them into tiles, or raise SEG_DEMO_MAX_PIXELS, _MAX_BYTES or _MAX_SIDE":
        "请缩小图片和掩膜或切成小块，或调高 SEG_DEMO_MAX_PIXELS、_MAX_BYTES 或 _MAX_SIDE",
    "has {train} images to train on and {val} to validate on, but each needs one at least":
        "训练图片 {train} 张，验证图片 {val} 张，但两者都至少需要一张",
    "add images (two different pictures are the least)": "请添加图片（至少两张不同的图片）",
    "correct the faults above, which leave too few images (two different pictures are the least)":
        "请先解决上述问题，否则可用图片太少（至少两张不同的图片）",
    "names {name}, which is absolute or climbs out of the dataset's folder": "给出 {name}，它是绝对路径或超出了数据集文件夹",
    "list paths relative to the file that lists them, and keep the images beside or below it":
        "请使用相对于列表文件的路径，并将图片放在它旁边或其下",
    # Sizes and orientation.
    "has {came} pixels, but {file} has {wanted}": "为 {came} 像素，而 {file} 为 {wanted}",
    "make the mask again at the size of the image, or resize it with nearest neighbour": "请按图片尺寸重新制作掩膜，或用最近邻插值缩放",
    "is turned by its EXIF orientation ({value}), and its size does not show whether its mask was drawn upright":
        "带有 EXIF 旋转（{value}），从尺寸看不出标注是否已转正",
    "look at one with its mask; if they differ, save both photo and mask upright": "请打开一张并对照掩膜；若不一致，请将照片和掩膜都转正保存",
    "was drawn on {file} as the camera stored it; its EXIF orientation ({value}) makes the photo {size} pixels, and the mask was turned with it":
        "是在 {file} 未旋转的像素上绘制的；EXIF 方向（{value}）使照片成为 {size} 像素，标注已随之旋转",
    "check whether that fits; otherwise save both photo and mask upright": "请检查是否吻合；否则将照片和掩膜都转正保存",
    # What masks hold.
    "holds {values} on {n} pixels, which belong to no class (classes go from 0 to {most}, 255 means ignore)":
        "有 {n} 个像素的值为 {values}，不属于任何类别（类别为 0 到 {most}，255 表示忽略）",
    "holds {values} on {n} pixels, which belong to no class": "有 {n} 个像素的颜色为 {values}，不属于任何类别",
    "add the class to the list, or correct the mask": "请在列表中添加该类别，或修正掩膜",
    "add the colour to labels.json, or correct the mask": "请在 labels.json 中添加该颜色，或修正掩膜",
    "holds {n} different {what}: it is a picture rather than a mask": "含有 {n} 种不同的{what}：它是图片而不是掩膜",
    "put the mask in its place: a PNG with one number or one colour per class": "请换成掩膜：每个类别一个数值或一种颜色的 PNG",
    "holds {n} different {what}, most of them near {near}: it was smoothed": "含有 {n} 种不同的{what}，多数接近 {near}：它被平滑过",
    "resize masks with nearest neighbour only; otherwise round each pixel to the nearest of {near}":
        "缩放掩膜时只用最近邻插值；否则将每个像素取为 {near} 中最近的值",
    "is {form}, compressed with loss, which blurs labels: {n} different values, most of them near {near}":
        "是 {form}，经过有损压缩，标签变得模糊：{n} 种不同的值，多数接近 {near}",
    "is a link to {to}, outside of the dataset": "是指向数据集之外 {to} 的链接",
    "nothing to do if you made the links; if the dataset came from somebody else, look at what they lead to, or remove them":
        "若链接是您自己建的，则无需处理；若数据集来自他人，请查看它们指向何处，或将其删除",
    "names a file for its {what} that is not the dataset's own; only what the dataset brings is read":
        "其 {what} 指向不属于数据集的文件；只读取数据集自带的内容",
    "tell the dataset's owner: such a row leads to a file of whoever loads it. Put the images themselves into it":
        "请告知数据集作者：这样的行会指向加载者机器上的文件，应放入图片本身",
    "save the mask as PNG from its source; otherwise round each pixel to the nearest of {near} and save that as PNG":
        "请从来源重新保存为 PNG；否则将每个像素取为 {near} 中最近的值后存为 PNG",
    "has no labelled pixel: all are ignored": "没有标注任何像素，全部为忽略",
    "label it, or remove it with its image": "请标注它，或连同图片一起删除",
    "shows only background": "只有背景",
    "has no annotated object": "没有标注任何对象",
    "nothing to do if the picture really shows none of the classes: such pictures teach the model what not to mark":
        "若图中确实没有目标，可不处理：它教会网络不误检",
    # Pictures that are there more than once.
    "is the same picture as {file}, one to train on, one to validate on": "与 {file} 是同一张图片，一张用于训练，一张用于验证",
    "remove one of them: measured on pictures it has learnt, a network looks better than it is":
        "请删除其一：用学过的图片评测，网络会显得比实际更好",
    "is the same picture as {files}, with different masks": "与 {files} 是同一张图片，但标注不同",
    "is the same picture as {files}": "与 {files} 是同一张图片",
    "keep one, with the right mask": "请只保留一张，并配上正确的掩膜",
    "keep one; a copy only makes it count twice": "请只保留一张；重复只会加大其权重",
    # Classes.
    "never occurs {where}, so it cannot be learnt": "{where}没有出现，无法学习",
    "add images that show it, or take it out of the class list (--skip-bad trains without it)":
        "请添加含有它的图片，或从类别列表中删除（“略去有问题的部分”则不训练它）",
    "never occurs in a validation image, so it cannot be measured": "在验证图片中没有出现，无法评测",
    "add more images that show it": "请添加更多含有它的图片",
    "is the only class: every pixel is {name} or ignored, so there is nothing to tell apart":
        "是唯一的类别：每个像素不是 {name} 就是忽略，没有可区分的内容",
    "if another value is a class, say so in labels.json, such as {example}": "若另有数值代表类别，请写入 labels.json，例如 {example}",
    "all masks hold 0 and 255 only, but {file} names {n} classes: which one is 255?":
        "所有掩膜只有 0 和 255，而 {file} 列出了 {n} 个类别：255 是哪一个？",
    "say it in labels.json, for example {example}": "请写入 labels.json，例如 {example}",
    "masks are coloured ({colors}), but {file} gives no colours": "掩膜是彩色的（{colors}），而 {file} 没有给出颜色",
    "say which colour is which in labels.json, for example {example}": "请在 labels.json 中说明每种颜色代表什么，例如 {example}",
    "names {n} classes, but instance maps do not say which object is which": "列出了 {n} 个类别，但实例图没有说明各对象属于哪一类",
    "add masks/ with a class per pixel beside instances/, or list one class": "请在 instances/ 旁添加逐像素类别的 masks/，或只列一个类别",
    "some masks are coloured and others hold numbers such as {n}": "有些掩膜是彩色的，另一些含有 {n} 这样的数值",
    "write labels.json with the colours, or save all in one way": "请在 labels.json 中写明颜色，或统一保存方式",
    "16-bit masks hold the numbers 1 to {most} and there is no class list: they may be classes, or number the objects":
        "16 位掩膜含有 1 到 {most} 的数值且没有类别列表：它们可能是类别，也可能是对象编号",
    "some masks hold 0 and 255 and others 0 and 1": "有些掩膜为 0 和 255，另一些为 0 和 1",
    "if 255 is the class too, save all masks in one way; if it means ignore, say so in labels.json: {example}":
        "若 255 也是该类别，请统一保存方式；若表示忽略，请写入 labels.json：{example}",
    "the masks hold {n} different values and there is no class list": "掩膜含有 {n} 种不同的值，且没有类别列表",
    "if they number objects, rename the folder to instances/; otherwise write classes.txt with a name per line":
        "若是对象编号，请将文件夹改名为 instances/；否则请写 classes.txt，每行一个名称",
    "the masks hold {n} colours and there is no colour table": "掩膜含有 {n} 种颜色，且没有颜色表",
    "write labels.json with the colour of each class, {example}": "请在 labels.json 中写明每个类别的颜色，{example}",
    # Names that differ in their spelling alone.
    "goes with {n} files whose names are spelled differently, such as {one} and {other}; each was found, since one file alone fits":
        "与 {n} 个文件的名称写法不同，例如 {one} 与 {other}；因各只有一个文件相符，均已找到",
    "check whether they belong together; otherwise make the names equal": "请检查它们是否对应；否则请统一名称",
    "names {name}, and both {one} and {other} fit: which one is meant?": "给出 {name}，而 {one} 与 {other} 都相符：指的是哪一个？",
    "name the file as it is called, or remove one of them": "请写出文件的确切名称，或删除其一",
    "holds {n} parts of objects that are not polygons of three or more points, such as in {where}; they were left out, and the other parts of these objects were kept":
        "含有 {n} 个不足三点或无效的多边形部分，例如 {where}；这些部分已略去，所属对象的其余部分保留",
    "nothing to do if the objects look right; otherwise draw them again": "若对象看起来正确则无需处理；否则请重新绘制",
    "has {n} pixels where more than {most} objects overlap; the lowest were left out there":
        "有 {n} 个像素处重叠的对象超过 {most} 个；最下层的在该处已略去",
    "check whether objects are annotated more than once": "请检查是否有对象被重复标注",
    **i18n_masks.PHRASES,
    # Lists: COCO and tables.
    "annotation id {id} is used more than once": "标注编号 {id} 出现多次",
    "number the annotations without repeats": "请为标注编号且不重复",
    "image id {id} is there {n} times": "图片编号 {id} 出现 {n} 次",
    "number the images without repeats": "请为图片编号且不重复",
    "belongs to image id {id}, which is not among the images": "属于图片编号 {id}，而图片中没有它",
    "add the image to the list, or remove the annotation": "请在列表中添加该图片，或删除该标注",
    "has category id {id}, which is not among the categories": "类别编号为 {id}，而类别中没有它",
    "add the category, or remove the annotation": "请添加该类别，或删除该标注",
    "lists {name}, which is neither beside it nor in images/": "列出了 {name}，但它既不在旁边也不在 images/ 中",
    "put the image there, or remove it from the list": "请放入该图片，或从列表中删除",
    "lists {name} {n} times with different ids": "以不同编号列出 {name} 共 {n} 次",
    "lists {name}, an image that is listed as {other} already": "列出了 {name}，它已作为 {other} 列出",
    "list each image once, with all of its annotations": "每张图片只列一次，并附上其全部标注",
    "is stated with {stated} pixels, but the file has {size}": "声明为 {stated} 像素，而文件为 {size}",
    "annotate the image as it is now, or put back the one that was annotated": "请按现在的图片标注，或换回当初标注的图片",
    "has no segmentation (only a box, or nothing)": "没有分割轮廓（只有框或为空）",
    "draw its outline; boxes alone do not teach segmentation": "请画出轮廓；仅有框无法学习分割",
    "has all its coordinates between 0 and 1, as shares of the image, where pixels are expected": "坐标都在 0 到 1 之间，是相对图片的比例，而应以像素计",
    "multiply x by the image's width and y by its height": "请将 x 乘以图片宽度、y 乘以图片高度",
    "holds several files per image, as if each object or class had one of its own": "每张图片有几个文件，似乎每个对象或类别各有一个",
    "make one file per image: of objects a PNG in instances/ with 0 for the background and 1, 2, 3 ... for them, of classes one in masks/":
        "请为每张图片做一个文件：对象放在 instances/ 的 PNG 中，0 为背景，1、2、3……为各对象；类别放在 masks/ 中",
    "holds masks that Label Studio named by the numbers of its tasks, which no image has": "其中的掩膜由 Label Studio 按任务编号命名，没有图片使用这些编号",
    "export the project as 'COCO' if it has polygons; else rename each mask as its image (the export as JSON says which task is which)":
        "若项目有多边形，请导出为 'COCO'；否则请将每张掩膜改成其图片的名称（JSON 导出中说明任务对应的图片）",
    "holds text files, not pictures (outlines as YOLO stores them, perhaps)": "其中是文本文件而不是图片（也许是 YOLO 的轮廓）",
    "convert them to masks or to COCO JSON (the tool that made them exports COCO), since text files hold no pixels":
        "请转换为掩膜或 COCO JSON（生成它们的工具可导出 COCO），文本文件不含像素",
    "holds JSON files, not pictures": "其中是 JSON 文件而不是图片",
    "holds XML files, not pictures": "其中是 XML 文件而不是图片",
    "export COCO JSON, or masks as PNG, from the tool that made them": "请从生成它们的工具导出 COCO JSON 或 PNG 掩膜",
    "holds arrays of numpy, not pictures": "其中是 numpy 数组而不是图片",
    "save each as a PNG of its numbers: {code}, uint8 up to 255, else uint16": "请将每个数组按其数值保存为 PNG：{code}，到 255 用 uint8，否则用 uint16",
    "holds MATLAB files, not pictures": "其中是 MATLAB 文件而不是图片",
    "save the numbers in each as PNG: {code}": "请将其中的数值保存为 PNG：{code}",
    "holds a picture for each image too and was not read; {folder} was taken for the truth": "其中也有与每张图片对应的图片，但未读取；标注取自 {folder}",
    "if it is the truth, rename it to masks/ and the other one to something else": "若它才是标注，请将其改名为 masks/，并将另一个改为别的名称",
    "covers no pixel of its image": "没有覆盖图片中的任何像素",
    "remove the annotation, or draw it again": "请删除该标注，或重新绘制",
    "has a polygon of {n} numbers, but three or more points x, y are needed": "多边形只有 {n} 个数，至少需要三个 x, y 点",
    "has a polygon with a coordinate that is no finite number of pixels": "多边形含有无效的坐标",
    "draw the object again, or remove the annotation": "请重新绘制该对象，或删除该标注",
    "has an RLE of size {size}, but its image has {shape} (height x width) pixels": "RLE 尺寸为 {size}，而图片为 {shape}（高 x 宽）像素",
    "export it again from the image as it is now": "请按现在的图片重新导出",
    "cannot be decoded: {why}": "无法解码：{why}",
    "export the annotation again": "请重新导出该标注",
    "names no image": "没有写图片",
    "fill in the image, or remove the row": "请填写图片，或删除该行",
    "names no mask for {name}": "没有为 {name} 写掩膜",
    "fill in the mask, or remove the row": "请填写掩膜，或删除该行",
    "names {name}, which does not exist": "给出的 {name} 不存在",
    "put the file there (names are relative to {list}), or remove the row": "请放入该文件（名称相对于 {list}），或删除该行",
    "lists {name} again": "重复列出 {name}",
    "list each image once": "每张图片只列一次",
    "has split {name}": "划分为 {name}",
    "use train, val or test, or leave it empty": "请用 train、val 或 test，或留空",
}  # fmt: skip


def _pattern(phrase: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", phrase)
    text = "".join(re.escape(part) if index % 2 == 0 else f"(?P<{part}>.+?)" for index, part in enumerate(parts))
    return re.compile(text, re.DOTALL)


_TABLE = [(_pattern(english), chinese) for english, chinese in PHRASES.items()]


def finding(phrase: str, language: str) -> str:
    """What is wrong with a file, or what to do about it, in a visitor's language.

    >>> finding("has no mask in masks/", "zh"), finding("has no mask in masks/", "en"), finding("this file is empty", "zh")
    ('在 masks/ 中没有掩膜', 'has no mask in masks/', '文件是空的')

    Args:
        phrase: of the doctor, without a full stop; why a file cannot be read is a sentence of :mod:`seg_demo.inputs.images`.
        language: ``en`` or ``zh``.
    """
    if language != "zh":
        return phrase
    for pattern, chinese in _TABLE:
        if (match := pattern.fullmatch(phrase)) is not None:
            return chinese.format(**{name: PARTS.get(part, part).replace("/ or ", "/ 或 ") for name, part in match.groupdict().items()})
    sentence = f"{phrase[:1].upper()}{phrase[1:]}."
    said = in_chinese(sentence)
    return phrase if said == sentence else said.removesuffix("。")


def about(file: str, language: str) -> str:
    """What a finding is about: a file as it is, the data as a whole in a visitor's language.

    Args:
        file: of the finding.
        language: ``en`` or ``zh``.
    """
    return ABOUT.get(file, file) if language == "zh" else file

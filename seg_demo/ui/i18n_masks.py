"""Chinese for how masks and instance maps are read, and for what about them is doubtful: sentences, the doctor's phrases, and their parts."""

from __future__ import annotations

SENTENCES = {
    # As seg_demo.inputs.mask_files.note_of says them, from another process.
    "{files}: the shape is in its transparency alone; what is opaque is the object, the rest is background.":
        "{files}：形状只在透明度中；不透明处为对象，其余为背景。",
    "{files}: transparent everywhere, so nothing is drawn there.": "{files}：处处透明，因此其中什么也没有画。",
    "{files}: what is transparent was read as background.": "{files}：透明处视为背景。",
    "{files}: its transparency was not used; its colours or numbers count.": "{files}：未使用其透明度，以颜色或数值为准。",
    "{files}: numbers below 0 are ignored.": "{files}：小于 0 的数值被忽略。",
    "{files}: pixels that are not numbers (NaN) are ignored.": "{files}：不是数（NaN）的像素被忽略。",
    "{files}: each page was read as one object.": "{files}：每一页视为一个对象。",
    "{files}: pixels of the value that the file names for what has no data are ignored.": "{files}：文件标为无数据的值，其像素被忽略。",
    "{files}: the file names 0 for what has no data, and 0 was read like any other number.": "{files}：文件将 0 标为无数据，而 0 仍按普通数值读取。",
    "If such pixels are to be ignored, say so in labels.json, such as {example}.": "若这些像素应忽略，请在 labels.json 中说明，例如 {example}。",
    "{files}: holds several equal pages; the first was read.": "{files}：含有几页相同的内容，读取了第一页。",
    "Numbers in the 16-bit masks are all 257 times one of 8 bits, as programs make 16 bits of 8: {n} was read as {m}.":
        "16 位掩膜的数值都是 8 位数值的 257 倍（程序由 8 位转成 16 位时如此）：{n} 读作 {m}。",
    "No pixel of {where} is 0: {value}, which is in every map and the largest in most, was read as no object.":
        "{where} 中没有为 0 的像素：{value} 在每张实例图中都有，且多数图中面积最大，视为没有对象。",
    "{value} in {where} was read as pixels to ignore, such as the border between objects.": "{where} 中的 {value} 视为忽略的像素，例如对象之间的边界。",
    "Numbers in {where} are 1000 times the class plus the object's number, as Cityscapes writes them; those below 1000 are classes without objects.":
        "{where} 中的数值是类别乘以 1000 加对象编号（Cityscapes 的写法）；小于 1000 的是没有对象的类别。",
    "Objects in {where} are colours: each colour is one object ({n} in {file}).": "{where} 中的对象用颜色表示：每种颜色为一个对象（{file} 中有 {n} 个）。",
    "Numbers in {where} go up to {most}: the objects of each map were renumbered from 1.": "{where} 中的数值高达 {most}：每张图的对象已从 1 重新编号。",
    "{apart} of {n} values in {where} lie in several separate pieces; each value was read as one object.":
        "{where} 中 {n} 个数值有 {apart} 个分成几个不相连的块；每个数值视为一个对象。",
    "If each connected piece is one, use --mask-reading {reading}.": "若每个连通块为一个对象，请用 --mask-reading {reading} 说明。",
    "Each connected piece of a value in {where} was read as one object.": "{where} 中每个数值的每个连通块视为一个对象。",
    "Masks that list greys (palettes of grey, or a few bits) were read by the grey that is seen, not by its number.":
        "列出灰度的掩膜（灰度调色板或低位深）按看到的灰度读取，而不是按其编号。",
    "{void}, the first name in {file}, has no number of its own (its pixels are 255): value 0 was read as {first}, 1 as {second}.":
        "{file} 的第一个名称 {void} 没有自己的数值（其像素为 255）：0 视为 {first}，1 视为 {second}。",
    "{name} is all that is not the one class, so it was read as the background.": "{name} 是唯一类别之外的全部内容，因此视为背景。",
    "If 0 is the background, write background as the first name of {file}.": "若 0 是背景，请在 {file} 的第一行写 background。",
    "{path} has nothing in it that is understood.": "{path} 的内容无法理解。",
    "Expected {example} with one of {names}.": "应为 {example}，取值为 {names} 之一。",
    "This mask cannot be used: the mask has {n} pages that differ.": "无法使用这张掩膜：它有 {n} 页不同的内容。",
    "The correct mask cannot be used: the mask has {n} pages that differ.": "无法使用正确掩膜：它有 {n} 页不同的内容。",
    "Save the one that is meant in a file of its own.": "请将所需的那一页另存为单独的文件。",
    "This mask cannot be used: the mask is black where it is opaque, and only its transparency shows a shape: either part may be meant.":
        "无法使用这张掩膜：不透明处为黑色，只有透明度显示形状，两部分都可能是对象。",
    "The correct mask cannot be used: the mask is black where it is opaque, and only its transparency shows a shape: either part may be meant.":
        "无法使用正确掩膜：不透明处为黑色，只有透明度显示形状，两部分都可能是对象。",
    "Save it as white on black, without transparency.": "请另存为黑底白色且不透明的图片。",
    "This is a file of several pages that is damaged or cut off: one of them cannot be decoded.": "这个多页文件已损坏或不完整，其中一页无法解码。",
    "This data cannot be read in this way.": "这份数据没有这种读法。",
    "{path} cannot be read: {reason}.": "无法读取 {path}：{reason}。",
    "Correct the instance map.": "请修正实例图。",
    "Masks are coloured, but each colour is a small number in one channel and 0 in the others: it was read as that number.":
        "掩膜是彩色的，但每种颜色都是一个通道中的小数值，其余通道为 0：按该数值读取。",
    "This is Cityscapes as it is downloaded.": "这是下载时的 Cityscapes。",
    "Copy leftImg8bit/ to images/, and of gtFine/ the files ..._labelIds.png (or ..._labelTrainIds.png) to masks/, those ..._instanceIds.png to instances/, train/ and val/ below each.":
        "请将 leftImg8bit/ 复制为 images/，将 gtFine/ 中的 ..._labelIds.png（或 ..._labelTrainIds.png）复制到 masks/，..._instanceIds.png 复制到 instances/，其下各有 train/ 与 val/。",
    "This is nnU-Net's layout.": "这是 nnU-Net 的布局。",
    "Rename imagesTr/ to images/ and labelsTr/ to masks/, and write the names of dataset.json into classes.txt.":
        "请将 imagesTr/ 改名为 images/，labelsTr/ 改名为 masks/，并将 dataset.json 中的名称写入 classes.txt。",
    "annotations.xml is CVAT's own format.": "annotations.xml 是 CVAT 自己的格式。",
    "Export the task again as 'COCO 1.0', or as 'Segmentation mask 1.1' with its images.": "请将任务重新导出为 'COCO 1.0'，或连同图片导出为 'Segmentation mask 1.1'。",
    "Each image has a folder of its own, with a file per object in masks/.": "每张图片各有一个文件夹，其 masks/ 中每个对象一个文件。",
    "Put the images into images/, and for each one PNG of its name into instances/: 0 is the background, and 1, 2, 3 ... are the objects.":
        "请将图片放入 images/，并为每张图片在 instances/ 中放一个同名 PNG：0 为背景，1、2、3……为各对象。",
    "This is Supervisely's own format.": "这是 Supervisely 自己的格式。",
    "Export it as COCO, or as masks: with the app 'Export as masks', machine masks into masks/.": "请导出为 COCO，或用 'Export as masks' 导出掩膜，并将 machine masks 放入 masks/。",
    "This looks like a dataset in YOLO's format, whose outlines are text files.": "这像是 YOLO 格式的数据集，其轮廓是文本文件。",
    "Export it as COCO (in Roboflow: 'COCO Segmentation').": "请导出为 COCO（在 Roboflow 中为 'COCO Segmentation'）。",
    "The JSON files are labelme's own.": "这些 JSON 文件是 labelme 自己的格式。",
    "Make masks of them with labelme's labelme2voc.py, whose JPEGImages/ and SegmentationClass/ are read, or COCO with labelme2coco.py.":
        "请用 labelme 的 labelme2voc.py 生成掩膜（可读取其 JPEGImages/ 与 SegmentationClass/），或用 labelme2coco.py 生成 COCO。",
    "This is COCO's panoptic format.": "这是 COCO 的全景格式。",
    "Rename the folder of its PNG files to instances/, beside images/, to learn its segments as objects of one class.":
        "请将其 PNG 文件的文件夹改名为 instances/，放在 images/ 旁，即可把各分段作为同一类别的对象来学习。",
    "{beside}/ seems to hold the masks of {folder}/.": "{beside}/ 似乎是 {folder}/ 的掩膜。",
    "Rename them to {masks}/masks/ and {images}/images/.": "请改名为 {masks}/masks/ 与 {images}/images/。",
    "Images and masks lie in one folder: files such as {name} were read as masks.": "图片与掩膜在同一个文件夹中：{name} 之类的文件视为掩膜。",
    "Images and masks lie in one folder.": "图片与掩膜在同一个文件夹中。",
    "Move the files that end in _{ending} to masks/ (or to instances/, if they number objects), the images to images/.":
        "请将以 _{ending} 结尾的文件移到 masks/（若其中是对象编号则移到 instances/），图片移到 images/。",
    "{root} holds several COCO files: {names}.": "{root} 中有几个 COCO 文件：{names}。",
    "Give the one that is meant by its own path, or name them train.json and val.json.": "请直接给出所需文件的路径，或将其命名为 train.json 与 val.json。",
    "{path} holds run lengths (Kaggle's EncodedPixels), which depend on the size of each image.": "{path} 中是游程编码（Kaggle 的 EncodedPixels），取决于每张图片的尺寸。",
    "Draw them into PNG masks, and list those: a header image,mask and a row per image.": "请将其画成 PNG 掩膜再列出：表头 image,mask，每张图片一行。",
    "{path} is a panoptic COCO file, whose masks are PNG files of their own.": "{path} 是全景 COCO 文件，其掩膜是单独的 PNG 文件。",
    "Rename the folder of these PNG files to instances/, beside images/, to learn their segments as objects of one class; or convert it with panopticapi's panoptic2detection_coco_format.py and give that file.":
        "请将这些 PNG 的文件夹改名为 instances/，放在 images/ 旁，即可把各分段作为同一类别的对象来学习；或用 panopticapi 的 panoptic2detection_coco_format.py 转换后给出该文件。",
    "{path} is labelme's own JSON of one image.": "{path} 是 labelme 自己的单张图片 JSON。",
    "Make masks of all of them with labelme's labelme2voc.py, or COCO with labelme2coco.py, and give that folder or file.":
        "请用 labelme 的 labelme2voc.py 生成掩膜，或用 labelme2coco.py 生成 COCO，再给出该文件夹或文件。",
    "{path} is Label Studio's own JSON.": "{path} 是 Label Studio 自己的 JSON。",
    "Export the project again as 'COCO', and give its result.json.": "请将项目重新导出为 'COCO'，并给出其 result.json。",
    "The split is that of the lists in ImageSets/.": "划分取自 ImageSets/ 中的列表。",
    "The split is that of the lists in ImageSets/; {n} images that they do not name were left out.": "划分取自 ImageSets/ 中的列表；列表未提到的 {n} 张图片已略去。",
}  # fmt: skip
PARTS = {
    "some of its values are fractions, but label ids are whole numbers; if they are probabilities, save the class or object number of each pixel":
        "部分值为小数，而标签编号应为整数；若是概率，请保存每个像素的类别或对象编号",
    "some of its pixels are infinite": "部分像素为无穷", "its values are too large to be labels": "数值过大，不可能是标签",
    "White": "白色",
}  # fmt: skip

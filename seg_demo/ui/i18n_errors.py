"""What goes wrong, and what is going on, in Chinese for a browser that asks for Chinese.

Errors are raised in English, far from any screen: libraries, the command line and the API have one language. A message is put
together from sentences, so it is translated sentence by sentence; one with a sentence that is not in this table stays English.
"""

from __future__ import annotations

import re

from gradio.context import LocalContext

from seg_demo.messages import Message
from seg_demo.ui import i18n_loop_errors, i18n_masks, i18n_models
from seg_demo.ui.i18n import language_of

# English sentence with its {parts}: Chinese. Of two that fit, the first counts.
SENTENCES = {
    # Encoders and image processors.
    "This is an encoder without a segmentation head ({name}): it has no layers that name a class for each pixel, so it cannot segment yet.":
        "这是没有分割头的编码器（{name}）：它没有给每个像素分类的层，因此还不能分割。",
    "It is a base for training: python -m train.finetune --model with its id.":
        "它可以作为训练的起点：python -m train.finetune --model 加上它的 id。",
    "To segment at once, choose a model that was fine-tuned for it, such as {model}.": "要直接分割，请选择为分割微调过的模型，例如 {model}。",
    "{file} has the step {step}, which is not understood here, so the network would see another picture than it was made for.":
        "{file} 中的步骤 {step} 无法识别，网络看到的图片会与训练时不同。",
    "Understood: {steps}.": "可识别的步骤：{steps}。",
    "{file} does the step {step} at random (p = {p}); an evaluation must see every picture alike.":
        "{file} 随机执行步骤 {step}（p = {p}）；评估时每张图片必须以同样方式处理。",
    "The checkpoint's image processor makes pictures of {size} pixels, which its network does not take, and config.json names no size that it does.":
        "该模型的图像处理器生成 {size} 像素的图片，网络不接受，而 config.json 也没有给出可用的尺寸。",
    # Images.
    "This file is empty.": "文件是空的。",
    "This file has {n} MB, more than is accepted.": "文件有 {n} MB，超过上限。",
    "The file has at least {n} bytes, but at most {most} are accepted.": "文件至少有 {n} 字节，上限为 {most} 字节。",
    "Send a smaller image, or a JPEG.": "请发送更小的图片或 JPEG。",
    "This image has {size} pixels ({n} megapixels), more than is accepted.": "图片有 {size} 像素（{n} 百万像素），超过上限。",
    "This is {kind}, which cannot be opened as a picture.": "这是{kind}，无法作为图片打开。",
    "This is {kind} that is damaged, or of a rare variant.": "这个 {kind} 文件已损坏，或格式罕见。",
    "This is {kind} that is damaged or cut off: its pixels cannot be decoded.": "这个 {kind} 文件已损坏或不完整，无法解码。",
    "This is {kind} that is damaged: {reason}.": "这个 {kind} 文件已损坏（{reason}）。",
    "This is {kind} with far more pixels than are accepted.": "这个 {kind} 文件的像素远超上限。",
    "Decoding {kind} like this one needs a lot of memory: at most {most} megapixels of it are accepted, but it has {n}.":
        "解码这种 {kind} 文件需要大量内存：最多 {most} 百万像素，而它有 {n}。",
    "There is not enough memory to decode this image of {size} pixels.": "内存不足，无法解码 {size} 像素的图片。",
    "There is not enough memory for this image.": "内存不足，无法处理这张图片。",
    "There is not enough memory to segment an image of {size} pixels with {model}.": "内存不足，{model} 无法分割 {size} 像素的图片。",
    "Send a smaller image, or choose a smaller model.": "请发送更小的图片，或选择更小的模型。",
    "This image cannot be used: {reason}.": "无法使用这张图片：{reason}。",
    "This image's pixels ({mode}) cannot be shown.": "无法显示这张图片的像素（{mode}）。",
    "Accepted are {formats} up to {bytes} MB, {pixels} megapixels and {side} pixels a side.":
        "可接受 {formats}，不超过 {bytes} MB、{pixels} 百万像素、边长 {side} 像素。",
    "Save or download the image again and send that.": "请重新保存或下载后再发送。",
    "Save or download it again and send that.": "请重新保存或下载后再发送。",
    "Save it smaller or as JPEG and send that.": "请缩小或另存为 JPEG 后发送。",
    "Scale it down or cut out a part and send that.": "请缩小或裁剪后发送。",
    "Scale it down, or save it as plain JPEG or PNG and send that.": "请缩小，或另存为普通 JPEG 或 PNG 后发送。",
    "Scale it down and send that.": "请缩小后发送。",
    "Save it again as PNG or JPEG and send that.": "请另存为 PNG 或 JPEG 后发送。",
    "Save it as PNG or JPEG and send that.": "请另存为 PNG 或 JPEG 后发送。",
    "Save it as PNG, TIFF or JPEG with the program that made it and send that.": "请用生成它的程序另存为 PNG、TIFF 或 JPEG 后发送。",
    "Save it as JPEG (on a phone: camera format \"most compatible\") and send that.": "请另存为 JPEG 后发送（手机：相机格式选“兼容性最佳”）。",
    "Export the page or drawing as PNG and send that.": "请将页面或图形导出为 PNG 后发送。",
    "Unpack it and send one of the images inside.": "请解压后发送其中的图片。",
    "Save one frame as PNG or JPEG and send that.": "请将一帧保存为 PNG 或 JPEG 后发送。",
    "Open it, save the image itself (not the page) and send that.": "请打开网页，保存图片本身（而非网页）后发送。",
    "Send the image that it describes.": "请发送它所描述的图片。",
    "Send an image, saved as PNG or JPEG.": "请发送 PNG 或 JPEG 图片。",
    "Send an image.": "请发送图片。",
    "Replace these pixels with ordinary numbers and send it again.": "请修正像素后重新发送。",
    "A web address was sent, but addresses are not downloaded here.": "收到的是网址，这里不会下载网址。",
    "Download the file and send that.": "请下载文件后发送。",
    "This kind of TIFF cannot be read: its samples are whole numbers of {n} bits.": "无法读取这种 TIFF：样本是 {n} 位整数。",
    "This kind of TIFF cannot be read: its samples are signed numbers of {n} bits.": "无法读取这种 TIFF：样本是 {n} 位有符号整数。",
    "This kind of TIFF cannot be read: its samples are fractions of {n} bits.": "无法读取这种 TIFF：样本是 {n} 位小数。",
    "This kind of TIFF cannot be read: its samples are complex numbers of {n} bits.": "无法读取这种 TIFF：样本是 {n} 位复数。",
    "This kind of TIFF cannot be read: its pixels are compressed with a method (number {n}) that cannot be read.":
        "无法读取这种 TIFF：不支持其压缩方式（编号 {n}）。",
    "This kind of TIFF cannot be read: its colours are {kind}.": "无法读取这种 TIFF：颜色为{kind}。",
    "This kind of TIFF cannot be read: {reason}.": "无法读取这种 TIFF：{reason}。",
    "Save it as an ordinary RGB or grey image and send that.": "请另存为普通 RGB 或灰度图后发送。",
    # How a picture was read.
    "This picture is unlike those in which this model learnt to find things: what it marks here may mean nothing.":
        "这张图片与该模型学习寻找物体时所用的图片不同：它在此标出的内容可能毫无意义。",
    "This file has more than {n} pages; the first is shown.": "该文件超过 {n} 页，显示的是第一页。",
    "This file has {n} pages; the first is shown.": "该文件有 {n} 页，显示的是第一页。",
    "This animation has more than {n} frames; the first is shown.": "该动画超过 {n} 帧，显示的是第一帧。",
    "This animation has {n} frames; the first is shown.": "该动画有 {n} 帧，显示的是第一帧。",
    "This file holds {n} pictures; its main picture is shown.": "该文件含 {n} 张图片，显示的是其中的主图。",
    "This file has {n} channels; channels {r}, {g} and {b} are shown as red, green and blue.":
        "该文件有 {n} 个通道，第 {r}、{g}、{b} 通道分别显示为红、绿、蓝。",
    "This file has {n} channels; channel {k} is shown as grey.": "该文件有 {n} 个通道，第 {k} 通道显示为灰度图。",
    "This file has {n} channels; channel {k} was read as transparency.": "该文件有 {n} 个通道，第 {k} 通道被当作透明度。",
    "This file has {n} channels; the first {k} are shown.": "该文件有 {n} 个通道，显示的是前 {k} 个。",
    "{n} of the pixels hold no data ({what}); they are shown black.": "{n} 的像素没有数据（{what}），显示为黑色。",
    "{n} of the values lie far outside the range of all others ({what}); they are shown as its ends.": "{n} 的数值远在其余数值的范围（{what}）之外，按该范围的两端显示。",
    # Models.
    "There is no model {id}.": "没有名为 {id} 的模型。",
    "The menu has {keys}; a Hub id is written user/repo.": "菜单中有 {keys}；Hub 模型 ID 写作 user/repo。",
    "{id} is not the id of a model.": "{id} 不是模型 ID。",
    "Pick one from the menu ({keys}), or type a Hugging Face id such as user/repo or user/repo@revision; addresses of other "
    "sites and paths are not accepted.": "请从菜单选择（{keys}），或输入 Hugging Face 模型 ID，如 user/repo 或 user/repo@revision；不接受其他网站的网址和路径。",
    "There is no public model {id} on the Hub.": "Hub 上没有公开模型 {id}。",
    "Check the spelling at {page}; a private model can be used from Python or the command line after `hf auth login`, or by "
    "putting it on your own demo's menu.": "请在 {page} 核对拼写；私有模型可在 `hf auth login` 后从 Python 或命令行使用，或放入您自己的演示菜单。",
    "The Hub shows no model {id} to this login.": "当前登录看不到 Hub 上的模型 {id}。",
    "Check the spelling at {page}; for a private model, log in with `hf auth login` as someone who may see it.":
        "请在 {page} 核对拼写；私有模型需用有权限的账号 `hf auth login`。",
    "The model {id} is gated: its owner asks people to accept terms first.": "模型 {id} 需要先接受所有者的条款。",
    "Accept them at {page}, log in with `hf auth login`, and load it from Python, the command line, or your own demo's menu.":
        "请在 {page} 接受条款，`hf auth login` 后从 Python、命令行或您自己的演示菜单加载。",
    "The model {id} has no revision {revision}.": "模型 {id} 没有版本 {revision}。",
    "Use a branch, tag or commit of {page}.": "请使用 {page} 的分支、标签或提交。",
    "The model {id} has been disabled on the Hub.": "模型 {id} 已在 Hub 上停用。",
    "Choose another one.": "请选择另一个。",
    "The Hub at {host} does not answer, and {id} is not in the local cache.": "Hub（{host}）没有响应，本地缓存中也没有 {id}。",
    "The Hub at {host} answers with an error ({status}), and {id} is not in the local cache.":
        "Hub（{host}）返回错误（{status}），本地缓存中也没有 {id}。",
    "The Hub at {host} asks to slow down (429), and {id} is not in the local cache.":
        "Hub（{host}）要求放慢请求（429），本地缓存中也没有 {id}。",
    "HF_HUB_OFFLINE is set, and {id} is not in the local cache.": "已设置 HF_HUB_OFFLINE，本地缓存中也没有 {id}。",
    "The weights of {id} are not in the local cache and cannot be downloaded from {host} now ({why}).":
        "本地缓存中没有 {id} 的权重，目前也无法从 {host} 下载（{why}）。",
    "The weights of {id} are not in the local cache, and HF_HUB_OFFLINE is set.": "本地缓存中没有 {id} 的权重，且已设置 HF_HUB_OFFLINE。",
    "Try again later, or choose a model without ○ in the menu.": "请稍后再试，或选择菜单中没有 ○ 标记的模型。",
    "Choose another model.": "请选择另一个模型。",
    "{id} has no {missing} (it has {found}).": "{id} 没有 {missing}（有 {found}）。",
    "The weights of this model are in a pickle ({name}).": "此模型的权重在 pickle 文件中（{name}）。",
    "{model} has its weights only as a pickle ({name}).": "{model} 的权重只有 pickle 文件（{name}）。",
    "Pickles can contain code, and the owner of this demo does not accept them (SEG_DEMO_PICKLES is refuse).": "本演示的所有者不允许读取 pickle（SEG_DEMO_PICKLES 为 refuse）。",
    "Reading pickles safely needs torch {least} or newer, but this is torch {found}.": "安全读取 pickle 需要 torch {least} 或更新版本，此处为 torch {found}。",
    "Choose a model that has model.safetensors.": "请选择带有 model.safetensors 的模型。",
    "{name} of this model is a pickle that holds more than weights ({what}); only tensors under their names are read from pickles.":
        "此模型的 {name} 是 pickle，除权重外还有其他内容（{what}）；只从 pickle 中读取按名称保存的张量。",
    "Choose a smaller one.": "请选择较小的模型。",
    "Free some space.": "请腾出空间。",
    "{index} of this model names {name}, which is not there; its owner has to add it.": "此模型的 {index} 提到 {name}，但该文件不存在；须由其所有者补充。",
    "{index} of this model does not say in which files its weights are; its owner has to correct it.": "此模型的 {index} 没有说明权重在哪些文件中；须由其所有者修正。",
    "This model needs more than the {n} GB of memory that a model may use here.": "此模型所需内存超过此处允许的 {n} GB。",
    "This model could not be {what} within {n} seconds.": "未能在 {n} 秒内{what}此模型。",
    "The weights of this model need more than the {n} GB of memory that they may use here.": "此模型的权重所需内存超过此处允许的 {n} GB。",
    "The weights of this model need more than {n} MB of memory when unpacked.": "此模型的权重各自独立存储后超过 {n} MB。",
    "The weights of this model could not be converted from a pickle.": "未能从 pickle 转换此模型的权重。",
    "The weights of this model cannot be read ({reason}).": "无法读取此模型的权重（{reason}）。",
    "The converted weights cannot be stored on the server: {reason}.": "转换后的权重无法存储在服务器上：{reason}。",
    "Ask its owner for model.safetensors, or choose another model.": "请向其所有者索取 model.safetensors，或选择另一个模型。",
    "{name} of this model cannot be read as pickled weights ({reason}); it is damaged, or a file of another kind.":
        "此模型的 {name} 无法作为 pickle 权重读取（{reason}）；文件已损坏，或属于其他类型。",
    "Tell its owner, or choose another model.": "请告知其所有者，或选择另一个模型。",
    "{name} of {id} has {n} bytes, but at most {most} are downloaded.": "{id} 的 {name} 有 {n} 字节，最多下载 {most} 字节。",
    "Choose a smaller model (an owner can raise SEG_DEMO_MAX_MODEL_BYTES).": "请选择更小的模型（部署者可调高 SEG_DEMO_MAX_MODEL_BYTES）。",
    "transformers models of type {kind} do not return logits per class and pixel.": "transformers 的 {kind} 类模型不输出逐像素的类别得分。",
    "Supported types: {types}.": "支持的类型：{types}。",
    "This model returned invalid numbers (NaN or infinity) for this image, so there is no result.": "模型对这张图片输出了无效数值（NaN 或无穷），没有结果。",
    # Requests.
    "No model is chosen.": "未选择模型。",
    "Choose one from the menu, or type a Hugging Face id such as user/repo.": "请从菜单选择，或输入 Hugging Face 模型 ID，如 user/repo。",
    "Smoothing is for the region methods otsu and watershed, but {id} is a network.": "平滑只用于区域方法 otsu 和 watershed，而 {id} 是网络。",
    "The threshold must be a number from 0 to 1, but is {value}.": "阈值须为 0 到 1 之间的数，收到的是 {value}。",
    "Leave it out.": "请省略。",
    "Leave it out for 0.5.": "省略则为 0.5。",
    "This result was removed to make room for others.": "为给其他结果腾出空间，此结果已被清除。",
    "There is no result to download, or it has expired.": "没有可下载的结果，或结果已过期。",
    "There is no result to look at, or it has expired.": "没有可查看的结果，或结果已过期。",
    "Segment the image again.": "请重新分割图片。",
    "The uploaded image is no longer on the server, because uploads are deleted after a while.": "上传的图片已被清除（所有上传都会在一段时间后清除）。",
    "Upload it again.": "请重新上传。",
    "No image was sent.": "没有收到图片。",
    "Send a picture as a file.": "请以文件形式发送图片。",
    "{n} requests are running or waiting already.": "已有 {n} 个请求在处理或等待。",
    "Several models are being downloaded for other visitors.": "正在为其他访问者下载多个模型。",
    "Try again in a minute, or choose another.": "请一分钟后再试，或选择另一个。",
    "Try again in a minute.": "请一分钟后再试。",
    "The model is still being downloaded and loaded, and other people are waiting.": "模型仍在下载和加载，其他人在排队。",
    "Loading continues: try again in a minute, or choose another model.": "下载会继续：请一分钟后再试，或先选择其他模型。",
    "This took longer than the {n} seconds that one request may take, so it was stopped.": "超过了单个请求允许的 {n} 秒，已停止。",
    "Send a smaller image, choose a smaller model, or try again when the server is less busy.": "请发送更小的图片、选择更小的模型，或在人少时再试。",
    "Something went wrong on the server's side, not on yours; it was written to its log.": "服务器出错，不是您的问题；已写入日志。",
    "Please try again.": "请重试。",
    # Progress.
    "Tile {n} of {most}": "第 {n}/{most} 块",
    "Downloading {name}": "正在下载 {name}",
    "Loading {name}": "正在加载 {name}",
    "Trying {name}": "正在试载 {name}",
    "Converting {name}": "正在转换 {name} 的权重",
    **i18n_models.SENTENCES,
    **i18n_loop_errors.SENTENCES,
    **i18n_masks.SENTENCES,
}  # fmt: skip
# What stands in a sentence's parts.
PARTS = {
    "a PDF document": " PDF 文档", "a PostScript document": " PostScript 文档", "a ZIP archive or an office document": "压缩包或办公文档",
    "a gzip archive": " gzip 压缩包", "a 7z archive": " 7z 压缩包", "a RAR archive": " RAR 压缩包", "a bzip2 archive": " bzip2 压缩包",
    "a Photoshop document": " Photoshop 文档", "a JPEG 2000 image": " JPEG 2000 图片", "a JPEG XL image": " JPEG XL 图片",
    "an icon file": "图标文件", "a DDS texture": " DDS 纹理", "a QOI image": " QOI 图片", "an OpenEXR image": " OpenEXR 图片",
    "an HDF5 file": " HDF5 文件", "a NumPy array file": " NumPy 数组文件", "a FITS file": " FITS 文件", "a DICOM file": " DICOM 文件",
    "a video": "视频", "a program": "程序", "a sound file": "音频文件", "a sound or video file": "音频或视频文件", "a HEIC photo": " HEIC 照片",
    "an SVG drawing": " SVG 图形", "a web page": "网页", "a JSON file": " JSON 文件", "a text file": "文本文件", "a file of a kind that is not known here": "未知类型的文件",
    "a JPEG": "JPEG", "a PNG": "PNG", "a GIF": "GIF", "a TIFF": "TIFF", "a BMP": "BMP", "a WebP": "WebP", "an AVIF": "AVIF",
    "JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF": "JPEG、PNG、WebP、GIF、BMP、TIFF 和 AVIF",
    "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC": "JPEG、PNG、WebP、GIF、BMP、TIFF、AVIF 和 HEIC",
    "some of its pixels are NaN or infinite": "部分像素为 NaN 或无穷",
    "all of its pixels are NaN or infinite": "全部像素为 NaN 或无穷",
    "the raw values of a camera's sensor": "相机传感器的原始值", "ITU Lab": " ITU Lab", "YCbCr": " YCbCr",
    "its channels differ in depth": "各通道位深不同", "its strips or tiles have no size": "条带或分块没有尺寸",
    "its inks are others than cyan, magenta, yellow and black": "油墨不是青、品红、黄、黑",
    "it ends before its pixels do": "像素数据不完整", "it ends too early": "文件过早结束", "its palette is not valid": "调色板无效",
    "its directory lies outside of it": "目录位于文件之外", "its number of channels is not valid": "通道数无效",
    "it has fewer strips or tiles than its size needs": "条带或分块不足以填满图像",
    "it does not say how long its strips or tiles are": "未说明条带或分块的长度",
    "some of its values are fractions, but label ids are whole numbers": "部分值为小数，而标签编号应为整数",
    "the name": "名称", "the number": "编号", "the colour": "颜色",
    "a checksum inside it is wrong": "内部校验和错误",
    **i18n_masks.PARTS,
    **i18n_models.PARTS,
    "loaded and run once": "加载并试运行", "converted from a pickle": "从 pickle 转换", "loss": "损失", "gradient": "梯度",
}  # fmt: skip


def _pattern(sentence: str) -> re.Pattern[str]:
    """A sentence with its parts as named groups, up to the next sentence."""
    parts = re.split(r"\{(\w+)\}", sentence)
    text = "".join(re.escape(part) if index % 2 == 0 else f"(?P<{part}>.+?)" for index, part in enumerate(parts))
    return re.compile(text + r"(?:\s+|$)", re.DOTALL)


_TABLE = [(_pattern(english), chinese) for english, chinese in SENTENCES.items()]


def in_chinese(message: str) -> str:
    """A message in Chinese, or as it is if one of its sentences is not known.

    >>> in_chinese("This file is empty. Send an image."), in_chinese("This is new.")
    ('文件是空的。请发送图片。', 'This is new.')
    """
    said, rest = [], message
    while rest:
        found = next(((match, chinese) for pattern, chinese in _TABLE if (match := pattern.match(rest))), None)
        if found is None:
            return message
        match, chinese = found
        said.append(chinese.format(**{name: PARTS.get(part, part) for name, part in match.groupdict().items()}))
        rest = rest[match.end() :]
    return "".join(said)


def told(message: str, language: str) -> str:
    """A message of one or more lines in ``en`` or ``zh``."""
    if language == "zh" and isinstance(message, Message) and (text := message.text(language)) != message:
        return text
    # A sentence that is not in the tables of messages yet.
    return "\n".join(map(in_chinese, message.splitlines())) if language == "zh" else message


def spoken(message: str) -> str:
    """A message in the language of the browser whose request is being answered; English for all other clients."""
    return told(message, language_of(LocalContext.request.get(None)))

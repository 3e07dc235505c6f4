"""What goes wrong, and what is going on, in Chinese for a browser that asks for Chinese.

Errors are raised in English, far from any screen: libraries, the command line and the API have one language. A message is put
together from sentences, so it is translated sentence by sentence; one with a sentence that is not in this table stays English.

Chinese for what can go wrong on the tabs Correct, Batch, Compare and Fine-tune; :mod:`seg_demo.ui.i18n_errors` merges it.
"""

from __future__ import annotations

import re

from gradio.context import LocalContext

from seg_demo.core.messages import Message
from seg_demo.ui import i18n_masks, i18n_models
from seg_demo.ui.i18n import language_of

# English sentence with its {parts}: Chinese.
LOOP_SENTENCES = {
    # How COCO files were read.
    "{file} has one annotation per class and picture, which together cover it: a class per pixel, no separate objects.":
        "{file} 中每张图片每个类别只有一个标注，合起来覆盖全图：按逐像素类别读取，没有单独的对象。",
    "The {n} COCO files number their categories differently, such as {name}: they were matched by their names.":
        "{n} 个 COCO 文件的类别编号不同，例如 {name}：已按名称对应。",
    "Categories without any annotation are left out: {names}.": "没有任何标注的类别已略去：{names}。",
    "Annotations of {name} are not objects: the pixels of these {n} were read as background.":
        "{name} 的标注不是对象：其 {n} 个标注的像素按背景读取。",
    "Annotations of {name} are not objects: the pixels of these {n} were read as ignored.":
        "{name} 的标注不是对象：其 {n} 个标注的像素被忽略。",
    # Correct.
    "{pair} does not pair a class of the model with one of the dataset.": "{pair} 不是模型类别与数据集类别的对应。",
    "Choose it from the list.": "请从列表中选择。",
    "The class {name} cannot become both {first} and {second}.": "类别 {name} 不能同时对应 {first} 和 {second}。",
    "Remove one of them.": "请去掉其中之一。",
    "This sample belongs to the dataset that it was opened from.": "此样本属于打开它的数据集。",
    "Choose that one again, or save it there.": "请重新选择该数据集，或保存到那里。",
    "The dataset {name} holds another kind of masks.": "数据集 {name} 的掩膜类型与此不同。",
    "Choose one of the same kind.": "请选择同类型的数据集。",
    "The dataset that this image was opened for has been deleted.": "打开此图片时所选的数据集已被删除。",
    "Choose another one, then save again.": "请另选一个后再保存。",
    "There is no image to correct.": "没有要修正的图片。",
    "Drop one into the box first.": "请先放入一张图片。",
    "There is no mask file.": "没有掩膜文件。",
    "Choose one, or another starting point.": "请选择一个，或换一种起点。",
    "There is no result to correct, or it has expired.": "没有可修正的结果，或结果已过期。",
    "Type the classes of the dataset, such as: cell, border.": "请填写数据集的类别，例如：cell, border。",
    "A dataset needs a name.": "数据集需要名称。",
    "Type one.": "请填写。",
    "{name} cannot be used as a class name.": "{name} 不能用作类别名。",
    "Type 1 to 80 letters, digits, signs or spaces.": "请填写 1 到 80 个字母、数字、符号或空格。",
    "A dataset has at most {most} classes, but there are {count}.": "数据集最多 {most} 个类别，这里有 {count} 个。",
    "A dataset has at most {most} classes, but there would be {count}.": "数据集最多 {most} 个类别，这样会有 {count} 个。",
    "Use fewer.": "请减少。",
    "A dataset has at most {most} samples.": "数据集最多 {most} 个样本。",
    "Delete some, or start another dataset.": "请删除一些，或新建数据集。",
    "{count} datasets exist already, which is the limit.": "已有 {count} 个数据集。",
    "Delete one that you no longer need.": "请删除不再需要的。",
    "There is no dataset {name} here.": "这里没有数据集 {name}。",
    "It may have been deleted; choose another one.": "它可能已被删除，请选择另一个。",
    "The dataset {name} has no sample {stem}.": "数据集 {name} 中没有样本 {stem}。",
    "It may have been deleted.": "它可能已被删除。",
    "The dataset {name} has no samples yet.": "数据集 {name} 还没有样本。",
    "Save one first, then push.": "请先保存样本再推送。",
    "This mask has {came} pixels, but its image has {wanted}.": "掩膜为 {came} 像素，而图片为 {wanted}。",
    "Save it at exactly the size of the image.": "请按图片尺寸重新制作。",
    "This mask holds {value}, but the dataset's classes are numbered 0 to {most} (255 is ignored).":
        "掩膜含有 {value}，而数据集的类别编号为 0 到 {most}（255 表示忽略）。",
    "Add the classes to the dataset first, or choose another mask.": "请先为数据集添加类别，或选择其他掩膜。",
    "The file that was sent is not on the server any more.": "发送的文件已不在服务器上。",
    "Save it again.": "请重新保存。",
    "The server's disk is full, so nothing was saved; what was saved before is untouched.": "服务器磁盘已满，未能保存；之前保存的内容不受影响。",
    "Delete samples that you no longer need, or ask whoever runs the server for space.": "请删除不再需要的样本，或请服务器管理者释放空间。",
    "This browser has no place for datasets yet.": "此浏览器尚未获得存放数据集的位置。",
    "Reload the page.": "请刷新页面。",
    "Try again in a moment, or reload the page.": "请稍后再试，或刷新页面。",
    "{file} of the dataset {name} is damaged ({why}), so this sample is left out.": "数据集 {name} 的 {file} 已损坏（{why}），此样本被略过。",
    "Its image and its mask are untouched; restore the file from a copy.": "图片与掩膜未受影响，请从备份恢复该文件。",
    # Batch and Compare.
    "No file was sent.": "没有收到文件。",
    "Choose images, or a zip archive of them.": "请选择图片或图片压缩包。",
    "More than {most} images were sent, which is the most at once.": "图片多于一次允许的 {most} 张。",
    "The files have more than the {most} MB that are accepted at once.": "文件总量超过一次允许的 {most} MB。",
    "Send fewer.": "请减少。",
    "The batch was stopped before its first image was finished.": "批处理在第一张图片完成前被停止。",
    "Choose one to compare the models on.": "请选择一张用于对比的图片。",
    "Two to {most} different models can be compared, but {count} were chosen.": "可对比 2 到 {most} 个不同的模型，已选 {count} 个。",
    # Fine-tune and push.
    "There is no data to train on yet.": "还没有可供学习的数据。",
    "Save samples on the Correct tab, or send a zip of images/ and masks/.": "请在“修正”页保存样本，或发送 images/ 与 masks/ 的压缩包。",
    "{title} has no weights, so it cannot be trained.": "{title} 没有权重，无法训练。",
    "Choose a network.": "请选择网络。",
    "On this server only models on its menu can be fine-tuned.": "此服务器只能微调菜单中的模型。",
    "Choose one of them.": "请选择其一。",
    "The job {name} is running, and only one can run at a time.": "任务 {name} 正在运行，一次只能运行一个。",
    "Region methods have no classes, so they cannot be compared.": "区域方法不区分类别，无从对比。",
    "Choose networks.": "请选择网络模型。",
    "Another visitor's job is running, and only one can run at a time.": "其他访问者的任务正在运行，一次只能运行一个。",
    "Try again when it has finished.": "请在它完成后再试。",
    "This browser has no key yet, with which it finds its jobs again.": "此浏览器尚未获得用于找回任务的钥匙。",
    "Only the owner of this server may share a model with everybody.": "只有此服务器的所有者可以与所有人共享模型。",
    "This model is not on the menu yet.": "此模型尚未在菜单中。",
    "Put it there first, then share it.": "请先放入菜单，再共享。",
    "Free some space and try again.": "请释放空间后重试。",
    "It was trained from weights that could not segment anything yet.": "它由尚不能分割的权重训练而来。",
    "The base knows none of these classes.": "起始模型不认识这些类别。",
    "No held-out image shows a class that both models know.": "留出图片中没有两者都认识的标注。",
    "The disk has no room for the zip.": "磁盘没有空间存放压缩包。",
    "Try again in two hours, when other downloads have been deleted.": "请两小时后再试，届时其他下载已被删除。",
    "The zip could not be written ({why}).": "无法写入压缩包（{why}）。",
    "Wait until it finishes, or stop it.": "请等待或停止它。",
    "This job is running.": "此任务正在运行。",
    "Stop it first.": "请先停止。",
    "There is no such job.": "没有这个任务。",
    "It may have been deleted; reload the page.": "它可能已被删除，请刷新页面。",
    "This job is not finished, so there is no trained model yet.": "此任务尚未完成，没有可取的结果。",
    "Wait until it finishes, or resume it.": "请等待或继续它。",
    "You are not logged in.": "尚未登录。",
    "Log in with the button above, or type an access token with write permission.": "请用上方按钮登录，或填写具有写权限的访问令牌。",
    "Type an access token with write permission, from huggingface.co/settings/tokens.":
        "请填写具有写权限的访问令牌（取自 huggingface.co/settings/tokens）。",
    "The name of the repository is missing.": "缺少仓库名。",
    "{name} is not the name of a repository.": "{name} 不是仓库名。",
    "Type your Hub name, a slash, and a name: ann/my-cells.": "请填写 Hub 用户名、斜杠和名称，如 ann/my-cells。",
    "It was not pushed; nothing is lost.": "未能推送，没有丢失任何内容。",
    "The Hub does not accept the login token.": "Hub 不接受该令牌。",
    "Log in again with `hf auth login`, or correct HF_TOKEN.": "请重新 `hf auth login`，或更正 HF_TOKEN。",
    "The token of {name} may only read.": "{name} 的令牌只有读权限。",
    "Create one with write permission, and log in with it.": "请创建具有写权限的令牌并用它登录。",
    "{name} is not a member of {space} and may not push to {repo}.": "{name} 不是 {space} 的成员，不能推送到 {repo}。",
    "Push to {repo}... instead.": "请推送到 {repo}…。",
    # How data was read where it did not say, and what a base brings along.
    "No class list: masks hold {values}, each read as a class of its own; 255 is ignored.": "没有类别列表：掩膜含有 {values}，各视为一个类别；255 忽略。",
    "No class list: masks hold {values}, each read as a class of its own.": "没有类别列表：掩膜含有 {values}，各视为一个类别。",
    "Name them in classes.txt.": "请在 classes.txt 中命名。",
    "Name them in classes.txt, or use instances/ if they number objects.": "请在 classes.txt 中命名；若是对象编号，请改用 instances/。",
    "Masks hold 0 and 255: 255 was read as class 1, 'foreground'.": "掩膜只有 0 和 255：255 视为类别 1“foreground”。",
    "Masks hold 0 and 255: 255 was read as {name}.": "掩膜只有 0 和 255：255 视为 {name}。",
    "Masks are coloured and there is no colour table: read as {pairs}.": "掩膜是彩色的且没有颜色表：视为 {pairs}。",
    "Name the classes in labels.json.": "请在 labels.json 中命名类别。",
    "No class list names the numbers in the masks, which go up to {most}: each was read as one object.":
        "没有类别列表，掩膜中的数值最大为 {most}：每个数值视为一个对象。",
    "If they are classes, name them in classes.txt.": "若是类别，请在 classes.txt 中命名。",
    "Masks hold more numbers than {file} has classes: each was read as one object, {name}.":
        "掩膜中的数值多于 {file} 的类别：每个数值视为一个对象 {name}。",
    "Masks hold as many grey values as there are classes; they were read in rising order: {pairs}.":
        "掩膜的灰度值与类别一样多，按升序对应：{pairs}。",
    "{file} lists no background: value 0 (black) was read as one.": "{file} 没有列出背景：0（黑色）视为背景。",
    "{file} lists no background: value 0 was read as {name}, its first class.": "{file} 没有列出背景：0 视为第一个类别 {name}。",
    "Pixels of {names} are ignored, in training and in the metrics.": "{names} 的像素在训练和指标中忽略。",
    "{n} of {total} images were left out because of their faults.": "{total} 张图片中有 {n} 张因有问题而略去。",
    "The test split ({n} images) was not used; validation is measured on val.": "测试集（{n} 张）未使用；验证用 val。",
    "There is no validation split: the test split ({n} images) is used as one.": "没有给出验证集：以测试集（{n} 张）代替。",
    "In the new layers, what the base model knows about these classes is kept: {names}.": "新建的层保留了起始模型对这些类别的知识：{names}。",
    # Why the training command would not begin.
    "{path} is not UTF-8 text ({why}).": "{path} 不是 UTF-8 文本（{why}）。",
    "Save it as UTF-8.": "请另存为 UTF-8。",
    "{path} is not JSON: {why}.": "{path} 不是 JSON：{why}。",
    "{path} is nested too deeply to be a list of classes.": "{path} 嵌套过深，不是类别列表。",
    "Correct it or remove it.": "请修正或删除它。",
    "{path} lists no class.": "{path} 没有列出任何类别。",
    "{path} gives {what} {name} twice.": "{path} 重复给出{what} {name}。",
    "{path} has numbers from {least} to {most}, but masks hold 0 to 65535.": "{path} 的编号为 {least} 到 {most}，而掩膜的数值为 0 到 65535。",
    "{path} has {what} where a colour [r, g, b] of 0 to 255 or #rrggbb is expected.": "{path} 中的 {what} 应为颜色 [r, g, b]（0 到 255）或 #rrggbb。",
    "{path} has {what} where a class name is expected.": "{path} 中的 {what} 应为类别名。",
    'Expected one name per line (classes.txt), or {"0": "background", "1": "cell"}, ["background", "cell"] or {"background": [0, 0, 0], "cell": [255, 0, 0]} (labels.json).':
        '应为每行一个名称（classes.txt），或 {{"0": "background", "1": "cell"}}、["background", "cell"] 或 '
        '{{"background": [0, 0, 0], "cell": [255, 0, 0]}}（labels.json）。',
    "{path} holds nothing.": "{path} 是空的。",
    "{path} holds {names}.": "{path} 中是 {names}。",
    "{path} holds no images, but {names}.": "{path} 中没有图片，而是 {names}。",
    "Expected images/ and masks/ (same file names; optionally inside train/ and val/), a metadata.jsonl with file_name and mask_file_name, or _annotations.coco.json; a COCO file or a CSV of pairs is given by its own path.":
        "应有 images/ 与 masks/（文件名相同；可放在 train/ 与 val/ 内）、含 file_name 与 mask_file_name 的 metadata.jsonl，或 _annotations.coco.json。",
    "--batch-size {n} with crops of {side} pixels needs about {needed} GiB, but {device} has {have} GiB free: --batch-size {fits} fits (with --accumulate, the same effective batch).":
        "每步 {n} 张（--batch-size）、裁剪边长 {side} 像素约需 {needed} GiB 内存，而 {device} 仅剩 {have} GiB：可改为每步 {fits} 张。",
    "--batch-size {n} with crops of {side} pixels needs about {needed} GiB, but {device} has {have} GiB free: even one image does not fit; use a smaller --image-size (with --accumulate, the same effective batch).":
        "每步 {n} 张（--batch-size）、裁剪边长 {side} 像素约需 {needed} GiB 内存，而 {device} 仅剩 {have} GiB，连一张也放不下：请减小裁剪边长（--image-size）。",
    "--replay {share} mixes in built-in images of the class 'cell', but the data has {names}.":
        "内置图片比例 {share} 会混入类别为 'cell' 的内置图片，而数据的类别是 {names}。",
    "Name its class 'cell' if that is what it shows, or leave --replay out.": "若数据确为细胞，请将其类别命名为 'cell'；否则请将内置图片比例设为 0。",
    "{folder} is in use by {who}: two runs in one folder would overwrite each other.": "{folder} 正被另一次训练使用：同一文件夹中的两次训练会互相覆盖。",
    # Why a fine-tuning job ended before it was done.
    "Diverged.": "训练发散。",
    "Step {step}: the {what} is not a number.": "第 {step} 步：{what}不是有效数值。",
    "Step {step}: {what} returned invalid numbers (NaN or infinity) for this image, so there is no result.":
        "第 {step} 步：模型对一张图片输出了无效数值（NaN 或无穷）。",
    "Samples of this step: {names}.": "该步的样本：{names}。",
    "The last good state is kept; try a smaller --lr, or look at these samples.": "已保留最后的正常状态；请减小学习率（--lr），或检查这些样本。",
    "It did not begin within {time}, so it was stopped.": "任务在 {time} 内未能开始，已被结束。",
    "It made no progress for {time}, so it was stopped.": "任务停滞了 {time}，已被结束。",
    "What was saved is still there; resume it.": "已保存的内容保留，可以继续。",
    "Close other programs, then resume it.": "请关闭其他程序后继续。",
    "It could not be run ({why}).": "任务无法运行（{why}）。",
    "Close other programs or free some space, then resume it.": "请关闭其他程序或释放空间后继续。",
    "The operating system stopped it ({signal}), which usually means that memory ran out.": "系统结束了任务（{signal}），通常是内存不足。",
    "It ended before it could begin; its log says where.": "任务未能开始就结束了；日志中有说明。",
    "Most often memory or threads ran out: close other programs.": "多半是内存或线程不足：请关闭其他程序。",
    "No process could be started for this job ({why}).": "无法为此任务启动进程（{why}）。",
    "Close other programs or try again in a few minutes.": "请关闭其他程序，或几分钟后重试。",
    "Try a smaller --lr.": "请减小学习率（--lr）。",
    "Memory ran out.": "内存不足。",
    "Free some memory and resume, or start again with a smaller --batch-size or --image-size.":
        "请释放内存后继续，或减小批大小（--batch-size）或图片尺寸（--image-size）后重新开始。",
    "{path} could not be written: the disk is full ({free} MiB free).": "无法写入 {path}：磁盘已满（剩余 {free} MiB）。",
    "{path} could not be written or read: {why}.": "无法写入或读取 {path}：{why}。",
    "What was saved before is untouched.": "之前保存的内容不受影响。",
    "Free some space, then run the same command with --resume.": "请释放空间后继续（命令行：加上 --resume）。",
    "Check that the folder exists, that you may write to it and that its disk works.": "请检查文件夹是否存在、是否可写以及磁盘是否正常。",
    # Archives and batches.
    "{name} is not a zip archive that can be read ({why}).": "{name} 不是可读取的 zip 压缩包（{why}）。",
    "Pack the images again as an ordinary .zip, or send them one by one.": "请将图片重新打包为普通 .zip，或逐张发送。",
    "Unpacked, the archive has more than the {most} MB that are accepted.": "解压后超过允许的 {most} MB。",
    "The archive's list of files takes {n} MB, but at most {most} MB are read.": "压缩包的文件列表有 {n} MB，最多读取 {most} MB。",
    "The archive holds {n} files, but at most {most} are accepted at once.": "压缩包内有 {n} 个文件，一次最多 {most} 个。",
    "Split it into several.": "请拆分成几个。",
    "The archive could not be unpacked: {why}.": "无法解压：{why}。",
    "Free some space and send it again.": "请释放空间后重新发送。",
    "Its name points outside the archive, so it was left out.": "文件名指向压缩包之外，已略去。",
    "Its name is longer than {n} bytes; shorten it.": "文件名超过 {n} 字节，请缩短。",
    "It is a link or a device, not a file; put the file itself into the archive.": "它是链接或设备而不是文件，请放入文件本身。",
    "It is encrypted; pack it without a password.": "它已加密，请打包时不设密码。",
    "It is packed with a method that cannot be read here; use an ordinary .zip.": "不支持其压缩方式，请使用普通 .zip。",
    "Its name does not end like that of an image file, such as .png.": "从扩展名看不是图片（如 .png）。",
    "It is an archive inside the archive; unpack it first.": "它是压缩包中的压缩包，请先解压。",
    "It is damaged within the archive ({why}); pack it again.": "它在压缩包中已损坏（{why}），请重新打包。",
    "No images are in what was sent ({why}).": "发送的文件中没有图片（{why}）。",
    "No images are in what was sent.": "发送的文件中没有图片。",
    "Send images, or a zip archive of them.": "请发送图片或图片压缩包。",
    "The results could not be written ({why}).": "无法写入结果（{why}）。",
    "Send fewer images, or free some space.": "请减少图片，或释放空间。",
    "The server is busy: {n} requests are waiting, which is the limit.": "服务器繁忙：已有 {n} 个请求在等待，达到上限。",
    "You have {n} requests waiting, which is the limit.": "您已有 {n} 个请求在等待，达到上限。",
    "Wait until one is answered.": "请等其中一个完成后再试。",
    "{n} batches are running, which is the limit.": "已有 {n} 个批处理在运行，达到上限。",
    "Try again in a few minutes.": "请几分钟后再试。",
    "The server has no more threads for this now.": "服务器目前没有空闲线程。",
    "Regions are computed without a network, so nothing is known about how sure they are.": "区域方法不使用网络，因此没有置信度信息。",
    "{text} is not a pixel size.": "{text} 不是像素尺寸。",
    "Write a number with its unit, such as 0.65um or 10m.": "请填写数值和单位，例如 0.65um 或 10m。",
    "A pixel size is a number above 0 with the unit um or m, such as 0.65um or 10m, but got {value}.":
        "像素尺寸应为大于 0 的数，单位为 um 或 m，例如 0.65um 或 10m，收到的是 {value}。",
    # More of Correct.
    "A dataset needs at least one class.": "数据集至少需要一个类别。",
    "Type the names of what is to be found.": "请填写要找的内容的名称。",
    "The dataset {name} cannot be opened: its dataset.json is missing or damaged ({why}).":
        "无法打开数据集 {name}：dataset.json 缺失或已损坏（{why}）。",
    "Its images and masks are untouched; restore the file from a copy, or make a new dataset.": "图片与掩膜未受影响；请从备份恢复该文件，或新建数据集。",
    "The dataset {name} could not be written or read: {why}.": "无法写入或读取数据集 {name}：{why}。",
    "Try again, or ask whoever runs the server to look at its disk.": "请重试，或请服务器管理者检查磁盘。",
    "This needs {n} MB, but {most} MB are left of the space that each visitor has here.": "需要 {n} MB，而您在此处的空间只剩 {most} MB。",
    "Export what you have and delete samples, or run the demo on your own machine.": "请导出已有内容并删除一些样本，或在自己的机器上运行本演示。",
    "The prediction has {n} objects, more than the editor can number.": "预测结果有 {n} 个对象，超过编辑器可编号的数量。",
    "The mask falls into more pieces than the editor can number.": "掩膜的连通块太多，编辑器无法编号。",
    "Start from a blank mask.": "请从空白掩膜开始。",
    "The mask did not arrive as it was sent: it is coloured.": "收到的掩膜与发送的不一致：它是彩色的。",
    "The mask holds {value}, which is no class or object that was sent with it.": "掩膜含有 {value}，它不是随掩膜发送的类别或对象。",
    "The mask holds {value}, but the dataset's classes are numbered from 0 to {most} (255 is ignored).":
        "掩膜含有 {value}，而数据集的类别编号为 0 到 {most}（255 表示忽略）。",
    "Add the class to the dataset, or correct the mask.": "请为数据集添加该类别，或修正掩膜。",
    "Object {n} has pixels of more than one class.": "对象 {n} 的像素属于多个类别。",
    "Give every object one class.": "每个对象只能有一个类别。",
    "Object {n} has no class of its own (its pixels are background or ignored).": "对象 {n} 没有类别（其像素为背景或忽略）。",
    "Give it a class.": "请为它指定类别。",
    "This server does not store datasets.": "此服务器不保存数据集。",
    "Download the mask, run the demo on your own machine, or ask its owner to set SEG_DEMO_COLLECT=on.":
        "请下载掩膜，或在自己的机器上运行本演示，或请所有者设置 SEG_DEMO_COLLECT=on。",
    "What was sent with the mask cannot be read.": "无法读取随掩膜发送的数据。",
    "Reload the page, and save again.": "请刷新页面后重新保存。",
    # More of Fine-tune.
    "The archive holds no file ({why}).": "压缩包中没有文件（{why}）。",
    "The archive holds no file.": "压缩包中没有文件。",
    "Pack images/ and masks/ into it.": "请放入 images/ 与 masks/。",
    "Checking the data took more than {n} minutes.": "检查数据超过 {n} 分钟。",
    "Send less data.": "请减少数据。",
    "{file} could not be written ({why}).": "无法写入 {file}（{why}）。",
    "The push took more than {n} minutes.": "推送超过 {n} 分钟。",
    "Nothing is lost; try again.": "没有丢失任何内容，请重试。",
    "This job has been started, so its settings cannot be changed.": "任务已开始，设置不能再改。",
    "This job has been started before.": "此任务已经开始过。",
    "Resume it, or make a new one.": "请继续它，或新建任务。",
    "Make a new one.": "请新建任务。",
    "This suggestion does not belong to this data.": "此建议不适用于这份数据。",
    "There is no suggestion for this data.": "没有适用于这份数据的建议。",
    "Check the data again.": "请重新检查数据。",
    "Check it again.": "请重新检查。",
    "This job is running or finished, so it cannot be resumed.": "任务正在运行或已完成，无法继续。",
    "Less than {n} MB are free on the disk.": "磁盘剩余空间不足 {n} MB。",
    "Delete old jobs or other files.": "请删除旧任务或其他文件。",
    "The data could not be copied ({why}).": "无法复制数据（{why}）。",
    # More of models and the Hub.
    "The files of {id} arrived damaged.": "{id} 的文件下载后已损坏。",
    "Try again, or tell the model's owner.": "请重试，或告知模型所有者。",
    "The Hub at {host} has not answered for {n} s.": "Hub（{host}）在 {n} 秒内没有响应。",
    "The fine-grained token of {name} may not write to {repo}.": "{name} 的细粒度令牌没有写入 {repo} 的权限。",
    "Give it that permission.": "请为它授予该权限。",
    "{name} has only the role {role} in {space} and may not push to {repo}.": "{name} 在 {space} 中只有 {role} 角色，不能推送到 {repo}。",
    "You are not logged in to the Hub.": "尚未登录 Hub。",
    "Log in with `hf auth login`, or set HF_TOKEN.": "请用 `hf auth login` 登录，或设置 HF_TOKEN。",
    "{name} may not write to the existing repository {repo}.": "{name} 无权写入已有的仓库 {repo}。",
    "The Hub refuses the upload to {repo}: {why}.": "Hub 拒绝上传到 {repo}：{why}。",
    "The Hub refuses the upload to {repo} ({why}).": "Hub 拒绝上传到 {repo}（{why}）。",
    "This login may not write to {repo}.": "当前登录无权写入 {repo}。",
    "Log in as someone who may.": "请换有权限的账号登录。",
    "{id} takes {n} MB on the disk, more than the {most} MB that models typed by visitors may take here.":
        "{id} 占用磁盘 {n} MB，超过此处访问者模型允许的 {most} MB。",
    "Choose a smaller one (an owner can raise SEG_DEMO_VISITOR_MODELS_BYTES).": "请选择更小的模型（部署者可调高 SEG_DEMO_VISITOR_MODELS_BYTES）。",
    "The server's disk has no room for {id} ({n} MB).": "服务器磁盘没有空间存放 {id}（{n} MB）。",
    "Choose a model without ○ in the menu, or try again later.": "请选择菜单中没有 ○ 标记的模型，或稍后再试。",
    "The model cannot be stored on the server: {why}.": "模型无法存储在服务器上：{why}。",
    "Try again later.": "请稍后再试。",
    "The disk space for models that visitors typed is full, and all of them are in use.": "供访问者模型使用的磁盘空间已满，且这些模型都在使用中。",
    "Try again in a few minutes, or choose another model.": "请几分钟后再试，或选择其他模型。",
    "This model was removed from the disk to make room for others.": "为给其他模型腾出空间，此模型已从磁盘删除。",
    "Try again, and it is downloaded again.": "请重试，将重新下载。",
    "An image of {size} pixels needs about {n} GiB of memory, but {free} GiB are free.": "{size} 像素的图片约需 {n} GiB 内存，目前只有 {free} GiB 可用。",
    "{name} arrived damaged.": "{name} 下载后已损坏。",
    "Try again.": "请重试。",
    "The network returned NaN or infinity for this image; its weights are damaged or diverged.": "网络对这张图片输出了 NaN 或无穷；其权重已损坏或训练发散。",
    "This model ended the process that tried to load it, so it is not loaded here.": "此模型使试载进程崩溃，因此不在此加载。",
    "This model ended the process that tried to load it ({why}), so it is not loaded here.": "此模型使试载进程崩溃（{why}），因此不在此加载。",
    "This model cannot be loaded and run ({why}).": "无法加载并运行此模型（{why}）。",
    "No process could be started to try this model in ({why}).": "无法启动用于试载此模型的进程（{why}）。",
    "Try again in a few minutes, or choose a model of the menu.": "请几分钟后再试，或选择菜单中的模型。",
    "There is no region method {name}.": "没有名为 {name} 的区域方法。",
    "Choose one of {names}.": "请从 {names} 中选择。",
    "{name} has no parameter {parameter}.": "{name} 没有参数 {parameter}。",
    "It takes {names}.": "可用的参数：{names}。",
    "The checkpoint's config has a value of the wrong kind ({why}).": "模型的配置中有类型错误的值（{why}）。",
    "There is no network {name}.": "没有网络 {name}。",
    "Networks: {names}.": "可用的网络：{names}。",
    "The image came as text that is no base64 data: URL.": "图片以文本形式发来，但不是 base64 的 data: URL。",
    "Send a file; addresses are not fetched here.": "请发送文件；这里不会下载网址。",
    "The image came as a data: URL whose base64 text is damaged.": "图片的 data: URL 中 base64 文本已损坏。",
    "Send the file again.": "请重新发送文件。",
    "The server's disk is full, so the result could not be stored.": "服务器磁盘已满，无法保存结果。",
    "Nothing is wrong with what you sent: try again in an hour.": "您发送的内容没有问题：请一小时后再试。",
    "This image has {size} pixels, so there is nothing to see.": "图片为 {size} 像素，没有可看的内容。",
    # Memory, the correct mask of a comparison, and checkpoints that cannot be loaded.
    "Not even a small one fits: try again when the server is less busy, or choose a smaller model.": "即使很小的图片也放不下：请在服务器空闲时再试，或选择更小的模型。",
    "Of this shape, up to {size} pixels fit: send it at that size or smaller, or in parts.": "这种长宽比最多可处理 {size} 像素：请缩小到该尺寸以内，或分块发送。",
    "Of this shape, up to {size} pixels fit: send it at that size or smaller, or choose full detail, which takes less memory.":
        "这种长宽比最多可处理 {size} 像素：请缩小到该尺寸以内，或选择占用内存更少的“完整细节”。",
    "The correct mask cannot be used: the mask has {came} pixels, the image {size}.": "无法使用正确掩膜：掩膜为 {came} 像素，而图片为 {size}。",
    "The correct mask cannot be used: the mask holds {value}, but {n} classes are numbered from 0 to {most}.":
        "无法使用正确掩膜：掩膜含有 {value}，而 {n} 个类别的编号为 0 到 {most}。",
    "The correct mask cannot be used: the mask is black and white, but there are {n} classes ({names}).":
        "无法使用正确掩膜：掩膜是黑白的，而类别有 {n} 个（{names}）。",
    "Give each pixel its class's number instead of white: {number} is {name}.": "请用类别编号代替白色：{number} 为 {name}。",
    "The correct mask cannot be used: the mask is coloured, and {n} of its {all} colours are no class's ({color}, for one).":
        "无法使用正确掩膜：掩膜是彩色的，其 {all} 种颜色中有 {n} 种不属于任何类别（例如 {color}）。",
    "Save it as a grey or palette PNG whose numbers are the classes, not as a JPEG.": "请另存为以类别编号为像素值的灰度或调色板 PNG，不要用 JPEG。",
    "Send a mask at the size of the image with the label ids of the first model (255 is ignored).":
        "请发送与图片同尺寸、使用第一个模型类别编号的掩膜（255 表示忽略）。",
    "This is not a segmentation checkpoint that can be loaded (its config.json says {about}).": "这不是可加载的分割模型（config.json 中为 {about}）。",
    "Supported: segmentation_models_pytorch models, transformers models for semantic segmentation, and FCN and Mask R-CNN checkpoints that this project wrote.":
        "支持 segmentation_models_pytorch 模型、transformers 语义分割模型，以及本项目生成的 FCN 和 Mask R-CNN 模型。",
    "Weight {name} holds NaN or infinity; the file is damaged or the training diverged.": "权重 {name} 含有 NaN 或无穷；文件已损坏，或训练已发散。",
    "Weight {name} has shape {came} in {file}, but {config} describes {wanted}.": "{file} 中权重 {name} 的形状为 {came}，而 {config} 描述的是 {wanted}。",
    "{file} lacks {n} weights of the {what}, the first is {name}.": "{file} 缺少 {what} 的 {n} 个权重，第一个是 {name}。",
    "The network takes {n} channels; only RGB images can be served.": "该网络需要 {n} 个通道；这里只能处理 RGB 图片。",
    "{name} assembles masks from class queries; models with logits per class are supported.": "{name} 用类别查询组合掩膜，暂不支持；支持逐像素输出类别得分的模型。",
    "preprocessor_config.json is not an image processor of transformers ({why}).": "preprocessor_config.json 不是 transformers 的图像处理器（{why}）。",
    "The checkpoint's image processor cannot be used ({why}).": "无法使用此模型的图像处理器（{why}）。",
    "config.json is not one of a {kind} model ({why}).": "config.json 不属于 {kind} 模型（{why}）。",
    "The data could not be checked: {why}": "无法检查数据：{why}",
    "This data: URL cannot be read.": "无法读取此 data: URL。",
    "It must look like data:image/png;base64, followed by the file in base64.": "格式应为 data:image/png;base64, 后接 base64 编码的文件。",
}  # fmt: skip


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
    **LOOP_SENTENCES,
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

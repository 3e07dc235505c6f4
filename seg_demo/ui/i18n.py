"""The page's words in English and Chinese, chosen by the browser's language.

Static texts are translated in the browser by ``gr.I18n``; what the server writes later (about a model, for example) follows
the request's ``Accept-Language``, which browsers send for the same setting. The viewer carries its own words.

Words of the tab Correct, in English and Chinese; :mod:`seg_demo.ui.i18n` merges them.

Words of the tabs Batch, Compare and Fine-tune, in English and Chinese; :mod:`seg_demo.ui.i18n` merges them.
"""

from __future__ import annotations

import gradio as gr
from gradio.i18n import I18nData

# key: (English, Chinese)
CORRECT_WORDS: dict[str, tuple[str, str]] = {
    "correct": ("Correct", "修正"),
    "correct_lead": (
        "Correct a model's masks by hand and collect them in a dataset, which you can then use for fine-tuning.",
        "手工修正模型给出的掩膜，收集成数据集，再用于微调。",
    ),
    "correct_dataset": ("Dataset", "数据集"),
    "correct_dataset_info": ("Only you can see it: its key is stored in this browser.", "仅您可见：密钥保存在此浏览器中。"),
    "correct_new": ("+ new dataset", "+ 新建数据集"),
    "correct_name": ("Name of the dataset", "数据集名称"),
    "correct_task": ("Kind of masks", "掩膜类型"),
    "correct_semantic": ("a class per pixel", "每个像素一个类别"),
    "correct_instance": ("separate objects", "逐个对象"),
    "correct_classes": ("Classes", "类别"),
    "correct_classes_info": (
        "Separated by commas or line breaks. The background is added automatically. Empty: the model's classes.",
        "用逗号分隔或每行一个。背景会自动加入。留空则使用模型的类别。",
    ),
    "correct_start": ("Start from", "起点"),
    "correct_from_model": ("a prediction", "模型预测"),
    "correct_from_mask": ("a mask file", "掩膜文件"),
    "correct_from_blank": ("a blank mask", "空白掩膜"),
    "correct_pairs": ("Which class of the model becomes which class here", "模型类别与数据集类别的对应"),
    "correct_pairs_info": (
        "Classes with the same name are matched automatically. Classes without a match are left out.",
        "同名类别自动对应；没有对应的类别会被略去。",
    ),
    "correct_mask": ("Mask file", "掩膜文件"),
    "correct_mask_drop": (
        "Drop the mask here\nor click to choose one:\na PNG or TIFF as large as the image",
        "将掩膜拖到此处\n或点击选择：\n与图片同尺寸的 PNG 或 TIFF",
    ),
    "correct_open": ("Open in the editor", "在编辑器中打开"),
    "correct_zip": ("Dataset (.zip)", "数据集 (.zip)"),
    "correct_delete": ("Delete this dataset", "删除此数据集"),
    "correct_delete_sure": ("Yes, delete it with all its samples", "确认删除数据集及其全部样本"),
    "correct_hub": ("Push to the Hugging Face Hub", "推送到 Hugging Face Hub"),
    "correct_repo": ("Dataset repository", "数据集仓库"),
    "correct_repo_info": ("your-name/dataset-name; it is created if it does not exist.", "用户名/数据集名；不存在则新建。"),
    "correct_token": ("Access token with write permission", "具有写权限的访问令牌"),
    "correct_token_info": ("Used for this push only and never stored.", "仅用于本次推送，不会保存。"),
    "correct_private": ("private", "私有"),
    "correct_push": ("Push", "推送"),
    "correct_pushed": ("Pushed", "已推送"),
    "correct_off": (
        "This server does not store datasets: draw, then download the mask. To collect masks in a dataset, run the demo on "
        "your own machine.",
        "此服务器不保存数据集：绘制后请下载掩膜。如需收集成数据集，请在自己的机器上运行本演示。",
    ),
    "correct_this": ("Correct this mask", "修正此掩膜"),
    "correct_missing": (
        "The dataset has no class {names}, so what the model found of it is left out. If the class has another name in the "
        "dataset, choose the pair below the model and open the image again.",
        "数据集中没有类别 {names}，模型找到的这些部分已略去。若该类别在数据集中另有名称，请在模型下方选择对应关系，然后重新打开图片。",
    ),
}


# key: (English, Chinese)
LOOP_WORDS: dict[str, tuple[str, str]] = {
    "batch": ("Batch", "批量"),
    "batch_lead": (
        "Many images at once: one zip with masks, COCO, GeoJSON and tables of counts and areas. A file that cannot be read "
        "does not stop the others.",
        "一次处理多张图片：得到一个压缩包，含掩膜、COCO、GeoJSON 以及计数与面积表。无法读取的文件不影响其他文件。",
    ),
    "batch_files": ("Images, or a zip of them", "图片，或图片压缩包（zip）"),
    "batch_model_info": ("The same models as on the other tabs.", "与其他标签页相同的模型。"),
    "batch_pixel": ("Pixel size (optional)", "像素尺寸（可选）"),
    "batch_pixel_info": (
        "Length of a pixel's side. Areas are then also given in real units.",
        "像素边长。填写后，面积也会换算成实际单位。",
    ),
    "batch_unit": ("Unit", "单位"),
    "unit_um": ("µm", "微米"),
    "unit_m": ("m", "米"),
    "batch_run": ("Segment all", "全部分割"),
    "batch_stop": ("Stop and keep what is done", "停止并保留已完成的"),
    "batch_left_off": (
        "The batch ended early, and no results were saved. Please run it again.",
        "批处理提前结束，没有保存任何结果，请重新运行。",
    ),
    "batch_download": ("Download the results (.zip)", "下载结果 (.zip)"),
    "batch_sheet": ("Contact sheet", "总览图"),
    "batch_idle_title": ("Nothing segmented yet", "尚未分割"),
    "batch_idle": (
        "Choose images, or a zip of them, then press Segment all. A contact sheet (an overview of all results), counts and "
        "areas appear here.",
        "选择图片或压缩包，然后点击“全部分割”。总览图、计数与面积将显示在此处。",
    ),
    "batch_reading": ("Reading the files …", "正在读取文件 …"),
    "batch_progress": ("{done} of {total} images, {failed} failed: {name}", "第 {done} 张，共 {total} 张，失败 {failed} 张：{name}"),
    "batch_done": ("{done} of {total} images segmented.", "已分割 {done} / {total} 张图片。"),
    "batch_stopped": ("Stopped: {done} of {total} images segmented.", "已停止：已分割 {done} / {total} 张图片。"),
    "batch_limit": (
        "In {count} of them, such as {name}, the limit of {most} objects was reached, and there may be more; the last column "
        "of counts.csv marks these images. On the Instance tab, Full detail finds more, tile by tile.",
        "其中 {count} 张（例如 {name}）达到了 {most} 个对象的上限，可能还有更多；counts.csv 的最后一列标出了这些图片。“实例分割”页的“完整细节”逐块处理，可找到更多。",
    ),
    "batch_notes": ("How files were read ({count})", "文件的读取方式（{count}）"),
    "batch_failed": ("Not segmented ({count})", "未处理（{count}）"),
    "batch_more_rows": ("and {count} more rows in counts.csv", "其余 {count} 行见 counts.csv"),
    "batch_table": ("Counts and areas", "计数与面积"),
    "batch_class": ("Class", "类别"),
    "batch_count": ("Count", "数量"),
    "batch_pieces": ("Pieces", "连通块"),
    "batch_area": ("Area", "面积"),
    "batch_share": ("Share", "占比"),
    "batch_mean": ("Mean area", "平均面积"),
    "batch_pixels": ("pixels", "像素"),
    "finetune": ("Fine-tune", "微调"),
    "finetune_lead": (
        "Train a network on your own images; about twenty with masks are a start. Some images are held out of the training to "
        "measure whether it got better.",
        "用自己的图片训练网络，约二十张带掩膜的图片即可开始。部分图片留出不参与训练，用来判断是否变好。",
    ),
    "finetune_off": (
        "Fine-tuning is off on this server, because it would use its owner's machine. Run the demo on your own machine, or ask "
        "the owner to set SEG_DEMO_FINETUNE=on.",
        "此服务器未开启微调，以免占用其所有者的机器。请在自己的机器上运行本演示，或请所有者设置 SEG_DEMO_FINETUNE=on。",
    ),
    "finetune_missing": (
        "Fine-tuning needs packages that are not installed here. Install them with: pip install -r requirements-train.txt",
        "微调需要的软件包尚未安装。请运行：pip install -r requirements-train.txt",
    ),
    "finetune_base": ("Start from", "起始模型"),
    "finetune_base_info": (
        "The model that is trained further. Choose one made for images like yours.",
        "在此模型基础上继续训练。请选择与您的图片最接近的模型。",
    ),
    "finetune_data": ("Dataset", "数据集"),
    "finetune_data_info": ("What you saved on the Correct tab.", "您在“修正”页保存的样本。"),
    "finetune_zip": ("... or a zip of images/ and masks/", "……或 images/ 与 masks/ 的压缩包"),
    "finetune_steps": ("Steps", "步数"),
    "finetune_steps_info": (
        "More steps take longer and learn more; 300 are enough for a small dataset.",
        "步数越多，耗时越长，学得越充分；小数据集 300 步即可。",
    ),
    "finetune_more": ("More settings", "更多设置"),
    "finetune_lr": ("Learning rate (0: the network's default)", "学习率（0：使用网络的默认值）"),
    "finetune_augment": ("Random changes to the images (augmentation)", "数据增强（随机改变图片）"),
    "augment_none": ("none", "无"),
    "augment_light": ("light", "轻"),
    "augment_strong": ("strong", "强"),
    "finetune_size": (
        "Side of the training crops in pixels (0: the network's default)",
        "训练裁剪块的边长，像素（0：使用网络的默认值）",
    ),
    "finetune_batch": ("Images per step", "每步图片数"),
    "finetune_held_out": ("Share of the images held out to measure the result", "留出用于评测的图片比例"),
    "finetune_replay": ("Share of built-in images", "内置图片的比例"),
    "finetune_replay_info": (
        "Only if you start from a bundled model and have a class named cell: built-in images are mixed in, so that the model "
        "does not forget them.",
        "仅适用于起始模型为内置模型且有名为 cell 的类别：混入内置图片，防止遗忘已学内容。",
    ),
    "finetune_check": ("Check the data", "检查数据"),
    "finetune_run": ("Fine-tune", "开始微调"),
    "finetune_skip": ("Continue without what is faulty", "略去有问题的部分并继续"),
    "finetune_reading": ("How should the masks be read?", "掩膜应如何读取？"),
    "finetune_readings": ("One sample: the image, and its mask read in each way", "一个样本：图片，以及掩膜的各种读法"),
    "finetune_mend": ("Use the suggested classes", "采用建议的类别"),
    "finetune_stop": ("Stop", "停止"),
    "finetune_resume": ("Resume", "继续"),
    "finetune_use": ("Use it in this demo", "在本演示中使用"),
    "finetune_use_worse": ("Use it anyway", "仍然使用"),
    "finetune_delete": ("Delete this job", "删除此任务"),
    "finetune_delete_sure": ("Delete it permanently", "确认永久删除"),
    "finetune_keep": ("Keep it", "保留"),
    "finetune_lost": (
        "This permanently deletes {name}: its trained weights ({size} MB), curves and log, and its copy of {images} images.",
        "这将永久删除 {name}：训练好的权重（{size} MB）、曲线、日志以及 {images} 张图片的副本。",
    ),
    "finetune_lost_early": (
        "This permanently deletes {name}: what it has learnt so far, its log, and its copy of {images} images.",
        "这将永久删除 {name}：目前的训练成果、日志以及 {images} 张图片的副本。",
    ),
    "finetune_lost_menu": (
        "The model disappears from your menu. Download it first if you want to keep it.",
        "模型将从您的菜单中消失；如需保留请先下载。",
    ),
    "finetune_lost_shared": (
        "The model is shared and disappears from everybody's menu. Download it first if you want to keep it.",
        "该模型已共享，将从所有人的菜单中消失；如需保留请先下载。",
    ),
    "finetune_lost_not": (
        "The dataset on the Correct tab and everything that was pushed to the Hub stay as they are.",
        "“修正”页中的数据集和已推送到 Hub 的内容不受影响。",
    ),
    "finetune_download": ("Download the model", "下载模型"),
    "finetune_share": ("Share it with everybody on this server", "与此服务器上的所有人共享"),
    "finetune_share_info": (
        "You see this because the server is yours. Without it, only you have the model on your menu.",
        "仅服务器所有者可见此选项。不勾选时，只有您自己的菜单中有此模型。",
    ),
    "finetune_shared": ("Everybody on this server now has it on their menu.", "此服务器上的所有人现在都能在菜单中看到它。"),
    "finetune_unshared": ("Now only you have it on your menu.", "现在只有您自己的菜单中有它。"),
    "finetune_job": ("Job", "任务"),
    "finetune_job_info": (
        "Only you can see the job, its pictures and its model: its key is stored in this browser.",
        "任务及其图片和模型仅您可见：密钥保存在此浏览器中。",
    ),
    "finetune_samples": (
        "The held-out images with the worst results: image, correct mask, prediction",
        "结果最差的留出图片：原图、正确掩膜、预测",
    ),
    "finetune_idle_title": ("No job yet", "还没有任务"),
    "finetune_idle": (
        "Save a few corrected images on the Correct tab, choose that dataset here, and press Fine-tune. Progress, curves and "
        "whether the model got better appear here.",
        "先在“修正”页保存几张图片，再在此选择该数据集并开始微调。进度、曲线以及是否变好将显示在此处。",
    ),
    "finetune_plan": (
        "{train} images to train on, {val} held out; classes: {classes}; {steps} steps.",
        "训练图片 {train} 张，留出 {val} 张；类别：{classes}；{steps} 步。",
    ),
    "finetune_replays_share": ("{share:.0%} of the training images are built-in ones.", "训练中 {share:.0%} 为内置图片。"),
    "finetune_ok": ("No problems found.", "未发现问题。"),
    "finetune_faults": ("Solve these problems first ({count}):", "{count} 个问题使其无法开始："),
    "finetune_notes": ("Worth knowing:", "提示："),
    "finetune_and_more": ("and {count} more", "另有 {count} 个"),
    "state_draft": ("Checked, not started", "已检查，未开始"),
    "state_running": ("Running", "运行中"),
    "state_done": ("Done", "完成"),
    "state_stopped": ("Stopped; it can be resumed", "已停止；可以继续"),
    "state_diverged": (
        "Stopped: training became unstable (the loss is no longer a number). Try a smaller learning rate",
        "已停止：训练发散（损失不再是有效数值）。请降低学习率",
    ),
    "state_refused": ("It could not start", "无法开始"),
    "state_failed": (
        "It ended early, perhaps because memory or disk space ran out; it can be resumed from its last save",
        "提前结束（可能内存或磁盘不足）；可从上次保存处继续",
    ),
    "state_interrupted": (
        "It was interrupted, perhaps by a restart; it can be resumed from its last save",
        "被中断（可能因重启）；可从上次保存处继续",
    ),
    "stage_start": ("starting", "启动中"),
    "stage_prepare": ("reading the data", "读取数据"),
    "stage_fit": ("step {step} of {total}", "第 {step} 步，共 {total} 步"),
    "stage_evaluate": ("measuring on the held-out images", "在留出图片上评测"),
    "stage_publish": ("pushing", "推送中"),
    "finetune_timing": ("timing the first steps", "正在测量最初几步的用时"),
    "finetune_left_little": ("less than a minute left", "剩余不到 1 分钟"),
    "finetune_left": ("about {minutes} min left", "约剩 {minutes} 分钟"),
    "finetune_loss": ("loss", "损失"),
    "finetune_with_background": (", the background counted", "（计入背景）"),
    "finetune_best": (" (best {value})", "（最佳 {value}）"),
    "finetune_log": ("Log", "日志"),
    "verdict_better": ("The new model is better.", "新模型更好。"),
    "verdict_better_few": (
        "The new model is better on each of the {count} held-out images. So few images prove little: correct more images to be "
        "sure.",
        "新模型在全部 {count} 张留出图片上都更好。但图片太少，说明不了太多：请修正更多图片再确认。",
    ),
    "verdict_same": (
        "Nothing changed: training found no weights better than those it started from.",
        "没有变化：训练未找到比起始模型更好的权重。",
    ),
    "verdict_unclear": (
        "The new model looks better, but the difference is too small to be sure with these held-out images.",
        "新模型看似更好，但差异太小，凭这些留出图片无法确定。",
    ),
    "verdict_margin": (
        "As good as before: differences below {margin} can be chance. More images or more steps may help.",
        "与之前相当：小于 {margin} 的差异可能只是偶然。增加图片或步数可能有帮助。",
    ),
    "verdict_logged": (
        "The new model is better on the held-out images taken together. Single images were not compared.",
        "新模型在全部留出图片上总体更好。没有逐张比较。",
    ),
    "verdict_worse": (
        "The new model is not better than its base. Keep the base; more images or another learning rate may help.",
        "新模型没有比起始模型更好。请继续使用起始模型；增加图片或改变学习率可能有帮助。",
    ),
    "verdict_unknown": ("It cannot be compared with its base:", "无法与起始模型比较："),
    "verdict_metric": ("{metric} on the held-out images", "留出图片上的 {metric}"),
    "verdict_base": ("Base", "起始模型"),
    "verdict_new": ("New", "新模型"),
    "verdict_without": (", the background not counted", "（不计背景）"),
    "verdict_per_class": ("{metric} of each class", "各类别的 {metric}"),
    "verdict_class": ("Class", "类别"),
    "verdict_gain": ("Difference", "差异"),
    "verdict_all": ("all held-out images together, before training and now", "全部留出图片合计：训练前与现在"),
    "verdict_difference": ("Difference per image", "逐图差异"),
    "verdict_spread": ("95 % interval over {count} held-out images", "{count} 张留出图片的 95% 区间"),
    "verdict_range": ("smallest and largest difference among {count} held-out images", "{count} 张留出图片中的最小与最大差异"),
    "verdict_one": ("only one held-out image, so the spread is unknown", "仅一张留出图片，无法估计波动"),
    "push": ("Push to the Hub", "推送到 Hub"),
    "push_repo": ("Repository", "仓库"),
    "push_repo_info": ("Your Hub name, a slash, and a name: ann/my-cells", "您的 Hub 用户名、斜杠和名称：ann/my-cells"),
    "push_token": ("Token (for this push only)", "令牌（仅用于本次推送）"),
    "push_token_info": (
        "With write permission, from huggingface.co/settings/tokens. It is neither stored nor logged.",
        "须有写权限，在 huggingface.co/settings/tokens 创建。不会保存，也不写入日志。",
    ),
    "push_token_local": (
        "Empty: the login of this machine, if you are using it directly",
        "留空：使用本机的登录（仅限在本机上浏览时）",
    ),
    "push_private": ("Private", "私有"),
    "push_run": ("Push", "推送"),
    "push_doing": ("Pushing …", "正在推送 …"),
    "push_done": ("Pushed. It is on the menu as {id}", "已推送。菜单中名为 {id}"),
    "used": ("It is on the menu as {id}", "已在菜单中：{id}"),
    "compare": ("Compare", "对比"),
    "compare_lead": (
        "Two to four models on one image: where they agree, how much, and how much time and memory each one needs.",
        "在同一张图片上对比两到四个模型：何处一致、程度如何、各需多少时间与内存。",
    ),
    "compare_models": ("Models (two to four)", "模型（两到四个）"),
    "compare_models_info": ("Classes are matched by their names.", "按名称匹配类别。"),
    "compare_truth": ("Correct mask to compare with (ground truth, optional)", "用于比较的正确掩膜（真值，可选）"),
    "compare_truth_info": (
        "A mask at the size of the image, with the class numbers of the first model.",
        "与图片同尺寸的掩膜，使用第一个模型的类别编号。",
    ),
    "compare_run": ("Compare", "开始对比"),
    "compare_csv": ("Table CSV", "表格 CSV"),
    "compare_png": ("Agreement map PNG", "一致性图 PNG"),
    "compare_pair": ("Pair", "组合"),
    "compare_classes": ("IoU (overlap) of shared classes", "共有类别的 IoU（重叠程度）"),
    "compare_iou": ("mean IoU", "平均 IoU"),
    "compare_same": ("same pixels", "相同像素"),
    "compare_with_truth": ("ground truth", "真值"),
    "compare_all": ("All models agree on {share:.1%} of the pixels.", "所有模型在 {share:.1%} 的像素上一致。"),
}


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
    **LOOP_WORDS,
    **CORRECT_WORDS,
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

"""Words of the tab Correct, in English and Chinese; :mod:`seg_demo.ui.i18n` merges them."""

from __future__ import annotations

# key: (English, Chinese)
WORDS: dict[str, tuple[str, str]] = {
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

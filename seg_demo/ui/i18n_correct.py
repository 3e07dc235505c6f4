"""Words of the tab Correct, in English and Chinese; :mod:`seg_demo.ui.i18n` merges them."""

from __future__ import annotations

# key: (English, Chinese)
WORDS: dict[str, tuple[str, str]] = {
    "correct": ("Correct", "修正"),
    "correct_lead": (
        "Fix masks by hand and collect them as a dataset, to fine-tune a model with. It starts from a model's prediction.",
        "手工修正掩膜并收集成数据集，用于微调模型。可从模型的预测开始。",
    ),
    "correct_dataset": ("Dataset", "数据集"),
    "correct_dataset_info": ("Yours alone: the key to it lies in this browser.", "只属于您：钥匙保存在此浏览器中。"),
    "correct_new": ("+ new dataset", "+ 新建数据集"),
    "correct_name": ("Name of the dataset", "数据集名称"),
    "correct_task": ("Kind of masks", "掩膜类型"),
    "correct_semantic": ("a class per pixel", "每个像素一个类别"),
    "correct_instance": ("separate objects", "逐个对象"),
    "correct_classes": ("Classes", "类别"),
    "correct_classes_info": (
        "With commas, or one per line; the background comes by itself. Empty: those of the model.",
        "用逗号分隔或每行一个；背景自动加入。留空：使用模型的类别。",
    ),
    "correct_start": ("Start from", "起点"),
    "correct_from_model": ("a prediction", "模型预测"),
    "correct_from_mask": ("a mask file", "掩膜文件"),
    "correct_from_blank": ("nothing", "空白"),
    "correct_pairs": ("What the model's classes become here", "模型的类别在此对应"),
    "correct_pairs_info": (
        "Equal names go together by themselves. What has no pair is left out.",
        "同名类别自动对应；未对应的将略去。",
    ),
    "correct_mask": ("Mask (PNG at the size of the image)", "掩膜（与图片同尺寸的 PNG）"),
    "correct_open": ("Open in the editor", "在编辑器中打开"),
    "correct_zip": ("Dataset (.zip)", "数据集 (.zip)"),
    "correct_delete": ("Delete this dataset", "删除此数据集"),
    "correct_delete_sure": ("Really delete it with all its samples", "确认删除它及其全部样本"),
    "correct_hub": ("Push to the Hugging Face Hub", "推送到 Hugging Face Hub"),
    "correct_repo": ("Dataset repository", "数据集仓库"),
    "correct_repo_info": ("your-name/dataset-name; it is made if it is not there.", "用户名/数据集名；不存在则新建。"),
    "correct_token": ("Access token with the right to write", "具有写权限的访问令牌"),
    "correct_token_info": ("Used for this push alone, never stored.", "仅用于本次推送，绝不保存。"),
    "correct_private": ("private", "私有"),
    "correct_push": ("Push", "推送"),
    "correct_pushed": ("Pushed", "已推送"),
    "correct_off": (
        "This server stores no datasets: draw, then download the mask. On your own machine, masks are collected as a dataset.",
        "此服务器不保存数据集：绘制后请下载掩膜。在您自己的机器上可收集成数据集。",
    ),
    "correct_this": ("Correct this mask", "修正此掩膜"),
    "correct_missing": (
        "The dataset has no class {names}; what the model found of them is left out. If they have another name there, choose the pair "
        "below the model and open the image again.",
        "数据集中没有类别 {names}；模型找到的这些部分已略去。若它们在数据集中另有名称，请在模型下方选择对应关系后重新打开。",
    ),
}

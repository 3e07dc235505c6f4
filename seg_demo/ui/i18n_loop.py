"""Words of the tabs Batch, Compare and Fine-tune, in English and Chinese; :mod:`seg_demo.ui.i18n` merges them."""

from __future__ import annotations

# key: (English, Chinese)
WORDS: dict[str, tuple[str, str]] = {
    "batch": ("Batch", "批量"),
    "batch_lead": (
        "Many images at once: one zip with masks, COCO, GeoJSON and tables of counts and areas. A bad file does not stop the rest.",
        "一次处理多张图片：得到一个压缩包，含掩膜、COCO、GeoJSON 以及计数与面积表。坏文件不影响其余。",
    ),
    "batch_files": ("Images, or a zip of them", "图片，或图片压缩包（zip）"),
    "batch_model_info": ("The same models as on the other tabs.", "与其他标签页相同的模型。"),
    "batch_pixel": ("Pixel size (optional)", "像素尺寸（可选）"),
    "batch_pixel_info": ("Side of a pixel: turns areas into units.", "像素边长：将面积换算为实际单位。"),
    "batch_unit": ("Unit", "单位"),
    "unit_um": ("µm", "微米"),
    "unit_m": ("m", "米"),
    "batch_run": ("Segment all", "全部分割"),
    "batch_stop": ("Stop", "停止"),
    "batch_download": ("Download the results (.zip)", "下载结果 (.zip)"),
    "batch_sheet": ("Contact sheet", "总览图"),
    "batch_idle": (
        "Choose images, or a zip of them; the contact sheet and the tables appear here.",
        "选择图片或压缩包；总览图与表格将显示在此处。",
    ),
    "batch_reading": ("Reading the files …", "正在读取文件 …"),
    "batch_progress": ("{done} of {total} images, {failed} failed: {name}", "第 {done} 张，共 {total} 张，失败 {failed} 张：{name}"),
    "batch_done": ("{done} of {total} images segmented.", "已分割 {done} / {total} 张图片。"),
    "batch_stopped": ("Stopped: {done} of {total} images segmented.", "已停止：已分割 {done} / {total} 张图片。"),
    "batch_failed": ("Left out ({count}):", "未处理（{count}）："),
    "batch_more_rows": ("and {count} more rows in counts.csv", "其余 {count} 行见 counts.csv"),
    "batch_count": ("count", "数量"),
    "batch_area": ("area", "面积"),
    "batch_share": ("share", "占比"),
    "batch_mean": ("mean area", "平均面积"),
    "batch_pixels": ("pixels", "像素"),
}

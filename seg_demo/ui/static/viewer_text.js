// Words of the viewer in the browser's language, and numbers as that language writes them. Where fingers point, what is under the same name
// with "Touch" is said instead: they have no keys, and do not hover.

const WORDS = {
  en: {
    doubt: "Doubt", sure: "sure", unsure: "in doubt", meanMargin: "Mean margin", margin: "margin", marginIs: "How much more probable the class is than the next most probable one; 1 means certain.",
    why: "Why?", whyTitle: "What an answer rests on: click on something that was found", less: "matters little", most: "matters most",
    whyHow: "Click on something that was found to see which parts of the picture that rests on.", whyHowTouch: "Tap something that was found to see which parts of the picture that rests on.", whyMissed: "Nothing was found there.", whyBusy: "Parts of the picture are hidden one after another…",
    whyMost: "What “{label}” rests on here: without the brightest part {most} of the answer would be lost.",
    whyNone: "What “{label}” rests on here: no single part; without any of them it would still be found.",
    whyBeyond: "Without all that lies beyond the frame: {beyond}.", helpWhy: " Why? (W) shows what an answer rests on.", helpWhyTouch: " The bulb (Why?) shows what an answer rests on.",
    opacity: "Opacity", outlines: "Outlines", compare: "Before / after", original: "Hold for original",
    zoomIn: "Zoom in", zoomOut: "Zoom out", fit: "Fit to view", full: "Full screen",
    stage: "Segmented image. Arrow keys pan, plus and minus zoom, 0 fits, N and P step through the segments, B shows the original, D the doubt; W asks what an answer rests on, Enter at the segment that is reached.",
    split: "Divider between original and segmentation", legend: "Classes and segments, largest first",
    emptyTitle: "Your segmentation appears here", emptyText: "Drop an image into the box, paste one, or pick an example.", emptyTextTouch: "Choose an image, take a photo, or pick an example.",
    table: "Per class", className: "Class", pixels: "Pixels", area: "Area", share: "Share", count: "Count", pieces: "Pieces", countIs: "How many there are", piecesIs: "Connected pieces of the class: pixels that touch along an edge are one. Things that touch count as one.", meanScore: "Mean score",
    hiding: "Hidden here only: downloads and tables hold everything.",
    help: "Point at a segment or tap it to see its name. Scroll or pinch to zoom, drag to move. Click a class to hide or show it.",
    helpTouch: "Tap a segment to see its name. Pinch to zoom, drag to move. Tap a class to hide or show it.",
    helpDoubt: " Doubt (D) shows where the model is unsure.", helpDoubtTouch: " The question mark (Doubt) shows where the model is unsure.",
    hideAll: "Hide all", showAll: "Show all", hidden: "hidden", shown: "shown", score: "score", background: "background",
    classes: ["class", "classes"], objects: ["object", "objects"], regions: ["region", "regions"], things: ["thing", "things"], stuffs: ["kind of stuff", "kinds of stuff"],
    thingsHead: "Things, one by one", stuffHead: "Stuff, one segment per class", eachSegment: "Each thing", nothingSegment: "Nothing found: the model is sure of no segment here. Try lower thresholds under Advanced.",
    nothingSemantic: "Nothing found: this model sees only background here.",
    nothingInstance: "Nothing found: no object reaches this score. Try a lower threshold. If things are small in a large image, try Full detail.",
    nothingRegion: "Nothing found: the image has no region that stands out.",
    oneRegion: "The whole image is one region. Try other values or another method.", region: "region",
    more: "more; point at them in the image", moreTouch: "more; tap them in the image", eachInstance: "Each object", eachRegion: "Each region", failed: "The picture could not be shown. Please run it again.",
    noPicture: "No picture yet", noPictureText: "Drop an image into the box, paste one, or pick an example. It is then segmented.", noPictureTextTouch: "Choose an image, take a photo, or pick an example. It is then segmented.",
    cancelled: "Cancelled", cancelledText: "There is no result. Click Segment to run it again.",
    failedTitle: "That did not work", failedUnknown: "The reason is not known. Please run it again.",
    shrunk: "The image was shrunk from {from} to {to} for the network, so small things may be missed. Full detail works at the original size.",
    limit: "The limit of {n} objects per image was reached, and there may be more. Full detail goes over the image tile by tile and finds more.",
    limitTile: "The limit of {n} objects per tile was reached, and there may be more.",
  },
  zh: {
    doubt: "存疑", sure: "确信", unsure: "存疑", meanMargin: "平均置信差", margin: "置信差", marginIs: "该类别的概率比第二可能的类别高多少；1 表示确定。",
    why: "依据？", whyTitle: "判断的依据：点击已找到的对象", less: "影响小", most: "影响大",
    whyHow: "点击已找到的对象，查看该判断依据图片的哪些部分。", whyHowTouch: "点按已找到的对象，查看该判断依据图片的哪些部分。", whyMissed: "此处未找到任何对象。", whyBusy: "正在逐一遮挡图片的各部分……",
    whyMost: "此处“{label}”的依据：若没有最亮的部分，判断将损失 {most}。",
    whyNone: "此处“{label}”的依据：没有哪一部分是必需的，遮住任何一处仍会找到它。",
    whyBeyond: "若没有方框以外的全部内容：{beyond}。", helpWhy: "“依据？”（W 键）显示判断的依据。", helpWhyTouch: "灯泡图标（依据？）显示判断的依据。",
    opacity: "不透明度", outlines: "轮廓", compare: "前后对比", original: "按住看原图",
    zoomIn: "放大", zoomOut: "缩小", fit: "适合窗口", full: "全屏",
    stage: "分割结果。方向键平移，加减号缩放，0 适合窗口，N 和 P 逐个查看分割块，B 显示原图，D 显示存疑处；W 查看判断的依据，Enter 用于当前分割块。",
    split: "原图与分割结果的分界线", legend: "类别与分割块，按面积排序",
    emptyTitle: "分割结果显示在这里", emptyText: "将图片拖入框中、粘贴，或选择一个示例。", emptyTextTouch: "选择一张图片、拍照，或选择一个示例。",
    table: "按类别统计", className: "类别", pixels: "像素", area: "面积", share: "占比", count: "数量", pieces: "连通块", countIs: "共有多少个", piecesIs: "该类别的连通块：以边相接的像素算一块，相互接触的目标算作一块。", meanScore: "平均得分",
    hiding: "仅在此处隐藏：下载文件和表格仍包含全部内容。",
    help: "悬停或点按可查看名称；滚轮或双指缩放，拖动平移；点击类别可隐藏或显示。", helpTouch: "点按可查看名称；双指缩放，拖动平移；点按类别可隐藏或显示。",
    helpDoubt: "“存疑”（D 键）标出模型没有把握之处。", helpDoubtTouch: "问号图标（存疑）标出模型没有把握之处。",
    hideAll: "全部隐藏", showAll: "全部显示", hidden: "已隐藏", shown: "已显示", score: "得分", background: "背景",
    classes: ["个类别", "个类别"], objects: ["个对象", "个对象"], regions: ["个区域", "个区域"], things: ["个物体", "个物体"], stuffs: ["类材质", "类材质"],
    thingsHead: "物体（逐个列出）", stuffHead: "材质（每类一段）", eachSegment: "各个物体", nothingSegment: "未发现目标：模型对任何分割段都没有把握。可在“高级”中降低阈值。",
    nothingSemantic: "未发现目标：模型认为这里只有背景。",
    nothingInstance: "未发现目标：没有对象达到该得分。可尝试降低阈值；若大图中目标很小，可选“完整细节”。",
    nothingRegion: "未发现目标：图中没有明显的区域。",
    oneRegion: "整张图是一个区域。可调整参数或换一种方法再试。", region: "区域",
    more: "个未列出，可在图上悬停查看", moreTouch: "个未列出，可在图上点按查看", eachInstance: "各个对象", eachRegion: "各个区域", failed: "图像无法显示，请重新运行。",
    noPicture: "还没有图片", noPictureText: "请将图片拖入框中、粘贴，或选择一个示例，随后即会分割。", noPictureTextTouch: "请选择一张图片、拍照，或选择一个示例，随后即会分割。",
    cancelled: "已取消", cancelledText: "没有结果。点击“分割”可重新运行。",
    failedTitle: "未能完成", failedUnknown: "原因不明，请重新运行。",
    shrunk: "图片已从 {from} 缩小到 {to} 供网络处理，细小目标可能漏掉。“完整细节”按原尺寸处理。",
    limit: "已达到每张图片 {n} 个对象的上限，可能还有更多。“完整细节”逐块处理，可找到更多。",
    limitTile: "已达到每个图块 {n} 个对象的上限，可能还有更多。",
  },
};

const LANGUAGE = (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
const TOUCH = matchMedia("(pointer: coarse)").matches;
const say = (key) => (TOUCH && WORDS[LANGUAGE][key + "Touch"]) || WORDS[LANGUAGE][key];
const counted = (key, n) => number(n) + " " + say(key)[n === 1 ? 0 : 1];
const number = (n) => n.toLocaleString(LANGUAGE);

// Shares below a tenth of a percent would all read 0.0 %.
const percent = (share) => (share * 100).toFixed(share > 0 && share < 0.001 ? 3 : 1) + "\u00a0%";

// A length or an area with four digits that count.
const measure = (value) => (value >= 1000 ? number(Math.round(value)) : Number(value.toPrecision(4)).toLocaleString(LANGUAGE, { maximumSignificantDigits: 4 }));
const symbol = (unit) => (unit || "").replace("u", "µ");

function translate(root) {
  for (const node of root.querySelectorAll("[data-text]")) node.textContent = say(node.dataset.text);
  for (const node of root.querySelectorAll("[data-title]")) node.title = say(node.dataset.title);
  for (const node of root.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", say(node.dataset.label));
    if (node.tagName === "BUTTON") node.title = say(node.dataset.label);
  }
}

// A file that the browser itself cannot show, TIFF above all, would leave a broken picture in the image box.
{
  const words = (navigator.language || "en").toLowerCase().startsWith("zh") ? "浏览器无法预览此文件" : "No preview of this kind of file";
  const note = (event) => {
    const frame = event.target.tagName === "IMG" && event.target.closest(".image-frame");
    if (!frame) return;
    if (event.type === "error") frame.dataset.unshown = words;
    else delete frame.dataset.unshown;
  };
  for (const type of ["error", "load"]) document.addEventListener(type, note, true);
}
// Pictures to click and links that scripts click have no words of their own.
{
  const said = (url) => decodeURIComponent(url.split(/[/\\]/).pop().split(/[?#]/)[0]).replace(/\.\w+$/, "").replace(/[-_]+/g, " ");
  const name = () => {
    for (const button of document.querySelectorAll(".gallery-item:not([aria-label])")) {
      const picture = button.querySelector("img");
      if (picture && picture.src) button.setAttribute("aria-label", said(picture.src));
    }
    for (const link of document.querySelectorAll(".download-link:not([aria-hidden])")) {
      link.setAttribute("aria-hidden", "true");
      link.tabIndex = -1;
    }
  };
  new MutationObserver(name).observe(document.documentElement, { childList: true, subtree: true });
}
// What gradio itself says in English only, whatever the browser's language.
if ((navigator.language || "").toLowerCase().startsWith("zh")) {
  const shown = { Error: "出错了", Warning: "注意", Info: "提示", processing: "处理中", queue: "排队" };
  const labels = {
    "Upload file": "上传文件", "File upload": "上传文件", "Click to upload or drop files": "点击或拖放文件上传", "Capture from camera": "用摄像头拍摄",
    "Paste from clipboard": "从剪贴板粘贴", "Reset to default value": "恢复默认值", "More tabs": "更多标签页", "Gradio footer navigation": "页脚导航",
    "Close": "关闭", "Remove this file": "移除此文件", "Clear": "清除", "Remove Image": "移除图片", "Fullscreen": "全屏", "number input for": "数值：", "range slider for": "滑块：",
  };
  const first = new RegExp(`^(\\s*)(${Object.keys(shown).join("|")})\\b`);
  const label = new RegExp(`^(${Object.keys(labels).join("|")})(?: (.*))?$`);
  const translate = () => {
    for (const node of document.querySelectorAll(".toast-title, .meta-text, .meta-text-center")) {
      for (const text of node.childNodes) {
        if (text.nodeType === Node.TEXT_NODE && first.test(text.data)) text.data = text.data.replace(first, (_, blank, word) => blank + shown[word]);
      }
    }
    for (const node of document.querySelectorAll("[aria-label]")) {
      const found = label.exec(node.getAttribute("aria-label"));
      if (found) node.setAttribute("aria-label", labels[found[1]] + (found[2] || ""));
    }
  };
  const changes = { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ["aria-label"] };
  new MutationObserver(translate).observe(document.documentElement, changes);
}
// Browsers that cannot show HEIC do not know what it is either, and gradio's boxes refuse what has no type.
{
  const known = Object.getOwnPropertyDescriptor(Blob.prototype, "type").get;
  Object.defineProperty(File.prototype, "type", {
    configurable: true,
    get() {
      return known.call(this) || (/\.(hei[cf]|hif)$/i.test(this.name) ? "image/heic" : "");
    },
  });
}

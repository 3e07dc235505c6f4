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
// Gradio's boxes refuse a file by its kind before the server sees it, in English, and name the kinds as a browser writes them.
{
  const zh = (navigator.language || "").toLowerCase().startsWith("zh");
  const images = zh ? "图片" : "images";
  const named = (kind) => (/^image(\/\*)?$/.test(kind) ? images : kind);
  const translate = () => {
    for (const node of document.querySelectorAll(".toast-message-text")) {
      const found = /^\s*Invalid file types?: (.*)\. Only (.*) allowed\.\s*$/s.exec(node.textContent);
      if (!found) continue;
      const kinds = found[2].split(", ").map(named).join(zh ? "、" : ", ");
      const files = zh ? found[1].replace(/ and (\d+) more$/, " 等，另有 $1 个") : found[1];
      node.textContent = zh ? `此处只接受${kinds}，未使用：${files}。请更换文件。` : `Not taken: ${files}. Choose ${kinds} here.`;
    }
  };
  new MutationObserver(translate).observe(document.documentElement, { childList: true, subtree: true });
}
// Browsers that cannot show HEIC do not know what it is either, nor what scanners and microscopes write, and gradio's boxes refuse what has
// no type of an image, or do not offer it to be chosen.
{
  const scientific = /\.(dcm|dicom|nii|nii\.gz|npy|btf|lsm|svs)$/i;
  const known = Object.getOwnPropertyDescriptor(Blob.prototype, "type").get;
  Object.defineProperty(File.prototype, "type", {
    configurable: true,
    get() {
      if (scientific.test(this.name)) return "image/x-scientific";
      return known.call(this) || (/\.(hei[cf]|hif)$/i.test(this.name) ? "image/heic" : "");
    },
  });
  const offer = () => {
    for (const input of document.querySelectorAll('input[type="file"][accept="image/*"]')) input.accept = "image/*,.dcm,.dicom,.nii,.gz,.npy,.btf,.lsm,.svs";
  };
  new MutationObserver(offer).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["accept"] });
}
// How far a run is, at the foot of the window: gradio says so over the viewer alone, which may be off the screen.
{
  const zh = (navigator.language || "").toLowerCase().startsWith("zh");
  const WORDS = zh ? { working: "处理中", line: "排队中", seconds: "秒" } : { working: "Working", line: "Waiting in line", seconds: "s" };
  const PATIENCE_MS = 700; // what is over sooner needs no strip
  const began = new WeakMap();
  const percentOf = (bar) => (bar ? Number(bar.getAttribute("aria-valuenow")) : null);
  // What runs in a column: words, a part in percent (null if it is not known), and whether it can be stopped: not what shows little of its progress
  // in the place of its answer, as a picture that opens; or null.
  const stateOf = (column, run) => {
    for (const tracker of column.querySelectorAll("[data-testid=status-tracker]")) {
      if (tracker.classList.contains("hide") || tracker.querySelector(".error") || !tracker.querySelector(".progress-text")) continue;
      const bar = tracker.querySelector("[role=progressbar]");
      const said = bar && bar.getAttribute("aria-label");
      const line = /(?:queue|排队)\D*(\d+\s*\/\s*\d+)?/.exec(tracker.querySelector(".progress-text").textContent);
      const words = said || (line ? [WORDS.line, line[1]].filter(Boolean).join(" ") : WORDS.working);
      return { words, part: percentOf(bar), stops: !tracker.classList.contains("minimal") };
    }
    if (!run || !run.disabled) return null;
    const bar = column.querySelector("progress.bar:not(.run-dock *)");
    return { words: bar?.previousElementSibling?.textContent || WORDS.working, part: bar?.hasAttribute("value") ? (100 * bar.value) / bar.max : null, stops: true };
  };
  const show = () => {
    for (const dock of document.querySelectorAll(".run-dock")) {
      const column = dock.parentElement.closest(".column");
      const state = column && column.offsetParent ? stateOf(column, document.getElementById(dock.id.replace("dock", "run"))) : null;
      if (!state) began.delete(dock);
      else if (!began.has(dock)) began.set(dock, performance.now());
      const passed = state ? performance.now() - began.get(dock) : 0;
      const on = Boolean(state) && passed > PATIENCE_MS;
      if (dock.classList.contains("on") !== on) dock.classList.toggle("on", on);
      if (!on) continue;
      dock.classList.toggle("endless", !state.stops);
      const [text, bar] = [dock.querySelector("p"), dock.querySelector("progress")];
      text.textContent = `${state.words} · ${Math.round(passed / 1000)} ${WORDS.seconds}`;
      if (state.part === null) bar.removeAttribute("value");
      else bar.value = state.part;
    }
  };
  setInterval(show, 250);
}
// Why the latest run failed, as HTML for where that is looked for: gradio leaves "Error" there, and its toast with the reason goes by itself.
window.segDemoReason = async () => {
  const node = document.createElement("p");
  node.className = "note fault";
  for (let tries = 0; !node.textContent && tries < 50; tries++) {
    const said = [...document.querySelectorAll(".toast-body.error .toast-message-item")].pop();
    if (said) node.textContent = said.textContent.trim();
    else await new Promise((done) => setTimeout(done, 20));
  }
  return node.textContent ? node.outerHTML : "";
};

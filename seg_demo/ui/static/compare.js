// Two to four results of one image: panes that zoom and pan together, a swipe between two, and where they agree.
// viewer_view.js and viewer_ids.js come before it in the same scope.

const TEXT = {
  en: {
    tools: "View", modes: "How the results are shown", side: "Side by side", swipe: "Swipe", agree: "Agreement", opacity: "Opacity", left: "Left model", right: "Right model",
    zoomIn: "Zoom in", zoomOut: "Zoom out", fit: "Fit to view", split: "Divider between two models",
    emptyTitle: "The comparison appears here", emptyText: "Choose two to four models and an image, then press Compare.",
    stage: "Image with the result of ", help: ". Arrow keys pan, plus and minus zoom, 0 fits; all views move together.",
    match: "Segments", truth: "ground truth", codes: ["in both", "only in the first", "only in the second", "differ"], of3: "{0} in both, {1} only in the first, {2} only in the second",
    all: "all agree", of: " of ", agreeing: " agree", failed: "The pictures could not be shown. Please run it again.",
  },
  zh: {
    tools: "视图", modes: "结果的显示方式", side: "并排", swipe: "滑动对比", agree: "一致性", opacity: "不透明度", left: "左侧模型", right: "右侧模型",
    zoomIn: "放大", zoomOut: "缩小", fit: "适合窗口", split: "两个模型的分界线",
    emptyTitle: "对比结果显示在这里", emptyText: "选择两到四个模型和一张图片，然后点击“开始对比”。",
    stage: "图片与结果：", help: "。方向键平移，加减号缩放，0 适合窗口；所有视图同步移动。",
    match: "分割段", truth: "真值", codes: ["两者都有", "仅前者有", "仅后者有", "不一致"], of3: "两者都有 {0}，仅前者 {1}，仅后者 {2}",
    all: "全部一致", of: " / ", agreeing: " 一致", failed: "图像无法显示，请重新运行。",
  },
};
const told = (key) => TEXT[(navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en"][key];
const PIXELS = 1500000; // of one canvas
const root = element.querySelector(".cv");
const find = (name) => root.querySelector(".cv-" + name);
const panes = find("panes");

let shown = null; // what the server sent, with the id maps and the picture
let mode = "side";
let view = null; // shared by all panes: they have the same size
let stages = []; // { stage, base, layers: [{ canvas, map, words }] }
let queued = false;
let swipe = 50;

function redraw() {
  if (queued || !shown) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    for (const each of stages) draw(each);
    find("fit").textContent = Math.round((view.scale / view.fitScale) * 100) + " %";
  });
}

function draw({ stage, base, layers }) {
  const { clientWidth: w, clientHeight: h } = stage;
  if (!w || !h) return;
  stage.classList.toggle("sv-zoomed", !view.fitted);
  const density = Math.min(window.devicePixelRatio || 1, Math.sqrt(PIXELS / (w * h)));
  const width = Math.max(1, Math.round(w * density));
  const height = Math.max(1, Math.round(h * density));
  if (base.width !== width || base.height !== height) [base.width, base.height] = [width, height];
  const context = base.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = view.scale < 4;
  const size = view.scale * density;
  context.drawImage(shown.base, view.x * density, view.y * density, shown.width * size, shown.height * size);
  for (const { canvas, map, words } of layers) {
    const seen = sampleIds(map, view, width, height, density);
    const fill = fillPixels(seen, words);
    const lines = outlinePixels(seen, width, height, words);
    const alpha = Math.round((find("opacity").value / 100) * 255);
    // One canvas per result: outlines opaque, areas as the slider says.
    for (let i = 0; i < fill.length; i++) fill[i] = lines[i] || (fill[i] ? ((fill[i] & 0xffffff) | (alpha << 24)) >>> 0 : 0);
    putPixels(canvas, width, height, fill);
  }
}

function words(colors) {
  const table = new Uint32Array(65536);
  for (const [id, color] of colors) table[id] = rgba(color, 255);
  return table;
}

function make(tag, name, parent) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  parent.append(node);
  return node;
}

function pane(title, facts, results) {
  const figure = make("figure", "cv-pane", panes);
  const caption = make("figcaption", "", figure);
  make("b", "", caption).textContent = title;
  make("span", "", caption).textContent = facts;
  const stage = make("div", "cv-stage", figure);
  stage.tabIndex = 0;
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", told("stage") + title + told("help"));
  stage.style.setProperty("--ratio", String(shown.width / shown.height));
  const base = make("canvas", "", stage);
  const layers = results.map((each) => ({ canvas: make("canvas", "", stage), map: each.map, words: words(each.colors) }));
  stages.push({ stage, base, layers });
  return { stage, layers };
}

function layout() {
  const state = view && !view.fitted ? { scale: view.scale, x: view.x, y: view.y } : null;
  panes.replaceChildren();
  stages = [];
  for (const button of root.querySelectorAll(".cv-mode")) {
    const on = button.dataset.mode === mode;
    button.setAttribute("aria-checked", String(on));
    button.tabIndex = on ? 0 : -1;
  }
  find("pair").hidden = mode !== "swipe";
  if (mode === "side") for (const each of shown.models) pane(each.title, each.facts, [each]);
  if (mode === "agree") pane(told("agree"), "", [{ map: shown.agreeing, colors: shown.agreement.colors }]);
  if (mode === "match") {
    for (const [index, each] of shown.matched.entries()) {
      const facts = told("of3").replace(/\{(\d)\}/g, (_, place) => each.counts[place]);
      pane((each.first || told("truth")) + " ↔ " + each.second, facts, [{ map: shown.matchedMaps[index], colors: shown.matchedColors }]);
    }
  }
  if (mode === "swipe") swipePane();
  const first = stages[0].stage;
  view = new View(first, redraw);
  for (const { stage } of stages) {
    connectPointers(stage, view, () => {}, () => {});
    connectKeys(stage, view, { step() {}, original() {}, clear() {} });
  }
  view.setImage(shown.width, shown.height);
  if (state && mode !== "side") [view.scale, view.fitted] = [Math.max(view.fitScale, state.scale), false];
  if (state && mode !== "side") view.panBy(state.x - view.x, state.y - view.y);
  observer.disconnect();
  observer.observe(first);
  legend();
  redraw();
}

function swipePane() {
  const [left, right] = [shown.models[find("left").value], shown.models[find("right").value]];
  const { stage, layers } = pane(left.title + " | " + right.title, "", [left, right]);
  const split = make("div", "cv-split sv-split", stage);
  split.tabIndex = 0;
  for (const [name, value] of [["role", "slider"], ["aria-label", told("split")], ["aria-valuemin", "0"], ["aria-valuemax", "100"]]) split.setAttribute(name, value);
  const at = (value) => {
    swipe = Math.max(0, Math.min(100, value));
    split.style.left = swipe + "%";
    split.setAttribute("aria-valuenow", String(Math.round(swipe)));
    layers[0].canvas.style.clipPath = "inset(0 " + (100 - swipe) + "% 0 0)";
    layers[1].canvas.style.clipPath = "inset(0 0 0 " + swipe + "%)";
  };
  split.addEventListener("pointerdown", (event) => split.setPointerCapture(event.pointerId));
  split.addEventListener("pointermove", (event) => {
    if (!split.hasPointerCapture(event.pointerId)) return;
    const box = stage.getBoundingClientRect();
    at(((event.clientX - box.left) / box.width) * 100);
  });
  split.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -5, ArrowRight: 5, Home: -100, End: 100 }[event.key];
    if (!by) return;
    event.preventDefault();
    at(swipe + by);
  });
  at(swipe);
}

function legend() {
  const list = find("legend");
  list.replaceChildren();
  const count = shown.models.length;
  const rows = mode === "agree"
    ? [...shown.agreement.colors].map(([agreeing, color]) => [agreeing + told("of") + count + told("agreeing"), color])
    : mode === "match" ? shown.matchedColors.map(([code, color]) => [told("codes")[code - 1], color])
    : shown.classes.map((each) => [each.name, each.color]);
  for (const [name, color] of rows) {
    const row = make("li", "", list);
    make("i", "", row).style.background = "rgb(" + color.join(",") + ")";
    make("span", "", row).textContent = name;
  }
  list.hidden = !rows.length;
}

async function receive(value) {
  if (!value) {
    shown = null;
    root.dataset.state = "empty";
    panes.replaceChildren();
    for (const name of ["bar", "legend", "notes"]) find(name).hidden = true;
    return;
  }
  const picture = fetch(value.image.url).then((answer) => answer.blob()).then((blob) => createImageBitmap(blob));
  const matched = value.matched || [];
  const maps = await Promise.all([...value.models, value.agreement, ...matched].map((each) => loadIds(each.ids.url)));
  const base = await picture;
  if (props.value !== value && props.value && props.value.image.url !== value.image.url) return; // a newer one overtook it
  const matchedMaps = maps.splice(value.models.length + 1);
  const agreeing = maps.pop();
  shown = { ...value, matched, matchedMaps, base, agreeing, models: value.models.map((each, index) => ({ ...each, map: maps[index] })) };
  for (const [name, chosen] of [["left", 0], ["right", 1]]) {
    const select = find(name);
    select.replaceChildren(...shown.models.map((each, index) => new Option(each.title, String(index))));
    select.value = String(chosen);
  }
  root.dataset.state = "shown";
  find("bar").hidden = false;
  const segments = modes.find((button) => button.dataset.mode === "match");
  segments.hidden = !matched.length;
  if (mode === "match" && segments.hidden) mode = "side";
  // How the picture and the truth were read, and what the models say of the picture.
  find("notes").replaceChildren();
  for (const note of shown.notes || []) make("li", "", find("notes")).textContent = note;
  find("notes").hidden = !(shown.notes || []).length;
  view = null;
  layout();
  find("live").textContent = shown.models.map((each) => each.title + ", " + each.facts).concat(shown.notes || []).join("; ");
}

const observer = new ResizeObserver(() => shown && view && (view.fitted ? view.fit() : view.settle()));
for (const node of root.querySelectorAll("[data-word]")) node.textContent = told(node.dataset.word);
for (const node of root.querySelectorAll("[data-name]")) node.setAttribute("aria-label", told(node.dataset.name));
const modes = [...root.querySelectorAll(".cv-mode")];
for (const button of modes) {
  button.addEventListener("click", () => { mode = button.dataset.mode; layout(); });
  button.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const there = modes.filter((each) => !each.hidden);
    const next = there[(there.indexOf(button) + by + there.length) % there.length];
    next.focus();
    next.click();
  });
}
for (const name of ["left", "right"]) find(name).addEventListener("change", layout);
find("opacity").addEventListener("input", redraw);
find("in").addEventListener("click", () => view.zoomBy(1.5));
find("out").addEventListener("click", () => view.zoomBy(1 / 1.5));
find("fit").addEventListener("click", () => view.fit());

function update() {
  receive(props.value).catch((error) => {
    console.error(error);
    root.dataset.state = "empty";
    find("live").textContent = told("failed");
  });
}
watch("value", update);
update();

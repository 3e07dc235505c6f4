// What of a scientific file is looked at: sliders for pages, points in time and depth, channels, a window. The value that the server is sent
// is { of, view, ask }: the file, the view as the API takes it with what was chosen alone, and the number of the question.
// Names of channels come from strangers' files: they are only ever written as textContent.

Object.assign(WORDS.en, {
  strip: "What of the file is looked at", page: "Page", t: "Time", z: "Depth", channels: "Channels", window: "Window", from: "From", to: "To", gamma: "Gamma",
  gammaIs: "Below 1 dark parts become brighter, above 1 darker", histogram: "How the values are distributed; the handles are black and white",
  histogramIs: "Drag the handles to choose what is black and what is white", red: "Red", green: "Green", blue: "Blue", grey: "Grey", none: "–", channel: "Channel {n}",
  auto: "Auto (0.35 to 99.65 %)", fullRange: "Full range", dicom: "File’s own", own: "Two numbers", soft: "Soft tissue", lung: "Lung", bone: "Bone", brain: "Brain",
  perPixel: "{size} per pixel", bits: "{n} bits", channelCount: "{n} channels", every: "All pages", everyIs: "Every page, point in time and plane in depth gets a result of its own.",
  runView: "Segment this view", notYet: "This view has not been segmented yet.", otherView: "The result is of another view.", stripNoAnswer: "The picture could not be shown. Please try again.",
});
Object.assign(WORDS.zh, {
  strip: "查看文件的哪一部分", page: "页", t: "时间", z: "深度", channels: "通道", window: "窗位", from: "从", to: "到", gamma: "伽马",
  gammaIs: "小于 1 时暗部变亮，大于 1 时变暗", histogram: "数值的分布；两个手柄为黑与白", histogramIs: "拖动手柄，选择黑与白所对应的数值",
  red: "红", green: "绿", blue: "蓝", grey: "灰度", none: "–", channel: "通道 {n}",
  auto: "自动（0.35–99.65 %）", fullRange: "全部范围", dicom: "文件自带", own: "两个数值", soft: "软组织", lung: "肺", bone: "骨", brain: "脑",
  perPixel: "每像素 {size}", bits: "{n} 位", channelCount: "{n} 个通道", every: "所有页", everyIs: "每一页、每个时间点、每个深度平面各得一个结果。",
  runView: "分割此视图", notYet: "此视图尚未分割。", otherView: "显示的是另一视图的结果。", stripNoAnswer: "无法显示图片，请重试。",
});

const root = element.querySelector(".vs");
const find = (name) => root.querySelector(".vs-" + name);
const tab = element.closest("[id$=-view]").id.replace(/-view$/, "");
const AXES = ["page", "t", "z"];
const COLORS = ["red", "green", "blue"];
const DOTS = { red: "#d63c3c", green: "#2ea043", blue: "#4070e6", grey: "#8a8a8a" };
const SYMBOLS = { picometer: "pm", angstrom: "Å", nanometer: "nm", micrometer: "µm", millimeter: "mm", centimeter: "cm", meter: "m", kilometer: "km", inch: "in", foot: "ft", "US survey foot": "ft (US)", degree: "°" };
const PATIENCE_MS = 60000;
const SETTLE_MS = 120; // a handle that is being dragged

let told = null; // what the server said last of the file
let view = {}; // what was chosen, and nothing else
let asked = 0; // the last question's number
let patience = null;
let due = null;

const viewer = () => document.querySelector(`#${tab}-viewer .sv`);
const short = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6))));
const same = (left, right) => left && right && JSON.stringify(Object.entries(left).sort()) === JSON.stringify(Object.entries(right).sort());

// Handlers are given this from now on. An answer of the server takes its place for a moment: it is held anew with each.
function hold(of = told.of) {
  const chosen = { ...view, ...(props.pages && find("tick").checked ? { page: "all" } : {}) };
  return (props.value = { of, view: Object.keys(chosen).length ? chosen : null, ask: asked });
}

function choose(part, wait = 0) {
  Object.assign(view, part);
  for (const key of Object.keys(view)) if (view[key] === undefined) delete view[key];
  hold();
  clearTimeout(due);
  due = setTimeout(ask, wait);
}

function ask() {
  asked++;
  hold();
  root.setAttribute("aria-busy", "true");
  clearTimeout(patience);
  patience = setTimeout(() => fault(say("stripNoAnswer")), PATIENCE_MS);
  trigger("select");
}

function fault(text) {
  clearTimeout(patience);
  root.setAttribute("aria-busy", "false");
  root.dataset.fault = "yes";
  tell(text, false);
}

function tell(text, run) {
  find("said").firstChild.textContent = text;
  find("run").hidden = !run;
}

function field(text, control, ...before) {
  const label = document.createElement("label");
  label.className = "vs-field";
  const span = document.createElement("span");
  span.textContent = text;
  label.append(...before, span, control);
  return label;
}

function axes() {
  const wanted = AXES.filter((axis) => told.counts[axis] > 1);
  find("axes").hidden = !wanted.length;
  find("axes").replaceChildren(...wanted.map((axis) => {
    const count = told.counts[axis];
    const row = document.createElement("label");
    const [name, slider, number] = ["span", "input", "output"].map((tag) => document.createElement(tag));
    row.className = "vs-axis";
    name.textContent = say(axis);
    Object.assign(slider, { type: "range", min: 1, max: count, step: 1, value: told.view[axis] + 1 });
    slider.dataset.axis = axis;
    const write = () => (number.textContent = slider.value + " / " + count);
    write();
    slider.addEventListener("input", () => { write(); choose({ [axis]: Number(slider.value) - 1 }); });
    row.append(name, slider, number);
    return row;
  }));
}

function channels() {
  const count = told.channels.length;
  find("channels").hidden = count < 2;
  if (count < 2) return;
  const chosen = told.view.channels;
  const focused = document.activeElement?.dataset.channel;
  find("channels").replaceChildren(...COLORS.map((color, place) => {
    const select = document.createElement("select");
    // The first is always there; the third comes after the second.
    if (place > 0) select.append(new Option(say("none"), "", false, place >= chosen.length));
    told.channels.forEach((name, index) => select.append(new Option(name || say("channel").replace("{n}", index + 1), index, false, chosen[place] === index)));
    select.disabled = place > chosen.length;
    select.dataset.channel = place;
    select.addEventListener("change", () => {
      const all = [...find("channels").querySelectorAll("select")].map((node) => node.value).filter((value) => value !== "");
      choose({ channels: all.map(Number) });
    });
    const dot = document.createElement("i");
    const shown = chosen.length === 1 && place === 0 ? "grey" : color;
    dot.className = "vs-dot";
    dot.style.background = place < chosen.length ? DOTS[shown] : "transparent";
    return field(say(shown), select, dot);
  }));
  if (focused) find("channels").querySelector(`[data-channel="${focused}"]`)?.focus();
}

// What can be chosen, as [words, window].
function presets() {
  const listed = [[say("auto"), "auto"], [say("fullRange"), "full"]];
  let first = true;
  for (const [name, low, high] of told.windows) {
    const words = say(name) + ": " + short(low) + " – " + short(high);
    listed.push([words, name === "dicom" && first ? "dicom" : [low, high]]);
    if (name === "dicom") first = false;
  }
  return listed;
}

function windows() {
  const now = JSON.stringify(told.view.window);
  const listed = presets();
  const select = find("preset");
  select.replaceChildren(...listed.map(([words, value]) => new Option(words, JSON.stringify(value), false, JSON.stringify(value) === now)));
  if (!listed.some(([, value]) => JSON.stringify(value) === now)) select.prepend(new Option(say("own"), now, true, true));
  // Of several channels that each have their own ends: from the first black to the last white.
  const ends = told.ends && told.ends.length ? [Math.min(...told.ends.flat()), Math.max(...told.ends.flat())] : null;
  for (const [name, at] of [["low", 0], ["high", 1]]) if (document.activeElement !== find(name)) find(name).value = ends ? short(ends[at]) : "";
  if (document.activeElement !== find("gamma")) find("gamma").value = short(told.view.gamma);
  const shown = told.view.channels.length === 1 ? ["grey"] : COLORS;
  histogram.show(told.histogram, shown, ends, Boolean(told.ends?.length) && told.ends[0][0] > told.ends[0][1]);
}

function facts() {
  const [width, height] = told.size;
  // Of many files it is the first such one.
  const parts = [...(props.pages ? [told.of.split(/[/\\]/).pop()] : []), `${number(width)} × ${number(height)} px`];
  if (told.pixel_size) {
    const symbol = SYMBOLS[told.unit] || told.unit;
    const [across, down] = told.pixel_size.map(short);
    parts.push(say("perPixel").replace("{size}", across === down ? `${across} ${symbol}` : `${across} × ${down} ${symbol}`));
    if (told.unit !== "degree") parts.push([width * told.pixel_size[0], height * told.pixel_size[1]].map((side) => number(Number(side.toPrecision(5)))).join(" × ") + " " + symbol);
  }
  if (told.channels.length > 1) parts.push(say("channelCount").replace("{n}", number(told.channels.length)));
  parts.push(say("bits").replace("{n}", told.bits));
  if (told.crs) parts.push(told.crs.startsWith("EPSG:") ? told.crs : (/"([^"]+)"/.exec(told.crs) || ["", told.crs.slice(0, 40)])[1]);
  find("facts").textContent = parts.join(" · ");
}

// Whether what is on the screen is of this view, and if not, how it comes to be.
function standing() {
  if (root.dataset.fault || props.kind !== "viewer") return;
  const node = viewer();
  const result = node?.shownOf?.();
  const mine = result && result.of === told.of;
  if (!asked || (mine && same(result.view, told.view))) tell("", false);
  else if (node?.dataset.state === "preview") tell(say("notYet"), true);
  else tell(mine ? say("otherView") : "", Boolean(mine));
}

function show(value, user) {
  // Browsers cannot show such a file where it was dropped.
  document.querySelector(`#${tab}-image .image-frame`)?.style.setProperty("--preview", `url("${value.picture.url}")`);
  if (props.kind === "alone" && !document.querySelector(`#${tab}-image`)) Object.assign(find("picture"), { src: value.picture.url, hidden: false });
  if (props.kind !== "viewer") return;
  const node = viewer();
  const result = node?.shownOf?.();
  if (result && result.of === value.of && same(result.view, value.view)) return node.dataset.state === "preview" && node.unpreview();
  // Of a new file until its result is there.
  if (user || (node?.dataset.state === "empty" && !("failed" in node.dataset))) node?.preview?.({ url: value.picture.url, width: value.size[0], height: value.size[1], metres: value.metres }).then(standing, () => fault(say("stripNoAnswer")));
}

function receive(value) {
  if (!value) {
    told = null;
    view = {};
    clearTimeout(patience);
    find("picture").hidden = true;
    root.hidden = true;
    if (viewer()?.dataset.state === "preview") viewer().unpreview();
    document.querySelector(`#${tab}-image .image-frame`)?.style.removeProperty("--preview");
    return;
  }
  if (!("ask" in value)) return;
  if (value.ask === 0) {
    view = {};
    asked = 0;
    find("tick").checked = false;
  } else if (!told || value.of !== told.of) return;
  hold(value.of);
  if (value.why) return value.ask === asked && fault(value.why);
  if (value.ask !== asked) return show(value, true); // a later question is under way: the controls are ahead of it
  clearTimeout(patience);
  told = value;
  delete root.dataset.fault;
  root.hidden = false;
  root.setAttribute("aria-busy", "false");
  find("all").hidden = !props.pages;
  facts();
  if (value.ask === 0 || find("axes").children.length !== AXES.filter((axis) => told.counts[axis] > 1).length) axes();
  channels();
  windows();
  show(value, value.ask > 0);
  standing();
  if (value.empty) fault(value.empty);
}

const histogram = new Histogram(find("histogram"), (low, high, done) => {
  const ends = [low, high].map((value) => Number(value.toPrecision(5)));
  find("low").value = short(ends[0]);
  find("high").value = short(ends[1]);
  choose({ window: ends }, done ? 0 : SETTLE_MS);
});

root.held = () => hold();
translate(root);
find("preset").addEventListener("change", () => choose({ window: JSON.parse(find("preset").value) }));
// What is no number is sent as it was typed: the server says what it expected.
const typed = (name) => { const text = find(name).value.trim().replace(",", "."); return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text; };
for (const name of ["low", "high"]) find(name).addEventListener("change", () => choose({ window: [typed("low"), typed("high")] }));
find("gamma").addEventListener("change", () => choose({ gamma: find("gamma").value.trim() === "" ? undefined : typed("gamma") }));
find("tick").addEventListener("change", () => hold());
find("run").addEventListener("click", () => document.querySelector(`#${tab}-run`)?.click());
// The viewer says when it shows a result.
document.addEventListener("sv-shown", (event) => { if (told && event.target === viewer()) standing(); });
watch("value", () => receive(props.value));

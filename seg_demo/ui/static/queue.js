// The queue of pictures beside the editor: kept in the browser, so that a reload goes on where it was. What is drawn is saved before another
// picture is opened. Names come from strangers: they are only ever written as textContent.

Object.assign(WORDS.en, {
  before: "Previous picture (Page Up)", after: "Next picture (Page Down)", dropQueue: "Empty the queue", allPictures: "All pictures", reallyDrop: "Really empty it?",
  ofDone: "{n} of {all} done", sureness: "margin", openingItem: "Opening {name} …", savingFirst: "Saving what is drawn …", lastItem: "That was the last picture.", leftOut: "could not be used:",
  firstDoubt: "The pictures of which the model is least sure come first.",
});
Object.assign(WORDS.zh, {
  before: "上一张（Page Up）", after: "下一张（Page Down）", dropQueue: "清空队列", allPictures: "全部图片", reallyDrop: "确定清空？",
  ofDone: "已完成 {n} / {all}", sureness: "置信差", openingItem: "正在打开 {name}……", savingFirst: "正在保存所画内容……", lastItem: "这是最后一张图片。", leftOut: "无法使用：",
  firstDoubt: "模型最没有把握的图片排在最前。",
});

const root = element.querySelector(".cq");
const find = (name) => root.querySelector(".cq-" + name);
const STORE = "seg-demo-queue";
const editor = () => document.querySelector("#correct-editor .se");

let queue = null; // { id, items: [{ name, path, margin, done }], failed, at }
let moving = false;

function keep() {
  try {
    if (queue) localStorage.setItem(STORE, JSON.stringify(queue));
    else localStorage.removeItem(STORE);
  } catch { /* a browser that keeps nothing: the queue lasts as long as the page */ }
}

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function show() {
  root.hidden = !queue;
  if (!queue) return;
  const { items, at } = queue;
  find("at").textContent = at < 0 ? "" : items[at].name;
  find("at").title = find("at").textContent;
  find("done").textContent = say("ofDone").replace("{n}", number(items.filter((item) => item.done).length)).replace("{all}", number(items.length));
  find("before").disabled = at <= 0;
  find("after").disabled = at >= items.length - 1;
  find("list").replaceChildren(...items.map((item, index) => {
    const row = make("button", "cq-row");
    row.type = "button";
    row.setAttribute("aria-current", String(index === at));
    row.append(make("span", "cq-tick", item.done ? "✓" : ""), make("span", "cq-name", item.name));
    row.append(make("span", "cq-margin", item.margin === null ? "" : say("sureness") + " " + item.margin.toFixed(2)));
    row.addEventListener("click", () => go(index));
    const line = make("li");
    line.append(row);
    return line;
  }));
  find("failed").hidden = !queue.failed.length;
  find("failed").replaceChildren(...queue.failed.slice(0, 20).map(([name, why]) => make("li", "", name + " " + say("leftOut") + " " + why)));
}

// What is drawn is saved first; where that fails, the editor says why, and nothing else is opened.
async function go(index) {
  if (moving || !queue || !queue.items[index]) return;
  moving = true;
  try {
    find("said").textContent = say("savingFirst");
    if (!(await (editor()?.leave?.() ?? true))) return void (find("said").textContent = "");
    const item = queue.items[index];
    find("said").textContent = say("openingItem").replace("{name}", item.name);
    trigger("edit", { item: { name: item.name, path: item.path, done: item.done } });
  } finally {
    moving = false;
  }
}

function indexOf(path) {
  return queue ? queue.items.findIndex((item) => item.path === path) : -1;
}

translate(root);
find("before").addEventListener("click", () => go(queue.at - 1));
find("after").addEventListener("click", () => go(queue.at + 1));
find("drop").addEventListener("click", () => {
  const button = find("drop");
  // Asked once more in place.
  if (!button.dataset.sure) return void ((button.dataset.sure = "yes"), (button.textContent = say("reallyDrop")));
  queue = null;
  keep();
  show();
});
find("drop").addEventListener("blur", () => { delete find("drop").dataset.sure; find("drop").textContent = say("dropQueue"); });
document.addEventListener("se-opened", (event) => {
  const at = indexOf(event.detail.queue);
  if (queue) Object.assign(queue, { at: at < 0 ? queue.at : at });
  find("said").textContent = "";
  keep();
  show();
});
document.addEventListener("se-refused", () => (find("said").textContent = ""));
document.addEventListener("se-saved", (event) => {
  const at = indexOf(event.detail.queue);
  if (at < 0) return;
  queue.items[at].done = { dataset: event.detail.dataset, stem: event.detail.stem };
  keep();
  show();
});
document.addEventListener("keydown", (event) => {
  const by = { PageDown: 1, PageUp: -1 }[event.key];
  if (!by || !queue || !element.offsetParent || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable=true]")) return;
  event.preventDefault();
  const to = queue.at + by;
  if (to >= queue.items.length) find("said").textContent = say("lastItem");
  else go(to);
});

function receive(value) {
  if (!value || (queue && queue.id === value.id)) return;
  queue = { ...value, at: -1, items: value.items.map((item) => ({ ...item, done: null })) };
  keep();
  show();
  if (queue.items.length) go(0);
}

try {
  queue = JSON.parse(localStorage.getItem(STORE));
  if (!queue || !Array.isArray(queue.items)) queue = null;
} catch { queue = null; }
show();
watch("value", () => receive(props.value));

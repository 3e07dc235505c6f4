// The samples of a dataset: thumbnails with their facts, to edit again or delete. Runs once with gradio's `element`, `props`,
// `watch` and `trigger`; viewer_text.js comes before it in the same scope.

Object.assign(WORDS.en, {
  noSamples: "No samples yet. Save a mask, and it appears here.", sortBy: "Sort by", newest: "last changed", doubtful: "most doubtful first", byName: "name",
  edit: "Edit", remove: "Delete", sure: "Really delete?", samples: ["sample", "samples"], strokesWord: ["stroke", "strokes"], margin: "margin",
  moreSamples: "more; sort differently to see others", unread: "Left out because they cannot be read (images and masks are untouched; restore these files from a copy):",
});
Object.assign(WORDS.zh, {
  noSamples: "还没有样本。保存一个掩膜后会显示在这里。", sortBy: "排序", newest: "最近修改", doubtful: "最不确定的在前", byName: "名称",
  edit: "编辑", remove: "删除", sure: "确认删除？", samples: ["个样本", "个样本"], strokesWord: ["笔", "笔"], margin: "置信差",
  moreSamples: "个未显示，可换排序查看", unread: "无法读取，已略过（图片与掩膜未受影响，请从备份恢复）：",
});

const root = element.querySelector(".sl");
const find = (name) => root.querySelector(".sl-" + name);

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const ORDERS = {
  saved: (a, b) => (a.saved < b.saved ? 1 : -1),
  // Without a prediction nothing is known about doubt: those come last.
  doubt: (a, b) => (a.confidence === null ? 2 : a.confidence) - (b.confidence === null ? 2 : b.confidence) || (a.saved < b.saved ? 1 : -1),
  name: (a, b) => a.name.localeCompare(b.name),
};

function card(row) {
  const item = make("li");
  item.dataset.stem = row.stem;
  const picture = make("img");
  Object.assign(picture, { src: row.thumbnail.url, alt: row.name, loading: "lazy" });
  const facts = [row.width + " × " + row.height];
  if (row.objects !== null) facts.push(counted("objects", row.objects));
  facts.push(counted("strokesWord", row.strokes), Math.floor(row.seconds / 60) + ":" + String(Math.floor(row.seconds % 60)).padStart(2, "0"));
  if (row.confidence !== null) facts.push(say("margin") + " " + row.confidence.toFixed(2));
  const acts = make("div", "sl-acts");
  const edit = make("button", "sl-edit", say("edit"));
  const remove = make("button", "sl-remove", say("remove"));
  edit.type = remove.type = "button";
  edit.setAttribute("aria-label", say("edit") + ": " + row.name);
  remove.setAttribute("aria-label", say("remove") + ": " + row.name);
  edit.addEventListener("click", () => trigger("edit", { stem: row.stem }));
  // Asked once more in place: nothing brings a sample back.
  remove.addEventListener("click", () => {
    if (remove.classList.contains("sl-sure")) return trigger("remove", { stem: row.stem });
    remove.classList.add("sl-sure");
    remove.textContent = say("sure");
    remove.setAttribute("aria-label", say("sure") + " " + row.name);
  });
  remove.addEventListener("blur", () => {
    remove.classList.remove("sl-sure");
    remove.textContent = say("remove");
    remove.setAttribute("aria-label", say("remove") + ": " + row.name);
  });
  acts.append(edit, remove);
  item.append(picture, make("span", "sl-name", row.name), make("span", "sl-facts", facts.join(" · ")), acts);
  return item;
}

function update() {
  const rows = props.value ? props.value.rows : [];
  find("none").hidden = rows.length > 0;
  find("head").hidden = rows.length === 0;
  const more = props.value && props.value.total > rows.length ? " (" + number(props.value.total - rows.length) + " " + say("moreSamples") + ")" : "";
  find("count").textContent = counted("samples", props.value ? props.value.total : 0) + more;
  const unread = (props.value && props.value.unreadable) || [];
  find("unread").hidden = unread.length === 0;
  find("unread").textContent = say("unread") + " " + unread.join(", ");
  find("live").textContent = find("count").textContent;
  find("list").replaceChildren(...[...rows].sort(ORDERS[find("sort").value]).map(card));
}

translate(root);
find("sort").addEventListener("change", update);
watch("value", update);
update();

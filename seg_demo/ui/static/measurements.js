// The table of measurements below a viewer: asked of the server when it is opened, and anew with every result while it is open.
// Class names come from checkpoints of strangers: they are only ever written as textContent.

Object.assign(WORDS.en, {
  measurements: "Measurements", pixelSize: "Pixel size", pixelSizeIs: "Length of a pixel's side; empty for pixels", unit: "Unit", withoutEdge: "Leave out what touches the edge",
  withoutEdgeIs: "Of an object at the edge of the picture, a part may lie outside: its area and shape say little.", histogramOf: "Distribution of", measuring: "Measuring …",
  object: ["object", "objects"], region: ["region", "regions"], segment: ["segment", "segments"], piece: ["connected piece", "connected pieces"],
  atEdge: "{n} at the edge", atEdgeOut: "{n} at the edge left out", tooMany: "Only the largest are measured; {n} more were left out.",
  rest: "{n} more rows are in the CSV.", noAnswerMeasure: "Nothing could be measured. Please try again.", howMany: "count",
  what: "Name", score: "Score", edge: "Edge", area: "Area", perimeter: "Perimeter", equivalent_diameter: "Eq. diameter", circularity: "Circularity", major_axis: "Long axis",
  minor_axis: "Short axis", elongation: "Elongation", centroid_x: "Centroid x", centroid_y: "Centroid y", mean_: "Mean", sd_: "SD", red: "red", green: "green", blue: "blue", grey: "grey", intensity: "intensity",
  n: "n", sum: "Sum", mean: "Mean", median: "Median", sd: "SD", min: "Min", max: "Max",
  circularityIs: "4π · area / perimeter²: 1 for a circle, less for anything ragged or long", elongationIs: "Long axis by short axis of the ellipse with the same moments", equivalent_diameterIs: "Diameter of the circle of the same area",
});
Object.assign(WORDS.zh, {
  measurements: "测量", pixelSize: "像素尺寸", pixelSizeIs: "像素的边长；留空则以像素为单位", unit: "单位", withoutEdge: "排除触及边缘的对象",
  withoutEdgeIs: "触及图片边缘的对象可能有一部分在图外，其面积与形状意义不大。", histogramOf: "分布：", measuring: "正在测量……",
  object: ["个对象", "个对象"], region: ["个区域", "个区域"], segment: ["个分割段", "个分割段"], piece: ["个连通块", "个连通块"],
  atEdge: "{n} 个触及边缘", atEdgeOut: "已排除 {n} 个触及边缘的", tooMany: "仅测量最大的部分，另有 {n} 个未计入。",
  rest: "其余 {n} 行见 CSV。", noAnswerMeasure: "无法测量，请重试。", howMany: "数量",
  what: "名称", score: "得分", edge: "边缘", area: "面积", perimeter: "周长", equivalent_diameter: "等效直径", circularity: "圆度", major_axis: "长轴",
  minor_axis: "短轴", elongation: "伸长率", centroid_x: "质心 x", centroid_y: "质心 y", mean_: "均值", sd_: "标准差", red: "红", green: "绿", blue: "蓝", grey: "灰度", intensity: "强度",
  n: "数量", sum: "总和", mean: "均值", median: "中位数", sd: "标准差", min: "最小", max: "最大",
  circularityIs: "4π · 面积 / 周长²：圆为 1，越不规则或越细长越小", elongationIs: "与之矩相同的椭圆的长轴与短轴之比", equivalent_diameterIs: "面积相同的圆的直径",
});

const root = element.querySelector(".ms");
const find = (name) => root.querySelector(".ms-" + name);
const tab = element.closest("[id$=-measured]").id.replace(/-measured$/, "");
const SHOWN_ROWS = 300;
const SETTLE_MS = 250; // a threshold that is being dragged shows many results
const PATIENCE_MS = 60000;
const LENGTHS = ["perimeter", "equivalent_diameter", "major_axis", "minor_axis", "centroid_x", "centroid_y"];

let asked = 0; // the last question's number
let question = null; // and what it is: the page's script of the event sends what stands here when its turn comes
let due = null;
let patience = null;
let told = null; // what the server sent
let sorted = { by: "area", down: true };
let which = "area";

const viewer = () => document.querySelector(`#${tab}-viewer .sv`);
const shown = () => viewer()?.dataset.state === "shown";
const unit = (power) => (told.unit ? told.unit.replace("u", "µ") : "px") + (power === 2 ? "²" : "");
// A name that the file gave its channel stands as it is.
const channel = (name) => say(name) || name;

function title(column) {
  for (const part of ["mean_", "sd_"]) if (column.startsWith(part)) return say(part) + " " + channel(column.slice(part.length));
  const power = column === "area" ? 2 : LENGTHS.includes(column) ? 1 : 0;
  return say(column) + (power ? " (" + unit(power) + ")" : "");
}

// Values of one column have as many decimals as the largest of them needs.
function decimals(column) {
  const values = told.rows.map((row) => row[at(column)]).filter((value) => value !== null);
  if (values.every(Number.isInteger)) return 0;
  const most = Math.max(...values.map(Math.abs));
  return most < 0.01 ? null : Math.max(0, Math.min(3, 3 - Math.floor(Math.log10(most))));
}

function digits(value, places = null) {
  if (value === null || value === undefined) return "–";
  if (places !== null) return value.toLocaleString(LANGUAGE, { minimumFractionDigits: places, maximumFractionDigits: places });
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 1000) return size < 1e15 ? Math.round(value).toLocaleString(LANGUAGE) : value.toExponential(3);
  if (size >= 1) return value.toFixed(size >= 100 ? 1 : 2);
  return size >= 0.001 ? value.toFixed(3) : value.toExponential(2);
}

function ask(wait = 0) {
  clearTimeout(due);
  if (!root.open || !shown()) return;
  due = setTimeout(() => {
    asked++;
    root.setAttribute("aria-busy", "true");
    for (const name of ["csv", "json"]) find(name).disabled = true;
    if (!told) find("said").textContent = say("measuring");
    clearTimeout(patience);
    patience = setTimeout(() => fault(say("noAnswerMeasure")), PATIENCE_MS);
    question = { ask: asked, length: find("length").value, unit: find("unit").value, inside: find("inside").checked };
    trigger("select");
  }, wait);
}

function settled() {
  clearTimeout(patience);
  root.setAttribute("aria-busy", "false");
}

function fault(text) {
  settled();
  told = null;
  root.dataset.fault = "yes";
  find("body").hidden = true;
  find("said").textContent = text;
}

function receive(value) {
  if (!value || value.ask !== asked) return;
  settled();
  if (value.why) return fault(value.why);
  told = value;
  delete root.dataset.fault;
  for (const name of ["csv", "json"]) find(name).disabled = value.count === 0;
  const facts = [counted(value.kind, value.count)];
  if (value.at_edge) facts.push(say(value.inside ? "atEdgeOut" : "atEdge").replace("{n}", number(value.at_edge)));
  if (value.left_out) facts.push(say("tooMany").replace("{n}", number(value.left_out)));
  // What the file says of its pixels stands where nobody has typed anything.
  const sides = value.sides && [...new Set(value.sides.map((side) => Number(side.toPrecision(6)).toLocaleString(LANGUAGE, { maximumSignificantDigits: 6 })))];
  if (!find("length").value) {
    find("length").placeholder = sides ? sides.join(" × ") : "–";
    if (value.unit) find("unit").value = value.unit;
  }
  find("said").textContent = facts.join(" · ");
  find("body").hidden = value.count === 0;
  if (!value.columns.includes(sorted.by)) sorted = { by: "area", down: true };
  const drawn = value.columns.filter((name) => value.histograms[name]);
  if (!drawn.includes(which)) which = "area";
  find("which").replaceChildren(...drawn.map((name) => new Option(title(name), name, false, name === which)));
  heads();
  rows();
  distribution();
}

const keys = () => ["what", ...(told.rows.some((row) => row[2] !== null) ? ["score"] : []), ...told.columns, "edge"];
const at = (key) => ({ what: 0, score: 2, edge: 3 })[key] ?? 4 + told.columns.indexOf(key);

function heads() {
  root.querySelector("thead tr").replaceChildren(...keys().map((key) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.setAttribute("aria-sort", sorted.by === key ? (sorted.down ? "descending" : "ascending") : "none");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = ["what", "score", "edge"].includes(key) ? say(key) : title(key);
    if (say(key + "Is")) button.title = say(key + "Is");
    button.addEventListener("click", () => {
      sorted = { by: key, down: sorted.by === key ? !sorted.down : key !== "what" };
      heads();
      rows();
    });
    cell.append(button);
    return cell;
  }));
}

function rows() {
  const order = [...told.rows];
  const key = at(sorted.by);
  const sign = sorted.down ? -1 : 1;
  // What has no value stands last, whichever way.
  order.sort((left, right) => (left[key] === null) - (right[key] === null) || sign * (left[key] - right[key]));
  const columns = keys();
  const places = new Map(columns.map((column) => [column, ["what", "edge"].includes(column) ? 0 : decimals(column)]));
  root.querySelector("tbody").replaceChildren(...order.slice(0, SHOWN_ROWS).map((row) => {
    const line = document.createElement("tr");
    const name = told.kind === "region" ? channel("region")[0] : told.names[row[1]];
    for (const column of columns) {
      const cell = document.createElement("td");
      if (column === "what") cell.title = cell.textContent = told.kind === "piece" ? name : name + " #" + row[0];
      else if (column === "edge") cell.textContent = row[3] ? "●" : "";
      else cell.textContent = digits(row[at(column)], places.get(column));
      line.append(cell);
    }
    if (told.kind !== "piece") {
      line.addEventListener("pointerenter", () => viewer()?.light?.([row[0]]));
      line.addEventListener("pointerleave", () => viewer()?.light?.(null));
    }
    return line;
  }));
  const rest = told.count - Math.min(SHOWN_ROWS, told.rows.length);
  find("more").hidden = rest <= 0;
  find("more").textContent = say("rest").replace("{n}", number(rest));
}

function distribution() {
  const total = told.summary[which];
  const facts = ["count", "sum", "mean", "median", "sd", "min", "max"].filter((name) => total[name] !== undefined);
  root.querySelector("dl").replaceChildren(...facts.map((name) => {
    const pair = document.createElement("div");
    for (const [tag, text] of [["dt", say(name === "count" ? "n" : name)], ["dd", digits(total[name])]]) {
      pair.append(document.createElement(tag));
      pair.lastChild.textContent = text;
    }
    return pair;
  }));
  const { edges, counts } = told.histograms[which];
  const most = Math.max(...counts);
  const [left, right, top, bottom] = [52, 632, 10, 172];
  const wide = (right - left) / counts.length;
  const draw = (tag, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const parts = [draw("line", { x1: left, x2: right, y1: bottom, y2: bottom }), draw("line", { x1: left, x2: right, y1: top, y2: top })];
  parts.push(draw("text", { x: left - 8, y: top + 5, "text-anchor": "end" }, number(most)), draw("text", { x: left - 8, y: bottom, "text-anchor": "end" }, "0"));
  counts.forEach((count, index) => {
    const height = (count / most) * (bottom - top);
    const bar = draw("rect", { x: left + index * wide + 1, y: bottom - height, width: Math.max(1, wide - 2), height });
    bar.append(draw("title", {}, `${digits(edges[index])} – ${digits(edges[index + 1])}: ${number(count)}`));
    parts.push(bar);
  });
  const ends = [edges[0], (edges[0] + edges[edges.length - 1]) / 2, edges[edges.length - 1]];
  // All alike: there is one bar, and one number below it.
  const labels = ends[0] === ends[2] ? [[ends[1], "middle", (left + right) / 2]] : [[ends[0], "start", left], [ends[1], "middle", (left + right) / 2], [ends[2], "end", right]];
  for (const [value, anchor, x] of labels) parts.push(draw("text", { x, y: bottom + 20, "text-anchor": anchor }, digits(value)));
  find("bars").replaceChildren(...parts);
  find("bars").setAttribute("aria-label", say("histogramOf") + " " + title(which));
}

root.held = () => question;
translate(root);
root.addEventListener("toggle", () => ask());
for (const name of ["length", "unit", "inside"]) find(name).addEventListener("change", () => ask());
find("which").addEventListener("change", () => { which = find("which").value; distribution(); });
for (const [name, kind] of [["csv", "measurements"], ["json", "measurements_json"]]) find(name).addEventListener("click", () => document.querySelector(`#${tab}-${kind}`).click());
// The viewer beside it says when it shows another result.
document.addEventListener("sv-shown", (event) => { if (event.target === viewer()) ask(SETTLE_MS); });
watch("value", () => receive(props.value));

// The legend: a row per class, largest first, that hides or shows it; below a class of objects, a row per object.
// Names come from checkpoints of strangers: they are only ever written as textContent.

const LISTED = 200; // rows of single objects; the rest is reached by hovering
const css = (color) => "rgb(" + color.join(",") + ")";

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function segmentWords(result, segment) {
  const name = result.names.get(segment.label);
  const facts = [number(segment.area) + " px", percent(segment.area / (result.width * result.height))];
  if (result.unit) facts.splice(1, 0, measure(segment.area * result.pixelArea) + "\u00a0" + symbol(result.unit) + "²");
  if (segment.score !== null) facts.unshift(say("score") + " " + segment.score.toFixed(2));
  return [result.objects && segment.thing !== false ? name + " #" + segment.id : name, facts.join(" · ")];
}

// `hidden` is the set of segment ids that are not drawn; `changed()` redraws, `light(ids)` highlights (null: nothing).
class Legend {
  constructor(root, changed, light) {
    this.list = root.querySelector(".sv-legend");
    this.count = root.querySelector(".sv-count");
    this.all = root.querySelector(".sv-all");
    this.hiding = root.querySelector(".sv-hiding");
    this.changed = changed;
    this.light = light;
    this.hidden = new Set();
    this.all.addEventListener("click", () => this.toggle(this.result.segments.map((segment) => segment.id)));
  }

  // `keep`: the same picture again (another threshold, another model): classes of the same names stay hidden or shown.
  show(result, keep) {
    const before = keep ? this.hiddenNames() : new Map();
    this.result = result;
    const off = ({ label }) => before.get(result.names.get(label)) ?? (label === result.background && !result.objects);
    this.hidden = new Set(result.segments.filter(off).map((segment) => segment.id));
    const shown = result.classes.filter((row) => row.id !== result.background).length;
    const noun = { class: "classes", object: "objects", region: "regions", segment: "things" }[result.segment];
    const things = result.segments.filter((segment) => segment.thing !== false).length;
    this.count.textContent = counted(noun, result.objects ? things : shown);
    if (result.grouped) this.grouped(things);
    else this.list.replaceChildren(...result.classes.map((row) => this.classRow(row)));
    this.refresh();
  }

  // Things one by one below their classes, then stuff, each under its heading.
  grouped(things) {
    const groups = [["thingsHead", (row) => row.thing], ["stuffHead", (row) => !row.thing]];
    const stuff = this.result.segments.length - things;
    this.count.textContent = [things || !stuff ? counted("things", things) : "", stuff ? counted("stuffs", stuff) : ""].filter(Boolean).join(" · ");
    this.list.replaceChildren();
    for (const [words, belongs] of groups) {
      const rows = this.result.classes.filter(belongs);
      if (rows.length) this.list.append(make("li", "sv-group", say(words)), ...rows.map((row) => this.classRow(row)));
    }
  }

  // By name, since numbers are another model's own: whether all of a class is hidden.
  hiddenNames() {
    const hidden = new Map();
    for (const { id, label } of this.result ? this.result.segments : []) {
      const name = this.result.names.get(label);
      hidden.set(name, this.hidden.has(id) && hidden.get(name) !== false);
    }
    return hidden;
  }

  classRow(row) {
    const { result } = this;
    const members = result.segments.filter((segment) => segment.label === row.id);
    const ids = members.map((segment) => segment.id);
    const item = make("li", "sv-class");
    const button = this.button(ids, members.slice(0, 4).map((segment) => segment.color), row.name);
    const share = make("span", "sv-share", percent(row.share));
    const listed = result.objects && row.thing !== false;
    if (listed) button.append(make("span", "sv-number", "× " + number(row.count)));
    button.append(share);
    const bar = make("span", "sv-meter");
    bar.append(make("i"));
    bar.firstChild.style.width = Math.max(0.5, row.share * 100) + "%";
    button.append(bar);
    item.append(button);
    if (listed && members.length) item.append(this.objects(members));
    return item;
  }

  objects(members) {
    const details = make("details", "sv-objects");
    details.append(make("summary", "", say({ object: "eachInstance", region: "eachRegion", segment: "eachSegment" }[this.result.segment])));
    const list = make("ul");
    // Built when opened: a superpixel result has hundreds.
    details.addEventListener("toggle", () => {
      if (!details.open || list.childElementCount) return;
      for (const segment of members.slice(0, LISTED)) {
        const [name, facts] = segmentWords(this.result, segment);
        const button = this.button([segment.id], [segment.color], name);
        button.append(make("span", "sv-facts", facts));
        list.append(make("li"));
        list.lastChild.append(button);
      }
      if (members.length > LISTED) list.append(make("li", "sv-more", number(members.length - LISTED) + " " + say("more")));
      this.refresh();
    });
    details.append(list);
    // One class with a handful of objects: they are what one wants to see.
    const countable = this.result.classes.filter((row) => row.thing !== false);
    details.open = countable.length === 1 && members.length <= 40;
    return details;
  }

  button(ids, colors, name) {
    const button = make("button", "sv-row");
    button.type = "button";
    button.ids = ids;
    const swatch = make("span", "sv-swatch");
    for (const color of colors) {
      swatch.append(make("i"));
      swatch.lastChild.style.background = css(color);
    }
    button.append(swatch, make("span", "sv-name", name));
    button.addEventListener("click", () => this.toggle(ids));
    for (const type of ["pointerenter", "focus"]) button.addEventListener(type, () => this.light(ids));
    for (const type of ["pointerleave", "blur"]) button.addEventListener(type, () => this.light(null));
    return button;
  }

  toggle(ids) {
    const hide = ids.some((id) => !this.hidden.has(id));
    for (const id of ids) hide ? this.hidden.add(id) : this.hidden.delete(id);
    this.refresh();
    this.changed();
  }

  refresh() {
    for (const button of this.list.querySelectorAll(".sv-row")) {
      button.setAttribute("aria-pressed", String(!button.ids.every((id) => this.hidden.has(id))));
    }
    const any = this.result.segments.some((segment) => !this.hidden.has(segment.id));
    this.all.textContent = say(any ? "hideAll" : "showAll");
    this.all.hidden = this.result.segments.length === 0;
    // The background is seldom drawn; only what somebody hid is worth a word.
    const hid = this.result.segments.some((segment) => this.hidden.has(segment.id) && segment.label !== this.result.background);
    this.hiding.hidden = !hid;
  }
}

function fillTable(body, result) {
  const rows = result.classes.map((row) => {
    const line = make("tr");
    const score = row.score === null ? "–" : row.score.toFixed(3);
    const cells = [row.name, number(row.pixels), percent(row.share), row.thing === false ? "–" : number(row.count)];
    if (result.unit) cells.splice(2, 0, measure(row.pixels * result.pixelArea));
    if (result.scored) cells.push(score);
    if (result.unsure) cells.push(row.margin === null ? "–" : row.margin.toFixed(3));
    for (const text of cells) line.append(make("td", "", text));
    return line;
  });
  body.replaceChildren(...rows);
}

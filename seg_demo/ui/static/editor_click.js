// The click tool: an object from clicks, a box or words, answered by a model on the server. What it shows lies over the picture and is
// no part of the mask until it is taken, by one change. It starts from the object or the area of a class that lies under the first click.

const REST_MS = 130; // a pointer that rests so long is shown what a click there would mean
const BITMAP_PIXELS = 1000000; // of a shape on the screen
const DRAG = 6; // screen pixels from which on a click is a box
const OTHER_MODEL = "+"; // in the list of models: one whose id is typed
const FOUND = [15, 148, 136];

// COCO's compressed run lengths, down the columns, from numbers to text and back.
function packRuns(runs) {
  let text = "";
  runs.forEach((run, i) => {
    let left = i > 2 ? run - runs[i - 2] : run;
    for (let more = true; more; ) {
      let letter = left & 31;
      left >>= 5;
      more = letter & 16 ? left !== -1 : left !== 0;
      text += String.fromCharCode((more ? letter | 32 : letter) + 48);
    }
  });
  return text;
}

function unpackRuns(text) {
  const runs = [];
  for (let at = 0; at < text.length; ) {
    let [run, shift, letter] = [0, 0, 0];
    do {
      letter = text.charCodeAt(at++) - 48;
      run |= (letter & 31) << shift;
      shift += 5;
    } while (letter & 32);
    if (letter & 16) run |= -1 << shift;
    if (runs.length > 2) run += runs[runs.length - 2];
    runs.push(run);
  }
  return runs;
}

// Some pixels of a picture: `bits` has a byte for each within the box [x0, y0, x1, y1).
class Shape {
  constructor(box, bits) {
    Object.assign(this, { box, bits, wide: box[2] - box[0], tall: box[3] - box[1] });
  }

  // `counts` of COCO, of a picture so many pixels tall, whose pixels all lie in a box.
  static unpack(counts, box, height) {
    const shape = new Shape(box, new Uint8Array((box[2] - box[0]) * (box[3] - box[1])));
    let at = 0;
    unpackRuns(counts).forEach((run, i) => {
      for (let pixel = at; i % 2 && pixel < at + run; pixel++) shape.bits[((pixel % height) - box[1]) * shape.wide + Math.floor(pixel / height) - box[0]] = 1;
      at += run;
    });
    return shape;
  }

  // Rows of pixels as the tools give them: [y, from, to).
  static ofRows(rows) {
    const box = [Infinity, Infinity, 0, 0];
    for (const [y, from, to] of rows) [box[0], box[1], box[2], box[3]] = [Math.min(box[0], from), Math.min(box[1], y), Math.max(box[2], to), Math.max(box[3], y + 1)];
    const shape = new Shape(box, new Uint8Array((box[2] - box[0]) * (box[3] - box[1])));
    for (const [y, from, to] of rows) shape.bits.fill(1, (y - box[1]) * shape.wide + from - box[0], (y - box[1]) * shape.wide + to - box[0]);
    return shape;
  }

  // The pixels of an object, or null.
  static ofObject(layer, id) {
    const box = layer.boxOf(id);
    if (!box) return null;
    const rows = [];
    sameNumber(layer, id, box, (...row) => rows.push(row));
    return Shape.ofRows(rows);
  }

  // What hangs together with a pixel and has its class.
  static ofArea(layer, x, y) {
    const copy = { ids: layer.ids.slice(), width: layer.width, height: layer.height };
    const rows = [];
    flood(copy, x, y, (row, from, to) => {
      copy.ids.fill(OUTSIDE, row * copy.width + from, row * copy.width + to);
      rows.push([row, from, to]);
    });
    return Shape.ofRows(rows);
  }

  has(x, y) {
    const [x0, y0, x1, y1] = this.box;
    return x >= x0 && x < x1 && y >= y0 && y < y1 && this.bits[(y - y0) * this.wide + x - x0] === 1;
  }

  rows(emit) {
    for (let y = 0; y < this.tall; y++) {
      const row = this.bits.subarray(y * this.wide, (y + 1) * this.wide);
      for (let from = row.indexOf(1); from >= 0; ) {
        const end = row.indexOf(0, from);
        const to = end < 0 ? this.wide : end;
        emit(this.box[1] + y, this.box[0] + from, this.box[0] + to);
        from = row.indexOf(1, to);
      }
    }
  }

  // COCO's run lengths in a picture of so many pixels.
  pack(width, height) {
    const runs = [this.box[0] * height + this.box[1]];
    let on = 0;
    for (let x = 0; x < this.wide; x++) {
      for (let y = 0, i = x; y < this.tall; y++, i += this.wide) {
        if (this.bits[i] !== on) {
          on = this.bits[i];
          runs.push(0);
        }
        runs[runs.length - 1]++;
      }
      // The ground between two columns of the box.
      const gap = x + 1 < this.wide ? height - this.tall : (width - this.box[2]) * height + height - this.box[3];
      if (gap && on) {
        on = 0;
        runs.push(0);
      }
      runs[runs.length - 1] += gap;
    }
    return { size: [height, width], counts: packRuns(runs) };
  }

  // A canvas of it in a colour with a rim, made smaller where the screen could not show it all; made once.
  picture(color) {
    if (this.drawn) return this.drawn;
    const step = Math.max(1, Math.ceil(Math.sqrt(this.bits.length / BITMAP_PIXELS)));
    // A pixel of ground around it, so that its rim is seen.
    const [width, height] = [Math.ceil(this.wide / step) + 2, Math.ceil(this.tall / step) + 2];
    const seen = new Uint16Array(width * height);
    for (let y = 1; y < height - 1; y++) {
      for (let x = 1; x < width - 1; x++) seen[y * width + x] = this.bits[Math.min(this.tall - 1, (y - 1) * step) * this.wide + Math.min(this.wide - 1, (x - 1) * step)];
    }
    const words = fillPixels(seen, [0, rgba(color, 120)]);
    outlinePixels(seen, width, height, [0, rgba([255, 255, 255], 255)]).forEach((word, i) => word && (words[i] = word));
    const canvas = document.createElement("canvas");
    putPixels(canvas, width, height, words);
    this.drawn = { canvas, step };
    return this.drawn;
  }
}

// What the server is asked, past its queue: one question at a time, the newest; who asks anew withdraws what they asked before.
class Prompter {
  constructor() {
    Object.assign(this, { model: "", models: [], asking: null });
    window.segDemoPage ||= Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join("-");
    window.addEventListener("pagehide", (event) => event.persisted || this.post("click_ends", [window.segDemoPage], { keepalive: true }).catch(() => {}));
  }

  async post(name, data, options = {}) {
    const { root = "", api_prefix: prefix = "/gradio_api" } = window.gradio_config || {};
    const key = window.segDemoVisitor ? { "x-seg-demo-key": window.segDemoVisitor } : {};
    const headers = { "Content-Type": "application/json", ...key };
    const answer = await fetch(`${root}${prefix}/run/${name}`, { method: "POST", headers, body: JSON.stringify({ data }), ...options });
    const found = await answer.json().catch(() => ({}));
    return found.data ? found.data[0] : { error: found.error || found.detail || "HTTP " + answer.status };
  }

  // The menu's models; the one that was chosen stays.
  async list() {
    const { models = [] } = await this.post("click_models", []);
    this.models = models;
    const first = models.find((model) => model.prompts.includes("clicks")) || models[0];
    if (!this.model && first) this.model = first.id;
  }

  // Whether the model takes clicks, or words; of a model that is not on the menu nobody knows before it has answered.
  takes(kind) {
    const row = this.models.find((model) => model.id === this.model);
    return !row || row.prompts.includes(kind);
  }

  withdraw() {
    if (this.asking) this.asking.abort();
    this.asking = null;
  }

  // The answer to a prompt; null for one that was withdrawn. A picture that the server has no more is sent again. For a preview no object is
  // looked at closely, however small it is.
  async ask(work, prompt, preview = false) {
    this.withdraw();
    const mine = (this.asking = new AbortController());
    try {
      for (let tries = 0; ; tries++) {
        work.place ||= work.value.image.path;
        const answer = await this.post("click", [work.place, this.model, prompt ? JSON.stringify(prompt) : "", window.segDemoPage, preview ? "preview" : ""], { signal: mine.signal });
        if (!answer.gone || tries) return answer.gone ? { error: say("failedOpen") } : answer;
        work.place = (await upload(new File([work.image], "picture"))).path;
      }
    } catch (error) {
      if (error.name === "AbortError") return null;
      return { error: say("noModelAnswer") };
    } finally {
      if (this.asking === mine) this.asking = null;
    }
  }
}

class Clicks {
  // `host` (the editor): work, layer, task, background, tools, tell(text), shown(id), changed(change), refreshClicks(), redraw(), nameOf(id).
  constructor(host) {
    Object.assign(this, { host, prompter: new Prompter(), adding: true, over: null });
    this.reset();
  }

  reset() {
    const looks = Boolean(this.looked && this.looked.done);
    if (!looks) this.prompter.withdraw();
    clearTimeout(this.resting);
    // `steps`: { points, box, found } after every click; `start`: { id, shape, mask }, what lay under the first; `busy`: the answer that is awaited.
    Object.assign(this, { steps: [], start: null, texts: null, ghost: null, drag: null, busy: looks ? this.busy : null, hovered: null });
  }

  get last() {
    return this.steps[this.steps.length - 1] || null;
  }

  // Whether something is shown, or asked, that has not been taken.
  get pending() {
    return this.steps.length > 0;
  }

  // Whether what belongs to others is painted over; where every pixel has a class there is nothing else to paint on.
  get overOthers() {
    return this.over ?? (this.host.task === "semantic" && this.host.background === null);
  }

  // Chosen with the tool: the models, and the picture looked at before the first click.
  async begin() {
    const { work } = this.host;
    // Whoever clicks before the models are known waits for them.
    if (!this.prompter.models.length) await (this.listing ||= this.prompter.list().catch(() => {}));
    this.listing = null;
    this.host.refreshClicks();
    this.look(work);
  }

  // Once for a picture and a model: whoever clicks meanwhile waits for it, for it would have to be done again.
  look(work) {
    const { model } = this.prompter;
    if (!model || this.host.work !== work || (this.looked && this.looked.work === work && this.looked.model === model)) return;
    const looked = { work, model, done: this.wait(this.prompter.ask(work, null)) };
    this.looked = looked;
    looked.done = looked.done.then((answer) => {
      looked.done = null;
      if (this.looked !== looked) return;
      if (!answer || answer.error) this.looked = null;
      if (answer && answer.error) this.problem = answer.error;
      this.host.refreshClicks();
    });
  }

  // Shown as under way until it has come.
  async wait(promise) {
    const mine = (this.busy = promise);
    this.host.refreshClicks();
    const answer = await promise;
    if (this.busy === mine) this.busy = null;
    return answer;
  }

  useModel(id) {
    this.prompter.withdraw();
    Object.assign(this, { looked: null, problem: null });
    this.reset();
    this.prompter.model = id;
    this.host.redraw();
    this.look(this.host.work);
  }

  // What lies at a point and is corrected by clicks there, or the object that a person has chosen.
  under(point) {
    const { layer, tools, task } = this.host;
    const id = tools.idAt(point);
    if (id === null) return null;
    if (task !== "instance") {
      if (id !== tools.label || id === tools.nothing || id === IGNORE) return null;
      return { id, shape: Shape.ofArea(layer, Math.floor(point[0]), Math.floor(point[1])) };
    }
    if (!tools.objects) return null; // pixels to ignore
    const target = tools.isObject(id) ? id : tools.target;
    const shape = target === null ? null : Shape.ofObject(layer, target);
    return shape && { id: target, shape };
  }

  startOf(point) {
    const start = point && !this.host.tools.fresh ? this.under(point) : null;
    if (start) start.mask = start.shape.pack(this.host.layer.width, this.host.layer.height);
    return start;
  }

  // The object that is corrected is the selected one meanwhile.
  begins(start) {
    const { tools } = this.host;
    const { chosen } = tools;
    this.start = start;
    if (start) tools.pick(start.id);
    tools.chosen = chosen;
  }

  // A prompt for what has been clicked: with the mask that is shown, or the one that it started from.
  prompt(points, box, start) {
    const found = this.last && this.last.found;
    const mask = found ? found[0].segmentation : start && start.mask;
    const object = { points: points.map(([x, y]) => [x, y]), labels: points.map((point) => point[2]), ...(box ? { box } : {}), ...(mask ? { mask } : {}) };
    return { objects: [object] };
  }

  shapesOf(answer) {
    const found = (answer.segments || []).filter((row) => row.area);
    return found.map((row) => {
      const [x, y, wide, tall] = row.bbox;
      return { ...row, shape: Shape.unpack(row.segmentation.counts, [x, y, x + wide, y + tall], this.host.layer.height) };
    });
  }

  // A click in the picture; `label` 1 adds, 0 takes away.
  click(point, label) {
    const { layer } = this.host;
    if (!this.prompter.takes("clicks")) return this.host.tell(say(this.prompter.takes("examples") ? "examplesOnly" : "wordsOnly"));
    if (!this.host.tools.inside(point)) return;
    const place = [Math.min(layer.width - 0.001, point[0]), Math.min(layer.height - 0.001, point[1]), label];
    if (this.texts) this.settle();
    if (!this.pending) this.begins(this.startOf(point));
    const points = [...(this.last ? this.last.points : []), place];
    if (!this.start && !(this.last && this.last.box) && !points.some((each) => each[2])) return this.host.tell(say("addFirst"));
    const { ghost } = this;
    const same = ghost && ghost.label === label && !ghost.coarse && Math.floor(ghost.point[0]) === Math.floor(point[0]) && Math.floor(ghost.point[1]) === Math.floor(point[1]);
    this.quiet();
    if (same) return this.show(points, this.last ? this.last.box : null, ghost.found);
    this.answer(points, this.last ? this.last.box : null);
  }

  box(a, b) {
    const { width, height } = this.host.layer;
    const side = (i, most, pick) => Math.min(most, Math.max(0, pick(a[i], b[i])));
    const box = [side(0, width, Math.min), side(1, height, Math.min), side(0, width, Math.max), side(1, height, Math.max)];
    const { prompter } = this;
    if (!prompter.takes("clicks") && !prompter.takes("examples")) return this.host.tell(say("wordsOnly"));
    if (box[2] - box[0] < 1 || box[3] - box[1] < 1) return;
    if (!prompter.takes("clicks")) return this.words("", box);
    if (this.texts) this.settle();
    if (!this.pending) this.begins(this.host.tools.target !== null ? this.startOf(a) : null);
    this.quiet();
    this.answer(this.last ? this.last.points : [], box);
  }

  async answer(points, box) {
    const { work } = this.host;
    const step = { points, box, found: this.last && this.last.found, waits: true };
    const prompt = this.prompt(points, box, this.start);
    this.steps.push(step);
    this.host.redraw();
    const answer = await this.wait(this.asked(work, prompt));
    if (!this.steps.includes(step) || this.host.work !== work) return;
    step.waits = false;
    if (answer === null) return; // a later click asks for this one, too
    if (answer.error) {
      this.steps.splice(this.steps.indexOf(step));
      if (!this.pending) this.start = null;
      this.host.tell(answer.error);
    } else {
      const found = this.shapesOf(answer);
      this.problem = null;
      if (found.length) step.found = found;
      else this.host.tell(answer.notes?.[0] || say("nothingThere"));
    }
    this.host.redraw();
  }

  async asked(work, prompt) {
    if (this.listing) await this.listing;
    if (this.looked && this.looked.done) await this.looked.done;
    return this.prompter.ask(work, prompt);
  }

  show(points, box, found) {
    this.steps.push({ points, box, found, waits: false });
    this.host.redraw();
  }

  // The box that is drawn, which may be an example of what to find.
  get example() {
    return this.last && this.last.box && this.prompter.takes("examples") ? this.last.box : null;
  }

  // Everything that words mean, or that is like what is in a box, or both.
  async words(text, box = this.example) {
    const { work } = this.host;
    this.drop();
    this.texts = text || true;
    const step = { points: [], box, found: null, waits: true };
    this.steps.push(step);
    this.host.redraw();
    // By itself, a box outlines one object for a model that is clicked: SAM 3 calls what is like it "visual".
    const name = text || (this.prompter.takes("clicks") ? "visual" : "");
    const answer = await this.wait(this.asked(work, box ? { objects: [{ box, text: name }] } : { text: [text] }));
    if (!this.steps.includes(step) || answer === null) return;
    step.waits = false;
    const found = answer.error ? [] : this.shapesOf(answer);
    if (found.length) step.found = found;
    else {
      this.drop();
      this.host.tell(answer.error || answer.notes?.[0] || say("nothingThere"));
    }
    this.host.redraw();
  }

  // Where the pointer is: once it rests, what a click there would mean is shown.
  hover(point, label) {
    const rests = this.hovered && this.host.near(point, this.hovered.point, 2) && this.hovered.label === label;
    if (rests) return;
    this.quiet();
    this.hovered = { point, label };
    if (this.texts || !this.host.tools.inside(point)) return;
    this.resting = setTimeout(() => this.preview(point, label), REST_MS);
  }

  async preview(point, label) {
    const { work } = this.host;
    if (this.busy || (this.looked && this.looked.done) || !this.prompter.model || this.problem || !this.prompter.takes("clicks")) return;
    const start = this.pending ? this.start : this.startOf(point);
    if (!label && !start && !this.pending) return;
    const asked = this.hovered;
    const points = [...(this.last ? this.last.points : []), [...point, label]];
    const answer = await this.prompter.ask(work, this.prompt(points, this.last && this.last.box, start), true);
    if (!answer || answer.error || this.hovered !== asked || this.host.work !== work) return;
    const found = this.shapesOf(answer);
    if (found.length) this.ghost = { point, label, found, coarse: answer.coarse };
    this.host.redraw();
  }

  // The pointer moves on, or something else is asked.
  quiet() {
    clearTimeout(this.resting);
    if (!this.busy) this.prompter.withdraw();
    const had = this.ghost;
    Object.assign(this, { hovered: null, ghost: null });
    if (had) this.host.redraw();
  }

  // One click back.
  back() {
    this.prompter.withdraw();
    this.busy = null;
    this.steps.pop();
    if (!this.pending) this.reset();
    this.host.redraw();
  }

  drop() {
    this.reset();
    this.host.redraw();
  }

  // What is shown becomes part of the mask, by one change. Pixels of others stay theirs, unless a person wants otherwise.
  async take() {
    const moment = () => new Promise((done) => setTimeout(done, 20));
    while (this.last && this.last.waits) await moment();
    while (this.host.tools.stroke) await moment(); // a change of another tool ends first
    if (this.pending) this.settle();
  }

  // As `take`, of what has been answered.
  settle() {
    const found = this.last && this.last.found;
    const { start } = this;
    this.reset();
    if (!found) return this.host.redraw();
    const { layer, tools } = this.host;
    const before = tools.object;
    for (const { shape } of found) {
      const kept = start && tools.objects ? start.id : null;
      const id = kept ?? (tools.objects ? tools.newObject() : tools.label);
      if (start) this.lose(start, shape);
      if (kept !== null && layer.objects.get(kept) !== tools.label) layer.setObject(kept, tools.label);
      const free = [tools.nothing, id, start ? start.id : id];
      const all = this.overOthers || id === tools.nothing;
      let got = 0;
      shape.rows((y, from, to) => {
        const row = y * layer.width;
        for (let x = from; x < to; x++) {
          const first = x;
          while (x < to && (all || free.includes(layer.ids[row + x]))) x++;
          if (x > first) layer.span(y, first, x, id);
          got += x - first;
        }
      });
      // No object without a pixel stays behind.
      if (!got && kept === null && tools.objects) layer.setObject(id, null);
    }
    const changed = tools.finish();
    if (start && tools.objects) tools.object = start.id;
    else if (!changed) tools.object = before;
    tools.chosen = tools.fresh = false;
    if (!changed) this.host.tell(say(start ? "nothingChanged" : "othersGround"));
    this.host.redraw();
  }

  // What was under the clicks and is not in the new shape belongs to nobody.
  lose(start, shape) {
    const { layer, tools } = this.host;
    start.shape.rows((y, from, to) => {
      for (let x = from; x < to; x++) {
        const first = x;
        while (x < to && !shape.has(x, y)) x++;
        if (x > first) layer.span(y, first, x, tools.nothing);
      }
    });
  }

  // --- what the tools do with the pointer

  down(point, negative) {
    this.drag = { from: point, to: point, label: negative || !this.adding ? 0 : 1 };
  }

  move(point) {
    if (this.drag) this.drag.to = point;
  }

  up() {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    if (this.host.near(drag.from, drag.to, DRAG)) this.click(drag.from, drag.label);
    else this.box(drag.from, drag.to);
  }

  // On the top canvas: shapes, points, the box.
  draw(context, toStage, twice) {
    const shapes = (found, alpha) => {
      context.globalAlpha = alpha;
      for (const { shape } of found || []) {
        const { canvas, step } = shape.picture(FOUND);
        const [left, top] = toStage([shape.box[0] - step, shape.box[1] - step]);
        const [right, bottom] = toStage([shape.box[0] + (canvas.width - 1) * step, shape.box[1] + (canvas.height - 1) * step]);
        context.imageSmoothingEnabled = false;
        context.drawImage(canvas, left, top, right - left, bottom - top);
      }
      context.globalAlpha = 1;
    };
    if (this.ghost) shapes(this.ghost.found, 0.6);
    else shapes(this.last && this.last.found, 1);
    const box = this.drag && !this.host.near(this.drag.from, this.drag.to, DRAG) ? [...this.drag.from, ...this.drag.to] : this.last && this.last.box;
    if (box) {
      const path = new Path2D();
      const [[x0, y0], [x1, y1]] = [toStage(box.slice(0, 2)), toStage(box.slice(2))];
      path.rect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
      context.setLineDash([6, 4]);
      twice(path);
      context.setLineDash([]);
    }
    for (const [x, y, label] of this.last ? this.last.points : []) {
      const [sx, sy] = toStage([x, y]);
      const dot = new Path2D();
      dot.arc(sx, sy, 6, 0, 2 * Math.PI);
      context.fillStyle = label ? "#15803d" : "#b91c1c";
      context.fill(dot);
      context.lineWidth = 1.5;
      context.strokeStyle = "#fff";
      context.stroke(dot);
      context.stroke(new Path2D(label ? `M${sx - 3} ${sy}h6M${sx} ${sy - 3}v6` : `M${sx - 3} ${sy}h6`));
    }
  }
}

// What stands beside the picture while the click tool is chosen: the model, words, what is clicked, and large buttons for fingers.
class ClickPanel {
  constructor(root, host) {
    const find = (name) => root.querySelector(".se-" + name);
    for (const name of ["prompter", "prompterid", "words", "plus", "minus", "over", "take", "drop", "everything", "which", "clickstate"]) this[name] = find(name);
    const { clicks } = host;
    this.words.elements[0].placeholder = say("wordsHint");
    this.prompter.addEventListener("change", () => {
      const typed = this.prompter.value === OTHER_MODEL;
      this.prompterid.hidden = !typed;
      if (typed) this.prompterid.focus();
      else clicks.useModel(this.prompter.value);
    });
    this.prompterid.addEventListener("change", () => this.prompterid.value.trim() && clicks.useModel(this.prompterid.value.trim()));
    this.words.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.words.elements[0].value.trim();
      if (text || clicks.example) clicks.words(text);
    });
    const mode = (adding) => {
      clicks.adding = adding;
      this.show(host);
    };
    this.plus.addEventListener("click", () => mode(true));
    this.minus.addEventListener("click", () => mode(false));
    this.over.addEventListener("change", () => (clicks.over = this.over.checked));
    this.take.addEventListener("click", () => clicks.take());
    this.drop.addEventListener("click", () => clicks.drop());
    this.everything.addEventListener("click", () => trigger("everything", { model: clicks.prompter.model }));
  }

  // Only what has changed is written: the page would be laid out anew with every move of the pointer.
  show(host) {
    const { clicks, tools } = host;
    const { prompter } = clicks;
    if (this.listed !== prompter.models) {
      this.listed = prompter.models;
      const options = prompter.models.map((row) => new Option((row.available ? "" : "○ ") + row.title, row.id));
      this.prompter.replaceChildren(...options, new Option(say("typedModel"), OTHER_MODEL));
      this.prompter.value = prompter.models.some((row) => row.id === prompter.model) ? prompter.model : OTHER_MODEL;
      this.prompterid.hidden = this.prompter.value !== OTHER_MODEL;
    }
    this.words.hidden = !prompter.takes("words");
    const hint = say(clicks.example ? "exampleHint" : "wordsHint");
    if (this.words.elements[0].placeholder !== hint) this.words.elements[0].placeholder = hint;
    this.everything.disabled = !prompter.model || !prompter.takes("clicks");
    this.plus.setAttribute("aria-pressed", String(clicks.adding));
    this.minus.setAttribute("aria-pressed", String(!clicks.adding));
    this.over.checked = clicks.overOthers;
    const { last } = clicks;
    this.take.disabled = !last || !last.found;
    this.drop.disabled = !clicks.pending;
    // Which object a click would change.
    const target = clicks.pending ? clicks.start && clicks.start.id : tools.objects ? tools.target : null;
    const name = host.task === "instance" ? (target === null ? say("newObject") : host.nameOf(target)) : host.work.name(tools.label);
    const state = clicks.busy ? say("looksAt") : last && last.found ? this.scored(last.found) : clicks.problem || say(clicks.pending ? "looksAt" : "clickHelp");
    for (const [node, text] of [[this.which, name], [this.clickstate, state]]) if (node.textContent !== text) node.textContent = text;
  }

  scored(found) {
    if (found.length > 1) return counted("objects", found.length);
    return say("sureOfIt").replace("{score}", number(Math.round(found[0].score * 100)));
  }
}

// Runs once per editor, of which there is one to correct masks in and one to click in (`props.kind`), with gradio's `element`, `props`, `watch`, `trigger`, `upload` and `server`; the files editor_*.js (and
// viewer_text.js, viewer_ids.js, viewer_view.js) come before it in the same scope.

const root = element.querySelector(".se");
const find = (name) => root.querySelector(".se-" + name);
const stage = find("stage");
const MOST_SIZE = 600; // of the brush, in image pixels

const editor = {
  root, work: null, pending: null, drafts: new Drafts(props.kind === "click" ? "seg-demo-click" : "seg-demo-editor"), keeping: true, answer: null, patience: null, said: 0,
  get layer() { return this.work.layer; },
  get ready() { return this.work !== null; },
  get task() { return this.work.value.task; },
  get background() { return this.work.value.background; },
  near: (a, b, reach = 10) => Math.hypot(a[0] - b[0], a[1] - b[1]) * view.scale < reach,
  firstThing() { return (this.work.classes.find((row) => row.id !== this.background && row.id !== IGNORE) || this.work.classes[0]).id; },
  regions() { return regions.of(this.work, Number(find("patches").value)); },
  // Somebody works; `said`: how much had been said before they did, so that what they are told now stays.
  active(said = this.said) {
    this.work.tick();
    if (said === this.said) passed();
  },
  // `offer`: [words of a button, what it does].
  tell(text, offer = null) { notice(text, offer, null, true); },
  position() { return this.work.position; },
  nameOf(id) { return this.work.name(this.layer.objects.get(id)) + " #" + id; },
  shown(id) { screen.setColor(id, objectColor(id)); },

  // A stroke has ended: it is kept in the browser before the next one begins.
  changed(change) {
    const { work } = this;
    passed();
    // What was saved, is being saved, or was counted can no longer be reached by undo and redo.
    if (work.position < work.saved) work.saved = -1;
    if (work.position < this.answer) this.answer = -1;
    if (work.counted !== null && work.position < work.counted) work.counted = -1;
    work.history.push(change);
    work.strokes++;
    work.tick();
    this.keep(change);
    this.refresh();
  },
  // A change that could not be kept ends the draft there: what follows would not fit to it.
  keep(change) {
    if (!this.keeping) return;
    const { head } = this.work;
    this.drafts.write(head, head.position - 1, change).catch(() => this.noDraft());
  },
  noDraft() {
    if (this.keeping) notice(say("noAutosave"));
    this.keeping = false;
  },
  // Of clicks that have not been taken, and of corners of a polygon that is not closed, the last one.
  undo() {
    if (this.clicks.pending) return this.clicks.back();
    if (!this.tools.corners.length) return this.step("undo");
    this.tools.corners.pop();
    this.redraw();
  },
  redo() { if (!this.clicks.pending) this.step("redo"); },
  step(way) {
    this.tools.cancel();
    input.penDown = false;
    passed();
    this.work.history[way]();
    if (this.layer.objects) for (const id of this.layer.objects.keys()) this.shown(id);
    if (this.tools.object !== null && this.layer.objects && !this.layer.objects.has(this.tools.object)) this.tools.object = null;
    this.keep(null);
    this.refresh();
  },
  // A key in the middle of a stroke: what was begun never was, or it would go on with what the key has taken away.
  breakOff() {
    if (this.tools.stroke) this.tools.interrupt();
    input.penDown = false;
  },
  use(tool) {
    if (OBJECTS_ONLY.includes(tool) && this.task !== "instance") return;
    this.breakOff();
    passed();
    if (!["click", "pan"].includes(tool) && this.clicks.pending) this.clicks.take(); // what is shown is not lost, and one undo takes it back
    this.tools.choose(tool);
    if (tool === "region") this.regions();
    if (tool === "click") this.clicks.begin();
    this.selected();
  },
  resize(factor) {
    const next = this.tools.size * factor;
    setSize(Math.abs(next - this.tools.size) < 1 ? this.tools.size + Math.sign(factor - 1) : next);
  },
  pickIndex(index) {
    const row = this.work.classes[index];
    if (!row) return;
    this.breakOff();
    pickClass(row.id);
  },
  removeSelected() {
    this.breakOff();
    if (this.clicks.pending) this.clicks.drop();
    if (this.task === "instance" && this.tools.object !== null) this.tools.remove(this.tools.object);
  },
  save() { save(); },

  // Lists and buttons after a tool, a class or an object was chosen.
  selected() {
    root.dataset.tool = this.tools.tool;
    for (const button of root.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === this.tools.tool));
    panel.mark(find("classes"), this.tools.label);
    panel.mark(find("objects"), this.tools.object);
    const { target } = this.tools;
    // A finger that rests on a button is not told what that does.
    find("help").textContent = (TOUCH ? say(this.tools.tool) + (LANGUAGE === "zh" ? "。" : ". ") : "") + say("editorHelp");
    find("next").textContent = say("nextIs").replace("{name}", target === null ? say("newObject") : this.nameOf(target));
    this.refreshClicks();
    screen.draw("top");
  },

  // What the click tool shows beside the picture, and over it.
  redraw() {
    this.refreshClicks();
    screen.draw("top");
    screen.draw("part");
  },
  refreshClicks() {
    if (!this.ready) return;
    clickPanel.show(this);
    find("undo").disabled = !this.clicks.pending && !this.tools.corners.length && !this.work.history.canUndo;
    find("redo").disabled = this.clicks.pending || !this.work.history.canRedo;
  },

  // What depends on the mask: the list of objects, undo and redo, the facts, and the changed part of the window.
  refresh() {
    const { work } = this;
    this.refreshClicks();
    if (work.layer.objects) {
      const shown = [...work.layer.objects].filter(([id]) => work.layer.counts[id]).sort((left, right) => left[0] - right[0]);
      panel.showObjects(shown.map(([id, label]) => ({ id, name: work.name(label) + " #" + id, color: objectColor(id) })), this.tools.object);
    }
    this.selected();
    screen.draw("part");
    const minutes = Math.floor(work.seconds / 60) + ":" + String(Math.floor(work.seconds % 60)).padStart(2, "0");
    const facts = [work.value.name, number(work.layer.width) + " × " + number(work.layer.height), counted("strokesWord", work.strokes), minutes];
    if (work.value.datasetName) facts.push("→ " + work.value.datasetName);
    if (work.dirty && props.kind !== "click") facts.push(say("unsaved"));
    find("facts").textContent = facts.join(" · ");
    root.dataset.dirty = String(work.dirty);
    prediction.refresh();
    // What was counted below is of this mask as it was.
    root.dataset.stale = String(work.counted !== work.position);
    root.dataset.strokes = String(work.strokes);
  },
};

const view = new View(stage, () => (screen.draw("all"), showPercent()));
const screen = new Screen(root, view, drawTools);
editor.view = view;
editor.screen = screen;
editor.tools = new Tools(editor);
editor.clicks = new Clicks(editor);
const clickPanel = new ClickPanel(root, editor);
const panel = new Panel(root, { pickClass, pickObject, addClass });
const regions = new Regions(askRegions, (text) => notice(text, null, null, text !== say("computing")), () => screen.draw("top"));
const input = new Input(stage, editor);
const prediction = new Prediction(root, editor, askPrediction);
screen.overlay = prediction;

function pickClass(id) {
  passed();
  editor.tools.setLabel(id);
  editor.selected();
}

function pickObject(id) {
  passed();
  if (editor.clicks.pending) editor.clicks.settle();
  editor.tools.pick(id);
}

function addClass(name) {
  const { work } = editor;
  const known = work.classes.find((row) => row.name.toLowerCase() === name.toLowerCase());
  const id = known ? known.id : Math.max(-1, ...work.classes.filter((row) => row.id !== IGNORE).map((row) => row.id)) + 1;
  if (!known) {
    const at = work.classes.findIndex((row) => row.id === IGNORE);
    work.classes.splice(at < 0 ? work.classes.length : at, 0, { id, name, color: objectColor(id) });
    panel.showClasses(work.classes, id, Boolean(work.layer.objects));
    editor.keep(null);
  }
  colour();
  pickClass(id);
}

// All colours, and the whole window in them; what a stroke adds is coloured by `shown`.
function colour() {
  const { work } = editor;
  screen.clearColors();
  screen.setColor(IGNORE, [128, 128, 128]);
  if (work.layer.objects) for (const id of work.layer.objects.keys()) screen.setColor(id, objectColor(id));
  else for (const row of work.classes) if (row.id !== editor.background && row.id !== IGNORE) screen.setColor(row.id, row.color);
  screen.draw("mask");
}

// The logarithm of the brush's size is on the slider: small sizes matter most.
function setSize(size) {
  editor.tools.size = Math.min(MOST_SIZE, Math.max(1, Math.round(size)));
  find("size").value = String((Math.log(editor.tools.size) / Math.log(MOST_SIZE)) * 100);
  find("sizevalue").textContent = number(editor.tools.size);
  screen.draw("top");
}

// What was said about one act goes with the next.
function passed() {
  if (find("notice").dataset.passing) notice("");
}

// `passing`: gone with the next act.
function notice(text, yes, no, passing = false) {
  const bar = find("notice");
  editor.said++;
  bar.hidden = !text;
  bar.dataset.passing = passing ? "yes" : "";
  bar.firstElementChild.textContent = text;
  for (const [name, action] of [["yes", yes], ["no", no]]) {
    const button = find(name);
    button.hidden = !action;
    if (action) button.textContent = action[0];
    button.onclick = () => {
      bar.hidden = true;
      action[1]();
    };
  }
}

async function askPrediction(image, mask) {
  const name = `mask-${crypto.getRandomValues(new Uint32Array(4)).join("-")}.png`;
  const [picture, painted] = await Promise.all([upload(new File([image], "picture")), upload(new File([mask], name, { type: "image/png" }))]);
  const answer = await server.predicted({ path: picture.path, mask: painted.path });
  if (!answer.ids) throw new Error(answer.error);
  return answer;
}

async function askRegions(image, count) {
  const { path } = await upload(new File([image], "picture"));
  const answer = await server.superpixels({ path, count });
  if (!answer.png) throw new Error(answer.error);
  return answer.png;
}

// What the editor shows and does around the drawing: the tools' marks, opening, saving, downloading, restoring.

function drawTools(context, toStage) {
  if (!editor.ready) return;
  const { tools } = editor;
  const at = input.cross || (input.hover && input.image(input.hover));
  const twice = (path) => {
    for (const [style, wide] of [["rgba(0, 0, 0, 0.75)", 3], ["#fff", 1.25]]) {
      Object.assign(context, { strokeStyle: style, lineWidth: wide });
      context.stroke(path);
    }
  };
  const line = new Path2D();
  const points = tools.corners.length ? [...tools.corners, ...(at ? [at] : [])] : tools.stroke && tools.stroke.tool === "cut" ? tools.stroke.points : [];
  points.map(toStage).forEach(([x, y], i) => (i ? line.lineTo(x, y) : line.moveTo(x, y)));
  if (points.length) twice(line);
  // The first one is where a polygon is closed.
  tools.corners.forEach((corner, i) => {
    const dot = new Path2D();
    dot.arc(...toStage(corner), i || tools.corners.length < 3 ? 4 : 8, 0, 2 * Math.PI);
    twice(dot);
  });
  if (tools.tool === "click" || editor.clicks.pending) editor.clicks.draw(context, toStage, twice);
  if (at && ["brush", "eraser"].includes(tools.tool)) {
    const ring = new Path2D();
    ring.arc(...toStage(middleOf(at)), Math.max(1.5, (tools.size / 2) * view.scale), 0, 2 * Math.PI);
    twice(ring);
  }
  if (input.cross) {
    const [x, y] = toStage(input.cross);
    const cross = new Path2D(`M${x - 12} ${y}h8m8 0h8M${x} ${y - 12}v8m0 8v8`);
    twice(cross);
  }
}

// Written only when it changes: the page would be laid out anew with every frame of a stroke.
function showPercent() {
  const text = Math.round((view.scale / view.fitScale) * 100) + " %";
  if (find("percent").textContent !== text) find("percent").textContent = text;
}

// The document on the screen; `restored` says that it was found in the browser.
async function show(work, restored) {
  await screen.setPicture(work.image);
  editor.work = work;
  editor.clicks.reset();
  editor.tools.cancel();
  screen.layer = work.layer;
  const writable = Boolean(work.value.writable);
  root.dataset.state = "open";
  root.dataset.task = work.value.task;
  root.dataset.doc = work.value.doc;
  stage.style.setProperty("--ratio", String(work.layer.width / work.layer.height));
  for (const part of ["bar", "side", "foot", "help"]) find(part).hidden = false;
  find("save").hidden = !writable;
  Object.assign(editor.tools, { tool: "brush", object: null, chosen: false, label: editor.firstThing() });
  panel.showClasses(work.classes, editor.tools.label, Boolean(work.layer.objects));
  setSize(Math.max(3, Math.round(Math.max(work.layer.width, work.layer.height) / 40)));
  view.setImage(work.layer.width, work.layer.height);
  colour();
  editor.refresh();
  if (props.kind === "click") editor.use("click");
  if (restored && work.dirty) notice(say("restored"), [say("discard"), discard], null);
  else notice([...(work.value.notes || []), ...(writable || props.kind === "click" ? [] : [say("keptHere")]), ...(editor.keeping ? [] : [say("noAutosave")])].join("\n"), null, null, true);
  tellQueue("se-opened", {});
}

async function open(value) {
  editor.pending = null;
  const old = editor.work;
  const strokes = old && old.strokes;
  const work = await Work.open(value);
  if (props.value && props.value.doc && props.value.doc !== value.doc) return; // a later one overtook this
  if (old && old === editor.work && old.strokes !== strokes && old.dirty) return askFirst(value); // drawn on while this one came
  if (editor.work) await editor.drafts.drop(editor.work.value.doc).catch(() => {});
  await claim(value.doc);
  editor.keeping = true;
  // Before anything is drawn on it, so that the changes that follow find what they change.
  const record = { doc: value.doc, value, image: work.image, ids: work.layer.ids.slice() };
  await editor.drafts.begin(record, work.head).catch(() => editor.noDraft());
  await show(work, false);
  if (value.original) {
    work.original = fetch(value.original.url).then(answerBlob);
    work.original.then((blob) => editor.drafts.keepOriginal(value.doc, blob)).catch(() => {});
  }
}

async function discard() {
  await editor.drafts.drop(editor.work.value.doc).catch(() => {});
  editor.work = null;
  screen.layer = null;
  root.dataset.state = "empty";
  root.dataset.dirty = "false";
  for (const part of ["bar", "side", "foot", "help", "notice"]) find(part).hidden = true;
}

const PATIENCE_MS = 90000; // a server that has not answered by then may have died

// `into`: a dataset that the person named, where another one than the document's has been chosen meanwhile.
async function save(into) {
  const { work } = editor;
  if (!work || !work.value.writable || find("save").disabled) return;
  notice("");
  editor.tools.cancel();
  work.tick();
  busy(true);
  await editor.clicks.take();
  try {
    editor.answer = work.position;
    // A name that no other visitor's has: the server stores equal files of equal names once, and deletes this one when it is done.
    const name = `mask-${crypto.getRandomValues(new Uint32Array(4)).join("-")}.png`;
    const mask = await upload(new File([await work.png()], name, { type: "image/png" }));
    const image = work.stem === null ? await upload(await work.originalFile()) : null;
    editor.patience = setTimeout(() => (busy(false), left(false), notice(say("noAnswer"), null, null, true)), PATIENCE_MS);
    trigger("save", { ...work.facts(), mask: mask.path, image: image && image.path, ...(into ? { into } : {}) });
  } catch (error) {
    console.error(error);
    busy(false);
    left(false);
    notice(say("tooLarge") + " " + error.message, null, null, true);
  }
}

// Another picture of a queue is to be opened: what is drawn is saved first. Resolves to whether it may be; the notice says why not.
function leave() {
  const { work } = editor;
  if (!work || !work.value.writable || !(work.dirty || editor.clicks.pending)) return true;
  return new Promise((resolve) => {
    editor.leaving = resolve;
    save();
  });
}

function left(may) {
  const resolve = editor.leaving;
  editor.leaving = null;
  if (resolve) resolve(may);
}

// For the queue, which stands elsewhere on the page.
function tellQueue(name, facts) {
  root.dispatchEvent(new CustomEvent(name, { bubbles: true, detail: { queue: editor.work ? editor.work.value.queue : null, ...facts } }));
}

function busy(on) {
  clearTimeout(editor.patience);
  find("save").disabled = on;
  find("save").textContent = say(on ? "saving" : "save");
}

// The server's answer to a save: { doc, stem, place }; { doc, failed, why }; or { doc, failed, asks, place, other, chosen }.
function answered({ doc, stem, failed, asks, place, other, chosen, why }) {
  busy(false);
  const { work } = editor;
  if (asks || failed || !work || work.value.doc !== doc) left(false);
  if (!work || work.value.doc !== doc) return;
  if (asks) return askWhere(place, other, chosen);
  if (failed) return notice(say("notSaved") + (why ? " " + why : ""), null, null, true);
  work.stem = stem;
  if (place) Object.assign(work.value, { dataset: place.key, datasetName: place.name });
  work.saved = editor.answer;
  editor.keep(null);
  editor.refresh();
  notice(work.dirty ? "" : say("saved"), null, null, true);
  find("live").textContent = say("saved");
  tellQueue("se-saved", { dataset: work.value.dataset, stem });
  left(true);
}

// Another dataset has been chosen since the image was opened: nothing is guessed.
function askWhere(place, other, chosen) {
  const to = (target) => [say("saveTo").replace("{name}", target.name), () => save(target.key)];
  const text = say(place ? (chosen ? "whichDataset" : "openedFor") : "datasetGone");
  const said = text.replace("{opened}", place ? place.name : "").replace("{chosen}", chosen || "");
  const keep = [say("keep"), () => {}];
  if (place && other) notice(said, to(other), to(place));
  else notice(said, to(place || other), keep);
}

// What the server makes a result of: the picture and the mask as it is now, and what is known of it.
async function drawing(work) {
  const name = `mask-${crypto.getRandomValues(new Uint32Array(4)).join("-")}.png`;
  const mask = await upload(new File([await work.png()], name, { type: "image/png" }));
  const image = work.stem === null ? await upload(await work.originalFile()) : null;
  const colors = work.classes.filter((row) => row.id !== IGNORE).map((row) => row.color);
  return { ...work.facts(), colors, mask: mask.path, image: image && image.path };
}

// The mask goes to the server as it is now, and comes back as a result below the editor; nothing is saved by that.
async function count() {
  const { work } = editor;
  if (!work || find("count").disabled) return;
  notice("");
  editor.tools.cancel();
  counting(true);
  await editor.clicks.take();
  try {
    const { position, strokes } = work;
    const sent = await drawing(work);
    work.counted = work.strokes === strokes ? position : -1;
    trigger("submit", sent);
  } catch (error) {
    console.error(error);
    countAnswered({ doc: work.value.doc, why: say("tooLarge") + " " + error.message });
  }
}

function counting(on) {
  find("count").disabled = on;
  find("count").textContent = say(on ? "counting" : "countObjects");
}

// The server's answer: the result is in the viewer below, or there is none, and why.
function countAnswered({ doc, why }) {
  counting(false);
  const { work } = editor;
  if (!work || work.value.doc !== doc) return;
  if (why) return notice(say("notCounted") + " " + why, null, null, true);
  editor.refresh();
  document.querySelector("#corrected").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

async function downloadMask() {
  await editor.clicks.take();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await editor.work.png());
  link.download = editor.work.value.name.replace(/[^\p{L}\p{N}._-]+/gu, "-") + "_mask.png";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function receive(value) {
  if (!value) return null;
  if (value.answer) return answered(value.answer);
  if (value.counted) return countAnswered(value.counted);
  if (value.refusal) {
    tellQueue("se-refused", {});
    return notice(value.refusal.text, null, null, true);
  }
  if (editor.work && editor.work.value.doc === value.doc) return null;
  if (editor.work && editor.clicks.pending) editor.clicks.settle();
  if (editor.work && editor.work.dirty) return askFirst(value);
  return attempt(open(value));
}

function askFirst(value) {
  editor.pending = value;
  return notice(editor.work.value.name + ": " + say("busyDrawing"), [say("openAnyway"), () => attempt(open(editor.pending))], [say("keep"), () => {}]);
}

function attempt(promise) {
  return promise.catch((error) => {
    console.error(error);
    notice(say("failedOpen"), null, null, true);
  });
}

function connect() {
  translate(root);
  root.dataset.kind = props.kind;
  if (props.kind === "click") for (const part of ["Title", "Text"]) root.querySelector(`[data-text=open${part}]`).textContent = say("click" + part);
  for (const button of root.querySelectorAll("button[data-tool]")) button.addEventListener("click", () => editor.use(button.dataset.tool));
  const click = (name, act) => find(name).addEventListener("click", act);
  click("create", () => editor.tools.create());
  click("undo", () => editor.undo());
  click("redo", () => editor.redo());
  click("in", () => view.zoomBy(1.5));
  click("out", () => view.zoomBy(1 / 1.5));
  click("fit", () => view.fit());
  click("save", () => save());
  // The server's answer never came, whatever the reason: the page's own events tell.
  root.saveFailed = () => {
    if (!find("save").disabled) return;
    busy(false);
    left(false);
    notice(say("notSaved"), null, null, true);
  };
  root.leave = leave;
  click("count", count);
  // Asked by whatever makes files of it; null where there is none.
  root.drawing = async () => {
    if (!editor.work) return null;
    await editor.clicks.take();
    return drawing(editor.work);
  };
  root.countFailed = () => find("count").disabled && countAnswered({ doc: editor.work?.value.doc, why: say("noAnswer") });
  click("download", downloadMask);
  click("full", () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()));
  find("full").hidden = !document.fullscreenEnabled;
  find("size").addEventListener("input", (event) => setSize(MOST_SIZE ** (event.target.value / 100)));
  find("patches").addEventListener("change", () => editor.regions());
  const opacity = () => (find("fillmap").style.opacity = find("opacity").value / 100);
  find("opacity").addEventListener("input", opacity);
  opacity();
  new ResizeObserver(() => editor.ready && (view.fitted ? view.fit() : view.settle())).observe(stage);
  // Closing the page with strokes that no draft keeps: the browser asks.
  window.addEventListener("beforeunload", (event) => editor.ready && editor.work.dirty && !editor.keeping && event.preventDefault());
}

async function restore() {
  const found = await editor.drafts.latest().catch(() => editor.noDraft());
  if (found && !editor.work) await show(Work.restore(found), true);
}

connect();
watch("value", () => receive(props.value));
if (props.value) receive(props.value);
else attempt(restore());

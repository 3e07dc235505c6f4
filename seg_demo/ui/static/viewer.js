// Runs once per viewer with gradio's `element`, `props` and `watch`; the files viewer_*.js come before it in the same scope.

const root = element.querySelector(".sv");
const find = (name) => root.querySelector(".sv-" + name);
const stage = find("stage");
const layers = find("layers");
const split = find("split");
const tip = find("tip");
const PIXEL_BUDGET = 2000000; // of one canvas; a denser screen gets its canvases stretched

let result = null; // what the server sent, with lookups added
let latest; // what it sent last that was not too late: shown, or on its way to be; undefined before the first
let ids = null; // the id map
let base = null; // the picture as an ImageBitmap
let seen = null; // ids under the canvas pixels, and the canvas size
let lit = null; // array of ids that glow, or null
let stepped = -1; // position of the segment that N and P reached
let queued = false;
let previewed = null; // what is shown in place of a result

const view = new View(stage, () => redraw(true));
const notes = new Notes(root, () => clear());
const doubt = new Doubt(root, () => trigger("select"), () => redraw(false));
const why = new Why(root, () => trigger("input"), () => redraw(false));
const legend = new Legend(root, () => redraw(false), (members) => { tip.hidden = true; highlight(members); });

// One redraw per frame however many events came; `moved` asks for the ids under the window anew.
function redraw(moved) {
  if (moved) seen = null;
  if (queued || !result) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    draw();
  });
}

function draw() {
  const { clientWidth: w, clientHeight: h } = stage;
  if (!w || !h || !result) return;
  const density = Math.min(window.devicePixelRatio || 1, Math.sqrt(PIXEL_BUDGET / (w * h)));
  const width = Math.max(1, Math.round(w * density));
  const height = Math.max(1, Math.round(h * density));
  if (!seen) {
    seen = { ids: sampleIds(ids, view, width, height, density), width, height, density };
    drawBase(width, height, density);
    drawScale();
    find("percent").textContent = Math.round((view.scale / view.fitScale) * 100) + " %";
  }
  const fill = new Uint32Array(65536);
  const line = new Uint32Array(65536);
  for (const segment of result.segments) {
    if (legend.hidden.has(segment.id)) continue;
    fill[segment.id] = rgba(segment.color, 255);
    line[segment.id] = rgba(segment.color.map((value) => Math.round(value * 0.75 + 64)), 255);
  }
  putPixels(find("fill"), seen.width, seen.height, fillPixels(seen.ids, fill));
  const outlines = find("outlines").getAttribute("aria-pressed") === "true";
  putPixels(find("lines"), seen.width, seen.height, outlines ? outlinePixels(seen.ids, seen.width, seen.height, line) : new Uint32Array(seen.ids.length));
  doubt.draw(find("heat"), view, seen.width, seen.height, seen.density);
  if (why.on) {
    find("heat").style.visibility = "visible";
    why.draw(find("heat"), view, seen.width, seen.height, seen.density);
  }
  drawGlow();
}

function drawBase(width, height, density) {
  const canvas = find("base");
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = view.scale < 4;
  context.imageSmoothingQuality = "high";
  const size = view.scale * density;
  context.drawImage(base, view.x * density, view.y * density, result.width * size, result.height * size);
}

function drawGlow() {
  const canvas = find("glow");
  canvas.style.visibility = lit ? "visible" : "hidden";
  if (!lit || !seen) return;
  const marked = new Uint8Array(65536);
  for (const id of lit) marked[id] = 1;
  putPixels(canvas, seen.width, seen.height, glowPixels(seen.ids, seen.width, seen.height, marked));
}

function highlight(members) {
  const same = lit && members && lit.length === members.length && lit.every((id, i) => id === members[i]);
  if (same || (!lit && !members)) return;
  lit = members;
  drawGlow();
}

function segmentAt([x, y]) {
  const column = Math.min(ids.width - 1, Math.floor((x * ids.width) / result.width));
  const row = Math.min(ids.height - 1, Math.floor((y * ids.height) / result.height));
  return result.byId.get(ids.ids[row * ids.width + column]);
}

function point(x, y) {
  const pixel = result && view.pixelAt(x, y);
  const segment = pixel && segmentAt(pixel);
  // Doubt lies everywhere, also where nothing was found; the glow of a segment would cover it.
  if (pixel && doubt.on) return name(segment, x, y, doubt.at((pixel[0] + 0.5) / result.width, (pixel[1] + 0.5) / result.height));
  if (!segment || legend.hidden.has(segment.id)) return leave();
  highlight([segment.id]);
  name(segment, x, y);
}

function name(segment, x, y, sure = null) {
  const [title, ...facts] = segment ? segmentWords(result, segment) : [say("background")];
  if (sure !== null) facts.push(say("margin") + " " + (sure / 255).toFixed(2));
  tip.firstChild.textContent = title;
  tip.lastChild.textContent = facts.join(" · ");
  tip.hidden = false;
  tip.style.setProperty("--tip", segment ? css(segment.color) : "");
  tip.style.left = Math.max(4, Math.min(x + 14, stage.clientWidth - tip.offsetWidth - 6)) + "px";
  tip.style.top = (y + 18 + tip.offsetHeight > stage.clientHeight ? Math.max(4, y - tip.offsetHeight - 12) : y + 18) + "px";
}

function leave() {
  tip.hidden = true;
  highlight(null);
}

// N and P: the segments in order of area, spoken by the screen reader.
function step(by) {
  const open = result ? result.segments.filter((segment) => !legend.hidden.has(segment.id)) : [];
  if (!open.length) return;
  stepped = (stepped + by + open.length) % open.length;
  highlight([open[stepped].id]);
  name(open[stepped], 0, stage.clientHeight - 90);
  find("live").textContent = segmentWords(result, open[stepped]).join(", ");
}

// Enter: what the segment rests on that N and P have reached, at its pixel nearest to the middle of all of its pixels.
function choose() {
  if (!why.wanted || !lit || lit.length !== 1) return;
  let x = 0, y = 0, n = 0;
  const mine = [];
  for (let place = 0; place < ids.ids.length; place++) {
    if (ids.ids[place] !== lit[0]) continue;
    mine.push(place);
    (x += place % ids.width), (y += Math.floor(place / ids.width)), n++;
  }
  if (!n) return;
  const far = (place) => Math.hypot((place % ids.width) - x / n, Math.floor(place / ids.width) - y / n);
  const best = mine.reduce((a, b) => (far(b) < far(a) ? b : a));
  why.at([Math.floor((((best % ids.width) + 0.5) * result.width) / ids.width), Math.floor(((Math.floor(best / ids.width) + 0.5) * result.height) / ids.height)]);
}

const original = (on) => layers.classList.toggle("sv-off", on);

function splitAt(value) {
  const at = Math.max(0, Math.min(100, value));
  split.setAttribute("aria-valuenow", String(Math.round(at)));
  split.style.left = at + "%";
  layers.style.clipPath = split.hidden ? "" : "inset(0 0 0 " + at + "%)";
}

function pressed(button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  return on;
}

function connect() {
  translate(root);
  connectPointers(stage, view, point, leave, (x, y) => { const pixel = result && view.pixelAt(x, y); if (pixel) why.at(pixel, Boolean(segmentAt(pixel))); });
  connectKeys(stage, view, { step, original, clear: leave, doubt: () => doubt.toggle(), why: () => why.toggle(), choose });
  // One heat map at a time.
  doubt.button.addEventListener("click", () => doubt.wanted && why.wanted && why.toggle());
  why.button.addEventListener("click", () => why.wanted && doubt.wanted && doubt.toggle());
  find("opacity").addEventListener("input", (event) => (find("fill").style.opacity = event.target.value / 100));
  find("outlines").addEventListener("click", (event) => { pressed(event.currentTarget); redraw(false); });
  find("compare").addEventListener("click", (event) => { split.hidden = !pressed(event.currentTarget); splitAt(50); });
  find("original").addEventListener("pointerdown", () => original(true));
  for (const type of ["pointerup", "pointerleave", "pointercancel", "blur"]) find("original").addEventListener(type, () => original(false));
  find("original").addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && original(true));
  find("original").addEventListener("keyup", () => original(false));
  split.addEventListener("pointerdown", (event) => split.setPointerCapture(event.pointerId));
  split.addEventListener("pointermove", (event) => {
    if (!split.hasPointerCapture(event.pointerId)) return;
    const box = stage.getBoundingClientRect();
    splitAt(((event.clientX - box.left) / box.width) * 100);
  });
  split.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -5, ArrowRight: 5, Home: -100, End: 100 }[event.key];
    if (!by) return;
    event.preventDefault();
    splitAt(Number(split.getAttribute("aria-valuenow")) + by);
  });
  find("in").addEventListener("click", () => view.zoomBy(1.5));
  find("out").addEventListener("click", () => view.zoomBy(1 / 1.5));
  find("fit").addEventListener("click", () => view.fit());
  find("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()));
  find("full").hidden = !document.fullscreenEnabled;
  // A tab that was hidden when the result came, a turned phone, full screen: the window changes, the image follows.
  new ResizeObserver(() => result && (view.fitted ? view.fit() : view.settle())).observe(stage);
}

// The picture as it would be segmented now, in place of the result: what a strip above chooses. `next`: url, width, height, and metres of a pixel's sides.
async function preview(next) {
  const mine = (previewed = next);
  const bitmap = await fetch(next.url).then((answer) => answer.blob()).then((blob) => createImageBitmap(blob));
  if (mine !== previewed) return; // a later one overtook it, or a result
  leave();
  notes.forget();
  doubt.hide();
  why.hide();
  base = bitmap;
  ids = { ids: new Uint16Array(1), width: 1, height: 1 };
  result = { width: next.width, height: next.height, segments: [], classes: [], byId: new Map(), names: new Map(), image: { url: next.url }, ids: { url: "" }, metres: next.metres };
  for (const part of ["side", "details", "help", "nothing", "small", "notes", "doubt"]) find(part).hidden = true;
  find("bar").hidden = false;
  frame(next);
  root.dataset.state = "preview";
  redraw(true);
}

// Pixels of another picture of the same size stay where they are looked at.
function frame({ width, height }) {
  stage.style.setProperty("--ratio", String(width / height));
  if (root.dataset.state !== "preview" || view.imageWidth !== width || view.imageHeight !== height) view.setImage(width, height);
}

const METRES = [["km", 1e3], ["m", 1], ["mm", 1e-3], ["µm", 1e-6], ["nm", 1e-9]];

// How long something is, where the file says how large its pixels are: a bar of 1, 2 or 5 of a unit.
function drawScale() {
  const across = result.metres && result.metres[0];
  find("scale").hidden = !across;
  if (!across) return;
  const most = (Math.min(140, stage.clientWidth / 3) / view.scale) * across;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].find((n) => n * power <= most) * power;
  const [unit, metres] = METRES.find(([, metres]) => length >= metres * 0.9999) || METRES[METRES.length - 1];
  find("scale").style.setProperty("--wide", (length / across) * view.scale + "px");
  find("scale").lastChild.textContent = Number((length / metres).toPrecision(3)).toLocaleString(LANGUAGE) + " " + unit;
}

// Nothing to show: an invitation, or what the notes say.
function clear() {
  result = previewed = null;
  leave();
  root.dataset.state = "empty";
  stage.style.removeProperty("--ratio");
  for (const part of ["bar", "side", "details", "help", "nothing", "small", "notes", "scale"]) find(part).hidden = true;
  find("live").textContent = "";
  doubt.hide();
  why.hide();
}

// A result has come, or the one that there is with its doubt or with what an answer rests on.
async function receive(value) {
  if (!value) {
    latest = null;
    return clear();
  }
  // Asked of a result in whose place there is another by now, or none: downloads would be of that.
  if ((value.doubt || value.why) && latest !== undefined && !(latest && latest.image.url === value.image.url && latest.ids.url === value.ids.url)) return;
  latest = value;
  const same = result && result.image.url === value.image.url;
  if (same && (value.doubt || value.why) && result.ids.url === value.ids.url) {
    // The same result, now with its doubt or with what an answer rests on: nothing else moves.
    if (value.why) return why.show(value);
    result.doubt = value.doubt;
    return doubt.show(value);
  }
  const [nextIds, nextBase] = await Promise.all([
    loadIds(value.ids.url),
    same ? base : fetch(value.image.url).then((answer) => answer.blob()).then((blob) => createImageBitmap(blob)),
  ]);
  if (latest !== value) return; // a newer result overtook this one, or nothing did
  previewed = null;
  leave();
  stepped = -1;
  ids = nextIds;
  base = nextBase;
  result = { ...value };
  // Regions have no class: what they are called is the page's own word.
  if (value.segment === "region") result.classes = value.classes.map((row) => ({ ...row, name: say("region") }));
  result.names = new Map(result.classes.map((row) => [row.id, row.name]));
  result.byId = new Map(value.segments.map((segment) => [segment.id, segment]));
  for (const part of ["bar", "side", "details", "help"]) find(part).hidden = false;
  if (!same) frame(value);
  root.dataset.state = "shown";
  notes.forget();
  notes.told(value);
  notes.limits(value);
  legend.show(result, same);
  fillTable(root.querySelector("tbody"), result);
  find("sure").hidden = !value.unsure;
  find("united").hidden = !value.unit;
  find("united").textContent = say("area") + " (" + symbol(value.unit) + "²)";
  find("scored").hidden = !result.scored;
  // A network of classes knows no objects: what is counted are connected pieces, as in a batch.
  const counts = result.objects ? "count" : "pieces";
  find("counted").textContent = say(counts);
  find("counted").title = say(counts + "Is");
  find("help").textContent = say("help") + (value.unsure ? say("helpDoubt") : "") + (value.explains ? say("helpWhy") : "");
  await doubt.show(value);
  await why.show(value);
  find("details").hidden = result.classes.length === 0;
  const found = result.objects ? value.segments.length : result.classes.some((row) => row.id !== value.background);
  const whole = value.segment === "region" && value.segments.length === 1 && value.segments[0].area === value.width * value.height;
  find("nothing").hidden = Boolean(found) && !whole;
  find("nothing").textContent = say(whole ? "oneRegion" : { class: "nothingSemantic", object: "nothingInstance", region: "nothingRegion", segment: "nothingSegment" }[value.segment]);
  find("live").textContent = found ? find("count").textContent : find("nothing").textContent;
  redraw(true);
  root.dispatchEvent(new CustomEvent("sv-shown", { bubbles: true }));
}

function update(value = props.value) {
  receive(value).catch((error) => {
    console.error(error);
    notes.failed(say("failed"));
  });
}

// For the strip above: which result there is, and the picture in its place for a while.
root.shownOf = () => latest && { of: latest.of, view: latest.view };
root.preview = preview;
root.unpreview = () => update(latest);
// For the script of the page's event: the pixel that was clicked last.
root.asks = () => why.pixel && { x: why.pixel[0], y: why.pixel[1] };
root.unexplained = () => why.failed();
// For the table of measurements.
root.light = (members) => { tip.hidden = true; highlight(members); };
connect();
find("fill").style.opacity = find("opacity").value / 100;
watch("value", () => update());
update();

// What each tool does with points of the image ([x, y] in image pixels, also outside): `down`, `move`, `up`. One change of the
// layer lasts from down to up, so that one undo takes back one stroke.
//
// In a picture of objects, what is painted belongs to the object in which it began; else to the selected one, if it touches that;
// else it is a new one. A polygon is a new one unless a person has chosen an object. Where a person may have meant something else, it
// is said, and one click makes it so.

const middleOf = (point) => [Math.floor(point[0]) + 0.5, Math.floor(point[1]) + 0.5];
const STROKING = ["brush", "eraser", "region", "cut"];
const OBJECTS_ONLY = ["merge", "cut", "remove", "create"];

class Tools {
  // `host` (the editor): layer, task, background, clicks, regions(), changed(change), shown(object), selected(), tell(text), and
  // near(a, b): few screen pixels apart. `chosen`: that a person chose the selected object, which is not just the last that was drawn.
  constructor(host) {
    Object.assign(this, { host, tool: "brush", size: 20, label: 1, object: null, chosen: false, fresh: false, stroke: null, corners: [], last: null });
  }

  get instance() {
    return this.host.task === "instance";
  }

  get nothing() {
    if (this.instance) return 0;
    return this.host.background === null ? IGNORE : this.host.background;
  }

  choose(tool) {
    this.cancel();
    this.tool = tool;
  }

  // Whether what is painted is an object, and not a class or pixels to ignore.
  get objects() {
    return this.instance && this.label !== IGNORE;
  }

  isObject(id) {
    return id !== null && id !== 0 && id !== IGNORE;
  }

  // The selected object, if it has any pixels.
  get selected() {
    return this.object !== null && this.host.layer.counts[this.object] ? this.object : null;
  }

  // The object that a person has chosen, to which a polygon or clicks belong; null where they make a new one.
  get target() {
    return this.chosen && !this.fresh ? this.selected : null;
  }

  // An id for a new object of the current class, which is selected.
  newObject() {
    if (this.label === this.host.background) this.label = this.host.firstThing();
    this.object = this.host.layer.freeId();
    this.chosen = false;
    this.register(this.object, this.label);
    return this.object;
  }

  // For whom a stroke is that begins at a point: { id, beside, took }. `beside` is the selected object, where it is not yet known
  // whether the stroke touches it; `took`, that an object was selected because the stroke began inside it.
  begin(point) {
    if (!this.objects) return { id: this.label, beside: null, took: false };
    const there = this.idAt(point);
    const beside = this.selected;
    if (this.isObject(there)) {
      const took = there !== this.object;
      if (took) this.pick(there);
      return { id: there, beside: null, took };
    }
    const reach = this.tool === "brush" ? this.size / 2 : 0;
    let near = false;
    if (beside !== null) sweep(middleOf(point), middleOf(point), reach, (y, from, to) => (near = near || this.touches(y, from, to, beside)));
    return near ? { id: beside, beside: null, took: false } : { id: this.newObject(), beside, took: false };
  }

  // Whether pixels [from, to) of row y are those of an id, or beside one.
  touches(y, from, to, id) {
    const { ids, width, height } = this.host.layer;
    const [left, right] = [Math.max(0, from - 1), Math.min(width, to + 1)];
    for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
      if (left < right && ids.subarray(row * width + left, row * width + right).includes(id)) return true;
    }
    return false;
  }

  // As `paint`; `watch.met` becomes true if the shape touches the object `watch.beside`.
  paintBeside(shape, id, watch) {
    shape((y, from, to) => {
      if (watch.beside !== null && !watch.met) watch.met = this.touches(y, from, to, watch.beside);
      this.host.layer.span(y, from, to, id);
    });
  }

  // The end of what was painted for a new object: it joins the selected one that it touches. Then what is to be said is said.
  settle(act) {
    const { layer } = this.host;
    const { id, beside, met, took } = act;
    if (beside !== null && met) {
      this.relabel(id, beside);
      layer.setObject(id, null);
      this.object = beside;
      this.label = layer.objects.get(beside);
    }
    this.fresh = false;
    const changed = this.finish();
    if (!changed || !this.objects) return;
    this.last = { ...act, position: this.host.position() };
    const name = (number) => this.host.nameOf(number);
    const again = (target) => () => this.again(target);
    if (took) this.host.tell(say("tookObject").replace("{name}", name(id)), [say("makeNew"), again(null)]);
    else if (beside !== null && !met) this.host.tell(say("apartObject").replace("{name}", name(beside)), [say("addTo").replace("{name}", name(beside)), again(beside)]);
    else if (act.added) this.host.tell(say("addedToObject").replace("{name}", name(id)), [say("makeNew"), again(null)]);
    else if (act.last != null) this.host.tell(say("madeObject"), [say("addTo").replace("{name}", name(act.last)), again(act.last)]);
  }

  // The last act once more, for another object; null is a new one.
  again(target) {
    const { last } = this;
    if (!last || last.position !== this.host.position()) return;
    const label = this.label;
    this.host.undo();
    this.label = label;
    const id = target === null ? this.newObject() : target;
    this.object = id;
    for (const shape of last.shapes) this.paint(shape, id);
    this.last = null;
    this.finish();
    this.host.selected();
  }

  // A new object; it has its colour before its first pixel is drawn.
  register(id, label) {
    this.host.layer.setObject(id, label);
    this.host.shown(id);
  }

  paint(shape, id) {
    shape((y, from, to) => this.host.layer.span(y, from, to, id));
  }

  inside([x, y]) {
    const { width, height } = this.host.layer;
    return x >= 0 && y >= 0 && x < width && y < height;
  }

  idAt(point) {
    return this.inside(point) ? this.host.layer.at(Math.floor(point[0]), Math.floor(point[1])) : null;
  }

  // `negative`: the other button, or Alt; `erasing`: the other end of a pen.
  down(point, { erasing = false, negative = false } = {}) {
    const tool = erasing ? "eraser" : this.tool;
    if (tool === "click") return this.host.clicks.down(point, negative);
    if (tool === "polygon") return this.corner(point);
    if (STROKING.includes(tool)) {
      if (tool === "region" && !this.host.regions()) return;
      const plain = tool === "eraser" || tool === "cut" ? this.nothing : null;
      const act = plain === null ? this.begin(point) : { id: plain, beside: null, took: false };
      this.stroke = { tool, points: [middleOf(point)], ...act, met: false, shapes: [] };
      this.extend(this.stroke.points[0], this.stroke.points[0]);
      if (act.took) this.host.selected();
      return;
    }
    const id = this.idAt(point);
    if (id === null) return;
    const act = { fill: () => this.fill(point), pick: () => this.pick(id), merge: () => this.merge(id), remove: () => this.remove(id) }[tool];
    if (act) act();
  }

  move(point) {
    if (this.tool === "click" && !this.stroke) return this.host.clicks.move(point); // a pen's other end erases
    if (!this.stroke) return;
    const next = middleOf(point);
    const last = this.stroke.points[this.stroke.points.length - 1];
    if (next[0] === last[0] && next[1] === last[1]) return;
    this.stroke.points.push(next);
    this.extend(last, next);
  }

  up() {
    if (this.tool === "click" && !this.stroke) return this.host.clicks.up();
    const stroke = this.stroke;
    this.stroke = null;
    if (!stroke) return;
    if (stroke.tool === "cut") this.cut(stroke.points);
    if (stroke.tool === "brush" || stroke.tool === "region") this.settle(stroke);
    else this.finish();
  }

  // Escape, another tool: the change that is going on never was.
  cancel() {
    this.interrupt();
    this.corners = [];
    this.host.refreshClicks();
  }

  // A second finger: as `cancel`, of what the first one has begun.
  interrupt() {
    if (this.stroke) {
      this.host.layer.cancel();
      if (this.stroke.beside !== null) this.object = this.stroke.beside;
    }
    this.stroke = null;
    this.host.clicks.drag = null;
  }

  finish() {
    const change = this.host.layer.commit();
    if (change) this.host.changed(change);
    return change !== null;
  }

  extend(from, to) {
    const { tool } = this.stroke;
    const size = this.size;
    if (tool === "brush" || tool === "eraser") this.stroked((emit) => sweep(from, to, size / 2, emit));
    if (tool === "region") this.region(from, to);
  }

  stroked(shape) {
    if (this.objects && this.stroke.tool !== "eraser") this.stroke.shapes.push(shape);
    this.paintBeside(shape, this.stroke.id, this.stroke);
  }

  // Every superpixel under the way; a fast stroke skips none.
  region(from, to) {
    const regions = this.host.regions();
    if (!regions) return;
    const steps = Math.max(1, Math.ceil(Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]))));
    const met = new Set();
    for (let i = 0; i <= steps; i++) {
      const point = [from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps];
      if (this.inside(point)) met.add(regions.ids[Math.floor(point[1]) * regions.width + Math.floor(point[0])]);
    }
    for (const number of met) this.stroked((emit) => sameNumber(regions, number, regions.boxes.get(number), emit));
  }

  fill(point) {
    const [x, y] = point.map(Math.floor);
    const act = { ...this.begin(point), met: false, shapes: [] };
    if (act.took) {
      this.host.selected();
      return this.host.tell(say("tookObject").replace("{name}", this.host.nameOf(act.id)));
    }
    if (this.idAt(point) === act.id) return;
    const filled = [];
    const area = (emit) => flood(this.host.layer, x, y, (...run) => (filled.push(run), emit(...run)));
    this.paintBeside(area, act.id, act);
    act.shapes = [(emit) => filled.forEach((run) => emit(...run))];
    this.settle(act);
  }

  corner(point) {
    if (this.corners.length > 2 && this.host.near(point, this.corners[0], TOUCH ? 24 : 10)) return this.close();
    this.corners.push(point);
    this.host.refreshClicks();
  }

  close() {
    const corners = this.corners;
    this.corners = [];
    if (corners.length < 3) return;
    const shape = (emit) => fillPolygon(corners, this.host.layer.height, emit);
    if (!this.objects) {
      this.paint(shape, this.label);
      this.finish();
      return;
    }
    const act = { beside: null, met: false, took: false, shapes: [shape], last: this.fresh ? null : this.selected };
    act.added = this.target !== null;
    const under = this.fresh || act.added ? null : this.idAt(corners[0]);
    // An outline that begins in an object and lies mostly within it corrects that; one that only begins at its rim is a neighbour.
    const within = this.isObject(under) && this.shareOf(shape, under) > 0.5;
    act.took = within && under !== this.object;
    if (within) act.last = null;
    if (act.took) this.pick(under);
    act.id = within || act.added ? this.object : this.newObject();
    this.paintBeside(shape, act.id, act);
    this.settle(act);
  }

  // The share of a shape's pixels that are of an id.
  shareOf(shape, id) {
    const { ids, width, height } = this.host.layer;
    let [of, all] = [0, 0];
    shape((y, from, to) => {
      if (y < 0 || y >= height) return;
      for (let x = Math.max(0, from); x < Math.min(width, to); x++, all++) if (ids[y * width + x] === id) of++;
    });
    return all ? of / all : 0;
  }

  // What lies at a point is selected, whatever the tool; nobody's ground selects nothing.
  select(point) {
    const id = this.idAt(point);
    if (id !== null) this.pick(id);
  }

  pick(id) {
    if (!this.instance || id === IGNORE) this.label = id;
    this.object = this.instance && id !== IGNORE && id !== 0 ? id : null;
    this.fresh = false;
    if (this.object !== null) this.label = this.host.layer.objects.get(id);
    this.chosen = this.object !== null;
    this.host.selected();
  }

  // The next stroke begins an object of the current class.
  create() {
    this.object = null;
    this.fresh = true;
    if (this.label === IGNORE || this.label === this.host.background) this.label = this.host.firstThing();
    if (!["brush", "polygon", "fill", "region", "click"].includes(this.tool)) this.choose("brush");
    this.host.selected();
  }


  relabel(id, label) {
    const box = this.host.layer.boxOf(id);
    if (box) this.paint((emit) => sameNumber(this.host.layer, id, box, emit), label);
  }

  merge(id) {
    if (id === 0 || id === IGNORE || id === this.object) return;
    if (this.selected === null) return this.pick(id);
    this.relabel(id, this.object);
    this.host.layer.setObject(id, null);
    this.finish();
  }

  remove(id) {
    if (id === 0 || id === IGNORE || id === null) return;
    this.relabel(id, 0);
    this.host.layer.setObject(id, null);
    if (this.object === id) this.object = null;
    this.finish();
  }

  // The selected object, if the line cuts it, else that of which the line crosses most.
  cut(points) {
    const { layer } = this.host;
    const crossed = new Map();
    for (let i = 0; i < points.length; i++) {
      sweep(points[Math.max(0, i - 1)], points[i], 0.5, (y, from, to) => {
        for (let x = Math.max(0, from); y >= 0 && y < layer.height && x < Math.min(layer.width, to); x++) {
          const id = layer.at(x, y);
          if (this.isObject(id)) crossed.set(id, (crossed.get(id) || 0) + 1);
        }
      });
    }
    const ids = [...crossed.keys()].sort((left, right) => (right === this.object) - (left === this.object) || crossed.get(right) - crossed.get(left));
    if (!ids.length) return this.host.tell(say("selectFirst"));
    let pieces = [];
    for (const id of ids) {
      pieces = cutPieces(layer, id, points);
      if (pieces.length < 2) continue;
      if (id !== this.object) this.pick(id);
      break;
    }
    if (pieces.length < 2) {
      // A click without a line only selects.
      return points.length > 1 ? this.host.tell(say("notCut")) : this.pick(ids[0]);
    }
    for (const piece of pieces.slice(1)) {
      const id = layer.freeId();
      if (id === null) break;
      this.register(id, layer.objects.get(this.object));
      for (const at of piece) layer.span(Math.floor(at / layer.width), at % layer.width, (at % layer.width) + 1, id);
    }
  }

  // A class from the list: for objects also the class of the one that is selected.
  setLabel(label) {
    // Of clicks that have not been taken it is their class alone.
    if (this.host.clicks.pending) {
      if (!this.instance || label !== this.host.background) this.label = label;
      return;
    }
    this.label = label;
    if (!this.instance) return;
    const real = label !== IGNORE && label !== this.host.background;
    if (!real) this.object = null;
    else if (this.object !== null && this.host.layer.objects.has(this.object)) {
      this.host.layer.setObject(this.object, label);
      this.finish();
    }
    if (label === this.host.background) this.tool = "eraser";
  }
}

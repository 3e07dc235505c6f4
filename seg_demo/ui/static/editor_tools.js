// What each tool does with points of the image ([x, y] in image pixels, also outside): `down`, `move`, `up`. One change of the
// layer lasts from down to up, so that one undo takes back one stroke.

const middleOf = (point) => [Math.floor(point[0]) + 0.5, Math.floor(point[1]) + 0.5];
const STROKING = ["brush", "eraser", "region", "cut"];
const OBJECTS_ONLY = ["merge", "cut", "remove", "create"];

class Tools {
  // `host` (the editor): layer, task, background, regions(), changed(change), shown(object), selected(), tell(text), and
  // near(a, b): few screen pixels apart.
  constructor(host) {
    Object.assign(this, { host, tool: "brush", size: 20, label: 1, object: null, stroke: null, corners: [] });
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

  // The id that is painted; in a picture of objects a new object where none is selected.
  paintId() {
    if (!this.instance || this.label === IGNORE) return this.label;
    if (this.object === null) this.object = this.host.layer.freeId();
    if (!this.host.layer.objects.has(this.object)) this.register(this.object, this.label);
    return this.object;
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

  down(point, erasing = false) {
    const tool = erasing ? "eraser" : this.tool;
    if (tool === "polygon") return this.corner(point);
    if (STROKING.includes(tool)) {
      if ((tool === "cut" && !this.needsObject()) || (tool === "region" && !this.host.regions())) return;
      const erased = tool === "eraser";
      this.stroke = { tool, points: [middleOf(point)], id: tool === "cut" ? this.object : erased ? this.nothing : this.paintId() };
      this.extend(this.stroke.points[0], this.stroke.points[0]);
      return;
    }
    const id = this.idAt(point);
    if (id === null) return;
    const act = { fill: () => this.fill(point), pick: () => this.pick(id), merge: () => this.merge(id), remove: () => this.remove(id) }[tool];
    if (act) act();
  }

  move(point) {
    if (!this.stroke) return;
    const next = middleOf(point);
    const last = this.stroke.points[this.stroke.points.length - 1];
    if (next[0] === last[0] && next[1] === last[1]) return;
    this.stroke.points.push(next);
    this.extend(last, next);
  }

  up() {
    const stroke = this.stroke;
    this.stroke = null;
    if (!stroke) return;
    if (stroke.tool === "cut") this.cut(stroke.points);
    this.finish();
  }

  // Escape, a second finger, another tool: the change that is going on never was.
  cancel() {
    if (this.stroke) this.host.layer.cancel();
    this.stroke = null;
    this.corners = [];
  }

  finish() {
    const change = this.host.layer.commit();
    if (change) this.host.changed(change);
  }

  extend(from, to) {
    const { tool, id } = this.stroke;
    if (tool === "brush" || tool === "eraser") this.paint((emit) => sweep(from, to, this.size / 2, emit), id);
    if (tool === "region") this.region(from, to, id);
  }

  // Every superpixel under the way; a fast stroke skips none.
  region(from, to, id) {
    const regions = this.host.regions();
    if (!regions) return;
    const steps = Math.max(1, Math.ceil(Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]))));
    const met = new Set();
    for (let i = 0; i <= steps; i++) {
      const point = [from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps];
      if (this.inside(point)) met.add(regions.ids[Math.floor(point[1]) * regions.width + Math.floor(point[0])]);
    }
    for (const number of met) this.paint((emit) => sameNumber(regions, number, regions.boxes.get(number), emit), id);
  }

  fill(point) {
    const id = this.paintId();
    if (this.idAt(point) !== id) this.paint((emit) => flood(this.host.layer, Math.floor(point[0]), Math.floor(point[1]), emit), id);
    this.finish();
  }

  corner(point) {
    if (this.corners.length > 2 && this.host.near(point, this.corners[0])) return this.close();
    this.corners.push(point);
  }

  close() {
    const corners = this.corners;
    this.corners = [];
    if (corners.length < 3) return;
    this.paint((emit) => fillPolygon(corners, this.host.layer.height, emit), this.paintId());
    this.finish();
  }

  pick(id) {
    if (!this.instance || id === IGNORE) this.label = id;
    this.object = this.instance && id !== IGNORE && id !== 0 ? id : null;
    if (this.object !== null) this.label = this.host.layer.objects.get(id);
    this.host.selected();
  }

  // The next stroke begins an object of the current class.
  create() {
    this.object = null;
    if (this.label === IGNORE || this.label === this.host.background) this.label = this.host.firstThing();
    if (!["brush", "polygon", "fill", "region"].includes(this.tool)) this.choose("brush");
    this.host.selected();
  }

  needsObject() {
    if (this.object !== null && this.host.layer.counts[this.object]) return true;
    this.host.tell(say("selectFirst"));
    return false;
  }

  relabel(id, label) {
    const box = this.host.layer.boxOf(id);
    if (box) this.paint((emit) => sameNumber(this.host.layer, id, box, emit), label);
  }

  merge(id) {
    if (id === 0 || id === IGNORE || id === this.object || !this.needsObject()) return;
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

  cut(points) {
    const { layer } = this.host;
    const pieces = cutPieces(layer, this.object, points);
    if (pieces.length < 2) return this.host.tell(say("notCut"));
    for (const piece of pieces.slice(1)) {
      const id = layer.freeId();
      if (id === null) break;
      this.register(id, layer.objects.get(this.object));
      for (const at of piece) layer.span(Math.floor(at / layer.width), at % layer.width, (at % layer.width) + 1, id);
    }
  }

  // A class from the list: for objects also the class of the one that is selected.
  setLabel(label) {
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

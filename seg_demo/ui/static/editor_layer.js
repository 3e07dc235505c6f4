// The mask at full size and its history. Everything that paints does so by `span`; what a change did is kept as the runs of
// pixels that it changed, tile by tile, so that undo is exact and its memory follows what was painted, not the image.

const TILE = 64;
const HISTORY_BYTES = 96e6; // the oldest changes are forgotten beyond it
const IGNORE = 65534; // 65535 is what lies outside the image on the screen

class Layer {
  // `ids`: Uint16Array, a class per pixel, or an object number; `objects`: Map of object number → class, null for classes.
  constructor(width, height, ids, objects) {
    Object.assign(this, { width, height, ids, objects });
    this.across = Math.ceil(width / TILE);
    this.counts = new Uint32Array(65536);
    for (let i = 0; i < ids.length; i++) this.counts[ids[i]]++;
    this.touched = new Map(); // tile → its ids before the change that is going on
    this.objectsBefore = new Map();
    this.dirty = null; // image pixels [x0, y0, x1, y1) that the screen does not show yet
  }

  at(x, y) {
    return this.ids[y * this.width + x];
  }

  // Pixels [from, to) of row y get an id; what lies outside the image is left out.
  span(y, from, to, id) {
    if (y < 0 || y >= this.height) return;
    from = Math.max(0, from);
    to = Math.min(this.width, to);
    if (from >= to) return;
    const row = (y >> 6) * this.across;
    for (let tile = row + (from >> 6); tile <= row + ((to - 1) >> 6); tile++) {
      if (!this.touched.has(tile)) this.touched.set(tile, this.copy(tile));
    }
    this.ids.fill(id, y * this.width + from, y * this.width + to);
    this.spoil(from, y, to, y + 1);
  }

  setObject(id, label) {
    if (!this.objectsBefore.has(id)) this.objectsBefore.set(id, this.objects.has(id) ? this.objects.get(id) : null);
    if (label === null) this.objects.delete(id);
    else this.objects.set(id, label);
  }

  spoil(x0, y0, x1, y1) {
    const d = this.dirty;
    this.dirty = d ? [Math.min(d[0], x0), Math.min(d[1], y0), Math.max(d[2], x1), Math.max(d[3], y1)] : [x0, y0, x1, y1];
  }

  place(tile) {
    const left = (tile % this.across) * TILE;
    const top = Math.floor(tile / this.across) * TILE;
    return { left, top, wide: Math.min(TILE, this.width - left), tall: Math.min(TILE, this.height - top) };
  }

  copy(tile) {
    const { left, top, wide, tall } = this.place(tile);
    const pixels = new Uint16Array(wide * tall);
    for (let y = 0; y < tall; y++) {
      const from = (top + y) * this.width + left;
      pixels.set(this.ids.subarray(from, from + wide), y * wide);
    }
    return pixels;
  }

  // Ends a change: { tiles, objects, bytes }, or null if nothing is different.
  commit() {
    const tiles = [];
    for (const [tile, before] of this.touched) {
      const entry = this.difference(tile, before);
      if (entry) tiles.push(entry);
    }
    const objects = [];
    for (const [id, before] of this.objectsBefore) {
      const after = this.objects.has(id) ? this.objects.get(id) : null;
      if (after !== before) objects.push([id, before, after]);
    }
    this.touched.clear();
    this.objectsBefore.clear();
    if (!tiles.length && !objects.length) return null;
    const change = { tiles, objects, bytes: tiles.reduce((sum, entry) => sum + 64 + entry.data.byteLength, 64) };
    this.count(change, true);
    return change;
  }

  // Takes back a change that has not ended.
  cancel() {
    for (const [tile, before] of this.touched) this.restore(tile, before);
    for (const [id, before] of this.objectsBefore) before === null ? this.objects.delete(id) : this.objects.set(id, before);
    this.touched.clear();
    this.objectsBefore.clear();
  }

  restore(tile, pixels) {
    const { left, top, wide, tall } = this.place(tile);
    for (let y = 0; y < tall; y++) this.ids.set(pixels.subarray(y * wide, (y + 1) * wide), (top + y) * this.width + left);
    this.spoil(left, top, left + wide, top + tall);
  }

  // Runs [offset in the tile, length, before, after], each within a row; where that would be longer, both tiles as they are.
  difference(tile, before) {
    const { left, top, wide, tall } = this.place(tile);
    const runs = [];
    for (let y = 0; y < tall; y++) {
      const from = (top + y) * this.width + left;
      for (let x = 0; x < wide; x++) {
        const old = before[y * wide + x];
        const now = this.ids[from + x];
        if (old === now) continue;
        const begin = x;
        while (x + 1 < wide && before[y * wide + x + 1] === old && this.ids[from + x + 1] === now) x++;
        runs.push(y * wide + begin, x + 1 - begin, old, now);
      }
    }
    if (!runs.length) return null;
    if (runs.length <= 2 * before.length) return { tile, raw: false, data: Uint16Array.from(runs) };
    const data = new Uint16Array(2 * before.length);
    data.set(before);
    data.set(this.copy(tile), before.length);
    return { tile, raw: true, data };
  }

  // Makes a change again, or (forward false) as if it had not been.
  apply(change, forward) {
    for (const { tile, raw, data } of change.tiles) {
      const { left, top, wide, tall } = this.place(tile);
      if (raw) {
        this.restore(tile, forward ? data.subarray(data.length / 2) : data.subarray(0, data.length / 2));
        continue;
      }
      for (let i = 0; i < data.length; i += 4) {
        const at = (top + Math.floor(data[i] / wide)) * this.width + left + (data[i] % wide);
        this.ids.fill(data[i + (forward ? 3 : 2)], at, at + data[i + 1]);
      }
      this.spoil(left, top, left + wide, top + tall);
    }
    for (const [id, before, after] of change.objects) {
      const label = forward ? after : before;
      if (label === null) this.objects.delete(id);
      else this.objects.set(id, label);
    }
    this.count(change, forward);
  }

  count(change, forward) {
    const sign = forward ? 1 : -1;
    for (const { raw, data } of change.tiles) {
      const half = data.length / 2;
      if (raw) for (let i = 0; i < half; i++) (this.counts[data[i]] -= sign), (this.counts[data[i + half]] += sign);
      else for (let i = 0; i < data.length; i += 4) (this.counts[data[i + 2]] -= sign * data[i + 1]), (this.counts[data[i + 3]] += sign * data[i + 1]);
    }
  }

  // The smallest box [x0, y0, x1, y1) around the pixels of an id, or null.
  boxOf(id) {
    const { ids, width, height } = this;
    let [x0, y0, x1, y1] = [width, height, -1, -1];
    for (let y = 0; y < height; y++) {
      const first = ids.indexOf(id, y * width);
      if (first < 0) break;
      y = Math.floor(first / width);
      const end = (y + 1) * width;
      x0 = Math.min(x0, first - y * width);
      x1 = Math.max(x1, ids.subarray(first, end).lastIndexOf(id) + first - y * width + 1);
      y0 = Math.min(y0, y);
      y1 = y + 1;
    }
    return x1 < 0 ? null : [x0, y0, x1, y1];
  }

  // The smallest object number that is neither in the list nor in the picture.
  freeId() {
    for (let id = 1; id < IGNORE; id++) if (!this.objects.has(id) && !this.counts[id]) return id;
    return null;
  }
}

// Changes in order; those before `position` are in effect. `forgotten` of the first are no longer in memory.
class History {
  constructor(layer) {
    Object.assign(this, { layer, changes: [], position: 0, forgotten: 0, bytes: 0 });
  }

  push(change) {
    for (const gone of this.changes.splice(this.position)) this.bytes -= gone.bytes;
    this.changes.push(change);
    this.bytes += change.bytes;
    this.position++;
    while (this.bytes > HISTORY_BYTES && this.changes.length > 1) {
      this.bytes -= this.changes.shift().bytes;
      this.position--;
      this.forgotten++;
    }
  }

  get canUndo() {
    return this.position > 0;
  }

  get canRedo() {
    return this.position < this.changes.length;
  }

  undo() {
    if (this.canUndo) this.layer.apply(this.changes[--this.position], false);
  }

  redo() {
    if (this.canRedo) this.layer.apply(this.changes[this.position++], true);
  }
}

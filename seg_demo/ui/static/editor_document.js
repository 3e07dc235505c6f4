// The document: one picture with its mask, its history, and what is known about it; opened from the server or from a draft.

const IDLE_SECONDS = 30; // a longer pause is not counted as work

class Work {
  // `value`: what the server sent; `ids`: Uint16Array; `image`: Blob of the picture as it is shown.
  constructor(value, ids, image) {
    Object.assign(this, { value, image, original: null, seconds: value.seconds, strokes: value.strokes, saved: 0, last: null, counted: null, guess: null });
    this.classes = value.classes.map((row) => ({ ...row }));
    const objects = value.task === "instance" ? new Map(value.objects) : null;
    this.layer = new Layer(value.width, value.height, ids, objects);
    this.history = new History(this.layer);
    this.stem = value.stem;
  }

  // Changes in effect since the document was opened, those that are forgotten included.
  get position() {
    return this.history.forgotten + this.history.position;
  }

  get dirty() {
    return this.position !== this.saved;
  }

  get head() {
    const { position, seconds, strokes, saved, classes, stem } = this;
    const { doc, dataset, datasetName } = this.value;
    return { doc, position, seconds, strokes, saved, classes, stem, dataset, datasetName, time: Date.now() };
  }

  // Counts the time that somebody works.
  tick() {
    const now = performance.now() / 1000;
    if (this.last !== null && now - this.last < IDLE_SECONDS) this.seconds += now - this.last;
    this.last = now;
  }

  name(id) {
    const row = this.classes.find((each) => each.id === id);
    return row ? row.name : "";
  }

  // Numbers in the file for the ids here: pixels to ignore are 255, in maps of objects 65535.
  png() {
    const { layer, value } = this;
    const wide = value.task === "instance";
    return encodePng(layer.ids, layer.width, layer.height, wide ? 16 : 8, (id) => (id === IGNORE ? (wide ? 65535 : 255) : id));
  }

  // What is sent beside the mask; the server checks all of it.
  facts() {
    const { value, layer } = this;
    const objects = layer.objects ? [...layer.objects].filter(([id]) => layer.counts[id]) : [];
    const classes = this.classes.filter((row) => row.id !== IGNORE).map((row) => [row.id, row.name]);
    const { doc, task, dataset, name, source, confidence, background, view = null } = value;
    const seconds = Math.round(this.seconds * 10) / 10;
    return { doc, task, dataset, name, source, confidence, background, view, stem: this.stem, classes, objects, seconds, strokes: this.strokes };
  }

  async originalFile() {
    if (!this.original) this.original = fetch(this.value.original.url).then(answerBlob);
    const blob = await this.original.catch((error) => {
      this.original = null; // the next time it is asked for again
      throw error;
    });
    return new File([blob], this.value.original.orig_name || "image", { type: blob.type });
  }

  static async open(value) {
    const size = value.width * value.height;
    const blank = value.task === "instance" ? 0 : value.background === null ? IGNORE : value.background;
    const [image, map] = await Promise.all([fetch(value.image.url).then(answerBlob), value.ids ? loadIds(value.ids.url) : null]);
    return new Work(value, map ? map.ids : new Uint16Array(size).fill(blank), image);
  }

  static restore({ record, head, changes, original }) {
    // A mask that was saved into another dataset than that which it was opened for belongs there.
    const { dataset, datasetName } = { ...record.value, ...(head.dataset === undefined ? {} : head) };
    const work = new Work({ ...record.value, dataset, datasetName }, record.ids, record.image);
    for (const change of changes.slice(0, head.position)) {
      work.layer.apply(change, true);
      work.history.push(change);
    }
    work.history.changes.push(...changes.slice(head.position));
    work.history.bytes += changes.slice(head.position).reduce((sum, change) => sum + change.bytes, 0);
    const { seconds, strokes, saved, classes, stem } = head;
    Object.assign(work, { seconds, strokes, saved, classes, stem, original: original && Promise.resolve(original) });
    return work;
  }
}

async function answerBlob(answer) {
  if (!answer.ok) throw new Error("HTTP " + answer.status);
  return answer.blob();
}

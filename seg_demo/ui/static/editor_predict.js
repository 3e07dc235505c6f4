// Paint and predict: what has been painted on a part of the picture teaches the server a classifier of its pixels, whose answer becomes the
// rest of the mask, as one change. What is corrected afterwards counts as painted the next time. Where the classifier is least sure is shown as
// heat over the picture: there the next stroke teaches most.

class Prediction {
  // `ask(picture, mask)`: two Blobs, resolves to { ids, margin }, base64 PNGs; `host` is the editor.
  constructor(root, host, ask) {
    Object.assign(this, { root, host, ask, busy: false });
    const find = (name) => root.querySelector(".se-" + name);
    this.button = find("predict");
    this.heat = find("unsure");
    this.canvas = find("heat");
    this.words = new Uint32Array(65536);
    for (let value = 0; value < 256; value++) this.words[value] = heatOf(value);
    this.button.addEventListener("click", () => this.run());
    this.heat.addEventListener("click", () => this.toggle());
  }

  // Only maps of classes, and only where something is left: pixels that nobody has said anything about.
  refresh() {
    const { work } = this.host;
    const fits = Boolean(work) && work.value.task === "semantic" && (work.layer.counts[IGNORE] > 0 || Boolean(work.guess));
    this.button.hidden = !fits;
    this.button.disabled = this.busy;
    this.heat.hidden = !(work && work.guess);
    if (this.heat.hidden) this.heat.setAttribute("aria-pressed", "false");
  }

  toggle() {
    this.heat.setAttribute("aria-pressed", String(this.heat.getAttribute("aria-pressed") !== "true"));
    this.host.screen.draw("all");
  }

  // Uint16Array of what a person has said: the strokes before the last prediction, and everything that differs from it since.
  painted(work) {
    const { ids } = work.layer;
    if (!work.guess) return ids.slice();
    const said = work.guess.painted.slice();
    for (let i = 0; i < ids.length; i++) if (ids[i] !== work.guess.ids[i]) said[i] = ids[i];
    return said;
  }

  async run() {
    const { work } = this.host;
    if (this.busy || this.button.hidden) return;
    this.host.tools.cancel();
    const { layer } = work;
    const [painted, before] = [this.painted(work), layer.ids.slice()];
    const classes = new Set(painted);
    classes.delete(IGNORE);
    if (classes.size < 2) return this.host.tell(say("paintTwo"));
    this.busy = true;
    this.refresh();
    this.host.tell(say("predicting"));
    try {
      const mask = encodePng(painted, layer.width, layer.height, 8, (id) => (id === IGNORE ? 255 : id));
      const answer = await this.ask(work.image, await mask);
      const [found, margin] = await Promise.all([answer.ids, answer.margin].map((png) => loadIds("data:image/png;base64," + png)));
      if (this.host.work !== work) return;
      if (found.width !== layer.width || found.height !== layer.height) throw new Error("a prediction of another size");
      this.fill(layer, found.ids, painted, before);
      const change = layer.commit();
      // A grey pixel reads as v + 256 * v.
      work.guess = { painted, ids: layer.ids.slice(), margin: { ids: Uint8Array.from(margin.ids), width: margin.width, height: margin.height } };
      if (change) this.host.changed(change);
      this.host.tell(say("predicted"));
    } catch (error) {
      console.error(error);
      this.host.tell(say("notPredicted") + " " + error.message);
    } finally {
      this.busy = false;
      this.refresh();
      this.host.screen.draw("all");
    }
  }

  // Runs of pixels that nobody painted, before or meanwhile, get what was found.
  fill(layer, found, painted, before) {
    const { ids, width, height } = layer;
    for (let y = 0; y < height; y++) {
      for (let x = 0, at = y * width; x < width; x++, at++) {
        if (painted[at] !== IGNORE || ids[at] !== before[at] || ids[at] === found[at]) continue;
        const [begin, id] = [x, found[at]];
        while (x + 1 < width && painted[at + 1] === IGNORE && ids[at + 1] === before[at + 1] && found[at + 1] === id && ids[at + 1] !== id) (x++, at++);
        layer.span(y, begin, x + 1, id);
      }
    }
  }

  draw(view, width, height, density) {
    const { work } = this.host;
    const on = Boolean(work && work.guess) && this.heat.getAttribute("aria-pressed") === "true";
    this.canvas.style.visibility = on ? "visible" : "hidden";
    if (on) putPixels(this.canvas, width, height, fillPixels(sampleIds(work.guess.margin, view, width, height, density), this.words));
  }
}

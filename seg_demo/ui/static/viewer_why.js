// What an answer rests on: somebody clicks on what was found, the server hides one part of the picture after another, and the parts without
// which the answer would be lost are shown as a heat map, in a frame around what was tried.

class Why {
  // `ask()` has the server look at `pixel`, `changed()` redraws. `map` is null until there is one.
  constructor(root, ask, changed) {
    this.root = root;
    this.button = root.querySelector(".sv-why");
    this.text = root.querySelector(".sv-because");
    this.key = root.querySelector(".sv-parts");
    this.ask = ask;
    this.changed = changed;
    this.map = this.found = this.ids = this.pixel = null;
    this.busy = false;
    this.words = new Uint32Array(65536);
    for (let value = 1; value < 256; value++) this.words[value] = heatOf(255 - value);
    this.button.addEventListener("click", () => this.toggle());
  }

  get wanted() {
    return this.button.getAttribute("aria-pressed") === "true" && !this.button.hidden;
  }

  get on() {
    return this.wanted && this.map !== null;
  }

  toggle() {
    if (this.button.hidden) return;
    this.button.setAttribute("aria-pressed", String(!this.wanted));
    this.refresh();
  }

  // A click on a pixel of the picture; `there`: whether something was found at it.
  at(pixel, there = true) {
    if (!this.wanted || this.busy) return;
    if (!there) return void (this.text.textContent = say("whyMissed") + (LANGUAGE === "zh" ? "" : " ") + say("whyHow"));
    this.busy = true;
    this.pixel = pixel;
    this.refresh();
    this.ask();
  }

  failed() {
    this.busy = false;
    this.refresh();
  }

  // A result has come: another one, or the same with what its answer rests on.
  async show(value) {
    this.button.hidden = !value.explains;
    if (value.why) {
      const { ids, width, height } = await loadIds(value.why.map.url);
      this.map = { ids: Uint8Array.from(ids), width, height };
      this.found = value.why;
      this.busy = false;
    } else if (value.ids.url !== this.ids) {
      this.map = this.found = null;
      this.busy = false;
    }
    this.ids = value.ids.url;
    this.refresh();
  }

  hide() {
    this.map = this.found = this.ids = null;
    this.busy = false;
    this.button.hidden = true;
    this.refresh();
  }

  refresh() {
    this.root.classList.toggle("sv-asking", this.wanted);
    this.root.classList.toggle("sv-explained", this.on);
    this.button.setAttribute("aria-busy", String(this.wanted && this.busy));
    this.key.hidden = !this.on;
    this.text.hidden = !this.wanted;
    if (this.wanted) this.text.textContent = this.on ? this.sentence() : say(this.busy ? "whyBusy" : "whyHow");
    this.changed();
  }

  sentence() {
    const { label, most, beyond } = this.found;
    const said = say(most < 0.01 ? "whyNone" : "whyMost").replace("{label}", label === "background" ? say("background") : label).replace("{most}", percent(most));
    return beyond === null ? said : said + " " + say("whyBeyond").replace("{beyond}", percent(beyond));
  }

  draw(canvas, view, width, height, density) {
    putPixels(canvas, width, height, fillPixels(sampleIds(this.map, view, width, height, density), this.words));
    const [x0, y0, x1, y1] = this.found.frame, size = view.scale * density, context = canvas.getContext("2d");
    context.strokeStyle = "#fff";
    context.lineWidth = 1.5 * density;
    context.setLineDash([6 * density, 4 * density]);
    context.strokeRect(view.x * density + x0 * size, view.y * density + y0 * size, (x1 - x0) * size, (y1 - y0) * size);
  }
}

// The doubt layer: how unsure the model is at each pixel, as a heat map over the picture. The map is fetched when it is first
// wanted, and from then on it is drawn from memory.

// Magma (Smith and van der Walt, matplotlib): dark where doubt begins, bright where the decision could go either way.
const HEAT = [[0, [81, 18, 124], 0], [0.12, [81, 18, 124], 0.35], [0.4, [183, 55, 121], 0.7], [0.7, [252, 137, 97], 0.85], [1, [252, 253, 191], 0.95]];

// Doubt is 1 - margin: 1 where the two best classes are equally probable, 0 where one has all of the probability.
function heatOf(margin) {
  const doubt = 1 - margin / 255;
  const at = Math.max(1, HEAT.findIndex(([stop]) => stop >= doubt));
  const [[from, low, thin], [to, high, thick]] = [HEAT[at - 1], HEAT[at]];
  const part = (doubt - from) / (to - from);
  const mix = (a, b) => Math.round(a + (b - a) * part);
  return rgba(low.map((value, i) => mix(value, high[i])), Math.round(255 * (thin + (thick - thin) * part)));
}

// `ask()` has the server send the map, `changed()` redraws. `map` is null until it is there.
class Doubt {
  constructor(root, ask, changed) {
    this.root = root;
    this.button = root.querySelector(".sv-doubt");
    this.key = root.querySelector(".sv-key");
    this.ask = ask;
    this.changed = changed;
    this.map = this.url = this.asked = null;
    this.words = new Uint32Array(65536);
    for (let value = 0; value < 256; value++) this.words[value] = heatOf(value);
    this.button.addEventListener("click", () => this.toggle());
  }

  get wanted() {
    return this.button.getAttribute("aria-pressed") === "true";
  }

  get on() {
    return this.wanted && this.map !== null;
  }

  toggle() {
    if (this.button.hidden) return;
    this.button.setAttribute("aria-pressed", String(!this.wanted));
    this.asked = null; // whoever presses again after a failure asks again
    this.refresh();
  }

  // A result has come: with the map, without one yet, or of a kind that knows no doubt.
  async show(value) {
    this.ids = value.ids.url;
    this.button.hidden = !value.unsure;
    if (!value.doubt) this.map = this.url = null;
    else if (value.doubt.url !== this.url) {
      const { ids, width, height } = await loadIds(value.doubt.url);
      // A grey pixel reads as v + 256 * v.
      this.map = { ids: Uint8Array.from(ids), width, height };
      this.url = value.doubt.url;
    }
    this.refresh();
  }

  // There is no result any more; whether doubt is wanted is kept for the next one.
  hide() {
    this.map = this.url = this.ids = null;
    this.key.hidden = true;
    this.root.classList.remove("sv-doubtful");
  }

  refresh() {
    const wanted = this.wanted && !this.button.hidden;
    // Asked for once per result; another result asks again.
    if (wanted && !this.map && this.asked !== this.ids) {
      this.asked = this.ids;
      this.ask();
    }
    this.button.setAttribute("aria-busy", String(wanted && !this.map));
    this.key.hidden = !(wanted && this.map);
    this.root.classList.toggle("sv-doubtful", !this.key.hidden);
    this.changed();
  }

  at(column, row) {
    return this.map.ids[Math.min(this.map.height - 1, Math.floor(row * this.map.height)) * this.map.width + Math.min(this.map.width - 1, Math.floor(column * this.map.width))];
  }

  draw(canvas, view, width, height, density) {
    canvas.style.visibility = this.on ? "visible" : "hidden";
    if (this.on) putPixels(canvas, width, height, fillPixels(sampleIds(this.map, view, width, height, density), this.words));
  }
}

// What a visitor should know beside the picture: why the last run failed, how the file was read, how small the network saw it, and
// whether it stopped at a number of objects.

// How many times a side must have been shrunk before it is worth a word.
const STRONG_SHRINK = 2;
// gradio puts its toast on the page in the moment of a failure; milliseconds that one is waited for all the same.
const TOAST_MS = 1000;
// A menu tells twice of one choice within this time, and a click is followed by its run within that, in milliseconds.
const TWICE_MS = 100;
const CLICK_MS = 1500;

class Notes {
  // `clear()` empties the viewer: no older result stays beside what failed.
  constructor(root, clear) {
    this.root = root;
    this.clear = clear;
    this.stage = root.querySelector(".sv-stage");
    this.reason = root.querySelector(".sv-reason");
    this.small = root.querySelector(".sv-small");
    this.read = root.querySelector(".sv-notes");
    this.reason.id = root.closest("[id]").id + "-reason";
    this.runs = 0;
    this.running = false;
    this.key = null;
    this.began = this.clicked = this.cancelled = this.touched = -Infinity;
    const tab = root.closest("[id$=-viewer]").id.replace(/viewer$/, "");
    for (const type of ["click", "change", "input", "drop", "paste", "pointerup"]) {
      document.addEventListener(type, (event) => {
        this.touched = performance.now();
        if (type !== "click" || !(event.target instanceof Element)) return;
        if (event.target.closest(`#${tab}run`)) this.clicked = this.touched;
        if (event.target.closest(`#${tab}cancel`)) this.cancelled = this.touched;
      }, true);
    }
    // For the scripts of the page's events.
    root.begins = (inputs) => this.begins(inputs);
    root.fails = () => this.fails();
  }

  // A run is asked for with these inputs, the picture first. Returns them, or nothing that would ever come for a choice that gradio
  // tells twice; throws, which is a failure to gradio, where nothing new is asked: the same as what has just failed, and not by the
  // button, or what only waited for a run that was cancelled. What an earlier failure said stays neither here nor in a toast beside what comes next.
  begins(inputs = []) {
    const now = performance.now(), key = JSON.stringify(inputs), same = key === this.key;
    const clicked = now - this.clicked < CLICK_MS;
    if (same && now - this.began < TWICE_MS) return new Promise(() => {});
    const waited = this.cancelled > this.began && this.touched <= this.cancelled;
    if (!clicked && (waited || (same && "failed" in this.root.dataset))) throw this.again();
    // Leaving a menu tells of its choice again, however much later: what runs already is not asked for once more.
    if (same && this.running && !clicked) return new Promise(() => {});
    [this.key, this.began, this.clicked, this.running] = [key, now, -Infinity, true];
    this.runs++;
    this.forget();
    for (const button of document.querySelectorAll(".toast-body.error .toast-close")) button.click();
    if (clicked && inputs.length && !inputs[0]) {
      this.failed(say("noPictureText"), say("noPicture"));
      this.root.scrollIntoView({ block: "nearest" });
      throw this.again();
    }
    return inputs;
  }

  // What is said stays.
  again() {
    this.repeated = true;
    return new Error("nothing to run");
  }

  // What the latest toast says, a screen reader hears from the viewer from then on. A run that has begun meanwhile counts more.
  async fails() {
    const run = this.runs;
    let said = null;
    if (this.repeated) return void (this.repeated = false);
    if (this.cancelled > this.began) return this.failed(say("cancelledText"), say("cancelled"));
    for (const began = Date.now(); !said && Date.now() - began < TOAST_MS; ) {
      said = [...document.querySelectorAll(".toast-body.error .toast-message-item:not([aria-hidden])")].pop();
      if (!said) await new Promise((done) => setTimeout(done, 20));
      if (run !== this.runs) return;
    }
    if (said) said.setAttribute("aria-hidden", "true");
    this.failed(said ? said.textContent.trim() : "");
  }

  // Both are shown as text, whatever is in them; `text` is empty where no reason is known.
  failed(text, title = say("failedTitle")) {
    this.clear();
    this.running = false;
    this.root.dataset.failed = "";
    this.reason.replaceChildren(make("strong", "", title), make("span", "", text || say("failedUnknown")));
    this.stage.setAttribute("aria-describedby", this.reason.id);
  }

  forget() {
    delete this.root.dataset.failed;
    this.reason.replaceChildren();
    this.stage.removeAttribute("aria-describedby");
  }

  // How the file was read: which page, which channels; sentences of the server.
  told(value) {
    this.running = false;
    const notes = value.notes || [];
    this.read.hidden = notes.length === 0;
    this.read.replaceChildren(...notes.map((note) => make("li", "", note)));
  }

  // `value.seen` is the size that the network saw; there is none where it went over the picture's own pixels.
  limits(value) {
    const [width, height] = value.seen || [value.width, value.height];
    const words = [];
    if (value.limit) words.push(say(value.seen ? "limit" : "limitTile").replace("{n}", number(value.limit)));
    if (Math.max(value.width / width, value.height / height) > STRONG_SHRINK) {
      words.push(say("shrunk").replace("{from}", value.width + " × " + value.height).replace("{to}", width + " × " + height));
    }
    this.small.hidden = !words.length;
    this.small.textContent = words.join(" ");
  }
}

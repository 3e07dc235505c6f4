// What a visitor should know beside the picture: why the last run failed, how the file was read, how small the network saw it.

// How many times a side must have been shrunk before it is worth a word.
const STRONG_SHRINK = 2;
// gradio puts its toast on the page in the moment of a failure; milliseconds that one is waited for all the same.
const TOAST_MS = 1000;

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
    // For the scripts of the page's events, see bench.py.
    root.begins = () => this.begins();
    root.fails = () => this.fails();
  }

  // What an earlier failure said stays neither here nor in a toast beside what comes next.
  begins() {
    this.runs++;
    this.forget();
    for (const button of document.querySelectorAll(".toast-body.error .toast-close")) button.click();
  }

  // What the latest toast says, a screen reader hears from the viewer from then on. A run that has begun meanwhile counts more.
  async fails() {
    const run = this.runs;
    let said = null;
    for (const began = Date.now(); !said && Date.now() - began < TOAST_MS; ) {
      said = [...document.querySelectorAll(".toast-body.error .toast-message-item:not([aria-hidden])")].pop();
      if (!said) await new Promise((done) => setTimeout(done, 20));
      if (run !== this.runs) return;
    }
    if (said) said.setAttribute("aria-hidden", "true");
    this.failed(said ? said.textContent.trim() : "");
  }

  // `text` is shown as text, whatever is in it; empty where no reason is known.
  failed(text) {
    this.clear();
    this.root.dataset.failed = "";
    this.reason.replaceChildren(make("strong", "", say("failedTitle")), make("span", "", text || say("failedUnknown")));
    this.stage.setAttribute("aria-describedby", this.reason.id);
  }

  forget() {
    delete this.root.dataset.failed;
    this.reason.replaceChildren();
    this.stage.removeAttribute("aria-describedby");
  }

  // How the file was read: which page, which channels; sentences of the server.
  told(value) {
    const notes = value.notes || [];
    this.read.hidden = notes.length === 0;
    this.read.replaceChildren(...notes.map((note) => make("li", "", note)));
  }

  shrunk(value) {
    const [width, height] = value.seen || [value.width, value.height];
    this.small.hidden = Math.max(value.width / width, value.height / height) <= STRONG_SHRINK;
    const words = say("shrunk").replace("{from}", value.width + " × " + value.height).replace("{to}", width + " × " + height);
    this.small.textContent = this.small.hidden ? "" : words;
  }
}

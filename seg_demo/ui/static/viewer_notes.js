// Two things that a visitor should know beside the picture: why the last run failed, and how small the network saw the image.

// How many times a side must have been shrunk before it is worth a word.
const STRONG_SHRINK = 2;
// gradio puts its toast on the page in the moment of a failure; milliseconds that one is waited for all the same.
const TOAST_MS = 1000;

class Notes {
  constructor(root) {
    this.root = root;
    this.stage = root.querySelector(".sv-stage");
    this.reason = root.querySelector(".sv-reason");
    this.small = root.querySelector(".sv-small");
    this.reason.id = root.closest("[id]").id + "-reason";
    // For the scripts of the page's events, see bench.py.
    root.begins = () => this.begins();
    root.failure = () => this.failure();
  }

  // What an earlier failure said stays neither here nor in a toast beside what comes next.
  begins() {
    this.forget();
    for (const button of document.querySelectorAll(".toast-body.error .toast-close")) button.click();
  }

  // The viewer's value after a failure: what the latest toast says, which a screen reader hears from the viewer from then on.
  async failure() {
    for (const began = Date.now(); Date.now() - began < TOAST_MS; await new Promise((done) => setTimeout(done, 20))) {
      const said = [...document.querySelectorAll(".toast-body.error .toast-message-item:not([aria-hidden])")].pop();
      if (!said) continue;
      said.setAttribute("aria-hidden", "true");
      return { failed: said.textContent.trim() };
    }
    return { failed: "" };
  }

  // `text` is shown as text, whatever is in it; empty where no reason is known.
  failed(text) {
    this.root.dataset.failed = "";
    this.reason.replaceChildren(make("strong", "", say("failedTitle")), make("span", "", text || say("failedUnknown")));
    this.stage.setAttribute("aria-describedby", this.reason.id);
  }

  forget() {
    delete this.root.dataset.failed;
    this.reason.replaceChildren();
    this.stage.removeAttribute("aria-describedby");
  }

  shrunk(value) {
    const [width, height] = value.seen || [value.width, value.height];
    this.small.hidden = Math.max(value.width / width, value.height / height) <= STRONG_SHRINK;
    this.small.textContent = this.small.hidden ? "" : say("shrunk")(value.width + " × " + value.height, width + " × " + height);
  }
}

// How the values of the channels that are shown are distributed, and between which of them black and white lie: two handles that are drawn.

const HANDLE_PX = 24; // so near a handle is taken; beyond, the nearer one jumps there
const MARGIN_PX = 7; // so that a handle at the end is seen whole

class Histogram {
  // `moved(low, high, done)` hears of the handles.
  constructor(canvas, moved) {
    Object.assign(this, { canvas, moved, told: null, colors: [], ends: null, held: null });
    const at = (event) => event.clientX - canvas.getBoundingClientRect().left;
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.told || !this.ends) return;
      const x = at(event);
      const far = this.ends.map((end) => Math.abs(this.place(end) - x));
      this.held = far[0] === far[1] ? Number(x > this.place(this.ends[0])) : far[0] < far[1] ? 0 : 1;
      canvas.setPointerCapture(event.pointerId);
      if (Math.min(...far) > HANDLE_PX) this.drag(x, false);
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => this.held !== null && this.drag(at(event), false));
    canvas.addEventListener("pointerup", (event) => {
      if (this.held === null) return;
      this.drag(at(event), true);
      this.held = null;
    });
    canvas.addEventListener("pointercancel", () => (this.held = null));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // `told`: { low, high, counts } or null; `colors`: of the channels, by name; `ends`: what is black and what white, `inverted` the other way round.
  show(told, colors, ends, inverted) {
    Object.assign(this, { told, colors, inverted });
    this.canvas.hidden = !told;
    if (this.held === null) this.ends = ends && [Math.min(...ends), Math.max(...ends)];
    if (told && this.ends && this.held === null) {
      const span = told.high - told.low;
      // Far ends stay outside rather than squeeze the values together.
      this.from = Math.max(Math.min(told.low, this.ends[0]), told.low - span / 2);
      this.to = Math.min(Math.max(told.high, this.ends[1]), told.high + span / 2);
    }
    this.draw();
  }

  get inner() {
    return Math.max(1, this.canvas.clientWidth - 2 * MARGIN_PX);
  }

  place(value) {
    return MARGIN_PX + Math.min(1, Math.max(0, (value - this.from) / (this.to - this.from))) * this.inner;
  }

  drag(x, done) {
    const value = this.from + Math.min(1, Math.max(0, (x - MARGIN_PX) / this.inner)) * (this.to - this.from);
    const least = (this.to - this.from) / 500;
    if (this.held === 0) this.ends[0] = Math.min(value, this.ends[1] - least);
    else this.ends[1] = Math.max(value, this.ends[0] + least);
    this.draw();
    this.moved(...this.ends, done);
  }

  draw() {
    const { canvas, told } = this;
    const { clientWidth: w, clientHeight: h } = canvas;
    if (!told || !w || !h) return;
    const density = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.round(w * density), Math.round(h * density)];
    const context = canvas.getContext("2d");
    context.scale(density, density);
    const style = getComputedStyle(canvas);
    const dark = this.colors.length > 1 && document.querySelector(".dark");
    context.globalCompositeOperation = dark ? "lighter" : "source-over";
    told.counts.forEach((counts, channel) => {
      // The square root: what is rare is still seen beside a background that is everywhere.
      const most = Math.sqrt(Math.max(1, ...counts));
      context.beginPath();
      context.moveTo(this.place(told.low), h);
      counts.forEach((count, i) => {
        const tall = (Math.sqrt(count) / most) * (h - 6);
        for (const edge of [i, i + 1]) context.lineTo(this.place(told.low + (edge / counts.length) * (told.high - told.low)), h - tall);
      });
      context.lineTo(this.place(told.high), h);
      context.fillStyle = { red: "rgb(214 60 60 / 0.55)", green: "rgb(46 160 67 / 0.55)", blue: "rgb(64 112 230 / 0.55)", grey: "rgb(128 128 128 / 0.75)" }[this.colors[channel]];
      context.fill();
    });
    context.globalCompositeOperation = "source-over";
    if (!this.ends) return;
    const [low, high] = this.ends.map((end) => this.place(end));
    context.fillStyle = "rgb(128 128 128 / 0.28)";
    context.fillRect(0, 0, low, h);
    context.fillRect(high, 0, w - high, h);
    const tones = this.inverted ? ["#fff", "#000"] : ["#000", "#fff"];
    [[low, ...tones], [high, ...tones.reverse()]].forEach(([x, fill, rim]) => {
      context.fillStyle = style.getPropertyValue("--color-accent") || "#0f766e";
      context.fillRect(x - 1, 0, 2, h);
      context.beginPath();
      context.arc(x, h - 8, 5.5, 0, 2 * Math.PI);
      context.fillStyle = fill;
      context.strokeStyle = rim;
      context.lineWidth = 1.2;
      context.fill();
      context.stroke();
    });
  }
}

// Zoom and pan: where the image lies in the stage, moved by wheel, fingers, mouse and keys.

const MAX_SCALE = 32;

class View {
  // `scale` is CSS pixels per image pixel; `x`, `y` is the image's top left corner in CSS pixels of the stage.
  constructor(stage, changed) {
    this.stage = stage;
    this.changed = changed;
    this.imageWidth = this.imageHeight = 1;
    this.scale = 1;
    this.x = this.y = 0;
    this.fitted = true;
  }

  get fitScale() {
    return Math.min(this.stage.clientWidth / this.imageWidth, this.stage.clientHeight / this.imageHeight);
  }

  setImage(width, height) {
    this.imageWidth = width;
    this.imageHeight = height;
    this.fit();
  }

  fit() {
    this.scale = this.fitScale;
    this.fitted = true;
    this.settle();
  }

  // Returns whether anything moved, so that a wheel at the end of its range can scroll the page instead.
  zoomBy(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.min(MAX_SCALE, Math.max(this.fitScale, this.scale * factor));
    if (scale === this.scale) return false;
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = scale <= this.fitScale * 1.001;
    this.settle();
    return true;
  }

  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.settle();
  }

  // Smaller than the stage: centred; larger: no edge may come inside.
  settle() {
    const place = (at, image, stage) => (image <= stage ? (stage - image) / 2 : Math.min(0, Math.max(stage - image, at)));
    this.x = place(this.x, this.imageWidth * this.scale, this.stage.clientWidth);
    this.y = place(this.y, this.imageHeight * this.scale, this.stage.clientHeight);
    this.stage.classList.toggle("sv-zoomed", !this.fitted);
    this.changed();
  }

  // The image pixel under a point of the stage, or null outside.
  pixelAt(x, y) {
    const px = Math.floor((x - this.x) / this.scale);
    const py = Math.floor((y - this.y) / this.scale);
    return px >= 0 && py >= 0 && px < this.imageWidth && py < this.imageHeight ? [px, py] : null;
  }
}

// `point(x, y)` hears where a mouse hovers or a finger taps, `leave()` that it is gone, `click(x, y)` where something was clicked and not dragged.
function connectPointers(stage, view, point, leave, click = () => {}) {
  const down = new Map();
  let pinch = 0;
  let moved = false;
  const local = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [a, b] = [...down.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  stage.addEventListener("wheel", (event) => {
    const [x, y] = local(event);
    const lines = event.deltaMode === 1 ? 16 : 1;
    if (view.zoomBy(Math.exp(-event.deltaY * lines * 0.002), x, y)) event.preventDefault();
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => view.zoomBy(2, ...local(event)));
  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest(".sv-split, .sv-failed")) return;
    down.set(event.pointerId, local(event));
    moved = false;
    pinch = down.size === 2 ? spread() : 0;
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const [x, y] = local(event);
    if (!down.has(event.pointerId)) {
      if (event.pointerType !== "touch") point(x, y);
      return;
    }
    const [oldX, oldY] = down.get(event.pointerId);
    if (!moved && Math.hypot(x - oldX, y - oldY) < 4) return;
    moved = true;
    down.set(event.pointerId, [x, y]);
    if (down.size === 2) {
      const [a, b] = [...down.values()];
      const wide = spread();
      if (pinch > 0) view.zoomBy(wide / pinch, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      pinch = wide;
    }
    view.panBy((x - oldX) / down.size, (y - oldY) / down.size);
  });
  const up = (event) => {
    if (!down.delete(event.pointerId) || moved || event.type !== "pointerup") return;
    point(...local(event));
    click(...local(event));
  };
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);
  stage.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && leave());
}

function connectKeys(stage, view, actions) {
  const step = 60;
  const keys = {
    "+": () => view.zoomBy(1.3), "=": () => view.zoomBy(1.3), "-": () => view.zoomBy(1 / 1.3), "0": () => view.fit(),
    ArrowLeft: () => view.panBy(step, 0), ArrowRight: () => view.panBy(-step, 0),
    ArrowUp: () => view.panBy(0, step), ArrowDown: () => view.panBy(0, -step),
    n: () => actions.step(1), p: () => actions.step(-1), b: () => actions.original(true), d: () => actions.doubt(), w: () => actions.why(), Enter: () => actions.choose(), Escape: () => actions.clear(),
  };
  stage.addEventListener("keydown", (event) => {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = keys[event.key] || keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
  stage.addEventListener("keyup", (event) => event.key.toLowerCase() === "b" && actions.original(false));
  stage.addEventListener("blur", () => actions.original(false));
}

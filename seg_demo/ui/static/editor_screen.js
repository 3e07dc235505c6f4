// Draws the window: the picture, the mask's colours, its outlines, and what the tools show. After a stroke only the changed
// part of the window is sampled and drawn again, so that its time follows the brush and not the image.

const PIXEL_BUDGET = 2000000; // of one canvas; a denser screen gets its canvases stretched
const SMALL_SIDE = 2048;

class Screen {
  // `tools(context, toStage)` draws the cross, the brush and unfinished shapes on the top canvas.
  constructor(root, view, tools) {
    Object.assign(this, { root, view, tools });
    const canvas = (name) => root.querySelector(".se-" + name);
    this.canvases = { base: canvas("base"), fill: canvas("fillmap"), lines: canvas("lines"), top: canvas("top") };
    this.colors = new Uint32Array(65536);
    this.edges = new Uint32Array(65536);
    this.wanted = new Set();
    this.layer = null;
  }

  async setPicture(blob) {
    const full = await createImageBitmap(blob);
    const factor = Math.min(1, SMALL_SIDE / Math.max(full.width, full.height));
    const size = { resizeWidth: Math.max(1, Math.round(full.width * factor)), resizeHeight: Math.max(1, Math.round(full.height * factor)) };
    const small = factor < 1 ? await createImageBitmap(full, { ...size, resizeQuality: "high" }) : full;
    if (this.full) this.full.close();
    if (this.small && this.small !== this.full) this.small.close();
    Object.assign(this, { full, small });
  }

  clearColors() {
    this.colors.fill(0);
    this.edges.fill(0);
  }

  // `color` is [r, g, b]; an id without one is not drawn.
  setColor(id, color) {
    this.colors[id] = rgba(color, 255);
    this.edges[id] = rgba(color.map((value) => Math.round(value * 0.6 + 102)), 255);
  }

  // `what`: "all" after the view moved, "mask" after colours changed, "part" for what the layer calls dirty, "top" for the tools.
  draw(what) {
    if (this.wanted.size === 0) requestAnimationFrame(() => this.frame());
    this.wanted.add(what);
  }

  frame() {
    const wanted = this.wanted;
    this.wanted = new Set();
    const { clientWidth: w, clientHeight: h } = this.view.stage;
    if (!this.layer || !w || !h) return;
    const density = Math.min(window.devicePixelRatio || 1, Math.sqrt(PIXEL_BUDGET / (w * h)));
    const [width, height] = [Math.max(1, Math.round(w * density)), Math.max(1, Math.round(h * density))];
    const fresh = this.canvases.fill.width !== width || this.canvases.fill.height !== height;
    if (fresh) for (const canvas of Object.values(this.canvases)) Object.assign(canvas, { width, height });
    this.density = density;
    if (fresh || wanted.has("all")) this.drawBase();
    if (fresh || wanted.has("all") || wanted.has("mask")) this.drawMask(0, 0, width, height);
    else if (wanted.has("part") && this.layer.dirty) this.drawDirty(width, height);
    this.layer.dirty = null;
    if (fresh || wanted.has("all") || wanted.has("mask")) this.overlay?.draw(this.view, width, height, density);
    this.drawTop();
  }

  drawDirty(width, height) {
    const { view, density } = this;
    const [x0, y0, x1, y1] = this.layer.dirty;
    // One pixel more on each side: outlines depend on neighbours.
    const left = Math.max(0, Math.floor((view.x + x0 * view.scale) * density) - 2);
    const top = Math.max(0, Math.floor((view.y + y0 * view.scale) * density) - 2);
    const right = Math.min(width, Math.ceil((view.x + x1 * view.scale) * density) + 2);
    const bottom = Math.min(height, Math.ceil((view.y + y1 * view.scale) * density) + 2);
    if (left < right && top < bottom) this.drawMask(left, top, right - left, bottom - top);
  }

  drawMask(left, top, wide, tall) {
    const { view, density } = this;
    const { width, height } = this.canvases.fill;
    const [x0, y0] = [Math.max(0, left - 1), Math.max(0, top - 1)];
    const [x1, y1] = [Math.min(width, left + wide + 1), Math.min(height, top + tall + 1)];
    const shifted = { imageWidth: view.imageWidth, imageHeight: view.imageHeight, scale: view.scale, x: view.x - x0 / density, y: view.y - y0 / density };
    const seen = sampleIds(this.layer, shifted, x1 - x0, y1 - y0, density);
    const put = (canvas, words) => {
      const data = new ImageData(new Uint8ClampedArray(words.buffer), x1 - x0, y1 - y0);
      canvas.getContext("2d").putImageData(data, x0, y0, left - x0, top - y0, wide, tall);
    };
    put(this.canvases.fill, fillPixels(seen, this.colors));
    put(this.canvases.lines, outlinePixels(seen, x1 - x0, y1 - y0, this.edges));
  }

  drawBase() {
    const { view, density, full, small } = this;
    const { width, height } = this.canvases.base;
    const context = this.canvases.base.getContext("2d");
    const size = view.scale * density;
    const source = size <= small.width / full.width ? small : full;
    const ratio = source.width / view.imageWidth;
    // Only what is visible, in whole pixels of the picture.
    const x0 = Math.max(0, Math.floor((-view.x / view.scale) * ratio));
    const y0 = Math.max(0, Math.floor((-view.y / view.scale) * ratio));
    const x1 = Math.min(source.width, Math.ceil(((width / density - view.x) / view.scale) * ratio));
    const y1 = Math.min(source.height, Math.ceil(((height / density - view.y) / view.scale) * ratio));
    context.clearRect(0, 0, width, height);
    if (x1 <= x0 || y1 <= y0) return;
    context.imageSmoothingEnabled = view.scale < 4;
    context.imageSmoothingQuality = "medium";
    const place = (at, from) => (from + (at / ratio) * view.scale) * density;
    const tallRatio = source.height / view.imageHeight;
    const [left, top] = [place(x0, view.x), (view.y + (y0 / tallRatio) * view.scale) * density];
    context.drawImage(source, x0, y0, x1 - x0, y1 - y0, left, top, place(x1, view.x) - left, (view.y + (y1 / tallRatio) * view.scale) * density - top);
  }

  drawTop() {
    const context = this.canvases.top.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    context.scale(this.density, this.density);
    this.tools(context, ([x, y]) => [this.view.x + x * this.view.scale, this.view.y + y * this.view.scale]);
  }
}
